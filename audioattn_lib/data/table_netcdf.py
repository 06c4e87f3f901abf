"""Feature tables in netCDF: the variables and attributes of auDeep, in the classic format that SciPy writes.

``split``, ``group`` and ``feature_names`` stand beside what auDeep knows.
Features with several dimensions are flattened, as auDeep does in its exports.

Book page: ``data``.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.io import netcdf_file

from .feature_table import FeatureTable, FeatureTableError

__all__ = ["MISSING_NUMBER", "MISSING_TEXT", "read_netcdf", "write_netcdf"]

MISSING_TEXT = ("__MISSING_VALUE", "None", "nan")
MISSING_NUMBER = -999999
"""What stands for an unknown value in auDeep's files."""

_PARTITIONS = ("train", "devel", "test")


def write_netcdf(table: FeatureTable, path: Path) -> None:
    """Write all that a table holds."""
    n, k = table.folds.shape
    with netcdf_file(path, "w", version=2) as file:
        file.feature_dims = json.dumps(["generated"])
        pairs = {label: value for label, value in zip(table.labels, table.values, strict=True) if label}
        whole = all(float(value).is_integer() for value in pairs.values())
        told = {table.values[i] == pairs[label] for i, label in enumerate(table.labels) if label}
        if pairs and whole and told == {True}:
            file.label_map = json.dumps({label: int(value) for label, value in sorted(pairs.items())})
        file.createDimension("fold", k or None)  # the classic format has no length 0 but that of what may grow
        file.createDimension("instance", n)
        file.createDimension("generated", table.width)
        for name, values in (
            ("filename", table.ids),
            ("label_nominal", table.labels),
            ("group", table.groups),
            ("split", table.splits),
            ("feature_names", table.names),
        ):
            _write_text(file, name, values, "generated" if name == "feature_names" else "instance")
        place = {name: float(i) for i, name in enumerate(_PARTITIONS)}
        partition = np.array([place.get(name, np.nan) for name in table.splits])
        for name, numbers in (
            ("chunk_nr", table.chunks.astype(np.float64)),
            ("label_numeric", table.values),
            ("partition", partition),
        ):
            kind = "d" if np.isnan(numbers).any() or (numbers != np.rint(numbers)).any() else "i"
            file.createVariable(name, kind, ("instance",))[:] = numbers
        if k:
            file.createVariable("cv_folds", "i", ("instance", "fold"))[:] = table.folds
        else:
            file.createVariable("cv_folds", "i", ("fold", "instance"))
        file.createVariable("features", "d", ("instance", "generated"))[:] = table.features


def _write_text(file: Any, name: str, values: Sequence[str], dimension: str) -> None:
    encoded = [value.encode() for value in values]
    length = max(1, *map(len, encoded))
    file.createDimension(f"{name}_length", length)
    variable = file.createVariable(name, "c", (dimension, f"{name}_length"))
    variable._Encoding = "utf-8"
    variable[:] = np.array(encoded, dtype=f"S{length}").view("S1").reshape(len(encoded), length)


def read_netcdf(path: Path) -> FeatureTable:
    """Read what :func:`write_netcdf` wrote, or the variables of auDeep from a file in the classic format."""
    with open(path, "rb") as raw:
        magic = raw.read(8)
    if magic.startswith(b"\x89HDF"):
        raise FeatureTableError(
            f"{path}: netCDF-4, which is HDF5 and is not read here; export it as CSV or ARFF with `audeep export`"
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # of memory maps, which are not used here
            file = netcdf_file(path, "r", mmap=False)
    except (TypeError, ValueError, EOFError, IndexError) as error:
        raise FeatureTableError(f"{path}: not a netCDF file, or not all of one ({error})") from None
    found = dict(file.variables)
    missing = [name for name in ("filename", "features") if name not in found]
    if missing:
        raise FeatureTableError(f"{path}: no variable {', '.join(missing)}; it has {', '.join(found)}")
    ids = _text(found["filename"])
    features = np.array(found["features"][:], dtype=np.float64).reshape(len(ids), -1)

    def text(name: str) -> tuple[str, ...]:
        return _text(found[name]) if name in found else ()

    def numbers(name: str) -> np.ndarray:
        values = np.array(found[name][:], dtype=np.float64) if name in found else np.zeros(0)
        return np.where(values == MISSING_NUMBER, np.nan, values)

    partition = numbers("partition")
    splits = text("split") or tuple("" if np.isnan(i) else _PARTITIONS[int(i)] for i in partition)
    folds = np.array(found["cv_folds"][:], dtype=np.int64) if "cv_folds" in found else np.zeros((len(ids), 0), int)
    labels = tuple("" if label in MISSING_TEXT else label for label in text("label_nominal"))
    chunks = numbers("chunk_nr").astype(np.int64)
    names = text("feature_names")
    return FeatureTable(
        ids,
        features,
        names,
        labels,
        numbers("label_numeric"),
        splits,
        text("group"),
        chunks,
        folds if len(folds) == len(ids) else np.zeros((len(ids), 0), dtype=np.int64),
    )


def _text(variable: Any) -> tuple[str, ...]:
    characters = np.asarray(variable[:])
    joined = np.ascontiguousarray(characters).view(f"S{characters.shape[-1]}").reshape(len(characters))
    return tuple(value.decode() for value in joined)
