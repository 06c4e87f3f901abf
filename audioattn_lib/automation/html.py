"""Export of an executed notebook as one HTML page without network access.

Book page: batch.
"""

from __future__ import annotations

from importlib import metadata
from pathlib import Path
from typing import Any, Final

from audioattn_lib.core.errors import ConfigError
from audioattn_lib.core.files import write_text

from .book_syntax import BookSyntax
from .execution import runs_shown_in
from .figure_sources import add_sources

__all__ = ["write_html"]

_TEMPLATE: Final = """
{% extends 'lab/index.html.j2' %}
{% block html_head_js %}{% endblock %}
{% block jupyter_widgets %}{% endblock %}
{% block html_head_js_mermaidjs %}{% endblock %}
{% block notebook_css %}
{{ super() }}
<style>
.aa-source { margin: 0.25rem 0 1rem; font-size: 0.8rem; opacity: 0.8; }
#runs-of-this-page { margin: 1rem; overflow-x: auto; }
</style>
{% endblock %}
{% block html_head_js_mathjax %}
{% if resources.mathjax %}
<script>
window.MathJax = {tex: {inlineMath: [["$", "$"], ["\\\\(", "\\\\)"]], processEscapes: true, tags: "ams"}};
</script>
<script>{{ resources.mathjax }}</script>
{% endif %}
{% endblock %}
{% block any_cell %}
{% if 'hide-cell' in cell.metadata.get('tags', []) %}
<details><summary>{{ cell.metadata.get('mystnb', {}).get('code_prompt_show', 'Show') | e }}</summary>
{{ super() }}
</details>
{% else %}
{{ super() }}
{% endif %}
{% endblock %}
"""
"""Template of nbconvert without scripts from other servers."""


_HIDDEN: Final = {
    "remove_cell_tags": {"remove-cell"},
    "remove_input_tags": {"remove-input", "hide-input"},
    "remove_all_outputs_tags": {"remove-output"},
}
"""Tags of Jupyter Book that hide a cell, its input or its output."""


def write_html(notebook: str | Path, page: str | Path, chapters: str | Path | None = None) -> Path:
    """Write an executed notebook as an HTML page and return its path.

    Parameters
    ----------
    notebook
        The executed notebook.
    page
        File to write; its folder is made when missing. It appears whole or not at all.
    chapters
        Folder of the notebooks of the book, for the titles of pages that the notebook links to, and its references;
        without it, pages are named by their files.

    Raises
    ------
    ConfigError
        If the notebook cannot be read.

    Notes
    -----
    Figures and tables name the runs behind them, and the page ends with a list of these runs, as in the book.
    A page with formulas holds a copy of MathJax, 2 MB. Widgets need a kernel
    and are left out. A link to a page of the book leads to the page of that name
    in the folder of ``page``; where there is none, the title stands in its place.

    Book page: batch.
    """
    import nbformat
    from jinja2 import DictLoader
    from nbconvert import HTMLExporter
    from traitlets.config import Config

    notebook, page = Path(notebook), Path(page)
    try:
        content = nbformat.read(notebook, as_version=4)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{notebook}: cannot be read as a notebook ({error})") from None
    _leave_book(content, BookSyntax(page.parent, chapters))
    formulas = any(cell.cell_type == "markdown" and "$" in cell.source for cell in content.cells)
    exporter = HTMLExporter(
        config=Config({"TagRemovePreprocessor": {"enabled": True, **_HIDDEN}}),
        extra_loaders=[DictLoader({"page.html.j2": _TEMPLATE})],
        template_file="page.html.j2",
        embed_images=True,
    )
    resources = {
        "metadata": {"name": notebook.stem, "path": str(notebook.parent)},
        "mathjax": _mathjax() if formulas else "",
    }
    text, _ = exporter.from_notebook_node(content, resources=resources)
    write_text(page, add_sources(text, runs_shown_in(notebook)))
    return page


def _leave_book(content: Any, syntax: BookSyntax) -> None:
    """Put into words what only the book resolves, in cells and in Markdown that they show; say where its pages are."""
    for cell in content.cells:
        if cell.cell_type == "markdown":
            cell.source = syntax.resolve(cell.source)
        for shown in cell.get("outputs", []):
            if "text/markdown" in shown.get("data", {}):
                shown.data["text/markdown"] = syntax.resolve(shown.data["text/markdown"])
    if syntax.named:
        import nbformat

        titles = ", ".join(f"*{title}*" for title in syntax.named)
        note = (
            f"Pages of the book that are named here and do not lie beside this page: {titles}. `make book` makes them."
        )
        content.cells.append(nbformat.v4.new_markdown_cell(note, id="pages-of-the-book"))


def _mathjax() -> str:
    """MathJax with its fonts in one script, from the package that the book takes it from; empty without it."""
    try:
        files = metadata.files("sphinx-mathjax-offline") or []
    except metadata.PackageNotFoundError:
        return ""
    script = next((file for file in files if file.name == "tex-svg.js"), None)
    return script.read_text(encoding="utf-8") if script else ""
