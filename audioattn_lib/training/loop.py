"""The training loop: one screen, any model, any corpus.

The loop knows a model, batches, a loss and a way to score; what they are is the
experiment's business. Device, precision and the number of processes are
Hugging Face accelerate's. A killed run continues from its last checkpoint, in
the middle of an epoch if need be, to the same weights.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import pandas as pd
import torch
from torch import Tensor, nn

from ..errors import ConfigError, RunError
from .checkpoint import Position, load_best, load_checkpoint, save_best, save_checkpoint
from .progress import Progress
from .run_directory import RunDirectory

__all__ = ["TrainingSettings", "fit", "select_device"]

log = logging.getLogger("audioattn")


class Batches(Protocol):
    """Batches of an epoch, the same for the same number, from any batch on."""

    def epoch(self, number: int, start: int = 0) -> Iterator[Any]: ...

    def __len__(self) -> int: ...


@dataclass(frozen=True)
class TrainingSettings:
    """How to train, whatever is trained.

    Parameters
    ----------
    epochs
        Passes over the training clips, at least 1.
    monitor
        Score that picks the best epoch; lower is better, or higher where ``maximise``.
    gradient_clip
        Largest norm of the gradient, above 0.
    patience
        Epochs without a better score after which training stops; None never stops.
    plateau_patience, plateau_factor
        After so many epochs without a better score, and every so many more, the learning rate is multiplied by the
        factor, above 0 and at most 1; None never does.
    accumulation
        Batches that make one optimiser step, at least 1. Each of their clips counts alike; the last step of an epoch
        has the batches that are left.
    precision
        ``"float32"``, ``"bfloat16"`` (autocast) or ``"auto"``: bfloat16 on CUDA, float32 elsewhere.
    compile_model
        Use ``torch.compile``.
    checkpoint_seconds
        Least time between checkpoints; 0 writes one after every batch.
    tensorboard
        Write scalars for TensorBoard.
    """

    epochs: int
    monitor: str = "loss"
    gradient_clip: float = 5.0
    patience: int | None = None
    precision: str = "auto"
    compile_model: bool = False
    checkpoint_seconds: float = 60.0
    tensorboard: bool = True
    maximise: bool = False
    plateau_patience: int | None = None
    plateau_factor: float = 0.5
    accumulation: int = 1

    def __post_init__(self) -> None:
        if self.epochs < 1:
            raise ConfigError(f"epochs is {self.epochs}; it must be at least 1")
        for name in ("accumulation", "plateau_patience"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"{name} is {value}; it must be at least 1")
        if not 0 < self.plateau_factor <= 1:
            raise ConfigError(f"plateau_factor is {self.plateau_factor}; it must be above 0 and at most 1")
        if not self.gradient_clip > 0:
            raise ConfigError(f"gradient_clip is {self.gradient_clip}; it must be above 0")
        if self.precision not in ("auto", "float32", "bfloat16"):
            raise ConfigError(f"precision is {self.precision!r}; it must be auto, float32 or bfloat16")


def select_device(name: str) -> torch.device:
    """``"auto"`` is CUDA where there is one; a device that is not there is an error, never silently the CPU.

    With several CUDA devices, ``CUDA_VISIBLE_DEVICES`` says which one is meant.
    """
    if name not in ("auto", "cpu", "cuda"):
        raise ConfigError(f"device is {name!r}; it must be auto, cpu or cuda (CUDA_VISIBLE_DEVICES picks one)")
    if name == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device is 'cuda', but PyTorch sees no CUDA device here; use auto or cpu")
    return torch.device("cuda" if name == "cuda" or (name == "auto" and torch.cuda.is_available()) else "cpu")


def fit(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    learning_rate: Callable[[int], float],
    train: Batches,
    loss: Callable[[nn.Module, Any], tuple[Tensor, Tensor]],
    evaluate: Callable[[nn.Module], Mapping[str, float]],
    settings: TrainingSettings,
    directory: RunDirectory,
    *,
    device: torch.device,
    describe: Callable[[Any], str] = lambda batch: "a batch",
    illustrate: Callable[[nn.Module], Mapping[str, Tensor]] | None = None,
) -> pd.DataFrame:
    """Train to the last epoch, keep the best weights in ``model``, return the history.

    Parameters
    ----------
    learning_rate
        Learning rate of each optimiser step, counted from 0, before what plateaus take off it.
    loss
        From model and batch to the mean loss and the number of correct clips (0 where that has no meaning).
    evaluate
        From the model to scores, one of them ``settings.monitor``; called after every epoch, without gradient.
    describe
        Names what is in a batch, for errors.
    illustrate
        From the model to pictures by name, grey levels in [0, 1] of shape ``(rows, columns)``, for TensorBoard;
        called after every epoch, without gradient.

    Raises
    ------
    RunError
        When a loss is not finite; the message names the clips of the batch.
    """
    accelerator = _accelerator(settings, device)
    checkpoints = directory.path / "checkpoint"
    position = load_checkpoint(checkpoints, model.to(accelerator.device), optimizer) or Position()
    if position.step:
        log.info("continuing at epoch %d, batch %d", position.epoch, position.batch)
    model, optimizer = accelerator.prepare(model, optimizer)
    bare = accelerator.unwrap_model(model)
    step_model: Any = torch.compile(model) if settings.compile_model else model
    board = _board(directory, settings)
    saved = time.monotonic()

    with _tiny_numbers_are_zero(), Progress("training", settings.epochs, done=position.epoch) as progress:
        while position.epoch < settings.epochs and not _is_stale(position, settings):
            started = time.monotonic()
            share = _plateau_share(position, settings)
            rate = learning_rate(position.step) * share
            model.train()
            clips = 0  # of the running step
            for batch in train.epoch(position.epoch, start=position.batch):
                rate = learning_rate(position.step) * share
                for group in optimizer.param_groups:
                    group["lr"] = rate
                with accelerator.autocast():
                    value, correct = loss(step_model, batch)
                if not torch.isfinite(value):
                    raise RunError(
                        f"the loss is {value.item()} at epoch {position.epoch}, batch {position.batch}, in "
                        f"{describe(batch)}; check these clips, or lower the learning rate ({rate:.2g})"
                    )
                accelerator.backward(value if settings.accumulation == 1 else value * len(batch))
                clips += len(batch)
                _count(position, len(batch), value, correct)
                if position.batch % settings.accumulation and position.batch < len(train):
                    continue
                if settings.accumulation > 1:
                    _divide_gradients(model, clips)
                clips = 0
                accelerator.clip_grad_norm_(model.parameters(), settings.gradient_clip)
                optimizer.step()
                optimizer.zero_grad()
                position.step += 1
                if board:
                    board.add_scalar("step_loss", float(value.detach()), position.step)
                if time.monotonic() - saved > settings.checkpoint_seconds:
                    save_checkpoint(checkpoints, bare, optimizer, position)
                    saved = time.monotonic()

            model.eval()
            with torch.no_grad(), accelerator.autocast():
                scores = evaluate(bare)
            row = _close_epoch(position, scores, rate, time.monotonic() - started)
            if _improved(position, scores, settings):
                save_best(checkpoints, bare)
            directory.write_table("history.csv", pd.DataFrame(position.history))
            for name, number in row.items() if board else ():
                board.add_scalar(name, number, int(row["epoch"]))
            if board and illustrate is not None:
                with torch.no_grad():
                    pictures = illustrate(bare)
                for name, picture in pictures.items():
                    board.add_image(name, picture.float().cpu().numpy(), int(row["epoch"]), dataformats="HW")
            last = position.epoch == settings.epochs or _is_stale(position, settings)
            if last or time.monotonic() - saved > settings.checkpoint_seconds:
                save_checkpoint(checkpoints, bare, optimizer, position)
                saved = time.monotonic()
            progress.advance(train_loss=row["train_loss"], **{f"valid_{k}": v for k, v in scores.items()})
    if board:
        board.close()
    if position.best_score is None:
        raise RunError(f"{directory.path}: the validation {settings.monitor} was never finite; no epoch can be chosen")
    load_best(checkpoints, bare)
    bare.eval()
    return pd.DataFrame(position.history)


@contextmanager
def _tiny_numbers_are_zero() -> Iterator[None]:
    """Flush denormal numbers: trained softmax weights reach them, and a CPU is many times slower with them."""
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


def _accelerator(settings: TrainingSettings, device: torch.device) -> Any:
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState

    # Its state is shared by the process, and a second run may ask for another precision or device.
    AcceleratorState._reset_state(reset_partial_state=True)
    use_bfloat16 = settings.precision == "bfloat16" or (settings.precision == "auto" and device.type == "cuda")
    accelerator = Accelerator(mixed_precision="bf16" if use_bfloat16 else "no", cpu=device.type == "cpu")
    if accelerator.num_processes > 1:
        raise ConfigError(
            f"training was started in {accelerator.num_processes} processes; this loop trains on one device, "
            "start it without torchrun and spread runs over devices with a sweep"
        )
    return accelerator


def _board(directory: RunDirectory, settings: TrainingSettings) -> Any:
    if not settings.tensorboard:
        return None
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(directory.path / "tensorboard")


def _count(position: Position, clips: int, value: Tensor, correct: Tensor) -> None:
    position.batch += 1
    for name, number in (("clips", clips), ("loss", float(value.detach()) * clips), ("correct", float(correct))):
        position.sums[name] = position.sums.get(name, 0.0) + number


def _close_epoch(position: Position, scores: Mapping[str, float], rate: float, seconds: float) -> dict[str, float]:
    clips = max(position.sums.get("clips", 0.0), 1.0)
    row = {
        "epoch": position.epoch,
        "step": position.step,
        "learning_rate": rate,
        "train_loss": position.sums["loss"] / clips,
        "train_accuracy": position.sums["correct"] / clips,
        **{f"valid_{name}": float(score) for name, score in scores.items()},
        "seconds": seconds,
        "clips_per_second": clips / seconds,
    }
    position.history.append(row)
    position.sums = {}
    position.batch = 0
    position.epoch += 1
    return row


def _divide_gradients(model: nn.Module, clips: int) -> None:
    """From sums over the clips of a step to their mean."""
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    torch._foreach_div_(gradients, float(clips))


def _improved(position: Position, scores: Mapping[str, float], settings: TrainingSettings) -> bool:
    if settings.monitor not in scores:
        raise ConfigError(f"monitor is {settings.monitor!r}; there are {', '.join(scores)}")
    score = float(scores[settings.monitor])
    if _is_better(score, position.best_score, settings):
        position.best_score, position.best_epoch, position.stale_epochs = score, position.epoch - 1, 0
        return True
    position.stale_epochs += 1
    return False


def _is_better(score: float, best: float | None, settings: TrainingSettings) -> bool:
    if not math.isfinite(score):
        return False
    return best is None or (score > best if settings.maximise else score < best)


def _plateau_share(position: Position, settings: TrainingSettings) -> float:
    """What plateaus have left of the learning rate, from the history alone: a resumed run needs nothing more."""
    if settings.plateau_patience is None:
        return 1.0
    best, stale, reductions = None, 0, 0
    for row in position.history:
        score = row[f"valid_{settings.monitor}"]
        if _is_better(score, best, settings):
            best, stale = score, 0
        else:
            stale += 1
            reductions += stale % settings.plateau_patience == 0
    return settings.plateau_factor**reductions


def _is_stale(position: Position, settings: TrainingSettings) -> bool:
    return settings.patience is not None and position.stale_epochs > settings.patience
