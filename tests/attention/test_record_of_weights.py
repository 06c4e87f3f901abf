"""A record of weights that come from elsewhere."""

import numpy as np
import pytest
import torch

from audioattn_lib.attention.record.record import AttentionRecord, FrameClock

WEIGHTS = np.array([[0.1, 0.2, 0.7], [0.5, 0.5, 0.0]])


@pytest.mark.parametrize("kind", [np.array, torch.tensor, list, lambda w: torch.tensor(w, dtype=torch.bfloat16)])
def test_weights_of_every_kind_and_shape_are_the_same_record(kind):
    expected = AttentionRecord.from_weights(WEIGHTS, FrameClock(0.5), clips=("a", "b"))
    record = AttentionRecord.from_weights(kind(WEIGHTS), FrameClock(0.5), clips=("a", "b"))
    np.testing.assert_allclose(record.weights, expected.weights, atol=2e-3)
    assert record.span(1) == (0.0, 1.5)
    assert record.index("b") == 1
    single = AttentionRecord.from_weights(kind(WEIGHTS[0]))
    np.testing.assert_allclose(single.frame_attention(), WEIGHTS[0], atol=2e-3)


def test_padding_does_not_matter():
    weights = np.array([[[0.25, 0.75, np.nan]], [[0.5, 0.25, 0.25]]])
    record = AttentionRecord.from_weights(weights, n_frames=[2, 3], durations=[0.2, 0.3])
    np.testing.assert_array_equal(record.weights[0, 0], [0.25, 0.75, 0.0])
    np.testing.assert_allclose(record.frame_attention(0), [0.25, 0.75])
    assert record.sound(1) == (0.0, 0.3)


@pytest.mark.parametrize(
    ("weights", "options", "says"),
    [
        ([[0.5, 0.4]], {}, "clip 0: the weights of a row have the sum 0.9"),
        ([[0.5, 0.5], [1.5, -0.5]], {"clips": ("a", "b")}, "clip 'b': weights go from -0.5 to 1.5"),
        ([[np.nan, 1.0]], {}, "finite"),
        (np.ones((1, 1, 1, 1)), {}, r"weights have shape \(1, 1, 1, 1\)"),
        (np.ones((0, 3)), {}, r"weights have shape \(0, 3\)"),
        (["a"], {}, "give numbers"),
        ([[1.0]], {"n_frames": [2]}, "1 to 1 frames"),
        ([[1.0]], {"n_frames": [1, 1]}, "each of 1 clips"),
        ([[1.0]], {"clips": ("a", "b")}, "2 clip names for 1 clips"),
    ],
)
def test_what_does_not_fit_is_named(weights, options, says):
    with pytest.raises(ValueError, match=says):
        AttentionRecord.from_weights(weights, **options)
