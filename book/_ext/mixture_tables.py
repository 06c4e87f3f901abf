"""``{mixture-gains} NAME ...``: the figure of committed tables of ``benchmarks/results/mixtures/``, a panel each.

``{mixture-findings} NAME`` is such a table in few words, for the top of a page; ``{mixture-results} NAME`` its scores
and gains.
Numbers on the page are those of the file and no others; the page is built again when the file changes.
"""

from __future__ import annotations

from typing import Any

from committed_results import NOTHING, as_nodes, as_output, facts, read_table
from docutils import nodes
from library_pages import parse_markdown
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

FACTS = ("frames", "settings", "learning_rates", "seeds", "runs", "date", "processor", "git_commit")


class MixtureGains(SphinxDirective):
    """Gain over the mean by the share of the clip that the event fills."""

    required_arguments = 1
    optional_arguments = 7

    def run(self) -> list[nodes.Node]:
        from audioattn_lib import display

        tables = {name: _read(self, name) for name in self.arguments}
        panels = {_title(results): results.curves() for results in tables.values() if results is not None}
        if not panels:
            return []
        figure = display.plot_gain_curves(panels, caption=_CAPTION)
        return as_nodes(figure)


class MixtureFindings(SphinxDirective):
    """What was found and what is not shown, in a box."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        from audioattn_lib import display

        results = _read(self, self.arguments[0])
        return [] if results is None else as_nodes(display.findings(*results.findings()))


class MixtureTables(SphinxDirective):
    """Source of the numbers, scores of all clips, gains by share."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        from audioattn_lib import display

        results = _read(self, self.arguments[0])
        if results is None:
            return parse_markdown(self, [NOTHING])
        made = f"Made with {facts(results.made_with, FACTS)}."
        content = parse_markdown(self, [results.made_with.get("corpus", ""), "", made, ""])
        table = display.results_table(
            results.scores(),
            references=[results.title(results.reference)],
            scores=["mass_inside"],
            caption="All clips: share named right",
        )
        content.append(nodes.raw("", f"<div style='margin-block:1rem'>{table.html()}</div>", format="html"))
        markup = results.gains().to_html(border=0, justify="left")
        words = "Gain over mean pooling in points, by the share of the clip that the event fills; * is reliable:"
        content += [nodes.raw("", f"<p>{words}</p>", format="html"), as_output(markup, one_line=True)]
        return content


_CAPTION = (
    "Vertical lines are 95 % intervals over recordings and seeds, widened for the number of comparisons. The mean of "
    "all mechanisms is one comparison in each part; the others, and single mechanisms, are corrected together."
)


def _read(directive: SphinxDirective, name: str) -> Any:
    """The results of a name, None where there are none."""
    from audioattn_lib.experiments.mixtures.results import GainResults

    return read_table(directive, GainResults, f"mixtures/{name}")


def _title(results: Any) -> str:
    return str(results.made_with.get("title") or "mixtures")


def setup(app: Sphinx) -> dict[str, Any]:
    """Entry point of the extension."""
    app.add_directive("mixture-findings", MixtureFindings)
    app.add_directive("mixture-gains", MixtureGains)
    app.add_directive("mixture-results", MixtureTables)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
