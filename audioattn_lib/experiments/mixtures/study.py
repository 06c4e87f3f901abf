"""Poolings on mixtures, over folds and seeds; the learning rate of each is chosen on validation clips.

Book page: ``mixtures_results``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from audioattn_lib.core.errors import ConfigError
from audioattn_lib.data.splits import fold_names
from audioattn_lib.evaluation.statistics import systems
from audioattn_lib.training.run_directory import Run

from ..common.parallel import run_all
from ..common.studies.study import choose
from .config import ATTENTIONS, CONTROLS, Config
from .corpus import prepare
from .experiment import run
from .linear import BASELINE, baseline
from .results import ANY, GainResults

__all__ = ["LEARNING_RATES", "MixturesStudy", "study"]

LEARNING_RATES = (1e-2, 3e-2, 1e-1)
"""Candidates of the learning rate."""
_COMPARED = ("difference", "low", "high", "p_holm", "detectable")


@dataclasses.dataclass(frozen=True)
class MixturesStudy:
    """Runs of several poolings on the same clips.

    Parameters
    ----------
    runs
        One of each pooling, fold and seed, with the learning rate that was chosen.
    n_tried
        Runs that the choice was made from.
    baselines
        The linear baseline on each fold.
    """

    runs: tuple[Run, ...]
    n_tried: int
    baselines: tuple[Run, ...] = ()

    @property
    def names(self) -> list[str]:
        """Poolings in the order of the runs."""
        return list(dict.fromkeys(str(run.config["pooling"]) for run in self.runs))

    @property
    def seeds(self) -> list[int]:
        """Seeds in the order of the runs."""
        return list(dict.fromkeys(int(run.config["seed"]) for run in self.runs))

    def clips(self) -> pd.DataFrame:
        """Tabulate what is known of every tested clip: ``group``, ``share``, by its name."""
        tables = pd.concat([run.predictions for run in self.runs]).drop_duplicates("clip").set_index("clip")
        return tables[["group", "share"]].astype({"group": str, "share": float})

    def right(self, name: str, clips: Sequence[str], column: str = "") -> NDArray[np.float64]:
        """Correctness of each clip for each seed, ``(seeds, clips)``; or a column of the predictions."""
        of_seeds = [
            [run for run in self.runs if (run.config["pooling"], run.config["seed"]) == (name, seed)]
            for seed in self.seeds
        ]
        return np.stack([self._right_of(runs, clips, column) for runs in of_seeds])

    @staticmethod
    def _right_of(runs: Iterable[Run], clips: Sequence[str], column: str = "") -> NDArray[np.float64]:
        """Correctness of each clip in the run that tested it, ``(clips,)``; or a column of the predictions."""
        tables = pd.concat([run.predictions for run in runs]).set_index("clip")
        values = tables[column] if column else tables["label"] == tables["predicted"]
        return values.loc[list(clips)].to_numpy(dtype=np.float64)

    def results(self, bounds: Sequence[float], reference: str = "mean") -> GainResults:
        """Score of each pooling and its gain over ``reference``, over all clips and by the share that events fill.

        Parameters
        ----------
        bounds
            Ends of the bins of the share, rising, from 0 to 1.
        reference
            One of the poolings.

        Raises
        ------
        ConfigError
            When the bounds do not rise, or the reference was not trained.
        """
        if len(bounds) < 2 or any(a >= b for a, b in pairwise(bounds)):
            raise ConfigError(f"bounds is {tuple(bounds)}; give two or more rising numbers from 0 to 1")
        if reference not in self.names:
            raise ConfigError(f"reference is {reference!r}; trained were {', '.join(self.names)}")
        table = self.clips()
        bins = [(0.0, 1.0), *pairwise(bounds)]
        masks = [np.ones(len(table), dtype=bool)]
        masks += [((table["share"] > low) & (table["share"] <= high)).to_numpy() for low, high in bins[1:]]
        attending = [name for name in self.names if name in ATTENTIONS]
        right = {name: self.right(name, list(table.index)) for name in self.names}
        inside = {name: self.right(name, list(table.index), "mass_inside") for name in self.names}
        if self.baselines:
            right[BASELINE] = self._right_of(self.baselines, list(table.index))[None]
            inside[BASELINE] = np.full_like(right[BASELINE], np.nan)
        if attending:
            right[ANY] = np.mean([right[name] for name in attending], axis=0)
            inside[ANY] = np.mean([inside[name] for name in attending], axis=0)
        filled = [(span, mask) for span, mask in zip(bins, masks, strict=True) if mask.any()]
        rows = [row for some in (filled[:1], filled[1:]) for row in _compare(right, inside, table, some, reference)]
        if attending:
            others = [name for name in (*CONTROLS, BASELINE) if name in right and name != reference]
            rows += _compare_attention(right, table["group"].to_numpy(), rows, others)
        return GainResults(pd.DataFrame(rows))


def _compare(
    right: dict[str, NDArray[np.float64]],
    inside: dict[str, NDArray[np.float64]],
    table: pd.DataFrame,
    bins: Sequence[tuple[tuple[float, float], NDArray[np.bool_]]],
    reference: str,
) -> list[dict[str, object]]:
    """Rows of the poolings in some bins; p-values and intervals are corrected for all comparisons of one family.

    The mean of all mechanisms is a family of its own: it is the question that was asked first.
    """
    drawn = {
        (name, number): systems.draw_means(scores[:, mask], groups=table["group"].to_numpy()[mask])
        for name, scores in right.items()
        for number, (_, mask) in enumerate(bins)
    }
    compared: dict[str, dict[str, float]] = {}
    for family in ([ANY], [name for name in right if name != ANY]):
        pairs = {
            f"{name} {number}": (drawn[name, number], drawn[reference, number])
            for name in family
            if name in right and name != reference
            for number in range(len(bins))
        }
        compared |= systems.compare_systems(pairs, largest=1.0).to_dict(orient="index")
    rows = []
    for number, ((low, high), mask) in enumerate(bins):
        for name in right:
            score = systems.score_interval(drawn[name, number])
            row: dict[str, object] = {
                "pooling": name,
                "reference": reference,
                "share_low": low,
                "share_high": high,
                "share": float(np.exp(np.log(table["share"][mask]).mean())),
                "clips": int(mask.sum()),
                "groups": int(table["group"][mask].nunique()),
                "seeds": drawn[name, number].seeds,
                "score": score.estimate,
                "score_low": score.low,
                "score_high": score.high,
                "mass_inside": float(np.mean(inside[name][:, mask])),
            }
            against = compared.get(f"{name} {number}", {})
            row |= {
                column: against.get(column, np.nan) for column in ("difference", "low", "high", "p_holm", "detectable")
            }
            rows.append(row)
    return rows


def _compare_attention(
    right: dict[str, NDArray[np.float64]],
    groups: NDArray[np.str_],
    rows: Sequence[dict[str, object]],
    references: Sequence[str],
) -> list[dict[str, object]]:
    """Rows of the mean of all mechanisms over all clips against other references, corrected for their number."""
    drawn = {name: systems.draw_means(right[name], groups=groups) for name in (ANY, *references)}
    compared = systems.compare_systems({name: (drawn[ANY], drawn[name]) for name in references}, largest=1.0)
    first = next(row for row in rows if row["pooling"] == ANY)
    return [
        {**first, "reference": name, **{column: compared.loc[name, column] for column in _COMPARED}}
        for name in references
    ]


def study(
    config: Config,
    poolings: str | Iterable[str] = "all",
    seeds: Iterable[int] = range(5),
    folds: str | Iterable[str] = "all",
    root: str | Path = "runs",
    learning_rates: Sequence[float] = LEARNING_RATES,
) -> MixturesStudy:
    """Every pooling on every fold with every seed; what exists already is read back.

    With the first seed each learning rate is tried; the one with the lowest loss on the validation clips of a fold is
    taken for this pooling and fold. Test clips choose nothing.

    Parameters
    ----------
    config
        Everything but ``pooling``, ``fold``, ``seed`` and ``learning_rate``.
    poolings
        Names of mechanisms and of :data:`.CONTROLS`: a list, or joined by commas, or ``"all"``.
    seeds
        Of weights, batches and dropout.
    folds
        Test folds, in the same way as poolings.
    root
        Directory of all runs.
    learning_rates
        Candidates, at least one.

    Notes
    -----
    Book page: ``mixtures_results``.
    """
    prepared = prepare(config)
    names = choose(poolings, (*CONTROLS, *ATTENTIONS), "poolings")
    tested = choose(folds, fold_names(prepared.manifest), "fold")
    first, *others = seeds
    if not learning_rates:
        raise ConfigError("learning_rates is empty; name at least one")
    cases = [(name, fold) for fold in tested for name in names]

    def make(name: str, fold: str, seed: int, rate: float) -> Config:
        return dataclasses.replace(config, pooling=name, fold=fold, seed=seed, learning_rate=float(rate))

    shown = ("pooling", "fold", "seed")
    configs = [make(name, fold, first, rate) for name, fold in cases for rate in learning_rates]
    tried = run_all(run, configs, root, shown=shown)
    best: dict[tuple[str, str], Run] = {}
    for case, start in zip(cases, range(0, len(tried), len(learning_rates)), strict=True):
        best[case] = min(tried[start : start + len(learning_rates)], key=lambda run: run.metrics["valid_loss"])
    rest = [make(*case, seed, best[case].config["learning_rate"]) for seed in others for case in cases]
    baselines = tuple(baseline(dataclasses.replace(config, fold=fold, seed=first), root) for fold in tested)
    return MixturesStudy((*best.values(), *run_all(run, rest, root, shown=shown)), len(tried), baselines)
