"""The package as others install it: a wheel in an empty environment, in another folder, without the checkout."""

import json
import os
import re
import subprocess
import sys
import sysconfig
import tomllib
import venv
from pathlib import Path
from zipfile import ZipFile

import pytest
import yaml


@pytest.fixture(scope="module")
def wheel(root, tmp_path_factory):
    """Built from a copy of the tree, which a build would otherwise write to; its own build tools, no network."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in ("audioattn_lib", "notebooks", "pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE"):
        (source / name).symlink_to(root / name)
    program = f"from setuptools import build_meta; print(build_meta.build_wheel({str(folder)!r}))"
    done = subprocess.run([sys.executable, "-c", program], cwd=source, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return next(folder.glob("*.whl"))


def test_notebooks_and_assets_travel_with_the_package(root, wheel):
    names = set(ZipFile(wheel).namelist())
    assert {f"audioattn_lib/notebooks/{path.name}" for path in (root / "notebooks").glob("*.ipynb")} <= names
    assert {
        f"audioattn_lib/display/assets/{path.name}" for path in (root / "audioattn_lib/display/assets").iterdir()
    } <= names
    assert "audioattn_lib/py.typed" in names
    modules = {path.relative_to(root).as_posix() for path in (root / "audioattn_lib").rglob("*.py")}
    assert modules <= names
    assert not [name for name in names if name.startswith(("tests/", "benchmarks/", "notebooks/"))]


def test_the_metadata_is_that_of_the_citation(root, wheel):
    citation = yaml.safe_load((root / "CITATION.cff").read_text(encoding="utf-8"))
    declared = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    metadata = (
        ZipFile(wheel).read(next(name for name in ZipFile(wheel).namelist() if name.endswith("METADATA"))).decode()
    )
    authors = [each.get("name") or f"{each['given-names']} {each['family-names']}" for each in citation["authors"]]
    assert [each["name"] for each in declared["authors"]] == authors
    assert f"Author: {', '.join(authors)}" in metadata
    assert f"Version: {citation['version']}\n" in metadata
    assert declared["keywords"] == citation["keywords"]
    assert citation["title"].startswith(declared["description"].partition(":")[0])
    assert declared["license"] == citation["license"]
    urls = {citation[name] for name in ("url", "repository-code") if name in citation}
    assert set(declared.get("urls", {}).values()) >= urls


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """Call a program of an environment that holds the wheel alone and sees the dependencies of this one."""
    folder = tmp_path_factory.mktemp("installed")
    environment = folder / "environment"
    venv.create(environment, with_pip=False)
    site = Path(sysconfig.get_path("purelib", vars={"base": str(environment)}))
    ZipFile(wheel).extractall(site)
    # Behind the wheel: everything that this environment has, without its own, editable, installation of the library.
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    python = environment / ("Scripts" if os.name == "nt" else "bin") / "python"
    away = folder / "away"
    away.mkdir()
    variables = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}

    def call(*arguments, code=0):
        done = subprocess.run(
            [python, *map(str, arguments)], cwd=away, env=variables, capture_output=True, text=True, check=False
        )
        assert done.returncode == code, done.stdout[-2000:] + done.stderr[-4000:]
        return done.stdout

    return call


def audioattn(installed, *arguments):
    return installed("-m", "audioattn_lib", *arguments)


def test_an_installed_package_imports_itself_finds_its_notebooks_and_guards_torchaudio(installed, root):
    program = (
        "import json, audioattn_lib\n"
        "from audioattn_lib.cli.batch import _notebooks\n"
        "from audioattn_lib.automation.key import dependency_hash, source_hash\n"
        "from audioattn_lib.audio._torchaudio import torchaudio\n"
        "torchaudio(); dependency_hash()\n"
        "source = source_hash('audioattn_lib.experiments.urban_sound')\n"
        "print(json.dumps([audioattn_lib.__file__, str(_notebooks()), source]))"
    )
    from audioattn_lib.automation.key import source_hash

    file, notebooks, source = json.loads(installed("-c", program))
    assert "site-packages" in file
    assert not Path(file).is_relative_to(root)
    assert Path(notebooks).parent == Path(file).parent
    assert source == source_hash("audioattn_lib.experiments.urban_sound"), "the same code makes the same runs"


@pytest.mark.long
def test_an_installed_package_trains_listens_and_runs_a_chapter(installed):
    corpus = ["-p", "data", "city?clips_per_class=6&n_folds=3&duration=2"]
    train = audioattn(installed, "train", "urban_sound", "--preset", "smoke")
    path = train.partition(":")[0]
    assert path in audioattn(installed, "runs")
    audioattn(
        installed, "data", "synthesise", "city", "sounds", "--clips-per-class", 2, "--n-folds", 2, "--duration", 2
    )
    assert re.search(r"siren", audioattn(installed, "listen", path, "sounds/audio", "--format", "csv", "-o", "heard"))
    small = ["-p", "preset", "smoke", *corpus, "-p", "folds", "1", "-p", "attentions", "softmax"]
    assert "linear baseline" in audioattn(installed, "run", "urban_sound", *small)
