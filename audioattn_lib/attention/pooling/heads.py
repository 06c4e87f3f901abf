r"""Several attentions side by side, each over its own group of features.

The features of a frame are split into as many groups as there are heads,
:math:`h_t = [h_t^{(1)}; \dots; h_t^{(n)}]`; head :math:`i` scores and reads its
group alone, and the output is the contexts one after another,
:math:`c = [c^{(1)}; \dots; c^{(n)}]`. All heads together have the parameters of the
projections of one, and cost as much each.

Source: India, Safari and Hernando, *Self multi-head attention for speaker
recognition*, Interspeech 2019. Book page: ``from_weights_to_densities``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from audioattn_lib.core.errors import ConfigError

from ..record.density import Density
from ..record.record import AttentionRecord, FrameClock
from .frames import Context, Lengths, Traced, Values

__all__ = ["MultiHeadAttention"]


class MultiHeadAttention(nn.Module):
    r"""Attention with several heads, of any one mechanism, discrete or continuous.

    Parameters
    ----------
    heads
        Attentions over frames, at least 1, of one mechanism and one width: each
        sees its own equal share of the features. Whatever a head learns, its
        :math:`\alpha` included, is its own.

    Attributes
    ----------
    out_features
        Width of the output, the sum over the heads.

    Notes
    -----
    The record has ``weights`` of every head; ``density`` holds the modes of the
    first head, then those of the second and so on, all heads of the same share;
    ``read_weights`` are those of the heads on average.
    :func:`~audioattn_lib.attention.pooling.registry.build_attention` makes one by name.
    Source: India et al., Interspeech 2019. Book page: ``from_weights_to_densities``.
    """

    def __init__(self, heads: Sequence[nn.Module]) -> None:
        super().__init__()
        if not heads:
            raise ConfigError("heads is empty; give at least one attention")
        self.heads = nn.ModuleList(heads)
        self.out_features = sum(head.out_features for head in heads)  # type: ignore[misc]

    def forward(
        self, values: Values, lengths: Lengths = None, *, clock: FrameClock = FrameClock(), record: bool = False
    ) -> tuple[Context, AttentionRecord]:
        """Compute the contexts of each clip head by head, and the record.

        As :meth:`DiscreteAttention.forward <audioattn_lib.attention.pooling.frames.DiscreteAttention.forward>`.

        Raises
        ------
        ValueError
            As there, or if the features do not split into groups of one width.
        """
        results = [
            head(group, lengths, clock=clock, record=record)
            for head, group in zip(self.heads, self._groups(values), strict=True)
        ]
        contexts, records = zip(*results, strict=True)
        return torch.cat(contexts, dim=-1), _side_by_side(records) if record else AttentionRecord.empty()

    def trace(self, values: Values, lengths: Lengths = None, *, clock: FrameClock = FrameClock()) -> Traced:
        """Compute contexts and fields of the record as tensors.

        As :meth:`DiscreteAttention.trace <audioattn_lib.attention.pooling.frames.DiscreteAttention.trace>`.
        """
        results = [
            head.trace(group, lengths, clock=clock)  # type: ignore[operator]
            for head, group in zip(self.heads, self._groups(values), strict=True)
        ]
        contexts, head_fields = zip(*results, strict=True)
        return torch.cat(contexts, dim=-1), _join(head_fields)

    def _groups(self, values: torch.Tensor) -> tuple[torch.Tensor, ...]:
        features, heads = values.shape[-1], len(self.heads)
        if features % heads:
            raise ValueError(f"values have {features} features for {heads} heads; give a multiple of the heads")
        return values.split(features // heads, dim=-1)


def _join(head_fields: Sequence[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """Fields of the record of all heads, from those of each."""
    joined = {
        name: torch.cat([fields[name] for fields in head_fields], dim=1)
        for name in head_fields[0]
        if name != "read_weights"
    }
    if "mode_weight" in joined:
        joined["mode_weight"] = joined["mode_weight"] / len(head_fields)
    if "read_weights" in head_fields[0]:
        joined["read_weights"] = torch.stack([fields["read_weights"] for fields in head_fields]).mean(0)
    return joined


def _side_by_side(records: Sequence[AttentionRecord]) -> AttentionRecord:
    """Join the records of heads over the same clips."""
    first = records[0]
    changes: dict[str, object] = {}
    if first.weights is not None:
        changes["weights"] = np.concatenate([r.weights for r in records if r.weights is not None], axis=1)
    if first.read_weights is not None:
        changes["read_weights"] = np.mean([r.read_weights for r in records if r.read_weights is not None], axis=0)
    if first.density is not None:
        densities = [r.density for r in records if r.density is not None]
        location, variance, alpha, share = (
            np.concatenate([getattr(density, name) for density in densities], axis=1)
            for name in ("location", "variance", "alpha", "mode_weight")
        )
        changes["density"] = Density(location, variance, alpha, share / len(densities))
    return dataclasses.replace(first, **changes)  # type: ignore[arg-type]
