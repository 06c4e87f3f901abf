"""Clips with several labels: the whole way from files to a table."""

import numpy as np
import pytest
import soundfile

from audioattn_lib import display
from audioattn_lib.experiments import urban_sound
from audioattn_lib.experiments.urban_sound import Config


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    root = tmp_path_factory.mktemp("labels")
    rng = np.random.default_rng(0)
    rows = []
    for number in range(24):
        time = np.arange(8000) / 16000
        sound = 0.01 * rng.standard_normal(8000)
        labels = [name for name, on in (("hum", number % 2), ("whistle", number % 3)) if on]
        sound += sum(0.1 * np.sin(2 * np.pi * {"hum": 200, "whistle": 3000}[name] * time) for name in labels)
        soundfile.write(root / f"{number}.wav", sound, 16000)
        rows.append(f"{number}.wav,{';'.join(labels)},{number % 3 + 1}")
    (root / "metadata.csv").write_text("file_name,label,fold\n" + "\n".join(rows) + "\n")
    config = Config.smoke(data=str(root), epochs=2)
    return urban_sound.study(config, "softmax, sparsemax", "1,2", root / "runs")


def test_mean_average_precision_leads(study):
    table = study.table()
    assert study.score_title == "Mean average precision"
    assert list(table.index) == ["softmax", "sparsemax", "linear", "chance"]
    assert (table.loc["linear", ["low", "high"]] - table.loc["linear", "score"]).product() <= 0
    assert table["score"].between(0, 1).all()
    assert table.loc["chance", "score"] == pytest.approx((8 + 11) / 2 / 16, abs=0.1)
    assert table.loc[study.names, "p_holm"].between(0, 1).all()
    assert table["all_labels_right"].iloc[:3].between(0, 1).all()


def test_the_interval_belongs_to_the_score_that_it_names(study):
    for run in (*study.runs, *study.baselines):
        interval = run["interval"]
        assert interval["of"] == "mean_average_precision"
        assert interval["low"] <= run["mean_average_precision"] <= interval["high"]
        assert run["all_labels_right"] == (run.predictions["label"] == run.predictions["predicted"]).mean()


def test_pages_show_it(study):
    assert "mean average precision" in study.verdict()
    assert "nan" not in display.results_table(study.table(), label=study.score_title).markup
    assert "nan" not in display.plot_results(study.table(), label=study.score_title).alt
    assert study.fold_table().notna().all(axis=None)
