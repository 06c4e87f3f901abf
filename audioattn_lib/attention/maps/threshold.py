r"""The threshold of alpha-entmax: weights that sum to 1, by Newton's and Halley's methods.

With :math:`z = (\alpha-1)(x - \max x)` and :math:`k = 1/(\alpha-1)` the weights
are :math:`p_i = [z_i-\tau]_+^k`. For :math:`\alpha \le 2` the threshold is the root of
:math:`g(\tau) = \lVert [z-\tau]_+ \rVert_k - 1`. A norm of the positive part is
convex and decreasing in :math:`\tau`, so Newton's method from :math:`\tau = -1`
climbs to the root and never passes it; and because the norm is homogeneous it
is nearly linear, the more so the closer :math:`\alpha` is to 1. (On
:math:`\sum_i [z_i-\tau]_+^k - 1` itself Newton needs twice as many steps.) With
:math:`S_j = \sum_i [z_i-\tau]_+^j` Newton's step is

.. math:: \delta = \frac{S_k - S_k^{1-1/k}}{S_{k-1}},

and Halley's, which for :math:`k \ge 2` converges cubically, is :math:`\delta` over
:math:`1 - \tfrac12 \delta (k-1) (S_{k-2}/S_{k-1} - S_{k-1}/S_k)`. A step that leaves
the bracket of the root is replaced by half of it.

For :math:`\alpha > 2` the norm is not convex, and weights are steep at 0. There
the support is found first. The weight of the lowest score in it is then the
unknown: the others are smooth convex functions of it, and Newton's method from
above does not pass the root.

The last steps are in float64, and small ones are kept beside the threshold: where one
score leads many that are equal by nearly :math:`1/(\alpha-1)`, a float32 has no
place for the digits of the threshold on which the result depends. The weights of
float32 scores are thereby those of float64, rounded.

On the CPU loops over rows that numba compiles (``_numba_loops``) do this, where numba
is there, the first steps in float32, and take as many as it takes. The first call
of all with one kind of alpha (2, 3/2, 4/3, others up to 2, above 2) compiles its
loops, for a few seconds; the first call of a process loads them. Here are the same
steps for PyTorch: for devices, where asking whether they have settled would wait, in
a fixed number that is enough.

Book page: ``from_softmax_to_sparsemax``.
"""

from __future__ import annotations

import torch
from torch import Tensor

from audioattn_lib.core.tensors import are_at_hand

__all__ = ["LEAST_EXCESS", "solve"]

# Rows of so many scores fit a core's cache together with what the steps make of them
_BLOCK = 1 << 16

LEAST_EXCESS = 1e-15
"""Largest alpha - 1 for which the weights equal those of softmax."""

# as many as hard rows need: geometric ones, in which every step finds a few scores to leave out
_STEPS = 24
_HALVINGS = 60
_TINY = 1e-290


def solve(x: Tensor, alpha: float | Tensor) -> Tensor:
    """Alpha-entmax of the last dimension.

    Parameters
    ----------
    x
        Scores, float32 or float64, finite or minus infinity. Rows of nothing but
        minus infinity give zeros.
    alpha
        At least 1: a number, or a tensor with the axes of the scores, of size 1 in the last.
    """
    n = x.shape[-1]
    if x.numel() <= 2 * _BLOCK or not are_at_hand(x):
        return _solve(x, alpha)
    rows = max(1, _BLOCK // n)
    blocks = x.reshape(-1, n).split(rows)
    if isinstance(alpha, Tensor):
        alphas = alpha.expand(*x.shape[:-1], 1).reshape(-1, 1).split(rows)
        return torch.cat(list(map(_solve, blocks, alphas))).reshape(x.shape)
    return torch.cat([_solve(block, alpha) for block in blocks]).reshape(x.shape)


def _solve(x: Tensor, alpha: float | Tensor) -> Tensor:
    top = x.amax(-1, keepdim=True)
    empty = top == -torch.inf
    y = x.double() - top.masked_fill(empty, 0.0).double()
    excess: float | Tensor
    if isinstance(alpha, Tensor):
        excess = (alpha.double() - 1).clamp(min=LEAST_EXCESS)
        steep = excess > 1
        weights = _smooth(y, excess.clamp(max=1.0))
        if not are_at_hand(steep) or bool(steep.any()):
            weights = torch.where(steep, _steep(y, excess.clamp(min=1.0)), weights)
    else:
        excess = max(alpha - 1, LEAST_EXCESS)
        weights = _smooth(y, excess) if excess <= 1 else _steep(y, excess)
    # a row that is not finite has no answer: on a device it becomes NaN
    return weights.masked_fill(empty, 0.0).masked_fill(~(top < torch.inf), torch.nan).to(x.dtype)


def _smooth(y: Tensor, excess: float | Tensor) -> Tensor:
    """The weights for k of at least 1; close to softmax in terms of tau + 1, which keeps its digits there."""
    over = torch.as_tensor(excess, dtype=y.dtype, device=y.device)
    k = 1 / over
    # The unknown is shift + small = -tau for k <= 16, and -tau - 1 for larger k (``offset`` is 1), which goes to 0 with
    # alpha - 1: a sum with 1 would lose its digits. All shapes are (*rows, n) for scores, (*rows, 1) for unknowns.
    offset = (k > 16).to(y.dtype)
    z = (y * over).clamp(min=-2.0)
    high = (1 - offset).expand_as(z[..., :1])
    low = torch.expm1(-_logarithm_of(z.shape[-1], z) / k) + high
    shift, small = high, torch.zeros_like(high)
    # the bracket: the largest weight lies between 1/n, of equal scores, and 1
    patient, best = are_at_hand(y), torch.full_like(high, torch.inf)
    for _ in range(200 if patient else _STEPS):
        second, first, total = _powers(z, offset, shift, small, k)
        error = (total - 1).abs()
        # done where rounding alone is left
        settled = ~((error > 1e-15) & (first > 0)) | ((error < 1e-10) & (error > best / 2))
        best = error
        if patient and bool(settled.all()):
            break
        high = torch.where(total > 1, shift + small, high)
        low = torch.where(total > 1, low, shift + small)
        # Newton's step on the k-norm, (S_k - S_k^(1-1/k)) / S_(k-1), then Halley's correction
        step = -torch.expm1(-total.log() / k) * total / first.clamp(min=_TINY)
        bend = 0.5 * step * (k - 1) * (second / first.clamp(min=_TINY) - first / total)
        step = step / (1 - torch.where(k >= 2, bend.clamp(-0.5, 0.5), 0.0))
        step = torch.where(settled, 0.0, step)
        # a small step goes into ``small``, where it keeps digits that the sum shift + small has not
        fine = (step.abs() < 1e-6 * (1 - offset + shift.abs())) & (error < 1e-3)
        moved = shift + small - step
        # outside of the bracket: bisection
        moved = torch.where((low < moved) & (moved < high), moved, 0.5 * (low + high))
        shift, small = torch.where(fine, shift, moved), torch.where(fine, small - step, 0.0)
    v = (z + shift) + small
    u = (offset + v).clamp(min=0.0)
    weights = _power(v, u, offset, k)
    return weights / weights.sum(-1, keepdim=True).clamp(min=_TINY)


def _power(v: Tensor, u: Tensor, offset: Tensor, exponent: Tensor) -> Tensor:
    """u^exponent, 0 where u is 0; u = offset + v, so close to softmax log u = log1p(v) keeps the digits of v."""
    inside = u > _TINY
    logarithm = torch.where(offset > 0, torch.where(inside, v, 0.0).log1p(), torch.where(inside, u, 1.0).log())
    return torch.where(inside, (exponent * logarithm).clamp(-690.0, 690.0).exp(), 0.0)


def _powers(z: Tensor, offset: Tensor, shift: Tensor, small: Tensor, k: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Sums of u^(k-2), u^(k-1) and u^k over what is above 0."""
    v = (z + shift) + small
    u = (offset + v).clamp(min=0.0)
    second = _power(v, u, offset, k - 2)
    first = second * u
    return second.sum(-1, keepdim=True), first.sum(-1, keepdim=True), (first * u).sum(-1, keepdim=True)


def _logarithm_of(n: int, like: Tensor) -> Tensor:
    return torch.full((), float(n), dtype=like.dtype, device=like.device).log()


def _steep(y: Tensor, excess: float | Tensor) -> Tensor:
    """The weights for k below 1."""
    over = torch.as_tensor(excess, dtype=y.dtype, device=y.device)
    k = 1 / over
    z = y * over
    # the largest weight lies between that of equal scores and 1; halving finds which scores have any
    low = torch.full_like(z[..., :1], 1 / z.shape[-1])
    high = torch.ones_like(low)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        heavy = ((z + middle**over).clamp(min=0) ** k).sum(-1, keepdim=True) >= 1
        low, high = torch.where(heavy, low, middle), torch.where(heavy, middle, high)
    # The unknown is now the weight of the lowest score of the support, which may be tied: the weights of the others are
    # smooth convex functions of it, (z + weight^(1/k))^k, so Newton's method from above does not pass the root.
    lowest = torch.where(z + high**over > 0, y, 0.0).amin(-1, keepdim=True)
    tied, above = y == lowest, y > lowest
    z = torch.where(above, (y - lowest) * over, 1.0)
    weight = 1 / tied.sum(-1, keepdim=True).clamp(min=1).to(y.dtype)
    for _ in range(_STEPS // 2):
        others = (z + weight**over) ** k
        slope = torch.where(above, (weight / others) ** (over - 1), tied.to(y.dtype)).sum(-1, keepdim=True)
        total = torch.where(above, others, torch.where(tied, weight, 0.0)).sum(-1, keepdim=True)
        weight = (weight - (total - 1) / slope.clamp(min=1.0)).clamp(min=0.0)
    weights = torch.where(above, (z + weight**over) ** k, torch.where(tied, weight, 0.0))
    return weights / weights.sum(-1, keepdim=True).clamp(min=_TINY)
