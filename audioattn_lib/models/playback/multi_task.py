r"""Several questions about one clip, such as verb and noun of an action, answered by one model.

Heads of several tasks on the same features are one linear layer: the rows of
its weight are the classes of the first task, then those of the second. A model
with as many outputs as all tasks have classes is a model with a head for each;
what differs is how its logits are read and what it is trained with.

Book page: ``playback_published``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from .losses import playback_loss
from .outputs import PlaybackOutput, Tasks

__all__ = ["multi_task_loss"]


def multi_task_loss(
    output: PlaybackOutput, targets: Int[Tensor, "batch tasks"] | Sequence[Tensor], tasks: Tasks, **options: Any
) -> Float[Tensor, ""]:
    r"""Mean over the tasks of the loss of each, with all its terms, :math:`\tfrac1K \sum_k L^{(k)}`.

    Parameters
    ----------
    output
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
    stages = tasks.split(output.stage_logits)
    salient = [None] * len(each) if output.salient_logits is None else tasks.split(output.salient_logits)
    losses = [
        playback_loss(
            output._replace(logits=logits, stage_logits=stage, salient_logits=alone),
            target,
            is_multilabel=False,
            **options,
        )
        for logits, stage, alone, target in zip(tasks.split(output.logits), stages, salient, each, strict=True)
    ]
    return torch.stack(losses).mean()
