"""YAML files read strictly: a key given twice is an error, and every error names the line.

Book page: architecture.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from audioattn_lib.errors import ConfigError

__all__ = ["Document", "read_yaml"]


@dataclass(frozen=True)
class Document:
    """Content of a YAML file and where each part of it stands.

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
        """An error that names the file and the line of the part that ``way`` leads to."""
        while way and way not in self.lines:
            way = way[:-1]
        return ConfigError(f"{self.path}:{self.lines.get(way, 1)}: {message}")


def read_yaml(path: str | Path) -> Document:
    """Read a YAML file.

    Raises
    ------
    ConfigError
        If it cannot be read, is no YAML, or gives a key twice; the message
        names file and line.

    Notes
    -----
    Book page: architecture.
    """
    path = Path(path)
    try:
        loader = yaml.SafeLoader(path.read_text(encoding="utf-8"))
        node = loader.get_single_node()
        lines: dict[tuple[Hashable, ...], int] = {}
        if node is not None:
            _walk(loader, node, (), lines, path)
        return Document(path, loader.construct_document(node) if node is not None else None, lines)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); name an existing file") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: not text in UTF-8") from None
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ConfigError(f"{path}:{line}: {error.problem}") from None


def _walk(
    loader: yaml.SafeLoader,
    node: yaml.Node,
    way: tuple[Hashable, ...],
    lines: dict[tuple[Hashable, ...], int],
    path: Path,
) -> None:
    if isinstance(node, yaml.MappingNode):
        for name_node, value in node.value:
            name = loader.construct_object(name_node, deep=True)
            here, line = (*way, name), name_node.start_mark.line + 1
            if here in lines:
                raise ConfigError(f"{path}:{line}: {name} is given twice; it stands in line {lines[here]} already")
            lines[here] = line
            _walk(loader, value, here, lines, path)
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            lines[(*way, index)] = item.start_mark.line + 1
            _walk(loader, item, (*way, index), lines, path)
