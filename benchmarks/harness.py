"""Timing of alternatives side by side.

Candidates of a case take turns, so a machine that slows down slows all of
them, and the ratio to the reference is the median over turns of the ratio
within a turn.
"""

from __future__ import annotations

import ctypes
import datetime
import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

__all__ = [
    "Case",
    "Measured",
    "Result",
    "Target",
    "compare",
    "environment",
    "keep_freed_memory",
    "peak_memory",
    "table",
    "write",
]

PAUSE = 0.05
"""Seconds of rest before each timing."""

TIMED = 0.02
"""Seconds that a timing lasts, by repeating the work: long enough that one interruption does not decide it."""

LONG = 0.5
"""Seconds from which on what ran before a work no longer matters to it, and nobody warms it up."""

_MMAP_THRESHOLD, _TRIM_THRESHOLD = -3, -1  # of mallopt(3)

QUANTITIES = {"ratio": "x", "seconds": "s", "megabytes": "MB"}


@dataclass(frozen=True)
class Target:
    """The most a candidate may cost: its ``ratio`` to the reference, its median ``seconds``, or ``megabytes``."""

    candidate: str
    quantity: str
    limit: float

    def __post_init__(self) -> None:
        if self.quantity not in QUANTITIES:
            raise ValueError(f"quantity is {self.quantity!r}; it must be one of {', '.join(QUANTITIES)}")


@dataclass(frozen=True)
class Case:
    """Alternatives that do the same work.

    Parameters
    ----------
    name
        What is measured, with the sizes.
    prepare
        Makes the candidates by name; each is called without arguments and does
        the work once. Called just before the case runs.
    reference
        Name of the candidate that the others are compared with.
    targets
        What the candidates must reach.
    seconds
        About how long to measure; at least three turns are taken.
    """

    name: str
    prepare: Callable[[], Mapping[str, Callable[[], object]]]
    reference: str
    targets: Sequence[Target] = ()
    seconds: float = 2.0


@dataclass(frozen=True)
class Measured:
    """Seconds of one candidate and its ratio to the reference."""

    median: float
    minimum: float
    maximum: float
    ratio: float
    turns: int
    megabytes: float | None = None


@dataclass(frozen=True)
class Result:
    """A case with what was measured."""

    case: str
    reference: str
    candidates: Mapping[str, Measured]
    targets: Sequence[Mapping[str, Any]] = field(default_factory=tuple)

    def as_json(self) -> dict[str, Any]:
        """The result as plain values."""
        return {
            "case": self.case,
            "reference": self.reference,
            "candidates": {name: vars(measured) for name, measured in self.candidates.items()},
            "targets": list(self.targets),
        }


def compare(case: Case, device: str = "cpu", *, max_turns: int = 400) -> Result:
    """Time the candidates of a case in turns.

    A candidate may return a number: it is then taken for megabytes, not timed
    work, and asked for once.
    """
    candidates = dict(case.prepare())
    if case.reference not in candidates:
        raise ValueError(f"reference is {case.reference!r}; {case.name!r} has {', '.join(candidates)}")
    megabytes: dict[str, float] = {}
    once: dict[str, float] = {}
    for name, work in candidates.items():
        first = work()
        if isinstance(first, float):
            megabytes[name] = first
            continue
        once[name] = _time(work, 1, device)
        if once[name] < LONG:
            once[name] = min(once[name], _time(work, 1, device))
    timed = list(once)
    seconds: dict[str, list[float]] = {name: [] for name in timed}
    end = time.perf_counter() + case.seconds
    turn = 0
    while timed and turn < max_turns and (turn < 3 or time.perf_counter() < end):
        # start with another candidate each turn: what ran before leaves the caches in another state
        for name in timed[turn % len(timed) :] + timed[: turn % len(timed)]:
            # each library has threads of its own, which spin for a while after their work, on cores the next one wants
            time.sleep(PAUSE)
            if once[name] < LONG:
                candidates[name]()
            loops = max(1, min(1000, round(TIMED / max(once[name], 1e-7))))
            seconds[name].append(_time(candidates[name], loops, device))
        turn += 1
    measured = {}
    for name in candidates:
        if name in megabytes:
            ratio = megabytes[name] / megabytes[case.reference] if megabytes.get(case.reference) else float("nan")
            measured[name] = Measured(0.0, 0.0, 0.0, ratio, 1, megabytes[name])
        else:
            ratios = [a / b for a, b in zip(seconds[name], seconds[case.reference], strict=True)]
            each = seconds[name]
            measured[name] = Measured(statistics.median(each), min(each), max(each), statistics.median(ratios), turn)
    return Result(case.name, case.reference, measured, [_judge(target, measured) for target in case.targets])


def _judge(target: Target, measured: Mapping[str, Measured]) -> dict[str, Any]:
    single = measured[target.candidate]
    value = {"ratio": single.ratio, "seconds": single.median, "megabytes": single.megabytes}[target.quantity]
    return {**vars(target), "measured": value, "met": value is not None and value <= target.limit}


def _time(work: Callable[[], object], loops: int, device: str) -> float:
    if device == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(loops):
        work()
    if device == "cuda":
        torch.cuda.synchronize()
    return (time.perf_counter() - start) / loops


# Of Linux's two counters the one of resource.getrusage begins with the peak of the process that started this one.
_PEAK = """
def peak():
    try:
        with open("/proc/self/status") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) * 2**10
    except OSError:
        import resource
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
"""


def peak_memory(setup: str, statement: str) -> float:
    """Megabytes by which the peak memory of a fresh interpreter grows while a statement runs after its setup.

    The GNU C library would keep some of what is freed, more or less of it from one run to the next; here every tensor
    from a megabyte on has pages of its own and gives them back, so that what is counted was in use at one time.
    """
    program = f"{_PEAK}\n{setup}\nbefore = peak()\n{statement}\nprint(peak() - before)\n"
    variables = os.environ | {"MALLOC_MMAP_THRESHOLD_": str(2**20), "MALLOC_TRIM_THRESHOLD_": str(2**20)}
    run = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, env=variables)
    return float(run.stdout.split()[-1]) / 2**20


_keeps_freed_memory = False


def keep_freed_memory() -> None:
    """Let the GNU C library, from here on, keep the memory that a work frees for the next one.

    Otherwise large tensors go back to the system after every step and come as new pages with the next one. What a page
    costs differs tenfold between machines, and between two minutes of a virtual one.
    """
    global _keeps_freed_memory
    if platform.libc_ver()[0] == "glibc" and not _keeps_freed_memory:
        library = ctypes.CDLL(None)
        done = library.mallopt(_MMAP_THRESHOLD, 2**30) and library.mallopt(_TRIM_THRESHOLD, 2**31 - 1)
        _keeps_freed_memory = bool(done)


def environment(device: str) -> dict[str, Any]:
    """Machine, versions and date of a run."""
    versions = {name: importlib.metadata.version(name) for name in ("torch", "numpy", "scipy", "entmax")}
    name = torch.cuda.get_device_name() if device == "cuda" else _processor()
    return {
        "device": name,
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
        "keeps_freed_memory": _keeps_freed_memory,
        "python": platform.python_version(),
        "versions": versions,
    }


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def write(path: Path, modules: Mapping[str, Mapping[str, Any]]) -> None:
    """Put the results of some modules into a file, keeping those of the others."""
    kept = json.loads(path.read_text()) if path.exists() else {}
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps({**kept, **modules}, indent=1) + "\n")
    partial.replace(path)


def table(result: Result) -> str:
    """A result for a terminal."""
    width = max(len(name) for name in result.candidates)
    lines = [result.case]
    for name, each in result.candidates.items():
        if each.megabytes is None:
            lines.append(
                f"  {name:<{width}}  {_seconds(each.median)}  ({_seconds(each.minimum)} to {_seconds(each.maximum)}, "
                f"{each.turns} turns)  {each.ratio:7.2f}x"
            )
        else:
            lines.append(f"  {name:<{width}}  {each.megabytes:.1f} MB")
    for target in result.targets:
        unit = QUANTITIES[target["quantity"]]
        lines.append(
            f"  {'met   ' if target['met'] else 'MISSED'} {target['candidate']}: {target['quantity']} "
            f"{target['measured']:.3g} {unit}, at most {target['limit']:g} {unit}"
        )
    return "\n".join(lines)


def _seconds(value: float) -> str:
    unit, scale = ("s ", 1.0) if value >= 1 else ("ms", 1e-3) if value >= 1e-3 else ("us", 1e-6)
    return f"{value / scale:7.2f} {unit}"
