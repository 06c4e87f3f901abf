"""Declared fields of a dataclass: type, allowed values, unit and help of a field, written once, beside its default.

.. code-block:: python

    @dataclass(frozen=True)
    class Config:
        dropout: Annotated[float, Range("[0, 1)"), "after each convolution"] = 0.15
        window: Annotated[Literal["hann", "hamming"], "shape of the window"] = "hann"

        def __post_init__(self) -> None:
            check_declared(self)

The check of the values, the options of the command line and the tables of the
book all read these declarations. It lies below all floors, as
:mod:`audioattn_lib.core.errors` does.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import re
import reprlib
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from .errors import ConfigError

__all__ = [
    "Convert",
    "Declared",
    "Matches",
    "OneOf",
    "Range",
    "Rule",
    "check_declared",
    "conform",
    "declared_fields",
    "number_as_text",
    "shorten",
]

_LARGEST = 2**63 - 1
_UNION = (types.UnionType, typing.Union)


class Rule(Protocol):
    """Values that a field allows; ``str(rule)`` ends the sentence "it must be ..."."""

    def allows(self, value: Any) -> bool: ...


@dataclass(frozen=True)
class Range:
    """Interval of a number, such as ``Range("[0, 1)")`` or ``Range("[1000, inf)", "hertz")``.

    Parameters
    ----------
    interval
        ``[`` or ``]`` beside an end that belongs to it, ``(`` or ``)`` beside one that does not.
    unit
        Of the ends, for messages and tables.
    """

    interval: str
    unit: str = ""

    def allows(self, value: float) -> bool:
        """Check that the number lies in the interval."""
        low, high = self._ends
        above = value >= low if self.interval[0] == "[" else value > low
        return above and (value <= high if self.interval[-1] == "]" else value < high)

    @property
    def _ends(self) -> tuple[float, float]:
        low, high = self.interval[1:-1].split(",")
        return float(low), float(high)

    def __str__(self) -> str:
        low, high = (end.strip() for end in self.interval[1:-1].split(","))
        text = f"in {self.interval}"
        if high == "inf":
            text = f"{'at least' if self.interval[0] == '[' else 'above'} {low}"
        unit = self.unit.removesuffix("s") if low == "1" and high == "inf" else self.unit
        return f"{text} {unit}".rstrip()


class OneOf:
    """One of some names; ``Literal`` says the same of names that are written out.

    Parameters
    ----------
    choices
        Text; of a mapping the keys.
    """

    def __init__(self, choices: Iterable[str]) -> None:
        self.choices = tuple(choices)

    def allows(self, value: str) -> bool:
        """Check that the text is one of the choices."""
        return value in self.choices

    def __str__(self) -> str:
        return f"one of {', '.join(choice or repr(choice) for choice in self.choices)}"


@dataclass(frozen=True)
class Matches:
    """Text that a regular expression matches as a whole; ``allowed`` says it in words."""

    pattern: str
    allowed: str

    def allows(self, value: str) -> bool:
        """Match the whole text with the pattern."""
        return re.fullmatch(self.pattern, value) is not None

    def __str__(self) -> str:
        return self.allowed


@dataclass(frozen=True)
class Convert:
    """Another way to write a value: ``function`` turns it into the declared type, and leaves anything else alone."""

    function: Callable[[Any], Any]


@dataclass(frozen=True)
class Declared:
    """Declaration of one field.

    Parameters
    ----------
    name
        Of the field.
    kind
        Its type.
    rules
        Allowed values; of a tuple, of each item.
    conversions
        Applied in turn before anything is checked.
    help
        Meaning of the field.
    """

    name: str
    kind: Any
    rules: tuple[Rule, ...] = ()
    conversions: tuple[Convert, ...] = ()
    help: str = ""

    @property
    def choices(self) -> tuple[str, ...]:
        """Names that are allowed; empty where any text or number is."""
        return next((rule.choices for rule in self.rules if isinstance(rule, OneOf)), ())

    @property
    def allowed(self) -> str:
        """Allowed values in words; empty where the type says it all."""
        return ", ".join(
            ", ".join(choice or "empty" for choice in rule.choices) if isinstance(rule, OneOf) else str(rule)
            for rule in self.rules
        )

    @property
    def type_name(self) -> str:
        """Type of the field in words."""
        if typing.get_origin(self.kind) is tuple:
            return "a list"
        return _described(str if self.choices else self.kind)

    @property
    def sentence(self) -> str:
        """Help and allowed values as one text; empty without help."""
        if not self.help or not self.rules:
            return self.help
        return f"{self.help}{'; one of ' if self.choices else ', '}{self.allowed}"

    def conform(self, value: Any) -> Any:
        """The value as it is declared.

        Raises
        ------
        ConfigError
            When it is not allowed; the message names the field, the value and what it must be.
        """
        for conversion in self.conversions:
            value = conversion.function(value)
        value = conform(self.name, value, self.kind)
        if self.rules and value is not None:
            for index, item in enumerate(value) if isinstance(value, tuple) else ((None, value),):
                name = self.name if index is None else f"{self.name}[{index}]"
                for rule in self.rules:
                    if not rule.allows(item):
                        raise _wrong(name, item, str(rule))
        return value


def check_declared(config: Any) -> None:
    """Check every field of a dataclass against its declaration; a whole number in a field of type float becomes one.

    Parameters
    ----------
    config
        Instance of a dataclass, frozen or not. Checked are fields of type ``bool``, ``int``, ``float``, ``str``,
        ``Literal[...]``, ``tuple[..., ...]`` of these, and any of them ``| None``; others are left alone.

    Raises
    ------
    ConfigError
        When a value has another type or is not allowed, a number is not finite or a whole number needs more than 64
        bits; the message names the field.
    """
    for field in declared_fields(type(config)).values():  # type: ignore[arg-type]
        object.__setattr__(config, field.name, field.conform(getattr(config, field.name)))


@functools.cache
def declared_fields(kind: type) -> Mapping[str, Declared]:
    """Declarations of the fields of a dataclass by name.

    A class that repeats a field with a plain type, to give it another default, keeps the rest of its declaration.
    """
    fields: dict[str, Declared] = {}
    for base in reversed(kind.__mro__):
        own = _own_fields(base)
        holder = type(base.__name__, (), {"__annotations__": own, "__module__": base.__module__})
        for name, hint in (typing.get_type_hints(holder, include_extras=True) if own else {}).items():
            declared = _declare(name, hint)
            fields[name] = _inherit(declared, fields[name]) if name in fields else declared
    return {field.name: fields[field.name] for field in dataclasses.fields(kind)}


def _own_fields(kind: type) -> dict[str, Any]:
    """Annotations of the fields that a class itself declares."""
    # Not its annotations: a program that documents the class may have written those of its bases into it.
    inherited = [base.__dataclass_fields__ for base in kind.__mro__[1:] if dataclasses.is_dataclass(base)]
    return {
        field.name: field.type
        for field in (dataclasses.fields(kind) if dataclasses.is_dataclass(kind) else ())
        if not any(fields.get(field.name) is field for fields in inherited)
    }


def _declare(name: str, hint: Any) -> Declared:
    kind, *annotations = typing.get_args(hint) if typing.get_origin(hint) is typing.Annotated else (hint,)
    rules = [item for item in annotations if not isinstance(item, (str, Convert))]
    plain = next((option for option in _options(kind) if option is not types.NoneType), kind)
    if typing.get_origin(plain) is typing.Literal:
        rules.insert(0, OneOf(typing.get_args(plain)))
    conversions = tuple(item for item in annotations if isinstance(item, Convert))
    texts = [item for item in annotations if isinstance(item, str)]
    return Declared(name, kind, tuple(rules), conversions, texts[-1] if texts else "")


def _inherit(own: Declared, inherited: Declared) -> Declared:
    return dataclasses.replace(
        own,
        rules=own.rules or inherited.rules,
        conversions=own.conversions or inherited.conversions,
        help=own.help or inherited.help,
    )


def _options(kind: Any) -> tuple[Any, ...]:
    return typing.get_args(kind) if typing.get_origin(kind) in _UNION else (kind,)


def conform(name: str, value: Any, kind: Any) -> Any:
    """The value as the type ``kind``, or a :class:`ConfigError` that names it ``name``; see :func:`check_declared`."""
    options = _options(kind)
    if value is None and types.NoneType in options:
        return None
    (kind, *others) = (option for option in options if option is not types.NoneType)
    if others:
        return value
    if typing.get_origin(kind) is typing.Literal:
        kind = str
    if typing.get_origin(kind) is tuple:
        item, *rest = typing.get_args(kind)
        if rest != [Ellipsis]:
            return value
        if not isinstance(value, (list, tuple)):
            raise _wrong(name, value, f"a list, each of it {_described(item)}")
        return tuple(conform(f"{name}[{i}]", element, item) for i, element in enumerate(value))
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


def number_as_text(value: Any) -> Any:
    """A whole number as text: the command line and papermill know no difference; anything else as it is."""
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) <= _LARGEST:
        return str(value)
    return value


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
