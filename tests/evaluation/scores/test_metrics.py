"""Laws of the scores."""

import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from audioattn_lib.evaluation.scores.metrics import (
    classification_metrics,
    d_prime,
    multi_task_metrics,
    multilabel_metrics,
    regression_metrics,
    top_k_accuracy,
)

ABC = ["a", "b", "c"]


def one_hot(predicted: list[int], n_classes: int = 3) -> np.ndarray:
    return np.eye(n_classes)[predicted]


def test_a_small_example_by_hand() -> None:
    scores = classification_metrics([0, 0, 0, 1], one_hot([0, 0, 1, 1], 3), ABC)
    assert scores["accuracy"] == 0.75
    assert scores["error"] == 0.25
    assert scores["unweighted_average_recall"] == pytest.approx((2 / 3 + 1) / 2)
    assert scores["macro_f1"] == pytest.approx((2 * 2 / (3 + 2) + 2 * 1 / (1 + 2)) / 2)  # c occurs nowhere
    assert scores["per_class_accuracy"] == {"a": pytest.approx(2 / 3), "b": 1.0, "c": None}
    assert scores["confusion_matrix"] == [[2, 1, 0], [0, 1, 0], [0, 0, 0]]
    assert scores["clips"] == 4


labels_and_predictions = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=40)


@given(labels_and_predictions)
def test_scores_agree_with_the_confusion_matrix(pairs: list[tuple[int, int]]) -> None:
    labels, predicted = map(list, zip(*pairs, strict=True))
    scores = classification_metrics(labels, one_hot(predicted), ABC)
    confusion = np.array(scores["confusion_matrix"])
    assert confusion.sum() == scores["clips"] == len(pairs)
    assert scores["accuracy"] == pytest.approx(np.trace(confusion) / len(pairs))
    assert scores["accuracy"] + scores["error"] == pytest.approx(1)
    recalls = [value for value in scores["per_class_accuracy"].values() if value is not None]
    assert scores["unweighted_average_recall"] == pytest.approx(np.mean(recalls))
    assert 0 <= scores["macro_f1"] <= 1


@given(labels_and_predictions, st.randoms())
def test_order_of_clips_changes_nothing(pairs: list[tuple[int, int]], random: st.randoms) -> None:  # type: ignore[valid-type]
    shuffled = pairs.copy()
    random.shuffle(shuffled)
    first, second = (
        classification_metrics([a for a, _ in p], one_hot([b for _, b in p]), ABC) for p in (pairs, shuffled)
    )
    assert first == second


@given(st.lists(st.integers(0, 2), min_size=1, max_size=20))
def test_truth_scores_one(labels: list[int]) -> None:
    scores = classification_metrics(labels, one_hot(labels), ABC)
    assert scores["accuracy"] == scores["macro_f1"] == scores["unweighted_average_recall"] == 1


def test_names_and_columns_may_be_permuted_together() -> None:
    generator = np.random.default_rng(0)
    p = generator.dirichlet(np.ones(3), size=50)
    y = generator.integers(0, 3, 50)
    order = np.array([2, 0, 1])
    first = classification_metrics(y, p, ABC)
    second = classification_metrics(np.argsort(order)[y], p[:, order], [ABC[i] for i in order])
    assert second["per_class_accuracy"] == first["per_class_accuracy"]
    assert second["macro_f1"] == pytest.approx(first["macro_f1"])


def test_tensors_of_any_precision_are_taken() -> None:
    p = torch.log_softmax(torch.randn(20, 3, generator=torch.Generator().manual_seed(0)), 1).exp()
    y = torch.arange(20) % 3
    expected = classification_metrics(y.tolist(), p.tolist(), ABC)
    assert classification_metrics(y, p.requires_grad_(), ABC) == expected
    assert classification_metrics(y, p.bfloat16(), ABC)["clips"] == 20


def test_everything_is_json() -> None:
    json.dumps(classification_metrics([0], one_hot([0]), ABC), allow_nan=False)
    json.dumps(multilabel_metrics([[0, 1], [0, 1]], [[0.1, 0.2], [0.1, 0.2]], ["a", "b"]), allow_nan=False)
    json.dumps(regression_metrics([1.0], [2.0]), allow_nan=False)


@pytest.mark.parametrize(
    ("labels", "probabilities", "says"),
    [
        ([0, 1], one_hot([0]), r"labels has shape \(2,\) and probabilities 1 rows"),
        ([], np.zeros((0, 3)), "probabilities is empty"),
        ([0], [[math.nan, 0.5, 0.5]], "row 0 of probabilities holds a value that is not finite"),
        ([3], one_hot([0]), "row 0 of labels is 3; it must be a whole number from 0 to 2"),
        ([0, -1], one_hot([0, 0]), "row 1 of labels is -1"),
        ([0.5], one_hot([0]), "row 0 of labels is 0.5"),
        ([0], [[0.5, 0.5]], r"must be \(clips, 3\)"),
        ([0], [[-1.0, -2.0, -0.5]], "exp to log-probabilities"),
        ([0], [[0.9, 0.9, 0.9]], "sums to 2.7"),
    ],
)
def test_bad_input_is_named(labels: object, probabilities: object, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        classification_metrics(labels, probabilities, ABC)  # type: ignore[arg-type]


def test_a_class_named_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="classes holds a name twice"):
        classification_metrics([0], one_hot([0]), ["a", "a", "b"])


class TestMultilabel:
    def test_by_hand(self) -> None:
        targets = [[1, 0, 1], [0, 0, 1], [1, 0, 1]]
        scores = multilabel_metrics(targets, [[0.9, 0.1, 0.5], [0.8, 0.2, 0.5], [0.7, 0.3, 0.5]], ABC)
        # a: positives ranked 1 and 3; b never occurs; c always does
        assert scores["per_class_average_precision"] == {"a": pytest.approx((1 + 2 / 3) / 2), "b": None, "c": 1.0}
        assert scores["per_class_auc"] == {"a": 0.5, "b": None, "c": None}
        assert scores["mean_average_precision"] == pytest.approx((5 / 6 + 1) / 2)
        assert scores["macro_auc"] == 0.5
        assert scores["d_prime"] == 0.0

    @given(hnp.arrays(np.int64, (12, 3), elements=st.integers(0, 1)))
    def test_truth_scores_one_and_only_ranks_count(self, targets: np.ndarray) -> None:
        scores = multilabel_metrics(targets, 0.2 + 0.6 * targets, ABC)
        assert scores["mean_average_precision"] in (None, 1.0)
        assert scores["macro_auc"] in (None, 1.0)
        assert scores["d_prime"] is None
        assert scores == multilabel_metrics(targets, (0.2 + 0.6 * targets) ** 2, ABC)

    @pytest.mark.parametrize(
        ("targets", "says"),
        [([[0, 1]], r"targets has shape \(1, 2\)"), ([[0, 1, 2]], "targets holds something other than 0 and 1")],
    )
    def test_bad_targets_are_named(self, targets: list[list[int]], says: str) -> None:
        with pytest.raises(ValueError, match=says):
            multilabel_metrics(targets, [[0.1, 0.2, 0.3]], ABC)


class TestDPrime:
    def test_it_is_the_distance_of_two_bells(self) -> None:
        generator = np.random.default_rng(0)
        negative, positive = generator.standard_normal((2, 4000))
        area = float(np.mean(positive[:, None] + 1.5 > negative))
        assert d_prime(area) == pytest.approx(1.5, abs=0.1)

    def test_guessing_is_no_distance_and_the_other_side_is_negative(self) -> None:
        assert d_prime(0.5) == 0
        assert d_prime(0.3) == pytest.approx(-d_prime(0.7))
        assert d_prime(1.0) == math.inf

    def test_a_number_that_is_no_area_is_refused(self) -> None:
        with pytest.raises(ValueError, match="area is 1.2; an area under a ROC curve lies from 0 to 1"):
            d_prime(1.2)


class TestTopK:
    def test_by_hand(self) -> None:
        scores = [[0.5, 0.3, 0.2], [0.1, 0.2, 0.7], [0.1, 0.6, 0.3]]
        assert [top_k_accuracy([1, 2, 0], scores, k) for k in (1, 2, 3)] == pytest.approx([1 / 3, 2 / 3, 1])

    def test_the_first_is_accuracy_without_ties(self) -> None:
        generator = np.random.default_rng(0)
        p, y = generator.dirichlet(np.ones(3), size=50), generator.integers(0, 3, 50)
        assert top_k_accuracy(y, p, 1) == pytest.approx(classification_metrics(y, p, ABC)["accuracy"])

    def test_a_constant_score_guesses(self) -> None:
        assert top_k_accuracy([0, 4, 9], np.zeros((3, 10)), 5) == pytest.approx(0.5)

    @pytest.mark.parametrize(
        ("k", "labels", "says"),
        [(0, [0], "k is 0; it must be from 1 to the 3 classes"), (1, [3], "row 0 of labels is 3")],
    )
    def test_bad_input_is_named(self, k: int, labels: list[int], says: str) -> None:
        with pytest.raises(ValueError, match=says):
            top_k_accuracy(labels, [[0.1, 0.2, 0.7]], k)


class TestMultiTask:
    verbs = np.array([[0.6, 0.3, 0.1], [0.1, 0.8, 0.1], [0.2, 0.3, 0.5], [0.5, 0.4, 0.1]])
    nouns = np.array([[0.9, 0.1], [0.9, 0.1], [0.2, 0.8], [0.4, 0.6]])
    labels = ((0, 0), (1, 1), (0, 1), (1, 1))

    def test_an_action_is_right_where_both_are(self) -> None:
        scores = multi_task_metrics(self.labels, [self.verbs, self.nouns], ["verb", "noun"], ks=(1, 2))
        assert scores == {
            "clips": 4,
            "verb_top_1": 0.5,
            "noun_top_1": 0.75,
            "action_top_1": 0.25,
            "verb_top_2": 0.75,
            "noun_top_2": 1.0,
            "action_top_2": 0.75,
        }

    def test_each_task_alone_is_its_accuracy(self) -> None:
        generator = np.random.default_rng(0)
        p = [generator.dirichlet(np.ones(n), size=60) for n in (7, 9)]
        y = np.stack([generator.integers(0, n, 60) for n in (7, 9)], axis=1)
        scores = multi_task_metrics(y, p, ["verb", "noun"])
        for k in (1, 5):
            assert scores[f"verb_top_{k}"] == top_k_accuracy(y[:, 0], p[0], k)
            both = scores[f"verb_top_{k}"], scores[f"noun_top_{k}"]
            assert max(0.0, sum(both) - 1) <= scores[f"action_top_{k}"] <= min(both)

    def test_more_guesses_than_classes_are_no_score(self) -> None:
        scores = multi_task_metrics(self.labels, [self.verbs, self.nouns], ["verb", "noun"], ks=(3,))
        assert scores == {"clips": 4, "verb_top_3": 1.0, "noun_top_3": None, "action_top_3": None}

    @pytest.mark.parametrize(
        ("labels", "probabilities", "says"),
        [
            ([[0], [1]], [verbs[:2], nouns[:2]], r"labels has shape \(2, 1\) and there are 2 probabilities"),
            ([[0, 0]], [verbs[:1]], "there are 1 probabilities; with the tasks verb, noun they must be"),
            ([[0, 2]], [verbs[:1], nouns[:1]], "row 0 of labels is 2; it must be a whole number from 0 to 1"),
        ],
    )
    def test_bad_input_is_named(self, labels: list, probabilities: list, says: str) -> None:
        with pytest.raises(ValueError, match=says):
            multi_task_metrics(labels, probabilities, ["verb", "noun"], ks=(1,))


class TestRegression:
    def test_by_hand(self) -> None:
        scores = regression_metrics([1.0, 2.0, 3.0], [1.0, 2.0, 5.0])
        assert scores == {
            "clips": 3,
            "spearman": pytest.approx(1.0),
            "pearson": pytest.approx(2 * math.sqrt(3 / 13)),
            "concordance": pytest.approx(2 / 3),
            "rmse": pytest.approx(math.sqrt(4 / 3)),
            "mean_absolute_error": pytest.approx(2 / 3),
        }

    @given(hnp.arrays(np.float64, 9, elements=st.floats(-100, 100), unique=True))
    def test_rank_correlation_ignores_a_rising_map(self, y: np.ndarray) -> None:
        assert regression_metrics(y, y**3 / 1e4 + y)["spearman"] == pytest.approx(1)
        assert regression_metrics(y, -y)["spearman"] == pytest.approx(-1)

    def test_a_constant_prediction_has_no_correlation(self) -> None:
        assert regression_metrics([1.0, 2.0], [3.0, 3.0])["spearman"] is None

    @pytest.mark.parametrize(
        ("targets", "predictions", "says"),
        [
            ([1.0], [1.0, 2.0], r"targets has shape \(1,\) and predictions \(2,\)"),
            ([1.0, math.inf], [1.0, 2.0], "row 1 of targets"),
            ([], [], "targets is empty"),
        ],
    )
    def test_bad_input_is_named(self, targets: list[float], predictions: list[float], says: str) -> None:
        with pytest.raises(ValueError, match=says):
            regression_metrics(targets, predictions)
