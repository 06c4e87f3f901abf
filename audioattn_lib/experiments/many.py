"""Many runs of one experiment, several at a time where there are cores for it."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch

from ..batch.processes import find_place
from ..training.loop import select_device
from ..training.progress import Progress
from ..training.run_directory import Run
from .directories import NotMadeError, only_read

__all__ = ["run_all"]

C = TypeVar("C")
Make = Callable[[C, str | Path], Run]

_MOST = 8
"""Processes at most: each holds PyTorch and a network in memory."""


def run_all(run: Make[C], configs: Iterable[C], root: str | Path, *, shown: Sequence[str] = ()) -> list[Run]:
    """The run of every configuration, in this order; what exists already is read back.

    A small network trains hardly faster on two cores than on one. So on a processor as many runs are made at a time as
    PyTorch has threads (``OMP_NUM_THREADS``; 1 makes one after the other), each in a process with one thread. A CUDA
    device takes one at a time, and so do the processes of torchrun, which share each run.

    Parameters
    ----------
    run
        From a configuration and the directory of all runs to its run; a function of a module.
    configs
        With the fields ``device`` and ``shown``.
    root
        Directory of all runs.
    shown
        Fields that progress shows.

    Notes
    -----
    Book page: ``batch``.
    """
    chosen, made = list(configs), {}
    with only_read():
        for index, config in enumerate(chosen):
            with contextlib.suppress(NotMadeError):
                made[index] = run(config, root)
    missing = [index for index in range(len(chosen)) if index not in made]
    workers = min(len(missing), _workers(getattr(chosen[0], "device", "auto"))) if missing else 0
    with Progress("runs", len(chosen), done=len(made)) as progress:
        for index in missing if workers <= 1 else _spread(run, chosen, missing, root, workers):
            made[index] = run(chosen[index], root)
            progress.advance(**{name: getattr(chosen[index], name) for name in shown})
    return [made[index] for index in range(len(chosen))]


def _workers(device: str) -> int:
    return min(torch.get_num_threads(), _MOST) if select_device(device).type == "cpu" and find_place().count == 1 else 1


def _spread(
    run: Make[Any],
    configs: Sequence[Any],
    missing: Sequence[int],
    root: str | Path,
    workers: int,
) -> Iterable[int]:
    """Make runs in processes; the index of each as soon as it is there."""
    from joblib import Parallel, delayed, parallel_config

    # loky's processes start anew, import no script of the user's, and stay for the next study
    with warnings.catch_warnings(), parallel_config("loky", n_jobs=workers, inner_max_num_threads=1):
        # it replaces those whose memory has grown, which is as it should be
        warnings.filterwarnings("ignore", "A worker stopped while some jobs were given", UserWarning)
        found: Iterable[int] = Parallel(return_as="generator_unordered")(
            delayed(_make)(run, configs[index], root, index) for index in missing
        )
        yield from found


def _make(run: Make[Any], config: Any, root: str | Path, index: int) -> int:
    run(config, root)
    return index
