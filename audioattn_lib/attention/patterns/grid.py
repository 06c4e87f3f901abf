"""Patches of a spectrogram on a grid, and the base class of attention patterns.

Source: Mu, Xia and Che, *Improving domain generalization for sound
classification with sparse frequency-regularized transformer*, ICME 2023, and
the code released with it. Book page: ``attention_patterns``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from audioattn_lib.core.errors import ConfigError
from audioattn_lib.core.tensors import is_exporting

__all__ = ["AttentionPattern", "PatchGrid", "Positions"]

Positions = Int[Tensor, " patches"]


@dataclass(frozen=True)
class PatchGrid:
    """Rows (frequency, low to high) and columns (time) of the patches of a spectrogram, both at least 1."""

    rows: int
    columns: int

    def __post_init__(self) -> None:
        for name in () if is_exporting() else ("rows", "columns"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; a grid of patches has at least 1")

    @property
    def size(self) -> int:
        """Number of patches."""
        return self.rows * self.columns

    def positions(self) -> Positions:
        """Index of every patch, row by row."""
        return torch.arange(self.size)


@dataclass(frozen=True)
class AttentionPattern(ABC):
    """Base class of attention patterns: the patches (keys) that each patch (query) attends to.

    Notes
    -----
    Mu, Xia and Che, ICME 2023, section 2. Book page: ``attention_patterns``.
    """

    branches: ClassVar[str] = "one"
    """``"one"`` set of weights for all patches; else what the halves have of their own, see :class:`TwoBranches`."""

    @property
    @abstractmethod
    def title(self) -> str:
        """Title of the pattern in a figure."""

    @property
    @abstractmethod
    def rule(self) -> str:
        """Description of the patches that a patch attends to, as the end of a sentence."""

    @abstractmethod
    def windows(self, positions: Positions, grid: PatchGrid) -> tuple[Positions, Positions]:
        """First patch, and the one after the last, that each patch attends to: indices of the grid, ``(n,)`` each."""

    def check(self, grid: PatchGrid) -> None:  # noqa: B027 - a pattern without numbers fits every grid
        """Raise a :class:`~audioattn_lib.core.errors.ConfigError` where the pattern does not fit the grid."""

    def bias(
        self, positions: Positions, grid: PatchGrid, dtype: torch.dtype = torch.float32
    ) -> Float[Tensor, "patches patches"] | None:
        """Return the additive bias of the scores between patches, ``(n, n)``, exact in ``dtype``; None for no bias."""
        return None

    def mask(
        self, grid: PatchGrid, n_global: int = 2, positions: Positions | None = None
    ) -> Bool[Tensor, "tokens tokens"]:
        """Build the dense mask, True where a query (row) attends to a key (column).

        Parameters
        ----------
        grid
            Rows and columns of the patches.
        n_global
            Global tokens in front, at least 0.
        positions
            The patches that are there, in order; all by default.

        Notes
        -----
        Book page: ``attention_patterns``.
        """
        self.check(grid)
        positions = grid.positions() if positions is None else positions.cpu()
        start, stop = self.windows(positions, grid)
        n = len(positions) + n_global
        mask = torch.ones(n, n, dtype=torch.bool)
        mask[n_global:, n_global:] = (positions >= start[:, None]) & (positions < stop[:, None])
        return mask

    def pairs(self, grid: PatchGrid, n_global: int = 2, positions: Positions | None = None) -> int:
        """Pairs of query and key that attend: the entries of :meth:`mask` that are True, without making it."""
        self.check(grid)
        positions = grid.positions() if positions is None else positions.cpu()
        start, stop = self.windows(positions, grid)
        seen = torch.searchsorted(positions, stop) - torch.searchsorted(positions, start)
        n = len(positions)
        return int(seen.sum()) + n_global * (2 * n + n_global)

    def multiply_adds(
        self, grid: PatchGrid, features: int, n_global: int = 2, positions: Positions | None = None
    ) -> int:
        r"""Multiply-adds of scores and context in one layer, :math:`2 d \cdot \mathrm{pairs}`.

        ``features`` is the width :math:`d` of all heads together. Projections
        are not counted: they are the same for every pattern.

        Notes
        -----
        Book page: ``attention_patterns``.
        """
        return 2 * features * self.pairs(grid, n_global, positions)

    def describe(self, grid: PatchGrid | None = None, n_global: int = 2) -> str:
        """Describe the pattern in a sentence, with its share of all pairs where a grid is given."""
        text = f"{self.title}: a patch attends to {self.rule}"
        if grid is None:
            return f"{text}."
        share = self.pairs(grid, n_global) / (grid.size + n_global) ** 2
        return f"{text}; {100 * share:.1f} % of all pairs on a grid of {grid.rows} x {grid.columns}."

    @staticmethod
    def _whole(positions: Positions, grid: PatchGrid) -> tuple[Positions, Positions]:
        return torch.zeros_like(positions), torch.full_like(positions, grid.size)

    def _require(self, name: str, value: float, holds: bool, requirement: str) -> None:
        if not holds:
            raise ConfigError(f"{name} of the attention pattern {self} is {value}; it must be {requirement}")
