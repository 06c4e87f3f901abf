r"""Inversion of log-mel spectrograms to sound.

A mel spectrogram has lost two things: the fine structure of the spectrum inside
each band, and all phases. Neither comes back. What is made up for them sounds
hoarse and hollow, so a sound from here shows what a spectrogram says about
rhythm and colour of a voice, not how the voice sounded.

Book page: ``sleepiness``.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from ...core.errors import ConfigError
from .log_mel import LogMel

__all__ = ["invert_mel"]

_SPECTRUM_STEPS = 60
_TINY = 1e-12


@torch.no_grad()
def invert_mel(
    decibels: Float[Tensor, "frames mels"], front_end: LogMel, *, n_iterations: int = 32, seed: int = 0
) -> Float[Tensor, " samples"]:
    r"""Invert a log-mel spectrogram by non-negative least squares and the algorithm of Griffin and Lim.

    The power :math:`P \ge 0` of the bins solves :math:`P W \approx M` for the mel filters :math:`W` by multiplicative
    updates, :math:`P \leftarrow P \cdot M W^\top / (P W W^\top)`. Phases start at random and are made consistent by
    going to a sound and back, ``n_iterations`` times.

    Parameters
    ----------
    decibels
        What ``front_end`` gives for one sound, shape ``(T, n_mels)``; its loudest value may be anything.
    front_end
        The transform, without a normalisation.
    n_iterations
        At least 1.
    seed
        Of the first phases.

    Returns
    -------
    Tensor
        float32, ``(T - 1) * hop_length`` samples (at least one), loudest value 0.9.

    Raises
    ------
    ConfigError
        When the front end normalises its bands, which no sound can undo, or ``n_iterations`` is below 1.

    Notes
    -----
    Lee and Seung, *Algorithms for non-negative matrix factorization*, NeurIPS 2000; Griffin and Lim, *Signal
    estimation from modified short-time Fourier transform*, 1984. Book page: ``sleepiness``.
    """
    if front_end.normalisation is not None:
        raise ConfigError(f"normalisation is {front_end.normalisation!r}; only a front end without one can be inverted")
    if n_iterations < 1:
        raise ConfigError(f"n_iterations is {n_iterations}; it must be at least 1")
    weights = front_end.weights.to(decibels.device, torch.float32)  # (bins, mels)
    mel = 10 ** ((decibels.float() - decibels.max()) / 10)  # (T, mels)
    power = mel @ weights.T + _TINY
    for _ in range(_SPECTRUM_STEPS):
        power = power * (mel @ weights.T) / ((power @ weights) @ weights.T + _TINY)
    magnitude = power.sqrt().T  # (bins, T)
    window = front_end.window.to(decibels.device, torch.float32)
    hop, n_fft = front_end.hop_length, front_end.n_fft
    samples = max(1, (magnitude.shape[1] - 1) * hop)
    generator = torch.Generator().manual_seed(seed)
    angles = torch.rand(magnitude.shape, generator=generator).to(decibels.device) * (2 * torch.pi)
    spectrum = torch.polar(magnitude, angles)
    sound = magnitude.new_zeros(samples)
    for _ in range(n_iterations):
        sound = torch.istft(spectrum, n_fft, hop, window=window, center=True, length=samples)
        again = torch.stft(sound, n_fft, hop, window=window, center=True, pad_mode="constant", return_complex=True)
        spectrum = torch.polar(magnitude, again[:, : magnitude.shape[1]].angle())
    return sound * (0.9 / sound.abs().max().clamp(min=_TINY))
