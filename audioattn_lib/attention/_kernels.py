"""Loops over rows for numba: alpha-entmax and its gradient for k = 1 / (alpha - 1) of 1, 2 and 3.

A row stays in the core's cache through all of Newton's steps, where PyTorch
would pass over the whole tensor several times a step. The method is that of
:mod:`audioattn_lib.attention.thresholds`. Imported by
:mod:`audioattn_lib.attention._compiled` alone, and late: numba takes a third of
a second to import.

One function a type on top of the general ones, because numba's files on disk
are only safe from two processes that write at once if a function has one
signature. One thread: numba's pool beside PyTorch's, and after a fork, crashes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from ._kept_on_disk import kept_on_disk

__all__ = ["GRADIENTS", "WEIGHTS"]

# sums in any order, so that they become vector instructions; not the flags that assume away NaN and infinity
_OPTIONS: dict[str, Any] = {
    "nogil": True,
    "error_model": "numpy",
    "fastmath": {"reassoc", "contract", "nsz", "arcp"},
}


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
def _weights(x, p, slopes, k, tolerance):  # type: ignore[no-untyped-def]
    """Fill the weights, and p^(2 - alpha) if there is room; False for a score that is NaN or plus infinity."""
    number = x.dtype.type
    zero, one, size, infinity = number(0), number(1), number(k), number(np.inf)
    rows, n = x.shape
    keep = slopes.shape[0] > 0
    for r in range(rows):
        row, u = x[r], p[r]
        top, refused = _largest(row), zero
        for i in range(n):
            u[i] = row[i] - top
            refused += zero if row[i] < infinity else one
        if refused > zero:
            return False
        if top == -np.inf:
            u[:] = zero
            if keep:
                slopes[r, :] = zero
            continue
        threshold = -size
        for _ in range(100):
            total, slope = zero, zero
            if k == 1:
                for i in range(n):
                    value = max(u[i] - threshold, zero)
                    total += value
                    slope += one if value > zero else zero
                step = (total - size) / slope
            elif k == 2:
                for i in range(n):
                    value = max(u[i] - threshold, zero)
                    total += value * value
                    slope += value
                norm = np.sqrt(total)
                step = norm * (norm - size) / slope
            else:
                for i in range(n):
                    value = max(u[i] - threshold, zero)
                    square = value * value
                    total += square * value
                    slope += square
                step = (total - number(total ** number(2 / 3)) * size) / slope
            threshold += step
            if not step > tolerance:
                break
        total = zero
        if k == 1:
            for i in range(n):
                value = max(u[i] - threshold, zero)
                u[i] = value
                total += value
            total = one / total
            for i in range(n):
                u[i] *= total
        elif k == 2:
            for i in range(n):
                value = max(u[i] - threshold, zero)
                u[i] = value
                total += value * value
            total = one / np.sqrt(total)
            if keep:
                for i in range(n):
                    slopes[r, i] = u[i] * total
            for i in range(n):
                value = u[i] * total
                u[i] = value * value
        else:
            for i in range(n):
                value = max(u[i] - threshold, zero)
                u[i] = value
                total += value * value * value
            total = number(total ** number(-1 / 3))
            if keep:
                for i in range(n):
                    value = u[i] * total
                    slopes[r, i] = value * value
            for i in range(n):
                value = u[i] * total
                u[i] = value * value * value
    return True


@njit(**_OPTIONS)
def _gradient(gradient, p, slopes, by_scores):  # type: ignore[no-untyped-def]
    """Product with diag(s) - s s^T / sum(s); without slopes s is 1 on the support."""
    number = p.dtype.type
    zero, one = number(0), number(1)
    rows, n = p.shape
    keep = slopes.shape[0] > 0
    for r in range(rows):
        g, s, out = gradient[r], slopes[r] if keep else p[r], by_scores[r]
        mean, total = zero, zero
        if keep:
            for i in range(n):
                mean += s[i] * g[i]
                total += s[i]
        else:
            for i in range(n):
                inside = s[i] > zero
                mean += g[i] if inside else zero
                total += one if inside else zero
        mean = mean / total if total > zero else zero
        if keep:
            for i in range(n):
                out[i] = s[i] * (g[i] - mean)
        else:
            for i in range(n):
                out[i] = g[i] - mean if s[i] > zero else zero


@kept_on_disk(**_OPTIONS)
def _weights_32(x, p, slopes, k, tolerance):  # type: ignore[no-untyped-def]
    return _weights(x, p, slopes, k, np.float32(tolerance))


@kept_on_disk(**_OPTIONS)
def _weights_64(x, p, slopes, k, tolerance):  # type: ignore[no-untyped-def]
    return _weights(x, p, slopes, k, tolerance)


@kept_on_disk(**_OPTIONS)
def _gradient_32(gradient, p, slopes, by_scores):  # type: ignore[no-untyped-def]
    _gradient(gradient, p, slopes, by_scores)


@kept_on_disk(**_OPTIONS)
def _gradient_64(gradient, p, slopes, by_scores):  # type: ignore[no-untyped-def]
    _gradient(gradient, p, slopes, by_scores)


WEIGHTS = {np.dtype(np.float32): _weights_32, np.dtype(np.float64): _weights_64}
GRADIENTS = {np.dtype(np.float32): _gradient_32, np.dtype(np.float64): _gradient_64}
