"""Results as a table that one reads at a glance and a screen reader reads aloud."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from audioattn_lib.core.numbers import in_percent, tenths, with_minus

from ..block import Block
from ..describe import mechanism_title
from .results import MEASURES, REFERENCES, require

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Table", "attention_evaluation_table", "results_table"]

HEADINGS = {
    "unweighted_average_recall": "UAR",
    "macro_f1": "Macro F1",
    "macro_auc": "Macro AUC",
}


class Table(Block):
    """A table."""

    STYLE = "table"


def results_table(
    table: pd.DataFrame,
    *,
    references: Sequence[str] = REFERENCES,
    label: str = "Accuracy",
    scores: Sequence[str] = ("unweighted_average_recall",),
    lower_is_better: bool = False,
    caption: str = "",
) -> Table:
    """Results of a study: score and interval of each system, baseline and chance set apart; the best row in bold.

    Parameters
    ----------
    table
        One row a system with the columns ``score``, ``low`` and ``high`` (NaN
        for none) in [0, 1], such as ``Study.table()`` returns. Shown too where they exist:
        ``difference``, ``difference_low``, ``difference_high`` (to the
        baseline, in points) with ``p_holm``.
    references
        Rows to set apart below the systems: baselines and chance.
    label
        Name of the score.
    scores
        Further columns in [0, 1] to show; those the table lacks are passed over.
    lower_is_better
        The score is an error: the lowest is the best.
    caption
        Text above the table.

    Notes
    -----
    Book page: ``urban_sound``.
    """
    require(table, ("score", "low", "high"))
    further = [name for name in scores if name in table.columns]
    compared = "difference" in table.columns
    heads = [
        "",
        label,
        *(["Against the baseline"] if compared else []),
        *(HEADINGS.get(name, name.replace("_", " ").capitalize()) for name in further),
    ]
    chance = float(table.loc["chance", "score"]) if "chance" in table.index else None
    systems = [name for name in table.index if str(name) not in references]
    candidates = [float(table.loc[name, "score"]) for name in table.index if name != "chance"]
    best = (min if lower_is_better else max)(candidates, default=math.nan)  # a baseline may be the best of all
    rows, lines = [], []
    for name in [*systems, *(name for name in references if name in table.index)]:
        row = table.loc[name]
        score, low, high = (float(row[column]) for column in ("score", "low", "high"))
        system = mechanism_title(str(name))
        between = "" if math.isnan(low) else f" <small>{tenths(100 * low)}–{tenths(100 * high)}</small>"
        roles = ["aa-reference"] * (str(name) in references) + ["aa-best"] * (score == best and name != "chance")
        kind = f' class="{" ".join(roles)}"' if roles else ""
        cells = [
            f'<th scope="row">{html.escape(system)}</th>',
            # the picture of the interval repeats its numbers: beside them, on a phone below them
            f'<td><div class="aa-score"><span><b>{in_percent(score)}</b>{between}</span>'
            f"{_whisker(score, low, high, chance)}</div></td>",
        ]
        if compared:
            cells.append(f"<td>{_difference(row)}</td>")
        cells.extend(f"<td>{_share(float(row[column]))}</td>" for column in further)
        rows.append(f"<tr{kind}>{''.join(cells)}</tr>")
        interval = "" if math.isnan(low) else f" ({tenths(100 * low)} to {tenths(100 * high)})"
        lines.append(f"{system}: {in_percent(score)}{interval}")
    return _whole("aa-table", heads, rows, lines, caption)


def attention_evaluation_table(
    table: pd.DataFrame, *, titles: Mapping[str, str] | None = None, caption: str = ""
) -> Table:
    """Localisation and faithfulness of each mechanism in numbers: :func:`.plot_attention_evaluation` draws it.

    Parameters
    ----------
    table
        As :func:`.plot_attention_evaluation` takes it, with at least one row.
    titles
        Names to show, by those of the first column.
    caption
        Text above the table.

    Notes
    -----
    Book page: ``urban_sound_results``.
    """
    require(table, ("measure", "value", "uniform", "random"))
    by = str(table.columns[0])
    with_gain = {"gain", "gain_low", "gain_high"} <= set(table.columns)
    further = ["swapped"] * ("swapped" in table.columns)
    heads = ["", "Measure", "Value", "Uniform", *(["Gain over uniform"] if with_gain else []), "Random", *further]
    rows, lines = [], []
    before = ""
    for row in table.to_dict(orient="records"):
        name = (titles or {}).get(str(row[by])) or mechanism_title(str(row[by]))
        measure = MEASURES.get(row["measure"], str(row["measure"]).replace("_", " ").capitalize()).replace("\n", " ")
        cells = [measure, *(_hundredths(row[column]) for column in ("value", "uniform"))]
        if with_gain:
            ends = f" <small>{_hundredths(row['gain_low'], '+')} to {_hundredths(row['gain_high'], '+')}</small>"
            cells.append(_hundredths(row["gain"], "+") + ends if not math.isnan(float(row["gain"])) else "")
        cells += [_hundredths(row[column]) for column in ("random", *further)]
        heading = "" if name == before else html.escape(name)
        before = name
        rows.append(f'<tr><th scope="row">{heading}</th>{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>')
        lines.append(f"{name}, {measure}: {_hundredths(row['value'])}, uniform {_hundredths(row['uniform'])}")
    return _whole("aa-table aa-dense", [head.capitalize() for head in heads], rows, lines, caption)


def _whole(kind: str, heads: Sequence[str], rows: Sequence[str], lines: Sequence[str], caption: str) -> Table:
    """Join the rows of a table under its headings; lines are its text."""
    head = "".join(f'<th scope="col">{html.escape(each)}</th>' if each else "<td></td>" for each in heads)
    about = f"<caption>{html.escape(caption)}</caption>" if caption else ""
    markup = (
        f'<div class="audioattn {kind} mathjax_ignore"><table class="dataframe">{about}<thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )
    return Table(markup, "\n".join(lines))


def _hundredths(value: float, sign: str = "") -> str:
    """A number with two decimals, empty for none; what rounds to zero has no sign."""
    rounded = round(float(value), 2) + 0.0
    return "" if math.isnan(rounded) else with_minus(f"{rounded:{sign if rounded else ''}.2f}")


def _whisker(score: float, low: float, high: float, chance: float | None) -> str:
    line = "" if chance is None else f'<path class="aa-chance" d="M{100 * chance:.1f} 0V16"/>'
    interval = "" if math.isnan(low) else f'<path class="aa-interval" d="M{100 * low:.1f} 8H{100 * high:.1f}"/>'
    return (
        '<svg viewBox="-4 0 108 16" width="108" height="16" aria-hidden="true">'
        f'<path class="aa-scale" d="M0 8H100"/>{line}{interval}'
        f'<circle cx="{100 * score:.1f}" cy="8" r="4"/></svg>'
    )


def _difference(row: pd.Series) -> str:
    value = float(row["difference"])
    if math.isnan(value):
        return ""
    low, high = float(row["difference_low"]), float(row["difference_high"])
    p_value = float(row.get("p_holm", math.nan))
    p = "" if math.isnan(p_value) else f" · p\N{NO-BREAK SPACE}{_p(p_value)}"
    return f"{_signed(value)} <small>{_signed(low)} to {_signed(high)}{p}</small>"


def _signed(value: float) -> str:
    return with_minus(tenths(100 * value, "+"))


def _p(value: float) -> str:
    return ("&lt; 0.001" if value < 0.001 else f"= {value:.2g}").replace(" ", "\N{NO-BREAK SPACE}")


def _share(value: float) -> str:
    return "" if math.isnan(value) else in_percent(value)
