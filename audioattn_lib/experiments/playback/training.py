"""The network of a configuration of play it back, and how it and its encoder are trained.

Book page: ``playback``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from audioattn_lib.audio.mixing import cut_and_mix_clips, mix_clips
from audioattn_lib.data.loading.batches import Batch
from audioattn_lib.models.backbones.mvit import MViT
from audioattn_lib.models.playback.encoder import EncoderClassifier
from audioattn_lib.models.playback.layers import PlaybackDecoder, SmallEncoder
from audioattn_lib.models.playback.network import Playback
from audioattn_lib.models.playback.outputs import Tasks
from audioattn_lib.models.playback.published import PublishedDecoder
from audioattn_lib.training.distributed import leave_to_main
from audioattn_lib.training.loop import fit
from audioattn_lib.training.run_directory import RunDirectory
from audioattn_lib.training.schedules import cosine
from audioattn_lib.training.settings import TrainingSettings

from ..common.initial_weights import keep_as_they_are
from .config import Config
from .corpus import Prepared, build_front_end
from .tasks import answer_loss

__all__ = [
    "build_encoder",
    "build_encoder_classifier",
    "build_model",
    "cross_entropy",
    "fit_network",
    "mix_batch",
]

_ENCODERS = {"tiny": (12, 48), "small": (24, 96)}
_PUBLISHED = {"n_latents": 256, "width": 512, "heads": 8, "self_layers": 3}
_DECODERS = {
    "tiny": {"n_latents": 8, "width": 48, "heads": 4, "self_layers": 1},
    "small": {"n_latents": 16, "width": 96, "heads": 4, "self_layers": 1},
}


def build_model(config: Config, n_classes: int, *, several_labels: bool, tasks: Tasks | None = None) -> Playback:
    """The network of a configuration, with weights drawn from the global generator."""
    front = build_front_end(config.sample_rate, config.hop, config.window, config.n_mels, config.stages)
    encoder = build_encoder(config)
    sizes: dict[str, Any] = dict(_DECODERS.get(config.size, _PUBLISHED))
    sizes |= {"fusion": config.fusion, "fusion_level": config.location}
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
        several_labels=several_labels,
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
    front = build_front_end(config.sample_rate, config.hop, config.window, config.n_mels, config.playbacks + 1)
    return EncoderClassifier(front, build_encoder(config), n_classes)


def fit_network(
    model: nn.Module,
    config: Config,
    lr: float,
    epochs: int,
    train: Any,
    loss: Any,
    evaluate: Any,
    prepared: Prepared,
    directory: RunDirectory,
    device: torch.device,
    about: Mapping[str, str],
) -> None:
    """Train with AdamW and a cosine, and keep the best epoch; what follows is the main process's work.

    With 0 epochs the network is kept as it is.
    """
    if not epochs:
        leave_to_main()
        keep_as_they_are(model.to(device).eval(), evaluate, directory, about)
        return
    steps = epochs * len(train)
    fit(
        model,
        torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr, weight_decay=config.weight_decay),
        cosine(lr, steps, warmup_steps=int(config.warm_up * steps)),
        train,
        loss,
        evaluate,
        TrainingSettings(
            epochs,
            config.monitor,
            config.gradient_clip,
            precision=config.precision,
            about=about,
            unused_parameters=isinstance(model, EncoderClassifier),  # of hops that a batch is not heard at
        ),
        directory,
        device=device,
        describe=lambda batch: ", ".join(prepared.manifest.ids[int(i)] for i in batch.indices),
    )
    leave_to_main()


def mix_batch(batch: Batch, config: Config, n_classes: int) -> tuple[Tensor, Tensor, Tensor]:
    """Samples, lengths and targets of a batch, mixed alike where the configuration asks for it.

    Waveforms are mixed, so every hop hears the same mixture.
    """
    ways = [(mix_clips, config.mixup), (cut_and_mix_clips, config.cutmix)]
    ways = [(mix, alpha) for mix, alpha in ways if alpha]
    chance = torch.default_generator
    if not ways or torch.rand((), generator=chance) >= config.mix_share:
        return batch.features[..., 0], batch.lengths, batch.targets
    mix, alpha = ways[int(torch.randint(len(ways), (), generator=chance))]
    mixed = mix(batch.features, alpha, generator=chance)
    targets = batch.targets
    if targets.ndim == 1:
        targets = F.one_hot(targets, n_classes).to(mixed.features.dtype)
    share = mixed.share[:, None]
    targets = share * targets + (1 - share) * targets[mixed.partner]
    lengths = torch.maximum(batch.lengths, batch.lengths[mixed.partner])
    return mixed.features[..., 0], lengths, targets


def cross_entropy(logits: Tensor, targets: Tensor, several_labels: bool, tasks: Tasks | None = None) -> Tensor:
    """Mean loss of classes, or of shares of them, of several labels, and of several tasks."""
    if tasks is not None:
        return answer_loss(logits, targets, tasks)[0]
    if not several_labels:
        return F.cross_entropy(logits.float(), targets)
    return F.binary_cross_entropy_with_logits(logits.float(), targets.float())
