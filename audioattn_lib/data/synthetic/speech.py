"""Synthetic speech of syllables: voice, delivery, and utterance with the times of vowels and pauses.

Nothing here is language: syllables of a consonant and a vowel follow each
other in phrases, with stress, a melody and pauses. Vowels lie where Peterson and Barney
(*Control methods used in a study of the vowels*, JASA 1952, table II) found
those of men, scaled by the length of the vocal tract; second formants at the
edges of consonants move from the loci of Delattre, Liberman and Cooper
(*Acoustic loci and transitional cues for consonants*, JASA 1955).

Book page: ``data``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import scipy
from numpy.random import Generator
from numpy.typing import NDArray

from .acoustics import RATE, Sound, a_weighted_level, reverberate, samples, shaped_noise
from .vocal_tract import HOP, N_FORMANTS, Articulation, speak

__all__ = ["VOWELS", "Delivery", "Syllable", "Utterance", "Voice", "draw_voice", "say"]

VOWELS: Mapping[str, tuple[float, float, float]] = MappingProxyType(
    {
        "i": (270, 2290, 3010),
        "ɪ": (390, 1990, 2550),
        "ɛ": (530, 1840, 2480),
        "æ": (660, 1720, 2410),
        "ɑ": (730, 1090, 2440),
        "ɔ": (570, 840, 2410),
        "ʊ": (440, 1020, 2240),
        "u": (300, 870, 2240),
        "ʌ": (640, 1190, 2390),
    }
)
"""First three formants of men's vowels in hertz (Peterson and Barney, 1952)."""

NEUTRAL = (500.0, 1500.0, 2500.0)
"""Formants of a uniform tube of 17 cm, closed at one end: where an unstressed or careless vowel drifts to."""

REFERENCE_LENGTH = 17.0
"""Length in centimetres of the vocal tract that the table of vowels belongs to."""

_HIGHER = (3500.0, 4500.0, 5500.0, 6500.0)
_BANDWIDTHS = np.array([60.0, 90.0, 130.0, 180.0, 250.0, 320.0, 400.0])
_EDGE = (0.05, 0.15)
"""Shortest and longest silence before and behind the speech, in seconds."""
_SHORTEST_PAUSE = 0.09
_PEAK = 0.9


class _Consonant(NamedTuple):
    """Its parts: (share of its duration, voicing, aspiration, friction); formants of its place; band of its noise."""

    seconds: float
    parts: tuple[tuple[float, float, float, float], ...]
    locus: tuple[float, float, float]
    band: tuple[float, float] = (2000.0, 6000.0)


_CONSONANTS: Mapping[str, _Consonant] = MappingProxyType(
    {
        "p": _Consonant(0.105, ((0.6, 0, 0, 0), (0.1, 0, 0.1, 0.10), (0.3, 0, 0.25, 0)), (300, 720, 2200), (400, 1800)),
        "t": _Consonant(
            0.105, ((0.55, 0, 0, 0), (0.1, 0, 0, 0.30), (0.35, 0, 0.25, 0)), (300, 1800, 2700), (3000, 7000)
        ),
        "k": _Consonant(
            0.110, ((0.55, 0, 0, 0), (0.15, 0, 0, 0.20), (0.3, 0, 0.3, 0)), (300, 2000, 2500), (1300, 3500)
        ),
        "b": _Consonant(0.075, ((0.85, 0.10, 0, 0), (0.15, 0.3, 0, 0.06)), (250, 720, 2200), (400, 1800)),
        "d": _Consonant(0.075, ((0.85, 0.10, 0, 0), (0.15, 0.3, 0, 0.15)), (250, 1800, 2700), (3000, 7000)),
        "g": _Consonant(0.080, ((0.82, 0.10, 0, 0), (0.18, 0.3, 0, 0.12)), (250, 2000, 2500), (1300, 3500)),
        "s": _Consonant(0.105, ((1.0, 0, 0, 0.16),), (320, 1700, 2600), (4200, 7500)),
        "ʃ": _Consonant(0.105, ((1.0, 0, 0, 0.18),), (320, 1900, 2500), (2200, 5500)),
        "f": _Consonant(0.095, ((1.0, 0, 0, 0.035),), (320, 900, 2300), (900, 7500)),
        "z": _Consonant(0.080, ((1.0, 0.15, 0, 0.08),), (260, 1700, 2600), (4200, 7500)),
        "m": _Consonant(0.070, ((1.0, 0.40, 0, 0),), (250, 1000, 2200)),
        "n": _Consonant(0.070, ((1.0, 0.40, 0, 0),), (250, 1500, 2500)),
        "l": _Consonant(0.065, ((1.0, 0.55, 0, 0),), (340, 1150, 2700)),
        "j": _Consonant(0.060, ((1.0, 0.60, 0, 0),), (280, 2150, 2900)),
        "w": _Consonant(0.060, ((1.0, 0.60, 0, 0),), (300, 700, 2200)),
    }
)


@dataclass(frozen=True)
class Voice:
    """Parameters of a speaker that do not depend on the utterance.

    Parameters
    ----------
    sex
        ``"f"`` or ``"m"``.
    pitch
        Usual fundamental frequency in hertz.
    tract_length
        Length of the vocal tract in centimetres; formants are inversely proportional to it.
    formant_ratios
        This speaker's formants over those of the table and the length, shape ``(N_FORMANTS,)``.
    tilt, open_quotient, jitter, shimmer
        Of the glottis, before breathiness; see :class:`~audioattn_lib.data.synthetic.vocal_tract.Articulation`.
    level
        Usual level of the recordings, in dB of full scale with A-weighting.
    """

    sex: str
    pitch: float
    tract_length: float
    formant_ratios: NDArray[np.float64]
    tilt: float
    open_quotient: float
    jitter: float
    shimmer: float
    level: float


@dataclass(frozen=True)
class Delivery:
    """Parameters of the prosody and articulation of an utterance.

    Parameters
    ----------
    rate
        Syllables a second of speech, pauses left out.
    pause_share
        Share of the time between the first and the last syllable that is pause, from 0 to 0.6.
    pitch_range
        How far stress lifts the pitch, in semitones.
    breathiness, precision
        From 0 to 1. A precise mouth reaches its vowels and moves quickly; breath adds noise and takes high harmonics.
    vowels
        Formants of the vowels in hertz, as in ``VOWELS``.
    stress_period, stress_contrast
        Every how many syllables one is stressed, and how much longer its vowel is than an unstressed one.
    final_pitch
        Movement of the pitch over the last syllable of a phrase, in semitones; below 0 it falls.
    peak_delay
        Where the pitch of a stressed syllable is highest: 0 at its beginning, 1 at its end.
    """

    rate: float
    pause_share: float
    pitch_range: float
    breathiness: float
    precision: float
    vowels: Mapping[str, tuple[float, float, float]] = field(default_factory=lambda: VOWELS)
    stress_period: int = 2
    stress_contrast: float = 1.5
    final_pitch: float = -4.0
    peak_delay: float = 0.4


class Syllable(NamedTuple):
    """One syllable: its consonant and vowel, when it begins, and when its vowel begins and ends, in seconds."""

    consonant: str
    vowel: str
    onset: float
    vowel_onset: float
    vowel_offset: float
    stressed: bool


@dataclass(frozen=True)
class Utterance:
    """Utterance: samples and their ground truth; pauses are ``(onset, offset)`` in seconds."""

    samples: Sound
    syllables: tuple[Syllable, ...]
    pauses: tuple[tuple[float, float], ...]

    @property
    def span(self) -> float:
        """Seconds from the first syllable to the end of the last."""
        return self.syllables[-1].vowel_offset - self.syllables[0].onset

    @property
    def pause_share(self) -> float:
        """Share of the span that is pause."""
        return sum(offset - onset for onset, offset in self.pauses) / self.span

    @property
    def articulation_rate(self) -> float:
        """Syllables a second, pauses left out."""
        return len(self.syllables) / (self.span * (1.0 - self.pause_share))

    @property
    def speech_rate(self) -> float:
        """Syllables a second, pauses included."""
        return len(self.syllables) / self.span


def draw_voice(rng: Generator, sex: str, pitch_rank: float | None = None) -> Voice:
    """A speaker.

    Pitch and length of the vocal tract follow the usual figures for adults:
    about 120 Hz and 17 cm for men, 205 Hz and 14.7 cm for women.

    Parameters
    ----------
    rng
        Random number generator.
    sex
        ``"f"`` or ``"m"``.
    pitch_rank
        Place of the pitch among speakers of this sex, above 0 and below 1; drawn by default.
    """
    from scipy.special import ndtri

    middle, length = (205.0, 14.7) if sex == "f" else (120.0, 17.0)
    pitch_z = rng.standard_normal() if pitch_rank is None else float(ndtri(pitch_rank))
    # Long bodies have low voices, loosely.
    length += -0.3 * 0.6 * pitch_z + 0.95 * 0.6 * rng.standard_normal()
    return Voice(
        sex,
        middle * 2.0 ** (2.0 * pitch_z / 12.0),
        float(np.clip(length, 13.0, 19.0)),
        np.exp(0.025 * rng.standard_normal(N_FORMANTS)),
        float(rng.uniform(5.0, 13.0) + (2.0 if sex == "f" else 0.0)),
        float(rng.uniform(0.50, 0.62) + (0.06 if sex == "f" else 0.0)),
        float(rng.uniform(0.004, 0.012)),
        float(rng.uniform(0.03, 0.08)),
        float(rng.uniform(-30.0, -24.0)),
    )


def say(voice: Voice, delivery: Delivery, seconds: float, rng: Generator) -> Utterance:
    """Let a speaker fill ``seconds`` with syllables.

    Durations are scaled so that rate and share of pauses are as asked, up to
    a whole number of syllables.

    Notes
    -----
    Book page: ``data``.
    """
    syllables, pauses = _plan(delivery, seconds, rng)
    n_frames = round(seconds * RATE / HOP)
    sound = speak(_articulate(voice, delivery, syllables, n_frames, rng), rng)
    n = samples(seconds)
    return Utterance(_record(np.pad(sound, (0, max(0, n - len(sound))))[:n], voice, rng), syllables, pauses)


def _plan(
    delivery: Delivery, seconds: float, rng: Generator
) -> tuple[tuple[Syllable, ...], tuple[tuple[float, float], ...]]:
    """Draw the syllables and the pauses of an utterance, with their times in seconds."""
    begin, end = rng.uniform(*_EDGE), seconds - rng.uniform(*_EDGE)
    silent = delivery.pause_share * (end - begin)
    spoken = end - begin - silent
    count = max(2, round(spoken * delivery.rate))
    n_pauses = int(np.clip(round(seconds / 1.7 + rng.uniform(-0.5, 0.5)), 1, max(1, silent // _SHORTEST_PAUSE)))
    n_pauses = min(n_pauses if silent >= _SHORTEST_PAUSE else 0, count - 1)
    if not n_pauses:
        spoken, silent = end - begin, 0.0
    ends = _phrase_ends(count, n_pauses, rng)
    n_pauses = len(ends) - 1
    stressed = (np.arange(count) + rng.integers(delivery.stress_period)) % delivery.stress_period == 0
    vowels = _spread(list(delivery.vowels), count, rng)
    consonants = _spread(list(_CONSONANTS), count, rng)
    long = np.where(stressed, delivery.stress_contrast, 1.0) * rng.uniform(0.85, 1.15, count)
    long[ends] *= 1.35  # the last syllable of a phrase is drawn out
    before = np.array([_CONSONANTS[name].seconds for name in consonants]) * rng.uniform(0.85, 1.15, count)
    room = spoken - before.sum()
    if room < 0.4 * spoken:  # fast speech shortens consonants too
        before *= 0.6 * spoken / before.sum()
        room = 0.4 * spoken
    long *= room / long.sum()
    lengths = rng.dirichlet(np.full(max(n_pauses, 1), 6.0)) * (silent - n_pauses * _SHORTEST_PAUSE) + _SHORTEST_PAUSE
    gaps = np.zeros(count)
    gaps[ends[:-1]] = lengths if n_pauses else 0.0
    onsets = begin + np.concatenate([[0.0], np.cumsum(before + long + gaps)[:-1]])
    syllables = tuple(
        Syllable(c, v, float(t), float(t + b), float(t + b + d), bool(s))
        for c, v, t, b, d, s in zip(consonants, vowels, onsets, before, long, stressed, strict=True)
    )
    pauses = tuple((syllables[i].vowel_offset, syllables[i + 1].onset) for i in ends[:-1])
    return syllables, pauses


def _phrase_ends(count: int, n_pauses: int, rng: Generator) -> NDArray[np.int64]:
    """Last syllable of each phrase, for as many pauses as asked or, where syllables are few, fewer."""
    even = np.linspace(0, count, n_pauses + 2)[1:-1]
    moved = np.round(even + rng.uniform(-0.25, 0.25, n_pauses) * count / (n_pauses + 1)).astype(np.int64) - 1
    return np.append(np.unique(np.clip(moved, 0, count - 2)), count - 1)


def _spread(names: list[str], count: int, rng: Generator) -> list[str]:
    """Names in random order, each about equally often."""
    rounds = [rng.permutation(len(names)) for _ in range(-(-count // len(names)))]
    return [names[i] for i in np.concatenate(rounds)[:count]]


def _articulate(
    voice: Voice, delivery: Delivery, syllables: tuple[Syllable, ...], n_frames: int, rng: Generator
) -> Articulation:
    """Targets of all parts of all syllables, each held for its time, and the inertia of the mouth between them."""
    begins = [0.0]
    rows: list[tuple[float, ...]] = [(0.0, 0.0, 0.0, 2000.0, 6000.0, *NEUTRAL)]
    for syllable, following in zip(syllables, (*syllables[1:], None), strict=True):
        consonant = _CONSONANTS[syllable.consonant]
        time = syllable.onset
        for share, *amplitudes in consonant.parts:
            length = share * (syllable.vowel_onset - syllable.onset)
            begins.append(time)
            rows.append((*amplitudes, *consonant.band, *consonant.locus))
            time += length
        target = _vowel_target(delivery, syllable, rng)
        begins.append(syllable.vowel_onset)
        rows.append((1.0 if syllable.stressed else 0.75, 0.0, 0.0, 2000.0, 6000.0, *target))
        if following is None or following.onset > syllable.vowel_offset + 0.01:
            begins.append(syllable.vowel_offset)
            rows.append((0.0, 0.0, 0.0, 2000.0, 6000.0, *target))
    table = np.array(rows)
    centres = (np.arange(n_frames) + 0.5) * HOP / RATE
    targets = table[np.searchsorted(np.array(begins), centres, side="right") - 1]

    def slow(values: NDArray[np.float64], seconds: float) -> NDArray[np.float64]:
        return scipy.ndimage.gaussian_filter1d(values, seconds * RATE / HOP, axis=0, mode="nearest")

    voicing = slow(targets[:, 0], 0.010)
    breath = delivery.breathiness
    formants = np.concatenate(
        [slow(targets[:, 5:8], 0.012 + 0.016 * (1.0 - delivery.precision)), np.tile(_HIGHER, (n_frames, 1))], axis=1
    )
    formants = formants * voice.formant_ratios * REFERENCE_LENGTH / voice.tract_length
    widening = np.array([1.0 + 0.8 * breath, 1.0 + 0.3 * breath, *[1.0] * (N_FORMANTS - 2)])
    return Articulation(
        pitch=_melody(voice, delivery, syllables, centres, rng),
        voicing=voicing,
        aspiration=slow(targets[:, 1], 0.006) + (0.01 + 0.16 * breath) * voicing,
        friction=slow(targets[:, 2], 0.004),
        friction_low=targets[:, 3],
        friction_high=targets[:, 4],
        formants=formants,
        bandwidths=np.tile(_BANDWIDTHS * widening, (n_frames, 1)),
        open_quotient=float(np.clip(voice.open_quotient + 0.22 * breath, 0.35, 0.92)),
        tilt=voice.tilt + 9.0 * breath,
        jitter=voice.jitter,
        shimmer=voice.shimmer,
    )


def _vowel_target(delivery: Delivery, syllable: Syllable, rng: Generator) -> NDArray[np.float64]:
    """Formants that the vowel aims at: nearer to the neutral ones without stress and without care."""
    target = np.array(delivery.vowels[syllable.vowel], dtype=np.float64)
    neutral = np.array(NEUTRAL)
    reached = (0.35 + 0.65 * delivery.precision) * (1.0 if syllable.stressed else 0.85)
    return neutral * (target / neutral) ** reached * np.exp(0.03 * rng.standard_normal(3))


def _melody(
    voice: Voice,
    delivery: Delivery,
    syllables: tuple[Syllable, ...],
    centres: NDArray[np.float64],
    rng: Generator,
) -> NDArray[np.float64]:
    """Pitch of every frame: a slow fall through each phrase, a rise and fall on stress, a movement at the end."""
    semitones = np.zeros(len(centres))
    first = syllables[0].onset
    for syllable, following in zip(syllables, (*syllables[1:], None), strict=True):
        length = syllable.vowel_offset - syllable.onset
        if syllable.stressed:
            peak = syllable.onset + delivery.peak_delay * length
            height = delivery.pitch_range * rng.uniform(0.8, 1.2)
            semitones += height * np.exp(-0.5 * ((centres - peak) / max(0.55 * length, 0.06)) ** 2)
        if following is None or following.onset > syllable.vowel_offset + 0.01:
            inside = (centres >= first) & (centres <= syllable.vowel_offset)
            progress = (centres[inside] - first) / max(syllable.vowel_offset - first, 1e-3)
            semitones[inside] += 0.25 * delivery.pitch_range * (0.5 - progress)
            last = np.clip((centres - syllable.vowel_onset) / (syllable.vowel_offset - syllable.vowel_onset), 0.0, 1.0)
            semitones += np.where(centres < syllable.vowel_offset + 0.05, delivery.final_pitch * last, 0.0)
            first = following.onset if following is not None else 0.0
    semitones -= 0.35 * delivery.pitch_range  # so that the middle stays where the voice is
    drift = scipy.ndimage.gaussian_filter1d(rng.standard_normal(len(centres)), 12.0) * 1.5
    return voice.pitch * 2.0 ** ((semitones + drift) / 12.0)


def _record(sound: Sound, voice: Voice, rng: Generator) -> Sound:
    """A quiet room and a microphone: a short tail, a floor of noise, the usual level of this speaker's recordings."""
    room = reverberate(sound, rng, rng.uniform(0.12, 0.35), rng.uniform(0.05, 0.2))[: len(sound)]
    level = a_weighted_level(room)
    corner = rng.uniform(200.0, 1000.0)
    floor = shaped_noise(rng, len(sound), lambda f: 1.0 / np.sqrt(1.0 + (f / corner) ** 2))
    floor *= 10.0 ** ((level - rng.uniform(32.0, 45.0) - a_weighted_level(floor)) / 20.0)
    mixed = (room + floor) * 10.0 ** ((voice.level + rng.uniform(-1.5, 1.5) - level) / 20.0)
    peak = float(np.abs(mixed).max())
    return mixed * (_PEAK / peak) if peak > _PEAK else mixed
