"""Weights of the frames in the context of a density's network are those that the network uses."""

import numpy as np
import pytest
import torch

from audioattn_lib.attention.pooling.registry import build_attention
from audioattn_lib.experiments.urban_sound import what_is_read


@pytest.mark.parametrize("fused", [True, False])
def test_it_is_the_size_of_the_weights_that_make_the_context(fused):
    torch.manual_seed(0)
    attention = build_attention("parabola", 6, fused=fused).eval()
    values = torch.randn(2, 20, 6)
    context, record = attention(values, torch.tensor([20, 12]), record=True)
    np.testing.assert_allclose(
        np.einsum("bt,bth->bh", record.read_weights, values.numpy()), context.detach().numpy(), atol=1e-4
    )
    read = what_is_read(record.named(["a", "b"]))
    assert read.clips == ("a", "b")
    for clip, length in enumerate((20, 12)):
        size = np.abs(record.read_weights[clip, :length])
        np.testing.assert_allclose(read.frame_attention(clip), size / size.sum(), atol=1e-6)


def test_discrete_attention_is_read_as_it_is():
    _, record = build_attention("softmax", 6)(torch.randn(1, 5, 6), record=True)
    assert what_is_read(record) is record
