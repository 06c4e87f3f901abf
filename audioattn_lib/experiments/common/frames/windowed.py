r"""Frames of a pretrained encoder for clips of any length: windows side by side, neighbouring frames averaged.

An encoder of pretrained frames hears some seconds at most, and what it makes of a frame depends on all others that it
hears. Windows of one length give clips of 10 s and of 5 minutes the same kind of frames.

Book page: ``mixtures_results``.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Self

import torch
from torch import Tensor, nn

from audioattn_lib.core.errors import ConfigError

from .averaged import average_frames
from .encoder import PretrainedFrames

__all__ = ["WindowedFrames"]


class WindowedFrames(nn.Module):
    """Frames of an encoder, from waveforms ``(B, N)`` to ``(B, T, width)``; an extractor of a feature store.

    Parameters
    ----------
    frames
        The encoder.
    window
        Seconds that it hears at a time, above 0; the last window of a clip is what is left, joined to the one before
        where it is shorter than half a window.
    averaged
        Frames of the encoder that are averaged to one, at least 1; the last one of a window averages what is left.

    Notes
    -----
    Book page: ``mixtures_results``.
    """

    def __init__(self, frames: PretrainedFrames, window: float = 10.0, averaged: int = 4) -> None:
        super().__init__()
        if not window > 0 or averaged < 1:
            raise ConfigError(f"window is {window} and averaged is {averaged}; they must be above 0, and at least 1")
        self.frames, self.window, self.averaged = frames, window, averaged
        self.sample_rate, self.n_mels = frames.sample_rate, frames.n_mels
        period, start = frames.clock
        self._clock = (period * averaged, start)
        self.identity = f"{frames.identity}, windows of {window} s, {averaged} frames averaged"

    @property
    def clock(self) -> tuple[float, float]:
        """Period and start of the averaged frames in seconds."""
        return self._clock

    def train(self, mode: bool = True) -> Self:
        """Stay in evaluation mode."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, waveforms: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Frames ``(B, T, width)``, 0 on padding, and how many each clip has.

        Raises
        ------
        AudioError
            As :meth:`.PretrainedFrames.forward`.
        """
        if lengths is None:
            lengths = torch.full((len(waveforms),), waveforms.shape[1], device=waveforms.device)
        clips = [self._clip(waveforms[row, :length]) for row, length in enumerate(lengths.tolist())]
        counts = torch.tensor([len(clip) for clip in clips], device=lengths.device)
        return nn.utils.rnn.pad_sequence(clips, batch_first=True), counts

    def _clip(self, samples: Tensor) -> Tensor:
        """Averaged frames of one clip, window by window."""
        size = round(self.window * self.sample_rate)
        count = max(1, round(len(samples) / size))
        bounds = [*(size * index for index in range(count)), len(samples)]
        windows = [samples[first:last] for first, last in pairwise(bounds)]
        return torch.cat([self._average(window) for window in windows])

    def _average(self, window: Tensor) -> Tensor:
        """Averaged frames ``(T, width)`` of the samples of one window."""
        features, counts = self.frames(window[None])
        return average_frames(features, counts, self.averaged)[0][0]
