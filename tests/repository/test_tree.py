"""Laws of the tree of files: sizes, outputs, addresses, settings, names of pages."""

import ast
import importlib.util
import json
import re
import subprocess

import pytest

from audioattn_lib.automation.book import documents
from audioattn_lib.automation.grid import Grid
from audioattn_lib.automation.notebooks import Notebook
from audioattn_lib.automation.strict_yaml import read_yaml


@pytest.fixture(scope="module")
def tracked(root):
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=root, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    return [root / name for name in listed.stdout.split("\0") if name and (root / name).is_file()]


@pytest.fixture(scope="module")
def notebooks(root):
    return sorted((root / "notebooks").glob("*.ipynb"))


def test_nothing_large_is_kept(tracked):
    assert not [path for path in tracked if path.stat().st_size > 1_000_000]


def test_what_is_needed_is_there(root):
    needed = ["README.md", "_config.yml", "_toc.yml", "environment.yml", ".ci/run", "Makefile", "pyproject.toml"]
    needed += ["LICENSE", "CHANGELOG.md", "CITATION.cff", "CONTRIBUTING.md", "SECURITY.md", "constraints.txt"]
    assert not [name for name in needed if not (root / name).is_file()]


def test_test_modules_have_names_of_their_own(root):
    # pytest collects only one of two modules with one name
    names = [path.name for path in (root / "tests").rglob("test_*.py")]
    assert len(names) == len(set(names)), sorted({name for name in names if names.count(name) > 1})


def test_no_file_can_run_code_when_it_is_read(tracked):
    unsafe = re.compile(
        r"\bpickle\.loads?\(|weights_only\s*=\s*False|allow_pickle\s*=\s*True|joblib\.load\(|\bshell\s*=\s*True"
    )
    for path in tracked:
        if path.suffix in {".py", ".ipynb", ".md"} and path.name != "test_tree.py":
            match = unsafe.search(path.read_text())
            assert not match, f"{path}: {match[0]}"


def test_notebooks_have_no_outputs_and_are_small(notebooks):
    for path in notebooks:
        content = json.loads(path.read_text())
        assert path.stat().st_size <= 50_000, f"{path.name} is over 50 KB"
        for cell in content["cells"]:
            assert not cell.get("outputs"), f"{path.name} has outputs"
            assert not cell.get("execution_count"), f"{path.name} has execution counts"


def test_notebooks_have_parameters_that_are_explained(notebooks):
    for path in notebooks:
        notebook = Notebook(path)
        assert notebook.parameters, f"{path.name} has no cell tagged parameters"
        cell = next(cell for cell in notebook.content["cells"] if "parameters" in cell["metadata"].get("tags", []))
        for line in "".join(cell["source"]).splitlines():
            assert not line.strip() or "#" in line, f"{path.name}: {line!r} has no comment"
        assert notebook.content["metadata"]["kernelspec"]["name"] == "python3"
        shows = any("getsource" in cell["source"] for cell in notebook.source)
        assert not shows or notebook.options.get("shows_source"), (
            f"{path.name}: metadata audioattn.shows_source is missing"
        )


def test_every_notebook_is_a_chapter_with_parameters(root, notebooks):
    chapters = {name.rpartition("/")[2] for name in documents(root) if name.startswith("book/chapters/")}
    assert {path.stem for path in notebooks} == chapters == set(read_yaml(root / "notebooks" / "book.yml").data)


def test_every_sweep_fits_its_notebook(root):
    sweeps = sorted((root / "notebooks" / "sweeps").glob("*.yml"))
    assert sweeps
    for path in sweeps:
        assert len(Grid.read(path).jobs) > 1


def test_settings_have_no_key_twice(root):
    for path in [*root.glob("*.yml"), *(root / ".github").rglob("*.yml"), *(root / "notebooks").rglob("*.yml")]:
        read_yaml(path)


def test_style_sheets_close_their_rules(root):
    for path in [*(root / "book").rglob("*.css"), *(root / "audioattn_lib").rglob("*.css")]:
        text = path.read_text()
        assert text.count("{") == text.count("}"), f"{path}: what follows an open rule is not read"


def test_no_folder_is_called_static(root):
    # Jupyter Book makes a script of every page out of each script below it
    assert not list((root / "book").rglob("_static"))


def test_every_page_that_a_docstring_names_exists(root):
    spec = importlib.util.spec_from_file_location("library_pages", root / "book" / "_ext" / "library_pages.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    pages = module.pages_of_contents()
    wrong = [f"{target}: {page}" for page, target, _, _ in module.documented() if page not in pages]
    assert not wrong, "\n".join(wrong)
    names = [name.rpartition("/")[2] for name in documents(root)]
    twins = {name for name in names if names.count(name) > 1}
    assert twins <= {"index"}, "a docstring names a page by the last part of its path"


def test_the_reference_has_every_public_module(root):
    text = "\n".join(path.read_text() for path in sorted((root / "book" / "api").glob("*.md")))
    packages = re.findall(r"{library} (\S+)", text)
    shallow = re.findall(r"{library-modules} (\S+)", text)
    named = set(re.findall(r"automodule:: (\S+)", text))
    for path in sorted((root / "audioattn_lib").rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        public = (
            not any(name_part.startswith("_") for name_part in name.split(".")) and parts[1] != "cli" and len(parts) > 2
        )
        inside = any(name == package or name.startswith(f"{package}.") for package in packages)
        beside = path.name != "__init__.py" and name.rpartition(".")[0] in shallow
        inside = inside or beside or name in shallow
        has_names = any(isinstance(node, (ast.FunctionDef, ast.ClassDef)) for node in ast.parse(path.read_bytes()).body)
        assert not (public and has_names) or inside or name in named, f"{name} is on no page of book/api"
