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
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import ConfigError
from .elliptical import MultivariateBetaGaussian
from .expectations import GaussianBasis, nearest_integer
from .mixtures import Mixture
from .quadrature import ball_rule
from .value_function import Cache, design

__all__ = ["SURFACE_BOUNDARIES", "ValueSurface", "separable_expectation"]

SURFACE_BOUNDARIES = ("zero", "reflect")
"""What a value surface does outside the clip and its bands."""

Density = MultivariateBetaGaussian | Mixture

# Along each axis; see the errors of separable_expectation
_NODES = 32


def separable_expectation(
    density: Density, along: GaussianBasis, across: GaussianBasis
) -> Float[Tensor, "*batch along across"]:
    r"""Expectation of every product of two basis functions, :math:`E_p[\phi_i(x_1)\,\chi_j(x_2)]`.

    Gauss quadrature over the support with as many nodes as an axis' squared, 1,024:
    the functions are evaluated at them once each and multiplied by a matrix product.
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
        error is below 1e-9 where half the support is at most 9 widths of a basis
        function, and below 2e-4 up to 15.

    Raises
    ------
    ConfigError
        If the density is not of two dimensions, or its ``alpha`` is a tensor.

    Notes
    -----
    Source: Stroud, *Approximate Calculation of Multiple Integrals*, 1971, chapter 2,
    for the rule. Book page: ``from_weights_to_densities``.
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
    u, weight = (torch.tensor(array, device=location.device) for array in ball_rule(2, k, _NODES))
    points = location[..., None, :] + (math.sqrt(4 + 2 * k) * u) @ factor.mT  # (*batch, nodes, 2)
    phi = weight[:, None] * along(points[..., 0])  # (*batch, nodes, along)
    return (phi.mT @ across(points[..., 1])).to(dtype)


class _Axis(NamedTuple):
    """What the regression needs of one axis: the basis at its places in eigenvectors, these, and the eigenvalues."""

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
        :class:`~audioattn_lib.attention.value_function.ValueFunction`.
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
        """The function itself of one clip at ``times`` and ``frequencies`` in [0, 1]: what a picture of it shows."""
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
        kept = self._cache.get(key)
        if kept is None:
            gram, rows = design(basis, n_places, self.boundary)
            values, vectors = torch.linalg.eigh(gram)
            places = torch.cat([psi @ vectors for psi in rows])
            kept = torch.cat([places, vectors, values.clamp(min=0)[None]]).to(device, dtype)
            self._cache.put(key, kept)
        places, vectors, values = kept.split([n_places, len(basis), 1])
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
