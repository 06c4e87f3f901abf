"""Loops over rows for numba: alpha-entmax for every alpha above 1, and its gradients.

A row stays in the core's cache through all steps, where PyTorch would pass over
the whole tensor several times a step. The steps are those of
:mod:`audioattn_lib.attention.maps.threshold`: the first ones in float32, the last in
float64 whatever the type of the scores. Each function here is compiled when it is
first called. Imported by :mod:`audioattn_lib.attention.maps.kernels._numba` alone, and
late: numba takes a third of a second to import.

One function a type, because numba's files on disk are only safe from two processes
that write at once if a function has one signature. They are functions of a module
and not made by a loop: numba would not find those again. No threads of numba: its
pool beside PyTorch's, and after a fork, crashes.
"""

from __future__ import annotations

import functools

import numpy as np
import torch

from audioattn_lib.core.compiled_loops import CompiledFunction

from . import _numba_gradients as gradients
from . import _numba_smooth as smooth
from . import _numba_steep as steep
from . import _numba_whole as whole
from ._numba_jobs import compiled_job, gradient_job, weights_job

__all__ = ["loops"]

_F32, _F64 = np.float32, np.float64

_weights_1_32 = weights_job(whole.weights_of_power(1, _F32), _F32)
_weights_1_64 = weights_job(whole.weights_of_power(1, _F64), _F64)
_weights_2_32 = weights_job(whole.weights_of_power(2, _F32), _F32)
_weights_2_64 = weights_job(whole.weights_of_power(2, _F64), _F64)
_weights_3_32 = weights_job(whole.weights_of_power(3, _F32), _F32)
_weights_3_64 = weights_job(whole.weights_of_power(3, _F64), _F64)
_weights_smooth_32 = weights_job(smooth.weights_of(_F32), _F32)
_weights_smooth_64 = weights_job(smooth.weights_of(_F64), _F64)
_weights_steep_32 = weights_job(steep.weights_of(_F32), _F32)
_weights_steep_64 = weights_job(steep.weights_of(_F64), _F64)
_gradient_32 = gradient_job(gradients.by_scores(_F32), _F32)
_gradient_64 = gradient_job(gradients.by_scores(_F64), _F64)
_gradient_1_32 = gradient_job(gradients.by_scores_of_sparsemax(_F32), _F32)
_gradient_1_64 = gradient_job(gradients.by_scores_of_sparsemax(_F64), _F64)
_gradient_steep_32 = gradient_job(gradients.by_scores_where_steep(_F32), _F32)
_gradient_steep_64 = gradient_job(gradients.by_scores_where_steep(_F64), _F64)
_gradient_learned_32 = gradient_job(gradients.of_learned_alpha(_F32), _F32, of_alpha=True)
_gradient_learned_64 = gradient_job(gradients.of_learned_alpha(_F64), _F64, of_alpha=True)


@compiled_job
def weights_1_32(job):  # type: ignore[no-untyped-def]
    _weights_1_32(job)


@compiled_job
def weights_1_64(job):  # type: ignore[no-untyped-def]
    _weights_1_64(job)


@compiled_job
def weights_2_32(job):  # type: ignore[no-untyped-def]
    _weights_2_32(job)


@compiled_job
def weights_2_64(job):  # type: ignore[no-untyped-def]
    _weights_2_64(job)


@compiled_job
def weights_3_32(job):  # type: ignore[no-untyped-def]
    _weights_3_32(job)


@compiled_job
def weights_3_64(job):  # type: ignore[no-untyped-def]
    _weights_3_64(job)


@compiled_job
def weights_smooth_32(job):  # type: ignore[no-untyped-def]
    _weights_smooth_32(job)


@compiled_job
def weights_smooth_64(job):  # type: ignore[no-untyped-def]
    _weights_smooth_64(job)


@compiled_job
def weights_steep_32(job):  # type: ignore[no-untyped-def]
    _weights_steep_32(job)


@compiled_job
def weights_steep_64(job):  # type: ignore[no-untyped-def]
    _weights_steep_64(job)


@compiled_job
def gradient_32(job):  # type: ignore[no-untyped-def]
    _gradient_32(job)


@compiled_job
def gradient_64(job):  # type: ignore[no-untyped-def]
    _gradient_64(job)


@compiled_job
def gradient_1_32(job):  # type: ignore[no-untyped-def]
    _gradient_1_32(job)


@compiled_job
def gradient_1_64(job):  # type: ignore[no-untyped-def]
    _gradient_1_64(job)


@compiled_job
def gradient_steep_32(job):  # type: ignore[no-untyped-def]
    _gradient_steep_32(job)


@compiled_job
def gradient_steep_64(job):  # type: ignore[no-untyped-def]
    _gradient_steep_64(job)


@compiled_job
def gradient_learned_32(job):  # type: ignore[no-untyped-def]
    _gradient_learned_32(job)


@compiled_job
def gradient_learned_64(job):  # type: ignore[no-untyped-def]
    _gradient_learned_64(job)


_LOOPS: dict[tuple[str, str], tuple[CompiledFunction, CompiledFunction]] = {
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
    ("gradient", "learned"): (gradient_learned_32, gradient_learned_64),
}


@functools.cache
def loops(task: str, kind: str, dtype: torch.dtype) -> CompiledFunction:
    """C function for the ``weights`` or the ``gradient`` of rows of this type."""
    return _LOOPS[task, kind][dtype == torch.float64]
