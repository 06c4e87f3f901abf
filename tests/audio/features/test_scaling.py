"""Laws of the scaling of decibels."""

import pytest
import torch

from audioattn_lib.audio.features.log_mel import LogMel
from audioattn_lib.audio.features.scaling import DecibelScaling
from audioattn_lib.core.errors import ConfigError


def spectrogram(samples=8000):
    waveform = torch.randn(2, samples, generator=torch.Generator().manual_seed(0)) * torch.linspace(0, 1, samples)
    return LogMel(top_db=None)(waveform, torch.tensor([samples, samples // 2]))


@pytest.mark.parametrize("top_db", [40.0, 70.0])
def test_the_loudest_value_is_one_and_the_threshold_minus_one(top_db):
    decibels, n_frames = spectrogram()
    scaled = DecibelScaling(top_db)(decibels, n_frames)
    for clip, count in enumerate(n_frames):
        there, here = decibels[clip, :count], scaled[clip, :count]
        assert here.max() == 1
        assert ((here == -1) == (there <= there.max() - top_db)).all()
        inside = here > -1
        torch.testing.assert_close(((here + 1) / 2 * top_db)[inside], (there - there.max() + top_db)[inside])
        assert scaled[clip, count:].eq(0).all()


def test_one_spectrogram_serves_every_threshold():
    decibels, n_frames = spectrogram()
    for top_db in (40.0, 60.0):
        # cut first at 80 dB, as a front end may: what lies deeper than both thresholds is gone either way
        cut = LogMel(top_db=80.0)
        assert cut.top_db > top_db
        kept = torch.maximum(decibels, decibels.amax(dim=(1, 2), keepdim=True) - 80)
        scale = DecibelScaling(top_db)
        torch.testing.assert_close(scale(decibels, n_frames)[0], scale(kept, n_frames)[0])


def test_padding_and_company_change_nothing():
    decibels, n_frames = spectrogram()
    scale = DecibelScaling(50)
    dirty = decibels.clone()
    dirty[1, n_frames[1] :] = torch.nan
    torch.testing.assert_close(scale(dirty, n_frames), scale(decibels, n_frames))
    torch.testing.assert_close(scale(decibels[1:, : n_frames[1]]), scale(decibels, n_frames)[1:, : n_frames[1]])


def test_a_reference_keeps_the_level_and_its_absence_removes_it():
    decibels, n_frames = spectrogram()
    louder = decibels + 6
    torch.testing.assert_close(DecibelScaling(50)(louder, n_frames), DecibelScaling(50)(decibels, n_frames))
    fixed = DecibelScaling(120, reference=float(louder.max()))
    torch.testing.assert_close(
        fixed(louder)[0] - fixed(decibels)[0], torch.full_like(decibels[0], 6 / 60), atol=2e-5, rtol=0
    )


@pytest.mark.parametrize("options", [{"top_db": 0.0}, {"top_db": -40.0}, {"reference": float("nan")}])
def test_impossible_values_are_refused(options):
    with pytest.raises(ConfigError, match=next(iter(options))):
        DecibelScaling(**options)
