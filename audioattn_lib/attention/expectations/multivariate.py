r"""Expectations under elliptical densities in several dimensions.

With :math:`x = \mu + r L u`, :math:`u` in the unit ball, the expectation of a Gaussian
basis function is

.. math:: E_p[\psi] = C_{n,k} \int_{|u| \le 1} (1-|u|^2)^k\, \psi(\mu + r L u)\, du .

Because :math:`(1-|u|^2)^k \le e^{-k|u|^2}`, the integrand lies below a Gaussian of
precision :math:`P = 2kI + r^2 L^\top W^{-1} L`, :math:`W` the squared widths of the basis
function. As on the line, Gauss-Legendre nodes are laid where this Gaussian and the
ball have something in common: along the first coordinate in the window of its
marginal, along each further one in that of its conditional. All coordinates but the
last are taken as sines, :math:`u_1 = \sin\theta`, which makes the boundary of the ball
smooth. The same number of nodes then does for the narrowest and the widest
density and basis function.

The nodes are constants in :math:`u`: the family is of location and scale, so
:math:`\partial_\mu E = E[\nabla\psi]` and :math:`\partial_{L} E = r\,E[\nabla\psi\,u^\top]`
come from the same nodes. Under a Gaussian
:math:`E = \mathcal{N}(m; \mu, \Sigma + W)`.

Source: Martins et al., *Sparse continuous distributions and Fenchel-Young losses*,
JMLR 2022, section 6 (for the expectations; the quadrature is ours). Book page:
``from_weights_to_densities``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from audioattn_lib.core.errors import ConfigError
from audioattn_lib.core.tensors import are_plain

from ..densities import _family as family
from ..densities.mixture import Mixture
from ..densities.multivariate import MultivariateBetaGaussian
from ..densities.quadrature import Constants, ball_rule, gauss_legendre
from .bases import MultivariateGaussianBasis
from .gaussian import choose_rule, nearest_integer

__all__ = ["multivariate_expectation", "multivariate_gaussian_expectation"]

# Pairs of a density and a basis function, times nodes, that are evaluated at once: what a core's cache holds, and
# what keeps another device busy
_CHUNK = {"cpu": 2**15}
_LARGE_CHUNK = 2**22

# For every coordinate but the last: for float32 and below, for float64
_ANGLES = tuple(Constants(*gauss_legendre(n)) for n in (24, 48))


def multivariate_gaussian_expectation(
    density: MultivariateBetaGaussian | Mixture, basis: MultivariateGaussianBasis
) -> Float[Tensor, "*batch basis"]:
    r"""Expectation of every Gaussian basis function, :math:`E_p[\psi_j(x)]`.

    Parameters
    ----------
    density
        A batch of densities, or of mixtures of them, of as many dimensions as the
        basis; ``alpha`` may be a number or a tensor, with or without a gradient.
    basis
        The basis functions.

    Returns
    -------
    expectations
        In the dtype of the location. Differentiable twice with respect to
        location, covariance, weights and a tensor ``alpha``.

    Notes
    -----
    On the plane the error, relative to the peak of the basis function, stays below
    1e-10 in float64 (1e-12 for alpha 4/3, 3/2 and 2) and 3e-6 in float32, for
    half-widths from 1e-3 to 1.5, widths from 0.03 to 0.5 and correlations up to
    0.999. Time and memory are linear in pairs of a density and a basis
    function, each of which takes some 400 nodes in float32, and 24 times more for
    every further dimension. Source: Martins et al., JMLR 2022, section 6. Book page:
    ``from_weights_to_densities``.
    """
    if isinstance(density, Mixture):
        return density.average(multivariate_gaussian_expectation(density._several(), basis))
    if density.n != basis.n:
        raise ConfigError(f"the density has {density.n} dimensions and the basis {basis.n}; give both as many")
    n, alpha, dtype, batch = density.n, density.alpha, density.dtype, tuple(density.batch_shape)
    location = density.location.double().expand(*batch, n).reshape(-1, n)
    factor = density.cholesky.double().expand(*batch, n, n).reshape(-1, n, n)
    centres, widths = basis.parameters(location.device)
    precise = dtype == torch.float64
    if not isinstance(alpha, Tensor) and alpha == 1:
        result = _under_gaussian(location, factor, centres, widths)
    elif not isinstance(alpha, Tensor):
        k = nearest_integer(1 / (alpha - 1))
        radius = math.sqrt(n + 2 * k + 2)
        find = _BallExpectation.apply if are_plain(location, factor) else _through_nodes
        result = find(location, radius * factor, centres, widths, k, precise)
    else:
        each_alpha = alpha.expand(batch).reshape(-1)
        powers = family.exponent(each_alpha, location.device)
        scaled = family.squared_radius(powers, n).sqrt()[:, None, None] * factor
        inside = _through_nodes(location, scaled, centres, widths, powers, precise)
        result = family.of_each(each_alpha[:, None], inside, _under_gaussian(location, factor, centres, widths))
    return result.reshape(*batch, len(basis)).to(dtype)


def multivariate_expectation(
    psi: Callable[[Float[Tensor, "*batch nodes n"]], Tensor],
    density: MultivariateBetaGaussian | Mixture,
    n_nodes: int = 24,
) -> Tensor:
    r"""Expectation of any smooth function, :math:`E_p[\psi(x)]`, by a product of Gauss rules.

    Exact for polynomials up to degree ``2 * n_nodes - 1``; differentiable as often
    as ``psi`` is.

    Parameters
    ----------
    psi
        From points ``(*batch, nodes, n)`` to values ``(*batch, nodes, *features)``.
    density
        A batch of densities, or of mixtures of them, whose ``alpha`` is a number.
    n_nodes
        At least 1, along each axis: ``n_nodes ** n`` points in all.

    Returns
    -------
    values
        Shape ``(*batch, *features)``.

    Notes
    -----
    Source: Stroud, *Approximate Calculation of Multiple Integrals*, 1971, chapter
    2. Book page: ``from_weights_to_densities``.
    """
    if isinstance(density, Mixture):
        return density.average(multivariate_expectation(psi, density._several(), n_nodes))
    if isinstance(density.alpha, Tensor):
        raise ConfigError("alpha is a tensor; quadrature of any function needs one number for the whole batch")
    if n_nodes < 1:
        raise ConfigError(f"n_nodes is {n_nodes}; it must be at least 1")
    n, shape = density.n, density.batch_shape
    k = math.inf if density.alpha == 1 else nearest_integer(1 / (density.alpha - 1))
    u, weight = (torch.tensor(array, device=density.location.device) for array in ball_rule(n, k, n_nodes))
    radius = 1.0 if k == math.inf else math.sqrt(n + 2 * k + 2)
    points = density.location[..., None, :] + (radius * u.to(density.dtype)) @ density.cholesky.mT
    values = psi(points.expand(*shape, *u.shape))
    return torch.tensordot(weight.to(values.dtype), values.movedim(len(shape), 0), dims=1)


def _through_nodes(
    location: Tensor, scaled: Tensor, centres: Tensor, widths: Tensor, k: float | Tensor, precise: bool
) -> Tensor:
    """Expectations ``(densities, basis)`` with gradients through every node; ``scaled`` is :math:`rL`."""
    pieces = []
    for mu, a, m, w, power in _pieces(location, scaled, centres, widths, k, precise):
        pieces.append(_integrand(mu, a, m, w, power, precise)[1].sum(-1))
    return torch.cat(pieces).reshape(len(location), len(centres))


class _BallExpectation(torch.autograd.Function):
    """The expectations of plain tensors with their derivatives beside them; the backward pass is two sums."""

    @staticmethod
    def forward(
        ctx: Any, location: Tensor, scaled: Tensor, centres: Tensor, widths: Tensor, k: float, precise: bool
    ) -> Tensor:
        value, by_location, by_scaled = _with_gradients(location, scaled, centres, widths, k, precise)
        ctx.save_for_backward(location, scaled, centres, widths, by_location, by_scaled)
        ctx.shape = k, precise
        return value

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        *inputs, by_location, by_scaled = ctx.saved_tensors
        if torch.is_grad_enabled():  # a gradient of this gradient is wanted: derivatives that know their inputs
            _, by_location, by_scaled = _with_gradients(*inputs, *ctx.shape)
        by_inputs = (gradient[..., None] * by_location).sum(1), (gradient[..., None, None] * by_scaled).sum(1)
        return *by_inputs, *[None] * 4


def _with_gradients(
    location: Tensor, scaled: Tensor, centres: Tensor, widths: Tensor, k: float, precise: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """The expectations ``(densities, basis)`` and their derivatives by location and by ``scaled``."""
    results: list[list[Tensor]] = [[], [], []]
    for mu, a, m, w, power in _pieces(location, scaled, centres, widths, k, precise):
        u, value = _integrand(mu, a, m, w, power, precise)
        m0 = value.sum(-1)
        weighted = [value * x for x in u]
        m1 = torch.stack([x.sum(-1) for x in weighted], -1)
        m2 = torch.stack([torch.stack([(x * y).sum(-1) for y in u], -1) for x in weighted], -2)
        # the gradient of psi at x is -(x - m) psi / w^2
        apart, squared = mu - m, w**2
        by_location = -(apart * m0[..., None] + (a @ m1[..., None]).squeeze(-1)) / squared
        by_scaled = -(apart[..., None] * m1[..., None, :] + a @ m2) / squared[..., None]
        for batches, batch in zip(results, (m0, by_location, by_scaled), strict=True):
            batches.append(batch)
    n = location.shape[-1]
    pairs = (len(location), len(centres))
    m0, by_location, by_scaled = (torch.cat(batches) for batches in results)
    return m0.reshape(pairs), by_location.reshape(*pairs, n), by_scaled.reshape(*pairs, n, n)


def _pieces(
    location: Tensor, scaled: Tensor, centres: Tensor, widths: Tensor, k: float | Tensor, precise: bool
) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor, float | Tensor]]:
    """Pairs of a density and a basis function, a bounded number at once."""
    n_functions, n, device = len(centres), location.shape[-1], location.device
    n_angles, n_last = (len(rule.on(device)[0]) for rule in (_ANGLES[precise], choose_rule(k, precise).tensors))
    size = max(1, _CHUNK.get(device.type, _LARGE_CHUNK) // (n_angles ** (n - 1) * n_last))
    for chunk in torch.arange(len(location) * n_functions, device=device).split(size):
        i, j = chunk // n_functions, chunk % n_functions
        yield location[i], scaled[i], centres[j], widths[j], k[i] if isinstance(k, Tensor) else k


def _integrand(
    location: Tensor, scaled: Tensor, centres: Tensor, widths: Tensor, k: float | Tensor, precise: bool
) -> tuple[list[Tensor], Tensor]:
    """Coordinates u of the nodes, ``(pairs, nodes)`` each, and what is to be summed over them."""
    n = location.shape[-1]
    # detached: without a gradient forward mode would still have its own
    power = k.detach() if isinstance(k, Tensor) else k
    u, rest, length = _place(location.detach(), scaled.detach(), centres, widths, power, precise)
    start, slope = (location - centres) / widths, scaled / widths[..., None]
    distance = torch.zeros_like(rest)
    for i in range(n):
        z = start[:, i, None] + sum(slope[:, i, j, None] * u[j] for j in range(n))
        distance = distance + z * z
    if isinstance(k, Tensor):
        log = k[:, None] * rest + family.log_constant(k, n)[:, None]
    else:
        log = k * rest + family.log_constant(torch.tensor(k, dtype=torch.float64), n)
    constant = (widths * math.sqrt(2 * math.pi)).prod(-1)
    return u, torch.exp(log - 0.5 * distance) * (length / constant[:, None])


def _place(
    location: Tensor, scaled: Tensor, centres: Tensor, widths: Tensor, k: float | Tensor, precise: bool
) -> tuple[list[Tensor], Tensor, Tensor]:
    """Coordinates u of nodes in the ball, the logarithm of ``1 - |u|^2`` and the volume that each node stands for."""
    n = location.shape[-1]
    rule = choose_rule(k, precise)
    pull = scaled.mT / widths[:, None] ** 2
    axes, spread = _principal_axes(pull @ scaled)
    tension = spread + (2 * k[:, None] if isinstance(k, Tensor) else 2 * k)
    aim = (axes.mT @ (pull @ (centres - location)[..., None])).squeeze(-1) / tension
    reach = rule.cutoff / tension.sqrt()
    rho = torch.ones(len(location), 1, dtype=torch.float64, device=location.device)
    length, rest = torch.ones_like(rho), torch.zeros_like(rho)
    coordinates: list[Tensor] = []
    for i in range(n):
        last = i == n - 1
        low = ((aim - reach)[:, i, None] / rho).clamp(-1, 1)
        high = ((aim + reach)[:, i, None] / rho).clamp(-1, 1)
        y, weight = (rule.tensors if last else _ANGLES[precise]).on(location.device)[:2]
        if not last:
            low, high = low.asin(), high.asin()
        half = (high - low) / 2
        position = ((high + low) / 2)[..., None] + half[..., None] * y  # (pairs, nodes so far, new nodes)
        volume = half[..., None] * weight * (length * rho)[..., None]
        coordinates = [x[..., None].expand(position.shape).flatten(1) for x in coordinates]
        if last:
            # rounding may put the outermost node on the end
            rest = (rest[..., None] + torch.log1p(-position.square().clamp(max=1 - 1e-15))).flatten(1)
            coordinates.append((rho[..., None] * position).flatten(1))
        else:
            cosine, sine = position.cos().clamp(min=1e-15), position.sin()
            # small sines are known better than the cosine is, which matters when k is large
            logarithm = torch.where(sine.abs() < 0.5, 0.5 * torch.log1p(-sine.square()), cosine.log())
            rest = (rest[..., None] + 2 * logarithm).flatten(1)
            coordinates.append((rho[..., None] * sine).flatten(1))
            rho = (rho[..., None] * cosine).flatten(1)
            volume = volume * cosine
        length = volume.flatten(1)
    turned = [sum((axes[:, i, j, None] * coordinates[j] for j in range(n)), torch.zeros_like(rest)) for i in range(n)]
    return turned, rest, length


def _principal_axes(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvectors, in columns, and eigenvalues of symmetric matrices, the largest first."""
    if matrix.shape[-1] != 2:
        values, vectors = torch.linalg.eigh(matrix)
        return vectors.flip(-1), values.flip(-1).clamp(min=0)
    p, q, s = matrix[..., 0, 0], matrix[..., 0, 1], matrix[..., 1, 1]
    angle = 0.5 * torch.atan2(2 * q, p - s)
    c, d = angle.cos(), angle.sin()
    axes = torch.stack([torch.stack([c, -d], -1), torch.stack([d, c], -1)], -2)
    apart = torch.hypot((p - s) / 2, q)
    middle = (p + s) / 2
    return axes, torch.stack([middle + apart, (middle - apart).clamp(min=0)], -1)


def _under_gaussian(location: Tensor, factor: Tensor, centres: Tensor, widths: Tensor) -> Tensor:
    """Basis functions against Gaussians."""
    total = (factor @ factor.mT)[:, None] + torch.diag_embed(widths**2)
    joint = torch.linalg.cholesky_ex(total)[0]
    apart = (centres - location[:, None])[..., None]
    z = torch.linalg.solve_triangular(joint, apart, upper=False).squeeze(-1)
    half_log_det = joint.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    return torch.exp(-0.5 * z.square().sum(-1) - half_log_det) * (2 * math.pi) ** (-0.5 * location.shape[-1])
