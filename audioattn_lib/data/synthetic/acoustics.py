"""Building blocks of synthetic sound: oscillators, shaped noise, resonances, rooms, loudness.

Book page: ``data``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
import scipy
from numpy.random import Generator
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "RATE",
    "Sound",
    "a_weighted_level",
    "decay",
    "fade",
    "glide",
    "oscillate",
    "place",
    "resonate",
    "reverberate",
    "samples",
    "shaped_noise",
]

RATE = 16_000
"""Sample rate of everything synthetic, in hertz."""

Sound = NDArray[np.float64]

_TABLE = 2048
_HIGHEST = 0.47 * RATE


def samples(seconds: float) -> int:
    """Whole samples of a time in seconds, at least 1."""
    return max(1, round(seconds * RATE))


def fade(sound: Sound, attack: float = 0.005, release: float = 0.02) -> Sound:
    """Raised-cosine fades of ``attack`` and ``release`` seconds at the ends, at most half of the sound each."""
    shaped = sound.copy()
    rise, fall = (min(samples(seconds), len(sound) // 2) for seconds in (attack, release))
    if rise:
        shaped[:rise] *= 0.5 - 0.5 * np.cos(np.pi * (np.arange(rise) + 0.5) / rise)
    if fall:
        shaped[-fall:] *= 0.5 + 0.5 * np.cos(np.pi * (np.arange(fall) + 0.5) / fall)
    return shaped


def decay(n: int, time_constant: float) -> Sound:
    """Exponential decay of ``n`` samples with a time constant in seconds."""
    return np.exp(-np.arange(n) / (time_constant * RATE))


def glide(n: int, points: Sequence[tuple[float, float]]) -> Sound:
    """Frequency in hertz through ``(share of the time, hertz)`` points, straight in octaves."""
    times, values = np.array(points).T
    return np.exp(np.interp(np.linspace(0.0, 1.0, n), times, np.log(values)))


def oscillate(frequency: ArrayLike, amplitudes: ArrayLike, n: int | None = None, phase: float = 0.0) -> Sound:
    """Harmonics of a changing frequency (hertz), without those above half the sample rate.

    The harmonics are summed once into a table of one period, which is then
    read at the pace of the frequency.
    """
    frequency = np.broadcast_to(np.asarray(frequency, dtype=np.float64), (n,) if n else np.shape(frequency))
    gains = np.atleast_1d(np.asarray(amplitudes, dtype=np.float64))[: max(1, int(_HIGHEST / frequency.max()))]
    spectrum = np.zeros(_TABLE // 2 + 1, dtype=np.complex128)
    # Quadratic phases spread the energy of a period, as bodies and horns do: no clicks.
    order = np.arange(1, len(gains) + 1)
    spectrum[1 : len(gains) + 1] = gains * np.exp(1j * np.pi * order**2 / len(gains)) * _TABLE / 2
    table = np.fft.irfft(spectrum, _TABLE)
    position = (phase + np.cumsum(frequency) / RATE) % 1.0 * _TABLE
    low = position.astype(np.int64) % _TABLE
    share = position - np.floor(position)
    return table[low] * (1.0 - share) + table[(low + 1) % _TABLE] * share


def shaped_noise(rng: Generator, n: int, gain: Callable[[NDArray[np.float64]], NDArray[np.float64]]) -> Sound:
    """Gaussian noise of RMS 1 whose spectrum has the amplitude ``gain(hertz)``."""
    length = scipy.fft.next_fast_len(n, real=True)
    frequencies = np.fft.rfftfreq(length, 1 / RATE)
    curve = gain(np.maximum(frequencies, 1.0)) * (frequencies > 20.0)
    noise = scipy.fft.irfft(curve * scipy.fft.rfft(rng.standard_normal(length)), length)[:n]
    return noise / max(float(np.sqrt(np.mean(noise**2))), 1e-12)


def resonate(sound: Sound, resonances: Sequence[tuple[float, float, float]]) -> Sound:
    """Sum of two-pole resonances ``(hertz, bandwidth in hertz, gain at the peak)`` in parallel."""
    result = np.zeros_like(sound)
    for frequency, bandwidth, gain in resonances:
        if frequency >= _HIGHEST:
            continue
        radius = np.exp(-np.pi * bandwidth / RATE)
        angle = 2.0 * np.pi * frequency / RATE
        poles = [1.0, -2.0 * radius * np.cos(angle), radius**2]
        peak = abs(1.0 / np.polyval(poles[::-1], np.exp(-1j * angle)))
        result += scipy.signal.lfilter([gain / peak], poles, sound)
    return result


def reverberate(sound: Sound, rng: Generator, seconds: float, wet: float) -> Sound:
    """A room: a tail of noise that falls by 60 dB in ``seconds``, ``wet`` times as strong as the direct sound.

    The result is longer than the sound by the tail.
    """
    n = samples(seconds)
    tail = rng.standard_normal(n) * decay(n, seconds / 6.91)
    tail = scipy.signal.lfilter([0.6], [1.0, -0.4], tail)  # walls swallow high frequencies
    tail *= wet / np.sqrt(np.sum(tail**2))
    length = len(sound) + n - 1
    size = scipy.fft.next_fast_len(length, real=True)
    result = scipy.fft.irfft(scipy.fft.rfft(sound, size) * scipy.fft.rfft(tail, size), size)[:length]
    result[: len(sound)] += sound
    return result


def place(parts: Sequence[tuple[float, Sound]]) -> Sound:
    """Sum of sounds that begin at given seconds."""
    length = max(samples(start) + len(sound) for start, sound in parts)
    result = np.zeros(length)
    for start, sound in parts:
        first = samples(start) if start > 0 else 0
        result[first : first + len(sound)] += sound
    return result


@lru_cache(maxsize=32)
def _a_weighting(length: int) -> NDArray[np.float64]:
    """Squared A-weighting of the bins of a real Fourier transform (IEC 61672-1)."""
    f2 = np.fft.rfftfreq(length, 1 / RATE) ** 2
    weight = 12194.0**2 * f2**2 / ((f2 + 20.6**2) * np.sqrt((f2 + 107.7**2) * (f2 + 737.9**2)) * (f2 + 12194.0**2))
    return (weight * 10 ** (2.0 / 20.0)) ** 2


def a_weighted_level(sound: Sound) -> float:
    """RMS level with A-weighting, which follows the ear's sensitivity, in dB relative to a full-scale RMS of 1."""
    length = scipy.fft.next_fast_len(max(len(sound), 2048), real=True)
    power = np.abs(scipy.fft.rfft(sound, length)) ** 2 * _a_weighting(length)
    return float(10.0 * np.log10(max(2.0 * power.sum() / length / len(sound), 1e-20)))
