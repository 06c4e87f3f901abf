"""The book builds without a warning, every page is whole, and nothing is done twice."""

import json
import re
import time

import pytest

from audioattn_lib.automation import book
from audioattn_lib.automation.book import Chapter, build_book, chapters, documents
from audioattn_lib.automation.execution import Execution, NotebookError
from audioattn_lib.automation.pages import check_pages
from audioattn_lib.core.errors import ConfigError

pytestmark = [pytest.mark.slow, pytest.mark.notebook]

LIGHT = {"three": 1, "four": 1}


def test_the_book_builds_with_warnings_as_errors(built_book):
    output = (built_book / "output.txt").read_text()
    assert (built_book / "_build" / "html" / "index.html").is_file(), output
    assert "Pages: checking" in output


def test_every_page_is_whole(built_book):
    assert check_pages(built_book / "_build" / "html", documents(built_book)) == []


def test_search_quotes_every_page(built_book):
    script = (built_book / "_build/html/_static/search_texts.js").read_text()
    texts = json.loads(script.removeprefix("window.audioattnTexts = ").removesuffix(";\n"))
    assert sorted(name for name, text in texts.items() if text) == sorted(documents(built_book))


@pytest.mark.parametrize("name", ["urban_sound", "sleepiness"])
def test_figures_and_tables_of_a_chapter_have_their_data_and_runs_and_their_code_is_folded(built_book, name):
    page = (built_book / f"_build/html/book/chapters/{name}.html").read_text()
    figures = re.findall(r'<figure class="audioattn aa-figure.*?</figure>(.{0,200})', page, re.DOTALL)
    assert len(figures) > 3
    assert all(re.match(r'<p class="aa-source">From .*?href="#runs?-', after) for after in figures)
    assert page.count("Data (CSV)") > len(figures), "those of figures, and of tables"
    tables = sorted((built_book / f"_build/html/book/chapters/{name}_files").glob("*.csv"))
    assert len(tables) > 4
    assert all(len(table.read_text().splitlines()) > 1 for table in tables)
    assert page.count('<details class="admonition hide above-input">') >= len(figures)


def test_nothing_is_done_again_when_nothing_changed(built_book):
    said = []
    build_book(built_book, mode="smoke", data_hash=_data_hash, echo=said.append)
    corpora = [line for line in said if line.startswith("Corpus: ")]
    assert said[: len(corpora)] == corpora
    assert len(set(corpora)) == len(corpora), "chapters share corpora, and each is asked for once"
    said = said[len(corpora) :]
    assert re.fullmatch(r"Chapters: \d+ \(smoke\), 0 to execute", said[0])
    assert said[1] == "Pages: nothing has changed"


def test_a_chapter_is_stale_when_what_it_depends_on_changes(built_book):
    def keys(mode="smoke", data_hash=_data_hash):
        return {chapter.name: chapter.key for chapter in chapters(built_book, mode, data_hash)}

    before = keys()
    assert all(chapter.is_current for chapter in chapters(built_book, "smoke", _data_hash))
    other = keys(data_hash=lambda name: "other recordings")
    settings = built_book / "notebooks" / "book.yml"
    text = settings.read_text()
    source = next((built_book / "notebooks").glob("*.ipynb"))
    notebook = source.read_text()
    try:
        content = json.loads(notebook)
        content["cells"].append({"cell_type": "markdown", "id": "new", "metadata": {}, "source": "More."})
        source.write_text(json.dumps(content))
        edited = keys()
    finally:
        source.write_text(notebook)
        settings.write_text(text)
    assert edited[source.stem] != before[source.stem]
    assert {name for name in before if edited[name] != before[name]} == {source.stem}
    assert other != before
    assert keys() == before


def test_a_chapter_whose_recordings_are_not_there_has_synthetic_sound(root):
    def parameters(mode, has_data):
        return {chapter.name: chapter.parameters for chapter in chapters(root, mode, lambda name: name, has_data)}

    assert parameters("real", lambda name: False) == parameters("embedded", None)
    some = parameters("real", lambda name: name == "esc10")
    assert some["urban_sound"]["data"] == "esc10"
    assert some["accents"] == parameters("embedded", None)["accents"]


def test_a_page_that_was_changed_by_hand_is_made_again(built_book):
    chapter = chapters(built_book, "smoke", _data_hash)[0]
    text = chapter.place.read_text()
    try:
        chapter.place.write_text(text + "\n")
        assert not chapters(built_book, "smoke", _data_hash)[0].is_current
    finally:
        chapter.place.write_text(text)


def _data_hash(name):
    from audioattn_lib.experiments.common.corpus import load_corpus

    return load_corpus(name).content_hash()


@pytest.fixture
def small_book(tmp_path):
    """Settings of a book with one chapter."""
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "_toc.yml").write_text("format: jb-book\nroot: book/index\nchapters:\n- file: book/chapters/one\n")
    cells = [
        {"cell_type": "code", "id": "a", "metadata": {"tags": ["parameters"]}, "source": "n = 1  # number"},
        {"cell_type": "code", "id": "b", "metadata": {}, "source": "1 / n"},
    ]
    for cell in cells:
        cell |= {"outputs": [], "execution_count": None}
    content = {"cells": cells, "metadata": {"kernelspec": {"name": "python3", "display_name": "x"}}}
    (tmp_path / "notebooks" / "one.ipynb").write_text(json.dumps({**content, "nbformat": 4, "nbformat_minor": 5}))
    return tmp_path


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{}", r"book\.yml:1: the chapter one of _toc\.yml is missing"),
        ("one: {}\n", r"book\.yml:1: one needs parameters for embedded and real and smoke"),
        ("two: {}\n", r"book\.yml:1: 'two' is no chapter in _toc\.yml; chapters are one"),
        (
            "one:\n  after: [two]\n  embedded: {}\n  real: {}\n  smoke: {}\n",
            r"book\.yml:2: 'two' is no chapter above one",
        ),
        (
            "one:\n  light: very\n  embedded: {}\n  real: {}\n  smoke: {}\n",
            r"book\.yml:2: light of one is 'very'; it must be true or false",
        ),
        ("one:\n  embedded: {}\n  real: {}\n  smoke: {m: 1}\n", r"book\.yml:4: .*no parameter 'm'"),
    ],
)
def test_settings_that_cannot_be_used_are_named_with_their_line(small_book, text, message):
    (small_book / "notebooks" / "book.yml").write_text(text)
    with pytest.raises(ConfigError, match=message):
        chapters(small_book, "smoke")


def test_a_chapter_that_fails_keeps_its_remains(small_book):
    (small_book / "notebooks" / "book.yml").write_text("one: {embedded: {}, real: {}, smoke: {n: 0}}\n")
    with pytest.raises(NotebookError, match=r"In \[3\]: ZeroDivisionError.*one\.failed\.ipynb"):
        build_book(small_book, mode="smoke", echo=lambda line: None)
    assert (small_book / "_build" / "execution" / "one.failed.ipynb").is_file()
    assert not (small_book / "book" / "chapters" / "one.ipynb").exists()


def test_corpora_are_hashed_once_and_one_that_fails_names_its_line(small_book):
    notebook = json.loads((small_book / "notebooks" / "one.ipynb").read_text())
    said = []

    def data_hash(name):
        raise ConfigError(f"no corpus {name}")

    notebook["cells"][0]["source"] = 'data = "city"'
    notebook["metadata"]["audioattn"] = {"data_parameter": "data"}
    (small_book / "notebooks" / "one.ipynb").write_text(json.dumps(notebook))
    (small_book / "notebooks" / "book.yml").write_text("one:\n  embedded: {}\n  real: {}\n  smoke: {data: nothing}\n")
    with pytest.raises(ConfigError, match=r"book\.yml:4: .*no corpus nothing"):
        build_book(small_book, mode="smoke", data_hash=data_hash, echo=said.append)
    assert said == ["Corpus: nothing"]


def test_a_chapter_that_reads_runs_waits_for_them(small_book):
    toc = small_book / "_toc.yml"
    toc.write_text(toc.read_text() + "- file: book/chapters/two\n")
    text = (small_book / "notebooks" / "one.ipynb").read_text()
    (small_book / "notebooks" / "two.ipynb").write_text(text)
    modes = "{embedded: {}, real: {}, smoke: {n: 0}"
    (small_book / "notebooks" / "book.yml").write_text(f"one: {modes}}}\ntwo: {modes}, after: [one]}}\n")
    said = []
    with pytest.raises(NotebookError, match="two.ipynb: not executed, since it reads the runs of one"):
        build_book(small_book, mode="smoke", echo=said.append)
    assert not any("two" in line for line in said)


@pytest.mark.parametrize(
    ("workers", "heavy"),
    [(None, {name: {"one": 1, "two": 1} for name in ("one", "two")}), (1, {"one": {"one": 2}, "two": {"two": 2}})],
)
def test_chapters_share_the_cores_and_light_ones_have_one_each(small_book, monkeypatch, workers, heavy):
    names = ("two", "three", "four")
    toc = small_book / "_toc.yml"
    toc.write_text(toc.read_text() + "".join(f"- file: book/chapters/{name}\n" for name in names))
    for name in names:
        (small_book / "notebooks" / f"{name}.ipynb").write_text((small_book / "notebooks" / "one.ipynb").read_text())
    modes = "{embedded: {}, real: {}, smoke: {}"
    settings = f"one: {modes}}}\ntwo: {modes}}}\nthree: {modes}, light: true}}\nfour: {modes}, light: true}}\n"
    (small_book / "notebooks" / "book.yml").write_text(settings)
    running, seen = {}, {}

    def execute(source, *_, threads, **__):
        running[source.stem] = threads
        time.sleep(0.5)
        seen[source.stem] = dict(running)
        time.sleep(0.2)
        del running[source.stem]
        raise NotebookError(source.stem)

    monkeypatch.setattr(book, "execute", execute)
    monkeypatch.setattr(book, "count_cores", lambda: 2)
    with pytest.raises(NotebookError):
        build_book(small_book, mode="smoke", workers=workers, echo=lambda line: None)
    assert seen == {**heavy, "three": LIGHT, "four": LIGHT}


def test_a_page_has_the_values_that_it_was_made_with_beside_their_comments(tmp_path):
    source = 'data = None  # of the préset\nsettings = {\n    "a": 1,\n}  # more\nseed = 0\n'
    cells = [
        {"cell_type": "code", "metadata": {"tags": [tag]}, "source": source}
        for tag in ("parameters", "injected-parameters")
    ]
    (tmp_path / "work.ipynb").write_text(json.dumps({"cells": cells}))
    place, work = tmp_path / "place.ipynb", tmp_path / "work.ipynb"
    values = {"data": "städte", "settings": {"b": [2]}}
    Chapter("a", work, values, place, work, "key").keep(Execution(work, work, work, values, 1.0))
    shown, hidden = json.loads(place.read_text())["cells"]
    assert shown["source"] == "data = \"städte\"  # of the préset\nsettings = {'b': [2]}  # more\nseed = 0\n"
    assert hidden["metadata"]["tags"] == ["injected-parameters", "remove-cell"]
