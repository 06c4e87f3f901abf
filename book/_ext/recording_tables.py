"""``{recording-results} NAME``: a committed table of ``benchmarks/results/recordings/``, as figure, tables and verdict.

``{recording-pairs} POOLINGS NAME ...`` is one picture of the same differences in several tables.
``{recording-verdict} NAME`` is the verdict alone. ``{recording-findings}`` is the box on top of a page.
A line of its content is ``NAME: title``; ``mixtures/NAME: title``, ``correlations/NAME: title`` and
``retraining: title`` are of tables of that kind.

Numbers on the page are those of the file and no others; the page is built
again when the file changes.
"""

from __future__ import annotations

from typing import Any

from committed_results import NOTHING, as_nodes, as_output, corpus_of, facts, read_table
from docutils import nodes
from library_pages import parse_markdown
from retraining_table import finding as retraining_finding
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

FACTS = ("settings", "from_nothing", "folds", "seeds", "date", "processor", "python", "torch", "git_commit")


class RecordingFindings(SphinxDirective):
    """What several tables show and do not show, a sentence each."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        from audioattn_lib import display

        shown, open_ = [], []
        for line in self.content:
            name, _, title = line.partition(": ")
            finding = self._tell(name.strip())
            if finding is not None:
                is_shown, sentence = finding
                beginning = f"**{title}**: " if is_shown else f"{title}: "
                (shown if is_shown else open_).append(f"{beginning if title else ''}{sentence}")
        return as_nodes(display.findings(shown, open_)) if shown or open_ else []

    def _tell(self, name: str) -> tuple[bool, str] | None:
        from audioattn_lib.experiments.common.studies.pooling_results import PoolingResults
        from audioattn_lib.experiments.mixtures.results import GainResults
        from audioattn_lib.experiments.sleepiness import CorrelationResults

        if name == "retraining":
            return retraining_finding(self)
        folder, _, _ = name.rpartition("/")
        kind = {"mixtures": GainResults, "correlations": CorrelationResults}.get(folder, PoolingResults)
        results = read_table(self, kind, name if folder else f"recordings/{name}")
        return None if results is None else results.finding()


class RecordingVerdict(SphinxDirective):
    """Verdict in words."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        results = _read(self, self.arguments[0])
        return parse_markdown(self, [NOTHING if results is None else results.verdict()])


class RecordingPairs(SphinxDirective):
    """Differences of some poolings to the control, a row a pooling and table that has it, as a picture."""

    required_arguments = 2
    optional_arguments = 8

    def run(self) -> list[nodes.Node]:
        import pandas as pd

        from audioattn_lib import display

        poolings, *names = self.arguments
        tables = [table for name in names if (table := _read(self, name)) is not None]
        if not tables:
            return parse_markdown(self, [NOTHING])
        rows, seeds = [], []
        for name in poolings.split(","):
            for table in (table for table in tables if name in set(table.rows["pooling"])):
                title = table.title(name)
                row = f"{title}, {table.made_with.get('title', '')}".rstrip(", ")
                rows.append(table.differences().loc[[title]].set_axis([row]))
                seeds.append(table.seed_differences().loc[[title]].set_axis([row]))
        first = tables[0]
        figure = display.plot_gains(
            pd.concat(rows),
            seeds=pd.concat(seeds),
            reference=first.control_in_words,
            label=f"Difference to {first.control_in_words} in points of {first.measure.lower()}",
            caption="Lines are 95 % intervals over groups of clips and seeds; a thick one excludes zero.",
        )
        return as_nodes(figure)


class RecordingResults(SphinxDirective):
    """Findings, differences to the control as a picture, scores, costs, and the source of the numbers."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        from audioattn_lib import display

        results = _read(self, self.arguments[0])
        if results is None:
            return parse_markdown(self, [NOTHING])
        figure = display.plot_gains(
            results.differences(),
            seeds=results.seed_differences(),
            reference=results.control_in_words,
            label=f"Difference to {results.control_in_words} in points of {results.measure.lower()}",
            caption="Lines are 95 % intervals over groups of clips and seeds; a thick one excludes zero.",
        )
        scores = display.results_table(results.scores().rename(index=_titles(results)), label=results.measure)
        made = results.made_with
        names = [name for name in FACTS if name != "folds" or "test_folds" not in made.get("settings", "")]
        tables = [table for table in (results.gains(), results.costs(), results.pointing()) if len(table)]
        return [
            *as_nodes(display.findings(*results.findings()), figure),
            nodes.raw("", f"<div style='margin-block:1rem'>{scores.html()}</div>", format="html"),
            *(as_output(_markup(table), one_line=True) for table in tables),
            *parse_markdown(self, [corpus_of(made), "", f"Made with {facts(made, names)}."]),
        ]


def _markup(table: Any) -> str:
    return str(table.to_html(border=0, justify="left"))


def _read(directive: SphinxDirective, name: str) -> Any:
    """The results of a name, None where there are none."""
    from audioattn_lib.experiments.common.studies.pooling_results import PoolingResults

    return read_table(directive, PoolingResults, f"recordings/{name}")


def _titles(results: Any) -> dict[str, str]:
    """Titles by name, but of the references, which tables know by name."""
    rows = results.rows[~results.rows["pooling"].isin(["linear", "chance"])]
    return dict(zip(rows["pooling"], rows["title"], strict=True))


def setup(app: Sphinx) -> dict[str, Any]:
    """Entry point of the extension."""
    app.add_directive("recording-findings", RecordingFindings)
    app.add_directive("recording-pairs", RecordingPairs)
    app.add_directive("recording-results", RecordingResults)
    app.add_directive("recording-verdict", RecordingVerdict)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
