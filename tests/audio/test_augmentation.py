"""Augmentation is a function of its generator, leaves padding alone, and does what it says."""

import pytest
import torch

from audioattn_lib.audio.augmentation import add_noise, change_gain, mask_features
from audioattn_lib.core.errors import ConfigError


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def waves() -> tuple[torch.Tensor, torch.Tensor]:
    lengths = torch.tensor([4000, 2500, 1000])
    waves = torch.randn(3, 4000, generator=generator(7))
    return waves * (torch.arange(4000) < lengths[:, None]), lengths


@pytest.mark.parametrize(
    "change",
    [
        lambda w, n, g: change_gain(w, -6, 6, generator=g),
        lambda w, n, g: add_noise(w, n, 0, 20, generator=g),
        lambda w, n, g: mask_features(w.reshape(3, 100, 40), n // 40, generator=g),
    ],
    ids=["gain", "noise", "masks"],
)
def test_the_generator_decides_everything(waves, change):
    first, again, other = (change(*waves, generator(seed)) for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert first.shape != other.shape or not torch.equal(first, other)


def test_gain_stays_within_its_bounds(waves):
    waves, _ = waves
    changed = change_gain(waves, -6, 3, generator=generator())
    ratio = 20 * torch.log10(changed.square().mean(1).sqrt() / waves.square().mean(1).sqrt())
    assert ((ratio >= -6.001) & (ratio <= 3.001)).all()


@pytest.mark.parametrize("level", [-5.0, 0.0, 20.0])
def test_noise_has_the_ratio_asked_for(waves, level):
    waves, lengths = waves
    noisy = add_noise(waves, lengths, level, level, generator=generator())
    added = noisy - waves
    for row, length in enumerate(lengths):
        ratio = 10 * torch.log10(waves[row].square().sum() / added[row].square().sum())
        assert ratio == pytest.approx(level, abs=1e-3)
        assert (added[row, length:] == 0).all()


def test_given_noise_is_what_is_added(waves):
    waves, lengths = waves
    noise = torch.randn(waves.shape, generator=generator(1))
    added = add_noise(waves, lengths, 10, 10, generator=generator(), noise=noise) - waves
    cosine = torch.nn.functional.cosine_similarity(added[1, :2500], noise[1, :2500], dim=0)
    assert cosine == pytest.approx(1.0, abs=1e-5)
    with pytest.raises(ValueError, match="noise has shape"):
        add_noise(waves, lengths, 10, 10, generator=generator(), noise=noise[:, 1:])


def test_silence_stays_silence():
    quiet = torch.zeros(1, 100)
    assert (add_noise(quiet, None, 0, 0, generator=generator()) == 0).all()


def test_masks_hide_no_more_than_they_may():
    features = torch.randn(64, 200, 30, generator=generator())
    lengths = torch.randint(20, 201, (64,), generator=generator())
    masked = mask_features(features, lengths, time_masks=1, band_masks=1, band_width=8, generator=generator(1))
    changed = masked != features
    for row, length in enumerate(lengths):
        assert not changed[row, length:].any()
        frames = changed[row, :length].all(dim=1).sum()
        bands = changed[row, :length].all(dim=0).sum()
        assert frames <= min(40, 0.2 * length)
        assert bands <= 8
        assert masked[row][changed[row]].unique().numel() <= 1, "one value, the mean"
    assert changed.any()


def test_no_masks_change_nothing():
    features = torch.randn(2, 50, 10, generator=generator())
    assert torch.equal(mask_features(features, time_masks=0, band_masks=0, generator=generator()), features)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda w: change_gain(w, 3, -3, generator=generator()), "gain lies between 3 and -3 dB"),
        (lambda w: add_noise(w, None, 9, 1, generator=generator()), "signal-to-noise ratio lies between 9 and 1"),
        (lambda w: mask_features(w[..., None], time_masks=-1, generator=generator()), "time_masks is -1"),
        (lambda w: mask_features(w[..., None], time_share=1.5, generator=generator()), "time_share is 1.5"),
    ],
)
def test_impossible_settings_are_named(call, message):
    with pytest.raises(ConfigError, match=message):
        call(torch.zeros(1, 100))


@pytest.mark.cuda
def test_the_device_changes_nothing(waves):
    waves, lengths = waves
    for change in (
        lambda w, n: change_gain(w, -6, 6, generator=generator()),
        lambda w, n: add_noise(w, n, 0, 20, generator=generator()),
        lambda w, n: mask_features(w.reshape(3, 100, 40), n // 40, generator=generator()),
    ):
        torch.testing.assert_close(
            change(waves.cuda(), lengths.cuda()).cpu(), change(waves, lengths), atol=1e-5, rtol=0
        )
