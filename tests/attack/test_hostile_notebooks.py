"""Sweep files and notebooks that are damaged, endless, or mean harm."""

import copy
import functools
import json
import random
from pathlib import Path
from typing import Any

import pytest
from hostile import SEEDS, Attack, copy_seed, mutations, trials

from audioattn_lib.automation import RUN_MIMETYPE
from audioattn_lib.automation.book import chapters, documents
from audioattn_lib.automation.execution import runs_shown_in
from audioattn_lib.automation.grid import Grid
from audioattn_lib.automation.notebooks import Notebook
from audioattn_lib.automation.strict_yaml import read_yaml
from audioattn_lib.core.errors import ConfigError

ANYTHING = [None, True, 0, -1, 0.5, 10**30, "", "x", "\0", "a" * 5000, [], [1], ["a"], [[]], {}, {"a": 1}, {"": None}]


def look(path: Path) -> None:
    """Everything that is asked of a notebook without running it."""
    notebook = Notebook(path)
    _ = notebook.parameters, notebook.library_modules, notebook.source, notebook.options
    notebook.checked({"n": 5})
    notebook.key({"n": 5}, lambda name: "hash")
    runs_shown_in(path)


def executed() -> dict[str, Any]:
    """The seed as it is after an execution: its last cell shows a run."""
    content = json.loads((SEEDS / "small.ipynb").read_text())
    run = {"config": {"a": 1}, "experiment": "e", "key": "k", "metrics": {"b": 2}, "path": "p"}
    content["cells"][2]["execution_count"] = 1
    content["cells"][2]["outputs"] = [{"data": {RUN_MIMETYPE: [run]}, "metadata": {}, "output_type": "display_data"}]
    return content


def test_the_seeds_are_what_they_say(tmp_path):
    path = tmp_path / "small.ipynb"
    path.write_text(json.dumps(executed()))
    assert RUN_MIMETYPE in path.read_text()
    assert [run["key"] for run in runs_shown_in(path)] == ["k"]
    look(path)
    assert len(Grid.read(SEEDS / "sweep.yml").jobs) == 6


def test_damaged_sweeps(tmp_path):
    attack = Attack("YAML")
    copy_seed("small.ipynb", tmp_path)
    content = (SEEDS / "sweep.yml").read_bytes()
    for number, (what, damaged) in enumerate(mutations(content, trials(300), seed=2)):
        path = tmp_path / f"{number}.yml"
        path.write_bytes(damaged)
        attack.trial(f"sweep.yml, {what}", lambda path=path: Grid.read(path), path.name)
    attack.check()


def test_damaged_notebooks(tmp_path):
    attack = Attack("notebooks")
    content = json.dumps(executed(), indent=1).encode()
    for number, (what, damaged) in enumerate(mutations(content, trials(300), seed=3)):
        path = tmp_path / f"{number}.ipynb"
        path.write_bytes(damaged)
        attack.trial(f"small.ipynb, {what}", lambda path=path: look(path), path.name)
    attack.check()


def places(value, way=()):
    """The way to every value of nested lists and objects."""
    yield way
    for key, item in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from places(item, (*way, key))


def test_every_part_of_a_notebook_may_be_anything(tmp_path):
    attack = Attack("notebooks")
    whole = executed()
    changes = [(way, value) for way in places(whole) if way for value in ANYTHING]
    random.Random(0).shuffle(changes)
    for number, (way, value) in enumerate(changes[: trials(500)]):
        changed = copy.deepcopy(whole)
        inner = changed
        for key in way[:-1]:
            inner = inner[key]
        inner[way[-1]] = value
        path = tmp_path / f"{number}.ipynb"
        path.write_text(json.dumps(changed))
        attack.trial(f"{way} = {value!r}"[:200], lambda path=path: look(path), path.name)
    attack.check()


LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: 1\nb: \0", r"x\.yml:2: the character 0x0 is not allowed"),
        ("a: \x07", r"x\.yml:1: the character 0x7 is not allowed"),
        ("a: 1\n? [a, b]\n: 1", r"x\.yml:2: .* not .*seq of several values"),
        ("a: 2020-13-45", r"x\.yml:1: '2020-13-45' cannot be read"),
        ("a: !!timestamp x", r"x\.yml:1: 'x' cannot be read"),
        ("a: !!int x", r"x\.yml:1: 'x' cannot be read"),
        ("a: " + "9" * 5000, r"x\.yml:1: '9{40}' cannot be read"),
        ("a: &a [*a]", r"x\.yml:1: nested more than 50 levels deep; does an alias"),
        ("&a {b: *a}", r"x\.yml:1: nested more than 50 levels deep; does an alias"),
        ("? &a [*a]\n: 1", r"x\.yml:1: "),
        (LAUGHS, r"x\.yml:1: more than 50000 values"),
        ("[" * 1_000_000, r"x\.yml:1: nested more than 50 levels deep"),
        ("a: " * 2000, r"x\.yml:1: "),
        ("- " * 2000, r"x\.yml:1: nested more than 50 levels deep"),
        ("a: !!set {a, b}", r"x\.yml:1: .* not .*set of several values"),
        ("a: !!python/object/apply:os.system [touch x]", r"x\.yml:1: "),
        ("a: !!python/name:os.system", r"x\.yml:1: could not determine a constructor"),
        ("x" * (2 << 20), r"x\.yml: .*at most 1 MiB"),
    ],
)
def test_yaml_that_means_harm(tmp_path, text, says):
    (tmp_path / "x.yml").write_text(text)
    attack = Attack("YAML")
    attack.trial(text[:40], lambda: read_yaml(tmp_path / "x.yml"), "x.yml")
    attack.check()
    with pytest.raises(ConfigError, match=says):
        read_yaml(tmp_path / "x.yml")


@pytest.mark.parametrize("path", ["/dev/zero", "/dev/full", "nul\0.yml", "n" * 300 + ".yml", "/"])
def test_what_is_no_file(path):
    with pytest.raises(ConfigError, match="cannot be read"):
        read_yaml(path)
    with pytest.raises(ConfigError, match="cannot be read|not a notebook"):
        look(Path(path))


@pytest.mark.parametrize(
    "name", ["/etc/passwd", "../../../../etc/passwd", "/dev/zero", "sweep.yml", "n" * 300, "/", "."]
)
def test_a_sweep_of_what_is_no_notebook(tmp_path, name):
    path = tmp_path / "sweep.yml"
    path.write_text(f"notebook: {name}\n")
    with pytest.raises(ConfigError, match=r"sweep\.yml:1: notebook .* (does not exist|is no notebook)"):
        Grid.read(path)


def test_a_sweep_of_a_notebook_that_is_none(tmp_path):
    (tmp_path / "a.ipynb").write_text("root:x:0:0")
    (tmp_path / "sweep.yml").write_text("notebook: a.ipynb\n")
    with pytest.raises(ConfigError, match=r"sweep\.yml:1: .*a\.ipynb: not a notebook"):
        Grid.read(tmp_path / "sweep.yml")


def test_a_sweep_is_as_large_as_allowed_and_no_larger(tmp_path):
    copy_seed("small.ipynb", tmp_path)
    path = tmp_path / "sweep.yml"
    path.write_text(f"notebook: small.ipynb\ngrid: {{n: {list(range(200))}, rate: {list(range(200))}}}\n")
    with pytest.raises(ConfigError, match=r"sweep\.yml:2: grid makes 40000 jobs; at most 10000"):
        Grid.read(path)


@pytest.mark.parametrize(
    "source",
    [
        "n = " + "(" * 5000,
        "n = " + "-" * 5000 + "1",
        "n = '\0'",
        "n = " + "9" * 5000,
        "n = {[]: 1}",
        "n = [" * 100,
        "n = f()",
    ],
)
def test_defaults_that_are_none(tmp_path, source):
    content = executed()
    content["cells"][1]["source"] = source
    path = tmp_path / "a.ipynb"
    path.write_text(json.dumps(content))
    attack = Attack("notebooks")
    assert attack.trial(source[:40], lambda: look(path), "a.ipynb", "cell 2") == "error"
    attack.check()


@pytest.mark.parametrize("content", ["[" * 100_000, '{"cells": ' + "[" * 100_000, "9" * 5000, "", "null", "[]"])
def test_json_that_is_no_notebook(tmp_path, content):
    (tmp_path / "a.ipynb").write_text(content)
    with pytest.raises(ConfigError, match=r"a\.ipynb: not a notebook"):
        look(tmp_path / "a.ipynb")


@pytest.mark.parametrize("file", ["_toc.yml", "notebooks/book.yml"])
def test_the_book_may_be_damaged(tmp_path, root, file):
    (tmp_path / "notebooks").mkdir()
    for name in ("_toc.yml", "notebooks/book.yml"):
        (tmp_path / name).write_bytes((root / name).read_bytes())
    for path in (root / "notebooks").glob("*.ipynb"):
        (tmp_path / "notebooks" / path.name).symlink_to(path)
    attack = Attack("YAML")
    call = documents if file == "_toc.yml" else functools.partial(chapters, mode="smoke")
    for what, damaged in mutations((root / file).read_bytes(), trials(12), seed=4):
        (tmp_path / file).write_bytes(damaged)
        attack.trial(f"{file}, {what}", lambda: call(tmp_path), "yml")
    attack.check()
