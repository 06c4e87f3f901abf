"""Small notebooks to run."""

from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

PARAMETERS = 'n = 3  # how many\nname: str = "x"  # of whom\nrate = 0.5\nflag = False\nchosen = ["a"]\nlimit = None\n'


def write_notebook(path: Path, *code: str, parameters: str = PARAMETERS, **metadata: object) -> Path:
    """A notebook with a title, a parameters cell and code."""
    cells = [new_markdown_cell("# A title"), new_code_cell(parameters, metadata={"tags": ["parameters"]})]
    notebook = new_notebook(cells=cells + [new_code_cell(source) for source in code])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    if metadata:
        notebook.metadata["audioattn"] = metadata
    nbformat.write(notebook, path)
    return path


@pytest.fixture
def notebook(tmp_path: Path) -> Callable[..., Path]:
    """Write a notebook called ``small.ipynb`` (or another name) to the test's folder."""

    def write(*code: str, file: str = "small.ipynb", **options: object) -> Path:
        return write_notebook(tmp_path / file, *code, **options)  # type: ignore[arg-type]

    return write
