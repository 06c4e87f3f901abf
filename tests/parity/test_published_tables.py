"""Names of ours in the tables of the book exist, and every published row has an answer."""

from __future__ import annotations

import ast
import dataclasses
import functools
import importlib
import inspect
import itertools
import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import click
import pytest

from audioattn_lib.automation.notebooks import Notebook
from audioattn_lib.cli import audioattn
from audioattn_lib.core.errors import ConfigError
from audioattn_lib.data import corpora
from audioattn_lib.experiments import EXPERIMENTS

pytestmark = pytest.mark.parity

ROOT = Path(__file__).resolve().parents[2]
PAGES = {
    "commands": "urban_sound",
    "urban_sound_published": "urban_sound",
    "sleepiness_published": "sleepiness",
    "accents_published": "accents",
    "scenes_published": "scenes_and_instruments",
    "playback_published": "playback",
}
"""Pages with tables, and the chapter whose options they name."""
ANSWERS = (
    "none",
    "nothing to call",
    "nothing to ask",
    "every command that takes a table",
    "the map of",
    "not here",
    "no ",
    "always",
    "fixed at",
    "from the",
    "start",
    "kept",
    "the same",
    "known by",
    "after every epoch",
    "one head",
    "cosine",
    "AdamW",
    "the mean",
    "the results",
    "a threshold",
    "slots compare",
    "classification only",
    "the encoders of",
    "the table below",
    "progress",
)
"""First words of a cell without a name: the substitute, or that there is none."""
FILES = {
    "config.json",
    "environment.json",
    "history.csv",
    "metrics.json",
    "predictions.csv",
    "attention.csv",
    "attention.npz",
    "embeddings.csv",
    "embeddings.npz",
    "features.nc",
    "checkpoint/",
    "tensorboard/",
    "files.lst",
}
"""Files that runs write and rows read, and the published list of files."""


@dataclasses.dataclass(frozen=True)
class Cell:
    """Entries of a table about ours, with their place."""

    page: str
    line: int
    published: str
    here: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def names(self) -> list[str]:
        """Code in a cell, and the targets of its links into the library."""
        roles = re.findall(r"{py:\w+}`~?([\w.]+)`", self.here)
        plain = re.sub(r"{[\w:]+}`[^`]*`", "", self.here)
        return [*roles, *re.findall(r"`([^`]+)`", plain)]

    @property
    def settings(self) -> dict[str, str]:
        """Fields with a value, which may need each other."""
        pairs = [name.partition("=") for name in self.names if re.fullmatch(r"\w+=[\w\"]+", name)]
        return {field: value.strip('"') for field, _, value in pairs if field in fields(PAGES[self.page])}


def cells(page: str) -> Iterator[Cell]:
    """Every cell that says what ours is: under ``here``, or a command of the project."""
    column = None
    for number, line in enumerate((ROOT / "book" / f"{page}.md").read_text().splitlines(), start=1):
        if not line.startswith("|"):
            column = None
            continue
        parts = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if column is None:
            heads = [cell.partition(",")[0] for cell in parts]
            wanted = [head for head in ("the published form here", "here", "say", "command") if head in heads]
            column = heads.index(wanted[0]) if wanted else -1
        elif column >= 0 and not set(line) <= set("|-: "):
            yield Cell(page, number, parts[0], parts[column])


def terms(page: str) -> Iterator[Cell]:
    """Definitions of options: a field, then values that it may have."""
    lines = (ROOT / "book" / f"{page}.md").read_text().splitlines()
    for number, (line, following) in enumerate(itertools.pairwise(lines), start=1):
        if following.startswith(": ") and line.startswith("`"):
            yield Cell(page, number, "", line)


CELLS = [cell for page in PAGES for cell in cells(page)]
TERMS = [term for page in PAGES for term in terms(page)]


def test_there_are_tables():
    assert {cell.page for cell in CELLS} == set(PAGES) - {"urban_sound_published"}
    assert len(CELLS) > 150


@pytest.mark.parametrize("cell", CELLS, ids=str)
def test_what_is_named_exists(cell):
    assert cell.here, f"{cell}: {cell.published} has no answer; say what to call, or none"
    faults = [
        fault
        for name in cell.names
        if f"`{name.rstrip('.')}`" not in cell.published and (fault := missing(name, PAGES[cell.page], cell.settings))
    ]
    assert not faults, f"{cell}: {'; '.join(faults)}"
    if not cell.names:
        beginning = re.sub(r"^\W+", "", cell.here)
        assert beginning.startswith(ANSWERS), (
            f"{cell}: {cell.here!r} names nothing; begin with none, or say what is done"
        )


@pytest.mark.parametrize("term", TERMS, ids=str)
def test_an_option_that_is_explained_exists(term):
    experiment = PAGES[term.page]
    names = [name for name in term.names if name in fields(experiment)]
    first = re.findall(r"`([^`]+)`", term.here)[0]
    if "=" in first:  # an option that only a value of another has
        assert not missing(first, experiment)
        return
    if first not in names and is_value(first, experiment):
        return
    assert first in names, f"{term}: no field {first}"
    for value in (name for name in term.names if name not in names and not re.search("[.=]", name)):
        taken = [not wrong_value(name, value, experiment, term.settings) for name in names]
        assert any(taken), f"{term}: {', '.join(names)} cannot be {value}"


def missing(name: str, experiment: str, beside: Mapping[str, str] = MappingProxyType({})) -> str:
    """Error of a name; empty where it exists."""
    if name.startswith("make "):
        target = name.split()[1]
        return "" if re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE) else f"no target {target}"
    if re.fullmatch(r"-\w{2,}", name):
        return ""  # a published option: ours have one letter, or two dashes
    if name.split()[0] in audioattn.commands and len(name.split()) > 1:
        return wrong_command(f"audioattn {name}")
    if "audioattn_lib" in name.split() or name.split()[0] == "audioattn":
        return wrong_command(name)
    if name.startswith("-"):
        words = name.split()
        options = {word for word in words if word.startswith("-")}
        unknown = [option for option in options if option not in options_of_any(experiment)]
        if unknown:
            return f"no option {', '.join(unknown)}"
        return wrong_value(words[0].lstrip("-").replace("-", "_"), words[1], experiment) if len(words) == 2 else ""
    if "?" in name:
        return wrong_corpus_option(name.partition("?")[2])
    if re.fullmatch(r"\w+=.*", name):
        field, _, value = name.partition("=")
        if field in corpus_options():
            return ""
        if field in fields(experiment):
            return wrong_value(field, value.strip('"'), experiment, beside)
        return "" if field in public_names() else f"no field {field}"
    if name in FILES or (ROOT / name).exists() or name.isdigit() or name in literals_of_corpora():
        return ""
    if " / " in name:
        return "; ".join(filter(None, (missing(piece, experiment) for piece in name.split(" / "))))
    return "" if is_known(name, experiment) else f"{name!r} is no option, field, value, file or name of the library"


def wrong_command(text: str) -> str:
    """Error of a command line; empty for none."""
    words = [word for word in shlex.split(text) if word != "..."]
    start = words.index("audioattn_lib") if "audioattn_lib" in words else 0
    command: click.Command = audioattn
    context = click.Context(command)
    options: set[str] = set()
    rest = words[start + 1 :]
    while rest:
        word = rest.pop(0)
        if isinstance(command, click.Group):
            if word.startswith("-"):
                continue
            target = command.get_command(context, word)
            if target is None:
                return f"no command {word!r} in {text!r}"
            command, context = target, click.Context(target, parent=context, info_name=word)
            options = {name for p in command.get_params(context) for name in (*p.opts, *p.secondary_opts)}
        elif word.startswith("-"):
            if command.name == "bench":
                continue
            if word not in options:
                return f"{command.name} has no option {word} in {text!r}"
            if word == "-p" and rest[0] not in Notebook(ROOT / "notebooks" / f"{words[start + 2]}.ipynb").parameters:
                return f"the notebook {words[start + 2]} has no parameter {rest[0]}"
            if word == "--preset":
                presets = (
                    importlib.import_module(EXPERIMENTS[command.name]).Config.PRESETS
                    if command.name in EXPERIMENTS
                    else None
                )
                if presets is not None and rest[0] not in presets:
                    return f"no preset {rest[0]}"
        elif word.startswith("notebooks/") and not (ROOT / word).exists():
            return f"no file {word}"
    return ""


def wrong_value(field: str, value: str, experiment: str, beside: Mapping[str, str] = MappingProxyType({})) -> str:
    """Error of the value of a field; one in capitals or with a path stands for another."""
    if field not in fields(experiment) or re.search(r"^[A-Z]+$|[A-Z/.]{2}|weights", value):
        return ""
    config = importlib.import_module(EXPERIMENTS[experiment]).Config
    defaults = {f.name: f.default for f in dataclasses.fields(config)}
    if field == "preset" or not value:
        return ""

    def read(name: str, text: str) -> Any:
        return text if isinstance(defaults[name], str) else ast.literal_eval(text)

    faults = []
    weights = {"pretrained": "best.safetensors"}
    for preset, others in itertools.product(config.PRESETS, ({}, beside, weights)):  # some values need others
        try:
            config.preset(preset, **{name: read(name, text) for name, text in {**others, field: value}.items()})
        except (ConfigError, ValueError, SyntaxError) as error:
            faults.append(f"{field}={value}: {error}")
        else:
            return ""
    return faults[0]


def wrong_corpus_option(query: str) -> str:
    unknown = [
        option.partition("=")[0] for option in query.split("&") if option.partition("=")[0] not in corpus_options()
    ]
    return f"no corpus has the option {', '.join(unknown)}" if unknown else ""


@functools.cache
def corpus_options() -> set[str]:
    """Options of any corpus."""
    return {name for layout in corpora.LAYOUTS.values() for name in inspect.signature(layout.load).parameters} - {
        "path"
    }


@functools.cache
def literals_of_corpora() -> set[str]:
    """Texts in the modules that read corpora: names of files, folders and columns."""
    trees = [ast.parse(path.read_bytes()) for path in (ROOT / "audioattn_lib" / "data").rglob("*.py")]
    constants = [node.value for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Constant)]
    return {value for value in constants if isinstance(value, str)}


@functools.cache
def fields(experiment: str) -> set[str]:
    return {field.name for field in dataclasses.fields(importlib.import_module(EXPERIMENTS[experiment]).Config)}


@functools.cache
def options_of_any(experiment: str) -> set[str]:
    """Options of the command that trains a chapter, and of all others that do not."""

    def walk(group: click.Group) -> Iterator[click.Command]:
        context = click.Context(group)
        for name in group.list_commands(context):
            command = group.get_command(context, name)
            assert command is not None
            if isinstance(command, click.Group) and command.name != "train":
                yield from walk(command)
            elif command.name != "train":
                yield command

    train: Any = audioattn.get_command(click.Context(audioattn), "train")
    commands = [train.get_command(click.Context(train), experiment), *walk(audioattn)]
    return {
        name
        for command in commands
        for parameter in command.get_params(click.Context(command))
        for name in (*parameter.opts, *parameter.secondary_opts)
    }


def is_known(name: str, experiment: str) -> bool:
    """A field, a value of one, a corpus, or a name of the library or of one of its objects."""
    if name in fields(experiment) or name in corpora.LAYOUTS or name in values(experiment):
        return True
    if re.fullmatch(r"[\w:]+", name) and is_value(name, experiment):
        return True
    plain = re.sub(r"\(.*?\)", "", name)
    parts = plain.split(".")
    if parts[0] == "audioattn_lib":
        return resolves(plain)
    if parts[0] in ("Config", "study", "run"):
        module = importlib.import_module(EXPERIMENTS[experiment])
        return parts[0] != "Config" or all(hasattr(module.Config, attribute) for attribute in parts[1:2])
    if parts[0] in EXPERIMENTS:
        return resolves(".".join([EXPERIMENTS[parts[0]], *parts[1:2]]))
    return parts[0] in public_names()


def resolves(path: str) -> bool:
    """True where a dotted name can be imported."""
    parts = path.split(".")
    for length in range(len(parts), 0, -1):
        try:
            target: Any = importlib.import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        for attribute in parts[length:]:
            if not hasattr(target, attribute):
                return False
            target = getattr(target, attribute)
        return True
    return False


@functools.cache
def values(experiment: str) -> set[str]:
    """Names of presets and of named configurations."""
    config = importlib.import_module(EXPERIMENTS[experiment]).Config
    return {*config.PRESETS, *config.NAMED}


@functools.cache
def is_value(name: str, experiment: str) -> bool:
    """True where a field that refuses other words takes this one."""
    config = importlib.import_module(EXPERIMENTS[experiment]).Config

    def takes(field: str, value: str) -> bool:
        try:
            config.preset("default", **{field: value})
        except (ConfigError, TypeError, ValueError):
            return False
        return True

    texts = [field.name for field in dataclasses.fields(config) if isinstance(field.default, str)]
    return any(takes(field, name) and not takes(field, "no_such_value") for field in texts)


@functools.cache
def public_names() -> set[str]:
    """Public classes, functions and parameters of functions of the library, read without importing."""
    target: set[str] = set()
    for path in (ROOT / "audioattn_lib").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_"):
                target.add(node.name)
            if isinstance(node, ast.FunctionDef):
                target |= {argument.arg for argument in (*node.args.args, *node.args.kwonlyargs)}
    return target
