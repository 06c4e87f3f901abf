"""Published lists that are pickled tables, read once without running anything in them, and written as CSV.

A pickle is a program: it may call whatever it names. Here it can name arrays of
numpy and plain containers, and whatever it names of pandas is replaced by an
object that only remembers what it was made of; anything else is an error. What
is remembered is then taken apart as the pandas of different years wrote it.

Book page: ``playback_published``.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..errors import ManifestError
from .files import write_whole
from .manifest import SEPARATOR

__all__ = ["convert_pickled_list", "read_pickled_list"]

_PLAIN = (str, int, float, np.integer, np.floating, np.bool_)


def read_pickled_list(path: str | Path) -> pd.DataFrame:
    """Read a pickled ``DataFrame`` as a table of text.

    Parameters
    ----------
    path
        The list, not compressed.

    Returns
    -------
    DataFrame
        All values as text, lists joined by ``;``, what is missing as ``""``; an
        index with a name, or that is more than numbers of rows, is the first column.

    Raises
    ------
    ManifestError
        When the file is missing or damaged, names anything that could run code,
        is no table, or holds values that are no text, numbers or lists of both.

    Notes
    -----
    Nothing of pandas is called while the file is read, so lists of any of its
    versions can be read. Book page: ``playback_published``.
    """
    path = Path(path)
    try:
        with open(path, "rb") as file:
            found = _Reader(file, path).load()
    except FileNotFoundError:
        raise ManifestError(f"{path}: no such list") from None
    except ManifestError:
        raise
    except Exception as error:  # a damaged pickle raises whatever its opcodes stumble over
        raise ManifestError(f"{path}: no pickled table, or not all of one ({error}); fetch it again") from None
    try:
        axes, blocks = _take_apart(found)
        names, rows = (_labels(axis) for axis in axes)
        columns = _columns(blocks, len(names), len(rows))
    except (TypeError, ValueError, KeyError, IndexError, AttributeError) as error:
        raise ManifestError(
            f"{path}: holds no table that is known here ({error}); save it as CSV with the pandas that wrote it"
        ) from None
    table = {str(name): _texts(path, str(name), column) for name, column in zip(names, columns, strict=True)}
    index_name = axes[1].args[1].get("name")
    if index_name is not None or axes[1].args[0].kind != "RangeIndex":
        table = {str(index_name or "index"): _texts(path, "index", rows), **table}
    return pd.DataFrame(table, dtype=str)


def convert_pickled_list(path: str | Path, output: str | Path) -> pd.DataFrame:
    """Write a pickled list as CSV, whole or not at all, and return the table.

    Notes
    -----
    Errors are those of :func:`read_pickled_list`. Book page: ``playback_published``.
    """
    table = read_pickled_list(path)

    def write(beside: Path) -> None:
        table.to_csv(beside, index=False, lineterminator="\n")

    write_whole(Path(output), write)
    return table


class _Remembered:
    """What a pickle makes of a class or function of pandas: its arguments and state, and nothing happens."""

    kind = ""

    def __new__(cls, *args: Any) -> _Remembered:
        made = super().__new__(cls)
        made.args = args
        made.state = None
        return made

    args: tuple[Any, ...]
    state: Any

    def __init__(self, *args: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _Reader(pickle.Unpickler):
    def __init__(self, file: Any, path: Path) -> None:
        super().__init__(file)
        self._path = path
        # Made anew for every file: a pickle may set attributes of what it can name.
        self._known: dict[tuple[str, str], Any] = {
            (module, made.__name__): made
            for module in ("builtins", "__builtin__")
            for made in (slice, set, frozenset, bytearray)
        }
        self._known["_codecs", "encode"] = _encoder()
        for package in ("numpy", "numpy.core", "numpy._core"):
            self._known[package, "ndarray"] = type("ndarray", (_Remembered,), {"kind": "ndarray"})
            self._known[package, "dtype"] = np.dtype
            self._known[f"{package}.multiarray", "_reconstruct"] = _empty_array()
            self._known[f"{package}.multiarray", "scalar"] = _scalar()
            self._known[f"{package}.numeric", "_frombuffer"] = _array_of_buffer()

    def find_class(self, module: str, name: str) -> Any:
        key = (module, name)
        if key not in self._known and (module == "pandas" or module.startswith("pandas.")):
            self._known[key] = type(name, (_Remembered,), {"kind": name})
        if key not in self._known:
            raise ManifestError(
                f"{self._path}: names {module}.{name}, which could run code, and was not read further; "
                "only tables of pandas, arrays of numpy and plain values are read. Do not open it elsewhere"
            )
        return self._known[key]


def _encoder() -> Callable[[str, str], bytes]:
    def encode(text: str, encoding: str) -> bytes:
        if encoding != "latin1":
            raise ValueError(f"bytes in the encoding {encoding!r}")
        return text.encode("latin1")

    return encode


def _empty_array() -> Callable[..., NDArray[Any]]:
    def reconstruct(*_: Any) -> NDArray[Any]:
        return np.ndarray((0,), dtype=np.int8)  # its state follows and says all that it is

    return reconstruct


def _scalar() -> Callable[[Any, Any], Any]:
    def scalar(dtype: Any, content: Any) -> Any:
        if not isinstance(dtype, np.dtype) or dtype.hasobject or not isinstance(content, bytes):
            raise ValueError("a number that is none")
        return np.frombuffer(content, dtype, 1)[0]

    return scalar


def _array_of_buffer() -> Callable[..., NDArray[Any]]:
    def from_buffer(buffer: Any, dtype: Any, shape: Any, order: Any) -> NDArray[Any]:
        return np.frombuffer(buffer, dtype=dtype).reshape(shape, order=order)

    return from_buffer


def _take_apart(found: Any) -> tuple[list[_Remembered], list[tuple[Any, Any]]]:
    """Axes, columns first, and blocks as values and the columns that they are."""
    if not isinstance(found, _Remembered) or found.kind != "DataFrame" or not isinstance(found.state, dict):
        raise TypeError(f"it is of type {getattr(found, 'kind', type(found).__name__)}, not a DataFrame")
    manager = found.state["_mgr"] if "_mgr" in found.state else found.state["_data"]
    if manager.args:  # since pandas 1.3
        blocks, axes = manager.args
        return list(axes), [(block.args[0], block.args[1]) for block in blocks]
    newest = manager.state[3]["0.14.1"]
    return list(newest["axes"]), [(block["values"], block["mgr_locs"]) for block in newest["blocks"]]


def _labels(axis: _Remembered) -> list[Any]:
    fields = axis.args[1]
    if "start" in fields:
        return list(range(fields["start"], fields["stop"], fields["step"]))
    return list(_array(fields["data"]))


def _columns(blocks: list[tuple[Any, Any]], n_columns: int, n_rows: int) -> list[NDArray[Any]]:
    columns: list[NDArray[Any] | None] = [None] * n_columns
    for values, places in blocks:
        array = _array(values)
        where = np.arange(n_columns)[places]
        for place, column in zip(where, array.reshape(len(where), n_rows), strict=True):
            columns[place] = column
    if any(column is None for column in columns):
        raise ValueError("a column has no values")
    return columns  # type: ignore[return-value]


def _array(values: Any) -> NDArray[Any]:
    """An array, also out of an array of text, as newer pandas has it."""
    if isinstance(values, _Remembered):
        parts = values.state if isinstance(values.state, tuple) else tuple((values.state or {}).values())
        arrays = [part for part in (*values.args, *parts) if isinstance(part, np.ndarray)]
        if len(arrays) != 1:
            raise TypeError(f"values of type {values.kind}")
        return arrays[0]
    if not isinstance(values, np.ndarray):
        raise TypeError(f"values of type {type(values).__name__}")
    return values


def _texts(path: Path, name: str, column: Any) -> list[str]:
    texts = []
    for row, value in enumerate(column):
        parts = list(value) if isinstance(value, (list, tuple, np.ndarray)) else None
        several = [_text(part) for part in (parts if parts is not None else [value])]
        if any(text is None or (parts is not None and SEPARATOR in text) for text in several):
            raise ManifestError(
                f"{path}: row {row} of column {name} is {value!r}; text, numbers and lists of both without "
                f"{SEPARATOR!r} are read"
            )
        texts.append(SEPARATOR.join(map(str, several)))
    return texts


def _text(value: Any) -> str | None:
    if value is None or (isinstance(value, (float, np.floating)) and np.isnan(value)):
        return ""
    return str(value) if isinstance(value, _PLAIN) else None
