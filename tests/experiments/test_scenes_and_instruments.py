"""Laws of the experiment on scenes and instruments, on a tiny synthetic orchestra."""

import numpy as np
import pytest
import torch

from audioattn_lib.errors import ConfigError, RunError
from audioattn_lib.experiments import scenes_and_instruments as experiment
from audioattn_lib.experiments.scenes_and_instruments import Config
from audioattn_lib.models.input_scaling import BandScaling, Scaled

TESTS = ["test_seen", "test_unseen_device", "test_unseen_instrument"]


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    return experiment.study(Config.smoke(), "dense, per_row_2", "none,clip", 2, root), root


def test_every_result_stands_beside_chance_and_the_linear_baseline(study):
    table = study[0].table()
    assert set(table["pattern"]) == {"dense", "per_row_2", "linear", "chance"}
    assert set(table["test"]) == set(TESTS)
    scored = table[table["pattern"] != "chance"]
    assert (scored["low"] <= scored["score"]).all()
    assert (scored["score"] <= scored["high"]).all()
    assert set(table.loc[table["pattern"] == "dense", "runs"]) == {2}
    compared = table[table["pattern"] == "per_row_2"]
    assert compared[["difference", "difference_low", "difference_high", "p_holm"]].notna().all(axis=None)
    assert table.loc[table["pattern"] == "chance", "score"].tolist() == pytest.approx([1 / 6] * 3)
    assert study[0].verdict("test_unseen_device").startswith("On test_unseen_device **")
    assert len(study[0].effect_of_centring()) == 9


def test_domains_say_which_were_seen(study):
    found = study[0].domains("dense", "clip")
    assert found.loc[["a", "b", "c"], "seen"].eq("yes").all()
    assert found.loc[["d", "e", "f"], "seen"].eq("no").all()
    assert found.loc["worst", "score"] == found.loc[list("abcdef"), "score"].min()


def test_a_run_holds_predictions_scores_and_maps(study):
    run = study[0].of("per_row_2", "none")[0]
    assert sorted(set(run.predictions["split"])) == TESTS
    assert set(run.metrics["tests"]) >= set(TESTS)
    assert set(run.metrics["domains"]) >= {"a", "d", "seen", "unseen", "worst"}
    assert run.attention.maps.shape[1:] == (2, 3, 8, 6)
    assert set(run.attention.clips) <= set(run.predictions["clip"])
    assert len(run.attention.frequencies) == 8
    with pytest.raises(RunError, match="no run with pattern 'high_low' .* there are dense, per_row_2"):
        study[0].of("high_low", "none")


def test_tables_for_people(study):
    runs = study[0]
    scores = runs.scores("test_unseen_device")
    assert list(scores.index) == [
        "Dense",
        "Groups of 2 rows",
        "Dense, centred (clip)",
        "Groups of 2 rows, centred (clip)",
        "linear",
        "linear, centred (clip)",
        "chance",
    ]
    assert list(scores.index[-3:]) == runs.references
    assert set(runs.differences("test_seen")) == {
        "over dense, no centring",
        "over dense, centring: clip",
        "centring clip over none",
    }


def test_one_clip_layer_by_layer(study):
    run, name = study[0].example("dense", "none")
    clip = experiment.prepare(Config(**run.config)).clip(name)
    records, sliders = experiment.attention_layers(run, clip)
    assert sliders == {"Layer": ["1", "2"], "What": ["roll-out", "all heads", "head 1", "head 2", "head 3"]}
    assert list(records)[:2] == ["layer 1, roll-out", "layer 1, all heads"]
    assert len(records) == 10
    whole = run.attention[run.attention.index(name)].maps
    np.testing.assert_allclose(records["layer 2, head 3"].maps[0, 0, 0], whole[0, 1, 2], atol=1e-5)
    np.testing.assert_allclose(records["layer 2, all heads"].maps[0, 0, 0], whole[0, 1].mean(0), atol=1e-5)


def test_the_same_run_is_read_back(study):
    runs, root = study
    before = runs.of("dense", "clip")[1]
    stamp = (before.path / "metrics.json").stat().st_mtime_ns
    again = experiment.run(Config.smoke(centring="clip", seed=1), root)
    assert (again.key, (again.path / "metrics.json").stat().st_mtime_ns) == (before.key, stamp)


def test_the_trained_model_predicts_what_the_run_says(study):
    run = study[0].of("per_row_2", "clip")[0]
    model = experiment.load_model(run)
    prepared = experiment.prepare(Config(**run.config))
    row = prepared.manifest.ids.index(run.predictions["clip"].iloc[0])
    probabilities = model(*prepared.store.batch([row]))[0].softmax(dim=1)[0].detach().numpy()
    expected = run.predictions[[f"probability_{name}" for name in run.classes]].iloc[0]
    np.testing.assert_allclose(probabilities, expected.to_numpy(dtype=float), atol=1e-4)


def test_the_best_epoch_is_chosen_on_domains_that_training_has(study):
    prepared = experiment.prepare(Config.smoke())
    seen = set(prepared.domains[prepared.split.train])
    assert set(prepared.domains[prepared.split.valid]) <= seen
    assert not set(prepared.split.valid) & set(prepared.split.test)
    assert "synthetic" in prepared.describe()


@pytest.mark.parametrize(
    "changes",
    [
        {"average": "swa", "epochs": 2, "mixup": 0.3},
        {"average": "ema", "mixstyle": 0.5, "time_mask": 10, "frequency_mask": 8, "schedule": "ramp"},
        {"size": "mid_level_split"},
        {"pattern": "high_low_branch_v2", "patchout": 3, "held_out": "c", "schedule": "published_ramp"},
        {"n_global": 4, "centring": "clip_scaled", "schedule": "published_cosine", "pattern": "dense,per_row"},
    ],
    ids=str,
)
def test_every_option_trains_and_is_read_back(changes, tmp_path):
    run = experiment.run(Config.smoke(**changes), tmp_path)
    assert np.isfinite(run.history["train_loss"]).all()
    if "average" in changes:
        assert {"valid_loss", "valid_live_loss"} <= set(run.history)
    if "held_out" in changes:
        assert set(run.predictions["domain"]) == {"c"}
    model = experiment.load_model(run)
    row = experiment.prepare(Config(**run.config)).manifest.ids.index(run.predictions["clip"].iloc[3])
    with torch.no_grad():
        found = model(*experiment.prepare(Config(**run.config)).store.batch([row]))[0].softmax(dim=1)[0].numpy()
    expected = run.predictions[[f"probability_{name}" for name in run.classes]].iloc[3]
    np.testing.assert_allclose(found, expected.to_numpy(dtype=float), atol=1e-4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pattern": "pre_row"}, "the attention pattern is 'pre_row'; it must be one of dense"),
        ({"pattern": "dense,dense,dense"}, "names 3 patterns"),
        ({"centring": "mean"}, "centring is 'mean'; it must be one of none, corpus, clip, clip_scaled"),
        ({"size": "huge"}, "size is 'huge'"),
        ({"size": "mid_level_split", "pattern": "per_row"}, "pattern is 'per_row'; it must be 'dense' for mid_level"),
        ({"n_global": 3}, "n_global is 3"),
        ({"mixstyle": 2}, "mixstyle is 2"),
        ({"epochs": 0}, "epochs is 0"),
    ],
)
def test_impossible_configurations(changes, message):
    with pytest.raises(ConfigError, match=message):
        Config(**changes)


def test_unknown_domains_are_named():
    with pytest.raises(ConfigError, match="domain is 'z'; orchestra has a, b, c, d, e, f"):
        experiment.prepare(Config.smoke(held_out="z"))


@pytest.mark.data
def test_real_instruments_with_unseen_ones(data_root, tmp_path):
    config = Config(data=str(data_root / "instr_dg"), epochs=1)
    prepared = experiment.prepare(config)
    assert set(prepared.tests) - {""} == {"test_unseen_instrument", "test_unseen_source"}
    assert set(prepared.domains[prepared.split.train]) == {"philharmonia"}
    run = experiment.run(config, tmp_path)
    assert run.metrics["domains"]["unseen"]["clips"] == (prepared.tests == "test_unseen_source").sum()


class TestBandScaling:
    def clips(self):
        generator = torch.Generator().manual_seed(0)
        return [torch.randn(n, 4, generator=generator) * 3 + torch.arange(4) * 10 for n in (30, 12)]

    @pytest.mark.parametrize("centring", ["none", "corpus", "clip", "clip_scaled"])
    def test_padding_changes_nothing_and_training_clips_have_deviation_one(self, centring):
        scaling, clips = BandScaling(4, centring), self.clips()
        scaling.fit(clips)
        batch = torch.full((2, 30, 4), float("nan"))
        for row, clip in zip(batch, clips, strict=True):
            row[: len(clip)] = clip
        model = Scaled(scaling, torch.nn.Identity())
        together = model.scale(batch, torch.tensor([30, 12]))
        assert (together[1, 12:] == 0).all()
        torch.testing.assert_close(together[1:, :12], model.scale(clips[1][None]))
        valid = torch.cat([together[0], together[1, :12]])
        assert valid.mean().abs() < 1e-4
        assert valid.std(correction=0) == pytest.approx(1, abs=1e-4)

    @pytest.mark.parametrize("centring", ["clip", "clip_scaled"])
    def test_a_gain_of_each_band_is_taken_out(self, centring):
        scaling, clip = BandScaling(4, centring), self.clips()[0][None]
        device = torch.tensor([5.0, -3.0, 8.0, 0.0])
        torch.testing.assert_close(scaling(clip + device, None), scaling(clip, None), atol=1e-4, rtol=1e-4)
