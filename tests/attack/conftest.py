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
    for kind in sorted({kind for kind, _ in TRIALS}):
        result, error, failure = (TRIALS[kind, end] for end in ("result", "error", "failure"))
        terminalreporter.write_line(
            f"attack on {kind}: {result + error + failure} trials, {result} results, {error} errors, {failure} failures"
        )


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache of the library, empty."""
    path = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("AUDIOATTN_CACHE", str(path))
    return path
