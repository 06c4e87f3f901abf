"""Feature tables in netCDF: the variables and attributes of auDeep, in the classic format that SciPy writes.

``split``, ``group`` and ``feature_names`` stand beside what auDeep knows.
Features with several dimensions are flattened, as auDeep does in its exports.
What auDeep itself writes is netCDF-4, which is HDF5; it is read where h5py is
installed.

Book page: ``data``.
"""

from __future__ import annotations

import io
import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.io import netcdf_file

from audioattn_lib.audio.containers import sample_limit
from audioattn_lib.audio.hdf5_guard import check_hdf5
from audioattn_lib.core.files import read_bounded

from .feature_table import FeatureTable, FeatureTableError

__all__ = ["MISSING_NUMBER", "MISSING_TEXT", "read_netcdf", "write_netcdf"]

MISSING_TEXT = ("__MISSING_VALUE", "None", "nan")
MISSING_NUMBER = -999999
"""Unknown value in auDeep's files."""

_MOST_BYTES = 1 << 34
_PARTITIONS = ("train", "devel", "test")
_HDF5 = b"\x89HDF\r\n\x1a\n"
_NO_VARIABLE = b"This is a netCDF dimension but not a netCDF variable"


def write_netcdf(table: FeatureTable, path: Path) -> None:
    """Write all that a table holds."""
    n, k = table.folds.shape
    with netcdf_file(path, "w", version=2) as file:
        file.feature_dims = json.dumps(["generated"])
        pairs = {label: value for label, value in zip(table.labels, table.values, strict=True) if label}
        whole = all(float(value).is_integer() for value in pairs.values())
        consistent = {table.values[i] == pairs[label] for i, label in enumerate(table.labels) if label}
        if pairs and whole and consistent == {True}:
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
        numbers_of = {name: float(i) for i, name in enumerate(_PARTITIONS)}
        partition = np.array([numbers_of.get(name, np.nan) for name in table.splits])
        for name, numbers in (
            ("chunk_nr", table.chunks.astype(np.float64)),
            ("label_numeric", table.values),
            ("partition", partition),
        ):
            is_whole = np.isfinite(numbers).all() and (numbers == np.rint(numbers)).all()
            kind = "i" if is_whole and (np.abs(numbers) < 2**31).all() else "d"
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
    """Read what :func:`write_netcdf` wrote, or the variables of auDeep from a file in either format."""
    with open(path, "rb") as raw:
        magic = raw.read(len(_HDF5))
    variables = _read_hdf5(path) if magic == _HDF5 else _read_classic(path)
    missing = [name for name in ("filename", "features") if name not in variables]
    if missing:
        raise FeatureTableError(f"{path}: no variable {', '.join(missing)}; it has {', '.join(variables)}")
    ids = _text(variables["filename"])
    features = variables["features"].astype(np.float64).reshape(len(ids), -1)

    def text(name: str) -> tuple[str, ...]:
        return _text(variables[name]) if name in variables else ()

    def numbers(name: str) -> NDArray[np.float64]:
        values = variables[name].astype(np.float64) if name in variables else np.zeros(0)
        return np.where(values == MISSING_NUMBER, np.nan, values)

    partition = numbers("partition")
    if not np.isin(partition[~np.isnan(partition)], range(len(_PARTITIONS))).all():
        raise FeatureTableError(f"{path}: partition holds something else than 0, 1 and 2")
    splits = text("split") or tuple("" if np.isnan(i) else _PARTITIONS[int(i)] for i in partition)
    folds = variables["cv_folds"].astype(np.int64) if "cv_folds" in variables else np.zeros((len(ids), 0), int)
    labels = tuple("" if label in MISSING_TEXT else label for label in text("label_nominal"))
    chunks = numbers("chunk_nr")
    if not (np.abs(chunks) < 2**53).all() or (chunks % 1).any():
        raise FeatureTableError(f"{path}: chunk_nr holds something else than whole numbers")
    names = text("feature_names")
    return FeatureTable(
        ids,
        features,
        names,
        labels,
        numbers("label_numeric"),
        splits,
        text("group"),
        chunks.astype(np.int64),
        folds if len(folds) == len(ids) else np.zeros((len(ids), 0), dtype=np.int64),
    )


def _read_classic(path: Path) -> dict[str, NDArray[Any]]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # of memory maps, which are not used here
            # From memory, where asking for more bytes than there are makes no room for them.
            file = netcdf_file(io.BytesIO(read_bounded(path, _MOST_BYTES)), "r", mmap=False)
    except (TypeError, ValueError, EOFError, IndexError) as error:
        raise FeatureTableError(f"{path}: not a netCDF file, or not all of one ({error})") from None
    return {name: np.array(variable[:]) for name, variable in file.variables.items()}


def _read_hdf5(path: Path) -> dict[str, NDArray[Any]]:
    try:
        import h5py
    except ImportError:
        raise FeatureTableError(
            f"{path}: netCDF-4, which is HDF5 and needs h5py; install it (pip install h5py), or export the file as CSV "
            "or ARFF with `audeep export`"
        ) from None
    try:
        check_hdf5(path)
        with h5py.File(path, "r") as file:
            _check_sizes(h5py, path, file)
            # A dimension without values is a data set too, one that says so in its name.
            return {
                name: item.asstr()[:] if h5py.check_string_dtype(item.dtype) and item.dtype.kind == "O" else item[:]
                for name, item in file.items()
                if isinstance(item, h5py.Dataset) and not bytes(item.attrs.get("NAME", b"")).startswith(_NO_VARIABLE)
            }
    except FeatureTableError:
        raise
    except (OSError, RuntimeError, ValueError) as error:
        raise FeatureTableError(f"{path}: not a netCDF file, or not all of one ({error})") from None


def _check_sizes(h5py: Any, path: Path, file: Any) -> None:
    """Refuse variables in other files, and those that claim more values than a file of this size can hold."""
    limit = sample_limit(path.stat().st_size)
    for name in file:
        if not isinstance(file.get(name, getlink=True), h5py.HardLink):
            raise FeatureTableError(f"{path}: the variable {name} is a link; only this file is read")
        item = file[name]
        if isinstance(item, h5py.Dataset) and (item.external or item.is_virtual):
            raise FeatureTableError(f"{path}: the values of {name} lie in other files; only this one is read")
        if isinstance(item, h5py.Dataset) and item.size is not None and item.size * item.dtype.itemsize > 8 * limit:
            raise FeatureTableError(f"{path}: {name} claims {item.size} values, more than a file of this size can hold")


def _text(values: NDArray[Any]) -> tuple[str, ...]:
    """Texts, stored as such, or as a row of characters each."""
    if values.dtype.kind == "O":
        return tuple(map(str, values))
    joined = np.ascontiguousarray(values).view(f"S{values.shape[-1]}").reshape(len(values))
    return tuple(value.decode() for value in joined)
