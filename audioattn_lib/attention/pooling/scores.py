r"""Scores of frames: additive and dot-product scorers.

Book page: ``from_softmax_to_sparsemax``.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from audioattn_lib.core.errors import ConfigError
from audioattn_lib.core.tensors import are_at_hand, are_plain

__all__ = ["AdditiveScorer"]

# Values of the hidden layer from which on its memory is what a pass waits for, and rows that are taken at once
_LARGE = 2**21
_BLOCK = 1024


class AdditiveScorer(nn.Module):
    r"""Additive scores, :math:`z_t = v^\top \tanh(W h_t + b)`.

    Parameters
    ----------
    features
        Width :math:`H` of the frames, at least 1.
    hidden_size
        Rows of :math:`W`, at least 1.
    scaled
        Divide the scores by :math:`\sqrt H`.

    Notes
    -----
    :math:`W`, :math:`b` and :math:`v` start uniform in plus or minus one over the
    square root of their inputs, as published. Sources: Bahdanau et al., *Neural
    machine translation by jointly learning to align and translate*, ICLR 2015,
    section 3.1; Martins et al., JMLR 2022, audio experiments. Book page:
    ``from_softmax_to_sparsemax``.
    """

    def __init__(self, features: int, hidden_size: int = 128, *, scaled: bool = False) -> None:
        super().__init__()
        for name, value in (("features", features), ("hidden_size", hidden_size)):
            if value < 1:
                raise ConfigError(f"{name} is {value}; it must be at least 1")
        self.hidden = nn.Linear(features, hidden_size)
        self.vector = nn.Linear(hidden_size, 1, bias=False)
        self.scale = 1 / math.sqrt(features) if scaled else 1.0

    def forward(self, values: Float[Tensor, "batch *places features"]) -> Float[Tensor, batch * places]:
        """Compute the score of every frame or cell, in at least float32."""
        if self._in_blocks(values):
            rows = values.reshape(-1, values.shape[-1])
            scores = _Additive.apply(rows, self.hidden.weight, self.hidden.bias, self.vector.weight[0])
            scores = scores.view(values.shape[:-1])
        else:
            scores = self.vector(torch.tanh(self.hidden(values))).squeeze(-1)
        scores = scores.to(torch.promote_types(scores.dtype, torch.float32))
        return scores if self.scale == 1 else scores * self.scale

    def _in_blocks(self, values: Tensor) -> bool:
        """Return True if the blockwise backward pass applies: large layer, plain CPU tensors, no hooks or autocast."""
        weight = self.hidden.weight
        return (
            are_at_hand(values)
            and values.numel() // max(values.shape[-1], 1) * len(weight) >= _LARGE
            and values.dtype == weight.dtype
            and values.dtype in (torch.float32, torch.float64)
            and not torch.is_autocast_enabled(values.device.type)
            and not (self.hidden._forward_hooks or self.vector._forward_hooks)
            and are_plain(values, weight, self.vector.weight)
        )


class _Additive(torch.autograd.Function):
    """Scores of rows; the hidden layer is written once, and its gradient, block by block, never leaves the cache."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, weight: Tensor, bias: Tensor, vector: Tensor) -> Tensor:
        hidden = torch.addmm(bias, rows, weight.T)
        scores = rows.new_empty(len(rows))
        for block, out in zip(hidden.split(_BLOCK), scores.split(_BLOCK), strict=True):
            torch.mv(block.tanh_(), vector, out=out)
        ctx.save_for_backward(rows, weight, bias, vector, hidden)
        return scores

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor, Tensor, Tensor]:
        rows, weight, bias, vector, hidden = ctx.saved_tensors
        scaled = weight * vector[:, None]
        if torch.is_grad_enabled():  # a gradient of this gradient is wanted: a hidden layer that knows its inputs
            hidden = torch.tanh(torch.nn.functional.linear(rows, weight, bias))
            slope = gradient[:, None] * (1 - hidden * hidden)
            by_weight, by_bias = slope.T @ rows, slope.sum(0)
            return slope @ scaled, by_weight * vector[:, None], by_bias * vector, hidden.T @ gradient
        by_rows = torch.empty_like(rows) if ctx.needs_input_grad[0] else None
        by_weight, by_bias, by_vector = (torch.zeros_like(x) for x in (weight, bias, vector))
        for start in range(0, len(rows), _BLOCK):
            rows_of_block = slice(start, start + _BLOCK)
            block_gradient, block = gradient[rows_of_block, None], hidden[rows_of_block]
            by_vector.addmv_(block.T, gradient[rows_of_block])
            slope = torch.addcmul(block_gradient, block * block_gradient, block, value=-1)
            by_weight.addmm_(slope.T, rows[rows_of_block])
            by_bias += slope.sum(0)
            if by_rows is not None:
                torch.mm(slope, scaled, out=by_rows[rows_of_block])
        return by_rows, by_weight * vector[:, None], by_bias * vector, by_vector
