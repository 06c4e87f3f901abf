"""Autoencoders of the sleepiness experiment: trained once, read back, and asked for features of any clips.

Book page: ``sleepiness``.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from audioattn_lib.audio.features.scaling import DecibelScaling
from audioattn_lib.core.errors import RunError
from audioattn_lib.data.tables.feature_table import FeatureTable
from audioattn_lib.data.tables.table_files import read_features, write_features
from audioattn_lib.models.seq2seq import Seq2SeqAutoencoder
from audioattn_lib.training.checkpoint import load_best
from audioattn_lib.training.loop import select_device
from audioattn_lib.training.model_folder import ModelFolder
from audioattn_lib.training.run_directory import Run
from audioattn_lib.training.schedules import constant

from ..common.config import restore_config
from ..common.corpus import Clip, PreparedCorpus
from ..common.initial_weights import describe_weights, read_origin, start_from
from ..common.listener import describe_model, open_model, save_model
from ..common.results import write_attention, write_results
from ..common.runs import RunContext, make_run, open_run
from ..common.training import count_parameters, fit_network, look_at
from .autoencoding import Rebuilding, extract, measure_losses, record_alignments
from .config import FRONT_END, REGRESSION, Config
from .corpus import Prepared, compute_spectrograms, prepare
from .listener import SleepinessListener
from .network import FeatureRegression, build_network
from .regression import FittedFeatures

__all__ = [
    "AT_ONCE",
    "FEATURES",
    "NAME",
    "autoencode",
    "build_model",
    "convert_autoencoder",
    "extract_features",
    "features_of",
    "load_model",
    "rebuild",
    "save_autoencoder",
    "save_regression",
]

log = logging.getLogger("audioattn")

NAME = "sleepiness"
_OF_WEIGHTS = ("network", "attention", "variant", "cell", "top_db", "db_reference", *FRONT_END)
"""Fields that weights were trained with and need for their evaluation."""
FEATURES = "features.nc"
SCALE = "Karolinska sleepiness scale"
"""Unit of the labels of the corpora of this chapter."""
N_ALIGNMENTS = 24
"""Test clips whose alignments are kept: a matrix a clip is large."""
AT_ONCE = 128
"""Clips in a batch where nothing is learned."""

Context = RunContext[Config, Prepared]


def build_model(config: Config, prepared: PreparedCorpus) -> Seq2SeqAutoencoder:
    """The network of a configuration, with weights drawn from the global generator."""
    return build_network(config, prepared.clock)


def autoencode(config: Config, root: str | Path = "runs") -> Run:
    """Train an autoencoder to rebuild the training clips and keep the features of all clips, as ``features.nc``.

    The epoch is the one that rebuilds the validation clips best. The same run is read back instead of made again,
    whatever the regression that it is made for; an interrupted one continues where it was.

    Parameters
    ----------
    config
        What to train; the fields of the regression do not matter.
    root
        Directory of all runs; this one goes to ``<root>/sleepiness/<key>/``. Its predictions hold how well each clip
        is rebuilt: ``loss`` with teacher forcing, ``free_loss`` free-running.

    Raises
    ------
    ConfigError, ManifestError, AudioError, RunError
        When the configuration, the corpus, a sound or the run directory cannot be used.
    """
    prepared = prepare(config)
    settings = {name: value for name, value in dataclasses.asdict(config).items() if name not in REGRESSION}
    return make_run(open_run(__name__, NAME, config, prepared, root, settings), _train, _test)


def _train(context: Context) -> tuple[Seq2SeqAutoencoder, Rebuilding]:
    config, prepared, device = context.config, context.prepared, context.device
    split = prepared.split(config)
    torch.manual_seed(config.seed)
    model = build_model(config, prepared)
    scaling = prepared.scaling(config.top_db, config.db_reference)
    if config.pretrained:
        scaling = _start(model, config, scaling)
    rebuilding = Rebuilding(scaling, config.loss, config.scheduled_sampling)
    valid = prepared.loader(split.valid, _tested(config), device)
    fit_network(
        context,
        model,
        optimizer=torch.optim.Adam(model.parameters(), lr=config.learning_rate),
        learning_rate=constant(config.learning_rate),
        train=prepared.loader(split.train, config, device, shuffle=True),
        loss=rebuilding,
        evaluate=lambda network: rebuilding.validate(network, valid),
        about=describe_weights(NAME, config, (), reference=scaling.reference),
        illustrate=rebuilding.illustrate(valid),
        monitor="loss",
        look=look_at(
            context,
            split.valid,
            lambda rows: prepared.loader(rows, _tested(config), device),
            lambda network, batch: network(scaling(batch.features, batch.lengths), batch.lengths, record=True)[1],
        ),
    )
    return model, rebuilding


def _test(context: Context, trained: tuple[Seq2SeqAutoencoder, Rebuilding]) -> None:
    (model, rebuilding), config, prepared = trained, context.config, context.prepared
    save_autoencoder(context.directory.path, config, prepared, model, rebuilding.scaling.reference)
    loader = partial(prepared.loader, config=_tested(config), device=context.device)
    everything = loader(np.arange(len(prepared.manifest)))
    losses = measure_losses(model, everything, rebuilding)
    table = prepared.table(extract(model, everything, rebuilding.scaling))
    write_features(table, context.directory.path / FEATURES)
    shown = prepared.split(config).test[:N_ALIGNMENTS]
    write_attention(context, shown, record_alignments(model, loader(shown), rebuilding))
    rebuilt = {}
    for split, rows in prepared.parts.items():
        rebuilt[f"{split}_loss"], rebuilt[f"{split}_free_loss"] = losses[rows].mean(axis=0).tolist()
    sizes = {"n_features": model.n_features, "n_parameters": count_parameters(model)}
    clips = {"clip": table.ids, "split": table.splits, "label": table.labels, "predicted": ""}
    predictions = pd.DataFrame(clips | {"loss": losses[:, 0], "free_loss": losses[:, 1]})
    write_results(context, predictions, rebuilt | sizes | {"reference": rebuilding.scaling.reference})


def _tested(config: Config) -> Config:
    """The configuration with batches as large as fits where nothing is learned."""
    return dataclasses.replace(config, batch_size=AT_ONCE)


def _start(model: Seq2SeqAutoencoder, config: Config, scaling: DecibelScaling) -> DecibelScaling:
    """Take what the configuration names as ``pretrained``; its scaling belongs to it, and comes with its encoder."""
    origin = read_origin(config.pretrained, config.pretrained_prefix)
    start_from(model, config, (), origin, encoder=("encoder.", "upper.", "dense."), heads={}, same=_OF_WEIGHTS)
    if config.db_reference == "clip" or config.pretrained_part == "decoder":
        return scaling
    reference = origin.more.get("reference")
    if reference is None:
        log.warning(
            "%s: does not say what was loudest in its corpus; that of the training clips is taken", origin.source
        )
        return scaling
    return DecibelScaling(config.top_db, float(reference))


def features_of(run: Run) -> FeatureTable:
    """The features that a trained autoencoder gives the clips of its corpus.

    Raises
    ------
    RunError
        When the run is no autoencoder's.
    """
    if not (run.path / FEATURES).is_file():
        raise RunError(f"{run.path}: has no {FEATURES}; {_not_an_autoencoder(run)}")
    return read_features(run.path / FEATURES)


def extract_features(run: Run, data: str, *, skip_bad_clips: bool = False, device: str = "auto") -> FeatureTable:
    """The features that a trained autoencoder gives the clips of any corpus, labelled or not.

    Parameters
    ----------
    run
        Of :func:`autoencode`; its spectrograms are made as its training clips' were.
    data
        Corpus and options as one text.
    skip_bad_clips
        Leave clips out that fail the check or do not fill a window.
    device
        ``"auto"``, ``"cpu"`` or ``"cuda"``.

    Raises
    ------
    RunError
        When the run has no trained weights, or those of another network.
    ManifestError
        When clips cannot be used; it names them.
    """
    model, scaling = load_model(run).to(select_device(device)), _scaling_of(run)
    config = dataclasses.replace(_config_of(run), data=data, skip_bad_clips=skip_bad_clips, device=device)
    corpus = compute_spectrograms(config)
    loader = corpus.loader(np.arange(len(corpus.manifest)), _tested(config), select_device(device))
    return FeatureTable.from_manifest(corpus.manifest, extract(model, loader, scaling))


def load_model(run: Run) -> Seq2SeqAutoencoder:
    """The trained network of a run of :func:`autoencode`, in evaluation mode on the CPU.

    Raises
    ------
    RunError
        When the run has no trained weights, or those of another network.
    """
    _config_of(run)
    return _autoencoder(SleepinessListener(open_model(run, convert_autoencoder)))


def _autoencoder(listener: SleepinessListener) -> Seq2SeqAutoencoder:
    assert isinstance(listener.network, Seq2SeqAutoencoder)
    return listener.network


def convert_autoencoder(run: Run) -> ModelFolder:
    """Write the model of a run of :func:`autoencode` that is older than model folders; its corpus must be there."""
    config = _config_of(run)
    prepared = prepare(config)
    model = build_model(config, prepared)
    load_best(run.path / "checkpoint", model)
    return save_autoencoder(run.path, config, prepared, model, run["reference"])


def save_autoencoder(
    path: Path, config: Config, prepared: Prepared, model: Seq2SeqAutoencoder, reference: float | None
) -> ModelFolder:
    """Write an autoencoder, with the level of its training clips, as the model of a run."""
    settings = {"reference": reference}
    description = describe_model(NAME, "embedding", config, prepared, path, classes=(), settings=settings)
    return save_model(path, description, model)


def save_regression(
    path: Path, config: Config, prepared: Prepared, encoders: Sequence[Run], fitted: FittedFeatures
) -> ModelFolder:
    """Write autoencoders and the regression on their features as the model of a run.

    Their spectrograms must be those of ``config``: a model has one front end.
    """
    models = [load_model(run) for run in encoders]
    configs = [_config_of(run) for run in encoders]
    network = FeatureRegression.of(models, fitted.function)
    settings = {
        "encoders": [
            {"config": dataclasses.asdict(encoder_config), "reference": run["reference"]}
            for encoder_config, run in zip(configs, encoders, strict=True)
        ],
        "n_features": fitted.function.vectors.shape[1],
        "n_vectors": len(fitted.function.vectors),
        "label_range": list(fitted.label_range),
    }
    shown = dataclasses.replace(configs[0], **config.select("data", "seed", *REGRESSION))
    unit = SCALE if prepared.manifest.name in ("voices", "sleepiness") else ""
    description = describe_model(NAME, "score", shown, prepared, path, classes=(), settings=settings, unit=unit)
    return save_model(path, description, network)


@torch.no_grad()
def rebuild(run: Run, clip: Clip) -> dict[str, NDArray[np.float32]]:
    """One clip, what an autoencoder makes of it with teacher forcing, and free-running.

    All in decibels below the loudest value that its scaling knows, shape ``(frames, bands)``.
    """
    model, scaling = load_model(run), _scaling_of(run)
    frames = scaling(torch.as_tensor(clip.features)[None])
    stages = {
        "input": frames,
        "teacher forcing": model(frames)[0],
        "free-running": model(frames, scheduled_sampling=1.0)[0],
    }
    return {name: ((values[0] - 1) / 2 * scaling.top_db).numpy() for name, values in stages.items()}


def _config_of(run: Run) -> Config:
    if "network" not in run.config:
        raise RunError(f"{run.path}: {_not_an_autoencoder(run)}")
    return restore_config(Config, run)


def _not_an_autoencoder(run: Run) -> str:
    """Format the error message for a run that is not an autoencoder, with the run to give instead."""
    encoders = [str(run.path.parent / key) for key in run.config.get("encoders", ())]
    if encoders:
        return f"is a regression and not the run of an autoencoder; give {' or '.join(encoders)}"
    return "is not the run of an autoencoder; make one with `audioattn train sleepiness`, which prints it"


def _scaling_of(run: Run) -> DecibelScaling:
    """Build the decibel scaling of a run, with the largest value of its training clips as reference."""
    return DecibelScaling(run.config["top_db"], run["reference"])
