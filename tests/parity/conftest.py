"""The program as a user calls it, corpora as they are distributed, and what the rows gave."""

from __future__ import annotations

import datetime
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from command_line import call
from layouts import LAYOUTS
from parity_rows import ROWS, STATUSES, read_results, write_results

given: dict[str, dict[str, str]] = {}
"""Status and reason of each row that this session tested."""


@dataclass
class Program:
    """``audioattn`` in this process, in a folder of its own; corpora and runs are made once."""

    folder: Path
    corpora: dict[str, str] = field(default_factory=dict)
    runs: dict[tuple[str, ...], Any] = field(default_factory=dict)

    def __call__(self, *arguments: object, code: int = 0) -> Result:
        """Call a command; ``code`` is the exit status that it must have."""
        return call(*arguments, code=code)

    def corpus(self, name: str) -> str:
        """Text for ``--data`` of a corpus as it is distributed."""
        if name not in self.corpora:
            self.corpora[name] = LAYOUTS[name](self.folder / "corpora" / name)
        return self.corpora[name]

    def train(self, experiment: str, corpus: str, *options: object) -> Any:
        """The run that ``audioattn train`` makes in smoke size; ``corpus`` names a layout."""
        from audioattn_lib.training.run_directory import Run

        data = self.corpus(corpus) if corpus in LAYOUTS else corpus
        settings = LAYOUTS[corpus].settings.get(experiment, {}) if corpus in LAYOUTS else {}
        flags = {name for name in map(str, options) if name.startswith("--")}
        fields = [word for name, value in settings.items() for word in (f"--{name}", str(value))]
        preset = () if "--preset" in flags else ("--preset", "smoke")
        command = ("train", experiment, *preset, "--data", data, *fields, *map(str, options))
        if command not in self.runs:
            said = self(*command, "--runs", self.folder / "runs").stdout
            self.runs[command] = Run.load(said.partition(": ")[0])
        return self.runs[command]


@pytest.fixture(scope="session")
def shared_program(tmp_path_factory: pytest.TempPathFactory) -> Program:
    """What the modules share: corpora and runs, once a session."""
    return Program(tmp_path_factory.mktemp("parity"))


@pytest.fixture(scope="module")
def program(shared_program: Program) -> Iterator[Program]:
    """The program, with its own cache and no recordings, while a module of rows is tested; then as it was."""
    before = Path.cwd()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AUDIOATTN_CACHE", str(shared_program.folder / "cache"))
        patch.delenv("AUDIOATTN_DATA", raising=False)
        yield shared_program
    os.chdir(before)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo) -> Any:
    """Compare the result of a row with the committed file."""
    report = yield
    mark = item.get_closest_marker("parity")
    if mark is None or not mark.args or (report.when != "call" and report.passed):
        return report
    name, status, reason = mark.args[0], "works", ""
    if report.skipped:
        told = report.wasxfail if hasattr(report, "wasxfail") else report.longrepr[2]
        status, _, reason = told.removeprefix("reason: ").removeprefix("Skipped: ").partition(": ")
        assert status in STATUSES[1:], f"row {name}: the reason must begin with one of {', '.join(STATUSES[1:])}"
    elif report.failed:
        status, reason = "wrong", "the test fails"
    given[name] = {"status": status, "reason": reason}
    committed = read_results().get(name, {})
    claimed = {key: committed.get(key, "") for key in ("status", "reason")}
    if not item.config.getoption("write_parity") and not report.failed and claimed != given[name]:
        report.outcome = "failed"
        report.longrepr = f"row {name}: the test gives {given[name]}, book/parity.csv says {claimed}; run make parity"
    return report


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write what was given, where that is asked for; rows that were not tested keep what they had."""
    if not session.config.getoption("write_parity") or not given:
        return
    asked = subprocess.run(["git", "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=False)
    made = {"date": datetime.date.today().isoformat(), "commit": asked.stdout.strip()}
    lines = read_results()  # rows of modules that this session did not collect stay as they are
    for name, own in ROWS.items():
        if name in given or name in lines:
            lines[name] = {**lines.get(name, {}), **own.cells, **({**given[name], **made} if name in given else {})}
    write_results(list(lines.values()))
