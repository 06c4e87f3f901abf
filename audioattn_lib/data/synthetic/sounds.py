"""Sounds of a city from simple physical models.

Every sound is made in two steps. A *source* fixes what belongs to one thing:
this dog, that horn. A *take* is one occurrence of it: how often it barks now,
for how long, how high. Clips of one source are related like clips cut from
one recording, so sources must not cross folds.

Book page: ``data``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.random import Generator

from .acoustics import RATE, Sound, decay, fade, glide, oscillate, place, resonate, samples, shaped_noise

__all__ = ["DISTRACTORS", "SOUNDS", "SoundClass", "Source"]

Source = Callable[[Generator], Sound]
"""Function that makes one occurrence of a sound, without reverberation, at any level."""


@dataclass(frozen=True)
class SoundClass:
    """Class of sounds: its name, and a function that draws a source."""

    title: str
    draw: Callable[[Generator], Source]


def _falling(n: int, slope: float) -> Sound:
    """Amplitudes of ``n`` harmonics that fall as ``1 / k**slope``."""
    return np.arange(1, n + 1, dtype=np.float64) ** -slope


def _wobble(rng: Generator, n: int, depth: float, rate: float = 6.0) -> Sound:
    """Draw a slow random factor around 1, for variation of pitch and level."""
    points = max(3, int(n / RATE * rate) + 2)
    return 1.0 + depth * np.interp(np.linspace(0, points - 1, n), np.arange(points), rng.standard_normal(points))


def air_conditioner(source: Generator) -> Source:
    """A fan: hum of the motor, rush of the air, a faint whine."""
    hum, whine = source.uniform(85, 135), source.uniform(500, 1800)
    corner, hum_share = source.uniform(300, 900), source.uniform(0.5, 1.2)

    def take(rng: Generator) -> Sound:
        n = samples(rng.uniform(0.5, 0.9))
        air = shaped_noise(rng, n, lambda f: 1.0 / (1.0 + (f / corner) ** 1.5))
        motor = oscillate(hum, _falling(8, 0.8), n)
        tone = oscillate(whine, [1.0], n) * 0.08
        return fade((air + hum_share * motor + tone) * _wobble(rng, n, 0.05, 3.0), 0.03, 0.1)

    return take


def car_horn(source: Generator) -> Source:
    """Two trumpets a third apart, harmonics far up, blown at once."""
    low = source.uniform(320, 470)
    high = low * source.uniform(1.18, 1.28)
    slope, resonance = source.uniform(0.3, 0.8), source.uniform(1200, 2600)

    def take(rng: Generator) -> Sound:
        parts, start = [], 0.0
        for _ in range(rng.integers(1, 3)):
            n = samples(rng.uniform(0.15, 0.45))
            blown = oscillate(low, _falling(24, slope), n) + oscillate(high, _falling(24, slope), n)
            parts.append((start, fade(blown + 2.0 * resonate(blown, [(resonance, 500, 1.0)]), 0.012, 0.03)))
            start += n / RATE + rng.uniform(0.08, 0.15)
        return place(parts)

    return take


_VOWELS = ((1000, 1600, 3400), (420, 3100, 3800), (460, 1250, 3300), (680, 2600, 3600), (700, 1150, 3300))


def _syllable(rng: Generator, pitch: float, seconds: float, scale: float = 1.0) -> Sound:
    n = samples(seconds)
    contour = glide(n, [(0, pitch), (rng.uniform(0.3, 0.6), pitch * rng.uniform(1.05, 1.4)), (1, pitch * 0.9)])
    voice = oscillate(contour * (1 + 0.01 * np.sin(2 * np.pi * 6 * np.arange(n) / RATE)), _falling(30, 1.0))
    formants = _VOWELS[rng.integers(len(_VOWELS))]
    shaped = resonate(voice, [(scale * f, 60 + 0.06 * f, g) for f, g in zip(formants, (1.0, 0.6, 0.25), strict=True)])
    return fade(shaped, 0.03, 0.06)


def children_playing(source: Generator) -> Source:
    """High voices shouting vowels over one another."""
    pitches = source.uniform(270, 470, size=source.integers(2, 4))
    scale = source.uniform(0.9, 1.15)

    def take(rng: Generator) -> Sound:
        parts = []
        for pitch in pitches:
            start = rng.uniform(0.0, 0.15)
            for _ in range(rng.integers(1, 4)):
                seconds = rng.uniform(0.12, 0.28)
                shout = _syllable(rng, pitch * rng.uniform(0.9, 1.25), seconds, scale)
                parts.append((start, shout * rng.uniform(0.5, 1.0)))
                start += seconds + rng.uniform(0.02, 0.14)
        return place(parts)

    return take


def dog_bark(source: Generator) -> Source:
    """Short bursts of voice and breath; pitch jumps up and falls."""
    size = source.uniform(0.0, 1.0)
    pitch, first, second = 620 - 330 * size, 1300 - 600 * size, 2700 - 900 * size
    breath, gap = source.uniform(0.2, 0.6), source.uniform(0.22, 0.4)

    def take(rng: Generator) -> Sound:
        parts, start = [], 0.0
        for _ in range(rng.integers(1, 4)):
            n = samples(rng.uniform(0.11, 0.2))
            top = pitch * rng.uniform(1.15, 1.4)
            voice = oscillate(glide(n, [(0, pitch * 0.8), (0.25, top), (1, pitch * 0.65)]), _falling(20, 0.8))
            voice = voice + breath * rng.standard_normal(n)
            bark = resonate(voice, [(first, 180, 1.0), (second, 300, 0.5)])
            parts.append((start, fade(bark * decay(n, 0.08), 0.008, 0.04)))
            start += gap * rng.uniform(0.9, 1.2)
        return place(parts)

    return take


def drilling(source: Generator) -> Source:
    """A fast motor with its gears, and stone giving way."""
    motor, gear = source.uniform(150, 260), source.uniform(7.0, 12.0)
    chatter, grit = source.uniform(28, 55), source.uniform(0.5, 1.2)

    def take(rng: Generator) -> Sound:
        n = samples(rng.uniform(0.45, 0.9))
        speed = motor * glide(n, [(0, 0.75), (0.12, 1.0), (1, 0.97)]) * _wobble(rng, n, 0.012)
        whirr = oscillate(speed, _falling(30, 0.6)) + 0.5 * oscillate(speed * gear, [1.0, 0.4])
        time = np.arange(n) / RATE
        knock = 1.0 + 0.4 * np.sign(np.sin(2 * np.pi * chatter * time + rng.uniform(0, 6)))
        stone = shaped_noise(rng, n, lambda f: np.exp(-(((f - 3800) / 1800) ** 2)))
        return fade(whirr + grit * stone * knock, 0.02, 0.05)

    return take


def engine_idling(source: Generator) -> Source:
    """Cylinders firing one after another into an exhaust; no two are quite the same."""
    rate = source.uniform(22, 42)
    cylinders = source.uniform(0.5, 1.0, size=4)
    pipe = [
        (source.uniform(80, 150), 40, 1.0),
        (source.uniform(220, 420), 90, 0.5),
        (source.uniform(700, 1300), 250, 0.15),
    ]

    def take(rng: Generator) -> Sound:
        n = samples(rng.uniform(0.6, 1.0))
        times = np.cumsum(rng.normal(1.0, 0.03, int(n / RATE * rate * 1.2) + 2)) / rate
        position = (times * RATE).astype(np.int64)
        position = position[position < n]
        pulses = np.zeros(n)
        pulses[position] = np.resize(cylinders, len(position)) * rng.normal(1.0, 0.1, len(position))
        puffs = np.convolve(pulses, decay(samples(0.02), 0.006))[:n] * rng.standard_normal(n)
        return fade(resonate(40.0 * pulses + puffs, pipe), 0.03, 0.08)

    return take


def gun_shot(source: Generator) -> Source:
    """A crack, a thump, and the echo of a wall."""
    body, corner = source.uniform(0.025, 0.07), source.uniform(700, 2500)
    echo, echo_gain = source.uniform(0.07, 0.2), source.uniform(0.1, 0.35)

    def take(rng: Generator) -> Sound:
        n = samples(0.4)
        crack = rng.standard_normal(n) * decay(n, 0.004)
        blast = shaped_noise(rng, n, lambda f: 1.0 / (1.0 + (f / corner) ** 2)) * decay(n, body)
        thump = oscillate(glide(n, [(0, 110), (1, 45)]), [1.0]) * decay(n, 0.05)
        shot = crack * 1.5 + blast + 0.8 * thump
        return fade(place([(0.0, shot), (echo, echo_gain * shot)]), 0.0005, 0.1)

    return take


def jackhammer(source: Generator) -> Source:
    """Steel on stone, some twenty times a second."""
    rate = source.uniform(13, 24)
    metal = [
        (source.uniform(low, high), 45, g) for low, high, g in ((1100, 1900, 1.0), (2200, 3200, 0.8), (3600, 5200, 0.5))
    ]
    ground = source.uniform(70, 120)

    def take(rng: Generator) -> Sound:
        seconds = rng.uniform(0.4, 0.9)
        n = samples(seconds)
        times = np.cumsum(rng.normal(1.0, 0.04, int(seconds * rate))) / rate
        times = times[times < seconds - 0.03] - times[0]
        hits = np.zeros(n)
        hits[(times * RATE).astype(np.int64)] = rng.uniform(0.7, 1.0, len(times))
        burst = rng.standard_normal(samples(0.04)) * decay(samples(0.04), 0.006)
        ring = resonate(np.convolve(hits, burst)[:n], metal)
        thud = np.convolve(hits, oscillate(ground, [1.0], samples(0.05)) * decay(samples(0.05), 0.015))[:n]
        noise = np.convolve(hits, burst)[:n]
        return fade(3.0 * ring + 0.4 * noise + 0.8 * thud, 0.001, 0.03)

    return take


def siren(source: Generator) -> Source:
    """One loud tone that climbs and falls, or two in turn."""
    low = source.uniform(480, 760)
    high = low * source.uniform(1.7, 2.3)
    kind = source.integers(3)
    pace = (source.uniform(1.0, 1.6), source.uniform(3.0, 4.5), source.uniform(2.0, 3.0))[kind]
    horn = source.uniform(1200, 2200)

    def take(rng: Generator) -> Sound:
        n = samples(rng.uniform(0.5, 1.0))
        turn = (np.arange(n) / RATE * pace + rng.uniform()) % 1.0
        if kind == 2:  # hi-lo
            share = (turn < 0.5).astype(np.float64)
            high_tone = low * 1.33
            pitch = np.where(share > 0, low, high_tone)
        else:  # wail and yelp
            pitch = low * (high / low) ** (1.0 - np.abs(2.0 * turn - 1.0))
        tone = oscillate(pitch, _falling(6, 1.2))
        return fade(tone + resonate(tone, [(horn, 400, 1.5)]), 0.02, 0.05)

    return take


_PENTATONIC = np.array([0, 2, 4, 7, 9, 12, 14, 16])


def street_music(source: Generator) -> Source:
    """A tune on five notes, plucked or on reeds, over a bass."""
    base = 220.0 * 2.0 ** source.uniform(0.0, 1.0)
    plucked = bool(source.integers(2))
    slope, tempo = source.uniform(0.9, 1.6), source.uniform(5.5, 8.0)

    def note(pitch: float, seconds: float, gain: float) -> Sound:
        n = samples(seconds)
        tone = oscillate(pitch, _falling(16, slope), n)
        if plucked:
            return gain * fade(tone * decay(n, 0.18), 0.003, 0.02)
        reeds = tone + oscillate(pitch * 1.006, _falling(16, slope), n)
        return gain * 0.5 * fade(reeds, 0.02, 0.03)

    def take(rng: Generator) -> Sound:
        count = int(rng.integers(4, 8))
        beat = 1.0 / tempo
        degrees = np.clip(np.cumsum(rng.integers(-2, 3, count)) + 3, 0, len(_PENTATONIC) - 1)
        tune = [
            (i * beat, note(base * 2.0 ** (_PENTATONIC[d] / 12), beat * (2.0 if plucked else 0.95), 1.0))
            for i, d in enumerate(degrees)
        ]
        bass = [(i * beat, note(base / 2, beat * 2, 0.6)) for i in range(0, count, 4)]
        return place(tune + bass)

    return take


def church_bell(source: Generator) -> Source:
    """A bell: partials that are no harmonics, the low ones lasting."""
    strike = source.uniform(260, 620)
    ratios = np.array([0.5, 1.0, 1.2, 1.5, 2.0, 2.67, 3.0, 4.2]) * source.normal(1.0, 0.01, 8)
    gains = source.uniform(0.3, 1.0, 8) * _falling(8, 0.4)

    def take(rng: Generator) -> Sound:
        n = samples(rng.uniform(1.1, 1.5))
        partials = [
            gain * oscillate(strike * ratio, [1.0], n, rng.uniform()) * decay(n, 0.7 / ratio**0.7)
            for ratio, gain in zip(ratios, gains, strict=True)
        ]
        return fade(np.sum(partials, axis=0), 0.002, 0.1)

    return take


def bird(source: Generator) -> Source:
    """Chirps: short whistles that rise and fall fast, high up."""
    centre, span, rate = source.uniform(2600, 5200), source.uniform(1.1, 1.5), source.uniform(5, 11)
    rises = bool(source.integers(2))

    def take(rng: Generator) -> Sound:
        parts = []
        for i in range(rng.integers(3, 8)):
            n = samples(rng.uniform(0.04, 0.1))
            ends = (centre / span, min(centre * span, 6800.0))
            low, high = ends if rises else ends[::-1]
            chirp = oscillate(glide(n, [(0, low), (0.7, high), (1, centre)]), [1.0, 0.1])
            parts.append((i / rate * rng.uniform(0.95, 1.05), fade(chirp, 0.01, 0.02) * rng.uniform(0.6, 1.0)))
        return place(parts)

    return take


def footsteps(source: Generator) -> Source:
    """Heel and sole on gravel, two to the second and more."""
    gap, crunch, heel = source.uniform(0.28, 0.42), source.uniform(1500, 4000), source.uniform(120, 260)

    def take(rng: Generator) -> Sound:
        parts = []
        for i in range(rng.integers(3, 5)):
            n = samples(0.12)
            knock = oscillate(heel, _falling(4, 1.0), n) * decay(n, 0.012)
            gravel = shaped_noise(rng, n, lambda f: np.exp(-(((f - crunch) / 1500) ** 2))) * decay(n, 0.03)
            gravel *= rng.uniform(0.3, 1.0, n) ** 3
            parts.append((i * gap * rng.uniform(0.97, 1.03), fade(knock + 0.8 * gravel, 0.001, 0.02)))
        return place(parts)

    return take


def glass(source: Generator) -> Source:
    """A pane breaks: a burst, then splinters that ring high."""
    low, high = source.uniform(1800, 2800), source.uniform(5500, 7400)
    ring = source.uniform(0.03, 0.12)

    def take(rng: Generator) -> Sound:
        n = samples(0.25)
        parts = [(0.0, fade(shaped_noise(rng, n, lambda f: np.minimum(f / 3000, 1.0)) * decay(n, 0.02), 0.0005, 0.05))]
        for _ in range(rng.integers(18, 30)):
            tone = oscillate(rng.uniform(low, high), [1.0], n) * decay(n, ring * rng.uniform(0.3, 1.0))
            parts.append((rng.exponential(0.12), fade(tone, 0.0005, 0.05) * rng.uniform(0.1, 0.6)))
        return place(parts)

    return take


SOUNDS: Mapping[str, SoundClass] = MappingProxyType(
    {
        "air_conditioner": SoundClass("Air conditioner", air_conditioner),
        "car_horn": SoundClass("Car horn", car_horn),
        "children_playing": SoundClass("Children playing", children_playing),
        "dog_bark": SoundClass("Dog bark", dog_bark),
        "drilling": SoundClass("Drilling", drilling),
        "engine_idling": SoundClass("Engine idling", engine_idling),
        "gun_shot": SoundClass("Gun shot", gun_shot),
        "jackhammer": SoundClass("Jackhammer", jackhammer),
        "siren": SoundClass("Siren", siren),
        "street_music": SoundClass("Street music", street_music),
        "church_bell": SoundClass("Church bell", church_bell),
        "bird": SoundClass("Bird", bird),
        "footsteps": SoundClass("Footsteps", footsteps),
        "glass": SoundClass("Breaking glass", glass),
    }
)
"""The classes; the first ten are those of UrbanSound8K."""


def _click(rng: Generator) -> Sound:
    n = samples(0.03)
    return fade(rng.standard_normal(n) * decay(n, rng.uniform(0.001, 0.004)), 0.0005, 0.01)


def _thump(rng: Generator) -> Sound:
    n = samples(0.2)
    return fade(oscillate(rng.uniform(80, 220), _falling(4, 1.0), n) * decay(n, 0.05), 0.002, 0.05)


def _beep(rng: Generator) -> Sound:
    return fade(oscillate(rng.uniform(700, 3000), [1.0, 0.2], samples(rng.uniform(0.08, 0.2))), 0.005, 0.01)


def _squeak(rng: Generator) -> Sound:
    pitch = rng.uniform(900, 2600)
    n = samples(rng.uniform(0.1, 0.3))
    return fade(oscillate(glide(n, [(0, pitch), (1, pitch * rng.uniform(0.7, 1.4))]), [1.0, 0.5, 0.3]), 0.02, 0.03)


def _hiss(rng: Generator) -> Sound:
    n = samples(rng.uniform(0.2, 0.5))
    centre = rng.uniform(1500, 6000)
    return fade(shaped_noise(rng, n, lambda f: np.exp(-(((f - centre) / 1200) ** 2))), 0.05, 0.1)


def _rattle(rng: Generator) -> Sound:
    times = np.cumsum(rng.uniform(0.03, 0.08, rng.integers(3, 8)))
    return place([(float(time), _click(rng) * rng.uniform(0.4, 1.0)) for time in times])


DISTRACTORS: Mapping[str, Source] = MappingProxyType(
    {"click": _click, "thump": _thump, "beep": _beep, "squeak": _squeak, "hiss": _hiss, "rattle": _rattle}
)
"""Unlabelled distractor sounds."""
