"""Dropout of heads with an exact probability.

Source: India, Safari and Hernando, *Double multi-head attention for speaker
verification*, ICASSP 2021. Book page: ``accents``.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor, nn

from audioattn_lib.core.errors import ConfigError

__all__ = ["HeadDropout"]


class HeadDropout(nn.Module):
    r"""Choose heads to leave out in training, each with the same probability, and never all of them.

    Each head is dropped with probability :math:`p` exactly: as many as a binomial
    number conditioned on being below :math:`H`, whose rate is such that the mean
    is :math:`pH`, and any set of that size is as likely.

    Parameters
    ----------
    heads
        :math:`H`, at least 1.
    probability
        :math:`p`, from 0 to below :math:`(H-1)/H`.

    Notes
    -----
    The published code asks for ``mask_prob`` and drops with
    ``1 / int(1 / mask_prob)``: a third for 0.3, and at times every head. Book page:
    ``accents``.
    """

    cumulative: Tensor

    def __init__(self, heads: int, probability: float) -> None:
        super().__init__()
        if not 0 <= probability < max((heads - 1) / heads, 1e-12):
            below = "0" if heads == 1 else f"in [0, {(heads - 1) / heads:.4g})"
            raise ConfigError(
                f"head_dropout is {probability}; with {heads} head{'s' * (heads > 1)} it must be {below}, "
                "since one head has to stay"
            )
        self.probability = probability
        self.register_buffer("cumulative", torch.as_tensor(_dropped_heads(heads, probability)), persistent=False)

    def forward(self, batch: int) -> Bool[Tensor, "batch heads"] | None:
        """True where a head stays; None where all do."""
        if not self.training or not self.probability:
            return None
        device = self.cumulative.device
        count = torch.searchsorted(self.cumulative, torch.rand(batch, device=device, dtype=torch.float64), right=True)
        rank = torch.rand(batch, len(self.cumulative), device=device).argsort(dim=1).argsort(dim=1)
        return rank >= count[:, None].clamp(max=len(self.cumulative) - 1)

    def extra_repr(self) -> str:
        """Show the options."""
        return f"heads={len(self.cumulative)}, probability={self.probability:g}"


def _dropped_heads(heads: int, probability: float) -> np.ndarray:
    """Cumulative probability of dropping 0, 1, ... ``heads - 1`` heads, with mean ``probability * heads``."""
    from scipy import optimize, stats

    counts = np.arange(heads)

    def shares(rate: float) -> np.ndarray:
        each = stats.binom.pmf(counts, heads, rate)
        return each / each.sum()

    if not probability:
        return np.ones(heads)
    rate = optimize.brentq(lambda rate: shares(rate) @ counts - probability * heads, 0.0, 1 - 1e-9, xtol=1e-14)
    return np.cumsum(shares(float(rate)))
