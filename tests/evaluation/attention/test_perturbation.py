"""Laws of the evaluation of attention: what the model uses."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from audioattn_lib.attention.record.record import AttentionRecord
from audioattn_lib.evaluation.attention.faithfulness import PerturbationCurve, deletion_curve, evaluate, insertion_curve
from audioattn_lib.evaluation.attention.perturbation import delete_frames

QUARTERS = (0.0, 0.25, 0.5, 0.75, 1.0)


def discrete(*weights: list[float]) -> AttentionRecord:
    padded = np.zeros((len(weights), 1, max(map(len, weights))))
    for i, row in enumerate(weights):
        padded[i, 0, : len(row)] = np.array(row) / np.sum(row)
    return AttentionRecord("some", n_frames=np.array([len(w) for w in weights]), weights=padded)


def hears_frame_zero(features: Tensor, lengths: Tensor) -> Tensor:
    """A model that is sure of class 1 while frame 0 holds a 3."""
    present = (features[:, 0, 0] / 3).clamp(0, 1)
    return torch.stack([1 - present, present], dim=1)


def one_clip() -> tuple[Tensor, Tensor]:
    return torch.tensor([3.0, -1, -1, -1]).reshape(1, 4, 1), torch.tensor([4])


def some_clips(seed: int = 0) -> tuple[Tensor, Tensor, AttentionRecord]:
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.tensor([6, 9, 1, 4, 9])
    features = torch.randn(5, 9, 3, generator=generator)
    rows = [torch.rand(int(n), generator=generator).tolist() for n in lengths]
    return features, lengths, discrete(*rows)


def linear_model(features: Tensor, lengths: Tensor) -> Tensor:
    """Depends on every valid frame and its place."""
    frames = features.shape[1]
    valid = torch.arange(frames, device=features.device) < lengths[:, None]
    weight = torch.linspace(-1, 2, frames, device=features.device)
    return ((features * weight[:, None]).sum(dim=1) * 1.0 + valid.sum(dim=1, keepdim=True)).softmax(dim=1)


class TestDeletedFrames:
    def test_by_hand(self) -> None:
        deleted = delete_frames(*one_clip(), discrete([4, 1, 3, 2]), 0.5)
        assert deleted[0, :, 0].tolist() == [0, -1, 0, -1]  # the mean of the clip is 0

    @pytest.mark.parametrize("number", range(5))
    def test_are_those_of_the_deletion_curve(self, number: int) -> None:
        features, lengths, record = some_clips()
        curve = deletion_curve(
            linear_model, features, lengths, record, fractions=QUARTERS, targets=torch.ones(5, dtype=torch.int64)
        )
        left = delete_frames(features, lengths, record, QUARTERS[number])
        np.testing.assert_allclose(linear_model(left, lengths)[:, 1], curve.attention[:, number], atol=1e-6)

    def test_a_share_outside_of_a_clip_is_refused(self) -> None:
        with pytest.raises(ValueError, match=r"fraction is 1.5; it must be from 0 to 1"):
            delete_frames(*one_clip(), discrete([4, 1, 3, 2]), 1.5)


class TestByHand:
    def test_the_frame_that_counts_comes_first(self) -> None:
        record = discrete([4, 3, 2, 1])
        deleted = deletion_curve(hears_frame_zero, *one_clip(), record, fractions=QUARTERS)
        inserted = insertion_curve(hears_frame_zero, *one_clip(), record, fractions=QUARTERS)
        assert deleted.attention.tolist() == [[1, 0, 0, 0, 0]]
        assert inserted.attention.tolist() == [[0, 1, 1, 1, 1]]
        assert deleted.area()[0] == pytest.approx(1 / 8)
        assert inserted.area()[0] == pytest.approx(7 / 8)

    def test_the_frame_that_counts_comes_last(self) -> None:
        record = discrete([1, 2, 3, 4])
        assert deletion_curve(hears_frame_zero, *one_clip(), record, fractions=QUARTERS).attention.tolist() == [
            [1, 1, 1, 1, 0]
        ]

    def test_random_orders_come_to_the_diagonal(self) -> None:
        features, _ = one_clip()
        features, lengths = features.expand(4000, 4, 1), torch.full((4000,), 4)
        result = deletion_curve(
            hears_frame_zero, features, lengths, discrete(*[[4.0, 3, 2, 1]] * 4000), fractions=QUARTERS
        )
        np.testing.assert_allclose(result.uniform.mean(axis=0), [1, 0.75, 0.5, 0.25, 0], atol=0.03)
        np.testing.assert_allclose(result.random.mean(axis=0), [1, 0.75, 0.5, 0.25, 0], atol=0.03)

    def test_frames_outside_the_support_fall_in_random_order(self) -> None:
        features, _ = one_clip()
        features, lengths = features.expand(3000, 4, 1), torch.full((3000,), 4)
        result = deletion_curve(
            hears_frame_zero, features, lengths, discrete(*[[0.0, 0, 0, 1]] * 3000), fractions=QUARTERS
        )
        np.testing.assert_allclose(result.attention.mean(axis=0), [1, 1, 2 / 3, 1 / 3, 0], atol=0.03)

    def test_deleted_frames_become_the_mean_frame(self) -> None:
        seen = []

        def watch(features: Tensor, lengths: Tensor) -> Tensor:
            seen.append(features)
            return torch.full((len(features), 2), 0.5)

        features = torch.tensor([1.0, 2.0, 6.0, 99.0]).reshape(1, 4, 1)
        deletion_curve(
            watch, features, torch.tensor([3]), discrete([3, 2, 1]), targets=torch.tensor([0]), fractions=(0, 1)
        )
        assert seen[0][:, :, 0].tolist() == [[1, 2, 6, 99], [3, 3, 3, 99]]


@pytest.mark.parametrize("curve", [deletion_curve, insertion_curve])
class TestLaws:
    def test_nothing_deleted_or_all_inserted_is_the_clip(self, curve) -> None:
        features, lengths, record = some_clips()
        whole = linear_model(features, lengths).max(dim=1).values
        result = curve(linear_model, features, lengths, record)
        for order in (result.attention, result.uniform, result.random):
            np.testing.assert_allclose(order[:, 0 if curve is deletion_curve else -1], whole, rtol=1e-6)
        emptied = result.attention[:, -1 if curve is deletion_curve else 0]
        np.testing.assert_allclose(result.random[:, -1 if curve is deletion_curve else 0], emptied)

    @pytest.mark.parametrize("batch_size", [1, 34, 70, 10_000])
    def test_batch_size_changes_nothing(self, curve, batch_size: int) -> None:
        features, lengths, record = some_clips()
        first = curve(linear_model, features, lengths, record, batch_size=batch_size)
        second = curve(linear_model, features, lengths, record)
        for order in ("attention", "uniform", "random"):
            np.testing.assert_allclose(getattr(first, order), getattr(second, order), rtol=1e-6)

    def test_longer_padding_changes_nothing_for_the_attention(self, curve) -> None:
        features, lengths, record = some_clips()

        def mean_model(x: Tensor, n: Tensor) -> Tensor:
            valid = (torch.arange(x.shape[1]) < n[:, None])[..., None]
            return ((x**3).where(valid, 0).sum(dim=1) / n[:, None]).softmax(dim=1)

        longer = torch.cat([features, torch.full((5, 4, 3), 1e3)], dim=1)
        first = curve(mean_model, features, lengths, record)
        second = curve(mean_model, longer, lengths, record)
        np.testing.assert_allclose(second.attention, first.attention, rtol=1e-5)

    def test_seeds_decide(self, curve) -> None:
        features, lengths, record = some_clips()
        first, again, other = (curve(linear_model, features, lengths, record, seed=s) for s in ((0, 1), (0, 1), 2))
        np.testing.assert_array_equal(first.random, again.random)
        np.testing.assert_array_equal(first.uniform, again.uniform)
        assert not np.array_equal(first.uniform, other.uniform)
        np.testing.assert_array_equal(first.attention, other.attention)  # no ties: nothing is left to chance

    def test_the_class_watched_can_be_chosen(self, curve) -> None:
        features, lengths, record = some_clips()
        watched = [curve(linear_model, features, lengths, record, targets=torch.full((5,), c)) for c in range(3)]
        np.testing.assert_allclose(sum(w.attention for w in watched), 1, rtol=1e-6)

    def test_attention_of_a_pooled_model_is_spread_over_the_frames(self, curve) -> None:
        features, lengths = torch.randn(1, 8, 3, generator=torch.Generator().manual_seed(0)), torch.tensor([8])
        pooled = curve(linear_model, features, lengths, discrete([1, 4, 3, 2]), fractions=QUARTERS)
        full = curve(linear_model, features, lengths, discrete([1, 1, 4, 4, 3, 3, 2, 2]), fractions=QUARTERS)
        np.testing.assert_allclose(pooled.attention, full.attention, rtol=1e-6)

    def test_the_model_learns_nothing(self, curve) -> None:
        features, lengths, record = some_clips()
        scale = torch.nn.Parameter(torch.ones(()))
        curve(lambda x, n: linear_model(x * scale, n), features.requires_grad_(), lengths, record)
        assert scale.grad is None
        assert features.grad is None

    @pytest.mark.cuda
    def test_cuda_agrees(self, curve) -> None:
        features, lengths, record = some_clips()
        first = curve(linear_model, features, lengths, record)
        second = curve(linear_model, features.cuda(), lengths.cuda(), record)
        np.testing.assert_allclose(second.attention, first.attention, rtol=1e-4)
        np.testing.assert_allclose(second.random, first.random, rtol=1e-4)

    @pytest.mark.parametrize(
        ("changes", "says"),
        [
            ({"features": torch.zeros(1, 4)}, r"features has shape \(1, 4\)"),
            ({"lengths": torch.tensor([5])}, "lengths runs from 5 to 5; allowed is 1 to 4"),
            ({"lengths": torch.tensor([4, 4])}, r"lengths has shape \(2,\)"),
            ({"record": discrete([1], [1])}, "record describes 2 clips, features 1"),
            ({"targets": torch.tensor([1, 1])}, r"targets has shape \(2,\)"),
            ({"fractions": (0.5,)}, "fractions is"),
            ({"fractions": (0.5, 0.5)}, "rising"),
            ({"fractions": (0.0, 1.5)}, "from 0 to 1"),
            ({"batch_size": 0}, "batch_size is 0"),
            ({"predict": lambda x, n: torch.full((len(x), 2), -1.0)}, "must return probabilities"),
            ({"predict": lambda x, n: torch.full((len(x), 2), math.nan)}, "must return probabilities"),
            ({"predict": lambda x, n: torch.zeros(len(x))}, r"predict gave shape"),
        ],
    )
    def test_bad_input_is_named(self, curve, changes: dict[str, object], says: str) -> None:
        features, lengths = one_clip()
        given = {
            "predict": hears_frame_zero,
            "features": features,
            "lengths": lengths,
            "record": discrete([4, 3, 2, 1]),
        }
        with pytest.raises(ValueError, match=says):
            curve(**(given | changes))


class TestCurve:
    def test_joined_batches_are_one_curve(self) -> None:
        features, lengths, record = some_clips()
        whole = deletion_curve(linear_model, features, lengths, record)
        parts = [deletion_curve(linear_model, features[s], lengths[s], record[s]) for s in (slice(0, 2), slice(2, 5))]
        joined = PerturbationCurve.concatenate(parts)
        np.testing.assert_allclose(joined.attention, whole.attention, rtol=1e-6)
        assert joined.random.shape == whole.random.shape

    def test_only_like_curves_are_joined(self) -> None:
        features, lengths, record = some_clips()
        deleted = deletion_curve(linear_model, features, lengths, record)
        inserted = insertion_curve(linear_model, features, lengths, record)
        with pytest.raises(ValueError, match="cannot be joined"):
            PerturbationCurve.concatenate([deleted, inserted])
        with pytest.raises(ValueError, match="curves is empty"):
            PerturbationCurve.concatenate([])

    def test_unknown_order_is_named(self) -> None:
        with pytest.raises(ValueError, match="order is 'best'"):
            deletion_curve(hears_frame_zero, *one_clip(), discrete([1, 1, 1, 1])).area("best")

    def test_evaluation_of_a_faithful_attention(self) -> None:
        features, _ = one_clip()
        features, lengths = features.expand(30, 4, 1), torch.full((30,), 4)
        record = discrete(*[[4.0, 3, 2, 1]] * 30)
        curves = [c(hears_frame_zero, features, lengths, record) for c in (deletion_curve, insertion_curve)]
        table = evaluate(record, [[]] * 30, curves=curves)
        assert (table.loc[["deletion_area", "insertion_area"], "gain_low"] > 0.1).all()
        assert (table.loc[["deletion_area", "insertion_area"], "random_p"] < 0.01).all()
        assert table.loc["deletion_area", "value"] < table.loc["deletion_area", "random_low"]
        assert table.loc["insertion_area", "value"] > table.loc["insertion_area", "random_high"]
        assert table.loc["deletion_area", "clips"] == 30

    def test_a_curve_of_other_clips_is_refused(self) -> None:
        curve = deletion_curve(hears_frame_zero, *one_clip(), discrete([4, 3, 2, 1]))
        with pytest.raises(ValueError, match="deletion curve has 1 clips, the record 2"):
            evaluate(discrete([1], [1]), [[], []], curves=[curve])
