r"""Mass and quantiles of the densities :math:`C_k (1-u^2)^k` on [-1, 1], in float64 and on any device.

torch has no incomplete beta function, and no inverse of one.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ._beta_gaussian import log_constant
from .quadrature import Constants, gauss_legendre

__all__ = ["lower_mass", "quantile"]

# exp(-c^2/2) is below 1e-16 from here on: what lies beyond does not show in float64
_FAR = 8.6
_STEPS = 10

_v, _weight = gauss_legendre(48)
# s = start + length * v^4 makes a fractional power at the end of the support smooth; v in [0, 1]
_RULE = Constants(((1 + _v) / 2) ** 4, 2 * ((1 + _v) / 2) ** 3 * _weight)


def lower_mass(s: Tensor, k: Tensor) -> Tensor:
    r"""Mass on :math:`[-1, -1+s]` for s in [0, 1], to 1e-13 of itself: :math:`C_k \int_0^s [w(2-w)]^k dw`."""
    inside = s > 0
    end = torch.where(inside, s, 1.0)
    return torch.where(inside, _ratio(end, k) * torch.exp(_log_density(end, k)), 0.0)


def _log_density(s: Tensor, k: Tensor) -> Tensor:
    return k * _log_base(s) + log_constant(k)


def _log_base(s: Tensor) -> Tensor:
    """Logarithm of 1 - u^2 with s = 1 - |u|, exact where either is small."""
    near = s < 0.5
    return torch.where(
        near, torch.log(torch.where(near, s * (2 - s), 1.0)), torch.log1p(-(torch.where(near, 0.0, 1 - s) ** 2))
    )


def _ratio(s: Tensor, k: Tensor) -> Tensor:
    """The mass below over the density there: neither underflows in it."""
    # (1-u^2)^k falls from the end outwards at least as exp(-k u^2) does: further out is nothing
    start = (1 - ((1 - s.detach()) ** 2 + _FAR**2 / (2 * k.detach())).sqrt()).clamp(min=0)
    nodes, weights = _RULE.on(s.device)
    length = s - start
    w = start[..., None] + length[..., None] * nodes
    relative = torch.exp(k[..., None] * (_log_base(w) - _log_base(s)[..., None]))
    return length * (relative @ weights)


def quantile(q: Tensor, k: Tensor) -> Tensor:
    r"""The point u of [-1, 1] with mass q below it; NaN for q outside [0, 1].

    The mass to the power :math:`1/(k+1)` is a concave function of s (theorem of
    Brunn, Minkowski and Borell), so Newton's method never passes the root from the
    left, and lands left of it from the right.
    """
    q, k = torch.broadcast_tensors(q, k)
    tail = torch.minimum(q, 1 - q)
    inside = tail > 0
    tail = torch.where(inside, tail, 0.5)
    with torch.no_grad():
        s = _solve(tail, k)
    # Two steps from the constant root: their derivatives up to the third are those of the implicit function
    for _ in range(2):
        s = s - (_ratio(s, k) - torch.exp(tail.log() - _log_density(s, k)))
    u = torch.where(q < 0.5, s - 1, 1 - s)
    ends = torch.where(q == 0, -1.0, torch.where(q == 1, 1.0, math.nan))
    return torch.where(inside, u, ends.to(u.dtype))


def _solve(tail: Tensor, k: Tensor) -> Tensor:
    power = 1 / (k + 1)
    # of all densities of the family the mass near the end is at most that of 2^k w^k
    low = torch.exp(power * (torch.log(tail * (k + 1)) - log_constant(k) - k * math.log(2)))
    like_normal = 1 + torch.special.ndtri(tail) / (2 * k + 3).sqrt()
    s = torch.maximum(low, like_normal).clamp(max=1)
    for _ in range(_STEPS):
        ratio = _ratio(s, k)
        excess = torch.log(tail) - torch.log(ratio) - _log_density(s, k)
        step = torch.expm1(power * excess) * ratio / power  # Newton on mass^(1/(k+1))
        s = torch.maximum(s + step, low).clamp(max=1)
    return s
