"""Configuration of an autoencoder of speech and of a regression on its features.

Book page: ``sleepiness``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from audioattn_lib.attention.pooling.registry import VARIANTS as MECHANISMS
from audioattn_lib.evaluation.regression import REGRESSORS
from audioattn_lib.models.layers.recurrence import CELLS
from audioattn_lib.models.seq2seq import LOSSES, NETWORKS, VARIANTS

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

__all__ = ["FRONT_END", "MAPS", "REGRESSION", "SPECTROGRAM", "Config"]

MAPS = tuple(name for name, mechanism in MECHANISMS.items() if mechanism.domain == "discrete")
"""Maps from alignment scores to weights."""
FRONT_END = ("sample_rate", "n_fft", "hop_length", "n_mels", "window")
"""Fields that say what a spectrogram is."""
SPECTROGRAM = ("data", *FRONT_END, "stored", "skip_bad_clips")
"""Fields that spectrograms on disk depend on."""
REGRESSION = ("regressor", "max_iter")
"""Fields that an autoencoder does not depend on."""


@dataclass(frozen=True)
class Config(WithPresets):
    """One autoencoder and the regression on its features. Impossible values are errors that name the field."""

    COMPARED = MappingProxyType({"network": tuple(NETWORKS)})
    PRESETS = ("smoke", "default", "paper", "audeep")

    data: str = field(default="voices", metadata={"help": "corpus: voices, or a folder with recordings and numbers"})
    network: str = field(default="attention_bi_bi_hidden", metadata={"help": "wiring of the autoencoder"})
    attention: str = field(default="softmax", metadata={"help": "map from alignment scores to weights"})
    variant: str = field(default="corrected", metadata={"help": "corrected, or published: the decoder of the code"})
    cell: str = field(default="gru", metadata={"help": "gru or lstm"})
    units: int = field(default=256, metadata={"help": "of each recurrent layer and direction"})
    dropout: float = field(default=0.2, metadata={"help": "of the frames that encoder and decoder read, in [0, 1)"})
    encoder_noise: float = field(
        default=0.0, metadata={"help": "share of the frames that the encoder is not shown in training, in [0, 1)"}
    )
    sampling: float = field(
        default=0.0, metadata={"help": "share of training steps that read what the decoder made itself, in [0, 1]"}
    )
    loss: str = field(default="mse", metadata={"help": "mse (published) or rmse (auDeep)"})
    threshold: float = field(default=60.0, metadata={"help": "decibels below the loudest that are kept, above 0"})
    level: str = field(default="clip", metadata={"help": "what is loudest: the clip itself, or the training corpus"})
    seed: int = field(default=0, metadata={"help": "seed of weights, batches and dropout, from 0"})
    sample_rate: int = field(default=16000, metadata={"help": "hertz; sounds are resampled on loading"})
    n_fft: int = field(default=1280, metadata={"help": "samples of a window and its transform"})
    hop_length: int = field(default=640, metadata={"help": "samples from one frame to the next"})
    n_mels: int = field(default=128, metadata={"help": "mel bands"})
    window: str = field(default="hann", metadata={"help": "hann or hamming"})
    stored: str = field(default="float32", metadata={"help": "numbers of the spectrograms on disk: float32, float16"})
    pretrained: str = initial_weights()
    pretrained_part: str = initial_part()
    pretrained_prefix: str = initial_prefix()
    epochs: int = field(default=10, metadata={"help": "passes over the training clips; 0 only evaluates pretrained"})
    batch_size: int = field(default=64, metadata={"help": "clips a step"})
    learning_rate: float = field(default=1e-3, metadata={"help": "of Adam"})
    gradient_clip: float = field(default=2.0, metadata={"help": "largest norm of the gradient"})
    regressor: str = field(
        default="linear_svr", metadata={"help": "linear_svr, published_svr (offset kept small), ridge or rbf_svr"}
    )
    max_iter: int = field(default=1000, metadata={"help": "iterations of a support vector regression at most"})
    device: str = field(default="auto", metadata={"help": "auto, cpu, cuda, or cuda:0 and so on"})
    precision: str = field(default="auto", metadata={"help": "auto (bfloat16 on CUDA), float32 or bfloat16"})
    skip_bad_clips: bool = field(default=False, metadata={"help": "leave out clips that fail the check, and say which"})

    def __post_init__(self) -> None:
        check_declared(self)
        allowed = {
            "network": tuple(NETWORKS),
            "attention": MAPS,
            "variant": VARIANTS,
            "cell": tuple(CELLS),
            "loss": LOSSES,
            "level": ("clip", "corpus"),
            "window": ("hann", "hamming"),
            "stored": ("float32", "float16"),
            "regressor": REGRESSORS,
            "precision": ("auto", "float32", "bfloat16"),
        }
        for name, values in allowed.items():
            require_choice(self, name, values)
        require_device(self)
        for name in ("units", "hop_length", "n_mels", "batch_size", "max_iter"):
            require(self, name, getattr(self, name) >= 1, "at least 1")
        require_initial(self)
        require(self, "n_fft", self.n_fft >= 2, "at least 2 samples")
        require(self, "sample_rate", self.sample_rate >= 1000, "at least 1000 hertz")
        require(self, "seed", self.seed >= 0, "at least 0")
        for name in ("dropout", "encoder_noise"):
            require(self, name, 0 <= getattr(self, name) < 1, "in [0, 1)")
        require(self, "sampling", 0 <= self.sampling <= 1, "in [0, 1]")
        for name in ("threshold", "learning_rate", "gradient_clip"):
            require(self, name, getattr(self, name) > 0, "above 0")
        coded = self.variant == "corrected" or NETWORKS[self.network].has_code
        require(self, "variant", coded, f"corrected, as there is no published code of {self.network}")

    def select(self, *names: str) -> dict[str, Any]:
        """Some fields by name."""
        return {name: getattr(self, name) for name in names}

    @classmethod
    def smoke(cls, **changes: Any) -> Config:
        """Seconds on a CPU: a few tiny voices, one epoch; for tests."""
        small = {"n_mels": 16, "units": 8, "epochs": 1, "batch_size": 16}
        return cls(**{"data": "voices?speakers=8&clips_per_speaker=4&duration=(1.0,1.5)", **small, **changes})

    @classmethod
    def default(cls, **changes: Any) -> Config:
        """Some 15 seconds a network on a CPU core: what the book shows when nothing else is there."""
        coarse = {"n_fft": 2560, "hop_length": 1280, "n_mels": 64}
        small = {"units": 64, "epochs": 10, "batch_size": 16, "learning_rate": 5e-3}
        return cls(**{**coarse, **small, **changes})

    @classmethod
    def paper(cls, **changes: Any) -> Config:
        """Transform, networks and training of the published command line, on ComParE 2019 Continuous Sleepiness."""
        published = {
            "data": "sleepiness",
            "n_fft": 1024,
            "hop_length": 256,
            "n_mels": 240,
            "window": "hamming",
            "threshold": 80.0,
            "regressor": "published_svr",
        }
        return cls(**{**published, **changes})

    @classmethod
    def audeep(cls, **changes: Any) -> Config:
        """The recipe of auDeep for the same corpus: windows of 80 ms, 128 bands, 16 epochs of batches of 1,024."""
        recipe = {"data": "sleepiness", "network": "t_rae", "loss": "rmse", "epochs": 16, "batch_size": 1024}
        return cls(**{**recipe, **changes})
