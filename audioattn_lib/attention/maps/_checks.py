"""Checks of the arguments that all maps and losses of scores share."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from audioattn_lib.core.errors import ConfigError
from audioattn_lib.core.tensors import are_at_hand

__all__ = ["align_alpha", "check_alpha", "prepare", "refuse_non_finite"]


def check_alpha(alpha: float) -> None:
    """Raise for an alpha that has no map."""
    if not 1 <= alpha < math.inf:
        raise ConfigError(f"alpha is {alpha}; it must be a finite number, at least 1 (1 is softmax)")


def prepare(scores: Tensor, dim: int, mask: Tensor | None) -> Tensor:
    """The scores in at least float32, minus infinity where they take no part."""
    dtype = scores.dtype
    if not dtype.is_floating_point:
        raise ValueError(f"scores have dtype {scores.dtype}; they must be floating point")
    if not -scores.ndim <= dim < scores.ndim:
        low, high = -scores.ndim, scores.ndim - 1
        raise ValueError(f"dim is {dim}; for scores of shape {tuple(scores.shape)} it must be from {low} to {high}")
    if scores.shape[dim] == 0:
        raise ValueError(f"scores of shape {tuple(scores.shape)} are empty along dim {dim}; give at least one score")
    x = scores if dtype in (torch.float32, torch.float64) else scores.to(torch.float32)
    if mask is None:
        return x
    if mask.dtype != torch.bool:
        raise ValueError(f"mask has dtype {mask.dtype}; it must be bool, True where a score takes part")
    try:
        return torch.where(mask, x, -math.inf)
    except RuntimeError:
        raise ValueError(
            f"mask has shape {tuple(mask.shape)}, scores {tuple(scores.shape)}; the mask must broadcast with the scores"
        ) from None


def refuse_non_finite(top: Tensor, x: Tensor) -> None:
    """Raise for a row whose largest score is NaN or plus infinity, where asking does not hold up a device."""
    if are_at_hand(top) and not bool((top < math.inf).all()):
        bad = ~(x < math.inf)
        indices = [tuple(index) for index in bad.nonzero()[:5].tolist()]
        raise ValueError(
            f"scores hold {int(bad.sum())} values that are NaN or +inf, the first at {', '.join(map(str, indices))}; "
            "they must be finite or -inf: mask what is missing, or look for what diverged"
        )


def align_alpha(alpha: Tensor, scores: Tensor, dim: int) -> Tensor:
    """Alpha with the axes of the scores, ``dim`` moved to the end and of size 1; of none if it has none."""
    if alpha.ndim > scores.ndim:
        raise ValueError(f"alpha has shape {tuple(alpha.shape)}, more axes than the scores {tuple(scores.shape)}")
    if alpha.ndim:
        shape = alpha.shape
        alpha = alpha.reshape((1,) * (scores.ndim - alpha.ndim) + shape)
        if any(size not in (1, n) for size, n in zip(alpha.shape, scores.shape, strict=True)):
            raise ValueError(
                f"alpha has shape {tuple(shape)}; it must broadcast with the scores, {tuple(scores.shape)}"
            )
        alpha = alpha.movedim(dim, -1)
        if alpha.shape[-1] != 1:
            raise ValueError(f"alpha varies along dim {dim}; it must be one number a row, of size 1 there")
    if are_at_hand(alpha) and alpha.numel():
        ends = [alpha.item()] if alpha.numel() == 1 else [end.item() for end in alpha.detach().aminmax()]
        if not all(1 <= end < math.inf for end in ends):
            bad = alpha.detach()[~((alpha >= 1) & (alpha < math.inf))]
            raise ConfigError(f"alpha holds {bad[0].item()}; every value must be finite and at least 1")
    return alpha
