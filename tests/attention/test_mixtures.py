"""Laws of mixtures on the line."""

import math

import pytest
import torch
from adaptive_quadrature import density as by_formula
from adaptive_quadrature import integrate
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck, gradgradcheck
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from audioattn_lib.attention.densities.beta_gaussian import BetaGaussian
from audioattn_lib.attention.densities.mixture import Mixture
from audioattn_lib.attention.densities.multivariate import MultivariateBetaGaussian
from audioattn_lib.attention.expectations.bases import MultivariateGaussianBasis, PowerBasis
from audioattn_lib.attention.expectations.gaussian import GaussianBasis, expectation, gaussian_expectation
from audioattn_lib.attention.expectations.general import basis_expectation
from audioattn_lib.attention.expectations.multivariate import (
    multivariate_expectation,
    multivariate_gaussian_expectation,
)
from audioattn_lib.core.errors import ConfigError


def f64(*values):
    return torch.tensor(values, dtype=torch.float64)


WEIGHTS, LOCATION, VARIANCE = f64(0.2, 0.5, 0.3), f64(0.1, 0.4, 0.9), f64(0.001, 0.01, 0.0004)


def mixture(alpha, weights=WEIGHTS, location=LOCATION, variance=VARIANCE):
    return Mixture(weights, BetaGaussian(location, variance, alpha))


@pytest.mark.parametrize("alpha", [1.0, 4 / 3, 1.7, 3.0])
def test_mass_moments_and_cdf(alpha):
    ours = mixture(alpha)
    parts = [by_formula(alpha, m, v) for m, v in zip(LOCATION.tolist(), VARIANCE.tolist(), strict=True)]

    def pdf(t):
        return sum(w * component(t) for w, component in zip(WEIGHTS.tolist(), parts, strict=True))

    reach = 9 * VARIANCE.sqrt() if alpha == 1 else ours.components.half_width
    ends = [*(LOCATION - reach).tolist(), *LOCATION.tolist(), *(LOCATION + reach).tolist()]
    assert integrate(pdf, ends) == pytest.approx(1, abs=1e-9)
    mean = integrate(lambda t: t * pdf(t), ends)
    assert ours.mean.item() == pytest.approx(mean, abs=1e-9)
    assert ours.variance.item() == pytest.approx(integrate(lambda t: (t - mean) ** 2 * pdf(t), ends), abs=1e-9)
    for t in (0.1, 0.25, 0.5, 0.7, 0.91):
        assert ours.pdf(f64(t)).item() == pytest.approx(pdf(t), abs=1e-12)
        below = integrate(pdf, [e for e in ends if e < t] + [t])
        assert ours.cdf(f64(t)).item() == pytest.approx(below, abs=1e-8)


def test_log_prob_neither_overflows_nor_underflows():
    far = mixture(1.0).log_prob(f64(50.0, -80.0))
    assert far.isfinite().all()
    weights = WEIGHTS.clone().requires_grad_()
    location = LOCATION.clone().requires_grad_()
    off = mixture(2.0, weights, location).log_prob(f64(5.0))
    assert off.item() == -math.inf
    for gradient in torch.autograd.grad(off.sum(), (weights, location)):
        assert gradient.eq(0).all()
    # a mode of weight 0 changes nothing, and has the gradient p_m / p
    none = f64(0.0, 1.0).requires_grad_()
    both = Mixture(none, BetaGaussian(f64(0.0, 0.1), f64(1.0, 1.0), 1.0))
    log = both.log_prob(f64(0.3))
    torch.testing.assert_close(log, both.components.log_prob(f64(0.3, 0.3))[1:])
    ratio = both.components.pdf(f64(0.3, 0.3))
    torch.testing.assert_close(torch.autograd.grad(log.sum(), none)[0], ratio / ratio[1])


@settings(max_examples=25)
@given(st.floats(1.0, 5.0), st.floats(0.001, 0.999))
def test_quantiles(alpha, q):
    ours = mixture(alpha)
    point = ours.icdf(f64(q))
    assert ours.cdf(point).item() == pytest.approx(q, abs=1e-9)


@pytest.mark.parametrize("alpha", [1.0, 1.5])
def test_samples_have_the_moments(alpha):
    ours = mixture(alpha)
    points = ours.sample((40000,), torch.Generator().manual_seed(0))
    assert points.shape == (40000,)
    assert ours.support.check(points).all()
    assert abs(points.mean() - ours.mean) < 0.006
    assert abs(points.var() - ours.variance) < 0.003
    mass = ours.cdf(points).sort().values  # uniform; Kolmogorov and Smirnov
    assert (mass - torch.linspace(0, 1, 40000, dtype=torch.float64)).abs().max() < 2.2 / math.sqrt(40000)


def test_supports():
    low, high = mixture(2.0).support
    torch.testing.assert_close(high - low, 2 * math.sqrt(5) * VARIANCE.sqrt())
    assert mixture(2.0).support.check(f64(0.1, 0.7)).tolist() == [True, False]


@pytest.mark.parametrize("interval", [None, (0.0, 0.45)])
@pytest.mark.parametrize("alpha", [1.0, 1.5, 1.7])
def test_expectations_are_weighted_sums(alpha, interval):
    ours = mixture(alpha)
    basis = GaussianBasis([0.1, 0.5], [0.1, 0.3])
    t = torch.linspace(-1, 2, 300001, dtype=torch.float64)
    low, high = interval or (-1.0, 2.0)
    p = ours.pdf(t) * ((t >= low) & (t <= high))
    truth = (p[:, None] * basis(t)).sum(0) / p.sum()
    torch.testing.assert_close(gaussian_expectation(ours, basis, interval=interval), truth, atol=1e-4, rtol=1e-4)
    moments = basis_expectation(ours, PowerBasis(2), interval=interval)
    truth = (p[:, None] * PowerBasis(2)(t)).sum(0) / p.sum()
    torch.testing.assert_close(moments, truth, atol=1e-4, rtol=1e-4)
    if interval is None:
        torch.testing.assert_close(moments[2], ours.variance + ours.mean**2)
        torch.testing.assert_close(expectation(lambda t: t**2, ours), moments[2])


@pytest.mark.parametrize("alpha", [1.0, 1.5])
@pytest.mark.parametrize("name", ["pdf", "log_prob", "cdf", "expectation"])
def test_gradients_of_both_orders(alpha, name):
    basis = GaussianBasis([0.1, 0.5], [0.1, 0.3])

    def f(scores, location, variance):
        ours = Mixture(scores.softmax(-1), BetaGaussian(location, variance, alpha, check=False), check=False)
        return gaussian_expectation(ours, basis) if name == "expectation" else getattr(ours, name)(f64(0.35))

    inputs = (f64(0.1, 0.5, -0.3), LOCATION.clone(), 0.1 + VARIANCE)
    inputs = tuple(x.requires_grad_() for x in inputs)
    assert gradcheck(f, inputs)
    assert gradgradcheck(f, inputs)


class Elements(TorchDispatchMode):
    """Counts the elements of every tensor that is made."""

    def __init__(self):
        super().__init__()
        self.total = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        self.total += sum(x.numel() for x in tree_leaves(made) if isinstance(x, torch.Tensor))
        return made


@pytest.mark.parametrize("alpha", [1.0, 4 / 3, 1.7])
@pytest.mark.parametrize("grown", ["modes", "functions", "modes on the plane", "functions on the plane", "nodes"])
def test_memory_grows_linearly_in_modes_functions_and_nodes(alpha, grown):
    def cost(factor):
        modes = 4 * (factor if grown.startswith("modes") else 1)
        functions = 16 * (factor if grown.startswith("functions") else 1)
        weights = torch.full((modes,), 1 / modes).requires_grad_()
        with Elements() as elements:
            if "plane" in grown or grown == "nodes":
                location = torch.rand(modes, 2, requires_grad=True)
                covariance = 0.01 * torch.eye(2).repeat(modes, 1, 1)
                ours = Mixture(weights, MultivariateBetaGaussian(location, covariance, alpha, check=False), check=False)
                if grown == "nodes":
                    # a rule of n nodes along each of two axes has n^2
                    result = multivariate_expectation(lambda x: x.sin(), ours, 8 * round(factor**0.5))
                else:
                    basis = MultivariateGaussianBasis.grid((functions // 4, 4), (0.1,))
                    result = multivariate_gaussian_expectation(ours, basis)
            else:
                location = torch.rand(modes, requires_grad=True)
                ours = Mixture(
                    weights, BetaGaussian(location, torch.full((modes,), 0.01), alpha, check=False), check=False
                )
                result = gaussian_expectation(ours, GaussianBasis.grid(functions))
            result.sum().backward()
        return elements.total

    costs = [cost(factor) for factor in (1, 4, 16)]
    assert costs[1] < 5 * costs[0]
    assert costs[2] < 5 * costs[1]


def test_gradients_of_quantiles_and_samples():
    inputs = tuple(x.requires_grad_() for x in (f64(0.1, 0.5), f64(0.2, 0.6), f64(0.05, 0.02)))

    def build(scores, location, variance):
        return Mixture(scores.softmax(-1), BetaGaussian(location, variance, 1.5, check=False), check=False)

    assert gradcheck(lambda *x: build(*x).icdf(f64(0.1, 0.6)), inputs)
    ours = build(*inputs)
    points = ours.rsample((40000,), torch.Generator().manual_seed(0))
    gradient = torch.autograd.grad((points**2).mean(), inputs, retain_graph=True)
    truth = torch.autograd.grad(ours.variance + ours.mean**2, inputs)
    torch.testing.assert_close(gradient, truth, atol=0.03, rtol=0.03)


def test_batches_and_dtypes():
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        weights = torch.full((4, 2), 0.5, dtype=dtype)
        ours = Mixture(weights, BetaGaussian(torch.zeros(4, 2, dtype=dtype), torch.ones(2, dtype=dtype), 1.5))
        assert ours.batch_shape == (4,)
        assert ours.expand((3, 4)).sample((2,)).shape == (2, 3, 4)
        for measured in (ours.mean, ours.variance, ours.sample(), ours.icdf(torch.full((4,), 0.5, dtype=dtype))):
            assert measured.dtype == dtype
            assert measured.shape == (4,)


def test_what_cannot_be_is_named():
    density = BetaGaussian(torch.zeros(2), torch.ones(2))
    with pytest.raises(ConfigError, match=r"weights holds -0\.5"):
        Mixture(torch.tensor([-0.5, 1.5]), density)
    with pytest.raises(ConfigError, match=r"sum of weights over modes holds 1\.5.*must be 1"):
        Mixture(torch.tensor([0.5, 1.0]), density)
    with pytest.raises(ConfigError, match=r"weights have shape \(3,\).*number of modes"):
        Mixture(torch.ones(3) / 3, density)
    with pytest.raises(ConfigError, match=r"weights have shape \(3, 2\).*one shape"):
        Mixture(torch.full((3, 2), 0.5), BetaGaussian(torch.zeros(4, 2), torch.ones(2)))
    flat = Mixture(f64(0.5, 0.5), MultivariateBetaGaussian(torch.zeros(2, 2), torch.eye(2)))
    with pytest.raises(NotImplementedError, match="on the line"):
        flat.cdf(torch.zeros(2))
