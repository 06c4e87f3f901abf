"""Run the benchmarks: ``python -m benchmarks --help``."""

from __future__ import annotations

import argparse
import importlib
import pkgutil
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

import benchmarks

from .harness import compare, environment, keep_freed_memory, table, write

HERE = Path(__file__).parent


def discover() -> dict[str, object]:
    """The modules of this package that define ``cases(device)``, by name."""
    names = sorted(info.name for info in pkgutil.iter_modules(benchmarks.__path__))
    modules = {name: importlib.import_module(f"benchmarks.{name}") for name in names if not name.startswith("_")}
    return {name: module for name, module in modules.items() if hasattr(module, "cases")}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print a table and write the results; 1 if a target was missed and ``--strict`` given."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=main.__doc__)
    parser.add_argument("--only", metavar="NAME", action="append", help="run this module only; may be repeated")
    parser.add_argument("--match", metavar="TEXT", help="run only cases whose name contains this; writes nothing")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads (2)")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--output", type=Path, default=HERE / "results", help="folder of the results")
    parser.add_argument("--strict", action="store_true", help="fail if a target is missed")
    options = parser.parse_args(arguments)
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device is cuda, and there is no CUDA device; run with --device cpu")
    modules = discover()
    unknown = set(options.only or ()) - modules.keys()
    if unknown:
        parser.error(f"--only is {', '.join(sorted(unknown))}; it must be one of {', '.join(modules)}")
    torch.set_num_threads(options.threads)
    missed = 0
    # those whose memory comes from the system as it does everywhere else run first: there is no way back
    for name in sorted(options.only or modules, key=lambda name: not hasattr(modules[name], "SYSTEM_MEMORY")):
        if not hasattr(modules[name], "SYSTEM_MEMORY"):
            keep_freed_memory()
        results = []
        for case in modules[name].cases(options.device):  # type: ignore[attr-defined]
            if options.match and options.match not in case.name:
                continue
            results.append(compare(case, options.device))
            missed += sum(not target["met"] for target in results[-1].targets)
            print(table(results[-1]), flush=True)
            if not options.match:  # case by case: what a stopped run has measured is kept
                entry = {**environment(options.device), "results": [result.as_json() for result in results]}
                write(options.output / f"{options.device}.json", {name: entry})
    print(f"{missed} targets missed" if missed else "all targets met")
    return 1 if missed and options.strict else 0


if __name__ == "__main__":
    sys.exit(main())
