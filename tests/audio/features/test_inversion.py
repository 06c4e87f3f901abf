"""Laws of the way back from a log-mel spectrogram."""

import pytest
import torch

from audioattn_lib.audio.features.inversion import invert_mel
from audioattn_lib.audio.features.log_mel import LogMel
from audioattn_lib.core.errors import ConfigError

RATE = 16000


def glide():
    times = torch.arange(RATE) / RATE
    sound = torch.sin(2 * torch.pi * (300 * times + 400 * times**2))
    return sound * (times > 0.3)


@pytest.mark.parametrize(("n_fft", "hop"), [(1280, 640), (1024, 256)])
def test_the_sound_has_nearly_the_spectrogram_that_it_was_made_from(n_fft, hop):
    front_end = LogMel(RATE, n_fft, None, hop, 64, scale="slaney", norm="slaney", top_db=60.0)
    wanted = front_end(glide()[None])[0][0]
    sound = invert_mel(wanted, front_end)
    assert len(sound) == (len(wanted) - 1) * hop
    assert sound.abs().max() == pytest.approx(0.9)
    features = front_end(sound[None])[0][0]
    loud = wanted > wanted.max() - 20
    difference = (features - features.max()) - (wanted - wanted.max())
    assert difference[loud].abs().median() < 3
    sounding = torch.arange(len(wanted)) * hop > 0.4 * RATE
    sounding[-3:] = False
    assert (features.argmax(dim=1) - wanted.argmax(dim=1)).abs()[sounding].max() <= 1


def test_it_is_the_same_each_time_and_level_does_not_matter():
    front_end = LogMel(RATE, 512, None, 256, 32, top_db=None)
    wanted = front_end(glide()[None, :4000])[0][0]
    torch.testing.assert_close(invert_mel(wanted, front_end), invert_mel(wanted - 30, front_end), atol=1e-3, rtol=0)


def test_what_cannot_be_undone_is_refused():
    with pytest.raises(ConfigError, match="normalisation is 'mean'"):
        invert_mel(torch.zeros(3, 80), LogMel.published())
    with pytest.raises(ConfigError, match="n_iterations is 0"):
        invert_mel(torch.zeros(3, 80), LogMel(), n_iterations=0)
