"""The published front end of audio transformers: the formula step by step, Kaldi's filters, padding, moved edges."""

import numpy as np
import pytest
import torch

from audioattn_lib.audio._torchaudio import torchaudio
from audioattn_lib.audio.features.kaldi_mel import PUBLISHED_MEAN, PUBLISHED_STD, KaldiMel
from audioattn_lib.audio.features.log_mel import mel_filters
from audioattn_lib.core.errors import ConfigError


def sound(samples, seed=0):
    return 0.1 * np.random.default_rng(seed).standard_normal(samples)


def kaldi_filters(f_min, f_max, n_mels=128, n_fft=1024, sample_rate=32000):
    from importlib import import_module

    torchaudio()
    kaldi = import_module("torchaudio.compliance.kaldi")
    table = kaldi.get_mel_banks(n_mels, n_fft, sample_rate, f_min, f_max, 100.0, -500.0, 1.0)[0]
    return torch.nn.functional.pad(table, (0, 1)).T.double()


@pytest.mark.parametrize(("f_min", "f_max"), [(0.0, 15000.0), (7.0, 15843.0)])
def test_filters_are_those_of_kaldi(f_min, f_max):
    ours = mel_filters(32000, 1024, 128, f_min, f_max, filters="mel_triangle")[0]
    torch.testing.assert_close(ours, kaldi_filters(f_min, f_max), atol=1e-4, rtol=0)


@pytest.mark.parametrize("edges", [None, (4.0, 15700.0)])
def test_it_is_the_published_computation(edges):
    x = sound(32000)
    emphasised = torch.tensor(x[1:] - 0.97 * x[:-1])
    window = torch.hann_window(800, periodic=False, dtype=torch.float64)
    spectrum = torch.stft(emphasised, 1024, 320, 800, window, center=True, pad_mode="reflect", return_complex=True)
    power = spectrum.abs().square().T @ kaldi_filters(*(edges or (0.0, 15000.0)))
    wanted = ((power + 1e-5).log() + 4.5) / 5
    features, n_frames = KaldiMel(f_max=15000.0)(torch.tensor(x)[None], edges=edges)
    assert n_frames.tolist() == [100]
    torch.testing.assert_close((features[0] - PUBLISHED_MEAN) / PUBLISHED_STD, wanted, atol=1e-4, rtol=0)


def test_padding_and_company_change_nothing():
    extract = KaldiMel(16000, 20)
    clips = [sound(n, seed) for seed, n in enumerate((3000, 2, 512, 161))]
    batch = torch.full((4, 4000), 7.0, dtype=torch.float64)
    for row, clip in enumerate(clips):
        batch[row, : len(clip)] = torch.tensor(clip)
    together, n_frames = extract(batch, torch.tensor([3000, 2, 512, 161]))
    assert n_frames.tolist() == [19, 1, 4, 2]
    for row, clip in enumerate(clips):
        alone, _ = extract(torch.tensor(clip)[None])
        torch.testing.assert_close(together[row, : n_frames[row]], alone[0])
        assert (together[row, n_frames[row] :] == 0).all()


def test_edges_move_as_published():
    extract = KaldiMel(f_max=15000.0)
    generator = torch.Generator().manual_seed(0)
    drawn = np.array([extract.draw_edges(10, 2000, generator=generator) for _ in range(500)])
    assert set(drawn[:, 0]) == set(range(10))
    assert 14000 < drawn[:, 1].min() < 14050
    assert 15950 < drawn[:, 1].max() <= 16000
    assert extract.draw_edges(0, 1, generator=generator) == (0.0, 15000.0)


def test_sizes_are_those_of_time():
    assert KaldiMel().n_fft == 1024
    small = KaldiMel(16000)
    assert (small.n_fft, small.hop_length, int((small.window > 0).sum())) == (512, 160, 398)
    assert small.clock == (0.01, -0.005)


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"n_mels": 0}, "n_mels is 0"),
        ({"sample_rate": 9}, "sample_rate is 9"),
        ({"f_max": 17000.0}, r"f_max 17000\.0 Hz; they must satisfy 0 <= f_min < f_max <= 16000"),
        ({"hop_length": 1e-6}, "hop_length is 1e-06 s; it must hold at least one sample"),
    ],
)
def test_what_cannot_be_is_named(options, what):
    with pytest.raises(ConfigError, match=what):
        KaldiMel(**options)


def test_clips_without_a_difference_are_named():
    with pytest.raises(ValueError, match="lengths begin at 1; a clip must have at least 2 samples"):
        KaldiMel()(torch.zeros(1, 1))
    with pytest.raises(ConfigError, match="f_max 20000"):
        KaldiMel()(torch.zeros(1, 100), edges=(0.0, 20000.0))


@pytest.mark.cuda
def test_cuda_gives_the_same():
    extract, x = KaldiMel(16000, 40), torch.tensor(sound(8000), dtype=torch.float32).expand(2, -1)
    lengths = torch.tensor([8000, 4321])
    expected = extract(x, lengths, edges=(5.0, 7000.0))[0]
    result = extract.cuda()(x.cuda(), lengths.cuda(), edges=(5.0, 7000.0))[0]
    torch.testing.assert_close(result.cpu(), expected, atol=1e-3, rtol=1e-3)
