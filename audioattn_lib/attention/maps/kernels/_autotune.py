"""Run-time choice of the faster of two equivalent implementations, measured on the device once for each size.

A kernel that was compared with ours still need not be the faster one: that depends on
the card, on the sizes and on the versions of everything below. So the first call of a
size runs both on its own input a few times, and later calls of that size take the
faster one.
"""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Callable, Hashable

import torch

__all__ = ["fall_back", "forget", "is_faster", "size_class"]

log = logging.getLogger("audioattn")

_TURNS = 5
_found: dict[Hashable, bool] = {}


def is_faster(
    operation: tuple[object, ...], sizes: tuple[int, ...], kernel: Callable[[], object], ours: Callable[[], object]
) -> bool:
    """Return True if ``kernel`` is at least as fast as ``ours``, measured once for ``operation`` and ``sizes``.

    ``operation`` is words and values, which make a sentence only where something is said.

    Nothing is measured where the same numbers are asked for at every run
    (``torch.use_deterministic_algorithms``), since a choice by the clock is not
    the same at every run, nor while a graph is captured, which cannot be timed:
    the answer is then yes. Whoever runs out of memory is the slower one, and so
    is a kernel that fails for these sizes, with a warning.
    """
    key = (operation, sizes)
    if key in _found:
        return _found[key]
    if torch.are_deterministic_algorithms_enabled() or _is_capturing():
        return True
    name = " ".join(str(word) for word in operation if word != "")
    try:
        theirs = _seconds(kernel)
    # as where kernels are compared: whatever keeps one from working, ours does the same
    except Exception as error:
        fall_back(name, f"fails for sizes of class {sizes}", error)
        theirs = math.inf
    mine = _seconds(ours)
    _found[key] = theirs <= mine and theirs < math.inf
    choice = "taken" if _found[key] else "not taken"
    log.info("%s, sizes of class %s: %.3g ms, ours %.3g ms; %s", name, sizes, 1e3 * theirs, 1e3 * mine, choice)
    return _found[key]


def fall_back(kernel_name: str, reason: str, error: Exception | None = None) -> None:
    """Warn that a kernel is not used, and why."""
    because = "" if error is None else f" ({type(error).__name__}: {error})"
    warnings.warn(f"{kernel_name} {reason}{because}; ours is used instead", RuntimeWarning, stacklevel=3)


def size_class(*sizes: int) -> tuple[int, ...]:
    """The same for sizes between two powers of two."""
    return tuple(size.bit_length() for size in sizes)


def forget() -> None:
    """Measure anew."""
    _found.clear()


def _is_capturing() -> bool:
    return torch.cuda.is_available() and torch.cuda.is_current_stream_capturing()


def _seconds(call: Callable[[], object]) -> float:
    """Of one call, after calls that compile what is to be compiled; the timer waits for the device."""
    from torch.utils.benchmark import Timer  # a tenth of a second, which nobody without a kernel should wait

    timer = Timer("call()", globals={"call": call}, num_threads=torch.get_num_threads())
    try:
        return float(timer.timeit(_TURNS).median)
    except torch.OutOfMemoryError:
        return math.inf
