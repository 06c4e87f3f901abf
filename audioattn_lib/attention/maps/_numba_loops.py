"""Loops over rows for numba: alpha-entmax for every alpha above 1, and its gradients.

A row stays in the core's cache through all steps, where PyTorch would pass over
the whole tensor several times a step. The steps are those of
:mod:`audioattn_lib.attention.maps.threshold`, in float64 whatever the type of the
scores, and over those scores alone that can have a weight. Imported by
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

_LARGEST_POWER = 16.0
"""Above this k the weights are taken from tau + 1, which keeps its digits close to softmax."""

_PART = 1024
"""So many terms are added up one after the other: rounding grows with their number."""

_BIT_52 = np.uint64(0x4330000000000000)
_ONE = np.uint64(0x3FF0000000000000)
_SHIFTER = 6755399441055744.0


@njit(**_IN_ORDER)
def _sum_of_three(z, shift, small):  # type: ignore[no-untyped-def]
    return (z + shift) + small


@njit(**_IN_ORDER)
def _logarithm(v, one):  # type: ignore[no-untyped-def]
    """Logarithm to base 2 of one + v for one of 0 or 1, above 0 and normal; exact in v where one is 1.

    Of m = 2^e f with f within a factor sqrt(2) of 1 it is e + 2 atanh((f - 1) / (f + 1)) / ln 2; the polynomial
    interpolates that at the nodes of Chebyshev, to 3e-18.
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
    p = 0.2136589569431927
    p = p * q + 0.2209130842311768
    p = p * q + 0.262334352504183
    p = p * q + 0.32059853491395984
    p = p * q + 0.4121985858409005
    p = p * q + 0.5770780163455203
    p = p * q + 0.9617966939259898
    p = p * q + 2.8853900817779268
    return e + s * p


@njit(**_IN_ORDER)
def _exponential(y):  # type: ignore[no-untyped-def]
    """2^y for y from -1000 to 1000; the polynomial interpolates it from -1/2 to 1/2, to 3e-16."""
    whole = y + _SHIFTER
    r = y - (whole - _SHIFTER)
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
    return p * np.uint64((np.float64(whole).view(np.uint64) << np.uint64(52)) + _ONE).view(np.float64)


@njit(**_IN_ORDER)
def _power(v, one, exponent):  # type: ignore[no-untyped-def]
    """(one + v)^exponent, and 0 where that is not above 0."""
    inside = one + v > 1e-290
    y = exponent * _logarithm(v if inside else 1.0 - one, one)
    p = _exponential(min(max(y, -1000.0), 1000.0))
    return p if inside and y > -1000.0 else 0.0


@njit(**_OPTIONS)
def _largest(row):  # type: ignore[no-untyped-def]
    """The largest of a row; eight at a time by hand, because a loop with one does not become vector instructions."""
    a = b = c = d = e = f = g = h = row[0]
    n = row.shape[0] - row.shape[0] % 8
    for i in range(0, n, 8):
        a = row[i] if row[i] > a else a
        b = row[i + 1] if row[i + 1] > b else b
        c = row[i + 2] if row[i + 2] > c else c
        d = row[i + 3] if row[i + 3] > d else d
        e = row[i + 4] if row[i + 4] > e else e
        f = row[i + 5] if row[i + 5] > f else f
        g = row[i + 6] if row[i + 6] > g else g
        h = row[i + 7] if row[i + 7] > h else h
    top = max(max(max(a, b), max(c, d)), max(max(e, f), max(g, h)))
    for i in range(n, row.shape[0]):
        top = row[i] if row[i] > top else top
    return top


@njit(**_OPTIONS)
def _powers(z, one, shift, small, k, whole, rest):  # type: ignore[no-untyped-def]
    """Sums of u^k, u^(k-1) and u^(k-2) for u = z - tau above 0; u^(k-2) is kept unless k is a whole number."""
    total, first, second = 0.0, 0.0, 0.0
    for start in range(0, z.shape[0], _PART):
        end = min(start + _PART, z.shape[0])
        a, b, c = 0.0, 0.0, 0.0
        if whole == 1:
            for i in range(start, end):
                u = max(_sum_of_three(z[i], shift, small), 0.0)
                a += u
                b += 1.0 if u > 0.0 else 0.0
        elif whole == 2:
            for i in range(start, end):
                u = max(_sum_of_three(z[i], shift, small), 0.0)
                a += u * u
                b += u
                c += 1.0 if u > 0.0 else 0.0
        elif whole == 3:
            for i in range(start, end):
                u = max(_sum_of_three(z[i], shift, small), 0.0)
                square = u * u
                a += square * u
                b += square
                c += u
        else:
            exponent = k - 2.0
            for i in range(start, end):
                v = _sum_of_three(z[i], shift, small)
                u = max(one + v, 0.0)
                power = _power(v, one, exponent)
                rest[i] = power
                c += power
                power *= u
                b += power
                a += power * u
        total += a
        first += b
        second += c
    return total, first, second


@njit(**_OPTIONS)
def _smooth(z, k, whole, p, slopes):  # type: ignore[no-untyped-def]
    """Weights and p^(2 - alpha) for k of at least 1, from z of at most 0; they overwrite ``p`` and ``slopes``."""
    one = 1.0 if k > _LARGEST_POWER else 0.0
    # -tau is one + shift + small, from m^(-1/k), where all scores are equal, to 1, where one has everything
    low, high = np.expm1(-np.log(float(z.shape[0])) / k) + (1.0 - one), 1.0 - one
    shift, small, best = high, 0.0, np.inf
    for _ in range(200):
        total, first, second = _powers(z, one, shift, small, k, whole, p)
        error = abs(total - 1.0)
        if error < 1e-15 or (error < 1e-10 and error > 0.5 * best) or not first > 0.0:
            break
        best = error
        if total > 1.0:
            high = shift + small
        else:
            low = shift + small
        # Newton's step on the norm, and Halley's
        step = -np.expm1(-np.log(total) / k) * total / first
        if k >= 2.0:
            bend = 0.5 * step * (k - 1.0) * (second / first - first / total)
            step /= 1.0 - min(max(bend, -0.5), 0.5)
        if abs(step) < 1e-6 * (1.0 - one + abs(shift)) and error < 1e-3:
            # digits that the threshold itself has no place for: one ahead of many that are equal needs them
            small -= step
            continue
        shift = shift + small - step
        small = 0.0
        if not low < shift < high:
            shift = 0.5 * (low + high)
    scale = 1.0 / total
    for i in range(z.shape[0]):
        u = max(one + _sum_of_three(z[i], shift, small), 0.0)
        if whole == 1:
            slope = 1.0 if u > 0.0 else 0.0
        elif whole == 2:
            slope = u
        elif whole == 3:
            slope = u * u
        else:
            slope = p[i] * u
        slopes[i] = slope
        p[i] = slope * u * scale


@njit(**_OPTIONS)
def _mass_above(z, level, k):  # type: ignore[no-untyped-def]
    total = 0.0
    for start in range(0, z.shape[0], _PART):
        part = 0.0
        for i in range(start, min(start + _PART, z.shape[0])):
            part += _power(z[i] - level, 0.0, k)
        total += part
    return total


@njit(**_OPTIONS)
def _steep(y, excess, z, open_, p, slopes):  # type: ignore[no-untyped-def]
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
        slopes[i] = 0.0  # the gradient takes them from the weights


@njit(**_OPTIONS)
def _weights(x, p, slopes, excess):  # type: ignore[no-untyped-def]
    """Fill the weights, and p^(2 - alpha) if there is room; False for a score that is NaN or plus infinity.

    ``excess`` is alpha - 1, one for all rows or one for each.
    """
    number = x.dtype.type
    zero, one, infinity = number(0), number(1), number(np.inf)
    rows, n = x.shape
    keep = slopes.shape[0] > 0
    work = np.empty((5, n))
    place = np.empty(n, np.int64)
    for r in range(rows):
        row = x[r]
        top, refused = _largest(row), zero
        for i in range(n):
            refused += zero if row[i] < infinity else one
        if refused > zero:
            return False
        p[r, :] = zero
        if keep:
            slopes[r, :] = zero
        if top == -infinity:
            continue
        over = excess[r if excess.shape[0] > 1 else 0]
        k = 1.0 / over
        whole = round(k) if abs(k - round(k)) < 1e-14 and k < 3.5 else 0
        # only scores less than 1 / (alpha - 1) below the largest can have a weight
        factor = over if k >= 1.0 else 1.0
        m, floor = 0, -k * factor
        for i in range(n):
            value = (np.float64(row[i]) - np.float64(top)) * factor
            work[0, m] = value
            place[m] = i
            m += value > floor
        q, s = work[1, :m], work[2, :m]
        if k >= 1.0:
            _smooth(work[0, :m], k, whole, q, s)
        else:
            _steep(work[0, :m], over, work[3, :m], work[4, :m], q, s)
        for i in range(m):
            p[r, place[i]] = q[i]
        if keep:
            for i in range(m):
                slopes[r, place[i]] = s[i]
    return True


@njit(**_OPTIONS)
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
                    s[i] = number(_power(np.float64(q[i]), 0.0, 1.0 - over))
            for i in range(n):
                mean += s[i] * g[i]
                total += s[i]
            mean = mean / total if total > zero else zero
            for i in range(n):
                out[i] = s[i] * (g[i] - mean)


@njit(**_OPTIONS)
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


@njit(**_OPTIONS)
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
    return _weights(x, p, slopes, excess)


@kept_on_disk(**_OPTIONS)
def _weights_64(x, p, slopes, excess):  # type: ignore[no-untyped-def]
    return _weights(x, p, slopes, excess)


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
