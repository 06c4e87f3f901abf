"""Curves on common axes: functions of time, of a score, of a parameter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..describe import Events, known_events
from ..figure import Figure, render
from ..style import Theme
from .results import DASHES
from .spectrogram import NARROW, WIDTH, host

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["draw_lines", "plot_lines"]

Line = tuple[Any, Any]
_FEW = 20
"""Most points that are drawn as large dots."""


def plot_lines(
    lines: Mapping[str, Line],
    *,
    x_label: str,
    y_label: str,
    alt: str,
    points: Mapping[str, Line] | None = None,
    intervals: Mapping[str, Line] | None = None,
    references: Sequence[str] = (),
    filled: Sequence[str] = (),
    events: Events | None = None,
    y_limits: tuple[float, float] | None = None,
    height: float = 2.4,
    log_x: bool = False,
    title: str = "",
    caption: str = "",
    missing: str = "",
) -> Figure:
    """Curves with a legend; each has a colour and a dash of its own.

    Parameters
    ----------
    lines
        Places and values of each curve by its name, two arrays or tensors of one shape ``(n,)``; at least one.
    x_label, y_label
        What the axes show, with units.
    alt
        What there is to see, in words.
    points
        Measurements to draw as dots, by name, as ``lines``: a few above the curves, many below.
    intervals
        Lower and upper ends at each place of a curve, by its name: bands.
    references
        Names of curves that the others are to be compared with: grey.
    filled
        Names of curves whose area down to zero is filled, as attention is.
    events
        Known events in seconds, as bands, where the horizontal axis is time.
    y_limits
        Lowest and highest value to draw; what the values need when not given.
    height
        Of the picture in inches.
    log_x
        Equal ratios of x are equally far apart, as for frequencies; all x are above 0.
    title, caption
        Text above and below the picture.
    missing
        What stands in place of the picture where there are no lines: why there are none.

    Raises
    ------
    ValueError
        When there are no lines and no reason why, the two arrays of one differ in shape, or an interval is of no curve
        or not of its shape; the message names it.

    Notes
    -----
    Book page: ``from_weights_to_densities``.
    """
    if not lines and missing:
        return Figure({}, missing)
    if not lines:
        raise ValueError("lines is empty; give at least one curve by its name")
    curves = {name: _checked(name, line) for name, line in lines.items()}
    dots = {name: _checked(name, line) for name, line in (points or {}).items()}
    bands = {name: _checked(name, ends) for name, ends in (intervals or {}).items()}
    for name, (low, _) in bands.items():
        if name not in curves or low.shape != curves[name][0].shape:
            raise ValueError(f"the interval of {name!r} has {len(low)} places; give one for each place of a curve")
    annotations = known_events(events)

    def draw(theme: Theme, width: float = WIDTH) -> Any:
        from matplotlib.figure import Figure as MatplotlibFigure
        from matplotlib.ticker import MaxNLocator

        named = len(curves) + len(dots) if len(curves) + len(dots) > 1 else 0
        longest = max(map(len, [*curves, *dots]))
        columns = 4 if sum(map(len, [*curves, *dots])) < 64 else 3
        if width < WIDTH:  # on a phone the legend has few columns and stands above what is as high as elsewhere
            columns = 2 if longest < 22 else 1
        above = 0.17 * (-(-named // columns) - -(-named // 4)) if width < WIDTH else 0.0
        figure = MatplotlibFigure(figsize=(width, height + above), layout="constrained")
        ax = figure.add_subplot()
        for event in annotations:
            ax.axvspan(event.onset, event.offset, color=theme.event, alpha=0.13, lw=0, zorder=0)
        for name, (x, y) in dots.items():
            size, colour, level = (9.0, theme.ink, 5) if len(x) <= _FEW else (3.5, theme.chance, 1)
            ax.plot(x, y, ".", ms=size, color=colour, label=name, zorder=level)
        draw_lines(ax, curves, theme, references, filled, bands)
        if all(np.all(x == np.round(x)) for x, _ in curves.values()):
            ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        if log_x:
            ax.set_xscale("log")
            ax.xaxis.set_major_formatter("{x:g}")
        ax.axhline(0, color=theme.rule, lw=0.6, zorder=0)
        if y_limits is not None:
            ax.set_ylim(*y_limits)
        ax.margins(x=0.01)
        ax.set_xlabel(x_label)
        ax.set_ylabel(y_label)
        if named:
            figure.legend(loc="outside upper left", ncols=columns, handlelength=2.4, columnspacing=1.4)
        if title:
            ax.set_title(title)
        return figure

    words = f"{title}: {alt}" if title else alt
    return render(draw, words, caption, narrow=lambda theme: draw(theme, NARROW))


def draw_lines(
    ax: Axes,
    curves: Mapping[str, tuple[NDArray[Any], NDArray[Any]]],
    theme: Theme,
    references: Sequence[str] = (),
    filled: Sequence[str] = (),
    intervals: Mapping[str, tuple[NDArray[Any], NDArray[Any]]] = MappingProxyType({}),
) -> None:
    """Draw curves by name, the first in the colour of attention, references in grey."""
    number = 0
    for name, (x, y) in curves.items():
        reference = name in references
        colour = theme.chance if reference else theme.series[number % len(theme.series)]
        if name in intervals:
            ends = intervals[name]
            ax.fill_between(x, *ends, color=colour, alpha=0.1, lw=0, zorder=1)
            for end, title in zip(ends, ("low", "high"), strict=True):
                ax.plot(x, end, color=colour, lw=0.4, alpha=0.4, gid=f"{name}, {title}", zorder=2)
        if reference:
            ax.plot(x, y, color=colour, lw=1.3, label=name, zorder=2)
            continue
        ax.plot(x, y, color=colour, ls=DASHES[number % len(DASHES)], label=name, zorder=3)
        if name in filled:
            ax.fill_between(x, y, color=colour, alpha=0.22, lw=0, zorder=1)
        number += 1


def _checked(name: str, line: Line) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    x, y = host(line[0]), host(line[1])
    if x.ndim != 1 or x.shape != y.shape or not x.size:
        raise ValueError(f"{name!r} has places of shape {x.shape} and values of shape {y.shape}; give both as (n,)")
    return x, y
