"""Checks that the configurations of all experiments share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..errors import ConfigError

__all__ = ["require", "require_choice"]


def require(config: Any, name: str, holds: bool, what: str) -> None:
    """Raise a :class:`ConfigError` that names the field, its value and what it must be, unless ``holds``."""
    if not holds:
        raise ConfigError(f"{name} is {getattr(config, name)!r}; it must be {what}")


def require_choice(config: Any, name: str, choices: Sequence[str]) -> None:
    """Raise a :class:`ConfigError` that lists the choices unless the field is one of them."""
    require(config, name, getattr(config, name) in choices, f"one of {', '.join(choices)}")
