"""Impulse responses of devices: from a folder and drawn, of energy 1, and of minimum phase with the gain asked for."""

import numpy as np
import pytest
import torch

from audioattn_lib.audio import io
from audioattn_lib.core.errors import ConfigError
from audioattn_lib.data.impulse_responses import draw_impulse_responses, read_impulse_responses
from audioattn_lib.data.synthetic.instruments import Device


def test_a_folder_of_sounds(tmp_path):
    rng = np.random.default_rng(0)
    for name, n in (("b", 300), ("a/a", 500), ("long", 20000)):
        io.write(tmp_path / f"{name}.wav", (0.1 * rng.standard_normal(n)).astype(np.float32), 16000)
    (tmp_path / "notes.txt").write_text("no sound")
    responses = read_impulse_responses(tmp_path, 16000)
    assert responses.shape == (3, 16000)
    torch.testing.assert_close(responses.square().sum(dim=1), torch.ones(3))
    assert (responses[0, 500:] == 0).all()
    assert read_impulse_responses(tmp_path, 8000).shape == (3, 8000)


def test_what_is_no_response_is_named(tmp_path):
    with pytest.raises(ConfigError, match="no impulse responses; give a folder with one sound a device"):
        read_impulse_responses(tmp_path, 16000)
    io.write(tmp_path / "quiet.wav", np.zeros(100, dtype=np.float32), 16000)
    with pytest.raises(ConfigError, match=r"quiet\.wav: is silent"):
        read_impulse_responses(tmp_path, 16000)
    for count, rate, taps in ((0, 16000, 9), (1, 10, 9), (1, 16000, 0)):
        with pytest.raises(ConfigError, match="must be at least"):
            draw_impulse_responses(count, rate, taps=taps)


def test_drawn_devices_differ_and_are_the_same_again():
    responses = draw_impulse_responses(4, 16000)
    assert responses.shape == (4, 512)
    torch.testing.assert_close(responses.square().sum(dim=1), torch.ones(4))
    assert torch.equal(responses, draw_impulse_responses(4, 16000))
    assert not torch.equal(responses, draw_impulse_responses(4, 16000, seed=1))
    assert torch.unique(responses[:, 0]).numel() == 4


@pytest.mark.parametrize("sample_rate", [16000, 22050])
def test_a_response_has_the_gain_of_its_device_and_comes_early(sample_rate):
    device = Device.draw(np.random.default_rng(1), 8.0)
    response = device.impulse_response(4000, sample_rate)
    frequencies = np.fft.rfftfreq(4000, 1 / sample_rate)
    inside = (frequencies > 100) & (frequencies < 7000)
    measured = np.abs(np.fft.rfft(response))
    np.testing.assert_allclose(measured[inside], device.gain(frequencies)[inside], rtol=0.02)
    energy = np.cumsum(response**2) / np.sum(response**2)
    assert energy[sample_rate // 100] > 0.98
