"""Scores and reads of heads with their gradients: products of slices of frames with queries and with weights."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ._values import are_at_hand

__all__ = ["HeadRead", "HeadScores", "Read"]

_LARGE = 1 << 16
"""Numbers in the slices from which on they are read head by head."""


class Read:
    """What one read leaves for the gradient of the scores, so that both are written at once.

    An array as large as the frames costs as much as the whole forward pass: one is enough.
    """

    def __init__(self) -> None:
        self.weights: Tensor | None = None
        self.gradient: Tensor | None = None


class HeadScores(torch.autograd.Function):
    """Products of slices and queries, ``(B, T, H, d), (H, d) -> (B, H, T)``, and the slices for who reads them."""

    @staticmethod
    def forward(slices: Tensor, queries: Tensor, read: Read) -> tuple[Tensor, Tensor]:
        return _scores(slices, queries), slices.view_as(slices)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Read], output: tuple[Tensor, Tensor]) -> None:
        ctx.save_for_backward(*inputs[:2])
        ctx.read = inputs[2]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, by_read: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        slices, queries = ctx.saved_tensors
        weights, by_context = ctx.read.weights, ctx.read.gradient
        ctx.read.weights = ctx.read.gradient = None
        by_slices = by_queries = None
        if ctx.needs_input_grad[0]:
            if weights is not None and by_context is not None:
                by_slices = _spread(weights, by_context).addcmul_(_by_frame(gradient), queries)
                if any(by_read.stride()):  # more than the zeros that stand for the read: others used these slices too
                    by_slices = by_slices + by_read
            else:
                by_slices = torch.addcmul(by_read, _by_frame(gradient), queries)
        if ctx.needs_input_grad[1]:
            by_queries = torch.einsum("bht,bthd->hd", gradient, slices)
        return by_slices, by_queries, None


class HeadRead(torch.autograd.Function):
    """Weighted sums of slices, ``(B, T, H, d), (B, H, T) -> (B, H, d)``."""

    @staticmethod
    def forward(slices: Tensor, weights: Tensor, read: Read) -> Tensor:
        if not _one_by_one(slices):
            return torch.einsum("bht,bthd->bhd", weights, slices)
        pairs = zip(weights.split(1, dim=1), slices.unbind(2), strict=True)
        return torch.cat([torch.bmm(own, head) for own, head in pairs], dim=1)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Read], output: Tensor) -> None:
        ctx.save_for_backward(*inputs[:2])
        ctx.read = inputs[2]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        slices, weights = ctx.saved_tensors
        by_slices = None
        if ctx.needs_input_grad[0]:
            if are_at_hand(weights) and are_at_hand(gradient) and not torch.is_grad_enabled():
                # left to the gradient of the scores, to which these slices belong alone
                ctx.read.weights, ctx.read.gradient = weights, gradient
                by_slices = gradient.new_zeros(()).expand(slices.shape)
            else:
                by_slices = _spread(weights, gradient)
        return by_slices, _by_weights(slices, gradient) if ctx.needs_input_grad[1] else None, None


def _scores(slices: Tensor, queries: Tensor) -> Tensor:
    """Product of each slice with the query of its head, ``(B, H, T)``."""
    if not _one_by_one(slices):
        return torch.einsum("bthd,hd->bht", slices, queries)
    batch, frames = slices.shape[:2]
    found = torch.bmm(queries[:, None], slices.flatten(0, 1).permute(1, 2, 0))  # a query that meets all frames as a row
    return found.view(-1, batch, frames).transpose(0, 1).contiguous()


def _spread(weights: Tensor, by_context: Tensor) -> Tensor:
    """Gradient of the slices from their sum, ``(B, T, H, d)``."""
    return _by_frame(weights) * by_context[:, None]


def _by_weights(slices: Tensor, gradient: Tensor) -> Tensor:
    """Product of each slice with the gradient of its clip and head, ``(B, H, T)``."""
    if not (_one_by_one(slices) and are_at_hand(gradient)):
        return torch.einsum("bthd,bhd->bht", slices, gradient)
    pairs = zip(gradient.split(1, dim=1), slices.unbind(2), strict=True)
    return torch.cat([torch.bmm(own, head.mT) for own, head in pairs], dim=1)


def _one_by_one(slices: Tensor) -> bool:
    """Whether a product for each head is faster than one for all: on a CPU that copies every slice first."""
    return slices.shape[2] > 1 and slices.numel() >= _LARGE and are_at_hand(slices)


def _by_frame(weights: Tensor) -> Tensor:
    """``(B, H, T) -> (B, T, H, 1)`` in that order of memory, which a product with frames takes over."""
    return weights.transpose(1, 2).contiguous()[..., None]
