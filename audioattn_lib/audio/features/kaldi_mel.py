r"""The published front end of the audio transformers: pre-emphasis, Kaldi's filters, and edges that move in training.

.. math:: X_{t,m} = 10 \log_{10} \Bigl(\sum_f W_{f,m}\,\bigl|\textstyle\sum_n w_n\,
   y_{th+n-n_{\mathrm{fft}}/2}\,e^{-2\pi i f n/n_{\mathrm{fft}}}\bigr|^2 + 10^{-5}\Bigr),
   \qquad y_n = x_{n+1} - 0.97\,x_n

with a symmetric Hann window in the middle of the transform, triangles of height
1 that are straight in mels, and the sound mirrored at both of its ends.

Source: the code released with Koutini et al., *Efficient training of audio
transformers with patchout*, Interspeech 2022, which that of Mu, Xia and Che,
ICME 2023, shares. Book page: ``scenes_published``.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from ...core.errors import ConfigError
from .log_mel import frame_mask, mel_filters

__all__ = ["PUBLISHED_MEAN", "PUBLISHED_STD", "KaldiMel"]

_PRE_EMPHASIS = 0.97
_OFFSET = 1e-5
_DECIBELS = 10.0 / math.log(10.0)

PUBLISHED_MEAN = -4.5 * _DECIBELS
"""Mean that published networks subtract, in decibels; their input is :math:`(\\ln p + 4.5) / 5`, p the power."""
PUBLISHED_STD = 5.0 * _DECIBELS
"""Scale that published networks divide by, in decibels."""


class KaldiMel(nn.Module):
    """Log-mel decibels of pre-emphasised sound under Kaldi's filters, whose edges a caller may move.

    Parameters
    ----------
    sample_rate
        Rate of the waveforms in hertz, at least 1000.
    n_mels
        Bands, at least 1.
    f_min, f_max
        Lowest and highest edge in hertz, ``0 <= f_min < f_max <= sample_rate / 2``;
        None is half the sample rate. The published values are 0 and, for scenes, 15000.
    win_length, hop_length
        Seconds of the window and from one frame to the next, above 0; the
        transform is the power of two from the window on: 25 ms at 32 kHz are
        800 samples in a transform of 1024.

    Notes
    -----
    The published code has natural logarithms; these are the same in decibels, as
    in all of this library. A clip of :math:`N` samples has
    :math:`\\lfloor (N - 1) / h \\rfloor + 1` frames. Book page: ``scenes_published``.
    """

    window: Tensor
    weights: Tensor
    frequencies: Tensor

    def __init__(
        self,
        sample_rate: int = 32_000,
        n_mels: int = 128,
        f_min: float = 0.0,
        f_max: float | None = None,
        *,
        win_length: float = 0.025,
        hop_length: float = 0.01,
    ) -> None:
        super().__init__()
        f_max = sample_rate / 2 if f_max is None else f_max
        if sample_rate < 1000:
            raise ConfigError(f"sample_rate is {sample_rate}; it must be at least 1000 hertz")
        if n_mels < 1:
            raise ConfigError(f"n_mels is {n_mels}; it must be at least 1")
        for name, seconds in (("win_length", win_length), ("hop_length", hop_length)):
            if round(seconds * sample_rate) < 1:
                raise ConfigError(f"{name} is {seconds} s; it must hold at least one sample at {sample_rate} Hz")
        self.sample_rate, self.n_mels = sample_rate, n_mels
        self.f_min, self.f_max = float(f_min), float(f_max)
        self._check_edges(self.f_min, self.f_max)
        samples, self.hop_length = round(win_length * sample_rate), round(hop_length * sample_rate)
        self.n_fft = 1 << max(samples - 1, 1).bit_length()
        self.identity = (
            f"KaldiMel/1(sample_rate={sample_rate}, n_mels={n_mels}, f_min={self.f_min}, f_max={self.f_max}, "
            f"win_length={samples}, hop_length={self.hop_length})"
        )
        first = (self.n_fft - samples) // 2
        hann = torch.hann_window(samples, periodic=False, dtype=torch.float64)
        weights, centres = self._filters(self.f_min, self.f_max)
        self.register_buffer("window", F.pad(hann, (first, self.n_fft - samples - first)), persistent=False)
        self.register_buffer("weights", weights, persistent=False)
        self.register_buffer("frequencies", centres, persistent=False)

    @property
    def clock(self) -> tuple[float, float]:
        """Period and start of the frames in seconds: frame ``t`` is centred on ``t * period``."""
        period = self.hop_length / self.sample_rate
        return period, -period / 2

    def count_frames(self, lengths: Int[Tensor, batch]) -> Int[Tensor, batch]:
        """Frames of clips of ``lengths`` samples."""
        return (lengths - 1) // self.hop_length + 1

    def draw_edges(self, f_min_range: int, f_max_range: int, *, generator: torch.Generator) -> tuple[float, float]:
        r"""Edges moved by chance, for one batch in training.

        :math:`f_{\min} + u` and :math:`f_{\max} + \lfloor r/2 \rfloor - v` with whole hertz :math:`u` and
        :math:`v` drawn evenly below ``f_min_range`` and ``f_max_range`` :math:`= r`; ranges of 0 and 1 move nothing.

        Notes
        -----
        Book page: ``scenes_published``.
        """
        low, high = (
            int(torch.randint(max(width, 1), (), generator=generator, device=generator.device))
            for width in (f_min_range, f_max_range)
        )
        return self.f_min + low, self.f_max + f_max_range // 2 - high

    def forward(
        self,
        waveforms: Float[Tensor, "batch samples"],
        lengths: Int[Tensor, batch] | None = None,
        *,
        edges: tuple[float, float] | None = None,
    ) -> tuple[Float[Tensor, "batch frames mels"], Int[Tensor, batch]]:
        """Decibels, 0 on padding, and valid frames of each clip.

        Parameters
        ----------
        waveforms, lengths
            Samples, and how many of each clip are valid, at least 2; None: all are.
        edges
            Lowest and highest edge in hertz of the filters of this batch; by default those of the module.

        Raises
        ------
        ValueError
            When a clip has fewer than two samples, which leave nothing after pre-emphasis.
        """
        if lengths is None:
            lengths = torch.full((len(waveforms),), waveforms.shape[1], device=waveforms.device)
        lengths = lengths.to(waveforms.device)
        if int(lengths.min()) < 2:
            raise ValueError(f"lengths begin at {int(lengths.min())}; a clip must have at least 2 samples")
        weights = self.weights
        if edges is not None:
            self._check_edges(*edges)
            weights = self._filters(*edges)[0].to(waveforms.device)
        dtype = torch.float64 if waveforms.dtype == torch.float64 else torch.float32
        with torch.autocast(waveforms.device.type, enabled=False):
            x = waveforms.to(dtype)
            x = self._mirror(x[:, 1:] - _PRE_EMPHASIS * x[:, :-1], lengths - 1)
            n_frames = self.count_frames(lengths)
            frames = x.unfold(1, self.n_fft, self.hop_length)[:, : int(n_frames.max())] * self.window.to(dtype)
            spectrum = torch.view_as_real(torch.fft.rfft(frames))
            power = spectrum.square().sum(dim=-1) @ weights.to(dtype)
            decibels = 10.0 * torch.log10(power + _OFFSET)
        valid = frame_mask(n_frames, decibels.shape[1])[..., None]
        return torch.where(valid, decibels, 0.0), n_frames

    def _mirror(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Each clip with half a transform of its own mirror image on both sides; a short one is mirrored on and on."""
        half = self.n_fft // 2
        position = torch.arange(-half, x.shape[1] + half, device=x.device)
        period = (2 * (lengths - 1)).clamp(min=1)[:, None]
        phase = position.abs() % period
        return x.gather(1, torch.minimum(phase, (period - phase).clamp(max=x.shape[1] - 1)))

    def _filters(self, f_min: float, f_max: float) -> tuple[Tensor, Tensor]:
        return mel_filters(self.sample_rate, self.n_fft, self.n_mels, f_min, f_max, filters="mel_triangle")

    def _check_edges(self, f_min: float, f_max: float) -> None:
        if not 0 <= f_min < f_max <= self.sample_rate / 2:
            raise ConfigError(
                f"f_min is {f_min} and f_max {f_max} Hz; they must satisfy 0 <= f_min < f_max <= {self.sample_rate / 2}"
            )
