"""Differences of systems to one reference: with their intervals and each seed, or along a quantity."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from audioattn_lib.core.numbers import tenths, with_minus

from ..figure import Figure, render
from ..style import Theme
from .results import DASHES, require
from .spectrogram import NARROW, WIDTH

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

__all__ = ["plot_gain_curves", "plot_gain_panels", "plot_gains"]

_RING: dict[str, Any] = {"marker": "o", "mfc": "none", "ms": 3.6, "mew": 0.9, "ls": "none"}
_SPREAD = 0.05
"""Factor between the places of neighbouring systems on the logarithmic axis: intervals do not hide each other."""


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
    values = _in_points(table)
    names = [str(name) for name in table.index]

    def draw(theme: Theme, width: float = WIDTH) -> Any:
        from matplotlib.figure import Figure as MatplotlibFigure
        from matplotlib.ticker import MaxNLocator

        ax = MatplotlibFigure(figsize=(width, 0.31 * len(names) + 0.9), layout="constrained").add_subplot()
        ax.axvline(0, color=theme.ink, lw=0.9, zorder=0)
        for row, (name, (difference, low, high)) in enumerate(zip(names, values, strict=True)):
            if seeds is not None and name in seeds.index:
                singles = 100 * seeds.loc[name].dropna().to_numpy(dtype=float)
                ax.plot(singles, [row - 0.28] * len(singles), color=theme.muted, zorder=3, **_RING)
            _draw_gain(ax, row, difference, low, high, theme)
            ax.text(1.01, row, _signed(difference), transform=ax.get_yaxis_transform(), va="center", color=theme.ink)
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
        f"{name} {_signed(difference)}" + ("" if np.isnan(low) else f" ({_signed(low)} to {_signed(high)})")
        for name, (difference, low, high) in zip(names, values, strict=True)
    )
    rings = "" if seeds is None else " Rings are single seeds."
    alt = f"{title or label}, against {reference}, with 95 % intervals: {sentence}."
    return render(draw, alt, f"{caption}{rings}", narrow=lambda theme: draw(theme, NARROW))


def plot_gain_panels(
    panels: Mapping[str, pd.DataFrame],
    *,
    reference: str = "the mean",
    title: str = "",
    caption: str = "Lines are 95 % intervals.",
) -> Figure:
    """Difference of many systems to a reference on several tasks: a panel a task, a line a system in all of them.

    An interval that excludes zero is drawn thick, one that does not thin. On a phone the panels lie below each other.

    Parameters
    ----------
    panels
        By title of the task: a row a system by its title, with ``difference``, ``low`` and ``high`` in [-1, 1].
    reference
        What the systems are compared with; zero on the axes.
    title, caption
        Text above and below the picture.

    Raises
    ------
    ValueError
        When there is no panel, or a column is missing.

    Notes
    -----
    Book page: ``comparison_seeds``.
    """
    if not panels:
        raise ValueError("panels is empty; give at least one")
    for table in panels.values():
        require(table, ("difference", "low", "high"))
    names = list(dict.fromkeys(str(name) for table in panels.values() for name in table.index))

    def draw(theme: Theme, width: float = WIDTH) -> Any:
        from matplotlib.figure import Figure as MatplotlibFigure
        from matplotlib.ticker import MaxNLocator

        rows, columns = (len(panels), 1) if width < WIDTH else (1, len(panels))
        lines = [textwrap.fill(name, 22 if width < WIDTH else 34) for name in names]
        line = 0.26 if width < WIDTH else 0.2
        figure = MatplotlibFigure(figsize=(width, (line * len(names) + 1.2) * rows), layout="constrained")
        axes = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).ravel()
        for ax, (panel, table) in zip(axes, panels.items(), strict=True):
            ax.axvline(0, color=theme.ink, lw=0.9, zorder=0)
            for name, (difference, low, high) in zip(map(str, table.index), _in_points(table), strict=True):
                _draw_gain(ax, names.index(name), difference, low, high, theme, scale=0.7)
            ax.set_yticks(range(len(names)), lines, color=theme.ink, fontsize="small")
            ax.set_ylim(len(names) - 0.4, -0.6)
            ax.xaxis.set_major_locator(MaxNLocator(nbins=4 if columns > 3 else 6, symmetric=True))
            ax.set_title(textwrap.fill(panel, max(12, 60 // columns)), fontsize="small")
            ax.spines["left"].set_visible(False)
            ax.tick_params(left=False, labelleft=columns == 1 or ax is axes[0], labelbottom=True)
            ax.grid(alpha=0.4)
        figure.supxlabel(f"Difference to {reference} in points", fontsize="medium")
        if title:
            figure.suptitle(textwrap.fill(title, 40 if width < WIDTH else 90))
        return figure

    sentences = []
    for panel, table in panels.items():
        values = _in_points(table)
        sure = [
            f"{name} {_signed(difference)}"
            for name, (difference, low, high) in zip(table.index, values, strict=True)
            if low > 0 or high < 0
        ]
        span = f"{_signed(values[:, 0].min())} to {_signed(values[:, 0].max())} points"
        sentences.append(f"{panel}: {span}; reliable: {', '.join(sure) or 'none'}")
    alt = f"{title or f'Difference to {reference} in points'}. {'. '.join(sentences)}."
    return render(draw, alt, caption, narrow=lambda theme: draw(theme, NARROW))


def plot_gain_curves(
    panels: Mapping[str, Mapping[str, pd.DataFrame]],
    *,
    along: str = "share",
    reference: str = "the mean",
    x_label: str = "Share of the clip that the event fills",
    title: str = "",
    caption: str = "Vertical lines are 95 % intervals.",
) -> Figure:
    """Gains over a reference in points, with intervals: a panel for each corpus, a curve for each system.

    Parameters
    ----------
    panels
        By title of the panel, then of the system: a table with the columns ``along``, ``difference``, ``low`` and
        ``high``, differences of shares (NaN for no interval). The first system of a panel is drawn strongest.
    along
        Column of the horizontal axis, a share above 0; the axis is logarithmic.
    reference
        What the gain is over.
    x_label
        Name of the horizontal axis.
    title, caption
        Text above and below the picture.

    Raises
    ------
    ValueError
        When there is no curve, or a column is missing.

    Notes
    -----
    Book page: ``mixtures_results``.
    """
    if not panels or not all(panels.values()):
        raise ValueError("panels is empty, or one of them is; give at least one curve for each")
    for curves in panels.values():
        for table in curves.values():
            require(table, (along, "difference", "low", "high"))
    names = list(dict.fromkeys(name for curves in panels.values() for name in curves))

    def draw(theme: Theme, width: float = WIDTH) -> Any:
        from matplotlib.figure import Figure as MatplotlibFigure
        from matplotlib.lines import Line2D

        rows = len(panels) if width < WIDTH else 1
        legend = 0.19 * (len(names) if width < WIDTH else -(-len(names) // 3)) + 0.2
        figure = MatplotlibFigure(figsize=(width, 2.8 * rows + legend), layout="constrained")
        axes = figure.subplots(rows, len(panels) // rows, squeeze=False, sharey=True).ravel()
        looks: dict[str, dict[str, Any]] = {
            name: {
                "color": theme.series[number % len(theme.series)],
                "ls": DASHES[number % len(DASHES)],
                "lw": 2.4 if number == 0 else 1.3,
            }
            for number, name in enumerate(names)
        }
        for ax, (panel, curves) in zip(axes, panels.items(), strict=True):
            ax.axhline(0.0, color=theme.chance, lw=1)
            for name, table in curves.items():
                shift = 1 + _SPREAD * (names.index(name) - (len(names) - 1) / 2)
                places = table[along].to_numpy(dtype=float) * shift
                gains, low, high = (
                    100 * table[column].to_numpy(dtype=float) for column in ("difference", "low", "high")
                )
                ax.plot(places, gains, marker="o", ms=5 if name == names[0] else 3, **looks[name])
                for place, bottom, top in zip(places, low, high, strict=True):
                    ax.plot([place, place], [bottom, top], color=looks[name]["color"], lw=1, alpha=0.8)
            ax.set_xscale("log")
            ticks = sorted({float(f"{share:.2g}") for table in curves.values() for share in table[along]})
            ax.set_xticks(ticks, [f"{100 * share:.2g} %" for share in ticks])
            ax.minorticks_off()
            ax.grid(axis="y", alpha=0.5)
            ax.set_title(panel)
            ax.set_xlabel(x_label)
        for ax in axes if rows > 1 else axes[:1]:
            ax.set_ylabel(f"Gain over {reference} in points")
        handles = [Line2D([], [], label=name, **look) for name, look in looks.items()]
        figure.legend(handles=handles, loc="outside lower left", ncols=1 if width < WIDTH else 3, handlelength=3)
        if title:
            figure.suptitle(title, x=0.01, ha="left", fontsize=9.5, fontweight="bold")
        return figure

    sentences = []
    for panel, curves in panels.items():
        name, table = next(iter(curves.items()))
        points = zip(table[along], table["difference"], table["low"], table["high"], strict=True)
        values = (
            f"{100 * x:.1f} %: {_signed(100 * d)} ({_signed(100 * lo)} to {_signed(100 * hi)})"
            for x, d, lo, hi in points
        )
        sentences.append(f"{panel}, {name}, by share: {'; '.join(values)}")
    alt = f"{title or f'Gain over {reference} in points'}. {'. '.join(sentences)}."
    return render(draw, alt, caption, narrow=lambda theme: draw(theme, NARROW))


def _in_points(table: pd.DataFrame) -> NDArray[np.float64]:
    """Difference and ends of its interval in points, shape ``(systems, 3)``."""
    return 100 * table[["difference", "low", "high"]].to_numpy(dtype=np.float64)


def _draw_gain(ax: Any, row: int, difference: float, low: float, high: float, theme: Theme, scale: float = 1.0) -> None:
    """Draw a dot with its interval, thick where it excludes zero."""
    is_sure = bool(low > 0 or high < 0)
    width = scale * (3 if is_sure else 1.4)
    ax.plot([low, high], [row, row], color=theme.attention, lw=width, solid_capstyle="butt")
    ax.plot(difference, row, "o", color=theme.attention, ms=scale * (6.5 if is_sure else 5))


def _signed(points: float) -> str:
    """A difference in points; zero has no minus."""
    return with_minus(tenths(points, "+"))
