"""A trained network of the chapter on playback, as :func:`audioattn_lib.load` reads it.

Book page: ``playback``.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from audioattn_lib.attention.record.record import AttentionRecord, FrameClock
from audioattn_lib.audio.features.log_mel import LogMel
from audioattn_lib.core.errors import ConfigError, RunError
from audioattn_lib.models.layers.label_loss import label_probabilities
from audioattn_lib.models.playback.network import Playback
from audioattn_lib.models.playback.outputs import Tasks

from ..common.listener import Answers, Listener, call_inputs
from .config import Config
from .corpus import build_front_end
from .tasks import join_log_probabilities
from .trace import hear
from .training import build_network

__all__ = ["PlaybackListener", "describe_segments"]


class PlaybackListener(Listener[Config]):
    """Classes, labels or tasks of a sound, and what was played back; the network reads waveforms."""

    CONFIG: ClassVar[type[Config]] = Config
    network: Playback
    front_end: LogMel

    def build(self) -> tuple[Playback, LogMel]:
        """The network, and its front end at the first hop."""
        config, tasks = self.config, None
        if self.description.task == "tasks":
            names, sizes = self.setting("tasks", list), self.setting("sizes", list)
            try:
                tasks = Tasks(tuple(map(str, names)), tuple(map(int, sizes)))
            except (ConfigError, TypeError, ValueError) as error:
                raise RunError(f"{self.file}: settings.tasks and sizes do not fit ({error})") from None
        n_classes = len(self.description.classes)
        network = build_network(config, n_classes, is_multilabel=self.is_multilabel, tasks=tasks)
        return network, build_front_end(config, stages=1)[0]

    def traced(self) -> Playback:
        """The network, which hears a sound whole.

        Raises
        ------
        ConfigError
            Of a run that averages over crops, or whose encoder is another program's.
        """
        config = self.config
        if config.window_samples:
            raise ConfigError(
                f"{self.file}: clip_seconds is {config.clip_seconds}, so a sound is heard in crops, which cannot be "
                "exported; runs with clip_seconds 0 can be"
            )
        if config.size.startswith("mvit"):
            raise ConfigError(f"{self.file}: size is {config.size}, which cannot be exported; small encoders can be")
        return self.network

    def inputs(self, waveforms: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """The waveforms themselves: the network transforms them at each hop."""
        return waveforms, lengths

    def answers(self, inputs: Tensor, lengths: Tensor) -> Answers:
        """Probabilities after each hearing, and the parts that were played back."""
        config, network = self.config, self.network
        if config.selection == "oracle":
            raise ConfigError(
                f"{self.file}: selection is oracle; it plays back where events are known to be, which no new sound "
                "says. Use a run with selection slots, energy or random"
            )
        with call_inputs(network.decoder.classifier) as read:
            outputs = hear(network, inputs, lengths, window=config.window_samples, views=config.views)
        each = len(read) // config.views
        # the classifier reads the state after each hearing, and then perhaps what is fused of them
        views = [read[first + config.stages - 1] for first in range(0, len(read), each)]
        stages = outputs["stage_logits"].copy()
        stages[:, -1] = outputs["logits"]
        answers = np.stack([self._probabilities(stages[:, stage]) for stage in range(config.stages)], axis=1)
        record = AttentionRecord.empty()
        if config.stages > 1:
            record = describe_segments(config.selection, self.front_end, lengths.cpu(), outputs["segments"])
        return Answers(
            record,
            probabilities=answers[:, -1],
            embeddings=torch.stack(views).mean(dim=0).float().cpu().numpy(),
            stages=answers,
        )

    def label(self, probabilities: NDArray[np.floating[Any]]) -> str:
        """As of all models; of several tasks the class of each, joined by a space."""
        tasks = self.network.tasks
        if tasks is None:
            return super().label(probabilities)
        ends = np.cumsum(tasks.sizes)
        best = [
            end - size + int(probabilities[end - size : end].argmax())
            for end, size in zip(ends, tasks.sizes, strict=True)
        ]
        return " ".join(self.description.classes[row].partition(":")[2] for row in best)

    def _probabilities(self, logits: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
        values, tasks = torch.as_tensor(logits), self.network.tasks
        if tasks is not None:
            return join_log_probabilities(tasks, values).exp().numpy()
        return label_probabilities(values, self.is_multilabel).numpy()


def describe_segments(
    selection: str, front_end: LogMel, lengths: Tensor, segments: NDArray[np.floating[Any]]
) -> AttentionRecord:
    """Record of what was played back.

    Parameters
    ----------
    selection
        Name of the choice.
    front_end
        Of the first hearing.
    lengths
        Samples of each clip.
    segments
        Seconds, NaN where there are fewer, shape ``(clips, playbacks, parts, 2)``.
    """
    return AttentionRecord(
        mechanism=selection,
        clock=FrameClock(*front_end.clock),
        n_frames=front_end.count_frames(lengths).numpy(),
        segments=segments.reshape(len(segments), -1, 2),
    )


LISTENER = PlaybackListener
