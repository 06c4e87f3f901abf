"""Laws of a sweep file: every combination once, and every mistake named with its line."""

import textwrap

import pytest

from audioattn_lib.automation.grid import Grid
from audioattn_lib.automation.strict_yaml import read_yaml
from audioattn_lib.core.errors import ConfigError


@pytest.fixture
def grid(notebook, tmp_path):
    notebook("1")

    def read(text):
        path = tmp_path / "sweep.yml"
        path.write_text(textwrap.dedent(text))
        return Grid.read(path)

    return read


def test_jobs_are_every_combination_in_the_order_of_the_file(grid):
    sweep = grid("""\
        notebook: small.ipynb
        parameters: {rate: 0.1}
        grid:
          name: [a, b]
          n: [1, 2]
        exclude:
          - {name: a, n: 2}
        include:
          - {name: c, n: 9}
    """)
    assert [(job["name"], job["n"]) for job in sweep.jobs] == [("a", 1), ("b", 1), ("b", 2), ("c", 9)]
    assert all(job["rate"] == 0.1 for job in sweep.jobs)
    assert sweep.varying == ("name", "n")
    assert sweep.name == "sweep"


def test_without_a_grid_there_is_one_job(grid):
    assert grid("notebook: small.ipynb\nparameters: {n: 5}\n").jobs == ({"n": 5},)
    assert grid("notebook: small.ipynb\ninclude: [{n: 5}, {n: 6}]\n").jobs == ({"n": 5}, {"n": 6})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"sweep\.yml:1: not a sweep; its fields are notebook, parameters, grid, exclude, include"),
        ("notebook: small.ipynb\ngrids: {}\n", r"sweep\.yml:2: 'grids' is no field"),
        ("grid: {n: [1]}\n", r"sweep\.yml:1: the field notebook is missing"),
        ("notebook: other.ipynb\n", r"sweep\.yml:1: notebook .*other\.ipynb does not exist"),
        ("notebook: small.ipynb\ngrid:\n  n: 1\n", r"sweep\.yml:3: grid\.n is 1; give a list"),
        ("notebook: small.ipynb\ngrid:\n  n: []\n", r"sweep\.yml:3: grid\.n is \[\]; give a list of at least one"),
        ("notebook: small.ipynb\ngrid:\n  n:\n  - 1\n  - 1\n", r"sweep\.yml:5: grid\.n holds 1 twice"),
        ("notebook: small.ipynb\ngrid:\n  n:\n  - 1\n  - x\n", r"sweep\.yml:5: .*n is 'x'; it must be a whole number"),
        ("notebook: small.ipynb\ngrid:\n  m: [1]\n", r"sweep\.yml:3: .*no parameter 'm'"),
        ("notebook: small.ipynb\nparameters: {n: 1}\ngrid: {n: [1]}\n", r"sweep\.yml:3: n stands under parameters too"),
        ("notebook: small.ipynb\nexclude: [{n: 9}]\n", r"sweep\.yml:2: .* excludes nothing"),
        ("notebook: small.ipynb\ngrid: {n: [1]}\nexclude: [{n: 1}]\n", r"sweep\.yml:3: every job .* is excluded"),
        ("notebook: small.ipynb\ngrid: {n: [1]}\ninclude: [{n: 1}]\n", r"sweep\.yml:3: .* is a job already"),
        ("notebook: small.ipynb\ngrid: [n]\n", r"sweep\.yml:2: grid is \['n'\]; it must be a mapping"),
        ("notebook: small.ipynb\nexclude: [n]\n", r"sweep\.yml:2: 'n' is no mapping"),
        ("notebook: small.ipynb\nnotebook: small.ipynb\n", r"sweep\.yml:2: notebook is given twice"),
        ("notebook: [\n", r"sweep\.yml:2: "),
    ],
)
def test_mistakes_are_named_with_their_line(grid, text, message):
    with pytest.raises(ConfigError, match=message):
        grid(text)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.yml: cannot be read"):
        read_yaml(tmp_path / "none.yml")
