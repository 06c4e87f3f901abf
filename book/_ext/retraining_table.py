"""``{retraining-results}``: the committed table of ``benchmarks/results/retraining/city.csv``, in words and as a table.

Numbers on the page are those of the file and no others; the page is built again when the file changes.
"""

from __future__ import annotations

import json
from typing import Any

import pandas as pd
from committed_results import NOTHING, RESULTS, as_output, depend_on, facts
from docutils import nodes
from library_pages import parse_markdown
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

TABLE = RESULTS / "retraining" / "city.csv"
FACTS = ("network", "epochs", "seeds", "date", "processor", "python", "torch", "git_commit")
ONCE, AGAIN = "as trained", "trained again"


class RetrainingResults(SphinxDirective):
    """Verdict, accuracies, and the source of the numbers."""

    def run(self) -> list[nodes.Node]:
        if not depend_on(self, TABLE):
            return parse_markdown(self, [NOTHING])
        rows = pd.read_csv(TABLE, keep_default_na=False, na_values=[""])
        made = json.loads(TABLE.with_suffix(".json").read_text(encoding="utf-8"))
        markup = accuracies(rows).to_html(border=0, justify="left")
        return [
            *parse_markdown(self, [*(f"- {line}" for line in verdict(rows)), ""]),
            *parse_markdown(
                self, ["Accuracy (95 % interval); difference to random frames in points (95 % interval):", ""]
            ),
            as_output(markup),
            *parse_markdown(self, [made.get("corpus", ""), "", f"Made with {facts(made, FACTS)}."]),
        ]


def verdict(rows: pd.DataFrame) -> list[str]:
    """Say for each attribution if its order costs more than a random one, before and after training again."""
    sentences = []
    for name in [name for name in dict.fromkeys(rows["attribution"]) if name not in ("none", "random")]:
        told = []
        for network, subject in ((ONCE, "the trained network"), (AGAIN, "networks that were trained again")):
            own = rows[(rows["attribution"] == name) & (rows["network"] == network)]
            worse = [f"{100 * share:.0f} %" for share in own.loc[own["high"] < 0, "fraction"]]
            better = [f"{100 * share:.0f} %" for share in own.loc[own["low"] > 0, "fraction"]]
            claim = f"reliably worse for {subject} at {', '.join(worse)}" if worse else ""
            claim += f"{' and ' if claim else ''}reliably better for {subject} at {', '.join(better)}" if better else ""
            told.append(claim or f"not shown to differ for {subject}")
        title = name.replace("_", " ").capitalize()
        sentences.append(f"{title}, against random frames: {'; '.join(told)}.")
    detectable = 100 * rows.loc[rows["network"] == AGAIN, "detectable"].dropna()
    sentences += _answer(rows)
    sentences.append(
        f"After training again, a difference below {detectable.min():.0f} to {detectable.max():.0f} points would be "
        "missed in more than one experiment of five."
    )
    return sentences


def _answer(rows: pd.DataFrame) -> list[str]:
    """Say in how many of the comparisons that cost the trained network the loss stays; nothing where none did."""
    once, again = (
        {
            (row["attribution"], row["fraction"])
            for row in rows[rows["network"] == network].to_dict(orient="records")
            if row["high"] < 0
        }
        for network in (ONCE, AGAIN)
    )
    if not once:
        return []
    kept = f"{len(once & again)} of the {len(once)} comparisons in which the trained network is reliably worse"
    needed = "Where it stays, these frames were needed: strange input alone does not explain it."
    return [f"The loss stays after training again in {kept}. {needed}"]


def finding(directive: SphinxDirective) -> tuple[bool, str] | None:
    """In how many comparisons an order by an attribution costs more than a random one, in both kinds of networks."""
    if not depend_on(directive, TABLE):
        return None
    rows = pd.read_csv(TABLE, keep_default_na=False, na_values=[""])
    compared = rows[rows["difference"].notna()]
    counts = [
        f"{int((own['high'] < 0).sum())} of {len(own)} comparisons {subject}"
        for network, subject in ((ONCE, "for the trained network"), (AGAIN, "for networks that were trained again"))
        for own in (compared[compared["network"] == network],)
    ]
    sentence = "deleting the frames that an attribution marks costs reliably more than deleting random ones in"
    return bool((compared["high"] < 0).any()), f"{sentence} {' and in '.join(counts)}."


def accuracies(rows: pd.DataFrame) -> pd.DataFrame:
    """Accuracy in per cent, with the difference to random frames in points: a row a deletion, a column a network."""
    cells: dict[str, dict[str, str]] = {}
    for row in rows.to_dict(orient="records"):
        text = f"{100 * row['score']:.1f} % ({100 * row['score_low']:.1f} to {100 * row['score_high']:.1f})"
        if pd.notna(row["difference"]):
            text += f"; {100 * row['difference']:+.1f} ({100 * row['low']:+.1f} to {100 * row['high']:+.1f})"
        share = f", {100 * row['fraction']:.0f} % deleted" if row["fraction"] else ""
        title = "Nothing deleted" if row["attribution"] == "none" else row["attribution"].replace("_", " ").capitalize()
        cells.setdefault(title + share, {})[row["network"]] = text
    return pd.DataFrame.from_dict(cells, orient="index").fillna("")


def setup(app: Sphinx) -> dict[str, Any]:
    """Entry point of the extension."""
    app.add_directive("retraining-results", RetrainingResults)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
