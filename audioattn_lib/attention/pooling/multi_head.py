r"""Multi-head attention pooling: each head reads its own slice of the frames, with its own weights.

A frame :math:`h_t \in R^D` is cut into :math:`H` slices :math:`h_{t,j} \in R^{D/H}`.
Every head has a query :math:`q_j`, and

.. math::

   p_{\cdot,j} = \mathrm{map}_t\Bigl(\frac{h_{t,j}^\top q_j}{s}\Bigr), \qquad
   c_j = \sum_t p_{t,j}\, h_{t,j}.

Multi-head attention returns :math:`[c_1, \dots, c_H]`. *Double* multi-head
attention attends once more, to the heads: with a query :math:`v`,
:math:`b = \mathrm{map}_j(c_j^\top v)` and :math:`c = \sum_j b_j c_j \in R^{D/H}`.

Scores and read are one product each, whose gradients are written in the layout
of the frames: no head computes what another one needs.

Sources: India, Safari and Hernando, *Self multi-head attention for speaker
recognition*, Interspeech 2019; the same, *Double multi-head attention for
speaker verification*, ICASSP 2021; several queries a head: Zhao et al.,
*Multi-query multi-head attention pooling and inter-topK penalty for speaker
verification*, ICASSP 2022. Book page: ``accents``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from audioattn_lib.core.errors import ConfigError

from ..densities.beta_gaussian import BetaGaussian
from ..expectations.gaussian import GaussianBasis
from ..expectations.value_function import ValueFunction
from ..maps.entmax import entmax, softmax
from ..record.density import Density
from ..record.record import AttentionRecord, FrameClock
from ._head_products import read_heads, score_heads
from ._padding import Padding, seconds_of
from .encoders import MIN_VARIANCE, frame_positions, weighted_moments
from .frames import Traced
from .head_dropout import HeadDropout
from .registry import MECHANISMS

__all__ = ["INITIAL_QUERIES", "SCALES", "DoubleMultiHeadPooling", "MultiHeadPooling"]

SCALES = ("dim", "heads")
"""Scale of the scores: the square root of a head's width, or of the number of heads."""

INITIAL_QUERIES = ("xavier", "zero")
"""Initial queries: Xavier-normal, as published, or 0, which gives equal weights."""

Values = Float[Tensor, "batch frames features"]
Lengths = Int[Tensor, " batch"] | None


class _Looked(NamedTuple):
    """Attention of the heads: discrete weights, weights in the context, and the density if there is one."""

    weights: Float[Tensor, "batch heads frames"]
    read_weights: Float[Tensor, "batch heads frames"]
    density: BetaGaussian | None


class MultiHeadPooling(nn.Module):
    r"""Multi-head attention pooling; with one head, self attention pooling.

    Parameters
    ----------
    features
        Width :math:`D` of the frames, at least 1.
    heads
        :math:`H`, at least 1, a divisor of ``features``.
    attention
        One of :data:`~audioattn_lib.attention.pooling.registry.MECHANISMS`: a map in place
        of softmax, or a density whose location and variance are the moments of
        the head's softmax weights.
    scale
        Divisor of the scores: ``"dim"``, :math:`\sqrt{D/H}`, or ``"heads"``,
        :math:`\sqrt H` as in the published code (nothing for one head).
    initial_queries
        ``"xavier"``, drawn from a normal distribution as published, or ``"zero"``:
        attention then starts as the mean, and looks somewhere only as far as
        that helps.
    n_queries
        Queries of each head, at least 1; every one reads a context of its own.
    n_basis
        Gaussian basis functions of a density's value function, at least 1.
    name
        The mechanism's name in the record.

    Attributes
    ----------
    out_features
        Width of the context, ``n_queries * features``.

    Raises
    ------
    ConfigError
        If a number is below 1, ``heads`` is no divisor, or a name is unknown.

    Notes
    -----
    The record holds ``weights`` of every head (query after query), and for a
    density ``density`` with a mode for each. Source: India et al., Interspeech
    2019, section 3. Book page: ``accents``.
    """

    def __init__(
        self,
        features: int,
        heads: int = 1,
        *,
        attention: str = "softmax",
        scale: str = "dim",
        initial_queries: str = "xavier",
        n_queries: int = 1,
        n_basis: int = 64,
        name: str = "multi_head",
    ) -> None:
        super().__init__()
        for option, value in (("features", features), ("heads", heads), ("n_queries", n_queries)):
            if value < 1:
                raise ConfigError(f"{option} is {value}; it must be at least 1")
        if features % heads:
            raise ConfigError(
                f"heads is {heads}; it must divide the {features} features of a frame, so that each head has as many"
            )
        if attention not in MECHANISMS:
            raise ConfigError(f"attention is {attention!r}; it must be one of {', '.join(MECHANISMS)}")
        for option, name_given, choices in (
            ("scale", scale, SCALES),
            ("initial_queries", initial_queries, INITIAL_QUERIES),
        ):
            if name_given not in choices:
                raise ConfigError(f"{option} is {name_given!r}; it must be one of {', '.join(choices)}")
        self.heads = heads
        self.attention = MECHANISMS[attention]
        self.scale = 1 / math.sqrt(features // heads if scale == "dim" else heads)
        self.name = name
        self.queries = nn.Parameter(torch.zeros(n_queries, heads, features // heads))
        for queries in self.queries.data if initial_queries == "xavier" else ():
            nn.init.xavier_normal_(queries)
        self.value_function = ValueFunction(GaussianBasis.grid(n_basis)) if self._is_continuous else None
        self.out_features = n_queries * features

    @property
    def _is_continuous(self) -> bool:
        return self.attention.domain == "continuous"

    def forward(
        self, values: Values, lengths: Lengths = None, *, clock: FrameClock = FrameClock(), record: bool = False
    ) -> tuple[Float[Tensor, "batch context"], AttentionRecord]:
        """Compute context and record, as :meth:`~audioattn_lib.attention.pooling.frames.DiscreteAttention.forward`."""
        padding = Padding(values, lengths)
        contexts, looked = self.read(values, padding)  # (B, Q * H, d)
        context = contexts.flatten(1)
        return context, self.describe(looked, padding, clock) if record else AttentionRecord.empty()

    def trace(self, values: Values, lengths: Lengths = None, *, clock: FrameClock = FrameClock()) -> Traced:
        """Compute context and fields of the record as tensors.

        As :meth:`~audioattn_lib.attention.pooling.frames.DiscreteAttention.trace`.
        """
        padding = Padding(values, lengths)
        contexts, looked = self.read(values, padding)
        return contexts.flatten(1), self.tensors(looked, padding, clock)

    def tensors(
        self, looked: _Looked, padding: Padding, clock: FrameClock, head_weights: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Fields of the record of the result of :meth:`read`, as tensors."""
        fields = {"weights": looked.weights}
        if head_weights is not None:
            fields["head_weights"] = head_weights
        if looked.density is not None:
            location, variance = seconds_of(clock, padding, looked.density.location, looked.density.variance)
            share = torch.full_like(location, 1 / location.shape[1]) if head_weights is None else head_weights
            fields |= {"location": location, "variance": variance, "mode_weight": share}
        return fields

    def read(self, values: Values, padding: Padding) -> tuple[Float[Tensor, "batch heads width"], _Looked]:
        """Compute the context and the weights of every head, with gradients."""
        with torch.autocast(values.device.type, enabled=False):
            slices = padding.clear(values).unflatten(2, (self.heads, -1))  # (B, T, H, d)
            results = [self._read(slices, queries.to(values.dtype), padding) for queries in self.queries * self.scale]
        if len(results) == 1:
            return results[0]
        contexts, looked = zip(*results, strict=True)
        return torch.cat(contexts, dim=1), _join(looked)

    def describe(
        self, looked: _Looked, padding: Padding, clock: FrameClock, head_weights: Tensor | None = None
    ) -> AttentionRecord:
        """Make the record from the result of :meth:`read`."""
        weights, shares = _host(looked.weights), None if head_weights is None else _host(head_weights)
        density = None
        if looked.density is not None:
            seconds = np.array(padding.counts)[:, None] * clock.period  # length of each clip
            location = _host(looked.density.location).astype(np.float64)
            density = Density(
                location=clock.start + location * seconds,
                variance=_host(looked.density.variance).astype(np.float64) * seconds**2,
                alpha=np.full(location.shape, self.attention.alpha),
                mode_weight=np.full(location.shape, 1 / location.shape[1]) if shares is None else shares,
            )
        return AttentionRecord(
            mechanism=self.name,
            clock=clock,
            n_frames=np.array(padding.counts, dtype=np.int64),
            weights=weights,
            head_weights=shares,
            density=density,
        )

    def _read(
        self, slices: Float[Tensor, "batch frames heads width"], queries: Float[Tensor, "heads width"], padding: Padding
    ) -> tuple[Tensor, _Looked]:
        scores, way = score_heads(slices, queries)
        scores = scores.to(torch.promote_types(scores.dtype, torch.float32))  # (B, H, T)
        mask = None if padding.mask is None else padding.mask[:, None]
        looked = self._place(scores, mask, padding) if self._is_continuous else self._weigh(scores, mask)
        return read_heads(slices, looked.read_weights.to(slices.dtype), way), looked

    def _weigh(self, scores: Tensor, mask: Tensor | None) -> _Looked:
        weights = entmax(scores, self.attention.alpha, mask=mask)
        return _Looked(weights, weights, None)

    def _place(self, scores: Tensor, mask: Tensor | None, padding: Padding) -> _Looked:
        """A density for each head and clip, and the weights with which it reads the frames."""
        assert self.value_function is not None
        weights = softmax(scores, mask=mask)
        batch, heads, frames = weights.shape
        positions = frame_positions(padding.lengths, frames, dtype=weights.dtype)
        if mask is not None:
            positions = positions.masked_fill(~mask[:, 0], 0.0)
        flat = weights.flatten(0, 1)  # (B * H, T)
        location, variance = weighted_moments(flat, positions.repeat_interleave(heads, dim=0))
        density = BetaGaussian(location, variance.clamp(min=MIN_VARIANCE), self.attention.alpha, check=False)
        counts = padding.frame_counts
        if isinstance(counts, Tensor):
            counts = counts.repeat_interleave(heads)
        else:
            counts = [count for count in counts for _ in range(heads)]
        read_weights = self.value_function.read_weights(self.value_function.expect(density), counts, frames)
        shown = BetaGaussian(
            density.location.view(batch, heads), density.variance.view(batch, heads), self.attention.alpha, check=False
        )
        return _Looked(weights, read_weights.view(batch, heads, frames), shown)

    def extra_repr(self) -> str:
        """Show the options."""
        queries, heads, width = self.queries.shape
        return f"{heads * width}, heads={heads}, attention={self.attention.name!r}, n_queries={queries}"


class DoubleMultiHeadPooling(nn.Module):
    r"""Double multi-head attention pooling: attention over frames in each head, then over the heads.

    Parameters
    ----------
    features, heads, attention, scale, initial_queries, n_basis
        As :class:`MultiHeadPooling`. Heads are weighted by the same map, by
        softmax where frames are read by a density; their scores are divided by
        :math:`\sqrt{D/H}` for ``"dim"``, and by nothing for ``"heads"``, as in the
        published code.
    head_dropout
        Probability with which a head is left out in training; see :class:`HeadDropout`.
    name
        The mechanism's name in the record.

    Attributes
    ----------
    out_features
        Width of the context, ``features // heads``.

    Raises
    ------
    ConfigError
        As :class:`MultiHeadPooling`, or if ``head_dropout`` is out of range.

    Notes
    -----
    The record holds ``weights`` of every head and ``head_weights``. Source:
    India, Safari and Hernando, ICASSP 2021, section 3. Book page: ``accents``.
    """

    def __init__(
        self,
        features: int,
        heads: int = 32,
        *,
        attention: str = "softmax",
        scale: str = "dim",
        initial_queries: str = "xavier",
        head_dropout: float = 0.3,
        n_basis: int = 64,
        name: str = "double_multi_head",
    ) -> None:
        super().__init__()
        self.frames = MultiHeadPooling(
            features,
            heads,
            attention=attention,
            scale=scale,
            initial_queries=initial_queries,
            n_basis=n_basis,
            name=name,
        )
        variant = MECHANISMS[attention]
        self.normalizer: Callable[..., Tensor] = (
            partial(entmax, alpha=variant.alpha) if variant.domain == "discrete" else softmax
        )
        self.scale = self.frames.scale if scale == "dim" else 1.0
        self.query = nn.Parameter(torch.zeros(features // heads, 1))
        if initial_queries == "xavier":
            nn.init.xavier_normal_(self.query)
        self.dropout = HeadDropout(heads, head_dropout)
        self.out_features = features // heads

    def forward(
        self, values: Values, lengths: Lengths = None, *, clock: FrameClock = FrameClock(), record: bool = False
    ) -> tuple[Float[Tensor, "batch context"], AttentionRecord]:
        """Compute the context of each clip, and its record; as :meth:`MultiHeadPooling.forward`."""
        padding = Padding(values, lengths)
        context, looked, head_weights = self._read(values, padding)
        if not record:
            return context, AttentionRecord.empty()
        return context, self.frames.describe(looked, padding, clock, head_weights)

    def trace(self, values: Values, lengths: Lengths = None, *, clock: FrameClock = FrameClock()) -> Traced:
        """Compute the same as :meth:`MultiHeadPooling.trace`."""
        padding = Padding(values, lengths)
        context, looked, head_weights = self._read(values, padding)
        return context, self.frames.tensors(looked, padding, clock, head_weights)

    def _read(self, values: Tensor, padding: Padding) -> tuple[Tensor, _Looked, Tensor]:
        """Context, attention of the heads to frames, and weights of the heads."""
        contexts, looked = self.frames.read(values, padding)  # (B, H, d)
        with torch.autocast(values.device.type, enabled=False):
            scores = (contexts @ self.query.to(contexts.dtype)).squeeze(2)
            scores = scores.to(torch.promote_types(scores.dtype, torch.float32)) * self.scale
            head_weights = self.normalizer(scores, mask=self.dropout(values.shape[0]))  # (B, H)
            context = torch.bmm(head_weights[:, None].to(contexts.dtype), contexts).squeeze(1)  # (B, d)
        return context, looked, head_weights


def _join(looked: tuple[_Looked, ...]) -> _Looked:
    densities = [result.density for result in looked if result.density is not None]
    joined = None
    if densities:
        location, variance = (
            torch.cat([getattr(density, name) for density in densities], dim=1) for name in ("location", "variance")
        )
        joined = BetaGaussian(location, variance, densities[0].alpha, check=False)
    return _Looked(
        torch.cat([result.weights for result in looked], dim=1),
        torch.cat([result.read_weights for result in looked], dim=1),
        joined,
    )


def _host(tensor: Tensor) -> np.ndarray:
    return tensor.detach().float().cpu().numpy()
