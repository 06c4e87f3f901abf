"""The network of the chapter on urban sounds and its front end, built by a configuration alone.

Book page: ``urban_sound``.
"""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

from torch import nn

from audioattn_lib.attention.pooling.registry import MECHANISMS, build_attention
from audioattn_lib.attention.record.record import FrameClock
from audioattn_lib.audio.features.log_mel import LogMel
from audioattn_lib.data.corpora import DATA_VARIABLE
from audioattn_lib.models.acrnn import ACRNN
from audioattn_lib.models.ecapa import ECAPATDNN
from audioattn_lib.models.layers.statistics_pooling import MeanStatisticsPooling, build_pooling

from ..common.frames.averaged import AveragedFrames
from ..common.frames.encoder import PretrainedFrames
from .config import CONTROLS, ECAPA, MEL, Config

__all__ = ["build_front_end", "build_network"]


def build_front_end(config: Config) -> LogMel | PretrainedFrames | AveragedFrames:
    """The transform of the publication, with its range and without its normalisation; or a pretrained encoder.

    A folder of an encoder is looked for in that of ``AUDIOATTN_DATA`` too.

    The model subtracts each clip's mean itself: the baseline needs what that removes.
    """
    rate = config.sample_rate
    bands = LogMel(
        rate,
        n_fft=round(0.025 * rate),
        hop_length=round(0.010 * rate),
        n_mels=config.n_mels,
        window="hamming",
        filters="shared_bandwidth",
    )
    if config.frame_encoder == MEL:
        return bands
    frames = PretrainedFrames(_find_encoder(config.frame_encoder), config.frame_layer, bands)
    return frames if config.frame_step == 1 else AveragedFrames(frames, config.frame_step)


def _find_encoder(name: str) -> str:
    """A folder as it is named, or in that of the corpora; anything else is an identifier."""
    folder = Path(os.environ.get(DATA_VARIABLE, "")) / name
    return str(folder) if not Path(name).exists() and (folder / "config.json").is_file() else name


def build_network(
    config: Config, n_classes: int, clock: FrameClock, n_steps: int = 1, n_features: int | None = None
) -> ACRNN | ECAPATDNN:
    """The network of a configuration, with weights drawn from the global generator.

    ``n_steps`` will train it; a frame has ``n_features`` numbers, by default as many as mel bands.
    """
    width = config.n_mels if n_features is None else n_features

    def attention(features: int) -> nn.Module:
        options: dict[str, Any] = {"hidden_size": config.attention_size, "dropout": config.attention_dropout}
        if config.attention == "statistics":
            return MeanStatisticsPooling(features)
        if config.attention in CONTROLS:
            options = {}
        elif MECHANISMS[config.attention].domain == "discrete":
            if config.model not in ECAPA:
                share = config.softmax_warmup_fraction if MECHANISMS[config.attention].alpha > 1 else 0.0
                options |= {"scaled": config.scaled, "soft_steps": math.ceil(share * n_steps)}
        else:
            options |= {
                "fused": config.fused,
                "encoder": config.encoder,
                "positions": config.positions,
                "n_components": config.n_components,
                "boundary": config.boundary,
                "n_basis": config.n_basis,
                "widths": config.basis_widths,
                "penalty": config.penalty,
            }
        build = build_pooling if config.model in ECAPA else build_attention
        return build(config.attention, features, **options)

    if config.model in ECAPA:
        normalise = config.band_normalization == "clip"
        return ECAPATDNN.preset(ECAPA[config.model], width, n_classes, attention, clock=clock, normalise=normalise)
    return ACRNN.preset(
        config.model,
        width,
        n_classes,
        attention,
        clock=clock,
        dropout=config.dropout,
        recurrent=config.recurrent,
        recurrent_size=config.recurrent_size,
        bidirectional=config.bidirectional,
        normalise=config.band_normalization,
    )
