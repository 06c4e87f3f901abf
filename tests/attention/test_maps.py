"""Laws of the maps from scores to weights."""

import math
from functools import partial

import entmax as reference
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck, gradgradcheck

from audioattn_lib.attention.maps import entmax as maps
from audioattn_lib.attention.maps.entmax import entmax, entmax15, softmax, sparsemax
from audioattn_lib.core.errors import ConfigError

ALPHA = [1.0, 1.001, 1.05, 4 / 3, 1.5, 1.7, 2.0, 3.0]


def by_package(x, alpha):
    x = x.double()
    exact = {1.0: torch.softmax, 1.5: reference.entmax15, 2.0: reference.sparsemax}
    return exact[alpha](x, dim=-1) if alpha in exact else reference.entmax_bisect(x, alpha, n_iter=90)


@pytest.mark.parametrize("tensor", [False, True])
@pytest.mark.parametrize("alpha", ALPHA)
@pytest.mark.parametrize(("dtype", "budget"), [(torch.float64, 1e-12), (torch.float32, 3e-6)])
def test_agrees_with_the_entmax_package(alpha, dtype, budget, tensor):
    generator = torch.Generator().manual_seed(1)
    for n in (1, 2, 5, 50, 400, 8000):
        for scale in (0.01, 1.0, 5.0, 100.0):
            x = torch.randn(6, n, generator=generator, dtype=dtype) * scale
            ours = entmax(x, torch.tensor(alpha, dtype=dtype) if tensor else alpha)
            assert ours.dtype == dtype
            # for alpha near 1 the package's bisection loses digits that Newton keeps
            slack = 1e4 if alpha == 1.001 and dtype == torch.float64 else 1
            torch.testing.assert_close(ours.double(), by_package(x, alpha), atol=budget * slack, rtol=0)


@pytest.mark.parametrize("alpha", [4 / 3, 1.5, 1.7, 2.0])
def test_scores_that_are_hard_for_newton(alpha):
    n = 2000
    hard = torch.stack(
        [
            -torch.arange(n) / 1.0,
            -torch.arange(n) / n,
            -(2.0 ** -torch.arange(n).double()).flip(0).float(),
            -(torch.arange(n).float() ** 2) / n,
            torch.zeros(n),
            torch.where(torch.arange(n) == 7, 0.0, -0.9),
            torch.where(torch.arange(n) < n - 1, -1e-3, 0.0),
            1e4 + torch.linspace(0, 3, n),
            torch.distributions.Cauchy(0.0, 1.0).icdf((torch.arange(n) + 0.5) / n),
        ]
    ).double()
    ours = entmax(hard, alpha)
    torch.testing.assert_close(ours, by_package(hard, alpha), atol=1e-11, rtol=0)
    torch.testing.assert_close(entmax(hard.float(), alpha).sum(-1), torch.ones(len(hard)))
    on_device = torch.vmap(partial(entmax, alpha=alpha))(hard)  # the fixed number of steps of a device
    torch.testing.assert_close(on_device, ours, atol=1e-9, rtol=0)


def test_large_inputs_are_solved_in_blocks_with_the_same_result():
    x = torch.randn(3, 300, 400)
    whole = entmax15(x)
    assert torch.equal(whole[1, 200:210], entmax15(x[1, 200:210].contiguous()))


@settings(max_examples=60)
@given(
    st.lists(st.floats(-20, 20, width=32), min_size=1, max_size=12),
    st.floats(1, 4),
    st.floats(-100, 100),
    st.randoms(use_true_random=False),
)
def test_laws_of_every_map(scores, alpha, shift, random):
    x = torch.tensor(scores, dtype=torch.float64)
    p = entmax(x, alpha)
    assert (p >= 0).all()
    torch.testing.assert_close(p.sum(), torch.ones((), dtype=torch.float64))
    torch.testing.assert_close(entmax(x + shift, alpha), p, atol=1e-5, rtol=0)
    order = list(range(len(scores)))
    random.shuffle(order)
    torch.testing.assert_close(entmax(x[order], alpha), p[order], atol=1e-9, rtol=0)
    larger = x[:, None] > x
    assert (p[:, None] - p)[larger].ge(-1e-12).all()


@settings(max_examples=30)
@given(st.lists(st.floats(-6, 6, width=32), min_size=2, max_size=20))
def test_sparsity_grows_with_alpha(scores):
    x = torch.tensor(scores, dtype=torch.float64)
    zeros = [(entmax(x, alpha) < 1e-9).sum().item() for alpha in (4 / 3, 1.5, 2.0)]
    assert zeros == sorted(zeros)
    assert (softmax(x) > 0).all()


def test_limits_of_alpha():
    x = torch.tensor([0.0, 1.0, 1.3], dtype=torch.float64)
    torch.testing.assert_close(entmax(x, 1 + 1e-9), torch.softmax(x, -1), atol=1e-6, rtol=0)
    torch.testing.assert_close(entmax(10 * x, 50.0), torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64))


@pytest.mark.parametrize("alpha", [1.0, 1.2, 4 / 3, 1.5, 2.0, 3.0])
@pytest.mark.parametrize("dim", [0, 1, -1, -2])
def test_gradients_of_both_orders_with_mask(alpha, dim):
    generator = torch.Generator().manual_seed(4)
    x = torch.randn(2, 5, 4, dtype=torch.float64, generator=generator, requires_grad=True)
    mask = torch.rand(2, 5, 4, generator=generator) > 0.3
    mask[0, :, 0] = False
    mask[:, 1, 1] = False
    mask[1, 2] = False
    assert gradcheck(lambda x: entmax(x, alpha, dim, mask), x)
    assert gradgradcheck(lambda x: entmax(x, alpha, dim, mask), x)


def test_gradient_with_respect_to_alpha():
    generator = torch.Generator().manual_seed(4)
    x = torch.randn(3, 6, 4, dtype=torch.float64, generator=generator, requires_grad=True)
    for values in ([1.01, 1.4, 1.9, 2.4], [1.3]):
        alpha = torch.tensor(values, dtype=torch.float64, requires_grad=True)
        assert gradcheck(lambda x, alpha: entmax(x, alpha, 1), (x, alpha))
    assert gradgradcheck(lambda x, alpha: entmax(x, alpha, 1), (x, alpha))


@pytest.mark.parametrize("map", [softmax, entmax15, sparsemax, partial(entmax, alpha=1.7), partial(entmax, alpha=2.5)])
def test_rows_with_nothing_to_attend_to(map):
    x = torch.randn(3, 4, requires_grad=True)
    mask = torch.tensor([[True] * 4, [False] * 4, [True, False, True, False]])
    p = map(x, mask=mask)
    assert (p[1] == 0).all()
    assert (p[~mask] == 0).all()
    torch.testing.assert_close(p.sum(-1), torch.tensor([1.0, 0.0, 1.0]))
    p.square().sum().backward()
    assert x.grad.isfinite().all()
    assert (x.grad[~mask] == 0).all()
    with torch.no_grad():
        torch.testing.assert_close(map(x.masked_fill(~mask, -math.inf)), p)
        torch.testing.assert_close(map(x[2, ::2]), p[2, ::2])
        hidden = x.masked_fill(~mask, math.nan)
        torch.testing.assert_close(map(hidden, mask=mask), p)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("alpha", [1.0, 4 / 3, 1.5, 2.0])
def test_half_precision_is_float32_rounded(dtype, alpha):
    x = (3 * torch.randn(4, 30)).to(dtype).requires_grad_()
    p = entmax(x, alpha)
    assert p.dtype == dtype
    assert torch.equal(p, entmax(x.float(), alpha).to(dtype))
    p.float().square().sum().backward()
    assert x.grad.dtype == dtype
    assert x.grad.isfinite().all()


@pytest.mark.parametrize("alpha", [1.0, 1.5, 1.7, 2.0])
def test_vmap_and_its_derivatives(alpha):
    x = torch.randn(3, 4, dtype=torch.float64)
    f = partial(entmax, alpha=alpha)
    torch.testing.assert_close(torch.vmap(f)(x), f(x))
    jacobian = torch.vmap(torch.func.jacrev(f))(x)
    torch.testing.assert_close(torch.autograd.functional.jacobian(f, x[0]), jacobian[0])
    torch.testing.assert_close(jacobian.sum(-1), torch.zeros(3, 4, dtype=torch.float64))


def test_modules_are_the_functions():
    x = torch.randn(3, 5, 4)
    mask = torch.rand(3, 5, 4) > 0.2
    for module, function in (
        (maps.Softmax(1), softmax),
        (maps.Sparsemax(1), sparsemax),
        (maps.Entmax15(1), entmax15),
        (maps.Entmax(1.3, 1), partial(entmax, alpha=1.3)),
    ):
        assert torch.equal(module(x, mask), function(x, dim=1, mask=mask))


def test_what_cannot_be_is_named():
    x = torch.randn(2, 3)
    with pytest.raises(ConfigError, match=r"alpha is 0\.5; .* at least 1"):
        entmax(x, 0.5)
    with pytest.raises(ConfigError, match=r"alpha holds 0\.5"):
        entmax(x, torch.tensor([[2.0], [0.5]]))
    with pytest.raises(ConfigError, match="alpha is nan"):
        maps.Entmax(math.nan)
    with pytest.raises(ValueError, match="alpha varies along dim -1"):
        entmax(x, torch.ones(3))
    bad = x.clone()
    bad[1, 2], bad[0, 1] = math.nan, math.inf
    for map in (softmax, sparsemax, entmax15):
        with pytest.raises(ValueError, match=r"2 values that are NaN or \+inf, the first at \(0, 1\), \(1, 2\)"):
            map(bad)
    with pytest.raises(ValueError, match="mask has dtype"):
        softmax(x, mask=torch.ones(2, 3))
    with pytest.raises(ValueError, match=r"mask has shape \(4,\), scores \(2, 3\)"):
        softmax(x, mask=torch.ones(4, dtype=torch.bool))
    with pytest.raises(ValueError, match=r"dim is 2; .* from -2 to 1"):
        softmax(x, dim=2)
    with pytest.raises(ValueError, match="empty along dim -1"):
        softmax(torch.ones(2, 0))
    with pytest.raises(ValueError, match=r"dtype torch.int64"):
        softmax(torch.ones(2, 3, dtype=torch.int64))
