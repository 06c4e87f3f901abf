"""Test the extensions of the book: cards from executed notebooks, and buttons with names."""

import importlib.util
import json
import re
import subprocess
import sys

import pandas as pd
import pytest


@pytest.fixture
def extension(root, monkeypatch):
    monkeypatch.syspath_prepend(root / "book" / "_ext")  # what extensions share lies beside them

    def load(name):
        spec = importlib.util.spec_from_file_location(name, root / "book" / "_ext" / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load


def test_a_card_has_the_first_finding_and_the_picture_of_the_executed_notebook(extension, tmp_path):
    box = '<section class="audioattn aa-findings"><ul><li>It has <b>80 %</b>.</li><li>More.</li></ul></section>'
    screen = '<div class="aa-screen"><img src="data:," alt="long"><g class="on"></g><g class="off" hidden></g></div>'
    markup = [box, ["<figure class='aa-player'>", screen, "</figure>"], screen.replace('"on"', '"two"')]
    cells = [{"outputs": [{"data": {"text/html": each}}]} for each in markup]
    (tmp_path / "a.ipynb").write_text(json.dumps({"cells": [{"source": "no outputs"}, *cells]}))
    picture, finding = extension("chapter_pages").read_card(tmp_path / "a.ipynb")
    assert finding == "It has <b>80 %</b>."
    assert 'class="on"' in picture
    assert not any(word in picture for word in ('class="off"', 'class="two"', 'alt="long"'))
    (tmp_path / "b.ipynb").write_text(json.dumps({"cells": []}))
    assert extension("chapter_pages").read_card(tmp_path / "b.ipynb") == ("", "")


def test_settings_of_a_table_are_code_and_a_commit_is_short(extension):
    made = {
        "settings": "those of the preset frozen, batch_size = 32, train_folds = b03,b09, learning_rate = 0.03",
        "seeds": "5",
        "git_commit": "0cfe3ff81e2a38f2b91183f05947b49d449cbc00",
        "corpus": "**a**: 2 clips. The times of events are not known, so only deletion and insertion can be measured.",
    }
    committed = extension("committed_results")
    assert committed.facts(made, ("settings", "from_nothing", "seeds", "git_commit")) == (
        "settings: preset `frozen`, `batch_size=32`, `train_folds=b03,b09`, `learning_rate=0.03`; seeds: 5; "
        "git commit: 0cfe3ff81e2a"
    )
    assert committed.short("settings", "epochs = 40, test_valid = True") == "`epochs=40`, `test_valid=True`"
    without_versions = {"settings": "test_folds = a,b, epochs = 3", "git_commit": "0123456789abcdef", "torch": ""}
    assert committed.facts(without_versions, list(without_versions)) == (
        "settings: `test_folds=a,b`, `epochs=3`; git commit: 0123456789ab"
    )
    assert committed.corpus_of(made) == "**a**: 2 clips. The times of events are not known."


def test_a_page_is_named_across_the_end_of_a_line(extension):
    library_pages = extension("library_pages")
    named = library_pages.BOOK_PAGE.search("One range. Book\npage: ``attention_patterns``.")
    assert named["page"] == "attention_patterns"
    targets = {target for page, target, _, _ in library_pages.documented() if page == "attention_patterns"}
    assert any(target.endswith(".TokenBlocks") for target in targets)


def test_a_button_of_the_menu_is_named_after_its_page(extension):
    menu = (
        '<li><a class="current reference internal" href="#">Urban <em>sounds</em></a>'
        '<details open="open"><summary><span></span></summary><ul></ul></details></li>'
    )
    named = extension("search_and_menu").name_buttons(menu)
    assert '<summary aria-label="Pages below Urban sounds">' in named
    assert named.replace(' aria-label="Pages below Urban sounds"', "") == menu


def test_search_quotes_every_page_whichever_process_read_it(root, tmp_path):
    names = [f"page{number}" for number in range(7)]  # Sphinx reads more than five pages in several processes
    for name in names:
        (tmp_path / f"{name}.rst").write_text(f"{name}\n{'=' * len(name)}\n\nA sentence of {name}.\n")
    toctree = "".join(f"   {name}\n" for name in names)
    (tmp_path / "index.rst").write_text(f"Contents\n========\n\n.. toctree::\n\n{toctree}")
    extensions = root / "book" / "_ext"
    (tmp_path / "conf.py").write_text(
        f"import sys\nsys.path.insert(0, {str(extensions)!r})\nextensions = ['search_and_menu']\n"
    )

    out = tmp_path / "html"
    subprocess.run([sys.executable, "-m", "sphinx", "-q", "-j", "2", str(tmp_path), str(out)], check=True)
    texts = (out / "_static" / "search_texts.js").read_text()
    assert all(f"A sentence of {name}." in texts for name in names)


def test_pages_of_text_draw_patterns_and_the_front_end(extension):
    drawn = extension("drawn_here")
    patterns = drawn.PatternFigures.__new__(drawn.PatternFigures)
    patterns.arguments = ["dense", "high_low"]
    (tabs,) = patterns.run()
    assert tabs.astext().count('type="radio"') == 2
    assert "50 % of all pairs attend" in tabs.astext()
    filters, levels = drawn.LogMelFigures.__new__(drawn.LogMelFigures).run()
    assert "Every sixteenth of the 80 filters" in filters.astext()
    assert "Mean of each band removed" in levels.astext()


def test_files_beside_the_results_of_the_suite_are_in_folders(root):
    modules = {path.stem for path in (root / "benchmarks").glob("*.py")}
    results = sorted((root / "benchmarks" / "results").glob("*.json"))
    assert results
    assert all(set(json.loads(path.read_text())) <= modules for path in results), "the page on benchmarks reads them"


def test_a_page_that_the_library_drew_on_is_read_again_when_the_library_changes(root, tmp_path):
    pages = {"drawn": '<figure class="audioattn"></figure>', "plain": "<figure></figure>"}
    for name, markup in pages.items():
        (tmp_path / f"{name}.rst").write_text(f"{name}\n{'=' * len(name)}\n\n.. raw:: html\n\n   {markup}\n")
    (tmp_path / "index.rst").write_text("Contents\n========\n\n.. toctree::\n\n   drawn\n   plain\n")
    extensions = root / "book" / "_ext"
    (tmp_path / "conf.py").write_text(
        f"import json, sys\nsys.path.insert(0, {str(extensions)!r})\nimport audioattn_lib.core.errors\n"
        "extensions = ['drawn_by_library']\n\n"
        "def write_needed(app, _):\n"
        "    needed = {name: sorted(map(str, paths)) for name, paths in app.env.dependencies.items()}\n"
        "    (app.outdir / 'needed.json').write_text(json.dumps(needed))\n\n"
        "def setup(app):\n    app.connect('build-finished', write_needed)\n"
    )

    out = tmp_path / "html"
    subprocess.run([sys.executable, "-m", "sphinx", "-q", str(tmp_path), str(out)], check=True)
    needed = json.loads((out / "needed.json").read_text())
    assert any(path.endswith("core/errors.py") for path in needed["drawn"])
    assert "plain" not in needed


def test_long_names_break_at_their_joints_and_a_formula_keeps_its_comma(extension):
    break_well = extension("line_breaks").break_well
    name = '<code><span class="pre">audioattn_lib.display.plot_spectrogram</span></code>'
    assert "audioattn_<wbr>lib.<wbr>display.<wbr>plot_<wbr>spectrogram" in break_well(name)
    address = '<code><span class="pre">mixtures?events=CORPUS&amp;duration=60</span></code>'
    assert "mixtures?events=<wbr>CORPUS&amp;<wbr>duration=<wbr>60" in break_well(address)
    for same in (
        '<span class="pre">--print-config</span>',
        '<a href="audioattn_lib.display.plot_spectrogram">',
        "a, b",
    ):
        assert break_well(same) == same
    formula = '<span class="math notranslate nohighlight">\\(x_t\\)</span>'
    assert break_well(f"{formula}, and") == f'<span class="aa-whole">{formula},</span> and'
    assert break_well(f"{formula} and") == f"{formula} and"


def test_short_names_of_code_stay_on_one_line_with_the_sign_behind_them(extension):
    break_well = extension("line_breaks").break_well

    def code(*words):
        inner = " ".join(f'<span class="pre">{word}</span>' for word in words)
        return f'<code class="docutils literal notranslate">{inner}</code>'

    option = code("--pretrained").replace('"pre"', '"pre aa-whole"')
    assert break_well(f"{code('--pretrained')}, or") == f'<span class="aa-whole">{option},</span> or'
    several = break_well(code("train", "--a-very-long-option-of-a-command"))
    assert several.count('"pre aa-whole"') == 1
    assert '<span class="aa-whole">--a</span>-very-long' in several
    assert "Multivariate<wbr>Beta<wbr>Gaussian.<wbr>pdf" in break_well(code("MultivariateBetaGaussian.pdf"))
    assert 'class="pre aa-whole">reduction=&quot;relevance&quot;<' in break_well(
        code("reduction=&quot;relevance&quot;")
    )
    assert "(1.0,<wbr>1.5)&amp;seed" in break_well(code("duration=(1.0,1.5)&amp;seed=20"))
    assert break_well(code("-3")) == code("-3").replace('"pre"', '"pre aa-whole"')


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("in 75 % of 4\ns, at 10 ms.", "in 75\u00a0% of 4\u00a0s, at 10\u00a0ms."),
        ("-2.1 points (-3 to +1)", "\u22122.1\u00a0points (\u22123 to +1)"),
        ("on 2026-11-30", 'on <span class="aa-whole">2026-11-30</span>'),
        ("1.5-entmax by 5e-5", '<span class="aa-whole">1.5-entmax</span> by <span class="aa-whole">5e-5</span>'),
        ("a grid of 8 x 6", "a grid of 8\u00a0\u00d7\u00a06"),
        ("2 sounds, 10-second clips, figure 2-3", "2 sounds, 10-second clips, figure 2-3"),
        ('<a title="-3 %">of</a>', '<a title="-3 %">of</a>'),
        ("<pre>x = -3 s</pre>", "<pre>x = -3 s</pre>"),
        ('<span class="math notranslate">\\(-3 s\\)</span>', '<span class="math notranslate">\\(-3 s\\)</span>'),
    ],
)
def test_a_number_keeps_its_unit_and_has_a_minus(extension, text, shown):
    assert extension("line_breaks").break_well(text) == shown


def test_a_table_with_a_named_index_has_one_head_row(extension):
    join = extension("table_heads").join_head_rows
    named = pd.DataFrame({"yes": [1], "no": [2]}, index=pd.MultiIndex.from_tuples([("a", "b")], names=["net", "way"]))
    joined = join(named.to_html())
    head = joined.partition("</thead>")[0]
    assert head.count("<tr") == 1
    assert re.findall("<th>(.*?)</th>", head) == ["net", "way", "yes", "no"]
    several = pd.DataFrame([[1, 2]], columns=pd.MultiIndex.from_product([[1], ["a", "b"]], names=["fold", "seed"]))
    for same in (named.reset_index().to_html(), several.rename_axis("network").to_html()):
        assert join(same) == same


def test_short_names_of_rows_stay_on_one_line(extension):
    keep = extension("line_breaks").break_well
    table = pd.DataFrame({"score": [1, 2]}, index=["alpha = 1.33", "a name that is longer than that"]).to_html()
    assert re.findall('<th class="aa-whole">(.*?)</th>', keep(table)) == ["alpha = 1.33"]


def test_a_name_of_several_documents_is_the_first_in_the_contents(extension, tmp_path):
    pages = extension("library_pages").pages_of_contents
    toc = tmp_path / "_toc.yml"
    toc.write_text("root: book/chapters/index\nchapters:\n- file: book/api/index\n- file: book/urban\n")
    assert pages(toc) == {"index": "book/chapters/index", "urban": "book/urban"}


def test_configurations_are_named_after_their_pages_in_the_order_of_the_book(root, extension):
    pages, titles = extension("library_pages"), {}
    for page in pages.pages_of_contents():
        text, notebook = root / "book" / f"{page}.md", root / "notebooks" / f"{page}.ipynb"
        if notebook.exists():
            titles[page] = "".join(json.loads(notebook.read_text())["cells"][0]["source"])
        elif text.exists():
            titles[page] = text.read_text()
    names = {"mixtures": "mixtures_results"}
    for name, title in pages.CHAPTERS.items():
        assert f"# {title}\n" in titles[names.get(name, name)]
    chapters = [page for page in titles if page in pages.CHAPTERS]
    assert chapters == [name for name in pages.CHAPTERS if name not in names]
