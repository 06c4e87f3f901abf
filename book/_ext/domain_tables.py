"""``{domain-results} NAME``: a committed table of ``benchmarks/results/domains/``, as tables.

``{domain-findings} NAME`` is the box on top of its page. ``{domain-slopes} NAME`` is its picture: every network from
the known test set to the unknown ones.

Numbers on the page are those of the file and no others; the page is built
again when the file changes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from committed_results import NOTHING, as_nodes, as_output, facts, read_table
from docutils import nodes
from library_pages import parse_markdown
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

FACTS = ("seeds", "settings", "date", "processor", "device", "python", "torch", "git_commit")
WORST_GROUP = "The domain of a test set that a network does worst on. Its interval does not correct for this selection."


class DomainFindings(SphinxDirective):
    """What was found and what is not shown, in a box."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        from audioattn_lib import display

        results = _read(self)
        return [] if results is None else as_nodes(display.findings(*results.findings()))


class DomainSlopes(SphinxDirective):
    """Slope plot of the test sets."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        from audioattn_lib import display

        results = _read(self)
        if results is None or not results.seen_test:
            return []
        figure = display.plot_slopes(
            results.scores(results.seen_test),
            results.unseen_scores(),
            references=results.references,
            looks=results.looks(),
            label="Clips named correctly",
            caption="Vertical lines are 95 % intervals over clips and seeds. Grey: baselines and chance.",
        )
        return as_nodes(figure)


class DomainTables(SphinxDirective):
    """Source of the numbers, then each test set, then the worst group."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        from audioattn_lib.experiments.scenes_and_instruments.results import WORST, test_title

        results = _read(self)
        if results is None:
            return parse_markdown(self, [NOTHING])
        corpus = re.sub(
            r"\btest_\w+", lambda result: f"test {test_title(result[0])}", results.made_with.get("corpus", "")
        )
        lines = [corpus, ""]
        lines += [f"Made with {facts(results.made_with, FACTS)}.", ""]
        result = parse_markdown(self, lines)
        for test in results.tests:
            result += [
                nodes.rubric("", test_title(test).capitalize()),
                *parse_markdown(self, [results.power(test), ""]),
            ]
            result += _tables(results, test)
        result += [nodes.rubric("", "Worst group")]
        result += parse_markdown(self, [WORST_GROUP, ""])
        return [*result, *_tables(results, WORST)]


def _read(directive: SphinxDirective) -> Any:
    """The results that a directive names, None where there are none."""
    from audioattn_lib.experiments.scenes_and_instruments.results import DomainResults

    return read_table(directive, DomainResults, f"domains/{directive.arguments[0]}")


def _tables(results: Any, test: str) -> Iterator[nodes.Node]:
    from audioattn_lib import display
    from audioattn_lib.experiments.scenes_and_instruments.domain_methods import domain_method_title
    from audioattn_lib.experiments.scenes_and_instruments.results import BASELINE, CHANCE, pattern_title, test_title

    for domain_method in results.domain_methods:
        scores = results.scores(test, domain_method)
        caption = f"{test_title(test).capitalize()}, {domain_method_title(domain_method) or 'no domain method'}"
        baselines = (BASELINE, pattern_title(BASELINE), CHANCE)
        references = [str(name) for name in scores.index if str(name).startswith(baselines)]
        spread = ["std"] if scores["std"].notna().any() else []
        table = display.results_table(scores, references=references, scores=spread, caption=caption)
        yield nodes.raw("", f"<div style='margin-block:1rem'>{table.html()}</div>", format="html")
    for name, differences in (
        (
            "Each pattern against dense attention with the same domain method, in points",
            results.pattern_differences(test),
        ),
        ("Each domain method against none with the same pattern, in points", results.domain_method_differences(test)),
    ):
        if len(differences):
            markup = differences.to_html(border=0, justify="left")
            yield nodes.raw("", f"<p>{name}:</p>", format="html")
            yield as_output(markup)


def setup(app: Sphinx) -> dict[str, Any]:
    """Entry point of the extension."""
    app.add_directive("domain-findings", DomainFindings)
    app.add_directive("domain-results", DomainTables)
    app.add_directive("domain-slopes", DomainSlopes)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
