"""Laws of intervals, comparisons and chance."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from audioattn_lib.evaluation.scores.metrics import classification_metrics
from audioattn_lib.evaluation.statistics.comparisons import (
    bootstrap_interval,
    chance_level,
    holm,
    paired_comparison,
    wilson_interval,
)


class TestBootstrap:
    @given(st.lists(st.floats(-5, 5), min_size=1, max_size=20), st.integers(0, 100))
    def test_lies_within_the_data_and_is_reproducible(self, values: list[float], seed: int) -> None:
        result = bootstrap_interval(values, n_resamples=100, seed=seed)
        assert result.estimate == pytest.approx(np.mean(values), abs=1e-9)
        if len(values) > 1:
            assert min(values) - 1e-9 <= result.low <= result.high <= max(values) + 1e-9
            assert result == bootstrap_interval(values, n_resamples=100, seed=seed)

    def test_agrees_with_scipy(self) -> None:
        x = np.random.default_rng(0).gamma(2.0, size=60)
        theirs = stats.bootstrap((x,), np.mean, n_resamples=20_000, method="percentile", rng=1).confidence_interval
        ours = bootstrap_interval(x, n_resamples=20_000)
        assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.02)

    @pytest.mark.parametrize("name", ["accuracy", "error", "unweighted_average_recall", "macro_f1"])
    @pytest.mark.parametrize("grouped", [False, True])
    def test_all_at_once_is_one_at_a_time(self, name: str, grouped: bool) -> None:
        generator = np.random.default_rng(2)
        labels, predictions = generator.integers(0, 4, (2, 30))
        labels[labels == 2] = 1  # a class that is predicted but never true
        groups = [f"r{i}" for i in generator.integers(0, 9, 30)] if grouped else None

        def score(y: np.ndarray, p: np.ndarray) -> float:
            return classification_metrics(y, np.eye(4)[p.astype(int)], list("abcd"))[name]

        fast = bootstrap_interval((labels, predictions), name, groups=groups, n_resamples=100, seed=3)
        slow = bootstrap_interval((labels, predictions), score, groups=groups, n_resamples=100, seed=3)
        assert fast.estimate == pytest.approx(slow.estimate)
        assert (fast.low, fast.high) == pytest.approx((slow.low, slow.high))

    def test_rmse_and_mean_agree_with_a_function(self) -> None:
        a, b = np.random.default_rng(0).standard_normal((2, 25))
        fast = bootstrap_interval((a, b), "rmse", n_resamples=100)
        slow = bootstrap_interval((a, b), lambda x, y: float(np.sqrt(np.mean((x - y) ** 2))), n_resamples=100)
        assert (fast.estimate, fast.low, fast.high) == pytest.approx((slow.estimate, slow.low, slow.high))

    def test_chunks_change_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        x = np.random.default_rng(0).standard_normal(50)
        whole = bootstrap_interval(x, n_resamples=300)
        monkeypatch.setattr("audioattn_lib.evaluation.statistics.intervals._CHUNK", 70)
        chunked = bootstrap_interval(x, n_resamples=300)
        assert (chunked.low, chunked.high) == pytest.approx((whole.low, whole.high), rel=1e-12)

    def test_groups_of_one_are_clips(self) -> None:
        x = np.random.default_rng(0).standard_normal(30)
        by_clip, by_group = bootstrap_interval(x), bootstrap_interval(x, groups=np.arange(30))
        assert (by_group.low, by_group.high) == (by_clip.low, by_clip.high)

    def test_copies_of_clips_do_not_narrow_a_grouped_interval(self) -> None:
        x = np.random.default_rng(0).standard_normal(30)
        once = bootstrap_interval(x)
        copied = bootstrap_interval(np.repeat(x, 10), groups=np.repeat(np.arange(30), 10))
        careless = bootstrap_interval(np.repeat(x, 10))
        assert (copied.low, copied.high) == pytest.approx((once.low, once.high))
        assert careless.high - careless.low < 0.5 * (once.high - once.low)

    def test_covers_the_truth_about_as_often_as_it_says(self) -> None:
        generator = np.random.default_rng(0)
        results = [bootstrap_interval(generator.random(60) < 0.7, n_resamples=300, seed=i) for i in range(300)]
        covered = np.mean([i.low <= 0.7 <= i.high for i in results])
        assert 0.90 <= covered <= 0.99

    def test_one_group_has_no_interval(self) -> None:
        result = bootstrap_interval([0.0, 1.0], groups=["a", "a"])
        assert result.estimate == 0.5
        assert math.isnan(result.low)
        assert math.isnan(result.high)

    @pytest.mark.parametrize(
        ("values", "options", "says"),
        [
            ([], {}, "values is empty"),
            ([0.0, math.nan], {}, "row 1 of values is not finite"),
            ([[0.0]], {}, r"values has shape \(1, 1\)"),
            (([0, 1], [0]), {"statistic": "accuracy"}, "2 labels for 1 predictions"),
            (([0, -1], [0, 1]), {"statistic": "macro_f1"}, "labels holds something other than whole numbers"),
            ([0.0, 1.0], {"statistic": "accuracy"}, "give 'mean' or a function"),
            (([0], [0]), {"statistic": "mean"}, "accuracy, concordance, error, macro_f1"),
            ([0.0, 1.0], {"groups": ["a"]}, "1 groups for 2 clips"),
            ([0.0, 1.0], {"groups": ["a", None]}, "row 1 of groups is missing"),
            ([0.0, 1.0], {"level": 95}, "level is 95"),
            ([0.0, 1.0], {"n_resamples": 10}, "n_resamples is 10"),
        ],
    )
    def test_bad_input_is_named(self, values: object, options: dict[str, object], says: str) -> None:
        with pytest.raises(ValueError, match=says):
            bootstrap_interval(values, **options)  # type: ignore[arg-type]


class TestSimpleIntervals:
    def test_wilson_by_hand(self) -> None:
        z = stats.norm.ppf(0.975)
        result = wilson_interval(0, 10)
        assert result.low == pytest.approx(0, abs=1e-12)
        assert result.high == pytest.approx(z**2 / (10 + z**2))

    @given(st.integers(1, 200), st.data())
    def test_wilson_is_symmetric_and_has_width(self, total: int, data: st.DataObject) -> None:
        correct = data.draw(st.integers(0, total))
        actual, mirrored = wilson_interval(correct, total), wilson_interval(total - correct, total)
        assert 0 <= actual.low <= correct / total + 1e-12
        assert correct / total - 1e-12 <= actual.high <= 1
        assert actual.high > actual.low
        assert actual.low == pytest.approx(1 - mirrored.high, abs=1e-9)

    @pytest.mark.parametrize(("correct", "total"), [(2, 1), (-1, 1), (0, 0)])
    def test_wilson_refuses_impossible_counts(self, correct: int, total: int) -> None:
        with pytest.raises(ValueError, match=f"correct is {correct} of total {total}"):
            wilson_interval(correct, total)

    def test_reads_as_text_and_dictionary(self) -> None:
        result = wilson_interval(5, 10)
        assert str(result) == "0.500 [0.237, 0.763]"
        assert result.to_dict()["method"] == "Wilson"


class TestPairedComparison:
    def test_mcnemar_by_hand(self) -> None:
        a, b = [1] * 6 + [0, 1], [0] * 6 + [1, 1]  # 6 better, 1 worse, 1 equal
        comparison = paired_comparison(a, b)
        assert comparison.method == "McNemar, exact"
        assert comparison.p_value == pytest.approx(2 * (1 + 7) / 2**7)
        assert comparison.difference.estimate == pytest.approx(5 / 8)
        assert comparison.clips == 8

    @given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=10))
    @settings(max_examples=50)
    def test_exact_sign_flips_are_mcnemar(self, pairs: list[tuple[bool, bool]]) -> None:
        a, b = np.array(pairs).T
        by_group = paired_comparison(a, b, groups=np.arange(len(a)), n_resamples=1024)
        assert by_group.p_value == pytest.approx(paired_comparison(a, b, n_resamples=100).p_value)

    @given(st.lists(st.floats(-1, 1), min_size=1, max_size=6))
    @settings(max_examples=50)
    def test_exact_sign_flips_by_enumeration(self, change: list[float]) -> None:
        sums = [abs(np.dot(signs, change)) for signs in itertools.product((1, -1), repeat=len(change))]
        expected = np.mean([s >= abs(sum(change)) - 1e-9 * sum(map(abs, change)) for s in sums])
        comparison = paired_comparison(change, [0.0] * len(change), n_resamples=100)
        if any(c not in (0.0, 1.0) for c in change):
            assert "exact" in comparison.method
            assert comparison.p_value == pytest.approx(expected)

    def test_sampled_flips_come_near_the_exact_ones(self) -> None:
        generator = np.random.default_rng(0)
        a, b = generator.random(12) + 0.2, generator.random(12)
        exact = paired_comparison(a, b, n_resamples=2**12)
        sampled = paired_comparison(a, b, n_resamples=4000)
        assert "sampled" in sampled.method
        assert sampled.p_value == pytest.approx(exact.p_value, abs=0.03)

    @given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=2, max_size=30))
    @settings(max_examples=30)
    def test_order_of_systems_changes_the_sign_only(self, pairs: list[tuple[bool, bool]]) -> None:
        a, b = np.array(pairs).T
        ab, ba = paired_comparison(a, b, n_resamples=100), paired_comparison(b, a, n_resamples=100)
        assert ab.p_value == ba.p_value
        assert ab.difference.low == pytest.approx(-ba.difference.high)
        assert ab.difference.estimate == pytest.approx(-ba.difference.estimate)

    def test_equal_systems_do_not_differ(self) -> None:
        right = [True, False, True]
        comparison = paired_comparison(right, right)
        assert comparison.p_value == 1
        assert comparison.difference.low == comparison.difference.high == 0

    def test_false_alarms_are_as_rare_as_they_should_be_with_groups(self) -> None:
        generator = np.random.default_rng(0)
        groups = np.repeat(np.arange(12), 5)
        p = []
        for seed in range(200):  # clips of a group are copies: clips taken as independent would alarm too often
            a, b = (np.repeat(generator.random(12) < 0.5, 5) for _ in range(2))
            p.append(paired_comparison(a, b, groups=groups, n_resamples=4096, seed=seed).p_value)
        assert np.mean(np.array(p) < 0.05) <= 0.09

    def test_lengths_that_differ_are_named(self) -> None:
        with pytest.raises(ValueError, match="a has 1 scores and b 2"):
            paired_comparison([1], [1, 0])


class TestManySystems:
    def test_holm_by_hand(self) -> None:
        assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
        assert holm([0.6, 0.7]) == pytest.approx([1.0, 1.0])

    @given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
    def test_holm_lies_between_none_and_bonferroni_and_keeps_the_order(self, p: list[float]) -> None:
        corrected = holm(p)
        assert (corrected >= np.array(p) - 1e-15).all()
        assert (corrected <= np.minimum(1, len(p) * np.array(p)) + 1e-15).all()
        assert (np.diff(corrected[np.argsort(p, kind="stable")]) >= 0).all()


class TestChance:
    def test_by_hand(self) -> None:
        result = chance_level([0, 0, 0, 1], n_classes=4)
        assert result.majority_class == 0
        assert result.majority.estimate == 0.75
        assert result.uniform.estimate == 0.25
        assert (result.uniform.low, result.uniform.high) == (0.0, 0.75)  # binomial of 4 clips at 1/4

    def test_the_majority_is_that_of_training(self) -> None:
        result = chance_level([0, 0, 0, 1], train_labels=[1, 1, 0])
        assert result.majority_class == 1
        assert result.majority.estimate == 0.25

    def test_a_guesser_lies_within_its_interval(self) -> None:
        generator = np.random.default_rng(0)
        labels = generator.integers(0, 5, 100)
        interval = chance_level(labels).uniform
        scores = (generator.integers(0, 5, (2000, 100)) == labels).mean(axis=1)
        assert np.mean((scores >= interval.low) & (scores <= interval.high)) >= 0.95

    def test_unknown_class_is_named(self) -> None:
        with pytest.raises(ValueError, match="n_classes is 2 but class 2 occurs"):
            chance_level([0, 2], n_classes=2)
