"""Laws of the Fenchel-Young losses."""

import math

import entmax as package
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck, gradgradcheck

from audioattn_lib.attention.maps.entmax import entmax
from audioattn_lib.attention.maps.losses import Entmax15Loss, EntmaxLoss, SparsemaxLoss, entmax_loss
from audioattn_lib.core.errors import ConfigError

ALPHA = [1.0, 1.001, 4 / 3, 1.5, 1.7, 2.0, 3.0]


def scores(*shape, scale=2.0):
    return scale * torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(5))


@pytest.mark.parametrize("alpha", ALPHA)
def test_agrees_with_the_entmax_package(alpha):
    x, target = scores(7, 11), torch.arange(7)
    if alpha == 1:
        expected = torch.nn.functional.cross_entropy(x, target, reduction="none")
    elif alpha in (1.5, 2):
        expected = {1.5: package.entmax15_loss, 2: package.sparsemax_loss}[alpha](x, target)
    else:
        expected = package.entmax_bisect_loss(x, target, alpha, 90)
    ours = entmax_loss(x, target, alpha, reduction="none")
    torch.testing.assert_close(ours, expected, atol=1e-7 if alpha == 1.001 else 1e-12, rtol=0)


def test_alpha_one_is_cross_entropy_and_divergence():
    x, target = scores(4, 6, 3), torch.randint(0, 6, (4, 3))
    target[1, 2] = -100
    torch.testing.assert_close(entmax_loss(x, target, 1.0, 1), torch.nn.functional.cross_entropy(x, target))
    y = torch.softmax(scores(4, 6, 3, scale=1.0).flip(0), 1)
    divergence = torch.nn.functional.kl_div(torch.log_softmax(x, 1), y, reduction="none").sum(1)
    torch.testing.assert_close(entmax_loss(x, y, 1.0, 1, reduction="none"), divergence)


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.floats(-20, 20), st.floats(-4, 4)), min_size=1, max_size=10),
    st.floats(1, 4),
    st.floats(-100, 100),
)
def test_laws_of_the_loss(pairs, alpha, shift):
    z, other = torch.tensor(pairs, dtype=torch.float64).unbind(-1)
    y = entmax(other, 1.6)
    loss = entmax_loss(z, y, alpha)
    assert loss >= -1e-9
    torch.testing.assert_close(
        entmax_loss(z, entmax(z, alpha), alpha), torch.zeros((), dtype=z.dtype), atol=1e-7, rtol=0
    )
    torch.testing.assert_close(entmax_loss(z + shift, y, alpha), loss, atol=1e-6, rtol=1e-9)
    flat = entmax_loss(torch.zeros_like(z), y, alpha)
    middle = entmax_loss(z / 2, y, alpha)
    assert middle <= (loss + flat) / 2 + 1e-9, "the loss is not convex in the scores"
    classes = torch.stack([entmax_loss(z, torch.tensor(i), alpha) for i in range(len(z))])
    one_hot = torch.stack([entmax_loss(z, row, alpha) for row in torch.eye(len(z), dtype=z.dtype)])
    torch.testing.assert_close(classes, one_hot)
    assert classes.argmin() == z.argmax() or classes.min() == classes[z.argmax()]


@pytest.mark.parametrize("alpha", [1.0, 4 / 3, 1.5, 2.0])
@pytest.mark.parametrize("dim", [0, 1, -1])
def test_gradients_of_both_orders(alpha, dim):
    x = scores(3, 4, 5).requires_grad_()
    y = entmax(scores(3, 4, 5).flip(0), 1.2, dim).detach().requires_grad_()
    target = y.argmax(dim)
    assert gradcheck(lambda x: entmax_loss(x, target, alpha, dim, reduction="none"), x)
    assert gradgradcheck(lambda x: entmax_loss(x, target, alpha, dim), x)
    assert gradcheck(lambda x: entmax_loss(x, y.detach(), alpha, dim), x)
    loss = entmax_loss(x, y, alpha, dim, reduction="sum")
    torch.testing.assert_close(torch.autograd.grad(loss, x)[0], (entmax(x, alpha, dim) - y).detach())
    inner = torch.softmax(scores(4, 5), 1)
    assert gradcheck(lambda a: entmax_loss(x[0].detach(), torch.softmax(a, -1), alpha), inner.requires_grad_())


def test_zero_as_soon_as_the_right_score_leads_by_enough():
    for alpha in (4 / 3, 1.5, 2.0):
        lead = 1 / (alpha - 1)
        x = torch.tensor([[0.0, lead + 1e-6, -1.0], [0.0, lead - 0.2, -1.0]], dtype=torch.float64)
        loss = entmax_loss(x, torch.tensor([1, 1]), alpha, reduction="none")
        assert loss[0].abs() < 1e-12 < loss[1]


def test_reduction_mask_and_ignored_rows():
    x, target = scores(4, 5), torch.tensor([1, -100, 2, 3])
    x.requires_grad_()
    mask = torch.ones(4, 5, dtype=torch.bool)
    mask[3] = False
    mask[:, 4] = False
    rows = entmax_loss(x, target, 1.5, mask=mask, reduction="none")
    assert (rows[[1, 3]] == 0).all()
    torch.testing.assert_close(rows[[0, 2]], entmax_loss(x[[0, 2], :4], target[[0, 2]], 1.5, reduction="none"))
    torch.testing.assert_close(entmax_loss(x, target, 1.5, mask=mask), rows.sum() / 2)
    torch.testing.assert_close(entmax_loss(x, target, 1.5, mask=mask, reduction="sum"), rows.sum())
    rows.sum().backward()
    assert x.grad.isfinite().all()
    assert (x.grad[[1, 3]] == 0).all()
    assert (x.grad[:, 4] == 0).all()
    padded = torch.where(mask, 0.25, 0.0).double()
    assert entmax_loss(x, padded, 1.5, mask=mask).isfinite()
    assert entmax_loss(x, torch.full((4,), -100)) == 0
    assert entmax_loss(x[:1], torch.tensor([4]), mask=mask[:1]) == math.inf


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype):
    x = scores(6, 30).to(dtype).requires_grad_()
    target = torch.arange(6)
    loss = entmax_loss(x, target)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, entmax_loss(x.float(), target))
    loss.backward()
    assert x.grad.dtype == dtype
    assert x.grad.isfinite().all()


def test_vmap_is_the_loop():
    x, target = scores(4, 5), torch.arange(4)
    for alpha in (1.0, 1.5, 1.7):
        looped = torch.stack([entmax_loss(row, each, alpha) for row, each in zip(x, target, strict=True)])
        torch.testing.assert_close(torch.vmap(lambda row, each, a=alpha: entmax_loss(row, each, a))(x, target), looped)


def test_modules_are_the_function():
    x, target = scores(4, 5, 3), torch.randint(0, 5, (4, 3))
    target[0, 0] = 7
    for module, alpha in ((SparsemaxLoss, 2.0), (Entmax15Loss, 1.5)):
        made = module(1, reduction="sum", ignore_index=7)
        torch.testing.assert_close(made(x, target), entmax_loss(x, target, alpha, 1, reduction="sum", ignore_index=7))
    torch.testing.assert_close(
        EntmaxLoss(1.3, 1, ignore_index=7)(x, target), entmax_loss(x, target, 1.3, 1, ignore_index=7)
    )
    assert "alpha=1.3" in repr(EntmaxLoss(1.3))


def test_what_cannot_be_is_named():
    x = torch.randn(2, 3)
    target = torch.tensor([0, 1])
    with pytest.raises(ConfigError, match=r"alpha is 0\.9; .* at least 1"):
        EntmaxLoss(0.9)
    with pytest.raises(ConfigError, match="reduction is 'average'; it must be one of mean, sum, none"):
        entmax_loss(x, target, reduction="average")
    with pytest.raises(ValueError, match=r"target holds the class 3; classes must be in \[0, 3\)"):
        entmax_loss(x, torch.tensor([0, 3]))
    with pytest.raises(ValueError, match=r"integers of shape \(2,\)"):
        entmax_loss(x, torch.tensor([0, 1, 2]))
    with pytest.raises(ValueError, match=r"target has shape \(2,\), scores \(2, 3\)"):
        entmax_loss(x, torch.rand(2))
    with pytest.raises(ValueError, match=r"target has 1 rows along dim -1 .* the sum 2;"):
        entmax_loss(x, torch.tensor([[0.0, 1.0, 0.0], [1.0, 1.0, 0.0]]))
    bad = torch.zeros(2, 4, 3)
    bad[1, 3, 2] = math.nan
    with pytest.raises(ValueError, match=r"the first at \(1, 3, 2\)"):
        entmax_loss(bad, torch.zeros(2, 3, dtype=torch.long), dim=1)
