"""Laws of the maps over sizes, dimensions, precisions and transforms."""

import math
from functools import partial

import entmax as package
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck, gradgradcheck

from audioattn_lib.attention.maps.entmax import entmax, softmax, sparsemax

ALPHA = [1.0, 4 / 3, 1.5, 1.7, 2.0, 2.5]
rows = st.lists(st.floats(-8, 8, width=32), min_size=2, max_size=12)


@pytest.mark.parametrize("dim", [0, 1, 2, -1, -2, -3])
@pytest.mark.parametrize("alpha", ALPHA)
def test_every_dimension_agrees_with_the_entmax_package(alpha, dim):
    x = 3 * torch.randn(4, 7, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    exact = {1.0: torch.softmax, 1.5: package.entmax15, 2.0: package.sparsemax}
    bisection = partial(package.entmax_bisect, alpha=alpha, n_iter=90)
    torch.testing.assert_close(entmax(x, alpha, dim), exact.get(alpha, bisection)(x, dim=dim), atol=1e-12, rtol=0)
    by_rows = entmax(x.movedim(dim, -1).reshape(-1, x.shape[dim]), torch.tensor(alpha, dtype=x.dtype))
    ours = entmax(x, alpha, dim).movedim(dim, -1)
    torch.testing.assert_close(ours.reshape(by_rows.shape), by_rows, atol=1e-10, rtol=0)


@pytest.mark.parametrize("alpha", [*ALPHA, torch.tensor([[1.3], [2.2]])], ids=str)
@pytest.mark.parametrize("dim", [-3, 2])
def test_gradients_of_both_orders_in_the_outer_dimensions(alpha, dim):
    x = torch.randn(2, 2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).requires_grad_()
    if isinstance(alpha, torch.Tensor):
        alpha = alpha.double() if dim == 2 else alpha.double().reshape(2, 1)
    assert gradcheck(lambda x: entmax(x, alpha, dim), x)
    assert gradgradcheck(lambda x: entmax(x, alpha, dim), x)


@settings(max_examples=60)
@given(rows, st.sampled_from([4 / 3, 1.5, 1.7, 2.0]))
def test_weights_solve_the_problem_that_defines_them(scores, alpha):
    """On the support x_i - p_i^(alpha-1)/(alpha-1) is one number, and no score off it is above that number."""
    x = torch.tensor(scores, dtype=torch.float64)
    p = entmax(x, alpha)
    level = x - p ** (alpha - 1) / (alpha - 1)
    top = level[p.argmax()]
    torch.testing.assert_close(level[p > 1e-8], top.expand_as(level[p > 1e-8]), atol=1e-6, rtol=0)
    assert (level <= top + 1e-6).all()


@settings(max_examples=40)
@given(rows)
def test_alpha_leads_from_softmax_to_the_largest(scores):
    x = torch.tensor(scores, dtype=torch.float64)
    torch.testing.assert_close(entmax(x, 1 + 1e-7), softmax(x), atol=1e-5, rtol=0)
    best = (x == x.max()).double()
    near = (x > x.max() - 1e-3) & (best == 0)
    if not near.any():
        torch.testing.assert_close(entmax(1e4 * x, 20.0), best / best.sum(), atol=1e-9, rtol=0)
    support = [int((entmax(x, alpha) > 1e-9).sum()) for alpha in (1.0, 1.2, 4 / 3, 1.5, 1.7, 2.0, 3.0)]
    assert support == sorted(support, reverse=True)
    assert support[0] == len(scores) or x.max() - x.min() > 15


@settings(max_examples=40)
@given(rows, rows)
def test_sparsemax_is_a_projection(scores, others):
    """No point of the simplex is closer; and a projection brings no two points further apart."""
    n = min(len(scores), len(others))
    x, y = (torch.tensor(values[:n], dtype=torch.float64) for values in (scores, others))
    p, q = sparsemax(x), sparsemax(y)
    assert (p - q).norm() <= (x - y).norm() + 1e-9
    assert (x - p).norm() <= (x - softmax(y)).norm() + 1e-9
    torch.testing.assert_close(sparsemax(p), p)


@pytest.mark.parametrize("alpha", ALPHA)
def test_what_is_masked_has_no_influence(alpha):
    generator = torch.Generator().manual_seed(6)
    x = torch.randn(4, 9, generator=generator)
    mask = torch.rand(4, 9, generator=generator) > 0.4
    p = entmax(x, alpha, mask=mask)
    for row in range(4):
        torch.testing.assert_close(p[row, mask[row]], entmax(x[row, mask[row]], alpha), atol=1e-6, rtol=0)
    broadcast = mask[:1]
    torch.testing.assert_close(entmax(x, alpha, mask=broadcast), entmax(x, alpha, mask=broadcast.expand(4, 9)))


@pytest.mark.parametrize("alpha", [*ALPHA, torch.tensor(1.4)], ids=str)
def test_rows_without_anything_have_finite_gradients_of_both_orders(alpha):
    x = torch.randn(3, 4, requires_grad=True)
    mask = torch.tensor([[True], [False], [True]]).expand(3, 4)
    p = entmax(x, alpha, mask=mask)
    (first,) = torch.autograd.grad(p.square().sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(first.square().sum(), x)
    for tensor in (p, first, second):
        assert tensor.isfinite().all()
        assert (tensor[1] == 0).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("alpha", [1.7, torch.tensor(1.3)], ids=str)
def test_half_precision_is_float32_rounded(dtype, alpha):
    x = (5 * torch.randn(6, 40)).to(dtype).requires_grad_()
    p, whole = entmax(x, alpha), entmax(x.detach().float().requires_grad_(), alpha)
    torch.testing.assert_close(p.float(), whole, atol=torch.finfo(dtype).eps, rtol=torch.finfo(dtype).eps)
    p.float().square().sum().backward()
    assert x.grad.isfinite().all()


@pytest.mark.parametrize("alpha", ALPHA)
@pytest.mark.parametrize("dim", [0, -1])
def test_one_score_gets_everything(alpha, dim):
    shape = (1, 3) if dim == 0 else (3, 1)
    x = torch.tensor([5.0, -1e30, 1e30]).reshape(shape).requires_grad_()
    p = entmax(x, alpha, dim)
    torch.testing.assert_close(p, torch.ones(shape))
    p.square().sum().backward()
    assert (x.grad == 0).all()


@pytest.mark.parametrize("alpha", ALPHA)
def test_memory_out_of_order_changes_nothing(alpha):
    base = torch.randn(6, 8, 10)
    for x in (base.transpose(0, 2), base[:, ::2], base[..., 1:7:2], base[:, :1].expand(6, 8, 10)):
        for dim in (0, 1, 2):
            torch.testing.assert_close(entmax(x, alpha, dim), entmax(x.contiguous(), alpha, dim), atol=1e-6, rtol=0)


@pytest.mark.parametrize("alpha", ALPHA)
def test_vmap_is_the_loop(alpha):
    x = torch.randn(3, 4, 5)
    for in_dim, dim in ((0, -1), (1, 0), (2, -2)):
        mapped = torch.vmap(partial(entmax, alpha=alpha, dim=dim), in_dims=in_dim)(x)
        looped = torch.stack([entmax(slice_of_x, alpha, dim) for slice_of_x in x.unbind(in_dim)])
        torch.testing.assert_close(mapped, looped, atol=2e-6, rtol=0)


def test_alpha_tensors_fit_rows_and_are_refused_where_they_do_not():
    x = torch.randn(2, 3, 4)
    alpha = torch.tensor([1.2, 1.5, 2.0])
    p = entmax(x, alpha[:, None])
    for head in range(3):
        torch.testing.assert_close(p[:, head], entmax(x[:, head], alpha[head].item()), atol=1e-5, rtol=0)
    with pytest.raises(ValueError, match="alpha varies along dim -1"):
        entmax(x, torch.full((4,), 1.5))
    with pytest.raises(ValueError, match=r"alpha has shape \(5, 1\); .* scores, \(2, 3, 4\)"):
        entmax(x, torch.full((5, 1), 1.5))
    with pytest.raises(ValueError, match="more axes"):
        entmax(x, torch.full((1, 1, 1, 1), 1.5))
    for bad in (math.nan, math.inf, 0.99):
        with pytest.raises(Exception, match="alpha holds"):
            entmax(x, torch.tensor(bad))


# Dynamo makes an instance of a Function, which Function warns of
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
@pytest.mark.slow
@pytest.mark.parametrize("alpha", [4 / 3, 1.5, 1.7, 2.0, torch.tensor(1.6)], ids=str)
def test_compiled_by_torch_is_the_same(alpha):
    compiled = torch.compile(lambda x: entmax(x, alpha), fullgraph=True, backend="aot_eager")
    x = torch.randn(5, 30, requires_grad=True)
    p, expected = compiled(x), entmax(x, alpha)
    torch.testing.assert_close(p, expected, atol=1e-6, rtol=0)
    first, other = (torch.autograd.grad(w.square().sum(), x)[0] for w in (p, expected))
    torch.testing.assert_close(first, other, atol=1e-5, rtol=0)
