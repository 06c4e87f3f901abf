"""Check of the values of a dataclass against its declared types.

One function for all configurations: it lies below all floors, as
:mod:`audioattn_lib.core.errors` does.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import reprlib
import types
import typing
from collections.abc import Collection
from typing import Any

from .errors import ConfigError

__all__ = ["check_declared", "conform", "shorten"]

_LARGEST = 2**63 - 1


def check_declared(config: Any, as_text: Collection[str] = ()) -> None:
    """Check every field of a dataclass against its declared type; a whole number in a field of type float becomes one.

    Parameters
    ----------
    config
        Instance of a dataclass, frozen or not. Checked are fields of type ``bool``, ``int``, ``float``, ``str``,
        ``tuple[..., ...]`` of these, and any of them ``| None``; others are left alone.
    as_text
        Fields of text in which a whole number is meant as text: the command line knows no difference.

    Raises
    ------
    ConfigError
        When a value has another type, a number is not finite or a whole number needs more than 64 bits; the message
        names the field.
    """
    for name, kind in _declared(type(config)).items():  # type: ignore[arg-type]
        value = getattr(config, name)
        if name in as_text and isinstance(value, int) and not isinstance(value, bool):
            value = str(conform(name, value, int))
        object.__setattr__(config, name, conform(name, value, kind))


def conform(name: str, value: Any, kind: Any) -> Any:
    """The value as the type ``kind``, or a :class:`ConfigError` that names it ``name``; see :func:`check_declared`."""
    options = typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,)
    if value is None and types.NoneType in options:
        return None
    (kind, *others) = (option for option in options if option is not types.NoneType)
    if others:
        return value
    if typing.get_origin(kind) is tuple:
        item, *rest = typing.get_args(kind)
        if rest != [Ellipsis]:
            return value
        if not isinstance(value, (list, tuple)):
            raise _wrong(name, value, f"a list, each of it {_described(item)}")
        return tuple(conform(f"{name}[{i}]", part, item) for i, part in enumerate(value))
    if kind is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        if not _is_finite(value):
            raise _wrong(name, value, "a finite number")
        return float(value)
    if kind is int and isinstance(value, int) and not isinstance(value, bool):
        if abs(value) > _LARGEST:
            raise _wrong(name, value, "a whole number of at most 64 bits")
        return value
    if kind in (bool, str) and isinstance(value, kind):
        return value
    if kind in (bool, int, float, str):
        raise _wrong(name, value, _described(kind))
    return value


@functools.cache
def _declared(kind: type) -> dict[str, Any]:
    # Fields alone: a program that documents the class may have written annotations of its bases into it.
    fields = {field.name: field.type for field in dataclasses.fields(kind)}
    found: dict[str, Any] = {}
    for base in reversed(kind.__mro__):
        own = {name: fields[name] for name in vars(base).get("__annotations__", {}) if name in fields}
        holder = type(base.__name__, (), {"__annotations__": own, "__module__": base.__module__})
        found |= typing.get_type_hints(holder) if own else {}
    return {name: found[name] for name in fields}


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # of a whole number that no float holds
        return False


def _described(kind: Any) -> str:
    names = {bool: "True or False", int: "a whole number", float: "a number", str: "text"}
    return names.get(kind, str(kind))


def shorten(value: Any) -> str:
    """``repr`` of a value for a message, of about 100 characters: some items, three levels."""
    try:
        shown = _SHORT.repr(value)
    except Exception:  # more digits than Python writes
        return f"of type {type(value).__name__}"
    return shown if len(shown) <= 120 else f"{shown[:120]}..."


_SHORT = reprlib.Repr()
_SHORT.maxlevel = 3
_SHORT.maxstring = _SHORT.maxlong = _SHORT.maxother = 100
_SHORT.maxtuple = _SHORT.maxlist = _SHORT.maxdict = 8


def _wrong(name: str, value: Any, allowed: str) -> ConfigError:
    return ConfigError(f"{name} is {shorten(value)}; it must be {allowed}")
