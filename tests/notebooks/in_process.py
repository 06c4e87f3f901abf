"""The code cells of a notebook, run in this process: what a kernel does with them, without the seconds that one takes.

An interactive shell of IPython runs the cells one after the other, with the parameters of papermill in a cell of their
own, and makes every format of what they show, as a kernel does.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from IPython.core.interactiveshell import InteractiveShell
from papermill.iorw import load_notebook_node
from papermill.parameterize import parameterize_notebook
from traitlets.config import Config


@dataclass
class Page:
    """Output of the cells of a notebook in order: text, and displays by MIME type."""

    text: str = ""
    shown: list[Mapping[str, Any]] = field(default_factory=list)

    def says(self, words: str) -> bool:
        """True if the page has these words, in print or in a display."""
        told = [self.text, *(str(each.get(kind, "")) for each in self.shown for kind in _READ)]
        return any(words in " ".join(text.split()) for text in told)


_READ = ("text/plain", "text/markdown", "text/html")


def run_cells(notebook: Path, parameters: Mapping[str, Any]) -> Page:
    """Run all code cells of a notebook with other parameters; the error of a cell is raised."""
    content = parameterize_notebook(
        load_notebook_node(str(notebook)), dict(parameters), kernel_name="python3", language="python"
    )
    page = Page()
    with _shell(page) as shell:
        for number, cell in enumerate(content.cells):
            if cell.cell_type != "code":
                continue
            printed = io.StringIO()
            with redirect_stdout(printed), redirect_stderr(printed):
                done = shell.run_cell(cell.source, store_history=False)
            page.text += printed.getvalue()
            told = f"{notebook.name}, cell {number}:\n{cell.source}\n{printed.getvalue()[-3000:]}"
            try:
                done.raise_error()
            except BaseException as error:
                error.add_note(told)
                raise
            # IPython prints the error of a result that cannot show itself, and goes on
            assert "Traceback" not in printed.getvalue(), told
    return page


@contextmanager
def _shell(page: Page) -> Iterator[InteractiveShell]:
    """A shell that writes what is shown to the page."""
    config = Config()
    config.HistoryManager.enabled = False
    config.InteractiveShell.colors = "nocolor"
    main = sys.modules["__main__"]  # the shell puts its own there, from which no process can be started
    shell = InteractiveShell.instance(config=config)

    def show_result(value: object) -> None:
        if value is not None:
            page.shown.append(shell.display_formatter.format(value)[0])

    def publish(data: Mapping[str, Any], *args: Any, **options: Any) -> None:
        page.shown.append(data)

    shell.display_trap.hook = show_result
    shell.display_pub.publish = publish
    try:
        yield shell
    finally:
        shell.reset(new_session=False)
        InteractiveShell.clear_instance()
        sys.modules["__main__"] = main
