"""Regression keeps to its protocol, says what went wrong, and is scored against chance."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.compose import TransformedTargetRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, PredefinedSplit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, RobustScaler, StandardScaler
from sklearn.svm import SVR, LinearSVR

from audioattn_lib.evaluation.regression import COMPLEXITIES, REGRESSORS, fit_regression
from audioattn_lib.evaluation.scores.metrics import regression_metrics
from audioattn_lib.evaluation.scores.regression_scores import (
    SCORES,
    chance_regression,
    permutation_test,
    score_regression,
    to_label_range,
)
from audioattn_lib.evaluation.statistics.correlations import of_ranks
from audioattn_lib.evaluation.statistics.intervals import bootstrap_interval


def problem(n=(60, 40, 40), features=5, noise=0.3, seed=0):
    """Features, numbers that follow them, and the parts they are divided into."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((sum(n), features)) * 10.0 ** rng.uniform(-2, 2, features)
    y = 5 + stats.zscore(x @ (1 / x.std(axis=0))) + noise * rng.standard_normal(sum(n))
    return np.split(x, np.cumsum(n)[:-1]), np.split(y, np.cumsum(n)[:-1])


@pytest.mark.parametrize("model", REGRESSORS)
def test_it_predicts_what_can_be_predicted(model):
    x, y = problem()
    regression = fit_regression(
        x[0], y[0], x[1], y[1], x[2], model=model, complexities=(*COMPLEXITIES, 10.0), max_iter=20_000
    )
    assert stats.spearmanr(y[2], regression.predictions).statistic > 0.8
    assert regression.validation[regression.complexity] == max(regression.validation.values())
    assert regression.valid_predictions.shape == (40,)
    assert all(regression.converged.values())
    assert regression.refit_converged
    assert not regression.notes


@pytest.mark.parametrize("name", ["linear_svr", "published_svr"])
def test_the_published_protocol(name):
    """Scaling on train, choice on devel, scaling and fit again on both: the same by hand."""
    from sklearn.preprocessing import MinMaxScaler
    from sklearn.svm import LinearSVR

    def predict(c, train, targets, new):
        scaler = MinMaxScaler().fit(train)
        train, new, middle = scaler.transform(train), scaler.transform(new), 0.0
        if name == "linear_svr":
            train, new, middle = train - train.mean(axis=0), new - train.mean(axis=0), np.median(targets)
        model = LinearSVR(epsilon=0.0, C=c, max_iter=20_000, random_state=0)
        return model.fit(train, targets - middle).predict(new) + middle

    x, y = problem()
    regression = fit_regression(x[0], y[0], x[1], y[1], x[2], model=name, max_iter=20_000)
    scores = [stats.spearmanr(y[1], predict(c, x[0], y[0], x[1])).statistic for c in COMPLEXITIES]
    assert list(regression.validation) == list(COMPLEXITIES)
    np.testing.assert_allclose(list(regression.validation.values()), scores)
    assert regression.complexity == COMPLEXITIES[int(np.argmax(scores))]
    both, targets = np.concatenate(x[:2]), np.concatenate(y[:2])
    np.testing.assert_allclose(regression.predictions, predict(regression.complexity, both, targets, x[2]))


@pytest.mark.parametrize("model", ["linear_svr", "ridge", "rbf_svr"])
def test_where_the_labels_lie_changes_nothing_but_where_predictions_lie(model):
    x, y = problem()
    near, far = (
        fit_regression(x[0], y[0] + c, x[1], y[1] + c, x[2], model=model, complexities=(1e-5, 1e-3), max_iter=20_000)
        for c in (0.0, 100.0)
    )
    np.testing.assert_allclose(near.predictions + 100, far.predictions, rtol=1e-4)
    assert near.validation == pytest.approx(far.validation, abs=1e-3)


def test_the_published_offset_is_kept_small_and_the_weights_go_astray():
    x, y = problem()
    falling = [10 - targets for targets in y]  # the larger the features, the smaller the label
    ours, theirs = (
        fit_regression(x[0], falling[0], x[1], falling[1], x[2], model=model, complexities=(1e-5,))
        for model in ("linear_svr", "published_svr")
    )
    np.testing.assert_allclose(ours.predictions, np.median(np.concatenate(falling[:2])), atol=0.1)
    np.testing.assert_allclose(theirs.predictions, 0, atol=0.1)
    assert ours.validation[1e-5] > 0.7
    assert theirs.validation[1e-5] < -0.7


def test_the_unit_of_a_feature_changes_nothing():
    x, y = problem()
    scaled = [values * [1e-3, 1, 1e3, 7, 100] + 5 for values in x]
    ours, theirs = (fit_regression(p[0], y[0], p[1], y[1], p[2], model="ridge").predictions for p in (x, scaled))
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)


@pytest.mark.parametrize("model", REGRESSORS)
def test_a_grid_search_of_scikit_learn_chooses_and_predicts_the_same(model):
    x = np.random.default_rng(0).normal(size=(90, 7))
    y = 5 + x @ np.linspace(-1, 1, 7) + np.random.default_rng(1).normal(size=90) / 2
    steps, estimator, name = [MinMaxScaler()], LinearSVR(epsilon=0.0, max_iter=1000, random_state=0), "linearsvr__C"
    if model == "linear_svr":  # means of features and median of labels are taken away first
        steps.append(StandardScaler(with_std=False))
        estimator = TransformedTargetRegressor(estimator, transformer=RobustScaler(with_scaling=False))
        name = "transformedtargetregressor__regressor__C"
    elif model == "ridge":
        estimator, name = Ridge(), "ridge__alpha"
    elif model == "rbf_svr":
        estimator, name = SVR(), "svr__C"
    search = GridSearchCV(
        make_pipeline(*steps, estimator),
        {name: [1 / c if model == "ridge" else c for c in COMPLEXITIES]},
        scoring=lambda fitted, inputs, labels: stats.spearmanr(labels, fitted.predict(inputs)).statistic,
        cv=PredefinedSplit([-1] * 50 + [0] * 20),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        search.fit(x[:70], y[:70])
    ours = fit_regression(x[:50], y[:50], x[50:70], y[50:70], x[70:], model=model)
    assert list(ours.validation.values()) == pytest.approx(search.cv_results_["mean_test_score"], abs=1e-12)
    assert COMPLEXITIES.index(ours.complexity) == search.best_index_
    assert ours.predictions == pytest.approx(search.predict(x[70:]), abs=1e-10)


def test_of_equally_good_complexities_the_smallest_is_taken():
    x, y = problem()
    regression = fit_regression(x[0], y[0], x[1][:2], y[1][:2], x[2], model="ridge")
    best = max(regression.validation.values())
    assert regression.complexity == min(c for c, score in regression.validation.items() if score == best)


@pytest.mark.parametrize("model", ["linear_svr", "published_svr"])
def test_a_solver_that_did_not_converge_is_reported_and_not_hidden(model):
    x, y = problem(noise=1.0, seed=3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        regression = fit_regression(x[0], y[0], x[1], y[1], x[2], model=model, complexities=(1e-5, 10.0), max_iter=3)
    assert regression.converged == {1e-5: True, 10.0: False}
    assert regression.complexity == 10.0
    assert not regression.refit_converged
    assert any("stopped after 3 passes, before it converged, for C of 10" in note for note in regression.notes)


@pytest.mark.parametrize("model", REGRESSORS)
def test_features_that_say_nothing_score_zero_with_a_note(model):
    _, y = problem()
    regression = fit_regression(np.ones((60, 3)), y[0], np.ones((40, 3)), y[1], np.ones((40, 3)), model=model)
    assert set(regression.validation.values()) == {0.0}
    assert regression.complexity == min(COMPLEXITIES)
    assert any("all test clips are predicted alike" in note for note in regression.notes)
    scores = score_regression(y[2], regression.predictions, n_resamples=100)
    assert [scores[name] for name in SCORES[:3]] == [0.0, 0.0, 0.0]
    assert scores["note"].startswith("all predictions are")
    assert scores["permutation"]["p_value"] == 1.0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": "svm"}, "model is 'svm'; it must be one of linear_svr, published_svr, ridge, rbf_svr"),
        ({"complexities": (0,)}, r"complexities is \(0,\)"),
        ({"max_iter": 0}, "max_iter is 0"),
        ({"train_y": [1.0, 2.0]}, "train_y has 2 values for 60 clips"),
        ({"valid_x": np.zeros((40, 4))}, "valid_x has 4 columns and train_x 5"),
        ({"train_x": np.zeros(60)}, r"train_x has shape \(60,\)"),
        ({"valid_y": np.full(40, np.nan)}, "row 0 of valid_y is not finite"),
    ],
)
def test_impossible_arguments_are_named(change, message):
    x, y = problem()
    arguments = {"train_x": x[0], "train_y": y[0], "valid_x": x[1], "valid_y": y[1], "test_x": x[2]}
    with pytest.raises(ValueError, match=message):
        fit_regression(**(arguments | change))


def test_rounding_keeps_to_the_labels():
    np.testing.assert_array_equal(to_label_range([-3.0, 1.4, 4.6, 12.0], 1, 9), [1, 1, 5, 9])
    with pytest.raises(ValueError, match="low is 9 and high 1"):
        to_label_range([1.0], 9, 1)


values = st.lists(st.integers(0, 6), min_size=6, max_size=6)


@settings(max_examples=60)
@given(values, values, values)
def test_ranks_of_a_resample_are_the_ranks_of_its_clips(x, y, counts):
    """The weighted form against scipy on clips that are written out as often as they were drawn."""
    x, y, counts = np.array(x, float), np.array(y, float), np.array(counts) + np.array([1, 0, 0, 0, 0, 0])
    ours = of_ranks(x, y, counts[None].astype(float))[0]
    written_out = [np.repeat(values, counts) for values in (x, y)]
    if min(map(np.ptp, written_out)) == 0:
        assert ours == 0
    else:
        assert ours == pytest.approx(stats.spearmanr(*written_out).statistic, abs=1e-12)


@pytest.mark.parametrize("name", SCORES)
@pytest.mark.parametrize("groups", [None, np.repeat(np.arange(10), 4)])
def test_fast_intervals_agree_with_a_function_of_each_resample(name, groups):
    _, y = problem()
    p = y[2] + np.random.default_rng(1).standard_normal(40) + 3.0

    def slow(labels, predictions):
        return regression_metrics(labels, predictions)[name]

    fast = bootstrap_interval((y[2], p), name, groups=groups, n_resamples=400)
    reference = bootstrap_interval((y[2], p), slow, groups=groups, n_resamples=400, seed=1)
    assert fast.estimate == pytest.approx(reference.estimate)
    assert fast.low == pytest.approx(reference.low, abs=0.08)
    assert fast.high == pytest.approx(reference.high, abs=0.08)


def test_constant_predictions_far_from_zero_correlate_with_nothing():
    y = np.random.default_rng(0).standard_normal(50) + 1e6
    for name in SCORES[:3]:
        interval = bootstrap_interval((y, np.full(50, 123456.789)), name, n_resamples=100)
        assert (interval.low, interval.estimate, interval.high) == (0, 0, 0)


def test_scores_of_predictions():
    _, y = problem()
    p = y[2] + 0.5 * np.random.default_rng(1).standard_normal(40)
    scores = score_regression(y[2], p, groups=np.repeat(np.arange(10), 4))
    assert scores["spearman"] == pytest.approx(stats.spearmanr(y[2], p).statistic)
    assert scores["pearson"] == pytest.approx(np.corrcoef(y[2], p)[0, 1])
    assert scores["concordance"] < scores["pearson"]
    for name in SCORES:
        assert scores["intervals"][name]["low"] < scores[name] < scores["intervals"][name]["high"]
        assert "10 groups" in scores["intervals"][name]["method"]
    assert scores["permutation"]["p_value"] < 0.01
    assert scores["permutation"]["low"] < 0 < scores["permutation"]["high"]
    assert scores["note"] == ""


def test_few_speakers_are_remarked_on():
    _, y = problem()
    scores = score_regression(y[2], y[2], groups=np.repeat([0, 1], 20), n_resamples=100)
    assert scores["note"] == "only 2 groups: intervals over so few are too narrow"


def test_concordance_by_hand():
    assert regression_metrics([1.0, 2.0, 3.0], [2.0, 3.0, 4.0])["concordance"] == pytest.approx(4 / 7)
    assert regression_metrics([1.0, 2.0, 3.0], [1.0, 2.0, 3.0])["concordance"] == pytest.approx(1)
    assert regression_metrics([1.0, 2.0, 3.0], [2.0, 2.0, 2.0])["concordance"] == 0
    assert regression_metrics([2.0, 2.0], [2.0, 2.0])["concordance"] is None


def test_p_values_of_chance_are_even():
    """Of predictions that have nothing to do with the labels, a tenth is below 0.1: with speakers too."""
    rng = np.random.default_rng(0)
    for groups in (None, np.repeat(np.arange(6), 5)):
        results = []
        for _ in range(150):
            y, p = rng.standard_normal((2, 30))
            if groups is not None:  # clips of one speaker resemble each other, on both sides
                y, p = y + 2 * rng.standard_normal(6)[groups], p + 2 * rng.standard_normal(6)[groups]
            results.append(permutation_test(y, p, groups=groups, n_permutations=200).p_value)
        assert 0.03 < np.mean(np.array(results) <= 0.1) < 0.2, "with groups" if groups is not None else "without"
        assert 0.4 < np.mean(results) < 0.6


def test_speakers_do_not_pass_for_many_clips():
    groups = np.repeat(np.arange(3), 20)
    level = np.array([1.0, 5.0, 3.0])[groups]
    noise = np.random.default_rng(0).standard_normal((2, 60))
    y, p = level + noise[0], level + noise[1]
    assert permutation_test(y, p).p_value < 0.01
    assert permutation_test(y, p, groups=groups).p_value > 0.1


def test_chance_is_the_median_of_the_training_labels():
    scores = chance_regression([1.0, 2.0, 6.0], [3.0, 4.0, 100.0])
    assert scores["prediction"] == 4.0
    assert scores["mean_absolute_error"] == pytest.approx(7 / 3)
    assert scores["spearman"] == scores["concordance"] == 0.0


def test_thousands_of_clips_are_resampled_at_once():
    import time

    rng = np.random.default_rng(0)
    y, p = rng.integers(1, 10, 5000), rng.standard_normal(5000)
    begin = time.process_time()
    bootstrap_interval((y, p), "spearman", n_resamples=500)
    assert time.process_time() - begin < 3, "a loop over resamples with scipy takes about as long for a tenth of them"
