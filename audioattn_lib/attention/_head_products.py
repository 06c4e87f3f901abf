"""Scores and reads of heads with their gradients: products of slices of frames with queries and with weights."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ._compiled_heads import head_gradient, head_loops_apply, head_scores, head_sums

__all__ = ["HeadRead", "HeadScores", "Read"]


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
        return _dot(slices, queries.expand(len(slices), -1, -1)), slices.view_as(slices)

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
                by_slices = head_gradient(weights, by_context, gradient, queries.expand(len(slices), -1, -1))
                assert by_slices is not None
                if any(by_read.stride()):  # more than the zeros that stand for the read: others used these slices too
                    by_slices = by_slices + by_read
            else:
                by_slices = torch.addcmul(by_read, _by_frame(gradient), queries)
        if ctx.needs_input_grad[1]:
            by_queries = _weighted_sum(slices, gradient).sum(0)
        return by_slices, by_queries, None


class HeadRead(torch.autograd.Function):
    """Weighted sums of slices, ``(B, T, H, d), (B, H, T) -> (B, H, d)``."""

    @staticmethod
    def forward(slices: Tensor, weights: Tensor, read: Read) -> Tensor:
        return _weighted_sum(slices, weights)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Read], output: Tensor) -> None:
        ctx.save_for_backward(*inputs[:2])
        ctx.read = inputs[2]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        slices, weights = ctx.saved_tensors
        by_slices = None
        if ctx.needs_input_grad[0]:
            if head_loops_apply(weights, gradient):
                # left to the gradient of the scores, to which these slices belong alone
                ctx.read.weights, ctx.read.gradient = weights, gradient
                by_slices = gradient.new_zeros(()).expand(slices.shape)
            else:
                by_slices = _by_frame(weights) * gradient[:, None]
        by_weights = _dot(slices, gradient) if ctx.needs_input_grad[1] else None
        return by_slices, by_weights, None


def _by_frame(weights: Tensor) -> Tensor:
    """``(B, H, T) -> (B, T, H, 1)`` in that order of memory, which a product with frames takes over."""
    return weights.transpose(1, 2).contiguous()[..., None]


def _weighted_sum(slices: Tensor, weights: Tensor) -> Tensor:
    """Sum over the frames, ``(B, H, d)``."""
    found = head_sums(slices, weights)
    return torch.einsum("bht,bthd->bhd", weights, slices) if found is None else found


def _dot(slices: Tensor, vectors: Tensor) -> Tensor:
    """Product of each slice with the vector of its clip and head, ``(B, H, T)``."""
    found = head_scores(slices, vectors)
    return torch.einsum("bthd,bhd->bht", slices, vectors) if found is None else found
