"""Attention over one clip after each epoch of a training, as a player with a slider shows it.

Book page: ``urban_sound``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from audioattn_lib.attention.record.record import AttentionRecord
from audioattn_lib.training.probes import load_probes
from audioattn_lib.training.run_directory import Run
from audioattn_lib.training.run_list import model_name

__all__ = ["Film", "film"]

MOST_EPOCHS = 12
"""Epochs of a film: what a page holds besides its sound."""


@dataclass(frozen=True)
class Film:
    """Attention over a validation clip after some epochs.

    Parameters
    ----------
    clip
        Name of the clip.
    model
        Name of what was trained, as it is compared.
    records
        Attention by the name of the epoch; epochs count from 1.
    """

    clip: str
    model: str
    records: Mapping[str, AttentionRecord]

    @property
    def sliders(self) -> dict[str, Sequence[str]]:
        """The slider of a player: the epochs."""
        return {"Epoch": [name.removeprefix("Epoch ") for name in self.records]}

    @property
    def player(self) -> dict[str, Any]:
        """Keyword arguments of a player; the last epoch is shown first."""
        return {"records": self.records, "sliders": self.sliders, "start": len(self.records) - 1}


def film(run: Run, clip: str = "", *, most: int = MOST_EPOCHS) -> Film | None:
    """Attention after up to ``most`` epochs, evenly from the first to the last; None of a run that kept none.

    Parameters
    ----------
    run
        The run.
    clip
        One of the clips that it kept; without a name the one whose attention moved most from the first epoch to the
        last, half of the sum of the absolute differences of its frame attention.
    most
        Epochs, at least 2.
    """
    probes = load_probes(run.path)
    if not probes:
        return None
    epochs = list(probes)
    selected = [
        epochs[i] for i in np.unique(np.linspace(0, len(epochs) - 1, min(most, len(epochs))).round().astype(int))
    ]
    first, last = probes[epochs[0]], probes[epochs[-1]]
    if not clip:
        moved = [np.abs(first.frame_attention(i) - last.frame_attention(i)).sum() / 2 for i in range(len(last))]
        clip = last.clips[int(np.argmax(moved))]
    return Film(
        clip,
        model_name(run.experiment, run.config),
        {f"Epoch {epoch + 1}": probes[epoch][probes[epoch].index(clip)] for epoch in selected},
    )
