"""Laws of multi-head and double multi-head attention pooling."""

import copy

import numpy as np
import pytest
import torch

from audioattn_lib.attention.maps.entmax import softmax
from audioattn_lib.attention.pooling import _head_products
from audioattn_lib.attention.pooling.frames import Padding
from audioattn_lib.attention.pooling.head_dropout import HeadDropout
from audioattn_lib.attention.pooling.multi_head import DoubleMultiHeadPooling, MultiHeadPooling
from audioattn_lib.attention.pooling.registry import MECHANISMS
from audioattn_lib.attention.record.record import FrameClock
from audioattn_lib.core.errors import ConfigError

D = 12
SMALL = {"n_basis": 8}


def poolings():
    for attention in MECHANISMS:
        yield MultiHeadPooling, {"heads": 3, "attention": attention}
        yield DoubleMultiHeadPooling, {"heads": 4, "attention": attention}
    yield MultiHeadPooling, {"heads": 1, "scale": "heads"}
    yield MultiHeadPooling, {"heads": D}
    yield MultiHeadPooling, {"heads": 2, "n_queries": 3}
    yield MultiHeadPooling, {"heads": 2, "n_queries": 2, "attention": "triweight"}
    yield DoubleMultiHeadPooling, {"heads": 1, "head_dropout": 0.0}
    yield DoubleMultiHeadPooling, {"heads": D, "scale": "heads"}


EVERY = pytest.mark.parametrize(("kind", "options"), list(poolings()), ids=str)


def make(kind, options, seed=0):
    torch.manual_seed(seed)
    return kind(D, **{**SMALL, **options}).double().eval()


def values(*shape, seed=3):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@EVERY
def test_padding_batch_and_order_change_nothing(kind, options):
    pooling, lengths = make(kind, options), torch.tensor([12, 1, 7, 2, 12])
    h = values(5, 12, D)
    together, record = pooling(h, lengths, record=True)
    assert together.shape == (5, pooling.out_features)
    spoiled = h.clone()
    for clip, length in enumerate(lengths):
        spoiled[clip, length:] = float("nan")
    torch.testing.assert_close(pooling(spoiled, lengths)[0], together)
    for clip, length in enumerate(lengths):
        alone, alone_record = pooling(h[clip : clip + 1, :length], record=True)
        torch.testing.assert_close(alone[0], together[clip])
        np.testing.assert_allclose(alone_record.frame_attention(), record.frame_attention(clip), atol=1e-6)
    torch.testing.assert_close(pooling(h.flip(0), lengths.flip(0))[0].flip(0), together)


@EVERY
def test_gradients_ignore_padding_and_reach_every_parameter(kind, options):
    pooling, lengths = make(kind, options), torch.tensor([6, 9])
    h = 0.3 * values(2, 9, D)  # scores so close that no head falls out of a sparse map
    h[0, 6:] = float("inf")
    h.requires_grad_()
    pooling(h, lengths)[0].square().sum().backward()
    assert (h.grad[0, 6:] == 0).all()
    assert h.grad.isfinite().all()
    for name, tensor in pooling.named_parameters():
        assert tensor.grad is not None, name
        assert tensor.grad.isfinite().all(), name
        # one head has nothing to be chosen from
        assert tensor.grad.abs().sum() > 0 or (name == "query" and options["heads"] == 1), name


@pytest.mark.parametrize("kind", [MultiHeadPooling, DoubleMultiHeadPooling])
@pytest.mark.parametrize("attention", ["softmax", "entmax15", "triweight"])
def test_the_gradient_is_the_gradient(kind, attention):
    pooling = make(kind, {"heads": 3, "attention": attention})
    h = 0.3 * values(2, 4, D)
    h.requires_grad_()
    parameters = [parameter.detach().requires_grad_() for parameter in pooling.parameters()]
    names = [name for name, _ in pooling.named_parameters()]

    def pool(h, *parameters):
        given = dict(zip(names, parameters, strict=True))
        return torch.func.functional_call(pooling, given, (h, torch.tensor([4, 3])))[0]

    assert torch.autograd.gradcheck(pool, (h, *parameters))


def test_the_gradient_has_a_gradient():
    pooling = make(DoubleMultiHeadPooling, {"heads": 3})
    assert torch.autograd.gradgradcheck(lambda h: pooling(h)[0], values(1, 3, D).requires_grad_())


def test_forward_mode_and_mixed_second_orders_are_the_same_derivatives():
    pooling = make(MultiHeadPooling, {"heads": 3, "n_queries": 2})
    h = values(2, 3, D)

    def pool(h):
        return pooling(h, torch.tensor([3, 2]))[0]

    torch.testing.assert_close(torch.func.jacfwd(pool)(h), torch.func.jacrev(pool)(h))
    tracked = h.clone().requires_grad_()
    assert torch.autograd.gradcheck(pool, tracked, check_forward_ad=True)
    assert torch.autograd.gradgradcheck(pool, tracked, check_fwd_over_rev=True)


def test_a_backward_pass_leaves_nothing_for_the_next():
    def weights_and_context(h):
        context, looked = pooling.read(h, Padding(h, None))
        return looked.weights, context

    pooling, h = make(MultiHeadPooling, {"heads": 3}), values(2, 5, D).requires_grad_()
    wanted = torch.autograd.grad(weights_and_context(h)[0].square().sum(), (h, pooling.queries))
    weights, context = weights_and_context(h)
    torch.autograd.grad(context.sum(), weights, retain_graph=True)
    torch.autograd.grad(context.square().sum(), (h, weights), retain_graph=True)
    gradient = torch.autograd.grad(weights.square().sum(), (h, pooling.queries), retain_graph=True)
    torch.testing.assert_close(gradient, wanted)
    of_context = torch.autograd.grad(context.sum(), h, retain_graph=True)[0]
    torch.testing.assert_close(torch.autograd.grad(context.sum(), h)[0], of_context)


def test_vmap_is_a_loop_over_pools_and_over_queries():
    pooling, h = make(DoubleMultiHeadPooling, {"heads": 3}), values(3, 2, 5, D).requires_grad_()
    together = torch.func.vmap(lambda h: pooling(h)[0])(h)
    apart = torch.stack([pooling(item)[0] for item in h])
    torch.testing.assert_close(together, apart)
    g = values(*apart.shape, seed=5)
    torch.testing.assert_close(*(torch.autograd.grad(measured, h, g)[0] for measured in (together, apart)))
    queries = values(4, 1, 3, 4).requires_grad_()

    def pool(queries):
        return torch.func.functional_call(pooling, {"frames.queries": queries}, (h[0].detach(),))[0].square().sum()

    each = torch.func.vmap(torch.func.grad(pool))(queries)
    torch.testing.assert_close(each, torch.autograd.grad(sum(pool(item) for item in queries), queries)[0])


def test_frames_that_others_read_too_get_both_gradients():
    pooling, h = make(DoubleMultiHeadPooling, {"heads": 3}), values(2, 5, D).requires_grad_()
    (alone,) = torch.autograd.grad(pooling(h)[0].sum(), h)
    (both,) = torch.autograd.grad(pooling(h)[0].sum() + 2 * h.sum() + pooling(h)[0].sum(), h)
    torch.testing.assert_close(both, 2 * alone + 2)


def test_one_einsum_a_step_is_the_formula():
    pooling, h = make(DoubleMultiHeadPooling, {"heads": 3}), values(2, 5, D)
    contexts = []
    for j in range(3):
        excerpt = h[..., 4 * j : 4 * j + 4]
        weights = softmax(excerpt @ pooling.frames.queries[0, j] / 4**0.5)
        contexts.append((weights[..., None] * excerpt).sum(1))
    b = softmax(torch.stack([c @ pooling.query[:, 0] / 4**0.5 for c in contexts], dim=1))
    torch.testing.assert_close(pooling(h)[0], sum(b[:, j, None] * contexts[j] for j in range(3)))
    by_heads = make(DoubleMultiHeadPooling, {"heads": 3, "scale": "heads"})
    assert by_heads.frames.scale == pytest.approx(3**-0.5)


def test_many_frames_read_head_by_head_give_what_they_give_at_once(monkeypatch):
    def gradients(dtype=torch.float32):
        torch.manual_seed(0)
        pooling = DoubleMultiHeadPooling(64, 4, head_dropout=0.0).to(dtype)
        h = values(40, 500, 64).to(dtype).requires_grad_()
        assert _head_products._one_by_one(h.unflatten(2, (4, -1))) == is_large
        context = pooling(h, torch.arange(461, 501))[0]
        context.sum().backward()
        return [context.detach(), h.grad, *(p.grad for p in pooling.parameters())]

    is_large = True
    apart, exact = gradients(), gradients(torch.float64)
    is_large = False
    monkeypatch.setattr(_head_products, "_LARGE", 1 << 30)
    for ours, theirs, wanted in zip(apart, gradients(), exact, strict=True):
        torch.testing.assert_close(ours.double(), wanted, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("attention", ["softmax", "entmax15", "sparsemax"])
def test_queries_that_start_at_zero_start_as_the_mean(attention):
    h, lengths = values(3, 7, D), torch.tensor([7, 3, 5])
    mean = torch.stack([clip[:length].mean(0) for clip, length in zip(h, lengths, strict=True)])
    options = {"attention": attention, "initial_queries": "zero"}
    heads = make(MultiHeadPooling, {"heads": 3, "n_queries": 2, **options})(h, lengths)[0]
    torch.testing.assert_close(heads, mean.repeat(1, 2))
    double, record = make(DoubleMultiHeadPooling, {"heads": 3, **options})(h, lengths, record=True)
    torch.testing.assert_close(double, mean.unflatten(1, (3, -1)).mean(1))
    np.testing.assert_allclose(record.head_weights, 1 / 3)
    pooling = make(DoubleMultiHeadPooling, {"heads": 3, **options})
    pooling(h, lengths)[0].square().sum().backward()
    assert all(query.grad.abs().sum() > 0 for query in (pooling.query, pooling.frames.queries)), "it learns from there"


def test_head_scores_are_divided_as_frame_scores_or_as_published_by_nothing():
    h = values(2, 5, D)
    for scale, divisor in (("dim", 2.0), ("heads", 1.0)):
        pooling = make(DoubleMultiHeadPooling, {"heads": 3, "scale": scale})
        contexts = pooling.frames(h)[0].unflatten(1, (3, -1))
        weights = softmax((contexts @ pooling.query).squeeze(2) / divisor)
        np.testing.assert_allclose(pooling(h, record=True)[1].head_weights, weights.detach(), atol=1e-6)


def test_one_head_is_self_attention():
    pooling, h = make(MultiHeadPooling, {"heads": 1, "scale": "heads"}), values(2, 5, D)
    weights = softmax(h @ pooling.queries[0, 0])
    torch.testing.assert_close(pooling(h)[0], torch.einsum("bt,bth->bh", weights, h))


@EVERY
def test_the_record_tells_what_was_attended_to(kind, options):
    pooling, lengths = make(kind, options), torch.tensor([8, 3])
    h, clock = values(2, 8, D), FrameClock(0.16, -0.005)
    context, empty = pooling(h, lengths)
    asked, record = pooling(h, lengths, clock=clock, record=True)
    assert empty.is_empty
    assert torch.equal(context, asked)
    heads = options["heads"] * options.get("n_queries", 1)
    assert record.weights.shape == (2, heads, 8)
    np.testing.assert_allclose(record.weights.sum(-1), 1, atol=1e-6)
    assert (record.weights[1, :, 3:] == 0).all()
    assert (record.head_weights is not None) == (kind is DoubleMultiHeadPooling)
    if record.head_weights is not None:
        np.testing.assert_allclose(record.head_weights.sum(-1), 1, atol=1e-6)
    continuous = MECHANISMS[options.get("attention", "softmax")].domain == "continuous"
    assert (record.density is not None) == continuous
    if continuous:
        assert record.density.location.shape == (2, heads)
        start, stop = record.span(1)
        assert ((record.density.location[1] >= start) & (record.density.location[1] <= stop)).all()


@pytest.mark.parametrize(("heads", "probability"), [(32, 0.3), (4, 0.5), (4, 0.7), (2, 0.4), (2, 0.01)])
def test_head_dropout_has_the_asked_probability_and_leaves_a_head(heads, probability):
    dropout = HeadDropout(heads, probability)
    torch.manual_seed(0)
    kept = dropout(20_000)
    assert kept.any(dim=1).all()
    share = 1 - kept.double().mean(0)
    assert (share - probability).abs().max() < 5 * (probability * (1 - probability) / 20_000) ** 0.5
    assert dropout.eval()(5) is None


def test_head_dropout_acts_in_training_only():
    pooling, h = make(DoubleMultiHeadPooling, {"heads": 4, "head_dropout": 0.5}), values(64, 9, D)
    still = pooling(h)[0]
    _, record = pooling.train()(h, record=True)
    assert (record.head_weights == 0).any()
    np.testing.assert_allclose(record.head_weights.sum(-1), 1, atol=1e-6)
    assert torch.equal(pooling.eval()(h)[0], still)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("attention", ["softmax", "sparsemax", "triweight"])
def test_half_precision_and_autocast(attention, dtype):
    pooling, h = make(DoubleMultiHeadPooling, {"heads": 3, "attention": attention}).float(), values(2, 30, D).float()
    full = pooling(h)[0]
    with torch.autocast("cpu", torch.bfloat16):
        under = pooling(h.to(dtype))[0]
    low = pooling(h.to(dtype), torch.tensor([30, 30]))[0]
    assert low.dtype == under.dtype == dtype
    for half in (low, under):
        torch.testing.assert_close(half.float(), full, atol=0.05, rtol=0.05)


def test_a_copy_and_a_saved_state_give_the_same():
    pooling, h = make(DoubleMultiHeadPooling, {"heads": 3}), values(2, 9, D)
    context = pooling(h)[0]
    assert torch.equal(copy.deepcopy(pooling)(h)[0], context)
    other = make(DoubleMultiHeadPooling, {"heads": 3}, seed=7)
    other.load_state_dict(pooling.state_dict())
    assert torch.equal(other(h)[0], context)
    assert set(pooling.state_dict()) == {"query", "frames.queries"}


def test_the_published_size_has_the_published_parameters():
    pooling = DoubleMultiHeadPooling(5120, 32)
    assert sum(p.numel() for p in pooling.parameters()) == 5120 + 160
    assert pooling.out_features == 160


def test_what_cannot_be_is_named():
    with pytest.raises(ConfigError, match="heads is 5; it must divide the 12 features"):
        MultiHeadPooling(D, 5)
    with pytest.raises(ConfigError, match="n_queries is 0; it must be at least 1"):
        MultiHeadPooling(D, 2, n_queries=0)
    with pytest.raises(ConfigError, match="attention is 'hardmax'; it must be one of softmax"):
        MultiHeadPooling(D, 2, attention="hardmax")
    with pytest.raises(ConfigError, match="scale is 'features'; it must be one of dim, heads"):
        MultiHeadPooling(D, 2, scale="features")
    with pytest.raises(ConfigError, match="initial_queries is 'one'; it must be one of xavier, zero"):
        MultiHeadPooling(D, 2, initial_queries="one")
    with pytest.raises(ConfigError, match=r"head_dropout is 0\.5; with 2 heads it must be in \[0, 0\.5\)"):
        DoubleMultiHeadPooling(D, 2, head_dropout=0.5)
    with pytest.raises(ConfigError, match=r"head_dropout is 0\.3; with 1 head it must be 0"):
        DoubleMultiHeadPooling(D, 1)
    with pytest.raises(ValueError, match="clip 1 of the batch has 0 valid frames"):
        MultiHeadPooling(D, 2)(values(2, 4, D).float(), torch.tensor([4, 0]))


@pytest.mark.cuda
def test_a_device_gives_the_same():
    pooling, h = make(DoubleMultiHeadPooling, {"heads": 4}), values(3, 9, D)
    lengths = torch.tensor([9, 4, 1])
    there = copy.deepcopy(pooling).cuda()(h.cuda(), lengths)[0]
    torch.testing.assert_close(there.cpu(), pooling(h, lengths)[0])
