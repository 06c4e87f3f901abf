r"""Learning rates that change from epoch to epoch, as published for audio transformers.

They are called with the number of finished updates like those of
:mod:`.schedules`, and stay the same within an epoch. The published numbers
suit the epochs they were written for: with 20 epochs and a warm-up of 100, as
in the published experiment on notes, the rate never leaves the warm-up.
:meth:`EpochRamp.fitted` scales them to the epochs that are run.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..core.errors import ConfigError

__all__ = ["EpochCosine", "EpochRamp"]


@dataclass(frozen=True)
class EpochRamp:
    r"""Exponential warm-up, a plateau, and a linear ramp down (``exp_lin``).

    .. math:: \mathrm{lr}(e) = \mathrm{lr}\;
       \exp\Bigl(-5\bigl(1 - \tfrac{\max(e, 1/2)}{W}\bigr)^2\Bigr)_{e < W}\;
       \Bigl(r + (1 - r)\,\mathrm{clip}\bigl(\tfrac{S + L - e}{L}, 0, 1\bigr)\Bigr)

    Parameters
    ----------
    lr
        Highest learning rate, above 0.
    steps_per_epoch
        Updates of an epoch, at least 1.
    warm_up
        Epochs :math:`W` of the warm-up, at least 0.
    ramp_down_start, ramp_down_length
        Epochs :math:`S` and :math:`L`: the ramp begins after :math:`S` and takes :math:`L`, at least 1.
    last
        What is left of the rate, :math:`r`, in [0, 1].

    Notes
    -----
    The defaults are those published for scenes (10 epochs). Book page:
    ``attention_patterns``.
    """

    lr: float
    steps_per_epoch: int
    warm_up: int = 5
    ramp_down_start: int = 50
    ramp_down_length: int = 50
    last: float = 0.01

    def __post_init__(self) -> None:
        _check(self.lr, self.steps_per_epoch, self.last)
        for name, lowest in (("warm_up", 0), ("ramp_down_start", 0), ("ramp_down_length", 1)):
            if getattr(self, name) < lowest:
                raise ConfigError(f"{name} is {getattr(self, name)}; it must be at least {lowest} epochs")

    @classmethod
    def fitted(cls, lr: float, steps_per_epoch: int, epochs: int, last: float = 0.01) -> EpochRamp:
        """A tenth of the epochs for the warm-up, a plateau to the middle, then down to the last epoch."""
        if epochs < 1:
            raise ConfigError(f"epochs is {epochs}; it must be at least 1")
        middle = epochs // 2
        return cls(lr, steps_per_epoch, math.ceil(epochs / 10), middle, max(epochs - 1 - middle, 1), last)

    def __call__(self, step: int) -> float:
        """Learning rate after ``step`` updates."""
        epoch = step // self.steps_per_epoch
        up = math.exp(-5 * (1 - max(epoch, 0.5) / self.warm_up) ** 2) if epoch < self.warm_up else 1.0
        left = (self.ramp_down_start + self.ramp_down_length - epoch) / self.ramp_down_length
        return self.lr * up * (self.last + (1 - self.last) * min(max(left, 0.0), 1.0))


@dataclass(frozen=True)
class EpochCosine:
    r"""Cosines of a fixed number of epochs, one after the other, then a small rate (``cos_cyc``).

    .. math:: \mathrm{lr}(e) = \mathrm{lr}\,\Bigl(r + \frac{1 - r}{2}
       \Bigl(1 + \cos\bigl(2\pi\,\tfrac{e + \lfloor c/2 \rfloor}{c}\bigr)\Bigr)\Bigr)

    up to epoch :math:`c + \lfloor (S - 1)/c \rfloor\,c`, and :math:`r\,\mathrm{lr}` after it.

    Parameters
    ----------
    lr, steps_per_epoch, last
        As in :class:`EpochRamp`.
    cycle
        Epochs :math:`c` of a cosine, at least 1.
    start
        :math:`S`, at least 1: the cosine that it falls into is the last one.

    Notes
    -----
    Book page: ``attention_patterns``.
    """

    lr: float
    steps_per_epoch: int
    cycle: int = 5
    start: int = 50
    last: float = 0.01

    def __post_init__(self) -> None:
        _check(self.lr, self.steps_per_epoch, self.last)
        for name in ("cycle", "start"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; it must be at least 1 epoch")

    def __call__(self, step: int) -> float:
        """Learning rate after ``step`` updates."""
        epoch, c = step // self.steps_per_epoch, self.cycle
        if epoch > c + (self.start - 1) // c * c:
            return self.lr * self.last
        wave = (1 + math.cos(2 * math.pi * (epoch + c // 2) / c)) / 2
        return self.lr * (self.last + (1 - self.last) * wave)


def _check(lr: float, steps_per_epoch: int, last: float) -> None:
    if not (math.isfinite(lr) and lr > 0):
        raise ConfigError(f"lr is {lr}; a learning rate must be a finite number above 0")
    if steps_per_epoch < 1:
        raise ConfigError(f"steps_per_epoch is {steps_per_epoch}; it must be at least 1")
    if not 0 <= last <= 1:
        raise ConfigError(f"last is {last}; it must be in [0, 1]")
