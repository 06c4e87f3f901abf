r"""Clocks of the tokens of known models.

Models of Hugging Face's ``transformers`` are known by the ``model_type`` of ``model.config``, others by the name of
their class. None of their libraries is imported.

============================================ ============================================================
model                                        tokens
============================================ ============================================================
wav2vec 2.0, HuBERT, WavLM, UniSpeech,       convolutions over samples
data2vec audio
Whisper (encoder, and keys of its cross      two convolutions over log-mel frames of 10 ms
attention)
audio spectrogram transformer                patches of a log-mel spectrogram, behind two special tokens
CLAP (audio tower)                           patches of a folded log-mel spectrogram of 48 kHz, within windows
``Wav2Vec2Model`` of torchaudio (its         convolutions over samples
bundles of wav2vec 2.0, HuBERT, WavLM)
``ECAPA_TDNN`` of SpeechBrain                log-mel frames of 10 ms
``FrequencyTransformer`` of this library     patches of a log-mel spectrogram, behind its global tokens
``PaSST`` of hear21passt, and the wrapper    patches of a log-mel spectrogram of 32 kHz, behind its class tokens
that ``get_basic_model`` gives
============================================ ============================================================

Book page: ``your_sounds``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from audioattn_lib.core.errors import ConfigError

from .tokens import PatchTokens, TimeTokens, WindowTokens

__all__ = ["KNOWN_CLASSES", "KNOWN_MODELS", "WINDOWED_MODELS", "tokens_of", "windows_of"]

_SAMPLE_RATE = 16000
_HOP, _WINDOW = 160, 400  # samples of the log-mel front ends of Whisper and of the spectrogram transformer
_CLAP_HOP, _CLAP_FRAMES, _CLAP_HERTZ = 0.01, 1001, (50.0, 14000.0)  # of CLAP's published extractors
_LOWEST = 20.0  # hertz, of Kaldi's mel bands


def tokens_of(model: nn.Module) -> TimeTokens | PatchTokens:
    """Time, and frequency, of the tokens of a known model, from its configuration.

    Parameters
    ----------
    model
        A model, one with a head around it, or its encoder. Sound is of 16 kHz, but for ``FrequencyTransformer``, which
        has a clock of its own, and PaSST, which hears 32 kHz.

    Raises
    ------
    ConfigError
        When neither the type in its configuration nor its class is known.

    Notes
    -----
    Tokens of ``FrequencyTransformer`` and PaSST are those of their longest input. Patchout, which leaves patches out,
    is for training: call PaSST in evaluation mode. A frame of ECAPA sees the whole clip through the means of its
    squeeze-and-excitation blocks; the receptive field is that of the spectrogram.

    Book page: ``your_sounds``.
    """
    config = getattr(model, "config", None)
    kind = getattr(config, "model_type", None)
    if kind is None and (name := type(model).__name__) in KNOWN_CLASSES:
        return KNOWN_CLASSES[name](model)
    if kind not in KNOWN_MODELS:
        raise ConfigError(
            f"{type(model).__name__} is of model type {kind!r}; known are "
            f"{', '.join(KNOWN_MODELS)}, and the classes {', '.join(KNOWN_CLASSES)}: "
            "give TimeTokens or PatchTokens for another one"
        )
    return KNOWN_MODELS[kind](config)


def windows_of(model: nn.Module) -> WindowTokens | None:
    """Time and frequency of the tokens of a known model that attends within windows; None for any other.

    Parameters
    ----------
    model
        CLAP, or its audio tower. It hears 10 s of 48 kHz: its extractor repeats what is shorter.

    Notes
    -----
    Book page: ``your_sounds``.
    """
    config = getattr(model, "config", None)
    is_windowed = getattr(config, "model_type", None) in WINDOWED_MODELS
    return _clap(getattr(config, "audio_config", config)) if is_windowed else None


def _over_samples(config: Any) -> TimeTokens:
    return TimeTokens.of_convolutions(config.conv_kernel, config.conv_stride, _SAMPLE_RATE)


def _whisper(config: Any) -> TimeTokens:
    # frame i of the spectrogram is centred where hop i begins, half a hop before a sample of that rate
    tokens = TimeTokens.of_convolutions((3, 3), (1, 2), _SAMPLE_RATE / _HOP, (1, 1))
    assert tokens.centre is not None
    assert tokens.receptive_field is not None
    field = tokens.receptive_field + (_WINDOW - _HOP) / _SAMPLE_RATE
    return TimeTokens(tokens.period, tokens.centre - _HOP / _SAMPLE_RATE / 2, field)


def _spectrogram_transformer(config: Any) -> PatchTokens:
    size, over_time, over_bands = config.patch_size, config.time_stride, config.frequency_stride
    bands = (config.num_mel_bins - size) // over_bands + 1
    frames = (config.max_length - size) // over_time + 1
    middle = over_bands * np.arange(bands) + (size - 1) / 2
    frequencies = _mel_centres(middle, config.num_mel_bins, _LOWEST, _SAMPLE_RATE / 2)
    hop = _HOP / _SAMPLE_RATE
    # frame i of Kaldi's features begins with sample i * hop
    centre = (size - 1) / 2 * hop + _WINDOW / _SAMPLE_RATE / 2
    return PatchTokens(bands, frames, over_time * hop, centre, frequencies, first=2)


def _clap(config: Any) -> WindowTokens:
    import librosa

    stride, folds = config.patch_stride[0], config.spec_size // config.num_mel_bins
    width = config.spec_size * folds  # frames of the image, over which shorter spectrograms are stretched
    stretch = (min(_CLAP_FRAMES, width) - 1) / (width - 1)
    # frame i of a centred transform lies around the instant at which hop i begins, half a frame before its column ends
    start = -0.5 * _CLAP_HOP * stretch
    lowest, highest = _CLAP_HERTZ
    mels = librosa.mel_frequencies(config.num_mel_bins + 2, fmin=lowest, fmax=highest, htk=config.enable_fusion)[1:-1]
    return WindowTokens(
        config.spec_size // stride,
        config.spec_size // stride,
        folds,
        config.window_size,
        tuple(config.depths),
        stride * _CLAP_HOP * stretch,
        start,
        mels.reshape(-1, stride).mean(axis=1),
    )


def _torchaudio(model: Any) -> TimeTokens:
    layers = model.feature_extractor.conv_layers
    kernels, strides = [layer.conv.kernel_size[0] for layer in layers], [layer.conv.stride[0] for layer in layers]
    return TimeTokens.of_convolutions(kernels, strides, _SAMPLE_RATE)


def _ecapa(model: Any) -> TimeTokens:
    # frames of a centred transform, frame i around the instant at which hop i begins
    return TimeTokens(_HOP / _SAMPLE_RATE, 0.0, _WINDOW / _SAMPLE_RATE)


def _passt(model: Any, front_end: Any = None) -> PatchTokens:
    embedding = model.patch_embed
    (height, width), (down, right) = embedding.patch_size, embedding.stride
    n_mels, longest = embedding.img_size
    bands, frames = (n_mels - height) // down + 1, (longest - width) // right + 1
    lowest, highest = (0.0, 15000.0) if front_end is None else (front_end.fmin, front_end.fmax)
    # frame i of its centred transform lies around the instant at which hop i begins
    hop = 0.01 if front_end is None else front_end.hopsize / front_end.sr
    frequencies = _mel_centres(down * np.arange(bands) + (height - 1) / 2, n_mels, lowest, highest)
    return PatchTokens(bands, frames, right * hop, (width - 1) / 2 * hop, frequencies, first=model.num_tokens)


def _mel_centres(bands: NDArray[np.floating], count: int, lowest: float, highest: float) -> NDArray[np.floating]:
    """Hertz of some of ``count`` bands of Kaldi, band b being centred at (b + 1) / (count + 1) of the mel scale."""
    bottom, top = (1127 * np.log1p(hertz / 700) for hertz in (lowest, highest))
    centres: NDArray[np.floating] = 700 * np.expm1((bottom + (bands + 1) / (count + 1) * (top - bottom)) / 1127)
    return centres


def _frequency_transformer(model: Any) -> PatchTokens:
    (height, width), (down, right) = model.shape.patch, model.shape.stride
    frequencies = None
    if model.frequencies is not None:
        middle = down * np.arange(model.grid.rows) + (height - 1) / 2
        frequencies = np.interp(middle, np.arange(model.n_mels), np.asarray(model.frequencies))
    period, start = model.clock.period, model.clock.start
    rows, columns, centre = model.grid.rows, model.grid.columns, start + width / 2 * period
    return PatchTokens(rows, columns, right * period, centre, frequencies, first=model.n_global)


KNOWN_MODELS: dict[str, Callable[[Any], TimeTokens | PatchTokens]] = {
    "wav2vec2": _over_samples,
    "hubert": _over_samples,
    "wavlm": _over_samples,
    "unispeech": _over_samples,
    "unispeech-sat": _over_samples,
    "data2vec-audio": _over_samples,
    "whisper": _whisper,
    "audio-spectrogram-transformer": _spectrogram_transformer,
}
"""Types of models, as their configuration has them, and what reads the clock of their tokens."""

WINDOWED_MODELS = ("clap_audio_model", "clap")
"""Types of models whose tokens attend within windows."""

KNOWN_CLASSES: dict[str, Callable[[Any], TimeTokens | PatchTokens]] = {
    "Wav2Vec2Model": _torchaudio,
    "ECAPA_TDNN": _ecapa,
    "FrequencyTransformer": _frequency_transformer,
    "PaSST": _passt,
    "PasstBasicWrapper": lambda model: _passt(model.net, model.mel),
}
"""Classes of models without such a configuration, and what reads the clock of their tokens."""
