"""``audioattn attend``: pretrained networks of transformers, from a folder, over sounds."""

import numpy as np
import pytest
import soundfile
import torch
from command_line import call

from audioattn_lib.attention.record.record import AttentionRecord, FrameClock
from audioattn_lib.audio._torchaudio import torchaudio
from audioattn_lib.core.errors import AudioError, ConfigError
from audioattn_lib.inference.pretrained.attention import AttendedSound, load_pretrained_attention

SIZES = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    """Folders of small random networks, as ``save_pretrained`` writes them."""
    torchaudio()
    library = pytest.importorskip("transformers")
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("networks")
    convolutions = {"conv_dim": (8,) * 3, "conv_kernel": (10, 8, 4), "conv_stride": (5, 8, 4)}
    positions = {"num_conv_pos_embeddings": 4, "num_conv_pos_embedding_groups": 2}
    speech = library.Wav2Vec2Config(**SIZES, **convolutions, **positions, num_feat_extract_layers=3)
    library.Wav2Vec2Model(speech).save_pretrained(folder / "speech")
    library.Wav2Vec2FeatureExtractor().save_pretrained(folder / "speech")
    patches = library.ASTConfig(**SIZES, num_mel_bins=64, max_length=128)
    library.ASTForAudioClassification(patches).save_pretrained(folder / "patches")
    library.ASTFeatureExtractor(num_mel_bins=64, max_length=128).save_pretrained(folder / "patches")
    library.ClapAudioConfig().save_pretrained(folder / "clap")
    return folder


@pytest.fixture
def sound(tmp_path):
    path = tmp_path / "clicks.wav"
    samples = 0.01 * np.random.default_rng(0).standard_normal(8000)
    samples[3000:3200] = 0.9
    soundfile.write(path, samples, 8000)  # another rate than that of the networks
    return path


@pytest.mark.parametrize("heads", [False, True])
@pytest.mark.parametrize("network", ["speech", "patches"])
def test_a_page_a_sound(networks, sound, tmp_path, network, heads):
    said = call("attend", networks / network, sound, "-o", tmp_path / "out", *(["--heads"] * heads)).stdout
    page = (tmp_path / "out" / "clicks.html").read_text()
    assert "attends most at" in said
    if heads:
        assert "&quot;Head&quot;" in page
    else:
        assert "Rollout" in page
    assert len(page) < 2_000_000


def test_a_page_of_144_heads_is_below_two_megabytes():
    generator = np.random.default_rng(0)

    def record(heads):
        weights = generator.dirichlet(np.full(1500, 0.1), (1, heads))
        return AttentionRecord("some", FrameClock(0.02), n_frames=np.array([1500]), weights=weights)

    layers = {f"encoder.layers.{layer}.attention": record(12) for layer in range(12)}
    samples = 0.1 * generator.standard_normal(30 * 16000).astype(np.float32)
    page = AttendedSound("noise.wav", samples, 16000, layers, record(1), {}).player(heads=True).html()
    assert len(page.encode()) < 2_000_000


def test_records_end_where_the_sound_ends(networks, sound):
    loaded = load_pretrained_attention(networks / "speech")
    attended = loaded.attend(sound)
    assert attended.duration == 1
    assert list(attended.layers) == ["encoder.layers.0.attention", "encoder.layers.1.attention"]
    assert attended.layers["encoder.layers.1.attention"].weights.shape[:2] == (1, 2)
    assert attended.rollout.sound() == (0.0, 1.0)
    assert attended.rollout.clock.period == pytest.approx(0.01)


def test_what_cannot_be_attended_is_named(networks, sound, tmp_path):
    long = tmp_path / "long.wav"
    soundfile.write(long, np.zeros(16000 * 3) + 0.1, 16000)
    with pytest.raises(AudioError, match=r"3.00 s; .*patches takes 0.03 to 1.2"):
        load_pretrained_attention(networks / "patches").attend(long)
    said = call("attend", networks / "patches", sound, long, "-o", tmp_path / "out", code=1)
    assert "1 of 2 sounds could not be used" in said.stderr
    assert (tmp_path / "out" / "clicks.html").is_file()
    with pytest.raises(ConfigError, match="model type 'clap_audio_model'; known are wav2vec2"):
        load_pretrained_attention(networks / "clap")
    with pytest.raises(ConfigError, match="holds no config.json"):
        load_pretrained_attention(tmp_path)
    with pytest.raises(ConfigError, match="model_type is 'bert'"):
        load_pretrained_attention(networks / "speech", "bert")


def test_without_a_network_the_hub_is_named(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ConfigError, match="give a local folder with config.json"):
        load_pretrained_attention("somebody/some-model")


@pytest.mark.data
def test_the_encoder_of_whisper(data_root):
    loaded = load_pretrained_attention(data_root / "encoders" / "whisper_tiny_en_encoder")
    sound = next((data_root / "fsdd").rglob("*.flac"))
    attended = loaded.attend(sound)
    assert len(attended.layers) == 4
    last = list(attended.layers.values())[-1]
    assert last.weights.shape[1:] == (6, 1500)
    assert 0 <= attended.rollout.frame_times()[attended.rollout.frame_attention().argmax()] <= 30
    # beside noise as long as the digit: the first and the last token, and the one where the sound ends, are sinks
    end = round(attended.duration / 0.02)
    tokens = {layer: dict(sinks) for layer, sinks in attended.sinks.items()}
    assert tokens["layers.3.self_attn"].keys() >= {0, 1499}
    assert any(end <= token <= end + 2 and share > 30 / 1500 for token, share in tokens["layers.3.self_attn"].items())
    assert all(token < 3 or end - 1 <= token <= end + 2 or token > 1490 for sinks in tokens.values() for token in sinks)


@pytest.mark.data
def test_reductions_end_where_a_real_recording_ends(data_root):
    """Whisper hears 30 s; of a clip of 5 s the padding is not drawn, though much attention lies in it."""
    loaded = load_pretrained_attention(data_root / "encoders" / "whisper_tiny_en_encoder")
    reduced = loaded.reduce(next((data_root / "esc10" / "audio").glob("*.flac")))
    assert list(reduced) == ["received", "value_norm", "rollout"]
    assert {record.n_frames[0] for record in reduced.values()} == {251}
    assert all(record.sound()[1] == pytest.approx(5.0, abs=0.01) for record in reduced.values())
    assert all(0 < record.weights.sum() < record.weights.shape[1] for record in reduced.values())
