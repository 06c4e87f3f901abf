"""A person's own sound is heard as ``Model.listen`` hears it; what cannot be read is said, not raised."""

import datetime

import numpy as np
import pytest
import soundfile

from audioattn_lib import lab
from audioattn_lib.experiments import accents
from audioattn_lib.inference.model import load
from audioattn_lib.inference.verification import verify_speaker
from audioattn_lib.lab.calls import Note
from audioattn_lib.lab.compared import compared_models

pytest.importorskip("anywidget")


def uploaded(name, content):
    day = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    return {"name": name, "type": "", "size": len(content), "last_modified": day, "content": content}


@pytest.fixture
def own(city):
    from audioattn_lib.lab.own_sound import OwnSound

    models = compared_models(city[0])
    return OwnSound({title: model.load for title, model in models.items()})


def test_a_file_is_heard_as_listen_hears_it(city, own, tmp_path):
    clip = city[1].clip(city[1].manifest.ids[0])
    path = tmp_path / "mine.wav"
    soundfile.write(path, clip.samples, clip.sample_rate)
    own.first.upload.value = (uploaded("C:/sounds/mine.wav", path.read_bytes()),)
    assert own.heard.prediction == compared_models(city[0])["Sparsemax"].load().listen(path).prediction
    assert "mine.wav" in own.player.markup
    own.model.value = "Triweight density"
    assert own.heard.record.density is not None


def test_the_microphone_is_heard(own):
    samples = np.random.default_rng(0).normal(0, 0.1, 48_000).astype(np.float32)
    own.first.microphone.sample_rate = 48_000.0
    own.first.microphone.samples = samples.tobytes()
    assert own.heard.duration == pytest.approx(1.0)
    assert own.verified is None


def test_a_file_that_is_no_sound_is_said(own):
    own.first.upload.value = (uploaded("a.txt", b"abc"),)
    assert own.heard is None
    assert own.note.value


@pytest.fixture(scope="module")
def voices(tmp_path_factory):
    """A model of accents, trained in seconds, and its corpus."""
    data = "accents?speakers_per_accent=3&clips_per_speaker=2&n_folds=3&duration=(1.0,1.2)"
    config = accents.Config.smoke(data=data)
    return load(accents.run(config, tmp_path_factory.mktemp("runs")).path), accents.prepare(config)


def recording(corpus, row, folder):
    """One clip as a file that is uploaded."""
    clip = corpus.clip(corpus.manifest.ids[row])
    path = folder / f"{row}.wav"
    soundfile.write(path, clip.samples, clip.sample_rate)
    return path


def test_two_recordings_are_compared_as_verification_compares_them(voices, tmp_path):
    from audioattn_lib.lab.own_sound import OwnSound

    model, corpus = voices
    compared = OwnSound({"accents": lambda: model})
    assert compared.second.box.layout.display is None
    own, other = (recording(corpus, row, tmp_path) for row in (0, 3))
    compared.first.upload.value = (uploaded("one.wav", own.read_bytes()),)
    assert compared.verified is None
    compared.second.upload.value = (uploaded("other.wav", other.read_bytes()),)
    expected = verify_speaker(model, own, other)
    files = {"first", "second"}
    assert {name: value for name, value in compared.verified.items() if name not in files} == {
        name: value for name, value in expected.items() if name not in files
    }
    assert f"similarity {expected['score']:.2f}" in compared.note.value
    compared.second.upload.value = (uploaded("one.wav", own.read_bytes()),)
    assert compared.verified["score"] == pytest.approx(1.0, abs=1e-5)
    assert "one speaker" in compared.note.value


def test_models_of_anything_else_take_one_recording(own):
    assert own.second.box.layout.display == "none"


def test_without_a_person_there_is_a_note():
    assert isinstance(lab.hear("nothing"), Note)
