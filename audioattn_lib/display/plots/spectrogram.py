"""Spectrograms in seconds and hertz."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from audioattn_lib.attention.record.record import FrameClock

from ..describe import Events, KnownEvent, known_events, sentence
from ..figure import Figure, render
from ..style import Theme

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["draw_events", "draw_spectrogram", "grid_of", "level_range", "mel_ticks", "plot_spectrogram"]

WIDTH = 6.6  # inches; Matplotlib's sizes of text then fit the width of a page
NARROW = 3.5  # inches, for a phone
LETTER = 0.0135
"""Share of an axis of a picture of that width that one letter of the name of an event takes."""
LANE = 13  # points for the bracket and the name of an event
NICE_FREQUENCIES = (31.25, 62.5, 125, 250, 500, 1000, 2000, 4000, 8000, 16000)


def grid_of(count: int, width: float) -> tuple[int, int, float]:
    """Rows and columns for some square panels, and the side of each in inches: one row, or pairs on a phone."""
    columns = min(count, 2) if width < WIDTH else count
    side = width / (columns if width < WIDTH else max(columns, 3))
    return -(-count // columns), columns, side


def plot_spectrogram(
    features: NDArray[Any],
    clock: FrameClock,
    frequencies: NDArray[Any] | None = None,
    events: Events | None = None,
    *,
    title: str = "",
    caption: str = "",
) -> Figure:
    """Spectrogram of one clip with the events that are known to be in it.

    Parameters
    ----------
    features
        Log-mel levels or any other features of one clip, shape ``(frames, bands)``.
    clock
        Time of the frames in seconds.
    frequencies
        Centre of each band in hertz, rising, shape ``(bands,)``; bands are numbered when not given.
    events
        Known events, in seconds.
    title, caption
        Text above and below the picture.

    Notes
    -----
    Book page: ``urban_sound``.
    """
    features, frequencies = checked(features, frequencies)
    annotations = known_events(events)
    span = (float(clock.edges(len(features))[0]), float(clock.edges(len(features))[-1]))

    def draw(theme: Theme, width: float = WIDTH) -> Any:
        from matplotlib.figure import Figure as MatplotlibFigure

        figure = MatplotlibFigure(figsize=(width, 2.5), layout="constrained")
        ax = figure.add_subplot()
        draw_spectrogram(ax, features, clock, frequencies, theme)
        draw_events(ax, annotations, theme)
        ax.set_xlabel("Time (s)")
        if title:
            ax.set_title(title, pad=7 + LANE * lanes(annotations, span[1] - span[0], letter_share(width))[1])
        return figure

    alt = sentence(span, frequencies, (), annotations)
    narrow = functools.partial(draw, width=NARROW)
    return render(draw, f"{title}: {alt}" if title else alt, caption, narrow=narrow)


def draw_spectrogram(
    ax: Axes,
    features: NDArray[Any],
    clock: FrameClock,
    frequencies: NDArray[Any] | None,
    theme: Theme,
) -> None:
    """Draw features of shape ``(frames, bands)`` into an axis, time in seconds, frequency in hertz."""
    low, high = level_range(features)
    edges = clock.edges(len(features))
    ax.imshow(
        features.T,
        cmap=theme.spectrogram,
        vmin=low,
        vmax=high,
        origin="lower",
        aspect="auto",
        extent=(edges[0], edges[-1], -0.5, features.shape[1] - 0.5),
    )
    ax.set_xlim(edges[0], edges[-1])
    if frequencies is None:
        ax.set_ylabel("Band")
    else:
        rows, names = mel_ticks(frequencies)
        ax.set_yticks(rows, names)
        ax.set_ylabel("Frequency (Hz)")
    ax.spines[["left", "bottom"]].set_visible(False)


def draw_events(ax: Axes, events: Sequence[KnownEvent], theme: Theme) -> None:
    """Draw known events as brackets above an axis, overlapping ones in lanes of their own."""
    from matplotlib.transforms import ScaledTranslation, blended_transform_factory

    left, right = ax.get_xlim()
    places, _ = lanes(events, right - left, letter_share(ax.figure.get_figwidth()))  # type: ignore[union-attr]
    for event, lane in zip(events, places, strict=True):
        lift = ScaledTranslation(0, (5 + LANE * lane) / 72, ax.figure.dpi_scale_trans)  # type: ignore[union-attr]
        place = blended_transform_factory(ax.transData, ax.transAxes) + lift
        start, stop = max(event.onset, left), min(event.offset, right)
        if stop < start:
            continue
        ax.plot([start, stop], [1, 1], transform=place, color=theme.event, lw=2.5, clip_on=False, zorder=5)
        above = place + ScaledTranslation(0, 2 / 72, ax.figure.dpi_scale_trans)  # type: ignore[union-attr]
        words = ax.text(start, 1, event.label, transform=above, color=theme.event, fontsize=7.5, va="bottom", ha="left")
        words.set_clip_on(False)
        words.set_in_layout(True)


def letter_share(width: float) -> float:
    """Share of an axis that one letter of the name of an event takes, in a picture ``width`` inches wide."""
    return LETTER * WIDTH / width


def lanes(events: Sequence[KnownEvent], width: float, character: float = LETTER) -> tuple[list[int], int]:
    """The lowest free lane of each event, and how many lanes there are.

    The axis is ``width`` seconds wide; ``character`` is the share of it that one letter takes.
    """
    free_from: list[float] = []
    places = []
    for event in events:
        # A short event still needs room for its label.
        end = max(event.offset, event.onset + width * character * len(event.label))
        lane = next((i for i, free in enumerate(free_from) if free <= event.onset), len(free_from))
        free_from[lane : lane + 1] = [end]
        places.append(lane)
    return places, len(free_from)


def level_range(features: NDArray[Any]) -> tuple[float, float]:
    """Levels to draw as silence and as loud: robust against single extreme cells, never of zero width."""
    finite = features[np.isfinite(features)]
    if finite.size == 0:
        raise ValueError("features hold no finite value; check the sound they were made from")
    low, high = np.percentile(finite, (20, 99.7))
    return float(low), float(max(high, low + 1e-6))


def mel_ticks(frequencies: NDArray[Any], count: int = 6) -> tuple[NDArray[Any], list[str]]:
    """Rows and names of round frequencies on an axis whose rows have these centres in hertz."""
    inside = [f for f in NICE_FREQUENCIES if frequencies[0] <= f <= frequencies[-1] * 1.03]
    inside = inside[-count:] or [float(frequencies[0]), float(frequencies[-1])]
    rows = np.interp(inside, frequencies, np.arange(len(frequencies)))
    # Octaves crowd at the low end of a mel axis.
    kept = [i for i in range(len(inside)) if i == len(inside) - 1 or rows[i + 1] - rows[i] > len(frequencies) / 14]
    return rows[kept], [f"{inside[i] / 1000:g}k" if inside[i] >= 1000 else f"{inside[i]:g}" for i in kept]


def checked(
    features: NDArray[Any], frequencies: NDArray[Any] | None
) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
    """Features of one clip and their frequencies as arrays on the host; an error names what is wrong."""
    features = host(features)
    if features.ndim != 2 or 0 in features.shape:
        raise ValueError(f"features have shape {features.shape}; one clip has the shape (frames, bands)")
    if frequencies is not None:
        frequencies = host(frequencies)
        if frequencies.shape != (features.shape[1],) or np.any(np.diff(frequencies) <= 0):
            raise ValueError(
                f"frequencies have shape {frequencies.shape} for {features.shape[1]} bands; "
                "give the centre of each band in hertz, rising"
            )
    return features, frequencies


def host(values: Any) -> NDArray[np.float64]:
    """Any array or tensor as a float64 array on the host, detached."""
    if hasattr(values, "detach"):
        values = values.detach().to("cpu").float().numpy()
    return np.asarray(values, dtype=np.float64)
