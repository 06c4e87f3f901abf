"""Networks compared in and out of the domains of their training: means over seeds, intervals, paired differences.

It trains nothing. Every network of every seed tests the same clips, so two of
them are compared clip by clip.

Book page: ``scenes_and_instruments``.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from audioattn_lib.core.errors import RunError
from audioattn_lib.evaluation.scores.domains import domain_scores
from audioattn_lib.evaluation.statistics import comparisons as statistics
from audioattn_lib.evaluation.statistics import systems
from audioattn_lib.evaluation.statistics.intervals import Interval
from audioattn_lib.training.run_directory import Run

from ..common.studies.study import Study
from .domain_methods import NONE, domain_method_of
from .results import BASELINE, CHANCE, WORST, DomainResults, pattern_title

__all__ = ["DomainStudy"]

_REFERENCE = "dense"
_DATED = ("python", "device", "git_commit")


@dataclass(frozen=True)
class DomainStudy(Study):
    """Runs that differ in pattern, domain method and seed, tested on the same clips of several test sets.

    Its baselines are the linear baseline with each centring.

    Notes
    -----
    Book page: ``scenes_and_instruments``.
    """

    @property
    def patterns(self) -> list[str]:
        """Patterns in the order of the runs."""
        return list(dict.fromkeys(str(run.config["pattern"]) for run in self.runs))

    @property
    def domain_methods(self) -> list[str]:
        """Domain methods in the order of the runs."""
        return list(dict.fromkeys(domain_method_of(run.config) for run in self.runs))

    @property
    def tests(self) -> list[str]:
        """Test sets by name."""
        return sorted(set(self.runs[0].predictions["split"]))

    def title(self, name: str) -> str:
        """Return the title of a pattern for tables and plots."""
        return pattern_title(name)

    def of(self, pattern: str, domain_method: str) -> list[Run]:
        """The runs of one pattern (or of the baseline) with one domain method, a run a seed."""
        among = self.baselines if pattern == BASELINE else self.runs
        runs = [
            run
            for run in among
            if pattern in (BASELINE, run.config.get("pattern")) and domain_method_of(run.config) == domain_method
        ]
        if not runs:
            raise RunError(
                f"no run with pattern {pattern!r} and domain method {domain_method!r}; there are "
                f"{', '.join(self.patterns)} with {', '.join(self.domain_methods)}"
            )
        return runs

    def correct(self, pattern: str, domain_method: str) -> pd.DataFrame:
        """Each clip's ``split``, ``domain`` and ``domain_seen``, and the share of seeds that were ``right``.

        Clips come in the same order for all.
        """
        tables = [run.predictions for run in self.of(pattern, domain_method)]
        result = tables[0][["clip", "split", "domain", "domain_seen"]].copy()
        result["domain"] = result["domain"].fillna("")
        result["right"] = _right(tables).mean(axis=0)
        return result

    def results(self) -> DomainResults:
        """The table of all scores and paired differences, and what the runs were made with."""
        tables = {
            (name, domain_method): self.correct(name, domain_method)
            for domain_method in self.domain_methods
            for name in self.patterns
        }
        tables |= {
            (BASELINE, domain_method): self.correct(BASELINE, domain_method) for domain_method in self._baseline_methods
        }
        rows: list[dict[str, Any]] = []
        for test in self.tests:
            rows_of_test = [self._row(key, test, tables) for key in tables]
            for name, domain_method in itertools.product(("difference", "gain"), self.domain_methods):
                self._compare(name, domain_method, test, rows_of_test)
            rows += [*rows_of_test, self._chance(test)]
        rows += [self._worst(key, table) for key, table in tables.items()]
        rows.append(self._chance(WORST))
        environment = self.runs[0].environment
        facts = {name: str(environment[name]) for name in _DATED if environment.get(name)}
        facts |= {package: str(version) for package, version in environment["packages"].items() if version}
        return DomainResults(pd.DataFrame(rows, columns=list(DomainResults.COLUMNS)), facts)

    def example(self, pattern: str = "", domain_method: str = "") -> tuple[Run, str]:
        """The first run of a pattern and domain method, and its surest clip among those that it predicts right.

        Without names, they are the first ones compared.
        """
        run = self.of(pattern or self.patterns[0], domain_method or self.domain_methods[0])[0]
        kept = set(run.attention.clips)
        table = run.predictions[run.predictions["clip"].isin(kept)]
        right = table[table["label"] == table["predicted"]]
        candidates = right if len(right) else table
        return run, str(candidates.loc[candidates["loss"].idxmin(), "clip"])

    def verdict(self) -> str:
        """Summarise the results on each test set, see :meth:`DomainResults.verdict`."""
        results = self.results()
        return " ".join(results.verdict(test) for test in self.tests)

    def domains(self, pattern: str, domain_method: str) -> pd.DataFrame:
        """Accuracy by domain, of those seen and those not, and of the worst one; intervals as in :meth:`results`."""
        table = self.correct(pattern, domain_method)
        return domain_scores(
            table["right"],
            table["domain"],
            table["domain_seen"],
            interval_of=functools.partial(self._interval, (pattern, domain_method)),
        )

    @property
    def _baseline_methods(self) -> list[str]:
        return list(dict.fromkeys(domain_method_of(run.config) for run in self.baselines))

    def _row(self, key: tuple[str, str], test: str, tables: Mapping[tuple[str, str], pd.DataFrame]) -> dict[str, Any]:
        (name, domain_method), table = key, tables[key]
        is_in_test = (table["split"] == test).to_numpy()
        shares = [
            float((t["label"] == t["predicted"])[is_in_test].mean())
            for t in (run.predictions for run in self.of(name, domain_method))
        ]
        return self._described(key, test, shares) | self._scored(key, is_in_test)

    def _compare(self, measure: str, domain_method: str, test: str, rows: list[dict[str, Any]]) -> None:
        """Add to the rows of a test their gains over dense attention, or over no domain method, by clip and seed."""
        drawn: dict[tuple[str, str], systems.Draws] = {}
        compared = {}
        for row in rows:
            if row["domain_method"] != domain_method or (measure == "difference" and row["pattern"] == BASELINE):
                continue
            key = (row["pattern"], domain_method)
            other = (_REFERENCE, domain_method) if measure == "difference" else (row["pattern"], NONE)
            if other == key or not any((r["pattern"], r["domain_method"]) == other for r in rows):
                continue
            for each in (key, other):
                drawn.setdefault(each, self._draw(each, test))
            compared[str(row["pattern"])] = (drawn[key], drawn[other])
        comparisons = systems.compare_systems(compared, largest=1.0)
        for row in rows:
            if row["domain_method"] == domain_method and row["pattern"] in comparisons.index:
                pair = comparisons.loc[row["pattern"]]
                row |= {measure: pair["difference"], f"{measure}_low": pair["low"], f"{measure}_high": pair["high"]}
                row |= {f"{measure}_p": pair["p_holm"], f"{measure}_detectable": pair["detectable"]}

    def _draw(self, key: tuple[str, str], test: str) -> systems.Draws:
        """Score of each seed on one test set, with its resamples."""
        tables = [run.predictions for run in self.of(*key)]
        is_in_test = (tables[0]["split"] == test).to_numpy()
        return systems.draw_means(_right(tables)[:, is_in_test], groups=self.groups_of(tables[0]["clip"][is_in_test]))

    def _worst(self, key: tuple[str, str], table: pd.DataFrame) -> dict[str, Any]:
        names = (table["split"] + ", " + table["domain"]).str.removesuffix(", ")
        means = table["right"].groupby(names.to_numpy()).mean()
        worst = str(means.idxmin())
        row = self._described(key, WORST, [0.0] * len(self.of(*key))) | {"std": np.nan, "group": worst}
        return row | self._scored(key, (names == worst).to_numpy())

    @staticmethod
    def _described(key: tuple[str, str], test: str, shares: list[float]) -> dict[str, Any]:
        std = float(np.std(shares, ddof=1)) if len(shares) > 1 else np.nan
        return {
            "pattern": key[0],
            "domain_method": key[1],
            "test": test,
            "runs": len(shares),
            "std": std,
            "group": "",
        }

    def _interval(self, key: tuple[str, str], is_in_test: NDArray[np.bool_]) -> Interval:
        """Accuracy on some clips, with its interval over groups and seeds."""
        tables = [run.predictions for run in self.of(*key)]
        groups = self.groups_of(tables[0]["clip"][is_in_test])
        return systems.score_interval(systems.draw_means(_right(tables)[:, is_in_test], groups=groups))

    def _scored(self, key: tuple[str, str], is_in_test: NDArray[np.bool_]) -> dict[str, float]:
        interval = self._interval(key, is_in_test)
        return {"score": interval.estimate, "low": interval.low, "high": interval.high}

    def _chance(self, test: str) -> dict[str, Any]:
        """Of guessing the most frequent class of a test set; of guessing evenly in the worst group."""
        labels = self.runs[0].predictions
        if test == WORST:
            score = 1 / labels["label"].nunique()
        else:
            codes = pd.factorize(labels.loc[labels["split"] == test, "label"])[0]
            score = statistics.chance_level(codes).majority.estimate
        return {"pattern": CHANCE, "domain_method": "", "test": test, "runs": 0, "score": score, "group": ""}


def _right(tables: list[pd.DataFrame]) -> NDArray[np.float64]:
    """Compute the correctness of each clip for each seed, ``(seeds, clips)``; seeds test the clips in one order."""
    return np.stack([(table["label"] == table["predicted"]).to_numpy(np.float64) for table in tables])
