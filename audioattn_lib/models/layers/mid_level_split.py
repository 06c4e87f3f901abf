"""A convolutional network that keeps low and high frequencies apart until late: the baseline of the chapter.

``features (B, T, n_mels)`` -> two halves of the bands, each through a residual
network of its own -> joined -> 1 x 1 convolutions -> mean over bands and frames.

Source: McDonnell and Gao, *Acoustic scene classification using deep residual
networks with late fusion of separated high and low frequency paths*, ICASSP
2020, which the code released with Mu, Xia and Che, ICME 2023, compares with.

Book page: ``attention_patterns``.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from audioattn_lib.attention.record.record import AttentionRecord
from audioattn_lib.core.errors import ConfigError

from .common import MaskedBatchNorm1d, frame_mask

__all__ = ["MidLevelSplit"]

_STAGES = 4
Image = Float[Tensor, "batch channels bands frames"]
Mask = Bool[Tensor, "batch 1 1 frames"] | None


class _Convolution(nn.Module):
    """Normalise over the batch, ReLU, convolve; padding is neither counted nor seen."""

    def __init__(self, channels: int, out: int, kernel: int = 3, stride: int = 1, *, activate: bool = True) -> None:
        super().__init__()
        self.norm = MaskedBatchNorm1d(channels)
        self.convolution = nn.Conv2d(channels, out, kernel, (1, stride), kernel // 2, bias=False)
        self.activate = activate

    def forward(self, x: Image, mask: Mask) -> Image:
        x = _normalise(self.norm, x, mask)
        x = F.relu(x) if self.activate else x
        return self.convolution(x if mask is None else x.masked_fill(~mask, 0.0))


class _Block(nn.Module):
    """Residual block of two convolutions; the shortcut pads channels with zeros."""

    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        self.first = _Convolution(channels, out, stride=stride)
        self.second = _Convolution(out, out)
        self.stride = stride

    def forward(self, x: Image, mask: Mask) -> tuple[Image, Mask]:
        y = self.first(x, mask)
        around = x
        if self.stride > 1:
            # The frames that a convolution with this stride is centred on: a mean would mix padding in.
            around = around[..., :: self.stride]
            mask = None if mask is None else mask[..., :: self.stride]
        around = F.pad(around, (0, 0, 0, 0, 0, y.shape[1] - around.shape[1]))
        return around + self.second(y, mask), mask


class MidLevelSplit(nn.Module):
    """Two residual networks of 17 layers over low and high bands, joined before the last convolutions.

    Parameters
    ----------
    n_mels
        Bands, an even number from 2.
    n_classes
        Classes of the output, at least 1.
    channels
        Of the first stage, doubled by each of the three others; 48 as published.

    Notes
    -----
    The signature is that of every model here: it returns logits and an empty
    record, since it attends to nothing. Where the way around a block changes
    its rate, frames are taken, not averaged as published, so that padding
    changes nothing. Book page: ``attention_patterns``.
    """

    def __init__(self, n_mels: int, n_classes: int, channels: int = 48) -> None:
        super().__init__()
        if n_mels < 2 or n_mels % 2:
            raise ConfigError(f"n_mels is {n_mels}; it must be even, since half of the bands go each way")
        if channels < 1:
            raise ConfigError(f"channels is {channels}; it must be at least 1")
        self.n_mels = n_mels
        self.paths = nn.ModuleList(self._path(channels) for _ in range(2))
        width = channels * 2 ** (_STAGES - 1)
        self.join = _Convolution(width, 2 * width, 1)
        self.classify = _Convolution(2 * width, n_classes, 1)
        self.last_norm = MaskedBatchNorm1d(n_classes)
        self.last_norm.weight.requires_grad_(False)  # no scale and shift, as published
        self.last_norm.bias.requires_grad_(False)

    @staticmethod
    def _path(channels: int) -> nn.ModuleList:
        layers: list[nn.Module] = [_Convolution(1, channels, activate=False)]
        width = channels
        for stage in range(_STAGES):
            out = channels * 2**stage
            layers += [_Block(width, out, 1 if stage == 0 else 2), _Block(out, out, 1)]
            width = out
        return nn.ModuleList(layers)

    def forward(
        self,
        features: Float[Tensor, "batch frames mels"],
        lengths: Int[Tensor, " batch"] | None = None,
        *,
        record: bool = False,
    ) -> tuple[Float[Tensor, "batch classes"], AttentionRecord]:
        """Logits of each clip, and an empty record."""
        if features.ndim != 3 or features.shape[2] != self.n_mels:
            raise ConfigError(f"features have shape {tuple(features.shape)}; they must be (B, frames, {self.n_mels})")
        mask = frame_mask(lengths, features.shape[1], features.device)
        valid = None if mask is None else mask[:, None, None]
        image = features.transpose(1, 2)[:, None]  # (B, 1, n_mels, T)
        image = image if valid is None else image.masked_fill(~valid, 0.0)
        halves = []
        for path, half in zip(self.paths, image.chunk(2, dim=2), strict=True):
            x, is_valid = half, valid
            for layer in path.children():
                if isinstance(layer, _Block):
                    x, is_valid = layer(x, is_valid)
                else:
                    x = layer(x, is_valid)
            halves.append(x)
        x = self.classify(self.join(torch.cat(halves, dim=2), is_valid), is_valid)
        x = _normalise(self.last_norm, x, is_valid).mean(dim=2)  # (B, classes, T)
        if is_valid is None:
            return x.mean(dim=2), AttentionRecord.empty()
        count = is_valid[:, 0, 0].sum(dim=1, keepdim=True)
        return x.masked_fill(~is_valid[:, 0], 0.0).sum(dim=2) / count, AttentionRecord.empty()


def _normalise(norm: MaskedBatchNorm1d, x: Tensor, mask: Tensor | None) -> Tensor:
    whole = None if mask is None else mask.expand(-1, 1, *x.shape[2:]).flatten(2)
    return norm(x.flatten(2), whole).view_as(x)
