"""Networks compared in and out of the domains of their training: means over seeds, intervals, paired differences.

It trains nothing. Every network of every seed tests the same clips, so two of
them are compared clip by clip.

Book page: ``scenes_and_instruments``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..attention.patterns import parse_pattern
from ..batch import RUN_MIMETYPE
from ..errors import RunError
from ..training import statistics
from ..training.domains import domain_scores
from ..training.run_directory import Run

__all__ = ["BASELINE", "DomainStudy"]

BASELINE = "linear"
"""Name of the linear baseline in every table."""


@dataclass(frozen=True)
class DomainStudy:
    """Runs that differ in pattern, centring and seed, tested on the same clips of several test sets.

    Parameters
    ----------
    runs
        The runs to compare.
    baselines
        The linear baseline with each centring.
    groups
        What each clip must not be counted apart from: its recording.
    """

    runs: tuple[Run, ...]
    baselines: tuple[Run, ...]
    groups: Mapping[str, str]

    @property
    def patterns(self) -> list[str]:
        """Patterns in the order of the runs."""
        return list(dict.fromkeys(str(run.config["pattern"]) for run in self.runs))

    @property
    def centrings(self) -> list[str]:
        """Centrings in the order of the runs."""
        return list(dict.fromkeys(str(run.config["centring"]) for run in self.runs))

    @property
    def tests(self) -> list[str]:
        """Test sets by name."""
        return sorted(set(self.runs[0].predictions["split"]))

    @staticmethod
    def title(pattern: str) -> str:
        """What to call a pattern in tables and pictures."""
        if pattern == BASELINE:
            return "Linear baseline"
        return ", ".join(dict.fromkeys(parse_pattern(name.strip()).title for name in pattern.split(",")))

    def of(self, pattern: str, centring: str) -> list[Run]:
        """The runs of one pattern (or of the baseline) with one centring, a run a seed."""
        among = self.baselines if pattern == BASELINE else self.runs
        found = [
            r for r in among if pattern in (BASELINE, r.config.get("pattern")) and r.config["centring"] == centring
        ]
        if not found:
            raise RunError(
                f"no run with pattern {pattern!r} and centring {centring!r}; there are {', '.join(self.patterns)} "
                f"with {', '.join(self.centrings)}"
            )
        return found

    def correct(self, pattern: str, centring: str) -> pd.DataFrame:
        """Each clip's ``split``, ``domain`` and ``domain_seen``, and the share of seeds that were ``right``.

        Clips come in the same order for all.
        """
        tables = [run.predictions for run in self.of(pattern, centring)]
        result = tables[0][["clip", "split", "domain", "domain_seen"]].copy()
        result["right"] = np.mean([(t["label"] == t["predicted"]).to_numpy(np.float64) for t in tables], axis=0)
        return result

    def table(self, reference: str = "dense") -> pd.DataFrame:
        """The results: a row for each pattern, centring and test set, the linear baseline and chance among them.

        Columns: ``score`` (share of clips predicted right, mean over
        ``runs`` seeds) with its 95 % interval over recordings, ``deviation`` over
        seeds, and the paired ``difference`` to ``reference`` with the same
        centring, its interval and p-value, corrected for the number of patterns in each test (Holm).
        """
        rows: list[dict[str, Any]] = []
        for centring in self.centrings:
            for test in self.tests:
                found = [self._row(name, centring, test, reference) for name in (*self.patterns, BASELINE)]
                compared = [row for row in found if "p_value" in row]
                if compared:
                    corrected = statistics.holm([row["p_value"] for row in compared])
                    for row, p in zip(compared, corrected, strict=True):
                        row["p_holm"] = float(p)
                rows += found
        labels = self.runs[0].predictions
        for test in self.tests:
            codes = pd.factorize(labels.loc[labels["split"] == test, "label"])[0]
            level = statistics.chance_level(codes).majority
            rows.append({"pattern": "chance", "centring": "", "test": test, "runs": 0, "score": level.estimate})
        return pd.DataFrame(rows)

    def example(self, pattern: str, centring: str) -> tuple[Run, str]:
        """A run to look into and a clip to show: of the clips that it predicts right, the one it is surest of.

        A rule, so that nobody picks.
        """
        run = self.of(pattern, centring)[0]
        kept = set(run.attention.clips)
        table = run.predictions[run.predictions["clip"].isin(kept)]
        right = table[table["label"] == table["predicted"]]
        chosen = right if len(right) else table
        return run, str(chosen.loc[chosen["loss"].idxmin(), "clip"])

    def scores(self, test: str) -> pd.DataFrame:
        """One test set for a table or a picture: a row a pattern and centring by title, references last.

        Columns ``runs``, ``score``, ``low``, ``high`` and ``deviation``; the rows :meth:`references` are no patterns.
        """
        table = self.table()
        rows = {}
        for row in table[table["test"] == test].to_dict(orient="records"):
            rows[self._row_name(row["pattern"], row["centring"])] = row
        names = sorted(rows, key=lambda name: name in self.references)  # keeps the order otherwise
        found = pd.DataFrame.from_dict({name: rows[name] for name in names}, orient="index")
        return found[["runs", "score", "low", "high", "deviation"]].rename_axis("model")

    @property
    def references(self) -> list[str]:
        """Rows of :meth:`scores` that are no patterns: the baseline with each centring, and chance."""
        return [*(self._row_name(BASELINE, centring) for centring in self.centrings), "chance"]

    def differences(self, test: str) -> pd.DataFrame:
        """What each pattern gains over dense attention with the same centring, and centring over none, in points.

        Text for a table: difference, 95 % interval and corrected p-value.
        """
        table = self.table()
        rows: dict[str, dict[str, str]] = {}
        for row in table[(table["test"] == test) & table["difference"].notna()].to_dict(orient="records"):
            centring = "no centring" if row["centring"] == "none" else f"centring: {row['centring']}"
            rows.setdefault(self.title(row["pattern"]), {})[f"over dense, {centring}"] = _points(row, row["p_holm"])
        if len(self.centrings) > 1 and "none" in self.centrings:
            for centring in (name for name in self.centrings if name != "none"):
                effect = self.effect_of_centring("none", centring)
                for row in effect[effect["test"] == test].to_dict(orient="records"):
                    title = self.title(row["pattern"])
                    rows.setdefault(title, {})[f"centring {centring} over none"] = _points(row, row["p_value"])
        return pd.DataFrame.from_dict(rows, orient="index").fillna("")

    def _row_name(self, pattern: str, centring: str) -> str:
        if pattern == "chance":
            return pattern
        name = BASELINE if pattern == BASELINE else self.title(pattern)
        return name if centring == "none" else f"{name}, centred ({centring})"

    def effect_of_centring(self, without: str = "none", by: str = "clip") -> pd.DataFrame:
        """What centring changes: a row a pattern and test set with the paired difference, its interval and p-value."""
        rows = []
        for name in (*self.patterns, BASELINE):
            one, other = self.correct(name, by), self.correct(name, without)
            for test in self.tests:
                chosen = (one["split"] == test).to_numpy()
                found = self._compare(one, other, chosen)
                rows.append({"pattern": name, "test": test, **found})
        return pd.DataFrame(rows)

    def domains(self, pattern: str, centring: str) -> pd.DataFrame:
        """Accuracy by domain, of those seen and those not, and of the worst one."""
        table = self.correct(pattern, centring)
        return domain_scores(table["right"], table["domain"], table["domain_seen"], groups=self._groups(table["clip"]))

    def verdict(self, test: str) -> str:
        """What the table says about one test set, in sentences that claim no more than its intervals do."""
        table = self.table()
        chosen = table[(table["test"] == test) & ~table["pattern"].isin(["chance", BASELINE])]
        best = chosen.loc[chosen["score"].idxmax()]
        with_centring = f" with centring {best['centring']}" if best["centring"] != "none" else " without centring"
        text = [
            f"On {test} **{self.title(str(best['pattern']))}**{with_centring} scores highest: {best['score']:.1%} "
            f"({best['low']:.1%} to {best['high']:.1%})."
        ]
        if "p_holm" in chosen:
            sure = chosen[chosen["p_holm"] < 0.05]
            better = sure[sure["difference"] > 0]
            names = ", ".join(f"{self.title(str(r.pattern))} ({r.centring})" for r in better.itertuples())
            text.append(
                f"Reliably better than dense attention with the same centring: {names or 'no pattern'}; "
                f"reliably worse: {len(sure) - len(better)} of {int(chosen['p_holm'].notna().sum())}."
            )
        return " ".join(text)

    def _row(self, name: str, centring: str, test: str, reference: str) -> dict[str, Any]:
        table = self.correct(name, centring)
        chosen = (table["split"] == test).to_numpy()
        part = table[chosen]
        found = statistics.bootstrap_interval(part["right"].to_numpy(), groups=self._groups(part["clip"]))
        shares = [
            float((t["label"] == t["predicted"])[chosen].mean())
            for t in (run.predictions for run in self.of(name, centring))
        ]
        row: dict[str, Any] = {
            "pattern": name,
            "centring": centring,
            "test": test,
            "runs": len(shares),
            "score": found.estimate,
            "low": found.low,
            "high": found.high,
            "deviation": float(np.std(shares, ddof=1)) if len(shares) > 1 else np.nan,
        }
        if name not in (reference, BASELINE) and reference in self.patterns:
            row |= self._compare(table, self.correct(reference, centring), chosen)
        return row

    def _compare(self, one: pd.DataFrame, other: pd.DataFrame, chosen: NDArray[np.bool_]) -> dict[str, float]:
        found = statistics.paired_comparison(
            one["right"][chosen].to_numpy(),
            other["right"][chosen].to_numpy(),
            groups=self._groups(one["clip"][chosen]),
        )
        difference = found.difference
        return {
            "difference": difference.estimate,
            "difference_low": difference.low,
            "difference_high": difference.high,
            "p_value": found.p_value,
        }

    def _groups(self, clips: pd.Series) -> NDArray[np.str_]:
        return np.array([self.groups[clip] for clip in clips])

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        """What a notebook leaves behind for a sweep to collect: every run's configuration and scores."""
        keys = ", ".join(run.key for run in self.runs)
        return {
            RUN_MIMETYPE: [run.summary() for run in (*self.runs, *self.baselines)],
            "text/plain": f"{len(self.runs)} runs: {keys}",
        }


def _points(row: Mapping[str, Any], p: float) -> str:
    low, high = 100 * row["difference_low"], 100 * row["difference_high"]
    return f"{100 * row['difference']:+.1f} ({low:+.1f} to {high:+.1f}), p = {p:.3f}"
