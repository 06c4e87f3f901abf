"""Training configuration of the chapter on scenes and instruments: fields, ranges and presets.

Book page: ``scenes_and_instruments``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from audioattn_lib.attention.patterns.names import parse_patterns
from audioattn_lib.core.errors import ConfigError
from audioattn_lib.models.layers.input_scaling import CENTRINGS
from audioattn_lib.models.layers.transformer import ARCHITECTURES, PRESETS
from audioattn_lib.training.averaging import AVERAGES

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

__all__ = ["CNN", "FRONT_ENDS", "NAMED", "SCHEDULES", "Config"]

CNN = "mid_level_split"
"""The convolutional baseline, as a size of the network."""
FRONT_ENDS = ("log_mel", "published")
SCHEDULES = ("cosine", "ramp", "published_ramp", "published_cosine")


_OF_ARCHITECTURES = {
    "passt": "published",
    "passt_s_20sec": "passt_s_f128_20sec_p16_s10_ap474",
    "passt_s_30sec": "passt_s_f128_30sec_p16_s10_ap473",
    "passt_s_ap476": "passt_s_swa_p16_128_ap476",
    "passt_s_ap4763": "passt_s_swa_p16_128_ap4763",
    "passt_s_ap472": "passt_s_p16_128_ap472",
    **{
        name: name
        for name in (
            "passt_s_p16_s16_128_ap468",
            "passt_s_swa_p16_s16_128_ap473",
            "passt_s_swa_p16_s14_128_ap471",
            "passt_s_p16_s14_128_ap469",
            "passt_s_swa_p16_s12_128_ap473",
            "passt_s_p16_s12_128_ap470",
        )
    },
}
_STRIDE_10 = ("passt_s_swa_p16_128_ap476", "passt_s_swa_p16_128_ap4761", "passt_s_p16_128_ap472")
_BEST_OF_STRIDES = (
    "passt_s_swa_p16_s12_128_ap473",
    "passt_s_swa_p16_s14_128_ap471",
    "passt_s_swa_p16_s16_128_ap473",
)
_OF_ENSEMBLES = {
    "ensemble_s10": _STRIDE_10,
    "ensemble_many": (
        *_STRIDE_10,
        *("passt_s_p16_s12_128_ap470", "passt_s_swa_p16_s12_128_ap473"),
        *("passt_s_p16_s14_128_ap469", "passt_s_swa_p16_s14_128_ap471"),
        *("passt_s_swa_p16_s16_128_ap473", "passt_s_p16_s16_128_ap468"),
    ),
    "ensemble_4": (_STRIDE_10[0], *_BEST_OF_STRIDES),
    "ensemble_5": (*_STRIDE_10[:2], *_BEST_OF_STRIDES),
    "ensemble_s16_14": _BEST_OF_STRIDES[1:],
}
NAMED: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "mixup": {"mixup": 0.3},
        "nomixup": {"mixup": 0.0},
        **{name: {"size": size} for name, size in _OF_ARCHITECTURES.items()},
        **{name: {"size": ",".join(sizes)} for name, sizes in _OF_ENSEMBLES.items()},
    }
)
"""The published named configurations, by their names: MixUp, architectures, ensembles of architectures."""


@dataclass(frozen=True)
class Config(WithPresets):
    """One network on all test sets of a corpus. Unknown or impossible values are errors that name the field."""

    PRESETS = ("smoke", "default", "paper", "nsynth", "nsynth_cnn")
    NAMED = NAMED

    data: str = field(default="orchestra", metadata={"help": "corpus: orchestra, or a folder with recordings"})
    pattern: str = field(default="dense", metadata={"help": "attention pattern, or one for each layer with commas"})
    centring: str = field(default="none", metadata={"help": "of the bands: none, corpus, clip or clip_scaled"})
    size: str = field(
        default="tiny",
        metadata={
            "help": "tiny, small, published, a published architecture, or mid_level_split (CNN); "
            "several with commas are an ensemble"
        },
    )
    held_out: str = field(default="", metadata={"help": "domain to test on, all others train; empty: the splits"})
    test_devel: bool = field(
        default=False,
        metadata={"help": "test the development clips too, as test_seen; a fifth of the training clips chooses"},
    )
    seed: int = field(default=0, metadata={"help": "seed of weights, batches and augmentation, from 0"})
    sample_rate: int = field(default=16000, metadata={"help": "hertz; sounds are resampled on loading"})
    n_mels: int = field(default=64, metadata={"help": "mel bands"})
    front_end: str = field(default="log_mel", metadata={"help": "log_mel, or published: Kaldi filters, fixed scaling"})
    hop: float = field(
        default=0.02,
        metadata={"help": "seconds from one frame to the next; log_mel windows are twice as long, published 25 ms"},
    )
    f_min_jitter: int = field(default=0, metadata={"help": "published front end: range of the lowest edge in hertz"})
    f_max_jitter: int = field(default=0, metadata={"help": "published front end: range of the highest edge in hertz"})
    attention_alpha: float = field(default=1.0, metadata={"help": "alpha of entmax in every layer, 1 is softmax"})
    n_global: int = field(default=2, metadata={"help": "global tokens, an even number"})
    patchout: int = field(default=0, metadata={"help": "patches left out in training"})
    patchout_time: int = field(default=0, metadata={"help": "columns of patches left out in training"})
    patchout_frequency: int = field(default=0, metadata={"help": "rows of patches left out in training"})
    dropout: float = field(default=0.0, metadata={"help": "of what each layer adds, in [0, 1)"})
    pretrained: str = initial_weights(" such as published weights; one for each network of an ensemble, with commas")
    pretrained_part: str = initial_part()
    pretrained_prefix: str = initial_prefix()
    mixup: float = field(default=0.0, metadata={"help": "alpha of MixUp, 0 for none"})
    mixstyle: float = field(default=0.0, metadata={"help": "share of batches with Freq-MixStyle, in [0, 1]"})
    impulse_share: float = field(default=0.0, metadata={"help": "share of clips heard through devices, in [0, 1]"})
    impulse_responses: str = field(
        default="drawn", metadata={"help": "what these devices do: drawn, or a folder with one sound a device"}
    )
    time_mask: int = field(default=0, metadata={"help": "longest time mask in frames, 0 for none"})
    frequency_mask: int = field(default=0, metadata={"help": "widest frequency mask in bands, 0 for none"})
    epochs: int = field(default=15, metadata={"help": "passes over the training clips; 0 only evaluates"})
    batch_size: int = field(default=32, metadata={"help": "clips a step"})
    lr: float = field(default=3e-3, metadata={"help": "highest learning rate"})
    schedule: str = field(
        default="cosine", metadata={"help": "cosine or ramp, fitted to the epochs; published_ramp or published_cosine"}
    )
    warm_up: int = field(default=5, metadata={"help": "published schedules: epochs of warm-up, or of a cycle"})
    ramp_down_start: int = field(default=50, metadata={"help": "published schedules: epochs before the end begins"})
    ramp_down_length: int = field(default=50, metadata={"help": "published_ramp: epochs of the way down"})
    weight_decay: float = field(default=1e-2, metadata={"help": "of AdamW"})
    gradient_clip: float = field(default=1.0, metadata={"help": "largest norm of the gradient"})
    average: str = field(default="none", metadata={"help": "of weights, used in evaluation: none, swa or ema"})
    monitor: str = field(default="loss", metadata={"help": "development score of the best epoch: error or loss"})
    device: str = field(default="auto", metadata={"help": "auto, cpu, cuda, or cuda:0 and so on"})
    precision: str = field(default="auto", metadata={"help": "auto (bfloat16 on CUDA), float32 or bfloat16"})
    skip_bad_clips: bool = field(default=False, metadata={"help": "leave out clips that fail the check, and say which"})

    def __post_init__(self) -> None:
        check_declared(self)
        for name, values in {
            "centring": CENTRINGS,
            "front_end": FRONT_ENDS,
            "schedule": SCHEDULES,
            "average": AVERAGES,
            "monitor": ("error", "loss"),
            "precision": ("auto", "float32", "bfloat16"),
        }.items():
            require_choice(self, name, values)
        require_device(self)
        object.__setattr__(self, "size", ",".join(part.strip() for part in self.size.split(",")))
        sizes = (*PRESETS, *ARCHITECTURES, CNN)
        require(self, "size", all(size in sizes for size in self.size.split(",")), f"one of {', '.join(sizes)}")
        for size in self.sizes:
            if size == CNN:
                require(self, "pattern", self.pattern == "dense", f"'dense' for {CNN}, which attends to nothing")
                require(self, "attention_alpha", self.attention_alpha == 1, f"1 for {CNN}, which attends to nothing")
            else:
                parse_patterns(self.pattern, PRESETS[size if size in PRESETS else "published"].depth)
        require_initial(self, alone=True)
        for name in ("n_mels", "batch_size", "ramp_down_length", "warm_up", "ramp_down_start"):
            require(self, name, getattr(self, name) >= 1, "at least 1")
        whole = ("seed", "epochs", "patchout", "patchout_time", "patchout_frequency", "time_mask", "frequency_mask")
        for name in (*whole, "f_min_jitter", "f_max_jitter"):
            require(self, name, getattr(self, name) >= 0, "at least 0")
        for name in ("hop", "lr", "gradient_clip"):
            require(self, name, getattr(self, name) > 0, "above 0")
        require(self, "n_global", self.n_global >= 2 and self.n_global % 2 == 0, "an even number, at least 2")
        require(self, "sample_rate", self.sample_rate >= 1000, "at least 1000 hertz")
        require(self, "attention_alpha", 1 <= self.attention_alpha < math.inf, "finite and at least 1")
        require(self, "dropout", 0 <= self.dropout < 1, "in [0, 1)")
        for name in ("mixstyle", "impulse_share"):
            require(self, name, 0 <= getattr(self, name) <= 1, "in [0, 1]")
        require(self, "impulse_responses", bool(self.impulse_responses), "drawn, or a folder")
        for name in ("f_min_jitter", "f_max_jitter"):
            moves = self.front_end == "published" or not getattr(self, name)
            require(self, name, moves, "0 but for the published front end")
        room = self.f_min_jitter + self.f_max_jitter < self.sample_rate / 2
        require(self, "f_max_jitter", room, f"less than {self.sample_rate / 2:g} hertz together with f_min_jitter")
        require(self, "test_devel", not (self.test_devel and self.held_out), "false where a domain is held out")
        for name in ("mixup", "weight_decay"):
            require(self, name, getattr(self, name) >= 0, "at least 0")

    @property
    def sizes(self) -> tuple[str, ...]:
        """Size of each network of the ensemble; one where there is none.

        Raises
        ------
        ConfigError
            When sizes and files of weights are several, and not equally many.
        """
        sizes, count = tuple(self.size.split(",")), len([part for part in self.pretrained.split(",") if part.strip()])
        if len(sizes) > 1 and count > 1 and len(sizes) != count:
            raise ConfigError(
                f"size names {len(sizes)} networks and pretrained {count} files; give a file for each network"
            )
        return sizes if len(sizes) > 1 else sizes * max(count, 1)

    @classmethod
    def smoke(cls, **changes: Any) -> Config:
        """Seconds on a CPU: a tiny synthetic orchestra, one epoch; for tests."""
        return cls(**{"data": "orchestra?clips_per_class=8", "epochs": 1, **changes})

    @classmethod
    def default(cls, **changes: Any) -> Config:
        """Seconds a network on two CPU cores: what the book shows when nothing else is there."""
        return cls(**changes)

    @classmethod
    def paper(cls, **changes: Any) -> Config:
        """The published settings for scenes, on TAU Urban Acoustic Scenes 2020 Mobile; give ``pretrained`` as well."""
        settings: dict[str, Any] = {
            "data": "tau_urban",
            "size": "published",
            "pattern": "row_overlap_8",
            "sample_rate": 32000,
            "n_mels": 128,
            "front_end": "published",
            "hop": 0.01,
            "f_min_jitter": 10,
            "f_max_jitter": 2000,
            "mixup": 0.3,
            "time_mask": 80,
            "frequency_mask": 48,
            "epochs": 10,
            "batch_size": 64,
            "lr": 1e-5,
            "schedule": "published_ramp",
            "weight_decay": 1e-4,
            "average": "swa",
        }
        return cls(**{**settings, **changes})

    @classmethod
    def nsynth(cls, **changes: Any) -> Config:
        """The published settings for notes, on NSynth; the published pattern is dense, give the one to try."""
        settings: dict[str, Any] = {
            "data": "nsynth",
            "size": "published",
            "sample_rate": 32000,
            "n_mels": 128,
            "front_end": "published",
            "hop": 0.01,
            "epochs": 20,
            "batch_size": 176,
            "lr": 1e-3,
            "schedule": "published_ramp",
            "warm_up": 100,
            "ramp_down_start": 250,
            "ramp_down_length": 400,
            "weight_decay": 0.0,
            "average": "swa",
        }
        return cls(**{**settings, **changes})

    @classmethod
    def nsynth_cnn(cls, **changes: Any) -> Config:
        """The published settings of the convolutional baseline for notes, on NSynth."""
        return cls.nsynth(**{"size": CNN, "epochs": 128, "batch_size": 8, **changes})
