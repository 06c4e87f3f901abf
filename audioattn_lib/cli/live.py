"""Live table of a sweep; without a terminal, one line a job.

Book page: commands.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table

if TYPE_CHECKING:
    from audioattn_lib.automation.grid import Grid
    from audioattn_lib.automation.sweep import Job

__all__ = ["SweepView"]

_SHOWN = 12
_STYLES = {"running": "bold", "done": "green", "kept": "dim", "failed": "red", "waiting": "dim"}


class SweepView:
    """Live display of the jobs of a sweep; pass :meth:`update` as its callback."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True)
        self._live = Live(console=self._console, auto_refresh=False, transient=False)
        self._told: set[str] = set()
        self._started = time.time()

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._console.is_terminal:
            self._live.stop()

    def update(self, grid: Grid, jobs: list[Job]) -> None:
        """Show the present state."""
        if self._console.is_terminal:
            self._live.update(self._table(grid, jobs), refresh=True)
            return
        for job in jobs:
            if job.status in ("done", "kept", "failed") and job.key not in self._told:
                self._told.add(job.key)
                self._console.print(
                    f"{len(self._told)}/{len(jobs)} {job.status} {_named(grid, job)} ({job.seconds:.0f} s)",
                    highlight=False,
                    soft_wrap=True,
                )

    def _table(self, grid: Grid, jobs: list[Job]) -> RenderableType:
        counts = {status: sum(job.status == status for job in jobs) for status in _STYLES}
        summary = ", ".join(f"{count} {status}" for status, count in counts.items() if count)
        table = Table(box=None, pad_edge=False)
        for name in (*grid.varying, "status", "time"):
            table.add_column(name, justify="right" if name == "time" else "left")
        ended = [job for job in jobs if job.status in ("done", "failed")]
        shown = [*ended[-_SHOWN:], *[job for job in jobs if job.status == "running"]]
        for job in shown:
            seconds = time.time() - job.started if job.status == "running" else job.seconds
            values = [str(job.parameters.get(name, "")) for name in grid.varying]
            table.add_row(*values, job.status, f"{seconds:.0f} s", style=_STYLES[job.status])
        return Group(f"{grid.name}: {summary}{self._left(jobs, ended)}", table)

    def _left(self, jobs: list[Job], ended: list[Job]) -> str:
        open_jobs = sum(job.status in ("waiting", "running") for job in jobs)
        if not ended or not open_jobs:
            return ""
        seconds = (time.time() - self._started) / len(ended) * open_jobs
        return f"; about {seconds / 60:.0f} min left" if seconds > 90 else f"; about {seconds:.0f} s left"


def _named(grid: Grid, job: Job) -> str:
    named: dict[str, Any] = {name: job.parameters[name] for name in grid.varying if name in job.parameters}
    return ", ".join(f"{name}={value}" for name, value in named.items())
