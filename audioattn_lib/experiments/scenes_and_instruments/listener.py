"""A trained network of the chapter on scenes and instruments, as :func:`audioattn_lib.load` reads it.

Book page: ``scenes_and_instruments``.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from audioattn_lib.audio.features.kaldi_mel import KaldiMel
from audioattn_lib.audio.features.log_mel import LogMel
from audioattn_lib.models.ensemble import Ensemble
from audioattn_lib.models.frequency_transformer import FrequencyTransformer
from audioattn_lib.models.layers.input_scaling import Scaled

from ..common.listener import Answers, Listener, call_inputs
from .config import Config
from .network import build_front_end, build_network

__all__ = ["ScenesListener"]


class ScenesListener(Listener[Config]):
    """Class of a sound; the embedding of a transformer is the mean of its global tokens."""

    CONFIG: ClassVar[type[Config]] = Config
    network: Scaled | Ensemble
    front_end: LogMel | KaldiMel

    def build(self) -> tuple[Scaled | Ensemble, LogMel | KaldiMel]:
        """The network and its front end."""
        front_end = build_front_end(self.config)
        longest = self.setting("max_frames", int)
        return build_network(self.config, len(self.description.classes), longest, front_end), front_end

    @property
    def frame_period(self) -> float:
        """Seconds from one patch to the next; of the front end where there are none."""
        network = self.network.network if isinstance(self.network, Scaled) else None
        stride = network.shape.stride[1] if isinstance(network, FrequencyTransformer) else 1
        return self.description.clock[0] * stride

    def answers(self, inputs: Tensor, lengths: Tensor) -> Answers:
        """Probabilities, attention and embedding; an ensemble and a convolutional network have neither of the two."""
        network = self.network.network if isinstance(self.network, Scaled) else None
        if not isinstance(network, FrequencyTransformer):
            logits, record = self.network(inputs, lengths, record=True)
            return Answers.of_logits(logits, record, None, is_multilabel=False)
        with call_inputs(network.head) as read:
            logits, record = self.network(inputs, lengths, record=True)
        return Answers.of_logits(logits, record, read[-1], is_multilabel=False)


LISTENER = ScenesListener
