r"""Several networks asked as one: the mean of their logits.

Book page: ``scenes_published``.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ..attention.record.record import AttentionRecord
from ..core.errors import ConfigError

__all__ = ["Ensemble"]


class Ensemble(nn.Module):
    r"""The mean of the logits of any number of networks, :math:`\ell = \frac1M \sum_m \ell^{(m)}`.

    Parameters
    ----------
    networks
        At least one, each with the signature of all models and the same classes.

    Notes
    -----
    The record is empty: networks with other patches have no attention in common. Koutini et al., Interspeech 2022, and
    the code released with it. Book page: ``scenes_published``.
    """

    def __init__(self, networks: Iterable[nn.Module]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)
        if not len(self.networks):
            raise ConfigError("networks is empty; an ensemble needs at least one")

    def forward(
        self,
        features: Float[Tensor, "batch frames mels"],
        lengths: Int[Tensor, " batch"] | None = None,
        *,
        record: bool = False,
    ) -> tuple[Float[Tensor, "batch classes"], AttentionRecord]:
        """Mean logits of each clip, and an empty record."""
        each = [network(features, lengths)[0] for network in self.networks]  # M of (B, C)
        return torch.stack(each).mean(dim=0), AttentionRecord.empty()
