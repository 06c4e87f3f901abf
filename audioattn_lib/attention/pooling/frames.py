r"""Attention over the frames of a clip: from ``(B, T, H)`` to ``(B, H)``.

Each module scores, maps and reads, and says what it attended to when asked:
``context, record = attention(values, lengths, clock=..., record=True)``. Padding,
the company of other clips and the order of the batch change nothing.

Book page: ``urban_sound``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from audioattn_lib.core.errors import ConfigError

from ..densities.beta_gaussian import BetaGaussian
from ..densities.mixture import Mixture
from ..expectations.gaussian import GaussianBasis
from ..expectations.value_function import ValueFunction
from ..expectations.value_variance import std, value_variance
from ..maps._checks import prepare
from ..maps._standard import entmax_of_standard_operations
from ..maps.entmax import softmax
from ..record.density import Density
from ..record.record import AttentionRecord, FrameClock
from ._padding import Padding, check_dropout, host, read, seconds_of, to_record
from .encoders import ENCODERS, ConvolutionEncoder, LastStateEncoder, MomentsEncoder
from .scores import AdditiveScorer

__all__ = ["Attended", "ContinuousAttention", "DiscreteAttention", "MeanAttention", "Padding", "Traced"]

Values = Float[Tensor, "batch frames features"]
Context = Float[Tensor, "batch features"]
Lengths = Int[Tensor, " batch"] | None
Traced = tuple[Tensor, dict[str, Tensor]]
"""A result with gradients and the fields of a record as tensors by name."""


class Attended(NamedTuple):
    """Result of a continuous attention on a batch, with gradients.

    ``values`` are the frames, 0 on padding; ``expectations`` those of the basis
    functions under the density, a mixture even of one mode; ``read_weights`` the weight of each frame in the
    context, with the fused part; ``weights`` the discrete ones that the density
    comes from, if any.
    """

    values: Float[Tensor, "batch frames features"]
    padding: Padding
    density: Mixture
    expectations: Float[Tensor, "batch basis"]
    read_weights: Float[Tensor, "batch frames"]
    weights: Float[Tensor, "batch frames"] | None


class DiscreteAttention(nn.Module):
    r"""Weighted mean of the frames, :math:`c = \sum_t p_t h_t` with :math:`p = \mathrm{map}(z)`.

    Parameters
    ----------
    features
        Width :math:`H` of the frames, at least 1.
    normalizer
        From scores ``(B, T)`` and a mask to weights, one of
        :mod:`audioattn_lib.attention.maps.entmax`.
    hidden_size
        Of the additive scorer, at least 1.
    scaled
        Divide the scores by :math:`\sqrt H`. The published scores are not divided,
        and grow so fast in training that attention chooses frames before these
        mean anything.
    soft_steps
        So many first batches in training are read with softmax weights, at least
        0; 0 is published. A frame whose weight is exactly 0 has no gradient, so a
        sparse map that chooses early does not look again. Evaluation always goes
        by ``normalizer``.
    dropout
        Share of the weights that are dropped in training, in [0, 1).
    name
        The mechanism's name in the record.

    Attributes
    ----------
    out_features
        Width of the context, :math:`H`.

    Raises
    ------
    ConfigError
        If a number is out of its range.

    Notes
    -----
    The record holds ``weights`` (before dropout). The count of batches is saved
    with the weights, so that a resumed training goes on where it was. Source:
    Martins et al., JMLR 2022, audio experiments; what the options do is measured
    in the book. Book page: ``urban_sound``.
    """

    steps: Tensor | None

    def __init__(
        self,
        features: int,
        normalizer: Callable[..., Tensor] = softmax,
        *,
        hidden_size: int = 128,
        scaled: bool = False,
        soft_steps: int = 0,
        dropout: float = 0.0,
        name: str = "softmax",
    ) -> None:
        super().__init__()
        if soft_steps < 0:
            raise ConfigError(f"soft_steps is {soft_steps}; it must be at least 0, and 0 never reads with softmax")
        self.scorer = AdditiveScorer(features, hidden_size, scaled=scaled)
        self.normalizer = normalizer
        self.soft_steps = soft_steps
        self.register_buffer("steps", torch.zeros((), dtype=torch.long) if soft_steps else None)
        self.out_features = features
        self.dropout = check_dropout(dropout)
        self.name = name

    def forward(
        self, values: Values, lengths: Lengths = None, *, clock: FrameClock = FrameClock(), record: bool = False
    ) -> tuple[Context, AttentionRecord]:
        """Compute the context of each clip, and its record.

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
        padding, weights, context = self._attend(values, lengths)
        if not record:
            return context, AttentionRecord.empty()
        return context, to_record(self.name, clock, padding, weights=weights)

    def trace(
        self,
        values: Values,
        lengths: Lengths = None,
        *,
        clock: FrameClock = FrameClock(),
        alpha: Float[Tensor, ""] | None = None,
    ) -> Traced:
        """Compute the context, and the fields of the record as tensors by name: what a graph for export can hold.

        With ``alpha`` in [1, 2], weights are those of that entmax in place of :attr:`normalizer`.
        """
        _, weights, context = self._attend(values, lengths, alpha)
        return context, {"weights": weights[:, None]}

    def _attend(
        self, values: Tensor, lengths: Tensor | None, alpha: Tensor | None = None
    ) -> tuple[Padding, Tensor, Tensor]:
        padding = Padding(values, lengths)
        values = padding.clear(values)
        normalizer = softmax if self.training and self._is_soft() else self.normalizer
        if alpha is not None:
            normalizer = partial(_entmax_of, alpha)
        weights = normalizer(self.scorer(values), mask=padding.mask)  # (B, T)
        return padding, weights, read(F.dropout(weights, self.dropout, self.training), values)

    def _is_soft(self) -> bool:
        """Count a batch of training, and return True for the first ``soft_steps``."""
        if self.steps is None:
            return False
        self.steps += 1
        return int(self.steps) <= self.soft_steps


def _entmax_of(alpha: Tensor, scores: Tensor, mask: Tensor | None) -> Tensor:
    """Weights ``(B, T)`` of an alpha that a graph is given with its input, in [1, 2]."""
    return entmax_of_standard_operations(prepare(scores, -1, mask), alpha.reshape(1, 1), at_most_two=True)


class ContinuousAttention(nn.Module):
    r"""Expectation of the frames as a function of time, :math:`c = E_p[V(t)]` with a density :math:`p`.

    An encoder places the density, a ridge regression makes the frames a
    function, and the expectation is read as a weight for every frame:
    :math:`c = \sum_t (G r)_t h_t`, plus :math:`\sum_t p_t h_t` when fused. With
    several modes :math:`p = \sum_m \pi_m p_m`, and :math:`r` is the sum over them.

    Parameters
    ----------
    features
        Width :math:`H` of the frames, at least 1.
    alpha
        Which density, at least 1: 1 Gaussian, 4/3 triweight, 3/2 biweight, 2
        truncated parabola; any number. Where it is learned, its start, in (1, 2).
    learn_alpha
        Learn :math:`\alpha = 1 + \sigma(a)` with a parameter :math:`a`, as
        :class:`~audioattn_lib.attention.maps.learned.LearnedEntmax` does.
    n_components
        Of the mixture, at least 1, as published.
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
    with_std
        Give the deviation :math:`\sqrt{\mathrm{Var}_p[V]}` of the function beside
        the context, ``(B, 2H)``; the fused part shifts the context alone.
    name
        The mechanism's name in the record.

    Attributes
    ----------
    out_features
        Width of the output, :math:`H` or :math:`2H`.
    value_function
        The regression; one of another basis may be put in its place.

    Notes
    -----
    The record holds ``density``, ``read_weights`` (with the fused part, before
    dropout) and, for the moments encoder, ``weights``. Sources: Martins et al.,
    JMLR 2022, section 6 and audio experiments; for several modes Farinhas et al.,
    *Multimodal continuous visual attention mechanisms*, ICCV workshops 2021; for
    the deviation Okabe et al., *Attentive statistics pooling*, Interspeech 2018;
    for the range of a learned :math:`\alpha` Correia et al., *Adaptively sparse
    transformers*, EMNLP 2019. Book page: ``urban_sound``.
    """

    raw_alpha: nn.Parameter | None

    def __init__(
        self,
        features: int,
        alpha: float = 2.0,
        *,
        learn_alpha: bool = False,
        n_components: int = 1,
        hidden_size: int = 128,
        dropout: float = 0.0,
        fused: bool = True,
        encoder: str = "moments",
        positions: str = "centres",
        boundary: str = "zero",
        n_basis: int = 128,
        widths: Sequence[float] = (0.1, 0.5),
        penalty: float = 0.1,
        with_std: bool = False,
        name: str = "continuous",
    ) -> None:
        super().__init__()
        if encoder not in ENCODERS:
            raise ConfigError(f"encoder is {encoder!r}; it must be one of {', '.join(ENCODERS)}")
        if not 1 <= alpha < float("inf"):
            raise ConfigError(f"alpha is {alpha}; it must be a finite number, at least 1 (1 is the Gaussian)")
        if learn_alpha and not 1 < alpha < 2:
            raise ConfigError(
                f"alpha is {alpha} and learn_alpha is set; what is learned stays between 1 and 2, "
                "so start inside, at 1.5 for example"
            )
        self.encoder: nn.Module
        if encoder == "moments":
            self.encoder = MomentsEncoder(features, hidden_size, n_components=n_components, positions=positions)
        elif positions != "centres":
            raise ConfigError(f"positions is {positions!r}, which only the moments encoder has; leave it at 'centres'")
        elif encoder == "convolution":
            self.encoder = ConvolutionEncoder(features, hidden_size, n_components=n_components)
        else:
            self.encoder = LastStateEncoder(features, n_components=n_components)
        start = torch.logit(torch.tensor(alpha - 1.0)) if learn_alpha else None
        self.register_parameter("raw_alpha", None if start is None else nn.Parameter(start))
        self.fixed_alpha = float(alpha)
        self.fused = fused
        self.scorer = AdditiveScorer(features, hidden_size, scaled=True) if fused and encoder != "moments" else None
        self.value_function = ValueFunction(GaussianBasis.grid(n_basis, widths), penalty, boundary)
        self.dropout = check_dropout(dropout)
        self.with_std = with_std
        self.out_features = 2 * features if with_std else features
        self.name = name

    @property
    def alpha(self) -> float | Float[Tensor, ""]:
        """Of the density: a number, or a tensor with a gradient where it is learned."""
        if self.raw_alpha is None:
            return self.fixed_alpha
        return 1 + torch.sigmoid(self.raw_alpha.to(torch.promote_types(self.raw_alpha.dtype, torch.float32)))

    def forward(
        self, values: Values, lengths: Lengths = None, *, clock: FrameClock = FrameClock(), record: bool = False
    ) -> tuple[Context, AttentionRecord]:
        """Context of each clip, its deviation where wanted, and the record; as :meth:`DiscreteAttention.forward`."""
        device, dtype = values.device.type, values.dtype
        # Autocast would read in half precision, where weights that cancel in part are wrong by several percent.
        precise = values.float() if torch.is_autocast_enabled(device) and dtype != torch.float64 else values
        with torch.autocast(device, enabled=False):
            attended = self.attend(precise, lengths)
            context_std = std(self.variance(attended)).to(dtype) if self.with_std else None
        context = read(F.dropout(attended.read_weights, self.dropout, self.training), attended.values)
        context = context.to(dtype)
        if context_std is not None:
            context = torch.cat([context, context_std], dim=1)
        return context, self.describe(attended, clock) if record else AttentionRecord.empty()

    def trace(
        self,
        values: Values,
        lengths: Lengths = None,
        *,
        clock: FrameClock = FrameClock(),
        alpha: Float[Tensor, ""] | None = None,
    ) -> Traced:
        """Compute the same as :meth:`DiscreteAttention.trace`; the density has its modes in seconds.

        With ``alpha``, it is of that family in place of :attr:`alpha`.
        """
        attended = self.attend(values, lengths, alpha)
        context = read(attended.read_weights, attended.values)
        if self.with_std:
            context = torch.cat([context, std(self.variance(attended))], dim=1)
        return context, self.tensors(attended, clock)

    def tensors(self, attended: Attended, clock: FrameClock = FrameClock()) -> dict[str, Tensor]:
        """Fields of the record of the result of :meth:`attend`, as tensors."""
        modes = attended.density.components
        location, variance = seconds_of(clock, attended.padding, modes.location, modes.variance)
        fields = {"read_weights": attended.read_weights, "location": location, "variance": variance}
        fields["mode_weight"] = attended.density.weights.expand(location.shape)
        return fields if attended.weights is None else {"weights": attended.weights[:, None], **fields}

    def attend(self, values: Values, lengths: Lengths = None, alpha: Float[Tensor, ""] | None = None) -> Attended:
        """Compute the density and frame weights that :meth:`forward` uses, or those of ``alpha``, with gradients."""
        padding = Padding(values, lengths)
        values = padding.clear(values)
        encoded = self.encoder(values, padding.mask, padding.lengths)
        density_alpha = self.alpha if alpha is None else alpha
        modes = BetaGaussian(encoded.location, encoded.variance, density_alpha, check=False)  # (B, modes)
        density = Mixture(encoded.mode_weights, modes, check=False)
        expectations = self.value_function.expect(density)  # (B, basis)
        weights = self.value_function.read_weights(expectations, padding.frame_counts, values.shape[1])  # (B, T)
        if self.fused:
            if self.scorer is None:
                weights = weights + encoded.weights
            else:
                weights = weights + softmax(self.scorer(values), mask=padding.mask)
        return Attended(values, padding, density, expectations, weights, encoded.weights)

    def variance(self, attended: Attended) -> Context:
        """Compute the variance of the value function under the density of :meth:`attend`, at least 0."""
        return value_variance(self.value_function, attended.density, attended.values, attended.padding.frame_counts)

    def describe(self, attended: Attended, clock: FrameClock = FrameClock()) -> AttentionRecord:
        """Make the record from the result of :meth:`attend`."""
        seconds = np.array(attended.padding.counts)[:, None] * clock.period  # length of each clip
        modes = attended.density.components
        location = host(modes.location)
        mixture = Density(
            location=clock.start + location * seconds,
            variance=host(modes.variance) * seconds**2,
            alpha=np.full(location.shape, host(torch.as_tensor(modes.alpha))),
            mode_weight=host(attended.density.weights),
        )
        return to_record(
            self.name,
            clock,
            attended.padding,
            weights=attended.weights,
            read_weights=attended.read_weights,
            density=mixture,
        )


class MeanAttention(nn.Module):
    """Mean pooling, :math:`c = \\frac1L \\sum_t h_t`: equal weights, the reference for attention.

    It has no parameters; the record holds ``weights``. Book page: ``urban_sound``.
    """

    def forward(
        self, values: Values, lengths: Lengths = None, *, clock: FrameClock = FrameClock(), record: bool = False
    ) -> tuple[Context, AttentionRecord]:
        """Compute the context of each clip, and its record; as :meth:`DiscreteAttention.forward`."""
        padding, weights, context = self._attend(values, lengths)
        if not record:
            return context, AttentionRecord.empty()
        return context, to_record("mean", clock, padding, weights=weights)

    def trace(self, values: Values, lengths: Lengths = None, *, clock: FrameClock = FrameClock()) -> Traced:
        """Compute the same as :meth:`DiscreteAttention.trace`."""
        _, weights, context = self._attend(values, lengths)
        return context, {"weights": weights[:, None]}

    @staticmethod
    def _attend(values: Tensor, lengths: Tensor | None) -> tuple[Padding, Tensor, Tensor]:
        padding = Padding(values, lengths)
        values = padding.clear(values)
        dtype = torch.promote_types(values.dtype, torch.float32)
        weights = (1 / padding.lengths.to(dtype))[:, None].expand(values.shape[:2])
        if padding.mask is not None:
            weights = weights * padding.mask
        return padding, weights, read(weights, values)
