"""What the data floor keeps on disk: where its cache lies, whole files or none, one process at a time."""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import AudioAttnError

__all__ = ["StoreError", "cache_directory", "disk_is_full", "exclusive", "read_json", "write_json"]

log = logging.getLogger("audioattn")


class StoreError(AudioAttnError, RuntimeError):
    """Computed data that is damaged, incomplete or has no room; the message names the file or clip."""


def cache_directory() -> Path:
    """Folder of everything that can be computed again: ``AUDIOATTN_CACHE``, or ``audioattn`` in the user's cache."""
    if given := os.environ.get("AUDIOATTN_CACHE"):
        return Path(given).expanduser()
    if windows := os.environ.get("LOCALAPPDATA"):
        return Path(windows) / "audioattn"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "audioattn"


def disk_is_full(error: OSError) -> bool:
    """True when an operation failed for want of space."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


@contextlib.contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold the lock file ``path`` while the block runs; other processes wait.

    The operating system frees the lock of a killed process. Where it has no
    such locks (Windows), nothing is held.
    """
    try:
        import fcntl
    except ImportError:
        yield
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log.info("waiting for another process that works on %s", path.parent)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def write_json(path: Path, content: Any) -> None:
    """Write JSON beside ``path`` and move it there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".json")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(content, file)
        os.replace(name, path)
    finally:
        Path(name).unlink(missing_ok=True)


def read_json(path: Path) -> Any:
    """Content of a JSON file, or None when it is missing or not whole."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
