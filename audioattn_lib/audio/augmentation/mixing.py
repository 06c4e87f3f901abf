"""Augmentation that mixes clips or the responses of their devices, in batch on the device.

Every function draws from the ``torch.Generator`` it is given and from nothing
else, as those of :mod:`.augmentation`.

Book page: ``data``.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ...core.errors import ConfigError
from ..features.log_mel import frame_mask

__all__ = ["Mixed", "apply_impulse_responses", "cut_and_mix_clips", "mix_band_statistics", "mix_clips"]

_SMALLEST = 1e-5


class Mixed(NamedTuple):
    """Mixed features, the partner of each clip, and the share of the clip itself."""

    features: Float[Tensor, "batch frames bands"]
    partner: Int[Tensor, " batch"]
    share: Float[Tensor, " batch"]


def mix_clips(
    features: Float[Tensor, "batch frames bands"], alpha: float = 0.3, *, generator: torch.Generator
) -> Mixed:
    r"""Mix each clip with another of the batch: :math:`\lambda x_i + (1 - \lambda) x_j`.

    :math:`\lambda \sim \mathrm{Beta}(\alpha, \alpha)` for each clip, or one minus
    it where that is more, so that a clip stays mostly itself. The loss is
    mixed likewise: :math:`\lambda` times that of the clip's own label and
    :math:`1 - \lambda` times that of its partner's.

    Parameters
    ----------
    features
        Padding mixes as it is; give clips of one length, or masked losses.
    alpha
        Above 0; the larger, the more even.
    generator
        Random number generator.

    Notes
    -----
    Zhang et al., *mixup: Beyond empirical risk minimization*, ICLR 2018; on
    spectrograms with the larger share first as in Koutini et al., Interspeech
    2022. Book page: ``data``.
    """
    share = _beta(len(features), alpha, generator)
    share = torch.maximum(share, 1 - share).to(features)
    partner = torch.randperm(len(features), generator=generator, device=generator.device).to(features.device)
    weight = share[:, None, None]
    return Mixed(weight * features + (1 - weight) * features[partner], partner, share)


def cut_and_mix_clips(
    features: Float[Tensor, "batch frames bands"], alpha: float = 1.0, *, generator: torch.Generator
) -> Mixed:
    r"""Put a stretch of another clip of the batch into each clip, at the same time (CutMix).

    The stretch lasts :math:`1 - \lambda` of the frames, with
    :math:`\lambda \sim \mathrm{Beta}(\alpha, \alpha)` for each clip, or one minus it
    where that is more, and lies anywhere. The loss is mixed as in
    :func:`mix_clips`, by the shares of frames that were really taken.

    Parameters
    ----------
    features
        Samples of a sound are features of one column. Padding moves as it is:
        give clips of one length.
    alpha
        Above 0; the larger, the more even.
    generator
        Random number generator.

    Notes
    -----
    Yun et al., *CutMix: regularization strategy to train strong classifiers with
    localizable features*, ICCV 2019, along time alone, so that whatever hears the
    clip again at another hop meets the same mixture. Book page: ``playback``.
    """
    frames = features.shape[1]
    share = _beta(len(features), alpha, generator)
    cut_length = ((1 - torch.maximum(share, 1 - share)) * frames).round().long()
    first = torch.rand(len(features), generator=generator, device=generator.device, dtype=torch.float64).cpu()
    first = (first * (frames - cut_length + 1)).long()
    partner = torch.randperm(len(features), generator=generator, device=generator.device).to(features.device)
    positions = torch.arange(frames)
    inside = (positions >= first[:, None]) & (positions < (first + cut_length)[:, None])
    mixed = torch.where(inside.to(features.device)[..., None], features[partner], features)
    return Mixed(mixed, partner, (1 - cut_length / frames).to(features))


def mix_band_statistics(
    features: Float[Tensor, "batch frames bands"],
    lengths: Int[Tensor, batch] | None = None,
    alpha: float = 0.3,
    probability: float = 0.7,
    *,
    generator: torch.Generator,
) -> Float[Tensor, "batch frames bands"]:
    r"""Mix mean and standard deviation of each band with those of another clip (Freq-MixStyle).

    .. math:: y = \frac{x - \mu_i}{\sigma_i}\,\bigl(\lambda \sigma_i + (1 - \lambda) \sigma_j\bigr)
       + \lambda \mu_i + (1 - \lambda) \mu_j

    with mean and deviation of each band over the valid frames, and
    :math:`\lambda \sim \mathrm{Beta}(\alpha, \alpha)`. Labels stay: what a device
    does to bands is mixed, not the sound.

    Parameters
    ----------
    features, lengths
        Features and the valid frames of each clip; None: all are valid.
    alpha
        Above 0.
    probability
        Share of the batches that are changed, in [0, 1].
    generator
        Random number generator.

    Notes
    -----
    Zhou et al., *Domain generalization with MixStyle*, ICLR 2021, over the
    frequency axis as in Schmid et al., *Knowledge distillation from
    transformers for low-complexity acoustic scene classification*, DCASE 2022.
    Book page: ``data``.
    """
    if not 0 <= probability <= 1:
        raise ConfigError(f"probability is {probability}; it must be in [0, 1]")
    share = _beta(len(features), alpha, generator).to(features)[:, None, None]
    partner = torch.randperm(len(features), generator=generator, device=generator.device).to(features.device)
    if torch.rand((), generator=generator, device=generator.device) >= probability:
        return features
    frames = features.shape[1]
    count = (
        torch.full((len(features),), frames, device=features.device) if lengths is None else lengths.to(features.device)
    )
    valid = frame_mask(count, frames)[..., None]
    n = count[:, None, None].to(features.dtype)
    mean = (features * valid).sum(dim=1, keepdim=True) / n
    std = (((features - mean) * valid).square().sum(dim=1, keepdim=True) / n).sqrt().clamp(min=_SMALLEST)
    new_mean = share * mean + (1 - share) * mean[partner]
    new_std = share * std + (1 - share) * std[partner]
    return torch.where(valid, (features - mean) / std * new_std + new_mean, features)


def apply_impulse_responses(
    waveforms: Float[Tensor, "batch samples"],
    responses: Float[Tensor, "devices taps"],
    probability: float = 0.5,
    *,
    generator: torch.Generator,
) -> Float[Tensor, "batch samples"]:
    r"""Record clips with other devices: convolve with an impulse response drawn evenly, :math:`y = x * h_d`.

    Parameters
    ----------
    waveforms
        Clips; padding of zeros takes up the tail of the response, what is
        longer is cut off.
    responses
        One impulse response a device, padded with zeros. Their levels are kept.
    probability
        Share of the clips that are changed, in [0, 1].
    generator
        Random number generator.

    Notes
    -----
    Morocutti et al., *Device-robust acoustic scene classification via impulse
    response augmentation*, EUSIPCO 2023. Book page: ``data``.
    """
    if not 0 <= probability <= 1:
        raise ConfigError(f"probability is {probability}; it must be in [0, 1]")
    if responses.ndim != 2 or not responses.numel():
        raise ValueError(f"responses have shape {tuple(responses.shape)}; they must be (devices, taps)")
    batch, samples = waveforms.shape
    device = torch.randint(len(responses), (batch,), generator=generator, device=generator.device)
    is_mixed = torch.rand(batch, generator=generator, device=generator.device) < probability
    taps = responses.to(waveforms)[device.to(waveforms.device)]
    size = samples + taps.shape[1] - 1
    changed = torch.fft.irfft(torch.fft.rfft(waveforms, size) * torch.fft.rfft(taps, size), size)[:, :samples]
    return torch.where(is_mixed.to(waveforms.device)[:, None], changed, waveforms)


def _beta(count: int, alpha: float, generator: torch.Generator) -> Tensor:
    """Draw from Beta(alpha, alpha) with a generator, which torch's own sampler does not take."""
    if not alpha > 0:
        raise ConfigError(f"alpha is {alpha}; it must be above 0")
    seed = int(torch.randint(2**31, (), generator=generator, device=generator.device))
    return torch.from_numpy(np.random.default_rng(seed).beta(alpha, alpha, count))
