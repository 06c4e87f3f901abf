"""The machinery: identities of runs, notebook execution, sweeps and the book.

It knows notebooks and parameters and nothing of what they compute.
"""

from typing import Final

__all__ = ["RUN_MIMETYPE"]

RUN_MIMETYPE: Final = "application/vnd.audioattn.runs+json"
"""MIME type under which a notebook shows the runs it made.

The content is a list with one object a run: ``experiment``, ``key``, ``path``,
``config`` and ``metrics``. Sweeps and results pages are made from it.
"""
