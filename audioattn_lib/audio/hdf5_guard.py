"""Damaged HDF5 files are found by a process that may hang, before this one opens them.

The C library of HDF5 follows what a file says. In a damaged one that may be a
circle, which it follows for ever, and no signal of Python reaches into it. So a
process of its own opens each file first, as a reader would, with a limit on time
and memory. A file that it came through is then read here, at full speed: reading
is deterministic. The process serves all files and ends with this one.

Book page: ``data``.
"""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

from ..core.cache import cache_directory
from ..core.files import write_text

__all__ = ["check_hdf5"]

_PROGRAM = Path(__file__).with_name("hdf5_walk.py")
_SECONDS = 8.0
_BYTES_A_SECOND = 10_000_000
"""A disk of a network reads as fast."""
_WORTH_REMEMBERING = 1.0
"""Seconds of a walk, above which the next process need not repeat it."""


class _Walker:
    """The process; started when it is first asked, and again after a file that ended it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None

    def ask(self, path: Path, seconds: float) -> str | None:
        """Return the answer for a file; None when the process ended."""
        with self._lock:
            try:
                if self._process is None or self._process.poll() is not None:
                    self._process = self._start()
                assert self._process.stdin is not None
                self._process.stdin.write(json.dumps([os.fspath(path.absolute()), seconds]) + "\n")
                self._process.stdin.flush()
                answer = self._answer()
            except BaseException:  # an interrupt among them: the next answer would be that of this file
                self.end()
                raise
            if answer is None:
                self.end()
            return answer

    def _start(self) -> subprocess.Popen[str]:
        self.end()
        # -P: the folder of the program holds modules with the names of others.
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-W", "ignore", str(_PROGRAM)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            encoding="utf-8",
            start_new_session=True,  # Ctrl-C is for this process, which ends that one
        )
        if self._answer() != "ready":
            raise OSError(0, f"the process that checks HDF5 files does not start ({sys.executable} {_PROGRAM})")
        return self._process

    def _answer(self) -> str | None:
        assert self._process is not None
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        return str(json.loads(line)) if line.endswith("\n") else None

    def end(self) -> None:
        """Kill the process."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()

    def leave(self) -> None:
        """In a forked process: the process is the parent's."""
        if self._process is not None:
            self._process.returncode = 0
        self.__init__()  # type: ignore[misc]


_walker = _Walker()
_known: set[tuple[str, int, int]] = set()
atexit.register(_walker.end)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_walker.leave)


def check_hdf5(path: Path) -> None:
    """Raise if a file that may be opened by ``h5py`` would hang, crash or fill the memory.

    A file is checked once: a process remembers its name, size and time of change, and the cache those whose check took
    long. Values that are stored as they are are not read for it; compressed ones are.

    Raises
    ------
    OSError
        When the file does not exist, or no process can be started.
    ValueError
        When the file must not be opened; the message says why.
    """
    status = path.stat()
    state = (os.fspath(path.absolute()), status.st_size, status.st_mtime_ns)
    if state in _known or _is_remembered(state):
        return
    seconds = _SECONDS + status.st_size / _BYTES_A_SECOND
    started = time.monotonic()
    answer = _walker.ask(path, seconds)
    if answer is None:
        raise ValueError(f"looking through it takes more than {seconds:.0f} s, or ends the process that does")
    if answer:
        raise ValueError(answer)
    _known.add(state)
    if time.monotonic() - started > _WORTH_REMEMBERING:
        with contextlib.suppress(OSError):  # costs time
            write_text(_memory(state), json.dumps(state))


def _is_remembered(state: tuple[str, int, int]) -> bool:
    with contextlib.suppress(OSError, ValueError):
        if tuple(json.loads(_memory(state).read_text(encoding="utf-8"))) == state:
            _known.add(state)
            return True
    return False


def _memory(state: tuple[str, int, int]) -> Path:
    name = hashlib.sha256(state[0].encode(errors="surrogateescape")).hexdigest()[:16]
    return cache_directory() / "containers" / f"{name}.json"
