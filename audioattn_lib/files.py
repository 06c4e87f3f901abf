"""Files that appear whole or not at all, and files that are read up to a bound.

The one place where the library writes a file that others may read: beside its
place, with the mode that the umask gives, brought to the disk, and then moved.
It lies below all floors, as :mod:`audioattn_lib.errors` does.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

__all__ = ["explain", "parse_json", "read_bounded", "remove_leftovers", "write_text", "write_whole"]

_PREFIX: Final = ".writing-"
_STALE_SECONDS: Final = 24 * 3600.0
MOST_BYTES: Final = 1 << 28
"""Most bytes that a file of settings or results may have: 256 MiB."""


@contextmanager
def write_whole(path: str | Path) -> Iterator[Path]:
    """Give the path of an empty file beside ``path``, which becomes ``path`` when the block ends without error.

    The file has the mode that the umask gives, its content is on the disk before it has its name, and the name is
    before the block is left: after a kill or a loss of power there is the old file, or the new one. The folder is made
    when missing. After an error nothing is left.

    Raises
    ------
    OSError
        When the folder cannot be written or the disk is full.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # The suffix says the format to whoever fills it; the name is short where that of the file is as long as it may be.
    temporary = path.with_name(f"{_PREFIX}{secrets.token_hex(8)}{path.suffix[:40]}")
    os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    try:
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def write_text(path: str | Path, text: str) -> None:
    """Write text in UTF-8, whole or not at all; see :func:`write_whole`."""
    with write_whole(path) as temporary:
        temporary.write_bytes(text.encode())


def remove_leftovers(folder: str | Path, *, older_than: float = _STALE_SECONDS) -> None:
    """Remove what killed processes were writing in a folder.

    Parameters
    ----------
    folder
        May be missing.
    older_than
        Seconds since the last change; 0 only where no other process can be writing.
    """
    now = time.time()
    with contextlib.suppress(OSError):
        for left in Path(folder).glob(f"{_PREFIX}*"):
            with contextlib.suppress(OSError):
                if not older_than or now - left.stat().st_mtime > older_than:
                    left.unlink(missing_ok=True)


def read_bounded(path: str | Path, most_bytes: int = MOST_BYTES) -> bytes:
    """Bytes of a regular file of at most ``most_bytes`` bytes.

    Raises
    ------
    OSError
        When there is no such file or it cannot be read.
    ValueError
        When it is no regular file, larger, or its name holds NUL.
    """
    # Opening a pipe waits for whoever writes to it.
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | getattr(os, "O_NONBLOCK", 0))) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise ValueError("no regular file")
        content = file.read(most_bytes + 1)
    if len(content) > most_bytes:
        raise ValueError(f"more than {most_bytes} bytes")
    return content


def parse_json(content: bytes) -> Any:
    """The value of JSON in UTF-8; a ValueError where it is none, is nested too deeply or has too long a number."""
    try:
        return json.loads(content.decode("utf-8"))
    except RecursionError:
        raise ValueError("nested too deeply") from None


def explain(error: Exception) -> str:
    """The reason of an error of a file, without the name of the file."""
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    if isinstance(error, UnicodeDecodeError):
        return "not text in UTF-8"
    return str(error)


def _sync_folder(folder: Path) -> None:
    """Bring the names in a folder to the disk; some file systems cannot, and the file itself is there."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
