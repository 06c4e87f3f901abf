"""Mean average precision: the measure of scikit-learn, with intervals that mean what they say."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from audioattn_lib.evaluation.scores.ranking import (
    _average_precision,
    draw_average_precision,
    mean_average_precision_interval,
)
from audioattn_lib.evaluation.statistics.systems import difference


@pytest.fixture
def clips():
    rng = np.random.default_rng(0)
    truth = (rng.random((80, 3)) < 0.3).astype(float)
    return truth, truth + rng.standard_normal((80, 3)), np.arange(80) // 4


def test_it_is_the_mean_over_classes(clips):
    truth, scores, _ = clips
    expected = np.mean([average_precision_score(y, p) for y, p in zip(truth.T, scores.T, strict=True)])
    assert mean_average_precision_interval(truth, scores).estimate == pytest.approx(expected, abs=1e-12)


def test_a_clip_that_is_drawn_twice_counts_twice_and_ties_share_a_place(clips):
    truth, scores, _ = clips
    scores = np.round(scores)
    counts = np.random.default_rng(1).integers(0, 3, len(truth))
    drawn = np.repeat(np.arange(len(truth)), counts)
    expected = np.mean([average_precision_score(y, p) for y, p in zip(truth[drawn].T, scores[drawn].T, strict=True)])
    assert _average_precision(truth, scores, counts[None].astype(float))[0] == pytest.approx(expected, abs=1e-12)


def test_the_interval_holds_the_estimate_and_groups_widen_it(clips):
    truth, scores, groups = clips
    truth, scores = truth[groups * 4], scores[groups * 4]  # four copies of each clip say no more than one
    alone = mean_average_precision_interval(truth, scores)
    grouped = mean_average_precision_interval(truth, scores, groups=groups)
    assert alone.low < alone.estimate < alone.high
    assert grouped.high - grouped.low > 1.5 * (alone.high - alone.low)


def test_equal_systems_do_not_differ_and_a_better_one_does(clips):
    truth, scores, groups = clips
    drawn = {
        name: draw_average_precision(truth, made, groups=groups)
        for name, made in {"plain": scores, "better": 5 * truth + scores}.items()
    }
    same = difference(drawn["plain"], drawn["plain"])
    assert same.estimate == 0
    assert same.p_value == 1
    better = difference(drawn["better"], drawn["plain"])
    assert better.interval().low > 0
    assert better.p_value < 0.01


def test_several_seeds_are_averaged(clips):
    truth, scores, _ = clips
    both = mean_average_precision_interval(truth, [scores, -scores]).estimate
    each = [mean_average_precision_interval(truth, s).estimate for s in (scores, -scores)]
    assert both == pytest.approx(np.mean(each))


@pytest.mark.parametrize(
    ("targets", "scores", "says"),
    [
        (np.zeros((4, 2)), np.zeros((4, 2)), "targets"),
        (np.ones((4, 2)), np.zeros((4, 3)), "scores"),
        (np.ones((4, 2)), np.full((4, 2), np.nan), "scores"),
    ],
)
def test_what_does_not_fit_is_refused(targets, scores, says):
    with pytest.raises(ValueError, match=says):
        mean_average_precision_interval(targets, scores)
