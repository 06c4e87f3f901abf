"""Laws of the attention modules."""

import copy

import numpy as np
import pytest
import torch

from audioattn_lib.attention.densities.beta_gaussian import BetaGaussian
from audioattn_lib.attention.maps.entmax import softmax
from audioattn_lib.attention.pooling.encoders import MIN_VARIANCE, frame_positions, weighted_moments
from audioattn_lib.attention.pooling.frames import ContinuousAttention
from audioattn_lib.attention.pooling.registry import MECHANISMS, build_attention
from audioattn_lib.attention.record.record import FrameClock
from audioattn_lib.core.errors import ConfigError

SMALL = {"hidden_size": 6}
CONTINUOUS = [name for name, variant in MECHANISMS.items() if variant.domain == "continuous"]


def modules():
    for name in (*MECHANISMS, "mean", "max"):
        yield name, {}
    for encoder in ("moments", "convolution", "last_state"):
        for fused in (True, False):
            yield "triweight", {"encoder": encoder, "fused": fused}
    for boundary in ("reflect", "renormalise"):
        yield "gaussian", {"boundary": boundary}
        yield "biweight", {"boundary": boundary}
    yield "sparsemax", {"scaled": True, "soft_steps": 2}
    yield "parabola", {"positions": "published"}
    yield "parabola", {"n_components": 3}
    yield "gaussian", {"n_components": 2, "boundary": "renormalise", "fused": False}
    yield "triweight", {"n_components": 2, "encoder": "convolution"}
    yield "biweight", {"n_components": 2, "encoder": "last_state", "learn_alpha": True}


EVERY = pytest.mark.parametrize(("name", "options"), list(modules()), ids=str)


def make(name, options, seed=0):
    torch.manual_seed(seed)
    options = options if name in ("mean", "max") else {**SMALL, **options}
    return build_attention(name, 5, **options).double().eval()


def values(*shape, seed=3):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@EVERY
def test_padding_batch_and_order_change_nothing(name, options):
    attention, lengths = make(name, options), torch.tensor([12, 1, 7, 2, 12])
    h = values(5, 12, 5)
    together, record = attention(h, lengths, record=True)
    assert together.shape == (5, 5)
    spoiled = h.clone()
    for clip, length in enumerate(lengths):
        spoiled[clip, length:] = float("nan")
    torch.testing.assert_close(attention(spoiled, lengths)[0], together)
    for clip, length in enumerate(lengths):
        alone, alone_record = attention(h[clip : clip + 1, :length], record=True)
        torch.testing.assert_close(alone[0], together[clip])
        np.testing.assert_allclose(alone_record.frame_attention(), record.frame_attention(clip), atol=1e-6)
    torch.testing.assert_close(attention(h.flip(0), lengths.flip(0))[0].flip(0), together)
    longer = torch.cat([h, values(5, 9, 5, seed=4)], dim=1)
    torch.testing.assert_close(attention(longer, lengths)[0], together)


@EVERY
def test_gradients_ignore_padding_and_reach_every_parameter(name, options):
    attention, lengths = make(name, options), torch.tensor([6, 9])
    h = values(2, 9, 5)
    h[0, 6:] = float("inf")
    h.requires_grad_()
    attention(h, lengths)[0].square().sum().backward()
    assert (h.grad[0, 6:] == 0).all()
    assert h.grad.isfinite().all()
    assert h.grad[0, :6].abs().sum() > 0
    for parameter, tensor in attention.named_parameters():
        assert tensor.grad is not None, parameter
        assert tensor.grad.isfinite().all(), parameter
        assert tensor.grad.abs().sum() > 0, parameter


@pytest.mark.parametrize("name", MECHANISMS)
def test_the_gradient_is_the_gradient(name):
    attention = make(name, {"hidden_size": 3})
    h = values(2, 6, 5).requires_grad_()
    assert torch.autograd.gradcheck(lambda h: attention(h, torch.tensor([6, 4]))[0], h)


@EVERY
def test_asking_for_a_record_changes_nothing(name, options):
    attention, h, lengths = make(name, options), values(3, 8, 5), torch.tensor([8, 3, 5])
    context, empty = attention(h, lengths)
    asked, record = attention(h, lengths, record=True)
    assert empty.is_empty
    assert torch.equal(context, asked)
    assert record.mechanism == name
    assert record.n_frames.tolist() == [8, 3, 5]


@pytest.mark.parametrize(("name", "options"), [case for case in modules() if case[0] != "max"], ids=str)
def test_the_record_tells_how_the_context_was_made(name, options):
    attention, h, lengths = make(name, options), values(3, 8, 5), torch.tensor([8, 3, 5])
    context, record = attention(h, lengths, record=True)
    weights = record.read_weights if record.read_weights is not None else record.weights[:, 0]
    assert weights.shape == (3, 8)
    for clip in range(3):
        assert (weights[clip, lengths[clip] :] == 0).all()
        read = weights[clip] @ h[clip].numpy()
        np.testing.assert_allclose(read, context[clip].detach().numpy(), atol=1e-5)
    if record.weights is not None:
        np.testing.assert_allclose(record.weights.sum(-1), 1, atol=1e-6)
    continuous = name in CONTINUOUS
    assert (record.density is not None) == continuous
    assert (record.weights is None) == (options.get("encoder", "moments") != "moments")


def test_the_density_is_in_seconds():
    attention, h, lengths = make("triweight", {}), values(2, 20, 5), torch.tensor([20, 10])
    _, frames = attention(h, lengths, record=True)
    clock = FrameClock(0.01, -0.005)
    _, seconds = attention(h, lengths, clock=clock, record=True)
    assert seconds.clock == clock
    np.testing.assert_allclose(seconds.density.location, -0.005 + 0.01 * frames.density.location)
    np.testing.assert_allclose(seconds.density.variance, 0.01**2 * frames.density.variance)
    np.testing.assert_allclose(seconds.density.alpha, 4 / 3)
    for clip in range(2):
        n = int(lengths[clip])
        p = seconds.weights[clip, 0, :n].astype(float)
        mean = p @ clock.centres(n)
        assert seconds.density.location[clip, 0] == pytest.approx(mean)
        assert seconds.density.variance[clip, 0] == pytest.approx(p @ (clock.centres(n) - mean) ** 2, rel=1e-5)


def test_moments():
    weights, positions = softmax(values(4, 30)), torch.linspace(0, 1, 30, dtype=torch.float64).expand(4, 30)
    mean, variance = weighted_moments(weights, positions)
    torch.testing.assert_close(variance, (weights * positions**2).sum(-1) - mean**2)
    lengths = torch.tensor([1, 4])
    assert frame_positions(lengths, 4)[1].tolist() == [0.125, 0.375, 0.625, 0.875]
    assert frame_positions(lengths, 4)[0, 0] == 0.5
    torch.testing.assert_close(frame_positions(lengths, 4, "published")[1], torch.linspace(0, 1, 4))
    assert frame_positions(lengths, 4, "published")[0, 0] == 0


def test_one_frame_makes_the_narrowest_density():
    _, record = make("parabola", {})(values(1, 1, 5), record=True)
    assert record.density.variance.item() == pytest.approx(MIN_VARIANCE)
    assert record.density.location.item() == pytest.approx(0.5)


def test_fused_adds_the_discrete_context():
    fused, h = make("biweight", {}), values(2, 9, 5)
    plain = make("biweight", {"fused": False})
    plain.load_state_dict(fused.state_dict())
    weights = torch.from_numpy(fused(h, record=True)[1].weights[:, 0]).double()
    torch.testing.assert_close(fused(h)[0], plain(h)[0] + torch.einsum("bt,bth->bh", weights, h), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("name", ["sparsemax", "triweight"])
def test_dropout_acts_in_training_only(name):
    attention, h = make(name, {"dropout": 0.5}), values(2, 30, 5)
    without = make(name, {})
    assert torch.equal(attention(h)[0], without(h)[0])
    assert not torch.equal(attention.train()(h)[0], without(h)[0])


def test_scaled_scores_are_divided_by_the_root_of_the_width():
    attention, h = make("softmax", {"scaled": True}), values(2, 7, 5)
    plain = make("softmax", {})
    expected = softmax(plain.scorer(h) / 5**0.5)
    torch.testing.assert_close(attention(h)[0], torch.einsum("bt,bth->bh", expected, h))


def test_a_sparse_map_may_begin_as_softmax_in_training():
    attention, h = make("sparsemax", {"soft_steps": 2}), values(2, 30, 5)
    with torch.no_grad():
        attention.scorer.vector.weight.mul_(20)  # far enough from equal weights for zeros
    soft = make("softmax", {})
    soft.scorer.load_state_dict(attention.scorer.state_dict())
    sparse = attention(h)[0]
    assert not torch.allclose(sparse, soft(h)[0], atol=1e-3)
    torch.testing.assert_close(attention.train()(h)[0], soft(h)[0])
    torch.testing.assert_close(attention.eval()(h)[0], sparse)  # which counts nothing
    resumed = make("sparsemax", {"soft_steps": 2})
    resumed.load_state_dict(attention.state_dict())
    for each in (attention.train(), resumed.train()):
        torch.testing.assert_close(each(h)[0], soft(h)[0])
        torch.testing.assert_close(each(h)[0], sparse)


def test_two_forwards_before_a_backward_and_shared_weights():
    attention = make("triweight", {})
    first, second = values(2, 9, 5).requires_grad_(), values(2, 7, 5, seed=8).requires_grad_()
    alone = [torch.autograd.grad(attention(h)[0].sum(), h)[0] for h in (first, second)]
    one_sum, other_sum = attention(first)[0].sum(), attention(second)[0].sum()
    torch.testing.assert_close(torch.autograd.grad(one_sum, first)[0], alone[0])
    torch.testing.assert_close(torch.autograd.grad(other_sum, second)[0], alone[1])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", [*MECHANISMS, "mean", "max"])
def test_half_precision(name, dtype):
    attention, h = make(name, {}), values(2, 50, 5)
    full = attention(h)[0]
    low = attention.to(dtype)(h.to(dtype), torch.tensor([50, 50]))[0]
    assert low.dtype == dtype
    torch.testing.assert_close(low.double(), full, atol=0.05, rtol=0.05)


@pytest.mark.parametrize("name", MECHANISMS)
def test_autocast(name):
    attention, h = make(name, {}).float(), values(2, 50, 5).float()
    full = attention(h)[0]
    with torch.autocast("cpu", torch.bfloat16):
        low = attention(h)[0]
    torch.testing.assert_close(low.float(), full, atol=0.05, rtol=0.05)


def test_a_copy_and_a_saved_state_give_the_same():
    attention, h = make("biweight", {}), values(2, 9, 5)
    context = attention(h)[0]
    assert torch.equal(copy.deepcopy(attention)(h)[0], context)
    other = make("biweight", {}, seed=7)
    other.load_state_dict(attention.state_dict())
    assert torch.equal(other(h)[0], context)


def test_the_published_modules_have_the_published_parameters():
    for name in MECHANISMS:
        parameters = dict(build_attention(name, 128).named_parameters())
        assert sum(p.numel() for p in parameters.values()) == 16_640
        assert all(p.abs().max() <= 128**-0.5 for p in parameters.values())
    assert list(ContinuousAttention(8, n_components=1).state_dict()) == [
        "encoder.scorer.hidden.weight",
        "encoder.scorer.hidden.bias",
        "encoder.scorer.vector.weight",
    ]


def test_max_pooling_records_the_share_of_features_with_their_maximum_in_a_frame():
    h = torch.tensor([[[1.0, 5.0, 0.0, 2.0], [3.0, 4.0, 0.0, 2.0], [9.0, 9.0, 9.0, 9.0]]])
    context, record = build_attention("max", 4)(h, torch.tensor([2]), record=True)
    assert context.tolist() == [[3.0, 5.0, 0.0, 2.0]]
    assert record.weights[0, 0, :2].tolist() == [0.75, 0.25]  # of equals the first


def test_clips_without_frames_are_named():
    attention, h = make("softmax", {}), values(3, 4, 5)
    for name in ("softmax", "triweight", "mean", "max"):
        attention = make(name, {})
        with pytest.raises(ValueError, match="clip 1 of the batch has 0 valid frames; it must have 1 to 4"):
            attention(h, torch.tensor([4, 0, 2]))
        with pytest.raises(ValueError, match="clip 2 of the batch has 5 valid frames"):
            attention(h, torch.tensor([4, 1, 5]))
        with pytest.raises(ValueError, match=r"lengths have shape \(2,\)"):
            attention(h, torch.tensor([4, 1]))
        with pytest.raises(ValueError, match=r"values have shape \(3, 4\)"):
            attention(h[..., 0])


def test_what_cannot_be_is_named():
    with pytest.raises(ConfigError, match="attention is 'hardmax'; it must be one of softmax, .*parabola, mean"):
        build_attention("hardmax", 5)
    with pytest.raises(ConfigError, match="unexpected keyword argument 'fused'"):
        build_attention("softmax", 5, fused=True)
    with pytest.raises(ConfigError, match="encoder is 'mean'; .* moments, convolution, last_state"):
        build_attention("gaussian", 5, encoder="mean")
    with pytest.raises(ConfigError, match="positions is 'left'"):
        build_attention("gaussian", 5, positions="left")
    with pytest.raises(ConfigError, match="only the moments encoder has"):
        build_attention("gaussian", 5, positions="published", encoder="convolution")
    with pytest.raises(ConfigError, match=r"dropout is 1\.0"):
        build_attention("softmax", 5, dropout=1.0)
    with pytest.raises(ConfigError, match="soft_steps is -1; it must be at least 0"):
        build_attention("sparsemax", 5, soft_steps=-1)
    with pytest.raises(ConfigError, match="hidden_size is 0"):
        build_attention("softmax", 5, hidden_size=0)
    with pytest.raises(ConfigError, match=r"alpha is 0\.5"):
        ContinuousAttention(5, 0.5)
    with pytest.raises(ConfigError, match=r"alpha is 2\.0 and learn_alpha is set; .* between 1 and 2"):
        ContinuousAttention(5, 2.0, learn_alpha=True)
    with pytest.raises(ConfigError, match="n_components is 0; it must be at least 1"):
        ContinuousAttention(5, n_components=0)
    assert BetaGaussian(torch.zeros(1), torch.ones(1)).alpha == 2
