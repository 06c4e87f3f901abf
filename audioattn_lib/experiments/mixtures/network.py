"""Network of the study on mixtures: a layer that sees each frame alone, a pooling, a classifier.

Book page: ``mixtures_results``.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from audioattn_lib.attention.pooling.frames import MeanAttention
from audioattn_lib.attention.pooling.maximum import MaxAttention
from audioattn_lib.attention.pooling.registry import build_attention
from audioattn_lib.attention.record.record import AttentionRecord, FrameClock
from audioattn_lib.models.layers.statistics_pooling import MeanStatisticsPooling

from .config import ATTENTIONS, Config

__all__ = ["PoolingNetwork", "Whitening", "build_network"]

_SMALLEST = 1e-4
"""Least deviation of a principal component, relative to the largest."""


class Whitening(nn.Module):
    r"""Principal components of frames, each of variance 1: :math:`y = \Lambda^{-1/2} U^\top (x - \mu)`.

    :meth:`fit` sets them; they are no parameters.

    Parameters
    ----------
    features
        Width of the frames.
    components
        Components kept, at most as many.
    """

    mean: Tensor
    directions: Tensor

    def __init__(self, features: int, components: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("directions", torch.eye(features, min(components, features)))

    @torch.no_grad()
    def fit(self, frames: Tensor) -> None:
        """Take mean and directions from the frames of the training clips, shape ``(frames, features)``."""
        self.mean.copy_(frames.double().mean(dim=0))
        centred = frames - self.mean
        values, vectors = torch.linalg.eigh((centred.T @ centred / len(frames)).double())
        count = self.directions.shape[1]
        deviation = values[-count:].clamp(min=_SMALLEST**2 * float(values[-1])).sqrt()
        directions = vectors[:, -count:] / deviation
        sign = directions.gather(0, directions.abs().argmax(dim=0, keepdim=True)).sign()
        self.directions.copy_((directions * sign).flip(1))

    def forward(self, frames: Tensor) -> Tensor:
        """Components of each frame, ``(..., features)`` to ``(..., components)``."""
        return (frames - self.mean) @ self.directions


class PoolingNetwork(nn.Module):
    """Classifier of pooled frames: frames ``(B, T, F)`` to scores ``(B, C)`` and the record of the pooling.

    Parameters
    ----------
    features
        Width of the frames.
    hidden_size
        Units of the layer that sees each frame alone.
    pooling
        From frames and lengths to context and record.
    context_size
        Width of the context.
    n_classes
        Scores.
    dropout
        Of the context.
    clock
        Time of the frames.
    """

    def __init__(
        self,
        features: int,
        hidden_size: int,
        pooling: nn.Module,
        context_size: int,
        n_classes: int,
        dropout: float,
        clock: FrameClock,
    ) -> None:
        super().__init__()
        self.encoder = nn.Linear(features, hidden_size)
        self.pooling = pooling
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(context_size, n_classes)
        self.clock = clock

    def forward(
        self, frames: Tensor, lengths: Tensor | None = None, *, record: bool = False
    ) -> tuple[Tensor, AttentionRecord]:
        """Scores before softmax, and the record, empty unless it is asked for."""
        hidden = self.encoder(frames).relu()  # (B, T, H)
        context, recorded = self.pooling(hidden, lengths, clock=self.clock, record=record)
        return self.classifier(self.dropout(context)), recorded


def build_network(config: Config, features: int, n_classes: int, clock: FrameClock) -> PoolingNetwork:
    """The network of a configuration, with weights drawn from the global generator; the pooling is drawn last."""
    size = config.hidden_size
    width = 2 * size if config.pooling == "statistics" else size
    network = PoolingNetwork(features, size, MeanAttention(), width, n_classes, config.dropout, clock)
    if config.pooling in ATTENTIONS:
        network.pooling = build_attention(config.pooling, size, hidden_size=config.attention_size)
    elif config.pooling != "mean":
        network.pooling = MaxAttention() if config.pooling == "max" else MeanStatisticsPooling()
    return network
