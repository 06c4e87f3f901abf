"""Laws of a page made from a notebook: it shows what the notebook shows and asks nothing of any network."""

import pytest

from audioattn_lib.batch.execution import execute
from audioattn_lib.batch.html import write_html
from audioattn_lib.batch.pages import check_pages
from audioattn_lib.errors import ConfigError


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
