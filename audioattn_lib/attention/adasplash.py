r"""Alpha-entmax on a CUDA device by the Triton kernels of the package ``adasplash``, for those who ask for it.

The maps of :mod:`audioattn_lib.attention.maps` run on CUDA too and are what
everything in this library uses. This module is the other choice: **it has not
been run on a CUDA device by this project**, neither for speed nor for accuracy,
so nothing takes it unasked. The tests marked ``cuda`` compare the two.

``pip install audioattn[cuda]`` brings the package. Source of the kernels:
Gonçalves, Treviso and Martins, *AdaSplash: adaptive sparse flash attention*, ICML
2025. Book page: ``from_softmax_to_sparsemax``.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ._checks import check_alpha, prepare
from ._values import are_real
from .maps import curvature, entmax, vector_jacobian

__all__ = ["adasplash_entmax"]

# what the kernels take by themselves where they have no histogram to start from
_STEPS = 10


def adasplash_entmax(
    scores: Float[Tensor, "*shape"],
    alpha: float = 1.5,
    dim: int = -1,
    mask: Bool[Tensor, "*mask"] | None = None,
) -> Float[Tensor, "*shape"]:
    r""":func:`~audioattn_lib.attention.maps.entmax` with the threshold found by ``adasplash``.

    Parameters
    ----------
    scores, dim, mask
        As for :func:`~audioattn_lib.attention.maps.entmax`.
    alpha
        At least 1, a number.

    Returns
    -------
    weights
        In the dtype of the scores, computed in float32, made to sum to 1. The
        gradient is this library's, exact and twice differentiable.

    Raises
    ------
    ConfigError
        If ``alpha`` is below 1 or not finite.
    ValueError
        If shapes or dtypes do not fit. As on every device nobody waits for the
        answer whether scores are finite.

    Notes
    -----
    The kernels serve real float32 and half precision tensors on CUDA with
    ``alpha`` above 1 and at most 2, where ``adasplash`` can be imported. Every
    other case is given to :func:`~audioattn_lib.attention.maps.entmax`. The
    kernels treat :math:`[z-\tau]_+` below 1e-6 as 1e-6 where ``alpha`` is
    neither 1.5 nor 2. Not measured on a CUDA device so far.

    Book page: ``from_softmax_to_sparsemax``.
    """
    check_alpha(alpha)
    if not (1 < alpha <= 2 and scores.dtype != torch.float64 and _on_device(scores) and _kernel() is not None):
        return entmax(scores, alpha, dim, mask)
    x = prepare(scores, dim, mask).movedim(dim, -1)
    return _EntmaxTriton.apply(x, alpha).movedim(-1, dim).to(scores.dtype)


class _EntmaxTriton(torch.autograd.Function):
    """Weights by the kernel, gradient from the weights."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, alpha: float) -> Tensor:
        kernel = _kernel()
        assert kernel is not None
        # the kernel would make NaN of a row of nothing but minus infinity
        empty = x.amax(-1, keepdim=True) == -math.inf
        p = kernel(x.masked_fill(empty, 0.0).contiguous(), alpha=float(alpha), n_iter=_STEPS)
        p = (p / p.sum(-1, keepdim=True)).masked_fill(empty, 0.0)
        ctx.save_for_backward(p)
        ctx.alpha = alpha
        return p

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (p,) = ctx.saved_tensors
        return vector_jacobian(gradient, curvature(p, ctx.alpha)), None


def _on_device(scores: Tensor) -> bool:
    return scores.device.type == "cuda" and are_real(scores)


@functools.cache
def _kernel() -> Callable[..., Tensor] | None:
    try:
        from adasplash import triton_entmax
    # without a matching Triton the import fails in ways of its own
    except Exception:
        return None
    return triton_entmax
