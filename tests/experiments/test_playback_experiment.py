"""Laws of the experiment on playing back, on a few synthetic needles."""

import dataclasses

import layouts
import numpy as np
import pandas as pd
import pytest
import soundfile
import torch

from audioattn_lib.core.errors import ConfigError
from audioattn_lib.experiments import playback as experiment
from audioattn_lib.experiments.common.classification import score_predictions
from audioattn_lib.experiments.playback.config import Config
from audioattn_lib.experiments.playback.trace import PlaybackPredictions, locate
from audioattn_lib.experiments.playback.training import build_network
from audioattn_lib.training.run_directory import Run


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    return experiment.study(Config.smoke(), "none, energy, slots, oracle", "0", root), root


def test_every_way_to_choose_stands_beside_chance_and_the_linear_baseline(study):
    table = study[0].table()
    assert list(table.index) == ["none", "energy", "slots", "oracle", "linear", "chance"]
    scored = table.drop(index="chance")
    assert (scored["low"] <= scored["score"]).all()
    assert (scored["score"] <= scored["high"]).all()
    assert study[0].score_title == "Mean average precision"


def test_the_gain_of_each_playback_is_known(study):
    stages = study[0].stages()
    assert stages.groupby("selection")["playbacks"].max().to_dict() == {"none": 0, "energy": 1, "slots": 1, "oracle": 1}
    assert (stages.loc[stages["playbacks"] == 0, "cost"] == 1).all()
    assert (stages.loc[stages["playbacks"] == 1, "cost"] > 1.2).all()
    last = stages[stages["playbacks"] == 1].set_index("selection")["score"]
    np.testing.assert_allclose(last, study[0].table().loc[last.index, "score"], atol=1e-6)
    pairs = study[0].differences()
    assert set(zip(pairs["selection"], pairs["over"], strict=True)) == {
        ("energy", "none"),
        ("slots", "none"),
        ("slots", "energy"),
        ("oracle", "none"),
        ("oracle", "energy"),
    }
    assert (pairs["p_holm"] <= 1).all()
    assert "over heard once" in study[0].gains()
    assert "**Slot attention** is" in study[0].verdict()
    assert "trained with one seed" in study[0].verdict()


def test_the_encoder_alone_is_tested_at_every_hop(study):
    hops = study[0].hops()
    assert list(hops.index) == ["40 ms", "20 ms"]
    assert (hops["low"] <= hops["score"]).all()


def test_stopping_early_costs_less(study):
    curve = study[0].early_exit("slots")
    assert curve["cost"].is_monotonic_increasing
    assert curve["cost"].iloc[0] == 1
    assert curve["chosen"].sum() == 1
    assert ((curve["low"] <= curve["score"]) & (curve["score"] <= curve["high"])).all()
    full = study[0].heard("slots")[0]
    np.testing.assert_array_equal(full.stop_when_sure(1.0)[0], full.logits)
    np.testing.assert_array_equal(full.stop_when_sure(0.0)[0], full.stage_logits[:, 0])


def test_stopping_early_is_what_the_network_does(study):
    run = study[0].select("slots")
    prepared = experiment.prepare(Config(**run.config))
    heard, model = PlaybackPredictions.load(run), experiment.load_model(run)
    logits, cost = heard.stop_when_sure(0.5)
    rows = [prepared.manifest.ids.index(clip) for clip in heard.clips]
    samples, lengths = prepared.waveforms.batch(rows)
    with torch.no_grad():
        early = model(samples[..., 0], lengths, threshold=0.5)
    np.testing.assert_allclose(early.logits.numpy(), logits, atol=1e-4)
    np.testing.assert_allclose((early.frames.sum(1) / early.frames[:, 0]).numpy(), cost)


def test_the_oracle_plays_the_events_and_others_are_marked(study):
    where = study[0].localisation().set_index(["selection", "measure"])
    assert where.loc[("True events", "pointing"), "value"] == 1
    assert where.loc[("True events", "found"), "value"] > 0.9
    assert where.loc[("Loudest parts", "pointing"), "value"] < 1
    assert where["random"].between(0, 1).all()
    assert set(study[0].select("slots").metrics["attention_evaluation"]) >= {"pointing_game", "support_iou"}


def test_places_are_marked_exactly():
    events = [[(1.0, 2.0)], []]
    segments = np.array([[[1.0, 2.0], [4.0, 5.0]], [[0.0, 1.0], [np.nan, np.nan]]])
    table = locate(segments, np.array([8.0, 8.0]), events, np.array(["a", "b"]))
    assert table["pointing"]["value"] == 0.5
    assert table["found"]["value"] == pytest.approx(1, abs=0.02)
    assert table["overlap"]["value"] == pytest.approx(0.5, abs=0.02)
    assert table["pointing"]["random"] == pytest.approx(1 / 8, abs=0.04)
    assert table["pointing"]["clips"] == 1
    assert locate(segments, np.array([8.0, 8.0]), [[], []], np.array(["a", "b"])) == {}


def test_one_clip_stage_by_stage(study):
    for name in ("slots", "oracle"):
        run, clip = study[0].example(name)
        stages = experiment.trace_clip(run, experiment.prepare(Config(**run.config)).clip(clip))
        assert [stage["hop"] for stage in stages] == pytest.approx([0.04, 0.02])
        assert len(stages[1]["parts"]) == len(stages[1]["features"]) >= 1
        expected = run.predictions.set_index("clip").loc[clip, [f"probability_{c}" for c in run.classes]]
        np.testing.assert_allclose(stages[-1]["probabilities"], expected.to_numpy(dtype=float), atol=1e-4)
    records = study[0].records_of(clip)
    assert list(records) == ["Loudest parts", "Slot attention", "True events"]


def test_the_same_run_is_read_back_and_a_killed_one_goes_on(study, tmp_path):
    runs, root = study
    before = runs.select("slots")
    stamp = (before.path / "metrics.json").stat().st_mtime_ns
    again = experiment.run(Config.smoke(selection="slots"), root)
    assert (again.key, (again.path / "metrics.json").stat().st_mtime_ns) == (before.key, stamp)
    (before.path / "metrics.json").unlink()
    table = experiment.run(Config.smoke(selection="slots"), root).predictions
    pd.testing.assert_frame_equal(table, before.predictions)


@pytest.mark.parametrize(
    "changes",
    [
        {"training": "joint", "mixup": 0.3, "cutmix": 1.0, "mix_prob": 1.0, "selection": "slots", "playbacks": 2},
        {"freeze_encoder": False, "clip_seconds": 2.0, "views": 2, "selection": "published", "fusion": "mean"},
        {"clip_seconds": 3.0, "selection": "random", "fusion_level": "predictions", "size": "small"},
        {"decoder": "published", "slots": "published", "selection": "published", "playbacks": 2},
    ],
)
def test_settings_have_an_effect_and_run(changes, tmp_path):
    run = experiment.run(Config.smoke(**changes), tmp_path)
    assert np.isfinite(run.metrics["stages"][-1]["score"])
    assert len(run.metrics["stages"]) == changes.get("playbacks", 1) + 1
    if "views" in changes:
        heard = PlaybackPredictions.load(run)
        assert np.nanmax(heard.segments) > 2.0  # places are seconds of the clip, not of the crop


def test_a_folder_of_your_own_with_one_class_a_clip(tmp_path):
    rng = np.random.default_rng(0)
    rows = []
    for number in range(15):
        name, label = f"{number}.wav", ("low", "high")[number % 2]
        soundfile.write(tmp_path / name, 0.1 * rng.standard_normal(16000 + 1000 * number), 16000)
        rows.append({"file_name": name, "label": label, "split": ("train", "devel", "test")[number % 3]})
    pd.DataFrame(rows).to_csv(tmp_path / "metadata.csv", index=False)
    config = Config.smoke(data=str(tmp_path), selection="slots", mixup=0.3, mix_prob=1.0)
    study = experiment.study(config, "none, slots, oracle", "0", tmp_path / "runs")
    assert study.names == ["none", "slots"]  # nobody knows the events
    assert study.score_title == "Accuracy"
    assert len(study.table()) == 4
    assert len(study.localisation()) == 0
    assert "does not say when its events are" in study.unmeasured
    assert (study.no_encoders, study.plays_nothing_back) == ("", "")
    with pytest.raises(ConfigError, match="selections is oracle alone"):
        experiment.study(config, "oracle", "0", tmp_path / "runs")
    with pytest.raises(ConfigError, match="selection is 'oracle', but .* does not say when its events are"):
        experiment.run(dataclasses.replace(config, selection="oracle", mixup=0.0), tmp_path / "runs")


def test_whatever_lies_behind_a_run_it_is_read_without_training(study):
    run = study[0].select("slots")
    assert Run.load(run.path).metrics == run.metrics
    assert set(run.attention.clips) == set(run.predictions["clip"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"selection": "best"}, "selection is 'best'; it must be one of none, random, energy, slots"),
        ({"n_segments": 0}, "n_segments is 0; it must be at least 1"),
        ({"views": 2}, "views is 2; it must be 1 while clip_seconds is 0"),
        ({"selection": "oracle", "clip_seconds": 2.0}, "clip_seconds is 2.0; it must be 0 for the oracle"),
        ({"training": "three_step"}, "training is 'three_step'; it must be one of two_step, joint"),
        ({"warmup_fraction": 1.0}, r"warmup_fraction is 1.0; it must be in \[0, 1\)"),
        ({"hop_seconds": 0.0}, "hop_seconds is 0.0; it must be above 0"),
        ({"slots": "published"}, "slots is 'published'; it must be ours unless selection is published"),
        (
            {"decoder": "published", "fusion": "adaptive_concat", "fusion_level": "predictions"},
            "decoder is 'published'; it must be ours for fusion adaptive_concat of predictions",
        ),
    ],
)
def test_impossible_settings_are_named(changes, message):
    with pytest.raises(ConfigError, match=message):
        Config(**changes)


@pytest.mark.parametrize("training", ["two_step", "joint"])
def test_the_encoder_starts_from_a_file(training, tmp_path):
    torch.manual_seed(7)
    config = Config.smoke(
        selection="none",
        training=training,
        encoder_learning_rate=1e-12,
        learning_rate=1e-12,
        pretrained=str(tmp_path / "encoder.pt"),
    )
    source = build_network(config, 4, is_multilabel=True).encoder
    torch.save({"model_state": source.state_dict()}, tmp_path / "encoder.pt")
    model = experiment.load_model(experiment.run(config, tmp_path / "runs"))
    for name, weight in source.state_dict().items():
        torch.testing.assert_close(model.encoder.state_dict()[name], weight, atol=1e-6, rtol=0)


def test_the_published_encoders_are_sizes():
    paper = Config.preset("paper", playbacks=1)
    assert paper.size == "mvit_b"
    model = build_network(dataclasses.replace(paper, size="mvit_t"), 527, is_multilabel=True)
    assert len(model.encoder.blocks) == 10
    assert model.decoder.latents.shape == (256, 512)
    assert model.slot_attention.means.shape == (2, 400)


def test_presets():
    assert Config.preset("paper").playbacks == 3
    assert Config.preset("default", selection="energy").selection == "energy"
    with pytest.raises(ConfigError, match="no field is called replays"):
        Config.preset("smoke", replays=2)
    assert Config.preset("vggsound").hop_seconds == pytest.approx(0.0125)
    assert Config.preset("epic").tasks == "verb,noun"
    for name in ("paper", "vggsound", "epic"):
        assert build_network(Config.preset(name, playbacks=1, size="tiny"), 10, is_multilabel=True).front.hop(
            0
        ) == pytest.approx(Config.preset(name).hop_seconds)


@pytest.fixture(scope="module")
def kitchen(tmp_path_factory):
    root = tmp_path_factory.mktemp("kitchen")
    data = layouts.epic_kitchens_files(root / "EPIC")
    small = {"clip_seconds": 0.0, "segment_seconds": 0.1, "size": "tiny", "n_mels": 16, "playbacks": 1, "batch_size": 8}
    config = Config.preset(
        "epic", data=data, hop_seconds=0.02, views=1, encoder_epochs=2, epochs=2, learning_rate=3e-3, **small
    )
    return config, root / "runs"


def test_verb_noun_and_action_are_answered_by_one_network(kitchen):
    config, root = kitchen
    study = experiment.study(config, "none, slots", "0", root)
    run = study.select("slots")
    assert {name.split(":")[0] for name in run.classes} == {"verb", "noun"}
    assert len(run.classes) == 6
    metrics, table = run.metrics, run.predictions
    for task in ("verb", "noun"):
        own = table[[name for name in table if name.startswith(f"probability_{task}:")]]
        np.testing.assert_allclose(own.sum(axis=1), 1, atol=1e-4)
        right = (table[f"label_{task}"] == table[f"predicted_{task}"]).mean()
        assert metrics[f"{task}_top_1"] == pytest.approx(right)
    both = (table["label"] == table["predicted"]).mean()
    assert metrics["action_top_1"] == metrics["accuracy"] == pytest.approx(both)
    assert metrics["interval"]["low"] <= both <= metrics["interval"]["high"]
    assert metrics["verb_top_5"] is None, "there are three verbs"
    results = study.table()
    assert list(results.index) == ["none", "slots", "linear", "chance"]
    assert study.score_title == "Accuracy"
    assert len(study.differences()) == 1
    assert study.early_exit("slots")["cost"].iloc[0] == 1
    heard, model = PlaybackPredictions.load(run), experiment.load_model(run)
    prepared = experiment.prepare(config)
    assert "verb (3), noun (3)" in prepared.describe()
    samples, lengths = prepared.waveforms.batch([prepared.manifest.ids.index(clip) for clip in heard.clips])
    with torch.no_grad():
        early = model(samples[..., 0], lengths, threshold=0.5)
    np.testing.assert_allclose(early.logits.numpy(), heard.stop_when_sure(0.5)[0], atol=1e-4)
    stages = experiment.trace_clip(run, prepared.clip(str(heard.clips[0])))
    expected = table.set_index("clip").loc[heard.clips[0], [f"probability_{name}" for name in run.classes]]
    np.testing.assert_allclose(stages[-1]["probabilities"], expected.to_numpy(dtype=float), atol=1e-4)


@pytest.mark.parametrize(
    "changes",
    [
        {"training": "joint", "mixup": 0.3, "cutmix": 1.0, "mix_prob": 1.0, "selection": "energy"},
        {"clip_seconds": 0.4, "views": 2, "selection": "random", "encoder_epochs": 1, "freeze_encoder": False},
    ],
    ids=str,
)
def test_several_tasks_are_mixed_cropped_and_viewed(kitchen, changes):
    config, root = kitchen
    run = experiment.run(dataclasses.replace(config, epochs=1, **changes), root)
    assert np.isfinite(run.predictions["loss"]).all()
    again = experiment.run(dataclasses.replace(config, **changes, epochs=0, pretrained=str(run.path)), root)
    np.testing.assert_allclose(again.predictions["loss"], run.predictions["loss"], atol=1e-5)


@pytest.mark.parametrize("tasks", ["", "verb,noun"])
def test_a_whole_checkpoint_of_the_published_form_is_evaluated(kitchen, tasks, tmp_path):
    config, root = kitchen
    published = {"decoder": "published", "slots": "published", "selection": "published"}
    config = dataclasses.replace(config, tasks=tasks, epochs=1, encoder_epochs=1, **published)
    run = experiment.run(config, root)
    model = experiment.load_model(run)
    assert any(name.startswith("decoder.fc.") for name in model.state_dict())
    torch.save({"epoch": 3, "cfg": "NUM_GPUS: 8", "model_state": model.state_dict()}, tmp_path / "checkpoint_best.pyth")
    options = {"pretrained": str(tmp_path / "checkpoint_best.pyth"), "epochs": 0}
    again = experiment.run(dataclasses.replace(config, **options), root)
    np.testing.assert_allclose(again.predictions["loss"], run.predictions["loss"], atol=1e-5)
    started = experiment.run(dataclasses.replace(config, **options | {"epochs": 1, "pretrained_part": "encoder"}), root)
    assert np.isfinite(started.predictions["loss"]).all()


def test_tasks_are_columns_with_a_class_in_every_clip(kitchen):
    for tasks in ("verb", "verb,adverb"):
        with pytest.raises(ConfigError, match="it must be at least two columns of epic_kitchens: file_name, label"):
            experiment.prepare(dataclasses.replace(kitchen[0], tasks=tasks))


def test_five_guesses_where_there_are_more_classes():
    logits, targets = torch.eye(7)[[0, 1, 2]] * 3 + torch.arange(7) * 0.1, torch.tensor([0, 6, 0])
    groups = np.array(["a", "b", "c"])
    scores = score_predictions([str(i) for i in range(7)], logits, targets, groups)
    assert scores["top_5_accuracy"] == pytest.approx(2 / 3)
    assert "top_5_accuracy" not in score_predictions(list("abcde"), logits[:, :5], torch.tensor([0, 1, 0]), groups)
