r"""Several questions about one clip, such as verb and noun of an action, answered by one model.

Heads of several tasks on the same features are one linear layer: the rows of
its weight are the classes of the first task, then those of the second. A model
with as many outputs as all tasks have classes is a model with a head for each;
what differs is how its logits are read and what it is trained with.

Book page: ``playback_published``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from audioattn_lib.core.errors import ConfigError

from ..layers.common import at_least_float32
from .losses import playback_loss
from .network import Heard

__all__ = ["Tasks", "multi_task_loss"]


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
        return tuple(part.softmax(dim=-1) for part in self.split(at_least_float32(logits)))

    def confidence(self, logits: Float[Tensor, "batch classes"]) -> Float[Tensor, " batch"]:
        r"""Compute the minimum confidence of tasks, :math:`\min_k \max_c \mathrm{softmax}(\ell^{(k)})_c`, in [0, 1]."""
        return torch.stack([part.amax(dim=-1) for part in self.probabilities(logits)]).amin(dim=0)


def multi_task_loss(
    heard: Heard, targets: Int[Tensor, "batch tasks"] | Sequence[Tensor], tasks: Tasks, **options: Any
) -> Float[Tensor, ""]:
    r"""Mean over the tasks of the loss of each, with all its terms, :math:`\tfrac1K \sum_k L^{(k)}`.

    Parameters
    ----------
    heard
        Of a playback model with ``tasks.n_classes`` outputs.
    targets
        Class of each clip in each task, counted from 0 within the task, shape
        ``(B, tasks)``; or for each task shares of its classes ``(B, classes)``
        with sum 1, where examples are mixed.
    tasks
        How the outputs are divided.
    options
        Of :func:`~audioattn_lib.models.playback.losses.playback_loss`.

    Raises
    ------
    ValueError
        When there are not as many targets as tasks.

    Notes
    -----
    The published code averages over verb and noun too, but overwrites the loss
    of the single playbacks, which is in this one. Stergiou and Damen, *Play it
    back*, ICASSP 2023. Book page: ``playback_published``.
    """
    each = targets.unbind(dim=1) if isinstance(targets, Tensor) else tuple(targets)
    if len(each) != len(tasks.names):
        raise ValueError(f"targets of {len(each)} tasks; there are {len(tasks.names)}: {', '.join(tasks.names)}")
    stages = tasks.split(heard.stage_logits)
    salient = [None] * len(each) if heard.salient_logits is None else tasks.split(heard.salient_logits)
    losses = [
        playback_loss(
            heard._replace(logits=logits, stage_logits=stage, salient_logits=alone),
            target,
            several_labels=False,
            **options,
        )
        for logits, stage, alone, target in zip(tasks.split(heard.logits), stages, salient, each, strict=True)
    ]
    return torch.stack(losses).mean()
