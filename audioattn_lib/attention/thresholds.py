r"""The threshold of alpha-entmax: weights that sum to 1, by Newton's method.

With :math:`z = (\alpha-1)(x - \max x)` and :math:`k = 1/(\alpha-1)` the weights
are :math:`p_i = [z_i-\tau]_+^k`. The threshold is the root of
:math:`g(\tau) = \lVert [z-\tau]_+ \rVert_k - 1`. A norm of the positive part is
convex and decreasing in :math:`\tau`, so Newton's method from :math:`\tau = -1`
climbs to the root and never passes it; and because the norm is homogeneous it
is nearly linear: four or five steps reach float32, fewer the closer
:math:`\alpha` is to 1. (On :math:`\sum_i [z_i-\tau]_+^k - 1` itself Newton needs
twice as many.) One step is

.. math:: \tau \leftarrow \tau + \frac{S_k - S_k^{1-1/k}}{S_{k-1}}, \qquad S_j = \sum_i [z_i-\tau]_+^j.

For :math:`\alpha > 2` the norm is not convex and the bracket is halved instead.

Real scores on the CPU with :math:`k` of 1, 2 or 3 never come here: loops over
rows that numba compiles take the same steps (``_kernels``), where numba is there.
The first call of a process then takes half a second, the first of all two.

On the CPU the steps stop when they have settled; elsewhere, where asking would
wait for the device, and inside vmap or a compiler's trace their number is fixed
and enough.

Book page: ``from_softmax_to_sparsemax``.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ._values import are_at_hand

__all__ = ["solve", "solve_rows"]

# Rows of so many scores fit a core's cache together with what the steps make of them
_BLOCK = 1 << 17

# Far below any score, and finite: a row of nothing but -inf has to stay there
_LOWEST = -1e38

_TINY = 1e-30


def solve(x: Tensor, top: Tensor, alpha: float, *, slopes: bool = False) -> tuple[Tensor, Tensor]:
    """Alpha-entmax of the last dimension, for one alpha above 1.

    Parameters
    ----------
    x
        Scores, float32 or float64, finite or minus infinity.
    top
        The largest of each row, of size 1 in the last dimension.
    alpha
        Above 1.
    slopes
        Give :math:`p^{2-\\alpha}` too, where it costs next to nothing.

    Returns
    -------
    weights, slopes
        The slopes are empty where they were not asked for or not at hand.
    """
    n = x.shape[-1]
    if x.numel() <= 2 * _BLOCK or not are_at_hand(x):
        return _solve(x, top, alpha, slopes)
    rows = max(1, _BLOCK // n)
    blocks = zip(x.reshape(-1, n).split(rows), top.reshape(-1, 1).split(rows), strict=True)
    parts = [_solve(block, largest, alpha, slopes) for block, largest in blocks]
    weights, slope = (torch.cat(part) for part in zip(*parts, strict=True))
    return weights.reshape(x.shape), slope.reshape(x.shape) if slope.numel() else slope


def solve_rows(x: Tensor, top: Tensor, alpha: Tensor) -> Tensor:
    """Alpha-entmax of the last dimension, for a tensor of alphas of at least 1, of size 1 there."""
    # from here to softmax nothing changes in the weights, but for exactly 1 there is no k
    excess = (alpha - 1).clamp(min=1e-14 if x.dtype == torch.float64 else 1e-7).to(x.dtype)
    z = (x - top.clamp(min=_LOWEST)) * excess
    weights = _newton_by_logarithms(z, 1 / excess.clamp(max=1))
    if are_at_hand(excess) and not bool((excess > 1).any()):
        return weights
    return torch.where(excess > 1, _bisect(z.double(), 1 / excess.double()).to(x.dtype), weights)


def _solve(x: Tensor, top: Tensor, alpha: float, slopes: bool) -> tuple[Tensor, Tensor]:
    k = 1 / (alpha - 1)
    if abs(k - round(k)) < 1e-9 * k:
        k = float(round(k))
    below = x - top.clamp(min=_LOWEST)
    if k < 1:
        weights = _bisect(below.double() * (alpha - 1), k).to(x.dtype)
    elif k > 16:
        weights = _newton_by_logarithms(below * (alpha - 1), k)
    else:
        # the largest weight is exact to rounding; with many small ones their sum is only after this division
        u = _newton(below, alpha - 1, k)
        if k == 1:
            return u.div_(u.sum(-1, keepdim=True).clamp(min=_TINY)), x.new_empty(0)
        if k == 2:
            u = u.div_(torch.linalg.vector_norm(u, dim=-1, keepdim=True).clamp(min=_TINY))
            return u * u, u if slopes else x.new_empty(0)
        power = u * u if k == 3 else _power(u, k - 1)
        weights = u.mul_(power)
        total = weights.sum(-1, keepdim=True).clamp(min=_TINY)
        return weights.div_(total), power.div_(total ** (1 - 1 / k)) if slopes else x.new_empty(0)
    return weights, x.new_empty(0)


def _newton(x: Tensor, scale: float, k: float) -> Tensor:
    """The positive part of z - tau, over the scale, for moderate k and z = scale * x."""
    patient = are_at_hand(x)
    # from one step to the next the distance is squared, but for k below 2, where leaving the support is less smooth
    tolerance = (1e-15 if x.dtype == torch.float64 else 1e-7) ** (1 / min(k, 2)) / scale
    threshold = x.new_full((), -1 / scale)
    for _ in range(100 if patient else 16 if k < 2 else 8):
        u = (x - threshold).relu_()
        if k == 1:
            step = (u.sum(-1, keepdim=True) - 1 / scale) / u.sign_().sum(-1, keepdim=True).clamp(min=1)
        elif k == 2:
            norm = torch.linalg.vector_norm(u, dim=-1, keepdim=True)
            step = norm * (norm - 1 / scale) / u.sum(-1, keepdim=True).clamp(min=_TINY)
        else:
            power = u * u if k == 3 else _power(u, k - 1)
            total = u.mul_(power).sum(-1, keepdim=True)
            step = (total - total ** (1 - 1 / k) / scale) / power.sum(-1, keepdim=True).clamp(min=_TINY)
        threshold = threshold + step
        if patient and bool((step <= tolerance).all()):
            break
    return (x - threshold).relu_()


def _power(u: Tensor, exponent: float) -> Tensor:
    """u^exponent for u of at least 0, in a third of the time; logarithms of 0 and subnormal powers would be slow."""
    return u.clamp(min=1e-37 ** (1 / max(exponent, 1))).log_().mul_(exponent).exp_().mul_(u.sign())


def _newton_by_logarithms(z: Tensor, k: float | Tensor) -> Tensor:
    """The weights for large k or one k a row, in terms of tau + 1, which keeps its digits there."""
    patient, tolerance = are_at_hand(z), 1e-14 if z.dtype == torch.float64 else 3e-6
    shift = torch.zeros_like(z[..., :1])
    for _ in range(100 if patient else 16):
        log_u = torch.log1p((z - shift).clamp(min=-1))
        total = torch.exp(log_u * k).sum(-1, keepdim=True)
        # at k = 1 the power 0 of 0 is to count as 0
        slope = torch.where(log_u > -math.inf, torch.exp(log_u * (k - 1)), 0.0).sum(-1, keepdim=True)
        step = -torch.expm1(-torch.log(total) / k) * total / slope
        step = torch.where(slope > 0, step, 0.0)
        shift = shift + step
        if patient and bool((step * k <= tolerance).all()):
            break
    weights = torch.exp(torch.log1p((z - shift).clamp(min=-1)) * k)
    return weights / weights.sum(-1, keepdim=True).clamp(min=_TINY)


def _bisect(z: Tensor, k: float | Tensor) -> Tensor:
    """The weights by halving the bracket, in float64: for k below 1 they are steep at 0."""
    low, high = torch.full_like(z[..., :1], -1.0), torch.zeros_like(z[..., :1])
    for _ in range(60):
        middle = (low + high) / 2
        heavy = ((z - middle).clamp(min=0) ** k).sum(-1, keepdim=True) >= 1
        low, high = torch.where(heavy, middle, low), torch.where(heavy, high, middle)
    weights = (z - low).clamp(min=0) ** k
    return weights / weights.sum(-1, keepdim=True).clamp(min=_TINY)
