"""Common parts of the loops over rows: options of the compiler, padding, the largest score of a row."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

__all__ = ["F32", "INNER", "IN_ORDER", "PADDING", "PART", "blank", "largest_of", "sum_of_three"]

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
            one = bits[i]
            ordered = signed(one ^ signed(signed(one >> sign) & signed(highest)))
            # of numbers without a sign, which may wrap around
            key = unsigned(unsigned(ordered) - lowest)
            high = key if key > high else high
        if high >= limit:
            return number(np.nan)
        ordered = signed(unsigned(high + lowest))
        return signed(ordered ^ signed(signed(ordered >> sign) & signed(highest))).view(number)

    return largest
