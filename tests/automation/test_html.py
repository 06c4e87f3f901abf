"""Laws of a page made from a notebook: it shows what the notebook shows and asks nothing of any network."""

import json

import pytest

from audioattn_lib.automation.execution import execute
from audioattn_lib.automation.html import _without_book, write_html
from audioattn_lib.automation.pages import check_pages
from audioattn_lib.core.errors import ConfigError


@pytest.mark.notebook
def test_a_page_stands_alone(notebook, tmp_path):
    path = notebook("print('forty-two')\nfrom IPython.display import Markdown\nMarkdown('$x^2$')")
    done = execute(path, tmp_path / "out.ipynb")
    page = write_html(done.output, tmp_path / "pages" / "out.html")
    text = page.read_text()
    assert "forty-two" in text
    assert "A title" in text
    assert check_pages(tmp_path / "pages", ["out"]) == []
    assert [file.name for file in page.parent.iterdir()] == ["out.html"]


def test_what_is_no_notebook_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="none.ipynb: cannot be read as a notebook"):
        write_html(tmp_path / "none.ipynb", tmp_path / "out.html")


def test_what_only_a_book_can_resolve_is_put_into_words():
    text = _without_book(
        "(a_label)=\n# Title\n"
        "See {term}`a density <density>`, {ref}`the page <page>` and {footcite:t}`martins2022sparse`.\n\n"
        "```{admonition} Solution\n:class: dropdown\n\nForty-two.\n```\n\n```{footbibliography}\n```\n"
        ":::{chapter-cards}\n1. A chapter\n:::\n"
    )
    assert text.startswith("# Title\nSee a density, the page and Martins 2022.")
    assert "<details><summary>Solution</summary>\n\nForty-two.\n\n</details>" in text
    assert text.rstrip().endswith("\n1. A chapter")
    assert not any(mark in text for mark in ("{", "```", ":::"))


@pytest.mark.notebook
def test_hidden_cells_stay_hidden(notebook, tmp_path):
    path = notebook("secret = 1\nprint('shown')")
    content = json.loads(path.read_text())
    code = [cell for cell in content["cells"] if "secret" in "".join(cell["source"])]
    code[0]["metadata"]["tags"] = ["remove-input"]
    path.write_text(json.dumps(content))
    text = write_html(execute(path, tmp_path / "out.ipynb").output, tmp_path / "out.html").read_text()
    assert "shown" in text
    assert "secret" not in text
