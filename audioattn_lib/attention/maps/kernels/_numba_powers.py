"""Logarithms, exponentials and powers of which a loop becomes vector instructions."""

from __future__ import annotations

import numpy as np
from numba import njit

from ._numba_rows import F32, IN_ORDER

__all__ = [
    "exponential",
    "least_of",
    "logarithm",
    "power",
    "power_near_one",
    "rough_power",
    "rough_power_near_one",
    "sum_and_lost",
]

_U32, _U64 = np.uint32, np.uint64
_BIT_52, _FRACTION = _U64(0x4330000000000000), _U64(0x000FFFFFFFFFFFFF)
# bits of the square root of 1/2, and what leads from them to those of 1
_ROOT, _TO_ONE = _U64(0x3FE6A09E667F3BCD), _U64(0x00095F619980C433)
_ROOT_32, _TO_ONE_32 = _U32(0x3F3504F3), _U32(0x004AFB0D)
# 1.5 * 2^52 and 1.5 * 2^23: a sum with one of them has no place for a fraction, so adding it rounds to a whole number
_SHIFTER, _SHIFTER_32 = 6755399441055744.0, F32(12582912.0)


@njit(**IN_ORDER)
def sum_and_lost(offset, v):  # type: ignore[no-untyped-def]
    """Sum of both, and its rounding error, exact for an offset of 0, or of 1 and v in [-1, 1] (Dekker, 1971)."""
    total = offset + v
    return total, v - (total - offset)


@njit(**IN_ORDER)
def logarithm(m, lost, fine):  # type: ignore[no-untyped-def]
    """Logarithm to base 2 of a number above 0 and normal, with what was lost in its last digits if it is close to 1.

    Of m = 2^e f with f within a factor sqrt(2) of 1 it is e + 2 atanh((f - 1) / (f + 1)) / ln 2; the polynomial
    interpolates that at the nodes of Chebyshev, to 3e-18, or to 4e-12 unless ``fine``.
    """
    # A double is sign | 11 bits of exponent | 52 bits of fraction. Adding to the bits the way from sqrt(1/2) to 1 moves
    # the border between two exponents from f = 1 to f = sqrt(1/2): the series below needs f around 1.
    moved = _U64(np.float64(m).view(np.uint64) + _TO_ONE)
    # The exponent becomes the fraction of 2^52, and 2^52 plus the bias is subtracted. It saves the conversion of
    # integers, which some processors have no vectors for.
    e = _U64(_U64(moved >> _U64(52)) | _BIT_52).view(np.float64) - 4503599627371519.0
    f = (_U64(_U64(moved & _FRACTION) + _ROOT).view(np.float64) - 1.0) + lost
    # f holds f - 1 from here on. log f = 2 atanh(s) = 2 (s + s^3 / 3 + s^5 / 5 + ...): odd in s, so a polynomial in
    # s^2, in Horner's form; |s| <= 0.172 keeps it short.
    s = f / (2.0 + f)
    q = s * s
    if fine:
        p = 0.2136589569431927
        p = p * q + 0.2209130842311768
        p = p * q + 0.262334352504183
        p = p * q + 0.32059853491395984
        p = p * q + 0.4121985858409005
        p = p * q + 0.5770780163455203
        p = p * q + 0.9617966939259898
        p = p * q + 2.8853900817779268
    else:
        p = 0.3407120415619086
        p = p * q + 0.41167376623771057
        p = p * q + 0.5770835660048659
        p = p * q + 0.9617966734515485
        p = p * q + 2.885390081789987
    return e + s * p


@njit(**IN_ORDER)
def exponential(y, fine):  # type: ignore[no-untyped-def]
    """2^y for y from -1020 to 1023; interpolated from -1/2 to 1/2, to 3e-16 or to 2e-9."""
    # 2^y = 2^whole * 2^r with r in [-1/2, 1/2]. The last bits of the sum are the whole number, ready to be shifted.
    whole = y + _SHIFTER
    r = y - (whole - _SHIFTER)
    if fine:
        p = 7.072585949269223e-09
        p = p * r + 1.0208690299958306e-07
        p = p * r + 1.321544258792169e-06
        p = p * r + 1.5252657260200837e-05
        p = p * r + 0.0001540353044173605
        p = p * r + 0.0013333558230164974
        p = p * r + 0.009618129107606888
        p = p * r + 0.05550410866444772
        p = p * r + 0.24022650695910097
        p = p * r + 0.69314718055995
        p = p * r + 1.0
    else:
        p = 0.0001546144469856913
        p = p * r + 0.0013400428177615838
        p = p * r + 0.009618056678524637
        p = p * r + 0.05550327226670302
        p = p * r + 0.24022650922288757
        p = p * r + 0.6931472067028326
        p = p * r + 1.0
    # 2^whole * p: the whole number is added to the exponent of p, which is between sqrt(1/2) and sqrt(2)
    bits = np.float64(p).view(np.uint64) + _U64(np.float64(whole).view(np.uint64) << _U64(52))
    return _U64(bits).view(np.float64)


@njit(**IN_ORDER)
def power(m, exponent, least, fine):  # type: ignore[no-untyped-def]
    """m^exponent above ``least``, which must be normal and whose power must be at least 2^-1020, and 0 below that."""
    # Computed for every m and then selected: a branch would end the vector instructions.
    p = exponential(exponent * logarithm(m, 0.0, fine), fine)
    return p if m > least else 0.0


@njit(**IN_ORDER)
def power_near_one(m, lost, exponent, fine):  # type: ignore[no-untyped-def]
    """(m + lost)^exponent for an exponent of any size, and 2^-1020 in place of what is smaller."""
    y = exponent * logarithm(m, lost, fine)
    # below -1022 the shift in exponential() would run into the sign
    p = exponential(y if y > -1020.0 else -1020.0, fine)
    return p if m > 1e-290 else 0.0


@njit(**IN_ORDER)
def _rough_logarithm(m, lost):  # type: ignore[no-untyped-def]
    # as logarithm(), with the 8 bits of exponent and 23 of fraction of a float
    moved = _U32(np.float32(m).view(np.uint32) + _TO_ONE_32)
    e = _U32(_U32(moved >> _U32(23)) | _U32(0x4B000000)).view(np.float32) - F32(8388735.0)
    f = (_U32(_U32(moved & _U32(0x007FFFFF)) + _ROOT_32).view(np.float32) - F32(1.0)) + lost
    s = f / (F32(2.0) + f)
    return e + s * (F32(0.9791031) * (s * s) + F32(2.8853262))


@njit(**IN_ORDER)
def _rough_exponential(y):  # type: ignore[no-untyped-def]
    whole = y + _SHIFTER_32
    r = y - (whole - _SHIFTER_32)
    p = F32(0.055838283)
    p = p * r + F32(0.24263948)
    p = p * r + F32(0.69313673)
    p = p * r + F32(0.99992456)
    bits = np.float32(p).view(np.uint32) + _U32(np.float32(whole).view(np.uint32) << _U32(23))
    return _U32(bits).view(np.float32)


@njit(**IN_ORDER)
def rough_power(m, exponent, least):  # type: ignore[no-untyped-def]
    """:func:`power` in float32, to 1e-4, and from 2^-120."""
    p = _rough_exponential(exponent * _rough_logarithm(m, F32(0)))
    return p if m > least else F32(0)


@njit(**IN_ORDER)
def rough_power_near_one(m, lost, exponent):  # type: ignore[no-untyped-def]
    """:func:`power_near_one` in float32, to 1e-4, and from 2^-120."""
    y = exponent * _rough_logarithm(m, lost)
    p = _rough_exponential(y if y > F32(-120) else F32(-120))
    return p if m > F32(1e-37) else F32(0)


@njit(**IN_ORDER)
def least_of(exponent, reach, normal):  # type: ignore[no-untyped-def]
    """Number whose power is 2^-reach, or ``normal`` if that is larger."""
    return max(2.0 ** (-reach / exponent), normal) if exponent > 0.01 else normal
