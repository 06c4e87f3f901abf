"""Normalisation of the bands of a spectrogram at the input of a network.

Devices differ by gains of bands, which in decibels are constants added to
each band of a clip: taking each band's mean out of each clip takes them out,
and with them all else that stays the same during a clip.

Book page: ``scenes_and_instruments``.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from audioattn_lib.attention.record.record import AttentionRecord
from audioattn_lib.core.errors import ConfigError

from .common import frame_mask, masked_mean, subtract_mean

__all__ = ["BAND_NORMALIZATIONS", "BandScaling", "Scaled"]

BAND_NORMALIZATIONS = ("none", "corpus", "clip", "clip_scaled")
"""Scalings: one mean, a mean a band, a mean a band and clip, or mean and standard deviation a band and clip."""


class BandScaling(nn.Module):
    r"""Centre a spectrogram by bands or as a whole, and scale it to standard deviation 1 over the training clips.

    Parameters
    ----------
    n_mels
        Bands.
    band_normalization
        ``"none"``: subtract one number, the mean of the training clips.
        ``"corpus"``: standardise each band over the training clips.
        ``"clip"``: subtract from each band of a clip its mean over the valid
        frames, then scale by one number (frequency-wise centring).
        ``"clip_scaled"``: also divide each band of a clip by its standard deviation
        (frequency-wise normalisation).

    Notes
    -----
    :meth:`fit` or :meth:`fix` sets the numbers, which are saved with the weights. Source of
    the clip-wise ones: Primus and Widmer, *On frequency-wise
    normalizations for better recording device generalization in audio
    spectrogram transformers*, EUSIPCO 2023. Book page: ``scenes_and_instruments``.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, n_mels: int, band_normalization: str = "none") -> None:
        super().__init__()
        if band_normalization not in BAND_NORMALIZATIONS:
            raise ConfigError(
                f"band_normalization is {band_normalization!r}; it must be one of {', '.join(BAND_NORMALIZATIONS)}"
            )
        self.band_normalization = band_normalization
        self.register_buffer("mean", torch.zeros(n_mels))
        self.register_buffer("std", torch.ones(n_mels))

    @torch.no_grad()
    def fit(self, clips: Sequence[Float[Tensor, "frames mels"]]) -> None:
        """Take means and standard deviations (at least 1e-5) over all frames of the training clips."""
        frames = torch.cat([self._centre(clip[None], None)[0] for clip in clips]).double()
        if self.band_normalization == "corpus":
            self.mean.copy_(frames.mean(dim=0))
            self.std.copy_(frames.std(dim=0, correction=0).clamp(min=1e-5))
        else:
            self.mean.fill_(frames.mean())
            self.std.fill_(frames.std(correction=0).clamp(min=1e-5))

    def fix(self, mean: float, std: float) -> None:
        """Set one mean and standard deviation for all bands, such as those of published weights."""
        if not std > 0:
            raise ConfigError(f"std is {std}; it must be above 0")
        self.mean.fill_(mean)
        self.std.fill_(std)

    def forward(
        self, features: Float[Tensor, "batch frames mels"], mask: Bool[Tensor, "batch frames"] | None
    ) -> Float[Tensor, "batch frames mels"]:
        """The scaled features; padding becomes 0."""
        scaled = (self._centre(features, mask) - self.mean) / self.std
        return scaled if mask is None else scaled.masked_fill(~mask[..., None], 0.0)

    def _centre(self, features: Tensor, mask: Tensor | None) -> Tensor:
        if not self.band_normalization.startswith("clip"):
            return features
        centred = subtract_mean(features, mask)
        if self.band_normalization == "clip":
            return centred
        valid = None if mask is None else mask[..., None]
        return centred / masked_mean(centred.square(), valid, dim=1).sqrt().clamp(min=1e-5).to(centred.dtype)


class Scaled(nn.Module):
    """A network behind a scaling of its input, with the signature of all models.

    Book page: ``scenes_and_instruments``.
    """

    def __init__(self, scaling: BandScaling, network: nn.Module) -> None:
        super().__init__()
        self.scaling = scaling
        self.network = network

    def forward(
        self,
        features: Float[Tensor, "batch frames mels"],
        lengths: Int[Tensor, " batch"] | None = None,
        *,
        record: bool = False,
    ) -> tuple[Float[Tensor, "batch classes"], AttentionRecord]:
        """Compute the logits of each clip, and the record if asked for."""
        return self.network(self.scale(features, lengths), lengths, record=record)

    @property
    def frame_range(self) -> tuple[int, int | None]:
        """Fewest and most frames of a clip of an exported network."""
        limits: tuple[int, int | None] = getattr(self.network, "frame_range", (1, None))
        return limits

    def trace(
        self, features: Float[Tensor, "batch frames mels"], lengths: Int[Tensor, " batch"] | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Compute what the network's ``trace`` does: logits, and fields of the record as tensors by name."""
        return self.network.trace(self.scale(features, lengths), lengths)  # type: ignore[operator, union-attr]

    def scale(
        self, features: Float[Tensor, "batch frames mels"], lengths: Int[Tensor, " batch"] | None = None
    ) -> Float[Tensor, "batch frames mels"]:
        """Scale a spectrogram to the input of the network."""
        return self.scaling(features, frame_mask(lengths, features.shape[1], features.device))
