"""Accents and speakers: which pooling of an utterance tells how, and who, somebody speaks?

One :class:`Config` is one network on one test fold; :func:`run` trains it, or
reads it back when the same run exists; :func:`study` compares poolings over
folds beside a linear baseline and chance. The embeddings of the test clips are
kept: trials of speakers are scored with them, though nothing was trained on who
speaks unless ``target`` says so.

Network and settings are those of India, Safari and Hernando, *Double multi-head
attention for speaker verification*, ICASSP 2021, and of the accent system built
from it, where they are sound.

Book page: ``accents``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from audioattn_lib.attention.record.record import AttentionRecord
from audioattn_lib.data.files import cache_directory
from audioattn_lib.data.loading.batches import BatchLoader
from audioattn_lib.data.loading.store import FeatureStore
from audioattn_lib.data.splits import fold_names
from audioattn_lib.data.tables.feature_table import FeatureTable
from audioattn_lib.evaluation.scores.open_set import rejection_metrics, rejection_threshold
from audioattn_lib.evaluation.scores.verification import Trials
from audioattn_lib.models.embedding import EmbeddingNetwork
from audioattn_lib.models.layers.utterance_pooling import POOLINGS
from audioattn_lib.training.checkpoint import load_best
from audioattn_lib.training.loop import select_device
from audioattn_lib.training.model_folder import ModelFolder
from audioattn_lib.training.run_directory import Run
from audioattn_lib.training.schedules import Schedule, constant, cosine

from ..common.baseline import fit_linear_baseline, summarise_split
from ..common.classification import predictions_table, validate
from ..common.config import choose_numbers, restore_config
from ..common.corpus import load_checked
from ..common.initial_weights import describe_weights, read_origin, start_from
from ..common.listener import describe_model, open_model, save_model
from ..common.parallel import run_all
from ..common.results import write_attention, write_attention_evaluation, write_classification
from ..common.runs import RunContext, make_run, nothing_to_train, open_run, resolve_fold
from ..common.studies.study import ClassificationStudy, choose
from ..common.training import count_parameters, fit_network, look_at
from .attention_evaluation import carriers, encoded
from .config import OPTIMIZERS, Config
from .corpus import CORPUS_FIELDS, Prepared, prepare, whole_utterances, windows
from .embedder import Embedder
from .listener import AccentsListener
from .network import build_network
from .verification import list_trials, save_embeddings, verify

__all__ = [
    "baseline",
    "build_model",
    "convert",
    "embed",
    "extract_embeddings",
    "load_model",
    "run",
    "study",
    "study_heads",
    "study_larger",
]

NAME = "accents"
_AT_ONCE = 64
_OF_BASELINE = (*CORPUS_FIELDS, "trials", "fold", "protocol", "seed", "batch_size")
"""Fields that the linear baseline depends on."""
_OF_WEIGHTS = (
    *("target", "pooling", "attention", "heads", "head_scale", "n_queries", "backbone", "normalise_context", "loss"),
    *("scale", "band_normalization", "features", "sample_rate", "n_mels"),
)
"""Fields that weights were trained with and need for their evaluation."""

Context = RunContext[Config, Prepared]


def build_model(config: Config, prepared: Prepared) -> EmbeddingNetwork:
    """The network of a configuration, with weights drawn from the global generator."""
    return build_network(config, len(prepared.classes), prepared.clock)


def run(config: Config, root: str | Path = "runs") -> Run:
    """Train one network on one fold and test it; the same run is read back instead of made again.

    Parameters
    ----------
    config
        What to run.
    root
        Directory of all runs; this one goes to ``<root>/accents/<key>/``.

    Raises
    ------
    ConfigError, ManifestError, AudioError, RunError
        When the configuration, the corpus, a sound or the run directory cannot be used.
    """
    prepared = prepare(config)
    config = resolve_fold(config, prepared.manifest)
    return make_run(open_run(__name__, NAME, config, prepared, root), _train, _test)


def _train(context: Context) -> EmbeddingNetwork:
    config, prepared, device = context.config, context.prepared, context.device
    split = prepared.split(config)
    _trials(config, prepared, split.test)  # a list that cannot be used is known before the training
    torch.manual_seed(config.seed)
    model = build_model(config, prepared)
    train = windows(prepared, split.train, config, device)
    valid = whole_utterances(prepared, split.valid, config, device)
    if config.pretrained:
        _start(model, config, prepared)
    optimizer = OPTIMIZERS[config.optimizer]
    return fit_network(
        context,
        model,
        optimizer=optimizer(model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay),
        learning_rate=_schedule(config, -(-len(train) // config.grad_accum_steps)),
        train=train,
        loss=_loss,
        evaluate=lambda network: validate(network, valid),
        about=describe_weights(NAME, config, prepared.classes),
        maximise=config.monitor == "macro_f1",
        patience=config.patience,
        lr_patience=config.lr_patience,
        grad_accum_steps=config.grad_accum_steps,
        validate_every=config.validate_every,
        look=look_at(context, split.valid, lambda rows: whole_utterances(prepared, rows, config, device)),
    )


def _test(context: Context, model: EmbeddingNetwork) -> None:
    config, prepared = context.config, context.prepared
    split = prepared.split(config)
    valid, test = (whole_utterances(prepared, rows, config, context.device) for rows in (split.valid, split.test))
    logits, embeddings, record = embed(model, test)
    predictions = predictions_table(prepared, split.test, logits)
    record = write_attention(context, split.test, record, predictions=predictions, folds=config.fold)
    events = carriers(prepared.manifest, split.test)
    measured = write_attention_evaluation(context, split.test, model.decide, encoded(model, test), record, events)
    more: dict[str, Any] = {"n_parameters": count_parameters(model), "attention_evaluation": measured}
    if config.unknown:
        others = whole_utterances(prepared, prepared.unknown(config), config, context.device)
        more["rejection"] = _reject(
            embed(model, valid)[0], logits, prepared.targets[split.test], embed(model, others)[0]
        )
    _finish(context, split.test, logits, embeddings.numpy(), more, model)


def _start(model: EmbeddingNetwork, config: Config, prepared: Prepared) -> None:
    """Take what the configuration names as ``pretrained``."""
    start_from(
        model,
        config,
        prepared.classes,
        read_origin(config.pretrained, config.pretrained_prefix),
        encoder=("front.",),
        heads={"classifier.weight": 0, "classifier.bias": 0},
        same=_OF_WEIGHTS,
    )


def _schedule(config: Config, steps: int) -> Schedule:
    """Learning rate of each step; with ``steps`` an epoch."""
    if config.schedule == "plateau":
        return constant(config.learning_rate)
    total = steps * max(config.epochs, 1)  # of 0 it is never asked
    return cosine(config.learning_rate, total, min(steps, total - 1))


def _loss(network: Any, batch: Any) -> tuple[Tensor, Tensor]:
    logits = network(batch.features, batch.lengths)[0]
    return network.classifier.loss(logits, batch.targets), (logits.argmax(dim=1) == batch.targets).sum()


@torch.no_grad()
def embed(network: EmbeddingNetwork, batches: Any) -> tuple[Tensor, Tensor, AttentionRecord]:
    """Logits, embeddings (both on the CPU) and what was attended to, in the order of the batches."""
    network.eval()
    logits, embeddings, records = [], [], []
    for batch in batches.epoch(0):
        embedding, record = network.embed(batch.features, batch.lengths, record=True)
        logits.append(network.classify(embedding).float().cpu())
        embeddings.append(embedding.float().cpu())
        records.append(record)
    return torch.cat(logits), torch.cat(embeddings), AttentionRecord.concatenate(records)


def _reject(valid: Tensor, tested: Tensor, targets: Tensor, unknown: Tensor) -> dict[str, Any]:
    """Rejection of the unknown class by the highest probability; its threshold keeps 95 % of the validation clips."""
    sure = [logits.softmax(dim=1).amax(dim=1).numpy() for logits in (valid, tested, unknown)]
    return rejection_metrics(sure[1], (tested.argmax(1) == targets).numpy(), sure[2], rejection_threshold(sure[0]))


def baseline(config: Config, root: str | Path = "runs") -> Run:
    """The linear baseline on the same clips and folds: logistic regression on mean and deviation of each mel band.

    Its strength of regularisation is chosen on the validation clips. Its embeddings, for trials, are these
    statistics, standardised over the training clips.
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
    logits = fit_linear_baseline(inputs, train, valid, len(prepared.classes))
    std = np.maximum(inputs[0].std(axis=0), 1e-6)
    _finish(context, split.test, logits, (inputs[2] - inputs[0].mean(axis=0)) / std, {})


def study(
    config: Config,
    poolings: str | Iterable[str] = "mean, statistics, self_attention, multi_head, double_multi_head",
    folds: str | Iterable[str] = "first",
    seeds: str | int | Iterable[Any] = "0",
    root: str | Path = "runs",
) -> ClassificationStudy:
    """Several poolings over folds and seeds, with the linear baseline on each fold; what exists already is read back.

    Parameters
    ----------
    config
        Everything but ``pooling``, ``fold`` and ``seed``.
    poolings
        Names out of :data:`~audioattn_lib.models.layers.utterance_pooling.POOLINGS`: a
        list, or joined by commas, or ``"all"``.
    folds
        Test folds, in the same way; ``"first"`` is the first there is.
    seeds
        Whole numbers from 0, in the same way. The baseline has the first.
    root
        Directory of all runs.
    """
    prepared = prepare(config)
    names = fold_names(prepared.manifest)
    folds = choose(folds, names, "fold")
    poolings = choose(poolings, tuple(POOLINGS), "pooling")
    numbers = choose_numbers("seeds", seeds, int, "whole numbers from 0")
    configs = [
        dataclasses.replace(config, pooling=name, fold=fold, seed=seed)
        for seed in numbers
        for fold in folds
        for name in poolings
    ]
    baselines = [baseline(dataclasses.replace(config, fold=fold, seed=numbers[0]), root) for fold in folds]
    runs = run_all(run, configs, root, shown=("pooling", "fold", "seed"))
    titles = {name: pooling.title for name, pooling in POOLINGS.items()}
    return ClassificationStudy(tuple(runs), tuple(baselines), prepared.group_of, by="pooling", titles=titles)


def study_heads(
    config: Config,
    poolings: str | Iterable[str],
    heads: str | int | Iterable[Any] = "8",
    folds: str | Iterable[str] = "first",
    seeds: str | int | Iterable[Any] = "0",
    root: str | Path = "runs",
) -> dict[int, ClassificationStudy]:
    """A study for each number of heads: the first of all poolings, the others of those that have several heads.

    Parameters
    ----------
    config, poolings, folds, seeds, root
        As in :func:`study`; everything but ``heads`` too.
    heads
        Whole numbers from 1, each a divisor of a frame's width: one, some joined by commas, or a list.
    """
    names = choose(poolings, tuple(POOLINGS), "pooling")
    headed = [name for name in names if POOLINGS[name].has_heads]
    studies: dict[int, ClassificationStudy] = {}
    for number in choose_numbers("heads", heads, int, "whole numbers from 1"):
        pooling_names = headed if studies else names
        if pooling_names:
            studies[number] = study(dataclasses.replace(config, heads=number), pooling_names, folds, seeds, root)
    return studies


def study_larger(
    config: Config, speakers: int, settings: Mapping[str, Any], pooling: str, root: str | Path = "runs"
) -> tuple[ClassificationStudy, Prepared] | None:
    """One network on synthetic accents of more speakers, and that corpus.

    A small study compares poolings in the time of a page, but the attention of its networks stays close to the mean.
    None without speakers, or where the small study is of another corpus.

    Parameters
    ----------
    config
        Of the small study.
    speakers
        Of each accent, at least 1; 0 for no such network.
    settings
        Fields of the configuration that are different there.
    pooling
        Of the network.
    root
        Directory of all runs.

    Notes
    -----
    Book page: ``accents``.
    """
    kind, _, options = config.data.partition("?")
    if not speakers or kind != NAME:
        return None
    option = "speakers_per_accent"
    kept = [text for text in options.split("&") if text and not text.startswith(f"{option}=")]
    data = f"{kind}?{'&'.join([f'{option}={speakers}', *kept])}"
    larger = dataclasses.replace(config, data=data, pooling=pooling, **settings)
    larger_run, prepared = run(larger, root), prepare(larger)
    titles = {name: pooling_type.title for name, pooling_type in POOLINGS.items()}
    return ClassificationStudy((larger_run,), (), prepared.group_of, by="pooling", titles=titles), prepared


def load_model(run: Run) -> Embedder:
    """The trained network of a run with its front end and normalisation, in evaluation mode on the CPU.

    It embeds a sound as the run did; the corpus of the run need not be there.
    """
    listener = AccentsListener(open_model(run, convert))
    return Embedder(listener.network, listener.front_end, listener.config.band_normalization).eval()


def convert(run: Run) -> ModelFolder:
    """Write the model of a run that is older than model folders; its corpus must be there."""
    config = restore_config(Config, run)
    prepared = prepare(config)
    network = build_model(config, prepared)
    load_best(run.path / "checkpoint", network)
    return _save(run.path, config, prepared, network, run.metrics)


def _save(
    path: Path, config: Config, prepared: Prepared, network: EmbeddingNetwork, scores: Mapping[str, Any]
) -> ModelFolder:
    thresholds = {}
    if scores.get("verification"):
        thresholds["equal_error_rate"] = scores["verification"]["threshold"]
    if scores.get("rejection"):
        thresholds["rejection"] = scores["rejection"]["threshold"]
    description = describe_model(NAME, "class", config, prepared, path, thresholds=thresholds)
    return save_model(path, description, network)


@torch.no_grad()
def extract_embeddings(run: Run, data: str, *, skip_bad_clips: bool = False, device: str = "auto") -> FeatureTable:
    """The embeddings that a trained network gives the clips of any corpus, labelled or not.

    Parameters
    ----------
    run
        Of :func:`run`; sounds go through its front end.
    data
        Corpus and options as one text: also a list of files, or a file of sound.
    skip_bad_clips
        Leave clips out that fail the check.
    device
        ``"auto"``, ``"cpu"`` or ``"cuda"``.

    Raises
    ------
    RunError
        When the run has no trained weights.
    ManifestError, AudioError
        When clips cannot be used; the message names them.
    """
    processor = select_device(device)
    model = load_model(run).to(processor)
    manifest = load_checked(data, skip_bad_clips=skip_bad_clips, needs_classes=False)
    store = FeatureStore.build(manifest, model.front_end, cache_directory() / "features", device=processor)
    rows = np.arange(len(manifest))
    batches = BatchLoader(store, rows, rows, _AT_ONCE, shuffle=False, device=processor).epoch(0)
    embeddings = torch.cat([model.embed(batch.features, batch.lengths)[0].float().cpu() for batch in batches])
    return FeatureTable.from_manifest(manifest, embeddings.numpy(), _embedding_names(model))


def _embedding_names(model: Embedder) -> tuple[str, ...]:
    return tuple(f"embedding_{i}" for i in range(model.network.embedding.second.out_features))


def _trials(config: Config, prepared: Prepared, rows: NDArray[np.int64]) -> Trials | None:
    clips = [prepared.manifest.ids[i] for i in rows]
    return list_trials(config.trials, clips, prepared.speakers[rows], config.seed)


def _finish(
    context: Context,
    rows: NDArray[np.int64],
    logits: Tensor,
    embeddings: NDArray[np.floating[Any]],
    more: Mapping[str, Any],
    network: EmbeddingNetwork | None = None,
) -> None:
    """Write embeddings, the model where there is one, predictions and scores."""
    config, prepared = context.config, context.prepared
    clips = [prepared.manifest.ids[i] for i in rows]
    labels = [prepared.classes[int(i)] for i in prepared.targets[rows]]
    save_embeddings(context.directory, clips, embeddings, labels, prepared.speakers[rows])
    verified = verify(embeddings, _trials(config, prepared, rows), config.seed)
    if network is not None:
        _save(context.directory.path, config, prepared, network, {"verification": verified, **more})
    write_classification(context, rows, logits, {"verification": verified, "closed_set": prepared.closed_set, **more})
