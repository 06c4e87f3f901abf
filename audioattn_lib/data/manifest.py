"""The manifest: every corpus as one table with a row per clip.

===================================== =====================================================
column                                holds
===================================== =====================================================
``file_name``                         path relative to the table (the AudioFolder convention)
``label``                             class, several classes ``a;b``, a number, or ``?``: unknown
``fold`` or ``split``                 which clips are trained and tested together
``group``                             speaker, recording or source: must not cross splits
``domain``                            device or source
``start``, ``stop``                   part of the file that is the clip, in seconds
``event_labels``, ``event_onsets``,   what sounds when: lists joined by ``;``, seconds from
``event_offsets``                     the beginning of the clip
===================================== =====================================================

The first two are needed, the rest is optional, other columns are kept. All
values are text, as they stand in the file; methods give numbers.

Book page: ``data``.
"""

from __future__ import annotations

import csv
import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..audio import io
from ..core.errors import ManifestError
from .inspection import Inspection, inspect_files, remembered_durations

__all__ = ["Event", "Manifest"]

REQUIRED = ("file_name", "label")
EVENT_COLUMNS = ("event_labels", "event_onsets", "event_offsets")
SEPARATOR = ";"
NO_LABEL = ("", "none")
"""Label of a clip without classes in a table with several classes a clip."""

UNKNOWN = "?"
"""Label of a clip that can be predicted and not be scored."""

_MOST_DIGITS = 18

_SOURCE_COLUMNS = ("source_clip",)
"""Columns that serve as ``group`` when there is none, so that a split does not divide a recording."""


class Event(NamedTuple):
    """A sound in a clip: its class, and where it begins and ends in seconds from the beginning of the clip."""

    label: str
    onset: float
    offset: float


@dataclass(frozen=True, eq=False)
class Manifest:
    """A corpus: a table of clips and the folder that their paths start from.

    Parameters
    ----------
    root
        Folder that ``file_name`` is relative to.
    table
        A row per clip, all values text; see the module.
    name
        What the corpus is called in results.
    source
        File the table came from, for messages.
    lines
        Line of ``source`` that each row stands on; counted from 2 when empty.
    numeric
        Labels are numbers even if all of them are whole; by default they are looked at, see :attr:`kind`.
    accept_truncated
        Take what is there of files that were cut off; by default they are errors.

    Raises
    ------
    ManifestError
        When a needed column is missing or there is no row.

    Notes
    -----
    Book page: ``data``.
    """

    root: Path
    table: pd.DataFrame
    name: str
    source: Path | None = None
    lines: tuple[int, ...] = field(default=(), repr=False)
    numeric: bool = False
    accept_truncated: bool = False

    def __post_init__(self) -> None:
        table = self.table.reset_index(drop=True).fillna("").astype(str)
        object.__setattr__(self, "root", Path(self.root))
        object.__setattr__(self, "table", table)
        missing = [column for column in REQUIRED if column not in table]
        if missing:
            raise ManifestError(
                f"{self._file}: no column {' and no column '.join(missing)}; it has {', '.join(table.columns)}. "
                "Needed are file_name (path of the sound, relative to the table) and label"
            )
        if not len(table):
            raise ManifestError(f"{self._file}: the table has no rows; add one for each clip")
        if not self.lines:
            object.__setattr__(self, "lines", tuple(range(2, len(table) + 2)))
        if len(self.lines) != len(table):
            raise ValueError(f"{len(self.lines)} line numbers for {len(table)} rows")

    @classmethod
    def read(
        cls, path: str | Path, *, name: str | None = None, group: str | None = None, label: str | None = None
    ) -> Manifest:
        """Read a corpus from a folder with ``metadata.csv``, or from the path of a table.

        Parameters
        ----------
        path
            Folder or CSV file (UTF-8, comma-separated, one line of column names).
        name
            What the corpus is called; the folder's name by default.
        group
            Column to take as ``group``, for example ``"speaker"``. By default
            ``group`` itself, or ``source_clip`` where there is one.
        label
            Column to take as ``label``, for example ``"age"``; ``label`` itself by default.

        Raises
        ------
        ManifestError
            When there is no table or it cannot be parsed; the message names the line.

        Notes
        -----
        Book page: ``data``.
        """
        path = Path(path)
        source = path / "metadata.csv" if path.is_dir() else path
        table, lines = read_table(source)
        if label is not None:
            if label not in table:
                raise ManifestError(f"{source}: no column {label!r} to take as label; it has {', '.join(table)}")
            table = table.assign(label=table[label])
        manifest = cls(source.parent, table, name or source.parent.resolve().name, source, lines)
        return manifest.with_group(group)

    def with_group(self, column: str | None = None) -> Manifest:
        """The same corpus with the values of ``column`` as its groups; None takes the usual column."""
        if column is None:
            usual = [name for name in _SOURCE_COLUMNS if name in self.table]
            if "group" in self.table or not usual:
                return self
            column = usual[0]
        if column not in self.table:
            raise ManifestError(f"{self._file}: no column {column!r} to group by; it has {', '.join(self.table)}")
        return replace(self, table=self.table.assign(group=self.table[column]))

    def with_column(self, name: str, column: str) -> Manifest:
        """The same corpus with the values of ``column`` as its ``fold`` or ``split``, and without the other of them."""
        if column not in self.table:
            raise ManifestError(
                f"{self._file}: {name} is {column!r}, which is no column; it has {', '.join(self.table)}"
            )
        values = self.table[column]
        others = [other for other in ("fold", "split") if other in self.table and other != name]
        return replace(self, table=self.table.drop(columns=others).assign(**{name: values}))

    def of_classes(self, names: Sequence[str]) -> Manifest:
        """The clips that have at least one of some classes, and of their labels these alone."""
        unknown = [name for name in names if name not in self.classes]
        if unknown or not names:
            listed = ", ".join(self.classes) or "none, but numbers"
            raise ManifestError(f"{self._file}: classes is {', '.join(unknown) or 'empty'}; it has {listed}")
        cells = [[name for name in self._split_label(label) if name in names] for label in self.table["label"]]
        rows = np.flatnonzero([bool(cell) for cell in cells])
        subset = self.subset(rows)
        labels = [SEPARATOR.join(cells[row]) for row in rows]
        return replace(subset, table=subset.table.assign(label=labels))

    def __len__(self) -> int:
        return len(self.table)

    @property
    def _file(self) -> Path:
        return self.source or self.root

    def where(self, row: int) -> str:
        """File and line of a row, for messages: ``metadata.csv:12``."""
        return f"{self._file}:{self.lines[row]}"

    @cached_property
    def paths(self) -> list[Path]:
        """Path of the file of each clip."""
        return [self.root / name for name in self.table["file_name"]]

    @cached_property
    def ids(self) -> list[str]:
        """A name for each clip: its ``file_name``, with its part of the file where there are several.

        Raises
        ------
        ManifestError
            When two rows are the same clip.
        """
        names = list(self.table["file_name"])
        if "start" in self.table or "stop" in self.table:
            parts = zip(self._column("start"), self._column("stop"), strict=True)
            names = [f"{name}#{a or 0}-{b}" if a or b else name for name, (a, b) in zip(names, parts, strict=True)]
        seen: dict[str, int] = {}
        for row, name in enumerate(names):
            if name in seen:
                raise ManifestError(f"{self.where(row)}: {name} stands on line {self.lines[seen[name]]} too")
            seen[name] = row
        return names

    @cached_property
    def kind(self) -> str:
        """Type of the labels: ``"number"``, ``"multilabel"``, ``"class"`` or ``"unlabelled"``.

        Unlabelled where all are ``?``; several classes a clip where any label holds ``;``; numbers where most
        labels are numbers and one of them is no whole one (digits 0 to 9 are
        classes) or the corpus says so; else one class a clip. Labels ``?`` do not count.
        """
        labels = [label for label in self.table["label"] if label != UNKNOWN]
        if self.numeric:
            return "number"
        if not labels:
            return "unlabelled"
        if any(SEPARATOR in label for label in labels):
            return "multilabel"
        numbers = [value for value in map(parse_number, labels) if value is not None]
        fractions = any(not value.is_integer() for value in numbers)
        return "number" if fractions and 2 * len(numbers) > len(labels) else "class"

    @cached_property
    def classes(self) -> list[str]:
        """Names of the classes in order, without ``?``; empty where labels are numbers."""
        if self.kind == "number":
            return []
        labels = {name for label in self.table["label"] for name in self._split_label(label)} - {UNKNOWN}
        # Other digits than 0 to 9, and more of them than a number has, are names.
        whole = all(name.isascii() and name.isdecimal() and len(name) <= _MOST_DIGITS for name in labels)
        return sorted(labels, key=lambda name: (int(name), name) if whole else (0, name))

    def label_indices(self) -> NDArray[np.int64] | NDArray[np.uint8]:
        """Targets of the classes, in the order of ``classes``.

        Returns
        -------
        ndarray
            Index of the class, int64 of shape ``(n,)``; with several classes a
            clip 1 where a clip has the class, uint8 of shape ``(n, classes)``.

        Raises
        ------
        ManifestError
            When labels are numbers, see :meth:`label_values`; or when some or all are unknown.
        """
        if self.kind == "number":
            raise ManifestError(f"{self._file}: labels are numbers, not classes; use label_values()")
        self.require_labels()
        position = {name: i for i, name in enumerate(self.classes)}
        if self.kind == "class":
            return np.array([position[label] for label in self.table["label"]], dtype=np.int64)
        targets = np.zeros((len(self), len(position)), dtype=np.uint8)
        for row, label in enumerate(self.table["label"]):
            targets[row, [position[name] for name in self._split_label(label)]] = 1
        return targets

    def label_values(self) -> NDArray[np.float64]:
        """Labels as numbers, NaN where they are ``?``, shape ``(n,)``.

        Raises
        ------
        ManifestError
            When a label is neither; the message names its line.
        """
        has_label = self.has_label
        return np.array([self._number("label", row) if has_label[row] else math.nan for row in range(len(self))])

    @property
    def has_label(self) -> NDArray[np.bool_]:
        """Mask of the clips with a known label (not ``?``), shape ``(n,)``."""
        return (self.table["label"] != UNKNOWN).to_numpy(dtype=bool)

    def bounds(self, row: int) -> tuple[float, float | None]:
        """Begin and end of a clip in its file in seconds; an end of None is the end of the file."""
        start = self._number("start", row) if self._has("start", row) else 0.0
        stop = self._number("stop", row) if self._has("stop", row) else None
        if start < 0 or (stop is not None and stop <= start):
            end = "the end of the file" if stop is None else f"{stop:g} s"
            raise ManifestError(f"{self.where(row)}: start {start:g} s and stop {end}; 0 <= start < stop is needed")
        return start, stop

    def events(self, row: int) -> list[Event]:
        """Return the events of a clip in order of their onsets; empty if the table has none.

        Raises
        ------
        ManifestError
            When the three lists differ in length, a time is no number, or an
            event does not end after it begins.
        """
        lists = {column: split_list(self._cells[column][row]) for column in EVENT_COLUMNS if column in self._cells}
        if len(lists) < len(EVENT_COLUMNS) or not any(lists.values()):
            return []
        labels, onsets, offsets = (lists[column] for column in EVENT_COLUMNS)
        if not len(labels) == len(onsets) == len(offsets):
            raise ManifestError(
                f"{self.where(row)}: {len(labels)} event_labels, {len(onsets)} event_onsets and {len(offsets)} "
                "event_offsets; each event needs one of each, joined by ;"
            )
        events = []
        for label, *times in zip(labels, onsets, offsets, strict=True):
            onset, offset = (parse_number(time) for time in times)
            if onset is None or offset is None or not 0 <= onset < offset:
                raise ManifestError(
                    f"{self.where(row)}: event {label} lasts from {times[0]!r} to {times[1]!r}; "
                    "0 <= onset < offset in seconds is needed"
                )
            events.append(Event(label, onset, offset))
        return sorted(events, key=lambda event: event.onset)

    def inspect(self, *, progress: bool = False) -> list[Inspection]:
        """Read the properties of the file of each clip, cached by file size and modification time."""
        return inspect_files(self.paths, self.root, progress=progress)

    @cached_property
    def durations(self) -> NDArray[np.float64]:
        """Length of each clip in seconds, from the files, shape ``(n,)``.

        Raises
        ------
        AudioError
            When a file cannot be read.

        Notes
        -----
        Of a file that was looked at before and has not changed, the length is remembered.
        """
        lengths = remembered_durations(self.paths, self.root)
        durations = np.zeros(len(self))
        for row, path in enumerate(self.paths):
            start, stop = self.bounds(row)
            if stop is None:
                stop = lengths.get(path) or lengths.setdefault(path, self._duration(path))
            durations[row] = stop - start
        return durations

    def read_audio(self, row: int, sample_rate: int | None = None) -> tuple[NDArray[np.float32], int]:
        """Samples of a clip ``(n,)`` and their rate; see :func:`audioattn_lib.audio.io.read`."""
        start, stop = self.bounds(row)
        return io.read(self.paths[row], sample_rate, start=start, stop=stop, accept_truncated=self.accept_truncated)

    def subset(self, rows: Sequence[int] | NDArray[Any]) -> Manifest:
        """The corpus of these rows, in this order."""
        selected = np.arange(len(self))[np.asarray(rows)]
        return replace(self, table=self.table.iloc[selected], lines=tuple(self.lines[row] for row in selected))

    def content_hash(self) -> str:
        """Hash of the table and of the bytes of all files, 64 hexadecimal digits.

        Neither the name nor the place of the corpus counts. Files are read
        once and known again by size and time of change.
        """
        digest = hashlib.sha256()
        digest.update(self.table.to_csv(index=False, lineterminator="\n").encode())
        for path, inspection in zip(self.paths, self.inspect(), strict=True):
            if not inspection.file_hash:
                raise ManifestError(f"{path}: {inspection.problem}; run `audioattn data check {self.root}`")
            digest.update(inspection.file_hash.encode())
        return digest.hexdigest()

    def _duration(self, path: Path) -> float:
        return io.info(path, accept_truncated=self.accept_truncated).duration

    def require_labels(self) -> None:
        """Raise a ``ManifestError`` that says what to do when the labels of some or all clips are unknown."""
        unknown = np.flatnonzero(~self.has_label)
        if self.kind == "unlabelled":
            raise ManifestError(
                f"{self._file}: its {len(self)} clips have no labels, and this needs them. Put the sounds of each "
                "class in a folder of its own and none beside these folders, or write a metadata.csv with file_name "
                "and label"
            )
        if len(unknown):
            raise ManifestError(
                f"{self.where(int(unknown[0]))}: label is {UNKNOWN}, unknown, in {len(unknown)} of {len(self)} clips; "
                "give them a class, or leave their rows out"
            )

    def _column(self, name: str) -> Sequence[str]:
        return self._cells[name] if name in self._cells else [""] * len(self)

    @cached_property
    def _cells(self) -> Mapping[str, list[str]]:
        """Columns with times and labels as lists, which are read a hundred times as fast as a cell of a table."""
        columns = ("label", "duration", "start", "stop", *EVENT_COLUMNS)
        return {name: self.table[name].tolist() for name in columns if name in self.table}

    def _has(self, column: str, row: int) -> bool:
        return column in self._cells and bool(self._cells[column][row])

    def _number(self, column: str, row: int) -> float:
        value = parse_number(self._cells[column][row])
        if value is None:
            raise ManifestError(f"{self.where(row)}: {column} is {self._cells[column][row]!r}; it must be a number")
        return value

    def _split_label(self, label: str) -> list[str]:
        if self.kind != "multilabel":
            return [label]
        return [name for name in split_list(label) if name.lower() not in NO_LABEL]


def parse_number(text: str) -> float | None:
    """The finite number that ``text`` is, or None."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def split_list(text: str) -> list[str]:
    """Parts of ``a;b``; an empty text has none."""
    return [item.strip() for item in text.split(SEPARATOR)] if text.strip() else []


def read_table(source: Path, rename: Mapping[str, str] | None = None) -> tuple[pd.DataFrame, tuple[int, ...]]:
    """Read a CSV file as text, with the line on which each row begins.

    Parameters
    ----------
    source
        CSV file, UTF-8.
    rename
        New names of columns.

    Raises
    ------
    ManifestError
        When it is missing or no table; the message names the line.
    """
    rows: list[list[str]] = []
    lines: list[int] = []
    try:
        with open(source, encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            header = [name.strip() for name in next(reader, [])]
            before = reader.line_num
            for row in reader:
                line, before = before + 1, reader.line_num
                if not row:
                    continue
                if len(row) != len(header):
                    raise ManifestError(
                        f"{source}:{line}: {len(row)} values under {len(header)} column names; "
                        "put a value that holds a comma in quotes"
                    )
                rows.append([value.strip() for value in row])
                lines.append(line)
    except FileNotFoundError:
        raise ManifestError(
            f"{source}: no such table; give a folder with metadata.csv or the path of a table"
        ) from None
    except OSError as error:
        raise ManifestError(f"{source}: cannot be read ({error.strerror}); give a folder or a table") from None
    except csv.Error as error:
        raise ManifestError(f"{source}:{reader.line_num}: {error}; save the table as comma-separated values") from None
    except UnicodeDecodeError:
        raise ManifestError(f"{source}: not UTF-8 text; save the table as UTF-8 comma-separated values") from None
    repeated = sorted({name for name in header if header.count(name) > 1})
    if repeated:
        raise ManifestError(f"{source}:1: two columns are called {', '.join(repeated)}; rename one")
    table = pd.DataFrame(rows, columns=header, dtype=str)
    return table.rename(columns=dict(rename or {})), tuple(lines)
