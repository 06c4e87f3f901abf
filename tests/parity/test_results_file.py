"""The committed file has every row, and says of it what the row says of itself."""

import importlib
from pathlib import Path

import pytest
from parity_rows import COLUMNS, ROWS, STATUSES, SYSTEMS, read_results

pytestmark = pytest.mark.parity

for _module in sorted(Path(__file__).parent.glob("test_rows_*.py")):
    importlib.import_module(_module.stem)


@pytest.fixture(autouse=True)
def _written(request):
    if request.config.getoption("write_parity"):
        pytest.skip("the file is being written")


def test_the_file_has_every_row_and_no_other():
    assert list(read_results()) == sorted(ROWS)


def test_rows_are_told_as_they_are():
    for name, line in read_results().items():
        assert tuple(line) == COLUMNS
        assert {key: line[key] for key in ROWS[name].cells} == ROWS[name].cells, name
        assert line["status"] in STATUSES, name
        assert bool(line["reason"]) == (line["status"] != "works"), f"{name}: says why where it does not work"
        assert line["date"], name
        assert line["commit"], name


def test_there_are_as_many_rows_as_the_readmes_have_items():
    assert len(ROWS) == 71
    assert {name.partition(".")[0] for name in ROWS} == set(SYSTEMS)
