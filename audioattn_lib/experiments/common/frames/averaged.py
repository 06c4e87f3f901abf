r"""Frames of a pretrained encoder, several averaged to one.

An encoder has a frame every 10 or 20 ms, and its neighbours differ little. With the mean of ``step`` of them, a pooling
reads and trains on ``1 / step`` of the frames. The store keeps the frames of the encoder: another step costs nothing.

Book page: ``urban_sound_recordings``.
"""

from __future__ import annotations

from typing import Self

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from audioattn_lib.data.loading.arrays import ArrayStore
from audioattn_lib.data.loading.batches import Store

from .encoder import PretrainedFrames

__all__ = ["AveragedFrames", "average_frames"]

_CLIPS = 256


def average_frames(
    features: Float[Tensor, "batch frames width"], lengths: Int[Tensor, " batch"], step: int
) -> tuple[Float[Tensor, "batch groups width"], Int[Tensor, " batch"]]:
    r"""Mean of every ``step`` neighbouring frames, :math:`\bar h_g = \frac1n \sum_{t = gs}^{gs + n - 1} h_t`.

    The last group of a clip has what is left, :math:`n \le s` frames; padding is in no mean.

    Parameters
    ----------
    features, lengths
        Frames, and how many of each clip are valid, from 1.
    step
        Frames of a group, at least 1.

    Returns
    -------
    features, lengths
        A frame a group, 0 on padding, and their number, ``ceil(lengths / step)``.

    Notes
    -----
    Book page: ``urban_sound_recordings``.
    """
    batch, n_frames, width = features.shape
    groups = -(-n_frames // step)
    valid = (torch.arange(groups * step, device=features.device) < lengths[:, None])[..., None]  # (B, G * s, 1)
    padded = nn.functional.pad(features, (0, 0, 0, groups * step - n_frames)).where(valid, 0.0)
    counts = valid.reshape(batch, groups, step, 1).sum(dim=2).clamp(min=1)
    sums = padded.reshape(batch, groups, step, width).sum(dim=2)
    return sums / counts, -(-lengths // step)


class AveragedFrames(nn.Module):
    """Front end from waveforms ``(B, N)`` to averages of a pretrained encoder's frames ``(B, T, width)``.

    Parameters
    ----------
    frames
        The encoder.
    step
        Frames of an average, at least 1.

    Attributes
    ----------
    sample_rate, n_mels, win_length, bands
        Of the encoder.
    clock
        Seconds from average to average, and of the beginning of the first.

    Notes
    -----
    Book page: ``urban_sound_recordings``.
    """

    def __init__(self, frames: PretrainedFrames, step: int) -> None:
        super().__init__()
        self.frames, self.step = frames, step
        self.sample_rate, self.n_mels, self.bands = frames.sample_rate, frames.n_mels, frames.bands
        self.win_length = frames.win_length
        self.clock = (step * frames.clock[0], frames.clock[1])
        self.identity = f"{frames.identity}, means of {step}"

    @property
    def frequencies(self) -> Tensor:
        """Centres of the bands of the pictures in hertz."""
        return self.frames.frequencies

    def train(self, mode: bool = True) -> Self:
        """Stay in evaluation mode."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, waveforms: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Averages ``(B, T, width)``, 0 on padding, and how many each clip has."""
        features, counts = self.frames(waveforms, lengths)
        return average_frames(features, counts, self.step)

    def average(self, store: Store) -> ArrayStore:
        """Averages of all frames of a store, in memory as float32."""
        n_frames = -(-store.n_frames // self.step)
        features = torch.zeros(len(store), int(n_frames.max()), self.n_mels)
        for first in range(0, len(store), _CLIPS):
            rows = np.arange(first, min(first + _CLIPS, len(store)))
            frames, counts = store.batch(rows)
            means, _ = average_frames(frames, counts, self.step)
            features[first : first + len(rows), : means.shape[1]] = means
        return ArrayStore(features, n_frames)
