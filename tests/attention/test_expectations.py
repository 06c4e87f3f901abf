"""Laws of expectations under continuous densities."""

import math

import numpy as np
import pytest
import torch
from adaptive_quadrature import expectation as by_quad
from torch.autograd import gradcheck, gradgradcheck

from audioattn_lib.attention.densities.beta_gaussian import BetaGaussian
from audioattn_lib.attention.expectations.gaussian import GaussianBasis, expectation, gaussian_expectation
from audioattn_lib.core.errors import ConfigError

# torch's own, on the first use of forward-mode differentiation
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")

NAMED = [1.0, 4 / 3, 3 / 2, 2.0]
OTHERS = [1.001, 1.1, 1.7, 3.0, 5.0]


def cases(alpha, n):
    """Half-widths from 1e-3 to 1.5, basis widths from .03 to .5, near and far."""
    rng = np.random.default_rng(20)
    factor = 3.0 if alpha == 1 else math.sqrt((3 * alpha - 1) / (alpha - 1))
    a = np.concatenate([10 ** rng.uniform(-3, math.log10(1.5), n // 2), rng.uniform(1e-3, 1.5, n - n // 2 - 2)])
    a = np.concatenate([a, [1e-3, 1.5]])
    if alpha < 1.1:  # nearly Gaussian: the support says little, the deviation counts
        a *= factor / 3
    location = np.float32(rng.uniform(0, 1, n)).astype(float)
    variance = np.float32((a / factor) ** 2).astype(float)
    width = np.where(rng.uniform(size=n) < 0.3, 0.03, rng.uniform(0.03, 0.5, n))
    centre = np.where(rng.uniform(size=n) < 0.5, rng.uniform(0, 1, n), location + rng.uniform(-1, 1, n) * a)
    return location, variance, centre, width


@pytest.mark.parametrize("interval", [None, (0.0, 1.0)])
@pytest.mark.parametrize("alpha", NAMED + OTHERS)
def test_agrees_with_adaptive_quadrature(alpha, interval):
    location, variance, centre, width = cases(alpha, 24)
    for each in zip(location, variance, centre, width, strict=True):
        truth = by_quad(alpha, *each, *([interval] if interval else []))
        basis = GaussianBasis([each[2]], [each[3]])
        for dtype, budget in ((torch.float64, 1e-12), (torch.float32, 2e-6)):
            density = BetaGaussian(torch.tensor([each[0]], dtype=dtype), torch.tensor([each[1]], dtype=dtype), alpha)
            ours = gaussian_expectation(density, basis, interval=interval)
            # close to alpha = 1 the reference itself is good to fewer digits than ours
            assert abs(ours.item() - truth) <= budget * (20 if alpha == 1.001 else 1), (dtype, each)


@pytest.mark.parametrize("alpha", NAMED + OTHERS)
def test_a_tensor_of_alphas_means_the_same_as_a_number(alpha):
    location = torch.linspace(0, 1, 7, dtype=torch.float64)
    variance = torch.logspace(-6, -1, 7, dtype=torch.float64)
    basis = GaussianBasis.grid(12)
    number = gaussian_expectation(BetaGaussian(location, variance, alpha), basis)
    tensor = gaussian_expectation(BetaGaussian(location, variance, torch.full_like(location, alpha)), basis)
    torch.testing.assert_close(number, tensor, atol=1e-12, rtol=0)


@pytest.mark.parametrize("interval", [None, (0.0, 1.0)])
@pytest.mark.parametrize("alpha", [*NAMED, 1.7])
def test_gradients_of_both_orders(alpha, interval):
    location = torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64, requires_grad=True)
    variance = torch.tensor([1e-4, 3e-3, 6e-2], dtype=torch.float64, requires_grad=True)
    basis = GaussianBasis.grid(6, (0.1, 0.5))

    def f(location, variance):
        return gaussian_expectation(BetaGaussian(location, variance, alpha), basis, interval=interval)

    assert gradcheck(f, (location, variance), eps=1e-7, atol=1e-4)
    assert gradgradcheck(f, (location, variance), eps=1e-7, atol=1e-2)
    if interval is None:
        assert gradcheck(f, (location, variance), eps=1e-7, atol=1e-4, check_forward_ad=True, check_backward_ad=False)


def test_gradient_with_respect_to_alpha():
    location = torch.tensor([0.2, 0.5, 0.7], dtype=torch.float64, requires_grad=True)
    variance = torch.tensor([1e-2, 3e-3, 6e-2], dtype=torch.float64, requires_grad=True)
    alpha = torch.tensor([1.2, 1.9, 2.6], dtype=torch.float64, requires_grad=True)
    basis = GaussianBasis.grid(4, (0.2,))

    def f(*arguments):
        return gaussian_expectation(BetaGaussian(*arguments), basis)

    assert gradcheck(f, (location, variance, alpha))
    assert gradgradcheck(f, (location, variance, alpha))


@pytest.mark.parametrize("alpha", [4 / 3, 1.7])
def test_two_forwards_before_a_backward(alpha):
    basis = GaussianBasis.grid(8)
    location = torch.tensor([0.3, 0.8], dtype=torch.float64, requires_grad=True)

    def context(variance):
        return gaussian_expectation(BetaGaussian(location, torch.full_like(location, variance), alpha), basis).sum()

    alone = [torch.autograd.grad(context(v), location)[0] for v in (0.01, 0.05)]
    first, second = context(0.01), context(0.05)
    torch.testing.assert_close(torch.autograd.grad(first, location)[0], alone[0])
    torch.testing.assert_close(torch.autograd.grad(second, location)[0], alone[1])


@pytest.mark.parametrize("alpha", [1.0, 3 / 2, 1.7])
def test_vmap_and_its_derivatives(alpha):
    location = torch.linspace(0.1, 0.9, 5, dtype=torch.float64)
    variance = torch.linspace(1e-3, 5e-2, 5, dtype=torch.float64)
    basis = GaussianBasis.grid(6)

    def f(location, variance):
        return gaussian_expectation(BetaGaussian(location, variance, alpha, check=False), basis)

    torch.testing.assert_close(torch.vmap(f)(location, variance), f(location, variance))
    jacobian = torch.vmap(torch.func.jacrev(f))(location, variance)
    torch.testing.assert_close(torch.vmap(torch.func.jacfwd(f))(location, variance), jacobian)
    step = 1e-6
    torch.testing.assert_close((f(location + step, variance) - f(location - step, variance)) / (2 * step), jacobian)


@pytest.mark.parametrize("alpha", NAMED)
def test_translation_and_scale(alpha):
    location, variance = torch.tensor([0.4], dtype=torch.float64), torch.tensor([0.02], dtype=torch.float64)
    here = gaussian_expectation(BetaGaussian(location, variance, alpha), GaussianBasis([0.5, 0.1], [0.2, 0.05]))
    moved = gaussian_expectation(
        BetaGaussian(3 * location + 7, 9 * variance, alpha), GaussianBasis([8.5, 7.3], [0.6, 0.15])
    )
    torch.testing.assert_close(here, 3 * moved)


def test_half_precision_is_float32_rounded():
    basis = GaussianBasis.grid(16)
    for dtype in (torch.bfloat16, torch.float16):
        location, variance = torch.tensor([0.25, 0.5], dtype=dtype), torch.tensor([0.01, 0.03125], dtype=dtype)
        low = gaussian_expectation(BetaGaussian(location, variance), basis)
        assert low.dtype == dtype
        torch.testing.assert_close(
            low, gaussian_expectation(BetaGaussian(location.float(), variance.float()), basis).to(dtype)
        )


@pytest.mark.parametrize("alpha", [*NAMED, 1.7, 3.0])
def test_expectation_of_any_function(alpha):
    location = torch.tensor([[0.3], [-2.0]], dtype=torch.float64, requires_grad=True)
    variance = torch.tensor([[0.5], [2.0]], dtype=torch.float64)
    density = BetaGaussian(location, variance, alpha)

    def powers(t):
        return torch.stack([torch.ones_like(t), t, t**2], dim=-1)

    moments = expectation(powers, density)
    assert moments.shape == (2, 1, 3)
    truth = torch.stack([torch.ones_like(location), location, location**2 + variance], dim=-1)
    torch.testing.assert_close(moments, truth)
    assert gradcheck(lambda m: expectation(torch.cos, BetaGaussian(m, variance, alpha)), (location,))


def test_what_cannot_be_is_named():
    unit = torch.ones(1)
    with pytest.raises(ConfigError, match=r"widths holds 0\.0.*above 0"):
        GaussianBasis([0.0], [0.0])
    with pytest.raises(ConfigError, match="n_basis is 127 for 2 widths"):
        GaussianBasis.grid(127)
    with pytest.raises(ConfigError, match="2 centres and 1 widths"):
        GaussianBasis([0.0, 1.0], [1.0])
    with pytest.raises(ConfigError, match="n_nodes is 0"):
        expectation(torch.cos, BetaGaussian(unit, unit), 0)


@pytest.mark.parametrize("alpha", [4 / 3, 3 / 2, 2.0, 1.0001, 1.7, 3.0, 5.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_compiled_loops_and_pytorch_say_the_same(alpha, dtype, monkeypatch):
    torch.manual_seed(0)
    basis = GaussianBasis.grid(12, (0.03, 0.5))
    location = torch.rand(4, 3, dtype=dtype, requires_grad=True)
    variance = torch.logspace(-6, -1, 12, dtype=dtype).reshape(4, 3).requires_grad_()

    def run():
        result = gaussian_expectation(BetaGaussian(location, variance, alpha), basis)
        return result, *torch.autograd.grad(result.sin().sum(), (location, variance))

    ours = run()
    monkeypatch.setattr("audioattn_lib.attention.expectations._numba._loops", lambda: None)
    tolerance = 1e-11 if dtype == torch.float64 else 2e-6
    for each, other in zip(ours, run(), strict=True):
        torch.testing.assert_close(each, other, atol=tolerance, rtol=10 * tolerance)


def test_compiled_loops_take_any_layout():
    basis = GaussianBasis.grid(6)
    location, variance = torch.rand(3, 4).T, torch.rand(4, 1).expand(4, 3) + 0.1
    ours = gaussian_expectation(BetaGaussian(location, variance), basis)
    torch.testing.assert_close(
        ours, gaussian_expectation(BetaGaussian(location.contiguous(), variance.contiguous()), basis)
    )
    assert gaussian_expectation(BetaGaussian(location[:0], variance[:0]), basis).shape == (0, 3, 6)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("alpha", [1.0, *(pytest.param(each, marks=pytest.mark.long) for each in (3 / 2, 1.7))])
def test_compiled_graphs_say_the_same(alpha):
    basis = GaussianBasis.grid(6)
    location, variance = torch.rand(5, dtype=torch.float64), torch.rand(5, dtype=torch.float64) + 0.01

    def f(location, variance):
        return gaussian_expectation(BetaGaussian(location, variance, alpha, check=False), basis)

    torch.testing.assert_close(torch.compile(f)(location, variance), f(location, variance))


@pytest.mark.cuda
@pytest.mark.parametrize("alpha", [1.0, 3 / 2, 1.7])
def test_cuda_says_the_same(alpha):
    basis = GaussianBasis.grid(6)
    location, variance = torch.rand(5, dtype=torch.float64), torch.rand(5, dtype=torch.float64) + 0.01
    there = gaussian_expectation(BetaGaussian(location.cuda(), variance.cuda(), alpha), basis)
    torch.testing.assert_close(there.cpu(), gaussian_expectation(BetaGaussian(location, variance, alpha), basis))
