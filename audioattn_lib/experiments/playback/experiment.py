"""Play it back: does a network gain by listening again, more closely, to what it chose?

One :class:`Config` is one network; :func:`run` trains and tests it, after the
encoder that it shares with others (:func:`train_encoder`) where training has two
steps; :func:`study` compares ways to choose what is heard again, over seeds,
beside hearing once, a linear baseline and chance.

Book page: ``playback``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from audioattn_lib.attention.record.record import AttentionRecord
from audioattn_lib.audio.features.log_mel import LogMel
from audioattn_lib.core.errors import ConfigError, RunError
from audioattn_lib.data.loading.batches import Batch
from audioattn_lib.evaluation.attention import faithfulness
from audioattn_lib.models.layers.label_loss import label_probabilities
from audioattn_lib.models.playback.encoder import EncoderClassifier
from audioattn_lib.models.playback.losses import playback_loss
from audioattn_lib.models.playback.multi_task import multi_task_loss
from audioattn_lib.models.playback.network import Playback
from audioattn_lib.training.checkpoint import load_best
from audioattn_lib.training.model_folder import ModelFolder, Task
from audioattn_lib.training.probes import Probe
from audioattn_lib.training.run_directory import Run

from ..common.baseline import fit_linear_baseline, summarise_split
from ..common.classification import label_events, predictions_table, score_predictions
from ..common.config import choose_numbers, restore_config
from ..common.corpus import Clip
from ..common.initial_weights import Origin, describe_weights, read_origin, start_from
from ..common.listener import describe_model, open_model, save_model
from ..common.parallel import run_all
from ..common.results import write_attention, write_results
from ..common.runs import RunContext, make_run, nothing_to_train, open_run, resolve_fold
from ..common.studies.study import choose
from ..common.training import count_parameters, fit_network, look_at
from .config import SELECTIONS, Config
from .corpus import Prepared, build_front_end, prepare
from .listener import PlaybackListener, describe_segments
from .study import PlaybackStudy
from .tasks import (
    answer_loss,
    count_right,
    fit_task_baselines,
    join_log_probabilities,
    task_predictions,
    task_scores,
)
from .trace import VALID, PlaybackPredictions, hear, listen, locate, score_interval
from .training import build_encoder_classifier, build_model, mix, schedule

__all__ = [
    "COMPARED",
    "baseline",
    "build_model",
    "convert",
    "load_model",
    "run",
    "study",
    "trace_clip",
    "train_encoder",
]

NAME = "playback"
_OF_WEIGHTS = (
    *("tasks", "selection", "playbacks", "n_segments", "segment_seconds", "size", "fusion", "fusion_level", "decoder"),
    *("slots", "sample_rate", "hop_seconds", "window_seconds", "n_mels"),
)
"""Fields that weights were trained with and need for their evaluation."""
COMPARED = ("none", "random", "energy", "slots", "oracle")
"""Field that the chapter compares."""

_OF_SECOND_STEP = {
    "selection",
    "decoder",
    "slots",
    "n_segments",
    "segment_seconds",
    "views",
    "fusion",
    "fusion_level",
    "temperature",
    "stage_weight",
    "salient_weight",
    "rank_weight",
    "training",
    "freeze_encoder",
    "epochs",
    "learning_rate",
}
"""Parameters that the first step does not have."""
_OF_BASELINE = (
    "data",
    "tasks",
    "fold",
    "seed",
    "sample_rate",
    "hop_seconds",
    "window_seconds",
    "n_mels",
    "skip_bad_clips",
    "batch_size",
)
"""Fields that the linear baseline depends on."""

Context = RunContext[Config, Prepared]


def run(config: Config, root: str | Path = "runs") -> Run:
    """Train one network and test it; the same run is read back instead of made again.

    Parameters
    ----------
    config
        What to run.
    root
        Directory of all runs; this one goes to ``<root>/playback/<key>/``.

    Raises
    ------
    ConfigError, ManifestError, AudioError, RunError
        When the configuration, the corpus, a sound or the run directory cannot be used.
    """
    prepared = prepare(config)
    config = resolve_fold(config, prepared.manifest)
    return make_run(open_run(__name__, NAME, config, prepared, root), _train, _test)


def _train(context: Context) -> Playback:
    config, prepared, device = context.config, context.prepared, context.device
    split = prepared.split(config)
    origin = read_origin(config.pretrained, config.pretrained_prefix) if config.pretrained else None
    first = train_encoder(config, context.root) if _has_first_step(config, origin) else None
    torch.manual_seed(config.seed)
    model = build_model(config, prepared)
    if first is not None:
        taught = build_encoder_classifier(config, len(prepared.classes))
        load_best(first.path / "checkpoint", taught)
        model.encoder.load_state_dict(taught.encoder.state_dict())  # type: ignore[attr-defined]
    if origin is not None and (first is None or config.pretrained_part == "decoder"):
        heads, same = _heads(config), _OF_WEIGHTS
        start_from(model, config, prepared.classes, origin, encoder=("encoder.",), heads=heads, same=same)
    if config.training == "two_step" and config.freeze_encoder:
        model.freeze_encoder()
    events = _known_places(context)
    train = prepared.training_loader(split.train, config, device)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return fit_network(
        context,
        model,
        optimizer=torch.optim.AdamW(trained, config.learning_rate, weight_decay=config.weight_decay),
        learning_rate=schedule(config, config.learning_rate, config.epochs * len(train)),
        train=train,
        loss=lambda network, batch: _loss(context, network, batch, events),
        evaluate=lambda network: _evaluate(context, network, split.valid, events),
        about=describe_weights(NAME, config, prepared.classes),
        look=None if config.selection in ("none", "oracle") else _look(context, split.valid),
    )


def _look(context: Context, rows: NDArray[np.int64]) -> Probe | None:
    config, prepared = context.config, context.prepared

    def attend(network: Playback, batch: Any) -> AttentionRecord:
        samples = batch.features[..., 0]
        outputs = hear(network, samples, batch.lengths, window=config.window_samples, views=config.views)
        front_end = build_front_end(config, stages=1)[0]
        return describe_segments(config.selection, front_end, batch.lengths.cpu(), outputs["segments"])

    return look_at(context, rows, lambda clip_rows: prepared.waveform_loader(clip_rows, config, context.device), attend)


def _test(context: Context, model: Playback) -> None:
    config, prepared = context.config, context.prepared
    _save(context.directory.path, config, prepared, model)
    split, events = prepared.split(config), _known_places(context)
    _hear(context, model, split.valid, events).save(context.directory.path, VALID)
    predictions = _hear(context, model, split.test, events)
    predictions.save(context.directory.path)
    groups = prepared.groups[split.test]
    stages = []
    for stage in range(config.stages):
        interval = score_interval(predictions.targets, [predictions.after(stage)], groups, predictions.sizes)
        cost = float(predictions.cost[:, stage].mean())
        stages.append({"score": interval.estimate, "low": interval.low, "high": interval.high, "cost": cost})
    more: dict[str, Any] = {"stages": stages, "n_parameters": count_parameters(model)}
    if config.stages > 1:
        more |= _where(context, split.test, predictions)
    _finish(context, split.test, torch.as_tensor(predictions.logits), more)


def _loss(context: Context, network: nn.Module, batch: Batch, events: Tensor | None) -> tuple[Tensor, Tensor]:
    config, prepared, tasks = context.config, context.prepared, context.prepared.tasks
    samples, lengths, targets = mix(batch, config, len(prepared.classes))
    output = network(samples, lengths, segments=_places(events, batch))
    weights = config.select("stage_weight", "salient_weight", "rank_weight")
    if tasks is not None:
        value = multi_task_loss(output, tasks.split(targets.to(output.logits.dtype)), tasks, **weights)
    else:
        value = playback_loss(output, targets, is_multilabel=prepared.is_multilabel, **weights)
    return value, count_right(output.logits, batch.targets, tasks)


def _evaluate(context: Context, network: nn.Module, rows: NDArray[np.int64], events: Tensor | None) -> dict[str, float]:
    logits = torch.as_tensor(_hear(context, network, rows, events).logits)
    targets, tasks = context.prepared.targets[rows], context.prepared.tasks
    right = float(count_right(logits, targets, tasks))
    return {"loss": float(answer_loss(logits, targets, tasks)), "error": 1 - right / len(logits)}


def _hear(context: Context, network: nn.Module, rows: NDArray[np.int64], events: Tensor | None) -> PlaybackPredictions:
    assert isinstance(network, Playback)
    config, prepared = context.config, context.prepared
    return listen(
        network,
        prepared.waveform_loader(rows, config, context.device),
        prepared.manifest.ids,
        window=config.window_samples,
        views=config.views,
        places=lambda batch: _places(events, batch),
    )


def _known_places(context: Context) -> Tensor | None:
    """Parts around the events of all clips ``(n, parts, 2)``, for the oracle; None for the others."""
    config = context.config
    if config.selection != "oracle":
        return None
    return context.prepared.event_places(config.n_segments, config.segment_seconds)


def _places(events: Tensor | None, batch: Batch) -> Tensor | None:
    return None if events is None else events[batch.indices].to(batch.lengths.device)


def train_encoder(config: Config, root: str | Path = "runs") -> Run:
    """The first step: the encoder alone, which hears whole clips at every hop; a run that exists is read back.

    Its metrics say how well the classes can be told apart at each hop: ``hops``, a list.
    """
    prepared = prepare(config)
    config = resolve_fold(config, prepared.manifest)
    shared = {name: value for name, value in dataclasses.asdict(config).items() if name not in _OF_SECOND_STEP}
    context = open_run(__name__, NAME, config, prepared, root, {"step": "encoder", **shared})
    return make_run(context, _train_encoder, _test_encoder)


def _train_encoder(context: Context) -> EncoderClassifier:
    config, prepared, device = context.config, context.prepared, context.device
    split, classes, tasks = prepared.split(config), prepared.classes, prepared.tasks
    torch.manual_seed(config.seed)
    model = build_encoder_classifier(config, len(classes))
    if config.pretrained and config.pretrained_part != "decoder":
        origin = read_origin(config.pretrained, config.pretrained_prefix)
        start_from(model, config, classes, origin, encoder=("encoder.",), heads={"classifiers.": 0}, same=_OF_WEIGHTS)
    stages = config.playbacks + 1

    def loss(network: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        samples, lengths, targets = mix(batch, config, len(classes))
        # one hop a batch, drawn: all of them would cost as much as hearing every clip to the end of every playback
        logits = network(samples, lengths, int(torch.randint(stages, ())))
        value = answer_loss(logits, targets, tasks, is_multilabel=prepared.is_multilabel)
        return value, count_right(logits, batch.targets, tasks)

    def evaluate(network: nn.Module) -> dict[str, float]:
        total, clips, right = 0.0, 0, 0.0
        for batch in valid.epoch(0):
            for stage in range(stages):
                logits = network(batch.features[..., 0], batch.lengths, stage)
                total += float(answer_loss(logits, batch.targets, tasks)) * len(batch)
                right += float(count_right(logits, batch.targets, tasks))
            clips += len(batch) * stages
        return {"loss": total / clips, "error": 1 - right / clips}

    train = prepared.training_loader(split.train, config, device)
    valid = prepared.waveform_loader(split.valid, config, device)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return fit_network(
        context,
        model,
        optimizer=torch.optim.AdamW(trained, config.encoder_learning_rate, weight_decay=config.weight_decay),
        learning_rate=schedule(config, config.encoder_learning_rate, config.encoder_epochs * len(train)),
        train=train,
        loss=loss,
        evaluate=evaluate,
        about=describe_weights(NAME, config, classes, step="encoder"),
        epochs=config.encoder_epochs,
        unused_parameters=True,  # of hops that a batch is not heard at
    )


@torch.no_grad()
def _test_encoder(context: Context, model: EncoderClassifier) -> None:
    config, prepared = context.config, context.prepared
    rows = prepared.split(config).test
    loader = prepared.waveform_loader(rows, config, context.device)
    targets, groups = prepared.targets[rows].numpy(), prepared.groups[rows]
    hops, logits = [], torch.empty(0)
    for stage in range(config.playbacks + 1):
        parts = [model(batch.features[..., 0], batch.lengths, stage).float().cpu() for batch in loader.epoch(0)]
        logits = torch.cat(parts)
        bounds = score_interval(targets, [logits.numpy()], groups, prepared.tasks.sizes if prepared.tasks else ())
        hops.append({"hop": model.front.hop(stage), "score": bounds.estimate, "low": bounds.low, "high": bounds.high})
    _finish(context, rows, logits, {"hops": hops, "n_parameters": count_parameters(model)})


def _has_first_step(config: Config, origin: Origin | None) -> bool:
    """Return True when the encoder is trained first: in two-step training, not from a complete pretrained network."""
    if config.training != "two_step" or not config.encoder_epochs or not config.epochs:
        return False
    if origin is None or config.pretrained_part != "all":
        return True
    return not (origin.config and any(name.startswith("decoder.") for name in origin.tensors))


def _heads(config: Config) -> dict[str, int]:
    """Return the class axis of each class-dependent parameter by prefix: 0 for rows, 1 for columns."""
    heads = {"decoder.classifier.": 0, "decoder.fc.": 0, "salient_classifier.": 0, "decoder.join.": 0}
    return heads | ({"decoder.mixture": 1, "decoder.fusion.": 0} if config.fusion_level == "predictions" else {})


def _where(context: Context, rows: NDArray[np.int64], predictions: PlaybackPredictions) -> dict[str, Any]:
    """Save the playback record of all test clips and compute its localisation metrics against known events."""
    config, prepared = context.config, context.prepared
    samples = torch.as_tensor(prepared.waveforms.n_frames[rows])
    assert isinstance(prepared.front_end, LogMel)
    record = describe_segments(config.selection, prepared.front_end, samples, predictions.segments)
    segments = record.segments
    assert segments is not None
    answers = _predictions(prepared, rows, torch.as_tensor(predictions.logits))
    record = write_attention(context, rows, record, predictions=answers, folds=config.fold)
    events, groups = label_events(prepared.manifest, rows), prepared.groups[rows]
    table = faithfulness.evaluate(record, events, groups=groups, seed=config.seed)
    durations = samples.numpy() / config.sample_rate
    where = locate(segments, durations, events, groups, config.seed)
    return {"attention_evaluation": table.to_dict(orient="index"), "where": where}


def baseline(config: Config, root: str | Path = "runs") -> Run:
    """The linear baseline on the same clips: logistic regression on mean and deviation of each band at the first hop.

    Its strength of regularisation is chosen on the validation clips.
    """
    prepared = prepare(config)
    config = resolve_fold(config, prepared.manifest)
    settings = {"baseline": "linear", **config.select(*_OF_BASELINE)}
    return make_run(open_run(__name__, NAME, config, prepared, root, settings), nothing_to_train, _fit_baseline)


def _fit_baseline(context: Context, _: None) -> None:
    config, prepared = context.config, context.prepared
    split = prepared.split(config)
    inputs = summarise_split(split, lambda rows: prepared.loader(rows, config, context.device))
    train, valid = prepared.targets[split.train], prepared.targets[split.valid]
    if prepared.tasks is not None:
        logits = fit_task_baselines(inputs, train, valid, prepared.tasks)
    else:
        logits = fit_linear_baseline(inputs, train, valid, len(prepared.classes))
    _finish(context, split.test, logits, {})


def study(
    config: Config,
    selections: str | Iterable[str] = COMPARED,
    seeds: str | int | Iterable[Any] = "0",
    root: str | Path = "runs",
) -> PlaybackStudy:
    """Every way to choose with every seed, and the linear baseline; what exists already is read back.

    Parameters
    ----------
    config
        Everything but ``selection`` and ``seed``.
    selections
        Names out of :data:`~audioattn_lib.experiments.playback.config.SELECTIONS`: a list, or joined by commas. The
        oracle is left out where the corpus does not say when its events are.
    seeds
        Whole numbers from 0: a list, or joined by commas.
    root
        Directory of all runs.
    """
    prepared = prepare(config)
    rules = choose(selections, SELECTIONS, "selection")
    if not prepared.has_events:
        rules = [name for name in rules if name != "oracle"]
        if not rules:
            raise ConfigError(
                f"selections is oracle alone, but {prepared.manifest.name} does not say when its events are; add "
                f"another of {', '.join(SELECTIONS)}"
            )
    numbers = choose_numbers("seeds", seeds, int, "whole numbers from 0")
    # the baseline has no seed of its own, and its validation clips are those of the first
    baselines = [baseline(dataclasses.replace(config, selection="none", seed=numbers[0]), root)]
    encoders: list[Run] = []
    origin = read_origin(config.pretrained, config.pretrained_prefix) if config.pretrained else None
    if _has_first_step(config, origin):
        encoders = run_all(train_encoder, [dataclasses.replace(config, seed=seed) for seed in numbers], root)
    configs = [dataclasses.replace(config, selection=name, seed=seed) for seed in numbers for name in rules]
    runs = run_all(run, configs, root, shown=("selection", "seed"))
    return PlaybackStudy(tuple(runs), tuple(baselines), prepared.group_of, encoders=tuple(encoders))


def load_model(run: Run) -> Playback:
    """The trained network of a run, in evaluation mode on the CPU; its corpus need not be there."""
    return PlaybackListener(open_model(run, convert)).network


def convert(run: Run) -> ModelFolder:
    """Write the model of a run that is older than model folders; its corpus must be there."""
    if "step" in run.config:
        raise RunError(
            f"{run.path}: is the first step of a training in two steps, an encoder alone; give the run of the network"
        )
    config = restore_config(Config, run)
    prepared = prepare(config)
    model = build_model(config, prepared)
    load_best(run.path / "checkpoint", model)
    return _save(run.path, config, prepared, model)


def _save(path: Path, config: Config, prepared: Prepared, model: nn.Module) -> ModelFolder:
    task: Task = "labels" if prepared.is_multilabel else "class"
    settings = {}
    if prepared.tasks is not None:
        task, settings = "tasks", {"tasks": list(prepared.tasks.names), "sizes": list(prepared.tasks.sizes)}
    return save_model(path, describe_model(NAME, task, config, prepared, path, settings=settings), model)


@torch.no_grad()
def trace_clip(run: Run, clip: Clip) -> list[dict[str, Any]]:
    """Trace one clip through the network of a run: the fields of :class:`audioattn_lib.display.PlaybackStage` by stage.

    Each stage has ``hop``, ``parts``, ``features`` and ``probabilities``; those of the last one are the fused answer.
    """
    config = restore_config(Config, run)
    prepared = prepare(config)
    model = load_model(run)
    samples = torch.as_tensor(clip.samples)[None]
    places_given = None
    if config.selection == "oracle":
        row = prepared.manifest.ids.index(clip.name)
        places_given = prepared.event_places(config.n_segments, config.segment_seconds)[row : row + 1]
    output = model(samples, segments=places_given)
    logits = torch.cat([output.stage_logits[0, :-1], output.logits])
    if prepared.tasks is not None:
        probabilities = join_log_probabilities(prepared.tasks, logits).exp().numpy()
    else:
        probabilities = label_probabilities(logits, prepared.is_multilabel).numpy()
    whole = np.array([[0.0, len(clip.samples) / clip.sample_rate]])
    stages: list[dict[str, Any]] = [
        {"hop": model.front.hop(0), "parts": whole, "features": [model.front(samples)[0][0].numpy()]}
    ]
    for stage in range(1, config.stages):
        places = output.segments[:, stage - 1]
        places = places[:, ~places[0].isnan().any(dim=1)]
        features, n_frames = model.front.replay(samples, places, stage)
        each = [frames[:count].numpy() for frames, count in zip(features[0], n_frames[0].tolist(), strict=True)]
        stages.append({"hop": model.front.hop(stage), "parts": places[0].numpy(), "features": each})
    return [{**stage, "probabilities": row} for stage, row in zip(stages, probabilities, strict=True)]


def _finish(context: Context, rows: NDArray[np.int64], logits: Tensor, more: Mapping[str, Any]) -> None:
    """Write predictions and scores, of one task or of several."""
    prepared = context.prepared
    targets, groups = prepared.targets[rows], prepared.groups[rows]
    if prepared.tasks is None:
        scores = score_predictions(prepared.classes, logits, targets, groups)
    else:
        scores = task_scores(logits, targets, prepared.tasks, groups)
    write_results(context, _predictions(prepared, rows, logits), {**scores, **more})


def _predictions(prepared: Prepared, rows: NDArray[np.int64], logits: Tensor) -> pd.DataFrame:
    if prepared.tasks is None:
        return predictions_table(prepared, rows, logits)
    return task_predictions(prepared, rows, logits, prepared.tasks)
