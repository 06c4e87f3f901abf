"""Networks of other libraries, made small at random: the same bits, the weights of eager attention, the clock."""

import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from audioattn_lib.audio._torchaudio import torchaudio
from audioattn_lib.core.errors import ConfigError
from audioattn_lib.inspection.capture import capture
from audioattn_lib.inspection.known_models import tokens_of, windows_of
from audioattn_lib.inspection.tokens import PatchTokens
from audioattn_lib.models.frequency_transformer import FrequencyTransformer

RATE = 16000
SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
CONVOLUTIONS = {
    "conv_dim": (8, 8, 8),
    "conv_kernel": (10, 3, 3),
    "conv_stride": (5, 2, 2),
    "num_feat_extract_layers": 3,
    "num_conv_pos_embeddings": 4,
    "num_conv_pos_embedding_groups": 2,
    "feat_extract_norm": "layer",  # that of a group would spread an impulse over all frames
    "do_stable_layer_norm": True,
}
OVER_SAMPLES = ("Wav2Vec2", "Hubert", "WavLM")


def sound(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def library():
    torchaudio()
    return pytest.importorskip("transformers")


def whisper_of(library):
    sizes = {f"{side}_{name}": n for side in ("encoder", "decoder") for name, n in (
        ("layers", 2), ("attention_heads", 2), ("ffn_dim", 32))}  # fmt: skip
    tokens = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 1}
    return library.WhisperConfig(
        d_model=16, vocab_size=50, num_mel_bins=8, max_source_positions=20, max_target_positions=10, **sizes, **tokens
    )


def network(library, name):
    torch.manual_seed(0)
    if name in OVER_SAMPLES:
        config = getattr(library, f"{name}Config")(**SIZES, **CONVOLUTIONS)
        return getattr(library, f"{name}Model")(config).eval(), {"input_values": sound(2, 800)}
    if name == "AST":
        config = library.ASTConfig(**SIZES, num_mel_bins=32, max_length=64)
        return library.ASTModel(config).eval(), {"input_values": sound(2, 64, 32)}
    words = torch.tensor([[1, 3, 4, 5], [1, 6, 7, 8]])
    model = library.WhisperModel(whisper_of(library)).eval()
    return model, {"input_features": sound(2, 8, 40), "decoder_input_ids": words}


def captured_of(model, inputs, **options):
    with torch.no_grad():
        alone = model(**inputs)
        with capture(model, **options) as captured:
            watched = model(**inputs)
    assert torch.equal(alone[0], watched[0])
    return captured


@pytest.mark.parametrize("name", [*OVER_SAMPLES, "AST", "Whisper"])
def test_weights_are_those_of_eager_attention(library, name):
    model, inputs = network(library, name)
    fused = captured_of(model, inputs, values=True)
    model.set_attn_implementation("eager")
    eager = captured_of(model, inputs)
    assert list(fused.weights) == list(eager.weights)
    with torch.no_grad():
        output = model(**inputs, output_attentions=True)
    if name == "Whisper":
        assert len(fused.weights) == 6
        own = [*output.encoder_attentions]
        for pair in zip(output.decoder_attentions, output.cross_attentions, strict=True):
            own.extend(pair)
    else:
        own = output.attentions
    for mine, also, theirs in zip(fused.weights.values(), eager.weights.values(), own, strict=True):
        # WavLM gives the mean over its heads in place of each
        mine, also = (
            each.mean(1, keepdim=True).expand_as(theirs) if name == "WavLM" else each for each in (mine, also)
        )
        torch.testing.assert_close(mine, theirs)
        torch.testing.assert_close(also, theirs)


@pytest.mark.parametrize("name", OVER_SAMPLES)
def test_the_token_of_an_impulse_over_samples(library, name):
    model, inputs = network(library, name)
    tokens, samples = tokens_of(model), inputs["input_values"][:1]
    for place in (100, 333, 777):
        changed = samples.clone()
        changed[0, place] += 5
        with torch.no_grad():
            before, after = (model.feature_extractor(each) for each in (samples, changed))
        moved = (before != after).any(1).flatten().nonzero().flatten().tolist()
        instant = (place + 0.5) / RATE
        assert moved == [i for i in range(before.shape[-1]) if tokens.covers(i)[0] < instant < tokens.covers(i)[1]]


def test_the_patch_of_an_impulse_in_the_spectrogram_transformer(library):
    model, inputs = network(library, "AST")
    tokens, features = tokens_of(model), inputs["input_values"][:1]
    bands, frames = tokens.shape(captured_of(model, inputs).weights["layers.0.attention"].shape[-1])
    for frame, band in ((12, 3), (40, 22)):
        changed = features.clone()
        changed[0, frame, band] += 5
        with torch.no_grad():
            before, after = (model.embeddings(each) for each in (features, changed))
        moved = (before != after).any(-1)[0, tokens.first : before.shape[1] - tokens.last].reshape(bands, frames)
        assert moved.any()
        # the features of a frame are of 25 ms from its hop on; a patch takes 16 frames
        instant = frame * 0.01 + 0.0125
        said = abs(tokens.clock.centres(frames) - instant) <= 7.5 * 0.01 + 1e-9
        assert moved.any(0).tolist() == said.tolist()
        rows = moved.any(1).nonzero().flatten().tolist()
        assert rows == [row for row in range(bands) if 10 * row <= band < 10 * row + 16]


def test_the_token_of_an_impulse_in_whisper(library):
    model, inputs = network(library, "Whisper")
    tokens, features = tokens_of(model), inputs["input_features"][:1]
    encoder = model.encoder
    for frame in (7, 20):
        changed = features.clone()
        changed[0, :, frame] += 5
        with torch.no_grad():
            before, after = (F.gelu(encoder.conv2(F.gelu(encoder.conv1(each)))) for each in (features, changed))
        moved = (before != after).any(1).flatten().nonzero().flatten().tolist()
        # a frame is around the beginning of its hop
        instant, window = frame * 0.01, 0.0125
        said = [i for i in range(20) if tokens.covers(i)[0] + window < instant + 0.005 + 1e-9
                and instant - 0.005 - 1e-9 < tokens.covers(i)[1] - window]  # fmt: skip
        assert moved == said


def test_gradients_reach_the_weights_of_a_spectrogram_transformer(library):
    model, inputs = network(library, "AST")
    with capture(model, gradients=True) as fused:
        model(**inputs).pooler_output[:, 0].sum().backward()
    model.set_attn_implementation("eager")
    with capture(model, gradients=True) as eager:
        model(**inputs).pooler_output[:, 0].sum().backward()
    for name, gradient in fused.gradients.items():
        torch.testing.assert_close(gradient, eager.gradients[name], atol=1e-6, rtol=1e-3)
    assert fused.record(reduction="relevance").maps.shape == (2, 1, 1, 2, 5)


def clap(library):
    config = library.ClapAudioConfig(
        window_size=4, num_mel_bins=16, spec_size=64, hidden_size=32, patch_size=4, patch_stride=[4, 4], depths=[2, 2],
        num_attention_heads=[2, 4], patch_embeds_hidden_size=16, num_hidden_layers=2, enable_fusion=False,
        projection_dim=16,
    )  # fmt: skip
    return library.ClapAudioModel(config).eval(), {"input_features": sound(2, 1, 256, 16)}


def test_windows_of_clap_are_put_together(library):
    model, inputs = clap(library)
    captured = captured_of(model, inputs)
    with torch.no_grad():
        last = model(**inputs, output_attentions=True).attentions[0]
    layer = "audio_encoder.layers.0.blocks.1.attention.self"
    torch.testing.assert_close(captured.weights[layer], last)
    assert len(last) == 2 * 16  # clips by windows

    tokens = windows_of(model)
    partition = import_module("transformers.models.clap.modeling_clap").window_partition
    for block, shift in ((0, 0), (1, 2)):
        image = torch.rand(2, 16, 16, 1)
        windows = partition(image.roll((-shift, -shift), (1, 2)), 4).flatten(1)  # (windows, keys)
        received = tokens.received(
            f"layers.0.blocks.{block}.attention.self", windows[:, None, None].expand(-1, 2, 16, -1)
        )
        over_time = image[..., 0].unflatten(1, (4, 4)).transpose(1, 2).flatten(1)  # four stretches in a row
        torch.testing.assert_close(received[:, 1, 0], over_time / 16)
    record = captured.record(layers=layer)
    assert record.maps.shape == (2, 1, 2, 4, 64)
    np.testing.assert_allclose(record.maps.sum((3, 4)), 1)
    assert captured.record(layers=[layer.replace("blocks.1", "blocks.0"), layer], by_layer=True).maps.shape[1] == 2
    for options, says in (
        ({"reduction": "rollout"}, "received alone"),
        ({"layers": [layer, layer.replace("layers.0", "layers.1")]}, "different sizes"),
        ({"layers": "own"}, "no layer 'own'"),
        ({"tokens": PatchTokens(4, 4, 0.1)}, r"ClapAudioSelfAttention\) attends within windows"),
    ):
        with pytest.raises(ConfigError, match=says):
            captured.record(**options)


def test_the_patch_of_an_impulse_in_clap(library):
    model, inputs = clap(library)
    seen = []
    model.audio_encoder.patch_embed.register_forward_hook(lambda module, entered, left: seen.append(left.detach()))
    tokens = windows_of(model).patches("layers.0.blocks.0.attention.self")
    for frame, band in ((0, 0), (70, 9), (200, 15)):
        changed = {"input_features": inputs["input_features"].clone()}
        changed["input_features"][:, :, frame, band] += 1
        with torch.no_grad():
            model(**inputs), model(**changed)
        (place,) = (seen[-1] - seen[-2])[0].abs().sum(-1).nonzero()[:, 0].tolist()
        row, column = divmod(place, 16)
        assert row % tokens.bands == band // 4
        edges = tokens.clock.edges(tokens.frames)
        index = row // tokens.bands * 16 + column
        assert edges[index] <= 0.01 * frame < edges[index + 1]
    assert len(tokens.frequencies) == tokens.bands


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning", "ignore::FutureWarning")
def test_attentive_statistics_of_speechbrain():
    torchaudio()
    before = set(sys.modules)
    lobes = pytest.importorskip("speechbrain.lobes.models.ECAPA_TDNN")
    # its modules of other packages import these when anything looks at them, as ``inspect`` does at all modules
    for name in set(sys.modules) - before:
        if type(sys.modules[name]).__name__ in ("LazyModule", "DeprecatedModuleRedirect"):
            del sys.modules[name]
    torch.manual_seed(0)
    model = lobes.ECAPA_TDNN(
        8, channels=[16] * 4 + [48], attention_channels=8, lin_neurons=4, res2net_scale=2, se_channels=4
    ).eval()
    x, lengths = sound(2, 30, 8), torch.tensor([1.0, 0.5])
    seen = []
    model.asp.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    captured = captured_of(model, {"x": x, "lengths": lengths})
    weights = captured.weights["asp"]
    assert weights.shape == (2, 48, 1, 30)  # channels are heads, and the clip asks once
    assert not weights[1, ..., 15:].any()
    mean = (weights[:, :, 0] * seen[-1]).sum(-1)
    with torch.no_grad():
        pooled = model.asp(seen[-1], lengths=lengths)[:, :48, 0]
    torch.testing.assert_close(mean, pooled)
    record = captured.record()
    changed = x.clone()
    changed[0, 17] += 3
    with torch.no_grad():
        # the first block takes five frames; those behind it see the whole clip
        before, after = (model.blocks[0](each.mT) for each in (x, changed))
    moved = (before != after)[0].any(0).nonzero().flatten().numpy()
    assert record.frame_times()[moved].mean() == pytest.approx(17 * 0.01)


@pytest.mark.parametrize("kind", ["wav2vec2_model", "wavlm_model"])
def test_models_of_torchaudio_bundles(kind):
    make = getattr(torchaudio().models.wav2vec2.model, kind)
    relative = {"encoder_num_buckets": 32, "encoder_max_distance": 64} if kind == "wavlm_model" else {}
    torch.manual_seed(0)
    model = make(
        extractor_mode="layer_norm", extractor_conv_layer_config=[(8, 10, 5), (8, 3, 2)], extractor_conv_bias=False,
        encoder_embed_dim=16, encoder_projection_dropout=0.0, encoder_pos_conv_kernel=4, encoder_pos_conv_groups=2,
        encoder_num_layers=2, encoder_num_heads=2, encoder_attention_dropout=0.0, encoder_ff_interm_features=32,
        encoder_ff_interm_dropout=0.0, encoder_dropout=0.0, encoder_layer_norm_first=True, encoder_layer_drop=0.0,
        aux_num_out=None, **relative,
    ).eval()  # fmt: skip
    samples = sound(2, 400)
    captured = captured_of(model, {"waveforms": samples})
    assert len(captured.weights) == 2
    tokens = tokens_of(model)
    record = captured.record()
    changed = samples.clone()
    changed[0, 200] += 5
    with torch.no_grad():
        moved = (model.feature_extractor(samples, None)[0] != model.feature_extractor(changed, None)[0])[0].any(-1)
    said = [tokens.covers(i)[0] < 200.5 / RATE < tokens.covers(i)[1] for i in range(record.n_frames[0])]
    assert moved.tolist() == said


def test_the_frequency_transformer_says_the_same():
    torch.manual_seed(0)
    model = FrequencyTransformer.preset("tiny", 32, 3, max_frames=64, frequencies=np.linspace(100, 7000, 32)).eval()
    with torch.no_grad(), capture(model) as captured:
        *_, own = model(sound(2, 64, 32), torch.tensor([64, 64]), record=True)
    tokens = tokens_of(model)
    assert tokens.clock == own.clock
    np.testing.assert_allclose(tokens.frequencies, own.frequencies)
    for layer, weights in enumerate(captured.weights.values()):
        both = weights[:, :, : tokens.first, tokens.first :].mean(2)
        mine = both.reshape(2, both.shape[1], *tokens.shape(weights.shape[-1]))
        share = own.maps[:, layer] / own.maps[:, layer].sum((-1, -2), keepdims=True)
        np.testing.assert_allclose(mine / mine.sum((-1, -2), keepdim=True), share, rtol=1e-4)


def by_itself(q, k, v):
    return (q @ k.mT * 8**-0.5).softmax(dim=-1) @ v


class PlainAttention(nn.Module):
    """Attention of a vision transformer that computes its weights by itself."""

    def __init__(self, fused):
        super().__init__()
        self.qkv, self.proj, self.fused = nn.Linear(16, 48), nn.Linear(16, 16), fused

    def forward(self, x):
        q, k, v = self.qkv(x).unflatten(-1, (3, 2, 8)).permute(2, 0, 3, 1, 4)
        product = F.scaled_dot_product_attention if self.fused else by_itself
        mixed = product(q, k, v)
        return self.proj(mixed.transpose(1, 2).flatten(2))


def test_a_vision_transformer_with_and_without_fused_attention():
    torch.manual_seed(0)
    model, x = nn.Sequential(PlainAttention(fused=False), PlainAttention(fused=False)), {"input": sound(2, 7, 16)}
    plain = captured_of(model, x)
    for block in model:
        block.fused = True
    fused = captured_of(model, x)
    assert list(plain.weights) == ["0", "1"]
    for name, weights in fused.weights.items():
        torch.testing.assert_close(weights, plain.weights[name])


@pytest.mark.data
def test_the_pretrained_encoder_of_whisper(library, data_root):
    folder = Path(data_root) / "encoders" / "whisper_tiny_en_encoder"
    from safetensors.torch import load_file
    from transformers.models.whisper.modeling_whisper import WhisperEncoder

    model = WhisperEncoder(library.WhisperConfig.from_pretrained(folder)).eval()
    model.load_state_dict({k.removeprefix("encoder."): v for k, v in load_file(folder / "model.safetensors").items()})
    with torch.no_grad():
        inputs = {"input_features": sound(1, 80, 3000)}
        captured = captured_of(model, inputs, received=True)
    record = captured.record()
    assert record.weights.shape[-1] == 1500
    assert record.span()[1] == pytest.approx(30, abs=0.02)


@pytest.mark.filterwarnings("ignore")  # its own, at import and of the size of its input
def test_passt_says_where_its_patches_are(capsys):
    torchaudio()
    passt = pytest.importorskip("hear21passt.models.passt")
    torch.manual_seed(0)
    sizes = {"img_size": (32, 64), "patch_size": 16, "stride": (16, 8), "embed_dim": 16, "depth": 2, "num_heads": 2}
    model = passt.PaSST(**sizes, in_chans=1, num_classes=3, distilled=True).eval()
    x = sound(1, 1, 32, 64)
    with torch.no_grad():
        alone = model(x)[0]
        with capture(model) as captured:
            assert torch.equal(model(x)[0], alone)
    tokens = tokens_of(model)
    assert (tokens.bands, tokens.frames, tokens.first) == (2, 7, 2)
    record = captured.record()
    assert record.maps.shape == (1, 1, 2, 2, 7)
    # the last 10 frames of the upper 16 bands: in the last two columns of patches, of the upper row
    changed = x.clone()
    changed[..., 16:, 54:] += 1
    with torch.no_grad():
        moved = (model.patch_embed(changed) != model.patch_embed(x)).any(1)[0]
    assert moved.tolist() == [[False] * 7, [False] * 5 + [True] * 2]
    assert tokens.clock.centres(7)[-1] == pytest.approx((48 + 7.5) * 0.01)
    assert (np.diff(tokens.frequencies) > 0).all()
