"""Laws of the experiment on scenes and instruments, on a tiny synthetic orchestra."""

import dataclasses

import numpy as np
import pytest
import torch

from audioattn_lib.audio import io
from audioattn_lib.core.errors import ConfigError, ManifestError, RunError
from audioattn_lib.experiments import scenes_and_instruments as experiment
from audioattn_lib.experiments.scenes_and_instruments import Config
from audioattn_lib.experiments.scenes_and_instruments.domain_methods import (
    DOMAIN_METHODS,
    domain_method_of,
    domain_method_title,
    parse_domain_method,
)
from audioattn_lib.experiments.scenes_and_instruments.results import WORST, DomainResults
from audioattn_lib.experiments.scenes_and_instruments.training import fit_scaling
from audioattn_lib.models.layers.input_scaling import BandScaling, Scaled

TESTS = ["test_seen", "test_unseen_device", "test_unseen_instrument"]


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    return experiment.study(Config.smoke(), "dense, per_row_2", "none,clip", "0, 1", root), root


def test_every_result_stands_beside_chance_and_the_linear_baseline(study):
    results = study[0].results()
    assert results.tests == TESTS
    table = results.rows
    assert set(table["pattern"]) == {"dense", "per_row_2", "linear", "chance"}
    assert set(table["test"]) == {*TESTS, WORST}
    scored = table[(table["pattern"] != "chance") & (table["test"] != WORST)]
    assert (scored["low"] <= scored["score"]).all()
    assert (scored["score"] <= scored["high"]).all()
    assert set(table.loc[table["pattern"] == "dense", "runs"]) == {2}
    tested = table[table["test"] != WORST]
    compared = tested[tested["pattern"] == "per_row_2"]
    assert compared[["difference", "difference_low", "difference_high", "difference_p"]].notna().all(axis=None)
    gained = tested[tested["domain_method"] == "clip"]
    assert gained[["gain", "gain_low", "gain_high", "gain_p"]].notna().all(axis=None)
    assert tested.loc[tested["domain_method"] == "none", "gain"].isna().all()
    assert table.loc[table["pattern"] == "chance", "score"].tolist() == pytest.approx([1 / 6] * 4)
    said = results.verdict("test_unseen_device")
    assert said.startswith("Test set *unseen device*: **")
    assert "the linear baseline has" in said


def test_the_worst_group_is_the_lowest_domain_of_any_test(study):
    rows = study[0].results().scores(WORST)
    for (pattern, domain_method), name in {
        ("dense", "none"): "Dense",
        ("per_row_2", "clip"): "Groups of 2 rows, centred bands",
    }.items():
        right = study[0].correct(pattern, domain_method)
        means = right.groupby(["split", "domain"])["right"].mean()
        group = ", ".join(means.idxmin()).removeprefix("test_").replace("_", " ")
        assert rows.loc[f"{name} ({group})", "score"] == pytest.approx(means.min())


def test_results_are_read_back_from_a_file(study, tmp_path):
    results = study[0].results()
    assert {"python", "device", "torch"} <= set(results.made_with)
    results.write(tmp_path / "tiny.csv")
    again = DomainResults.read(tmp_path / "tiny.csv")
    assert again.made_with == results.made_with
    assert again.references == results.references
    for test in (*TESTS, WORST):
        first, other = again.scores(test), results.scores(test)
        assert list(first.index) == list(other.index)
        np.testing.assert_allclose(first["score"], other["score"], atol=1e-5)
    assert again.verdict("test_seen") == results.verdict("test_seen")
    assert again.pattern_differences("test_seen").equals(results.pattern_differences("test_seen"))
    with pytest.raises(RunError, match="there is no test 'x'; there are test_seen"):
        again.scores("x")
    with pytest.raises(RunError, match="no results can be read"):
        DomainResults.read(tmp_path / "none.csv")
    (tmp_path / "other.csv").write_text("a\n1\n")
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(RunError, match="lacks the columns pattern, domain_method"):
        DomainResults.read(tmp_path / "other.csv")


def test_domains_say_which_were_seen(study):
    table = study[0].domains("dense", "clip")
    assert table.loc[["a", "b", "c"], "seen"].eq("yes").all()
    assert table.loc[["d", "e", "f"], "seen"].eq("no").all()
    assert table.loc["worst", "score"] == table.loc[list("abcdef"), "score"].min()


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
    results = runs.results()
    scores = results.scores("test_unseen_device")
    assert list(scores.index) == [
        "Dense",
        "Groups of 2 rows",
        "Dense, centred bands",
        "Groups of 2 rows, centred bands",
        "linear",
        "linear, centred bands",
        "chance",
    ]
    assert [name for name in results.references if name in scores.index] == list(scores.index[-3:])
    worst = results.scores("worst_group")
    assert [name for name in results.references if name in worst.index] == list(worst.index[-3:])
    assert worst.index[-3].startswith("Linear baseline (")
    alone = results.scores("test_unseen_device", "clip")
    assert list(alone.index) == ["Dense", "Groups of 2 rows", "linear", "chance"]
    assert alone.loc["linear", "score"] == scores.loc["linear, centred bands", "score"]
    assert alone.loc["Dense", "score"] == scores.loc["Dense, centred bands", "score"]
    over_dense, over_none = results.pattern_differences("test_seen"), results.domain_method_differences("test_seen")
    assert (list(over_dense), list(over_dense.index)) == (["no domain method", "centred bands"], ["Groups of 2 rows"])
    assert list(over_none) == ["centred bands"]
    assert list(over_none.index) == ["Dense", "Groups of 2 rows", "Linear baseline"]


def test_the_first_finding_ranks_no_network(study):
    (first, *_), _ = experiment.findings(study[0])
    assert first.startswith("On unseen devices, **the networks are right in ")
    assert "; the linear baseline" in first


def test_one_clip_layer_by_layer(study):
    run, name = study[0].example("dense", "none")
    clip = experiment.prepare(Config(**run.config)).clip(name)
    records, sliders = experiment.attention_layers(run, clip)
    assert sliders == {"Layer": ["1", "2"], "What": ["rollout", "all heads", "head 1", "head 2", "head 3"]}
    assert list(records)[:2] == ["Layer 1, rollout", "Layer 1, all heads"]
    assert len(records) == 10
    whole = run.attention[run.attention.index(name)].maps
    np.testing.assert_allclose(records["Layer 2, head 3"].maps[0, 0, 0], whole[0, 1, 2], atol=1e-5)
    np.testing.assert_allclose(records["Layer 2, all heads"].maps[0, 0, 0], whole[0, 1].mean(0), atol=1e-5)


def test_the_same_run_is_read_back(study):
    runs, root = study
    before = runs.of("dense", "clip")[1]
    stamp = (before.path / "metrics.json").stat().st_mtime_ns
    again = experiment.run(Config.smoke(band_normalization="clip", seed=1), root)
    assert (again.key, (again.path / "metrics.json").stat().st_mtime_ns) == (before.key, stamp)


def test_the_trained_model_predicts_what_the_run_says(study):
    run = study[0].of("per_row_2", "clip")[0]
    model = experiment.load_model(run)
    prepared = experiment.prepare(Config(**run.config))
    row = prepared.manifest.ids.index(run.predictions["clip"].iloc[0])
    probabilities = model(*prepared.store.batch([row]))[0].softmax(dim=1)[0].detach().numpy()
    expected = run.predictions[[f"probability_{name}" for name in run.classes]].iloc[0]
    np.testing.assert_allclose(probabilities, expected.to_numpy(dtype=float), atol=1e-4)


def test_domains_can_be_heard_and_say_which_training_had():
    config = Config.smoke()
    sounds = experiment.domains_heard(experiment.prepare(config), config)
    assert {domain.name: domain.is_trained for domain in sounds} == dict.fromkeys("abc", True) | dict.fromkeys(
        "def", False
    )
    assert [domain.is_trained for domain in sounds] == sorted((domain.is_trained for domain in sounds), reverse=True)
    assert len({domain.clip.samples.tobytes() for domain in sounds}) == len(sounds)
    for domain in sounds:
        assert domain.response.shape == domain.clip.frequencies.shape == domain.clip.features.shape[1:]
    assert np.ptp(sounds[0].response) < min(np.ptp(domain.response) for domain in sounds[1:]), (
        "the first is a good recorder"
    )


def test_the_best_epoch_is_chosen_on_domains_that_training_has(study):
    prepared = experiment.prepare(Config.smoke())
    seen = set(prepared.domains[prepared.fixed_split.train])
    assert set(prepared.domains[prepared.fixed_split.valid]) <= seen
    assert not set(prepared.fixed_split.valid) & set(prepared.fixed_split.test)
    assert "synthetic" in prepared.describe()
    assert "in no part" not in prepared.describe()
    fewer = dataclasses.replace(prepared.fixed_split, train=prepared.fixed_split.train[2:])
    assert "The other 2 clips are in no part." in dataclasses.replace(prepared, fixed_split=fewer).describe()


@pytest.mark.parametrize(
    "changes",
    [
        {"average": "swa", "epochs": 2, "mixup": 0.3},
        {"average": "ema", "mixstyle_prob": 0.5, "time_mask": 10, "frequency_mask": 8, "schedule": "ramp"},
        {"size": "mid_level_split"},
        {"pattern": "high_low_branch_v2", "patchout": 3, "held_out": "c", "schedule": "published_ramp"},
        {
            "n_global": 4,
            "band_normalization": "clip_scaled",
            "schedule": "published_cosine",
            "pattern": "dense,per_row",
        },
        {"front_end": "published", "f_min_jitter": 10, "f_max_jitter": 2000, "band_normalization": "clip"},
        {"front_end": "published", "band_normalization": "corpus", "ir_prob": 0.5},
        {"ir_prob": 1.0, "test_valid": False, "attention_alpha": 1.5},
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
        probabilities = model(*experiment.prepare(Config(**run.config)).store.batch([row]))[0].softmax(dim=1)[0].numpy()
    expected = run.predictions[[f"probability_{name}" for name in run.classes]].iloc[3]
    np.testing.assert_allclose(probabilities, expected.to_numpy(dtype=float), atol=1e-4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pattern": "pre_row"}, "the attention pattern is 'pre_row'; it must be one of dense"),
        ({"pattern": "dense,dense,dense"}, "names 3 patterns"),
        (
            {"band_normalization": "mean"},
            "band_normalization is 'mean'; it must be one of none, corpus, clip, clip_scaled",
        ),
        ({"size": "huge"}, "size is 'huge'"),
        ({"size": "mid_level_split", "pattern": "per_row"}, "pattern is 'per_row'; it must be 'dense' for mid_level"),
        ({"n_global": 3}, "n_global is 3"),
        ({"attention_alpha": 0.5}, r"attention_alpha is 0\.5; it must be at least 1"),
        ({"size": "mid_level_split", "attention_alpha": 1.5}, r"attention_alpha is 1\.5; it must be 1 for mid_level"),
        ({"mixstyle_prob": 2}, "mixstyle_prob is 2"),
        ({"epochs": -1}, "epochs is -1"),
        ({"front_end": "mfcc"}, "front_end is 'mfcc'; it must be one of log_mel, published"),
        ({"f_max_jitter": 500}, "f_max_jitter is 500; it must be 0 but for the published front end"),
        ({"front_end": "published", "f_max_jitter": 8000}, "it must be less than 8000 hertz together with f_min"),
        ({"ir_prob": 1.5}, r"ir_prob is 1\.5; it must be in \[0, 1\]"),
        ({"held_out": "c", "test_valid": True}, "test_valid is True; it must be false where a domain is held out"),
    ],
)
def test_impossible_configurations(changes, message):
    with pytest.raises(ConfigError, match=message):
        Config(**changes)


def test_unknown_domains_are_named():
    with pytest.raises(ConfigError, match="domain is 'z'; orchestra has a, b, c, d, e, f"):
        experiment.prepare(Config.smoke(held_out="z"))


def test_no_epochs_evaluate_weights_as_they_are(tmp_path):
    run = experiment.run(Config.smoke(epochs=0, seed=3), tmp_path)
    assert list(run.history["epoch"]) == [0]
    assert run.history["valid_loss"].notna().all()
    torch.manual_seed(3)
    untrained = experiment.build_model(Config.smoke(), experiment.prepare(Config.smoke())).state_dict()
    weights = experiment.load_model(run).state_dict()
    assert torch.equal(weights["network.head.1.weight"], untrained["network.head.1.weight"])


@pytest.mark.parametrize("name", ["smoke", "default", "recordings", "paper", "nsynth", "nsynth_cnn"])
def test_presets_are_valid_and_take_changes(name):
    assert Config.preset(name, seed=2, data=None).seed == 2
    with pytest.raises(
        ConfigError, match="preset is 'beats'; it must be one of smoke, default, recordings, paper, nsynth"
    ):
        Config.preset("beats")


def test_named_configurations_change_a_preset():
    from audioattn_lib.models.layers.transformer import ARCHITECTURES

    assert Config.preset("passt_s_20sec") == Config.paper(size="passt_s_f128_20sec_p16_s10_ap474")
    assert Config.preset("nsynth, mixup", seed=2) == Config.nsynth(mixup=0.3, seed=2)
    assert Config.preset("paper,mixup,nomixup,passt", mixup=0.1).mixup == 0.1
    assert len(Config.preset("ensemble_many").sizes) == 9
    for name, fields in Config.NAMED.items():
        config = Config.preset(name)
        assert all(getattr(config, field) == value for field, value in fields.items())
        assert set(config.sizes) <= {"published", *ARCHITECTURES}
    for wrong in ("paper,nsynth", "paper,pass"):
        with pytest.raises(
            ConfigError, match="it must be one of smoke.*; or named configurations on top of one: mixup"
        ):
            Config.preset(wrong)


def test_an_ensemble_is_the_mean_of_the_logits_of_its_checkpoints(tmp_path):
    changes = {"pattern": "per_row_2", "band_normalization": "corpus"}
    runs = [experiment.run(Config.smoke(seed=seed, **changes), tmp_path) for seed in (0, 1)]
    averaged = experiment.run(Config.smoke(seed=2, average="swa", epochs=2, **changes), tmp_path)
    members = [*runs, averaged]
    files = ", ".join(str(run.path) for run in members)
    config = Config.smoke(pretrained=files, epochs=0, **changes)
    together = experiment.run(config, tmp_path)
    prepared = experiment.prepare(config)
    rows = [prepared.manifest.ids.index(name) for name in together.predictions["clip"][:5]]
    batch = prepared.store.batch(rows)
    with torch.no_grad():
        mean = torch.stack([experiment.load_model(run)(*batch)[0] for run in members]).mean(dim=0)
        torch.testing.assert_close(experiment.load_model(together)(*batch)[0], mean)
    columns = [f"probability_{name}" for name in together.classes]
    np.testing.assert_allclose(together.predictions[columns][:5], mean.softmax(dim=1), atol=1e-5)
    whole = experiment.run(
        Config.smoke(pretrained=str(together.path), size="tiny,tiny,tiny", epochs=0, **changes), tmp_path
    )
    np.testing.assert_allclose(whole.predictions[columns], together.predictions[columns], atol=1e-5)
    with pytest.raises(ConfigError, match="an ensemble has no attention of its own"):
        experiment.attention_layers(together, prepared.clip(together.predictions["clip"][0]))
    with pytest.raises(ConfigError, match="size names 2 networks and pretrained 3 files; give a file for each"):
        Config.smoke(pretrained=files, size="tiny,small")
    mixed = experiment.run(Config.smoke(size="tiny,mid_level_split"), tmp_path)
    assert experiment.load_model(mixed)(*batch)[0].shape == mean.shape


def test_published_weights_meet_the_scaling_that_they_expect(tmp_path, caplog):
    config = Config.smoke(front_end="published")
    network = experiment.build_model(config, experiment.prepare(config)).network
    state = {f"net_swa.{name}": tensor + 0.01 for name, tensor in network.state_dict().items()}
    torch.save(
        {"state_dict": {**state, **{f"net.{n}": t for n, t in network.state_dict().items()}}}, tmp_path / "a.ckpt"
    )
    options = {"pretrained": str(tmp_path / "a.ckpt"), "pretrained_prefix": "net_swa.", "epochs": 0}
    with caplog.at_level("WARNING", logger="audioattn"):
        run = experiment.run(Config.smoke(front_end="published", **options), tmp_path)
    assert "that of the published networks is taken" in caplog.text
    assert "does not name its classes; they are taken in this order" in caplog.text
    model = experiment.load_model(run)
    assert torch.equal(model.network.head[1].weight, state["net_swa.head.1.weight"])
    assert model.scaling.std[0] == pytest.approx(5 * 10 / np.log(10), rel=1e-3)
    other = {name: tensor[:4] if name.startswith("net_swa.head.1.") else tensor for name, tensor in state.items()}
    torch.save({"state_dict": other}, tmp_path / "a.ckpt")
    with pytest.raises(
        ConfigError, match="is not all of this network of 6 classes, and with 0 epochs nothing is learned"
    ):
        experiment.run(Config.smoke(front_end="published", **options), tmp_path)


@pytest.fixture
def tone_corpus(tmp_path):
    """Two classes of tones: 10 clips train, 4 validate, 2 test, and there is no test of what training has heard."""
    lines = ["file_name,label,split,domain"]
    for number, split in enumerate(["train"] * 10 + ["devel"] * 4 + ["test_far"] * 2):
        pitch = (220, 880)[number % 2] * (1 + 0.01 * number)
        tone = 0.3 * np.sin(2 * np.pi * pitch * np.arange(4000) / 16000)
        io.write(tmp_path / "tones" / f"{number}.wav", tone.astype(np.float32), 16000)
        lines.append(f"{number}.wav,{('low', 'high')[number % 2]},{split},a")
    (tmp_path / "tones" / "metadata.csv").write_text("\n".join(lines) + "\n")
    return tmp_path / "tones"


def test_validation_clips_can_be_a_test_where_there_is_none(tone_corpus):
    plain, devel = (experiment.prepare(Config(data=str(tone_corpus), test_valid=d)) for d in (False, True))
    assert set(plain.tests) - {""} == {"test_far"}
    assert set(devel.tests) - {""} == {"test_far", "test_seen"}
    np.testing.assert_array_equal(np.flatnonzero(devel.tests == "test_seen"), plain.fixed_split.valid)
    assert set(devel.fixed_split.train) | set(devel.fixed_split.valid) == set(plain.fixed_split.train)
    assert not set(devel.fixed_split.train) & set(devel.fixed_split.valid)
    with pytest.raises(ConfigError, match="orchestra has a test_seen of its own"):
        experiment.prepare(Config.smoke(test_valid=True))


def test_domains_that_training_lacks_are_no_seen_ones(tone_corpus):
    table = tone_corpus / "metadata.csv"
    table.write_text(table.read_text().replace("test_far,a", "test_seen,b"))
    with pytest.raises(ManifestError, match="test_seen has clips of domain b, which no training clip has; give that"):
        experiment.prepare(Config(data=str(tone_corpus)))


def test_devices_are_read_from_a_folder(tmp_path):
    click = np.zeros(32, dtype=np.float32)
    click[3] = 0.5
    io.write(tmp_path / "responses" / "one.wav", click, 16000)
    run = experiment.run(Config.smoke(ir_prob=1.0, impulse_responses=str(tmp_path / "responses")), tmp_path / "runs")
    assert np.isfinite(run.history["train_loss"]).all()
    with pytest.raises(ConfigError, match="no impulse responses; give a folder"):
        experiment.run(Config.smoke(ir_prob=1.0, impulse_responses=str(tmp_path / "none")), tmp_path / "runs")


def test_the_published_front_end_keeps_the_published_scale():
    scaled = experiment.build_model(config := Config.smoke(front_end="published"), experiment.prepare(config))
    fit_scaling(scaled.scaling, config, experiment.prepare(config))
    power = torch.rand(1, 5, 64) + 0.1
    decibels = 10 * power.log10()
    torch.testing.assert_close(scaled.scale(decibels), (power.log() + 4.5) / 5, atol=1e-5, rtol=1e-5)


class TestDomainMethods:
    @pytest.mark.parametrize("name", [*DOMAIN_METHODS, "clip+mixstyle", "clip_scaled+mixstyle+impulse_responses"])
    def test_a_name_is_found_again_in_the_configuration(self, name):
        fields = parse_domain_method(name)
        assert domain_method_of(vars(Config.smoke(**fields))) == name
        assert bool(domain_method_title(name)) == (name != "none")

    def test_impossible_domain_methods(self):
        with pytest.raises(ConfigError, match="domain method is 'eq'; it must be one of none, corpus, clip"):
            parse_domain_method("clip+eq")
        with pytest.raises(ConfigError, match="'clip\\+corpus' sets band_normalization twice"):
            parse_domain_method("clip+corpus")


@pytest.mark.data
def test_real_instruments_with_unseen_ones(data_root, tmp_path):
    config = Config(data=str(data_root / "instr_dg"), epochs=1)
    prepared = experiment.prepare(config)
    assert set(prepared.tests) - {""} == {"test_unseen_instrument", "test_unseen_source"}
    assert set(prepared.domains[prepared.fixed_split.train]) == {"philharmonia"}
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

    def test_fixed_numbers_are_taken_as_they_are(self):
        scaling = BandScaling(4)
        scaling.fix(2.0, 4.0)
        torch.testing.assert_close(scaling(torch.full((1, 3, 4), 6.0), None), torch.ones(1, 3, 4))
        with pytest.raises(ConfigError, match="std is 0"):
            scaling.fix(0.0, 0.0)

    @pytest.mark.parametrize("centring", ["clip", "clip_scaled"])
    def test_a_gain_of_each_band_is_taken_out(self, centring):
        scaling, clip = BandScaling(4, centring), self.clips()[0][None]
        device = torch.tensor([5.0, -3.0, 8.0, 0.0])
        torch.testing.assert_close(scaling(clip + device, None), scaling(clip, None), atol=1e-4, rtol=1e-4)


def test_recordings_are_trained_longer_than_the_synthetic_orchestra():
    assert Config.preset("default", data="notes/") == Config.recordings(data="notes/")
    assert Config.preset("default", data="orchestra?clips_per_class=8").epochs == Config.default().epochs
    assert Config.recordings().epochs > Config.default().epochs
