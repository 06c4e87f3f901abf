"""Attention patterns: which patches of a spectrogram a patch may attend to, and the table of all pairs."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..figure import Figure, render
from ..style import Theme
from .spectrogram import NARROW, WIDTH

__all__ = ["plot_pattern"]


def plot_pattern(
    mask: NDArray[np.bool_],
    rows: int,
    columns: int,
    *,
    patch: tuple[int, int] | None = None,
    title: str = "",
    caption: str = "",
) -> Figure:
    """Draw an attention pattern twice: on the patches of the spectrogram for one patch, and as the table of all pairs.

    Parameters
    ----------
    mask
        Whether a patch (first axis) attends to another (second), shape ``(rows x columns, rows x columns)``; patches
        are read row by row, from low to high frequency.
    rows, columns
        Of the patches, at least 1: frequency and time.
    patch
        Row and column of the patch whose view is drawn; one near the middle when not given.
    title, caption
        Text above and below the picture.

    Raises
    ------
    ValueError
        When the shape of the mask is not that of the patches.

    Notes
    -----
    Book page: ``attention_patterns``.
    """
    size = rows * columns
    allowed = np.asarray(mask, dtype=bool)
    if allowed.shape != (size, size):
        raise ValueError(f"mask has shape {allowed.shape} for {rows} x {columns} patches; give ({size}, {size})")
    row, column = patch or ((rows - 1) // 2, (columns - 1) // 2)
    attended = allowed[row * columns + column].reshape(rows, columns)

    def draw(theme: Theme, width: float = WIDTH) -> Any:
        from matplotlib.colors import ListedColormap
        from matplotlib.figure import Figure as MatplotlibFigure
        from matplotlib.patches import Rectangle

        narrow = width < WIDTH
        figure = MatplotlibFigure(figsize=(width, 5.6 if narrow else 3.0), layout="constrained")
        left, right = figure.subplots(2, 1) if narrow else figure.subplots(1, 2)
        colours: dict[str, Any] = {"cmap": ListedColormap([theme.rule, theme.attention]), "vmin": 0, "vmax": 1}
        left.pcolormesh(attended, edgecolors=theme.page, lw=1.2, **colours)
        left.add_patch(Rectangle((column, row), 1, 1, fill=False, ec=theme.ink, lw=2.2))
        left.set_xticks(
            np.arange(0, columns, max(1, columns // 6)) + 0.5, np.arange(0, columns, max(1, columns // 6)) + 1
        )
        left.set_yticks([0.5, rows - 0.5], ["row 1 (low)", f"row {rows} (high)"])
        left.set_xlabel("Column of patches: time")
        left.set_ylabel("Frequency")
        left.set_title("One patch (outlined) attends to")
        right.imshow(allowed, aspect="auto", **colours)
        middles = (np.arange(rows) + 0.5) * columns - 0.5
        named = [f"row {number + 1}" for number in range(rows)]
        every = max(1, rows // 4)
        right.set_yticks(middles[::every], named[::every])
        right.set_xticks(middles[::every], named[::every])
        right.set_xlabel("Key: the patch attended to")
        right.set_ylabel("Query: the patch that attends")
        right.set_title("All pairs of patches")
        for ax in (left, right):
            ax.tick_params(length=0)
            ax.spines[:].set_visible(False)
        if title:
            figure.suptitle(title, x=0.01, ha="left", fontsize=9.5, fontweight="bold")
        return figure

    alt = (
        f"{title + ': ' if title else ''}of {rows} x {columns} patches, in rows and columns, the one in row {row + 1} "
        f"and column {column + 1} attends to {int(attended.sum())}, in {int(attended.any(axis=1).sum())} rows; "
        f"{100 * allowed.mean():.0f} % of all pairs attend."
    )
    return render(draw, alt, caption, narrow=lambda theme: draw(theme, NARROW))
