r"""One clip and one trained network whose attention is changed by hand: what it attends to then, and what it answers.

The encoded frames of the clip are computed once. A change computes the attention and what reads it alone, so a slider
of a 10 s clip redraws in a fraction of 100 ms (``benchmarks/live_controls.py``). The weights of the network stay as
they were trained; what a control does is the formula of the mechanism with another number in it:

- *temperature* :math:`\tau`: scores :math:`z/\tau` before the map;
- *alpha*: the map, or the density, of another :math:`\alpha`;
- *location*, *width*: a density moved by seconds, and with its deviation multiplied;
- *components*: the moments of so many clusters of the weights;
- *heads*: so many heads read, the others have no weight;
- *pattern* and *group size*: which patches a patch attends to;
- *playbacks* and *hop*: how often, and how finely, a network listens again.

Book page: ``urban_sound``.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from audioattn_lib.attention.maps.entmax import entmax
from audioattn_lib.attention.patterns.names import parse_patterns
from audioattn_lib.attention.pooling.encoders import MomentsEncoder
from audioattn_lib.attention.pooling.frames import ContinuousAttention, DiscreteAttention
from audioattn_lib.attention.pooling.multi_head import DoubleMultiHeadPooling, MultiHeadPooling
from audioattn_lib.core.errors import AudioAttnError
from audioattn_lib.experiments.common.corpus import Clip
from audioattn_lib.experiments.common.listener import Answers
from audioattn_lib.experiments.playback.corpus import build_front_end
from audioattn_lib.inference.model import Model
from audioattn_lib.models.acrnn import ACRNN
from audioattn_lib.models.embedding import EmbeddingNetwork
from audioattn_lib.models.frequency_transformer import FrequencyTransformer
from audioattn_lib.models.layers.alignment import AlignmentAttention
from audioattn_lib.models.layers.input_scaling import Scaled
from audioattn_lib.models.playback.network import Playback

__all__ = ["Choice", "Live", "Slider", "live"]

MOST_COMPONENTS = 4
_ALPHA = (1.0, 3.0, 0.05)


@dataclass(frozen=True)
class Slider:
    """A number to change: name, title with unit, lowest, highest, step and first value; whole numbers if all are."""

    name: str
    title: str
    low: float
    high: float
    step: float
    first: float
    is_log: bool = False


@dataclass(frozen=True)
class Choice:
    """A word to change: name, title, words and the first of them."""

    name: str
    title: str
    options: tuple[str, ...]
    first: str


Control = Slider | Choice
_TEMPERATURE = Slider("temperature", "temperature", -1.0, 1.0, 0.02, 0.0, is_log=True)


class Live:
    """A clip in a network whose attention can be changed.

    Parameters
    ----------
    controls
        What can be changed.
    answer
        From a value for each control by name to record and probabilities.
    """

    def __init__(self, controls: Sequence[Control], answer: Callable[..., Answers]) -> None:
        self.controls = tuple(controls)
        self._answer = answer

    @property
    def first(self) -> dict[str, Any]:
        """The values with which nothing is changed."""
        return {control.name: control.first for control in self.controls}

    @torch.no_grad()
    def answer(self, **values: Any) -> Answers:
        """Attention and answer with other values; those left out are as trained."""
        return self._answer(**{**self.first, **values})


@torch.no_grad()
def live(model: Model, clip: Clip) -> Live | None:
    """Controls of a trained model for a clip; None where nothing of it can be changed."""
    listener = model.listener
    waveform = torch.as_tensor(clip.samples, dtype=torch.float32)[None]
    try:
        inputs, lengths = listener.inputs(waveform, torch.tensor([waveform.shape[1]]))
    except AudioAttnError:
        return None
    network = copy.deepcopy(model.network).eval()
    several = listener.is_multilabel
    if isinstance(network, ACRNN):
        return _of_frames(network, network.attention, inputs, lengths, several)
    if isinstance(network, EmbeddingNetwork):
        return _of_utterance(network, inputs, lengths)
    if isinstance(network, Scaled) and isinstance(network.network, FrequencyTransformer):
        return _of_patches(network, network.network, inputs, lengths)
    if isinstance(network, Playback):
        return _of_playback(model, network, waveform)
    aligned = [module for module in network.modules() if isinstance(module, AlignmentAttention)]
    return _of_alignment(model, aligned, inputs, lengths) if aligned else None


class _Cooled(nn.Module):
    """A scorer whose scores are divided by a temperature."""

    def __init__(self, scorer: nn.Module) -> None:
        super().__init__()
        self.scorer, self.temperature = scorer, 1.0

    def forward(self, values: Tensor) -> Tensor:
        return self.scorer(values) / self.temperature


class _Moved(nn.Module):
    """An encoder whose densities are moved and widened, in clip lengths."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder, self.by, self.width = encoder, 0.0, 1.0

    def forward(self, values: Tensor, mask: Tensor | None, lengths: Tensor) -> Any:
        moments = self.encoder(values, mask, lengths)
        return moments._replace(location=moments.location + self.by, variance=moments.variance * self.width**2)


def _of_frames(
    network: ACRNN, attention: nn.Module, inputs: Tensor, lengths: Tensor, is_multilabel: bool
) -> Live | None:
    hidden = network.encode(inputs, lengths)
    seconds = hidden.shape[1] * network.clock.period
    parts = [module for module in attention.modules() if isinstance(module, (DiscreteAttention, ContinuousAttention))]
    if not parts:
        return None
    cooled: list[_Cooled] = []
    moved: list[_Moved] = []
    controls: list[Control] = []
    for pooling in parts:
        holder: Any = pooling.encoder if isinstance(pooling, ContinuousAttention) else pooling
        if isinstance(getattr(holder, "scorer", None), nn.Module):
            holder.scorer = _Cooled(holder.scorer)
            cooled.append(holder.scorer)
        if isinstance(pooling, ContinuousAttention):
            alpha = float(pooling.alpha)
            pooling.raw_alpha, pooling.encoder = None, _Moved(pooling.encoder)
            moved.append(pooling.encoder)
        else:
            alpha = float(getattr(pooling.normalizer, "keywords", {}).get("alpha", _ALPHA_OF.get(pooling.name, 1.0)))
    controls.append(Slider("alpha", "alpha", *_ALPHA, alpha))
    if cooled:
        controls.append(_TEMPERATURE)
    if moved:
        controls += [
            Slider("location", "location by (s)", -round(seconds / 2, 2), round(seconds / 2, 2), 0.01, 0.0),
            Slider("width", "width times", -1.0, 1.0, 0.02, 0.0, is_log=True),
        ]
    encoders = [module.encoder for module in moved if isinstance(module.encoder, MomentsEncoder)]
    if encoders:
        controls.append(Slider("components", "components", 1, MOST_COMPONENTS, 1, encoders[0].n_components))

    def answer(
        alpha: float,
        temperature: float = 0.0,
        location: float = 0.0,
        width: float = 0.0,
        components: int = 1,
    ) -> Answers:
        for pooling in parts:
            if isinstance(pooling, ContinuousAttention):
                pooling.fixed_alpha = alpha
            else:
                pooling.normalizer = partial(entmax, alpha=alpha)
        for scorer in cooled:
            scorer.temperature = 10.0**temperature
        for encoder in moved:
            encoder.by, encoder.width = location / seconds, 10.0**width
        for moments in encoders:
            moments.n_components = int(components)
        context, record = attention(hidden, lengths, clock=network.clock, record=True)
        return Answers.of_logits(network.classifier(context), record, None, is_multilabel=is_multilabel)

    return Live(controls, answer)


_ALPHA_OF = {"softmax": 1.0, "entmax1333": 4 / 3, "entmax15": 1.5, "sparsemax": 2.0}


def _of_utterance(network: EmbeddingNetwork, inputs: Tensor, lengths: Tensor) -> Live | None:
    pooling: Any = network.pooling
    frames = pooling.frames if isinstance(pooling, DoubleMultiHeadPooling) else pooling
    if not isinstance(frames, MultiHeadPooling):
        return None
    hidden, count = network.encode(inputs, lengths), network.front.count_frames(lengths)
    scale, variant = frames.scale, frames.attention
    controls: list[Control] = [Slider("alpha", "alpha", *_ALPHA, variant.alpha), _TEMPERATURE]
    if isinstance(pooling, DoubleMultiHeadPooling):
        controls.append(Slider("heads", "heads read", 1, frames.heads, 1, frames.heads))

    def answer(alpha: float, temperature: float, heads: int = 0) -> Answers:
        frames.attention = dataclasses.replace(variant, alpha=alpha)
        frames.scale = scale / 10.0**temperature
        if heads:
            kept = torch.arange(frames.heads)[None] < int(heads)
            pooling.dropout = _Kept(kept)
        embedding, record = network.pool(hidden, count, record=True)
        return Answers.of_logits(network.classify(embedding), record, None, is_multilabel=False)

    return Live(controls, answer)


class _Kept(nn.Module):
    """The heads that are read."""

    def __init__(self, kept: Tensor) -> None:
        super().__init__()
        self.kept = kept

    def forward(self, batch: int) -> Tensor | None:
        return None if bool(self.kept.all()) else self.kept.expand(batch, -1)


_GROUPED: Mapping[str, str] = {"groups of rows": "per_row_{}", "overlapping rows": "row_overlap_{}"}
_TOKENS = "overlapping patches"


def _of_patches(whole: Scaled, network: FrequencyTransformer, inputs: Tensor, lengths: Tensor) -> Live | None:
    if any(layer_pattern.branches != "one" for layer_pattern in network.patterns):  # their layers have other weights
        return None
    rows, columns = network.grid.rows, network.grid.columns
    trained = network.patterns
    options = ("as trained", "dense", "high and low", *_GROUPED, _TOKENS)
    controls: list[Control] = [
        Choice("pattern", "pattern", options, options[0]),
        Slider("group", "group size", 1, rows, 1, min(2, rows)),
        Slider("alpha", "alpha", *_ALPHA, float(network.alpha)),
    ]

    def answer(pattern: str, group: int, alpha: float) -> Answers:
        if pattern == options[0]:
            patterns = trained
        else:
            words = {"dense": "dense", "high and low": "high_low", _TOKENS: f"token_overlap_{int(group) * columns}"}
            name = words.get(pattern) or _GROUPED[pattern].format(int(group))
            patterns = tuple(parse_patterns(name, len(trained)))
        network.patterns, network.alpha = patterns, alpha
        for block, layer_pattern in zip(network.blocks, patterns, strict=True):
            setattr(block, "pattern", layer_pattern)  # noqa: B010  # a module's type has no such attribute
        logits, record = whole(inputs, lengths, record=True)
        return Answers.of_logits(logits, record, None, is_multilabel=False)

    return Live(controls, answer)


def _of_playback(model: Model, network: Playback, waveform: Tensor) -> Live | None:
    config, listener = model.config, model.listener
    if config.stages < 2 or config.selection == "oracle" or config.window_samples:
        return None
    lengths = torch.tensor([waveform.shape[1]])
    hops = sorted({config.hop_seconds * factor for factor in (0.5, 0.75, 1.0, 1.5, 2.0)})
    names = tuple(f"{1000 * hop:.3g} ms" for hop in hops)
    first = names[hops.index(config.hop_seconds)]
    most = config.stages - 1
    controls: list[Control] = [
        Slider("playbacks", "playbacks", 0, most, 1, most),
        Choice("hop", "first hop", names, first),
    ]
    changed = copy.copy(listener)
    changed.network = network

    def answer(playbacks: int, hop: str) -> Answers:
        settings = dataclasses.replace(config, hop_seconds=hops[names.index(hop)])
        network.front = build_front_end(settings, config.stages)
        changed.front_end = build_front_end(settings, 1)[0]
        answers = changed.answers(waveform, lengths)
        stage = int(playbacks)
        if answers.stages is None:
            return answers
        record = answers.record
        if record.segments is not None:
            each = record.segments.shape[1] // most
            record = dataclasses.replace(record, segments=record.segments[:, : stage * each])  # none: the whole clip
        return dataclasses.replace(answers, record=record, probabilities=answers.stages[:, stage])

    return Live(controls, answer)


def _of_alignment(model: Model, aligned: Sequence[AlignmentAttention], inputs: Tensor, lengths: Tensor) -> Live:
    normalizers = [module.normalizer for module in aligned]
    alpha = float(_ALPHA_OF.get(str(getattr(model.config, "attention", "softmax")), 1.0))
    changed = copy.copy(model.listener)
    changed.network = copy.deepcopy(model.network).eval()
    parts = [module for module in changed.network.modules() if isinstance(module, AlignmentAttention)]
    controls: list[Control] = [Slider("alpha", "alpha", *_ALPHA, alpha), _TEMPERATURE]
    assert len(parts) == len(normalizers)

    def answer(alpha: float, temperature: float) -> Answers:
        def normalise(scores: Tensor, mask: Tensor | None = None, dim: int = -1) -> Tensor:
            return entmax(scores / 10.0**temperature, alpha, dim, mask)

        for attention in parts:
            attention.normalizer = normalise
        return changed.answers(inputs, lengths)

    return Live(controls, answer)
