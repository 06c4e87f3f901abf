"""Training of the networks of the chapter on scenes and instruments: augmentation, loss and schedule.

Book page: ``scenes_and_instruments``.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from audioattn_lib.audio.augmentation.masking import mask_features
from audioattn_lib.audio.augmentation.mixing import apply_impulse_responses, mix_band_statistics, mix_clips
from audioattn_lib.audio.features.kaldi_mel import PUBLISHED_MEAN, PUBLISHED_STD, KaldiMel
from audioattn_lib.data.impulse_responses import draw_impulse_responses, read_impulse_responses
from audioattn_lib.models.layers.input_scaling import BandScaling
from audioattn_lib.models.layers.label_loss import label_loss
from audioattn_lib.training.averaging import AveragedModel
from audioattn_lib.training.schedules import Schedule, cosine, epoch_cosine, epoch_ramp, fitted_epoch_ramp

from ..common.mixing import mix_batch
from .config import Config
from .corpus import Prepared

__all__ = ["Augmentation", "average", "fit_scaling", "schedule", "training_loss"]

_DRAWN = 32
"""Devices that are drawn where no recorded responses are given."""


class Augmentation:
    """Augmentation of the clips of a training batch.

    In this order: recorded with another device, features with moved edges,
    Freq-MixStyle, masks. All chance comes from torch's global generator, which a
    checkpoint keeps.

    Parameters
    ----------
    config
        How much of each.
    prepared
        The corpus, for its front end.
    device
        Where batches are.

    Notes
    -----
    Book page: ``scenes_and_instruments``.
    """

    def __init__(self, config: Config, prepared: Prepared, device: torch.device) -> None:
        self.config = config
        self.front_end = prepared.front_end
        self.of_sounds = bool(config.ir_prob or config.f_min_jitter or config.f_max_jitter)
        self.responses: Tensor | None = None
        if self.of_sounds:
            self.front_end.to(device)
        if config.ir_prob:
            source, rate = config.impulse_responses, config.sample_rate
            drawn = draw_impulse_responses(_DRAWN, rate) if source == "drawn" else read_impulse_responses(source, rate)
            self.responses = drawn.to(device)

    def __call__(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Features to learn from, of stored features, or of waveforms ``(B, N, 1)`` where ``of_sounds`` says so."""
        config, generator = self.config, torch.default_generator
        if self.of_sounds:
            features, lengths = self._listen(features.squeeze(-1), lengths)
        if config.mixstyle_prob:
            features = mix_band_statistics(features, lengths, probability=config.mixstyle_prob, generator=generator)
        if config.time_mask or config.frequency_mask:
            features = mask_features(
                features,
                lengths,
                time_masks=1,
                time_width=config.time_mask,
                time_share=1.0,
                band_masks=1,
                band_width=config.frequency_mask,
                generator=generator,
            )
        return features, lengths

    @torch.no_grad()
    def _listen(self, waveforms: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        config, generator = self.config, torch.default_generator
        if self.responses is not None:
            waveforms = apply_impulse_responses(waveforms, self.responses, config.ir_prob, generator=generator)
        if isinstance(self.front_end, KaldiMel):
            edges = self.front_end.draw_edges(config.f_min_jitter, config.f_max_jitter, generator=generator)
            return self.front_end(waveforms, lengths, edges=edges)
        return self.front_end(waveforms, lengths)


def training_loss(
    network: nn.Module, batch: Any, config: Config, augment: Augmentation, n_classes: int
) -> tuple[Tensor, Tensor]:
    """Mean cross entropy of a changed batch, with MixUp of both labels; and the number of clips predicted right."""
    if isinstance(network, AveragedModel):
        network.update()
    features, lengths, targets = *augment(batch.features, batch.lengths), batch.targets
    if config.mixup:
        features, lengths, targets = mix_batch(features, lengths, targets, mix_clips, config.mixup, n_classes)
    logits = network(features, lengths)[0]
    loss = label_loss(logits, targets, is_multilabel=False)
    return loss, (logits.argmax(dim=1) == batch.targets).sum()


def fit_scaling(scaling: BandScaling, config: Config, prepared: Prepared) -> None:
    """Scale as the published networks expect it, or by the training clips.

    The published numbers hold for the published front end, with nothing or the means of each clip taken out.
    """
    if config.front_end == "published" and config.band_normalization in ("none", "clip"):
        scaling.fix(PUBLISHED_MEAN if config.band_normalization == "none" else 0.0, PUBLISHED_STD)
    else:
        scaling.fit([prepared.store[int(row)] for row in prepared.split(config).train])


def average(scaled: nn.Module, config: Config, steps: int) -> nn.Module:
    """The network, or the network with the average of its weights, for epochs of so many steps."""
    if config.average == "none":
        return scaled
    if config.average == "swa":  # as published: at the start of every epoch from the second on
        return AveragedModel(scaled, "swa", start=steps, every=steps)
    return AveragedModel(scaled, "ema", start=1, decay=0.99 if config.size == "tiny" else 0.999)


def schedule(config: Config, steps: int) -> Schedule:
    """Learning rate of each step, for epochs of so many steps."""
    epochs, rate, warmup = max(config.epochs, 1), config.learning_rate, config.warmup_epochs  # of 0 it is never asked
    total = epochs * steps
    if config.schedule == "cosine":
        return cosine(rate, total, warmup_steps=total // 10)
    if config.schedule == "ramp":
        return fitted_epoch_ramp(rate, steps, epochs)
    if config.schedule == "published_cosine":
        return epoch_cosine(rate, steps, warmup, config.ramp_down_start)
    return epoch_ramp(rate, steps, warmup, config.ramp_down_start, config.ramp_down_length)
