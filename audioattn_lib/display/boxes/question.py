"""A question that the reader answers before the page does: the answer is behind one click."""

from __future__ import annotations

import html
from collections.abc import Sequence

from ..block import Block, bold

__all__ = ["Question", "guess_first"]


class Question(Block):
    """A question with its hidden answer."""

    STYLE = "question"


def guess_first(
    question: str, answer: Sequence[str], choices: Sequence[str] = (), *, title: str = "Guess first"
) -> Question:
    """Put a question into a box whose answer opens on a click; no script, no kernel.

    Parameters
    ----------
    question
        What to guess; ``**words**`` are set in bold, here as in the answer.
    answer
        Sentences from the runs or the sound of the page, at least one.
    choices
        What to choose from; empty for a free guess.
    title
        Above the question.

    Raises
    ------
    ValueError
        When there is no answer.

    Notes
    -----
    Book page: ``primer``.
    """
    if not answer:
        raise ValueError("answer is empty; give at least one sentence")
    listed = f"<ul>{''.join(f'<li>{bold(choice)}</li>' for choice in choices)}</ul>" if choices else ""
    paragraphs = "".join(f"<p>{bold(sentence)}</p>" for sentence in answer)
    markup = (
        f'<section class="audioattn aa-question mathjax_ignore" aria-label="{html.escape(title, quote=True)}">'
        f'<p class="aa-asked">{html.escape(title)}</p><p>{bold(question)}</p>{listed}'
        f"<details><summary>Answer</summary>{paragraphs}</details></section>"
    )
    plain = [f"{title}: {question}", *(f"- {choice}" for choice in choices), f"Answer: {' '.join(answer)}"]
    return Question(markup, "\n".join(line.replace("**", "") for line in plain))
