"""Laws of frames of pretrained encoders, on small random ones and on the real one that lies beside the checkout."""

import dataclasses
import json

import numpy as np
import pytest
import torch

import audioattn_lib
from audioattn_lib.audio.features.log_mel import LogMel
from audioattn_lib.core.errors import AudioError, ConfigError
from audioattn_lib.data.corpora import load
from audioattn_lib.experiments import urban_sound
from audioattn_lib.experiments.common.frames.averaged import average_frames
from audioattn_lib.experiments.common.frames.encoder import PretrainedFrames
from audioattn_lib.inspection.libraries import import_transformers

pytest.importorskip("transformers")
DATA = "city?clips_per_class=6&n_folds=3&duration=2"
BANDS = {"n_fft": 400, "hop_length": 160, "n_mels": 20}


def bands(rate=16000):
    return LogMel(rate, **BANDS)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    library, root = import_transformers(), tmp_path_factory.mktemp("encoders")
    torch.manual_seed(0)
    small = {"num_hidden_layers": 2, "num_attention_heads": 2}
    speech = library.Wav2Vec2Config(
        hidden_size=16, intermediate_size=32, conv_dim=(8, 8), conv_kernel=(10, 3), conv_stride=(80, 4),
        num_conv_pos_embeddings=3, num_conv_pos_embedding_groups=2, num_feat_extract_layers=2, **small,
    )  # fmt: skip
    library.Wav2Vec2Model(speech).save_pretrained(root / "wav2vec2")
    library.Wav2Vec2FeatureExtractor(do_normalize=True).save_pretrained(root / "wav2vec2")
    whisper = library.WhisperConfig(
        d_model=16, encoder_layers=2, encoder_attention_heads=2, encoder_ffn_dim=32, decoder_layers=1,
        decoder_attention_heads=2, decoder_ffn_dim=32, num_mel_bins=20, max_source_positions=200, vocab_size=8,
        max_target_positions=8, pad_token_id=0, bos_token_id=1, eos_token_id=2, decoder_start_token_id=1,
    )  # fmt: skip
    library.WhisperModel(whisper).save_pretrained(root / "whisper")
    library.WhisperFeatureExtractor(feature_size=20, chunk_length=4).save_pretrained(root / "whisper")
    patches = library.ASTConfig(hidden_size=16, intermediate_size=32, max_length=64, num_mel_bins=32, **small)
    library.ASTModel(patches).save_pretrained(root / "patches")
    library.ASTFeatureExtractor(num_mel_bins=32, max_length=64).save_pretrained(root / "patches")
    return root


@pytest.mark.parametrize("kind", ["wav2vec2", "whisper"])
def test_frames_are_those_of_the_layer_and_of_a_clip_alone(folders, kind):
    frames = PretrainedFrames(str(folders / kind), 1, bands())
    sounds, lengths = torch.randn(3, 32000), torch.tensor([32000, 24000, 32000])
    features, counts = frames(sounds, lengths)
    assert features.shape == (3, counts.max(), 16)
    assert not features[1, counts[1] :].any()
    for row, length in enumerate(lengths):
        alone, count = frames(sounds[row : row + 1, :length], length[None])
        torch.testing.assert_close(alone[0], features[row, : count[0]], rtol=1e-5, atol=1e-5)
    if kind == "wav2vec2":
        model = import_transformers().Wav2Vec2Model.from_pretrained(folders / kind).eval()
        sound = sounds[0].numpy()
        given = (sound - sound.mean()) / np.sqrt(sound.var() + 1e-7)
        with torch.no_grad():
            expected = model(torch.from_numpy(given)[None], output_hidden_states=True).hidden_states[1]
        torch.testing.assert_close(features[0], expected[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("samples", [32000, 32001, 31999, 31840, 31841, 4161])
def test_whisper_takes_a_clip_of_any_length(folders, samples):
    frames = PretrainedFrames(str(folders / "whisper"), 1, bands())
    sound = torch.randn(1, samples)
    features, counts = frames(sound)
    assert counts.tolist() == [-(-samples // 320)]
    whole, _ = frames(torch.nn.functional.pad(sound, (0, -samples % 320)))
    torch.testing.assert_close(features, whole)


def test_a_whole_chunk_of_whisper_is_what_the_library_computes(folders):
    frames = PretrainedFrames(str(folders / "whisper"), 2, bands())
    sound = torch.randn(1, 64000)
    library = import_transformers()
    extractor = library.WhisperFeatureExtractor.from_pretrained(folders / "whisper")
    inputs = extractor(sound[0].numpy(), sampling_rate=16000, return_tensors="pt").input_features
    encoder = library.WhisperModel.from_pretrained(folders / "whisper").eval().encoder
    taken = []
    encoder.layers[1].register_forward_hook(lambda _, __, given: taken.append(given))
    with torch.no_grad():
        encoder(inputs)
    expected = taken[0][0] if isinstance(taken[0], tuple) else taken[0]
    torch.testing.assert_close(frames(sound)[0], expected.reshape(1, -1, 16), rtol=1e-5, atol=1e-5)


def test_a_network_on_such_frames_is_trained_read_and_listens(folders, tmp_path):
    config = urban_sound.Config.smoke(
        data=DATA, frame_encoder=str(folders / "wav2vec2"), frame_layer=2, model="pointwise", attention="triweight",
        band_normalization="corpus",
    )  # fmt: skip
    run = urban_sound.run(config, tmp_path)
    assert run.attention.clock.period == pytest.approx(320 / 16000)
    manifest = load("city", clips_per_class=6, n_folds=3, duration=2)
    name = run.predictions["clip"].iloc[0]
    heard = audioattn_lib.load(run.path).listen(manifest.paths[manifest.ids.index(name)])
    expected = run.predictions.iloc[0][[f"probability_{label}" for label in manifest.classes]]
    results = [heard.prediction.probabilities[label] for label in manifest.classes]
    np.testing.assert_allclose(results, expected.astype(float), atol=2e-3)  # features are kept in float16
    clip = urban_sound.prepare(config).clip(name)
    assert clip.features.shape[1] == len(clip.frequencies) == config.n_mels
    baseline = urban_sound.baseline(config, tmp_path)
    assert baseline.path != run.path


def test_averages_are_of_valid_frames_alone():
    features = torch.arange(12.0).reshape(2, 6, 1)
    features[1, 4:] = float("nan")  # padding
    means, counts = average_frames(features, torch.tensor([6, 3]), 2)
    assert counts.tolist() == [3, 2]
    assert means[..., 0].tolist() == [[0.5, 2.5, 4.5], [6.5, 8.0, 0.0]]
    means, counts = average_frames(features[:1], torch.tensor([6]), 4)
    assert (means[0, :, 0].tolist(), counts.tolist()) == ([1.5, 4.5], [2])


@pytest.mark.parametrize("attention", ["max", "statistics"])
def test_averaged_frames_are_computed_once_and_listen_alike(folders, tmp_path, monkeypatch, attention):
    monkeypatch.setenv("AUDIOATTN_DATA", str(folders))
    options = {"frame_encoder": "wav2vec2", "frame_layer": 1, "frame_step": 3, "protocol": "grouped"}
    config = urban_sound.Config.smoke(
        data=DATA, model="pointwise", band_normalization="corpus", attention=attention, **options
    )
    prepared = urban_sound.prepare(config)
    whole = urban_sound.prepare(dataclasses.replace(config, frame_step=1))
    assert prepared.clock.period == pytest.approx(3 * whole.clock.period)
    groups = len(whole.store[0]) // 3
    expected = whole.store[0][: 3 * groups].reshape(groups, 3, 16).mean(dim=1)
    torch.testing.assert_close(prepared.store[0][:groups], expected)
    run = urban_sound.run(config, tmp_path)
    manifest, name = prepared.manifest, run.predictions["clip"].iloc[0]
    heard = audioattn_lib.load(run.path).listen(manifest.paths[manifest.ids.index(name)])
    expected = run.predictions.iloc[0][[f"probability_{label}" for label in manifest.classes]]
    results = [heard.prediction.probabilities[label] for label in manifest.classes]
    np.testing.assert_allclose(results, expected.astype(float), atol=2e-3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"frame_layer": 3}, r"frame_layer is 3; .*wav2vec2 has layers 1 to 2"),
        ({"sample_rate": 8000}, r"sample_rate is 8000; the encoder .* hears 16000"),
        ({"frame_encoder": "patches"}, r"frame_encoder is .*patches, a audio-spectrogram-transformer with patches"),
        ({"frame_encoder": "nowhere"}, r"nowhere: no network could be read"),
    ],
)
def test_an_encoder_that_cannot_serve_is_named(folders, changes, message):
    name = str(folders / changes.pop("frame_encoder", "wav2vec2"))
    settings = {"frame_layer": 1, **changes}
    with pytest.raises(ConfigError, match=message):
        urban_sound.prepare(urban_sound.Config.smoke(data=DATA, frame_encoder=name, **settings))


def test_weights_that_are_missing_and_sounds_that_are_too_short_or_too_long_are_named(folders, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "wav2vec2"}))
    with pytest.raises(ConfigError, match="no network could be read"):
        PretrainedFrames(str(tmp_path), 1, bands())
    with pytest.raises(AudioError, match=r"a clip has 0.006 s; a frame of .* is made of 0"):
        PretrainedFrames(str(folders / "wav2vec2"), 1, bands())(torch.zeros(1, 100))
    with pytest.raises(AudioError, match=r"a clip has 5.0 s; .* takes 4 s: cut it"):
        PretrainedFrames(str(folders / "whisper"), 1, bands())(torch.zeros(1, 80000))


@pytest.mark.data
def test_a_real_encoder_gives_frames_of_20_ms(data_root):
    frames = PretrainedFrames(str(data_root / "encoders" / "whisper_tiny_en_encoder"), 2, bands())
    features, counts = frames(torch.randn(1, 48000) * 0.1)
    assert features.shape == (1, 150, 384)
    assert frames.clock == pytest.approx((0.02, -0.01))
    assert counts.tolist() == [150]
