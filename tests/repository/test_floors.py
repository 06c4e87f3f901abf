"""A module imports only from floors below its own, and neighbours never meet."""

import ast
import re
import subprocess
import sys

import pytest

from audioattn_lib.automation.key import imported_names

FLOORS = {
    "core": 0,
    "attention": 1,
    "audio": 1,
    "automation": 1,
    "models": 2,
    "evaluation": 2,
    "data": 2,
    "inspection": 2,
    "training": 3,
    "experiments": 4,
    "display": 4,
    "inference": 5,
    "cli": 6,
    "lab": 6,
    "__main__": 7,
}
ROOMS = {
    "attention": {"maps": 0, "densities": 0, "record": 0, "patterns": 1, "expectations": 1, "pooling": 2},
    "models": {
        "layers": 0,
        "backbones": 1,
        "acrnn": 2,
        "ecapa": 2,
        "embedding": 2,
        "frequency_transformer": 2,
        "margin": 1,
        "pretrained": 3,
        "seq2seq": 2,
        "ensemble": 2,
        "attentive_head": 2,
        "weights": 0,
        "playback": 3,
        "exporting": 4,
    },
    "experiments": {
        "common": 0,
        "foundations": 1,
        "own_model": 2,
        "published": 2,
        "urban_sound": 1,
        "sleepiness": 1,
        "accents": 1,
        "scenes_and_instruments": 1,
        "playback": 1,
        "mixtures": 1,
        "comparison": 1,
    },
    "attention/maps": {
        "_checks": 0,
        "_standard": 0,
        "threshold": 0,
        "kernels": 1,
        "entmax": 2,
        "learned": 3,
        "losses": 3,
    },
    "audio": {
        "_torchaudio": 0,
        "containers": 0,
        "features": 0,
        "hdf5_guard": 0,
        "hdf5_walk": 0,
        "samples": 0,
        "augmentation": 1,
        "hdf5": 1,
        "io": 2,
    },
    "evaluation": {"statistics": 0, "attention": 1, "scores": 1, "baseline": 2, "regression": 2},
    "experiments/common": {
        "baseline": 0,
        "config": 0,
        "frames": 0,
        "held_out": 0,
        "mixing": 0,
        "studies": 0,
        "corpus": 1,
        "initial_weights": 1,
        "listener": 1,
        "classification": 2,
        "runs": 2,
        "parallel": 3,
        "results": 3,
        "training": 3,
    },
    "inference": {
        "attention_evaluation": 0,
        "recording_page": 0,
        "sources": 0,
        "windows": 0,
        "examples": 1,
        "listening": 1,
        "network_evaluation": 1,
        "pretrained": 1,
        "model": 2,
        "outputs": 2,
        "export": 3,
        "features": 3,
        "verification": 3,
    },
}
MODULES_IN_A_ROOM = 15


def imports_of(root, inside=""):
    """Importer, what it imports and its file, by the names below the library, or below one package of it."""
    depth = len(inside.split("/")) + 1 if inside else 1
    prefix = ".".join(["audioattn_lib", *inside.split("/")][:depth]) + "."
    for path in sorted((root / "audioattn_lib" / inside).rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        package = ".".join(parts[:-1])
        tree = ast.parse(path.read_bytes())
        for name in imported_names(tree, package):
            if name.startswith(prefix):
                yield parts[depth], name.split(".")[depth], path.relative_to(root)


def going_up(root, floors, inside=""):
    return sorted(
        {
            f"{path} imports {imported}"
            for importer, imported, path in imports_of(root, inside)
            if importer != imported and importer != "__init__" and imported in floors
            if floors[imported] >= floors[importer]
        }
    )


def test_every_package_has_a_floor(root):
    folders = {path.parent.name for path in (root / "audioattn_lib").glob("*/__init__.py")}
    modules = {path.stem for path in (root / "audioattn_lib").glob("*.py")} - {"__init__"}
    assert folders | modules == set(FLOORS)


def test_the_reference_lists_every_package_from_the_lowest_floor_to_the_highest(root):
    text = (root / "book" / "api" / "index.md").read_text(encoding="utf-8")
    rows = [(name, int(floor)) for floor, name in re.findall(r"^\| (\d) \| \{ref\}`(\w+) <", text, re.MULTILINE)]
    assert dict(rows) == {name: floor for name, floor in FLOORS.items() if not name.startswith("_")}
    assert [floor for _, floor in rows] == sorted(floor for _, floor in rows)
    in_menu = re.findall(r"^ {10}- file: book/api/(\w+)_api$", (root / "_toc.yml").read_text(), re.MULTILINE)
    assert [FLOORS[name] for name in in_menu] == sorted(FLOORS[name] for name in in_menu)


@pytest.mark.parametrize("package", ROOMS)
def test_every_room_has_a_floor(root, package):
    folder = root / "audioattn_lib" / package
    folders = {path.parent.name for path in folder.glob("*/__init__.py")}
    assert folders | {path.stem for path in folder.glob("*.py")} - {"__init__"} == set(ROOMS[package])


def test_imports_go_down(root):
    assert not going_up(root, FLOORS)


@pytest.mark.parametrize("package", ROOMS)
def test_imports_between_rooms_go_down(root, package):
    assert not going_up(root, ROOMS[package], package)


def test_a_room_is_small_enough_to_know(root):
    rooms = {path.parent for path in (root / "audioattn_lib").rglob("*.py")}
    crowded = {str(room): len(set(room.glob("*.py"))) - 1 for room in rooms}
    assert not {room: count for room, count in crowded.items() if count > MODULES_IN_A_ROOM}


def test_display_knows_no_models_and_no_corpora(root):
    unknown = ("models", "data")
    assert not {path for importer, imported, path in imports_of(root) if importer == "display" and imported in unknown}


@pytest.mark.parametrize(
    "module", ["audioattn_lib", *(f"audioattn_lib.{m}" for m in ("cli", "automation.sweep", "automation.book"))]
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
