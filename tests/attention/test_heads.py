"""Laws of attention with several heads."""

import numpy as np
import pytest
import torch

from audioattn_lib.attention.pooling.heads import MultiHeadAttention
from audioattn_lib.attention.pooling.registry import build_attention
from audioattn_lib.attention.record.record import FrameClock
from audioattn_lib.core.errors import ConfigError

OPTIONS = [
    ("sparsemax", {}),
    ("triweight", {}),
    ("parabola", {"n_components": 2, "fused": False}),
    ("biweight", {"learn_alpha": True, "with_std": True, "encoder": "last_state"}),
]
EVERY = pytest.mark.parametrize(("name", "options"), OPTIONS, ids=str)
LENGTHS = torch.tensor([11, 1, 6])


def make(name, options, heads=3):
    torch.manual_seed(0)
    return build_attention(name, 6, heads=heads, hidden_size=4, **options).double().eval()


def values(*shape, seed=3):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@EVERY
def test_a_head_is_an_attention_over_its_features(name, options):
    attention, h = make(name, options), values(3, 11, 6)
    together, record = attention(h, LENGTHS, clock=FrameClock(0.1), record=True)
    apart = [
        head(h[..., 2 * i : 2 * i + 2], LENGTHS, clock=FrameClock(0.1), record=True)
        for i, head in enumerate(attention.heads)
    ]
    torch.testing.assert_close(together, torch.cat([context for context, _ in apart], dim=1))
    assert together.shape == (3, attention.out_features)
    for clip in range(3):
        saliency = np.mean([each.frame_attention(clip) for _, each in apart], axis=0)
        if name == "sparsemax":  # densities lose what is outside the clip, each its own share
            np.testing.assert_allclose(record.frame_attention(clip), saliency, atol=1e-6)
    if record.weights is not None:
        assert record.weights.shape == (3, 3, 11)
        np.testing.assert_array_equal(record.weights[:, 1], apart[1][1].weights[:, 0])
    if record.density is not None:
        modes = options.get("n_components", 1)
        assert record.density.location.shape == (3, 3 * modes)
        np.testing.assert_allclose(record.density.mode_weight.sum(1), 1)
        second = slice(modes, 2 * modes)
        np.testing.assert_array_equal(record.density.location[:, second], apart[1][1].density.location)
        np.testing.assert_array_equal(record.density.alpha[:, second], apart[1][1].density.alpha)
        reads = np.mean([each.read_weights for _, each in apart], axis=0)
        np.testing.assert_allclose(record.read_weights, reads)


@EVERY
def test_padding_batch_and_record_change_nothing(name, options):
    attention, h = make(name, options), values(3, 11, 6)
    together = attention(h, LENGTHS)[0]
    assert torch.equal(attention(h, LENGTHS, record=True)[0], together)
    spoiled = h.clone()
    for clip, length in enumerate(LENGTHS):
        spoiled[clip, length:] = float("nan")
        torch.testing.assert_close(attention(h[clip : clip + 1, :length])[0][0], together[clip])
    torch.testing.assert_close(attention(spoiled, LENGTHS)[0], together)
    torch.testing.assert_close(attention(h.flip(0), LENGTHS.flip(0))[0].flip(0), together)


@pytest.mark.parametrize("name", ["sparsemax", "triweight"])
def test_one_head_is_the_attention_itself(name):
    alone = make(name, {}, heads=1)
    assert not isinstance(alone, MultiHeadAttention)
    h = values(2, 9, 6)
    torch.testing.assert_close(MultiHeadAttention([alone])(h)[0], alone(h)[0])


def test_every_head_learns_its_own_alpha():
    attention, h = make("biweight", {"learn_alpha": True}), values(2, 9, 6).requires_grad_()
    attention(h)[0].square().sum().backward()
    slopes = [parameter.grad.item() for name, parameter in attention.named_parameters() if "alpha" in name]
    assert len(set(slopes)) == 3
    small = make("biweight", {"learn_alpha": True})
    assert torch.autograd.gradcheck(lambda h: small(h)[0], values(1, 4, 6).requires_grad_())


def test_what_cannot_be_is_named():
    with pytest.raises(ConfigError, match="heads is 4 for 6 features; it must be at least 1 and divide"):
        build_attention("softmax", 6, heads=4)
    with pytest.raises(ConfigError, match="heads is 2, which mean does not have"):
        build_attention("mean", 6, heads=2)
    with pytest.raises(ConfigError, match="heads is empty"):
        MultiHeadAttention([])
    with pytest.raises(ValueError, match="values have 7 features for 3 heads"):
        make("softmax", {})(values(1, 4, 7))
