"""Committed tables of results on a page: reading one, and saying what it was made with."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

RESULTS = Path(__file__).resolve().parents[2] / "benchmarks" / "results"
NOTHING = "No such results are committed yet."
_LABELS = {"from_nothing": "trained from scratch"}
_PRESET = re.compile(r"those of the preset (\w+)")
_SETTING = re.compile(r"(\w+) = (.+?)(?=, \w+ = |$)")


def read_table(directive: SphinxDirective, kind: Any, name: str) -> Any:
    """A table of results by its name, such as ``domains/instr_dg``; None where there is none.

    The page is built again when the file changes.
    """
    path = RESULTS / f"{name}.csv"
    return kind.read(path) if depend_on(directive, path) else None


def depend_on(directive: SphinxDirective, path: Path) -> bool:
    """Build the page again when a table or the file beside it changes; False where there is no table."""
    for file in (path, path.with_suffix(".json")):
        directive.env.note_dependency(str(file))
    return path.is_file()


def as_nodes(*blocks: Any) -> list[nodes.Node]:
    """Pictures, tables and boxes of the library on a page, one node each."""
    return [nodes.raw("", block.html(), format="html") for block in blocks]


def as_output(markup: str, *, one_line: bool = False) -> nodes.Node:
    """A table with the look of the output of a cell; numbers stay on one line where it is asked for."""
    return nodes.raw("", f"<div class='cell_output{' aa-one-line' * one_line}'>{markup}</div>", format="html")


def corpus_of(made_with: Mapping[str, Any]) -> str:
    """The corpus of a table in sentences, without the measures of a chapter that the table does not have."""
    return str(made_with.get("corpus", "")).replace(", so only deletion and insertion can be measured", "")


def facts(made_with: Mapping[str, Any], names: Sequence[str]) -> str:
    """What a table was made with in words, of those names that it has."""
    return "; ".join(
        f"{_LABELS.get(name, name.replace('_', ' '))}: {short(name, made_with[name])}"
        for name in names
        if made_with.get(name)
    )


def short(name: str, value: Any) -> str:
    """A fact as text: settings as code, a commit by its first twelve digits."""
    if name in ("settings", "from_nothing"):
        return _SETTING.sub(r"`\1=\2`", _PRESET.sub(r"preset `\1`", str(value)))
    return str(value)[:12] if name == "git_commit" else str(value)
