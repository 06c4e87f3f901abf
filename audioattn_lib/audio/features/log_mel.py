"""Log-mel spectrograms, computed in batch on any device.

One module serves every experiment: waveforms ``(B, N)`` with lengths in,
features ``(B, T, n_mels)`` with numbers of frames out. Padding changes
nothing: a clip gives the same features alone and in any batch.

Book page: ``front_end``.
"""

from __future__ import annotations

import math
from typing import Literal, Self

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ...core.errors import ConfigError
from ...core.tensors import is_exporting

__all__ = ["LogMel", "frame_mask", "hz_to_mel", "mel_filters", "mel_to_hz"]

MelScale = Literal["htk", "slaney"]
Filters = Literal["triangle", "shared_bandwidth", "mel_triangle"]
Norm = Literal["slaney"] | None
Window = Literal["hann", "hamming"]
Normalisation = Literal["mean", "median", "mean_variance"] | None

_VERSION = 1
_FLOOR = 1e-10
_CACHED_SAMPLES = 1 << 19
_BAND_BLOCK = 16
# Slaney's scale: linear below 1 kHz (3 mels in 200 Hz), logarithmic above (27 mels in a factor of 6.4).
_SLANEY_LINEAR = 200.0 / 3.0
_SLANEY_BREAK_HZ = 1000.0
_SLANEY_BREAK_MEL = _SLANEY_BREAK_HZ / _SLANEY_LINEAR
_SLANEY_STEP = math.log(6.4) / 27.0


def hz_to_mel(frequencies: Float[Tensor, ...], scale: MelScale = "htk") -> Float[Tensor, ...]:
    r"""Mels of frequencies in hertz.

    ``"htk"``: :math:`2595 \log_{10}(1 + f/700)` (O'Shaughnessy, 1987).
    ``"slaney"``: linear to 1 kHz and logarithmic above (Slaney, *Auditory
    Toolbox*, 1998), librosa's default.

    Notes
    -----
    Book page: ``front_end``.
    """
    if scale == "htk":
        return 2595.0 * torch.log10(1.0 + frequencies / 700.0)
    linear = frequencies / _SLANEY_LINEAR
    above = torch.log(frequencies.clamp(min=_SLANEY_BREAK_HZ) / _SLANEY_BREAK_HZ) / _SLANEY_STEP
    return torch.where(frequencies < _SLANEY_BREAK_HZ, linear, _SLANEY_BREAK_MEL + above)


def mel_to_hz(mels: Float[Tensor, ...], scale: MelScale = "htk") -> Float[Tensor, ...]:
    """Frequencies in hertz of mels: the inverse of :func:`hz_to_mel`.

    Notes
    -----
    Book page: ``front_end``.
    """
    if scale == "htk":
        return 700.0 * (10.0 ** (mels / 2595.0) - 1.0)
    above = _SLANEY_BREAK_HZ * torch.exp(_SLANEY_STEP * (mels - _SLANEY_BREAK_MEL))
    return torch.where(mels < _SLANEY_BREAK_MEL, mels * _SLANEY_LINEAR, above)


def mel_filters(
    sample_rate: int,
    n_fft: int,
    n_mels: int,
    f_min: float = 0.0,
    f_max: float | None = None,
    *,
    scale: MelScale = "htk",
    filters: Filters = "triangle",
    norm: Norm = None,
) -> tuple[Float[Tensor, "bins mels"], Float[Tensor, mels]]:
    r"""Filters from spectrum bins to mel bands, and the centre of each band in hertz.

    With the edges :math:`f_0 < \dots < f_{n+1}` equally spaced in mels,
    ``"triangle"`` rises from :math:`f_{i-1}` to 1 at :math:`f_i` and falls to
    0 at :math:`f_{i+1}`. ``"shared_bandwidth"`` is the published front end,
    both sides of which have the width of the left one:
    :math:`[1 - |f - f_i| / (f_i - f_{i-1})]_+`. ``"mel_triangle"`` rises and
    falls straight in mels instead of hertz, as Kaldi's filters do.
    ``norm="slaney"`` divides a filter by half the distance of its outer edges,
    so that each has the same area.

    Returns
    -------
    weights : Tensor
        float64, shape ``(n_fft // 2 + 1, n_mels)``.
    centres : Tensor
        float64, hertz, shape ``(n_mels,)``.

    Notes
    -----
    Book page: ``front_end``.
    """
    high = sample_rate / 2 if f_max is None else f_max
    bounds = hz_to_mel(torch.tensor([f_min, high], dtype=torch.float64), scale)
    mels = torch.linspace(float(bounds[0]), float(bounds[1]), n_mels + 2, dtype=torch.float64)
    edges = mel_to_hz(mels, scale)
    bins = torch.linspace(0.0, sample_rate / 2, n_fft // 2 + 1, dtype=torch.float64)[:, None]
    at, corners = (hz_to_mel(bins, scale), mels) if filters == "mel_triangle" else (bins, edges)
    left, centre, right = corners[:-2], corners[1:-1], corners[2:]
    rise = (at - left) / (centre - left)
    fall = 1.0 - (at - centre) / (centre - left) if filters == "shared_bandwidth" else (right - at) / (right - centre)
    weights = torch.minimum(rise, fall).clamp(min=0.0)
    if norm == "slaney":
        weights = weights * (2.0 / (edges[2:] - edges[:-2]))
    return weights, edges[1:-1]


def _nonzero_blocks(weights: Tensor) -> list[tuple[slice, slice]]:
    """Blocks of bands with the rows of real and imaginary parts that they read.

    Filters are narrow: multiplying with the whole table would be zeros for
    nine tenths.
    """
    blocks = []
    for first in range(0, weights.shape[1], _BAND_BLOCK):
        bands = slice(first, min(first + _BAND_BLOCK, weights.shape[1]))
        bins = weights[:, bands].any(dim=1).nonzero()[:, 0].tolist() or [0]
        blocks.append((slice(2 * bins[0], 2 * bins[-1] + 2), bands))
    return blocks


def frame_mask(n_frames: Int[Tensor, batch], frames: int) -> Tensor:
    """True on the frames that belong to each clip, shape ``(batch, frames)``.

    Notes
    -----
    Book page: ``front_end``.
    """
    return torch.arange(frames, device=n_frames.device) < n_frames[:, None]


class LogMel(nn.Module):
    r"""Log-mel spectrogram in decibels.

    .. math:: X_{t,m} = 10 \log_{10} \max\Bigl(\sum_f W_{f,m}\,
       \bigl|\textstyle\sum_n w_n\, x_{th+n-n_{\mathrm{fft}}/2}\, e^{-2\pi i f n/n_{\mathrm{fft}}}\bigr|^2,
       10^{-10}\Bigr)

    for the frames :math:`t = 0, \dots, \lfloor N/h \rfloor`, each centred on
    sample :math:`th`, with zeros outside of the clip.

    Parameters
    ----------
    sample_rate
        Rate of the waveforms in hertz, above 0.
    n_fft
        Length of the Fourier transform in samples, at least 2.
    win_length
        Length of the window in samples, at most ``n_fft``; None is ``n_fft``.
        A shorter one stands in the middle of the transform.
    hop_length
        Samples from one frame to the next, at least 1.
    n_mels
        Mel bands, at least 1.
    f_min, f_max
        Lowest and highest edge in hertz, ``0 <= f_min < f_max <= sample_rate / 2``;
        None is half the sample rate.
    window
        ``"hann"`` or ``"hamming"``, periodic.
    scale, filters, norm
        See :func:`mel_filters`.
    top_db
        Nothing is further than this below the loudest value of its clip, in
        decibels above 0; None keeps everything.
    normalisation
        What is done to each band of a clip, over its frames. ``"mean"``
        subtracts the mean. ``"median"`` subtracts the median (the lower of the
        two in the middle), which short events do not move, so they leave no
        trace in the frames without them. ``"mean_variance"`` subtracts the mean
        and divides by the standard deviation (at least 1e-5 dB). None does
        nothing.

    Notes
    -----
    float32 (float64 waveforms give float64 features), also inside of autocast.

    Book page: ``front_end``.
    """

    window: Tensor
    weights: Tensor
    frequencies: Tensor

    def __init__(
        self,
        sample_rate: int = 16_000,
        n_fft: int = 400,
        win_length: int | None = None,
        hop_length: int = 160,
        n_mels: int = 80,
        f_min: float = 0.0,
        f_max: float | None = None,
        *,
        window: Window = "hann",
        scale: MelScale = "htk",
        filters: Filters = "triangle",
        norm: Norm = None,
        top_db: float | None = 80.0,
        normalisation: Normalisation = None,
    ) -> None:
        super().__init__()
        win_length = n_fft if win_length is None else win_length
        f_max = sample_rate / 2 if f_max is None else f_max
        for name, value in (
            ("sample_rate", sample_rate),
            ("hop_length", hop_length),
            ("n_mels", n_mels),
            ("n_fft", n_fft - 1),
        ):
            if value < 1:
                actual = n_fft if name == "n_fft" else value
                raise ConfigError(f"{name} is {actual}; it must be at least {2 if name == 'n_fft' else 1}")
        if not 1 <= win_length <= n_fft:
            raise ConfigError(f"win_length is {win_length}; it must be between 1 and n_fft = {n_fft} samples")
        if not 0 <= f_min < f_max <= sample_rate / 2:
            raise ConfigError(
                f"f_min is {f_min} and f_max {f_max} Hz; they must satisfy 0 <= f_min < f_max <= {sample_rate / 2}"
            )
        if top_db is not None and not top_db > 0:
            raise ConfigError(f"top_db is {top_db}; it must be above 0 dB, or None")
        for name, given_name, allowed in (
            ("window", window, ("hann", "hamming")),
            ("scale", scale, ("htk", "slaney")),
            ("filters", filters, ("triangle", "shared_bandwidth", "mel_triangle")),
            ("norm", norm, (None, "slaney")),
            ("normalisation", normalisation, (None, "mean", "median", "mean_variance")),
        ):
            if given_name not in allowed:
                raise ConfigError(f"{name} is {given_name!r}; it must be one of {', '.join(map(repr, allowed))}")
        self.sample_rate = sample_rate
        self.n_fft = n_fft
        self.win_length = win_length
        self.hop_length = hop_length
        self.n_mels = n_mels
        self.top_db = top_db
        self.normalisation = normalisation
        settings = {
            "sample_rate": sample_rate,
            "n_fft": n_fft,
            "win_length": win_length,
            "hop_length": hop_length,
            "n_mels": n_mels,
            "f_min": float(f_min),
            "f_max": float(f_max),
            "window": window,
            "scale": scale,
            "filters": filters,
            "norm": norm,
            "top_db": None if top_db is None else float(top_db),
            "normalisation": normalisation,
        }
        self._settings = ", ".join(f"{name}={value!r}" for name, value in settings.items())
        self.identity = f"LogMel/{_VERSION}({self._settings})"
        make_window = torch.hann_window if window == "hann" else torch.hamming_window
        weights, centres = mel_filters(
            sample_rate, n_fft, n_mels, f_min, f_max, scale=scale, filters=filters, norm=norm
        )
        # float64 here, cast to the precision of the waveforms in use: the tables are small, the choice is theirs.
        full = torch.zeros(n_fft, dtype=torch.float64)
        first = (n_fft - win_length) // 2
        full[first : first + win_length] = make_window(win_length, periodic=True, dtype=torch.float64)
        self._blocks = _nonzero_blocks(weights)
        self.register_buffer("window", full, persistent=False)
        self.register_buffer("weights", weights, persistent=False)
        self.register_buffer("frequencies", centres, persistent=False)

    @classmethod
    def published(cls) -> Self:
        """The front end of the published urban-sound system: 25 ms periodic Hamming window, hop of 10 ms, 80 bands
        that share the bandwidth of their left side, 80 dB of range, mean of each band removed.

        Notes
        -----
        Martins et al., *Sparse continuous distributions and Fenchel-Young
        losses*, JMLR 2022, and the SpeechBrain filterbank it uses.

        Book page: ``urban_sound``.
        """
        return cls(window="hamming", filters="shared_bandwidth", top_db=80.0, normalisation="mean")

    @classmethod
    def librosa_like(
        cls,
        sample_rate: int = 22_050,
        n_fft: int = 2048,
        hop_length: int = 512,
        n_mels: int = 128,
        f_min: float = 0.0,
        f_max: float | None = None,
        *,
        htk: bool = False,
        norm: Norm = "slaney",
        top_db: float | None = 80.0,
    ) -> Self:
        """Reproduce ``librosa.power_to_db(librosa.feature.melspectrogram(...))``, with its names and defaults.

        Notes
        -----
        McFee et al., *librosa: Audio and music signal analysis in Python*,
        SciPy 2015. librosa's array is ``(n_mels, T)``, ours ``(T, n_mels)``.

        Book page: ``front_end``.
        """
        scale: MelScale = "htk" if htk else "slaney"
        return cls(sample_rate, n_fft, None, hop_length, n_mels, f_min, f_max, scale=scale, norm=norm, top_db=top_db)

    @property
    def clock(self) -> tuple[float, float]:
        """Period and start of the frames in seconds: frame ``t`` is centred on ``t * period``."""
        period = self.hop_length / self.sample_rate
        return period, -period / 2

    def count_frames(self, lengths: Int[Tensor, batch]) -> Int[Tensor, batch]:
        r"""Frames of clips of ``lengths`` samples: :math:`\lfloor N/h \rfloor + 1`."""
        return lengths // self.hop_length + 1

    def extra_repr(self) -> str:
        """The settings."""
        return self._settings

    def forward(
        self, waveforms: Float[Tensor, "batch samples"], lengths: Int[Tensor, batch] | None = None
    ) -> tuple[Float[Tensor, "batch frames mels"], Int[Tensor, batch]]:
        """Features of a batch of waveforms.

        Parameters
        ----------
        waveforms
            Samples, shape ``(B, N)``; what lies behind a clip's length is ignored.
        lengths
            Samples of each clip, between 1 and ``N``, shape ``(B,)``; None means that all are ``N`` long.

        Returns
        -------
        features : Tensor
            Decibels, 0 on padded frames, shape ``(B, T, n_mels)``.
        n_frames : Tensor
            Valid frames of each clip, int64, shape ``(B,)``.

        Raises
        ------
        ValueError
            When shapes or lengths do not fit.
        """
        if waveforms.ndim != 2 or not waveforms.shape[1]:
            raise ValueError(f"waveforms have shape {tuple(waveforms.shape)}; they must be (batch, samples)")
        batch, samples = waveforms.shape
        if is_exporting():
            return self._export(waveforms, lengths)
        if lengths is None:
            lengths = torch.full((batch,), samples, device=waveforms.device)
            ragged = False
        else:
            lengths = torch.as_tensor(lengths).to(device=waveforms.device, dtype=torch.int64)
            if lengths.shape != (batch,):
                raise ValueError(f"lengths have shape {tuple(lengths.shape)}; they must be ({batch},)")
            shortest, longest = (int(value) for value in lengths.aminmax()) if batch else (samples, samples)
            if shortest < 1 or longest > samples:
                raise ValueError(f"lengths lie in [{shortest}, {longest}]; they must lie in [1, {samples}]")
            ragged = shortest < samples
            waveforms = waveforms[:, :longest]
        dtype = torch.float64 if waveforms.dtype == torch.float64 else torch.float32
        n_frames = self.count_frames(lengths)
        if not batch:  # a transform of nothing is an error
            frames = int(self.count_frames(torch.tensor(samples)))
            return waveforms.new_zeros(0, frames, self.n_mels, dtype=dtype), n_frames
        with torch.autocast(waveforms.device.type, enabled=False):
            x = waveforms.to(dtype)
            if ragged:
                x = x.masked_fill(~frame_mask(lengths, x.shape[1]), 0.0)
            decibels = self._decibels(self._power(x))
            mask = frame_mask(n_frames, decibels.shape[1])[..., None] if ragged else None
            return self._normalise(decibels, n_frames, mask), n_frames

    def _export(self, waveforms: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor]:
        """The same for a graph that other programs run, which holds for any number of clips and samples."""
        batch, samples = waveforms.shape
        x = waveforms.float()
        mask = None
        if lengths is None:
            n_frames = torch.full((batch,), samples // self.hop_length + 1, device=x.device)
        else:
            n_frames = self.count_frames(lengths)
            x = x.masked_fill(~frame_mask(lengths, samples), 0.0)
            mask = frame_mask(n_frames, samples // self.hop_length + 1)[..., None]
        decibels = self._decibels(self._power_of_products(x))
        return self._normalise(decibels, n_frames, mask), n_frames

    def _power_of_products(self, x: Tensor) -> Tensor:
        """Power in each mel band by products with cosines and sines, in float64 as no transform of other programs."""
        padded = nn.functional.pad(x, (self.n_fft // 2, self.n_fft - self.n_fft // 2))
        starts = torch.arange(x.shape[1] // self.hop_length + 1, device=x.device) * self.hop_length
        first = (self.n_fft - self.win_length) // 2
        inside = torch.arange(first, first + self.win_length, device=x.device)  # the window is 0 elsewhere
        frames = padded[:, starts[:, None] + inside].double() * self.window[inside]
        # a frame begins n_fft / 2 before its centre; the phase of the whole frame changes no power
        bins = torch.arange(self.n_fft // 2 + 1, device=x.device)
        turns = inside[:, None] * bins % self.n_fft  # whole turns less: exact angles
        # tables as constants: onnxruntime in a browser has no cosine of float64
        angles = [2 * math.pi * turn / self.n_fft for turn in range(self.n_fft)]
        cosines = torch.tensor([math.cos(angle) for angle in angles], dtype=torch.float64, device=x.device)[turns]
        sines = torch.tensor([math.sin(angle) for angle in angles], dtype=torch.float64, device=x.device)[turns]
        power = (frames @ cosines).square() + (frames @ sines).square()
        return (power @ self.weights).float()

    def _power(self, x: Tensor) -> Tensor:
        """Power in each mel band, ``(B, T, n_mels)``."""
        half = self.n_fft // 2
        window = self.window.to(x.dtype)
        # Real and imaginary parts lie side by side, so each row of weights serves twice: no sum of squares is stored.
        weights = self.weights.to(x.dtype).repeat_interleave(2, dim=0)
        # On a CPU, what does not fit the cache costs more than the transform; a GPU wants everything at once.
        cached = _CACHED_SAMPLES * torch.get_num_threads()
        clips = max(1, cached // x.shape[1]) if x.device.type == "cpu" else len(x)
        results = []
        for batch in x.split(clips):
            padded = nn.functional.pad(batch, (half, self.n_fft - half))
            frames = padded.unfold(1, self.n_fft, self.hop_length)[:, : x.shape[1] // self.hop_length + 1]
            spectrum = torch.view_as_real(torch.fft.rfft(frames * window)).flatten(-2)
            power = spectrum.square()
            results.append(torch.cat([power[..., rows] @ weights[rows, bands] for rows, bands in self._blocks], dim=-1))
        return results[0] if len(results) == 1 else torch.cat(results)

    def _decibels(self, power: Tensor) -> Tensor:
        return 10.0 * torch.log10(power.clamp(min=_FLOOR))

    def _normalise(self, decibels: Tensor, n_frames: Tensor, mask: Tensor | None) -> Tensor:
        """Limit the range, remove the mean, clear the padding; only valid frames count."""
        if self.top_db is not None:
            valid = decibels if mask is None else decibels.masked_fill(~mask, -torch.inf)
            decibels = torch.maximum(decibels, valid.amax(dim=(1, 2), keepdim=True) - self.top_db)
        if self.normalisation == "median":
            decibels = decibels - self._median(decibels, n_frames, mask)
        elif self.normalisation is not None:
            count = n_frames[:, None, None].to(decibels.dtype)
            masked = decibels if mask is None else decibels * mask
            decibels = decibels - masked.sum(dim=1, keepdim=True) / count
            if self.normalisation == "mean_variance":
                masked = decibels if mask is None else decibels * mask
                variance = masked.square().sum(dim=1, keepdim=True) / count
                decibels = decibels / variance.sqrt().clamp(min=1e-5)
        return decibels if mask is None else decibels * mask

    @staticmethod
    def _median(decibels: Tensor, n_frames: Tensor, mask: Tensor | None) -> Tensor:
        """Lower median over the valid frames, ``(B, 1, n_mels)``."""
        if mask is None:
            return decibels.median(dim=1, keepdim=True).values
        ordered = decibels.masked_fill(~mask, torch.inf).sort(dim=1).values
        middle = ((n_frames - 1) // 2)[:, None, None].expand(-1, 1, decibels.shape[2])
        return ordered.gather(1, middle)
