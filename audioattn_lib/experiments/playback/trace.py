"""Stage outputs of a network on many clips: storage with the run, scores and early exit.

Book page: ``playback``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from audioattn_lib.core.errors import RunError
from audioattn_lib.evaluation.scores import metrics, ranking
from audioattn_lib.evaluation.statistics import comparisons as statistics
from audioattn_lib.evaluation.statistics.intervals import Interval
from audioattn_lib.models.layers.label_loss import label_loss
from audioattn_lib.models.playback.network import Playback, confidence
from audioattn_lib.models.playback.outputs import PlaybackOutput, Tasks
from audioattn_lib.training.run_directory import Run, write_atomically

from .tasks import join_log_probabilities, task_classes

__all__ = [
    "FILE",
    "VALID",
    "PlaybackPredictions",
    "hear",
    "listen",
    "locate",
    "losses",
    "right",
    "score",
    "score_interval",
]

FILE, VALID = "stages.npz", "stages_valid.npz"
"""Traces of the test and the validation clips, beside a run."""
Array = NDArray[np.floating[Any]]

_DRAWS = 200
_GRAIN = 0.01  # seconds


@dataclass(frozen=True)
class PlaybackPredictions:
    """Outputs of a network, one row per clip.

    Parameters
    ----------
    clips
        Their identifiers.
    targets
        Class numbers, shape ``(clips,)``, or 0 and 1, shape ``(clips, classes)``.
    logits
        Answers after everything was heard, shape ``(clips, classes)``.
    stage_logits
        Predictions after each stage, shape ``(clips, stages, classes)``.
    frames
        Frames that the encoder saw in each stage, shape ``(clips, stages)``.
    segments
        What each playback played, in seconds, NaN where there is less, shape ``(clips, playbacks, parts, 2)``.
    sizes
        Classes of each task, where a clip has an answer in each of several; none where it is asked one thing.
    """

    clips: NDArray[np.str_]
    targets: NDArray[np.int64]
    logits: Array
    stage_logits: Array
    frames: NDArray[np.int64]
    segments: Array
    sizes: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))

    @property
    def is_multilabel(self) -> bool:
        """True for multi-label classification."""
        return self.targets.ndim == 2 and not len(self.sizes)

    @property
    def tasks(self) -> Tasks | None:
        """Partition of the classes into several tasks; None for a single task."""
        return _tasks(self.sizes)

    def confidence(self, logits: Array) -> Array:
        """Compute the confidence of predictions, see :func:`~audioattn_lib.models.playback.network.confidence`."""
        answers = torch.as_tensor(logits)
        if self.tasks is not None:
            return self.tasks.confidence(answers).numpy()
        return confidence(answers, is_multilabel=self.is_multilabel).numpy()

    @property
    def cost(self) -> Array:
        """Frames up to each stage for each frame of the first hearing, shape ``(clips, stages)``."""
        return self.frames.cumsum(axis=1) / self.frames[:, :1]

    def after(self, stage: int) -> Array:
        """Answers of clips that are heard up to a stage, the last one fused."""
        return self.logits if stage == self.frames.shape[1] - 1 else self.stage_logits[:, stage]

    def stop_when_sure(self, threshold: float) -> tuple[Array, Array]:
        """Answers and costs of clips that stop after the first stage with this confidence, as the network itself does.

        Returns arrays of shape ``(clips, classes)`` and ``(clips,)``.
        """
        stages = self.frames.shape[1]
        sure = np.stack([self.confidence(self.stage_logits[:, stage]) for stage in range(stages)], axis=1)
        stops = sure >= threshold
        stops[:, -1] = True
        stop = stops.argmax(axis=1)
        rows = np.arange(len(stop))
        logits = np.where((stop == stages - 1)[:, None], self.logits, self.stage_logits[rows, stop])
        return logits, self.cost[rows, stop]

    def save(self, folder: Path, name: str = FILE) -> None:
        """Write the arrays beside a run; no pickles."""
        with write_atomically(folder / name) as temporary:
            np.savez_compressed(temporary, **{field.name: getattr(self, field.name) for field in fields(self)})

    @classmethod
    def load(cls, run: Run, name: str = FILE) -> Self:
        """Load the stage outputs that a run saved.

        Raises
        ------
        RunError
            When the run kept nothing of the kind.
        """
        path = run.path / name
        if not path.is_file():
            raise RunError(f"{path}: no such file; this run kept no stages")
        with np.load(path, allow_pickle=False) as file:
            return cls(**{field.name: file[field.name] for field in fields(cls)})


class _Batches(Protocol):
    def epoch(self, number: int, start: int = 0) -> Iterator[Any]: ...


@torch.no_grad()
def listen(
    model: Playback,
    batches: _Batches,
    names: Sequence[str],
    *,
    window: int = 0,
    views: int = 1,
    places: Callable[[Any], Tensor | None] = lambda batch: None,
) -> PlaybackPredictions:
    """Let a network hear the clips of some batches.

    Parameters
    ----------
    model
        In evaluation mode.
    batches
        Samples as features of one column.
    names
        Identifiers of all clips of the store.
    window
        Samples of a crop; 0 hears whole clips, and clips that are shorter are whole.
    views
        Crops of a clip, evenly from its beginning to its end, or its middle where it is one. Probabilities of the
        answer are averaged; stages too, frames are added up.
    places
        Parts to play back for a batch, where the network is told.
    """
    clips: list[str] = []
    targets, outputs = [], []
    for batch in batches.epoch(0):
        clips += [names[int(row)] for row in batch.indices]
        targets.append(batch.targets.cpu())
        outputs.append(
            hear(model, batch.features[..., 0], batch.lengths, window=window, views=views, places=places(batch))
        )
    parts = max(output["segments"].shape[2] for output in outputs)
    for output in outputs:
        missing = parts - output["segments"].shape[2]
        output["segments"] = np.pad(output["segments"], ((0, 0), (0, 0), (0, missing), (0, 0)), constant_values=np.nan)
    joined = {name: np.concatenate([output[name] for output in outputs]) for name in outputs[0]}
    sizes = np.array(model.tasks.sizes if model.tasks else (), dtype=np.int64)
    return PlaybackPredictions(
        np.array(clips, dtype=np.str_), torch.cat(targets).numpy().astype(np.int64), **joined, sizes=sizes
    )


@torch.no_grad()
def hear(
    model: Playback, samples: Tensor, lengths: Tensor, *, window: int = 0, views: int = 1, places: Tensor | None = None
) -> dict[str, Any]:
    """Let a network hear some waveforms ``(B, N)`` of ``lengths`` samples; arguments and result as of :func:`listen`.

    Returns arrays by name: ``logits``, ``stage_logits``, ``frames`` and ``segments``.
    """
    if not window:
        return _keep(model(samples, lengths, segments=places), None, model)
    room = (lengths - window).clamp(min=0)
    shares = [0.5] if views == 1 else [view / (views - 1) for view in range(views)]
    crops = []
    for share in shares:
        start = (room * share).round().long()
        frame = (start[:, None] + torch.arange(window, device=samples.device)).clamp(max=samples.shape[1] - 1)
        crop = samples.gather(1, frame)
        crops.append(_keep(model(crop, lengths.clamp(max=window)), start, model))
    return _join(crops, model)


def right(targets: NDArray[np.int64], logits: Array, sizes: Sequence[int] | NDArray[np.int64] = ()) -> Array:
    """1 for clips whose class is the surest, in all tasks where there are several, and 0 for others."""
    tasks = _tasks(sizes)
    if tasks is None:
        return (logits.argmax(axis=1) == targets).astype(np.float64)
    expected, predicted = (task_classes(tasks, torch.as_tensor(scores)) for scores in (targets, logits))
    return (expected == predicted).all(axis=1).astype(np.float64)


def score(
    targets: NDArray[np.int64],
    logits: Array,
    classes: Sequence[str],
    sizes: Sequence[int] | NDArray[np.int64] = (),
) -> float:
    """Mean average precision where a clip may have several labels, and otherwise the share of clips that are right."""
    if targets.ndim == 1 or len(sizes):
        return float(right(targets, logits, sizes).mean())
    value = metrics.multilabel_metrics(targets, _sigmoid(logits), classes)["mean_average_precision"]
    return float("nan") if value is None else float(value)


def losses(targets: NDArray[np.int64], logits: Array, sizes: Sequence[int] | NDArray[np.int64] = ()) -> Array:
    """Cross-entropy of each clip; with several labels or tasks the mean over the separate answers."""
    expected, answers, tasks = torch.as_tensor(targets), torch.as_tensor(logits).double(), _tasks(sizes)
    if tasks is not None:
        return (-(join_log_probabilities(tasks, answers) * expected).sum(dim=1) / len(tasks.sizes)).numpy()
    return label_loss(answers, expected, reduction="none").numpy()


def score_interval(
    targets: NDArray[np.int64],
    logits: Sequence[Array],
    groups: NDArray[np.str_],
    sizes: Sequence[int] | NDArray[np.int64] = (),
    **options: Any,
) -> Interval:
    """The same with its interval over groups, as the mean of several networks, ``logits`` of each."""
    if targets.ndim == 1 or len(sizes):
        each = np.mean([right(targets, seed_logits, sizes) for seed_logits in logits], axis=0)
        return statistics.bootstrap_interval(each, groups=groups, **options)
    return ranking.mean_average_precision_interval(targets, list(logits), groups=groups, **options)


def _tasks(sizes: Sequence[int] | NDArray[np.int64]) -> Tasks | None:
    return Tasks(tuple(map(str, range(len(sizes)))), tuple(map(int, sizes))) if len(sizes) else None


def locate(
    segments: Array,
    durations: Array,
    events: Sequence[Sequence[tuple[float, float]]],
    groups: NDArray[np.str_],
    seed: int = 0,
) -> dict[str, dict[str, float]]:
    """Compute localisation metrics of the playbacks against the known events of each clip.

    ``pointing``: share of the parts whose middle lies in an event. ``found``: share of the time of the events that was
    played back. ``overlap``: time that is both, for the time that is either. A part that was played twice counts once
    in the last two. ``random`` is what the same parts score when they are moved together around their clip, by times
    that are drawn evenly, mean of many draws. Clips without events, or of which nothing was played, are left out.

    Parameters
    ----------
    segments
        In seconds, NaN where there is less, shape ``(clips, parts, 2)``.
    durations
        Of the clips in seconds.
    events
        Onset and offset of each event of each clip.
    groups
        What clips must not be counted apart from, for the intervals.
    seed
        Of the draws and of the intervals.
    """
    with_events = [row for row, spans in enumerate(events) if spans and np.isfinite(segments[row]).any()]
    if not with_events:
        return {}
    generator = np.random.default_rng(seed)
    values, moved = [], []
    for row in with_events:
        parts = segments[row][np.isfinite(segments[row]).all(axis=1)]
        values.append(_fit(parts[None], events[row], durations[row])[0])
        shifts = generator.uniform(0, durations[row], (_DRAWS, 1, 1))
        moved.append(_fit(parts + shifts, events[row], durations[row]).mean(axis=0))
    measures = {}
    for column, name in enumerate(("pointing", "found", "overlap")):
        interval = statistics.bootstrap_interval(np.array(values)[:, column], groups=groups[with_events], seed=seed)
        by_chance = float(np.mean([shifted[column] for shifted in moved]))
        bounds = {"value": interval.estimate, "low": interval.low, "high": interval.high}
        measures[name] = {**bounds, "random": by_chance, "clips": float(len(with_events))}
    return measures


def _fit(parts: Array, events: Sequence[tuple[float, float]], duration: float) -> Array:
    """Pointing, share found and overlap of parts ``(draws, parts, 2)`` that go on at the beginning behind the end."""
    grid = (np.arange(round(duration / _GRAIN)) + 0.5) * _GRAIN
    inside = np.zeros(len(grid), dtype=bool)
    for onset, offset in events:
        inside |= (grid >= onset) & (grid < offset)
    played = np.zeros((len(parts), len(grid)), dtype=bool)
    for place in range(parts.shape[1]):
        start, length = parts[:, place, :1] % duration, parts[:, place, 1:] - parts[:, place, :1]
        played |= (grid - start) % duration < length
    middle = (parts.mean(axis=2) % duration / _GRAIN).astype(int).clip(0, len(grid) - 1)
    both = (played & inside).sum(axis=1)
    either = (played | inside).sum(axis=1)
    return np.stack([inside[middle].mean(axis=1), both / max(int(inside.sum()), 1), both / either], axis=1)


def _keep(output: PlaybackOutput, start: Tensor | None, model: Playback) -> dict[str, Any]:
    segments = output.segments.cpu().numpy()
    if start is not None:
        segments = segments + (start.double() / model.front.sample_rate).cpu().numpy()[:, None, None, None]
    return {
        "logits": output.logits.float().cpu().numpy(),
        "stage_logits": output.stage_logits.float().cpu().numpy(),
        "frames": output.frames.cpu().numpy(),
        "segments": segments,
    }


def _join(views: Sequence[dict[str, Any]], model: Playback) -> dict[str, Any]:
    """One answer of several views: the logits of the mean probability."""
    if len(views) == 1:
        return views[0]
    joined: dict[str, Any] = {}
    for name in ("logits", "stage_logits"):
        stacked = torch.as_tensor(np.stack([view[name] for view in views])).double()
        if model.is_multilabel:
            logits = stacked.sigmoid().mean(dim=0).logit(eps=1e-7)
        else:
            parts = [stacked] if model.tasks is None else model.tasks.split(stacked)
            logits = torch.cat([task.softmax(dim=-1).mean(dim=0).clamp(min=1e-12).log() for task in parts], dim=-1)
        joined[name] = logits.float().numpy()
    joined["frames"] = np.sum([view["frames"] for view in views], axis=0)
    joined["segments"] = np.concatenate([view["segments"] for view in views], axis=2)
    return joined


def _sigmoid(logits: Array) -> Array:
    return torch.as_tensor(logits).sigmoid().numpy()
