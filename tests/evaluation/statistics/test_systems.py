"""Systems compared over seeds and groups: intervals that cover, tests that agree with them, seeds that count."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audioattn_lib.evaluation.scores.metrics import regression_metrics
from audioattn_lib.evaluation.statistics.systems import (
    Draws,
    compare_systems,
    difference,
    draw_means,
    draw_scores,
    score_interval,
)


def experiment(generator, seeds=5, groups=40, of_seeds=0.1, gain=0.0):
    """Gain of a system on two clips a group: groups, seeds and what is left vary."""
    of_groups = generator.normal(0, 0.3, (1, groups, 1))
    drawn = generator.normal(0, of_seeds, (seeds, 1, 1))
    return (gain + drawn + of_groups + generator.normal(0, 0.3, (seeds, groups, 2))).reshape(seeds, -1)


def compared(scores, groups, seed=0):
    nothing = draw_means(np.zeros(scores.shape[1]), groups=groups, n_resamples=200, seed=seed)
    return difference(draw_means(scores, groups=groups, n_resamples=200, seed=seed), nothing)


@pytest.mark.parametrize(("seeds", "of_seeds"), [(5, 0.1), (3, 0.1), (5, 0.0)])
def test_intervals_cover_the_truth_where_seeds_and_groups_vary(seeds, of_seeds):
    generator = np.random.default_rng(0)
    groups = np.repeat(np.arange(40), 2)
    results = [compared(experiment(generator, seeds, 40, of_seeds), groups, seed=i).interval() for i in range(200)]
    assert 0.91 <= np.mean([each.low <= 0 <= each.high for each in results]) <= 1.0


def test_an_interval_over_clips_alone_is_too_narrow_where_seeds_vary():
    generator = np.random.default_rng(1)
    groups = np.repeat(np.arange(40), 2)
    scores = [experiment(generator, of_seeds=0.3) for _ in range(60)]
    alone = [compared(each.mean(axis=0)[None], groups).interval() for each in scores]
    assert np.mean([each.low <= 0 <= each.high for each in alone]) < 0.7


@given(st.integers(0, 10_000), st.floats(-0.4, 0.4), st.integers(1, 4))
def test_an_interval_excludes_zero_exactly_where_the_test_does(seed, gain, pairs):
    generator = np.random.default_rng(seed)
    groups = np.repeat(np.arange(12), 2)
    nothing = draw_means(np.zeros(24), groups=groups, n_resamples=100)
    drawn = {
        str(n): (draw_means(experiment(generator, 3, 12, gain=gain * n), groups=groups, n_resamples=100), nothing)
        for n in range(pairs)
    }
    table = compare_systems(drawn)
    excludes = (table["low"] > 0) | (table["high"] < 0)
    assert (excludes == (table["p_holm"] < 0.05)).all()
    assert ((table["low"] <= table["difference"]) & (table["difference"] <= table["high"])).all()


def test_pairs_are_compared_clip_by_clip_and_seed_by_seed():
    generator = np.random.default_rng(2)
    common = experiment(generator, of_seeds=1.0)  # seeds and clips differ much, the systems by little everywhere
    groups = np.repeat(np.arange(40), 2)
    a, b = (draw_means(common + gain, groups=groups) for gain in (0.05 + 0.01 * generator.random(80), 0.0))
    assert difference(a, b).interval().low > 0
    assert difference(a, b).estimate == pytest.approx(-difference(b, a).estimate)
    with pytest.raises(ValueError, match="a has 5 seeds and b 3; give the same seeds"):
        difference(a, draw_means(common[:3], groups=groups))
    with pytest.raises(ValueError, match="draw both with the same groups and n_resamples"):
        difference(a, draw_means(common))


def test_more_seeds_and_clips_show_smaller_differences():
    generator = np.random.default_rng(3)
    few, many = (
        compared(experiment(generator, seeds, size), np.repeat(np.arange(size), 2)).detectable()
        for seeds, size in ((3, 20), (10, 200))
    )
    assert 0 < many < few / 2


def test_what_is_detectable_is_found_in_four_experiments_of_five():
    generator = np.random.default_rng(4)
    groups = np.repeat(np.arange(40), 2)
    gain = np.mean([compared(experiment(generator), groups).detectable() for _ in range(20)])
    results = [compared(experiment(generator, gain=gain), groups, seed=i).p_value < 0.05 for i in range(150)]
    assert 0.7 < np.mean(results) < 0.95


@pytest.mark.parametrize("statistic", ["spearman", "pearson", "concordance", "mean_absolute_error"])
def test_scores_that_are_no_means_are_compared_too(statistic):
    rng = np.random.default_rng(0)
    y = rng.standard_normal(80)
    good, bad, alike = (y + size * rng.standard_normal((3, 80)) for size in (0.4, 2.0, 0.4))
    groups = np.repeat(np.arange(20), 4)
    drawn = {
        name: draw_scores(y, values, statistic, groups=groups)
        for name, values in {"good": good, "bad": bad, "alike": alike, "scaled": 1000 * good + 7}.items()
    }
    sign = -1 if statistic == "mean_absolute_error" else 1
    expected = np.mean([regression_metrics(y, values)[statistic] for values in good])
    assert drawn["good"].scores.mean() == pytest.approx(expected)
    better = difference(drawn["good"], drawn["bad"])
    assert sign * better.estimate > 0
    assert better.p_value < 0.01
    assert difference(drawn["good"], drawn["alike"]).p_value > 0.05
    assert difference(drawn["good"], drawn["good"]).p_value == 1.0
    if statistic in ("spearman", "pearson"):  # the scale of a system does not matter to a correlation
        assert difference(drawn["scaled"], drawn["good"]).estimate == pytest.approx(0, abs=1e-9)


def test_edges_are_told_and_not_guessed():
    one_group = score_interval(draw_means(np.ones((3, 4)), groups=["a"] * 4))
    assert np.isnan(one_group.low)
    sure = score_interval(draw_means([[1, 1, 1, 0, 1, 1]] * 3))
    assert 0 <= sure.low <= sure.estimate <= sure.high <= 1
    weak = score_interval(draw_scores([1.0, 2, 3, 4, 5], [2.0, 1, 3, 5, 4], "spearman"), bounds=(-1, 1))
    assert -1 <= weak.low < 0 < weak.estimate <= weak.high <= 1, "a correlation may be negative"
    every_group_gains = difference(draw_means(np.ones(10)), draw_means(np.zeros(10)))
    assert every_group_gains.p_value == 2.0**-9
    same = difference(draw_means([0, 1, 1]), draw_means([0, 1, 1]))
    assert (same.interval().low, same.interval().high, same.p_value) == (0, 0, 1)
    three = difference(draw_means(np.ones(3)), draw_means(np.zeros(3)))
    assert three.p_value == 0.25
    assert np.isnan(three.interval().low)
    assert list(compare_systems({}).columns) == list(
        compare_systems({"a": (draw_means([0, 1]), draw_means([1, 0]))}).columns
    )
    assert isinstance(compare_systems({}), pd.DataFrame)
    few = {"a": (draw_means([[1.0, 1, 1], [0, 0, 1]]), draw_means([[0.0, 1, 0], [0, 0, 0]]))}
    wide, cut = compare_systems(few).loc["a"], compare_systems(few, largest=1.0).loc["a"]
    assert wide["high"] > 1 >= cut["high"], "two shares differ by one at most"
    assert cut["low"] >= -1
    assert Draws(np.zeros(2), np.zeros((2, 100)), 4).seeds == 2
