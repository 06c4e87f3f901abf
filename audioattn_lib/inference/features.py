"""Features of the clips of a corpus by a trained model that is read from its folder alone.

Book page: commands.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from audioattn_lib.core.errors import RunError
from audioattn_lib.data.tables.feature_table import FeatureTable
from audioattn_lib.experiments.common.corpus import load_checked

from .model import Model

__all__ = ["extract_embeddings"]


def extract_embeddings(model: Model, data: str, *, skip_bad_clips: bool = False) -> FeatureTable:
    """Extract the features before the classifier of a model, a row a clip of a corpus, each heard whole.

    Parameters
    ----------
    model
        Of any chapter whose network has such features.
    data
        Corpus and options as one text: also a list of files, or a file of sound. It needs no labels.
    skip_bad_clips
        Leave clips out that fail the check.

    Raises
    ------
    RunError
        When the model has no embedding.
    ManifestError, AudioError
        When clips cannot be used; the message names them.

    Notes
    -----
    Book page: commands.
    """
    manifest = load_checked(data, skip_bad_clips=skip_bad_clips, needs_classes=False)

    def sounds() -> Iterator[Any]:
        for row in range(len(manifest)):
            yield manifest.read_audio(row, model.sample_rate)

    rows = []
    for listening in model.stream(sounds(), window=math.inf):
        if listening.embedding is None:
            raise RunError(f"{model.path}: a model of {model.experiment} has no embedding of a sound; give another one")
        rows.append(listening.embedding)
    names = tuple(f"embedding_{number}" for number in range(len(rows[0])))
    if model.experiment == "sleepiness":  # as the features of a run of an autoencoder are called
        return FeatureTable.from_manifest(manifest, np.stack(rows))
    return FeatureTable.from_manifest(manifest, np.stack(rows), names)
