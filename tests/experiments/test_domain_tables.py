"""The committed tables of domains can be read, and the command that makes them does so from what exists."""

import pytest
from committed import make_twice, says_where_it_comes_from, tables

from audioattn_lib.experiments.scenes_and_instruments.results import BASELINE, CHANCE, WORST, DomainResults


def test_every_committed_table_stands_beside_chance_and_a_baseline_and_says_where_it_comes_from(root):
    for path in tables(root, "domains"):
        results = DomainResults.read(path)
        says_where_it_comes_from(path, results.made_with)
        for test in (*results.tests, WORST):
            rows = results.rows[results.rows["test"] == test]
            assert {BASELINE, CHANCE} <= set(rows["pattern"]), f"{path.name}, {test}"
            assert rows["score"].between(0, 1).all()
        assert int(results.made_with["seeds"]) >= 3


def test_the_pages_of_results_show_every_committed_table(root):
    page = "".join((root / "book" / f"{name}.md").read_text() for name in ("scenes_results", "scenes_seeds"))
    assert not [path.stem for path in tables(root, "domains") if f"{{domain-results}} {path.stem}\n" not in page]


def test_a_table_is_made_and_read_back(root, tmp_path, monkeypatch, capsys):
    arguments = ["--data", "orchestra?clips_per_class=8", "--patterns", "dense, per_row", "--domain-methods", "none"]
    arguments += ["--seeds", "1", "--set", "epochs=0"]
    main = make_twice("domains", arguments, root, tmp_path, monkeypatch)
    results = DomainResults.read(tmp_path / "tiny.csv")
    assert results.made_with["settings"] == "epochs = 0"
    assert "**" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["tiny"])


def test_all_networks_of_a_tie_are_named(root):
    results = DomainResults.read(tables(root, "domains")[0])
    test = results.tests[0]
    is_network = (results.rows["test"] == test) & ~results.rows["pattern"].isin([BASELINE, CHANCE])
    results.rows.loc[is_network, "score"] = 0.5
    shown, _ = results.findings()
    assert any("score highest of the networks: 50.0 % each" in sentence for sentence in shown)
