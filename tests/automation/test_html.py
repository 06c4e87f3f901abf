"""Laws of a page made from a notebook: it shows what the notebook shows and asks nothing of any network."""

import json
import re
from pathlib import Path

import nbformat
import pytest

from audioattn_lib.automation import RUN_MIMETYPE
from audioattn_lib.automation.book_syntax import BookSyntax
from audioattn_lib.automation.execution import execute
from audioattn_lib.automation.html import write_html
from audioattn_lib.automation.pages import check_pages
from audioattn_lib.core.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]


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


def test_what_only_a_book_can_resolve_is_put_into_words(tmp_path):
    text = BookSyntax(tmp_path).resolve(
        "(a_label)=\n# Title\n"
        "See {term}`a density <density>`, {ref}`the page <page>` and {footcite:t}`martins2022sparse`.\n\n"
        "```{admonition} Solution\n:class: dropdown\n\nForty-two.\n```\n\n```{footbibliography}\n```\n"
        ":::{chapter-cards}\n1. A chapter\n:::\n"
    )
    assert text.startswith("# Title\nSee a density, the page and Martins (2022).")
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


def test_figures_name_their_runs_and_the_page_lists_them(tmp_path):
    def cell(*shown):
        outputs = [nbformat.v4.new_output("display_data", data=data) for data in shown]
        return nbformat.v4.new_code_cell("1", outputs=outputs)

    figure = {"text/html": '<figure class="audioattn aa-figure">x</figure>'}
    mark = {"text/html": '<span class="aa-cell-runs" data-runs="e/k2" hidden></span>', "text/plain": ""}
    made = {"experiment": "e", "commit": "0123456789abcdef", "metrics": {}}
    runs = [made | {"key": key, "config": {"seed": seed}} for key, seed in (("k1", 0), ("k2", 3))]
    cells = [cell({RUN_MIMETYPE: runs, "text/plain": ""}), cell(figure, mark), cell(figure)]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "out.ipynb")
    text = write_html(tmp_path / "out.ipynb", tmp_path / "out.html").read_text()
    assert "aa-cell-runs" not in text
    told = re.findall(r'</figure><p class="aa-source">From (.*?), commit 0123456789;', text)
    assert told[0] == 'run <a href="#run-e-k2">k2</a>, seed 3'
    assert "2 runs of this page" in told[1]
    before, _, after = text.partition('<section id="runs-of-this-page">')
    assert before.count("</main>") == 0
    assert after.count("</main>") == 1
    for target in re.findall(r'href="#([\w-]+)"', text):
        assert text.count(f'id="{target}"') == 1


def test_a_link_to_a_page_that_is_not_there_is_its_title(root, tmp_path):
    syntax = BookSyntax(tmp_path, root / "notebooks")
    text = "told in [](../accents_published.md) and [the glossary](../glossary.md); see [](urban_sound.ipynb)."
    title = (root / "book" / "accents_published.md").read_text().partition("# ")[2].partition("\n")[0]
    assert syntax.resolve(text) == f"told in *{title}* and the glossary (*Glossary*); see *Urban sounds*."
    assert syntax.named == [title, "Glossary", "Urban sounds"]
    (tmp_path / "urban_sound.html").touch()
    assert syntax.resolve("[](urban_sound.ipynb)") == "[Urban sounds](urban_sound.html)"
    assert syntax.resolve("[a](https://a.b/c.md) ![b](c.md)") == "[a](https://a.b/c.md) ![b](c.md)"
    assert BookSyntax(tmp_path).resolve("[](../your_sounds.md)") == "*Your sounds*"


def test_sources_are_those_that_the_page_cites(root, tmp_path):
    syntax = BookSyntax(tmp_path, root / "notebooks")
    sources = "## Sources of this page\n\n```{footbibliography}\n```\n"
    assert syntax.resolve(sources).strip() == ""
    cited = syntax.resolve("As {footcite:t}`martins2016softmax` say {footcite:p}`india2019self,india2021double`.")
    assert cited.startswith("As Martins and Astudillo (2016) say (India et al., 2019;")
    assert syntax.resolve("({footcite:t}`martins2016softmax`)") == "(Martins and Astudillo, 2016)"
    listed = syntax.resolve(sources)
    assert "- Martins and Astudillo (2016). *From Softmax to Sparsemax" in listed
    assert listed.count("\n- ") == 3


@pytest.mark.parametrize("name", sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb")))
def test_no_chapter_leaves_an_empty_or_a_broken_link(root, tmp_path, name):
    syntax = BookSyntax(tmp_path, root / "notebooks")
    cells = json.loads((root / "notebooks" / f"{name}.ipynb").read_text())["cells"]
    text = "\n".join(syntax.resolve("".join(cell["source"])) for cell in cells if cell["cell_type"] == "markdown")
    assert not re.findall(r"\[\]\(|\]\([^)]*\.(?:md|ipynb)|\{\w+(?::\w+)?\}`|is told in \.", text)
