"""Training settings of any network: epochs, monitored score, early stopping, precision.

Book page: ``urban_sound``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..core.declarations import check_declared
from ..core.errors import ConfigError

__all__ = ["TrainingSettings"]


@dataclass(frozen=True)
class TrainingSettings:
    """Training settings of any network.

    Parameters
    ----------
    epochs
        Passes over the training clips, at least 1.
    monitor
        Score that picks the best epoch; lower is better, or higher where ``maximise``.
    max_grad_norm
        Largest norm of the gradient, above 0.
    patience
        Validations without a better score after which training stops; None never stops.
    lr_patience, lr_factor
        After so many validations without a better score, and every so many more, the learning rate is multiplied by
        the factor, above 0 and at most 1; None never does.
    grad_accum_steps
        Batches that make one optimiser step, at least 1. Each of their clips counts alike; the last step of an epoch
        has the batches that are left.
    precision
        ``"float32"``, ``"bfloat16"`` (autocast) or ``"auto"``: bfloat16 on CUDA, float32 elsewhere.
    checkpoint_seconds
        Least time between checkpoints; 0 writes one after every batch.
    tensorboard
        Write scalars for TensorBoard.
    unused_parameters
        A batch may leave parameters without a part in the loss. Several processes must know, and look for them.
    validate_every
        Epochs from one validation to the next, at least 1. The last epoch is always validated, and only an epoch that
        was validated can be the best.
    about
        Text by name that goes into the header of the best weights, such as their classes.
    """

    epochs: int
    monitor: str = "loss"
    max_grad_norm: float = 5.0
    patience: int | None = None
    precision: str = "auto"
    checkpoint_seconds: float = 60.0
    tensorboard: bool = True
    maximise: bool = False
    lr_patience: int | None = None
    lr_factor: float = 0.5
    grad_accum_steps: int = 1
    unused_parameters: bool = False
    validate_every: int = 1
    about: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_declared(self)
        if self.epochs < 1:
            raise ConfigError(f"epochs is {self.epochs}; it must be at least 1")
        for name in ("grad_accum_steps", "lr_patience", "validate_every"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"{name} is {value}; it must be at least 1")
        if not 0 < self.lr_factor <= 1:
            raise ConfigError(f"lr_factor is {self.lr_factor}; it must be above 0 and at most 1")
        if not self.max_grad_norm > 0:
            raise ConfigError(f"max_grad_norm is {self.max_grad_norm}; it must be above 0")
        if self.precision not in ("auto", "float32", "bfloat16"):
            raise ConfigError(f"precision is {self.precision!r}; it must be auto, float32 or bfloat16")
