"""Attention of a model in seconds and hertz: clocks of tokens and reductions."""

import numpy as np
import pytest
import torch
from torch import nn

from audioattn_lib.core.errors import ConfigError
from audioattn_lib.inspection.capture import capture
from audioattn_lib.inspection.reductions import attention_flow, attention_record, find_sinks, rollout
from audioattn_lib.inspection.tokens import PatchTokens, TimeTokens


def reduced(**options):
    return attention_record({"a": attention(1, 1, 5, 5)}, **({"tokens": TimeTokens(1.0)} | options))


def attention(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).softmax(-1)


@pytest.mark.parametrize(
    ("kernels", "strides", "paddings"),
    [
        ((10, 3, 3, 3, 3, 2, 2), (5, 2, 2, 2, 2, 2, 2), (0,) * 7),  # wav2vec 2.0
        ((3, 3), (1, 2), (1, 1)),  # Whisper, over frames
        ((16,), (10,), (0,)),
    ],
)
def test_tokens_of_convolutions_are_where_an_impulse_moves_them(kernels, strides, paddings):
    layers = [nn.Conv1d(1, 1, k, s, p) for k, s, p in zip(kernels, strides, paddings, strict=True)]
    for layer in layers:
        nn.init.ones_(layer.weight)
        nn.init.zeros_(layer.bias)
    network = nn.Sequential(*layers)
    rate = 1000
    tokens = TimeTokens.of_convolutions(kernels, strides, rate, paddings)
    for sample in (700, 1001, 1234):
        x = torch.zeros(1, 1, 3000)
        x[..., sample] = 1
        with torch.no_grad():
            moved = network(x)[0, 0].nonzero().flatten().tolist()
        instant = (sample + 0.5) / rate
        said = [i for i in range(1600) if tokens.covers(i)[0] < instant < tokens.covers(i)[1]]
        assert moved == said


def test_a_token_without_convolutions_covers_its_period():
    tokens = TimeTokens(0.02, first=1)
    assert tokens.covers(1) == pytest.approx((0, 0.02))
    assert np.isnan(tokens.covers(0)).all()
    assert tokens.clock.centres(2) == pytest.approx([0.01, 0.03])


def test_special_tokens_are_left_out():
    weights = {"a": attention(2, 3, 8, 8), "b": attention(2, 3, 8, 8, seed=1)}
    record = attention_record(weights, TimeTokens(0.5, first=2, last=1), clips=("x", "y"), durations=(2.5, 2.5))
    kept = weights["b"].mean(2)[..., 2:7]
    np.testing.assert_allclose(record.weights, kept / kept.sum(-1, keepdim=True), rtol=1e-6)
    assert record.clips == ("x", "y")
    assert record.span() == (0.0, 2.5)
    row = attention_record(weights, TimeTokens(0.5), reduction="query", query=-1, layers=["a", "b"])
    np.testing.assert_allclose(row.weights, (weights["a"] + weights["b"])[:, :, -1] / 2, rtol=1e-6)


@pytest.mark.parametrize("time_first", [True, False])
def test_patches_are_a_grid(time_first):
    grid = torch.arange(6.0).reshape(2, 3)  # (bands, frames)
    flat = grid.flatten() if time_first else grid.T.flatten()
    weights = {"a": torch.cat([torch.tensor([9.0]), flat]).expand(1, 1, 7, 7)}
    tokens = PatchTokens(2, 3, 0.16, frequencies=[200.0, 900.0], time_first=time_first, first=1)
    record = attention_record(weights, tokens)
    np.testing.assert_allclose(record.maps[0, 0, 0], grid / 15)
    np.testing.assert_allclose(record.frame_attention(), grid.sum(0) / 15)
    with pytest.raises(ValueError, match="are not 2 x 3 patches"):
        attention_record({"a": attention(1, 1, 6, 6)}, tokens)


def test_a_roll_out_is_the_product_of_mixed_layers():
    layers = [attention(2, 3, 5, 5), attention(2, 3, 5, 5, seed=1)]
    first, second = (0.5 * layer.mean(1) + 0.5 * torch.eye(5) for layer in layers)
    torch.testing.assert_close(rollout(layers), second @ first)
    still = torch.eye(5).expand(1, 1, 5, 5)
    torch.testing.assert_close(rollout([still] * 3), still[:, 0])
    with pytest.raises(ValueError, match="as many queries as keys"):
        rollout([attention(1, 1, 5, 7)])


def test_sinks_are_named():
    plain, sunk = attention(2, 3, 20, 20), torch.full((2, 3, 20, 20), 0.5 / 19)
    sunk[..., 0] = 0.5
    assert find_sinks({"a": plain, "b": sunk}) == {"b": [(0, pytest.approx(0.5))]}
    assert find_sinks({"a": torch.full((1, 1, 3, 3), 1 / 3)}) == {}


def test_a_sink_of_many_tokens_takes_many_equal_shares_in_every_clip():
    """Of 600 tokens none takes a quarter; an event is elsewhere in every clip, and the end of a sound too."""
    clips, n, ends = 4, 600, [100, 250, 320, 500]
    weights = torch.ones(clips, 2, 8, n)
    for clip, end in enumerate(ends):
        weights[clip, ..., 40 + 90 * clip] = 60
        weights[clip, ..., end + 1] = 30
    weights[..., 7] = 15
    weights /= weights.sum(-1, keepdim=True)
    assert list(dict(find_sinks({"a": weights})["a"])) == [7]
    assert list(dict(find_sinks({"a": weights}, ends=ends)["a"])) == [1]
    assert list(dict(find_sinks({"a": weights[:1]})["a"])) == [7, 40, 101], "one clip alone cannot tell"
    assert find_sinks({"a": weights}, times=20) == {}
    with pytest.raises(ConfigError, match="for each of 4 clips a token from 0 to 600"):
        find_sinks({"a": weights}, ends=[601, 0, 0, 0])


@pytest.mark.parametrize("patches", [False, True])
def test_layers_are_kept_apart(patches):
    layers = {"one": attention(2, 3, 12, 12), "two": attention(2, 3, 12, 12, seed=1)}
    tokens = PatchTokens(3, 4, 0.1) if patches else TimeTokens(0.1)
    record = attention_record(layers, tokens, by_layer=True)
    assert record.layers == ("one", "two")
    for name in layers:
        alone, layer = attention_record(layers, tokens, layers=name), record.layer(name)
        held = (layer.maps, alone.maps) if patches else (layer.weights, alone.weights)
        np.testing.assert_array_equal(*held)
    with pytest.raises(ConfigError, match="which joins the layers"):
        attention_record(layers, tokens, reduction="rollout", by_layer=True)


def test_flow_is_limited_by_the_narrowest_edge():
    """By hand: of token 1, one way through token 1 and one through token 0."""
    first = torch.tensor([[1.0, 0.0], [0.4, 0.6]])[None, None]
    last = torch.tensor([[1.0, 0.0], [0.5, 0.5]])[None, None]
    # edges of (A + I) / 2: last 1 -> 0: .25, 1 -> 1: .75; first 0 -> 0: 1, 1 -> 0: .2, 1 -> 1: .8
    flow = attention_flow([first, last], query=1)
    torch.testing.assert_close(flow, torch.tensor([[0.45, 0.75]]).double(), atol=1e-5, rtol=0)
    single = attention(1, 2, 5, 5)
    torch.testing.assert_close(attention_flow([single], 3).float(), rollout([single])[:, 3], atol=1e-5, rtol=0)
    assert torch.allclose(attention_flow([single], None).float(), rollout([single]).mean(1), atol=1e-5)


class Head(nn.Module):
    """A class score of self-attention in two layers, whose weights can be given."""

    def __init__(self, kind):
        super().__init__()
        torch.manual_seed(0)
        self.kind = kind
        self.layers = nn.ModuleList(
            nn.MultiheadAttention(8, 2, batch_first=True) if kind == "module" else OwnAttention() for _ in range(2)
        )
        self.double()

    def forward(self, x):
        for layer in self.layers:
            x = x + (layer(x, x, x, need_weights=False)[0] if self.kind == "module" else layer(x, self.kind))
        return x[:, 0].square().sum()


class OwnAttention(nn.Module):
    def __init__(self):
        super().__init__()
        self.projections, self.out_proj = nn.Linear(8, 24), nn.Linear(8, 8)
        self.given = None

    def forward(self, x, kind):
        q, k, v = (each.unflatten(-1, (2, 4)).transpose(1, 2) for each in self.projections(x).chunk(3, -1))
        if kind == "product":
            heads = nn.functional.scaled_dot_product_attention(q, k, v)
        else:
            weights = torch.softmax(q @ k.mT / 2, -1)
            weights = weights if self.given is None else self.given
            heads = weights @ v
        return self.out_proj(heads.transpose(1, 2).flatten(2))


@pytest.mark.parametrize("kind", ["product", "softmax", "module"])
def test_gradients_of_weights_are_those_of_autograd(kind):
    """With respect to weights that are leaves of the graph, in a model of the same parameters."""
    model, x = Head(kind), attention(2, 5, 8).double()
    alone = model(x)
    with capture(model, gradients=True) as captured:
        score = model(x)
    assert torch.equal(score, alone)
    score.backward()
    same = Head("softmax")
    if kind == "module":
        for mine, other in zip(same.layers, model.layers, strict=True):
            mine.projections.weight, mine.projections.bias = other.in_proj_weight, other.in_proj_bias
            mine.out_proj = other.out_proj
    for layer, weights in zip(same.layers, captured.weights.values(), strict=True):
        layer.given = weights.clone().requires_grad_()
    same(x).backward()
    # the first layer's weights act through the second one's, which are constants here
    last = captured.gradients["layers.1"]
    torch.testing.assert_close(last, same.layers[1].given.grad)
    assert captured.gradients["layers.0"].shape == (2, 2, 5, 5)
    expected = (captured.weights["layers.1"] * last).clamp_min(0).mean(1)[:, 0].float()
    record = captured.record(TimeTokens(1.0), reduction="gradient")
    np.testing.assert_allclose(record.weights[:, 0], expected / expected.sum(-1, keepdim=True), rtol=1e-4)
    relevant = captured.record(TimeTokens(1.0), reduction="relevance")
    first, second = (
        (w * g).clamp_min(0).mean(1)
        for w, g in zip(captured.weights.values(), captured.gradients.values(), strict=True)
    )
    rows = (second + first + second @ first)[:, 0]
    np.testing.assert_allclose(relevant.weights[:, 0], rows / rows.sum(-1, keepdim=True), rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("kind", ["product", "module"])
def test_norms_of_values_are_those_behind_the_output_projection(kind):
    model, x = Head(kind), attention(2, 5, 8).double()
    with capture(model, values=True) as captured, torch.no_grad():
        model(x)
    layer = model.layers[0]
    weight, bias = (
        (layer.in_proj_weight, layer.in_proj_bias)
        if kind == "module"
        else (layer.projections.weight, layer.projections.bias)
    )
    values = (x @ weight[16:].T + bias[16:]).unflatten(-1, (2, 4)).transpose(1, 2)
    into = layer.out_proj.weight.T.unflatten(0, (2, 4))
    expected = (values @ into).norm(dim=-1).float().detach()
    torch.testing.assert_close(captured.value_norms["layers.0"], expected)
    record = captured.record(TimeTokens(1.0), reduction="value_norm", layers="layers.0")
    weighted = captured.weights["layers.0"].float().mean(2) * expected
    np.testing.assert_allclose(record.weights, weighted / weighted.sum(-1, keepdim=True), rtol=1e-5)


def test_what_was_not_kept_is_named():
    model, x = Head("softmax"), attention(1, 5, 8).double()
    with capture(model, gradients=True, values=True) as captured:
        model(x)
    with pytest.raises(ValueError, match=r"'layers.0' has no gradients: call backward"):
        _ = captured.gradients
    with pytest.raises(ValueError, match="products of its own"):
        captured.record(TimeTokens(1.0), reduction="value_norm")
    with capture(model) as captured:
        model(x)
    with pytest.raises(ValueError, match="capture with gradients=True"):
        captured.record(TimeTokens(1.0), reduction="relevance")


def test_the_attended_token_is_where_the_sound_is():
    """An impulse that a network attends to is found at its time, from capture to record."""
    torch.manual_seed(0)
    convolution = nn.Conv1d(1, 16, 8, 4)
    nn.init.ones_(convolution.weight)
    layer = nn.MultiheadAttention(16, 2, batch_first=True)
    with torch.no_grad():
        layer.in_proj_weight[:32] = 5 * torch.eye(16).repeat(2, 1)
    model = nn.ModuleList([convolution, layer])
    x = torch.zeros(1, 1, 400)
    x[..., 250] = 3
    with capture(model) as captured, torch.no_grad():
        frames = convolution(x).mT
        layer(frames, frames, frames)
    record = captured.record(TimeTokens.of_convolutions([8], [4], 100))
    peak = record.frame_times()[record.frame_attention().argmax()]
    assert abs(peak - 2.505) <= 0.04


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: TimeTokens(0.0), "period is 0.0"),
        (lambda: TimeTokens(1.0, first=-1), "special tokens"),
        (lambda: TimeTokens.of_convolutions([3], [1, 2], 100), "one each a layer"),
        (lambda: PatchTokens(0, 3, 1.0), "at least 1"),
        (lambda: PatchTokens(2, 3, 1.0, frequencies=[1.0]), "2 bands"),
        (
            lambda: reduced(reduction="mean"),
            "reduction is 'mean'",
        ),
        (lambda: reduced(layers="b"), "no layer 'b'"),
        (
            lambda: reduced(reduction="query", query=5),
            "query is 5",
        ),
        (lambda: reduced(tokens=TimeTokens(1.0, first=5)), "no token of the sound"),
        (lambda: find_sinks({}, share=0.0), "share is 0"),
    ],
)
def test_what_does_not_fit_is_named(make, says):
    with pytest.raises((ConfigError, ValueError), match=says):
        make()
