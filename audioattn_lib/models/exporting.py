"""Networks as graphs that other programs run: from log-mel or sound to the answer and to what was attended to.

A network can be exported where it has a method ``trace(features, lengths)``, which gives its logits and, as tensors by
name, the fields of its attention record. Batch and length of the graph are free.

Book page: ``use_a_trained_model``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from torch.func import functional_call

from ..audio.features.log_mel import LogMel
from ..core.errors import ConfigError

__all__ = [
    "ExportedNetwork",
    "Outputs",
    "SharedGraph",
    "SharedNetwork",
    "TracedNetwork",
    "export_front_end",
    "export_network",
    "export_shared",
]

Outputs = Literal["class", "labels"]
"""One class a clip, whose probabilities have the sum 1, or any number of labels."""

_MOST_FRAMES = 1 << 20
_LEAST_EXAMPLE = 24
_EXAMPLES = 3


class TracedNetwork(nn.Module):
    """A network whose results are tensors alone: probabilities, logits, then the fields of its record.

    Parameters
    ----------
    network
        With a method ``trace``.
    outputs
        What its classes are.
    front_end
        From waveforms to what the network reads; None: it is given that.

    Attributes
    ----------
    names
        Name of each result; known after the first call.

    Notes
    -----
    Book page: ``use_a_trained_model``.
    """

    def __init__(self, network: nn.Module, outputs: Outputs = "class", front_end: nn.Module | None = None) -> None:
        super().__init__()
        self.network, self.front_end, self.outputs = network, front_end, outputs
        self.names: tuple[str, ...] = ()

    def forward(self, inputs: Tensor, lengths: Tensor) -> tuple[Tensor, ...]:
        """Results for waveforms ``(B, samples)`` or features ``(B, frames, n_mels)``, and the length of each clip."""
        if self.front_end is not None:
            inputs, lengths = self.front_end(inputs, lengths)
        logits, fields = self.network.trace(inputs, lengths)  # type: ignore[operator, union-attr]
        logits = logits.float()
        probabilities = _probabilities(logits, self.outputs)
        self.names = ("probabilities", "logits", *fields)
        return (probabilities, logits, *fields.values())


def _probabilities(logits: Tensor, outputs: Outputs) -> Tensor:
    return logits.softmax(dim=1) if outputs == "class" else logits.sigmoid()


@dataclass(frozen=True)
class ExportedNetwork:
    """A graph with the names of what goes in and what comes out.

    Parameters
    ----------
    program
        Of ``torch.export``; ``program.module()`` runs it.
    inputs, outputs
        Names in their order.
    least, most
        Frames, or samples of waveforms, that a clip may have.
    traced
        The network that it was made from.
    """

    program: torch.export.ExportedProgram
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    least: int
    most: int
    traced: TracedNetwork


def export_network(
    network: nn.Module, front_end: Any, outputs: Outputs = "class", *, from_waveform: bool | None = None
) -> ExportedNetwork:
    """Export a network in evaluation mode, for any number of clips of any lengths.

    Parameters
    ----------
    network
        A trained network.
    front_end
        From waveforms to what it reads.
    outputs
        What its classes are.
    from_waveform
        Put the front end into the graph; None does where it can be.

    Raises
    ------
    ConfigError
        When network or front end cannot be exported; the message says which part.

    Notes
    -----
    Book page: ``use_a_trained_model``.
    """
    if not hasattr(network, "trace"):
        raise ConfigError(
            f"{type(network).__name__} cannot be exported: its steps are as many as the sound is long, or it "
            "attends to nothing; networks of urban sounds, accents, scenes (transformers) and playback can be"
        )
    least, most = getattr(network, "frame_range", (1, None))
    most = most or _MOST_FRAMES
    reads_waveforms = getattr(network, "reads_waveforms", False)
    hears = isinstance(front_end, LogMel)
    if from_waveform is None:
        from_waveform = hears
    elif from_waveform and not hears:
        raise ConfigError(
            f"{type(front_end).__name__} cannot be exported; give the graph features: from_waveform is False"
        )
    elif reads_waveforms and not from_waveform:
        raise ConfigError(
            f"{type(network).__name__} reads waveforms, which it analyses at several hops; leave from_waveform at None"
        )
    frames = min(max(2 * least, _LEAST_EXAMPLE), most)
    axis = "samples" if from_waveform else "frames"
    if from_waveform:
        hop = front_end.hop_length
        least, most = max(least - 1, 1) * hop, (most - 1) * hop
        example = torch.randn(_EXAMPLES, (frames - 1) * hop)
    else:
        example = torch.randn(_EXAMPLES, frames, front_end.n_mels)
    # clips of two lengths: a batch without padding is not all that the graph has to hold for
    lengths = torch.tensor([example.shape[1], example.shape[1] - 1, example.shape[1]])
    traced = TracedNetwork(network.eval(), outputs, front_end if from_waveform and not reads_waveforms else None).eval()
    clips, places = torch.export.Dim("batch", min=1, max=1 << 16), torch.export.Dim(axis, min=least, max=most)
    with torch.no_grad():
        traced(example, lengths)  # names are not kept while a graph is recorded
        names = traced.names
        program = torch.export.export(
            traced,
            (example, lengths),
            dynamic_shapes=({0: clips, 1: places}, {0: clips}),
            prefer_deferred_runtime_asserts_over_guards=True,
        )
    _drop_assertions(program)
    inputs = ("waveforms" if from_waveform else "features", "lengths")
    return ExportedNetwork(program, inputs, names, least, most, traced)


class SharedNetwork(nn.Module):
    """A network whose weights and whose alpha are inputs: one graph for all networks of a kind, and any alpha.

    Parameters
    ----------
    network
        With a method ``trace`` that takes ``alpha``.
    outputs
        What its classes are.

    Attributes
    ----------
    names
        Name of each result; known after the first call.

    Notes
    -----
    Book page: ``try_your_sound``.
    """

    def __init__(self, network: nn.Module, outputs: Outputs = "class") -> None:
        super().__init__()
        self._traced = [_WithAlpha(network, outputs)]  # in a list: its weights are none of this module

    @staticmethod
    def weights_of(network: nn.Module) -> dict[str, Tensor]:
        """Weights of a network by name: parameters, and buffers with numbers that are no counts."""
        tensors = {**dict(network.named_parameters()), **dict(network.named_buffers())}
        return {name: value.detach() for name, value in tensors.items() if value.is_floating_point()}

    @property
    def names(self) -> tuple[str, ...]:
        return self._traced[0].names

    def forward(self, features: Tensor, lengths: Tensor, alpha: Tensor, weights: dict[str, Tensor]) -> Any:
        """Results for features ``(B, frames, n_mels)``, lengths ``(B,)``, alpha without axes, and weights by name."""
        state = {f"network.{name}": value for name, value in weights.items()}
        return functional_call(self._traced[0], state, (features, lengths, alpha))


class _WithAlpha(nn.Module):
    def __init__(self, network: nn.Module, outputs: Outputs) -> None:
        super().__init__()
        self.network, self.outputs = network, outputs
        self.names: tuple[str, ...] = ()

    def forward(self, features: Tensor, lengths: Tensor, alpha: Tensor) -> tuple[Tensor, ...]:
        logits, fields = self.network.trace(features, lengths, alpha=alpha)  # type: ignore[operator, union-attr]
        self.names = ("probabilities", *fields)
        return (_probabilities(logits.float(), self.outputs), *fields.values())


@dataclass(frozen=True)
class SharedGraph:
    """A graph that is given the weights of a network with its input.

    Parameters
    ----------
    program
        Of ``torch.export``.
    inputs, outputs
        Names in their order: features, lengths, alpha, then the weights.

    Notes
    -----
    Book page: ``try_your_sound``.
    """

    program: torch.export.ExportedProgram
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


def export_shared(network: nn.Module, n_mels: int, outputs: Outputs = "class") -> SharedGraph:
    """Export a network as a graph to which alpha and all weights are inputs.

    Parameters
    ----------
    network
        Of the kind; in evaluation mode afterwards.
    n_mels
        Features of a frame.
    outputs
        What its classes are.

    Raises
    ------
    ConfigError
        When the network cannot be exported, or its attention has no alpha.

    Notes
    -----
    Book page: ``try_your_sound``.
    """
    shared, weights = SharedNetwork(network.eval(), outputs), SharedNetwork.weights_of(network)
    features = torch.randn(_EXAMPLES, _LEAST_EXAMPLE, n_mels)
    lengths = torch.tensor([_LEAST_EXAMPLE, _LEAST_EXAMPLE - 1, _LEAST_EXAMPLE])
    example = (features, lengths, torch.tensor(1.5), weights)
    clips, places = torch.export.Dim("batch", min=1, max=1 << 16), torch.export.Dim("frames", min=1, max=_MOST_FRAMES)
    with torch.no_grad():
        try:
            shared(*example)  # names are not kept while a graph is recorded
        except (TypeError, AttributeError):
            raise ConfigError(
                f"{type(network).__name__} cannot be exported with alpha as an input; networks of urban sounds with "
                "one of the eight mechanisms can be"
            ) from None
        names = shared.names
        program = torch.export.export(
            shared,
            example,
            dynamic_shapes=({0: clips, 1: places}, {0: clips}, None, dict.fromkeys(weights)),
            prefer_deferred_runtime_asserts_over_guards=True,
        )
    _drop_assertions(program)
    return SharedGraph(program, ("features", "lengths", "alpha", *weights), names)


class _FrontEnd(nn.Module):
    def __init__(self, front_end: LogMel) -> None:
        super().__init__()
        self.front_end = front_end

    def forward(self, waveforms: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        return cast(tuple[Tensor, Tensor], self.front_end(waveforms, lengths))


def export_front_end(front_end: Any) -> SharedGraph:
    """Export a log-mel front end: from waveforms and lengths to features and frames.

    Raises
    ------
    ConfigError
        When it is of another kind.

    Notes
    -----
    Book page: ``try_your_sound``.
    """
    if not isinstance(front_end, LogMel):
        raise ConfigError(f"{type(front_end).__name__} cannot be exported; log-mel front ends can be")
    count = _LEAST_EXAMPLE * front_end.hop_length
    example = (torch.randn(_EXAMPLES, count), torch.tensor([count, count - 1, count]))
    clips, places = torch.export.Dim("batch", min=1, max=1 << 16), torch.export.Dim("samples", min=front_end.hop_length)
    with torch.no_grad():
        program = torch.export.export(
            _FrontEnd(front_end),
            example,
            dynamic_shapes=({0: clips, 1: places}, {0: clips}),
            prefer_deferred_runtime_asserts_over_guards=True,
        )
    _drop_assertions(program)
    return SharedGraph(program, ("waveforms", "lengths"), ("features", "frames"))


def _drop_assertions(program: torch.export.ExportedProgram) -> None:
    """Take out what the recording took for granted: that sizes differ, or how they are laid out in memory.

    Operations of the graph hold for all sizes. An assertion that a shape of the example differs from 1, or is even,
    says only which of two equal ways of PyTorch the recording took.
    """
    for node in list(program.graph.nodes):
        if node.target in (torch.ops.aten._assert_scalar.default, torch.ops.aten._assert_async.msg):
            program.graph.erase_node(node)
    program.graph.eliminate_dead_code()
    program.graph_module.recompile()
