"""Configuration of the chapter on playback: fields of model and training, ranges and presets.

Book page: ``playback``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from audioattn_lib.models.playback.layers import FUSION_LEVELS, FUSIONS

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

__all__ = ["FORMS", "SELECTIONS", "SIZES", "TRAININGS", "Config"]

SELECTIONS = ("none", "random", "energy", "slots", "published", "oracle")
"""What is played back: nothing, or parts chosen in one of these ways; ``oracle`` is told where the events are."""
TRAININGS = ("two_step", "joint")
"""Encoder alone and then what listens again; or everything at once."""
SIZES = ("tiny", "small", "mvit_t", "mvit_s", "mvit_b")
"""Sizes of encoder and decoder: two for a processor, and the published ones with MViTv2."""
FORMS = ("ours", "published")
"""Of decoder and slots: ours, or those of the released code, for ablation and for its weights."""


@dataclass(frozen=True)
class Config(WithPresets):
    """One network on one test fold. Unknown or impossible values are errors that name the field."""

    PRESETS = ("smoke", "default", "paper", "vggsound", "epic")
    COMPARED = MappingProxyType({"selection": SELECTIONS})

    data: str = field(default="needles", metadata={"help": "corpus: needles, or a folder with recordings"})
    tasks: str = field(
        default="",
        metadata={"help": "columns to predict at once, such as verb,noun for EPIC-KITCHENS; empty: label"},
    )
    selection: str = field(
        default="slots", metadata={"help": "what to play back: none, random, energy, slots, published or oracle"}
    )
    playbacks: int = field(default=2, metadata={"help": "how often to listen again; none listens once whatever it is"})
    n_segments: int = field(default=2, metadata={"help": "parts of the clip in each playback"})
    segment_seconds: float = field(default=0.8, metadata={"help": "length of each part"})
    fold: str = field(default="first", metadata={"help": "test fold or test split; first is the first there is"})
    seed: int = field(default=0, metadata={"help": "seed of weights, batches and augmentation, from 0"})
    sample_rate: int = field(default=16000, metadata={"help": "hertz; sounds are resampled on loading"})
    hop: float = field(default=0.04, metadata={"help": "seconds between frames at first; playback i has hop / (i + 1)"})
    window: float = field(default=0.01, metadata={"help": "seconds of the window, the same at every hop"})
    n_mels: int = field(default=8, metadata={"help": "mel bands"})
    clip_seconds: float = field(default=0.0, metadata={"help": "length of the crops to train on, 0 for whole clips"})
    views: int = field(default=1, metadata={"help": "crops of a test clip whose probabilities are averaged"})
    size: str = field(
        default="tiny", metadata={"help": "of encoder and decoder: tiny, small, or mvit_t, mvit_s, mvit_b"}
    )
    pretrained: str = initial_weights(" of an encoder or a whole network")
    pretrained_part: str = initial_part()
    pretrained_prefix: str = initial_prefix()
    fusion: str = field(default="adaptive", metadata={"help": "of the stages: adaptive (published), mean, ..."})
    location: str = field(default="features", metadata={"help": "what is fused: features (published) or predictions"})
    decoder: str = field(default="ours", metadata={"help": "form of the decoder: ours or published"})
    slots: str = field(
        default="ours", metadata={"help": "form of the slots: ours, or published for the selection published"}
    )
    temperature: float = field(default=0.5, metadata={"help": "of the chance with which slots choose in training"})
    stage_weight: float = field(default=0.3, metadata={"help": "of the loss after each stage"})
    salient_weight: float = field(default=0.3, metadata={"help": "of the loss of what is salient alone"})
    rank_weight: float = field(default=0.1, metadata={"help": "of the loss of stages worse than earlier ones"})
    training: str = field(default="two_step", metadata={"help": "two_step (published) or joint"})
    freeze_encoder: bool = field(
        default=True, metadata={"help": "two_step: leave the encoder as the first step made it"}
    )
    encoder_epochs: int = field(
        default=60, metadata={"help": "two_step: passes of the first step; 0 takes the encoder of pretrained"}
    )
    encoder_lr: float = field(default=3e-3, metadata={"help": "two_step: highest learning rate of the first step"})
    epochs: int = field(default=12, metadata={"help": "passes over the training clips; 0 only evaluates pretrained"})
    batch_size: int = field(default=16, metadata={"help": "clips a step"})
    lr: float = field(default=3e-3, metadata={"help": "highest learning rate"})
    warm_up: float = field(default=0.1, metadata={"help": "share of the steps in which the rate rises, in [0, 1)"})
    weight_decay: float = field(default=1e-2, metadata={"help": "of AdamW"})
    gradient_clip: float = field(default=1.0, metadata={"help": "largest norm of the gradient"})
    mixup: float = field(default=0.0, metadata={"help": "alpha of MixUp, 0 for none; published 0.3"})
    cutmix: float = field(default=0.0, metadata={"help": "alpha of CutMix, 0 for none; published 1"})
    mix_share: float = field(default=0.3, metadata={"help": "share of the batches that are mixed, in [0, 1]"})
    monitor: str = field(default="loss", metadata={"help": "development score of the best epoch: error or loss"})
    device: str = field(default="auto", metadata={"help": "auto, cpu, cuda, or cuda:0 and so on"})
    precision: str = field(default="auto", metadata={"help": "auto (bfloat16 on CUDA), float32 or bfloat16"})
    skip_bad_clips: bool = field(default=False, metadata={"help": "leave out clips that fail the check, and say which"})

    def __post_init__(self) -> None:
        check_declared(self, as_text=("fold",))
        for name, values in {
            "selection": SELECTIONS,
            "size": SIZES,
            "fusion": FUSIONS,
            "location": FUSION_LEVELS,
            "decoder": FORMS,
            "slots": FORMS,
            "training": TRAININGS,
            "monitor": ("error", "loss"),
            "precision": ("auto", "float32", "bfloat16"),
        }.items():
            require_choice(self, name, values)
        fits = self.slots == "ours" or self.selection == "published"
        require(self, "slots", fits, "ours unless selection is published")
        fits = self.decoder == "ours" or (self.fusion, self.location) != ("adaptive_concat", "predictions")
        require(self, "decoder", fits, "ours for fusion adaptive_concat of predictions, which the published has not")
        require_device(self)
        require_initial(self)
        taught = self.encoder_epochs >= 1 or (self.encoder_epochs == 0 and bool(self.pretrained))
        require(self, "encoder_epochs", taught, "at least 1, or 0 with pretrained, whose encoder is taken")
        for name in ("n_segments", "views", "batch_size"):
            require(self, name, getattr(self, name) >= 1, "at least 1")
        for name in ("seed", "playbacks", "clip_seconds", "temperature", "weight_decay", "mixup", "cutmix"):
            require(self, name, getattr(self, name) >= 0, "at least 0")
        for name in ("stage_weight", "salient_weight", "rank_weight"):
            require(self, name, getattr(self, name) >= 0, "at least 0")
        for name in ("segment_seconds", "hop", "window", "lr", "encoder_lr", "gradient_clip"):
            require(self, name, getattr(self, name) > 0, "above 0")
        require(self, "n_mels", self.n_mels >= 8, "at least 8")
        require(self, "sample_rate", self.sample_rate >= 1000, "at least 1000 hertz")
        require(self, "warm_up", 0 <= self.warm_up < 1, "in [0, 1)")
        require(self, "mix_share", 0 <= self.mix_share <= 1, "in [0, 1]")
        require(self, "views", self.views == 1 or self.clip_seconds > 0, "1 while clip_seconds is 0: a view is a crop")
        if self.selection == "oracle":
            require(self, "clip_seconds", self.clip_seconds == 0, "0 for the oracle, who knows places in whole clips")
            require(self, "mix_share", not (self.mixup or self.cutmix), "unused by the oracle: mixup and cutmix at 0")

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
    def paper(cls, **changes: Any) -> Config:
        """The published settings on AudioSet; for CUDA."""
        settings: dict[str, Any] = {
            "data": "audioset",
            "playbacks": 3,
            "hop": 0.025,
            "window": 0.02,
            "n_mels": 128,
            "clip_seconds": 10.0,
            "views": 2,
            "size": "mvit_b",
            "stage_weight": 0.1,
            "salient_weight": 0.1,
            "encoder_epochs": 50,
            "epochs": 50,
            "batch_size": 64,
            "lr": 5e-3,
            "encoder_lr": 5e-3,
            "warm_up": 0.05,
            "weight_decay": 1e-4,
        }
        return cls(**{**settings, **changes})

    @classmethod
    def vggsound(cls, **changes: Any) -> Config:
        """The published settings on VGG-Sound; for CUDA."""
        settings: dict[str, Any] = {
            "data": "vggsound",
            "hop": 0.0125,
            "clip_seconds": 5.0,
            "lr": 5e-4,
            "encoder_lr": 5e-4,
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
            "hop": 0.005,
            "clip_seconds": 1.999,
            "segment_seconds": 0.4,
        }
        return cls.paper(**{**settings, **changes})
