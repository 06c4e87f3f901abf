"""The film strip of playbacks: what it draws, says and plays."""

import re

import numpy as np
import pytest
from handmade import HOSTILE, require_offline

from audioattn_lib import display

RATE = 16_000
SOUND = 0.1 * np.random.default_rng(0).standard_normal(2 * RATE)
CLASSES = ["slow_flutter", "fast_flutter", HOSTILE]


def stage(hop, parts, probabilities=(0.2, 0.7, 0.1)):
    features = [np.random.default_rng(1).normal(size=(max(round((b - a) / hop), 1), 8)) for a, b in parts]
    return display.PlaybackStage(hop, np.array(parts, dtype=float).reshape(-1, 2), features, np.array(probabilities))


STAGES = [
    stage(0.04, [(0.0, 2.0)]),
    stage(0.02, [(0.2, 0.7), (1.0, 1.5)]),
    stage(0.013, [(1.0, 1.5), (0.5, 0.9)]),
]


def strip(stages=STAGES, **options):
    options = {"events": [("slow_flutter", 0.3, 0.6)], "labels": ["slow_flutter"], **options}
    return display.film_strip(SOUND, RATE, stages, CLASSES, **options)


def test_each_part_that_was_played_back_can_be_heard_once():
    page = strip().html()
    assert page.count("<audio controls") == 3
    assert "Playbacks 1 and 2, 1.00 to 1.50 s" in page
    assert "Playback 1, 0.20 to 0.70 s" in page
    assert all(source.startswith("data:audio/mpeg;base64,") for source in re.findall(r'<audio[^>]*src="([^"]*)', page))
    require_offline(page)


def test_it_says_what_it_shows():
    shown = strip(title="One clip")
    assert "heard 3 times" in shown.figure.alt
    assert "Playback 1, every 20 ms (0.20 to 0.70 s, 1.00 to 1.50 s): slow flutter 0.20" in shown.figure.alt
    assert set(shown.figure.images) == {"light", "dark"}
    assert shown.figure.images["light"] != shown.figure.images["dark"]
    assert HOSTILE not in shown.html()


def test_a_clip_of_which_nothing_was_played_is_drawn(tmp_path):
    shown = strip([STAGES[0], stage(0.02, [])])
    assert "<audio" not in shown.html()
    assert strip(STAGES[:1]).save(tmp_path / "strip.html").stat().st_size > 1000


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        ([], "stages is empty"),
        ([stage(0.04, [(0, 2)], (0.5, 0.5))], "stage 0 has 2 probabilities"),
        ([display.PlaybackStage(0.04, np.zeros((2, 2)), [], np.zeros(3))], r"stage 0 has parts of shape \(2, 2\)"),
    ],
)
def test_what_does_not_fit_is_named(stages, message):
    with pytest.raises(ValueError, match=message):
        strip(stages)
