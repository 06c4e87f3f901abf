"""Attention by dot products is its definition, whatever the map."""

import math

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from audioattn_lib.attention.maps.entmax import entmax
from audioattn_lib.attention.patterns.dot_product import attend
from audioattn_lib.core.errors import ConfigError

ALPHA = [1.0, 4 / 3, 1.5, 1.7, 2.0]


def heads(m=5, n=7, *, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(2, 3, size, 4, generator=generator, dtype=dtype).requires_grad_() for size in (m, n, n)]


@pytest.mark.parametrize("alpha", ALPHA)
@pytest.mark.parametrize("kind", ["none", "rule", "price"])
@pytest.mark.parametrize("padded", [False, True])
def test_context_is_the_definition(alpha, kind, padded):
    query, key, value = heads()
    mask = {"none": None, "rule": torch.rand(5, 7) > 0.3, "price": torch.randn(5, 7).double()}[kind]
    if kind == "rule":
        mask[:, 0] = True
    valid = torch.tensor([[1, 0, 1, 1, 1, 0, 0], [1, 1, 1, 1, 1, 1, 1]]) > 0 if padded else None
    scores = query @ key.transpose(-1, -2) / math.sqrt(4)
    if kind == "price":
        scores = scores + mask
    elif kind == "rule":
        scores = scores.masked_fill(~mask, -torch.inf)
    if valid is not None:
        scores = scores.masked_fill(~valid[:, None, None], -torch.inf)
    expected = entmax(scores, alpha) @ value
    torch.testing.assert_close(attend(query, key, value, alpha=alpha, mask=mask, valid=valid), expected)


@pytest.mark.parametrize("alpha", ALPHA)
def test_the_gradient_is_the_gradient(alpha):
    inputs = [x.detach()[:1, :1].requires_grad_() for x in heads(3, 4)]
    assert gradcheck(lambda *x: attend(*x, alpha=alpha), inputs)
    if alpha > 1:  # the fused kernel of softmax has one derivative
        assert gradgradcheck(lambda *x: attend(*x, alpha=alpha), inputs)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(dtype):
    inputs = [x.detach() for x in heads()]
    low = attend(*(x.to(dtype) for x in inputs), alpha=1.5)
    assert low.dtype == dtype
    torch.testing.assert_close(low.double(), attend(*inputs, alpha=1.5), atol=0.05, rtol=0.05)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = attend(*(x.float() for x in inputs), alpha=1.5)
    torch.testing.assert_close(mixed.double(), attend(*inputs, alpha=1.5), atol=0.02, rtol=0.02)
    large = [60 * torch.ones(1, 1, 2, 64, dtype=dtype) for _ in range(3)]
    assert (attend(*large, alpha=1.5) == 60).all()


def test_larger_alphas_read_fewer_keys():
    query, key, _ = (x.detach() for x in heads(20, 20))
    everything = torch.eye(20, dtype=torch.float64).expand(2, 3, 20, 20)
    read = [(attend(query, key, everything, alpha=alpha) > 0).sum() for alpha in ALPHA]
    assert read == sorted(read, reverse=True)
    assert read[0] == 2 * 3 * 20 * 20


def test_impossible_alphas():
    with pytest.raises(ConfigError, match=r"alpha is 0\.5; it must be a finite number, at least 1"):
        attend(*heads(), alpha=0.5)
