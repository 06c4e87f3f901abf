"""A trained network with some clips that it never learned from, for measures that call it again.

Book page: ``urban_sound_results``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from audioattn_lib.attention.record.record import AttentionRecord

__all__ = ["HeldOutNetwork"]


@dataclass(frozen=True)
class HeldOutNetwork:
    """A network, test clips of one length, and what is known of them.

    Attributes
    ----------
    model
        From ``model(features, lengths, record=True)`` to scores before softmax, shape ``(clips, classes)``, and record.
    features
        Test clips, shape ``(clips, frames, bands)``.
    events
        Onset and offset in seconds of the events of each clip.
    groups
        Recording of each clip, shape ``(clips,)``.
    attributions
        What else of a record says what the network reads, by name, such as the weights with which frames enter a
        context that a density makes.
    """

    model: nn.Module
    features: Tensor
    events: Sequence[Sequence[tuple[float, float]]]
    groups: NDArray[np.str_]
    attributions: Mapping[str, Callable[[AttentionRecord], AttentionRecord]] = field(default_factory=dict)
