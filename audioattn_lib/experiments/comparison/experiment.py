"""The comparison: every mechanism on every task of the book that can take it, under one protocol.

One :class:`~audioattn_lib.experiments.comparison.config.Config` is one task; :func:`run` trains and tests its networks,
or reads the run back. Each network leaves a file as soon as it was tested, so a run that was killed goes on with the
next network.

Book page: ``comparison``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from audioattn_lib.training.run_directory import Run

from ..common.baseline import fit_linear_baseline, summarise_split
from ..common.results import write_classification, write_results
from ..common.runs import RunContext, make_run, nothing_to_train, open_run, resolve_fold
from .config import Config
from .corpus import Prepared, prepare
from .trial import Trial

__all__ = ["COSTS", "MEASURES", "NAME", "baseline", "run"]

NAME = "comparison"
MEASURES = ("attended", "held", "pointing", "event_share", "deletion_gain")
"""Columns of ``predictions.csv`` with a number for each clip beside its prediction."""
COSTS = ("milliseconds", "kilobytes", "parameters")
"""Columns of ``networks.csv`` that a network costs."""
_NETWORKS = "networks"

Context = RunContext[Config, Prepared]


def run(config: Config, root: str | Path = "runs") -> Run:
    """Train and test the mechanisms of one task; the same run is read back instead of made again.

    Parameters
    ----------
    config
        What to run.
    root
        Directory of all runs; this one goes to ``<root>/comparison/<key>/``.

    Raises
    ------
    ConfigError, ManifestError, AudioError, RunError
        When the configuration, the corpus, a sound or the run directory cannot be used.

    Notes
    -----
    Column ``split`` of the predictions names mechanism and seed. Book page: ``comparison``.
    """
    prepared = prepare(config)
    config = resolve_fold(config, prepared.manifest)
    return make_run(open_run(__name__, NAME, config, prepared, root), nothing_to_train, _make)


def baseline(config: Config, root: str | Path = "runs") -> Run:
    """The linear baseline on the same clips: logistic regression on mean and deviation of each mel band."""
    prepared = prepare(config)
    config = resolve_fold(config, prepared.manifest)
    fields = (
        "data",
        "fold",
        "protocol",
        "seed",
        "sample_rate",
        "n_mels",
        "hop_seconds",
        "skip_bad_clips",
        "batch_size",
    )
    settings = {"baseline": "linear", **config.select(*fields)}
    return make_run(open_run(__name__, NAME, config, prepared, root, settings), nothing_to_train, _fit_baseline)


def _fit_baseline(context: Context, _: None) -> None:
    config, prepared = context.config, context.prepared
    split = prepared.split(config)
    inputs = summarise_split(split, lambda rows: prepared.loader(rows, config, context.device))
    train, valid = prepared.targets[split.train], prepared.targets[split.valid]
    write_classification(context, split.test, fit_linear_baseline(inputs, train, valid, len(prepared.classes)))


def _make(context: Context, _: None) -> None:
    config, path = context.config, context.directory.path
    (path / _NETWORKS).mkdir(exist_ok=True)
    trial: Trial | None = None
    tables = []
    for mechanism in config.mechanisms:
        for seed in range(config.seed, config.seed + config.n_seeds):
            name = f"{_NETWORKS}/{mechanism}_{seed}.csv"
            if not (path / name).is_file():
                trial = trial or Trial(config, context.prepared, context.device)
                context.directory.write_table(name, trial.test(mechanism, seed))
            tables.append(pd.read_csv(path / name, dtype={"clip": str, "label": str, "predicted": str}))
    joined = pd.concat(tables, ignore_index=True)
    right = joined["label"] == joined["predicted"]
    networks = ["mechanism", "seed", *COSTS]
    context.directory.write_table("networks.csv", joined[networks].drop_duplicates().reset_index(drop=True))
    scores: dict[str, Any] = {
        "accuracy": float(right.mean()),
        "accuracy_of_mechanisms": right.groupby(joined["mechanism"], sort=False).mean().to_dict(),
        "n_clips": len(np.unique(joined["clip"])),
    }
    write_results(context, joined.drop(columns=networks), scores)
