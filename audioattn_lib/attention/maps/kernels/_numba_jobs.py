"""Loops over rows as C functions of one argument, a job, of which several threads may do parts at once.

A job is 64-bit integers, whose fields :mod:`._jobs` names. Threads take the next part by an atomic addition, so that
one that starts late holds nobody up. PyTorch's own pool can run such a function, and a call costs a microsecond.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import carray, njit, types  # type: ignore[attr-defined]

from audioattn_lib.core.compiled_loops import CompiledFunction

from ._jobs import DONE, EXCESS, EXCESSES, FIELDS, FIRST, NEXT, OUT, PARTS, REFUSED, ROWS, SLOPES, WEIGHTS, WIDTH
from ._numba_rows import INNER, OPTIONS, intrinsic

__all__ = ["compiled_job", "gradient_job", "weights_job"]

_JOB = types.CPointer(types.int64)


@intrinsic
def _pointer(context, address):  # type: ignore[no-untyped-def]
    """Pointer to an address, for ``carray``."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        return builder.inttoptr(arguments[0], ir.IntType(8).as_pointer())

    return types.voidptr(types.int64), generate


@intrinsic
def _take(context, job, index):  # type: ignore[no-untyped-def]
    """Value of a field, to which one is added: no two threads get the same."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        field = builder.gep(arguments[0], [arguments[1]])
        # "monotonic": no two get the same number; of the order of other memory nothing is asked, as parts are disjoint
        return builder.atomic_rmw("add", field, ir.Constant(ir.IntType(64), 1), "monotonic")

    return types.int64(_JOB, types.int64), generate


def compiled_job(function: Any) -> CompiledFunction:
    """C function of a job."""
    return CompiledFunction(function, types.void(_JOB), **OPTIONS)


def _in_caller(function: Any) -> Any:
    """A function to go into its caller before anything is compiled: one of its own would be compiled twice."""
    return njit(inline="always", **INNER)(function)


def weights_job(fill: Any, dtype: Any) -> Any:
    """Function that runs ``fill(x, bits, p, slopes, excess)`` on parts of a job; a part that it refuses is not done."""
    fill = _in_caller(fill)
    integer = np.int32 if dtype == np.float32 else np.int64

    @_in_caller
    def run(job):  # type: ignore[no-untyped-def]
        fields = carray(job, FIELDS)
        rows, width, n_parts, shared = fields[ROWS], fields[WIDTH], fields[PARTS], fields[EXCESSES] == 1
        # ``x`` and ``bits`` are one memory: loops that compare floats as integers read it as such
        x = carray(_pointer(fields[FIRST]), (rows, width), dtype)
        bits = carray(_pointer(fields[FIRST]), (rows, width), integer)
        p = carray(_pointer(fields[WEIGHTS]), (rows, width), dtype)
        slopes = carray(_pointer(fields[SLOPES]), (rows if fields[SLOPES] else 0, width), dtype)
        excess = carray(_pointer(fields[EXCESS]), (fields[EXCESSES],), np.float64)
        while True:
            index = _take(job, NEXT)
            if index >= n_parts:
                break
            a, b = rows * index // n_parts, rows * (index + 1) // n_parts  # parts differ by a row at most
            # past the end of empty slopes a slice is empty
            if fill(x[a:b], bits[a:b], p[a:b], slopes[a:b], excess if shared else excess[a:b]):
                _take(job, DONE)
            else:
                fields[REFUSED] = 1

    return run


def gradient_job(fill: Any, dtype: Any, *, of_alpha: bool = False) -> Any:
    """Function that runs ``fill(gradient, p, slopes, excess, out)`` on parts of a job.

    ``slopes`` and ``out`` have the shape and type of ``p``; if ``of_alpha``, the slopes are one column in float64,
    which the loops fill with the gradient of alpha.
    """
    fill = _in_caller(fill)
    beside = np.float64 if of_alpha else dtype

    @_in_caller
    def run(job):  # type: ignore[no-untyped-def]
        fields = carray(job, FIELDS)
        rows, width, n_parts, shared = fields[ROWS], fields[WIDTH], fields[PARTS], fields[EXCESSES] == 1
        gradient = carray(_pointer(fields[FIRST]), (rows, width), dtype)
        p = carray(_pointer(fields[WEIGHTS]), (rows, width), dtype)
        slopes = carray(_pointer(fields[SLOPES]), (rows if fields[SLOPES] else 0, 1 if of_alpha else width), beside)
        out = carray(_pointer(fields[OUT]), (rows, width), dtype)
        excess = carray(_pointer(fields[EXCESS]), (fields[EXCESSES],), np.float64)
        while True:
            index = _take(job, NEXT)
            if index >= n_parts:
                break
            a, b = rows * index // n_parts, rows * (index + 1) // n_parts
            fill(gradient[a:b], p[a:b], slopes[a:b], excess if shared else excess[a:b], out[a:b])
            _take(job, DONE)

    return run
