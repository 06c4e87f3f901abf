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

from ..errors import AudioError

__all__ = ["DEFAULT_RATE", "Dataset", "locate", "open_sound"]

DEFAULT_RATE = 24_000
"""Hertz of arrays that do not say theirs: those of EPIC-KITCHENS are made so."""

_SUFFIXES = (".hdf5", ".h5")


def locate(path: str | Path) -> tuple[Path, str] | None:
    """The HDF5 file of a path and the name in it; None for a path that goes through no such file."""
    path = Path(path)
    for parent in path.parents:
        if parent.suffix.lower() in _SUFFIXES and parent.is_file():
            return parent, path.relative_to(parent).as_posix()
    return None


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
        samples = np.asarray(self._array[first:last], dtype=np.float32)
        return (samples * np.float32(self._scale) if self._scale != 1.0 else samples)[:, None]


@contextlib.contextmanager
def open_sound(container: Path, name: str) -> Iterator[Dataset]:
    """Open one sound of a file.

    Raises
    ------
    AudioError
        When h5py is not installed, the file is none, it has no such array, or the array is no sound.

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
        file = h5py.File(container, "r")
    except OSError as error:
        raise AudioError(f"{container}: no readable HDF5 file ({error}); fetch it again") from None
    with file:
        array = file.get(name)
        if array is None:
            some = ", ".join(list(file)[:3]) or "nothing"
            raise AudioError(f"{container}: has no sound {name}; it holds {some} and {max(len(file) - 3, 0)} more")
        if not isinstance(array, h5py.Dataset) or len(array.shape) != 1 or array.dtype.kind not in "fi":
            raise AudioError(f"{container}: {name} is no array of samples in one dimension")
        rate = array.attrs.get("sample_rate", file.attrs.get("sample_rate", DEFAULT_RATE))
        yield Dataset(array, int(rate))
