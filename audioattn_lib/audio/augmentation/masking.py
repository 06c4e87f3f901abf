"""SpecAugment on features, in batch on the device.

It draws from the ``torch.Generator`` it is given and from nothing else: the same
generator state gives the same result. What a generator on the host draws does
not depend on the device of the features.

Book page: ``data``.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ...core.errors import ConfigError
from ..features.log_mel import frame_mask

__all__ = ["mask_features"]


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
        Random number generator.

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
    uniform = torch.rand(2, len(sizes), count, generator=generator, device=generator.device).to(sizes.device)
    # Whole numbers from 0 to widths, then from 0 to what is left of the row.
    width = (uniform[0] * (widths[:, None].floor() + 1)).floor()
    start = (uniform[1] * (sizes[:, None] - width + 1)).floor()
    position = torch.arange(size, device=sizes.device)
    return ((position >= start[..., None]) & (position < (start + width)[..., None])).any(dim=1)
