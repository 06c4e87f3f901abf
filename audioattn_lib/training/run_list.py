"""Finished runs as a list: the model of each, its main score, and the baseline and chance beside it.

Reads the files of run directories alone, and imports neither PyTorch nor an experiment.

Book page: commands.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..core.errors import ConfigError, RunError
from .run_directory import Run, read_json, to_plain

__all__ = [
    "Headline",
    "RunSummary",
    "baseline_of",
    "chance_of",
    "describe_run",
    "headline",
    "is_baseline",
    "list_runs",
    "model_name",
    "same_test",
]

#: The field of the configuration that names the model, by experiment; a test compares them with the chapters.
MODEL_FIELDS: Mapping[str, str] = {
    "urban_sound": "attention",
    "sleepiness": "system",
    "accents": "pooling",
    "scenes_and_instruments": "pattern",
    "playback": "selection",
}


@dataclass(frozen=True)
class Headline:
    """The main score of a run.

    Parameters
    ----------
    name
        Such as ``accuracy``.
    value, low, high
        The score, and the ends of its interval; NaN where there is none.
    """

    name: str
    value: float
    low: float = math.nan
    high: float = math.nan

    def __str__(self) -> str:
        interval = f" [{self.low:.3f}, {self.high:.3f}]" if math.isfinite(self.low + self.high) else ""
        return f"{self.name} {self.value:.3f}{interval}"


def headline(metrics: Mapping[str, Any]) -> Headline | None:
    """The main score: what the interval of a classifier is of, rank correlation, or the first score; or None.

    Notes
    -----
    Book page: commands.
    """
    interval = metrics.get("interval")
    name = str(interval.get("of")) if isinstance(interval, Mapping) else ""
    if isinstance(interval, Mapping) and _is_number(metrics.get(name)):
        return Headline(name, float(metrics[name]), _number(interval.get("low")), _number(interval.get("high")))
    intervals = metrics.get("intervals")
    if isinstance(intervals, Mapping) and _is_number(metrics.get("spearman")):
        spearman = intervals.get("spearman", {})
        return Headline(
            "spearman", float(metrics["spearman"]), _number(spearman.get("low")), _number(spearman.get("high"))
        )
    for name, value in metrics.items():
        if isinstance(value, float):
            return Headline(name, value)
    return None


def chance_of(metrics: Mapping[str, Any], labels: Sequence[str]) -> float | None:
    """The main score without listening, as the tables of the book have it.

    Of a class: the share of the most frequent class of the test clips. Of labels: the mean share of clips with each
    label, which is the average precision of a random order. Of a number: the rank correlation 0. None for what has no
    such score, such as an autoencoder.

    Parameters
    ----------
    metrics
        Of the run.
    labels
        Of its test clips, several of one clip joined by ``;``.

    Notes
    -----
    Book page: glossary.
    """
    score = headline(metrics)
    if score is None:
        return None
    if score.name == "spearman":
        return 0.0
    known_labels = [label for label in labels if label]
    if score.name == "accuracy" and known_labels:
        return float(pd.Series(known_labels).value_counts().iloc[0] / len(known_labels))
    if score.name == "mean_average_precision" and known_labels:
        return float(pd.Series(labels).str.get_dummies(";").mean().mean())
    return None


def is_baseline(config: Mapping[str, Any]) -> bool:
    """True for the configuration of a linear baseline."""
    return "baseline" in config or config.get("system") == "linear"


def model_name(experiment: str, config: Mapping[str, Any]) -> str:
    """Name of a run's model: the value that its chapter compares, or its kind."""
    if is_baseline(config):
        return f"{config.get('baseline', 'linear')} baseline"
    field = MODEL_FIELDS.get(experiment, "")
    if field in config:
        return str(config[field])
    if "network" in config:  # the first step of the sleepiness chapter
        return f"autoencoder {config['network']}"
    return f"encoder of {experiment}"


_OF_ITS_OWN = ("batch_size", "regressor", "system", "encoders", "baseline", "seed")


def same_test(config: Mapping[str, Any], baseline: Mapping[str, Any]) -> bool:
    """True where a baseline has the corpus and the test fold of a run: the fields that both have are equal."""
    shared = [name for name in baseline if name in config and name not in _OF_ITS_OWN]
    return is_baseline(baseline) and "data" in shared and all(config[name] == baseline[name] for name in shared)


@dataclass(frozen=True)
class RunSummary:
    """One row of the list of runs.

    Parameters
    ----------
    path, experiment, key
        Its directory, and the two last parts of that.
    model
        What it is a run of, see :func:`model_name`.
    data, fold, seed
        Of the configuration; empty where it has none.
    finished
        False where it has no scores yet.
    modified
        When its last file was written, seconds since 1970.
    score
        Its main score.
    error
        Why it cannot be read; empty otherwise.
    """

    path: Path
    experiment: str
    key: str
    model: str = ""
    data: str = ""
    fold: str = ""
    seed: str = ""
    finished: bool = False
    modified: float = 0.0
    score: Headline | None = None
    error: str = ""

    @property
    def status(self) -> str:
        """``finished``, ``unfinished`` or ``damaged``."""
        return "damaged" if self.error else "finished" if self.finished else "unfinished"

    def to_json(self) -> dict[str, Any]:
        """Plain values, for one line of JSON; NaN becomes None."""
        score = to_plain(None if self.score is None else asdict(self.score))
        plain = {k: v for k, v in asdict(self).items() if k not in ("path", "score", "finished")}
        return {"path": str(self.path), "status": self.status, **plain, "score": score}


def list_runs(root: str | Path, conditions: Sequence[str] = ()) -> list[RunSummary]:
    """The runs below a folder, the latest last.

    Parameters
    ----------
    root
        Folder of all runs, or of those of one experiment, or one run.
    conditions
        ``field=value`` each: those runs alone of which all hold. Fields are ``experiment``, ``model``, ``status``,
        ``key`` (its beginning is enough) and all of the configuration.

    Raises
    ------
    ConfigError
        When there is no such folder, or a condition is not ``field=value``.

    Notes
    -----
    Book page: commands.
    """
    root = Path(root)
    if not root.is_dir():
        raise ConfigError(f"{root}: no such folder of runs; train a model, or name the folder with --runs")
    conditions_by_field = {}
    for condition in conditions:
        name, equals, value = condition.partition("=")
        if not name or not equals:
            raise ConfigError(f"condition is {condition!r}; write field=value, such as attention=softmax or seed=1")
        conditions_by_field[name.strip().replace("-", "_")] = value.strip()
    runs = [run for path in _run_directories(root) if (run := _summarise(path, conditions_by_field)) is not None]
    return sorted(runs, key=lambda run: (run.modified, run.path))


def _run_directories(root: Path) -> Iterator[Path]:
    for pattern in ("config.json", "*/config.json", "*/*/config.json"):
        for file in sorted(root.glob(pattern)):
            if file.parent.name not in ("model", "checkpoint") and (file.parent / "environment.json").exists():
                yield file.parent


def _summarise(path: Path, conditions_by_field: Mapping[str, str]) -> RunSummary | None:
    """One row, or None where a condition does not hold."""
    resolved = path.resolve()
    experiment, config, metrics, error = resolved.parent.name, {}, {}, ""
    finished = (path / "metrics.json").is_file()
    try:
        config = read_json(path / "config.json")
        metrics = read_json(path / "metrics.json") if finished else {}
    except RunError as reason:
        error = str(reason)
    newest = path / ("metrics.json" if finished else "config.json")
    run = RunSummary(
        path=path,
        experiment=experiment,
        key=resolved.name,
        model=model_name(experiment, config) if config else "",
        data=str(config.get("data", "")),
        fold=str(config.get("fold", "")),
        seed=str(config.get("seed", "")),
        finished=finished,
        modified=newest.stat().st_mtime if newest.exists() else 0.0,
        score=headline(metrics),
        error=error,
    )
    fields = {**config, "experiment": experiment, "model": run.model, "status": run.status}
    for name, value in conditions_by_field.items():
        if name == "key":
            if not run.key.startswith(value):
                return None
        elif name not in fields or not _equal(fields[name], value):
            return None
    return run


def _equal(value: Any, text: str) -> bool:
    if isinstance(value, list):
        return ",".join(map(str, value)) == text.replace(" ", "")
    if _is_number(value):
        try:
            return float(value) == float(text)
        except ValueError:
            return False
    return str(value).lower() == text.lower()


def describe_run(run: Run | Mapping[str, Any], others: Sequence[Run | Mapping[str, Any]] = ()) -> str:
    """One line about a run: its model, its main score, then the baseline, chance and the other scores.

    Parameters
    ----------
    run
        A run, or the summary that a notebook shows of it.
    others
        Runs among which its baseline may be; by default those beside it.
    """
    summary = run.summary() if isinstance(run, Run) else run
    config, metrics, path = summary["config"], summary["metrics"], Path(summary["path"])
    score = headline(metrics)
    if score is None:
        return f"{model_name(summary['experiment'], config)}, no scores"
    parts = [model_name(summary["experiment"], config)]
    parts += [f"{name} {config[name]}" for name in ("fold", "seed") if config.get(name) not in (None, "", "first")]
    parts.append(str(score))
    if not is_baseline(config) and (baseline := _baseline(summary, others)) is not None:
        parts.append(f"{baseline[0]} {baseline[1].value:.3f}")
    labels = run.predictions["label"] if isinstance(run, Run) else _labels(path)
    chance = chance_of(metrics, [] if labels is None else list(labels.fillna("")))
    if chance is not None:
        parts.append(f"chance {chance:.3f}")
    more = [(name, value) for name, value in metrics.items() if isinstance(value, float) and name != score.name]
    hidden = ("error",)  # what accuracy lacks to 1
    parts += [f"{name} {value:.3f}" for name, value in more if name not in hidden][:_MOST_SCORES]
    return ", ".join(parts)


def baseline_of(
    run: Run | Mapping[str, Any], others: Sequence[Run | Mapping[str, Any]] = ()
) -> tuple[str, Headline] | None:
    """Name and main score of the linear baseline on the same clips, if there is one.

    Parameters
    ----------
    run, others
        As for :func:`describe_run`.

    Notes
    -----
    Book page: commands.
    """
    summary = run.summary() if isinstance(run, Run) else run
    return None if is_baseline(summary["config"]) else _baseline(summary, others)


_MOST_SCORES = 3


def _baseline(summary: Mapping[str, Any], others: Sequence[Run | Mapping[str, Any]]) -> tuple[str, Headline] | None:
    """Name and main score of the baseline on the same clips, if there is one; that of the same seed first."""
    score, config, path = headline(summary["metrics"]), summary["config"], Path(summary["path"])
    candidates: Iterator[Mapping[str, Any]] = _beside(path)
    if others:
        candidates = (run.summary() if isinstance(run, Run) else run for run in others)
    suitable = [other for other in candidates if same_test(config, other["config"])]
    for other in sorted(suitable, key=lambda other: other["config"].get("seed") != config.get("seed")):
        other_score = headline(other["metrics"])
        same = other["config"].get("seed") == config.get("seed") or _clips(Path(other["path"])) == _clips(path)
        if other_score is not None and score is not None and other_score.name == score.name and same:
            return model_name(summary["experiment"], other["config"]), other_score
    return None


def _beside(path: Path) -> Iterator[Mapping[str, Any]]:
    for file in sorted(path.parent.glob("*/metrics.json")):
        try:
            config = read_json(file.parent / "config.json")
            if is_baseline(config):
                yield {"config": config, "metrics": read_json(file), "path": str(file.parent)}
        except RunError:
            continue


def _labels(path: Path) -> pd.Series | None:
    return _column(path, "label")


def _clips(path: Path) -> set[str] | None:
    clips = _column(path, "clip")
    return None if clips is None else set(clips)


def _column(path: Path, name: str) -> pd.Series | None:
    try:
        return pd.read_csv(path / "predictions.csv", usecols=[name], dtype=str, keep_default_na=False)[name]
    except (OSError, ValueError):  # moved, or of a run that predicts nothing
        return None


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float, np.number)) and not isinstance(value, bool)


def _number(value: object) -> float:
    return float(value) if _is_number(value) else math.nan  # type: ignore[arg-type]
