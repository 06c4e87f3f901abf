"""Domain methods against device mismatch by name: normalisation of the bands of a clip, or augmentation in training.

Book page: ``scenes_and_instruments``.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from audioattn_lib.core.errors import ConfigError
from audioattn_lib.models.layers.input_scaling import BAND_NORMALIZATIONS

__all__ = ["DOMAIN_METHODS", "NONE", "domain_method_of", "domain_method_title", "parse_domain_method"]

NONE = "none"
DOMAIN_METHODS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        **{name: {"band_normalization": name} for name in BAND_NORMALIZATIONS},
        "mixstyle": {"mixstyle_prob": 0.7},
        "impulse_responses": {"ir_prob": 0.5},
    }
)
"""Fields of the configuration that each domain method sets; ``none`` and the names of centrings set the centring."""

_TITLES = {
    "corpus": "standardised bands",
    "clip": "centred bands",
    "clip_scaled": "normalised bands",
    "mixstyle": "Freq-MixStyle",
    "impulse_responses": "device responses",
}


def parse_domain_method(name: str) -> dict[str, Any]:
    """Fields that a domain method sets: one out of :data:`DOMAIN_METHODS`, or several joined by ``+``.

    Raises
    ------
    ConfigError
        When there is no such domain method, with a list of those that there are, or two of them set one field.

    Notes
    -----
    Book page: ``scenes_and_instruments``.
    """
    fields: dict[str, Any] = {"band_normalization": NONE}
    names: set[str] = set()
    for method in (method.strip() for method in name.split("+")):
        if method not in DOMAIN_METHODS:
            raise ConfigError(
                f"domain method is {method!r}; it must be one of {', '.join(DOMAIN_METHODS)}, or several joined by +"
            )
        twice = names & set(DOMAIN_METHODS[method])
        if twice:
            raise ConfigError(f"the domain method {name!r} sets {', '.join(sorted(twice))} twice; join different ones")
        names |= set(DOMAIN_METHODS[method])
        fields |= DOMAIN_METHODS[method]
    return fields


def domain_method_of(config: Mapping[str, Any]) -> str:
    """The name of what a configuration does, as :func:`parse_domain_method` reads it.

    Notes
    -----
    Book page: ``scenes_and_instruments``.
    """
    parts = [config["band_normalization"]] if config["band_normalization"] != NONE else []
    parts += ["mixstyle"] if config.get("mixstyle_prob") else []
    parts += ["impulse_responses"] if config.get("ir_prob") else []
    return "+".join(parts) or NONE


def domain_method_title(name: str) -> str:
    """Return the title of a domain method for tables and plots; empty for none.

    Notes
    -----
    Book page: ``scenes_and_instruments``.
    """
    return "" if name == NONE else ", ".join(_TITLES[method] for method in name.split("+"))
