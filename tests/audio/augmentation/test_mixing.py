"""Laws of augmentation that mixes clips or what devices leave in them."""

import pytest
import torch
from scipy import integrate, stats

from audioattn_lib.audio.augmentation.mixing import (
    apply_impulse_responses,
    cut_and_mix_clips,
    mix_band_statistics,
    mix_clips,
)
from audioattn_lib.core.errors import ConfigError


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def features(batch=6, frames=20, bands=5):
    return 10 * torch.randn(batch, frames, bands, generator=seeded(1)) + torch.arange(bands) * 7


def test_mixed_clips_are_mostly_themselves():
    x = features()
    mixed = mix_clips(x, 0.3, generator=seeded())
    assert ((mixed.share >= 0.5) & (mixed.share <= 1)).all()
    assert sorted(mixed.partner.tolist()) == list(range(6))
    for i in range(6):
        expected = mixed.share[i] * x[i] + (1 - mixed.share[i]) * x[mixed.partner[i]]
        torch.testing.assert_close(mixed.features[i], expected)
    assert torch.equal(mix_clips(x, 0.3, generator=seeded()).features, mixed.features)


def test_shares_follow_their_distribution():
    shares = mix_clips(torch.zeros(20000, 1, 1), 0.3, generator=seeded()).share
    expected = 2 * integrate.quad(lambda share: share * stats.beta(0.3, 0.3).pdf(share), 0.5, 1)[0]
    assert shares.mean().item() == pytest.approx(expected, abs=0.005)


def test_band_statistics_lie_between_those_of_two_clips():
    x = features()
    y = mix_band_statistics(x, probability=1.0, generator=seeded())
    generator = seeded()
    torch.randint(2**31, (), generator=generator)
    partner = torch.randperm(6, generator=generator)
    for i in range(6):
        low, high = torch.aminmax(torch.stack([x[i].mean(0), x[partner[i]].mean(0)]), dim=0)
        assert ((y[i].mean(0) >= low - 1e-3) & (y[i].mean(0) <= high + 1e-3)).all()
        a, b = x[i] - x[i].mean(0), y[i] - y[i].mean(0)
        torch.testing.assert_close(a / a.norm(dim=0), b / b.norm(dim=0), atol=1e-4, rtol=1e-4)


def test_padding_has_no_part_in_band_statistics():
    x, lengths = features(), torch.tensor([20, 11, 5, 20, 8, 13])
    spoiled = x.clone()
    for clip, length in enumerate(lengths):
        spoiled[clip, length:] = 1e3
    single = mix_band_statistics(x, lengths, probability=1.0, generator=seeded())
    two = mix_band_statistics(spoiled, lengths, probability=1.0, generator=seeded())
    for clip, length in enumerate(lengths):
        torch.testing.assert_close(single[clip, :length], two[clip, :length])
        assert (two[clip, length:] == 1e3).all()


def test_no_batch_and_no_clip_is_changed_at_probability_zero():
    x = features()
    assert torch.equal(mix_band_statistics(x, probability=0.0, generator=seeded()), x)
    waves = torch.randn(4, 50, generator=seeded())
    assert torch.equal(apply_impulse_responses(waves, torch.ones(2, 3), 0.0, generator=seeded()), waves)


def test_impulse_responses_convolve():
    waves = torch.randn(3, 50, generator=seeded(), dtype=torch.float64)
    delta = torch.zeros(1, 4, dtype=torch.float64)
    delta[0, 2] = 0.5
    heard = apply_impulse_responses(waves, delta, 1.0, generator=seeded())
    torch.testing.assert_close(heard[:, 2:], 0.5 * waves[:, :-2])
    assert heard[:, :2].abs().max() < 1e-12


def test_what_cannot_be_is_named():
    x = features()
    with pytest.raises(ConfigError, match="alpha is 0"):
        mix_clips(x, 0, generator=seeded())
    with pytest.raises(ConfigError, match="probability is 2"):
        mix_band_statistics(x, probability=2, generator=seeded())
    with pytest.raises(ConfigError, match=r"probability is -0\.1"):
        apply_impulse_responses(x[..., 0], torch.ones(1, 2), -0.1, generator=seeded())
    with pytest.raises(ValueError, match="responses have shape"):
        apply_impulse_responses(x[..., 0], torch.ones(3), generator=seeded())


def test_a_stretch_of_another_clip_counts_by_its_length():
    features = torch.arange(6.0)[:, None, None].expand(6, 200, 2).contiguous()
    mixed = cut_and_mix_clips(features, 1.0, generator=torch.Generator().manual_seed(0))
    for clip in range(6):
        own = mixed.features[clip, :, 0] == clip
        if int(mixed.partner[clip]) != clip:
            assert own.float().mean().item() == pytest.approx(mixed.share[clip].item())
            assert 0.5 <= mixed.share[clip] <= 1
            taken = mixed.features[clip, ~own, 0]
            assert (taken == mixed.partner[clip]).all()
            assert own.int().diff().abs().sum() <= 2  # in one piece
    assert len(set(mixed.share.tolist())) > 3
    again = cut_and_mix_clips(features, 1.0, generator=torch.Generator().manual_seed(0))
    assert torch.equal(again.features, mixed.features)
    with pytest.raises(ConfigError, match="alpha is 0"):
        cut_and_mix_clips(features, 0.0, generator=torch.Generator())
