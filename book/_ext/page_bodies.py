"""Changes of the markup of a page before it is written, for extensions of the book."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sphinx.application import Sphinx

__all__ = ["change_bodies"]


def change_bodies(app: Sphinx, change: Callable[[str], str]) -> dict[str, Any]:
    """Let every page pass through a function, and say of the extension that it can be used in parallel."""

    def change_page(app: Sphinx, page: str, template: str, context: dict[str, Any], document: Any) -> None:
        if "body" in context:
            context["body"] = change(context["body"])

    app.connect("html-page-context", change_page)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
