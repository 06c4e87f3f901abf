"""Checks that the configurations of all experiments share."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, Self, TypeVar

from ..declarations import check_declared, shorten
from ..errors import ConfigError

__all__ = ["WithPresets", "check_declared", "choose_numbers", "require", "require_choice"]

N = TypeVar("N", int, float)


def require(config: Any, name: str, holds: bool, what: str) -> None:
    """Raise a :class:`ConfigError` that names the field, its value and what it must be, unless ``holds``."""
    if not holds:
        raise ConfigError(f"{name} is {shorten(getattr(config, name))}; it must be {what}")


def require_choice(config: Any, name: str, choices: Sequence[str]) -> None:
    """Raise a :class:`ConfigError` that lists the choices unless the field is one of them."""
    require(config, name, getattr(config, name) in choices, f"one of {', '.join(choices)}")


class WithPresets:
    """A configuration whose presets are class methods that take what is to be changed."""

    PRESETS: ClassVar[tuple[str, ...]] = ("smoke", "default", "paper")
    """Names of the presets."""

    @classmethod
    def preset(cls, name: str, **changes: Any) -> Self:
        """The preset called ``name`` with some fields changed; a change to ``None`` is none.

        Raises
        ------
        ConfigError
            When there is no such preset or no such field; the message lists what there is.
        """
        if not isinstance(name, str) or name not in cls.PRESETS:
            raise ConfigError(f"preset is {name!r}; it must be one of {', '.join(cls.PRESETS)}")
        known = [field.name for field in dataclasses.fields(cls)]  # type: ignore[arg-type]
        unknown = sorted(changes.keys() - set(known))
        if unknown:
            raise ConfigError(f"no field is called {', '.join(unknown)}; there are {', '.join(known)}")
        chosen: Self = getattr(cls, name)(**{field: value for field, value in changes.items() if value is not None})
        return chosen


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
