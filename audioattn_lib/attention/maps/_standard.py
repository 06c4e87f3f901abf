r"""Alpha-entmax in standard operations alone, for graphs that leave PyTorch: ``torch.export``, ONNX, TorchScript.

With :math:`z = (\alpha-1)(x - \max x)` and :math:`k = 1/(\alpha-1)` the weights are :math:`[z_i-\tau]_+^k`, and
:math:`\tau` lies in [-1, 0). For :math:`\alpha` = 2 and 3/2 it has a closed form of the sorted scores (Martins and
Astudillo, 2016, algorithm 1; Peters et al., 2019, appendix C). For other :math:`\alpha` its bracket is halved a fixed
number of times; up to 2, some of Newton's steps follow from the left end, which do not pass the root. All steps are in
float64.

Book page: ``from_softmax_to_sparsemax``.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["entmax_of_standard_operations"]

_HALVINGS = 12
_NEWTON_STEPS = 4
# of a tensor, whose smallest scores need no more
_FEW_HALVINGS, _MORE_NEWTON_STEPS = 6, 5
# where Newton's method does not serve: to the last digit
_MANY_HALVINGS = 60
# alpha - 1 of a tensor, below which weights are those of softmax in float32
_LEAST_EXCESS = 1e-7


def entmax_of_standard_operations(x: Tensor, alpha: float | Tensor, *, at_most_two: bool = False) -> Tensor:
    """Weights of the last dimension, in the dtype of the scores.

    Parameters
    ----------
    x
        Scores in float32 or float64, minus infinity where they take no part.
    alpha
        Above 1, a number; or a tensor with the axes of the scores, of size 1 in the last, at least 1.
    at_most_two
        No value of a tensor is above 2: a fifth of the operations.
    """
    top = x.amax(-1, keepdim=True)
    empty = top == -torch.inf
    excess = (alpha.double() - 1).clamp(min=_LEAST_EXCESS) if isinstance(alpha, Tensor) else alpha - 1
    # what is at or below -1 has no weight: -2 stands for all of it, minus infinity too
    z = ((x.double() - torch.where(empty, 0.0, top).double()) * excess).clamp(min=-2.0)
    if isinstance(excess, Tensor):
        few = (_FEW_HALVINGS, _MORE_NEWTON_STEPS)
        weights = _by_halving(z, 1 / excess, *(few if at_most_two else (_MANY_HALVINGS, 0)))
    elif excess == 1:
        weights = (z - _threshold_of_sparsemax(z)).clamp(min=0.0)
    elif excess == 0.5:
        weights = (z - _threshold_of_entmax15(z)).clamp(min=0.0).square()
    else:
        many = (_MANY_HALVINGS, 0)
        weights = _by_halving(z, 1 / excess, *((_HALVINGS, _NEWTON_STEPS) if excess < 1 else many))
    weights = weights / weights.sum(-1, keepdim=True)
    return torch.where(empty, 0.0, weights).to(x.dtype)


def _sorted(z: Tensor) -> tuple[Tensor, Tensor]:
    """Scores from the largest on, and the numbers 1, 2, ... of them."""
    ordered = z.sort(dim=-1, descending=True).values
    return ordered, torch.arange(1, z.shape[-1] + 1, device=z.device).to(z.dtype)


def _threshold_of_sparsemax(z: Tensor) -> Tensor:
    ordered, count = _sorted(z)
    total = ordered.cumsum(-1)
    support = (1 + count * ordered > total).sum(-1, keepdim=True)
    return (total.gather(-1, support - 1) - 1) / support.to(z.dtype)


def _threshold_of_entmax15(z: Tensor) -> Tensor:
    ordered, count = _sorted(z)
    mean = ordered.cumsum(-1) / count
    spread = ordered.square().cumsum(-1) - count * mean.square()
    threshold = mean - ((1 - spread) / count).clamp(min=0.0).sqrt()
    support = (threshold <= ordered).sum(-1, keepdim=True)
    return threshold.gather(-1, support - 1)


def _by_halving(z: Tensor, k: float | Tensor, halvings: int, newton_steps: int) -> Tensor:
    low = torch.full_like(z[..., :1], -1.0)
    width = 1.0
    for _ in range(halvings):
        width /= 2
        heavy = _power(z - (low + width), k).sum(-1, keepdim=True) >= 1
        low = torch.where(heavy, low + width, low)
    for _ in range(newton_steps):
        # on the k-norm of what is above the threshold, which is convex and nearly linear in it
        total = _power(z - low, k).sum(-1, keepdim=True)
        low = low + (total - total ** (1 - 1 / k)) / _power(z - low, k - 1).sum(-1, keepdim=True)
    return _power(z - low, k)


def _power(u: Tensor, k: float | Tensor) -> Tensor:
    """The power of what is above 0, and 0 elsewhere."""
    whole = 0 if isinstance(k, Tensor) else round(k)
    if not isinstance(k, Tensor) and 1 <= whole <= 4 and abs(k - whole) < 1e-9:
        base = u.clamp(min=0.0)
        result = base
        for _ in range(whole - 1):
            result = result * base
        return result
    inside = u > 0
    return torch.where(inside, torch.exp(k * torch.where(inside, u, 1.0).log()), 0.0)
