"""A module imports only from floors below its own, and neighbours never meet."""

import ast
import subprocess
import sys

import pytest

from audioattn_lib.automation.key import imported_names

FLOORS = {
    "errors": 0,
    "declarations": 0.5,
    "files": 0.5,
    "cache": 0,
    "attention": 1,
    "audio": 1,
    "batch": 1,
    "models": 2,
    "training": 2,
    "data": 2,
    "experiments": 3,
    "display": 3,
    "cli": 4,
    "__main__": 5,
}


def imports_of(root):
    for path in sorted((root / "audioattn_lib").rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        package = ".".join(parts[:-1])
        tree = ast.parse(path.read_bytes())
        for name in imported_names(tree, package):
            if name.startswith("audioattn_lib."):
                yield parts[1], name.split(".")[1], path.relative_to(root)


def test_every_package_has_a_floor(root):
    found = {path.stem for path in (root / "audioattn_lib").iterdir() if path.stem not in ("__init__", "__pycache__")}
    assert {name for name in found if not name.startswith("py")} == set(FLOORS)


def test_imports_go_down(root):
    wrong = []
    for importer, imported, path in imports_of(root):
        if importer == "__init__" or imported not in FLOORS or importer == imported:
            continue
        if FLOORS[imported] >= FLOORS[importer]:
            wrong.append(f"{path} imports {imported}")
    assert not wrong, "\n".join(sorted(set(wrong)))


def test_display_knows_no_models_and_no_corpora(root):
    unknown = ("models", "data")
    assert not {path for importer, imported, path in imports_of(root) if importer == "display" and imported in unknown}


@pytest.mark.parametrize(
    "module", ["audioattn_lib", *(f"audioattn_lib.{m}" for m in ("cli", "batch.sweep", "batch.book"))]
)
def test_what_is_slow_to_import_is_imported_when_it_is_used(module):
    slow = (
        "torch",
        "numpy",
        "pandas",
        "librosa",
        "sklearn",
        "seaborn",
        "matplotlib",
        "tensorboard",
        "dask",
        "nbclient",
    )
    code = f"import sys, {module}; print([name for name in {slow!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
