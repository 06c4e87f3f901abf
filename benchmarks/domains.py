"""Patterns of attention in and out of the domains of training: many runs, one table in ``benchmarks/results/domains/``.

    python -m benchmarks.domains instr_dg --data /path/to/instr_dg --set epochs=30 --set test_devel=true

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

from audioattn_lib.experiments import scenes_and_instruments

from .harness import environment

HERE = Path(__file__).parent / "results" / "domains"
PATTERNS = ", ".join(scenes_and_instruments.PATTERNS)
DOMAIN_METHODS = "none, clip, mixstyle, clip+mixstyle"


def main(arguments: Sequence[str] | None = None) -> int:
    """Train and test what is missing, write the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.domains", description=__doc__)
    parser.add_argument("name", help="name of the table")
    parser.add_argument("--data", required=True, help="corpus, as the experiment takes it")
    parser.add_argument("--patterns", default=PATTERNS, help="joined by commas")
    parser.add_argument("--domain-methods", default=DOMAIN_METHODS, help="joined by commas")
    parser.add_argument("--seeds", type=int, default=3, help="how many networks of each (3)")
    parser.add_argument("--set", metavar="FIELD=VALUE", action="append", default=[], help="of the configuration")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of all runs")
    parser.add_argument("--output", type=Path, default=HERE, help="folder of the tables")
    options = parser.parse_args(arguments)
    fields = dict(field_of(text) for text in options.set)
    config = scenes_and_instruments.Config.preset("default", data=options.data, **fields)
    study = scenes_and_instruments.study(
        config, options.patterns, options.domain_methods, range(options.seeds), options.runs
    )
    results = study.results()
    given = [f"{name} = {value}" for name, value in fields.items()]
    made_with = {
        "corpus": scenes_and_instruments.prepare(config).describe(),
        "settings": ", ".join(given) or "those of the preset default",
        "seeds": str(options.seeds),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "processor": str(environment("cpu")["device"]),
        **results.made_with,
    }
    dataclasses.replace(results, made_with=made_with).write(options.output / f"{options.name}.csv")
    print("\n\n".join(results.verdict(test) for test in results.tests))
    return 0


def field_of(text: str) -> tuple[str, Any]:
    """Name and value of ``field=value``: a literal where it can be read as one, else text."""
    name, _, value = text.partition("=")
    try:
        return name, ast.literal_eval({"true": "True", "false": "False"}.get(value, value))
    except (ValueError, SyntaxError):
        return name, value


if __name__ == "__main__":
    sys.exit(main())
