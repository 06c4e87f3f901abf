"""Laws of the multiscale transformer: padding, sizes, gradients, published names, and the formula by hand."""

import math

import pytest
import torch

from audioattn_lib.audio.features.multi_resolution import MultiResolutionLogMel
from audioattn_lib.core.errors import ConfigError
from audioattn_lib.models.backbones.mvit import MVIT_PRESETS, MViT, MViTShape
from audioattn_lib.models.playback.layers import PlaybackDecoder
from audioattn_lib.models.playback.network import Playback

SMALL = MViTShape(4, (1, 3), 0.5, features=8, heads=2)


def make(shape=SMALL, seed=0):
    torch.manual_seed(seed)
    made = MViT(shape)
    for name, parameter in made.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(parameter, std=0.1)  # what padding becomes shows only where it is not 0
    return made.double().eval()


def sounds(clips=3, frames=61, bands=21, seed=1):
    return torch.randn(clips, frames, bands, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_padding_company_and_order_change_nothing():
    model, x, counts = make(), sounds(), torch.tensor([61, 18, 0])
    mask = torch.arange(61) < counts[:, None]
    together = model.encode(x.masked_fill(~mask[..., None], math.nan), mask)
    assert together.isfinite().all()
    valid = model.count_frames(counts)
    assert valid.tolist() == [4, 2, 0]
    for clip in range(2):
        alone = model.encode(x[clip : clip + 1, : counts[clip]])[0]
        torch.testing.assert_close(alone, together[clip, :, : valid[clip]])
    for clip in range(3):
        assert not together[clip, :, valid[clip] :].any()
    torch.testing.assert_close(model.encode(x.flip(0), mask.flip(0)).flip(0), together)


def test_padding_spoils_no_gradient():
    model, x, counts = make().train(), sounds(), torch.tensor([61, 3, 0])
    mask = torch.arange(61) < counts[:, None]
    model(x.masked_fill(~mask[..., None], math.nan), mask).square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad.isfinite().all(), name


@pytest.mark.parametrize("size", [(1, 1), (3, 7), (33, 8), (64, 21)])
def test_any_size_is_rounded_up(size):
    model = make()
    encoded = model.encode(sounds(2, *size))
    assert encoded.shape == (2, 32, -(-size[0] // 16), -(-size[1] // 16))
    assert model.count_frames(torch.tensor([size[0]])).item() == encoded.shape[2]
    frames = model(sounds(2, *size))
    assert frames.shape == (2, encoded.shape[2], model.out_features)
    torch.testing.assert_close(frames, encoded.mean(dim=3).transpose(1, 2))


def test_gradients_reach_every_parameter():
    model = make(MViTShape(4, (1, 3), 0.0, features=8, heads=2)).train()
    model(sounds()).square().sum().backward()
    for name, parameter in model.named_parameters():
        if not name.endswith("norm_k.bias"):  # adds the same to all scores of a query
            assert parameter.grad.abs().sum() > 0, name


def by_hand(state, x, heads=1):
    """One layer that halves the grid, without padding, written out."""

    def norm(t, name):
        return torch.nn.functional.layer_norm(t, t.shape[-1:], state[f"{name}.weight"], state[f"{name}.bias"], 1e-6)

    def linear(t, name):
        return t @ state[f"{name}.weight"].T + state[f"{name}.bias"]

    image = torch.nn.functional.conv2d(
        x[:, None], state["patch_embed.proj.weight"], state["patch_embed.proj.bias"], stride=4, padding=3
    )
    t = image.permute(0, 2, 3, 1)
    seen = norm(t, "blocks.0.norm1")
    parts = []
    for letter, tokens, stride in zip(
        "qkv", linear(seen, "blocks.0.attn.qkv").chunk(3, dim=-1), (2, 2, 2), strict=True
    ):
        weight = state[f"blocks.0.attn.pool_{letter}.weight"]
        pooled = torch.nn.functional.conv2d(tokens.permute(0, 3, 1, 2), weight, stride=stride, padding=1, groups=16)
        parts.append(norm(pooled.permute(0, 2, 3, 1), f"blocks.0.attn.norm_{letter}"))
    q, k, v = parts
    scores = q.flatten(1, 2) @ k.flatten(1, 2).transpose(1, 2) / math.sqrt(16)
    read = (scores.softmax(-1) @ v.flatten(1, 2)).unflatten(1, q.shape[1:3]) + q
    past = torch.nn.functional.max_pool2d(linear(seen, "blocks.0.proj").permute(0, 3, 1, 2), 3, 2, 1)
    t = past.permute(0, 2, 3, 1) + linear(read, "blocks.0.attn.proj")
    inner = torch.nn.functional.gelu(linear(norm(t, "blocks.0.norm2"), "blocks.0.mlp.fc1"))
    t = t + linear(inner, "blocks.0.mlp.fc2")
    return norm(t, "norm").permute(0, 3, 1, 2)


def test_it_is_the_formula():
    model, x = make(MViTShape(1, (0,), 0.0, features=8, heads=1)), sounds()
    # a doubling makes two heads of 8; the formula by hand has one
    model.blocks[0].attn = type(model.blocks[0].attn)(8, 16, 1, 2, 2).double()
    torch.testing.assert_close(model.encode(x), by_hand(model.state_dict(), x))


def test_layers_are_left_out_in_training_only():
    model, x = make(), sounds()
    assert torch.equal(model(x), model(x))
    assert [block.drop_path for block in model.blocks] == pytest.approx([0, 0.5 / 3, 1 / 3, 0.5])
    model.train()
    torch.manual_seed(0)
    drawn = torch.stack([model(x) for _ in range(6)])
    assert (drawn.flatten(2).std(dim=0) > 0).any()


def test_the_published_sizes():
    counts = {}
    for name, shape in MVIT_PRESETS.items():
        with torch.device("meta"):
            model = MViT(shape)
            assert model.encode(torch.zeros(1, 400, 128)).shape == (1, 768, 13, 4)
        counts[name] = sum(parameter.numel() for parameter in model.parameters())
        assert model.reduction == 32
    assert counts == {"T": 23_313_504, "S": 33_979_296, "B": 50_521_536}
    head = 309 * (768 + 1)  # the published 34.2 and 50.8 million count the classifier of VGG-Sound
    assert [round((counts[name] + head) / 1e6, 1) for name in "SB"] == [34.2, 50.8]


def test_names_are_those_of_the_released_checkpoints():
    names = set(make(MViTShape(2, (1,), features=8)).state_dict())
    layer = {f"{layer_name}.{kind}" for layer_name in ("norm1", "norm2") for kind in ("weight", "bias")}
    layer |= {
        f"attn.{layer_name}.{kind}"
        for layer_name in ("qkv", "proj", *(f"norm_{x}" for x in "qkv"))
        for kind in ("weight", "bias")
    }
    layer |= {f"attn.pool_{x}.weight" for x in "qkv"}
    layer |= {f"mlp.{layer_name}.{kind}" for layer_name in ("fc1", "fc2") for kind in ("weight", "bias")}
    outer = {
        f"{layer_name}.{kind}"
        for layer_name in ("patch_embed.proj", "norm", "blocks.1.proj")
        for kind in ("weight", "bias")
    }
    assert names == outer | {f"blocks.{i}.{name}" for i in range(2) for name in layer}


def test_it_is_an_encoder_of_the_playback_model():
    torch.manual_seed(0)
    front = MultiResolutionLogMel(2, n_mels=16)
    encoder = make()
    decoder = PlaybackDecoder(encoder.out_features, 3, 2, n_latents=4, width=8, heads=2)
    net = Playback(front, encoder, decoder, segment_seconds=0.4).double().eval()
    sound = 0.1 * torch.randn(3, 24_000, dtype=torch.float64)
    lengths = torch.tensor([24_000, 9_000, 640])
    heard = net(sound, lengths)
    for clip, length in enumerate(lengths.tolist()):
        torch.testing.assert_close(net(sound[clip : clip + 1, :length]).logits[0], heard.logits[clip])
    net.train()(sound, lengths).logits.square().sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in net.parameters())
    assert net.encoder.patch_embed["proj"].weight.grad.any()


def test_autocast():
    model, x = make().float(), sounds().float()
    mask = torch.arange(61) < torch.tensor([61, 18, 61])[:, None]
    full = model(x, mask)
    with torch.autocast("cpu", torch.bfloat16):
        low = model(x, mask)
    torch.testing.assert_close(low.float(), full, atol=0.1, rtol=0.1)


@pytest.mark.cuda
def test_cuda_gives_the_same_also_in_bfloat16():
    model, x = make().float(), sounds().float()
    mask = torch.arange(61) < torch.tensor([61, 18, 61])[:, None]
    expected = model(x, mask)
    on_device = model.cuda()
    torch.testing.assert_close(on_device(x.cuda(), mask.cuda()).cpu(), expected, atol=1e-3, rtol=1e-3)
    with torch.autocast("cuda", torch.bfloat16):
        low = on_device.train()(x.cuda(), mask.cuda())
        low.float().square().sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in on_device.parameters())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MViT.preset("L"), "size is 'L'; it must be one of T, S, B"),
        (lambda: MViTShape(0, ()), "depth is 0; it must be at least 1"),
        (lambda: MViTShape(4, (3, 1)), r"doublings is \(3, 1\); give different layers from 0 to 3 in order"),
        (lambda: MViTShape(4, (4,)), r"doublings is \(4,\)"),
        (lambda: MViTShape(4, (), features=9, heads=2), "features is 9; it must be a multiple of heads, 2"),
        (lambda: MViTShape(4, (), drop_path=1.0), r"drop_path is 1.0; it must be in \[0, 1\)"),
    ],
)
def test_what_cannot_be_is_an_error(make, message):
    with pytest.raises(ConfigError, match=message):
        make()
