"""Trained models in a page: one graph for all mechanisms of a kind, whose weights and alpha are inputs.

Book page: ``try_your_sound``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from audioattn_lib import __version__
from audioattn_lib.attention.pooling.registry import MECHANISMS
from audioattn_lib.attention.record.record import FrameClock
from audioattn_lib.core.errors import ConfigError, RunError
from audioattn_lib.display.players.own_sound import OwnSound, PageNetwork, own_sound
from audioattn_lib.models.exporting import Outputs, SharedGraph, SharedNetwork, export_front_end, export_shared

from ..model import Model
from .onnx_files import TOLERANCE, convert

__all__ = ["try_models"]

RUNTIME_BYTES = 4_200_000
"""Of onnxruntime-web in a page of the book."""
_FRAMES = (7, 120)
"""Lengths on which a graph is checked, none of which it was exported with."""


def try_models(models: Mapping[str, Model]) -> OwnSound:
    """Let trained models of urban sounds answer in a page to the reader's own sounds, with alpha as a slider.

    Parameters
    ----------
    models
        By title; of one corpus, front end and network, and each with one of the eight mechanisms.

    Returns
    -------
    OwnSound
        It shows itself in a notebook, and works in a page of the book.

    Raises
    ------
    ConfigError
        When the models differ in more than mechanism and weights, cannot be exported, or the extra ``export`` is not
        installed.
    RunError
        When a graph does not give what its network gives.

    Notes
    -----
    Graphs are compared with the networks in onnxruntime, at the alpha of each and at another. Book page:
    ``try_your_sound``.
    """
    if not models:
        raise ConfigError("models is empty; give at least one trained model by its title")
    first = next(iter(models.values()))
    described = first.description
    if described.task not in ("class", "labels"):
        raise ConfigError(f"{first!r} cannot answer in a page: its answer is a {described.task}")
    outputs: Outputs = "labels" if described.task == "labels" else "class"
    for title, model in models.items():
        other = model.description
        for name in ("experiment", "task", "classes", "front_end", "clock", "clip_seconds"):
            if getattr(other, name) != getattr(described, name):
                raise ConfigError(f"{title}: its {name} is not that of {next(iter(models))}; give models of one study")
        if getattr(model.config, "attention", None) not in MECHANISMS:
            raise ConfigError(f"{title}: its attention has no alpha; give models of {', '.join(MECHANISMS)}")
        model.listener.to(torch.device("cpu"))
    front_end = first.listener.front_end
    about = {"library": f"audioattn {__version__}", "experiment": described.experiment}
    kinds: dict[str, tuple[int, bytes]] = {}
    networks = []
    try:
        for title, model in models.items():
            variant = MECHANISMS[model.config.attention]
            network = model.listener.traced()
            if variant.domain not in kinds:
                shared = export_shared(network, front_end.n_mels, outputs)
                kinds[variant.domain] = len(kinds), _serialised(shared, about)
            place, graph = kinds[variant.domain]
            weights = {name: value.numpy() for name, value in SharedNetwork.weights_of(network).items()}
            _check(title, graph, network, weights, variant.alpha, front_end.n_mels, outputs)
            networks.append(PageNetwork(title, place, variant.alpha, weights))
        front = _serialised(export_front_end(front_end), about)
    finally:
        for model in models.values():
            model.listener.to(model.device)
    return own_sound(
        networks,
        [graph for _, graph in kinds.values()],
        front,
        classes=described.classes,
        sample_rate=described.sample_rate,
        clip_seconds=described.clip_seconds,
        clock=FrameClock(*described.clock),
        frequencies=front_end.frequencies.cpu().numpy(),
        is_multilabel=outputs == "labels",
        runtime_bytes=RUNTIME_BYTES,
    )


def _serialised(graph: SharedGraph, about: dict[str, str]) -> bytes:
    content: bytes = convert(graph, about).model_proto.SerializeToString()
    return content


def _check(
    title: str,
    graph: bytes,
    network: torch.nn.Module,
    weights: Mapping[str, Any],
    alpha: float,
    n_mels: int,
    outputs: Outputs,
) -> None:
    """Compare a graph and weights with the network: its answer by itself, and with another alpha."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    read = {graph_input.name for graph_input in session.get_inputs()}
    initializers = {name: value for name, value in weights.items() if name in read}
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(len(_FRAMES), max(_FRAMES), n_mels, generator=generator)
    lengths = torch.tensor(_FRAMES)
    for tried in (alpha, 1.25):
        with torch.no_grad():
            more = {} if tried == alpha else {"alpha": torch.tensor(tried)}
            logits, trace = network.trace(features, lengths, **more)  # type: ignore[operator]
        answer = logits.sigmoid() if outputs == "labels" else logits.softmax(dim=1)
        expected = [answer, *trace.values()]
        results = session.run(
            None,
            {
                "features": features.numpy(),
                "lengths": lengths.numpy(),
                "alpha": np.array(tried, dtype=np.float32),
                **initializers,
            },
        )
        for ours, theirs in zip(expected, results, strict=True):
            apart = float((ours - torch.from_numpy(np.asarray(theirs))).abs().max() / max(1.0, float(ours.abs().max())))
            if not apart <= TOLERANCE:
                raise RunError(
                    f"{title}: the graph differs from the network by {apart:.1e} at alpha {tried:g}, more than "
                    f"{TOLERANCE:g}; use the versions of torch and onnxscript in constraints.txt, and report it"
                )
