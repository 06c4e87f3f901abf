"""A reader's own sound in a page: networks that answer in the browser, without kernel and network."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from audioattn_lib.attention.record.record import FrameClock

from ..assets import script_tag, style_tag
from ..block import Block
from ..deferred import packed, script_address
from ..plots.spectrogram import mel_ticks
from ..style import THEMES

__all__ = ["OwnSound", "PageNetwork", "own_sound"]

RUNTIME = "_static/onnxruntime-web.js"
"""Where the build of the book puts onnxruntime-web, below the root of the book."""


@dataclass(frozen=True)
class PageNetwork:
    """A network of a page.

    Parameters
    ----------
    title
        Of its mechanism.
    graph
        Which graph it runs in.
    alpha
        That it was trained with.
    weights
        Arrays by the name of the input of the graph.

    Notes
    -----
    Book page: ``try_your_sound``.
    """

    title: str
    graph: int
    alpha: float
    weights: Mapping[str, NDArray[np.float32]]


class OwnSound(Block):
    """Buttons for a file and a microphone, and the answers to them."""

    STYLE: ClassVar[str] = "own_sound"

    def html(self) -> str:
        """Return HTML whose networks are loaded when they are wanted."""
        styles = "".join(style_tag(name) for name in ("figure", "player", self.STYLE))
        return f"{styles}{self.markup}{script_tag('player')}{script_tag(self.STYLE)}"


def own_sound(
    networks: Sequence[PageNetwork],
    graphs: Sequence[bytes],
    front_end: bytes,
    *,
    classes: Sequence[str],
    sample_rate: int,
    clip_seconds: float,
    clock: FrameClock,
    frequencies: NDArray[Any],
    is_multilabel: bool = False,
    runtime_bytes: int = 0,
) -> OwnSound:
    """Let networks answer in the page to a file or to the microphone of the reader.

    Parameters
    ----------
    networks
        At least one; the reader switches between them.
    graphs
        In ONNX, from features, lengths, alpha and weights to probabilities and attention.
    front_end
        In ONNX, from waveforms and lengths to features and frames.
    classes
        In the order of the probabilities.
    sample_rate
        Hertz that the front end reads.
    clip_seconds
        Window: longer sounds are heard in several.
    clock
        Time of the frames.
    frequencies
        Centre of each band of the features in hertz, rising.
    is_multilabel
        True where a sound has any number of labels.
    runtime_bytes
        Of what the first click loads besides, to tell the reader.

    Notes
    -----
    Book page: ``try_your_sound``.
    """
    if not networks:
        raise ValueError("networks is empty; give at least one network")
    colours = {
        theme.name: base64.b64encode(
            np.rint(theme.spectrogram(np.arange(256))[:, :3] * 255).astype(np.uint8).tobytes()
        ).decode()
        for theme in THEMES
    }
    rows, names = mel_ticks(frequencies)
    front, runs = script_address(packed(front_end)), [script_address(packed(graph)) for graph in graphs]
    listed = [
        {
            "title": network.title,
            "graph": network.graph,
            "alpha": network.alpha,
            "tensors": [[name, list(value.shape)] for name, value in network.weights.items()],
            "weights": script_address(packed(b"".join(_bytes(value) for value in network.weights.values()))),
        }
        for network in networks
    ]
    first = [front, runs[networks[0].graph], str(listed[0]["weights"])]
    size = sum(len(address) * 3 // 4 for address in first) + runtime_bytes
    settings = {
        "rate": sample_rate,
        "window": clip_seconds,
        "period": clock.period,
        "start": clock.start,
        "classes": [name.replace("_", " ") for name in classes],
        "multilabel": is_multilabel,
        "hertz": [
            [round(100 * (float(row) + 0.5) / len(frequencies), 1), name] for row, name in zip(rows, names, strict=True)
        ],
        "centres": [round(float(centre)) for centre in frequencies],
        "colours": colours,
        "runtime": RUNTIME,
        "size": f"{size / 1e6:.1f} MB",
        "frontEnd": front,
        "graphs": runs,
        "networks": listed,
    }
    markup = (
        '<section class="audioattn aa-own aa-own-waiting mathjax_ignore" aria-label="Your own sound" '
        f'data-own-sound="{html.escape(json.dumps(settings), quote=True)}">'
        '<p class="aa-own-without">The networks run in the page by JavaScript, which is off.</p></section>'
    )
    titles = ", ".join(network.title for network in networks)
    return OwnSound(markup, f"Your own sound: {titles} answer in the browser, {len(classes)} classes")


def _bytes(value: NDArray[np.float32]) -> bytes:
    return np.ascontiguousarray(value, dtype="<f4").tobytes()
