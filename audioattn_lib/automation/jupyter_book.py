"""Jupyter Book's command line, which reads and writes pages in several processes.

Its command has no option for that, though the function behind it has. Sphinx reads pages in several processes only
where every extension says that this is safe; three that Jupyter Book loads say nothing: one is for LaTeX alone, one
numbers the contents when all pages were read, one copies a script.

Book page: ``architecture``.
"""

from __future__ import annotations

import functools
import gc
import importlib
from types import ModuleType
from typing import Any

from .execution import count_cores

__all__ = ["main"]

_SILENT = ("sphinx_jupyterbook_latex", "sphinx_multitoc_numbering", "sphinx-mathjax-offline")
_MOST = 4
_ALLOCATIONS = 100_000
"""Between two searches for garbage, where Python has 700."""


def main() -> None:
    """Run the command line of Jupyter Book."""
    import jupyter_book.sphinx as tool
    from jupyter_book.cli.main import main as run

    for name in _SILENT:
        _declare_safe(importlib.import_module(name))
    tool.build_sphinx = functools.partial(tool.build_sphinx, jobs=min(count_cores(), _MOST))
    gc.set_threshold(_ALLOCATIONS, 20, 100)  # trees of pages are large, and little of them is garbage
    run()


def _declare_safe(extension: ModuleType) -> None:
    setup = extension.setup

    def declared(app: Any) -> dict[str, Any]:
        return {**(setup(app) or {}), "parallel_read_safe": True, "parallel_write_safe": True}

    extension.setup = declared  # type: ignore[attr-defined]


if __name__ == "__main__":
    main()
