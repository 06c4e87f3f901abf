"""Instruments of a synthetic orchestra and the devices that record them.

A family is a way of making sound; an instrument is one draw of its build, and
a note one pitch and loudness on it. A device is a frequency response, a band
and a noise floor: it changes everything it records in the same way, which is
what a network must not mistake for an instrument.

Book page: ``data``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import scipy
from numpy.random import Generator
from numpy.typing import NDArray

from .acoustics import RATE, Sound, fade, oscillate, resonate, samples, shaped_noise

__all__ = ["FAMILIES", "Device", "Family", "Instrument"]

Instrument = Callable[[Generator, float, float], Sound]
"""From random numbers, pitch in hertz and seconds to one note, at any level."""

_KNOTS = np.array([60.0, 150.0, 350.0, 800.0, 1700.0, 3200.0, 5000.0, 7600.0])


@dataclass(frozen=True)
class Family:
    """Family of instruments: its name, and a function that draws an instrument."""

    title: str
    draw: Callable[[Generator], Instrument]


def _partials(n: int, slope: float) -> Sound:
    return np.arange(1, n + 1, dtype=np.float64) ** -slope


def _vibrato(rng: Generator, n: int, depth: float, rate: float) -> Sound:
    time = np.arange(n) / RATE
    onset = np.clip(time / 0.25, 0.0, 1.0)
    return 1.0 + depth * onset * np.sin(2 * np.pi * (rate * time + rng.uniform()))


def bowed(build: Generator) -> Instrument:
    """Strings under a bow: all harmonics, a slow attack, vibrato, the resonances of a body."""
    body = [(float(f), float(f) * 0.12, float(build.uniform(0.6, 2.0))) for f in build.uniform(250, 3500, 5)]
    slope, depth, rate = build.uniform(0.8, 1.2), build.uniform(0.004, 0.009), build.uniform(4.8, 6.2)
    attack = build.uniform(0.05, 0.1)

    def note(rng: Generator, pitch: float, seconds: float) -> Sound:
        n = samples(seconds)
        string = oscillate(pitch * _vibrato(rng, n, depth, rate), _partials(40, slope))
        string = string + 0.03 * shaped_noise(rng, n, lambda f: f / (f + 2000.0))
        return fade(0.4 * string + resonate(string, body), attack * rng.uniform(0.7, 1.3), 0.06)

    return note


def brass(build: Generator) -> Instrument:
    """Lips and a bell: harmonics that come one after the other, the brighter the louder."""
    corner, steep = build.uniform(900, 1800), build.uniform(1.5, 2.5)
    attack = build.uniform(0.03, 0.07)

    def note(rng: Generator, pitch: float, seconds: float) -> Sound:
        n = samples(seconds)
        loudness = np.minimum(np.arange(n) / samples(attack * rng.uniform(0.8, 1.5)), 1.0) * rng.uniform(0.6, 1.0)
        order = np.arange(1, 31)
        sound = np.zeros(n)
        for share, level in ((0.35, 0.3), (0.7, 0.4), (1.0, 0.5)):  # soft, middling and loud spectrum, faded in turn
            gains = 1.0 / (1.0 + (order * pitch / (corner * share)) ** (2 * steep))
            sound += level * np.clip((loudness - share + 0.35) / 0.35, 0.0, 1.0) * oscillate(pitch, gains, n)
        return fade(sound * loudness, 0.01, 0.05)

    return note


def reed(build: Generator) -> Instrument:
    """A reed and a bore: odd harmonics stand out, and a formant stays where it is."""
    even, slope = build.uniform(0.05, 0.35), build.uniform(0.5, 0.9)
    formant = float(build.uniform(900, 1600))

    def note(rng: Generator, pitch: float, seconds: float) -> Sound:
        n = samples(seconds)
        gains = _partials(30, slope)
        gains[1::2] *= even
        tone = oscillate(pitch * _vibrato(rng, n, 0.002, 5.0), gains)
        tone = tone + 0.8 * resonate(tone, [(formant, 300.0, 1.0)])
        return fade(tone, 0.03 * rng.uniform(0.8, 1.5), 0.04)

    return note


def flute(build: Generator) -> Instrument:
    """Air over an edge: few harmonics, breath, a tremble of loudness."""
    slope, breath = build.uniform(2.0, 2.8), build.uniform(0.05, 0.14)
    rate = build.uniform(4.5, 5.8)

    def note(rng: Generator, pitch: float, seconds: float) -> Sound:
        n = samples(seconds)
        tremble = _vibrato(rng, n, 0.25, rate)
        tone = oscillate(pitch * (1 + 0.004 * (tremble - 1)), _partials(10, slope))
        air = shaped_noise(rng, n, lambda f: 1.0 / (1.0 + ((f - 2 * pitch) / (1.5 * pitch)) ** 2))
        return fade(tone * tremble + breath * air, 0.06 * rng.uniform(0.8, 1.4), 0.05)

    return note


def plucked(build: Generator) -> Instrument:
    """Strings let go: high harmonics die first; where the string is plucked, some are missing."""
    pluck_position, ring = build.uniform(0.08, 0.3), build.uniform(0.25, 0.6)
    slope = build.uniform(0.7, 1.1)

    def note(rng: Generator, pitch: float, seconds: float) -> Sound:
        n = samples(seconds)
        order = np.arange(1, max(2, int(0.45 * RATE / pitch)))[:24]
        gains = order**-slope * np.abs(np.sin(np.pi * order * pluck_position))
        time = np.arange(n)[:, None] / RATE
        falls = np.exp(-time * (1.0 + 0.25 * order) / ring)
        phase = 2 * np.pi * (pitch * order * time + rng.uniform(size=len(order)))
        return fade((gains * falls * np.sin(phase)).sum(axis=1), 0.002, 0.02)

    return note


def mallet(build: Generator) -> Instrument:
    """Bars under a hammer: partials that are no harmonics, and a knock."""
    second, third = build.uniform(3.6, 4.2), build.uniform(8.5, 10.5)
    ring, knock = build.uniform(0.15, 0.45), build.uniform(0.2, 0.5)

    def note(rng: Generator, pitch: float, seconds: float) -> Sound:
        n = samples(seconds)
        ratios, gains = np.array([1.0, second, third]), np.array([1.0, 0.35, 0.12])
        audible = ratios * pitch < 0.45 * RATE
        time = np.arange(n)[:, None] / RATE
        falls = np.exp(-time * ratios[audible] ** 0.7 / ring)
        phase = 2 * np.pi * (pitch * ratios[audible] * time + rng.uniform(size=int(audible.sum())))
        tone = (gains[audible] * falls * np.sin(phase)).sum(axis=1)
        hit = shaped_noise(rng, n, lambda f: 1.0 / (1.0 + (f / 2500.0) ** 2)) * np.exp(-np.arange(n) / (0.006 * RATE))
        return fade(tone + knock * hit, 0.001, 0.02)

    return note


FAMILIES: Mapping[str, Family] = MappingProxyType(
    {
        "bowed_string": Family("Bowed string", bowed),
        "brass": Family("Brass", brass),
        "flute": Family("Flute", flute),
        "mallet": Family("Mallet", mallet),
        "plucked_string": Family("Plucked string", plucked),
        "reed": Family("Reed", reed),
    }
)
"""Every family, by the name that labels use."""


@dataclass(frozen=True)
class Device:
    """Model of a recording device: frequency response, band limits and noise floor.

    Parameters
    ----------
    response
        Gain in dB at eight frequencies from 60 Hz to 7.6 kHz, straight in
        octaves between.
    low, high
        Band in hertz, outside of which a sound falls by 12 dB an octave.
    noise
        Level of the noise floor, in dB full scale.
    """

    response: tuple[float, ...]
    low: float
    high: float
    noise: float

    @classmethod
    def flat(cls) -> Device:
        """A good recorder."""
        return cls((0.0,) * len(_KNOTS), 30.0, 7900.0, -75.0)

    @classmethod
    def draw(cls, rng: Generator, strength: float) -> Device:
        """A cheap device; ``strength`` is the deviation of its response in dB."""
        drawn = rng.normal(0.0, strength, len(_KNOTS))
        response = tuple(float(gain) for gain in drawn - drawn.mean())
        return cls(response, float(rng.uniform(60, 250)), float(rng.uniform(3500, 7500)), float(rng.uniform(-62, -50)))

    def gain(self, frequencies: NDArray[Any]) -> NDArray[np.float64]:
        """Amplitude at frequencies in hertz."""
        shape = 10.0 ** (np.interp(np.log(np.maximum(frequencies, 1.0)), np.log(_KNOTS), self.response) / 20.0)
        lowest = 1.0 / np.sqrt(1.0 + (self.low / np.maximum(frequencies, 1.0)) ** 4)
        return shape * lowest / np.sqrt(1.0 + (frequencies / self.high) ** 4)

    def record(self, sound: Sound, rng: Generator) -> Sound:
        """Apply the device to a sound."""
        size = scipy.fft.next_fast_len(len(sound), real=True)
        curve = self.gain(np.fft.rfftfreq(size, 1 / RATE))
        filtered = scipy.fft.irfft(scipy.fft.rfft(sound, size) * curve, size)[: len(sound)]
        return filtered + 10.0 ** (self.noise / 20.0) * shaped_noise(rng, len(sound), self.gain)

    def impulse_response(self, taps: int, sample_rate: int = RATE) -> Sound:
        """Its response to a click of height 1, without its noise: ``taps`` samples, of minimum phase, as circuits have.

        From the logarithm of the gain by folding its cepstrum.
        """
        size = 8 * scipy.fft.next_fast_len(taps, real=True)
        level = np.log(np.maximum(self.gain(np.fft.rfftfreq(size, 1 / sample_rate)), 1e-6))
        cepstrum = scipy.fft.irfft(level, size)
        cepstrum[1 : (size + 1) // 2] *= 2.0
        cepstrum[size // 2 + 1 :] = 0.0
        return scipy.fft.irfft(np.exp(scipy.fft.rfft(cepstrum, size)), size)[:taps]
