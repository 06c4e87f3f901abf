"""Results with their intervals, beside chance and the baseline."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from audioattn_lib.core.numbers import in_percent, tenths, with_minus

from ..describe import mechanism_title
from ..figure import Figure, render
from ..style import Theme
from .spectrogram import NARROW, WIDTH

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["plot_attention_evaluation", "plot_confusion", "plot_faithfulness", "plot_results", "plot_training"]

REFERENCES = ("linear", "chance")
DASHES = ("-", (0, (5, 1.5)), (0, (1.5, 1.2)), (0, (6, 1.5, 1.2, 1.5)), (0, (3, 2)), "-")
"""Dashes that tell curves apart, in order."""
_MEASURES_A_LINE = 5
"""Panels of measures side by side on a desk: more would run into each other."""
_MOST_NARROW_CLASSES = 12
"""Classes whose names have room beside each other on a phone."""
_SPLITS = {"valid": "validation", "train": "training"}
MEASURES = {
    "pointing_game": "Pointing game",
    "mass_inside_events": "Mass inside\nevents",
    "rank_accuracy": "Rank\naccuracy",
    "support_iou": "Support IoU",
    "deletion_area": "Deletion area\n(lower is better)",
    "insertion_area": "Insertion area",
    "randomised_weights": "Likeness after\nshuffling",
}
SIGNED = ("randomised_weights",)
"""Measures from -1 to 1, without uniform and random attention beside them."""
GAINS = {"deletion_area": "Deletion: gain\nover uniform", "insertion_area": "Insertion: gain\nover uniform"}
"""Measures whose level says more of the network than of its attention: drawn as the gain over uniform attention."""


class _Curve(Protocol):
    @property
    def kind(self) -> str: ...
    @property
    def fractions(self) -> NDArray[Any]: ...
    @property
    def attention(self) -> NDArray[Any]: ...
    @property
    def uniform(self) -> NDArray[Any]: ...
    @property
    def random(self) -> NDArray[Any]: ...


def plot_results(
    table: pd.DataFrame,
    *,
    runs: pd.DataFrame | None = None,
    references: Sequence[str] = REFERENCES,
    label: str = "Accuracy",
    title: str = "",
    caption: str = "Lines are 95 % intervals.",
    missing: str = "",
) -> Figure:
    """Score of each system with its interval; references in grey, the lowest of them as a line across.

    Parameters
    ----------
    table
        One row a system with the columns ``score``, ``low`` and ``high`` (NaN
        for none), in [0, 1], such as ``Study.table()`` returns.
    runs
        Scores of single runs, drawn as small dots: a row a system, a column a fold or seed, such as
        ``Study.fold_table()`` returns.
    references
        Rows that are not systems under study: baselines and chance. Those the table lacks are passed over.
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
    require(table, ("score", "low", "high"))
    named = {str(name): mechanism_title(str(name)) for name in table.index}
    scores = table[["score", "low", "high"]].to_numpy(dtype=float)
    lowest = min((score for name, (score, _, _) in zip(named, scores, strict=True) if name in references), default=None)

    def draw(theme: Theme, width: float = WIDTH) -> Any:
        ax = draw_intervals(scores, named, references, theme, in_percent, label, runs, width)
        if lowest is not None:
            ax.axvline(lowest, color=theme.chance, lw=0.8, ls=(0, (4, 3)), zorder=0)
        ax.set_xlim(left=0)
        percent(ax, "x")
        if title:
            ax.set_title(title)
        return ax.figure

    description = "; ".join(
        f"{name} {in_percent(score)}" + ("" if np.isnan(low) else f" ({tenths(100 * low)} to {tenths(100 * high)})")
        for name, (score, low, high) in zip(named.values(), scores, strict=True)
    )
    dots = "" if runs is None else " Small dots are single runs."
    alt = f"{title or label} with 95 % intervals: {description}.{dots}"
    return render(draw, alt, f"{caption}{dots}", narrow=lambda theme: draw(theme, NARROW))


def draw_intervals(
    scores: NDArray[Any],
    named: Mapping[str, str],
    references: Sequence[str],
    theme: Theme,
    number: Callable[[float], str],
    label: str,
    runs: pd.DataFrame | None = None,
    width: float = WIDTH,
) -> Any:
    """Draw a row for each system, titles in ``named``: its score, interval ``(score, low, high)``, and single runs."""
    import seaborn as sns
    from matplotlib.figure import Figure as MatplotlibFigure

    ax = MatplotlibFigure(figsize=(width, 0.29 * len(named) + 0.8), layout="constrained").add_subplot()
    if width < WIDTH:
        ax.xaxis.set_major_locator(_few_ticks())
    for row, (name, (score, low, high)) in enumerate(zip(named, scores, strict=True)):
        colour, reference = (theme.chance, True) if name in references else (theme.attention, False)
        if runs is not None and name in runs.index:
            single = runs.loc[name].dropna().to_numpy(dtype=float)
            options: dict[str, Any] = {"jitter": False, "native_scale": True, "orient": "h", "zorder": 3}
            above = [row - 0.27] * len(single)
            sns.stripplot(x=single, y=above, color=colour, size=4, alpha=0.7, ax=ax, **options)
        ax.plot([low, high], [row, row], color=colour, lw=2)
        ax.plot(score, row, "D" if reference else "o", color=colour, ms=5 if reference else 6)
        ax.text(1.01, row, number(score), transform=ax.get_yaxis_transform(), va="center", color=theme.ink)
    lines = [textwrap.fill(title, 18) if width < WIDTH else title for title in named.values()]
    ax.set_yticks(range(len(named)), lines, color=theme.ink)
    ax.set_ylim(len(named) - 0.4, -0.6)
    ax.set_xlabel(label)
    ax.set_ylabel("")
    ax.spines["left"].set_visible(False)
    ax.tick_params(left=False)
    ax.grid(axis="x", alpha=0.5)
    return ax


def plot_training(
    histories: Mapping[str, pd.DataFrame] | pd.DataFrame,
    *,
    scores: Sequence[str] = ("loss", "accuracy"),
    title: str = "",
    caption: str = "",
) -> Figure:
    """Training curves: a panel for each score, and one for the learning rate where it changes.

    Validation is solid, training dashed; of more runs than there are colours each has panels of its own.

    Parameters
    ----------
    histories
        History of one run, or of several by their name: a column ``epoch`` and
        columns ``train_<score>`` and ``valid_<score>``.
    scores
        Which scores to show; one that no history has is an error.
    title, caption
        Text above and below the picture.

    Notes
    -----
    Book page: ``urban_sound``.
    """
    runs = dict(histories) if isinstance(histories, Mapping) else {"": histories}
    if not runs:
        raise ValueError("histories is empty; give the history of at least one run")
    for history in runs.values():
        require(history, ("epoch",))
    for score in scores:
        if not any(f"{split}_{score}" in history for history in runs.values() for split in ("train", "valid")):
            columns = ", ".join(map(str, next(iter(runs.values())).columns))
            raise ValueError(f"no history has train_{score} or valid_{score}; the first has the columns {columns}")

    rates = {name: history for name, history in runs.items() if "learning_rate" in history}
    rates = {name: history for name, history in rates.items() if history["learning_rate"].nunique() > 1}

    def draw(theme: Theme, width: float = WIDTH) -> Any:
        from matplotlib.figure import Figure as MatplotlibFigure
        from matplotlib.lines import Line2D

        # Colours are few. Of more runs than these, dashes tell which is which, and each split has panels of its own.
        many = len(runs) > len(theme.series)
        looks: list[dict[str, Any]] = [
            {"color": theme.series[i % len(theme.series)], "ls": DASHES[i // len(theme.series) % len(DASHES)]}
            for i in range(len(runs))
        ]
        every = tuple(_SPLITS)
        groups = [(s, (split,)) for split in every for s in scores] if many else [(s, every) for s in scores]
        panels: list[tuple[str, tuple[str, ...]]] = []
        for score, splits in groups:
            present = tuple(split for split in splits if any(f"{split}_{score}" in h for h in runs.values()))
            panels += [(score, present)] if present else []
        panels += [("learning_rate", ("",))] if rates else []
        columns = 1 if width < WIDTH else min(len(panels), 2 if many else 3)
        rows = -(-len(panels) // columns)
        names = [mechanism_title(name) for name in runs if name]
        legend = 2 if width < WIDTH else 4 if many else 5
        lines = -(-(len(names) + 2) // legend)
        figure = MatplotlibFigure(figsize=(width, 2.0 * rows + 0.2 + 0.18 * lines), layout="constrained")
        axes = figure.subplots(rows, columns, squeeze=False).ravel()
        for ax, (score, splits) in zip(axes, panels, strict=False):
            for history, look in zip(runs.values(), looks, strict=True):
                for split in splits:
                    column = f"{split}_{score}" if split else score
                    if column in history:
                        scored = history.dropna(subset=column)  # not every epoch need be validated
                        dashed = split == "train" and not many
                        style = {"ls": (0, (3, 2)), "lw": 1.1} if dashed else {"lw": 1.5}
                        ax.plot(scored["epoch"] + 1, scored[column], **(look | style))
            ax.set_title(
                score.replace("_", " ").capitalize() + (f", {_SPLITS[splits[0]]}" if many and splits[0] else "")
            )
            ax.set_xlabel("Epoch")
            ax.xaxis.get_major_locator().set_params(integer=True)
            ax.grid(alpha=0.5)
        for ax in axes[len(panels) :]:
            ax.set_axis_off()
        handles = [Line2D([], [], lw=2, label=n, **look) for n, look in zip(names, looks, strict=False)]
        if not many:
            handles.append(Line2D([], [], color=theme.muted, lw=1.7, label="validation"))
            handles.append(Line2D([], [], color=theme.muted, lw=1.1, ls=(0, (3, 2)), label="training"))
        figure.legend(handles=handles, loc="outside lower center", ncols=min(legend, len(handles)), handlelength=2.6)
        if title:
            figure.suptitle(title, x=0.01, ha="left", fontsize=9.5, fontweight="bold")
        return figure

    last = []
    for name, history in runs.items():
        ends = [f"{c} {history[c].iloc[-1]:.3g}" for s in scores for c in (f"train_{s}", f"valid_{s}") if c in history]
        last.append(f"{mechanism_title(name) + ' ' if name else ''}after {len(history)} epochs {', '.join(ends)}")
    alt = f"Training curves of {', '.join(scores)}: {'; '.join(last)}."
    return render(draw, alt, caption, narrow=lambda theme: draw(theme, NARROW))


def plot_confusion(
    matrix: NDArray[Any],
    classes: Sequence[str],
    *,
    title: str = "",
    caption: str = "Each row adds up to the clips of one class.",
) -> Figure:
    """Confusion matrix: true classes down, predicted classes across, counts in the cells.

    Parameters
    ----------
    matrix
        Clips of true class ``i`` predicted as ``j``, at least 0, shape ``(classes, classes)``.
    classes
        Names in the order of the matrix.
    title, caption
        Text above and below the picture.

    Notes
    -----
    Book page: ``urban_sound``.
    """
    counts = np.asarray(matrix)
    if counts.shape != (len(classes), len(classes)):
        raise ValueError(
            f"matrix has shape {counts.shape} for {len(classes)} classes; give a row and a column for each"
        )
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    names = [name.replace("_", " ") for name in classes]
    short = [name if len(name) <= 24 else f"{name[:23]}…" for name in names]

    def draw(theme: Theme, width: float = WIDTH) -> Any:
        import seaborn as sns
        from matplotlib.figure import Figure as MatplotlibFigure

        side = 0.35 * len(names)
        margin = 0.8 + 0.065 * max(map(len, short))
        size = (max(min(WIDTH, side + margin + 0.7), 3.2), min(side, WIDTH - 2) + margin)
        if width < WIDTH:
            size = width, width - 0.2
        figure = MatplotlibFigure(figsize=size, layout="compressed")  # cells are square
        ax = figure.add_subplot()
        counted = np.where(counts > 0, counts.astype(int).astype(str), "")
        sns.heatmap(
            share,
            cmap=theme.spectrogram,
            vmin=0,
            vmax=1,
            annot=counted,
            fmt="",
            annot_kws={"size": 7.5 if width == WIDTH else 6.5},
            cbar=False,
            square=True,
            ax=ax,
        )
        write_on_cells(ax.texts, share, theme)
        small: dict[str, Any] = {"fontsize": 7} if width < WIDTH else {}
        ax.set_xticks(np.arange(len(names)) + 0.5, short, rotation=40, ha="right", rotation_mode="anchor", **small)
        ax.set_yticks(np.arange(len(names)) + 0.5, short, rotation=0, **small)
        ax.set_xlabel("Predicted")
        ax.set_ylabel("True")
        ax.spines[:].set_visible(False)
        ax.tick_params(length=0)
        colour_bar(figure, ax, ax.collections[0], "Share of the row", share=True)
        if title:
            ax.set_title(title)
        return figure

    right = "; ".join(f"{name} {100 * share[i, i]:.0f} %" for i, name in enumerate(names))
    alt = f"Confusion matrix of {int(counts.sum())} clips. Right in each class: {right}."
    # with very many classes the names of a narrow picture would lie over each other
    narrow = (lambda theme: draw(theme, NARROW)) if len(names) <= _MOST_NARROW_CLASSES else None
    return render(draw, alt, caption, narrow=narrow)


def plot_faithfulness(
    curves: Sequence[_Curve],
    *,
    title: str = "",
    caption: str = "Means over clips with 95 % intervals.",
) -> Figure:
    """Deletion and insertion curves of attention against uniform and random attention.

    Parameters
    ----------
    curves
        At least one; each has ``kind`` (``"deletion"`` or ``"insertion"``),
        ``fractions`` in [0, 1] of shape ``(n,)``, and ``attention``,
        ``uniform`` and ``random``: probability of the class, shape ``(clips, n)``.
    title, caption
        Text above and below the picture. The intervals are 1.96 standard errors of the mean over clips.

    Notes
    -----
    Book page: ``urban_sound``.
    """
    if not curves:
        raise ValueError("curves is empty; give at least one deletion or insertion curve")
    titles = {"deletion": "Most attended frames deleted", "insertion": "Most attended frames inserted"}

    def draw(theme: Theme, width: float = WIDTH) -> Any:
        import seaborn as sns
        from matplotlib.figure import Figure as MatplotlibFigure

        lines = len(curves) if width < WIDTH else 1
        figure = MatplotlibFigure(figsize=(width, 2.6 * lines), layout="constrained")
        axes = figure.subplots(lines, len(curves) // lines, squeeze=False, sharey=True).ravel()
        looks = (
            ("random", theme.chance, (0, (1, 1.5))),
            ("uniform", theme.chance, (0, (4, 2))),
            ("attention", theme.attention, "-"),
        )
        for ax, each in zip(axes, curves, strict=True):
            for order, colour, style in looks:
                heights = np.asarray(getattr(each, order), dtype=float)  # (clips, n)
                sns.lineplot(
                    x=np.tile(each.fractions, len(heights)),
                    y=heights.ravel(),
                    errorbar=("se", 1.96),
                    color=colour,
                    ls=style,
                    lw=2 if order == "attention" else 1.3,
                    label=order,
                    legend=False,
                    err_kws={"alpha": 0.16, "lw": 0},
                    ax=ax,
                )
            ax.set_title(titles.get(each.kind, each.kind))
            ax.set_xlabel("Share of the frames")
            percent(ax, "x")
            ax.grid(alpha=0.5)
        for ax in axes[:lines]:
            ax.set_ylabel("Probability of the class")
        axes[0].set_ylim(0, None)
        axes[-1].legend()
        if title:
            figure.suptitle(title, x=0.01, ha="left", fontsize=9.5, fontweight="bold")
        return figure

    sentences = []
    for each in curves:
        areas = (f"{o} {float(np.mean(np.asarray(getattr(each, o)))):.2f}" for o in ("attention", "uniform", "random"))
        sentences.append(f"{each.kind}, mean probability: {', '.join(areas)}")
    alt = f"{title + ': ' if title else ''}{'. '.join(sentences)}."
    return render(draw, alt, caption, narrow=lambda theme: draw(theme, NARROW))


def plot_attention_evaluation(
    table: pd.DataFrame,
    *,
    title: str = "",
    caption: str | None = None,
    missing: str = "",
) -> Figure:
    """Plot localisation and faithfulness of each mechanism, beside uniform and random attention.

    Parameters
    ----------
    table
        One row a mechanism and measure: its first column names the mechanism,
        ``measure`` the measure, ``value``, ``uniform`` and ``random`` are in
        [0, 1], and so is ``swapped`` where there is such a column; such as
        ``Study.attention_evaluation()`` returns. With ``gain``, ``gain_low`` and ``gain_high``, deletion and
        insertion are drawn as these: areas of two networks differ with their certainty, gains do not. Without these
        columns ``low`` and ``high`` are the interval of the value.
    title, caption
        Text above and below the picture; by default the latter explains the signs.
    missing
        What stands in place of the picture where the table is empty: why it is.

    Notes
    -----
    Book page: ``urban_sound``.
    """
    if missing and table.empty:
        return Figure({}, missing)
    require(table, ("measure", "value", "uniform", "random"))
    swaps = "swapped" in table and bool(table["swapped"].notna().any())
    drawn = {"gain", "gain_low", "gain_high"} <= set(table.columns)
    gains = [name for name in GAINS if drawn and name in set(table["measure"])]
    if caption is None:
        caption = "Dots: the mechanism. Ticks: uniform attention. Circles: moved at random."
        caption += " Crosses: of another clip." if swaps else ""
        caption += " Gains: right of zero is better than uniform attention." if gains else ""
        signed = bool(set(SIGNED) & set(table["measure"]))
        caption += " Lines are 95 % intervals of the difference to uniform attention." if drawn else ""
        if signed:
            caption += (
                " Likeness after shuffling is the correlation with the same attribution of shuffled weights, with its "
                "own 95 % interval; near zero or below is best. What was not shuffled has no dot there."
            )
    by = table.columns[0]
    names = list(dict.fromkeys(table[by].astype(str)))
    measures = [name for name in MEASURES if name in set(table["measure"])]
    measures += [name for name in dict.fromkeys(table["measure"]) if name not in MEASURES]

    def draw(theme: Theme, width: float = WIDTH) -> Any:
        from matplotlib.figure import Figure as MatplotlibFigure

        most = 2 if width < WIDTH else _MEASURES_A_LINE
        lines = -(-len(measures) // most)
        columns = -(-len(measures) // lines)
        figure = MatplotlibFigure(figsize=(width, (0.26 * len(names) + 1.0) * lines), layout="constrained")
        axes = figure.subplots(lines, columns, squeeze=False, sharey=True).ravel()
        for ax in axes[len(measures) :]:
            ax.set_axis_off()
        for ax, measure in zip(axes, measures, strict=False):
            rows = table[table["measure"] == measure]
            place = [names.index(name) for name in rows[by].astype(str)]
            if measure in gains:
                ax.axvline(0, color=theme.chance, lw=0.8, ls=(0, (4, 3)), zorder=0)
                ax.hlines(place, rows["gain_low"], rows["gain_high"], color=theme.attention, lw=1.8)
                ax.plot(rows["gain"], place, "o", color=theme.attention, ms=5, clip_on=False)
                _dress(ax, GAINS[measure])
                continue
            if measure in SIGNED:
                ax.axvline(0, color=theme.chance, lw=0.8, ls=(0, (4, 3)), zorder=0)
                ax.hlines(place, rows["low"], rows["high"], color=theme.attention, lw=1.8)
                ax.plot(rows["value"], place, "o", color=theme.attention, ms=5, clip_on=False)
                ax.set_xlim(-1, 1)
                _dress(ax, MEASURES[measure])
                continue
            if drawn:  # of the difference to uniform attention
                ends = ((rows["uniform"] + rows[end]).clip(0, 1) for end in ("gain_low", "gain_high"))
                ax.hlines(place, *ends, color=theme.attention, lw=1.8)
            elif {"low", "high"} <= set(table.columns):
                ax.hlines(place, rows["low"], rows["high"], color=theme.attention, lw=1.8)
            else:
                ax.hlines(place, rows["uniform"], rows["value"], color=theme.attention, lw=1.2, alpha=0.55)
            ax.plot(rows["uniform"], place, "|", color=theme.ink, ms=9, mew=1.4)
            ax.plot(rows["random"], place, "o", mfc="none", color=theme.chance, ms=4.5)
            if swaps:
                ax.plot(rows["swapped"], place, "x", color=theme.ink, ms=4.5)
            ax.plot(rows["value"], place, "o", color=theme.attention, ms=5.5, clip_on=False)
            ax.set_xlim(left=0)
            _dress(ax, MEASURES.get(measure, measure.replace("_", " ").capitalize()))
        titles = [mechanism_title(name) for name in names]
        if width < WIDTH:
            titles = [textwrap.fill(name, 20) for name in titles]
        axes[0].set_yticks(range(len(names)), titles)
        axes[0].set_ylim(len(names) - 0.4, -0.6)
        for ax in axes[::columns]:  # the first of each line of panels
            ax.tick_params(axis="y", labelcolor=theme.ink)
        if title:
            figure.suptitle(title, x=0.01, ha="left", fontsize=9.5, fontweight="bold")
        return figure

    sentences = []
    for measure in measures:
        rows = table[table["measure"] == measure]
        values = ", ".join(f"{mechanism_title(str(n))} {v:.2f}" for n, v in zip(rows[by], rows["value"], strict=True))
        uniform = f" (uniform {rows['uniform'].mean():.2f})" if rows["uniform"].notna().any() else ""
        sentences.append(f"{measure.replace('_', ' ')}{uniform}: {values}")
    alt = f"{title + ': ' if title else ''}{'. '.join(sentences)}."
    return render(draw, alt, caption, narrow=lambda theme: draw(theme, NARROW))


def _dress(ax: Any, title: str) -> None:
    ax.set_title(title, fontsize=8, fontweight="normal")
    ax.xaxis.set_major_locator(_few_ticks(2 if ax.figure.get_figwidth() < WIDTH else 3))
    ax.xaxis.set_major_formatter(short_number)  # as many digits for each as for all run into each other
    ax.spines["left"].set_visible(False)
    ax.tick_params(left=False)
    ax.grid(axis="x", alpha=0.5)


def short_number(value: float, place: int | None = None) -> str:
    """A number on an axis without the digits that it does not need."""
    return with_minus(f"{round(value, 9) + 0.0:.3g}")


def require(table: pd.DataFrame, columns: Sequence[str]) -> None:
    missing = [name for name in columns if name not in table.columns]
    if missing or len(table) == 0:
        raise ValueError(
            f"the table has {len(table)} rows and the columns {', '.join(map(str, table.columns))}; "
            f"it needs at least one row and {', '.join(columns)}"
        )


def percent(ax: Any, axis: str) -> None:
    """Write an axis of shares in percent."""

    def text(share: float, position: int) -> str:
        return f"{short_number(100 * share)} %"  # with the decimals that the step of the axis needs

    getattr(ax, f"{axis}axis").set_major_formatter(text)


def colour_bar(figure: Any, ax: Any, image: Any, label: str, *, share: bool = False) -> None:
    """Put a narrow colour bar beside an axis, in percent for shares."""
    bar = figure.colorbar(image, ax=ax, fraction=0.03, pad=0.015, aspect=28)
    bar.set_label(label, fontsize=7.5)
    bar.outline.set_visible(False)
    bar.ax.tick_params(length=2, labelsize=7)
    if share:
        percent(bar.ax, "y")


def write_on_cells(texts: Sequence[Any], shares: NDArray[Any], theme: Theme) -> None:
    """Give the texts of a heat map, one for each share in [0, 1] that is known, the colour that is read best."""
    from matplotlib.colors import to_rgb

    def luminance(colour: Any) -> float:
        linear = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour))
        return sum(share * c for share, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    inks = {colour: luminance(colour) for colour in (theme.page, theme.ink)}
    # a picture without numbers has no texts
    for text, share in zip(texts, shares[~np.isnan(shares)], strict=False):
        cell = luminance(theme.spectrogram(float(share)))
        # contrast as in WCAG 2
        contrasts = {ink: (max(cell, own) + 0.05) / (min(cell, own) + 0.05) for ink, own in inks.items()}
        text.set_color(max(contrasts, key=lambda ink: contrasts[ink]))


def _few_ticks(intervals: int = 3) -> Any:
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(nbins=intervals)
