"""Attention under a pattern in a graph for other programs: over all pairs with a mask, for any number of patches.

Book page: ``attention_patterns``.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from ..maps.entmax import entmax
from .dot_product import attend
from .grid import AttentionPattern, PatchGrid, Positions

__all__ = ["ExportedPlan"]

Heads = Float[Tensor, "batch heads tokens features"]


class ExportedPlan:
    """The same as :class:`~audioattn_lib.attention.patterns.kernels.AttentionPlan` without a look at any value.

    Parameters
    ----------
    pattern, grid, n_global, positions, valid, alpha
        As there.

    Notes
    -----
    Book page: ``attention_patterns``.
    """

    def __init__(
        self,
        pattern: AttentionPattern,
        grid: PatchGrid,
        n_global: int,
        *,
        positions: Positions,
        valid: Bool[Tensor, "batch patches"] | None,
        alpha: float,
    ) -> None:
        self.alpha = alpha
        start, stop = pattern.windows(positions, grid)
        edge = (n_global, 0, n_global, 0)
        price = pattern.bias(positions, grid)
        if price is None:
            seen = (positions >= start[:, None]) & (positions < stop[:, None])
            self.mask = F.pad(seen, edge, value=True)  # (tokens, tokens)
        else:
            self.mask = F.pad(price, edge)
        self.valid = None if valid is None else F.pad(valid, (n_global, 0), value=True)  # (B, tokens)

    def parts(self, query: Heads, key: Heads, value: Heads) -> list[Heads]:
        """Context of every token, as one part."""
        return [attend(query, key, value, alpha=self.alpha, mask=self.mask, valid=self.valid)]

    def weights(
        self, query: Heads, key: Heads, *, queries: int | None = None
    ) -> Float[Tensor, "batch heads queries n"]:
        """Weights of the first ``queries`` tokens (all by default) on every token."""
        scores = query[:, :, :queries] @ key.transpose(-1, -2) * query.shape[-1] ** -0.5
        mask = self.mask[:queries]
        scores = scores + mask if mask.is_floating_point() else scores.masked_fill(~mask, -torch.inf)
        if self.valid is not None:
            scores = scores.masked_fill(~self.valid[:, None, None], -torch.inf)
        return entmax(scores, self.alpha)
