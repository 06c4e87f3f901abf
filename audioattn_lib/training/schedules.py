r"""Learning rates as functions of the optimiser step, so that a resumed run needs no state but its step.

Every function here returns ``lr(step)``, where ``step`` counts the finished
updates of the parameters from 0: the first update uses ``lr(0)``. The schedules
of epochs are constant within an epoch.

Book page: ``attention_patterns``.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from ..core.errors import ConfigError

__all__ = ["Schedule", "constant", "cosine", "epoch_cosine", "epoch_ramp", "fitted_epoch_ramp", "triangular"]

Schedule = Callable[[int], float]
"""Learning rate of the update that follows ``step`` finished ones."""


def constant(lr: float) -> Schedule:
    """Return the schedule that keeps ``lr``, above 0, for every update."""
    _check_lr("lr", lr)
    return lambda step: lr


def triangular(base_lr: float = 1e-4, max_lr: float = 1e-3, step_size: int = 1000) -> Schedule:
    r"""Return the schedule that rises and falls linearly, over and over.

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
    _check_lr("base_lr", base_lr)
    if not base_lr <= max_lr < math.inf:
        raise ConfigError(f"base_lr is {base_lr} and max_lr {max_lr}; give 0 < base_lr <= max_lr, both finite")
    _check_least(1, "updates", step_size=step_size)

    def lr(step: int) -> float:
        i = step + 1
        cycle = math.floor(1 + i / (2 * step_size))
        height = max(0.0, 1 - abs(i / step_size - 2 * cycle + 1))
        return base_lr + (max_lr - base_lr) * height

    return lr


def cosine(lr: float, total_steps: int, warmup_steps: int = 0, final_lr: float = 0.0) -> Schedule:
    r"""Return the schedule of a linear warm-up, then half a cosine down to ``final_lr``.

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
    _check_lr("lr", lr)
    _check_least(1, "updates", total_steps=total_steps)
    if not 0 <= warmup_steps < total_steps:
        raise ConfigError(
            f"warmup_steps is {warmup_steps}; it must be at least 0 and below total_steps, which is {total_steps}"
        )
    if not 0 <= final_lr <= lr:
        raise ConfigError(f"final_lr is {final_lr}; it must be from 0 to lr, which is {lr}")

    def rate(step: int) -> float:
        if step < warmup_steps:
            return lr * (step + 1) / warmup_steps
        progress = min(1.0, (step - warmup_steps) / (total_steps - warmup_steps))
        return final_lr + (lr - final_lr) * (1 + math.cos(math.pi * progress)) / 2

    return rate


def epoch_ramp(
    lr: float,
    steps_per_epoch: int,
    warm_up: int = 5,
    ramp_down_start: int = 50,
    ramp_down_length: int = 50,
    last: float = 0.01,
) -> Schedule:
    r"""Return the schedule of an exponential warm-up, a plateau, and a linear ramp down (``exp_lin``).

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
        Final share of the rate, :math:`r`, in [0, 1].

    Notes
    -----
    The defaults are those published for scenes (10 epochs). They suit the epochs
    they were written for: with 20 epochs and a warm-up of 100, as in the
    published experiment on notes, the rate never leaves the warm-up. Book page:
    ``attention_patterns``.
    """
    _check_epochs(lr, steps_per_epoch, last)
    _check_least(0, "epochs", warm_up=warm_up, ramp_down_start=ramp_down_start)
    _check_least(1, "epochs", ramp_down_length=ramp_down_length)

    def rate(step: int) -> float:
        epoch = step // steps_per_epoch
        up = math.exp(-5 * (1 - max(epoch, 0.5) / warm_up) ** 2) if epoch < warm_up else 1.0
        left = (ramp_down_start + ramp_down_length - epoch) / ramp_down_length
        return lr * up * (last + (1 - last) * min(max(left, 0.0), 1.0))

    return rate


def fitted_epoch_ramp(lr: float, steps_per_epoch: int, epochs: int, last: float = 0.01) -> Schedule:
    """Return :func:`epoch_ramp` with a warm-up of a tenth of the epochs, and a ramp from the middle to the last one."""
    _check_least(1, "epochs", epochs=epochs)
    middle = epochs // 2
    return epoch_ramp(lr, steps_per_epoch, math.ceil(epochs / 10), middle, max(epochs - 1 - middle, 1), last)


def epoch_cosine(lr: float, steps_per_epoch: int, cycle: int = 5, start: int = 50, last: float = 0.01) -> Schedule:
    r"""Return the schedule of cosines one after the other, each ``cycle`` epochs long, then a small rate (``cos_cyc``).

    .. math:: \mathrm{lr}(e) = \mathrm{lr}\,\Bigl(r + \frac{1 - r}{2}
       \Bigl(1 + \cos\bigl(2\pi\,\tfrac{e + \lfloor c/2 \rfloor}{c}\bigr)\Bigr)\Bigr)

    up to epoch :math:`c + \lfloor (S - 1)/c \rfloor\,c`, and :math:`r\,\mathrm{lr}` after it.

    Parameters
    ----------
    lr, steps_per_epoch, last
        As in :func:`epoch_ramp`.
    cycle
        Epochs :math:`c` of a cosine, at least 1.
    start
        :math:`S`, at least 1: the cosine that holds this epoch is the last one.

    Notes
    -----
    Book page: ``attention_patterns``.
    """
    _check_epochs(lr, steps_per_epoch, last)
    _check_least(1, "epochs", cycle=cycle, start=start)

    def rate(step: int) -> float:
        epoch = step // steps_per_epoch
        if epoch > cycle + (start - 1) // cycle * cycle:
            return lr * last
        wave = (1 + math.cos(2 * math.pi * (epoch + cycle // 2) / cycle)) / 2
        return lr * (last + (1 - last) * wave)

    return rate


def _check_lr(name: str, lr: float) -> None:
    if not 0 < lr < math.inf:
        raise ConfigError(f"{name} is {lr}; a learning rate must be a finite number above 0")


def _check_least(least: int, unit: str, **numbers: int) -> None:
    for name, number in numbers.items():
        if number < least:
            raise ConfigError(f"{name} is {number}; it must be at least {least} {unit}")


def _check_epochs(lr: float, steps_per_epoch: int, last: float) -> None:
    _check_lr("lr", lr)
    _check_least(1, "updates", steps_per_epoch=steps_per_epoch)
    if not 0 <= last <= 1:
        raise ConfigError(f"last is {last}; it must be in [0, 1]")
