"""The network of the comparison: each frame alone through a small encoder, a mechanism, a classifier.

Book page: ``comparison``.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from audioattn_lib.attention.record.record import AttentionRecord, FrameClock

from .mechanisms import Mechanism

__all__ = ["PooledNetwork", "count_memory"]


class PooledNetwork(nn.Module):
    """Two layers for each frame alone, a mechanism, a linear classifier.

    No layer before the mechanism sees a neighbour: a frame of weight zero changes nothing behind it.

    Parameters
    ----------
    n_mels
        Bands of a frame, at least 1; standardised.
    mechanism
        How frames become one vector.
    hidden_size
        Width of a frame behind the encoder, at least 1.
    n_classes
        Scores, at least 1.
    clock
        Time of the frames.
    """

    def __init__(self, n_mels: int, mechanism: Mechanism, hidden_size: int, n_classes: int, clock: FrameClock) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Linear(n_mels, hidden_size), nn.ReLU(), nn.Linear(hidden_size, hidden_size), nn.ReLU()
        )
        self.pooling = mechanism.build(hidden_size)
        width = getattr(self.pooling, "out_features", hidden_size)
        self.classifier = nn.Linear(int(width), n_classes)
        self.clock = clock

    def forward(self, features: Tensor, lengths: Tensor, *, record: bool = False) -> tuple[Tensor, AttentionRecord]:
        """Logits ``(B, C)`` of standardised log-mel frames ``(B, T, F)``, and the record, empty unless asked for."""
        hidden = self.encoder(features)  # (B, T, H)
        context, recorded = self.pooling(hidden, lengths, clock=self.clock, record=record)
        return self.classifier(context), recorded


def count_memory(network: PooledNetwork, features: Tensor, lengths: Tensor) -> float:
    """Bytes a clip that the mechanism keeps for its gradient, beside the frames themselves.

    Every tensor counts once, however often it is kept.
    """
    hidden = network.encoder(features).detach().requires_grad_()
    parameters = {parameter.data_ptr() for parameter in network.pooling.parameters()}
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in parameters | {hidden.data_ptr()}:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        context, _ = network.pooling(hidden, lengths, clock=network.clock)
    del context
    return sum(kept.values()) / len(features)
