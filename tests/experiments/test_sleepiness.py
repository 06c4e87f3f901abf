"""Laws of the sleepiness experiment, on a few tiny synthetic voices."""

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from audioattn_lib.automation.grid import Grid
from audioattn_lib.core.errors import ConfigError, ManifestError, RunError
from audioattn_lib.data.loading.batches import BatchLoader
from audioattn_lib.data.tables.feature_table import FeatureTableError
from audioattn_lib.data.tables.table_files import read_features, write_features
from audioattn_lib.experiments import published, sleepiness
from audioattn_lib.experiments.common import training as common_training
from audioattn_lib.experiments.sleepiness import Config
from audioattn_lib.experiments.sleepiness.autoencoding import Rebuilding
from audioattn_lib.models.seq2seq import NETWORKS
from audioattn_lib.training.run_directory import Run


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def study(root):
    return sleepiness.study(Config.smoke(), root=root, seeds="0, 1")


@pytest.fixture
def corpus(tmp_path):
    """A folder of noises with numbers, as anybody might bring it."""
    folder = tmp_path / "corpus"
    folder.mkdir()
    generator = np.random.default_rng(0)

    def make(lines, seconds=0.5):
        rows = ["file_name,label,split,group"]
        for number, (label, split) in enumerate(lines):
            soundfile.write(folder / f"{number}.wav", generator.normal(0, 0.1, int(16000 * seconds)), 16000)
            rows.append(f"{number}.wav,{label},{split},{split}{number}")
        (folder / "metadata.csv").write_text("\n".join(rows) + "\n")
        return str(folder)

    return make


def tiny(data, **changes):
    return Config.smoke(data=data, n_fft=512, hop_length=256, **changes)


PARTS = ["train"] * 4 + ["devel"] * 3 + ["test"] * 3


def test_an_autoencoder_leaves_everything_behind(study):
    run = study.encoder("attention_bi_bi_hidden")
    files = {p.name for p in run.path.iterdir()}
    assert {"config.json", "environment.json", "history.csv", "metrics.json", "predictions.csv"} <= files
    assert {"attention.npz", "checkpoint", "tensorboard", sleepiness.FEATURES} <= files
    assert run["n_features"] == 2 * run.config["units"]
    assert "regressor" not in run.config
    assert study.encoder("seq2seq_bi_bi_fc").attention.is_empty


def test_features_are_those_of_the_trained_network_and_carry_names(study):
    run = study.encoder("seq2seq_bi_bi_fc")
    table, prepared = sleepiness.features_of(run), sleepiness.prepare(Config(**run.config))
    assert list(table.ids) == prepared.manifest.ids
    assert set(table.splits) == {"train", "devel", "test"}
    row = 5
    model, scaling = sleepiness.load_model(run), prepared.scaling(run.config["top_db"], "clip")
    features, lengths = prepared.store.batch([row])
    expected = model.extract(scaling(features, lengths), lengths)[0]
    np.testing.assert_allclose(table.features[row], expected, atol=1e-5)


def test_fusion_reads_all_features_and_joins_them_by_name(study, root):
    encoders = study.encoders[:2]
    fused = study.select("fusion")
    assert fused["n_features"] == sum(run["n_features"] for run in encoders)
    assert fused.config["encoders"] == [run.key for run in encoders]
    single = sleepiness.regress(Config.smoke(), encoders[:1], root)
    assert single["n_features"] == encoders[0]["n_features"]


def test_the_order_of_rows_does_not_matter_and_missing_clips_are_named(study, root, tmp_path):
    turned, short = (tmp_path / name for name in ("turned", "short"))
    first = study.encoders[0]
    table = sleepiness.features_of(first)
    for place, rows in ((turned, np.arange(len(table))[::-1]), (short, np.arange(1, len(table)))):
        shutil.copytree(first.path, place)
        write_features(table.take(rows), place / sleepiness.FEATURES)
    expected = study.select(first.config["network"]).predictions
    predictions = sleepiness.regress(Config.smoke(), [Run.load(turned)], tmp_path).predictions
    np.testing.assert_allclose(predictions["predicted"].astype(float), expected["predicted"].astype(float))
    with pytest.raises(FeatureTableError, match=table.ids[0]):
        sleepiness.regress(Config.smoke(), [Run.load(short)], tmp_path)
    with pytest.raises(FeatureTableError, match=table.ids[0]):
        sleepiness.regress(Config.smoke(), [study.encoders[1], Run.load(short)], tmp_path)
    with pytest.raises(ConfigError, match="encoders is empty"):
        sleepiness.regress(Config.smoke(), [], tmp_path)


def test_every_result_stands_beside_chance_and_the_linear_baseline(study):
    table = study.table()
    assert list(table.index) == ["attention_bi_bi_hidden", "seq2seq_bi_bi_fc", "fusion", "linear", "chance"]
    assert table["runs"].tolist() == [2, 2, 2, 1, 0]
    assert (table["low"] <= table["high"]).all()
    assert table.loc["fusion", ["difference", "p_holm", "std"]].notna().all()
    assert table.loc["chance", "low"] < 0 < table.loc["chance", "high"]
    sure = table.loc[study.names, "p_holm"] < 0.05
    excludes = table.loc[study.names, ["difference_low", "difference_high"]].prod(axis=1) > 0
    assert (sure == excludes).all()  # an interval and its test say the same
    assert "So few seeds rank no network" in study.verdict()
    assert study.verdict().endswith("Only 2 groups: intervals over so few are too narrow.")
    assert len(study.predictions("fusion")) == 8


def test_predictions_hold_devel_and_test_clips_with_both_roundings(study):
    predictions = study.select("fusion").predictions
    assert set(predictions["split"]) == {"devel", "test"}
    rounded = predictions["rounded"].astype(float)
    assert (rounded == rounded.round()).all()
    assert rounded.between(1, 9).all()


def test_another_regression_does_not_train_again(study, root):
    run = study.encoders[0]
    stamp = (run.path / "metrics.json").stat().st_mtime_ns
    other = sleepiness.run(Config(**run.config, regressor="ridge"), root)
    assert (run.path / "metrics.json").stat().st_mtime_ns == stamp
    assert other.config["encoders"] == [run.key]
    assert other.key not in {each.key for each in study.runs}


def test_an_interrupted_training_continues_to_the_same_features(tmp_path, monkeypatch):
    config = Config.smoke(epochs=3)
    whole = sleepiness.autoencode(config, tmp_path / "whole")
    calls = []
    original = Rebuilding.validate

    def stop(self, model, batches):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return original(self, model, batches)

    settings = common_training.TrainingSettings
    always = {"checkpoint_seconds": 0.0}
    monkeypatch.setattr(common_training, "TrainingSettings", lambda *a, **k: settings(*a, **k, **always))
    monkeypatch.setattr(Rebuilding, "validate", stop)
    with pytest.raises(KeyboardInterrupt):
        sleepiness.autoencode(config, tmp_path / "cut")
    monkeypatch.setattr(Rebuilding, "validate", original)
    again = sleepiness.autoencode(config, tmp_path / "cut")
    np.testing.assert_array_equal(sleepiness.features_of(again).features, sleepiness.features_of(whole).features)
    assert again["devel_loss"] == whole["devel_loss"]


def test_a_trained_network_describes_the_clips_of_any_corpus(study, corpus):
    run = study.encoder("seq2seq_bi_bi_fc")
    own = sleepiness.features_of(run)
    np.testing.assert_allclose(sleepiness.extract_features(run, run.config["data"]).features, own.features, atol=1e-5)
    folder = Path(corpus([("?", split) for split in PARTS]))
    (folder / "metadata.csv").write_text("file_name,label\n" + "".join(f"{i}.wav,?\n" for i in range(len(PARTS))))
    table = sleepiness.extract_features(run, str(folder))
    assert (len(table), table.width) == (len(PARTS), own.width)
    assert set(table.labels) == {""}
    soundfile.write(folder / "2.wav", np.ones(100) * 0.1, 16000)
    with pytest.raises(ManifestError, match=r"2\.wav"):
        sleepiness.extract_features(run, str(folder))
    assert len(sleepiness.extract_features(run, str(folder), skip_bad_clips=True)) == len(PARTS) - 1


def test_the_loudest_of_the_training_corpus_scales_other_corpora_too(corpus, tmp_path):
    config = tiny(corpus([(number + 0.5, split) for number, split in enumerate(PARTS)]), db_reference="corpus")
    run = sleepiness.autoencode(config, tmp_path)
    assert run["reference"] == sleepiness.prepare(config).scaling(60.0, "corpus").reference
    assert np.isfinite(sleepiness.extract_features(run, Config.smoke().data).features).all()


def test_thresholds_stand_beside_each_other_and_together(root, study):
    studies = sleepiness.study_thresholds(Config.smoke(), "seq2seq_bi_bi_fc", 0, "60, 40", root)
    assert list(studies) == ["60 dB", "40 dB", "all"]
    assert studies["60 dB"].runs[0].key == study.select("seq2seq_bi_bi_fc").key
    both = studies["all"].select("seq2seq_bi_bi_fc")
    assert both["n_features"] == 2 * study.select("seq2seq_bi_bi_fc")["n_features"]
    assert list(sleepiness.study_thresholds(Config.smoke(), "seq2seq_bi_bi_fc", 0, 60, root)) == ["60 dB"]
    with pytest.raises(ConfigError, match="thresholds is 'loud'; it must be decibels above 0"):
        sleepiness.study_thresholds(Config.smoke(), thresholds="loud", root=root)


def test_every_seed_and_every_pair_is_told(study):
    seeds = study.seed_table()
    assert list(seeds.columns) == ["seed 0", "seed 1"]
    np.testing.assert_allclose(seeds.mean(axis=1), study.table().loc[study.names, "score"])
    pairs = study.differences("attention_bi_bi_hidden")
    assert list(pairs.index) == ["No attention, dense feature", "Fusion"]
    assert list(pairs.columns) == ["difference to Attention", "p (Holm)", "would be missed below"]
    rebuilt = study.rebuilding()
    assert rebuilt["features"].tolist() == [16, 8]
    runs = [run for run in study.encoders if run.config["network"] == "seq2seq_bi_bi_fc"]
    expected = np.mean([run["test_loss"] for run in runs])
    shown = rebuilt.loc["No attention, dense feature", "teacher forcing"]
    assert shown.startswith(f"{expected:.3f} (")
    loss, is_shown = study.loss_difference("free-running", "seq2seq_bi_bi_fc", "seq2seq_bi_bi_fc")
    assert (loss, is_shown) == ("+0.000 (+0.000 to +0.000)", False)


def test_no_features_without_a_trained_network(study, tmp_path):
    place = tmp_path / "untrained"
    shutil.copytree(study.encoders[0].path, place)
    (place / "checkpoint" / "best.safetensors").unlink()
    (place / sleepiness.FEATURES).unlink()
    shutil.rmtree(place / "model")
    run = Run.load(place)
    for attempt in (sleepiness.load_model, lambda untrained: sleepiness.extract_features(untrained, "voices")):
        with pytest.raises(RunError, match="train the model first"):
            attempt(run)
    with pytest.raises(RunError, match="not the run of an autoencoder"):
        sleepiness.features_of(run)
    with pytest.raises(RunError, match="not the run of an autoencoder"):
        sleepiness.load_model(study.baseline)


def test_weights_of_another_network_are_refused(study, tmp_path):
    place = tmp_path / "other"
    shutil.copytree(study.encoders[0].path, place)
    file = place / "model" / "model.json"
    content = json.loads(file.read_text())
    file.write_text(json.dumps(content | {"config": content["config"] | {"network": "seq2seq_bi_bi_fc"}}))
    with pytest.raises(RunError, match="weights are of another model"):
        sleepiness.load_model(Run.load(place))


def test_alignments_are_kept_for_test_clips(study):
    _, name = study.example()
    record = study.records_of(name)["Attention"]
    assert record.clips == (name,)
    n = int(record.n_frames[0])
    assert record.alignment[0, :n, :n].sum(axis=1) == pytest.approx(1, abs=1e-5)
    assert study.attending == ["attention_bi_bi_hidden"]


def test_a_clip_is_shown_beside_what_is_made_of_it(study):
    run = study.encoder("attention_bi_bi_hidden")
    clip = sleepiness.prepare(Config(**run.config)).clip(study.example()[1])
    shown = sleepiness.rebuild(run, clip)
    assert list(shown) == ["input", "teacher forcing", "free-running"]
    for values in shown.values():
        assert values.shape == clip.features.shape
        assert values.max() <= 0
        assert values.min() >= -run.config["top_db"]
    assert shown["input"].max() == 0


def test_tensorboard_has_steps_epochs_and_pictures(study):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(study.encoder("attention_bi_bi_hidden").path / "tensorboard"))
    events.Reload()
    assert {"step_loss", "valid_loss"} <= set(events.Tags()["scalars"])
    assert set(events.Tags()["images"]) == {
        "alignment",
        "frames/input",
        "frames/rebuilt",
        "frames/free_running",
    }


def test_one_spectrogram_serves_all_thresholds():
    stores = {sleepiness.prepare(Config.smoke(top_db=db)).store.path for db in (40.0, 70.0)}
    assert len(stores) == 1
    prepared = sleepiness.prepare(Config.smoke())
    quiet = prepared.scaling(60.0, "corpus")
    assert quiet.reference == max(float(prepared.store[int(i)].max()) for i in prepared.fixed_split.train)


def test_every_network_trains_and_describes(corpus, tmp_path):
    config = tiny(corpus([(number + 0.5, split) for number, split in enumerate(PARTS)], seconds=0.2))
    for network in NETWORKS:
        changed = dataclasses.replace(config, network=network, attention="sparsemax", cell="lstm", units=4)
        table = sleepiness.features_of(sleepiness.autoencode(changed, tmp_path))
        assert len(table) == len(PARTS)
        assert np.ptp(table.features, axis=0).max() > 0


def test_unknown_test_labels_are_predicted_and_not_scored(corpus, tmp_path):
    labels = ["?" if split == "test" else number for number, split in enumerate(PARTS)]
    run = sleepiness.run(tiny(corpus(list(zip(labels, PARTS, strict=True)))), tmp_path)
    assert "spearman" not in run.metrics
    assert len(run.predictions.query("split == 'test'")) == 3


def test_without_test_labels_a_study_scores_the_development_clips_and_says_so(corpus, tmp_path, study):
    labels = ["?" if split == "test" else number for number, split in enumerate(PARTS)]
    config = tiny(corpus(list(zip(labels, PARTS, strict=True))))
    blind = sleepiness.study(config, "seq2seq_bi_bi_fc", "0", tmp_path)
    assert (blind.part, study.part) == ("devel", "test")
    assert "No test clip has a label" in blind.unmeasured
    assert blind.verdict().startswith(blind.unmeasured)
    assert study.unmeasured == ""
    only = blind.runs[0]
    assert blind.table().loc["seq2seq_bi_bi_fc", "score"] == only["valid_spearman"] == only["valid"]["spearman"]
    assert list(blind.predictions("linear").index) == list(only.predictions.query("split == 'devel'")["clip"])
    assert "Spearman, validation clips" in study.other_scores()
    assert "Spearman, validation clips" not in blind.other_scores()
    assert "No label is known of 3 of 3 test clips" in sleepiness.prepare(config).describe()
    assert published.sleepiness_table(blind)["here, test"].tolist() == ["", "", ""]


def test_published_figures_stand_beside_those_of_the_runs(study):
    table = published.sleepiness_table(study)
    assert table["published, test"].tolist() == ["0.311", "0.359", "0.367"]
    assert table["published, validation"].tolist() == ["0.324", "0.283", "0.320"]
    runs = [run["spearman"] for run in study.runs if run.config["system"] == "fusion"]
    assert table.loc["Fusion", "here, test"] == f"{np.mean(runs):.3f}"
    assert "cannot be compared" in published.why_sleepiness("voices")
    assert "can be compared" in published.why_sleepiness("sleepiness")


def test_short_clips_and_labels_that_are_no_numbers_are_named(corpus, tmp_path):
    data = corpus([(number, split) for number, split in enumerate(PARTS)])
    soundfile.write(f"{data}/2.wav", np.ones(100) * 0.1, 16000)
    with pytest.raises(ManifestError, match=r"1 clips are shorter than one window .*2\.wav"):
        sleepiness.prepare(tiny(data))
    assert len(sleepiness.prepare(tiny(data, skip_bad_clips=True)).manifest) == 9
    data = corpus([("tired" if number == 4 else number + 0.5, split) for number, split in enumerate(PARTS)])
    with pytest.raises(ManifestError, match=r"metadata\.csv:6: label is 'tired'"):
        sleepiness.prepare(tiny(data, seed=1))


def test_rows_that_stand_twice_and_files_that_are_missing_are_named(corpus):
    path = Path(corpus([(number + 0.5, split) for number, split in enumerate(PARTS)])) / "metadata.csv"
    rows = path.read_text()
    for wrong in (rows + "3.wav,3.5,train,train3\n", rows.replace("\n3.wav", "\nthree.wav")):
        path.write_text(wrong)
        with pytest.raises(ManifestError, match="three.wav" if "three" in wrong else "3.wav"):
            sleepiness.prepare(tiny(str(path.parent), seed=2))


def test_a_speaker_on_both_sides_is_refused(corpus):
    data = corpus([(number + 0.5, split) for number, split in enumerate(PARTS)])
    path = Path(data) / "metadata.csv"
    path.write_text(path.read_text().replace("devel4", "train0"))
    with pytest.raises(ManifestError, match="train0"):
        sleepiness.prepare(tiny(data))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("network", "attention"),
        ("attention", "gaussian"),
        ("variant", "scrambled"),
        ("cell", "rnn"),
        ("loss", "mae"),
        ("db_reference", "speaker"),
        ("regressor", "lasso"),
        ("top_db", 0.0),
        ("scheduled_sampling", 1.1),
        ("dropout", 1.0),
        ("frame_dropout", -0.1),
        ("units", 0),
        ("n_fft", 1),
        ("stored", "int8"),
        ("device", "tpu"),
    ],
)
def test_impossible_values_name_their_field(field, value):
    with pytest.raises(ConfigError, match=field):
        Config(**{field: value})


def test_presets_hold_the_published_values():
    paper, audeep = Config.preset("paper"), Config.preset("audeep")
    assert (paper.n_fft, paper.hop_length, paper.n_mels, paper.units, paper.batch_size) == (1024, 256, 240, 256, 64)
    assert (paper.epochs, paper.learning_rate, paper.window, paper.loss) == (10, 1e-3, "hamming", "mse")
    assert (audeep.n_fft / 16000, audeep.hop_length / 16000, audeep.n_mels) == (0.08, 0.04, 128)
    assert (audeep.network, audeep.loss, audeep.epochs, audeep.batch_size) == ("t_rae", "rmse", 16, 1024)
    with pytest.raises(ConfigError, match="smoke, default, recordings, paper, audeep"):
        Config.preset("huge")
    with pytest.raises(ConfigError, match="variant is 'published'"):
        Config(network="t_rae", variant="published")
    with pytest.raises(ConfigError, match="seeds is 'one'"):
        sleepiness.study(Config.smoke(), seeds="one")


def test_validation_is_the_loss_of_the_clips():
    prepared = sleepiness.prepare(Config.smoke())
    torch.manual_seed(0)
    model = sleepiness.build_model(Config.smoke(), sleepiness.prepare(Config.smoke())).eval()
    rebuilding = Rebuilding(prepared.scaling(60.0, "clip"))
    together = BatchLoader(prepared.store, prepared.values, prepared.fixed_split.valid, 100, shuffle=False)
    loss = rebuilding.validate(model, together)["loss"]
    first = next(together.epoch(0))
    frames = rebuilding.scaling(first.features, first.lengths)
    with torch.no_grad():
        made = model(frames, first.lengths)[0]
    squares = (made - frames).square().sum() / (first.lengths.sum() * frames.shape[2])
    assert loss == pytest.approx(float(squares), rel=1e-5)


def test_features_can_be_read_elsewhere(study, tmp_path):
    table = sleepiness.features_of(study.encoders[0])
    write_features(table, tmp_path / "features.arff", layout="audeep")
    back = read_features(tmp_path / "features.arff")
    np.testing.assert_allclose(back.features, table.features)
    assert back.ids == table.ids


def test_uses_and_findings_claim_what_the_tables_show(study):
    told = sleepiness.uses(study)
    sure = (study.compare("linear")[["p_holm", "difference"]] * [1, -1] < [0.05, 0]).all(axis=1)
    assert ("for none is reliably better" in told) == (not sure.any())
    assert "This page does not test it" in told
    shown, not_shown = sleepiness.findings(study)
    first = next(sentence for sentence in [*shown, *not_shown] if "highest rank correlation" in sentence)
    assert (first in shown) == ("not reliably different" not in first)


def test_the_summary_is_the_table_in_words(study):
    summary = study.summary()
    assert list(summary.index) == ["Attention", "No attention, dense feature", "Fusion", "Linear baseline", "Chance"]
    assert summary.loc["Chance", "Spearman"].startswith("0.00 [-0.")
    assert (summary.loc["Fusion"] != "").all()
    assert list(study.other_scores().index) == list(summary.index)


def test_sounds_to_hear_are_spread_over_the_labels():
    prepared = sleepiness.prepare(Config.smoke())
    heard = prepared.sounds(prepared.manifest.ids, 5)
    labels = [prepared.values[prepared.manifest.ids.index(name)] for name in heard]
    assert len(labels) == 5
    assert labels == sorted(labels)
    assert (labels[0], labels[-1]) == (prepared.values.min(), prepared.values.max())
    assert all(rate == 16000 for _, rate in heard.values())


@pytest.mark.slow
def test_every_job_of_the_sweep_can_be_done_and_its_runs_stand_on_one_page(root, tmp_path):
    """All networks and thresholds of the file, the first seed of each, in the smallest size."""
    jobs = Grid.read(Path(__file__).parents[2] / "notebooks" / "sweeps" / "sleepiness.yml").jobs
    assert len(jobs) == 6 * 4 * 3
    thresholds = sorted({job["settings"]["top_db"] for job in jobs})
    assert {job["networks"] for job in jobs} == set(NETWORKS)
    jobs = [job for job in jobs if int(job["seeds"]) == 0]
    for job in jobs:
        config = Config.preset("smoke", network=job["networks"], **job["settings"])
        sleepiness.autoencode(dataclasses.replace(config, n_mels=4, units=2), tmp_path)
    made = set(tmp_path.glob("sleepiness/*/checkpoint"))
    assert len(made) == len(jobs)
    config = Config.smoke(n_mels=4, units=2, regressor="ridge")
    studies = sleepiness.study_thresholds(config, "all", "0", thresholds, tmp_path)
    assert set(tmp_path.glob("sleepiness/*/checkpoint")) == made, "the page trains nothing"
    assert list(studies) == ["40 dB", "50 dB", "60 dB", "70 dB", "all"]
    assert studies["all"].table().loc["fusion", "runs"] == 1
