"""Batches in which every clip is mixed with another one, and so are their targets (MixUp, CutMix)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from audioattn_lib.audio.augmentation.mixing import Mixed

__all__ = ["mix_batch"]


def mix_batch(
    features: Tensor,
    lengths: Tensor,
    targets: Tensor,
    mix: Callable[..., Mixed],
    alpha: float,
    n_classes: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """Mixed features ``(B, T, F)``, their lengths ``(B,)`` and shares of the targets ``(B, C)``.

    Parameters
    ----------
    features, lengths, targets
        Of a batch; targets are class numbers ``(B,)``, or 0 and 1 ``(B, C)``.
    mix
        :func:`~audioattn_lib.audio.augmentation.mixing.mix_clips` or
        :func:`~audioattn_lib.audio.augmentation.mixing.cut_and_mix_clips`.
    alpha
        Of the Beta distribution of shares, above 0.
    n_classes
        Number of classes, ``C``.

    Notes
    -----
    Draws from the global generator, which a checkpoint keeps.
    """
    mixed = mix(features, alpha, generator=torch.default_generator)
    if targets.ndim == 1:
        targets = F.one_hot(targets, n_classes).to(mixed.features.dtype)
    share = mixed.share[:, None]
    targets = share * targets + (1 - share) * targets[mixed.partner]
    return mixed.features, torch.maximum(lengths, lengths[mixed.partner]), targets
