"""Jobs that are killed at random moments: what they leave, and what they end with when they are started again."""

import io
import json
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import nbformat
import pandas as pd
from hostile import TRIALS
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

HERE = Path(__file__).parent
_TIMES = ("seconds", "clips_per_second")
_NO_RESULTS = ("*.log", ".lock", "lock", "*.lock", "tensorboard", ".doctrees", "execution", "*.pickle")
"""Locks, and what differs between two undisturbed jobs, for times of day are in it."""


class Killer:
    """The process of ``kill_program.py``, and the folder in which all its jobs work.

    Parameters
    ----------
    place
        Empty.
    """

    def __init__(self, place: Path) -> None:
        self.place = place
        self.work = place / "work"
        self._undisturbed: dict[str, tuple[float, dict[str, Any]]] = {}
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / "kill_program.py")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        assert json.loads(self._process.stdout.readline()) == "ready"

    def start(self, *jobs: tuple[str, float | None]) -> list[tuple[int, float]]:
        """Exit code and seconds of jobs that are started together, each killed after some seconds, or not.

        The first has its temporary files in ``tmp0``, the next in ``tmp1`` and so on.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        asked = []
        for number, (name, after) in enumerate(jobs):
            temporary = self.place / f"tmp{number}"
            temporary.mkdir(exist_ok=True)
            asked.append([name, str(self.work), str(temporary), after])
        print(json.dumps(asked), file=self._process.stdin, flush=True)
        return [(code, seconds) for code, seconds in json.loads(self._process.stdout.readline())]

    def finish(self, *jobs: str) -> float:
        """Let jobs end, which must succeed; the seconds of the first."""
        ends = self.start(*((name, None) for name in jobs))
        for number, (code, _) in enumerate(ends):
            log = self.place / f"tmp{number}.log"
            assert code == 0, f"{jobs[number]} ended with {code}: {log.read_text()[-3000:]}"
        return ends[0][1]

    def undisturbed(self, name: str, prepare: Callable[[Path], object]) -> tuple[float, dict[str, Any]]:
        """Seconds and results of a job that nobody disturbs."""
        if name not in self._undisturbed:
            self.begin(prepare)
            self._undisturbed[name] = self.finish(name), results(self.work)
        return self._undisturbed[name]

    def begin(self, prepare: Callable[[Path], object]) -> None:
        """Leave nothing of an earlier trial."""
        shutil.rmtree(self.work, ignore_errors=True)
        self.work.mkdir()
        prepare(self.work)

    def judge(self, kind: str, trial: str, expected: dict[str, Any]) -> list[str]:
        """Failures of the trial that has ended, which is counted."""
        told = [differences(results(self.work), expected)]
        for temporary in self.place.glob("tmp?"):
            told += [f"left: {path}" for path in temporary.iterdir()]
            shutil.rmtree(temporary)
        failures = [f"{trial}: {each}" for each in told if each]
        TRIALS[kind, "failure" if failures else "result"] += 1
        return failures

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()


def attack(
    killer: Killer, name: str, prepare: Callable[[Path], object], count: int, *, kills: Sequence[int] = (1, 1, 2)
) -> None:
    """Kill a job at random moments, start it again, and compare with one that nobody disturbed.

    Parameters
    ----------
    name
        Of the job.
    prepare
        Fills the folder that a trial starts with.
    count
        Trials.
    kills
        How often a trial may be killed.
    """
    chance = random.Random(name)
    seconds, expected = killer.undisturbed(name, prepare)
    failures = []
    for number in range(count):
        killer.begin(prepare)
        moments = [round(chance.random() * seconds, 3) for _ in range(chance.choice(kills))]
        for moment in moments:
            killer.start((name, moment))
        killer.finish(name)
        failures += killer.judge(f"kill -9, {name}", f"trial {number}, killed after {moments} s", expected)
    assert not failures, "\n".join(failures)


def results(folder: Path) -> dict[str, Any]:
    """Results of a job: the content of every file by its name, without times of day and durations."""
    collected: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if path.is_dir() or any(fnmatch(folder, pattern) for folder in name.parts for pattern in _NO_RESULTS):
            continue
        content: Any = path.read_bytes()
        if path.name == "history.csv":
            table = pd.read_csv(io.BytesIO(content))
            content = table.drop(columns=[column for column in _TIMES if column in table]).to_csv()
        elif path.name == "last.json" or path.parent.name == "inspections":
            content = None
        elif path.suffix == ".json":
            content = _without_times(json.loads(content))
        collected[str(name)] = content
    return collected


def _without_times(content: Any) -> Any:
    if isinstance(content, dict):
        return {name: _without_times(value) for name, value in content.items() if "seconds" not in name}
    return content


def differences(left_behind: dict[str, Any], expected: dict[str, Any]) -> str:
    """Names of files that are left, lacking or other."""
    sets = {
        "left": left_behind.keys() - expected.keys(),
        "lacking": expected.keys() - left_behind.keys(),
        "other": {name for name in left_behind.keys() & expected.keys() if left_behind[name] != expected[name]},
    }
    return "; ".join(f"{word}: {', '.join(sorted(names)[:5])}" for word, names in sets.items() if names)


def write_notebook(path: Path, *code: str) -> None:
    """A notebook with the parameter ``n`` and code."""
    cells = [
        new_markdown_cell("# A title", id="title"),
        new_code_cell("n = 0  # number of the run", metadata={"tags": ["parameters"]}, id="parameters"),
    ]
    notebook = new_notebook(cells=cells + [new_code_cell(text, id=f"cell-{i}") for i, text in enumerate(code)])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    path.parent.mkdir(exist_ok=True)
    nbformat.write(notebook, path)
