"""Loops over rows for alpha-entmax with an alpha above 2, where weights are steep at 0 and the norm is not convex."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from ._numba_powers import exponential, logarithm, power
from ._numba_rows import F32, INNER, PADDING, PART, largest_of

__all__ = ["weights_of"]


@njit(**INNER)
def _part_above(z, level, k):  # type: ignore[no-untyped-def]
    total = 0.0
    for i in range(z.shape[0]):
        total += power(z[i] - level, k, 1e-290, True)
    return total


@njit(**INNER)
def _mass_above(z, level, k):  # type: ignore[no-untyped-def]
    total = 0.0
    for start in range(0, z.shape[0], PART):
        total += _part_above(z[start : start + PART], level, k)
    return total


@njit(**INNER)
def _part_of_weights(y, lowest, excess, k, weight, base, logarithm_of_weight, p):  # type: ignore[no-untyped-def]
    # p_i = (excess (y_i - lowest) + weight^excess)^k, k = 1 / excess; dp_i / dweight = (weight / p_i)^(excess - 1).
    # Both as powers of 2, without a branch: the loop becomes vector instructions.
    total, slope = 0.0, 0.0
    for i in range(y.shape[0]):
        above = y[i] > lowest
        tied = np.float64(y[i] == lowest)
        long = logarithm(excess * (y[i] - lowest) + base, 0.0, True)
        p_i = exponential(k * long, True)
        falling = (excess - 1.0) * (logarithm_of_weight - k * long)
        steepness = exponential(falling if falling > -1020.0 else -1020.0, True)
        p_i = p_i if above else tied * weight
        p[i] = p_i
        total += p_i
        slope += steepness if above else tied
    return total, slope


@njit(**INNER)
def _settle(y, excess, z, open_, p):  # type: ignore[no-untyped-def]
    """Fill the weights of scores ``y``, relative to the largest, padded with minus infinity.

    First the support: the mass above a score, were the threshold there, is below 1
    for those in it. Then the weight of the lowest score in it, of which the
    others are a smooth convex function, so that Newton's method from above never
    passes the root.
    """
    k, m = 1.0 / excess, y.shape[0]
    for i in range(m):
        z[i] = excess * y[i]
        open_[i] = y[i]
    lowest, count, turn = 0.0, m, 0
    # A search for the lowest score of the support, as in quickselect: of the scores that are open, one side of the
    # pivot is settled by each turn. Pivots are the mean (the largest score up to it) and the middle one, in turn.
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
        n_open = 0
        for i in range(count):
            value = open_[i]
            open_[n_open] = value
            n_open += (value < pivot) if inside else (value > pivot and value < lowest)
        count = n_open
    ties = 0
    for i in range(m):
        ties += y[i] == lowest
    weight = 1.0 / ties
    for _ in range(100):
        base, total, slope = weight**excess, 0.0, 0.0
        logarithm_of_weight = np.log2(max(weight, 1e-300))
        for start in range(0, m, PART):
            end = min(start + PART, m)
            a, b = _part_of_weights(y[start:end], lowest, excess, k, weight, base, logarithm_of_weight, p[start:end])
            total += a
            slope += b
        step = (total - 1.0) / slope
        if not step > 1e-15 * weight:
            break
        weight = max(weight - step, 0.0)
    for i in range(m):
        p[i] /= total


def weights_of(dtype: Any) -> Any:
    """Function that fills the rows with alpha above 2; it returns False for a score that is NaN or plus infinity."""
    largest = largest_of(dtype)
    number = np.dtype(dtype).type

    @njit(**INNER)
    def gather(x, top, floor, positions):  # type: ignore[no-untyped-def]
        m = 0
        for i in range(x.shape[0]):
            positions[m] = i
            m += F32(x[i] - top) > floor
        return m

    def fill(x, bits, p, slopes, excess):  # type: ignore[no-untyped-def]
        rows, n = x.shape
        room = (n + PADDING - 1) // PADDING * PADDING
        work, positions = np.empty((4, room)), np.empty(n, np.int32)
        for r in range(rows):
            over = excess[r if excess.shape[0] > 1 else 0]
            if not over > 1.0:
                continue
            top = largest(bits[r])
            if np.isnan(top):
                return False
            p[r, :] = number(0)
            if slopes.shape[0] > 0:
                slopes[r, :] = number(0)  # the gradient takes them from the weights
            if top == -np.inf:
                continue
            # only scores less than 1 / (alpha - 1) below the largest can have a weight
            m = gather(x[r], top, F32(-1.000001 / over), positions)
            for i in range(m):
                work[0, i] = np.float64(x[r, positions[i]]) - np.float64(top)
            _settle(work[0, :m], over, work[1, :m], work[2, :m], work[3, :m])
            for i in range(m):
                p[r, positions[i]] = work[3, i]
        return True

    return fill
