"""Terminal output of the commands.

Book page: commands.
"""

from __future__ import annotations

import logging
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from audioattn_lib.core.ranks import is_main_process

if TYPE_CHECKING:
    from audioattn_lib.training.run_directory import Run

__all__ = ["describe_scores", "end_with_failures", "show_encoder", "show_progress", "show_run", "show_runs"]

_MOST_SCORES = 6


def show_progress() -> None:
    """Show log messages of the library where there is no terminal with progress bars.

    Of the processes that torchrun started, the first one tells.
    """
    log = logging.getLogger("audioattn")
    if not log.handlers:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("%(message)s"))
        log.addHandler(handler)
    level = logging.WARNING if sys.stderr.isatty() else logging.INFO
    log.setLevel(level if is_main_process() else logging.ERROR)


def end_with_failures(reasons: Sequence[str], count: int, verb: str) -> None:
    """Name the sounds out of ``count`` that failed, and end with exit code 1; do nothing without any."""
    if reasons:
        click.echo(f"{len(reasons)} of {count} sounds could not be {verb}:", err=True)
        for reason in reasons:
            click.echo(f"  {reason}", err=True)
        raise click.exceptions.Exit(1)


def show_run(run: Run) -> None:
    """Print where a run is, its model and its scores, the main one first.

    The first of the processes that torchrun started does.
    """
    if is_main_process():
        from audioattn_lib.training.run_list import describe_run

        click.echo(f"{run.path}: {describe_run(run)}")


def show_encoder(path: Path) -> None:
    """Print the path of the network of a regression, and commands for it."""
    if is_main_process():
        click.echo(f"{path}: its autoencoder; audioattn features extract {path} CORPUS features.csv")


def show_runs(runs: Sequence[Run], configs: Sequence[Any], shown: Sequence[str]) -> None:
    """Print each of several runs with the fields ``shown``, then mean and deviation over the folds of each other value.

    The first of the processes that torchrun started does.
    """
    if not is_main_process():
        return
    others = [name for name in shown if name != "fold"]
    groups: dict[str, list[dict[str, Any]]] = {}
    for run, config in zip(runs, configs, strict=True):
        called = ", ".join(str(getattr(config, name)) for name in others)
        fold = f"fold {run.config['fold']}, " if "fold" in shown else ""
        click.echo(f"{fold}{called}: {describe_scores(run.metrics)} ({run.path})")
        groups.setdefault(called, []).append(run.metrics)
    for called, metrics in groups.items():
        if "fold" in shown and len(metrics) > 1:
            click.echo(f"{called}, mean and standard deviation over {len(metrics)} folds: {_describe_several(metrics)}")


def _describe_several(metrics: Sequence[dict[str, Any]]) -> str:
    names = [name for name, value in metrics[0].items() if isinstance(value, float)][:_MOST_SCORES]
    values = {name: [scores[name] for scores in metrics if isinstance(scores.get(name), float)] for name in names}
    return ", ".join(
        f"{name} {statistics.mean(numbers):.3f} +- {statistics.stdev(numbers):.3f}"
        for name, numbers in values.items()
        if len(numbers) == len(metrics)
    )


def describe_scores(metrics: dict[str, Any]) -> str:
    """The first scores that are numbers, on one line."""
    shares = [(name, value) for name, value in metrics.items() if isinstance(value, float)]
    return ", ".join(f"{name} {value:.3f}" for name, value in shares[:_MOST_SCORES]) or "no scores"
