"""Hearing a part of a sound: a gain over time with smooth edges and honest loudness.

What is heard after a gain is what was there, multiplied. Nothing is
normalised: a quiet event stays quiet, and "only what is attended to" plus
"the rest" is the whole sound again, sample by sample.

Book page: ``urban_sound``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.signal import oaconvolve

__all__ = ["FADE", "emphasise", "gain_curve"]

FADE = 0.02
"""Seconds over which a gain changes: shorter ones click, longer ones blur onsets."""

Samples = NDArray[np.float32]


def emphasise(
    samples: ArrayLike,
    sample_rate: int,
    edges: ArrayLike,
    weights: ArrayLike,
    *,
    floor: float = 0.0,
    fade: float = FADE,
) -> tuple[Samples, Samples]:
    r"""Split a sound into what attention weighs and the rest.

    .. math:: g(t) = \mathrm{floor} + (1 - \mathrm{floor})\,\frac{w(t)}{\max w},
       \qquad \text{attended} = g\,x, \qquad \text{rest} = (1 - g)\,x

    with :math:`w` constant in each frame and smoothed over ``fade`` seconds.

    Parameters
    ----------
    samples
        Sound, shape ``(n,)``.
    sample_rate
        Hertz, above 0.
    edges
        Borders of the frames in seconds, increasing, shape ``(frames + 1,)``.
    weights
        What each frame is worth, at least 0 and not all 0, shape ``(frames,)``. Only their ratios count:
        the frame that is attended to most is heard as it is.
    floor
        Gain of what has no weight, in [0, 1]: above 0, the rest stays faintly audible.
    fade
        Seconds of smoothing, at least 0.

    Returns
    -------
    attended, rest : ndarray
        float32, shape ``(n,)`` each; their sum is the sound. Neither is made louder.

    Raises
    ------
    ValueError
        When shapes or ranges do not fit.

    Notes
    -----
    Book page: ``urban_sound``.
    """
    if not 0 <= floor <= 1:
        raise ValueError(f"floor is {floor}; it must be in [0, 1]")
    sound = np.asarray(samples, dtype=np.float64)
    worth = np.asarray(weights, dtype=np.float64)
    if worth.size and (worth.min() < 0 or not np.isfinite(worth).all() or worth.max() <= 0):
        raise ValueError("weights must be finite, at least 0 and not all 0")
    curve = gain_curve(len(sound), sample_rate, edges, worth / worth.max(), fade=fade)
    attended = sound * (floor + (1.0 - floor) * curve)
    return attended.astype(np.float32), (sound - attended).astype(np.float32)


def gain_curve(
    n_samples: int, sample_rate: int, edges: ArrayLike, gains: ArrayLike, *, fade: float = FADE
) -> NDArray[np.float64]:
    r"""Gain of every sample from a gain of every frame, without clicks.

    The steps between frames are replaced by raised-cosine ramps of ``fade``
    seconds centred on them (a convolution with a window of that length and
    sum 1), so the curve stays between the smallest and the largest gain.
    Before the first frame and after the last one their gains go on.

    Parameters
    ----------
    n_samples
        Samples of the sound, at least 1.
    sample_rate
        Hertz, above 0.
    edges
        Borders of the frames in seconds, increasing, shape ``(frames + 1,)``.
    gains
        Factor of each frame, shape ``(frames,)``.
    fade
        Seconds, at least 0.

    Returns
    -------
    ndarray
        Shape ``(n_samples,)``.

    Raises
    ------
    ValueError
        When shapes or ranges do not fit.

    Notes
    -----
    Book page: ``urban_sound``.
    """
    borders, factors = np.asarray(edges, dtype=np.float64), np.asarray(gains, dtype=np.float64)
    if factors.ndim != 1 or not len(factors) or borders.shape != (len(factors) + 1,) or (np.diff(borders) <= 0).any():
        raise ValueError(
            f"edges have shape {borders.shape} and gains {factors.shape}; needed are (frames + 1,) increasing seconds "
            "and (frames,) factors"
        )
    if n_samples < 1 or sample_rate <= 0 or fade < 0:
        raise ValueError(
            f"n_samples is {n_samples}, sample_rate {sample_rate} and fade {fade}; needed are at least 1, above 0, "
            "at least 0"
        )
    window = np.hanning(2 * round(fade * sample_rate / 2) + 3)[1:-1]
    half = len(window) // 2
    times = (np.arange(-half, n_samples + half) + 0.5) / sample_rate
    frame = np.clip(np.searchsorted(borders, times, side="right") - 1, 0, len(factors) - 1)
    smoothed: NDArray[np.float64] = oaconvolve(factors[frame], window / window.sum(), mode="valid")
    return np.clip(smoothed, factors.min(), factors.max())
