"""Inputs for the evaluation of attention to speech: time intervals that carry the accent, and the input of the pooling.

Book page: ``accents``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from audioattn_lib.data.loading.batches import Batch, BatchLoader
from audioattn_lib.data.manifest import Manifest
from audioattn_lib.models.embedding import EmbeddingNetwork

from ..common.classification import label_events

__all__ = ["Encoded", "carriers"]


class Encoded:
    """Batches of what the pooling of a network reads, in place of its features.

    Frames deleted from the features would leave edges that no sound has, for the front end to find. A frame of what
    the pooling reads can go without changing its neighbours. It becomes the mean of its clip, which a pooling by the
    mean hardly notices: what is measured is what a pooling uses beyond the mean.
    """

    def __init__(self, network: EmbeddingNetwork, batches: BatchLoader) -> None:
        self.network = network
        self.batches = batches

    def epoch(self, number: int, start: int = 0) -> Iterator[Batch]:
        """Batches from ``start`` on, without gradient."""
        for batch in self.batches.epoch(number, start):
            with torch.no_grad():
                hidden = self.network.encode(batch.features, batch.lengths)
            yield dataclasses.replace(batch, features=hidden, lengths=self.network.front.count_frames(batch.lengths))


def carriers(manifest: Manifest, rows: NDArray[np.int64]) -> list[list[tuple[float, float]]]:
    """Onset and offset in seconds of what tells the label of each clip; empty where nothing is known.

    In the synthetic accents these are the vowels that the accent moves: one that moves none, and is told by its
    rhythm and melody and by the vowels of the others, has none. Elsewhere they are the events of the label.
    """
    if "vowel_labels" not in manifest.table:
        return label_events(manifest, rows)
    from audioattn_lib.data.synthetic.accents import (  # its signal processing takes a second to import
        ACCENTS,
        moved_vowels,
    )

    labels = manifest.table["label"]
    moved = {name: moved_vowels(name) for name in ACCENTS}
    return [
        [(e.onset, e.offset) for e in manifest.events(int(row)) if e.label in moved.get(labels.iloc[row], ())]
        for row in rows
    ]
