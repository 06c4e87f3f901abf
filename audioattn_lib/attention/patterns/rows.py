"""Attention patterns that follow the rows of the grid: dense, groups of rows, halves, a band of rows.

Source: Mu, Xia and Che, *Improving domain generalization for sound
classification with sparse frequency-regularized transformer*, ICME 2023, and
the code released with it. Book page: ``attention_patterns``.
"""

from __future__ import annotations

from dataclasses import dataclass

from audioattn_lib.core.errors import ConfigError

from .grid import AttentionPattern, PatchGrid, Positions

__all__ = ["Dense", "HighLow", "RowBand", "RowGroups", "TwoBranches"]


@dataclass(frozen=True)
class Dense(AttentionPattern):
    """Every patch attends to every patch. Book page: ``attention_patterns``."""

    def __str__(self) -> str:
        return "dense"

    @property
    def title(self) -> str:
        """Title of the pattern in a figure."""
        return "Dense"

    @property
    def rule(self) -> str:
        """Description of the patches that a patch attends to, as the end of a sentence."""
        return "every patch"

    def windows(self, positions: Positions, grid: PatchGrid) -> tuple[Positions, Positions]:
        """The whole grid for every patch."""
        return self._whole(positions, grid)


@dataclass(frozen=True)
class RowGroups(AttentionPattern):
    r"""Patches attend within groups of rows, :math:`\lfloor f_i/r \rfloor = \lfloor f_j/r \rfloor`.

    Parameters
    ----------
    rows
        Rows :math:`r` of a group, at least 1 and at most those of the grid;
        the highest group is smaller where they do not divide the grid.

    Notes
    -----
    ``per_row_{r}`` and ``sparse_row_{r}`` are this one pattern: the published
    code computes it by a mask over everything, or block by block. Book page:
    ``attention_patterns``.
    """

    rows: int = 1

    def __post_init__(self) -> None:
        self._require("rows", self.rows, self.rows >= 1, "at least 1")

    def __str__(self) -> str:
        return f"per_row_{self.rows}"

    @property
    def title(self) -> str:
        """Title of the pattern in a figure."""
        return "Each row alone" if self.rows == 1 else f"Groups of {self.rows} rows"

    @property
    def rule(self) -> str:
        """Description of the patches that a patch attends to, as the end of a sentence."""
        return "the patches of its row" if self.rows == 1 else f"the patches of its group of {self.rows} rows"

    def check(self, grid: PatchGrid) -> None:
        """Raise a :class:`~audioattn_lib.core.errors.ConfigError` where a group has more rows than the grid."""
        self._require("rows", self.rows, self.rows <= grid.rows, f"at most the {grid.rows} rows of the grid")

    def windows(self, positions: Positions, grid: PatchGrid) -> tuple[Positions, Positions]:
        """The rows of each patch's group."""
        size = self.rows * grid.columns
        start = positions // size * size
        return start, (start + size).clamp(max=grid.size)


@dataclass(frozen=True)
class HighLow(AttentionPattern):
    r"""Patches attend within the lower :math:`\lfloor F'/2 \rfloor` rows, or within those above.

    Notes
    -----
    Book page: ``attention_patterns``.
    """

    def __str__(self) -> str:
        return "high_low"

    @property
    def title(self) -> str:
        """Title of the pattern in a figure."""
        return "Low and high half"

    @property
    def rule(self) -> str:
        """Description of the patches that a patch attends to, as the end of a sentence."""
        return "the patches of its half of the rows, low or high"

    def check(self, grid: PatchGrid) -> None:
        """Raise a :class:`~audioattn_lib.core.errors.ConfigError` where there is no lower half."""
        if grid.rows < 2:
            raise ConfigError(f"the grid has {grid.rows} row of patches; {self} needs at least 2")

    def windows(self, positions: Positions, grid: PatchGrid) -> tuple[Positions, Positions]:
        """The half of each patch."""
        border = grid.rows // 2 * grid.columns
        is_high = (positions >= border).long()
        return is_high * border, border + is_high * (grid.size - border)


@dataclass(frozen=True)
class TwoBranches(HighLow):
    """The halves of :class:`HighLow` with weights of their own.

    Parameters
    ----------
    streams
        False: each half has its own attention, the rest is shared
        (``high_low_branch``). True: each half is a network of its own, and
        their features are averaged (``high_low_branch_v2``).

    Notes
    -----
    As published, the first lets the global tokens see the lower half only and
    cuts one patch off the border between the rows; the second lacks the
    residual around attention. Here the global tokens see both halves, the cut
    lies between rows, and the residual is there. Book page:
    ``attention_patterns``.
    """

    streams: bool = False

    def __str__(self) -> str:
        return "high_low_branch_v2" if self.streams else "high_low_branch"

    @property
    def branches(self) -> str:  # type: ignore[override]
        """Part of the model with separate parameters for each half: ``"attention"`` or ``"network"``."""
        return "network" if self.streams else "attention"

    @property
    def title(self) -> str:
        """Title of the pattern in a figure."""
        return "Two networks" if self.streams else "Two attentions"

    @property
    def rule(self) -> str:
        """Description of the patches that a patch attends to, as the end of a sentence."""
        return f"{super().rule}, each half with {'a network' if self.streams else 'attention weights'} of its own"


@dataclass(frozen=True)
class RowBand(AttentionPattern):
    r"""Patches attend to rows nearby, :math:`|f_i - f_j| < v`.

    Parameters
    ----------
    overlap
        :math:`v`, at least 1 (each row alone) and at most the rows of the grid.

    Notes
    -----
    The union of the square blocks of ``v`` neighbouring rows. Book page:
    ``attention_patterns``.
    """

    overlap: int = 2

    def __post_init__(self) -> None:
        self._require("overlap", self.overlap, self.overlap >= 1, "at least 1")

    def __str__(self) -> str:
        return f"row_overlap_{self.overlap}"

    @property
    def title(self) -> str:
        """Title of the pattern in a figure."""
        return f"Rows less than {self.overlap} apart"

    @property
    def rule(self) -> str:
        """Description of the patches that a patch attends to, as the end of a sentence."""
        return f"the patches less than {self.overlap} rows away"

    def check(self, grid: PatchGrid) -> None:
        """Raise a :class:`~audioattn_lib.core.errors.ConfigError` where the band is wider than the grid."""
        self._require("overlap", self.overlap, self.overlap <= grid.rows, f"at most the {grid.rows} rows of the grid")

    def windows(self, positions: Positions, grid: PatchGrid) -> tuple[Positions, Positions]:
        """The rows near each patch."""
        row = positions // grid.columns
        start = (row - self.overlap + 1).clamp(min=0)
        stop = (row + self.overlap).clamp(max=grid.rows)
        return start * grid.columns, stop * grid.columns
