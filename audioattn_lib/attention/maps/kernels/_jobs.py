"""Run compiled loops over the rows of tensors, for large ones in the pool of threads that PyTorch has itself."""

from __future__ import annotations

import ctypes
import functools
import os
from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor

__all__ = ["Job", "run_job"]

FIELDS = 12
NEXT, DONE, REFUSED, PARTS, ROWS, WIDTH, FIRST, WEIGHTS, SLOPES, OUT, EXCESS, EXCESSES = range(FIELDS)

_PART = 1 << 15
"""So many scores are worth another thread: as many as in PyTorch."""

_PARTS = 4
"""So many parts a thread."""

_Fields = ctypes.c_int64 * FIELDS
_Function = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


class Job(Protocol):
    """A compiled function of the fields above."""

    @property
    def address(self) -> int:
        """Address of its machine code."""


def run_job(
    job: Job, first: Tensor, weights: Tensor, slopes: Tensor | None, out: Tensor | None, excess: Tensor
) -> bool:
    """Run a job on rows; False if the loops refuse a row.

    Parameters
    ----------
    job
        Loops for this type of number.
    first
        Scores, or gradients of the weights, ``(*rows, width)``, contiguous, as are all of these.
    weights, slopes, out
        What the loops read or fill; None for what they do without.
    excess
        alpha - 1 in float64: one number, or one a row.

    Raises
    ------
    MemoryError
        If a loop found no memory for its work.
    """
    width = weights.shape[-1]
    size = weights.numel()
    rows = size // width
    threads = 1 if size < 2 * _PART or rows == 1 else torch.get_num_threads()
    parts = 1 if threads == 1 else min(rows, _PARTS * threads)
    # NEXT, DONE and REFUSED, which the threads change, then what they read
    fields = _Fields(
        0,
        0,
        0,
        parts,
        rows,
        width,
        first.data_ptr(),
        weights.data_ptr(),
        0 if slopes is None else slopes.data_ptr(),
        0 if out is None else out.data_ptr(),
        excess.data_ptr(),
        excess.numel(),
    )
    parallel = _pool() if threads > 1 else None
    if parallel is None:
        _callable(job.address)(fields)
    else:
        parallel(job.address, fields, threads, 0)
    # a loop that raises leaves its part undone: a C function has no other way to say so
    if fields[DONE] < parts and not fields[REFUSED]:
        raise MemoryError(f"maps of {rows} rows of {width} scores: the loops found no memory for their work")
    return not fields[REFUSED]


@functools.cache
def _callable(address: int) -> Callable[[Any], None]:
    return _Function(address)


@functools.cache
def _pool() -> Callable[[int, Any, int, int], None] | None:
    """Entry of GNU OpenMP, which LLVM's has too, of the library that PyTorch has loaded; None where there is none.

    Its threads are those of PyTorch's operations: they are awake when these have just run, where others would have to
    be woken. They do not outlive a fork; a forked process works without.
    """
    if os.getpid() != _PROCESS or "OpenMP" not in torch.__config__.parallel_info():
        return None
    try:
        parallel: Any = ctypes.CDLL(None).GOMP_parallel
    except (AttributeError, OSError, TypeError):
        return None
    parallel.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint]
    parallel.restype = None
    return parallel  # type: ignore[no-any-return]


_PROCESS = os.getpid()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.cache_clear)
