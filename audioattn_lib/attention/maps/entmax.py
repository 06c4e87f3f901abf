r"""Maps from scores to attention weights: softmax, sparsemax and everything between.

All of them solve one problem. With :math:`\Delta` the simplex and
:math:`H_\alpha` the Tsallis :math:`\alpha`-entropy,

.. math::

   p^\star(x) = \arg\max_{p \in \Delta}\; p^\top x + H_\alpha(p),

   H_\alpha(p) = \frac{1 - \sum_i p_i^\alpha}{\alpha(\alpha-1)},

whose solution is :math:`p_i = [(\alpha-1)x_i - \tau]_+^{1/(\alpha-1)}` with the
threshold :math:`\tau` that makes the weights sum to 1: softmax for
:math:`\alpha = 1`, sparsemax for 2.

The threshold comes from :mod:`audioattn_lib.attention.maps.threshold`, or on CUDA
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

from audioattn_lib.core.errors import ConfigError
from audioattn_lib.core.tensors import is_exporting

from ._checks import align_alpha, check_alpha, prepare, refuse_non_finite
from ._standard import entmax_of_standard_operations
from .kernels._adasplash import entmax_weights as entmax_weights_on_device
from .kernels._numba import are_compiled, entmax_gradients, entmax_weights
from .threshold import solve

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
"""Solvers of the threshold of alpha-entmax; ``auto`` selects the faster one where both apply."""

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
    The weights are those of exact arithmetic, rounded to the dtype: those of
    float32 scores within an ulp each, down to weights of 1e-11, those of float64
    scores within 1e-13, for every ``alpha`` and up to 100,000 scores. The kernel of
    ``adasplash`` has the precision of float32 steps. Function transforms: ``vmap``,
    ``grad``, ``jacrev``, ``jvp``, ``jacfwd``, ``hessian`` and those of each other,
    of scores and ``alpha`` alike, but not forward mode of forward mode, which is
    refused.

    The published code of the variant ``entmax1333`` has an ``alpha`` of 1.333, and
    ours 4/3; its weights are those of ``alpha=1.333``.

    In a graph for other programs (``torch.export``, ONNX) the weights are computed by standard operations, within
    1e-6 of these.

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
    is_required = implementation == "adasplash"
    if implementation != "auto":
        _check_implementation(implementation)
    if not isinstance(alpha, Tensor):
        check_alpha(alpha)
        if alpha == 1 and not is_required:
            return softmax(scores, dim, mask)
    if is_required and (isinstance(alpha, Tensor) or alpha == 1):
        raise _not_served(scores, alpha)
    x = prepare(scores, dim, mask)
    if isinstance(alpha, Tensor):
        alpha = align_alpha(alpha, scores, dim)
    dim = dim if dim < 0 else dim - scores.ndim
    if dim != -1:
        x = x.movedim(dim, -1)
    if is_exporting() and not is_required:
        weights = entmax_of_standard_operations(x, alpha)
    elif torch.compiler.is_compiling():
        if is_required:
            raise _not_served(scores, alpha)
        weights = _traced_rows(x, alpha, dim) if isinstance(alpha, Tensor) else _traced(x, float(alpha), dim)
    elif torch._C._are_functorch_transforms_active():
        _refuse_forward_twice()
        if isinstance(alpha, Tensor) and alpha.ndim == 0:  # batches of it need the axes
            alpha = alpha.reshape((1,) * x.ndim)
        differentiate = x.requires_grad and torch.is_grad_enabled()
        weights = _EntmaxInTransforms.apply(x, alpha, dim, differentiate, implementation)[0]
    elif _needs_derivative(x) or (isinstance(alpha, Tensor) and _needs_derivative(alpha)):
        weights = _Entmax.apply(x, alpha, dim, implementation)
    else:
        weights = _solve(x, alpha, dim, False, implementation)[0]
    if dim != -1:
        weights = weights.movedim(-1, dim).contiguous()
    return weights if weights.dtype == scores.dtype else weights.to(scores.dtype)


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
    value = "a tensor" if isinstance(alpha, Tensor) else f"{alpha:g}"
    return ConfigError(
        f"implementation is 'adasplash', alpha {value} and the scores {scores.dtype} on {scores.device}; the kernel "
        "needs the package adasplash, a CUDA device, alpha 4/3, 3/2 or 2 and at most float32: 'auto' takes ours instead"
    )


def _refuse_forward_twice() -> None:
    """Raise inside of two forward-mode transforms, where PyTorch takes the derivative of a Function for constant."""
    stack = torch._C._functorch.get_interpreter_stack() or ()
    if sum(level.key() == torch._C._functorch.TransformType.Jvp for level in stack) > 1:
        raise NotImplementedError(
            "entmax is inside two forward-mode transforms, as in jacfwd(jacfwd(f)), whose result would be wrong; "
            "take jacfwd(jacrev(f)), which is torch.func.hessian, or jacrev(jacfwd(f))"
        )


def _needs_derivative(tensor: Tensor) -> bool:
    """True for a tensor that has a tangent, or of which autograd keeps a record."""
    if tensor.requires_grad and torch.is_grad_enabled():
        return True
    return torch.autograd.forward_ad.unpack_dual(tensor).tangent is not None


def _solve(
    x: Tensor, alpha: float | Tensor, dim: int, differentiate: bool, implementation: str
) -> tuple[Tensor, Tensor | None]:
    """Weights of the last dimension, which was ``dim``, and what the solver leaves for the gradient, or None."""
    if are_compiled(x) and implementation != "adasplash":
        solved = entmax_weights(x, alpha, slopes=differentiate)
        if solved is not None:
            return solved
    top = x.amax(-1, keepdim=True)
    refuse_non_finite(top, x.movedim(-1, dim))
    if implementation != "ours" and not isinstance(alpha, Tensor):
        weights = entmax_weights_on_device(x, top, alpha, is_required=implementation == "adasplash")
        if weights is not None:
            return weights, None
        if implementation == "adasplash":
            raise _not_served(x, alpha)
    return solve(x, alpha), None


def curvature(p: Tensor, alpha: float | Tensor) -> Tensor:
    """p^(2 - alpha) on the support and 0 off it; its derivative too is 0 off it."""
    inside = p > 0
    s = torch.where(inside, torch.where(inside, p, 1.0) ** (2 - alpha), 0.0)
    # above alpha = 2 it grows without bound as p falls to 0, and products with it are to stay finite
    return s.clamp(max=1e150 if p.dtype == torch.float64 else 1e30)


def vector_jacobian(vector: Tensor, s: Tensor) -> Tensor:
    r"""Product of a vector with the symmetric :math:`\mathrm{diag}(s) - s s^\top / \sum s`."""
    # about the value at the largest s, whose differences from it are the large terms where alpha is above 2
    at = s.detach().argmax(-1, keepdim=True)
    vector = vector - torch.take_along_dim(vector, at, -1)
    weighted = s * vector
    # a row without weights has nothing to divide
    mean = weighted.sum(-1, keepdim=True) / s.sum(-1, keepdim=True).clamp(min=1e-30)
    return torch.addcmul(weighted, s, mean, value=-1)


def slope_of_alpha(p: Tensor, alpha: Tensor) -> Tensor:
    r"""Derivative of the weights with respect to alpha, in float64 and without cancellation close to 1.

    With :math:`\epsilon = \alpha - 1`, :math:`\ell = \log p`, :math:`H = -\sum p \ell`,
    :math:`\varphi = (e^{-\epsilon\ell} - 1 + \epsilon\ell) / \epsilon^2` and
    :math:`\Phi = \sum p \varphi` it is
    :math:`p\,[\Phi - \varphi - \epsilon(\ell \Phi + \varphi H)] / (1 + \epsilon H + \epsilon^2 \Phi)`.
    """
    q = p.double()
    total = q.sum(-1, keepdim=True)
    q = q / torch.where(total > 0, total, 1.0)
    over = alpha.double() - 1
    logarithm = torch.where(q > 0, q, 1.0).log()
    y = over * logarithm
    near = y > -0.1
    small = torch.where(near, y, 0.0)
    series = torch.full_like(y, 1 / math.factorial(8))
    for power in range(7, 1, -1):
        series = 1 / math.factorial(power) - small * series
    away = torch.where(near, -1.0, y)
    phi = torch.where(near, series, (torch.expm1(-away) + away) / away.square()) * logarithm.square()
    mean = (q * phi).sum(-1, keepdim=True)
    entropy = -(q * logarithm).sum(-1, keepdim=True)
    inner = mean - phi - over * (logarithm * mean + phi * entropy)
    return q * inner / (1 + over * entropy + over.square() * mean)


class _Entmax(torch.autograd.Function):
    """Alpha-entmax of the last dimension for one alpha or a tensor of them.

    Of the two forms of a Function this is the one with less to do in each call; function transforms need the other.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, alpha: float | Tensor, dim: int, implementation: str) -> Tensor:
        weights, slopes = _solve(x, alpha, dim, ctx.needs_input_grad[0], implementation)
        _keep(ctx, alpha, weights, slopes)
        return weights

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        return (*_backward(ctx, gradient), None, None)

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor | None) -> Tensor:
        return _jvp(ctx, *tangents[:2])


class _EntmaxInTransforms(torch.autograd.Function):
    """The same inside of function transforms; what the solver leaves must there be a result."""

    @staticmethod
    def forward(
        x: Tensor, alpha: float | Tensor, dim: int, differentiate: bool, implementation: str
    ) -> tuple[Tensor, Tensor]:
        weights, slopes = _solve(x, alpha, dim, differentiate, implementation)
        return weights, x.new_empty(0) if slopes is None else slopes

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        ctx.mark_non_differentiable(output[1])
        _keep(ctx, inputs[1], *output)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        return (*_backward(ctx, gradient), None, None, None)

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor | None) -> tuple[Tensor, None]:
        return _jvp(ctx, *tangents[:2]), None

    @staticmethod
    def vmap(
        info: Any, in_dims: tuple[int | None, ...], x: Tensor, alpha: float | Tensor, *options: Any
    ) -> tuple[tuple[Tensor, Tensor], tuple[int, int]]:
        # rows are independent, so that a batch of them is one call, for which the loops serve
        x = x.movedim(in_dims[0], 0) if in_dims[0] is not None else x.expand(info.batch_size, *x.shape)
        if isinstance(alpha, Tensor):
            alpha = alpha.movedim(in_dims[1], 0) if in_dims[1] is not None else alpha.unsqueeze(0)
        weights, slopes = _EntmaxInTransforms.apply(x, alpha, *options)
        # the slopes are not used inside of a transform, and empty ones have no rows to be a batch of
        return (weights, slopes.expand(info.batch_size, *slopes.shape)), (0, 0)


def _keep(ctx: Any, alpha: float | Tensor, weights: Tensor, slopes: Tensor | None) -> None:
    """Save the weights, the slopes of the solver and alpha for the derivatives."""
    ctx.alpha = None if isinstance(alpha, Tensor) else alpha
    tensors = (weights, slopes, None if ctx.alpha else alpha)
    ctx.save_for_backward(*tensors)
    ctx.save_for_forward(*tensors)


def _backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor | None]:
    p, slopes, alpha = ctx.saved_tensors
    of_alpha = alpha is not None and ctx.needs_input_grad[1]
    alpha = ctx.alpha if alpha is None else alpha
    compiled = entmax_gradients(gradient, p, slopes, alpha, of_alpha=of_alpha)
    if compiled is not None:
        by_scores, by_alpha = compiled
    else:
        by_scores = vector_jacobian(gradient, curvature(p, alpha)).to(p.dtype)
        by_alpha = (gradient.double() * slope_of_alpha(p, alpha)).sum(-1, keepdim=True) if of_alpha else None
    if by_alpha is not None:
        by_alpha = (by_alpha.sum_to_size(alpha.shape) if alpha.ndim else by_alpha.sum()).to(alpha.dtype)
    return by_scores, by_alpha


def _jvp(ctx: Any, by_scores: Tensor | None, by_alpha: Tensor | None) -> Tensor:
    p, _, alpha = ctx.saved_tensors
    learned = alpha is not None
    alpha = alpha if learned else ctx.alpha
    result = torch.zeros_like(p) if by_scores is None else vector_jacobian(by_scores, curvature(p, alpha))
    if learned and by_alpha is not None:
        result = result + by_alpha * slope_of_alpha(p, alpha)
    return result.to(p.dtype)


@torch.library.custom_op("audioattn::entmax", mutates_args=())
def _traced(x: Tensor, alpha: float, dim: int) -> Tensor:
    """Alpha-entmax of the last dimension as one operation of a compiler's graph, which the steps would swell."""
    return _solve(x, alpha, dim, False, "ours")[0].contiguous()


@torch.library.custom_op("audioattn::entmax_rows", mutates_args=())
def _traced_rows(x: Tensor, alpha: Tensor, dim: int) -> Tensor:
    return _solve(x, alpha, dim, False, "ours")[0].contiguous()


@_traced.register_fake
@_traced_rows.register_fake
def _fake(x: Tensor, alpha: float | Tensor, dim: int) -> Tensor:
    return torch.empty(x.shape, dtype=x.dtype, device=x.device)


def _keep_for_backward(ctx: Any, inputs: tuple[Tensor, float | Tensor, int], output: Tensor) -> None:
    alpha = inputs[1]
    ctx.alpha = None if isinstance(alpha, Tensor) else alpha
    ctx.save_for_backward(output, *([alpha] if isinstance(alpha, Tensor) else []))


def _traced_backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor | None, None]:
    p, *saved_alpha = ctx.saved_tensors
    alpha = saved_alpha[0] if saved_alpha else ctx.alpha
    by_scores = vector_jacobian(gradient, curvature(p, alpha)).to(p.dtype)
    if not saved_alpha:
        return by_scores, None, None
    by_alpha = (gradient.double() * slope_of_alpha(p, alpha)).sum(-1, keepdim=True)
    return by_scores, by_alpha.sum_to_size(alpha.shape).to(alpha.dtype), None


_traced.register_autograd(_traced_backward, setup_context=_keep_for_backward)
_traced_rows.register_autograd(_traced_backward, setup_context=_keep_for_backward)
