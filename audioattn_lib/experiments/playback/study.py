"""Ways to choose what is heard again, compared: stage by stage, in gain and cost, and by where they listened.

Book page: ``playback``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from audioattn_lib.attention.record.record import AttentionRecord
from audioattn_lib.evaluation.scores import ranking
from audioattn_lib.evaluation.statistics import systems
from audioattn_lib.training.run_directory import Run

from ..common.studies.phrases import gain_in_points, p_value
from ..common.studies.study import ClassificationStudy
from .trace import VALID, PlaybackPredictions, losses, right, score

__all__ = ["CONTROLS", "TITLES", "PlaybackStudy"]

TITLES: Mapping[str, str] = {
    "none": "Heard once",
    "random": "Random parts",
    "energy": "Loudest parts",
    "slots": "Slot attention",
    "published": "Published rule",
    "oracle": "True events",
}
"""Names of the rules of choice."""
CONTROLS = ("none", "random", "energy")
"""References for the rules of choice."""

Curves = dict[str, tuple[NDArray[Any], NDArray[Any]]]
"""Two arrays of a curve by its title, each ``(n,)``."""
_TOLERANCE = 0.01
_THRESHOLDS = np.concatenate([np.linspace(0.0, 0.98, 50), [0.99, 0.995, 0.999, 1.0]])


@dataclass(frozen=True)
class PlaybackStudy(ClassificationStudy):
    """Runs that differ in ``selection`` and ``seed``, tested on the same clips.

    Its encoders are the runs of the first step, one a seed; none where everything was trained at once.
    """

    titles: Mapping[str, str] = field(default_factory=lambda: TITLES)
    by: str = "selection"

    @property
    def unmeasured(self) -> str:
        """Return the reason why selected parts were not compared with events; empty where they were."""
        if any(run.metrics.get("where") for run in self.runs):
            return ""
        return self.plays_nothing_back or (
            "The corpus does not say when its events are, so nobody can say whether the right parts were played back. "
            "Times of events are the columns event_labels, event_onsets and event_offsets of a metadata.csv."
        )

    @property
    def plays_nothing_back(self) -> str:
        """Return the reason why there are no playbacks to show; empty where there are some."""
        if any(name != "none" for name in self.names):
            return ""
        return f"{self.title('none')} plays nothing back; add other names to selections."

    @property
    def no_encoders(self) -> str:
        """Return the reason why the encoder alone was not tested; empty where it was."""
        if self.encoders:
            return ""
        return "Encoder and decoder were trained at once, so there is no encoder alone to test."

    def heard(self, name: str) -> list[PlaybackPredictions]:
        """Load the stage outputs on the test clips for one selection method, one entry per seed."""
        return [PlaybackPredictions.load(run) for run in self.runs_of(name)]

    def example(self, name: str = "") -> tuple[Run, str]:
        """The first run of one selection, and the clip that playing back helped most, of those that it predicts right.

        Help is the fall of the loss from the first hearing to the answer. Without a name, it is the last one compared.
        """
        run = self.runs_of(name or self.names[-1])[0]
        saved, table = PlaybackPredictions.load(run), run.predictions
        right = (table["label"] == table["predicted"]).to_numpy()
        help_ = losses(saved.targets, saved.after(0), saved.sizes) - losses(saved.targets, saved.logits, saved.sizes)
        ranking = np.where(right, help_, help_.min() - 1) if right.any() else help_
        return run, str(saved.clips[int(ranking.argmax())])

    def records_of(self, clip: str) -> dict[str, AttentionRecord]:
        """Return the playback records of one clip, one per selection method, by title."""
        runs = {name: self.runs_of(name)[0] for name in self.names}
        records = {name: run.attention for name, run in runs.items() if not run.attention.is_empty}
        return {self.title(name): record[record.index(clip)] for name, record in records.items()}

    def hops(self) -> pd.DataFrame:
        """Tabulate the score of the encoder alone on whole clips: one row per hop, named in milliseconds.

        Columns ``score``, ``low``, ``high``: means over seeds, the interval that of one run.
        """
        tables = [pd.DataFrame(run.metrics["hops"]) for run in self.encoders]
        if not tables:
            return pd.DataFrame(columns=["score", "low", "high"])
        mean = pd.concat(tables).groupby("hop", sort=False).mean()
        mean.index = pd.Index([f"{1000 * hop:.3g} ms" for hop in mean.index], name="hop")
        return mean

    def stages(self) -> pd.DataFrame:
        """Score after each stage: a row for each way to choose and stage.

        Columns ``selection``, ``playbacks`` heard so far, ``score`` (mean over seeds) with its 95 % interval over
        groups and seeds, and ``cost``: frames heard for each frame of the first hearing.
        """
        rows = []
        for name in self.names:
            seeds = self.heard(name)
            groups = self.groups_of(seeds[0].clips)
            for stage in range(seeds[0].frames.shape[1]):
                interval = systems.score_interval(_draw(seeds, [seed.after(stage) for seed in seeds], groups))
                rows.append(
                    {
                        "selection": name,
                        "playbacks": stage,
                        "score": interval.estimate,
                        "low": interval.low,
                        "high": interval.high,
                        "cost": float(np.mean([seed.cost[:, stage].mean() for seed in seeds])),
                    }
                )
        return pd.DataFrame(rows)

    def score_by_playback(self) -> tuple[Curves, Curves]:
        """Curves of :meth:`stages` of those that play anything back: playbacks heard and score; low and high."""
        table = self.stages()
        of_title = {self.title(name): table[table["selection"] == name] for name in self.names}
        again = {title: stages for title, stages in of_title.items() if len(stages) > 1}
        curves, intervals = (
            {title: (stages[x].to_numpy(), stages[y].to_numpy()) for title, stages in again.items()}
            for x, y in (("playbacks", "score"), ("low", "high"))
        )
        return curves, intervals

    def score_by_cost(self) -> tuple[Curves, Curves, tuple[NDArray[Any], NDArray[Any]]]:
        """Curves of :meth:`early_exit` by title: cost and score; low and high; and both at the chosen thresholds."""
        tables = {self.title(name): self.early_exit(name) for name in self.names if name != "none"}
        lines, intervals = (
            {title: (table[x].to_numpy(), table[y].to_numpy()) for title, table in tables.items()}
            for x, y in (("cost", "score"), ("low", "high"))
        )
        exits = pd.concat([table[table["chosen"]] for table in tables.values()]) if tables else pd.DataFrame()
        return lines, intervals, (exits["cost"].to_numpy(), exits["score"].to_numpy())

    def differences(self) -> pd.DataFrame:
        """Tabulate score differences of each selection method to no playback, random selection and selection by energy.

        A row a pair: ``selection``, ``over``, ``difference`` with its interval ``low`` to ``high``, ``p_holm`` and
        ``detectable``, of the comparison that is paired by clip and seed; intervals and p-values are corrected for
        the number of pairs.
        """
        drawn = self.draws()
        pairs = [
            (name, control)
            for name in self.names
            for control in CONTROLS
            if control in drawn and name not in CONTROLS[: CONTROLS.index(control) + 1]
        ]
        comparisons = systems.compare_systems({f"{a} over {b}": (drawn[a], drawn[b]) for a, b in pairs}, largest=1.0)
        table = comparisons[["difference", "low", "high", "p_holm", "detectable"]].reset_index(drop=True)
        table.insert(0, "selection", [name for name, _ in pairs])
        table.insert(1, "over", [control for _, control in pairs])
        return table

    def draws(self) -> dict[str, systems.Draws]:
        """Score of each selection and of the baseline, of each seed and on common resamples of the groups."""
        drawn = super().draws()
        for name in self.names:
            seeds = self.heard(name)
            drawn[name] = _draw(seeds, [seed.logits for seed in seeds], self.groups_of(seeds[0].clips))
        return drawn

    def gains(self) -> pd.DataFrame:
        """The same as text for a page: a row a way to choose, a column a control, in points."""
        rows: dict[str, dict[str, str]] = {}
        for row in self.differences().to_dict(orient="records"):
            column = f"over {self.title(row['over']).lower()}"
            rows.setdefault(self.title(row["selection"]), {})[column] = (
                f"{gain_in_points(row)}, {p_value(row['p_holm'])}"
            )
        return pd.DataFrame.from_dict(rows, orient="index").fillna("")

    def early_exit(self, name: str) -> pd.DataFrame:
        """Score against average cost for clips that stop where the network is sure: a row a threshold.

        Columns ``threshold``; ``cost`` and ``score``, means over seeds, the score with its 95 % interval ``low`` to
        ``high`` over groups and seeds; ``chosen`` is True in one row: the cheapest threshold whose score on the
        validation clips is at most a point below never stopping.
        """
        seeds = self.heard(name)
        valid = [PlaybackPredictions.load(run, VALID) for run in self.runs_of(name)]
        groups, rows = self.groups_of(seeds[0].clips), []
        before: NDArray[Any] | None = None
        for threshold in _THRESHOLDS:
            stopped = [seed.stop_when_sure(float(threshold)) for seed in seeds]
            answers = np.stack([logits for logits, _ in stopped])  # (seeds, clips, classes)
            if before is None or not np.array_equal(answers, before):  # many thresholds stop the same clips
                interval = systems.score_interval(_draw(seeds, [*answers], groups))
            before = answers
            cost = float(np.mean([cost.mean() for _, cost in stopped]))
            rows.append((threshold, cost, interval.estimate, interval.low, interval.high))
        table = pd.DataFrame(rows, columns=["threshold", "cost", "score", "low", "high"])
        devel = [_curve(seed, self.runs[0].classes) for seed in valid]
        scores, costs = (np.mean([curve[column] for curve in devel], axis=0) for column in (0, 1))
        good = scores >= scores[-1] - _TOLERANCE
        table["chosen"] = np.arange(len(table)) == np.flatnonzero(good)[costs[good].argmin()]
        return table

    def localisation(self) -> pd.DataFrame:
        """Tabulate localisation of the playbacks against known events: one row per selection method and measure.

        Columns ``selection`` (by title), ``measure``, ``value`` with its interval ``low`` to ``high`` (mean over seeds,
        the interval that of one run), and ``random``, what parts of the same lengths score at random places;
        ``uniform`` is the same number, for pictures that want both.
        """
        rows = []
        for name in self.names:
            tables = [pd.DataFrame(run.metrics["where"]).T for run in self.runs_of(name) if run.metrics.get("where")]
            if tables:
                mean = pd.concat(tables).astype(float).groupby(level=0, sort=False).mean()
                mean["uniform"] = mean["random"]
                rows += [
                    {"selection": self.title(name), "measure": row, **mean.loc[row].to_dict()} for row in mean.index
                ]
        return pd.DataFrame(rows)

    def verdict(self) -> str:
        """Summarise the comparisons as text, with no claim beyond their confidence intervals."""
        text = []
        table = self.differences()
        for name in self.names:
            if name in ("none", "random", "energy"):
                continue
            comparisons = table[table["selection"] == name]
            better = comparisons[(comparisons["p_holm"] < 0.05) & (comparisons["difference"] > 0)]
            worse = comparisons[(comparisons["p_holm"] < 0.05) & (comparisons["difference"] < 0)]
            title = f"**{self.title(name)}**"
            if len(better):
                text.append(f"{title} is {self.reliably('better')} than {self._list(better['over'])}.")
            if len(worse):
                text.append(f"{title} is {self.reliably('worse')} than {self._list(worse['over'])}.")
            rest = comparisons[comparisons["p_holm"] >= 0.05]
            if len(rest):
                text.append(f"{title} is not reliably different from {self._list(rest['over'])}.")
        return " ".join([*text, self.power_note(table["detectable"]), self.seed_note])

    def _list(self, names: Sequence[str]) -> str:
        titles = [self.title(name).lower() for name in names]
        return titles[0] if len(titles) == 1 else f"{', '.join(titles[:-1])} and {titles[-1]}"


def _draw(predictions: Sequence[PlaybackPredictions], logits: Sequence[NDArray[Any]], groups: NDArray[np.str_]) -> Any:
    """Score of each seed with its resamples, from the logits of one stage."""
    first = predictions[0]
    if first.is_multilabel:
        return ranking.draw_average_precision(first.targets, list(logits), groups=groups)
    return systems.draw_means([right(first.targets, seed_logits, first.sizes) for seed_logits in logits], groups=groups)


def _curve(predictions: PlaybackPredictions, classes: Sequence[str]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Score and mean cost at each threshold."""
    scores, costs = [], []
    for threshold in _THRESHOLDS:
        logits, cost = predictions.stop_when_sure(float(threshold))
        scores.append(score(predictions.targets, logits, classes, predictions.sizes))
        costs.append(cost.mean())
    return np.array(scores), np.array(costs)
