"""Names of variables say what they hold: fillers that would fit any variable are bound nowhere."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = ROOT / "audioattn_lib"
FILLERS = {
    *("asked", "chosen", "found", "given", "heard", "held", "here", "it", "known", "made", "one", "ones"),
    *("part", "said", "stuff", "there", "thing", "things", "told", "wanted", "what"),
}
"""Words that say how a value was come by, or that there is one, and not what it is."""
TERMS = {"evaluation/scores/open_set.py": {"known"}, "display/players": {"part"}}
"""Fillers that are terms in a module: known and unknown classes; parts of a sound that is too long for one player."""


def bindings(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Every name that is bound, with its line: variables, parameters, fields, loops, patterns and exceptions."""
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name, ctx=ast.Store()) | ast.arg(arg=name):
                yield name, node.lineno
            case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
                yield name, node.lineno


def test_names_say_what_they_hold():
    fillers = []
    for path in sorted(LIBRARY.rglob("*.py")):
        module = path.relative_to(LIBRARY).as_posix()
        terms = {name for start, names in TERMS.items() if module.startswith(start) for name in names}
        names = bindings(ast.parse(path.read_text()))
        fillers += [f"{module}:{line}: {name}" for name, line in names if name in FILLERS - terms]
    assert not fillers, f"{', '.join(fillers)}; name what it holds"


def test_names_of_tests_and_benchmarks_say_what_they_hold():
    fillers = {"chosen", "found", "known", "one", "part"}
    paths = [path for folder in ("tests", "benchmarks", "book/_ext") for path in sorted((ROOT / folder).rglob("*.py"))]
    bound = [
        f"{path.relative_to(ROOT)}:{line}: {name}"
        for path in paths
        for name, line in bindings(ast.parse(path.read_text()))
        if name in fillers
    ]
    assert not bound, f"{', '.join(bound)}; name what it holds"


def test_a_filler_is_seen():
    source = "def f(part, *, known=1):\n    found = [one for one in part]\n    match found:\n        case [it]: pass"
    assert {name for name, _ in bindings(ast.parse(source))} >= {"part", "known", "found", "one", "it"}
