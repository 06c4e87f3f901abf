r"""Continuous attention densities: the beta-Gaussian family on the line.

The density that maximises :math:`E_p[f] + H_\alpha(p)` for a quadratic score
:math:`f(t) = -(t-\mu)^2 / 2\sigma^2`, with :math:`H_\alpha` the Tsallis
:math:`\alpha`-entropy, is

.. math::

   p(t) = \frac{C_k}{a}\Bigl[1 - \Bigl(\frac{t-\mu}{a}\Bigr)^2\Bigr]_+^{k},
   \qquad k = \frac{1}{\alpha-1},
   \qquad C_k = \frac{\Gamma(k+\frac32)}{\sqrt\pi\,\Gamma(k+1)}

for :math:`\alpha > 1` and the Gaussian for :math:`\alpha = 1`:

====== ================== ================================= =================
alpha  name               half-width in standard deviations discrete relative
====== ================== ================================= =================
1      Gaussian           infinite                          softmax
4/3    triweight          3                                 4/3-entmax
3/2    biweight           :math:`\sqrt 7`                   1.5-entmax
2      truncated parabola :math:`\sqrt 5`                   sparsemax
====== ================== ================================= =================

The family is parametrised by location and variance (or half-width), never by
the score's :math:`\sigma^2 = (a/R)^{\alpha+1}`, which underflows for narrow
densities.

Source: Martins et al., *Sparse continuous distributions and Fenchel-Young
losses*, JMLR 2022, sections 4 and 5. Book page: ``from_weights_to_densities``.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import ConfigError
from .quadrature import Constants, gauss_legendre

__all__ = ["ALPHAS", "BetaGaussian", "biweight", "gaussian", "parabola", "triweight"]

ALPHAS: dict[str, float] = {"gaussian": 1.0, "triweight": 4 / 3, "biweight": 3 / 2, "parabola": 2.0}
"""The :math:`\\alpha` of the densities that have names."""

# exp(-c^2/2) is below 1e-16 from here on: what lies beyond does not show in float64
_FAR = 8.6

_v, _weight = gauss_legendre(48)
# s = end + length * v^4 makes a fractional power at the end of the support smooth; v in [0, 1]
_CDF_RULE = Constants(((1 + _v) / 2) ** 4, 2 * ((1 + _v) / 2) ** 3 * _weight)


class BetaGaussian:
    r"""A batch of beta-Gaussian densities on the line.

    Parameters
    ----------
    location
        Centre :math:`\mu`, any shape; broadcasts with the others.
    variance
        Above 0, in the square unit of the location.
    alpha
        At least 1: a number, or a tensor that broadcasts with the others and
        may require gradients.
    check
        Look at the values of ``variance`` and ``alpha`` and raise
        :class:`~audioattn_lib.errors.ConfigError` when one is out of range. Off,
        nothing waits for the device; a value out of range then gives NaN.

    Notes
    -----
    Source: Martins et al., JMLR 2022, section 4. Book page:
    ``from_weights_to_densities``.
    """

    def __init__(
        self,
        location: Float[Tensor, "*batch"],
        variance: Float[Tensor, "*batch"],
        alpha: float | Float[Tensor, "*batch"] = 2.0,
        *,
        check: bool = True,
    ) -> None:
        self.location = location
        self.variance = variance
        self.alpha = alpha
        if check:
            _check(location, "location", "finite", torch.isfinite)
            _check(variance, "variance", "above 0 and finite", lambda v: (v > 0) & torch.isfinite(v))
        if not isinstance(alpha, Tensor):
            if not 1 <= alpha < math.inf:
                raise ConfigError(f"alpha is {alpha}; it must be a finite number, at least 1 (1 is the Gaussian)")
        elif check:
            _check(alpha, "alpha", "finite and at least 1", lambda a: (a >= 1) & torch.isfinite(a))

    @classmethod
    def from_half_width(
        cls,
        location: Float[Tensor, "*batch"],
        half_width: Float[Tensor, "*batch"],
        alpha: float | Float[Tensor, "*batch"] = 2.0,
        *,
        check: bool = True,
    ) -> BetaGaussian:
        r"""The densities with support :math:`[\mu - a, \mu + a]`; every ``alpha`` must be above 1.

        The variance is :math:`a^2 / (2k+3)`.
        """
        if check:
            _check(half_width, "half_width", "above 0 and finite", lambda a: (a > 0) & torch.isfinite(a))
            if isinstance(alpha, Tensor):
                _check(alpha, "alpha", "finite and above 1", lambda a: (a > 1) & torch.isfinite(a))
        if not isinstance(alpha, Tensor) and not 1 < alpha < math.inf:
            raise ConfigError(f"alpha is {alpha}; only densities with alpha above 1 have a half-width")
        variance = half_width**2 * ((alpha - 1) / (3 * alpha - 1))  # 2k + 3 = (3 alpha - 1) / (alpha - 1)
        return cls(location, variance, alpha, check=False)

    def __repr__(self) -> str:
        alpha = tuple(self.alpha.shape) if isinstance(self.alpha, Tensor) else self.alpha
        return f"BetaGaussian(alpha={alpha}, batch_shape={tuple(self.batch_shape)})"

    @property
    def batch_shape(self) -> torch.Size:
        """Shape of the batch of densities."""
        alpha = self.alpha.shape if isinstance(self.alpha, Tensor) else ()
        return torch.broadcast_shapes(self.location.shape, self.variance.shape, alpha)

    @property
    def mean(self) -> Float[Tensor, "*batch"]:
        """The location."""
        return self.location

    @property
    def stddev(self) -> Float[Tensor, "*batch"]:
        """Square root of the variance."""
        return self.variance.sqrt()

    @property
    def half_width(self) -> Float[Tensor, "*batch"]:
        r"""Half the length of the support, :math:`a = \sqrt{(2k+3)\,\mathrm{variance}}`; infinite for a Gaussian."""
        if not isinstance(self.alpha, Tensor):
            if self.alpha == 1:
                return torch.full_like(self.variance, math.inf)
            return ((3 * self.alpha - 1) / (self.alpha - 1) * self.variance).sqrt()
        excess = torch.where(self.alpha > 1, self.alpha - 1, 1.0)
        return torch.where(self.alpha > 1, ((3 * excess + 2) / excess * self.variance).sqrt(), math.inf)

    @property
    def support(self) -> tuple[Float[Tensor, "*batch"], Float[Tensor, "*batch"]]:
        """Ends of the interval outside which the density is exactly 0."""
        a = self.half_width
        return self.location - a, self.location + a

    def log_prob(self, value: Float[Tensor, "*points"]) -> Float[Tensor, "*points"]:
        """Logarithm of the density at points that broadcast with the batch; -inf, with gradient 0, off the support."""
        return self._select(self._log_compact, self._log_gaussian, value)

    def pdf(self, value: Float[Tensor, "*points"]) -> Float[Tensor, "*points"]:
        """The density, in one over the unit of the location, at points that broadcast with the batch."""
        return self.log_prob(value).exp()

    def cdf(self, value: Float[Tensor, "*points"]) -> Float[Tensor, "*points"]:
        r"""Mass below the points, which broadcast with the batch.

        For :math:`\alpha > 1` the regularised incomplete beta function
        :math:`I_{(1+u)/2}(k+1, k+1)` of :math:`u = (t-\mu)/a`, by quadrature in
        float64, to 1e-13.
        """
        return self._select(self._cdf_compact, self._cdf_gaussian, value)

    def tsallis_entropy(self) -> Float[Tensor, "*batch"]:
        r"""Tsallis entropy :math:`H_\alpha = (1 - \int p^\alpha) / (\alpha(\alpha-1))`; Shannon's for :math:`\alpha=1`.

        .. math:: \int p^\alpha = \Bigl(\frac{C_k}{a}\Bigr)^{\alpha-1} \frac{2k+2}{2k+3}
        """

        def compact(_: Tensor, k: Tensor) -> Tensor:
            a = ((2 * k + 3) * self.variance).sqrt()
            log_integral = (log_constant(k) - a.log()) / k - torch.log1p(1 / (2 * k + 2))
            return -torch.expm1(log_integral) * k**2 / (k + 1)

        def normal(_: Tensor) -> Tensor:
            return 0.5 * torch.log(2 * math.pi * math.e * self.variance)

        return self._select(compact, normal, self.location)

    def _select(self, compact, normal, value):  # type: ignore[no-untyped-def]
        """The formula for alpha above 1, the Gaussian's, or each where it holds."""
        alpha = self.alpha
        if not isinstance(alpha, Tensor):
            if alpha == 1:
                return normal(value)
            return compact(value, torch.full((), 1 / (alpha - 1), dtype=torch.float64, device=value.device)).to(
                torch.promote_types(value.dtype, self.variance.dtype)
            )
        k = 1 / torch.where(alpha > 1, alpha - 1, 1.0).double()
        inside, bell = compact(value, k), normal(value)
        return torch.where(alpha > 1, inside.to(bell.dtype), bell)

    def _standardise(self, value: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
        a = ((2 * k + 3) * self.variance.double()).sqrt()
        return (value.double() - self.location.double()) / a, a

    def _log_compact(self, value: Tensor, k: Tensor) -> Tensor:
        u, a = self._standardise(value, k)
        inside = u.abs() < 1
        # the gradient of a masked branch must be finite too: 0 * inf is not 0
        log = k * torch.log1p(-(torch.where(inside, u, 0.0) ** 2)) + log_constant(k) - a.log()
        return torch.where(inside, log, -math.inf)

    def _log_gaussian(self, value: Tensor) -> Tensor:
        return -0.5 * ((value - self.location) ** 2 / self.variance + torch.log(2 * math.pi * self.variance))

    def _cdf_gaussian(self, value: Tensor) -> Tensor:
        return torch.special.ndtr((value - self.location) / self.variance.sqrt())

    def _cdf_compact(self, value: Tensor, k: Tensor) -> Tensor:
        u, _ = self._standardise(value, k)
        u = u.clamp(-1, 1)
        low = -(_FAR / (2 * k).sqrt()).clamp(max=1)  # (1-s^2)^k <= exp(-k s^2) is nothing below
        below = -u.abs()
        nodes, weights = _CDF_RULE.on(u.device)
        length = (below - low).clamp(min=0)
        s = low[..., None] + length[..., None] * nodes
        inside = s > -1
        density = torch.where(inside, torch.exp(k[..., None] * torch.log1p(-(torch.where(inside, s, 0.0) ** 2))), 0.0)
        tail = length * (density @ weights) * torch.exp(log_constant(k))
        return torch.where(u <= 0, tail, 1 - tail)


def gaussian(location: Float[Tensor, "*batch"], variance: Float[Tensor, "*batch"]) -> BetaGaussian:
    """Gaussians, :math:`\\alpha = 1`."""
    return BetaGaussian(location, variance, ALPHAS["gaussian"])


def triweight(location: Float[Tensor, "*batch"], variance: Float[Tensor, "*batch"]) -> BetaGaussian:
    """Triweight densities, :math:`\\alpha = 4/3`, on three standard deviations either side."""
    return BetaGaussian(location, variance, ALPHAS["triweight"])


def biweight(location: Float[Tensor, "*batch"], variance: Float[Tensor, "*batch"]) -> BetaGaussian:
    """Biweight densities, :math:`\\alpha = 3/2`."""
    return BetaGaussian(location, variance, ALPHAS["biweight"])


def parabola(location: Float[Tensor, "*batch"], variance: Float[Tensor, "*batch"]) -> BetaGaussian:
    """Truncated parabolas, :math:`\\alpha = 2`, the continuous sparsemax."""
    return BetaGaussian(location, variance, ALPHAS["parabola"])


def log_constant(k: Tensor) -> Tensor:
    r"""Logarithm of the constant :math:`C_k` of the densities."""
    return torch.lgamma(k + 1.5) - torch.lgamma(k + 1) - 0.5 * math.log(math.pi)


def _check(value: Tensor, name: str, allowed: str, holds) -> None:  # type: ignore[no-untyped-def]
    good = holds(value.detach())
    if not bool(good.all()):
        raise ConfigError(f"{name} holds {value.detach()[~good].flatten()[0].item()}; every value must be {allowed}")
