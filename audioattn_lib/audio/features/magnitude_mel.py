r"""The published features of the speaker and accent systems: logarithms of mel-weighted magnitudes.

.. math:: X_{t,m} = \ln \max\Bigl(1, \sum_f W_{f,m}\,\bigl|\textstyle\sum_n w_n\, y_{th+n}\,
   e^{-2\pi i f n/n_{\mathrm{fft}}}\bigr|\Bigr),
   \qquad y_n = 32768\,(x_n - 0.97\,x_{n-1})

with a Hamming window of 25 ms in the middle of the transform, a hop of 10 ms and
80 triangles of height 1 on Slaney's scale.

Source: the code released with India, Safari and Hernando, ICASSP 2021. Book
page: ``accents_published``.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from ...core.errors import ConfigError
from .log_mel import frame_mask, mel_filters

__all__ = ["MagnitudeMel"]

_FULL_SCALE = 32768.0
_PRE_EMPHASIS = 0.97


class MagnitudeMel(nn.Module):
    """Published log-mel magnitudes of 16-bit-scaled, pre-emphasised sound, without centring.

    Parameters
    ----------
    sample_rate
        Rate of the waveforms in hertz, at least 1000.
    n_fft
        Length of the transform, at least 25 ms; 512 in the speaker system and
        2048 in the accent system.
    n_mels
        Bands, at least 1.

    Notes
    -----
    A clip shorter than the transform is filled up with zeros to one frame. The
    published code takes the rate of the file, so its bands move with it; here
    sounds are resampled first. Book page: ``accents_published``.
    """

    window: Tensor
    weights: Tensor
    frequencies: Tensor

    def __init__(self, sample_rate: int = 16_000, n_fft: int = 512, n_mels: int = 80) -> None:
        super().__init__()
        win_length, hop_length = round(0.025 * sample_rate), round(0.010 * sample_rate)
        if sample_rate < 1000:
            raise ConfigError(f"sample_rate is {sample_rate}; it must be at least 1000 hertz")
        if n_fft < win_length:
            raise ConfigError(f"n_fft is {n_fft}; at {sample_rate} Hz it must be at least {win_length} samples, 25 ms")
        if n_mels < 1:
            raise ConfigError(f"n_mels is {n_mels}; it must be at least 1")
        self.sample_rate, self.n_fft, self.n_mels, self.hop_length = sample_rate, n_fft, n_mels, hop_length
        self.identity = f"MagnitudeMel/1(sample_rate={sample_rate}, n_fft={n_fft}, n_mels={n_mels})"
        first = (n_fft - win_length) // 2
        window = F.pad(torch.hamming_window(win_length, dtype=torch.float64), (first, n_fft - win_length - first))
        weights, centres = mel_filters(sample_rate, n_fft, n_mels, scale="slaney")
        self.register_buffer("window", window, persistent=False)
        self.register_buffer("weights", weights, persistent=False)
        self.register_buffer("frequencies", centres, persistent=False)

    @property
    def clock(self) -> tuple[float, float]:
        """Period and start of the frames in seconds: frame ``t`` is centred half a transform behind ``t * period``."""
        period = self.hop_length / self.sample_rate
        return period, self.n_fft / 2 / self.sample_rate - period / 2

    def count_frames(self, lengths: Int[Tensor, batch]) -> Int[Tensor, batch]:
        """Frames of clips of ``lengths`` samples."""
        return (lengths - self.n_fft).clamp(min=0) // self.hop_length + 1

    def forward(
        self, waveforms: Float[Tensor, "batch samples"], lengths: Int[Tensor, batch] | None = None
    ) -> tuple[Float[Tensor, "batch frames mels"], Int[Tensor, batch]]:
        """Features, 0 on padding, and valid frames of each clip."""
        if lengths is None:
            lengths = torch.full((len(waveforms),), waveforms.shape[1], device=waveforms.device)
        dtype = torch.float64 if waveforms.dtype == torch.float64 else torch.float32
        with torch.autocast(waveforms.device.type, enabled=False):
            x = waveforms.to(dtype) * frame_mask(lengths, waveforms.shape[1]) * _FULL_SCALE
            x = x - _PRE_EMPHASIS * F.pad(x, (1, 0))[:, :-1]
            # the first sample has none before it and takes itself
            x = torch.cat([x[:, :1] * (1 - _PRE_EMPHASIS), x[:, 1:]], dim=1)
            x = x * frame_mask(lengths, x.shape[1])
            x = F.pad(x, (0, max(0, self.n_fft - x.shape[1])))
            n_frames = self.count_frames(lengths)
            frames = x.unfold(1, self.n_fft, self.hop_length)[:, : int(n_frames.max())] * self.window.to(dtype)
            magnitudes = torch.fft.rfft(frames).abs() @ self.weights.to(dtype)
            features = magnitudes.clamp(min=1.0).log()
        return features * frame_mask(n_frames, features.shape[1])[..., None], n_frames
