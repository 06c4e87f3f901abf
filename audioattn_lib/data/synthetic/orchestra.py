"""A synthetic orchestra: phrases of six families of instruments, recorded by devices that colour them.

A clip is a short phrase on one instrument, recorded by one device. Training
hears some instruments through device ``a`` (a good recorder, 60 % of clips), ``b``
and ``c``; tests ask about other phrases on the same instruments and devices
(``test_seen``), devices never heard (``test_unseen_device``, ``d`` to ``f``) and
instruments never heard (``test_unseen_instrument``). The same options give the
same samples.

It is synthetic, and every page that plays it says so.

Book page: ``data``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from audioattn_lib.core.declarations import check_declared
from audioattn_lib.core.errors import ConfigError

from .acoustics import Sound, samples
from .corpus import CorpusOptions, generate, join, random_numbers, require_whole
from .instruments import FAMILIES, Device

__all__ = [
    "SEEN_DEVICES",
    "UNSEEN_DEVICES",
    "OrchestraOptions",
    "Phrase",
    "compose",
    "devices",
    "generate",
    "through_devices",
]


SEEN_DEVICES = ("a", "b", "c")
"""Devices of the training clips."""
UNSEEN_DEVICES = ("d", "e", "f")
"""Devices of test clips only."""

_SHARES = (0.6, 0.2, 0.2)
"""Shares of the seen devices: most recordings come from a good one, as in TAU Urban Acoustic Scenes 2020 Mobile."""
_SPLITS = (("train", 1.0), ("valid", 0.25), ("test_seen", 0.4), ("test_unseen_device", 0.4))
_UNSEEN_INSTRUMENT = "test_unseen_instrument"
_PITCHES = (110.0, 880.0)
_LEVEL = (-30.0, -18.0)
_PEAK = 0.9


@dataclass(frozen=True)
class OrchestraOptions(CorpusOptions):
    """Options of the orchestra corpus.

    Parameters
    ----------
    clips_per_class
        Training clips of each family, at least 4; every test has 0.4 times as
        many, validation a quarter.
    instruments
        Instruments of each family that are heard in training, at least 1.
    unseen_instruments
        Instruments of each family that only ``test_unseen_instrument`` has, at least 1.
    duration
        Seconds of a clip, between 0.5 and 10.
    coloration
        Deviation of the response of devices ``b`` to ``f`` in dB, from 0 to 20; at 0 only
        band and noise differ.
    seed
        Another seed, another orchestra.
    """

    corpus: ClassVar[str] = "orchestra"
    clips_per_class: int = 60
    instruments: int = 4
    unseen_instruments: int = 3
    duration: float = 1.0
    coloration: float = 8.0
    seed: int = 0

    def __post_init__(self) -> None:
        check_declared(self)
        require_whole(self, clips_per_class=4, instruments=1, unseen_instruments=1, seed=0)
        for name, low, high, unit in (("duration", 0.5, 10.0, "seconds"), ("coloration", 0.0, 20.0, "dB")):
            value = getattr(self, name)
            if not low <= value <= high:
                raise ConfigError(f"{name} is {value:g}; it must be a number from {low:g} to {high:g} {unit}")

    def n_clips(self) -> int:
        """Number of clips, for the progress bar."""
        return int(len(FAMILIES) * self.clips_per_class * 2.45)  # about; each split is rounded for itself

    def rows(self) -> Iterator[tuple[Sound, dict[str, object]]]:
        """Samples of every clip, and its row of the manifest."""
        return ((phrase.samples, _row(number, phrase, self)) for number, phrase in enumerate(compose(self)))


@dataclass(frozen=True)
class Phrase:
    """One clip: its samples and what is known about it; notes are ``(hertz, onset)`` with seconds."""

    samples: Sound
    label: str
    split: str
    instrument: str
    device: str
    notes: tuple[tuple[float, float], ...]


def devices(options: OrchestraOptions) -> dict[str, Device]:
    """The devices of an orchestra by name; ``a`` is a good one."""
    by_name = {"a": Device.flat()}
    for name in (*SEEN_DEVICES, *UNSEEN_DEVICES):
        by_name.setdefault(name, Device.draw(random_numbers(options.seed, "device", name), options.coloration))
    return by_name


def compose(options: OrchestraOptions) -> Iterator[Phrase]:
    """The clips of an orchestra, family by family and split by split."""
    machines = devices(options)
    for label in FAMILIES:
        for split, share in _SPLITS:
            for number in range(max(1, round(share * options.clips_per_class))):
                instrument = f"{label}-{number % options.instruments + 1}"
                yield _phrase(options, machines, label, split, number, instrument)
        for number in range(max(1, round(0.4 * options.clips_per_class))):
            which = options.instruments + number % options.unseen_instruments + 1
            yield _phrase(options, machines, label, _UNSEEN_INSTRUMENT, number, f"{label}-{which}")


def through_devices(options: OrchestraOptions, label: str, number: int = 0) -> dict[str, Phrase]:
    """One phrase as each device records it, by the name of the device: the same notes, another colour.

    Parameters
    ----------
    options
        Of the orchestra.
    label
        A family of instruments.
    number
        Which of its phrases of ``test_seen``, from 0.
    """
    instrument = f"{label}-{number % options.instruments + 1}"
    return {
        name: replace(
            _phrase(options, dict.fromkeys(devices(options), device), label, "test_seen", number, instrument),
            device=name,
        )
        for name, device in devices(options).items()
    }


def _phrase(
    options: OrchestraOptions, machines: dict[str, Device], label: str, split: str, number: int, instrument: str
) -> Phrase:
    rng = random_numbers(options.seed, "phrase", label, split, number)
    play = FAMILIES[label].draw(random_numbers(options.seed, "instrument", instrument))
    if split == "test_unseen_device":
        device = UNSEEN_DEVICES[number % len(UNSEEN_DEVICES)]
    else:
        device = str(rng.choice(SEEN_DEVICES, p=_SHARES))
    mix = np.zeros(samples(options.duration))
    notes = []
    onset = float(rng.uniform(0.02, 0.1))
    pitch = float(np.exp(rng.uniform(*np.log(_PITCHES))))
    while onset < options.duration - 0.15:
        seconds = float(min(rng.uniform(0.25, 0.6), options.duration - onset))
        first = samples(onset)
        sound = play(rng, pitch, seconds)[: len(mix) - first]
        mix[first : first + len(sound)] += sound / max(float(np.abs(sound).max()), 1e-9) * rng.uniform(0.5, 1.0)
        notes.append((pitch, onset))
        onset += seconds + float(rng.uniform(0.0, 0.05))
        pitch = float(np.clip(pitch * 2.0 ** (rng.integers(-7, 8) / 12), *_PITCHES))
    mix *= 10.0 ** (rng.uniform(*_LEVEL) / 20.0) / np.sqrt(np.mean(mix**2))
    recorded = machines[device].record(mix, rng)
    recorded *= min(1.0, _PEAK / float(np.abs(recorded).max()))
    return Phrase(recorded, label, split, instrument, device, tuple(notes))


def _row(number: int, phrase: Phrase, options: OrchestraOptions) -> dict[str, object]:
    return {
        "file_name": f"audio/{phrase.label}-{number:04d}.flac",
        "label": phrase.label,
        "split": phrase.split,
        "domain": phrase.device,
        "instrument": phrase.instrument,
        "note_pitches": ";".join(f"{pitch:.1f}" for pitch, _ in phrase.notes),
        "note_onsets": join([onset for _, onset in phrase.notes]),
        "duration": f"{options.duration:.3f}",
    }
