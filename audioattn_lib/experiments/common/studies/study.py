"""Several runs of one experiment, compared: means, intervals, paired differences, evaluation of attention.

A study knows runs and what each was a run of; it trains nothing. Every clip is
tested once (or once a seed), so its runs are compared clip by clip.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from audioattn_lib.attention.record.record import AttentionRecord
from audioattn_lib.automation import RUN_MIMETYPE
from audioattn_lib.core.errors import ConfigError, RunError
from audioattn_lib.core.numbers import in_percent, tenths
from audioattn_lib.evaluation.attention.faithfulness import PerturbationCurve
from audioattn_lib.evaluation.scores import ranking
from audioattn_lib.evaluation.statistics import comparisons as statistics
from audioattn_lib.evaluation.statistics import systems
from audioattn_lib.training.run_directory import Run

from .film import Film, film

__all__ = ["BASELINE", "SEEDS_OF_A_RANKING", "TO_BASELINE", "ClassificationStudy", "Study", "choose", "seed_note"]

BASELINE = "linear"
"""Row of the linear baseline in every table."""
TO_BASELINE = "to the linear baseline"
"""What a difference is to, in words."""

SEEDS_OF_A_RANKING = 5
"""Fewer seeds rank no network: seven have overturned what three had shown."""

_REFERENCES = {"fusion": "Fusion", BASELINE: "Linear baseline", "chance": "Chance"}
_SCORES = ("unweighted_average_recall", "macro_f1", "macro_auc")

_EVIDENCE = ("value", "uniform", "random", "swapped", "gain", "gain_low", "gain_high")


def choose(names: str | int | Iterable[str], choices: Sequence[str], kind: str) -> list[str]:
    """Names out of ``choices``: ``"all"``, one name, several joined by commas, or a list.

    Of folds also ``"first"``, and ``"first 2"``: the first two, or the only one of a corpus with splits.

    Raises
    ------
    ConfigError
        When a name is none of the choices, or none is left.
    """
    if isinstance(names, int):  # papermill makes a number of `-p folds 1`
        names = str(names)
    short = {"all": list(choices)}
    if kind == "fold":
        short |= {"first": list(choices[:1]), "first 2": list(choices[:2])}
    if isinstance(names, str):
        names = short.get(names) or [name.strip() for name in names.split(",") if name.strip()]
    else:
        names = [str(name) for name in names]
    unknown = [name for name in names if name not in choices]
    if unknown or not names:
        wrong = ", ".join(unknown) or "empty"
        raise ConfigError(f"{kind} is {wrong}; it must be {', '.join(short)}, or names out of {', '.join(choices)}")
    return names


def seed_note(n_seeds: int) -> str:
    """Describe the variation in intervals over networks of that many seeds, and say if the seeds allow a ranking."""
    if n_seeds == 1:
        return (
            "Every network was trained with one seed, so the intervals do not include variation between seeds: no "
            "network is ranked."
        )
    included = f"The intervals include variation between the {n_seeds} seeds of every network."
    few = " So few seeds rank no network." if n_seeds < SEEDS_OF_A_RANKING else ""
    wide = (
        " From two seeds the variation is hardly known, so an interval may cover every score." if n_seeds == 2 else ""
    )
    return included + few + wide


@dataclass(frozen=True)
class Study:
    """Runs that are compared on the same clips, beside a baseline; what a notebook shows of them, and a sweep collects.

    Parameters
    ----------
    runs
        The runs to compare.
    baselines
        The linear baseline on the same folds.
    groups
        What each clip belongs to and must not be counted apart from: its recording or speaker.
    titles
        What to call each compared value in pictures; itself where none is given.
    encoders
        Runs of a first step of training, where there is one.
    """

    runs: tuple[Run, ...]
    baselines: tuple[Run, ...]
    groups: Mapping[str, str]
    titles: Mapping[str, str] = field(default_factory=dict)
    encoders: tuple[Run, ...] = ()

    def title(self, name: str) -> str:
        """Title of a compared value, of the baseline or of chance."""
        return self.titles.get(name, _REFERENCES.get(name, name))

    @staticmethod
    def highest(table: pd.DataFrame) -> list[str]:
        """Names of the rows with the highest ``score``: one, or all of a tie."""
        top = table["score"].max()
        return [str(name) for name in table.index[np.isclose(table["score"], top, rtol=0, atol=1e-9)]]

    def example(self) -> tuple[Run, str]:
        """A run to look into and a clip of its test to show, chosen by a rule, so that nobody picks."""
        raise NotImplementedError

    def verdict(self) -> str:
        """Summarise the results as text, with no claim beyond their confidence intervals."""
        raise NotImplementedError

    def film(self, name: str = "") -> Film | None:
        """Attention over one clip after some epochs, of the first run that kept it; None where none did.

        Parameters
        ----------
        name
            A value of the field that is compared; without one any.
        """
        for run in (*self.runs, *self.encoders):
            if (not name or name in map(str, run.config.values())) and (frames := film(run)) is not None:
                return frames
        return None

    @property
    def n_seeds(self) -> int:
        """Seeds that every network was trained with."""
        return len({run.config.get("seed") for run in self.runs})

    def reliably(self, relation: str) -> str:
        """A relation that an interval shows, such as ``better``; one seed shows it of its own networks alone."""
        return f"reliably {relation}" if self.n_seeds > 1 else f"{relation} with this seed"

    @property
    def seed_note(self) -> str:
        """Describe the variation in the intervals, and say if the number of seeds allows a ranking."""
        return seed_note(self.n_seeds)

    @staticmethod
    def power_note(detectable: Iterable[float], *, to: str = "", unit: str = "points", scale: float = 100.0) -> str:
        """Say which differences ``to`` something these clips and seeds could not show; empty where that is unknown."""
        differences = [scale * value for value in detectable if np.isfinite(value) and value > 0]
        if not differences:
            return ""
        most = 100 if scale > 1 else 2  # largest difference of two shares, of two correlations
        span = dict.fromkeys(
            _least(value, scale) if value <= most else f"more than {most}"
            for value in (min(differences), max(differences))
        )
        unit = unit.removesuffix("s") if list(span) == ["1"] else unit
        difference = f"a difference {to}".rstrip()
        return (
            f"With these clips and seeds, {difference} below {' to '.join(span)} {unit}".rstrip()
            + " would be missed in more than one experiment of five."
        )

    def against_baseline(self, table: pd.DataFrame) -> str:
        """Say what is better, worse and neither; the largest group last, as it may be the others."""
        sure, above = table["p_holm"] < 0.05, table["difference"] > 0
        groups = {
            f"{self.reliably('better')} than": sure & above,
            f"{self.reliably('worse')} than": sure & ~above,
            "not reliably different from": ~sure,
        }
        text = []
        for relation, mask in sorted(groups.items(), key=lambda item: int(item[1].sum())):
            group = [self.title(str(name)) for name in table.index[mask]]
            verb = "is" if len(group) == 1 else "are"
            if len(group) == len(table) and len(table) > 1:
                subject = "None of them is" if relation.startswith("not ") else "All of them are"
                text.append(f"{subject} {relation.removeprefix('not ')} the linear baseline.")
            elif len(group) > 4:
                text.append(f"The other {len(group)} are {relation} the linear baseline.")
            elif group:
                text.append(f"{_list(group)} {verb} {relation} the linear baseline.")
        return " ".join(text)

    def groups_of(self, clips: Iterable[str]) -> NDArray[np.str_]:
        """Group of each of some clips."""
        return np.array([self.groups[str(clip)] for clip in clips])

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        """Return the notebook output that a sweep collects: configuration and scores of every run."""
        runs = (*self.runs, *self.baselines, *self.encoders)
        return {
            RUN_MIMETYPE: [run.summary() for run in runs],
            "text/plain": f"{len(runs)} runs: {', '.join(run.key for run in runs)}",
        }


@dataclass(frozen=True)
class ClassificationStudy(Study):
    """Runs that differ in one field of their configuration, each on the same test clips.

    Parameters
    ----------
    by
        The field in which the runs differ.
    """

    by: str = "attention"

    @property
    def names(self) -> list[str]:
        """Compared values of the field ``by``, in the order of the runs."""
        return list(dict.fromkeys(str(run.config[self.by]) for run in self.runs))

    @property
    def score_title(self) -> str:
        """Title of the column ``score``: accuracy, or mean average precision for multi-label classification."""
        return "Mean average precision" if self.is_multilabel else "Accuracy"

    @property
    def is_multilabel(self) -> bool:
        """True where a clip may have several labels."""
        return "mean_average_precision" in self.runs[0].metrics

    def select(self, name: str, fold: str | None = None) -> Run:
        """The first run with this value of ``by`` (and on this fold)."""
        for run in self.runs:
            if run.config[self.by] == name and fold in (None, run.config["fold"]):
                return run
        raise RunError(f"no run with {self.by} {name!r} (fold {fold or 'any'}); there are {', '.join(self.names)}")

    def prefer(self, name: str) -> str:
        """``name`` where it was compared, and otherwise what was compared last."""
        return name if name in self.names else self.names[-1]

    def example(self) -> tuple[Run, str]:
        """The clip that most predict right, of those the one they are surest of; and the first run that tested it.

        Of clips with a label where there are any.
        """
        tables = pd.concat([run.predictions for run in self.runs])
        tables = tables[tables["label"] != ""] if (tables["label"] != "").any() else tables
        right = (tables["label"] == tables["predicted"]).groupby(tables["clip"], sort=False).mean()
        loss = tables["loss"].groupby(tables["clip"], sort=False).mean()
        clip = str(loss[right == right.max()].idxmin())
        return next(run for run in self.runs if (run.predictions["clip"] == clip).any()), clip

    def correct(self) -> pd.DataFrame:
        """Tabulate correct predictions: one row per clip, one column per compared value and one for the baseline.

        With several seeds it is the share of seeds. Only clips that every column predicted are kept.
        """
        columns: dict[str, pd.Series] = {}
        for name in (*self.names, BASELINE):
            tables = [run.predictions for run in self.runs_of(name)]
            if tables:
                joined = pd.concat(tables)
                right = (joined["label"] == joined["predicted"]).astype(float)
                columns[name] = right.groupby(joined["clip"].to_numpy(), sort=False).mean()
        return pd.DataFrame(columns).dropna()

    def table(self) -> pd.DataFrame:
        """The results: one row for each compared, then the linear baseline and chance.

        Columns: ``runs``, ``score`` (share of clips predicted right; mean
        average precision over all clips where a clip may have several labels)
        with its 95 % interval ``low`` to ``high`` over groups and seeds, ``std``
        over runs, the other scores as means over runs, and ``difference`` to
        the linear baseline with its interval and the p-value of the paired comparison, both
        corrected for the number of comparisons (Holm).
        """
        correct = self.correct()
        drawn = self.draws()
        rows: dict[str, dict[str, Any]] = {}
        for name in map(str, correct):
            runs = self.runs_of(name)
            shares = [_score(run) for run in runs]
            interval = systems.score_interval(drawn[name])
            row: dict[str, Any] = {"runs": len(runs), "score": interval.estimate}
            row |= {"low": interval.low, "high": interval.high}
            row["std"] = float(np.std(shares, ddof=1)) if len(shares) > 1 else np.nan
            if self.is_multilabel:
                row["all_labels_right"] = float(correct[name].mean())
            for score in _SCORES:
                values = [run.metrics[score] for run in runs if run.metrics.get(score) is not None]
                if values:
                    row[score] = float(np.mean(values))
            rows[name] = row
        if self.baselines:
            names = {"low": "difference_low", "high": "difference_high"}
            for name, comparison in self.compare(BASELINE).rename(columns=names).iterrows():
                columns = ["difference", "difference_low", "difference_high", "p_holm", "detectable"]
                rows[str(name)] |= {column: float(comparison[column]) for column in columns}
        rows["chance"] = self._chance(list(correct.index))
        return pd.DataFrame.from_dict(rows, orient="index").rename_axis(self.by)

    def compare(self, reference: str, names: Sequence[str] = ()) -> pd.DataFrame:
        """Compare each compared value with ``reference``, paired by clip and seed.

        Parameters
        ----------
        reference
            A compared value, or ``"linear"``.
        names
            What to compare; by default all but the reference.

        Returns
        -------
        DataFrame
            As :func:`~audioattn_lib.evaluation.statistics.systems.compare_systems` returns it.
        """
        drawn = self.draws()
        if reference not in drawn:
            raise RunError(f"no run of {reference!r}; there are {', '.join(drawn)}")
        others = [name for name in names or self.names if name != reference]
        return systems.compare_systems({name: (drawn[name], drawn[reference]) for name in others}, largest=1.0)

    def differences_to(self, reference: str) -> pd.DataFrame:
        """Tabulate :meth:`compare` by title, as :func:`~audioattn_lib.display.plot_gains` takes it; empty where
        ``reference`` is not compared with anything.
        """
        compared = self.compare(reference) if reference in self.names else systems.compare_systems({})
        return compared[["difference", "low", "high"]].rename(index=self.title)

    def draws(self) -> dict[str, systems.Draws]:
        """Score of each compared value and of the baseline, of each seed and on common resamples of the groups."""
        clips = list(self.correct().index)
        groups = self.groups_of(clips)
        names = [*self.names, *([BASELINE] if self.baselines else [])]
        if not self.is_multilabel:
            return {name: systems.draw_means(self._right(name, clips), groups=groups) for name in names}
        classes = self.runs[0].classes
        labels = self._labels().loc[clips].str.split(";")
        targets = np.array([[name in label for name in classes] for label in labels], dtype=np.float64)
        return {
            name: ranking.draw_average_precision(targets, self._probabilities(name, clips, classes), groups=groups)
            for name in names
        }

    def _right(self, name: str, clips: list[str]) -> NDArray[np.float64]:
        """Compute the correctness of each clip for each seed, ``(seeds, clips)``."""
        rows = []
        for tables in self._by_seed(name):
            joined = pd.concat(tables)
            right = (joined["label"] == joined["predicted"]).astype(float)
            rows.append(right.groupby(joined["clip"].to_numpy()).mean().loc[clips].to_numpy())
        return np.stack(rows)

    def _by_seed(self, name: str) -> list[list[pd.DataFrame]]:
        """Predictions of the runs of each seed, over all folds."""
        seeds: dict[Any, list[pd.DataFrame]] = {}
        for run in self.runs_of(name):
            seeds.setdefault(run.config.get("seed"), []).append(run.predictions)
        return list(seeds.values())

    def _probabilities(self, name: str, clips: list[str], classes: Sequence[str]) -> Any:
        """Probability of every class for each clip, one array a seed: ``(seeds, clips, classes)``."""
        columns = [f"probability_{label}" for label in classes]
        return np.stack(
            [
                pd.concat(tables).set_index("clip").loc[clips, columns].to_numpy(np.float64)
                for tables in self._by_seed(name)
            ]
        )

    def fold_table(self) -> pd.DataFrame:
        """The score of each fold alone: a row for each compared and the baseline, a column a fold."""
        rows = [
            {
                self.by: run.config.get(self.by, BASELINE),
                "fold": str(run.config["fold"]),
                "score": _score(run),
            }
            for run in (*self.runs, *self.baselines)
        ]
        table = pd.DataFrame(rows).pivot_table(index=self.by, columns="fold", values="score", sort=False)
        return table.reindex(columns=sorted(table.columns, key=lambda name: (len(name), name)))

    def attention_evaluation(self) -> pd.DataFrame:
        """Tabulate localisation and faithfulness: one row per mechanism and measure, mean over runs.

        ``value``, and what ``uniform`` attention, attention at ``random``
        places and attention ``swapped`` between clips score, are means over
        clips and runs; ``gain`` is the mean difference to uniform attention, better above 0,
        with the 95 % interval that the runs' own intervals average to: that of
        one run, not narrower for having several.
        """
        rows = []
        for name in self.names:
            tables = [pd.DataFrame(run.metrics["attention_evaluation"]).T for run in self.runs_of(name)]
            for measure in tables[0].index:
                joined = pd.DataFrame([table.loc[measure] for table in tables]).astype(float)
                if joined["value"].notna().any():
                    columns = [name for name in _EVIDENCE if name in joined]
                    means = joined[columns].mean()
                    clips = {"clips": int(joined["clips"].sum())}
                    rows.append({self.by: name, "measure": measure, **means.to_dict(), **clips})
        return pd.DataFrame(rows)

    def records_of(self, clip: str) -> dict[str, AttentionRecord]:
        """Return the attention records of one clip, one per mechanism, by title."""
        records = {}
        for name in self.names:
            attention = self.run_of(clip, name).attention
            records[self.title(name)] = attention[attention.index(clip)]
        return records

    def run_of(self, clip: str, name: str) -> Run:
        """The run with this value of ``by`` that tested this clip."""
        for run in self.runs_of(name):
            if clip in run.attention.clips:
                return run
        raise RunError(f"no run of {name!r} tested the clip {clip!r}; example() names one that was tested")

    def curves(self, name: str) -> list[PerturbationCurve]:
        """Deletion and insertion curves of one mechanism over the test clips of all its runs."""
        runs = [run.curves for run in self.runs_of(name)]
        return [PerturbationCurve.concatenate([curves[kind] for curves in runs]) for kind in ("deletion", "insertion")]

    def histories(self, names: Sequence[str] = (), fold: str | None = None) -> dict[str, pd.DataFrame]:
        """Training history by title, on one fold (by default each one's first), of ``names`` that were compared.

        Without names, and where none of them was compared, it is all.
        """
        selected = [name for name in names if name in self.names] or self.names
        return {self.title(name): self.select(name, fold).history for name in selected}

    def verdict(self) -> str:
        """Summarise the table as text, with no claim beyond its confidence intervals."""
        table = self.table()
        names = [name for name in table.index if name not in (BASELINE, "chance")]
        best = self.highest(table.loc[names])
        top = float(table.loc[best[0], "score"])
        score = f"{in_percent(top)} of {len(self.correct())} clips"
        if self.is_multilabel:
            score = f"mean average precision {in_percent(top)} over {len(self.correct())} clips"
        ends = dict.fromkeys(" to ".join(tenths(100 * table.loc[n, end]) for end in ("low", "high")) for n in best)
        text = [
            f"Of {len(names)} models, {_list([f'**{self.title(n)}**' for n in best])} "
            f"{'scores' if len(best) == 1 else 'score'} highest: {score} "
            f"(95 % interval {' and '.join(f'{each} %' for each in ends)})."
        ]
        if self.baselines:
            power = self.power_note(table.loc[names, "detectable"], to=TO_BASELINE)
            text += [self.against_baseline(table.loc[names]), power]
        rivals = [self.title(n) for n in names if n not in best and table.loc[n, "high"] >= top]
        if rivals:
            others = f"{len(rivals)} others" if len(rivals) > 4 else _list(rivals)
            text.append(f"The highest score lies inside the interval of {others}, so it does not rank them.")
        return " ".join([*text, self.seed_note])

    def _labels(self) -> pd.Series:
        """Label of every tested clip."""
        return pd.concat([run.predictions for run in self.runs]).drop_duplicates("clip").set_index("clip")["label"]

    def runs_of(self, name: str) -> list[Run]:
        """The runs with this value of ``by``, or those of the baseline."""
        return list(self.baselines) if name == BASELINE else [r for r in self.runs if r.config[self.by] == name]

    def _chance(self, clips: list[str]) -> dict[str, Any]:
        """Of guessing the most frequent class of the tested clips, which is generous to chance; or of a random order.

        Clips in random order have for each label an average precision of about the share of clips with it.
        """
        labels = self._labels().loc[clips]
        if self.is_multilabel:
            shares = labels.str.get_dummies(";").mean()
            return {"runs": 0, "score": float(shares.mean()), "low": np.nan, "high": np.nan}
        codes = pd.factorize(labels)[0]
        majority = statistics.chance_level(codes).majority
        return {"runs": 0, "score": majority.estimate, "low": majority.low, "high": majority.high}


def _score(run: Run) -> float:
    """Accuracy of one run, or its mean average precision."""
    if "mean_average_precision" in run.metrics:
        return float(run.metrics["mean_average_precision"] or np.nan)
    return float((run.predictions["label"] == run.predictions["predicted"]).mean())


def _least(difference: float, scale: float) -> str:
    """A difference in points without decimals, but for one below 1; in correlation with two."""
    if scale == 1:
        return f"{difference:.2f}"
    return f"{difference:.0f}" if difference >= 0.95 else f"{difference:.1g}"


def _list(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
