"""Compiled loops for alpha-entmax on the CPU, where numba is there and they apply; PyTorch serves where not."""

from __future__ import annotations

import functools
import itertools
import logging
import os
from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from audioattn_lib.core.tensors import are_at_hand

from .threshold import LEAST_EXCESS

__all__ = ["are_compiled", "entmax_gradients", "entmax_weights", "whole_power"]

log = logging.getLogger("audioattn")

_Call = tuple[Callable[..., Any], tuple[Any, ...]]

_PART = 1 << 15
"""So many scores are worth the start of another thread."""

_PARTS = 4
"""So many parts a thread."""

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
        Give :math:`p^{2-\\alpha}`, which alphas of at least 2 have no need of.

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
    slope = _empty_like(x) if slopes and not _WITHOUT_SLOPES.issuperset(kinds) else None
    arrays = (_array(x), _array(p), _array(slope) if slope is not None else _nothing(x.dtype), excess)
    return (p, slope) if _by_parts([(loop, arrays) for loop in loops]) else None


def entmax_gradients(
    gradient: Tensor, p: Tensor, slopes: Tensor | None, alpha: float | Tensor, *, of_alpha: bool = False
) -> tuple[Tensor, Tensor | None] | None:
    """Gradient with respect to the scores from that of the weights, and the sum over each row of that by alpha.

    The second is in float64, and None unless asked for. None for both where they must themselves have a gradient.
    """
    if not _are_plain(gradient, p):
        return None
    kinds, excess = _plan(alpha, p)
    loops = _loops_for("gradient", kinds, p.dtype)
    more = _loops_for("by_alpha", ("any",), p.dtype) if of_alpha else []
    if loops is None or more is None:
        return None
    out = _empty_like(p)
    g = _array(gradient if gradient.shape == p.shape else gradient.expand(p.shape))
    weights, by_scores = _array(p), _array(out)
    arrays = (
        g,
        weights,
        _nothing(p.dtype) if slopes is None or not slopes.numel() else _array(slopes),
        excess,
        by_scores,
    )
    calls: list[_Call] = [(loop, arrays) for loop in loops]
    by_alpha = None
    if more:
        by_alpha = torch.empty(*p.shape[:-1], 1, dtype=torch.float64)
        calls.append((more[0], (g, weights, excess, by_alpha.view(-1).numpy())))
    _by_parts(calls)
    return out, by_alpha


def _empty_like(x: Tensor) -> Tensor:
    """A tensor in order of its rows; the general way takes longer than the loops of a small one."""
    return torch.empty_like(x) if x.is_contiguous() else torch.empty(x.shape, dtype=x.dtype)


def _array(tensor: Tensor) -> Any:
    """The rows as an array of two dimensions."""
    if tensor.requires_grad:
        tensor = tensor.detach()
    if tensor.ndim != 2:
        tensor = tensor.reshape(-1, tensor.shape[-1])
    return (tensor if tensor.is_contiguous() else tensor.contiguous()).numpy()


@functools.cache
def _nothing(dtype: torch.dtype) -> Any:
    return torch.empty(0, 0, dtype=dtype).numpy()


def _plan(alpha: float | Tensor, x: Tensor) -> tuple[tuple[str, ...], Any]:
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
    return kinds, excess.expand(*x.shape[:-1], 1).reshape(-1).numpy()


@functools.lru_cache(maxsize=256)
def _plan_of_one(excess: float) -> tuple[tuple[str, ...], Any]:
    excess = max(excess, LEAST_EXCESS)
    k = 1 / excess
    exact = k < 3.5 and abs(k - round(k)) < 1e-14
    return ("steep" if excess > 1 else str(round(k)) if exact else "smooth",), np.array([excess])


def _by_parts(calls: list[_Call]) -> bool:
    """Run functions on arrays, for large ones in threads by ranges of rows; False if one says so."""
    rows, size = len(calls[0][1][0]), calls[0][1][0].size
    threads = 1 if size < 2 * _PART else min(torch.get_num_threads(), size // _PART, rows)
    if threads == 1:
        return all(function(*arrays) is not False for function, arrays in calls)
    # more parts than threads, taken one by one: a thread that starts late holds nobody up
    parts = min(rows, _PARTS * threads)
    ends = [rows * part // parts for part in range(parts + 1)]
    ranges = iter(list(itertools.pairwise(ends)))
    done: SimpleQueue[bool | BaseException] = SimpleQueue()

    def work(start: int, end: int) -> bool:
        pieces = ([array[start:end] if len(array) == rows > 1 else array for array in arrays] for _, arrays in calls)
        return all(function(*piece) is not False for (function, _), piece in zip(calls, pieces, strict=True))

    def help_out() -> None:
        for start, end in ranges:
            try:
                done.put(work(start, end))
            except BaseException as error:
                done.put(error)

    helpers = _helpers(os.getpid())
    for _ in range(threads - 1):
        helpers.put(help_out)
    results: list[bool | BaseException] = [work(start, end) for start, end in ranges]
    results += [done.get() for _ in range(parts - len(results))]
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return all(results)


@functools.cache
def _helpers(process: int) -> SimpleQueue[Callable[[], None]]:
    """Queue of functions for the threads of this process: those of another one do not outlive a fork.

    An executor of the standard library takes as long to submit something as the loops for a thousand scores.
    """
    queue: SimpleQueue[Callable[[], None]] = SimpleQueue()

    def serve() -> None:
        while True:
            queue.get()()

    for number in range(max(1, (os.cpu_count() or 2) - 1)):
        Thread(target=serve, name=f"audioattn-entmax-{number}", daemon=True).start()
    return queue


def _are_plain(gradient: Tensor, p: Tensor) -> bool:
    """True where the loops serve, and what they make needs no derivative itself."""
    if torch.is_grad_enabled() or not (are_at_hand(gradient) and are_at_hand(p)) or _kernels() is None:
        return False
    unpack = torch.autograd.forward_ad.unpack_dual
    return unpack(gradient).tangent is None and unpack(p).tangent is None


@functools.cache
def _loops_for(task: str, kinds: tuple[str, ...], dtype: torch.dtype) -> list[Callable[..., Any]] | None:
    loops = [_loop(task, kind, dtype) for kind in kinds]
    return None if None in loops else loops  # type: ignore[return-value]


@functools.cache
def _loop(task: str, kind: str, dtype: torch.dtype) -> Callable[..., Any] | None:
    """A function of the loops once it has run; None where it cannot be compiled."""
    kernels = _kernels()
    if kernels is None:
        return None
    one = torch.ones(1, 1, dtype=dtype).numpy()
    excess = np.ones(1)
    try:
        loop = kernels.loops(task, kind, dtype)
        example = {
            "weights": (one, one.copy(), one.copy(), excess),
            "gradient": (one, one, one, excess, one.copy()),
            "by_alpha": (one, one, excess, excess.copy()),
        }
        loop(*example[task])
    except Exception as error:
        _warn(error)
        return None
    return loop


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
