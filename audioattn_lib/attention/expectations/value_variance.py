r"""Variance of the value function under an attention density.

With :math:`V(t) = \sum_t h_t g_t(t)` the value function of a clip and :math:`p`
the density, the context is :math:`c = E_p[V]`, and its companion

.. math:: \mathrm{Var}_p[V] = E_p\bigl[(V - E_p[V])^2\bigr],

one variance a channel. A product of two basis functions is a Gaussian too, but
there are as many products as the square of the basis; Gauss-Legendre nodes
:math:`t_i` with weights :math:`q_i` need only the function itself,

.. math:: \mathrm{Var}_p[V] \approx \sum_i q_i\,\Bigl(\sum_t \bigl(g_t(t_i) - \bar g_t\bigr) h_t\Bigr)^2,
   \qquad \bar g_t = \sum_i q_i\,g_t(t_i),

which cannot be negative. The mean is taken from the weights in float64 before
any value is read, so nothing cancels when the density is narrow.

Book page: ``from_weights_to_densities``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from ..densities.beta_gaussian import BetaGaussian
from ..densities.mixture import Mixture
from ..densities.quadrature import Constants, gauss_legendre
from .bases import WaveBasis
from .gaussian import GaussianBasis
from .general import Basis
from .value_function import ValueFunction

__all__ = ["coefficient_variance", "std", "value_variance"]

_LEAST_VARIANCE = 1e-12

# Standard deviations either side that are looked at where the support is wider; 2e-9 of a Gaussian is beyond
_REACH = 6.0

# What functions without a width are taken to need: as many nodes as Gaussians of this one
_UNKNOWN = 0.03


def value_variance(
    value_function: ValueFunction,
    density: BetaGaussian | Mixture,
    values: Float[Tensor, "batch frames features"],
    lengths: Sequence[int] | Tensor,
) -> Float[Tensor, "batch features"]:
    r"""Variance of the value function under a density, :math:`\mathrm{Var}_p[V]`.

    Parameters
    ----------
    value_function
        Fits the values; where its ``boundary`` is ``"renormalise"``, the density
        counts inside the clip alone.
    density
        One a clip, in clip lengths, of one mode or several; it must reach into the
        clip.
    values
        The frames, 0 on padding.
    lengths
        Valid frames of each clip, in [1, frames].

    Returns
    -------
    variance
        At least 0, in the dtype of the values, differentiable with respect to
        them and the density. The relative error of the standard deviation is
        below 2e-4 for densities of standard deviations up to half a clip, whatever
        the values.

    Notes
    -----
    Source: the quadrature is ours; for the mean, Martins et al., *Sparse and
    continuous attention mechanisms*, NeurIPS 2020, section 3.2. Book page:
    ``from_weights_to_densities``.
    """
    if isinstance(density, Mixture):
        assert isinstance(density.components, BetaGaussian)
        times, mass = _nodes(density.components, value_function)  # (B, modes, N), float64
        times, mass = times.flatten(-2), (density.weights.double()[..., None] * mass).flatten(-2)
    else:
        times, mass = _nodes(density, value_function)  # (B, N)
    share = mass / mass.sum(-1, keepdim=True)
    psi = value_function.basis(times)  # (B, N, basis)
    matrices = value_function.matrices(lengths, values.shape[1], psi.dtype, psi.device)
    weights = psi @ matrices.mT  # (B, N, T)
    weights = weights - share[:, None] @ weights
    dtype = torch.promote_types(values.dtype, torch.float32)  # squares of half types leave their range
    deviations = weights.to(dtype) @ values.to(dtype)  # (B, N, H)
    return (share[..., None].to(dtype) * deviations.square()).sum(1).to(values.dtype)


def std(variance: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Square root of a variance, of gradient 0 below 1e-12: the slope of a square root has no bound there."""
    # in float16 the least variance is 0
    exact = variance.to(torch.promote_types(variance.dtype, torch.float32))
    return exact.clamp(min=_LEAST_VARIANCE).sqrt().to(variance.dtype)


def coefficient_variance(
    value_function: ValueFunction,
    expectations: Float[Tensor, "batch basis"],
    values: Float[Tensor, "batch frames features"],
    lengths: Sequence[int] | Tensor,
) -> Float[Tensor, "batch features"]:
    r"""Compute the published approximation of a variance, :math:`(B - c)^2 r` with :math:`c = B r`.

    It spreads the coefficients :math:`B` of the basis functions as if they were
    values and their expectations :math:`r`, whose sum is not 1, weights. It is
    the variance of no function, but what the published models were trained with.

    Parameters
    ----------
    value_function, values, lengths
        As for :func:`value_variance`.
    expectations
        :math:`r`, from :meth:`~audioattn_lib.attention.expectations.value_function.ValueFunction.expect`.

    Returns
    -------
    variance
        At least 0, in the dtype of the values.

    Notes
    -----
    Source: code released with Martins et al., JMLR 2022. Book page:
    ``from_weights_to_densities``.
    """
    matrices = value_function.matrices(lengths, values.shape[1], values.dtype, values.device)
    coefficients = matrices.mT @ values  # (B, basis, H)
    weights = expectations.to(values.dtype)[:, None]  # (B, 1, basis)
    context = weights @ coefficients
    return (weights @ (coefficients - context).square()).squeeze(1)


_rules_kept: dict[float, tuple[Constants, Constants]] = {}


def _rules(narrowest: float) -> tuple[Constants, Constants]:
    """Rules for the clip and for either side of it: a function is smoother where no frames are."""
    if narrowest not in _rules_kept:
        clip, side = (Constants(*gauss_legendre(math.ceil(n / narrowest))) for n in (3.2, 2.4))
        _rules_kept[narrowest] = clip, side
    return _rules_kept[narrowest]


def _finest(basis: Basis) -> float:
    """The width of a Gaussian that changes as fast as the fastest function of a basis does."""
    if isinstance(basis, GaussianBasis):
        return min(basis.widths)
    if isinstance(basis, WaveBasis):
        return 1 / max(4.0, *map(abs, basis.frequencies))
    return _UNKNOWN


def _nodes(density: BetaGaussian, value_function: ValueFunction) -> tuple[Tensor, Tensor]:
    """Compute nodes in the reach of the density and their mass, with one more axis than the density."""
    location, variance = (x.double()[..., None] for x in torch.broadcast_tensors(density.location, density.variance))
    alpha = density.alpha[..., None] if isinstance(density.alpha, Tensor) else density.alpha
    wide = BetaGaussian(location, variance, alpha, check=False)
    reach = torch.minimum(wide.half_width, _REACH * variance.sqrt())
    low, high = location - reach, location + reach
    inside, outside = _rules(_finest(value_function.basis))
    panels = [(low.clamp(0, 1), high.clamp(0, 1), inside)]
    if value_function.boundary != "renormalise":
        panels += [
            (low, torch.minimum(high, low.clamp(min=0)), outside),
            (torch.maximum(low, high.clamp(max=1)), high, outside),
        ]
    times, lengths = [], []
    for start, stop, rule in panels:  # a panel that the density does not reach has length 0
        y, weight = rule.on(location.device)
        radius = (stop - start) / 2
        times.append(start + radius * (1 + y))
        lengths.append(radius * weight)
    places = torch.cat(times, dim=-1)
    return places, torch.cat(lengths, dim=-1) * wide.pdf(places)
