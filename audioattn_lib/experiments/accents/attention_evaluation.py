"""Inputs for the evaluation of attention to speech: time intervals that carry the accent, and the input of the pooling.

Book page: ``accents``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from audioattn_lib.data.loading.batches import TransformedLoader
from audioattn_lib.data.manifest import Event, Manifest
from audioattn_lib.models.embedding import EmbeddingNetwork

from ..common.classification import label_events

__all__ = ["carriers", "carrying_events", "encoded"]


def encoded(network: EmbeddingNetwork, batches: TransformedLoader) -> TransformedLoader:
    """Batches of what the pooling of a network reads, in place of its features.

    Frames deleted from the features would leave edges that no sound has, for the front end to find. A frame of what
    the pooling reads can go without changing its neighbours. It becomes the mean of its clip, which a pooling by the
    mean hardly notices: what is measured is what a pooling uses beyond the mean.
    """

    def encode(features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        return network.encode(features, lengths), network.front.count_frames(lengths)

    return TransformedLoader(batches, encode)


def carriers(manifest: Manifest, rows: NDArray[np.int64]) -> list[list[tuple[float, float]]]:
    """Onset and offset in seconds of what tells the label of each clip; empty where nothing is known.

    In the synthetic accents these are the vowels that the accent moves: one that moves none, and is told by its
    rhythm and melody and by the vowels of the others, has none. Elsewhere they are the events of the label.
    """
    if "vowel_labels" not in manifest.table:
        return label_events(manifest, rows)
    return [[(event.onset, event.offset) for event in carrying_events(manifest, int(row))] for row in rows]


def carrying_events(manifest: Manifest, row: int) -> tuple[Event, ...]:
    """The events of a clip that tell its label: of the synthetic accents the vowels that are moved, elsewhere all."""
    events = tuple(manifest.events(row))
    if "vowel_labels" not in manifest.table:
        return events
    from audioattn_lib.data.synthetic.accents import (  # its signal processing takes a second to import
        ACCENTS,
        moved_vowels,
    )

    label = manifest.table["label"].iloc[row]
    moved = moved_vowels(label) if label in ACCENTS else ()
    return tuple(event for event in events if event.label in moved)
