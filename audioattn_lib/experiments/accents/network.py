"""The network of the chapter on accents and its front end, built by a configuration alone.

Book page: ``accents``.
"""

from __future__ import annotations

from audioattn_lib.attention.record.record import FrameClock
from audioattn_lib.audio.features.log_mel import LogMel
from audioattn_lib.audio.features.magnitude_mel import MagnitudeMel
from audioattn_lib.models.embedding import EmbeddingLayers, EmbeddingNetwork, build_backbone
from audioattn_lib.models.layers.utterance_pooling import build_utterance_pooling
from audioattn_lib.models.margin import build_classifier

from .config import Config

__all__ = ["build_network", "build_sound_front_end"]


def build_sound_front_end(features: str, sample_rate: int, n_mels: int) -> LogMel | MagnitudeMel:
    """From sound to log-mel in decibels, or to the published magnitudes."""
    if features == "published":
        return MagnitudeMel(sample_rate, max(512, round(0.025 * sample_rate)), n_mels)
    n_fft, hop_length = round(0.025 * sample_rate), round(0.010 * sample_rate)
    return LogMel(sample_rate, n_fft, None, hop_length, n_mels, window="hamming", scale="slaney")


def build_network(config: Config, n_classes: int, clock: FrameClock) -> EmbeddingNetwork:
    """The network of a configuration, with weights drawn from the global generator."""
    front = build_backbone(config.backbone, config.n_mels, config.channels)
    pooling, width = build_utterance_pooling(
        config.pooling,
        front.out_features,
        heads=config.heads,
        attention=config.attention,
        scale=config.head_scale,
        initial_queries=config.initial_queries,
        head_dropout=config.head_dropout,
        n_queries=config.n_queries,
    )
    classifier = build_classifier(
        config.loss,
        config.embedding_size,
        n_classes,
        margin=config.margin,
        scale=config.scale,
        annealing=config.grad_accum_steps if config.annealing else 0,
        gamma=config.gamma,
        published_gamma=config.published_gamma,
    )
    layers = EmbeddingLayers(width, config.embedding_size, normalise_context=config.normalise_context)
    return EmbeddingNetwork(front, pooling, layers, classifier, clock=clock)
