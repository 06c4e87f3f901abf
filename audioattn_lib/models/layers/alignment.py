r"""Causal decoder of a sequence, frame by frame, with or without attention over the encoder.

Step :math:`i` reads the frame before (:math:`d_i`: the true one, or what the
decoder made itself) and, with attention, a context

.. math:: c_i = \sum_t a_{it}\, e_t, \qquad a_i = \mathrm{map}(z_i), \qquad
   z_{it} = v^\top \tanh(W_1 e_t + b + W_2 s_{i-1}),

where :math:`s_{i-1}` is the hidden vector of its last layer (Bahdanau et al.,
*Neural machine translation by jointly learning to align and translate*, ICLR
2015). No frame reaches the decoder before it has been rebuilt.

Book page: ``sleepiness``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from audioattn_lib.attention.maps.entmax import softmax

from .recurrence import ParallelLayer, ReusedMatrix, State

__all__ = ["AlignmentAttention", "CausalDecoder", "Decoded"]

Normalizer = Callable[..., Tensor]


class AlignmentAttention(nn.Module):
    """Additive attention of each step over the encoded frames.

    Parameters
    ----------
    values, query
        Widths of the encoded frames and of the decoder's hidden vector.
    size
        Width of the scorer, at least 1.
    normalizer
        From scores ``(B, S)`` and a mask to weights, one of :mod:`audioattn_lib.attention.maps.entmax`.
    """

    def __init__(self, values: int, query: int, size: int, normalizer: Normalizer = softmax) -> None:
        super().__init__()
        self.keys = nn.Linear(values, size)
        self.query = nn.Linear(query, size, bias=False)
        self.vector = nn.Linear(size, 1, bias=False)
        self.normalizer = normalizer

    def weights(
        self,
        keys: Float[Tensor, "batch frames size"],
        query: Float[Tensor, "batch 1 size"],
        mask: Bool[Tensor, "batch frames"] | None,
    ) -> Float[Tensor, "batch frames"]:
        """Compute the weight of every encoded frame from projected keys and query."""
        scores = self.vector(torch.tanh(keys + query)).squeeze(-1)
        return self.normalizer(scores.to(torch.promote_types(scores.dtype, torch.float32)), mask=mask)


class Decoded(NamedTuple):
    """Output of a decoder: frames ``(B, T, F)``, hidden vectors ``(B, T, H)`` and weights ``(B, T, S)`` or None."""

    frames: Float[Tensor, "batch steps bands"]
    hidden: Float[Tensor, "batch steps hidden"]
    alignment: Float[Tensor, "batch steps frames"] | None


class CausalDecoder(nn.Module):
    r"""Recurrent layers from the frame before (and a context) to the next frame, :math:`\tanh` of a linear layer.

    Parameters
    ----------
    n_bands
        Width of a frame.
    units, lanes, cell
        Of each of the two layers, see :class:`~audioattn_lib.models.layers.recurrence.ParallelLayer`.
    values
        Width of what attention reads; 0 is no attention.
    attention_size, normalizer
        Of the attention, see :class:`AlignmentAttention`.
    dropout
        Share of the numbers of the frames that it reads, in [0, 1); training only.
    restart
        Forget after every step what the layers remember, as the published attention decoders do.
    """

    def __init__(
        self,
        n_bands: int,
        units: int,
        lanes: int,
        cell: str,
        *,
        values: int = 0,
        attention_size: int = 256,
        normalizer: Normalizer = softmax,
        dropout: float = 0.2,
        restart: bool = False,
    ) -> None:
        super().__init__()
        width = lanes * units
        self.lower = ParallelLayer(values + n_bands, units, lanes, cell)
        self.upper = ParallelLayer(width, units, lanes, cell)
        self.attention = AlignmentAttention(values, width, attention_size, normalizer) if values else None
        self.output = nn.Linear(width, n_bands)
        self.dropout = nn.Dropout(dropout)
        self.restart = restart
        self.values = values

    @property
    def layers(self) -> tuple[ParallelLayer, ParallelLayer]:
        """Both recurrent layers, from the input up."""
        return self.lower, self.upper

    def forward(
        self,
        previous: Float[Tensor, "batch steps bands"],
        states: Sequence[State],
        *,
        memory: Float[Tensor, "batch frames values"] | None = None,
        mask: Bool[Tensor, "batch frames"] | None = None,
        query: Float[Tensor, "batch hidden"] | None = None,
        own: Bool[Tensor, "batch steps"] | None = None,
    ) -> Decoded:
        """Rebuild a sequence.

        Parameters
        ----------
        previous
            The true frame before each step.
        states
            Where each layer starts.
        memory, mask
            What attention reads, and which of its frames are valid (None is all).
        query
            What attention asks with at the first step.
        own
            Where the decoder reads what it made itself in place of ``previous``; None is nowhere.
        """
        if self.attention is None and own is None:
            hidden = self.dropout(previous)
            for layer, state in zip(self.layers, states, strict=True):
                hidden = layer(hidden, state)
            return Decoded(torch.tanh(self.output(hidden)), hidden, None)
        return self._unroll(previous, states, memory, mask, query, own)

    def _unroll(
        self,
        previous: Tensor,
        states: Sequence[State],
        memory: Tensor | None,
        mask: Tensor | None,
        query: Tensor | None,
        own: Tensor | None,
    ) -> Decoded:
        batch, n_steps, n_bands = previous.shape
        weight, bias = self.lower.input_weight, self.lower.input_bias
        from_frame = weight[self.values :]
        # What the frames give to the gates does not wait for the decoder, unless it reads its own.
        input_gates = (
            F.linear(self.dropout(previous), from_frame.T, bias) if own is None else bias.expand(batch, n_steps, -1)
        )
        input_gates = input_gates.transpose(0, 1)  # (T, B, gates)
        attending = None
        if self.attention is not None and memory is not None:
            attending = _Attending(self.attention, memory, mask, weight[: self.values], input_gates)
        lower, upper = (layer.steps(n_steps, state) for layer, state in zip(self.layers, states, strict=True))
        upwards = ReusedMatrix(self.upper.input_weight[None], self.upper.input_bias.expand(n_steps, 1, batch, -1))
        hidden: list[Tensor] = []
        frames: list[Tensor] = []
        generated = previous.new_zeros(batch, n_bands)
        for step in range(n_steps):
            gates = input_gates[step] if attending is None or query is None else attending(step, query)  # (B, gates)
            if own is not None:
                frame = torch.where(own[:, step, None], generated, previous[:, step])
                gates = gates + self.dropout(frame) @ from_frame
            if self.restart:
                lower.state, upper.state = states
            query = upper(step, upwards(step, lower(step, gates)[None])[0])  # (B, H)
            hidden.append(query)
            if own is not None:
                frames.append(torch.tanh(self.output(query)))
                generated = frames[-1].detach()
        sequence = torch.stack(hidden, dim=1)  # (B, T, H)
        rebuilt = torch.stack(frames, dim=1) if frames else torch.tanh(self.output(sequence))
        return Decoded(rebuilt, sequence, None if attending is None else torch.stack(attending.weights, dim=1))


class _Attending:
    """State of an attention over the steps of a sequence: its context goes directly to the gates of the first layer."""

    def __init__(
        self,
        attention: AlignmentAttention,
        memory: Float[Tensor, "batch frames values"],
        mask: Bool[Tensor, "batch frames"] | None,
        weight: Float[Tensor, "values gates"],
        input_gates: Float[Tensor, "steps batch gates"],
    ) -> None:
        n_steps, batch, _ = input_gates.shape
        nothing = memory.new_zeros(())
        self.weights: list[Tensor] = []
        self._attention, self._mask, self._dtype = attention, mask, memory.dtype
        self._keys = attention.keys(memory)  # (B, S, A)
        size, values = self._keys.shape[2], memory.shape[2]
        self._asks = ReusedMatrix(attention.query.weight.T[None], nothing.expand(n_steps, 1, batch, size))
        self._reads = ReusedMatrix(memory, nothing.expand(n_steps, batch, 1, values))
        self._enters = ReusedMatrix(weight[None], input_gates[:, None])

    def __call__(self, step: int, query: Float[Tensor, "batch hidden"]) -> Float[Tensor, "batch gates"]:
        asking = self._asks(step, query[None]).transpose(0, 1)  # (B, 1, A)
        weights = self._attention.weights(self._keys, asking, self._mask)  # (B, S)
        self.weights.append(weights)
        context = self._reads(step, weights[:, None].to(self._dtype))  # (B, 1, values)
        return self._enters(step, context.transpose(0, 1))[0]
