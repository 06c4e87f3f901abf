"""Score over cost, and what no other system beats in both: a panel a task."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from audioattn_lib.evaluation.statistics.pareto import pareto_front

from ..figure import Figure, render
from ..style import Theme
from .results import percent, require, short_number
from .spectrogram import NARROW, WIDTH

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

__all__ = ["plot_pareto"]

_MARKERS = ("o", "s", "D", "^", "v", "P", "X", "*")
_NEAR = 12.0
_ROOM = 8.0
"""From the middle of a number to that of a marker or of another number, in points: then both can be read."""
_DIRECTIONS = np.deg2rad([90, 135, 45, 180, 0, 225, 315, 270])
_PLACES = np.concatenate(
    [radius * np.column_stack([np.cos(_DIRECTIONS), np.sin(_DIRECTIONS)]) for radius in (8, 11, 16, 22)]
)
"""Where the number of a point may stand, in points from it, shape ``(places, 2)``; what comes first is preferred."""


def plot_pareto(
    table: pd.DataFrame,
    cost: str,
    *,
    cost_label: str,
    score_label: str = "Accuracy",
    higher_is_better: bool = False,
    is_share: bool = False,
    is_logarithmic: bool = False,
    title: str = "",
    caption: str = "The line joins what no other mechanism beats in both. Numbers name its points, in the order of the "
    "line. The dashed line is the mean's score.",
    missing: str = "",
) -> Figure:
    """Score of each mechanism over a number that it costs or brings: a panel a task, a colour and a sign a family.

    Parameters
    ----------
    table
        One row a task and mechanism with the columns ``task``, ``mechanism``, ``family``, ``name`` (``"mean"`` is the
        one at the dashed line), ``score``, and the one that ``cost`` names; rows without it are left out.
    cost
        Column of the horizontal axis.
    cost_label, score_label
        Names of the axes.
    higher_is_better
        Whether ``cost`` is better the higher it is.
    is_share
        Whether ``cost`` is a share, to be written in percent.
    is_logarithmic
        Whether its axis is logarithmic: where few cost many times what the others do.
    title, caption
        Text above and below the picture.
    missing
        What stands in place of the picture where no row has the cost: why it is.

    Notes
    -----
    Points on the line need not differ reliably from those off it. Book page: ``comparison``.
    """
    if cost in table:
        table = table[table[cost].notna()]
    if missing and (table.empty or cost not in table):
        return Figure({}, missing)
    require(table, ("task", "mechanism", "family", "name", "score", cost))
    tasks = list(dict.fromkeys(table["task"]))
    families = list(dict.fromkeys(table["family"]))
    fronts = {task: _front(table[table["task"] == task], cost, higher_is_better) for task in tasks}

    def draw(theme: Theme, width: float = WIDTH) -> Any:
        from matplotlib.figure import Figure as MatplotlibFigure
        from matplotlib.layout_engine import ConstrainedLayoutEngine
        from matplotlib.lines import Line2D
        from matplotlib.ticker import LogLocator, NullLocator

        narrow = width < WIDTH
        columns = 1 if narrow else min(len(tasks), 2)
        lines = -(-len(tasks) // columns)
        legend = 0.2 * (-(-len(families) // (2 if narrow else 4))) + 0.15
        cost_lines = textwrap.wrap(cost_label, 40)
        named = 0.145 * (max((len(front) for front in fronts.values()), default=0) + len(cost_lines) - 1)
        figure = MatplotlibFigure(
            figsize=(width, (2.4 + named) * lines + legend), layout=ConstrainedLayoutEngine(h_pad=0.1)
        )
        axes = figure.subplots(lines, columns, squeeze=False).ravel()
        for ax in axes[len(tasks) :]:
            ax.set_axis_off()
        for ax, task in zip(axes, tasks, strict=False):
            rows, front = table[table["task"] == task], fronts[task]
            for number, family in enumerate(families):
                own = rows[rows["family"] == family]
                ax.plot(own[cost], own["score"], alpha=0.85, ms=4.5, **_look(theme, number))
            ax.plot(front[cost], front["score"], color=theme.ink, lw=0.9, zorder=0)
            for level in rows.loc[rows["name"] == "mean", "score"]:
                ax.axhline(float(level), color=theme.chance, lw=0.8, ls="--")
            listed = [f"{number} {name}" for number, name in enumerate(front["mechanism"], start=1)]
            ax.set_title(task)
            named_points = [textwrap.shorten(each, 44, placeholder="…") for each in listed]
            ax.set_xlabel("\n".join(cost_lines))
            below = -24 - 11 * len(cost_lines)
            ax.annotate(
                "\n".join(named_points),
                (0, 0),
                (0, below),
                "axes fraction",
                textcoords="offset points",
                va="top",
                fontsize=8,
            )
            ax.set_ylabel(score_label)
            ax.margins(0.06, 0.14)
            if is_logarithmic:
                ax.set_xscale("log")
                ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
                ax.xaxis.set_major_formatter(short_number)
                ax.xaxis.set_minor_locator(NullLocator())
            percent(ax, "y")
            if is_share:
                percent(ax, "x")
            ax.grid(alpha=0.4)
        handles = [Line2D([], [], label=name, **_look(theme, i)) for i, name in enumerate(families)]
        figure.legend(handles=handles, loc="outside upper left", ncols=2 if narrow else 4, handletextpad=0.1)
        if title:
            figure.suptitle(title, x=0.01, ha="left", fontsize=9.5, fontweight="bold")
        figure.draw_without_rendering()  # from here on it is known where the points lie
        for ax, task in zip(axes, tasks, strict=False):
            rows = table[table["task"] == task]
            _number(ax, fronts[task][[cost, "score"]].to_numpy(float), rows[[cost, "score"]].to_numpy(float), theme)
        return figure

    sentences = []
    for task, front in fronts.items():
        points = zip(front["mechanism"], front["score"], front[cost], strict=True)
        scores = (f"{name} {100 * score:.0f} % at {value:.3g}" for name, score, value in points)
        sentences.append(f"{task}: {', '.join(scores)}")
    alt = (
        f"{title or score_label} over {cost_label.lower()}; mechanisms that none beats in both. {'. '.join(sentences)}."
    )
    return render(draw, alt, caption, narrow=_narrow(draw))


def _look(theme: Theme, number: int) -> dict[str, Any]:
    """Colour and sign of a family."""
    colour = theme.series[number % len(theme.series)]
    return {"color": colour, "marker": _MARKERS[number % len(_MARKERS)], "ls": ""}


def _number(ax: Any, front: NDArray[np.float64], points: NDArray[np.float64], theme: Theme) -> None:
    """Number the points of the front, each at the place around it that is farthest from markers and other numbers."""
    from matplotlib.patheffects import withStroke

    scale = 72 / ax.figure.dpi
    taken = scale * ax.transData.transform(points)
    low, high = scale * ax.bbox.min, scale * ax.bbox.max
    for number, (point, centre) in enumerate(zip(front, scale * ax.transData.transform(front), strict=True), start=1):
        places = centre + _PLACES
        others = taken[~np.isclose(taken, centre).all(axis=1)]
        room = np.abs(places[:, None] - others).max(axis=2, initial=0).min(axis=1, initial=_ROOM)
        is_inside = ((places > low + 4) & (places < high - 4)).all(axis=1)
        best = int(np.argmax(np.minimum(room, _ROOM) + is_inside * _ROOM))
        line = {"arrowstyle": "-", "color": theme.muted, "lw": 0.6, "shrinkA": 4, "shrinkB": 3}
        ax.annotate(
            str(number),
            point,
            _PLACES[best],
            textcoords="offset points",
            ha="center",
            va="center",
            fontsize=7.5,
            arrowprops=line if np.hypot(*_PLACES[best]) > _NEAR else None,
            path_effects=[withStroke(linewidth=2, foreground=theme.page)],
        )
        taken = np.vstack([taken, places[best]])


def _narrow(draw: Callable[..., Any]) -> Callable[[Theme], Any]:
    return lambda theme: draw(theme, NARROW)


def _front(rows: pd.DataFrame, cost: str, higher_is_better: bool) -> pd.DataFrame:
    """Rows on the front, from the cheapest to the most expensive."""
    sign = -1 if higher_is_better else 1
    on = rows[pareto_front(sign * rows[cost].to_numpy(dtype=np.float64), rows["score"])]
    return on.drop_duplicates(["score", cost]).sort_values(cost)
