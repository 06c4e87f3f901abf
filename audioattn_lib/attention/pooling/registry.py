"""The eight published mechanisms by name: four discrete maps, four continuous densities.

Book page: ``urban_sound``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any

from torch import nn

from audioattn_lib.core.errors import ConfigError

from ..densities.beta_gaussian import ALPHAS
from ..maps.entmax import entmax
from .frames import ContinuousAttention, DiscreteAttention, MeanAttention
from .heads import MultiHeadAttention
from .maximum import MaxAttention

__all__ = ["MECHANISMS", "Variant", "build_attention", "from_published"]


@dataclass(frozen=True)
class Variant:
    """One published mechanism.

    Parameters
    ----------
    name
        As in configurations and records.
    title
        As in tables and legends.
    domain
        ``"discrete"`` or ``"continuous"``.
    alpha
        Of the entropy that its weights or its density maximise.
    """

    name: str
    title: str
    domain: str
    alpha: float


MECHANISMS: Mapping[str, Variant] = MappingProxyType(
    {
        variant.name: variant
        for variant in (
            Variant("softmax", "Softmax", "discrete", 1.0),
            Variant("entmax1333", "4/3-entmax", "discrete", 4 / 3),
            Variant("entmax15", "1.5-entmax", "discrete", 3 / 2),
            Variant("sparsemax", "Sparsemax", "discrete", 2.0),
            Variant("gaussian", "Gaussian density", "continuous", ALPHAS["gaussian"]),
            Variant("triweight", "Triweight density", "continuous", ALPHAS["triweight"]),
            Variant("biweight", "Biweight density", "continuous", ALPHAS["biweight"]),
            Variant("parabola", "Truncated parabola", "continuous", ALPHAS["parabola"]),
        )
    }
)
"""The published mechanisms by name."""

_WITHOUT_WEIGHTS: Mapping[str, Any] = {"mean": MeanAttention, "max": MaxAttention}

_PUBLISHED: Mapping[str, Mapping[str, str]] = {
    "discrete": {name: name for name, variant in MECHANISMS.items() if variant.domain == "discrete"},
    "continuous": {"softmax": "gaussian", "triweight": "triweight", "biweight": "biweight", "sparsemax": "parabola"},
}


def from_published(name: str, domain: str) -> str:
    """Our name of a mechanism that the published settings call by a map and a domain.

    Parameters
    ----------
    name
        As in ``attn_max_activation``, such as ``"softmax"``; or, with an empty domain, a name of ours.
    domain
        As in ``attn_domain``: ``"discrete"`` or ``"continuous"``; or ``""``, which leaves ``name``.

    Raises
    ------
    ConfigError
        When the domain has no such mechanism.

    Notes
    -----
    Softmax over time is a Gaussian density, and sparsemax over time a truncated parabola (Martins et al., 2022). Book
    page: ``urban_sound_published``.
    """
    if not domain:
        return name
    names = _PUBLISHED[domain]
    if name in names:
        return names[name]
    if name in MECHANISMS and MECHANISMS[name].domain == domain:
        return name
    raise ConfigError(f"attention is {name!r}; with attention_domain {domain} it must be one of {', '.join(names)}")


def build_attention(name: str, features: int, *, heads: int = 1, **options: Any) -> nn.Module:
    """Make an attention by name.

    Parameters
    ----------
    name
        One of :data:`MECHANISMS`, or ``"mean"`` for equal weights, or ``"max"`` for the maximum of every feature.
    features
        Width of the frames, at least 1.
    heads
        At least 1. Several attend each to an equal share of the features, as
        :class:`~audioattn_lib.attention.pooling.heads.MultiHeadAttention`.
    **options
        Of :class:`~audioattn_lib.attention.pooling.frames.DiscreteAttention` or
        :class:`~audioattn_lib.attention.pooling.frames.ContinuousAttention`; ``"mean"``
        and ``"max"`` have none.

    Raises
    ------
    ConfigError
        If the name is unknown, the features do not split into the heads, or an
        option is not one of the mechanism's.

    Notes
    -----
    Book page: ``urban_sound``.
    """
    if heads < 1 or features % heads:
        raise ConfigError(f"heads is {heads} for {features} features; it must be at least 1 and divide their number")
    if heads > 1 and name not in _WITHOUT_WEIGHTS:
        return MultiHeadAttention([build_attention(name, features // heads, **options) for _ in range(heads)])
    if heads > 1:
        raise ConfigError(f"heads is {heads}, which {name} does not have; leave it at 1")
    if name in _WITHOUT_WEIGHTS:
        make: Any = _WITHOUT_WEIGHTS[name]
    elif name not in MECHANISMS:
        raise ConfigError(f"attention is {name!r}; it must be one of {', '.join((*MECHANISMS, *_WITHOUT_WEIGHTS))}")
    elif MECHANISMS[name].domain == "discrete":
        make = partial(DiscreteAttention, features, partial(entmax, alpha=MECHANISMS[name].alpha), name=name)
    else:
        make = partial(ContinuousAttention, features, MECHANISMS[name].alpha, name=name)
    try:
        return make(**options)
    except TypeError as error:
        raise ConfigError(f"attention {name!r} and its options do not fit: {error}") from None
