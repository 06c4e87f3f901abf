"""The training loop: one screen, any model, any corpus.

The loop knows a model, batches, a loss and a way to score; what they are is the
experiment's business. Device and precision are Hugging Face accelerate's, several processes
:mod:`.distributed`'s. A killed run continues from its last checkpoint, in the
middle of an epoch if need be, to the same weights.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, Self

import pandas as pd
import torch
from torch import Tensor, nn

from ..core.errors import ConfigError, RunError
from ..core.ranks import find_place
from .checkpoint import Position, load_best, load_checkpoint, save_best, save_checkpoint
from .distributed import Processes, SharedStep, join_processes, name_lost_process
from .progress import Progress
from .run_directory import RunDirectory
from .settings import TrainingSettings

__all__ = ["fit", "select_device"]

log = logging.getLogger("audioattn")


class Batches(Protocol):
    """Batches of an epoch, the same for the same number, from any batch on.

    The length of a batch is the number of its clips. ``share`` gives the batches that one of several processes sees: of
    every batch a part of its own, and together all of it. A part that has no clip is of length 0 and still holds one,
    so that there is something to compute.
    """

    def epoch(self, number: int, start: int = 0) -> Iterator[Any]: ...

    def share(self, rank: int, count: int) -> Self: ...

    def __len__(self) -> int: ...


def select_device(name: str) -> torch.device:
    """``"auto"`` is CUDA where there is one; a device that is not there is an error, never silently the CPU.

    With several CUDA devices, ``"cuda:1"`` or ``CUDA_VISIBLE_DEVICES`` says which one is meant; under torchrun each
    process has the one of its number.
    """
    kind, _, number = name.partition(":")
    if kind not in ("auto", "cpu", "cuda") or (":" in name and (kind != "cuda" or not number.isdigit())):
        raise ConfigError(f"device is {name!r}; it must be auto, cpu, cuda, or cuda:0 and so on for one of several")
    if kind == "cuda" and not torch.cuda.is_available():
        raise ConfigError(f"device is {name!r}, but PyTorch sees no CUDA device here; use auto or cpu")
    if kind == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    place = find_place()
    if number:
        if place.count > 1:
            raise ConfigError(f"device is {name!r}, but under torchrun each process has its own; use cuda")
        if int(number) >= torch.cuda.device_count():
            raise ConfigError(
                f"device is {name!r}, but PyTorch sees {torch.cuda.device_count()} CUDA devices, counted from 0"
            )
        chosen = torch.device("cuda", int(number))
        torch.cuda.set_device(chosen)  # what is made without naming a device belongs there too
        return chosen
    if place.count == 1:
        return torch.device("cuda")
    if place.local_rank >= torch.cuda.device_count():
        raise ConfigError(
            f"torchrun started at least {place.local_rank + 1} processes on this machine, which has "
            f"{torch.cuda.device_count()} CUDA devices; give --nproc-per-node at most that many, or use device cpu"
        )
    device = torch.device("cuda", place.local_rank)
    torch.cuda.set_device(device)  # "cuda" without a number means this one from here on
    return device


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

    Under torchrun, each process learns from its part of every batch, and gradients are averaged over all clips: with a
    loss that is a mean over clips, the weights are those of one process up to rounding, and dropout aside. The main
    process evaluates and writes, and the score that it tells the others decides for all.

    Parameters
    ----------
    learning_rate
        Learning rate of each optimiser step, counted from 0, before what plateaus take off it.
    loss
        From model and batch to the mean loss and the number of correct clips (0 where that has no meaning).
    evaluate
        From the model to scores, one of them ``settings.monitor``; called after every epoch that is validated, without
        gradient.
    describe
        Names what is in a batch, for errors.
    illustrate
        From the model to pictures by name, grey levels in [0, 1] of shape ``(rows, columns)``, for TensorBoard;
        called after every epoch, without gradient.

    Raises
    ------
    RunError
        When a loss is not finite, the message names the clips of the batch; or when another process has died.
    """
    processes = join_processes()
    accelerator = _accelerator(settings, device)
    checkpoints, seed = directory.path / "checkpoint", torch.initial_seed()
    processes.wait()  # for the files of an earlier training
    position = load_checkpoint(checkpoints, model.to(accelerator.device), optimizer) or Position()
    _agree(position, processes, checkpoints)
    # Not yet as one of several: that is the whole step, so that the loss gets the model itself.
    model, optimizer = accelerator.prepare_model(model, evaluation_mode=True), accelerator.prepare_optimizer(optimizer)
    compiled: Any = torch.compile(model) if settings.compile_model else model
    step = SharedStep(compiled, loss, processes, unused_parameters=settings.unused_parameters)
    batches = train.share(processes.rank, processes.count) if processes.count > 1 else train
    board = _board(directory, settings) if processes.is_main else None
    saved = time.monotonic()

    with (
        name_lost_process(),
        _tiny_numbers_are_zero(),
        step.sharing_statistics(),
        Progress("training", settings.epochs, done=position.epoch) as progress,
    ):
        while position.epoch < settings.epochs and not _is_stale(position, settings):
            started = time.monotonic()
            share = _plateau_share(position, settings)
            rate = learning_rate(position.step) * share
            model.train()
            clips = 0  # of the running step
            for batch in batches.epoch(position.epoch, start=position.batch):
                processes.seed(seed, position.epoch, position.batch)
                rate = learning_rate(position.step) * share
                for group in optimizer.param_groups:
                    group["lr"] = rate
                position.batch += 1
                is_last = position.batch % settings.accumulation == 0 or position.batch == len(train)
                with accelerator.autocast():
                    value, correct = step(batch, is_last=is_last)
                of_all = _count(position, batch, value, correct, processes)
                if not math.isfinite(of_all["loss"]):
                    raise RunError(_name_clips(position, value, describe(batch), rate, processes))
                # Gradients are averaged over processes, so a clip counts as often as there are of these.
                weight = len(batch) * processes.count
                accelerator.backward(value * (weight / of_all["clips"] if settings.accumulation == 1 else weight))
                clips += int(of_all["clips"])
                if not is_last:
                    continue
                step.check_gradients()
                if settings.accumulation > 1:
                    _divide_gradients(model, clips)
                clips = 0
                accelerator.clip_grad_norm_(model.parameters(), settings.gradient_clip)
                optimizer.step()
                optimizer.zero_grad()
                position.step += 1
                if board:
                    board.add_scalar("step_loss", float(value.detach()), position.step)
                if processes.is_main and time.monotonic() - saved > settings.checkpoint_seconds:
                    save_checkpoint(checkpoints, model, optimizer, position)
                    saved = time.monotonic()

            model.eval()
            scores: dict[str, float] = {}
            is_validated = _is_validated(position.epoch + 1, settings)
            if is_validated and processes.is_main:
                with torch.no_grad(), accelerator.autocast():
                    scores = {name: float(score) for name, score in evaluate(model).items()}
            scores = processes.tell(scores)
            row = _close_epoch(position, scores, rate, time.monotonic() - started)
            is_best = is_validated and _improved(position, scores, settings)
            last = position.epoch == settings.epochs or _is_stale(position, settings)
            if processes.is_main:
                if is_best:
                    save_best(checkpoints, model, settings.about)
                directory.write_table("history.csv", pd.DataFrame(position.history))
                if board:
                    _show(board, row, illustrate, model)
                if last or time.monotonic() - saved > settings.checkpoint_seconds:
                    save_checkpoint(checkpoints, model, optimizer, position)
                    saved = time.monotonic()
            progress.advance(train_loss=row["train_loss"], **{f"valid_{k}": v for k, v in scores.items()})
        processes.wait()  # for the main process's last files
    if board:
        board.close()
    if position.best_score is None:
        raise RunError(f"{directory.path}: the validation {settings.monitor} was never finite; no epoch can be chosen")
    load_best(checkpoints, model)
    model.eval()
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
    return Accelerator(mixed_precision="bf16" if use_bfloat16 else "no", cpu=device.type == "cpu")


def _agree(position: Position, processes: Processes, checkpoints: Path) -> None:
    """All processes must go on from the same place."""
    steps = processes.gather(position.step)
    if len(set(steps)) > 1:
        raise RunError(
            f"{checkpoints}: the processes of torchrun found checkpoints at steps {', '.join(map(str, steps))}; all "
            "machines must see the same folder of runs"
        )
    if position.step and processes.is_main:
        log.info("continuing at epoch %d, batch %d", position.epoch, position.batch)


def _board(directory: RunDirectory, settings: TrainingSettings) -> Any:
    if not settings.tensorboard:
        return None
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(directory.path / "tensorboard")


def _show(
    board: Any,
    row: Mapping[str, float],
    illustrate: Callable[[nn.Module], Mapping[str, Tensor]] | None,
    model: nn.Module,
) -> None:
    for name, number in row.items():
        board.add_scalar(name, number, int(row["epoch"]))
    if illustrate is not None:
        with torch.no_grad():
            pictures = illustrate(model)
        for name, picture in pictures.items():
            board.add_image(name, picture.float().cpu().numpy(), int(row["epoch"]), dataformats="HW")


def _count(position: Position, batch: Any, value: Tensor, correct: Tensor, processes: Processes) -> dict[str, float]:
    """Add up clips, loss and correct clips of the batch in all processes, and give them."""
    clips = len(batch)
    own = (clips, float(value.detach()) * clips, float(correct) if clips else 0.0)
    of_all = dict(zip(("clips", "loss", "correct"), processes.sum(own), strict=True))
    for name, number in of_all.items():
        position.sums[name] = position.sums.get(name, 0.0) + number
    return of_all


def _name_clips(position: Position, value: Tensor, clips: str, rate: float, processes: Processes) -> str:
    """A message on a loss that is not finite, with the clips of the processes that have such a one."""
    found = [(loss, text) for loss, text in processes.gather((float(value.detach()), clips)) if not math.isfinite(loss)]
    return (
        f"the loss is {found[0][0]} at step {position.step}, epoch {position.epoch}, batch {position.batch - 1}, in "
        f"{', '.join(text for _, text in found)}; check these clips, or lower the learning rate ({rate:.2g})"
    )


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
    """Compute the plateau decay factor of the learning rate from the history, which a checkpoint keeps."""
    if settings.plateau_patience is None:
        return 1.0
    best, stale, reductions = None, 0, 0
    for row in position.history:
        if not _is_validated(int(row["epoch"]) + 1, settings):
            continue
        score = row[f"valid_{settings.monitor}"]
        if _is_better(score, best, settings):
            best, stale = score, 0
        else:
            stale += 1
            reductions += stale % settings.plateau_patience == 0
    return settings.plateau_factor**reductions


def _is_validated(epochs: int, settings: TrainingSettings) -> bool:
    """Return True when a validation is due after this number of epochs."""
    return epochs % settings.validate_every == 0 or epochs == settings.epochs


def _is_stale(position: Position, settings: TrainingSettings) -> bool:
    return settings.patience is not None and position.stale_epochs > settings.patience
