"""Figures and tables of a page with their data and runs; what is loaded when it is wanted, in files beside the page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

from audioattn_lib.automation.beside import put_beside
from audioattn_lib.automation.execution import runs_shown_in
from audioattn_lib.automation.figure_sources import add_sources


def _put(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    if isinstance(context.get("body"), str) and doctree is not None:
        notebook = Path(app.srcdir) / f"{page}.ipynb"
        is_notebook = notebook.is_file()  # elsewhere only tables that a directive has made hold data
        body = add_sources(context["body"], runs_shown_in(notebook) if is_notebook else (), written=is_notebook)
        context["body"] = put_beside(body, Path(app.outdir) / f"{page}_files")


def setup(app: Sphinx) -> dict[str, Any]:
    """Entry point of the extension."""
    app.connect("html-page-context", _put)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
