r"""Weights of the frames in the context of a density's network, with and without the softmax part.

A density :math:`p` is read through a value function, so a frame enters the
context with the weight :math:`(G r)_t`, which is smoother than :math:`p`; as
published, the weights of a softmax are added (``fused``).

Book page: ``urban_sound``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from audioattn_lib.attention.pooling.registry import MECHANISMS
from audioattn_lib.attention.record.record import AttentionRecord
from audioattn_lib.evaluation.attention.localisation import mass_inside_events

from ..common.classification import label_events
from ..common.held_out import HeldOutNetwork
from ..common.studies.study import ClassificationStudy, choose
from .config import Config
from .corpus import prepare
from .experiment import load_model
from .experiment import study as compare

__all__ = ["densities_alone", "held_out_networks", "reading_table", "records_of_reading", "what_is_read"]


def what_is_read(record: AttentionRecord) -> AttentionRecord:
    r"""The record of the weights with which frames enter the context: :math:`|w_t| / \sum_s |w_s|`.

    A regression gives some frames a small negative weight; its size counts here, since the network reads it.

    Parameters
    ----------
    record
        Of a density, with ``read_weights``; of anything else it is returned as it is.

    Notes
    -----
    Book page: ``urban_sound``.
    """
    if record.read_weights is None or record.n_frames is None:
        return record
    size = np.abs(record.read_weights.astype(np.float64))
    size[np.arange(size.shape[1]) >= np.asarray(record.n_frames)[:, None]] = 0.0
    return AttentionRecord.from_weights(
        (size / size.sum(axis=1, keepdims=True))[:, None],
        record.clock,
        n_frames=list(record.n_frames),
        clips=record.clips,
        durations=None if record.durations is None else list(record.durations),
        mechanism=record.mechanism,
    )


def densities_alone(
    config: Config, study: ClassificationStudy, clip: str, names: str | Iterable[str], root: str | Path = "runs"
) -> ClassificationStudy | None:
    """Networks that read a density and nothing else, on the fold that tests ``clip``.

    Parameters
    ----------
    config
        Of the study; ``fused`` is switched off.
    study
        As :func:`~audioattn_lib.experiments.urban_sound.study` made it.
    clip
        A clip that the study tested.
    names
        Densities to train: a list, or joined by commas; those that the study did not compare are left out.
    root
        Directory of all runs.

    Returns
    -------
    ClassificationStudy or None
        None where no density is left.
    """
    densities = [name for name, mechanism in MECHANISMS.items() if mechanism.domain == "continuous"]
    selected = [name for name in choose(names, densities, "densities") if name in study.names]
    if not selected:
        return None
    fold = str(study.run_of(clip, selected[0]).config["fold"])
    return compare(dataclasses.replace(config, fused=False), selected, "all" if config.test_folds else [fold], root)


def records_of_reading(
    study: ClassificationStudy, alone: ClassificationStudy, clip: str, name: str = ""
) -> dict[str, AttentionRecord]:
    """One clip by title: a density (by default the last), what its network reads with the softmax part, and without."""
    name = name or alone.names[-1]
    fused, plain = (
        run.attention[run.attention.index(clip)] for run in (study.run_of(clip, name), alone.run_of(clip, name))
    )
    return {
        f"{study.title(name)}": fused,
        "Frames read, softmax added": what_is_read(fused),
        "Frames read, density alone": what_is_read(plain),
    }


def reading_table(study: ClassificationStudy, alone: ClassificationStudy) -> pd.DataFrame:
    """Tabulate densities with and without the softmax part, on the fold of ``alone``: a row a network.

    Columns: ``right``, share of the clips; ``density inside events`` and ``frames read inside events``, the mass of
    the attention and of what is read, means over clips with known events; empty where no event is known.
    """
    rows: dict[str, dict[str, str]] = {}
    for run in alone.runs:
        name = str(run.config["attention"])
        for title, run_of_title in (
            ("softmax added", study.select(name, str(run.config["fold"]))),
            ("density alone", run),
        ):
            events = _events(run_of_title.attention, run_of_title.config)
            table = run_of_title.predictions
            row = {"right": _percent(float((table["label"] == table["predicted"]).mean()))}
            if any(events):
                for column, record in (
                    ("density inside events", run_of_title.attention),
                    ("frames read inside events", what_is_read(run_of_title.attention)),
                ):
                    row[column] = _percent(float(np.nanmean(mass_inside_events(record, events))))
            rows[f"{study.title(name)}, {title}"] = row
    return pd.DataFrame.from_dict(rows, orient="index").fillna("")


def _events(record: AttentionRecord, settings: Any) -> list[list[tuple[float, float]]]:
    prepared = prepare(Config(**settings))
    rows = np.array([prepared.manifest.ids.index(clip) for clip in record.clips])
    return [list(spans) for spans in label_events(prepared.manifest, rows)]


def _percent(value: float) -> str:
    return f"{100 * value:.1f}\N{NO-BREAK SPACE}%"


def held_out_networks(
    study: ClassificationStudy, names: str | Iterable[str] = "softmax", clips: int = 12
) -> dict[str, HeldOutNetwork]:
    """Networks of a study with some test clips of their first fold, for measures that call them again.

    Parameters
    ----------
    study
        As :func:`~audioattn_lib.experiments.urban_sound.study` makes it.
    names
        Mechanisms: a list, or joined by commas; those that the study did not compare are left out.
    clips
        About how many test clips, of the length that most have, evenly over all of them.

    Returns
    -------
    dict
        By the title of the mechanism.

    Notes
    -----
    Book page: ``urban_sound_results``.
    """
    networks = {}
    for name in [each for each in choose(names, list(MECHANISMS), "attention") if each in study.names]:
        run = study.runs_of(name)[0]
        config = Config(**run.config)
        prepared = prepare(config)
        rows = prepared.rows_of_one_length(prepared.split(config).test, clips)
        networks[study.title(name)] = HeldOutNetwork(
            load_model(run),
            torch.stack([prepared.store[int(row)] for row in rows]),
            label_events(prepared.manifest, rows),
            prepared.groups[rows],
            {"frames read": what_is_read} if MECHANISMS[name].domain == "continuous" else {},
        )
    return networks
