"""Triton kernel of the package ``adasplash`` for alpha-entmax on CUDA, where it is installed; ours serves where not.

The first call for an alpha on a device compares the kernel with our own steps
there. A kernel that cannot be compiled, or differs by more than rounding, is not
used, with a warning: nobody's weights are those of a kernel that was not checked.
Where both agree the faster one is taken, measured on that device for each size.

Source: Gonçalves, Treviso and Martins, *AdaSplash: adaptive sparse flash attention*,
ICML 2025. ``pip install audioattn[cuda]`` brings the package.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from audioattn_lib.core.tensors import are_real

from ..threshold import solve
from ._autotune import fall_back, is_faster, size_class
from ._numba import whole_power

__all__ = ["MOST_ELEMENTS", "agree", "entmax_weights", "is_on_device", "package"]

Kernel = Callable[..., Tensor]

# What the kernel takes by itself where it has no histogram to start from
_STEPS = 10
_BUDGET = 5e-6
MOST_ELEMENTS = 1 << 30
"""Most elements for the kernels: they index with 32 bits, and padding may double the number."""


def entmax_weights(x: Tensor, top: Tensor, alpha: float, *, is_required: bool = False) -> Tensor | None:
    """Alpha-entmax of the last dimension, or None where the kernel does not serve or ours is faster.

    It serves real float32 scores on CUDA with an alpha of 4/3, 3/2 or 2: it is
    compiled for each alpha, which does not pay for one that changes.

    Parameters
    ----------
    x
        Scores, finite or minus infinity.
    top
        The largest of each row, of size 1 in the last dimension.
    alpha
        Above 1.
    is_required
        Take the kernel wherever it serves, however long it takes.
    """
    fits = x.dtype == torch.float32 and 0 < x.numel() < MOST_ELEMENTS
    if not (fits and whole_power(alpha) and is_on_device(x)):
        return None
    kernel = _checked(float(alpha), x.device)
    if kernel is None:
        return None
    theirs = functools.partial(_run, kernel, x, top, alpha)
    if is_required or is_faster(
        ("triton_entmax for alpha", alpha, "on", x.device),
        size_class(x.shape[-1], x.numel()),
        theirs,
        functools.partial(solve, x, alpha),
    ):
        return theirs()
    return None


def is_on_device(x: Tensor) -> bool:
    """True for real tensors on CUDA."""
    return x.device.type == "cuda" and are_real(x)


@functools.cache
def package() -> Any:
    """The package, or None where it cannot be imported."""
    try:
        import adasplash
    # without a matching Triton the import fails in ways of its own
    except Exception:
        return None
    return adasplash


def agree(kernel_name: str, theirs: Callable[[], Sequence[Tensor]], ours: Sequence[Tensor], budget: float) -> bool:
    """Return True if a kernel agrees with our implementation to an absolute error of ``budget``; warn if not."""
    try:
        errors = [float((a.double() - b.double()).abs().max()) for a, b in zip(theirs(), ours, strict=True)]
    # whatever keeps the compiler of a kernel from working, ours does the same
    except Exception as error:
        fall_back(kernel_name, "fails here", error)
        return False
    if all(error <= budget for error in errors):  # a NaN is not
        return True
    fall_back(
        kernel_name, f"differs from ours by {', '.join(f'{error:.1e}' for error in errors)}, more than {budget:g}"
    )
    return False


def _run(kernel: Kernel, x: Tensor, top: Tensor, alpha: float) -> Tensor:
    # the kernel would make NaN of a row of nothing but minus infinity
    empty = top == -math.inf
    # relative to the largest: far from 0 the threshold would lose its digits
    z = (x - top).masked_fill(empty, 0.0)
    n = z.shape[-1]
    # the kernel is compiled for each length: four of them an octave will do
    step = max(32, 1 << max(n.bit_length() - 3, 0))
    z = F.pad(z, (0, -n % step), value=-math.inf).contiguous()
    with torch.cuda.device_of(z):
        p = kernel(z, alpha=float(alpha), n_iter=_STEPS)[..., :n]
    return (p / p.sum(-1, keepdim=True)).masked_fill(empty, 0.0)


@functools.cache
def _checked(alpha: float, device: torch.device) -> Kernel | None:
    if package() is None:
        return None
    kernel: Kernel = package().triton_entmax
    x = 3 * torch.randn(64, 500, generator=torch.Generator().manual_seed(0)).to(device)
    top = x.amax(-1, keepdim=True)
    kernel_name = f"triton_entmax of adasplash for alpha {alpha:g}"
    fits = agree(kernel_name, lambda: [_run(kernel, x, top, alpha)], [solve(x, alpha)], _BUDGET)
    return kernel if fits else None
