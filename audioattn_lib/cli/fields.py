"""Dataclasses as command line options: the same fields, the same help, the same defaults.

Book page: commands.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any

import click

__all__ = ["given", "options_of"]


def options_of(config: type, presets: Mapping[str, Any] | None = None) -> list[click.Option]:
    """One option for each field of a dataclass.

    Parameters
    ----------
    config
        A dataclass whose fields have plain defaults. The help of a field is
        its declaration, see :mod:`audioattn_lib.core.declarations`, or its entry
        in the docstring of the class.
    presets
        Instances of it by name, from which an option may start: the help then
        gives the value in each where they differ. The first is the default.

    Notes
    -----
    An option that is not given has the value ``None``; see :func:`given`.
    """
    from audioattn_lib.core.declarations import declared_fields

    described, declared = _described(config), declared_fields(config)
    return [
        _option(
            field,
            declared[field.name].sentence or described.get(field.name, ""),
            {name: getattr(p, field.name) for name, p in (presets or {}).items()},
        )
        for field in dataclasses.fields(config)
    ]


def given(values: dict[str, Any]) -> dict[str, Any]:
    """Select the options that were given, by field."""
    return {name: value for name, value in values.items() if value is not None}


def _option(field: dataclasses.Field[Any], described: str, presets: Mapping[str, Any]) -> click.Option:
    text = described
    default = field.default
    name = field.name.replace("_", "-")
    values = {preset: _shown(value) for preset, value in presets.items()} or {"default": _shown(default)}
    first, *others = values.items()
    shown = "; ".join([first[1], *(f"{preset} {value}" for preset, value in others if value != first[1])])
    text = f"{text[:1].upper()}{text[1:]}{'' if text.endswith('.') else '.'}  [default: {shown}]"
    if isinstance(default, bool):
        return click.Option([f"--{name}/--no-{name}", field.name], default=None, show_default=False, help=text)
    kind: Any = type(default)
    if isinstance(default, tuple):
        kind = _List(type(default[0]) if default else str)
    return click.Option([f"--{name}", field.name], type=kind, default=None, show_default=False, help=text)


def _shown(value: object) -> str:
    return (",".join(map(str, value)) if isinstance(value, tuple) else str(value)) or "empty"


class _List(click.ParamType):
    """Values joined by commas."""

    def __init__(self, item: Callable[[str], Any]) -> None:
        self.item = item
        self.name = "list"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[Any, ...]:
        """Split and convert each item."""
        try:
            return tuple(self.item(text.strip()) for text in value.split(",") if text.strip())
        except ValueError:
            self.fail(f"{value!r} is not a list of {self.item.__name__} joined by commas", param, ctx)


def _described(config: type) -> dict[str, str]:
    """Entries of the section Parameters of a NumPy docstring, as one line each."""
    text = inspect.getdoc(config) or ""
    section = re.search(r"Parameters\n-+\n(.*?)(?:\n\n\w[^\n]*\n-+\n|\Z)", text, re.DOTALL)
    entries: dict[str, str] = {}
    names: list[str] = []
    for line in section[1].splitlines() if section else []:
        if line and not line[0].isspace():
            names = [name.strip() for name in line.split(":")[0].split(",")]
        elif line.strip():
            for name in names:
                entries[name] = f"{entries.get(name, '')} {line.strip()}".strip().replace("``", "")
    return entries
