"""The training loop: any model, any corpus.

The loop knows a model, batches, a loss and a way to score; what they are is the
experiment's business. Several processes are :mod:`.distributed`'s, files
:mod:`.recorder`'s, the best epoch and the end :mod:`.selection`'s. A killed run
continues from its last checkpoint, in the middle of an epoch if need be, to the
same weights.

Book page: ``urban_sound``.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol, Self

import pandas as pd
import torch
from torch import Tensor, nn

from ..core.errors import RunError
from .checkpoint import Position, load_best, load_checkpoint
from .distributed import Processes, SharedStep, init_process_group, name_lost_process, select_device
from .probes import Probe, probe, save_probe
from .progress import Progress
from .recorder import Recorder
from .run_directory import RunDirectory
from .selection import is_improved, is_stale, is_validated, plateau_decay
from .settings import TrainingSettings

__all__ = ["fit", "select_device"]

log = logging.getLogger("audioattn")


class Batches(Protocol):
    """Batches of an epoch, the same for the same number, from any batch on.

    The length of a batch is the number of its clips. ``shard`` gives the batches that one of several processes sees: of
    every batch a part of its own, and together all of it. A part that has no clip is of length 0 and still holds one,
    so that there is something to compute.
    """

    def epoch(self, number: int, start: int = 0) -> Iterator[Any]: ...

    def shard(self, rank: int, world_size: int) -> Self: ...

    def __len__(self) -> int: ...


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
    look: Probe | None = None,
) -> pd.DataFrame:
    """Train to the last epoch, keep the best weights in ``model``, return the history.

    Under torchrun, each process learns from its part of every batch, and gradients are averaged over all clips: with a
    loss that is a mean over clips, the weights are those of one process up to rounding, and dropout aside. The main
    process evaluates and writes, and the score that it tells the others decides for all.

    Parameters
    ----------
    learning_rate
        Learning rate of each optimiser step, counted from 0, before plateau decay.
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
    look
        From the model to its attention over a few clips, kept of every epoch by :mod:`.probes`.

    Raises
    ------
    RunError
        When a loss is not finite, the message names the clips of the batch; or when another process has died.
    """
    processes = init_process_group()
    checkpoints, seed = directory.path / "checkpoint", torch.initial_seed()
    processes.barrier()  # for the files of an earlier training
    position = load_checkpoint(checkpoints, model.to(device), optimizer) or Position()
    processes.check_same_step(position.step, checkpoints)
    if position.step and processes.is_main:
        log.info("continuing at epoch %d, batch %d", position.epoch, position.batch)
    step = SharedStep(model, loss, processes, unused_parameters=settings.unused_parameters)
    batches = train.shard(processes.rank, processes.world_size) if processes.world_size > 1 else train
    recorder = Recorder(directory, settings, model, optimizer, is_main=processes.is_main, illustrate=illustrate)

    with (
        name_lost_process(),
        _flush_denormals(),
        _bfloat16(model, settings, device) as autocast,
        step.sync_batch_norm(),
        Progress("training", settings.epochs, done=position.epoch) as progress,
    ):
        while position.epoch < settings.epochs and not is_stale(position, settings):
            started = time.monotonic()
            decay = plateau_decay(position.history, settings)
            model.train()
            clips = 0  # of the running optimiser step, in all processes
            for batch in batches.epoch(position.epoch, start=position.batch):
                processes.seed(seed, position.epoch, position.batch)
                rate = learning_rate(position.step) * decay
                for group in optimizer.param_groups:
                    group["lr"] = rate
                position.batch += 1
                is_last = position.batch % settings.grad_accum_steps == 0 or position.batch == len(train)
                with autocast():
                    value, correct = step(batch, is_last=is_last)
                totals = _count(position, batch, value, correct, processes)
                if not math.isfinite(totals["loss"]):
                    raise RunError(_name_clips(position, value, describe(batch), rate, processes))
                # DistributedDataParallel averages gradients over processes; the weights make it a mean over clips.
                weight = len(batch) * processes.world_size
                (value * (weight / totals["clips"] if settings.grad_accum_steps == 1 else weight)).backward()
                clips += int(totals["clips"])
                if not is_last:
                    continue
                step.check_gradients()
                if settings.grad_accum_steps > 1:
                    _divide_gradients(model, clips)
                clips = 0
                nn.utils.clip_grad_norm_(model.parameters(), settings.max_grad_norm)
                optimizer.step()
                optimizer.zero_grad()
                position.step += 1
                recorder.end_step(position, value)

            model.eval()
            scores: dict[str, float] = {}
            is_due = is_validated(position.epoch + 1, settings)
            if is_due and processes.is_main:
                with torch.no_grad(), autocast():
                    scores = {name: float(score) for name, score in evaluate(model).items()}
            scores = processes.broadcast(scores)
            row = _close_epoch(position, scores, learning_rate(position.step - 1) * decay, time.monotonic() - started)
            is_best = is_due and is_improved(position, scores, settings)
            is_end = position.epoch == settings.epochs or is_stale(position, settings)
            if look is not None and processes.is_main:
                with autocast():
                    save_probe(directory.path, int(row["epoch"]), probe(model, look, device))
            recorder.end_epoch(position, row, is_best=is_best, is_end=is_end)
            progress.advance(train_loss=row["train_loss"], **{f"valid_{k}": v for k, v in scores.items()})
        processes.barrier()  # for the main process's last files
    recorder.close()
    if position.best_score is None:
        raise RunError(f"{directory.path}: the validation {settings.monitor} was never finite; no epoch can be chosen")
    load_best(checkpoints, model)
    model.eval()
    return pd.DataFrame(position.history)


@contextmanager
def _flush_denormals() -> Iterator[None]:
    """Flush denormal numbers: trained softmax weights reach them, and a CPU is many times slower with them."""
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


@contextmanager
def _bfloat16(
    model: nn.Module, settings: TrainingSettings, device: torch.device
) -> Iterator[Callable[[], torch.autocast]]:
    """Yield the autocast of the settings; within the block the model returns float32."""
    enabled = settings.precision == "bfloat16" or (settings.precision == "auto" and device.type == "cuda")
    hook = model.register_forward_hook(lambda _, inputs, output: _to_float32(output)) if enabled else None
    try:
        yield lambda: torch.autocast(device.type, torch.bfloat16, enabled=enabled)
    finally:
        if hook:
            hook.remove()


def _to_float32(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.float() if value.dtype == torch.bfloat16 else value
    if isinstance(value, (list, tuple)) and not hasattr(value, "_fields"):
        return type(value)(map(_to_float32, value))
    return type(value)(*map(_to_float32, value)) if isinstance(value, tuple) else value


def _count(position: Position, batch: Any, value: Tensor, correct: Tensor, processes: Processes) -> dict[str, float]:
    """Sum clips, loss and correct clips of the batch over processes, add them to the epoch, and return them."""
    clips = len(batch)
    own = (clips, float(value.detach()) * clips, float(correct) if clips else 0.0)
    totals = dict(zip(("clips", "loss", "correct"), processes.sum(own), strict=True))
    for name, number in totals.items():
        position.sums[name] = position.sums.get(name, 0.0) + number
    return totals


def _name_clips(position: Position, value: Tensor, clips: str, rate: float, processes: Processes) -> str:
    """A message on a loss that is not finite, with the clips of the processes that have such a one."""
    losses = [
        (loss, text) for loss, text in processes.gather((float(value.detach()), clips)) if not math.isfinite(loss)
    ]
    return (
        f"the loss is {losses[0][0]} at step {position.step}, epoch {position.epoch}, batch {position.batch - 1}, in "
        f"{', '.join(text for _, text in losses)}; check these clips, or lower the learning rate ({rate:.2g})"
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
