"""Plots of maps from scores to weights: the threshold, and the weights on the plane of three scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audioattn_lib.core.numbers import with_minus

from ..figure import Figure, render
from ..style import Theme
from .spectrogram import NARROW, WIDTH, grid_of, host

__all__ = ["plot_simplex", "plot_threshold"]

# The three corners of the simplex in the plane of scores that sum to one, in units of that plane
_CORNERS = np.array([[-np.sqrt(0.5), -np.sqrt(1 / 6)], [np.sqrt(0.5), -np.sqrt(1 / 6)], [0.0, np.sqrt(2 / 3)]])
_REACH = 1.45


def plot_simplex(
    alphas: Sequence[float] = (1.0, 1.5, 2.0),
    *,
    names: Sequence[str] | None = None,
    title: str = "",
    caption: str = "",
) -> Figure:
    r"""Plot the entmax weights of three scores in the simplex, one panel per alpha.

    Scores that differ by a constant get the same weights, so three scores are a
    point of a plane, and the simplex of three weights is a triangle in it. Each
    line leads from scores to their weights. The shade of the plane is the
    number of weights that are exactly zero.

    Parameters
    ----------
    alphas
        At least one, each at least 1.
    names
        What to call the maps; their alphas when not given.
    title, caption
        Text above and below the picture.

    Raises
    ------
    ConfigError
        If an alpha is below 1.
    ValueError
        If there is no alpha, or not one name for each.

    Notes
    -----
    After Martins and Astudillo, *From softmax to sparsemax*, ICML 2016, who
    define sparsemax as the projection onto the simplex.
    Book page: ``from_softmax_to_sparsemax``.
    """
    called = [f"alpha = {alpha:.3g}" for alpha in alphas] if names is None else list(names)
    if not alphas or len(called) != len(alphas):
        raise ValueError(f"{len(alphas)} alphas and {len(called)} names; give at least one alpha, and a name for each")
    grid = np.linspace(-_REACH, _REACH, 240)
    plane = np.stack(np.meshgrid(grid, grid), axis=-1)  # (y, x, 2)
    steps = np.arange(-4, 5) * 0.32
    starts = np.array([(x + y / 2, y * np.sqrt(0.75)) for x in steps for y in steps])
    starts = starts[np.hypot(*starts.T) < 1.25]
    zeros = [(_weights(plane, alpha) == 0).sum(-1) for alpha in alphas]
    ends = [_weights(starts, alpha) @ _CORNERS for alpha in alphas]

    def draw(theme: Theme, width: float = WIDTH) -> Any:
        from matplotlib.figure import Figure as MatplotlibFigure

        rows, columns, side = grid_of(len(alphas), width)
        figure = MatplotlibFigure(figsize=(width, 0.35 + rows * side), layout="constrained")
        axes = figure.subplots(rows, columns, squeeze=False).ravel()
        for ax in axes[len(alphas) :]:
            ax.set_axis_off()
        for ax, name, count, arrived in zip(axes, called, zeros, ends, strict=False):
            extent = (-_REACH, _REACH, -_REACH, _REACH)
            ax.imshow(count, cmap=theme.overlay, vmin=0, vmax=5, origin="lower", extent=extent)
            ax.fill(*_CORNERS.T, fill=False, edgecolor=theme.ink, lw=1.1, zorder=3, joinstyle="round")
            for start, end in zip(starts, arrived, strict=True):
                ax.plot(*zip(start, end, strict=True), color=theme.muted, lw=0.45, alpha=0.7, zorder=2)
            ax.plot(*arrived.T, "o", color=theme.attention, ms=2.6, mew=0, zorder=4)
            for number, (x, y) in enumerate(1.6 * _CORNERS, start=1):
                ax.text(x, y, f"p{'₁₂₃'[number - 1]} = 1", ha="center", va="center", fontsize=7, color=theme.ink)
            ax.set_title(name, fontsize=8.5, loc="center")
            ax.set_xlim(-_REACH, _REACH)
            ax.set_ylim(-_REACH, _REACH)
            ax.set_axis_off()
        if title:
            figure.suptitle(title, x=0.01, ha="left", fontsize=9.5, fontweight="bold")
        return figure

    shares = [[100 * float(np.mean(count == n)) for n in range(3)] for count in zeros]
    zero_shares = "; ".join(
        f"{name}: no weight is zero on {none:.0f} % of the plane drawn, one is on {edge:.0f} %, two are on {two:.0f} %"
        for name, (none, edge, two) in zip(called, shares, strict=True)
    )
    alt = f"Planes of three scores with the triangle of weights, and lines from scores to their weights. {zero_shares}."
    return render(draw, f"{title}: {alt}" if title else alt, caption, narrow=lambda theme: draw(theme, NARROW))


def plot_threshold(
    scores: NDArray[Any],
    alpha: float,
    *,
    steps: Sequence[float] = (),
    count: int = 60,
    title: str = "",
    caption: str = "",
) -> Figure:
    r"""Plot the threshold of entmax: sorted scores, their parts above :math:`\tau`, and the weights.

    Left the bars :math:`z_t = (\alpha-1)(x_t - \max_s x_s)` with
    :math:`[z_t - \tau]_+` filled; right the weights
    :math:`p_t = [z_t - \tau]_+^{1/(\alpha-1)}`.

    Parameters
    ----------
    scores
        Shape ``(n,)``, finite.
    alpha
        Above 1.
    steps
        Thresholds on the way to the last one, such as the steps of Newton's method, to mark with thin lines.
    count
        How many of the largest scores to draw, at least 1.
    title, caption
        Text above and below the picture.

    Raises
    ------
    ValueError
        If alpha is not above 1, or the scores are not of shape ``(n,)``.

    Notes
    -----
    Source of the form of the solution: Peters, Niculae and Martins, *Sparse
    sequence-to-sequence models*, ACL 2019.
    Book page: ``from_softmax_to_sparsemax``.
    """
    if not alpha > 1:
        raise ValueError(f"alpha is {alpha}; only a map with alpha above 1 has a threshold")
    x = np.sort(host(scores))[::-1]
    if x.ndim != 1 or not x.size:
        raise ValueError(f"scores have shape {np.shape(scores)}; give one clip's scores, shape (n,)")
    weights = _entmax(x, alpha)
    z = ((alpha - 1) * (x - x[0]))[:count]
    tau = -float(weights[0] ** (alpha - 1))
    places = np.arange(len(z))
    above = np.maximum(z, tau)

    def draw(theme: Theme, width: float = WIDTH) -> Any:
        from matplotlib.figure import Figure as MatplotlibFigure

        small = width < WIDTH
        figure = MatplotlibFigure(figsize=(width, 4.2 if small else 2.3), layout="constrained")
        left, right = figure.subplots(2, 1) if small else figure.subplots(1, 2)
        left.bar(places, above - tau, bottom=tau, width=0.85, color=theme.attention, alpha=0.85, zorder=2)
        left.step(places, z, where="mid", color=theme.ink, lw=1.0, zorder=3)
        for step in steps:
            left.axhline(step, color=theme.chance, lw=0.6, zorder=1)
        left.axhline(tau, color=theme.attention, lw=1.4, zorder=3)
        threshold = with_minus(f"{tau:.3f}")
        left.text(len(z) - 0.5, tau, f"τ = {threshold} ", color=theme.ink, fontsize=8, ha="right", va="bottom")
        left.set_ylim(-1.08, 0.04)
        left.set_xlabel("Frames, highest score first")
        left.set_ylabel("z′")
        right.bar(places, weights[: len(z)], width=0.85, color=theme.attention, alpha=0.85)
        right.set_ylim(0, max(0.3, 1.05 * float(weights[0])))
        right.set_xlabel("Frames, highest score first")
        right.set_ylabel("Weight")
        if title:
            figure.suptitle(title, x=0.01, ha="left", fontsize=9.5, fontweight="bold")
        return figure

    alt = (
        f"The {len(z)} largest of {len(x)} scores in order with the threshold {tau:.3f} for alpha {alpha:.3g}, and the "
        f"weights: {int((weights > 0).sum())} are above zero, the largest is {weights[0]:.3f}."
    )
    return render(draw, f"{title}: {alt}" if title else alt, caption, narrow=lambda theme: draw(theme, NARROW))


def _weights(points: NDArray[np.float64], alpha: float) -> NDArray[np.float64]:
    """Weights of three scores given as points of the plane."""
    # The corners are orthogonal unit vectors seen from the middle, so these are the scores without their mean.
    return _entmax(points @ _CORNERS.T, alpha)


def _entmax(scores: NDArray[Any], alpha: float) -> NDArray[Any]:
    # imported here: pictures and players of arrays do without PyTorch, which takes a second to import
    import torch

    from audioattn_lib.attention.maps.entmax import entmax

    return np.asarray(entmax(torch.from_numpy(scores.copy()), alpha).numpy())
