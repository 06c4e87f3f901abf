"""Kernels of another package, on request: the same weights, and ours where they do not serve."""

import math

import entmax as package
import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from audioattn_lib.attention import adasplash
from audioattn_lib.attention.adasplash import adasplash_entmax
from audioattn_lib.attention.maps import entmax
from audioattn_lib.errors import ConfigError


@pytest.fixture
def stand_in(monkeypatch):
    """What the package does, for tensors on the CPU; counts its calls."""
    calls = []

    def kernel(x, alpha, n_iter):
        assert x.is_contiguous()
        calls.append(alpha)
        return package.entmax_bisect(x, alpha, n_iter=60)

    monkeypatch.setattr(adasplash, "_kernel", lambda: kernel)
    monkeypatch.setattr(adasplash, "_on_device", lambda scores: True)
    return calls


@pytest.mark.parametrize("alpha", [4 / 3, 1.5, 2.0])
def test_weights_and_gradients_through_a_stand_in(alpha, stand_in):
    x = torch.randn(3, 5, 4, requires_grad=True)
    mask = torch.rand(3, 5, 4) > 0.3
    mask[1, :, 2] = False
    p, expected = adasplash_entmax(x, alpha, 1, mask), entmax(x, alpha, 1, mask)
    torch.testing.assert_close(p, expected, atol=1e-6, rtol=0)
    assert stand_in
    one, other = (torch.autograd.grad(w.square().sum(), x)[0] for w in (p, expected))
    torch.testing.assert_close(one, other, atol=1e-5, rtol=0)
    assert adasplash_entmax(x.bfloat16(), alpha).dtype == torch.bfloat16


def test_both_orders_of_the_gradient(stand_in):
    x = torch.randn(3, 5, dtype=torch.float64, requires_grad=True)
    for alpha in (1.5, 2.0):
        assert gradcheck(lambda x, alpha=alpha: adasplash._EntmaxTriton.apply(x, alpha), x)
        assert gradgradcheck(lambda x, alpha=alpha: adasplash._EntmaxTriton.apply(x, alpha), x)
    assert stand_in


def test_what_the_kernels_do_not_serve_is_ours(stand_in, monkeypatch):
    x = torch.randn(3, 5)
    for scores, alpha in ((x, 1.0), (x, 2.5), (x.double(), 1.5)):
        assert torch.equal(adasplash_entmax(scores, alpha), entmax(scores, alpha))
    assert not stand_in
    monkeypatch.undo()
    assert torch.equal(adasplash_entmax(x), entmax(x))
    with pytest.raises(ConfigError, match=r"alpha is 0\.5"):
        adasplash_entmax(x, 0.5)


@pytest.mark.cuda
@pytest.mark.parametrize("alpha", [4 / 3, 1.5, 1.7, 2.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_kernels_on_a_device_equal_ours(alpha, dtype):
    pytest.importorskip("adasplash")
    for n in (1, 50, 400, 32000):
        x = (3 * torch.randn(8, n, device="cuda")).to(dtype).requires_grad_()
        p, expected = adasplash_entmax(x, alpha), entmax(x, alpha)
        torch.testing.assert_close(p.float(), expected.float(), atol=1e-5 if dtype == torch.float32 else 1e-2, rtol=0)
        one, other = (torch.autograd.grad(w.float().square().sum(), x)[0].float() for w in (p, expected))
        torch.testing.assert_close(one, other, atol=1e-4 if dtype == torch.float32 else 1e-2, rtol=0)
    rows = torch.full((2, 6), -math.inf, device="cuda")
    assert (adasplash_entmax(rows, alpha) == 0).all()
