"""Identity of a run: one hash of everything its result depends on.

Same key, nothing is recomputed; anything changed, it is. A key is made of
parts that the caller names: a configuration, :func:`source_hash` of the code
that was run, :func:`dependency_hash` of what it stands on, a hash of the data.

The source of a run is found by reading, never by importing: the modules that
its module imports, and those that they import, as far as they lie inside this
package. So an edit in a module that an experiment does not use leaves the
experiment's key alone. An import whose name is computed at run time cannot be
seen; register such modules by a plain import inside the function that needs
them.

Book page: architecture.
"""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import enum
import hashlib
import json
import platform
import re
from collections.abc import Iterator, Mapping, Sequence, Set
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from audioattn_lib.core.cache import cache_directory
from audioattn_lib.core.errors import ConfigError
from audioattn_lib.core.files import parse_json, read_bounded, write_text

__all__ = ["dependency_hash", "file_hash", "has_module", "imported_names", "key", "library_closure", "source_hash"]

_PACKAGE: Final = Path(__file__).resolve().parents[1]
_KEY_LENGTH: Final = 16


def key(parts: Mapping[str, object]) -> str:
    """Hash named parts to 16 hexadecimal digits.

    Parameters
    ----------
    parts
        What the result depends on, by name. Values may be nested: text,
        numbers, booleans, ``None``, paths, enumerations, dataclasses,
        mappings with text as keys, lists, tuples and sets. The order of
        mappings and sets does not matter, that of lists does; ``1``, ``1.0``
        and ``True`` differ.

    Returns
    -------
    str
        The first 16 hexadecimal digits (64 bits) of the SHA-256 of the parts
        in canonical JSON.

    Raises
    ------
    TypeError
        If a value is of another kind; the message names where it stands.

    Notes
    -----
    Book page: architecture.

    Examples
    --------
    >>> key({"seed": 1, "folds": [1, 2]}) == key({"folds": (1, 2), "seed": 1})
    True
    """
    return _digest(_canonical(parts, "parts"))[:_KEY_LENGTH]


def file_hash(path: str | Path) -> str:
    """SHA-256 of the bytes of a file, 64 hexadecimal digits.

    Raises
    ------
    ConfigError
        If there is no such file, or it cannot be read.

    Notes
    -----
    Book page: architecture.
    """
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); name an existing file") from None


def source_hash(*modules: str, text: bool = False) -> str:
    """Hash of the source of modules and of everything in this package that they import.

    Parameters
    ----------
    modules
        Names such as ``"audioattn_lib.experiments.urban_sound"``.
    text
        False: comments, docstrings and layout do not count, since they change
        no result. True: every character counts, for pages that may show the
        source.

    Returns
    -------
    str
        64 hexadecimal digits. Files that are no Python beside the modules
        (scripts and styles of the players) count too.

    Raises
    ------
    ConfigError
        If a module is not part of this package.

    Notes
    -----
    Book page: architecture.
    """
    files = library_closure(*modules)
    digests = {name: _module_digest(path, text) for name, path in files.items()}
    _save_known_files()
    return _digest(digests)


def library_closure(*modules: str, package: Path | None = None) -> dict[str, Path]:
    """Files of this package that importing ``modules`` may load, by their path inside the package.

    Found from the syntax alone: also imports inside functions, relative
    imports, and the ``__init__`` of every package on the way.

    Parameters
    ----------
    modules
        Names of modules inside the package.
    package
        Folder of the package; this one when it is not given.

    Raises
    ------
    ConfigError
        If a module is not part of the package.

    Notes
    -----
    Book page: architecture.
    """
    folder = _PACKAGE if package is None else package
    files: dict[str, Path] = {}
    waiting = list(modules)
    for name in modules:
        if _module_file(name, folder) is None:
            raise ConfigError(f"{name}: no such module in {folder.name}; give a dotted name of one of its modules")
    seen: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        path = _module_file(name, folder)
        if path is None:  # `from module import function`
            continue
        files[path.relative_to(folder).as_posix()] = path
        if path.name == "__init__.py":
            files |= {file.relative_to(folder).as_posix(): file for file in _resources(path.parent)}
        waiting.extend(_imports(path, name))
        if "." in name:
            waiting.append(name.rpartition(".")[0])
    return dict(sorted(files.items()))


def has_module(name: str) -> bool:
    """Return True if this package has a module of that dotted name.

    Notes
    -----
    Book page: architecture.
    """
    return _module_file(name, _PACKAGE) is not None


@lru_cache
def dependency_hash() -> str:
    """Hash of the versions of Python and of the packages that the library declares, as they are installed.

    Raises
    ------
    ConfigError
        If the library is not installed.

    Notes
    -----
    Only what ``pyproject.toml`` declares for every use counts; the tools of
    the extras (JupyterLab, Dask, pytest) change no result. Versions tell a
    CPU build from a CUDA build where the package does.

    Book page: architecture.
    """
    try:
        declared = metadata.requires("audioattn") or []
    except metadata.PackageNotFoundError:
        raise ConfigError("audioattn is not installed; run `pip install -e .` in its folder") from None
    versions = {"python": ".".join(platform.python_version_tuple()[:2])}
    for requirement in declared:
        if "extra ==" in requirement:
            continue
        name = re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0]
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "absent"
    return _digest(versions)


def _digest(value: object) -> str:
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode()).hexdigest()


def _canonical(value: object, where: str) -> Any:
    """Convert a value to JSON types; a ``TypeError`` names the part that has none."""
    if isinstance(value, enum.Enum):
        return _canonical(value.value, where)
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Path):
        return value.as_posix()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        return _canonical(fields, where)
    if isinstance(value, Mapping):
        wrong = next((name for name in value if not isinstance(name, str)), None)
        if wrong is not None:
            raise TypeError(f"{where} has the key {wrong!r}; keys are text")
        return {name: _canonical(item, f"{where}.{name}") for name, item in value.items()}
    if isinstance(value, Set):
        return sorted((_canonical(item, where) for item in value), key=_digest)
    if isinstance(value, Sequence) and not isinstance(value, (bytes, bytearray)):
        return [_canonical(item, f"{where}[{i}]") for i, item in enumerate(value)]
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:  # scalars of NumPy
        return _canonical(value.item(), where)
    raise TypeError(
        f"{where} is a {type(value).__name__}; a key is made of text, numbers, None, paths, dataclasses, "
        f"mappings, lists and sets. Hash it yourself and give the hash"
    )


def _module_file(name: str, folder: Path) -> Path | None:
    first, *rest = name.split(".")
    if first != folder.name:
        return None
    path = folder.joinpath(*rest)
    for candidate in (path / "__init__.py", path.with_suffix(".py")):
        if candidate.is_file():
            return candidate
    return None


def _resources(folder: Path) -> Iterator[Path]:
    """Files of a package that are no modules, without those of the packages inside it."""
    for path in folder.iterdir():
        if path.is_dir():
            if path.name != "__pycache__" and not (path / "__init__.py").exists():
                yield from _resources(path)
        elif path.suffix not in {".py", ".pyc", ".md"}:  # documents change no result, and a wheel has none
            yield path


def _imports(path: Path, name: str) -> list[str]:
    """Dotted names that a module may import, wherever in it the import stands."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    imports = _parsed_file(path)["imports"]
    return list(_resolved([(level, module, names) for level, module, names in imports], package))


def imported_names(tree: ast.AST, package: str = "") -> list[str]:
    """Dotted names that code may import, wherever in it the import stands, without imports for type checkers alone.

    Parameters
    ----------
    tree
        Syntax of the code.
    package
        Dotted name that relative imports start from.

    Returns
    -------
    list of str
        Modules, and for ``from module import name`` also ``module.name``,
        which may be a module or not.

    Notes
    -----
    Book page: architecture.
    """
    return list(_resolved(_written_imports(tree), package))


_Import = tuple[int, str, list[str]]
"""An import as it is written: dots before the module, the module, and the names that are taken from it."""


def _written_imports(tree: ast.AST) -> list[_Import]:
    imports: list[_Import] = []
    for node in _executed(tree):
        if isinstance(node, ast.Import):
            imports += [(0, alias.name, []) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            imports.append((node.level, node.module or "", [alias.name for alias in node.names]))
        elif isinstance(node, ast.Call) and _is_import_call(node):
            imports.append((0, node.args[0].value, []))  # type: ignore[attr-defined]
    return imports


def _resolved(imports: Sequence[_Import], package: str) -> Iterator[str]:
    """Dotted names of imports in a module of ``package``."""
    parts = package.split(".") if package else []
    for level, module, names in imports:
        base = ".".join(parts[: len(parts) - level + 1]) if level else ""
        source = ".".join(piece for piece in (base, module) if piece)
        yield source
        yield from (f"{source}.{name}" for name in names)


def _executed(tree: ast.AST) -> Iterator[ast.AST]:
    """Walk a syntax tree without the bodies of ``if TYPE_CHECKING``, which never run."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        is_for_checkers = isinstance(node, ast.If) and ast.unparse(node.test).rpartition(".")[2] == "TYPE_CHECKING"
        waiting += node.orelse if is_for_checkers else ast.iter_child_nodes(node)  # type: ignore[attr-defined]


def _is_import_call(node: ast.Call) -> bool:
    called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    literal = bool(node.args) and isinstance(node.args[0], ast.Constant) and isinstance(node.args[0].value, str)
    return called in {"import_module", "__import__"} and literal


def _syntax(path: Path, source: bytes) -> ast.Module:
    try:
        return ast.parse(source, filename=str(path))
    except SyntaxError as error:
        raise ConfigError(f"{path}:{error.lineno}: {error.msg}; mend the source first") from None


def _module_digest(path: Path, text: bool) -> str:
    if text or path.suffix != ".py":
        return file_hash(path)
    return str(_parsed_file(path)["digest"])


def _parsed_file(path: Path) -> dict[str, Any]:
    """Imports of a source file, and a digest of its code without comments, docstrings and layout."""
    state = path.stat()
    return _parsed_state(path, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=4096)
def _parsed_state(path: Path, modified: int, size: int) -> dict[str, Any]:
    """Result of :func:`_parsed_file`; ``modified`` and ``size`` make an edited file another entry of the cache."""
    source = path.read_bytes()
    parsed = _known_files()
    name = hashlib.sha256(source).hexdigest()
    if name not in parsed:
        parsed[name] = _parse(path, source)
        _unsaved.append(name)
    return parsed[name]


def _parse(path: Path, source: bytes) -> dict[str, Any]:
    tree = _syntax(path, source)
    imports = _written_imports(tree)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        documented = isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))
        if documented and isinstance(body, list) and ast.get_docstring(node, clean=False) is not None:  # type: ignore[arg-type]
            del body[0]
    return {"imports": imports, "digest": hashlib.sha256(ast.dump(tree).encode()).hexdigest()}


_unsaved: list[str] = []
"""Entries of :func:`_known_files` that its file lacks."""


def _known_file() -> Path:
    # The parser of another Python gives another tree; another version of this module may read a tree in another way.
    reader = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:_KEY_LENGTH]
    return cache_directory() / "source" / f"{platform.python_version()}-{reader}.json"


@lru_cache(maxsize=1)
def _known_files() -> dict[str, dict[str, Any]]:
    """Earlier results, by the hash of the bytes of the file."""
    try:
        content = parse_json(read_bounded(_known_file()))
    except (OSError, ValueError):  # none yet, or damaged: all of it can be computed again
        return {}
    files = content if isinstance(content, dict) else {}
    return {name: entry for name, entry in files.items() if _is_entry(entry)}


def _is_entry(entry: object) -> bool:
    if not isinstance(entry, dict) or not isinstance(entry.get("digest"), str):
        return False
    kinds = (int, str, list)
    imports = entry.get("imports")
    return isinstance(imports, list) and all(
        isinstance(item, list) and len(item) == 3 and all(map(isinstance, item, kinds)) for item in imports
    )


def _save_known_files() -> None:
    if not _unsaved:
        return
    _unsaved.clear()
    with contextlib.suppress(OSError):  # a folder that is only read, or a full disk
        write_text(_known_file(), json.dumps(_known_files()))
