"""Shared code of synthetic corpora: options by name, random generators by name, atomic creation of folders.

Book page: ``data``.
"""

from __future__ import annotations

import csv
import logging
import os
import secrets
import shutil
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.random import Generator

from audioattn_lib.audio import io
from audioattn_lib.automation.key import key, source_hash
from audioattn_lib.core.declarations import shorten
from audioattn_lib.core.errors import ConfigError
from audioattn_lib.core.files import owner, sync, write_whole

from ..files import cache_directory, exclusive, explain_storage
from ..progress import progress_bar
from .acoustics import RATE, Sound

__all__ = [
    "CorpusOptions",
    "event_columns",
    "generate",
    "join",
    "make_once",
    "random_numbers",
    "require_range",
    "require_whole",
    "write_clips",
    "write_rows",
]

log = logging.getLogger("audioattn")


@dataclass(frozen=True)
class CorpusOptions:
    """Base of the options of a synthetic corpus.

    Attributes
    ----------
    corpus
        Name of the corpus.
    """

    corpus: ClassVar[str]

    @classmethod
    def parse(cls, **options: Any) -> Self:
        """Options from keyword arguments.

        Raises
        ------
        ConfigError
            When an option is unknown; the message lists those there are.
        """
        names = [field.name for field in fields(cls)]
        unknown = [name for name in options if name not in names]
        if unknown:
            raise ConfigError(f"{cls.corpus} has no option {', '.join(unknown)}; it has {', '.join(names)}")
        return cls(**options)

    def n_clips(self) -> int:
        """Number of clips, for the progress bar."""
        raise NotImplementedError

    def rows(self) -> Iterator[tuple[Sound, dict[str, object]]]:
        """Samples of every clip, and its row of the manifest, whose ``file_name`` lies in ``audio/``."""
        raise NotImplementedError


def generate(options: CorpusOptions, cache: str | Path | None = None, *, progress: bool = True) -> Path:
    """Make a synthetic corpus, or find it where it was made before.

    Parameters
    ----------
    options
        Of the corpus, such as :class:`~audioattn_lib.data.synthetic.city.CityOptions`.
    cache
        Where corpora are kept; the cache of the library by default.
    progress
        Show a bar where a person watches.

    Returns
    -------
    Path
        Folder with ``metadata.csv`` and ``audio/``. It appears whole or not at all; a killed process leaves nothing
        that looks like a corpus.

    Raises
    ------
    StoreError
        When the disk is full or the cache cannot be written.

    Notes
    -----
    Book page: ``data``.
    """

    def write(folder: Path) -> None:
        write_clips(folder, options.corpus, options.n_clips(), options.rows(), progress=progress)

    return make_once(options.corpus, options, type(options).__module__, cache, write)


def require_whole(options: object, **least: int) -> None:
    """Check that each named field is a whole number of at least the given value."""
    for name, lowest in least.items():
        value = getattr(options, name)
        if not isinstance(value, int) or isinstance(value, bool):
            raise ConfigError(f"{name} is {shorten(value)}; it must be a whole number")
        if value < lowest:
            raise ConfigError(f"{name} is {value}; it must be at least {lowest}")


def require_range(options: object, name: str, lowest: float, highest: float, unit: str) -> None:
    """Check that a field is two numbers, the lower first, within bounds; convert it to a tuple of floats."""
    bounds = getattr(options, name)
    numbers = isinstance(bounds, (tuple, list)) and all(
        isinstance(bound, (int, float)) and not isinstance(bound, bool) for bound in bounds
    )
    if not numbers or len(bounds) != 2 or not lowest <= bounds[0] <= bounds[1] <= highest:
        raise ConfigError(
            f"{name} is {shorten(bounds)}; it must be two {unit}, the lower first, within {lowest:g} to {highest:g}"
        )
    object.__setattr__(options, name, (float(bounds[0]), float(bounds[1])))


def random_numbers(seed: int, *names: str | int) -> Generator:
    """Independent random numbers for everything that has a name."""
    return np.random.default_rng([seed, *(zlib.crc32(str(name).encode()) for name in names)])


def make_once(corpus: str, options: Any, module: str, cache: str | Path | None, write: Callable[[Path], None]) -> Path:
    """Return the folder of a synthetic corpus, made by ``write(folder)`` if it does not exist.

    Other options, or other source of the module that makes it, give another folder.
    """
    parent = (Path(cache) if cache is not None else cache_directory()) / "corpora"
    name = key({"options": asdict(options), "source": source_hash(module)})
    target = parent / f"{corpus}-{name}"
    if _is_whole(target):
        return target
    work: Path | None = None
    try:
        with exclusive(parent / f".{corpus}-{name}.lock") as is_exclusive:
            if _is_whole(target):
                return target
            for left in parent.glob(f".{corpus}-{name}-*") if is_exclusive else ():  # what killed processes left
                shutil.rmtree(left, ignore_errors=True)
            work = parent / f".{corpus}-{name}-{owner()}-{secrets.token_hex(4)}"
            work.mkdir()
            write(work)
            sync()
            if target.is_dir():
                log.warning("%s lacks sounds; it is made again", target)
                os.replace(target, parent / f".{corpus}-{name}-{owner()}-{secrets.token_hex(4)}.old")
            os.replace(work, target)
            for left in parent.glob(f".{corpus}-{name}-*.old"):
                shutil.rmtree(left, ignore_errors=True)
    except OSError as error:
        if _is_whole(target):  # another process was first, where folders cannot be locked
            return target
        raise explain_storage(parent, error, "nothing half-made is left") from error
    finally:
        if work is not None:
            shutil.rmtree(work, ignore_errors=True)
    return target


def _is_whole(folder: Path) -> bool:
    """Return True if every sound file of the table exists and none is empty."""
    try:
        with open(folder / "metadata.csv", encoding="utf-8", newline="") as file:
            return all((folder / row["file_name"]).stat().st_size for row in csv.DictReader(file))
    except (FileNotFoundError, NotADirectoryError):
        return False


def write_clips(
    folder: Path, corpus: str, total: int, clips: Iterable[tuple[Sound, dict[str, object]]], *, progress: bool
) -> None:
    """Write the clips and ``metadata.csv``, with a row for each.

    Parameters
    ----------
    folder
        Empty.
    corpus
        Name of the corpus, for the log and the progress bar.
    total
        How many clips there are.
    clips
        Samples of each clip and its row of the manifest, whose ``file_name`` lies in ``audio/``.
    progress
        Show a bar where a person watches.
    """
    (folder / "audio").mkdir()
    rows = []
    log.info("making the synthetic %s: %d clips", corpus, total)
    with progress_bar(f"synthetic {corpus}", total, shown=progress) as bar:
        for samples, row in clips:
            io.write(folder / str(row["file_name"]), samples, RATE, durable=False)
            rows.append(row)
            bar.advance()
    write_rows(folder / "metadata.csv", rows)


def write_rows(path: Path, rows: Sequence[dict[str, object]]) -> None:
    """Write a table as CSV, at least one row, whole or not at all."""
    with write_whole(path) as table, open(table, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def event_columns(kind: str, events: Sequence[tuple[str, float, float]]) -> dict[str, object]:
    """Columns of the manifest for events ``(name, onset, offset)`` in seconds, of a kind such as ``"event"``."""
    return {
        f"{kind}_labels": ";".join(event[0] for event in events),
        f"{kind}_onsets": join([event[1] for event in events]),
        f"{kind}_offsets": join([event[2] for event in events]),
    }


def join(values: Sequence[float]) -> str:
    """Seconds as one value of a table, to the millisecond."""
    return ";".join(f"{value:.3f}" for value in values)
