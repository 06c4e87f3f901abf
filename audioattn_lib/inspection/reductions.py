r"""Reductions of the attention of several layers, heads and queries to one curve or map.

``received``
    Mean over the queries, :math:`r_j = \frac{1}{n} \sum_i A_{ij}`: attention that a token receives. It says nothing
    of the values, and a token that every query uses to rest, a sink, receives most.
``query``
    The row of one query, as a class token: :math:`A_{qj}`. One layer's row is not the whole network's.
``rollout``
    :math:`\tilde A = \prod_l \tfrac{1}{2} (\bar A_l + I)` with the mean over heads :math:`\bar A_l`, then the row of
    the query, or the mean of all. It takes residual branches and attention as equally
    strong, and heads as equally right.
``flow``
    Maximum flow from the query to each token through a graph whose edges between layers have the capacities
    :math:`\tfrac{1}{2} (\bar A_l + I)`. A token whose own edges are narrow limits it, and its cost grows with the
    cube of the number of tokens: for short sequences.
``value_norm``
    :math:`A_{ij} \lVert v_j W_O \rVert`, mean over the queries, with the value :math:`v_j` and the output projection
    :math:`W_O` of the head. A key with a weight near 1 and a value near 0 adds nothing. Directions are ignored: two
    values may cancel each other.
``gradient``
    :math:`\frac{1}{H} \sum_h (\partial y / \partial A^h \odot A^h)^+` of one layer or the mean of several. It is for
    the score :math:`y` that ``backward`` was called on; where that is saturated, gradients are 0.
``relevance``
    :math:`R \leftarrow R + \bar A_l R` from :math:`R = I`, with the gradient-weighted :math:`\bar A_l` of each layer,
    the first one first. It is for self-attention; what goes through the residual branch is taken as unchanged, and
    values are left out.

The row of the query is what is shown, for ``value_norm`` and with ``query=None`` the mean of all rows.

Sources: Abnar and Zuidema, *Quantifying attention flow in transformers*, ACL 2020 (rollout and flow); Kobayashi et
al., *Attention is not only a weight: analyzing transformers with vector norms*, EMNLP 2020 (norm of values); Chefer et
al., *Generic attention-model explainability for interpreting bi-modal and encoder-decoder transformers*, ICCV 2021
(gradient and relevance). Book page: ``your_sounds``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from audioattn_lib.attention.record.record import AttentionRecord
from audioattn_lib.core.errors import ConfigError

from .tokens import PatchTokens, TimeTokens

__all__ = [
    "OF_ALL_QUERIES",
    "OF_GRADIENTS",
    "OF_VALUES",
    "REDUCTIONS",
    "Tokens",
    "attention_flow",
    "attention_record",
    "find_sinks",
    "gradient_weighted",
    "relevance",
    "rollout",
]

REDUCTIONS = ("received", "query", "rollout", "flow", "value_norm", "gradient", "relevance")
"""Ways from layers, heads and queries to one number a token."""
OF_ALL_QUERIES = ("rollout", "flow", "value_norm", "gradient", "relevance")
"""Reductions that need the weights of every query."""
OF_GRADIENTS = ("gradient", "relevance")
"""Reductions that need gradients with respect to the weights."""
OF_VALUES = ("value_norm",)
"""Reductions that need the norms of the values."""

_OF_ALL_LAYERS = ("rollout", "flow", "relevance")
_CAPACITY = 1 << 20
"""Whole numbers to a unit of flow."""

Tokens = TimeTokens | PatchTokens


def attention_record(
    weights: Mapping[str, Tensor],
    tokens: Tokens,
    *,
    reduction: str = "received",
    layers: str | Sequence[str] | None = None,
    query: int | None = 0,
    clips: Sequence[str] = (),
    durations: Sequence[float] | None = None,
    gradients: Mapping[str, Tensor] | None = None,
    value_norms: Mapping[str, Tensor] | None = None,
    by_layer: bool = False,
) -> AttentionRecord:
    """Reduce captured weights to a record in seconds, and in hertz for patches.

    Special tokens are left out, and what is left is divided by its sum.

    Parameters
    ----------
    weights
        By the name of the layer, each of shape ``(batch, heads, queries, keys)``, in the order of the layers.
    tokens
        Time and frequency of the keys.
    reduction
        One of :data:`REDUCTIONS`.
    layers
        Names of the layers to take; their mean, head by head, for ``received``, ``query`` and ``value_norm``. By
        default the last one, and all of them for ``rollout``, ``flow`` and ``relevance``.
    query
        Row to take, of all reductions but ``received`` and ``value_norm``; None takes the mean over all, but for
        ``query``.
    clips, durations
        Name and seconds of each clip of the batch.
    gradients
        With respect to the weights, in their shapes, for ``gradient`` and ``relevance``.
    value_norms
        Of each layer, shape ``(batch, heads, keys)``, for ``value_norm``.
    by_layer
        Keep the layers apart, by default all of them: the record then has an axis of layers with their names. Not for
        ``rollout``, ``flow`` and ``relevance``, which join them.

    Returns
    -------
    AttentionRecord
        ``weights`` for :class:`TimeTokens`, ``maps`` for :class:`PatchTokens`; one head but for
        ``received``, ``query`` and ``value_norm``. Where nothing is left, as of gradients of 0, shares are equal.

    Raises
    ------
    ConfigError
        When there is no such reduction, layer or query.
    ValueError
        When layers differ in shape, or tokens do not fit the keys.

    Notes
    -----
    Book page: ``your_sounds``.
    """
    if reduction not in REDUCTIONS:
        raise ConfigError(f"reduction is {reduction!r}; it must be one of {', '.join(REDUCTIONS)}")
    if by_layer:
        if reduction in _OF_ALL_LAYERS:
            raise ConfigError(f"reduction is {reduction!r}, which joins the layers; leave by_layer out")
        return _join_layers(
            [
                attention_record(
                    weights, tokens, reduction=reduction, layers=name, query=query, clips=clips, durations=durations,
                    gradients=gradients, value_norms=value_norms,
                )
                for name in ([layers] if isinstance(layers, str) else layers or weights)
            ],
            [layers] if isinstance(layers, str) else list(layers or weights),
            reduction,
        )  # fmt: skip
    names = (
        [layers]
        if isinstance(layers, str)
        else list(layers or (weights if reduction in _OF_ALL_LAYERS else [*weights][-1:]))
    )
    unknown = [name for name in names if name not in weights]
    if unknown:
        raise ConfigError(f"no layer {', '.join(map(repr, unknown))}; there are {', '.join(map(repr, weights))}")
    layer_weights = [weights[name] for name in names]
    if len({tuple(each.shape) for each in layer_weights}) > 1:
        raise ValueError(
            f"layers differ in shape: {', '.join(f'{n} {tuple(weights[n].shape)}' for n in names)}; take one"
        )
    if reduction in ("rollout", "relevance", "gradient"):
        if reduction == "rollout":
            joined = rollout(layer_weights)
        else:
            layer_gradients = _of_layers(names, gradients, "gradients")
            if reduction == "relevance":
                # without the query's own start in R, which says nothing of the sound
                joined = relevance(layer_weights, layer_gradients)
                joined = joined - torch.eye(joined.shape[-1], device=joined.device)
            else:
                pairs = zip(layer_weights, layer_gradients, strict=True)
                joined = torch.stack([gradient_weighted(each, slope) for each, slope in pairs]).mean(0)
        rows = (joined.mean(-2) if query is None else _row(joined, query))[:, None]
    elif reduction == "flow":
        rows = attention_flow(layer_weights, query)[:, None]
    elif reduction == "value_norm":
        pairs = zip(layer_weights, _of_layers(names, value_norms, "value_norms"), strict=True)
        rows = torch.stack([each.float().mean(-2) * norms.float() for each, norms in pairs]).mean(0)
    else:
        mean = torch.stack([each.float() for each in layer_weights]).mean(0)
        rows = mean.mean(-2) if reduction == "received" else _row(mean, 0 if query is None else query)
    # (batch, heads, keys) without special tokens
    n_keys = rows.shape[-1]
    shape = tokens.shape(n_keys)
    own = rows[..., tokens.first : n_keys - tokens.last].cpu().double().numpy()
    own = np.where((total := own.sum(-1, keepdims=True)) > 0, own / np.maximum(total, 1e-300), 1 / own.shape[-1])
    seconds = None if durations is None else np.asarray(durations, dtype=np.float64)
    count = len(own)
    name = f"{reduction}: {names[0]}" if len(names) == 1 else f"{reduction}: {len(names)} layers"
    if isinstance(tokens, TimeTokens):
        n_frames = np.full(count, shape[0])
        return AttentionRecord(name, tokens.clock, tuple(clips), n_frames=n_frames, weights=own, durations=seconds)
    bands, frames = shape
    grid = own.reshape(*own.shape[:2], bands, frames) if tokens.time_first else (
        own.reshape(*own.shape[:2], frames, bands).swapaxes(-1, -2)
    )  # fmt: skip
    frequencies = None if tokens.frequencies is None else np.asarray(tokens.frequencies, dtype=np.float64)
    return AttentionRecord(
        name,
        tokens.clock,
        tuple(clips),
        n_frames=np.full(count, frames),
        maps=grid[:, None],
        frequencies=frequencies,
        durations=seconds,
    )


def _join_layers(records: Sequence[AttentionRecord], names: Sequence[str], reduction: str) -> AttentionRecord:
    """One record of records of a layer each."""
    first = records[0]
    field = "weights" if first.maps is None else "maps"
    shapes = {getattr(each, field).shape for each in records}
    if len(shapes) > 1:
        raise ValueError(f"layers differ in shape, {sorted(shapes)}; name layers that are alike")
    about: dict[str, Any] = {"mechanism": reduction, "layers": tuple(names)}
    if first.maps is not None:
        maps = [each.maps for each in records if each.maps is not None]
        return dataclasses.replace(first, maps=np.concatenate(maps, axis=1), **about)
    weights = [each.weights for each in records if each.weights is not None]
    return dataclasses.replace(first, weights=None, layer_weights=np.stack(weights, axis=1), **about)


def rollout(layers: Sequence[Tensor]) -> Tensor:
    """Rollout of the layers, the first one first, shape ``(batch, tokens, tokens)``; rows have the sum 1.

    Raises
    ------
    ValueError
        When a layer has not as many queries as keys: cross attention, or rows that were left out.
    """
    joined: Tensor | None = None
    for each in layers:
        if each.shape[-1] != each.shape[-2]:
            raise ValueError(f"a rollout needs layers with as many queries as keys; one has {tuple(each.shape)}")
        mean = each.float().mean(1)
        mixed = 0.5 * mean + 0.5 * torch.eye(mean.shape[-1], device=mean.device)
        mixed = mixed / mixed.sum(-1, keepdim=True)
        joined = mixed if joined is None else mixed @ joined
    if joined is None:
        raise ValueError("a rollout of no layer")
    return joined


def attention_flow(layers: Sequence[Tensor], query: int | None = 0) -> Tensor:
    r"""Maximum flow from a query of the last layer to every token of the first.

    Capacities are :math:`\tfrac{1}{2} (\bar A_l + I)` with the mean over heads, rounded to a millionth.

    Parameters
    ----------
    layers
        Weights ``(batch, heads, tokens, tokens)`` of each layer, the first one first.
    query
        Token that the flow starts at; None for the mean over all.

    Returns
    -------
    Tensor
        Shape ``(batch, tokens)``, each from 0 to 1; they need not have the sum 1.

    Raises
    ------
    ValueError
        When a layer has not as many queries as keys.

    Notes
    -----
    Source: Abnar and Zuidema, ACL 2020, section 3. Cost: one flow for each token, query and clip. Book page:
    ``your_sounds``.
    """
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import maximum_flow

    mixed = torch.stack([0.5 * each + 0.5 * torch.eye(each.shape[-1]) for each in map(_mean_of_heads, layers)])
    capacities = (mixed * _CAPACITY).round().int().cpu().numpy()  # (layers, batch, tokens, tokens)
    depth, batch, tokens = capacities.shape[:3]
    starts = range(tokens) if query is None else [range(tokens)[query]] if -tokens <= query < tokens else None
    if starts is None:
        raise ConfigError(f"query is {query}, and a layer has {tokens} queries")
    flows = np.zeros((batch, tokens))
    # node (layer, token), the tokens that enter being layer 0
    below, above = np.indices((tokens, tokens))[::-1]
    tails = np.concatenate([(level + 1) * tokens + above.ravel() for level in range(depth)])
    heads = np.concatenate([level * tokens + below.ravel() for level in range(depth)])
    size = (depth + 1) * tokens
    for clip in range(batch):
        graph = csr_array((capacities[:, clip].ravel(), (tails, heads)), shape=(size, size))
        for start in starts:
            for token in range(tokens):
                flows[clip, token] += maximum_flow(graph, depth * tokens + start, token).flow_value
    return torch.from_numpy(flows / _CAPACITY / len(starts))


def gradient_weighted(weights: Tensor, gradient: Tensor) -> Tensor:
    r"""Mean over heads of :math:`(\partial y / \partial A \odot A)^+`, shape ``(batch, queries, keys)``.

    Parameters
    ----------
    weights, gradient
        Of one layer, ``(batch, heads, queries, keys)``.

    Notes
    -----
    Source: Chefer et al., ICCV 2021, equation 5. Book page: ``your_sounds``.
    """
    return (weights.float() * gradient.float()).clamp_min(0).mean(1)


def relevance(layers: Sequence[Tensor], gradients: Sequence[Tensor]) -> Tensor:
    r"""Relevance of each token that enters for each that leaves, :math:`R \leftarrow R + \bar A_l R`.

    Parameters
    ----------
    layers, gradients
        Weights of self-attention and gradients with respect to them, ``(batch, heads, tokens, tokens)``, the first
        layer first.

    Returns
    -------
    Tensor
        :math:`R`, shape ``(batch, tokens, tokens)``.

    Raises
    ------
    ValueError
        When a layer has not as many queries as keys.

    Notes
    -----
    Source: Chefer et al., ICCV 2021, equations 5 and 6. Book page: ``your_sounds``.
    """
    joined: Tensor | None = None
    for each, gradient in zip(layers, gradients, strict=True):
        _check_square(each)
        weighted = gradient_weighted(each, gradient)
        start = torch.eye(weighted.shape[-1], device=weighted.device) if joined is None else joined
        joined = start + weighted @ start
    if joined is None:
        raise ValueError("relevance of no layer")
    return joined


def _of_layers(names: Sequence[str], tensors: Mapping[str, Tensor] | None, field: str) -> list[Tensor]:
    if tensors is None or any(name not in tensors for name in names):
        raise ValueError(f"{field} of layer {', '.join(names)} are missing; capture them")
    return [tensors[name] for name in names]


def _check_square(each: Tensor) -> None:
    if each.shape[-1] != each.shape[-2]:
        raise ValueError(f"it needs layers with as many queries as keys; one has {tuple(each.shape)}")


def _mean_of_heads(each: Tensor) -> Tensor:
    _check_square(each)
    return each.float().mean(1).cpu()


def find_sinks(
    weights: Mapping[str, Tensor], share: float = 0.25, *, times: float = 10.0, ends: Sequence[int] | None = None
) -> dict[str, list[tuple[int, float]]]:
    r"""Find the tokens that take much of a layer's attention whatever is in the clip.

    With :math:`r_{cj}`, the mean over heads and queries of what token :math:`j` of :math:`n` receives in clip
    :math:`c`, a sink has

    .. math:: \tfrac{1}{C} \sum_c r_{cj} \ge s, \qquad \min_c r_{cj} \ge s / 2, \qquad
        s = \max(2 / n, \min(\text{share}, \text{times} / n))

    so in a short sequence a quarter of all attention, in a long one ten equal shares, and half as much in every clip.
    A map that shows such a token raw misleads.

    Parameters
    ----------
    weights
        By the name of the layer, each of shape ``(batch, heads, queries, keys)``.
    share
        Share of the attention, above 0, at most 1.
    times
        Multiple of an equal share, at least 1.
    ends
        First token behind the sound of each clip, shape ``(batch,)``: tokens are then counted from there. Models that
        pad their input can have a sink where the sound ends.

    Returns
    -------
    dict
        By layer, token and share of those that are sinks; layers without any are left out.

    Raises
    ------
    ConfigError
        When share, times or ends are out of range.

    Notes
    -----
    In one clip, a sink and an event that all queries attend to look alike: give several clips with other sounds, or
    noise of the same length beside one sound, as ``audioattn attend`` does. Measured in 16 recordings of four corpora:
    the tiny English encoder of Whisper has its sinks at the first token, the last one, and the one behind the end of
    the sound. They take up to 183 equal shares, and never a quarter of the attention; an event takes up to 29 in its
    clip, and another token at most 6.1 in every clip. The values of these sinks are no smaller than those of other
    tokens, unlike in language models. Sources: Xiao et al., *Efficient streaming language models with attention
    sinks*, ICLR 2024; Gu et al., *When attention sink emerges in language models: an empirical view*, ICLR
    2025 (a sink is found by its mean over clips). Book page: ``bring_your_own_model``.
    """
    if not 0 < share <= 1:
        raise ConfigError(f"share is {share}; it must be above 0 and at most 1")
    if times < 1:
        raise ConfigError(f"times is {times}; it must be at least 1")
    sinks = {}
    for name, each in weights.items():
        received = each.float().mean((1, 2))  # (clips, keys)
        n, first = received.shape[-1], 0
        if ends is not None:
            received, first = _from_ends(received, ends)
        needed = min(share, times / n)
        mean, least = received.mean(0), received.min(0).values
        # an equal share of few tokens is none
        is_sink = (mean >= needed) & (mean > 2 / n) & (least >= max(needed, 2 / n) / 2)
        if tokens := is_sink.nonzero().flatten().tolist():
            sinks[name] = [(token - first, float(mean[token])) for token in tokens]
    return sinks


def _from_ends(received: Tensor, ends: Sequence[int]) -> tuple[Tensor, int]:
    """Align received attention by the distance from the end of each clip; return it with the index of the end."""
    n = received.shape[-1]
    if len(ends) != len(received) or not all(0 <= end <= n for end in ends):
        raise ConfigError(f"ends is {list(ends)}; give for each of {len(received)} clips a token from 0 to {n}")
    first, behind = min(ends), n - max(ends)
    places = torch.as_tensor(ends, device=received.device)[:, None] + torch.arange(
        -first, behind, device=received.device
    )
    return received.gather(1, places), first


def _row(each: Tensor, query: int) -> Tensor:
    if not -each.shape[-2] <= query < each.shape[-2]:
        raise ConfigError(f"query is {query}, and a layer has {each.shape[-2]} queries")
    return each[..., query, :]
