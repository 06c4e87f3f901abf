"""The linear baseline of the study on mixtures: logistic regression on mean and deviation of the principal components.

It is a convex problem that is solved to the end, so it says what is in mean and deviation, however long networks train.

Book page: ``mixtures_results``.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from audioattn_lib.training.run_directory import Run

from ..common.baseline import fit_linear_baseline, summarise_split
from ..common.classification import predictions_table
from ..common.results import write_results
from ..common.runs import RunContext, make_run, nothing_to_train, open_run, resolve_fold
from .config import Config
from .corpus import Prepared, prepare, whiten
from .experiment import NAME

__all__ = ["BASELINE", "baseline"]

BASELINE = "linear"
"""Stands for a pooling in tables."""
_OF_BASELINE = (
    *("data", "fold", "seed", "sample_rate", "n_mels", "frame_encoder", "frame_layer", "window", "averaged"),
    *("components", "batch_size", "skip_bad_clips"),
)


def baseline(config: Config, root: str | Path = "runs") -> Run:
    """Fit the linear baseline on a fold and test it; its strength is chosen on the validation clips.

    Notes
    -----
    Book page: ``mixtures_results``.
    """
    prepared = prepare(config)
    config = resolve_fold(config, prepared.manifest)
    settings = {"pooling": BASELINE, **config.select(*_OF_BASELINE)}
    return make_run(open_run(__name__, NAME, config, prepared, root, settings), nothing_to_train, _fit)


def _fit(context: RunContext[Config, Prepared], _: None) -> None:
    config, prepared = context.config, context.prepared
    split = prepared.split(config)
    store = whiten(prepared, config.components, split.train.tobytes())
    inputs = summarise_split(split, lambda rows: prepared.loader(rows, config, context.device, store=store))
    train, valid = prepared.targets[split.train], prepared.targets[split.valid]
    logits = fit_linear_baseline(inputs, train, valid, len(prepared.classes))
    rows = split.test
    table = predictions_table(prepared, rows, logits).assign(group=prepared.groups[rows], share=prepared.shares[rows])
    table["mass_inside"] = np.nan
    write_results(context, table, {"accuracy": float(np.mean(table["label"] == table["predicted"]))})
