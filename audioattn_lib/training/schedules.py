r"""Learning rates as functions of the optimiser step, so that a resumed run needs no state but its step.

Every schedule is a frozen dataclass called with ``step``, the number of updates
already made: the first update uses ``schedule(0)``. A step is an update of the
parameters; validation batches are none. Use one directly, plot it, or hand it
to torch with :func:`attach`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from ..core.errors import ConfigError

__all__ = ["SCHEDULES", "Constant", "Cosine", "OneCycle", "Schedule", "Triangular", "attach", "build_schedule"]


class Schedule(Protocol):
    """Anything that gives the learning rate of an update."""

    def __call__(self, step: int) -> float:
        """Learning rate of the update that follows ``step`` finished ones."""


@dataclass(frozen=True)
class Constant:
    """The same learning rate for every update.

    Parameters
    ----------
    lr
        Above 0.
    """

    lr: float

    def __post_init__(self) -> None:
        _require_rate("lr", self.lr)

    def __call__(self, step: int) -> float:
        """Learning rate after ``step`` updates."""
        _require_step(step)
        return self.lr


@dataclass(frozen=True)
class Triangular:
    r"""Learning rate that rises and falls linearly, over and over.

    .. math:: \mathrm{lr}(i) = \mathrm{base} + (\mathrm{max} - \mathrm{base})
       \max\Bigl(0,\; 1 - \Bigl|\frac{i}{s} - 2c + 1\Bigr|\Bigr),
       \qquad c = \Bigl\lfloor 1 + \frac{i}{2s} \Bigr\rfloor,

    where :math:`s` is ``step_size`` and :math:`i` counts updates from 1. The
    defaults are the published ones: the first update uses 1.009e-4, the
    thousandth 1e-3, the two-thousandth 1e-4.

    Parameters
    ----------
    base_lr, max_lr
        Lowest and highest learning rate, ``0 < base_lr <= max_lr``.
    step_size
        Updates from the lowest to the highest, at least 1.

    Notes
    -----
    Smith, *Cyclical learning rates for training neural networks*, WACV 2017,
    section 3. Book page: ``urban_sound``.
    """

    base_lr: float = 1e-4
    max_lr: float = 1e-3
    step_size: int = 1000

    def __post_init__(self) -> None:
        _require_rate("base_lr", self.base_lr)
        _require_rate("max_lr", self.max_lr)
        if self.base_lr > self.max_lr:
            raise ConfigError(f"base_lr is {self.base_lr}, above max_lr {self.max_lr}; give 0 < base_lr <= max_lr")
        _require_count("step_size", self.step_size)

    def __call__(self, step: int) -> float:
        """Learning rate after ``step`` updates."""
        _require_step(step)
        i = step + 1
        cycle = math.floor(1 + i / (2 * self.step_size))
        height = max(0.0, 1 - abs(i / self.step_size - 2 * cycle + 1))
        return self.base_lr + (self.max_lr - self.base_lr) * height


@dataclass(frozen=True)
class Cosine:
    r"""Linear warm-up, then half a cosine down to ``final_lr``.

    Update :math:`i = 0, 1, \dots` of the warm-up uses
    :math:`\mathrm{lr}\,(i + 1) / w`, so none is made at a rate of 0; after it

    .. math:: \mathrm{lr}(i) = \mathrm{final} + \tfrac12(\mathrm{lr} - \mathrm{final})
       \Bigl(1 + \cos \pi \frac{i - w}{n - w}\Bigr),

    and ``final_lr`` from update :math:`n` on. Equal to
    ``torch.optim.lr_scheduler.LinearLR`` followed by ``CosineAnnealingLR``.

    Parameters
    ----------
    lr
        Highest learning rate, above 0.
    total_steps
        Updates of the whole training, :math:`n`.
    warmup_steps
        Updates of the warm-up, :math:`w`, with ``0 <= warmup_steps < total_steps``.
    final_lr
        ``0 <= final_lr <= lr``.

    Notes
    -----
    Loshchilov and Hutter, *SGDR: stochastic gradient descent with warm
    restarts*, ICLR 2017, equation 5.
    """

    lr: float
    total_steps: int
    warmup_steps: int = 0
    final_lr: float = 0.0

    def __post_init__(self) -> None:
        _require_rate("lr", self.lr)
        _require_count("total_steps", self.total_steps)
        if not (isinstance(self.warmup_steps, int) and 0 <= self.warmup_steps < self.total_steps):
            raise ConfigError(
                f"warmup_steps is {self.warmup_steps}; it must be a whole number from 0 to below total_steps, "
                f"{self.total_steps}"
            )
        if not 0 <= self.final_lr <= self.lr:
            raise ConfigError(f"final_lr is {self.final_lr}; it must lie from 0 to lr, {self.lr}")

    def __call__(self, step: int) -> float:
        """Learning rate after ``step`` updates."""
        _require_step(step)
        if step < self.warmup_steps:
            return self.lr * (step + 1) / self.warmup_steps
        progress = min(1.0, (step - self.warmup_steps) / (self.total_steps - self.warmup_steps))
        return _anneal(self.lr, self.final_lr, progress)


@dataclass(frozen=True)
class OneCycle:
    r"""One rise and one long fall, both half cosines.

    From ``lr / 25`` up to ``lr`` during the share ``rise`` of training, then
    down to ``lr / 250000``, reached by the last update. Equal to
    ``torch.optim.lr_scheduler.OneCycleLR``, momentum left alone.

    Parameters
    ----------
    lr
        Highest learning rate, above 0.
    total_steps
        Updates of the whole training; with ``rise`` it must leave the rise at
        least two updates and the fall at least one.
    rise
        Share of training spent rising, above 0 and below 1.

    Notes
    -----
    Smith and Topin, *Super-convergence: very fast training of neural networks
    using large learning rates*, 2019.
    """

    lr: float
    total_steps: int
    rise: float = 0.3

    def __post_init__(self) -> None:
        _require_rate("lr", self.lr)
        _require_count("total_steps", self.total_steps)
        if not 0 < self.rise < 1:
            raise ConfigError(f"rise is {self.rise}; it must be a share above 0 and below 1")
        if self.rise * self.total_steps < 2:
            raise ConfigError(
                f"rise {self.rise} of total_steps {self.total_steps} is {self.rise * self.total_steps:.3g} updates; "
                "it must be at least 2: train longer or raise for longer"
            )

    def __call__(self, step: int) -> float:
        """Learning rate after ``step`` updates."""
        _require_step(step)
        first, last = self.lr / 25, self.lr / 25e4
        peak, end = self.rise * self.total_steps - 1, self.total_steps - 1
        if step <= peak:
            return _anneal(first, self.lr, step / peak)
        return _anneal(self.lr, last, min(1.0, (step - peak) / (end - peak)))


SCHEDULES: Mapping[str, type[Constant] | type[Triangular] | type[Cosine] | type[OneCycle]] = MappingProxyType(
    {"constant": Constant, "triangular": Triangular, "cosine": Cosine, "one_cycle": OneCycle}
)
"""Every schedule by the name that a configuration uses."""


def build_schedule(name: str, **options: float) -> Schedule:
    """Make the schedule called ``name`` with its own options.

    Raises
    ------
    ConfigError
        When there is no such schedule, it has no such option, or lacks one.
    """
    if name not in SCHEDULES:
        raise ConfigError(f"no schedule {name!r}; there are {', '.join(SCHEDULES)}")
    kind = SCHEDULES[name]
    fields = dataclasses.fields(kind)
    allowed = [field.name for field in fields]
    unknown = sorted(set(options) - set(allowed))
    if unknown:
        raise ConfigError(f"schedule {name!r} has no option {', '.join(unknown)}; it takes {', '.join(allowed)}")
    missing = [f.name for f in fields if f.default is dataclasses.MISSING and f.name not in options]
    if missing:
        raise ConfigError(f"schedule {name!r} needs {', '.join(missing)}")
    return kind(**options)  # type: ignore[arg-type]


def attach(schedule: Schedule, optimizer: Optimizer, step: int = 0) -> LambdaLR:
    """A torch scheduler that gives every parameter group the rate of ``schedule``.

    Parameters
    ----------
    schedule
        Learning rate of each update.
    optimizer
        Its learning rates are replaced.
    step
        Updates already made, for a run that continues; at least 0.

    Returns
    -------
    LambdaLR
        Call ``.step()`` after each ``optimizer.step()`` and nowhere else.
    """
    _require_step(step)
    for group in optimizer.param_groups:
        group["lr"] = group["initial_lr"] = 1.0  # LambdaLR multiplies this by the schedule
    return LambdaLR(optimizer, schedule, last_epoch=step - 1)


def _anneal(start: float, stop: float, progress: float) -> float:
    return stop + (start - stop) * (1 + math.cos(math.pi * progress)) / 2


def _require_rate(name: str, value: float) -> None:
    if not (math.isfinite(value) and value > 0):
        raise ConfigError(f"{name} is {value}; a learning rate must be a finite number above 0")


def _require_count(name: str, value: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigError(f"{name} is {value!r}; it must be a whole number of updates, at least 1")


def _require_step(step: int) -> None:
    if step < 0:
        raise ValueError(f"step is {step}; updates are counted from 0")
