r"""Another map from scores to weights in the attention of a model that was not made here.

While a block runs, ``torch.nn.functional.scaled_dot_product_attention`` is

.. math:: \pi(Q K^\top s + M)\, V

with a map :math:`\pi` such as sparsemax in place of softmax. Weights that were
trained with softmax are not made for another map: this is where fine-tuning
begins, or an ablation.

Book page: ``your_sounds``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from audioattn_lib.core.errors import ConfigError

from .capture import refuse_unseen

__all__ = ["replace_attention"]

Normalizer = Callable[..., Tensor]


@contextmanager
def replace_attention(model: nn.Module, normalizer: Normalizer) -> Iterator[None]:
    """Let every scaled dot-product attention of a model use another map while the block runs.

    Parameters
    ----------
    model
        Any PyTorch model that calls ``scaled_dot_product_attention`` or uses ``torch.nn.MultiheadAttention``; called in
        the block, for training too.
    normalizer
        From scores ``(..., queries, keys)`` and ``mask`` of the same shape, True for keys that take part, to weights:
        :func:`~audioattn_lib.attention.maps.entmax.sparsemax`, a module such as
        :class:`~audioattn_lib.attention.maps.learned.LearnedEntmax`, or a function of one's own.

    Raises
    ------
    ConfigError
        When the model is compiled, scripted, quantised or replicated over devices.

    Notes
    -----
    Scores are float32 at least; dropout applies to the weights. A query without any key gives 0. Attention that a model
    computes by its own matrix products stays as it is; :func:`.capture.capture` in the block shows what was replaced.
    Book page: ``your_sounds``.

    Examples
    --------
    >>> import torch
    >>> from audioattn_lib.attention.maps.entmax import sparsemax
    >>> layer = torch.nn.MultiheadAttention(8, 2)
    >>> x = torch.randn(5, 1, 8)
    >>> with replace_attention(layer, sparsemax):
    ...     layer(x, x, x, need_weights=False)[0].shape
    torch.Size([5, 1, 8])
    """
    refuse_unseen(model)
    if not callable(normalizer):
        raise ConfigError(f"normalizer is {normalizer!r}; it must be a function of scores and mask, such as sparsemax")
    attend = _Attend(normalizer)
    # multi_head_attention_forward calls it by its name, within a function that a mode does not look into
    with mock.patch.object(F, "scaled_dot_product_attention", attend), _Replace(attend):
        yield


class _Replace(TorchFunctionMode):
    """Hands the calls over; a mode also turns the fast paths off that call no function."""

    def __init__(self, attend: _Attend) -> None:
        super().__init__()
        self.attend = attend

    def __torch_function__(self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is _SCALED_DOT_PRODUCT:
            return self.attend(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


_SCALED_DOT_PRODUCT = F.scaled_dot_product_attention


class _Attend:
    """Scaled dot-product attention with another map; arguments as those of PyTorch's."""

    def __init__(self, normalizer: Normalizer) -> None:
        self.normalizer = normalizer

    def __call__(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> Tensor:
        if enable_gqa:
            groups = query.shape[-3] // key.shape[-3]
            key, value = key.repeat_interleave(groups, -3), value.repeat_interleave(groups, -3)
        kind = torch.promote_types(query.dtype, torch.float32)
        scores = (query.to(kind) @ key.to(kind).mT) * (query.shape[-1] ** -0.5 if scale is None else scale)
        mask = None
        if is_causal:
            mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=query.device).tril()
        elif attn_mask is not None and attn_mask.dtype == torch.bool:
            mask = attn_mask
        elif attn_mask is not None:
            mask = attn_mask > -torch.inf
            scores = scores + attn_mask.masked_fill(~mask, 0.0)
        weights = self.normalizer(scores, mask=None if mask is None else mask.expand(scores.shape))
        if dropout_p:
            weights = F.dropout(weights, dropout_p)
        return weights.to(value.dtype) @ value
