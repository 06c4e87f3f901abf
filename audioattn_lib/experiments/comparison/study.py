"""Results of the comparison: one table over tasks and mechanisms, with intervals over clips and seeds.

Book page: ``comparison``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from audioattn_lib.automation import RUN_MIMETYPE
from audioattn_lib.core.errors import ConfigError
from audioattn_lib.evaluation.statistics import comparisons as statistics
from audioattn_lib.evaluation.statistics import systems
from audioattn_lib.training.run_directory import Run

from ..common.parallel import run_all
from ..common.studies.study import BASELINE, choose
from .config import Config
from .corpus import prepare
from .experiment import COSTS, MEASURES, baseline, run
from .mechanisms import CONTROL, MECHANISMS
from .tasks import TASKS, Task, tasks_of

__all__ = ["Comparison", "TaskResult", "study"]

_EVIDENCE = ("pointing_gain", "deletion_gain")
"""Measures with an interval, better above zero."""
_RESAMPLES = 1000
_OF_THE_BOOK = "Tasks are the synthetic corpora of the chapters."
_CONTROL_TASK = (
    "The last task is a control: by its construction, no network that sees one frame in so long a time can tell its "
    "classes apart. A mechanism that differs from the mean there would show that the intervals are too narrow."
)


@dataclass(frozen=True)
class TaskResult:
    """Run, linear baseline and groups of one task.

    Parameters
    ----------
    task
        What was asked.
    run, linear
        All mechanisms, and the linear baseline, on the same clips.
    groups
        Recording or speaker of each clip.
    """

    task: Task
    run: Run
    linear: Run
    groups: Mapping[str, str]

    @cached_property
    def clips(self) -> pd.DataFrame:
        """Predictions with the columns ``mechanism``, ``seed``, ``right`` and ``pointing_gain``."""
        table = self.run.predictions.copy()
        named = table["split"].str.rpartition(", seed ")
        table["mechanism"], table["seed"] = named[0], named[2].astype(int)
        for measure in MEASURES:  # what was not measured is an empty text in the file
            table[measure] = pd.to_numeric(table[measure], errors="coerce")
        table["right"] = (table["label"] == table["predicted"]).astype(float)
        table["pointing_gain"] = table["pointing"] - table["event_share"]
        return table

    @property
    def n_measured(self) -> int:
        """Test clips whose attention was measured."""
        return int(self.clips.loc[self.clips["deletion_gain"].notna(), "clip"].nunique())

    @cached_property
    def networks(self) -> pd.DataFrame:
        """Cost of each network: a row a mechanism and seed."""
        return pd.read_csv(self.run.path / "networks.csv")

    @cached_property
    def _groups(self) -> NDArray[np.str_]:
        """Group of each clip, in the order of :attr:`_names`."""
        return np.array([self.groups[clip] for clip in self._names])

    @cached_property
    def _names(self) -> list[str]:
        return list(dict.fromkeys(self.clips["clip"]))

    def draws(self, mechanisms: Sequence[str]) -> dict[str, systems.Draws]:
        """Score of mechanisms, of each seed and on common resamples of the groups."""
        return {
            name: systems.draw_means(self._of(name, "right", self._names), groups=self._groups) for name in mechanisms
        }

    def table(self) -> pd.DataFrame:
        """A row a mechanism, then the linear baseline and chance; see :meth:`Comparison.table`."""
        names = list(dict.fromkeys(self.clips["mechanism"]))
        clips, groups = self._names, self._groups
        scores = self.draws(names)
        linear = self.linear.predictions.set_index("clip").loc[clips]
        right = (linear["label"] == linear["predicted"]).to_numpy(dtype=np.float64)
        scores[BASELINE] = systems.draw_means(right, groups=groups)
        differences = systems.compare_systems(
            {name: (draws, scores[CONTROL]) for name, draws in scores.items() if name != CONTROL}, largest=1.0
        )
        costs = self.networks.groupby("mechanism")[list(COSTS)].median()
        rows = []
        for name, draws in scores.items():
            interval = systems.score_interval(draws)
            row = {**self._named(name), "score": interval.estimate, "low": interval.low, "high": interval.high}
            if name in differences.index:
                compared = differences.loc[name]
                row |= {"difference": compared["difference"], "p_holm": compared["p_holm"]}
                row |= {f"difference_{end}": compared[end] for end in ("low", "high")}
                row["detectable"] = compared["detectable"]
            if name in costs.index:
                row |= {cost: float(costs.loc[name, cost]) for cost in COSTS}
                row |= self._measures(name, clips, groups)
            rows.append(row)
        chance = statistics.chance_level(pd.factorize(linear["label"])[0]).majority
        rows.append({**self._named("chance"), "score": chance.estimate})
        return pd.DataFrame(rows)

    def _measures(self, name: str, clips: Sequence[str], groups: NDArray[np.str_]) -> dict[str, float]:
        own = self.clips[self.clips["mechanism"] == name]
        row = {measure: float(own[measure].mean()) for measure in ("attended", "held")}
        for measure in _EVIDENCE:
            values = self._of(name, measure, clips)
            is_measured = ~np.isnan(values).any(axis=0)
            if not is_measured.any():
                continue
            draws = systems.draw_means(values[:, is_measured], groups=groups[is_measured], n_resamples=_RESAMPLES)
            interval = systems.score_interval(draws, bounds=(-1.0, 1.0))
            row |= {measure: interval.estimate, f"{measure}_low": interval.low, f"{measure}_high": interval.high}
        return row

    def _of(self, name: str, column: str, clips: Sequence[str]) -> NDArray[np.float64]:
        """A column of one mechanism, shape ``(seeds, clips)``."""
        own = self.clips[self.clips["mechanism"] == name]
        return own.pivot(index="seed", columns="clip", values=column)[list(clips)].to_numpy(dtype=np.float64)

    def _named(self, name: str) -> dict[str, Any]:
        mechanism = MECHANISMS.get(name)
        title = mechanism.title if mechanism else {BASELINE: "Linear baseline", "chance": "Chance"}[name]
        family = mechanism.family_title if mechanism else "Reference"
        return {"task": self.task.title, "mechanism": title, "family": family, "name": name}


@dataclass(frozen=True)
class Comparison:
    """Every mechanism on every task.

    Parameters
    ----------
    results
        One for each task.
    """

    results: tuple[TaskResult, ...]

    @cached_property
    def _table(self) -> pd.DataFrame:
        table = pd.concat([result.table() for result in self.results], ignore_index=True)
        for measure in _EVIDENCE:  # where no event is known, no column comes of itself
            for column in (measure, f"{measure}_low", f"{measure}_high"):
                if column not in table:
                    table[column] = np.nan
        return table

    def table(self) -> pd.DataFrame:
        """The results: a row a task and mechanism, each task with its linear baseline and chance.

        Columns: ``task``, ``mechanism`` and ``family`` by title, ``name``; ``score``, the share of clips predicted
        right, with its 95 % interval ``low`` to ``high`` over seeds and groups of clips; ``difference`` to the mean,
        paired by clip and seed, with its interval and ``p_holm``, corrected for the comparisons of the task (Holm), and
        ``detectable``, the difference that would be found in four experiments of five; ``milliseconds`` of processor
        time a training clip, forwards and backwards; ``kilobytes`` a clip that the mechanism keeps for its gradient;
        ``parameters`` of the mechanism; ``attended``, the share of the sound with any attention; ``held``, the
        smallest share of the frames that holds nine tenths of it; ``pointing_gain``, how much oftener than uniform
        attention it is highest inside an event; ``deletion_gain``, how much more probability is lost by deleting the
        frames attended to most than frames of the same shape elsewhere. The last two have intervals too; NaN where
        something is not known.
        """
        return self._table.copy()

    def compare(self, task: str, first: str, second: str) -> pd.Series:
        """Difference of two mechanisms, named by title, on a task, by title: a row of
        :func:`~audioattn_lib.evaluation.statistics.systems.compare_systems`, not corrected for pairs not looked at.
        """
        result = next(each for each in self.results if each.task.title == task)
        by_title = {mechanism.title: name for name, mechanism in MECHANISMS.items()}
        draws = result.draws((by_title[first], by_title[second]))
        pair = (draws[by_title[first]], draws[by_title[second]])
        return systems.compare_systems({f"{first} over {second}": pair}, largest=1.0).iloc[0]

    def describe(self) -> str:
        """Tasks, mechanisms and networks in a few sentences."""
        rows = [
            f"- {result.task.title}: {result.clips['clip'].nunique()} test clips ({result.n_measured} for pointing and "
            f"deletion), {len(result.run.classes)} classes, "
            f"{len({result.groups[clip] for clip in result.clips['clip']})} recordings or speakers"
            for result in self.results
        ]
        networks = f"{self.n_networks} networks: {len(self.results[0].networks['mechanism'].unique())} mechanisms, "
        networks += f"{len(self.results)} task{'s' * (len(self.results) > 1)}, {self.n_seeds} seeds each."
        of_the_book = {task.data for task in self.tasks} <= {task.data for task in TASKS.values()}
        notes = [_OF_THE_BOOK] * of_the_book + [_CONTROL_TASK] * any(task.is_control for task in self.tasks)
        return "\n".join([networks, *notes, "", *rows])

    @property
    def tasks(self) -> list[Task]:
        """Tasks in their order."""
        return [result.task for result in self.results]

    @property
    def n_seeds(self) -> int:
        """Networks of each mechanism on each task."""
        return int(self.results[0].clips["seed"].nunique())

    @property
    def n_networks(self) -> int:
        """Networks in all."""
        return sum(len(result.networks) for result in self.results)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        """Return the notebook output that a sweep collects: configuration and scores of every run."""
        runs = [each for result in self.results for each in (result.run, result.linear)]
        return {
            RUN_MIMETYPE: [each.summary() for each in runs],
            "text/plain": f"{len(runs)} runs: {', '.join(each.key for each in runs)}",
        }


def study(
    config: Config,
    data: str | None = None,
    tasks: str | Iterable[str] = "all",
    mechanisms: str | Iterable[str] = "all",
    root: str | Path = "runs",
) -> Comparison:
    """Every mechanism on every task; what exists already is read back.

    Parameters
    ----------
    config
        Everything but ``data``, ``fold`` and ``mechanisms``.
    data
        Corpora with their options, joined by ``" + "``, one task each; None for the tasks of the book.
    tasks
        Names out of :data:`~audioattn_lib.experiments.comparison.tasks.TASKS`, or of the corpus: a list, or joined by
        commas, or ``"all"``.
    mechanisms
        Names out of :data:`~audioattn_lib.experiments.comparison.mechanisms.MECHANISMS`, in the same way; the mean is
        always among them.
    root
        Directory of all runs.
    """
    by_name = {task.name: task for task in tasks_of(data)}
    selected = [by_name[name] for name in choose(tasks, list(by_name), "task")]
    names = choose(mechanisms, list(MECHANISMS), "mechanism")
    names = [name for name in MECHANISMS if name in names or name == CONTROL]
    if len(names) < 2:
        raise ConfigError(f"mechanism is {mechanisms}; name at least one beside {CONTROL}")
    configs = [
        dataclasses.replace(config, data=task.data, fold=task.fold, mechanisms=tuple(names)) for task in selected
    ]
    linear = [baseline(each, root) for each in configs]
    runs = run_all(run, configs, root, shown=("data",))
    groups = [prepare(each).group_of for each in configs]
    joined = zip(selected, runs, linear, groups, strict=True)
    return Comparison(tuple(TaskResult(*each) for each in joined))
