"""Compiled loops for alpha-entmax on the CPU, where numba is there and they apply; PyTorch serves where not."""

from __future__ import annotations

import functools
from types import ModuleType

import torch
from torch import Tensor

from ._values import are_at_hand

__all__ = ["compiled_power", "entmax_gradient", "entmax_weights", "whole_power"]


def whole_power(alpha: float) -> int | None:
    """The whole number 1 / (alpha - 1) for an alpha of 4/3, 3/2 or 2; else None."""
    k = 1 / (alpha - 1)
    return round(k) if 0.5 < k < 3.5 and abs(k - round(k)) < 1e-9 * k else None


def compiled_power(alpha: float, x: Tensor) -> int | None:
    """:func:`whole_power` where there are loops for it and for these scores; else None."""
    k = whole_power(alpha)
    return None if k is None or not are_at_hand(x) or _kernels() is None else k


def entmax_weights(x: Tensor, k: int, *, slopes: bool) -> tuple[Tensor, Tensor] | None:
    """Weights of the last dimension and what the gradient needs beside them.

    Parameters
    ----------
    x
        Real scores on the CPU, float32 or float64, in any layout.
    k
        From :func:`compiled_power`.
    slopes
        Give :math:`p^{2-\\alpha}`, which for ``k`` of 1 is empty all the same: it is 1 on the support.

    Returns
    -------
    weights, slopes
        Or None if a score is NaN or plus infinity.
    """
    kernels = _kernels()
    assert kernels is not None
    rows = _rows(x)
    p = torch.empty_like(rows)
    slope = torch.empty_like(rows) if slopes and k > 1 else rows.new_empty((0, 0))
    # from one step to the next the distance is squared
    tolerance = k * (1e-15 if x.dtype == torch.float64 else 1e-7) ** (1 / min(k, 2))
    scores = rows.numpy()
    if not kernels.WEIGHTS[scores.dtype](scores, p.numpy(), slope.numpy(), k, tolerance):
        return None
    return p.view(x.shape), slope.view(x.shape) if slope.numel() else slope


def entmax_gradient(gradient: Tensor, p: Tensor, slopes: Tensor) -> Tensor | None:
    """Gradient with respect to the scores from that of the weights; None where it must itself have a gradient."""
    kernels = _kernels()
    if kernels is None or torch.is_grad_enabled() or not (are_at_hand(gradient) and are_at_hand(p)):
        return None
    weights = _rows(p)
    out = torch.empty_like(weights)
    values = weights.numpy()
    slope = _rows(slopes) if slopes.numel() else slopes.view(0, 0)
    kernels.GRADIENTS[values.dtype](_rows(gradient).numpy(), values, slope.numpy(), out.numpy())
    return out.view(p.shape)


def _rows(tensor: Tensor) -> Tensor:
    return tensor.detach().reshape(-1, tensor.shape[-1]).contiguous()


@functools.cache
def _kernels() -> ModuleType | None:
    try:
        from numba.core import config

        if getattr(config, "DISABLE_JIT", False):
            return None
        from . import _kernels as kernels

        one = torch.zeros(1, 1).numpy()
        kernels.WEIGHTS[one.dtype](one, one.copy(), one.copy(), 1, 1e-7)
        kernels.GRADIENTS[one.dtype](one, one, one, one.copy())
    # whatever keeps a compiler of somebody else's from working, the weights are to be had without it
    except Exception:
        return None
    return kernels
