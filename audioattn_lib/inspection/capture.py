r"""Capture of the attention weights of a model that was not made here.

While a block runs, every call of ``torch.nn.functional.scaled_dot_product_attention``
and of ``multi_head_attention_forward``, every ``torch.nn.MultiheadAttention``
every module that returns its weights, and every softmax within a module whose class is
named an attention leaves

.. math:: A = \operatorname{softmax}(Q K^\top s + M)

with the scale :math:`s` and the mask :math:`M` of the call. Fused kernels return
no weights, so these are computed from queries and keys, in blocks of rows. The
model runs as it would alone: its kernels, its fast paths, its random numbers and
its gradients stay, so its output does not change by a bit.

Book page: ``your_sounds``.
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.overrides import TorchFunctionMode

from audioattn_lib.attention.record.record import AttentionRecord
from audioattn_lib.core.errors import ConfigError

from .known_models import tokens_of, windows_of
from .reductions import OF_ALL_QUERIES, OF_GRADIENTS, OF_VALUES, Tokens, attention_record, find_sinks
from .tokens import WindowTokens

__all__ = ["CapturedAttention", "capture", "refuse_unseen"]

_BLOCK = 64 << 20
"""Bytes of scores that are computed at once."""

# These choose a fused kernel by themselves, unless something watches the functions that they call.
_WITH_FAST_PATH = (nn.MultiheadAttention, nn.TransformerEncoderLayer, nn.TransformerEncoder)
_SUPPORTED = (
    "torch.nn.MultiheadAttention, torch.nn.functional.scaled_dot_product_attention, modules that return weights, "
    "and a softmax in a module whose class is named an attention or attentive pooling"
)
_SOFTMAX = (F.softmax, torch.softmax, Tensor.softmax)
_WITHIN_WINDOWS = ("window", "swin", "clapaudio")
"""In the lower-case name of a class whose attention stays within windows, which lie on the axis of the batch."""
_OUTPUT_PROJECTIONS = ("out_proj", "o_proj", "to_out", "proj")
"""Names under which attention modules keep the projection behind their heads."""


class CapturedAttention:
    """Attention weights taken by :func:`capture`.

    Attributes
    ----------
    calls
        Weights of each call by the name of the layer in ``named_modules()``, each of shape
        ``(batch, heads, queries, keys)``, in the dtype of the queries, detached.
    windowed
        Layers whose attention stays within windows, and the class of each; their first axis holds the windows of
        all clips.
    """

    def __init__(self, model: nn.Module, queries: Tensor | None, received: bool) -> None:
        self.calls: dict[str, list[Tensor]] = {}
        self.windowed: dict[str, str] = {}
        self._gradients: dict[str, list[Tensor | None]] | None = None
        self._value_norms: dict[str, list[Tensor | None]] | None = None
        self._model = model
        self._queries = queries
        self._received = received

    @property
    def weights(self) -> dict[str, Tensor]:
        """Weights by the name of the layer, shape ``(batch, heads, queries, keys)``; calls follow each other.

        Raises
        ------
        ValueError
            When no attention was seen, or the calls of a layer differ in shape; take them from ``calls`` then.
        """
        if not self.calls:
            raise ValueError(_describe_unseen(self._model))
        return _join(self.calls)

    @property
    def gradients(self) -> dict[str, Tensor]:
        r"""Gradients of what ``backward`` was called on with respect to the weights, in their shape.

        Of heads :math:`O = A V` it is :math:`\partial y / \partial A = (\partial y / \partial O) V^\top`, so that the
        kernel of the model need not give any weights.

        Raises
        ------
        ValueError
            When they were not asked for, or a layer has none: no ``backward`` was called, or gradients were off.
        """
        return self._extra("gradients", self._gradients, "call backward() on a score of a class, with gradients on")

    @property
    def value_norms(self) -> dict[str, Tensor]:
        r"""Norm :math:`\lVert v_j W_O \rVert` of the value of each key behind the output projection of its head.

        Shape ``(batch, heads, keys)``. The projection is that of the module, where it has one by a usual name
        (``out_proj``, ``o_proj``, ``to_out``, ``proj``), and the identity elsewhere.

        Raises
        ------
        ValueError
            When they were not asked for, or a layer computes its attention by products of its own.
        """
        return self._extra("values", self._value_norms, "it computes attention by products of its own")

    def _extra(self, option: str, calls: dict[str, list[Tensor | None]] | None, hint: str) -> dict[str, Tensor]:
        if calls is None:
            raise ValueError(f"{option} were not kept; capture with {option}=True")
        tensors: dict[str, list[Tensor]] = {}
        for name in self.calls:
            own = [each for each in calls.get(name, [None]) if each is not None]
            if len(own) != len(self.calls[name]):
                raise ValueError(f"layer {name!r} has no {option}: {hint}")
            tensors[name] = own
        return _join(tensors)

    def record(
        self,
        tokens: Tokens | WindowTokens | None = None,
        *,
        reduction: str = "received",
        layers: str | Sequence[str] | None = None,
        query: int | None = 0,
        clips: Sequence[str] = (),
        durations: Sequence[float] | None = None,
        by_layer: bool = False,
    ) -> AttentionRecord:
        """Attention over time, or over time and frequency; see :func:`.reductions.attention_record`.

        Without ``tokens`` their clock is that of the model, if it is known; see :func:`.known_models.tokens_of`. Layers
        that attend within windows have ``received`` alone.
        """
        tokens = tokens or windows_of(self._model) or tokens_of(self._model)
        selected = [layers] if isinstance(layers, str) else layers
        if isinstance(tokens, WindowTokens):
            return self._windowed_record(tokens, selected, reduction, clips, durations, by_layer)
        for name, kind in self.windowed.items():
            if selected is None or name in selected:
                raise ConfigError(
                    f"layer {name!r} ({kind}) attends within windows, and no clock of windows is known; read "
                    "`weights`, whose first axis holds the windows, or name layers without windows"
                )
        if self._queries is not None or self._received:
            # the row or the mean that was kept is all there is
            reduction, query = ("received", 0) if self._received else (reduction, query)
            if reduction in OF_ALL_QUERIES:
                raise ValueError(
                    f"{reduction} needs the weights of all queries; capture them without queries and received"
                )
        return attention_record(
            self.weights,
            tokens,
            reduction=reduction,
            layers=layers,
            query=query,
            clips=clips,
            durations=durations,
            gradients=self.gradients if reduction in OF_GRADIENTS else None,
            value_norms=self.value_norms if reduction in OF_VALUES else None,
            by_layer=by_layer,
        )

    def _windowed_record(
        self,
        tokens: WindowTokens,
        layers: Sequence[str] | None,
        reduction: str,
        clips: Sequence[str],
        durations: Sequence[float] | None,
        by_layer: bool,
    ) -> AttentionRecord:
        """Attention received by the patches of one layer, or of several of one size, without windows and folds."""
        if reduction != "received" or self._queries is not None:
            raise ConfigError(
                f"reduction is {reduction!r}; layers that attend within windows have received alone, of all queries"
            )
        taken = self.weights
        names = list(layers or (taken if by_layer else [*taken][-1:]))
        for name in names:
            if name not in taken:
                raise ConfigError(f"no layer {name!r}; there are {', '.join(map(repr, taken))}")
        if len({tokens.patches(name).frames for name in names}) > 1:
            raise ConfigError(f"layers {', '.join(map(repr, names))} have patches of different sizes; name some alike")
        rows = {name: tokens.received(name, taken[name]) for name in names}
        patches = tokens.patches(names[0])
        return attention_record(rows, patches, layers=names, clips=clips, durations=durations, by_layer=by_layer)

    def sinks(
        self, share: float = 0.25, *, times: float = 10.0, ends: Sequence[int] | None = None
    ) -> dict[str, list[tuple[int, float]]]:
        """Tokens that take much of a layer's attention whatever is in the clip; see :func:`.reductions.find_sinks`."""
        return find_sinks(self.weights, share, times=times, ends=ends)

    def __repr__(self) -> str:
        sizes = {name: tuple(calls[0].shape) for name, calls in self.calls.items()}
        return f"CapturedAttention({sizes})"

    def _add(self, name: str, weights: Tensor, heads: _Heads | None) -> None:
        self.calls.setdefault(name, []).append(weights)
        if self._value_norms is not None:
            norms = None if heads is None or heads.value is None else heads.norms()
            self._value_norms.setdefault(name, []).append(norms)
        if self._gradients is not None:
            calls = self._gradients.setdefault(name, [])
            calls.append(None)
            if heads is not None and heads.output.requires_grad:
                heads.output.register_hook(partial(_keep_gradient, calls, len(calls) - 1, heads, weights.dtype))


def _join(calls: dict[str, list[Tensor]]) -> dict[str, Tensor]:
    joined = {}
    for name, own in calls.items():
        shapes = {tuple(call.shape[1:]) for call in own}
        if len(shapes) > 1:
            raise ValueError(f"layer {name!r} was called with different lengths {sorted(shapes)}; read `calls`")
        joined[name] = own[0] if len(own) == 1 else torch.cat(own)
    return joined


@dataclass(frozen=True)
class _Heads:
    """Between weights and output of an attention: values and what leads from them to the output."""

    output: Tensor
    value: Tensor | None = None  # (batch, heads, keys, size)
    projection: Tensor | None = None  # (heads * size, out)
    dim: int | None = None  # of the keys, for weights without an axis of queries
    behind_projection: bool = False  # the output is (queries, batch, out), or (batch, queries, out)
    batch_first: bool = True

    def norms(self) -> Tensor:
        assert self.value is not None
        if self.projection is None:
            return self.value.float().norm(dim=-1)
        value, projection = self.value.float(), self.projection.float()
        heads, size = value.shape[1], value.shape[-1]
        # |v W|^2 = v (W W^T) v^T, so that no array of keys by the width of the model is made for each head
        each = projection.reshape(heads, size, -1)
        gram = each @ each.mT
        return ((value @ gram) * value).sum(-1).clamp_min(0).sqrt()

    def of_weights(self, gradient: Tensor) -> Tensor:
        """Gradient with respect to the weights, from that with respect to the output."""
        if self.dim is not None:
            return gradient.movedim(self.dim, -1).reshape(len(gradient), -1, 1, gradient.shape[self.dim])
        if self.value is None:
            return gradient
        if self.behind_projection:
            assert self.projection is not None
            gradient = gradient.to(self.projection.dtype) @ self.projection.T
            gradient = gradient[:, None] if gradient.dim() == 2 else gradient
            gradient = gradient if self.batch_first else gradient.transpose(0, 1)
            gradient = gradient.unflatten(-1, (self.value.shape[1], -1)).transpose(1, 2)
        return _four(gradient) @ self.value.mT.to(gradient.dtype)


def _keep_gradient(calls: list[Tensor | None], place: int, heads: _Heads, kind: torch.dtype, gradient: Tensor) -> None:
    with torch.no_grad(), torch._C.DisableTorchFunction():
        weight_gradient = heads.of_weights(gradient).to(kind)
        earlier = calls[place]
        calls[place] = weight_gradient if earlier is None else earlier + weight_gradient


@contextmanager
def capture(
    model: nn.Module,
    *,
    queries: Sequence[int] | None = None,
    received: bool = False,
    gradients: bool = False,
    values: bool = False,
) -> Iterator[CapturedAttention]:
    """Take the attention weights of every layer while the block runs.

    Parameters
    ----------
    model
        Any PyTorch model: what is called in the block, or a part of it.
    queries
        Keep the rows of these queries alone, ``[0]`` for a class token; negative ones count from the end.
    received
        Keep the mean over the queries alone, shape ``(batch, heads, 1, keys)``. Without ``queries`` and ``received``
        all is kept, which takes ``batch * heads * queries * keys`` numbers a layer.
    gradients
        Keep gradients with respect to the weights as well, when ``backward`` is called, for ``gradient`` and
        ``relevance``. Call the model in evaluation mode: with dropout they are those without it.
    values
        Keep the norm of the values as well, for ``value_norm``.

    Yields
    ------
    CapturedAttention
        It fills while the model runs.

    Raises
    ------
    ConfigError
        When the model is compiled, scripted, quantised or replicated over devices: its attention cannot be seen.

    Notes
    -----
    Weights are those before dropout. Queries without any key get rows of 0. Book page: ``your_sounds``.

    Examples
    --------
    >>> import torch
    >>> layer = torch.nn.TransformerEncoderLayer(8, 2, batch_first=True).eval()
    >>> with capture(layer) as captured, torch.no_grad():
    ...     _ = layer(torch.zeros(1, 5, 8))
    >>> captured.weights["self_attn"].shape
    torch.Size([1, 2, 5, 5])
    """
    refuse_unseen(model)
    if queries is not None and (
        received or not len(queries) or any(isinstance(q, bool) or int(q) != q for q in queries)
    ):
        raise ConfigError(f"queries is {queries!r}; give whole numbers, and no received beside them")
    if gradients and (queries is not None or received):
        raise ConfigError("gradients are kept of all queries; capture them without queries and received")
    rows = None if queries is None else torch.tensor([int(query) for query in queries])
    captured = CapturedAttention(model, rows, received)
    captured._gradients = {} if gradients else None
    captured._value_norms = {} if values else None
    with _Watch(model, captured):
        yield captured


class _Watch(TorchFunctionMode):
    """Sees functions that are called, and with hooks on all modules the names of those that call them."""

    def __init__(self, model: nn.Module, captured: CapturedAttention) -> None:
        super().__init__()
        self.names = {id(module): name for name, module in model.named_modules()}
        self.captured = captured
        self.thread = threading.get_ident()
        # running modules: name, calls taken before, what undoes the guard of a fast path, and the module itself
        self.running: list[tuple[str, int, ExitStack, nn.Module]] = []
        self.hooks: list[Any] = []

    def __enter__(self) -> Self:
        self.hooks = [
            register_module_forward_pre_hook(self.begin),
            register_module_forward_hook(self.end, with_kwargs=True, always_call=True),
        ]
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        for hook in self.hooks:
            hook.remove()

    def __torch_function__(self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        output = func(*args, **kwargs)
        if func is F.scaled_dot_product_attention:
            self.take(_scaled_dot_product, *args, heads=partial(self.heads_of_product, output), **kwargs)
        elif func is F.multi_head_attention_forward:
            self.take(_multi_head, *args, heads=partial(_heads_of_function, output[0]), **kwargs)
        elif func in _SOFTMAX and self.running:
            self.see_softmax(output, *args[1:], **kwargs)
        return output

    def see_softmax(self, output: Tensor, *args: Any, **kwargs: Any) -> None:
        """Take a softmax that a module of attention computes by itself."""
        name, _, _, module = self.running[-1]
        if isinstance(module, nn.Softmax) and len(self.running) > 1:
            name, _, _, module = self.running[-2]
        dim = kwargs.get("dim", args[0] if args else None)
        if dim is None or not isinstance(dim, int):
            return
        last = dim in (-1, output.dim() - 1)
        kind = type(module).__name__.lower()
        heads = partial(_heads_of_weights, output)
        if "attentive" in kind or ("att" in kind and "pool" in kind):
            # a weight for each channel and frame, or for each frame
            per_frame = output.movedim(dim, -1)
            if per_frame.dim() in (2, 3):
                heads = partial(_heads_of_weights, output, dim=dim)
                self.take(
                    _as_they_are, per_frame.reshape(len(per_frame), -1, 1, per_frame.shape[-1]), at=name, heads=heads
                )
        elif "att" in kind and output.dim() == 4 and last:
            self.take(_as_they_are, output, at=name, heads=heads)

    def heads_of_product(self, output: Tensor, *args: Any, **kwargs: Any) -> _Heads:
        query, key, value = (*args, *(kwargs[n] for n in ("query", "key", "value")[len(args) :]))[:3]
        value = _padded(value.detach())
        if kwargs.get("enable_gqa"):
            value = value.repeat_interleave(query.shape[-3] // key.shape[-3], -3)
        value = _four(value)
        return _Heads(output, value, _projection_of(self.running[-1][3], value))

    def begin(self, module: nn.Module, _: Any) -> None:
        if (name := self.names.get(id(module))) is None or threading.get_ident() != self.thread:
            return
        guard = ExitStack()
        if type(module) in _WITH_FAST_PATH:
            guard.enter_context(torch._C.DisableTorchFunction())
        elif self.running:
            guard.enter_context(torch._C._EnableTorchFunction())
        self.running.append((name, self.count(), guard, module))

    def end(self, module: nn.Module, args: Any, *rest: Any) -> None:
        # after an error PyTorch leaves the keyword arguments away
        kwargs, output = rest if len(rest) == 2 else ({}, None)
        if id(module) not in self.names or threading.get_ident() != self.thread or not self.running:
            return
        name, before, guard, _ = self.running[-1]
        guard.close()
        try:
            if output is None or self.count() > before:
                return
            with torch._C.DisableTorchFunction():
                if type(module) is nn.MultiheadAttention:
                    heads = partial(_heads_of_module, output[0])
                    self.take(_module_weights, module, *args, heads=heads, **kwargs)
                elif type(module) is nn.TransformerEncoderLayer:  # its fast path does not call its attention
                    self.take(_layer_weights, module, *args, at=f"{name}.self_attn".lstrip("."), **kwargs)
                elif "attention" in type(module).__name__.lower() and (weights := _returned(output)) is not None:
                    self.take(_as_they_are, weights, heads=partial(_heads_of_weights, weights))
        finally:
            self.running.pop()

    def count(self) -> int:
        return sum(map(len, self.captured.calls.values()))

    def take(
        self,
        rows_of: Callable[..., Any],
        *args: Any,
        at: str | None = None,
        heads: Callable[..., _Heads] | None = None,
        **kwargs: Any,
    ) -> None:
        """Compute the weights that are asked for, and keep them under the name of the module that runs."""
        if threading.get_ident() != self.thread or not self.running:
            return
        with torch.no_grad(), torch.autocast(_device(args), enabled=False):
            weights = rows_of(self.captured._queries, self.captured._received, *args, **kwargs)
            more = self.captured._gradients is not None or self.captured._value_norms is not None
            products = heads(*args, **kwargs) if heads is not None and more else None
        name = self.running[-1][0] if at is None else at
        for running, _, _, module in self.running:
            kind = type(module).__name__
            if name.startswith(running) and "att" in kind.lower() and any(w in kind.lower() for w in _WITHIN_WINDOWS):
                self.captured.windowed[name] = kind
        self.captured._add(name, weights, products)


def _heads_of_weights(output: Tensor, *_: Any, dim: int | None = None) -> _Heads:
    return _Heads(output, dim=dim)


def _projection_of(module: nn.Module, value: Tensor) -> Tensor | None:
    """Projection behind the heads of a module, shape (heads * size, out)."""
    width = value.shape[1] * value.shape[-1]
    for name in _OUTPUT_PROJECTIONS:
        layer = getattr(module, name, None)
        layer = layer[0] if isinstance(layer, nn.Sequential) and len(layer) else layer
        if isinstance(layer, nn.Linear) and layer.in_features == width:
            return layer.weight.detach().T
    return None


def _heads_of_function(output: Tensor, *args: Any, **kwargs: Any) -> _Heads:
    """Values and projection of a call of ``multi_head_attention_forward``; the output is (queries, batch, out)."""
    bound = inspect.signature(F.multi_head_attention_forward).bind(*args, **kwargs).arguments
    value, heads = bound["value"].detach(), bound["num_heads"]
    value = value[:, None] if value.dim() == 2 else value
    separate = bound.get("use_separate_proj_weight")
    weight = bound["v_proj_weight"] if separate else bound["in_proj_weight"].chunk(3)[2]
    bias = None if bound["in_proj_bias"] is None else bound["in_proj_bias"].chunk(3)[2]
    if (fixed_values := bound.get("static_v")) is not None:
        split = fixed_values.detach().reshape(value.shape[1], heads, fixed_values.shape[1], -1)
    else:
        projected = F.linear(value, weight, bias)  # (keys, batch, heads * size)
        if bound["bias_v"] is not None:
            projected = torch.cat([projected, bound["bias_v"].expand(1, projected.shape[1], -1)])
        split = projected.unflatten(-1, (heads, -1)).permute(1, 2, 0, 3)
    if bound["add_zero_attn"]:
        split = F.pad(split, (0, 0, 0, 1))
    return _Heads(
        output, split.detach(), bound["out_proj_weight"].detach().T, behind_projection=True, batch_first=False
    )


def _heads_of_module(output: Tensor, module: nn.MultiheadAttention, *args: Any, **kwargs: Any) -> _Heads:
    arguments = inspect.signature(module.forward).bind(*args, **kwargs).arguments
    query, key, value = (arguments[name] for name in ("query", "key", "value"))
    batched = query.dim() == 3 or query.is_nested
    if module.batch_first and batched:
        query, key, value = (_padded(each).transpose(0, 1) for each in (query, key, value))
    heads = _heads_of_function(
        output, query, key, value, module.embed_dim, module.num_heads, module.in_proj_weight, module.in_proj_bias,
        module.bias_k, module.bias_v, module.add_zero_attn, 0.0, module.out_proj.weight, module.out_proj.bias,
        use_separate_proj_weight=not module._qkv_same_embed_dim, v_proj_weight=module.v_proj_weight,
    )  # fmt: skip
    return replace(heads, batch_first=module.batch_first and batched)


def _scaled_dot_product(
    queries: Tensor | None,
    received: bool,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    query, key, value = (_padded(each) for each in (query, key, value))
    if enable_gqa:
        key = key.repeat_interleave(query.shape[-3] // key.shape[-3], -3)
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    mask = attn_mask
    if is_causal:
        mask = torch.ones(query.shape[-2], key.shape[-2], dtype=torch.bool, device=query.device).tril()
    return _weights(queries, received, query * scale, key, mask)


def _multi_head(
    queries: Tensor | None,
    received: bool,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    embed_dim_to_check: int,
    num_heads: int,
    in_proj_weight: Tensor | None,
    in_proj_bias: Tensor | None,
    bias_k: Tensor | None,
    bias_v: Tensor | None,
    add_zero_attn: bool,
    dropout_p: float,
    out_proj_weight: Tensor,
    out_proj_bias: Tensor | None,
    training: bool = True,
    key_padding_mask: Tensor | None = None,
    need_weights: bool = True,
    attn_mask: Tensor | None = None,
    use_separate_proj_weight: bool = False,
    q_proj_weight: Tensor | None = None,
    k_proj_weight: Tensor | None = None,
    v_proj_weight: Tensor | None = None,
    static_k: Tensor | None = None,
    static_v: Tensor | None = None,
    average_attn_weights: bool = True,
    is_causal: bool = False,
) -> Tensor:
    """Weights of ``multi_head_attention_forward``, whose queries and keys are of shape (length, batch, size)."""
    if query.dim() == 2:
        query, key = query[:, None], key[:, None]
        key_padding_mask = None if key_padding_mask is None else key_padding_mask[None]
    if use_separate_proj_weight:
        assert q_proj_weight is not None
        assert k_proj_weight is not None
        of_query, of_key = q_proj_weight, k_proj_weight
    else:
        assert in_proj_weight is not None
        of_query, of_key, _ = in_proj_weight.chunk(3)
    bias_query, bias_key = (None, None) if in_proj_bias is None else in_proj_bias.chunk(3)[:2]
    length, batch, _ = query.shape
    projected = F.linear(query, of_query, bias_query)
    keys = F.linear(key, of_key, bias_key) if static_k is None else None
    if keys is not None and bias_k is not None:
        keys = torch.cat([keys, bias_k.expand(1, batch, -1)])
    size = projected.shape[-1] // num_heads
    # (length, batch, heads * size) to (batch, heads, length, size)
    projected = projected.reshape(length, batch, num_heads, size).permute(1, 2, 0, 3)
    if keys is None:
        assert static_k is not None
        heads = static_k.reshape(batch, num_heads, -1, size)
    else:
        heads = keys.reshape(len(keys), batch, num_heads, size).permute(1, 2, 0, 3)
    if add_zero_attn:
        heads = F.pad(heads, (0, 0, 0, 1))
    more = heads.shape[-2] - key.shape[0] if static_k is None else int(add_zero_attn)
    return _weights(
        queries, received, projected * size**-0.5, heads, _merge(attn_mask, key_padding_mask, batch, num_heads, more)
    )


def _merge(attn_mask: Tensor | None, padding: Tensor | None, batch: int, heads: int, more: int) -> Tensor | None:
    """One mask to be added, from two of which True or minus infinity leaves keys out; ``more`` keys are behind them."""
    merged: Tensor | None = None
    if attn_mask is not None:
        merged = _to_add(attn_mask)
        merged = merged.reshape(batch, heads, *merged.shape[-2:]) if merged.dim() == 3 else merged
    if padding is not None:
        left_out = _to_add(padding)[:, None, None, :]
        merged = left_out if merged is None else merged + left_out
    return merged if merged is None or not more else F.pad(merged, (0, more))


def _to_add(mask: Tensor) -> Tensor:
    if mask.dtype != torch.bool:
        return mask
    return torch.zeros(mask.shape, device=mask.device).masked_fill_(mask, -torch.inf)


def _module_weights(
    queries: Tensor | None,
    received: bool,
    module: nn.MultiheadAttention,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    key_padding_mask: Tensor | None = None,
    need_weights: bool = True,
    attn_mask: Tensor | None = None,
    average_attn_weights: bool = True,
    is_causal: bool = False,
) -> Tensor:
    if query.is_nested:
        key_padding_mask = _padding_of(query)
        query, key = _padded(query), _padded(key)
    if module.batch_first and query.dim() == 3:
        query, key = query.transpose(0, 1), key.transpose(0, 1)
    return _multi_head(
        queries,
        received,
        query,
        key,
        value,
        module.embed_dim,
        module.num_heads,
        module.in_proj_weight,
        module.in_proj_bias,
        module.bias_k,
        module.bias_v,
        module.add_zero_attn,
        0.0,
        module.out_proj.weight,
        module.out_proj.bias,
        key_padding_mask=key_padding_mask,
        attn_mask=attn_mask,
        use_separate_proj_weight=not module._qkv_same_embed_dim,
        q_proj_weight=module.q_proj_weight,
        k_proj_weight=module.k_proj_weight,
    )


def _layer_weights(
    queries: Tensor | None,
    received: bool,
    layer: nn.TransformerEncoderLayer,
    src: Tensor,
    src_mask: Tensor | None = None,
    src_key_padding_mask: Tensor | None = None,
    is_causal: bool = False,
) -> Tensor:
    padding = _padding_of(src) if src.is_nested else src_key_padding_mask
    entered = _padded(src)
    entered = layer.norm1(entered) if layer.norm_first else entered
    return _module_weights(
        queries, received, layer.self_attn, entered, entered, entered, key_padding_mask=padding, attn_mask=src_mask
    )


def _as_they_are(queries: Tensor | None, received: bool, weights: Tensor) -> Tensor:
    weights = weights.detach()
    if received:
        return weights.mean(-2, keepdim=True)
    return weights.clone() if queries is None else weights[..., queries, :]


def _weights(queries: Tensor | None, received: bool, query: Tensor, key: Tensor, mask: Tensor | None) -> Tensor:
    """Rows of softmax(query key^T + mask), in float32 at least, given back in the dtype of the query.

    ``query`` is scaled; (..., queries, size) and (..., keys, size).
    """
    query, key = _four(query), _four(key)
    length = query.shape[-2]
    rows = torch.arange(length) if queries is None else torch.where(queries < 0, queries + length, queries)
    if len(rows) and not 0 <= int(rows.min()) <= int(rows.max()) < length:
        raise ConfigError(f"queries hold {rows.tolist()}, and a layer has {length} queries")
    rows = rows.to(query.device)
    kind = torch.promote_types(query.dtype, torch.float32)
    if mask is not None:
        mask = mask.reshape((1,) * (4 - mask.dim()) + mask.shape) if mask.dim() < 4 else _four(mask)
    keys = key.to(kind).transpose(-1, -2)
    size = max(_BLOCK // max(query.shape[0] * query.shape[1] * key.shape[-2] * kind.itemsize, 1), 1)
    parts, total = [], None
    for block in rows.split(size):
        whole = len(block) == length
        scores = (query if whole else query[..., block, :]).to(kind) @ keys
        if mask is not None:
            mask_block = mask if whole or mask.shape[-2] == 1 else mask[..., block, :]
            scores = (
                scores.masked_fill(~mask_block, -torch.inf) if mask_block.dtype == torch.bool else scores + mask_block
            )
        weights = torch.softmax(scores, -1)
        if mask is not None:  # a query without any key
            weights.nan_to_num_(0.0)
        if received:
            total = weights.sum(-2, keepdim=True) + (0 if total is None else total)
        else:
            parts.append(weights.to(query.dtype))
    if received:
        assert total is not None
        return (total / length).to(query.dtype)
    return parts[0] if len(parts) == 1 else torch.cat(parts, -2)


def _four(each: Tensor) -> Tensor:
    """(batch, heads, length, size): one head where there is no axis of heads, several axes of heads as one."""
    if each.dim() == 2:
        return each[None, None]
    if each.dim() == 3:
        return each[:, None]
    return each.flatten(1, -3)


def _padded(each: Tensor) -> Tensor:
    return torch.nested.to_padded_tensor(each, 0.0) if each.is_nested else each


def _padding_of(nested: Tensor) -> Tensor:
    lengths = torch.tensor([len(row) for row in nested.unbind()], device=nested.device)
    return torch.arange(int(lengths.max()), device=nested.device) >= lengths[:, None]


def _returned(output: Any) -> Tensor | None:
    """Weights that a module returns: four axes, at least 0, rows of sum 1."""
    for each in output if isinstance(output, tuple) else ():
        if isinstance(each, Tensor) and each.dim() == 4 and each.is_floating_point() and each.numel():
            sums = each.detach().float().sum(-1)
            if bool((each >= 0).all()) and bool(((sums - 1).abs() < 1e-2).all()):
                return each
    return None


def _device(args: Sequence[Any]) -> str:
    return next((each.device.type for each in args if isinstance(each, Tensor)), "cpu")


def refuse_unseen(model: nn.Module) -> None:
    """Check that what the modules of a model call can be seen.

    Raises
    ------
    ConfigError
        When it is compiled, scripted, quantised or replicated; the message names the module.
    """
    if not isinstance(model, nn.Module):
        raise ConfigError(f"model is of type {type(model).__name__}; it must be a torch.nn.Module")
    for name, module in model.named_modules():
        kind = type(module)
        where = f"{name or 'the model'} ({kind.__module__}.{kind.__qualname__})"
        if kind.__name__ == "OptimizedModule" or getattr(module, "_compiled_call_impl", None) is not None:
            raise ConfigError(
                f"{where} is compiled; capture the model that was compiled, `_orig_mod`, or compile it later"
            )
        if isinstance(module, torch.jit.ScriptModule):
            raise ConfigError(f"{where} is scripted, and nothing in it can be seen; load the model as Python code")
        if isinstance(module, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
            raise ConfigError(f"{where} replicates a model; capture the model inside, `.module`")
        if kind.__module__.startswith("torch.ao.nn.quanti") and "Attention" in kind.__name__:
            raise ConfigError(f"{where} is quantised; capture the model before it is quantised")


def _describe_unseen(model: nn.Module) -> str:
    """A message for a model of which nothing was taken."""
    kinds = {type(module).__name__ for module in model.modules()}
    suspects = sorted(kind for kind in kinds if "att" in kind.lower())
    own = f"; its modules {', '.join(suspects)} compute it in another way" if suspects else ""
    return f"no attention was seen in {type(model).__name__}: was it called in the block? Seen are {_SUPPORTED}{own}"
