r"""Iterative attention over segments that are analysed again at a finer hop.

``waveforms (B, N)`` -> the whole clip at a coarse hop -> encoder -> slots that
find what is salient -> the salient parts again, at half the hop -> the same
encoder -> ... A decoder reads one playback after the other and predicts after
each; what it read in all of them is fused at the end. In evaluation a clip may
stop as soon as a prediction is confident.

Padding, the company of other clips and their order change nothing.

Source: Stergiou and Damen, *Play it back: iterative attention for audio
recognition*, ICASSP 2023. Book page: ``playback``.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Self, cast

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from audioattn_lib.attention.pooling.segments import read_saliency, select_runs, select_windows
from audioattn_lib.attention.pooling.slots import SALIENT, Projected, SlotAttention
from audioattn_lib.attention.record.record import AttentionRecord, FrameClock
from audioattn_lib.audio.features.multi_resolution import MultiResolutionLogMel
from audioattn_lib.core.errors import ConfigError
from audioattn_lib.core.tensors import is_exporting

from ..embedding import Backbone
from ..layers.common import at_least_float32, frame_mask, masked_mean
from .encoder import DECIBELS
from .layers import PlaybackDecoder, SmallEncoder
from .outputs import PlaybackOutput, Tasks
from .published import PublishedDecoder, PublishedSlots

__all__ = ["SEGMENT_SELECTIONS", "Playback", "confidence"]

SEGMENT_SELECTIONS = ("slots", "published", "energy", "random", "given")
"""Selection methods of the segments; see :class:`Playback`."""

_SLOT_WIDTH = 400


def confidence(logits: Float[Tensor, "batch classes"], *, is_multilabel: bool) -> Float[Tensor, " batch"]:
    r"""Compute the confidence of each prediction, in [0, 1].

    With one label a clip :math:`\max_c \mathrm{softmax}(\ell)_c`; with several
    the least sure of the separate answers, :math:`\min_c \max(\sigma(\ell_c), 1 - \sigma(\ell_c))`.

    Notes
    -----
    Book page: ``playback``.
    """
    logits = at_least_float32(logits)
    if is_multilabel:
        return logits.abs().sigmoid().amin(dim=1)
    return logits.softmax(dim=1).amax(dim=1)


@dataclass
class _PlaybackState:
    """Clips that have not stopped: their rows in the batch, sound, and state of the decoder."""

    # R clips of a batch go on; T frames of the first hop, T' tokens of the whole clip
    rows: Tensor  # (R,), in the batch
    waveforms: Tensor  # (R, N)
    lengths: Tensor  # (R,), samples
    level: Tensor  # (R, 1, bands), mean of the whole clip, that playbacks subtract too
    power: Tensor  # (R, T)
    n_frames: Tensor  # (R,), of T
    tokens: Projected | None  # keys and values of the slots, (R, T', D)
    counts: Tensor  # (R,), of T'
    latents: Tensor  # (R, latents, width)
    stage_outputs: Tensor  # (R, stages so far, width), one y_i a stage
    slots: Tensor | None  # (R, slots, D)
    fixed_segments: Tensor | None  # (R, parts, 2), seconds
    frames: Tensor | None  # (R, T', features), for published slots

    def keep(self, mask: Tensor) -> _PlaybackState:
        """Those of them that go on."""
        values = ((field.name, getattr(self, field.name)) for field in dataclasses.fields(self))
        going: dict[str, Any] = {name: None if value is None else value[mask] for name, value in values}
        return _PlaybackState(**going)


class Playback(nn.Module):
    r"""Playback network: whole clip first, then selected segments at finer hops, one hop a stage.

    Parameters
    ----------
    front
        Front end; its stages after the first are the playbacks: 2 stages are
        the published X1, 3 are X2, 4 are X3.
    encoder
        Any :class:`~audioattn_lib.models.embedding.Backbone` from frames to
        fewer and wider ones, the same at all hops.
    decoder
        For the width of the encoder and the stages of the front end.
    selection
        ``"slots"``: windows around what the salient slot of a slot attention
        holds; slots hear every playback before they choose the next one. They are as
        wide as the frames of the encoder, but at most 400 as published.
        ``"published"``: every run of frames whose saliency is above the mean,
        a hard choice that teaches the slots nothing, for comparison.
        ``"energy"``: the loudest windows. ``"random"``: windows anywhere; in
        evaluation the same places in every clip. ``"given"``: whoever calls
        the model says where, such as where the events are known to be.
    n_segments, segment_seconds
        Windows of each playback, at least 1, and their length, above 0, rounded to whole frames of the saliency:
        those of the encoder for slots, of the first hop for energy.
    temperature
        Of the noise with which training chooses windows, at least 0; see
        :func:`~audioattn_lib.attention.pooling.segments.select_windows`.
    is_multilabel
        Whether a clip may have several labels, for :func:`confidence`; not where there are tasks.
    tasks
        How the classes of the decoder are divided among several questions, see
        :mod:`audioattn_lib.models.playback.multi_task`; a clip then stops when the least
        sure answer is sure. None is one question.
    published_slots
        Slots of each stage as in the released code,
        :class:`~audioattn_lib.models.playback.published.PublishedSlots`, in place of ours: for
        ``selection="published"``. With a
        :class:`~audioattn_lib.models.playback.published.PublishedDecoder`, the names of all
        parameters are those of the released code. Slots look at the first hearing in every stage.

    Notes
    -----
    What is played back is weighted by its saliency, relative to the most
    salient frame of its clip: this is how slots learn. ``salient_logits`` in the
    loss (:class:`~audioattn_lib.models.playback.outputs.PlaybackOutput`) teach
    them more directly: they are best where the parts that give the class away weigh most. From the features of a clip
    the mean of each band over the whole clip is taken away, at all hops the same.

    Different from the published code: slots see frames, not channels (unless ``published_slots``),
    and are the same at every evaluation; larger means more salient; only the parts are
    played back, at their full resolution, not joined with the rest and brought
    to the coarse grid; nothing is computed over the batch.

    Source: Stergiou and Damen, ICASSP 2023. Book page: ``playback``.
    """

    def __init__(
        self,
        front: MultiResolutionLogMel,
        encoder: Backbone,
        decoder: PlaybackDecoder | PublishedDecoder,
        *,
        selection: str = "slots",
        n_segments: int = 2,
        segment_seconds: float = 1.0,
        temperature: float = 0.5,
        is_multilabel: bool = True,
        tasks: Tasks | None = None,
        published_slots: bool = False,
    ) -> None:
        super().__init__()
        if selection not in SEGMENT_SELECTIONS:
            raise ConfigError(f"selection is {selection!r}; it must be one of {', '.join(SEGMENT_SELECTIONS)}")
        if n_segments < 1:
            raise ConfigError(f"n_segments is {n_segments}; it must be at least 1")
        if not segment_seconds > 0:
            raise ConfigError(f"segment_seconds is {segment_seconds}; it must be above 0")
        if not temperature >= 0:
            raise ConfigError(f"temperature is {temperature}; it must be at least 0")
        if published_slots and selection != "published":
            raise ConfigError(f"published_slots is set and selection is {selection!r}; they go with 'published' alone")
        if len(decoder.stages) != len(front):
            raise ConfigError(
                f"the decoder has {len(decoder.stages)} stages and the front end {len(front)}; make them equal"
            )
        if tasks is not None and tasks.n_classes != decoder.classifier.out_features:
            raise ConfigError(
                f"the decoder has {decoder.classifier.out_features} classes and the tasks {tasks.n_classes}; "
                "give the decoder as many as all tasks have"
            )
        self.front, self.encoder, self.decoder = front, encoder, decoder
        self._encoder_is_frozen = False
        self.selection = selection
        self.n_segments, self.segment_seconds = n_segments, segment_seconds
        self.temperature, self.is_multilabel = temperature, is_multilabel and tasks is None
        self.tasks = tasks
        self.slot_attention: SlotAttention | None = None
        self.salient_classifier: nn.Linear | None = None
        self.saliency_slots: nn.ModuleList | None = None
        if published_slots:  # the last stage has slots in the released code, that choose nothing
            self.saliency_slots = nn.ModuleList(PublishedSlots(encoder.out_features) for _ in range(len(front)))
            self.saliency_slots.requires_grad_(False)
        elif selection in ("slots", "published") and len(front) > 1:
            # as published no gradient reaches it: frozen, so that several processes do not wait for one
            width = min(encoder.out_features, _SLOT_WIDTH)
            self.slot_attention = SlotAttention(encoder.out_features, width=width).requires_grad_(selection == "slots")
        if selection == "slots" and len(front) > 1:
            self.salient_classifier = nn.Linear(encoder.out_features, decoder.classifier.out_features)

    @classmethod
    def small(
        cls,
        n_classes: int,
        playbacks: int = 2,
        *,
        fusion: str = "adaptive",
        fusion_level: str = "features",
        **options: Any,
    ) -> Playback:
        """The model that a processor trains in minutes: :class:`~audioattn_lib.models.playback.layers.SmallEncoder`.

        Parameters
        ----------
        n_classes
            Classes of the output, at least 1.
        playbacks
            At least 0: 0 listens once.
        fusion, fusion_level
            Of :class:`~audioattn_lib.models.playback.layers.PlaybackDecoder`.
        options
            Of :class:`Playback`.

        Notes
        -----
        Book page: ``playback``.
        """
        if playbacks < 0:
            raise ConfigError(f"playbacks is {playbacks}; it must be at least 0")
        front = MultiResolutionLogMel(playbacks + 1)
        encoder = SmallEncoder(front.n_mels)
        decoder = PlaybackDecoder(encoder.out_features, n_classes, len(front), fusion=fusion, fusion_level=fusion_level)
        return cls(front, encoder, decoder, **options)

    def freeze_encoder(self) -> None:
        """Keep the encoder as it is from here on: no gradient, and evaluation mode also in training."""
        self._encoder_is_frozen = True
        cast("nn.Module", self.encoder).requires_grad_(False)
        self.train(self.training)

    def train(self, mode: bool = True) -> Self:
        """Training or evaluation mode; a frozen encoder stays in evaluation mode."""
        super().train(mode)
        if self._encoder_is_frozen:
            cast("nn.Module", self.encoder).eval()
        return self

    def forward(
        self,
        waveforms: Float[Tensor, "batch samples"],
        lengths: Int[Tensor, " batch"] | None = None,
        *,
        segments: Float[Tensor, "batch parts 2"] | None = None,
        threshold: float | None = None,
        record: bool = False,
    ) -> PlaybackOutput:
        """Predict the classes of clips, with the prediction of each stage and the segments that were played back.

        Parameters
        ----------
        waveforms, lengths
            Samples ``(B, N)`` at the rate of the front end, and how many of
            them each clip has; what lies behind does not matter.
        segments
            For the selection ``"given"`` and no other: start and stop in seconds
            of what every playback plays, NaN where a clip has fewer parts.
        threshold
            Stop with a clip after the first stage whose prediction has at least
            this :func:`confidence`, in [0, 1], and answer with that prediction.
            None hears every playback. For evaluation only.
        record
            Ask for the record, which holds the segments.

        Raises
        ------
        ValueError
            When the model is in training and a threshold is given, or it is not in [0, 1]; when segments are missing,
            or given to a model that chooses them itself.
        """
        if (segments is not None) != (self.selection == "given" and len(self.front) > 1):
            state = "missing" if segments is None else "given"
            raise ValueError(f"segments are {state}, and the selection is {self.selection!r}; only 'given' takes them")
        if threshold is not None and (self.training or not 0 <= threshold <= 1):
            raise ValueError(f"threshold is {threshold}; it must be in [0, 1], and None in training")
        clips = self._begin(waveforms, lengths, segments)
        batch, stages = len(waveforms), len(self.front)
        # Lists over stages or playbacks. A clip that has stopped leaves ``clips``, so tensors of a stage have as many
        # rows as clips go on, and ``clips.rows`` holds their rows in the batch.
        stage_logits: list[Tensor] = []  # (B, C) each
        salient: list[Tensor] = []  # (B, C) each
        bounds: list[Tensor] = []  # (B, parts, 2) each, in seconds
        playbacks = torch.zeros(batch, dtype=torch.int64, device=waveforms.device)
        frames = torch.zeros(batch, stages, dtype=torch.int64, device=waveforms.device)
        frames[:, 0] = clips.n_frames
        answer: Tensor | None = None
        for stage in range(stages):
            if stage > 0:  # the first stage has read the whole clip in _begin
                saliency, clock, counts = self._saliency(clips, stage)
                places = self._select(clips, saliency, counts, clock)
                bounds.append(_spread(places, clips.rows, batch))
                playbacks[clips.rows] = stage
                n_frames, alone = self._replay(clips, stage, places, saliency, counts, clock)
                frames[clips.rows, stage] = n_frames
                if alone is not None:
                    salient.append(_spread(alone, clips.rows, batch))
            logits = self.decoder.classifier(clips.stage_outputs[:, -1])
            stage_logits.append(_spread(logits, clips.rows, batch))
            if threshold is not None and stage + 1 < stages:
                # The answer of a clip that stops is the prediction of its last stage, not the fused one.
                sure = self._confidence(logits) >= threshold
                answer = _put(answer, logits[sure], clips.rows[sure], batch)
                clips = clips.keep(~sure)
                if not len(clips.rows):
                    break
        if answer is None or len(clips.rows):
            answer = _put(answer, self.decoder.fuse(clips.stage_outputs), clips.rows, batch)
        # Playbacks may have different numbers of segments, and some may be missing after an early exit: NaN.
        shape = (batch, stages - 1, max((windows.shape[1] for windows in bounds), default=0), 2)
        played = torch.full(shape, torch.nan, dtype=torch.float64, device=waveforms.device)
        for playback, windows in enumerate(bounds):
            played[:, playback, : windows.shape[1]] = windows
        while len(stage_logits) < stages:
            stage_logits.append(torch.full_like(stage_logits[0], torch.nan))
        return PlaybackOutput(
            answer,
            torch.stack(stage_logits, dim=1),
            torch.stack(salient, dim=1) if salient else None,
            played,
            playbacks,
            frames,
            self._describe(played, waveforms, lengths) if record else AttentionRecord.empty(),
        )

    reads_waveforms = True

    @property
    def frame_range(self) -> tuple[int, int | None]:
        """Fewest frames of the first hearing of a clip of an exported network, and most; None is any number."""
        return 2 * self.encoder.reduction + 1, None

    def trace(
        self, waveforms: Float[Tensor, "batch samples"], lengths: Int[Tensor, " batch"] | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Compute the answer after all playbacks, and as tensors the predictions of each stage and what was played.

        ``stage_logits`` ``(B, stages, C)``, and with playbacks ``segments`` ``(B, parts, 2)`` in seconds, NaN where a
        clip has fewer.

        Raises
        ------
        ConfigError
            For the selections ``"published"`` and ``"given"``: how many parts there are, and how long, depends on the
            sound, for which a graph has no place.
        """
        stages = len(self.front)
        if stages > 1 and self.selection in ("published", "given"):
            raise ConfigError(
                f"selection {self.selection!r} cannot be exported: how many parts it plays back and how long they are "
                "depends on the sound; slots, energy and random can be"
            )
        clips = self._begin(waveforms, lengths, None)
        logits = [self.decoder.classifier(clips.stage_outputs[:, -1])]
        bounds = []
        for stage in range(1, stages):
            saliency, clock, counts = self._saliency(clips, stage)
            bounds.append(self._select(clips, saliency, counts, clock))
            self._replay(clips, stage, bounds[-1], saliency, counts, clock)
            logits.append(self.decoder.classifier(clips.stage_outputs[:, -1]))
        fields = {"stage_logits": torch.stack(logits, dim=1)}
        if bounds:
            fields["segments"] = torch.cat(bounds, dim=1).float()
        return self.decoder.fuse(clips.stage_outputs), fields

    def _confidence(self, logits: Tensor) -> Tensor:
        if self.tasks is not None:
            return self.tasks.confidence(logits)
        return confidence(logits, is_multilabel=self.is_multilabel)

    def _begin(self, waveforms: Tensor, lengths: Tensor | None, segments: Tensor | None) -> _PlaybackState:
        """Run the first stage: the whole clip at the coarsest hop."""
        batch, samples = waveforms.shape
        is_valid = frame_mask(lengths, samples, waveforms.device)
        if is_valid is not None:  # here once, so that every playback meets silence behind the end
            waveforms = waveforms.masked_fill(~is_valid, 0.0)
        features, n_frames = self.front(waveforms, lengths)
        mask = frame_mask(n_frames, features.shape[1], features.device)
        valid = None if mask is None else mask[..., None]
        level = masked_mean(features, valid, dim=1)  # (B, 1, bands); playbacks subtract the same level
        tokens = self._encode(features - level, n_frames)  # (B, T', D)
        counts = self.encoder.count_frames(n_frames)
        device = waveforms.device
        lengths = (
            torch.full((batch,), samples, device=device) if lengths is None else torch.as_tensor(lengths).to(device)
        )
        times = self._clock.start + (torch.arange(tokens.shape[1], device=device) + 0.5) * self._clock.period
        is_valid = torch.arange(tokens.shape[1], device=device) < counts[:, None]
        positions = self._positions(times.expand(batch, -1), lengths)
        latents, stage_output = self.decoder.read(0, self.decoder.start(batch), tokens, positions, mask=is_valid)
        projected, slots = None, None
        if self.slot_attention is not None:
            projected = self.slot_attention.project(tokens, is_valid)
            slots = self.slot_attention.refine(projected)
        # From decibels to power, summed over bands: (B, T). The selection "energy" reads it.
        power = torch.logsumexp(features * (np.log(10.0) / 10.0), dim=2).exp()
        rows = torch.arange(batch, device=device)
        if segments is not None:
            segments = segments.to(device, torch.float64)
        return _PlaybackState(
            rows,
            waveforms,
            lengths,
            level,
            power,
            n_frames,
            projected,
            counts,
            latents,
            stage_output[:, None],
            slots,
            segments,
            None if self.saliency_slots is None else tokens,
        )

    def _replay(
        self, clips: _PlaybackState, stage: int, places: Tensor, saliency: Tensor, counts: Tensor, clock: FrameClock
    ) -> tuple[Tensor, Tensor | None]:
        """Encode the segments ``places`` at the hop of the stage, and let the decoder and the slots read them.

        Returns the number of frames of each clip ``(B,)`` and the logits of the salient tokens ``(B, C)`` or None.
        """
        # windows have one length, that of frames of the saliency, and a graph for other programs one number of frames
        width = max(1, round(self.segment_seconds / clock.period)) * clock.period if is_exporting() else None
        features, n_frames = self.front.replay(clips.waveforms, places, stage, longest=width)
        batch, parts = n_frames.shape  # features: (B, parts, T, bands)
        flat = n_frames.flatten()  # each segment is encoded alone, as a clip of its own
        tokens = self._encode((features - clips.level[:, None]).flatten(0, 1), flat).unflatten(0, (batch, parts))
        n_tokens = torch.where(n_frames > 0, self.encoder.count_frames(flat).view_as(n_frames), 0)
        period = self.front.hop(stage) * self.encoder.reduction
        frame = torch.arange(tokens.shape[2], device=tokens.device)
        is_valid = (frame < n_tokens[..., None]).flatten(1)  # (B, parts * T')
        # In a part, as in a clip, a token is taken to last from half a frame before its first frame.
        start = places[..., :1].nan_to_num(0.0) - self.front.hop(stage) / 2
        times = (start + (frame + 0.5) * period).flatten(1)
        tokens = tokens.flatten(1, 2)  # (B, parts * T', D)
        gate, alone = None, None
        # The gate carries the gradient to the slots, since the selection of segments has none. Divided by the highest
        # saliency of the clip, it is 1 at the peak, and the scale of the saliency does not matter.
        if self.salient_classifier is not None:
            highest = saliency.amax(dim=1, keepdim=True)
            # the saliency belongs to frames of the coarse hop; it is interpolated at the times of the tokens
            gate = read_saliency(saliency, times.to(saliency.dtype), counts, clock=clock) / highest
            weights = gate.masked_fill(~is_valid, 0.0)
            weights = weights / weights.sum(dim=1, keepdim=True).clamp(min=1e-12)
            alone = self.salient_classifier(torch.einsum("bt,btd->bd", weights.to(tokens.dtype), tokens))
        positions = self._positions(times, clips.lengths)
        clips.latents, read = self.decoder.read(stage, clips.latents, tokens, positions, gate=gate, mask=is_valid)
        clips.stage_outputs = torch.cat([clips.stage_outputs, read[:, None]], dim=1)
        if self.slot_attention is not None and stage + 1 < len(self.front):
            # Slots read the whole clip as well: a clip may have no segment, and slots need at least one token.
            assert clips.tokens is not None
            both = clips.tokens.beside(self.slot_attention.project(tokens, is_valid))
            clips.slots = self.slot_attention.refine(both, clips.slots)
        return n_frames.sum(dim=1), alone

    def _saliency(self, clips: _PlaybackState, stage: int) -> tuple[Tensor, FrameClock, Tensor]:
        """Compute the saliency of each frame; return it with the clock and the number of the frames."""
        if self.saliency_slots is not None:
            return self.saliency_slots[stage - 1](clips.frames, clips.counts), self._clock, clips.counts
        if self.slot_attention is not None:
            assert clips.slots is not None
            assert clips.tokens is not None
            shares = self.slot_attention.share(clips.slots, clips.tokens)
            return shares[:, SALIENT], self._clock, clips.counts
        clock = FrameClock(*self.front[0].clock)
        if self.selection in ("energy", "given"):
            return clips.power, clock, clips.n_frames
        if self.training:
            return torch.rand_like(clips.power), clock, clips.n_frames
        # The fractional part of a large sine: numbers without a pattern that depend on the frame alone.
        frame = torch.arange(clips.power.shape[1], device=clips.power.device, dtype=torch.float64) + 1.0
        # tensors, since a graph for other programs would keep numbers in float32
        rate, size = torch.tensor([12.9898, 43758.5453], dtype=torch.float64, device=frame.device)
        places = torch.frac(torch.sin(frame * rate) * size).abs()
        return places.to(clips.power.dtype).expand_as(clips.power), clock, clips.n_frames

    def _select(self, clips: _PlaybackState, saliency: Tensor, counts: Tensor, clock: FrameClock) -> Tensor:
        """Select the segments of the next stage: start and stop in seconds; NaN where there are fewer."""
        if clips.fixed_segments is not None:
            places = clips.fixed_segments
        elif self.selection == "published":
            places = select_runs(saliency, counts, clock=clock).bounds
        else:
            noise = self.temperature if self.training and self.selection == "slots" else 0.0
            places = select_windows(
                saliency, counts, clock=clock, count=self.n_segments, seconds=self.segment_seconds, temperature=noise
            ).bounds
        # The first and the last frame reach out of the clip by half a hop.
        duration = clips.lengths.double() / self.front.sample_rate
        return places.clamp(min=0.0).minimum(duration[:, None, None])

    def _encode(self, features: Tensor, n_frames: Tensor) -> Tensor:
        mask = frame_mask(n_frames, features.shape[1], features.device)
        return self.encoder(features / DECIBELS, mask)

    def _positions(self, times: Tensor, lengths: Tensor) -> Tensor:
        """Seconds as places in the clip: -1 where it begins, 1 where it ends."""
        duration = lengths[:, None] / self.front.sample_rate
        return (2.0 * times / duration - 1.0).to(self.decoder.latents.dtype)

    @property
    def _clock(self) -> FrameClock:
        """Time of the tokens of the whole clip."""
        period, start = self.front[0].clock
        return FrameClock(period * self.encoder.reduction, start)

    def _describe(self, places: Tensor, waveforms: Tensor, lengths: Tensor | None) -> AttentionRecord:
        samples = torch.full((len(waveforms),), waveforms.shape[1]) if lengths is None else torch.as_tensor(lengths)
        return AttentionRecord(
            mechanism=f"playback, {self.selection}",
            clock=FrameClock(*self.front[0].clock),
            n_frames=self.front[0].count_frames(samples).cpu().numpy(),
            segments=places.flatten(1, 2).cpu().numpy(),
        )


def _spread(values: Tensor, rows: Tensor, batch: int) -> Tensor:
    """Values of some clips at their rows of the batch, NaN in the others."""
    if len(rows) == batch:
        return values
    return values.new_full((batch, *values.shape[1:]), torch.nan).index_copy(0, rows, values)


def _put(answer: Tensor | None, values: Tensor, rows: Tensor, batch: int) -> Tensor:
    """The answer with those of some clips in it."""
    if answer is None:
        answer = values.new_full((batch, values.shape[1]), torch.nan)
    return answer.index_copy(0, rows, values.to(answer.dtype))
