"""Augmentation of voices: pitch, tempo, noise.

Book page: ``accents_published``.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ...core.errors import ConfigError
from ..features.log_mel import frame_mask
from .tempo import shift_pitch, stretch_time

__all__ = ["CHANGES", "VoiceAugmentation"]

CHANGES = ("pitch", "tempo", "noise")
"""Names of the augmentations of a voice."""


@dataclass(frozen=True)
class VoiceAugmentation:
    """Augment clips, each by exactly one method, all methods with equal probability.

    Parameters
    ----------
    changes
        Names out of :data:`CHANGES`, at least one.
    probability
        Share of the clips that are changed, in [0, 1]; 0.75 as published.
    pitches
        Percent of the pitch; as published -4 to 3 sixteenths of an octave, each
        to the nearest percent (at most 8 cents off).
    tempos
        Percent of the tempo; as published from 70 to 120.
    noise
        Standard deviation of white noise, full scale 1; as published.

    Notes
    -----
    The accent system built on India et al., ICASSP 2021. Pitch and tempo are
    drawn from a list, so that clips with the same are resampled together. Book
    page: ``accents_published``.
    """

    changes: tuple[str, ...] = CHANGES
    probability: float = 0.75
    pitches: tuple[int, ...] = (84, 88, 92, 96, 100, 104, 109, 114)
    tempos: tuple[int, ...] = tuple(range(70, 121, 5))
    noise: float = 0.005

    def __post_init__(self) -> None:
        unknown = [name for name in self.changes if name not in CHANGES]
        if unknown or not self.changes or len(set(self.changes)) != len(self.changes):
            raise ConfigError(
                f"augmentation is {', '.join(self.changes) or 'empty'}; it must be some of {', '.join(CHANGES)}, "
                "each once"
            )
        if not 0 <= self.probability <= 1:
            raise ConfigError(f"probability is {self.probability}; it must be in [0, 1]")
        if self.noise < 0:
            raise ConfigError(f"noise is {self.noise}; it must be at least 0")

    def __call__(
        self,
        waveforms: Float[Tensor, "batch samples"],
        lengths: Int[Tensor, batch],
        *,
        generator: torch.Generator,
    ) -> tuple[Float[Tensor, "batch samples"], Int[Tensor, batch]]:
        """The clips, changed or not, and their samples; padded with zeros to the longest."""
        uniform = torch.rand(2, len(waveforms), generator=generator, device=generator.device)
        kinds = (uniform[1] * len(self.changes)).floor().long()
        kinds = torch.where(uniform[0] < self.probability, kinds, -1).to(waveforms.device)
        lengths = lengths.to(waveforms.device)
        groups = []
        for kind in range(-1, len(self.changes)):
            rows = (kinds == kind).nonzero()[:, 0]
            if len(rows):
                name = self.changes[kind] if kind >= 0 else ""
                groups.append((rows, *self._change(name, waveforms[rows], lengths[rows], generator)))
        result = waveforms.new_zeros(len(waveforms), max(changed.shape[1] for _, changed, _ in groups))
        samples = torch.empty_like(lengths)
        for rows, changed, count in groups:
            result[rows, : changed.shape[1]] = changed
            samples[rows] = count
        return result[:, : int(samples.max())], samples

    def _change(
        self, name: str, waveforms: Tensor, lengths: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        if name == "pitch":
            return shift_pitch(waveforms, lengths, self.pitches, generator=generator), lengths
        if name == "tempo":
            return stretch_time(waveforms, lengths, self.tempos, generator=generator)
        if name == "noise":
            noise = torch.randn(waveforms.shape, generator=generator, device=generator.device).to(waveforms)
            waveforms = waveforms + self.noise * noise
        return waveforms.masked_fill(~frame_mask(lengths, waveforms.shape[1]), 0.0), lengths
