"""The best epoch, the decay on a plateau, and the end of a training, from the scores of its validations.

Book page: ``urban_sound``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from ..core.errors import ConfigError
from .checkpoint import Position
from .settings import TrainingSettings

__all__ = ["is_improved", "is_stale", "is_validated", "plateau_decay"]


def is_improved(position: Position, scores: Mapping[str, float], settings: TrainingSettings) -> bool:
    """Return True when the epoch that has just ended is the best one so far, and note it in ``position``.

    Raises
    ------
    ConfigError
        When ``settings.monitor`` is none of the scores.
    """
    if settings.monitor not in scores:
        raise ConfigError(f"monitor is {settings.monitor!r}; there are {', '.join(scores)}")
    score = float(scores[settings.monitor])
    if _is_better(score, position.best_score, settings):
        position.best_score, position.best_epoch, position.stale_epochs = score, position.epoch - 1, 0
        return True
    position.stale_epochs += 1
    return False


def is_stale(position: Position, settings: TrainingSettings) -> bool:
    """Return True when training must stop, because more than ``patience`` validations were no better."""
    return settings.patience is not None and position.stale_epochs > settings.patience


def is_validated(epochs: int, settings: TrainingSettings) -> bool:
    """Return True when a validation is due after this number of epochs."""
    return epochs % settings.validate_every == 0 or epochs == settings.epochs


def plateau_decay(history: Sequence[Mapping[str, float]], settings: TrainingSettings) -> float:
    """Compute the plateau decay factor of the learning rate from the history, which a checkpoint keeps."""
    if settings.lr_patience is None:
        return 1.0
    best, stale, reductions = None, 0, 0
    for row in history:
        if not is_validated(int(row["epoch"]) + 1, settings):
            continue
        score = row[f"valid_{settings.monitor}"]
        if _is_better(score, best, settings):
            best, stale = score, 0
        else:
            stale += 1
            reductions += stale % settings.lr_patience == 0
    return settings.lr_factor**reductions


def _is_better(score: float, best: float | None, settings: TrainingSettings) -> bool:
    if not math.isfinite(score):
        return False
    return best is None or (score > best if settings.maximise else score < best)
