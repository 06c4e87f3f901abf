"""The lists of the published speaker and accent systems: labels, files, trials.

=================== ==========================================================
list                a line holds
=================== ==========================================================
labels              ``path class -1``: class from 0 to N - 1, third column unused
files               ``path``
trials              ``path path``: one file for pairs of one speaker (clients),
                    one for pairs of two (impostors)
VoxCeleb trials     ``1 path path`` for one speaker, ``0 path path`` for two
=================== ==========================================================

Lists are text in UTF-8, columns separated by blanks. A path of labels and files
may hold blanks; two paths on one line must not, unless they end in the
extension of a sound.

Book page: ``accents_published``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..audio.io import EXTENSIONS
from ..core.errors import ManifestError

__all__ = [
    "read_files",
    "read_labels",
    "read_trials",
    "read_voxceleb_trials",
]

_NAME = rf".+?(?:{'|'.join(map(re.escape, EXTENSIONS))})|\S+"
_PAIR = re.compile(rf"(?P<first>{_NAME})\s+(?P<second>{_NAME})", re.IGNORECASE)


def read_labels(path: str | Path, n_classes: int | None = None) -> pd.DataFrame:
    """Read a list of labels.

    Parameters
    ----------
    path
        The list.
    n_classes
        Classes there are; by default one more than the largest.

    Returns
    -------
    DataFrame
        Columns ``path`` (text), ``class`` (whole number) and ``line``.

    Raises
    ------
    ManifestError
        When the list is missing or empty, a line has no class, or a class is no
        whole number from 0 to N - 1; the message names the line.

    Notes
    -----
    Book page: ``accents_published``.
    """
    rows = []
    for number, line in _lines(path):
        parts = line.rsplit(maxsplit=2)
        if len(parts) != 3:
            raise ManifestError(f"{path}:{number}: {line!r} has {len(parts)} columns; it must be: path class -1")
        name, label, _ = parts
        if not label.isdigit():
            raise ManifestError(f"{path}:{number}: class is {label!r}; it must be a whole number, counted from 0")
        if n_classes is not None and int(label) >= n_classes:
            raise ManifestError(
                f"{path}:{number}: class is {label}; with {n_classes} classes it must be from 0 to {n_classes - 1}"
            )
        rows.append({"path": name, "class": int(label), "line": number})
    table = pd.DataFrame(rows)
    count = int(table["class"].max()) + 1 if n_classes is None else n_classes
    missing = sorted(set(range(count)) - set(table["class"]))
    if n_classes is None and missing:
        raise ManifestError(
            f"{path}: classes go up to {count - 1}, but there is no line of class {', '.join(map(str, missing[:5]))}; "
            "count them from 0 without gaps"
        )
    return table


def read_files(path: str | Path) -> list[str]:
    """Read a list of files, a path on every line.

    Notes
    -----
    The published extractor cuts five characters off every line, which mangles a
    last line without a line break; here it does not matter. Book page:
    ``accents_published``.
    """
    return [line for _, line in _lines(path)]


def read_trials(clients: str | Path, impostors: str | Path) -> tuple[list[tuple[str, str]], NDArray[np.bool_]]:
    """Read the trials of one speaker and those of two.

    Parameters
    ----------
    clients, impostors
        Lists of pairs.

    Returns
    -------
    pairs : list
        Both paths of every trial, clients first.
    is_same : ndarray
        True for clients, shape ``(trials,)``.

    Raises
    ------
    ManifestError
        When a list is missing or empty, or a line is no pair; the message names the line.

    Notes
    -----
    Book page: ``accents_published``.
    """
    pairs, same = [], []
    for path, is_same in ((clients, True), (impostors, False)):
        for number, line in _lines(path):
            pairs.append(_pair(path, number, line))
            same.append(is_same)
    return pairs, np.array(same)


def read_voxceleb_trials(path: str | Path) -> tuple[list[tuple[str, str]], NDArray[np.bool_]]:
    """Read trials as VoxCeleb has them, ``1 path path``; result and errors as :func:`read_trials`.

    Notes
    -----
    Book page: ``accents_published``.
    """
    pairs, same = [], []
    for number, line in _lines(path):
        kind, _, rest = line.partition(" ")
        if kind not in ("0", "1"):
            raise ManifestError(f"{path}:{number}: begins with {kind!r}; it must be 1 (one speaker) or 0 (two)")
        pairs.append(_pair(path, number, rest.strip()))
        same.append(kind == "1")
    return pairs, np.array(same)


def _pair(path: str | Path, number: int, line: str) -> tuple[str, str]:
    match = _PAIR.fullmatch(line)
    if not match:
        raise ManifestError(f"{path}:{number}: {line!r} is no pair of paths; write two, with a blank between them")
    return match["first"], match["second"]


def _lines(path: str | Path) -> Iterator[tuple[int, str]]:
    """Number and text of each line that is not empty."""
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise ManifestError(f"{path}: no such list") from None
    except UnicodeDecodeError as error:
        raise ManifestError(f"{path}: is no text in UTF-8 ({error.reason}); a list has a path on every line") from None
    lines = [(number, line.strip()) for number, line in enumerate(text.splitlines(), start=1) if line.strip()]
    if not lines:
        raise ManifestError(f"{path}: the list is empty; it needs at least one line")
    yield from lines
