"""Laws of the linear baseline."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from audioattn_lib.evaluation.baseline import linear_baseline, summary_features


class TestSummary:
    @given(st.lists(st.integers(1, 9), min_size=1, max_size=4), st.integers(0, 2**31))
    def test_is_numpy_on_the_valid_frames(self, lengths: list[int], seed: int) -> None:
        x = torch.randn(len(lengths), 9, 5, generator=torch.Generator().manual_seed(seed)) * 10 - 40
        result = summary_features(x, torch.tensor(lengths))
        for row, clip, n in zip(result.numpy(), x.numpy(), lengths, strict=True):
            valid = clip[:n]
            expected = np.concatenate([valid.mean(0), valid.std(0)])
            np.testing.assert_allclose(row, expected, rtol=1e-5, atol=1e-5)

    def test_padding_changes_nothing_whatever_it_holds(self) -> None:
        x = torch.randn(3, 7, 4, generator=torch.Generator().manual_seed(0))
        lengths = torch.tensor([7, 1, 4])
        expected = summary_features(x, lengths)
        for fill in (0.0, 1e6, -1e6, math.nan, math.inf):
            padded = torch.full((3, 12, 4), fill)
            for i, n in enumerate(lengths):
                padded[i, :n] = x[i, :n]
            torch.testing.assert_close(summary_features(padded, lengths), expected)

    def test_order_of_frames_changes_nothing(self) -> None:
        x = torch.randn(2, 30, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        torch.testing.assert_close(summary_features(x.flip(1)), summary_features(x))

    def test_mean_normalised_features_have_no_mean_to_give(self) -> None:
        x = torch.randn(2, 30, 4, generator=torch.Generator().manual_seed(0))
        result = summary_features(x - x.mean(dim=1, keepdim=True))
        assert not result[:, :4].any()  # nor rounding, which a standardisation would make a feature of

    def test_half_precision_is_summed_in_float32(self) -> None:
        x = torch.full((1, 5000, 2), 3.0, dtype=torch.bfloat16)
        assert summary_features(x).dtype == torch.float32
        assert summary_features(x)[0].tolist() == [3, 3, 0, 0]

    @pytest.mark.cuda
    def test_cuda_agrees(self) -> None:
        x, lengths = torch.randn(4, 50, 8), torch.tensor([50, 3, 20, 1])
        result = summary_features(x.cuda(), lengths.cuda())
        torch.testing.assert_close(result.cpu(), summary_features(x, lengths))

    @pytest.mark.parametrize(
        ("shape", "lengths", "says"),
        [
            ((3, 4), None, r"features has shape \(3, 4\)"),
            ((2, 5, 4), [1], r"lengths has shape \(1,\)"),
            ((2, 5, 4), [0, 5], "lengths runs from 0 to 5; allowed is 1 to 5"),
            ((2, 5, 4), [1, 6], "allowed is 1 to 5"),
        ],
    )
    def test_bad_input_is_named(self, shape: tuple[int, ...], lengths: list[int] | None, says: str) -> None:
        with pytest.raises(ValueError, match=says):
            summary_features(torch.zeros(shape), None if lengths is None else torch.tensor(lengths))


def blobs(n: int, seed: int, n_classes: int = 3) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    y = generator.integers(0, n_classes, n)
    return np.eye(n_classes)[y] * 3 + generator.standard_normal((n, n_classes)), y


class TestClassification:
    def test_learns_what_is_linear(self) -> None:
        (x, y), (xv, yv), (xt, yt) = (blobs(150, seed) for seed in range(3))
        baseline = linear_baseline(x, y, xv, yv, xt)
        np.testing.assert_allclose(baseline.probabilities.sum(axis=1), 1)
        assert (baseline.predictions == baseline.probabilities.argmax(axis=1)).all()
        assert np.mean(baseline.predictions == yt) > 0.85

    def test_scale_and_offset_of_features_change_nothing(self) -> None:
        (x, y), (xv, yv), (xt, _) = (blobs(60, seed) for seed in range(3))
        first = linear_baseline(x, y, xv, yv, xt)
        scale, offset = np.array([1.0, 1e3, 1e-3]), np.array([-40.0, 7.0, 0.0])
        second = linear_baseline(*(v * scale + offset if v.ndim == 2 else v for v in (x, y, xv, yv, xt)))
        np.testing.assert_allclose(second.probabilities, first.probabilities, atol=1e-3)

    def test_the_test_clips_have_no_say(self) -> None:
        (x, y), (xv, yv), (xt, _) = (blobs(60, seed) for seed in range(3))
        alone = linear_baseline(x, y, xv, yv, xt[:1])
        among = linear_baseline(x, y, xv, yv, np.concatenate([xt[:1], 100 * xt]))
        np.testing.assert_allclose(among.probabilities[:1], alone.probabilities)
        assert among.inverse_penalty == alone.inverse_penalty
        assert among.validation == alone.validation

    def test_the_validation_clips_choose(self) -> None:
        (x, y), (xv, yv), (xt, _) = (blobs(60, seed) for seed in range(3))
        baseline = linear_baseline(x, y, xv, yv, xt, strengths=(10.0, 1e-3, 0.1))
        assert list(baseline.validation) == [1e-3, 0.1, 10.0]
        top = max(baseline.validation.values())
        assert baseline.inverse_penalty == min(s for s, score in baseline.validation.items() if score == top)

    def test_classes_without_training_clips_get_probability_zero(self) -> None:
        x, y = blobs(60, 0)
        baseline = linear_baseline(x, 2 * y, x, 2 * y, x, n_classes=6)
        assert baseline.probabilities.shape == (60, 6)
        assert (baseline.probabilities[:, [1, 3, 5]] == 0).all()
        assert np.mean(baseline.predictions == 2 * y) > 0.85

    def test_a_column_that_never_varies_is_harmless(self) -> None:
        x, y = blobs(60, 0)
        x[:, 1] = 5.0
        assert np.isfinite(linear_baseline(x, y, x, y, x).probabilities).all()

    def test_tensors_are_taken(self) -> None:
        x, y = blobs(30, 0)
        tensors = (torch.from_numpy(v) for v in (x, y, x, y, x))
        baseline = linear_baseline(*tensors)
        np.testing.assert_array_equal(baseline.predictions, linear_baseline(x, y, x, y, x).predictions)


class TestMultilabel:
    def test_learns_and_keeps_constant_labels(self) -> None:
        generator = np.random.default_rng(0)
        x = generator.standard_normal((200, 4))
        y = np.stack([x[:, 0] > 0, x[:, 1] > 0.5, np.zeros(200), np.ones(200)], axis=1)
        baseline = linear_baseline(x, y, x, y, x)
        assert baseline.probabilities.shape == (200, 4)
        assert np.mean(baseline.predictions[:, :2] == y[:, :2]) > 0.9
        assert (baseline.probabilities[:, 2] == 0).all()
        assert (baseline.probabilities[:, 3] == 1).all()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"train_x": [[math.nan, 0.0]]}, "row 0 of train_x holds a value that is not finite"),
        ({"valid_x": [[1.0]]}, "valid_x has 1 columns and train_x 2"),
        ({"train_y": [0]}, r"train_y has shape \(1,\); for classification of 2 clips it must be \(2,\)"),
        ({"train_y": [1, 1]}, "train_y holds one class only"),
        ({"train_y": [0, -1]}, "train_y holds something other than whole numbers"),
        ({"n_classes": 1}, "n_classes is 1 but class 1 occurs"),
        ({"task": "ranking"}, "task is 'ranking'"),
        ({"task": "multilabel"}, r"it must be \(2, labels\)"),
        ({"task": "multilabel", "train_y": [[0], [2]], "valid_y": [[0]]}, "train_y holds something other than 0 and 1"),
        ({"strengths": ()}, "strengths is"),
        ({"strengths": (0.0,)}, "each above 0"),
        ({"test_x": []}, "test_x is empty"),
    ],
)
def test_bad_input_is_named(changes: dict[str, object], says: str) -> None:
    given_ = {"train_x": [[0.0, 1.0], [1.0, 0.0]], "train_y": [0, 1], "valid_x": [[0.0, 1.0]], "valid_y": [0]}
    with pytest.raises(ValueError, match=says):
        linear_baseline(**(given_ | {"test_x": [[0.0, 0.0]]} | changes))  # type: ignore[arg-type]
