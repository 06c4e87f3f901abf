"""Loops over rows for numba: alpha-entmax for every alpha above 1, and its gradients.

A row stays in the core's cache through all steps, where PyTorch would pass over
the whole tensor several times a step. The steps are those of
:mod:`audioattn_lib.attention.maps.threshold`: the first ones in float32, the last in
float64 whatever the type of the scores. Where they take powers, it is of those
scores alone that can have a weight. Loops are functions of their own, of which
each becomes vector instructions. Imported by
:mod:`audioattn_lib.attention.maps._numba` alone, and late: numba takes a third of
a second to import.

One function a type on top of the general ones, because numba's files on disk
are only safe from two processes that write at once if a function has one
signature. No threads of numba: its pool beside PyTorch's, and after a fork, crashes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from audioattn_lib.core.compiled_loops import kept_on_disk

__all__ = ["GRADIENTS", "SLOPES_OF_ALPHA", "WEIGHTS"]

# sums in any order, so that they become vector instructions; not the flags that assume away NaN and infinity
_OPTIONS: dict[str, Any] = {
    "nogil": True,
    "error_model": "numpy",
    "fastmath": {"reassoc", "contract", "nsz", "arcp"},
}
# where the order of operations is the point
_IN_ORDER: dict[str, Any] = {"nogil": True, "error_model": "numpy", "fastmath": {"contract"}, "forceinline": True}
# for those that Python does not call: less to compile
_INNER: dict[str, Any] = {**_OPTIONS, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}

_LARGEST_POWER = 16.0
"""Above this k the weights are taken from tau + 1, which keeps its digits close to softmax."""

_PADDING = 32
"""Rows are filled up with minus infinity to a multiple of so many scores."""

_PART = 1024
"""So many terms are added up one after the other: rounding grows with their number."""

_BIT_52 = np.uint64(0x4330000000000000)
_ONE = np.uint64(0x3FF0000000000000)
_SHIFTER = 6755399441055744.0
_F32 = np.float32


@njit(**_IN_ORDER)
def _sum_of_three(z, shift, small):  # type: ignore[no-untyped-def]
    return (z + shift) + small


@njit(**_IN_ORDER)
def _logarithm(v, one, fine):  # type: ignore[no-untyped-def]
    """Logarithm to base 2 of one + v for one of 0 or 1, above 0 and normal; exact in v where one is 1.

    Of m = 2^e f with f within a factor sqrt(2) of 1 it is e + 2 atanh((f - 1) / (f + 1)) / ln 2; the polynomial
    interpolates that at the nodes of Chebyshev, to 3e-18, or to 4e-12 unless ``fine``.
    """
    m = one + v
    lost = v - (m - one)
    # exponent of m * sqrt(2), read without a conversion of integers, which some processors have no vectors for
    exponent = np.float64(m * 1.4142135623730951).view(np.uint64) >> np.uint64(52)
    e = np.uint64(exponent | _BIT_52).view(np.float64) - 4503599627371519.0
    scale = np.uint64((np.uint64(2046) - exponent) << np.uint64(52)).view(np.float64)
    f = m * scale - 1.0 + lost * scale
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


@njit(**_IN_ORDER)
def _exponential(y, fine):  # type: ignore[no-untyped-def]
    """2^y for y from -1000 to 1000; the polynomial interpolates it from -1/2 to 1/2, to 3e-16 or to 6e-11."""
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
        p = 1.5303700711365693e-05
        p = p * r + 0.00015469729214118296
        p = p * r + 0.0013333478473685416
        p = p * r + 0.009618025613318034
        p = p * r + 0.055504109063258665
        p = p * r + 0.24022651213498092
        p = p * r + 0.6931471805568324
        p = p * r + 0.9999999999595618
    return p * np.uint64((np.float64(whole).view(np.uint64) << np.uint64(52)) + _ONE).view(np.float64)


@njit(**_IN_ORDER)
def _power(v, one, exponent, fine):  # type: ignore[no-untyped-def]
    """(one + v)^exponent, and 0 where that is not above 0."""
    inside = one + v > 1e-290
    y = exponent * _logarithm(v if inside else 1.0 - one, one, fine)
    y = y if y < 1000.0 else 1000.0
    p = _exponential(y if y > -1000.0 else -1000.0, fine)
    return p if inside and y > -1000.0 else 0.0


@njit(**_IN_ORDER)
def _power_32(v, one, exponent):  # type: ignore[no-untyped-def]
    """The same in float32, to 1e-6; 2^-126 is as good as 0 here."""
    inside = one + v > _F32(1e-37)
    v = v if inside else _F32(1.0) - one
    m = one + v
    lost = v - (m - one)
    biased = np.float32(m * _F32(1.4142135)).view(np.uint32) >> np.uint32(23)
    e = np.uint32(biased | np.uint32(0x4B000000)).view(np.float32) - _F32(8388735.0)
    scale = np.uint32((np.uint32(254) - biased) << np.uint32(23)).view(np.float32)
    f = m * scale - _F32(1.0) + lost * scale
    s = f / (_F32(2.0) + f)
    q = s * s
    p = (_F32(0.5957596) * q + _F32(0.96158895)) * q + _F32(2.8853904)
    y = exponent * (e + s * p)
    y = y if y > _F32(-126.0) else _F32(-126.0)
    y = y if y < _F32(126.0) else _F32(126.0)
    whole = y + _F32(12582912.0)
    r = y - (whole - _F32(12582912.0))
    p = _F32(0.0013390864)
    p = p * r + _F32(0.009676032)
    p = p * r + _F32(0.05550357)
    p = p * r + _F32(0.24022107)
    p = p * r + _F32(0.6931472)
    p = p * r + _F32(1.0)
    p *= np.uint32((np.float32(whole).view(np.uint32) << np.uint32(23)) + np.uint32(0x3F800000)).view(np.float32)
    return p if inside else _F32(0.0)


@njit(**_INNER)
def _extremes(bits, r, highest, sign):  # type: ignore[no-untyped-def]
    """Largest and least of a row, as integers in the order of the numbers.

    Whatever the row holds, NaN included, this becomes vector instructions; of floats it would not.
    """
    first = bits[r, 0] ^ ((bits[r, 0] >> sign) & highest)
    high, low = first, first
    for i in range(bits.shape[1]):
        key = bits[r, i] ^ ((bits[r, i] >> sign) & highest)
        high = max(high, key)
        low = min(low, key)
    return high, low


@njit(**_INNER)
def _rough_1(y, n, shift):  # type: ignore[no-untyped-def]
    a, b = _F32(0), _F32(0)
    for i in range(n):
        u = y[i] + shift
        # a number made of the comparison, as one chosen by it would keep the loop from vector instructions
        b += _F32(u > _F32(0))
        a += u if u > _F32(0) else _F32(0)
    return a, b, _F32(0)


@njit(**_INNER)
def _rough_2(y, n, over, shift):  # type: ignore[no-untyped-def]
    a, b, c = _F32(0), _F32(0), _F32(0)
    for i in range(n):
        u = y[i] * over + shift
        c += _F32(u > _F32(0))
        u = u if u > _F32(0) else _F32(0)
        b += u
        a += u * u
    return a, b, c


@njit(**_INNER)
def _rough_3(y, n, over, shift):  # type: ignore[no-untyped-def]
    a, b, c = _F32(0), _F32(0), _F32(0)
    for i in range(n):
        u = y[i] * over + shift
        u = u if u > _F32(0) else _F32(0)
        c += u
        b += u * u
        a += u * u * u
    return a, b, c


@njit(**_INNER)
def _rough(y, n, over, one, shift, k, exponent):  # type: ignore[no-untyped-def]
    a, b, c = _F32(0), _F32(0), _F32(0)
    halley = k >= _F32(2)
    for i in range(n):
        v = y[i] * over + shift
        power = _power_32(v, one, exponent)
        u = one + v
        u = u if u > _F32(0) else _F32(0)
        c += power
        power *= u if halley else _F32(1)
        b += power
        a += power * u
    return a, b, c


@njit(**_INNER)
def _sums_1(x, n, top, shift, small):  # type: ignore[no-untyped-def]
    a, b = 0.0, 0.0
    for i in range(n):
        u = _sum_of_three(np.float64(x[i]) - top, shift, small)
        b += np.float64(u > 0.0)
        a += u if u > 0.0 else 0.0
    return a, b, 0.0


@njit(**_INNER)
def _sums_2(x, n, top, over, shift, small):  # type: ignore[no-untyped-def]
    a, b, c = 0.0, 0.0, 0.0
    for i in range(n):
        u = _sum_of_three((np.float64(x[i]) - top) * over, shift, small)
        c += np.float64(u > 0.0)
        u = u if u > 0.0 else 0.0
        b += u
        a += u * u
    return a, b, c


@njit(**_INNER)
def _sums_3(x, n, top, over, shift, small):  # type: ignore[no-untyped-def]
    a, b, c = 0.0, 0.0, 0.0
    for i in range(n):
        u = _sum_of_three((np.float64(x[i]) - top) * over, shift, small)
        u = u if u > 0.0 else 0.0
        c += u
        b += u * u
        a += u * u * u
    return a, b, c


@njit(**_INNER)
def _sums(x, n, top, over, one, shift, small, k, exponent, powers):  # type: ignore[no-untyped-def]
    a, b, c = 0.0, 0.0, 0.0
    halley = k >= 2.0
    for i in range(n):
        v = _sum_of_three((np.float64(x[i]) - top) * over, shift, small)
        power = _power(v, one, exponent, x.itemsize == 8)
        u = one + v
        u = u if u > 0.0 else 0.0
        powers[i] = power
        c += power
        power *= u if halley else 1.0
        b += power
        a += power * u
    return a, b, c


@njit(**_INNER)
def _step(total, first, second, k):  # type: ignore[no-untyped-def]
    """Newton's step on the norm, and Halley's for k of at least 2, from the sums of u^k, u^(k-1) and u^(k-2)."""
    if k == 1.0:
        step = (total - 1.0) / first
    elif k == 2.0:
        step = (total - 1.0) / ((1.0 + 1.0 / np.sqrt(total)) * first)
    else:
        step = -np.expm1(-np.log(total) / k) * total / first
    if k >= 2.0:
        bend = 0.5 * step * (k - 1.0) * (second / first - first / total)
        step /= 1.0 - min(max(bend, -0.5), 0.5)
    return step


@njit(**_INNER)
def _write_whole(x, n, top, over, shift, small, whole, scale, p, slopes):  # type: ignore[no-untyped-def]
    # u^0, u^1 and u^2 as a + u (b + u c), so that one loop does for all
    a, b, c = np.float64(whole == 1), np.float64(whole == 2), np.float64(whole == 3)
    for i in range(n):
        u = _sum_of_three((np.float64(x[i]) - top) * over, shift, small)
        inside = np.float64(u > 0.0)
        u = u if u > 0.0 else 0.0
        slope = inside * a + u * (b + u * c)
        slopes[i] = slope
        p[i] = slope * u * scale


@njit(**_INNER)
def _write(x, n, top, over, one, shift, small, k, move, scale, powers, p, slopes):  # type: ignore[no-untyped-def]
    square = 0.5 * k * move * (k * move - move)
    for i in range(n):
        u = one + _sum_of_three((np.float64(x[i]) - top) * over, shift, small)
        u = u if u > 0.0 else 0.0
        slopes[i] = powers[i] * (u + (k - 1.0) * move)
        p[i] = powers[i] * ((u + k * move) * u + square) * scale


@njit(**_INNER)
def _write_low(x, n, top, over, shift, small, scale, powers, p, slopes):  # type: ignore[no-untyped-def]
    for i in range(n):
        u = _sum_of_three((np.float64(x[i]) - top) * over, shift, small)
        u = u if u > 0.0 else 0.0
        slopes[i] = powers[i]
        p[i] = powers[i] * u * scale


@njit(**_INNER)
def _bracket(n, one, k):  # type: ignore[no-untyped-def]
    """-tau is one + shift + small, from n^(-1/k), where all scores are equal, to 1, where one has everything."""
    low, high = np.expm1(-np.log(float(n)) / k) + (1.0 - one), 1.0 - one
    return low - 1e-3 * abs(low), high


@njit(**_INNER)
def _rough_threshold(y, n, padded, over, one, k, whole):  # type: ignore[no-untyped-def]
    """Find the correction of z to about six digits, by steps in float32."""
    low, high = _bracket(n, one, k)
    exponent = k - 2.0 if k >= 2.0 else k - 1.0
    shift, best = high, np.inf
    enough = 1e-5 if whole == 1 else 3e-4 if k < 2.0 else 3e-3
    for _ in range(12):
        s, o = _F32(shift), _F32(over)
        if whole == 1:
            sums = _rough_1(y, padded, s)
        elif whole == 2:
            sums = _rough_2(y, padded, o, s)
        elif whole == 3:
            sums = _rough_3(y, padded, o, s)
        else:
            sums = _rough(y, padded, o, _F32(one), s, _F32(k), _F32(exponent))
        total, first, second = float(sums[0]), float(sums[1]), float(sums[2])
        error = abs(total - 1.0)
        if not (first > 0.0 and error < best):
            break
        best = error if error < 1e-2 else np.inf
        shift = min(max(shift - _step(total, first, second, k), low), high)
        if error < enough:
            break
    return float(_F32(shift))


@njit(**_INNER)
def _smooth(x, n, padded, top, over, one, k, whole, shift, powers, p, slopes):  # type: ignore[no-untyped-def]
    """Weights and p^(2 - alpha) for k of at least 1, and the threshold; ``x`` is padded with minus infinity.

    For weights in float32 one step in float64 from the rough threshold, or two, are all.
    """
    low, high = _bracket(n, one, k)
    exponent = k - 2.0 if k >= 2.0 else k - 1.0
    small, best, move, scale = 0.0, np.inf, 0.0, 1.0
    narrow = x.itemsize == 4
    enough = 1e-12 if narrow else 1e-15
    for turn in range(200):
        total, first, second = 0.0, 0.0, 0.0
        for start in range(0, padded, _PART):
            size = min(padded - start, _PART)
            part, kept = (x, powers) if padded <= _PART else (x[start:], powers[start:])
            if whole == 1:
                a, b, c = _sums_1(part, size, top, shift, small)
            elif whole == 2:
                a, b, c = _sums_2(part, size, top, over, shift, small)
            elif whole == 3:
                a, b, c = _sums_3(part, size, top, over, shift, small)
            else:
                a, b, c = _sums(part, size, top, over, one, shift, small, k, exponent, kept)
            total += a
            first += b
            second += c
        error = abs(total - 1.0)
        if error < enough or (error < 1e-10 and error > 0.5 * best) or not first > 0.0:
            scale = 1.0 / total
            break
        best = error
        if total > 1.0:
            high = shift + small
        else:
            low = shift + small
        step = _step(total, first, second, k)
        if narrow and k >= 4.0 and k * abs(step) * first < 1e-4:
            # the rest of the way by the series of the power, which this type has no more digits than
            move = -step
            break
        if narrow and whole >= 2 and error < 1e-5 and padded * step * step < 1e-12:
            # of scores that come in or drop out too, the error is below what is enough
            small -= step
            break
        if (turn == 0 and error < 1e-3) or (abs(step) < 1e-6 * (1.0 - one + abs(shift)) and error < 1e-3):
            # digits that the threshold itself has no place for: one ahead of many that are equal needs them
            small -= step
            continue
        shift = shift + small - step
        small = 0.0
        if not low < shift < high:
            shift = 0.5 * (low + high)
    if whole > 0:
        _write_whole(x, padded, top, over, shift, small, whole, scale, p, slopes)
    elif k >= 2.0:
        _write(x, padded, top, over, one, shift, small, k, move, scale, powers, p, slopes)
    else:
        _write_low(x, padded, top, over, shift, small, scale, powers, p, slopes)
    return shift + small


@njit(**_INNER)
def _mass_above(z, level, k):  # type: ignore[no-untyped-def]
    total = 0.0
    for start in range(0, z.shape[0], _PART):
        part = 0.0
        for i in range(start, min(start + _PART, z.shape[0])):
            part += _power(z[i] - level, 0.0, k, True)
        total += part
    return total


@njit(**_INNER)
def _steep(y, excess, z, open_, p):  # type: ignore[no-untyped-def]
    """The same for k below 1, where weights are steep at 0 and the norm is not convex.

    First the support: the mass above a score, were the threshold there, is below 1
    for those in it. Then the weight w of the lowest score in it, of which the
    others are a smooth convex function, so that Newton's method from above never
    passes the root.
    """
    k, m = 1.0 / excess, y.shape[0]
    for i in range(m):
        z[i] = excess * y[i]
        open_[i] = y[i]
    lowest, count, turn = 0.0, m, 0
    while count > 0:
        if turn % 2:
            pivot = open_[count // 2]
        else:
            mean = 0.0
            for i in range(count):
                mean += open_[i] / count
            pivot = -np.inf
            for i in range(count):
                pivot = open_[i] if open_[i] <= mean and open_[i] > pivot else pivot
            pivot = pivot if pivot > -np.inf else open_[0]
        turn += 1
        inside = _mass_above(z, excess * pivot, k) < 1.0
        lowest = min(lowest, pivot) if inside else lowest
        kept = 0
        for i in range(count):
            value = open_[i]
            open_[kept] = value
            kept += (value < pivot) if inside else (value > pivot and value < lowest)
        count = kept
    ties = 0
    for i in range(m):
        z[i] = excess * (y[i] - lowest)
        ties += y[i] >= lowest
    weight = 1.0 / ties
    for _ in range(100):
        base = weight**excess
        total, slope = 0.0, 0.0
        for start in range(0, m, _PART):
            part = 0.0
            for i in range(start, min(start + _PART, m)):
                if y[i] > lowest:
                    p[i] = (z[i] + base) ** k
                    slope += (weight / p[i]) ** (excess - 1.0)
                else:
                    p[i] = weight if y[i] == lowest else 0.0
                    slope += 1.0 if y[i] == lowest else 0.0
                part += p[i]
            total += part
        step = (total - 1.0) / slope
        if not step > 1e-15 * weight:
            break
        weight = max(weight - step, 0.0)
    for i in range(m):
        p[i] /= total


# into its callers before anything is compiled: as a function of its own it would be compiled twice
@njit(inline="always", **_INNER)
def _weights(x, bits, highest, sign, p, slopes, excess):  # type: ignore[no-untyped-def]
    """Fill the weights, and p^(2 - alpha) if there is room; False for a score that is NaN or plus infinity.

    ``excess`` is alpha - 1, one for all rows or one for each.
    """
    number = x.dtype.type
    rows, n = x.shape
    keep = slopes.shape[0] > 0
    # whole vectors, so that none of the loops with powers has to finish one by one
    room = (n + _PADDING - 1) // _PADDING * _PADDING
    scores, y, place = np.empty(room, x.dtype), np.empty(room, np.float32), np.empty(n, np.int32)
    powers, q, t = np.empty(room), np.empty(room, x.dtype), np.empty(room, x.dtype)
    work = np.empty((4, n if excess.max() > 1.0 else 0))
    top_of_row = np.full(1, np.inf, x.dtype)
    top_bits = top_of_row.view(bits.dtype)
    infinite = top_bits[0]
    for r in range(rows):
        high, low = _extremes(bits, r, highest, sign)
        if high >= infinite or low < -1 - infinite:
            return False
        top_bits[0] = high ^ ((high >> sign) & highest)
        top = top_of_row[0]
        if top == -np.inf:
            p[r, :] = number(0)
            if keep:
                slopes[r, :] = number(0)
            continue
        over = excess[r if excess.shape[0] > 1 else 0]
        k = 1.0 / over
        whole = round(k) if abs(k - round(k)) < 1e-14 and k < 3.5 else 0
        for i in range(n):
            y[i] = x[r, i] - top
        m, picked = n, False
        if whole == 0 and k < 8.0:
            # only scores less than 1 / (alpha - 1) below the largest can have a weight
            floor = _F32(-1.000001 * k)
            m = 0
            for i in range(n):
                m += y[i] > floor
            picked = 4 * m < 3 * n or k < 1.0
            if picked:
                m = 0
                for i in range(n):
                    place[m] = i
                    m += y[i] > floor
                for i in range(m):
                    y[i] = y[place[i]]
            else:
                m = n
        if k < 1.0:
            for i in range(m):
                work[0, i] = np.float64(x[r, place[i]]) - np.float64(top)
            _steep(work[0, :m], over, work[1, :m], work[2, :m], work[3, :m])
            for i in range(m):
                q[i] = work[3, i]
                t[i] = number(0)  # the gradient takes them from the weights
        else:
            one = 1.0 if k > _LARGEST_POWER else 0.0
            end = (m + _PADDING - 1) // _PADDING * _PADDING
            for i in range(m, end):
                y[i] = _F32(-np.inf)
            rough = _rough_threshold(y, m, end, over, one, k, whole)
            margin = 1e-3
            if k < 8.0:
                # the last steps over those few that have a weight
                limit, few = _F32(-(rough + margin) * k), 0
                for i in range(m):
                    few += y[i] > limit
                if 3 * few < m:
                    few = 0
                    if picked:
                        for i in range(m):
                            place[few] = place[i]
                            few += y[i] > limit
                    else:
                        for i in range(m):
                            place[few] = i
                            few += y[i] > limit
                    m, picked, margin = few, True, 0.5 * margin
                else:
                    margin = np.inf
            for _ in range(2):
                if picked:
                    for i in range(m):
                        scores[i] = x[r, place[i]]
                else:
                    for i in range(n):
                        scores[i] = x[r, i]
                end = (m + _PADDING - 1) // _PADDING * _PADDING
                for i in range(m, end):
                    scores[i] = number(-np.inf)
                found = _smooth(scores, m, end, np.float64(top), over, one, k, whole, rough, powers, q, t)
                if k >= 8.0 or found <= rough + margin:
                    break
                # the rough threshold was too rough for the choice
                m, picked = n, False
        if not picked:
            for i in range(n):
                p[r, i] = q[i]
            if keep:
                for i in range(n):
                    slopes[r, i] = t[i]
            continue
        for i in range(n):
            p[r, i] = number(0)
        for i in range(m):
            p[r, place[i]] = q[i]
        if keep:
            for i in range(n):
                slopes[r, i] = number(0)
            for i in range(m):
                slopes[r, place[i]] = t[i]
    return True


@njit(**_INNER)
def _gradient(gradient, p, slopes, excess, by_scores):  # type: ignore[no-untyped-def]
    """Product with diag(s) - s s^T / sum(s) for s = p^(2 - alpha), which is taken from ``slopes`` if there are any."""
    number = p.dtype.type
    zero, one = number(0), number(1)
    rows, n = p.shape
    keep = slopes.shape[0] > 0
    for r in range(rows):
        over = excess[r if excess.shape[0] > 1 else 0]
        g, q, out = gradient[r], p[r], by_scores[r]
        mean, total = zero, zero
        if over > 1.0:
            _steep_gradient(g, q, over, out)
        elif over == 1.0:
            for i in range(n):
                inside = q[i] > zero
                mean += g[i] if inside else zero
                total += one if inside else zero
            mean = mean / total if total > zero else zero
            for i in range(n):
                out[i] = g[i] - mean if q[i] > zero else zero
        else:
            if keep:
                s = slopes[r]
            else:
                s = out
                for i in range(n):
                    s[i] = number(_power(np.float64(q[i]), 0.0, 1.0 - over, True))
            for i in range(n):
                mean += s[i] * g[i]
                total += s[i]
            mean = mean / total if total > zero else zero
            for i in range(n):
                out[i] = s[i] * (g[i] - mean)


@njit(**_INNER)
def _steep_gradient(g, p, over, out):  # type: ignore[no-untyped-def]
    """The same for alpha above 2, where s grows without bound as p falls to 0: about the gradient at the largest s."""
    least, at = np.inf, 0
    for i in range(p.shape[0]):
        if p[i] > 0 and p[i] < least:
            least, at = np.float64(p[i]), i
    mean, total = 0.0, 0.0
    for i in range(p.shape[0]):
        if p[i] > 0:
            # of largest 1, and what it is multiplied by
            share = (least / p[i]) ** (over - 1.0)
            mean += share * (np.float64(g[i]) - np.float64(g[at]))
            total += share
    mean = mean / total if total > 0.0 else 0.0
    bound = 1e30 if p.itemsize == 4 else 1e150
    for i in range(p.shape[0]):
        value = 0.0
        if p[i] > 0:
            value = min(np.float64(p[i]) ** (1.0 - over), bound) * _sum_of_three(
                np.float64(g[i]), -np.float64(g[at]), -mean
            )
        out[i] = value


@njit(**_INNER)
def _by_alpha(gradient, p, excess, out):  # type: ignore[no-untyped-def]
    """Sum over a row of the gradient times the derivative of the weights with respect to alpha."""
    rows, n = p.shape
    for r in range(rows):
        over = excess[r if excess.shape[0] > 1 else 0]
        mass = 0.0
        for i in range(n):
            mass += np.float64(p[r, i])
        inverse = 1.0 / mass if mass > 0.0 else 0.0
        total, entropy, curved, a, b, c = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
        for i in range(n):
            if p[r, i] > 0:
                q = np.float64(p[r, i]) * inverse
                g = np.float64(gradient[r, i]) * q
                logarithm = np.log(q)
                y = over * logarithm
                if y > -0.1:
                    term = 1.0 / 40320.0
                    term = 1.0 / 5040.0 - y * term
                    term = 1.0 / 720.0 - y * term
                    term = 1.0 / 120.0 - y * term
                    term = 1.0 / 24.0 - y * term
                    term = 1.0 / 6.0 - y * term
                    term = (0.5 - y * term) * logarithm * logarithm
                else:
                    term = (np.expm1(-y) + y) / (over * over)
                entropy -= q * logarithm
                curved += q * term
                a += g
                b += g * term
                c += g * logarithm
        total = 1.0 + over * entropy + over * over * curved
        out[r] = (a * curved - b - over * (c * curved + b * entropy)) / total


@kept_on_disk(**_OPTIONS)
def _weights_32(x, p, slopes, excess):  # type: ignore[no-untyped-def]
    return _weights(x, x.view(np.int32), np.int32(0x7FFFFFFF), np.int32(31), p, slopes, excess)


@kept_on_disk(**_OPTIONS)
def _weights_64(x, p, slopes, excess):  # type: ignore[no-untyped-def]
    return _weights(x, x.view(np.int64), np.int64(0x7FFFFFFFFFFFFFFF), np.int64(63), p, slopes, excess)


@kept_on_disk(**_OPTIONS)
def _gradient_32(gradient, p, slopes, excess, by_scores):  # type: ignore[no-untyped-def]
    _gradient(gradient, p, slopes, excess, by_scores)


@kept_on_disk(**_OPTIONS)
def _gradient_64(gradient, p, slopes, excess, by_scores):  # type: ignore[no-untyped-def]
    _gradient(gradient, p, slopes, excess, by_scores)


@kept_on_disk(**_OPTIONS)
def _by_alpha_32(gradient, p, excess, out):  # type: ignore[no-untyped-def]
    _by_alpha(gradient, p, excess, out)


@kept_on_disk(**_OPTIONS)
def _by_alpha_64(gradient, p, excess, out):  # type: ignore[no-untyped-def]
    _by_alpha(gradient, p, excess, out)


WEIGHTS = {np.dtype(np.float32): _weights_32, np.dtype(np.float64): _weights_64}
GRADIENTS = {np.dtype(np.float32): _gradient_32, np.dtype(np.float64): _gradient_64}
SLOPES_OF_ALPHA = {np.dtype(np.float32): _by_alpha_32, np.dtype(np.float64): _by_alpha_64}
