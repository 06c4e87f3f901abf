"""Scores from the sounds that training knew to those that it did not: a slope a system."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..describe import mechanism_title
from ..figure import Figure, render
from ..style import Theme
from .results import DASHES, REFERENCES, percent, require
from .spectrogram import NARROW, WIDTH

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["plot_slopes"]

_GREYS: tuple[tuple[Any, str], ...] = (((0, (1, 1.6)), "o"), ((0, (5, 1.6)), "s"), ((0, (6, 1.5, 1, 1.5)), "^"))
"""Dash and sign of the references, which share their colour."""
_SIGNS = ("o", "s", "^", "D", "v", "P", "X", "*")
"""Signs of the systems, one a dash: in a legend they say more than short pieces of dashed lines."""
_SPREAD = 0.16
"""Share of the width over which the systems of one side are spread, so that their intervals do not hide each other."""


def plot_slopes(
    start: pd.DataFrame,
    ends: Mapping[str, pd.DataFrame],
    *,
    start_label: str = "seen",
    references: Sequence[str] = REFERENCES,
    looks: Mapping[str, tuple[int, int]] | None = None,
    label: str = "Accuracy",
    title: str = "",
    caption: str = "Vertical lines are 95 % intervals. Grey: baselines and chance.",
    missing: str = "",
) -> Figure:
    """Slope plot: the score of each system on known sounds, left, and on unknown ones, right; a panel for each kind.

    Parameters
    ----------
    start
        One row a system with the columns ``score``, ``low`` and ``high`` in [0, 1] (NaN for no interval).
    ends
        The same on other test sets, by their title; at least one. Systems that a side lacks are left out.
    start_label
        Title of the test set of ``start``.
    references
        Rows that are not systems under study; drawn in grey.
    looks
        Numbers of a colour and of a dash of a system, such as one colour for all that belong together; in order when
        not given.
    label
        Name of the score.
    title, caption
        Text above and below the picture.
    missing
        What stands in place of the picture where a side is empty: why it is.

    Raises
    ------
    ValueError
        When a side is empty and no reason is given, or a column is missing.

    Notes
    -----
    Book page: ``scenes_and_instruments``.
    """
    if missing and (start.empty or not ends):
        return Figure({}, missing)
    if start.empty or not ends:
        raise ValueError("start or ends is empty; give the scores of at least one system on two test sets")
    for table in (start, *ends.values()):
        require(table, ("score", "low", "high"))
    names = [name for name in start.index if all(name in table.index for table in ends.values())]
    systems = [name for name in names if name not in references]
    drawn = {name: (number, number) for number, name in enumerate(systems)} | dict(looks or {})
    greys = {name: _GREYS[number % len(_GREYS)] for number, name in enumerate(n for n in names if n not in systems)}

    def draw(theme: Theme, width: float = WIDTH) -> Any:
        from matplotlib.figure import Figure as MatplotlibFigure
        from matplotlib.lines import Line2D

        narrow = width < WIDTH
        rows = len(ends) if narrow else 1
        legend = 0.19 * (len(names) if narrow else -(-len(names) // 2)) + 0.2
        figure = MatplotlibFigure(figsize=(width, 2.7 * rows + legend), layout="constrained")
        axes = figure.subplots(rows, len(ends) // rows, squeeze=False, sharey=True).ravel()
        handles: dict[str, Any] = {}
        for ax, (end_label, end) in zip(axes, ends.items(), strict=True):
            for number, name in enumerate(names):
                strong = name in systems
                if strong:
                    hue, turn = drawn[name]
                    colour = theme.series[hue % len(theme.series)]
                    dash, sign = DASHES[turn % len(DASHES)], _SIGNS[turn % len(_SIGNS)]
                else:
                    colour, (dash, sign) = theme.chance, greys[name]
                look: dict[str, Any] = {"color": colour, "ls": dash, "lw": 1.8 if strong else 1.2, "marker": sign}
                look["ms"] = 4.5 if strong else 3.5
                shift = _SPREAD * ((number + 0.5) / len(names) - 0.5)
                places = np.array([shift, 1 + shift])
                scores = [float(table.loc[name, "score"]) for table in (start, end)]
                ax.plot(places, scores, **look)
                for place, table in zip(places, (start, end), strict=True):
                    interval = [float(table.loc[name, column]) for column in ("low", "high")]
                    ax.plot([place, place], interval, color=colour, lw=1, alpha=0.75)
                short_name = _short(mechanism_title(str(name)), 40)
                handles[short_name] = Line2D([], [], label=short_name, **look)
            ax.set_xticks([0, 1], [_short(start_label, 18), _short(end_label, 18)])
            ax.tick_params(axis="x", length=0, labelcolor=theme.ink)
            ax.set_xlim(-0.25, 1.25)
            ax.set_ylim(bottom=0)
            percent(ax, "y")
            ax.grid(axis="y", alpha=0.5)
            ax.set_title(f"From {_short(start_label, 18)} to {_short(end_label, 18)}")
        for ax in axes[: 1 if not narrow else None]:
            ax.set_ylabel(label)
        figure.legend(handles=[*handles.values()], loc="outside lower left", ncols=1 if narrow else 2, handlelength=4)
        if title:
            figure.suptitle(title, x=0.01, ha="left", fontsize=9.5, fontweight="bold")
        return figure

    sentences = []
    for end_label, end in ends.items():
        pairs = (
            f"{mechanism_title(str(n))} {100 * start.loc[n, 'score']:.1f} % to {100 * end.loc[n, 'score']:.1f} %"
            for n in names
        )
        sentences.append(f"{start_label} to {end_label}: {'; '.join(pairs)}")
    alt = f"{title or label}, from {'. From '.join(sentences)}."
    return render(draw, alt, caption, narrow=lambda theme: draw(theme, NARROW))


def _short(name: str, longest: int) -> str:
    return name if len(name) <= longest else f"{name[: longest - 1]}…"
