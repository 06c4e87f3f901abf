"""Checks of a corpus for errors that would make results wrong, run before training.

Errors: files that are missing, cut off or cannot be used as sound, a rate that is not
the expected one, clips that stand on both sides of a split (the same group,
the same sound), values that cannot be parsed, parts and events outside of
their sound, a single class. Warnings: what may be meant (several channels, silence, repeated
sounds within a split, a class that a fold lacks).

Book page: ``data``.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from ..audio import io
from ..core.errors import ManifestError
from .inspection import Inspection
from .manifest import EVENT_COLUMNS, UNKNOWN, Manifest, parse_number, split_list

__all__ = ["Problem", "Report", "audit"]

SPLIT_COLUMNS = ("fold", "split")
_TOLERANCE = 0.02
"""Tolerance in seconds of a rounded time after the end of its sound."""
_SHOWN = 8


@dataclass(frozen=True)
class Problem:
    """One finding.

    Parameters
    ----------
    kind
        Short name, the same for all findings of its sort: ``missing file``, ``group across folds``, ...
    message
        File and line, what was found, what is allowed.
    rows
        Rows of the table to leave out to be rid of it; empty where that is no cure.
    severity
        ``"error"`` or ``"warning"``.
    """

    kind: str
    message: str
    rows: tuple[int, ...] = ()
    severity: str = "error"

    @property
    def row(self) -> int | None:
        """First row it is about."""
        return self.rows[0] if self.rows else None


@dataclass(frozen=True)
class Report:
    """All findings about one corpus; ``str(report)`` is a table for people."""

    manifest: Manifest
    problems: tuple[Problem, ...]

    @property
    def errors(self) -> tuple[Problem, ...]:
        """Findings that training refuses."""
        return tuple(problem for problem in self.problems if problem.severity == "error")

    @property
    def warnings(self) -> tuple[Problem, ...]:
        """Findings that may be meant."""
        return tuple(problem for problem in self.problems if problem.severity == "warning")

    @property
    def passed(self) -> bool:
        """Return True when there is no error."""
        return not self.errors

    def raise_if_failed(self) -> None:
        """Raise a ``ManifestError`` with the table of findings when there is an error."""
        if not self.passed:
            raise ManifestError(
                f"{self}\nMend these, or leave the rows out with --skip-bad-clips (in the settings of a notebook: "
                "skip_bad_clips, true), which says what it left out"
            )

    @cached_property
    def skipped(self) -> tuple[int, ...]:
        """Rows that ``skippable`` leaves out."""
        return tuple(sorted({row for problem in self.errors for row in problem.rows}))

    @property
    def skippable(self) -> Manifest:
        """The corpus without the rows that have errors.

        Raises
        ------
        ManifestError
            When an error concerns the whole table, or no row is left.
        """
        lasting = [problem for problem in self.errors if not problem.rows]
        if lasting:
            raise ManifestError("leaving rows out does not help:\n" + "\n".join(p.message for p in lasting))
        left = np.setdiff1d(np.arange(len(self.manifest)), self.skipped)
        if not len(left):
            raise ManifestError(f"{self.manifest.name}: every clip has an error, none is left\n{self}")
        return self.manifest.subset(left)

    def __str__(self) -> str:
        manifest = self.manifest
        head = f"{manifest.name}: {len(manifest)} clip{'' if len(manifest) == 1 else 's'}"
        if manifest.kind == "unlabelled":
            head += " without labels"
        if self.passed and not self.warnings:
            return f"{head}, nothing found"
        counts = [
            f"{len(listed)} {name}{'' if len(listed) == 1 else 's'}"
            for name, listed in (("error", self.errors), ("warning", self.warnings))
            if listed
        ]
        text = [f"{head}, {' and '.join(counts)}"]
        for severity, problems in (("error", self.errors), ("warning", self.warnings)):
            by_kind: dict[str, list[Problem]] = defaultdict(list)
            for problem in problems:
                by_kind[problem.kind].append(problem)
            for kind, listed in by_kind.items():
                text.append(f"\n{severity}: {kind} ({len(listed)})")
                text += [f"  {problem.message}" for problem in listed[:_SHOWN]]
                if len(listed) > _SHOWN:
                    text.append(f"  ... and {len(listed) - _SHOWN} more")
        return "\n".join(text)


def audit(
    manifest: Manifest,
    *,
    sample_rate: int | None = None,
    group: str | None = None,
    needs_classes: bool = True,
    progress: bool = False,
) -> Report:
    """Check a corpus: every file is read and decoded, or remembered from before.

    Parameters
    ----------
    manifest
        The corpus.
    sample_rate
        Rate that every file must have, in hertz; None allows any, since reading resamples.
    group
        Column whose values must not cross folds or splits; ``group`` by default.
    needs_classes
        Whether one class alone is an error, since nothing can be learned or tested with it.
    progress
        Show a bar where a person watches.

    Returns
    -------
    Report
        All findings; ``raise_if_failed()`` makes errors of them.

    Notes
    -----
    Book page: ``data``.
    """
    grouped = manifest.with_group(group)
    inspections = manifest.inspect(progress=progress)
    problems = [
        *_check_files(manifest, inspections, sample_rate),
        *_check_values(manifest),
        *_check_times(manifest, inspections),
        *_check_repetition(manifest, inspections),
        *_check_groups(grouped),
        *_check_classes(manifest),
        *(_check_choice(manifest) if needs_classes else ()),
    ]
    return Report(manifest, tuple(problems))


def _check_files(manifest: Manifest, inspections: Sequence[Inspection], sample_rate: int | None) -> Iterator[Problem]:
    rates = Counter(inspection.sample_rate for inspection in inspections if inspection.sample_rate)
    for row, inspection in enumerate(inspections):
        path = manifest.paths[row]
        where = f"{manifest.where(row)}: {path}"
        if inspection.kind:
            kind = "missing file" if inspection.kind == "missing" else "unusable sound"
            yield Problem(kind, f"{where}: {inspection.problem}", (row,))
            continue
        if inspection.cut:
            accepted = manifest.accept_truncated
            cure = "what is there is used" if accepted else f"fetch it again, or {io.ACCEPT}"
            message = f"{where}: the file is cut off: {inspection.cut}; {cure}"
            yield Problem("cut off", message, (row,), "warning" if accepted else "error")
        if sample_rate is not None and inspection.sample_rate != sample_rate:
            yield Problem("wrong rate", f"{where}: {inspection.sample_rate} Hz; it must be {sample_rate} Hz", (row,))
        if inspection.channels > 1:
            message = f"{where}: {inspection.channels} channels; their mean is used"
            yield Problem("several channels", message, (row,), "warning")
        if inspection.peak == 0:
            yield Problem("silence", f"{where}: every sample is 0", (row,), "warning")
    if sample_rate is None and len(rates) > 1:
        listed = ", ".join(f"{rate} Hz ({count})" for rate, count in rates.most_common())
        yield Problem(
            "several rates", f"{manifest.source or manifest.root}: {listed}; all are resampled", (), "warning"
        )


def _check_values(manifest: Manifest) -> Iterator[Problem]:
    table = manifest.table
    for column in ("file_name", "label", *SPLIT_COLUMNS, "group"):
        if column not in table or (column == "label" and manifest.kind == "multilabel"):
            continue
        for row, text in enumerate(table[column]):
            if not text.strip():
                yield Problem("empty value", f"{manifest.where(row)}: {column} is empty; it must have a value", (row,))
    numbers = ["duration"] + (["label"] if manifest.kind == "number" else [])
    for column in numbers:
        if column not in table:
            continue
        for row, text in enumerate(table[column]):
            if text and parse_number(text) is None and not (column == "label" and text == UNKNOWN):
                message = f"{manifest.where(row)}: {column} is {text!r}; it must be a number"
                yield Problem("not a number", message, (row,))
    event_columns = [column for column in EVENT_COLUMNS if column in table]
    if event_columns and len(event_columns) < len(EVENT_COLUMNS):
        missing = " and ".join(column for column in EVENT_COLUMNS if column not in table)
        yield Problem(
            "missing column",
            f"{manifest.source}:1: {' and '.join(event_columns)} but no {missing}; events need all three",
        )


def _check_times(manifest: Manifest, inspections: Sequence[Inspection]) -> Iterator[Problem]:
    """Parts that lie outside of their file, events outside of their clip, durations that are not true."""
    durations = manifest.table["duration"].tolist() if "duration" in manifest.table else None
    for row, inspection in enumerate(inspections):
        try:
            start, stop = manifest.bounds(row)
        except ManifestError as error:
            yield Problem("impossible part", str(error), (row,))
            continue
        try:
            events = manifest.events(row)
        except ManifestError as error:
            yield Problem("impossible event", str(error), (row,))
            events = []
        if inspection.kind:
            continue
        length = inspection.duration
        if max(start, stop or 0.0) > length + _TOLERANCE or start >= length:
            yield Problem(
                "part outside of file",
                f"{manifest.where(row)}: from {start:g} s to {'the end' if stop is None else f'{stop:g} s'}, "
                f"but {manifest.paths[row]} lasts {length:.4g} s",
                (row,),
            )
            continue
        clip = (length if stop is None else stop) - start
        for event in events:
            if event.offset > clip + _TOLERANCE:
                yield Problem(
                    "event outside of clip",
                    f"{manifest.where(row)}: {event.label} from {event.onset:g} to {event.offset:g} s, "
                    f"but the clip lasts {clip:.4g} s",
                    (row,),
                )
        stated = None if durations is None else parse_number(durations[row])
        if stated is not None and abs(stated - clip) > 5 * _TOLERANCE:
            yield Problem(
                "wrong duration",
                f"{manifest.where(row)}: duration is {stated:g} s, but the clip lasts {clip:.4g} s",
                (row,),
                "warning",
            )


def _check_repetition(manifest: Manifest, inspections: Sequence[Inspection]) -> Iterator[Problem]:
    """The same row twice, the same sound twice, the same sound on both sides of a split."""
    parts: dict[tuple[str, ...], int] = {}
    sounds: dict[tuple[str, ...], list[int]] = defaultdict(list)
    table = manifest.table
    names = table["file_name"].tolist()
    bounds = [table[column].tolist() for column in ("start", "stop") if column in table]
    for row, inspection in enumerate(inspections):
        segment = tuple(values[row] for values in bounds)
        name = (names[row], *segment)
        if name in parts:
            first = manifest.lines[parts[name]]
            yield Problem(
                "repeated row", f"{manifest.where(row)}: {name[0]} stands on line {first} too; keep one", (row,)
            )
            continue
        parts[name] = row
        if inspection.sound_hash:
            sounds[(inspection.sound_hash, *segment)].append(row)
    for rows in sounds.values():
        if len(rows) < 2:
            continue
        first, *others = rows
        crossing = _crosses(manifest, rows)
        for row in others:
            where = f"{manifest.where(row)}: {table.at[row, 'file_name']} sounds exactly like "
            where += f"{table.at[first, 'file_name']} on line {manifest.lines[first]}"
            if crossing:
                kind = f"same sound across {crossing}s"
                yield Problem(kind, f"{where}, in another {crossing}; a test must not hold what was trained", (row,))
            elif table.at[row, "label"] != table.at[first, "label"]:
                labels = f"{table.at[first, 'label']} and {table.at[row, 'label']}"
                yield Problem("same sound, other label", f"{where}, but they are labelled {labels}", (row,), "warning")
            else:
                yield Problem("same sound twice", where, (row,), "warning")


def _crosses(manifest: Manifest, rows: Sequence[int]) -> str:
    """Name of the column that separates the rows, ``""`` where none does."""
    for column in SPLIT_COLUMNS:
        if column in manifest.table and _sides(manifest, column).iloc[list(rows)].nunique() > 1:
            return column
    return ""


def _sides(manifest: Manifest, column: str) -> pd.Series:
    """Return the fold or split of each clip; all test splits, such as ``test_seen``, become ``test``."""
    values = manifest.table[column]
    return values if column == "fold" else values.where(~values.str.startswith("test"), "test")


def _check_groups(manifest: Manifest) -> Iterator[Problem]:
    table = manifest.table
    for column in SPLIT_COLUMNS:
        if column not in table:
            continue
        sides = _sides(manifest, column)
        if "group" in table:
            grouped = table[table["group"] != ""]
            crossing = sides[grouped.index].groupby(grouped["group"]).nunique()
            crossing = crossing[crossing > 1]  # few, where groups are many
            for name, rows in grouped[grouped["group"].isin(crossing.index)].groupby("group").groups.items():
                counts = sides[rows].value_counts()
                home = counts.index[0]
                away = tuple(int(row) for row in rows if sides[row] != home)
                listed = ", ".join(f"{side} ({count} clips)" for side, count in counts.items())
                yield Problem(
                    f"group across {column}s",
                    f"{manifest.where(away[0])}: group {name} is in {column} {listed}; it must be in one only",
                    away,
                )
        elif "speaker" in table:
            shared = sides.groupby(table["speaker"]).nunique()
            count = int((shared > 1).sum())
            if count:
                yield Problem(
                    f"speaker across {column}s",
                    f"{manifest.source}: {count} of {len(shared)} speakers are in several {column}s; scores say "
                    'nothing about new speakers (group="speaker" makes this an error)',
                    (),
                    "warning",
                )


def _check_choice(manifest: Manifest) -> Iterator[Problem]:
    if manifest.kind == "class":
        for row in map(int, np.flatnonzero(~manifest.has_label)):
            message = f"{manifest.where(row)}: label is {UNKNOWN}, unknown; give it a class, or leave the row out"
            yield Problem("unknown label", message, (row,))
    if len(manifest.classes) == 1:
        yield Problem(
            "one class",
            f"{manifest.source or manifest.root}: all {len(manifest)} clips are {manifest.classes[0]!r}, which every "
            "network predicts right. Put the sounds of each class in a folder of its own, or write a metadata.csv with "
            "file_name and label",
        )


def _check_classes(manifest: Manifest) -> Iterator[Problem]:
    if manifest.kind in ("number", "unlabelled"):
        return
    column = next((name for name in SPLIT_COLUMNS if name in manifest.table), None)
    if column is None:
        return
    everything = set(manifest.classes)
    for name, labels in manifest.table.groupby(column)["label"]:
        present = {
            class_name
            for label in labels
            for class_name in (split_list(label) if manifest.kind == "multilabel" else [label])
        }
        absent = sorted(everything - present)
        if absent:
            yield Problem(
                "class absent",
                f"{manifest.source or manifest.root}: {column} {name} has no clip of {', '.join(absent)}",
                (),
                "warning",
            )
