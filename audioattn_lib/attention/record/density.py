r"""Densities as a record keeps them: over time in seconds, over time and frequency in seconds and rows.

Book page: ``from_weights_to_densities``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Density", "Regions"]

Array = NDArray[np.floating[Any]]

# Standard deviations at which the outline of a Gaussian is drawn; 86 % of its mass is inside
_OUTLINE = 2.0

# Narrowest deviation that a map shows, in cells, and the most points along a side of a cell that look for it
_FINEST, _POINTS = 1 / 8, 8


_log_gamma = np.vectorize(math.lgamma, otypes=[np.float64])
"""Of the few modes of a record; that of scipy imports for half a second."""


@dataclass(frozen=True)
class Density:
    r"""Beta-Gaussian densities over time, one mixture a clip.

    A mode with :math:`\alpha > 1`, location :math:`\mu` and half-width
    :math:`a` has the density

    .. math:: p(t) = \frac{C_k}{a}\Bigl[1 - \bigl(\tfrac{t-\mu}{a}\bigr)^2\Bigr]_+^{k},
       \qquad k = \frac{1}{\alpha-1},
       \qquad C_k = \frac{\Gamma(k+\frac32)}{\sqrt\pi\,\Gamma(k+1)},

    and variance :math:`a^2/(2k+3)`; a mode with :math:`\alpha = 1` is the
    Gaussian of the same variance, and its half-width is infinite.

    Parameters
    ----------
    location, variance
        Seconds and square seconds, shape ``(clips, modes)``.
    alpha
        At least 1, shape ``(clips, modes)``.
    mode_weight
        Share of each mode, at least 0, rows sum to 1; shape ``(clips, modes)``.

    Notes
    -----
    Martins et al., *Sparse continuous distributions and Fenchel-Young losses*,
    JMLR 2022. Book page: ``urban_sound``.
    """

    location: Array
    variance: Array
    alpha: Array
    mode_weight: Array

    def __post_init__(self) -> None:
        shape = np.shape(self.location)
        for name in ("location", "variance", "alpha", "mode_weight"):
            value = np.asarray(getattr(self, name), dtype=np.float64)
            if value.shape != shape or value.ndim != 2:
                raise ValueError(f"{name} has shape {value.shape}; all fields need one shape (clips, modes), {shape}")
            object.__setattr__(self, name, value)
        if np.any(self.variance <= 0):
            raise ValueError(f"variance holds {self.variance.min()}; every variance must be above 0")
        _require_entmax(self.alpha)

    @property
    def half_width(self) -> Array:
        r"""Half-width :math:`a = \sqrt{(2k+3)\,\mathrm{variance}}` in seconds; infinite for a Gaussian."""
        with np.errstate(divide="ignore"):
            k = 1.0 / (self.alpha - 1.0)
        return np.sqrt((2.0 * k + 3.0) * self.variance)

    def pdf(self, times: Array) -> Array:
        """Density in 1/seconds at ``times`` (shape ``(n,)``), summed over the modes: shape ``(clips, n)``."""
        u, k, compact = self._standardise(times)
        with np.errstate(divide="ignore", invalid="ignore"):
            log_constant = _log_gamma(k + 1.5) - _log_gamma(k + 1.0) - 0.5 * np.log(np.pi)
            inside = np.exp(k * np.log(np.clip(1.0 - u**2, 0.0, None)) + log_constant) / self.half_width[..., None]
        std = np.sqrt(self.variance)[..., None]
        z = (np.asarray(times, dtype=np.float64) - self.location[..., None]) / std
        gaussian = np.exp(-0.5 * z**2) / (std * np.sqrt(2.0 * np.pi))
        return np.sum(self.mode_weight[..., None] * np.where(compact, inside, gaussian), axis=1)

    def cdf(self, times: Array) -> Array:
        """Mass up to ``times`` (shape ``(n,)``), summed over the modes: shape ``(clips, n)``."""
        from scipy import special  # imports for long, and few need it

        u, k, compact = self._standardise(times)
        inside = special.betainc(k + 1.0, k + 1.0, np.clip((1.0 + u) / 2.0, 0.0, 1.0))
        z = (np.asarray(times, dtype=np.float64) - self.location[..., None]) / np.sqrt(self.variance)[..., None]
        return np.sum(self.mode_weight[..., None] * np.where(compact, inside, special.ndtr(z)), axis=1)

    def _standardise(self, times: Array) -> tuple[Array, Array, NDArray[np.bool_]]:
        compact = (self.alpha > 1.0)[..., None]
        k = 1.0 / np.where(compact, self.alpha[..., None] - 1.0, 1.0)
        width = np.where(compact, np.where(np.isinf(self.half_width), 1.0, self.half_width)[..., None], 1.0)
        u = (np.asarray(times, dtype=np.float64) - self.location[..., None]) / width
        return np.where(compact, u, 0.0), k, compact


@dataclass(frozen=True)
class Regions:
    r"""Elliptical beta-Gaussian densities over time and frequency, one mixture a clip.

    A mode with :math:`\alpha > 1`, location :math:`\mu` and covariance :math:`\Sigma` has
    the density

    .. math:: p(x) = \frac{k+1}{\pi r^2 \sqrt{|\Sigma|}}
       \Bigl[1 - \tfrac1{r^2} (x-\mu)^\top \Sigma^{-1} (x-\mu)\Bigr]_+^{k},
       \qquad k = \frac1{\alpha-1}, \qquad r^2 = 2k + 4,

    and one with :math:`\alpha = 1` is the Gaussian of the same covariance.

    Parameters
    ----------
    location
        Seconds and row, shape ``(clips, modes, 2)``. Row ``i`` of a map reaches from
        ``i - 1/2`` to ``i + 1/2``; rows and not hertz, because in hertz an ellipse over
        mel bands is none.
    covariance
        In square seconds, seconds times rows and square rows, positive definite,
        shape ``(clips, modes, 2, 2)``.
    alpha
        At least 1, shape ``(clips, modes)``.
    mode_weight
        Share of each mode, at least 0, rows sum to 1; shape ``(clips, modes)``.

    Notes
    -----
    Source: Martins et al., *Sparse continuous distributions and Fenchel-Young
    losses*, JMLR 2022, section 5. Book page: ``from_weights_to_densities``.
    """

    location: Array
    covariance: Array
    alpha: Array
    mode_weight: Array

    def __post_init__(self) -> None:
        modes = np.asarray(self.alpha).shape
        shapes = {"location": (*modes, 2), "covariance": (*modes, 2, 2), "alpha": modes, "mode_weight": modes}
        for name, shape in shapes.items():
            value = np.asarray(getattr(self, name), dtype=np.float64)
            if value.shape != shape or len(modes) != 2:
                raise ValueError(
                    f"{name} has shape {value.shape}; with alpha of shape (clips, modes), {modes}, it must be {shape}"
                )
            object.__setattr__(self, name, value)
        determinant = np.linalg.det(self.covariance)
        if np.any(determinant <= 0) or np.any(self.covariance[..., 0, 0] <= 0):
            raise ValueError(f"covariance has the determinant {determinant.min()}; it must be positive definite")
        _require_entmax(self.alpha)

    @property
    def radius(self) -> Array:
        r"""Mahalanobis radius :math:`r` of each support, shape ``(clips, modes)``; infinite for a Gaussian."""
        with np.errstate(divide="ignore"):
            return np.sqrt(4.0 + 2.0 / (self.alpha - 1.0))

    def outline(self, clip: int = 0, mode: int = 0, points: int = 100) -> Array:
        """The border of a support, or for a Gaussian the ellipse of two deviations, as seconds and rows."""
        angle = np.linspace(0, 2 * np.pi, points)
        radius = self.radius[clip, mode]
        circle = (_OUTLINE if math.isinf(radius) else radius) * np.stack([np.cos(angle), np.sin(angle)])
        border: Array = self.location[clip, mode] + (np.linalg.cholesky(self.covariance[clip, mode]) @ circle).T
        return border

    def cells(self, clip: int, edges: Array, n_rows: int) -> Array:
        """Mass of the density of one clip in each cell, shape ``(n_rows, frames)``.

        What lies outside is missing from the sum. A density narrower than an eighth
        of a cell is shown as one of that width.

        Parameters
        ----------
        clip
            Which clip.
        edges
            Borders of the frames in seconds, evenly apart, shape ``(frames + 1,)``.
        n_rows
            Rows of the map, at least 1.
        """
        period, n_frames = float(edges[1] - edges[0]), len(edges) - 1
        total = np.zeros((n_rows, n_frames))
        modes = zip(*(x[clip] for x in (self.location, self.covariance, self.alpha, self.mode_weight)), strict=True)
        for location, covariance, alpha, share in modes:
            # in cells; what is narrower than a map can show is made as wide as that
            scale = np.array([period, 1.0])
            centres = (location - np.array([edges[0], -0.5])) / scale
            spread = covariance / np.outer(scale, scale) + _FINEST**2 * np.eye(2)
            fine = [min(_POINTS, math.ceil(1 / math.sqrt(spread[axis, axis]))) for axis in (0, 1)]
            time, row = (
                (np.arange(n * m) + 0.5) / m - centre
                for n, m, centre in zip((n_frames, n_rows), fine, centres, strict=True)
            )
            density = _pdf(time, row[:, None], spread, float(alpha))
            total += share * density.reshape(n_rows, fine[1], n_frames, fine[0]).mean(axis=(1, 3))
        return total


def _require_entmax(alpha: Array) -> None:
    if np.any(alpha < 1):
        raise ValueError(f"alpha holds {alpha.min()}; every alpha must be at least 1")


def _pdf(x: Array, y: Array, covariance: Array, alpha: float) -> Array:
    from scipy import special  # imports for long, and few need it

    determinant = float(np.linalg.det(covariance))
    squared = (covariance[1, 1] * x**2 - 2 * covariance[0, 1] * x * y + covariance[0, 0] * y**2) / determinant
    if alpha == 1:
        gaussian: Array = np.exp(-0.5 * squared) / (2 * np.pi * math.sqrt(determinant))
        return gaussian
    k = 1 / (alpha - 1)
    radius = 2 * k + 4
    inside: Array = np.exp(special.xlog1py(k, -np.minimum(squared / radius, 1.0)))
    return inside * (k + 1) / (np.pi * radius * math.sqrt(determinant))
