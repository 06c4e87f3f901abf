"""Player of a sound with its attention, without kernel, network and server.

The sound is embedded once. The page's script multiplies it by the gain of the
chosen mechanism, so "only what it attends to" and "the rest" are heard at their
true level and add up to the sound. Without JavaScript the picture, its
attention curve and a plain audio element remain.
"""

from __future__ import annotations

import base64
import html
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from audioattn_lib.attention.record.record import AttentionRecord, FrameClock

from ..assets import script_tag, style_tag
from ..describe import Curve, Events, KnownEvent, curve, known_events, sentence, title_of, value_name
from ..figure import themed_images
from ..page import save_page
from ..plots.spectrogram import checked, lanes, level_range, mel_ticks
from ..style import THEMES, map_opacity
from .parts import Part, cut_curve, cut_events, cut_frames, split, strongest, time_of
from .sound import BUDGET, TAIL, cell_gain, data_uri, gain, mono

if TYPE_CHECKING:
    from .widget import PlayerWidget

__all__ = ["Player", "attention_of", "player"]

LOUDNESS = (
    "The sound keeps its level in every mode. “Only attended” multiplies it by the {noun} divided by its peak, "
    "a gain between 0 and 1; “The rest” by one minus that gain."
)
CELL_LOUDNESS = (
    "The sound keeps its level in every mode. “Only attended” multiplies each cell of time and frequency by the "
    "{noun} divided by its peak, a gain between 0 and 1; “The rest” is the sound without that. What is nearer than "
    "64 ms or 31 Hz to a border is heard on both sides."
)
CELL_BYTES = 300_000  # of the maps of all mechanisms, which the page filters with
MOST_CELLS = (32, 256)  # of one map: bands and frames
AXIS_POINTS = 33
DENSITY_POINTS = 500  # of a curve
SLIDER_POINTS = 120  # of each of very many
CURVE_HEIGHT = 86.0  # of 100: the peak of a curve stays below the upper edge


@dataclass(frozen=True, repr=False)
class Player:
    """A player as HTML.

    In a notebook it shows itself; elsewhere use :meth:`html` or :meth:`save`.

    Parameters
    ----------
    markup
        The player without its style sheets and script.
    title
        Name of the sound, for the page that :meth:`save` writes.
    alt
        What there is to see, in words.
    """

    markup: str
    title: str
    alt: str

    def html(self) -> str:
        """Return the player as self-contained HTML."""
        return f"{style_tag('figure')}{style_tag('player')}{self.markup}{script_tag('player')}"

    def save(self, path: str | Path) -> Path:
        """Write a page with only this player, which opens from a disk without a network, and return its path."""
        return save_page(path, self.html(), self.title or "Player")

    def widget(self) -> PlayerWidget:
        """Return the player as a widget of JupyterLab: Python reads and sets playhead, selection, mode and mechanism.

        Raises
        ------
        ImportError
            When anywidget is not installed; the message names the extra.
        """
        from .widget import PlayerWidget

        return PlayerWidget.of(self)

    def _repr_html_(self) -> str:
        return self.html()

    def __repr__(self) -> str:
        return f"Player: {self.alt}"


def player(
    samples: NDArray[Any],
    sample_rate: int,
    *,
    record: AttentionRecord | None = None,
    records: Mapping[str, AttentionRecord] | None = None,
    clip: int = 0,
    features: NDArray[Any],
    clock: FrameClock,
    frequencies: NDArray[Any] | None = None,
    events: Events | None = None,
    sliders: Mapping[str, Sequence[object]] | None = None,
    start: int = 0,
    readings: Sequence[str] | None = None,
    title: str = "",
    caption: str = "",
    budget: int = BUDGET,
    cells: bool = False,
    noun: str = "attention",
) -> Player:
    """A sound with its spectrogram, a moving playhead, and the attention of one or several mechanisms.

    Parameters
    ----------
    samples
        Mono sound, shape ``(n,)``, in [-1, 1].
    sample_rate
        Samples a second, above 0.
    record
        What one mechanism looked at.
    records
        What several looked at, by the name to show; the listener switches between them. Give this or ``record``.
    clip
        Which clip of the records this sound is.
    features
        Features of this sound to draw as spectrogram, shape ``(frames, bands)``.
    clock
        Time of the frames of ``features``.
    frequencies
        Centre of each band in hertz, rising, shape ``(bands,)``.
    events
        Known events, in seconds.
    sliders
        Choose among the records with sliders instead of buttons: the values of each slider by what it changes, with
        its unit. The records are every combination in order, the last slider changing fastest.
    start
        The record shown first, from 0.
    readings
        What to say of each record below the picture; its moments and support when not given.
    title, caption
        Text above and below the player.
    budget
        Most bytes of the sound as MP3, or of each of its parts.
    cells
        Filter the sound in time and frequency by the maps of the records, see
        :func:`~audioattn_lib.display.players.sound.attended_cells`; by default in time alone.
    noun
        What the records are, for the words of the controls.

    Raises
    ------
    ValueError
        When both ``record`` and ``records`` are given, the number of sliders' combinations or of readings is not that
        of the records, or a shape is wrong.

    Notes
    -----
    A sound that does not fit into ``budget`` is cut into parts of at most 20 s. The part that is attended to most is
    open, the others are below it, closed; of more than 20 minutes the parts that are attended to most remain.

    Book page: ``urban_sound``.
    """
    if record is not None and records is not None:
        raise ValueError("record and records are both given; give record for one mechanism, records for several")
    named = dict(records or {})
    if record is not None:
        named[title_of(record)] = record
    sound = mono(samples)
    duration = len(sound) / sample_rate
    features, frequencies = checked(features, frequencies)
    annotations = known_events(events)
    attention = _Attention.of(
        {name: each[clip] for name, each in named.items()}, frequencies, readings, is_long=bool(sliders), cells=cells
    )
    curves, texts, gains, clocks = attention.curves, attention.texts, attention.gains, attention.clocks
    _check_choice(len(curves), sliders, start, len(texts))
    alt = sentence((0.0, duration), frequencies, curves[start : start + 1] if sliders else curves, annotations)
    alt = f"{title}: {alt}" if title else alt
    level, level_clock = (gains[start], clocks[start]) if gains else (np.zeros(0), clock)
    parts = split(sound, sample_rate, budget, level, level_clock)
    choices = [
        {"label": label, "values": [value_name(value) for value in values]} for label, values in (sliders or {}).items()
    ]
    low, high = level_range(features)
    levels = np.clip((features - low) / (high - low), 0, 1)
    is_filtered = any(each is not None for each in attention.filters)
    loudness = html.escape((CELL_LOUDNESS if is_filtered else LOUDNESS).format(noun=noun))

    def figure(part: Part, name: str, about: str) -> str:
        drawn = attention.draw(part, start, is_cut=len(parts) > 1)
        settings = {
            "duration": part.duration,
            "begin": part.start,
            "tail": TAIL,
            "start": start,
            "sliders": choices,
            "hertz": [] if frequencies is None else [round(float(centre)) for centre in frequencies],
            "mechanisms": drawn["mechanisms"],
            "noun": noun,
        }
        if is_filtered and frequencies is not None:
            places = np.linspace(0, len(frequencies) - 1, AXIS_POINTS)
            settings["axis"] = np.interp(places, np.arange(len(frequencies)), frequencies).round(1).tolist()
        picture, picture_clock = cut_frames(levels, clock, part.start, part.stop)
        label = html.escape(name or "Sound", quote=True)
        pieces = [
            f'<figure class="audioattn aa-player aa-waiting mathjax_ignore" aria-label="{label}" '
            f'data-lm-suppress-shortcuts="true" data-player="{html.escape(json.dumps(settings), quote=True)}">',
            f'<div class="aa-title">{html.escape(name)}</div>' if name else "",
            '<div class="aa-stage">',
            _events(cut_events(annotations, part.start, part.stop), part.duration),
            _hertz(frequencies),
            '<div class="aa-plot"><div class="aa-screen">',
            _picture(picture, picture_clock, part.duration, about),
            drawn["layers"],
            drawn["curves"],
            "</div></div>",
            _seconds(part.start, part.duration),
            "</div>",
            f'<div class="aa-reading">{html.escape(texts[start])}</div>' if curves else "",
            f'<audio controls preload="metadata" aria-label="{label}" '
            f'src="{data_uri(part.sound, "audio/mpeg")}"></audio>',
            f"<figcaption>{html.escape(caption)}" if caption or curves else "",
            f'<small class="aa-loudness">{loudness}</small>' if curves else "",
            "</figcaption>" if caption or curves else "",
            "</figure>",
        ]
        return "".join(pieces)

    if len(parts) == 1:
        return Player(figure(parts[0], title, alt), title, alt)
    strongest_part = strongest(parts, level, level_clock)
    shown_seconds = sum(part.duration for part in parts)
    note = f"{time_of(duration)} in {len(parts)} parts; "
    if shown_seconds < duration - 1:
        note = f"{len(parts)} parts of {time_of(duration)}, those that are attended to most; "
    note += f"{parts[strongest_part]} is attended to most and open." if curves else "the first is open."
    about = f"{title}: " if title else ""
    listed = []
    for number, part in enumerate(parts):
        spectrogram = f"{about}Spectrogram of {part}"
        content = figure(part, f"{about}{part}", alt if number == strongest_part else spectrogram)
        is_open = " open" if number == strongest_part else ""
        listed.append(f'<details class="aa-stretch"{is_open}><summary>{part}</summary>{content}</details>')
    markup = f'<div class="audioattn aa-stretches"><p class="aa-note">{html.escape(note)}</p>{"".join(listed)}</div>'
    return Player(markup, title, alt)


def attention_of(
    records: Mapping[str, AttentionRecord],
    duration: float,
    *,
    frequencies: NDArray[Any] | None = None,
    start: int = 0,
    number: int | None = None,
    readings: Sequence[str] | None = None,
    cells: bool = False,
) -> dict[str, Any]:
    """Attention over a sound that is shown already, for the trait ``attention`` of a player's widget.

    Sound and spectrogram stay, so a slider redraws within milliseconds.

    Parameters
    ----------
    records
        Of one clip each, by the name to show.
    duration
        Seconds of the sound.
    frequencies, start, readings, cells
        As for :func:`player`.
    number
        Replace this mechanism alone, from 0, by the one record given.
    """
    attention = _Attention.of(dict(records), frequencies, readings, cells=cells)
    _check_choice(len(attention.curves), None, start, len(attention.texts))
    drawn = attention.draw(Part(0.0, duration, b""), start, is_cut=False, first=number or 0, is_quick=True)
    return {**drawn, "reading": attention.texts[start]} | ({} if number is None else {"number": number})


@dataclass(frozen=True)
class _Attention:
    """Convert the records of several mechanisms to the data that a player draws."""

    titles: list[str]
    curves: list[Curve]
    texts: list[str]
    gains: list[NDArray[np.float64]]
    clocks: list[FrameClock]
    maps: list[NDArray[Any] | None]
    filters: list[_Cells | None]
    frequencies: NDArray[Any] | None

    @classmethod
    def of(
        cls,
        records: Mapping[str, AttentionRecord],
        frequencies: NDArray[Any] | None,
        readings: Sequence[str] | None,
        *,
        is_long: bool = False,
        cells: bool = False,
    ) -> _Attention:
        points = SLIDER_POINTS if is_long else DENSITY_POINTS
        curves = [curve(each, title=name, points=points) for name, each in records.items()]
        texts = [_reading(row) for row in curves] if readings is None else list(readings)
        gains = [gain(each) for each in records.values()]
        maps = [_map(each, frequencies) for each in records.values()]
        filters = [
            _cells(each, frequencies, CELL_BYTES // len(records)) if cells and each.maps is not None else None
            for each in records.values()
        ]
        clocks = [each.clock for each in records.values()]
        return cls(list(records), curves, texts, gains, clocks, maps, filters, frequencies)

    def draw(self, part: Part, start: int, *, is_cut: bool, first: int = 0, is_quick: bool = False) -> dict[str, Any]:
        """Settings of the mechanisms, and SVG of curves and pictures of maps as HTML; they count from ``first``."""
        rows = [cut_curve(row, part.start, part.stop) for row in self.curves] if is_cut else self.curves
        peaks = [float(row.values.max()) or 1.0 for row in self.curves]
        mechanisms, layers = [], []
        for number, (title, clock) in enumerate(zip(self.titles, self.clocks, strict=True)):
            inside, at = cut_frames(self.gains[number], clock, part.start, part.stop)
            mechanisms.append(_mechanism(title, inside if len(inside) else np.zeros(1), at, self.texts[number]))
            if (grid := self.filters[number]) is not None:
                mechanisms[-1]["cells"] = grid.cut(part.start, part.stop)
            layers.append(
                _layer(
                    title,
                    self.maps[number],
                    clock,
                    first + number,
                    self.frequencies,
                    part,
                    is_shown=number == start,
                    is_quick=is_quick,
                )
            )
        return {
            "mechanisms": mechanisms,
            "layers": "".join(layers),
            "curves": _curves(rows, peaks, part.duration, start, first),
        }


def _check_choice(n_records: int, sliders: Mapping[str, Sequence[object]] | None, start: int, n_readings: int) -> None:
    if sliders is not None:
        combinations = math.prod(len(values) for values in sliders.values())
        if not sliders or combinations != n_records:
            raise ValueError(
                f"sliders have {combinations} combinations of values for {n_records} records; "
                "give one record for each combination, the last slider changing fastest"
            )
    if n_readings != n_records:
        raise ValueError(f"{n_readings} readings for {n_records} records; give one for each")
    if not 0 <= start < max(n_records, 1):
        raise ValueError(f"start is {start}; it must be from 0 to {max(n_records, 1) - 1}")


def _mechanism(name: str, level: NDArray[np.float64], clock: FrameClock, reading: str) -> dict[str, object]:
    levels = np.rint(level * 255).astype(np.uint8)
    return {
        "title": name,
        "reading": reading,
        "gain": base64.b64encode(levels.tobytes()).decode(),
        "period": clock.period,
        "start": clock.start,
    }


@dataclass(frozen=True)
class _Cells:
    """Gain of cells of time and frequency, shape (bands, frames), that the page filters the sound with."""

    gain: NDArray[np.float64]
    hertz: NDArray[np.float64]
    clock: FrameClock

    def cut(self, start: float, stop: float) -> dict[str, object]:
        inside, at = cut_frames(self.gain.T, self.clock, start, stop)
        inside = inside if len(inside) else np.zeros((1, len(self.hertz)))
        levels = np.rint(inside.T * 255).astype(np.uint8)
        return {
            "gain": base64.b64encode(levels.tobytes()).decode(),
            "hertz": self.hertz.round(1).tolist(),
            "period": at.period,
            "start": at.start,
        }


def _cells(record: AttentionRecord, frequencies: NDArray[Any] | None, most: int) -> _Cells:
    """Means of neighbours where there are too many bands or frames for the page."""
    values, hertz = cell_gain(record, 0, frequencies)
    frames = -(-values.shape[1] // MOST_CELLS[1])
    bands = -(-len(values) // max(min(MOST_CELLS[0], most // min(values.shape[1], MOST_CELLS[1])), 1))
    over_time = np.add.reduceat(values, np.arange(0, values.shape[1], frames), axis=1)
    summed = np.add.reduceat(over_time, np.arange(0, len(values), bands), axis=0)
    counts = [
        np.diff([*range(0, size, step), size]) for size, step in ((len(values), bands), (values.shape[1], frames))
    ]
    means = summed / np.outer(*counts)
    middle = np.add.reduceat(hertz, np.arange(0, len(hertz), bands)) / counts[0]
    clock = FrameClock(record.clock.period * frames, record.clock.start)
    return _Cells(means / max(float(means.max()), 1e-12), middle, clock)


def _reading(row: Curve) -> str:
    return f"{row.title}: {row.summary}"


def _picture(levels: NDArray[Any], clock: FrameClock, duration: float, alt: str) -> str:
    """Spectrogram of levels from 0 to 1, shape ``(frames, bands)``."""
    if not len(levels):
        return ""
    edges = clock.edges(len(levels))
    columns = _few_columns(levels.T[::-1])
    images = {theme.name: _webp(theme.spectrogram(columns)) for theme in THEMES}
    coarse = " aa-coarse" if len(levels) < FEW_COLUMNS else ""
    place = _place(edges[0], edges[-1], duration)
    return f'<div class="aa-picture{coarse}" style="{place}">{themed_images(images, alt)}</div>'


def _map(record: AttentionRecord, frequencies: NDArray[Any] | None) -> NDArray[Any] | None:
    """Opacity of the attention over time and frequency of a record, shape ``(frames, bands)``; None without."""
    if record.maps is None:
        return None
    assert record.n_frames is not None
    values = record.maps[0].mean(axis=(0, 1))[:, : int(record.n_frames[0])]
    if record.frequencies is not None and frequencies is not None:
        values = np.stack([np.interp(frequencies, record.frequencies, column) for column in values.T], axis=1)
    return map_opacity(values).T


def _layer(
    title: str,
    values: NDArray[Any] | None,
    clock: FrameClock,
    number: int,
    frequencies: NDArray[Any] | None,
    part: Part,
    *,
    is_shown: bool,
    is_quick: bool = False,
) -> str:
    """Attention over time and frequency, averaged over layers and heads, to lay over the picture."""
    if values is None:
        return ""
    inside, clock = cut_frames(values, clock, part.start, part.stop)
    if not len(inside):
        return ""
    share = inside.T[::-1]
    columns = _few_columns(share)
    images = {theme.name: _webp(theme.overlay(columns), is_quick=is_quick) for theme in THEMES}
    edges = clock.edges(share.shape[1])
    hidden = "" if is_shown else " hidden"
    row, column = np.unravel_index(int(share.argmax()), share.shape)
    seconds = part.start + float(clock.centres(share.shape[1])[column])
    alt = f"{title}: attention over time and frequency, strongest at {seconds:.2f} s"
    if frequencies is not None and len(frequencies) == len(share):
        alt += f" and {float(frequencies[::-1][row]):.0f} Hz"
    return (
        f'<div class="aa-picture aa-layer" data-mechanism="{number}"{hidden} '
        f'style="{_place(edges[0], edges[-1], part.duration)}">{themed_images(images, alt)}</div>'
    )


FEW_COLUMNS = 120
"""Fewer columns are drawn as cells with edges: what a network reads, and not smoother than that."""
MOST_COLUMNS = 3000
"""Columns of a picture: WebP ends at 16,383, and no screen shows more."""


def _few_columns(levels: NDArray[Any]) -> NDArray[Any]:
    """At most :data:`MOST_COLUMNS` columns, each the greatest of those that it stands for, so that no event is lost."""
    count = levels.shape[1]
    if count <= MOST_COLUMNS:
        return levels
    starts = np.linspace(0, count, MOST_COLUMNS, endpoint=False).astype(np.int64)
    few: NDArray[Any] = np.maximum.reduceat(levels, starts, axis=1)
    return few


def _webp(colours: NDArray[Any], *, is_quick: bool = False) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    image = Image.fromarray(np.rint(colours * 255).astype(np.uint8))
    image.save(buffer, "WEBP", quality=80, alpha_quality=60, method=2 if is_quick else 4, use_sharp_yuv=True)
    return buffer.getvalue()


def _curves(curves: Sequence[Curve], peaks: Sequence[float], duration: float, start: int, first: int = 0) -> str:
    groups = []
    for number, (row, peak) in enumerate(zip(curves, peaks, strict=True)):
        bars = "".join(
            f'<rect x="{_x(left, duration)}" y="96" width="{max(_x(right, duration) - _x(left, duration), 1):.1f}" '
            'height="4"/>'
            for left, right in row.support
        )
        mean = f'<path class="aa-mean" d="M{_x(row.mean, duration)} 93V100"/>' if 0 <= row.mean <= duration else ""
        hidden = "" if number == start else " hidden"
        groups.append(
            f'<g data-mechanism="{first + number}"{hidden}><path class="aa-line" d="{_path(row, peak, duration)}"/>'
            f'<g class="aa-support">{bars}</g>{mean}</g>'
        )
    if not groups:
        return ""
    return (
        '<svg class="aa-curves" viewBox="0 0 1000 100" preserveAspectRatio="none" aria-hidden="true">'
        f"{''.join(groups)}</svg>"
    )


def _path(row: Curve, peak: float, duration: float) -> str:
    """The area below a curve, one closed piece for each stretch where attention is above zero."""
    scale = CURVE_HEIGHT / peak
    across = [_x(each, duration) for each in row.times]
    up = [round(100 - scale * float(value), 1) for value in row.values]
    positive = np.concatenate([[False], row.values > 0, [False]])
    starts, stops = np.flatnonzero(~positive[:-1] & positive[1:]), np.flatnonzero(positive[:-1] & ~positive[1:])
    pieces = []
    for start, stop in zip(starts, stops, strict=True):
        if row.over_frames:
            steps = "".join(f"V{up[i]:g}H{across[i + 1]:g}" for i in range(start, stop))
            pieces.append(f"M{across[start]:g} 100{steps}V100Z")
        else:
            points = "L".join(f"{across[i]:g} {up[i]:g}" for i in range(start, stop))
            pieces.append(f"M{across[start]:g} 100L{points}L{across[stop - 1]:g} 100Z")
    return "".join(pieces)


def _events(events: Sequence[KnownEvent], duration: float) -> str:
    """Brackets and names of the events, in more lanes where a narrow screen leaves less room for names."""
    if not events:
        return ""
    wide, count = lanes(events, duration, character=0.0112)
    narrow, narrow_count = lanes(events, duration, character=0.0225)
    spans = []
    for number, event in enumerate(events):
        about = html.escape(f"{event.label}, {event.onset:.2f} to {event.offset:.2f} s", quote=True)
        start, stop = max(event.onset, 0.0), min(event.offset, duration)
        rooms = [_room(events, places, number, duration) for places in (wide, narrow)]
        lane = f"--aa-wide:{wide[number]};--aa-narrow:{narrow[number]}"
        # A name near the right edge starts early enough to end inside.
        left = f"min({100 * start / duration:.2f}%, calc(100% - {0.62 * len(event.label):.1f}em))"
        name = f"left:{left};--aa-room:{rooms[0]:.1f}%;--aa-room-narrow:{rooms[1]:.1f}%"
        spans.append(
            f'<span class="aa-name" style="{name};{lane}" title="{about}">{html.escape(event.label)}</span> '
            f'<span class="aa-bracket" style="{_place(start, stop, duration)};{lane}" title="{about}"></span>'
        )
    height = f"--aa-lanes:{count};--aa-lanes-narrow:{narrow_count}"
    return f'<div class="aa-events" style="{height}" aria-hidden="true">{"".join(spans)}</div>'


def _room(events: Sequence[KnownEvent], places: Sequence[int], number: int, duration: float) -> float:
    """Percent of the width that a name has until the next event in its lane; all of it for the last one."""
    later = zip(events[number + 1 :], places[number + 1 :], strict=True)
    after = next((event.onset for event, lane in later if lane == places[number]), None)
    return 100.0 if after is None else 100 * (after - max(events[number].onset, 0.0)) / duration


def _hertz(frequencies: NDArray[Any] | None) -> str:
    if frequencies is None:
        return ""
    rows, names = mel_ticks(frequencies)
    marks = "".join(
        f'<span style="bottom:{100 * (row + 0.5) / len(frequencies):.1f}%">{name}</span> '
        for row, name in zip(rows, names, strict=True)
    )
    return f'<div class="aa-hertz" aria-hidden="true">{marks}<b>Hz</b></div>'


def _seconds(start: float, duration: float) -> str:
    """Marks at round seconds of the whole sound."""
    step = next((s for s in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60) if duration / s <= 8), 120)
    first = math.ceil(start / step - 1e-9) * step
    ticks = np.round(np.arange(first, start + duration + 1e-9, step), 6)
    marks = [
        f'<span style="left:{100 * (tick - start) / duration:.2f}%">{tick:g}{"" if number else " s"}</span> '
        for number, tick in enumerate(ticks)
    ]
    return f'<div class="aa-seconds" aria-hidden="true">{"".join(marks)}</div>'


def _x(seconds: float, duration: float) -> float:
    return round(1000 * float(seconds) / duration, 1)


def _place(start: float, stop: float, duration: float) -> str:
    return f"left:{100 * start / duration:.2f}%;width:{100 * (stop - start) / duration:.2f}%"
