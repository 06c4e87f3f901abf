"""Attention of several heads with their weights."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audioattn_lib.attention.record.density import Density
from audioattn_lib.attention.record.record import AttentionRecord, FrameClock
from audioattn_lib.core.numbers import tenths

from ..describe import Events, known_events, title_of
from ..figure import Figure, render
from ..plots.spectrogram import LANE, NARROW, WIDTH, checked, draw_events, draw_spectrogram, lanes, letter_share
from ..style import Theme
from .player import Player, player

__all__ = ["head_player", "plot_heads", "split_heads"]


def split_heads(record: AttentionRecord, clip: int = 0) -> list[tuple[int, float, AttentionRecord]]:
    """List the heads of one clip by falling weight: number from 0, weight, and the record of the head.

    Heads without weights of their own count alike.

    Parameters
    ----------
    record
        With ``weights`` of shape ``(clips, heads, frames)``.
    clip
        Which clip.

    Raises
    ------
    ValueError
        When the record has no weights of frames.

    Notes
    -----
    Book page: ``accents``.
    """
    single = record[clip]
    if single.weights is None:
        raise ValueError(f"the record of {record.mechanism or 'this mechanism'} has no weights of frames in heads")
    heads = single.weights.shape[1]
    shares = np.full(heads, 1 / heads) if single.head_weights is None else single.head_weights[0].astype(np.float64)
    split = []
    peaks = single.weights[0].max(axis=1)
    for head in np.lexsort((-peaks, -shares)):  # the heaviest first, of equal ones that with the highest peak
        density = None
        if single.density is not None and single.density.location.shape[1] == heads:
            kept, only = single.density, slice(head, head + 1)
            density = Density(kept.location[:, only], kept.variance[:, only], kept.alpha[:, only], np.ones((1, 1)))
        alone = dataclasses.replace(
            single, weights=single.weights[:, head : head + 1], head_weights=None, density=density
        )
        split.append((int(head), float(shares[head]), alone))
    return split


def plot_heads(
    record: AttentionRecord,
    clip: int = 0,
    *,
    features: NDArray[Any],
    clock: FrameClock,
    frequencies: NDArray[Any] | None = None,
    events: Events | None = None,
    title: str = "",
    caption: str = "Each row is a head, the heaviest first, of equal ones that with the highest peak. The bar is its "
    "weight, the shade the weight of its frames over its own peak.",
) -> Figure:
    """The spectrogram, below it the frame weights of every head, and beside these the weight of the head.

    Parameters
    ----------
    record, clip
        What was attended to, with weights in heads.
    features, clock, frequencies, events
        As in :func:`~audioattn_lib.display.plots.attention.plot_attention`.
    title, caption
        Text above and below the picture; the name of the mechanism when ``title`` is empty.

    Notes
    -----
    Book page: ``accents``.
    """
    heads = split_heads(record, clip)
    values, bands = checked(features, frequencies)
    annotations = known_events(events)
    n_frames = int(record[clip].n_frames[0])  # type: ignore[index]
    weights = np.stack([head_record.weights[0, 0, :n_frames] for _, _, head_record in heads])  # type: ignore[index]
    shares = np.array([share for _, share, _ in heads])
    edges = record.clock.edges(n_frames)
    start, stop = float(min(edges[0], clock.start)), float(max(edges[-1], clock.edges(len(values))[-1]))

    def draw(theme: Theme, width: float = WIDTH) -> Any:
        from matplotlib.figure import Figure as MatplotlibFigure

        row = 0.2 if len(heads) > 4 else 0.3
        above = LANE * lanes(annotations, stop - start, letter_share(width))[1]
        height = 1.75 + row * len(heads) + 0.75 + above / 72
        figure = MatplotlibFigure(figsize=(width, height), layout="constrained")
        grid = figure.add_gridspec(2, 2, height_ratios=[1.75, row * len(heads)], width_ratios=[6, 1])
        sound, frames, bars = (figure.add_subplot(grid[place]) for place in ((0, 0), (1, 0), (1, 1)))
        draw_spectrogram(sound, values, clock, bands, theme)
        draw_events(sound, annotations, theme)
        sound.set_title(title or title_of(record), pad=7 + above)
        sound.tick_params(labelbottom=False, bottom=False)
        peaks = weights / np.maximum(weights.max(axis=1, keepdims=True), 1e-12)
        extent = (edges[0], edges[-1], len(heads) - 0.5, -0.5)
        frames.imshow(peaks, cmap=theme.overlay, aspect="auto", extent=extent, vmin=0, vmax=1)
        for ax in (sound, frames):
            ax.set_xlim(start, stop)
        frames.set_xlabel("Time (s)")
        frames.set_yticks(range(len(heads)), [f"Head {head + 1}" for head, _, _ in heads], fontsize=7)
        bars.barh(range(len(heads)), shares, color=theme.attention, height=0.7)
        for place, share in enumerate(shares):
            bars.text(share, place, f" {_percent(share)}", va="center", fontsize=7, color=theme.ink, clip_on=False)
        bars.set_ylim(len(heads) - 0.5, -0.5)
        bars.set_xlim(0, 1.45 * float(shares.max()))
        bars.set_axis_off()
        return figure

    places = [float(head_record.frame_times()[head_record.frame_attention().argmax()]) for _, _, head_record in heads]
    description = "; ".join(
        f"head {head + 1} has weight {_percent(share)} and looks most at {place:.2f} s"
        for (head, share, _), place in zip(heads[:8], places, strict=False)
    )
    more = f"; and {len(heads) - 8} more" if len(heads) > 8 else ""
    alt = f"Frame weights of {len(heads)} heads over {stop - start:.1f} s of sound: {description}{more}."
    return render(draw, alt, caption, narrow=lambda theme: draw(theme, NARROW))


def _percent(share: float) -> str:
    """A share with at most one decimal: eight equal heads have 12.5 % each."""
    return tenths(100 * share).removesuffix(".0") + " %"


def head_player(
    samples: NDArray[Any],
    sample_rate: int,
    record: AttentionRecord,
    clip: int = 0,
    *,
    features: NDArray[Any],
    clock: FrameClock,
    frequencies: NDArray[Any] | None = None,
    events: Events | None = None,
    start: int = 0,
    title: str = "",
    caption: str = "",
) -> Player:
    """A sound through the attention of all heads together, or of one that a slider chooses, the heaviest first.

    Of heads of equal weight, the one with the highest peak comes first.

    Parameters
    ----------
    samples, sample_rate, features, clock, frequencies, events, title, caption
        As in :func:`~audioattn_lib.display.players.player.player`.
    record, clip
        What was attended to, with weights in heads.
    start
        What is shown first: 0 for all heads, 1 for the first of them, and so on.

    Notes
    -----
    Book page: ``accents``.
    """
    heads = split_heads(record, clip)
    equal = len({share for _, share, _ in heads}) == 1
    names = ["all", *(f"{head + 1} ({_percent(share)})" for head, share, _ in heads)]
    records = {"all heads": record[clip], **{f"head {head + 1}": head_record for head, _, head_record in heads}}
    return player(
        samples,
        sample_rate,
        records=records,
        sliders={"Head, by peak" if equal else "Head, by weight": names},
        start=min(start, len(heads)),
        features=features,
        clock=clock,
        frequencies=frequencies,
        events=events,
        title=title,
        caption=caption,
    )
