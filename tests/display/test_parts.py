"""Long sounds: a player of parts, the attended one open; pictures no wider than WebP and screens allow."""

import base64
import html
import io
import json
import re

import numpy as np
import pytest
from PIL import Image

from audioattn_lib.attention.record.record import AttentionRecord, FrameClock
from audioattn_lib.display import player
from audioattn_lib.display.players.sound import BUDGET, compress, compress_start

RATE = 16_000
PEAK = 35.0


def long_sound(seconds, rate=RATE, period=0.1, peak=PEAK):
    """Noise, its features on a clock, and a record that attends around a moment."""
    noise = 0.1 * np.random.default_rng(0).standard_normal(round(seconds * rate)).astype(np.float32)
    frames = round(seconds / period)
    clock = FrameClock(period)
    weights = np.exp(-0.5 * ((clock.centres(frames) - peak) / 2) ** 2)
    weights /= weights.sum()
    record = AttentionRecord("softmax", clock, n_frames=np.array([frames]), weights=weights[None, None])
    return {"samples": noise, "sample_rate": rate, "features": np.zeros((frames, 8)), "clock": clock, "record": record}


def parts_of(markup):
    return [json.loads(html.unescape(each)) for each in re.findall('data-player="([^"]*)"', markup)]


@pytest.mark.parametrize("seconds", [45, pytest.param(600, marks=pytest.mark.long)])
def test_a_long_sound_is_cut_into_parts_and_the_attended_one_is_open(seconds):
    shown = player(**long_sound(seconds), events=[("bell", 34, 36)], title="Long")
    parts = parts_of(shown.markup)
    begins = [piece["begin"] for piece in parts]
    assert sum(piece["duration"] for piece in parts) == pytest.approx(seconds)
    assert begins == pytest.approx(np.cumsum([0, *(piece["duration"] for piece in parts[:-1])]))
    assert all(piece["duration"] <= 20 for piece in parts)
    attended = [begin <= PEAK < begin + piece["duration"] for begin, piece in zip(begins, parts, strict=True)]
    opened = [" open" in each for each in re.findall("<details([^>]*)>", shown.markup)]
    assert opened == attended
    assert shown.markup.count('class="aa-bracket"') == sum(
        b < 36 and b + p["duration"] > 34 for b, p in zip(begins, parts, strict=True)
    )


def test_parts_have_the_scale_of_the_whole():
    gains = [piece["mechanisms"][0]["gain"] for piece in parts_of(player(**long_sound(45)).markup)]
    peaks = [np.frombuffer(base64.b64decode(each), np.uint8).max() for each in gains]
    assert max(peaks) == 255
    assert min(peaks) < 5, "a part far from what is attended to is quiet"


def test_a_density_is_cut_as_weights_are():
    given = long_sound(45)
    from audioattn_lib.attention.record.density import Density

    frames = given["record"].n_frames
    row = np.array([[1.0]])
    density = Density(PEAK * row, 4 * row, 2 * row, row)
    given["record"] = AttentionRecord(
        "parabola", given["clock"], n_frames=frames, density=density, durations=np.array([45.0])
    )
    shown = player(**given)
    areas = [path.count("Z") for path in re.findall('class="aa-line" d="([^"]*)"', shown.markup)]
    assert areas == [0, 0, 1]


def test_a_short_sound_is_one_player():
    shown = player(**long_sound(4, peak=2.0))
    assert [piece["begin"] for piece in parts_of(shown.markup)] == [0]
    assert "<details" not in shown.markup


def test_a_picture_has_as_many_columns_as_a_screen_shows():
    shown = player(**long_sound(4, rate=8000, period=0.0002, peak=2.0))
    pictures = re.findall('data:image/webp;base64,([^"]*)', shown.markup)
    assert {Image.open(io.BytesIO(base64.b64decode(each))).width for each in pictures} == {3000}


def test_of_a_sound_that_is_too_long_for_a_card_its_start_is_heard():
    noise = 0.5 * np.random.default_rng(0).standard_normal(60 * 44_100).clip(-1, 1)
    content = compress_start(noise, 44_100)
    assert 0 < len(content) <= BUDGET
    short = noise[: 2 * 44_100]
    assert compress_start(short, 44_100) == compress(short, 44_100)
