r"""Sequence-to-sequence autoencoders of spectrograms, with and without attention.

``frames (B, T, F)`` in [-1, 1] -> encoder -> features of the clip ``(B, n_features)`` -> decoder -> the same frames.
What the encoder must remember to let the decoder rebuild a clip describes the clip; nobody has to label anything.

Networks and their wiring follow the published system (Amiriparian et al., *Sequence-to-sequence autoencoders with
attention*, 2020, and its code), the sixth auDeep's recurrent autoencoder (Freitag et al., *auDeep*, JMLR 2018), except
that here

- the decoder is causal: a frame reaches it only after it was rebuilt. Where the published decoders run both ways over
  the very frames that they rebuild, two layers run forwards side by side, so widths and parameters stay;
- the decoder remembers, the frames that it is given follow the order in which it rebuilds, dropout acts in training,
  and both directions of the encoder speak about the same frame;
- padding changes nothing.

Book page: ``sleepiness``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ..attention.maps.entmax import softmax
from ..attention.record.record import AttentionRecord, FrameClock
from ..core.errors import ConfigError
from .layers.alignment import CausalDecoder, Decoded, Normalizer
from .layers.common import at_least_float32, frame_mask
from .layers.recurrence import CELLS, ParallelLayer, State, require_cell, reverse_frames, run_packed, shift_frames

__all__ = ["LOSSES", "NETWORKS", "VARIANTS", "EncodedSequence", "Network", "Seq2SeqAutoencoder", "reconstruction_loss"]

VARIANTS = ("corrected", "published")
LOSSES = ("mse", "rmse")
LAYERS = 2
"""Recurrent layers of encoder and decoder."""


@dataclass(frozen=True)
class Network:
    """Architecture of one autoencoder.

    Parameters
    ----------
    title
        As in tables.
    encoder
        ``"both"``: two layers that run both ways. ``"figure"``: one that runs both ways, one that runs forwards over
        it. ``"forwards"``: two layers that run forwards.
    feature
        What describes the clip: ``"final"`` states of the encoder, a ``"dense"`` layer (tanh) over them, or, of the
        ``"figure"``, that and the last state of the decoder.
    start
        Where the layers of the decoder start: ``"final"`` states of the encoder, ``"feature"``, or ``"zero"``.
    attends
        Whether the decoder attends to the outputs of the encoder.
    backwards
        Whether the frames are rebuilt from the last to the first.
    has_code
        Whether there is published code whose wiring ``variant="published"`` follows.
    """

    title: str
    encoder: str
    feature: str
    start: str
    attends: bool
    backwards: bool
    has_code: bool = True


NETWORKS: Mapping[str, Network] = MappingProxyType(
    {
        "seq2seq_bi_bi_fc": Network("No attention, dense feature", "both", "dense", "feature", False, True),
        "seq2seq_bi_bi": Network("No attention", "both", "final", "final", False, True),
        "attention_bi_bi": Network("Attention, decoder from zero", "both", "final", "zero", True, False),
        "attention_bi_bi_hidden": Network("Attention", "both", "final", "final", True, True),
        "attention_figure": Network("Attention, as in the figure", "figure", "figure", "feature", True, False, False),
        "t_rae": Network("auDeep", "forwards", "dense", "feature", False, True, False),
    }
)
"""Networks by the name that the published command line gives them; ``attention_figure`` is the one that the paper
draws, ``t_rae`` auDeep's."""


class EncodedSequence(NamedTuple):
    """Output of the encoder for a batch.

    ``outputs`` ``(B, T, V)`` is what attention reads, ``final`` ``(B, H)`` the final states side by side (the first
    query), ``feature`` ``(B, D)`` the vector that the decoder may start from.
    """

    outputs: Float[Tensor, "batch frames values"]
    final: Float[Tensor, "batch hidden"]
    feature: Float[Tensor, "batch features"]


class Seq2SeqAutoencoder(nn.Module):
    r"""An autoencoder of :data:`NETWORKS`.

    Parameters
    ----------
    network
        Name of the wiring.
    n_bands
        Bands of the spectrogram, at least 1.
    units
        Of each recurrent layer and direction, at least 1. A feature has ``units`` numbers in ``seq2seq_bi_bi_fc``,
        four times as many in ``t_rae`` (eight times with LSTM), and twice as many in the others.
    cell
        ``"gru"`` or ``"lstm"``; an LSTM's cell starts empty in the decoder, except in ``t_rae``.
    normalizer, mechanism
        From alignment scores to weights: any map of :mod:`audioattn_lib.attention.maps.entmax`, and its name.
    dropout
        Share of the numbers of the frames that encoder and decoder read, in [0, 1); training only.
    frame_dropout
        Share of the frames that the encoder reads as zeros, whole, in [0, 1); training only, as in auDeep.
    variant
        ``"corrected"``, or ``"published"``: the decoder of the published code, to measure what it costs. Its layers
        start anew at every step (attention), and it is given the frames first to last while it rebuilds them last to
        first, so that it has already been given the second half of what it rebuilds. Both directions of the encoder
        speak about the same frame, dropout acts and no future frame is seen here either.
    clock
        Time of the frames, for the record.

    Raises
    ------
    ConfigError
        When a name is unknown or a number out of range; the message names it and what is allowed.

    Notes
    -----
    Cells are torch's (reset gate after the product, two biases), not those of the published code (hard sigmoid, reset
    gate before the product). Additive attention has no bias behind its last layer: it would move all scores alike and
    change nothing. Sources: Amiriparian et al. 2020; Bahdanau et al., ICLR 2015; Freitag et al., JMLR 2018. Book page:
    ``sleepiness``.
    """

    def __init__(
        self,
        network: str,
        n_bands: int,
        units: int = 256,
        *,
        cell: str = "gru",
        normalizer: Normalizer = softmax,
        mechanism: str = "softmax",
        dropout: float = 0.2,
        frame_dropout: float = 0.0,
        variant: str = "corrected",
        clock: FrameClock = FrameClock(),
    ) -> None:
        super().__init__()
        if network not in NETWORKS:
            raise ConfigError(f"network is {network!r}; it must be one of {', '.join(NETWORKS)}")
        wiring = NETWORKS[network]
        require_cell(cell)
        if variant not in VARIANTS:
            raise ConfigError(f"variant is {variant!r}; it must be one of {', '.join(VARIANTS)}")
        if variant == "published" and not wiring.has_code:
            raise ConfigError(f"variant is 'published', but there is no published code of {network}; use 'corrected'")
        for name, value in (("n_bands", n_bands), ("units", units)):
            if value < 1:
                raise ConfigError(f"{name} is {value}; it must be at least 1")
        for name, share in (("dropout", dropout), ("frame_dropout", frame_dropout)):
            if not 0 <= share < 1:
                raise ConfigError(f"{name} is {share}; it must be in [0, 1)")
        self.network, self.wiring, self.cell, self.units = network, wiring, cell, units
        self.mechanism, self.variant, self.clock = mechanism, variant, clock
        self.dropout = nn.Dropout(dropout)
        self.frame_dropout = frame_dropout

        both = wiring.encoder != "forwards"
        layers = 1 if wiring.encoder == "figure" else LAYERS
        self.encoder = CELLS[cell](n_bands, units, layers, batch_first=True, bidirectional=both)
        self.upper = ParallelLayer(2 * units, units, 1, cell) if wiring.encoder == "figure" else None
        self.lanes = 1 if wiring.encoder == "figure" else 2
        final, dense = 2 * units, units
        if wiring.encoder == "forwards":
            # auDeep: everything that the encoder remembers, to everything that the decoder remembers
            parts = 2 if cell == "lstm" else 1
            final, dense = LAYERS * units * parts, LAYERS * self.lanes * units * parts
        self.dense = nn.Linear(final, dense) if wiring.feature != "final" else None
        self.decoder = CausalDecoder(
            n_bands,
            units,
            self.lanes,
            cell,
            values=(units if self.upper is not None else 2 * units) if wiring.attends else 0,
            attention_size=units,
            normalizer=normalizer,
            dropout=dropout,
            restart=variant == "published" and wiring.attends,
        )
        self.n_features = {"final": final, "dense": dense, "figure": dense + units}[wiring.feature]

    def encode(
        self, frames: Float[Tensor, "batch frames bands"], lengths: Int[Tensor, " batch"] | None = None
    ) -> EncodedSequence:
        """Encode the clips; the content of padding is ignored."""
        frames = self._clear(frames, lengths)
        if self.training and self.frame_dropout:
            hidden = torch.rand(frames.shape[:2], device=frames.device) < self.frame_dropout  # (B, T): whole frames
            frames = frames.masked_fill(hidden[..., None], 0.0)
        outputs, state = run_packed(self.encoder, self.dropout(frames), lengths)
        if self.wiring.encoder == "forwards":
            # hidden states and, of LSTM, cells, each (layers, B, U) -> (B, parts * layers * U)
            final = torch.cat([tensor.transpose(0, 1).flatten(1) for tensor in state], dim=1)
        else:
            final = state[0][-2:].transpose(0, 1).flatten(1)  # (B, 2U): forwards, backwards
        feature = final if self.dense is None else torch.tanh(self.dense(final))
        if self.upper is not None:
            # (B, T, 2U) -> (B, T, U): the layer that runs forwards over both directions
            outputs = self.upper(outputs, self.upper.start(outputs.new_zeros(1, len(outputs), self.units)))
        return EncodedSequence(outputs, final, feature)

    def decode(
        self,
        encoded: EncodedSequence,
        frames: Float[Tensor, "batch frames bands"],
        lengths: Int[Tensor, " batch"] | None = None,
        *,
        scheduled_sampling: float = 0.0,
    ) -> Decoded:
        """Rebuild the clips.

        Parameters
        ----------
        encoded
            What :meth:`encode` gave.
        frames
            The true frames, in order of time; a frame is read only after it was rebuilt.
        lengths
            Valid frames of each clip.
        scheduled_sampling
            Probability with which a step reads the frame that the decoder made itself instead of the true one, in
            [0, 1]: 0 is teacher forcing, 1 is free-running (scheduled sampling, Bengio et al., NeurIPS 2015).

        Returns
        -------
        Decoded
            Frames and alignment in order of time, hidden vectors in the order in which they were made.
        """
        if not 0 <= scheduled_sampling <= 1:
            raise ConfigError(
                f"scheduled_sampling is {scheduled_sampling}; it is a probability, give a number in [0, 1]"
            )
        frames = self._clear(frames, lengths)
        backwards = self.wiring.backwards
        # A step must be given the frame that was rebuilt before it: a decoder that rebuilds backwards reads backwards.
        # The published code reads in order of time, so it reads half of the clip before it rebuilds it.
        follows = backwards and self.variant == "corrected"
        previous = shift_frames(reverse_frames(frames, lengths) if follows else frames)
        own = None
        if scheduled_sampling > 0:
            own = torch.rand(previous.shape[:2], device=previous.device) < scheduled_sampling
            own[:, 0] = False  # nothing was made yet
        decoded = self.decoder(
            previous,
            self._starts(encoded),
            memory=encoded.outputs,
            mask=frame_mask(lengths, frames.shape[1], frames.device),
            query=self._query(encoded),
            own=own,
        )
        if not backwards:
            return decoded
        # rows of the alignment are steps of the decoder, columns are frames: only the rows turn
        alignment = None if decoded.alignment is None else reverse_frames(decoded.alignment, lengths)
        return Decoded(reverse_frames(decoded.frames, lengths), decoded.hidden, alignment)

    def forward(
        self,
        frames: Float[Tensor, "batch frames bands"],
        lengths: Int[Tensor, " batch"] | None = None,
        *,
        scheduled_sampling: float = 0.0,
        record: bool = False,
    ) -> tuple[Float[Tensor, "batch frames bands"], AttentionRecord]:
        """Reconstruct clips, 0 on padding, with the alignment if asked for.

        Parameters
        ----------
        frames
            In [-1, 1].
        lengths
            Valid frames of each clip, at least 1; all by default.
        scheduled_sampling
            See :meth:`decode`; 1 shows what the decoder makes without ever seeing the clip.
        record
            Ask for the record; it is empty without attention.
        """
        decoded = self.decode(self.encode(frames, lengths), frames, lengths, scheduled_sampling=scheduled_sampling)
        rebuilt = self._clear(decoded.frames, lengths)
        if not record or decoded.alignment is None:
            return rebuilt, AttentionRecord.empty()
        counts = np.full(len(frames), frames.shape[1]) if lengths is None else lengths.cpu().numpy()
        alignment = self._clear(decoded.alignment, lengths).detach().float().cpu().numpy()
        return rebuilt, AttentionRecord(self.mechanism, self.clock, n_frames=counts, alignment=alignment)

    @torch.no_grad()
    def extract(
        self, frames: Float[Tensor, "batch frames bands"], lengths: Int[Tensor, " batch"] | None = None
    ) -> Float[Tensor, "batch features"]:
        """The features of clips, whatever the mode of the module: dropout never acts.

        Those of ``attention_figure`` hold the last state of its decoder, which is given the true frames.
        """
        mode = self.training
        self.eval()
        try:
            encoded = self.encode(frames, lengths)
            if self.wiring.feature != "figure":
                return encoded.feature
            hidden = self.decode(encoded, frames, lengths).hidden  # (B, T, U)
            last = (
                hidden[:, -1] if lengths is None else hidden[torch.arange(len(hidden)), lengths.to(hidden.device) - 1]
            )
            return torch.cat([encoded.feature, last], dim=1)
        finally:
            self.train(mode)

    def _starts(self, encoded: EncodedSequence) -> list[State]:
        """Return the initial state of each layer of the decoder."""
        batch, layers = len(encoded.final), self.decoder.layers
        shape = (self.lanes, batch, self.units)
        if self.wiring.start == "zero":
            return [layer.start(encoded.final.new_zeros(shape)) for layer in layers]
        if self.wiring.encoder == "forwards":
            # (B, parts * layers * lanes * U) -> parts of (lanes, B, U) for each layer
            layer_states = encoded.feature.reshape(batch, -1, LAYERS, self.lanes, self.units).permute(2, 1, 3, 0, 4)
            return [tuple(layer_state.unbind(0)) for layer_state in layer_states]
        if self.wiring.start == "feature":  # the same vector for every lane of both layers
            return [layer.start(encoded.feature.expand(shape)) for layer in layers]
        # (B, lanes * U) -> (lanes, B, U): each direction of the encoder starts one lane of the decoder
        hidden = encoded.final.reshape(batch, self.lanes, self.units).transpose(0, 1)
        lower, upper = (layer.start(hidden) for layer in layers)
        if self.decoder.restart:
            # the published decoder starts the forward half of its second layer from zeros
            keeps = torch.arange(self.lanes, device=hidden.device).view(-1, 1, 1)
            upper = layers[1].start(hidden * keeps)
        return [lower, upper]

    def _query(self, encoded: EncodedSequence) -> Tensor | None:
        """Return the initial query of attention: the feature if there is one lane, else the final states."""
        if not self.wiring.attends:
            return None
        return encoded.feature if self.lanes == 1 else encoded.final

    @staticmethod
    def _clear(frames: Tensor, lengths: Tensor | None) -> Tensor:
        """Zeros where padding was, which might be anything, NaN included."""
        mask = frame_mask(lengths, frames.shape[1], frames.device)
        return frames if mask is None else frames.masked_fill(~mask[..., None], 0.0)


def reconstruction_loss(
    rebuilt: Float[Tensor, "batch frames bands"],
    frames: Float[Tensor, "batch frames bands"],
    lengths: Int[Tensor, " batch"] | None = None,
    kind: str = "mse",
) -> Float[Tensor, ""]:
    r"""Mean squared difference over all numbers of the valid frames, or its square root.

    .. math:: \mathrm{mse} = \frac{1}{F\sum_b n_b} \sum_b \sum_{t < n_b} \lVert \hat x_{bt} - x_{bt} \rVert^2

    Parameters
    ----------
    rebuilt, frames
        What was rebuilt and what was there.
    lengths
        Valid frames of each clip, :math:`n_b`.
    kind
        ``"mse"`` (the published system) or ``"rmse"`` (auDeep).

    Raises
    ------
    ConfigError
        When ``kind`` is neither.

    Notes
    -----
    Book page: ``sleepiness``.
    """
    if kind not in LOSSES:
        raise ConfigError(f"kind is {kind!r}; it must be one of {', '.join(LOSSES)}")
    squares = (at_least_float32(rebuilt) - at_least_float32(frames)).square()
    mask = frame_mask(lengths, frames.shape[1], frames.device)
    if mask is None:
        mean = squares.mean()
    else:
        mean = squares.masked_fill(~mask[..., None], 0.0).sum() / (mask.sum() * frames.shape[2])
    return mean if kind == "mse" else mean.sqrt()
