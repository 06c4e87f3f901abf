r"""Scores of frames: how well each one answers what the attention asks.

Book page: ``from_softmax_to_sparsemax``.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..errors import ConfigError

__all__ = ["AdditiveScorer"]


class AdditiveScorer(nn.Module):
    r"""Additive scores, :math:`z_t = v^\top \tanh(W h_t + b)`.

    Parameters
    ----------
    features
        Width :math:`H` of the frames, at least 1.
    hidden_size
        Rows of :math:`W`, at least 1.
    scaled
        Divide the scores by :math:`\sqrt H`.

    Notes
    -----
    :math:`W`, :math:`b` and :math:`v` start uniform in plus or minus one over the
    square root of their inputs, as published. Sources: Bahdanau et al., *Neural
    machine translation by jointly learning to align and translate*, ICLR 2015,
    section 3.1; Martins et al., JMLR 2022, audio experiments. Book page:
    ``from_softmax_to_sparsemax``.
    """

    def __init__(self, features: int, hidden_size: int = 128, *, scaled: bool = False) -> None:
        super().__init__()
        for name, value in (("features", features), ("hidden_size", hidden_size)):
            if value < 1:
                raise ConfigError(f"{name} is {value}; it must be at least 1")
        self.hidden = nn.Linear(features, hidden_size)
        self.vector = nn.Linear(hidden_size, 1, bias=False)
        self.scale = 1 / math.sqrt(features) if scaled else 1.0

    def forward(self, values: Float[Tensor, "batch *places features"]) -> Float[Tensor, batch * places]:
        """Score of every frame, or of what else has a place, in at least float32."""
        scores = self.vector(torch.tanh(self.hidden(values))).squeeze(-1)
        scores = scores.to(torch.promote_types(scores.dtype, torch.float32))
        return scores if self.scale == 1 else scores * self.scale
