"""Tempo and pitch of sounds, each changed alone by a phase vocoder, in batch on the device.

Every function draws from the
``torch.Generator`` it is given and from nothing else; padding and the company of
other clips change nothing.

Book page: ``data``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ...core.errors import ConfigError
from .._torchaudio import torchaudio
from ..features.log_mel import frame_mask

__all__ = ["shift_pitch", "stretch_time"]

Waveforms = Float[Tensor, "batch samples"]


def stretch_time(
    waveforms: Waveforms,
    lengths: Int[Tensor, batch] | None,
    percents: Sequence[int] = (90, 100, 110),
    *,
    n_fft: int = 512,
    generator: torch.Generator,
) -> tuple[Waveforms, Int[Tensor, batch]]:
    r"""Change the tempo of each clip by a factor drawn from ``percents``; its pitch stays.

    A phase vocoder: frame :math:`k` of the result has the magnitude of the clip
    at frame :math:`k r`, between two frames that of both, and a phase that moves
    on from the frame before by as much as it does between these two.

    Parameters
    ----------
    waveforms, lengths
        Clips and their samples; None: all are valid.
    percents
        Tempos in percent of the original, :math:`100 r`, each from 50 to 200; 110 is shorter.
    n_fft
        Samples of a frame, a multiple of 4, at least 16; frames lie a quarter of it apart.
    generator
        Random number generator.

    Returns
    -------
    waveforms : Tensor
        Padded with zeros to the longest.
    lengths : Tensor
        Samples of each clip, ``ceil(length * 100 / percent)``.

    Notes
    -----
    Flanagan and Golden, *Phase vocoder*, Bell System Technical Journal 45 (9),
    1966. Book page: ``data``.
    """
    clean, lengths, drawn = _prepare(waveforms, lengths, percents, generator)
    return _stretch(clean, lengths, drawn.double() / 100, n_fft, -(-lengths * 100 // drawn))


def shift_pitch(
    waveforms: Waveforms,
    lengths: Int[Tensor, batch] | None,
    percents: Sequence[int] = (94, 100, 106),
    *,
    n_fft: int = 512,
    generator: torch.Generator,
) -> Waveforms:
    """Change the pitch of each clip by a factor drawn from ``percents``; its length stays.

    The tempo is changed by :func:`stretch_time` and taken back by resampling, so the formants move with the pitch,
    as in a smaller or a larger mouth.

    Parameters
    ----------
    waveforms, lengths
        Clips and their samples; None: all are valid.
    percents
        Pitches in percent of the original, each from 50 to 200; 106 is a semitone higher.
    n_fft
        As in :func:`stretch_time`.
    generator
        Random number generator.

    Notes
    -----
    Book page: ``data``.
    """
    clean, lengths, drawn = _prepare(waveforms, lengths, percents, generator)
    longer = -(-lengths * drawn // 100)
    stretched, _ = _stretch(clean, lengths, 100 / drawn.double(), n_fft, longer)
    shifted, _ = _resample(stretched, longer, drawn)
    result = waveforms.new_zeros(waveforms.shape)
    width = min(result.shape[1], shifted.shape[1])
    result[:, :width] = shifted[:, :width]
    result = result * frame_mask(lengths, result.shape[1])
    # what is not shifted is left as it was, not taken apart and put together again
    return torch.where((drawn == 100)[:, None], clean, result)


def _prepare(
    waveforms: Waveforms, lengths: Tensor | None, percents: Sequence[int], generator: torch.Generator
) -> tuple[Waveforms, Tensor, Tensor]:
    """Return clips with zeros on padding, their lengths, and a number out of ``percents`` for each."""
    if not percents or any(not 50 <= percent <= 200 for percent in percents):
        raise ConfigError(f"percents is {tuple(percents)}; it must be one or more whole numbers from 50 to 200")
    batch, samples = waveforms.shape
    device = waveforms.device
    lengths = torch.full((batch,), samples, device=device) if lengths is None else lengths.to(device)
    drawn = torch.randint(len(percents), (batch,), generator=generator, device=generator.device).to(device)
    clean = waveforms.masked_fill(~frame_mask(lengths, samples), 0.0)
    return clean, lengths, torch.tensor(percents, device=device)[drawn]


def _resample(clean: Waveforms, lengths: Tensor, percents: Tensor) -> tuple[Waveforms, Tensor]:
    """Each clip played at its speed, and its samples then."""
    changed_lengths = -(-lengths * 100 // percents)
    result = clean.new_zeros(len(clean), int(changed_lengths.max()))
    for percent in percents.unique().tolist():
        rows = (percents == percent).nonzero()[:, 0]
        changed = clean[rows]
        if percent != 100:
            changed = torchaudio().functional.resample(changed, percent, 100)
        width = min(changed.shape[1], result.shape[1])
        result[rows, :width] = changed[:, :width]
    return result * frame_mask(changed_lengths, result.shape[1]), changed_lengths


def _stretch(
    clean: Waveforms, lengths: Tensor, rates: Tensor, n_fft: int, changed_lengths: Tensor
) -> tuple[Waveforms, Tensor]:
    """Each clip at ``rates`` times its tempo, with as many samples as asked for."""
    if n_fft < 16 or n_fft % 4:
        raise ConfigError(f"n_fft is {n_fft}; it must be a multiple of 4, at least 16 samples")
    hop = n_fft // 4
    window = torch.hann_window(n_fft, device=clean.device, dtype=clean.dtype)
    # silence behind the longest clip, so that no clip's end is the end of the batch
    padded = torch.nn.functional.pad(clean, (0, n_fft))
    spectra = torch.stft(padded, n_fft, hop, window=window, pad_mode="constant", return_complex=True)  # (B, F, T)
    samples = int(changed_lengths.max())
    frames = (samples + n_fft) // hop + 1
    position = torch.arange(frames, device=clean.device) * rates[:, None]  # (B, K), in frames of the clip
    first = position.floor().long()
    share = (position - first).to(clean.dtype)[:, None]
    last = spectra.shape[2] - 1
    bins = spectra.shape[1]
    before, after = (spectra.gather(2, at.clamp(max=last)[:, None].expand(-1, bins, -1)) for at in (first, first + 1))
    magnitude = (1 - share) * before.abs() + share * after.abs()
    magnitude = magnitude * (first <= last)[:, None]
    turn = 2 * math.pi
    step = torch.arange(bins, device=clean.device, dtype=clean.dtype)[:, None] * (turn * hop / n_fft)
    moved = after.angle() - before.angle() - step
    moved = moved - turn * (moved / turn).round() + step
    # whole turns are nothing: left in, they would take the digits of the sum
    moved = moved - turn * (moved / turn).round()
    phase = torch.cat([before[..., :1].angle(), moved[..., :-1]], dim=2).cumsum(dim=2)
    result = torch.istft(torch.polar(magnitude, phase), n_fft, hop, window=window, length=samples)
    return result * frame_mask(changed_lengths, samples), changed_lengths
