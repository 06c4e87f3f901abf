"""What commands print.

Book page: commands.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from audioattn_lib.batch.processes import is_main_process

if TYPE_CHECKING:
    from audioattn_lib.training.run_directory import Run

__all__ = ["describe_scores", "show_encoder", "show_progress", "show_run"]

_MOST_SCORES = 6


def show_progress() -> None:
    """Let the library's messages about its progress appear; on a terminal, its bars say the same.

    Of the processes that torchrun started, the first one tells.
    """
    log = logging.getLogger("audioattn")
    if not log.handlers:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("%(message)s"))
        log.addHandler(handler)
    level = logging.WARNING if sys.stderr.isatty() else logging.INFO
    log.setLevel(level if is_main_process() else logging.ERROR)


def show_run(run: Run) -> None:
    """Print where a run is and its first scores; the first of the processes that torchrun started does."""
    if is_main_process():
        click.echo(f"{run.path}: {describe_scores(run.metrics)}")


def show_encoder(path: Path) -> None:
    """Print where the network of a regression is, and what can be done with it."""
    if is_main_process():
        click.echo(f"{path}: its autoencoder; audioattn features extract {path} CORPUS features.csv")


def describe_scores(metrics: dict[str, Any]) -> str:
    """The first scores that are numbers, on one line."""
    shares = [(name, value) for name, value in metrics.items() if isinstance(value, float)]
    return ", ".join(f"{name} {value:.3f}" for name, value in shares[:_MOST_SCORES]) or "no scores"
