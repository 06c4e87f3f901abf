"""Predicted numbers beside the truth, correlations with their intervals, and alignments of decoders."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from audioattn_lib.attention.record.record import AttentionRecord

from ..describe import mechanism_title, title_of
from ..figure import Figure, render
from ..style import Theme
from .results import REFERENCES, colour_bar, draw_intervals, require
from .spectrogram import NARROW, WIDTH, grid_of

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["plot_alignment", "plot_correlations", "plot_predictions"]


def plot_correlations(
    table: pd.DataFrame,
    *,
    runs: pd.DataFrame | None = None,
    references: Sequence[str] = REFERENCES,
    titles: Mapping[str, str] | None = None,
    label: str = "Rank correlation with the truth (Spearman)",
    caption: str = "Lines are 95 % intervals; that of chance is where correlations lie when predictions are shuffled.",
) -> Figure:
    """Correlation of each system with its interval; references in grey, a line at 0.

    Parameters
    ----------
    table
        One row a system with the columns ``score``, ``low`` and ``high`` in [-1, 1], such as
        ``RegressionStudy.table()`` returns.
    runs
        Scores of single runs, drawn as small dots: a row a system, a column a seed.
    references
        Rows that are not systems under study.
    titles
        What to call a row; by default its name.
    label, caption
        Name of the score; text below the picture.

    Notes
    -----
    Book page: ``sleepiness``.
    """
    require(table, ("score", "low", "high"))
    named = {str(name): (titles or {}).get(str(name), mechanism_title(str(name))) for name in table.index}
    scores = table[["score", "low", "high"]].to_numpy(dtype=float)

    def draw(theme: Theme, width: float = WIDTH) -> Any:
        ax = draw_intervals(scores, named, references, theme, "{:.2f}".format, label, runs, width)
        ax.axvline(0, color=theme.chance, lw=0.8, ls=(0, (4, 3)), zorder=0)
        return ax.figure

    description = "; ".join(
        f"{title} {score:.2f} ({low:.2f} to {high:.2f})"
        for title, (score, low, high) in zip(named.values(), scores, strict=True)
    )
    dots = "" if runs is None else " Small dots are single runs."
    alt = f"{label} with 95 % intervals: {description}.{dots}"
    return render(draw, alt, f"{caption}{dots}", narrow=lambda theme: draw(theme, NARROW))


def plot_predictions(
    systems: Mapping[str, pd.DataFrame],
    *,
    label: str = "Label",
    scores: Mapping[str, float] | None = None,
    titles: Mapping[str, str] | None = None,
    caption: str = "",
) -> Figure:
    """Predicted numbers over true ones, a panel a system, with the line where both are equal.

    Parameters
    ----------
    systems
        For each system a table with the columns ``label`` and ``predicted``, a row a clip.
    label
        What is predicted.
    scores
        A correlation to write beside the name of a system.
    titles
        What to call a system; by default its name.
    caption
        Text below the picture.

    Notes
    -----
    Book page: ``sleepiness``.
    """
    if not systems:
        raise ValueError("systems is empty; give the predictions of at least one system")
    for table in systems.values():
        require(table, ("label", "predicted"))
    named = {name: (titles or {}).get(name, mechanism_title(name)) for name in systems}
    truth = np.concatenate([table["label"].to_numpy(dtype=float) for table in systems.values()])
    low, high = float(truth.min()), float(truth.max())
    edge = 0.04 * (high - low)

    def draw(theme: Theme, width: float = WIDTH) -> Any:
        from matplotlib.figure import Figure as MatplotlibFigure

        rows, columns, side = grid_of(len(systems), width)
        figure = MatplotlibFigure(figsize=(width, (0.6 + side) * rows), layout="constrained")
        grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
        axes = grid.ravel()
        for ax in axes[len(systems) :]:
            ax.set_axis_off()
        for ax, (name, table) in zip(axes, systems.items(), strict=False):
            ax.plot([low, high], [low, high], color=theme.chance, lw=0.9, ls=(0, (4, 3)))
            x, y = (table[column].to_numpy(dtype=float) for column in ("label", "predicted"))
            ax.plot(x, y, "o", ms=3.5, mew=0, alpha=0.7, color=theme.attention)
            beside = f"\n{scores[name]:.2f}" if scores and name in scores else ""
            ax.set_title("\n".join(textwrap.wrap(named[name], int(66 * width / WIDTH) // columns)) + beside)
            ax.set_xlabel(label)
            ax.set_xlim(low - edge, high + edge)
            ax.grid(alpha=0.5)
        for ax in grid[:, 0]:
            ax.set_ylabel("Predicted")
        return figure

    parts = []
    for name, table in systems.items():
        spread = table["predicted"].to_numpy(dtype=float)
        parts.append(f"{named[name]} predicts {spread.min():.1f} to {spread.max():.1f}")
    alt = f"Predictions over the truth, {label} from {low:.1f} to {high:.1f}: {'; '.join(parts)}."
    return render(draw, alt, caption, narrow=lambda theme: draw(theme, NARROW))


def plot_alignment(records: Mapping[str, AttentionRecord] | AttentionRecord, *, caption: str = "") -> Figure:
    """Plot the alignment of a decoder: one row per decoded frame or word, brightness shows the attention weight.

    Parameters
    ----------
    records
        Alignment of one clip, or several by name, side by side.
    caption
        Text below the picture.

    Raises
    ------
    ValueError
        When a record has no alignment.

    Notes
    -----
    Book page: ``sleepiness``.
    """
    alignments: dict[str, ArrayLike] = {}
    labels: dict[str, tuple[str, ...]] = {}
    named = {title_of(records): records} if isinstance(records, AttentionRecord) else dict(records)
    if not named:
        raise ValueError("records is empty; give the record of at least one clip")
    for name, record in named.items():
        if record.alignment is None or record.n_frames is None:
            raise ValueError(f"the record of {name} has no alignment; only a decoder that attends has one")
        n = int(record.n_frames[0])
        labels[name] = record.rows[0] if record.rows else ()
        alignments[name] = record.alignment[0, : len(labels[name]) or n, :n]
    starts = {name: record.span(0) for name, record in named.items()}

    def draw(theme: Theme, width: float = WIDTH) -> Any:
        from matplotlib.figure import Figure as MatplotlibFigure

        small = width < WIDTH
        columns = 1 if small else max(len(alignments), 2)
        rows = len(alignments) if small else 1
        side = width * 0.85 if small else width / columns
        figure = MatplotlibFigure(figsize=(width, (side + 0.4) * rows), layout="constrained")
        axes = figure.subplots(rows, columns, squeeze=False).ravel()
        for ax, (name, weights) in zip(axes, alignments.items(), strict=False):
            (low, high), values = starts[name], np.asarray(weights)
            ax.set_title(mechanism_title(name))
            ax.set_xlabel("Attended to (s)")
            if words := labels[name]:
                peaks = values / np.maximum(values.max(axis=1, keepdims=True), 1e-12)
                extent = (low, high, len(words) - 0.5, -0.5)
                image = ax.imshow(peaks, extent=extent, cmap=theme.overlay, vmin=0, vmax=1, aspect="auto")
                colour_bar(figure, ax, image, "Weight / peak of the word")
                ax.set_yticks(range(len(words)), words, fontsize=7)
                continue
            ax.plot([low, high], [low, high], color=theme.chance, lw=0.7, ls=(0, (4, 3)))
            top = float(np.quantile(values, 0.999)) or 1.0
            extent = (low, high, low, high)
            look = {"cmap": theme.overlay, "vmin": 0, "vmax": top, "aspect": "equal"}
            image = ax.imshow(values, origin="lower", extent=extent, **look)
            colour_bar(figure, ax, image, "Weight")
            ax.set_ylabel("Decoded frame (s)")
        for ax in axes[len(alignments) :]:
            ax.set_axis_off()
        return figure

    sentences = []
    for name, weights in alignments.items():
        times = named[name].frame_times()
        places = np.asarray(weights) @ times
        if labels[name]:
            pairs = zip(labels[name], places, strict=True)
            sentences.append(
                f"{mechanism_title(name)}: " + ", ".join(f"{word} at {place:.2f} s" for word, place in pairs)
            )
            continue
        distance = float(np.abs(places - times).mean())
        sentences.append(
            f"{mechanism_title(name)}: the mean place attended to is {distance:.2f} s from the decoded frame"
        )
    alt = f"Alignment of what was decoded with the frames of the sound. {'; '.join(sentences)}."
    return render(draw, alt, caption, narrow=lambda theme: draw(theme, NARROW))
