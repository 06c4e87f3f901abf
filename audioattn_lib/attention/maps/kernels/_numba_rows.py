"""Common parts of the loops over rows: options of the compiler, padding, the largest score of a row."""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic as _typed_intrinsic

__all__ = [
    "F32",
    "INNER",
    "IN_ORDER",
    "OPTIONS",
    "PADDING",
    "PART",
    "blank",
    "intrinsic",
    "largest_of",
    "positions_above",
    "sum_of_three",
]

OPTIONS: dict[str, Any] = {
    "nogil": True,
    "error_model": "numpy",
    # sums in any order, so that they become vector instructions; not the flags that assume away NaN and infinity
    "fastmath": {"reassoc", "contract", "nsz", "arcp"},
}
# for those that Python does not call: less to compile
INNER: dict[str, Any] = {**OPTIONS, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
# where the order of operations is the point
IN_ORDER: dict[str, Any] = {**INNER, "fastmath": {"contract", "nsz"}, "forceinline": True}

F32 = np.float32

PADDING = 16
"""Rows are filled up with minus infinity to a multiple of so many scores."""

PART = 1024
"""So many terms are added up one after the other: rounding grows with their number."""


@njit(**IN_ORDER)
def sum_of_three(z, shift, small):  # type: ignore[no-untyped-def]
    return (z + shift) + small


@njit(**INNER)
def blank(x):  # type: ignore[no-untyped-def]
    for i in range(x.shape[0]):
        x[i] = 0


intrinsic: Any = _typed_intrinsic  # its own type is that of a function of the context too


@intrinsic
def _trailing_zeros(context, mask):  # type: ignore[no-untyped-def]
    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return types.uint64(types.uint64), generate


@njit(**INNER)
def _mask_above(block, level):  # type: ignore[no-untyped-def]
    mask = np.uint64(0)
    for i in range(64):
        mask |= np.uint64(block[i] > level) << np.uint64(i)
    return mask


@njit(**INNER)
def positions_above(row, n, level, positions):  # type: ignore[no-untyped-def]
    """Write the positions of the first ``n`` numbers that are above ``level`` into ``positions``; return their count.

    ``positions`` has room for one more. A mask of 64 comparisons is made of vector instructions, a test of each is not.
    """
    m = 0
    if n < 64:
        for i in range(n):
            positions[m] = i
            m += row[i] > level
        return m
    whole = n // 64 * 64
    for start in range(0, whole, 64):
        mask = _mask_above(row[start : start + 64], level)
        while mask != np.uint64(0):
            positions[m] = start + np.int64(_trailing_zeros(mask))
            mask &= mask - np.uint64(1)
            m += 1
    for i in range(whole, n):
        positions[m] = i
        m += row[i] > level
    return m


def largest_of(dtype: Any) -> Any:
    """Function for the largest score of a row of this type, from its bits; NaN if one is NaN or plus infinity."""
    signed, unsigned = (np.int32, np.uint32) if dtype == np.float32 else (np.int64, np.uint64)
    sign, highest = signed(np.iinfo(signed).bits - 1), np.iinfo(signed).max
    infinite = np.array(np.inf, dtype).view(signed)[()]
    lowest: Any = np.array(-1 - int(infinite), signed).view(unsigned)[()]
    # of plus infinity; NaN of both signs is above it
    limit = unsigned(2 * int(infinite) + 1)
    number = np.dtype(dtype).type

    @njit(**INNER)
    def largest(bits):  # type: ignore[no-untyped-def]
        # as integers in the order of the numbers: whatever the row holds, this becomes vector instructions
        high = unsigned(0)
        for i in range(bits.shape[0]):
            pattern = bits[i]
            ordered = signed(pattern ^ signed(signed(pattern >> sign) & signed(highest)))
            # of numbers without a sign, which may wrap around
            key = unsigned(unsigned(ordered) - lowest)
            high = key if key > high else high
        if high >= limit:
            return number(np.nan)
        ordered = signed(unsigned(high + lowest))
        return signed(ordered ^ signed(signed(ordered >> sign) & signed(highest))).view(number)

    return largest
