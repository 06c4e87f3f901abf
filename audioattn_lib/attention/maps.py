r"""Maps from scores to attention weights: softmax, sparsemax and everything between.

All of them solve one problem. With :math:`\Delta` the simplex and
:math:`H_\alpha` the Tsallis :math:`\alpha`-entropy,

.. math::

   p^\star(x) = \arg\max_{p \in \Delta}\; p^\top x + H_\alpha(p),
   \qquad H_\alpha(p) = \frac{1 - \sum_i p_i^\alpha}{\alpha(\alpha-1)},

whose solution is :math:`p_i = [(\alpha-1)x_i - \tau]_+^{1/(\alpha-1)}` with the
threshold :math:`\tau` that makes the weights sum to 1: softmax for
:math:`\alpha = 1`, sparsemax for 2.

The threshold is the root of :math:`\lVert [z-\tau]_+ \rVert_k - 1` with
:math:`z = (\alpha-1)(x - \max x)` and :math:`k = 1/(\alpha-1)`. A norm of the
positive part is convex and decreasing in :math:`\tau`, so Newton's method from
the left climbs to the root and never passes it; and because the norm is
homogeneous, it is nearly linear: a handful of steps reach the precision of the
dtype, fewer the closer :math:`\alpha` is to 1. (On :math:`\sum_i [z_i-\tau]_+^k - 1`
itself Newton needs twice as many.) For :math:`\alpha > 2` the norm is not
convex and the bracket is halved instead.

Every map takes any ``dim``, a boolean ``mask`` (True takes part), scores of
minus infinity (weight 0) and half precision (steps in float32). Rows with
nothing to attend to give zeros, and a gradient of zero.

Sources: Martins and Astudillo, *From softmax to sparsemax*, ICML 2016; Peters,
Niculae and Martins, *Sparse sequence-to-sequence models*, ACL 2019; Correia et
al., *Adaptively sparse transformers*, EMNLP 2019 (gradient with respect to
:math:`\alpha`). Book page: ``from_softmax_to_sparsemax``.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from ..errors import ConfigError
from ._values import are_at_hand

__all__ = ["Entmax", "Entmax15", "Softmax", "Sparsemax", "entmax", "entmax15", "softmax", "sparsemax"]

Mask = Bool[Tensor, "*mask"] | None


def softmax(scores: Float[Tensor, "*shape"], dim: int = -1, mask: Mask = None) -> Float[Tensor, "*shape"]:
    r"""Softmax, :math:`p_i = e^{x_i} / \sum_j e^{x_j}`: every weight is above 0.

    Parameters
    ----------
    scores
        Any shape; finite or minus infinity.
    dim
        The dimension whose weights sum to 1; negative counts from the end.
    mask
        True where a score takes part; broadcasts with the scores.

    Returns
    -------
    weights
        In the dtype of the scores.

    Raises
    ------
    ValueError
        On the CPU, if a score that takes part is NaN or plus infinity. On a
        device nobody waits for the answer: such a row becomes NaN.

    Notes
    -----
    Book page: ``from_softmax_to_sparsemax``.
    """
    x = _prepare(scores, dim, mask)
    top = x.detach().amax(dim, keepdim=True)
    _refuse_non_finite(top, x)
    empty = top == -math.inf
    return torch.softmax(x.masked_fill(empty, 0.0), dim).masked_fill(empty, 0.0).to(scores.dtype)


def sparsemax(scores: Float[Tensor, "*shape"], dim: int = -1, mask: Mask = None) -> Float[Tensor, "*shape"]:
    r"""Sparsemax, the Euclidean projection of the scores onto the simplex; ``alpha = 2``.

    Parameters, result and errors as for :func:`softmax`. Source: Martins and
    Astudillo, ICML 2016. Book page: ``from_softmax_to_sparsemax``.
    """
    return entmax(scores, 2.0, dim, mask)


def entmax15(scores: Float[Tensor, "*shape"], dim: int = -1, mask: Mask = None) -> Float[Tensor, "*shape"]:
    r"""1.5-entmax, halfway between softmax and sparsemax.

    Parameters, result and errors as for :func:`softmax`. Source: Peters et al.,
    ACL 2019. Book page: ``from_softmax_to_sparsemax``.
    """
    return entmax(scores, 1.5, dim, mask)


def entmax(
    scores: Float[Tensor, "*shape"],
    alpha: float | Float[Tensor, "*rows"] = 1.5,
    dim: int = -1,
    mask: Mask = None,
) -> Float[Tensor, "*shape"]:
    r"""Alpha-entmax: softmax for ``alpha = 1``, sparser as ``alpha`` grows.

    Parameters
    ----------
    scores, dim, mask
        As for :func:`softmax`.
    alpha
        At least 1: a number, or a tensor that broadcasts with the scores, of
        size 1 along ``dim``; it may require a gradient.

    Returns
    -------
    weights
        In the dtype of the scores. The gradient is exact and needs only the
        weights; twice differentiable.

    Raises
    ------
    ConfigError
        If ``alpha`` is below 1 or not finite.
    ValueError
        As for :func:`softmax`, or if ``alpha`` varies along ``dim``.

    Notes
    -----
    Sources: Peters et al., ACL 2019; Correia et al., EMNLP 2019. Book page:
    ``from_softmax_to_sparsemax``.
    """
    if not isinstance(alpha, Tensor):
        if not 1 <= alpha < math.inf:
            raise ConfigError(f"alpha is {alpha}; it must be a finite number, at least 1 (1 is softmax)")
        if alpha == 1:
            return softmax(scores, dim, mask)
    x = _prepare(scores, dim, mask)
    top = x.detach().amax(dim, keepdim=True)
    _refuse_non_finite(top, x)
    x, top = x.movedim(dim, -1), top.movedim(dim, -1)
    if isinstance(alpha, Tensor):
        exponent = _align_alpha(alpha, scores, dim).to(torch.promote_types(x.dtype, alpha.dtype))
        weights = _EntmaxLearned.apply(x, top, exponent)
    else:
        weights = _Entmax.apply(x, top, float(alpha))
    return weights.movedim(-1, dim).to(scores.dtype)


class Softmax(nn.Module):
    """:func:`softmax` as a module."""

    def __init__(self, dim: int = -1) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, scores: Float[Tensor, "*shape"], mask: Mask = None) -> Float[Tensor, "*shape"]:
        """Weights of the scores."""
        return softmax(scores, self.dim, mask)


class Entmax(nn.Module):
    """:func:`entmax` as a module, with a fixed ``alpha``."""

    def __init__(self, alpha: float = 1.5, dim: int = -1) -> None:
        super().__init__()
        if not 1 <= alpha < math.inf:
            raise ConfigError(f"alpha is {alpha}; it must be a finite number, at least 1 (1 is softmax)")
        self.alpha = alpha
        self.dim = dim

    def forward(self, scores: Float[Tensor, "*shape"], mask: Mask = None) -> Float[Tensor, "*shape"]:
        """Weights of the scores."""
        return entmax(scores, self.alpha, self.dim, mask)

    def extra_repr(self) -> str:
        """Show the options."""
        return f"alpha={self.alpha:g}, dim={self.dim}"


class Sparsemax(Entmax):
    """:func:`sparsemax` as a module."""

    def __init__(self, dim: int = -1) -> None:
        super().__init__(2.0, dim)


class Entmax15(Entmax):
    """:func:`entmax15` as a module."""

    def __init__(self, dim: int = -1) -> None:
        super().__init__(1.5, dim)


def _prepare(scores: Tensor, dim: int, mask: Tensor | None) -> Tensor:
    """The scores in at least float32, minus infinity where they take no part."""
    if not scores.is_floating_point():
        raise ValueError(f"scores have dtype {scores.dtype}; they must be floating point")
    if not -scores.ndim <= dim < scores.ndim:
        raise ValueError(f"dim is {dim}; for scores of shape {tuple(scores.shape)} it must be in [-{scores.ndim}, ...)")
    if scores.shape[dim] == 0:
        raise ValueError(f"scores of shape {tuple(scores.shape)} are empty along dim {dim}; give at least one score")
    x = scores.to(torch.promote_types(scores.dtype, torch.float32))
    if mask is None:
        return x
    if mask.dtype != torch.bool:
        raise ValueError(f"mask has dtype {mask.dtype}; it must be bool, True where a score takes part")
    try:
        return torch.where(mask, x, -math.inf)
    except RuntimeError:
        raise ValueError(
            f"mask has shape {tuple(mask.shape)}, scores {tuple(scores.shape)}; the mask must broadcast with the scores"
        ) from None


def _refuse_non_finite(top: Tensor, x: Tensor) -> None:
    """Raise for a row whose largest score is NaN or plus infinity, where asking does not hold up a device."""
    if are_at_hand(top) and not bool((top < math.inf).all()):
        bad = ~(x < math.inf)
        places = [tuple(place) for place in bad.nonzero()[:5].tolist()]
        raise ValueError(
            f"scores hold {int(bad.sum())} values that are NaN or +inf, the first at {', '.join(map(str, places))}; "
            "they must be finite or -inf: mask what is missing, or look for what diverged"
        )


def _align_alpha(alpha: Tensor, scores: Tensor, dim: int) -> Tensor:
    """Alpha with the axes of the scores, ``dim`` moved to the end and of size 1."""
    if alpha.ndim > scores.ndim:
        raise ValueError(f"alpha has shape {tuple(alpha.shape)}, more axes than the scores {tuple(scores.shape)}")
    alpha = alpha.reshape((1,) * (scores.ndim - alpha.ndim) + tuple(alpha.shape)).movedim(dim, -1)
    if alpha.shape[-1] != 1:
        raise ValueError(f"alpha varies along dim {dim}; it must be one number a row, of size 1 there")
    if are_at_hand(alpha):
        bad = alpha.detach()[~((alpha >= 1) & (alpha < math.inf))]
        if len(bad):
            raise ConfigError(f"alpha holds {bad[0].item()}; every value must be finite and at least 1")
    return alpha


# Rows of so many scores fit a core's cache together with what the steps make of them
_BLOCK = 1 << 17


def _weights(x: Tensor, top: Tensor, alpha: float) -> Tensor:
    """Entmax along the last dimension, a few rows at a time where that keeps them in the cache."""
    if x.numel() <= 2 * _BLOCK or not are_at_hand(x):
        return _solve(x, top, alpha)
    n = x.shape[-1]
    rows = max(1, _BLOCK // n)
    blocks = zip(x.reshape(-1, n).split(rows), top.reshape(-1, 1).split(rows), strict=True)
    return torch.cat([_solve(block, largest, alpha) for block, largest in blocks]).reshape(x.shape)


def _solve(x: Tensor, top: Tensor, alpha: float) -> Tensor:
    k = 1 / (alpha - 1)
    if abs(k - round(k)) < 1e-9 * k:
        k = float(round(k))
    top = torch.clamp(top, min=-1e38)  # a row without scores stays at -inf, and becomes 0
    z = (x - top).mul_(alpha - 1)
    if k < 1:
        return _bisect(z.double(), k).to(x.dtype)
    return _newton_far(z, k) if k > 16 else _newton(z, k)


def _newton(z: Tensor, k: float) -> Tensor:
    """Newton on the norm, for moderate k: nothing is formed per score but the sums that a step needs."""
    patient, tolerance = are_at_hand(z), _tolerance(z, k)
    tau = z.new_full((), -1.0)
    for _ in range(100 if patient else 16 if k == 1 else 8):
        u = (z - tau).relu_()
        if k == 1:
            step = (u.sum(-1, keepdim=True) - 1) / u.sign_().sum(-1, keepdim=True).clamp(min=1)
        elif k == 2:
            norm = torch.linalg.vector_norm(u, dim=-1, keepdim=True)
            step = norm * (norm - 1) / u.sum(-1, keepdim=True).clamp(min=1e-30)
        else:
            slope = u * u if k == 3 else torch.where(u > 0, u ** (k - 1), 0.0)
            total = u.mul_(slope).sum(-1, keepdim=True)
            step = (total - total ** (1 - 1 / k)) / slope.sum(-1, keepdim=True).clamp(min=1e-30)
        tau = tau + step
        if patient and bool((step <= tolerance).all()):
            break
    u = (z - tau).relu_()
    p = u if k == 1 else u * u if k == 2 else u * u * u if k == 3 else u**k
    return p / p.sum(-1, keepdim=True).clamp(min=1e-30)


def _newton_far(z: Tensor, k: float | Tensor) -> Tensor:
    """Newton on the norm for large k or one k a row, in terms of tau + 1, which keeps its digits there."""
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
    p = torch.exp(torch.log1p((z - shift).clamp(min=-1)) * k)
    return p / p.sum(-1, keepdim=True).clamp(min=1e-30)


def _tolerance(z: Tensor, k: float) -> float:
    """The step after which another would change nothing; from k = 2 on each is about the square of the last."""
    precise = z.dtype == torch.float64
    if k < 2:
        return 1e-15 if precise else 1e-7
    return 1e-8 if precise else 1e-4


def _bisect(z: Tensor, k: float | Tensor) -> Tensor:
    """Halve the bracket of the threshold, in float64: for k below 1 the weights are steep at 0."""
    low, high = torch.full_like(z[..., :1], -1.0), torch.zeros_like(z[..., :1])
    for _ in range(60):
        middle = (low + high) / 2
        heavy = ((z - middle).clamp(min=0) ** k).sum(-1, keepdim=True) >= 1
        low, high = torch.where(heavy, middle, low), torch.where(heavy, high, middle)
    p = (z - low).clamp(min=0) ** k
    return p / p.sum(-1, keepdim=True).clamp(min=1e-300)


def _curvature(p: Tensor, exponent: float | Tensor) -> Tensor:
    """p^(2 - alpha) on the support and 0 off it; its derivative too is 0 off it."""
    inside = p > 0
    return torch.where(inside, torch.where(inside, p, 1.0) ** (2 - exponent), 0.0)


def _slopes(p: Tensor, alpha: float) -> Tensor:
    """The same for one alpha, faster where no gradient of it is wanted."""
    if torch.is_grad_enabled() or alpha > 2:
        return _curvature(p, alpha)
    return p.sign() if alpha == 2 else p.sqrt() if alpha == 1.5 else p ** (2 - alpha)


def _vector_jacobian(gradient: Tensor, s: Tensor) -> Tensor:
    r"""Product of a vector with :math:`\mathrm{diag}(s) - s s^\top / \sum s`."""
    weighted = s * gradient
    # a row without weights has nothing to divide
    mean = weighted.sum(-1, keepdim=True) / s.sum(-1, keepdim=True).clamp(min=1e-30)
    return torch.addcmul(weighted, s, mean, value=-1)


class _Entmax(torch.autograd.Function):
    """Alpha-entmax of the last dimension for one alpha above 1."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, top: Tensor, alpha: float) -> Tensor:
        return _weights(x, top, alpha)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, float], output: Tensor) -> None:
        ctx.save_for_backward(output)
        ctx.save_for_forward(output)
        ctx.alpha = inputs[2]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (p,) = ctx.saved_tensors
        return _vector_jacobian(gradient, _slopes(p, ctx.alpha)), None, None

    @staticmethod
    def jvp(ctx: Any, change: Tensor, *_: None) -> Tensor:
        (p,) = ctx.saved_tensors
        return _vector_jacobian(change, _slopes(p, ctx.alpha))


class _EntmaxLearned(torch.autograd.Function):
    """Alpha-entmax of the last dimension for a tensor of alphas, differentiable with respect to them."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, top: Tensor, alpha: Tensor) -> Tensor:
        # from here to softmax nothing changes in the weights, but for exactly 1 there is no k
        excess = (alpha - 1).clamp(min=1e-14 if x.dtype == torch.float64 else 1e-7).to(x.dtype)
        z = (x - top.clamp(min=-1e38)) * excess
        p = _newton_far(z, 1 / excess.clamp(max=1))
        if are_at_hand(excess) and not bool((excess > 1).any()):
            return p
        return torch.where(excess > 1, _bisect(z.double(), 1 / excess.double()).to(x.dtype), p)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(output, inputs[2])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, Tensor]:
        p, alpha = ctx.saved_tensors
        by_scores = _vector_jacobian(gradient, _curvature(p, alpha))
        # steps in float64: close to alpha = 1 two terms in 1/(alpha-1)^2 nearly cancel
        q, excess = p.double(), (alpha.double() - 1).clamp(min=1e-4)
        inside = q > 0
        entropy = -torch.where(inside, q * torch.log(torch.where(inside, q, 1.0)), 0.0)
        t = _curvature(q, 1 + excess)
        total = t.sum(-1, keepdim=True)
        share = t / torch.where(total > 0, total, 1.0)
        slope = (q - share) / excess**2 + (entropy - share * entropy.sum(-1, keepdim=True)) / excess
        by_alpha = (gradient.double() * slope).sum(-1, keepdim=True)
        return by_scores, None, by_alpha.sum_to_size(alpha.shape).to(alpha.dtype)
