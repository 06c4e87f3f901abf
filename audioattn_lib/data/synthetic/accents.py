"""Synthetic accents: the same kinds of voices in every accent, other vowels, other rhythm, other melody.

An accent moves vowels in the plane of their first two formants, makes stressed
vowels more or less longer than unstressed ones, and gives phrases another
melody. Who speaks is drawn alike in all accents: as many women as men, the same spread
of pitch, tract length and timbre, so neither the height nor the colour of a
voice tells its accent. The accents are invented and stand for no place.
Speakers are in one fold each. The same options give the same samples.

It is synthetic, and every page that plays it says so. Measured on the default
accents (480 clips, 4 folds): a logistic regression on mean and standard
deviation of the log-mel reaches about 50 %, one on the numbers that describe
the speaker 13 %, with chance at 20 %.

Book page: ``data``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

import numpy as np
from numpy.random import Generator

from audioattn_lib.core.declarations import check_declared
from audioattn_lib.core.errors import ConfigError

from .acoustics import Sound
from .corpus import CorpusOptions, generate, random_numbers, require_range, require_whole
from .speech import NEUTRAL, VOWELS, Delivery, Utterance, Voice, draw_voice, say
from .voices import describe

__all__ = ["ACCENTS", "Accent", "AccentsClip", "AccentsOptions", "compose", "generate", "moved_vowels"]


@dataclass(frozen=True)
class Accent:
    """Parameters of an accent: its differences from the table of vowels and from plain speech.

    Parameters
    ----------
    shifts
        Factors of the first and second formant, by vowel.
    reduction
        How far all vowels move to the neutral one, from 0 to 1.
    stress_period, stress_contrast, final_pitch, peak_delay
        As in :class:`~audioattn_lib.data.synthetic.speech.Delivery`.
    """

    shifts: Mapping[str, tuple[float, float]]
    reduction: float
    stress_period: int
    stress_contrast: float
    final_pitch: float
    peak_delay: float


ACCENTS: Mapping[str, Accent] = MappingProxyType(
    {
        "coast": Accent({}, 0.0, 2, 1.6, -4.0, 0.35),
        "hills": Accent({"u": (1.0, 1.6), "ʊ": (1.0, 1.45), "æ": (0.8, 1.1), "ɔ": (1.0, 1.2)}, 0.0, 2, 2.0, 3.0, 0.6),
        "island": Accent(
            {"ɪ": (1.25, 0.9), "ɛ": (1.2, 0.9), "ɑ": (0.95, 1.2), "i": (1.1, 0.95)}, 0.0, 2, 1.1, -2.0, 0.2
        ),
        "plain": Accent(
            {"ɑ": (0.78, 0.85), "ʌ": (0.85, 0.8), "æ": (1.1, 0.85), "i": (1.0, 0.9)}, 0.0, 3, 1.5, -5.0, 0.9
        ),
        "river": Accent({"ɔ": (0.85, 1.0), "ɛ": (0.85, 1.1)}, 0.4, 3, 1.25, 1.0, 0.5),
    }
)


def moved_vowels(accent: str) -> frozenset[str]:
    """The vowels of an accent that do not sound as in the table: all of them where the accent reduces vowels.

    Raises
    ------
    ConfigError
        When there is no such accent.

    Notes
    -----
    Rhythm and melody tell accents apart too, and lie in no single vowel. Book page: ``data``.
    """
    if accent not in ACCENTS:
        raise ConfigError(f"accent is {accent!r}; it must be one of {', '.join(ACCENTS)}")
    return frozenset(VOWELS if ACCENTS[accent].reduction else ACCENTS[accent].shifts)


@dataclass(frozen=True)
class AccentsOptions(CorpusOptions):
    """Options of the accents corpus.

    Parameters
    ----------
    accents
        Names, at least 2 of ``audioattn_lib.data.synthetic.accents.ACCENTS``.
    speakers_per_accent
        Speakers of each accent over all folds, at least one per fold.
    clips_per_speaker
        Clips of each speaker, at least 1; at least 2 for trials of speakers.
    n_folds
        Folds, at least 2; no speaker is in two.
    duration
        Shortest and longest clip in seconds, within 1 to 10.
    strength
        How far accents depart from each other, from 0 to 2: 1 as described, 0 not at all.
    seed
        Another seed, other people.
    """

    corpus: ClassVar[str] = "accents"
    accents: tuple[str, ...] = tuple(ACCENTS)
    speakers_per_accent: int = 24
    clips_per_speaker: int = 4
    n_folds: int = 4
    duration: tuple[float, float] = (1.5, 2.5)
    strength: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if isinstance(self.accents, str):  # as a command line gives them
            object.__setattr__(self, "accents", [name.strip() for name in self.accents.split(",")])
        check_declared(self)
        unknown = [name for name in self.accents if name not in ACCENTS]
        if unknown or len(set(self.accents)) != len(self.accents) or len(self.accents) < 2:
            raise ConfigError(
                f"accents is {', '.join(self.accents)}; it must be two or more of {', '.join(ACCENTS)}, each once"
            )
        require_whole(self, n_folds=2, clips_per_speaker=1, seed=0)
        require_whole(self, speakers_per_accent=self.n_folds)
        require_range(self, "duration", 1.0, 10.0, "numbers of seconds")
        if not 0.0 <= self.strength <= 2.0:
            raise ConfigError(f"strength is {self.strength:g}; it must be a number from 0 to 2")

    def n_clips(self) -> int:
        """Number of clips, for the progress bar."""
        return len(self.accents) * self.speakers_per_accent * self.clips_per_speaker

    def rows(self) -> Iterator[tuple[Sound, dict[str, object]]]:
        """Samples of every clip, and its row of the manifest."""
        return _rows(self)


@dataclass(frozen=True)
class AccentsClip:
    """One clip: its samples and what is known about it."""

    utterance: Utterance
    accent: str
    fold: int
    speaker: str
    voice: Voice
    delivery: Delivery


def _rows(options: AccentsOptions) -> Iterator[tuple[Sound, dict[str, object]]]:
    for number, clip in enumerate(compose(options)):
        name = f"audio/{clip.speaker}-{number % options.clips_per_speaker:03d}.flac"
        row = {"file_name": name, "label": clip.accent, "fold": clip.fold}
        row |= {"group": clip.speaker, "speaker": clip.speaker}
        yield clip.utterance.samples, row | describe(clip.utterance, clip.voice, clip.delivery)


def compose(options: AccentsOptions) -> Iterator[AccentsClip]:
    """The clips, accent by accent and speaker by speaker."""
    n = options.speakers_per_accent
    for accent in options.accents:
        accent_rng = random_numbers(options.seed, "accent", accent)
        # Within each sex, pitches are spread evenly over what is usual: no accent is higher than another.
        ranks = {sex: (accent_rng.permutation(-(-n // 2)) + 0.5) / -(-n // 2) for sex in "fm"}
        for number in range(n):
            rng = random_numbers(options.seed, "speaker", accent, number)
            sex = "fm"[number % 2]
            voice = draw_voice(rng, sex, float(ranks[sex][number // 2]))
            usual = _draw_delivery(ACCENTS[accent], options.strength * rng.uniform(0.7, 1.2), rng)
            for clip in range(options.clips_per_speaker):
                take = random_numbers(options.seed, "clip", accent, number, clip)
                utterance = say(voice, usual, float(take.uniform(*options.duration)), take)
                fold = number // 2 % options.n_folds + 1 if n >= 2 * options.n_folds else number % options.n_folds + 1
                yield AccentsClip(utterance, accent, fold, f"{accent}-{number:03d}", voice, usual)


def _draw_delivery(accent: Accent, strength: float, rng: Generator) -> Delivery:
    """Draw the delivery of one speaker: the accent scaled by ``strength``, and random habits independent of it."""
    plain = ACCENTS["coast"]

    def between(ours: float, theirs: float) -> float:
        return ours + strength * (theirs - ours)

    return Delivery(
        rate=float(np.clip(rng.normal(4.6, 0.45), 3.5, 5.7)),
        pause_share=float(rng.uniform(0.08, 0.20)),
        pitch_range=float(4.0 * np.exp(0.25 * rng.standard_normal())),
        breathiness=float(rng.uniform(0.1, 0.5)),
        precision=float(rng.uniform(0.75, 1.0)),
        vowels={name: _shift(name, accent, strength) for name in VOWELS},
        stress_period=accent.stress_period if strength >= 0.5 else plain.stress_period,
        stress_contrast=max(1.0, between(plain.stress_contrast, accent.stress_contrast)),
        final_pitch=between(plain.final_pitch, accent.final_pitch),
        peak_delay=between(plain.peak_delay, accent.peak_delay),
    )


def _shift(vowel: str, accent: Accent, strength: float) -> tuple[float, float, float]:
    """Formants of a vowel in an accent."""
    first, second = accent.shifts.get(vowel, (1.0, 1.0))
    moved = np.array(VOWELS[vowel]) * np.array([first, second, 1.0]) ** strength
    neutral = np.array(NEUTRAL)
    f1, f2, f3 = neutral * (moved / neutral) ** (1.0 - strength * accent.reduction)
    # Of a fronted vowel the third formant gives way, as it does in the front vowels of the table.
    return float(f1), float(f2), float(max(f3, f2 + 250.0))
