"""A cache of its own for every test, and corpora in a temporary folder."""

from collections.abc import Callable
from pathlib import Path

import pytest
from small_corpora import RATE, noise, write_table

from audioattn_lib.audio import io


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache of the library, empty, outside of every corpus."""
    path = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("AUDIOATTN_CACHE", str(path))
    return path


@pytest.fixture
def corpus(tmp_path: Path) -> Callable[..., Path]:
    """Make a folder with a table of these rows and a different sound for every file that is not there."""

    def make(rows: list[dict[str, object]], seconds: float = 0.3) -> Path:
        root = tmp_path / "corpus"
        for seed, name in enumerate(dict.fromkeys(str(row["file_name"]) for row in rows if "file_name" in row)):
            if name and not (root / name).exists():
                io.write(root / name, noise(seed, seconds), RATE)
        write_table(root / "metadata.csv", rows)
        return root

    return make
