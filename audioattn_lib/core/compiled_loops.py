"""Numba functions that are compiled once and kept in the cache of the library."""

from __future__ import annotations

import functools
import hashlib
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from numba import cfunc, njit
from numba.core import config as numba_config

from .cache import cache_directory

__all__ = ["CompiledFunction", "kept_on_disk"]

_config: Any = numba_config


def kept_on_disk(**options: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """``njit`` with these options; what it compiles is kept in ``NUMBA_CACHE_DIR``, or in ``numba`` of the cache.

    Left to itself, numba writes beside the source, into the installed package, and sees a change of the function's own
    file alone. Here every state of the modules ``_numba*.py`` beside it has a folder of its own. Where neither folder
    can be written to, nothing is kept.
    """
    return lambda function: _cached(function, lambda cache: njit(cache=cache, **options)(function))


class CompiledFunction:
    """A function of C that numba compiles when its address is first asked for, and keeps as :func:`kept_on_disk`."""

    def __init__(self, function: Callable[..., Any], signature: Any, **options: Any) -> None:
        self._compile = lambda cache: cfunc(signature, cache=cache, **options)(function)
        self._function = function

    @functools.cached_property
    def address(self) -> int:
        """Address of the machine code, in this process."""
        self._compiled = _cached(self._function, self._compile)  # the code lives as long as this
        return int(self._compiled.address)


def _cached(function: Callable[..., Any], compiled: Callable[[bool], Any]) -> Any:
    """Compile a function and keep the result in a folder for its module."""
    previous = _config.CACHE_DIR
    source = Path(function.__code__.co_filename)
    folder = str(Path(previous or cache_directory() / "numba") / _state_of(source.parent))
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
        _config.CACHE_DIR = folder  # numba asks for it here and not again
        return compiled(True)
    except (OSError, RuntimeError):
        return compiled(False)
    finally:
        _config.CACHE_DIR = previous


@functools.cache
def _state_of(folder: Path) -> str:
    """Hash of the modules of loops in a folder."""
    digest = hashlib.sha256()
    for path in sorted(folder.glob("_numba*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
