"""Plots of attention weights over the input sound."""

from __future__ import annotations

import functools
import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from audioattn_lib.attention.record.density import Regions
from audioattn_lib.attention.record.record import AttentionRecord, FrameClock

from ..describe import Curve, Events, KnownEvent, curve, known_events, sentence, title_of
from ..figure import Figure, render
from ..style import Theme, map_opacity
from .spectrogram import LANE, NARROW, WIDTH, checked, draw_events, draw_spectrogram, lanes, letter_share

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.text import Text

__all__ = ["compare_attention", "draw_curve", "plot_attention"]

SPECTROGRAM_HEIGHT = 1.75
ROW_NAME = 0.17
"""Inches for the name of a row above it, in a picture for a phone."""
_MOST_NARROW_HEADS = 2
"""Heads side by side in a picture for a phone."""
LEGEND = "The bar below a curve marks where attention is above zero; the tick is the mean."


def plot_attention(
    record: AttentionRecord,
    clip: int = 0,
    *,
    features: NDArray[Any] | None = None,
    clock: FrameClock | None = None,
    frequencies: NDArray[Any] | None = None,
    events: Events | None = None,
    title: str = "",
    caption: str = "",
) -> Figure:
    """Attention of one clip over its spectrogram, for every kind of record.

    A density is drawn as a curve in 1/s with its support and mean marked;
    weights of frames as bars on the same axis (weight divided by the length of
    a frame, so the two compare), one row a head; time-frequency maps as a layer
    over the spectrogram, one panel a layer and head, with the border of a
    density's support (of a Gaussian, two deviations) around its centre; replayed segments as
    numbered spans. A grey line over a density is the weight with which each
    frame really enters the context, where the record has it.

    Parameters
    ----------
    record
        What the mechanism looked at; not empty.
    clip
        Which clip of the record.
    features
        Features of the same clip, shape ``(frames, bands)``; without them only the attention is drawn.
    clock
        Time of the frames of ``features``; that of the record when not given.
    frequencies
        Centre of each band in hertz, rising, shape ``(bands,)``.
    events
        Known events, in seconds.
    title, caption
        Text above and below the picture; the name of the mechanism when ``title`` is empty.

    Notes
    -----
    Martins et al., *Sparse continuous distributions and Fenchel-Young losses*,
    JMLR 2022, show densities this way. Book page: ``urban_sound``.
    """
    single = _one(record, clip)
    annotations = known_events(events)
    heading = title or title_of(single)
    mean_curve = curve(single, title=heading)
    if features is not None:
        features, frequencies = checked(features, frequencies)
    time = clock or single.clock
    if single.maps is not None:
        return _plot_maps(single, features, time, frequencies, annotations, heading, caption)
    rows = _head_rows(single) or [mean_curve]

    def draw(theme: Theme, width: float = WIDTH) -> Any:
        heights = [0.95 if len(rows) == 1 else 0.55] * len(rows)
        figure, axes = _stack(features, time, frequencies, annotations, heights, single.span(), theme, width)
        for ax, row in zip(axes, rows, strict=True):
            draw_curve(ax, row, annotations, theme)
            if len(rows) > 1:
                _name_row(ax, row.title, "", theme)
        if single.read_weights is not None and not mean_curve.over_frames:
            edges = single.clock.edges(int(single.n_frames[0]))  # type: ignore[index]
            reads = single.read_weights[0, : len(edges) - 1] / single.clock.period
            axes[0].plot((edges[1:] + edges[:-1]) / 2, reads, color=theme.muted, lw=0.9, zorder=4)
            axes[0].set_ylim(
                min(axes[0].get_ylim()[0], 1.1 * reads.min()), max(axes[0].get_ylim()[1], 1.1 * reads.max())
            )
        for number, (start, stop) in enumerate([] if single.segments is None else single.segments[0], start=1):
            if not np.isnan(start):
                height = axes[0].get_ylim()[1]
                axes[0].text((start + stop) / 2, 0.8 * height, str(number), color=theme.ink, ha="center", fontsize=8)
        _head(figure.axes[0], heading, mean_curve.summary, annotations, theme)
        return figure

    alt = sentence(single.span(), frequencies, [mean_curve], annotations)
    return render(draw, alt, caption, narrow=functools.partial(draw, width=NARROW))


def compare_attention(
    records: Mapping[str, AttentionRecord],
    clip: int = 0,
    *,
    features: NDArray[Any] | None = None,
    clock: FrameClock | None = None,
    frequencies: NDArray[Any] | None = None,
    events: Events | None = None,
    title: str = "",
    caption: str = LEGEND,
) -> Figure:
    """Several mechanisms on one sound: the spectrogram, and below it one row a mechanism.

    Parameters
    ----------
    records
        What each mechanism looked at, by the name to show; each holds the same clip at the same place.
    clip
        Which clip of the records.
    features, clock, frequencies, events
        As in :func:`plot_attention`; ``clock`` defaults to that of the first record.
    title, caption
        Text above and below the picture.

    Notes
    -----
    Book page: ``urban_sound``.
    """
    if not records:
        raise ValueError("records is empty; give at least one record by its title")
    singles = {name: _one(record, clip) for name, record in records.items()}
    first = next(iter(singles.values()))
    clips = {record.clips[0] for record in singles.values()}
    if len(clips) > 1:
        raise ValueError(f"clip {clip} is another sound in each record: {', '.join(sorted(clips))}; align the records")
    annotations = known_events(events)
    curves = [curve(record, title=name) for name, record in singles.items()]
    if features is not None:
        features, frequencies = checked(features, frequencies)

    def draw(theme: Theme, width: float = WIDTH) -> Any:
        heights = [0.44] * len(curves)
        figure, axes = _stack(
            features, clock or first.clock, frequencies, annotations, heights, first.span(), theme, width
        )
        for ax, row in zip(axes, curves, strict=True):
            draw_curve(ax, row, annotations, theme)
            whole = "everywhere > 0" if row.unbounded else f"{row.attended:.2f} s > 0"
            _name_row(ax, row.title, whole, theme)
        if title:
            _head(figure.axes[0], title, "", annotations, theme)
        return figure

    alt = sentence(first.span(), frequencies, curves, annotations)
    return render(draw, alt, caption, narrow=functools.partial(draw, width=NARROW))


def draw_curve(ax: Axes, row: Curve, events: Sequence[KnownEvent], theme: Theme) -> None:
    """Draw one curve with its support and mean, and the known events as bands behind it."""
    peak = float(np.max(row.values)) or 1.0
    for event in events:
        ax.axvspan(event.onset, event.offset, color=theme.event, alpha=0.13, lw=0, zorder=0)
    if row.over_frames:
        ax.stairs(row.values, row.times, fill=True, color=theme.attention, alpha=0.35, lw=0, zorder=2)
        # The outline breaks where the weight is exactly zero, which a line along the axis would hide.
        outline = np.where(row.values > 0, row.values, np.nan)
        ax.stairs(outline, row.times, baseline=None, color=theme.attention, lw=1.2, zorder=3)
    else:
        ax.fill_between(row.times, row.values, color=theme.attention, alpha=0.28, lw=0, zorder=2)
        inside = np.where(row.values > 0, row.values, np.nan)
        ax.plot(row.times, inside, color=theme.attention, lw=1.5, zorder=3)
    floor = -0.16 * peak
    for start, stop in row.support:
        ax.fill_between([start, stop], floor * 0.9, floor * 0.4, color=theme.attention, lw=0, zorder=3)
    ax.vlines(row.mean, floor, 0, color=theme.ink, lw=1.6, zorder=4)
    ax.axhline(0, color=theme.rule, lw=0.6, zorder=1)
    ax.set_ylim(floor, 1.08 * peak)
    ax.set_yticks([])
    ax.spines["left"].set_visible(False)


def _stack(
    features: NDArray[Any] | None,
    clock: FrameClock,
    frequencies: NDArray[Any] | None,
    events: Sequence[KnownEvent],
    heights: Sequence[float],
    span: tuple[float, float],
    theme: Theme,
    width: float,
) -> tuple[Any, list[Axes]]:
    """A spectrogram (where there are features) and rows of these heights in inches on one time axis."""
    from matplotlib.figure import Figure as MatplotlibFigure

    if width < WIDTH and len(heights) > 1:
        heights = [height + ROW_NAME for height in heights]
    ratios = ([] if features is None else [SPECTROGRAM_HEIGHT]) + list(heights)
    extra = 0.75 + LANE / 72 * lanes(events, span[1] - span[0], letter_share(width))[1]
    figure = MatplotlibFigure(figsize=(width, sum(ratios) + 0.06 * len(ratios) + extra), layout="constrained")
    figure.get_layout_engine().set(h_pad=0.02, hspace=0.02)  # type: ignore[union-attr, call-arg]
    grid = figure.add_gridspec(len(ratios), height_ratios=ratios)
    axes = [figure.add_subplot(grid[i]) for i in range(len(ratios))]
    left, right = span
    if features is not None:
        draw_spectrogram(axes[0], features, clock, frequencies, theme)
        left, right = min(left, axes[0].get_xlim()[0]), max(right, axes[0].get_xlim()[1])
    for ax in axes:
        ax.set_xlim(left, right)
        ax.tick_params(labelbottom=ax is axes[-1], bottom=ax is axes[-1])
        ax.spines["bottom"].set_visible(ax is axes[-1])
    draw_events(axes[0], events, theme)
    axes[-1].set_xlabel("Time (s)")
    return figure, axes[len(ratios) - len(heights) :]


def _head(ax: Axes, title: str, note: str, events: Sequence[KnownEvent], theme: Theme) -> None:
    """A title on the left and a note on the right, above the brackets of the events."""
    left, right = ax.get_xlim()
    inches = ax.figure.get_figwidth()  # type: ignore[union-attr]
    pad = 7 + LANE * lanes(events, right - left, letter_share(inches))[1]
    room = 0.88 * 72 * inches  # points right of the tick labels
    below = ax.set_title(note, loc="right", fontsize=8, fontweight="normal", color=theme.muted, pad=pad)
    words = ax.set_title(title, pad=pad)
    width = _width(words)
    lines = textwrap.wrap(title, int(len(title) * room / width)) if width > room else [title]
    if note and width + _width(below) + 8 > room:
        lines.append(" ")  # titles share one height: an empty line keeps this one above the note
    words.set_text("\n".join(lines))


def _width(text: Text) -> float:
    """Width of one line of text in points."""
    from matplotlib.textpath import TextPath

    if not text.get_text():
        return 0.0
    size = float(text.get_fontsize())
    return float(TextPath((0, 0), text.get_text(), size=size, prop=text.get_fontproperties()).get_extents().width)


def _name_row(ax: Axes, name: str, note: str, theme: Theme) -> None:
    if ax.figure.get_figwidth() < WIDTH:  # type: ignore[union-attr]
        above: dict[str, Any] = {"fontsize": 7.5, "va": "bottom", "transform": ax.transAxes, "clip_on": False}
        ax.text(0, 0.99, name, color=theme.ink, **above)
        ax.text(1, 0.99, note, color=theme.muted, ha="right", **above)
        return
    ax.set_ylabel(name, rotation=0, ha="right", va="center", color=theme.ink, labelpad=6)
    ax.text(1.008, 0.45, note, transform=ax.transAxes, fontsize=7, color=theme.muted, va="center", clip_on=False)


def _head_rows(record: AttentionRecord) -> list[Curve]:
    """One curve a head where there are several, else nothing."""
    if record.density is not None or record.weights is None or record.weights.shape[1] == 1:
        return []
    import dataclasses

    rows = []
    for head in range(record.weights.shape[1]):
        alone = dataclasses.replace(record, weights=record.weights[:, head : head + 1], head_weights=None)
        share = "" if record.head_weights is None else f" · {100 * record.head_weights[0, head]:.0f} %"
        rows.append(curve(alone, title=f"Head {head + 1}{share}"))
    return rows


def _plot_maps(
    record: AttentionRecord,
    features: NDArray[Any] | None,
    clock: FrameClock,
    frequencies: NDArray[Any] | None,
    events: Sequence[KnownEvent],
    title: str,
    caption: str,
) -> Figure:
    """Time-frequency maps over the spectrogram: one row a layer, one column a head."""
    assert record.maps is not None
    assert record.n_frames is not None
    maps = record.maps[0][..., : int(record.n_frames[0])].astype(np.float64)
    layers, heads, rows, _ = maps.shape
    if features is not None and rows != features.shape[1] and (record.frequencies is None or frequencies is None):
        raise ValueError(
            f"the maps have {rows} rows and the features {features.shape[1]} bands; "
            "give frequencies for both so that they can be laid over each other"
        )

    def draw(theme: Theme, width: float = WIDTH) -> Any:
        from matplotlib.figure import Figure as MatplotlibFigure

        height = 2.4 if layers * heads == 1 else max(1.1, 1.8 / heads + 0.5)
        figure = MatplotlibFigure(figsize=(width, layers * height + 0.5), layout="constrained")
        grid = figure.subplots(layers, heads, squeeze=False, sharex=True, sharey=True)
        for layer in range(layers):
            for head in range(heads):
                ax = grid[layer, head]
                if features is not None:
                    draw_spectrogram(ax, features, clock, frequencies, theme)
                values = _resample_rows(maps[layer, head], record.frequencies, frequencies)
                edges = record.clock.edges(values.shape[1])
                ax.imshow(
                    map_opacity(values),
                    cmap=theme.overlay,
                    vmin=0,
                    vmax=1,
                    origin="lower",
                    aspect="auto",
                    extent=(edges[0], edges[-1], -0.5, len(values) - 0.5),
                    interpolation="bilinear",
                )
                if record.regions is not None:
                    _draw_regions(ax, record.regions, (record.frequencies, frequencies), theme)
                ax.label_outer()
                if layers * heads > 1:
                    ax.set_title(f"Layer {layer + 1}, head {head + 1}", fontsize=8, fontweight="normal")
        if layers * heads == 1:
            draw_events(grid[0, 0], events, theme)
        for ax in grid[-1]:
            ax.set_xlabel("Time (s)")
        figure.suptitle(title, x=0.01, ha="left", fontsize=9.5, fontweight="bold")
        return figure

    alt = sentence(record.span(), frequencies, [curve(record, title=title)], events)
    alt = f"{alt} Time-frequency maps of {layers} layers and {heads} heads."
    # more heads side by side than this cannot be told apart on a phone, where the wide picture scrolls
    narrow = functools.partial(draw, width=NARROW) if heads <= _MOST_NARROW_HEADS else None
    return render(draw, alt, caption or "The stronger the orange, the more attention.", narrow=narrow)


def _draw_regions(
    ax: Axes, regions: Regions, rows: tuple[NDArray[Any] | None, NDArray[Any] | None], theme: Theme
) -> None:
    """The border of every mode of one clip and its centre; ``rows`` are the frequencies of the map and of the axes."""
    map_rows, axis_rows = rows
    limits = ax.axis()
    for mode, share in enumerate(regions.mode_weight[0]):
        if share > 0:
            points = np.concatenate([regions.outline(mode=mode), regions.location[:1, mode]])
            time, row = points.T
            if map_rows is not None and axis_rows is not None and not np.array_equal(map_rows, axis_rows):
                row = np.interp(
                    np.interp(row, np.arange(len(map_rows)), map_rows), axis_rows, np.arange(len(axis_rows))
                )
            ax.plot(time[:-1], row[:-1], color=theme.attention, lw=1.2, alpha=0.4 + 0.6 * float(share))
            ax.plot(time[-1], row[-1], marker="+", ms=6, color=theme.attention)
    ax.axis(limits)


def _resample_rows(
    values: NDArray[Any], from_hertz: NDArray[Any] | None, to_hertz: NDArray[Any] | None
) -> NDArray[np.float64]:
    """Rows at ``wanted`` frequencies in hertz from rows at ``given`` ones."""
    if from_hertz is None or to_hertz is None:
        return values
    return np.stack([np.interp(to_hertz, from_hertz, column) for column in values.T], axis=1)


def _one(record: AttentionRecord, clip: int) -> AttentionRecord:
    if record.is_empty:
        raise ValueError("the record is empty, so there is nothing to draw; ask the model for it with record=True")
    return record[clip]
