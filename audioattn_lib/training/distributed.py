"""Several processes that train one network together, as torchrun starts them.

Each process has its own device and its own share of every batch; gradients are
averaged, so that all have the same weights after every step. The first one, the
main process, alone evaluates, decides and writes; the others are told. Without
torchrun there is one process, and nothing here does anything.

Processes talk over gloo on the CPU and NCCL between CUDA devices. What they
tell each other is numbers and JSON.

Book page: ``batch``.
"""

from __future__ import annotations

import atexit
import contextlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import astuple
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from ..core.errors import ConfigError, RunError
from ..core.ranks import RankInfo, rank_info

__all__ = [
    "Processes",
    "SharedStep",
    "init_process_group",
    "name_lost_process",
    "select_device",
]

T = TypeVar("T")
Loss = Callable[[nn.Module, Any], tuple[Tensor, Tensor]]

_PATIENCE = timedelta(hours=24)
"""Longest wait of one process for another: the main process may be busy with a test for hours. A process that died
is noticed at once."""


class Processes(RankInfo):
    """Rank of this process, with collective operations."""

    def sum(self, numbers: Sequence[float]) -> list[float]:
        """Sums over the processes, in float64."""
        if self.world_size == 1:
            return list(numbers)
        sums = torch.tensor(numbers, dtype=torch.float64)
        distributed.all_reduce(sums)
        return sums.tolist()

    def gather(self, value: T) -> list[T]:
        """Gather the value of each process, in the order of ranks: anything that JSON holds, NaN too."""
        if self.world_size == 1:
            return [value]
        text = torch.frombuffer(bytearray(json.dumps(value).encode()), dtype=torch.uint8)
        sizes = [torch.zeros(1, dtype=torch.int64) for _ in range(self.world_size)]
        distributed.all_gather(sizes, torch.tensor([len(text)]))
        longest = int(max(sizes))
        texts = [torch.zeros(longest, dtype=torch.uint8) for _ in range(self.world_size)]
        distributed.all_gather(texts, nn.functional.pad(text, (0, longest - len(text))))
        return [json.loads(bytes(t[: int(n)].tolist())) for t, n in zip(texts, sizes, strict=True)]

    def broadcast(self, value: T) -> T:
        """Broadcast the value of the main process to all processes; the values of the others are ignored."""
        return self.gather(value)[0]

    def barrier(self) -> None:
        """Wait until all processes are here."""
        self.gather(None)

    def check_same_step(self, step: int, checkpoints: Path) -> None:
        """Check that all processes found a checkpoint of the same optimiser step in the folder ``checkpoints``.

        Raises
        ------
        RunError
            When they differ, because machines see different folders.
        """
        steps = self.gather(step)
        if len(set(steps)) > 1:
            raise RunError(
                f"{checkpoints}: the processes of torchrun found checkpoints at steps {', '.join(map(str, steps))}; "
                "all machines must see the same folder of runs"
            )

    def seed(self, *numbers: int) -> None:
        """Seed torch by rank and ``numbers`` in all but the main process, whose generator is not changed.

        So dropout and augmentation differ between the processes, and a resumed run needs the state of none but the
        main one.
        """
        if not self.is_main:
            state = np.random.SeedSequence([*numbers, self.rank]).generate_state(1, np.uint64)[0]
            torch.manual_seed(int(state >> np.uint64(1)))


def select_device(name: str) -> torch.device:
    """Select a device; ``"auto"`` is CUDA where available, and a missing device is an error.

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
    ranks = rank_info()
    if number:
        if ranks.world_size > 1:
            raise ConfigError(f"device is {name!r}, but under torchrun each process has its own; use cuda")
        if int(number) >= torch.cuda.device_count():
            raise ConfigError(
                f"device is {name!r}, but PyTorch sees {torch.cuda.device_count()} CUDA devices, counted from 0"
            )
        device = torch.device("cuda", int(number))
        torch.cuda.set_device(device)  # what is made without naming a device belongs there too
        return device
    if ranks.world_size == 1:
        return torch.device("cuda")
    if ranks.local_rank >= torch.cuda.device_count():
        raise ConfigError(
            f"torchrun started at least {ranks.local_rank + 1} processes on this machine, which has "
            f"{torch.cuda.device_count()} CUDA devices; give --nproc-per-node at most that many, or use device cpu"
        )
    device = torch.device("cuda", ranks.local_rank)
    torch.cuda.set_device(device)  # "cuda" without a number means this one from here on
    return device


def init_process_group() -> Processes:
    """Meet the other processes of torchrun, at the first call; all must call it.

    Raises
    ------
    ConfigError
        When the environment is incomplete, or this PyTorch was built without ``torch.distributed``.
    """
    processes = Processes(*astuple(rank_info()))
    if processes.world_size == 1 or (distributed.is_available() and distributed.is_initialized()):
        return processes
    if not distributed.is_available():
        raise ConfigError(
            f"WORLD_SIZE is {processes.world_size}, but this PyTorch has no torch.distributed; install another"
        )
    has_nccl = torch.cuda.is_available() and distributed.is_nccl_available()
    with name_lost_process():
        distributed.init_process_group("cpu:gloo,cuda:nccl" if has_nccl else "gloo", timeout=_PATIENCE)
    atexit.register(_part)
    return processes


def _part() -> None:
    """Leave the group as the process ends, by an error too: sockets and communicators are closed, not dropped."""
    if distributed.is_initialized():
        with contextlib.suppress(RuntimeError):
            distributed.destroy_process_group()


@contextlib.contextmanager
def name_lost_process() -> Iterator[None]:
    """Translate the error of a process after another process has died."""
    try:
        yield
    except RuntimeError as error:
        if not isinstance(error, distributed.DistError) and "by peer" not in str(error):
            raise
        raise RunError(
            "another process of this training ended early, and its own message says why; start the same command "
            "again, and it continues from its last checkpoint"
        ) from error


class SharedStep(nn.Module):
    r"""A loss whose gradient is the mean over the processes, as ``DistributedDataParallel`` takes it.

    Wrapped is the step, not the network: the loss then gets the network itself, with all its attributes. Batch
    normalisation of the library takes its statistics over the clips of all processes.

    Parameters
    ----------
    network
        What is trained, with the same parameters in every process.
    loss
        From network and batch to mean loss and correct clips.
    processes
        Who trains together.
    unused_parameters
        A batch may leave parameters without a part in the loss, others in every process; then these are looked for in
        every step. Those that no process used stay without gradient.
    """

    def __init__(
        self, network: nn.Module, loss: Loss, processes: Processes, *, unused_parameters: bool = False
    ) -> None:
        super().__init__()
        self.step = _Step(network, loss)
        self.unused_parameters = unused_parameters
        self.parallel: DistributedDataParallel | None = None
        if processes.world_size > 1:
            self.parallel = DistributedDataParallel(self.step, find_unused_parameters=unused_parameters)
        self.batch_norms: list[Any] = []

    def forward(self, batch: Any, *, is_last: bool = True) -> tuple[Tensor, Tensor]:
        """Loss and correct clips of a batch; gradients are averaged in the last batch of an optimiser's step."""
        if self.parallel is None:
            return self.step(batch)
        for module in self.batch_norms:
            module.has_clips = len(batch) > 0
        with contextlib.nullcontext() if is_last else self.parallel.no_sync():
            return self.parallel(batch)

    def check_gradients(self) -> None:
        """All processes must have averaged the gradient of every parameter, unless some may be unused.

        Raises
        ------
        RunError
            When a parameter had no part in the loss, for which the others would wait in vain; the message names it.
        """
        if self.parallel is None or self.unused_parameters:
            return
        idle = [name for name, p in self.step.network.named_parameters() if p.requires_grad and p.grad is None]
        if idle:
            raise RunError(
                f"{len(idle)} parameters have no part in the loss ({', '.join(idle[:5])}), for which several processes "
                "would wait; freeze them with requires_grad_(False), or give unused_parameters=True to TrainingSettings"
            )

    @contextlib.contextmanager
    def sync_batch_norm(self) -> Iterator[None]:
        """Let batch normalisation see the clips of all processes while the block runs."""
        if self.parallel is not None:
            self.batch_norms = [module for module in self.step.modules() if hasattr(module, "syncs_statistics")]
        for module in self.batch_norms:
            module.syncs_statistics = True
        try:
            yield
        finally:
            for module in self.batch_norms:
                module.syncs_statistics, module.has_clips = False, True


class _Step(nn.Module):
    def __init__(self, network: nn.Module, loss: Loss) -> None:
        super().__init__()
        self.network = network
        self.loss = loss

    def forward(self, batch: Any) -> tuple[Tensor, Tensor]:
        return self.loss(self.network, batch)
