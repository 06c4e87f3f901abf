"""Imports that wait until something is asked for, and imports without the search for garbage.

Book page: architecture.
"""

from __future__ import annotations

import gc
import importlib
import importlib.util
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

__all__ = ["import_later", "without_collection"]


class _LaterModule(ModuleType):
    """In the place of a package until the first attribute is asked for; then it gives those of the package.

    ``importlib.util.LazyLoader`` cannot do it: an import statement of another module asks for ``__spec__``, which
    already loads.
    """

    _lock = threading.RLock()

    def __getattr__(self, name: str) -> Any:
        with self._lock:
            if sys.modules.get(self.__name__) is self:
                del sys.modules[self.__name__]
        return getattr(importlib.import_module(self.__name__), name)


def import_later(name: str) -> None:
    """Let ``import name`` of any module wait until an attribute of the package is asked for.

    A program calls it before its imports, with a package that it needs for some of its work alone. A package that is
    imported already stays as it is.

    Parameters
    ----------
    name
        Of a package without dots, such as ``"pandas"``.

    Notes
    -----
    Book page: architecture.
    """
    if name not in sys.modules and (spec := importlib.util.find_spec(name)) is not None:
        module = _LaterModule(name)
        module.__spec__, module.__file__ = spec, spec.origin  # which others read of all modules, without a need for it
        sys.modules[name] = module


@contextmanager
def without_collection() -> Iterator[None]:
    """Pause the collection of garbage while the block runs: nothing of what an import makes is garbage.

    The search takes a fifth of the time of importing PyTorch.

    Notes
    -----
    Book page: architecture.
    """
    is_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if is_enabled:
            gc.enable()
