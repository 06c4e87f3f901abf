"""Synthetic tired voices: speakers who say syllables, with a tiredness for each clip.

Each clip has a tiredness from 1 (wide awake) to 9 (fighting sleep), the range
of the Karolinska sleepiness scale (Åkerstedt and Gillberg, *Subjective and
objective sleepiness in the active individual*, 1990). Speech rate, pauses,
pitch range, breathiness and precision follow it. Slower speech and longer
pauses are what Vogel, Fletcher and Maruff measured (*Acoustic analysis of the
effects of sustained wakefulness on speech*, JASA 2010); the other directions
are common belief, on which measurements disagree, and all amounts are ours.
Every speaker has habits of their own and responds to tiredness more or less,
and chance does the rest, so no single cue tells. Speakers are in one split
each. The same options give the same samples.

It is synthetic, and every page that plays it says so. Measured on the default
voices (384 clips, 32 speakers): Spearman's correlation with tiredness is -0.62
for the speech rate, 0.60 for the share of pauses, -0.44 for the articulation
rate, -0.42 for the pitch range, -0.40 for precision, 0.30 for breathiness. On
the test speakers a ridge regression on these six reaches 0.76, a linear support
vector regression on mean and standard deviation of the log-mel 0.47. Clips have
an RMS of -28 to -18 dB full scale.

Book page: ``data``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.random import Generator

from audioattn_lib.core.declarations import check_declared
from audioattn_lib.core.errors import ConfigError

from .acoustics import RATE, Sound
from .corpus import CorpusOptions, generate, join, random_numbers, require_range, require_whole
from .speech import Delivery, Utterance, Voice, draw_voice, say

__all__ = ["SPLITS", "TIREDNESS", "VoicesClip", "VoicesOptions", "compose", "describe", "generate"]


TIREDNESS = (1.0, 9.0)
# "devel", the name of the challenge for validation clips: these voices stand in for its corpus
SPLITS = ("train", "devel", "train", "test")
"""Splits of the speakers, in turn and by sex: half train, a quarter each for validation and test."""


@dataclass(frozen=True)
class VoicesOptions(CorpusOptions):
    """Speakers and their number.

    Parameters
    ----------
    speakers
        Speakers over all splits, at least 8, so that each split has both sexes.
    clips_per_speaker
        Clips of each, at least 1; their tiredness is spread over the whole scale.
    duration
        Shortest and longest clip in seconds, within 1 to 10.
    effect
        How far speech follows tiredness, from 0 to 2: 1 as described, 0 not at all.
    seed
        Another seed, other people.
    """

    corpus: ClassVar[str] = "voices"
    speakers: int = 32
    clips_per_speaker: int = 12
    duration: tuple[float, float] = (2.0, 4.0)
    effect: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        check_declared(self)
        require_whole(self, speakers=8, clips_per_speaker=1, seed=0)
        require_range(self, "duration", 1.0, 10.0, "numbers of seconds")
        if not 0.0 <= self.effect <= 2.0:
            raise ConfigError(f"effect is {self.effect:g}; it must be a number from 0 to 2")

    def n_clips(self) -> int:
        """Number of clips, for the progress bar."""
        return self.speakers * self.clips_per_speaker

    def rows(self) -> Iterator[tuple[Sound, dict[str, object]]]:
        """Samples of every clip, and its row of the manifest."""
        return _rows(self)


@dataclass(frozen=True)
class _Habits:
    """Parameters of the delivery of a speaker at medium tiredness, and the response of each to tiredness."""

    rate: float
    pause_share: float
    pitch_range: float
    breathiness: float
    precision: float
    responses: tuple[float, float, float, float, float]


@dataclass(frozen=True)
class VoicesClip:
    """One clip: its samples and what is known about it."""

    utterance: Utterance
    tiredness: float
    split: str
    speaker: str
    voice: Voice
    delivery: Delivery


def _rows(options: VoicesOptions) -> Iterator[tuple[Sound, dict[str, object]]]:
    for number, clip in enumerate(compose(options)):
        name = f"audio/{clip.speaker}-{number % options.clips_per_speaker:03d}.flac"
        row = {"file_name": name, "label": f"{clip.tiredness:.2f}", "split": clip.split}
        row |= {"group": clip.speaker, "speaker": clip.speaker}
        yield clip.utterance.samples, row | describe(clip.utterance, clip.voice, clip.delivery)


def describe(utterance: Utterance, voice: Voice, delivery: Delivery) -> dict[str, object]:
    """Return the metadata of a clip, without its label, as columns of the manifest."""
    syllables = utterance.syllables
    return {
        "sex": voice.sex,
        "pitch_hz": f"{voice.pitch:.1f}",
        "tract_cm": f"{voice.tract_length:.2f}",
        "syllables": len(syllables),
        "speech_rate": f"{utterance.speech_rate:.3f}",
        "articulation_rate": f"{utterance.articulation_rate:.3f}",
        "pause_share": f"{utterance.pause_share:.3f}",
        "pitch_range": f"{delivery.pitch_range:.2f}",
        "breathiness": f"{delivery.breathiness:.3f}",
        "precision": f"{delivery.precision:.3f}",
        "pause_onsets": join([onset for onset, _ in utterance.pauses]),
        "pause_offsets": join([offset for _, offset in utterance.pauses]),
        "vowel_labels": ";".join(syllable.vowel for syllable in syllables),
        "vowel_onsets": join([syllable.vowel_onset for syllable in syllables]),
        "vowel_offsets": join([syllable.vowel_offset for syllable in syllables]),
        "duration": f"{len(utterance.samples) / RATE:.3f}",
    }


def compose(options: VoicesOptions) -> Iterator[VoicesClip]:
    """The clips, speaker by speaker."""
    for number in range(options.speakers):
        rng = random_numbers(options.seed, "speaker", number)
        voice, habits = draw_voice(rng, "fm"[number % 2]), _draw_habits(rng)
        split = SPLITS[number // 2 % len(SPLITS)]
        spread = rng.permutation(options.clips_per_speaker) + rng.uniform(0, 1, options.clips_per_speaker)
        low, high = TIREDNESS
        for clip, share in enumerate(spread / options.clips_per_speaker):
            tiredness = round(float(low + (high - low) * share), 2)
            clip_rng = random_numbers(options.seed, "clip", number, clip)
            delivery = _tire(habits, (tiredness - 5.0) / 4.0 * options.effect, clip_rng)
            utterance = say(voice, delivery, float(clip_rng.uniform(*options.duration)), clip_rng)
            yield VoicesClip(utterance, tiredness, split, f"speaker-{number:03d}", voice, delivery)


def _draw_habits(rng: Generator) -> _Habits:
    return _Habits(
        rate=float(np.clip(rng.normal(4.6, 0.40), 3.6, 5.6)),
        pause_share=float(rng.uniform(0.13, 0.23)),
        pitch_range=float(4.5 * np.exp(0.30 * rng.standard_normal())),
        breathiness=float(rng.uniform(0.15, 0.55)),
        precision=float(rng.uniform(0.55, 0.85)),
        responses=tuple(rng.uniform(0.4, 1.6, 5)),
    )


def _tire(habits: _Habits, change: float, rng: Generator) -> Delivery:
    """Habits, moved by tiredness (-1 to 1 at an effect of 1) and by the chance of the day."""
    moved = change * np.array(habits.responses)
    day = rng.standard_normal(5)
    return Delivery(
        rate=float(habits.rate * np.exp(-0.12 * moved[0] + 0.08 * day[0])),
        pause_share=float(np.clip(habits.pause_share + 0.065 * moved[1] + 0.045 * day[1], 0.03, 0.5)),
        pitch_range=float(habits.pitch_range * np.exp(-0.30 * moved[2] + 0.25 * day[2])),
        breathiness=float(np.clip(habits.breathiness + 0.07 * moved[3] + 0.08 * day[3], 0.0, 1.0)),
        precision=float(np.clip(habits.precision - 0.09 * moved[4] + 0.08 * day[4], 0.1, 1.0)),
    )
