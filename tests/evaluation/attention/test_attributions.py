"""Verdicts on attributions follow from the numbers of their table."""

import pandas as pd
import pytest

from audioattn_lib.evaluation.attention.attributions import judge_attributions

BETTER = {"gain_low": 0.1, "gain_high": 0.3, "random_p": 0.01}
BY_CHANCE = {"gain_low": 0.1, "gain_high": 0.3, "random_p": 0.2}
OPEN = {"gain_low": -0.1, "gain_high": 0.3, "random_p": 0.4}
WORSE = {"gain_low": -0.3, "gain_high": -0.1, "random_p": 0.01}


def table(**rows: dict[str, float]) -> pd.DataFrame:
    return pd.concat({"mine": pd.DataFrame.from_dict(rows, orient="index")}, names=["attribution", "measure"])


@pytest.mark.parametrize(
    ("rows", "word"),
    [
        ((BETTER, BETTER), "yes"),
        ((BETTER, OPEN), "in part"),
        ((BETTER, WORSE), "in part"),
        ((OPEN, BY_CHANCE), "not shown"),  # better than uniform attention, but at any place
        ((OPEN, WORSE), "no"),
    ],
)
def test_use_by_deletion_and_insertion(rows, word):
    verdict = judge_attributions(table(deletion_area=rows[0], insertion_area=rows[1])).loc["mine"]
    assert verdict["the network used it"] == word
    assert verdict["finds the event"] == "not known"
    assert verdict["depends on the weights"] == "not known"


def test_an_event_needs_all_three_measures():
    rows = dict.fromkeys(("pointing_game", "mass_inside_events", "rank_accuracy"), BETTER)
    assert judge_attributions(table(**rows)).loc["mine", "finds the event"] == "yes"
    rows["rank_accuracy"] = OPEN
    assert judge_attributions(table(**rows)).loc["mine", "finds the event"] == "in part"


@pytest.mark.parametrize(("low", "high", "word"), [(-0.1, 0.4, "yes"), (0.6, 0.9, "no"), (0.3, 0.7, "not shown")])
def test_likeness_to_random_weights(low, high, word):
    rows = {"randomised_weights": {"low": low, "high": high, **OPEN}}
    assert judge_attributions(table(**rows)).loc["mine", "depends on the weights"] == word
