r"""Interval and point tiers of Praat's TextGrid files.

A TextGrid is a sequence of numbers, of texts in double quotes (a quote within is
written twice) and of flags in angle brackets; every other word is there for a
person to read, and the long and the short form differ in those words alone. So
one reader serves both.

Source: Praat manual, *TextGrid file formats*. Book page: ``your_sounds``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from audioattn_lib.core.errors import ConfigError

from .segment_lists import LabelledSegment

__all__ = ["read_textgrid"]

# a comment, a text, a flag, a number that stands alone; "[1]" and "intervals:" are words for a person
_TOKEN = re.compile(
    r'!(?=\s)[^\n]*|"(?P<text>(?:[^"]|"")*)"|<(?P<flag>\w+)>|(?<!\S)(?P<number>[-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)(?!\S)'
)
_LARGEST = 50_000_000  # bytes


def read_textgrid(path: str | Path, *, clip: str = "") -> list[LabelledSegment]:
    """Read the labelled intervals of all tiers; intervals without a label are left out.

    Parameters
    ----------
    path
        File in the long or the short form, UTF-8 or UTF-16 with a byte order mark.
    clip
        Name of the clip, which the file does not hold.

    Returns
    -------
    list of LabelledSegment
        In seconds, tier after tier; a point of a point tier starts and stops at its time.

    Raises
    ------
    ConfigError
        When the file is missing, no TextGrid, or ends too early; the message names it.

    Notes
    -----
    Book page: ``your_sounds``.
    """
    tokens = _tokens(_text(Path(path)))
    try:
        if next(tokens) != "ooTextFile" or next(tokens) != "TextGrid":
            raise ConfigError(f"{path}: is no TextGrid; its first lines must name ooTextFile and TextGrid")
        _number(tokens), _number(tokens)
        if next(tokens) is not True:
            return []
        segments: list[LabelledSegment] = []
        for _ in range(round(_number(tokens))):
            kind, _name = next(tokens), next(tokens)
            if kind not in ("IntervalTier", "TextTier"):
                raise ConfigError(f"{path}: a tier of class {kind!r}; it must be IntervalTier or TextTier")
            _number(tokens), _number(tokens)
            for _ in range(round(_number(tokens))):
                start = _number(tokens)
                stop = _number(tokens) if kind == "IntervalTier" else start
                label = str(next(tokens)).strip()
                if not start <= stop:
                    raise ConfigError(f"{path}: {label!r} lasts from {start} to {stop} s; start <= stop is needed")
                if label:
                    segments.append(LabelledSegment(clip, label, start, stop))
    except StopIteration:
        raise ConfigError(f"{path}: ends before all the tiers that it announces; save it again") from None
    except ValueError as error:
        raise ConfigError(f"{path}: is no TextGrid ({error})") from None
    return segments


def _text(path: Path) -> str:
    try:
        size = path.stat().st_size
        if size > _LARGEST:
            raise ConfigError(f"{path}: has {size} bytes; a TextGrid has at most {_LARGEST}")
        content = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror or error})") from None
    try:
        return content.decode("utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is no text in UTF-8 or UTF-16 ({error.reason})") from None


def _tokens(text: str) -> Iterator[str | float | bool]:
    for match in _TOKEN.finditer(text):
        if match["text"] is not None:
            yield match["text"].replace('""', '"')
        elif match["flag"] is not None:
            yield match["flag"] == "exists"
        elif match["number"] is not None:
            yield float(match["number"])


def _number(tokens: Iterator[str | float | bool]) -> float:
    token = next(tokens)
    if not isinstance(token, float):
        raise ValueError(f"{token!r} where a number is needed")
    return token
