"""Loops over clips, frames and heads for numba: products of slices with vectors, and what they come from.

Each passes over the frames once; PyTorch would write a product as large as the
frames for every sum. Imported by :mod:`audioattn_lib.attention._compiled_heads`
alone, and late; as :mod:`audioattn_lib.attention._kernels`.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from ._kernels import _OPTIONS, _kept_on_disk

__all__ = ["DOTS", "GRADIENTS", "SUMS"]


@njit(**_OPTIONS)
def _dot(slices, vectors, out):  # type: ignore[no-untyped-def]
    """Fill ``(B, H, T)`` with the product of each slice with the vector of its clip and head."""
    zero = slices.dtype.type(0)
    batch, frames, heads, width = slices.shape
    for b in range(batch):
        for t in range(frames):
            for h in range(heads):
                x, v = slices[b, t, h], vectors[b, h]
                total = zero
                for i in range(width):
                    total += x[i] * v[i]
                out[b, h, t] = total


@njit(**_OPTIONS)
def _sum(slices, weights, out):  # type: ignore[no-untyped-def]
    """Fill ``(B, H, d)`` with the weighted sum of the slices over the frames."""
    batch, frames, heads, width = slices.shape
    for b in range(batch):
        out[b] = slices.dtype.type(0)
        for t in range(frames):
            for h in range(heads):
                x, y, w = slices[b, t, h], out[b, h], weights[b, h, t]
                for i in range(width):
                    y[i] += w * x[i]


@njit(**_OPTIONS)
def _gradient(weights, by_context, by_scores, queries, out):  # type: ignore[no-untyped-def]
    """Fill ``(B, T, H, d)`` with the gradient of the slices, from the read and from the scores."""
    batch, frames, heads, width = out.shape
    for b in range(batch):
        for t in range(frames):
            for h in range(heads):
                y, p, s = out[b, t, h], weights[b, h, t], by_scores[b, h, t]
                g, q = by_context[b, h], queries[b, h]
                for i in range(width):
                    y[i] = p * g[i] + s * q[i]


@_kept_on_disk
def _dot_32(slices, vectors, out):  # type: ignore[no-untyped-def]
    _dot(slices, vectors, out)


@_kept_on_disk
def _dot_64(slices, vectors, out):  # type: ignore[no-untyped-def]
    _dot(slices, vectors, out)


@_kept_on_disk
def _sum_32(slices, weights, out):  # type: ignore[no-untyped-def]
    _sum(slices, weights, out)


@_kept_on_disk
def _sum_64(slices, weights, out):  # type: ignore[no-untyped-def]
    _sum(slices, weights, out)


@_kept_on_disk
def _gradient_32(weights, by_context, by_scores, queries, out):  # type: ignore[no-untyped-def]
    _gradient(weights, by_context, by_scores, queries, out)


@_kept_on_disk
def _gradient_64(weights, by_context, by_scores, queries, out):  # type: ignore[no-untyped-def]
    _gradient(weights, by_context, by_scores, queries, out)


_32, _64 = np.dtype(np.float32), np.dtype(np.float64)
DOTS = {_32: _dot_32, _64: _dot_64}
SUMS = {_32: _sum_32, _64: _sum_64}
GRADIENTS = {_32: _gradient_32, _64: _gradient_64}
