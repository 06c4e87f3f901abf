r"""Continuous attention over time and frequency: from ``(B, T, F, C)`` to ``(B, C)``.

A density over the plane, with the shape of an ellipse, reads the cells of a
spectrogram, or of what a convolution made of it, as a function of time and
frequency. Padding, the company of other clips and the order of the batch change
nothing.

Source: Martins et al., *Sparse and continuous attention mechanisms*, NeurIPS 2020,
experiments on images. Book page: ``from_weights_to_densities``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from audioattn_lib.core.errors import ConfigError

from ..densities.mixture import Mixture
from ..densities.multivariate import MultivariateBetaGaussian
from ..expectations.gaussian import GaussianBasis
from ..expectations.value_surface import ValueSurface
from ..maps.entmax import softmax
from ..record.density import Regions
from ..record.record import AttentionRecord, FrameClock
from ._padding import Padding, check_dropout, host, read
from .clustering import normalise, share_out_plane
from .encoders import MIN_VARIANCE, frame_positions
from .scores import AdditiveScorer

__all__ = ["AttendedPlane", "TimeFrequencyAttention", "plane_moments"]

AXES = ("batch", "frames", "bands", "features")

Cells = Float[Tensor, "batch frames bands features"]
Context = Float[Tensor, "batch features"]
Lengths = Int[Tensor, " batch"] | None


class AttendedPlane(NamedTuple):
    """Result of a continuous attention over time and frequency on a batch, with gradients.

    ``values`` are the cells, 0 on padding; ``density`` a mixture even of one mode,
    over time in clip lengths and frequency in shares of the bands;
    ``expectations`` those of the products of basis functions; ``read_weights`` the
    weight of each cell in the context, with the fused part; ``weights`` the
    discrete ones that the density comes from.
    """

    values: Cells
    padding: Padding
    density: Mixture
    expectations: Float[Tensor, "batch along across"]
    read_weights: Float[Tensor, "batch frames bands"]
    weights: Float[Tensor, "batch frames bands"]


def plane_moments(
    weights: Float[Tensor, "batch modes frames bands"],
    times: Float[Tensor, "batch frames"],
    frequencies: Float[Tensor, " bands"],
) -> tuple[Float[Tensor, "batch modes 2"], Float[Tensor, "batch modes 2 2"]]:
    r"""Mean of the places of the cells under weights, and the Cholesky factor of their covariance.

    The variance along time, and what is left of that along frequency where the
    time is known, are at least
    :data:`~audioattn_lib.attention.pooling.encoders.MIN_VARIANCE`, so that cells on a line
    have a density too.

    Parameters
    ----------
    weights
        Rows of sum 1 over frames and bands, 0 on padding.
    times, frequencies
        Places of frames and bands, finite on padding too.
    """
    over_time, over_bands = weights.sum(-1), weights.sum(-2)  # (B, M, T), (B, M, F)
    time, frequency = (over_time * times[:, None]).sum(-1), (over_bands * frequencies).sum(-1)
    apart, across = times[:, None] - time[..., None], frequencies - frequency[..., None]
    variance = (over_time * apart**2).sum(-1).clamp(min=MIN_VARIANCE)
    covariance = ((weights * apart[..., None]).sum(-2) * across).sum(-1)
    rest = (over_bands * across**2).sum(-1) - covariance**2 / variance
    std = variance.sqrt()
    factor = torch.stack([std, torch.zeros_like(std), covariance / std, rest.clamp(min=MIN_VARIANCE).sqrt()], dim=-1)
    return torch.stack([time, frequency], dim=-1), factor.unflatten(-1, (2, 2))


class TimeFrequencyAttention(nn.Module):
    r"""Expectation of the cells as a function of time and frequency, :math:`c = E_p[V(t, f)]`.

    Additive scores of all cells and one softmax over them place the density: its
    mean and its covariance are those of the places of the cells under the weights.
    A separable ridge regression makes the cells a function, and the expectation is
    read as a weight for every cell.

    Parameters
    ----------
    features
        Width :math:`C` of a cell, at least 1. A plain spectrogram has 1, given as
        ``spectrogram[..., None]``; scores then go by the level of a cell alone.
    alpha
        Which density, at least 1: 1 Gaussian, 2 truncated paraboloid; any number.
    n_components
        Of the mixture, at least 1; more as in
        :class:`~audioattn_lib.attention.pooling.encoders.MomentsEncoder`.
    hidden_size
        Of the additive scorer, at least 1.
    dropout
        Share of the read weights that are dropped in training, in [0, 1).
    fused
        Add the context of the softmax attention that places the density.
    boundary
        Of the value surface: ``"zero"`` or ``"reflect"``.
    n_basis, widths
        Gaussian basis functions along each axis, on the scale of the clip and of
        all bands; their products are ``n_basis ** 2``.
    penalty
        Of the ridge regression, above 0.
    name
        The mechanism's name in the record.

    Attributes
    ----------
    out_features
        Width of the context, :math:`C`.

    Notes
    -----
    The record holds ``maps``, the mass of the density in every cell, and ``regions``,
    the ellipses. Sources: Martins et al., NeurIPS 2020, for two dimensions; Farinhas
    et al., *Multimodal continuous visual attention mechanisms*, ICCV workshops 2021,
    for several modes. Book page: ``from_weights_to_densities``.
    """

    def __init__(
        self,
        features: int,
        alpha: float = 2.0,
        *,
        n_components: int = 1,
        hidden_size: int = 128,
        dropout: float = 0.0,
        fused: bool = False,
        boundary: str = "zero",
        n_basis: int = 32,
        widths: Sequence[float] = (0.1, 0.5),
        penalty: float = 0.1,
        name: str = "time_frequency",
    ) -> None:
        super().__init__()
        if not 1 <= alpha < float("inf"):
            raise ConfigError(f"alpha is {alpha}; it must be a finite number, at least 1 (1 is the Gaussian)")
        if n_components < 1:
            raise ConfigError(f"n_components is {n_components}; it must be at least 1")
        self.scorer = AdditiveScorer(features, hidden_size, scaled=True)
        self.n_components = n_components
        basis = GaussianBasis.grid(n_basis, widths)
        self.value_surface = ValueSurface(basis, basis, penalty, boundary)
        self.alpha = alpha
        self.dropout = check_dropout(dropout)
        self.fused = fused
        self.out_features = features
        self.name = name

    def forward(
        self,
        values: Cells,
        lengths: Lengths = None,
        *,
        clock: FrameClock = FrameClock(),
        frequencies: NDArray[np.floating] | None = None,
        record: bool = False,
    ) -> tuple[Context, AttentionRecord]:
        """Compute the context of each clip, and its record.

        Parameters
        ----------
        values
            The cells; what padding holds does not matter.
        lengths
            Valid frames of each clip, in [1, T]; all by default.
        clock
            Time of the frames, for the record.
        frequencies
            Centre of each band in hertz, for the record, ``(F,)``.
        record
            Ask for the record.

        Raises
        ------
        ValueError
            If a clip has no valid frame, or more than there are.
        """
        device, dtype = values.device.type, values.dtype
        # as in one dimension: autocast would read in half precision, where weights that cancel in part are wrong
        precise = values.float() if torch.is_autocast_enabled(device) and dtype != torch.float64 else values
        with torch.autocast(device, enabled=False):
            attended = self.attend(precise, lengths)
            weights = F.dropout(attended.read_weights, self.dropout, self.training)
            context = read(weights.flatten(1), attended.values.flatten(1, 2)).to(dtype)
        return context, self.describe(attended, clock, frequencies) if record else AttentionRecord.empty()

    def attend(self, values: Cells, lengths: Lengths = None) -> AttendedPlane:
        """Compute the density and the cell weights that :meth:`forward` uses, with gradients."""
        padding = Padding(values, lengths, AXES)
        values = padding.clear(values)
        clips, n_frames, n_bands = values.shape[:3]
        mask = None if padding.mask is None else padding.mask[..., None].expand(clips, n_frames, n_bands).flatten(1)
        weights = softmax(self.scorer(values).flatten(1), mask=mask)
        times = frame_positions(padding.lengths, n_frames, dtype=weights.dtype)
        bands = (torch.arange(n_bands, device=values.device, dtype=weights.dtype) + 0.5) / n_bands
        overall = weights.unflatten(-1, (n_frames, n_bands))
        parts, mode_weights = overall[:, None], torch.ones_like(weights[:, :1])  # (B, M, T, F)
        if self.n_components > 1:
            cell = torch.stack([1 / padding.lengths.to(bands.dtype), bands.new_full((clips,), 1 / n_bands)], dim=-1)
            parts, mode_weights = normalise(share_out_plane(overall, times, bands, cell, self.n_components).flatten(2))
            parts = parts.unflatten(-1, (n_frames, n_bands))
        location, factor = plane_moments(parts, times, bands)
        location, factor, mode_weights = (x.to(weights.dtype) for x in (location, factor, mode_weights))
        modes = MultivariateBetaGaussian.from_cholesky(location, factor, self.alpha, check=False)
        density = Mixture(mode_weights, modes, check=False)
        expectations = self.value_surface.expect(density)
        reads = self.value_surface.read_weights(expectations, padding.counts, n_frames, n_bands)
        return AttendedPlane(values, padding, density, expectations, reads + overall if self.fused else reads, overall)

    def describe(
        self,
        attended: AttendedPlane,
        clock: FrameClock = FrameClock(),
        frequencies: NDArray[np.floating] | None = None,
    ) -> AttentionRecord:
        """Make the record from the result of :meth:`attend`."""
        n_frames, n_bands = attended.values.shape[1:3]
        counts = np.array(attended.padding.counts, dtype=np.int64)
        modes = attended.density.components
        assert isinstance(modes, MultivariateBetaGaussian)
        scale = np.stack([counts * clock.period, np.full(len(counts), float(n_bands))], axis=-1)[:, None]  # (B, 1, 2)
        location, factor = host(modes.location) * scale, host(modes.cholesky) * scale[..., None]
        regions = Regions(
            location=location + np.array([clock.start, -0.5]),
            covariance=factor @ factor.swapaxes(-1, -2),
            alpha=np.full(location.shape[:2], float(self.alpha)),
            mode_weight=host(attended.density.weights),
        )
        maps = np.zeros((len(counts), 1, 1, n_bands, n_frames), dtype=np.float32)
        for clip, count in enumerate(counts):
            maps[clip, 0, 0, :, :count] = regions.cells(clip, clock.edges(count), n_bands)
        return AttentionRecord(
            mechanism=self.name,
            clock=clock,
            n_frames=counts,
            maps=maps,
            frequencies=None if frequencies is None else np.asarray(frequencies, dtype=np.float64),
            regions=regions,
        )
