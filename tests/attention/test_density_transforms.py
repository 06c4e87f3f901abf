"""Densities and expectations under function transforms: vmap, grad, jacrev, jvp, of both orders and one in another."""

import itertools
from functools import partial

import pytest
import torch
from torch.func import grad, hessian, jacfwd, jacrev, jvp, vmap
from torch.utils import _pytree as pytree

from audioattn_lib.attention.densities.beta_gaussian import BetaGaussian
from audioattn_lib.attention.densities.mixture import Mixture
from audioattn_lib.attention.densities.multivariate import MultivariateBetaGaussian
from audioattn_lib.attention.expectations.bases import MultivariateGaussianBasis, PowerBasis, WaveBasis
from audioattn_lib.attention.expectations.gaussian import GaussianBasis, expectation, gaussian_expectation
from audioattn_lib.attention.expectations.general import basis_expectation
from audioattn_lib.attention.expectations.multivariate import (
    multivariate_expectation,
    multivariate_gaussian_expectation,
)
from audioattn_lib.attention.pooling.frames import ContinuousAttention
from audioattn_lib.attention.pooling.time_frequency import TimeFrequencyAttention


def f64(*values):
    return torch.tensor(values, dtype=torch.float64)


LOCATION, VARIANCE, ALPHAS = f64(0.3, 0.62), f64(0.02, 0.05), f64(1.3, 1.6)
BASIS, PLANE = GaussianBasis.grid(4), MultivariateGaussianBasis.grid((2, 2))


def line(location, variance, alpha):
    return BetaGaussian(location, variance, alpha, check=False)


def plane(location, variance, alpha):
    factor = torch.stack([torch.stack([variance.sqrt(), 0 * variance], -1), torch.stack([location, variance], -1)], -2)
    return MultivariateBetaGaussian.from_cholesky(torch.stack([location, 1 - location], -1), factor, alpha, check=False)


def mixture(location, variance, alpha):
    return Mixture(location / location.sum(), line(location, variance, alpha), check=False)


FUNCTIONS = {
    "pdf": lambda *x: line(*x).pdf(f64(0.3, 0.5)),
    "log_prob": lambda *x: line(*x).log_prob(f64(0.3, 0.5)),
    "cdf": lambda *x: line(*x).cdf(f64(0.3, 0.5)),
    "icdf": lambda *x: line(*x).icdf(f64(0.5, 0.3)),
    "entropy": lambda *x: line(*x).entropy(),
    "tsallis_entropy": lambda *x: line(*x).tsallis_entropy(),
    "plane log_prob": lambda *x: plane(*x).log_prob(f64([0.32, 0.72], [0.6, 0.37])),
    "plane entropy": lambda *x: plane(*x).entropy(),
    "gaussian_expectation": lambda *x: gaussian_expectation(line(*x), BASIS),
    "gaussian_expectation, interval": lambda *x: gaussian_expectation(line(*x), BASIS, interval=(0.0, 0.7)),
    "multivariate_gaussian_expectation": lambda *x: multivariate_gaussian_expectation(plane(*x), PLANE),
    "powers": lambda *x: basis_expectation(line(*x), PowerBasis(3)),
    "waves": lambda *x: basis_expectation(line(*x), WaveBasis([2.0]), interval=(0.0, 0.7)),
    "expectation": lambda *x: expectation(torch.sin, line(*x), 8),
    "multivariate_expectation": lambda *x: multivariate_expectation(lambda t: t.prod(-1).sin(), plane(*x), 6),
    "mixture cdf": lambda *x: mixture(*x).cdf(f64(0.5)[0]),
    "mixture icdf": lambda *x: mixture(*x).icdf(f64(0.4)[0]),
    "mixture log_prob": lambda *x: mixture(*x).log_prob(f64(0.5)[0]),
    "mixture expectation": lambda *x: gaussian_expectation(mixture(*x), BASIS),
}
EVERY = pytest.mark.parametrize("name", FUNCTIONS)


def flat(tree):
    return torch.cat([leaf.flatten() for leaf in pytree.tree_leaves(tree)])


def function_and_inputs(name, alpha):
    if alpha is not ALPHAS:
        return lambda location, variance: FUNCTIONS[name](location, variance, alpha), (LOCATION, VARIANCE)
    if name in ("expectation", "multivariate_expectation"):
        pytest.skip("a rule of Gauss is for one alpha that is a number")
    if name == "mixture icdf":
        pytest.skip("sixty bisections of a quadrature: too long for what the masses and one alpha show")
    return FUNCTIONS[name], (LOCATION, VARIANCE, ALPHAS)


@EVERY
@pytest.mark.parametrize("alpha", [1.0, 1.7, ALPHAS], ids=str)
def test_forward_and_reverse_mode_say_the_same(name, alpha):
    f, inputs = function_and_inputs(name, alpha)
    every = tuple(range(len(inputs)))
    plain = [x.clone().requires_grad_() for x in inputs]
    out = f(*plain)
    rows = [torch.autograd.grad(y, plain, retain_graph=True, materialize_grads=True) for y in out.flatten()]
    truth = torch.cat([torch.stack([row[i] for row in rows]) for i in every], dim=-1)
    for mode in (jacfwd, jacrev):
        joined = torch.cat([x.reshape(out.numel(), -1) for x in mode(f, every)(*inputs)], dim=-1)
        torch.testing.assert_close(joined, truth, rtol=1e-9, atol=1e-10)
    tangents = tuple(torch.linspace(-1, 1, x.numel()).to(x) for x in inputs)
    torch.testing.assert_close(
        jvp(f, inputs, tangents)[1].flatten(), truth @ torch.cat(tangents), rtol=1e-9, atol=1e-10
    )
    torch.testing.assert_close(flat(grad(lambda *x: f(*x).sum(), every)(*inputs)), truth.sum(0), rtol=1e-9, atol=1e-10)


@EVERY
@pytest.mark.parametrize("alpha", [1.5, ALPHAS], ids=str)
def test_derivatives_of_derivatives_in_every_order_of_the_modes(name, alpha):
    """The second derivatives of autograd, whatever is taken inside of what."""
    f, inputs = function_and_inputs(name, alpha)
    every = tuple(range(len(inputs)))

    def total(*inputs):
        return f(*inputs).sin().sum()

    truth = flat(torch.autograd.functional.hessian(total, inputs))
    for outer, inner in itertools.product((jacfwd, jacrev), repeat=2):
        torch.testing.assert_close(flat(outer(inner(total, every), every)(*inputs)), truth, rtol=1e-8, atol=1e-8)


@EVERY
@pytest.mark.parametrize("alpha", [1.0, 1.5])
def test_a_backward_through_vmap(name, alpha):
    f, _ = function_and_inputs(name, alpha)
    shift = f64(0.0, 0.01, 0.02)[:, None]
    location, variance = (LOCATION + shift).requires_grad_(), (VARIANCE + shift).requires_grad_()
    mapped, one_by_one = vmap(f)(location, variance), torch.stack([f(*x) for x in zip(location, variance, strict=True)])
    torch.testing.assert_close(mapped, one_by_one, rtol=1e-9, atol=1e-10)
    for measured, expected in zip(
        *(
            torch.autograd.grad(x.sin().sum(), (location, variance), materialize_grads=True)
            for x in (mapped, one_by_one)
        ),
        strict=True,
    ):
        torch.testing.assert_close(measured, expected, rtol=1e-9, atol=1e-10)


MODULES = {
    "continuous": (ContinuousAttention, (6,)),
    "renormalise": (partial(ContinuousAttention, boundary="renormalise"), (6,)),
    "two modes": (partial(ContinuousAttention, n_components=2), (6,)),
    "deviation": (partial(ContinuousAttention, with_std=True), (6,)),
    "convolution": (partial(ContinuousAttention, encoder="convolution"), (6,)),
    "time and frequency": (TimeFrequencyAttention, (4, 3)),
}


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.parametrize("alpha", [1.0, 1.5, 1.7])
def test_modules_clip_by_clip_and_both_modes(name, alpha):
    torch.manual_seed(0)
    make, shape = MODULES[name]
    attention = make(3, alpha, n_basis=6, hidden_size=4).double()
    frames = torch.randn(3, *shape, 3, dtype=torch.float64, requires_grad=True)

    def one(clip):
        return attention(clip[None])[0][0]

    mapped, batch = vmap(one)(frames), attention(frames)[0]
    torch.testing.assert_close(mapped, batch)
    by_frames = [torch.autograd.grad(x.sin().sum(), frames)[0] for x in (mapped, batch)]
    torch.testing.assert_close(*by_frames)
    clip = frames[0].detach()
    torch.testing.assert_close(jacrev(one)(clip), jacfwd(one)(clip))
    torch.testing.assert_close(hessian(lambda x: one(x).sum())(clip), jacrev(jacrev(lambda x: one(x).sum()))(clip))
