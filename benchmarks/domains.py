"""Patterns of attention in and out of the domains of training: many runs, one table in ``benchmarks/results/domains/``.

    python -m benchmarks.domains instr_dg --data /path/to/instr_dg --set epochs=30 --set test_valid=true

Runs that exist are read back, so that an interrupted call continues when it is
given again. The book shows the tables.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence

from audioattn_lib.experiments import scenes_and_instruments

from .committed_tables import fields_of, origin, parser_of, settings_of

PATTERNS = ", ".join(scenes_and_instruments.PATTERNS)
DOMAIN_METHODS = "none, clip, mixstyle, clip+mixstyle"


def main(arguments: Sequence[str] | None = None) -> int:
    """Train and test what is missing, write the table."""
    parser = parser_of("domains", __doc__, seeds=3)
    parser.add_argument("--patterns", default=PATTERNS, help="joined by commas")
    parser.add_argument("--domain-methods", default=DOMAIN_METHODS, help="joined by commas")
    options = parser.parse_args(arguments)
    fields = fields_of(options)
    config = scenes_and_instruments.Config.preset("default", data=options.data, **fields)
    study = scenes_and_instruments.study(
        config, options.patterns, options.domain_methods, range(options.seeds), options.runs
    )
    results = study.results()
    made_with = {
        "corpus": scenes_and_instruments.prepare(config).describe(),
        "settings": settings_of(fields),
        **origin(options),
        **results.made_with,
    }
    dataclasses.replace(results, made_with=made_with).write(options.output / f"{options.name}.csv")
    print("\n\n".join(results.verdict(test) for test in results.tests))
    return 0


if __name__ == "__main__":
    sys.exit(main())
