"""Drawings of the networks of the chapters: boxes named as in the code, arrows with shapes.

A drawing is SVG that takes its colours from the page, so it fits light and
dark ones, and is narrow enough for a phone.
"""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from .assets import style_tag
from .page import save_page

__all__ = ["NETWORKS", "Box", "Diagram", "Network", "Skip", "Step", "network_diagram"]

_WIDTH, _MARGIN, _HEIGHT, _GAP, _SPACE = 300.0, 86.0, 46.0, 36.0, 8.0
_BESIDE, _LETTER = 17.0, 6.8
"""From the boxes to the words beside a connection, and the width of a letter of theirs."""


@dataclass(frozen=True)
class Box:
    """A part of a network: its name in the code, and in a few words what it does.

    ``role`` is ``""``, ``"attends"`` for what this book is about, or ``"end"`` for what goes in and comes out.
    """

    name: str
    about: str = ""
    role: str = ""


@dataclass(frozen=True)
class Step:
    """Boxes beside each other, and the shape of what they give to the next step."""

    boxes: tuple[Box, ...]
    shape: str = ""


@dataclass(frozen=True)
class Skip:
    """A connection past the steps between, or back: numbers of two steps, and lines of words beside it."""

    start: int
    end: int
    label: str


@dataclass(frozen=True)
class Network:
    """The drawing of one network: title, steps from top to bottom, and connections past them."""

    title: str
    steps: tuple[Step, ...]
    skips: tuple[Skip, ...] = ()


NETWORKS: Mapping[str, Network] = MappingProxyType(
    {
        "urban_sound": Network(
            "The network: frames, a map or a density, classes",
            (
                Step((Box("features", "log-mel frames of a clip", "end"),), "(B, T, n_mels)"),
                Step((Box("front", "convolution over the frames"),), "h (B, T, H)"),
                Step((Box("scorer", "a score for each frame", "attends"),), "z (B, T)"),
                Step(
                    (
                        Box("normalizer", "softmax … sparsemax", "attends"),
                        Box("value_function", "V(t) under a density", "attends"),
                    ),
                    "weights (B, T)",
                ),
                Step((Box("context", "sum of weight × frame"),), "c (B, H)"),
                Step((Box("classifier", "a score for each class", "end"),), "(B, classes)"),
            ),
            (Skip(1, 4, "frames h"),),
        ),
        "sleepiness": Network(
            "Autoencoder with alignment",
            (
                Step((Box("frames", "log-mel, scaled to [−1, 1]", "end"),), "x (B, T, n_bands)"),
                Step((Box("encoder", "recurrent, both directions"),)),
                Step(
                    (Box("outputs", "e (B, T, 2 units)"), Box("feature", "(B, 2 units)")),
                    "e and feature",
                ),
                Step((Box("decoder.attention", "alignment with the outputs", "attends"),), "c (B, 2 units)"),
                Step((Box("decoder", "recurrent, reads the frame before"),), "(B, T, 2 units)"),
                Step((Box("decoder.output", "the frames, rebuilt", "end"),), "(B, T, n_bands)"),
            ),
            (Skip(2, 4, "feature:\nfirst state;\nregression\nreads it"),),
        ),
        "accents": Network(
            "Slices, heads, heads of heads",
            (
                Step((Box("features", "log-mel frames of an utterance", "end"),), "(B, T, n_mels)"),
                Step((Box("front", "VGG, each block halves time"),), "h (B, T', D)"),
                Step(
                    (Box("slice 1", "D/H numbers"), Box("slice …"), Box("slice H", "D/H numbers")),
                    "(B, T', H, D/H)",
                ),
                Step((Box("pooling.frames", "each head weighs the frames", "attends"),), "c₁ … c_H (B, H, D/H)"),
                Step((Box("pooling.query", "weighs the heads", "attends"),), "c (B, D/H)"),
                Step((Box("embedding", "two linear layers"),), "(B, E)"),
                Step((Box("classifier", "cosine to each class", "end"),), "(B, classes)"),
            ),
        ),
        "scenes_and_instruments": Network(
            "Patches, mask, tokens in time and frequency",
            (
                Step((Box("features", "log-mel frames of a clip", "end"),), "(B, T, n_mels)"),
                Step((Box("patch_embed", "spectrogram to patches"),), "(B, rows × columns, width)"),
                Step(
                    (
                        Box("freq_new_pos_embed", "row of a patch"),
                        Box("time_new_pos_embed", "its column"),
                    ),
                    "+ 2 global tokens",
                ),
                Step((Box("blocks", "attention inside the mask", "attends"),), "(B, 2 + rows × columns, width)"),
                Step((Box("norm", "of the global tokens, then their mean"),), "(B, width)"),
                Step((Box("head", "a score for each class", "end"),), "(B, classes)"),
            ),
            (Skip(3, 3, "pattern:\nwho attends\nto whom"),),
        ),
        "playback": Network(
            "Hear, choose, hear again",
            (
                Step((Box("waveforms", "the sound of a clip", "end"),), "(B, samples)"),
                Step((Box("front", "log-mel, one hop a stage"),), "(B, T, n_mels)"),
                Step((Box("encoder", "the same at every hop"),), "(B, T', D)"),
                Step((Box("slot_attention", "the frames that are salient", "attends"),), "(B, T')"),
                Step((Box("segments", "the parts to hear again", "attends"),), "(B, parts, 2)"),
                Step((Box("decoder", "reads one hearing after the other"),), "(B, width)"),
                Step((Box("decoder.classifier", "an answer after each hearing", "end"),), "(B, classes)"),
            ),
            (Skip(4, 1, "parts at a\nfiner hop"),),
        ),
    }
)
"""The drawing of each chapter's network, by the name of the chapter."""


@dataclass(frozen=True, repr=False)
class Diagram:
    """A drawing as HTML; in a notebook it shows itself.

    Parameters
    ----------
    markup
        The drawing without its style sheets.
    alt
        What it shows, in words.
    """

    markup: str
    alt: str

    def html(self) -> str:
        """Return the drawing as self-contained HTML."""
        return f"{style_tag('figure')}{style_tag('diagram')}{self.markup}"

    def save(self, path: str | Path) -> Path:
        """Write a page with only this drawing and return its path."""
        return save_page(path, self.html(), self.alt.split(":", 1)[0])

    def _repr_html_(self) -> str:
        return self.html()

    def __repr__(self) -> str:
        return f"Diagram: {self.alt}"


def network_diagram(network: str | Network) -> Diagram:
    """Draw a network: from top to bottom its parts, with the shapes of what goes from one to the next.

    Parameters
    ----------
    network
        The name of a chapter, such as ``"urban_sound"``, or a drawing of one's own.

    Raises
    ------
    ValueError
        When no chapter has this name.

    Notes
    -----
    Book page: ``urban_sound``.
    """
    if isinstance(network, str):
        if network not in NETWORKS:
            raise ValueError(f"network is {network!r}; it must be one of {', '.join(NETWORKS)}")
        network = NETWORKS[network]
    alt = _describe(network)
    words = max((len(line) for skip in network.skips for line in skip.label.split("\n")), default=0)
    right = max(_MARGIN, _BESIDE + _LETTER * words) if network.skips else 0.0
    height = len(network.steps) * (_HEIGHT + _GAP) - (0.0 if network.steps[-1].shape else _GAP)
    parts = [*_steps(network.steps), *(element for skip in network.skips for element in _skip(skip))]
    box = f"-2 -2 {_WIDTH + right + 4:g} {height + 4:g}"  # half of an outline lies outside
    markup = (
        f'<figure class="audioattn aa-diagram mathjax_ignore"><svg viewBox="{box}" '
        f'role="img" aria-label="{html.escape(alt, quote=True)}">{"".join(parts)}</svg>'
        f"<figcaption>{html.escape(network.title)}. Names as in the code, shapes beside the arrows; "
        "orange: what attends.</figcaption></figure>"
    )
    return Diagram(markup, alt)


def _steps(steps: Sequence[Step]) -> Iterator[str]:
    for number, step in enumerate(steps):
        top = number * (_HEIGHT + _GAP)
        width = (_WIDTH - _SPACE * (len(step.boxes) - 1)) / len(step.boxes)
        for place, box in enumerate(step.boxes):
            left = place * (width + _SPACE)
            middle = left + width / 2
            lines = [(box.name, "aa-code")] + ([(box.about, "aa-about")] if box.about else [])
            texts = "".join(
                f'<text class="{kind}" x="{middle:g}" y="{top + (20 if len(lines) > 1 else 27) + 16 * i:g}">'
                f"{html.escape(line)}</text>"
                for i, (line, kind) in enumerate(lines)
            )
            role = f' class="aa-{box.role}"' if box.role else ""
            yield f'<g{role}><rect x="{left:g}" y="{top:g}" width="{width:g}" height="{_HEIGHT:g}" rx="6"/>{texts}</g>'
        last = number == len(steps) - 1
        if not last or step.shape:
            yield _arrow(_WIDTH / 2, top + _HEIGHT + 2, top + _HEIGHT + _GAP - 2)
            where = f'x="{_WIDTH / 2 + 9:g}" y="{top + _HEIGHT + 22:g}"'
            yield f'<text class="aa-shape" {where}>{html.escape(step.shape)}</text>'


def _skip(skip: Skip) -> Iterator[str]:
    """A line through the right margin, from the middle of one step to that of another, with its words beside it."""
    first, last = (number * (_HEIGHT + _GAP) + _HEIGHT / 2 for number in (skip.start, skip.end))
    edge = _WIDTH + 12
    lines = skip.label.split("\n")
    if skip.start != skip.end:
        yield f'<path d="M{_WIDTH + 1:g} {first:g}H{edge:g}V{last:g}H{_WIDTH + 8:g}"/>'
    else:
        yield f'<path d="M{edge:g} {last:g}H{_WIDTH + 8:g}"/>'
    yield f'<path class="aa-tip" d="M{_WIDTH + 2:g} {last:g}l7 -4v8z"/>'
    top = (first + last) / 2 - 7 * (len(lines) - 1) + 4
    for number, line in enumerate(lines):
        yield f'<text class="aa-shape" x="{_WIDTH + _BESIDE:g}" y="{top + 14 * number:g}">{html.escape(line)}</text>'


def _arrow(x: float, top: float, bottom: float) -> str:
    return f'<path d="M{x:g} {top:g}V{bottom - 6:g}"/><path class="aa-tip" d="M{x:g} {bottom:g}l-4 -7h8z"/>'


def _describe(network: Network) -> str:
    steps = []
    for step in network.steps:
        names = " beside ".join(f"{box.name} ({box.about})" if box.about else box.name for box in step.boxes)
        steps.append(f"{names}, gives {step.shape}" if step.shape else names)
    for skip in network.skips:
        ends = [network.steps[number].boxes[-1].name for number in (skip.start, skip.end)]
        label = skip.label.replace("\n", " ")
        steps.append(f"{label}: to {ends[1]}" if skip.start == skip.end else f"from {ends[0]} to {ends[1]}: {label}")
    return f"{network.title}: {'; then '.join(steps)}."
