"""The published decoder and slots: names, shapes and computation of the released code, and the laws of a playback."""

import math

import pytest
import torch
from torch.nn import functional as F

from audioattn_lib.audio.features.multi_resolution import MultiResolutionLogMel
from audioattn_lib.core.errors import ConfigError
from audioattn_lib.models.playback.layers import PlaybackDecoder, SmallEncoder
from audioattn_lib.models.playback.network import Playback
from audioattn_lib.models.playback.published import PublishedDecoder, PublishedSlots
from audioattn_lib.models.weights import load_weights

SMALL = {"n_latents": 5, "width": 8, "heads": 2, "head_width": 3, "self_layers": 1}
LENGTHS = torch.tensor([24_000, 9_000, 640, 17_001])


def published_names(features, classes, stages, *, latents, width, heads, head_width, self_layers, fusion, points):
    """Names and shapes of the released code, without its encoder and the norm that nothing of ours needs."""
    context, inner = features + 26, heads * head_width
    shapes = {"decoder.latents": (latents, width)}

    def layer(name, **parts):
        for layer, shape in parts.items():
            shapes[f"{name}.{layer.replace('__', '.')}.weight"] = shape
            if layer not in ("fn__to_q", "fn__to_kv"):
                shapes[f"{name}.{layer.replace('__', '.')}.bias"] = shape[:1]

    def attention(name, source, inner):
        parts = {"fn__to_q": (inner, width), "fn__to_kv": (2 * inner, source), "fn__to_out__0": (width, inner)}
        layer(name, **parts, norm=(width,))

    def feed_forward(name):
        layer(name, fn__net__0=(8 * width, width), fn__net__3=(width, 4 * width), norm=(width,))

    for i in range(stages):
        attention(f"decoder.layers.{i}.0", context, head_width)
        layer(f"decoder.layers.{i}.0", norm_context=(context,))
        feed_forward(f"decoder.layers.{i}.1")
        for j in range(self_layers):
            attention(f"decoder.layers.{i}.2.{j}.0", width, inner)
            feed_forward(f"decoder.layers.{i}.2.{j}.1")
        slots = f"saliency_slots.{i}"
        layer(slots, **{"0__embedding": (features, 2)})
        shapes |= {f"{slots}.3.{name}": (1, 1, points) for name in ("slots_mu", "slots_sigma")}
        layer(f"{slots}.3", **dict.fromkeys(("to_q", "to_k", "to_v", "fc1", "fc2"), (points, points)))
        layer(f"{slots}.3", **dict.fromkeys(("norm_input", "norm_slots", "norm_pre_ff"), (points,)))
        for gate in ("ih", "hh"):
            shapes[f"{slots}.3.gru.weight_{gate}"] = (3 * points, points)
            shapes[f"{slots}.3.gru.bias_{gate}"] = (3 * points,)
    layer("decoder.reduce", **{"2": (width,)})
    if fusion == "adaptive":
        shapes["decoder.fusion.2.weight"] = (width, width, stages)
    else:
        layer("decoder.fusion", **{"1": (2 * width, stages * width), "4": (width, width)})
    if isinstance(classes, int):
        layer("decoder", fc=(classes, width))
    else:
        layer("decoder.fc", **{str(task): (n, width) for task, n in enumerate(classes)})
    return shapes


def model(stages=3, classes=3, encoder=None, fusion="adaptive", seed=0, **options):
    torch.manual_seed(seed)
    encoder = SmallEncoder(16, 4, 12) if encoder is None else encoder
    decoder = PublishedDecoder(encoder.out_features, classes, stages, fusion=fusion, **{**SMALL, **options})
    front = MultiResolutionLogMel(stages, n_mels=16)
    return Playback(front, encoder, decoder, selection="published", published_slots=True, segment_seconds=0.4)


@pytest.mark.parametrize("classes", [3, (2, 4)])
@pytest.mark.parametrize("fusion", ["adaptive", "adaptive_concat"])
def test_weights_of_the_released_names_and_shapes_load(classes, fusion):
    net = model(classes=classes, fusion=fusion)
    shapes = published_names(
        12, classes, 3, latents=5, width=8, heads=2, head_width=3, self_layers=1, fusion=fusion, points=400
    )
    weights = {name: torch.randn(shape) for name, shape in shapes.items()}
    report = load_weights(net, {**weights, "norm.weight": torch.ones(12), "norm.bias": torch.zeros(12)})
    assert report.unknown == ("norm.weight", "norm.bias")
    assert not report.mismatches
    assert all(name.startswith("encoder.") for name in report.missing if "front" not in name)
    state = net.state_dict()
    assert all(torch.equal(state[name], weight) for name, weight in weights.items())
    decoder = {name.removeprefix("decoder."): w for name, w in weights.items() if name.startswith("decoder.")}
    assert load_weights(PublishedDecoder(12, classes, 3, fusion=fusion, **SMALL), decoder, strict=True).is_complete


@pytest.mark.parametrize(("playbacks", "millions"), [(1, 32.7), (3, 65.1)])
def test_the_published_sizes(playbacks, millions):
    with torch.device("meta"):
        decoder = PublishedDecoder(768, 400, playbacks + 1)  # the classes that its defaults name
        slots = PublishedSlots(768)
    assert sum(p.numel() for p in decoder.parameters()) / 1e6 == pytest.approx(millions, abs=0.05)
    assert sum(p.numel() for p in slots.parameters()) / 1e6 == pytest.approx(1.77, abs=0.005)


def reference_decoder(decoder, maps, as_released):
    """The formulas, step by step."""
    batch, frames, bands, _ = maps[0].shape
    weights = dict(decoder.named_parameters())

    def linear(x, name):
        return F.linear(x, weights[f"{name}.weight"], weights.get(f"{name}.bias"))

    def norm(x, name):
        return F.layer_norm(x, x.shape[-1:], weights[f"{name}.weight"], weights[f"{name}.bias"])

    def attend(x, source, name, heads):
        q, (k, v) = linear(x, f"{name}.to_q"), linear(source, f"{name}.to_kv").chunk(2, dim=-1)
        parts = []
        for query, key, value in zip(q.chunk(heads, -1), k.chunk(heads, -1), v.chunk(heads, -1), strict=True):
            parts.append((query @ key.mT / math.sqrt(query.shape[-1])).softmax(-1) @ value)
        return linear(torch.cat(parts, -1), f"{name}.to_out.0")

    def feed(x, name):
        values, gates = linear(norm(x, f"{name}.norm"), f"{name}.fn.net.0").chunk(2, -1)
        return x + linear(values * F.gelu(gates), f"{name}.fn.net.3")

    rows = []
    for n in range(frames * bands):
        first, second = (n % frames, n // frames) if as_released else (n // bands, n % bands)
        row = []
        for p in (-1 + 2 * first / (frames - 1), -1 + 2 * second / (bands - 1)):
            f = [1 + 4 * k / 5 for k in range(6)]
            row += [math.sin(math.pi * p * k) for k in f] + [math.cos(math.pi * p * k) for k in f] + [p]
        rows.append(row)
    positions = torch.tensor(rows, dtype=torch.float64).expand(batch, -1, -1)
    x, heard = decoder.latents.expand(batch, -1, -1), []
    for i, tokens in enumerate(maps):
        context = torch.cat([tokens.flatten(1, 2), positions], -1)
        name = f"layers.{i}.0"
        x = x + attend(norm(x, f"{name}.norm"), norm(context, f"{name}.norm_context"), f"{name}.fn", 1)
        x = feed(x, f"layers.{i}.1")
        y = norm(x, f"layers.{i}.2.0.0.norm")
        x = x + attend(y, y, f"layers.{i}.2.0.0.fn", 2)
        x = feed(x, f"layers.{i}.2.0.1")
        heard.append(norm(x.mean(1), "reduce.2"))
    stages = torch.stack([linear(y, "fc") for y in heard])
    if decoder.fusion_name == "mean":
        fused = torch.stack(heard).mean(0)
    elif decoder.fusion_name == "adaptive":
        kernel = weights["fusion.2.weight"]
        if decoder.fusion_level == "predictions":
            return sum(kernel[:, 0, i] * stages[i] for i in range(len(maps))), stages
        fused = F.relu(sum(heard[i] @ kernel[..., i].T for i in range(len(maps))))
    else:
        values, gates = linear(torch.cat(heard, -1), "fusion.1").chunk(2, -1)
        fused = linear(values * F.gelu(gates), "fusion.4")
    return linear(fused, "fc"), stages


@pytest.mark.parametrize("as_released", [False, True])
@pytest.mark.parametrize(
    ("fusion", "location"),
    [("adaptive", "features"), ("adaptive", "predictions"), ("adaptive_concat", "features"), ("mean", "features")],
)
def test_the_decoder_is_the_formula(fusion, location, as_released):
    torch.manual_seed(0)
    decoder = PublishedDecoder(6, 4, 2, fusion=fusion, fusion_level=location, **SMALL).double().eval()
    maps = [torch.randn(2, 5, 3, 6, dtype=torch.float64) for _ in range(2)]
    for measured, wanted in zip(
        decoder(maps, as_released=as_released), reference_decoder(decoder, maps, as_released), strict=True
    ):
        torch.testing.assert_close(measured, wanted)


def test_slots_are_the_formula():
    torch.manual_seed(0)
    slots = PublishedSlots(6, points=40).double().eval()
    frames = torch.randn(3, 7, 6, dtype=torch.float64)
    for clip in frames[:, None]:
        course = F.interpolate(clip.mT, size=40, mode="linear")  # (1, C, P)
        time = torch.linspace(0, 1, 40, dtype=torch.float64)
        inner, soft = slots.get_submodule("3"), slots.get_submodule("0").embedding
        x = inner.norm_input(course + (soft.weight @ torch.stack([time, 1 - time]) + soft.bias[:, None]))
        s = inner.slots_mu[0] + inner.slots_sigma[0] * slots.noise
        for _ in range(3):
            shares = (inner.to_q(inner.norm_slots(s)) @ inner.to_k(x)[0].T / 40**0.5).softmax(0) + 1e-8
            s = inner.gru(shares / shares.sum(1, keepdim=True) @ inner.to_v(x)[0], s)
            s = s + inner.fc2(F.relu(inner.fc1(inner.norm_pre_ff(s))))
        first, second = s + s.amin(1, keepdim=True).abs()
        d = (second - 1).abs() - first
        d = (d - d.min()) / (d.max() - d.min())
        wanted = F.interpolate(d[None, None], size=7, mode="linear")[0]
        torch.testing.assert_close(slots(clip), wanted)


@pytest.mark.parametrize("training", [False, True])
def test_padding_company_and_order_change_nothing(training):
    generator = torch.Generator().manual_seed(3)
    sound = torch.randn(4, 24_000, generator=generator, dtype=torch.float64)
    net = model().double().train(training)
    net.saliency_slots.eval()  # chance is drawn clip by clip otherwise
    net.decoder.eval()
    heard = net(sound, LENGTHS)
    assert heard.logits.isfinite().all()
    for clip, length in enumerate(LENGTHS.tolist()):
        spoiled = torch.cat([sound[clip : clip + 1, :length], 1e3 * torch.ones(1, 500, dtype=torch.float64)], dim=1)
        alone = net(spoiled, LENGTHS[clip : clip + 1])
        torch.testing.assert_close(alone.logits[0], heard.logits[clip])
        parts = alone.segments.shape[2]
        torch.testing.assert_close(alone.segments[0], heard.segments[clip, :, :parts], equal_nan=True)
    torch.testing.assert_close(net(sound.flip(0), LENGTHS.flip(0)).logits.flip(0), heard.logits)
    assert torch.equal(net(sound, LENGTHS).logits, heard.logits)


def test_a_stage_without_anything_to_hear_reads_nothing():
    torch.manual_seed(0)
    decoder = PublishedDecoder(6, 4, 1, **SMALL)
    tokens, mask = torch.randn(2, 5, 6, requires_grad=True), torch.tensor([[True] * 5, [False] * 5])
    latents, y = decoder.read(0, decoder.start(2), tokens, torch.zeros(2, 5), mask=mask)
    other, _ = decoder.read(0, decoder.start(2), torch.randn(2, 5, 6), torch.ones(2, 5), mask=mask)
    torch.testing.assert_close(latents[1], other[1])
    y.square().sum().backward()
    assert tokens.grad.isfinite().all()
    assert not tokens.grad[1].any()
    assert all(p.grad is None or p.grad.isfinite().all() for p in decoder.parameters())


def test_the_decoder_learns_and_stands_in_for_ours():
    sound = torch.randn(3, 16_000, generator=torch.Generator().manual_seed(0))
    encoder, front = SmallEncoder(16, 4, 12), MultiResolutionLogMel(2, n_mels=16)
    net = Playback(front, encoder, PublishedDecoder(12, 3, 2, **SMALL), segment_seconds=0.3).train()
    heard = net(sound)
    (heard.logits.square().sum() + heard.stage_logits.square().sum()).backward()
    for name, parameter in net.decoder.named_parameters():
        assert parameter.grad.abs().sum() > 0, name
    assert all(p.grad.abs().sum() > 0 for p in net.slot_attention.query.parameters()), "saliency weights what is read"


def test_what_cannot_be_is_named():
    with pytest.raises(ConfigError, match="fusion is 'adaptive_concat' of predictions"):
        PublishedDecoder(6, 4, 2, fusion="adaptive_concat", fusion_level="predictions")
    with pytest.raises(ConfigError, match="n_classes is 0; it must be at least 1"):
        PublishedDecoder(6, (), 2)
    with pytest.raises(ConfigError, match="points is 0; it must be at least 1"):
        PublishedSlots(6, 0)
    with pytest.raises(ValueError, match="maps are 1; the decoder has 2 stages"):
        PublishedDecoder(6, 4, 2, **SMALL)([torch.zeros(1, 2, 2, 6)])
    encoder, front = SmallEncoder(16, 4, 12), MultiResolutionLogMel(2, n_mels=16)
    with pytest.raises(ConfigError, match="published_slots is set and selection is 'slots'"):
        Playback(front, encoder, PlaybackDecoder(12, 3, 2), published_slots=True)


@pytest.mark.cuda
def test_a_device_gives_the_same():
    net = model().double().eval()
    sound = torch.randn(3, 16_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    lengths = torch.tensor([16_000, 9_000, 700])
    wanted = net(sound, lengths)
    result = net.cuda()(sound.cuda(), lengths.cuda())
    torch.testing.assert_close(result.logits.cpu(), wanted.logits)
    torch.testing.assert_close(result.segments.cpu(), wanted.segments, equal_nan=True)
    net.train()(sound.cuda(), lengths.cuda()).logits.sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in net.parameters())
