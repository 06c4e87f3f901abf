"""Lists of labelled segments that other programs read: CSV, RTTM and Audacity labels.

Every list is read back as it was written, whatever times, names and labels it
holds: numbers have as many digits as they need, and what a format cannot hold
in a label is written as a code, ``%20`` in RTTM and ``\\t`` in Audacity labels.

Book page: ``playback_published``.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from decimal import Context, Decimal, InvalidOperation
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

from audioattn_lib.core.errors import ConfigError

from .export import write_file
from .record import AttentionRecord

__all__ = ["LAYOUTS", "LabelledSegment", "list_segments", "read_segments", "save_segments"]

LAYOUTS = ("csv", "rttm", "audacity")
"""Layouts of lists: a table, the format of diarisation, and the label track of one clip."""

_COLUMNS = ("clip", "label", "start", "stop")
_CODED = re.compile(r"[\s%<>\x00-\x1f\x7f]")
_EXACT = Context(prec=2000)  # sums of any two numbers of 64 bits
_ESCAPES = {"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"}


class LabelledSegment(NamedTuple):
    """Labelled segment of a clip: ``start <= stop`` in seconds from the beginning of the clip."""

    clip: str
    label: str
    start: float
    stop: float


def list_segments(record: AttentionRecord, labels: Sequence[Sequence[str]] | None = None) -> list[LabelledSegment]:
    """List the attended segments of each clip in seconds, once for each class of the clip.

    Parameters
    ----------
    record
        What a mechanism looked at. Replayed segments are taken in the order of
        replay, of everything else the intervals of its support.
    labels
        Classes of each clip, none, one or several; a clip with none is listed
        with the label ``""``. By default the mechanism, and replayed segments
        are numbered; segments of labelled rows, as of words, have these labels.

    Raises
    ------
    ValueError
        When the record is empty, or there are not as many labels as clips.

    Notes
    -----
    Book page: ``playback_published``.
    """
    if record.is_empty:
        raise ValueError("the record is empty, so there is nothing to list; ask the model for it with record=True")
    if labels is not None and len(labels) != len(record):
        raise ValueError(f"labels has {len(labels)} entries for a record of {len(record)} clips; give one a clip")
    segments: list[LabelledSegment] = []
    for index, clip in enumerate(record.clips):
        if record.segments is None:
            spans = record.attended(index)
        else:
            played = [(float(a), float(b)) for a, b in record.segments[index] if not math.isnan(a)]
            spans = record.within_sound(played, index)
        if labels is not None:
            segments += [LabelledSegment(clip, label, *span) for label in labels[index] or ("",) for span in spans]
            continue
        if record.rows and record.segments is not None:
            segments += [
                LabelledSegment(clip, label, float(start), float(stop))
                for label, (start, stop) in zip(record.rows[index], record.segments[index], strict=False)
            ]
            continue
        name = record.mechanism or "attention"
        numbered = record.segments is not None
        segments += [
            LabelledSegment(clip, f"{name} {number}" if numbered else name, *span)
            for number, span in enumerate(spans, start=1)
        ]
    return segments


def save_segments(segments: Iterable[LabelledSegment], path: str | Path, layout: str) -> Path:
    """Write a list and return its path; the file appears whole or not at all.

    Parameters
    ----------
    segments
        In any order, which is kept; they may overlap, be empty or none at all.
    path
        File to write; its folder is made when missing.
    layout
        ``"csv"``: columns clip, label, start and stop. ``"rttm"``: a line
        ``SPEAKER clip 1 start duration <NA> <NA> label <NA> <NA>`` for each.
        ``"audacity"``: a line of start, stop and label for each, separated by
        tabs; for the segments of one clip, whose name it does not hold.

    Raises
    ------
    ConfigError
        When there is no such layout, a segment ends before it begins, or one list for Audacity has several clips.

    Notes
    -----
    NIST, *The rich transcription 2009 evaluation plan*, appendix A, for RTTM.
    Book page: ``playback_published``.
    """
    listed = [LabelledSegment(*segment) for segment in segments]
    for segment in listed:
        if not (math.isfinite(segment.start) and math.isfinite(segment.stop) and segment.start <= segment.stop):
            raise ConfigError(
                f"{segment.clip}: a segment of {segment.label!r} from {segment.start} to {segment.stop} s; "
                "start <= stop is needed"
            )
    if layout == "csv":
        text = io.StringIO()
        writer = csv.writer(text, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")
        writer.writerow(_COLUMNS)
        writer.writerows((segment.clip, segment.label, float(segment.start), float(segment.stop)) for segment in listed)
        content = text.getvalue()
    elif layout == "rttm":
        content = "".join(map(_rttm_line, listed))
    elif layout == "audacity":
        clips = list(dict.fromkeys(segment.clip for segment in listed))
        if len(clips) > 1:
            some = ", ".join(clips[:3])
            raise ConfigError(
                f"{path}: a label track is of one clip, and there are {len(clips)}: {some}; write one each"
            )
        content = "".join(
            f"{_number(segment.start)}\t{_number(segment.stop)}\t{_escape(segment.label)}\n" for segment in listed
        )
    else:
        raise ConfigError(f"layout is {layout!r}; it must be one of {', '.join(LAYOUTS)}")
    return write_file(path, lambda file: file.write(content.encode()))


def read_segments(path: str | Path, layout: str, *, clip: str = "") -> list[LabelledSegment]:
    """Read a list.

    Parameters
    ----------
    path
        File.
    layout
        One of :data:`LAYOUTS`.
    clip
        Name of the clip of a label track, which does not hold it.

    Raises
    ------
    ConfigError
        When the file is missing or a line cannot be read; the message names it.

    Notes
    -----
    Lines of RTTM of other kinds than ``SPEAKER``, and lines of a label track that hold
    frequencies, are passed over. Book page: ``playback_published``.
    """
    if layout not in LAYOUTS:
        raise ConfigError(f"layout is {layout!r}; it must be one of {', '.join(LAYOUTS)}")
    try:
        with open(path, encoding="utf-8-sig", newline="" if layout == "csv" else "\n") as file:
            text = file.read()
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such list of segments") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is no text in UTF-8 ({error.reason})") from None
    rows = {"csv": _read_csv, "rttm": _read_rttm, "audacity": _read_audacity}[layout](text, str(path), clip)
    segments = []
    for line, (name, label, start, stop) in rows:
        try:
            segments.append(LabelledSegment(name, label, float(start), float(stop)))
        except ValueError:
            raise ConfigError(f"{path}:{line}: {start} and {stop} are no times in seconds") from None
    return segments


Rows = Iterator[tuple[int, tuple[str, str, str | Decimal, str | Decimal]]]


def _rttm_line(segment: LabelledSegment) -> str:
    # The sum of what is written must be the stop again, to the last digit.
    start, stop = Decimal(_number(segment.start)), Decimal(_number(segment.stop))
    clip, label, duration = _code(segment.clip), _code(segment.label), _EXACT.subtract(stop, start)
    return f"SPEAKER {clip} 1 {start} {duration:f} <NA> <NA> {label} <NA> <NA>\n"


def _read_rttm(text: str, path: str, _: str) -> Rows:
    for line, row in enumerate(text.splitlines(), start=1):
        parts = row.split()
        if not parts or parts[0] != "SPEAKER":
            continue
        if len(parts) < 8:
            raise ConfigError(
                f"{path}:{line}: {len(parts)} columns; SPEAKER clip 1 start duration <NA> <NA> label is needed"
            )
        try:
            start, duration = Decimal(parts[3]), Decimal(parts[4])
        except InvalidOperation:
            raise ConfigError(
                f"{path}:{line}: {parts[3]} and {parts[4]} are no start and duration in seconds"
            ) from None
        yield line, (_decode(parts[1]), _decode(parts[7]), start, _EXACT.add(start, duration))


def _read_csv(text: str, path: str, _: str) -> Rows:
    reader = csv.DictReader(io.StringIO(text, newline=""))
    missing = [name for name in _COLUMNS if name not in (reader.fieldnames or ())]
    if missing:
        raise ConfigError(f"{path}:1: no column {', '.join(missing)}; it must have {', '.join(_COLUMNS)}")
    for row in reader:
        yield reader.line_num, tuple(row[name] or "" for name in _COLUMNS)  # type: ignore[misc]


def _read_audacity(text: str, path: str, clip: str) -> Rows:
    for line, row in enumerate(text.split("\n"), start=1):
        if not row or row.startswith("\\"):
            continue
        parts = row.removesuffix("\r").split("\t", maxsplit=2)
        if len(parts) < 2:
            raise ConfigError(f"{path}:{line}: {row!r} is no label; start, stop and label are separated by tabs")
        label = re.sub(r"\\(.)", lambda m: {"t": "\t", "n": "\n", "r": "\r"}.get(m[1], m[1]), (*parts, "")[2])
        yield line, (clip, label, parts[0], parts[1])


def _number(seconds: float) -> str:
    """The shortest decimal number that is read as the same one, without an exponent."""
    return format(Decimal(repr(float(seconds))), "f")


def _escape(label: str) -> str:
    return "".join(_ESCAPES.get(letter, letter) for letter in label)


def _code(name: str) -> str:
    """One word: what would end it, or be taken for ``<NA>``, as its bytes in hexadecimal."""
    coded = _CODED.sub(lambda m: "".join(f"%{byte:02X}" for byte in m[0].encode()), name)
    return coded or "<NA>"


def _decode(word: str) -> str:
    return "" if word == "<NA>" else unquote(word)
