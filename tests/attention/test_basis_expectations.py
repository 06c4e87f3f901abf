"""Expectations of powers, waves and any function."""

import math

import numpy as np
import pytest
import torch
from adaptive_quadrature import density as by_formula
from adaptive_quadrature import integrate
from scipy import special
from torch.autograd import gradcheck, gradgradcheck

from audioattn_lib.attention.densities.beta_gaussian import BetaGaussian
from audioattn_lib.attention.expectations.bases import FunctionBasis, PowerBasis, WaveBasis
from audioattn_lib.attention.expectations.gaussian import GaussianBasis, gaussian_expectation
from audioattn_lib.attention.expectations.general import basis_expectation, density_nodes
from audioattn_lib.core.errors import ConfigError

ALPHA = [1.0, 1.05, 4 / 3, 3 / 2, 1.7, 2.0, 3.0, 6.0]


def f64(*values):
    return torch.tensor(values, dtype=torch.float64)


def of_half_width(alpha, location, a):
    """A density that reaches a from its centre, or, close to a Gaussian, 8.3 standard deviations."""
    if alpha < 1.1:
        return BetaGaussian(location, (a / 8.3) ** 2, alpha)
    return BetaGaussian.from_half_width(location, a, alpha)


@pytest.mark.parametrize("half_width", [1e-3, 0.1, 1.5])
@pytest.mark.parametrize("alpha", ALPHA)
def test_waves_are_bessel_functions(alpha, half_width):
    omega = np.array([0.0, 0.3, 3.0, 20.0, 100.0])
    density = of_half_width(alpha, f64(0.4), f64(half_width))
    if alpha == 1:
        shape = np.exp(-0.5 * omega**2 * density.variance.item())
    else:
        k, x = 1 / (alpha - 1), omega * density.half_width.item()
        # the series where the quotient would be 0 / 0
        shape = special.hyp0f1(k + 1.5, -(x**2) / 4)
        if alpha > 1.1:
            large = x > 2
            shape[large] = special.gamma(k + 1.5) * (2 / x[large]) ** (k + 0.5) * special.jv(k + 0.5, x[large])
    truth = torch.from_numpy(np.concatenate([shape * np.cos(0.4 * omega), shape * np.sin(0.4 * omega)]))
    given = f64(alpha)
    for each in (density, BetaGaussian(density.location, density.variance, given)):
        torch.testing.assert_close(basis_expectation(each, WaveBasis(omega))[0], truth, atol=1e-12, rtol=0)


@pytest.mark.parametrize("alpha", ALPHA)
def test_powers_are_moments(alpha):
    location, variance = 0.3, 0.02
    density = BetaGaussian(f64(location), f64(variance), alpha)
    pdf = by_formula(alpha, location, variance)
    a = 10 * math.sqrt(variance) if alpha == 1 else density.half_width.item()
    ours = basis_expectation(density, PowerBasis(7))[0]
    for n in range(8):
        truth = integrate(lambda t, n=n: t**n * pdf(t), [location - a, location, location + a])
        assert ours[n].item() == pytest.approx(truth, abs=1e-10)
    torch.testing.assert_close(
        basis_expectation(BetaGaussian(f64(location), f64(variance), f64(alpha)), PowerBasis(7))[0], ours
    )


@pytest.mark.parametrize("alpha", [1.0, 4 / 3, 1.7, 3.0])
@pytest.mark.parametrize("interval", [None, (0.0, 1.0)])
def test_any_function_is_integrated_as_the_gaussians_are(alpha, interval):
    density = BetaGaussian(f64(0.1, 0.6), f64(0.01, 1e-4), alpha)
    basis = GaussianBasis([0.1, 0.55], [0.1, 0.4])
    ours = basis_expectation(density, FunctionBasis(basis, 2), interval=interval)
    torch.testing.assert_close(ours, gaussian_expectation(density, basis, interval=interval), atol=1e-12, rtol=0)
    torch.testing.assert_close(ours, basis_expectation(density, basis, interval=interval), atol=1e-12, rtol=0)


@pytest.mark.parametrize("interval", [None, (0.0, 0.5)])
@pytest.mark.parametrize(
    "basis", [PowerBasis(3), WaveBasis([1.0, 5.0]), FunctionBasis(lambda t: t.exp()[..., None], 1)]
)
def test_gradients_of_both_orders(basis, interval):
    inputs = tuple(x.requires_grad_() for x in (f64(0.3, 0.4), f64(0.02, 0.1), f64(1.4, 2.2)))

    def f(*arguments):
        return basis_expectation(BetaGaussian(*arguments, check=False), basis, interval=interval)

    assert gradcheck(f, inputs)
    assert gradgradcheck(f, inputs)


BASES = [PowerBasis(3), WaveBasis([1.0, 5.0]), FunctionBasis(lambda t: t.exp()[..., None], 1), GaussianBasis.grid(4)]


@pytest.mark.parametrize("alpha", [1.0, 4 / 3, 1.7])
@pytest.mark.parametrize("basis", BASES, ids=lambda basis: type(basis).__name__)
def test_mapped_over_a_batch_they_say_the_same(basis, alpha):
    def f(location, variance):
        return basis_expectation(BetaGaussian(location, variance, alpha, check=False), basis)

    location, variance = f64(0.3, 0.4, 0.9), f64(0.02, 0.1, 0.001)
    torch.testing.assert_close(torch.vmap(f)(location, variance), f(location, variance))
    jacobian = torch.vmap(torch.func.jacrev(f))(location, variance)
    alone = torch.stack([torch.func.jacrev(f)(*each) for each in zip(location, variance, strict=True)])
    torch.testing.assert_close(jacobian, alone)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("basis", BASES, ids=lambda basis: type(basis).__name__)
def test_compiled_by_torch_they_say_the_same(basis):
    def f(location, variance):
        return basis_expectation(BetaGaussian(location, variance, 4 / 3, check=False), basis)

    inputs = tuple(x.requires_grad_() for x in (f64(0.3, 0.4, 0.9), f64(0.02, 0.1, 0.001)))
    actual, expected = torch.compile(f, backend="aot_eager")(*inputs), f(*inputs)
    torch.testing.assert_close(actual, expected)
    for each, other in zip(*(torch.autograd.grad(x.square().sum(), inputs) for x in (actual, expected)), strict=True):
        torch.testing.assert_close(each, other)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_lower_precision_is_the_result_rounded(dtype):
    location, variance = torch.tensor([0.25, 0.5], dtype=dtype), torch.tensor([0.01, 0.03125], dtype=dtype)
    for basis in (PowerBasis(3), WaveBasis([2.0]), FunctionBasis(lambda t: t.exp()[..., None], 1)):
        low = basis_expectation(BetaGaussian(location, variance), basis)
        high = basis_expectation(BetaGaussian(location.double(), variance.double()), basis)
        assert low.dtype == dtype
        assert low.equal(high.to(dtype))
        assert basis(location).shape == (2, len(basis))


@pytest.mark.parametrize("alpha", [1.0, 1.5, torch.tensor(1.7)])
def test_nodes_carry_the_mass(alpha):
    places, mass = density_nodes(BetaGaussian(f64(0.3, 2.0), f64(0.02, 1.0), alpha), 40)
    torch.testing.assert_close(mass.sum(-1), f64(1.0, 1.0))
    torch.testing.assert_close((mass * places).sum(-1), f64(0.3, 2.0))


def test_bases_are_compared_by_value():
    assert PowerBasis(2) == PowerBasis(2) != PowerBasis(3)
    assert WaveBasis([1.0]) == WaveBasis([1.0]) != WaveBasis([2.0])
    assert len({PowerBasis(2), PowerBasis(2), WaveBasis([1.0]), WaveBasis([1.0])}) == 2
    assert PowerBasis(1) != WaveBasis([1.0])


def test_what_cannot_be_is_named():
    density = BetaGaussian(f64(0.0), f64(1.0))
    with pytest.raises(ConfigError, match="degree is -1"):
        PowerBasis(-1)
    with pytest.raises(ConfigError, match="frequencies is empty"):
        WaveBasis([])
    with pytest.raises(ConfigError, match="frequencies holds inf"):
        WaveBasis([math.inf])
    with pytest.raises(ConfigError, match="n_basis is 0"):
        FunctionBasis(torch.sin, 0)
    with pytest.raises(ConfigError, match=r"function returned the shape .*n_basis last"):
        basis_expectation(density, FunctionBasis(torch.sin, 2))
    with pytest.raises(ConfigError, match=r"interval is \(1, 0\)"):
        basis_expectation(density, WaveBasis([1.0]), interval=(1, 0))
    with pytest.raises(ConfigError, match="n_nodes is 0"):
        density_nodes(density, 0)
