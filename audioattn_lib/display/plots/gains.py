"""Differences of systems to one reference, with their intervals and each seed."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

import numpy as np

from ..figure import Figure, render
from ..style import Theme
from .results import require
from .spectrogram import NARROW, WIDTH

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["plot_gains"]

_RING: dict[str, Any] = {"marker": "o", "mfc": "none", "ms": 3.6, "mew": 0.9, "ls": "none"}


def plot_gains(
    table: pd.DataFrame,
    *,
    seeds: pd.DataFrame | None = None,
    reference: str = "mean pooling",
    label: str = "Difference in points",
    title: str = "",
    caption: str = "Lines are 95 % intervals.",
) -> Figure:
    """Difference of each system to a reference, with its interval and the difference of each seed.

    An interval that excludes zero is drawn thick, one that does not thin.

    Parameters
    ----------
    table
        A row a system by its title, with ``difference``, ``low`` and ``high`` in [-1, 1]; NaN ends for no interval.
    seeds
        Difference of each seed, small rings: a row a system by its title, a column a seed.
    reference
        What the systems are compared with; zero on the axis.
    label
        Name of the axis.
    title, caption
        Text above and below the picture.

    Notes
    -----
    Book page: ``urban_sound_recordings``.
    """
    require(table, ("difference", "low", "high"))
    values = 100 * table[["difference", "low", "high"]].to_numpy(dtype=float)  # (systems, 3)
    names = [str(name) for name in table.index]

    def draw(theme: Theme, width: float = WIDTH) -> Any:
        from matplotlib.figure import Figure as MatplotlibFigure
        from matplotlib.ticker import MaxNLocator

        ax = MatplotlibFigure(figsize=(width, 0.31 * len(names) + 0.9), layout="constrained").add_subplot()
        ax.axvline(0, color=theme.ink, lw=0.9, zorder=0)
        for row, (name, (difference, low, high)) in enumerate(zip(names, values, strict=True)):
            is_sure = bool(low > 0 or high < 0)
            if seeds is not None and name in seeds.index:
                singles = 100 * seeds.loc[name].dropna().to_numpy(dtype=float)
                ax.plot(singles, [row - 0.28] * len(singles), color=theme.muted, zorder=3, **_RING)
            ax.plot([low, high], [row, row], color=theme.attention, lw=3 if is_sure else 1.4, solid_capstyle="butt")
            ax.plot(difference, row, "o", color=theme.attention, ms=6.5 if is_sure else 5)
            ax.text(1.01, row, f"{difference:+.1f}", transform=ax.get_yaxis_transform(), va="center", color=theme.ink)
        lines = [textwrap.fill(name, 16) if width < WIDTH else name for name in names]
        ax.set_yticks(range(len(names)), lines, color=theme.ink)
        ax.set_ylim(len(names) - 0.4, -0.7)
        ax.xaxis.set_major_locator(MaxNLocator(nbins=4 if width < WIDTH else 8))
        ax.set_xlabel(label if width >= WIDTH else textwrap.fill(label, 34))
        ax.spines["left"].set_visible(False)
        ax.tick_params(left=False)
        ax.grid(axis="x", alpha=0.5)
        if title:
            ax.set_title(title if width >= WIDTH else textwrap.fill(title, 40))
        return ax.figure

    sentence = "; ".join(
        f"{name} {difference:+.1f}" + ("" if np.isnan(low) else f" ({low:+.1f} to {high:+.1f})")
        for name, (difference, low, high) in zip(names, values, strict=True)
    )
    rings = "" if seeds is None else " Rings are single seeds."
    alt = f"{title or label}, against {reference}, with 95 % intervals: {sentence}."
    return render(draw, alt, f"{caption}{rings}", narrow=lambda theme: draw(theme, NARROW))
