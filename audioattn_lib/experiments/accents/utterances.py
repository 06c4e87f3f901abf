"""Utterances as networks hear them: every band normalised over the whole utterance, before a window is cut."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from typing import Self

import torch
from torch import Tensor

from audioattn_lib.data.loading.batches import Batch, BatchLoader
from audioattn_lib.data.loading.waveforms import SoundLoader
from audioattn_lib.data.loading.windows import SampledLoader
from audioattn_lib.models.layers.common import at_least_float32, frame_mask, masked_mean

__all__ = ["Normalised", "NormalisedSample", "NormalisedSounds", "normalise"]


class Normalised(BatchLoader):
    """Batches of utterances whose bands are normalised over all their frames, before any window is cut.

    Decibels become natural logarithms of magnitudes, as the published features are: scores of heads are products of
    values with queries, and a softmax of values in decibels looks at one frame alone.
    """

    normalisation, unit = "cmn", 1.0

    def of(self, normalisation: str, *, decibels: bool) -> Self:
        """The same loader with a normalisation of :func:`normalise`, for features in decibels or the published unit."""
        self.normalisation = normalisation
        self.unit = math.log(10) / 20 if decibels else 1.0
        return self

    def epoch(self, number: int, start: int = 0) -> Iterator[Batch]:
        for batch in super().epoch(number, start):
            features = normalise(batch.features * self.unit, batch.lengths, self.normalisation)
            yield dataclasses.replace(batch, features=features)


class NormalisedSample(Normalised, SampledLoader):
    """The same of a sample of the utterances in every epoch."""


class NormalisedSounds(Normalised, SoundLoader):
    """The same of sounds that are changed in every epoch."""


def normalise(features: Tensor, lengths: Tensor, how: str) -> Tensor:
    """Mean of each band over the valid frames removed (``cmn``), and divided by its deviation (``cmvn``).

    Bands whose deviation is at most 0.01 are not divided, as published. Padding becomes 0.
    """
    if how == "none":
        return features
    mask = frame_mask(lengths, features.shape[1], features.device)
    valid = None if mask is None else mask[..., None]
    x = at_least_float32(features)
    x = x - masked_mean(x, valid, dim=1)
    if how == "cmvn":
        deviation = masked_mean(x.square(), valid, dim=1).sqrt()
        x = x / torch.where(deviation > 0.01, deviation, 1.0)
    return x if valid is None else x.masked_fill(~valid, 0.0)
