"""Attention of a pretrained network of Hugging Face's ``transformers`` over any sound.

Book page: ``your_sounds``.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from audioattn_lib.attention.record.record import AttentionRecord, FrameClock
from audioattn_lib.core.errors import AudioError, ConfigError
from audioattn_lib.display.players.player import Player
from audioattn_lib.display.show import Intervals, show
from audioattn_lib.inspection.capture import CapturedAttention, capture
from audioattn_lib.inspection.known_models import tokens_of
from audioattn_lib.inspection.pretrained import WHISPER, load_encoder
from audioattn_lib.inspection.reductions import find_sinks
from audioattn_lib.inspection.tokens import PatchTokens, TimeTokens

from ..sources import Sound, as_source

__all__ = ["AttendedSound", "PretrainedAttention", "load_pretrained_attention"]

_SPECTROGRAM_TRANSFORMER = "audio-spectrogram-transformer"
_MOST_SAMPLES = 60 * 16000
"""Of models without a longest input: the weights grow with the square of the length."""
_MOST_FRAMES_OF_A_HEAD = 600


@dataclass(frozen=True)
class AttendedSound:
    """Attention of every layer over one sound.

    Attributes
    ----------
    name
        Path of the sound.
    samples, sample_rate
        The sound as the model heard it, mono.
    layers
        Record of each layer by its name in ``named_modules()``, a weight for each head and frame: attention that each
        token receives.
    rollout
        Rollout of all layers, the mean over the queries.
    sinks
        Tokens that take much of a layer's attention in this sound and in noise as long and as loud, and their share in
        both; see :func:`~audioattn_lib.inspection.reductions.find_sinks`.
    """

    name: str
    samples: NDArray[np.float32]
    sample_rate: int
    layers: dict[str, AttentionRecord]
    rollout: AttentionRecord
    sinks: dict[str, list[tuple[int, float]]]

    @property
    def duration(self) -> float:
        """Seconds of the sound."""
        return len(self.samples) / self.sample_rate

    @property
    def peak(self) -> float:
        """Second at which the rollout is highest, within the sound: padding behind it does not count."""
        times = self.rollout.frame_times()
        heights = np.where(times < self.duration, self.rollout.frame_attention(), -1.0)
        return float(times[heights.argmax()])

    def player(self, heads: bool = False, *, title: str = "", labels: Intervals = None) -> Player:
        """The sound with the attention of each layer and the rollout, chosen by buttons.

        Parameters
        ----------
        heads
            Choose layer and head with two sliders instead; head 0 is the mean of all, and behind the last layer is the
            rollout. Where there are more than 600 frames, as many of them are added up that a page of 144 heads stays
            below 2 MB.
        title
            Text above; the name of the file by default.
        labels
            Words or events over the spectrogram, as :func:`~audioattn_lib.display.show` takes them.
        """
        title = title or Path(self.name).stem
        layers = {f"Layer {number}": record for number, record in enumerate(self.layers.values(), start=1)}
        if not heads:
            return self._show(layers | {"Rollout": self.rollout}, title, labels=labels)
        counts = {_heads(record) for record in layers.values()}
        if len(counts) > 1:
            raise ConfigError(f"layers have {sorted(counts)} heads; choose layers, without heads")
        n_heads = counts.pop()
        records = {
            f"{name}, head {head}" if head else name: _coarser(_head(record, head))
            for name, record in layers.items()
            for head in range(n_heads + 1)
        }
        rollout = _coarser(self.rollout)
        records |= {
            f"Rollout; it joins all heads, head {head} changes nothing" if head else "Rollout": rollout
            for head in range(n_heads + 1)
        }
        sliders = {"Layer": [*range(1, len(layers) + 1), "rollout"], "Head": list(range(n_heads + 1))}
        return self._show(records, title, labels=labels, sliders=sliders)

    def _show(self, records: dict[str, AttentionRecord], title: str, **options: Any) -> Player:
        overlay: dict[str, Any] = {"curve" if self.rollout.maps is None else "map": records}
        return show(self.samples, self.sample_rate, title=title, caption=self._caption(), **overlay, **options)

    def _caption(self) -> str:
        if not self.sinks:
            return "Attention that each token receives."
        sinks = "; ".join(
            f"layer {number} token {', '.join(f'{token} ({100 * share:.1f} %)' for token, share in self.sinks[name])}"
            for number, name in enumerate(self.layers, start=1)
            if name in self.sinks
        )
        return f"Attention that each token receives. Sinks, which take attention whatever is in the clip: {sinks}."


@dataclass(frozen=True)
class PretrainedAttention:
    """A pretrained encoder, what prepares its input, and the clock of its tokens.

    Attributes
    ----------
    name
        Identifier or folder.
    kind
        Its ``model_type``.
    encoder
        Network in evaluation mode.
    extractor
        Feature extractor of ``transformers``.
    tokens
        Time, and frequency, of the tokens.
    whole
        Network of which ``encoder`` is a part, or ``encoder`` itself: of a whole Whisper with its decoder.
    """

    name: str
    kind: str
    encoder: nn.Module
    extractor: Any
    tokens: TimeTokens | PatchTokens
    whole: nn.Module

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes of a classifier, in the order of its scores; none of an encoder."""
        if not hasattr(self.encoder, "classifier"):
            return ()
        config: Any = self.encoder.config
        named = config.id2label
        return tuple(str(named[number]) for number in sorted(named))

    def attend(self, sound: Sound, sample_rate: int | None = None) -> AttendedSound:
        """Hear a sound, resampled to the rate of the model and mixed to mono, and take the attention over it.

        Parameters
        ----------
        sound
            Path of a file; or samples with their rate, as :meth:`.model.Model.listen` takes them.
        sample_rate
            Hertz of samples; that of a file is known.

        Raises
        ------
        AudioError
            When the sound cannot be read, or is longer or shorter than what the model takes; the message says how much.
        """
        name, samples = self._heard(sound, sample_rate)
        # a token that takes as much attention in noise does so whatever is in the sound
        noise = np.random.default_rng(0).standard_normal(len(samples)).astype(np.float32)
        noise *= float(np.sqrt(np.mean(np.square(samples)))) or 1e-3
        with torch.no_grad(), capture(self.encoder, received=True) as in_noise:
            self.encoder(self._prepared([noise]))
        with torch.no_grad(), capture(self.encoder) as captured:
            self.encoder(self._prepared([samples]))
        both = {
            layer: torch.cat([weights.mean(2, keepdim=True), in_noise.weights[layer]])
            for layer, weights in captured.weights.items()
        }
        return self._attended(name, samples, int(self.extractor.sampling_rate), captured, find_sinks(both))

    def reduce(
        self, sound: Sound, sample_rate: int | None = None, *, query: int | None = None
    ) -> dict[str, AttentionRecord]:
        """Reductions of the attention over one sound, by name, for ``show(sound, curve=...)`` or ``map=...``.

        Parameters
        ----------
        sound, sample_rate
            As in :meth:`attend`.
        query
            Token whose row is taken, such as 0 for a class token; None takes the mean over all.

        Returns
        -------
        dict
            ``received`` and ``value_norm`` of the last layer and the rollout of all; of a classifier ``gradient`` of
            the last layer and ``relevance`` of all too, for the class that it answers. With a query, its row in the
            last layer is the first. They end where the sound ends: padding behind it, which may have much of the
            attention, is left away.

        Raises
        ------
        AudioError
            As :meth:`attend`.
        """
        name, samples = self._heard(sound, sample_rate)
        explained = bool(self.classes)
        with torch.set_grad_enabled(explained), capture(self.encoder, gradients=explained, values=True) as captured:
            inputs = self._prepared([samples]).requires_grad_(explained)
            output = self.encoder(inputs)
            if explained:  # with respect to the input: the weights of the network get no gradients
                torch.autograd.grad(output.logits.max(), inputs)
        about: dict[str, Any] = {"clips": [name], "durations": [len(samples) / int(self.extractor.sampling_rate)]}
        reductions = [*(["query"] if query is not None else []), "received", "value_norm", "rollout"]
        reductions += ["gradient", "relevance"] if explained else []
        seconds = about["durations"][0]
        return {
            each: _cut(captured.record(self.tokens, reduction=each, query=query, **about), seconds)
            for each in reductions
        }

    def answers(self, sounds: Sequence[Sound]) -> list[tuple[str, float]]:
        """Most probable class of each sound, and its probability.

        Parameters
        ----------
        sounds
            As in :meth:`inputs`.

        Raises
        ------
        ConfigError
            When the network is no classifier.
        """
        if not self.classes:
            raise ConfigError(f"{self.name} has no classes; {type(self.encoder).__name__} gives no scores")
        config: Any = self.encoder.config
        with torch.no_grad():
            scores = self.encoder(self.inputs(sounds)).logits
        is_multilabel = config.problem_type == "multi_label_classification"
        best = (scores.sigmoid() if is_multilabel else scores.softmax(1)).max(1)
        return [
            (self.classes[number], value)
            for number, value in zip(best.indices.tolist(), best.values.tolist(), strict=True)
        ]

    def inputs(self, sounds: Sequence[Sound]) -> Tensor:
        """Input of the network for several sounds, on its device, as ``extractor`` makes it.

        Parameters
        ----------
        sounds
            Files, or pairs of samples and their rate. Without an input of fixed length, as that of wav2vec 2.0, they
            are of one length.

        Returns
        -------
        Tensor
            Spectrograms, shape ``(clips, frames, bands)`` for the spectrogram transformer, ``(clips, bands, frames)``
            for Whisper; samples, ``(clips, samples)``, for the others.

        Raises
        ------
        AudioError
            As :meth:`attend`, and when lengths differ that must not.
        """
        waveforms = [self._heard(sound) for sound in sounds]
        lengths = {len(samples) for _, samples in waveforms}
        if len(lengths) > 1 and self.kind not in (WHISPER, _SPECTROGRAM_TRANSFORMER):
            raise AudioError(
                f"sounds have {min(lengths)} to {max(lengths)} samples; {self.kind} takes one length a call"
            )
        return self._prepared([samples for _, samples in waveforms])

    def _heard(self, sound: Sound, sample_rate: int | None = None) -> tuple[str, NDArray[np.float32]]:
        source = as_source(sound, sample_rate)
        rate = int(self.extractor.sampling_rate)
        samples = source.read(rate)
        longest, shortest = self._limits(rate)
        if not shortest <= len(samples) <= longest:
            raise AudioError(
                f"{source.name}: {len(samples) / rate:.2f} s; {self.name} takes {shortest / rate:.2f} to "
                f"{longest / rate:.2f} s: cut it"
            )
        return source.name, samples

    def _prepared(self, samples: Sequence[NDArray[np.float32]]) -> Tensor:
        inputs = self.extractor(list(samples), sampling_rate=int(self.extractor.sampling_rate), return_tensors="pt")
        field = next(name for name in ("input_features", "input_values") if name in inputs)
        prepared: Tensor = inputs[field].to(next(self.encoder.parameters()).device)
        return prepared

    def _attended(
        self,
        name: str,
        samples: NDArray[np.float32],
        rate: int,
        captured: CapturedAttention,
        sinks: dict[str, list[tuple[int, float]]],
    ) -> AttendedSound:
        about: dict[str, Any] = {"clips": [name], "durations": [len(samples) / rate]}
        layers = {
            layer: captured.record(self.tokens, reduction="received", layers=layer, **about)
            for layer in captured.weights
        }
        rollout = captured.record(self.tokens, reduction="rollout", query=None, **about)
        return AttendedSound(name, samples, rate, layers, rollout, sinks)

    def _limits(self, rate: int) -> tuple[int, int]:
        """Most and fewest samples that the model takes."""
        if self.kind == WHISPER:
            return int(self.extractor.n_samples), 1
        if self.kind == _SPECTROGRAM_TRANSFORMER:
            return (int(self.extractor.max_length) - 1) * rate // 100 + rate // 40, rate // 40
        assert isinstance(self.tokens, TimeTokens)
        return _MOST_SAMPLES, math.ceil((self.tokens.receptive_field or self.tokens.period) * rate)


def load_pretrained_attention(name: str | Path, model_type: str = "auto", device: str = "cpu") -> PretrainedAttention:
    """Load a pretrained network with the clock of its tokens.

    Parameters, errors and safety are those of :func:`~audioattn_lib.inspection.pretrained.load_encoder`. Of Whisper the
    encoder is taken.

    Notes
    -----
    Book page: ``your_sounds``.
    """
    kind, encoder, extractor, whole = load_encoder(name, model_type, device)
    return PretrainedAttention(str(name), kind, encoder, extractor, tokens_of(encoder), whole)


def _cut(record: AttentionRecord, seconds: float) -> AttentionRecord:
    """Frames whose centre lies within the sound, at least one."""
    assert record.n_frames is not None
    count = max(int((record.clock.centres(int(record.n_frames[0])) < seconds).sum()), 1)
    inside = {
        name: values[..., :count] for name in ("weights", "maps") if (values := getattr(record, name)) is not None
    }
    return dataclasses.replace(record, n_frames=np.array([count]), **inside)


def _coarser(record: AttentionRecord) -> AttentionRecord:
    """At most 600 frames, the weights of several in a row added up."""
    if record.weights is None or record.weights.shape[2] <= _MOST_FRAMES_OF_A_HEAD:
        return record
    clips, heads, frames = record.weights.shape
    factor = -(-frames // _MOST_FRAMES_OF_A_HEAD)
    count = -(-frames // factor)
    padded = np.zeros((clips, heads, count * factor))
    padded[..., :frames] = record.weights
    return dataclasses.replace(
        record,
        clock=FrameClock(record.clock.period * factor, record.clock.start),
        n_frames=np.full(clips, count),
        weights=padded.reshape(clips, heads, count, factor).sum(3),
    )


def _heads(record: AttentionRecord) -> int:
    values = record.maps[:, 0] if record.maps is not None else record.weights
    assert values is not None
    return int(values.shape[1])


def _head(record: AttentionRecord, head: int) -> AttentionRecord:
    """One head of a record, counted from 1; all of them for 0."""
    if not head:
        return record
    if record.maps is not None:
        return dataclasses.replace(record, maps=record.maps[:, :, head - 1 : head])
    assert record.weights is not None
    return dataclasses.replace(record, weights=record.weights[:, head - 1 : head])
