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

The parameters are location and variance. The half-width and the score's
:math:`\sigma^2 = (a/R)^{\alpha+1}`, which underflows for narrow densities, are other
ways to say the variance.

Source: Martins et al., *Sparse continuous distributions and Fenchel-Young
losses*, JMLR 2022, sections 4 and 5. Book page: ``from_weights_to_densities``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.distributions import Distribution, constraints

from audioattn_lib.core.errors import ConfigError

from . import _family as family
from ._family import log_constant
from ._integral import quantile, tail_mass

__all__ = ["ALPHAS", "BetaGaussian", "Interval", "biweight", "gaussian", "log_constant", "parabola", "triweight"]

ALPHAS: dict[str, float] = {"gaussian": 1.0, "triweight": 4 / 3, "biweight": 3 / 2, "parabola": 2.0}
"""The :math:`\\alpha` of the densities that have names."""


class Interval(constraints.interval):
    """A constraint of torch that also unpacks into its ends, ``low, high = density.support``."""

    def __iter__(self) -> Iterator[Tensor]:
        yield self.lower_bound
        yield self.upper_bound


class BetaGaussian(Distribution):
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
        :class:`~audioattn_lib.core.errors.ConfigError` when one is out of range. Off,
        nothing waits for the device; a value out of range then gives NaN.

    Notes
    -----
    A :class:`torch.distributions.Distribution`, with the density itself
    (:meth:`pdf`), the half-width and the Tsallis entropy besides. Source: Martins
    et al., JMLR 2022, section 4. Book page: ``from_weights_to_densities``.
    """

    arg_constraints = {  # noqa: RUF012
        "location": constraints.real,
        "variance": constraints.positive,
        "alpha": constraints.greater_than_eq(1),
    }
    has_rsample = True
    _validate_args = False  # the constructor's own check names what is wrong
    _event_shape = torch.Size()

    def __init__(
        self,
        location: Float[Tensor, "*batch"],
        variance: Float[Tensor, "*batch"],
        alpha: float | Float[Tensor, "*batch"] = 2.0,
        *,
        check: bool = True,
    ) -> None:
        # Distribution's own constructor would cost as much as a small expectation
        self.location, self._variance = _broadcast(location, variance, alpha)
        self.alpha = alpha
        if check:
            family.check_values(location, "location", "finite", torch.isfinite)
            family.check_values(variance, "variance", "above 0 and finite", lambda v: (v > 0) & torch.isfinite(v))
        family.check_alpha(alpha, check)

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
            family.check_values(half_width, "half_width", "above 0 and finite", lambda a: (a > 0) & torch.isfinite(a))
            if isinstance(alpha, Tensor):
                family.check_values(alpha, "alpha", "finite and above 1", lambda a: (a > 1) & torch.isfinite(a))
        if not isinstance(alpha, Tensor) and not 1 < alpha < math.inf:
            raise ConfigError(f"alpha is {alpha}; only densities with alpha above 1 have a half-width")
        power = alpha.double() if isinstance(alpha, Tensor) else alpha
        variance = half_width.double() ** 2 * ((power - 1) / (3 * power - 1))  # 2k + 3 = (3 alpha - 1) / (alpha - 1)
        return cls(location, variance.to(half_width.dtype), alpha, check=False)

    @classmethod
    def from_scale(
        cls,
        location: Float[Tensor, "*batch"],
        scale: Float[Tensor, "*batch"],
        alpha: float | Float[Tensor, "*batch"] = 2.0,
        *,
        check: bool = True,
    ) -> BetaGaussian:
        r"""The densities of the scores :math:`-(t-\mu)^2 / 2\sigma^2`, ``scale`` being :math:`\sigma^2`.

        Their half-width is :math:`R\,(\sigma^2)^{1/(\alpha+1)}` with :math:`R` of
        Martins et al., JMLR 2022, section 5; under :math:`\alpha=1` the scale is the
        variance.
        """
        if check:
            family.check_values(scale, "scale", "above 0 and finite", lambda s: (s > 0) & torch.isfinite(s))
        family.check_alpha(alpha, check)
        log_scale = scale.double().log()

        def compact(k: Tensor) -> Tensor:
            return (family.log_variance_ratio(k, 1, log_scale) + log_scale).exp()

        variance = family.by_alpha(alpha, compact, lambda: scale.double(), scale.device)
        return cls(location, variance.to(scale.dtype), alpha, check=check)

    def __repr__(self) -> str:
        alpha = tuple(self.alpha.shape) if isinstance(self.alpha, Tensor) else self.alpha
        return f"BetaGaussian(alpha={alpha}, batch_shape={tuple(self.batch_shape)})"

    def expand(self, batch_shape: Any, _instance: Any = None) -> BetaGaussian:
        """The same densities over a larger batch, without a copy."""
        shape = torch.Size(batch_shape)
        return BetaGaussian(self.location.expand(shape), self._variance.expand(shape), self.alpha, check=False)

    def double(self) -> BetaGaussian:
        """The same densities in float64."""
        alpha = self.alpha.double() if isinstance(self.alpha, Tensor) else self.alpha
        return BetaGaussian(self.location.double(), self.variance.double(), alpha, check=False)

    @property
    def batch_shape(self) -> torch.Size:
        """Shape of the batch of densities."""
        return self.location.shape

    _batch_shape = batch_shape  # what methods inherited from torch look at

    @property
    def dtype(self) -> torch.dtype:
        """Dtype of the results."""
        return torch.promote_types(self.location.dtype, self._variance.dtype)

    @property
    def mean(self) -> Float[Tensor, "*batch"]:
        """The location."""
        return self.location

    @property
    def mode(self) -> Float[Tensor, "*batch"]:
        """The location."""
        return self.location

    @property
    def variance(self) -> Float[Tensor, "*batch"]:
        """The variance."""
        return self._variance

    @property
    def half_width(self) -> Float[Tensor, "*batch"]:
        r"""Half the length of the support, :math:`a = \sqrt{(2k+3)\,\mathrm{variance}}`; infinite for a Gaussian."""
        variance = self.variance.double()
        if not isinstance(self.alpha, Tensor):
            if self.alpha == 1:
                return torch.full_like(self.variance, math.inf)
            return ((3 * self.alpha - 1) / (self.alpha - 1) * variance).sqrt().to(self.variance.dtype)
        excess = torch.where(self.alpha > 1, self.alpha - 1, 1.0).double()
        half_width = torch.where(self.alpha > 1, ((3 * excess + 2) / excess * variance).sqrt(), math.inf)
        return half_width.to(self.variance.dtype)

    @property
    def scale(self) -> Float[Tensor, "*batch"]:
        r"""The score's :math:`\sigma^2 = (a/R)^{\alpha+1}`; 0 where that underflows."""
        log_variance = self.variance.double().log()

        def compact(k: Tensor) -> Tensor:
            return (family.log_scale_ratio(k, 1, log_variance) + log_variance).exp()

        return family.by_alpha(self.alpha, compact, lambda: self.variance.double(), log_variance.device).to(self.dtype)

    @property
    def support(self) -> Interval:
        """The interval outside which the density is exactly 0: a constraint of torch that unpacks into its ends."""
        a = self.half_width
        return Interval(self.location - a, self.location + a)

    def log_prob(self, value: Float[Tensor, "*points"]) -> Float[Tensor, "*points"]:
        """Logarithm of the density at points that broadcast with the batch; -inf, with gradient 0, off the support."""
        return self._choose(self._log_compact, self._log_gaussian, value)

    def pdf(self, value: Float[Tensor, "*points"]) -> Float[Tensor, "*points"]:
        """The density, in one over the unit of the location, at points that broadcast with the batch."""
        return self._choose(
            lambda value, k: self._log_compact(value, k).exp(), lambda value: self._log_gaussian(value).exp(), value
        )

    def cdf(self, value: Float[Tensor, "*points"]) -> Float[Tensor, "*points"]:
        r"""Mass below the points, which broadcast with the batch.

        For :math:`\alpha > 1` the regularised incomplete beta function
        :math:`I_{(1+u)/2}(k+1, k+1)` of :math:`u = (t-\mu)/a`, by quadrature in
        float64, to 1e-13.
        """
        return self._choose(self._cdf_compact, self._cdf_gaussian, value)

    def icdf(self, value: Float[Tensor, "*points"]) -> Float[Tensor, "*points"]:
        r"""Quantiles: the point below which the mass is ``value``, in [0, 1]; NaN outside.

        In float64 the mass below is right to 1e-12. The ends of the support stand at 0
        and 1, where the gradient with respect to ``value``, infinite, is taken as 0;
        elsewhere gradients of both orders are those of the implicit function.
        """
        return self._choose(self._icdf_compact, self._icdf_gaussian, value)

    def tsallis_entropy(self) -> Float[Tensor, "*batch"]:
        r"""Tsallis entropy :math:`H_\alpha = (1 - \int p^\alpha) / (\alpha(\alpha-1))`; Shannon's for :math:`\alpha=1`.

        .. math:: \int p^\alpha = \Bigl(\frac{C_k}{a}\Bigr)^{\alpha-1} \frac{2k+2}{2k+3}
        """
        return self._entropy(family.tsallis_entropy)

    def entropy(self) -> Float[Tensor, "*batch"]:
        r"""Differential entropy of Shannon, :math:`-E[\log p]` in nats, as of every distribution of torch.

        The entropy that the family maximises is :meth:`tsallis_entropy`.
        """
        return self._entropy(family.shannon_entropy)

    def rsample(
        self, sample_shape: Any = (), generator: torch.Generator | None = None
    ) -> Float[Tensor, "*sample *batch"]:
        r"""Points :math:`\mu + a u` that carry gradients.

        With respect to location and variance they are exact. With respect to a tensor
        ``alpha`` they are as good as torch's of gamma variables, about 1e-3.
        """
        shape = (*torch.Size(sample_shape), *self.batch_shape)

        def draw(k: Tensor) -> Tensor:
            u, z = (x.squeeze(-1) for x in family.sample_ball(k, 1, shape, generator))
            u = u * family.squared_radius(k, 1).sqrt()
            return torch.where(self.alpha > 1, u, z) if isinstance(self.alpha, Tensor) else u

        device = self.location.device
        if isinstance(self.alpha, Tensor) or self.alpha > 1:
            standard = draw(family.exponent(self.alpha, device))
        else:
            standard = torch.randn(shape, dtype=torch.float64, device=device, generator=generator)
        return (self.location + self.variance.double().sqrt() * standard).to(self.dtype)

    def sample(
        self, sample_shape: Any = (), generator: torch.Generator | None = None
    ) -> Float[Tensor, "*sample *batch"]:
        """Points without gradients."""
        with torch.no_grad():
            return self.rsample(sample_shape, generator)

    def _choose(self, compact, normal, value):  # type: ignore[no-untyped-def]
        """The formula for alpha above 1, the Gaussian's, or each where it holds, at points."""
        result = family.by_alpha(self.alpha, lambda k: compact(value, k), lambda: normal(value), value.device)
        return result.to(torch.promote_types(value.dtype, self.dtype))

    def _entropy(self, compact):  # type: ignore[no-untyped-def]
        variance = self.variance.double()

        def bounded(k: Tensor) -> Tensor:
            return compact(k, 1, 0.5 * (family.squared_radius(k, 1) * variance).log())

        def normal() -> Tensor:
            return 0.5 * torch.log(2 * math.pi * math.e * variance)

        return family.by_alpha(self.alpha, bounded, normal, variance.device).to(self.dtype)

    def _standardise(self, value: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
        a = (family.squared_radius(k, 1) * self.variance.double()).sqrt()
        return (value.double() - self.location.double()) / a, a

    def _log_compact(self, value: Tensor, k: Tensor) -> Tensor:
        u, a = self._standardise(value, k)
        outside = u.abs() >= 1  # and not its opposite, for which NaN would be off the support
        # the gradient of a masked branch must be finite too: 0 * inf is not 0
        log = k * torch.log1p(-(torch.where(outside, 0.0, u) ** 2)) + log_constant(k) - a.log()
        return torch.where(outside, -math.inf, log)

    def _log_gaussian(self, value: Tensor) -> Tensor:
        variance = self.variance.double()
        apart = value.double() - self.location.double()
        return -0.5 * (apart**2 / variance + torch.log(2 * math.pi * variance))

    def _cdf_gaussian(self, value: Tensor) -> Tensor:
        return family.normal_mass((value.double() - self.location.double()) / self.variance.double().sqrt())

    def _cdf_compact(self, value: Tensor, k: Tensor) -> Tensor:
        u, _ = self._standardise(value, k)
        # not the absolute value, whose gradient at 0 is 0
        below = u <= 0
        tail = tail_mass(torch.where(below, -u, u), k)
        return torch.where(below, tail, 1 - tail)

    def _icdf_gaussian(self, value: Tensor) -> Tensor:
        q = value.double()  # there is no ndtri of half types
        inside = (q > 0) & (q < 1)
        standard = torch.special.ndtri(torch.where(inside, q, 0.5))
        point = self.location.double() + self.variance.double().sqrt() * standard
        ends = torch.where(q == 0, -math.inf, torch.where(q == 1, math.inf, math.nan))
        return torch.where(inside, point, ends.to(point.dtype))

    def _icdf_compact(self, value: Tensor, k: Tensor) -> Tensor:
        a = (family.squared_radius(k, 1) * self.variance.double()).sqrt()
        return self.location.double() + a * quantile(value.double(), k)


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


def _broadcast(location: Tensor, variance: Tensor, alpha: float | Tensor) -> tuple[Tensor, Tensor]:
    """Location and variance in the shape of the batch."""
    shapes = [location.shape, variance.shape, *([alpha.shape] if isinstance(alpha, Tensor) else [])]
    if all(shape == shapes[0] for shape in shapes):
        return location, variance
    try:
        shape = torch.broadcast_shapes(*shapes)
    except RuntimeError:
        listed = ", ".join(
            f"{name} {tuple(s)}" for name, s in zip(("location", "variance", "alpha"), shapes, strict=False)
        )
        raise ConfigError(f"the shapes do not broadcast: {listed}; give each one or the same shape") from None
    return location.expand(shape), variance.expand(shape)
