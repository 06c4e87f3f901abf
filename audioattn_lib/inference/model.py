"""A trained model, read from its folder alone, and what it hears.

Book page: ``your_sounds``.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import nn

from audioattn_lib.attention.record.record import AttentionRecord
from audioattn_lib.attention.record.segment_lists import LabelledSegment
from audioattn_lib.core.errors import AudioError, ConfigError, RunError
from audioattn_lib.experiments import EXPERIMENTS
from audioattn_lib.experiments.common.listener import Answers, Listener, open_model
from audioattn_lib.training.loop import select_device
from audioattn_lib.training.model_folder import ModelFolder, find_model
from audioattn_lib.training.run_directory import Run

from .listening import Listening, Prediction
from .sources import Sound, Source, as_source
from .windows import AttentionTimeline, ValueTimeline, cut_windows, find_intervals

__all__ = ["Model", "load"]

AT_ONCE_SECONDS = 64
"""Seconds of sound, padding too, in one pass of the network."""
READ_AHEAD = 64
"""Sounds that are decoded while the network hears others."""
MOST_OVERLAP = 0.9
EVENT_PROBABILITY = 0.5
"""Least probability of a class in an event of a recording."""
_THREADS = 4

Progress = Callable[[float, float], None]
Read = tuple[Source, NDArray[np.float32] | None]
"""A source with its samples; without them where it is too long to be heard whole."""


def load(path: str | Path, device: str | None = None) -> Model:
    """Load a trained model of any chapter from a run directory, its folder ``model``, or a copy of that.

    Neither its corpus nor any other file is needed. A run that is older than model folders is converted, where its
    corpus is there.

    Parameters
    ----------
    path
        The folder.
    device
        ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"cuda:0"``; None is ``"auto"``.

    Returns
    -------
    Model
        Its :meth:`~Model.listen` hears any sound.

    Raises
    ------
    RunError
        When the folder is no model, or a file is missing, damaged, of a newer version or of another model; the message
        names file and field.

    Notes
    -----
    Book page: ``your_sounds``.
    """
    path = Path(path)
    place = find_model(path)
    if place is not None:
        folder = ModelFolder.read(place)
        experiment = folder.description.experiment
        if experiment not in EXPERIMENTS:
            raise RunError(
                f"{place}: experiment is {experiment!r}; this version of audioattn has {', '.join(EXPERIMENTS)}"
            )
    else:
        if not path.is_dir():
            raise RunError(f"{path}: no such folder; give a run directory, or a folder with model.json")
        experiment = path.resolve().parent.name
        if not (path / "config.json").is_file() or experiment not in EXPERIMENTS:
            raise RunError(
                f"{path}: has neither model.json nor config.json, so it is no model; give a run directory such as "
                "runs/urban_sound/<key>, or the folder model in it"
            )
        run = Run.load(path.resolve())
        folder = open_model(run, importlib.import_module(f"{EXPERIMENTS[experiment]}.experiment").convert)
    listener = importlib.import_module(f"{EXPERIMENTS[experiment]}.listener").LISTENER(folder)
    return Model(listener, path, select_device(device or "auto"))


class Model:
    """A trained model of any chapter.

    Parameters
    ----------
    listener
        Network, front end and answers of its chapter.
    path
        Where it was read from.
    device
        Where to compute.

    Notes
    -----
    Book page: ``your_sounds``.
    """

    def __init__(self, listener: Listener[Any], path: Path, device: torch.device) -> None:
        self.listener, self.path, self.device = listener, path, device
        self.description = listener.description
        listener.to(device)

    @property
    def network(self) -> nn.Module:
        """The network, in evaluation mode."""
        return self.listener.network

    @property
    def experiment(self) -> str:
        """Chapter that the model belongs to."""
        return self.description.experiment

    @property
    def config(self) -> Any:
        """Configuration of its run."""
        return self.listener.config

    @property
    def classes(self) -> tuple[str, ...]:
        """Name of each output; none of a score or an embedding."""
        return self.description.classes

    @property
    def sample_rate(self) -> int:
        """Rate in hertz at which it hears."""
        return self.description.sample_rate

    @property
    def thresholds(self) -> dict[str, float]:
        """Thresholds by name, such as ``equal_error_rate`` of verification."""
        return dict(self.description.thresholds)

    def __repr__(self) -> str:
        answer = f"{len(self.classes)} classes" if self.classes else self.description.unit or self.description.task
        return f"Model({str(self.path)!r}: {self.experiment}, {answer}, {self.sample_rate} Hz, {self.device})"

    def listen(
        self,
        sound: Sound | Sequence[Sound],
        sample_rate: int | None = None,
        *,
        start: float = 0.0,
        stop: float | None = None,
        window: float | None = None,
        overlap: float = 0.5,
        progress: Progress | None = None,
    ) -> Any:
        """Hear a sound, or several.

        A sound of up to ``window`` seconds is heard whole. A longer one is heard in windows, and its timeline is
        stitched from them (:mod:`audioattn_lib.inference.windows`): the answer to the recording is the mean over
        time of the answers to windows, and few of its samples are in memory at once.

        Parameters
        ----------
        sound
            Path of a file in any format and at any rate; or samples, shape ``(n,)``, ``(channels, n)`` or ``(n,
            channels)``, floats in [-1, 1] or integers over the range of their type; or a list of such sounds.
        sample_rate
            Hertz of samples; that of a file is known.
        start, stop
            Part of the sound in seconds; None is its end.
        window
            Seconds, above 0; None is the longest clip of the corpus that the model was trained with, and ``math.inf``
            hears any sound whole.
        overlap
            Share of a window that the next one hears again, in [0, 0.9].
        progress
            Called with seconds that were heard and seconds in all, after some windows of a long recording.

        Returns
        -------
        Listening or list of Listening
            Prediction, attention and the sound; a list for a list.

        Raises
        ------
        AudioError
            When a sound cannot be used; the message names it.

        Notes
        -----
        Book page: ``your_sounds``.
        """
        several = isinstance(sound, list)
        sounds = sound if several else [sound]
        options: dict[str, Any] = {"window": window, "overlap": overlap, "progress": progress}
        listenings = list(self.stream(sounds, sample_rate, start=start, stop=stop, **options))
        return listenings if several else listenings[0]

    def stream(
        self,
        sounds: Iterable[Sound],
        sample_rate: int | None = None,
        *,
        start: float = 0.0,
        stop: float | None = None,
        window: float | None = None,
        overlap: float = 0.5,
        progress: Progress | None = None,
        on_error: Callable[[str, AudioError], None] | None = None,
    ) -> Iterator[Listening]:
        """Hear any number of sounds, in their order, of which few are in memory at once.

        Parameters
        ----------
        sounds, sample_rate, start, stop, window, overlap, progress
            See :meth:`listen`.
        on_error
            Called with name and error of a sound that cannot be used, which is left out; without it the error is
            raised.

        Yields
        ------
        Listening
            One a sound.

        Notes
        -----
        Book page: ``your_sounds``.
        """
        longest = self.description.clip_seconds if window is None else window
        if not longest > 0:
            raise ConfigError(f"window is {window}; it must be seconds above 0, or None")
        if not 0 <= overlap <= MOST_OVERLAP:
            raise ConfigError(f"overlap is {overlap}; it must be in [0, {MOST_OVERLAP}]")

        def read(sound: Sound) -> Read:
            source = as_source(sound, sample_rate, start=start, stop=stop)
            if source.duration < self.listener.shortest_seconds:
                raise AudioError(
                    f"{source.name}: lasts {source.duration:.3g} s, less than one window of this model; give a sound "
                    f"of at least {self.listener.shortest_seconds:.3g} s"
                )
            is_long = source.duration > longest + 1 / self.sample_rate
            return source, None if is_long else source.read(self.sample_rate)

        each = iter(sounds)
        with ThreadPoolExecutor(_THREADS) as pool:
            ahead = [(sound, pool.submit(read, sound)) for sound in islice(each, READ_AHEAD)]
            while ahead:
                current = ahead
                ahead = [(sound, pool.submit(read, sound)) for sound in islice(each, READ_AHEAD)]
                rows = list(_finished(current, on_error))
                whole_sounds = self._hear_whole([(source, samples) for source, samples in rows if samples is not None])
                for source, samples in rows:
                    if samples is not None:
                        yield next(whole_sounds)
                        continue
                    try:
                        yield self._hear_long(source, longest, overlap, progress)
                    except AudioError as error:
                        if on_error is None:
                            raise
                        on_error(source.name, error)

    def _hear_whole(self, read: Sequence[tuple[Source, NDArray[np.float32]]]) -> Iterator[Listening]:
        """Sounds of about one length in one pass, so that little is padding; the results in the order given."""
        order = sorted(range(len(read)), key=lambda row: len(read[row][1]))
        listenings: dict[int, Listening] = {}
        while order:
            longest = len(read[order[-1]][1])
            count = max(1, AT_ONCE_SECONDS * self.sample_rate // longest)
            rows, order = order[-count:], order[:-count]
            answers = self._hear([read[row][1] for row in rows])
            for place, row in enumerate(rows):
                listenings[row] = self._listening(read[row][0], answers, place)
        for row in range(len(read)):
            yield listenings.pop(row)

    def _hear_long(self, source: Source, window: float, overlap: float, progress: Progress | None) -> Listening:
        rate = self.sample_rate
        length = max(round(window * rate), 1)
        grain = max(round(self.listener.frame_period * rate), 1)
        hop = max(round(length * (1 - overlap) / grain), 1) * grain
        windows = cut_windows(source.blocks(rate), length, min(hop, max(length // grain, 1) * grain), grain)
        attention, values = AttentionTimeline(), None
        embeddings: list[NDArray[Any]] = []
        end = 0
        while batch := list(islice(windows, max(1, AT_ONCE_SECONDS * rate // length))):
            answers = self._hear([samples for _, samples in batch])
            attention.add([start / rate for start, _ in batch], answers.record)
            rows = _join_values(answers)
            values = ValueTimeline(hop / rate, rows.shape[1]) if values is None else values
            for (start, samples), row in zip(batch, rows, strict=True):
                values.add(start / rate, (start + len(samples)) / rate, row)
            if answers.embeddings is not None:
                embeddings.append(answers.embeddings)
            end = batch[-1][0] + len(batch[-1][1])
            if progress is not None:
                progress(min(end / rate, source.duration), source.duration)
        if values is None:
            raise AudioError(f"{source.name}: has no samples")
        edges, over_time = values.values(end / rate)
        mean = np.average(over_time, axis=0, weights=np.diff(edges))[None]
        together = np.concatenate(embeddings).mean(axis=0, keepdims=True) if embeddings else None
        whole = _split_values(answers, mean, AttentionRecord.empty(), together)
        steps = _split_values(answers, over_time, AttentionRecord.empty(), None)
        record = attention.record()
        if not record.is_empty:
            record = record.named([source.name], np.array([source.duration]))
        timeline = pd.DataFrame({"start": edges[:-1], "stop": edges[1:]})
        events: list[LabelledSegment] = []
        if steps.probabilities is not None:
            timeline[list(self.classes)] = steps.probabilities
            for column, name in enumerate(self.classes):
                intervals = find_intervals(edges, steps.probabilities[:, column], EVENT_PROBABILITY)
                events += [LabelledSegment(source.name, name, a, b) for a, b in intervals]
        elif steps.scores is not None:
            timeline["score"] = steps.scores
        embedding = None if together is None else together[0]
        events.sort(key=lambda event: (event.start, event.stop))
        prediction = self._prediction(whole, 0)
        return Listening(source, rate, prediction, record, embedding, timeline, tuple(events))

    def _hear(self, waveforms: Sequence[NDArray[np.float32]]) -> Answers:
        lengths = torch.tensor([len(waveform) for waveform in waveforms])
        padded = torch.zeros(len(waveforms), int(lengths.max()))
        for row, waveform in enumerate(waveforms):
            padded[row, : len(waveform)] = torch.from_numpy(waveform)
        return self.listener.hear(padded.to(self.device), lengths.to(self.device))

    def _listening(self, source: Source, answers: Answers, row: int) -> Listening:
        prediction = self._prediction(answers, row)
        record = answers.record
        if not record.is_empty:
            record = record[row].named([source.name], np.array([source.duration]))
        embedding = None if answers.embeddings is None else answers.embeddings[row]
        return Listening(source, self.sample_rate, prediction, record, embedding)

    def _prediction(self, answers: Answers, row: int) -> Prediction:
        score = None if answers.scores is None else float(answers.scores[row])
        stages = () if answers.stages is None else tuple(self._named(stage) for stage in answers.stages[row])
        if answers.probabilities is None:
            return Prediction(score=score, unit=self.description.unit)
        values = answers.probabilities[row]
        return Prediction(self.listener.label(values), self._named(values), score, self.description.unit, stages)

    def _named(self, values: NDArray[Any]) -> dict[str, float]:
        return {name: float(value) for name, value in zip(self.classes, values, strict=True)}


def _join_values(answers: Answers) -> NDArray[np.float64]:
    """All that is averaged over time, side by side, ``(B, values)``."""
    values = (answers.probabilities, answers.scores, answers.stages)
    parts = [value.reshape(len(value), -1) for value in values if value is not None]
    if not parts:
        return np.zeros((0 if answers.embeddings is None else len(answers.embeddings), 0))
    return np.concatenate(parts, axis=1).astype(np.float64)


def _split_values(
    like: Answers, values: NDArray[np.floating[Any]], record: AttentionRecord, embeddings: NDArray[Any] | None
) -> Answers:
    """Answers of the kind of ``like`` from what :func:`_join_values` made."""
    fields: dict[str, Any] = {}
    first = 0
    for name in ("probabilities", "scores", "stages"):
        value = getattr(like, name)
        if value is not None:
            width = value[0].size
            fields[name] = values[:, first : first + width].reshape(len(values), *value.shape[1:])
            first += width
    return Answers(record, embeddings=embeddings, **fields)


def _finished(
    futures: Iterable[tuple[Sound, Future[Read]]], on_error: Callable[[str, AudioError], None] | None
) -> Iterator[Read]:
    for sound, future in futures:
        try:
            yield future.result()
        except AudioError as error:
            if on_error is None:
                raise
            on_error(str(sound) if isinstance(sound, (str, Path)) else "sound", error)
