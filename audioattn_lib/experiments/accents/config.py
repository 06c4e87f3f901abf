"""Training configuration of the chapter on accents: fields, ranges and presets.

Names and values of the published speaker system are the defaults; India, Safari
and Hernando, *Double multi-head attention for speaker verification*, ICASSP
2021, and the code released with it.

Book page: ``accents``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import torch

from audioattn_lib.attention.pooling.multi_head import INITIAL_QUERIES, SCALES
from audioattn_lib.attention.pooling.registry import VARIANTS
from audioattn_lib.audio.voice_augmentation import VoiceAugmentation
from audioattn_lib.models.embedding import BACKBONES
from audioattn_lib.models.layers.utterance_pooling import POOLINGS
from audioattn_lib.models.margin import LOSSES, build_classifier

from ..common.fields import (
    WithPresets,
    check_declared,
    initial_part,
    initial_prefix,
    initial_weights,
    require,
    require_choice,
    require_device,
    require_initial,
)

__all__ = ["OPTIMIZERS", "Config"]

OPTIMIZERS = {"adam": torch.optim.Adam, "sgd": torch.optim.SGD, "rmsprop": torch.optim.RMSprop}
"""Optimisers by name, as published."""


_ALIASES = {
    "optimizer": {name: name for name in OPTIMIZERS},
    "front_end": {name: name for name in BACKBONES},
    "pooling": {"doublemha": "double_multi_head", "mha": "multi_head", "attention": "self_attention"},
}
"""Names as the published command line writes them, in any case."""


@dataclass(frozen=True)
class Config(WithPresets):
    """One network on one test fold. Unknown or impossible values are errors that name the field."""

    COMPARED = MappingProxyType({"pooling": tuple(POOLINGS)})
    PRESETS = ("smoke", "default", "paper", "accent")

    data: str = field(default="accents", metadata={"help": "corpus: accents, or a folder with recordings"})
    target: str = field(default="label", metadata={"help": "column to predict: label, accent, speaker, ..."})
    closed_set: bool = field(
        default=False, metadata={"help": "allow the same speakers in training and test, and say so in the results"}
    )
    unknown: str = field(default="", metadata={"help": "a class that training never hears and that must be rejected"})
    trials: str = field(
        default="", metadata={"help": "list of VoxCeleb trials, or clients,impostors; empty: all pairs of test clips"}
    )
    pooling: str = field(default="double_multi_head", metadata={"help": "pooling of the frames of an utterance"})
    attention: str = field(default="softmax", metadata={"help": "map or density of poolings that attend"})
    heads: int = field(default=32, metadata={"help": "heads of the poolings that have them"})
    head_scale: str = field(
        default="heads", metadata={"help": "scores are divided by the root of: heads (published code), or dim"}
    )
    initial_queries: str = field(
        default="xavier",
        metadata={"help": "queries of heads at the start: xavier (published), or zero, which is the mean"},
    )
    head_dropout: float = field(default=0.3, metadata={"help": "probability that a head is left out in training"})
    n_queries: int = field(default=2, metadata={"help": "queries of each head of multi_query"})
    front_end: str = field(default="vgg4l", metadata={"help": "vgg3l, vgg4l (published) or resnet34"})
    channels: int = field(default=1024, metadata={"help": "of the last VGG block, or of the first of ResNet34"})
    embedding_size: int = field(default=400, metadata={"help": "width of the embedding"})
    normalise_context: bool = field(
        default=False,
        metadata={"help": "normalise what the pooling gives over the batch; not so in the published code"},
    )
    loss: str = field(default="am_softmax", metadata={"help": "am_softmax (published), aam_softmax, softmax or focal"})
    margin: float = field(default=0.4, metadata={"help": "of the right class, in cosine (am) or radians (aam)"})
    scale: float = field(default=30.0, metadata={"help": "largest logit of the margin losses"})
    annealing: bool = field(default=False, metadata={"help": "let the margin of am_softmax grow, as published"})
    focus: float = field(default=2.0, metadata={"help": "of the focal loss, at least 0"})
    published_focus: bool = field(
        default=False, metadata={"help": "focus on the mean of the batch, as published, not on each clip"}
    )
    window: float = field(default=3.5, metadata={"help": "seconds cut out of an utterance to train on; 0 is all of it"})
    normalisation: str = field(default="cmn", metadata={"help": "of each band of an utterance: cmn, cmvn or none"})
    features: str = field(default="decibels", metadata={"help": "log-mel in decibels, or published magnitudes"})
    sample_rate: int = field(default=16000, metadata={"help": "hertz; sounds are resampled on loading"})
    n_mels: int = field(default=80, metadata={"help": "mel bands"})
    mask: bool = field(default=False, metadata={"help": "hide stretches of time and bands in training (SpecAugment)"})
    augmentation: str = field(
        default="", metadata={"help": "change the sound in training: some of pitch, tempo, noise; empty leaves it"}
    )
    clips_per_speaker: int = field(default=0, metadata={"help": "most clips of a speaker in a class and epoch; 0: all"})
    balanced: bool = field(default=False, metadata={"help": "hear every class as often as any other"})
    fold: str = field(default="first", metadata={"help": "test fold or test split; first is the first there is"})
    protocol: str = field(
        default="nested", metadata={"help": "nested, or published: the best epoch is chosen on the test fold"}
    )
    seed: int = field(default=0, metadata={"help": "seed of weights, batches, windows and dropout, from 0"})
    pretrained: str = initial_weights()
    pretrained_part: str = initial_part()
    pretrained_prefix: str = initial_prefix()
    epochs: int = field(
        default=100, metadata={"help": "most passes over the training clips; 0 only evaluates pretrained"}
    )
    patience: int = field(default=25, metadata={"help": "validations without a better score until training stops"})
    validate_every: int = field(default=1, metadata={"help": "epochs from one validation to the next"})
    plateau: int = field(default=15, metadata={"help": "validations without a better score until the rate is halved"})
    batch_size: int = field(default=64, metadata={"help": "clips in a batch"})
    accumulation: int = field(default=2, metadata={"help": "batches in a step of the optimiser"})
    optimizer: str = field(default="adam", metadata={"help": "adam, sgd or rmsprop, in any case"})
    learning_rate: float = field(default=1e-4, metadata={"help": "at the start, above 0"})
    schedule: str = field(
        default="plateau", metadata={"help": "learning rate: plateau (published, halved there), or cosine to 0 besides"}
    )
    weight_decay: float = field(default=1e-3, metadata={"help": "of the optimiser, at least 0"})
    gradient_clip: float = field(default=5.0, metadata={"help": "largest norm of the gradient"})
    monitor: str = field(
        default="macro_f1", metadata={"help": "validation score of the best epoch: macro_f1 (published), error or loss"}
    )
    device: str = field(default="auto", metadata={"help": "auto, cpu, cuda, or cuda:0 and so on"})
    precision: str = field(default="auto", metadata={"help": "auto (bfloat16 on CUDA), float32 or bfloat16"})
    skip_bad_clips: bool = field(default=False, metadata={"help": "leave out clips that fail the check, and say which"})

    def __post_init__(self) -> None:
        check_declared(self, as_text=("fold",))
        allowed = {
            "pooling": tuple(POOLINGS),
            "attention": tuple(VARIANTS),
            "head_scale": SCALES,
            "initial_queries": INITIAL_QUERIES,
            "front_end": BACKBONES,
            "loss": LOSSES,
            "normalisation": ("cmn", "cmvn", "none"),
            "features": ("decibels", "published"),
            "protocol": ("nested", "published"),
            "optimizer": tuple(OPTIMIZERS),
            "schedule": ("plateau", "cosine"),
            "monitor": ("macro_f1", "error", "loss"),
            "precision": ("auto", "float32", "bfloat16"),
        }
        for name, aliases in _ALIASES.items():
            given = str(getattr(self, name))
            object.__setattr__(self, name, aliases.get(given.lower(), given))
        for name, values in allowed.items():
            require_choice(self, name, values)
        require_device(self)
        require_initial(self)
        whole = ("heads", "n_queries", "channels", "embedding_size", "n_mels", "plateau", "batch_size")
        for name in (*whole, "accumulation", "validate_every"):
            require(self, name, getattr(self, name) >= 1, "at least 1")
        for name in ("window", "patience", "clips_per_speaker", "weight_decay", "seed", "focus"):
            require(self, name, getattr(self, name) >= 0, "at least 0")
        for name in ("scale", "learning_rate", "gradient_clip"):
            require(self, name, getattr(self, name) > 0, "above 0")
        require(self, "sample_rate", self.sample_rate >= 1000, "at least 1000 hertz")
        require(self, "head_dropout", 0 <= self.head_dropout < 1, "in [0, 1)")
        require(self, "annealing", not self.annealing or self.loss == "am_softmax", "false but for am_softmax")
        require(self, "published_focus", not self.published_focus or self.loss == "focal", "false but for focal")
        if self.augmentation:
            VoiceAugmentation(self.changes)
        build_classifier(self.loss, 1, 2, margin=self.margin, scale=self.scale, gamma=self.focus)

    @property
    def changes(self) -> tuple[str, ...]:
        """Names of the changes of the sound in training."""
        return tuple(name.strip() for name in self.augmentation.split(",") if name.strip())

    @classmethod
    def smoke(cls, **changes: Any) -> Config:
        """Seconds on a CPU: a few synthetic speakers, one epoch; for tests."""
        tiny = {"channels": 8, "n_mels": 16, "embedding_size": 8, "heads": 2, "epochs": 1, "window": 0.5}
        data = "accents?speakers_per_accent=3&clips_per_speaker=2&n_folds=3&duration=(1.0,1.2)"
        return cls(**{"data": data, **tiny, "batch_size": 16, "accumulation": 1, "learning_rate": 1e-3, **changes})

    @classmethod
    def default(cls, **changes: Any) -> Config:
        """Some seconds a network on a CPU core: what the book shows when nothing else is there."""
        small = {"front_end": "vgg3l", "channels": 32, "n_mels": 40, "embedding_size": 64, "heads": 8, "window": 1.0}
        steps = {"epochs": 14, "batch_size": 16, "accumulation": 1, "learning_rate": 2e-3, "weight_decay": 1e-4}
        easier = {"margin": 0.2, "scale": 15.0, "head_dropout": 0.1, "normalise_context": True}
        gentle = {"initial_queries": "zero", "head_scale": "dim"}
        judged = {"schedule": "cosine", "monitor": "loss", "validate_every": 2}
        return cls(**{**small, **steps, **easier, **gentle, **judged, **changes})

    @classmethod
    def paper(cls, **changes: Any) -> Config:
        """The published speaker system: VGG4L-1024 and 32 heads of double attention, on VoxCeleb."""
        return cls(**{"data": "voxceleb", "features": "published", **changes})

    @classmethod
    def accent(cls, **changes: Any) -> Config:
        """The published accent system: windows of 0.2 s of changed sound and a patience of 50, on Common Voice."""
        published = {"data": "ca", "features": "published", "window": 0.2, "patience": 50}
        return cls(**{**published, "augmentation": "pitch, tempo, noise", **changes})
