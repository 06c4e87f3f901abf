"""A trained network of the chapter on accents, as :func:`audioattn_lib.load` reads it.

Book page: ``accents``.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from audioattn_lib.attention.record.record import FrameClock
from audioattn_lib.audio.features.log_mel import LogMel
from audioattn_lib.audio.features.magnitude_mel import MagnitudeMel
from audioattn_lib.models.embedding import EmbeddingNetwork

from ..common.listener import Answers, Listener
from .config import Config
from .embedder import Embedder
from .network import build_network, build_sound_front_end
from .utterances import Normalisation

__all__ = ["AccentsListener"]


class AccentsListener(Listener[Config]):
    """Class of an utterance, and its embedding, compared by its direction."""

    CONFIG: ClassVar[type[Config]] = Config
    network: EmbeddingNetwork
    front_end: LogMel | MagnitudeMel

    def build(self) -> tuple[EmbeddingNetwork, LogMel | MagnitudeMel]:
        """The network and its front end."""
        config = self.config
        network = build_network(config, len(self.description.classes), FrameClock(*self.description.clock))
        return network, build_sound_front_end(config.features, config.sample_rate, config.n_mels)

    @property
    def frame_period(self) -> float:
        """Seconds from one frame that is pooled to the next."""
        return self.network.clock.period

    def inputs(self, waveforms: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Features normalised over the whole utterance."""
        return Normalisation.of(self.config)(*self.front_end(waveforms, lengths))

    def traced(self) -> Embedder:
        """The network with the normalisation in front of it."""
        return Embedder(self.network, self.front_end, self.config.band_normalization).eval()

    def answers(self, inputs: Tensor, lengths: Tensor) -> Answers:
        """Probabilities, attention and embedding."""
        embeddings, record = self.network.embed(inputs, lengths, record=True)
        return Answers.of_logits(self.network.classify(embeddings), record, embeddings, is_multilabel=False)


LISTENER = AccentsListener
