"""The densities on the line as distributions of torch: quantiles, samples, conversions."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special
from torch.autograd import gradcheck, gradgradcheck
from torch.distributions import Distribution

from audioattn_lib.attention.densities.beta_gaussian import BetaGaussian
from audioattn_lib.attention.densities.multivariate import MultivariateBetaGaussian
from audioattn_lib.core.errors import ConfigError

ALPHA = [1.0, 1 + 1e-7, 1.0001, 1.05, 4 / 3, 3 / 2, 1.7, 2.0, 3.0, 6.0, 50.0]


def f64(*values):
    return torch.tensor(values, dtype=torch.float64)


@pytest.mark.parametrize("alpha", ALPHA)
def test_quantiles_are_those_of_the_incomplete_beta_function(alpha):
    q = f64(1e-30, 1e-12, 1e-6, 1e-3, 0.1, 0.3, 0.5, 0.77, 0.999, 1 - 1e-12)
    density = BetaGaussian(f64(0.3), f64(0.02), alpha)
    point = density.icdf(q)
    if alpha == 1:
        torch.testing.assert_close(point, 0.3 + math.sqrt(0.02) * torch.special.ndtri(q))
        return
    k = 1 / (alpha - 1)
    u = ((point - 0.3) / density.half_width).numpy()
    torch.testing.assert_close(torch.from_numpy(special.betainc(k + 1, k + 1, (1 + u) / 2)), q, atol=1e-12, rtol=0)
    assert (point.diff() >= 0).all()


@pytest.mark.parametrize("tensor", [False, True])
@pytest.mark.parametrize("alpha", [1.0, 4 / 3, 2.0])
def test_quantiles_at_the_ends_and_beyond(alpha, tensor):
    location = f64(1.0).requires_grad_()
    q = f64(0.0, 1.0, -0.1, 1.1).requires_grad_()
    density = BetaGaussian(location, f64(0.25), f64(alpha) if tensor else alpha)
    point = density.icdf(q)
    low, high = density.support
    torch.testing.assert_close(point[:2], torch.cat([low, high]))
    assert point[2:].isnan().all()
    for gradient in torch.autograd.grad(point[:2][point[:2].isfinite()].sum(), (location, q)):
        assert gradient.isfinite().all()
    torch.testing.assert_close(density.cdf(density.icdf(f64(0.25, 0.5))), f64(0.25, 0.5))


@settings(max_examples=40)
@given(st.floats(1.0, 8.0), st.floats(-5, 5), st.floats(1e-6, 10), st.floats(1e-9, 1 - 1e-9))
def test_cdf_of_a_quantile_is_the_mass(alpha, location, variance, q):
    density = BetaGaussian(f64(location), f64(variance), alpha)
    # how many digits of the mass the rounding of the point leaves
    rounding = 4e-16 * abs(location) * density.pdf(density.location).item()
    assert density.cdf(density.icdf(f64(q))).item() == pytest.approx(q, abs=1e-10 + rounding)


@pytest.mark.parametrize("alpha", [1.0, 4 / 3, 1.7, 3.0])
def test_gradients_of_quantiles(alpha):
    inputs = (f64(0.3, -1.0), f64(0.02, 2.0), f64(0.2, 0.93))
    inputs = tuple(x.requires_grad_() for x in inputs)

    def f(location, variance, q):
        return BetaGaussian(location, variance, alpha).icdf(q)

    assert gradcheck(f, inputs)
    assert gradgradcheck(f, inputs)


def test_gradients_of_quantiles_with_respect_to_alpha():
    q, alpha = f64(0.2, 0.93).requires_grad_(), f64(1.3, 2.4).requires_grad_()

    def f(q, alpha):
        return BetaGaussian(f64(0.0), f64(1.0), alpha).icdf(q)

    assert gradcheck(f, (q, alpha))
    assert gradgradcheck(f, (q, alpha))


@pytest.mark.parametrize("alpha", [1.0, 1.2, 2.0, 5.0])
def test_samples_have_the_moments_and_the_distribution(alpha):
    density = BetaGaussian(f64(0.3, 4.0), f64(0.02, 3.0), alpha)
    generator = torch.Generator().manual_seed(3)
    points = density.sample((40000,), generator)
    assert points.shape == (40000, 2)
    assert density.support.check(points).all()
    standard = (points - density.mean) / density.stddev
    assert standard.mean(0).abs().max() < 0.02
    assert (standard.var(0) - 1).abs().max() < 0.03
    mass = density.cdf(points).sort(0).values  # uniform; Kolmogorov and Smirnov
    steps = (torch.arange(40000, dtype=torch.float64)[:, None] + 0.5) / 40000
    assert (mass - steps).abs().max() < 2.2 / math.sqrt(40000)
    assert density.sample((3,), torch.Generator().manual_seed(3)).equal(
        density.sample((3,), torch.Generator().manual_seed(3))
    )


def test_samples_carry_gradients():
    location, variance = f64(0.3).requires_grad_(), f64(0.5).requires_grad_()
    alpha = f64(1.6).requires_grad_()
    density = BetaGaussian(location, variance, alpha)
    generator = torch.Generator().manual_seed(0)
    points = density.rsample((100000,), generator)
    ours = torch.autograd.grad((points**2).mean(), (location, variance), retain_graph=True)
    truth = torch.autograd.grad((density.location**2 + density.variance).sum(), (location, variance))
    torch.testing.assert_close(ours, truth, atol=0.02, rtol=0)
    # the fourth central moment depends on alpha: 3 (3a-1)/(5a-3) var^2
    ours = torch.autograd.grad(((points - location) ** 4).mean(), alpha)[0]
    truth = torch.autograd.grad((3 * (3 * alpha - 1) / (5 * alpha - 3) * variance.detach() ** 2).sum(), alpha)[0]
    torch.testing.assert_close(ours, truth, atol=0.02, rtol=0.05)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("alpha", [1.0, 1.5, torch.tensor([1.0, 1.7])])
def test_everything_has_the_dtype_of_the_parameters(alpha, dtype):
    alpha = alpha.to(dtype) if isinstance(alpha, torch.Tensor) else alpha
    location = torch.tensor([0.25, 0.5], dtype=dtype)
    for density in (
        BetaGaussian(location, 0 * location + 0.5, alpha),
        MultivariateBetaGaussian(location[:, None].expand(2, 3), 0.5 * torch.eye(3, dtype=dtype), alpha),
    ):
        results = [density.mean, density.variance, density.stddev, density.mode, density.entropy(), density.scale]
        results += [density.tsallis_entropy(), density.sample((2,)), density.pdf(density.mean), density.half_width]
        assert {x.dtype for x in results} == {dtype}
        assert all(x.isfinite().all() for x in results[:-1])


@pytest.mark.parametrize("alpha", [1.0, 1.2, 2.0, 4.0])
def test_shannon_entropy_is_the_mean_of_minus_log(alpha):
    density = BetaGaussian(f64(0.3), f64(0.02), alpha)
    a = 9 * density.stddev if alpha == 1 else density.half_width
    u = torch.linspace(-1, 1, 200001, dtype=torch.float64)[1:-1]
    p = density.pdf(density.location + a * u)
    entropy = torch.trapezoid(-p * p.clamp(min=1e-300).log(), a * u)
    torch.testing.assert_close(density.entropy()[0], entropy, atol=1e-6, rtol=0)


@pytest.mark.parametrize("excess", [1e-5, 1e-8, 1e-12, 2.3e-16])
def test_alpha_close_to_one_is_nearly_the_gaussian(excess):
    density, t = BetaGaussian(f64(0.3), f64(0.02), 1 + excess), f64(0.1, 0.29, 0.5)
    normal = torch.distributions.Normal(f64(0.3), f64(0.02).sqrt())
    tolerance = {"atol": 20 * excess + 1e-9, "rtol": 20 * excess + 1e-9}
    torch.testing.assert_close(density.log_prob(t), normal.log_prob(t), **tolerance)
    torch.testing.assert_close(density.cdf(t), normal.cdf(t), **tolerance)
    torch.testing.assert_close(density.icdf(normal.cdf(t)), t, **tolerance)
    torch.testing.assert_close(density.entropy(), normal.entropy(), **tolerance)
    torch.testing.assert_close(density.scale, density.variance, atol=1, rtol=1e3 * excess + 1e-7)


def test_it_is_a_distribution_of_torch():
    density = BetaGaussian(torch.zeros(3, 1), torch.ones(2), 2.0)
    assert isinstance(density, Distribution)
    assert density.batch_shape == (3, 2)
    assert density.event_shape == ()
    assert density.expand((5, 3, 2)).sample().shape == (5, 3, 2)
    mixture = torch.distributions.MixtureSameFamily(torch.distributions.Categorical(torch.ones(3, 2)), density)
    assert mixture.log_prob(torch.zeros(3)).shape == (3,)
    assert mixture.cdf(torch.zeros(3)).eq(0.5).all()
    joint = torch.distributions.Independent(density, 1)
    assert joint.log_prob(torch.zeros(3, 2)).shape == (3,)
    assert set(density.arg_constraints) == {"location", "variance", "alpha"}
    low, high = density.support
    assert density.support.check(low).all()
    assert not density.support.check(high + 1e-3).any()


# Martins et al., JMLR 2022: a = R (sigma^2)^(1 / (alpha + 1)), and what follows for the variance
@pytest.mark.parametrize(
    ("alpha", "radius", "scale_of"),
    [
        (4 / 3, (945 / 4) ** (1 / 7), lambda v: (4 / 945) ** (1 / 3) * (9 * v) ** (7 / 6)),
        (3 / 2, 15 ** (1 / 5), lambda v: 15**-0.5 * (7 * v) ** 1.25),
        (2.0, 1.5 ** (1 / 3), lambda v: 2 / 3 * (5 * v) ** 1.5),
        (1.0, math.inf, lambda v: v),
    ],
)
def test_the_scale_of_the_score(alpha, radius, scale_of):
    variance = f64(1e-4, 0.02, 3.0)
    density = BetaGaussian(f64(0.3), variance, alpha)
    torch.testing.assert_close(density.scale, scale_of(variance))
    torch.testing.assert_close(BetaGaussian.from_scale(f64(0.3), density.scale, alpha).variance, variance)
    given = torch.full((3,), alpha, dtype=torch.float64)
    torch.testing.assert_close(BetaGaussian.from_scale(f64(0.3), density.scale, given).variance, variance)
    if alpha > 1:
        torch.testing.assert_close(density.half_width, radius * density.scale ** (1 / (alpha + 1)))


@settings(max_examples=30)
@given(st.floats(1.01, 5), st.floats(1e-3, 10))
def test_the_density_is_the_maximiser_of_its_score(alpha, variance):
    density = BetaGaussian(f64(0.0), f64(variance), alpha)
    t = density.half_width * torch.linspace(-0.95, 0.95, 20, dtype=torch.float64)
    score = -(t**2) / (2 * density.scale)
    # p^(alpha - 1) = (alpha - 1) (f - tau) with one tau on the whole support
    tau = score - density.pdf(t) ** (alpha - 1) / (alpha - 1)
    assert (tau - tau[0]).abs().max() < 1e-9 * tau.abs().max()


def test_vmap():
    location, variance, q = f64(0.1, 0.2, 0.3), f64(0.5, 0.1, 2.0), f64(0.2, 0.6, 0.9)

    def f(location, variance, q):
        density = BetaGaussian(location, variance, 1.7, check=False)
        return density.icdf(q), density.cdf(q), density.log_prob(q), density.entropy()

    for each, other in zip(torch.vmap(f)(location, variance, q), f(location, variance, q), strict=True):
        torch.testing.assert_close(each, other)


def test_what_cannot_be_is_named():
    unit = torch.ones(2)
    with pytest.raises(ConfigError, match=r"scale holds -1\.0.*above 0"):
        BetaGaussian.from_scale(unit, -unit)
    with pytest.raises(ConfigError, match=r"do not broadcast: location \(2,\), variance \(3,\)"):
        BetaGaussian(unit, torch.ones(3))
    with pytest.raises(ConfigError, match=r"alpha \(4,\)"):
        BetaGaussian(unit, unit, torch.full((4,), 2.0))
