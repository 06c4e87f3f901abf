"""A trained model stands alone: it gives what the test of its run gave, without its corpus."""

import json
import shutil

import numpy as np
import pytest

import audioattn_lib
from audioattn_lib.core.errors import AudioError, RunError
from audioattn_lib.experiments import urban_sound
from audioattn_lib.experiments.urban_sound import Config
from audioattn_lib.training.model_folder import DESCRIPTION, WEIGHTS


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return urban_sound.run(Config.smoke(attention="triweight"), tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def clips(run):
    prepared = urban_sound.prepare(Config(**run.config))
    rows = [prepared.manifest.ids.index(clip) for clip in run.predictions["clip"]]
    return [prepared.manifest.paths[row] for row in rows]


@pytest.fixture
def alone(run, tmp_path):
    return shutil.copytree(run.path / "model", tmp_path / "elsewhere")


@pytest.fixture(scope="module")
def model(run):
    return audioattn_lib.load(run.path)


def test_a_copied_folder_gives_what_the_test_of_the_run_gave(run, clips, alone, monkeypatch, tmp_path):
    monkeypatch.setenv("AUDIOATTN_CACHE", str(tmp_path / "no cache"))
    heard = audioattn_lib.load(alone).listen(clips)
    assert [one.prediction.label for one in heard] == list(run.predictions["predicted"])
    wanted = run.predictions[[f"probability_{name}" for name in run.classes]].to_numpy()
    np.testing.assert_allclose([list(one.prediction.probabilities.values()) for one in heard], wanted, atol=1e-5)
    for row, one in enumerate(heard):
        np.testing.assert_allclose(one.record.frame_attention(), run.attention.frame_attention(row), atol=1e-6)


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


@pytest.mark.parametrize("samples", [np.zeros(16000), np.zeros(2), np.zeros((64, 4000)), np.ones(50, dtype=np.int16)])
def test_any_sound_is_heard(model, samples):
    heard = model.listen(samples, 8000)
    assert sum(heard.prediction.probabilities.values()) == pytest.approx(1)
    assert heard.record.frame_attention().sum() == pytest.approx(1)


def test_a_broken_sound_among_others_is_named_and_the_others_are_heard(model, clips, tmp_path):
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"RIFF")
    errors = []
    heard = list(model.stream([clips[0], broken, clips[1]], on_error=lambda name, error: errors.append(name)))
    assert [one.name for one in heard] == [str(clips[0]), str(clips[1])]
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


def test_a_run_from_before_is_converted_where_its_corpus_is(run, clips, tmp_path, monkeypatch):
    old = shutil.copytree(run.path, tmp_path / "urban_sound" / run.key)
    shutil.rmtree(old / "model")
    before = audioattn_lib.load(run.path).listen(clips[0]).prediction
    assert audioattn_lib.load(old).listen(clips[0]).prediction == before
    assert (old / "model" / DESCRIPTION).is_file()
    shutil.rmtree(old / "model")
    config = json.loads((old / "config.json").read_text())
    (old / "config.json").write_text(json.dumps({**config, "data": str(tmp_path / "gone")}))
    with pytest.raises(RunError, match=r"model.json.*gone"):
        audioattn_lib.load(old)


def test_a_baseline_has_no_network(tmp_path):
    run = urban_sound.baseline(Config.smoke(), tmp_path)
    with pytest.raises(RunError, match="linear baseline"):
        audioattn_lib.load(run.path)
