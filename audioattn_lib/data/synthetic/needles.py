r"""Needles: long clips with short events whose classes require a finer hop.

An event is a tone with two overtones, whose power flutters as
:math:`1 + m\cos(2\pi f t + \varphi)`. Its class is the rate :math:`f` of the
flutter, and nothing else: pitch, length, level, depth and phase are drawn alike
for all classes. The rates are :math:`k/h \pm b` for the coarse hop
:math:`h` of 40 ms and :math:`b` = 6 Hz. Seen every :math:`h` seconds,
:math:`\cos(2\pi(k/h \pm b)nh + \varphi) = \cos(\pm 2\pi b n h + \varphi)`, which is
distributed alike for all of them, since any :math:`\varphi` is as likely: no method that
sees one frame every 40 ms tells the classes apart. Each finer hop answers
another question:

========== ======================= =====================================
hop        apparent rates of       what it tells
           19, 31, 44 and 56 Hz
========== ======================= =====================================
40 ms      6, 6, 6, 6              that something flutters
20 ms      19, 19, 6, 6            19 or 31 against 44 or 56
13.3 ms    19, 31, 31, 19          31 or 44 against 19 or 56
10 ms      19, 31, 44, 44          all but 44 against 56
========== ======================= =====================================

The window has to be short, 10 ms for example: a longer one smooths the fast
rates away. Around the events lie louder sounds that no label names, so the
loudest moment is seldom the one to listen to again.

It is synthetic, and every page that plays it says so. Measured on the default
needles (400 clips of 6 s, 1.4 classes each): events fill 16 % of a clip, and
the middle of the loudest 0.7 s lies in one in 18 % of the clips, about as often
as chance. A logistic regression on the spectrum of the envelope, told where the
246 events of the validation and test splits are, is right in 21, 50 and 50 % at hops
of 40, 20 and 13.3 ms, with chance at 25 % and no more than 50 % to be had. One
on mean and deviation of the log-mel of the whole clip has a mean average
precision of 0.36, and chance 0.34. Clips have an RMS of -38 to -21 dB full scale.

Book page: ``data``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import ClassVar

import numpy as np
from numpy.random import Generator

from audioattn_lib.core.declarations import check_declared
from audioattn_lib.core.errors import ConfigError

from .acoustics import RATE, Sound, a_weighted_level, fade, oscillate, samples
from .backgrounds import BACKGROUNDS, record_background
from .corpus import CorpusOptions, event_columns, generate, random_numbers, require_range, require_whole
from .sounds import DISTRACTORS

__all__ = ["CLASSES", "SPLITS", "NeedlesClip", "NeedlesOptions", "compose", "flutter", "generate"]


CLASSES = {"flutter_19": 19.0, "flutter_31": 31.0, "flutter_44": 44.0, "flutter_56": 56.0}
"""Rate of the flutter of each class in hertz."""
SPLITS = ("train", "train", "train", "valid", "test")
"""Splits of the clips of a class, in turn; a background recording belongs to one of them."""

_RECORDINGS = 4
"""Recordings of each kind of background in a split."""
_BACKGROUND_LEVEL = (-40.0, -34.0)
_PITCH = (900.0, 2400.0)
_OVERTONES = np.array([1.0, 0.6, 0.3])
_RATE_SPREAD = 0.5
_DEPTH = (0.8, 0.95)
_WINDOW = 0.01
_EDGE = 0.05
_PEAK = 0.9


@dataclass(frozen=True)
class NeedlesOptions(CorpusOptions):
    """Options of the needles corpus.

    Parameters
    ----------
    clips_per_class
        Clips made around each class, at least 5; other classes come on top.
    duration
        Seconds of a clip, between 4 and 60.
    events
        Fewest and most events of a clip, within 1 to 6; the first is of the
        class that the clip is made for, the others of any.
    event_duration
        Shortest and longest event in seconds, within 0.3 to 1.
    snr
        Lowest and highest A-weighted level of an event over the background, in dB.
    distractors
        Fewest and most sounds without a label, within 0 to 12.
    distractor_snr
        Their level over the background, in dB.
    seed
        Another seed, other clips.
    """

    corpus: ClassVar[str] = "needles"
    clips_per_class: int = 100
    duration: float = 6.0
    events: tuple[int, int] = (1, 2)
    event_duration: tuple[float, float] = (0.5, 0.8)
    snr: tuple[float, float] = (6.0, 14.0)
    distractors: tuple[int, int] = (2, 4)
    distractor_snr: tuple[float, float] = (8.0, 20.0)
    seed: int = 0

    def __post_init__(self) -> None:
        check_declared(self)
        require_whole(self, clips_per_class=len(SPLITS), seed=0)
        if not 4.0 <= self.duration <= 60.0:
            raise ConfigError(f"duration is {self.duration:g}; it must be between 4 and 60 seconds")
        require_range(self, "event_duration", 0.3, 1.0, "numbers of seconds")
        require_range(self, "snr", -60.0, 60.0, "levels in dB")
        require_range(self, "distractor_snr", -60.0, 60.0, "levels in dB")
        for name, lowest, highest in (("events", 1, 6), ("distractors", 0, 12)):
            require_range(self, name, lowest, highest, "whole numbers")
            bounds = getattr(self, name)
            if any(bound != round(bound) for bound in bounds):
                raise ConfigError(f"{name} is {bounds!r}; it must be two whole numbers")
            object.__setattr__(self, name, (round(bounds[0]), round(bounds[1])))

    def n_clips(self) -> int:
        """Number of clips, for the progress bar."""
        return self.clips_per_class * len(CLASSES)

    def rows(self) -> Iterator[tuple[Sound, dict[str, object]]]:
        """Samples of every clip, and its row of the manifest."""
        return ((clip.samples, _row(number, clip, self)) for number, clip in enumerate(compose(self)))


@dataclass(frozen=True)
class NeedlesClip:
    """One clip: its samples and what is known about it. Events are ``(name, onset, offset)`` in seconds."""

    samples: Sound
    split: str
    background: str
    snr: float
    events: tuple[tuple[str, float, float], ...]
    distractors: tuple[tuple[str, float, float], ...]

    @property
    def label(self) -> str:
        """Classes of the events, each once, joined as the manifest has it."""
        return ";".join(sorted({event[0] for event in self.events}))


def _row(number: int, clip: NeedlesClip, options: NeedlesOptions) -> dict[str, object]:
    row: dict[str, object] = {
        "file_name": f"audio/needles-{number:04d}.flac",
        "label": clip.label,
        "split": clip.split,
        "group": clip.background,
    }
    row |= event_columns("event", clip.events) | event_columns("distractor", clip.distractors)
    row["snr_db"] = f"{clip.snr:.1f}"
    row["duration"] = f"{options.duration:.3f}"
    return row


def compose(options: NeedlesOptions) -> Iterator[NeedlesClip]:
    """The clips, class by class."""

    @cache
    def background(kind: str, split: str, recording: int) -> Sound:
        rng = random_numbers(options.seed, "background", kind, split, recording)
        return record_background(kind, rng, 2.0 * options.duration)

    for label in CLASSES:
        for number in range(options.clips_per_class):
            yield _clip(options, label, number, background)


def flutter(rate: float, rng: Generator, seconds: float) -> Sound:
    r"""One event: a tone with two overtones whose power flutters at ``rate`` hertz, RMS about 1.

    The depth :math:`m` makes up for what a Hann window of 10 ms smooths away,
    so that also the depth, as such a window sees it, is alike for all rates.
    """
    n = samples(seconds)
    carrier = oscillate(rng.uniform(*_PITCH), _OVERTONES, n, rng.uniform()) / np.sqrt(np.sum(_OVERTONES**2) / 2)
    rate = rate + float(rng.uniform(-_RATE_SPREAD, _RATE_SPREAD))
    depth = float(rng.uniform(*_DEPTH)) * _seen(max(CLASSES.values())) / _seen(rate)
    time = np.arange(n) / RATE
    power = 1.0 + depth * np.cos(2.0 * np.pi * (rate * time + rng.uniform()))
    return fade(carrier * np.sqrt(power), 0.02, 0.02)


def _seen(rate: float) -> float:
    """Compute the modulation depth that remains after a Hann window of 10 ms."""
    time = (np.arange(samples(_WINDOW)) + 0.5) / RATE - _WINDOW / 2
    weight = np.cos(np.pi * time / _WINDOW) ** 4  # the square of the window: power is what flutters
    return float((weight * np.cos(2.0 * np.pi * rate * time)).sum() / weight.sum())


def _clip(
    options: NeedlesOptions, label: str, number: int, background: Callable[[str, str, int], Sound]
) -> NeedlesClip:
    rng = random_numbers(options.seed, "clip", label, number)
    split = SPLITS[number % len(SPLITS)]
    kind, recording = str(rng.choice(list(BACKGROUNDS))), int(rng.integers(_RECORDINGS))
    whole = background(kind, split, recording)
    n = samples(options.duration)
    first = int(rng.integers(len(whole) - n))
    mix = whole[first : first + n].copy()
    mix *= 10.0 ** ((rng.uniform(*_BACKGROUND_LEVEL) - a_weighted_level(mix)) / 20.0)
    floor = a_weighted_level(mix)
    snr = float(rng.uniform(*options.snr))

    names = [label, *rng.choice(list(CLASSES), rng.integers(options.events[0], options.events[1] + 1) - 1)]
    events: list[tuple[str, float, float]] = []
    for name in names:
        sound = flutter(CLASSES[str(name)], rng, rng.uniform(*options.event_duration))
        if (placed := _place(mix, sound, floor + snr, rng, events)) is not None:
            events.append((str(name), *placed))
    others: list[tuple[str, float, float]] = []
    for _ in range(rng.integers(options.distractors[0], options.distractors[1] + 1)):
        name = str(rng.choice(list(DISTRACTORS)))
        level = floor + float(rng.uniform(*options.distractor_snr))
        if (placed := _place(mix, DISTRACTORS[name](rng), level, rng, [*events, *others])) is not None:
            others.append((name, *placed))
    peak = float(np.abs(mix).max())
    if peak > _PEAK:
        mix *= _PEAK / peak

    def in_order(items: Sequence[tuple[str, float, float]]) -> tuple[tuple[str, float, float], ...]:
        return tuple(sorted(items, key=lambda event: event[1]))

    return NeedlesClip(mix, split, f"{kind}-{split}-{recording}", snr, in_order(events), in_order(others))


def _place(
    mix: Sound, sound: Sound, level: float, rng: Generator, occupied: Sequence[tuple[str, float, float]]
) -> tuple[float, float] | None:
    """Add a sound to the clip where it meets none of ``taken``: its onset and offset, None without room."""
    last = len(mix) - len(sound) - samples(_EDGE)
    for _ in range(50):
        first = int(rng.integers(samples(_EDGE), last))
        onset, offset = first / RATE, (first + len(sound)) / RATE
        if all(offset + 0.1 < other[1] or onset > other[2] + 0.1 for other in occupied):
            mix[first : first + len(sound)] += sound * 10.0 ** ((level - a_weighted_level(sound)) / 20.0)
            return onset, offset
    return None
