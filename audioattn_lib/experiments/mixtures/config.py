"""Configuration of the study on mixtures: frames, pooling, training.

Book page: ``mixtures_results``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from audioattn_lib.attention.pooling.registry import MECHANISMS
from audioattn_lib.core.declarations import OneOf

from ..common.config import Count, DropRate, ExperimentConfig, Fold, LossMonitor, NonNegative, Positive, Whole

__all__ = ["ATTENTIONS", "CONTROLS", "MEL", "Config"]

ATTENTIONS = tuple(MECHANISMS)
"""Poolings that learn where to attend."""
CONTROLS = ("mean", "max", "statistics")
"""Poolings that learn nothing."""
MEL = "mel"
"""The field ``frame_encoder`` without a pretrained encoder."""


@dataclass(frozen=True)
class Config(ExperimentConfig):
    """One pooling on one test fold. Unknown or impossible values are errors that name the field."""

    PRESETS = ("smoke", "default")

    data: Annotated[str, "corpus with known events, such as `mixtures?events=my_sounds`"] = "city"
    pooling: Annotated[str, OneOf((*CONTROLS, *ATTENTIONS)), "summary over time: by weights or without"] = "softmax"
    fold: Fold = "first"
    n_mels: Annotated[Count, "mel bands, where there is no pretrained encoder"] = 64
    frame_encoder: Annotated[
        str, "log-mel bands (mel); or folder or identifier of a pretrained encoder, whose frames are computed once"
    ] = MEL
    frame_layer: Annotated[Whole, "layer of the pretrained encoder; 0: before the first, where no frame attends"] = 0
    window: Annotated[Positive, "seconds that the pretrained encoder hears at a time"] = 10.0
    averaged: Annotated[Count, "frames of the encoder that are averaged to one; of mel, hop in steps of 10 ms"] = 4
    components: Annotated[Count, "principal components of the frames of the training clips"] = 48
    hidden_size: Annotated[Count, "units of the layer that sees each frame alone"] = 32
    attention_size: Annotated[Count, "width of the additive scorer"] = 32
    dropout: Annotated[DropRate, "dropout of what the classifier reads"] = 0.2
    learning_rate: Annotated[Positive, "highest one; it rises during a tenth of the steps and falls along a cosine"] = (
        1e-2
    )
    weight_decay: Annotated[NonNegative, "weight decay of AdamW"] = 0.01
    epochs: Annotated[Count, "passes over the training clips"] = 12
    batch_size: Annotated[Count, "clips per step"] = 64
    monitor: LossMonitor = "loss"
    precision: Annotated[Literal["auto", "float32", "bfloat16"], "numbers of the network"] = "float32"

    @classmethod
    def smoke(cls, **changes: Any) -> Config:
        """Seconds on a CPU, for tests."""
        small = {"data": "city?clips_per_class=6&n_folds=3&duration=2", "epochs": 1, "components": 8, "hidden_size": 8}
        return cls(**{**small, "attention_size": 4, "n_mels": 16, **changes})

    @classmethod
    def default(cls, **changes: Any) -> Config:
        """Settings of the book."""
        return cls(**changes)
