r"""Attention over the frames of a clip: from ``(B, T, H)`` to ``(B, H)``.

Each module scores, maps and reads, and says what it attended to when asked:
``context, record = attention(values, lengths, clock=..., record=True)``. Padding,
the company of other clips and the order of the batch change nothing.

Book page: ``urban_sound``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import ConfigError
from .densities import BetaGaussian
from .encoders import ENCODERS, ConvolutionEncoder, LastStateEncoder, MomentsEncoder
from .expectations import GaussianBasis
from .maps import softmax
from .record import AttentionRecord, Density, FrameClock
from .scores import AdditiveScorer
from .value_function import ValueFunction

__all__ = ["Attended", "ContinuousAttention", "DiscreteAttention", "MeanAttention", "Padding"]

Values = Float[Tensor, "batch frames features"]
Context = Float[Tensor, "batch features"]
Lengths = Int[Tensor, " batch"] | None


class Padding:
    """Which frames of a batch belong to its clips."""

    def __init__(self, values: Tensor, lengths: Tensor | None) -> None:
        if values.ndim != 3:
            raise ValueError(f"values have shape {tuple(values.shape)}; they must be (batch, frames, features)")
        batch, n_frames, _ = values.shape
        if lengths is None:
            self.counts = [n_frames] * batch
            self.lengths = torch.full((batch,), n_frames, device=values.device)
        else:
            if lengths.shape != (batch,) or lengths.is_floating_point():
                raise ValueError(
                    f"lengths have shape {tuple(lengths.shape)} and dtype {lengths.dtype}; "
                    f"they must be integers of shape ({batch},), one a clip"
                )
            self.counts = lengths.tolist()
            self.lengths = lengths.to(values.device, non_blocking=True)
        for clip, count in enumerate(self.counts):
            if not 1 <= count <= n_frames:
                raise ValueError(
                    f"clip {clip} of the batch has {count} valid frames; it must have 1 to {n_frames}: "
                    "leave out clips that are shorter than one frame"
                )
        self.mask: Tensor | None = None
        if min(self.counts, default=n_frames) < n_frames:
            self.mask = torch.arange(n_frames, device=values.device) < self.lengths[:, None]

    def clear(self, values: Tensor) -> Tensor:
        """Zeros where padding was, which might be anything, NaN included."""
        return values if self.mask is None else values.masked_fill(~self.mask[..., None], 0.0)


class Attended(NamedTuple):
    """What a continuous attention found in a batch, with gradients.

    ``values`` are the frames, 0 on padding; ``expectations`` those of the basis
    functions under the density; ``read_weights`` the weight of each frame in the
    context, with the fused part; ``weights`` the discrete ones that the density
    comes from, if any.
    """

    values: Float[Tensor, "batch frames features"]
    padding: Padding
    density: BetaGaussian
    expectations: Float[Tensor, "batch basis"]
    read_weights: Float[Tensor, "batch frames"]
    weights: Float[Tensor, "batch frames"] | None


class DiscreteAttention(nn.Module):
    r"""Weighted mean of the frames, :math:`c = \sum_t p_t h_t` with :math:`p = \mathrm{map}(z)`.

    Parameters
    ----------
    features
        Width :math:`H` of the frames, at least 1.
    map
        From scores ``(B, T)`` and a mask to weights, one of
        :mod:`audioattn_lib.attention.maps`.
    hidden_size
        Of the additive scorer, at least 1.
    dropout
        Share of the weights that are dropped in training, in [0, 1).
    name
        The mechanism's name in the record.

    Notes
    -----
    The record holds ``weights`` (before dropout). Source: Martins et al., JMLR
    2022, audio experiments. Book page: ``urban_sound``.
    """

    def __init__(
        self,
        features: int,
        map: Callable[..., Tensor] = softmax,
        *,
        hidden_size: int = 128,
        dropout: float = 0.0,
        name: str = "softmax",
    ) -> None:
        super().__init__()
        self.scorer = AdditiveScorer(features, hidden_size)
        self.map = map
        self.dropout = _check_dropout(dropout)
        self.name = name

    def forward(
        self, values: Values, lengths: Lengths = None, *, clock: FrameClock = FrameClock(), record: bool = False
    ) -> tuple[Context, AttentionRecord]:
        """Context of each clip, and what was attended to.

        Parameters
        ----------
        values
            The frames; what padding holds does not matter.
        lengths
            Valid frames of each clip, in [1, T]; all by default. On the host they
            cost nothing to check; on a device the check waits for it.
        clock
            Time of the frames, for the record.
        record
            Ask for the record.

        Raises
        ------
        ValueError
            If a clip has no valid frame, or more than there are.
        """
        padding = Padding(values, lengths)
        values = padding.clear(values)
        weights = self.map(self.scorer(values), mask=padding.mask)  # (B, T)
        context = _read(F.dropout(weights, self.dropout, self.training), values)
        if not record:
            return context, AttentionRecord.empty()
        return context, _record(self.name, clock, padding, weights=weights)


class ContinuousAttention(nn.Module):
    r"""Expectation of the frames as a function of time, :math:`c = E_p[V(t)]` with a density :math:`p`.

    An encoder places the density, a ridge regression makes the frames a
    function, and the expectation is read as a weight for every frame:
    :math:`c = \sum_t (G r)_t h_t`, plus :math:`\sum_t p_t h_t` when fused.

    Parameters
    ----------
    features
        Width :math:`H` of the frames, at least 1.
    alpha
        Which density, at least 1: 1 Gaussian, 4/3 triweight, 3/2 biweight, 2
        truncated parabola; any number.
    hidden_size
        Of the additive scorer or of the convolution, at least 1.
    dropout
        Share of the read weights that are dropped in training, in [0, 1).
    fused
        Add the context of a discrete softmax attention, as published: the one
        whose moments place the density, or one of its own for other encoders.
    encoder
        ``"moments"`` (published), ``"convolution"`` or ``"last_state"``.
    positions
        For ``"moments"``: frames at their ``"centres"``, or ``"published"``.
    boundary
        Of the value function: ``"zero"`` (published), ``"reflect"`` or
        ``"renormalise"``.
    n_basis, widths
        Gaussian basis functions, on the scale of the clip.
    penalty
        Of the ridge regression, above 0.
    name
        The mechanism's name in the record.

    Notes
    -----
    The record holds ``density``, ``read_weights`` (with the fused part, before
    dropout) and, for the moments encoder, ``weights``. Source: Martins et al.,
    JMLR 2022, section 6 and audio experiments. Book page: ``urban_sound``.
    """

    def __init__(
        self,
        features: int,
        alpha: float = 2.0,
        *,
        hidden_size: int = 128,
        dropout: float = 0.0,
        fused: bool = True,
        encoder: str = "moments",
        positions: str = "centres",
        boundary: str = "zero",
        n_basis: int = 128,
        widths: Sequence[float] = (0.1, 0.5),
        penalty: float = 0.1,
        name: str = "continuous",
    ) -> None:
        super().__init__()
        if encoder not in ENCODERS:
            raise ConfigError(f"encoder is {encoder!r}; it must be one of {', '.join(ENCODERS)}")
        if not 1 <= alpha < float("inf"):
            raise ConfigError(f"alpha is {alpha}; it must be a finite number, at least 1 (1 is the Gaussian)")
        self.encoder: nn.Module
        if encoder == "moments":
            self.encoder = MomentsEncoder(features, hidden_size, positions=positions)
        elif positions != "centres":
            raise ConfigError(f"positions is {positions!r}, which only the moments encoder has; leave it at 'centres'")
        elif encoder == "convolution":
            self.encoder = ConvolutionEncoder(features, hidden_size)
        else:
            self.encoder = LastStateEncoder(features)
        self.alpha = alpha
        self.fused = fused
        self.scorer = AdditiveScorer(features, hidden_size, scaled=True) if fused and encoder != "moments" else None
        self.value_function = ValueFunction(GaussianBasis.grid(n_basis, widths), penalty, boundary)
        self.dropout = _check_dropout(dropout)
        self.name = name

    def forward(
        self, values: Values, lengths: Lengths = None, *, clock: FrameClock = FrameClock(), record: bool = False
    ) -> tuple[Context, AttentionRecord]:
        """Context of each clip, and what was attended to; as :meth:`DiscreteAttention.forward`."""
        device, dtype = values.device.type, values.dtype
        # Autocast would read in half precision, where weights that cancel in part are wrong by several percent.
        precise = values.float() if torch.is_autocast_enabled(device) and dtype != torch.float64 else values
        with torch.autocast(device, enabled=False):
            attended = self.attend(precise, lengths)
        context = _read(F.dropout(attended.read_weights, self.dropout, self.training), attended.values)
        context = context.to(dtype)
        return context, self.describe(attended, clock) if record else AttentionRecord.empty()

    def attend(self, values: Values, lengths: Lengths = None) -> Attended:
        """Where the density stands and how it reads the frames: what :meth:`forward` goes by, with gradients."""
        padding = Padding(values, lengths)
        values = padding.clear(values)
        encoded = self.encoder(values, padding.mask, padding.lengths)
        density = BetaGaussian(encoded.location, encoded.variance, self.alpha, check=False)
        expectations = self.value_function.expect(density)  # (B, basis)
        weights = self.value_function.read_weights(expectations, padding.counts, values.shape[1])  # (B, T)
        if self.fused:
            if self.scorer is None:
                weights = weights + encoded.weights
            else:
                weights = weights + softmax(self.scorer(values), mask=padding.mask)
        return Attended(values, padding, density, expectations, weights, encoded.weights)

    def describe(self, attended: Attended, clock: FrameClock = FrameClock()) -> AttentionRecord:
        """The record of what :meth:`attend` found."""
        seconds = np.array(attended.padding.counts)[:, None] * clock.period  # length of each clip
        shape = seconds.shape
        mixture = Density(
            location=clock.start + _host(attended.density.location)[:, None] * seconds,
            variance=_host(attended.density.variance)[:, None] * seconds**2,
            alpha=np.full(shape, self.alpha),
            mode_weight=np.ones(shape),
        )
        return _record(
            self.name,
            clock,
            attended.padding,
            weights=attended.weights,
            read_weights=attended.read_weights,
            density=mixture,
        )


class MeanAttention(nn.Module):
    """Equal weights, :math:`c = \\frac1L \\sum_t h_t`: what a mechanism must beat to be worth its name.

    It has no parameters; the record holds ``weights``. Book page: ``urban_sound``.
    """

    def forward(
        self, values: Values, lengths: Lengths = None, *, clock: FrameClock = FrameClock(), record: bool = False
    ) -> tuple[Context, AttentionRecord]:
        """Context of each clip, and what was attended to; as :meth:`DiscreteAttention.forward`."""
        padding = Padding(values, lengths)
        values = padding.clear(values)
        dtype = torch.promote_types(values.dtype, torch.float32)
        weights = (1 / padding.lengths.to(dtype))[:, None].expand(values.shape[:2])
        if padding.mask is not None:
            weights = weights * padding.mask
        context = _read(weights, values)
        if not record:
            return context, AttentionRecord.empty()
        return context, _record("mean", clock, padding, weights=weights)


def _read(weights: Tensor, values: Tensor) -> Tensor:
    return torch.bmm(weights[:, None].to(values.dtype), values).squeeze(1)


def _check_dropout(dropout: float) -> float:
    if not 0 <= dropout < 1:
        raise ConfigError(f"dropout is {dropout}; it must be in [0, 1)")
    return dropout


def _host(tensor: Tensor) -> np.ndarray:
    return tensor.detach().double().cpu().numpy()


def _record(
    name: str,
    clock: FrameClock,
    padding: Padding,
    *,
    weights: Tensor | None,
    read_weights: Tensor | None = None,
    density: Density | None = None,
) -> AttentionRecord:
    return AttentionRecord(
        mechanism=name,
        clock=clock,
        n_frames=np.array(padding.counts, dtype=np.int64),
        weights=None if weights is None else weights.detach().float().cpu().numpy()[:, None],
        read_weights=None if read_weights is None else read_weights.detach().float().cpu().numpy(),
        density=density,
    )
