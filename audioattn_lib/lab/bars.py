"""Predictions of several models for one clip as bars."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence

from audioattn_lib.display.block import Block

__all__ = ["Bars", "bars"]

MOST_CLASSES = 3


class Bars(Block):
    """A table with a bar for each prediction."""

    STYLE = "explorer"


def bars(answers: Mapping[str, Mapping[str, float] | float], label: str, *, most: int = MOST_CLASSES) -> Bars:
    """Draw the answer of each model: the most probable classes and that of the label, or a number.

    Parameters
    ----------
    answers
        By title of the model: probability of each class, or a number.
    label
        Label of the clip, several classes joined by ``;``; empty where it is unknown.
    most
        Classes of each model, at least 1.
    """
    true = set(label.split(";")) - {""}
    rows, lines = [], []
    for title, answer in answers.items():
        if isinstance(answer, Mapping):
            best = sorted(answer, key=lambda name: -answer[name])[:most]
            names = [*best, *(name for name in answer if name in true and name not in best)]
            cells = "".join(_bar(name, answer[name], is_right=name in true) for name in names)
            lines.append(f"{title}: " + ", ".join(f"{name} {answer[name]:.2f}" for name in names))
        else:
            cells = html.escape(f"{answer:.3g}")
            lines.append(f"{title}: {answer:.3g}")
        rows.append(f'<tr><th scope="row">{html.escape(title)}</th><td><div>{cells}</div></td></tr>')
    caption = f"<caption>Label: {html.escape(label or 'unknown')}</caption>"
    markup = f'<div class="audioattn aa-bars mathjax_ignore"><table>{caption}{"".join(rows)}</table></div>'
    return Bars(markup, "\n".join([f"Label: {label or 'unknown'}", *lines]))


def _bar(name: str, value: float, *, is_right: bool) -> str:
    mark = " aa-right" if is_right else ""
    return (
        f'<span class="aa-bar{mark}"><i style="width:{100 * min(max(value, 0.0), 1.0):.1f}%"></i>'
        f"<b>{html.escape(name)} {value:.2f}</b></span>"
    )


def as_answers(names: Sequence[str], values: Sequence[float]) -> dict[str, float]:
    """Probabilities by class."""
    return {name: float(value) for name, value in zip(names, values, strict=True)}
