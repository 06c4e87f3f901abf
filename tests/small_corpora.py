"""Small corpora for tests: tables, sounds that differ, folders of both."""

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np

RATE = 8000


def noise(seed: int, seconds: float = 0.3, rate: int = RATE) -> np.ndarray:
    return 0.1 * np.random.default_rng(seed).standard_normal(round(seconds * rate))


def write_table(path: Path, rows: list[dict[str, object]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def clips(n: int = 8, **columns: Callable[[int], object]) -> list[dict[str, object]]:
    """Rows of clips of classes a and b in two folds, with further columns made of the row number."""
    return [
        {"file_name": f"audio/{i}.wav", "label": "ab"[i % 2], "fold": i // 2 % 2 + 1}
        | {name: value(i) for name, value in columns.items()}
        for i in range(n)
    ]
