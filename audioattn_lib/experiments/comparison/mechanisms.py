"""Mechanisms of the comparison: from frames of one width to one vector a clip, each built in the same way.

A mechanism of the library that cannot take part is refused by name, with the reason.

Book page: ``comparison``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any

from torch import nn

from audioattn_lib.attention.maps.learned import LearnedEntmax
from audioattn_lib.attention.pooling import registry
from audioattn_lib.attention.pooling.frames import ContinuousAttention, DiscreteAttention
from audioattn_lib.attention.pooling.multi_head import DoubleMultiHeadPooling, MultiHeadPooling

from .slot_pooling import SlotPooling

__all__ = ["CONTROL", "FAMILIES", "HEADS", "MECHANISMS", "MODES", "REFUSED", "Mechanism"]

CONTROL = "mean"
"""Equal weights for all frames: what every other mechanism is compared with."""
HEADS = 4
"""Heads of the forms with several."""
MODES = 2
"""Densities of a mixture."""
_SCORER = 32
_N_BASIS = 32

FAMILIES: Mapping[str, str] = MappingProxyType(
    {
        "pooling": "Pooling",
        "map": "Map",
        "density": "Density",
        "fused": "Density and softmax",
        "mixture": "Mixture of densities",
        "heads": "Queries and heads",
        "slots": "Slots",
    }
)
"""Families of mechanisms by name, with their titles."""

Build = Callable[[int], nn.Module]


@dataclass(frozen=True)
class Mechanism:
    """One mechanism of the comparison.

    Parameters
    ----------
    name
        As in configurations and records.
    title
        As in tables and pictures.
    family
        One of :data:`FAMILIES`.
    build
        From the width of the frames, a multiple of :data:`HEADS`, to a module with the signature of every attention.
    """

    name: str
    title: str
    family: str
    build: Build

    @property
    def family_title(self) -> str:
        """Title of the family."""
        return FAMILIES[self.family]


def _registered(name: str, **options: Any) -> Build:
    """Build a mechanism of the registry: one head, or several on a share of the features each."""
    variant = registry.MECHANISMS.get(name)
    settings: dict[str, Any] = {}
    if variant is not None:
        settings = {"hidden_size": _SCORER}
        settings |= {"scaled": True} if variant.domain == "discrete" else {"n_basis": _N_BASIS, "fused": False}
    return partial(_build, name, settings | options)


def _build(name: str, options: Mapping[str, Any], features: int) -> nn.Module:
    return registry.build_attention(name, features, **options)


def _learned_map(features: int) -> nn.Module:
    return DiscreteAttention(features, LearnedEntmax(), hidden_size=_SCORER, scaled=True, name="learned_map")


def _learned_density(features: int) -> nn.Module:
    options: dict[str, Any] = {"hidden_size": _SCORER, "n_basis": _N_BASIS, "fused": False, "name": "learned_density"}
    return ContinuousAttention(features, 1.5, learn_alpha=True, **options)


def _statistics(features: int) -> nn.Module:
    options: dict[str, Any] = {"hidden_size": _SCORER, "n_basis": _N_BASIS, "fused": False, "name": "statistics"}
    return ContinuousAttention(features, 1.0, with_std=True, **options)


def _queries(heads: int, attention: str, features: int) -> nn.Module:
    return MultiHeadPooling(features, heads, attention=attention, n_basis=_N_BASIS)


def _double(features: int) -> nn.Module:
    return DoubleMultiHeadPooling(features, HEADS, head_dropout=0.0)


def _all() -> list[Mechanism]:
    variants = registry.MECHANISMS.values()
    maps = [each for each in variants if each.domain == "discrete"]
    densities = [each for each in variants if each.domain == "continuous"]
    few = f"{HEADS} heads"
    return [
        Mechanism("mean", "Mean", "pooling", _registered("mean")),
        Mechanism("max", "Maximum", "pooling", _registered("max")),
        *(Mechanism(each.name, each.title, "map", _registered(each.name)) for each in maps),
        Mechanism("learned_map", "Entmax, learned alpha", "map", _learned_map),
        *(Mechanism(each.name, each.title, "density", _registered(each.name)) for each in densities),
        Mechanism("learned_density", "Density, learned alpha", "density", _learned_density),
        Mechanism("statistics", "Gaussian mean and deviation", "density", _statistics),
        *(
            Mechanism(f"{each.name}_fused", f"{each.title}, fused", "fused", _registered(each.name, fused=True))
            for each in densities
        ),
        *(
            Mechanism(
                f"{each.name}_mixture",
                f"{each.title}, {MODES} modes",
                "mixture",
                _registered(each.name, n_components=MODES),
            )
            for each in densities
        ),
        Mechanism("query", "One query", "heads", partial(_queries, 1, "softmax")),
        *(
            Mechanism(f"{each.name}_heads", f"{each.title}, {few}", "heads", partial(_queries, HEADS, each.name))
            for each in variants
        ),
        Mechanism("additive_heads", f"Softmax, additive scores, {few}", "heads", _registered("softmax", heads=HEADS)),
        Mechanism("double_multi_head", f"Double multi-head, {few}", "heads", _double),
        Mechanism("slots", "Slots", "slots", SlotPooling),
    ]


MECHANISMS: Mapping[str, Mechanism] = MappingProxyType({each.name: each for each in _all()})
"""Mechanisms by name, in the order of the tables; the first is the control."""

REFUSED: Mapping[str, str] = MappingProxyType(
    {
        "TimeFrequencyAttention": "reads cells of time and frequency; here the encoder gives one vector a frame",
        "select_windows": "chooses windows to hear again at a finer hop; it makes no vector of the frames it has",
        "select_runs": "chooses runs of frames to hear again, as `select_windows` does",
        "dot_product_attention": "attends from frame to frame under a pattern; its output is frames again",
        "Seq2SeqAutoencoder": "attends from a decoder that writes frames; there is no decoder here",
    }
)
"""What the library has and the comparison cannot take, with the reason."""
