r"""Fenchel-Young losses of the maps from scores to weights: cross-entropy, with alpha-entmax in place of softmax.

With :math:`\Omega_\alpha(p) = \frac{\sum_i p_i^\alpha - 1}{\alpha(\alpha-1)}`,
the negative of the Tsallis entropy, and its conjugate
:math:`\Omega_\alpha^*(z) = \max_{p \in \Delta} p^\top z - \Omega_\alpha(p)`,

.. math:: L_\alpha(z; y) = \Omega_\alpha^*(z) + \Omega_\alpha(y) - z^\top y

is convex in the scores, never negative, and zero exactly where the weights
:math:`p^\star(z)` of alpha-entmax are the target :math:`y`; its gradient is
:math:`p^\star(z) - y`. For :math:`\alpha = 1` it is the cross-entropy of a class,
and the Kullback-Leibler divergence from a target distribution. For
:math:`\alpha > 1` it is exactly 0 as soon as the right score leads by
:math:`1/(\alpha-1)`, where cross-entropy goes on pushing.

Sources: Blondel, Martins and Niculae, *Learning with Fenchel-Young losses*, JMLR
2020, definition 2 and proposition 2; Peters, Niculae and Martins, *Sparse
sequence-to-sequence models*, ACL 2019, section 3.2. Book page:
``from_softmax_to_sparsemax``.
"""

from __future__ import annotations

import math
from typing import Any, Literal, get_args

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from audioattn_lib.core.errors import ConfigError
from audioattn_lib.core.tensors import are_at_hand

from ._checks import check_alpha, prepare
from .entmax import entmax

__all__ = ["Entmax15Loss", "EntmaxLoss", "Reduction", "SparsemaxLoss", "entmax_loss"]

Reduction = Literal["mean", "sum", "none"]


def entmax_loss(
    scores: Float[Tensor, "*shape"],
    target: Int[Tensor, "*rows"] | Float[Tensor, "*shape"],
    alpha: float = 1.5,
    dim: int = -1,
    mask: Bool[Tensor, "*mask"] | None = None,
    *,
    reduction: Reduction = "mean",
    ignore_index: int = -100,
) -> Float[Tensor, "*result"]:
    r"""Fenchel-Young loss of alpha-entmax, :math:`\Omega_\alpha^*(z) + \Omega_\alpha(y) - z^\top y`.

    Parameters
    ----------
    scores
        Any shape; finite or minus infinity.
    target
        Either classes, integers of the shape of the scores without ``dim``,
        each in ``[0, n)`` or ``ignore_index``; or distributions of the shape of
        the scores, not negative and of sum 1 along ``dim``.
    alpha
        At least 1; 1 is cross-entropy.
    dim
        The dimension of the classes; negative counts from the end.
    mask
        True where a score takes part; broadcasts with the scores. A target
        that takes no part has an infinite loss.
    reduction
        ``mean`` over the rows that count, ``sum``, or ``none``.
    ignore_index
        The class of rows that do not count. Nor do rows that the mask leaves
        nothing of.

    Returns
    -------
    loss
        A scalar, or with ``none`` the shape of the scores without ``dim``, 0 in
        rows that do not count; in at least float32. The mean of no rows is 0.
        Twice differentiable, also with respect to distributions.

    Raises
    ------
    ConfigError
        If ``alpha`` is below 1 or not finite, or ``reduction`` is unknown.
    ValueError
        If shapes do not fit; on the CPU also if a class is out of range, a
        target is no distribution, or a score is NaN or plus infinity.

    Notes
    -----
    Sources: Blondel et al., JMLR 2020; Peters et al., ACL 2019. Book page:
    ``from_softmax_to_sparsemax``.
    """
    check_alpha(alpha)
    if reduction not in get_args(Reduction):
        raise ConfigError(f"reduction is {reduction!r}; it must be one of {', '.join(get_args(Reduction))}")
    x = prepare(scores, dim, mask)
    p = entmax(x, alpha, dim).movedim(dim, -1)
    x = x.movedim(dim, -1)
    top = x.detach().amax(-1, keepdim=True)
    counts = top.squeeze(-1) > -math.inf
    # nothing changes with a constant added to all scores, and with the largest at 0 the terms are small
    z = (x - top).masked_fill(top == -math.inf, 0.0)
    conjugate = _Conjugate.apply(z, p, alpha)
    if target.is_floating_point():
        y = _distributions(target, counts, scores, dim).to(z.dtype)
        agreement = (torch.where((z == -math.inf) & (y == 0), 0.0, z) * y).sum(-1)
        loss = conjugate + _negative_entropy(y, alpha) - agreement
    else:
        valid = target != ignore_index
        classes = _classes(target, valid, scores, dim)
        counts = counts & valid
        loss = conjugate - z.gather(-1, classes.unsqueeze(-1)).squeeze(-1)
    loss = torch.where(counts, loss, 0.0)
    if reduction == "none":
        return loss
    return loss.sum() if reduction == "sum" else loss.sum() / counts.sum().clamp(min=1)


class EntmaxLoss(nn.Module):
    """:func:`entmax_loss` as a module.

    Book page: ``from_softmax_to_sparsemax``.
    """

    def __init__(
        self, alpha: float = 1.5, dim: int = -1, *, reduction: Reduction = "mean", ignore_index: int = -100
    ) -> None:
        super().__init__()
        check_alpha(alpha)
        if reduction not in get_args(Reduction):
            raise ConfigError(f"reduction is {reduction!r}; it must be one of {', '.join(get_args(Reduction))}")
        self.alpha, self.dim, self.ignore_index = alpha, dim, ignore_index
        self.reduction: Reduction = reduction

    def forward(
        self,
        scores: Float[Tensor, "*shape"],
        target: Int[Tensor, "*rows"] | Float[Tensor, "*shape"],
        mask: Bool[Tensor, "*mask"] | None = None,
    ) -> Float[Tensor, "*result"]:
        """Loss of the scores against classes or distributions."""
        return entmax_loss(
            scores, target, self.alpha, self.dim, mask, reduction=self.reduction, ignore_index=self.ignore_index
        )

    def extra_repr(self) -> str:
        """Show the options."""
        return f"alpha={self.alpha:g}, dim={self.dim}, reduction={self.reduction}"


class SparsemaxLoss(EntmaxLoss):
    """The loss of sparsemax, ``alpha = 2``. Source: Martins and Astudillo, ICML 2016, section 3."""

    def __init__(self, dim: int = -1, *, reduction: Reduction = "mean", ignore_index: int = -100) -> None:
        super().__init__(2.0, dim, reduction=reduction, ignore_index=ignore_index)


class Entmax15Loss(EntmaxLoss):
    """The loss of 1.5-entmax. Source: Peters et al., ACL 2019, section 3.2."""

    def __init__(self, dim: int = -1, *, reduction: Reduction = "mean", ignore_index: int = -100) -> None:
        super().__init__(1.5, dim, reduction=reduction, ignore_index=ignore_index)


def _negative_entropy(p: Tensor, alpha: float) -> Tensor:
    """Sum of (p^alpha - 1) / (alpha (alpha - 1)), with no cancellation close to alpha = 1."""
    inside = p > 0
    logarithm = torch.where(inside, p, 1.0).log()
    if alpha > 1:
        logarithm = torch.expm1((alpha - 1) * logarithm) / (alpha * (alpha - 1))
    return (torch.where(inside, logarithm, 0.0) * p).sum(-1)


class _Conjugate(torch.autograd.Function):
    """Omega*(z) from the scores and their weights; its gradient is the weights, which carry the second one."""

    generate_vmap_rule = True

    @staticmethod
    def forward(z: Tensor, p: Tensor, alpha: float) -> Tensor:
        return torch.where(p > 0, p * z, 0.0).sum(-1) - _negative_entropy(p, alpha)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, float], output: Tensor) -> None:
        ctx.save_for_backward(inputs[1])
        ctx.save_for_forward(inputs[1])

    @staticmethod
    def jvp(ctx: Any, z: Tensor | None, p: Tensor | None, alpha: None) -> Tensor:
        # the weights are where the maximum is: a change of theirs changes nothing in first order
        (weights,) = ctx.saved_tensors
        return (
            weights.new_zeros(weights.shape[:-1]) if z is None else (torch.where(weights > 0, z, 0.0) * weights).sum(-1)
        )

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (p,) = ctx.saved_tensors
        return gradient.unsqueeze(-1) * p, None, None


def _distributions(target: Tensor, counts: Tensor, scores: Tensor, dim: int) -> Tensor:
    if target.shape != scores.shape:
        raise ValueError(
            f"target has shape {tuple(target.shape)}, scores {tuple(scores.shape)}; distributions have the same shape"
        )
    y = target.movedim(dim, -1)
    if are_at_hand(y) and are_at_hand(counts):
        total = y.detach().sum(-1, dtype=torch.promote_types(y.dtype, torch.float32))
        slack = 1e-4 + y.shape[-1] * torch.finfo(y.dtype).eps
        bad = counts & (~((total - 1).abs() <= slack) | ~(y.detach() >= 0).all(-1))
        if bool(bad.any()):
            raise ValueError(
                f"target has {int(bad.sum())} rows along dim {dim} that are no distributions, one with the sum "
                f"{total[bad][0].item():g}; values must not be negative and must sum to 1"
            )
    return y


def _classes(target: Tensor, valid: Tensor, scores: Tensor, dim: int) -> Tensor:
    n = scores.shape[dim]
    rows = scores.movedim(dim, -1).shape[:-1]
    if target.shape != rows or target.dtype == torch.bool:
        raise ValueError(
            f"target has shape {tuple(target.shape)} and dtype {target.dtype}; for scores of shape "
            f"{tuple(scores.shape)} classes along dim {dim} are integers of shape {tuple(rows)}"
        )
    if are_at_hand(target):
        bad = target[valid & ~((target >= 0) & (target < n))]
        if len(bad):
            raise ValueError(f"target holds the class {bad[0].item()}; classes must be in [0, {n}) or the ignore_index")
    return torch.where(valid, target, 0).long()
