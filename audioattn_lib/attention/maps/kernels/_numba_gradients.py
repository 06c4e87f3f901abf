"""Loops over rows for the gradients of alpha-entmax: products with diag(s) - s s^T / sum(s) for s = p^(2 - alpha)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from ._numba_powers import exponential, least_of, logarithm, power
from ._numba_rows import INNER, PADDING, positions_above, sum_of_three

__all__ = ["by_scores", "by_scores_of_sparsemax", "by_scores_where_steep", "of_learned_alpha"]

_LN_2 = 0.6931471805599453


def _gather_of(dtype: Any) -> Any:
    """Function that counts the weights of a row above 0 and notes where they are, themselves, and their gradients."""
    # the logarithm takes normal numbers of float64, which all of float32 are
    least = np.dtype(dtype).type(0.0 if dtype == np.float32 else 1e-290)

    @njit(**INNER)
    def gather(g, p, positions, gs, qs):  # type: ignore[no-untyped-def]
        m = positions_above(p, p.shape[0], least, positions)
        for i in range(m):
            gs[i], qs[i] = g[positions[i]], p[positions[i]]
        return m

    return gather


def by_scores_of_sparsemax(dtype: Any) -> Any:
    """Function for alpha of 2, where s is 1 on the support."""
    number = np.dtype(dtype).type
    zero = number(0)

    @njit(**INNER)
    def mean_of(g, p):  # type: ignore[no-untyped-def]
        # (n,) each. A number of the comparison, as a branch would keep the loop from vector instructions.
        total, count = zero, zero
        for i in range(p.shape[0]):
            inside = number(p[i] > zero)
            total += inside * g[i]
            count += inside
        return total / count if count > zero else zero

    @njit(**INNER)
    def write(g, p, mean, out):  # type: ignore[no-untyped-def]
        for i in range(p.shape[0]):
            out[i] = g[i] - mean if p[i] > zero else zero

    def fill(g, p, slopes, excess, out):  # type: ignore[no-untyped-def]
        for r in range(p.shape[0]):
            write(g[r], p[r], mean_of(g[r], p[r]), out[r])

    return fill


def by_scores(dtype: Any) -> Any:
    """Function for alpha up to 2; s is ``slopes``, or is made from the weights."""
    number = np.dtype(dtype).type
    zero = number(0)

    @njit(**INNER)
    def mean_of(g, s):  # type: ignore[no-untyped-def]
        # s^T g / sum(s): the product is then s (g - mean), so the matrix (n, n) is never made
        total, weight = zero, zero
        for i in range(s.shape[0]):
            total += s[i] * g[i]
            weight += s[i]
        return total / weight if weight > zero else zero

    @njit(**INNER)
    def write(g, s, mean, out):  # type: ignore[no-untyped-def]
        for i in range(s.shape[0]):
            out[i] = s[i] * (g[i] - mean)

    @njit(**INNER)
    def make(p, exponent, s):  # type: ignore[no-untyped-def]
        least = least_of(exponent, 1020.0, 1e-290)
        for i in range(p.shape[0]):
            s[i] = power(np.float64(p[i]), exponent, least, True)

    def fill(g, p, slopes, excess, out):  # type: ignore[no-untyped-def]
        has_slopes = slopes.shape[0] > 0
        for r in range(p.shape[0]):
            over = excess[r if excess.shape[0] > 1 else 0]
            s = slopes[r] if has_slopes else out[r]  # the row of the result holds s until it is overwritten
            if not has_slopes:
                make(p[r], 1.0 - over, s)
            write(g[r], s, mean_of(g[r], s), out[r])

    return fill


def by_scores_where_steep(dtype: Any) -> Any:
    """Function for the rows with alpha above 2, where s grows without bound as p falls to 0.

    It works with the difference of the gradient from that at the largest s.
    """
    number = np.dtype(dtype).type
    # s is cut off where its product with a gradient could leave the range of the type
    bound = 1e30 if dtype == np.float32 else 1e150
    gather = _gather_of(dtype)

    @njit(**INNER)
    def sums(g, q, about, over, longest, longs):  # type: ignore[no-untyped-def]
        total, weight = 0.0, 0.0
        for i in range(q.shape[0]):
            longs[i] = (1.0 - over) * logarithm(q[i], 0.0, True)
            # of largest 1, and what it is multiplied by
            share = longs[i] - longest
            share = exponential(share if share > -1020.0 else -1020.0, True)
            total += share * (g[i] - about)
            weight += share
        return total / weight if weight > 0.0 else 0.0

    @njit(**INNER)
    def products(g, about, mean, longs):  # type: ignore[no-untyped-def]
        for i in range(longs.shape[0]):
            long = longs[i]
            long = long if long < 1000.0 else 1000.0
            s = exponential(long if long > -1020.0 else -1020.0, True)
            longs[i] = (s if s < bound else bound) * sum_of_three(g[i], -about, -mean)

    def fill(g, p, slopes, excess, out):  # type: ignore[no-untyped-def]
        rows, n = p.shape
        gs, qs, longs, positions = np.empty(n), np.empty(n), np.empty(n), np.empty(n + 1, np.int32)
        for r in range(rows):
            over = excess[r if excess.shape[0] > 1 else 0]
            if not over > 1.0:
                continue
            m = gather(g[r], p[r], positions, gs, qs)
            # The largest s is that of the least weight. It may outweigh all others; the mean is then close to g[at],
            # and their difference, taken from a sum of g, would be rounding alone.
            least, at = np.inf, 0
            for i in range(m):
                if qs[i] < least:
                    least, at = qs[i], i
            longest = (1.0 - over) * np.log2(least)
            mean = sums(gs[:m], qs[:m], gs[at], over, longest, longs)
            products(gs[:m], gs[at], mean, longs[:m])
            out[r, :] = number(0)
            for i in range(m):
                out[r, positions[i]] = longs[i]

    return fill


def of_learned_alpha(dtype: Any) -> Any:
    """Function for the gradient of the scores where alpha is at most 2, and in ``by_alpha`` that of each row's alpha.

    The latter is the sum over the row of the gradient times the derivative of the weights with respect to alpha. Both
    take the same powers, of those weights alone that are above 0.
    """
    gather = _gather_of(dtype)
    number = np.dtype(dtype).type

    @njit(**INNER)
    def sums(gs, qs, ss, n, inverse, over):  # type: ignore[no-untyped-def]
        entropy, curved, a, b, c, weight, product = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
        for i in range(n):
            q = qs[i] * inverse
            g = gs[i] * q
            long = _LN_2 * logarithm(q, 0.0, True)
            y = over * long
            # ``term`` is (e^-y - 1 + y) / over^2. Near 0 the difference would lose all digits; its series there is
            # long^2 (1/2 - y/6 + y^2/24 - ...), in Horner's form.
            near = 1.0 / 40320.0
            near = 1.0 / 5040.0 - y * near
            near = 1.0 / 720.0 - y * near
            near = 1.0 / 120.0 - y * near
            near = 1.0 / 24.0 - y * near
            near = 1.0 / 6.0 - y * near
            near = (0.5 - y * near) * long * long
            far = y * (-1.0 / _LN_2)  # of base 2, as the exponential is
            far = exponential(far if far < 1000.0 else 1000.0, True)
            s = q * far
            ss[i] = s
            weight += s
            product += s * gs[i]
            far = (far - 1.0 + y) / (over * over)
            term = near if y > -0.1 else far
            entropy -= q * long
            curved += q * term
            a += g
            b += g * term
            c += g * long
        return entropy, curved, a, b, c, weight, product

    def fill(gradient, p, by_alpha, excess, out):  # type: ignore[no-untyped-def]
        rows, n = p.shape
        gs, qs, ss = np.empty(n + PADDING), np.empty(n + PADDING), np.empty(n + PADDING)
        positions = np.empty(n + 1, np.int32)
        for r in range(rows):
            over = excess[r if excess.shape[0] > 1 else 0]
            m, mass = gather(gradient[r], p[r], positions, gs, qs), 0.0
            for i in range(m):
                mass += qs[i]
            # whole vectors: a weight of 1 with a gradient of 0 adds nothing, but to the sum of the slopes
            padded = (m + PADDING - 1) // PADDING * PADDING
            for i in range(m, padded):
                gs[i], qs[i] = 0.0, mass
            inverse = 1.0 / mass if mass > 0.0 else 0.0
            entropy, curved, a, b, c, weight, product = sums(gs, qs, ss, padded, inverse, over)
            total = 1.0 + over * entropy + over * over * curved
            # The implicit function theorem on the sum of the weights, which is 1 for every alpha: as alpha moves, the
            # threshold moves so that it stays 1.
            by_alpha[r, 0] = (a * curved - b - over * (c * curved + b * entropy)) / total
            if over > 1.0:
                continue
            mean = product / (weight - (padded - m)) if m > 0 else 0.0  # without the slopes of the padding, 1 each
            out[r, :] = number(0)
            for i in range(m):
                out[r, positions[i]] = ss[i] * (gs[i] - mean)

    return fill
