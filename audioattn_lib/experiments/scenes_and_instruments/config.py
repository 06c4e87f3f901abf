"""Training configuration of the chapter on scenes and instruments: fields, ranges and presets.

Book page: ``scenes_and_instruments``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, Any

from audioattn_lib.attention.patterns.names import parse_patterns
from audioattn_lib.core.declarations import Convert, OneOf, Range
from audioattn_lib.core.errors import ConfigError
from audioattn_lib.models.layers.input_scaling import BAND_NORMALIZATIONS
from audioattn_lib.models.layers.transformer import ARCHITECTURES, PRESETS
from audioattn_lib.training.averaging import AVERAGES

from ..common.config import (
    Count,
    DropRate,
    ExperimentConfig,
    Fraction,
    LossMonitor,
    NonNegative,
    Positive,
    Whole,
    require,
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


def _join(value: Any) -> Any:
    """Names joined by commas without spaces."""
    return ",".join(name.strip() for name in value.split(",")) if isinstance(value, str) else value


@dataclass(frozen=True)
class Config(ExperimentConfig):
    """One network on all test sets of a corpus. Unknown or impossible values are errors that name the field."""

    PRESETS = ("smoke", "default", "recordings", "paper", "nsynth", "nsynth_cnn")
    NAMED = NAMED
    EVALUATES_DRAWN = True

    data: Annotated[str, "corpus: orchestra, or a folder with recordings"] = "orchestra"
    pattern: Annotated[str, "attention pattern, or one for each layer with commas"] = "dense"
    band_normalization: Annotated[str, OneOf(BAND_NORMALIZATIONS), "centring of the bands"] = "none"
    size: Annotated[
        str,
        Convert(_join),
        "network: tiny, small, published, a published architecture, or mid_level_split (CNN); with commas an ensemble",
    ] = "tiny"
    held_out: Annotated[str, "domain to test on, all others train; empty: the splits"] = ""
    test_valid: Annotated[
        bool, "test the validation clips too, as test_seen; a fifth of the training clips chooses"
    ] = False
    n_mels: int = 64
    front_end: Annotated[str, OneOf(FRONT_ENDS), "features; published has Kaldi filters and fixed scaling"] = "log_mel"
    hop_seconds: Annotated[
        float,
        Range("(0, inf)", "seconds"),
        "hop from one frame to the next; log_mel windows are twice as long, published 25 ms",
    ] = 0.02
    f_min_jitter: Annotated[int, Range("[0, inf)", "hertz"), "published front end: range of the lowest edge"] = 0
    f_max_jitter: Annotated[int, Range("[0, inf)", "hertz"), "published front end: range of the highest edge"] = 0
    attention_alpha: Annotated[float, Range("[1, inf)"), "alpha of entmax in every layer, 1 is softmax"] = 1.0
    n_global: Annotated[int, Range("[2, inf)"), "global tokens, an even number"] = 2
    patchout: Annotated[Whole, "patches left out in training"] = 0
    patchout_time: Annotated[Whole, "columns of patches left out in training"] = 0
    patchout_frequency: Annotated[Whole, "rows of patches left out in training"] = 0
    dropout: Annotated[DropRate, "dropout of what each layer adds"] = 0.0
    pretrained: Annotated[
        str,
        "weights to start from, or with 0 epochs to evaluate: a run directory, its best.safetensors, or another file "
        "such as published weights; one for each network of an ensemble, with commas; empty: none",
    ] = ""
    mixup: Annotated[NonNegative, "alpha of MixUp, 0 for none"] = 0.0
    mixstyle_prob: Annotated[Fraction, "share of batches with Freq-MixStyle"] = 0.0
    ir_prob: Annotated[Fraction, "share of clips heard through devices"] = 0.0
    impulse_responses: Annotated[str, "what these devices do: drawn, or a folder with one sound per device"] = "drawn"
    time_mask: Annotated[Whole, "longest time mask in frames, 0 for none"] = 0
    frequency_mask: Annotated[Whole, "widest frequency mask in bands, 0 for none"] = 0
    epochs: Annotated[int, "passes over the training clips, 0 to evaluate"] = 15
    learning_rate: Annotated[Positive, "highest learning rate"] = 0.003
    schedule: Annotated[
        str, OneOf(SCHEDULES), "schedule of the learning rate; cosine and ramp are fitted to the epochs"
    ] = "cosine"
    warmup_epochs: Annotated[Count, "published schedules: epochs of warm-up, or of a cycle"] = 5
    ramp_down_start: Annotated[Count, "published schedules: epochs before the end begins"] = 50
    ramp_down_length: Annotated[Count, "epochs of the way down of published_ramp"] = 50
    weight_decay: Annotated[NonNegative, "weight decay of AdamW"] = 0.01
    max_grad_norm: float = 1.0
    average: Annotated[str, OneOf(AVERAGES), "average of weights, used in evaluation"] = "none"
    monitor: LossMonitor = "loss"

    def check(self) -> None:
        """Check sizes and patterns, the edges of the front end, and what is tested."""
        sizes = (*PRESETS, *ARCHITECTURES, CNN)
        require(self, "size", all(size in sizes for size in self.size.split(",")), f"one of {', '.join(sizes)}")
        for size in self.sizes:
            if size == CNN:
                require(self, "pattern", self.pattern == "dense", f"'dense' for {CNN}, which attends to nothing")
                require(self, "attention_alpha", self.attention_alpha == 1, f"1 for {CNN}, which attends to nothing")
            else:
                parse_patterns(self.pattern, PRESETS[size if size in PRESETS else "published"].depth)
        require(self, "n_global", self.n_global % 2 == 0, "an even number")
        require(self, "impulse_responses", bool(self.impulse_responses), "drawn, or a folder")
        for name in ("f_min_jitter", "f_max_jitter"):
            moves = self.front_end == "published" or not getattr(self, name)
            require(self, name, moves, "0 but for the published front end")
        room = self.f_min_jitter + self.f_max_jitter < self.sample_rate / 2
        require(self, "f_max_jitter", room, f"less than {self.sample_rate / 2:g} hertz together with f_min_jitter")
        require(self, "test_valid", not (self.test_valid and self.held_out), "false where a domain is held out")

    @property
    def sizes(self) -> tuple[str, ...]:
        """Size of each network of the ensemble; one where there is none.

        Raises
        ------
        ConfigError
            When sizes and files of weights are several, and not equally many.
        """
        sizes, count = tuple(self.size.split(",")), len([name for name in self.pretrained.split(",") if name.strip()])
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
    def recordings(cls, **changes: Any) -> Config:
        """The default on recordings: more than twice as many epochs.

        Chosen on validation clips of recorded notes, see the page on own sounds.
        """
        return cls.default(**{"epochs": 40, **changes})

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
            "hop_seconds": 0.01,
            "f_min_jitter": 10,
            "f_max_jitter": 2000,
            "mixup": 0.3,
            "time_mask": 80,
            "frequency_mask": 48,
            "epochs": 10,
            "batch_size": 64,
            "learning_rate": 1e-5,
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
            "hop_seconds": 0.01,
            "epochs": 20,
            "batch_size": 176,
            "learning_rate": 1e-3,
            "schedule": "published_ramp",
            "warmup_epochs": 100,
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
