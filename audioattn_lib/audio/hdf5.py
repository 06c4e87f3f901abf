"""Sounds inside one HDF5 file: a one-dimensional array for each, addressed as ``file.hdf5/name``.

:mod:`audioattn_lib.audio.io` reads such paths as it reads files, so a corpus
that is distributed like this needs no unpacking. ``h5py`` is an extra of the
installation, asked for when such a path is read.

Book page: ``data``.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.errors import AudioError
from .containers import sample_limit
from .hdf5_guard import check_hdf5

__all__ = ["DEFAULT_RATE", "Dataset", "locate", "open_sound"]

DEFAULT_RATE = 24_000
"""Default sample rate of arrays in hertz, that of EPIC-KITCHENS."""

_HIGHEST_RATE = 2**31 - 1
_SUFFIXES = (".hdf5", ".h5")


def locate(path: str | Path) -> tuple[Path, str] | None:
    """The HDF5 file of a path and the name in it; None for a path that goes through no such file."""
    if not any(suffix in str(path).lower() for suffix in _SUFFIXES):  # of most paths, which are many
        return None
    path = Path(path)
    for parent in path.parents:
        if parent.suffix.lower() in _SUFFIXES and _is_file(parent):
            return parent, path.relative_to(parent).as_posix()
    return None


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # of a name that is too long for one
        return False


class Dataset:
    """An open sound.

    Parameters
    ----------
    array
        Dataset of h5py.
    sample_rate
        Hertz.
    """

    def __init__(self, array: Any, sample_rate: int) -> None:
        self._array = array
        self.sample_rate = sample_rate
        self.frames = int(array.shape[0])
        self.format = f"HDF5 {array.dtype}"
        self._scale = 1.0 if array.dtype.kind == "f" else 1.0 / (np.iinfo(array.dtype).max + 1.0)

    def read(self, first: int = 0, count: int | None = None) -> NDArray[np.float32]:
        """Samples ``(n, 1)`` from ``first`` on; whole numbers are divided by their largest."""
        last = self.frames if count is None else first + count
        with np.errstate(over="ignore"):  # of float64: what becomes infinite is found by whoever reads it
            samples = np.asarray(self._array[first:last], dtype=np.float32)
        return (samples * np.float32(self._scale) if self._scale != 1.0 else samples)[:, None]


@contextlib.contextmanager
def open_sound(container: Path, name: str) -> Iterator[Dataset]:
    """Open one sound of a file.

    Raises
    ------
    AudioError
        When h5py is not installed, the file is none, it has no such array, or the array is no sound; while the block
        runs, when its samples cannot be read.

    Notes
    -----
    The rate is the attribute ``sample_rate`` of the array or the file, else
    :data:`DEFAULT_RATE`. Book page: ``data``.
    """
    try:
        import h5py
    except ImportError:
        raise AudioError(
            f"{container}: reading HDF5 needs h5py, which is not installed; install it with pip install h5py"
        ) from None
    try:
        check_hdf5(container)
        with h5py.File(container, "r") as file:
            yield _find(h5py, file, container, name)
    except AudioError:
        raise
    except (OSError, RuntimeError, ValueError, KeyError, TypeError) as error:  # h5py raises them all on damage
        raise AudioError(
            f"{container}: no readable HDF5 file, or {name} is damaged ({error}); fetch it again"
        ) from None


def _find(h5py: Any, file: Any, container: Path, name: str) -> Dataset:
    way = name.split("/")
    for depth in range(1, len(way) + 1):
        link = file.get("/".join(way[:depth]), getlink=True)
        if isinstance(link, h5py.ExternalLink):
            raise AudioError(f"{container}: {name} lies in another file, {link.filename!r}; only this one is read")
    array = file.get(name)
    if array is None:
        some = ", ".join(list(file)[:3]) or "nothing"
        raise AudioError(f"{container}: has no sound {name}; it holds {some} and {max(len(file) - 3, 0)} more")
    is_array = isinstance(array, h5py.Dataset) and array.shape is not None
    if not is_array or len(array.shape) != 1 or array.dtype.kind not in "fi":
        raise AudioError(f"{container}: {name} is no array of samples in one dimension")
    if array.external or array.is_virtual:
        raise AudioError(f"{container}: the samples of {name} lie in other files; only this one is read")
    limit = sample_limit(container.stat().st_size)
    if array.shape[0] > limit:
        raise AudioError(f"{container}: {name} claims {array.shape[0]} samples, a file of this size at most {limit}")
    rate = array.attrs.get("sample_rate", file.attrs.get("sample_rate", DEFAULT_RATE))
    if not _is_rate(rate):
        raise AudioError(
            f"{container}: the attribute sample_rate of {name} is {rate!r}; it must be a whole number of hertz, 1 to "
            f"{_HIGHEST_RATE}"
        )
    return Dataset(array, int(rate))


def _is_rate(value: Any) -> bool:
    return (
        np.ndim(value) == 0 and np.asarray(value).dtype.kind in "iuf" and 1 <= value <= _HIGHEST_RATE and value % 1 == 0
    )
