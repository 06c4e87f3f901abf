"""Samples from elsewhere as sound of one channel: arrays and tensors of any type of number and any order of channels.

Book page: ``your_sounds``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.errors import AudioError

__all__ = ["to_mono"]


def to_mono(samples: Any, sample_rate: Any) -> tuple[NDArray[np.float32], int]:
    r"""Mean of all channels, :math:`x_n = \frac1C \sum_c x_{c,n}`, and the checked rate.

    Parameters
    ----------
    samples
        Array or tensor of shape ``(n,)``, ``(channels, n)`` or ``(n, channels)``, floats in [-1, 1] or integers over
        the range of their type.
    sample_rate
        Samples a second, a whole number from 1.

    Returns
    -------
    samples : ndarray
        float32, shape ``(n,)``.
    sample_rate : int
        Hertz.

    Raises
    ------
    AudioError
        When the rate is no whole number from 1, the shape does not fit, or samples are no numbers or not finite.

    Notes
    -----
    Book page: ``your_sounds``.
    """
    if isinstance(sample_rate, bool) or not isinstance(sample_rate, (int, np.integer)) or sample_rate < 1:
        raise AudioError(f"sample_rate is {sample_rate!r}; give the samples a second as a whole number of at least 1")
    if hasattr(samples, "detach"):  # a tensor; half precision has no type in numpy
        samples = samples.detach().to("cpu")
        samples = (samples.float() if samples.is_floating_point() else samples).numpy()
    array = np.asarray(samples)
    if array.dtype.kind not in "fiu":
        raise AudioError(f"samples are of type {array.dtype}; they must be numbers")
    if array.ndim not in (1, 2) or max(array.shape) < 2 or 0 in array.shape:
        raise AudioError(
            f"samples have shape {array.shape}; it must be (n,), (channels, n) or (n, channels), n above 1"
        )
    values = array
    if array.dtype.kind in "iu":
        limits = np.iinfo(array.dtype)
        middle = 0.0 if array.dtype.kind == "i" else (limits.max + 1) / 2
        values = (array.astype(np.float64) - middle) / (limits.max + 1 - middle)
    if values.ndim == 2:
        values = values.mean(axis=int(values.shape[0] > values.shape[1]))
    if not np.isfinite(values).all():
        raise AudioError("samples hold NaN or infinite values; check the file they were read from")
    return values.astype(np.float32), int(sample_rate)
