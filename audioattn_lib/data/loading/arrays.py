"""Features that are in memory as a store.

Book page: ``bring_your_own_model``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["ArrayStore"]


class ArrayStore:
    """Features of all clips of a corpus, made by any front end, for a :class:`.batches.BatchLoader`.

    Parameters
    ----------
    features
        Of each clip, shape ``(clips, frames, features)``.
    n_frames
        Valid frames of each clip, shape ``(clips,)``; all by default.

    Raises
    ------
    ValueError
        When a shape does not fit.

    Notes
    -----
    Book page: ``bring_your_own_model``.
    """

    def __init__(
        self, features: Float[Tensor, "clips frames features"], n_frames: NDArray[np.int64] | None = None
    ) -> None:
        if features.dim() != 3:
            raise ValueError(f"features have shape {tuple(features.shape)}; give (clips, frames, features)")
        clips, frames, self.n_features = features.shape
        self.features = features
        self.n_frames: NDArray[np.int64] = np.full(clips, frames) if n_frames is None else np.asarray(n_frames)
        if self.n_frames.shape != (clips,) or not ((self.n_frames > 0) & (self.n_frames <= frames)).all():
            raise ValueError(f"n_frames has shape {self.n_frames.shape}; give 1 to {frames} for each of {clips} clips")

    def __len__(self) -> int:
        return len(self.n_frames)

    def __getitem__(self, index: int) -> Float[Tensor, "frames features"]:
        """Features of one clip."""
        return self.features[index, : int(self.n_frames[index])]

    def batch(self, indices: Any) -> tuple[Float[Tensor, "batch frames features"], Int[Tensor, " batch"]]:
        """Features of several clips, as long as the longest of them, and how many frames each has."""
        rows = torch.as_tensor(np.asarray(indices, dtype=np.int64))
        lengths = torch.as_tensor(self.n_frames[rows.numpy()])
        return self.features[rows, : int(lengths.max())], lengths
