"""Training of a network by the settings of a configuration, or with 0 epochs its evaluation as it is."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from audioattn_lib.attention.record.record import AttentionRecord
from audioattn_lib.core.ranks import is_main_process
from audioattn_lib.training.checkpoint import save_best
from audioattn_lib.training.loop import fit
from audioattn_lib.training.probes import Probe
from audioattn_lib.training.settings import TrainingSettings

from .runs import RunContext

__all__ = ["count_parameters", "fit_network", "look_at"]

_LOOKED_AT = 3

M = TypeVar("M", bound=nn.Module)


def fit_network(
    context: RunContext[Any, Any],
    model: M,
    *,
    optimizer: torch.optim.Optimizer,
    learning_rate: Callable[[int], float],
    train: Any,
    loss: Callable[[nn.Module, Any], tuple[Tensor, Tensor]],
    evaluate: Callable[[nn.Module], Mapping[str, float]],
    about: Mapping[str, str],
    illustrate: Callable[[nn.Module], Mapping[str, Tensor]] | None = None,
    look: Probe | None = None,
    **settings: Any,
) -> M:
    """Train a network and give it its best weights; with 0 epochs save it as it is, with one row of history.

    Parameters
    ----------
    context
        Its configuration says epochs, monitored score, largest norm of the gradient and precision.
    model
        Is changed, and returned in evaluation mode on the device.
    optimizer, learning_rate, train, loss, evaluate, illustrate, look
        See :func:`~audioattn_lib.training.loop.fit`.
    about
        Header of the file of weights, see :func:`~audioattn_lib.experiments.common.initial_weights.describe_weights`.
    **settings
        More of :class:`~audioattn_lib.training.settings.TrainingSettings`, or other values than the configuration's.
    """
    config, names = context.config, context.prepared.manifest.ids
    options = {"epochs": config.epochs, "max_grad_norm": config.max_grad_norm, "precision": config.precision}
    options["monitor"] = getattr(config, "monitor", "loss")
    options |= settings
    if options["epochs"]:
        fit(
            model,
            optimizer,
            learning_rate,
            train,
            loss,
            evaluate,
            TrainingSettings(about=about, **options),
            context.directory,
            device=context.device,
            describe=lambda batch: ", ".join(names[int(i)] for i in batch.indices),
            illustrate=illustrate,
            look=look,
        )
    elif is_main_process():
        _keep_as_it_is(context, model.to(context.device).eval(), evaluate, about)
    return model


@torch.no_grad()
def _keep_as_it_is(
    context: RunContext[Any, Any],
    model: nn.Module,
    evaluate: Callable[[nn.Module], Mapping[str, float]],
    about: Mapping[str, str],
) -> None:
    save_best(context.directory.path / "checkpoint", model, about)
    scores = {f"valid_{name}": score for name, score in evaluate(model).items()}
    context.directory.write_table("history.csv", pd.DataFrame([{"epoch": 0, "seconds": 0.0, **scores}]))


def look_at(
    context: RunContext[Any, Any],
    rows: NDArray[np.int64],
    load: Callable[[NDArray[np.int64]], Any],
    attend: Callable[[Any, Any], AttentionRecord] = lambda network, batch: network(
        batch.features, batch.lengths, record=True
    )[1],
) -> Probe | None:
    """The attention over three clips, evenly out of ``rows``, after each epoch; None of no rows.

    Parameters
    ----------
    context
        Its corpus names the clips.
    rows
        Clips to choose from: those of validation.
    load
        From rows to batches in their order.
    attend
        From network and batch to the record.
    """
    if not len(rows):
        return None
    selected = rows[np.unique(np.linspace(0, len(rows) - 1, _LOOKED_AT).round().astype(int))]
    manifest = context.prepared.manifest
    names, durations = [manifest.ids[int(row)] for row in selected], manifest.durations[selected]
    batches = functools.cache(lambda: load(selected))

    def look(network: nn.Module) -> AttentionRecord:
        record = AttentionRecord.concatenate([attend(network, batch) for batch in batches().epoch(0)])
        return record if record.is_empty else record.named(names, durations)

    return look


def count_parameters(model: nn.Module) -> int:
    """Number of trained and fixed parameters."""
    return sum(parameter.numel() for parameter in model.parameters())
