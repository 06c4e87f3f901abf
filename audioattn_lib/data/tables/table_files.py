"""Feature tables as files: CSV, ARFF and netCDF, in our layout and in those of the field.

======================= ============================================================
layout                  columns
======================= ============================================================
``table``               all that a table holds, with names of features
``audeep``              ``filename``, ``chunk_nr``, ``label_nominal``,
                        ``label_numeric``, ``feature_0`` ...: what auDeep exports
``published``           CSV without a header: the name of the clip, then the features
======================= ============================================================

Reading needs no layout: columns are known by their names, and the feature
files of the ComParE challenges (``;`` or ``,`` between values, with or
without a header) are read as well. netCDF has the variables and attributes of
auDeep in the classic format, and those that auDeep does not know beside them;
netCDF-4, in which auDeep keeps its own, is read where h5py is installed.

Freitag et al., *auDeep: Unsupervised learning of representations from audio
with deep recurrent neural networks*, JMLR 2018. Book page: ``data``.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from audioattn_lib.core.declarations import shorten
from audioattn_lib.core.files import explain

from ..files import explain_storage, write_whole
from ..manifest import UNKNOWN, parse_number
from .feature_table import RESERVED, ClipLabels, FeatureTable, FeatureTableError
from .netcdf import MISSING_NUMBER, MISSING_TEXT, read_netcdf, write_netcdf

__all__ = ["LAYOUTS", "SPLITS", "SUFFIXES", "read_features", "read_labels", "read_predictions", "write_features"]

Layout = Literal["table", "audeep", "published"]
LAYOUTS: tuple[Layout, ...] = ("table", "audeep", "published")
SUFFIXES = (".csv", ".arff", ".nc")
SPLITS = ("train", "devel", "test")
"""Splits that the names of the challenge begin with, as ``devel_0001.wav``; ``devel`` holds the validation clips."""
RELATION = "auDeep exported data set"

_ALIASES = {"name": "filename", "file_name": "filename", "label": "label_nominal", "partition": "split"}
_IGNORED = ("frametime",)  # of openSMILE: where the only frame begins
_ATTRIBUTE = re.compile(r"""@attribute\s+('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|\S+)\s+(.+)""", re.IGNORECASE)
_ARFF_TYPES = ("numeric", "real", "integer", "string")


def write_features(
    table: FeatureTable, path: str | Path, *, layout: Layout = "table", labels_last: bool = False
) -> None:
    """Write a table to ``.csv``, ``.arff`` or ``.nc``; the file appears whole or not at all.

    Parameters
    ----------
    table
        What to write.
    path
        Its suffix says the format.
    layout
        One of ``LAYOUTS``. ``"table"`` loses nothing; the others keep what they have columns for. ``"published"``
        is for CSV; netCDF is one for both of the first two.
    labels_last
        Write the labels behind the features, as auDeep does on request.

    Raises
    ------
    FeatureTableError
        When suffix and layout do not fit.
    StoreError
        When the disk is full or the folder cannot be written.

    Notes
    -----
    Book page: ``data``.
    """
    path = Path(path)
    suffix = _suffix(path)
    if layout not in LAYOUTS:
        raise FeatureTableError(f"layout is {layout!r}; it must be one of {', '.join(LAYOUTS)}")
    if layout == "published" and suffix != ".csv":
        raise FeatureTableError(f"{path}: the published layout is a CSV file; name it .csv, or choose another layout")
    frame = _frame(table, layout, labels_last)
    if suffix == ".csv":
        lines = {"index": False, "header": layout != "published", "lineterminator": "\n", "encoding": "utf-8"}

        def write(beside: Path) -> None:
            frame.to_csv(beside, **lines)

    elif suffix == ".arff":

        def write(beside: Path) -> None:
            _write_arff(frame, beside)

    else:

        def write(beside: Path) -> None:
            write_netcdf(table, beside)

    try:
        write_whole(path, write)
    except OSError as error:
        raise explain_storage(path.parent, error, "nothing half-written is left") from error


def read_features(path: str | Path) -> FeatureTable:
    """Read a table from ``.csv``, ``.arff`` or ``.nc``, in any layout.

    Columns called ``filename`` (or ``name``, ``file_name``), ``chunk_nr``,
    ``label_nominal`` (``label``), ``label_numeric``, ``split``
    (``partition``), ``group`` and ``cv_folds`` are what they say; openSMILE's
    ``frameTime`` is left out; all others are features. A file without a header
    holds names and features.

    Raises
    ------
    FeatureTableError
        When the file is missing, is none of these, or holds something else than numbers; the message names the
        file, and the line or clip.

    Notes
    -----
    Book page: ``data``.
    """
    path = Path(path)
    suffix = _suffix(path)
    if not _is_file(path):
        raise FeatureTableError(f"{path}: no such file; give a feature table ({', '.join(SUFFIXES)})")
    try:
        if suffix == ".nc":
            return read_netcdf(path)
        return _read_csv(path) if suffix == ".csv" else _read_arff(path)
    except FeatureTableError as error:
        raise error if str(error).startswith(str(path)) else FeatureTableError(f"{path}: {error}") from None
    except csv.Error as error:
        raise FeatureTableError(f"{path}: {error}; save it as separated values") from None
    except UnicodeDecodeError:
        raise FeatureTableError(f"{path}: not UTF-8 text; save it as UTF-8") from None
    except OSError as error:
        raise FeatureTableError(f"{path}: cannot be read ({explain(error)})") from None
    except Exception as error:  # of the readers of netCDF, which believe what a damaged file says
        if suffix != ".nc":
            raise
        reason = f"{type(error).__name__}: {error}"[:200]
        raise FeatureTableError(f"{path}: not a netCDF file, or not all of one ({reason})") from None


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # of a name that is too long
        return False


def read_labels(path: str | Path) -> ClipLabels:
    """Read labels of clips from a CSV file, such as ``lab/labels.csv`` of the challenge.

    Parameters
    ----------
    path
        With a header: ``file_name`` (``filename``, ``name``, ``clip``), ``label`` (or the only other column), and where
        there are, ``split`` (``partition``) and ``group`` (``speaker``). ``?`` and nothing are unknown labels. Without
        a column ``split`` it is what the name begins with: ``train_``, ``devel_`` or ``test_``.

    Raises
    ------
    FeatureTableError
        When a column is missing or a name stands there twice; the message names it.

    Notes
    -----
    Book page: ``data``.
    """
    table = _read_text(path)
    clips = _column(path, table, ("file_name", "filename", "name", "clip"), "names of clips")
    label = next((name for name in ("label", "label_numeric", "label_nominal", "kss") if name in table), None)
    if label is None and table.shape[1] != 2:
        raise FeatureTableError(f"{path}: no column of labels (label); it has {', '.join(table)}")
    column = table[label] if label else table.loc[:, [name for name in table if name != clips.name]].iloc[:, 0]
    labels = ["" if text in ("", UNKNOWN) else text for text in column]
    numbers = [parse_number(text) if text else None for text in labels]
    split = next((table[name] for name in ("split", "partition") if name in table), None)
    group = next((table[name] for name in ("group", "speaker") if name in table), None)
    return ClipLabels(
        str(path),
        tuple(clips),
        tuple(labels),
        np.array([np.nan if number is None else number for number in numbers]),
        tuple(_split_of(name) for name in clips) if split is None else tuple(split),
        ("",) * len(table) if group is None else tuple(group),
    )


def read_predictions(path: str | Path) -> pd.DataFrame:
    """Read predicted numbers: columns ``clip``, ``predicted`` and ``split``, ``""`` where it is unknown.

    Parameters
    ----------
    path
        A CSV file as ``audioattn features regress`` writes it, or with the published columns ``file_name`` and
        ``prediction``. Where it has ``rounded`` too, the result has.

    Raises
    ------
    FeatureTableError
        When a column is missing, a name stands there twice or a prediction is no number; the message names it.

    Notes
    -----
    Book page: ``data``.
    """
    table = _read_text(path)
    clips = _column(path, table, ("clip", "file_name", "filename", "name"), "names of clips")
    rows = pd.DataFrame({"clip": clips})
    columns = {"predicted": _column(path, table, ("predicted", "prediction"), "predictions", once=False)}
    columns |= {"rounded": table["rounded"]} if "rounded" in table else {}
    for name, texts in columns.items():
        numbers = [parse_number(text) for text in texts]
        wrong = next((i for i, number in enumerate(numbers) if number is None), None)
        if wrong is not None:
            raise FeatureTableError(f"{path}: {name} of {clips[wrong]} is {texts[wrong]!r}; it must be a number")
        rows[name] = np.array(numbers, dtype=np.float64)
    rows["split"] = table["split"] if "split" in table else [_split_of(name) for name in clips]
    return rows


def _read_text(path: str | Path) -> pd.DataFrame:
    """A CSV file with a header, as text."""
    path = Path(path)
    if not path.is_file():
        raise FeatureTableError(f"{path}: no such file; give a CSV file")
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, sep=None, engine="python", encoding="utf-8-sig")
    except (ValueError, csv.Error, pd.errors.ParserError) as error:
        raise FeatureTableError(f"{path}: no CSV file with a header ({error})") from None
    if not len(table):
        raise FeatureTableError(f"{path}: there is no row behind the header")
    return table.rename(columns=str.strip)


def _column(
    path: str | Path, table: pd.DataFrame, names: Sequence[str], content: str, *, once: bool = True
) -> pd.Series:
    column = next((table[name] for name in names if name in table), None)
    if column is None:
        raise FeatureTableError(f"{path}: no column of {content} ({' or '.join(names)}); it has {', '.join(table)}")
    twice = column[column.duplicated()] if once else column[:0]
    if len(twice):
        raise FeatureTableError(f"{path}: {len(twice)} clips stand there twice, such as {twice.iloc[0]}")
    return column


def _split_of(name: str) -> str:
    start = name.rpartition("/")[2].partition("_")[0]
    return start if start in SPLITS else ""


def _suffix(path: Path) -> str:
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise FeatureTableError(f"{path}: a feature table is one of {', '.join(SUFFIXES)}, not {suffix or 'nothing'}")
    return suffix


def _frame(table: FeatureTable, layout: Layout, labels_last: bool) -> pd.DataFrame:
    names = table.names if layout == "table" else [f"feature_{i}" for i in range(table.width)]
    features = pd.DataFrame(table.features, columns=list(names))
    if layout == "published":
        return pd.concat([pd.DataFrame({"filename": table.ids}), features], axis=1)
    identifiers: dict[str, Any] = {"filename": table.ids, "chunk_nr": table.chunks}
    labels: dict[str, Any] = {"label_nominal": table.labels, "label_numeric": _shortest(table.values)}
    others: dict[str, Any] = {}
    if layout == "table":
        folds = [";".join(map(str, row)) for row in table.folds.tolist()]
        others = {"split": table.splits, "group": table.groups, "cv_folds": folds}
    before = identifiers | others if labels_last else identifiers | labels | others
    parts = [pd.DataFrame(before), features, *([pd.DataFrame(labels)] if labels_last else [])]
    return pd.concat(parts, axis=1)


def _shortest(values: np.ndarray) -> list[str]:
    """Format numbers as text: whole numbers without a point, an empty string where unknown."""
    return ["" if np.isnan(v) else str(int(v)) if v.is_integer() else repr(v) for v in values.tolist()]


def _table(path: Path, names: Sequence[str], rows: Iterator[tuple[int, list[str]]]) -> FeatureTable:
    """A table from rows of text with their lines, columns known by their names."""
    features = [i for i, name in enumerate(names) if name not in RESERVED and name.lower() not in _IGNORED]
    if "filename" not in names or not features:
        raise FeatureTableError(f"{path}: no column of names (filename, file_name or name), or no feature beside it")
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise FeatureTableError(f"{path}: two columns are called {', '.join(repeated)}; rename one")
    reserved: dict[str, list[str]] = {name: [] for name in names if name in RESERVED}
    numbers: list[np.ndarray] = []
    for line, row in rows:
        if len(row) != len(names):
            raise FeatureTableError(f"{path}:{line}: {len(row)} values for {len(names)} columns")
        for name, values in reserved.items():
            text = row[names.index(name)].strip()
            values.append("" if text in (*MISSING_TEXT, UNKNOWN) else text)
        try:
            numbers.append(np.array([row[i] for i in features], dtype=np.float64))
        except ValueError:
            i = next(i for i in features if parse_number(row[i]) is None)
            raise FeatureTableError(
                f"{path}:{line}: {names[i]} of {reserved['filename'][-1]} is {row[i]!r}; a feature must be a number"
            ) from None
    if not numbers:
        raise FeatureTableError(f"{path}: there are names of columns but no row; add one for each clip")

    def number(name: str) -> np.ndarray:
        parsed = []
        for clip, text in zip(reserved["filename"], reserved.get(name, ()), strict=False):
            value = parse_number(text) if text else np.nan
            if value is None:
                raise FeatureTableError(f"{path}: {name} of {clip} is {text!r}; it must be a number")
            parsed.append(np.nan if value == MISSING_NUMBER else value)
        return np.array(parsed)

    labels = tuple(reserved.get("label_nominal", ()))
    label_values = number("label_numeric")
    if "label_numeric" not in reserved and all(parse_number(label) is not None for label in labels if label):
        label_values = np.array([float(label) if label else np.nan for label in labels])
    chunks = number("chunk_nr")
    wrong = [i for i, chunk in enumerate(chunks) if not (float(chunk).is_integer() and abs(chunk) < 2**53)]
    if wrong:
        clip, text = reserved["filename"][wrong[0]], reserved["chunk_nr"][wrong[0]]
        raise FeatureTableError(f"{path}: chunk_nr of {clip} is {text!r}; it must be a whole number")
    folds = [value.split(";") if value else [] for value in reserved.get("cv_folds", [])]
    for clip, parts in zip(reserved["filename"], folds, strict=False):
        if len(parts) != len(folds[0]) or not set(parts) <= {"0", "1"}:
            shown = shorten(";".join(parts))
            raise FeatureTableError(f"{path}: cv_folds of {clip} is {shown}; it must be 0 or 1 a fold, joined by ;")
    return FeatureTable(
        tuple(reserved["filename"]),
        np.stack(numbers),
        tuple(names[i] for i in features),
        labels,
        label_values,
        tuple(reserved.get("split", ())),
        tuple(reserved.get("group", ())),
        chunks.astype(np.int64),
        np.array(folds, dtype=np.int64),
    )


def _read_csv(path: Path) -> FeatureTable:
    with open(path, encoding="utf-8-sig", newline="") as file:
        first = file.readline()
        if not first.strip():
            raise FeatureTableError(f"{path}: the file is empty")
        separator = ";" if first.count(";") > first.count(",") else ","
        file.seek(0)
        reader = csv.reader(file, delimiter=separator, strict=True)
        fields = [field.strip() for field in next(reader)]
        headed = any(parse_number(field) is None for field in fields[1:])
        names = _rename(fields) if headed else ["filename", *(f"feature_{i}" for i in range(len(fields) - 1))]

        def rows() -> Iterator[tuple[int, list[str]]]:
            if not headed:
                yield 1, fields
            for row in reader:
                if row:
                    # The challenge puts names in single quotes, which CSV does not know.
                    yield reader.line_num, [_unquote(row[0]), *row[1:]] if row[0][:1] == "'" else row

        return _table(path, names, rows())


def _rename(fields: Sequence[str]) -> list[str]:
    names = [_ALIASES.get(name.lower(), name) for name in fields]
    return names if "filename" in names else ["filename", *names[1:]]


def _write_arff(frame: pd.DataFrame, path: Path) -> None:
    with open(path, "w", encoding="utf-8", newline="\n") as file:
        file.write(f'@RELATION "{RELATION}"\n\n')
        for name in frame:
            file.write(f"@ATTRIBUTE {_quote(str(name))} {_arff_type(str(name), frame[name])}\n")
        file.write("\n@DATA\n")
        columns = [
            [_quote(str(value)) if str(value) else UNKNOWN for value in frame[name]]
            if name in RESERVED
            else [repr(value) for value in frame[name].tolist()]
            for name in frame
        ]
        file.writelines(",".join(row) + "\n" for row in zip(*columns, strict=True))


def _arff_type(name: str, column: pd.Series) -> str:
    if name == "label_nominal" and any(column):
        return "{" + ", ".join(_quote(label) for label in sorted(set(column) - {""})) + "}"
    if name == "label_numeric":
        return "REAL" if any("." in text or "e" in text for text in column) else "INTEGER"
    if name == "chunk_nr":
        return "INTEGER"
    return "STRING" if name in RESERVED else "REAL"


def _quote(text: str) -> str:
    if re.fullmatch(r"[^\s'\"\\,{}%?]+", text):
        return text
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _unquote(text: str) -> str:
    text = text.strip()
    if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":
        return re.sub(r"\\(.)", r"\1", text[1:-1])
    return text


def _read_arff(path: Path) -> FeatureTable:
    names: list[str] = []
    with open(path, encoding="utf-8-sig", newline="") as file:
        number = 0
        for number, text in enumerate(file, 1):
            line = text.strip()
            if line.lower().startswith("@data"):
                break
            if match := _ATTRIBUTE.fullmatch(line):
                kind = match[2].strip()
                if not (kind.lower() in _ARFF_TYPES or kind.startswith("{")):
                    raise FeatureTableError(f"{path}:{number}: type {kind!r}; allowed are STRING, NUMERIC and {{...}}")
                names.append(_unquote(match[1]))
            elif line and not line.startswith("%") and not line.lower().startswith("@relation"):
                raise FeatureTableError(f"{path}:{number}: {line[:40]!r} is neither @attribute nor @data")
        else:
            raise FeatureTableError(f"{path}: no @data; it is no ARFF file, or not all of one")
        # Comments become empty lines, so that lines keep their numbers.
        rest = ("" if text.startswith("%") else text for text in file)
        reader = csv.reader(rest, quotechar="'", escapechar="\\", skipinitialspace=True)
        rows = ((number + reader.line_num, [_unquote(value) for value in row]) for row in reader if row)
        return _table(path, _rename(names), rows)
