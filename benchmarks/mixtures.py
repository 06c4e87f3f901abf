"""Poolings by the share of a clip that its event fills: many runs, one table in ``benchmarks/results/mixtures/``.

    python -m benchmarks.mixtures NAME --data "mixtures?events=path/to/sounds" --bounds .02,.05,.1,.2,.4

Runs that exist are read back, so that an interrupted call continues when it is
given again. The book shows the tables.
"""

from __future__ import annotations

import argparse
import ast
import dataclasses
import datetime
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from audioattn_lib.experiments import mixtures

from .harness import environment

HERE = Path(__file__).parent / "results" / "mixtures"
POOLINGS = ", ".join((*mixtures.CONTROLS, *mixtures.ATTENTIONS))
BOUNDS = "0.02, 0.05, 0.1, 0.2, 0.4"


def main(arguments: Sequence[str] | None = None) -> int:
    """Train and test what is missing, write the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.mixtures", description=__doc__)
    parser.add_argument("name", help="name of the table")
    parser.add_argument("--title", default="", help="of the panel in the figure; the name by default")
    parser.add_argument("--data", required=True, help="corpus with known events, as the experiment takes it")
    parser.add_argument("--poolings", default=POOLINGS, help="joined by commas")
    parser.add_argument("--seeds", type=int, default=5, help="how many networks of each (5)")
    parser.add_argument("--bounds", default=BOUNDS, help=f"ends of the bins of the share ({BOUNDS})")
    parser.add_argument("--set", metavar="FIELD=VALUE", action="append", default=[], help="of the configuration")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of all runs")
    parser.add_argument("--output", type=Path, default=HERE, help="folder of the tables")
    options = parser.parse_args(arguments)
    fields = dict(_field(text) for text in options.set)
    bounds = [float(bound) for bound in options.bounds.split(",")]
    config = mixtures.Config.preset("default", data=options.data, **fields)
    study = mixtures.study(config, options.poolings, range(options.seeds), root=options.runs)
    results = study.results(bounds)
    first = study.runs[0]
    shown = {name: value for name, value in fields.items() if name != "frame_encoder"}
    made_with = {
        "title": options.title or options.name,
        "corpus": mixtures.prepare(config).describe(),
        "data": options.data,
        "frames": mixtures.prepare(config).frames,
        "settings": ", ".join(f"{name} = {value}" for name, value in shown.items()) or "those of the preset default",
        "seeds": str(options.seeds),
        "runs": f"{len(study.runs)}, {study.n_tried} of the first seed to choose learning rates from",
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "processor": str(environment("cpu")["device"]),
        "git_commit": str(first.environment.get("git_commit") or ""),
    }
    dataclasses.replace(results, made_with=made_with).write(options.output / f"{options.name}.csv")
    print("\n".join(results.verdict()))
    return 0


def _field(text: str) -> tuple[str, Any]:
    name, _, value = text.partition("=")
    try:
        return name, ast.literal_eval({"true": "True", "false": "False"}.get(value, value))
    except (ValueError, SyntaxError):
        return name, value


if __name__ == "__main__":
    sys.exit(main())
