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

from audioattn_lib.core.tensors import is_exporting

__all__ = ["normalise", "share_out", "share_out_plane"]

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
    centred = x - (p[..., None] * x).sum(1, keepdim=True)
    axis = _widest_axis((p[..., None] * centred).mT @ centred)
    parts = _slices(p, (centred * axis[:, None]).sum(-1), n_components)
    step = _step_on_line if n == 1 else _step
    for _ in range(_STEPS):
        parts = torch.softmax(step(parts, statistics, floor), dim=1) * p[:, None]
    return parts


def share_out_plane(
    weights: Float[Tensor, "batch frames bands"],
    times: Float[Tensor, "batch frames"],
    frequencies: Float[Tensor, " bands"],
    spacing: Float[Tensor, "batch 2"],
    n_components: int,
) -> Float[Tensor, "batch modes frames bands"]:
    r"""The same of the cells of a plane, whose places are products of times and frequencies.

    Sums over cells and scores of cells are matrix products along one axis after the
    other, so that nothing larger than the parts exists.

    Parameters
    ----------
    weights
        At least 0, with a sum of 1 over frames and bands; 0 where there is nothing.
    times, frequencies
        Places of frames and bands, finite everywhere.
    spacing
        Extent of a cell along both axes, as in :func:`share_out`.
    n_components
        At least 1.

    Returns
    -------
    parts
        At least 0, with the weights as their sum over modes, in their dtype. What is
        of the size of the plane has that dtype; moments are in float64.

    Notes
    -----
    As in :func:`share_out`.
    """
    t, f = times.double(), frequencies.double()
    floor = (spacing.double().square() / 12)[:, None]  # (B, 1, 2)
    whole = weights[:, None]
    _, mean, (along, both, across) = _moments(whole, t, f, torch.zeros_like(floor))
    axis = _widest_axis(torch.stack([along, both, both, across], dim=-1)[:, 0].unflatten(-1, (2, 2)))
    line = ((t - mean[:, 0, :1]) * axis[:, :1])[..., None] + ((f - mean[:, 0, 1:]) * axis[:, 1:])[:, None]
    parts = _slices(weights.flatten(1), line.to(weights.dtype).flatten(1), n_components)
    parts = parts.unflatten(-1, weights.shape[1:])
    for _ in range(_STEPS):
        # about the means of the step before: differences of large numbers would not be exact in float32
        mass, mean, (along, both, across) = _moments(parts, t, f, mean.detach())
        along, across = along + floor[..., 0], across + floor[..., 1]
        determinant = along * across - both**2
        height = mass.log() - 0.5 * determinant.log()
        precision = torch.stack([-0.5 * across, both, -0.5 * along], dim=-1) / determinant[..., None]
        of_time, of_both, of_frequency = precision.split(1, dim=-1)  # (B, M, 1)
        dt, df = t[:, None] - mean[..., :1], f - mean[..., 1:]  # (B, M, T), (B, M, F)
        rows = torch.stack([torch.addcmul(height[..., None], of_time, dt**2), torch.ones_like(dt), of_both * dt], -1)
        columns = torch.stack([torch.ones_like(df), of_frequency * df**2, df], dim=-2)
        parts = torch.softmax(rows.to(weights.dtype) @ columns.to(weights.dtype), dim=1) * whole
    return parts


def _moments(
    parts: Tensor, t: Tensor, f: Tensor, centre: Tensor
) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor, Tensor]]:
    """Mass ``(B, M)``, mean ``(B, M, 2)`` and covariances of parts of a plane, from sums about a centre.

    The covariances are the variance along time, the covariance, and the variance along frequency, ``(B, M)`` each.
    """
    dt, df = t[:, None] - centre[..., :1], f - centre[..., 1:]
    along = torch.stack([torch.ones_like(dt), dt, dt**2], dim=-2)  # (B, M, 3, T)
    across = torch.stack([torch.ones_like(df), df, df**2], dim=-1)  # (B, M, F, 3)
    sums = along @ (parts @ across.to(parts.dtype)).double()  # of the powers of both, (B, M, 3, 3)
    mass = sums[..., 0, 0].clamp(min=_LEAST_MASS)
    _, f1, f2, t1, both, _, t2, _, _ = (sums / mass[..., None, None]).flatten(-2).unbind(-1)
    return mass, centre + torch.stack([t1, f1], dim=-1), (t2 - t1**2, both - t1 * f1, f2 - f1**2)


def _step(parts: Tensor, statistics: Tensor, floor: Tensor) -> Tensor:
    """Compute the logarithm of the height of each mode at each place ``(B, M, N)`` from the parts of the step before.

    Both halves are matrix products with the statistics of the places, ``(B, N, 1 + n + n^2)``.
    """
    n = floor.shape[-1]
    mass, first, second = (parts @ statistics).split([1, n, n * n], dim=-1)
    mass = mass.clamp(min=_LEAST_MASS)
    mean = first / mass
    covariance = (second / mass).unflatten(-1, (n, n)) - mean[..., :, None] * mean[..., None, :] + floor
    adjugate, determinant = _adjugate(covariance)
    precision = adjugate / determinant[..., None]
    slope = (precision @ mean[..., None]).squeeze(-1)
    height = mass.log() - 0.5 * (determinant.log() + (slope * mean).sum(-1, keepdim=True))
    return torch.cat([height, slope, -0.5 * precision.flatten(-2)], dim=-1) @ statistics.mT


def _step_on_line(parts: Tensor, statistics: Tensor, floor: Tensor) -> Tensor:
    """Compute :func:`_step` on a line, where every matrix is a number, with half of the operations."""
    mass, first, second = (parts @ statistics).unbind(-1)  # (B, M) each
    mass = mass.clamp(min=_LEAST_MASS)
    mean = first / mass
    precision = (torch.addcmul(second / mass, mean, mean, value=-1) + floor[..., 0, 0]).reciprocal()
    slope = precision * mean
    height = torch.addcmul((mass * precision.sqrt()).log(), slope, mean, value=-0.5)
    return torch.stack([height, slope, -0.5 * precision], dim=-1) @ statistics.mT


def normalise(
    parts: Float[Tensor, "batch modes places"],
) -> tuple[Float[Tensor, "batch modes places"], Float[Tensor, "batch modes"]]:
    """The weights of the places in each mode, rows of sum 1, and the share of each mode; of a mode of none, zeros."""
    mass = parts.sum(-1)
    return parts / mass.clamp(min=_LEAST_MASS)[..., None], mass / mass.sum(-1, keepdim=True)


def _adjugate(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Adjugate and determinant ``(..., 1)`` of matrices of 2 rows, for which an inverse of torch is slow."""
    a, b, c, d = matrix.flatten(-2).split(1, dim=-1)
    return torch.cat([d, -b, -c, a], dim=-1).unflatten(-1, (2, 2)), a * d - b * c


def _widest_axis(covariance: Tensor) -> Tensor:
    """Direction of greatest spread, without a gradient."""
    if is_exporting() and covariance.shape[-1] == 1:  # other programs have no eigenvectors; a line has one direction
        return torch.ones_like(covariance[..., 0])
    with torch.no_grad():
        axis = torch.linalg.eigh(covariance)[1][..., -1]
        return axis * torch.where(axis[..., :1] < 0, -1.0, 1.0)  # the sign of an eigenvector is arbitrary


def _slices(p: Tensor, line: Tensor, n_components: int) -> Tensor:
    """Parts of equal mass, one after another along a line; a place may be in two."""
    # equal places are those of padding alone, which has no mass: their order, which other programs do not keep, is free
    order = line.detach().argsort(dim=-1) if is_exporting() else line.detach().argsort(dim=-1, stable=True)
    above = p.gather(1, order).cumsum(-1)
    above = torch.zeros_like(above).scatter(1, order, above)  # mass up to and with each place
    ends = torch.arange(1, n_components + 1, dtype=p.dtype, device=p.device)[:, None] / n_components
    overlap = torch.minimum(above[:, None], ends) - torch.maximum((above - p)[:, None], ends - 1 / n_components)
    return overlap.clamp(min=0)
