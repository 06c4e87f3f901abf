"""Files of a training while it runs: checkpoints, best weights, history, curves for TensorBoard.

Book page: ``urban_sound``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from .checkpoint import Position, save_best, save_checkpoint
from .run_directory import RunDirectory
from .settings import TrainingSettings

__all__ = ["Recorder"]


class Recorder:
    """Writer of the files of a training; in all but the main process it writes nothing.

    Parameters
    ----------
    directory
        Run directory.
    settings
        Settings of the training.
    model, optimizer
        Their state is saved.
    is_main
        Whether this is the main process.
    illustrate
        From the model to pictures by name, as in :func:`~audioattn_lib.training.loop.fit`.
    """

    def __init__(
        self,
        directory: RunDirectory,
        settings: TrainingSettings,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        *,
        is_main: bool,
        illustrate: Callable[[nn.Module], Mapping[str, Tensor]] | None,
    ) -> None:
        self.directory, self.settings, self.illustrate = directory, settings, illustrate
        self.model, self.optimizer, self.is_main = model, optimizer, is_main
        self.saved = time.monotonic()
        self.board: Any = None
        if is_main and settings.tensorboard:
            from torch.utils.tensorboard import SummaryWriter

            self.board = SummaryWriter(directory.path / "tensorboard")

    def end_step(self, position: Position, loss: Tensor) -> None:
        """Add the loss of an optimiser step to the curves, and write a checkpoint when one is due."""
        if self.board:
            self.board.add_scalar("step_loss", float(loss.detach()), position.step)
        self._checkpoint(position)

    def end_epoch(self, position: Position, row: Mapping[str, float], *, is_best: bool, is_end: bool) -> None:
        """Write the history with its new ``row``, the weights of the best epoch, and a checkpoint when one is due."""
        if not self.is_main:
            return
        if is_best:
            save_best(self.directory.path / "checkpoint", self.model, self.settings.about)
        self.directory.write_table("history.csv", pd.DataFrame(position.history))
        if self.board:
            self._show(row)
        self._checkpoint(position, is_due=is_end)

    def close(self) -> None:
        """Write the last curves."""
        if self.board:
            self.board.close()

    def _checkpoint(self, position: Position, is_due: bool = False) -> None:
        if self.is_main and (is_due or time.monotonic() - self.saved > self.settings.checkpoint_seconds):
            save_checkpoint(self.directory.path / "checkpoint", self.model, self.optimizer, position)
            self.saved = time.monotonic()

    def _show(self, row: Mapping[str, float]) -> None:
        epoch = int(row["epoch"])
        for name, number in row.items():
            self.board.add_scalar(name, number, epoch)
        if self.illustrate is not None:
            with torch.no_grad():
                pictures = self.illustrate(self.model)
            for name, picture in pictures.items():
                self.board.add_image(name, picture.float().cpu().numpy(), epoch, dataformats="HW")
