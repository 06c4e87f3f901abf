"""Attention of finished runs as files for other programs."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from command_line import call
from PIL import Image

from audioattn_lib.attention.record.export import save_npz
from audioattn_lib.attention.record.record import AttentionRecord, FrameClock
from audioattn_lib.attention.record.segment_lists import LabelledSegment, read_segments
from audioattn_lib.experiments import urban_sound
from audioattn_lib.training.run_directory import Run, RunDirectory

SEGMENTS = np.array([[[0.6, 0.8], [0.1, 0.2]], [[0.3, 0.4], [np.nan, np.nan]]])


@pytest.fixture
def make_run(tmp_path):
    def make(predicted, **columns):
        run = RunDirectory(tmp_path / "runs" / "chapter" / "key")
        names = ("a b/1.wav", "2.wav")
        table = pd.DataFrame({"clip": names, "split": "test", "label": predicted, "predicted": predicted, **columns})
        run.write_table("predictions.csv", table)
        record = AttentionRecord("playback", FrameClock(0.1), names, np.array([10, 10]), segments=SEGMENTS)
        save_npz(record, run.path / "attention.npz")
        for name in ("config.json", "environment.json", "metrics.json"):
            run.write_json(name, {})
        return run.path

    return make


def export(run, *arguments):
    call("attention", "export", run, *arguments)
    return run / "export"


def test_segments_carry_the_predicted_classes(make_run):
    folder = export(make_run(["dog;siren", ""], probability_dog=[0.9, 0.1], probability_siren=[0.8, 0.2]))
    expected = [
        LabelledSegment("a b/1.wav", "dog", 0.6, 0.8),
        LabelledSegment("a b/1.wav", "dog", 0.1, 0.2),
        LabelledSegment("a b/1.wav", "siren", 0.6, 0.8),
        LabelledSegment("a b/1.wav", "siren", 0.1, 0.2),
        LabelledSegment("2.wav", "", 0.3, 0.4),
    ]
    assert read_segments(folder / "segments.csv", "csv") == expected
    assert read_segments(folder / "segments.rttm", "rttm") == expected
    assert read_segments(folder / "labels" / "a_b_1.wav.txt", "audacity", clip="a b/1.wav") == expected[:4]
    assert read_segments(folder / "labels" / "2.wav.txt", "audacity", clip="2.wav") == expected[4:]
    assert {path.name for path in folder.iterdir()} == {
        "attention.csv",
        "attention.npz",
        "labels",
        "segments.csv",
        "segments.rttm",
    }


def test_where_numbers_are_predicted_segments_are_numbered(make_run):
    folder = export(make_run([3.5, 2.25]), "--format", "rttm")
    labels = [each.label for each in read_segments(folder / "segments.rttm", "rttm")]
    assert labels == ["playback 1", "playback 2", "playback 1"]
    assert [path.name for path in folder.iterdir()] == ["segments.rttm"]


@pytest.fixture(scope="module")
def density_run(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    return urban_sound.run(urban_sound.Config.smoke(attention="triweight"), root)


def draw(command, run, *arguments, code=0):
    return call("attention", command, run.path, *arguments, code=code)


def test_pictures_of_many_clips(density_run, tmp_path):
    names = list(density_run.predictions["clip"])
    for command, arguments, expected in (
        ("plot", ["--first", 3], names[:3]),
        ("plot", ["--clip", names[4], "--clip", names[1], "--format", "svg"], [names[4], names[1]]),
        ("panels", ["--first", 2], names[:2]),
    ):
        folder = tmp_path / command / str(len(arguments))
        said = draw(command, density_run, *arguments, "-o", folder).output.split()
        assert [Path(line).stem for line in said] == [re.sub(r"[^\w.-]+", "_", name) for name in expected]
        assert {path.name for path in folder.iterdir()} == {Path(line).name for line in said}
    single = tmp_path / "one.png"
    draw("panels", density_run, "--first", 1, "--penalties", "", "-o", single)
    with Image.open(single) as short, Image.open(next((tmp_path / "panels").rglob("*.png"))) as tall:
        assert tall.height > 1.8 * short.height, "three more value functions"


def test_pictures_that_cannot_be_drawn(density_run, make_run, tmp_path):
    assert (
        "is one file and there are 2 clips"
        in draw("plot", density_run, "--first", 2, "-o", tmp_path / "one.png", code=2).stderr
    )
    assert "penalties is 'x'" in draw("panels", density_run, "--penalties", "x", code=2).stderr
    assert "no experiment is called" in draw("panels", Run.load(make_run(["", ""])), code=2).stderr


def test_play_leaves_out_what_has_no_attention_and_finds_a_clip_by_its_short_name(density_run, tmp_path):
    root = density_run.path.parents[1]
    linear = urban_sound.baseline(urban_sound.Config.smoke(), root)
    name = density_run.predictions["clip"][1]

    def play(*arguments, code=0):
        return call("play", *arguments, "-o", tmp_path / "page.html", code=code)

    done = play(linear.path, density_run.path, "--clip", Path(name).stem)
    assert f"left out: {linear.path}: this run recorded no attention" in done.stderr
    page = (tmp_path / "page.html").read_text()
    assert name in page
    assert "triweight" in page
    assert "this run recorded no attention" in play(linear.path, code=2).stderr
    assert "no clip 'nothing'" in play(density_run.path, "--clip", "nothing", code=2).stderr
