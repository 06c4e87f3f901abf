"""Plot of the input and the layer outputs of a network on one time axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from audioattn_lib.attention.record.record import FrameClock

from ..describe import Events, known_events
from ..figure import Figure, render
from ..style import Theme
from .spectrogram import LANE, NARROW, WIDTH, checked, draw_events, draw_spectrogram, lanes, letter_share

__all__ = ["Panel", "plot_panels"]


@dataclass(frozen=True)
class Panel:
    """One stage: the input, the output of a layer, or a value function evaluated over time.

    Parameters
    ----------
    title
        What is shown.
    values
        Array or tensor of one clip, shape ``(times, rows)``.
    clock
        Time of the first axis of ``values``.
    frequencies
        Centre of each row in hertz, rising, shape ``(rows,)``; rows are counted as channels when not given.
    """

    title: str
    values: NDArray[Any]
    clock: FrameClock
    frequencies: NDArray[Any] | None = None


def plot_panels(panels: Sequence[Panel], events: Events | None = None, *, caption: str = "") -> Figure:
    """Panels one below the other, such as log-mel input, output of the convolutions and value function.

    Every panel has its own range of levels, from its 20th to its 99.7th percentile.

    Parameters
    ----------
    panels
        At least one, from input to output.
    events
        Known events in seconds, as brackets above the first panel.
    caption
        Text below the picture.

    Notes
    -----
    Book page: ``urban_sound``.
    """
    if not panels:
        raise ValueError("panels is empty; give at least one Panel")
    annotations = known_events(events)
    arrays = [checked(panel.values, panel.frequencies) for panel in panels]
    edges = [panel.clock.edges(len(values)) for panel, (values, _) in zip(panels, arrays, strict=True)]
    left, right = min(edge[0] for edge in edges), max(edge[-1] for edge in edges)

    def draw(theme: Theme, width: float = WIDTH) -> Any:
        from matplotlib.figure import Figure as MatplotlibFigure

        above = LANE * lanes(annotations, right - left, letter_share(width))[1]
        height = 1.75 * len(panels) + 0.4 + above / 72
        figure = MatplotlibFigure(figsize=(width, height), layout="constrained")
        axes = figure.subplots(len(panels), squeeze=False, sharex=True)[:, 0]
        for ax, panel, (values, frequencies) in zip(axes, panels, arrays, strict=True):
            draw_spectrogram(ax, values, panel.clock, frequencies, theme)
            ax.set_xlim(left, right)
            if frequencies is None:
                ax.set_ylabel("Channel")
            ax.set_title(panel.title, pad=7 + (above if ax is axes[0] else 0))
        draw_events(axes[0], annotations, theme)
        axes[-1].set_xlabel("Time (s)")
        return figure

    shapes = [f"{panel.title} ({values.shape[1]} rows)" for panel, (values, _) in zip(panels, arrays, strict=True)]
    alt = f"{right - left:.1f} s of sound in {len(panels)} panels: {', '.join(shapes)}."
    return render(draw, alt, caption, narrow=lambda theme: draw(theme, NARROW))
