"""Scatter plot of clips whose points play their sound, without kernel and network."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..assets import script_tag, style_tag
from ..page import save_page
from .sound import compress_start, data_uri

__all__ = ["FeatureMap", "feature_map", "neighbour_axes", "principal_axes"]

_SIZE = (640, 400)
_MARGIN = 18
_UNKNOWN = "--aa-unknown:1"


@dataclass(frozen=True, repr=False)
class FeatureMap:
    """A map as HTML; in a notebook it shows itself.

    Parameters
    ----------
    markup
        The map without its style sheets and script.
    title
        Name of the map.
    """

    markup: str
    title: str

    def html(self) -> str:
        """Return the map as self-contained HTML."""
        return f"{style_tag('figure')}{style_tag('feature_map')}{self.markup}{script_tag('feature_map')}"

    def save(self, path: str | Path) -> Path:
        """Write a page with only this map, which opens from a disk without a network, and return its path."""
        return save_page(path, self.html(), self.title)

    def _repr_html_(self) -> str:
        return self.html()

    def __repr__(self) -> str:
        return f"FeatureMap: {self.title}"


def principal_axes(features: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The two directions in which standardised features differ most.

    Parameters
    ----------
    features
        Shape ``(clips, features)``, at least two clips; features that never change are left out.

    Returns
    -------
    points : ndarray
        Each clip along both directions, shape ``(clips, 2)``.
    shares : ndarray
        Share of the variance along each, shape ``(2,)``.

    Notes
    -----
    Book page: ``sleepiness``.
    """
    x = _standardised(features)
    left, strengths, _ = np.linalg.svd(x, full_matrices=False)
    # two axes even where everything differs along one; the sign of an axis means nothing, so it is fixed
    points = np.zeros((len(x), 2))
    n_directions = min(2, len(strengths))
    points[:, :n_directions] = left[:, :n_directions] * strengths[:n_directions]
    points *= np.where(points[np.abs(points).argmax(axis=0), [0, 1]] < 0, -1.0, 1.0)
    power = np.zeros(2)
    power[:n_directions] = strengths[:n_directions] ** 2 / max(float((strengths**2).sum()), 1e-300)
    return points, power


def neighbour_axes(features: ArrayLike, *, perplexity: float = 30.0, seed: int = 0) -> NDArray[np.float64]:
    """Places of clips in a plane such that those with similar features are neighbours: t-SNE.

    Distances between far clips and the directions mean nothing; features are standardised first.

    Parameters
    ----------
    features
        Shape ``(clips, features)``, at least four clips; features that never change are left out.
    perplexity
        About how many neighbours a clip has, at least 1; never more than a third of the clips is used.
    seed
        Of the optimisation.

    Returns
    -------
    ndarray
        Shape ``(clips, 2)``.

    Notes
    -----
    van der Maaten and Hinton, *Visualizing data using t-SNE*, JMLR 2008. Book page: ``sleepiness``.
    """
    from sklearn.manifold import TSNE

    x = _standardised(features)
    if len(x) < 4 or not x.shape[1]:
        raise ValueError(f"features has {len(x)} clips and {x.shape[1]} that change; t-SNE needs at least four and one")
    if perplexity < 1:
        raise ValueError(f"perplexity is {perplexity}; it must be at least 1")
    start = "pca" if x.shape[1] > 1 else "random"
    placed = TSNE(perplexity=min(perplexity, len(x) / 3), init=start, random_state=seed).fit_transform(x)
    return np.asarray(placed, dtype=np.float64)


def _standardised(features: ArrayLike) -> NDArray[np.float64]:
    """Standardise features; constant features are left out."""
    x = np.asarray(features, dtype=np.float64)
    if x.ndim != 2 or len(x) < 2:
        raise ValueError(f"features has shape {x.shape}; it must be (clips, features) with at least two clips")
    std = x.std(axis=0)
    return (x - x.mean(axis=0))[:, std > 0] / std[std > 0]


def feature_map(
    points: ArrayLike,
    values: ArrayLike,
    names: Sequence[str],
    sounds: Mapping[str, tuple[NDArray[Any], int]],
    *,
    label: str,
    axes: tuple[str, str] = ("", ""),
    caption: str = "",
) -> FeatureMap:
    """A map of clips, coloured by a number or a class; those with a sound are larger and play when chosen.

    Parameters
    ----------
    points
        Place of each clip, shape ``(clips, 2)``.
    values
        Number of each clip, which colours it, NaN where it is unknown (grey); or the name of its class.
    names
        Name of each clip.
    sounds
        Samples and rate of some clips by name.
    label
        What ``values`` are.
    axes
        What the two axes are.
    caption
        Text below.

    Raises
    ------
    ValueError
        When numbers of points, values and names differ, or a sound is of no clip.

    Notes
    -----
    Book page: ``sleepiness``.
    """
    feature = np.asarray(values)
    kinds = sorted(set(feature.tolist())) if feature.dtype.kind in "UO" else []
    told_values = [str(value) if kinds else _number(value) for value in feature.tolist()]
    numbers = np.array([kinds.index(value) for value in feature.tolist()] if kinds else feature, dtype=np.float64)
    xy = np.asarray(points, dtype=np.float64)
    if xy.shape != (len(names), 2) or numbers.shape != (len(names),) or not len(names):
        raise ValueError(
            f"points has shape {xy.shape} and values {numbers.shape} for {len(names)} names; "
            "give two coordinates and a number for each of at least one clip"
        )
    unknown = sorted(set(sounds) - set(names))
    if unknown:
        raise ValueError(f"sounds has {', '.join(unknown[:5])}, which is none of the names")
    width, height = _SIZE
    low, span = xy.min(axis=0), np.where(np.ptp(xy, axis=0) > 0, np.ptp(xy, axis=0), 1.0)
    place = _MARGIN + (xy - low) / span * (np.array(_SIZE) - 2 * _MARGIN)
    finite = numbers[np.isfinite(numbers)]
    least, most = (float(finite.min()), float(finite.max())) if len(finite) else (np.nan, np.nan)
    share = (numbers - least) / (most - least or 1.0)
    styles = [
        _kind(int(number)) if kinds else _UNKNOWN if np.isnan(number) else f"--aa-share:{100 * position:.0f}%"
        for number, position in zip(numbers, share, strict=True)
    ]
    circles = []
    for i in np.argsort([name in sounds for name in names], kind="stable"):
        description = html.escape(f"{names[i]}, {label} {told_values[i]}", quote=True)
        has_sound = names[i] in sounds
        attributes = (
            f' class="aa-heard" data-sound="{i}" tabindex="0" role="button" aria-label="{description}"'
            if has_sound
            else ""
        )
        circles.append(
            f'<circle cx="{place[i, 0]:.1f}" cy="{height - place[i, 1]:.1f}" r="{7 if has_sound else 3.5}" '
            f'style="{styles[i]}"{attributes}><title>{description}</title></circle>'
        )
    sounds_mp3 = {i: compress_start(*sounds[name]) for i, name in enumerate(names) if name in sounds}
    clips = {str(i): data_uri(content, "audio/mpeg") for i, content in sounds_mp3.items()}
    settings = html.escape(json.dumps(clips), quote=True)
    scaled = ", ".join(kinds) if kinds else f"from {least:.3g} to {most:.3g}" if len(finite) else ""
    coloured = f"coloured by {label} {scaled}" if scaled else f"whose {label} is unknown"
    missing = len(numbers) - len(finite)
    coloured += f", unknown for {missing}" if scaled and missing else ""
    alt = html.escape(
        f"Map of {len(names)} clips by {axes[0] or 'the first axis'} and {axes[1] or 'the second axis'}, {coloured}.",
        quote=True,
    )
    key = f"<span>{html.escape(label)} {least:.3g}</span><i></i><span>{most:.3g}</span>" if len(finite) else ""
    key += f'<span><b style="{_UNKNOWN}"></b>{html.escape(label)} unknown</span>' if missing else ""
    if kinds:
        key = "".join(f'<span><b style="{_kind(i)}"></b>{html.escape(kind)}</span>' for i, kind in enumerate(kinds))
    scale = f'<div class="aa-map-scale">{key}<output aria-live="polite"></output></div>'
    below = f"<figcaption>{html.escape(caption)}</figcaption>" if caption else ""
    titles = "".join(f'<span class="aa-axis-{c}">{html.escape(t)}</span>' for c, t in zip("xy", axes, strict=True) if t)
    markup = (
        '<figure class="audioattn aa-map aa-map-waiting mathjax_ignore" data-lm-suppress-shortcuts="true" '
        f'data-sounds="{settings}"><div class="aa-map-field">{titles}<svg viewBox="0 0 {width} {height}" role="group" '
        f'aria-label="{alt}">{"".join(circles)}</svg></div>{scale}{below}</figure>'
    )
    return FeatureMap(markup, f"Map of {len(names)} clips by {label}")


def _number(value: float) -> str:
    return "unknown" if np.isnan(value) else f"{value:.3g}"


def _kind(number: int) -> str:
    """Colour of a class: one of six, then lighter ones of the same."""
    return f"--aa-kind:var(--aa-kind-{number % 6});--aa-part:{100 - 45 * (number // 6 % 2)}%"
