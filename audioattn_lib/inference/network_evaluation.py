"""Attention of trained networks beside other attributions of the same networks, on the same clips, with a verdict.

Book page: ``urban_sound_results``.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from audioattn_lib.attention.record.record import AttentionRecord
from audioattn_lib.evaluation.attention.attributions import judge_attributions
from audioattn_lib.experiments.common.held_out import HeldOutNetwork
from audioattn_lib.inspection.tokens import TimeTokens

from .attention_evaluation import OTHERS, Evidence, measure_attention

__all__ = ["ATTENTION", "evaluation_table", "judge_networks", "measure_networks"]

ATTENTION = "attention"
"""Name of the attention of a network among its attributions."""
_QUICK: dict[str, Any] = {"grid": (1, 40), "fractions": (0.0, 0.1, 0.2, 0.35, 0.6, 1.0), "n_draws": 500}


def measure_networks(
    networks: Mapping[str, HeldOutNetwork], others: Sequence[str] | None = None, *, seed: int = 0, **settings: Any
) -> dict[str, Evidence]:
    """Judge the attention of networks of this book beside integrated gradients, occlusion and random numbers.

    Parameters
    ----------
    networks
        By the name to show, such as :func:`~audioattn_lib.experiments.urban_sound.held_out_networks` gives them.
    others
        Of :data:`~audioattn_lib.inference.attention_evaluation.OTHERS`; by default all of them, and random numbers
        alone where captum is not installed.
    seed
        Of random attributions, shuffled weights and resampling.
    **settings
        More of :func:`~audioattn_lib.inference.attention_evaluation.measure_attention`. By default a clip has 40 parts
        in time, and curves have 6 points, closest where they are steepest.

    Returns
    -------
    dict
        Evidence of each network. Its attributions are :data:`ATTENTION`, further ones of its record, and ``others``.

    Raises
    ------
    ConfigError
        When captum is not installed and ``others`` needs it.

    Notes
    -----
    All are made for the class that the network answers, and are measured over time. Book page:
    ``urban_sound_results``.
    """
    if others is None:
        others = OTHERS if importlib.util.find_spec("captum") else ("random",)
    measured = {}
    for title, network in networks.items():
        with torch.no_grad():
            record = _recorded(network.model.eval(), network.features)
        attributions: dict[str, Any] = {ATTENTION: _recorded}
        attributions |= {name: _changed(change) for name, change in network.attributions.items()}
        measured[title] = measure_attention(
            network.model,
            network.features,
            forward=lambda model, features: model(features, _lengths(features))[0],
            tokens=TimeTokens(record.clock.period, record.clock.start + record.clock.period / 2),
            reductions=(),
            others=others,
            attributions=attributions,
            events=network.events if any(map(len, network.events)) else None,
            groups=network.groups,
            seed=seed,
            **(_QUICK | settings),
        )
    return measured


def evaluation_table(measured: Mapping[str, Evidence]) -> pd.DataFrame:
    """Join the tables of several networks for :func:`~audioattn_lib.display.plot_attention_evaluation`.

    Parameters
    ----------
    measured
        Of :func:`measure_networks`.

    Notes
    -----
    The first column names network and attribution. Support is left out: gradients have none. Book page:
    ``urban_sound_results``.
    """
    tables = [
        each.table.reset_index().assign(attribution=lambda rows, title=title: title + ": " + rows["attribution"])
        for title, each in measured.items()
    ]
    joined = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=["attribution", "measure"])
    joined["attribution"] = joined["attribution"].str.replace("_", " ")
    return joined[joined["measure"] != "support_iou"].reset_index(drop=True)


def judge_networks(measured: Mapping[str, Evidence]) -> pd.DataFrame:
    """Verdict on each attribution of each network in words; see :func:`.attributions.judge_attributions`.

    Parameters
    ----------
    measured
        Of :func:`measure_networks`.

    Notes
    -----
    Book page: ``urban_sound_results``.
    """
    if not measured:
        return pd.DataFrame()
    judged = pd.concat({title: judge_attributions(each.table) for title, each in measured.items()}, names=["network"])
    return judged.rename(index=lambda name: str(name).replace("_", " "), level="attribution")


def _recorded(model: nn.Module, features: Tensor) -> AttentionRecord:
    record: AttentionRecord = model(features, _lengths(features), record=True)[1]
    return record


def _changed(
    change: Callable[[AttentionRecord], AttentionRecord],
) -> Callable[[nn.Module, Tensor], AttentionRecord]:
    return lambda model, features: change(_recorded(model, features))


def _lengths(features: Tensor) -> Tensor:
    return torch.full((len(features),), features.shape[1], device=features.device)
