"""Scenes and instruments: does attention that keeps frequencies apart survive a device it never heard?

One :class:`Config` is one network; :func:`run` trains it and tests it on every
test set of the corpus, in and out of the domains of training; :func:`study`
compares patterns of attention, with and without what else is done against the
colour of devices, over seeds, beside a linear baseline and chance. The best
epoch is chosen on the validation set, whose domains are those of training.

Book page: ``scenes_and_instruments``.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from audioattn_lib.attention.record.record import AttentionRecord
from audioattn_lib.audio.features.kaldi_mel import KaldiMel
from audioattn_lib.audio.features.log_mel import LogMel
from audioattn_lib.core.errors import ConfigError
from audioattn_lib.data.loading.batches import TransformedLoader
from audioattn_lib.evaluation.scores.domains import domain_scores
from audioattn_lib.models.ensemble import Ensemble
from audioattn_lib.models.frequency_transformer import FrequencyTransformer
from audioattn_lib.models.layers.input_scaling import BandScaling, Scaled
from audioattn_lib.training.averaging import AveragedModel
from audioattn_lib.training.checkpoint import load_best
from audioattn_lib.training.model_folder import ModelFolder
from audioattn_lib.training.run_directory import Run

from ..common.baseline import fit_linear_baseline, summarise_split
from ..common.classification import predict, predictions_table, score_predictions, validate
from ..common.config import choose_numbers, restore_config
from ..common.corpus import Clip
from ..common.initial_weights import describe_weights
from ..common.listener import describe_model, open_model, save_model
from ..common.parallel import run_all
from ..common.results import write_attention, write_results
from ..common.runs import RunContext, make_run, nothing_to_train, open_run, resolve_fold
from ..common.training import count_parameters, fit_network, look_at
from .config import CNN, Config
from .corpus import Prepared, prepare
from .domain_methods import parse_domain_method
from .listener import ScenesListener
from .network import build_network
from .results import pattern_title
from .study import DomainStudy
from .training import Augmentation, average, fit_scaling, schedule, training_loss
from .weights import start_networks

__all__ = ["PATTERNS", "attention_layers", "baseline", "build_model", "convert", "load_model", "run", "study"]

log = logging.getLogger("audioattn")

NAME = "scenes_and_instruments"
PATTERNS = ("dense", "per_row", "row_overlap_2", "high_low", "sparse_row_2")
"""Field that the chapter compares."""
_OF_BASELINE = (
    *("data", "held_out", "test_valid", "band_normalization", "front_end", "sample_rate", "n_mels", "hop_seconds"),
    *("f_max_jitter", "skip_bad_clips", "batch_size"),
)
_RECORDED = 64
"""Test clips whose maps of attention are kept: a record of all would be larger than the corpus."""

Context = RunContext[Config, Prepared]


def build_model(config: Config, prepared: Prepared) -> Scaled | Ensemble:
    """The network for a corpus, see :func:`~audioattn_lib.experiments.scenes_and_instruments.network.build_network`."""
    return build_network(config, len(prepared.classes), _longest(prepared), _front_end(prepared))


def _longest(prepared: Prepared) -> int:
    return int(prepared.store.n_frames.max())


def _front_end(prepared: Prepared) -> LogMel | KaldiMel:
    assert isinstance(prepared.front_end, (LogMel, KaldiMel))
    return prepared.front_end


def run(config: Config, root: str | Path = "runs") -> Run:
    """Train one network and test it on every test set; the same run is read back instead of made again.

    Parameters
    ----------
    config
        What to run.
    root
        Directory of all runs; this one goes to ``<root>/scenes_and_instruments/<key>/``.

    Raises
    ------
    ConfigError, ManifestError, AudioError, RunError
        When the configuration, the corpus, a sound or the run directory cannot be used.
    """
    prepared = prepare(config)
    config = resolve_fold(config, prepared.manifest)
    return make_run(open_run(__name__, NAME, config, prepared, root), _train, _test)


def _train(context: Context) -> nn.Module:
    config, prepared, device = context.config, context.prepared, context.device
    split = prepared.split(config)
    torch.manual_seed(config.seed)
    scaled = build_model(config, prepared)
    start_networks(scaled, config, prepared)
    augment = Augmentation(config, prepared, device)
    loader = prepared.waveform_loader if augment.of_sounds else prepared.loader
    train = loader(split.train, config, device, shuffle=True)
    valid = prepared.loader(split.valid, config, device)
    model = average(scaled, config, len(train))
    if not config.epochs and not config.pretrained:
        log.warning("epochs is 0 without pretrained: the weights are as drawn, and their scores are those of chance")

    def evaluate(network: nn.Module) -> dict[str, float]:
        scores = validate(network, valid)
        if isinstance(network, AveragedModel):
            scores |= {f"live_{name}": value for name, value in validate(network.network, valid).items()}
        return scores

    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return fit_network(
        context,
        model,
        optimizer=torch.optim.AdamW(trained, lr=config.learning_rate, weight_decay=config.weight_decay),
        learning_rate=schedule(config, len(train)),
        train=train,
        loss=lambda network, batch: training_loss(network, batch, config, augment, len(prepared.classes)),
        evaluate=evaluate,
        about=describe_weights(NAME, config, prepared.classes),
        look=look_at(context, split.valid, lambda rows: prepared.loader(rows, config, device)),
    )


def _test(context: Context, model: nn.Module) -> None:
    config, prepared, device = context.config, context.prepared, context.device
    _save(context.directory.path, config, prepared, model.eval())
    rows = prepared.split(config).test
    recorded = slice(None, None, max(len(rows) // _RECORDED, 1))
    recorded_rows = rows[recorded][:_RECORDED]
    logits = _logits(model, prepared, rows, config, device)
    record = predict(model, prepared.loader(recorded_rows, config, device))[1]
    predictions = predictions_table(prepared, recorded_rows, logits[recorded][:_RECORDED])
    write_attention(context, recorded_rows, record, predictions=predictions, folds=list(prepared.tests[recorded_rows]))
    network = model.network if isinstance(model, AveragedModel) else model
    _finish(context, logits, {"n_parameters": count_parameters(network)})


def baseline(config: Config, root: str | Path = "runs") -> Run:
    """The linear baseline on the same clips: logistic regression on mean and deviation of each band after centring.

    Its strength of regularisation is chosen on the validation clips.
    """
    prepared = prepare(config)
    settings = {"baseline": "linear", **config.select(*_OF_BASELINE)}
    return make_run(open_run(__name__, NAME, config, prepared, root, settings), nothing_to_train, _fit_baseline)


def _fit_baseline(context: Context, _: None) -> None:
    config, prepared, device = context.config, context.prepared, context.device
    split = prepared.split(config)
    scaled = Scaled(BandScaling(config.n_mels, config.band_normalization), nn.Identity())
    fit_scaling(scaled.scaling, config, prepared)
    scaled.to(device)

    def loader(rows: NDArray[np.int64]) -> TransformedLoader:
        return TransformedLoader(
            prepared.loader(rows, config, device), lambda features, lengths: (scaled.scale(features, lengths), lengths)
        )

    inputs = summarise_split(split, loader)
    train, valid = prepared.targets[split.train], prepared.targets[split.valid]
    _finish(context, fit_linear_baseline(inputs, train, valid, len(prepared.classes)), {})


def study(
    config: Config,
    patterns: str | Iterable[str] = PATTERNS,
    domain_methods: str | Iterable[str] = ("none", "clip"),
    seeds: str | int | Iterable[Any] = "0, 1, 2",
    root: str | Path = "runs",
) -> DomainStudy:
    """Every pattern with every domain method and seed, and the linear baseline; what exists is read back.

    Parameters
    ----------
    config
        Everything but ``pattern``, ``seed`` and what the domain methods set.
    patterns
        Names of attention patterns: a list, or joined by commas.
    domain_methods
        What is done against the colour of devices, in the same way: names out of
        :data:`~audioattn_lib.experiments.scenes_and_instruments.domain_methods.DOMAIN_METHODS`, or several joined by
        ``+``.
    seeds
        Whole numbers from 0: one, several joined by commas, or a list.
    root
        Directory of all runs.
    """
    names, treated = (
        [name.strip() for name in listed.split(",")] if isinstance(listed, str) else list(listed)
        for listed in (patterns, domain_methods)
    )
    numbers = choose_numbers("seeds", seeds, int, "whole numbers from 0")
    changes = [parse_domain_method(name) for name in treated]
    configs = [
        dataclasses.replace(config, pattern=name, seed=seed, **change)
        for seed in numbers
        for change in changes
        for name in names
    ]
    prepared = prepare(config)
    centrings = list(dict.fromkeys(str(change["band_normalization"]) for change in changes))
    baselines = [baseline(dataclasses.replace(config, band_normalization=centring), root) for centring in centrings]
    runs = run_all(run, configs, root, shown=("pattern", "band_normalization", "mixstyle_prob", "seed"))
    titles = {name: pattern_title(name) for name in names}
    return DomainStudy(tuple(runs), tuple(baselines), prepared.group_of, titles)


def load_model(run: Run) -> Scaled | Ensemble:
    """The trained network of a run behind its scaling, or its ensemble, in evaluation mode on the CPU.

    The corpus of the run need not be there.
    """
    return ScenesListener(open_model(run, convert)).network


def convert(run: Run) -> ModelFolder:
    """Write the model of a run that is older than model folders; its corpus must be there."""
    config = restore_config(Config, run)
    prepared = prepare(config)
    model = average(build_model(config, prepared), config, 1)
    load_best(run.path / "checkpoint", model)
    return _save(run.path, config, prepared, model.eval())


def _save(path: Path, config: Config, prepared: Prepared, model: nn.Module) -> ModelFolder:
    """Write the network of a forward pass in evaluation: the averaged one where there is one."""
    current = model.current if isinstance(model, AveragedModel) else model
    settings = {"max_frames": _longest(prepared)}
    return save_model(path, describe_model(NAME, "class", config, prepared, path, settings=settings), current)


@torch.no_grad()
def attention_layers(run: Run, clip: Clip) -> tuple[dict[str, AttentionRecord], dict[str, list[str]]]:
    """Record the attention of the global tokens to one clip, layer by layer: one record per combination of two sliders.

    The second slider is a head, the mean of all, or the rollout through all layers up to this one. Returns the
    records by name and the values of the sliders, as :func:`audioattn_lib.display.players.player` takes them.
    """
    network = load_model(run)
    if isinstance(network, Ensemble):
        raise ConfigError("an ensemble has no attention of its own; choose a run of one network")
    features = network.scale(torch.as_tensor(clip.features)[None])
    model = network.network
    if not isinstance(model, FrequencyTransformer):
        raise ConfigError(f"{CNN} attends to nothing; choose a run of a transformer")
    read, rolled = model(features, record=True)[1], model.rollout(features)
    assert read.maps is not None
    assert rolled.maps is not None
    depth, heads = read.maps.shape[1:3]
    ways = ["rollout", "all heads", *(f"head {head + 1}" for head in range(heads))]
    records = {}
    for layer in range(depth):
        own = read.maps[:, layer : layer + 1]
        parts = [rolled.maps[:, layer : layer + 1], own.mean(axis=2, keepdims=True)]
        parts += [own[:, :, head : head + 1] for head in range(heads)]
        for way, maps in zip(ways, parts, strict=True):
            name = f"Layer {layer + 1}, {way}"
            records[name] = dataclasses.replace(read, mechanism=name, maps=maps)
    return records, {"Layer": [str(layer + 1) for layer in range(depth)], "What": ways}


@torch.no_grad()
def _logits(
    model: nn.Module, prepared: Prepared, rows: NDArray[np.int64], config: Config, device: torch.device
) -> Tensor:
    model.eval()
    batches = prepared.loader(rows, config, device).epoch(0)
    return torch.cat([model(batch.features, batch.lengths)[0].float().cpu() for batch in batches])


def _finish(context: Context, logits: Tensor, more: Mapping[str, Any]) -> None:
    """Write predictions and scores of the test clips, by test set and by domain."""
    prepared = context.prepared
    split = prepared.split(context.config)
    rows, groups = split.test, prepared.groups[split.test]
    table = predictions_table(prepared, rows, logits)
    trained = set(prepared.domains[split.train])
    table["split"] = prepared.tests[rows]
    table["domain"] = prepared.domains[rows]
    table["domain_seen"] = [domain in trained for domain in prepared.domains[rows]]
    right = (table["label"] == table["predicted"]).to_numpy(np.float64)
    by_test = domain_scores(right, table["split"], table["domain_seen"], groups=groups)
    by_domain = domain_scores(right, table["domain"], table["domain_seen"], groups=groups)
    scores = score_predictions(prepared.classes, logits, prepared.targets[rows], groups)
    scores_by_group = {"tests": by_test.to_dict(orient="index"), "domains": by_domain.to_dict(orient="index")}
    write_results(context, table, {**scores, **scores_by_group, **more})
