r"""Frames of a pretrained encoder in the place of a log-mel spectrogram.

A layer of a frozen network (wav2vec 2.0, HuBERT, WavLM, Whisper) gives a vector for every frame of a sound. They are
computed once for a corpus, as spectrograms are; what pools and classifies them is trained on top. The clock is that of
the encoder's tokens, so records, players and the evaluation of attention need no change.

Book page: ``urban_sound``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from audioattn_lib.audio.features.log_mel import LogMel
from audioattn_lib.automation.key import file_hash
from audioattn_lib.core.errors import AudioError, ConfigError
from audioattn_lib.core.tensor_files import tensor_digest
from audioattn_lib.inspection.known_models import tokens_of
from audioattn_lib.inspection.pretrained import WHISPER, load_encoder
from audioattn_lib.inspection.tokens import TimeTokens

__all__ = ["PretrainedFrames"]


class PretrainedFrames(nn.Module):
    """Output of one layer of a frozen encoder, from waveforms ``(B, N)`` to frames ``(B, T, width)``.

    Clips are computed with others of their length alone, so a clip gives the same frames in any batch: these networks
    attend to padding.

    Parameters
    ----------
    name
        Folder or identifier, as :func:`~audioattn_lib.inspection.pretrained.load_encoder` takes it.
    layer
        Number of the layer, from 1; 0 is the input of the first.
    bands
        Spectrogram that pictures show in the place of the frames; its rate must be that of the encoder.

    Attributes
    ----------
    n_mels
        Width of a frame.
    clock
        Seconds from frame to frame, and of the beginning of the first.
    win_length
        Samples that one frame is made of before any attention.

    Raises
    ------
    ConfigError
        When the encoder cannot be read, has patches in the place of frames, hears another rate, or has no such layer.

    Notes
    -----
    Book page: ``urban_sound``.
    """

    def __init__(self, name: str, layer: int, bands: LogMel) -> None:
        super().__init__()
        kind, encoder, self._extractor, _ = load_encoder(name)
        tokens = tokens_of(encoder)
        if not isinstance(tokens, TimeTokens):
            raise ConfigError(f"frame_encoder is {name}, a {kind} with patches; name one with frames, such as wav2vec2")
        rate = int(self._extractor.sampling_rate)
        if rate != bands.sample_rate:
            raise ConfigError(f"sample_rate is {bands.sample_rate}; the encoder {name} hears {rate}: set sample_rate")
        network: Any = encoder
        owner = network if kind == WHISPER else network.encoder
        layers = owner.layers
        if not 0 <= layer <= len(layers):
            raise ConfigError(f"frame_layer is {layer}; {name} has layers 1 to {len(layers)}, and 0 before them")
        owner.layers = layers[: max(layer, 1)]  # what lies behind is not computed
        self.name, self.layer, self.bands = name, layer, bands
        self.encoder = encoder.requires_grad_(False)
        self._owner = owner
        self._clock = (tokens.clock.period, tokens.clock.start)
        self.sample_rate = rate
        self.win_length = math.ceil((tokens.receptive_field or tokens.period) * rate)
        self.n_mels = int(network.config.hidden_size)
        self._positions: nn.Embedding | None = network.embed_positions if kind == WHISPER else None
        self.identity = f"frames of layer {layer} of {kind} {_identity(name, encoder)}"

    @property
    def clock(self) -> tuple[float, float]:
        """Period and start of the frames in seconds."""
        return self._clock

    @property
    def frequencies(self) -> Tensor:
        """Centres of the bands of the pictures in hertz."""
        return self.bands.frequencies

    def train(self, mode: bool = True) -> Self:
        """Stay in evaluation mode."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, waveforms: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Frames ``(B, T, width)``, 0 on padding, and how many each clip has.

        Raises
        ------
        AudioError
            When a clip is shorter than what one frame is made of, or longer than what the encoder takes.
        """
        if lengths is None:
            lengths = torch.full((len(waveforms),), waveforms.shape[1], device=waveforms.device)
        frames: list[Tensor] = [waveforms.new_zeros(0, self.n_mels)] * len(waveforms)
        for length in lengths.unique().tolist():
            rows = (lengths == length).nonzero()[:, 0].tolist()
            for row, hidden in zip(rows, self._encode(waveforms[rows, :length]), strict=True):
                frames[row] = hidden
        counts = torch.tensor([len(hidden) for hidden in frames], device=lengths.device)
        return nn.utils.rnn.pad_sequence(frames, batch_first=True), counts

    def _encode(self, waveforms: Tensor) -> Tensor:
        """Frames of clips of one length."""
        seconds = waveforms.shape[1] / self.sample_rate
        if waveforms.shape[1] < self.win_length:
            least = self.win_length / self.sample_rate
            raise AudioError(f"a clip has {seconds:.3f} s; a frame of {self.name} is made of {least:.3f} s")
        options: dict[str, Any] = {"padding": "longest", "truncation": False, "return_tensors": "pt"}
        if self._positions is not None:  # a frame of Whisper is of two spectra; it takes no half of one
            options["pad_to_multiple_of"] = 2 * int(self._extractor.hop_length)
        prepared = self._extractor(list(waveforms.cpu().numpy()), sampling_rate=self.sample_rate, **options)
        inputs = next(prepared[field] for field in ("input_features", "input_values") if field in prepared)
        hidden_states: list[Tensor] = []
        with self._hook(hidden_states.append), self._as_long_as(inputs, seconds):
            self.encoder(inputs.to(waveforms.device))
        return hidden_states[0].float()

    @contextmanager
    def _hook(self, take: Callable[[Tensor], None]) -> Iterator[None]:
        """Take the output of the layer, or the input of the first."""
        layers: Any = self._owner.layers
        if self.layer:
            handle = layers[-1].register_forward_hook(
                lambda _, __, out: take(out[0] if isinstance(out, tuple) else out)
            )
        else:
            handle = layers[0].register_forward_pre_hook(
                lambda _, inputs, named: take(inputs[0] if inputs else named["hidden_states"]), with_kwargs=True
            )
        try:
            yield
        finally:
            handle.remove()

    @contextmanager
    def _as_long_as(self, inputs: Tensor, seconds: float) -> Iterator[None]:
        """Whisper takes 30 s alone; with as many of its fixed positions as a clip has, it takes the clip as it is."""
        if self._positions is None:
            yield
            return
        encoder: Any = self.encoder
        count, most = (inputs.shape[-1] + 1) // 2, self._positions.num_embeddings
        if count > most:
            raise AudioError(f"a clip has {seconds:.1f} s; {self.name} takes {most * self.clock[0]:.0f} s: cut it")
        encoder.embed_positions = nn.Embedding.from_pretrained(self._positions.weight[:count])
        encoder.config.max_source_positions = count
        try:
            yield
        finally:
            encoder.embed_positions, encoder.config.max_source_positions = self._positions, most


def _identity(name: str, encoder: nn.Module) -> str:
    """Hash of the weights: of the file in a folder, else of the tensors."""
    weights = Path(name) / "model.safetensors"
    if weights.is_file():
        return file_hash(weights)
    return tensor_digest(encoder.state_dict())
