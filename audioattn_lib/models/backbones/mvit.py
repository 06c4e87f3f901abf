r"""MViTv2 over a spectrogram: attention whose grid of tokens is halved while its channels double.

``features (B, T, n_mels)`` -> convolution 7 x 7 of stride 4, tokens
``(B, T/4, n_mels/4, 96)`` -> layers of pooled attention, of which three halve
the grid and double channels and heads -> ``(B, T/32, n_mels/32, 768)``.

There is no embedding of positions, as in the published audio configurations:
what tokens know of their place comes from convolutions, so an input may have
any size. Padding changes nothing: it is zeroed before every convolution, and
no token reads it.

Source: Li et al., *MViTv2: improved multiscale vision transformers for
classification and detection*, CVPR 2022, sections 3 and 4, and the released
code; for sound: Stergiou and Damen, *Play it back*, ICASSP 2023. Book page:
``playback_published``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from audioattn_lib.core.errors import ConfigError

from ..layers.transformer import Mlp

__all__ = ["MVIT_PRESETS", "MViT", "MViTShape"]

Grid = Float[Tensor, "batch time frequency channels"]
Mask = Bool[Tensor, "batch time"] | None

_PATCH_STRIDE = 4
_EPSILON = 1e-6


@dataclass(frozen=True)
class MViTShape:
    """Size of a multiscale transformer.

    Parameters
    ----------
    depth
        Layers, at least 1.
    doublings
        Layers, counted from 0 and in order, that halve the grid and double channels and heads.
    drop_path
        How often the last layer leaves out what it adds, in [0, 1); that of the
        others grows evenly from 0.
    features, heads
        Channels and heads of the first layer; the channels are a multiple of the heads.
    key_stride
        In how large steps over time and frequency the first layers pool keys
        and values, at least 1; each doubling halves it, down to 1.
    """

    depth: int
    doublings: tuple[int, ...]
    drop_path: float = 0.1
    features: int = 96
    heads: int = 1
    key_stride: int = 4

    def __post_init__(self) -> None:
        for name in ("depth", "features", "heads", "key_stride"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; it must be at least 1")
        if self.features % self.heads:
            raise ConfigError(f"features is {self.features}; it must be a multiple of heads, {self.heads}")
        if list(self.doublings) != sorted({layer for layer in self.doublings if 0 <= layer < self.depth}):
            raise ConfigError(
                f"doublings is {self.doublings}; give different layers from 0 to {self.depth - 1} in order"
            )
        if not 0 <= self.drop_path < 1:
            raise ConfigError(f"drop_path is {self.drop_path}; it must be in [0, 1)")


MVIT_PRESETS: Mapping[str, MViTShape] = MappingProxyType(
    {
        "T": MViTShape(10, (1, 3, 8), 0.1),
        "S": MViTShape(16, (1, 3, 14), 0.1),
        "B": MViTShape(24, (2, 5, 21), 0.3),
    }
)
"""The published sizes by their letters: 23.3, 34.0 and 50.5 million parameters, to which a classifier is added."""


class MViT(nn.Module):
    r"""MViTv2, an encoder of the playback model with the interface of the VGG.

    Each layer computes, with depthwise 3 x 3 convolutions and layer
    normalisation as pools :math:`P` of time and frequency,

    .. math:: Z = \mathrm{softmax}\bigl(P_q(Q)\,P_k(K)^\top/\sqrt d\bigr)\,P_v(V) + P_q(Q)

    on its normalised input, adds it to what passes by, pooled by a maximum
    where the grid is halved, and adds an MLP.

    Parameters
    ----------
    shape
        Sizes; one of :data:`MVIT_PRESETS` or one's own.

    Attributes
    ----------
    out_features
        Channels of the result, 768 for the published sizes.
    reduction
        Frames that become one, 32 for the published sizes.

    Notes
    -----
    Names of parameters are those of the released checkpoints of MViTv2
    (``patch_embed.proj``, ``blocks.0.attn.pool_q`` ...), which
    :func:`audioattn_lib.models.weights.load_weights` reads; what a checkpoint
    holds beside them (a classifier, relative positions) stays unused. Book
    page: ``playback_published``.
    """

    def __init__(self, shape: MViTShape) -> None:
        super().__init__()
        self.shape = shape
        width, heads, key_stride = shape.features, shape.heads, shape.key_stride
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(1, width, 7, _PATCH_STRIDE, 3)})
        blocks: list[nn.Module] = []
        for layer in range(shape.depth):
            stride, out = 1, width
            if layer in shape.doublings:
                stride, out, heads, key_stride = 2, 2 * width, 2 * heads, max(key_stride // 2, 1)
            rate = shape.drop_path * layer / max(shape.depth - 1, 1)
            blocks.append(_Block(width, out, heads, stride, key_stride, rate))
            width = out
        self.blocks = nn.ModuleList(blocks)
        self.norm = nn.LayerNorm(width, eps=_EPSILON)
        self.out_features = width
        self.reduction = _PATCH_STRIDE * 2 ** len(shape.doublings)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    @classmethod
    def preset(cls, size: str) -> MViT:
        """The published size ``"T"``, ``"S"`` or ``"B"``.

        Raises
        ------
        ConfigError
            When there is no such size.
        """
        if size not in MVIT_PRESETS:
            raise ConfigError(f"size is {size!r}; it must be one of {', '.join(MVIT_PRESETS)}")
        return cls(MVIT_PRESETS[size])

    def count_frames(self, lengths: Int[Tensor, " batch"]) -> Int[Tensor, " batch"]:
        """Valid frames of the result for clips of ``lengths`` frames, rounded up."""
        return (lengths + self.reduction - 1) // self.reduction

    def forward(
        self, features: Float[Tensor, "batch frames mels"], mask: Bool[Tensor, "batch frames"] | None = None
    ) -> Float[Tensor, "batch reduced features"]:
        """Frames of features to fewer and wider ones, the mean of :meth:`encode` over frequency; 0 on padding."""
        return self.encode(features, mask).mean(dim=3).transpose(1, 2)

    def encode(
        self, features: Float[Tensor, "batch frames mels"], mask: Bool[Tensor, "batch frames"] | None = None
    ) -> Float[Tensor, "batch channels time frequency"]:
        """The map of tokens, 0 on padding.

        Parameters
        ----------
        features
            Frames of any number of bands, at least one of both.
        mask
            True on valid frames, which come first; None where all are.
        """
        x = features[:, None]  # (B, 1, T, n_mels)
        if mask is not None:
            x = x.masked_fill(~mask[:, None, :, None], 0.0)
            mask = mask[:, ::_PATCH_STRIDE]
        x = self.patch_embed["proj"](x).permute(0, 2, 3, 1)  # (B, T', F', C)
        for block in self.blocks:
            x, mask = block(x, mask)
        return _clear(self.norm(x), mask).permute(0, 3, 1, 2)


class _Pool(nn.Conv2d):
    """A depthwise convolution of every head alike; of ``n`` rows or columns ``ceil(n / stride)`` are left."""

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__(channels, channels, 3, stride, 1, groups=channels, bias=False)


class _PooledAttention(nn.Module):
    def __init__(self, in_features: int, features: int, heads: int, stride: int, key_stride: int) -> None:
        super().__init__()
        self.heads, self.key_stride = heads, key_stride
        self.qkv = nn.Linear(in_features, 3 * features)
        self.proj = nn.Linear(features, features)
        size = features // heads
        self.pool_q, self.pool_k, self.pool_v = (_Pool(size, s) for s in (stride, key_stride, key_stride))
        self.norm_q, self.norm_k, self.norm_v = (nn.LayerNorm(size, eps=_EPSILON) for _ in range(3))

    def forward(self, x: Grid, mask: Mask) -> Grid:
        qkv = _clear(self.qkv(x), mask).unflatten(3, (3, self.heads, -1))
        projections = qkv.permute(3, 0, 4, 5, 1, 2).flatten(1, 2)  # (3, B * heads, d, T, F)
        query, key, value = (
            norm(pool(projection).movedim(1, -1)).unflatten(0, (-1, self.heads))  # (B, heads, T', F', d)
            for projection, pool, norm in zip(
                projections,
                (self.pool_q, self.pool_k, self.pool_v),
                (self.norm_q, self.norm_k, self.norm_v),
                strict=True,
            )
        )
        is_valid = None
        if mask is not None:
            is_valid = mask[:, :: self.key_stride].clone()
            is_valid[:, 0] = True  # a clip without frames reads something that is finite and then cleared
            is_valid = is_valid.repeat_interleave(key.shape[3], dim=1)[:, None, None]
        read = F.scaled_dot_product_attention(query.flatten(2, 3), key.flatten(2, 3), value.flatten(2, 3), is_valid)
        read = read.unflatten(2, query.shape[2:4]) + query
        return self.proj(read.permute(0, 2, 3, 1, 4).flatten(3))


class _Block(nn.Module):
    def __init__(
        self, in_features: int, features: int, heads: int, stride: int, key_stride: int, drop_path: float
    ) -> None:
        super().__init__()
        self.stride, self.drop_path = stride, drop_path
        self.norm1 = nn.LayerNorm(in_features, eps=_EPSILON)
        self.attn = _PooledAttention(in_features, features, heads, stride, key_stride)
        self.norm2 = nn.LayerNorm(features, eps=_EPSILON)
        self.mlp = Mlp(features)
        self.proj = nn.Linear(in_features, features) if in_features != features else None

    def forward(self, x: Grid, mask: Mask) -> tuple[Grid, Mask]:
        normalised = self.norm1(x)
        added = self.attn(normalised, mask)
        if self.proj is not None:
            x = self.proj(normalised)
        if self.stride > 1:
            x, mask = self._halve(x, mask)
        x = x + self._drop(added)
        return x + self._drop(self.mlp(self.norm2(x))), mask

    def _halve(self, x: Grid, mask: Mask) -> tuple[Grid, Mask]:
        if mask is not None:
            x = x.masked_fill(~mask[:, :, None, None], -torch.inf)
            mask = mask[:, :: self.stride]
        x = F.max_pool2d(x.permute(0, 3, 1, 2), 3, self.stride, 1).permute(0, 2, 3, 1)
        # Where all was padding, -inf would come back as NaN in the gradients of the norms.
        return _clear(x, mask), mask

    def _drop(self, added: Grid) -> Grid:
        if not self.training or self.drop_path == 0:
            return added
        mask = torch.rand(len(added), 1, 1, 1, device=added.device) >= self.drop_path
        return added * mask / (1 - self.drop_path)


def _clear(x: Grid, mask: Mask) -> Grid:
    return x if mask is None else x.masked_fill(~mask[:, :, None, None], 0.0)
