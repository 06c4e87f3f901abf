"""Loops over rows for alpha-entmax with any alpha above 1 and up to 2.

Where they take powers, it is of those scores alone that can have a weight. Loops are functions of their own, of
which each becomes vector instructions.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from ._numba_powers import least_of, power, power_near_one, rough_power, rough_power_near_one, sum_and_lost
from ._numba_rows import F32, INNER, PADDING, PART, blank, largest_of, positions_above, sum_of_three

__all__ = ["weights_of"]

_LARGEST_POWER = (1000.0, 64.0)
"""Above this k, of float32 and float64, weights are taken from tau + 1, which keeps its digits close to softmax."""


@njit(**INNER)
def _step(total, first, second, k):  # type: ignore[no-untyped-def]
    """Newton's step on the norm, and Halley's for k of at least 2, from the sums of u^k, u^(k-1) and u^(k-2)."""
    step = -np.expm1(-np.log(total) / k) * total / first
    if k >= 2.0:
        bend = 0.5 * step * (k - 1.0) * (second / first - first / total)
        step /= 1.0 - min(max(bend, -0.5), 0.5)
    return step


@njit(**INNER)
def _lowest(n, offset, k):  # type: ignore[no-untyped-def]
    """-tau is offset + shift + small, from n^(-1/k), where all scores are equal, to 1, where one has everything."""
    low = np.expm1(-np.log(float(n)) / k) + (1.0 - offset)
    return low - 1e-3 * abs(low)


@njit(**INNER)
def _copy(x, top, y):  # type: ignore[no-untyped-def]
    for i in range(x.shape[0]):
        y[i] = F32(x[i] - top)


@njit(**INNER)
def _count_above(y, n, level):  # type: ignore[no-untyped-def]
    count = np.int32(0)
    for i in range(n):
        count += np.int32(y[i] > level)
    return count


@njit(**INNER)
def _rough_sums(y, n, over, offset, shift, k, exponent):  # type: ignore[no-untyped-def]
    a, b, c = F32(0), F32(0), F32(0)
    halley = k >= F32(2)
    for i in range(n):
        v = y[i] * over + shift
        u, lost = sum_and_lost(offset, v)
        w = rough_power_near_one(u, lost, exponent)
        u = u if u > F32(0) else F32(0)
        c += w
        w *= u if halley else F32(1)
        b += w
        a += w * u
    return a, b, c


@njit(**INNER)
def _plain_rough_sums(y, n, over, shift, exponent, least):  # type: ignore[no-untyped-def]
    """The same for k between 4 and the largest power."""
    a, b, c = F32(0), F32(0), F32(0)
    for i in range(n):
        u = y[i] * over + shift
        w = rough_power(u, exponent, least)
        u = u if u > F32(0) else F32(0)
        c += w
        w *= u
        b += w
        a += w * u
    return a, b, c


@njit(**INNER)
def _rough_threshold(y, padded, low, over, offset, k):  # type: ignore[no-untyped-def]
    """Find the correction of z to a few digits, by steps in float32."""
    high = 1.0 - offset
    exponent = k - 2.0 if k >= 2.0 else k - 1.0
    least = F32(least_of(exponent, 120.0, 1e-37))
    shift, best = high, np.inf
    for _ in range(12):
        if k >= 4.0 and offset == 0.0:
            a, b, c = _plain_rough_sums(y, padded, F32(over), F32(shift), F32(exponent), least)
        else:
            a, b, c = _rough_sums(y, padded, F32(over), F32(offset), F32(shift), F32(k), F32(exponent))
        total, first, second = float(a), float(b), float(c)
        error = abs(total - 1.0)
        if not (first > 0.0 and error < best):
            break
        best = error if error < 1e-2 else np.inf
        shift = min(max(shift - _step(total, first, second, k), low), high)
        # the step is cubic for k of at least 2, and leaves about this error; the last ones deal with the rest
        left = 0.6 * (abs(np.log(total)) / k) ** 3
        if left < min(4e-4 * k, 8e-3) if k >= 4.0 else error < 3e-3:
            break
    return float(F32(shift))


@njit(**INNER)
def _sums(x, n, top, over, offset, shift, small, k, exponent, powers, us):  # type: ignore[no-untyped-def]
    """Sums of u^k, u^(k-1) and u^(k-2), which the step for k below 2 does without; fill the powers and u."""
    a, b, c = 0.0, 0.0, 0.0
    halley, cubic = k >= 2.0, k >= 4.0
    for i in range(n):
        v = sum_of_three((np.float64(x[i]) - top) * over, shift, small)
        u, lost = sum_and_lost(offset, v)
        w = power_near_one(u, lost, exponent, x.itemsize == 8)
        u = u if u > 0.0 else 0.0
        powers[i] = w
        us[i] = u
        w *= u if cubic else 1.0
        c += w
        w *= u if halley else 1.0
        b += w
        a += w * u
    return a, b, c


@njit(**INNER)
def _plain_sums(x, n, top, over, shift, small, exponent, least, powers, us):  # type: ignore[no-untyped-def]
    """The same for k between 4 and the largest power."""
    a, b, c = 0.0, 0.0, 0.0
    for i in range(n):
        u = sum_of_three((np.float64(x[i]) - top) * over, shift, small)
        w = power(u, exponent, least, x.itemsize == 8)
        u = u if u > 0.0 else 0.0
        powers[i] = w
        us[i] = u
        w *= u
        c += w
        w *= u
        b += w
        a += w * u
    return a, b, c


@njit(**INNER)
def _write(powers, us, e3, e2, e1, e0, n, p):  # type: ignore[no-untyped-def]
    for i in range(n):
        u = us[i]
        p[i] = powers[i] * (((e3 * u + e2) * u + e1) * u + e0)


@njit(**INNER)
def _settle(x, n, padded, top, low, over, offset, k, shift, keep, powers, us, p, slopes):  # type: ignore[no-untyped-def]
    """Weights and p^(2 - alpha) from a rough threshold, and the threshold; ``x`` is padded with minus infinity.

    For weights in float32 one step in float64 from the rough threshold, or two, are all.
    """
    high = 1.0 - offset
    halley, cubic = k >= 2.0, k >= 4.0
    exponent = k - 3.0 if cubic else k - 2.0 if halley else k - 1.0
    least = least_of(exponent, 1020.0, 1e-290)
    small, best, d, scale = 0.0, np.inf, 0.0, 1.0
    narrow = x.itemsize == 4
    enough = 1e-12 if narrow else 1e-15
    for turn in range(200):
        total, first, second = 0.0, 0.0, 0.0
        for start in range(0, padded, PART):
            # of a whole array numba knows that no index is negative
            scores, size, chunk_powers, chunk_us = x[start:], min(PART, padded - start), powers[start:], us[start:]
            if cubic and offset == 0.0:
                a, b, c = _plain_sums(scores, size, top, over, shift, small, exponent, least, chunk_powers, chunk_us)
            else:
                a, b, c = _sums(scores, size, top, over, offset, shift, small, k, exponent, chunk_powers, chunk_us)
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
        # the rest of the way by the series of the power, where this type has no more digits than that
        if narrow and ((cubic and abs(step) < 4e-4 and k * abs(step) < 8e-3) or (halley and n * step * step < 1e-12)):
            d = -step
            break
        if (turn == 0 and error < 1e-3) or (abs(step) < 1e-6 * (1.0 - offset + abs(shift)) and error < 1e-3):
            # digits that the threshold itself has no place for: one ahead of many that are equal needs them
            small -= step
            continue
        shift = shift + small - step
        small = 0.0
        if not low < shift < high:
            shift = 0.5 * (low + high)
    # (u + d)^k by its binomial series: the powers are such ones that polynomials in u are left
    e3, e2, e1, e0 = 0.0, 0.0, 1.0, 0.0
    f2, f1, f0 = 0.0, 0.0, 1.0
    if cubic:
        e3, e2, e1, e0 = 1.0, k * d, 0.5 * k * (k - 1.0) * d * d, k * (k - 1.0) * (k - 2.0) / 6.0 * d * d * d
        f2, f1, f0 = 1.0, (k - 1.0) * d, 0.5 * (k - 1.0) * (k - 2.0) * d * d
    elif halley:
        e2, e1, e0 = 1.0, k * d, 0.5 * k * (k - 1.0) * d * d
        f1, f0 = 1.0, (k - 1.0) * d
    _write(powers, us, scale * e3, scale * e2, scale * e1, scale * e0, n, p)
    if keep:
        _write(powers, us, 0.0, f2, f1, f0, n, slopes)
    return shift + small + d


def weights_of(dtype: Any) -> Any:
    """Function that fills the rows with alpha up to 2; it returns False for a score that is NaN or plus infinity."""
    largest = largest_of(dtype)
    number = np.dtype(dtype).type
    largest_power = _LARGEST_POWER[dtype == np.float64]

    @njit(**INNER)
    def gather(x, positions, m, scores):  # type: ignore[no-untyped-def]
        for i in range(m):
            scores[i] = x[positions[i]]

    @njit(**INNER)
    def scatter(q, positions, m, p):  # type: ignore[no-untyped-def]
        blank(p)
        for i in range(m):
            p[positions[i]] = q[i]

    def fill(x, bits, p, slopes, excess):  # type: ignore[no-untyped-def]
        rows, n = x.shape
        keep = slopes.shape[0] > 0
        # whole vectors, so that none of the loops with powers has to finish one by one
        room = (n + PADDING - 1) // PADDING * PADDING
        scores, y = np.empty(room, x.dtype), np.empty(room, np.float32)
        positions, fewer = np.empty(room + 1, np.int32), np.empty(room + 1, np.int32)
        powers, us, q, t = np.empty(room), np.empty(room), np.empty(room, x.dtype), np.empty(room, x.dtype)
        last, k, offset, low = 0.0, 0.0, 0.0, 0.0
        for r in range(rows):
            over = excess[r if excess.shape[0] > 1 else 0]
            if over > 1.0:
                continue
            top = largest(bits[r])
            if np.isnan(top):
                return False
            if top == -np.inf:
                blank(p[r])
                if keep:
                    blank(slopes[r])
                continue
            if over != last:
                last, k = over, 1.0 / over
                offset = 1.0 if k > largest_power else 0.0
                low = _lowest(n, offset, k)
            _copy(x[r], top, y)
            m, picked = n, False
            if k < 8.0:
                # only scores less than 1 / (alpha - 1) below the largest can have a weight
                floor = F32(-1.000001 * k)
                picked = 4 * _count_above(y, n, floor) < 3 * n
                if picked:
                    m = positions_above(y, n, floor, positions)
                    for i in range(m):
                        y[i] = y[positions[i]]
            padded = (m + PADDING - 1) // PADDING * PADDING
            for i in range(m, padded):
                y[i] = F32(-np.inf)
            rough = _rough_threshold(y, padded, low, over, offset, k)
            margin = 1e-3
            if k < 8.0:
                # the last steps over those few that have a weight
                limit = F32(-(rough + margin) * k)
                if 3 * _count_above(y, m, limit) < m:
                    m = positions_above(y, m, limit, fewer)
                    for i in range(m):
                        positions[i] = positions[fewer[i]] if picked else fewer[i]
                    picked, margin = True, 0.5 * margin
                else:
                    margin = np.inf
            for _ in range(2):
                if picked:
                    gather(x[r], positions, m, scores)
                else:
                    for i in range(n):
                        scores[i] = x[r, i]
                padded = (m + PADDING - 1) // PADDING * PADDING
                for i in range(m, padded):
                    scores[i] = number(-np.inf)
                threshold = _settle(
                    scores, m, padded, np.float64(top), low, over, offset, k, rough, keep,
                    powers, us, q if picked else p[r], t if picked or not keep else slopes[r],
                )  # fmt: skip
                if k >= 8.0 or threshold <= rough + margin:
                    break
                # the rough threshold was too rough for the choice
                m, picked = n, False
            if picked:
                scatter(q, positions, m, p[r])
                if keep:
                    scatter(t, positions, m, slopes[r])
        return True

    return fill
