"""Changes that leave the label true, made in batch on the device.

Every function draws from the ``torch.Generator`` it is given and from nothing
else: the same generator state gives the same result. What a generator on the
host draws does not depend on the device of the sound.

Book page: ``data``.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..core.errors import ConfigError
from .features import frame_mask

__all__ = ["add_noise", "change_gain", "mask_features"]

_SILENCE = 1e-10


def change_gain(
    waveforms: Float[Tensor, "batch samples"], low: float, high: float, *, generator: torch.Generator
) -> Float[Tensor, "batch samples"]:
    """Multiply each clip by a gain drawn evenly from ``[low, high]`` dB.

    Raises
    ------
    ConfigError
        When ``low`` is above ``high``.

    Notes
    -----
    Book page: ``data``.
    """
    decibels = _draw(len(waveforms), low, high, "gain", generator)
    return waveforms * (10.0 ** (decibels / 20.0)).to(waveforms)[:, None]


def add_noise(
    waveforms: Float[Tensor, "batch samples"],
    lengths: Int[Tensor, batch] | None,
    low: float,
    high: float,
    *,
    generator: torch.Generator,
    noise: Float[Tensor, "batch samples"] | None = None,
) -> Float[Tensor, "batch samples"]:
    r"""Add noise at a ratio of signal to noise drawn evenly from ``[low, high]`` dB.

    .. math:: y = x + n\,\sqrt{\frac{\overline{x^2}}{\overline{n^2}\,10^{\mathrm{SNR}/10}}}

    Parameters
    ----------
    waveforms, lengths
        Clips and their samples; powers are means over the valid samples, padding stays 0. None: all are valid.
    low, high
        Decibels.
    generator
        Source of chance.
    noise
        Noise to add, of the shape of ``waveforms``; white Gaussian noise by default. A silent clip stays silent.

    Raises
    ------
    ConfigError
        When ``low`` is above ``high``.

    Notes
    -----
    Book page: ``data``.
    """
    ratio = _draw(len(waveforms), low, high, "signal-to-noise ratio", generator).to(waveforms)
    if noise is None:
        noise = torch.randn(waveforms.shape, generator=generator, device=generator.device).to(waveforms)
    elif noise.shape != waveforms.shape:
        raise ValueError(
            f"noise has shape {tuple(noise.shape)}; it must have that of waveforms, {tuple(waveforms.shape)}"
        )
    valid = _valid(waveforms, lengths)
    count = valid.sum(dim=1)
    signal_power = (waveforms.square() * valid).sum(dim=1) / count
    noise_power = (noise.square() * valid).sum(dim=1) / count
    scale = (signal_power / noise_power.clamp(min=_SILENCE) * 10.0 ** (-ratio / 10.0)).sqrt()
    return waveforms + noise * valid * scale[:, None]


def mask_features(
    features: Float[Tensor, "batch frames bands"],
    lengths: Int[Tensor, batch] | None = None,
    *,
    time_masks: int = 2,
    time_width: int = 40,
    time_share: float = 0.2,
    band_masks: int = 2,
    band_width: int = 20,
    generator: torch.Generator,
) -> Float[Tensor, "batch frames bands"]:
    """Replace stretches of time and bands of frequency by the mean of their clip (SpecAugment).

    Parameters
    ----------
    features, lengths
        Features ``(B, T, F)`` and the valid frames of each clip; None: all are valid.
    time_masks, band_masks
        How many masks of each sort, at least 0.
    time_width, band_width
        Largest mask, in frames and bands, at least 0; each is drawn evenly from 0 to it.
    time_share
        No time mask covers more than this share of its clip, in [0, 1].
    generator
        Source of chance.

    Returns
    -------
    Tensor
        Padding stays as it was.

    Notes
    -----
    Park et al., *SpecAugment*, Interspeech 2019. The mean of the clip, not 0,
    since 0 dB is a level like any other unless features are normalised.

    Book page: ``data``.
    """
    for name, number in (
        ("time_masks", time_masks),
        ("time_width", time_width),
        ("band_masks", band_masks),
        ("band_width", band_width),
    ):
        if number < 0:
            raise ConfigError(f"{name} is {number}; it must be at least 0")
    if not 0 <= time_share <= 1:
        raise ConfigError(f"time_share is {time_share}; it must be in [0, 1]")
    batch, frames, bands = features.shape
    device = features.device
    n_frames = torch.full((batch,), frames, device=device) if lengths is None else lengths.to(device)
    longest = (n_frames * time_share).clamp(max=time_width)
    hidden = _stripes(n_frames, longest, time_masks, frames, generator)[:, :, None]
    all_bands = torch.full((batch,), bands, device=device)
    hidden = hidden | _stripes(all_bands, all_bands.clamp(max=band_width), band_masks, bands, generator)[:, None, :]
    valid = frame_mask(n_frames, frames)[..., None]
    mean = (features * valid).sum(dim=(1, 2), keepdim=True) / (n_frames * bands)[:, None, None]
    return torch.where(hidden & valid, mean.to(features.dtype), features)


def _stripes(sizes: Tensor, widths: Tensor, count: int, size: int, generator: torch.Generator) -> Tensor:
    """True inside of ``count`` stripes a row, each of a width up to ``widths`` and within ``sizes``: ``(B, size)``."""
    chance = torch.rand(2, len(sizes), count, generator=generator, device=generator.device).to(sizes.device)
    # Whole numbers from 0 to widths, then from 0 to what is left of the row.
    width = (chance[0] * (widths[:, None].floor() + 1)).floor()
    start = (chance[1] * (sizes[:, None] - width + 1)).floor()
    position = torch.arange(size, device=sizes.device)
    return ((position >= start[..., None]) & (position < (start + width)[..., None])).any(dim=1)


def _draw(count: int, low: float, high: float, what: str, generator: torch.Generator) -> Tensor:
    if not low <= high:
        raise ConfigError(f"the {what} lies between {low} and {high} dB; the first must not be above the second")
    return low + (high - low) * torch.rand(count, generator=generator, device=generator.device)


def _valid(waveforms: Tensor, lengths: Tensor | None) -> Tensor:
    if lengths is None:
        return torch.ones_like(waveforms, dtype=torch.bool)
    return frame_mask(lengths.to(waveforms.device), waveforms.shape[1])
