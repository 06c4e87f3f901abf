"""The attentive convolutional recurrent network for environmental sounds.

``features (B, T, n_mels)`` -> convolutions ``(B, T, C)`` -> recurrent layer
(optional) -> attention over time ``(B, H)`` -> classifier ``(B, classes)``.
The published configuration has one convolution and, despite the name, no
recurrent layer (Martins et al., JMLR 2022, and the code released with it).

Padding changes nothing: convolutions, pooling and batch statistics see only
the frames that belong to a clip.

Book page: ``urban_sound``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypedDict

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from ..attention.pooling.frames import Traced
from ..attention.record.record import AttentionRecord, FrameClock
from ..core.errors import ConfigError
from ..core.tensors import is_exporting
from .layers.common import MaskedBatchNorm1d, frame_mask, subtract_mean
from .layers.window_maximum import window_maximum

__all__ = [
    "ACRNN",
    "NORMALISATIONS",
    "PRESETS",
    "ClipNormalisation",
    "ConvolutionBlock",
    "ConvolutionalFront",
    "CorpusNormalisation",
    "MaskedBatchNorm1d",
    "MedianNormalisation",
    "RecurrentLayer",
]


class FrontShape(TypedDict):
    """Widths, kernels and pools of the blocks of a front."""

    channels: tuple[int, ...]
    kernel_sizes: tuple[int, ...]
    pool_sizes: tuple[int, ...]


PRESETS: dict[str, FrontShape] = {
    "published": {"channels": (128,), "kernel_sizes": (5,), "pool_sizes": (3,)},
    "four_convolutions": {"channels": (128,) * 4, "kernel_sizes": (7, 11, 31, 51), "pool_sizes": (3,) * 4},
    "pointwise": {"channels": (128,), "kernel_sizes": (1,), "pool_sizes": (1,)},
    "frames": {"channels": (), "kernel_sizes": (), "pool_sizes": ()},
}
"""Blocks of the front by name; ``"frames"`` has none, so that attention reads the features themselves."""


class ClipNormalisation(nn.Module):
    """Subtract from each clip the mean of its valid frames, as published.

    What does not change during a clip is gone: its level, and the spectrum of a steady sound.
    """

    def forward(
        self, features: Float[Tensor, "batch frames mels"], mask: Bool[Tensor, "batch frames"] | None
    ) -> Float[Tensor, "batch frames mels"]:
        """Centre each clip; padding becomes 0."""
        return subtract_mean(features, mask)


class MedianNormalisation(nn.Module):
    """Subtract from each band of a clip its median over the valid frames: the background, where events are short.

    The mean of a clip holds part of its events, so subtracting it writes their
    negative into every other frame; the median of a band does not notice
    events that fill less than half of the clip.
    """

    def forward(
        self, features: Float[Tensor, "batch frames mels"], mask: Bool[Tensor, "batch frames"] | None
    ) -> Float[Tensor, "batch frames mels"]:
        """Centre each clip; padding becomes 0."""
        if mask is None and is_exporting():
            mask = torch.ones_like(features[..., 0], dtype=torch.bool)
        if mask is None:
            return features - features.median(dim=1, keepdim=True).values
        padding = ~mask[..., None]
        if is_exporting():  # other programs have no median
            ordered = features.masked_fill(padding, float("inf")).sort(dim=1).values
            middle = (mask.sum(dim=1) - 1).div(2, rounding_mode="floor")[:, None, None]
            median = ordered.gather(1, middle.expand(-1, 1, features.shape[2]))
        else:
            median = features.masked_fill(padding, float("nan")).nanmedian(dim=1, keepdim=True).values
        return (features - median).masked_fill(padding, 0.0)


class CorpusNormalisation(nn.Module):
    """Subtract from each band its mean over the training clips and divide by its standard deviation.

    Steady sounds keep their spectrum. :meth:`fit` sets the two numbers of each
    band; they belong to the weights and are saved with them.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, n_features: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(n_features))
        self.register_buffer("std", torch.ones(n_features))

    @torch.no_grad()
    def fit(self, frames: Float[Tensor, "frames mels"]) -> None:
        """Take mean and standard deviation (at least 1e-5) over all frames of the training clips."""
        self.mean.copy_(frames.mean(dim=0))
        self.std.copy_(frames.std(dim=0, correction=0).clamp(min=1e-5))

    def forward(
        self, features: Float[Tensor, "batch frames mels"], mask: Bool[Tensor, "batch frames"] | None
    ) -> Float[Tensor, "batch frames mels"]:
        """Standardise each band; padding becomes 0."""
        standard = (features - self.mean) / self.std
        return standard if mask is None else standard * mask[..., None]


class ConvolutionBlock(nn.Module):
    """Convolution over time, batch normalisation, max pooling of stride 1, ReLU, dropout; length unchanged.

    Parameters
    ----------
    in_channels, out_channels
        Channels before and after, at least 1.
    kernel_size, pool_size
        Frames, odd so that the length stays; a pool of 1 is none.
    batch_norm
        Normalise over the batch.
    dropout
        In [0, 1).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 5,
        pool_size: int = 3,
        *,
        batch_norm: bool = True,
        dropout: float = 0.15,
    ) -> None:
        super().__init__()
        for name, value in (("kernel_size", kernel_size), ("pool_size", pool_size)):
            if value < 1 or value % 2 == 0:
                raise ConfigError(f"{name} is {value}; it must be an odd number of frames, so that lengths stay")
        self.convolution = nn.Conv1d(in_channels, out_channels, kernel_size, padding=kernel_size // 2)
        self.norm = MaskedBatchNorm1d(out_channels) if batch_norm else None
        self.pool_size = pool_size
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, inputs: Float[Tensor, "batch channels frames"], mask: Bool[Tensor, "batch 1 frames"] | None
    ) -> Float[Tensor, "batch out frames"]:
        """Apply the block; padded frames of the result are 0."""
        x = self.convolution(inputs if mask is None else inputs * mask)
        if self.norm is not None:
            x = self.norm(x, mask)
        if self.pool_size > 1:
            # A maximum over the border must not see padding: it is what a shorter clip would see, nothing.
            x = x if mask is None else x.masked_fill(~mask, float("-inf"))
            x = window_maximum(x, self.pool_size)
        x = self.dropout(F.relu(x))
        return x if mask is None else x.masked_fill(~mask, 0.0)


class ConvolutionalFront(nn.Module):
    """Blocks of convolutions over time, from ``(B, T, n_mels)`` to ``(B, T, channels[-1])``."""

    def __init__(
        self,
        n_mels: int,
        channels: Sequence[int] = (128,),
        kernel_sizes: Sequence[int] = (5,),
        pool_sizes: Sequence[int] = (3,),
        *,
        batch_norm: bool = True,
        dropout: float = 0.15,
    ) -> None:
        super().__init__()
        if not len(channels) == len(kernel_sizes) == len(pool_sizes):
            raise ConfigError(
                f"channels, kernel_sizes and pool_sizes have {len(channels)}, {len(kernel_sizes)} and "
                f"{len(pool_sizes)} entries; each block needs one of each"
            )
        widths = [n_mels, *channels]
        self.blocks = nn.ModuleList(
            ConvolutionBlock(i, o, k, p, batch_norm=batch_norm, dropout=dropout)
            for i, o, k, p in zip(widths, channels, kernel_sizes, pool_sizes, strict=False)
        )
        self.out_features = widths[-1]

    def forward(
        self, features: Float[Tensor, "batch frames mels"], mask: Bool[Tensor, "batch frames"] | None
    ) -> Float[Tensor, "batch frames channels"]:
        """Encode each frame with its neighbours."""
        if not self.blocks:
            return features
        x = features.transpose(1, 2)  # (B, n_mels, T)
        for block in self.blocks:
            x = block(x, None if mask is None else mask[:, None])
        return x.transpose(1, 2)  # (B, T, C)


class RecurrentLayer(nn.Module):
    """A GRU or LSTM over the valid frames, from ``(B, T, C)`` to ``(B, T, size)``, twice the size if bidirectional."""

    def __init__(self, in_features: int, size: int, kind: str = "gru", *, bidirectional: bool = False) -> None:
        super().__init__()
        kinds: dict[str, Callable[..., nn.RNNBase]] = {"gru": nn.GRU, "lstm": nn.LSTM}
        if kind not in kinds:
            raise ConfigError(f"kind is {kind!r}; it must be one of {', '.join(kinds)}")
        self.layer = kinds[kind](in_features, size, batch_first=True, bidirectional=bidirectional)
        self.out_features = size * (2 if bidirectional else 1)

    def forward(
        self, inputs: Float[Tensor, "batch frames channels"], lengths: Int[Tensor, " batch"] | None
    ) -> Float[Tensor, "batch frames out"]:
        """Run over time; padded frames of the result are 0."""
        if is_exporting():
            raise ConfigError(
                "a recurrent layer cannot be exported: its steps are as many as frames; train with recurrent = none"
            )
        if lengths is None:
            return self.layer(inputs)[0]
        packed = pack_padded_sequence(inputs, lengths.cpu(), batch_first=True, enforce_sorted=False)
        return pad_packed_sequence(self.layer(packed)[0], batch_first=True, total_length=inputs.shape[1])[0]


NORMALISATIONS: dict[str, Callable[[int], nn.Module | None]] = {
    "clip": lambda n_features: ClipNormalisation(),
    "median": lambda n_features: MedianNormalisation(),
    "corpus": CorpusNormalisation,
    "none": lambda n_features: None,
}


class ACRNN(nn.Module):
    r"""Front, optional recurrence, any attention of this library, and a linear classifier.

    Parameters
    ----------
    front
        From ``(B, T, n_mels)`` and a mask to ``(B, T, C)``; has ``out_features``.
    attention
        From ``(B, T, H)`` and lengths to a context ``(B, H)``, or of its ``out_features``, and a record.
    classifier
        From ``(B, H)`` to ``(B, classes)``.
    recurrent
        From ``(B, T, C)`` and lengths to ``(B, T, H)``; none by default, as published.
    normalisation
        From features and mask to features; :class:`ClipNormalisation` as published, :class:`CorpusNormalisation`, or
        none.
    clock
        Time of the frames, for the record.

    Notes
    -----
    :meth:`preset` makes the published settings (``"published"`` has 69,514
    parameters with 80 mel bands and 10 classes). Source: Martins et al.,
    *Sparse continuous distributions and Fenchel-Young losses*, JMLR 2022,
    audio experiments. Book page: ``urban_sound``.
    """

    def __init__(
        self,
        front: nn.Module,
        attention: nn.Module,
        classifier: nn.Module,
        *,
        recurrent: RecurrentLayer | None = None,
        normalisation: nn.Module | None = None,
        clock: FrameClock = FrameClock(),
    ) -> None:
        super().__init__()
        self.front = front
        self.recurrent = recurrent
        self.attention = attention
        self.classifier = classifier
        self.normalisation = normalisation
        self.clock = clock

    @classmethod
    def preset(
        cls,
        name: str,
        n_mels: int,
        n_classes: int,
        attention: Callable[[int], nn.Module],
        *,
        clock: FrameClock = FrameClock(),
        dropout: float = 0.15,
        recurrent: str = "none",
        recurrent_size: int = 128,
        bidirectional: bool = False,
        normalise: str = "clip",
    ) -> ACRNN:
        """A published configuration, ``"published"`` or ``"four_convolutions"``; ``"pointwise"``, each frame alone; or
        ``"frames"``, without a front.

        ``attention`` is given the width of its values and makes the module, whose context is as wide unless it has
        ``out_features``;
        ``recurrent`` is ``"none"``, ``"gru"`` or ``"lstm"``; ``normalise`` is
        ``"clip"`` (published), ``"median"``, ``"corpus"`` (then fit ``normalisation`` to the
        training clips) or ``"none"``.
        """
        if name not in PRESETS:
            raise ConfigError(f"model is {name!r}; it must be one of {', '.join(PRESETS)}")
        if normalise not in NORMALISATIONS:
            raise ConfigError(f"normalise is {normalise!r}; it must be one of {', '.join(NORMALISATIONS)}")
        front = ConvolutionalFront(n_mels, **PRESETS[name], dropout=dropout)
        width, layer = front.out_features, None
        if recurrent != "none":
            layer = RecurrentLayer(width, recurrent_size, recurrent, bidirectional=bidirectional)
            width = layer.out_features
        pooling = attention(width)
        return cls(
            front,
            pooling,
            nn.Linear(getattr(pooling, "out_features", width), n_classes),
            recurrent=layer,
            normalisation=NORMALISATIONS[normalise](n_mels),
            clock=clock,
        )

    def encode(
        self, features: Float[Tensor, "batch frames mels"], lengths: Int[Tensor, " batch"] | None = None
    ) -> Float[Tensor, "batch frames hidden"]:
        """The values that attention reads: one vector a frame, 0 on padding."""
        mask = frame_mask(lengths, features.shape[1], features.device)  # (B, T)
        if self.normalisation is not None:
            features = self.normalisation(features, mask)
        hidden = self.front(features, mask)
        return hidden if self.recurrent is None else self.recurrent(hidden, lengths)

    def forward(
        self,
        features: Float[Tensor, "batch frames mels"],
        lengths: Int[Tensor, " batch"] | None = None,
        *,
        record: bool = False,
    ) -> tuple[Float[Tensor, "batch classes"], AttentionRecord]:
        """Compute the logits of each clip, and the record if asked for."""
        hidden = self.encode(features, lengths)  # (B, T, H)
        context, attended = self.attention(hidden, lengths, clock=self.clock, record=record)  # (B, H)
        return self.classifier(context), attended

    def trace(
        self,
        features: Float[Tensor, "batch frames mels"],
        lengths: Int[Tensor, " batch"] | None = None,
        *,
        alpha: Float[Tensor, ""] | None = None,
    ) -> Traced:
        """Compute the logits of each clip, and the fields of the record as tensors by name.

        With ``alpha``, the attention is of that entmax, or of that family of densities, in place of its own.
        """
        options = {} if alpha is None else {"alpha": alpha}
        hidden = self.encode(features, lengths)
        context, fields = self.attention.trace(hidden, lengths, clock=self.clock, **options)  # type: ignore[operator, union-attr]
        return self.classifier(context), fields
