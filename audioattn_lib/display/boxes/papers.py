"""The paper beside ours: what a paper reports, what the runs of a page give, and whether the two compare."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass

from ..assets import style_tag
from ..plots.table import Table

__all__ = ["Paper", "papers_table"]


@dataclass(frozen=True)
class Paper:
    """One published figure, or a paper without one that could be verified, beside the figure of a page.

    Attributes
    ----------
    name
        Authors and year.
    links
        Addresses by what they are, such as ``(("arXiv", "https://arxiv.org/abs/2108.01988"),)``.
    corpus
        What the paper trained and tested on.
    theirs
        Its figure in words; empty where none could be verified.
    ours
        The figure of this page in words; empty where there is none.
    why
        Whether the two can be compared.
    """

    name: str
    links: tuple[tuple[str, str], ...]
    corpus: str
    theirs: str
    ours: str
    why: str


def papers_table(papers: Sequence[Paper]) -> Table:
    """Tabulate published figures beside those of a page, with links to the papers.

    Parameters
    ----------
    papers
        A row each, at least one.

    Notes
    -----
    Book page: ``urban_sound``.
    """
    if not papers:
        raise ValueError("papers is empty; give at least one")
    heads = ("Paper", "Corpus of the paper", "Its figure", "This page", "Comparable?")
    rows, lines = [], []
    for paper in papers:
        links = " ".join(
            f'<a href="{html.escape(url, quote=True)}">{html.escape(name)}</a>' for name, url in paper.links
        )
        cells = (paper.corpus, paper.theirs or "no figure that we could verify", paper.ours or "none", paper.why)
        rows.append(
            f'<tr><th scope="row">{html.escape(paper.name)}<br><small>{links}</small></th>'
            + "".join(
                f'<td data-head="{head}">{html.escape(cell)}</td>' for head, cell in zip(heads[1:], cells, strict=True)
            )
            + "</tr>"
        )
        lines.append(f"{paper.name}: {'; '.join(cells)}")
    head = "".join(f'<th scope="col">{name}</th>' for name in heads)
    markup = (
        '<div class="audioattn aa-table aa-papers mathjax_ignore"><table class="dataframe">'
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )
    return Table(f"{style_tag('papers')}{markup}", "\n".join(lines))
