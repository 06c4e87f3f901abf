"""Synthesis of background noise in a city: traffic, wind, rain and a crowd.

Book page: ``data``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from .acoustics import RATE, Sound, decay, oscillate, resonate, samples, shaped_noise

__all__ = ["BACKGROUNDS", "record_background"]


def _slow(rng: Generator, n: int, rate: float, depth: float) -> Sound:
    """A positive factor that changes ``rate`` times a second by about ``depth`` dB."""
    points = int(n / RATE * rate) + 4
    gains = 10.0 ** (depth * rng.standard_normal(points) / 20.0)
    return np.interp(np.linspace(1, points - 2, n), np.arange(points), gains)


def _traffic(rng: Generator, n: int) -> Sound:
    corner, tyres = rng.uniform(80, 250), rng.uniform(0.05, 0.3)
    rumble = shaped_noise(rng, n, lambda f: 1.0 / (1.0 + (f / corner) ** 1.3))
    road = shaped_noise(rng, n, lambda f: np.exp(-((np.log2(f / 1000.0) / 1.2) ** 2)))
    return rumble * _slow(rng, n, 0.7, 3.0) + tyres * road * _slow(rng, n, 0.5, 6.0)


def _wind(rng: Generator, n: int) -> Sound:
    corner = rng.uniform(150, 400)
    gusts = shaped_noise(rng, n, lambda f: 1.0 / (1.0 + (f / corner) ** 2)) * _slow(rng, n, 1.2, 6.0)
    whistle = shaped_noise(rng, n, lambda f: np.exp(-(((f - 4 * corner) / 120) ** 2)))
    return gusts + rng.uniform(0.02, 0.15) * whistle * _slow(rng, n, 1.2, 8.0)


def _rain(rng: Generator, n: int) -> Sound:
    centre = rng.uniform(2500, 5500)
    patter = shaped_noise(rng, n, lambda f: 1.0 / (1.0 + ((f - centre) / 2500) ** 2))
    drops = np.zeros(n)
    count = int(n / RATE * rng.uniform(15, 60))
    drops[rng.integers(0, n, count)] = rng.exponential(6.0, count)
    splash = resonate(drops, [(rng.uniform(1500, 4000), 900, 4.0)])
    return patter + splash


def _crowd(rng: Generator, n: int) -> Sound:
    """Babble: many distant voices."""
    from scipy import signal  # a second, which a corpus that is made already needs not

    voices = np.zeros(n)
    for _ in range(6):
        pitch = rng.uniform(100, 240) * _slow(rng, n, 4.0, 1.2)
        speech = oscillate(pitch, np.arange(1, 31) ** -1.1) * np.clip(_slow(rng, n, 5.0, 8.0), 0.0, 3.0)
        formants = [(rng.uniform(350, 750), 120, 1.0), (rng.uniform(900, 2100), 200, 0.5), (2700, 300, 0.15)]
        voices += resonate(speech, formants)
    hall = rng.standard_normal(samples(0.3)) * decay(samples(0.3), 0.08)
    far: Sound = signal.fftconvolve(voices, hall)[:n]
    murmur = shaped_noise(rng, n, lambda f: 1.0 / (1.0 + (f / 600) ** 1.5))
    return far / far.std() + 0.4 * murmur


def _swell(rng: Generator, sound: Sound) -> Sound:
    """Modulate low, middle and high frequencies independently, since outdoor noise is not stationary."""
    spectrum = np.fft.rfft(sound)
    octaves = np.log2(np.maximum(np.fft.rfftfreq(len(sound), 1 / RATE), 20.0))
    low, high = np.log2(500.0), np.log2(2000.0)
    shares = np.clip(np.stack([low + 0.5 - octaves, octaves - high + 0.5]), 0.0, 1.0)
    bands = (shares[0], 1.0 - shares.sum(axis=0), shares[1])
    moving = np.zeros_like(sound)
    for band in bands:
        gain = _slow(rng, len(sound), rng.uniform(1.0, 2.5), rng.uniform(2.0, 5.0))
        moving += np.fft.irfft(spectrum * band, len(sound)) * gain
    return moving


BACKGROUNDS: Mapping[str, Callable[[Generator, int], Sound]] = MappingProxyType(
    {"traffic": _traffic, "wind": _wind, "rain": _rain, "crowd": _crowd}
)
"""Kinds of background by name."""


def record_background(kind: str, rng: Generator, seconds: float) -> Sound:
    """Make one recording of a background, RMS 1, with the response of a random microphone."""
    n = samples(seconds)
    sound = _swell(rng, BACKGROUNDS[kind](rng, n))
    tilt, bump, centre = rng.uniform(-0.25, 0.25), rng.uniform(-4.0, 4.0), rng.uniform(300, 4000)

    def microphone(f: NDArray[np.float64]) -> NDArray[np.float64]:
        return (f / 1000.0) ** tilt * 10.0 ** (bump / 20.0 * np.exp(-(np.log2(f / centre) ** 2)))

    frequencies = np.maximum(np.fft.rfftfreq(n, 1 / RATE), 20.0)
    sound = np.fft.irfft(np.fft.rfft(sound) * microphone(frequencies), n)
    return sound / np.sqrt(np.mean(sound**2))
