r"""Mixtures: recorded events at known times over recorded or made backgrounds, in clips of any length.

The bed of a clip is one recording of a background: a stretch of it, or its
pieces in random order, cross-faded, where it is too short. An event is the
loudest stretch of one recording, of a length that is drawn evenly in octaves.
It begins at a whole sample, and its level is

.. math:: \mathrm{SNR} = 10 \log_{10} \frac{\frac{1}{n}\sum e_i^2}{\frac{1}{N}\sum b_i^2}

with the :math:`n` samples of the event :math:`e` and all :math:`N` samples of the bed :math:`b`.

Recordings are divided into folds, so events and backgrounds of two folds share no recording. Everything about a clip
follows from the options but ``clips``, and from its number: more clips leave the first ones as they are, and another
``duration`` leaves the division as it is.

Salamon et al., *Scaper: a library for soundscape synthesis and augmentation*, WASPAA 2017, is the model of it.

Book page: ``data``.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.random import Generator

from audioattn_lib.core.declarations import check_declared
from audioattn_lib.core.errors import ConfigError, ManifestError

from ..manifest import Manifest
from .acoustics import RATE, Sound, fade, samples
from .backgrounds import BACKGROUNDS, record_background
from .corpus import CorpusOptions, make_once, random_numbers, require_range, require_whole, write_clips, write_rows
from .recordings import Recordings, divide_recordings, join_stretches, loudest_stretch

__all__ = ["MADE", "MixedClip", "Mixer", "MixtureEvent", "MixturesOptions", "generate"]

MADE = "made"
"""Backgrounds that are computed: traffic, wind, rain and a crowd."""
_MADE_RECORDINGS = 3
"""Recordings of each kind of made background in a fold."""
_BED_LEVEL = (-38.0, -30.0)
_EVENT_FADE = 0.01
_PEAK = 0.9
_LICENCES = ("LICENSE*", "LICENCE*", "README*")


@dataclass(frozen=True)
class MixturesOptions(CorpusOptions):
    """Options of mixtures.

    Parameters
    ----------
    events
        Corpus with the recordings of the events, needed: a name or a path.
    backgrounds
        Corpus with the recordings of the backgrounds; made: traffic, wind, rain and a crowd, which are computed.
    classes
        Classes of the events; empty: all that are no background.
    background_classes
        Classes of the backgrounds; empty: all.
    clips
        Clips over all folds, at least one of each class per fold.
    duration
        Seconds of a clip, between 1 and 300.
    events_per_clip
        Fewest and most events of a clip, within 0 to 100; with ``one_class`` at least 1.
    event_duration
        Shortest and longest event in seconds, within 0.05 to 60; no event is longer than its recording.
    snr
        Lowest and highest level of an event over the background, in dB, within -60 to 60.
    overlap
        Whether events of a clip may overlap.
    one_class
        Whether all events of a clip are of one class; otherwise each is of any, and the clip has several labels.
    n_folds
        Folds, between 2 and 100; no recording is in two.
    seed
        Another seed, other clips.
    """

    corpus: ClassVar[str] = "mixtures"
    events: str = ""
    backgrounds: str = MADE
    classes: tuple[str, ...] = ()
    background_classes: tuple[str, ...] = ()
    clips: int = 500
    duration: float = 10.0
    events_per_clip: tuple[int, int] = (1, 1)
    event_duration: tuple[float, float] = (0.25, 4.0)
    snr: tuple[float, float] = (0.0, 15.0)
    overlap: bool = False
    one_class: bool = True
    n_folds: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("classes", "background_classes"):
            if isinstance(value := getattr(self, name), str):  # as a command line gives them
                object.__setattr__(self, name, tuple(text.strip() for text in value.split(",") if text.strip()))
        check_declared(self)
        if not self.events:
            raise ConfigError(
                "events is empty; name the corpus whose recordings are the events: "
                "mixtures?events=path/to/sounds&backgrounds=path/to/others"
            )
        require_whole(self, clips=1, n_folds=2, seed=0)
        if self.n_folds > 100:
            raise ConfigError(f"n_folds is {self.n_folds}; it must be between 2 and 100")
        if not 1.0 <= self.duration <= 300.0:
            raise ConfigError(f"duration is {self.duration:g}; it must be between 1 and 300 seconds")
        require_range(self, "event_duration", 0.05, 60.0, "numbers of seconds")
        require_range(self, "snr", -60.0, 60.0, "levels in dB")
        require_range(self, "events_per_clip", 0, 100, "whole numbers")
        counts = self.events_per_clip
        if any(count != round(count) for count in counts):
            raise ConfigError(f"events_per_clip is {counts!r}; it must be two whole numbers")
        object.__setattr__(self, "events_per_clip", (round(counts[0]), round(counts[1])))
        if self.one_class and self.events_per_clip[0] < 1:
            raise ConfigError(
                f"events_per_clip is {self.events_per_clip}; a clip without events has no class: begin with 1, or set "
                "one_class=False"
            )
        needed = self.event_duration[1] * (1 if self.overlap else self.events_per_clip[1])
        if needed > self.duration:
            cure = "" if self.overlap else ", or let them overlap (overlap=True)"
            raise ConfigError(
                f"{self.events_per_clip[1]} events of up to {self.event_duration[1]:g} s do not fit into clips of "
                f"{self.duration:g} s; take longer clips (duration), fewer (events_per_clip) or shorter ones "
                f"(event_duration){cure}"
            )

    def n_clips(self) -> int:
        """Number of clips, for the progress bar."""
        return self.clips


@dataclass(frozen=True)
class MixtureEvent:
    """One event of a clip.

    Parameters
    ----------
    label
        Its class.
    first, length
        First sample and number of samples in the clip.
    snr
        Level over the bed in dB.
    row, source_first
        Row of its recording in the corpus of events, and first sample in it, at the rate of the mixtures.
    """

    label: str
    first: int
    length: int
    snr: float
    row: int
    source_first: int


@dataclass(frozen=True)
class MixedClip:
    """One clip: its samples, their parts, and what is known about it.

    Parameters
    ----------
    samples
        The clip, shape ``(n,)``: bed and events.
    bed
        The bed alone.
    fold
        Number of the fold.
    background, background_group
        Class and recording of the bed.
    background_rows
        Rows of its recordings; none where it is made.
    events
        In order of their onsets.
    """

    samples: Sound
    bed: Sound
    fold: int
    background: str
    background_group: str
    background_rows: tuple[int, ...]
    events: tuple[MixtureEvent, ...]

    @property
    def label(self) -> str:
        """Classes of the events, each once, joined as the manifest has it; ``none`` without events."""
        return ";".join(sorted({event.label for event in self.events})) or "none"

    @property
    def fraction(self) -> float:
        """Share of the clip in which an event sounds."""
        sounding = np.zeros(len(self.samples), dtype=bool)
        for event in self.events:
            sounding[event.first : event.first + event.length] = True
        return float(sounding.mean())


class Mixer:
    """Makes mixtures of two corpora, each by its number.

    Parameters
    ----------
    options
        Of the mixtures.
    events, backgrounds
        The two corpora; None: backgrounds are made.

    Raises
    ------
    ManifestError
        As :class:`.Recordings` and :func:`.divide_recordings` say; or when no class of events is left.
    """

    def __init__(self, options: MixturesOptions, events: Manifest, backgrounds: Manifest | None) -> None:
        self.options = options
        shared = backgrounds is not None and backgrounds.root.resolve() == events.root.resolve()
        beds = options.background_classes or (
            () if backgrounds is None else tuple(sorted(set(backgrounds.table["label"])))
        )
        classes = options.classes
        if not classes:
            classes = tuple(name for name in events.classes if not (shared and name in options.background_classes))
        both = sorted(set(classes) & set(beds)) if shared else []
        if both:
            raise ConfigError(
                f"{', '.join(both)}: of the events and of the backgrounds; name other ones with classes and "
                "background_classes"
            )
        if not classes:
            raise ManifestError(f"{events.name}: no class is left for the events; it has {', '.join(events.classes)}")
        self.events = Recordings(events, classes, "classes")
        self.backgrounds = None if backgrounds is None else Recordings(backgrounds, beds, "background_classes")
        self.classes = list(self.events.groups)
        if options.clips < options.n_folds * len(self.classes):
            raise ConfigError(
                f"clips is {options.clips}; {len(self.classes)} classes in {options.n_folds} folds need at least "
                f"{options.n_folds * len(self.classes)}"
            )
        self._prefix = prefix = "" if shared else "background "  # two corpora may call different recordings alike
        recorded = {} if self.backgrounds is None else self.backgrounds.groups
        self._beds = {label: [prefix + group for group in groups] for label, groups in recorded.items()}
        divided = self.events.groups | {prefix + label: groups for label, groups in self._beds.items()}
        self._fold_of = divide_recordings(divided, options.n_folds, options.seed)
        self._made = lru_cache(4)(self._make_background)

    def __len__(self) -> int:
        return self.options.clips

    def __getitem__(self, number: int) -> MixedClip:
        """Make the clip of a number, from 0."""
        if not 0 <= number < len(self):
            raise IndexError(f"clip {number} of {len(self)} mixtures")
        options = self.options
        rng = random_numbers(options.seed, "mixture", number)
        label = self.classes[number % len(self.classes)]
        fold = number // len(self.classes) % options.n_folds + 1
        bed, background, group, rows = self._bed(fold, rng)
        events, sounds = self._draw_events(label, fold, rng)
        power = float(np.mean(bed**2))
        bed *= 10.0 ** (float(rng.uniform(*_BED_LEVEL)) / 20.0) / np.sqrt(power)
        mix, floor = bed.copy(), float(np.mean(bed**2))
        for event, sound in zip(events, sounds, strict=True):
            gain = np.sqrt(floor * 10.0 ** (event.snr / 10.0) / np.mean(sound**2))
            mix[event.first : event.first + event.length] += gain * sound
        scale = min(1.0, _PEAK / float(np.abs(mix).max()))
        in_order = tuple(sorted(events, key=lambda event: (event.first, event.length)))
        return MixedClip(scale * mix, scale * bed, fold, background, group, rows, in_order)

    def rows(self) -> Iterator[tuple[Sound, dict[str, object]]]:
        """Samples of every clip, and its row of the manifest."""
        for number in range(len(self)):
            mixture = self[number]
            yield mixture.samples, self.row(number, mixture)

    def row(self, number: int, mixture: MixedClip) -> dict[str, object]:
        """Row of the manifest of a clip: what sounds when, from which recordings, under which licences."""
        events = mixture.events
        sources = [event.row for event in events]
        named = [] if self.backgrounds is None else [self.backgrounds.name(row) for row in mixture.background_rows]
        licences = {self.events.licence(row) for row in sources}
        if self.backgrounds is not None:
            licences |= {self.backgrounds.licence(row) for row in mixture.background_rows}
        return {
            "file_name": f"audio/mixture-{number:06d}.flac",
            "label": mixture.label,
            "fold": mixture.fold,
            "group": self.events.group(sources[0]) if sources else mixture.background_group,
            "event_labels": ";".join(event.label for event in events),
            "event_onsets": _seconds([event.first for event in events]),
            "event_offsets": _seconds([event.first + event.length for event in events]),
            "event_snr_db": ";".join(f"{event.snr:.2f}" for event in events),
            "event_sources": ";".join(map(self.events.name, sources)),
            "event_groups": ";".join(map(self.events.group, sources)),
            "event_source_onsets": _seconds([event.source_first for event in events]),
            "events_fraction": f"{mixture.fraction:.4f}",
            "background": mixture.background,
            "background_sources": ";".join(dict.fromkeys(named)) or MADE,
            "background_group": mixture.background_group,
            "duration": f"{self.options.duration:.3f}",
            "license": "; ".join(sorted(filter(None, licences))) or "as its sources: see sources.csv",
        }

    def sources(self) -> list[dict[str, object]]:
        """Table of all recordings that clips may hold: corpus, file, recording, class, fold, licence."""
        listed: list[dict[str, object]] = []
        for recordings, prefix in ((self.events, ""), (self.backgrounds, self._prefix)):
            if recordings is None:
                continue
            for label, groups in recordings.groups.items():
                for group in groups:
                    listed += [
                        {
                            "corpus": recordings.manifest.name,
                            "used_as": "event" if recordings is self.events else "background",
                            "file_name": recordings.name(row),
                            "group": group,
                            "label": label,
                            "fold": self._fold_of[prefix + group],
                            "license": recordings.licence(row) or "not stated in its table",
                        }
                        for row in recordings.of(label, group)
                    ]
        return listed

    def _bed(self, fold: int, rng: Generator) -> tuple[Sound, str, str, tuple[int, ...]]:
        """A bed, its class, its recording and the rows of that."""
        length = samples(self.options.duration)
        if self.backgrounds is None:
            kind, recording = str(rng.choice(list(BACKGROUNDS))), int(rng.integers(_MADE_RECORDINGS))
            whole = self._made(kind, fold, recording)
            first = int(rng.integers(len(whole) - length + 1))
            return whole[first : first + length].copy(), kind, f"{kind}-{fold}-{recording}", ()
        label = str(rng.choice(list(self._beds)))
        groups = [name for name in self._beds[label] if self._fold_of[name] == fold]
        group = str(rng.choice(groups)).removeprefix(self._prefix)
        rows = self.backgrounds.of(label, group)
        bed = join_stretches([self.backgrounds.samples(row) for row in rows], length, rng)
        if not np.any(bed):
            raise ManifestError(f"{self.backgrounds.manifest.where(rows[0])}: a stretch of this bed is silent")
        return bed, label, group, tuple(rows)

    def _make_background(self, kind: str, fold: int, recording: int) -> Sound:
        rng = random_numbers(self.options.seed, "background", kind, fold, recording)
        return record_background(kind, rng, 1.5 * self.options.duration)

    def _draw_events(self, label: str, fold: int, rng: Generator) -> tuple[list[MixtureEvent], list[Sound]]:
        """Draw the events of a clip, their places, and their samples with faded ends."""
        options = self.options
        count = int(rng.integers(options.events_per_clip[0], options.events_per_clip[1] + 1))
        events, sounds = [], []
        for _ in range(count):
            name = label if options.one_class else str(rng.choice(self.classes))
            groups = [group for group in self.events.groups[name] if self._fold_of[group] == fold]
            row = int(rng.choice(self.events.of(name, str(rng.choice(groups)))))
            whole = self.events.samples(row)
            shortest, longest = options.event_duration
            length = min(samples(float(np.exp(rng.uniform(np.log(shortest), np.log(longest))))), len(whole))
            first = loudest_stretch(whole, length)
            sound = fade(whole[first : first + length], _EVENT_FADE, _EVENT_FADE)
            if not np.any(sound):
                raise ManifestError(f"{self.events.manifest.where(row)}: a stretch of this event is silent")
            events.append(MixtureEvent(name, 0, length, float(rng.uniform(*options.snr)), row, first))
            sounds.append(sound)
        lengths = [event.length for event in events]
        places = _places(lengths, samples(options.duration), rng, overlap=options.overlap)
        return [replace(event, first=first) for event, first in zip(events, places, strict=True)], sounds


def generate(
    options: MixturesOptions,
    events: Manifest,
    backgrounds: Manifest | None,
    cache: str | Path | None = None,
    *,
    progress: bool = True,
) -> Path:
    """Make mixtures, or find them where they were made before.

    Parameters
    ----------
    options
        Of the mixtures.
    events, backgrounds
        The two corpora; None: backgrounds are made.
    cache
        Where corpora are kept; the cache of the library by default.
    progress
        Show a bar where a person watches.

    Returns
    -------
    Path
        Folder with ``metadata.csv``, ``audio/``, ``sources.csv`` with the recordings and their licences, and
        ``sources/`` with the files README and LICENSE of both corpora. It appears whole or not at all. Other recordings
        under the same names give another folder.

    Raises
    ------
    ManifestError
        When the corpora cannot be used.
    StoreError
        When the disk is full or the cache cannot be written.

    Notes
    -----
    Book page: ``data``.
    """
    mixer = Mixer(options, events, backgrounds)

    def write(folder: Path) -> None:
        write_clips(folder, options.corpus, len(mixer), mixer.rows(), progress=progress)
        write_rows(folder / "sources.csv", mixer.sources())
        for manifest in (events, backgrounds):
            if manifest is not None:
                _copy_licences(manifest, folder / "sources" / manifest.name)

    contents = tuple("" if manifest is None else manifest.content_hash() for manifest in (events, backgrounds))
    identity = _Identity(replace(options, events=MADE, backgrounds=MADE), contents)
    return make_once(options.corpus, identity, __name__, cache, write)


@dataclass(frozen=True)
class _Identity:
    """Identity of mixtures: options, and the content of both corpora in the place of their names."""

    options: MixturesOptions
    contents: tuple[str, ...]


def _places(lengths: list[int], total: int, rng: Generator, *, overlap: bool) -> list[int]:
    """First sample of each event: anywhere; or in random order, with free time divided at random, so that all fit."""
    if overlap:
        return [int(rng.integers(total - length + 1)) for length in lengths]
    order = rng.permutation(len(lengths))
    gaps = np.sort(rng.integers(0, total - sum(lengths) + 1, len(lengths)))  # free samples before each event
    places, used = [0] * len(lengths), 0
    for gap, index in zip(gaps, order, strict=True):
        places[int(index)] = int(gap) + used
        used += lengths[int(index)]
    return places


def _seconds(places: list[int]) -> str:
    """Samples as seconds, with digits enough to find the sample again."""
    return ";".join(f"{place / RATE:.6f}" for place in places)


def _copy_licences(manifest: Manifest, folder: Path) -> None:
    """Copy what the folder of a corpus says about its licence."""
    for pattern in _LICENCES:
        for file in sorted(manifest.root.glob(pattern)):
            if file.is_file():
                folder.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, folder / file.name)
