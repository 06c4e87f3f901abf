"""Time and frequency that the tokens of a model cover.

Book page: ``your_sounds``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from audioattn_lib.attention.record.record import FrameClock
from audioattn_lib.core.errors import ConfigError

__all__ = ["PatchTokens", "TimeTokens", "WindowTokens"]


@dataclass(frozen=True)
class TimeTokens:
    r"""Tokens in time: token :math:`i` is centred at :math:`c_0 + i p`.

    Parameters
    ----------
    period
        Seconds :math:`p` from one token to the next, above 0.
    centre
        Seconds :math:`c_0` of the centre of the first token; half a period by default.
    receptive_field
        Seconds of sound that a token is made of before any attention; the period by default.
    first, last
        Special tokens in front of and behind those of the sound, which cover no time.

    Notes
    -----
    Book page: ``your_sounds``.
    """

    period: float
    centre: float | None = None
    receptive_field: float | None = None
    first: int = 0
    last: int = 0

    def __post_init__(self) -> None:
        _check_positive("period", self.period)
        if self.receptive_field is not None:
            _check_positive("receptive_field", self.receptive_field)
        _check_special(self.first, self.last)

    @classmethod
    def of_convolutions(
        cls,
        kernels: Sequence[int],
        strides: Sequence[int],
        sample_rate: float,
        paddings: Sequence[int] | None = None,
        *,
        first: int = 0,
        last: int = 0,
    ) -> TimeTokens:
        r"""Tokens behind a stack of convolutions.

        Of layers with kernel :math:`k_l`, stride :math:`s_l` and padding :math:`q_l` at the left, the step of the
        output is :math:`S = \prod_l s_l` samples, the receptive field is
        :math:`R = 1 + \sum_l (k_l - 1) \prod_{m<l} s_m`, and the centre of the first token is
        :math:`(R - 1) / 2 - \sum_l q_l \prod_{m<l} s_m`.

        Parameters
        ----------
        kernels, strides
            Of each layer, the first one first.
        sample_rate
            Samples a second that enter; frames a second, where spectrograms do.
        paddings
            Zeros at the left of each layer's input; none by default.
        first, last
            Special tokens in front and behind.
        """
        paddings = [0] * len(kernels) if paddings is None else paddings
        if not len(kernels) == len(strides) == len(paddings):
            raise ConfigError(
                f"{len(kernels)} kernels, {len(strides)} strides and {len(paddings)} paddings; give one each a layer"
            )
        _check_positive("sample_rate", sample_rate)
        step, field, shift = 1, 1, 0
        for kernel, stride, padding in zip(kernels, strides, paddings, strict=True):
            if min(kernel, stride) < 1 or padding < 0:
                raise ConfigError(
                    f"a layer of kernel {kernel}, stride {stride}, padding {padding}; at least 1, 1 and 0"
                )
            field += (kernel - 1) * step
            shift += padding * step
            step *= stride
        # half a sample further: a sample lasts from its instant to the next
        centre = ((field - 1) / 2 - shift + 0.5) / sample_rate
        return cls(step / sample_rate, centre, field / sample_rate, first, last)

    @property
    def clock(self) -> FrameClock:
        """Clock of the tokens of the sound, each as long as the period, around its centre."""
        centre = self.period / 2 if self.centre is None else self.centre
        return FrameClock(self.period, centre - self.period / 2)

    def describe(self) -> str:
        """Clock of the tokens in words."""
        field = self.receptive_field or self.period
        return (
            f"a token every {1000 * self.period:.4g} ms, made of {1000 * field:.4g} ms of sound, the first one centred "
            f"at {1000 * (self.clock.start + self.period / 2):.4g} ms{_describe_special(self.first, self.last)}"
        )

    def covers(self, token: int) -> tuple[float, float]:
        """Seconds of sound that token ``token`` of the sequence is made of; a special token is of nothing."""
        if token < self.first:
            return math.nan, math.nan
        centre = self.clock.start + (token - self.first + 0.5) * self.period
        half = (self.receptive_field or self.period) / 2
        return centre - half, centre + half

    def shape(self, keys: int) -> tuple[int, ...]:
        """Tokens of the sound among ``keys`` of a sequence, as ``(frames,)``."""
        frames = keys - self.first - self.last
        if frames < 1:
            raise ValueError(f"{keys} keys with {self.first} and {self.last} special ones leave no token of the sound")
        return (frames,)


@dataclass(frozen=True)
class PatchTokens:
    """Tokens that are patches of a spectrogram.

    Parameters
    ----------
    bands, frames
        Patches over frequency and over time.
    period
        Seconds from one patch to the next, above 0.
    centre
        Seconds of the centre of the first patches; half a period by default.
    frequencies
        Centre of each row of patches in hertz, rising, shape ``(bands,)``.
    time_first
        True where the tokens run over time first (all frames of the lowest band, then of the next), as a convolution
        over ``(frequency, time)`` that is flattened gives them; False where they run over frequency first.
    first, last
        Special tokens in front of and behind the patches.

    Notes
    -----
    Book page: ``your_sounds``.
    """

    bands: int
    frames: int
    period: float
    centre: float | None = None
    frequencies: NDArray[np.floating] | None = None
    time_first: bool = True
    first: int = 0
    last: int = 0

    def __post_init__(self) -> None:
        _check_positive("period", self.period)
        _check_special(self.first, self.last)
        if min(self.bands, self.frames) < 1:
            raise ConfigError(
                f"{self.bands} bands and {self.frames} frames of patches; there must be at least 1 of each"
            )
        if self.frequencies is not None and np.shape(self.frequencies) != (self.bands,):
            raise ConfigError(f"frequencies have shape {np.shape(self.frequencies)} for {self.bands} bands of patches")

    @property
    def clock(self) -> FrameClock:
        """Clock of the columns of patches."""
        centre = self.period / 2 if self.centre is None else self.centre
        return FrameClock(self.period, centre - self.period / 2)

    def describe(self) -> str:
        """Grid and clock of the patches in words."""
        hertz = ""
        if self.frequencies is not None:
            hertz = f", centred at {', '.join(f'{each:.0f}' for each in self.frequencies)} Hz"
        return (
            f"{self.frames} patches over time, one every {1000 * self.period:.4g} ms, by {self.bands} over frequency"
            f"{hertz}{_describe_special(self.first, self.last)}"
        )

    def shape(self, keys: int) -> tuple[int, ...]:
        """Grid of the patches among ``keys`` of a sequence, as ``(bands, frames)``."""
        if keys - self.first - self.last != self.bands * self.frames:
            raise ValueError(
                f"{keys} keys with {self.first} and {self.last} special ones are not "
                f"{self.bands} x {self.frames} patches"
            )
        return self.bands, self.frames


@dataclass(frozen=True)
class WindowTokens:
    r"""Patches of a folded spectrogram that attend within square windows, as in a Swin transformer.

    The spectrogram is cut into ``folds`` stretches of time that lie one above the other in an image of ``rows`` by
    ``columns`` patches. Behind each level, two by two patches become one.

    Parameters
    ----------
    rows, columns
        Patches of the image at the first level, multiples of the window at every level but where they are smaller.
    folds
        Stretches of time, at least 1.
    window
        Rows and columns of a window, at least 1; every second block of a level shifts its windows by half of it.
    depths
        Blocks of each level. Layers are known by the end ``layers.LEVEL.blocks.BLOCK.attention.self`` of their name.
    period
        Seconds from one patch of the first level to the next, above 0.
    start
        Seconds at which the first patch begins.
    frequencies
        Centre of each row of patches of the first level in hertz, rising, shape ``(rows / folds,)``.

    Notes
    -----
    Source of the windows: Liu et al., *Swin transformer*, ICCV 2021; of the folds: Chen et al., *HTS-AT*, ICASSP 2022.
    Book page: ``your_sounds``.
    """

    rows: int
    columns: int
    folds: int
    window: int
    depths: tuple[int, ...]
    period: float
    start: float = 0.0
    frequencies: NDArray[np.floating] | None = None

    def patches(self, layer: str) -> PatchTokens:
        """Grid and clock of the patches of a layer, without folds."""
        size = 2 ** self._block_of(layer)[0]
        bands = self.rows // size // self.folds
        if bands < 1:
            raise ConfigError(f"a patch of layer {layer!r} covers more than one stretch of time; name an earlier layer")
        frequencies = None if self.frequencies is None else self.frequencies.reshape(bands, size).mean(axis=1)
        period = size * self.period
        return PatchTokens(bands, self.columns // size * self.folds, period, self.start + period / 2, frequencies)

    def received(self, layer: str, weights: Tensor) -> Tensor:
        """Mean attention that each patch receives, ``(batch, heads, 1, keys)``, of windows ``(windows, heads, q, k)``.

        The first axis of ``weights`` holds the windows of each clip in turn, row by row.
        """
        level, block = self._block_of(layer)
        rows, columns = self.rows // 2**level, self.columns // 2**level
        whole = min(rows, columns) <= self.window  # then there is one window a clip, or one row of them, unshifted
        size = min(rows, columns) if whole else self.window
        shift = 0 if whole or block % 2 == 0 else size // 2
        down, right = rows // size, columns // size
        if weights.shape[0] % (down * right) or weights.shape[-1] != size * size:
            raise ValueError(
                f"weights of layer {layer!r} have shape {tuple(weights.shape)}; expected {down * right} windows a clip "
                f"of {size * size} keys"
            )
        mean = weights.float().mean(-2).unflatten(-1, (size, size)).unflatten(0, (-1, down, right))
        image = mean.permute(0, 3, 1, 4, 2, 5).flatten(4).flatten(2, 3)  # (B, heads, rows, columns)
        image = image.roll((shift, shift), (-2, -1)).unflatten(2, (self.folds, -1))
        return image.transpose(2, 3).flatten(2).div(down * right)[:, :, None]  # bands, then folds by columns

    def _block_of(self, layer: str) -> tuple[int, int]:
        """Level and block of a layer by its name."""
        match = re.search(r"layers\.(\d+)\.blocks\.(\d+)\.attention\.self$", layer)
        if match:
            level, block = int(match[1]), int(match[2])
            if level < len(self.depths) and block < self.depths[level]:
                return level, block
        raise ConfigError(f"layer {layer!r} is none of the {sum(self.depths)} with windows of this model")


def _describe_special(first: int, last: int) -> str:
    phrases = [f"{count} special ones {where}" for count, where in ((first, "in front"), (last, "behind")) if count]
    return f"; {' and '.join(phrases)}" if phrases else ""


def _check_positive(name: str, value: float) -> None:
    if not (math.isfinite(value) and value > 0):
        raise ConfigError(f"{name} is {value}; it must be a finite number above 0")


def _check_special(first: int, last: int) -> None:
    if min(first, last) < 0:
        raise ConfigError(f"{first} special tokens in front and {last} behind; there must be at least 0 of each")
