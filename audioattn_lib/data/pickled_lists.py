"""Published lists that are pickled tables, read once without running anything in them, and written as CSV.

A pickle is a program: it may call whatever it names. Here it can name plain
containers; whatever it names of pandas, and what arrays of numpy are made of, is
replaced by an object that only remembers what it was called with; anything else
is an error. What is remembered is then taken apart as the pandas of different
years wrote it.

Book page: ``playback_published``.
"""

from __future__ import annotations

import builtins
import io
import math
import pickle
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..core.declarations import shorten
from ..core.errors import ManifestError
from ..core.files import read_bounded
from .files import write_whole
from .manifest import SEPARATOR

__all__ = ["convert_pickled_list", "read_pickled_list"]

_MOST_BYTES = 1 << 31
_TEXT_A_BYTE = 64
_LEAST_TEXT = 1 << 24
_PLAIN = (str, int, float, np.integer, np.floating, np.bool_)
_OF_NUMPY = ("ndarray", "dtype", "_reconstruct", "_frombuffer", "scalar")
_ARRAYS = ("_reconstruct", "_frombuffer")
_DTYPE = re.compile(r"[biufUO?]\d*")  # truth values, whole and other numbers, text, objects


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
    Nothing of pandas or numpy is called by the file, so it does not matter which
    of their versions wrote it. Book page: ``playback_published``.
    """
    path = Path(path)
    try:
        content = read_bounded(path, _MOST_BYTES)
        remembered = _Reader(content, path).load()
    except FileNotFoundError:
        raise ManifestError(f"{path}: no such list") from None
    except ManifestError:
        raise
    except Exception as error:  # a damaged pickle raises whatever its opcodes stumble over
        raise ManifestError(f"{path}: no pickled table, or not all of one ({error}); fetch it again") from None
    try:
        axes, blocks = _take_apart(remembered)
        names, rows = (_labels(axis, len(content)) for axis in axes)
        columns = _columns(blocks, len(names), len(rows))
        index_name, is_numbered = axes[1].args[1].get("name"), axes[1].args[0].kind == "RangeIndex"
        room = _Room(_TEXT_A_BYTE * len(content) + _LEAST_TEXT)
        table = {_name(name): _texts(path, name, column, room) for name, column in zip(names, columns, strict=True)}
        if index_name is not None or not is_numbered:
            table = {_name(index_name or "index"): _texts(path, "index", rows, room), **table}
        return pd.DataFrame(table, dtype=str)
    except ManifestError:
        raise
    except Exception as error:  # what is remembered may be anything, put together in any way
        raise ManifestError(
            f"{path}: holds no table that is known here ({str(error)[:200]}); save it as CSV with the pandas that "
            "wrote it"
        ) from None


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
    """Placeholder for a class or function of a pickle: it stores arguments and state, and executes nothing."""

    kind = ""
    args: tuple[Any, ...]
    state: Any

    def __new__(cls, *args: Any) -> _Remembered:
        instance = super().__new__(cls)
        instance.args = args
        instance.state = None
        return instance

    def __init__(self, *args: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _Content:
    """The bytes of a file; asking for more than there are is an error before any room is made for them."""

    def __init__(self, content: bytes) -> None:
        self._file, self._size = io.BytesIO(content), len(content)

    def read(self, count: int) -> bytes:
        self._check(count)
        return self._file.read(count)

    def readline(self) -> bytes:
        return self._file.readline()

    def readinto(self, buffer: Any) -> int:
        self._check(len(buffer))
        return self._file.readinto(buffer)

    def _check(self, count: int) -> None:
        if count > self._size - self._file.tell():
            raise EOFError(f"{count} bytes are claimed, {self._size - self._file.tell()} are left")


# In Python, as the one in C makes room for every number that an object may be remembered by.
class _Reader(pickle._Unpickler):
    def __init__(self, content: bytes, path: Path) -> None:
        super().__init__(_Content(content))
        self._path = path
        # Made anew for every file: a pickle may set attributes of what it can name.
        self._known: dict[tuple[str, str], Any] = {
            (module, kind.__name__): kind
            for module in ("builtins", "__builtin__")
            for kind in (slice, set, frozenset, _bytearray())
        }
        self._known["_codecs", "encode"] = _encoder()

    def find_class(self, module: str, name: str) -> Any:
        key = (module, name)
        package = module.partition(".")[0]
        if key not in self._known and (package == "pandas" or (package == "numpy" and name in _OF_NUMPY)):
            self._known[key] = type(name, (_Remembered,), {"kind": name})
        if key not in self._known:
            raise ManifestError(
                f"{self._path}: names {module}.{name}, which could run code, and was not read further; "
                "only tables of pandas, arrays of numpy and plain values are read. Do not open it elsewhere"
            )
        return self._known[key]


def _bytearray() -> Callable[..., bytearray]:
    def bytearray(content: bytes | str = b"", encoding: str = "latin1") -> Any:
        if not isinstance(content, (bytes, str)):
            raise TypeError(f"bytearray of {shorten(content)}; only of bytes")
        return builtins.bytearray(content if isinstance(content, bytes) else _encoder()(content, encoding))

    return bytearray


def _encoder() -> Callable[[str, str], bytes]:
    def encode(text: str, encoding: str) -> bytes:
        if encoding not in ("latin1", "latin-1"):
            raise ValueError(f"bytes in the encoding {encoding!r}")
        return text.encode("latin1")

    return encode


def _take_apart(frame: Any) -> tuple[list[_Remembered], list[tuple[Any, Any]]]:
    """Axes, columns first, and blocks as values and the columns that they are."""
    if not isinstance(frame, _Remembered) or frame.kind != "DataFrame" or not isinstance(frame.state, dict):
        raise TypeError(f"it is of type {getattr(frame, 'kind', type(frame).__name__)}, not a DataFrame")
    manager = frame.state["_mgr"] if "_mgr" in frame.state else frame.state["_data"]
    if manager.args:  # since pandas 1.3
        blocks, axes = manager.args
        return list(axes), [(block.args[0], block.args[1]) for block in blocks]
    newest = manager.state[3]["0.14.1"]
    return list(newest["axes"]), [(block["values"], block["mgr_locs"]) for block in newest["blocks"]]


def _labels(axis: _Remembered, most: int) -> list[Any]:
    """Names along an axis; a row takes a byte of the file at least, so there are not more than ``most``."""
    fields = axis.args[1]
    if "start" in fields:
        numbers = range(*(int(_value(fields[name])) for name in ("start", "stop", "step")))
        if len(numbers) > most:
            raise ValueError(f"{len(numbers)} rows in a file of {most} bytes")
        return list(numbers)
    return list(_array(fields["data"]))


def _columns(blocks: list[tuple[Any, Any]], n_columns: int, n_rows: int) -> list[NDArray[Any]]:
    columns: dict[int, NDArray[Any]] = {}
    for values, places in blocks:
        where = np.arange(n_columns)[places if isinstance(places, slice) else _array(places)]
        for index, column in zip(where, _array(values).reshape(len(where), n_rows), strict=True):
            columns[int(index)] = column
    if len(columns) != n_columns:
        raise ValueError("a column has no values")
    return [columns[index] for index in range(n_columns)]


def _array(values: Any) -> NDArray[Any]:
    """The array that was remembered, also inside an array of text, as newer pandas has it."""
    if not isinstance(values, _Remembered):
        raise TypeError(f"values of type {type(values).__name__}")
    if values.kind == "_frombuffer":
        order: Any
        buffer, dtype, shape, order = values.args
        return np.frombuffer(buffer, _dtype(dtype)).reshape(shape, order=order)
    if values.kind == "_reconstruct":
        shape, dtype, is_fortran, content = values.state[-4:]
        order = "F" if is_fortran else "C"
        if not isinstance(content, list):
            return np.frombuffer(content, _dtype(dtype)).reshape(shape, order=order)
        if len(content) != math.prod(shape):
            raise ValueError(f"{len(content)} objects in an array of {shape}")
        array = np.empty(len(content), dtype=object)
        array[:] = content
        return array.reshape(shape, order=order)
    state = values.state if isinstance(values.state, (tuple, list)) else (values.state or {}).values()
    inner = [item for item in (*values.args, *state) if isinstance(item, _Remembered) and item.kind in _ARRAYS]
    if len(inner) != 1:
        raise TypeError(f"values of type {values.kind}")
    return _array(inner[0])


def _dtype(dtype: Any) -> np.dtype[Any]:
    code = dtype.args[0]
    if not isinstance(code, str) or not _DTYPE.fullmatch(code):
        raise TypeError(f"an array of {code!r}")
    return np.dtype(code).newbyteorder(dtype.state[1] if dtype.state else "=")


def _value(value: Any) -> Any:
    """A number that was remembered, or whatever else it is."""
    if isinstance(value, _Remembered) and value.kind == "scalar":
        dtype, content = value.args
        return np.frombuffer(content, _dtype(dtype), 1)[0]
    return value


class _Room:
    """Characters that may still be made: a cell may stand in a thousand rows and take a byte in each."""

    def __init__(self, left: int) -> None:
        self._left = left

    def take(self, count: int) -> None:
        self._left -= count
        if self._left < 0:
            raise ValueError("its values, written out, take many times its size")


def _name(name: Any) -> str:
    text = _text(name)
    if text is None:
        raise TypeError(f"a column is called {shorten(name)}")
    return text


def _texts(path: Path, name: Any, column: Iterable[Any], room: _Room) -> list[str]:
    texts = []
    for row, value in enumerate(column):
        is_array = isinstance(value, _Remembered) and value.kind in _ARRAYS
        items = list(_array(value)) if is_array else value if isinstance(value, (list, tuple)) else None
        room.take(1 if items is None else len(items))
        several = [_text(item) for item in ([value] if items is None else items)]
        if any(text is None or (items is not None and SEPARATOR in text) for text in several):
            shown = value.kind if isinstance(value, _Remembered) else shorten(value)
            raise ManifestError(
                f"{path}: row {row} of column {_name(name)[:100]} is {shown}; text, numbers and lists of both without "
                f"{SEPARATOR!r} are read"
            )
        texts.append(SEPARATOR.join(map(str, several)))
        room.take(len(texts[-1]))
    return texts


def _text(value: Any) -> str | None:
    value = _value(value)
    if value is None or (isinstance(value, (float, np.floating)) and np.isnan(value)):
        return ""
    if not isinstance(value, _PLAIN):
        return None
    text = str(value)
    text.encode()  # half of a surrogate pair is no text
    return text
