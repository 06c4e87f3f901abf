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

__all__ = ["plot_pareto"]

_MARKERS = ("o", "s", "D", "^", "v", "P", "X", "*")


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
        from matplotlib.lines import Line2D
        from matplotlib.ticker import LogLocator, NullLocator

        narrow = width < WIDTH
        columns = 1 if narrow else min(len(tasks), 2)
        lines = -(-len(tasks) // columns)
        legend = 0.2 * (-(-len(families) // (2 if narrow else 4))) + 0.15
        cost_lines = textwrap.wrap(cost_label, 40)
        named = 0.145 * (max((len(front) for front in fronts.values()), default=0) + len(cost_lines) - 1)
        figure = MatplotlibFigure(figsize=(width, (2.3 + named) * lines + legend), layout="constrained")
        axes = figure.subplots(lines, columns, squeeze=False).ravel()
        for ax in axes[len(tasks) :]:
            ax.set_axis_off()
        for ax, task in zip(axes, tasks, strict=False):
            rows, front = table[table["task"] == task], fronts[task]
            for number, family in enumerate(families):
                own = rows[rows["family"] == family]
                ax.plot(own[cost], own["score"], alpha=0.85, ms=4.5, **_look(theme, number))
            ax.plot(front[cost], front["score"], color=theme.ink, lw=0.9, zorder=0)
            for number, (_, row) in enumerate(front.iterrows(), start=1):
                place = (row[cost], row["score"])
                ax.annotate(str(number), place, xytext=(0, 6), textcoords="offset points", ha="center", fontsize=7.5)
            for level in rows.loc[rows["name"] == "mean", "score"]:
                ax.axhline(float(level), color=theme.chance, lw=0.8, ls="--")
            listed = [f"{number} {name}" for number, name in enumerate(front["mechanism"], start=1)]
            ax.set_title(task)
            named_points = [textwrap.shorten(each, 44, placeholder="…") for each in listed]
            ax.set_xlabel("\n".join([*cost_lines, *named_points]))
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


def _narrow(draw: Callable[..., Any]) -> Callable[[Theme], Any]:
    return lambda theme: draw(theme, NARROW)


def _front(rows: pd.DataFrame, cost: str, higher_is_better: bool) -> pd.DataFrame:
    """Rows on the front, from the cheapest to the most expensive."""
    sign = -1 if higher_is_better else 1
    on = rows[pareto_front(sign * rows[cost].to_numpy(dtype=np.float64), rows["score"])]
    return on.drop_duplicates(["score", cost]).sort_values(cost)
