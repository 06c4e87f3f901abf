"""Numbers of runs as words: scores with their intervals, differences, lists of names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

__all__ = ["Found", "gain", "names", "number", "share", "span"]

Found = tuple[list[str], list[str]]
"""Sentences on what the runs of a page show, and on what they do not show."""


def share(row: Mapping[str, Any], low: str = "low", high: str = "high", score: str = "score") -> str:
    """A score in [0, 1] in percent, such as ``84.2 % (79.0 to 89.1)``; without interval where it is not known."""
    told = f"{100 * float(row[score]):.1f} %"
    if np.isnan(float(row[low])):
        return told
    return f"{told} ({100 * float(row[low]):.1f} to {100 * float(row[high]):.1f})"


def gain(row: Mapping[str, Any]) -> str:
    """A difference of two scores in points, such as ``+2.1 points (-1.0 to +5.2)``."""
    return f"{_signed(row['difference'])} points ({_signed(row['low'])} to {_signed(row['high'])})"


def number(row: Mapping[str, Any], score: str = "score") -> str:
    """A correlation, or a difference of two, such as ``0.56 (0.40 to 0.68)``."""
    sign = "+" if score == "difference" else ""
    ends = " to ".join(f"{round(float(row[end]), 2) + 0.0:{sign}.2f}" for end in ("low", "high"))
    return f"{round(float(row[score]), 2) + 0.0:{sign}.2f} ({ends})"


def span(values: Sequence[float]) -> str:
    """Shares in percent from the least to the largest, such as ``74 to 81 %``."""
    ends = dict.fromkeys(f"{100 * value:.0f}" for value in (min(values), max(values)))
    return f"{' to '.join(ends)} %"


def names(titles: Sequence[str], most: int = 4) -> str:
    """Names as a list in words; the number of them where they are many."""
    if len(titles) > most:
        return f"{len(titles)} of them"
    return titles[0] if len(titles) == 1 else f"{', '.join(titles[:-1])} and {titles[-1]}"


def _signed(value: Any) -> str:
    return f"{round(100 * float(value), 1) + 0.0:+.1f}"  # no minus before a zero
