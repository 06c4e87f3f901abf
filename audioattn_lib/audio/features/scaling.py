r"""From decibels to numbers in [-1, 1], with everything that is too quiet cut off.

A spectrogram in decibels is computed once; how much of its range a network
sees is ``top_db``, and many ranges cost one spectrogram.

Book page: ``sleepiness``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from jaxtyping import Float, Int
from torch import Tensor

from ...core.errors import ConfigError
from .log_mel import frame_mask

__all__ = ["DecibelScaling"]


@dataclass(frozen=True)
class DecibelScaling:
    r"""Cut off what lies further than ``top_db`` below the loudest value, and scale the rest.

    .. math:: y = 2 \min\Bigl(1, \max\Bigl(0,\, \frac{x - r + \theta}{\theta}\Bigr)\Bigr) - 1

    so that the reference :math:`r` becomes 1, and :math:`\theta` decibels below it and everything quieter -1.

    Parameters
    ----------
    top_db
        :math:`\theta` in decibels, above 0. auDeep uses 40, 50, 60 and 70.
    reference
        :math:`r` in decibels. None takes the loudest value of each clip, so that a clip's level is gone; the loudest
        value of a corpus keeps it.

    Notes
    -----
    Clipping below thresholds: Freitag et al., *auDeep: unsupervised learning of representations from audio with deep
    recurrent neural networks*, JMLR 2018. Book page: ``sleepiness``.
    """

    top_db: float = 60.0
    reference: float | None = None

    def __post_init__(self) -> None:
        if not 0 < self.top_db < math.inf:
            raise ConfigError(f"top_db is {self.top_db}; it must be a finite number of decibels above 0")
        if self.reference is not None and not math.isfinite(self.reference):
            raise ConfigError(f"reference is {self.reference}; it must be a finite number of decibels, or None")

    def __call__(
        self, decibels: Float[Tensor, "batch frames bands"], n_frames: Int[Tensor, " batch"] | None = None
    ) -> Float[Tensor, "batch frames bands"]:
        """Scale a batch.

        Parameters
        ----------
        decibels
            Shape ``(B, T, F)``.
        n_frames
            Valid frames of each clip; all by default.

        Returns
        -------
        Tensor
            In [-1, 1], and 0 on padding.
        """
        mask = None if n_frames is None else frame_mask(n_frames.to(decibels.device), decibels.shape[1])[..., None]
        top: Tensor | float
        if self.reference is not None:
            top = self.reference
        else:
            valid = decibels if mask is None else decibels.masked_fill(~mask, -math.inf)
            top = valid.amax(dim=(1, 2), keepdim=True)
        scaled = ((decibels - top) * (2 / self.top_db) + 1).clamp(-1, 1)
        return scaled if mask is None else scaled.masked_fill(~mask, 0.0)
