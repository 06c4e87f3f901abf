"""``audioattn listen`` and ``verify``: answers of a trained model to any sounds, as a table, as JSON, and as files."""

import csv
import errno
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from command_line import call

import audioattn_lib
from audioattn_lib.attention.record.record import AttentionRecord
from audioattn_lib.attention.record.segment_lists import read_segments
from audioattn_lib.cli.listen import _FORMATS
from audioattn_lib.data.tables.table_files import read_features
from audioattn_lib.inference import outputs
from audioattn_lib.training.run_directory import Run


@pytest.fixture
def model(runs, tmp_path, monkeypatch):
    """A copy of the model of urban sounds, alone in the working directory."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(runs("urban_sound").path / "model", tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def sounds(tmp_path):
    folder = tmp_path / "sounds" / "deep"
    folder.mkdir(parents=True)
    generator = np.random.default_rng(0)
    for name, rate in (("a.wav", 16_000), ("b.flac", 44_100), ("c.ogg", 8_000)):
        soundfile.write(folder / name, generator.uniform(-0.5, 0.5, 2 * rate), rate)
    (folder / "notes.txt").write_text("no sound")
    return folder


def test_the_formats_are_those_of_the_library():
    assert _FORMATS == outputs.FORMATS


def test_a_table_of_a_folder_is_what_the_library_hears(model, sounds, tmp_path):
    lines = call("listen", "model", "sounds").stdout.splitlines()
    heard = audioattn_lib.load(model).listen(sorted(map(str, sounds.glob("*.[wfo]*"))))
    assert [line.split()[0] for line in lines] == [f"sounds/deep/{name}" for name in ("a.wav", "b.flac", "c.ogg")]
    for line, each in zip(lines, heard, strict=True):
        assert f"2.00 s  {each.prediction}" in line
    assert {path.name for path in tmp_path.iterdir()} == {"model", "sounds"}, "nothing is written unasked"


def test_every_format_can_be_read_back(model, sounds, tmp_path):
    formats = [word for name in _FORMATS for word in ("--format", name)]
    call("listen", "model", "sounds", "-o", "heard", *formats)
    folder = tmp_path / "heard"
    each = {f"{name}.{ending}" for name in "abc" for ending in ("html", "json", "npz", "txt")}
    assert {path.name for path in folder.iterdir()} == each | {"predictions.csv", "segments.rttm", "embeddings.csv"}
    rows = list(csv.DictReader((folder / "predictions.csv").read_text().splitlines()))
    (heard,) = audioattn_lib.load(model).listen([str(sounds / "b.flac")])
    assert rows[1]["label"] == heard.prediction.label
    assert float(rows[1]["probability_siren"]) == pytest.approx(heard.prediction.probabilities["siren"], abs=1e-6)
    described = json.loads((folder / "b.json").read_text())
    assert described["label"] == rows[1]["label"]
    assert described["attention"]["strongest"] == float(rows[1]["strongest_s"])
    assert AttentionRecord.load(folder / "b.npz").clips == ("sounds/deep/b.flac",)
    table = read_features(folder / "embeddings.csv")
    np.testing.assert_allclose(table.features[1], heard.embedding, rtol=1e-5)
    assert {item.clip for item in read_segments(folder / "segments.rttm", "rttm")} == set(table.ids)
    assert "<audio" in (folder / "a.html").read_text()


def test_json_has_a_line_a_sound_and_standard_input_is_one(model, sounds):
    piped = (sounds / "b.flac").read_bytes()
    said = call("listen", "model", "sounds/deep/b.flac", "-", "--json", input=piped).stdout
    file, pipe = map(json.loads, said.splitlines())
    assert pipe["sound"] == "-"
    assert pipe["probabilities"] == pytest.approx(file["probabilities"], abs=1e-5)
    broken = call("listen", "model", "-", "--json", input=b"no sound", code=1)
    assert "not a sound file" in json.loads(broken.stdout)["error"]
    assert "- is given twice" in call("listen", "model", "-", "-", code=2).stderr


def test_a_broken_file_among_others_is_named_at_the_end(model, sounds):
    (sounds / "b.flac").write_bytes(b"fLaC broken")
    soundfile.write(sounds / "silent.wav", np.zeros(0), 16_000)
    done = call("listen", "model", "sounds", "nothing.wav", "-o", "heard", "--format", "csv", code=1)
    lines = done.stderr.splitlines()
    assert lines[0] == "3 of 5 sounds could not be heard:"
    assert [any(name in line for line in lines[1:]) for name in ("b.flac", "silent.wav", "nothing.wav")] == [True] * 3
    assert [row["sound"][-5:] for row in csv.DictReader(Path("heard/predictions.csv").read_text().splitlines())] == [
        "a.wav",
        "c.ogg",
    ]


def test_a_folder_without_sounds_and_a_folder_that_is_no_model(model, tmp_path):
    (tmp_path / "empty").mkdir()
    assert "holds no sound" in call("listen", "model", "empty", code=2).stderr
    assert "no model" in call("listen", "empty", "a.wav", code=2).stderr


def test_a_disk_that_fills_up_loses_nothing(model, sounds, tmp_path, monkeypatch):
    write, count = outputs.write_text, []

    def full(path, text):
        count.append(path)
        if len(count) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(path, text)

    monkeypatch.setattr(outputs, "write_text", full)
    done = call("listen", "model", "sounds", "-o", "heard", "--format", "json", "--format", "csv", code=2)
    assert "the disk is full; the files of 1 sounds are written and intact" in done.stderr
    assert {path.name for path in (tmp_path / "heard").iterdir()} == {"a.json", "predictions.csv"}


def test_sounds_of_one_name_have_files_of_their_own(model, sounds, tmp_path):
    shutil.copy(sounds / "a.wav", tmp_path / "A.wav")
    call("listen", "model", "sounds/deep/a.wav", "A.wav", "-o", "heard", "--format", "json")
    assert {path.name for path in (tmp_path / "heard").iterdir()} == {"a.json", "A-2.json"}


def test_a_recording_longer_than_a_window_has_a_timeline(model, tmp_path):
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 7 * 16_000)
    soundfile.write(tmp_path / "long.wav", noise, 16_000)
    said = call("listen", "model", "long.wav", "-o", "heard", "--format", "csv", "--format", "json", "--json").stdout
    assert len(json.loads(said)["timeline"]) > 1
    rows = list(csv.DictReader((tmp_path / "heard" / "timeline.csv").read_text().splitlines()))
    assert float(rows[-1]["stop"]) == pytest.approx(7.0, abs=0.01)
    assert "overlap is 2.0; it must be" in call("listen", "model", "long.wav", "--overlap", 2, code=2).stderr


@pytest.mark.parametrize("name", ["sleepiness", "accents", "playback", "scenes_and_instruments"])
def test_models_of_every_chapter_answer(runs, sounds, tmp_path, name):
    content = json.loads(call("listen", runs(name).path, sounds / "a.wav", "--json").stdout)
    assert ("score" in content) == (name == "sleepiness")
    assert ("stages" in content) == (name == "playback")
    assert ("probabilities" in content) == (name != "sleepiness")


def test_verification_compares_the_cosine_with_the_threshold_of_the_model(runs, model, sounds):
    path = runs("accents").path
    both = sounds / "a.wav", sounds / "b.flac"
    first, other = (heard.embedding for heard in audioattn_lib.load(path).listen([str(each) for each in both]))
    expected = float(first @ other / np.linalg.norm(first) / np.linalg.norm(other))
    content = json.loads(call("verify", path, *both, "--json").stdout)
    assert content["score"] == pytest.approx(expected, abs=1e-5)
    assert content["same"] == (content["score"] >= content["threshold"])
    assert content["threshold"] == runs("accents").metrics["verification"]["threshold"]
    same = call("verify", path, both[0], both[0], "--threshold", 1 - 1e-6).stdout
    assert same.startswith("same speaker: score 1.000, threshold 1.000")
    assert call("verify", path, *both, "--threshold", 1).stdout.startswith("different speakers")
    assert "threshold is 2.0; it must be from -1 to 1" in call("verify", path, *both, "--threshold", 2, code=2).stderr
    assert "tells no speakers apart" in call("verify", model, *both, code=2).stderr
    assert "nothing.wav: no such file" in call("verify", path, both[0], "nothing.wav", code=2).stderr


@pytest.mark.parametrize("name", ["accents", "sleepiness"])
def test_features_are_extracted_by_a_model_folder_alone(runs, sounds, tmp_path, name):
    run = runs(name)
    if name == "sleepiness":
        run = Run.load(run.path.parent / run.config["encoders"][0])
    shutil.copytree(run.path / "model", tmp_path / "alone")
    for source, table in ((run.path, "run.csv"), (tmp_path / "alone", "alone.csv")):
        call("features", "extract", source, sounds, tmp_path / table)
    expected, actual = (read_features(tmp_path / table) for table in ("run.csv", "alone.csv"))
    np.testing.assert_allclose(actual.features, expected.features, atol=1e-5)
    assert (actual.ids, actual.names) == (expected.ids, expected.names)


def test_a_clip_without_files_is_heard_without_pandas(model, sounds):
    code = (
        "import sys; from audioattn_lib.cli import main; sys.argv = ['audioattn', *sys.argv[1:]]\n"
        "try: main()\n"
        "except SystemExit as end: print(end.code, 'pandas.core' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "listen", model, sounds / "a.wav"], capture_output=True, text=True
    )
    assert done.stdout.splitlines()[-1:] == ["0 False"], done.stderr
