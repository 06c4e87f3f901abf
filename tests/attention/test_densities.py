"""Laws of the beta-Gaussian family."""

import math

import pytest
import torch
from adaptive_quadrature import density as by_formula
from adaptive_quadrature import integrate
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck, gradgradcheck

from audioattn_lib.attention.densities import beta_gaussian as densities
from audioattn_lib.attention.densities.beta_gaussian import ALPHAS, BetaGaussian
from audioattn_lib.attention.record.density import Density
from audioattn_lib.core.errors import ConfigError

ALPHA = [1.0, 1.05, 4 / 3, 3 / 2, 1.7, 2.0, 3.0, 6.0]


def f64(*values):
    return torch.tensor(values, dtype=torch.float64)


@pytest.mark.parametrize("alpha", ALPHA)
@pytest.mark.parametrize("tensor", [False, True])
def test_pdf_moments_cdf_and_entropy_are_those_of_the_formula(alpha, tensor):
    location, variance = 0.3, 0.02
    given = f64(alpha) if tensor else alpha
    ours = BetaGaussian(f64(location), f64(variance), given)
    pdf = by_formula(alpha, location, variance)
    a = 9 * math.sqrt(variance) if alpha == 1 else ours.half_width.item()
    points = [location - a, location, location + a]
    assert integrate(pdf, points) == pytest.approx(1, abs=1e-9)
    assert integrate(lambda t: t * pdf(t), points) == pytest.approx(ours.mean.item(), abs=1e-9)
    assert integrate(lambda t: (t - location) ** 2 * pdf(t), points) == pytest.approx(variance, abs=1e-9)
    for t in (-0.5, 0.1, 0.29, 0.3, 0.42, 0.6, 1.5):
        assert ours.pdf(f64(t)).item() == pytest.approx(pdf(t), rel=1e-12)
        below = integrate(pdf, [location - a, max(location - a, min(t, location + a)), location - a])
        assert ours.cdf(f64(t)).item() == pytest.approx(below, abs=1e-9 if alpha > 2 else 1e-12)
    if alpha == 1:
        entropy = integrate(lambda t: -pdf(t) * math.log(pdf(t)) if pdf(t) > 0 else 0.0, points)
    else:
        entropy = (1 - integrate(lambda t: pdf(t) ** alpha, points)) / (alpha * (alpha - 1))
    assert ours.tsallis_entropy().item() == pytest.approx(entropy, abs=1e-9)


@settings(max_examples=40)
@given(
    st.floats(1.01, 4),
    st.floats(-5, 5),
    st.floats(1e-6, 10),
    st.floats(0.1, 5),
    st.floats(-3, 3),
    st.floats(-1.2, 1.2).filter(lambda u: abs(abs(u) - 1) > 1e-3),  # at the very end rounding decides
)
def test_laws_of_location_scale_and_support(alpha, location, variance, scale, shift, u):
    density = BetaGaussian(f64(location), f64(variance), alpha)
    other = BetaGaussian(f64(scale * location + shift), f64(scale**2 * variance), alpha)
    t = location + u * density.half_width
    torch.testing.assert_close(density.pdf(t), scale * other.pdf(scale * t + shift), rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(density.cdf(t) + density.cdf(2 * location - t), f64(1.0))
    low, high = density.support
    assert (density.pdf(torch.cat([low - 1e-6, high + 1e-6, low - 1, high + 1])) == 0).all()
    torch.testing.assert_close(density.cdf(torch.cat([low - 1e-6, high + 1e-6])), f64(0.0, 1.0))
    torch.testing.assert_close(
        BetaGaussian.from_half_width(density.location, density.half_width, alpha).variance, density.variance
    )


def test_support_shrinks_as_alpha_grows():
    widths = [BetaGaussian(f64(0.0), f64(1.0), alpha).half_width.item() for alpha in ALPHA]
    assert widths == sorted(widths, reverse=True)
    assert widths[0] == math.inf
    assert [BetaGaussian(f64(0.0), f64(1.0), a).half_width.item() for a in (4 / 3, 3 / 2, 2)] == pytest.approx(
        [3, math.sqrt(7), math.sqrt(5)]
    )


def test_limits_of_alpha():
    t = torch.linspace(-1.7, 1.7, 35, dtype=torch.float64)
    zero, one_variance = f64(0.0), f64(1.0)
    nearly = BetaGaussian(zero, one_variance, 1 + 1e-7)
    normal = torch.distributions.Normal(zero, one_variance)
    torch.testing.assert_close(nearly.log_prob(t), normal.log_prob(t), atol=1e-5, rtol=0)
    torch.testing.assert_close(nearly.cdf(t), normal.cdf(t), atol=1e-6, rtol=0)
    torch.testing.assert_close(nearly.tsallis_entropy(), normal.entropy(), atol=1e-5, rtol=0)
    flat = BetaGaussian.from_half_width(zero, one_variance, 1e6)
    torch.testing.assert_close(flat.pdf(t), torch.where(t.abs() < 1, 0.5, 0.0).double(), atol=1e-4, rtol=0)


@pytest.mark.parametrize("alpha", [*ALPHA, "tensor"])
@pytest.mark.parametrize("name", ["pdf", "log_prob", "cdf", "entropy", "tsallis_entropy"])
def test_gradients_of_both_orders(alpha, name):
    location, variance = f64(0.3, 0.3, 0.3).requires_grad_(), f64(0.02, 0.02, 0.02).requires_grad_()
    value = f64(0.25, 0.5, 0.3 if name == "log_prob" else 3.0)
    inputs = (location, variance, *([f64(1.3, 1.6, 2.2).requires_grad_()] if alpha == "tensor" else []))

    def f(location, variance, alpha=alpha):
        density = BetaGaussian(location, variance, alpha)
        return getattr(density, name)(*(() if "entropy" in name else (value,)))

    assert gradcheck(f, inputs)
    assert gradgradcheck(f, inputs)


@pytest.mark.parametrize("alpha", ALPHA)
def test_nothing_outside_the_support_spoils_a_gradient(alpha):
    location = f64(0.3).requires_grad_()
    outside = BetaGaussian(location, f64(0.02), alpha).log_prob(f64(30.0))
    assert (outside == -math.inf).all() or alpha < 1.1
    assert torch.autograd.grad(outside.sum(), location)[0].isfinite().all()


@pytest.mark.parametrize("alpha", [1.0, 4 / 3, 2.0])
def test_the_record_describes_the_same_density(alpha):
    ours = BetaGaussian(f64(0.4, 1.2), f64(0.01, 0.3), alpha)
    column = [x[:, None].numpy() for x in (ours.location, ours.variance)]
    record = Density(*column, alpha=0 * column[0] + alpha, mode_weight=0 * column[0] + 1)
    times = torch.linspace(-1, 3, 41, dtype=torch.float64)
    broadcast = BetaGaussian(ours.location[:, None], ours.variance[:, None], alpha)
    torch.testing.assert_close(broadcast.pdf(times), torch.from_numpy(record.pdf(times.numpy())))
    torch.testing.assert_close(broadcast.cdf(times), torch.from_numpy(record.cdf(times.numpy())))


def test_named_densities():
    for name, alpha in ALPHAS.items():
        assert getattr(densities, name)(torch.zeros(2), torch.ones(2)).alpha == alpha


def test_half_precision_is_accepted():
    for dtype in (torch.bfloat16, torch.float16):
        density = BetaGaussian(torch.zeros(2, dtype=dtype), torch.ones(2, dtype=dtype), 1.5)
        assert density.pdf(torch.zeros(2, dtype=dtype)).dtype == dtype
        assert density.cdf(torch.zeros(2, dtype=dtype)).eq(0.5).all()


def test_what_cannot_be_is_named():
    unit = torch.ones(2)
    with pytest.raises(ConfigError, match=r"alpha is 0\.9; .* at least 1"):
        BetaGaussian(unit, unit, 0.9)
    with pytest.raises(ConfigError, match=r"alpha holds 0\.5"):
        BetaGaussian(unit, unit, torch.tensor([0.5, 2.0]))
    with pytest.raises(ConfigError, match=r"variance holds -1\.0.*above 0"):
        BetaGaussian(unit, torch.tensor([1.0, -1.0]))
    with pytest.raises(ConfigError, match="location holds nan"):
        BetaGaussian(unit * math.nan, unit)
    with pytest.raises(ConfigError, match=r"half_width holds 0\.0"):
        BetaGaussian.from_half_width(unit, 0 * unit)
    with pytest.raises(ConfigError, match="above 1 have a half-width"):
        BetaGaussian.from_half_width(unit, unit, 1.0)
