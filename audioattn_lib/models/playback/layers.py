r"""Parts of the playback model: a small encoder, and the decoder that reads one playback after the other.

Padding, missing segments and the company of other clips change nothing.

Book page: ``playback``.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from audioattn_lib.core.errors import ConfigError

__all__ = ["FUSIONS", "FUSION_LEVELS", "PlaybackDecoder", "SmallEncoder", "fourier_positions"]

FUSIONS = ("adaptive", "mean", "adaptive_concat")
"""Fusions of the stages to one prediction; see :class:`PlaybackDecoder`."""
FUSION_LEVELS = ("features", "predictions")
"""Levels of the fusion: features of each stage, or predictions from them."""

_CONTEXT = 5
_FILTER = 9
_FLOOR = 0.05
Latents = Float[Tensor, "batch latents width"]


class SmallEncoder(nn.Module):
    r"""Filters over time and their power, then convolutions over time: an encoder that a processor trains in a minute.

    .. math:: e = \log\bigl(\overline{(w * x)^2} + \epsilon\bigr)

    with filters :math:`w` of 9 frames and 3 bands, :math:`\epsilon` = 0.05, and the mean over 5 frames,
    of which every second is kept. The power of such a filter says how fast the
    loudness of a band changes, whatever the phase of the change: a small network
    need not find that out by itself.

    Parameters
    ----------
    n_mels
        Bands, at least 4. Few and wide ones, since noise makes the level of a narrow band dance.
    channels
        Filters, at least 1.
    features
        Width of a frame of the result, at least 1.

    Attributes
    ----------
    out_features, reduction
        Width of the result, and frames of the input for each frame of it, 2.

    Notes
    -----
    After the modulation filters of Dau, Kollmeier and Kohlrausch, *Modeling
    auditory processing of amplitude modulation*, JASA 1997, but learned. Each
    frame is normalised by itself: batch normalisation would average over hops,
    and so fit none of them. Book page: ``playback``.
    """

    reduction = 2

    def __init__(self, n_mels: int, channels: int = 12, features: int = 48) -> None:
        super().__init__()
        for name, value, lowest in (("n_mels", n_mels, 4), ("channels", channels, 1), ("features", features, 1)):
            if value < lowest:
                raise ConfigError(f"{name} is {value}; it must be at least {lowest}")
        self.out_features = features
        self.filters = nn.Conv2d(1, channels, (_FILTER, 3), (1, 2), (_FILTER // 2, 1))
        self.join = nn.Linear(channels * -(-n_mels // 2), features)
        self.lines = nn.ModuleList(nn.Conv1d(features, features, _CONTEXT, padding=_CONTEXT // 2) for _ in range(2))
        self.norms = nn.ModuleList(nn.LayerNorm(features) for _ in range(3))

    def count_frames(self, lengths: Int[Tensor, " batch"]) -> Int[Tensor, " batch"]:
        """Valid frames of the result."""
        return (lengths + 1) // 2

    def forward(
        self, features: Float[Tensor, "batch frames mels"], mask: Bool[Tensor, "batch frames"] | None = None
    ) -> Float[Tensor, "batch reduced features"]:
        """Frames of features to fewer and wider ones, 0 on padding; ``mask`` is True on valid frames."""
        x = features if mask is None else features.masked_fill(~mask[..., None], 0.0)
        power = self.filters(x[:, None]).square()  # (B, channels, T, bands)
        if mask is not None:
            power = power.masked_fill(~mask[:, None, :, None], 0.0)
        power = F.avg_pool2d(power, (_CONTEXT, 1), (self.reduction, 1), (_CONTEXT // 2, 0))
        x = self.norms[0](self.join((power + _FLOOR).log().transpose(1, 2).flatten(2)))  # (B, T', features)
        valid = None if mask is None else mask[:, :: self.reduction, None]
        for convolution, norm in zip(self.lines, list(self.norms)[1:], strict=True):
            x = x if valid is None else x.masked_fill(~valid, 0.0)
            x = x + F.gelu(norm(convolution(x.transpose(1, 2)).transpose(1, 2)))
        return x if valid is None else x.masked_fill(~valid, 0.0)


def fourier_positions(
    positions: Float[Tensor, "batch tokens"], bands: int = 6, max_frequency: float = 10.0
) -> Float[Tensor, "batch tokens encoded"]:
    r"""Positions in [-1, 1] as :math:`(p, \sin \pi f_k p, \cos \pi f_k p)`, with :math:`f_k` evenly from 1 to half of
    ``max_frequency``: :math:`2\,\mathrm{bands} + 1` numbers.

    Notes
    -----
    Jaegle et al., *Perceiver: general perception with iterative attention*,
    ICML 2021, section 3.2. Book page: ``playback``.
    """
    frequencies = torch.linspace(1.0, max_frequency / 2, bands, device=positions.device, dtype=positions.dtype)
    angles = math.pi * positions[..., None] * frequencies
    return torch.cat([positions[..., None], angles.sin(), angles.cos()], dim=-1)


class _Attention(nn.Module):
    """Multi-head attention of normalised queries to a normalised context, or to themselves."""

    def __init__(self, width: int, heads: int, context: int | None = None) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.context_norm = None if context is None else nn.LayerNorm(context)
        # What is read where there is nothing to hear: no playback may be empty.
        self.nothing = None if context is None else nn.Parameter(torch.zeros(context))
        self.query = nn.Linear(width, width, bias=False)
        self.key_value = nn.Linear(width if context is None else context, 2 * width, bias=False)
        self.out = nn.Linear(width, width)

    def forward(
        self, latents: Tensor, context: Tensor | None = None, gate: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor:
        x = self.norm(latents)
        if context is None:
            source = x
        else:
            assert self.context_norm is not None
            assert self.nothing is not None
            source = self.context_norm(context)  # (B, N, D)
            if gate is not None:  # behind the norm, which would undo it
                source = source * gate[..., None].to(source.dtype)
            # a learned token in front, which is never masked: softmax over masked tokens alone would be NaN
            source = torch.cat([self.nothing.to(source.dtype).expand(source.shape[0], 1, -1), source], dim=1)
            mask = None if mask is None else F.pad(mask, (1, 0), value=True)[:, None, None]
        # (B, heads, latents, d) and (B, heads, 1 + N, d)
        query = self.query(x).unflatten(2, (self.heads, -1)).transpose(1, 2)
        key, value = self.key_value(source).unflatten(2, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)
        read = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        return latents + self.out(read.transpose(1, 2).flatten(2))


class _GatedMlp(nn.Module):
    """Two linear layers with a gated GELU between, four times as wide inside."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.first = nn.Linear(width, 8 * width)
        self.second = nn.Linear(4 * width, width)

    def forward(self, latents: Tensor) -> Tensor:
        values, gates = self.first(self.norm(latents)).chunk(2, dim=-1)
        return latents + self.second(values * F.gelu(gates))


class _Stage(nn.Module):
    """One decoder stage: cross-attention to the tokens of a playback, MLP, then self-attention layers with MLPs."""

    def __init__(self, features: int, width: int, heads: int, self_layers: int) -> None:
        super().__init__()
        self.cross = _Attention(width, 1, features)
        self.cross_mlp = _GatedMlp(width)
        self.selves = nn.ModuleList(_Attention(width, heads) for _ in range(self_layers))
        self.self_mlps = nn.ModuleList(_GatedMlp(width) for _ in range(self_layers))

    def forward(self, latents: Tensor, tokens: Tensor, gate: Tensor | None, mask: Tensor | None) -> Tensor:
        latents = self.cross_mlp(self.cross(latents, tokens, gate, mask))
        for attention, mlp in zip(self.selves, self.self_mlps, strict=True):
            latents = mlp(attention(latents))
        return latents


class PlaybackDecoder(nn.Module):
    r"""Latents that read the tokens of one playback after the other, and predict after each.

    .. math:: z_i = \mathrm{Stage}_i(z_{i-1}, X_i), \qquad y_i = \mathrm{LN}(\overline{z_i}), \qquad
       \ell_i = W y_i + b

    Parameters
    ----------
    features
        Width of the tokens.
    n_classes
        Classes of the output, at least 1.
    stages
        Playbacks and the first hearing, at least 1.
    n_latents, width
        Number and width of the latents, at least 1; 256 and 512 as published.
    heads
        Of the attention of latents to each other; divides ``width``. 8 as published.
    self_layers
        Of that attention in each stage, at least 0; 3 as published.
    fusion
        ``"mean"`` averages over the stages; ``"adaptive"``, as published,
        convolves over them, :math:`\mathrm{relu}(\sum_i W_i y_i)`, then
        classifies as each stage does; ``"adaptive_concat"`` classifies all
        stages side by side, each times a learned share :math:`\mathrm{softmax}(a)_i`.
    fusion_level
        ``"features"`` fuses :math:`y_i`, ``"predictions"`` :math:`\ell_i`, where
        ``"adaptive"`` is a weight for each stage and class, :math:`\sum_i w_{ic}\,\ell_{ic}`.
    dropout
        Of what is fused, in [0, 1); 0.1 as published.

    Notes
    -----
    What ``adaptive_concat`` computes is ours, and so is a token for nothing to hear; those of the
    released code are in :class:`~audioattn_lib.models.playback.published.PublishedDecoder`. It
    asks for a warm-up of the learning rate.
    Stergiou and Damen, *Play it back*, ICASSP 2023, and the code
    released with it; Jaegle et al., *Perceiver*, ICML 2021. Book page:
    ``playback``.
    """

    mixture: nn.Parameter | None

    def __init__(
        self,
        features: int,
        n_classes: int,
        stages: int,
        *,
        n_latents: int = 16,
        width: int = 96,
        heads: int = 4,
        self_layers: int = 1,
        fusion: str = "adaptive",
        fusion_level: str = "features",
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        for name, value in (("n_classes", n_classes), ("stages", stages), ("n_latents", n_latents), ("width", width)):
            if value < 1:
                raise ConfigError(f"{name} is {value}; it must be at least 1")
        if heads < 1 or width % heads:
            raise ConfigError(f"heads is {heads}; it must be at least 1 and divide width, {width}")
        if fusion not in FUSIONS:
            raise ConfigError(f"fusion is {fusion!r}; it must be one of {', '.join(FUSIONS)}")
        if fusion_level not in FUSION_LEVELS:
            raise ConfigError(f"fusion_level is {fusion_level!r}; it must be one of {', '.join(FUSION_LEVELS)}")
        if not 0 <= dropout < 1:
            raise ConfigError(f"dropout is {dropout}; it must be in [0, 1)")
        self.fusion, self.fusion_level = fusion, fusion_level
        self.latents = nn.Parameter(torch.randn(n_latents, width) * width**-0.5)
        encoded = features + fourier_positions(torch.zeros(1, 1)).shape[-1]
        self.stages = nn.ModuleList(_Stage(encoded, width, heads, self_layers) for _ in range(stages))
        self.norm = nn.LayerNorm(width)
        self.classifier = nn.Linear(width, n_classes)
        self.dropout = nn.Dropout(dropout)
        self.mixture = None
        size = width if fusion_level == "features" else n_classes
        if fusion == "adaptive":
            shape = (stages, width, width) if fusion_level == "features" else (stages, n_classes)
            self.mixture = nn.Parameter(torch.full(shape, 1 / stages))
            if fusion_level == "features":
                nn.init.normal_(self.mixture, std=(stages * width) ** -0.5)
        elif fusion == "adaptive_concat":
            self.mixture = nn.Parameter(torch.zeros(stages))
            self.join = nn.Linear(stages * size, n_classes)

    def start(self, batch: int) -> Latents:
        """Return the initial latents."""
        return self.latents.expand(batch, -1, -1)

    def read(
        self,
        stage: int,
        latents: Latents,
        tokens: Float[Tensor, "batch tokens features"],
        positions: Float[Tensor, "batch tokens"],
        *,
        gate: Float[Tensor, "batch tokens"] | None = None,
        mask: Bool[Tensor, "batch tokens"] | None = None,
    ) -> tuple[Latents, Float[Tensor, "batch width"]]:
        """Latents that have also read the tokens of one stage, and their normalised mean :math:`y_i`.

        ``positions`` are those of the tokens in their clip, in [-1, 1]; ``gate``
        is how much of each token comes through, all of it by default; ``mask``
        is True on tokens that are there, and no clip needs to have any.
        """
        if mask is not None:
            tokens = tokens.masked_fill(~mask[..., None], 0.0)
            positions = positions.masked_fill(~mask, 0.0)
        context = torch.cat([tokens, fourier_positions(positions.to(tokens.dtype))], dim=-1)
        latents = self.stages[stage](latents, context, gate, mask)
        return latents, self.norm(latents.mean(dim=1))

    def fuse(self, stage_outputs: Float[Tensor, "batch stages width"]) -> Float[Tensor, "batch classes"]:
        """Logits from the :math:`y_i` of all stages."""
        # (B, stages, width), or (B, stages, classes) where predictions are fused
        x = stage_outputs if self.fusion_level == "features" else self.classifier(stage_outputs)
        if self.fusion == "adaptive_concat":
            assert self.mixture is not None
            return self.join(self.dropout((x * self.mixture.softmax(0)[:, None]).flatten(1)))
        if self.fusion == "mean":
            fused = x.mean(dim=1)
        else:
            assert self.mixture is not None
            # a matrix a stage, or a weight for each stage and class
            pattern = "bsw,swv->bv" if self.fusion_level == "features" else "bsc,sc->bc"
            fused = torch.einsum(pattern, x, self.mixture.to(x.dtype))
            if self.fusion_level == "features":
                fused = self.dropout(F.relu(fused))
        return self.classifier(fused) if self.fusion_level == "features" else fused
