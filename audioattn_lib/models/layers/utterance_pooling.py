"""Poolings of an utterance by name: from frames of any number to one vector.

All of them have one interface, ``context, record = pooling(values, lengths)``
with values ``(B, T, D)``, and say the width of their context, ``out_features``.

Sources: statistics: Snyder et al., *X-vectors: robust DNN embeddings for
speaker recognition*, ICASSP 2018; attentive statistics: Okabe et al.,
Interspeech 2018; the others: :mod:`audioattn_lib.attention.pooling.multi_head`.
Book page: ``accents``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from torch import nn

from audioattn_lib.attention.pooling.frames import MeanAttention
from audioattn_lib.attention.pooling.multi_head import DoubleMultiHeadPooling, MultiHeadPooling
from audioattn_lib.attention.pooling.registry import MECHANISMS
from audioattn_lib.core.errors import ConfigError

from .statistics_pooling import MeanStatisticsPooling, build_pooling

__all__ = ["DENSITY", "POOLINGS", "Pooling", "build_utterance_pooling"]


@dataclass(frozen=True)
class Pooling:
    """One way to pool an utterance.

    Parameters
    ----------
    name, title
        As in configurations and records; as in tables and legends.
    attends
        True where a map or a density gives frames their weights.
    has_heads
        True where there are several heads.
    """

    name: str
    title: str
    attends: bool = True
    has_heads: bool = False


POOLINGS: Mapping[str, Pooling] = MappingProxyType(
    {
        pooling.name: pooling
        for pooling in (
            Pooling("mean", "Mean", attends=False),
            Pooling("statistics", "Statistics", attends=False),
            Pooling("self_attention", "Self attention"),
            Pooling("attentive_statistics", "Attentive statistics"),
            Pooling("multi_head", "Multi-head", has_heads=True),
            Pooling("multi_query", "Multi-query multi-head", has_heads=True),
            Pooling("double_multi_head", "Double multi-head", has_heads=True),
            Pooling("continuous", "Continuous"),
        )
    }
)
"""Every pooling by name."""

DENSITY = "triweight"
"""Default density of the continuous pooling."""

_HIDDEN_SIZE = 128


def build_utterance_pooling(
    name: str,
    features: int,
    *,
    heads: int = 32,
    attention: str = "softmax",
    scale: str = "dim",
    initial_queries: str = "xavier",
    head_dropout: float = 0.3,
    n_queries: int = 2,
) -> tuple[nn.Module, int]:
    """Make a pooling by name, and return it with the width of its context.

    Parameters
    ----------
    name
        One of :data:`POOLINGS`.
    features
        Width of the frames, at least 1.
    heads, scale, initial_queries, head_dropout, n_queries
        Of the poolings that have them; see :mod:`~audioattn_lib.attention.pooling.multi_head`.
    attention
        The map or the density of those that attend, one of
        :data:`~audioattn_lib.attention.pooling.registry.MECHANISMS`. The continuous pooling
        is self attention read by a density, :data:`DENSITY` for ``"softmax"``.

    Raises
    ------
    ConfigError
        If a name is unknown or an option is out of range.

    Notes
    -----
    Book page: ``accents``.
    """
    if name not in POOLINGS:
        raise ConfigError(f"pooling is {name!r}; it must be one of {', '.join(POOLINGS)}")
    if attention not in MECHANISMS:
        raise ConfigError(f"attention is {attention!r}; it must be one of {', '.join(MECHANISMS)}")
    if name == "mean":
        return MeanAttention(), features
    if name == "statistics":
        return MeanStatisticsPooling(), 2 * features
    if name == "attentive_statistics":
        return build_pooling(attention, features, hidden_size=min(_HIDDEN_SIZE, features)), 2 * features
    options: dict[str, Any] = {"attention": attention, "scale": scale, "initial_queries": initial_queries, "name": name}
    pooling: MultiHeadPooling | DoubleMultiHeadPooling
    if name == "double_multi_head":
        pooling = DoubleMultiHeadPooling(features, heads, head_dropout=head_dropout, **options)
    elif name == "continuous":
        density = DENSITY if attention == "softmax" else attention
        if MECHANISMS[density].domain != "continuous":
            raise ConfigError(
                f"attention is {attention!r}; with the continuous pooling it must be a density or softmax"
            )
        pooling = MultiHeadPooling(features, **{**options, "attention": density})
    elif name == "self_attention":
        pooling = MultiHeadPooling(features, **options)
    else:
        pooling = MultiHeadPooling(features, heads, n_queries=n_queries if name == "multi_query" else 1, **options)
    return pooling, pooling.out_features
