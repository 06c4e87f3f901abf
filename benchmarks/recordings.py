"""Attention against poolings without it: many runs, one table in ``benchmarks/results/recordings/``.

    python -m benchmarks.recordings urbansound8k_frozen --data urbansound8k --preset frozen

With ``--from-nothing mean,softmax`` these poolings are trained on the same folds
without a pretrained encoder too, by the preset ``recordings``.

Runs that exist are read back, so that an interrupted call continues when it is
given again. The book shows the tables.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from audioattn_lib.experiments import urban_sound
from audioattn_lib.experiments.common.studies.pooling_results import PoolingResults

from .committed_tables import fields_of, origin, parser_of
from .harness import environment

POOLINGS = ", ".join((*urban_sound.CONTROLS, *urban_sound.ATTENTIONS))

DIVISION = ("protocol", "train_folds", "valid_folds", "test_folds")
"""Fields that divide a corpus."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Train and test what is missing, write the table."""
    parser = parser_of("recordings", __doc__, seeds=5)
    parser.add_argument("--preset", default="recordings", help="preset of urban_sound (recordings)")
    parser.add_argument("--poolings", default=POOLINGS, help="joined by commas; mean must be among them")
    parser.add_argument("--from-nothing", default="", help="poolings to train without an encoder too (none)")
    parser.add_argument("--folds", default="all", help="test folds, joined by commas (all)")
    options = parser.parse_args(arguments)
    fields = fields_of(options)
    config = urban_sound.Config.preset(options.preset, data=options.data, **fields)
    study = urban_sound.study(config, options.poolings, options.folds, options.runs, range(options.seeds))
    nothing = None
    if options.from_nothing:
        plain = urban_sound.Config.preset(
            "recordings", data=options.data, perturbations=False, **config.select(*DIVISION)
        )
        nothing = urban_sound.study(plain, options.from_nothing, options.folds, options.runs, range(options.seeds))
    given = "".join(f", {name} = {value}" for name, value in fields.items())
    commit = study.runs[-1].environment.get("git_commit")
    machine = environment("cpu")
    made_with = {
        "corpus": urban_sound.prepare(config).describe(),
        "preset": options.preset,
        "settings": f"those of the preset {options.preset}{given}",
        **({"from_nothing": "those of the preset recordings"} if nothing else {}),
        "folds": str(len({run.config["fold"] for run in study.runs})),
        **origin(options),
        "python": str(machine["python"]),
        "torch": str(machine["versions"]["torch"]),
        **({"git_commit": str(commit)} if commit else {}),
    }
    results = PoolingResults.of_study(study, made_with, nothing)
    results.write(options.output / f"{options.name}.csv")
    print(results.verdict())
    return 0


if __name__ == "__main__":
    sys.exit(main())
