r"""Statistics pooling: mean and standard deviation under attention.

Both poolings turn values ``(B, T, C)`` into the mean and the standard deviation
of every channel, ``(B, 2C)``, and both let a frame know the whole clip: it is
joined by the mean and the deviation over all frames before anything is scored.

Sources: Okabe et al., *Attentive statistics pooling for deep speaker
embedding*, Interspeech 2018; Desplanques et al., *ECAPA-TDNN*, Interspeech
2020, section 3.1. Book page: ``urban_sound``.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from audioattn_lib.attention.expectations.value_variance import coefficient_variance, std
from audioattn_lib.attention.maps.entmax import entmax, softmax
from audioattn_lib.attention.pooling._padding import to_record
from audioattn_lib.attention.pooling.frames import Attended, ContinuousAttention, Padding, Traced
from audioattn_lib.attention.pooling.registry import MECHANISMS
from audioattn_lib.attention.record.record import AttentionRecord, FrameClock
from audioattn_lib.core.errors import ConfigError

from .common import MaskedBatchNorm1d, at_least_float32, masked_mean

__all__ = [
    "VARIANCES",
    "ContextLinear",
    "ContinuousStatisticsPooling",
    "DiscreteStatisticsPooling",
    "MeanStatisticsPooling",
    "build_pooling",
]

VARIANCES = ("variance", "published")
"""Variance of a continuous pooling: that of the value function, or the published one."""

Statistics = Float[Tensor, "batch statistics"]


class ContextLinear(nn.Linear):
    r"""A linear map of each frame joined with the mean and the deviation of its clip, :math:`W [x_t; \mu; \sigma] + b`.

    The joined frames are never built: what they share is mapped once a clip.

    Parameters
    ----------
    features
        Channels of a frame; the map has three times as many columns.
    out_features
        Rows of the map.
    """

    def __init__(self, features: int, out_features: int) -> None:
        super().__init__(3 * features, out_features)

    def forward(  # type: ignore[override]
        self, values: Float[Tensor, "batch frames channels"], mask: Bool[Tensor, "batch frames"] | None
    ) -> Float[Tensor, "batch frames out"]:
        """Map the frames; padded frames of the result are those of frames of zeros."""
        channels = values.shape[2]
        shared = torch.cat(_statistics(values, mask), dim=2).to(self.weight.dtype)  # (B, 1, 2C)
        shared = F.linear(shared, self.weight[:, channels:], self.bias)
        return F.linear(values, self.weight[:, :channels]) + shared


class DiscreteStatisticsPooling(nn.Module):
    r"""Mean and standard deviation of each channel under its own weights over the frames.

    .. math::

       e_{t,c} = v_c^\top \tanh(\mathrm{norm}(\mathrm{relu}(W[x_t; \mu; \sigma] + b))) + k_c,
       \qquad \tilde\mu_c = \sum_t p_{t,c}\,x_{t,c},
       \qquad \tilde\sigma_c^2 = \sum_t p_{t,c}\,(x_{t,c} - \tilde\mu_c)^2

    with :math:`p_{\cdot,c}` the map of the scores :math:`e_{\cdot,c}`.

    Parameters
    ----------
    channels
        Width :math:`C` of the values, at least 1.
    weights
        The map: called as ``weights(scores, dim=..., mask=...)``, as those of
        :mod:`audioattn_lib.attention.maps.entmax` are.
    hidden_size
        Rows of :math:`W`, at least 1; ``attention_channels`` in the published settings.
    dropout
        Share of the weights that are dropped in training, in [0, 1); 0 as published.
    name
        Of the mechanism, for the record.

    Notes
    -----
    Source: Desplanques et al., Interspeech 2020, section 3.1. Book page:
    ``urban_sound``.
    """

    def __init__(
        self,
        channels: int,
        weights: Callable[..., Tensor] = softmax,
        *,
        hidden_size: int = 128,
        dropout: float = 0.0,
        name: str = "softmax",
    ) -> None:
        super().__init__()
        for option, value in (("channels", channels), ("hidden_size", hidden_size)):
            if value < 1:
                raise ConfigError(f"{option} is {value}; it must be at least 1")
        if not 0 <= dropout < 1:
            raise ConfigError(f"dropout is {dropout}; it must be in [0, 1)")
        self.hidden = ContextLinear(channels, hidden_size)
        self.norm = MaskedBatchNorm1d(hidden_size)
        self.vectors = nn.Conv1d(hidden_size, channels, 1)
        self.weights = weights
        self.dropout = dropout
        self.name = name

    def forward(
        self,
        values: Float[Tensor, "batch frames channels"],
        lengths: Int[Tensor, " batch"] | None = None,
        *,
        clock: FrameClock = FrameClock(),
        record: bool = False,
    ) -> tuple[Statistics, AttentionRecord]:
        """Compute means and standard deviations, and the record, whose weights are the mean over channels.

        Parameters
        ----------
        values, lengths, clock, record
            As in :meth:`~audioattn_lib.attention.pooling.frames.DiscreteAttention.forward`.

        Returns
        -------
        statistics
            Shape ``(B, 2C)``, in the dtype of the values; under autocast in at least
            float32, so that a normalisation behind them has all digits.
        record
            Empty unless asked for.
        """
        padding, weights, statistics = self._attend(values, lengths)
        if not record:
            return statistics, AttentionRecord.empty()
        return statistics, to_record(self.name, clock, padding, weights=weights.mean(1))

    def trace(
        self,
        values: Float[Tensor, "batch frames channels"],
        lengths: Int[Tensor, " batch"] | None = None,
        *,
        clock: FrameClock = FrameClock(),
    ) -> Traced:
        """Compute the statistics and the fields of the record as tensors.

        As :meth:`~audioattn_lib.attention.pooling.frames.DiscreteAttention.trace`.
        """
        _, weights, statistics = self._attend(values, lengths)
        return statistics, {"weights": weights.mean(1, keepdim=True)}

    def _attend(self, values: Tensor, lengths: Tensor | None) -> tuple[Padding, Tensor, Tensor]:
        """Padding, weights ``(B, C, T)`` before dropout, and statistics."""
        padding = Padding(values, lengths)
        mask, values = padding.mask, padding.clear(values)
        valid = None if mask is None else mask[:, None]  # (B, 1, T)
        hidden = F.relu(self.hidden(values, mask)).transpose(1, 2)  # (B, A, T)
        scores = self.vectors(torch.tanh(self.norm(hidden, valid)))  # (B, C, T)
        weights = self.weights(at_least_float32(scores), dim=2, mask=valid)
        read_weights = F.dropout(weights, self.dropout, self.training)
        x = at_least_float32(values).transpose(1, 2)
        mean = (read_weights * x).sum(2, keepdim=True)  # (B, C, 1)
        variance = (read_weights * (x - mean).square()).sum(2)
        return padding, weights, _join(mean.squeeze(2), std(variance), values)


class ContinuousStatisticsPooling(nn.Module):
    r"""Mean and deviation of a function of time under a density.

    The values are made of frames that know their clip, :math:`W[x_t; \mu; \sigma] + b`
    of width :math:`C`; a continuous attention reads their mean; the deviation is
    that of their value function :math:`V` under the same density :math:`p`.

    Parameters
    ----------
    channels
        Width :math:`C` of the values, at least 1.
    attention
        Places the density and reads the mean; made for width :math:`C`.
    variant
        ``"variance"`` takes :math:`\mathrm{Var}_p[V]`. ``"published"`` takes
        :math:`(B - c)^2 r` instead, which treats the coefficients of the value
        function as if they were its values.

    Notes
    -----
    When the attention is fused, the discrete context joins the mean alone: it
    shifts where the values lie, not how they vary under the density. Source: the
    code released with Martins et al., JMLR 2022. Book page: ``urban_sound``.
    """

    def __init__(self, channels: int, attention: ContinuousAttention, *, variant: str = "variance") -> None:
        super().__init__()
        if channels < 1:
            raise ConfigError(f"channels is {channels}; it must be at least 1")
        if variant not in VARIANCES:
            raise ConfigError(f"variant is {variant!r}; it must be one of {', '.join(VARIANCES)}")
        self.values = ContextLinear(channels, channels)
        self.attention = attention
        self.variant = variant

    def forward(
        self,
        values: Float[Tensor, "batch frames channels"],
        lengths: Int[Tensor, " batch"] | None = None,
        *,
        clock: FrameClock = FrameClock(),
        record: bool = False,
    ) -> tuple[Statistics, AttentionRecord]:
        """Compute the same as :meth:`DiscreteStatisticsPooling.forward`; the record is that of the attention."""
        attended, statistics = self._attend(values, lengths)
        return statistics, self.attention.describe(attended, clock) if record else AttentionRecord.empty()

    def trace(
        self,
        values: Float[Tensor, "batch frames channels"],
        lengths: Int[Tensor, " batch"] | None = None,
        *,
        clock: FrameClock = FrameClock(),
    ) -> Traced:
        """Compute the same as :meth:`DiscreteStatisticsPooling.trace`."""
        attended, statistics = self._attend(values, lengths)
        return statistics, self.attention.tensors(attended, clock)

    def _attend(self, values: Tensor, lengths: Tensor | None) -> tuple[Attended, Tensor]:
        padding = Padding(values, lengths)
        inputs, dtype = values, self.values.weight.dtype
        values = self.values(padding.clear(values), padding.mask)  # (B, T, C)
        values = values.to(torch.promote_types(values.dtype, dtype))  # under autocast what the attention is made of
        # Weights of either sign that sum to 1 and squares of small differences: no place for half precision.
        with torch.autocast(values.device.type, enabled=False):
            attended = self.attention.attend(values, lengths)
            attended = attended._replace(values=at_least_float32(attended.values))
            weights = F.dropout(attended.read_weights, self.attention.dropout, self.training)
            mean = (weights[:, None] @ attended.values).squeeze(1)  # (B, C)
            if self.variant == "variance":
                variance = self.attention.variance(attended)
            else:
                variance = coefficient_variance(
                    self.attention.value_function, attended.expectations, attended.values, attended.padding.frame_counts
                )
        return attended, _join(mean, std(variance), inputs)


class MeanStatisticsPooling(nn.Module):
    """Mean and standard deviation under equal weights, the reference for attention. It has no parameters.

    Parameters
    ----------
    channels
        Width of the values, at least 1, where something asks for ``out_features``, which is twice as much.
    """

    def __init__(self, channels: int | None = None) -> None:
        super().__init__()
        self.out_features = None if channels is None else 2 * channels

    def forward(
        self,
        values: Float[Tensor, "batch frames channels"],
        lengths: Int[Tensor, " batch"] | None = None,
        *,
        clock: FrameClock = FrameClock(),
        record: bool = False,
    ) -> tuple[Statistics, AttentionRecord]:
        """Compute the same as :meth:`DiscreteStatisticsPooling.forward`; the record holds equal weights."""
        padding = Padding(values, lengths)
        mean, spread = _statistics(padding.clear(values), padding.mask)
        statistics = _join(mean.squeeze(1), spread.squeeze(1), values)
        if not record:
            return statistics, AttentionRecord.empty()
        valid = torch.ones(values.shape[:2], device=values.device) if padding.mask is None else padding.mask.float()
        return statistics, to_record("mean", clock, padding, weights=valid / valid.sum(1, keepdim=True))

    def trace(
        self,
        values: Float[Tensor, "batch frames channels"],
        lengths: Int[Tensor, " batch"] | None = None,
        *,
        clock: FrameClock = FrameClock(),
    ) -> Traced:
        """Compute the same as :meth:`DiscreteStatisticsPooling.trace`."""
        statistics, _ = self(values, lengths)
        padding = Padding(values, lengths)
        valid = torch.ones_like(values[..., 0]) if padding.mask is None else padding.mask.to(values.dtype)
        return statistics, {"weights": (valid / valid.sum(1, keepdim=True))[:, None]}


def build_pooling(name: str, channels: int, **options: Any) -> nn.Module:
    """Make a statistics pooling by the name of its attention.

    Parameters
    ----------
    name
        One of :data:`~audioattn_lib.attention.pooling.registry.MECHANISMS`, or ``"mean"``
        for equal weights.
    channels
        Width of the values, at least 1; the statistics have twice as many.
    **options
        Discrete: those of :class:`DiscreteStatisticsPooling`. Continuous:
        ``variant``, and those of
        :class:`~audioattn_lib.attention.pooling.frames.ContinuousAttention`. ``"mean"``
        has none.

    Raises
    ------
    ConfigError
        If the name is unknown, or an option is not one of its own or impossible.

    Notes
    -----
    Book page: ``urban_sound``.
    """
    if name == "mean":
        make: Any = MeanStatisticsPooling
    elif name not in MECHANISMS:
        raise ConfigError(f"attention is {name!r}; it must be one of {', '.join((*MECHANISMS, 'mean'))}")
    elif MECHANISMS[name].domain == "discrete":
        make = partial(DiscreteStatisticsPooling, channels, partial(entmax, alpha=MECHANISMS[name].alpha), name=name)
    else:
        make = partial(_continuous, name, channels)
    try:
        return make(**options)
    except TypeError as error:
        raise ConfigError(f"attention {name!r} and its options do not fit: {error}") from None


def _continuous(name: str, channels: int, variant: str = "variance", **options: Any) -> ContinuousStatisticsPooling:
    attention = ContinuousAttention(channels, MECHANISMS[name].alpha, name=name, **options)
    return ContinuousStatisticsPooling(channels, attention, variant=variant)


def _statistics(values: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """Mean and deviation over the valid frames, ``(B, 1, C)`` each, of values that are finite on padding too."""
    valid = None if mask is None else mask[..., None]
    mean = masked_mean(values, valid, dim=1)
    return mean, std(masked_mean((at_least_float32(values) - mean).square(), valid, dim=1))


def _join(mean: Tensor, spread: Tensor, values: Tensor) -> Tensor:
    """Both, ``(B, 2C)``, in the dtype of the values; with all digits under autocast, where what reads them decides."""
    statistics = torch.cat([mean, spread], dim=1)
    return statistics if torch.is_autocast_enabled(values.device.type) else statistics.to(values.dtype)
