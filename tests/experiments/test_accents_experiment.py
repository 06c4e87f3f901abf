"""Laws of the accents experiment, on a few synthetic speakers."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch
from layouts import LAYOUTS

from audioattn_lib.attention.record.record import FrameClock
from audioattn_lib.core.errors import ConfigError, ManifestError, RunError
from audioattn_lib.data import corpora
from audioattn_lib.data.manifest import Manifest
from audioattn_lib.evaluation.scores.verification import (
    equal_error_rate,
    make_trials,
    score_trials,
    verification_metrics,
)
from audioattn_lib.experiments import accents, published
from audioattn_lib.experiments.accents import Config
from audioattn_lib.experiments.accents import corpus as accents_corpus
from audioattn_lib.experiments.accents.attention_evaluation import carriers
from audioattn_lib.experiments.accents.corpus import whole_utterances, windows
from audioattn_lib.experiments.accents.experiment import embed
from audioattn_lib.experiments.accents.network import build_network
from audioattn_lib.experiments.accents.utterances import normalise
from audioattn_lib.experiments.accents.verification import (
    detection_curves,
    embedding_map,
    list_trials,
    load_embeddings,
    verification_table,
)
from audioattn_lib.training.checkpoint import load_best


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def study(root):
    return accents.study(Config.smoke(), "mean, double_multi_head", "1", "0, 1", root)


def test_a_run_leaves_everything_behind(study):
    run = study.select("double_multi_head")
    files = {path.name for path in run.path.iterdir()}
    assert {
        "config.json",
        "metrics.json",
        "predictions.csv",
        "attention.npz",
        "embeddings.npz",
        "embeddings.csv",
    } <= files
    assert run.metrics["closed_set"] is False
    assert set(run.history) >= {"valid_macro_f1", "valid_error", "valid_loss"}


def test_a_larger_run_is_one_network_on_a_corpus_of_the_same_kind(root):
    config = Config.smoke()
    larger, prepared = accents.study_larger(config, 4, {"epochs": 2}, "multi_head", root)
    assert larger.names == ["multi_head"]
    assert larger.runs[0].config["epochs"] == 2
    assert len(prepared.manifest) * 3 == len(accents.prepare(config).manifest) * 4
    assert "Multi-head" in accents.describe_shown(larger, prepared, is_larger=True)
    assert accents.study_larger(config, 0, {}, "multi_head", root) is None
    assert accents.study_larger(dataclasses.replace(config, data="my_sounds"), 4, {}, "multi_head", root) is None
    assert "**To name the accent**" not in accents.uses(larger)


def test_attention_csv_says_what_was_predicted_and_ends_where_the_sound_ends(study):
    run = study.select("double_multi_head")
    table = pd.read_csv(run.path / "attention.csv", dtype=str)
    assert list(table["file_id"]) == list(run.predictions["clip"])
    assert list(table["label"]) == list(run.predictions["label"])
    assert list(table["pred"]) == list(run.predictions["predicted"])
    assert set(table["fold"]) == {"1"}
    durations = dict(zip(*(lambda m: (m.ids, m.durations))(accents.prepare(Config.smoke()).manifest), strict=True))
    lengths = np.array([durations[clip] for clip in table["file_id"]])
    np.testing.assert_allclose(table["duration_s"].astype(float), lengths)
    assert (table["duration"].astype(int) == np.rint(16000 * lengths)).all()
    assert (table["support_start_s"].astype(float) >= 0).all()
    assert (table["support_stop_s"].astype(float) <= lengths + 1e-9).all()


def test_what_is_said_of_a_table_comes_with_its_number_of_seeds(study):
    assert "include variation between the 2 seeds" in study.verdict()
    assert "So few seeds rank no network." in study.verdict()


def test_the_record_has_heads_in_the_time_of_the_network(study):
    run = study.select("double_multi_head")
    attention = run.attention
    assert list(attention.clips) == list(run.predictions["clip"])
    assert attention.head_weights.shape == (10, 2)
    np.testing.assert_allclose(attention.head_weights.sum(1), 1, atol=1e-5)
    assert attention.clock.period == pytest.approx(0.16)
    start, stop = attention.span(0)
    assert 1.0 <= stop - start <= 1.5


def test_the_trained_model_embeds_what_the_run_kept(study):
    run = study.select("double_multi_head")
    kept, prepared, config = load_embeddings(run), accents.prepare(Config(**run.config)), Config(**run.config)
    rows = [prepared.manifest.ids.index(name) for name in kept["clips"]]
    loader = whole_utterances(prepared, np.array(rows[:3]), config, torch.device("cpu"))
    _, embeddings, _ = embed(accents.load_model(run).network, loader)
    np.testing.assert_allclose(embeddings.numpy(), kept["embeddings"][:3], atol=1e-4)
    table = pd.read_csv(run.path / "embeddings.csv")
    assert list(table["clip"]) == list(kept["clips"])
    np.testing.assert_allclose(table.iloc[:, 3:].to_numpy(), kept["embeddings"], atol=1e-4)


@pytest.mark.parametrize("changes", [{}, {"features": "published", "band_normalization": "cmvn"}], ids=str)
def test_a_sound_is_embedded_as_in_the_run(changes, study, root):
    run = accents.run(Config.smoke(pooling="double_multi_head", **changes), root)
    kept, prepared, model = load_embeddings(run), accents.prepare(Config(**run.config)), accents.load_model(run)
    rows = [prepared.manifest.ids.index(name) for name in kept["clips"]]
    with torch.no_grad():
        of_store = model.embed(*prepared.store.batch(rows))[0].numpy()
    np.testing.assert_allclose(of_store, kept["embeddings"], atol=1e-5)
    of_files = model.embed_sounds([prepared.manifest.paths[row] for row in rows])
    np.testing.assert_allclose(of_files, kept["embeddings"], atol=1e-4)
    samples, rate = prepared.manifest.read_audio(rows[0])
    np.testing.assert_allclose(model.embed_sounds(samples, rate)[0], kept["embeddings"][0], atol=1e-4)
    table = accents.extract_embeddings(run, run.config["data"])
    np.testing.assert_allclose(table.select(list(kept["clips"])).features, kept["embeddings"], atol=1e-4)
    with pytest.raises(ConfigError, match="give one channel, \\(n,\\), and its rate in hertz"):
        model.embed_sounds(samples)


def test_every_result_stands_beside_chance_and_the_linear_baseline(study):
    table = study.table()
    assert list(table.index) == ["mean", "double_multi_head", "linear", "chance"]
    trials = verification_table(study)
    assert list(trials.index) == ["mean", "double_multi_head", "linear", "chance"]
    assert trials.loc["chance", "score"] == 0.5
    rates = trials["score"].iloc[:3]
    assert ((trials["low"].iloc[:3] <= rates) & (rates <= trials["high"].iloc[:3])).all()


def test_seeds_are_runs_of_one_row(study):
    table, trials = study.table(), verification_table(study)
    assert list(table["runs"]) == [2, 2, 1, 0]
    assert table.loc["mean", "std"] >= 0
    assert len({run.config["seed"] for run in study.runs}) == 2
    assert trials.loc["mean", "runs"] == 2
    assert trials.loc["mean", "speakers"] == trials.loc["linear", "speakers"] == 5, "the same ones with every seed"
    with pytest.raises(ConfigError, match="seeds is 'many'; it must be whole numbers from 0, joined by commas"):
        accents.study(Config.smoke(), seeds="many")


def test_evidence_stands_beside_that_of_the_mean(study):
    table = study.attention_evaluation().set_index(["pooling", "measure"])
    assert {"pointing_game", "mass_inside_events", "deletion_area", "insertion_area"} <= set(table.loc["mean"].index)
    mean = table.loc[("mean", "mass_inside_events")]
    assert mean["value"] == pytest.approx(mean["uniform"], abs=1e-6)
    assert np.isfinite(table.loc["double_multi_head", "gain"]).all()
    deletion, insertion = study.curves("double_multi_head")
    assert (deletion.kind, insertion.kind) == ("deletion", "insertion")
    np.testing.assert_allclose(deletion.attention[:, 0], insertion.attention[:, -1], atol=1e-5)


def test_the_network_decides_alike_from_what_its_pooling_reads(study):
    run = study.select("double_multi_head")
    config, prepared = Config(**run.config), accents.prepare(Config(**run.config))
    batch = next(iter(whole_utterances(prepared, np.arange(3), config, torch.device("cpu")).epoch(0)))
    network = accents.load_model(run).network
    hidden = network.encode(batch.features, batch.lengths)
    decided, _ = network.decide(hidden, network.front.count_frames(batch.lengths))
    torch.testing.assert_close(decided, network(batch.features, batch.lengths)[0])


def test_an_accent_is_carried_by_the_vowels_that_it_moves(study):
    prepared = accents.prepare(Config.smoke())
    spans = carriers(prepared.manifest, np.arange(len(prepared.manifest)))
    by_accent = {name: [] for name in prepared.classes}
    for row, measured in enumerate(spans):
        by_accent[prepared.manifest.table["label"].iloc[row]].append((measured, len(prepared.manifest.events(row))))
    assert not any(measured for measured, _ in by_accent["coast"]), "the accent of the table moves nothing"
    assert all(len(measured) == lengths for measured, lengths in by_accent["river"]), "every vowel of it is reduced"
    hills = [(len(measured), lengths) for measured, lengths in by_accent["hills"]]
    assert 0 < sum(measured for measured, _ in hills) < sum(lengths for _, lengths in hills)
    for name, measured in zip(prepared.manifest.ids, spans, strict=True):  # pictures mark what is measured
        assert [(event.onset, event.offset) for event in prepared.clip(name).events] == measured


def test_sound_that_is_changed_is_changed_anew_and_the_same_again():
    config = Config.smoke(augmentation="pitch, noise", clip_seconds=0.0)
    prepared, rows = accents.prepare(config), np.arange(4)
    first, again, plain = (
        next(iter(windows(prepared, rows, each, torch.device("cpu")).epoch(0)))
        for each in (config, config, dataclasses.replace(config, augmentation=""))
    )
    assert torch.equal(first.features, again.features)
    assert torch.equal(first.indices, plain.indices)
    other = next(iter(windows(prepared, rows, config, torch.device("cpu")).epoch(1)))
    assert first.features.shape != other.features.shape or not torch.equal(first.features, other.features)
    different = [not torch.allclose(a, b, atol=1e-3) for a, b in zip(first.features, plain.features, strict=True)]
    assert any(different)
    with pytest.raises(ConfigError, match="augmentation is echo; it must be some of pitch, tempo, noise"):
        Config(augmentation="echo")


def test_trials_are_those_of_the_embeddings(study):
    run = study.select("mean")
    kept = load_embeddings(run)
    trials = make_trials(kept["speakers"], most=5000)
    rate = equal_error_rate(score_trials(kept["embeddings"], trials), trials.is_same)
    assert rate == pytest.approx(run.metrics["verification"]["equal_error_rate"], abs=1e-6)
    curve = detection_curves(study)["Mean"]
    crossing = np.argmin(np.abs(curve.miss - curve.false_alarm))
    assert curve.miss[crossing] == pytest.approx(rate, abs=0.2)


def test_trials_may_come_from_lists(study, tmp_path):
    kept = load_embeddings(study.select("mean"))
    clips, speakers = list(kept["clips"]), kept["speakers"]
    short = [name.removeprefix("audio/").removesuffix(".flac") for name in clips]
    (tmp_path / "c").write_text(f"{clips[0]} {clips[1]}\n")
    (tmp_path / "i").write_text(f"{short[0]} {short[2]}\n")
    trials = list_trials(f"{tmp_path / 'c'}, {tmp_path / 'i'}", clips, speakers)
    assert (trials.first.tolist(), trials.second.tolist()) == ([0, 0], [1, 2])
    assert trials.is_same.tolist() == [True, False]
    (tmp_path / "v").write_text(f"1 {short[0]} {short[1]}\n0 {short[0]} somebody\n")
    with pytest.raises(ManifestError, match="1 clips are not among the 10 tested ones: somebody"):
        list_trials(str(tmp_path / "v"), clips, speakers)
    (tmp_path / "v").write_text(f"1 {short[0]} {short[1]}\n")
    with pytest.raises(ManifestError, match="one kind only"):
        list_trials(str(tmp_path / "v"), clips, speakers)
    with pytest.raises(ManifestError, match="one kind only"):  # before anything is trained
        accents.run(Config.smoke(pooling="mean", fold="1", trials=str(tmp_path / "v")), tmp_path)
    assert not list(tmp_path.rglob("history.csv"))
    (tmp_path / "v").write_text(f"1 {short[0]} {short[1]}\n0 {short[0]} {short[2]}\n")
    config = Config.smoke(pooling="mean", fold="1", trials=str(tmp_path / "v"))
    assert accents.run(config, tmp_path).metrics["verification"]["trials"] == 2


def test_without_speakers_files_are_not_counted_as_speakers(study, tmp_path):
    kept = load_embeddings(study.select("mean"))
    clips, unknown = list(kept["clips"]), np.array([""] * 10)
    assert list_trials("", clips, unknown) is None, "nobody says who speaks"
    pairs = [(0, 1), (1, 2), (3, 4), (0, 3)]
    lines = [f"{clips[a]} {clips[b]}\n" for a, b in pairs]
    (tmp_path / "c").write_text("".join(lines[:3]))
    (tmp_path / "i").write_text(lines[3])
    trials = list_trials(f"{tmp_path / 'c'}, {tmp_path / 'i'}", clips, unknown)
    assert len(set(trials.speakers[:3])) == 1, "pairs of one speaker link three utterances"
    assert len(set(trials.speakers)) == 7
    metrics = verification_metrics(score_trials(kept["embeddings"], trials), trials)
    assert metrics["speakers"] is None
    said = metrics["intervals"]["equal_error_rate"]["method"]
    assert "over 2 groups of utterances" in said, "an utterance that no trial has is none"


def test_speakers_of_several_folds_are_counted_once(tmp_path):
    data = LAYOUTS["voxceleb_without_trials"](tmp_path / "voices")
    config = Config.smoke(data=data, target="speaker", closed_set=True)
    table = verification_table(accents.study(config, "mean", "1, 2", root=tmp_path / "runs"))
    assert table.loc["mean", "runs"] == 2
    assert table.loc["mean", "speakers"] == table.loc["linear", "speakers"] == 6, "each fold tests the same six"


def test_clips_of_a_speaker_are_not_limited_where_nobody_knows_who_speaks(tmp_path):
    config = Config.smoke(data=LAYOUTS["class_folders"](tmp_path / "sounds"), clips_per_speaker=2)
    with pytest.raises(ConfigError, match="clips_per_speaker is 2, but sounds does not say who speaks; leave it at 0"):
        accents.run(config, tmp_path)


def test_a_corpus_says_who_speaks_or_that_nobody_knows(a_corpus):
    config = a_corpus()
    assert "15 speakers" in accents.prepare(config).describe()
    config = a_corpus(speaker=None)
    prepared = accents.prepare(config)
    assert "15 groups (speakers or recordings)" in prepared.describe()
    assert "intervals are over groups" in prepared.describe()
    assert set(prepared.speakers) == {""}
    config = a_corpus(speaker=None, group=None)
    prepared = accents.prepare(config)
    assert "speakers unknown" in prepared.describe()
    assert (prepared.unit, len(set(prepared.units))) == ("clips", 30)
    config = dataclasses.replace(a_corpus(), closed_set=True)
    assert len(set(accents.prepare(config).speakers)) == 15


def test_published_figures_stand_beside_those_of_the_runs(study):
    table = published.accents_table(study)
    assert table["published"].tolist() == ["+6.09 %", "+5.23 %"]
    assert table["here"].tolist() == ["", ""], "neither of the two poolings was run"
    rates = [run["verification"]["equal_error_rate"] for run in study.runs]  # mean and double, seed by seed
    renamed = [
        dataclasses.replace(run, config={**run.config, "pooling": run.config["pooling"].replace("mean", "multi_head")})
        for run in study.runs
    ]
    gains = [(rates[i] - rates[i + 1]) / rates[i] for i in (0, 2)]
    told = published.accents_table(dataclasses.replace(study, runs=tuple(renamed)))["here"].iloc[1]
    assert told == f"{100 * np.mean(gains):+.1f} % ({100 * min(gains):+.1f} to {100 * max(gains):+.1f})"
    assert "cannot be compared" in published.why_accents(study, "accents")


@pytest.mark.parametrize("method", ["pca", "tsne"])
def test_a_map_has_a_place_for_every_clip(study, method):
    run = study.select("mean")
    places = embedding_map(run, method)
    assert list(places.columns) == ["clip", "label", "speaker", "x", "y"]
    assert list(places["clip"]) == list(run.predictions["clip"])
    assert np.isfinite(places[["x", "y"]].to_numpy()).all()
    with pytest.raises(ValueError, match="method is 'umap'"):
        embedding_map(run, "umap")


def test_the_same_run_is_read_back_and_an_unfinished_one_continued(study, root):
    before = study.select("mean")
    stamp = (before.path / "metrics.json").stat().st_mtime_ns
    again = accents.run(Config.smoke(pooling="mean", fold="1"), root)
    assert (again.key, (again.path / "metrics.json").stat().st_mtime_ns) == (before.key, stamp)
    (before.path / "metrics.json").unlink()
    assert accents.run(Config.smoke(pooling="mean", fold="1"), root).metrics == before.metrics


@pytest.mark.parametrize(
    "changes",
    [
        {"loss": "softmax", "attention": "triweight", "features": "published", "band_normalization": "cmvn"},
        {
            "loss": "am_softmax",
            "annealing": True,
            "grad_accum_steps": 2,
            "optimizer": "sgd",
            "mask": True,
            "clip_seconds": 0.0,
        },
        {
            "loss": "focal",
            "published_gamma": True,
            "clip_seconds": 30.0,
            "augmentation": "tempo",
            "pooling": "attentive_statistics",
            "balanced": True,
            "clips_per_speaker": 1,
        },
        {
            "loss": "aam_softmax",
            "clip_seconds": 30.0,
            "backbone": "resnet34",
            "channels": 2,
            "schedule": "cosine",
            "epochs": 2,
        },
    ],
    ids=lambda changes: changes["loss"],
)
def test_every_option_trains(changes, tmp_path):
    run = accents.run(Config.smoke(**changes), tmp_path)
    assert np.isfinite(run.history["train_loss"]).all()


def test_an_unknown_class_is_rejected_and_never_trained(root):
    run = accents.run(Config.smoke(pooling="mean", unknown="hills"), root)
    assert run.classes == ["coast", "island", "plain", "river"]
    assert "hills" not in set(run.predictions["label"])
    rejection = run.metrics["rejection"]
    assert (rejection["known"], rejection["unknown"]) == (8, 2)
    assert 0 <= rejection["unknown_rejected"] <= 1
    with pytest.raises(ConfigError, match="unknown is 'hill'; it must be one of coast, hills"):
        accents.prepare(Config.smoke(unknown="hill"))


def test_a_checkpoint_of_another_number_of_classes_is_named(study):
    run = study.select("mean")
    other = build_network(Config(**run.config), 3, FrameClock())
    with pytest.raises(RunError, match=r"classifier\.weight is \(5, 8\), the model has \(3, 8\)"):
        load_best(run.path / "checkpoint", other)


def test_the_published_normalisation_leaves_quiet_bands_alone():
    features = torch.tensor([[[1.0, 0.001], [3.0, 0.002], [5.0, 0.0]]])
    normalised = normalise(features, torch.tensor([2]), "cmvn")
    torch.testing.assert_close(normalised, torch.tensor([[[-1.0, -0.0005], [1.0, 0.0005], [0.0, 0.0]]]))
    assert torch.equal(normalise(features, torch.tensor([2]), "none"), features)


@pytest.fixture
def a_corpus(monkeypatch):
    """The smoke corpus with another table."""
    whole = corpora.load(*["accents"], speakers_per_accent=3, clips_per_speaker=2, n_folds=3, duration=(1.0, 1.2))

    def change(**columns):
        table = whole.table.assign(**columns).drop(columns=[name for name, value in columns.items() if value is None])
        monkeypatch.setattr(accents_corpus, "load_corpus", lambda data: Manifest(whole.root, table, "changed"))
        accents_corpus._prepare.cache_clear()
        return Config.smoke()

    yield change
    accents_corpus._prepare.cache_clear()


def test_speakers_on_both_sides_and_classes_of_one_speaker_are_errors(a_corpus):
    config = a_corpus(group="anna")
    with pytest.raises(ManifestError, match="group anna is in fold"):
        accents.prepare(config)
    assert "closed set" in accents.prepare(dataclasses.replace(config, closed_set=True)).describe()
    config = a_corpus(label=["alone"] * 2 + ["many"] * 28)
    with pytest.raises(ManifestError, match=r"one group alone has class alone \(coast-000\)"):
        accents.prepare(config)
    with pytest.raises(ManifestError, match="no column 'tongue' to predict"):
        accents.prepare(dataclasses.replace(config, target="tongue"))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("pooling", "max"),
        ("attention", "sharpmax"),
        ("backbone", "vgg5l"),
        ("heads", 0),
        ("head_dropout", 1.0),
        ("margin", 3.0),
        ("scale", 0.0),
        ("clip_seconds", -1.0),
        ("loss", "hinge"),
        ("optimizer", "lion"),
        ("monitor", "f2"),
        ("grad_accum_steps", 0),
        ("features", "mfcc"),
    ],
)
def test_impossible_values_name_their_field(field, value):
    with pytest.raises(ConfigError, match=field):
        Config(**{field: value})


def test_presets():
    paper = Config.preset("paper")
    assert (paper.backbone, paper.channels, paper.heads, paper.embedding_size) == ("vgg4l", 1024, 32, 400)
    assert (paper.clip_seconds, paper.patience, paper.margin, paper.scale) == (3.5, 25, 0.4, 30.0)
    accent = Config.preset("accent")
    assert (accent.clip_seconds, accent.patience) == (0.2, 50)
    with pytest.raises(ConfigError, match="preset is 'huge'"):
        Config.preset("huge")
    with pytest.raises(ConfigError, match="no field is called head"):
        Config.preset("smoke", head=3)


@pytest.mark.slow
@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.cuda)])
def test_the_published_preset_takes_a_step_in_bfloat16(device, tmp_path):
    data = "accents?speakers_per_accent=2&clips_per_speaker=1&n_folds=2&duration=(1.0,1.2)"
    published = Config.paper(
        data=data, epochs=1, grad_accum_steps=1, device=device, precision="bfloat16", clip_seconds=0.2
    )
    assert (published.backbone, published.channels, published.pooling, published.heads) == (
        "vgg4l",
        1024,
        "double_multi_head",
        32,
    )
    run = accents.run(published, tmp_path)
    assert run.history["step"].tolist() == [1]
    assert np.isfinite(run.history["train_loss"]).all()
    assert run.attention.head_weights.shape[1] == 32
    np.testing.assert_allclose(run.attention.head_weights.sum(1), 1, atol=1e-3)


@pytest.mark.data
@pytest.mark.parametrize(
    ("data", "changes", "n_classes", "n_speakers"),
    [
        ("fsdd", {"target": "accent", "closed_set": True, "sample_rate": 8000}, 4, 6),
        ("fsdd", {"target": "speaker", "closed_set": True, "sample_rate": 8000}, 6, 6),
        ("frisian_accent", {}, 4, 30),
    ],
)
def test_real_recordings_load(data, changes, n_classes, n_speakers):
    prepared = accents.prepare(Config(data=data, n_mels=40, **changes))
    assert len(prepared.classes) == n_classes
    assert len(np.unique(prepared.speakers)) == n_speakers
    split = prepared.split(Config(data=data, n_mels=40, **changes))
    shared = set(prepared.speakers[split.train]) & set(prepared.speakers[split.test])
    assert bool(shared) == changes.get("closed_set", False)
