"""Deletion and insertion curves: does a model use the frames that its attention points at?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..attention.record.record import AttentionRecord

__all__ = ["PerturbationCurve", "deletion_curve", "insertion_curve"]

Array = NDArray[np.floating[Any]]
Predict = Callable[[Tensor, Tensor], Tensor]

FRACTIONS = tuple(np.linspace(0, 1, 11).tolist())
_ORDERS = ("attention", "uniform", "random")


@dataclass(frozen=True)
class PerturbationCurve:
    """Probability of a class while frames are deleted or inserted.

    Attributes
    ----------
    kind
        ``"deletion"`` or ``"insertion"``.
    fractions
        Share of the frames deleted or inserted, rising from 0 to 1, shape ``(fractions,)``.
    attention, uniform, random
        Probability with the frames in the order of the attention, in random
        order (what uniform attention comes to), and in the order of the
        attention shifted to a random place; shape ``(clips, fractions)``.
    """

    kind: str
    fractions: Array
    attention: Array
    uniform: Array
    random: Array

    def area(self, order: str = "attention") -> Array:
        """Mean height of each clip's curve (trapezoids) for one of the three orders, shape ``(clips,)``.

        Low is good for deletion and high for insertion.
        """
        if order not in _ORDERS:
            raise ValueError(f"order is {order!r}; it must be {', '.join(_ORDERS)}")
        span = self.fractions[-1] - self.fractions[0]
        return np.trapezoid(getattr(self, order), self.fractions, axis=1) / span

    @staticmethod
    def concatenate(curves: Sequence[PerturbationCurve]) -> PerturbationCurve:
        """One curve of all clips of several batches; kind and fractions must be the same."""
        if not curves:
            raise ValueError("curves is empty; there is nothing to join")
        first = curves[0]
        if any(c.kind != first.kind or not np.array_equal(c.fractions, first.fractions) for c in curves):
            raise ValueError("curves of different kinds or fractions cannot be joined")
        joined = (np.concatenate([getattr(curve, order) for curve in curves]) for order in _ORDERS)
        return PerturbationCurve(first.kind, first.fractions, *joined)


def deletion_curve(
    predict: Predict,
    features: Tensor,
    lengths: Tensor,
    record: AttentionRecord,
    *,
    targets: Tensor | None = None,
    fractions: Sequence[float] = FRACTIONS,
    seed: int | Sequence[int] = 0,
    batch_size: int = 256,
) -> PerturbationCurve:
    """Probability of a class while the most attended frames are deleted first.

    A deleted frame becomes the mean frame of its clip, which is all zeros for
    mean-normalised features; the clip keeps its length. Frames attended to
    equally, as those outside a compact support, are deleted in random order.

    Parameters
    ----------
    predict
        From features ``(n, frames, mels)`` and lengths ``(n,)`` to
        probabilities ``(n, classes)``, with the model in evaluation mode.
        Called without gradient.
    features, lengths
        Input of the model for each clip, shapes ``(clips, frames, mels)`` and
        ``(clips,)``, on the device of the model.
    record
        Attention of the same clips. If it has fewer or more frames than the
        clip (the model pools time), its attention is spread evenly over them.
    targets
        Class to watch in each clip, shape ``(clips,)``; by default the one
        predicted for the whole clip.
    fractions
        Shares of the frames to delete, rising, within 0 to 1, at least two.
    seed
        Of the random orders; give each batch its own, such as ``(seed, batch)``.
    batch_size
        Sequences in one call of ``predict``, three orders of all fractions for
        each clip; at least 1. It changes memory only.

    Raises
    ------
    ValueError
        When an argument does not fit the others; the message names it.

    Notes
    -----
    Petsiuk et al., *RISE: randomized input sampling for explanation of
    black-box models*, BMVC 2018, section 4.3. Scattered frames hurt a model
    differently from a block of them, so compare with ``random``, whose frames
    lie as close together as those of the attention, before ``uniform``.
    """
    return _curve("deletion", predict, features, lengths, record, targets, fractions, seed, batch_size)


def insertion_curve(
    predict: Predict,
    features: Tensor,
    lengths: Tensor,
    record: AttentionRecord,
    *,
    targets: Tensor | None = None,
    fractions: Sequence[float] = FRACTIONS,
    seed: int | Sequence[int] = 0,
    batch_size: int = 256,
) -> PerturbationCurve:
    """Compute the insertion curve: the probability of a class while the most attended frames are inserted first.

    Parameters
    ----------
    predict, features, lengths, record, targets, fractions, seed, batch_size
        As in :func:`deletion_curve`.
    """
    return _curve("insertion", predict, features, lengths, record, targets, fractions, seed, batch_size)


def _curve(
    kind: str,
    predict: Predict,
    features: Tensor,
    lengths: Tensor,
    record: AttentionRecord,
    targets: Tensor | None,
    fractions: Sequence[float],
    seed: int | Sequence[int],
    batch_size: int,
) -> PerturbationCurve:
    _check(features, lengths, record, targets, fractions, batch_size)
    shares = torch.as_tensor(fractions, dtype=torch.float64, device=features.device)
    ranks = torch.from_numpy(_ranks(record, lengths.cpu().numpy(), features.shape[1], seed)).to(features.device)
    heights = []
    clips_at_once = max(1, batch_size // (len(_ORDERS) * len(shares)))
    with torch.no_grad():
        for rows in torch.arange(len(features), device=features.device).split(clips_at_once):
            watched = None if targets is None else targets[rows.to(targets.device)]
            heights.append(
                _heights(kind, predict, features[rows], lengths.to(rows.device)[rows], ranks[rows], shares, watched)
            )
    joined = torch.cat(heights).cpu().numpy()  # (clips, orders, fractions)
    return PerturbationCurve(kind, np.asarray(fractions, dtype=np.float64), *joined.swapaxes(0, 1))


def _heights(
    kind: str, predict: Predict, x: Tensor, lengths: Tensor, ranks: Tensor, shares: Tensor, targets: Tensor | None
) -> Tensor:
    """Probability of the target of each clip for every order and fraction, shape ``(clips, orders, fractions)``."""
    clips, frames, mels = x.shape
    valid = torch.arange(frames, device=x.device) < lengths[:, None]  # (B, T)
    mean = x.where(valid[..., None], 0).sum(dim=1, keepdim=True) / lengths[:, None, None]  # (B, 1, F)
    if targets is None:
        targets = _probabilities(predict, x, lengths).argmax(dim=1)
    changed = (shares * lengths[:, None] + 0.5).floor()  # (B, K)
    first = ranks[:, :, None] < changed[:, None, :, None]  # (B, 3, K, T)
    replaced = (first if kind == "deletion" else ~first) & valid[:, None, None]
    inputs = torch.where(replaced[..., None], mean[:, None, None], x[:, None, None])  # (B, 3, K, T, F)
    copies = replaced.shape[1] * replaced.shape[2]
    probabilities = _probabilities(predict, inputs.reshape(-1, frames, mels), lengths.repeat_interleave(copies))
    chosen = probabilities.gather(1, targets.to(probabilities.device).repeat_interleave(copies)[:, None])
    return chosen.reshape(clips, *replaced.shape[1:3])


def _probabilities(predict: Predict, features: Tensor, lengths: Tensor) -> Tensor:
    probabilities = predict(features, lengths)
    if probabilities.ndim != 2 or len(probabilities) != len(features):
        raise ValueError(f"predict gave shape {tuple(probabilities.shape)}; it must be ({len(features)}, classes)")
    if not torch.isfinite(probabilities).all() or probabilities.min() < 0 or probabilities.max() > 1.01:
        raise ValueError("predict gave values outside 0 to 1; it must return probabilities (apply softmax or exp)")
    return probabilities.double()


def _ranks(
    record: AttentionRecord, lengths: NDArray[np.int64], frames: int, seed: int | Sequence[int]
) -> NDArray[np.int64]:
    """Place of each frame in the three orders, padding last, shape ``(clips, orders, frames)``."""
    generator = np.random.default_rng(seed)
    frame_attention = np.zeros((len(lengths), 3, frames))
    for i, n in enumerate(lengths):
        attended = resample(record.frame_attention(i), int(n))
        frame_attention[i, 0, :n] = attended
        frame_attention[i, 2, :n] = np.roll(attended, generator.integers(0, n))
    frame_attention[np.broadcast_to(np.arange(frames) >= lengths[:, None, None], frame_attention.shape)] = -1
    order = np.lexsort((generator.random(frame_attention.shape), -frame_attention), axis=-1)
    return order.argsort(axis=-1)


def resample(frame_attention: Array, frames: int) -> Array:
    """The same attention over another number of frames of the same clip."""
    if len(frame_attention) == frames:
        return frame_attention
    mass = np.concatenate([[0.0], np.cumsum(frame_attention)])
    return np.diff(np.interp(np.linspace(0, len(frame_attention), frames + 1), np.arange(len(mass)), mass))


def _check(
    features: Tensor,
    lengths: Tensor,
    record: AttentionRecord,
    targets: Tensor | None,
    fractions: Sequence[float],
    batch_size: int,
) -> None:
    if features.ndim != 3 or len(features) == 0:
        raise ValueError(f"features has shape {tuple(features.shape)}; it must be (clips, frames, mels), not empty")
    if lengths.shape != features.shape[:1]:
        raise ValueError(f"lengths has shape {tuple(lengths.shape)}; it must be ({len(features)},), one a clip")
    if int(lengths.min()) < 1 or int(lengths.max()) > features.shape[1]:
        raise ValueError(
            f"lengths runs from {int(lengths.min())} to {int(lengths.max())}; allowed is 1 to {features.shape[1]}"
        )
    if len(record) != len(features):
        raise ValueError(
            f"record describes {len(record)} clips, features {len(features)}; give those of the same clips"
        )
    if targets is not None and targets.shape != features.shape[:1]:
        raise ValueError(f"targets has shape {tuple(targets.shape)}; it must be ({len(features)},), one class a clip")
    if len(fractions) < 2 or fractions[0] < 0 or fractions[-1] > 1 or any(np.diff(fractions) <= 0):
        raise ValueError(f"fractions is {tuple(fractions)}; give at least two, rising, from 0 to 1")
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}; it must be at least 1")
