"""Result of a model that listened to a sound: prediction, attention, and the sound itself.

Book page: ``your_sounds``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from audioattn_lib.attention.record.record import AttentionRecord
from audioattn_lib.attention.record.segment_lists import LabelledSegment

from .sources import Source

if TYPE_CHECKING:
    from audioattn_lib.display.players.player import Player

__all__ = ["Listening", "Prediction"]

_NAMED = 3
ONE_PLAYER = 120.0
"""Longest sound in seconds of a page with one player."""
ONE_CELL = 1200.0
"""Longest sound in seconds that a notebook holds; of a longer one it shows the overview alone."""


@dataclass(frozen=True)
class Prediction:
    """Answer of a model to one sound.

    Parameters
    ----------
    label
        Most probable class; labels above one half, or the class of each task, joined by ``;``; ``""`` without classes.
    probabilities
        Of each class, by name.
    score
        Predicted number, in ``unit``; None of a model with classes.
    unit
        Unit of the score.
    stages
        Probabilities after each hearing of a network that plays back; the last one is the answer.
    """

    label: str = ""
    probabilities: Mapping[str, float] = field(default_factory=dict)
    score: float | None = None
    unit: str = ""
    stages: tuple[Mapping[str, float], ...] = ()

    def __str__(self) -> str:
        if self.score is not None:
            return f"{self.score:.3g} {self.unit}".rstrip()
        best = sorted(self.probabilities.items(), key=lambda item: -item[1])[:_NAMED]
        return ", ".join(f"{name} {value:.2f}" for name, value in best) or "embedding"


@dataclass(frozen=True, repr=False)
class Listening:
    """Prediction and attention of a model for one sound; it shows itself as a player in a notebook.

    Parameters
    ----------
    source
        The sound.
    sample_rate
        Rate in hertz at which the model heard it.
    prediction
        Answer.
    record
        Attention in seconds of the sound, of one clip.
    embedding
        Features that the answer is made of, shape ``(E,)``; None where the model has none.
    steps
        Answer over time of a sound that was heard in windows, as :attr:`timeline` has it; None for one heard whole.
    events
        Parts of a recording in which a class is at least as probable as one half, in seconds; empty for a sound that
        was heard whole.
    """

    source: Source
    sample_rate: int
    prediction: Prediction
    record: AttentionRecord
    embedding: NDArray[np.float32] | None
    steps: pd.DataFrame | None = None
    events: tuple[LabelledSegment, ...] = ()

    @property
    def name(self) -> str:
        """Path of the file, or ``"sound"``."""
        return self.source.name

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return self.source.duration

    @property
    def sound(self) -> NDArray[np.float32]:
        """Samples as the model heard them, one channel at :attr:`sample_rate`; read from the file on each access."""
        return self.source.read(self.sample_rate)

    @cached_property
    def timeline(self) -> pd.DataFrame:
        """Answer over time: a row a step with ``start`` and ``stop`` in seconds, and a column a class, or ``score``.

        One row for a sound that was heard whole.
        """
        if self.steps is not None:
            return self.steps
        values: dict[str, Any] = dict(self.prediction.probabilities)
        if self.prediction.score is not None:
            values = {"score": self.prediction.score}
        return pd.DataFrame([{"start": 0.0, "stop": self.duration, **values}])

    @property
    def has_steps(self) -> bool:
        """True where the timeline has more than one row."""
        return self.steps is not None and len(self.steps) > 1

    def player(self, *, title: str = "", caption: str = "") -> Player:
        """Player of the sound with its attention."""
        from audioattn_lib.display.show import show

        record = self.record
        overlay: dict[str, Any] = {}
        if not record.is_empty:
            overlay = {"map" if record.maps is not None else "curve": record}
        return show(
            self.sound,
            self.sample_rate,
            labels=[(event.start, event.stop, event.label) for event in self.events] or None,
            title=title or f"{Path(self.name).name}: {self.prediction}",
            caption=caption,
            **overlay,
        )

    def save(self, path: str | Path) -> Path:
        """Write a page, and return its path.

        Up to two minutes it holds the player. The page of a longer recording is an overview to zoom, whose parts lie
        in the folder ``<name>_parts`` beside it and are loaded when they are chosen.
        """
        if self.duration <= ONE_PLAYER:
            return self.player().save(path)
        from .recording_page import save_recording

        return save_recording(self, path)

    def _repr_html_(self) -> str:
        if self.duration <= ONE_CELL:
            return self.player().html()
        from .recording_page import draw_overview

        return draw_overview(self).html()

    def __repr__(self) -> str:
        return f"Listening({self.name!r}, {self.duration:.4g} s: {self.prediction})"
