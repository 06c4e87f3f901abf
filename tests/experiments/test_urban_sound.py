"""Laws of the urban-sounds experiment, on a tiny synthetic city."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from audioattn_lib.attention.record.record import FrameClock
from audioattn_lib.core.errors import ConfigError, ManifestError
from audioattn_lib.experiments import urban_sound
from audioattn_lib.experiments.common.corpus import parse_corpus
from audioattn_lib.experiments.common.studies import breakdowns
from audioattn_lib.experiments.common.studies.study import choose
from audioattn_lib.experiments.urban_sound import Config
from audioattn_lib.training.run_directory import Run


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    return urban_sound.study(Config.smoke(), "sparsemax, triweight", "1,2", root), root


def test_a_run_leaves_everything_behind(study):
    run = study[0].select("triweight")
    files = {p.name for p in run.path.iterdir()}
    assert {
        "config.json",
        "environment.json",
        "history.csv",
        "metrics.json",
        "predictions.csv",
        "attention.npz",
        "attention.csv",
        "checkpoint",
        "tensorboard",
    } <= files
    assert run.environment["device"] == "cpu"
    assert len(run.history) == run.config["epochs"]
    assert run.metrics["n_parameters"] > 50_000


def test_the_record_holds_the_test_clips_in_order(study):
    run = study[0].select("triweight")
    assert list(run.attention.clips) == list(run.predictions["clip"])
    assert run.attention.density is not None
    start, stop = run.attention.span(0)
    assert stop - start == pytest.approx(2.0, abs=0.02)


def test_probabilities_sum_to_one_and_fit_the_prediction(study):
    run = study[0].select("sparsemax")
    probabilities = run.predictions[[f"probability_{name}" for name in run.classes]].to_numpy()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, atol=1e-5)
    assert [run.classes[i] for i in probabilities.argmax(axis=1)] == list(run.predictions["predicted"])


def test_the_same_run_is_read_back_and_another_is_made(study):
    runs, root = study
    before = runs.select("sparsemax", "1")
    stamp = (before.path / "metrics.json").stat().st_mtime_ns
    again = urban_sound.run(Config.smoke(attention="sparsemax", fold="1"), root)
    assert (again.key, (again.path / "metrics.json").stat().st_mtime_ns) == (before.key, stamp)
    other = urban_sound.run(Config.smoke(attention="sparsemax", fold="1", seed=1), root)
    assert other.key != before.key


def test_the_trained_model_predicts_what_the_run_says(study):
    run = study[0].select("triweight")
    model = urban_sound.load_model(run)
    prepared = urban_sound.prepare(Config(**run.config))
    row = prepared.manifest.ids.index(run.predictions["clip"].iloc[0])
    features, lengths = prepared.store.batch([row])
    probabilities = model(features, lengths)[0].softmax(dim=1)[0].detach().numpy()
    expected = run.predictions[[f"probability_{name}" for name in run.classes]].iloc[0]
    np.testing.assert_allclose(probabilities, expected.to_numpy(dtype=float), atol=1e-4)


def test_every_result_stands_beside_chance_and_the_linear_baseline(study):
    table = study[0].table()
    assert list(table.index) == ["sparsemax", "triweight", "linear", "chance"]
    assert (table["low"] <= table["score"]).all()
    assert (table["score"] <= table["high"]).all()
    assert table.loc["sparsemax", ["difference", "p_holm"]].notna().all()
    assert list(study[0].fold_table().columns) == ["1", "2"]


def test_classes_runs_and_sparsity_of_a_study_agree_with_its_score(study):
    compared, table = study[0], study[0].table()
    scores = breakdowns.class_scores(compared)
    assert list(scores.index) == ["Sparsemax", "Triweight density", "Linear baseline"]
    labels = pd.concat([run.predictions for run in compared.runs_of("sparsemax")])["label"].value_counts(normalize=True)
    assert (scores.loc["Sparsemax"] * labels).sum() == pytest.approx(table.loc["sparsemax", "score"])
    assert breakdowns.single_runs(compared).loc["triweight"].mean() == pytest.approx(table.loc["triweight", "score"])
    sparsity = breakdowns.sparsity_table(compared)
    assert sparsity["alpha"].tolist() == [2.0, 4 / 3]
    assert sparsity["attended"].between(0, 1).all()
    assert set(breakdowns.calibrations(compared, ["sparsemax"])) == {"Sparsemax"}
    told = urban_sound.uses(compared)
    assert "**Instead of a linear baseline**" in told
    assert "**To show where the event is**" in told
    assert "**For several events in a clip**: not measured here." in told


@pytest.mark.parametrize(("gains", "expected"), [((0.1, -0.1), "Triweight density"), ((-0.1, -0.1), "no mechanism")])
def test_what_cuts_out_the_event_is_what_overlaps_it_better_than_the_whole_clip(study, monkeypatch, gains, expected):
    compared = study[0]
    table = compared.attention_evaluation()
    ours = table["measure"] == "support_iou"
    lows = dict(zip(("triweight", "sparsemax"), gains, strict=True))
    table.loc[ours, "gain_low"] = table.loc[ours, "attention"].map(lows)
    monkeypatch.setattr(type(compared), "attention_evaluation", lambda self: table)
    line = next(line for line in urban_sound.uses(compared).splitlines() if "**To cut out the event**" in line)
    assert line.startswith(f"- **To cut out the event**: {expected}")
    assert "Sparsemax" not in line


def test_its_attention_evaluation_stands_beside_uniform_and_random_attention(study):
    evaluated = study[0].select("triweight").metrics["attention_evaluation"]
    assert evaluated


def test_a_study_shows_its_runs_to_a_sweep(study):
    bundle = study[0]._repr_mimebundle_()
    rows = next(value for name, value in bundle.items() if "audioattn" in name)
    assert {row["config"].get("attention") for row in rows} == {"sparsemax", "triweight", None}


def test_a_run_without_its_end_is_continued(study, tmp_path):
    config = Config.smoke(attention="softmax", fold="1")
    whole = urban_sound.run(config, tmp_path)
    (whole.path / "metrics.json").unlink()
    again = urban_sound.run(config, tmp_path)
    assert again.metrics == whole.metrics


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("attention", "sharpmax"),
        ("protocol", "optimistic"),
        ("epochs", 0),
        ("dropout", 1.0),
        ("min_learning_rate", 0.1),
        ("boundary", "wrap"),
        ("basis_widths", (0.1, -1.0)),
        ("device", "tpu"),
        ("penalty", 0.0),
        ("softmax_warmup_fraction", 1.0),
    ],
)
def test_impossible_values_name_their_field(field, value):
    with pytest.raises(ConfigError, match=field):
        Config(**{field: value})


def test_unknown_fields_and_presets_list_the_known_ones():
    with pytest.raises(ConfigError, match=r"atention.*there are data, seed"):
        Config.preset("smoke", atention="softmax")
    with pytest.raises(ConfigError, match="smoke, default, recordings, paper"):
        Config.preset("huge")


def test_names_are_chosen_by_text_or_list():
    assert choose("all", ["a", "b"], "x") == ["a", "b"]
    assert choose(" b,a ", ["a", "b"], "x") == ["b", "a"]
    assert choose("first 2", ["1", "2", "3"], "fold") == ["1", "2"]
    assert choose("first 2", ["test"], "fold") == ["test"], "a corpus with splits"
    with pytest.raises(ConfigError, match="x is c; it must be all, or names out of a, b"):
        choose(["c"], ["a", "b"], "x")


def test_a_corpus_and_its_options_are_one_text():
    assert parse_corpus("city?clips_per_class=6&duration=2.5") == ("city", {"clips_per_class": 6, "duration": 2.5})
    with pytest.raises(ConfigError, match="name=value"):
        parse_corpus("city?six")


def test_a_corpus_that_is_not_there_is_named(tmp_path):
    with pytest.raises((ManifestError, ConfigError), match="nowhere"):
        urban_sound.run(Config(data=str(tmp_path / "nowhere")), tmp_path)


def test_a_density_shows_the_function_that_it_reads(study):
    run = study[0].select("triweight")
    clip = urban_sound.prepare(Config(**run.config)).clip(run.predictions["clip"].iloc[0])
    entry, front, value = urban_sound.stages(run, clip)
    assert [stage["title"] for stage in (entry, front, value)][-1] == "Value function"
    assert value["values"].shape == front["values"].shape
    assert np.isfinite(value["values"]).all()
    assert len(urban_sound.stages(study[0].select("sparsemax"), clip, penalties=[0.1])) == 2
    *_, loose, tight = urban_sound.stages(run, clip, penalties=[0.1, 0.001], model=urban_sound.load_model(run))
    assert [stage["title"] for stage in (loose, tight)] == [f"Value function, penalty {p}" for p in ("0.1", "0.001")]
    errors = [np.mean((stage["values"] - front["values"]) ** 2) for stage in (loose, tight)]
    assert errors[1] < errors[0], "a smaller penalty follows the frames more closely"


def test_a_run_reloads_without_training(study):
    run = study[0].select("sparsemax")
    assert Run.load(run.path).metrics == run.metrics


def test_a_density_may_have_several_modes(tmp_path):
    run = urban_sound.run(Config.smoke(attention="biweight", fold="1", n_components=2), tmp_path)
    assert run.attention.density.location.shape[1] == 2
    np.testing.assert_allclose(run.attention.density.mode_weight.sum(axis=1), 1)


def test_only_the_paper_preset_has_the_published_scores():
    corpus = SimpleNamespace(classes=("siren",) * 10, clock=FrameClock())
    for name in ("softmax", "sparsemax"):
        published = urban_sound.build_model(Config.paper(attention=name), corpus).attention
        assert (published.scorer.scale, published.soft_steps) == (1, 0)
        mended = urban_sound.build_model(Config.default(attention=name), corpus).attention
        assert mended.scorer.scale == pytest.approx(128**-0.5)
        assert (mended.soft_steps > 0) == (name == "sparsemax")  # softmax is soft all the time


@pytest.mark.parametrize("attention", ["softmax", "parabola"])
def test_ecapa_is_trained_behind_its_margin(tmp_path, attention):
    config = Config.smoke(model="ecapa_tiny", dropout=0, scaled=False, softmax_warmup_fraction=0, attention=attention)
    run = urban_sound.run(config, tmp_path)
    assert (run.attention.density is not None) == (attention == "parabola")
    assert run.history["train_loss"].iloc[0] > run.history["valid_loss"].iloc[0], "the margin counts in training alone"
    clip = urban_sound.prepare(config).clip(run.predictions["clip"].iloc[0])
    shown = urban_sound.stages(run, clip, penalties=[0.1])
    assert len(shown) == (4 if attention == "parabola" else 2)
    again = urban_sound.run(dataclasses.replace(config, pretrained=str(run.path), epochs=0), tmp_path)
    np.testing.assert_allclose(again.predictions["loss"], run.predictions["loss"], atol=1e-5)


def test_ecapa_has_its_published_settings_and_refuses_those_of_the_other_network():
    config = Config.preset("ecapa")
    assert (config.epochs, config.seed, config.min_learning_rate, config.cycle_steps) == (25, 1988, 1e-8, 65000)
    for field, value in (("dropout", 0.1), ("recurrent", "gru"), ("scaled", True), ("band_normalization", "corpus")):
        with pytest.raises(ConfigError, match=f"{field} is .*ecapa"):
            Config.ecapa(**{field: value})


def test_recordings_have_a_preset_of_their_own():
    assert Config.preset("default", data="esc10") == Config.recordings(data="esc10")
    assert Config.preset("default", data="city?duration=2") == Config.default(data="city?duration=2")
    assert Config.preset("default") == Config.default()
    assert Config.preset("default", data="esc10", epochs=3).epochs == 3
