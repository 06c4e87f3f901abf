"""Pages that the library draws on are read again when the library changes.

Sphinx reads a page again when the page changes, or a file that a directive names. What a directive draws depends on
the code that draws it, too.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

EXECUTED = "book/chapters/"
"""Pages of notebooks: their output is executed again when the library changes, and is a change of the page itself."""
MARK = "audioattn"
"""Class of everything that the library draws."""


def depend_on_library(app: Sphinx, document: nodes.document) -> None:
    """Note the modules of the library that are loaded as files that a page depends on, where the library drew on it."""
    if app.env.docname.startswith(EXECUTED):
        return
    if any(MARK in raw.astext() for raw in document.findall(nodes.raw)):
        for path in loaded_modules():
            app.env.note_dependency(path)


def loaded_modules() -> Iterator[str]:
    """Files of the modules of the library that are loaded."""
    for name, module in sorted(sys.modules.items()):
        if name.partition(".")[0] == "audioattn_lib" and getattr(module, "__file__", None):
            yield str(module.__file__)


def setup(app: Sphinx) -> dict[str, Any]:
    """Entry point of the extension."""
    app.connect("doctree-read", depend_on_library)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
