"""Several systems that predict a number, compared on the same clips: correlations, intervals, paired differences.

A study knows runs and what each was a run of; it trains nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from audioattn_lib.attention.record.record import AttentionRecord
from audioattn_lib.core.errors import RunError
from audioattn_lib.data.manifest import UNKNOWN
from audioattn_lib.evaluation.comparisons import Comparison, holm
from audioattn_lib.evaluation.regression_scores import compare_regressions
from audioattn_lib.training.run_directory import Run

from ..common.study import BASELINE, Study

__all__ = ["FUSION", "RegressionStudy"]

FUSION = "fusion"
"""System that reads the features of all networks side by side."""

_COLUMNS = {
    "std": "over seeds ±",
    "devel_spearman": "on devel",
    "spearman_rounded": "rounded",
    "pearson": "Pearson",
    "concordance": "CCC",
    "mean_absolute_error": "mean error",
}
_MEANS = ("devel_spearman", "spearman_rounded", "pearson", "concordance", "mean_absolute_error", "n_features")


@dataclass(frozen=True)
class RegressionStudy(Study):
    """Systems over seeds, and a linear baseline: regressions with ``system`` and ``seed`` in their configuration.

    Its encoders are the runs of the autoencoders that they read.
    """

    @property
    def baseline(self) -> Run:
        """The linear baseline."""
        return self.baselines[0]

    @property
    def names(self) -> list[str]:
        """Systems that were compared, in the order of the runs."""
        return list(dict.fromkeys(str(run.config["system"]) for run in self.runs))

    @property
    def part(self) -> str:
        """Clips that are scored: ``"test"``, or ``"devel"`` where no test clip has a label."""
        return "test" if all("spearman" in run.metrics for run in (*self.runs, self.baseline)) else "devel"

    @property
    def unmeasured(self) -> str:
        """Explanation of the scores that cannot be measured on this corpus; empty where all are measured."""
        if self.part == "test":
            return ""
        return (
            "No test clip has a label, so no score of the test can be measured. The scores are those of the "
            "development clips, predicted by a regression that did not see them; its complexity was chosen on them, "
            "so the scores are optimistic. The predictions of the test clips are in predictions.csv of each run."
        )

    def select(self, name: str) -> Run:
        """The first regression of a system, or the baseline."""
        for run in (*self.runs, self.baseline):
            if run.config["system"] == name:
                return run
        raise RunError(f"no run of the system {name!r}; there are {', '.join((*self.names, BASELINE))}")

    def encoder(self, name: str) -> Run:
        """The first autoencoder with this network."""
        for run in self.encoders:
            if run.config["network"] == name:
                return run
        raise RunError(f"no autoencoder {name!r}; there are {', '.join(self.networks)}")

    @property
    def networks(self) -> list[str]:
        """Networks that were trained, in the order of the runs."""
        return list(dict.fromkeys(str(run.config["network"]) for run in self.encoders))

    @property
    def attending(self) -> list[str]:
        """Networks whose alignments were kept, in the order of the runs."""
        return list(dict.fromkeys(str(r.config["network"]) for r in self.encoders if not r.attention.is_empty))

    def records_of(self, clip: str) -> dict[str, AttentionRecord]:
        """Alignment of one clip by title of the network, the first seed of each."""
        found = {}
        for name in self.attending:
            attention = self.encoder(name).attention
            found[self.title(name)] = attention[attention.index(clip)]
        return found

    def example(self) -> tuple[Run, str]:
        """The first autoencoder that attends, and of the test clips whose alignments it kept the one of median loss."""
        first = self.encoder((self.attending or self.networks)[0])
        losses = first.predictions.set_index("clip")["loss"]
        kept = list(first.attention.clips) or list(first.predictions.query("split == 'test'")["clip"])
        return first, str(losses.loc[kept].sort_values().index[(len(kept) - 1) // 2])

    def predictions(self, name: str) -> pd.DataFrame:
        """Scored clips of a system: ``label`` and ``predicted`` as numbers, by clip; means over seeds."""
        tables = [_scored(run, self.part) for run in self._of(name)]
        joined = pd.concat(tables)
        return joined.groupby(level=0, sort=False).mean().loc[tables[0].index]

    def table(self) -> pd.DataFrame:
        """The results: a row for each system, then the linear baseline and chance.

        Columns: ``runs``; ``score``, Spearman's correlation on the clips of :attr:`part`, and its 95 % interval ``low``
        to ``high`` over groups, both means over seeds (an interval is that of one run, not narrower for having
        several); ``std`` over seeds; the other scores as means over seeds; ``difference`` to the linear
        baseline with its interval and the p-value of a paired permutation test, the largest over seeds, corrected for
        the number of systems (Holm). Chance gives every clip the median label: its interval is where correlations
        lie when predictions go to the wrong clips.
        """
        rows = {name: self._row(self._of(name)) for name in (*self.names, BASELINE)}
        for name, found in self._against(self.names, BASELINE).items():
            rows[name] |= found
        chance = self._scores(self.baseline)["chance"]
        permuted = [self._scores(run)["permutation"] for run in self.runs]
        rows["chance"] = {
            "runs": 0,
            "score": 0.0,
            "low": float(np.mean([one["low"] for one in permuted])),
            "high": float(np.mean([one["high"] for one in permuted])),
            **{name: chance[name] for name in ("pearson", "concordance", "mean_absolute_error")},
        }
        return pd.DataFrame.from_dict(rows, orient="index").rename_axis("system")

    def summary(self) -> pd.DataFrame:
        """The table for people: a row a system by title, numbers as text, intervals in brackets."""
        rows = {}
        for name, row in self.table().iterrows():
            shown = {"Spearman": _interval(row["score"], row["low"], row["high"])}
            for column, title in _COLUMNS.items():
                shown[title] = "" if pd.isna(row[column]) else _two_digits(row[column])
            known = not pd.isna(row["difference"])
            between = _interval(row["difference"], row["difference_low"], row["difference_high"], "+")
            shown["against linear"] = between if known else ""
            shown["p (Holm)"] = f"{row['p_holm']:.2g}" if known else ""
            shown["features"] = "" if pd.isna(row["n_features"]) else f"{row['n_features']:.0f}"
            rows[self.title(str(name))] = shown
        table = pd.DataFrame.from_dict(rows, orient="index")
        if self.part == "devel":
            table = table.drop(columns=_COLUMNS["devel_spearman"])
        return table.loc[:, (table != "").any()]

    def seed_table(self) -> pd.DataFrame:
        """Spearman's correlation of each seed alone: a row a system by title, a column a seed."""
        rows = {
            self.title(name): {f"seed {run.config['seed']}": self._scores(run)["spearman"] for run in self._of(name)}
            for name in self.names
        }
        return pd.DataFrame.from_dict(rows, orient="index")

    def differences(self, reference: str) -> pd.DataFrame:
        """Tabulate score differences of all other systems to ``reference`` on the same clips: one row per system.

        Differences and their intervals are means over seeds; the p-value is the largest, corrected for their number.
        """
        others = [name for name in self.names if name != reference]
        rows = {}
        for name, row in self._against(others, reference).items():
            between = _interval(row["difference"], row["difference_low"], row["difference_high"], "+")
            rows[self.title(name)] = {f"over {self.title(reference)}": between, "p (Holm)": f"{row['p_holm']:.2g}"}
        return pd.DataFrame.from_dict(rows, orient="index")

    def rebuilding(self) -> pd.DataFrame:
        """Tabulate the reconstruction loss of each network on the test clips, mean over seeds: one row per network.

        Columns: the loss with teacher forcing, the free-running loss, and the number of features.
        """
        columns = {"test_loss": "true frames given", "test_free_loss": "running freely", "n_features": "features"}
        rows = {}
        for name in self.networks:
            runs = [run for run in self.encoders if run.config["network"] == name]
            rows[self.title(name)] = {
                title: float(np.mean([r[column] for r in runs])) for column, title in columns.items()
            }
        return pd.DataFrame.from_dict(rows, orient="index").astype({"features": int})

    def compare(self, name: str, other: str = BASELINE, statistic: str = "spearman") -> list[Comparison]:
        """Two systems on the same clips, a comparison a seed."""
        others = self._of(other)
        found = []
        for number, run in enumerate(self._of(name)):
            a, b = (_scored(one, self.part) for one in (run, others[number % len(others)]))
            if set(a.index) != set(b.index):
                missing = sorted(set(a.index) ^ set(b.index))
                raise RunError(f"{name} and {other} were scored on different clips, such as {', '.join(missing[:5])}")
            b = b.loc[a.index]
            groups = self.groups_of(a.index)
            found.append(
                compare_regressions(a["label"], a["predicted"], b["predicted"], statistic=statistic, groups=groups)
            )
        return found

    def verdict(self) -> str:
        """Summarise the table as text, with no claim beyond its confidence intervals."""
        table = self.table()
        first = table.loc[self.names].sort_values("score", ascending=False).iloc[0]
        best = str(first.name)
        on = "" if self.part == "test" else " on the development clips"
        text = [
            *([self.unmeasured] if self.unmeasured else []),
            f"Of {len(self.names)} systems, **{self.title(best)}** scores highest{on}: "
            f"a rank correlation of {first['score']:.2f} (95 % interval {first['low']:.2f} to {first['high']:.2f}).",
        ]
        for name in self.names:
            row = table.loc[name]
            sure, above = row["p_holm"] < 0.05, row["difference"] > 0
            unsure = "not reliably different from" if row["runs"] == 1 else "not in every seed reliably different from"
            what = unsure if not sure else "reliably above" if above else "reliably below"
            text.append(
                f"{self.title(name)} is {what} the linear baseline "
                f"({row['difference']:+.2f}, {row['difference_low']:+.2f} to {row['difference_high']:+.2f})."
            )
        told = (self._scores(run)["note"].split("; ") for run in (*self.runs, self.baseline))
        text += [
            f"{note[:1].upper()}{note[1:]}." for note in dict.fromkeys(note for notes in told for note in notes if note)
        ]
        return " ".join(text)

    def histories(self) -> dict[str, pd.DataFrame]:
        """Training history of the first autoencoder of each network, by title."""
        found: dict[str, pd.DataFrame] = {}
        for run in self.encoders:
            found.setdefault(self.title(run.config["network"]), run.history)
        return found

    def _of(self, name: str) -> list[Run]:
        return [self.baseline] if name == BASELINE else [run for run in self.runs if run.config["system"] == name]

    def _scores(self, run: Run) -> dict[str, Any]:
        """Scores of the clips of :attr:`part`."""
        return run.metrics if self.part == "test" else run.metrics["devel"]

    def _row(self, runs: list[Run]) -> dict[str, Any]:
        found = [run.metrics | self._scores(run) for run in runs]
        scores = [float(one["spearman"]) for one in found]
        intervals = [one["intervals"]["spearman"] for one in found]
        row: dict[str, Any] = {"runs": len(runs), "score": float(np.mean(scores))}
        row |= {end: float(np.mean([interval[end] for interval in intervals])) for end in ("low", "high")}
        row["std"] = float(np.std(scores, ddof=1)) if len(scores) > 1 else np.nan
        return row | {name: float(np.mean([one[name] for one in found])) for name in _MEANS}

    def _against(self, names: Sequence[str], other: str) -> dict[str, dict[str, float]]:
        """Differences of systems to another, with intervals and corrected p-values, by column of :meth:`table`."""
        compared = {name: self.compare(name, other) for name in names}
        corrected = holm([max(one.p_value for one in found) for found in compared.values()])
        rows = {}
        for (name, found), p in zip(compared.items(), corrected, strict=True):
            differences = [one.difference for one in found]
            ends = {"difference": "estimate", "difference_low": "low", "difference_high": "high"}
            rows[name] = {
                column: float(np.mean([getattr(d, end) for d in differences])) for column, end in ends.items()
            }
            rows[name]["p_holm"] = float(p)
        return rows


def _interval(value: float, low: float, high: float, sign: str = "") -> str:
    return f"{_two_digits(value, sign)} [{_two_digits(low, sign)}, {_two_digits(high, sign)}]"


def _two_digits(value: float, sign: str = "") -> str:
    return f"{round(value, 2) + 0.0:{sign}.2f}"  # no minus before a zero


def _scored(run: Run, part: str) -> pd.DataFrame:
    """Labelled clips of one part of a run by clip: ``label`` and ``predicted`` as numbers."""
    table = run.predictions
    chosen = table[(table["split"] == part) & (table["label"] != UNKNOWN)]
    if not len(chosen):
        raise RunError(f"{run.path}: no {part} clip has a label, so there is nothing to compare")
    return chosen.set_index("clip")[["label", "predicted"]].astype(float)
