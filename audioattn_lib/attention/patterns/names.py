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

What runs a pattern is in :mod:`audioattn_lib.attention.patterns.kernels`.

Source: Mu, Xia and Che, *Improving domain generalization for sound
classification with sparse frequency-regularized transformer*, ICME 2023, and
the code released with it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from audioattn_lib.core.errors import ConfigError

from .grid import AttentionPattern, PatchGrid
from .rows import Dense, HighLow, RowBand, RowGroups, TwoBranches
from .tokens import DistancePenalty, TokenBand, TokenBlocks

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
        match = re.fullmatch(expression, name)
        if match:
            values: tuple[Any, ...] = match.groups()
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
