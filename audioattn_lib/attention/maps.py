r"""Maps from scores to attention weights: softmax, sparsemax and everything between.

All of them solve one problem. With :math:`\Delta` the simplex and
:math:`H_\alpha` the Tsallis :math:`\alpha`-entropy,

.. math::

   p^\star(x) = \arg\max_{p \in \Delta}\; p^\top x + H_\alpha(p),
   \qquad H_\alpha(p) = \frac{1 - \sum_i p_i^\alpha}{\alpha(\alpha-1)},

whose solution is :math:`p_i = [(\alpha-1)x_i - \tau]_+^{1/(\alpha-1)}` with the
threshold :math:`\tau` that makes the weights sum to 1: softmax for
:math:`\alpha = 1`, sparsemax for 2.

The threshold comes from :mod:`audioattn_lib.attention.thresholds`, or on CUDA
from the kernel of the package ``adasplash`` where that is installed; the gradient
from the weights alone: with :math:`s = p^{2-\alpha}` on the support and 0 off it,
the Jacobian is :math:`\mathrm{diag}(s) - s s^\top / \sum_i s_i`.

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
from ._adasplash import entmax_weights as entmax_weights_on_device
from ._checks import align_alpha, check_alpha, prepare, refuse_non_finite
from ._compiled import compiled_power, entmax_gradient, entmax_weights
from .thresholds import solve, solve_rows

__all__ = [
    "IMPLEMENTATIONS",
    "Entmax",
    "Entmax15",
    "Softmax",
    "Sparsemax",
    "entmax",
    "entmax15",
    "softmax",
    "sparsemax",
]

IMPLEMENTATIONS = ("auto", "ours", "adasplash")
"""Who finds the threshold of alpha-entmax; ``auto`` takes the faster one where both serve."""

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
    x = prepare(scores, dim, mask)
    top = x.detach().amax(dim, keepdim=True)
    refuse_non_finite(top, x)
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
    *,
    implementation: str = "auto",
) -> Float[Tensor, "*shape"]:
    r"""Alpha-entmax: softmax for ``alpha = 1``, sparser as ``alpha`` grows.

    Parameters
    ----------
    scores, dim, mask
        As for :func:`softmax`.
    alpha
        At least 1: a number, or a tensor that broadcasts with the scores, of
        size 1 along ``dim``; it may require a gradient.
    implementation
        ``"ours"`` is this library's solver; ``"adasplash"`` the Triton kernel of
        that package, an error where it does not serve; ``"auto"`` whichever was
        faster on this device for scores of about this size, ours where the
        kernel does not serve.

    Returns
    -------
    weights
        In the dtype of the scores. The gradient is exact and needs only the
        weights; twice differentiable.

    Raises
    ------
    ConfigError
        If ``alpha`` is below 1 or not finite, ``implementation`` unknown, or the
        kernel asked for does not serve these scores.
    ValueError
        As for :func:`softmax`, or if ``alpha`` varies along ``dim``.

    Notes
    -----
    The kernel serves on CUDA where ``adasplash`` is installed (the extra
    ``cuda``), for an ``alpha`` of 4/3, 3/2 or 2, scores of at most float32, and
    outside function transforms and compilers' traces. The gradient is this
    library's all the same. The first call on a device compares the weights of
    the two, and the first of each size their times. Under
    ``torch.use_deterministic_algorithms`` times decide nothing, and the kernel
    is taken wherever it serves.

    Sources: Peters et al., ACL 2019; Correia et al., EMNLP 2019. Book page:
    ``from_softmax_to_sparsemax``.
    """
    _check_implementation(implementation)
    asked = implementation == "adasplash"
    if not isinstance(alpha, Tensor):
        check_alpha(alpha)
        if alpha == 1 and not asked:
            return softmax(scores, dim, mask)
    if asked and (isinstance(alpha, Tensor) or alpha == 1):
        raise _not_served(scores, alpha)
    x = prepare(scores, dim, mask)
    differentiate = x.requires_grad and torch.is_grad_enabled()
    if not isinstance(alpha, Tensor) and not asked and (k := compiled_power(alpha, x)):
        return _EntmaxCompiled.apply(x, alpha, k, dim, differentiate).to(scores.dtype)
    top = x.detach().amax(dim, keepdim=True)
    refuse_non_finite(top, x)
    x, top = x.movedim(dim, -1), top.movedim(dim, -1)
    if isinstance(alpha, Tensor):
        exponent = align_alpha(alpha, scores, dim).to(torch.promote_types(x.dtype, alpha.dtype))
        weights = _EntmaxLearned.apply(x, top, exponent)
    else:
        weights = _Entmax.apply(x, top, float(alpha), differentiate, implementation)[0]
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

    def __init__(self, alpha: float = 1.5, dim: int = -1, *, implementation: str = "auto") -> None:
        super().__init__()
        check_alpha(alpha)
        _check_implementation(implementation)
        self.alpha = alpha
        self.dim = dim
        self.implementation = implementation

    def forward(self, scores: Float[Tensor, "*shape"], mask: Mask = None) -> Float[Tensor, "*shape"]:
        """Weights of the scores."""
        return entmax(scores, self.alpha, self.dim, mask, implementation=self.implementation)

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


def _check_implementation(implementation: str) -> None:
    if implementation not in IMPLEMENTATIONS:
        raise ConfigError(f"implementation is {implementation!r}; it must be one of {', '.join(IMPLEMENTATIONS)}")


def _not_served(scores: Tensor, alpha: float | Tensor) -> ConfigError:
    given = "a tensor" if isinstance(alpha, Tensor) else f"{alpha:g}"
    return ConfigError(
        f"implementation is 'adasplash', alpha {given} and the scores {scores.dtype} on {scores.device}; the kernel "
        "needs the package adasplash, a CUDA device, alpha 4/3, 3/2 or 2 and at most float32: 'auto' takes ours instead"
    )


def curvature(p: Tensor, exponent: float | Tensor) -> Tensor:
    """p^(2 - alpha) on the support and 0 off it; its derivative too is 0 off it."""
    inside = p > 0
    return torch.where(inside, torch.where(inside, p, 1.0) ** (2 - exponent), 0.0)


def _slopes(p: Tensor, kept: Tensor, alpha: float) -> Tensor:
    """The same for one alpha, faster where no gradient of it is wanted."""
    if torch.is_grad_enabled() or alpha > 2:
        return curvature(p, alpha)
    return p.sign() if alpha == 2 else kept if kept.numel() else p ** (2 - alpha)


def vector_jacobian(gradient: Tensor, s: Tensor) -> Tensor:
    r"""Product of a vector with :math:`\mathrm{diag}(s) - s s^\top / \sum s`."""
    weighted = s * gradient
    # a row without weights has nothing to divide
    mean = weighted.sum(-1, keepdim=True) / s.sum(-1, keepdim=True).clamp(min=1e-30)
    return torch.addcmul(weighted, s, mean, value=-1)


class _Entmax(torch.autograd.Function):
    """Alpha-entmax of the last dimension for one alpha above 1, and what its solver leaves for the gradient."""

    generate_vmap_rule = True

    @staticmethod
    def forward(
        x: Tensor, top: Tensor, alpha: float, differentiate: bool, implementation: str
    ) -> tuple[Tensor, Tensor]:
        if implementation != "ours":
            weights = entmax_weights_on_device(x, top, alpha, asked=implementation == "adasplash")
            if weights is not None:
                return weights, x.new_empty(0)
            if implementation == "adasplash":
                raise _not_served(x, alpha)
        return solve(x, top, alpha, slopes=differentiate)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(*output)
        ctx.alpha = inputs[2]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, _: Tensor) -> tuple[Tensor, None, None, None, None]:
        p, kept = ctx.saved_tensors
        return vector_jacobian(gradient, _slopes(p, kept, ctx.alpha)), None, None, None, None


class _EntmaxCompiled(torch.autograd.Function):
    """The same along any dimension by loops over rows; without the rules of vmap, whose bookkeeping takes longer."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, alpha: float, k: int, dim: int, differentiate: bool) -> Tensor:
        solved = entmax_weights(x.movedim(dim, -1), k, slopes=differentiate)
        if solved is None:
            refuse_non_finite(x.amax(dim, keepdim=True), x)
            raise AssertionError("loops refused scores that are finite")
        weights, slopes = solved
        weights = weights.movedim(-1, dim).contiguous()
        ctx.save_for_backward(weights, slopes)
        ctx.alpha, ctx.dim = alpha, dim
        return weights

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None, None]:
        p, slopes = ctx.saved_tensors
        p, gradient = p.movedim(ctx.dim, -1), gradient.movedim(ctx.dim, -1)
        by_scores = entmax_gradient(gradient, p, slopes)
        if by_scores is None:
            by_scores = vector_jacobian(gradient, _slopes(p, slopes, ctx.alpha))
        return by_scores.movedim(-1, ctx.dim), None, None, None, None


class _EntmaxLearned(torch.autograd.Function):
    """Alpha-entmax of the last dimension for a tensor of alphas, differentiable with respect to them."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, top: Tensor, alpha: Tensor) -> Tensor:
        return solve_rows(x, top, alpha)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(output, inputs[2])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, Tensor]:
        p, alpha = ctx.saved_tensors
        by_scores = vector_jacobian(gradient, curvature(p, alpha))
        # steps in float64: close to alpha = 1 two terms in 1/(alpha-1)^2 nearly cancel
        q, excess = p.double(), (alpha.double() - 1).clamp(min=1e-4)
        inside = q > 0
        entropy = -torch.where(inside, q * torch.log(torch.where(inside, q, 1.0)), 0.0)
        t = curvature(q, 1 + excess)
        total = t.sum(-1, keepdim=True)
        share = t / torch.where(total > 0, total, 1.0)
        slope = (q - share) / excess**2 + (entropy - share * entropy.sum(-1, keepdim=True)) / excess
        by_alpha = (gradient.double() * slope).sum(-1, keepdim=True)
        return by_scores, None, by_alpha.sum_to_size(alpha.shape).to(alpha.dtype)
