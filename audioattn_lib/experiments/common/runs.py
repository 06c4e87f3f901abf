"""The directory of a run, found by what the run is made of, and the fold that it tests."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Any, TypeVar

import torch

from audioattn_lib.automation.key import dependency_hash, key, source_hash
from audioattn_lib.core.ranks import is_main_process
from audioattn_lib.data.files import exclusive
from audioattn_lib.data.manifest import Manifest
from audioattn_lib.data.splits import fold_names
from audioattn_lib.training.distributed import LeftToMain, init_process_group, name_lost_process
from audioattn_lib.training.loop import select_device
from audioattn_lib.training.run_directory import Run, RunDirectory, describe_environment

__all__ = ["NotMadeError", "make_once", "only_read", "open_directory", "open_run", "resolve_fold"]

C = TypeVar("C")


def open_directory(
    module: str, name: str, settings: Mapping[str, Any], data_hash: str, device: str, root: str | Path
) -> RunDirectory:
    """The directory of the run with these settings, with what it is written down.

    Parameters
    ----------
    module
        Of the experiment: its source, and what that imports, are part of the run's identity.
    name
        Of the experiment: the run lies in ``<root>/<name>/<key>/``.
    settings
        All that the run is a function of, beside source, dependencies and data.
    data_hash
        Of the content of the corpus.
    device
        What it runs on, for the record; no part of the identity.
    root
        Directory of all runs.
    """
    identity = {
        "settings": dict(settings),
        "source": source_hash(module),
        "dependencies": dependency_hash(),
        "data": data_hash,
    }
    directory = RunDirectory(Path(root) / name / key(identity))
    if not directory.is_complete and is_main_process():
        directory.write_json("config.json", settings)
        directory.write_json("environment.json", describe_environment(device, data_hash))
    return directory


def open_run(
    module: str, name: str, settings: Mapping[str, Any], data_hash: str, device: str, root: str | Path
) -> tuple[RunDirectory, torch.device]:
    """As :func:`open_directory`, with the name of a device as a configuration holds it; and that device."""
    chosen = select_device(device)
    return open_directory(module, name, settings, data_hash, str(chosen), root), chosen


def resolve_fold(config: C, manifest: Manifest) -> C:
    """The configuration with the name of its test fold in place of ``"first"``."""
    if config.fold != "first":  # type: ignore[attr-defined]
        return config
    return dataclasses.replace(config, fold=fold_names(manifest)[0])  # type: ignore[type-var]


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


def make_once(directory: RunDirectory, make: Callable[[], Run]) -> Run:
    """The run of a directory: read back where it is complete, made by ``make`` where not.

    Two processes may want the same run: the second waits, and reads what the first made. Those that torchrun started
    make it together, as far as :func:`~audioattn_lib.training.distributed.leave_to_main`; then the others wait for the
    main one, and read what it made.
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
        run = None
        with suppress(LeftToMain):
            run = make()
        processes.barrier()
        return run or Run.load(directory.path)
