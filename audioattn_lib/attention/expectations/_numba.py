"""Compiled loops for expectations on the CPU, where numba is there and they apply; PyTorch serves where not."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from audioattn_lib.core.tensors import are_at_hand

from ..densities._family import constant

__all__ = ["expectations_with_derivatives"]

# Nodes are taken so many at once; those that are missing get the weight 0
_LANES = 8


def expectations_with_derivatives(
    location: Tensor,
    variance: Tensor,
    centres: Tensor,
    widths: Tensor,
    rule: tuple[Tensor, Tensor],
    k: float,
    cutoff: float,
) -> Tensor | None:
    """Expectations and their derivatives by location and by variance, ``(3, *batch, basis)`` in float64.

    ``rule`` holds nodes and weights. None where the loops do not apply.
    """
    if not (are_at_hand(location) and are_at_hand(variance)):
        return None
    fill = _loops()
    if fill is None:
        return None
    out = torch.empty(3, location.numel(), len(centres), dtype=torch.float64)
    fill(
        *(x.detach().double().reshape(-1).contiguous().numpy() for x in (location, variance)),
        *(x.numpy() for x in (centres, widths)),
        *_padded(*rule),
        k,
        cutoff,
        constant(k),
        location.dtype == torch.float64 or variance.dtype == torch.float64,
        out.numpy(),
    )
    return out.view(3, *location.shape, len(centres))


_rules_kept: dict[int, tuple[np.ndarray, np.ndarray, Tensor]] = {}


def _padded(nodes: Tensor, weights: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """The rule with nodes of weight 0 up to a multiple of the lanes."""
    rule = _rules_kept.get(id(nodes))
    if rule is None or rule[2] is not nodes:
        y, q = (np.pad(x.numpy(), (0, -len(x) % _LANES)) for x in (nodes, weights))
        rule = _rules_kept[id(nodes)] = y, q, nodes
    return rule[0], rule[1]


@functools.cache
def _loops() -> Callable[..., Any] | None:
    try:
        from numba.core import config

        if getattr(config, "DISABLE_JIT", False):
            return None
        from ._numba_loops import fill

        sample = np.ones(1)
        fill(sample, sample, sample, sample, sample, sample, 1.0, 1.0, 1.0, True, np.empty((3, 1, 1)))
    # whatever keeps a compiler of somebody else's from working, the expectations are to be had without it
    except Exception:
        return None
    return fill
