"""Time-delay layers of ECAPA-TDNN: dilated convolutions at several scales, gated by channel.

Tensors are ``(B, C, T)``. A convolution sees zeros beyond both ends of a clip,
whether the batch is padded there or not.

Source: Desplanques, Thienpondt and Demuynck, *ECAPA-TDNN: Emphasized channel
attention, propagation and aggregation in TDNN based speaker verification*,
Interspeech 2020, sections 2 and 3. Book page: ``urban_sound``.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from audioattn_lib.core.errors import ConfigError

from ..layers.common import MaskedBatchNorm1d, masked_mean

__all__ = ["FrameLayers", "Res2NetBlock", "SERes2NetBlock", "SqueezeExcitation", "TDNNBlock"]

Frames = Float[Tensor, "batch channels frames"]
Mask = Bool[Tensor, "batch 1 frames"] | None


class TDNNBlock(nn.Module):
    """Dilated convolution over time, ReLU, batch normalisation; length unchanged.

    Parameters
    ----------
    in_channels, out_channels
        Channels before and after, at least 1.
    kernel_size
        Frames under the kernel, odd so that the length stays.
    dilation
        Frames from one tap of the kernel to the next, at least 1.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int = 1, dilation: int = 1) -> None:
        super().__init__()
        _require_positive(in_channels=in_channels, out_channels=out_channels, dilation=dilation)
        if kernel_size < 1 or kernel_size % 2 == 0:
            raise ConfigError(f"kernel_size is {kernel_size}; it must be an odd number of frames, so that lengths stay")
        margin = dilation * (kernel_size // 2)
        self.convolution = nn.Conv1d(in_channels, out_channels, kernel_size, padding=margin, dilation=dilation)
        self.norm = MaskedBatchNorm1d(out_channels)

    def forward(self, inputs: Frames, mask: Mask = None) -> Float[Tensor, "batch out frames"]:
        """Apply the block; the result is undefined on padded frames."""
        if mask is not None and self.convolution.kernel_size[0] > 1:
            inputs = inputs.masked_fill(~mask, 0.0)
        return self.norm(F.relu(self.convolution(inputs)), mask)


class Res2NetBlock(nn.Module):
    r"""Convolutions in a hierarchy of channel groups, so that one block sees several time scales.

    The channels are cut into ``scale`` groups :math:`x_1 \dots x_s`; the first
    passes, and each next one is convolved together with the result before it:
    :math:`y_1 = x_1`, :math:`y_2 = K_2(x_2)`, :math:`y_i = K_i(x_i + y_{i-1})`.

    Parameters
    ----------
    channels
        A multiple of ``scale``.
    kernel_size, dilation
        As for :class:`TDNNBlock`.
    scale
        Groups, at least 2.

    Notes
    -----
    Source: Gao et al., *Res2Net*, TPAMI 2021, section 3.
    """

    def __init__(self, channels: int, kernel_size: int = 3, dilation: int = 1, scale: int = 8) -> None:
        super().__init__()
        if scale < 2 or channels < 1 or channels % scale:
            raise ConfigError(f"scale is {scale} for {channels} channels; it must be at least 2 and divide them")
        width = channels // scale
        self.blocks = nn.ModuleList(TDNNBlock(width, width, kernel_size, dilation) for _ in range(scale - 1))

    def forward(self, inputs: Frames, mask: Mask = None) -> Frames:
        """Apply the hierarchy."""
        first, *groups = inputs.chunk(len(self.blocks) + 1, dim=1)
        results = [first]
        for i, (block, group) in enumerate(zip(self.blocks, groups, strict=True)):
            results.append(block(group + results[-1] if i else group, mask))
        return torch.cat(results, dim=1)


class SqueezeExcitation(nn.Module):
    r"""Squeeze-and-excitation: gates of the channels from statistics of the whole clip.

    .. math:: y_t = x_t \odot \sigma(W_2\,\mathrm{relu}(W_1 \bar x + b_1) + b_2)

    with :math:`\bar x` the mean over the valid frames.

    Parameters
    ----------
    channels
        Channels in and out.
    bottleneck
        Rows of :math:`W_1`, at least 1.

    Notes
    -----
    Source: Hu et al., *Squeeze-and-excitation networks*, CVPR 2018, section 3.
    """

    def __init__(self, channels: int, bottleneck: int = 128) -> None:
        super().__init__()
        _require_positive(channels=channels, bottleneck=bottleneck)
        self.squeeze = nn.Linear(channels, bottleneck)
        self.excite = nn.Linear(bottleneck, channels)

    def forward(self, inputs: Frames, mask: Mask = None) -> Frames:
        """Scale the channels."""
        mean = masked_mean(inputs, mask, dim=2).squeeze(2).to(self.squeeze.weight.dtype)  # (B, C)
        gate = torch.sigmoid(self.excite(F.relu(self.squeeze(mean))))
        return inputs * gate.to(inputs.dtype)[..., None]


class SERes2NetBlock(nn.Module):
    """Pointwise convolution, Res2Net hierarchy, pointwise convolution, gates; added to its input.

    Parameters
    ----------
    in_channels, out_channels
        Where they differ, a pointwise convolution carries the input over.
    kernel_size, dilation, scale
        As for :class:`Res2NetBlock`.
    bottleneck
        As for :class:`SqueezeExcitation`.

    Notes
    -----
    Source: Desplanques et al., Interspeech 2020, section 3.2 and figure 1.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 3,
        dilation: int = 1,
        *,
        scale: int = 8,
        bottleneck: int = 128,
    ) -> None:
        super().__init__()
        self.enter = TDNNBlock(in_channels, out_channels)
        self.scales = Res2NetBlock(out_channels, kernel_size, dilation, scale)
        self.leave = TDNNBlock(out_channels, out_channels)
        self.gates = SqueezeExcitation(out_channels, bottleneck)
        self.shortcut = nn.Conv1d(in_channels, out_channels, 1) if in_channels != out_channels else None

    def forward(self, inputs: Frames, mask: Mask = None) -> Float[Tensor, "batch out frames"]:
        """Apply the block."""
        carried = inputs if self.shortcut is None else self.shortcut(inputs)
        changed = self.leave(self.scales(self.enter(inputs, mask), mask), mask)
        return carried + self.gates(changed, mask)


class FrameLayers(nn.Module):
    """Frame-level layers of ECAPA-TDNN, from ``(B, T, n_mels)`` to ``(B, T, channels[-1])``.

    A :class:`TDNNBlock`, a row of :class:`SERes2NetBlock`, and a pointwise
    :class:`TDNNBlock` over the outputs of all of the row (multi-layer feature
    aggregation).

    Parameters
    ----------
    n_mels
        Bands of the features.
    channels, kernel_sizes, dilations
        One entry a layer, at least three layers.
    scale
        Groups of the Res2Net blocks; divides the channels of the row.
    bottleneck
        Of the squeeze-and-excitation gates.
    summed_residuals
        Feed each block of the row the sum of the outputs of all layers before it,
        as in the paper's final system, instead of the last one alone; their
        widths must then be equal.

    Notes
    -----
    Source: Desplanques et al., Interspeech 2020, section 3 and figure 2. Book
    page: ``urban_sound``.
    """

    def __init__(
        self,
        n_mels: int,
        channels: Sequence[int] = (1024, 1024, 1024, 1024, 3072),
        kernel_sizes: Sequence[int] = (5, 3, 3, 3, 1),
        dilations: Sequence[int] = (1, 2, 3, 4, 1),
        *,
        scale: int = 8,
        bottleneck: int = 128,
        summed_residuals: bool = True,
    ) -> None:
        super().__init__()
        if not len(channels) == len(kernel_sizes) == len(dilations) >= 3:
            raise ConfigError(
                f"channels, kernel_sizes and dilations have {len(channels)}, {len(kernel_sizes)} and "
                f"{len(dilations)} entries; give one of each per layer, for at least three layers"
            )
        if summed_residuals and len(set(channels[:-1])) > 1:
            raise ConfigError(
                f"channels are {tuple(channels)}; outputs of different widths cannot be summed: make all but the last "
                "equal, or set summed_residuals to False"
            )
        self.first = TDNNBlock(n_mels, channels[0], kernel_sizes[0], dilations[0])
        self.blocks = nn.ModuleList(
            SERes2NetBlock(
                channels[i - 1], channels[i], kernel_sizes[i], dilations[i], scale=scale, bottleneck=bottleneck
            )
            for i in range(1, len(channels) - 1)
        )
        self.aggregate = TDNNBlock(sum(channels[1:-1]), channels[-1], kernel_sizes[-1], dilations[-1])
        self.summed_residuals = summed_residuals
        self.out_features = channels[-1]

    def forward(
        self, features: Float[Tensor, "batch frames mels"], mask: Bool[Tensor, "batch frames"] | None
    ) -> Float[Tensor, "batch frames channels"]:
        """Encode each frame with its neighbours; the result is undefined on padded frames."""
        valid = None if mask is None else mask[:, None]  # (B, 1, T)
        x = features.transpose(1, 2)  # (B, n_mels, T)
        if valid is not None:
            x = x.masked_fill(~valid, 0.0)  # NaN on padding would pass through every gradient
        x = self.first(x, valid)  # (B, C, T)
        outputs = []
        for block in self.blocks:
            outputs.append(block(x, valid))
            x = x + outputs[-1] if self.summed_residuals else outputs[-1]
        return self.aggregate(torch.cat(outputs, dim=1), valid).transpose(1, 2)  # (B, T, C)


def _require_positive(**values: int) -> None:
    for name, value in values.items():
        if value < 1:
            raise ConfigError(f"{name} is {value}; it must be at least 1")
