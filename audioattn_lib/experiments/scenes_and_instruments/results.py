"""Results in and out of the domains of training as a table: to read, to draw, to keep in a file.

:class:`~audioattn_lib.experiments.scenes_and_instruments.study.DomainStudy` makes it from runs;
a file gives it back without them.

Book page: ``scenes_and_instruments``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from audioattn_lib.attention.patterns.names import parse_pattern
from audioattn_lib.core.errors import RunError
from audioattn_lib.core.numbers import in_percent

from ..common.studies.phrases import Found, found, gain, gain_in_points, lower_first, names, p_value, share
from ..common.studies.study import Study
from ..common.studies.table_files import ResultsTable
from .domain_methods import NONE, domain_method_title, parse_domain_method

__all__ = ["BASELINE", "CHANCE", "WORST", "DomainResults", "pattern_title", "test_title"]

BASELINE = "linear"
"""Name of the linear baseline in every table."""
CHANCE = "chance"
WORST = "worst_group"
"""Stands for a test set: of each network, the domain of a test set that it does worst on."""


def pattern_title(pattern: str) -> str:
    """Return the title of a pattern (or of several, one per layer) for tables and plots."""
    if pattern == BASELINE:
        return "Linear baseline"
    return ", ".join(dict.fromkeys(parse_pattern(name.strip()).title for name in pattern.split(",")))


def test_title(test: str) -> str:
    """Return the name of a test set for people, such as ``unseen device``."""
    return test.removeprefix("test_").replace("_", " ")


@dataclass(frozen=True)
class DomainResults(ResultsTable):
    """Scores of networks on several test sets.

    Parameters
    ----------
    rows
        A row for each pattern, domain method and test set, the linear baseline and
        chance among them, with the columns ``runs``, ``score`` (share of clips
        predicted right, mean over seeds), its 95 % interval ``low`` to ``high``
        over recordings and seeds, ``std`` over seeds, ``group`` (which one is the
        worst), the paired ``difference`` to dense attention with the same
        domain method and the paired ``gain`` over the same pattern without
        domain method, each with interval and p-value, corrected for the number of
        patterns (Holm), and the smallest difference that could be seen.
    made_with
        Where the numbers come from, text by name.

    Notes
    -----
    Book page: ``scenes_and_instruments``.
    """

    COLUMNS = (
        *("pattern", "domain_method", "test", "runs", "score", "low", "high", "std", "group"),
        *("difference", "difference_low", "difference_high", "difference_p", "difference_detectable"),
        *("gain", "gain_low", "gain_high", "gain_p", "gain_detectable"),
    )
    TEXT = ("pattern", "domain_method", "group")
    LATER = ("difference_detectable", "gain_detectable")

    @property
    def tests(self) -> list[str]:
        """Test sets by name."""
        return [name for name in sorted(set(self.rows["test"])) if name != WORST]

    @property
    def seen_test(self) -> str:
        """The test set of the domains of training; empty where there is none."""
        return next((name for name in self.tests if name.endswith("_seen")), "")

    @property
    def domain_methods(self) -> list[str]:
        """Domain methods in the order of the rows."""
        return list(dict.fromkeys(self._networks["domain_method"]))

    @property
    def references(self) -> list[str]:
        """Rows of :meth:`scores` that are no patterns, of all tests: the baseline with each centring, chance last."""
        references = self.rows[self.rows["pattern"].isin([BASELINE, CHANCE])]
        titles = dict.fromkeys(self._name(row) for row in references.to_dict(orient="records"))
        return sorted(titles, key=lambda title: title == CHANCE)  # keeps the order otherwise

    def scores(self, test: str, domain_method: str | None = None) -> pd.DataFrame:
        """One test set for a table or a picture: a row a pattern and domain method by title, references last.

        With one domain method, titles leave it out, and the baseline is that with the same centring.
        Columns ``runs``, ``score``, ``low``, ``high`` and ``std``. Of the worst group the titles say which it is.
        """
        rows = self._of(test).to_dict(orient="records")
        if domain_method is not None:
            centring = parse_domain_method(domain_method)["band_normalization"]
            centring_of = {BASELINE: centring, CHANCE: ""}
            rows = [
                {**row, "domain_method": NONE}
                for row in rows
                if row["domain_method"] == centring_of.get(row["pattern"], domain_method)
            ]
        rows.sort(key=lambda row: row["pattern"] in (BASELINE, CHANCE))  # keeps the order otherwise
        scores = pd.DataFrame.from_dict({self._name(row): row for row in rows}, orient="index")
        return scores[["runs", "score", "low", "high", "std"]].rename_axis("model")

    def unseen_scores(self) -> dict[str, pd.DataFrame]:
        """:meth:`scores` of every test set that is not that of the domains of training, by its title."""
        return {test_title(test): self.scores(test) for test in self.tests if test != self.seen_test}

    def looks(self) -> dict[str, tuple[int, int]]:
        """Numbers of a colour and a dash of each network by title: a colour a domain method, a dash a pattern."""
        patterns = list(dict.fromkeys(self._networks["pattern"]))
        rows = self._networks.drop_duplicates(["pattern", "domain_method"]).assign(group="")
        return {
            self._name(row): (self.domain_methods.index(row["domain_method"]), patterns.index(row["pattern"]))
            for row in rows.to_dict(orient="records")
        }

    def pattern_differences(self, test: str) -> pd.DataFrame:
        """Tabulate gains of each pattern over dense attention with the same domain method, in percentage points.

        A row a pattern, a column a domain method; text for a table: difference, 95 % interval, corrected p-value.
        """
        return self._points(test, "difference")

    def domain_method_differences(self, test: str) -> pd.DataFrame:
        """Tabulate gains of each domain method over none with the same pattern, as :meth:`pattern_differences`."""
        return self._points(test, "gain")

    def verdict(self, test: str) -> str:
        """Summarise the results on one test set as text, with no claim beyond their confidence intervals."""
        sentences = [sentence for sentence, _ in self._sentences(test)]
        return " ".join([f"Test set *{test_title(test)}*:", *sentences, self.power(test)])

    def findings(self) -> Found:
        """The sentences of all test sets: what is shown, and what is not; one sentence where several say the same."""
        tests: dict[tuple[str, bool], list[str]] = {}
        for test in self.tests:
            for sentence in self._sentences(test):
                tests.setdefault(sentence, []).append(test_title(test))
        shown, left_open = found(
            (f"{', '.join(titles).capitalize()}: {lower_first(sentence)}", is_shown)
            for (sentence, is_shown), titles in tests.items()
        )
        detectable = self._networks[["difference_detectable", "gain_detectable"]].to_numpy(dtype=float)
        return shown, [*left_open, *filter(None, [Study.power_note(detectable.ravel())])]

    def _sentences(self, test: str) -> list[tuple[str, bool]]:
        """The results on one test set, each sentence with whether it says what is shown."""
        networks = self._networks[self._networks["test"] == test]
        titled = networks.set_index(pd.Index([self._name(row) for row in networks.to_dict(orient="records")]))
        best = Study.highest(titled)
        linear = self.rows[(self.rows["test"] == test) & (self.rows["pattern"] == BASELINE)]
        base = linear.loc[linear["score"].idxmax()]
        method = domain_method_title(str(base["domain_method"]))
        titles, score = names([f"**{title}**" for title in best], most=len(best)), titled.loc[best[0]]
        if len(best) == 1:
            highest = f"{titles} scores highest of the networks: {share(score)}"
        else:
            highest = f"{titles} score highest of the networks: {in_percent(score['score'])} each"
        text = [(f"{highest}; the linear baseline has {share(base)}{f' with {method}' if method else ''}.", True)]
        for name, against in (
            ("difference", "dense attention with the same domain method"),
            ("gain", "no domain method"),
        ):
            compared = networks[networks[f"{name}_p"].notna()]
            if len(compared):
                sure = compared[compared[f"{name}_p"] < 0.05]
                better, worse = (
                    [f"{self._name(row)}, {_gain(row, name)}" for row in rows.to_dict(orient="records")]
                    for rows in (sure[sure[name] > 0], sure[sure[name] < 0])
                )
                none = f"None of {len(compared)} is reliably better than {against}."
                text.append((_reliably("better", against, better) if better else none, bool(better)))
                if worse:
                    text.append((_reliably("worse", against, worse), True))
        return text

    def power(self, test: str) -> str:
        """Say which differences on this test set could not be seen; empty where the table does not know."""
        detectable = self._networks.loc[self._networks["test"] == test, ["difference_detectable", "gain_detectable"]]
        return Study.power_note(detectable.to_numpy(dtype=float).ravel())

    @property
    def _networks(self) -> pd.DataFrame:
        return self.rows[~self.rows["pattern"].isin([BASELINE, CHANCE])]

    def _of(self, test: str) -> pd.DataFrame:
        rows = self.rows[self.rows["test"] == test]
        if rows.empty:
            raise RunError(f"there is no test {test!r}; there are {', '.join([*self.tests, WORST])}")
        return rows

    def _points(self, test: str, name: str) -> pd.DataFrame:
        rows: dict[str, dict[str, str]] = {}
        for row in self._of(test).to_dict(orient="records"):
            if pd.notna(row[name]):
                column = domain_method_title(row["domain_method"]) or "no domain method"
                difference = gain_in_points(row, *_columns(name))
                text = f"{difference}, {p_value(row[f'{name}_p'])}"
                rows.setdefault(pattern_title(row["pattern"]), {})[column] = text
        return pd.DataFrame.from_dict(rows, orient="index").fillna("")

    @staticmethod
    def _name(row: Mapping[str, Any]) -> str:
        if row["pattern"] == CHANCE:
            return CHANCE
        group = test_title(str(row["group"]))
        is_plain_baseline = row["pattern"] == BASELINE and not (group and row["domain_method"] == NONE)
        name = BASELINE if is_plain_baseline else pattern_title(row["pattern"])
        name = name if row["domain_method"] == NONE else f"{name}, {domain_method_title(row['domain_method'])}"
        return f"{name} ({group})" if group else name


def _reliably(relation: str, against: str, entries: Sequence[str]) -> str:
    return f"Reliably {relation} than {against} {'is' if len(entries) == 1 else 'are'} {'; '.join(entries)}."


def _gain(row: Mapping[Any, Any], name: str) -> str:
    return gain(row, *_columns(name))


def _columns(name: str) -> tuple[str, str, str]:
    """Columns of a paired comparison: its difference and the ends of the interval."""
    return name, f"{name}_low", f"{name}_high"
