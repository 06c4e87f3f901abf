r"""Cells of a plane of time and frequency as a function of both, by separable ridge regression.

The basis functions are products, :math:`\psi_{ij}(t, f) = \phi_i(t)\,\chi_j(f)` with
Gaussians :math:`\phi_i` and :math:`\chi_j`, and the points of the regression are a
grid. With :math:`F` and :math:`E` the values of the two bases along the two axes, the
system of the regression is
:math:`F F^\top \otimes E E^\top + \lambda I`, which the eigenvectors of the factors
diagonalise:

.. math::

   F F^\top = U \operatorname{diag}(a)\, U^\top, \qquad
   E E^\top = V \operatorname{diag}(b)\, V^\top, \qquad
   W = F_c^\top U\, \Bigl[\frac{U^\top R\, V}{\lambda + a b^\top}\Bigr] V^\top E_c,

where :math:`R_{ij} = E_p[\psi_{ij}]`, the division is by element and :math:`W` holds the
weight of every cell in the context, :math:`c = \sum_{t,f} W_{tf} h_{tf}`. Nothing is
larger than the plane or than the bases: time and memory grow with the number of
cells, and no matrix over all pairs of cells exists.

Source: Martins et al., *Sparse and continuous attention mechanisms*, NeurIPS 2020,
section 3.2, for the regression; solving it by axes is ours. Book page: ``from_weights_to_densities``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from audioattn_lib.core.errors import ConfigError
from audioattn_lib.core.tensors import are_at_hand

from ..densities.beta_gaussian import BetaGaussian
from ..densities.mixture import Mixture
from ..densities.multivariate import MultivariateBetaGaussian
from ..densities.quadrature import Constants, gauss_gegenbauer
from .gaussian import GaussianBasis, gaussian_expectation, nearest_integer
from .value_function import Cache, design

__all__ = ["SURFACE_BOUNDARIES", "ValueSurface", "separable_expectation"]

SURFACE_BOUNDARIES = ("zero", "reflect")
"""Boundary modes: continuation of the value surface outside the clip and its bands."""

Density = MultivariateBetaGaussian | Mixture

# Nodes for each time that half the support holds the finest width, by half: for float32 and below, for float64
_FINENESS = (5.5, 8.0)
# and besides, for what is wider than the support
_LEAST = 6
# Nodes are taken so many more at once, so that few rules are made
_STEP = 8
# A node that carries less than this carries nothing
_NOTHING = 1e-18
# Largest deviation along an axis of what lies in [0, 1], which densities are taken to do where nobody looks
_WIDEST = 0.5
_MOST_NODES = 2048


def separable_expectation(
    density: Density, along: GaussianBasis, across: GaussianBasis
) -> Float[Tensor, "*batch along across"]:
    r"""Expectation of every product of two basis functions, :math:`E_p[\phi_i(x_1)\,\chi_j(x_2)]`.

    Where the first coordinate is known the second has a density of the same family on
    the line, so that

    .. math:: E_p[\phi_i\,\chi_j] = \sum_n q_n\,\phi_i(x_n)\,E[\chi_j \mid x_1 = x_n]

    with nodes :math:`x_n` of Gauss quadrature along the first axis and the conditional
    expectations of :func:`~audioattn_lib.attention.expectations.gaussian.gaussian_expectation`.
    Under a Gaussian,
    :math:`\mathcal{N}\bigl((m_i, m_j); \mu, \Sigma + \mathrm{diag}(w_i^2, w_j^2)\bigr)`.

    Parameters
    ----------
    density
        A batch of densities over the plane, or of mixtures of them, whose
        ``alpha`` is a number.
    along, across
        Bases of the first axis and of the second.

    Returns
    -------
    expectations
        In the dtype of the density, differentiable. Relative to the largest, the
        error is below 1e-9 in float64 and 1e-5 in float32, for every alpha: the number
        of nodes follows the widest density in the batch. Where nobody looks, on a
        device and inside function transforms, it serves deviations up to half, the
        largest of what lies on [0, 1]; wider densities give NaN there.

    Raises
    ------
    ConfigError
        If the density is not of two dimensions, its ``alpha`` is a tensor, or it is
        so wide beside the basis functions that it takes more than 2,048 nodes.

    Notes
    -----
    Source: Martins et al., JMLR 2022, section 6 (for the expectations; the quadrature
    is ours). Book page: ``from_weights_to_densities``.
    """
    if isinstance(density, Mixture):
        assert isinstance(density.components, MultivariateBetaGaussian)
        each = separable_expectation(density.components, along, across)
        return (density.weights[..., None, None] * each).sum(-3)
    if density.n != 2:
        raise ConfigError(f"the density has {density.n} dimensions; a plane has 2")
    if isinstance(density.alpha, Tensor):
        raise ConfigError("alpha is a tensor; over a plane it must be one number for the whole batch")
    dtype = density.dtype
    location, factor = density.location.double(), density.cholesky.double()
    if density.alpha == 1:
        return _under_gaussian(location, factor, along, across).to(dtype)
    k = nearest_integer(1 / (density.alpha - 1))
    fineness = math.sqrt(2 * k + 4) * _fineness(factor, along, across)  # (*batch)
    look = are_at_hand(fineness)
    largest = float(fineness.max()) if look and fineness.numel() else _bound(k, along, across)
    n_nodes = _n_nodes(largest, k, dtype == torch.float64)
    if n_nodes > _MOST_NODES:
        raise ConfigError(
            f"the density is too wide for the basis: its deviation is {largest / math.sqrt(2 * k + 4):.3g} of the "
            f"finest widths and takes {n_nodes} nodes, at most {_MOST_NODES} are taken; give wider basis functions, "
            "or a narrower density"
        )
    u, weight = _rule(k, n_nodes).on(location.device)
    (a, _), (b, c) = (row.unbind(-1) for row in (math.sqrt(2 * k + 4) * factor).unbind(-2))
    along_axis = location[..., 0, None] + a[..., None] * u  # (*batch, nodes)
    centre = location[..., 1, None] + b[..., None] * u
    variance = c[..., None] ** 2 * ((1 - u) * (1 + u) / (2 * k + 3))
    conditional = BetaGaussian(centre.to(dtype), variance.to(dtype), density.alpha, check=False)
    chi = gaussian_expectation(conditional, across).double()  # (*batch, nodes, across)
    result = (weight[:, None] * along(along_axis)).mT @ chi
    if not look:
        result = torch.where((fineness <= largest * (1 + 1e-6))[..., None, None], result, math.nan)
    return result.to(dtype)


def _fineness(factor: Tensor, along: GaussianBasis, across: GaussianBasis) -> Tensor:
    """Deviation of a density in the finest widths of both axes together, without a gradient."""
    (a, _), (b, c) = (row.unbind(-1) for row in factor.detach().unbind(-2))
    return ((a / min(along.widths)) ** 2 + (b**2 + c**2) / min(across.widths) ** 2).sqrt()


def _bound(k: float, along: GaussianBasis, across: GaussianBasis) -> float:
    """Half the support in the finest widths, of the widest density that lies on [0, 1] along both axes."""
    return math.sqrt(2 * k + 4) * _WIDEST * math.hypot(1 / min(along.widths), 1 / min(across.widths))


def _n_nodes(fineness: float, k: float, precise: bool) -> int:
    """Nodes of a rule whose polynomials change as fast, in the middle of the support, as the integrand does."""
    wave = 0.5 * _FINENESS[precise] * fineness
    middle = wave**2 / (math.hypot(wave, k + 1) + k + 1)  # n (n + 2k + 2) = wave^2
    return _STEP * math.ceil((middle + _LEAST) / _STEP)


@lru_cache(maxsize=64)
def _rule(k: float, n_nodes: int) -> Constants:
    """Nodes of the first coordinate, those that carry something, and their weights."""
    u, weight = gauss_gegenbauer(k + 0.5, n_nodes)
    significant = weight > _NOTHING
    return Constants(u[significant], weight[significant])


class _Axis(NamedTuple):
    """Eigendecomposition of the regression along one axis: projected basis values, eigenvectors and eigenvalues."""

    places: Tensor  # (*batch, places, basis)
    vectors: Tensor  # (*batch, basis, basis)
    values: Tensor  # (*batch, basis)


class ValueSurface:
    r"""Reads cells as a function of time and frequency, each on [0, 1].

    Parameters
    ----------
    along, across
        Basis functions of time, on the scale of the clip, and of frequency, on that
        of all bands.
    penalty
        :math:`\lambda`, above 0.
    boundary
        ``"zero"`` or ``"reflect"``, of :data:`SURFACE_BOUNDARIES`, as for
        :class:`~audioattn_lib.attention.expectations.value_function.ValueFunction`.
    cache_bytes
        Most memory for what is kept of each length.

    Notes
    -----
    Source: Martins et al., NeurIPS 2020, section 3.2. Book page:
    ``from_weights_to_densities``.
    """

    def __init__(
        self,
        along: GaussianBasis,
        across: GaussianBasis,
        penalty: float = 0.1,
        boundary: str = "zero",
        *,
        cache_bytes: int = 64 * 2**20,
    ) -> None:
        if not 0 < penalty < float("inf"):
            raise ConfigError(f"penalty is {penalty}; it must be finite and above 0")
        if boundary not in SURFACE_BOUNDARIES:
            raise ConfigError(f"boundary is {boundary!r}; it must be one of {', '.join(SURFACE_BOUNDARIES)}")
        self.along = along
        self.across = across
        self.penalty = penalty
        self.boundary = boundary
        self._cache = Cache(cache_bytes)

    def __repr__(self) -> str:
        return f"ValueSurface({self.along!r}, {self.across!r}, penalty={self.penalty:g}, boundary={self.boundary!r})"

    def expect(self, density: Density) -> Float[Tensor, "*batch along across"]:
        """Expectation :math:`R` of the basis functions; see :func:`separable_expectation`."""
        return separable_expectation(density, self.along, self.across)

    def read_weights(
        self, expectations: Float[Tensor, "batch along across"], lengths: Sequence[int], n_frames: int, n_bands: int
    ) -> Float[Tensor, "batch frames bands"]:
        r"""Weight :math:`W` of every cell in the context, 0 on padding; of either sign, of a sum near 1.

        Parameters
        ----------
        expectations
            :math:`R`, from :meth:`expect`.
        lengths
            Valid frames of each clip, in [1, n_frames].
        n_frames, n_bands
            Frames of the padded batch and bands, at least 1.
        """
        dtype, device = expectations.dtype, expectations.device
        time = self._clips(lengths, n_frames, dtype, device)
        bands = self._axis(self.across, n_bands, dtype, device)
        core = time.vectors.mT @ expectations @ bands.vectors
        core = core / (self.penalty + time.values[..., None] * bands.values)
        return time.places @ core @ bands.places.mT

    def reconstruct(
        self,
        values: Float[Tensor, "frames bands features"],
        times: Float[Tensor, " times"],
        frequencies: Float[Tensor, " rows"],
    ) -> Float[Tensor, "times rows features"]:
        """Evaluate the value surface of one clip at ``times`` and ``frequencies`` in [0, 1], for pictures."""
        device = values.device
        time = self._axis(self.along, values.shape[0], torch.float64, device)
        bands = self._axis(self.across, values.shape[1], torch.float64, device)
        core = torch.einsum("ti,tfh,fj->hij", time.places, values.double(), bands.places)
        core = core / (self.penalty + time.values[:, None] * bands.values)
        left, right = self.along(times.double()) @ time.vectors, self.across(frequencies.double()) @ bands.vectors
        return torch.einsum("ti,hij,fj->tfh", left, core, right).to(values.dtype)

    def _clips(self, lengths: Sequence[int], n_frames: int, dtype: torch.dtype, device: torch.device) -> _Axis:
        """The time axes of a padded batch, 0 on padding; a single one where all lengths are equal."""
        different = sorted(set(lengths)) or [n_frames]  # of no clip any axis will do
        axes = [self._axis(self.along, length, dtype, device) for length in different]
        places = torch.zeros(len(axes), n_frames, len(self.along), dtype=dtype, device=device)
        for row, axis in zip(places, axes, strict=True):
            row[: len(axis.places)] = axis.places
        vectors, values = torch.stack([axis.vectors for axis in axes]), torch.stack([axis.values for axis in axes])
        if len(different) == 1:
            return _Axis(places, vectors, values)
        clips = torch.tensor([different.index(length) for length in lengths], device=device)
        return _Axis(places[clips], vectors[clips], values[clips])

    def _axis(self, basis: GaussianBasis, n_places: int, dtype: torch.dtype, device: torch.device) -> _Axis:
        key = (basis, n_places, dtype, str(device))
        packed = self._cache.get(key)
        if packed is None:
            gram, rows = design(basis, n_places, self.boundary)
            values, vectors = torch.linalg.eigh(gram)
            places = torch.cat([psi @ vectors for psi in rows])
            packed = torch.cat([places, vectors, values.clamp(min=0)[None]]).to(device, dtype)
            self._cache.put(key, packed)
        places, vectors, values = packed.split([n_places, len(basis), 1])
        return _Axis(places, vectors, values[0])


def _under_gaussian(location: Tensor, factor: Tensor, along: GaussianBasis, across: GaussianBasis) -> Tensor:
    """Products of basis functions against Gaussians, ``(*batch, along, across)``."""
    (m1, w1), (m2, w2) = along.parameters(location.device), across.parameters(location.device)
    covariance = factor @ factor.mT
    s11 = (covariance[..., 0, 0, None] + w1**2)[..., None]
    s22 = (covariance[..., 1, 1, None] + w2**2)[..., None, :]
    s12 = covariance[..., 0, 1, None, None]
    d1, d2 = (m1 - location[..., 0, None])[..., None], (m2 - location[..., 1, None])[..., None, :]
    determinant = s11 * s22 - s12**2
    squared = (s22 * d1**2 - 2 * s12 * d1 * d2 + s11 * d2**2) / determinant
    return torch.exp(-0.5 * squared) / (2 * math.pi * determinant.sqrt())
