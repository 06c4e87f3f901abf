"""One run of the study on mixtures: one pooling, trained on some folds, tested on another.

Book page: ``mixtures_results``.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn

from audioattn_lib.evaluation.attention.localisation import mass_inside_events
from audioattn_lib.training.run_directory import Run
from audioattn_lib.training.schedules import cosine

from ..common.classification import classification_loss, label_events, predict, predictions_table, validate
from ..common.initial_weights import describe_weights
from ..common.results import write_results
from ..common.runs import RunContext, make_run, open_run, resolve_fold
from ..common.training import count_parameters, fit_network
from .config import Config
from .corpus import Prepared, prepare, whiten
from .network import build_network

__all__ = ["NAME", "run"]

NAME = "mixtures"

Context = RunContext[Config, Prepared]


def run(config: Config, root: str | Path = "runs") -> Run:
    """Train one pooling and test it; the same run is read back instead of made again.

    Parameters
    ----------
    config
        What to run.
    root
        Directory of all runs; this one goes to ``<root>/mixtures/<key>/``.

    Returns
    -------
    Run
        Its ``metrics`` have ``valid_loss``, by which settings are chosen; its ``predictions`` the share of each clip
        that an event fills, and the share of the attention that lies in it.

    Raises
    ------
    ConfigError, ManifestError, AudioError, RunError
        When the configuration, the corpus, a sound or the run directory cannot be used.

    Notes
    -----
    Book page: ``mixtures_results``.
    """
    prepared = prepare(config)
    config = resolve_fold(config, prepared.manifest)
    return make_run(open_run(__name__, NAME, config, prepared, root), _train, _test)


def _train(context: Context) -> nn.Module:
    config, prepared, device = context.config, context.prepared, context.device
    split = prepared.split(config)
    store = whiten(prepared, config.components, split.train.tobytes())
    train = prepared.loader(split.train, config, device, shuffle=True, store=store)
    valid = prepared.loader(split.valid, config, device, store=store)
    torch.manual_seed(config.seed)
    model = build_network(config, store.n_features, len(prepared.classes), prepared.clock)
    steps = config.epochs * len(train)
    return fit_network(
        context,
        model,
        optimizer=torch.optim.AdamW(model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay),
        learning_rate=cosine(config.learning_rate, steps, steps // 10),
        train=train,
        loss=lambda network, batch: classification_loss(network(batch.features, batch.lengths)[0], batch.targets),
        evaluate=lambda network: validate(network, valid),
        about=describe_weights(NAME, config, prepared.classes),
        tensorboard=False,
        validate_every=2,
    )


def _test(context: Context, model: nn.Module) -> None:
    config, prepared = context.config, context.prepared
    split = prepared.split(config)
    rows, store = split.test, whiten(prepared, config.components, split.train.tobytes())
    logits, record = predict(model, prepared.loader(rows, config, context.device, store=store))
    table = predictions_table(prepared, rows, logits).assign(group=prepared.groups[rows], share=prepared.shares[rows])
    spans = label_events(prepared.manifest, rows)
    table["mass_inside"] = mass_inside_events(record, spans)
    valid = prepared.loader(split.valid, config, context.device, store=store)
    with torch.no_grad():
        valid_loss = validate(model, valid)["loss"]
    scores = {
        "accuracy": float(np.mean(table["label"] == table["predicted"])),
        "valid_loss": valid_loss,
        "n_parameters": count_parameters(model),
        "n_clips": len(rows),
    }
    write_results(context, table, scores)
