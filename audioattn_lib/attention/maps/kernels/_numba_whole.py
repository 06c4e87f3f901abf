"""Loops over rows for alpha-entmax with an alpha of 4/3, 3/2 and 2, whose powers are products."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from ._numba_rows import F32, IN_ORDER, INNER, PADDING, PART, largest_of, sum_of_three

__all__ = ["weights_of_power"]

_GROUP = 8
"""So many rows take their steps side by side: while one waits for its sums another one's are under way."""

_IN_CACHE = 1 << 13
"""So many scores of a group."""

_WINDOW = 1e-5
"""Scores this far from the threshold may cross it with the last step."""


def weights_of_power(k: int, dtype: Any) -> Any:
    """Function that fills weights and p^(2 - alpha), if there is room; it returns False for NaN or plus infinity."""
    over = 1.0 / k
    over_32 = F32(over)
    narrow = dtype == np.float32
    number = np.dtype(dtype).type
    largest = largest_of(dtype)
    enough_roughly = 1e-5 if k == 1 else 3e-3
    enough = 1e-12 if narrow else 1e-15

    @njit(**IN_ORDER)
    def step_from(total, first, second):  # type: ignore[no-untyped-def]
        if k == 1:
            return (total - 1.0) / first
        if k == 2:
            step = (total - np.sqrt(total)) / first
        else:
            root = np.cbrt(total)
            step = (total - root * root) / first
        bend = 0.5 * step * (k - 1.0) * (second / first - first / total)
        return step / (1.0 - min(max(bend, -0.5), 0.5))

    @njit(**INNER)
    def copy(x, top, z):  # type: ignore[no-untyped-def]
        for i in range(x.shape[0]):
            z[i] = F32(x[i] - top) * over_32

    @njit(**INNER)
    def rough_sums(z, shift):  # type: ignore[no-untyped-def]
        a, b, c = F32(0), F32(0), F32(0)
        for i in range(z.shape[0]):
            u = z[i] + shift
            # a number made of the comparison, as one chosen by it would keep the loop from vector instructions
            inside = F32(u > F32(0))
            u = u if u > F32(0) else F32(0)
            if k == 1:
                a += u
                b += inside
            elif k == 2:
                a += u * u
                b += u
                c += inside
            else:
                a += u * u * u
                b += u * u
                c += u
        return a, b, c

    @njit(**INNER)
    def sums(x, top, shift, small):  # type: ignore[no-untyped-def]
        a, b, c = 0.0, 0.0, 0.0
        for i in range(x.shape[0]):
            u = sum_of_three((np.float64(x[i]) - top) * over, shift, small)
            inside = np.float64(u > 0.0)
            if k == 1:
                c += np.float64(abs(u) < _WINDOW)
            u = u if u > 0.0 else 0.0
            if k == 1:
                a += u
                b += inside
            elif k == 2:
                a += u * u
                b += u
                c += inside
            else:
                a += u * u * u
                b += u * u
                c += u
        return a, b, c

    @njit(**INNER)
    def all_sums(x, top, shift, small):  # type: ignore[no-untyped-def]
        n = x.shape[0]
        total, first, second = 0.0, 0.0, 0.0
        for start in range(0, n, PART):
            a, b, c = sums(x[start : min(start + PART, n)], top, shift, small)
            total += a
            first += b
            second += c
        return total, first, second

    @njit(**INNER)
    def settle(x, top, shift, low):  # type: ignore[no-untyped-def]
        """Steps in float64 until nothing changes."""
        small, best, scale, high = 0.0, np.inf, 1.0, 1.0
        for turn in range(200):
            total, first, second = all_sums(x, top, shift, small)
            error = abs(total - 1.0)
            if error < enough or (error < 1e-10 and error > 0.5 * best) or not first > 0.0:
                scale = 1.0 / total
                break
            best = error
            if total > 1.0:
                high = shift + small
            else:
                low = shift + small
            step = step_from(total, first, second)
            if (turn == 0 and error < 1e-3) or (abs(step) < 1e-6 * abs(shift) and error < 1e-3):
                # digits that the threshold itself has no place for: one ahead of many that are equal needs them
                small -= step
                continue
            shift = shift + small - step
            small = 0.0
            if not low < shift < high:
                shift = 0.5 * (low + high)
        return shift, small, scale

    @njit(**INNER)
    def write(x, top, shift, small, scale, p):  # type: ignore[no-untyped-def]
        for i in range(x.shape[0]):
            u = sum_of_three((np.float64(x[i]) - top) * over, shift, small)
            u = u if u > 0.0 else 0.0
            if k == 1:
                p[i] = u * scale
            elif k == 2:
                p[i] = u * u * scale
            else:
                p[i] = u * u * u * scale

    @njit(**INNER)
    def write_both(x, top, shift, small, scale, p, slopes):  # type: ignore[no-untyped-def]
        for i in range(x.shape[0]):
            u = sum_of_three((np.float64(x[i]) - top) * over, shift, small)
            u = u if u > 0.0 else 0.0
            slope = u if k == 2 else u * u
            slopes[i] = slope
            p[i] = slope * u * scale

    def fill(x, bits, p, slopes, excess):  # type: ignore[no-untyped-def]
        rows, n = x.shape
        group = max(1, min(_GROUP, _IN_CACHE // n))
        room = (n + PADDING - 1) // PADDING * PADDING
        z = np.empty((group, room), np.float32)
        for j in range(group):
            for i in range(n, room):
                z[j, i] = F32(-np.inf)
        work = np.empty((6, group))
        top, shift, best, power_sums = work[0], work[1], work[2], work[3:]
        # -tau lies between that of n equal scores, and 1, where one has everything
        low = n**-over * (1.0 - 1e-3)
        for start in range(0, rows, group):
            size = min(group, rows - start)
            for j in range(size):
                row_top = largest(bits[start + j])
                if np.isnan(row_top):
                    return False
                empty = row_top == -np.inf
                top[j] = 0.0 if empty else np.float64(row_top)
                copy(x[start + j], number(top[j]), z[j])
                shift[j], best[j] = 0.0 if empty else 1.0, -1.0 if empty else np.inf
            for _ in range(12):
                busy = 0
                for j in range(size):
                    power_sums[0, j], power_sums[1, j], power_sums[2, j] = rough_sums(z[j], F32(shift[j]))
                for j in range(size):
                    total, first = power_sums[0, j], power_sums[1, j]
                    error = abs(total - 1.0)
                    if error < best[j] and first > 0.0:
                        shift[j] = F32(min(max(shift[j] - step_from(total, first, power_sums[2, j]), low), 1.0))
                        best[j] = -1.0 if error < enough_roughly else error if error < 1e-2 else np.inf
                        busy += best[j] > 0.0
                    else:
                        best[j] = -1.0
                if busy == 0:
                    break
            for j in range(size):
                power_sums[0, j], power_sums[1, j], power_sums[2, j] = all_sums(x[start + j], top[j], shift[j], 0.0)
            for j in range(size):
                total, first, second = power_sums[0, j], power_sums[1, j], power_sums[2, j]
                row, small, scale = start + j, 0.0, 1.0
                if first > 0.0:
                    step = step_from(total, first, second)
                    # one step is exact, unless scores come in or drop out on the way that can be seen
                    sure = second == 0.0 if k == 1 else n * step * step < 1e-12
                    if narrow and sure and abs(step) < _WINDOW:
                        small = -step
                    else:
                        shift[j], small, scale = settle(x[row], top[j], shift[j], low)
                elif top[j] > 0:
                    shift[j], small, scale = settle(x[row], top[j], 1.0, low)
                if k > 1 and slopes.shape[0] > 0:
                    write_both(x[row], top[j], shift[j], small, scale, p[row], slopes[row])
                else:
                    write(x[row], top[j], shift[j], small, scale, p[row])
        return True

    return fill
