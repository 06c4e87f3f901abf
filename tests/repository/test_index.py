"""The index of the architecture page, "If you look for ...", names modules that exist."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "book" / "contributing" / "architecture.md"


def rows():
    """Behaviour and named modules of each row."""
    section = PAGE.read_text(encoding="utf-8").split("## If you look for ...")[1].split("\n## ")[0]
    lines = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("| ")]
    return [(cells[0], re.findall(r"`([^`]+)`", cells[1])) for cells in lines[1:]]


def exists(name):
    """Whether a dotted module, of every chapter where it says so, or a path from the root exists."""
    if "/" in name:
        return (ROOT / name).exists()
    pattern = name.replace(".", "/").replace("<chapter>", "*[!_]")
    results = [
        *(ROOT / "audioattn_lib").glob(f"{pattern}.py"),
        *(ROOT / "audioattn_lib").glob(f"{pattern}/__init__.py"),
    ]
    function = (ROOT / "audioattn_lib" / name.replace(".", "/")).parent / "__init__.py"
    return bool(results) or (function.is_file() and name.rpartition(".")[2] in function.read_text(encoding="utf-8"))


def test_every_module_of_the_index_exists():
    table = rows()
    assert len(table) >= 20
    assert len({question for question, _ in table}) == len(table)
    missing = [f"{question}: {name}" for question, names in table for name in names if not exists(name)]
    assert not missing
    assert all(names for _, names in table)
