"""Storage of files for the data package: atomic writes, and locks between processes."""

from __future__ import annotations

import contextlib
import errno
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ..core import files
from ..core.cache import cache_directory
from ..core.errors import AudioAttnError

__all__ = ["StoreError", "cache_directory", "exclusive", "explain_storage", "read_json", "write_json", "write_whole"]


class StoreError(AudioAttnError, RuntimeError):
    """Computed data that is damaged, incomplete or has no room; the message names the file or clip."""


def explain_storage(path: Path, error: OSError, kept: str) -> StoreError:
    """Make the error of a folder that is full, read-only or failing; ``kept`` names the data that is not lost."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StoreError(f"{path}: the disk is full; {kept}. Free some space and run again, or choose another folder")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return StoreError(f"{path}: cannot be written ({error.strerror}); name a folder that can be in AUDIOATTN_CACHE")
    where = error.filename or path
    return StoreError(f"{where}: cannot be read or written ({error.strerror}); {kept}. Look at the disk and run again")


@contextlib.contextmanager
def exclusive(path: Path) -> Iterator[bool]:
    """Hold the lock file ``path`` while the block runs; other processes wait. Yields True if it is held.

    The operating system frees the lock of a killed process. Where there are no
    such locks (Windows, some network file systems), nothing is held: two
    processes then do the same work, and the first result counts.
    """
    if path.is_dir():
        raise StoreError(f"{path}: is a folder where a file for a lock should be; remove it")
    with files.locked(path) as descriptor:
        yield descriptor is not None


def write_whole(path: Path, write: Callable[[Path], None]) -> None:
    """Let ``write`` fill a file beside ``path`` and move it there; see :func:`audioattn_lib.core.files.write_whole`."""
    with files.write_whole(path) as beside:
        write(beside)


def write_json(path: Path, content: Any) -> None:
    """Write JSON, whole or not at all."""
    files.write_text(path, json.dumps(content))


def read_json(path: Path) -> Any:
    """Content of a JSON file, or None when it is missing or not whole."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
