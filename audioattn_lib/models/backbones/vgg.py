r"""VGG backbones: a spectrogram as an image, halved again and again, its time axis kept.

Each block is two 3 x 3 convolutions with ReLU and a 2 x 2 maximum that rounds
up, so :math:`T` frames become :math:`\lceil T/2 \rceil`. What is left of the
frequencies of all channels is one vector a frame, channel after channel.

Padding changes nothing: it is zeroed before every convolution, as the border
of a shorter clip is, and a maximum over values that are at least 0 does not
notice zeros.

Source: India, Safari and Hernando, *Double multi-head attention for speaker
verification*, ICASSP 2021, and the code released with it. Book page:
``accents``.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from audioattn_lib.core.errors import ConfigError
from audioattn_lib.core.tensors import is_exporting

__all__ = ["VGG", "halved"]

LEAST_BLOCKS, MOST_BLOCKS = 1, 6


def halved(lengths: Int[Tensor, " batch"] | int, times: int) -> Int[Tensor, " batch"] | int:
    """Numbers of frames after halving them so many times, rounding up each time."""
    for _ in range(times):
        lengths = (lengths + 1) // 2
    return lengths


class VGG(nn.Module):
    r"""VGG with :math:`n` blocks, of :math:`K/2^{n-1}, \dots, K/2, K` channels.

    Parameters
    ----------
    n_mels
        Bands of the spectrogram, at least 1.
    channels
        :math:`K` of the last block, a multiple of :math:`2^{n-1}`; 1024 as published.
    n_blocks
        :math:`n` from 1 to 6: 4 is the published VGG4L, 3 its VGG3L.

    Attributes
    ----------
    out_features
        Width of a frame, :math:`K \lceil F / 2^n \rceil`: 5120 for 80 bands and 1024 channels in four blocks.
    reduction
        Frames that become one, :math:`2^n`.

    Raises
    ------
    ConfigError
        If a number is out of its range.

    Notes
    -----
    Weights start He-normal; the published code leaves them to the framework.
    Book page: ``accents``.
    """

    def __init__(self, n_mels: int, channels: int = 1024, n_blocks: int = 4) -> None:
        super().__init__()
        if not LEAST_BLOCKS <= n_blocks <= MOST_BLOCKS:
            raise ConfigError(f"n_blocks is {n_blocks}; it must be from {LEAST_BLOCKS} to {MOST_BLOCKS}")
        if n_mels < 1:
            raise ConfigError(f"n_mels is {n_mels}; it must be at least 1")
        first = 2 ** (n_blocks - 1)
        if channels < first or channels % first:
            raise ConfigError(
                f"channels is {channels}; with {n_blocks} blocks it must be a multiple of {first}, "
                "since each block has twice as many as the one before"
            )
        widths = [1, *(channels // 2**i for i in reversed(range(n_blocks)))]
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Conv2d(i, o, 3, padding=1), nn.Conv2d(o, o, 3, padding=1)) for i, o in pairwise(widths)
        )
        for convolution in self.modules():
            if isinstance(convolution, nn.Conv2d):
                # what goes through eight layers without normalisation would otherwise fade to their biases
                nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
                nn.init.zeros_(convolution.bias)  # type: ignore[arg-type]
        # with few channels, what a pixel has of all of them is best read in one go
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.n_blocks = n_blocks
        self.reduction = 2**n_blocks
        self.out_features = channels * int(halved(n_mels, n_blocks))

    def count_frames(self, lengths: Int[Tensor, " batch"]) -> Int[Tensor, " batch"]:
        """Valid frames of the result for clips of ``lengths`` frames."""
        return halved(lengths, self.n_blocks)  # type: ignore[return-value]

    def forward(
        self, features: Float[Tensor, "batch frames mels"], mask: Bool[Tensor, "batch frames"] | None
    ) -> Float[Tensor, "batch reduced features"]:
        """One vector for every ``reduction`` frames, 0 on padding."""
        x = features[:, None]  # (B, 1, T, F)
        padding = None if mask is None else ~mask[:, None, :, None]
        if padding is not None:
            x = x.masked_fill(padding, 0.0)
        for block in self.blocks:
            first, second = block.children()
            # neither convolution needs its result for its gradient, so that is changed in place
            x = F.relu(_clear(first(x), padding), inplace=True)
            # the larger of two and what is above 0 may be taken in either order; this one has a quarter to do
            x = F.relu(_pool(_clear(second(x), padding)), inplace=True)
            # a pooled frame is valid if its first one is
            padding = None if padding is None else padding[:, :, ::2]
        return x.transpose(1, 2).flatten(2)  # (B, T', C * F')


def _pool(x: Tensor) -> Tensor:
    """The largest of 2 x 2 values, and of 0 where a half is missing in a graph for export: no ReLU is below."""
    if not is_exporting():
        return F.max_pool2d(x, 2, ceil_mode=True)
    x = torch.maximum(x[:, :, ::2], F.pad(x, (0, 0, 0, 1))[:, :, 1::2])  # pooling would fix the number of frames
    return torch.maximum(x[..., ::2], F.pad(x, (0, 1))[..., 1::2])


def _clear(x: Tensor, padding: Tensor | None) -> Tensor:
    """Zeros on padding, in place."""
    return x if padding is None else x.masked_fill_(padding, 0.0)
