"""Checks that the configurations of all experiments share."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from ..errors import ConfigError

__all__ = ["choose_numbers", "make_preset", "require", "require_choice"]

C = TypeVar("C")
N = TypeVar("N", int, float)


def require(config: Any, name: str, holds: bool, what: str) -> None:
    """Raise a :class:`ConfigError` that names the field, its value and what it must be, unless ``holds``."""
    if not holds:
        raise ConfigError(f"{name} is {getattr(config, name)!r}; it must be {what}")


def require_choice(config: Any, name: str, choices: Sequence[str]) -> None:
    """Raise a :class:`ConfigError` that lists the choices unless the field is one of them."""
    require(config, name, getattr(config, name) in choices, f"one of {', '.join(choices)}")


def make_preset(config: type[C], presets: Mapping[str, Callable[..., C]], name: str, changes: Mapping[str, Any]) -> C:
    """The preset called ``name`` with some fields changed; a change to ``None`` is none.

    Raises
    ------
    ConfigError
        When there is no such preset or no such field; the message lists what there is.
    """
    if name not in presets:
        raise ConfigError(f"preset is {name!r}; it must be one of {', '.join(presets)}")
    known = [field.name for field in dataclasses.fields(config)]  # type: ignore[arg-type]
    unknown = sorted(changes.keys() - set(known))
    if unknown:
        raise ConfigError(f"no field is called {', '.join(unknown)}; there are {', '.join(known)}")
    return presets[name](**{field: value for field, value in changes.items() if value is not None})


def choose_numbers(name: str, given: str | float | Iterable[Any], kind: type[N], what: str) -> list[N]:
    """Numbers of which there may be several: one, some joined by commas, or a list; ``kind`` is int or float.

    Raises
    ------
    ConfigError
        When something is no such number, or there is none; the message names ``name`` and says ``what`` they must be.
    """
    parts = given.split(",") if isinstance(given, str) else [given] if isinstance(given, (int, float)) else given
    try:
        found = [kind(part) for part in parts]
    except (TypeError, ValueError):
        found = []
    if not found:
        raise ConfigError(f"{name} is {given!r}; it must be {what}, joined by commas")
    return found
