r"""Expectations of any basis under any density on the line.

Powers have closed forms: with :math:`\sigma^2` the variance, the standardised even
moments are

.. math:: E\Bigl[\Bigl(\frac{t-\mu}{\sigma}\Bigr)^{2i}\Bigr]
   = \prod_{l<i} \frac{(2l+1)(3\alpha-1)}{3\alpha-1+2l(\alpha-1)},

those of the Gaussian at :math:`\alpha = 1`. Everything else is integrated on
Gauss-Legendre nodes, flattened towards the ends of the support, with the density in
the integrand, so that one set of nodes serves every :math:`\alpha`.

Book page: ``from_weights_to_densities``.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor

from audioattn_lib.core.errors import ConfigError

from ..densities.beta_gaussian import BetaGaussian
from ..densities.mixture import Mixture
from ..densities.quadrature import Constants, gauss_legendre
from .bases import FunctionBasis, PowerBasis, WaveBasis
from .gaussian import GaussianBasis, check_interval, gaussian_expectation, refuse_unreached

__all__ = ["basis_expectation", "density_nodes"]

Basis = GaussianBasis | PowerBasis | WaveBasis | FunctionBasis

# Standard deviations either side that are looked at: 1e-16 of a Gaussian is beyond
_REACH = 8.3
# Half-width up to which waves are integrated as exactly as the budget says
_WIDEST = 1.5


def basis_expectation(
    density: BetaGaussian | Mixture, basis: Basis, *, interval: tuple[float, float] | None = None
) -> Float[Tensor, "*batch basis"]:
    r"""Expectation of every function of a basis, :math:`E_p[\psi_j(t)]`.

    Parameters
    ----------
    density
        A batch of densities, or of mixtures of them; ``alpha`` may be a number or a
        tensor, with or without a gradient.
    basis
        Gaussians, powers, waves or functions of the user's.
    interval
        Restrict the density to this interval and renormalise it there; an end may be
        infinite. The density must reach it: with its support, and within 8.3 standard
        deviations of its location. By default the whole line counts.

    Returns
    -------
    expectations
        In the dtype of the density, differentiable twice with respect to location,
        variance, a tensor ``alpha`` and the weights. In float64, powers over the line
        are exact but for rounding and waves to 1e-12, for half-widths (of densities
        close to a Gaussian, 8.3 standard deviations) up to 1.5; Gaussians as
        :func:`~audioattn_lib.attention.expectations.gaussian.gaussian_expectation` says. In
        float32 the results are those, rounded.

    Raises
    ------
    ConfigError
        If the lower end of the interval is not below the upper one, or, on the CPU,
        a density does not reach it. On a device such a row becomes NaN.

    Notes
    -----
    Book page: ``from_weights_to_densities``.
    """
    if isinstance(basis, GaussianBasis):
        return gaussian_expectation(density, basis, interval=interval)
    interval = check_interval(interval)
    wide = density.double()
    if interval is None and isinstance(basis, PowerBasis):
        if isinstance(wide, Mixture):
            return wide.average(_moments(wide._line(), basis.degree)).to(density.dtype)
        return _moments(wide, basis.degree).to(density.dtype)
    components = wide._line() if isinstance(wide, Mixture) else wide
    places, mass = _places(components, _n_nodes(basis), interval)
    if interval is None:
        mass = mass / mass.sum(-1, keepdim=True)
    total, result = mass.sum(-1), (mass[..., None] * basis(places)).sum(-2)
    if isinstance(wide, Mixture):
        total, result = wide.average(total), wide.average(result)
    if interval is not None:
        refuse_unreached(total, interval)
    return (result / total[..., None]).to(density.dtype)


def density_nodes(
    density: BetaGaussian, n_nodes: int = 128, *, interval: tuple[float, float] | None = None
) -> tuple[Float[Tensor, "*batch nodes"], Float[Tensor, "*batch nodes"]]:
    r"""Compute nodes in the support and their mass, of sum 1, in float64.

    :math:`\sum_i q_i f(t_i)` is the expectation of any smooth function, and of the
    density restricted to ``interval`` if one is given. Differentiable.

    Parameters
    ----------
    density
        A batch of densities; ``alpha`` may be a tensor.
    n_nodes
        At least 1.
    interval
        Which part of the line counts; the density must reach it, as for
        :func:`basis_expectation`.

    Raises
    ------
    ConfigError
        If ``n_nodes`` or the interval is out of its range.

    Notes
    -----
    Book page: ``from_weights_to_densities``.
    """
    if n_nodes < 1:
        raise ConfigError(f"n_nodes is {n_nodes}; it must be at least 1")
    interval = check_interval(interval)
    places, mass = _places(density.double(), n_nodes, interval)
    total = mass.sum(-1, keepdim=True)
    if interval is not None:
        refuse_unreached(total.squeeze(-1), interval)
    return places, mass / total


def _places(density: BetaGaussian, n_nodes: int, interval: tuple[float, float] | None) -> tuple[Tensor, Tensor]:
    """Nodes in what the support and the interval have in common, and the mass there but for rounding."""
    alpha = density.alpha[..., None] if isinstance(density.alpha, Tensor) else density.alpha
    location, variance = density.location[..., None], density.variance[..., None]
    reach = torch.minimum(density.half_width, _REACH * density.stddev)[..., None]
    y, weight = _rule(n_nodes).on(location.device)
    if interval is None:
        length, places = reach, location + reach * y
    else:
        low, high = (location - reach).clamp(*interval), (location + reach).clamp(*interval)
        length = (high - low) / 2
        places = (low + high) / 2 + length * y
    return places, BetaGaussian(location, variance, alpha, check=False).pdf(places) * weight * length


def _n_nodes(basis: PowerBasis | WaveBasis | FunctionBasis) -> int:
    if isinstance(basis, FunctionBasis):
        return basis.n_nodes
    return 128 + (math.ceil(2 * _WIDEST * max(map(abs, basis.frequencies))) if isinstance(basis, WaveBasis) else 0)


def _moments(density: BetaGaussian, degree: int) -> Tensor:
    """Raw moments from the binomial formula around the location."""
    alpha, std = density.alpha, density.stddev
    central, factor = [torch.ones_like(density.location)], torch.ones_like(density.location)
    for n in range(1, degree + 1):
        if n % 2:
            central.append(torch.zeros_like(std))
            continue
        factor = factor * std**2 * ((n - 1) * (3 * alpha - 1) / (3 * alpha - 1 + (n - 2) * (alpha - 1)))
        central.append(factor)
    raw = [
        sum((math.comb(n, i) * density.location ** (n - i) * central[i] for i in range(0, n + 1, 2)), torch.zeros(()))
        for n in range(degree + 1)
    ]
    return torch.stack([moment.to(density.location) for moment in raw], dim=-1)


@lru_cache(maxsize=32)
def _rule(n_nodes: int) -> Constants:
    return Constants(*gauss_legendre(n_nodes, 2))
