"""Strict reader of YAML: bounded size, no duplicate keys, errors with file and line.

Only plain values are made (``SafeLoader``), and a file is bounded before
anything is made of it: bytes, depth, and values with every alias written out.

Book page: architecture.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from audioattn_lib.core.errors import ConfigError
from audioattn_lib.core.files import explain, read_bounded

__all__ = ["Document", "read_yaml"]

_MOST_BYTES: Final = 1 << 20
_MOST_DEPTH: Final = 50
_MOST_VALUES: Final = 50_000


@dataclass(frozen=True)
class Document:
    """Content of a YAML file with the line of each part.

    Parameters
    ----------
    path
        The file.
    data
        Its content as plain Python.
    lines
        Line of every key and list item, from 1, by its way from the top, such
        as ``("grid", "attention", 0)``.

    Notes
    -----
    Book page: architecture.
    """

    path: Path
    data: Any
    lines: dict[tuple[Hashable, ...], int]

    def error(self, message: str, *way: Hashable) -> ConfigError:
        """Make an error with the file and the line of the part at ``way``."""
        while way and way not in self.lines:
            way = way[:-1]
        return ConfigError(f"{self.path}:{self.lines.get(way, 1)}: {message}")


def read_yaml(path: str | Path) -> Document:
    """Read a YAML file of at most 1 MiB, 50 levels and 50,000 values, aliases written out.

    Raises
    ------
    ConfigError
        If it cannot be read, is no YAML, is larger, gives a key twice, or has a key that is no single value; the
        message names file and line.

    Notes
    -----
    Book page: architecture.
    """
    path = Path(path)
    try:
        content = read_bounded(path, _MOST_BYTES).decode("utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({explain(error)}); name an existing file") from None
    except ValueError as error:
        raise ConfigError(f"{path}: cannot be read ({explain(error)}); give a YAML file of at most 1 MiB") from None
    try:
        loader = _Loader(content)
        node = loader.get_single_node()
        walk = _Walk(loader, path)
        data = None if node is None else walk.visit(node, ())
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ConfigError(f"{path}:{line}: {error.problem}") from None
    except yaml.reader.ReaderError as error:
        line = content.count("\n", 0, error.position) + 1
        raise ConfigError(f"{path}:{line}: the character {error.character:#x} is not allowed in YAML") from None
    return Document(path, data, walk.lines)


class _Loader(yaml.SafeLoader):
    """Counts levels while it reads: parser and composer call themselves for each."""

    _depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        self._depth += 1
        if self._depth > _MOST_DEPTH:
            raise _too_deep(self.peek_event().start_mark)
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def fetch_flow_collection_start(self, TokenClass: Any) -> None:
        # Before the composer sees the first bracket, the scanner may have read them all.
        if self.flow_level > _MOST_DEPTH:
            raise _too_deep(self.get_mark())
        super().fetch_flow_collection_start(TokenClass)


def _too_deep(mark: Any) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=f"nested more than {_MOST_DEPTH} levels deep", problem_mark=mark)


class _Walk:
    """Constructor of the values of a document, with their lines."""

    def __init__(self, loader: yaml.SafeLoader, path: Path) -> None:
        self.lines: dict[tuple[Hashable, ...], int] = {}
        self._loader, self._path, self._values = loader, path, 0

    def visit(self, node: yaml.Node, way: tuple[Hashable, ...]) -> Any:
        self._values += 1
        if len(way) > _MOST_DEPTH:
            raise self._error(node, f"nested more than {_MOST_DEPTH} levels deep; does an alias stand inside itself?")
        if self._values > _MOST_VALUES:
            raise self._error(node, f"more than {_MOST_VALUES} values, with all aliases written out")
        if isinstance(node, yaml.MappingNode) and node.tag == "tag:yaml.org,2002:map":
            return self._mapping(node, way)
        if isinstance(node, yaml.SequenceNode) and node.tag == "tag:yaml.org,2002:seq":
            items = []
            for index, item in enumerate(node.value):
                place = (*way, index)
                self.lines[place] = item.start_mark.line + 1
                items.append(self.visit(item, place))
            return items
        return self._scalar(node)

    def _mapping(self, node: yaml.MappingNode, way: tuple[Hashable, ...]) -> dict[Hashable, Any]:
        content: dict[Hashable, Any] = {}
        for name_node, value in node.value:
            line = name_node.start_mark.line + 1
            name = self._scalar(name_node)
            place = (*way, name)
            if name in content:
                raise self._error(name_node, f"{name} is given twice; it stands in line {self.lines[place]} already")
            self.lines[place] = line
            content[name] = self.visit(value, place)
        return content

    def _scalar(self, node: yaml.Node) -> Any:
        if not isinstance(node, yaml.ScalarNode):
            raise self._error(node, f"text, numbers, lists and mappings are read, not {node.tag} of several values")
        try:
            return self._loader.construct_object(node)
        except yaml.YAMLError:
            raise
        except Exception as error:  # SafeLoader's own, of a date that is none, a number of thousands of digits
            raise self._error(node, f"{node.value[:40]!r} cannot be read ({error}); quote it if it is text") from None

    def _error(self, node: yaml.Node, message: str) -> ConfigError:
        return ConfigError(f"{self._path}:{node.start_mark.line + 1}: {message}")
