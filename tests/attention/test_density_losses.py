"""Laws of the Fenchel-Young losses of densities."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck, gradgradcheck
from torch.distributions import MultivariateNormal, Normal, kl_divergence

from audioattn_lib.attention.densities.beta_gaussian import BetaGaussian
from audioattn_lib.attention.densities.losses import conjugate, cross_fenchel_young_loss, fenchel_young_loss
from audioattn_lib.attention.densities.multivariate import MultivariateBetaGaussian
from audioattn_lib.attention.expectations.general import density_nodes
from audioattn_lib.attention.expectations.multivariate import multivariate_expectation
from audioattn_lib.core.errors import ConfigError

ALPHA = [1.0, 1.001, 1.05, 4 / 3, 3 / 2, 1.7, 2.0, 3.0]


def f64(*values):
    return torch.tensor(values, dtype=torch.float64)


def on_plane(location, variance, turn, alpha):
    c, s = math.cos(turn), math.sin(turn)
    q = f64([c, -s], [s, c])
    covariance = q @ torch.diag(f64(*variance)) @ q.T
    return MultivariateBetaGaussian(f64(*location), (covariance + covariance.T) / 2, alpha)


@settings(max_examples=60)
@given(st.floats(1.0, 5.0), st.floats(-2, 2), st.floats(1e-3, 5), st.floats(-2, 2), st.floats(1e-3, 5), st.booleans())
def test_never_negative_and_zero_for_equals_alone(alpha, each, variance, other, spread, tensor):
    given_alpha = f64(alpha) if tensor else alpha
    f, q = BetaGaussian(f64(each), f64(variance), given_alpha), BetaGaussian(f64(other), f64(spread), given_alpha)
    size = 1 + abs(conjugate(f).item()) + abs(q.tsallis_entropy().item())
    assert abs(fenchel_young_loss(f, f).item()) < 1e-12 * size
    loss = fenchel_young_loss(f, q).item()
    assert loss > -1e-12 * size
    if abs(each - other) > 0.1 or abs(math.log(variance / spread)) > 0.1:
        assert loss > (1e-5 if alpha <= 2 else 1e-8 * size)


@pytest.mark.parametrize("alpha", ALPHA)
def test_on_the_line_it_is_the_integral_of_the_definition(alpha):
    f, q = BetaGaussian(f64(0.3), f64(0.2), alpha), BetaGaussian(f64(0.5), f64(0.1), alpha)

    def score(t):
        return -((t - 0.3) ** 2) / (2 * f.scale)

    (t, mass), (s, share) = density_nodes(f, 200), density_nodes(q, 200)
    top = (mass * score(t)).sum(-1) + f.tsallis_entropy()
    torch.testing.assert_close(conjugate(f), top, atol=1e-10, rtol=1e-10)
    loss = top - q.tsallis_entropy() - (share * score(s)).sum(-1)
    torch.testing.assert_close(fenchel_young_loss(f, q), loss, atol=1e-10, rtol=1e-10)
    x = f64(-3.0, 0.31, 8.0)
    torch.testing.assert_close(cross_fenchel_young_loss(f, x), top - score(x), atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("alpha", ALPHA)
def test_in_the_plane_it_is_the_integral_of_the_definition(alpha):
    f, q = on_plane((0.3, 0.1), (0.2, 0.05), 0.4, alpha), on_plane((0.1, 0.2), (0.1, 0.1), 0.0, alpha)
    precision = torch.linalg.inv(f.scale)

    def score(x):
        return -0.5 * torch.einsum("...i,ij,...j", x - f.location, precision, x - f.location)

    top = multivariate_expectation(score, f, 4) + f.tsallis_entropy()
    torch.testing.assert_close(conjugate(f), top, atol=1e-10, rtol=1e-10)
    loss = top - q.tsallis_entropy() - multivariate_expectation(score, q, 4)
    torch.testing.assert_close(fenchel_young_loss(f, q), loss, atol=1e-10, rtol=1e-10)
    assert loss > 0
    assert abs(fenchel_young_loss(f, f)) < 1e-12
    x = f64([0.5, 0.5], [9.0, -4.0])
    torch.testing.assert_close(cross_fenchel_young_loss(f, x), top - score(x), atol=1e-10, rtol=1e-10)


def test_the_gaussian_case_is_divergence_and_likelihood():
    f, q, x = BetaGaussian(f64(0.3), f64(0.2), 1.0), BetaGaussian(f64(0.5), f64(0.1), 1.0), f64(0.1, 2.0)
    normal, other = (Normal(d.location, d.stddev) for d in (f, q))
    torch.testing.assert_close(fenchel_young_loss(f, q), kl_divergence(other, normal))
    torch.testing.assert_close(cross_fenchel_young_loss(f, x), -normal.log_prob(x))
    f, q, x = on_plane((0, 1), (1, 2), 0.3, 1.0), on_plane((1, 1), (3, 1), 0.1, 1.0), f64([0.5, 2.0])
    normal, other = (MultivariateNormal(d.location, d.covariance) for d in (f, q))
    torch.testing.assert_close(fenchel_young_loss(f, q), kl_divergence(other, normal))
    torch.testing.assert_close(cross_fenchel_young_loss(f, x), -normal.log_prob(x))


def test_losses_of_neighbouring_alphas_are_neighbours():
    x = f64(-1.0, 0.4, 2.0)
    losses = [cross_fenchel_young_loss(BetaGaussian(f64(0.3), f64(0.2), a), x) for a in (1.0, 1 + 1e-6, 1 + 1e-4)]
    torch.testing.assert_close(losses[0], losses[1], atol=1e-4, rtol=0)
    torch.testing.assert_close(losses[0], losses[2], atol=1e-2, rtol=0)
    narrow, wide = (BetaGaussian(f64(m), f64(v), 1 + 1e-6) for m, v in ((0.0, 1.0), (0.5, 2.0)))
    truth = kl_divergence(Normal(f64(0.5), f64(2.0).sqrt()), Normal(f64(0.0), f64(1.0)))
    torch.testing.assert_close(fenchel_young_loss(narrow, wide), truth, atol=1e-4, rtol=0)


@pytest.mark.parametrize("alpha", [1.0, 4 / 3, 2.0, 3.0])
def test_the_minimiser_has_the_moments_of_the_data(alpha):
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(50, 2, generator=generator, dtype=torch.float64) @ f64([1.0, 0.5], [0.0, 0.3])
    mean, covariance = x.mean(0), torch.cov(x.T, correction=0)
    location, factor = mean.clone().requires_grad_(), torch.linalg.cholesky(covariance).requires_grad_()
    density = MultivariateBetaGaussian.from_cholesky(location, factor, alpha, check=False)
    loss = cross_fenchel_young_loss(density, x).mean()
    for gradient in torch.autograd.grad(loss, (location, factor)):
        assert gradient.tril().abs().max() < 1e-10 if gradient.ndim == 2 else gradient.abs().max() < 1e-10
    wide = MultivariateBetaGaussian(mean + 0.05, 1.2 * covariance, alpha)
    assert cross_fenchel_young_loss(wide, x).mean() > loss
    line = BetaGaussian(x[:, 0].mean().requires_grad_(), x[:, 0].var(correction=0).requires_grad_(), alpha)
    loss = cross_fenchel_young_loss(line, x[:, 0]).mean()
    for gradient in torch.autograd.grad(loss, (line.location, line.variance)):
        assert abs(gradient) < 1e-10


def test_gradients_of_both_orders():
    inputs = tuple(x.requires_grad_() for x in (f64(0.3, 0.1), f64(0.2, 0.4), f64(1.4, 2.1)))

    def f(location, variance, alpha):
        score = BetaGaussian(location, variance, alpha, check=False)
        return fenchel_young_loss(score, BetaGaussian(f64(0.2), f64(0.3), alpha, check=False))

    assert gradcheck(f, inputs)
    assert gradgradcheck(f, inputs)


def test_what_cannot_be_is_named():
    line, plane = BetaGaussian(f64(0.0), f64(1.0)), on_plane((0, 0), (1, 1), 0, 2.0)
    with pytest.raises(ConfigError, match="score has 1 dimensions and target 2"):
        fenchel_young_loss(line, plane)
    with pytest.raises(ConfigError, match=r"score has the alpha 2\.0 and target 1\.5"):
        fenchel_young_loss(line, BetaGaussian(f64(0.0), f64(1.0), 1.5))


def test_agrees_with_the_published_code_but_for_a_constant():
    published = pytest.importorskip("spcdist.torch")
    covariance = f64([0.05, 0.02], [0.02, 0.03])
    for alpha in (4 / 3, 1.5, 2.0):
        ours = MultivariateBetaGaussian.from_scale(f64(0.3, 0.7), covariance, alpha)
        theirs = published.MultivariateBetaGaussian(f64(0.3, 0.7), covariance, alpha=alpha)
        x = f64([0.3, 0.6], [2.0, 1.0])
        torch.testing.assert_close(ours.pdf(x), theirs.pdf(x))
        torch.testing.assert_close(ours.tsallis_entropy(), theirs.tsallis_entropy)
        # n / (2 alpha) in the latest commit that we know, and another one in earlier ones
        constant = theirs.cross_fy(x) - cross_fenchel_young_loss(ours, x)
        torch.testing.assert_close(constant, constant[:1].expand_as(constant))
