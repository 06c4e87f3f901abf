"""What the tests of committed tables of results have in common."""

import importlib

ORIGIN = {"corpus", "settings", "seeds", "date", "processor", "git_commit", "torch"}
"""Facts that a table keeps of where it comes from."""


def tables(root, kind):
    """Files of the committed tables of a kind."""
    return sorted((root / "benchmarks" / "results" / kind).glob("*.csv"))


def says_where_it_comes_from(path, made_with):
    assert set(made_with) >= ORIGIN
    assert "/" not in made_with["settings"], f"{path.name} names a path of one machine"


def make_twice(module, arguments, root, folder, monkeypatch):
    """Make ``tiny.csv`` in a folder with a program of ``benchmarks``; the second time from runs that exist."""
    monkeypatch.syspath_prepend(root)
    main = importlib.import_module(f"benchmarks.{module}").main
    arguments = ["tiny", *arguments, "--runs", str(folder / "runs"), "--output", str(folder)]
    assert main(arguments) == 0
    first = (folder / "tiny.csv").read_text()
    stamps = {path: path.stat().st_mtime_ns for path in (folder / "runs").rglob("metrics.json")}
    assert main(arguments) == 0
    assert (folder / "tiny.csv").read_text() == first
    assert {path: path.stat().st_mtime_ns for path in (folder / "runs").rglob("metrics.json")} == stamps
    return main
