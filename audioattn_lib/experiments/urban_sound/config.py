"""Training configuration of the chapter on urban sounds: fields, ranges and presets.

The settings of Martins et al., *Sparse continuous distributions and Fenchel-Young losses*, JMLR 2022, are the defaults.

Book page: ``urban_sound``.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, Any, Literal

from audioattn_lib.attention.pooling.registry import MECHANISMS, from_published
from audioattn_lib.core.declarations import OneOf, Range
from audioattn_lib.models.acrnn import NORMALISATIONS, PRESETS

from ..common.config import (
    Count,
    DropRate,
    ExperimentConfig,
    Fold,
    Folds,
    LossMonitor,
    NonNegative,
    Positive,
    Protocol,
    Whole,
    require,
)

__all__ = ["ATTENTIONS", "CONTROL", "CONTROLS", "ECAPA", "MEL", "Config"]

CONTROL = "mean"
"""Equal weights for all frames: what a mechanism must beat to be worth its name."""
CONTROLS = (CONTROL, "max", "statistics")
"""Poolings without attention: mean, maximum of every feature, mean and deviation."""
ATTENTIONS = tuple(MECHANISMS)
"""The eight published variants: four discrete maps, four continuous densities."""
ECAPA = MappingProxyType({"ecapa": "discrete", "ecapa_tiny": "tiny"})
"""Sizes of ECAPA-TDNN by the name of the model; which attention its pooling has is a field of its own."""


MEL = "mel"
"""The field ``frame_encoder`` without a pretrained encoder."""


@dataclass(frozen=True)
class Config(ExperimentConfig):
    """One model on one test fold. Unknown or impossible values are errors that name the field."""

    PRESETS = ("smoke", "default", "recordings", "paper", "ecapa", "frozen")
    COMPARED = MappingProxyType({"attention": (*ATTENTIONS, *CONTROLS)})

    data: Annotated[str, "corpus: city, or a folder with recordings"] = "city"
    attention: Annotated[
        str,
        OneOf((*ATTENTIONS, *CONTROLS)),
        "attention map or density; or mean for equal weights, max for the maximum of every feature, statistics for "
        "mean and deviation",
    ] = "softmax"
    attention_domain: Annotated[
        Literal["", "discrete", "continuous"],
        "domain of a published name in attention; empty where the name is one of ours",
    ] = ""
    fold: Fold = "first"
    train_folds: Annotated[Folds, "folds to train on; empty: all others"] = ()
    valid_folds: Annotated[Folds, "folds that choose the best epoch; empty: as protocol says"] = ()
    test_folds: Annotated[Folds, "folds to test on; empty: fold"] = ()
    protocol: Protocol = "nested"
    band_normalization: Annotated[
        str,
        OneOf(NORMALISATIONS),
        "level of the bands: of the clip as published (its mean removed), its median, of the corpus, or as they are",
    ] = "clip"
    frame_encoder: Annotated[
        str,
        "log-mel bands as published (mel); or a folder (also in that of AUDIOATTN_DATA) or identifier of a pretrained "
        "encoder of transformers, whose frames are computed once",
    ] = MEL
    frame_layer: Annotated[Whole, "layer of the pretrained encoder that gives the frames; 0: before the first"] = 2
    frame_step: Annotated[Count, "frames of the pretrained encoder that are averaged to one"] = 1
    model: Annotated[
        str,
        OneOf((*PRESETS, *ECAPA)),
        "front: one convolution as published, four, pointwise (each frame alone), frames (none), or ECAPA-TDNN",
    ] = "published"
    recurrent: Annotated[Literal["none", "gru", "lstm"], "layer behind the convolutions, as published none"] = "none"
    recurrent_size: Annotated[Count, "units of the recurrent layer, for each direction"] = 128
    bidirectional: Annotated[bool, "run the recurrent layer both ways"] = False
    dropout: Annotated[DropRate, "dropout after each convolution"] = 0.15
    attention_size: Annotated[Count, "width of the additive scorer"] = 128
    attention_dropout: Annotated[DropRate, "dropout of the weights of the frames"] = 0.0
    scaled: Annotated[bool, "discrete: divide scores by the root of their width, as densities always do"] = False
    softmax_warmup_fraction: Annotated[DropRate, "sparse maps: share of the training with softmax weights"] = 0.0
    fused: Annotated[bool, "continuous: add the context of the softmax weights"] = True
    encoder: Annotated[
        Literal["moments", "convolution", "last_state"], "continuous: way from scores to location and width"
    ] = "moments"
    positions: Annotated[Literal["centres", "published"], "continuous: places of the frames"] = "centres"
    n_components: Annotated[Count, "continuous: densities per clip; several are a mixture"] = 1
    boundary: Annotated[
        Literal["zero", "reflect", "renormalise"], "continuous: frames beyond the ends of the clip, as published zero"
    ] = "zero"
    n_basis: Annotated[Count, "continuous: Gaussian basis functions"] = 128
    basis_widths: Annotated[
        tuple[float, ...], Range("(0, inf)", "clip lengths"), "continuous: widths of the basis functions"
    ] = (0.1, 0.5)
    penalty: Annotated[Positive, "continuous: ridge penalty"] = 0.1
    min_learning_rate: Annotated[Positive, "lowest learning rate of the triangular schedule"] = 0.0001
    learning_rate: Annotated[Positive, "highest learning rate"] = 0.001
    cycle_steps: Annotated[Count, "steps from the lowest to the highest rate"] = 1000
    weight_decay: Annotated[NonNegative, "weight decay of Adam"] = 2e-06
    monitor: LossMonitor = "error"
    perturbations: Annotated[bool, "measure what deleting and inserting attended frames of tested clips changes"] = True

    def __post_init__(self) -> None:
        texts = isinstance(self.attention, str) and isinstance(self.attention_domain, str)
        if texts and self.attention_domain in ("discrete", "continuous"):
            self.settle("attention", from_published(self.attention, self.attention_domain))
            self.settle("attention_domain", "")  # said by the name
        super().__post_init__()

    def check(self) -> None:
        """Check the learning rates, the lists of folds, and what ECAPA-TDNN lacks."""
        self._settle_folds()
        require(self, "min_learning_rate", self.min_learning_rate <= self.learning_rate, "at most learning_rate")
        averages = self.frame_step == 1 or self.frame_encoder != MEL
        require(self, "frame_step", averages, "1 without a pretrained encoder, whose frames it averages")
        require(self, "basis_widths", bool(self.basis_widths), "at least one number")
        if self.model in ECAPA:
            of_acrnn = {"recurrent": "none", "dropout": 0.0, "scaled": False, "softmax_warmup_fraction": 0.0}
            for name, value in of_acrnn.items():
                lacks = f"{value!r} for {self.model}, which has no such thing"
                require(self, name, getattr(self, name) == value, lacks)
            require(self, "attention", self.attention not in CONTROLS[1:], f"a mechanism or mean for {self.model}")
            is_allowed = self.band_normalization in ("clip", "none")
            require(self, "band_normalization", is_allowed, f"clip or none for {self.model}")

    def _settle_folds(self) -> None:
        """Name the tested folds in ``fold``; where they choose the epoch too, that is the published protocol."""
        if self.test_folds:
            joined = ",".join(self.test_folds)
            require(self, "fold", self.fold in ("first", joined), f"first, or {joined} as in test_folds")
            self.settle("fold", joined)
        if set(self.test_folds or (self.fold,)) & set(self.valid_folds):
            self.settle("protocol", "published")

    @classmethod
    def smoke(cls, **changes: Any) -> Config:
        """Seconds on a CPU: a tiny synthetic city, one epoch; for tests."""
        settings = {"data": "city?clips_per_class=6&n_folds=3&duration=2", "epochs": 1, "cycle_steps": 4}
        return cls(**{**settings, "scaled": True, "softmax_warmup_fraction": 0.5, **changes})

    @classmethod
    def default(cls, **changes: Any) -> Config:
        """About ten seconds a model on two CPU cores: what the book shows when nothing else is there.

        Scores of discrete maps are divided as those of the densities, and sparse maps begin as softmax: chosen on
        validation clips, see the chapter.
        """
        settings = {"epochs": 15, "batch_size": 16, "learning_rate": 3e-3, "cycle_steps": 98, "monitor": "loss"}
        return cls(**{**settings, "scaled": True, "softmax_warmup_fraction": 0.5, **changes})

    @classmethod
    def recordings(cls, **changes: Any) -> Config:
        """The default on recordings: levels of the corpus and twice as many epochs.

        Chosen on validation clips of ESC-10 and other corpora of recordings, see the page on own sounds: real sounds
        differ in their steady spectrum, which the level of a clip takes away, and are learned more slowly than the
        synthetic ones.
        """
        return cls.default(**{"band_normalization": "corpus", "epochs": 30, "cycle_steps": 150, **changes})

    @classmethod
    def frozen(cls, **changes: Any) -> Config:
        """Poolings on frames of a frozen encoder: Whisper tiny, layer 2, a frame of 100 ms, and one linear layer.

        The learning rate was chosen on validation clips of UrbanSound8K out of three, the rest was not searched: see
        the page on real recordings. Seconds a network, once the frames are computed.
        """
        settings = {
            **{"data": "urbansound8k", "frame_encoder": "encoders/whisper_tiny_en_encoder", "frame_step": 5},
            **{"protocol": "grouped", "model": "frames", "attention_size": 32, "perturbations": False},
            **{"batch_size": 128, "epochs": 10, "learning_rate": 3e-3, "cycle_steps": 54, "weight_decay": 1e-2},
        }
        return cls.recordings(**{**settings, **changes})

    @classmethod
    def paper(cls, **changes: Any) -> Config:
        """The published settings on UrbanSound8K."""
        return cls(**{"data": "urbansound8k", **changes})

    @classmethod
    def ecapa(cls, **changes: Any) -> Config:
        """The published settings of ECAPA-TDNN on UrbanSound8K, with discrete attention.

        The continuous ones are ``attention="parabola"``, with ``fused=False``, and with ``n_basis=256, fused=False``;
        which density they have is not published.
        """
        settings = {"model": "ecapa", "dropout": 0.0, "epochs": 25, "seed": 1988}
        return cls.paper(**{**settings, "min_learning_rate": 1e-8, "cycle_steps": 65000, **changes})
