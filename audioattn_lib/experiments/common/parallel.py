"""Many runs of one experiment, several at a time where there are cores for it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch

from audioattn_lib.core.ranks import rank_info
from audioattn_lib.training.loop import select_device
from audioattn_lib.training.progress import Progress
from audioattn_lib.training.run_directory import Run

from .runs import NotMadeError, only_read

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
    selected = list(configs)
    workers = _workers(selected[0]) if selected else 1
    results: dict[int, Run] = {}
    with Progress("runs", len(selected)) as progress:
        in_process = enumerate(run(config, root) for config in selected)
        for index, result in in_process if workers == 1 else _spread(run, selected, root, workers):
            results[index] = result
            progress.advance(**{name: getattr(selected[index], name) for name in shown})
    return [results[index] for index in range(len(selected))]


def _workers(config: Any) -> int:
    alone = rank_info().world_size == 1 and select_device(config.device).type == "cpu"
    return min(torch.get_num_threads(), _MOST) if alone else 1


def _spread(run: Make[Any], configs: Sequence[Any], root: str | Path, workers: int) -> Iterator[tuple[int, Run]]:
    """Each run that is there with its index, then those that are made in processes, as soon as they are; one alone is
    left to this process and its threads.
    """
    from joblib import Parallel, delayed, parallel_config

    missing = []
    for index, config in enumerate(configs):
        try:
            with only_read():
                result = run(config, root)
        except NotMadeError:
            missing.append(index)
        else:
            yield index, result
    if len(missing) <= 1:
        yield from ((index, run(configs[index], root)) for index in missing)
        return
    # loky's processes start anew, import no script of the user's, and stay for the next study
    workers = min(workers, len(missing))
    with warnings.catch_warnings(), parallel_config("loky", n_jobs=workers, inner_max_num_threads=1):
        # it replaces those whose memory has grown, which is as it should be
        warnings.filterwarnings("ignore", "A worker stopped while some jobs were given", UserWarning)
        done = Parallel(return_as="generator_unordered")(
            delayed(_make)(run, configs[index], root, index) for index in missing
        )
        yield from ((index, run(configs[index], root)) for index in done)


def _make(run: Make[Any], config: Any, root: str | Path, index: int) -> int:
    run(config, root)
    return index
