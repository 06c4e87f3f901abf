"""Compiled loops for heads on the CPU, where numba is there and they apply; PyTorch serves where not."""

from __future__ import annotations

import functools
from collections.abc import Callable
from itertools import pairwise
from threading import Thread
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from ._values import are_at_hand

__all__ = ["head_gradient", "head_loops_apply", "head_scores", "head_sums"]

_LARGE = 1 << 20
"""Numbers from which on the clips are shared out among threads."""


def head_scores(slices: Tensor, vectors: Tensor) -> Tensor | None:
    """Products ``(B, H, T)`` of slices ``(B, T, H, d)`` with vectors ``(B, H, d)``; None without loops for them."""
    if not head_loops_apply(slices, vectors):
        return None
    batch, frames, heads, _ = slices.shape
    return _run("DOTS", slices.new_empty(batch, heads, frames), slices, vectors)


def head_sums(slices: Tensor, weights: Tensor) -> Tensor | None:
    """Sums ``(B, H, d)`` of slices by weights ``(B, H, T)``; None where the loops do not apply."""
    if not head_loops_apply(slices, weights):
        return None
    batch, _, heads, width = slices.shape
    return _run("SUMS", slices.new_empty(batch, heads, width), slices, weights)


def head_gradient(weights: Tensor, by_context: Tensor, by_scores: Tensor, queries: Tensor) -> Tensor | None:
    """Gradient ``(B, T, H, d)`` of the slices, from the read and the scores; None where the loops do not apply."""
    if not head_loops_apply(weights, by_context, by_scores, queries):
        return None
    batch, heads, frames = weights.shape
    return _run(
        "GRADIENTS", weights.new_empty(batch, frames, heads, queries.shape[-1]), weights, by_context, by_scores, queries
    )


def head_loops_apply(*tensors: Tensor) -> bool:
    """Whether the loops serve these tensors: real ones on the CPU, of one of two types, whose gradient none wants."""
    if torch.is_grad_enabled() or tensors[0].dtype not in (torch.float32, torch.float64):
        return False
    return all(are_at_hand(t) and t.dtype == tensors[0].dtype for t in tensors) and _kernels() is not None


def _run(name: str, out: Tensor, *inputs: Tensor) -> Tensor:
    arrays = [tensor.detach().contiguous().numpy() for tensor in inputs]
    kernel: Callable[..., Any] = getattr(_kernels(), name)[arrays[0].dtype]
    largest = max(out.numel(), *(tensor.numel() for tensor in inputs))
    threads = min(torch.get_num_threads(), len(out)) if largest > _LARGE else 1
    if threads <= 1:
        kernel(*arrays, out.numpy())
        return out
    # the loops let go of the interpreter, so plain threads do; they end here, and nothing outlives a fork
    bounds = [len(out) * i // threads for i in range(threads + 1)]
    shares = [tuple(array[a:b] for array in (*arrays, out.numpy())) for a, b in pairwise(bounds)]
    others = [Thread(target=kernel, args=share) for share in shares[1:]]
    for thread in others:
        thread.start()
    kernel(*shares[0])
    for thread in others:
        thread.join()
    return out


@functools.cache
def _kernels() -> ModuleType | None:
    try:
        from numba.core import config

        if getattr(config, "DISABLE_JIT", False):
            return None
        from . import _head_kernels as kernels

        one = torch.zeros(1, 1, 1, 1).numpy()
        kernels.DOTS[one.dtype](one, one[0], one[0].copy())
    # whatever keeps a compiler of somebody else's from working, the products are to be had without it
    except Exception:
        return None
    return kernels
