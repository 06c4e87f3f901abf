r"""Attention by dot products, :math:`\mathrm{map}(q k^\top / \sqrt d)\,v`, with softmax or alpha-entmax as the map.

Softmax is run by PyTorch's fused kernel. Alpha-entmax makes the table of pairs,
but for the kernel of the package ``adasplash``, which on CUDA, where it is
installed, finds thresholds and context block by block.

Sources: Vaswani et al., *Attention is all you need*, NeurIPS 2017, section 3.2;
Correia et al., *Adaptively sparse transformers*, EMNLP 2019; Gonçalves, Treviso
and Martins, *AdaSplash: adaptive sparse flash attention*, ICML 2025. Book page:
``attention_patterns``.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from ..maps.entmax import entmax
from ..maps.kernels._adasplash import MOST_ELEMENTS, agree, is_on_device, package
from ..maps.kernels._autotune import is_faster, size_class
from ..maps.kernels._numba import whole_power

__all__ = ["attend"]

Heads = Float[Tensor, "batch heads tokens features"]

# What is computed in the precision of the input agrees to some of its digits
_BUDGETS = {torch.float32: 1e-4, torch.float16: 2e-2, torch.bfloat16: 1e-1}
_HEAD_FEATURES = (16, 32, 64, 128, 256)


def attend(
    query: Heads,
    key: Heads,
    value: Heads,
    *,
    alpha: float = 1.0,
    mask: Tensor | None = None,
    valid: Bool[Tensor, "batch keys"] | None = None,
) -> Heads:
    r"""Context :math:`\alpha\text{-entmax}(q k^\top / \sqrt d)\,v` of every query.

    Parameters
    ----------
    query, key, value
        ``(B, heads, m, d)``, and twice ``(B, heads, n, d)``.
    alpha
        At least 1; 1 is softmax.
    mask
        True where a query may read a key, or what is added to the scores;
        broadcasts with them.
    valid
        False on keys that are padding, ``(B, n)``: nothing reads them. Where it
        is given the queries are those of the last ``m`` of the same ``n``
        tokens, and what padding itself reads is finite but means nothing.

    Returns
    -------
    context
        ``(B, heads, m, d)``, in the dtype of the query; once differentiable
        where a fused kernel serves, and twice where the table is made.

    Raises
    ------
    ConfigError
        If ``alpha`` is below 1 or not finite.

    Notes
    -----
    The kernel of ``adasplash`` serves without a ``mask``, for an alpha of 4/3,
    3/2 or 2 and heads of 16, 32, 64, 128 or 256 features. Where it agrees with
    the table of pairs, the one is taken that was faster for these sizes on this
    device, with the gradient if one is wanted. Book page: ``attention_patterns``.
    """
    if alpha != 1 and mask is None and (context := _by_blocks(query, key, value, alpha, valid)) is not None:
        return context
    return _by_table(query, key, value, alpha, mask, valid)


def _by_table(
    query: Tensor, key: Tensor, value: Tensor, alpha: float, mask: Tensor | None, valid: Tensor | None
) -> Tensor:
    """Context from the table of all pairs, or from a fused kernel for softmax."""
    if valid is not None:
        seen = valid[:, None, None]
        if mask is None:
            mask = seen
        else:
            mask = mask & seen if mask.dtype == torch.bool else mask.masked_fill(~seen, -torch.inf)
    if alpha == 1:
        try:
            return F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        except NotImplementedError:  # fused kernels have no forward mode
            with sdpa_kernel(SDPBackend.MATH):
                return F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    dtype = torch.promote_types(query.dtype, torch.float32)
    with torch.autocast(query.device.type, enabled=False):  # scores in half precision would be those of other weights
        scores = query.to(dtype) @ key.to(dtype).transpose(-1, -2) * query.shape[-1] ** -0.5
    if mask is not None and mask.dtype != torch.bool:
        scores, mask = scores + mask, None
    return entmax(scores, alpha, mask=mask).to(value.dtype) @ value


def _by_blocks(query: Tensor, key: Tensor, value: Tensor, alpha: float, valid: Tensor | None) -> Tensor | None:
    """Context without a table of pairs, or None where the kernel does not serve."""
    m, n, features = query.shape[2], key.shape[2], query.shape[3]
    alike = query.dtype == key.dtype == value.dtype and key.shape == value.shape
    # the kernel prepares a gradient only if the query wants one
    learns = query.requires_grad or not (key.requires_grad or value.requires_grad)
    # queries are filled up to as many as there are keys
    fits = 0 < m <= n <= 2 * m and features in _HEAD_FEATURES and query.dtype in _BUDGETS
    fits = fits and 0 < key.numel() < MOST_ELEMENTS
    if not (alike and learns and fits and alpha > 1 and whole_power(alpha) and is_on_device(query)):
        return None
    kernel = _checked(float(alpha), features, query.dtype, query.device)
    if kernel is None:
        return None
    inputs = (query, key, value)
    blocks = functools.partial(_run, kernel, alpha=alpha, valid=valid)
    table = functools.partial(_by_table, alpha=alpha, mask=None, valid=valid)
    differentiate = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in inputs)
    operation = (
        "attention of adasplash for alpha",
        alpha,
        "with",
        features,
        "features in",
        query.dtype,
        "on",
        query.device,
    )
    if is_faster(
        (*operation, "padded" if valid is not None else "", "differentiated" if differentiate else ""),
        size_class(len(key) * key.shape[1], m, n),
        functools.partial(_attend_once, blocks, inputs, differentiate),
        functools.partial(_attend_once, table, inputs, differentiate),
    ):
        return blocks(*inputs)
    return None


def _attend_once(context: Callable[..., Tensor], inputs: tuple[Tensor, ...], differentiate: bool) -> None:
    """Run one forward pass, and one backward pass if ``differentiate``, on detached copies of the inputs."""
    copies = [tensor.detach().requires_grad_(differentiate) for tensor in inputs]
    output = context(*copies)
    if differentiate:
        torch.autograd.grad(output, copies, torch.ones_like(output))


def _run(
    kernel: Callable[..., Tensor], query: Tensor, key: Tensor, value: Tensor, alpha: float, valid: Tensor | None
) -> Tensor:
    n, missing = key.shape[2], key.shape[2] - query.shape[2]
    tensors = [F.pad(query, (0, 0, missing, 0)), key, value]
    if valid is None:
        lengths = torch.full((len(key),), n, dtype=torch.int32, device=key.device)
    else:
        # the kernel knows padding at the end only
        lengths = valid.sum(1, dtype=torch.int32)
        order = valid.logical_not().to(torch.int8).argsort(dim=1, stable=True)  # (B, n)
        tensors = [_take(tensor, order) for tensor in tensors]
    with torch.cuda.device_of(key):
        context = kernel(
            *(tensor.contiguous() for tensor in tensors), alpha=float(alpha), is_causal=False, varlen=lengths
        )
    if valid is not None:
        context = _take(context, order.argsort(dim=1))
    return context[:, :, missing:]


def _take(x: Tensor, tokens: Tensor) -> Tensor:
    return x.gather(2, tokens[:, None, :, None].expand_as(x))


@functools.cache
@torch.inference_mode(False)
@torch.enable_grad()
def _checked(alpha: float, features: int, dtype: torch.dtype, device: torch.device) -> Callable[..., Tensor] | None:
    if package() is None:
        return None
    # the other one, with a mask of blocks, writes past the end of this mask where the length is not one of whole blocks
    kernel: Callable[..., Tensor] = package().adasplash_no_block_mask
    generator = torch.Generator().manual_seed(0)
    tensors = torch.randn(4, 2, 2, 130, features, generator=generator).to(device, dtype)
    valid = torch.arange(130, device=device) >= torch.tensor([[0], [53]], device=device)

    def differentiate(context: Callable[..., Tensor], dtype: torch.dtype) -> list[Tensor]:
        inputs = [tensor.to(dtype).requires_grad_() for tensor in tensors[:3]]
        with torch.autocast(device.type, enabled=False):
            output = context(*inputs) * valid[:, None, :, None]
        return [output.detach(), *torch.autograd.grad(output, inputs, tensors[3].to(dtype))]

    def reference(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        scores = query @ key.transpose(-1, -2) / math.sqrt(features)
        return entmax(scores, alpha, mask=valid[:, None, None], implementation="ours") @ value

    # the gradient of sparsemax jumps where a key joins the support: in half precision rounding decides
    compared = 1 if alpha == 2 and dtype != torch.float32 else 4
    fits = agree(
        f"attention of adasplash for alpha {alpha:g} and {features} features in {dtype}",
        lambda: differentiate(lambda q, k, v: _run(kernel, q, k, v, alpha, valid), dtype)[:compared],
        differentiate(reference, torch.float64)[:compared],
        _BUDGETS[dtype],
    )
    return kernel if fits else None
