r"""Clusters of weighted positions by the EM algorithm, which place the components of a density.

Weights :math:`p_i` on places :math:`x_i` are shared out among :math:`M` modes. With
:math:`\pi_m, \mu_m, \Sigma_m` the mass, the mean and the covariance of the part
:math:`p_i \gamma_{m,i}` of mode :math:`m`,

.. math::

   \gamma_{m,i} = \frac{\pi_m\,\mathcal{N}(x_i; \mu_m, \Sigma_m)}
                       {\sum_{m'} \pi_{m'}\,\mathcal{N}(x_i; \mu_{m'}, \Sigma_{m'})}

is repeated, from slices of equal mass across the direction in which the weights
spread most. Every step keeps the mass, the mean and the covariance of the whole.
The gradient goes through all steps and is exact.

Source: Farinhas et al., *Multimodal continuous visual attention mechanisms*, ICCV
workshops 2021, who place Gaussian mixtures so; the start is ours, and the number of
modes is an option here instead of being chosen by a description length. Book page:
``from_weights_to_densities``.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["normalise", "share_out"]

_STEPS = 10

# A mode without mass has no mean; its share of everything is below this
_LEAST_MASS = 1e-30


def share_out(
    weights: Float[Tensor, "batch places"],
    places: Float[Tensor, "batch places n"],
    spacing: Float[Tensor, "batch n"],
    n_components: int,
) -> Float[Tensor, "batch modes places"]:
    r"""The part of the weights that belongs to each mode, :math:`p_i \gamma_{m,i}`, in float64.

    Parameters
    ----------
    weights
        At least 0, rows of sum 1; 0 where there is nothing.
    places
        Coordinates of what is weighted, on a line or in a plane, finite everywhere.
    spacing
        Extent of a place along each axis, above 0. A mode is taken to be no narrower
        than a place is, so that none settles on a single one for ever.
    n_components
        At least 1.

    Returns
    -------
    parts
        At least 0, with the weights as their sum over modes.

    Notes
    -----
    10 steps, of a time and a memory that are proportional to modes times places.
    Source: Farinhas et al., 2021. Book page: ``from_weights_to_densities``.
    """
    p, x = weights.double(), places.double()
    n = x.shape[-1]
    products = (x[..., :, None] * x[..., None, :]).flatten(-2)
    statistics = torch.cat([torch.ones_like(x[..., :1]), x, products], dim=-1)  # (B, N, 1 + n + n^2)
    floor = torch.diag_embed(spacing.double().square() / 12)[:, None]
    parts = _slices(p, x, n_components)
    for _ in range(_STEPS):
        # both halves of a step are matrix products with the places' statistics
        mass, first, second = (parts @ statistics).split([1, n, n * n], dim=-1)
        mass = mass.clamp(min=_LEAST_MASS)
        mean = first / mass
        covariance = (second / mass).unflatten(-1, (n, n)) - mean[..., :, None] * mean[..., None, :] + floor
        adjugate, determinant = _adjugate(covariance)
        precision = adjugate / determinant[..., None]
        slope = (precision @ mean[..., None]).squeeze(-1)
        height = mass.log() - 0.5 * (determinant.log() + (slope * mean).sum(-1, keepdim=True))
        scores = torch.cat([height, slope, -0.5 * precision.flatten(-2)], dim=-1) @ statistics.mT
        parts = torch.softmax(scores, dim=1) * p[:, None]
    return parts


def normalise(
    parts: Float[Tensor, "batch modes places"],
) -> tuple[Float[Tensor, "batch modes places"], Float[Tensor, "batch modes"]]:
    """The weights of the places in each mode, rows of sum 1, and the share of each mode; of a mode of none, zeros."""
    mass = parts.sum(-1)
    return parts / mass.clamp(min=_LEAST_MASS)[..., None], mass / mass.sum(-1, keepdim=True)


def _adjugate(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Adjugate and determinant ``(..., 1)`` of matrices of 1 or 2 rows, for which an inverse of torch is slow."""
    if matrix.shape[-1] == 1:
        return torch.ones_like(matrix), matrix[..., 0]
    a, b, c, d = matrix.flatten(-2).split(1, dim=-1)
    return torch.cat([d, -b, -c, a], dim=-1).unflatten(-1, (2, 2)), a * d - b * c


def _slices(p: Tensor, x: Tensor, n_components: int) -> Tensor:
    """Parts of equal mass, one after another along the axis of greatest spread; a place may be in two."""
    with torch.no_grad():
        centred = x - (p[..., None] * x).sum(1, keepdim=True)
        covariance = (p[..., None] * centred).mT @ centred
        axis = torch.linalg.eigh(covariance)[1][..., -1]
        axis = axis * torch.where(axis[..., :1] < 0, -1.0, 1.0)  # the sign of an eigenvector is arbitrary
        order = (centred * axis[:, None]).sum(-1).argsort(dim=-1, stable=True)
    above = p.gather(1, order).cumsum(-1)
    above = torch.zeros_like(above).scatter(1, order, above)  # mass up to and with each place
    ends = torch.arange(1, n_components + 1, dtype=p.dtype, device=p.device)[:, None] / n_components
    overlap = torch.minimum(above[:, None], ends) - torch.maximum((above - p)[:, None], ends - 1 / n_components)
    return overlap.clamp(min=0)
