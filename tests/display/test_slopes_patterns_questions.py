"""Slope plots, drawings of attention patterns, questions before their answers, and the table of evidence."""

import numpy as np
import pandas as pd
import pytest

from audioattn_lib.display import attention_evaluation_table, guess_first, plot_pattern, plot_slopes
from audioattn_lib.display.style import LIGHT


def _scores(*values):
    values = np.array(values)
    return pd.DataFrame({"score": values, "low": values - 0.1, "high": values + 0.1}, index=["Dense", "Rows", "linear"])


def test_a_slope_leads_from_the_known_score_to_the_unknown_one():
    start, ends = _scores(0.8, 0.7, 0.6), {"unseen device": _scores(0.4, 0.6, 0.5), "other": _scores(0.1, 0.2, 0.3)}
    shown = plot_slopes(start, ends, looks={"Dense": (0, 0), "Rows": (0, 1)})
    axes = shown.draw(LIGHT).axes
    assert [[t.get_text() for t in ax.get_xticklabels()] for ax in axes] == [
        ["seen", "unseen device"],
        ["seen", "other"],
    ]
    lines = [line.get_ydata().tolist() for line in axes[0].lines if line.get_marker() != "None"]
    assert lines == [[0.8, 0.4], [0.7, 0.6], [0.6, 0.5]]
    colours = [line.get_color() for line in axes[0].lines if line.get_marker() != "None"]
    assert colours[0] == colours[1] != colours[2] == LIGHT.chance
    assert "Dense 80.0 % to 40.0 %" in shown.alt
    assert set(shown.narrow) == {"light", "dark"}
    assert plot_slopes(start, {}, missing="One test only.").alt == "One test only."
    with pytest.raises(ValueError, match="start or ends is empty"):
        plot_slopes(start, {})


def test_a_pattern_is_drawn_on_the_patches_and_as_a_table():
    mask = np.kron(np.eye(3, dtype=bool), np.ones((4, 4), dtype=bool))  # three rows of four patches, each its own row
    shown = plot_pattern(mask, 3, 4, patch=(1, 2))
    patches, pairs = shown.draw(LIGHT).axes
    assert patches.collections[0].get_array().reshape(3, 4).tolist() == [[0] * 4, [1] * 4, [0] * 4]
    assert pairs.images[0].get_array().tolist() == mask.tolist()
    assert all(ax.get_xlabel() and ax.get_ylabel() for ax in (patches, pairs))
    assert "row 2 and column 3 attends to 4, in 1 rows; 33 % of all pairs" in shown.alt
    with pytest.raises(ValueError, match=r"mask has shape \(2, 2\) for 3 x 4 patches"):
        plot_pattern(mask[:2, :2], 3, 4)


def test_an_answer_is_behind_its_question():
    asked = guess_first("Which is **sparse**?", ["Sparsemax: 3 < 5."], ["softmax", "sparsemax"])
    question, _, answer = asked.markup.partition("<details>")
    assert "<b>sparse</b>" in question
    assert question.count("<li>") == 2
    assert "Sparsemax: 3 &lt; 5." in answer
    assert "Sparsemax: 3" not in question
    assert repr(asked).endswith("Answer: Sparsemax: 3 < 5.")
    with pytest.raises(ValueError, match="answer is empty"):
        guess_first("Why?", [])


def test_evidence_is_told_in_names_and_without_a_minus_before_zero():
    row = {"value": 0.5, "uniform": 0.25, "random": np.nan, "gain": -0.001, "gain_low": -0.2, "gain_high": 0.2}
    table = pd.DataFrame(
        [{"attention": "entmax15", "measure": name, **row} for name in ("pointing_game", "deletion_area")]
    )
    shown = attention_evaluation_table(table)
    assert "Pointing game" in shown.markup
    assert "Deletion area (lower is better)" in shown.markup
    assert "0.00 <small>−0.20 to +0.20" in shown.markup
    assert not any(name in shown.markup for name in ("entmax15", "nan", "pointing_game"))
    assert "Mine" in attention_evaluation_table(table, titles={"entmax15": "Mine"}).markup
