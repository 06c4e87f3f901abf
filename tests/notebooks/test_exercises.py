"""Every chapter ends with exercises whose hidden solutions are run and check themselves, and says what to do next."""

import ast
import json
import re
from pathlib import Path

import pytest

from audioattn_lib.automation.html import write_html

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
CHAPTERS = ("urban_sound", "sleepiness", "accents", "scenes_and_instruments", "playback")
PROMPTS = {"code_prompt_show": "Show the solution", "code_prompt_hide": "Hide the solution"}


def cells_of(page):
    cells = json.loads((NOTEBOOKS / f"{page}.ipynb").read_text(encoding="utf-8"))["cells"]
    return [(cell["cell_type"], "".join(cell["source"]), cell["metadata"]) for cell in cells]


@pytest.mark.parametrize("page", CHAPTERS)
def test_every_exercise_has_a_solution_that_checks_itself(page):
    cells = cells_of(page)
    asked = [i for i, (kind, text, _) in enumerate(cells) if kind == "markdown" and "**Exercise " in text]
    assert [re.findall(r"\*\*Exercise (\d+)\.\*\*", cells[i][1]) for i in asked] == [
        [str(number + 1)] for number in range(len(asked))
    ], "a cell each, in order"
    assert len(asked) >= 3
    assert "## Exercises" in cells[asked[0]][1]
    for i in asked:
        kind, code, metadata = cells[i + 1]
        assert kind == "code"
        assert metadata["tags"] == ["hide-cell", "solution"]
        assert metadata["mystnb"] == PROMPTS
        assert metadata["jupyter"] == {"source_hidden": True}, "hidden in JupyterLab, too"
        assert any(isinstance(node, ast.Assert) for node in ast.walk(ast.parse(code))), "a solution is checked"


@pytest.mark.parametrize("page", CHAPTERS)
def test_a_chapter_says_when_to_use_it_and_what_to_read_next(page):
    text = "\n".join(source for kind, source, _ in cells_of(page) if kind == "markdown")
    assert "## When would I use this?" in text
    after = text.partition("## Read next")[2].partition("\n## ")[0]
    assert len(re.findall(r"\]\([^)]+\)", after)) >= 3
    assert len(set(re.findall(r"\{term\}`[^`]+`", text))) >= 6


def test_solutions_stay_closed_in_a_page_of_one_notebook(tmp_path):
    metadata = {"tags": ["hide-cell", "solution"], "mystnb": PROMPTS}
    cell = {"cell_type": "code", "execution_count": None, "id": "a", "metadata": metadata, "outputs": [], "source": "1"}
    notebook = {"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    (tmp_path / "a.ipynb").write_text(json.dumps(notebook), encoding="utf-8")
    text = write_html(tmp_path / "a.ipynb", tmp_path / "a.html").read_text(encoding="utf-8")
    assert "<details><summary>Show the solution</summary>" in text
