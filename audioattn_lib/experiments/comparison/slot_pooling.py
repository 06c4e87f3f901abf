r"""Slots as a pooling: the salient slot is the context, and the frames it took are the attention.

Source: Locatello et al., *Object-centric learning with slot attention*, NeurIPS 2020. Book page: ``comparison``.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from audioattn_lib.attention.pooling.slots import SALIENT, SlotAttention
from audioattn_lib.attention.record.record import AttentionRecord, FrameClock
from audioattn_lib.models.layers.common import frame_mask

__all__ = ["SlotPooling"]


class SlotPooling(nn.Module):
    r"""The first of two slots that compete for the frames, with weights :math:`p_t = a_t / \sum_u a_u` of its shares.

    Parameters
    ----------
    features
        Width :math:`H` of the frames, at least 1.

    Attributes
    ----------
    out_features
        Width of the context, :math:`H`.

    Notes
    -----
    The record holds ``weights``: shares of the salient slot, divided by their sum; equal ones where all shares are 0.
    Book page: ``comparison``.
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        self.slots = SlotAttention(features)
        self.out_features = features

    def forward(
        self, values: Tensor, lengths: Tensor | None = None, *, clock: FrameClock = FrameClock(), record: bool = False
    ) -> tuple[Tensor, AttentionRecord]:
        """Context ``(B, H)`` of frames ``(B, T, H)`` and the record, empty unless it is asked for."""
        slots, shares = self.slots(values, lengths)
        if not record:
            return slots[:, SALIENT], AttentionRecord.empty()
        taken = shares[:, SALIENT].detach().double()
        total = taken.sum(dim=1, keepdim=True)
        # a slot that lost every frame to the other one reads none, with shares of 0: its record prefers none
        mask = frame_mask(lengths, values.shape[1], values.device)
        even = torch.ones_like(taken) if mask is None else mask.to(taken.dtype)
        weights = torch.where(total > 0, taken, even)
        weights = weights / weights.sum(dim=1, keepdim=True)  # (B, T)
        counts = torch.full((len(values),), values.shape[1]) if lengths is None else lengths
        return slots[:, SALIENT], AttentionRecord.from_weights(
            weights, clock, n_frames=counts.tolist(), mechanism="slots"
        )
