"""Compiled loops for alpha-entmax on the CPU, where numba is there and they apply; PyTorch serves where not."""

from __future__ import annotations

import functools
import logging
from types import ModuleType

import torch
from torch import Tensor

from audioattn_lib.core.tensors import are_at_hand

from ..threshold import LEAST_EXCESS
from ._jobs import Job, run_job

__all__ = ["are_compiled", "entmax_gradients", "entmax_weights", "whole_power"]

log = logging.getLogger("audioattn")

_WITHOUT_SLOPES = frozenset({"1", "steep"})


def whole_power(alpha: float) -> int | None:
    """The whole number 1 / (alpha - 1) for an alpha of 4/3, 3/2 or 2; else None."""
    k = 1 / (alpha - 1)
    return round(k) if 0.5 < k < 3.5 and abs(k - round(k)) < 1e-9 * k else None


def are_compiled(x: Tensor) -> bool:
    """Return True if compiled loops serve these scores: float32 or float64, real, on the CPU, with numba installed."""
    return are_at_hand(x) and _kernels() is not None


def entmax_weights(x: Tensor, alpha: float | Tensor, *, slopes: bool) -> tuple[Tensor, Tensor | None] | None:
    """Weights of the last dimension and what the gradient needs beside them.

    Parameters
    ----------
    x
        Scores for which :func:`are_compiled`, in any layout.
    alpha
        At least 1: a number, or a tensor of size 1 in the last dimension that broadcasts with the scores.
    slopes
        Give :math:`p^{2-\\alpha}`, of which alphas of at least 2 and learned ones have no need.

    Returns
    -------
    weights, slopes
        Or None if a score is NaN or plus infinity, or a loop cannot be had.
    """
    kinds, excess = _plan(alpha, x)
    loops = _loops_for("weights", kinds, x.dtype)
    if loops is None:
        return None
    # whole tensors, no views: a Function's results must not be views for what changes them in place
    p = _empty_like(x)
    # the gradient of a learned alpha takes powers of its own
    learned = isinstance(alpha, Tensor) and alpha.requires_grad
    slope = _empty_like(x) if slopes and not learned and not _WITHOUT_SLOPES.issuperset(kinds) else None
    rows = _in_order(x)
    return (p, slope) if all(run_job(loop, rows, p, slope, None, excess) for loop in loops) else None


def entmax_gradients(
    gradient: Tensor, p: Tensor, slopes: Tensor | None, alpha: float | Tensor, *, of_alpha: bool = False
) -> tuple[Tensor, Tensor | None] | None:
    """Gradient with respect to the scores from that of the weights, and the sum over each row of that by alpha.

    The second is in float64, and None unless asked for. None for both where they must themselves have a gradient.
    """
    if not _are_plain(gradient, p):
        return None
    kinds, excess = _plan(alpha, p)
    if of_alpha:
        kinds = ("learned", "steep") if "steep" in kinds else ("learned",)
    loops = _loops_for("gradient", kinds, p.dtype)
    if loops is None:
        return None
    out = _empty_like(p)
    by_alpha = torch.empty(*p.shape[:-1], 1, dtype=torch.float64) if of_alpha else None
    gradient = _in_order(gradient if gradient.shape == p.shape else gradient.expand(p.shape))
    weights = _in_order(p)
    slopes = None if slopes is None or not slopes.numel() else _in_order(slopes)
    for kind, loop in zip(kinds, loops, strict=True):
        run_job(loop, gradient, weights, by_alpha if kind == "learned" else slopes, out, excess)
    return out, by_alpha


def _empty_like(x: Tensor) -> Tensor:
    """A tensor in order of its rows; the general way takes longer than the loops of a small one."""
    return torch.empty_like(x) if x.is_contiguous() else torch.empty(x.shape, dtype=x.dtype)


def _in_order(tensor: Tensor) -> Tensor:
    """The tensor with its rows one after the other in memory."""
    tensor = tensor.resolve_neg()
    return tensor if tensor.is_contiguous() else tensor.detach().contiguous()


def _plan(alpha: float | Tensor, x: Tensor) -> tuple[tuple[str, ...], Tensor]:
    """Kinds of loops to run, and alpha - 1: one number, or one for each row."""
    if not isinstance(alpha, Tensor):
        return _plan_of_one(alpha - 1)
    if alpha.numel() == 1:
        return _plan_of_one(alpha.item() - 1)
    excess = (alpha.detach().double() - 1).clamp(min=LEAST_EXCESS)
    low, high = (float(end) for end in torch.aminmax(excess))
    if low == high:
        return _plan_of_one(low)
    kinds = ("smooth",) * (low <= 1) + ("steep",) * (high > 1)
    return kinds, excess.expand(*x.shape[:-1], 1).contiguous()


@functools.lru_cache(maxsize=256)
def _plan_of_one(excess: float) -> tuple[tuple[str, ...], Tensor]:
    excess = max(excess, LEAST_EXCESS)
    k = 1 / excess
    exact = k < 3.5 and abs(k - round(k)) < 1e-14
    return ("steep" if excess > 1 else str(round(k)) if exact else "smooth",), torch.tensor(
        [excess], dtype=torch.float64
    )


def _are_plain(gradient: Tensor, p: Tensor) -> bool:
    """True where the loops serve, and what they make needs no derivative itself."""
    if torch.is_grad_enabled() or not (are_at_hand(gradient) and are_at_hand(p)) or _kernels() is None:
        return False
    unpack = torch.autograd.forward_ad.unpack_dual
    return unpack(gradient).tangent is None and unpack(p).tangent is None


@functools.cache
def _loops_for(task: str, kinds: tuple[str, ...], dtype: torch.dtype) -> list[Job] | None:
    """Loops, compiled; None where one cannot be."""
    kernels = _kernels()
    if kernels is None:
        return None
    loops: list[Job] = [kernels.loops(task, kind, dtype) for kind in kinds]
    try:
        for loop in loops:
            loop.address  # noqa: B018 - compiles it
    except Exception as error:
        _warn(error)
        return None
    return loops


@functools.cache
def _kernels() -> ModuleType | None:
    try:
        from numba.core import config

        if getattr(config, "DISABLE_JIT", False):
            return None
        from . import _numba_loops as kernels
    except Exception as error:
        _warn(error)
        return None
    return kernels


def _warn(error: Exception) -> None:
    """Say that the loops are not to be had: whatever keeps a compiler from working, PyTorch has the weights."""
    log.warning(
        "maps run on PyTorch's operations, slower, with the same weights: the compiled loops cannot be had "
        "(%s: %s); repair the installation of numba",
        type(error).__name__,
        error,
    )
