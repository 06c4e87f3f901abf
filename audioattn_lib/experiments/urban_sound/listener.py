"""A trained network of the chapter on urban sounds, as :func:`audioattn_lib.load` reads it.

Book page: ``urban_sound``.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from audioattn_lib.attention.record.record import FrameClock
from audioattn_lib.audio.features.log_mel import LogMel
from audioattn_lib.models.acrnn import ACRNN
from audioattn_lib.models.ecapa import ECAPATDNN

from ..common.frames.averaged import AveragedFrames
from ..common.frames.encoder import PretrainedFrames
from ..common.listener import Answers, Listener, call_inputs
from .config import Config
from .network import build_front_end, build_network

__all__ = ["UrbanListener"]


class UrbanListener(Listener[Config]):
    """Classes or labels of a sound; the embedding is what the classifier reads."""

    CONFIG: ClassVar[type[Config]] = Config
    network: ACRNN | ECAPATDNN

    def build(self) -> tuple[ACRNN | ECAPATDNN, LogMel | PretrainedFrames | AveragedFrames]:
        """The network and its front end."""
        clock, front_end = FrameClock(*self.description.clock), build_front_end(self.config)
        classes = len(self.description.classes)
        return build_network(self.config, classes, clock, n_features=front_end.n_mels), front_end

    def answers(self, inputs: Tensor, lengths: Tensor) -> Answers:
        """Probabilities, attention and embedding."""
        with call_inputs(self.network.classifier) as read:
            logits, record = self.network(inputs, lengths, record=True)
        return Answers.of_logits(logits, record, read[-1], is_multilabel=self.is_multilabel)


LISTENER = UrbanListener
