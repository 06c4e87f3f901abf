"""What a notebook is, read without running it: its parameters, its imports, its identity.

A notebook may say two things about itself in its metadata, under
``audioattn``: ``data_parameter``, the name of the parameter that names its
data, so that other data makes another key; and ``shows_source``, true when its
pages print source of the library, so that comments and docstrings count too.

Book page: architecture.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from audioattn_lib.batch.key import dependency_hash, has_module, imported_names, key, source_hash
from audioattn_lib.errors import ConfigError

__all__ = ["DataHash", "Notebook"]

DataHash = Callable[[str], str]
"""Gives the content hash of data by its name or path."""

_OPTIONS = {"data_parameter": str, "shows_source": bool}


@dataclass(frozen=True)
class Notebook:
    """A notebook file and what can be known of it without a kernel.

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
            content = json.loads(Path(self.path).read_text(encoding="utf-8"))
        except OSError as error:
            raise ConfigError(f"{self.path}: cannot be read ({error.strerror}); name an existing notebook") from None
        except ValueError as error:
            raise ConfigError(f"{self.path}: not a notebook ({error})") from None
        if not isinstance(content, dict) or not isinstance(content.get("cells"), list):
            raise ConfigError(f"{self.path}: not a notebook of format 4; it has no list of cells")
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
                    except ValueError:
                        raise ConfigError(
                            f"{self.path}, cell {index + 1}: parameter {name} is {ast.unparse(value)}; "
                            "a default is a plain literal (text, number, True, None, list or dictionary of them)"
                        ) from None
        return defaults

    @cached_property
    def options(self) -> dict[str, Any]:
        """What the notebook says about itself in its metadata under ``audioattn``."""
        options = self.content.get("metadata", {}).get("audioattn", {})
        for name, value in options.items():
            if name not in _OPTIONS or not isinstance(value, _OPTIONS[name]):
                known = ", ".join(f"{option} ({kind.__name__})" for option, kind in _OPTIONS.items())
                raise ConfigError(f"{self.path}: metadata audioattn.{name} is {value!r}; known are {known}")
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
        found: set[str] = set()
        for index, cell in self._code():
            for name in imported_names(self._parse(cell, index)):
                if name.split(".")[0] == "audioattn_lib" and has_module(name):
                    found.add(name)
        return tuple(sorted(found))

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
                    f"{self.path}: {name} is {value!r}; it must be {_kind(default)} like its default {default!r}"
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
            parts["data"] = data_hash(parameters.get(named, self.parameters[named]))
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


def _source(cell: dict[str, Any]) -> str:
    source = cell.get("source", "")
    return source if isinstance(source, str) else "".join(source)


def _tags(cell: dict[str, Any]) -> list[str]:
    return sorted(cell.get("metadata", {}).get("tags", []))


def _assignments(tree: ast.Module) -> list[tuple[str, ast.expr]]:
    found = []
    for node in tree.body:
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            found.append((node.targets[0].id, node.value))
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
            found.append((node.target.id, node.value))
    return found


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
