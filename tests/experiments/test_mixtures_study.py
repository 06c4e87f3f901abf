"""The study of poolings on mixtures: its network, its choice of learning rates, its table, on a tiny corpus."""

import importlib

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from audioattn_lib.attention.pooling.maximum import MaxAttention
from audioattn_lib.core.errors import ConfigError, ManifestError, RunError
from audioattn_lib.display import plot_gain_curves
from audioattn_lib.evaluation.statistics.systems import compare_systems, draw_means
from audioattn_lib.experiments import mixtures
from audioattn_lib.experiments.common.frames.windowed import WindowedFrames
from audioattn_lib.experiments.mixtures.network import Whitening
from audioattn_lib.experiments.mixtures.results import ANY

POOLINGS = ["mean", "max", "statistics", "softmax", "gaussian"]
RATES = (1e-3, 1e-2)
BOUNDS = (0.0, 0.2, 1.0)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def study(root):
    return mixtures.study(mixtures.Config.preset("smoke"), POOLINGS, range(2), root=root, learning_rates=RATES)


@pytest.fixture(scope="module")
def results(study):
    return study.results(BOUNDS)


def test_learning_rates_are_those_with_the_lowest_validation_loss(study, root):
    config = mixtures.Config.preset("smoke")
    assert len(study.runs) == len(POOLINGS) * 3 * 2
    assert study.n_tried == len(POOLINGS) * 3 * len(RATES)
    assert len(study.baselines) == 3
    for run in study.runs[: len(POOLINGS) * 3]:
        changes = {"pooling": run.config["pooling"], "fold": run.config["fold"]}
        tried = [
            mixtures.run(mixtures.Config.preset("smoke", **changes, learning_rate=rate), root).metrics["valid_loss"]
            for rate in RATES
        ]
        assert run.metrics["valid_loss"] == min(tried)
    assert config.learning_rate not in RATES[:1]


def test_what_exists_is_read_back(study, root):
    made = sorted((root / "mixtures").iterdir())
    again = mixtures.study(mixtures.Config.preset("smoke"), POOLINGS, range(2), root=root, learning_rates=RATES)
    assert [run.key for run in again.runs] == [run.key for run in study.runs]
    assert sorted((root / "mixtures").iterdir()) == made


def test_every_clip_is_tested_once_a_seed_and_counted_in_one_part(study, results):
    clips = study.clips()
    assert len(clips) == 60
    assert clips["share"].between(0, 1).all()
    assert results.overall.loc["mean", "clips"] == 60
    assert results.parts[results.parts["pooling"] == "mean"]["clips"].sum() == 60


def test_scores_and_gains_are_those_of_the_predictions(study, results):
    """The table by another way: joined predictions, and the comparison of the library."""
    clips = study.clips()
    tables = pd.concat([run.predictions.assign(pooling=run.config["pooling"]) for run in study.runs])
    right = (tables["label"] == tables["predicted"]).groupby(tables["pooling"]).mean()
    for name in POOLINGS:
        assert results.overall.loc[name, "score"] == pytest.approx(right[name])
    tables = pd.concat([run.predictions for run in study.baselines])
    assert results.overall.loc["linear", "score"] == pytest.approx((tables["label"] == tables["predicted"]).mean())
    against = results.against_others
    assert list(against.index) == ["max", "statistics", "linear"]
    for name, row in against.iterrows():
        assert row["difference"] == pytest.approx(
            results.overall.loc[ANY, "score"] - results.overall.loc[name, "score"]
        )
    assert results.overall.loc[ANY, "score"] == pytest.approx((right["softmax"] + right["gaussian"]) / 2)
    mask = (clips["share"] > 0.2).to_numpy()
    groups = clips["group"].to_numpy()
    scores = {name: study.right(name, list(clips.index)) for name in ("mean", "softmax", "gaussian")}
    any_scores = (scores["softmax"] + scores["gaussian"]) / 2
    parts = [~mask, mask]
    pairs = {
        str(number): tuple(draw_means(s[:, piece], groups=groups[piece]) for s in (any_scores, scores["mean"]))
        for number, piece in enumerate(parts)
    }
    expected = compare_systems(pairs)
    rows = results.parts[results.parts["pooling"] == ANY].sort_values("share")
    np.testing.assert_allclose(rows["difference"], expected["difference"])
    np.testing.assert_allclose(rows["low"], expected["low"])


def test_the_table_is_written_read_drawn_and_put_into_words(results, tmp_path):
    results.write(tmp_path / "tiny.csv")
    read = mixtures.GainResults.read(tmp_path / "tiny.csv")
    np.testing.assert_allclose(read.overall["score"], results.overall["score"], atol=1e-6)
    assert (read.reference, next(iter(read.curves()))) == ("mean", "Attention, mean of all mechanisms")
    figure = plot_gain_curves({"Tiny": read.curves()})
    assert "Tiny, Attention, mean of all mechanisms, by share" in figure.alt
    told = " ".join(read.verdict())
    assert "Attention, the mean of all mechanisms, is" in told
    assert "would be missed in more than one experiment of five" in told
    shown, not_shown = read.findings()
    assert all("not shown" not in sentence and "-0.0" not in sentence for sentence in shown)
    assert "Whether the gain falls as the event fills more of the clip was not tested." in not_shown
    power = ["Over all clips: with these clips", "By the share that the event fills: with these clips"]
    assert [note[: len(start)] for note, start in zip(not_shown[-2:], power, strict=True)] == power
    assert set(read.gains().columns) == {"all clips", "0 to 20 %", "20 to 100 %"}
    (tmp_path / "bad.csv").write_text("pooling\nmean\n")
    (tmp_path / "bad.json").write_text("{}")
    with pytest.raises(RunError, match="lacks the columns reference, share_low"):
        mixtures.GainResults.read(tmp_path / "bad.csv")


def test_impossible_studies_are_named(study, tmp_path):
    with pytest.raises(ConfigError, match="bounds is .0.5, 0.2.; give two or more rising numbers"):
        study.results((0.5, 0.2))
    with pytest.raises(ConfigError, match="reference is 'sparsemax'; trained were mean, max"):
        study.results(BOUNDS, "sparsemax")
    with pytest.raises(ConfigError, match="poolings is median; it must be all"):
        mixtures.study(mixtures.Config.preset("smoke"), "median", root=tmp_path)
    with pytest.raises(ConfigError, match="learning_rates is empty"):
        mixtures.study(mixtures.Config.preset("smoke"), root=tmp_path, learning_rates=())
    with pytest.raises(ManifestError, match="no column event_onsets, so nobody knows which share"):
        mixtures.prepare(
            mixtures.Config.preset("smoke", data="accents?speakers_per_accent=3&clips_per_speaker=2&n_folds=3")
        )


def test_the_command_makes_the_table(monkeypatch, request, tmp_path, capsys):
    monkeypatch.syspath_prepend(request.config.rootpath)
    main = importlib.import_module("benchmarks.mixtures").main
    given = ["tiny", "--data", "city?clips_per_class=6&n_folds=3&duration=2", "--poolings", "mean, softmax"]
    given += [
        "--seeds",
        "1",
        "--bounds",
        "0, 0.3, 1",
        "--set",
        "epochs=1",
        "--set",
        "n_mels=16",
        "--set",
        "components=8",
    ]
    assert main([*given, "--runs", str(tmp_path / "runs"), "--output", str(tmp_path)]) == 0
    table = mixtures.GainResults.read(tmp_path / "tiny.csv")
    assert table.made_with["seeds"] == "1"
    assert table.made_with["frames"] == "16 log-mel bands, one frame every 40 ms"
    assert "Attention, the mean of all mechanisms" in capsys.readouterr().out


def test_every_committed_table_says_where_it_comes_from_and_is_on_the_page(request):
    root = request.config.rootpath
    page = (root / "book" / "mixtures_results.md").read_text()
    for path in sorted((root / "benchmarks" / "results" / "mixtures").glob("*.csv")):
        table = mixtures.GainResults.read(path)
        assert {"corpus", "data", "frames", "settings", "seeds", "runs", "date", "git_commit"} <= set(table.made_with)
        assert not any("/" in table.made_with[name] for name in ("data", "settings", "frames")), "a path of one machine"
        assert f"{{mixture-results}} {path.stem}\n" in page
        assert table.rows["score"].between(0, 1).all()


def test_the_maximum_ignores_padding_and_company():
    values = torch.randn(3, 7, 4)
    lengths = torch.tensor([7, 3, 5])
    context, record = MaxAttention()(values, lengths, record=True)
    for clip, length in enumerate(lengths):
        np.testing.assert_array_equal(context[clip], values[clip, :length].amax(dim=0))
        weights = record.weights[clip, 0]
        assert weights.sum() == pytest.approx(1)
        assert not weights[length:].any()
    assert MaxAttention()(values, lengths)[1].is_empty


def test_whitened_frames_of_training_have_unit_covariance():
    frames = torch.randn(500, 6) @ torch.randn(6, 6) + 3
    whitening = Whitening(6, 4)
    whitening.fit(frames)
    white = whitening(frames)
    np.testing.assert_allclose(white.mean(dim=0), 0, atol=1e-4)
    np.testing.assert_allclose(white.T @ white / 500, np.eye(4), atol=1e-3)


class Counted(nn.Module):
    """An encoder whose frames hold their number in the window, every 10 ms."""

    sample_rate, n_mels, clock, identity = 100, 1, (0.01, 0.0), "counted"

    def forward(self, waveforms, lengths=None):
        count = waveforms.shape[1]
        return torch.arange(count, dtype=torch.float32)[None, :, None], torch.tensor([count])


@pytest.mark.parametrize(("seconds", "windows"), [(0.4, [40]), (1.0, [100]), (1.4, [140]), (3.0, [100, 100, 100])])
def test_long_clips_are_heard_in_windows(seconds, windows):
    frames = WindowedFrames(Counted(), window=1.0, averaged=4)
    made, counts = frames(torch.zeros(2, round(100 * seconds)))
    expected = np.concatenate([np.arange(count).reshape(-1, 4).mean(axis=1) for count in windows])
    assert counts.tolist() == [len(expected)] * 2
    np.testing.assert_allclose(made[1, :, 0], expected)
    assert frames.clock == (0.04, 0.0)
    with pytest.raises(ConfigError, match="averaged is 0"):
        WindowedFrames(Counted(), averaged=0)
