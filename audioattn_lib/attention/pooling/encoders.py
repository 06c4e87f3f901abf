r"""From frames to the location and variance of a density, or of each mode of a mixture.

Every encoder maps values ``(B, T, H)``, zero on padding, to locations and
variances in the unit of the clip (0 where its first valid frame begins, 1 where
its last one ends) and to the share of each mode, and names the discrete weights
it went through, if any.

Book page: ``from_weights_to_densities``.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from audioattn_lib.core.errors import ConfigError

from ..maps.entmax import softmax
from .clustering import normalise, share_out
from .scores import AdditiveScorer

__all__ = [
    "ENCODERS",
    "MIN_VARIANCE",
    "POSITIONS",
    "ConvolutionEncoder",
    "DensityParameters",
    "LastStateEncoder",
    "MomentsEncoder",
    "frame_positions",
    "weighted_moments",
]

MIN_VARIANCE = 1e-7
"""Least variance of a density from an encoder, in square clip lengths, as published."""

POSITIONS = ("centres", "published")
"""Positions of the frames in [0, 1]: at their centres, or evenly from 0 to 1."""

Values = Float[Tensor, "batch frames features"]
Mask = Bool[Tensor, "batch frames"]
Lengths = Int[Tensor, " batch"]


class DensityParameters(NamedTuple):
    """Location, variance and share of every mode, and the discrete weights whose moments they are."""

    location: Float[Tensor, "batch modes"]
    variance: Float[Tensor, "batch modes"]
    mode_weights: Float[Tensor, "batch modes"]
    weights: Float[Tensor, "batch frames"] | None


def frame_positions(
    lengths: Lengths, n_frames: int, positions: str = "centres", dtype: torch.dtype = torch.float32
) -> Float[Tensor, "batch frames"]:
    r"""Place of each frame in its clip.

    ``"centres"`` is :math:`(t+\frac12)/L`, the grid on which the value function
    is fitted; ``"published"`` is :math:`t/(L-1)`, from 0 to 1 inclusive (0 for a
    single frame). What it says of padding has no meaning.
    """
    frames = torch.arange(n_frames, device=lengths.device, dtype=dtype)
    count = lengths[:, None].to(dtype)
    if positions == "centres":
        return (frames + 0.5) / count
    return frames / (count - 1).clamp(min=1)


def weighted_moments(
    weights: Float[Tensor, "*batch frames"], positions: Float[Tensor, "*batch frames"]
) -> tuple[Float[Tensor, "*batch"], Float[Tensor, "*batch"]]:
    r"""Mean :math:`\sum_t p_t l_t` and variance :math:`\sum_t p_t (l_t - \mu)^2` of positions under weights."""
    location = (weights * positions).sum(-1)
    return location, (weights * (positions - location[..., None]) ** 2).sum(-1)


class MomentsEncoder(nn.Module):
    r"""Mean and variance of the frame positions under a softmax attention, as published.

    The scores are those of :class:`~audioattn_lib.attention.pooling.scores.AdditiveScorer`
    divided by :math:`\sqrt H`; the map is softmax whatever the density. With several
    modes the weights are clustered by
    :func:`~audioattn_lib.attention.pooling.clustering.share_out`: each mode has the mass, the
    mean and the variance of its cluster, and the mixture those of all weights.

    Parameters
    ----------
    features
        Width of the frames, at least 1.
    hidden_size
        Of the scorer, at least 1.
    n_components
        At least 1; any number has the same parameters.
    positions
        Of :func:`frame_positions`.

    Notes
    -----
    Scores of its own for each mode, and one softmax over modes and frames, would be
    simpler; tried on two events far apart, one mode took all the mass and stayed
    wide, where clusters found both. Sources: Martins et al., JMLR 2022, audio
    experiments; for several modes Farinhas et al., *Multimodal continuous visual
    attention mechanisms*, ICCV workshops 2021. Book page:
    ``from_weights_to_densities``.
    """

    def __init__(
        self, features: int, hidden_size: int = 128, *, n_components: int = 1, positions: str = "centres"
    ) -> None:
        super().__init__()
        if positions not in POSITIONS:
            raise ConfigError(f"positions is {positions!r}; it must be one of {', '.join(POSITIONS)}")
        if n_components < 1:
            raise ConfigError(f"n_components is {n_components}; it must be at least 1")
        self.scorer = AdditiveScorer(features, hidden_size, scaled=True)
        self.n_components = n_components
        self.positions = positions

    def forward(self, values: Values, mask: Mask | None, lengths: Lengths) -> DensityParameters:
        """Encode a batch."""
        weights = softmax(self.scorer(values), mask=mask)
        places = frame_positions(lengths, values.shape[1], self.positions, weights.dtype)
        if mask is not None:
            places = places.masked_fill(~mask, 0.0)
        parts, mode_weights = weights[:, None], torch.ones_like(weights[:, :1])
        if self.n_components > 1:
            frame = 1 / lengths[:, None].to(weights.dtype)
            parts, mode_weights = normalise(
                share_out(weights, places[..., None], frame, self.n_components)
            )  # (B, M, T)
        location, variance = weighted_moments(parts, places[:, None])
        location, variance, mode_weights = (x.to(weights.dtype) for x in (location, variance, mode_weights))
        return DensityParameters(location, variance.clamp(min=MIN_VARIANCE), mode_weights, weights)


class ModesHead(nn.Linear):
    """A linear layer whose outputs are the locations and variances of modes and, of several, their shares.

    Parameters
    ----------
    features
        Width of its input, at least 1.
    n_components
        At least 1: 2 outputs for one mode, 3 for each of several.
    """

    def __init__(self, features: int, n_components: int = 1) -> None:
        if n_components < 1:
            raise ConfigError(f"n_components is {n_components}; it must be at least 1")
        super().__init__(features, 2 if n_components == 1 else 3 * n_components)
        self.n_components = n_components

    def place(self, state: Float[Tensor, "batch features"]) -> DensityParameters:
        """Compute the location (clip lengths), variance (square clip lengths) and weight of each mode."""
        head = self(state)
        head = head.to(torch.promote_types(head.dtype, torch.float32))
        location, variance, *share = head.split(self.n_components, dim=-1)
        variance = F.softplus(variance).clamp(min=MIN_VARIANCE)
        mode_weights = torch.softmax(share[0], -1) if share else torch.ones_like(location)
        return DensityParameters(torch.sigmoid(location), variance, mode_weights, None)


class ConvolutionEncoder(nn.Module):
    r"""A convolution over time, its largest response, and two numbers from it.

    Kernel of 3 frames, ReLU, maximum over the valid frames, linear layer;
    location by a sigmoid, variance by a softplus, and with several modes their
    shares by a softmax. The published head lets the
    kernel only stand inside the clip, which leaves nothing of clips of one or two
    frames; here it may reach one frame over either end, where it finds zeros.

    Parameters
    ----------
    features
        Width of the frames, at least 1.
    hidden_size
        Channels of the convolution, at least 1.
    n_components
        At least 1.

    Notes
    -----
    Source: Martins et al., JMLR 2022, audio experiments, code. Book page:
    ``from_weights_to_densities``.
    """

    def __init__(self, features: int, hidden_size: int = 128, *, n_components: int = 1) -> None:
        super().__init__()
        self.convolution = nn.Conv1d(features, hidden_size, 3, padding=1)
        self.head = ModesHead(hidden_size, n_components)

    def forward(self, values: Values, mask: Mask | None, lengths: Lengths) -> DensityParameters:
        """Encode a batch."""
        response = F.relu(self.convolution(values.transpose(1, 2)))  # (B, C, T)
        if mask is not None:
            response = response.masked_fill(~mask[:, None], 0.0)  # no ReLU is below
        return self.head.place(response.amax(-1))


class LastStateEncoder(nn.Module):
    r"""Two numbers from the last valid frame, the state of a recurrent layer at the end of the clip.

    Location by a sigmoid, variance by a softplus of a linear layer, and with
    several modes their shares by a softmax.

    Parameters
    ----------
    features
        Width of the frames, at least 1.
    n_components
        At least 1.

    Notes
    -----
    Book page: ``from_weights_to_densities``.
    """

    def __init__(self, features: int, *, n_components: int = 1) -> None:
        super().__init__()
        self.head = ModesHead(features, n_components)

    def forward(self, values: Values, mask: Mask | None, lengths: Lengths) -> DensityParameters:
        """Encode a batch."""
        clips = torch.arange(values.shape[0], device=values.device)
        return self.head.place(values[clips, lengths - 1])


ENCODERS = ("moments", "convolution", "last_state")
"""Names of the encoders."""
