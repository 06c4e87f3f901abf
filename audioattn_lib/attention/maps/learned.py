r"""Alpha-entmax whose alpha is learned, one for all or one a head.

Source: Correia, Niculae and Martins, *Adaptively sparse transformers*, EMNLP
2019, section 3. Book page: ``from_softmax_to_sparsemax``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from audioattn_lib.core.errors import ConfigError

from .entmax import entmax

__all__ = ["LearnedEntmax"]


class LearnedEntmax(nn.Module):
    r"""Alpha-entmax with :math:`\alpha = 1 + (\alpha_{\max} - 1)\,\sigma(a)` and a parameter :math:`a`.

    Every head finds how sparse it wants to be, between softmax and
    :math:`\alpha_{\max}`; the gradient of :math:`\alpha` is exact.

    Parameters
    ----------
    heads
        How many alphas: one for each index of axis 1 of the scores, as in
        ``(B, heads, Q, K)`` and ``(B, heads, T)``. None is one for all, and
        scores of any shape.
    dim
        The dimension whose weights sum to 1; with heads not axis 1.
    initial
        Where alpha starts, a number or one for each head; above 1 and below
        ``largest``.
    largest
        What alpha stays below; above 1. The default 2 is sparsemax, as
        published.

    Raises
    ------
    ConfigError
        If an argument is out of its range.

    Notes
    -----
    Near both ends of the range the sigmoid is flat and alpha moves slowly. A
    loss that does not depend on how sparse the weights are leaves it where it
    is; weight decay draws it to the middle of the range.

    Source: Correia et al., EMNLP 2019, section 3.2, who use one alpha a head
    between 1 and 2. Book page: ``from_softmax_to_sparsemax``.
    """

    def __init__(
        self,
        heads: int | None = None,
        dim: int = -1,
        *,
        initial: float | Sequence[float] = 1.5,
        largest: float = 2.0,
    ) -> None:
        super().__init__()
        if heads is not None and heads < 1:
            raise ConfigError(f"heads is {heads}; it must be at least 1, or None for one alpha for all")
        if heads is not None and dim == 1:
            raise ConfigError("dim is 1, the axis of the heads; with heads it must be another")
        if not 1 < largest < math.inf:
            raise ConfigError(f"largest is {largest}; it must be a finite number above 1")
        start = torch.as_tensor(initial, dtype=torch.float64)
        if start.ndim and start.shape != (heads,):
            raise ConfigError(
                f"initial has {len(start)} values for {heads} heads; give one number or one for each head"
            )
        if not bool(((start > 1) & (start < largest)).all()):
            raise ConfigError(f"initial is {initial}; it must be above 1 and below largest, {largest:g}")
        self.heads, self.dim, self.largest = heads, dim, largest
        raw = torch.logit((start - 1) / (largest - 1)).to(torch.get_default_dtype())
        self.raw_alpha = nn.Parameter(raw.expand(() if heads is None else (heads,)).clone())

    @property
    def alpha(self) -> Float[Tensor, "*heads"]:
        """Alpha now, of shape ``(heads,)`` or a scalar."""
        return 1 + (self.largest - 1) * torch.sigmoid(self.raw_alpha)

    def forward(
        self, scores: Float[Tensor, "*shape"], mask: Bool[Tensor, "*mask"] | None = None
    ) -> Float[Tensor, "*shape"]:
        """Weights of the scores; the mask is True where a score takes part."""
        if self.heads is None:
            return entmax(scores, self.alpha, self.dim, mask)
        if scores.ndim < 2 or scores.shape[1] != self.heads:
            raise ValueError(f"scores have shape {tuple(scores.shape)}; axis 1 must be the {self.heads} heads")
        if self.dim % scores.ndim == 1:
            raise ValueError(f"dim {self.dim} of scores of shape {tuple(scores.shape)} is the axis of the heads")
        return entmax(scores, self.alpha.reshape(-1, *(1,) * (scores.ndim - 2)), self.dim, mask)

    def extra_repr(self) -> str:
        """Show the options."""
        return f"heads={self.heads}, dim={self.dim}, largest={self.largest:g}"
