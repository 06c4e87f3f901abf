r"""Speech as a source and a filter: a glottis that moves, a vocal tract that resonates, noise where air is squeezed.

The source is the glottal flow of Klatt and Klatt (*Analysis, synthesis, and
perception of voice quality variations among female and male talkers*, JASA
1990, section II): in the open part :math:`u \in [0, 1)` of each period the flow is
:math:`\tfrac{27}{4} u^2 (1 - u)`, and what sounds is its derivative. A larger
open quotient, a steeper tilt and more aspiration noise make it breathy. The
filter is a cascade of resonances, each of gain 1 at 0 Hz (Klatt, *Software for
a cascade/parallel formant synthesizer*, JASA 1980), that changes from frame to
frame: windowed pieces of the source are filtered by the resonances of their
moment and added up.

Book page: ``data``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy
from numpy.random import Generator
from numpy.typing import NDArray

from .acoustics import RATE, Sound

__all__ = ["HOP", "N_FORMANTS", "Articulation", "speak"]

HOP = 128
"""Samples from one frame of an articulation to the next: 8 ms."""

N_FORMANTS = 7
"""Resonances up to half the sample rate for a tract of 17 cm."""

_OVERSAMPLING = 4
"""The flow stops abruptly when the glottis closes; that aliases unless it is computed at a higher rate."""
_FFT = 1024
_INAUDIBLE = 1e-3
_HIGHEST = 0.47 * RATE
"""Highest resonance in hertz; a higher one, of a short tract, would alias and is damped."""
_FRICTION_DELAY = 64
"""Samples: the bands of friction noise are symmetric in time, so they begin before they are excited."""

Frames = NDArray[np.float64]


@dataclass(frozen=True)
class Articulation:
    """Control parameters of the vocal tract and the glottis; arrays have one value per frame of ``HOP`` samples.

    Parameters
    ----------
    pitch
        Fundamental frequency in hertz, shape ``(T,)``.
    voicing, aspiration, friction
        Amplitudes from 0 to about 1, shape ``(T,)``.
    friction_low, friction_high
        Edges of the band of friction noise in hertz, shape ``(T,)``.
    formants, bandwidths
        In hertz, shape ``(T, N_FORMANTS)``.
    open_quotient
        Open share of a period, above 0 and below 1.
    tilt
        How much weaker the source is at 3 kHz than that of a firm voice, in dB, above 0.
    jitter, shimmer
        Relative standard deviation of period and amplitude from one period to the next.
    """

    pitch: Frames
    voicing: Frames
    aspiration: Frames
    friction: Frames
    friction_low: Frames
    friction_high: Frames
    formants: Frames
    bandwidths: Frames
    open_quotient: float
    tilt: float
    jitter: float
    shimmer: float


def speak(articulation: Articulation, rng: Generator) -> Sound:
    """The sound of an articulation, ``HOP`` samples for each of its frames.

    Notes
    -----
    Book page: ``data``.
    """
    a = articulation
    n = len(a.pitch) * HOP
    voice, opening = _glottis(a, rng, n)
    noise = rng.standard_normal(n) * (0.35 + 0.65 * opening)  # air rushes while the glottis is open
    corner = 3000.0 / np.sqrt(10.0 ** (a.tilt / 10.0) - 1.0)
    pole = np.exp(-2.0 * np.pi * corner / RATE)
    voice = scipy.signal.lfilter([1.0 - pole], [1.0, -pole], voice)
    spectrum = _spectra(voice * _over_time(a.voicing, n) + noise * _over_time(a.aspiration, n))
    spectrum *= _resonances(a)
    rubs = np.flatnonzero(a.friction > _INAUDIBLE)
    friction = rng.standard_normal(n) * _over_time(a.friction, n)
    spectrum[rubs] += _spectra(friction, rubs) * _bands(a.friction_low[rubs], a.friction_high[rubs])
    return _add_up(scipy.fft.irfft(spectrum, _FFT, axis=1), n)


def _over_time(values: Frames, n: int) -> Sound:
    """Values of frames at every one of ``n`` samples, straight between the centres of the frames."""
    return np.interp(np.arange(n), (np.arange(len(values)) + 0.5) * HOP, values)


def _glottis(a: Articulation, rng: Generator, n: int) -> tuple[Sound, Sound]:
    """Derivative of the glottal flow, of RMS about 1, and the flow from 0 to 1 where the glottis is open."""
    fine = n * _OVERSAMPLING
    step = _over_time(a.pitch, n).repeat(_OVERSAMPLING) / (RATE * _OVERSAMPLING)
    period = np.cumsum(step).astype(np.int64)
    changes = rng.standard_normal((2, int(period[-1]) + 2))
    phase = np.cumsum(step * (1.0 + a.jitter * changes[0][period]))
    period = phase.astype(np.int64)
    u = (phase - period) / a.open_quotient
    is_open = u < 1.0
    strength = 1.0 + a.shimmer * changes[1][np.minimum(period, changes.shape[1] - 1)]
    derivative = np.where(is_open, u * (2.0 - 3.0 * u), 0.0) * strength
    flow = np.where(is_open, 6.75 * u * u * (1.0 - u), 0.0)
    derivative = scipy.signal.resample_poly(derivative, 1, _OVERSAMPLING)
    return 2.2 * derivative, flow.reshape(fine // _OVERSAMPLING, _OVERSAMPLING).mean(axis=1)


def _resonances(a: Articulation) -> NDArray[np.complex64]:
    """Response of the vocal tract at each frame, shape ``(T, bins)``."""
    bandwidths = np.where(a.formants < _HIGHEST, a.bandwidths, RATE)
    radius = np.exp(-np.pi * bandwidths / RATE)
    first = -2.0 * radius * np.cos(2.0 * np.pi * a.formants / RATE)
    second = radius**2
    polynomial = np.ones((len(a.formants), 1))
    for k in range(a.formants.shape[1]):
        longer = np.zeros((len(polynomial), polynomial.shape[1] + 2))
        longer[:, :-2] = polynomial
        longer[:, 1:-1] += first[:, k, None] * polynomial
        longer[:, 2:] += second[:, k, None] * polynomial
        polynomial = longer
    gain = polynomial.sum(axis=1, keepdims=True)
    return (gain / scipy.fft.rfft(polynomial, _FFT, axis=1)).astype(np.complex64)


def _bands(low: Frames, high: Frames) -> NDArray[np.complex64]:
    """Response that passes a band, delayed by ``_FRICTION_DELAY``, shape ``(T, bins)``."""
    frequencies = np.maximum(np.fft.rfftfreq(_FFT, 1 / RATE), 1.0)
    below, above = (low[:, None] / frequencies) ** 2, (frequencies / high[:, None]) ** 2
    delay = np.exp(-2j * np.pi * frequencies * _FRICTION_DELAY / RATE)
    return (delay / ((1.0 + below * below * below) * (1.0 + above * above * above))).astype(np.complex64)


def _spectra(sound: Sound, frames: NDArray[np.int64] | slice = slice(None)) -> NDArray[np.complex64]:
    """Spectra of overlapping windows around the centres of the frames; the windows add up to 1."""
    window = (0.5 - 0.5 * np.cos(np.pi * (np.arange(2 * HOP) + 0.5) / HOP)).astype(np.float32)
    padded = np.pad(sound.astype(np.float32), (HOP // 2, HOP // 2 + HOP))
    pieces = np.lib.stride_tricks.sliding_window_view(padded, 2 * HOP)[::HOP][: len(sound) // HOP][frames]
    return scipy.fft.rfft(pieces * window, _FFT, axis=1)


def _add_up(pieces: NDArray[np.float32], n: int) -> Sound:
    """Pieces of ``_FFT`` samples, each beginning ``HOP`` samples after the one before."""
    blocks = -(-_FFT // HOP)
    count = len(pieces)
    padded = np.zeros((count, blocks * HOP))
    padded[:, :_FFT] = pieces
    total = np.zeros((count + blocks, HOP))
    for k in range(blocks):
        total[k : k + count] += padded[:, k * HOP : (k + 1) * HOP]
    return total.ravel()[HOP // 2 : HOP // 2 + n]
