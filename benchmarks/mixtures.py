"""Poolings by the share of a clip that its event fills: many runs, one table in ``benchmarks/results/mixtures/``.

    python -m benchmarks.mixtures NAME --data "mixtures?events=path/to/sounds" --bounds .02,.05,.1,.2,.4

Runs that exist are read back, so that an interrupted call continues when it is
given again. The book shows the tables.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence

from audioattn_lib.experiments import mixtures

from .committed_tables import fields_of, origin, parser_of, settings_of

POOLINGS = ", ".join((*mixtures.CONTROLS, *mixtures.ATTENTIONS))
BOUNDS = "0.02, 0.05, 0.1, 0.2, 0.4"
RATES = ", ".join(map(str, mixtures.LEARNING_RATES))


def main(arguments: Sequence[str] | None = None) -> int:
    """Train and test what is missing, write the table."""
    parser = parser_of("mixtures", __doc__, seeds=5)
    parser.add_argument("--title", default="", help="of the panel in the figure; the name by default")
    parser.add_argument("--poolings", default=POOLINGS, help="joined by commas")
    parser.add_argument("--bounds", default=BOUNDS, help=f"ends of the bins of the share ({BOUNDS})")
    parser.add_argument("--learning-rates", default=RATES, help=f"to choose from on validation clips ({RATES})")
    options = parser.parse_args(arguments)
    fields = fields_of(options)
    rates = [float(rate) for rate in options.learning_rates.split(",")]
    bounds = [float(bound) for bound in options.bounds.split(",")]
    config = mixtures.Config.preset("default", data=options.data, **fields)
    study = mixtures.study(config, options.poolings, range(options.seeds), root=options.runs, learning_rates=rates)
    results = study.results(bounds)
    prepared = mixtures.prepare(config)
    first = study.runs[0]
    shown = {name: value for name, value in fields.items() if name != "frame_encoder"}
    made_with = {
        "title": options.title or options.name,
        "corpus": prepared.describe(),
        "classes": str(len(prepared.manifest.classes)),
        "data": options.data,
        "frames": prepared.frames,
        "settings": settings_of(shown),
        "learning_rates": options.learning_rates,
        **origin(options),
        "runs": f"{len(study.runs)}, {study.n_tried} of the first seed to choose learning rates from",
        "git_commit": str(first.environment.get("git_commit") or ""),
    }
    dataclasses.replace(results, made_with=made_with).write(options.output / f"{options.name}.csv")
    print("\n".join(results.verdict()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
