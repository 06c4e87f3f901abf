"""Attention against poolings without it: many runs, one table in ``benchmarks/results/recordings/``.

    python -m benchmarks.recordings urbansound8k_frozen --data urbansound8k --preset frozen

Runs that exist are read back, so that an interrupted call continues when it is
given again. The book shows the tables.
"""

from __future__ import annotations

import argparse
import datetime
import sys
from collections.abc import Sequence
from pathlib import Path

from audioattn_lib.experiments import urban_sound
from audioattn_lib.experiments.common.studies.pooling_results import PoolingResults

from .domains import field_of
from .harness import environment

HERE = Path(__file__).parent / "results" / "recordings"
POOLINGS = ", ".join((*urban_sound.CONTROLS, *urban_sound.ATTENTIONS))


def main(arguments: Sequence[str] | None = None) -> int:
    """Train and test what is missing, write the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.recordings", description=__doc__)
    parser.add_argument("name", help="name of the table")
    parser.add_argument("--data", required=True, help="corpus, as the experiment takes it")
    parser.add_argument("--preset", default="recordings", help="preset of urban_sound (recordings)")
    parser.add_argument("--poolings", default=POOLINGS, help="joined by commas; mean must be among them")
    parser.add_argument("--folds", default="all", help="test folds, joined by commas (all)")
    parser.add_argument("--seeds", type=int, default=5, help="how many networks of each (5)")
    parser.add_argument("--set", metavar="FIELD=VALUE", action="append", default=[], help="of the configuration")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of all runs")
    parser.add_argument("--output", type=Path, default=HERE, help="folder of the tables")
    options = parser.parse_args(arguments)
    fields = dict(field_of(text) for text in options.set)
    config = urban_sound.Config.preset(options.preset, data=options.data, **fields)
    study = urban_sound.study(config, options.poolings, options.folds, options.runs, range(options.seeds))
    given = "".join(f", {name} = {value}" for name, value in fields.items())
    commit = study.runs[-1].environment.get("git_commit")
    machine = environment("cpu")
    made_with = {
        "corpus": urban_sound.prepare(config).describe(),
        "preset": options.preset,
        "settings": f"those of the preset {options.preset}{given}",
        "folds": str(len({run.config["fold"] for run in study.runs})),
        "seeds": str(options.seeds),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "processor": str(machine["device"]),
        "python": str(machine["python"]),
        "torch": str(machine["versions"]["torch"]),
        **({"git_commit": str(commit)} if commit else {}),
    }
    results = PoolingResults.of_study(study, made_with)
    results.write(options.output / f"{options.name}.csv")
    print(results.verdict())
    return 0


if __name__ == "__main__":
    sys.exit(main())
