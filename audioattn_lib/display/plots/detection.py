"""Detection error trade-off: misses against false alarms, as speakers are verified."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..describe import mechanism_title
from ..figure import Figure, render
from ..style import Theme
from .spectrogram import NARROW

__all__ = ["plot_detection"]

_TICKS = (0.001, 0.01, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8)
_REFERENCES = ("linear",)


class _Curve(Protocol):
    @property
    def miss(self) -> NDArray[Any]: ...
    @property
    def false_alarm(self) -> NDArray[Any]: ...


def plot_detection(
    curves: Mapping[str, _Curve],
    *,
    title: str = "",
    caption: str = "Dots: where both errors are as frequent. Dashed line: chance. Axes are those of a normal deviate.",
    missing: str = "",
) -> Figure:
    """Miss rate over false alarm rate for every threshold, a curve each, on axes of the normal deviate.

    Parameters
    ----------
    curves
        Error rates by name, such as :class:`~audioattn_lib.evaluation.scores.verification.DetectionCurve`.
    title, caption
        Text above and below the picture.
    missing
        What stands in place of the picture where there are no curves: why there are none.

    Raises
    ------
    ValueError
        When there are no curves and no reason why.

    Notes
    -----
    Martin et al., *The DET curve in assessment of detection task performance*,
    Eurospeech 1997. Book page: ``accents``.
    """
    if not curves and missing:
        return Figure({}, missing)
    if not curves:
        raise ValueError("curves is empty; give at least one, by name")
    from scipy import special

    low, high = special.ndtri(0.002), special.ndtri(0.85)
    equal = {name: _equal(curve) for name, curve in curves.items()}

    def draw(theme: Theme, width: float = 5.2, height: float = 4.4) -> Any:
        from matplotlib.figure import Figure as MatplotlibFigure

        figure = MatplotlibFigure(figsize=(width, height), layout="constrained")
        ax = figure.add_subplot()
        ax.plot([low, high], [low, high], color=theme.rule, lw=0.7, zorder=0)
        ax.plot([low, high], [-low, -high], color=theme.chance, lw=1, ls=(0, (4, 3)), zorder=0)
        colours = iter(theme.series * (1 + len(curves) // len(theme.series)))
        for name, curve in curves.items():
            reference = name in _REFERENCES
            colour = theme.chance if reference else next(colours)
            x, y = (special.ndtri(np.clip(rate, 1e-5, 1 - 1e-5)) for rate in (curve.false_alarm, curve.miss))
            label = f"{mechanism_title(name)}, {100 * equal[name]:.1f} %"
            ax.plot(x, y, color=colour, lw=1.3, ls="--" if reference else "-", label=label)
            ax.plot(*[special.ndtri(np.clip(equal[name], 1e-5, 1))] * 2, "o", color=colour, ms=4.5)
        ticks = [tick for tick in _TICKS if low <= special.ndtri(tick) <= high]
        names = [f"{100 * tick:g} %" for tick in ticks]
        crowded = {"10 %"} if width <= NARROW else set()
        ax.set_xticks(special.ndtri(ticks), ["" if name in crowded else name for name in names])
        ax.set_yticks(special.ndtri(ticks), names)
        ax.set_xlim(low, high)
        ax.set_ylim(low, high)
        ax.set_xlabel("False alarms: other speakers accepted")
        ax.set_ylabel("Misses: the speaker refused")
        ax.grid(alpha=0.4)
        if width > NARROW:
            ax.legend(
                loc="lower left",
                title="Equal error rate",
                title_fontsize=8,
                frameon=True,
                facecolor=theme.page,
                edgecolor="none",
            )
        else:  # within the axis it would cover the curves
            figure.legend(loc="outside lower left", title="Equal error rate", title_fontsize=8)
        if title:
            ax.set_title(title)
        return figure

    rates = "; ".join(f"{mechanism_title(name)} {100 * rate:.1f} %" for name, rate in equal.items())
    alt = f"{title or 'Detection error trade-off'}: equal error rates {rates}; chance 50 %."
    return render(draw, alt, caption, narrow=lambda theme: draw(theme, NARROW, 3.6 + 0.19 * len(curves)))


def _equal(curve: _Curve) -> float:
    """Compute the equal error rate of a curve by linear interpolation."""
    gap = curve.miss - curve.false_alarm
    after = int(np.argmax(gap >= 0))
    share = -gap[after - 1] / (gap[after] - gap[after - 1])
    return float(curve.miss[after - 1] + share * (curve.miss[after] - curve.miss[after - 1]))
