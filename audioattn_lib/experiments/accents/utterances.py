"""Utterances as networks hear them: every band normalised over the whole utterance, before a window is cut."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from audioattn_lib.models.layers.common import at_least_float32, frame_mask, masked_mean

from .config import Config

__all__ = ["Normalisation", "normalise"]


@dataclass(frozen=True)
class Normalisation:
    """Network input of features: in natural logarithms of magnitudes, and normalised over all frames of a clip.

    Scores of heads are products of values with queries, and a softmax of values in decibels looks at one frame alone.

    Parameters
    ----------
    name
        See :func:`normalise`.
    decibels
        Whether features are in decibels; the published ones are in natural logarithms already.
    """

    name: str
    decibels: bool

    @classmethod
    def of(cls, config: Config) -> Self:
        """That of a configuration."""
        return cls(config.band_normalization, config.features == "decibels")

    def __call__(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Features ``(B, T, F)`` with padding of 0, and the same lengths ``(B,)``."""
        unit = math.log(10) / 20 if self.decibels else 1.0
        return normalise(features * unit, lengths, self.name), lengths


def normalise(features: Tensor, lengths: Tensor, how: str) -> Tensor:
    """Mean of each band over the valid frames removed (``cmn``), and divided by its standard deviation (``cmvn``).

    Bands whose standard deviation is at most 0.01 are not divided, as published. Padding becomes 0.
    """
    if how == "none":
        return features
    mask = frame_mask(lengths, features.shape[1], features.device)
    valid = None if mask is None else mask[..., None]
    x = at_least_float32(features)
    x = x - masked_mean(x, valid, dim=1)
    if how == "cmvn":
        std = masked_mean(x.square(), valid, dim=1).sqrt()
        x = x / torch.where(std > 0.01, std, 1.0)
    return x if valid is None else x.masked_fill(~valid, 0.0)
