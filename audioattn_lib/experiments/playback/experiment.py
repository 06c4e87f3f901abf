"""Play it back: does a network gain by listening again, more closely, to what it chose?

One :class:`Config` is one network; :func:`run` trains and tests it, after the
encoder that it shares with others (:func:`train_encoder`) where training has two
steps; :func:`study` compares ways to choose what is heard again, over seeds,
beside hearing once, a linear baseline and chance.

Book page: ``playback``.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from audioattn_lib.attention.record.record import AttentionRecord, FrameClock
from audioattn_lib.core.errors import ConfigError
from audioattn_lib.data.loading.batches import Batch, BatchLoader
from audioattn_lib.data.splits import Split, split_clips
from audioattn_lib.evaluation import faithfulness
from audioattn_lib.evaluation.baseline import linear_baseline, summary_features
from audioattn_lib.models.playback.losses import playback_loss
from audioattn_lib.models.playback.multi_task import multi_task_loss
from audioattn_lib.models.playback.network import Playback
from audioattn_lib.training.checkpoint import load_best
from audioattn_lib.training.distributed import leave_to_main
from audioattn_lib.training.run_directory import Run, RunDirectory

from ..common.attention_files import keep_attention
from ..common.classification import label_events, predictions_table, score_predictions
from ..common.corpus import Clip
from ..common.fields import choose_numbers
from ..common.initial_weights import Origin, describe_weights, hash_weights, read_origin, start_from
from ..common.parallel import run_all
from ..common.runs import make_once, open_run, resolve_fold
from ..common.study import choose
from .config import SELECTIONS, Config
from .corpus import Prepared, prepare
from .study import PlaybackStudy
from .tasks import answer_loss, fit_task_baselines, join_log_probabilities, task_predictions, task_scores
from .trace import VALID, PlaybackPredictions, listen, locate, score_interval
from .training import build_encoder_classifier, build_model, cross_entropy, fit_network, mix_batch

__all__ = [
    "COMPARED",
    "Config",
    "Prepared",
    "baseline",
    "build_model",
    "load_model",
    "prepare",
    "run",
    "study",
    "trace_clip",
    "train_encoder",
]

log = logging.getLogger("audioattn")

NAME = "playback"
_OF_WEIGHTS = (
    *(
        "tasks",
        "selection",
        "playbacks",
        "n_segments",
        "segment_seconds",
        "size",
        "fusion",
        "location",
        "decoder",
        "slots",
    ),
    *("sample_rate", "hop", "window", "n_mels"),
)
"""What weights were trained with and need to be evaluated."""
COMPARED = ("none", "random", "energy", "slots", "oracle")
"""What the chapter compares."""

_OF_SECOND_STEP = {
    "selection",
    "decoder",
    "slots",
    "n_segments",
    "segment_seconds",
    "views",
    "fusion",
    "location",
    "temperature",
    "stage_weight",
    "salient_weight",
    "rank_weight",
    "training",
    "freeze_encoder",
    "epochs",
    "lr",
}
"""What the first step knows nothing of."""


def train_encoder(config: Config, root: str | Path = "runs") -> Run:
    """The first step: the encoder alone, which hears whole clips at every hop; a run that exists is read back.

    Its metrics say how well the classes can be told apart at each hop: ``hops``, a list.
    """
    prepared = prepare(config)
    config = resolve_fold(config, prepared.manifest)
    shared = {name: value for name, value in dataclasses.asdict(config).items() if name not in _OF_SECOND_STEP}
    settings = {"step": "encoder", **shared}
    hashed = hash_weights(prepared.data_hash, config)
    directory, device = open_run(__name__, NAME, settings, hashed, config.device, root)
    return make_once(directory, lambda: _train_encoder(config, prepared, directory, device))


def _train_encoder(config: Config, prepared: Prepared, directory: RunDirectory, device: torch.device) -> Run:
    split = split_clips(prepared.manifest, config.fold, seed=config.seed)
    torch.manual_seed(config.seed)
    model = build_encoder_classifier(config, len(prepared.classes))
    classes, tasks = prepared.classes, prepared.tasks
    if config.pretrained and config.pretrained_part != "decoder":
        origin = read_origin(config.pretrained, config.pretrained_prefix)
        start_from(model, config, classes, origin, encoder=("encoder.",), heads={"classifiers.": 0}, same=_OF_WEIGHTS)
    about = describe_weights(NAME, config, classes, step="encoder")
    stages = config.playbacks + 1

    def loss(network: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        samples, lengths, targets = mix_batch(batch, config, len(classes))
        # one hop a batch, drawn: all of them would cost as much as hearing every clip to the end of every playback
        stage = int(torch.randint(stages, ()))
        logits = network(samples, lengths, stage)
        _, right = answer_loss(logits, batch.targets, tasks)
        return cross_entropy(logits, targets, prepared.several_labels, tasks), right

    def evaluate(network: nn.Module) -> dict[str, float]:
        total, clips, right = 0.0, 0, 0.0
        for batch in valid.epoch(0):
            for stage in range(stages):
                found = answer_loss(network(batch.features[..., 0], batch.lengths, stage), batch.targets, tasks)
                total, right = total + float(found[0]) * len(batch), right + float(found[1])
            clips += len(batch) * stages
        return {"loss": total / clips, "error": 1 - right / clips}

    train = prepared.training_batches(split.train, config, device)
    valid = prepared.batches(split.valid, config, device)
    fit_network(
        model,
        config,
        config.encoder_lr,
        config.encoder_epochs,
        train,
        loss,
        evaluate,
        prepared,
        directory,
        device,
        about,
    )
    rows = split.test
    targets, groups = prepared.targets[rows], prepared.groups[rows]
    hops, logits = [], torch.empty(0)
    with torch.no_grad():
        for stage in range(stages):
            batches = prepared.batches(rows, config, device).epoch(0)
            parts = [model(batch.features[..., 0], batch.lengths, stage).float().cpu() for batch in batches]
            logits = torch.cat(parts)
            found = score_interval(targets.numpy(), [logits.numpy()], groups, tasks.sizes if tasks else ())
            hops.append({"hop": model.front.hop(stage), "score": found.estimate, "low": found.low, "high": found.high})
    return _finish(directory, prepared, rows, logits, {"hops": hops, "n_parameters": _count(model)})


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
    if config.selection == "oracle" and "event_onsets" not in prepared.manifest.table:
        raise ConfigError(f"selection is 'oracle', but {prepared.manifest.name} does not say when its events are")
    hashed = hash_weights(prepared.data_hash, config)
    directory, device = open_run(__name__, NAME, dataclasses.asdict(config), hashed, config.device, root)
    return make_once(directory, lambda: _train(config, prepared, directory, device, root))


def _train(config: Config, prepared: Prepared, directory: RunDirectory, device: torch.device, root: str | Path) -> Run:
    split = split_clips(prepared.manifest, config.fold, seed=config.seed)
    classes, tasks = prepared.classes, prepared.tasks
    origin = read_origin(config.pretrained, config.pretrained_prefix) if config.pretrained else None
    first = train_encoder(config, root) if _has_first_step(config, origin) else None
    torch.manual_seed(config.seed)
    model = build_model(config, len(classes), several_labels=prepared.several_labels, tasks=tasks)
    if first is not None:
        taught = build_encoder_classifier(config, len(classes))
        load_best(first.path / "checkpoint", taught)
        model.encoder.load_state_dict(taught.encoder.state_dict())  # type: ignore[attr-defined]
    if origin is not None and (first is None or config.pretrained_part == "decoder"):
        start_from(model, config, classes, origin, encoder=("encoder.",), heads=_heads(config), same=_OF_WEIGHTS)
    if config.training == "two_step" and config.freeze_encoder:
        model.freeze_encoder()
    known = prepared.event_places(config.n_segments, config.segment_seconds) if config.selection == "oracle" else None

    def places(batch: Batch) -> Tensor | None:
        return None if known is None else known[batch.indices].to(device)

    def loss(network: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        samples, lengths, targets = mix_batch(batch, config, len(classes))
        heard = network(samples, lengths, segments=places(batch))
        weights = {name: getattr(config, name) for name in ("stage_weight", "salient_weight", "rank_weight")}
        if tasks is not None:
            value = multi_task_loss(heard, tasks.split(targets.to(heard.logits.dtype)), tasks, **weights)
        else:
            value = playback_loss(heard, targets, several_labels=prepared.several_labels, **weights)
        return value, answer_loss(heard.logits, batch.targets, tasks)[1]

    def hear(network: nn.Module, rows: NDArray[np.int64]) -> PlaybackPredictions:
        assert isinstance(network, Playback)
        batches = prepared.batches(rows, config, device)
        window, names = config.window_samples, prepared.manifest.ids
        return listen(network, batches, names, window=window, views=config.views, places=places)

    def evaluate(network: nn.Module) -> dict[str, float]:
        logits = torch.as_tensor(hear(network, split.valid).logits)
        value, right = answer_loss(logits, prepared.targets[split.valid], tasks)
        return {"loss": float(value), "error": 1 - float(right) / len(logits)}

    train = prepared.training_batches(split.train, config, device)
    about = describe_weights(NAME, config, classes)
    fit_network(model, config, config.lr, config.epochs, train, loss, evaluate, prepared, directory, device, about)
    hear(model, split.valid).save(directory.path, VALID)
    heard = hear(model, split.test)
    heard.save(directory.path)
    groups = prepared.groups[split.test]
    stages = []
    for stage in range(config.stages):
        found = score_interval(heard.targets, [heard.after(stage)], groups, heard.sizes)
        cost = float(heard.cost[:, stage].mean())
        stages.append({"score": found.estimate, "low": found.low, "high": found.high, "cost": cost})
    more: dict[str, Any] = {"stages": stages, "n_parameters": _count(model)}
    if config.stages > 1:
        more |= _where(prepared, split, heard, directory, config)
    return _finish(directory, prepared, split.test, torch.as_tensor(heard.logits), more)


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
    return heads | ({"decoder.mixture": 1, "decoder.fusion.": 0} if config.location == "predictions" else {})


def _where(
    prepared: Prepared, split: Split, heard: PlaybackPredictions, directory: RunDirectory, config: Config
) -> dict[str, Any]:
    """Save the playback record of all test clips and compute its localisation metrics against known events."""
    samples = torch.as_tensor(prepared.waveforms.n_frames[split.test])
    segments = heard.segments.reshape(len(heard.clips), -1, 2)
    record = AttentionRecord(
        mechanism=config.selection,
        clock=FrameClock(*prepared.front_end.clock),
        n_frames=prepared.front_end.count_frames(samples).numpy(),
        segments=segments,
    )
    rows, logits = split.test, torch.as_tensor(heard.logits)
    predictions = _predictions(prepared, rows, logits)
    record = keep_attention(directory, prepared.manifest, rows, record, predictions, [config.fold] * len(rows))
    events = label_events(prepared.manifest, split.test)
    table = faithfulness.evaluate(record, events, groups=prepared.groups[split.test], seed=config.seed)
    durations = samples.numpy() / config.sample_rate
    where = locate(segments, durations, events, prepared.groups[split.test], config.seed)
    return {"evidence": table.to_dict(orient="index"), "where": where}


def baseline(config: Config, root: str | Path = "runs") -> Run:
    """The linear baseline on the same clips: logistic regression on mean and deviation of each band at the first hop.

    Its strength of regularisation is chosen on the development clips.
    """
    prepared = prepare(config)
    config = resolve_fold(config, prepared.manifest)
    shared = ("data", "tasks", "fold", "seed", "sample_rate", "hop", "window", "n_mels", "skip_bad_clips", "batch_size")
    settings = {"baseline": "linear", **{name: getattr(config, name) for name in shared}}
    directory, device = open_run(__name__, NAME, settings, prepared.data_hash, config.device, root)
    return make_once(directory, lambda: _fit_baseline(config, prepared, directory, device))


def _fit_baseline(config: Config, prepared: Prepared, directory: RunDirectory, device: torch.device) -> Run:
    leave_to_main()
    split = split_clips(prepared.manifest, config.fold, seed=config.seed)
    inputs = []
    for rows in (split.train, split.valid, split.test):
        loader = BatchLoader(prepared.store, prepared.targets, rows, config.batch_size, False, config.seed, device)
        inputs.append(np.concatenate([summary_features(b.features, b.lengths).cpu().numpy() for b in loader.epoch(0)]))
    if prepared.tasks is not None:
        wanted = [prepared.targets[rows] for rows in (split.train, split.valid)]
        logits = fit_task_baselines(inputs, wanted, prepared.tasks)
        return _finish(directory, prepared, split.test, logits, {})
    targets = prepared.targets.numpy()
    fitted = linear_baseline(
        inputs[0],
        targets[split.train],
        inputs[1],
        targets[split.valid],
        inputs[2],
        n_classes=len(prepared.manifest.classes),
    )
    probabilities = torch.as_tensor(fitted.probabilities)
    logits = probabilities.logit(eps=1e-7) if prepared.several_labels else probabilities.clamp(min=1e-12).log()
    return _finish(directory, prepared, split.test, logits.float(), {})


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
    chosen = choose(selections, SELECTIONS, "selection")
    if "event_onsets" not in prepared.manifest.table:
        chosen = [name for name in chosen if name != "oracle"]
        if not chosen:
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
    configs = [dataclasses.replace(config, selection=name, seed=seed) for seed in numbers for name in chosen]
    runs = run_all(run, configs, root, shown=("selection", "seed"))
    groups = dict(zip(prepared.manifest.ids, prepared.groups, strict=True))
    return PlaybackStudy(tuple(runs), tuple(baselines), groups, encoders=tuple(encoders))


def load_model(run: Run) -> Playback:
    """The trained network of a run, in evaluation mode on the CPU."""
    config = Config(**run.config)
    prepared = prepare(config)
    several = prepared.several_labels
    model = build_model(config, len(run.classes), several_labels=several, tasks=prepared.tasks)
    load_best(run.path / "checkpoint", model)
    return model.eval()


@torch.no_grad()
def trace_clip(run: Run, clip: Clip) -> list[dict[str, Any]]:
    """Trace one clip through the network of a run: the fields of :class:`audioattn_lib.display.PlaybackStage` by stage.

    Each stage has ``hop``, ``parts``, ``features`` and ``probabilities``; those of the last one are the fused answer.
    """
    config = Config(**run.config)
    prepared = prepare(config)
    model = load_model(run)
    samples = torch.as_tensor(clip.samples)[None]
    given = None
    if config.selection == "oracle":
        row = prepared.manifest.ids.index(clip.name)
        given = prepared.event_places(config.n_segments, config.segment_seconds)[row : row + 1]
    heard = model(samples, segments=given)
    logits = torch.cat([heard.stage_logits[0, :-1], heard.logits])
    if prepared.tasks is not None:
        probabilities = join_log_probabilities(prepared.tasks, logits).exp().numpy()
    else:
        probabilities = (logits.sigmoid() if prepared.several_labels else logits.softmax(dim=1)).numpy()
    whole = np.array([[0.0, len(clip.samples) / clip.sample_rate]])
    found: list[dict[str, Any]] = [
        {"hop": model.front.hop(0), "parts": whole, "features": [model.front(samples)[0][0].numpy()]}
    ]
    for stage in range(1, config.stages):
        places = heard.segments[:, stage - 1]
        places = places[:, ~places[0].isnan().any(dim=1)]
        features, n_frames = model.front.replay(samples, places, stage)
        each = [part[:count].numpy() for part, count in zip(features[0], n_frames[0].tolist(), strict=True)]
        found.append({"hop": model.front.hop(stage), "parts": places[0].numpy(), "features": each})
    return [{**one, "probabilities": row} for one, row in zip(found, probabilities, strict=True)]


def _count(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def _finish(
    directory: RunDirectory, prepared: Prepared, rows: NDArray[np.int64], logits: Tensor, more: Mapping[str, Any]
) -> Run:
    """Write predictions, then scores: the scores last, for they say that the run is done."""
    targets, groups, tasks = prepared.targets[rows], prepared.groups[rows], prepared.tasks
    directory.write_table("predictions.csv", _predictions(prepared, rows, logits))
    if tasks is None:
        scores = score_predictions(prepared.classes, logits, targets, groups)
    else:
        scores = task_scores(logits, targets, tasks, groups)
    directory.write_json("metrics.json", {**scores, **more})
    return Run.load(directory.path)


def _predictions(prepared: Prepared, rows: NDArray[np.int64], logits: Tensor) -> pd.DataFrame:
    targets = prepared.targets[rows]
    if prepared.tasks is None:
        return predictions_table(prepared.manifest, rows, logits, targets)
    return task_predictions(prepared.manifest, rows, logits, targets, prepared.tasks, prepared.classes)
