"""One run of an experiment: its directory, found by what it is made of, and its two halves, training and test.

All processes of torchrun train; the main process alone tests and writes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch

from audioattn_lib.automation.key import dependency_hash, key, source_hash
from audioattn_lib.core.ranks import is_main_process
from audioattn_lib.data.files import exclusive
from audioattn_lib.data.manifest import Manifest
from audioattn_lib.data.splits import fold_names
from audioattn_lib.training.distributed import init_process_group, name_lost_process
from audioattn_lib.training.loop import select_device
from audioattn_lib.training.run_directory import Run, RunDirectory, describe_environment

from .config import ExperimentConfig
from .corpus import PreparedCorpus
from .initial_weights import hash_weights

__all__ = [
    "NotMadeError",
    "RunContext",
    "make_once",
    "make_run",
    "nothing_to_train",
    "only_read",
    "open_run",
    "resolve_fold",
    "runs_folder",
]

C = TypeVar("C", bound=ExperimentConfig)
P = TypeVar("P", bound=PreparedCorpus)
T = TypeVar("T")


@dataclass(frozen=True)
class RunContext(Generic[C, P]):
    """Configuration, corpus, device and directory of one run.

    Parameters
    ----------
    config
        The configuration, with the name of its test fold.
    prepared
        The corpus.
    directory
        Of the run.
    device
        Where to train and test.
    root
        Directory of all runs.
    """

    config: C
    prepared: P
    directory: RunDirectory
    device: torch.device
    root: Path


def open_run(
    module: str,
    name: str,
    config: C,
    prepared: P,
    root: str | Path,
    settings: Mapping[str, Any] | None = None,
) -> RunContext[C, P]:
    """The run of a configuration, found by its identity; its directory says what it is made from.

    Parameters
    ----------
    module
        Of the experiment: its source, and what that imports, are part of the run's identity.
    name
        Of the experiment: the run lies in ``<root>/<name>/<key>/``.
    config, prepared
        Configuration and corpus. The device is no part of the identity; weights that the run starts from are.
    root
        Directory of all runs; see :func:`runs_folder`.
    settings
        All that the run is a function of, beside source, dependencies and data; by default the whole configuration.
    """
    settings = dataclasses.asdict(config) if settings is None else dict(settings)
    device = select_device(config.device)
    data = hash_weights(prepared.data_hash, config) if "pretrained" in settings else prepared.data_hash
    identity = {
        "settings": settings,
        "source": source_hash(module),
        "dependencies": dependency_hash(),
        "data": data,
    }
    root = runs_folder(root)
    directory = RunDirectory(root / name / key(identity))
    if not directory.is_complete and is_main_process():
        directory.write_json("config.json", settings)
        directory.write_json("environment.json", describe_environment(str(device), data))
    return RunContext(config, prepared, directory, device, root)


def runs_folder(root: str | Path) -> Path:
    """Folder of all runs; a relative one, in the notebooks of a checkout of this project, is that of the checkout.

    JupyterLab executes a notebook in its own folder, and ``make book`` in that of the checkout: both have one folder
    of runs, so neither trains what the other has trained.
    """
    root, cwd = Path(root), Path.cwd()
    in_checkout = cwd.name == "notebooks" and (cwd / "book.yml").is_file() and (cwd.parent / "_toc.yml").is_file()
    return cwd.parent / root if in_checkout else root


def make_run(
    context: RunContext[C, P],
    train: Callable[[RunContext[C, P]], T],
    test: Callable[[RunContext[C, P], T], None],
) -> Run:
    """The run of a context, made once: ``train`` in every process, then ``test`` of what it gave in the main one."""
    return make_once(context.directory, lambda: train(context), lambda trained: test(context, trained))


def nothing_to_train(context: RunContext[Any, Any]) -> None:
    """First half of a run that several processes cannot share, such as the linear baseline."""


def resolve_fold(config: C, manifest: Manifest) -> C:
    """The configuration with the name of its test fold in place of ``"first"``; as it is where it has no folds."""
    if getattr(config, "fold", "") != "first":
        return config
    return dataclasses.replace(config, fold=fold_names(manifest)[0])  # type: ignore[call-arg]


class NotMadeError(Exception):
    """A run that does not exist, where none is to be made; see :func:`only_read`."""


_only_read = ContextVar("_only_read", default=False)


@contextmanager
def only_read() -> Iterator[None]:
    """Let runs that do not exist be a :class:`NotMadeError` instead of being made, while the block runs."""
    token = _only_read.set(True)
    try:
        yield
    finally:
        _only_read.reset(token)


def make_once(directory: RunDirectory, train: Callable[[], T], test: Callable[[T], None]) -> Run:
    """The run of a directory: read back where it is complete, made where not.

    Two processes may want the same run: the second waits, and reads what the first made. Those that torchrun started
    train it together; the main one tests it and writes its results, and the others wait for them.

    Parameters
    ----------
    directory
        Of the run.
    train
        Called in every process.
    test
        Called with what ``train`` returned, in the main process; it writes the results.
    """
    if _only_read.get():
        if not directory.is_complete:
            raise NotMadeError(directory.path)
        return Run.load(directory.path)
    processes = init_process_group()
    if processes.broadcast(directory.is_complete):  # before the lock, which a folder that is only read has no place for
        return Run.load(directory.path)
    with (
        name_lost_process(),
        exclusive(directory.path / ".lock") if processes.is_main else nullcontext(),
    ):
        if processes.broadcast(directory.is_complete):
            return Run.load(directory.path)
        if processes.is_main:
            directory.remove_leftovers()
        trained = train()
        if processes.is_main:
            test(trained)
        processes.barrier()
        return Run.load(directory.path)
