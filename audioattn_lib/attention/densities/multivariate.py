r"""Continuous attention densities in several dimensions: the elliptical beta-Gaussians.

With :math:`f(x) = -\frac12 (x-\mu)^\top S^{-1} (x-\mu)`, the density that maximises
:math:`E_p[f] + H_\alpha(p)` is, for :math:`\alpha > 1`,

.. math::

   p(x) = \frac{C_{n,k}}{r^n \sqrt{|\Sigma|}}
          \Bigl[1 - \frac{(x-\mu)^\top \Sigma^{-1} (x-\mu)}{r^2}\Bigr]_+^{k},
   \qquad k = \frac{1}{\alpha-1}, \qquad r^2 = n + 2k + 2,
   \qquad C_{n,k} = \frac{\Gamma(\frac n2 + k + 1)}{\pi^{n/2}\,\Gamma(k+1)}

with covariance :math:`\Sigma`, a multiple of :math:`S`: it is 0 outside an
ellipsoid. :math:`\alpha = 1` is the Gaussian. The parameters are location and
covariance; the scale matrix :math:`S` of the score underflows for narrow densities
and serves for conversions only.

Source: Martins et al., *Sparse continuous distributions and Fenchel-Young
losses*, JMLR 2022, section 5. Book page: ``from_weights_to_densities``.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.distributions import Distribution, constraints

from audioattn_lib.core.errors import ConfigError

from . import _family as family
from ._family import Alpha

__all__ = ["MultivariateBetaGaussian"]

# How far a matrix may be from its transpose, relative to its largest entry
_SYMMETRY = 1e-4


class MultivariateBetaGaussian(Distribution):
    r"""A batch of elliptical beta-Gaussian densities in :math:`n` dimensions.

    Parameters
    ----------
    location
        Centre :math:`\mu`, ``(*batch, n)``; the batch broadcasts with the others.
    covariance
        Symmetric and positive definite, ``(*batch, n, n)``.
    alpha
        At least 1: a number, or a tensor ``(*batch)`` that may require gradients.
    check
        Look at the values and raise
        :class:`~audioattn_lib.core.errors.ConfigError` when one is out of range. Off,
        nothing waits for the device; a value out of range then gives NaN.

    Attributes
    ----------
    location
        As given.
    cholesky
        Lower Cholesky factor of the covariance, ``(*batch, n, n)``.
    alpha
        As given.

    Notes
    -----
    A :class:`torch.distributions.Distribution`. Formulas are evaluated in float64
    and returned in the dtype of the parameters. Source: Martins et al., JMLR 2022,
    section 5. Book page: ``from_weights_to_densities``.
    """

    arg_constraints = {  # noqa: RUF012
        "location": constraints.real_vector,
        "covariance": constraints.positive_definite,
        "alpha": constraints.greater_than_eq(1),
    }
    has_rsample = True

    def __init__(
        self,
        location: Float[Tensor, "*batch n"],
        covariance: Float[Tensor, "*batch n n"],
        alpha: float | Float[Tensor, "*batch"] = 2.0,
        *,
        check: bool = True,
    ) -> None:
        _check_matrix(covariance, "covariance", check)
        self._place(location, _factor(covariance, "covariance", check), alpha, "covariance", check)

    @classmethod
    def from_cholesky(
        cls,
        location: Float[Tensor, "*batch n"],
        cholesky: Float[Tensor, "*batch n n"],
        alpha: float | Float[Tensor, "*batch"] = 2.0,
        *,
        check: bool = True,
    ) -> MultivariateBetaGaussian:
        r"""The densities of covariance :math:`LL^\top`, with ``cholesky`` lower triangular of positive diagonal."""
        _check_shape(cholesky, "cholesky")
        if check:
            above = cholesky.detach().triu(1)
            if bool((above != 0).any()):
                raise ConfigError(
                    f"cholesky holds {above[above != 0][0].item()} above the diagonal; it must be lower triangular"
                )
            family.check_values(
                cholesky.diagonal(dim1=-2, dim2=-1),
                "the diagonal of cholesky",
                "above 0 and finite",
                lambda d: (d > 0) & torch.isfinite(d),
            )
        density = cls.__new__(cls)
        density._place(location, cholesky, alpha, "cholesky", check)
        return density

    @classmethod
    def from_scale(
        cls,
        location: Float[Tensor, "*batch n"],
        scale: Float[Tensor, "*batch n n"],
        alpha: float | Float[Tensor, "*batch"] = 2.0,
        *,
        check: bool = True,
    ) -> MultivariateBetaGaussian:
        r"""The densities of the scores :math:`-\frac12 (x-\mu)^\top S^{-1} (x-\mu)`, ``scale`` being :math:`S`."""
        _check_matrix(scale, "scale", check)
        factor = _factor(scale, "scale", check).double()
        n = scale.shape[-1]
        log_det = _log_det(factor)
        family.check_alpha(alpha, check)

        def compact(k: Tensor) -> Tensor:
            return torch.exp(0.5 * family.log_variance_ratio(k, n, log_det))

        ratio = family.by_alpha(alpha, compact, lambda: torch.ones_like(log_det), scale.device)
        density = cls.__new__(cls)
        density._place(location, (factor * ratio[..., None, None]).to(scale.dtype), alpha, "scale", check)
        return density

    def _place(self, location: Tensor, cholesky: Tensor, alpha: Alpha, name: str, check: bool) -> None:
        if location.ndim < 1 or location.shape[-1] != cholesky.shape[-1]:
            raise ConfigError(
                f"location has shape {tuple(location.shape)} and {name} is of {cholesky.shape[-1]} dimensions; "
                "location must end in as many coordinates"
            )
        family.check_alpha(alpha, check)
        if check:
            family.check_values(location, "location", "finite", torch.isfinite)
        shapes = {"location": location.shape[:-1], name: cholesky.shape[:-2]}
        if isinstance(alpha, Tensor):
            shapes["alpha"] = alpha.shape
        try:
            batch = torch.broadcast_shapes(*shapes.values())
        except RuntimeError:
            listed = ", ".join(f"{key} {tuple(shape)}" for key, shape in shapes.items())
            raise ConfigError(f"the batch shapes do not broadcast: {listed}; give each one or the same shape") from None
        self.location, self.cholesky, self.alpha = location, cholesky, alpha
        super().__init__(batch, location.shape[-1:], validate_args=False)

    def __repr__(self) -> str:
        alpha = tuple(self.alpha.shape) if isinstance(self.alpha, Tensor) else self.alpha
        return f"MultivariateBetaGaussian(alpha={alpha}, batch_shape={tuple(self.batch_shape)}, n={self.n})"

    def expand(self, batch_shape: Any, _instance: Any = None) -> MultivariateBetaGaussian:
        """The same densities over a larger batch, without a copy."""
        shape = torch.Size(batch_shape)
        alpha = self.alpha.expand(shape) if isinstance(self.alpha, Tensor) else self.alpha
        return type(self).from_cholesky(
            self.location.expand(*shape, self.n), self.cholesky.expand(*shape, self.n, self.n), alpha, check=False
        )

    def double(self) -> MultivariateBetaGaussian:
        """The same densities in float64."""
        alpha = self.alpha.double() if isinstance(self.alpha, Tensor) else self.alpha
        return type(self).from_cholesky(self.location.double(), self.cholesky.double(), alpha, check=False)

    @property
    def n(self) -> int:
        """Number of dimensions."""
        return self.location.shape[-1]

    @property
    def dtype(self) -> torch.dtype:
        """Dtype of the results."""
        return torch.promote_types(self.location.dtype, self.cholesky.dtype)

    @property
    def mean(self) -> Float[Tensor, "*batch n"]:
        """The location."""
        return self.location.expand(*self.batch_shape, self.n)

    @property
    def mode(self) -> Float[Tensor, "*batch n"]:
        """The location."""
        return self.mean

    @property
    def covariance(self) -> Float[Tensor, "*batch n n"]:
        r"""Covariance :math:`\Sigma = LL^\top`."""
        return (self.cholesky @ self.cholesky.mT).expand(*self.batch_shape, self.n, self.n)

    @property
    def variance(self) -> Float[Tensor, "*batch n"]:
        """Variance along each axis."""
        return self.cholesky.square().sum(-1).expand(*self.batch_shape, self.n)

    @property
    def radius(self) -> Float[Tensor, "*batch"]:
        r"""Mahalanobis radius :math:`r` of the support, in standard deviations; infinite for a Gaussian."""
        n, device = self.n, self.location.device
        infinite = torch.full((), math.inf, dtype=torch.float64, device=device)
        r = family.by_alpha(self.alpha, lambda k: family.squared_radius(k, n).sqrt(), lambda: infinite, device)
        return r.to(self.dtype).expand(self.batch_shape)

    @property
    def half_width(self) -> Float[Tensor, "*batch n"]:
        """Half the extent of the support along each axis; infinite for a Gaussian."""
        return self.radius[..., None] * self.variance.sqrt()

    @property
    def scale(self) -> Float[Tensor, "*batch n n"]:
        r"""The matrix :math:`S` of the score."""
        log_det = _log_det(self.cholesky.double())

        def compact(k: Tensor) -> Tensor:
            return family.log_scale_ratio(k, self.n, log_det).exp()

        ratio = family.by_alpha(self.alpha, compact, lambda: torch.ones_like(log_det), log_det.device)
        return (ratio[..., None, None] * self.covariance.double()).to(self.dtype)

    @property
    def support(self) -> constraints.Constraint:
        """The ellipsoid outside which the density is exactly 0, as a constraint: ``support.check(x)``."""
        return Ellipsoid(self)

    def mahalanobis(self, value: Float[Tensor, "*points n"]) -> Float[Tensor, "*points"]:
        r"""Squared distance :math:`(x-\mu)^\top \Sigma^{-1} (x-\mu)` of points that broadcast with the batch."""
        return self._squared_distance(value).to(torch.promote_types(value.dtype, self.dtype))

    def log_prob(self, value: Float[Tensor, "*points n"]) -> Float[Tensor, "*points"]:
        """Logarithm of the density at points that broadcast with the batch; -inf, with gradient 0, off the support."""
        return self._log_density(value).to(torch.promote_types(value.dtype, self.dtype))

    def pdf(self, value: Float[Tensor, "*points n"]) -> Float[Tensor, "*points"]:
        """The density at points that broadcast with the batch."""
        return self._log_density(value).exp().to(torch.promote_types(value.dtype, self.dtype))

    def tsallis_entropy(self) -> Float[Tensor, "*batch"]:
        r"""Tsallis entropy :math:`H_\alpha = (1 - \int p^\alpha) / (\alpha(\alpha-1))`; under alpha = 1, Shannon's."""
        return self._entropy(family.tsallis_entropy)

    def entropy(self) -> Float[Tensor, "*batch"]:
        r"""Differential entropy of Shannon, :math:`-E[\log p]`, as of every distribution of torch."""
        return self._entropy(family.shannon_entropy)

    def rsample(
        self, sample_shape: Any = (), generator: torch.Generator | None = None
    ) -> Float[Tensor, "*sample *batch n"]:
        r"""Points :math:`\mu + r L u` that carry gradients.

        With respect to location and covariance they are exact. With respect to a
        tensor ``alpha`` they are as good as torch's of gamma variables, about 1e-3.
        """
        shape = self._extended_shape(torch.Size(sample_shape))[:-1]

        def draw(k: Tensor) -> Tensor:
            u, z = family.sample_ball(k, self.n, shape, generator)
            u = family.squared_radius(k, self.n).sqrt()[..., None] * u
            return torch.where((self.alpha > 1)[..., None], u, z) if isinstance(self.alpha, Tensor) else u

        if isinstance(self.alpha, Tensor) or self.alpha > 1:
            standard = draw(family.exponent(self.alpha, self.location.device))
        else:
            standard = torch.randn(
                *shape, self.n, dtype=torch.float64, device=self.location.device, generator=generator
            )
        moved = self.location + (self.cholesky.double() @ standard[..., None]).squeeze(-1)
        return moved.to(self.dtype)

    def sample(
        self, sample_shape: Any = (), generator: torch.Generator | None = None
    ) -> Float[Tensor, "*sample *batch n"]:
        """Points without gradients."""
        with torch.no_grad():
            return self.rsample(sample_shape, generator)

    def _log_density(self, value: Tensor) -> Tensor:
        n = self.n
        squared = self._squared_distance(value)
        log_det = _log_det(self.cholesky.double())

        def compact(k: Tensor) -> Tensor:
            radius = family.squared_radius(k, n)
            share = squared / radius
            outside = share >= 1  # and not its opposite, for which NaN would be off the support
            # the gradient of a masked branch must be finite too: 0 * inf is not 0
            log = k * torch.log1p(-torch.where(outside, 0.0, share)) + family.log_constant(k, n)
            return torch.where(outside, -math.inf, log - 0.5 * (n * radius.log() + log_det))

        def normal() -> Tensor:
            return -0.5 * (squared + log_det + n * math.log(2 * math.pi))

        return family.by_alpha(self.alpha, compact, normal, value.device)

    def _squared_distance(self, value: Tensor) -> Tensor:
        centred = value.double() - self.location.double()
        shape = torch.broadcast_shapes(centred.shape[:-1], self.cholesky.shape[:-2])
        factor = self.cholesky.double().expand(*shape, self.n, self.n)
        z = torch.linalg.solve_triangular(factor, centred.expand(*shape, self.n)[..., None], upper=False)
        return z.squeeze(-1).square().sum(-1)

    def _entropy(self, compact: Any) -> Tensor:
        n = self.n
        log_det = _log_det(self.cholesky.double())

        def bounded(k: Tensor) -> Tensor:
            return compact(k, n, 0.5 * (n * family.squared_radius(k, n).log() + log_det))

        def normal() -> Tensor:
            return 0.5 * (n * math.log(2 * math.pi * math.e) + log_det)

        result = family.by_alpha(self.alpha, bounded, normal, log_det.device)
        return result.to(self.dtype).expand(self.batch_shape)


class Ellipsoid(constraints.Constraint):
    r"""Points with :math:`(x-\mu)^\top \Sigma^{-1} (x-\mu) \le r^2`."""

    is_discrete = False
    event_dim = 1

    def __init__(self, density: MultivariateBetaGaussian) -> None:
        self.density = density
        super().__init__()

    def check(self, value: Tensor) -> Tensor:
        """Return True for each point in the ellipsoid."""
        return self.density.mahalanobis(value).sqrt() <= self.density.radius


def _log_det(factor: Tensor) -> Tensor:
    """Logarithm of the determinant of a matrix from its Cholesky factor."""
    return 2 * factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)


def _check_shape(matrix: Tensor, name: str) -> None:
    if matrix.ndim < 2 or matrix.shape[-1] != matrix.shape[-2] or matrix.shape[-1] < 1:
        raise ConfigError(f"{name} has shape {tuple(matrix.shape)}; it must end in a square matrix (n, n)")


def _check_matrix(matrix: Tensor, name: str, check: bool) -> None:
    _check_shape(matrix, name)
    if not check:
        return
    family.check_values(matrix, name, "finite", torch.isfinite)
    values = matrix.detach()
    apart = (values - values.mT).abs().amax((-2, -1))
    bad = apart > _SYMMETRY * values.abs().amax((-2, -1))
    if bool(bad.any()):
        raise ConfigError(
            f"{name} differs from its transpose by {apart[bad].flatten()[0].item():g}; it must be symmetric"
        )


def _factor(matrix: Tensor, name: str, check: bool) -> Tensor:
    """Compute the Cholesky factor in the dtype of the matrix; NaN where there is none and ``check`` is False."""
    factor, failed = torch.linalg.cholesky_ex(matrix.double())
    if check:
        # a last pivot of rounding error is as good as none
        pivots, entries = factor.detach().diagonal(dim1=-2, dim2=-1) ** 2, matrix.diagonal(dim1=-2, dim2=-1)
        singular = (failed > 0) | (pivots <= 4 * torch.finfo(matrix.dtype).eps * entries).any(-1)
        if bool(singular.any()):
            lowest = torch.linalg.eigvalsh(matrix.detach().double())[..., 0][singular].flatten()[0].item()
            raise ConfigError(
                f"{name} has an eigenvalue of {lowest:g}; it must be positive definite: add to its diagonal"
            )
    else:
        factor = torch.where((failed == 0)[..., None, None], factor, math.nan)
    return factor.to(matrix.dtype)
