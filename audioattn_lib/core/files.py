"""Files that appear whole or not at all, and files that are read up to a bound.

The one place where the library writes a file that others may read: beside its
place, with the mode that the umask gives, brought to the disk, and then moved.
It lies below all floors, as :mod:`audioattn_lib.core.errors` does.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import logging
import os
import secrets
import socket
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

__all__ = [
    "explain",
    "is_left",
    "locked",
    "owner",
    "parse_json",
    "read_bounded",
    "remove_leftovers",
    "short_name",
    "sync",
    "write_text",
    "write_whole",
]

log = logging.getLogger("audioattn")

_PREFIX: Final = ".writing-"
_LONGEST_NAME: Final = 200
_STALE_SECONDS: Final = 24 * 3600.0
MOST_BYTES: Final = 1 << 28
"""Most bytes that a file of settings or results may have: 256 MiB."""
_cleaned: set[Path] = set()
"""Folders that this process has searched for leftovers."""


@contextmanager
def write_whole(path: str | Path, *, durable: bool = True) -> Iterator[Path]:
    """Give the path of an empty file beside ``path``, which becomes ``path`` when the block ends without error.

    The file has the mode that the umask gives, its content is on the disk before it has its name, and the name is
    before the block is left: after a kill or a loss of power there is the old file, or the new one. The folder is made
    when missing. After an error nothing is left; what a killed process was writing there is removed by the next one.

    Raises
    ------
    OSError
        When the folder cannot be written or the disk is full.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.parent not in _cleaned:
        _cleaned.add(path.parent)
        remove_leftovers(path.parent)
    # The suffix says the format to whoever fills it; the name is short where that of the file is as long as it may be.
    temporary = path.with_name(f"{_PREFIX}{owner()}-{secrets.token_hex(4)}{path.suffix[:40]}")
    os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    try:
        yield temporary
        if durable:
            with open(temporary, "rb+") as file:
                os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    if durable:
        _sync_folder(path.parent)


def sync() -> None:
    """Bring everything that was written to the disk, where the system can."""
    if hasattr(os, "sync"):
        os.sync()


def write_text(path: str | Path, text: str) -> None:
    """Write text in UTF-8, whole or not at all; see :func:`write_whole`."""
    with write_whole(path) as temporary:
        temporary.write_bytes(text.encode())


@contextmanager
def locked(path: Path) -> Iterator[int | None]:
    """Hold a lock file while the block runs; other processes wait. Gives its open descriptor.

    The operating system frees the lock when the process ends, and those to which it handed on the descriptor. Where
    there are no such locks (Windows, some network file systems), nothing is held, and None is given.
    """
    try:
        import fcntl
    except ImportError:
        yield None
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log.info("waiting for another process that works on %s", path.parent)
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError as error:
            log.info("%s cannot be locked (%s)", path, error.strerror)
            yield None
            return
        yield file.fileno()


def remove_leftovers(folder: str | Path) -> None:
    """Remove the unfinished files of killed processes from a folder, which may be missing.

    Files of processes that live are left alone. Those of another machine, which cannot be asked, are removed a day
    after their last change.
    """
    with contextlib.suppress(OSError):
        for left in Path(folder).glob(f"{_PREFIX}*"):
            with contextlib.suppress(OSError):
                machine, _, rest = left.name.removeprefix(_PREFIX).partition("-")
                if is_left(machine, rest.partition("-")[0], left):
                    left.unlink(missing_ok=True)


def is_left(machine: str, process: str, path: Path) -> bool:
    """Return True if ``path`` is a leftover of a dead process, given ``machine`` and ``process`` of :func:`owner`."""
    if machine == _machine() and process.isdecimal():
        try:
            os.kill(int(process), 0)
        except ProcessLookupError:
            return True
        except (OSError, OverflowError):
            return False
        return False
    return time.time() - path.stat().st_mtime > _STALE_SECONDS


def owner() -> str:
    """Machine and number of the process, as a part of a name."""
    return f"{_machine()}-{os.getpid()}"


@functools.cache
def _machine() -> str:
    """A short name of where process numbers mean the same: the host, its start, and the container."""
    parts = [socket.gethostname()]
    with contextlib.suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii"))
        parts.append(os.readlink("/proc/self/ns/pid"))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:6]


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
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise ValueError("no regular file")
        if status.st_size > most_bytes:
            raise ValueError(f"more than {most_bytes} bytes")
        return file.read()


def parse_json(content: bytes) -> Any:
    """The value of JSON in UTF-8; a ValueError where it is none, is nested too deeply or has too long a number."""
    try:
        return json.loads(content.decode("utf-8"))
    except RecursionError:
        raise ValueError("nested too deeply") from None


def short_name(name: str) -> str:
    """``name`` where a file may be called so with some ending; else its beginning and a hash of all of it.

    File systems take 255 bytes.
    """
    encoded = name.encode(errors="surrogateescape")
    if len(encoded) <= _LONGEST_NAME:
        return name
    digest = hashlib.sha256(encoded).hexdigest()[:16]
    return f"{encoded[: _LONGEST_NAME - 17].decode(errors='ignore')}-{digest}"


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
