"""Laws of the key: the same parts give the same key, any change gives another."""

import ast
import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import audioattn_lib
from audioattn_lib.automation import key as module
from audioattn_lib.automation.key import dependency_hash, file_hash, imported_names, key, library_closure, source_hash
from audioattn_lib.core.errors import ConfigError

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
parts = st.dictionaries(st.text(), json_values, max_size=5)


@given(parts)
def test_a_key_is_sixteen_hexadecimal_digits_and_forgets_the_order(value):
    backwards = dict(reversed(value.items()))
    assert key(value) == key(backwards)
    assert len(key(value)) == 16
    assert int(key(value), 16) >= 0


@given(parts, st.text(), json_values)
def test_any_change_changes_the_key(value, name, other):
    changed = {**value, name: other}
    same = json.dumps(changed, sort_keys=True) == json.dumps(value, sort_keys=True)
    assert (key(changed) == key(value)) == same


@pytest.mark.parametrize(
    ("value", "other"), [(1, 1.0), (1, True), ("1", 1), (None, "None"), ([1, 2], [2, 1]), ({}, [])]
)
def test_values_that_look_alike_differ(value, other):
    assert key({"value": value}) != key({"value": other})


def test_what_json_does_not_know_is_taken_as_what_it_means():
    @dataclasses.dataclass
    class Config:
        folds: tuple[int, ...]
        data: Path

    assert key({"c": Config((1, 2), Path("a/b"))}) == key({"c": {"folds": [1, 2], "data": "a/b"}})
    assert key({"c": set("abc")}) == key({"c": frozenset("cba")})
    assert key({"c": np.float64(0.5)}) == key({"c": 0.5})


def test_what_has_no_stable_content_is_refused_by_name():
    with pytest.raises(TypeError, match=r"parts\.model\[1\] is a object"):
        key({"model": [1, object()]})
    with pytest.raises(TypeError, match="keys are text"):
        key({"model": {1: 2}})


def test_file_hash_sees_content_only(tmp_path):
    (tmp_path / "a").write_text("same")
    (tmp_path / "b").write_text("same")
    (tmp_path / "c").write_text("other")
    assert file_hash(tmp_path / "a") == file_hash(tmp_path / "b") != file_hash(tmp_path / "c")
    with pytest.raises(ConfigError, match=r"missing: cannot be read"):
        file_hash(tmp_path / "missing")


def test_dependencies_are_read_from_what_is_installed(monkeypatch):
    dependency_hash.cache_clear()
    before = dependency_hash()
    real = module.metadata.version
    monkeypatch.setattr(module.metadata, "version", lambda name: "0" if name == "numpy" else real(name))
    dependency_hash.cache_clear()
    assert dependency_hash() != before
    monkeypatch.undo()
    dependency_hash.cache_clear()
    assert dependency_hash() == before


@pytest.fixture
def package(tmp_path):
    """A small package with every way of importing."""
    root = tmp_path / "pkg"
    files = {
        "__init__.py": "",
        "errors.py": "class E(Exception): ...\n",
        "sound/__init__.py": "from .mel import Mel\n",
        "sound/mel.py": '"""Mel."""\nfrom ..errors import E\nMel = 1\n',
        "sound/unused.py": "x = 1\n",
        "models/__init__.py": "",
        "models/net.py": "def build():\n    from pkg import lazy\n    return lazy\n",
        "lazy.py": "import importlib\nnamed = importlib.import_module('pkg.named')\n",
        "named.py": "y = 2\n",
        "pictures/__init__.py": "import pkg.errors\n",
        "pictures/assets/player.js": "play()",
        "chapter.py": "import pkg.models.net as net\nfrom . import sound\n",
    }
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def test_the_closure_follows_every_kind_of_import(package):
    closure = library_closure("pkg.chapter", package=package)
    assert set(closure) == {
        "__init__.py",
        "chapter.py",
        "errors.py",
        "lazy.py",
        "models/__init__.py",
        "models/net.py",
        "named.py",
        "sound/__init__.py",
        "sound/mel.py",
    }
    assert "pictures/assets/player.js" in library_closure("pkg.pictures", package=package)


@pytest.mark.parametrize("edited", ["sound/unused.py", "pictures/__init__.py", "pictures/assets/player.js"])
def test_editing_what_is_not_imported_changes_nothing(package, monkeypatch, edited):
    monkeypatch.setattr(module, "_PACKAGE", package)
    before = source_hash("pkg.chapter")
    with open(package / edited, "a") as file:
        file.write("\nz = 3\n")
    assert source_hash("pkg.chapter") == before


@pytest.mark.parametrize("edited", ["chapter.py", "errors.py", "lazy.py", "named.py", "models/net.py", "__init__.py"])
def test_editing_what_is_imported_changes_the_hash(package, monkeypatch, edited):
    monkeypatch.setattr(module, "_PACKAGE", package)
    before = source_hash("pkg.chapter")
    with open(package / edited, "a") as file:
        file.write("\nz = 3\n")
    assert source_hash("pkg.chapter") != before


def test_comments_and_docstrings_count_only_as_text(package, monkeypatch):
    monkeypatch.setattr(module, "_PACKAGE", package)
    code, text = source_hash("pkg.chapter"), source_hash("pkg.chapter", text=True)
    (package / "sound/mel.py").write_text('"""Other words."""\n\n# why\nfrom ..errors import E\nMel   =   1\n')
    assert source_hash("pkg.chapter") == code
    assert source_hash("pkg.chapter", text=True) != text


def test_a_module_of_another_package_is_refused():
    with pytest.raises(ConfigError, match=r"numpy\.linalg: no such module in audioattn_lib"):
        source_hash("numpy.linalg")


def test_where_the_package_lies_does_not_matter(tmp_path, monkeypatch):
    before = source_hash("audioattn_lib.attention.record.record")
    copy = tmp_path / "audioattn_lib"
    shutil.copytree(Path(audioattn_lib.__file__).parent, copy)
    monkeypatch.setattr(module, "_PACKAGE", copy)
    assert source_hash("audioattn_lib.attention.record.record") == before


def test_imports_for_type_checkers_alone_do_not_count():
    code = (
        "if TYPE_CHECKING:\n    import a\nelse:\n    import b\nif typing.TYPE_CHECKING:\n    from c import d\nimport e"
    )
    assert sorted(imported_names(ast.parse(code))) == ["b", "e"]


def test_an_experiment_does_not_depend_on_pictures_or_commands():
    from audioattn_lib.experiments import EXPERIMENTS

    for name in EXPERIMENTS.values():
        packages = {path.split("/")[0] for path in library_closure(name)}
        assert {"experiments", "models", "training", "data", "attention", "audio"} <= packages
        assert not {"display", "cli"} & packages
