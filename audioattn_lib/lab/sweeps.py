"""A sweep in JupyterLab: run, watch and stop it, find its runs, and compare any two.

The sweep is a process of its own, ``audioattn sweep``: it goes on when the kernel is restarted, and what it has done is
kept. Its files say how far it is.

Book page: ``batch``.
"""

from __future__ import annotations

import html
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import Any

import ipywidgets
import pandas as pd

from audioattn_lib.automation.grid import Grid
from audioattn_lib.automation.report import flatten
from audioattn_lib.core.errors import AudioAttnError
from audioattn_lib.experiments.common.runs import runs_folder
from audioattn_lib.training.run_directory import Run

from .clip_list import ClipList

__all__ = ["SweepExplorer", "compare_runs"]

EVERY = 1.0
MOST_COLUMNS = 7
_SWEEP = """import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from audioattn_lib.cli import main
main()"""
"""``audioattn`` that an interrupt stops: a process of a server in the background is born to ignore it."""
_SCORES = ("accuracy", "mean_average_precision", "spearman", "equal_error_rate", "loss")
"""Scores that the list shows where there are any; a row opens all of them."""


class SweepExplorer:
    """A sweep and its results; see :func:`audioattn_lib.lab.sweep`.

    Attributes
    ----------
    runs
        The list of results: ``runs.selected`` is the run that is open.
    second
        The run to compare it with.
    """

    def __init__(self, file: str | Path, directory: str | Path = "sweeps") -> None:
        self._root = runs_folder(".")
        self._file = self._root / file
        self.grid = Grid.read(self._file)
        self._folder = self._root / directory / self.grid.name
        self._directory = self._root / directory
        self._process: subprocess.Popen[bytes] | None = None
        self._seen = 0.0
        self.run_button = ipywidgets.Button(description="Run", icon="play")
        self.stop_button = ipywidgets.Button(description="Stop", icon="stop", disabled=True)
        self.status, self.opened = ipywidgets.HTML(), ipywidgets.HTML()
        self.runs = ClipList(columns=[["clip", "Run"]], about="Runs of the sweep")
        self.second = ipywidgets.Dropdown(options=[""], description="Compare with", style={"description_width": "8rem"})
        buttons = ipywidgets.HBox([self.run_button, self.stop_button, self.status])
        self._list = ipywidgets.VBox([self.runs])
        self.box = ipywidgets.VBox(
            [buttons, self._list, self.second, self.opened], layout=ipywidgets.Layout(max_width="60rem")
        )
        self.run_button.on_click(lambda _: self.start())
        self.stop_button.on_click(lambda _: self.stop())
        self.second.observe(self._open, names="value")
        self.look()

    def start(self) -> None:
        """Run what is not done yet."""
        if self._process is not None and self._process.poll() is None:
            return
        command = [sys.executable, "-c", _SWEEP, "sweep", str(self._file), "--output", str(self._directory)]
        quiet = {name: value for name, value in os.environ.items() if name != "JPY_SESSION_NAME"}
        log = self._directory / f"{self.grid.name}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        with open(log, "wb") as stream:
            self._process = subprocess.Popen(
                command, cwd=self._root, env=quiet, stdout=stream, stderr=subprocess.STDOUT, start_new_session=True
            )
        Thread(target=self._follow, args=(self._process,), daemon=True).start()
        self.look()

    def stop(self) -> None:
        """Interrupt it, as Ctrl-C does: what is done is kept, and the results so far are written."""
        if self._process is not None and self._process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGINT)

    def _follow(self, process: subprocess.Popen[bytes]) -> None:
        while process.poll() is None:
            with suppress(OSError, ValueError):  # a file that is being written or replaced: read it the next time
                self.look()
            time.sleep(EVERY)
        self.look()

    def look(self) -> None:
        """Read how far it is, and the results where there are new ones."""
        jobs = self._folder / "jobs"
        done = {path.stem for path in jobs.glob("*.ipynb") if "." not in path.stem}  # not .failed and .partial
        failed = 0
        for path in jobs.glob("*.json"):
            with suppress(OSError, ValueError):
                failed += path.stem not in done and bool(json.loads(path.read_text(encoding="utf-8")).get("error"))
        is_running = self._process is not None and self._process.poll() is None
        state = "runs" if is_running else "ended" if self._process is not None else "is not running"
        status = f"{self.grid.name} {state}: {len(done)} of {len(self.grid.jobs)} jobs done"
        status += f", {failed} failed" if failed else ""
        if self._process is not None and self._process.poll() not in (None, 0):
            status += f"; see {self._directory / (self.grid.name + '.log')}"
        self.status.value = html.escape(status)
        self.run_button.disabled, self.stop_button.disabled = is_running, not is_running
        table = self._folder / "results.csv"
        if table.exists() and table.stat().st_mtime != self._seen:
            self._seen = table.stat().st_mtime
            with suppress(pd.errors.EmptyDataError):  # no job has made a run yet
                self._fill(pd.read_csv(table))

    def _fill(self, table: pd.DataFrame) -> None:
        if not len(table):
            return
        first = list(table.columns[: list(table.columns).index("run")])
        columns_shown = [*first, *(name for name in _SCORES if name in table)][:MOST_COLUMNS]
        columns = [["clip", "Run"], *([name, name.replace("_", " ")] for name in columns_shown)]
        rows = table[["run", *columns_shown]].rename(columns={"run": "clip"})
        if columns != self.runs.columns:  # a list has its columns for good
            self.runs = ClipList(columns=columns, about="Runs of the sweep")
            self.runs.observe(self._open, names="selected")
            self._list.children = (self.runs,)
        self.runs.fill(rows.astype(object).where(rows.notna(), None))
        kept = self.second.value
        names = ["", *map(str, table["run"])]
        self.second.options = names
        self.second.value = kept if kept in names else ""

    def load(self, name: str) -> Run:
        """A run of the list, ``<experiment>/<key>``."""
        return Run.load(self._root / "runs" / name)

    def _open(self, _change: Any = None) -> None:
        name, other = self.runs.selected, self.second.value
        if not name:
            return
        try:
            run = self.load(name)
            second = self.load(other) if other and other != name else None
        except AudioAttnError as error:
            self.opened.value = f"<p>{html.escape(str(error))}</p>"
            return
        self.opened.value = run._repr_html_() if second is None else compare_runs(run, second)

    def _ipython_display_(self) -> None:
        from IPython.display import display

        display(self.box)  # type: ignore[no-untyped-call]


def compare_runs(first: Run, second: Run) -> str:
    """Two runs side by side as HTML: settings that differ, and all scores with their difference."""
    config, other = flatten(first.config), flatten(second.config)
    fewer = min(config, other, key=len)  # a baseline has few settings: what it lacks says nothing
    differ = [name for name in fewer if config.get(name) != other.get(name)]
    settings = [(name, config.get(name, ""), other.get(name, ""), "") for name in differ]
    scores = []
    metrics, theirs = flatten(first.metrics), flatten(second.metrics)
    for name, value in metrics.items():
        if _is_number(value) and _is_number(theirs.get(name)):
            scores.append((name, f"{value:.4g}", f"{theirs[name]:.4g}", f"{value - theirs[name]:+.3g}"))
    heads = ("", repr_short(first), repr_short(second), "difference")
    parts = []
    for title, rows in (("Settings that differ", settings), ("Scores", scores)):
        head = "".join(f"<th>{html.escape(str(heading))}</th>" for heading in (title, *heads[1:]))
        body = "".join(f"<tr>{''.join(f'<td>{html.escape(str(cell))}</td>' for cell in row)}</tr>" for row in rows)
        parts.append(f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>")
    return f'<div class="mathjax_ignore">{"".join(parts)}</div>'


def repr_short(run: Run) -> str:
    """Experiment and key."""
    return f"{run.experiment}/{run.key}"


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
