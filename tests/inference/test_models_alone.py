"""A trained model stands alone: it gives what the test of its run gave, without its corpus."""

import importlib
import json
import shutil

import numpy as np
import pytest

import audioattn_lib
from audioattn_lib.core.errors import AudioError, ConfigError, RunError
from audioattn_lib.experiments import EXPERIMENTS, playback, sleepiness, urban_sound
from audioattn_lib.experiments.accents.verification import load_embeddings
from audioattn_lib.experiments.playback.trace import PlaybackPredictions
from audioattn_lib.experiments.urban_sound import Config
from audioattn_lib.training.model_folder import DESCRIPTION, WEIGHTS
from audioattn_lib.training.run_directory import Run


@pytest.fixture(scope="module")
def run(runs):
    return runs("urban_sound")


@pytest.fixture(scope="module")
def clips(run, files_of):
    return list(files_of("urban_sound", run).values())


@pytest.fixture
def alone(run, tmp_path):
    return shutil.copytree(run.path / "model", tmp_path / "elsewhere")


@pytest.fixture(scope="module")
def model(run):
    return audioattn_lib.load(run.path)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_a_copied_folder_gives_what_the_test_of_the_run_gave(name, runs, files_of, monkeypatch, tmp_path):
    run = runs(name)
    files = files_of(name, run)
    alone = shutil.copytree(run.path / "model", tmp_path / "elsewhere")
    monkeypatch.setenv("AUDIOATTN_CACHE", str(tmp_path / "no cache"))
    heard = dict(zip(files, audioattn_lib.load(alone).listen(list(files.values())), strict=True))
    table = run.predictions.set_index("clip").loc[list(files)]
    if name == "sleepiness":
        np.testing.assert_allclose(
            [each.prediction.score for each in heard.values()], table["predicted"].astype(float), atol=1e-4
        )
        attention = Run.load(run.path.parent / run.config["encoders"][0]).attention
    else:
        assert [each.prediction.label for each in heard.values()] == list(table["predicted"])
        wanted = table[[f"probability_{each}" for each in run.classes]].to_numpy()
        results = [list(each.prediction.probabilities.values()) for each in heard.values()]
        np.testing.assert_allclose(results, wanted, atol=1e-5)
        attention = run.attention
    assert not attention.is_empty
    for row, clip in enumerate(attention.clips):
        wanted, results = attention[row].to_arrays(), heard[clip].record.to_arrays()
        for array in set(wanted) - {"clips"}:
            given = wanted[array]
            given = given if given.dtype.kind == "U" else given[tuple(slice(size) for size in results[array].shape)]
            if given.dtype.kind in "iufb":
                np.testing.assert_allclose(results[array], given, atol=2e-5, rtol=1e-4, err_msg=array)
            else:
                assert given == results[array]


def test_embeddings_are_those_that_the_run_kept(runs, files_of):
    run = runs("accents")
    kept, files = load_embeddings(run), files_of("accents", run)
    model = audioattn_lib.load(run.path)
    heard = model.listen([files[clip] for clip in kept["clips"]])
    np.testing.assert_allclose([each.embedding for each in heard], kept["embeddings"], atol=1e-4)
    assert model.thresholds["equal_error_rate"] == run.metrics["verification"]["threshold"]


def test_every_hearing_of_a_network_that_plays_back_is_there(runs, files_of):
    run = runs("playback")
    kept, files = PlaybackPredictions.load(run), files_of("playback", run)
    heard = audioattn_lib.load(run.path).listen(files[kept.clips[0]])
    assert len(heard.prediction.stages) == kept.frames.shape[1]
    assert heard.prediction.stages[-1] == heard.prediction.probabilities
    shown = np.asarray(list(heard.prediction.stages[0].values()))
    assert shown.argmax() == kept.stage_logits[0, 0].argmax()


def test_an_oracle_knows_nothing_of_a_new_sound(runs, tmp_path):
    run = playback.run(playback.Config.smoke(selection="oracle"), tmp_path)
    with pytest.raises(ConfigError, match="selection is oracle.*slots, energy or random"):
        audioattn_lib.load(run.path).listen(np.zeros(16000), 16000)


@pytest.mark.parametrize("regressor", ["ridge", "rbf_svr"])
def test_a_regression_travels_as_arrays(regressor, runs, files_of, tmp_path):
    encoder = runs("sleepiness").path.parent / runs("sleepiness").config["encoders"][0]
    config = sleepiness.Config.smoke(regressor=regressor)
    run = sleepiness.regress(config, [Run.load(encoder)], tmp_path)
    files = files_of("sleepiness", run)
    heard = audioattn_lib.load(run.path / "model").listen(list(files.values()))
    wanted = run.predictions.set_index("clip").loc[list(files), "predicted"].astype(float)
    np.testing.assert_allclose([each.prediction.score for each in heard], wanted, atol=1e-4)
    assert "Karolinska" in heard[0].prediction.unit


def test_one_sound_alone_and_in_a_batch_are_heard_alike(model, clips):
    together, alone = model.listen(clips[:3])[1], model.listen(clips[1])
    np.testing.assert_allclose(
        list(together.prediction.probabilities.values()), list(alone.prediction.probabilities.values()), atol=1e-5
    )
    np.testing.assert_allclose(together.embedding, alone.embedding, atol=1e-4)


def test_a_result_shows_itself(model, clips):
    heard = model.listen(clips[0])
    assert "<audio" in heard._repr_html_()
    assert heard.prediction.label in repr(heard)


@pytest.mark.parametrize(
    ("samples", "said"),
    [
        (np.zeros(0), "shape"),
        (np.zeros(1), "shape"),
        (np.full(800, np.nan), "NaN"),
        (np.array(["a", "b"]), "numbers"),
        (np.zeros((2, 3, 800)), "shape"),
    ],
)
def test_samples_that_are_no_sound_are_named(model, samples, said):
    with pytest.raises(AudioError, match=said):
        model.listen(samples, 16000)


@pytest.mark.parametrize("samples", [np.zeros(16000), np.zeros((64, 4000)), np.ones(500, dtype=np.int16)])
def test_any_sound_is_heard(model, samples):
    heard = model.listen(samples, 8000)
    assert sum(heard.prediction.probabilities.values()) == pytest.approx(1)
    assert heard.record.frame_attention().sum() == pytest.approx(1)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_a_sound_shorter_than_a_window_is_named_and_one_of_that_length_is_heard(name, runs):
    model = audioattn_lib.load(runs(name).path)
    shortest = model.listener.shortest_seconds
    count = round(shortest * model.sample_rate)
    with pytest.raises(AudioError, match=f"at least {shortest:.3g} s"):
        model.listen(np.ones(count - 1), model.sample_rate)
    heard = model.listen(np.ones(count), model.sample_rate)
    assert np.isfinite(heard.embedding).all()
    assert heard.record.frame_attention().sum() == pytest.approx(1)


def test_a_broken_sound_among_others_is_named_and_the_others_are_heard(model, clips, tmp_path):
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"RIFF")
    errors = []
    heard = list(model.stream([clips[0], broken, clips[1]], on_error=lambda name, error: errors.append(name)))
    assert [each.name for each in heard] == [str(clips[0]), str(clips[1])]
    assert errors == [str(broken)]


def _edit(folder, **changes):
    content = json.loads((folder / DESCRIPTION).read_text())
    content = {name: value for name, value in {**content, **changes}.items() if value is not None}
    (folder / DESCRIPTION).write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda folder: (folder / WEIGHTS).unlink(), rf"{WEIGHTS}: missing"),
        (lambda folder: (folder / DESCRIPTION).unlink(), rf"{DESCRIPTION}: missing"),
        (lambda folder: (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:-40]), "not readable"),
        (lambda folder: (folder / DESCRIPTION).write_text('{"experiment"'), "not readable"),
        (lambda folder: (folder / DESCRIPTION).write_text('{"model_type": "bert"}'), "no model of this library"),
        (lambda folder: _edit(folder, format=2), "format is 2.*newer"),
        (lambda folder: _edit(folder, weights="0" * 64), "weights are of another model"),
        (lambda folder: _edit(folder, classes=None), "no field classes"),
        (lambda folder: _edit(folder, classes=["one"]), "weights are of another model.*classifier"),
        (lambda folder: _edit(folder, sample_rate="fast"), "sample_rate"),
        (lambda folder: _edit(folder, front_end="LogMel/0()"), "front_end"),
        (lambda folder: _edit(folder, experiment="birds"), "experiment is 'birds'"),
    ],
)
def test_a_folder_that_cannot_be_used_is_an_error_that_names_the_field(alone, damage, said):
    damage(alone)
    with pytest.raises(RunError, match=said):
        audioattn_lib.load(alone)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_a_run_from_before_is_converted_where_its_corpus_is(name, runs, tmp_path):
    run = runs(name)
    shutil.copytree(run.path.parent, tmp_path / name)
    old = tmp_path / name / run.key
    shutil.rmtree(old / "model")
    converted = audioattn_lib.load(old)
    assert (old / "model" / DESCRIPTION).is_file()
    before, after = (json.loads((path / "model" / DESCRIPTION).read_text()) for path in (run.path, old))
    assert after == before
    assert converted.description.weights == before["weights"]


def test_a_run_from_before_without_its_corpus_says_so(run, tmp_path):
    old = shutil.copytree(run.path, tmp_path / "urban_sound" / run.key)
    shutil.rmtree(old / "model")
    config = json.loads((old / "config.json").read_text())
    (old / "config.json").write_text(json.dumps({**config, "data": str(tmp_path / "gone")}))
    with pytest.raises(RunError, match=r"model.json.*gone"):
        audioattn_lib.load(old)


def test_a_baseline_has_no_network(tmp_path):
    for run in (
        urban_sound.baseline(Config.smoke(), tmp_path),
        sleepiness.baseline(sleepiness.Config.smoke(), tmp_path),
    ):
        with pytest.raises(RunError, match="linear baseline"):
            audioattn_lib.load(run.path)


@pytest.mark.parametrize("name", ["urban_sound", "accents"])
def test_training_starts_from_a_model_that_stands_alone(name, runs, tmp_path):
    run = runs(name)
    alone = shutil.copytree(run.path / "model", tmp_path / "elsewhere")
    chapter = importlib.import_module(EXPERIMENTS[name])
    config = chapter.Config(**run.config | {"pretrained": str(alone), "epochs": 0})
    evaluated = chapter.run(config, tmp_path / "runs")
    assert evaluated["accuracy"] == run["accuracy"]
    before, after = (json.loads((path / "model" / DESCRIPTION).read_text()) for path in (run.path, evaluated.path))
    assert before["weights"] == after["weights"]
