"""Training configuration of the chapter on accents: fields, ranges and presets.

Names and values of the published speaker system are the defaults; India, Safari
and Hernando, *Double multi-head attention for speaker verification*, ICASSP
2021, and the code released with it.

Book page: ``accents``.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, Any, Literal

import torch

from audioattn_lib.attention.pooling.multi_head import INITIAL_QUERIES, SCALES
from audioattn_lib.attention.pooling.registry import MECHANISMS
from audioattn_lib.audio.augmentation.voices import VoiceAugmentation
from audioattn_lib.core.declarations import Convert, OneOf, Range
from audioattn_lib.models.embedding import BACKBONES
from audioattn_lib.models.layers.utterance_pooling import POOLINGS
from audioattn_lib.models.margin import LOSSES, build_classifier

from ..common.config import (
    Count,
    DropRate,
    ExperimentConfig,
    Fold,
    NonNegative,
    Positive,
    Protocol,
    Whole,
    require,
)

__all__ = ["OPTIMIZERS", "Config"]

OPTIMIZERS = {"adam": torch.optim.Adam, "sgd": torch.optim.SGD, "rmsprop": torch.optim.RMSprop}
"""Optimisers by name, as published."""


_PUBLISHED_POOLINGS = {"doublemha": "double_multi_head", "mha": "multi_head", "attention": "self_attention"}


def _lower(value: Any) -> Any:
    """Names as the published command line writes them, in any case."""
    return value.lower() if isinstance(value, str) else value


def _pooling(value: Any) -> Any:
    return _PUBLISHED_POOLINGS.get(_lower(value), value) if isinstance(value, str) else value


@dataclass(frozen=True)
class Config(ExperimentConfig):
    """One network on one test fold. Unknown or impossible values are errors that name the field."""

    COMPARED = MappingProxyType({"pooling": tuple(POOLINGS)})
    PRESETS = ("smoke", "default", "recordings", "paper", "accent")

    data: Annotated[str, "corpus: accents, or a folder with recordings"] = "accents"
    target: Annotated[str, "column to predict: label, accent, speaker, ..."] = "label"
    closed_set: Annotated[bool, "allow the same speakers in training and test, and say so in the results"] = False
    unknown: Annotated[str, "a class that training never hears and that must be rejected"] = ""
    trials: Annotated[str, "list of VoxCeleb trials, or clients,impostors; empty: all pairs of test clips"] = ""
    pooling: Annotated[str, OneOf(POOLINGS), Convert(_pooling), "pooling of the frames of an utterance"] = (
        "double_multi_head"
    )
    attention: Annotated[str, OneOf(MECHANISMS), "map or density of poolings that attend"] = "softmax"
    heads: Annotated[Count, "heads of the poolings that have them"] = 32
    head_scale: Annotated[
        str,
        OneOf(SCALES),
        "scores are divided by the root of the number of heads, as in the published code, or of the width of one",
    ] = "heads"
    initial_queries: Annotated[
        str, OneOf(INITIAL_QUERIES), "queries of heads at the start: as published xavier, or zero, which is the mean"
    ] = "xavier"
    head_dropout: Annotated[DropRate, "probability that a head is left out in training"] = 0.3
    n_queries: Annotated[Count, "queries of each head of multi_query"] = 2
    backbone: Annotated[
        str, OneOf(BACKBONES), Convert(_lower), "network behind the log-mel features, vgg4l as published"
    ] = "vgg4l"
    channels: Annotated[Count, "channels of the last VGG block, or of the first of ResNet34"] = 1024
    embedding_size: Annotated[Count, "width of the embedding"] = 400
    normalise_context: Annotated[
        bool, "normalise what the pooling gives over the batch; not so in the published code"
    ] = False
    loss: Annotated[str, OneOf(LOSSES), "loss in training, am_softmax as published"] = "am_softmax"
    margin: Annotated[float, "margin of the right class, in cosine (am) or radians (aam)"] = 0.4
    scale: Annotated[Positive, "largest logit of the margin losses"] = 30.0
    annealing: Annotated[bool, "let the margin of am_softmax grow, as published"] = False
    gamma: Annotated[NonNegative, "exponent of the focal loss"] = 2.0
    published_gamma: Annotated[bool, "focus on the mean of the batch, as published, not on each clip"] = False
    clip_seconds: Annotated[
        float, Range("[0, inf)", "seconds"), "length of what is cut out of an utterance to train on; 0 is all of it"
    ] = 3.5
    band_normalization: Annotated[Literal["cmn", "cmvn", "none"], "normalisation of each band of an utterance"] = "cmn"
    features: Annotated[Literal["decibels", "published"], "log-mel in decibels, or the published magnitudes"] = (
        "decibels"
    )
    mask: Annotated[bool, "hide stretches of time and bands in training (SpecAugment)"] = False
    augmentation: Annotated[str, "change the sound in training: some of pitch, tempo, noise; empty leaves it"] = ""
    clips_per_speaker: Annotated[Whole, "most clips of a speaker in a class and epoch; 0: all"] = 0
    balanced: Annotated[bool, "hear every class as often as any other"] = False
    fold: Fold = "first"
    protocol: Protocol = "nested"
    epochs: Annotated[int, "most passes over the training clips, 0 to evaluate pretrained"] = 100
    patience: Annotated[Whole, "validations without a better score until training stops"] = 25
    validate_every: Annotated[Count, "epochs from one validation to the next"] = 1
    lr_patience: Annotated[Count, "validations without a better score until the rate is halved"] = 15
    batch_size: int = 64
    grad_accum_steps: Annotated[Count, "batches in a step of the optimiser"] = 2
    optimizer: Annotated[str, OneOf(OPTIMIZERS), Convert(_lower), "optimiser, in upper or lower case"] = "adam"
    learning_rate: Annotated[Positive, "learning rate at the start"] = 0.0001
    schedule: Annotated[
        Literal["plateau", "cosine"],
        "schedule of the learning rate: plateau halves it on plateaus, as published; cosine lets it fall to 0",
    ] = "plateau"
    weight_decay: Annotated[NonNegative, "weight decay of the optimiser"] = 0.001
    monitor: Annotated[
        Literal["macro_f1", "error", "loss"], "validation score of the best epoch, as published macro_f1"
    ] = "macro_f1"

    def check(self) -> None:
        """Check what belongs to one loss alone, and the changes of the sound."""
        require(self, "annealing", not self.annealing or self.loss == "am_softmax", "false but for am_softmax")
        require(self, "published_gamma", not self.published_gamma or self.loss == "focal", "false but for focal")
        if self.augmentation:
            VoiceAugmentation(self.changes)
        build_classifier(self.loss, 1, 2, margin=self.margin, scale=self.scale, gamma=self.gamma)

    @property
    def changes(self) -> tuple[str, ...]:
        """Names of the changes of the sound in training."""
        return tuple(name.strip() for name in self.augmentation.split(",") if name.strip())

    @classmethod
    def smoke(cls, **changes: Any) -> Config:
        """Seconds on a CPU: a few synthetic speakers, one epoch; for tests."""
        tiny = {"channels": 8, "n_mels": 16, "embedding_size": 8, "heads": 2, "epochs": 1, "clip_seconds": 0.5}
        data = "accents?speakers_per_accent=3&clips_per_speaker=2&n_folds=3&duration=(1.0,1.2)"
        return cls(**{"data": data, **tiny, "batch_size": 16, "grad_accum_steps": 1, "learning_rate": 1e-3, **changes})

    @classmethod
    def default(cls, **changes: Any) -> Config:
        """Some seconds a network on a CPU core: what the book shows when nothing else is there."""
        small = {"backbone": "vgg3l", "channels": 32, "n_mels": 40, "embedding_size": 64, "heads": 8}
        steps = {"epochs": 14, "batch_size": 16, "grad_accum_steps": 1, "learning_rate": 2e-3, "weight_decay": 1e-4}
        easier = {"clip_seconds": 1.0, "margin": 0.2, "scale": 15.0, "head_dropout": 0.1, "normalise_context": True}
        gentle = {"initial_queries": "zero", "head_scale": "dim"}
        judged = {"schedule": "cosine", "monitor": "loss", "validate_every": 2}
        return cls(**{**small, **steps, **easier, **gentle, **judged, **changes})

    @classmethod
    def recordings(cls, **changes: Any) -> Config:
        """The default on recordings: twice as many epochs.

        Chosen on validation clips of recorded digits and sentences, see the page on own sounds.
        """
        return cls.default(**{"epochs": 28, **changes})

    @classmethod
    def paper(cls, **changes: Any) -> Config:
        """The published speaker system: VGG4L-1024 and 32 heads of double attention, on VoxCeleb."""
        return cls(**{"data": "voxceleb", "features": "published", **changes})

    @classmethod
    def accent(cls, **changes: Any) -> Config:
        """The published accent system: windows of 0.2 s of changed sound and a patience of 50, on Common Voice."""
        published = {"data": "ca", "features": "published", "clip_seconds": 0.2, "patience": 50}
        return cls(**{**published, "augmentation": "pitch, tempo, noise", **changes})
