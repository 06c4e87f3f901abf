"""Attention patterns that follow the order of the tokens, whatever their rows: bands, blocks, a price of distance.

Source: Mu, Xia and Che, *Improving domain generalization for sound
classification with sparse frequency-regularized transformer*, ICME 2023, and
the code released with it. Book page: ``attention_patterns``.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from .grid import AttentionPattern, PatchGrid, Positions

__all__ = ["DistancePenalty", "TokenBand", "TokenBlocks"]


@dataclass(frozen=True)
class TokenBand(AttentionPattern):
    r"""Patches attend to patches nearby in the order of tokens, :math:`|i - j| < l`, whatever their rows.

    Parameters
    ----------
    length
        :math:`l`, at least 1 and at most the patches of the grid; None is one row.

    Notes
    -----
    Book page: ``attention_patterns``.
    """

    length: int | None = None

    def __post_init__(self) -> None:
        if self.length is not None:
            self._require("length", self.length, self.length >= 1, "at least 1")

    def __str__(self) -> str:
        return "token_overlap" if self.length is None else f"token_overlap_{self.length}"

    @property
    def title(self) -> str:
        """Title of the pattern in a figure."""
        return f"Less than {'a row' if self.length is None else f'{self.length} patches'} apart"

    @property
    def rule(self) -> str:
        """Description of the patches that a patch attends to, as the end of a sentence."""
        return f"the patches less than {'a row' if self.length is None else self.length} away in the order of tokens"

    def check(self, grid: PatchGrid) -> None:
        """Raise a :class:`~audioattn_lib.core.errors.ConfigError` where the band is wider than the grid."""
        length = self.length or grid.columns
        self._require("length", length, length <= grid.size, f"at most the {grid.size} patches of the grid")

    def windows(self, positions: Positions, grid: PatchGrid) -> tuple[Positions, Positions]:
        """The patches near each patch."""
        length = self.length or grid.columns
        return (positions - length + 1).clamp(min=0), (positions + length).clamp(max=grid.size)


@dataclass(frozen=True)
class TokenBlocks(AttentionPattern):
    r"""Patches attend within blocks of ``length`` patches that begin every :math:`\max(\lfloor l s \rfloor, 1)`.

    Parameters
    ----------
    length
        :math:`l`, at least 1 and at most the patches of the grid.
    share
        :math:`s`, above 0 and at most 1; below 1 the blocks overlap. (Above 1,
        patches between blocks would belong to none.)

    Notes
    -----
    A patch in several blocks attends to all of them, which is one range. Book
    page: ``attention_patterns``.
    """

    length: int
    share: float = 1.0

    def __post_init__(self) -> None:
        self._require("length", self.length, self.length >= 1, "at least 1")
        self._require("share", self.share, 0 < self.share <= 1, "above 0 and at most 1")

    def __str__(self) -> str:
        return f"token_overlap_{self.length}_{self.share:g}"

    @property
    def step(self) -> int:
        """Patches from one block to the next."""
        return max(int(self.length * self.share), 1)

    @property
    def title(self) -> str:
        """Title of the pattern in a figure."""
        return f"Blocks of {self.length} patches, one every {self.step}"

    @property
    def rule(self) -> str:
        """Description of the patches that a patch attends to, as the end of a sentence."""
        return f"the patches of its blocks of {self.length} patches, one of which begins every {self.step}"

    def check(self, grid: PatchGrid) -> None:
        """Raise a :class:`~audioattn_lib.core.errors.ConfigError` where a block is longer than the grid."""
        self._require("length", self.length, self.length <= grid.size, f"at most the {grid.size} patches of the grid")

    def windows(self, positions: Positions, grid: PatchGrid) -> tuple[Positions, Positions]:
        """From the first to the last block of each patch."""
        # Block b holds the patches [b * step, b * step + length).
        first = torch.div(positions - self.length, self.step, rounding_mode="floor") + 1
        last = positions // self.step
        return first.clamp(min=0) * self.step, (last * self.step + self.length).clamp(max=grid.size)


@dataclass(frozen=True)
class DistancePenalty(AttentionPattern):
    r"""Every patch attends to every patch, at a price that grows with their distance in the order of tokens.

    .. math:: z_{ij} \leftarrow z_{ij} - \log\bigl(1 + c\,n_{ij}\bigr), \qquad
       n_{ij} = \bigl|\{k \in \{w, w + s, w + 2s, \dots\} : k \le |i - j|\}\bigr|

    Parameters
    ----------
    width
        :math:`w`, patches that cost nothing, at least 1; None is three rows, as published.
    stripe
        :math:`s`, patches from one step of the price to the next, at least 1; None is one row, as published.
    scale
        :math:`c`, at least 0; 16 as published.

    Notes
    -----
    Attention to and from global tokens is free. It saves nothing: all pairs
    are computed. Book page: ``attention_patterns``.
    """

    width: int | None = None
    stripe: int | None = None
    scale: float = 16.0

    def __post_init__(self) -> None:
        for name in ("width", "stripe"):
            value = getattr(self, name)
            if value is not None:
                self._require(name, value, value >= 1, "at least 1, or None for whole rows")
        self._require("scale", self.scale, 0 <= self.scale < float("inf"), "a finite number, at least 0")

    def __str__(self) -> str:
        if self.width is None and self.stripe is None and self.scale == 16:
            return "attn_penalty"
        return f"attn_penalty_{self.width or 'rows'}_{self.stripe or 'row'}_{self.scale:g}"

    @property
    def title(self) -> str:
        """Title of the pattern in a figure."""
        return "Distance penalty"

    @property
    def rule(self) -> str:
        """Description of the patches that a patch attends to, as the end of a sentence."""
        return "every patch, at a price that grows with the distance"

    def windows(self, positions: Positions, grid: PatchGrid) -> tuple[Positions, Positions]:
        """The whole grid for every patch."""
        return self._whole(positions, grid)

    def bias(
        self, positions: Positions, grid: PatchGrid, dtype: torch.dtype = torch.float32
    ) -> Float[Tensor, "patches patches"] | None:
        """The price of every pair, at most 0, in ``dtype``, ``(n, n)``."""
        width, stripe = self.width or 3 * grid.columns, self.stripe or grid.columns
        distance = (positions[:, None] - positions).abs()
        steps = (torch.div(distance - width, stripe, rounding_mode="floor") + 1).clamp(min=0)
        return -torch.log1p(self.scale * steps.to(dtype))
