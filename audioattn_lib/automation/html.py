"""Export of an executed notebook as one HTML page without network access.

Book page: batch.
"""

from __future__ import annotations

import re
from importlib import metadata
from pathlib import Path
from typing import Final

from audioattn_lib.core.errors import ConfigError
from audioattn_lib.core.files import write_text

__all__ = ["write_html"]

_TEMPLATE: Final = """
{% extends 'lab/index.html.j2' %}
{% block html_head_js %}{% endblock %}
{% block jupyter_widgets %}{% endblock %}
{% block html_head_js_mermaidjs %}{% endblock %}
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


def write_html(notebook: str | Path, page: str | Path) -> Path:
    """Write an executed notebook as an HTML page and return its path.

    Parameters
    ----------
    notebook
        The executed notebook.
    page
        File to write; its folder is made when missing. It appears whole or not at all.

    Raises
    ------
    ConfigError
        If the notebook cannot be read.

    Notes
    -----
    A page with formulas holds a copy of MathJax, 2 MB. Widgets need a kernel
    and are left out.

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
    for cell in content.cells:
        if cell.cell_type == "markdown":
            cell.source = _without_book(cell.source)
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
    write_text(page, text)
    return page


def _without_book(source: str) -> str:
    """Replace the syntax of Jupyter Book in Markdown: labels, roles and citations go, admonitions become HTML."""
    source = re.sub(r"^\([\w-]+\)=\n", "", source, flags=re.MULTILINE)
    source = re.sub(r"\{footcite:\w+\}`([^`]*)`", lambda match: _citations(match[1]), source)
    source = re.sub(r"\{[\w:-]+\}`([^`<]*?)\s*(?:<[^`]*>)?`", r"\1", source)
    return re.sub(r"^(```+|:::+)\{([\w-]+)\} *(.*)\n((?:.*\n)*?)\1 *$", _box, source, flags=re.MULTILINE)


def _citations(keys: str) -> str:
    """Author and year out of keys such as ``martins2022sparse``."""
    matches = (re.match(r"([a-z]+)(\d{4})", key.strip()) for key in keys.split(","))
    return "; ".join(f"{match[1].capitalize()} {match[2]}" for match in matches if match)


def _box(match: re.Match[str]) -> str:
    kind, title, body = match[2], match[3], match[4]
    if kind == "chapter-cards":  # a list, which reads as one without the book
        return body
    if kind not in ("admonition", "note", "tip", "warning", "important", "hint", "dropdown"):
        return ""
    lines = body.splitlines()
    options = [line for line in lines if re.match(r":\w+:", line)]
    text = "\n".join(line for line in lines if line not in options).strip()
    title = title or kind.capitalize()
    if kind == "dropdown" or any("dropdown" in line for line in options):
        return f"<details><summary>{title}</summary>\n\n{text}\n\n</details>"
    return f"> **{title}**\n>\n" + "\n".join(f"> {line}" for line in text.splitlines())


def _mathjax() -> str:
    """MathJax with its fonts in one script, from the package that the book takes it from; empty without it."""
    try:
        files = metadata.files("sphinx-mathjax-offline") or []
    except metadata.PackageNotFoundError:
        return ""
    script = next((file for file in files if file.name == "tex-svg.js"), None)
    return script.read_text(encoding="utf-8") if script else ""
