"""Look up predictions, attention and model of each run of a study, by clip.

Book page: ``urban_sound``.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from audioattn_lib.attention.record.record import AttentionRecord
from audioattn_lib.core.errors import AudioAttnError
from audioattn_lib.data.manifest import Manifest
from audioattn_lib.evaluation.attention.localisation import mass_inside_events
from audioattn_lib.experiments.accents.attention_evaluation import carriers
from audioattn_lib.experiments.common.corpus import Clip
from audioattn_lib.experiments.common.studies.study import ClassificationStudy, Study
from audioattn_lib.experiments.scenes_and_instruments.domain_methods import domain_method_title
from audioattn_lib.experiments.scenes_and_instruments.study import DomainStudy
from audioattn_lib.experiments.sleepiness.study import RegressionStudy
from audioattn_lib.inference.model import Model, load
from audioattn_lib.training.run_directory import Run

__all__ = ["Compared", "compared_models"]

SURE = 0.6
"""Below this confidence a prediction counts as unsure."""


@dataclass(frozen=True)
class Compared:
    """One model of a study: its first seed on every fold.

    Parameters
    ----------
    title
        Name to show.
    runs
        Runs with its predictions of the test clips.
    networks
        Runs with its network and attention; those of ``runs``, or of the first step of training.
    split
        Split whose clips are scored; empty for all.
    """

    title: str
    runs: tuple[Run, ...]
    networks: tuple[Run, ...]
    split: str = ""

    @functools.cached_property
    def predictions(self) -> pd.DataFrame:
        """Predictions of the test clips, each clip once, by clip."""
        table = pd.concat([run.predictions for run in self.runs]).drop_duplicates("clip").set_index("clip")
        return table[table["split"] == self.split] if self.split else table

    @property
    def classes(self) -> list[str]:
        """Names of the classes; none of a number."""
        return self.runs[0].classes

    def network_of(self, clip: str) -> Run | None:
        """Run of the network that has this clip in its test; None where no network has."""
        for run in self.networks:
            if clip in run.attention.clips or clip in set(run.predictions["clip"]):
                return run
        return None

    def model_of(self, clip: str) -> Model | None:
        """Trained model of that run, loaded once; None where there is none."""
        run = self.network_of(clip)
        return None if run is None else load_once(str(run.path))

    def load(self) -> Model:
        """Trained model of the first run, which hears any sound."""
        return load_once(str(self.runs[0].path))

    def record_of(self, clip: Clip) -> AttentionRecord:
        """Attention over a clip: as the run kept it, and computed where it kept that of few clips; empty without."""
        run = self.network_of(clip.name)
        if run is None:
            return AttentionRecord.empty()
        if clip.name in run.attention.clips:
            return run.attention[run.attention.index(clip.name)]
        try:
            return load_once(str(run.path)).listen(clip.samples, clip.sample_rate, window=np.inf).record
        except AudioAttnError:  # an oracle, a baseline, or an old model whose corpus is gone
            return AttentionRecord.empty()

    def table(self, manifest: Manifest) -> pd.DataFrame:
        """One row a test clip: ``clip``, ``label``, ``predicted``, ``confidence``, ``right`` and ``inside``.

        ``confidence`` is the probability of the predicted class; of labels the least sure of them, and NaN of a number.
        Where the label is a number, ``right`` is None and there is ``error``, the distance to it. ``inside`` is the
        share of attention inside the events that the label is about, NaN where none is known.
        """
        predictions = self.predictions
        table = pd.DataFrame(
            {"clip": predictions.index, "label": predictions["label"], "predicted": predictions["predicted"]}
        )
        if self.classes:
            chances = predictions[[f"probability_{name}" for name in self.classes]].to_numpy(np.float64)
            is_several = not np.allclose(chances.sum(axis=1), 1.0, atol=1e-3)
            table["confidence"] = np.maximum(chances, 1 - chances).min(axis=1) if is_several else chances.max(axis=1)
            table["right"] = (predictions["label"] == predictions["predicted"]).to_numpy()
        else:
            for name in ("label", "predicted"):
                table[name] = pd.to_numeric(table[name], errors="coerce")
            table["confidence"], table["right"] = np.nan, None
            table["error"] = (table["predicted"] - table["label"]).abs()
        table["inside"] = self._inside(manifest, list(table["clip"]))
        return table.reset_index(drop=True)

    def _inside(self, manifest: Manifest, clips: list[str]) -> np.ndarray:
        rows = {name: row for row, name in enumerate(manifest.ids)}
        share = dict.fromkeys(clips, np.nan)
        for run in self.networks:
            record = run.attention
            kept = [(place, name) for place, name in enumerate(record.clips) if name in share and name in rows]
            if kept and not record.is_empty:
                events = carriers(manifest, np.array([rows[name] for _, name in kept]))
                inside = mass_inside_events(record[[place for place, _ in kept]], events)
                share.update(zip((name for _, name in kept), inside.tolist(), strict=True))
        return np.array([share[name] for name in clips], dtype=np.float64)


@functools.lru_cache(maxsize=32)
def load_once(path: str) -> Model:
    """A trained model, read once."""
    return load(path, device="cpu")


def compared_models(study: Study) -> dict[str, Compared]:
    """Return the compared runs of a study of any chapter by title; of several seeds the first."""
    groups: Mapping[str, list[Run]]
    if isinstance(study, RegressionStudy):
        models = {}
        for name in study.names:
            networks = [study.encoder(name)] if name in study.networks else []
            models[study.title(name)] = Compared(study.title(name), (study.select(name),), tuple(networks), study.part)
        return models
    if isinstance(study, DomainStudy):
        groups = {
            ", ".join(filter(None, (study.title(pattern), domain_method_title(method)))): study.of(pattern, method)
            for method in study.domain_methods
            for pattern in study.patterns
        }
    elif isinstance(study, ClassificationStudy):
        groups = {study.title(n): [r for r in study.runs if str(r.config[study.by]) == n] for n in study.names}
    else:
        raise TypeError(f"study is a {type(study).__name__}; give what study(config) of a chapter returns")
    return {title: _first_seed(title, runs) for title, runs in groups.items()}


def _first_seed(title: str, runs: list[Run]) -> Compared:
    seed: Any = runs[0].config.get("seed")
    first_seed = tuple(run for run in runs if run.config.get("seed") == seed)
    return Compared(title, first_seed, first_seed)
