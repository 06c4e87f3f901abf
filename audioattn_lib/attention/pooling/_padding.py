"""Shared helpers of attention modules: padding of a batch, checks of options, weighted sums and records."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from audioattn_lib.core.errors import ConfigError
from audioattn_lib.core.tensors import are_real, is_exporting

from ..record import _pytree as _pytree
from ..record.density import Density
from ..record.record import AttentionRecord, FrameClock

__all__ = ["FRAMES", "Padding", "check_dropout", "host", "read", "seconds_of", "to_record"]

FRAMES = ("batch", "frames", "features")


class Padding:
    """Padding mask and valid frame counts of a batch; ``axes`` are the names of the dimensions of the values."""

    def __init__(self, values: Tensor, lengths: Tensor | None, axes: Sequence[str] = FRAMES) -> None:
        if values.ndim != len(axes):
            raise ValueError(f"values have shape {tuple(values.shape)}; they must be ({', '.join(axes)})")
        batch, n_frames = values.shape[:2]
        self.mask: Tensor | None = None
        if is_exporting():  # no number is known, and every one has to be possible
            self.counts: list[int] = []
            if lengths is None:
                self.lengths = torch.full((batch,), n_frames, device=values.device)
            else:
                self.lengths = lengths.to(values.device)
                self.mask = torch.arange(n_frames, device=values.device) < self.lengths[:, None]
            return
        if lengths is None:
            self.counts = [n_frames] * batch
            self.lengths = torch.full((batch,), n_frames, device=values.device)
        else:
            if lengths.shape != (batch,) or lengths.is_floating_point():
                raise ValueError(
                    f"lengths have shape {tuple(lengths.shape)} and dtype {lengths.dtype}; "
                    f"they must be integers of shape ({batch},), one a clip"
                )
            try:
                self.counts = lengths.tolist()
            except RuntimeError:
                if are_real(lengths):
                    raise
                raise RuntimeError(
                    "lengths are mapped over by vmap, but have to be known on the host; map over values alone, with "
                    "lengths that all share, or give all clips as one batch"
                ) from None
            self.lengths = lengths.to(values.device, non_blocking=True)
        for clip, count in enumerate(self.counts):
            if not 1 <= count <= n_frames:
                raise ValueError(
                    f"clip {clip} of the batch has {count} valid frames; it must have 1 to {n_frames}: "
                    "leave out clips that are shorter than one frame"
                )
        if min(self.counts, default=n_frames) < n_frames:
            self.mask = torch.arange(n_frames, device=values.device) < self.lengths[:, None]

    @property
    def frame_counts(self) -> Sequence[int] | Tensor:
        """Valid frames of each clip: numbers, or a tensor while a graph is exported."""
        return self.lengths if is_exporting() else self.counts

    def clear(self, values: Tensor) -> Tensor:
        """Zeros where padding was, which might be anything, NaN included."""
        if self.mask is None:
            return values
        return values.masked_fill(~self.mask.reshape(*self.mask.shape, *[1] * (values.ndim - 2)), 0.0)


def seconds_of(clock: FrameClock, padding: Padding, location: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
    """Locations (seconds) and variances (square seconds) of densities ``(batch, modes)`` in clip lengths."""
    duration = padding.lengths[:, None].to(location.dtype) * clock.period
    return clock.start + location * duration, variance * duration.square()


def read(weights: Tensor, values: Tensor) -> Tensor:
    """Sum of the frames by weight, in their dtype."""
    return torch.bmm(weights[:, None].to(values.dtype), values).squeeze(1)


def check_dropout(dropout: float) -> float:
    """The share that is dropped, if it is one."""
    if not 0 <= dropout < 1:
        raise ConfigError(f"dropout is {dropout}; it must be in [0, 1)")
    return dropout


def host(tensor: Tensor) -> np.ndarray:
    """A copy in float64 that has no gradient."""
    return tensor.detach().double().cpu().numpy()


def to_record(
    name: str,
    clock: FrameClock,
    padding: Padding,
    *,
    weights: Tensor | None,
    read_weights: Tensor | None = None,
    density: Density | None = None,
) -> AttentionRecord:
    """The record of an attention of one head."""
    return AttentionRecord(
        mechanism=name,
        clock=clock,
        n_frames=np.array(padding.counts, dtype=np.int64),
        weights=None if weights is None else weights.detach().float().cpu().numpy()[:, None],
        read_weights=None if read_weights is None else read_weights.detach().float().cpu().numpy(),
        density=density,
    )
