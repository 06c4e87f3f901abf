"""Text descriptions of records: events, curves of frame attention and alternative text."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from ..attention.record.export import moments
from ..attention.record.record import AttentionRecord

__all__ = ["Curve", "KnownEvent", "curve", "known_events", "mechanism_title", "sentence", "title_of", "value_name"]


class KnownEvent(NamedTuple):
    """A sound that is known to be there, from ``onset`` to ``offset`` in seconds."""

    label: str
    onset: float
    offset: float


class _EventLike(Protocol):
    @property
    def label(self) -> str: ...
    @property
    def onset(self) -> float: ...
    @property
    def offset(self) -> float: ...


#: Anything with a label, an onset and an offset in seconds, or a tuple of the three.
Events = Iterable[_EventLike | tuple[str, float, float]]

_TITLES = {
    "softmax": "Softmax",
    "entmax1333": "4/3-entmax",
    "entmax15": "1.5-entmax",
    "sparsemax": "Sparsemax",
    "gaussian": "Gaussian density",
    "triweight": "Triweight density",
    "biweight": "Biweight density",
    "parabola": "Truncated parabola",
    "self_attention": "Self attention",
    "multi_head": "Multi-head",
    "multi_query": "Multi-query multi-head",
    "double_multi_head": "Double multi-head",
    "linear": "Linear baseline",
}


def title_of(record: AttentionRecord) -> str:
    """A readable name of the mechanism of a record."""
    return mechanism_title(record.mechanism or "attention")


def mechanism_title(name: str) -> str:
    """A readable name of a mechanism, baseline or reference of a configuration; one letter stays as it is."""
    if len(name) == 1:
        return name
    return _TITLES.get(name, name.replace("_", " ")[:1].upper() + name.replace("_", " ")[1:])


def value_name(value: object) -> str:
    """Format a slider value: a number with four significant digits, any other value as text."""
    return f"{value:.4g}" if isinstance(value, (int, float, np.number)) else str(value)


def known_events(events: Events | None) -> tuple[KnownEvent, ...]:
    """Events in order of onset; an event that ends before it begins is an error that names it."""
    listed = []
    for event in events or ():
        converted = (
            KnownEvent(*event) if isinstance(event, tuple) else KnownEvent(event.label, event.onset, event.offset)
        )
        converted = KnownEvent(str(converted.label).replace("_", " "), float(converted.onset), float(converted.offset))
        if not converted.onset <= converted.offset:
            raise ValueError(
                f"event {converted.label!r} lasts from {converted.onset} to {converted.offset} s; onset must come first"
            )
        listed.append(converted)
    return tuple(sorted(listed, key=lambda event: (event.onset, event.offset)))


@dataclass(frozen=True)
class Curve:
    """The attention of one clip over time, ready to draw.

    Parameters
    ----------
    title
        Name of the mechanism.
    times
        Seconds: points of a density, shape ``(n,)``, or the borders of frames, shape ``(n + 1,)``.
    values
        Attention per second, shape ``(n,)``; over frames, weight divided by the length of a frame.
    over_frames
        True for weights of frames, False for a density.
    support
        Intervals with any attention, in seconds, inside the clip.
    unbounded
        True when no instant of the clip has exactly zero attention.
    mean, std
        Moments over time in seconds.
    """

    title: str
    times: NDArray[Any]
    values: NDArray[Any]
    over_frames: bool
    support: tuple[tuple[float, float], ...]
    unbounded: bool
    mean: float
    std: float

    @property
    def attended(self) -> float:
        """Seconds of the clip with any attention."""
        return sum(stop - start for start, stop in self.support)

    @property
    def summary(self) -> str:
        """Mean and support in a few words."""
        if self.unbounded:
            reach = "all frames above zero" if self.over_frames else "the whole clip above zero"
        elif len(self.support) == 1:
            start, stop = self.support[0]
            reach = f"support {start:.2f}–{stop:.2f} s"
        else:
            reach = f"support {self.attended:.2f} s in {len(self.support)} pieces"
        return f"mean {self.mean:.2f} s ± {self.std:.2f} s, {reach}"


def curve(record: AttentionRecord, clip: int = 0, *, title: str = "", points: int = 500) -> Curve:
    """Attention over time of one clip of any record: its density, or else the attention to its frames.

    Parameters
    ----------
    record
        What the mechanism looked at; not empty.
    clip
        Which clip of the record.
    title
        Name to show; the name of the mechanism when empty.
    points
        Instants at which a density is drawn, above 1.
    """
    single = record[clip]
    assert single.n_frames is not None
    start, stop = single.span()
    support = single.support()
    mean, variance = moments(single)
    density = single.density
    if density is not None:
        reach = np.where(np.isfinite(density.half_width), density.half_width, 4 * np.sqrt(density.variance))[0]
        # A narrow mode needs its own points: the grid of the clip could step over it.
        own = (density.location[0] + np.linspace(-1, 1, 81)[:, None] * reach).ravel()
        times = np.unique(np.concatenate([np.linspace(start, stop, points), own[(own > start) & (own < stop)]]))
        values = density.pdf(times)[0]
    else:
        times = single.clock.edges(int(single.n_frames[0]))
        values = single.frame_attention() / single.clock.period
    covered = sum(b - a for a, b in support)
    return Curve(
        title=title or title_of(record),
        times=times,
        values=values,
        over_frames=density is None,
        support=tuple(single.attended()),
        unbounded=math.isclose(covered, stop - start, rel_tol=1e-6),
        mean=mean,
        std=math.sqrt(max(variance, 0.0)),
    )


def sentence(
    span: tuple[float, float],
    frequencies: NDArray[Any] | None,
    curves: Sequence[Curve] = (),
    events: Sequence[KnownEvent] = (),
) -> str:
    """Alternative text of a picture of a sound and of what attends to it."""
    parts = [f"Spectrogram of {span[1] - span[0]:.1f} s of sound"]
    if frequencies is not None:
        parts[0] += f", {frequencies[0]:.0f} to {frequencies[-1]:.0f} Hz"
    if events:
        named = ", ".join(f"{event.label} {event.onset:.2f}–{event.offset:.2f} s" for event in events[:12])
        more = f" and {len(events) - 12} more" if len(events) > 12 else ""
        parts.append(f"Events: {named}{more}")
    parts.extend(f"{each.title}: {each.summary}" for each in curves)
    return ". ".join(parts) + "."
