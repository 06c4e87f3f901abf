r"""Fenchel-Young losses between quadratic scores and densities.

A quadratic score :math:`f(x) = -\frac12 (x-\mu)^\top S^{-1} (x-\mu)` stands for the
beta-Gaussian that maximises :math:`E_p[f] + H_\alpha(p)`. With
:math:`\Omega(p) = -H_\alpha(p)` and its conjugate

.. math::

   \Omega^*(f) = \max_p E_p[f] + H_\alpha(p)
   = H + \frac{n(\alpha-1)}{2} \Bigl(H - \frac{1}{\alpha(\alpha-1)}\Bigr),
   \qquad H = H_\alpha(p_f),

the loss of a score against a density is
:math:`L(f; q) = \Omega^*(f) + \Omega(q) - E_q[f] \ge 0`, zero if and only if
:math:`q = p_f`, and against a point, a density of infinite :math:`\Omega`, the part that
depends on the score, :math:`\Omega^*(f) - f(x)`. For :math:`\alpha = 1` these are the
Kullback-Leibler divergence :math:`\mathrm{KL}(q \,\|\, p_f)` and the negative
log-likelihood of a Gaussian.

The score is given by its density, whose scale matrix need not be formed: with
:math:`\Sigma` the covariance, :math:`S = c\,\Sigma`.

Source: Martins et al., *Sparse continuous distributions and Fenchel-Young
losses*, JMLR 2022, sections 3 to 5. Book page: ``from_weights_to_densities``.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from audioattn_lib.core.errors import ConfigError

from . import _family as family
from .beta_gaussian import BetaGaussian
from .multivariate import MultivariateBetaGaussian

__all__ = ["conjugate", "cross_fenchel_young_loss", "fenchel_young_loss"]

Density = BetaGaussian | MultivariateBetaGaussian


def conjugate(density: Density) -> Float[Tensor, "*batch"]:
    r"""The conjugate :math:`\Omega^*(f)` of the quadratic score that a density is the maximiser of.

    For :math:`\alpha = 1` the logarithm of the normalisation, :math:`\frac12 \log |2\pi\Sigma|`.

    Notes
    -----
    Source: Martins et al., JMLR 2022, section 5. Book page:
    ``from_weights_to_densities``.
    """
    return _conjugate(density.double()).to(density.dtype)


def fenchel_young_loss(score: Density, target: Density) -> Float[Tensor, "*batch"]:
    r"""Loss of a quadratic score against a target density, :math:`L(f; q) = \Omega^*(f) - H_\alpha(q) - E_q[f]`.

    .. math::

       L = \tfrac12 (\mu_q-\mu_f)^\top S_f^{-1} (\mu_q-\mu_f)
         + \tfrac12 \operatorname{tr}(S_f^{-1} \Sigma_q) + \Omega^*(f) - H_\alpha(q)

    Parameters
    ----------
    score
        The density that stands for the score; its :math:`\alpha` is that of the loss.
    target
        Of the same number of dimensions and the same ``alpha``; the batches
        broadcast.

    Returns
    -------
    loss
        At least 0 but for rounding; 0 if and only if the two are equal.

    Raises
    ------
    ConfigError
        If the densities differ in the number of dimensions, or in an ``alpha`` that
        is a number.

    Notes
    -----
    Source: Martins et al., JMLR 2022, section 3. Book page:
    ``from_weights_to_densities``.
    """
    f, q = score.double(), target.double()
    if f.event_shape != q.event_shape:
        raise ConfigError(f"score has {_dimensions(f)} dimensions and target {_dimensions(q)}; both must have as many")
    numbers = [x.alpha for x in (f, q) if not isinstance(x.alpha, Tensor)]
    if len(numbers) == 2 and numbers[0] != numbers[1]:
        raise ConfigError(f"score has the alpha {numbers[0]} and target {numbers[1]}; a loss has one alpha")
    quadratic = (_squared_distance(f, q.mean) + _relative_trace(f, q)) / (2 * _scale_ratio(f))
    loss = quadratic + _conjugate(f) - q.tsallis_entropy()
    return loss.to(torch.promote_types(score.dtype, target.dtype))


def cross_fenchel_young_loss(score: Density, value: Float[Tensor, "*points"]) -> Float[Tensor, "*points"]:
    r"""Loss of a quadratic score against points, :math:`\frac12 (x-\mu)^\top S^{-1} (x-\mu) + \Omega^*(f)`.

    Its mean over points is smallest where mean and covariance of the density are
    those of the points, whatever :math:`\alpha`; finite also for points off the
    support. For :math:`\alpha = 1` the negative log-likelihood.

    Parameters
    ----------
    score
        The density that stands for the score.
    value
        Points, which broadcast with the batch: ``(*points)`` on the line,
        ``(*points, n)`` in n dimensions.

    Notes
    -----
    With :math:`\Omega^*` as the paper defines it. The code published with the paper
    adds :math:`n / 2\alpha`, which changes no gradient with respect to location and
    scale, but makes losses of different :math:`\alpha` incomparable. Source: Martins et
    al., JMLR 2022, section 3. Book page: ``from_weights_to_densities``.
    """
    f = score.double()
    loss = _squared_distance(f, value.double()) / (2 * _scale_ratio(f)) + _conjugate(f)
    return loss.to(torch.promote_types(score.dtype, value.dtype))


def _dimensions(density: Density) -> int:
    return density.n if isinstance(density, MultivariateBetaGaussian) else 1


def _log_det(density: Density) -> Tensor:
    if isinstance(density, MultivariateBetaGaussian):
        return 2 * density.cholesky.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    return density.variance.log()


def _conjugate(density: Density) -> Tensor:
    """Compute the conjugate from the integral of the power, without cancellation as alpha goes to 1."""
    n, log_det = _dimensions(density), _log_det(density)

    def compact(k: Tensor) -> Tensor:
        log_volume = 0.5 * (n * family.squared_radius(k, n).log() + log_det)
        integral = family.power_integral(k, n, log_volume).exp()
        # H - 1 / (alpha (alpha - 1)) = -integral / (alpha (alpha - 1)), and 1 / alpha = k / (k + 1)
        return family.tsallis_entropy(k, n, log_volume) - 0.5 * n * integral * k / (k + 1)

    return family.by_alpha(density.alpha, compact, lambda: density.entropy() - 0.5 * n, log_det.device)


def _scale_ratio(density: Density) -> Tensor:
    """The number c in S = c times the covariance."""
    n, log_det = _dimensions(density), _log_det(density)
    return family.by_alpha(
        density.alpha,
        lambda k: family.log_scale_ratio(k, n, log_det).exp(),
        lambda: torch.ones_like(log_det),
        log_det.device,
    )


def _squared_distance(density: Density, value: Tensor) -> Tensor:
    if isinstance(density, MultivariateBetaGaussian):
        return density.mahalanobis(value)
    return (value - density.location) ** 2 / density.variance


def _relative_trace(f: Density, q: Density) -> Tensor:
    r"""Trace of :math:`\Sigma_f^{-1} \Sigma_q`."""
    if isinstance(f, MultivariateBetaGaussian) and isinstance(q, MultivariateBetaGaussian):
        shape = torch.broadcast_shapes(f.cholesky.shape, q.cholesky.shape)
        solved = torch.linalg.solve_triangular(f.cholesky.expand(shape), q.cholesky.expand(shape), upper=False)
        return solved.square().sum((-2, -1))
    return q.variance / f.variance
