"""A gain over time: what is attended to and the rest are the sound, and nothing gets louder."""

import numpy as np
import pytest

from audioattn_lib.audio.gain import emphasise, gain_curve

RATE = 8000


@pytest.fixture
def sound() -> np.ndarray:
    return np.random.default_rng(0).uniform(-1, 1, RATE).astype(np.float32)


def test_the_parts_are_the_whole(sound):
    attended, rest = emphasise(sound, RATE, np.linspace(0, 1, 21), np.arange(20.0))
    np.testing.assert_allclose(attended + rest, sound, atol=1e-6)
    assert (np.abs(attended) <= np.abs(sound) + 1e-7).all()
    assert (np.abs(rest) <= np.abs(sound) + 1e-7).all()


def test_only_ratios_of_weights_count(sound):
    edges, weights = np.linspace(0, 1, 5), np.array([1.0, 0, 3, 2])
    for ours, theirs in zip(
        emphasise(sound, RATE, edges, weights), emphasise(sound, RATE, edges, 7 * weights), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_equal_weights_leave_the_sound_as_it_is(sound):
    attended, rest = emphasise(sound, RATE, np.linspace(0, 1, 9), np.ones(8))
    np.testing.assert_allclose(attended, sound, atol=1e-6)
    np.testing.assert_allclose(rest, 0, atol=1e-6)


def test_the_floor_is_what_the_rest_keeps(sound):
    attended, _ = emphasise(sound, RATE, [0, 0.5, 1], [1, 0], floor=0.25)
    np.testing.assert_allclose(attended[6000:], 0.25 * sound[6000:], atol=1e-6)


def test_a_step_becomes_a_ramp_of_the_fade():
    curve = gain_curve(RATE, RATE, [0, 0.5, 1], [0, 1], fade=0.02)
    assert curve.shape == (RATE,)
    assert (np.diff(curve) >= -1e-9).all()
    assert np.abs(np.diff(curve)).max() < 0.02
    ramp = np.flatnonzero((curve > 1e-6) & (curve < 1 - 1e-6)) / RATE
    assert ramp.min() == pytest.approx(0.49, abs=1e-3)
    assert ramp.max() == pytest.approx(0.51, abs=1e-3)
    assert curve[RATE // 2] == pytest.approx(0.5, abs=0.02)


def test_without_a_fade_it_is_a_step():
    curve = gain_curve(10, 10, [0, 0.5, 1], [0, 1], fade=0.0)
    np.testing.assert_allclose(curve, [0] * 5 + [1] * 5, atol=1e-9)


def test_frames_that_begin_before_the_sound_are_cut():
    curve = gain_curve(100, 100, [-0.5, 0.5, 1.5], [0.2, 0.8], fade=0.0)
    np.testing.assert_allclose(curve, [0.2] * 50 + [0.8] * 50, atol=1e-9)


@pytest.mark.parametrize(
    ("edges", "weights", "options", "message"),
    [
        ([0, 1], [0.0], {}, "not all 0"),
        ([0, 0.5, 1], [1.0, -1.0], {}, "at least 0"),
        ([0, 1], [np.nan], {}, "finite"),
        ([0, 1], [1.0, 1.0], {}, "edges have shape"),
        ([0, 1, 0.5], [1.0, 1.0], {}, "increasing"),
        ([0, 1], [1.0], {"floor": 2.0}, "floor is 2.0"),
        ([0, 1], [1.0], {"fade": -1.0}, "fade -1.0"),
    ],
)
def test_impossible_values_are_named(sound, edges, weights, options, message):
    with pytest.raises(ValueError, match=message):
        emphasise(sound, RATE, edges, weights, **options)
