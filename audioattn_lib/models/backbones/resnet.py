r"""ResNet34 over a spectrogram, with its time axis kept for a pooling to read.

Four stages of 3, 4, 6 and 3 residual blocks of two 3 x 3 convolutions; all
stages but the first halve time and frequency, rounding up. There is no average
over time at the end: what is left of the frequencies of all channels is one
vector for every 8 frames.

Padding changes nothing: it is zeroed before every convolution, and batch
normalisation leaves it out.

Sources: He et al., *Deep residual learning for image recognition*, CVPR 2016,
section 3; a stem of 3 x 3 and stride 1 as usual for speakers: Zeinali et al.,
*BUT system description to VoxCeleb speaker recognition challenge 2019*. Book
page: ``accents``.
"""

from __future__ import annotations

from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from audioattn_lib.core.errors import ConfigError

from ..layers.common import MaskedBatchNorm1d
from .vgg import halved

__all__ = ["ResNet34"]

_BLOCKS = (3, 4, 6, 3)

Image = Float[Tensor, "batch channels frames bands"]
Mask = Bool[Tensor, "batch 1 frames 1"] | None


class ResNet34(nn.Module):
    """ResNet34 with the interface of :class:`~audioattn_lib.models.backbones.vgg.VGG`.

    Parameters
    ----------
    n_mels
        Bands of the spectrogram, at least 1.
    channels
        Of the first stage, at least 1; every following one has twice as many.

    Attributes
    ----------
    out_features
        Width of a frame: 2560 for 80 bands and 32 channels.
    reduction
        Frames that become one, 8.

    Notes
    -----
    Book page: ``accents``.
    """

    reduction = 8

    def __init__(self, n_mels: int, channels: int = 32) -> None:
        super().__init__()
        for name, value in (("n_mels", n_mels), ("channels", channels)):
            if value < 1:
                raise ConfigError(f"{name} is {value}; it must be at least 1")
        self.stem = _Convolution(1, channels)
        blocks: list[nn.Module] = []
        width = channels
        for stage, count in enumerate(_BLOCKS):
            for position in range(count):
                out = channels * 2**stage
                blocks.append(_ResidualBlock(width, out, halve=stage > 0 and position == 0))
                width = out
        self.blocks = nn.ModuleList(blocks)
        self.out_features = width * int(halved(n_mels, len(_BLOCKS) - 1))

    def count_frames(self, lengths: Int[Tensor, " batch"]) -> Int[Tensor, " batch"]:
        """Valid frames of the result for clips of ``lengths`` frames."""
        return halved(lengths, len(_BLOCKS) - 1)  # type: ignore[return-value]

    def forward(
        self, features: Float[Tensor, "batch frames mels"], mask: Bool[Tensor, "batch frames"] | None
    ) -> Float[Tensor, "batch reduced features"]:
        """One vector for every 8 frames, 0 on padding."""
        valid = None if mask is None else mask[:, None, :, None]
        x = features[:, None]  # (B, 1, T, F)
        x = F.relu(self.stem(_clear(x, valid), valid))
        for block in self.blocks:
            x, valid = block(_clear(x, valid), valid)
        return _clear(x, valid).transpose(1, 2).flatten(2)  # (B, T', C * F')


class _Convolution(nn.Module):
    """Convolution and batch normalisation over the valid frames of the result."""

    def __init__(self, in_channels: int, out_channels: int, size: int = 3, *, stride: int = 1) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(in_channels, out_channels, size, stride, size // 2, bias=False)
        self.norm = MaskedBatchNorm1d(out_channels)

    def forward(self, inputs: Image, valid: Mask) -> Image:
        """Inputs are zero on padding; ``valid`` says which frames of the result are not."""
        x = self.convolution(inputs)
        shape = x.shape
        mask = None if valid is None else valid.expand(-1, -1, -1, shape[3]).flatten(2)
        return self.norm(x.flatten(2), mask).view(shape)


class _ResidualBlock(nn.Module):
    def __init__(self, in_channels: int, out_channels: int, *, halve: bool) -> None:
        super().__init__()
        self.stride = 2 if halve else 1
        self.first = _Convolution(in_channels, out_channels, stride=self.stride)
        self.second = _Convolution(out_channels, out_channels)
        changes = halve or in_channels != out_channels
        self.shortcut = _Convolution(in_channels, out_channels, 1, stride=self.stride) if changes else None

    def forward(self, inputs: Image, valid: Mask) -> tuple[Image, Mask]:
        """The result and which of its frames are valid; inputs are zero on padding."""
        valid = None if valid is None else valid[:, :, :: self.stride]
        x = _clear(F.relu(self.first(inputs, valid)), valid)
        x = self.second(x, valid)
        x = x + (inputs if self.shortcut is None else self.shortcut(inputs, valid))
        return F.relu(x), valid


def _clear(x: Image, valid: Mask) -> Image:
    return x if valid is None else x.masked_fill(~valid, 0.0)
