"""The committed tables of domains can be read, and the command that makes them does so from what exists."""

import importlib

import pytest

from audioattn_lib.experiments.scenes_and_instruments.results import BASELINE, CHANCE, WORST, DomainResults


def tables(root):
    return sorted((root / "benchmarks" / "results" / "domains").glob("*.csv"))


def test_every_committed_table_stands_beside_chance_and_a_baseline_and_says_where_it_comes_from(root):
    for path in tables(root):
        results = DomainResults.read(path)
        assert {"corpus", "settings", "seeds", "date", "processor", "git_commit", "torch"} <= set(results.made_with)
        assert "/" not in results.made_with["settings"], f"{path.name} names a path of one machine"
        for test in (*results.tests, WORST):
            rows = results.rows[results.rows["test"] == test]
            assert {BASELINE, CHANCE} <= set(rows["pattern"]), f"{path.name}, {test}"
            assert rows["score"].between(0, 1).all()
        assert int(results.made_with["seeds"]) >= 3


def test_the_pages_of_results_show_every_committed_table(root):
    page = "".join((root / "book" / f"{name}.md").read_text() for name in ("scenes_results", "scenes_seeds"))
    assert not [path.stem for path in tables(root) if f"{{domain-results}} {path.stem}\n" not in page]


def test_a_table_is_made_and_read_back(root, tmp_path, monkeypatch, capsys):
    monkeypatch.syspath_prepend(root)
    main = importlib.import_module("benchmarks.domains").main
    arguments = [
        "tiny",
        "--data",
        "orchestra?clips_per_class=8",
        "--patterns",
        "dense, per_row",
        "--domain-methods",
        "none",
    ]
    arguments += ["--seeds", "1", "--set", "epochs=0", "--runs", str(tmp_path / "runs"), "--output", str(tmp_path)]
    assert main(arguments) == 0
    first = (tmp_path / "tiny.csv").read_text()
    stamps = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").rglob("metrics.json")}
    assert main(arguments) == 0
    assert (tmp_path / "tiny.csv").read_text() == first
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").rglob("metrics.json")} == stamps
    results = DomainResults.read(tmp_path / "tiny.csv")
    assert results.made_with["settings"] == "epochs = 0"
    assert "**" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["tiny"])
