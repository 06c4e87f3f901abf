"""Compiled loops for alpha-entmax on the CPU, where numba is there and they apply; PyTorch serves where not."""

from __future__ import annotations

import functools
import itertools
import logging
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from audioattn_lib.core.tensors import are_at_hand

from .threshold import LEAST_EXCESS

__all__ = ["are_compiled", "entmax_gradient", "entmax_slope_of_alpha", "entmax_weights", "whole_power"]

log = logging.getLogger("audioattn")

_PART = 1 << 15
"""So many scores are worth the start of another thread."""


def whole_power(alpha: float) -> int | None:
    """The whole number 1 / (alpha - 1) for an alpha of 4/3, 3/2 or 2; else None."""
    k = 1 / (alpha - 1)
    return round(k) if 0.5 < k < 3.5 and abs(k - round(k)) < 1e-9 * k else None


def are_compiled(x: Tensor) -> bool:
    """Return True if compiled loops serve these scores: float32 or float64, real, on the CPU, with numba installed."""
    return are_at_hand(x) and _kernels() is not None


def entmax_weights(x: Tensor, alpha: float | Tensor, *, slopes: bool) -> tuple[Tensor, Tensor] | None:
    """Weights of the last dimension and what the gradient needs beside them.

    Parameters
    ----------
    x
        Scores for which :func:`are_compiled`, in any layout.
    alpha
        At least 1: a number, or a tensor of size 1 in the last dimension that broadcasts with the scores.
    slopes
        Give :math:`p^{2-\\alpha}`, which for a number of at least 2 is empty all the same.

    Returns
    -------
    weights, slopes
        Or None if a score is NaN or plus infinity.
    """
    kernels = _kernels()
    assert kernels is not None
    rows = _rows(x)
    # whole tensors, no views: a Function's results must not be views for what changes them in place
    p = torch.empty(x.shape, dtype=x.dtype)
    keep = slopes and (isinstance(alpha, Tensor) or alpha < 2)
    slope = torch.empty(x.shape if keep else (0, 0), dtype=x.dtype)
    scores = rows.numpy()
    solve = kernels.WEIGHTS[scores.dtype]
    out, kept = _rows(p).numpy(), (_rows(slope) if keep else slope).numpy()
    if not all(_by_parts(solve, len(rows), rows.numel(), scores, out, kept, _excess(alpha, x))):
        return None
    return p, slope


def entmax_gradient(gradient: Tensor, p: Tensor, slopes: Tensor, alpha: float | Tensor) -> Tensor | None:
    """Gradient with respect to the scores from that of the weights; None where it must itself have a gradient."""
    kernels = _kernels_for(gradient, p)
    if kernels is None:
        return None
    weights = _rows(p)
    out = torch.empty(p.shape, dtype=p.dtype)
    values = weights.numpy()
    slope = (_rows(slopes) if slopes.numel() else p.new_empty((0, 0))).numpy()
    fill = kernels.GRADIENTS[values.dtype]
    g, excess = _rows(gradient.expand(p.shape)).numpy(), _excess(alpha, p)
    _by_parts(fill, len(weights), weights.numel(), g, values, slope, excess, _rows(out).numpy())
    return out


def entmax_slope_of_alpha(gradient: Tensor, p: Tensor, alpha: Tensor) -> Tensor | None:
    """Sum over each row of the gradient times the slope of the weights in alpha, in float64; None as above."""
    kernels = _kernels_for(gradient, p)
    if kernels is None:
        return None
    weights = _rows(p)
    out = torch.empty(len(weights), dtype=torch.float64)
    values = weights.numpy()
    fill = kernels.SLOPES_OF_ALPHA[values.dtype]
    g, excess = _rows(gradient.expand(p.shape)).numpy(), _excess(alpha, p)
    _by_parts(fill, len(weights), weights.numel(), g, values, excess, out.numpy())
    return out.view(*p.shape[:-1], 1)


def _rows(tensor: Tensor) -> Tensor:
    if tensor.ndim == 2 and tensor.is_contiguous():
        return tensor.detach()
    return tensor.detach().reshape(-1, tensor.shape[-1]).contiguous()


def _excess(alpha: float | Tensor, x: Tensor) -> Any:
    """Alpha - 1, one number or one for each row."""
    if not isinstance(alpha, Tensor):
        return _one_excess(alpha)
    excess = (alpha.detach().double() - 1).clamp(min=LEAST_EXCESS)
    return (excess if excess.numel() == 1 else excess.expand(*x.shape[:-1], 1)).reshape(-1).numpy()


@functools.lru_cache(maxsize=256)
def _one_excess(alpha: float) -> Any:
    return torch.tensor([max(alpha - 1, LEAST_EXCESS)], dtype=torch.float64).numpy()


def _by_parts(function: Callable[..., Any], rows: int, size: int, *arrays: Any) -> list[Any]:
    """Results of the function over the arrays, for large ones in threads by ranges of rows."""
    parts = min(torch.get_num_threads(), size // _PART, rows)
    if parts <= 1:
        return [function(*arrays)]
    ends = [rows * part // parts for part in range(parts + 1)]
    pieces = [
        [array[start:end] if len(array) == rows > 1 else array for array in arrays]
        for start, end in itertools.pairwise(ends)
    ]
    pool = _pool(os.getpid())
    others = [pool.submit(function, *piece) for piece in pieces[1:]]
    return [function(*pieces[0]), *(other.result() for other in others)]


@functools.cache
def _pool(process: int) -> ThreadPoolExecutor:
    """Threads of this process: those of another one do not outlive a fork."""
    return ThreadPoolExecutor(max(1, (os.cpu_count() or 2) - 1), "audioattn-entmax")


def _kernels_for(gradient: Tensor, p: Tensor) -> ModuleType | None:
    """The loops, unless what they make must itself have a derivative."""
    if torch.is_grad_enabled() or not (are_at_hand(gradient) and are_at_hand(p)):
        return None
    unpack = torch.autograd.forward_ad.unpack_dual
    if unpack(gradient).tangent is not None or unpack(p).tangent is not None:
        return None
    return _kernels()


@functools.cache
def _kernels() -> ModuleType | None:
    try:
        from numba.core import config

        if getattr(config, "DISABLE_JIT", False):
            return None
        from . import _numba_loops as kernels

        one, excess = torch.zeros(1, 1).numpy(), torch.ones(1, dtype=torch.float64).numpy()
        kernels.WEIGHTS[one.dtype](one, one.copy(), one.copy(), excess)
        kernels.GRADIENTS[one.dtype](one, one, one, excess, one.copy())
    # whatever keeps a compiler of somebody else's from working, the weights are to be had without it
    except Exception as error:
        log.warning(
            "maps run on PyTorch's operations, slower, with the same weights: the compiled loops cannot be had "
            "(%s: %s); repair the installation of numba",
            type(error).__name__,
            error,
        )
        return None
    return kernels
