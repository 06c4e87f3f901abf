"""Poolings compared on a corpus as a table: to read, to draw, to keep in a file.

:meth:`PoolingResults.of_study` makes it from runs; a file gives it back without them.

Book page: ``urban_sound_recordings``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from audioattn_lib.attention.pooling.registry import MECHANISMS
from audioattn_lib.core.errors import RunError
from audioattn_lib.evaluation.statistics.systems import compare_systems, score_interval

from . import phrases
from .study import BASELINE, SEEDS_OF_A_RANKING, ClassificationStudy, Study, seed_note
from .table_files import ResultsTable, join_numbers, split_numbers

__all__ = ["CHANCE", "CONTROL", "PoolingResults"]

CONTROL = "mean"
"""Every pooling is compared with it, where a table names no other."""
CHANCE = "chance"
_DIFFERENCE = ("difference", "difference_low", "difference_high", "p_holm", "detectable")
_POINTING = ("pointing", "pointing_uniform", "pointing_lowest", "pointing_highest")
_NOTHING = ("from_nothing", "from_nothing_low", "from_nothing_high", "gain", "gain_low", "gain_high", "gain_p_holm")


@dataclass(frozen=True)
class PoolingResults(ResultsTable):
    """Scores of poolings on the same clips.

    Parameters
    ----------
    rows
        A row a pooling, the linear baseline and chance among them: ``score`` (share of clips predicted right, mean over
        seeds) with its 95 % interval ``low`` to ``high`` over recordings and seeds, and ``seed_scores``; the
        ``difference`` to :data:`CONTROL`, paired by clip and seed, with its interval and p-value, corrected for the
        number of poolings (Holm), ``detectable``, the least that would be seen in four experiments of five, and
        ``seed_differences``; ``seconds`` of training and ``parameters`` of a run, and ``attended``, the share of the
        sound with any attention. Numbers of several seeds are joined by ``;``. Where the times of events are known,
        ``pointing`` is the share of the clips whose most attended frame lies in an event, mean over runs,
        ``pointing_lowest`` and ``pointing_highest`` that of one run, and ``pointing_uniform`` that of uniform
        attention. Where the same pooling was trained without a pretrained encoder too, ``from_nothing`` is the score of
        that with its interval, and ``gain`` what the encoder adds to it, paired by clip and seed, with interval and
        corrected p-value.
    made_with
        Where the numbers come from, text by name. Of these ``control`` is the name of what every pooling is compared
        with (:data:`CONTROL`), ``attending`` the names of those that attend, joined by ``, `` (those of
        :data:`~audioattn_lib.attention.pooling.registry.MECHANISMS`), and ``measure`` what the scores are
        (``"Accuracy"``).

    Notes
    -----
    Book page: ``urban_sound_recordings``.
    """

    COLUMNS = (
        *("pooling", "title", "seeds", "score", "low", "high", "seed_scores"),
        *(*_DIFFERENCE, "seed_differences", "seconds", "parameters", "attended"),
    )
    TEXT = ("pooling", "title", "seed_scores", "seed_differences")
    LATER = (*_POINTING, *_NOTHING)

    @classmethod
    def of_study(
        cls,
        study: ClassificationStudy,
        made_with: Mapping[str, str] | None = None,
        from_nothing: ClassificationStudy | None = None,
    ) -> PoolingResults:
        """Tabulate a study that compares a control with other poolings, or other ways to choose.

        Parameters
        ----------
        study
            The runs.
        made_with
            Where they come from; see the class for the names that mean something.
        from_nothing
            Networks without a pretrained encoder on the same test clips, with the same seeds.

        Raises
        ------
        RunError
            When the study lacks the control or has no attention beside it, or the other study tested other clips.
        """
        made_with = {**(made_with or {}), "measure": study.score_title}
        results = cls(pd.DataFrame(), made_with)
        control = results.control
        for name in (control, *results.made_with.get("attending", control).split(", ")):
            if name not in study.names:
                raise RunError(f"compared are {', '.join(study.names)}; {name} must be among them")
        if not {*results.attending_of(study.names)} - {control}:
            raise RunError(f"compared are {', '.join(study.names)}: none attends; add one, such as softmax")
        table, drawn = study.table(), study.draws()
        others = [name for name in drawn if name != control]
        # one family of tests: the linear baseline is a reference and does not make the intervals of the others wider
        poolings = [name for name in others if name != BASELINE]
        compared = {
            **(study.compare(control, poolings).to_dict(orient="index") if poolings else {}),
            **(study.compare(control, [BASELINE]).to_dict(orient="index") if BASELINE in others else {}),
        }
        pointing = _pointing(study, results.attending_of(study.names))
        rows = []
        for name in map(str, table.index):
            row: dict[str, Any] = {"pooling": name, "title": study.title(name)}
            row |= {column: float(table.loc[name, column]) for column in ("score", "low", "high")}
            row["seeds"] = drawn[name].seeds if name in drawn else 0
            row["seed_scores"] = join_numbers(drawn[name].scores) if name in drawn else ""
            if name in compared:
                pair: Mapping[Any, Any] = compared[name]
                row |= dict(
                    zip(_DIFFERENCE, (pair[c] for c in ("difference", "low", "high", *_DIFFERENCE[3:])), strict=True)
                )
                row["seed_differences"] = join_numbers(drawn[name].scores - drawn[control].scores)
            if name in study.names:
                row |= _cost(study, name, attends=name in results.attending_of(study.names))
                row |= pointing.get(name, {})
            rows.append(row)
        gains = _gains(study, from_nothing) if from_nothing else {}
        rows = [row | gains.get(row["pooling"], {}) for row in rows]
        return cls(pd.DataFrame(rows).reindex(columns=[*cls.COLUMNS, *cls.LATER]), made_with)

    def title(self, name: str) -> str:
        """Title of a row by the name of its pooling."""
        return str(self.rows.set_index("pooling").loc[name, "title"])

    @property
    def control(self) -> str:
        """Name of what every pooling is compared with."""
        return self.made_with.get("control", CONTROL)

    @property
    def control_in_words(self) -> str:
        """The control inside a sentence, such as ``mean pooling``."""
        return "mean pooling" if self.control == CONTROL else self.title(self.control).lower()

    @property
    def measure(self) -> str:
        """Title of the scores, such as ``Accuracy``."""
        return self.made_with.get("measure", "Accuracy")

    @property
    def attending(self) -> list[str]:
        """Names of the attention mechanisms."""
        return self.attending_of(self.rows["pooling"])

    def attending_of(self, names: Iterable[str]) -> list[str]:
        """Names of the attention mechanisms among some names."""
        attending = self.made_with.get("attending", ", ".join(MECHANISMS)).split(", ")
        return [name for name in names if name in attending]

    def scores(self) -> pd.DataFrame:
        """Score and interval by name, as :func:`~audioattn_lib.display.results_table` takes it."""
        return self.rows.set_index("pooling")[["score", "low", "high"]]

    def differences(self) -> pd.DataFrame:
        """Tabulate the difference to the control of each pooling and the baseline by title: ``difference``, ``low``,
        ``high``.
        """
        rows = self.rows[self.rows["difference"].notna()].set_index("title")
        return rows[list(_DIFFERENCE[:3])].set_axis(["difference", "low", "high"], axis=1)

    def seed_differences(self) -> pd.DataFrame:
        """Tabulate the difference to the control of each seed: a row a pooling by title, a column a seed."""
        rows = self.rows[self.rows["difference"].notna() & ~self.rows["pooling"].isin([BASELINE])]
        values = {row["title"]: split_numbers(row["seed_differences"]) for row in rows.to_dict(orient="records")}
        return pd.DataFrame.from_dict(values, orient="index")

    def costs(self) -> pd.DataFrame:
        """Tabulate difference to the control, cost and attended share as text, a row a pooling by title."""
        shown = {}
        for row in self.rows.to_dict(orient="records"):
            if row["pooling"] == CHANCE:
                continue
            against = ""
            if pd.notna(row["difference"]):
                difference = phrases.gain_in_points(row, "difference", "difference_low", "difference_high")
                against = f"{difference}, {phrases.p_value(row['p_holm'])}"
            shown[row["title"]] = {
                f"Against {self.control_in_words} (points)": against,
                "Would be missed below (points)": _number(row["detectable"], "{:.1f}", 100),
                "Training": _number(row["seconds"], "{:.1f} s"),
                "Parameters": _number(row["parameters"], "{:,.0f}"),
                "Sound with attention": _number(row["attended"], "{:.0f} %", 100),
            }
        return pd.DataFrame.from_dict(shown, orient="index")

    def pointing(self) -> pd.DataFrame:
        """Tabulate how often the most attended frame lies in an event as text, a row a pooling by title; often none."""
        rows = self.rows.reindex(columns=["title", *_POINTING]).dropna(subset="pointing").set_index("title")
        table = {
            str(title): {
                "Most attended frame in an event": phrases.span([row["pointing"]]),
                "Of one network": phrases.span([row["pointing_lowest"], row["pointing_highest"]]),
                "By chance": phrases.span([row["pointing_uniform"]]),
            }
            for title, row in rows.iterrows()
        }
        return pd.DataFrame.from_dict(table, orient="index")

    def gains(self) -> pd.DataFrame:
        """Tabulate scores with and without the pretrained encoder as text, a row a pooling by title; often none."""
        rows = self.rows.reindex(columns=[*self.COLUMNS, *_NOTHING]).dropna(subset="gain").to_dict(orient="records")
        columns = ("Trained from scratch", "Frozen frames", "What they add")
        table = [
            (
                phrases.share(row, "from_nothing_low", "from_nothing_high", "from_nothing"),
                phrases.share(row),
                phrases.gain(row, "gain", "gain_low", "gain_high"),
            )
            for row in rows
        ]
        return pd.DataFrame(table, index=[row["title"] for row in rows], columns=list(columns))

    def verdict(self) -> str:
        """Summarise in words if attention is better than mean pooling, with no claim beyond the intervals."""
        return " ".join(sentence for sentence, _ in self._sentences())

    def findings(self) -> phrases.Found:
        """The sentences of :meth:`verdict`: what is shown, and what is not."""
        return phrases.found(self._sentences())

    def _sentences(self) -> list[tuple[str, bool]]:
        """The verdict sentence by sentence, each with whether it says what is shown."""
        rows = self.rows.set_index("pooling")
        attending = rows.loc[self.attending]
        control, plain = rows.loc[self.control], self.control_in_words
        best = attending["difference"].idxmax()
        chance = f"; chance {phrases.share(rows.loc[CHANCE])}" if CHANCE in rows.index else ""
        text = [(f"{plain.capitalize()}: {self.measure.lower()} {phrases.share(control)}{chance}.", True)]
        sure = attending[attending["p_holm"] < 0.05]
        better = phrases.names([str(title) for title in sure.loc[sure["difference"] > 0, "title"]], most=8)
        worse = phrases.names([str(title) for title in sure.loc[sure["difference"] < 0, "title"]], most=8)
        gain = phrases.gain(attending.loc[best], "difference", "difference_low", "difference_high")
        if better:
            several = f"**Attention is better than {plain} for {better}**"
            start = several if len(attending) > 1 else f"**{better} is better than {plain}**"
        else:
            whom = f"any of {len(attending)} mechanisms" if len(attending) > 1 else rows.loc[best, "title"]
            start = f"**That attention is better than {plain} is not shown** for {whom}"
        reliable = int((sure["difference"] > 0).sum())
        best_of = f"; the best, {rows.loc[best, 'title']}" if len(attending) > 1 and reliable != 1 else ""
        text.append((f"{start}{best_of}: {gain}.", bool(better)))
        if better and (open_ := _open(attending)):
            text.append((f"That attention is better than {plain} is not shown for {open_}.", False))
        text += [(f"Reliably worse: {worse}.", True)] if worse else []
        for name in rows.index:
            if name not in (*self.attending, self.control, CHANCE):
                row = rows.loc[name]
                difference = phrases.gain(row, "difference", "difference_low", "difference_high")
                sentence = f"{row['title']}, without attention, against {plain}: {difference}."
                text.append((sentence, phrases.excludes_zero(row, "difference_low", "difference_high")))
        if pd.notna(control.get("gain")):
            nothing = phrases.share(control, "from_nothing_low", "from_nothing_high", "from_nothing")
            gain = phrases.gain(control, "gain", "gain_low", "gain_high")
            sentence = f"A network with {plain} that was trained from scratch: {nothing}; frozen frames add {gain}."
            text.append((sentence, phrases.excludes_zero(control, "gain_low", "gain_high")))
        n_seeds = rows["seeds"].max()
        notes = [self.power(), seed_note(int(n_seeds)) if n_seeds < SEEDS_OF_A_RANKING else ""]
        return [*text, *((note, False) for note in notes if note)]

    def finding(self) -> tuple[bool, str]:
        """Return True where any attention is reliably better than the control, and a sentence that says it."""
        rows = self.rows[self.rows["pooling"].isin(self.attending)].set_index("title", drop=False)
        best = rows.loc[rows["difference"].idxmax()]
        title, gain = str(best["title"]), phrases.gain(best, "difference", "difference_low", "difference_high")
        better = phrases.reliably_above(rows)
        worse = phrases.reliably_below(rows)
        if len(rows) == 1 or better == [title]:
            text = f"{title} is {'' if better else 'not reliably '}better than {self.control_in_words}: {gain}"
        else:
            who = f"{phrases.names(better)} are" if better else "no attention is reliably"
            text = f"{who} better than {self.control_in_words}; the best, {title}: {gain}"
        seeds = ", with one seed" if self.rows["seeds"].max() == 1 else ""
        plain = self.rows[~self.rows["pooling"].isin([*self.attending, self.control, BASELINE, CHANCE])]
        sure = phrases.reliably_above(plain.set_index("title"))
        others = f". Better without attention: {phrases.names(sure)}" if sure else ""
        lower = f". Reliably worse: {phrases.names(worse)}" if worse else ""
        return bool(better), f"{text}{seeds}{lower}{others}."

    def power(self) -> str:
        """Say which differences between attention and the control could not be seen."""
        rows = self.rows.set_index("pooling")
        return Study.power_note(rows.loc[self.attending, "detectable"], to=f"of attention to {self.control_in_words}")


def _open(attending: pd.DataFrame) -> str:
    """Mechanisms that are neither reliably better nor reliably worse than the control, in words; empty for none."""
    rows = attending[~(attending["p_holm"] < 0.05) & attending["difference"].notna()]
    if len(rows) == 1:
        row = rows.iloc[0]
        return f"{row['title']}: {phrases.gain(row, 'difference', 'difference_low', 'difference_high')}"
    titles = phrases.names(list(map(str, rows["title"])), most=len(rows))
    return f"{titles}; each of their intervals includes zero" if titles else ""


def _cost(study: ClassificationStudy, name: str, *, attends: bool) -> dict[str, float]:
    """Median seconds of training, parameters, and share of the sound with any attention, of the runs of a pooling."""
    runs = study.runs_of(name)
    row = {
        "seconds": float(np.median([run.history["seconds"].sum() for run in runs])),
        "parameters": float(runs[0].metrics["n_parameters"]),
    }
    if attends:
        row["attended"] = float(np.concatenate([run.attention.attended_share() for run in runs]).mean())
    return row


def _pointing(study: ClassificationStudy, names: Sequence[str]) -> dict[str, dict[str, float]]:
    """Share of the clips whose most attended frame lies in an event, by the pooling; none where no event is known."""
    if not all("attention_evaluation" in run.metrics for run in study.runs):
        return {}  # a chapter that measures its attention in another way
    table = study.attention_evaluation()
    if not len(table):
        return {}
    measured = table[(table["measure"] == "pointing_game") & table[study.by].isin(names)].set_index(study.by)
    rows = {}
    for name, row in measured.iterrows():
        runs = [run.metrics["attention_evaluation"]["pointing_game"]["value"] for run in study.runs_of(str(name))]
        values = (row["value"], row["uniform"], min(runs), max(runs))
        rows[str(name)] = dict(zip(_POINTING, map(float, values), strict=True))
    return rows


def _gains(study: ClassificationStudy, from_nothing: ClassificationStudy) -> dict[str, dict[str, float]]:
    """Score without the encoder, and what the encoder adds, by the pooling."""
    drawn, other = study.draws(), from_nothing.draws()
    names = [name for name in from_nothing.names if name in study.names]
    if list(study.correct().index) != list(from_nothing.correct().index):
        raise RunError("the networks from nothing were tested on other clips; give both studies the same folds")
    compared = compare_systems({name: (drawn[name], other[name]) for name in names}, largest=1.0)
    rows = {}
    for name in names:
        interval, gain = score_interval(other[name]), compared.loc[name]
        values = (interval.estimate, interval.low, interval.high, *gain[["difference", "low", "high", "p_holm"]])
        rows[name] = dict(zip(_NOTHING, map(float, values), strict=True))
    return rows


def _number(value: float, pattern: str, scale: float = 1.0) -> str:
    return "" if pd.isna(value) else pattern.format(scale * value)
