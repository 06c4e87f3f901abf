"""Plot scores by class, score over sparsity, and calibration of probabilities."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from audioattn_lib.core.numbers import in_percent

from ..describe import mechanism_title
from ..figure import Figure, render
from ..style import Theme
from .results import DASHES, colour_bar, percent, require, write_on_cells
from .spectrogram import NARROW, WIDTH

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["plot_calibration", "plot_class_scores", "plot_sparsity"]

_MARKERS = ("o", "s", "D", "^", "v", "P")


class _Calibration(Protocol):
    @property
    def confidence(self) -> NDArray[Any]: ...
    @property
    def right(self) -> NDArray[Any]: ...
    @property
    def low(self) -> NDArray[Any]: ...
    @property
    def high(self) -> NDArray[Any]: ...
    @property
    def error(self) -> float: ...


def plot_class_scores(
    table: pd.DataFrame, *, label: str = "Recall", title: str = "", caption: str | None = None, missing: str = ""
) -> Figure:
    """Score of each class for each system as a coloured table: systems down, classes across.

    Parameters
    ----------
    table
        One row a system by title, one column a class, in [0, 1], NaN where a class was not tested; such as
        :func:`~audioattn_lib.experiments.common.studies.breakdowns.class_scores` returns.
    label
        Name of the score, beside the colour bar.
    title, caption
        Text above and below the picture; by default the latter says what the numbers are.
    missing
        What stands in place of the picture where the table is empty: why it is.

    Notes
    -----
    Book page: ``urban_sound``.
    """
    if missing and table.empty:
        return Figure({}, missing)
    if table.empty:
        raise ValueError("table is empty; give at least one system and one class")
    caption = f"{label} of each class in percent." if caption is None else caption
    shares = table.to_numpy(dtype=np.float64)
    systems = [mechanism_title(str(name)) for name in table.index]
    classes = [str(name).replace("_", " ") for name in table.columns]
    short = [name if len(name) <= 22 else f"{name[:21]}…" for name in classes]

    def draw(theme: Theme, width: float = WIDTH) -> Any:
        import seaborn as sns
        from matplotlib.figure import Figure as MatplotlibFigure

        small = width < WIDTH
        rows = [textwrap.fill(name, 13) for name in systems] if small else systems
        cell = min(0.55, (width - (1.2 if small else 2.4)) / len(classes))
        height = (0.34 if small else 0.28) * len(rows) + 0.35 + 0.075 * max(map(len, short))
        figure = MatplotlibFigure(figsize=(width, height), layout="constrained")
        ax = figure.add_subplot()
        fits = cell > (0.2 if small else 0.24)
        sns.heatmap(
            shares,
            cmap=theme.spectrogram,
            vmin=0,
            vmax=1,
            annot=100 * shares if fits else False,
            fmt=".0f",
            annot_kws={"size": 6.5 if small else 7.5},
            cbar=False,
            ax=ax,
        )
        write_on_cells(ax.texts, shares, theme)
        ax.set_xticks(np.arange(len(short)) + 0.5, short, rotation=40, ha="right", rotation_mode="anchor")
        ax.set_yticks(np.arange(len(rows)) + 0.5, rows, rotation=0, color=theme.ink, fontsize=7 if small else 8)
        ax.set_ylabel("")
        ax.spines[:].set_visible(False)
        ax.tick_params(length=0)
        if not small:
            colour_bar(figure, ax, ax.collections[0], label, share=True)
        if title:
            ax.set_title(title)
        return figure

    sentences = {
        name: [f"{of} {100 * share:.0f} %" for of, share in zip(classes, row, strict=True) if share == share]
        for name, row in zip(systems, shares, strict=True)
    }
    sentence = "; ".join(f"{name}: {', '.join(scores)}" for name, scores in sentences.items())
    return render(
        draw, f"{title or label} of each class. {sentence}.", caption, narrow=lambda theme: draw(theme, NARROW)
    )


def plot_sparsity(
    table: pd.DataFrame,
    *,
    label: str = "Accuracy",
    title: str = "",
    caption: str = "Numbers are alpha: along a dashed line it rises from 1 to 2. Solid lines are 95 % intervals.",
    missing: str = "",
) -> Figure:
    r"""Score over the share of the sound with any attention: a line a family, a point an :math:`\alpha`.

    Parameters
    ----------
    table
        One row a mechanism with the columns ``family``, ``title``, ``alpha``, ``attended``, ``score``, ``low`` and
        ``high``; such as :func:`~audioattn_lib.experiments.common.studies.breakdowns.sparsity_table` returns.
    label
        Name of the score.
    title, caption
        Text above and below the picture.
    missing
        What stands in place of the picture where the table is empty: why it is.

    Notes
    -----
    Book page: ``urban_sound``.
    """
    if missing and table.empty:
        return Figure({}, missing)
    require(table, ("family", "title", "alpha", "attended", "score", "low", "high"))
    families = [(str(name), rows.sort_values("alpha")) for name, rows in table.groupby("family", sort=False)]

    def draw(theme: Theme, width: float = WIDTH) -> Any:
        from matplotlib.figure import Figure as MatplotlibFigure
        from matplotlib.ticker import MaxNLocator

        small = width < WIDTH
        figure = MatplotlibFigure(figsize=(width, 3.5 if small else 3.0), layout="constrained")
        ax = figure.add_subplot()
        ends = table[["low", "high"]].to_numpy(dtype=float)
        inches = (0.8 * width, 0.5 * figure.get_figheight())  # about what the axes have
        for number, (family, rows) in enumerate(families):
            colour = theme.series[number % len(theme.series)]
            ax.plot(rows["attended"], rows["score"], color=colour, lw=1, ls=(0, (4, 3)), zorder=1)
            ax.vlines(rows["attended"], rows["low"], rows["high"], color=colour, lw=1.6, alpha=0.6)
            ax.plot(rows["attended"], rows["score"], _MARKERS[number], color=colour, ms=7, label=family)
            below = number % 2 == 1
            points = rows[["attended", "low" if below else "high"]].to_numpy(dtype=float)
            points = points / (1.04, max(float(np.ptp(ends)), 1e-9)) * inches * 72
            others = np.concatenate([own["attended"] for name, own in families if name != family] or [[]])
            for (_, row), shift in zip(rows.iterrows(), _apart(points * (1, -1 if below else 1)), strict=True):
                # beside its own line where that of another family may run through it
                is_beside = bool((np.abs(others - row["attended"]) < 0.02).any())
                side = (3 if below else -3) if is_beside else 0
                ax.annotate(
                    f"{row['alpha']:.3g}",
                    (row["attended"], row["low" if below else "high"]),
                    xytext=(side, -10 - shift if below else 3 + shift),
                    textcoords="offset points",
                    fontsize=7,
                    color=colour,
                    ha=("left" if below else "right") if is_beside else "center",
                )
        ax.set_xlim(0, 1.04)
        ax.set_xlabel("Share of the sound with any attention")
        ax.set_ylabel(label)
        ax.yaxis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 5, 10]))
        ax.margins(y=0.18)
        percent(ax, "x")
        percent(ax, "y")
        ax.grid(alpha=0.5)
        figure.legend(loc="outside upper left", ncols=1 if small else 2)
        if title:
            ax.set_title(title)
        return figure

    sentence = "; ".join(
        f"{row['title']} attends to {100 * row['attended']:.0f} % of the sound, "
        f"{label.lower()} {in_percent(row['score'])}"
        for _, row in table.iterrows()
    )
    return render(draw, f"{title or f'{label} and sparsity'}: {sentence}.", caption, narrow=lambda t: draw(t, NARROW))


def _apart(points: NDArray[Any]) -> list[float]:
    """Points by which to raise short labels at ``points``, shape ``(n, 2)``, so that none lies on another."""
    placed: list[tuple[float, float]] = []
    shifts = []
    for x, y in points:
        shift = 0.0
        while any(abs(x - left) < 19 and abs(y + shift - height) < 8 for left, height in placed):
            shift += 2
        placed.append((x, y + shift))
        shifts.append(shift)
    return shifts


def plot_calibration(
    curves: Mapping[str, _Calibration], *, title: str = "", caption: str | None = None, missing: str = ""
) -> Figure:
    """Reliability diagram: share of clips predicted right over the confidence of the prediction.

    Parameters
    ----------
    curves
        By name, such as :class:`~audioattn_lib.evaluation.scores.calibration.Calibration`.
    title, caption
        Text above and below the picture; by default the latter says how to read it.
    missing
        What stands in place of the picture where there are no curves: why there are none.

    Raises
    ------
    ValueError
        When there are no curves and no reason why.

    Notes
    -----
    Book page: ``urban_sound``.
    """
    if not curves and missing:
        return Figure({}, missing)
    if not curves:
        raise ValueError("curves is empty; give at least one, by name")
    if caption is None:
        caption = (
            "Each dot is an equal part of the clips; lines are 95 % intervals. Below the dashed line, a network is "
            "surer than it is right. The number is the expected calibration error."
        )

    def draw(theme: Theme, width: float = 5.2) -> Any:
        from matplotlib.figure import Figure as MatplotlibFigure

        figure = MatplotlibFigure(figsize=(width, width * 0.8 + 0.2 * len(curves)), layout="constrained")
        ax = figure.add_subplot()
        ax.plot([0, 1], [0, 1], color=theme.chance, lw=1, ls=(0, (4, 3)), zorder=0)
        for number, (name, curve) in enumerate(curves.items()):
            colour = theme.series[number % len(theme.series)]
            ax.vlines(curve.confidence, curve.low, curve.high, color=colour, lw=1, alpha=0.5)
            look: dict[str, Any] = {
                "marker": _MARKERS[number % len(_MARKERS)],
                "ls": DASHES[number % len(DASHES)],
                "ms": 4.5,
            }
            label = f"{mechanism_title(name)}, {curve.error:.2f}"
            ax.plot(curve.confidence, curve.right, color=colour, lw=1.4, label=label, **look)
        ax.set_xlim(0, 1.02)
        ax.set_ylim(0, 1.02)
        ax.set_xlabel("Probability of the predicted class")
        ax.set_ylabel("Predicted right")
        percent(ax, "x")
        percent(ax, "y")
        ax.grid(alpha=0.5)
        figure.legend(loc="outside lower left", ncols=1 if width < 5 else 2)
        if title:
            ax.set_title(title)
        return figure

    errors = "; ".join(f"{mechanism_title(name)} {curve.error:.2f}" for name, curve in curves.items())
    return render(
        draw,
        f"{title or 'Reliability of probabilities'}: expected calibration errors {errors}.",
        caption,
        narrow=lambda theme: draw(theme, NARROW),
    )
