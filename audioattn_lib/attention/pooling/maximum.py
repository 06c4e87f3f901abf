r"""Maximum of every feature over the frames of a clip: a reference that chooses frames feature by feature.

Book page: ``urban_sound_recordings``.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..record.record import AttentionRecord, FrameClock
from ._padding import Padding, to_record
from .frames import Context, Lengths, Traced, Values

__all__ = ["MaxAttention"]


class MaxAttention(nn.Module):
    r"""Max pooling, :math:`c_i = \max_t h_{t,i}`: the largest value of every feature.

    It has no parameters. The record holds ``weights``: the share of the features that have their maximum in a frame, in
    the first one of equals. Book page: ``urban_sound_recordings``.
    """

    def forward(
        self, values: Values, lengths: Lengths = None, *, clock: FrameClock = FrameClock(), record: bool = False
    ) -> tuple[Context, AttentionRecord]:
        """Compute the context of each clip, and its record; as
        :meth:`~audioattn_lib.attention.pooling.frames.DiscreteAttention.forward`.
        """
        padding = Padding(values, lengths)
        context, places = _largest(values, padding)
        if not record:
            return context, AttentionRecord.empty()
        return context, to_record("max", clock, padding, weights=_shares(places, values.shape[1]))

    def trace(self, values: Values, lengths: Lengths = None, *, clock: FrameClock = FrameClock()) -> Traced:
        """Compute the context, and the fields of the record as tensors by name."""
        context, places = _largest(values, Padding(values, lengths))
        return context, {"weights": _shares(places, values.shape[1])[:, None]}


def _largest(values: Tensor, padding: Padding) -> tuple[Tensor, Tensor]:
    """Largest values ``(B, H)`` and their frames ``(B, H)``."""
    if padding.mask is not None:
        values = values.masked_fill(~padding.mask[..., None], float("-inf"))
    context, places = values.max(dim=1)
    return context, places


def _shares(places: Tensor, n_frames: int) -> Tensor:
    """Share of the features with their maximum in each frame, ``(B, T)``."""
    return F.one_hot(places, n_frames).to(torch.float32).mean(dim=1)
