"""Clocks of known models: the token whose input changes is the token that says so."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from audioattn_lib.core.errors import ConfigError
from audioattn_lib.inspection.known_models import KNOWN_MODELS, tokens_of
from audioattn_lib.inspection.tokens import PatchTokens, TimeTokens

RATE = 16000


def model_of(**config):
    model = nn.Linear(1, 1)
    model.config = SimpleNamespace(**config)
    return model


def ones(layer):
    nn.init.ones_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


@pytest.mark.parametrize(
    "kind", [kind for kind in KNOWN_MODELS if kind not in ("whisper", "audio-spectrogram-transformer")]
)
def test_convolutions_over_samples(kind):
    kernels, strides = (10, 3, 3), (5, 2, 2)
    tokens = tokens_of(model_of(model_type=kind, conv_kernel=kernels, conv_stride=strides))
    network = nn.Sequential(*(ones(nn.Conv1d(1, 1, k, s)) for k, s in zip(kernels, strides, strict=True)))
    sound = torch.zeros(1, 1, 2000)
    sound[..., 777] = 1
    with torch.no_grad():
        moved = network(sound)[0, 0].nonzero().flatten().tolist()
    instant = 777.5 / RATE
    assert moved == [i for i in range(90) if tokens.covers(i)[0] < instant < tokens.covers(i)[1]]


def test_whisper():
    """Frames of a centred transform, window 400, hop 160, then two convolutions."""
    tokens = tokens_of(model_of(model_type="whisper"))
    network = nn.Sequential(ones(nn.Conv1d(1, 1, 3, 1, 1)), ones(nn.Conv1d(1, 1, 3, 2, 1)))
    for sample in (8000, 8123, 9000):
        sound = torch.zeros(RATE)
        sound[sample] = 1
        frames = torch.stft(sound, 400, 160, window=torch.ones(400), return_complex=True).abs().sum(0)
        with torch.no_grad():
            moved = network(frames[None, None])[0, 0].nonzero().flatten().tolist()
        said = [i for i in range(50) if tokens.covers(i)[0] < (sample + 0.5) / RATE < tokens.covers(i)[1]]
        assert moved == said
    assert tokens.period == pytest.approx(0.02)


def test_the_spectrogram_transformer():
    torchaudio = pytest.importorskip("audioattn_lib.audio._torchaudio").torchaudio()
    config = {"patch_size": 16, "time_stride": 10, "frequency_stride": 10, "num_mel_bins": 128, "max_length": 198}
    tokens = tokens_of(model_of(model_type="audio-spectrogram-transformer", **config))
    seconds, hertz = 1.1, 2500.0
    time = np.arange(2 * RATE) / RATE
    # a short tone of one frequency
    sound = torch.from_numpy(np.sin(2 * np.pi * hertz * time) * np.exp(-(((time - seconds) / 0.02) ** 2))).float()
    features = torchaudio.compliance.kaldi.fbank(
        sound[None], sample_frequency=RATE, num_mel_bins=128, window_type="hanning", use_log_fbank=False
    )
    assert len(features) == 198
    embedding = ones(nn.Conv2d(1, 1, 16, (10, 10)))
    with torch.no_grad():
        patches = embedding(features.T[None, None]).flatten()
    assert len(patches) == tokens.bands * tokens.frames
    loudest = int(patches.argmax())
    band, frame = divmod(loudest, tokens.frames)
    assert abs(tokens.clock.centres(tokens.frames)[frame] - seconds) <= tokens.period / 2
    spacing = np.gradient(tokens.frequencies)[band]
    assert abs(tokens.frequencies[band] - hertz) <= spacing
    assert tokens.shape(2 + len(patches)) == (12, 19)


def test_an_unknown_model_is_named():
    with pytest.raises(ConfigError, match="Linear is of model type None; known are wav2vec2"):
        tokens_of(nn.Linear(1, 1))
    with pytest.raises(ConfigError, match="'bert'"):
        tokens_of(model_of(model_type="bert"))


def test_tokens_tell_their_clock_in_words():
    tokens = TimeTokens.of_convolutions((10, 3), (5, 2), 16000)
    assert tokens.describe() == "a token every 0.625 ms, made of 1.25 ms of sound, the first one centred at 0.625 ms"
    patches = PatchTokens(2, 7, 0.08, frequencies=np.array([300.0, 2000.0]), first=2)
    told = "7 patches over time, one every 80 ms, by 2 over frequency, centred at 300, 2000 Hz; 2 special ones in front"
    assert patches.describe() == told
