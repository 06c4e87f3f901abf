"""Static analysis of a notebook, without execution: its parameters, imports and cache key.

A notebook may say two things about itself in its metadata, under
``audioattn``: ``data_parameter``, the name of the parameter that names its
data, so that other data makes another key; and ``shows_source``, true when its
pages print source of the library, so that comments and docstrings count too.

Book page: architecture.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from audioattn_lib.automation.key import dependency_hash, has_module, imported_names, key, source_hash
from audioattn_lib.core.declarations import shorten
from audioattn_lib.core.errors import ConfigError
from audioattn_lib.core.files import explain, parse_json, read_bounded

__all__ = ["DataHash", "Notebook", "set_parameters"]

DataHash = Callable[[str], str]
"""Function from the name or path of data to its content hash."""

_OPTIONS = {"data_parameter": str, "shows_source": bool}


@dataclass(frozen=True)
class Notebook:
    """Notebook file: its parameters and source, read without a kernel.

    Parameters
    ----------
    path
        The ``.ipynb`` file, in notebook format 4.

    Raises
    ------
    ConfigError
        On first use, if the file cannot be read, is no notebook, or holds
        code or metadata that cannot be understood; the message names the cell.

    Notes
    -----
    Book page: architecture.
    """

    path: Path

    @cached_property
    def content(self) -> dict[str, Any]:
        """The notebook as JSON."""
        try:
            content = parse_json(read_bounded(self.path))
        except OSError as error:
            raise ConfigError(f"{self.path}: cannot be read ({explain(error)}); name an existing notebook") from None
        except ValueError as error:
            raise ConfigError(f"{self.path}: not a notebook ({explain(error)})") from None
        if not isinstance(content, dict) or not isinstance(content.get("cells"), list):
            raise ConfigError(f"{self.path}: not a notebook of format 4; it has no list of cells")
        if not isinstance(content.get("metadata", {}), dict):
            raise ConfigError(f"{self.path}: metadata is {shorten(content['metadata'])}; it must be an object")
        for index, cell in enumerate(content["cells"]):
            for name, allowed in _describe_cell(cell):
                value = cell.get(name) if isinstance(cell, dict) else cell
                raise ConfigError(f"{self.path}, cell {index + 1}: {name} is {shorten(value)}; it must be {allowed}")
        return content

    @property
    def name(self) -> str:
        """File name without ending."""
        return Path(self.path).stem

    @cached_property
    def parameters(self) -> dict[str, Any]:
        """Defaults of its parameters cell by name, in order; empty when it has no such cell.

        Defaults that are no plain literals are given as their source text.
        """
        defaults: dict[str, Any] = {}
        for index, cell in self._code():
            if "parameters" in _tags(cell):
                for name, value in _assignments(self._parse(cell, index)):
                    try:
                        defaults[name] = ast.literal_eval(value)
                    except (ValueError, TypeError, RecursionError, MemoryError):
                        raise ConfigError(
                            f"{self.path}, cell {index + 1}: parameter {name} is {_unparse(value)}; "
                            "a default is a plain literal (text, number, True, None, list or dictionary of them)"
                        ) from None
        return defaults

    @cached_property
    def options(self) -> dict[str, Any]:
        """Options of the notebook, from its metadata under ``audioattn``."""
        options = self.content.get("metadata", {}).get("audioattn", {})
        if not isinstance(options, dict):
            raise ConfigError(f"{self.path}: metadata audioattn is {shorten(options)}; it must be an object")
        for name, value in options.items():
            if name not in _OPTIONS or not isinstance(value, _OPTIONS[name]):
                listed = ", ".join(f"{option} ({kind.__name__})" for option, kind in _OPTIONS.items())
                raise ConfigError(f"{self.path}: metadata audioattn.{name} is {shorten(value)}; known are {listed}")
        named = options.get("data_parameter")
        if named is not None and named not in self.parameters:
            raise ConfigError(
                f"{self.path}: metadata audioattn.data_parameter is {named!r}, which is not among its parameters: "
                f"{', '.join(self.parameters) or 'none'}"
            )
        return options

    @cached_property
    def library_modules(self) -> tuple[str, ...]:
        """Modules of this library that its code imports, in alphabetical order."""
        modules: set[str] = set()
        for index, cell in self._code():
            for name in imported_names(self._parse(cell, index)):
                if name.split(".")[0] == "audioattn_lib" and has_module(name):
                    modules.add(name)
        return tuple(sorted(modules))

    @cached_property
    def source(self) -> list[dict[str, Any]]:
        """Cells as their author wrote them: kind, source and tags, without outputs, counts and times."""
        return [
            {"kind": cell.get("cell_type"), "source": _source(cell), "tags": _tags(cell)}
            for cell in self.content["cells"]
        ]

    def checked(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """The parameters, once it is clear that the notebook takes them.

        Raises
        ------
        ConfigError
            For a name that the notebook does not know, a value of another
            kind than the default, or one that is no plain literal.
        """
        for name, value in parameters.items():
            if name not in self.parameters:
                raise ConfigError(
                    f"{self.path} has no parameter {name!r}; it has {', '.join(self.parameters) or 'none: tag a cell'}"
                )
            default = self.parameters[name]
            if not _is_literal(value):
                raise ConfigError(
                    f"{self.path}: {name} is a {type(value).__name__}; allowed are text, numbers, booleans, None "
                    "and lists and dictionaries of them"
                )
            if not _same_kind(default, value):
                raise ConfigError(
                    f"{self.path}: {name} is {shorten(value)}; it must be {_kind(default)} like its default {default!r}"
                )
        return dict(parameters)

    def key(self, parameters: Mapping[str, Any], data_hash: DataHash | None = None) -> str:
        """Identity of one execution: 16 hexadecimal digits.

        Parameters
        ----------
        parameters
            Values that replace defaults.
        data_hash
            Hashes the data that the notebook names; asked only when the
            notebook's metadata says which parameter names its data.

        Returns
        -------
        str
            The same for the same cells, parameters, library source (of the
            modules that the notebook can reach), dependencies and data.
        """
        parameters = self.checked(parameters)
        parts: dict[str, Any] = {
            "notebook": self.source,
            "options": self.options,
            "parameters": parameters,
            "library": source_hash(*self.library_modules, text=self.options.get("shows_source", False)),
            "dependencies": dependency_hash(),
        }
        named = self.options.get("data_parameter")
        if named is not None and data_hash is not None:
            data = parameters.get(named, self.parameters[named])
            # None is a corpus that the library makes: a function of its source and the other parameters
            if data is not None:
                parts["data"] = data_hash(data)
        return key(parts)

    def _code(self) -> list[tuple[int, dict[str, Any]]]:
        return [(i, cell) for i, cell in enumerate(self.content["cells"]) if cell.get("cell_type") == "code"]

    def _parse(self, cell: dict[str, Any], index: int) -> ast.Module:
        if _source(cell).startswith("%%"):
            return ast.Module([], [])
        lines = _source(cell).splitlines()
        plain = "\n".join("" if line.lstrip().startswith(("%", "!")) else line for line in lines)
        try:
            return ast.parse(plain)
        except SyntaxError as error:
            raise ConfigError(f"{self.path}, cell {index + 1}, line {error.lineno}: {error.msg}") from None
        except (ValueError, RecursionError, MemoryError) as error:  # NUL; thousands of brackets
            reason = str(error) or "nested too deeply"
            raise ConfigError(f"{self.path}, cell {index + 1}: cannot be read as Python ({reason})") from None


def _describe_cell(cell: Any) -> Iterator[tuple[str, str]]:
    """Parts of a cell that are not as format 4 has them, each with what it must be."""
    if not isinstance(cell, dict):
        yield "it", "an object"
        return
    if not isinstance(cell.get("cell_type"), str):
        yield "cell_type", "text"
    source = cell.get("source", "")
    if not isinstance(source, str) and not _is_list_of(str, source):
        yield "source", "text or a list of lines"
    metadata = cell.get("metadata", {})
    if not isinstance(metadata, dict) or not _is_list_of(str, metadata.get("tags", [])):
        yield "metadata", "an object, its tags a list of text"
    outputs = cell.get("outputs", [])
    if not _is_list_of(dict, outputs) or not all(isinstance(shown.get("data", {}), dict) for shown in outputs):
        yield "outputs", "a list of objects, the data of each an object"


def _is_list_of(kind: type, value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, kind) for item in value)


def _unparse(value: ast.expr) -> str:
    try:
        return ast.unparse(value)[:100]
    except RecursionError:
        return "nested too deeply"


def _source(cell: dict[str, Any]) -> str:
    source = cell.get("source", "")
    return source if isinstance(source, str) else "".join(source)


def _tags(cell: dict[str, Any]) -> list[str]:
    return sorted(cell.get("metadata", {}).get("tags", []))


def _assignments(tree: ast.Module) -> list[tuple[str, ast.expr]]:
    problems = []
    for node in tree.body:
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            problems.append((node.targets[0].id, node.value))
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
            problems.append((node.target.id, node.value))
    return problems


def set_parameters(source: str, values: Mapping[str, Any]) -> str:
    """Source of a cell of parameters with other values; its comments, and parameters that are not named, stay.

    Notes
    -----
    Book page: architecture.
    """
    lines = source.encode().splitlines(keepends=True)  # the columns of a tree count bytes
    for name, node in reversed(_assignments(ast.parse(source))):
        if name in values and node.end_lineno is not None:
            first, last = node.lineno - 1, node.end_lineno - 1
            value = values[name]
            text = json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)
            lines[first : last + 1] = [
                lines[first][: node.col_offset] + text.encode() + lines[last][node.end_col_offset :]
            ]
    return b"".join(lines).decode()


def _is_literal(value: object) -> bool:
    if isinstance(value, (list, tuple)):
        return all(map(_is_literal, value))
    if isinstance(value, dict):
        return all(isinstance(name, str) and _is_literal(item) for name, item in value.items())
    return value is None or isinstance(value, (bool, int, float, str))


def _same_kind(default: object, value: object) -> bool:
    if default is None:
        return True
    if isinstance(default, bool) or isinstance(value, bool):
        return isinstance(default, bool) and isinstance(value, bool)
    if isinstance(default, float):
        return isinstance(value, (int, float))
    if isinstance(default, (list, tuple)):
        return isinstance(value, (list, tuple))
    return isinstance(value, type(default))


def _kind(default: object) -> str:
    names = {bool: "True or False", int: "a whole number", float: "a number", str: "text", dict: "a dictionary"}
    return names.get(type(default), "a list")
