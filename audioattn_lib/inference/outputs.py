"""Sounds that a command names, and the answers of a model to them as files for people and other programs.

Every file appears whole or not at all. Tables of all sounds are written again while they grow, so what was heard before
a disk was full, or a process was killed, is kept.

Book page: commands.
"""

from __future__ import annotations

import csv
import errno
import io
import json
import math
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from audioattn_lib.attention.record import export, segment_lists
from audioattn_lib.audio.io import EXTENSIONS
from audioattn_lib.core.errors import AudioError, ConfigError
from audioattn_lib.core.files import short_name, write_text
from audioattn_lib.training.run_directory import to_plain

from .listening import Listening

__all__ = [
    "FORMATS",
    "STANDARD_INPUT",
    "FileNames",
    "Outputs",
    "describe",
    "find_sounds",
    "named",
    "read_standard_input",
]

FORMATS = ("page", "csv", "json", "npz", "audacity", "rttm", "embeddings")
STANDARD_INPUT = "-"
_SAVE_SECONDS = 2.0
"""Time after which the tables of all sounds are written again."""


def find_sounds(arguments: Sequence[str]) -> list[str]:
    """Paths of all sounds that a command names: files as they are, folders with all sounds in them, ``-`` once.

    Raises
    ------
    ConfigError
        When a folder holds no sound, or ``-`` is given twice.
    """
    paths: list[str] = []
    for argument in arguments:
        path = Path(argument)
        if argument == STANDARD_INPUT or not path.is_dir():
            paths.append(argument)
            continue
        inside = [
            str(file)
            for file in sorted(path.rglob("*"))
            if file.suffix.lower() in EXTENSIONS and not file.name.startswith(".") and file.is_file()
        ]
        if not inside:
            raise ConfigError(f"{path}: holds no sound ({', '.join(EXTENSIONS)}); give a folder of sounds, or files")
        paths += inside
    if paths.count(STANDARD_INPUT) > 1:
        raise ConfigError("- is given twice; standard input can be read once")
    return list(dict.fromkeys(paths))


def read_standard_input(content: bytes) -> tuple[Any, int]:
    """Samples and rate of a sound file that was piped in; an :class:`AudioError` where it is none."""
    import soundfile

    try:
        samples, rate = soundfile.read(io.BytesIO(content), dtype="float32", always_2d=True)
    except (RuntimeError, TypeError) as error:
        raise AudioError(f"standard input: not a sound file ({error}); pipe WAV, FLAC, Ogg, MP3 or AIFF") from None
    return samples.mean(axis=1), int(rate)


def named(listening: Listening, name: str) -> Listening:
    """Rename the sound of a listening, and the clip of its record."""
    record = listening.record
    if not record.is_empty:
        record = record.named([name], np.array([listening.duration]))
    return replace(listening, source=replace(listening.source, name=name), record=record)


def describe(listening: Listening) -> dict[str, Any]:
    """Convert a listening to plain values for JSON.

    Returns
    -------
    dict
        ``sound``, ``duration`` in seconds, ``label``, ``probabilities`` by class, ``score`` and ``unit``, ``stages``,
        ``attention`` (``strongest``, ``mean`` and ``std`` in seconds, and ``attended``, the intervals with any
        attention), ``events``, and ``timeline`` where there is more than one step. What a model has not is left out.
    """
    prediction, record = listening.prediction, listening.record
    values: dict[str, Any] = {"sound": listening.name, "duration": listening.duration}
    if prediction.probabilities:
        values |= {"label": prediction.label, "probabilities": dict(prediction.probabilities)}
    if prediction.score is not None:
        values |= {"score": prediction.score, "unit": prediction.unit}
    if prediction.stages:
        values["stages"] = [dict(stage) for stage in prediction.stages]
    if not record.is_empty and record.n_frames is not None:
        mean, variance = export.moments(record)
        values["attention"] = {
            "mechanism": record.mechanism,
            "strongest": strongest(listening),
            "mean": mean,
            "std": math.sqrt(max(variance, 0.0)),
            "attended": [[float(start), float(stop)] for start, stop in record.attended()],
        }
    if listening.events:
        values["events"] = [
            {"label": event.label, "start": event.start, "stop": event.stop} for event in listening.events
        ]
    if listening.has_steps:
        values["timeline"] = listening.timeline.to_dict(orient="records")
    plain: dict[str, Any] = to_plain(values)
    return plain


def strongest(listening: Listening) -> float | None:
    """Seconds at which the model attends most; None without attention over time."""
    record = listening.record
    if record.is_empty or record.n_frames is None or not int(record.n_frames[0]):
        return None
    if record.density is not None:
        start, stop = record.span()
        places = np.clip(record.density.location[0], start, stop)
        return float(places[int(np.argmax(record.density.pdf(places)[0]))])
    return float(record.frame_times()[int(np.argmax(record.frame_attention()))])


class FileNames:
    """Names for the files of sounds, none of them twice."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def of(self, sound: str) -> str:
        """A name for the files of a sound that no other has: that of the sound without its ending."""
        stem = "standard_input" if sound == STANDARD_INPUT else Path(sound).stem
        base = short_name(re.sub(r"[^\w.-]+", "_", stem)) or "sound"
        name, number = base, 2
        while name.lower() in self._taken:  # a, and A on disks that take the two for one
            name, number = f"{base}-{number}", number + 1
        self._taken.add(name.lower())
        return name


@dataclass
class Outputs:
    """Files of what a model heard.

    Parameters
    ----------
    folder
        Where they go: ``<sound>.html``, ``.json``, ``.npz`` and ``.txt`` (Audacity) for each sound, and
        ``predictions.csv``, ``timeline.csv`` (of recordings that are longer than a window), ``segments.rttm`` and
        ``embeddings.csv`` for all.
    formats
        Some of :data:`FORMATS`.
    """

    folder: Path
    formats: Sequence[str]
    written: int = 0
    _names: FileNames = field(default_factory=FileNames)
    _predictions: list[dict[str, Any]] = field(default_factory=list)
    _steps: list[dict[str, Any]] = field(default_factory=list)
    _embeddings: list[dict[str, Any]] = field(default_factory=list)
    _segments: list[segment_lists.LabelledSegment] = field(default_factory=list)
    _saved: float = field(default_factory=time.monotonic)

    def add(self, listening: Listening) -> None:
        """Write the files of one sound; the tables when the last time is some seconds ago.

        Raises
        ------
        ConfigError
            When the disk is full or the folder cannot be written; what was written before is named and intact.
        """
        name = self._names.of(listening.name)
        self._collect(listening)
        self._guard(lambda: self._write_one(listening, name))
        self.written += 1
        if time.monotonic() - self._saved > _SAVE_SECONDS:
            self.save()

    def save(self) -> None:
        """Write the tables of all sounds so far."""
        self._guard(self._write_tables)
        self._saved = time.monotonic()

    def _guard(self, write: Callable[[], None]) -> None:
        try:
            write()
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            reason = "the disk is full" if full else f"cannot be written ({error.strerror})"
            raise ConfigError(
                f"{self.folder}: {reason}; the files of {self.written} sounds are written and intact. Free some space, "
                "or name another folder, and give the sounds that are left"
            ) from error

    def _collect(self, listening: Listening) -> None:
        described = describe(listening)
        if "csv" in self.formats:
            self._predictions.append(_row(described))
            if listening.has_steps:
                self._steps += [
                    {"sound": listening.name, **row} for row in listening.timeline.to_dict(orient="records")
                ]
        if "embeddings" in self.formats and listening.embedding is not None:
            values = {f"embedding_{number}": float(value) for number, value in enumerate(listening.embedding)}
            self._embeddings.append({"file_name": listening.name, **values})  # as `audioattn features` reads
        if "rttm" in self.formats:
            self._segments += _segments(listening)

    def _write_one(self, listening: Listening, name: str) -> None:
        if "page" in self.formats:
            listening.save(self.folder / f"{name}.html")
        if "json" in self.formats:
            write_text(
                self.folder / f"{name}.json", json.dumps(describe(listening), indent=1, ensure_ascii=False) + "\n"
            )
        if "npz" in self.formats and not listening.record.is_empty:
            export.save_npz(listening.record, self.folder / f"{name}.npz")
        if "audacity" in self.formats:
            segment_lists.save_segments(_segments(listening), self.folder / f"{name}.txt", "audacity")

    def _write_tables(self) -> None:
        for name, rows in (
            ("predictions.csv", self._predictions),
            ("timeline.csv", self._steps),
            ("embeddings.csv", self._embeddings),
        ):
            if rows:
                write_text(self.folder / name, _table(rows))
        if "rttm" in self.formats and self.written:
            segment_lists.save_segments(self._segments, self.folder / "segments.rttm", "rttm")


def _segments(listening: Listening) -> list[segment_lists.LabelledSegment]:
    """Events of a recording; of a sound that was heard whole, what is attended to, with its predicted classes."""
    if listening.events:
        return list(listening.events)
    if listening.record.is_empty or listening.record.n_frames is None:
        return []
    labels = [label for label in listening.prediction.label.split(";") if label]
    return list(segment_lists.list_segments(listening.record, [labels] if listening.prediction.probabilities else None))


def _row(described: Mapping[str, Any]) -> dict[str, Any]:
    """One row of ``predictions.csv``."""
    attention = described.get("attention", {})
    row = {name: described[name] for name in ("sound", "duration", "label", "score", "unit") if name in described}
    if attention:
        row |= {
            "strongest_s": attention["strongest"],
            "mean_s": attention["mean"],
            "std_s": attention["std"],
            "attended_s": sum(stop - start for start, stop in attention["attended"]),
        }
    return row | {f"probability_{name}": value for name, value in described.get("probabilities", {}).items()}


def _table(rows: Sequence[Mapping[str, Any]]) -> str:
    names = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def hear_all(
    model: Any,
    sounds: Iterable[str],
    standard_input: Callable[[], bytes],
    on_error: Callable[[str, AudioError], None],
    **options: Any,
) -> Iterator[Listening]:
    """Run a model on sounds by path, of which one may be ``-``; those that cannot be used go to ``on_error``."""
    waiting: list[str] = []

    def stream(names: list[str]) -> Iterator[Listening]:
        yield from model.stream(names, on_error=on_error, **options) if names else ()

    for name in sounds:
        if name != STANDARD_INPUT:
            waiting.append(name)
            continue
        yield from stream(waiting)
        waiting = []
        try:
            (listening,) = model.stream([read_standard_input(standard_input())], **options)
            yield named(listening, STANDARD_INPUT)
        except AudioError as error:
            on_error(STANDARD_INPUT, error)
    yield from stream(waiting)
