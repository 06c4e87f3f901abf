"""Loops over rows for numba: alpha-entmax for every alpha above 1, and its gradients.

A row stays in the core's cache through all steps, where PyTorch would pass over
the whole tensor several times a step. The steps are those of
:mod:`audioattn_lib.attention.maps.threshold`: the first ones in float32, the last in
float64 whatever the type of the scores. Each function here is compiled when it is
first called. Imported by :mod:`audioattn_lib.attention.maps._numba` alone, and
late: numba takes a third of a second to import.

One function a type, because numba's files on disk are only safe from two processes
that write at once if a function has one signature. They are functions of a module
and not made by a loop: numba would not find those again. No threads of numba: its
pool beside PyTorch's, and after a fork, crashes.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numba import njit

from audioattn_lib.core.compiled_loops import kept_on_disk

from . import _numba_gradients as gradients
from . import _numba_smooth as smooth
from . import _numba_steep as steep
from . import _numba_whole as whole
from ._numba_rows import INNER, OPTIONS

__all__ = ["loops"]

_F32, _F64 = np.float32, np.float64


def _inner(function: Any) -> Any:
    """A function to go into its caller before anything is compiled: one of its own would be compiled twice."""
    return njit(inline="always", **INNER)(function)


_whole_1_32 = _inner(whole.weights_of_power(1, _F32))
_whole_1_64 = _inner(whole.weights_of_power(1, _F64))
_whole_2_32 = _inner(whole.weights_of_power(2, _F32))
_whole_2_64 = _inner(whole.weights_of_power(2, _F64))
_whole_3_32 = _inner(whole.weights_of_power(3, _F32))
_whole_3_64 = _inner(whole.weights_of_power(3, _F64))
_smooth_32, _smooth_64 = _inner(smooth.weights_of(_F32)), _inner(smooth.weights_of(_F64))
_steep_32, _steep_64 = _inner(steep.weights_of(_F32)), _inner(steep.weights_of(_F64))
_by_scores_32, _by_scores_64 = _inner(gradients.by_scores(_F32)), _inner(gradients.by_scores(_F64))
_sparsemax_32 = _inner(gradients.by_scores_of_sparsemax(_F32))
_sparsemax_64 = _inner(gradients.by_scores_of_sparsemax(_F64))
_where_steep_32 = _inner(gradients.by_scores_where_steep(_F32))
_where_steep_64 = _inner(gradients.by_scores_where_steep(_F64))
_by_alpha_32, _by_alpha_64 = _inner(gradients.by_alpha(_F32)), _inner(gradients.by_alpha(_F64))
_kept = kept_on_disk(**OPTIONS)


@_kept
def weights_1_32(x, p, slopes, excess):  # type: ignore[no-untyped-def]
    return _whole_1_32(x, x.view(np.int32), p, slopes)


@_kept
def weights_1_64(x, p, slopes, excess):  # type: ignore[no-untyped-def]
    return _whole_1_64(x, x.view(np.int64), p, slopes)


@_kept
def weights_2_32(x, p, slopes, excess):  # type: ignore[no-untyped-def]
    return _whole_2_32(x, x.view(np.int32), p, slopes)


@_kept
def weights_2_64(x, p, slopes, excess):  # type: ignore[no-untyped-def]
    return _whole_2_64(x, x.view(np.int64), p, slopes)


@_kept
def weights_3_32(x, p, slopes, excess):  # type: ignore[no-untyped-def]
    return _whole_3_32(x, x.view(np.int32), p, slopes)


@_kept
def weights_3_64(x, p, slopes, excess):  # type: ignore[no-untyped-def]
    return _whole_3_64(x, x.view(np.int64), p, slopes)


@_kept
def weights_smooth_32(x, p, slopes, excess):  # type: ignore[no-untyped-def]
    return _smooth_32(x, x.view(np.int32), p, slopes, excess)


@_kept
def weights_smooth_64(x, p, slopes, excess):  # type: ignore[no-untyped-def]
    return _smooth_64(x, x.view(np.int64), p, slopes, excess)


@_kept
def weights_steep_32(x, p, slopes, excess):  # type: ignore[no-untyped-def]
    return _steep_32(x, x.view(np.int32), p, slopes, excess)


@_kept
def weights_steep_64(x, p, slopes, excess):  # type: ignore[no-untyped-def]
    return _steep_64(x, x.view(np.int64), p, slopes, excess)


@_kept
def gradient_32(gradient, p, slopes, excess, out):  # type: ignore[no-untyped-def]
    _by_scores_32(gradient, p, slopes, excess, out)


@_kept
def gradient_64(gradient, p, slopes, excess, out):  # type: ignore[no-untyped-def]
    _by_scores_64(gradient, p, slopes, excess, out)


@_kept
def gradient_1_32(gradient, p, slopes, excess, out):  # type: ignore[no-untyped-def]
    _sparsemax_32(gradient, p, out)


@_kept
def gradient_1_64(gradient, p, slopes, excess, out):  # type: ignore[no-untyped-def]
    _sparsemax_64(gradient, p, out)


@_kept
def gradient_steep_32(gradient, p, slopes, excess, out):  # type: ignore[no-untyped-def]
    _where_steep_32(gradient, p, excess, out)


@_kept
def gradient_steep_64(gradient, p, slopes, excess, out):  # type: ignore[no-untyped-def]
    _where_steep_64(gradient, p, excess, out)


@_kept
def by_alpha_32(gradient, p, excess, out):  # type: ignore[no-untyped-def]
    _by_alpha_32(gradient, p, excess, out)


@_kept
def by_alpha_64(gradient, p, excess, out):  # type: ignore[no-untyped-def]
    _by_alpha_64(gradient, p, excess, out)


_LOOPS: dict[tuple[str, str], tuple[Any, Any]] = {
    ("weights", "1"): (weights_1_32, weights_1_64),
    ("weights", "2"): (weights_2_32, weights_2_64),
    ("weights", "3"): (weights_3_32, weights_3_64),
    ("weights", "smooth"): (weights_smooth_32, weights_smooth_64),
    ("weights", "steep"): (weights_steep_32, weights_steep_64),
    ("gradient", "1"): (gradient_1_32, gradient_1_64),
    ("gradient", "2"): (gradient_32, gradient_64),
    ("gradient", "3"): (gradient_32, gradient_64),
    ("gradient", "smooth"): (gradient_32, gradient_64),
    ("gradient", "steep"): (gradient_steep_32, gradient_steep_64),
    ("by_alpha", "any"): (by_alpha_32, by_alpha_64),
}


@functools.cache
def loops(task: str, kind: str, dtype: torch.dtype) -> Callable[..., Any]:
    """Function for the ``weights``, the ``gradient`` or the derivative ``by_alpha`` of rows of this type."""
    return _LOOPS[task, kind][dtype == torch.float64]
