"""Maximum over time of each channel: the pooling of detectors that need one loud frame and no weights.

Book page: ``mixtures_results``.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from audioattn_lib.attention.pooling._padding import Padding, to_record
from audioattn_lib.attention.record.record import AttentionRecord, FrameClock

__all__ = ["MaxPooling"]


class MaxPooling(nn.Module):
    r"""Maximum pooling, :math:`c_k = \max_t h_{t,k}`. It has no parameters.

    The record holds the share of the channels whose maximum lies in a frame,
    :math:`w_t = \frac1H |\{k : t = \arg\max_s h_{s,k}\}|`.

    Notes
    -----
    Book page: ``mixtures_results``.
    """

    def forward(
        self,
        values: Float[Tensor, "batch frames features"],
        lengths: Int[Tensor, " batch"] | None = None,
        *,
        clock: FrameClock = FrameClock(),
        record: bool = False,
    ) -> tuple[Float[Tensor, "batch features"], AttentionRecord]:
        """Compute the maxima of each clip, and its record.

        Parameters
        ----------
        values, lengths, clock, record
            As in :meth:`~audioattn_lib.attention.pooling.frames.DiscreteAttention.forward`.
        """
        padding = Padding(values, lengths)
        if padding.mask is not None:
            values = values.masked_fill(~padding.mask[..., None], -torch.inf)
        context, frames = values.max(dim=1)
        if not record:
            return context, AttentionRecord.empty()
        weights = F.one_hot(frames, values.shape[1]).to(torch.float32).mean(dim=1)  # (B, T)
        return context, to_record("max", clock, padding, weights=weights)
