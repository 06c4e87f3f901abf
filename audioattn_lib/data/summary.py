"""Summary of a corpus for people, and whether it can be used for what is wanted.

Book page: ``data``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from types import MappingProxyType

import numpy as np

from ..core.errors import AudioAttnError
from .audit import SPLIT_COLUMNS, Problem
from .manifest import UNKNOWN, Manifest, split_list
from .splits import fold_names, split_clips

__all__ = ["LABELS", "check_use", "summarise"]

LABELS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "urban_sound": ("class", "multilabel"),
        "sleepiness": ("number",),
        "accents": ("class",),
        "scenes_and_instruments": ("class",),
        "playback": ("class", "multilabel"),
    }
)
"""Kinds of labels that each chapter can train on, see :attr:`.Manifest.kind`."""
_KINDS = {
    "class": "one class a clip",
    "multilabel": "several classes a clip",
    "number": "a number a clip",
    "unlabelled": "no labels",
}
_SHOWN = 20


def summarise(manifest: Manifest) -> list[str]:
    """Lines about a corpus: labels, folds and splits with their clips, groups, and lengths of the clips.

    Parameters
    ----------
    manifest
        The corpus, whose files can be read.

    Notes
    -----
    Book page: ``data``.
    """
    return [f"{name:10} {text}" for name, text in _parts(manifest)]


def _parts(manifest: Manifest) -> Iterator[tuple[str, str]]:
    table = manifest.table
    yield "labels", _KINDS[manifest.kind]
    if manifest.kind in ("class", "multilabel"):
        cells = (
            table["label"].map(split_list)
            if manifest.kind == "multilabel"
            else table["label"].map(lambda label: [label])
        )
        counts = Counter(label for cell in cells for label in cell if label != UNKNOWN)
        yield "classes", f"{len(counts)}: {_list(sorted(counts.items()))}"
        if unknown := sum(UNKNOWN in cell for cell in cells):
            yield "unknown", f"{unknown} clips"
    elif manifest.kind == "number":
        values = manifest.label_values()
        finite = values[np.isfinite(values)]
        span = f"{len(finite)} known, from {finite.min():g} to {finite.max():g}" if len(finite) else "none known"
        yield "numbers", span
    for column in SPLIT_COLUMNS:
        if column in table:
            counts = Counter(table[column])
            yield f"{column}s", _list(sorted(counts.items(), key=lambda item: (len(item[0]), item[0])))
    if not any(column in table for column in SPLIT_COLUMNS) and manifest.kind != "unlabelled":
        yield "folds", "none given; five are made, which keep groups together"
    grouped = manifest.with_group()
    if "group" in grouped.table:
        sizes = grouped.table["group"].value_counts()
        yield "groups", f"{len(sizes)}, of {sizes.min()} to {sizes.max()} clips"
    durations = manifest.durations
    if np.isfinite(durations).any():
        minutes = float(np.nansum(durations)) / 60
        yield "lengths", f"{np.nanmin(durations):.3g} to {np.nanmax(durations):.3g} s, {minutes:.3g} minutes in all"


def _list(counts: list[tuple[str, int]]) -> str:
    text = ", ".join(f"{name} ({count})" for name, count in counts[:_SHOWN])
    return text + (f" and {len(counts) - _SHOWN} more" if len(counts) > _SHOWN else "")


def check_use(manifest: Manifest, chapter: str = "") -> list[Problem]:
    """Fitness of a corpus for training and test: the kind of its labels, and its splits.

    Parameters
    ----------
    manifest
        The corpus.
    chapter
        One of :data:`LABELS`; without it any will do.

    Returns
    -------
    list of Problem
        Errors that training would raise; empty where there are none.

    Notes
    -----
    Book page: ``data``.
    """
    where = manifest.source or manifest.root
    if manifest.kind == "unlabelled":
        message = (
            f"{where}: no clip has a label; it can be listened to and described by a trained model, not trained on"
        )
        return [Problem("no labels", message, severity="error" if chapter else "warning")]
    allowed = LABELS.get(chapter, tuple(_KINDS))
    if manifest.kind not in allowed:
        needed = " or ".join(_KINDS[kind] for kind in allowed)
        return [Problem("labels", f"{where}: it has {_KINDS[manifest.kind]}; {chapter} needs {needed}")]
    try:
        for fold in fold_names(manifest):
            split_clips(manifest, fold)
    except AudioAttnError as error:
        return [Problem("no test", str(error))]
    return []
