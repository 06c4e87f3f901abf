"""Laws of the elliptical beta-Gaussians and of expectations under them."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import roots_jacobi
from torch.autograd import gradcheck, gradgradcheck

from audioattn_lib.attention.densities.beta_gaussian import BetaGaussian
from audioattn_lib.attention.densities.mixture import Mixture
from audioattn_lib.attention.densities.multivariate import MultivariateBetaGaussian
from audioattn_lib.attention.expectations.bases import MultivariateGaussianBasis
from audioattn_lib.attention.expectations.gaussian import GaussianBasis, gaussian_expectation
from audioattn_lib.attention.expectations.multivariate import (
    multivariate_expectation,
    multivariate_gaussian_expectation,
)
from audioattn_lib.core.errors import ConfigError

ALPHA = [1.0, 1.05, 4 / 3, 3 / 2, 1.7, 2.0, 3.0]


def f64(*values):
    return torch.tensor(values, dtype=torch.float64)


LOCATION = f64(0.3, 0.7)
COVARIANCE = f64([0.05, 0.02], [0.02, 0.03])


def polar(alpha, f, location, cholesky, n=300):
    """Expectation over a disc by Gauss-Jacobi along the radius and equal angles."""
    k = 1 / (alpha - 1)
    s, weight = roots_jacobi(n, k, 0)
    angle = np.arange(2 * n) * math.pi / n
    u = np.sqrt((1 + s) / 2)[:, None, None] * np.stack([np.cos(angle), np.sin(angle)], -1)
    values = f(location + math.sqrt(2 * k + 4) * u @ cholesky.T)
    return (weight[:, None] * values).sum() / weight.sum() / (2 * n)


@pytest.mark.parametrize("alpha", ALPHA[1:])
def test_pdf_moments_and_entropies_on_the_plane(alpha):
    density = MultivariateBetaGaussian(LOCATION, COVARIANCE, alpha)
    radius, factor = density.radius.item(), np.linalg.cholesky(COVARIANCE.numpy())
    k = 1 / (alpha - 1)
    # uniform nodes of the ellipse
    s, weight = roots_jacobi(200, 0, 0)
    angle = np.arange(64) * 2 * math.pi / 64
    u = np.sqrt((1 + s) / 2)[:, None, None] * np.stack([np.cos(angle), np.sin(angle)], -1)
    x = torch.from_numpy(LOCATION.numpy() + radius * u @ factor.T)
    area = math.pi * radius**2 * np.linalg.det(factor)
    mass = torch.from_numpy(np.repeat(weight[:, None] / weight.sum(), 64, 1) / 64 * area)
    p = density.pdf(x)
    tolerance = 1e-5 if k < 1 else 1e-8
    assert (mass * p).sum().item() == pytest.approx(1, abs=tolerance)
    centred = x - LOCATION
    moments = torch.einsum("ij,ijk,ijl->kl", mass * p, centred, centred)
    torch.testing.assert_close(moments, COVARIANCE, atol=tolerance, rtol=0)
    tsallis = (1 - (mass * p**alpha).sum()) / (alpha * (alpha - 1))
    torch.testing.assert_close(density.tsallis_entropy(), tsallis, atol=tolerance, rtol=0)
    shannon = -(mass * p * p.clamp(min=1e-300).log()).sum()
    torch.testing.assert_close(density.entropy(), shannon, atol=10 * tolerance, rtol=0)
    torch.testing.assert_close(density.covariance, COVARIANCE)
    torch.testing.assert_close(density.variance, COVARIANCE.diagonal())


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_the_gaussian_is_the_one_of_torch_and_the_limit(n):
    generator = torch.Generator().manual_seed(n)
    raw = torch.randn(n, n, generator=generator, dtype=torch.float64)
    covariance, location = raw @ raw.mT + 0.1 * torch.eye(n), torch.randn(n, generator=generator, dtype=torch.float64)
    x = torch.randn(5, n, generator=generator, dtype=torch.float64)
    truth = torch.distributions.MultivariateNormal(location, covariance)
    for alpha, tolerance in ((1.0, 1e-10), (1 + 1e-7, 1e-4)):
        ours = MultivariateBetaGaussian(location, covariance, alpha)
        torch.testing.assert_close(ours.log_prob(x), truth.log_prob(x), atol=tolerance, rtol=tolerance)
        torch.testing.assert_close(ours.entropy(), truth.entropy(), atol=tolerance, rtol=0)
        torch.testing.assert_close(ours.scale, covariance, atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize("alpha", ALPHA)
def test_one_dimension_is_the_line(alpha):
    location, variance, x = f64(0.2, -1.0), f64(0.3, 2.0), f64(0.1, 0.5)
    line = BetaGaussian(location, variance, alpha)
    ours = MultivariateBetaGaussian(location[:, None], variance[:, None, None], alpha)
    torch.testing.assert_close(ours.pdf(x[:, None]), line.pdf(x))
    for name in ("tsallis_entropy", "entropy"):
        torch.testing.assert_close(getattr(ours, name)(), getattr(line, name)())
    torch.testing.assert_close(ours.half_width[:, 0], line.half_width)
    torch.testing.assert_close(ours.scale[:, 0, 0], line.scale)
    basis = GaussianBasis([0.1, 0.6], [0.2, 0.4])
    flat = MultivariateGaussianBasis([[0.1], [0.6]], [0.2, 0.4])
    torch.testing.assert_close(multivariate_gaussian_expectation(ours, flat), gaussian_expectation(line, basis))


def test_uniform_on_the_ellipsoid_when_alpha_grows():
    density = MultivariateBetaGaussian(LOCATION, COVARIANCE, 1e7)
    inside, outside = LOCATION + f64([0.05, 0.0], [0.0, -0.1]), LOCATION + f64([1.0, 0.0], [0.0, 1.0])
    area = math.pi * density.radius**2 * COVARIANCE.det().sqrt()
    torch.testing.assert_close(density.pdf(inside), (1 / area).expand(2), rtol=1e-5, atol=0)
    assert density.pdf(outside).eq(0).all()
    assert density.support.check(inside).all()
    assert not density.support.check(outside).any()


@settings(max_examples=25)
@given(st.floats(1.0, 4.0), st.floats(0.2, 5), st.floats(-2, 2), st.floats(0, 6.3))
def test_moving_scaling_and_turning(alpha, scale, shift, angle):
    turn = scale * f64([math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)])
    x = LOCATION + f64([0.05, -0.1], [0.2, 0.1])
    density = MultivariateBetaGaussian(LOCATION, COVARIANCE, alpha)
    covariance = turn @ COVARIANCE @ turn.T
    other = MultivariateBetaGaussian(turn @ LOCATION + shift, (covariance + covariance.T) / 2, alpha)
    torch.testing.assert_close(density.pdf(x), scale**2 * other.pdf(x @ turn.T + shift), atol=1e-9, rtol=1e-6)
    torch.testing.assert_close(density.entropy() + 2 * math.log(scale), other.entropy())


@pytest.mark.parametrize("alpha", [1.0, 4 / 3, 2.0, 5.0])
@pytest.mark.parametrize("n", [2, 3])
def test_samples_have_the_moments(alpha, n):
    covariance = torch.eye(n, dtype=torch.float64) + 0.4
    density = MultivariateBetaGaussian(torch.arange(n, dtype=torch.float64), covariance, alpha)
    points = density.sample((40000,), torch.Generator().manual_seed(1))
    assert density.support.check(points).all()
    assert (points.mean(0) - density.mean).abs().max() < 0.03
    assert (torch.cov(points.T) - covariance).abs().max() < 0.06


@pytest.mark.parametrize("alpha", ALPHA)
def test_scale_and_back(alpha):
    density = MultivariateBetaGaussian(LOCATION, 1e-3 * COVARIANCE, alpha)
    for given_alpha in (alpha, f64(alpha)):
        back = MultivariateBetaGaussian.from_scale(LOCATION, density.scale, given_alpha)
        torch.testing.assert_close(back.covariance.reshape(2, 2), density.covariance)
    if alpha > 1:
        # Martins et al., JMLR 2022: Cov = -2 tau S / (n + 2 alpha / (alpha - 1)) with p(mu) = [-(alpha-1) tau]^k
        tau = -(density.pdf(LOCATION) ** (alpha - 1)) / (alpha - 1)
        torch.testing.assert_close(density.covariance, -2 * tau / (2 + 2 * alpha / (alpha - 1)) * density.scale)


def random_case(rng, alpha, narrow):
    radius = math.sqrt(2 / (alpha - 1) + 4)
    cholesky = np.tril(rng.normal(size=(2, 2)))
    cholesky[0, 0], cholesky[1, 1] = abs(cholesky[0, 0]) + 0.1, abs(cholesky[1, 1]) * rng.choice([0.2, 1]) + 0.05
    a = 10 ** rng.uniform(-3, math.log10(1.5)) if narrow else rng.uniform(0.3, 1.5)
    cholesky *= a / radius / np.sqrt((cholesky**2).sum(-1).max())
    cholesky, location = np.float32(cholesky).astype(float), np.float32(rng.uniform(0, 1, 2)).astype(float)
    centre = location + cholesky @ rng.normal(size=2) if narrow else rng.uniform(0, 1, 2)
    return location, cholesky, centre, rng.uniform(0.05, 0.5, 2)


@pytest.mark.parametrize("alpha", [1.05, 4 / 3, 3 / 2, 1.7, 2.0, 3.0, 5.0])
def test_expectations_agree_with_another_quadrature(alpha):
    rng = np.random.default_rng(5)
    for number in range(8):
        location, cholesky, centre, width = random_case(rng, alpha, number % 2)

        def psi(x, centre=centre, width=width):
            z = (x - centre) / width
            return np.exp(-0.5 * (z**2).sum(-1)) / (2 * math.pi * width.prod())

        truth, peak = polar(alpha, psi, location, cholesky), 1 / (2 * math.pi * width.prod())
        basis = MultivariateGaussianBasis([centre], [width])
        for dtype, budget in ((torch.float64, 2e-11 if alpha > 3 else 2e-12), (torch.float32, 3e-6)):
            given = (torch.tensor(x[None], dtype=dtype) for x in (location, cholesky))
            ours = multivariate_gaussian_expectation(MultivariateBetaGaussian.from_cholesky(*given, alpha), basis)
            assert abs(ours.item() - truth) <= budget * peak, (number, dtype)


def test_the_gaussian_case_is_a_convolution():
    basis = MultivariateGaussianBasis([[0.1, 0.9], [0.4, 0.5]], [[0.1, 0.2], [0.3, 0.3]])
    ours = multivariate_gaussian_expectation(MultivariateBetaGaussian(LOCATION, COVARIANCE, 1.0), basis)
    for j in range(2):
        wide = COVARIANCE + torch.diag(f64(*basis.widths[j]) ** 2)
        truth = torch.distributions.MultivariateNormal(LOCATION, wide).log_prob(f64(*basis.centres[j])).exp()
        torch.testing.assert_close(ours[j], truth)


BASIS = MultivariateGaussianBasis([[0.3, 0.4], [0.6, 0.1]], [[0.2, 0.3], [0.15, 0.15]])


def inputs():
    location = f64([0.3, 0.5], [0.7, 0.2]).requires_grad_()
    raw = f64([[0.2, 0.0], [0.1, 0.2]], [[0.3, 0.1], [0.0, 0.1]]).requires_grad_()
    return location, raw


@pytest.mark.parametrize("alpha", [1.0, 4 / 3, 1.7])
def test_gradients_of_both_orders(alpha):
    def f(location, raw):
        covariance = raw @ raw.mT + 0.01 * torch.eye(2, dtype=torch.float64)
        density = MultivariateBetaGaussian(location, covariance, alpha, check=False)
        x = f64(0.35, 0.45)
        return multivariate_gaussian_expectation(density, BASIS), density.log_prob(x), density.tsallis_entropy()

    assert gradcheck(f, inputs())
    assert gradgradcheck(f, inputs())


@pytest.mark.parametrize("alpha", [1.0, 1.2, 4 / 3, 3 / 2, 2.0])
@pytest.mark.parametrize("n", [1, 2, 3])
def test_gradients_of_both_orders_in_every_dimension(alpha, n):
    generator = torch.Generator().manual_seed(0)
    location, x = torch.rand(2, n, generator=generator, dtype=torch.float64)
    raw = 0.2 * torch.rand(n, n, generator=generator, dtype=torch.float64)

    def f(location, raw):
        covariance = raw @ raw.mT + 0.5 * torch.eye(n, dtype=torch.float64)
        density = MultivariateBetaGaussian(location, covariance, alpha, check=False)
        mean = multivariate_expectation(lambda t: (t[..., :1] * 2).sin() + t.square(), density, 6)
        return density.pdf(x), density.log_prob(x), density.entropy(), density.tsallis_entropy(), mean

    inputs = (location.requires_grad_(), raw.requires_grad_())
    assert gradcheck(f, inputs)
    assert gradgradcheck(f, inputs)


def test_gradients_with_respect_to_alpha():
    alpha = f64(1.4, 2.3).requires_grad_()

    def f(location, raw, alpha):
        covariance = raw @ raw.mT + 0.01 * torch.eye(2, dtype=torch.float64)
        density = MultivariateBetaGaussian(location, covariance, alpha, check=False)
        return multivariate_gaussian_expectation(density, BASIS), density.entropy(), density.scale

    assert gradcheck(f, (*inputs(), alpha))


@pytest.mark.parametrize("alpha", [1.0, 1.5, 1.7])
def test_numbers_tensors_chunks_and_vmap_say_the_same(alpha, monkeypatch):
    location, raw = (x.detach() for x in inputs())
    covariance = raw @ raw.mT + 0.01 * torch.eye(2, dtype=torch.float64)

    def f(location, covariance, alpha=alpha):
        return multivariate_gaussian_expectation(
            MultivariateBetaGaussian(location, covariance, alpha, check=False), BASIS
        )

    truth = f(location, covariance)
    torch.testing.assert_close(f(location, covariance, torch.full((2,), alpha)), truth)
    torch.testing.assert_close(torch.vmap(f)(location, covariance), truth)
    monkeypatch.setattr("audioattn_lib.attention.expectations.multivariate._CHUNK", {"cpu": 1})
    torch.testing.assert_close(f(location, covariance), truth)


@pytest.mark.parametrize("alpha", [1.0, 4 / 3, 1.7, 4.0])
@pytest.mark.parametrize("n", [2, 3])
def test_any_function_by_quadrature(alpha, n):
    factor = torch.tril(0.3 + torch.arange(n * n, dtype=torch.float64).reshape(n, n) / 10)
    density = MultivariateBetaGaussian.from_cholesky(torch.arange(n, dtype=torch.float64), factor, alpha)
    second = multivariate_expectation(lambda x: x[..., :, None] * x[..., None, :], density, 3)
    torch.testing.assert_close(second, density.covariance + density.mean[:, None] * density.mean)
    torch.testing.assert_close(multivariate_expectation(lambda x: torch.ones_like(x[..., 0]), density, 5), f64(1.0)[0])


def test_two_forwards_before_a_backward():
    location = LOCATION.clone().requires_grad_()

    def context(factor):
        density = MultivariateBetaGaussian(location, factor * COVARIANCE, 1.5)
        return multivariate_gaussian_expectation(density, BASIS).sum()

    alone = [torch.autograd.grad(context(factor), location)[0] for factor in (0.1, 1.0)]
    first, second = context(0.1), context(1.0)
    torch.testing.assert_close(torch.autograd.grad(first, location)[0], alone[0])
    torch.testing.assert_close(torch.autograd.grad(second, location)[0], alone[1])


def test_mixtures_are_weighted_sums():
    weights = f64([0.2, 0.8], [0.5, 0.5])
    components = MultivariateBetaGaussian(torch.rand(2, 2, 2, dtype=torch.float64), COVARIANCE, 1.5)
    mixture = Mixture(weights, components)
    each = multivariate_gaussian_expectation(components, BASIS)
    torch.testing.assert_close(
        multivariate_gaussian_expectation(mixture, BASIS), torch.einsum("bm,bmj->bj", weights, each)
    )
    second = multivariate_expectation(lambda x: x[..., :, None] * x[..., None, :], mixture, 4)
    torch.testing.assert_close(second, mixture.covariance + mixture.mean[..., :, None] * mixture.mean[..., None, :])
    torch.testing.assert_close(mixture.covariance.diagonal(dim1=-2, dim2=-1), mixture.variance)
    points = mixture.sample((40000,), torch.Generator().manual_seed(0))
    assert (points.mean(0) - mixture.mean).abs().max() < 0.01
    x = torch.rand(5, 2, 2, dtype=torch.float64)
    torch.testing.assert_close(mixture.log_prob(x).exp(), mixture.pdf(x))


@pytest.mark.cuda
@pytest.mark.parametrize("alpha", [1.0, 1.5, 1.7])
def test_cuda_says_the_same(alpha):
    location, raw = (x.detach() for x in inputs())
    density = MultivariateBetaGaussian(location, raw @ raw.mT + 0.01 * torch.eye(2), alpha)
    there = MultivariateBetaGaussian.from_cholesky(density.location.cuda(), density.cholesky.cuda(), alpha)
    torch.testing.assert_close(
        multivariate_gaussian_expectation(there, BASIS).cpu(), multivariate_gaussian_expectation(density, BASIS)
    )
    assert there.sample((4,)).is_cuda


@pytest.mark.long
@pytest.mark.filterwarnings("ignore")
def test_compiled_code_says_the_same():
    def f(location, cholesky):
        density = MultivariateBetaGaussian.from_cholesky(location, cholesky, 1.5, check=False)
        return multivariate_gaussian_expectation(density, BASIS)

    cholesky = torch.linalg.cholesky(COVARIANCE)[None]
    torch.testing.assert_close(torch.compile(f)(LOCATION[None], cholesky), f(LOCATION[None], cholesky))


def test_what_cannot_be_is_named():
    with pytest.raises(ConfigError, match=r"covariance differs from its transpose by 0\.01"):
        MultivariateBetaGaussian(LOCATION, COVARIANCE + f64([0.0, 0.01], [0.0, 0.0]))
    for singular in (f64([1.0, 1.0], [1.0, 1.0]), f64([0.1, 0.3], [0.3, 0.9]), -COVARIANCE):
        with pytest.raises(ConfigError, match=r"covariance has an eigenvalue of .* positive definite"):
            MultivariateBetaGaussian(LOCATION, singular)
        with pytest.raises(ConfigError, match="scale has an eigenvalue"):
            MultivariateBetaGaussian.from_scale(LOCATION, singular)
    with pytest.raises(ConfigError, match=r"cholesky holds 0\.02.* above the diagonal"):
        MultivariateBetaGaussian.from_cholesky(LOCATION, COVARIANCE)
    with pytest.raises(ConfigError, match=r"covariance has shape \(2,\).*square"):
        MultivariateBetaGaussian(LOCATION, LOCATION)
    with pytest.raises(ConfigError, match=r"location has shape \(3,\) and covariance is of 2 dimensions"):
        MultivariateBetaGaussian(torch.zeros(3), COVARIANCE)
    with pytest.raises(ConfigError, match=r"location \(3,\), covariance \(2,\)"):
        MultivariateBetaGaussian(torch.zeros(3, 2), COVARIANCE.expand(2, 2, 2))
    with pytest.raises(ConfigError, match=r"alpha is 0\.5"):
        MultivariateBetaGaussian(LOCATION, COVARIANCE, 0.5)
    with pytest.raises(ConfigError, match="location holds nan"):
        MultivariateBetaGaussian(LOCATION * math.nan, COVARIANCE)
    with pytest.raises(ConfigError, match=r"widths holds 0\.0"):
        MultivariateGaussianBasis([[0.0, 0.0]], [0.0])
    with pytest.raises(ConfigError, match="density has 2 dimensions and the basis 1"):
        multivariate_gaussian_expectation(
            MultivariateBetaGaussian(LOCATION, COVARIANCE), MultivariateGaussianBasis([[0.0]], [1.0])
        )
    density = MultivariateBetaGaussian(LOCATION, f64([1.0, 1.0], [1.0, 1.0]), check=False)
    assert density.log_prob(LOCATION).isnan()
