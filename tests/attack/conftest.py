"""Every attack has the marker, a cache of its own, and says what it counted."""

from pathlib import Path

import pytest
from hostile import TRIALS

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker("attack")


def pytest_terminal_summary(terminalreporter) -> None:
    """A row for each kind of attack: a trial survives with a result or with an error of ours."""
    kinds = sorted({kind for kind, _ in TRIALS})
    if not kinds:
        return
    ends = [[TRIALS[kind, end] for end in ("result", "error", "failure")] for kind in kinds]
    rows = [
        ("all", *map(sum, zip(*ends, strict=True))),
        *((kind, *counts) for kind, counts in zip(kinds, ends, strict=True)),
    ]
    width = max(len(name) for name, *_ in rows)
    terminalreporter.section("attack")
    terminalreporter.write_line(f"{'':{width}}  trials  results  errors  failures")
    for name, result, error, failure in [*rows[1:], rows[0]]:
        total = result + error + failure
        terminalreporter.write_line(f"{name:{width}}  {total:6}  {result:7}  {error:6}  {failure:8}")


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache of the library, empty."""
    path = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("AUDIOATTN_CACHE", str(path))
    return path
