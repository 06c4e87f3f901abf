"""Laws of verification: error rates, their intervals, and the rejection of the unknown."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audioattn_lib.evaluation.scores.open_set import rejection_metrics, rejection_threshold
from audioattn_lib.evaluation.scores.verification import (
    detection_curve,
    equal_error_rate,
    make_trials,
    min_detection_cost,
    score_trials,
    verification_metrics,
)

SCORES = st.lists(st.tuples(st.integers(-3, 3), st.booleans()), min_size=2, max_size=30).filter(
    lambda pairs: len({same for _, same in pairs}) == 2
)


def rates(scores, same, threshold):
    return np.mean(scores[same] < threshold), np.mean(scores[~same] >= threshold)


@settings(max_examples=100)
@given(SCORES)
def test_the_curve_is_the_definition_at_every_threshold(pairs):
    scores, same = np.array([s for s, _ in pairs], dtype=float), np.array([k for _, k in pairs])
    curve = detection_curve(scores, same)
    for threshold, miss, false_alarm in curve.table().to_numpy():
        assert (miss, false_alarm) == pytest.approx(rates(scores, same, threshold))
    assert (np.diff(curve.thresholds) > 0).all()
    assert (curve.miss[0], curve.false_alarm[0], curve.miss[-1], curve.false_alarm[-1]) == (0, 1, 1, 0)
    rate = equal_error_rate(scores, same)
    assert 0 <= rate <= 1
    # order and scale of the trials do not matter, nor which kind of error is called which
    assert equal_error_rate(3 * scores[::-1] + 1, same[::-1]) == pytest.approx(rate)
    assert equal_error_rate(-scores, ~same) == pytest.approx(rate)
    assert equal_error_rate(np.repeat(scores, 3), np.repeat(same, 3)) == pytest.approx(rate)


def test_without_ties_the_rate_is_exact():
    scores = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8])
    same = np.array([0, 0, 1, 0, 0, 1, 1, 1], dtype=bool)
    assert equal_error_rate(scores, same) == 0.25
    curve = detection_curve(scores, same)
    assert (np.diff(curve.miss) * np.diff(curve.false_alarm) == 0).all()


def test_the_ends_and_ties():
    same = np.array([True, True, False, False])
    assert equal_error_rate([2, 3, 0, 1], same) == 0
    assert equal_error_rate([0, 1, 2, 3], same) == 1
    assert equal_error_rate([1, 1, 1, 1], same) == 0.5
    assert min_detection_cost([1, 1, 1, 1], same) == 1
    assert min_detection_cost([2, 3, 0, 1], same) == 0
    assert min_detection_cost([0, 3, 1, 2], same, prior=0.5) == pytest.approx(0.5)


def test_against_a_fine_grid():
    generator = np.random.default_rng(0)
    same = generator.random(400) < 0.3
    scores = generator.normal(same * 1.5)
    grid = np.array([rates(scores, same, t) for t in np.sort(scores)])
    nearest = grid[np.abs(grid[:, 0] - grid[:, 1]).argmin()]
    assert equal_error_rate(scores, same) == pytest.approx(nearest.mean(), abs=0.005)
    cost = (0.05 * grid[:, 0] + 0.95 * grid[:, 1]).min() / 0.05
    assert min_detection_cost(scores, same) == pytest.approx(min(cost, 1))


def test_trials_are_all_pairs_or_a_drawn_share():
    speakers = ["a", "a", "b", "b", "c"]
    trials = make_trials(speakers)
    assert len(trials) == 10
    assert trials.is_same.sum() == 2
    assert (trials.first != trials.second).all()
    fewer = make_trials(speakers * 10, most=20, seed=1)
    assert (fewer.is_same.sum(), (~fewer.is_same).sum()) == (20, 20)
    again = make_trials(speakers * 10, most=20, seed=1)
    assert (again.first == fewer.first).all()
    large = make_trials(np.arange(6000) // 2, most=50)
    assert (large.is_same.sum(), (~large.is_same).sum()) == (50, 50)
    assert ((large.speakers[large.first] == large.speakers[large.second]) == large.is_same).all()
    assert len({*zip(large.first, large.second, strict=True)}) == 100
    with pytest.raises(ValueError, match="3 utterances of 3 speakers have no pair of one speaker"):
        make_trials(["a", "b", "c"])
    with pytest.raises(ValueError, match="no pair of two speakers"):
        make_trials(["a", "a"])


def test_a_trial_is_scored_by_the_cosine():
    trials = make_trials(["a", "a", "b"])
    scores = score_trials([[1.0, 0.0], [2.0, 0.0], [0.0, 5.0]], trials)
    np.testing.assert_allclose(scores, [1, 0, 0])
    with pytest.raises(ValueError, match=r"embeddings have shape \(2, 2\); they must be \(3, size\)"):
        score_trials(np.ones((2, 2)), trials)


def test_intervals_are_over_speakers():
    generator = np.random.default_rng(0)
    speakers = np.repeat([f"s{i}" for i in range(12)], 4)
    voices = np.repeat(generator.normal(size=(12, 3)), 4, axis=0)
    trials = make_trials(speakers)
    scores = score_trials(voices + 0.7 * generator.normal(size=voices.shape), trials)
    metrics = verification_metrics(scores, trials, n_resamples=200)
    assert metrics["equal_error_rate"] == equal_error_rate(scores, trials.is_same)
    assert metrics["min_detection_cost"] == min_detection_cost(scores, trials.is_same)
    interval = metrics["intervals"]["equal_error_rate"]
    assert interval["low"] < metrics["equal_error_rate"] < interval["high"]
    assert interval["method"] == "percentile bootstrap over 12 speakers"
    assert metrics == verification_metrics(scores, trials, n_resamples=200)
    more = dataclasses.replace(trials, speakers=np.concatenate([trials.speakers, ["never", "heard"]]))
    assert verification_metrics(scores, more, n_resamples=200) == metrics, "speakers of no trial do not count"
    miss, false_alarm = rates(scores, trials.is_same, metrics["threshold"])
    assert abs(miss - false_alarm) < 0.02
    # as many trials of utterances that have nothing to do with each other are a narrower interval than of speakers
    alone = make_trials(speakers)
    alone = type(alone)(alone.first, alone.second, alone.is_same, np.array([f"{i}" for i in range(48)]))
    narrow = verification_metrics(scores, alone, n_resamples=200)["intervals"]["equal_error_rate"]
    assert narrow["high"] - narrow["low"] < interval["high"] - interval["low"]


@settings(max_examples=50)
@given(st.lists(st.integers(0, 9), min_size=1, max_size=20), st.floats(0.01, 1))
def test_the_threshold_accepts_the_asked_share_and_no_higher_one_does(certainties, share):
    values = np.array(certainties, dtype=float)
    threshold = rejection_threshold(values, share)
    assert np.mean(values >= threshold) >= share - 1e-9
    higher = values[values > threshold]
    assert not len(higher) or np.mean(values >= higher.min()) < share


def test_rejection_is_measured_on_both_kinds():
    metrics = rejection_metrics([0.9, 0.8, 0.3], [True, False, True], [0.2, 0.85], 0.5)
    assert metrics["known_accepted"] == pytest.approx(2 / 3)
    assert metrics["accuracy_accepted"] == 0.5
    assert metrics["unknown_rejected"] == 0.5
    assert rejection_metrics([0.1], [True], [0.2], 0.5)["accuracy_accepted"] is None


@pytest.mark.parametrize(
    ("call", "what"),
    [
        (lambda: equal_error_rate([1, 2], [True, True]), "all 2 trials are of one speaker; give both"),
        (lambda: equal_error_rate([1, np.nan], [True, False]), "row 1 of scores is not finite"),
        (lambda: equal_error_rate([], []), "scores is empty"),
        (lambda: equal_error_rate([1, 2], [True]), r"is_same has shape \(1,\)"),
        (lambda: min_detection_cost([1, 2], [True, False], prior=0), "prior is 0; it must be above 0 and below 1"),
        (lambda: rejection_threshold([1.0], 0), "accepted is 0"),
        (lambda: make_trials(["a", "a", "b"], most=0), "most is 0"),
    ],
)
def test_what_cannot_be_is_named(call, what):
    with pytest.raises(ValueError, match=what):
        call()
