"""Every table of a page has its data, every figure and table the runs behind it."""

import base64
import re

from audioattn_lib.automation.figure_sources import add_sources, table_as_csv

TABLE = """<table border="1" class="dataframe"><thead><tr><th rowspan="2">name</th>
<th colspan="2">score, &#37;</th></tr>
<tr><th>low</th><th>high</th></tr></thead><tbody><tr><th>one, two</th><td>1</td><td> 2.5
</td></tr></tbody></table>"""
FIGURE = '<figure class="audioattn aa-figure mathjax_ignore"><img alt="x"></figure>'
RUNS = [
    {"experiment": "e", "key": "k1", "commit": "0123456789abcdef", "config": {"seed": 0, "attention": "<a>"}},
    {"experiment": "e", "key": "k2", "commit": "0123456789abcdef", "config": {"seed": 3, "attention": "b"}},
]


def test_a_table_becomes_csv_with_its_spans():
    assert table_as_csv(TABLE) == 'name,"score, %","score, %"\nname,low,high\n"one, two",1,2.5\n'


def test_a_table_without_runs_has_its_data_and_nothing_else():
    page = add_sources(f"<p>{TABLE}{FIGURE}", [])
    (address,) = re.findall(r"data:text/csv;base64,([^\"]+)", page)
    assert base64.b64decode(address).decode() == table_as_csv(TABLE)
    assert "runs-of-this-page" not in page
    assert FIGURE in page


def test_a_table_of_the_text_has_its_data_and_no_runs():
    written = (
        '<table class="table"><thead><tr><th>pooling</th></tr></thead><tbody><tr><td>mean</td></tr></tbody></table>'
    )
    other = '<table class="aa-table"><tr><td>1</td></tr></table>'
    page = add_sources(written + other, RUNS)
    (address,) = re.findall(r'table.csv" href="data:text/csv;base64,([^"]+)', page)
    assert base64.b64decode(address).decode() == "pooling\nmean\n"
    assert page.partition("</section>")[0].count("From the ") == 0


def test_a_table_with_a_link_in_every_row_leads_on_and_has_no_data():
    def table(*cells):
        rows = "".join(f"<tr><td>read</td><td>{cell}</td></tr>" for cell in cells)
        return f'<table class="table"><thead><tr><th>to</th><th>go to</th></tr></thead><tbody>{rows}</tbody></table>'

    assert "Data (CSV)" not in add_sources(table('<a href="a">A</a>', '<a href="b">B</a>'), [])
    assert "Data (CSV)" in add_sources(table('<a href="a">A</a>', "b"), [])


def test_figures_and_tables_name_runs_seeds_and_commit_and_link_to_them():
    page = add_sources(TABLE + FIGURE, RUNS)
    told = re.findall(r'<p class="aa-source">(?:<a[^>]*>Data \(CSV\)</a> )?From the (.*?)\.</p>', page)
    assert len(told) == 2, "one a table, one a figure; the list of runs has none"
    assert all("2 runs of this page" in each and "seeds 0, 3" in each and "commit 0123456789" in each for each in told)
    assert 'href="#runs-of-this-page"' in told[0]
    assert 'id="runs-of-this-page"' in page
    assert "&lt;a&gt;" in page
    settings = base64.b64decode(re.findall(r'settings.csv" href="data:text/csv;base64,([^"]+)', page)[0]).decode()
    assert settings == "setting,k1,k2\nseed,0,3\nattention,<a>,b\n"


def test_a_figure_names_the_runs_that_its_cell_read_and_another_all_runs_of_the_page():
    def cell(content, runs=""):
        mark = f'<span class="aa-cell-runs" data-runs="{runs}" hidden></span>' if runs else ""
        mark = f'<div class="output text_html">{mark}\n</div>'
        return f'<div class="cell tag_hide-input docutils container">{content}{mark}</div>'

    player = FIGURE.replace("aa-figure", "aa-player aa-waiting")
    page = add_sources(cell(FIGURE, "e/k2") + cell(FIGURE) + cell(player) + cell(player, "e/k1 e/k2"), RUNS)
    assert "aa-cell-runs" not in page
    told = re.findall(r'<p class="aa-source">(From .*?)</p>', page)
    assert len(told) == 3, "a player whose cell read no run plays a sound alone"
    assert told[0].startswith('From run <a href="#run-e-k2">k2</a>, seed 3, commit 0123456789; <a href="#settings')
    assert told[1] == told[2]
    assert "2 runs of this page" in told[1]
    for target in re.findall(r'href="#([^"]+)"', page):
        assert page.count(f'id="{target}"') == 1
