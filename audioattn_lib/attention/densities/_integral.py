r"""Mass and quantiles of the densities :math:`C_k (1-u^2)^k` on [-1, 1], in float64 and on any device.

torch has no incomplete beta function, and no inverse of one.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ._family import log_constant
from .quadrature import Constants, gauss_legendre

__all__ = ["quantile", "tail_mass"]

# exp(-c^2/2) is below 1e-16 from here on: what lies beyond does not show in float64
_FAR = 8.6
_STEPS = 10

_v, _weight = gauss_legendre(56)
# s = start + length * v^4 makes a fractional power at the end of the support smooth; v in [0, 1]
_RULE = Constants(((1 + _v) / 2) ** 4, 2 * ((1 + _v) / 2) ** 3 * _weight)


def tail_mass(distance: Tensor, k: Tensor) -> Tensor:
    r"""Mass on :math:`[d, 1]` for a distance d from the centre in [0, 1], to 1e-13 of itself."""
    inside = ~(distance >= 1)  # and not its opposite, for which NaN would be beyond the end
    v = torch.where(inside, distance, 0.0)
    s = 1 - v
    return torch.where(inside, _ratio(s, v, k) * torch.exp(_log_density(s, v, k)), 0.0)


# Below s is the distance from the end of the support and v = 1 - s that from its centre. Both are carried: near the end
# the digits are in s, and when k is large the whole density is where they are in v.


def _log_density(s: Tensor, v: Tensor, k: Tensor) -> Tensor:
    near = s < 0.5
    base = torch.where(
        near, torch.log(torch.where(near, s * (1 + v), 1.0)), torch.log1p(-(torch.where(near, 0.0, v) ** 2))
    )
    return k * base + log_constant(k)


def _ratio(s: Tensor, v: Tensor, k: Tensor) -> Tensor:
    """The mass between a point and the end over the density at the point: neither underflows in it."""
    # (1-v^2)^k falls outwards at least as exp(-k v^2) does: further out is nothing
    # detached: without a gradient forward mode would still have its own
    end, centre, wide = s.detach(), v.detach(), _FAR**2 / (2 * k.detach())
    reach = torch.minimum(wide / ((centre**2 + wide).sqrt() + centre), end)
    start = end - reach
    reach = reach + (s - end)  # where it starts does not move with s
    nodes, weights = _RULE.on(s.device)
    w = start[..., None] + reach[..., None] * nodes
    outwards = reach[..., None] * (1 - nodes)
    base = (s * (1 + v))[..., None]
    fallen = outwards * (2 * v[..., None] + outwards) / base  # 1 - w (2 - w) / base
    far = fallen > 0.5
    log = torch.where(
        far, torch.log(torch.where(far, w * (2 - w) / base, 1.0)), torch.log1p(-torch.where(far, 0.0, fallen))
    )
    return reach * (torch.exp(k[..., None] * log) @ weights)


def quantile(q: Tensor, k: Tensor) -> Tensor:
    r"""The point u of [-1, 1] with mass q below it; NaN for q outside [0, 1].

    The mass to the power :math:`1/(k+1)` is a concave function of s (theorem of
    Brunn, Minkowski and Borell), so Newton's method never passes the root from the
    left, and lands left of it from the right.
    """
    q, k = torch.broadcast_tensors(q, k)
    lower = q <= 0.5  # at the median either side has the gradient, and one has to be taken
    tail = torch.where(lower, q, 1 - q)
    inside = tail > 0
    tail = torch.where(inside, tail, 0.5)
    s, v = _solve(tail.detach(), k.detach())
    # Two steps from the constant root: their derivatives up to the third are those of the implicit function
    for _ in range(2):
        step = _ratio(s, v, k) - torch.exp(tail.log() - _log_density(s, v, k))
        s, v = s - step, v + step
    u = torch.where(lower, -v, v)
    ends = torch.where(q == 0, -1.0, torch.where(q == 1, 1.0, math.nan))
    return torch.where(inside, u, ends.to(u.dtype))


def _solve(tail: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
    power = 1 / (k + 1)
    # of all densities of the family the mass near the end is at most that of 2^k w^k
    low = torch.exp(power * (torch.log(tail * (k + 1)) - log_constant(k) - k * math.log(2)))
    like_normal = -torch.special.ndtri(tail) / (2 * k + 3).sqrt()
    near = 1 - like_normal < low
    s, v = torch.where(near, low, 1 - like_normal), torch.where(near, 1 - low, like_normal)
    for _ in range(_STEPS):
        ratio = _ratio(s, v, k)
        excess = torch.log(tail) - torch.log(ratio) - _log_density(s, v, k)
        step = torch.expm1(power * excess) * ratio / power  # Newton on mass^(1/(k+1))
        step = torch.minimum(torch.maximum(step, low - s), v)
        s, v = s + step, v - step
    return s, v
