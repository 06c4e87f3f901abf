"""Attention over sound: the library behind the book.

A module imports only from floors below its own.

====== ================================= =============================================
floor  package                           holds
====== ================================= =============================================
6      ``cli``                           the ``audioattn`` command line
5      ``inference``                     trained models on any sound
4      ``experiments``, ``display``      runs from a ``Config``; pictures and players
3      ``training``                      the loop, checkpoints, run directories
2      ``models``, ``evaluation``,       neighbours that never import each other
       ``data``, ``inspection``
1      ``attention``, ``audio``,         the mathematics, the sound, the machinery
       ``automation``
0      ``core``                          errors, files, ranks, compiled loops
====== ================================= =============================================

``audioattn_lib.load`` reads a trained model, ``audioattn_lib.Run.load`` a finished run; ``audioattn_lib.show``
shows any sound with anything over it, ``audioattn_lib.capture`` takes the attention of any model. They are
imported when they are first asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .display.show import show
    from .inference.export.hub import from_pretrained, push_to_hub
    from .inference.model import load
    from .inspection.capture import capture
    from .training.run_directory import Run

__all__ = ["Run", "capture", "from_pretrained", "load", "push_to_hub", "show"]

__version__ = "0.1.0"


# Names of modules, not imports: the key of a run holds all source that it can import, and no run needs these.
_MODULES = {
    "Run": ".training.run_directory",
    "capture": ".inspection.capture",
    "from_pretrained": ".inference.export.hub",
    "load": ".inference.model",
    "push_to_hub": ".inference.export.hub",
    "show": ".display.show",
}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(_MODULES[name], __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
