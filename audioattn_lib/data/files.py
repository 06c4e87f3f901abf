"""What the data floor keeps on disk: whole files or none, one process at a time."""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ..cache import cache_directory
from ..errors import AudioAttnError

__all__ = ["StoreError", "cache_directory", "exclusive", "explain_storage", "read_json", "write_json", "write_whole"]

log = logging.getLogger("audioattn")


class StoreError(AudioAttnError, RuntimeError):
    """Computed data that is damaged, incomplete or has no room; the message names the file or clip."""


def explain_storage(path: Path, error: OSError, kept: str) -> StoreError | None:
    """The error of a folder that is full or must not be written; None for any other cause.

    ``kept`` says what is not lost.
    """
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StoreError(f"{path}: the disk is full; {kept}. Free some space and run again, or choose another folder")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return StoreError(f"{path}: cannot be written ({error.strerror}); name a folder that can be in AUDIOATTN_CACHE")
    return None


@contextlib.contextmanager
def exclusive(path: Path) -> Iterator[bool]:
    """Hold the lock file ``path`` while the block runs; other processes wait. Gives whether it is held.

    The operating system frees the lock of a killed process. Where there are no
    such locks (Windows, some network file systems), nothing is held: two
    processes then do the same work, and the first result counts.
    """
    try:
        import fcntl
    except ImportError:
        yield False
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log.info("waiting for another process that works on %s", path.parent)
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError as error:
            log.info("%s cannot be locked (%s)", path, error.strerror)
            yield False
            return
        yield True


def write_whole(path: Path, write: Callable[[Path], None]) -> None:
    """Let ``write`` fill a file beside ``path`` and move it there: whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=path.suffix)
    os.close(handle)
    try:
        write(Path(name))
        os.replace(name, path)
    finally:
        Path(name).unlink(missing_ok=True)


def write_json(path: Path, content: Any) -> None:
    """Write JSON beside ``path`` and move it there."""

    def write(beside: Path) -> None:
        beside.write_text(json.dumps(content), encoding="utf-8")

    write_whole(path, write)


def read_json(path: Path) -> Any:
    """Content of a JSON file, or None when it is missing or not whole."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
