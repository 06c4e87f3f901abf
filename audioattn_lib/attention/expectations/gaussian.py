r"""Expectations of functions under continuous attention densities.

For a Gaussian basis function :math:`\psi(t) = \mathcal{N}(t; m, w^2)`,

.. math::

   E_p[\psi] = \frac{C_k}{a}\int_{-a}^{a} \Bigl[1-\frac{x^2}{a^2}\Bigr]^k
   \mathcal{N}(x; d, w^2)\,dx, \qquad d = m - \mu.

Because :math:`(1-u^2)^k \le e^{-ku^2}`, the integrand lies below a Gaussian with
:math:`s^{-2} = w^{-2} + 2k/a^2` and centre :math:`d\,s^2/w^2`; outside a few
:math:`s` of it nothing is left. Gauss-Legendre on what this window and the
support have in common therefore needs the same few nodes for the narrowest and
the widest density, any basis width and any :math:`\alpha`, and nothing cancels
(closed forms through truncated moments lose all their digits when
:math:`a \ll w`). Under a Gaussian the expectation is
:math:`\mathcal{N}(\mu; m, \mathrm{var} + w^2)`.

The family is of location and scale, so the gradient is an expectation too,
:math:`\partial_\mu E = E[\psi']` and :math:`\partial_a E = E[u\,\psi']` with
:math:`u = (t-\mu)/a`, from the same nodes.

All steps are in float64, whatever the dtype of the density; only the number of
nodes follows it. Absolute errors stay below 1e-12 for float64 and 2e-6 for
float32, for half-widths from 1e-3 to 1.5 and basis widths from 0.03 to 0.5.

Source: Martins et al., *Sparse continuous distributions and Fenchel-Young
losses*, JMLR 2022, section 6 (for the expectations; the quadrature is ours).
Book page: ``from_weights_to_densities``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from audioattn_lib.core.errors import ConfigError
from audioattn_lib.core.tensors import are_at_hand, are_plain

from ..densities._family import constant, exponent, normal_mass, of_each
from ..densities.beta_gaussian import BetaGaussian, log_constant
from ..densities.mixture import Mixture
from ..densities.quadrature import Constants, gauss_gegenbauer, gauss_hermite, gauss_legendre
from ._numba import expectations_with_derivatives

__all__ = ["GaussianBasis", "expectation", "gaussian_expectation"]

Shape = tuple[float, float]  # k and the cutoff of the window

_SQRT_2PI = math.sqrt(2 * math.pi)

# Stands for infinity at the end of an interval
_FURTHEST = 1e30


class GaussianBasis:
    r"""Basis functions :math:`\psi_j(t) = \mathcal{N}(t; m_j, w_j^2)`, each of integral 1.

    Parameters
    ----------
    centres, widths
        :math:`m_j` and :math:`w_j > 0`, of one length.

    Notes
    -----
    Immutable, compared by value. Source: Martins et al., JMLR 2022, section 6.
    Book page: ``from_weights_to_densities``.
    """

    def __init__(self, centres: Sequence[float], widths: Sequence[float]) -> None:
        self.centres = tuple(float(c) for c in centres)
        self.widths = tuple(float(w) for w in widths)
        if len(self.centres) != len(self.widths) or not self.centres:
            raise ConfigError(
                f"{len(self.centres)} centres and {len(self.widths)} widths; give one of each per function, at least 1"
            )
        for name, values, low in (("centres", self.centres, -math.inf), ("widths", self.widths, 0.0)):
            bad = [v for v in values if not low < v < math.inf]
            if bad:
                bound = "finite" if low else "finite and above 0"
                raise ConfigError(f"{name} holds {bad[0]}; every one must be {bound}")
        self._tensors = Constants(self.centres, self.widths)

    @classmethod
    def grid(cls, n_basis: int = 128, widths: Sequence[float] = (0.1, 0.5)) -> GaussianBasis:
        """Centres evenly from 0 to 1, at each of them one function of each width, as published.

        ``n_basis`` must be a multiple of the number of widths.
        """
        if not widths or n_basis < 1 or n_basis % len(widths):
            raise ConfigError(
                f"n_basis is {n_basis} for {len(widths)} widths; it must be a multiple of their number, above 0"
            )
        n = n_basis // len(widths)
        centres = torch.linspace(0, 1, n, dtype=torch.float64, device="cpu").tolist() if n > 1 else [0.5]
        return cls([c for c in centres for _ in widths], list(widths) * n)

    def __len__(self) -> int:
        return len(self.centres)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, GaussianBasis) and (self.centres, self.widths) == (other.centres, other.widths)

    def __hash__(self) -> int:
        return hash((self.centres, self.widths))

    def __repr__(self) -> str:
        return f"GaussianBasis({len(self)} functions, widths {sorted(set(self.widths))})"

    def parameters(self, device: torch.device) -> tuple[Float[Tensor, " basis"], Float[Tensor, " basis"]]:
        """Centres and widths in float64 on a device."""
        centres, widths = self._tensors.on(device)
        return centres, widths

    def __call__(self, t: Float[Tensor, "*points"]) -> Float[Tensor, "*points basis"]:
        """Value of every function at every point."""
        centres, widths = self.parameters(t.device)
        z = (t.double()[..., None] - centres) / widths
        return (torch.exp(-0.5 * z * z) / (widths * _SQRT_2PI)).to(t.dtype)


def gaussian_expectation(
    density: BetaGaussian | Mixture, basis: GaussianBasis, *, interval: tuple[float, float] | None = None
) -> Float[Tensor, "*batch basis"]:
    r"""Expectation of every basis function, :math:`E_p[\psi_j(t)]`.

    Parameters
    ----------
    density
        A batch of densities, or of mixtures of them; ``alpha`` may be a number or a
        tensor, with or without a gradient.
    basis
        The Gaussian basis functions.
    interval
        Restrict the density to this interval and renormalise it there; an end may be
        infinite. The density must have mass there, in float64. By default the whole
        line counts.

    Returns
    -------
    expectations
        In the dtype of the location. Differentiable to any order with respect
        to location, variance and a tensor ``alpha``; errors as stated above.

    Raises
    ------
    ConfigError
        If the lower end of the interval is not below the upper one, or, on the CPU,
        a density has no mass in it. On a device nobody waits for the answer: such a
        row becomes NaN.

    Notes
    -----
    Source: Martins et al., JMLR 2022, section 6. Book page:
    ``from_weights_to_densities``.
    """
    interval = check_interval(interval)
    if isinstance(density, Mixture):
        each = _on_line(density._line(), basis, interval)
        result = (density.weights.double()[..., None] * each).sum(-2)
    else:
        result = _on_line(density, basis, interval)
    if interval is not None:
        mass = _mass(density, interval)
        refuse_unreached(mass, interval)
        result = result / mass[..., None]
    return result.to(density.dtype)


def check_interval(interval: tuple[float, float] | None) -> tuple[float, float] | None:
    """An interval with finite ends that mean the same.

    Raises
    ------
    ConfigError
        If the lower end is not below the upper one.
    """
    if interval is None:
        return None
    low, high = interval
    if not low < high:
        raise ConfigError(f"interval is {interval}; it must be a lower end below an upper one")
    return max(low, -_FURTHEST), min(high, _FURTHEST)  # the gradient of what is infinite is NaN


def refuse_unreached(mass: Tensor, interval: tuple[float, float]) -> None:
    """Raise for a density without mass in the interval, where asking does not hold up a device."""
    if are_at_hand(mass) and bool((mass == 0).any()):
        index = tuple((mass == 0).nonzero()[0].tolist())
        raise ConfigError(
            f"the density{f' {index}' if index else ''} has no mass in the interval {interval}; "
            "move it closer, or give an interval that it reaches"
        )


def _mass(density: BetaGaussian | Mixture, interval: tuple[float, float]) -> Tensor:
    """Compute the mass of a density in an interval; in the right tail, mirror the interval to avoid cancellation."""
    if isinstance(density, Mixture):
        return (density.weights.double() * _mass(density._line(), interval)).sum(-1)
    wide = density.double()
    low, high = (torch.full_like(wide.location, end) for end in interval)
    right = low + high > 2 * wide.location
    mirrored_low, mirrored_high = 2 * wide.location - high, 2 * wide.location - low
    return wide.cdf(torch.where(right, mirrored_high, high)) - wide.cdf(torch.where(right, mirrored_low, low))


def _on_line(density: BetaGaussian, basis: GaussianBasis, interval: tuple[float, float] | None) -> Tensor:
    """The integrals over the line, or over the interval, in float64 but where they need no further step."""
    alpha, device = density.alpha, density.location.device
    if not isinstance(alpha, Tensor) and alpha == 1:
        return _under_gaussian(density.location.double(), density.variance.double(), basis, interval)
    k = exponent(alpha, device)[..., None] if isinstance(alpha, Tensor) else nearest_integer(1 / (alpha - 1))
    rule = choose_rule(k, density.dtype == torch.float64)
    centres, widths = basis.parameters(device)
    tensors = rule.tensors.on(device)
    location, variance = density.location, density.variance
    if isinstance(k, float) and interval is None and are_plain(location, variance):
        return _CompactExpectation.apply(location, variance, centres, widths, *tensors, (k, rule.cutoff))
    location, variance = location.double(), variance.double()
    nodes, weights, _ = tensors
    lines = _integrand(location, variance, centres, widths, nodes, k, rule.cutoff, interval)
    result = (lines.value @ weights) * lines.scale
    if isinstance(alpha, Tensor):
        result = of_each(alpha[..., None], result, _under_gaussian(location, variance, basis, interval))
    return result


def expectation(
    psi: Callable[[Float[Tensor, "*batch nodes"]], Tensor], density: BetaGaussian | Mixture, n_nodes: int = 24
) -> Tensor:
    r"""Expectation of any smooth function, :math:`E_p[\psi(t)]`, by Gauss quadrature.

    Gauss-Gegenbauer for :math:`\alpha > 1`, Gauss-Hermite for the Gaussian: exact
    for polynomials up to degree ``2 * n_nodes - 1``. Differentiable as often as
    ``psi`` is.

    Parameters
    ----------
    psi
        From points ``(*batch, nodes)`` to values ``(*batch, nodes, *features)``.
    density
        A batch of densities, or of mixtures of them, whose ``alpha`` is a number.
    n_nodes
        At least 1. With :math:`a/w` the half-width over the scale on which
        ``psi`` changes, 24 nodes give 1e-12 up to a ratio of 4.

    Returns
    -------
    values
        Shape ``(*batch, *features)``.

    Notes
    -----
    Source: Golub and Welsch, 1969. Book page: ``from_weights_to_densities``.
    """
    if isinstance(density, Mixture):
        return density.average(expectation(psi, density._line(), n_nodes))
    if isinstance(density.alpha, Tensor):
        raise ConfigError("alpha is a tensor; quadrature of any function needs one number for the whole batch")
    if n_nodes < 1:
        raise ConfigError(f"n_nodes is {n_nodes}; it must be at least 1")
    location, variance = density.location, density.variance
    if density.alpha == 1:
        rule = gauss_hermite(n_nodes)
        scale = variance.sqrt()
    else:
        rule = gauss_gegenbauer(nearest_integer(1 / (density.alpha - 1)), n_nodes)
        scale = density.half_width.expand(location.shape)
    u, weight = (torch.tensor(array, device=location.device) for array in rule)
    values = psi(location[..., None] + scale[..., None] * u.to(location.dtype))
    return torch.tensordot(weight.to(values.dtype), values.movedim(location.ndim, 0), dims=1)


class _Rule(NamedTuple):
    """Quadrature nodes, their weights and the cutoff of the window; chosen from k and the dtype alone."""

    tensors: Constants  # nodes y, their weights, and the weights times 1, y, y^2
    cutoff: float

    @classmethod
    def make(cls, n_nodes: int, flatness: int, cutoff: float) -> _Rule:
        nodes, weights = gauss_legendre(n_nodes, flatness)
        return cls(Constants(nodes, weights, np.stack([weights, weights * nodes, weights * nodes**2], axis=1)), cutoff)


# (1-u^2)^k is a polynomial for the k of the named densities; otherwise its power at the ends is fractional.
# The first of each pair is for float32 and below, the second for float64.
_POLYNOMIAL = (_Rule.make(18, 0, 5.5), _Rule.make(40, 0, 8.2))
_FRACTIONAL = (_Rule.make(32, 1, 6.0), _Rule.make(72, 1, 8.2))
_ROOT = (_Rule.make(40, 2, 6.0), _Rule.make(112, 3, 8.2))


def choose_rule(k: float | Tensor, precise: bool) -> _Rule:
    if isinstance(k, Tensor) or k < (1 if precise else 0.5):
        return _ROOT[precise]
    return _POLYNOMIAL[precise] if k in (1, 2, 3) else _FRACTIONAL[precise]


class _Lines(NamedTuple):
    """With y a node in [-1, 1]: the place in the support is u0 + ur y, the place in the basis function z0 + zr y."""

    value: Tensor  # the integrand without weights and scale, (*batch, basis, nodes)
    scale: Tensor  # (*batch, basis), as the rest
    z0: Tensor
    zr: Tensor
    u0: Tensor
    ur: Tensor
    a: Tensor  # half-width, (*batch, 1)


def _integrand(
    location: Tensor,
    variance: Tensor,
    centres: Tensor,
    widths: Tensor,
    nodes: Tensor,
    k: float | Tensor,
    cutoff: float,
    interval: tuple[float, float] | None = None,
) -> _Lines:
    a = ((2 * k + 3) * variance[..., None]).sqrt()
    d = centres - location[..., None]
    ratio = 1 / (1 + 2 * k * (widths / a) ** 2)  # s^2 / w^2
    reach = ratio.sqrt() * (cutoff * widths)
    middle = d * ratio
    low, high = torch.maximum(-a, middle - reach), torch.minimum(a, middle + reach)
    if interval is not None:
        low = torch.maximum(low, interval[0] - location[..., None])
        high = torch.minimum(high, interval[1] - location[..., None])
    radius = ((high - low) / 2).clamp(min=0)
    middle = (high + low) / 2
    u0, ur = middle / a, radius / a
    z0, zr = (middle - d) / widths, radius / widths
    u = torch.addcmul(u0[..., None], ur[..., None], nodes)
    z = torch.addcmul(z0[..., None], zr[..., None], nodes)
    if isinstance(k, float) and k in (1, 2, 3):
        base = 1 - u * u
        value = torch.exp(z * z * -0.5) * base
        for _ in range(int(k) - 1):
            value = value * base
    else:
        inside = (u * u).clamp(max=1 - 1e-15)  # rounding may put the outermost node on the end
        value = torch.exp(torch.log1p(-inside) * (k[..., None] if isinstance(k, Tensor) else k) - z * z * 0.5)
    height = log_constant(k).exp() if isinstance(k, Tensor) else constant(k)
    return _Lines(value, ur * height / (widths * _SQRT_2PI), z0, zr, u0, ur, a)


def _with_gradient(
    location: Tensor, variance: Tensor, centres: Tensor, widths: Tensor, nodes: Tensor, powers: Tensor, shape: Shape
) -> tuple[Tensor, Tensor, Tensor]:
    """The expectations and their derivatives with respect to location and variance, ``(*batch, basis)`` each."""
    value, scale, z0, zr, u0, ur, a = _integrand(location, variance, centres, widths, nodes, *shape)
    m0, m1, m2 = (value @ powers).unbind(-1)
    # psi' = -(z / w) psi; with the moments m of y, the sums over z and u z need no further pass over the nodes
    slope = scale / -widths
    by_location = (z0 * m0 + zr * m1) * slope
    by_width = (u0 * z0 * m0 + (u0 * zr + ur * z0) * m1 + ur * zr * m2) * slope
    return m0 * scale, by_location, by_width * (a / (2 * variance[..., None]))


_FEW = 1 << 16
"""Values at nodes of a small job, such as one sound."""


class _CompactExpectation(torch.autograd.Function):
    """The expectations of plain tensors with their derivatives beside them; the backward pass is two sums."""

    @staticmethod
    def forward(
        ctx: Any,
        location: Tensor,
        variance: Tensor,
        centres: Tensor,
        widths: Tensor,
        nodes: Tensor,
        weights: Tensor,
        powers: Tensor,
        shape: Shape,
    ) -> Tensor:
        expectations = None
        is_small = location.numel() * len(centres) * len(nodes) <= _FEW and not any(ctx.needs_input_grad)
        # The compiler takes a second to import, and a small job a millisecond without it. The size alone decides: what
        # the process imported before must not change a digit.
        if not is_small:
            expectations = expectations_with_derivatives(location, variance, centres, widths, (nodes, weights), *shape)
        if expectations is None:
            expectations = torch.stack(
                _with_gradient(location.double(), variance.double(), centres, widths, nodes, powers, shape)
            )
        ctx.save_for_backward(location, variance, centres, widths, nodes, powers, expectations[1:])
        ctx.shape = shape
        return expectations[0].to(torch.promote_types(location.dtype, variance.dtype), copy=True)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        location, variance, centres, widths, nodes, powers, derivatives = ctx.saved_tensors
        if torch.is_grad_enabled():  # a gradient of this gradient is wanted: derivatives that know their inputs
            inputs = (location.double(), variance.double(), centres, widths, nodes, powers)
            derivatives = torch.stack(_with_gradient(*inputs, ctx.shape)[1:])
        by_location, by_variance = (gradient * derivatives).sum(-1).unbind(0)
        return by_location.to(location.dtype), by_variance.to(variance.dtype), *[None] * 6


def _under_gaussian(
    location: Tensor, variance: Tensor, basis: GaussianBasis, interval: tuple[float, float] | None
) -> Tensor:
    """Basis functions against Gaussians, over the line or the mass they have in the interval."""
    centres, widths = basis.parameters(location.device)
    location, variance = location[..., None], variance[..., None]
    total = variance + widths**2
    distance = location - centres
    result = torch.exp(-0.5 * distance**2 / total) / (total.sqrt() * _SQRT_2PI)
    if interval is None:
        return result
    # the product of two Gaussians is a Gaussian, of which the interval holds a part
    centre = (location * widths**2 + centres * variance) / total
    std = (variance / total).sqrt() * widths
    low, high = ((end - centre) / std for end in interval)
    right = low + high > 0
    low, high = torch.where(right, -high, low), torch.where(right, -low, high)
    return result * (normal_mass(high) - normal_mass(low))


def nearest_integer(k: float) -> float:
    """The whole number that k is but for rounding, so that 4/3 means k = 3."""
    return float(round(k)) if abs(k - round(k)) <= 1e-9 * k and k < 1e6 else k
