r"""Shared functions of beta-Gaussian densities of any dimension: normaliser, entropies, sampling and checks.

With :math:`k = 1/(\alpha-1)`, :math:`L` a Cholesky factor of the covariance and
:math:`r^2 = n + 2k + 2`, a density is that of :math:`\mu + r L u` where :math:`u`
in the unit ball has :math:`C_{n,k}\,(1 - |u|^2)^k`,

.. math:: C_{n,k} = \frac{\Gamma(\frac n2 + k + 1)}{\pi^{n/2}\,\Gamma(k+1)} .

Everything below is a function of :math:`k` in float64, differentiable twice.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from audioattn_lib.core.errors import ConfigError

__all__ = [
    "Alpha",
    "by_alpha",
    "check_alpha",
    "check_values",
    "constant",
    "exponent",
    "log_constant",
    "log_scale_ratio",
    "log_variance_ratio",
    "normal_mass",
    "of_each",
    "power_integral",
    "sample_ball",
    "shannon_entropy",
    "squared_radius",
    "tsallis_entropy",
]

Alpha = float | Tensor

_NEAR_GAUSSIAN = 1e-8
"""Derivatives where alpha is 1 are those this far above it: closer, that by alpha has fewer digits."""


def check_values(value: Tensor, name: str, allowed: str, holds: Callable[[Tensor], Tensor]) -> None:
    """Raise an error that names the first value for which ``holds`` is false."""
    value = value.detach()
    good = holds(value)
    if not bool(good.all()):
        raise ConfigError(f"{name} holds {value[~good].flatten()[0].item()}; every value must be {allowed}")


def check_alpha(alpha: Alpha, check: bool) -> None:
    """Check alpha: a number always, a tensor if ``check`` is True."""
    if not isinstance(alpha, Tensor):
        if not 1 <= alpha < math.inf:
            raise ConfigError(f"alpha is {alpha}; it must be a finite number, at least 1 (1 is the Gaussian)")
    elif check:
        check_values(alpha, "alpha", "finite and at least 1", lambda a: (a >= 1) & torch.isfinite(a))


def exponent(alpha: Alpha, device: torch.device) -> Tensor:
    """The power :math:`k = 1/(\\alpha-1)` in float64; 1e8, whose density is close, where a tensor holds 1.

    No float64 above 1 is so close to it that the power passes 5e15.
    """
    if isinstance(alpha, Tensor):
        excess = alpha.double() - 1
        return 1 / torch.where(alpha > 1, excess, excess + _NEAR_GAUSSIAN)
    return torch.full((), 1 / (alpha - 1), dtype=torch.float64, device=device)


def by_alpha(
    alpha: Alpha,
    compact: Callable[[Tensor], Tensor],
    normal: Callable[[], Tensor],
    device: torch.device,
) -> Tensor:
    """Evaluate the formula for alpha above 1, that of the Gaussian, or each where it holds.

    Where a tensor holds 1, the value is the Gaussian's, and the derivatives are those of a density close to it: of the
    Gaussian's formula that by alpha would be 0.
    """
    if not isinstance(alpha, Tensor):
        return normal() if alpha == 1 else compact(exponent(alpha, device))
    return of_each(alpha, compact(exponent(alpha, device)), normal())


def of_each(alpha: Tensor, compact: Tensor, normal: Tensor) -> Tensor:
    """Take each value from the formula that holds for its alpha; see :func:`by_alpha` for those of 1."""
    compact = compact.to(normal.dtype)
    finite = torch.isfinite(compact) & torch.isfinite(normal)
    limit = torch.where(finite, compact + (normal - compact).detach(), normal)
    return torch.where(alpha > 1, compact, limit)


def squared_radius(k: Tensor, n: int) -> Tensor:
    """Squared Mahalanobis radius of the support, with respect to the covariance."""
    return 2 * k + (n + 2)


def log_constant(k: Tensor, n: int = 1) -> Tensor:
    r"""Logarithm of the constant :math:`C_{n,k}` of the densities in ``n`` dimensions."""
    x = k + 1
    ratio = _half_step(x) if n % 2 else torch.zeros_like(x)
    for j in range(n // 2):
        ratio = ratio + torch.log(x + (j + 0.5 if n % 2 else j))
    return ratio - 0.5 * n * math.log(math.pi)


def constant(k: float) -> float:
    r"""The constant :math:`C_{1,k}` of a density on the line, of a number instead of a tensor."""
    x = k + 1 + _SERIES_FROM
    series = 0.5 * math.log(x) - (1 / 8 - (1 / 192 - (1 / 640 - 17 / 14336 / x**2) / x**2) / x**2) / x
    steps = math.fsum(math.log1p(0.5 / (k + 1 + i)) for i in range(_SERIES_FROM))
    return math.exp(series - steps) / math.sqrt(math.pi)


def normal_mass(z: Tensor) -> Tensor:
    """Mass of the standard Gaussian below z, to every digit far out too, where :func:`torch.special.ndtr` has none."""
    return 0.5 * torch.special.erfc(z * -math.sqrt(0.5))


def power_integral(k: Tensor, n: int, log_volume: Tensor) -> Tensor:
    r"""Logarithm of :math:`\int p^\alpha`, where ``log_volume`` is that of :math:`r^n |L|`."""
    return (log_constant(k, n) - log_volume) / k - torch.log1p(n / (2 * k + 2))


def tsallis_entropy(k: Tensor, n: int, log_volume: Tensor) -> Tensor:
    r""":math:`(1 - \int p^\alpha) / (\alpha(\alpha-1))`."""
    return -torch.expm1(power_integral(k, n, log_volume)) * k**2 / (k + 1)


def shannon_entropy(k: Tensor, n: int, log_volume: Tensor) -> Tensor:
    r""":math:`-E[\log p]`, from :math:`E \log(1-|u|^2) = \psi(k+1) - \psi(k+1+\frac n2)`."""
    x = k + 1
    difference = _half_step_slope(x) if n % 2 else torch.zeros_like(x)
    for j in range(n // 2):
        difference = difference + 1 / (x + (j + 0.5 if n % 2 else j))
    return log_volume - log_constant(k, n) + k * difference


def log_scale_ratio(k: Tensor, n: int, log_det_covariance: Tensor) -> Tensor:
    r"""Logarithm of the number :math:`c` in :math:`S = c\,\mathrm{Cov}`, :math:`S` the matrix of the score."""
    squared = squared_radius(k, n)
    log_volume = 0.5 * (n * squared.log() + log_det_covariance)
    return (squared / (2 * k)).log() + (log_volume - log_constant(k, n)) / k


def log_variance_ratio(k: Tensor, n: int, log_det_scale: Tensor) -> Tensor:
    r"""Logarithm of the number :math:`c` in :math:`\mathrm{Cov} = c\,S`."""
    squared = squared_radius(k, n)
    log_volume = 0.5 * (n * squared.log() + log_det_scale)
    return ((2 * k / squared).log() + (log_constant(k, n) - log_volume) / k) / (1 + n / (2 * k))


def sample_ball(k: Tensor, n: int, shape: Sequence[int], generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
    r"""Points :math:`u` of the unit ball with density :math:`C_{n,k}(1-|u|^2)^k`, and the normal points they come from.

    :math:`u = z / \sqrt{|z|^2 + 2g}` with :math:`z` normal and :math:`g` of the gamma
    distribution of :math:`k+1`, so that :math:`|u|^2` is of the beta distribution
    of :math:`n/2` and :math:`k+1`.
    """
    z = torch.randn(*shape, n, dtype=torch.float64, device=k.device, generator=generator)
    g = torch._standard_gamma((k + 1).expand(tuple(shape)), generator)
    return z / torch.sqrt(z.square().sum(-1) + 2 * g)[..., None], z


# The next term of either series is below 4e-17 of the result from here on
_SERIES_FROM = 32


def _half_step(x: Tensor) -> Tensor:
    r""":math:`\log\Gamma(x+\frac12) - \log\Gamma(x)` for x at least 1, not as a difference of large numbers.

    The series of large x, and :math:`\Gamma(x+1) = x\,\Gamma(x)` to get there.
    """
    steps = x[..., None] + torch.arange(_SERIES_FROM, dtype=x.dtype, device=x.device)
    x = x + _SERIES_FROM
    y = x**-2
    series = 0.5 * x.log() - (1 / 8 - y * (1 / 192 - y * (1 / 640 - y * (17 / 14336)))) / x
    return series - torch.log1p(0.5 / steps).sum(-1)


def _half_step_slope(x: Tensor) -> Tensor:
    steps = x[..., None] + torch.arange(_SERIES_FROM, dtype=x.dtype, device=x.device)
    x = x + _SERIES_FROM
    y = x**-2
    series = 0.5 / x + y * (1 / 8 - y * (3 / 192 - y * (5 / 640 - y * (119 / 14336))))
    return series + (0.5 / (steps * (steps + 0.5))).sum(-1)
