"""The findings of the chapter in sentences, from its runs.

Book page: ``scenes_and_instruments``.
"""

from __future__ import annotations

import pandas as pd

from ..common.studies.phrases import Found, gain, lower_first, names, share, span
from .domain_methods import domain_method_title
from .results import BASELINE, CHANCE, DomainResults, pattern_title, test_title
from .study import DomainStudy

__all__ = ["findings", "main_test"]


def main_test(results: DomainResults) -> str:
    """The test set that the chapter is about: unseen devices or sources, otherwise the first unseen, or the first."""
    unseen = [name for name in results.tests if "unseen" in name] or results.tests
    return next((name for name in unseen if "device" in name or "source" in name), unseen[0])


def findings(study: DomainStudy) -> Found:
    """Three findings of a study and what it does not show.

    Parameters
    ----------
    study
        As :func:`~audioattn_lib.experiments.scenes_and_instruments.study` makes it.

    Returns
    -------
    shown, not_shown
        Sentences, with the numbers of these runs.

    Notes
    -----
    Book page: ``scenes_and_instruments``.
    """
    results = study.results()
    test = main_test(results)
    shown: list[str] = []
    open_: list[str] = []
    rows = results.rows[results.rows["test"] == test]
    networks = rows[~rows["pattern"].isin([BASELINE, CHANCE])]
    linear = rows[rows["pattern"] == BASELINE]
    beside = ""
    if len(linear):
        base = linear.loc[linear["score"].idxmax()]
        beside = f"; the {lower_first(_name(base))} has {share(base)}"
    scores = span(list(networks["score"]))
    shown.append(f"On {_plain(test)}, **the networks are right in {scores}** of the clips{beside}.")
    compared = networks[networks["difference_p"].notna()]
    if len(compared):
        _tell(compared, "difference", "Restricted attention over frequency", "dense attention", shown, open_, test)
    for method, of_method in networks[networks["gain_p"].notna()].groupby("domain_method", sort=False):
        training = f"Training with {domain_method_title(str(method))}"
        _tell(of_method, "gain", training, "training without", shown, open_, test)
    shown += filter(None, [_cost(results, test), _baseline_ahead(results, test)])
    return shown, [*open_, *filter(None, [results.power(test)]), study.seed_note]


def _tell(rows: pd.DataFrame, measure: str, who: str, over: str, shown: list[str], open_: list[str], test: str) -> None:
    """Add a sentence on the differences of one kind to what is shown, or to what is not."""
    sure = rows[rows[f"{measure}_p"] < 0.05]
    better, worse = sure[sure[measure] > 0], sure[sure[measure] < 0]
    extreme = rows.loc[rows[measure].abs().idxmax()]
    largest = f"the largest difference is {_points(extreme, measure)}, of {_name(extreme)}"
    if len(better):
        titles = names([_name(row) for _, row in better.iterrows()])
        shown.append(f"{who} is better than {over} on {_plain(test)} for {titles}; {largest}.")
    elif not len(worse):
        open_.append(
            f"That {lower_first(who)} changes the score on {_plain(test)}: no difference to {over} is reliable; "
            f"{largest}."
        )
    if len(worse):
        titles = names([_name(row) for _, row in worse.iterrows()])
        shown.append(f"{who} is worse than {over} on {_plain(test)} for {titles}; {largest}.")


def _cost(results: DomainResults, test: str) -> str:
    """Say on which other test sets a domain method makes networks worse; empty where on none."""
    rows = results.rows[(results.rows["test"] != test) & results.rows["test"].isin(results.tests)]
    worse = rows[(rows["gain_p"] < 0.05) & (rows["gain"] < 0) & ~rows["pattern"].isin([BASELINE, CHANCE])]
    if not len(worse):
        return ""
    extreme = worse.loc[worse["gain"].idxmin()]
    where = names([_plain(name) for name in dict.fromkeys(worse["test"])])
    method = domain_method_title(str(extreme["domain_method"]))
    return f"It costs elsewhere: with {method}, up to {_points(extreme, 'gain')} on {where}."


def _baseline_ahead(results: DomainResults, test: str) -> str:
    """Say on which other test sets no network has a higher score than the linear baseline; empty where on none."""
    sentences = []
    for other in [name for name in results.tests if name != test]:
        rows = results.rows[results.rows["test"] == other]
        linear, networks = rows[rows["pattern"] == BASELINE], rows[~rows["pattern"].isin([BASELINE, CHANCE])]
        if len(linear) and len(networks) and linear["score"].max() >= networks["score"].max():
            base, best = (of.loc[of["score"].idxmax()] for of in (linear, networks))
            sentences.append(f"{_plain(other)}: {share(base)}, the best network {share(best)}")
    return f"No network scores above the {BASELINE} baseline on {'; on '.join(sentences)}." if sentences else ""


def _points(row: pd.Series, measure: str) -> str:
    return gain(row, measure, f"{measure}_low", f"{measure}_high")


def _name(row: pd.Series) -> str:
    method = domain_method_title(str(row["domain_method"]))
    return pattern_title(str(row["pattern"])) + (f" with {method}" if method else "")


def _plain(test: str) -> str:
    return f"{test_title(test)}s" if "unseen" in test else "the seen domains"
