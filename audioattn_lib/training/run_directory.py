"""One run, one directory: everything a run was, read back without training.

``runs/<experiment>/<key>/`` holds ``config.json``, ``environment.json``,
``history.csv``, ``metrics.json``, ``predictions.csv``, ``attention.npz`` and
``attention.csv``, ``curves.npz``, ``checkpoint/``, ``tensorboard/``, ``figures/`` and
``audio/``. Every file appears whole or not at all: it is written beside its
place and moved there. ``metrics.json`` is written last, so its presence says
that the run is complete. No pickles are written or read.
"""

from __future__ import annotations

import errno
import json
import platform
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..attention.record.record import AttentionRecord, load_arrays
from ..core.errors import RunError
from ..core.files import explain, parse_json, read_bounded, remove_leftovers, write_whole
from ..core.ranks import rank_info

if TYPE_CHECKING:
    from ..evaluation.attention.faithfulness import PerturbationCurve

__all__ = ["READ", "Run", "RunDirectory", "describe_environment", "read_json"]

READ: set[tuple[str, str]] = set()
"""Experiment and key of the runs whose results were read since it was emptied: what is shown then is of them."""

_RESULTS = frozenset({"path", "history", "metrics", "predictions", "attention", "curves"})

_CURVE = ("fractions", "attention", "uniform", "random")
_PACKAGES = ("torch", "torchaudio", "numpy", "scipy", "scikit-learn", "entmax", "soundfile", "soxr")


@contextmanager
def write_atomically(path: Path) -> Iterator[Path]:
    """As :func:`~audioattn_lib.core.files.write_whole`; a disk that is full or fails is a :class:`RunError`."""
    try:
        with write_whole(path) as temporary:
            yield temporary
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise RunError(
                f"{path}: the disk is full; what was saved before is intact. Free some space and start the same "
                "run again: it continues from its last checkpoint"
            ) from error
        raise RunError(
            f"{path}: cannot be written ({error.strerror}); what was saved before is intact. Look at the disk and "
            "start the same run again: it continues from its last checkpoint"
        ) from error


def describe_environment(device: str, data_hash: str) -> dict[str, Any]:
    """Versions, device, number of processes, git commit and data hash that a run was made with."""
    versions: dict[str, str | None] = {}
    for package in _PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = None
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "device": device,
        "processes": rank_info().world_size,
        "packages": versions,
        "git_commit": _git_commit(),
        "data": data_hash,
    }


def _git_commit() -> str | None:
    """Commit of the checkout the library runs from; None when it is installed without one."""
    try:
        process = subprocess.run(
            ["git", "rev-parse", "HEAD"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            timeout=5,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return process.stdout.strip() or None


@dataclass(frozen=True)
class RunDirectory:
    """Writes the files of one run, each whole or not at all.

    Parameters
    ----------
    path
        ``runs/<experiment>/<key>``; made when it does not exist.
    """

    path: Path

    def __post_init__(self) -> None:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(f"{self.path}: cannot make the run directory ({error.strerror})") from error

    def remove_leftovers(self) -> None:
        """Remove the unfinished files of killed processes."""
        for folder in (self.path, self.path / "checkpoint"):
            remove_leftovers(folder)

    @property
    def is_complete(self) -> bool:
        """True when the run was finished: its metrics are there."""
        return (self.path / "metrics.json").is_file()

    def write_json(self, name: str, content: Mapping[str, Any]) -> None:
        """Write ``content`` as JSON; numbers that are not finite become ``null``."""
        with write_atomically(self.path / name) as temporary:
            temporary.write_text(json.dumps(to_plain(content), indent=2, allow_nan=False) + "\n", encoding="utf-8")

    def write_table(self, name: str, table: pd.DataFrame) -> None:
        """Write a table as CSV without its index."""
        with write_atomically(self.path / name) as temporary:
            table.to_csv(temporary, index=False)

    def write_curves(self, curves: Mapping[str, PerturbationCurve]) -> None:
        """Write deletion and insertion curves by kind to ``curves.npz``."""
        arrays = {f"{kind}_{name}": getattr(curve, name) for kind, curve in curves.items() for name in _CURVE}
        with write_atomically(self.path / "curves.npz") as temporary:
            np.savez_compressed(temporary, **arrays)


@dataclass(frozen=True, repr=False)
class Run:
    """A finished run, read back from its directory.

    Parameters
    ----------
    path
        The run directory.
    config, environment, metrics
        Content of the JSON files of these names.
    history
        One row an epoch: ``epoch``, ``step``, ``learning_rate``, losses, scores, throughput.
    predictions
        One row a clip that was predicted: ``clip``, ``split``, ``label``, ``predicted``, ``loss`` and one
        ``probability_<class>`` a class.
    """

    path: Path
    config: dict[str, Any]
    environment: dict[str, Any]
    metrics: dict[str, Any]
    history: pd.DataFrame
    predictions: pd.DataFrame

    @classmethod
    def load(cls, path: str | Path) -> Run:
        """Read a run; a :class:`RunError` names what is missing or damaged."""
        path = Path(path)
        if not path.is_dir():
            raise RunError(f"{path}: no such run directory")
        if not (path / "metrics.json").is_file():
            raise RunError(f"{path}: the run is not finished (no metrics.json); start it again to continue it")
        history = path / "history.csv"
        return cls(
            path,
            read_json(path / "config.json"),
            read_json(path / "environment.json"),
            read_json(path / "metrics.json"),
            _read_table(history) if history.is_file() else pd.DataFrame(),
            _read_predictions(path / "predictions.csv"),
        )

    def __getattribute__(self, name: str) -> Any:
        if name in _RESULTS:
            path = object.__getattribute__(self, "path")
            READ.add((path.parent.name, path.name))
        return object.__getattribute__(self, name)

    @property
    def key(self) -> str:
        """The identity of the run: the name of its directory."""
        return str(object.__getattribute__(self, "path").name)

    @property
    def experiment(self) -> str:
        """The experiment it belongs to."""
        return str(object.__getattribute__(self, "path").parent.name)

    @cached_property
    def attention(self) -> AttentionRecord:
        """Attention record of the test clips; empty for a model without attention."""
        file = self.path / "attention.npz"
        return AttentionRecord.load(file) if file.is_file() else AttentionRecord.empty()

    @cached_property
    def curves(self) -> dict[str, PerturbationCurve]:
        """Deletion and insertion curves of the test clips by kind."""
        from ..evaluation.attention.perturbation import PerturbationCurve  # imports torch, and reading a run needs none

        file = self.path / "curves.npz"
        try:
            arrays = load_arrays(file)
            kinds = sorted({name.partition("_")[0] for name in arrays})
            return {kind: PerturbationCurve(kind, *(arrays[f"{kind}_{name}"] for name in _CURVE)) for kind in kinds}
        except FileNotFoundError:
            raise RunError(f"{file}: missing; this run has no deletion and insertion curves") from None
        except Exception as error:  # numpy and zipfile raise a dozen kinds for a damaged archive
            raise RunError(f"{file}: not readable ({error}); delete the run directory and run again") from error

    @property
    def classes(self) -> list[str]:
        """Names of the classes in the order of the model's outputs."""
        prefix = "probability_"
        return [str(c)[len(prefix) :] for c in self.predictions.columns if str(c).startswith(prefix)]

    def __repr__(self) -> str:
        from .run_list import headline, model_name

        score = headline(self.metrics)
        return f"Run({str(self.path)!r}: {model_name(self.experiment, self.config)}, {score or 'no scores'})"

    def _repr_html_(self) -> str:
        """The run as a page shows it: scores open, settings and environment closed."""
        from html import escape

        scores = {name: value for name, value in self.metrics.items() if isinstance(value, (int, float))}
        parts = [f"<p><b>{escape(repr(self))}</b></p>"]
        for title, content, is_open in (
            ("Scores", scores, True),
            ("Settings", self.config, False),
            ("Environment", self.environment, False),
        ):
            rows = "".join(
                f"<tr><th>{escape(str(name))}</th><td>{escape(_short(value))}</td></tr>"
                for name, value in content.items()
            )
            mark = " open" if is_open else ""
            parts.append(f"<details{mark}><summary>{title}</summary><table>{rows}</table></details>")
        return f'<div class="mathjax_ignore">{"".join(parts)}</div>'

    def __getitem__(self, name: str) -> Any:
        """A metric by name."""
        try:
            return self.metrics[name]
        except KeyError:
            raise KeyError(f"no metric {name!r} in {self.path}; there are {', '.join(self.metrics)}") from None

    def summary(self) -> dict[str, Any]:
        """Return the data that a sweep and a page collect: experiment, key, path, commit, configuration and metrics."""
        return {
            "experiment": self.experiment,
            "key": self.key,
            "path": str(self.path),
            "commit": self.environment.get("git_commit"),
            "config": self.config,
            "metrics": self.metrics,
        }


def _short(value: Any, most: int = 120) -> str:
    """A value of a table: numbers with four digits, nested and long ones cut."""
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return text if len(text) <= most else f"{text[:most]}\N{HORIZONTAL ELLIPSIS}"


_AGAIN = "delete the run directory and run again"
_INCOMPLETE = "the run directory is incomplete, delete it and run again"


def read_json(path: Path, cure: str = "") -> dict[str, Any]:
    """Read an object; a :class:`RunError` names the file that is missing or damaged, and the cure.

    By default the file is one of a run directory, and the cure to run again.
    """
    try:
        content = parse_json(read_bounded(path))
    except FileNotFoundError:
        raise RunError(f"{path}: missing; {cure or _INCOMPLETE}") from None
    except (ValueError, OSError) as error:
        raise RunError(f"{path}: not readable ({explain(error)}); {cure or _AGAIN}") from error
    if not isinstance(content, dict):
        raise RunError(f"{path}: holds {type(content).__name__}, not an object; {cure or _AGAIN}")
    return content


def _read_table(path: Path, names: Sequence[str] = ()) -> pd.DataFrame:
    try:
        # Labels and clips such as "NA", "007" and "none" are names, not numbers or missing values.
        return pd.read_csv(path, dtype=dict.fromkeys(names, str), keep_default_na=not names)
    except FileNotFoundError:
        raise RunError(f"{path}: missing; {_INCOMPLETE}") from None
    except Exception as error:  # the parser has errors, and warnings, of its own
        raise RunError(f"{path}: not readable ({error}); {_AGAIN}") from error


def _read_predictions(path: Path) -> pd.DataFrame:
    """Each clip once in each split, with numbers where numbers are."""
    table = _read_table(path, names=("clip", "label", "predicted", "split"))
    if "clip" not in table or not len(table):
        fault = "has no row" if "clip" in table else f"has no column clip, but {', '.join(map(str, table))[:200]}"
        raise RunError(f"{path}: {fault}; {_AGAIN}")
    repeated = table.duplicated([name for name in ("clip", "split") if name in table])
    if repeated.any():
        raise RunError(f"{path}: the clip {table['clip'][repeated.idxmax()]!r} is predicted twice; {_AGAIN}")
    for name in table.columns:
        is_number = str(name).startswith("probability_") or name in ("loss", "rounded")
        if is_number and table[name].dtype.kind not in "fi":
            raise RunError(f"{path}: the column {name} holds something else than numbers; {_AGAIN}")
    return table


def to_plain(value: Any) -> Any:
    """Convert a value to JSON types; numbers that are not finite become None."""
    if isinstance(value, Mapping):
        return {str(name): to_plain(item) for name, item in value.items()}
    if isinstance(value, np.ndarray):
        return to_plain(value.tolist())
    if isinstance(value, (list, tuple)):
        return [to_plain(item) for item in value]
    if isinstance(value, (bool, str)) or value is None:
        return value
    if isinstance(value, (int, np.integer)):
        return int(value)
    if isinstance(value, (float, np.floating)):
        return float(value) if np.isfinite(value) else None
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{value!r} of type {type(value).__name__} cannot be written as JSON")
