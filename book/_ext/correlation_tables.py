"""``{correlation-results} NAME``: a committed table of ``benchmarks/results/correlations/``, in words and as a picture.

Numbers on the page are those of the file and no others; the page is built again when the file changes.
"""

from __future__ import annotations

from typing import Any

from committed_results import NOTHING, as_nodes, as_output, facts, read_table
from docutils import nodes
from library_pages import parse_markdown
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

FACTS = ("settings", "seeds", "date", "processor", "python", "torch", "git_commit")


class CorrelationTable(SphinxDirective):
    """Findings, correlations as a picture, differences, and the source of the numbers."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        from audioattn_lib import display
        from audioattn_lib.experiments.sleepiness import CorrelationResults

        results = read_table(self, CorrelationResults, f"correlations/{self.arguments[0]}")
        if results is None:
            return parse_markdown(self, [NOTHING])
        figure = display.plot_correlations(results.scores(), runs=results.seed_scores(), titles=results.titles)
        markup = results.table().to_html(border=0, justify="left")
        made = results.made_with
        return [
            *as_nodes(display.findings(*results.findings()), figure),
            as_output(markup, one_line=True),
            *parse_markdown(self, [made.get("corpus", ""), "", f"Made with {facts(made, FACTS)}."]),
        ]


def setup(app: Sphinx) -> dict[str, Any]:
    """Entry point of the extension."""
    app.add_directive("correlation-results", CorrelationTable)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
