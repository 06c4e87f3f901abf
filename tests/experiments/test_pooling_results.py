"""Tables of poolings on recordings: made from runs, kept in a file, told in words that the intervals allow."""

import importlib
import re

import numpy as np
import pandas as pd
import pytest
from committed import make_twice, says_where_it_comes_from, tables

from audioattn_lib import display
from audioattn_lib.core.errors import RunError
from audioattn_lib.experiments import urban_sound
from audioattn_lib.experiments.common.studies.pooling_results import CHANCE, CONTROL, PoolingResults
from audioattn_lib.experiments.common.studies.study import Study


def results(gain, p):
    """Mean pooling at 50 %, softmax and statistics above it by a gain."""
    rows = pd.DataFrame(
        [
            {"pooling": CONTROL, "title": "Mean", "score": 0.5, "low": 0.4, "high": 0.6},
            *(
                {"pooling": name, "title": name.capitalize(), "score": 0.5 + gain, "low": 0.4 + gain,
                 "high": 0.6 + gain, "difference": gain, "difference_low": gain - 0.02, "difference_high": gain + 0.02,
                 "p_holm": p, "detectable": 0.03, "seed_differences": f"{gain - 0.01};{gain + 0.01}"}
                for name in ("softmax", "statistics")
            ),
            {"pooling": CHANCE, "title": "Chance", "score": 0.1},
        ]
    )  # fmt: skip
    return PoolingResults(rows.reindex(columns=list(PoolingResults.COLUMNS)))


@pytest.mark.parametrize(
    ("gain", "p", "told"),
    [
        (0.05, 0.01, "**Softmax is better than mean pooling**: +5.0 points (+3.0 to +7.0)"),
        (0.01, 0.40, "That attention is better than mean pooling is not shown** for Softmax: +1.0 points"),
        (-0.05, 0.01, "Reliably worse: Softmax."),
    ],
)  # fmt: skip
def test_the_verdict_claims_what_the_intervals_do(gain, p, told):
    verdict = results(gain, p).verdict()
    assert told in verdict
    assert "Statistics, without attention, against mean pooling" in verdict
    assert "a difference of attention to mean pooling below 3 points would be missed" in verdict
    shown, not_shown = results(gain, p).findings()
    assert " ".join(sorted([*shown, *not_shown], key=verdict.index)) == verdict
    assert any(told in sentence for sentence in (not_shown if "not shown" in told else shown))


def several(**gains):
    """Mean pooling, and mechanisms by their gain and p-value."""
    rows = [{"pooling": CONTROL, "title": "Mean", "score": 0.5, "low": 0.4, "high": 0.6}]
    for name, (gain, p) in gains.items():
        reach = abs(gain) + (-0.01 if p < 0.05 else 0.01)
        rows.append(
            {"pooling": name, "title": name.capitalize(), "score": 0.5 + gain, "low": 0.4, "high": 0.7,
             "difference": gain, "difference_low": gain - reach, "difference_high": gain + reach, "p_holm": p}
        )  # fmt: skip
    return PoolingResults(pd.DataFrame(rows).reindex(columns=list(PoolingResults.COLUMNS)))


def test_where_some_are_better_the_others_are_named_as_not_shown():
    shown, not_shown = several(softmax=(0.04, 0.2), sparsemax=(0.05, 0.3), biweight=(0.11, 0.04)).findings()
    assert "**Attention is better than mean pooling for Biweight**: +11.0 points (+1.0 to +21.0)." in shown
    (others,) = (sentence for sentence in not_shown if sentence.startswith("That attention is better"))
    assert others.endswith("is not shown for Softmax and Sparsemax; each of their intervals includes zero.")

    shown, not_shown = several(softmax=(0.08, 0.01), gaussian=(0.07, 0.01), sparsemax=(0.05, 0.1)).findings()
    assert "for Softmax and Gaussian**; the best, Softmax: +8.0 points (+1.0 to +15.0)." in shown[1]
    assert any("is not shown for Sparsemax: +5.0 points (-1.0 to +11.0)." in sentence for sentence in not_shown)


def test_a_mechanism_that_is_worse_is_not_among_the_open_ones():
    shown, not_shown = several(softmax=(0.08, 0.01), gaussian=(0.07, 0.01), sparsemax=(-0.05, 0.01)).findings()
    assert "Reliably worse: Sparsemax." in shown
    assert not any("not shown for" in sentence for sentence in not_shown)


@pytest.mark.parametrize(("gain", "p", "is_better"), [(0.05, 0.01, True), (0.01, 0.40, False), (-0.05, 0.01, False)])
def test_the_finding_is_shown_only_where_a_gain_is_reliable(gain, p, is_better):
    is_shown, sentence = results(gain, p).finding()
    assert is_shown is is_better
    assert ("not reliably better" in sentence) is not is_better
    assert ("Better without attention: Statistics." in sentence) is is_better
    assert f"{100 * gain:+.1f} points" in sentence


def test_a_table_tells_how_often_the_most_attended_frame_lies_in_an_event_where_that_is_known():
    table = results(0.05, 0.01)
    assert not len(table.pointing())
    names = ("pointing", "pointing_uniform", "pointing_lowest", "pointing_highest")
    shares = dict(zip(names, (0.47, 0.28, 0.44, 0.56), strict=True))
    rows = table.rows.assign(**{name: [np.nan, share, np.nan, np.nan] for name, share in shares.items()})
    pointing = PoolingResults(rows).pointing().loc["Softmax"]
    assert list(pointing) == ["47 %", "44 to 56 %", "28 %"]


def test_no_difference_is_larger_than_the_largest_of_two_scores():
    assert "a difference below 13 to more than 100 points would" in Study.power_note([0.13, 1.2])
    assert "a difference below 0.68 to more than 2 would" in Study.power_note([0.68, 2.68], unit="", scale=1.0)
    assert Study.power_note([np.nan]) == ""


def test_the_power_below_a_point_has_digits_and_a_single_point_is_no_points():
    assert "a difference below 0.5 to 1 points would" in Study.power_note([0.0049, 0.0096])
    assert "a difference below 0.5 points would" in Study.power_note([0.0049])
    assert "a difference below 1 point would" in Study.power_note([0.0096, 0.0102])


def test_the_finding_names_the_best_and_what_is_worse():
    table = results(-0.004, 0.40)
    worse = table.rows[table.rows["pooling"] == "softmax"].assign(
        pooling="sparsemax", title="Sparsemax", difference=-0.03, difference_low=-0.07, difference_high=0.01
    )
    _, sentence = PoolingResults(pd.concat([table.rows, worse], ignore_index=True)).finding()
    best = "the best, Softmax: -0.4 points (-2.4 to +1.6)"
    assert sentence == f"no attention is reliably better than mean pooling; {best}."


def test_a_tie_has_several_highest():
    table = pd.DataFrame({"score": [0.5, 0.25 + 0.25, 0.4]}, index=["mean", "statistics", "multi_head"])
    assert Study.highest(table) == ["mean", "statistics"]
    assert Study.highest(table.iloc[1:]) == ["statistics"]


def test_the_figure_tells_what_it_draws():
    table = results(0.05, 0.01)
    figure = display.plot_gains(table.differences(), seeds=table.seed_differences())
    assert "Softmax +5.0 (+3.0 to +7.0)" in figure.alt
    assert figure.narrow
    np.testing.assert_allclose(table.seed_differences().loc["Softmax"], [0.04, 0.06])


PAGES = ("urban_sound_recordings", "urban_sound_seeds", "frozen_frames", "accents_seeds", "playback_seeds")
"""Pages that show the tables."""


def test_every_committed_table_has_its_references_and_says_where_it_comes_from(root):
    page = "".join((root / "book" / f"{name}.md").read_text() for name in PAGES)
    for path in tables(root, "recordings"):
        table = PoolingResults.read(path)
        says_where_it_comes_from(path, table.made_with)
        assert {table.control, "linear", CHANCE} <= set(table.rows["pooling"])
        assert table.attending
        assert set(table.made_with.get("attending", "").split(", ")) <= {"", *table.attending}
        assert re.search(rf"{{recording-(results|pairs)}}.* {path.stem}\b", page)


def test_a_table_is_made_and_read_back(root, tmp_path, monkeypatch, capsys):
    arguments = ["--data", "city?clips_per_class=6&n_folds=3&duration=2", "--preset", "smoke"]
    arguments += ["--poolings", "mean, max, statistics, sparsemax", "--folds", "1", "--seeds", "2"]
    arguments += ["--set", "perturbations=false"]
    make_twice("recordings", arguments, root, tmp_path, monkeypatch)
    table = PoolingResults.read(tmp_path / "tiny.csv")
    assert table.made_with["settings"] == "those of the preset smoke, perturbations = False"
    rows = table.rows.set_index("pooling")
    assert list(rows.index) == ["mean", "max", "statistics", "sparsemax", "linear", "chance"]
    assert rows.loc["sparsemax", "seeds"] == 2
    scores = [float(score) for score in rows.loc["sparsemax", "seed_scores"].split(";")]
    assert rows.loc["sparsemax", "score"] == pytest.approx(np.mean(scores), abs=1e-5)
    assert rows.loc["sparsemax", "difference"] == pytest.approx(
        rows.loc["sparsemax", "score"] - rows.loc["mean", "score"], abs=1e-5
    )
    assert 0 < rows.loc["sparsemax", "attended"] <= 1
    assert "Mean pooling: accuracy" in capsys.readouterr().out
    config = urban_sound.Config.smoke(data=arguments[1], perturbations=False)
    study = urban_sound.study(config, "mean, sparsemax", "1", tmp_path / "runs", range(2))
    gains = PoolingResults.of_study(study, {}, from_nothing=study).gains()
    assert list(gains.index) == ["Mean", "Sparsemax"]
    assert gains["What they add"].str.startswith("+0.0 points").all()
    assert not len(table.gains())
    with pytest.raises(RunError, match="mean: none attends; add one"):
        PoolingResults.of_study(urban_sound.study(config, "mean", "1", tmp_path / "runs", range(2)))
    (tmp_path / "tiny.csv").write_text("pooling\nmean\n")
    with pytest.raises(RunError, match="lacks the columns title"):
        PoolingResults.read(tmp_path / "tiny.csv")


@pytest.mark.parametrize(
    ("chapter", "data", "control", "attending"),
    [
        (
            "accents",
            "accents?speakers_per_accent=3&clips_per_speaker=2&n_folds=3&duration=(1.0,1.2)",
            "mean",
            ["multi_head"],
        ),
        ("playback", "needles?clips_per_class=6&duration=4", "random", ["slots"]),
    ],
)
def test_a_table_of_another_chapter_has_its_own_control(
    root, tmp_path, monkeypatch, capsys, chapter, data, control, attending
):
    monkeypatch.syspath_prepend(root)
    main = importlib.import_module("benchmarks.recordings").main
    names = {"accents": "mean, self_attention, multi_head, double_multi_head", "playback": "none, random, slots"}
    arguments = ["tiny", "--chapter", chapter, "--data", data, "--preset", "smoke", "--poolings", names[chapter]]
    arguments += ["--folds", "first", "--seeds", "1", "--runs", str(tmp_path / "runs"), "--output", str(tmp_path)]
    assert main(arguments) == 0
    table = PoolingResults.read(tmp_path / "tiny.csv")
    assert table.control == control
    assert set(attending) <= set(table.attending)
    rows = table.rows.set_index("pooling")
    assert np.isnan(rows.loc[control, "difference"])
    assert rows.loc[attending[0], "attended"] > 0
    plain = "mean pooling" if control == "mean" else "random parts"
    assert f"better than {plain}" in capsys.readouterr().out
    assert f"Against {plain} (points)" in table.costs()
    with pytest.raises(RunError, match=f"{attending[0]} must be among them"):
        main([*arguments, "--poolings", names[chapter].replace(f", {attending[0]}", "")])
