"""Deletion and insertion curves: does a model use the frames that its attention points at?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...attention.record.record import AttentionRecord

__all__ = ["AXES", "FRACTIONS", "PerturbationCurve", "delete_frames", "deletion_curve", "insertion_curve"]

Array = NDArray[np.floating[Any]]
Predict = Callable[[Tensor, Tensor], Tensor]

AXES = ("time", "frequency", "cells")
"""Axes along which input is deleted or inserted: frames, bands, or cells of both."""

FRACTIONS = tuple(np.linspace(0, 1, 11).tolist())
"""Shares of the input that a curve deletes or inserts by default."""
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
    batch_size: int = 64,
    axes: str = "time",
    grid: tuple[int, int] | None = None,
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
        each clip; at least 1. It changes memory and time only: on a processor
        256 sequences of 4 s take half as long again as 64.
    axes
        One of :data:`AXES`. For ``frequency`` and ``cells`` the record needs ``maps``, low bands first like the
        features, and what is deleted becomes the mean of the whole clip, as the mean of its band would keep the level
        of the band.
    grid
        Bands and frames of the units into which a clip is divided, each at most that of the features. By default one
        unit is a frame, a band, or a cell of the maps. For samples give fewer frames than samples.

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
    return _curve("deletion", predict, features, lengths, record, targets, fractions, seed, batch_size, axes, grid)


def insertion_curve(
    predict: Predict,
    features: Tensor,
    lengths: Tensor,
    record: AttentionRecord,
    *,
    targets: Tensor | None = None,
    fractions: Sequence[float] = FRACTIONS,
    seed: int | Sequence[int] = 0,
    batch_size: int = 64,
    axes: str = "time",
    grid: tuple[int, int] | None = None,
) -> PerturbationCurve:
    """Compute the insertion curve: the probability of a class while the most attended frames are inserted first.

    Parameters
    ----------
    predict, features, lengths, record, targets, fractions, seed, batch_size, axes, grid
        As in :func:`deletion_curve`.
    """
    return _curve("insertion", predict, features, lengths, record, targets, fractions, seed, batch_size, axes, grid)


def delete_frames(
    features: Tensor, lengths: Tensor, record: AttentionRecord, fraction: float, *, seed: int | Sequence[int] = 0
) -> Tensor:
    """Delete the most attended frames of each clip, as a deletion curve does, to train a model on what is left.

    Parameters
    ----------
    features, lengths, record, seed
        As in :func:`deletion_curve`, which takes the same frames.
    fraction
        Share of the frames of each clip, from 0 to 1.

    Returns
    -------
    Tensor
        Of the shape of ``features``; a deleted frame is the mean frame of its clip.

    Raises
    ------
    ValueError
        When an argument does not fit the others; the message names it.

    Notes
    -----
    A deleted frame is a sound that the model was never trained on, so a falling curve may show that alone. A model
    that is trained again without the frames, and is worse than one trained without others, shows that they were needed:
    Hooker et al., *A benchmark for interpretability methods in deep neural networks*, NeurIPS 2019. Book page:
    ``your_sounds``.
    """
    if not 0 <= fraction <= 1:
        raise ValueError(f"fraction is {fraction}; it must be from 0 to 1")
    _check(features, lengths, record, None, (0.0, 1.0), 1)
    frames = features.shape[1]
    ranks = torch.from_numpy(_ranks(record, lengths.cpu().numpy(), frames, seed)[:, 0]).to(features.device)
    valid = torch.arange(frames, device=features.device) < lengths[:, None]
    mean = features.where(valid[..., None], 0).sum(dim=1, keepdim=True) / lengths[:, None, None]
    count = (fraction * lengths.double() + 0.5).floor()
    return torch.where(((ranks < count[:, None]) & valid)[..., None], mean, features)


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
    axes: str,
    grid: tuple[int, int] | None,
) -> PerturbationCurve:
    _check(features, lengths, record, targets, fractions, batch_size)
    shares = torch.as_tensor(fractions, dtype=torch.float64, device=features.device)
    counts = lengths.cpu().numpy()
    if axes == "time" and grid is None:
        ranks, units = torch.from_numpy(_ranks(record, counts, features.shape[1], seed)).to(features.device), None
    else:
        bands, frames = _grid(record, features, lengths, axes, grid)
        ranks = torch.from_numpy(_ranks_of_units(record, bands, frames, seed)).to(features.device)
        units = _units(features, lengths, bands, frames)
    heights = []
    clips_at_once = max(1, batch_size // int(_own(shares).sum()))
    with torch.no_grad():
        for rows in torch.arange(len(features), device=features.device).split(clips_at_once):
            watched = None if targets is None else targets[rows.to(targets.device)]
            own = None if units is None else units[rows]
            own_lengths = lengths.to(rows.device)[rows]
            heights.append(
                _heights(kind, predict, features[rows], own_lengths, ranks[rows], shares, watched, own, axes)
            )
    joined = torch.cat(heights).cpu().numpy()  # (clips, orders, fractions)
    return PerturbationCurve(kind, np.asarray(fractions, dtype=np.float64), *joined.swapaxes(0, 1))


def _heights(
    kind: str,
    predict: Predict,
    x: Tensor,
    lengths: Tensor,
    ranks: Tensor,
    shares: Tensor,
    targets: Tensor | None,
    units: Tensor | None,
    axes: str,
) -> Tensor:
    """Probability of the target of each clip for every order and fraction, shape ``(clips, orders, fractions)``."""
    clips, frames, mels = x.shape
    valid = torch.arange(frames, device=x.device) < lengths[:, None]  # (B, T)
    mean = x.where(valid[..., None], 0).sum(dim=1, keepdim=True) / lengths[:, None, None]  # (B, 1, F)
    if axes != "time":
        mean = mean.mean(dim=2, keepdim=True).expand_as(mean)
    count = lengths[:, None] if units is None else lengths.new_tensor(ranks.shape[-1])
    changed = (shares * count + 0.5).floor().expand(clips, -1)  # (B, K)
    is_own = _own(shares)  # (3, K), P of them true
    order, share = is_own.nonzero(as_tuple=True)  # (P,), (P,)
    first = ranks[:, order] < changed[:, share, None]  # (B, P, T), or (B, P, U)
    if units is None:
        first = first[..., None]
    else:
        places = units.flatten(1)[:, None].expand(-1, first.shape[1], -1)
        first = first.gather(-1, places).unflatten(-1, (frames, mels))
    replaced = (first if kind == "deletion" else ~first) & valid[:, None, :, None]
    inputs = torch.where(replaced, mean[:, None], x[:, None])  # (B, P, T, F)
    copies = replaced.shape[1]
    probabilities = _probabilities(predict, inputs.reshape(-1, frames, mels), lengths.repeat_interleave(copies))
    probabilities = probabilities.unflatten(0, (clips, copies))  # (B, P, C)
    if targets is None:
        whole = (share == int(shares.argmin() if kind == "deletion" else shares.argmax())).nonzero()[0, 0]
        is_whole = shares.min() == 0 if kind == "deletion" else shares.max() == 1
        own = probabilities[:, whole] if is_whole else _probabilities(predict, x, lengths)
        targets = own.argmax(dim=1)
    watched = targets.to(probabilities.device)[:, None, None].expand(-1, copies, 1)
    heights = probabilities.gather(2, watched)[..., 0]  # (B, P)
    index = (is_own.flatten().cumsum(0) - 1).view_as(is_own)
    return heights[:, index.where(is_own, index[0])]


def _own(shares: Tensor) -> Tensor:
    """True where an order has an input of its own at each share: where nothing or all is replaced, the first has it."""
    is_own = ((shares > 0) & (shares < 1)).repeat(len(_ORDERS), 1)
    is_own[0] = True
    return is_own


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


def _grid(
    record: AttentionRecord, features: Tensor, lengths: Tensor, axes: str, grid: tuple[int, int] | None
) -> tuple[int, int]:
    """Bands and frames of units along the axes; 1 along the other one."""
    if axes not in AXES:
        raise ValueError(f"axes is {axes!r}; it must be one of {', '.join(AXES)}")
    if axes != "time" and record.maps is None:
        raise ValueError(f"the record has no maps over time and frequency, which axes={axes!r} needs; take 'time'")
    n_bands, shortest = features.shape[2], int(lengths.min())
    own = (n_bands, shortest) if record.maps is None else record.maps.shape[-2:]
    bands, frames = ((n_bands, 1) if axes == "frequency" else own) if grid is None else grid
    bands, frames = 1 if axes == "time" else bands, 1 if axes == "frequency" else frames
    if not (1 <= bands <= n_bands and 1 <= frames <= shortest):
        raise ValueError(f"grid is {bands} bands by {frames} frames; it must be within {n_bands} by {shortest}")
    return bands, frames


def _units(features: Tensor, lengths: Tensor, bands: int, frames: int) -> Tensor:
    """Unit of each cell of the features, row by row of units, shape (clips, frames, bands)."""
    along = torch.arange(features.shape[1], device=features.device) * frames // lengths.to(features.device)[:, None]
    up = torch.arange(features.shape[2], device=features.device) * bands // features.shape[2]
    return up * frames + along.clamp(max=frames - 1)[..., None]


def _ranks_of_units(record: AttentionRecord, bands: int, frames: int, seed: int | Sequence[int]) -> NDArray[np.int64]:
    """Place of each unit in the three orders, shape ``(clips, orders, bands * frames)``."""
    generator = np.random.default_rng(seed)
    attention = np.zeros((len(record), 3, bands, frames))
    for i in range(len(record)):
        if bands == 1:
            own = resample(record.frame_attention(i), frames)[None]
        else:
            assert record.maps is not None
            assert record.n_frames is not None
            whole = record.maps[i, ..., : record.n_frames[i]].astype(np.float64).mean(axis=(0, 1))
            over_bands = np.stack([resample(column, bands) for column in whole.T], axis=1)
            own = np.stack([resample(row, frames) for row in over_bands])
        attention[i, 0] = own
        attention[i, 2] = np.roll(own, (generator.integers(0, bands), generator.integers(0, frames)), axis=(0, 1))
    flat = attention.reshape(len(record), 3, -1)
    order = np.lexsort((generator.random(flat.shape), -flat), axis=-1)
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
