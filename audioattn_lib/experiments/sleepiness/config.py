"""Configuration of an autoencoder of speech and of a regression on its features.

Book page: ``sleepiness``.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, Any, Literal

from audioattn_lib.attention.pooling.registry import MECHANISMS
from audioattn_lib.audio.features.log_mel import Window
from audioattn_lib.core.declarations import OneOf, Range
from audioattn_lib.data.loading.store import StoredType
from audioattn_lib.evaluation.regression import Regressor
from audioattn_lib.models.layers.recurrence import CELLS
from audioattn_lib.models.seq2seq import LOSSES, NETWORKS, VARIANTS

from ..common.config import Count, DropRate, ExperimentConfig, Fraction, Positive, require

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
class Config(ExperimentConfig):
    """One autoencoder and the regression on its features. Impossible values are errors that name the field."""

    COMPARED = MappingProxyType({"network": tuple(NETWORKS)})
    PRESETS = ("smoke", "default", "recordings", "paper", "audeep")

    data: Annotated[str, "corpus: voices, or a folder with recordings and numbers"] = "voices"
    network: Annotated[str, OneOf(NETWORKS), "wiring of the autoencoder"] = "attention_bi_bi_hidden"
    attention: Annotated[str, OneOf(MAPS), "map from alignment scores to weights"] = "softmax"
    variant: Annotated[str, OneOf(VARIANTS), "decoder of the paper, corrected, or of the published code"] = "corrected"
    cell: Annotated[str, OneOf(CELLS), "recurrent cell"] = "gru"
    units: Annotated[Count, "units of each recurrent layer and direction"] = 256
    dropout: Annotated[DropRate, "dropout of the frames that encoder and decoder read"] = 0.2
    frame_dropout: Annotated[DropRate, "share of the frames that the encoder is not shown in training"] = 0.0
    scheduled_sampling: Annotated[Fraction, "share of training steps that read what the decoder made itself"] = 0.0
    loss: Annotated[str, OneOf(LOSSES), "loss over a batch, mse as published, rmse as in auDeep"] = "mse"
    top_db: Annotated[float, Range("(0, inf)", "decibels"), "levels below the loudest that are kept"] = 60.0
    db_reference: Annotated[Literal["clip", "corpus"], "loudest sound of the clip, or of the training corpus"] = "clip"
    n_fft: Annotated[int, Range("[2, inf)", "samples"), "length of a window and its transform"] = 1280
    hop_length: Annotated[int, Range("[1, inf)", "samples"), "hop from one frame to the next"] = 640
    n_mels: int = 128
    window: Annotated[Window, "shape of the window"] = "hann"
    stored: Annotated[StoredType, "numbers of the spectrograms on disk"] = "float32"
    epochs: int = 10
    batch_size: int = 64
    learning_rate: Annotated[Positive, "learning rate of Adam"] = 0.001
    max_grad_norm: float = 2.0
    regressor: Annotated[Regressor, "regression on the features; published_svr keeps its offset small"] = "linear_svr"
    max_iter: Annotated[Count, "iterations of a support vector regression at most"] = 1000

    def check(self) -> None:
        """The published decoder is there for networks with published code."""
        coded = self.variant == "corrected" or NETWORKS[self.network].has_code
        require(self, "variant", coded, f"corrected, as there is no published code of {self.network}")

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
    def recordings(cls, **changes: Any) -> Config:
        """The default on recordings: three times as many epochs.

        Chosen on validation clips of recorded emotional speech, see the page on own sounds.
        """
        return cls.default(**{"epochs": 30, **changes})

    @classmethod
    def paper(cls, **changes: Any) -> Config:
        """Transform, networks and training of the published command line, on ComParE 2019 Continuous Sleepiness."""
        published = {
            "data": "sleepiness",
            "n_fft": 1024,
            "hop_length": 256,
            "n_mels": 240,
            "window": "hamming",
            "top_db": 80.0,
            "regressor": "published_svr",
        }
        return cls(**{**published, **changes})

    @classmethod
    def audeep(cls, **changes: Any) -> Config:
        """The recipe of auDeep for the same corpus: windows of 80 ms, 128 bands, 16 epochs of batches of 1,024."""
        recipe = {"data": "sleepiness", "network": "t_rae", "loss": "rmse", "epochs": 16, "batch_size": 1024}
        return cls(**{**recipe, **changes})
