"""Read the data of a Matplotlib figure as a table, a row a point."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["drawn_values"]

COLUMNS = ("panel", "kind", "series", "x", "y", "value")
MOST_CELLS = 5000
"""Cells of a picture in a picture, such as a spectrogram; of a larger one the table has none."""

_NUMBER = re.compile(r"[-\u2212+]?[\d.,]*\s?[%k]?")

Row = tuple[str, str, str, Any, Any, Any]


def drawn_values(figure: Figure) -> str:
    """Tabulate what a figure draws, as CSV: a row a point of a line, a dot, a bar or a cell of a matrix.

    Columns are ``panel`` (title of the axes), ``kind``, ``series`` (as in the legend, or the ``gid`` of what is not in
    it), ``x``, ``y`` and, of cells, ``value``. Where an axis has names instead of numbers, so has its column. Empty
    where nothing has a number.
    """
    axes = [ax for ax in figure.axes if ax.get_label() != "<colorbar>"]
    rows = [row for number, ax in enumerate(axes) for row in _of_axes(ax, number)]
    if not rows:
        return ""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(rows)
    return text.getvalue()


def _of_axes(ax: Axes, number: int) -> Iterator[Row]:
    from matplotlib.collections import PathCollection, QuadMesh
    from matplotlib.patches import Rectangle

    titles = (ax.get_title(loc=place) for place in ("left", "center", "right"))  # type: ignore[arg-type]
    panel = " ".join(next(filter(None, titles), ax.get_ylabel() or f"panel {number + 1}").split())
    across, down = _names(ax.xaxis), _names(ax.yaxis)

    def point(kind: str, artist: Any, x: Any, y: Any, value: Any = "") -> Row:
        label = str(artist.get_gid() or artist.get_label())
        return panel, kind, "" if label.startswith("_") else label, _told(x, across), _told(y, down), _told(value, {})

    for line in ax.lines:
        if line.get_transform() == ax.transData:
            kind = "dot" if line.get_linestyle() in ("None", "none", "", " ") else "line"
            values = zip(np.ravel(line.get_xdata()), np.ravel(line.get_ydata()), strict=True)
            yield from (point(kind, line, x, y) for x, y in values)
    for collection in ax.collections:
        if isinstance(collection, PathCollection):
            yield from (point("dot", collection, x, y) for x, y in np.asarray(collection.get_offsets()))
        elif isinstance(collection, QuadMesh):
            yield from (point("cell", collection, x, y, v) for x, y, v in _cells(collection.get_array(), 0.5))
    for image in ax.images:
        yield from (point("cell", image, x, y, v) for x, y, v in _cells(image.get_array(), 0.0))
    for patch in ax.patches:
        if isinstance(patch, Rectangle) and patch.get_transform().contains_branch(ax.transData):
            yield point("bar", patch, patch.get_x() + patch.get_width(), patch.get_y() + patch.get_height() / 2)


def _names(axis: Any) -> dict[float, str]:
    """Names of places of an axis that has names instead of numbers."""
    from matplotlib.ticker import FixedLocator

    if not isinstance(axis.get_major_locator(), FixedLocator):
        return {}
    names = [" ".join(label.get_text().split()) for label in axis.get_ticklabels()]
    if all(_NUMBER.fullmatch(name) for name in names):
        return {}
    return dict(zip((float(place) for place in axis.get_majorticklocs()), names, strict=False))


def _told(value: Any, names: dict[float, str]) -> Any:
    if isinstance(value, str):
        return value
    try:
        number = float(value)
    except (TypeError, ValueError):
        return str(value)
    return names.get(number, f"{number:.6g}") if np.isfinite(number) else ""


def _cells(array: Any, shift: float) -> Iterator[tuple[float, float, Any]]:
    values = np.ma.getdata(array)
    if values.ndim == 2 and values.size <= MOST_CELLS:
        yield from ((column + shift, row + shift, value) for (row, column), value in np.ndenumerate(values))
