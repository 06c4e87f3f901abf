"""Sleepiness: does an autoencoder that attends describe a voice better than one that does not?

Every step is a function, and every step knows clips by their names, never by
their position: :func:`prepare` makes spectrograms, :func:`autoencode` trains a
network to rebuild them and keeps the features of all clips, :func:`regress`
predicts a number from the features of one or several networks (fusion), and
:func:`study` compares networks over seeds beside a linear baseline and chance,
:func:`study_thresholds` at several thresholds. :func:`extract_features` describes
the clips of any other corpus.

Networks and protocol are those of Amiriparian et al., *Sequence-to-sequence
autoencoders with attention* (2020), where they are sound.

Book page: ``sleepiness``.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from audioattn_lib.core.errors import ConfigError, ManifestError, RunError
from audioattn_lib.data.tables.feature_table import FeatureTable, fuse
from audioattn_lib.models.seq2seq import NETWORKS
from audioattn_lib.training.model_folder import ModelFolder
from audioattn_lib.training.run_directory import Run

from ..common.baseline import summarise_clips
from ..common.config import choose_numbers
from ..common.parallel import run_all
from ..common.results import write_results
from ..common.runs import RunContext, make_run, nothing_to_train, open_run
from ..common.studies.study import BASELINE, choose
from .config import FRONT_END, REGRESSION, SPECTROGRAM, Config
from .corpus import Prepared, prepare
from .regression import FittedFeatures, fit_features
from .study import FUSION, RegressionStudy
from .training import AT_ONCE, NAME, autoencode, convert_autoencoder, features_of, save_regression

__all__ = ["baseline", "convert", "regress", "run", "study", "study_thresholds"]

log = logging.getLogger("audioattn")


def regress(config: Config, encoders: Sequence[Run], root: str | Path = "runs") -> Run:
    """Predict the labels from the features of one autoencoder, or of several, joined by clip.

    The complexity is chosen on the validation clips, then the regression is fitted on these and the training clips.
    Predictions of the validation clips are those of the regression that has not seen them.

    Parameters
    ----------
    config
        Corpus and regression.
    encoders
        Runs of :func:`autoencode`, at least one; several are fused.
    root
        Directory of all runs.

    Raises
    ------
    FeatureTableError
        When the features are of other clips; the message names them.
    """
    if not encoders:
        raise ConfigError("encoders is empty; give at least one run of an autoencoder")
    table = _features(encoders)
    networks = {str(run.config["network"]) for run in encoders}
    name = FUSION if len(networks) > 1 else networks.pop()
    return _regress(name, config, table, encoders, root)


def baseline(config: Config, root: str | Path = "runs") -> Run:
    """The linear baseline: ridge regression on mean and deviation over time of each mel band, in decibels."""
    prepared = prepare(config)
    whole = dataclasses.replace(config, batch_size=AT_ONCE)
    loader = prepared.loader(np.arange(len(prepared.manifest)), whole, torch.device("cpu"))
    ridge = dataclasses.replace(config, regressor="ridge")
    return _regress(BASELINE, ridge, prepared.table(summarise_clips(loader).astype(np.float32)), [], root)


def _regress(name: str, config: Config, table: FeatureTable, encoders: Sequence[Run], root: str | Path) -> Run:
    prepared = prepare(config)
    settings = {
        "system": name,
        "encoders": [run.key for run in encoders],
        **config.select("seed", *SPECTROGRAM, *REGRESSION),
    }

    def test(context: RunContext[Config, Prepared], _: None) -> None:
        fitted = _fit(config, prepared, table)
        if encoders:
            _save(context.directory.path, config, prepared, encoders, fitted)
        write_results(context, fitted.predictions, fitted.metrics)

    return make_run(open_run(__name__, NAME, config, prepared, root, settings), nothing_to_train, test)


def _fit(config: Config, prepared: Prepared, table: FeatureTable) -> FittedFeatures:
    rows = table.select(prepared.manifest.ids)
    return fit_features(rows, model=config.regressor, max_iter=config.max_iter, seed=config.seed)


def _save(path: Path, config: Config, prepared: Prepared, encoders: Sequence[Run], fitted: FittedFeatures) -> None:
    other = [run for run in encoders if any(run.config[name] != getattr(config, name) for name in FRONT_END)]
    if other:  # of tables that were made to be joined: the predictions hold, but no sound has one spectrogram for all
        log.warning("%s: has other spectrograms than the regression, which is kept without a model", other[0].path)
        return
    save_regression(path, config, prepared, encoders, fitted)


def convert(run: Run) -> ModelFolder:
    """Write the model of a run that is older than model folders; its corpus must be there."""
    if "system" not in run.config:
        return convert_autoencoder(run)
    encoders = [Run.load(run.path.parent / key) for key in run.config["encoders"]]
    if not encoders:
        raise RunError(f"{run.path}: is a linear baseline, which has no network; give the run of a model")
    settings = {name: value for name, value in run.config.items() if name not in ("system", "encoders")}
    config = Config(**settings)
    prepared = prepare(config)
    return save_regression(run.path, config, prepared, encoders, _fit(config, prepared, _features(encoders)))


def _features(encoders: Sequence[Run]) -> FeatureTable:
    """Features of autoencoders, side by side where there are several."""
    tables = {f"{run.config['network']}_{run.key[:8]}": features_of(run) for run in encoders}
    return fuse(tables) if len(tables) > 1 else next(iter(tables.values()))


def run(config: Config, root: str | Path = "runs") -> Run:
    """Train one autoencoder, and predict the labels from its features: :func:`autoencode`, then :func:`regress`.

    On a corpus without labels the autoencoder is all there is to train, and it is the run that is returned.
    """
    encoder = autoencode(config, root)
    if prepare(config).manifest.kind == "unlabelled":
        log.warning("%s has no labels: nothing is predicted from the features of %s", config.data, encoder.path)
        return encoder
    return regress(config, [encoder], root)


def study(
    config: Config,
    networks: str | Iterable[str] = "attention_bi_bi_hidden, seq2seq_bi_bi_fc",
    seeds: str | int | Iterable[Any] = "0",
    root: str | Path = "runs",
) -> RegressionStudy:
    """Several networks over seeds, their fusion, the linear baseline and chance; what exists already is read back.

    Parameters
    ----------
    config
        Everything but ``network`` and ``seed``.
    networks
        Names out of :data:`~audioattn_lib.models.seq2seq.NETWORKS`: a list, or joined by commas, or ``"all"``.
        Several are fused.
    seeds
        Whole numbers from 0, in the same way.
    root
        Directory of all runs.
    """
    return _compare(config, _autoencode_all(config, networks, seeds, root), root)


def study_thresholds(
    config: Config,
    networks: str | Iterable[str] = "attention_bi_bi_hidden, seq2seq_bi_bi_fc",
    seeds: str | int | Iterable[Any] = "0",
    thresholds: str | float | Iterable[Any] = "40, 50, 60, 70",
    root: str | Path = "runs",
) -> dict[str, RegressionStudy]:
    """A study for each threshold by its name, such as ``"60 dB"``; with several, ``"all"`` is what auDeep recommends.

    There, each system reads the features of its networks of all thresholds side by side.

    Parameters
    ----------
    config
        Everything but ``network``, ``seed`` and ``top_db``.
    networks, seeds, root
        As in :func:`study`.
    thresholds
        Decibels, in the same way.

    Notes
    -----
    Freitag et al., *auDeep*, JMLR 2018.
    """
    studies: dict[str, RegressionStudy] = {}
    together: dict[tuple[str, int], list[Run]] = {}
    for top_db in choose_numbers("thresholds", thresholds, float, "decibels above 0"):
        at_threshold = dataclasses.replace(config, top_db=top_db)
        encoders = _autoencode_all(at_threshold, networks, seeds, root)
        studies[f"{top_db:g} dB"] = _compare(at_threshold, encoders, root)
        for key, runs in encoders.items():
            together.setdefault(key, []).extend(runs)
    if len(studies) > 1:
        studies["all"] = _compare(config, together, root)
    return studies


def _autoencode_all(
    config: Config, networks: str | Iterable[str], seeds: str | int | Iterable[Any], root: str | Path
) -> dict[tuple[str, int], list[Run]]:
    """A trained autoencoder for every network and seed, of a corpus with numbers to predict from their features."""
    prepared = prepare(config)
    for split in ("train", "devel"):
        if not np.isfinite(prepared.values[prepared.parts[split]]).any():
            raise ManifestError(
                f"{prepared.manifest.name}: no {split} clip has a label, so no regression can be fitted and no "
                "network compared. Give labels in a metadata.csv; an autoencoder alone needs none: "
                "audioattn train sleepiness"
            )
    names = choose(networks, tuple(NETWORKS), "network")
    keys = [(name, seed) for seed in choose_numbers("seeds", seeds, int, "whole numbers from 0") for name in names]
    configs = [dataclasses.replace(config, network=name, seed=seed) for name, seed in keys]
    runs = run_all(autoencode, configs, root, shown=("network", "seed"))
    return {key: [run] for key, run in zip(keys, runs, strict=True)}


def _compare(config: Config, encoders: Mapping[tuple[str, int], list[Run]], root: str | Path) -> RegressionStudy:
    """Each network, and where there are several all together, on what its autoencoders of a seed give."""
    runs = [regress(dataclasses.replace(config, seed=seed), of, root) for (_, seed), of in encoders.items()]
    if len({name for name, _ in encoders}) > 1:
        for seed in dict.fromkeys(seed for _, seed in encoders):
            fused = [run for (_, number), of in encoders.items() if number == seed for run in of]
            runs.append(regress(dataclasses.replace(config, seed=seed), fused, root))
    prepared = prepare(config)
    titles = {name: network.title for name, network in NETWORKS.items()}
    trained = tuple(run for of in encoders.values() for run in of)
    return RegressionStudy(tuple(runs), (baseline(config, root),), prepared.group_of, titles, trained)
