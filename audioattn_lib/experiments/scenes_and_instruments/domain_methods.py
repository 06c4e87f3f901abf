"""Treatments against device mismatch by name: normalisation of the bands of a clip, or augmentation in training.

Book page: ``scenes_and_instruments``.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from audioattn_lib.core.errors import ConfigError
from audioattn_lib.models.layers.input_scaling import CENTRINGS

__all__ = ["NONE", "TREATMENTS", "parse_treatment", "treatment_of", "treatment_title"]

NONE = "none"
TREATMENTS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        **{name: {"band_normalization": name} for name in CENTRINGS},
        "mixstyle": {"mixstyle_prob": 0.7},
        "impulse_responses": {"ir_prob": 0.5},
    }
)
"""Fields of the configuration that each treatment sets; ``none`` and the names of centrings set the centring."""

_TITLES = {
    "corpus": "standardised bands",
    "clip": "centred bands",
    "clip_scaled": "normalised bands",
    "mixstyle": "Freq-MixStyle",
    "impulse_responses": "device responses",
}


def parse_treatment(name: str) -> dict[str, Any]:
    """Fields that a treatment sets: one out of :data:`TREATMENTS`, or several joined by ``+``.

    Raises
    ------
    ConfigError
        When there is no such treatment, with a list of those that there are, or two of them set one field.

    Notes
    -----
    Book page: ``scenes_and_instruments``.
    """
    fields: dict[str, Any] = {"band_normalization": NONE}
    given: set[str] = set()
    for part in (part.strip() for part in name.split("+")):
        if part not in TREATMENTS:
            raise ConfigError(
                f"treatment is {part!r}; it must be one of {', '.join(TREATMENTS)}, or several of them joined by +"
            )
        twice = given & set(TREATMENTS[part])
        if twice:
            raise ConfigError(f"the treatment {name!r} sets {', '.join(sorted(twice))} twice; join different ones")
        given |= set(TREATMENTS[part])
        fields |= TREATMENTS[part]
    return fields


def treatment_of(config: Mapping[str, Any]) -> str:
    """The name of what a configuration does, as :func:`parse_treatment` reads it.

    Notes
    -----
    Book page: ``scenes_and_instruments``.
    """
    parts = [config["band_normalization"]] if config["band_normalization"] != NONE else []
    parts += ["mixstyle"] if config.get("mixstyle_prob") else []
    parts += ["impulse_responses"] if config.get("ir_prob") else []
    return "+".join(parts) or NONE


def treatment_title(name: str) -> str:
    """Return the title of a treatment for tables and plots; empty for none.

    Notes
    -----
    Book page: ``scenes_and_instruments``.
    """
    return "" if name == NONE else ", ".join(_TITLES[part] for part in name.split("+"))
