"""A trained network of the chapter on sleepiness, as :func:`audioattn_lib.load` reads it.

Book page: ``sleepiness``.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from audioattn_lib.attention.record.record import AttentionRecord, FrameClock
from audioattn_lib.audio.features.log_mel import LogMel
from audioattn_lib.audio.features.scaling import DecibelScaling
from audioattn_lib.core.declarations import shorten
from audioattn_lib.core.errors import RunError
from audioattn_lib.models.seq2seq import Seq2SeqAutoencoder

from ..common.config import read_config
from ..common.listener import Answers, Listener
from .config import Config
from .network import FeatureRegression, build_front_end, build_network

__all__ = ["SleepinessListener"]


class SleepinessListener(Listener[Config]):
    """Number predicted from the features of one or several autoencoders; of an autoencoder alone the features."""

    CONFIG: ClassVar[type[Config]] = Config
    network: Seq2SeqAutoencoder | FeatureRegression
    front_end: LogMel

    def build(self) -> tuple[Seq2SeqAutoencoder | FeatureRegression, LogMel]:
        """The autoencoder, or all with their regression, and the front end."""
        front_end, clock = build_front_end(self.config), FrameClock(*self.description.clock)
        if self.description.task == "embedding":
            self._scalings = [self._scaling(self.config, self.description.settings)]
            return build_network(self.config, clock), front_end
        each, self._scalings = [], []
        for settings in self.setting("encoders", list):
            if not isinstance(settings, dict) or not isinstance(settings.get("config"), dict):
                raise RunError(f"{self.file}: settings.encoders holds {shorten(settings)}; each needs a config")
            config = read_config(Config, settings["config"], self.file, "copy the folder again")
            each.append(build_network(config, clock))
            self._scalings.append(self._scaling(config, settings))
        sizes = [self.setting(name, int) for name in ("n_features", "n_vectors")]
        return FeatureRegression(each, *sizes), front_end

    def _scaling(self, config: Config, settings: Any) -> DecibelScaling:
        reference = settings.get("reference")
        if reference is not None and not isinstance(reference, (int, float)):
            raise RunError(f"{self.file}: reference is {shorten(reference)}; it must be decibels, or null")
        return DecibelScaling(config.top_db, reference)

    def inputs(self, waveforms: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Decibels, as they are stored; how much of their range a network sees is part of it."""
        features, n_frames = self.front_end(waveforms, lengths)
        return features.half().float() if self.config.stored == "float16" else features, n_frames

    def answers(self, inputs: Tensor, lengths: Tensor) -> Answers:
        """Number, features, and alignments of the first network that attends."""
        network = self.network
        alone = [network] if isinstance(network, Seq2SeqAutoencoder) else list(network.encoders)
        features, record = [], AttentionRecord.empty()
        for encoder, scaling in zip(alone, self._scalings, strict=True):
            assert isinstance(encoder, Seq2SeqAutoencoder)
            frames = scaling(inputs, lengths)
            features.append(encoder.extract(frames, lengths).float())
            if record.is_empty and encoder.wiring.attends:
                record = encoder(frames, lengths, record=True)[1]
        together = torch.cat(features, dim=1)
        scores = None
        if isinstance(network, FeatureRegression):
            scores = network(together).cpu().numpy().astype(np.float64)
        return Answers(record, scores=scores, embeddings=together.cpu().numpy())


LISTENER = SleepinessListener
