"""Laws of the variance of a value function under a density."""

import itertools

import numpy as np
import pytest
import torch
from scipy import integrate

from audioattn_lib.attention.densities.beta_gaussian import BetaGaussian
from audioattn_lib.attention.expectations.gaussian import GaussianBasis
from audioattn_lib.attention.expectations.value_function import BOUNDARIES, ValueFunction
from audioattn_lib.attention.expectations.value_variance import coefficient_variance, value_variance


def function(boundary="zero", n_basis=24):
    return ValueFunction(GaussianBasis.grid(n_basis), 0.1, boundary)


def frames(n_frames=30, features=3, clips=1):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(clips, n_frames, features, dtype=torch.float64, generator=generator)


def density(location, deviation, alpha):
    return BetaGaussian(*(torch.tensor([x], dtype=torch.float64) for x in (location, deviation**2)), alpha)


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("alpha", [1.0, 4 / 3, 2.0])
@pytest.mark.parametrize(("location", "deviation"), [(0.4, 1e-3), (0.05, 0.05), (0.6, 0.29), (0.5, 0.5)])
def test_it_is_the_variance_that_adaptive_quadrature_finds(boundary, alpha, location, deviation):
    values, p, read = frames(features=1), density(location, deviation, alpha), function(boundary)
    coefficients = read.matrix(30).T @ values[0]
    reach = min(float(p.half_width), 8 * deviation)
    low, high = location - reach, location + reach
    if boundary == "renormalise":
        low, high = max(low, 0.0), min(high, 1.0)

    def moment(power, centre=0.0):
        def integrand(t):
            t = torch.tensor([t], dtype=torch.float64)
            return float(p.pdf(t) * ((read.basis(t) @ coefficients)[0, 0] - centre) ** power)

        breaks = np.linspace(low, high, 9)
        return sum(integrate.quad(integrand, a, b, epsabs=1e-12)[0] for a, b in itertools.pairwise(breaks))

    mass = moment(0)
    expected = moment(2, moment(1) / mass) / mass
    value = float(value_variance(read, p, values, [30]))
    assert value == pytest.approx(expected, rel=2e-4 if alpha == 1 else 2e-5)


def test_a_value_that_does_not_change_does_not_vary():
    constant = torch.ones(1, 40, 2, dtype=torch.float64)
    inside = density(0.5, 0.1, 2.0)
    assert value_variance(function("reflect"), inside, constant, [40]).max() < 1e-4
    # the zero margin pulls the function down: where it is read there, it varies
    assert value_variance(function("zero"), density(0.02, 0.1, 2.0), constant, [40]).min() > 1e-3


def test_it_scales_with_the_square_of_the_values():
    read, p, values = function(), density(0.3, 0.1, 1.5), frames()
    torch.testing.assert_close(value_variance(read, p, 3 * values, [30]), 9 * value_variance(read, p, values, [30]))


@pytest.mark.parametrize("lengths", [[30, 17, 1], [17, 17, 17], [30, 30, 30]])
@pytest.mark.parametrize("published", [True, False])
def test_every_clip_is_read_as_if_it_were_alone(lengths, published):
    read, values = function(), frames(clips=3)
    location, variance = torch.tensor([0.2, 0.5, 0.8]).double(), torch.tensor([0.01, 0.05, 0.1]).double()

    def variances(rows, counts, n_frames):
        single = BetaGaussian(location[rows], variance[rows], 2.0)
        x = values[rows, :n_frames]
        if published:
            return coefficient_variance(read, read.expect(single), x, counts)
        return value_variance(read, single, x, counts)

    for clip, length in enumerate(lengths):
        values[clip, length:] = 0.0
    together = variances(slice(0, 3), lengths, 30)
    for clip, length in enumerate(lengths):
        torch.testing.assert_close(variances(slice(clip, clip + 1), [length], length)[0], together[clip])


def test_the_published_variance_is_the_published_formula():
    read, values, p = function(), frames(), density(0.4, 0.2, 2.0)
    r = read.expect(p)[0]
    B = values[0].T @ read.matrix(30)  # (features, basis)
    c = B @ r
    torch.testing.assert_close(coefficient_variance(read, r[None], values, [30])[0], (B - c[:, None]).square() @ r)


def test_the_gradient_is_the_gradient():
    read, values = function(n_basis=8), frames(9, 2)

    def variance(location, spread, values):
        return value_variance(read, BetaGaussian(location, spread, 4 / 3, check=False), values, [9])

    location, spread = (torch.tensor([x], dtype=torch.float64, requires_grad=True) for x in (0.3, 0.02))
    assert torch.autograd.gradcheck(variance, (location, spread, values.requires_grad_()))


@pytest.mark.parametrize("alpha", [1.0, 4 / 3, 2.0])
@pytest.mark.parametrize("variance", [1e-7, 1e-3, 0.25])
def test_single_precision_keeps_its_digits_however_narrow_the_density(alpha, variance):
    read, values = function(), 10 + frames()
    location, spread = torch.tensor([0.4]), torch.tensor([variance])
    exact = value_variance(read, BetaGaussian(location.double(), spread.double(), alpha), values, [30])
    single = value_variance(read, BetaGaussian(location, spread, alpha), values.float(), [30])
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), exact, rtol=1e-3, atol=0.0)
