"""Log-mel at several hops: a clip once at a coarse one, and parts of it again at finer ones.

Places are seconds of the clip, so that one decision means the same at every
hop. Parts are analysed from the waveform, not stretched from coarse frames:
what a finer hop adds is really there. All parts of all clips of a batch are
computed at once, on the device of the waveforms.

Book page: ``front_end``.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from ...core.errors import ConfigError
from ...core.tensors import is_exporting
from .log_mel import LogMel, frame_mask

__all__ = ["MultiResolutionLogMel"]


class MultiResolutionLogMel(nn.Module):
    r"""Log-mel spectrograms in decibels at the hops :math:`h_i = h_0/(i+1)`, rounded to whole samples.

    Parameters
    ----------
    stages
        Number of hops, at least 1: ``stages - 1`` replays.
    hop_length
        Samples from one frame to the next at the coarsest hop, :math:`h_0`, at least ``stages``.
    n_fft, win_length
        As for :class:`~audioattn_lib.audio.features.log_mel.LogMel`, the same at every
        hop. A window longer than a fine hop smooths away what that hop could show.
    options
        Further options of :class:`~audioattn_lib.audio.features.log_mel.LogMel`, but
        for ``top_db`` and ``normalisation``: these depend on everything around a
        frame, so the same moment would look different in a clip and in a part of it.

    Notes
    -----
    After Stergiou and Damen, *Play it back: iterative attention for audio
    recognition*, ICASSP 2023, where stage :math:`i` has the hop
    :math:`h_0/(i+1)`. Book page: ``front_end``.
    """

    def __init__(
        self,
        stages: int = 4,
        sample_rate: int = 16_000,
        n_fft: int = 512,
        win_length: int | None = 160,
        hop_length: int = 640,
        n_mels: int = 64,
        **options: Any,
    ) -> None:
        super().__init__()
        if stages < 1:
            raise ConfigError(f"stages is {stages}; it must be at least 1")
        if hop_length < stages:
            raise ConfigError(f"hop_length is {hop_length}; it must be at least one sample a stage, {stages}")
        for name in ("top_db", "normalisation"):
            if name in options:
                raise ConfigError(f"{name} has no place here: it would make parts of a clip differ from the whole")
        self.sample_rate, self.n_mels = sample_rate, n_mels
        self.resolutions = nn.ModuleList(
            LogMel(sample_rate, n_fft, win_length, round(hop_length / (stage + 1)), n_mels, top_db=None, **options)
            for stage in range(stages)
        )

    def __len__(self) -> int:
        return len(self.resolutions)

    def __getitem__(self, stage: int) -> LogMel:
        """The front end of one stage."""
        resolution = self.resolutions[stage]
        assert isinstance(resolution, LogMel)
        return resolution

    @property
    def frequencies(self) -> Float[Tensor, mels]:
        """Centre of each band in hertz."""
        return self[0].frequencies

    def hop(self, stage: int) -> float:
        """Seconds from one frame to the next."""
        return self[stage].hop_length / self.sample_rate

    def count_frames(self, segments: Float[Tensor, "*shape 2"], stage: int) -> Int[Tensor, "*shape"]:
        r"""Frames of parts from ``start`` to ``stop`` seconds.

        They are centred on :math:`\mathrm{start} + k h` before ``stop``, at
        least one; 0 where a part is NaN.
        """
        first, last = self._samples(segments)
        hop = self[stage].hop_length
        count = ((last - first + hop - 1) // hop).clamp(min=1)
        return count.masked_fill(segments.isnan().any(dim=-1), 0)

    def forward(
        self, waveforms: Float[Tensor, "batch samples"], lengths: Int[Tensor, batch] | None = None
    ) -> tuple[Float[Tensor, "batch frames mels"], Int[Tensor, batch]]:
        """Whole clips at the coarsest hop, as :class:`~audioattn_lib.audio.features.log_mel.LogMel` computes them."""
        features, n_frames = self[0](waveforms, lengths)
        return features, n_frames

    def replay(
        self,
        waveforms: Float[Tensor, "batch samples"],
        segments: Float[Tensor, "batch parts 2"],
        stage: int,
        lengths: Int[Tensor, batch] | None = None,
        *,
        longest: float | None = None,
    ) -> tuple[Float[Tensor, "batch parts frames mels"], Int[Tensor, "batch parts"]]:
        """Parts of clips at the hop of a stage.

        Parameters
        ----------
        waveforms
            Samples, shape ``(B, N)``; what lies behind a clip's length is ignored.
        segments
            Start and stop of each part in seconds, rounded to whole samples,
            shape ``(B, S, 2)``. Parts may overlap and have any length; NaN
            stands for one that is missing. A part that reaches out of its clip
            meets silence there.
        stage
            From 0 to ``len(self) - 1``.
        lengths
            Samples of each clip, shape ``(B,)``; None means that all are ``N`` long.
        longest
            Seconds that no part is longer than: results then have the frames of such a part. By default those of the
            longest part, at which a graph for other programs cannot look.

        Returns
        -------
        features : Tensor
            Decibels, 0 on padded frames, shape ``(B, S, T, n_mels)``. Windows at
            the edges of a part reach into the clip around it, so frames are
            those of the clip at this hop wherever the two fall together.
        n_frames : Tensor
            Valid frames of each part, int64, shape ``(B, S)``.

        Raises
        ------
        ValueError
            When shapes do not fit, there is no such stage, or a part ends before it begins.
        """
        batch, samples = waveforms.shape
        if segments.ndim != 3 or segments.shape[0] != batch or segments.shape[2] != 2:
            raise ValueError(f"segments have shape {tuple(segments.shape)}; they must be ({batch}, parts, 2)")
        if not 0 <= stage < len(self):
            raise ValueError(f"stage is {stage}; it must be from 0 to {len(self) - 1}")
        segments = segments.to(waveforms.device)
        if not is_exporting() and bool((segments[..., 1] < segments[..., 0]).any()):
            raise ValueError("a segment ends before it begins; each needs start <= stop, in seconds")
        front = self[stage]
        n_frames = self.count_frames(segments, stage)
        if longest is not None:
            frames = math.ceil((longest * self.sample_rate + 1) / front.hop_length)
        else:
            frames = max(int(n_frames.max()) if n_frames.numel() else 0, 1)
        first, _ = self._samples(segments)
        # Enough of the clip before and after for the windows of the frames at the edges, in whole hops.
        margin = -(-front.n_fft // (2 * front.hop_length))
        reach = (frames - 1 + 2 * margin) * front.hop_length
        if lengths is not None:
            ends = torch.as_tensor(lengths).to(waveforms.device)
            waveforms = waveforms.masked_fill(~frame_mask(ends, samples), 0.0)
        # Silence around the clips, and whole stretches of samples cut out of it: no index for each sample.
        starts = (first - margin * front.hop_length).clamp(min=-reach).clamp(max=samples) + reach
        padded = F.pad(waveforms, (reach, reach))
        if is_exporting():  # other programs have no views
            places = starts[..., None] + torch.arange(reach, device=waveforms.device)
            sound = padded.gather(1, places.flatten(1))
        else:
            stretches = padded.unfold(1, reach, 1)
            sound = stretches[torch.arange(batch, device=waveforms.device)[:, None], starts]
        features, _ = front(sound.reshape(-1, reach))
        features = features[:, margin : margin + frames].unflatten(0, segments.shape[:2])
        valid = frame_mask(n_frames.flatten(), frames).unflatten(0, segments.shape[:2])
        return features.masked_fill(~valid[..., None], 0.0), n_frames

    def _samples(self, segments: Tensor) -> tuple[Tensor, Tensor]:
        """First sample of each part and the one behind its last; both 0 where it is missing."""
        # float32 seconds are exact to a sample for minutes only
        places = (segments.double() * self.sample_rate).round().nan_to_num(0.0).long()
        return places[..., 0], places[..., 1]
