"""Captured weights are those that the model used, and the model does not notice."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from audioattn_lib.core.errors import ConfigError
from audioattn_lib.inspection.capture import capture


def sound(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


class Encoder(nn.Module):
    """Heads around scaled_dot_product_attention, as most models have them."""

    def __init__(self, size=16, heads=4, groups=4, **options):
        super().__init__()
        self.heads, self.groups, self.options = heads, groups, options
        self.query, self.key = nn.Linear(size, size), nn.Linear(size, size * groups // heads)
        self.value = nn.Linear(size, size * groups // heads)

    def split(self, x, heads):
        return x.unflatten(-1, (heads, -1)).transpose(1, 2)

    def forward(self, x):
        q, k, v = (
            self.split(self.query(x), self.heads),
            *(self.split(f(x), self.groups) for f in (self.key, self.value)),
        )
        self.pairs = q, k, v
        mixed = F.scaled_dot_product_attention(q, k, v, enable_gqa=self.heads != self.groups, **self.options)
        return mixed.transpose(1, 2).flatten(2)


def values_of(weights, value):
    return weights @ value.repeat_interleave(weights.shape[1] // value.shape[1], 1)


MASK = sound(7, 7) > -0.5
MASK.fill_diagonal_(True)
PADDING = torch.arange(6) >= torch.tensor([[4], [6]])


@pytest.mark.parametrize(
    ("groups", "options"),
    [
        (4, {}),
        (2, {}),
        (4, {"is_causal": True}),
        (4, {"attn_mask": MASK}),
        (4, {"attn_mask": sound(7, 7)}),
        (4, {"attn_mask": sound(3, 1, 7, 7)}),
        (4, {"scale": 0.3}),
    ],
)
def test_weights_times_values_are_what_the_kernel_gives(groups, options):
    model = nn.Sequential(nn.Linear(5, 16), Encoder(groups=groups, **options)).double()
    x = sound(3, 7, 5).double()
    mask = options.get("attn_mask")
    if mask is not None and mask.is_floating_point():
        model[1].options = {"attn_mask": mask.double()}
    alone = model(x)
    with capture(model) as captured:
        assert torch.equal(model(x), alone)
    ((name, weights),) = captured.weights.items()
    assert name == "1"
    assert weights.shape == (3, 4, 7, 7)
    torch.testing.assert_close(values_of(weights, model[1].pairs[2]).transpose(1, 2).flatten(2), alone)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("options", [{}, {"bias": False}, {"norm_first": True}, {"batch_first": False}])
def test_an_encoder_of_pytorch_gives_the_same_bits(options, precision, training):
    """With its fast path, which hooks and modes would turn off."""
    options = {"batch_first": True} | options
    layer = nn.TransformerEncoderLayer(16, 4, 32, **options)
    encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False).to(precision).train(training)
    x = sound(3, 7, 16).to(precision)
    padding = torch.arange(7) >= torch.tensor([[7], [4], [6]])
    padding = padding if options["batch_first"] else None
    with torch.no_grad():
        torch.manual_seed(0)
        alone = encoder(x, src_key_padding_mask=padding)
        torch.manual_seed(0)
        with capture(encoder) as captured:
            watched = encoder(x, src_key_padding_mask=padding)
    assert torch.equal(watched, alone)
    assert list(captured.weights) == ["layers.0.self_attn", "layers.1.self_attn"]
    clips, length = (3, 7) if options["batch_first"] else (7, 3)
    for weights in captured.weights.values():
        assert weights.shape == (clips, 4, length, length)
        assert weights.dtype == precision
        torch.testing.assert_close(weights.float().sum(-1), torch.ones(clips, 4, length), atol=2e-2, rtol=0)
        if padding is not None:
            assert not weights.masked_select(padding[:, None, None, :].expand_as(weights)).any()


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors:UserWarning")
def test_an_encoder_of_nested_tensors_gives_the_same_bits():
    encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 4, 32, batch_first=True), 2).eval()
    x, padding = sound(3, 7, 16), torch.arange(7) >= torch.tensor([[5], [4], [2]])
    with torch.no_grad():
        alone = encoder(x, src_key_padding_mask=padding)
        with capture(encoder) as captured:
            assert torch.equal(encoder(x, src_key_padding_mask=padding), alone)
        slow = nn.TransformerEncoder(encoder.layers[0], 2, enable_nested_tensor=False).eval()
        slow.layers = encoder.layers
    with capture(slow) as expected, torch.enable_grad():
        slow(x, src_key_padding_mask=padding)
    for name, weights in captured.weights.items():
        for clip, length in enumerate((5, 4, 2)):
            mine, theirs = weights[clip, :, :length, :length], expected.weights[name][clip, :, :length, :length]
            torch.testing.assert_close(mine, theirs)


@pytest.mark.parametrize(
    ("options", "call"),
    [
        ({}, {}),
        ({"add_bias_kv": True}, {}),
        ({"add_zero_attn": True}, {}),
        (
            {"add_bias_kv": True, "add_zero_attn": True},
            {"key_padding_mask": PADDING},
        ),
        ({"kdim": 5, "vdim": 9}, {}),
        ({"bias": False}, {"attn_mask": MASK[:4, :6]}),
        ({}, {"attn_mask": sound(8, 4, 6)}),
        ({}, {"attn_mask": sound(4, 6), "key_padding_mask": PADDING}),
    ],
)
@pytest.mark.parametrize("called_as_a_function", [False, True])
def test_multi_head_attention_as_pytorch_gives_it(options, call, called_as_a_function):
    module = nn.MultiheadAttention(16, 4, batch_first=not called_as_a_function, **options).double().eval()
    call = {k: v.double() if v.is_floating_point() else v for k, v in call.items()}
    if "attn_mask" in call and "key_padding_mask" in call:
        call["key_padding_mask"] = torch.zeros(2, 6, dtype=torch.double).masked_fill(PADDING, -torch.inf)
    query, key = sound(2, 4, 16).double(), sound(2, 6, options.get("kdim", 16), seed=1).double()
    value = sound(2, 6, options.get("vdim", 16), seed=2).double()
    if called_as_a_function:
        query, key, value = query.transpose(0, 1), key.transpose(0, 1), value.transpose(0, 1)
        model = AsFunction(module)
    else:
        model = module
    _, expected = module(query, key, value, average_attn_weights=False, **call)
    alone = module(query, key, value, need_weights=False, **call)[0]
    with capture(model) as captured:
        assert torch.equal(model(query, key, value, need_weights=False, **call)[0], alone)
    torch.testing.assert_close(captured.weights[""], expected)


class AsFunction(nn.Module):
    """The function that is behind the module, called by another one."""

    def __init__(self, module):
        super().__init__()
        self.inner = [module]

    def forward(self, query, key, value, **call):
        m = self.inner[0]
        separate = not m._qkv_same_embed_dim
        ways = {f"{n}_proj_weight": getattr(m, f"{n}_proj_weight") for n in "qkv"} if separate else {}
        return F.multi_head_attention_forward(
            query, key, value, m.embed_dim, m.num_heads, m.in_proj_weight, m.in_proj_bias, m.bias_k, m.bias_v,
            m.add_zero_attn, 0.0, m.out_proj.weight, m.out_proj.bias, training=False,
            use_separate_proj_weight=separate, **ways, **call,
        )  # fmt: skip


def test_a_layer_of_ones_own_inside_an_encoder_of_pytorch_is_seen():
    class Own(nn.TransformerEncoderLayer):
        def forward(self, src, *_, **__):
            heads = src.unflatten(-1, (4, -1)).transpose(1, 2)
            return F.scaled_dot_product_attention(heads, heads, heads).transpose(1, 2).flatten(2)

    encoder = nn.TransformerEncoder(Own(16, 4, batch_first=True), 2, enable_nested_tensor=False).eval()
    with capture(encoder) as captured, torch.no_grad():
        encoder(sound(2, 5, 16))
    assert list(captured.weights) == ["layers.0", "layers.1"]


def test_weights_that_a_module_returns_are_taken():
    class EagerAttention(nn.Module):
        def forward(self, x):
            weights = torch.softmax(x @ x.mT, -1)[:, None]
            return weights[:, 0] @ x, weights

    model = nn.ModuleDict({"attention": EagerAttention()})
    with capture(model) as captured:
        _, weights = model["attention"](sound(2, 5, 4))
    assert torch.equal(captured.weights["attention"], weights)


def test_rows_and_means_are_those_of_the_whole(monkeypatch):
    model, x = Encoder(attn_mask=sound(9, 9)), sound(2, 9, 16)
    with capture(model) as whole:
        model(x)
    monkeypatch.setattr("audioattn_lib.inspection.capture._BLOCK", 600)  # several blocks of rows
    with capture(model) as blocks, capture(model, queries=[0, -1]) as rows, capture(model, received=True) as mean:
        model(x)
    expected = whole.weights[""]
    torch.testing.assert_close(blocks.weights[""], expected)
    torch.testing.assert_close(rows.weights[""], expected[:, :, [0, -1]])
    torch.testing.assert_close(mean.weights[""], expected.mean(2, keepdim=True))


def test_gradients_and_random_numbers_stay():
    model = nn.Sequential(Encoder(dropout_p=0.3), nn.Dropout(0.3), nn.Linear(16, 1))
    x = sound(2, 7, 16)
    results = []
    for watch in (False, True):
        torch.manual_seed(0)
        model.zero_grad()
        if watch:
            with capture(model) as captured:
                model(x).sum().backward()
            assert not captured.weights["0"].requires_grad
        else:
            model(x).sum().backward()
        results.append([p.grad.clone() for p in model.parameters()] + [torch.rand(3)])
    assert all(map(torch.equal, *results))


def test_calls_follow_each_other_and_ends_leave_nothing_behind():
    model = Encoder()
    with capture(model) as captured:
        model(sound(2, 7, 16))
        model(sound(1, 7, 16))
    assert captured.weights[""].shape == (3, 4, 7, 7)
    with capture(model) as captured:
        model(sound(2, 7, 16))
        model(sound(2, 5, 16))
    with pytest.raises(ValueError, match="different lengths"):
        _ = captured.weights
    assert [len(call[0, 0]) for call in captured.calls[""]] == [7, 5]
    model(sound(2, 7, 16))
    assert len(captured.calls[""]) == 2
    with pytest.raises(RuntimeError), capture(model):
        model(sound(2, 7, 15))
    assert torch.nn.modules.module._global_forward_pre_hooks == {}
    layer = nn.TransformerEncoderLayer(16, 4, batch_first=True).eval()
    with capture(layer) as captured, torch.no_grad(), pytest.raises(RuntimeError):
        layer(sound(2, 7, 15))
    assert torch._C._is_torch_function_enabled()


def test_what_is_outside_of_the_model_is_not_taken():
    inside, outside = Encoder(), Encoder()
    with capture(inside) as captured:
        outside(sound(2, 7, 16))
    with pytest.raises(ValueError, match="no attention was seen in Encoder"):
        _ = captured.weights


def test_models_that_cannot_be_seen_are_refused():
    def refused(model, says):
        with pytest.raises(ConfigError, match=says), capture(model):
            pass

    refused(sound(2), "must be a torch.nn.Module")
    refused(torch.compile(Encoder(), backend="eager"), "is compiled")
    compiled = Encoder()
    compiled.compile(backend="eager")
    refused(nn.Sequential(compiled), "0 .*Encoder.* is compiled")
    refused(nn.DataParallel(Encoder()), "replicates")
    refused(torch.ao.nn.quantizable.MultiheadAttention(16, 4), "is quantised")
    with pytest.raises(ConfigError, match="whole numbers"), capture(Encoder(), queries=[0.5]):
        pass
    with pytest.raises(ConfigError, match="a layer has 7 queries"), capture(model := Encoder(), queries=[7]):
        model(sound(2, 7, 16))
