"""Autoencoders with and without attention: many runs, one table in ``benchmarks/results/correlations/``.

    python -m benchmarks.correlations voices --data voices --seeds 5

Runs that exist are read back, so that an interrupted call continues when it is
given again. The book shows the tables.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from audioattn_lib.experiments import sleepiness

from .committed_tables import fields_of, origin, parser_of, settings_of, versions


def main(arguments: Sequence[str] | None = None) -> int:
    """Train and test what is missing, write the table."""
    parser = parser_of("correlations", __doc__, seeds=5)
    parser.add_argument("--networks", default=", ".join(sleepiness.MATCHED), help="joined by commas")
    options = parser.parse_args(arguments)
    fields = fields_of(options)
    config = sleepiness.Config.preset("default", data=options.data, **fields)
    study = sleepiness.study(config, options.networks, range(options.seeds), options.runs)
    made_with = {
        "corpus": sleepiness.prepare(config).describe(),
        "settings": settings_of(fields),
        **origin(options),
        **versions(study.runs[-1]),
    }
    results = sleepiness.CorrelationResults.of_study(study, made_with)
    results.write(options.output / f"{options.name}.csv")
    print("\n".join(sentence for sentences in results.findings() for sentence in sentences))
    return 0


if __name__ == "__main__":
    sys.exit(main())
