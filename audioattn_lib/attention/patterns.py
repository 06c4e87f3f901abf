r"""Attention patterns: which patch of a spectrogram may attend to which.

A spectrogram cut into patches is a grid of :math:`F'` rows (frequency) and
:math:`T'` columns (time), read row by row: patch :math:`i` lies in row
:math:`\lfloor i/T' \rfloor`. A pattern gives every patch one range of patches
that it attends to. Global tokens stand in front; they attend to everything and
everything attends to them.

========================= ==================== =========================================================
published name            pattern              patch ``i`` attends to patch ``j`` where
========================= ==================== =========================================================
``dense``                 `Dense`              always
``high_low``              `HighLow`            both are in the lower half of the rows, or in the upper
``per_row_{r}``           `RowGroups`          both are in one group of ``r`` rows
``sparse_row_{r}``        `RowGroups`          the same
``row_overlap_{v}``       `RowBand`            their rows differ by less than ``v``
``token_overlap_{l}``     `TokenBand`          :math:`|i - j| < l`
``token_overlap_{l}_{s}`` `TokenBlocks`        one block of ``l`` patches holds both; a block every ``l s``
``attn_penalty``          `DistancePenalty`    always, at a price that grows with :math:`|i - j|`
``high_low_branch``       `TwoBranches`        as ``high_low``, with weights of their own
``high_low_branch_v2``    `TwoBranches`        the same, as two networks
========================= ==================== =========================================================

What runs a pattern is in :mod:`audioattn_lib.attention.pattern_kernels`.

Source: Mu, Xia and Che, *Improving domain generalization for sound
classification with sparse frequency-regularized transformer*, ICME 2023, and
the code released with it.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..errors import ConfigError

__all__ = [
    "PATTERNS",
    "AttentionPattern",
    "Dense",
    "DistancePenalty",
    "HighLow",
    "PatchGrid",
    "RowBand",
    "RowGroups",
    "TokenBand",
    "TokenBlocks",
    "TwoBranches",
    "parse_pattern",
    "parse_patterns",
]

Positions = Int[Tensor, " patches"]


@dataclass(frozen=True)
class PatchGrid:
    """Rows (frequency, low to high) and columns (time) of the patches of a spectrogram, both at least 1."""

    rows: int
    columns: int

    def __post_init__(self) -> None:
        for name in ("rows", "columns"):
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
    """Which patch attends to which: what all patterns share.

    Notes
    -----
    Mu, Xia and Che, ICME 2023, section 2. Book page: ``attention_patterns``.
    """

    branches: ClassVar[str] = "one"
    """``"one"`` set of weights for all patches; else what the halves have of their own, see :class:`TwoBranches`."""

    @property
    @abstractmethod
    def title(self) -> str:
        """What to call it in a picture."""

    @property
    @abstractmethod
    def rule(self) -> str:
        """Which patches a patch attends to, as the end of a sentence."""

    @abstractmethod
    def windows(self, positions: Positions, grid: PatchGrid) -> tuple[Positions, Positions]:
        """First patch, and the one after the last, that each patch attends to: indices of the grid, ``(n,)`` each."""

    def check(self, grid: PatchGrid) -> None:  # noqa: B027 - a pattern without numbers fits every grid
        """Raise a :class:`~audioattn_lib.errors.ConfigError` where the pattern does not fit the grid."""

    def bias(self, positions: Positions, grid: PatchGrid) -> Float[Tensor, "patches patches"] | None:
        """What is added to the scores between patches, float32 ``(n, n)``; None adds nothing."""
        return None

    def mask(
        self, grid: PatchGrid, n_global: int = 2, positions: Positions | None = None
    ) -> Bool[Tensor, "tokens tokens"]:
        """True where a query (row) attends to a key (column): the whole table, to look at and to compare with.

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
        """The pattern in a sentence, with its share of the pairs of dense attention where a grid is given."""
        text = f"{self.title}: a patch attends to {self.rule}"
        if grid is None:
            return f"{text}."
        share = self.pairs(grid, n_global) / (grid.size + n_global) ** 2
        return f"{text}; {share:.1%} of all pairs on a grid of {grid.rows} x {grid.columns}."

    @staticmethod
    def _whole(positions: Positions, grid: PatchGrid) -> tuple[Positions, Positions]:
        return torch.zeros_like(positions), torch.full_like(positions, grid.size)

    def _require(self, name: str, value: float, holds: bool, what: str) -> None:
        if not holds:
            raise ConfigError(f"{name} of the attention pattern {self} is {value}; it must be {what}")


@dataclass(frozen=True)
class Dense(AttentionPattern):
    """Every patch attends to every patch. Book page: ``attention_patterns``."""

    def __str__(self) -> str:
        return "dense"

    @property
    def title(self) -> str:
        """What to call it in a picture."""
        return "Dense"

    @property
    def rule(self) -> str:
        """Which patches a patch attends to, as the end of a sentence."""
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
        """What to call it in a picture."""
        return "Each row alone" if self.rows == 1 else f"Groups of {self.rows} rows"

    @property
    def rule(self) -> str:
        """Which patches a patch attends to, as the end of a sentence."""
        return "the patches of its row" if self.rows == 1 else f"the patches of its group of {self.rows} rows"

    def check(self, grid: PatchGrid) -> None:
        """Raise a :class:`~audioattn_lib.errors.ConfigError` where a group has more rows than the grid."""
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
        """What to call it in a picture."""
        return "Low and high half"

    @property
    def rule(self) -> str:
        """Which patches a patch attends to, as the end of a sentence."""
        return "the patches of its half of the rows, low or high"

    def check(self, grid: PatchGrid) -> None:
        """Raise a :class:`~audioattn_lib.errors.ConfigError` where there is no lower half."""
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
        """What the halves have of their own: ``"attention"`` or ``"network"``."""
        return "network" if self.streams else "attention"

    @property
    def title(self) -> str:
        """What to call it in a picture."""
        return "Two networks" if self.streams else "Two attentions"

    @property
    def rule(self) -> str:
        """Which patches a patch attends to, as the end of a sentence."""
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
        """What to call it in a picture."""
        return f"Rows less than {self.overlap} apart"

    @property
    def rule(self) -> str:
        """Which patches a patch attends to, as the end of a sentence."""
        return f"the patches less than {self.overlap} rows away"

    def check(self, grid: PatchGrid) -> None:
        """Raise a :class:`~audioattn_lib.errors.ConfigError` where the band is wider than the grid."""
        self._require("overlap", self.overlap, self.overlap <= grid.rows, f"at most the {grid.rows} rows of the grid")

    def windows(self, positions: Positions, grid: PatchGrid) -> tuple[Positions, Positions]:
        """The rows near each patch."""
        row = positions // grid.columns
        start = (row - self.overlap + 1).clamp(min=0)
        stop = (row + self.overlap).clamp(max=grid.rows)
        return start * grid.columns, stop * grid.columns


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
        """What to call it in a picture."""
        return f"Less than {'a row' if self.length is None else f'{self.length} patches'} apart"

    @property
    def rule(self) -> str:
        """Which patches a patch attends to, as the end of a sentence."""
        return f"the patches less than {'a row' if self.length is None else self.length} away in the order of tokens"

    def check(self, grid: PatchGrid) -> None:
        """Raise a :class:`~audioattn_lib.errors.ConfigError` where the band is wider than the grid."""
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
        """What to call it in a picture."""
        return f"Blocks of {self.length} patches, one every {self.step}"

    @property
    def rule(self) -> str:
        """Which patches a patch attends to, as the end of a sentence."""
        return f"the patches of its blocks of {self.length} patches, one of which begins every {self.step}"

    def check(self, grid: PatchGrid) -> None:
        """Raise a :class:`~audioattn_lib.errors.ConfigError` where a block is longer than the grid."""
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
        """What to call it in a picture."""
        return "Distance penalty"

    @property
    def rule(self) -> str:
        """Which patches a patch attends to, as the end of a sentence."""
        return "every patch, at a price that grows with the distance"

    def windows(self, positions: Positions, grid: PatchGrid) -> tuple[Positions, Positions]:
        """The whole grid for every patch."""
        return self._whole(positions, grid)

    def bias(self, positions: Positions, grid: PatchGrid) -> Float[Tensor, "patches patches"] | None:
        """The price of every pair, at most 0, float32 ``(n, n)``."""
        width, stripe = self.width or 3 * grid.columns, self.stripe or grid.columns
        distance = (positions[:, None] - positions).abs()
        steps = (torch.div(distance - width, stripe, rounding_mode="floor") + 1).clamp(min=0)
        return -torch.log1p(self.scale * steps.float())


PATTERNS = (
    "dense",
    "high_low",
    "per_row",
    "per_row_{r}",
    "sparse_row_{r}",
    "row_overlap",
    "row_overlap_{v}",
    "token_overlap",
    "token_overlap_{l}",
    "token_overlap_{l}_{s}",
    "attn_penalty",
    "attn_penalty_{w}_{s}_{c}",
    "high_low_branch",
    "high_low_branch_v2",
)
"""Every name that :func:`parse_pattern` reads: ``r``, ``v``, ``l`` and ``w`` whole numbers, ``s`` and ``c`` numbers."""

_WHOLE, _NUMBER = r"(\d+)", r"(\d+(?:\.\d+)?)"
_NAMES: dict[str, Callable[..., AttentionPattern]] = {
    "(?:dense)?": Dense,
    "high_low": HighLow,
    "per_row": RowGroups,
    f"(?:per|sparse)_row_{_WHOLE}": lambda rows: RowGroups(int(rows)),
    "row_overlap": RowBand,
    f"row_overlap_{_WHOLE}": lambda overlap: RowBand(int(overlap)),
    "token_overlap": TokenBand,
    f"token_overlap_{_WHOLE}": lambda length: TokenBand(int(length)),
    f"token_overlap_{_WHOLE}_{_NUMBER}": lambda length, share: TokenBlocks(int(length), float(share)),
    "attn_penalty": DistancePenalty,
    rf"attn_penalty_(\d+|rows)_(\d+|row)_{_NUMBER}": lambda width, stripe, scale: DistancePenalty(
        None if width == "rows" else int(width), None if stripe == "row" else int(stripe), float(scale)
    ),
    "high_low_branch": TwoBranches,
    "high_low_branch_v2": lambda: TwoBranches(streams=True),
}


def parse_pattern(name: str | AttentionPattern) -> AttentionPattern:
    """The pattern with a published name, such as ``"sparse_row_6"``; a pattern is returned as it is.

    Raises
    ------
    ConfigError
        When there is no such name, with a list of those that there are, or
        when its numbers are impossible.

    Notes
    -----
    The published code looks for parts of names, so that a misspelt one silently
    means dense attention; here it is an error. ``""`` is ``"dense"``, as
    published. Book page: ``attention_patterns``.
    """
    if isinstance(name, AttentionPattern):
        return name
    for expression, make in _NAMES.items():
        found = re.fullmatch(expression, name)
        if found:
            values: tuple[Any, ...] = found.groups()
            return make(*values)
    raise ConfigError(f"the attention pattern is {name!r}; it must be one of {', '.join(PATTERNS)}")


def parse_patterns(names: str, layers: int) -> tuple[AttentionPattern, ...]:
    """One pattern for each layer: one name for all, or as many as there are layers, joined by commas.

    Raises
    ------
    ConfigError
        As :func:`parse_pattern`, and when the number of names is neither 1 nor that of the layers.

    Notes
    -----
    Book page: ``attention_patterns``.
    """
    patterns = [parse_pattern(name.strip()) for name in names.split(",")]
    if len(patterns) not in (1, layers):
        raise ConfigError(
            f"the attention pattern {names!r} names {len(patterns)} patterns; give one, or one for each of the "
            f"{layers} layers"
        )
    return tuple(patterns * layers if len(patterns) == 1 else patterns)
