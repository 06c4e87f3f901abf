"""Augmentation is a function of its generator, leaves padding alone, and does what it says."""

import pytest
import torch

from audioattn_lib.audio.augmentation.masking import mask_features
from audioattn_lib.core.errors import ConfigError


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def waves() -> tuple[torch.Tensor, torch.Tensor]:
    lengths = torch.tensor([4000, 2500, 1000])
    waves = torch.randn(3, 4000, generator=generator(7))
    return waves * (torch.arange(4000) < lengths[:, None]), lengths


@pytest.fixture
def features(waves) -> tuple[torch.Tensor, torch.Tensor]:
    return waves[0].reshape(3, 100, 40), waves[1] // 40


def test_the_generator_decides_everything(features):
    first, again, other = (mask_features(*features, generator=generator(seed)) for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


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
        (lambda w: mask_features(w[..., None], time_masks=-1, generator=generator()), "time_masks is -1"),
        (lambda w: mask_features(w[..., None], time_share=1.5, generator=generator()), "time_share is 1.5"),
    ],
)
def test_impossible_settings_are_named(call, message):
    with pytest.raises(ConfigError, match=message):
        call(torch.zeros(1, 100))


@pytest.mark.cuda
def test_the_device_changes_nothing(features):
    there = mask_features(*(tensor.cuda() for tensor in features), generator=generator())
    torch.testing.assert_close(there.cpu(), mask_features(*features, generator=generator()), atol=1e-5, rtol=0)
