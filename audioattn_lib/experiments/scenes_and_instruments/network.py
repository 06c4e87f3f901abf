"""The network of the chapter on scenes and instruments and its front end, built by a configuration alone.

Book page: ``scenes_and_instruments``.
"""

from __future__ import annotations

from torch import nn

from audioattn_lib.attention.record.record import FrameClock
from audioattn_lib.audio.features.kaldi_mel import KaldiMel
from audioattn_lib.audio.features.log_mel import LogMel
from audioattn_lib.models.ensemble import Ensemble
from audioattn_lib.models.frequency_transformer import FrequencyTransformer
from audioattn_lib.models.layers.input_scaling import BandScaling, Scaled
from audioattn_lib.models.layers.mid_level_split import MidLevelSplit

from .config import CNN, Config

__all__ = ["build_front_end", "build_network"]


def build_network(config: Config, n_classes: int, max_frames: int, front_end: LogMel | KaldiMel) -> Scaled | Ensemble:
    """The network of a configuration behind its scaling, with weights drawn from the global generator.

    Of several sizes, or several files of weights, it is an ensemble of networks, each behind a scaling of its own.

    Parameters
    ----------
    config
        Sizes, patterns and scaling.
    n_classes
        Outputs.
    max_frames
        Frames of the longest sound.
    front_end
        For the clock and the frequencies of the record.
    """
    networks = [_build_one(size, config, n_classes, max_frames, front_end) for size in config.sizes]
    scaled = [Scaled(BandScaling(config.n_mels, config.band_normalization), network) for network in networks]
    return scaled[0] if len(scaled) == 1 else Ensemble(scaled)


def _build_one(size: str, config: Config, n_classes: int, max_frames: int, front_end: LogMel | KaldiMel) -> nn.Module:
    if size == CNN:
        return MidLevelSplit(config.n_mels, n_classes, channels=8 if config.n_mels <= 64 else 48)
    return FrequencyTransformer.preset(
        size,
        config.n_mels,
        n_classes,
        max_frames=max_frames,
        pattern=config.pattern,
        alpha=config.attention_alpha,
        n_global=config.n_global,
        patchout=config.patchout,
        patchout_time=config.patchout_time,
        patchout_frequency=config.patchout_frequency,
        dropout=config.dropout,
        clock=FrameClock(*front_end.clock),
        frequencies=front_end.frequencies.cpu().numpy(),
    )


def build_front_end(config: Config) -> LogMel | KaldiMel:
    """From sound to log-mel in decibels, or to the published filter banks."""
    rate, n_mels = config.sample_rate, config.n_mels
    if config.front_end == "published":  # the highest edge is where training has its middle
        return KaldiMel(rate, n_mels, f_max=rate / 2 - config.f_max_jitter // 2, hop_length=config.hop_seconds)
    n_fft, hop_length = round(2 * config.hop_seconds * rate), round(config.hop_seconds * rate)
    return LogMel(rate, n_fft=n_fft, hop_length=hop_length, n_mels=n_mels, top_db=None)
