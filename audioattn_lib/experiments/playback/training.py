"""The network of a configuration of play it back, and how it and its encoder are trained.

Book page: ``playback``.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from audioattn_lib.audio.augmentation.mixing import cut_and_mix_clips, mix_clips
from audioattn_lib.data.loading.batches import Batch
from audioattn_lib.models.backbones.mvit import MViT
from audioattn_lib.models.playback.encoder import EncoderClassifier
from audioattn_lib.models.playback.layers import PlaybackDecoder, SmallEncoder
from audioattn_lib.models.playback.network import Playback
from audioattn_lib.models.playback.outputs import Tasks
from audioattn_lib.models.playback.published import PublishedDecoder
from audioattn_lib.training.schedules import Schedule, cosine

from ..common.mixing import mix_batch
from .config import Config
from .corpus import Prepared, build_front_end

__all__ = ["build_encoder", "build_encoder_classifier", "build_model", "build_network", "mix", "schedule"]

_ENCODERS = {"tiny": (12, 48), "small": (24, 96)}
_PUBLISHED = {"n_latents": 256, "width": 512, "heads": 8, "self_layers": 3}
_DECODERS = {
    "tiny": {"n_latents": 8, "width": 48, "heads": 4, "self_layers": 1},
    "small": {"n_latents": 16, "width": 96, "heads": 4, "self_layers": 1},
}


def build_model(config: Config, prepared: Prepared) -> Playback:
    """The network of a configuration, with weights drawn from the global generator."""
    return build_network(config, len(prepared.classes), is_multilabel=prepared.is_multilabel, tasks=prepared.tasks)


def build_network(config: Config, n_classes: int, *, is_multilabel: bool, tasks: Tasks | None = None) -> Playback:
    """The same without a corpus."""
    front = build_front_end(config, config.stages)
    encoder = build_encoder(config)
    sizes: dict[str, Any] = dict(_DECODERS.get(config.size, _PUBLISHED))
    sizes |= {"fusion": config.fusion, "fusion_level": config.fusion_level}
    decoder: PlaybackDecoder | PublishedDecoder
    if config.decoder == "published":
        outputs = n_classes if tasks is None else tasks.sizes
        head_width = sizes["width"] // sizes["heads"]
        decoder = PublishedDecoder(encoder.out_features, outputs, config.stages, head_width=head_width, **sizes)
    else:
        decoder = PlaybackDecoder(encoder.out_features, n_classes, config.stages, **sizes)
    return Playback(
        front,
        encoder,
        decoder,
        selection={"none": "random", "oracle": "given"}.get(config.selection, config.selection),
        n_segments=config.n_segments,
        segment_seconds=config.segment_seconds,
        temperature=config.temperature,
        is_multilabel=is_multilabel,
        published_slots=config.slots == "published",
        tasks=tasks,
    )


def build_encoder(config: Config) -> SmallEncoder | MViT:
    """The encoder of a configuration, small or published."""
    if config.size in _ENCODERS:
        return SmallEncoder(config.n_mels, *_ENCODERS[config.size])
    return MViT.preset(config.size.removeprefix("mvit_").upper())


def build_encoder_classifier(config: Config, n_classes: int) -> EncoderClassifier:
    """Build the network of the first training step: the encoder with a linear layer of its own."""
    front = build_front_end(config, config.playbacks + 1)
    return EncoderClassifier(front, build_encoder(config), n_classes)


def schedule(config: Config, rate: float, steps: int) -> Schedule:
    """Learning rate of each step out of ``steps``: up to ``rate`` and down a cosine."""
    steps = max(steps, 1)  # of 0 it is never asked
    return cosine(rate, steps, warmup_steps=int(config.warmup_fraction * steps))


def mix(batch: Batch, config: Config, n_classes: int) -> tuple[Tensor, Tensor, Tensor]:
    """Samples, lengths and targets of a batch, mixed alike where the configuration asks for it.

    Waveforms are mixed, so every hop hears the same mixture.
    """
    ways = [(way, alpha) for way, alpha in ((mix_clips, config.mixup), (cut_and_mix_clips, config.cutmix)) if alpha]
    generator = torch.default_generator
    if not ways or torch.rand((), generator=generator) >= config.mix_prob:
        return batch.features[..., 0], batch.lengths, batch.targets
    way, alpha = ways[int(torch.randint(len(ways), (), generator=generator))]
    features, lengths, targets = mix_batch(batch.features, batch.lengths, batch.targets, way, alpha, n_classes)
    return features[..., 0], lengths, targets
