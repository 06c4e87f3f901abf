"""The published log-mel magnitudes: the formula, padding, frames."""

import librosa
import numpy as np
import pytest
import torch

from audioattn_lib.audio.features.magnitude_mel import MagnitudeMel
from audioattn_lib.core.errors import ConfigError


def sound(samples, seed=0):
    return 0.1 * np.random.default_rng(seed).standard_normal(samples)


@pytest.mark.parametrize("n_fft", [512, 2048])
def test_it_is_the_published_computation(n_fft):
    x = sound(8000)
    y = x * 32768
    emphasised = np.append(y[0] * (1 - 0.97), y[1:] - 0.97 * y[:-1])
    spectrum = librosa.stft(emphasised, n_fft=n_fft, win_length=400, hop_length=160, window="hamming", center=False)
    bands = librosa.filters.mel(sr=16000, n_fft=n_fft, n_mels=80, norm=None, htk=False, dtype=np.float64)
    wanted = np.log(np.maximum(1, bands @ np.abs(spectrum))).T
    features, n_frames = MagnitudeMel(n_fft=n_fft)(torch.tensor(x)[None])
    assert n_frames.tolist() == [1 + (8000 - n_fft) // 160]
    np.testing.assert_allclose(features[0], wanted, atol=1e-6)


def test_padding_and_company_change_nothing():
    extract = MagnitudeMel(n_mels=20)
    clips = [sound(n, seed) for seed, n in enumerate((3000, 100, 512))]
    batch = torch.full((3, 4000), float("nan"), dtype=torch.float64)
    batch[:] = 7.0
    for row, clip in enumerate(clips):
        batch[row, : len(clip)] = torch.tensor(clip)
    together, n_frames = extract(batch, torch.tensor([3000, 100, 512]))
    assert n_frames.tolist() == [16, 1, 1]
    for row, clip in enumerate(clips):
        alone, _ = extract(torch.tensor(clip)[None])
        torch.testing.assert_close(together[row, : n_frames[row]], alone[0])
        assert (together[row, n_frames[row] :] == 0).all()


def test_the_clock_is_that_of_the_middle_of_the_transform():
    period, start = MagnitudeMel().clock
    assert period == 0.01
    assert start + period / 2 == 0.016


@pytest.mark.parametrize(
    ("options", "what"),
    [({"n_fft": 300}, "n_fft is 300; .* at least 400"), ({"n_mels": 0}, "n_mels is 0"), ({"sample_rate": 9}, "9")],
)
def test_what_cannot_be_is_named(options, what):
    with pytest.raises(ConfigError, match=what):
        MagnitudeMel(**options)
