"""Configuration of the comparison: some mechanisms on one task, with some seeds.

Book page: ``comparison``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from audioattn_lib.core.declarations import Range

from ..common.config import Count, ExperimentConfig, Fold, Positive, Protocol, require
from .mechanisms import CONTROL, HEADS, MECHANISMS

__all__ = ["Config"]


@dataclass(frozen=True)
class Config(ExperimentConfig):
    """Some mechanisms on one task. Unknown or impossible values are errors that name the field."""

    PRESETS = ("smoke", "default", "recordings")

    data: Annotated[str, "corpus of one task"] = "city"
    fold: Fold = "first"
    protocol: Protocol = "nested"
    mechanisms: Annotated[tuple[str, ...], "how frames become one vector: names, the control among them"] = tuple(
        MECHANISMS
    )
    n_seeds: Annotated[Count, "networks of each mechanism, of the seeds from seed on"] = 3
    batch_size: Annotated[Count, "clips per step"] = 64
    n_measured: Annotated[Count, "test clips at most whose attention is measured, evenly over all"] = 48
    n_mels: Annotated[Count, "mel bands"] = 32
    hop_seconds: Annotated[float, Range("(0, 1]", "seconds"), "hop from one frame to the next"] = 0.1
    hidden_size: Annotated[Count, f"width of a frame behind the encoder, a multiple of {HEADS}"] = 32
    learning_rate: Annotated[Positive, "highest learning rate of Adam"] = 5e-2
    epochs: Annotated[Count, "passes over the training clips"] = 10

    def check(self) -> None:
        """Check the mechanisms, and that frames divide into heads."""
        unknown = [name for name in self.mechanisms if name not in MECHANISMS]
        require(self, "mechanisms", not unknown, f"names out of {', '.join(MECHANISMS)}")
        require(self, "mechanisms", CONTROL in self.mechanisms, f"at least {CONTROL}, with which others are compared")
        require(self, "mechanisms", len(set(self.mechanisms)) == len(self.mechanisms), "each name once")
        require(self, "hidden_size", self.hidden_size % HEADS == 0, f"a multiple of {HEADS}")

    @classmethod
    def smoke(cls, **changes: Any) -> Config:
        """Seconds on a CPU, for tests."""
        return cls(**{"epochs": 1, "hidden_size": 8, "n_mels": 16, "n_seeds": 2, **changes})

    @classmethod
    def default(cls, **changes: Any) -> Config:
        """Settings of the book: tenths of a second a network."""
        return cls(**changes)

    @classmethod
    def recordings(cls, **changes: Any) -> Config:
        """Larger networks, more epochs and more seeds, for recordings."""
        settings = {"epochs": 60, "hidden_size": 64, "n_mels": 64, "n_seeds": 5, "learning_rate": 1e-2}
        return cls(**{**settings, "hop_seconds": 0.04, "n_measured": 1000, **changes})
