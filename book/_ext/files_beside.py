"""Scripts and tables that a page loads when they are wanted, in files beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

from audioattn_lib.automation.beside import put_beside


def _put(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    if isinstance(context.get("body"), str) and doctree is not None:
        context["body"] = put_beside(context["body"], Path(app.outdir) / f"{page}_files")


def setup(app: Sphinx) -> dict[str, Any]:
    """Entry point of the extension."""
    app.connect("html-page-context", _put)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
