"""Sizes and layers of a vision transformer over patches, run under an attention pattern.

Names of parameters are those of the published checkpoints (``attn.qkv``,
``mlp.fc1``, ``norm1`` ...), so that these load as they are.

Book page: ``attention_patterns``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from audioattn_lib.attention.patterns.exported import ExportedPlan
from audioattn_lib.attention.patterns.grid import AttentionPattern, PatchGrid, Positions
from audioattn_lib.attention.patterns.kernels import AttentionPlan
from audioattn_lib.attention.patterns.rows import Dense, TwoBranches
from audioattn_lib.core.errors import ConfigError
from audioattn_lib.core.tensors import is_exporting

__all__ = ["ARCHITECTURES", "PRESETS", "Arrangement", "Block", "Mlp", "SelfAttention", "Shape"]

Tokens = Float[Tensor, "batch tokens features"]


@dataclass(frozen=True)
class Shape:
    """Size of a transformer over patches.

    Parameters
    ----------
    features, depth, heads
        Width of the tokens, layers, heads; the width is a multiple of the heads.
    patch
        Mel bands and frames of a patch.
    stride
        Mel bands and frames from one patch to the next; less than ``patch`` overlaps.
    """

    features: int
    depth: int
    heads: int
    patch: tuple[int, int] = (16, 16)
    stride: tuple[int, int] = (10, 10)

    def __post_init__(self) -> None:
        for name in ("features", "depth", "heads"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; it must be at least 1")
        for name in ("patch", "stride"):
            if min(getattr(self, name)) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; give bands and frames, each at least 1")

    def grid(self, n_mels: int, n_frames: int) -> PatchGrid:
        """Rows and columns of the patches that lie within so many bands and frames, at least one each."""
        if n_mels < self.patch[0]:
            raise ConfigError(f"n_mels is {n_mels}; it must be at least the {self.patch[0]} bands of a patch")
        rows = (n_mels - self.patch[0]) // self.stride[0] + 1
        return PatchGrid(rows, max((n_frames - self.patch[1]) // self.stride[1] + 1, 1))


PRESETS: Mapping[str, Shape] = MappingProxyType(
    {
        "tiny": Shape(48, 2, 3, (8, 8), (8, 8)),
        "small": Shape(128, 6, 4, (16, 16), (10, 10)),
        "published": Shape(768, 12, 12),
    }
)
"""``tiny`` trains in seconds and ``small`` in minutes on a processor; ``published`` has 85 million parameters."""

ARCHITECTURES: Mapping[str, tuple[int, int]] = MappingProxyType(
    {
        "passt_deit_bd_p16_384": (10, 998),
        "passt_s_swa_p16_128_ap476": (10, 998),
        "passt_s_swa_p16_128_ap4761": (10, 998),
        "passt_s_swa_p16_128_ap4763": (10, 998),
        "passt_s_p16_128_ap472": (10, 998),
        "passt_s_swa_p16_s16_128_ap473": (16, 998),
        "passt_s_p16_s16_128_ap468": (16, 998),
        "passt_s_swa_p16_s14_128_ap471": (14, 998),
        "passt_s_p16_s14_128_ap469": (14, 998),
        "passt_s_swa_p16_s12_128_ap473": (12, 998),
        "passt_s_p16_s12_128_ap470": (12, 998),
        "passt_s_f128_20sec_p16_s10_ap474": (10, 2000),
        "passt_s_f128_30sec_p16_s10_ap473": (10, 3000),
    }
)
"""Stride and longest input in frames of each published architecture; all have the shape ``published``, 128 bands."""


@dataclass(frozen=True, eq=False)
class Arrangement:
    """Tokens of one forward pass, and a cache of the attention plan of each pattern on them.

    Parameters
    ----------
    grid
        Rows and columns of the patches.
    n_global
        Global tokens in front.
    positions
        The patches that are there, in increasing order.
    valid
        False on padding, ``(B, patches)``; None: there is none.
    device
        Of the tokens.
    alpha
        Of the map from scores to weights, alpha-entmax; 1 is softmax.
    """

    grid: PatchGrid
    n_global: int
    positions: Positions
    valid: Bool[Tensor, "batch patches"] | None
    device: torch.device
    alpha: float = 1.0
    _plans: dict[AttentionPattern, AttentionPlan | ExportedPlan] = field(default_factory=dict)

    def plan(self, pattern: AttentionPattern) -> AttentionPlan | ExportedPlan:
        """The plan of a pattern."""
        if pattern not in self._plans:
            if is_exporting():
                self._plans[pattern] = ExportedPlan(
                    pattern, self.grid, self.n_global, positions=self.positions, valid=self.valid, alpha=self.alpha
                )
                return self._plans[pattern]
            self._plans[pattern] = AttentionPlan(
                pattern,
                self.grid,
                self.n_global,
                positions=self.positions,
                valid=self.valid,
                alpha=self.alpha,
                device=self.device,
            )
        return self._plans[pattern]

    @cached_property
    def halves(self) -> tuple[Arrangement, Arrangement]:
        """The patches of the lower rows and those of the upper ones, each with all global tokens."""
        border = self.grid.rows // 2 * self.grid.columns
        if is_exporting():  # all patches of so many rows are there
            cut = self.positions.shape[0] // self.grid.rows * (self.grid.rows // 2)
        else:
            cut = int(torch.searchsorted(self.positions, border))
        if not is_exporting() and cut in (0, len(self.positions)):
            raise ConfigError("patchout left no patch in one half of the rows; two branches need some in both")
        arrangements = []
        for patches in (slice(0, cut), slice(cut, None)):
            valid = None if self.valid is None else self.valid[:, patches]
            arrangements.append(dataclasses.replace(self, positions=self.positions[patches], valid=valid, _plans={}))
        return arrangements[0], arrangements[1]


class SelfAttention(nn.Module):
    r"""Multi-head attention of the tokens to each other, :math:`W_o\,\mathrm{concat}_h\,\mathrm{map}(q_h k_h^\top/\sqrt d)\,v_h`.

    Parameters
    ----------
    features
        Width of the tokens, a multiple of ``heads``.
    heads
        At least 1.
    """  # noqa: E501

    def __init__(self, features: int, heads: int) -> None:
        super().__init__()
        if heads < 1 or features % heads:
            raise ConfigError(f"heads is {heads}; it must be at least 1 and divide features, {features}")
        self.heads = heads
        self.qkv = nn.Linear(features, 3 * features)
        self.proj = nn.Linear(features, features)

    def forward(self, tokens: Tokens, plan: AttentionPlan | ExportedPlan) -> Tokens:
        """Apply multi-head attention to the tokens."""
        query, key, value = self._split(tokens)
        outputs = [self.proj(context.transpose(1, 2).flatten(2)) for context in plan.parts(query, key, value)]
        return outputs[0] if len(outputs) == 1 else torch.cat(outputs, dim=1)

    def weights(
        self, tokens: Tokens, plan: AttentionPlan | ExportedPlan, queries: int | None = None
    ) -> Float[Tensor, "batch heads queries tokens"]:
        """Weights with which the first ``queries`` tokens read all of them."""
        query, key, _ = self._split(tokens)
        return plan.weights(query, key, queries=queries)

    def _split(self, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        parts = self.qkv(tokens).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)  # (3, B, heads, N, d)
        return parts[0], parts[1], parts[2]


class Mlp(nn.Module):
    """Two linear layers with a GELU between, ``ratio`` times as wide inside."""

    def __init__(self, features: int, ratio: float = 4.0) -> None:
        super().__init__()
        self.fc1 = nn.Linear(features, round(features * ratio))
        self.fc2 = nn.Linear(round(features * ratio), features)

    def forward(self, tokens: Tokens) -> Tokens:
        """Each token by itself."""
        return self.fc2(F.gelu(self.fc1(tokens)))


class Block(nn.Module):
    r"""One layer: :math:`x \leftarrow x + \mathrm{Attention}(\mathrm{LN}(x))`, then :math:`x \leftarrow x + \mathrm{MLP}(\mathrm{LN}(x))`.

    Parameters
    ----------
    features, heads
        Width of the tokens and number of heads.
    pattern
        Which patch attends to which. With two branches of attention the halves
        of the rows have norm and attention of their own (``norm1_2``, ``attn2``);
        global tokens are in both, and what they read is averaged.
    dropout
        On what attention and MLP add, in [0, 1).
    """  # noqa: E501

    def __init__(self, features: int, heads: int, pattern: AttentionPattern, dropout: float = 0.0) -> None:
        super().__init__()
        self.pattern = pattern
        self.norm1 = nn.LayerNorm(features, eps=1e-6)
        self.attn = SelfAttention(features, heads)
        self.norm2 = nn.LayerNorm(features, eps=1e-6)
        self.mlp = Mlp(features)
        self.dropout = nn.Dropout(dropout)
        self.norm1_2: nn.Module | None = None
        self.attn2: SelfAttention | None = None
        if isinstance(pattern, TwoBranches) and not pattern.streams:
            self.norm1_2, self.attn2 = nn.LayerNorm(features, eps=1e-6), SelfAttention(features, heads)

    def forward(self, tokens: Tokens, arrangement: Arrangement) -> Tokens:
        """The tokens after this layer."""
        tokens = tokens + self.dropout(self._attend(tokens, arrangement))
        return tokens + self.dropout(self.mlp(self.norm2(tokens)))

    def weights(
        self, tokens: Tokens, arrangement: Arrangement, queries: int | None = None
    ) -> Float[Tensor, "batch heads queries tokens"]:
        """Weights with which the first ``queries`` tokens (all by default) of the input read all of them."""
        if self.attn2 is None:
            return self.attn.weights(self.norm1(tokens), arrangement.plan(self._plain), queries)
        (low, high), (first, second), g = arrangement.halves, self._branches(tokens, arrangement), arrangement.n_global
        lower = self.attn.weights(first, low.plan(Dense()))  # (B, heads, g + low, g + low)
        upper = self.attn2.weights(second, high.plan(Dense()))
        n = tokens.shape[1]
        cut = lower.shape[-1]
        whole = lower.new_zeros(*lower.shape[:2], n, n)
        whole[:, :, :cut, :cut] = lower
        whole[:, :, cut:, cut:] = upper[:, :, g:, g:]
        whole[:, :, cut:, :g] = upper[:, :, g:, :g]
        whole[:, :, :g] /= 2
        whole[:, :, :g, :g] += upper[:, :, :g, :g] / 2
        whole[:, :, :g, cut:] = upper[:, :, :g, g:] / 2
        return whole[:, :, :queries]

    @property
    def _plain(self) -> AttentionPattern:
        # A network of its own for each half is given its half only: there, everything sees everything.
        return Dense() if isinstance(self.pattern, TwoBranches) else self.pattern

    def _attend(self, tokens: Tensor, arrangement: Arrangement) -> Tensor:
        if self.attn2 is None:
            return self.attn(self.norm1(tokens), arrangement.plan(self._plain))
        (low, high), (first, second), g = arrangement.halves, self._branches(tokens, arrangement), arrangement.n_global
        lower = self.attn(first, low.plan(Dense()))
        upper = self.attn2(second, high.plan(Dense()))
        shared = (lower[:, :g] + upper[:, :g]) / 2
        return torch.cat([shared, lower[:, g:], upper[:, g:]], dim=1)

    def _branches(self, tokens: Tensor, arrangement: Arrangement) -> tuple[Tensor, Tensor]:
        assert self.norm1_2 is not None
        g = arrangement.n_global
        cut = g + arrangement.halves[0].positions.shape[0]
        second = torch.cat([tokens[:, :g], tokens[:, cut:]], dim=1)
        return self.norm1(tokens[:, :cut]), self.norm1_2(second)
