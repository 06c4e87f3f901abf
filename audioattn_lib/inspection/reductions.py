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

Source: Abnar and Zuidema, *Quantifying attention flow in transformers*, ACL 2020, for the roll-out. Book page:
``your_sounds``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from audioattn_lib.attention.record.record import AttentionRecord
from audioattn_lib.core.errors import ConfigError

from .tokens import PatchTokens, TimeTokens

__all__ = ["REDUCTIONS", "Tokens", "attention_record", "find_sinks", "rollout"]

REDUCTIONS = ("received", "query", "rollout")
"""Ways from layers, heads and queries to one number a token."""

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
        Names of the layers to take; their mean, head by head, for ``received`` and ``query``. By default the
        last one, and all of them for ``rollout``.
    query
        Row for ``query`` and ``rollout``; None takes the mean over all for ``rollout``.
    clips, durations
        Name and seconds of each clip of the batch.

    Returns
    -------
    AttentionRecord
        ``weights`` for :class:`TimeTokens`, ``maps`` for :class:`PatchTokens`; one head for ``rollout``.

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
    names = (
        [layers]
        if isinstance(layers, str)
        else list(layers or (weights if reduction == "rollout" else [*weights][-1:]))
    )
    unknown = [name for name in names if name not in weights]
    if unknown:
        raise ConfigError(f"no layer {', '.join(map(repr, unknown))}; there are {', '.join(map(repr, weights))}")
    chosen = [weights[name] for name in names]
    if len({tuple(each.shape) for each in chosen}) > 1:
        raise ValueError(
            f"layers differ in shape: {', '.join(f'{n} {tuple(weights[n].shape)}' for n in names)}; take one"
        )
    if reduction == "rollout":
        rolled = rollout(chosen)
        rows = rolled.mean(-2) if query is None else _row(rolled, query)
        rows = rows[:, None]
    else:
        mean = torch.stack([each.float() for each in chosen]).mean(0)
        rows = mean.mean(-2) if reduction == "received" else _row(mean, 0 if query is None else query)
    # (batch, heads, keys) without special tokens
    n_keys = rows.shape[-1]
    shape = tokens.shape(n_keys)
    own = rows[..., tokens.first : n_keys - tokens.last].cpu().double().numpy()
    own = own / np.maximum(own.sum(-1, keepdims=True), 1e-300)
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


def rollout(layers: Sequence[Tensor]) -> Tensor:
    """Roll-out of the layers, the first one first, shape ``(batch, tokens, tokens)``; rows have the sum 1.

    Raises
    ------
    ValueError
        When a layer has not as many queries as keys: cross attention, or rows that were left out.
    """
    joined: Tensor | None = None
    for each in layers:
        if each.shape[-1] != each.shape[-2]:
            raise ValueError(f"a roll-out needs layers with as many queries as keys; one has {tuple(each.shape)}")
        mean = each.float().mean(1)
        mixed = 0.5 * mean + 0.5 * torch.eye(mean.shape[-1], device=mean.device)
        mixed = mixed / mixed.sum(-1, keepdim=True)
        joined = mixed if joined is None else mixed @ joined
    if joined is None:
        raise ValueError("a roll-out of no layer")
    return joined


def find_sinks(weights: Mapping[str, Tensor], share: float = 0.25) -> dict[str, list[tuple[int, float]]]:
    """Find the tokens that receive at least ``share`` of all attention of a layer, over clips, heads and queries.

    Such a token takes what the other queries have no use for; a map that shows it raw misleads.

    Parameters
    ----------
    weights
        By the name of the layer, each of shape ``(batch, heads, queries, keys)``.
    share
        Share of the attention, above 0, at most 1.

    Returns
    -------
    dict
        By layer, token and share of those that are sinks; layers without any are left out.

    Notes
    -----
    Source: Xiao et al., *Efficient streaming language models with attention sinks*, ICLR 2024. Book page:
    ``your_sounds``.
    """
    if not 0 < share <= 1:
        raise ConfigError(f"share is {share}; it must be above 0 and at most 1")
    found = {}
    for name, each in weights.items():
        received = each.float().mean((0, 1, 2))
        # an equal share of few tokens is none
        tokens = ((received >= share) & (received > 2 / len(received))).nonzero().flatten().tolist()
        if tokens:
            found[name] = [(token, float(received[token])) for token in tokens]
    return found


def _row(each: Tensor, query: int) -> Tensor:
    if not -each.shape[-2] <= query < each.shape[-2]:
        raise ConfigError(f"query is {query}, and a layer has {each.shape[-2]} queries")
    return each[..., query, :]
