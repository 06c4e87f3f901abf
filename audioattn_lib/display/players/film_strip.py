"""Film strip of playbacks: segments, hop and predictions of each stage."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from audioattn_lib.attention.record.record import FrameClock

from ..assets import style_tag
from ..describe import Events, KnownEvent, known_events
from ..figure import Figure, render
from ..page import save_page
from ..plots.spectrogram import LANE, NARROW, WIDTH, draw_events, draw_spectrogram, lanes, letter_share, mel_ticks
from ..style import Theme
from .sound import compress_start, data_uri, mono

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["FilmStrip", "PlaybackStage", "film_strip"]

_MOST = 3
"""Most segments of a playback in the picture; all of them have a player."""
_LONGEST = 24
"""Characters of the name of a class in the picture."""


@dataclass(frozen=True)
class PlaybackStage:
    """One stage of playback: its segments, their features and hop, and the prediction after it.

    Parameters
    ----------
    hop
        Seconds from one frame to the next.
    parts
        Start and stop in seconds of what was heard, shape ``(parts, 2)``.
    features
        Of each part, shape ``(frames, bands)``.
    probabilities
        Of each class after this stage, in [0, 1], shape ``(classes,)``.
    """

    hop: float
    parts: NDArray[np.floating[Any]]
    features: Sequence[NDArray[np.floating[Any]]]
    probabilities: NDArray[np.floating[Any]]


@dataclass(frozen=True, repr=False)
class FilmStrip:
    """A film strip with its sounds as HTML; in a notebook it shows itself.

    Parameters
    ----------
    figure
        The picture.
    sounds
        The parts that were played back, as HTML without style sheet.
    title
        Text above.
    """

    figure: Figure
    sounds: str = field(repr=False)
    title: str = ""

    def html(self) -> str:
        """Return the film strip as self-contained HTML."""
        return f"{self.figure.html()}{style_tag('film_strip')}{self.sounds}"

    def save(self, path: str | Path) -> Path:
        """Write a page with only this film strip, which opens from a disk without a network, and return its path."""
        return save_page(path, self.html(), self.title or "Film strip")

    def _repr_html_(self) -> str:
        return self.html()

    def __repr__(self) -> str:
        return f"Film strip: {self.figure.alt}"


def film_strip(
    samples: NDArray[Any],
    sample_rate: int,
    stages: Sequence[PlaybackStage],
    classes: Sequence[str],
    *,
    labels: Sequence[str] = (),
    frequencies: NDArray[Any] | None = None,
    events: Events | None = None,
    title: str = "",
    caption: str = "",
) -> FilmStrip:
    """Build a film strip of one clip: input, prediction and audio of each playback stage, from top to bottom.

    Parameters
    ----------
    samples, sample_rate
        The clip, mono, shape ``(n,)``, and its rate in hertz.
    stages
        First the whole clip as one part, then each playback; at least one.
    classes
        Names of the classes.
    labels
        Those that the clip has: they are written in the colour of events.
    frequencies
        Centre of each band in hertz, rising.
    events
        Known events in seconds, as brackets.
    title, caption
        Text above and below the picture.

    Raises
    ------
    ValueError
        When there are no stages, or a shape does not fit; the message says which.

    Notes
    -----
    Book page: ``playback``.
    """
    if not stages:
        raise ValueError("stages is empty; give at least the first stage of the whole clip")
    for number, stage in enumerate(stages):
        if np.shape(stage.parts) != (len(stage.features), 2):
            raise ValueError(
                f"stage {number} has parts of shape {np.shape(stage.parts)} and {len(stage.features)} features; "
                "give a start and a stop for each"
            )
        if np.shape(stage.probabilities) != (len(classes),):
            raise ValueError(f"stage {number} has {len(stage.probabilities)} probabilities of {len(classes)} classes")
    sound = mono(samples)
    annotations = known_events(events)
    duration = len(sound) / sample_rate

    def draw(theme: Theme, width: float = WIDTH) -> Any:
        from matplotlib.figure import Figure as MatplotlibFigure

        narrow = width < WIDTH  # on a phone the probabilities stand below the parts
        above = LANE * lanes(annotations, duration, letter_share(width))[1]
        bars = 0.2 * len(classes) + 0.65
        heights = [1.45, bars] if narrow else [max(1.45, bars)]
        ratios = [heights[0] + above / 72, *heights[1:], *heights * (len(stages) - 1)]
        figure = MatplotlibFigure(figsize=(width, sum(ratios)), layout="constrained")
        columns_of = {} if narrow else {"width_ratios": (4.4, 1)}
        rows = figure.add_gridspec(len(ratios), 1 if narrow else 2, height_ratios=ratios, **columns_of)
        for number, stage in enumerate(stages):
            n_columns = min(max(len(stage.features), 1), 2 if narrow else _MOST)
            columns = rows[len(heights) * number, 0].subgridspec(1, n_columns)
            lowest = []
            for place in range(min(len(stage.features), n_columns)):
                ax = figure.add_subplot(columns[place])
                start = float(stage.parts[place][0])
                clock = FrameClock(stage.hop, start - stage.hop / 2)
                lowest.append(ax)
                draw_spectrogram(ax, np.asarray(stage.features[place]), clock, frequencies, theme)
                if place:
                    ax.set_yticks([])
                    ax.set_ylabel("")
                elif frequencies is not None:
                    ax.set_yticks(*mel_ticks(np.asarray(frequencies), 3))  # the panels are low
                _mark(ax, number, stages, annotations, theme)
                if number == 0:
                    ax.set_xlim(0, duration)
                    draw_events(ax, annotations, theme)
                    ax.set_title(_name(0, stage), pad=7 + above)
                elif place == 0:
                    ax.set_title(_name(number, stage))
            if not stage.features:
                ax = figure.add_subplot(columns[0])
                ax.set_axis_off()
                ax.set_title(f"{_name(number, stage)}: nothing was played")
            before = stages[number - 1].probabilities if number else None
            ax = figure.add_subplot(rows[2 * number + 1, 0] if narrow else rows[number, 1])
            _bars(ax, stage.probabilities, before, classes, labels, theme)
            if number == 0:
                ax.set_title("Probability", fontweight="normal")
        if narrow:  # the lowest row is that of the probabilities
            for ax in lowest:
                ax.set_xlabel("Time (s)", fontsize=8.5, color=theme.muted)
        else:
            figure.supxlabel("Time (s)", fontsize=8.5, color=theme.muted)
        return figure

    sentences = [f"{title}: " if title else "", f"{duration:.1f} s of sound, heard {len(stages)} times. "]
    sentences += [_sentence(number, stage, classes) for number, stage in enumerate(stages)]
    figure = render(draw, "".join(sentences).strip(), caption, narrow=lambda theme: draw(theme, NARROW))
    return FilmStrip(figure, _sounds(sound, sample_rate, stages), title)


def _name(number: int, stage: PlaybackStage) -> str:
    heading = "First hearing" if number == 0 else f"Playback {number}"
    return f"{heading}, every {1000 * stage.hop:.3g} ms"


def _mark(
    ax: Axes, number: int, stages: Sequence[PlaybackStage], annotations: Sequence[KnownEvent], theme: Theme
) -> None:
    """Mark the next segments in the first stage, and the events in a playback."""
    low, high = ax.get_ylim()
    if number == 0 and len(stages) > 1:
        for start, stop in stages[1].parts:
            ax.axvspan(start, stop, color=theme.attention, alpha=0.22, lw=0)
            ax.plot([start, stop], [low, low], color=theme.attention, lw=5, solid_capstyle="butt", clip_on=False)
    elif number:
        left, right = ax.get_xlim()
        for event in annotations:
            start, stop = max(event.onset, left), min(event.offset, right)
            if stop > start:
                ax.plot([start, stop], [high, high], color=theme.event, lw=4, solid_capstyle="butt", clip_on=False)
        ax.set_xlim(left, right)
    ax.set_ylim(low, high)


def _bars(
    ax: Axes,
    probabilities: NDArray[Any],
    before: NDArray[Any] | None,
    classes: Sequence[str],
    labels: Sequence[str],
    theme: Theme,
) -> None:
    place = np.arange(len(classes))
    colours = [theme.event if name in labels else theme.chance for name in classes]
    ax.barh(place, probabilities, height=0.55, color=colours, alpha=0.85, lw=0)
    if before is not None:
        ax.plot(before, place, "|", color=theme.ink, ms=9, mew=1.4)
    ax.set_xlim(0, 1)
    ax.set_xticks([0, 1], ["0", "1"])
    named = [name.replace("_", " ") for name in classes]
    ax.set_yticks(place, [name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…" for name in named], fontsize=7)
    for tick, name in zip(ax.get_yticklabels(), classes, strict=True):
        tick.set_color(theme.event if name in labels else theme.muted)
    ax.set_ylim(len(classes) - 0.4, -0.6)
    ax.yaxis.tick_right()
    ax.tick_params(right=False)
    ax.spines[["left"]].set_visible(True)


def _sentence(number: int, stage: PlaybackStage, classes: Sequence[str]) -> str:
    where = ", ".join(f"{start:.2f} to {stop:.2f} s" for start, stop in stage.parts)
    likely = ", ".join(
        f"{name.replace('_', ' ')} {value:.2f}" for name, value in zip(classes, stage.probabilities, strict=True)
    )
    return f"{_name(number, stage)}{f' ({where})' if number else ''}: {likely}. "


def _sounds(sound: NDArray[np.float32], sample_rate: int, stages: Sequence[PlaybackStage]) -> str:
    """Make a card with a player for each segment; a segment of several playbacks has one."""
    playbacks: dict[tuple[float, float], list[int]] = {}
    for number, stage in enumerate(stages[1:], start=1):
        for start, stop in np.asarray(stage.parts, dtype=float).round(3):
            playbacks.setdefault((float(start), float(stop)), []).append(number)
    cards = []
    for (start, stop), numbers in sorted(playbacks.items(), key=lambda item: (item[1][0], item[0])):
        segment = sound[round(start * sample_rate) : round(stop * sample_rate)]
        if not len(segment):
            continue
        playback = f"Playback{'s' if len(numbers) > 1 else ''} {' and '.join(map(str, numbers))}"
        name = html.escape(f"{playback}, {start:.2f} to {stop:.2f} s", quote=True)
        source = data_uri(compress_start(segment, sample_rate), "audio/mpeg")
        cards.append(
            f'<div class="aa-part"><span>{name}, lasts {stop - start:.2f} s</span>'
            f'<audio controls preload="metadata" aria-label="{name}" src="{source}"></audio></div>'
        )
    if not cards:
        return ""
    return f'<div class="audioattn aa-parts mathjax_ignore">{"".join(cards)}</div>'
