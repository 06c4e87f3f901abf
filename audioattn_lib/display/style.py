"""Theme of all pictures, light and dark.

A picture is drawn once for each theme and the page shows the one that fits
(:mod:`audioattn_lib.display.figure`), so no colour is a compromise. Attention
has one colour everywhere, a warm orange; sound is drawn in a cool blue of even
perceived steps; what is known to be there (events) is green. Orange, blue and
green of these lightnesses stay apart under the common colour-vision
deficiencies, and each also has its own place and shape.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from matplotlib.colors import Colormap, ListedColormap
from numpy.typing import NDArray

__all__ = ["DARK", "LIGHT", "THEMES", "Theme", "map_opacity"]


def map_opacity(values: NDArray[Any]) -> NDArray[np.float64]:
    r"""Opacity of a map of attention over a spectrogram, in [0, 1).

    :math:`o = \frac{v}{v_{\max}} (1 - \bar v / v_{\max})`: a map with one peak keeps its colours. One that is nearly
    uniform says nothing about the sound, and leaves it to be seen.

    Parameters
    ----------
    values
        At least 0, any shape.
    """
    peak = max(float(values.max(initial=0.0)), 1e-12)
    opacity: NDArray[np.float64] = values / peak * (1 - float(values.mean()) / peak if values.size else 0.0)
    return opacity


def _oklch_to_srgb(lightness: NDArray[Any], chroma: NDArray[Any], hue: NDArray[Any]) -> NDArray[Any]:
    """Colours of the OKLCH space (hue in degrees) as sRGB in [0, 1]; Ottosson, *A perceptual color space*, 2020."""
    a, b = chroma * np.cos(np.deg2rad(hue)), chroma * np.sin(np.deg2rad(hue))
    long = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
    medium = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3
    linear = np.stack(
        [
            4.0767416621 * long - 3.3077115913 * medium + 0.2309699292 * short,
            -1.2684380046 * long + 2.6097574011 * medium - 0.3413193965 * short,
            -0.0041960863 * long - 0.7034186147 * medium + 1.7076147010 * short,
        ],
        axis=-1,
    ).clip(0, 1)
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def _ramp(name: str, lightness: tuple[float, float], hue: tuple[float, float], chroma: float, ends: float) -> Colormap:
    """A map of evenly spaced lightness, most colourful in its middle; ``ends`` is the chroma left at both ends."""
    x = np.linspace(0, 1, 256)
    colour = ends + (chroma - ends) * np.sin(math.pi * x) ** 0.8
    return ListedColormap(_oklch_to_srgb(np.interp(x, (0, 1), lightness), colour, np.interp(x, (0, 1), hue)), name=name)


def _veil(colour: str, name: str) -> Colormap:
    """From transparent to ``colour``: a layer to lay over a spectrogram."""
    rgb = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    return ListedColormap(np.column_stack([np.tile(rgb, (256, 1)), np.linspace(0, 0.9, 256)]), name=name)


@dataclass(frozen=True)
class Theme:
    """Colours and Matplotlib settings of one theme.

    Parameters
    ----------
    name
        ``"light"`` or ``"dark"``.
    page
        Colour that the theme expects behind its pictures, which are transparent.
    ink, muted, rule
        Text and curves; secondary text; axes and grid lines.
    attention
        The one colour of attention.
    event
        Known events and other ground truth.
    chance
        Reference levels: chance, random attention, baselines.
    series
        Colours of further curves, in order.
    spectrogram
        From silence (close to the page) to loud.
    overlay
        From transparent to the colour of attention.
    """

    name: str
    page: str
    ink: str
    muted: str
    rule: str
    attention: str
    event: str
    chance: str
    series: tuple[str, ...]
    spectrogram: Colormap
    overlay: Colormap
    settings: dict[Any, Any] = field(init=False)

    def __post_init__(self) -> None:
        from cycler import cycler

        settings = {
            "figure.facecolor": "none",
            "axes.facecolor": "none",
            "savefig.facecolor": "none",
            "text.color": self.ink,
            "axes.labelcolor": self.muted,
            "axes.titlecolor": self.ink,
            "axes.edgecolor": self.rule,
            "xtick.color": self.rule,
            "ytick.color": self.rule,
            "xtick.labelcolor": self.muted,
            "ytick.labelcolor": self.muted,
            "grid.color": self.rule,
            "grid.linewidth": 0.5,
            "axes.prop_cycle": cycler(color=self.series),
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.linewidth": 0.8,
            "axes.titlelocation": "left",
            "axes.titlesize": 9.5,
            "axes.titleweight": "bold",
            "axes.titlepad": 7,
            "axes.labelsize": 8.5,
            "font.family": "DejaVu Sans",  # ships with Matplotlib: the same picture on every machine
            "font.size": 8.5,
            "xtick.labelsize": 8,
            "ytick.labelsize": 8,
            "xtick.major.width": 0.8,
            "ytick.major.width": 0.8,
            "xtick.major.size": 3,
            "ytick.major.size": 3,
            "legend.frameon": False,
            "legend.fontsize": 8,
            "lines.linewidth": 1.6,
            "lines.solid_capstyle": "round",
            "image.interpolation": "nearest",
            "text.parse_math": False,  # a dollar in the name of a class is a dollar
            "svg.fonttype": "none",
            "svg.hashsalt": "audioattn",  # same figure, same file
        }
        object.__setattr__(self, "settings", settings)


LIGHT = Theme(
    name="light",
    page="#ffffff",
    ink="#222832",
    muted="#48566b",
    rule="#c3cad4",
    attention="#d9560b",
    event="#0b7f6d",
    chance="#7b8798",
    series=("#d9560b", "#2f6fb7", "#0b7f6d", "#8a4fa3", "#a07800", "#5b6675"),
    spectrogram=_ramp("audioattn_light", (0.975, 0.27), (235, 266), 0.105, 0.008),
    overlay=_veil("#d9560b", "audioattn_overlay_light"),
)
DARK = Theme(
    name="dark",
    page="#14181e",
    ink="#e3e8ee",
    muted="#a9b3bf",
    rule="#48566b",
    attention="#ff9f4a",
    event="#4cd0b2",
    chance="#8f9bab",
    series=("#ff9f4a", "#6db1f5", "#4cd0b2", "#d29be8", "#e3c34b", "#a9b3bf"),
    spectrogram=_ramp("audioattn_dark", (0.235, 0.95), (268, 225), 0.115, 0.02),
    overlay=_veil("#ff9f4a", "audioattn_overlay_dark"),
)
THEMES: tuple[Theme, ...] = (LIGHT, DARK)
