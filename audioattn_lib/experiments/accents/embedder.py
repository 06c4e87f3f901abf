"""A trained embedding network with all that a sound goes through before it: what a run embeds, it embeds alike.

Book page: ``accents_published``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor, nn

from audioattn_lib.attention.record.record import AttentionRecord
from audioattn_lib.audio import io
from audioattn_lib.audio.features.log_mel import LogMel
from audioattn_lib.audio.features.magnitude_mel import MagnitudeMel
from audioattn_lib.core.errors import ConfigError
from audioattn_lib.models.embedding import EmbeddingNetwork

from .utterances import Normalisation

__all__ = ["Embedder"]

_AT_ONCE = 32


class Embedder(nn.Module):
    """From sounds, or features of the front end, to embeddings and logits, as in the run of the network.

    Parameters
    ----------
    network
        Trained; it reads features that are normalised over the whole utterance.
    front_end
        From sound to features.
    normalisation
        ``"cmn"``, ``"cmvn"`` or ``"none"``.

    Notes
    -----
    Book page: ``accents_published``.
    """

    def __init__(self, network: EmbeddingNetwork, front_end: LogMel | MagnitudeMel, normalisation: str) -> None:
        super().__init__()
        self.network, self.front_end = network, front_end
        self.normalisation = Normalisation(normalisation, decibels=isinstance(front_end, LogMel))

    def normalise(
        self, features: Float[Tensor, "batch frames mels"], lengths: Int[Tensor, " batch"] | None = None
    ) -> Float[Tensor, "batch frames mels"]:
        """Convert features of the front end or of a feature store to network input: units and normalisation."""
        if lengths is None:
            lengths = torch.full((len(features),), features.shape[1], device=features.device)
        return self.normalisation(features, lengths)[0]

    def embed(
        self,
        features: Float[Tensor, "batch frames mels"],
        lengths: Int[Tensor, " batch"] | None = None,
        *,
        record: bool = False,
    ) -> tuple[Float[Tensor, "batch embedding"], AttentionRecord]:
        """Embeddings of features as the front end gives them, and what was attended to."""
        return self.network.embed(self.normalise(features, lengths), lengths, record=record)

    @property
    def frame_range(self) -> tuple[int, int | None]:
        """Fewest and most frames of a clip of an exported network."""
        return self.network.frame_range

    def trace(
        self, features: Float[Tensor, "batch frames mels"], lengths: Int[Tensor, " batch"] | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Logits, and as tensors by name the embeddings and what was attended to."""
        return self.network.trace(self.normalise(features, lengths), lengths)

    def forward(
        self,
        features: Float[Tensor, "batch frames mels"],
        lengths: Int[Tensor, " batch"] | None = None,
        *,
        record: bool = False,
    ) -> tuple[Float[Tensor, "batch classes"], AttentionRecord]:
        """Logits of features as the front end gives them, and what was attended to."""
        return self.network(self.normalise(features, lengths), lengths, record=record)

    @torch.no_grad()
    def embed_sounds(
        self, sounds: str | Path | NDArray[Any] | Sequence[str | Path | NDArray[Any]], sample_rate: int | None = None
    ) -> NDArray[np.float32]:
        """Embeddings of whole sounds, shape ``(sounds, E)``.

        Parameters
        ----------
        sounds
            Files in any format and at any rate, or samples ``(n,)`` of one channel; one or several.
        sample_rate
            Rate of samples in hertz; that of files is known.

        Raises
        ------
        ConfigError
            When samples come without a rate, or have several channels.
        AudioError
            When a file cannot be used; the message names it.
        """
        each = [sounds] if isinstance(sounds, (str, Path, np.ndarray)) else list(sounds)
        embeddings = []
        device = next(self.network.parameters()).device
        self.eval()
        for first in range(0, len(each), _AT_ONCE):
            waveforms = [self._samples(sound, sample_rate) for sound in each[first : first + _AT_ONCE]]
            lengths = torch.tensor([len(waveform) for waveform in waveforms], device=device)
            padded = nn.utils.rnn.pad_sequence([torch.as_tensor(waveform) for waveform in waveforms], batch_first=True)
            features, n_frames = self.front_end(padded.to(device), lengths)
            embeddings.append(self.embed(features, n_frames)[0].float().cpu().numpy())
        if not embeddings:
            raise ConfigError("sounds is empty; give at least one")
        return np.concatenate(embeddings)

    def _samples(self, sound: str | Path | NDArray[Any], sample_rate: int | None) -> NDArray[np.float32]:
        rate = self.front_end.sample_rate
        if isinstance(sound, (str, Path)):
            return io.read(sound, rate)[0]
        if sample_rate is None or np.ndim(sound) != 1:
            raise ConfigError(
                f"samples have shape {np.shape(sound)} and sample_rate is {sample_rate}; give one channel, (n,), and "
                "its rate in hertz"
            )
        return io.resample(np.asarray(sound, dtype=np.float32), sample_rate, rate)
