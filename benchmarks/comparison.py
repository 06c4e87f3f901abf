"""Every mechanism on every task with more seeds than a page has time for: tables in ``benchmarks/results/comparison/``.

    python -m benchmarks.comparison tasks_of_the_book --seeds 5

Runs that exist are read back, so that an interrupted call continues when it is
given again. The book shows the tables.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from audioattn_lib.experiments import comparison

from .committed_tables import fields_of, origin, parser_of, preset_of, versions


def main(arguments: Sequence[str] | None = None) -> int:
    """Train and test what is missing, write the table."""
    parser = parser_of("comparison", __doc__, seeds=5, needs_data=False)
    parser.add_argument("--preset", default="default", help="preset of comparison (default)")
    parser.add_argument("--tasks", default="all", help="joined by commas (all)")
    parser.add_argument("--mechanisms", default="all", help="joined by commas; the mean is always among them (all)")
    options = parser.parse_args(arguments)
    fields = fields_of(options)
    config = comparison.Config.preset(options.preset, n_seeds=options.seeds, **fields)
    study = comparison.study(config, options.data, options.tasks, options.mechanisms, options.runs)
    made_with = {
        "corpus": study.describe(),
        "settings": preset_of(options, fields),
        **origin(options),
        **versions(study.results[0].run),
    }
    results = comparison.ComparisonResults.of_comparison(study, made_with)
    results.write(options.output / f"{options.name}.csv")
    print("\n".join(sentence for sentences in comparison.findings(results) for sentence in sentences))
    return 0


if __name__ == "__main__":
    sys.exit(main())
