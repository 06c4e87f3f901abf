"""Loops for numba: expectations of Gaussian basis functions and their derivatives, in float64.

The method is that of :mod:`audioattn_lib.attention.expectations.gaussian`. The innermost
loop runs over basis functions and does arithmetic alone, exponentials and
logarithms included, so that it becomes vector instructions. Imported by
:mod:`audioattn_lib.attention.expectations._numba` alone, and late: numba takes
a third of a second to import. One signature, because numba's files on disk are
only then safe from two processes that write at once.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from audioattn_lib.core.compiled_loops import kept_on_disk

__all__ = ["fill"]

# sums in any order would break the exact steps of exp and log
_OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy", "fastmath": {"contract", "nsz"}}

_LOG2_E = 1 / math.log(2)
_LN2_HIGH = 0.6931471803691238  # its last bits are 0, so that a whole multiple of it is exact
_LN2_LOW = 1.9082149292705877e-10
_SQRT_2PI = math.sqrt(2 * math.pi)


def _as_integer(typingctx, x):  # type: ignore[no-untyped-def]
    def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        return builder.bitcast(arguments[0], ir.IntType(64))

    return types.int64(types.float64), codegen


def _as_double(typingctx, x):  # type: ignore[no-untyped-def]
    def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        return builder.bitcast(arguments[0], ir.DoubleType())

    return types.float64(types.int64), codegen


_to_bits: Any = intrinsic(_as_integer)
_from_bits: Any = intrinsic(_as_double)


@njit(**_OPTIONS)
def _exp(x):  # type: ignore[no-untyped-def]
    """Exponential of a number that is at most 0, to 1e-14; of -700 below it."""
    x = max(x, -700.0)
    n = math.floor(x * _LOG2_E + 0.5)
    f = (x - n * _LN2_HIGH) - n * _LN2_LOW
    p = 1 / 39916800.0
    p = p * f + 1 / 3628800.0
    p = p * f + 1 / 362880.0
    p = p * f + 1 / 40320.0
    p = p * f + 1 / 5040.0
    p = p * f + 1 / 720.0
    p = p * f + 1 / 120.0
    p = p * f + 1 / 24.0
    p = p * f + 1 / 6.0
    p = p * f + 0.5
    p = p * f + 1.0
    p = p * f + 1.0
    return p * _from_bits((np.int64(np.int32(n)) + 1023) << 52)


@njit(**_OPTIONS)
def _exp_single(x):  # type: ignore[no-untyped-def]
    """The same to 1e-8."""
    x = max(x, -700.0)
    n = math.floor(x * _LOG2_E + 0.5)
    f = x - n * (_LN2_HIGH + _LN2_LOW)
    p = 1 / 5040.0
    p = p * f + 1 / 720.0
    p = p * f + 1 / 120.0
    p = p * f + 1 / 24.0
    p = p * f + 1 / 6.0
    p = p * f + 0.5
    p = p * f + 1.0
    p = p * f + 1.0
    return p * _from_bits((np.int64(np.int32(n)) + 1023) << 52)


@njit(**_OPTIONS)
def _split(q):  # type: ignore[no-untyped-def]
    """Exponent e and t = (m - 1) / (m + 1) of 1 - q = m 2^e, with m between the square roots of 1/2 and 2."""
    bits = _to_bits(max(1 - q, 1e-15))  # rounding may put the outermost node on the end
    e = np.int32((bits - 0x3FE6A09E667F3BCD) >> 52)
    m = _from_bits(bits - (np.int64(e) << 52))
    # small q is known better than 1 - q, which matters when k is large
    above, below = (-q, 2 - q) if e == 0 else (m - 1, m + 1)
    return e, above / below


@njit(**_OPTIONS)
def _log_one_minus(q):  # type: ignore[no-untyped-def]
    """Logarithm of 1 - q for q in [0, 1), to 1e-15 of itself."""
    e, t = _split(q)
    s = t * t
    p = 1 / 19.0
    p = p * s + 1 / 17.0
    p = p * s + 1 / 15.0
    p = p * s + 1 / 13.0
    p = p * s + 1 / 11.0
    p = p * s + 1 / 9.0
    p = p * s + 1 / 7.0
    p = p * s + 1 / 5.0
    p = p * s + 1 / 3.0
    return e * (_LN2_HIGH + _LN2_LOW) + 2 * (t + t * s * p)


@njit(**_OPTIONS)
def _log_one_minus_single(q):  # type: ignore[no-untyped-def]
    """The same to 3e-9 of itself."""
    e, t = _split(q)
    s = t * t
    p = 1 / 9.0
    p = p * s + 1 / 7.0
    p = p * s + 1 / 5.0
    p = p * s + 1 / 3.0
    return e * (_LN2_HIGH + _LN2_LOW) + 2 * (t + t * s * p)


# In these two alone sums may be taken in any order: the steps inside exp and log, functions of their own, may not.
_SUMS: dict[str, Any] = {**_OPTIONS, "fastmath": {"contract", "nsz", "reassoc"}}


@njit(**_SUMS)
def _polynomial(u0, ur, z0, zr, nodes, weights, k):  # type: ignore[no-untyped-def]
    """Sums over the nodes of the integrand times 1, y and y^2, for k of 1, 2 and 3."""
    m0, m1, m2 = 0.0, 0.0, 0.0
    for i in range(len(nodes)):
        y = nodes[i]
        u, z = u0 + ur * y, z0 + zr * y
        base = 1 - u * u
        power = base if k == 1.0 else base * base if k == 2.0 else base * base * base
        value = weights[i] * power * _exp(-0.5 * z * z)
        m0 += value
        m1 += value * y
        m2 += value * (y * y)
    return m0, m1, m2


@njit(**_SUMS)
def _fractional(u0, ur, z0, zr, nodes, weights, k):  # type: ignore[no-untyped-def]
    """The same for any k."""
    m0, m1, m2 = 0.0, 0.0, 0.0
    for i in range(len(nodes)):
        y = nodes[i]
        u, z = u0 + ur * y, z0 + zr * y
        value = weights[i] * _exp(k * _log_one_minus(u * u) - 0.5 * z * z)
        m0 += value
        m1 += value * y
        m2 += value * (y * y)
    return m0, m1, m2


@njit(**_SUMS)
def _fractional_single(u0, ur, z0, zr, nodes, weights, k):  # type: ignore[no-untyped-def]
    """The same to 1e-7."""
    m0, m1, m2 = 0.0, 0.0, 0.0
    for i in range(len(nodes)):
        y = nodes[i]
        u, z = u0 + ur * y, z0 + zr * y
        value = weights[i] * _exp_single(k * _log_one_minus_single(u * u) - 0.5 * z * z)
        m0 += value
        m1 += value * y
        m2 += value * (y * y)
    return m0, m1, m2


@kept_on_disk(**_OPTIONS)
def fill(location, variance, centres, widths, nodes, weights, k, cutoff, constant, precise, out):  # type: ignore[no-untyped-def]
    """Fill ``out``, (3, densities, functions), with expectations, their derivatives by location and by variance.

    ``constant`` is that of the density with half-width 1; what is not ``precise`` is
    right to 1e-7.
    """
    whole = k in (1.0, 2.0, 3.0)
    for b in range(len(location)):
        mu, a = location[b], math.sqrt((2 * k + 3) * variance[b])
        inverse = 1 / a
        by_variance = 0.5 * a / variance[b]
        for j in range(len(centres)):
            w = widths[j]
            narrow = 1 / w
            d = centres[j] - mu
            relative = w * inverse
            ratio = 1 / (1 + 2 * k * relative * relative)  # s^2 / w^2
            reach = math.sqrt(ratio) * (cutoff * w)
            middle = d * ratio
            low, high = max(-a, middle - reach), min(a, middle + reach)
            radius = max(0.5 * (high - low), 0.0)
            middle = 0.5 * (high + low)
            # The nodes y in [-1, 1] cover where neither is negligible: u = u0 + ur y in half-widths of the density,
            # z = z0 + zr y in widths of the basis function. The integrand is (1 - u^2)^k exp(-z^2 / 2).
            u0, ur = middle * inverse, radius * inverse
            z0, zr = (middle - d) * narrow, radius * narrow
            if whole:
                m0, m1, m2 = _polynomial(u0, ur, z0, zr, nodes, weights, k)
            elif precise:
                m0, m1, m2 = _fractional(u0, ur, z0, zr, nodes, weights, k)
            else:
                m0, m1, m2 = _fractional_single(u0, ur, z0, zr, nodes, weights, k)
            scale = ur * constant * narrow / _SQRT_2PI
            # psi' = -(z / w) psi; the sums over z and u z follow from the moments of y
            slope = -scale * narrow
            out[0, b, j] = m0 * scale
            out[1, b, j] = (z0 * m0 + zr * m1) * slope
            out[2, b, j] = (u0 * z0 * m0 + (u0 * zr + ur * z0) * m1 + ur * zr * m2) * slope * by_variance
