"""Page of a long recording: an overview to zoom, and a page with a player for each part, which is opened when chosen.

Sound is read, drawn and written a part at a time, so an hour needs no more memory than a minute.

Book page: ``your_sounds``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from audioattn_lib.attention.record.record import AttentionRecord, FrameClock
from audioattn_lib.display.players.overview import Overview, OverviewPart, overview, reduce_frames
from audioattn_lib.display.players.parts import cut_frames, time_of
from audioattn_lib.display.show import log_mel, show

if TYPE_CHECKING:
    from .listening import Listening

__all__ = ["PART_SECONDS", "cut_record", "draw_overview", "save_recording"]

PART_SECONDS = 20.0
"""Length of a part that is heard at once."""
MOST_COLUMNS = 3000
"""Frames of the spectrogram of an overview."""
MOST_ROWS = 6
"""Classes with a row of their own."""
_THREADS = 2


def save_recording(listening: Listening, path: str | Path) -> Path:
    """Write the page of a recording, and the pages of its parts into the folder ``<name>_parts`` beside it.

    The page is written last: where it is, its parts are.

    Raises
    ------
    OSError
        When the disk is full or cannot be written; the parts that were written remain.
    """
    path = Path(path)
    folder = path.with_name(f"{path.stem}_parts")
    levels: list[NDArray[np.float64]] = []
    parts: list[OverviewPart] = []
    count = _columns(listening)

    def write(number: int, start: float, samples: NDArray[np.float32]) -> NDArray[np.float64]:
        stop = start + len(samples) / listening.sample_rate
        _player_of(listening, start, stop, samples).save(folder / f"{number:04}.html")
        return reduce_frames(log_mel(samples, listening.sample_rate)[0], count)

    with ThreadPoolExecutor(_THREADS) as pool:
        waiting: list[Any] = []
        for number, (start, samples) in enumerate(_pieces(listening)):
            waiting.append(pool.submit(write, number, start, samples))
            parts.append(
                OverviewPart(start, start + len(samples) / listening.sample_rate, f"{folder.name}/{number:04}.html")
            )
            if len(waiting) > 2 * _THREADS:
                levels.append(waiting.pop(0).result())
        levels += [features.result() for features in waiting]
    return _overview(listening, levels, parts).save(path)


def draw_overview(listening: Listening) -> Overview:
    """The overview without parts: for a notebook, which has no place for their pages."""
    count = _columns(listening)
    levels = [reduce_frames(log_mel(samples, listening.sample_rate)[0], count) for _, samples in _pieces(listening)]
    return _overview(listening, levels, [])


def _columns(listening: Listening) -> int:
    return max(int(MOST_COLUMNS * PART_SECONDS / listening.duration), 4)


def _pieces(listening: Listening) -> Iterator[tuple[float, NDArray[np.float32]]]:
    """Parts as start in seconds and samples; a last one of less than a second belongs to the one before."""
    rate = listening.sample_rate
    length = round(PART_SECONDS * rate)
    samples, first = np.zeros(0, dtype=np.float32), 0
    for block in listening.source.blocks(rate):
        samples = np.concatenate([samples, block])
        while len(samples) >= length + rate:
            yield first / rate, samples[:length]
            samples, first = samples[length:], first + length
    if len(samples) > 1:
        yield first / rate, samples


def _player_of(listening: Listening, start: float, stop: float, samples: NDArray[np.float32]) -> Any:
    overlay: dict[str, Any] = {}
    record = cut_record(listening.record, start, stop)
    if not record.is_empty:
        overlay = {"map" if record.maps is not None else "curve": record}
    inside = [event for event in listening.events if event.start < stop and event.stop > start]
    labels = [(max(event.start - start, 0.0), min(event.stop, stop) - start, event.label) for event in inside]
    title = f"{Path(listening.name).name}, {time_of(start)} to {time_of(stop)}"
    return show(samples, listening.sample_rate, labels=labels or None, title=title, **overlay)


def cut_record(record: AttentionRecord, start: float, stop: float) -> AttentionRecord:
    """The part of the record of one clip between two times, in seconds after ``start``; empty without attention there.

    Parameters
    ----------
    record
        With weights, maps or segments, as the timeline of a recording has them.
    start, stop
        Seconds.
    """
    if record.is_empty:
        return record
    assert record.n_frames is not None
    count = int(record.n_frames[0])
    place, clock = cut_frames(np.arange(count), record.clock, start, stop)
    if not len(place) or stop - start <= 0:
        return AttentionRecord.empty()
    changes: dict[str, Any] = {"clock": clock, "n_frames": np.array([len(place)])}
    changes["durations"] = np.array([stop - start])
    rows = slice(int(place[0]), int(place[-1]) + 1)
    if record.segments is not None:
        bounds = record.segments[0] - start
        kept = bounds[(bounds[:, 1] > 0) & (bounds[:, 0] < stop - start)]
        if not len(kept):
            return AttentionRecord.empty()
        return dataclasses.replace(record, segments=kept.clip(0, stop - start)[None], **changes)
    for name in ("weights", "maps"):
        values = getattr(record, name)
        if values is not None:
            cut = values[..., rows]
            if not cut.sum() > 0:
                return AttentionRecord.empty()
            changes[name] = cut / cut.sum()
    return dataclasses.replace(record, **changes)


def _overview(listening: Listening, levels: list[NDArray[np.float64]], parts: list[OverviewPart]) -> Overview:
    record = listening.record
    features = np.concatenate(levels)
    curve = None
    if not record.is_empty:
        share = record.frame_attention()
        curve = record.clock.edges(len(share)), share
    edges = np.append(listening.timeline["start"].to_numpy(), listening.timeline["stop"].iloc[-1])
    names = [name for name in listening.timeline.columns if name not in ("start", "stop", "score")]
    names = sorted(names, key=lambda name: -float(listening.timeline[name].max()))[:MOST_ROWS]
    rows = {name: (edges, listening.timeline[name].to_numpy()) for name in names}
    if "score" in listening.timeline:
        values = listening.timeline["score"].to_numpy()
        low, high = float(values.min()), float(values.max())
        title = f"{listening.prediction.unit or 'score'}, {low:.2f} to {high:.2f}"
        rows = {title: (edges, (values - low) / max(high - low, 1e-9))}
    return overview(
        listening.duration,
        features=features,
        clock=FrameClock(listening.duration / len(features)),
        curve=curve,
        rows=rows,
        parts=parts,
        title=f"{Path(listening.name).name}: {listening.prediction}",
        caption="The curve is attention, each window with the same mass; the rows are the answer over time.",
    )
