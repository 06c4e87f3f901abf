"""Averages of weights over training, evaluated like the weights themselves.

Book page: ``attention_patterns``.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from ..core.errors import ConfigError

__all__ = ["AVERAGES", "AveragedModel"]

AVERAGES = ("none", "swa", "ema")
"""Averages of weights: ``swa`` is the plain mean at intervals, ``ema`` the exponential moving average."""


class AveragedModel(nn.Module):
    r"""A network with a running average of its weights, which it uses in evaluation.

    ``"swa"``: :math:`\bar\theta \leftarrow \bar\theta + (\theta - \bar\theta)/(n + 1)`
    every ``every`` updates from update ``start`` on. ``"ema"``:
    :math:`\bar\theta \leftarrow d\,\bar\theta + (1 - d)\,\theta`.

    Parameters
    ----------
    network
        What is trained. Its buffers are not averaged but copied.
    kind
        ``"swa"`` or ``"ema"``.
    start
        Updates before the first average, at least 0; until then evaluation
        uses the weights themselves.
    every
        Updates from one average to the next, at least 1.
    decay
        :math:`d` of ``"ema"``, in (0, 1).

    Notes
    -----
    Average and count are part of the state, so a resumed run goes on exactly.
    Call :meth:`update` before each update of the weights. Izmailov et al.,
    *Averaging weights leads to wider optima and better generalization*, UAI
    2018. Book page: ``attention_patterns``.
    """

    updates: Tensor
    averaged: Tensor

    def __init__(self, network: nn.Module, kind: str, *, start: int = 0, every: int = 1, decay: float = 0.999) -> None:
        super().__init__()
        if kind not in AVERAGES[1:]:
            raise ConfigError(f"kind of average is {kind!r}; it must be one of {', '.join(AVERAGES[1:])}")
        if start < 0 or every < 1:
            raise ConfigError(f"start is {start} and every {every}; they must be at least 0 and 1 updates")
        if not 0 < decay < 1:
            raise ConfigError(f"decay is {decay}; it must be above 0 and below 1")
        self.kind, self.start, self.every, self.decay = kind, start, every, decay
        self.network = network
        self.average = copy.deepcopy(network).requires_grad_(False)
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))
        self.register_buffer("averaged", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def update(self) -> None:
        """Before each update of the weights: take them into the average when it is time, and count."""
        step = int(self.updates)
        self.updates += 1
        if step < self.start or (step - self.start) % self.every:
            return
        count = int(self.averaged)
        keep = count / (count + 1) if self.kind == "swa" or not count else self.decay
        for mean, now in zip(self.average.parameters(), self.network.parameters(), strict=True):
            mean.lerp_(now, 1 - keep)
        for target, buffer in zip(self.average.buffers(), self.network.buffers(), strict=True):
            target.copy_(buffer)
        self.averaged += 1

    @property
    def current(self) -> nn.Module:
        """Return the network of a forward pass: the average in evaluation mode, once there is one."""
        return self.network if self.training or not int(self.averaged) else self.average

    def forward(self, *inputs: Any, **options: Any) -> Any:
        """The network's output, in evaluation that of the averaged weights."""
        return self.current(*inputs, **options)
