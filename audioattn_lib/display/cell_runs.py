"""Runs behind each cell of a notebook that is executed without a person, for the captions of its figures and tables.

What a cell shows comes from the runs whose results it read, and from values of earlier cells, which come from the runs
that those cells had read. A cell ends with a mark that names all of them, and never fewer. A cell whose runs cannot be
told has no mark, and its figures name all runs of the page (:mod:`audioattn_lib.automation.figure_sources`).

Book page: architecture.
"""

from __future__ import annotations

import ast
import html
import sys
from types import ModuleType
from typing import Any

from audioattn_lib.training.run_directory import READ, Run

from .widgets import is_interactive

__all__ = ["CellRuns", "mark_cells"]


class CellRuns:
    """Marks of the cells of one notebook.

    Parameters
    ----------
    shell
        IPython's shell: its events call, its ``user_ns`` has the variables, its ``display_pub`` shows.
    """

    def __init__(self, shell: Any) -> None:
        self._shell = shell
        self._behind: dict[str, frozenset[tuple[str, str]] | None] = {}
        """By variable of a cell that has run: runs behind its value, None where they cannot be told."""
        shell.events.register("pre_run_cell", self.begin)
        shell.events.register("post_run_cell", self.end)

    def begin(self, _info: Any = None) -> None:
        """Forget what earlier cells have read."""
        READ.clear()

    def end(self, result: Any) -> None:
        """Mark the cell that has run with its runs."""
        try:
            nodes = list(ast.walk(ast.parse(result.info.raw_cell)))
        except SyntaxError:  # magic of IPython
            return
        names = [node for node in nodes if isinstance(node, ast.Name)]
        behind: frozenset[tuple[str, str]] | None = frozenset(READ)
        for name in {node.id for node in names if isinstance(node.ctx, ast.Load)} & set(self._behind):
            if not _is_traced(self._shell.user_ns.get(name)):
                inherited = self._behind[name]
                behind = None if behind is None or inherited is None else behind | inherited
        functions = {node.name for node in nodes if isinstance(node, ast.FunctionDef)}
        for name in {node.id for node in names if isinstance(node.ctx, ast.Store)} | functions:
            # what keeps its results reads them once, whichever cell shows them
            self._behind[name] = None if _keeps_results(self._shell.user_ns.get(name)) else behind
        if behind:
            runs = html.escape(" ".join(sorted(f"{experiment}/{key}" for experiment, key in behind)), quote=True)
            mark = f'<span class="aa-cell-runs" data-runs="{runs}" hidden></span>'
            self._shell.display_pub.publish({"text/html": mark, "text/plain": ""})


def _is_traced(value: Any) -> bool:
    """True of what reads its runs anew each time, and of what holds nothing of a run."""
    plain = (str, int, float, type(None), ModuleType, type, Run)
    if isinstance(value, plain) or _is_study(value):
        return True
    if callable(value):
        return getattr(value, "__module__", "") != "__main__"
    return type(value).__name__ in ("Config", "Clip") or hasattr(value, "manifest")  # settings, sounds, corpora


def _is_study(value: Any) -> bool:
    return hasattr(value, "runs") and hasattr(value, "baselines")


def _keeps_results(value: Any) -> bool:
    return type(value).__module__.startswith("audioattn_lib.experiments") and not _is_traced(value)


def mark_cells() -> None:
    """Mark the cells of this notebook from now on; without a kernel, and where a person watches, nothing happens."""
    if "IPython" not in sys.modules:
        return
    from IPython.core.getipython import get_ipython

    shell = get_ipython()
    if getattr(shell, "kernel", None) is not None and not is_interactive():
        CellRuns(shell)
