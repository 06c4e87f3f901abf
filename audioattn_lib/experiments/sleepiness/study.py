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
from audioattn_lib.evaluation.statistics import systems
from audioattn_lib.evaluation.statistics.intervals import Interval
from audioattn_lib.training.run_directory import Run

from ..common.studies.phrases import number
from ..common.studies.study import BASELINE, TO_BASELINE, Study

__all__ = ["FUSION", "LOSSES", "RegressionStudy", "missed_below"]

FUSION = "fusion"
"""System that reads the features of all networks side by side."""

_OTHERS = {
    "valid_spearman": "Spearman, validation clips",
    "spearman_rounded": "Spearman, rounded",
    "pearson": "Pearson",
    "concordance": "concordance",
    "mean_absolute_error": "mean absolute error",
}
LOSSES = {"teacher forcing": "loss", "free-running": "free_loss"}
"""Columns of the predictions of an autoencoder by their titles."""
_MEANS = ("valid_spearman", "spearman_rounded", "pearson", "concordance", "mean_absolute_error", "n_features")
_LARGEST = 2
"""Difference of two correlations."""


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
            "validation clips, predicted by a regression that did not see them; its complexity was chosen on them, "
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
        records = {}
        for name in self.attending:
            attention = self.encoder(name).attention
            records[self.title(name)] = attention[attention.index(clip)]
        return records

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

        Columns: ``runs``; ``score``, Spearman's correlation on the clips of :attr:`part`, mean over seeds, with its
        95 % interval ``low`` to ``high`` over groups and seeds; ``std`` over seeds; the other scores as means over
        seeds; ``difference`` to the linear baseline with its interval and the p-value of the comparison that is paired
        by clip and seed, both corrected for the number of systems (Holm). Chance gives every clip the median label: its
        interval is where correlations lie when predictions go to the wrong clips.
        """
        rows = {name: self._row(self._of(name)) for name in (*self.names, BASELINE)}
        for name, drawn in self.draws().items():
            interval = systems.score_interval(drawn, bounds=(-1.0, 1.0))
            rows[name] |= {"score": interval.estimate, "low": interval.low, "high": interval.high}
        for name, comparison in self.compare(BASELINE).iterrows():
            rows[str(name)] |= {
                "difference": comparison["difference"],
                "difference_low": comparison["low"],
                "difference_high": comparison["high"],
                "p_holm": comparison["p_holm"],
                "detectable": comparison["detectable"],
            }
        chance = self._scores(self.baseline)["chance"]
        permuted = [self._scores(run)["permutation"] for run in self.runs]
        rows["chance"] = {
            "runs": 0,
            "score": 0.0,
            "low": float(np.mean([permutation["low"] for permutation in permuted])),
            "high": float(np.mean([permutation["high"] for permutation in permuted])),
            **{name: chance[name] for name in ("pearson", "concordance", "mean_absolute_error")},
        }
        return pd.DataFrame.from_dict(rows, orient="index").rename_axis("system")

    def summary(self) -> pd.DataFrame:
        """The table for people: a row a system by title, numbers as text, intervals in brackets."""
        rows = {}
        for name, row in self.table().iterrows():
            is_compared = not pd.isna(row["difference"])
            between = _interval(row["difference"], row["difference_low"], row["difference_high"], "+")
            rows[self.title(str(name))] = {
                "Spearman": _interval(row["score"], row["low"], row["high"]),
                "over seeds ±": _known(row["std"]),
                "against linear": between if is_compared else "",
                "p (Holm)": f"{row['p_holm']:.2g}" if is_compared else "",
                "features": "" if pd.isna(row["n_features"]) else f"{row['n_features']:.0f}",
            }
        table = pd.DataFrame.from_dict(rows, orient="index")
        return table.loc[:, (table != "").any()]

    def other_scores(self) -> pd.DataFrame:
        """Tabulate the scores beside Spearman's: a row a system by title, numbers as text, means over seeds."""
        rows = {
            self.title(str(name)): {title: _known(row[column]) for column, title in _OTHERS.items()}
            for name, row in self.table().iterrows()
        }
        table = pd.DataFrame.from_dict(rows, orient="index")
        if self.part == "devel":
            table = table.drop(columns=_OTHERS["valid_spearman"])
        return table.loc[:, (table != "").any()]

    def seed_table(self) -> pd.DataFrame:
        """Spearman's correlation of each seed alone: a row a system by title, a column a seed."""
        rows = {
            self.title(name): {f"seed {run.config['seed']}": self._scores(run)["spearman"] for run in self._of(name)}
            for name in self.names
        }
        return pd.DataFrame.from_dict(rows, orient="index")

    def differences(self, reference: str) -> pd.DataFrame:
        """Tabulate score differences of all other systems to ``reference``, paired by clip and seed: a row per system.

        Intervals and p-values are corrected for the number of systems; a difference that *would be missed* is
        shown by these clips and seeds in fewer than four experiments of five.
        """
        rows = {}
        for name, row in self.compare(reference).iterrows():
            between = _interval(row["difference"], row["low"], row["high"], "+")
            rows[self.title(str(name))] = {
                f"difference to {self.title(reference)}": between,
                "p (Holm)": f"{row['p_holm']:.2g}",
                "would be missed below": missed_below(row["detectable"]),
            }
        return pd.DataFrame.from_dict(rows, orient="index")

    def rebuilding(self) -> pd.DataFrame:
        """The reconstruction loss of each network on the test clips for people: a row a network by title.

        Columns: the loss with teacher forcing and the free-running loss, each with its 95 % interval over groups and
        seeds, and the number of features.
        """
        rows: dict[str, dict[str, Any]] = {self.title(name): {} for name in self.networks}
        for column in LOSSES:
            for name, draws in self.loss_draws(column).items():
                interval = systems.score_interval(draws, bounds=(0.0, np.inf))
                rows[self.title(name)][column] = number(_row(interval, "score"), digits=3)
        for run in self.encoders:
            rows[self.title(str(run.config["network"]))]["features"] = int(run["n_features"])
        return pd.DataFrame.from_dict(rows, orient="index")

    def loss_difference(self, column: str, name: str, reference: str) -> tuple[str, bool]:
        """Reconstruction loss of a network less that of another, paired by clip and seed: in words, and if it is shown.

        Parameters
        ----------
        column
            Of :meth:`rebuilding`: ``"teacher forcing"`` or ``"free-running"``.
        name, reference
            Two networks.
        """
        drawn = self.loss_draws(column)
        difference = systems.difference(drawn[name], drawn[reference])
        return number(_row(difference.interval(), "difference"), "difference", digits=3), difference.p_value < 0.05

    def loss_draws(self, column: str) -> dict[str, systems.Draws]:
        """Mean of a column of :meth:`rebuilding` on the test clips, of each seed and on common resamples of the groups.

        By the network.
        """
        drawn = {}
        for name in self.networks:
            runs = [run for run in self.encoders if run.config["network"] == name]
            tables = [run.predictions[run.predictions["split"] == "test"].set_index("clip") for run in runs]
            clips = tables[0].index
            losses = np.stack([table.loc[clips, LOSSES[column]].to_numpy(dtype=np.float64) for table in tables])
            drawn[name] = systems.draw_means(losses, groups=self.groups_of(clips))
        return drawn

    def draws(self) -> dict[str, systems.Draws]:
        """Correlation of each system and of the baseline, of each seed and on common resamples of the groups."""
        first = _scored(self.baseline, self.part)
        groups = self.groups_of(first.index)
        drawn = {}
        for name in (*self.names, BASELINE):
            rows = []
            for run in self._of(name):
                table = _scored(run, self.part)
                missing = sorted(set(table.index) ^ set(first.index))
                if missing:
                    raise RunError(
                        f"{name} and {BASELINE} were scored on different clips, such as {', '.join(missing[:5])}"
                    )
                rows.append(table.loc[first.index, "predicted"].to_numpy())
            drawn[name] = systems.draw_scores(first["label"], np.stack(rows), "spearman", groups=groups)
        return drawn

    def compare(self, reference: str, names: Sequence[str] = ()) -> pd.DataFrame:
        """Compare systems (or all) with one as :func:`~audioattn_lib.evaluation.statistics.systems.compare_systems`."""
        drawn = self.draws()
        if reference not in drawn:
            raise RunError(f"no run of the system {reference!r}; there are {', '.join(drawn)}")
        compared = [name for name in names or self.names if name != reference]
        pairs = {name: (drawn[name], drawn[reference]) for name in compared}
        return systems.compare_systems(pairs, largest=2.0)

    def verdict(self) -> str:
        """Summarise the table as text, with no claim beyond its confidence intervals."""
        table = self.table()
        first = table.loc[self.names].sort_values("score", ascending=False).iloc[0]
        best = str(first.name)
        on = "" if self.part == "test" else " on the validation clips"
        text = [
            *([self.unmeasured] if self.unmeasured else []),
            f"Of {len(self.names)} systems, **{self.title(best)}** scores highest{on}: "
            f"a rank correlation of {first['score']:.2f} (95 % interval {first['low']:.2f} to {first['high']:.2f}).",
        ]
        text.append(self.against_baseline(table.loc[self.names]))
        text += [
            self.power_note(table.loc[self.names, "detectable"], to=TO_BASELINE, unit="", scale=1.0),
            self.seed_note,
        ]
        run_notes = (self._scores(run)["note"].split("; ") for run in (*self.runs, self.baseline))
        text += [
            f"{note[:1].upper()}{note[1:]}."
            for note in dict.fromkeys(note for notes in run_notes for note in notes if note)
        ]
        return " ".join(text)

    def histories(self) -> dict[str, pd.DataFrame]:
        """Training history of the first autoencoder of each network, by title."""
        histories: dict[str, pd.DataFrame] = {}
        for run in self.encoders:
            histories.setdefault(self.title(run.config["network"]), run.history)
        return histories

    def _of(self, name: str) -> list[Run]:
        return [self.baseline] if name == BASELINE else [run for run in self.runs if run.config["system"] == name]

    def _scores(self, run: Run) -> dict[str, Any]:
        """Scores of the clips of :attr:`part`."""
        return run.metrics if self.part == "test" else run.metrics["valid"]

    def _row(self, runs: list[Run]) -> dict[str, Any]:
        measured = [run.metrics | self._scores(run) for run in runs]
        scores = [float(scores_of_run["spearman"]) for scores_of_run in measured]
        row: dict[str, Any] = {"runs": len(runs)}
        row["std"] = float(np.std(scores, ddof=1)) if len(scores) > 1 else np.nan
        return row | {name: float(np.mean([scores_of_run[name] for scores_of_run in measured])) for name in _MEANS}


def _interval(value: float, low: float, high: float, sign: str = "") -> str:
    return f"{_two_digits(value, sign)} [{_two_digits(low, sign)}, {_two_digits(high, sign)}]"


def _row(interval: Interval, score: str) -> dict[str, float]:
    return {score: interval.estimate, "low": interval.low, "high": interval.high}


def _known(value: float) -> str:
    return "" if pd.isna(value) else _two_digits(value)


def missed_below(detectable: float) -> str:
    """The least difference of two correlations that is seen, as text: at most 2; empty where it is not known."""
    return f"more than {_LARGEST}" if detectable > _LARGEST else _known(detectable)


def _two_digits(value: float, sign: str = "") -> str:
    return f"{round(value, 2) + 0.0:{sign}.2f}"  # no minus before a zero


def _scored(run: Run, split: str) -> pd.DataFrame:
    """Labelled clips of one part of a run by clip: ``label`` and ``predicted`` as numbers."""
    table = run.predictions
    labelled = table[(table["split"] == split) & (table["label"] != UNKNOWN)]
    if not len(labelled):
        raise RunError(f"{run.path}: no {split} clip has a label, so there is nothing to compare")
    return labelled.set_index("clip")[["label", "predicted"]].astype(float)
