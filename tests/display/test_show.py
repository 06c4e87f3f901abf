"""Any sound with anything over it: what is given is what is drawn and heard, and PyTorch is not needed."""

import base64
import contextlib
import html as markup
import json
import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch

from audioattn_lib import show
from audioattn_lib.attention.record.record import AttentionRecord, FrameClock
from audioattn_lib.attention.record.segment_lists import LabelledSegment, save_segments
from audioattn_lib.attention.record.textgrid import read_textgrid
from audioattn_lib.core.errors import AudioError, ConfigError
from audioattn_lib.display.show import log_mel

RATE = 8000
SOUND = np.random.default_rng(0).uniform(-0.2, 0.2, 2 * RATE).astype(np.float32)
TEXTGRID = """File type = "ooTextFile"
Object class = "TextGrid"

xmin = 0
xmax = 2
tiers? <exists>
size = 2
item []:
    item [1]:
        class = "IntervalTier"
        name = "words 3"
        xmin = 0
        xmax = 2
        intervals: size = 3
        intervals [1]:
            xmin = 0
            xmax = 0.5
            text = ""
        intervals [2]:
            xmin = 0.5
            xmax = 1.25
            text = "say ""ah"" ! <p> 7"
        intervals [3]:
            xmin = 1.25
            xmax = 2
            text = "b"
    item [2]:
        class = "TextTier"
        name = "tones"
        xmin = 0
        xmax = 2
        points: size = 1
        points [1]:
            number = 1.75
            mark = "H*"
"""
SHORT = """File type = "ooTextFile"
Object class = "TextGrid"

0
2
<exists>
2
"IntervalTier"
"words 3"
0
2
3
0
0.5
""
0.5
1.25
"say ""ah"" ! <p> 7"
1.25
2
"b"
"TextTier"
"tones"
0
2
1
1.75
"H*"
"""


def settings(player):
    """Data for the script of the page."""
    return json.loads(markup.unescape(re.search(r'data-player="(.*?)"', player.html())[1]))


def gains(player):
    """Gain of each frame by mechanism, in [0, 1], with the time at which each frame begins."""
    results = {}
    for each in settings(player)["mechanisms"]:
        levels = np.frombuffer(base64.b64decode(each["gain"]), np.uint8) / 255
        results[each["title"]] = levels, each["start"] + each["period"] * np.arange(len(levels))
    return results


def test_a_curve_is_heard_as_it_is_given():
    values = np.array([0.0, 1.0, 4.0, 2.0])
    for given in (values, torch.from_numpy(values), list(values), pd.Series(values), 3 * values):
        levels, starts = gains(show(SOUND, RATE, curve=given))["Curve"]
        np.testing.assert_allclose(levels, values / 4, atol=1 / 255)
        np.testing.assert_allclose(starts, [0, 0.5, 1, 1.5])


def test_times_are_the_centres_of_frames():
    values, times = np.array([1.0, 2.0, 0.5]), np.array([0.3, 0.5, 0.7])
    for given in ((times, values), pd.Series(values, index=times, name="mine")):
        ((levels, starts),) = gains(show(SOUND, RATE, curve=given)).values()
        np.testing.assert_allclose(levels, values / 2, atol=1 / 255)
        np.testing.assert_allclose(starts, times - 0.1)
    # times at unequal distances: straight lines between them
    ((levels, starts),) = gains(show(SOUND, RATE, curve=([0.0, 0.1, 0.5], [0.0, 1.0, 0.0]))).values()
    assert levels[np.argmin(np.abs(starts + 0.05 - 0.3))] == pytest.approx(0.5, abs=0.01)


def test_several_are_switched_by_name():
    frame = pd.DataFrame({"pitch": [1.0, 2.0], "level": [2.0, 1.0]})
    shown = gains(show(SOUND, RATE, curve=frame, map={"cells": np.eye(3)}, segments=[(0.5, 1.0)]))
    assert list(shown) == ["pitch", "level", "cells", "Segments"]
    np.testing.assert_allclose(shown["level"][0], [1, 0.5], atol=1 / 255)


def test_a_map_is_heard_by_its_sum_over_frequencies():
    cells = np.array([[0.0, 1.0], [2.0, 3.0]])
    player = show(SOUND, RATE, map=cells, frequencies=[500.0, 2000.0])
    np.testing.assert_allclose(gains(player)["Map"][0], [0.5, 1.0], atol=1 / 255)
    hertz = int(re.search(r"strongest at 1\.50 s and (\d+) Hz", player.html())[1])
    assert 1250 <= hertz <= 2750  # half-way to the next band, and as far beyond


def test_a_record_is_taken_as_it_is():
    weights = np.array([0.25, 0.75])
    record = AttentionRecord("softmax", FrameClock(1.0), n_frames=np.array([2]), weights=weights[None, None])
    np.testing.assert_allclose(gains(show(SOUND, RATE, curve=record))["softmax"][0], [1 / 3, 1], atol=1 / 255)


def test_a_record_ends_where_the_sound_ends():
    weights = np.array([0.2, 0.2, 0.1, 0.5])
    record = AttentionRecord("padded", FrameClock(1.0), n_frames=np.array([4]), weights=weights[None, None])
    np.testing.assert_allclose(gains(show(SOUND, RATE, curve=record))["padded"][0], [1, 1], atol=1 / 255)


def test_intervals_are_the_same_from_rows_tables_and_files(tmp_path):
    rows = [(0.5, 1.0, "a"), (1.5, 1.75, "b")]
    listed = [LabelledSegment("x", label, start, stop) for start, stop, label in rows]
    grid = SHORT.replace("1.25\n2\n", "1.5\n1.75\n").replace("0.5\n1.25", "0.5\n1.0").replace('2\n"Int', '1\n"Int')
    (tmp_path / "x.TextGrid").write_text(grid)
    files = [save_segments(listed, tmp_path / name, layout) for name, layout in
             (("x.csv", "csv"), ("x.rttm", "rttm"), ("x.txt", "audacity"))]  # fmt: skip
    sources = [rows, [row[:2] for row in rows], np.array([row[:2] for row in rows]), *files, tmp_path / "x.TextGrid"]
    sources.append(pd.DataFrame(rows, columns=["start", "stop", "label"]))
    levels = [gains(show(SOUND, RATE, segments=source))["Segments"] for source in sources]
    expected = [(0.5 <= t + 0.005 < 1.0) or (1.5 <= t + 0.005 < 1.75) for t in levels[0][1]]
    for gain, _ in levels:
        np.testing.assert_array_equal(gain, expected)
    named = show(SOUND, RATE, labels=files[1])
    assert "a, 0.50 to 1.00 s" in named.html()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("text", [TEXTGRID, SHORT], ids=["long", "short"])
def test_both_forms_of_a_textgrid(tmp_path, text, encoding):
    path = tmp_path / "x.TextGrid"
    path.write_text(text, encoding=encoding)
    assert read_textgrid(path, clip="x") == [
        LabelledSegment("x", 'say "ah" ! <p> 7', 0.5, 1.25),
        LabelledSegment("x", "b", 1.25, 2.0),
        LabelledSegment("x", "H*", 1.75, 1.75),
    ]


def test_a_damaged_textgrid_is_read_or_is_our_error(tmp_path):
    path = tmp_path / "x.TextGrid"
    generator = np.random.default_rng(0)
    content = TEXTGRID.encode()
    for _ in range(300):
        damaged = bytearray(content[: generator.integers(len(content) + 1)])
        for _ in range(generator.integers(4)):
            if damaged:
                damaged[generator.integers(len(damaged))] = generator.integers(256)
        path.write_bytes(damaged)
        with contextlib.suppress(ConfigError):
            read_textgrid(path)
    path.write_text(TEXTGRID[:-60])
    with pytest.raises(ConfigError, match=re.escape(f"{path}: ends before")):
        read_textgrid(path)


def test_sounds_of_every_kind_are_the_same_sound(tmp_path):
    soundfile.write(tmp_path / "x.wav", SOUND, RATE, subtype="FLOAT")
    mine = show(SOUND, RATE).html().split("<audio")[1]
    integers = np.round(SOUND * 2**31).astype(np.int32)
    both = np.stack([SOUND, SOUND])
    for given in (torch.from_numpy(SOUND), SOUND.astype(np.float64), integers, both, both.T):
        assert show(given, RATE).html().split("<audio")[1] == mine
    from_file = show(tmp_path / "x.wav")
    assert from_file.title == "x"
    assert from_file.html().split("src=")[-1] == mine.split("src=")[1]


@pytest.mark.parametrize("hertz", [200.0, 1000.0, 3000.0])
def test_the_spectrogram_has_a_tone_where_it_is(hertz):
    time = np.arange(2 * RATE) / RATE
    tone = (np.sin(2 * np.pi * hertz * time) * (time >= 1)).astype(np.float32)
    levels, clock, centres = log_mel(tone, RATE)
    assert abs(centres[levels[-20:-5].mean(axis=0).argmax()] - hertz) < 0.06 * hertz
    begins = clock.centres(len(levels))[np.argmax(levels.max(axis=1) > -40 + levels.max())]
    assert abs(begins - 1) < 0.032
    assert clock.edges(len(levels))[-1] == pytest.approx(2.0, abs=0.04)


def test_two_minutes_take_a_tenth_of_what_a_page_holds():
    time = np.arange(120 * 8000) / 8000
    player = show(np.sin(time * 2000).astype(np.float32), 8000, curve=np.arange(1200))
    assert len(player.html()) < 400_000


def test_pytorch_is_not_needed():
    program = (
        "import sys; from audioattn_lib import show; import numpy as np; "
        "show(np.zeros(4000), 8000, curve=np.ones(5)); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "False\n", done.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"sample_rate": None}, "sample_rate is None"),
        ({"sample_rate": 8000.5}, "whole number"),
        ({"sound": np.zeros((3, 3, 3))}, r"samples have shape \(3, 3, 3\)"),
        ({"sound": np.full(100, np.nan)}, "NaN"),
        ({"sound": np.array(["a"])}, "must be numbers"),
        ({"curve": [1.0, -1.0]}, "curve has numbers down to -1"),
        ({"curve": [1.0, np.nan]}, "curve holds NaN"),
        ({"curve": {"mine": [[1.0]]}}, "curve 'mine' has shape"),
        ({"curve": ["a"]}, "curve does not hold numbers"),
        ({"curve": {}}, "empty mapping"),
        ({"curve": ([0.0, 0.0], [1.0, 1.0])}, "rising seconds"),
        ({"map": np.ones(4)}, "map has shape"),
        ({"map": np.ones((2, 4)), "frequencies": [1.0]}, "2 bands of the map"),
        ({"segments": []}, "no interval"),
        ({"segments": [(1.0, 0.5)]}, "0 <= start <= stop"),
        ({"segments": [(5.0, 6.0)]}, "the sound ends at 2.000 s"),
        ({"segments": [1.0]}, "no row of start"),
        ({"segments": pd.DataFrame({"onset": [1.0]})}, "no column start and stop"),
        ({"labels": "x.doc"}, "an ending that is not known"),
        ({"labels": "missing.TextGrid"}, "missing.TextGrid: cannot be read"),
    ],
)
def test_what_does_not_fit_is_named(arguments, says):
    given = {"sound": SOUND, "sample_rate": RATE} | arguments
    with pytest.raises((ValueError, ConfigError), match=says):
        show(given.pop("sound"), given.pop("sample_rate"), **given)


def test_a_file_has_its_own_rate(tmp_path):
    with pytest.raises(ValueError, match="a file has its own"):
        show(tmp_path / "x.wav", 8000)
    with pytest.raises(AudioError, match=r"x\.wav"):
        show(tmp_path / "x.wav")


def test_the_controls_name_what_is_over_the_sound():
    record = AttentionRecord("softmax", FrameClock(0.1), n_frames=np.array([3]), weights=np.full((1, 1, 3), 1 / 3))
    overlays = {
        "curve": {"curve": {"Level": np.ones(5)}},
        "map": {"map": np.eye(3)},
        "segments": {"segments": [(0.1, 0.2)]},
        "attention": {"curve": {"Level": np.ones(5), "Model": record}},
    }
    for noun, given in overlays.items():
        page = show(SOUND, RATE, **given).html()
        assert f"&quot;noun&quot;: &quot;{noun}&quot;" in page
        assert f"the {noun} divided by its peak" in page.replace("\n", " ")
