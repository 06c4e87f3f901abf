"""Types that the playback model and its losses share: the tasks of a model and its output for a batch.

Book page: ``playback``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from audioattn_lib.attention.record.record import AttentionRecord
from audioattn_lib.core.errors import ConfigError

from ..layers.common import at_least_float32

__all__ = ["PlaybackOutput", "Tasks"]


class PlaybackOutput(NamedTuple):
    """Output of the playback model for a batch.

    ``logits`` are the answer. ``stage_logits`` are the predictions after each
    stage, NaN where a clip had stopped before. ``salient_logits`` are those of
    each playback alone, its frames weighted by their saliency; None but for the
    selection ``slots``. ``segments`` are the parts that were played back, in seconds, NaN
    where there are fewer. ``playbacks`` counts them, 0 for a clip that stopped
    after the first hearing. ``frames`` are those that the encoder saw in each
    stage, padding left out: what listening cost.
    """

    logits: Float[Tensor, "batch classes"]
    stage_logits: Float[Tensor, "batch stages classes"]
    salient_logits: Float[Tensor, "batch playbacks classes"] | None
    segments: Float[Tensor, "batch playbacks parts 2"]
    playbacks: Int[Tensor, " batch"]
    frames: Int[Tensor, "batch stages"]
    record: AttentionRecord


@dataclass(frozen=True)
class Tasks:
    """Names of the tasks and how many classes each has, in the order of the outputs of a model.

    Parameters
    ----------
    names
        One or more different ones, such as ``("verb", "noun")``.
    sizes
        Classes of each, at least 1.

    Notes
    -----
    Book page: ``playback_published``.
    """

    names: tuple[str, ...]
    sizes: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.names or len(set(self.names)) != len(self.names) or len(self.names) != len(self.sizes):
            raise ConfigError(
                f"names are {self.names} and sizes {self.sizes}; give each task a name of its own and a size"
            )
        if min(self.sizes) < 1:
            raise ConfigError(f"sizes are {self.sizes}; each task needs at least 1 class")

    @property
    def n_classes(self) -> int:
        """Outputs that a model for all of them has."""
        return sum(self.sizes)

    def split(self, logits: Float[Tensor, "*shape classes"]) -> tuple[Tensor, ...]:
        """Those of each task."""
        if logits.shape[-1] != self.n_classes:
            raise ValueError(
                f"{logits.shape[-1]} logits for tasks of {self.sizes} classes; there must be {self.n_classes}"
            )
        return logits.split(self.sizes, dim=-1)

    def probabilities(self, logits: Float[Tensor, "batch classes"]) -> tuple[Tensor, ...]:
        """Of each task, rows with sum 1, in at least float32."""
        return tuple(task_logits.softmax(dim=-1) for task_logits in self.split(at_least_float32(logits)))

    def confidence(self, logits: Float[Tensor, "batch classes"]) -> Float[Tensor, " batch"]:
        r"""Compute the minimum confidence of tasks, :math:`\min_k \max_c \mathrm{softmax}(\ell^{(k)})_c`, in [0, 1]."""
        return torch.stack([rows.amax(dim=-1) for rows in self.probabilities(logits)]).amin(dim=0)
