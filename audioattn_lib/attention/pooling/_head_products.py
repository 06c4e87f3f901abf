"""Scores and reads of heads with their gradients: products of slices of frames with queries and with weights.

Frames get a gradient from their scores and one from being read. Each alone is an array as large as the frames, which
costs as much as the whole forward pass; here both are written at once. :class:`HeadScores` returns two zeros beside the
scores, which :class:`HeadRead` takes: their "gradients" are the weights and the gradient of the context, the factors of
the gradient of the read. They travel along the graph of one backward pass, and nothing is kept after it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from audioattn_lib.core.tensors import are_at_hand, are_real, is_exporting

__all__ = ["read_heads", "score_heads"]

_LARGE = 1 << 16
"""Least size of the slices, in elements, for which heads are processed one by one."""


def score_heads(slices: Tensor, queries: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """Products of slices and queries, ``(B, T, H, d), (H, d) -> (B, H, T)``, and what :func:`read_heads` takes once."""
    if is_exporting():  # other programs have no use for the gradient
        return _scores(slices, queries), (slices, slices)
    scores, by_weights, by_context = HeadScores.apply(slices, queries)
    return scores, (by_weights, by_context)


def read_heads(slices: Tensor, weights: Tensor, way: tuple[Tensor, Tensor]) -> Tensor:
    """Weighted sums of the same slices, ``(B, T, H, d), (B, H, T) -> (B, H, d)``; their gradient goes by ``way``."""
    if is_exporting():
        return _read(slices, weights)
    context: Tensor = HeadRead.apply(slices, weights, *way)
    return context


class HeadScores(torch.autograd.Function):
    """Scores, and two zeros of the shapes of weights and context, for the gradient of one read."""

    generate_vmap_rule = True

    @staticmethod
    def forward(slices: Tensor, queries: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        batch, frames, heads, width = slices.shape
        scores = _scores(slices, queries)
        return scores, slices.new_zeros(batch, heads, frames), slices.new_zeros(batch, heads, width)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: tuple[Tensor, Tensor, Tensor]) -> None:
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @staticmethod
    def backward(
        ctx: Any, gradient: Tensor, weights: Tensor, by_context: Tensor
    ) -> tuple[Tensor | None, Tensor | None]:
        slices, queries = ctx.saved_tensors
        by_slices = by_queries = None
        if ctx.needs_input_grad[0]:
            by_slices = _by_frame(weights) * by_context[:, None]  # (B, T, H, d)
            # in place where nothing looks at it again: one such array is enough
            add = torch.addcmul if torch.is_grad_enabled() or not are_real(by_slices) else Tensor.addcmul_
            by_slices = add(by_slices, _by_frame(gradient), queries)
        if ctx.needs_input_grad[1]:
            by_queries = torch.einsum("bht,bthd->hd", gradient, slices)
        return by_slices, by_queries

    @staticmethod
    def jvp(ctx: Any, slices: Tensor | None, queries: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        given_slices, given_queries = ctx.saved_tensors
        change = _sum(
            None if slices is None else _scores(slices, given_queries),
            None if queries is None else _scores(given_slices, queries),
        )
        batch, heads, frames = change.shape
        return change, change.new_zeros(batch, heads, frames), change.new_zeros(batch, heads, given_slices.shape[3])


class HeadRead(torch.autograd.Function):
    """Weighted sums of slices, whose gradient is left to the scores of the same slices, as its two factors."""

    generate_vmap_rule = True

    @staticmethod
    def forward(slices: Tensor, weights: Tensor, by_weights: Tensor, by_context: Tensor) -> Tensor:
        return _read(slices, weights)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs[:2])
        ctx.save_for_forward(*inputs[:2])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, Tensor | None, Tensor, Tensor]:
        slices, weights = ctx.saved_tensors
        return None, _by_weights(slices, gradient) if ctx.needs_input_grad[1] else None, weights, gradient

    @staticmethod
    def jvp(ctx: Any, slices: Tensor | None, weights: Tensor | None, *_: Tensor | None) -> Tensor:
        given_slices, given_weights = ctx.saved_tensors
        return _sum(
            None if slices is None else _read(slices, given_weights),
            None if weights is None else _read(given_slices, weights),
        )


def _sum(left: Tensor | None, right: Tensor | None) -> Tensor:
    if left is None or right is None:
        term = right if left is None else left
        assert term is not None
        return term
    return left + right


def _scores(slices: Tensor, queries: Tensor) -> Tensor:
    """Product of each slice with the query of its head, ``(B, H, T)``."""
    if not _one_by_one(slices):
        return torch.einsum("bthd,hd->bht", slices, queries)
    batch, frames = slices.shape[:2]
    products = torch.bmm(
        queries[:, None], slices.flatten(0, 1).permute(1, 2, 0)
    )  # a query that meets all frames as a row
    return products.view(-1, batch, frames).transpose(0, 1).contiguous()


def _read(slices: Tensor, weights: Tensor) -> Tensor:
    """Sum of the slices of each head by weight, ``(B, H, d)``."""
    if not (_one_by_one(slices) and are_at_hand(weights)):
        return torch.einsum("bht,bthd->bhd", weights, slices)
    pairs = zip(weights.split(1, dim=1), slices.unbind(2), strict=True)
    return torch.cat([torch.bmm(own, head) for own, head in pairs], dim=1)


def _by_weights(slices: Tensor, gradient: Tensor) -> Tensor:
    """Product of each slice with the gradient of its clip and head, ``(B, H, T)``."""
    if not (_one_by_one(slices) and are_at_hand(gradient)):
        return torch.einsum("bthd,bhd->bht", slices, gradient)
    pairs = zip(gradient.split(1, dim=1), slices.unbind(2), strict=True)
    return torch.cat([torch.bmm(own, head.mT) for own, head in pairs], dim=1)


def _one_by_one(slices: Tensor) -> bool:
    """Return True if one product for each head is faster: on a CPU, one product for all heads copies every slice."""
    return are_at_hand(slices) and slices.shape[2] > 1 and slices.numel() >= _LARGE


def _by_frame(weights: Tensor) -> Tensor:
    """``(B, H, T) -> (B, T, H, 1)`` in that order of memory, which a product with frames takes over."""
    return weights.transpose(1, 2).contiguous()[..., None]
