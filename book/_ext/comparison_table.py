"""``{comparison-PART} NAME``: a committed table of ``benchmarks/results/comparison/``.

Numbers on the page are those of the file and no others; the page is built
again when the file changes.
"""

from __future__ import annotations

from typing import Any

from committed_results import NOTHING, as_nodes, as_output, facts, read_table
from docutils import nodes
from library_pages import parse_markdown
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

FACTS = ("settings", "seeds", "date", "processor", "python", "torch", "git_commit")


class ComparisonPart(SphinxDirective):
    """One part of the page; which one is the name of the directive."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        from audioattn_lib.experiments.comparison import ComparisonResults

        results = read_table(self, ComparisonResults, f"comparison/{self.arguments[0]}")
        if results is None:
            return parse_markdown(self, [NOTHING])
        made: list[nodes.Node] = getattr(self, self.name.removeprefix("comparison-"))(results)
        return made

    def findings(self, results: Any) -> list[nodes.Node]:
        """What is shown and what is not, in a box."""
        from audioattn_lib import display
        from audioattn_lib.experiments import comparison

        return as_nodes(display.findings(*comparison.findings(results)))

    def table(self, results: Any) -> list[nodes.Node]:
        """All rows, to sort and to filter."""
        from audioattn_lib import display
        from audioattn_lib.experiments import comparison

        table = results.table()
        sortable = display.sortable_table(
            table.assign(is_reference=table["family"] == "Reference"),
            [display.Column(*column) for column in comparison.COLUMNS],
            filters=("task", "family"),
            first={"task": results.tasks[0].title},
            reliable=("difference_low", "difference_high"),
            reliable_label="only what differs reliably from the mean",
            references="is_reference",
            label="Every mechanism on every task",
        )
        # the look of the table of the chapter, which is the output of a cell
        return [as_output(sortable.html())]

    def uses(self, results: Any) -> list[nodes.Node]:
        """What to use when, in a list."""
        from audioattn_lib.experiments import comparison

        return parse_markdown(self, comparison.uses(results).splitlines())

    def source(self, results: Any) -> list[nodes.Node]:
        """Tasks, networks, and where the numbers come from."""
        told = results.made_with
        return parse_markdown(self, [*told.get("corpus", "").splitlines(), "", f"Made with {facts(told, FACTS)}.", ""])

    def gains(self, results: Any) -> list[nodes.Node]:
        """Differences to the mean on each task, as a picture."""
        from audioattn_lib import display

        table = results.table()
        table = table[table["difference"].notna()].set_index("mechanism")
        columns = {"difference_low": "low", "difference_high": "high"}
        shown = table[["task", "difference", *columns]].rename(columns=columns)
        panels = {task.title: shown[shown["task"] == task.title] for task in results.tasks}
        caption = (
            "Lines are 95 % intervals over recordings or speakers and seeds, corrected for the number of rows of a "
            "task (Holm); a thick one excludes zero. The last row is a linear baseline, without a network."
        )
        return as_nodes(display.plot_gain_panels(panels, caption=caption))


def setup(app: Sphinx) -> dict[str, Any]:
    """Entry point of the extension."""
    for name in ("findings", "table", "gains", "uses", "source"):
        app.add_directive(f"comparison-{name}", ComparisonPart)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
