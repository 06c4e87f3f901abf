"""The committed tables of correlations can be read, and the command that makes them does so from what exists."""

import numpy as np
import pytest
from committed import make_twice, says_where_it_comes_from, tables

from audioattn_lib import display
from audioattn_lib.experiments.common.studies.pooling_results import CHANCE
from audioattn_lib.experiments.common.studies.study import BASELINE
from audioattn_lib.experiments.sleepiness import MATCHED, CorrelationResults
from audioattn_lib.experiments.sleepiness.study import missed_below


def test_every_committed_table_stands_beside_chance_and_a_baseline_and_says_where_it_comes_from(root):
    assert tables(root, "correlations")
    for path in tables(root, "correlations"):
        results = CorrelationResults.read(path)
        says_where_it_comes_from(path, results.made_with)
        assert {*MATCHED, BASELINE, CHANCE} <= set(results.rows["system"])
        assert results.scores()["score"].between(-1, 1).all()
        assert int(results.made_with["seeds"]) >= 5


def test_the_pages_show_every_committed_table(root):
    page = "".join((root / "book" / f"{name}.md").read_text() for name in ("sleepiness_seeds", "frozen_frames"))
    assert not [
        path.stem for path in tables(root, "correlations") if f"{{correlation-results}} {path.stem}\n" not in page
    ]


def test_a_table_is_made_and_read_back(root, tmp_path, monkeypatch, capsys):
    arguments = ["--data", "voices?speakers=8&clips_per_speaker=3&duration=(1.0,1.2)", "--seeds", "2"]
    arguments += ["--set", "epochs=1", "--set", "units=4"]
    main = make_twice("correlations", arguments, root, tmp_path, monkeypatch)
    results = CorrelationResults.read(tmp_path / "tiny.csv")
    assert results.made_with["settings"] == "epochs = 1, units = 4"
    shown, not_shown = results.findings()
    first = next(sentence for sentence in [*shown, *not_shown] if "highest rank correlation" in sentence)
    assert first in capsys.readouterr().out
    assert any("missed" in sentence for sentence in not_shown)
    seeds = results.seed_scores()
    assert seeds.shape[1] == 2
    np.testing.assert_allclose(seeds.loc[MATCHED[0]].mean(), results.scores().loc[MATCHED[0], "score"], atol=1e-5)
    without = results.rows.set_index("system").loc[MATCHED[1]]
    both = results.scores()["score"]
    np.testing.assert_allclose(without["attention"], both[MATCHED[0]] - both[MATCHED[1]], atol=1e-5)
    assert without["attention_low"] <= without["attention"] <= without["attention_high"]
    assert results.finding()[1].startswith("features of a network with attention are")
    assert not results.finding()[0]
    table = results.table()
    assert next(iter(table["Attention against it"])) == ""
    assert f"{round(without['attention'], 2) + 0.0:+.2f} (" in table.loc[without["title"], "Attention against it"]
    figure = display.plot_correlations(results.scores(), runs=seeds, titles=results.titles)
    assert without["title"] in figure.alt
    with pytest.raises(SystemExit):
        main(["tiny"])


def test_no_difference_of_two_correlations_that_is_missed_is_above_two():
    assert [missed_below(value) for value in (0.434, 2.68, np.nan)] == ["0.43", "more than 2", ""]
