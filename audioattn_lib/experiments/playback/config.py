"""Configuration of the chapter on playback: fields of model and training, ranges and presets.

Book page: ``playback``.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, Any

from audioattn_lib.core.declarations import OneOf, Range
from audioattn_lib.models.playback.layers import FUSION_LEVELS, FUSIONS

from ..common.config import (
    Count,
    DropRate,
    ExperimentConfig,
    Fold,
    Fraction,
    LossMonitor,
    NonNegative,
    Positive,
    Whole,
    require,
)

__all__ = ["FORMS", "SELECTIONS", "SIZES", "TRAININGS", "Config"]

SELECTIONS = ("none", "random", "energy", "slots", "published", "oracle")
"""Choice of the parts that are played back: none, or one of these rules; ``oracle`` knows the events."""
TRAININGS = ("two_step", "joint")
"""Encoder alone and then what listens again; or everything at once."""
SIZES = ("tiny", "small", "mvit_t", "mvit_s", "mvit_b")
"""Sizes of encoder and decoder: two for a processor, and the published ones with MViTv2."""
FORMS = ("ours", "published")
"""Of decoder and slots: ours, or those of the released code, for ablation and for its weights."""


@dataclass(frozen=True)
class Config(ExperimentConfig):
    """One network on one test fold. Unknown or impossible values are errors that name the field."""

    PRESETS = ("smoke", "default", "recordings", "paper", "vggsound", "epic")
    COMPARED = MappingProxyType({"selection": SELECTIONS})

    data: Annotated[str, "corpus: needles, or a folder with recordings"] = "needles"
    tasks: Annotated[str, "columns to predict at once, such as verb,noun for EPIC-KITCHENS; empty: label"] = ""
    selection: Annotated[str, OneOf(SELECTIONS), "parts that are played back"] = "slots"
    playbacks: Annotated[Whole, "times to listen again; without effect where selection is none"] = 2
    n_segments: Annotated[Count, "parts of the clip in each playback"] = 2
    segment_seconds: Annotated[float, Range("(0, inf)", "seconds"), "length of each part"] = 0.8
    fold: Fold = "first"
    hop_seconds: Annotated[
        float, Range("(0, inf)", "seconds"), "hop between frames at first, and 1 / (i + 1) of it in playback i"
    ] = 0.04
    window_seconds: Annotated[float, Range("(0, inf)", "seconds"), "window of the transform at every hop"] = 0.01
    n_mels: Annotated[int, Range("[8, inf)"), "mel bands"] = 8
    clip_seconds: Annotated[
        float, Range("[0, inf)", "seconds"), "length of the crops to train on, 0 for whole clips"
    ] = 0.0
    views: Annotated[Count, "crops of a test clip whose probabilities are averaged"] = 1
    size: Annotated[str, OneOf(SIZES), "size of encoder and decoder; mvit_t to mvit_b are the published MViTv2"] = (
        "tiny"
    )
    fusion: Annotated[str, OneOf(FUSIONS), "fusion of the stages, adaptive as published"] = "adaptive"
    fusion_level: Annotated[str, OneOf(FUSION_LEVELS), "inputs of the fusion, features as published"] = "features"
    decoder: Annotated[str, OneOf(FORMS), "form of the decoder"] = "ours"
    slots: Annotated[str, OneOf(FORMS), "form of the slots; published for the selection published"] = "ours"
    temperature: Annotated[NonNegative, "temperature of the probabilities by which slots choose in training"] = 0.5
    stage_weight: Annotated[NonNegative, "weight of the loss after each stage"] = 0.3
    salient_weight: Annotated[NonNegative, "weight of the loss of what is salient alone"] = 0.3
    rank_weight: Annotated[NonNegative, "weight of the loss of stages that are worse than earlier ones"] = 0.1
    training: Annotated[str, OneOf(TRAININGS), "order of training, two_step as published"] = "two_step"
    freeze_encoder: Annotated[bool, "leave the encoder as the first step of two_step made it"] = True
    encoder_epochs: Annotated[Whole, "passes of the first step of two_step; 0 takes the encoder of pretrained"] = 60
    encoder_learning_rate: Annotated[Positive, "highest learning rate of the first step of two_step"] = 0.003
    epochs: int = 12
    batch_size: int = 16
    learning_rate: Annotated[Positive, "highest learning rate"] = 0.003
    warmup_fraction: Annotated[DropRate, "share of the steps in which the rate rises"] = 0.1
    weight_decay: Annotated[NonNegative, "weight decay of AdamW"] = 0.01
    max_grad_norm: float = 1.0
    mixup: Annotated[NonNegative, "alpha of MixUp, 0 for none; published 0.3"] = 0.0
    cutmix: Annotated[NonNegative, "alpha of CutMix, 0 for none; published 1"] = 0.0
    mix_prob: Annotated[Fraction, "share of the batches that are mixed"] = 0.3
    monitor: LossMonitor = "loss"

    def check(self) -> None:
        """Check what belongs to one form, one selection or one way of training alone."""
        fits = self.slots == "ours" or self.selection == "published"
        require(self, "slots", fits, "ours unless selection is published")
        fits = self.decoder == "ours" or (self.fusion, self.fusion_level) != ("adaptive_concat", "predictions")
        require(self, "decoder", fits, "ours for fusion adaptive_concat of predictions, which the published has not")
        taught = self.encoder_epochs >= 1 or bool(self.pretrained)
        require(self, "encoder_epochs", taught, "at least 1, or 0 with pretrained, whose encoder is taken")
        require(self, "views", self.views == 1 or self.clip_seconds > 0, "1 while clip_seconds is 0: a view is a crop")
        if self.selection == "oracle":
            require(self, "clip_seconds", self.clip_seconds == 0, "0 for the oracle, who knows places in whole clips")
            require(self, "mix_prob", not (self.mixup or self.cutmix), "unused by the oracle: mixup and cutmix at 0")

    @property
    def window_samples(self) -> int:
        """Samples of the crops to train on, 0 for whole clips."""
        return round(self.clip_seconds * self.sample_rate)

    @property
    def stages(self) -> int:
        """Largest number of stages: one for the whole clip, and one per playback."""
        return 1 if self.selection == "none" else self.playbacks + 1

    @classmethod
    def smoke(cls, **changes: Any) -> Config:
        """Seconds on a CPU: a few short needles, one epoch; for tests."""
        settings: dict[str, Any] = {
            "data": "needles?clips_per_class=6&duration=4",
            "encoder_epochs": 1,
            "epochs": 1,
            "playbacks": 1,
        }
        return cls(**{**settings, **changes})

    @classmethod
    def default(cls, **changes: Any) -> Config:
        """About a quarter of a minute a network on one CPU core: what the book shows when nothing else is there."""
        return cls(**changes)

    @classmethod
    def recordings(cls, **changes: Any) -> Config:
        """The default on recordings: four times as many mel bands, and an encoder that is trained twice as long.

        Chosen on validation clips of mixtures of field recordings, see the page on own sounds.
        """
        return cls.default(**{"n_mels": 32, "encoder_epochs": 120, **changes})

    @classmethod
    def paper(cls, **changes: Any) -> Config:
        """The published settings on AudioSet; for CUDA."""
        settings: dict[str, Any] = {
            "data": "audioset",
            "playbacks": 3,
            "hop_seconds": 0.025,
            "window_seconds": 0.02,
            "n_mels": 128,
            "clip_seconds": 10.0,
            "views": 2,
            "size": "mvit_b",
            "stage_weight": 0.1,
            "salient_weight": 0.1,
            "encoder_epochs": 50,
            "epochs": 50,
            "batch_size": 64,
            "learning_rate": 5e-3,
            "encoder_learning_rate": 5e-3,
            "warmup_fraction": 0.05,
            "weight_decay": 1e-4,
        }
        return cls(**{**settings, **changes})

    @classmethod
    def vggsound(cls, **changes: Any) -> Config:
        """The published settings on VGG-Sound; for CUDA."""
        settings: dict[str, Any] = {
            "data": "vggsound",
            "hop_seconds": 0.0125,
            "clip_seconds": 5.0,
            "learning_rate": 5e-4,
            "encoder_learning_rate": 5e-4,
            "mixup": 0.3,
            "cutmix": 1.0,
        }
        return cls.paper(**{**settings, **changes})

    @classmethod
    def epic(cls, **changes: Any) -> Config:
        """The published settings on EPIC-KITCHENS-100, verb and noun at once; for CUDA."""
        settings: dict[str, Any] = {
            "data": "epic_kitchens",
            "tasks": "verb,noun",
            "hop_seconds": 0.005,
            "clip_seconds": 1.999,
            "segment_seconds": 0.4,
        }
        return cls.paper(**{**settings, **changes})
