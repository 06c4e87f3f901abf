"""One ONNX file of a trained model: from sound, or log-mel, to probabilities and attention; checked in onnxruntime.

Book page: ``use_a_trained_model``.
"""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from audioattn_lib import __version__
from audioattn_lib.core.errors import ConfigError, RunError
from audioattn_lib.models.exporting import ExportedNetwork, Outputs, SharedGraph, export_network
from audioattn_lib.training.run_directory import write_atomically

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..model import Model

__all__ = ["TOLERANCE", "OnnxFile", "check_onnx", "convert", "export_onnx", "write_onnx"]

TOLERANCE = 1e-4
"""Largest difference between a file and the model, relative to the largest value of an output where that is above 1."""

_SECONDS = (0.35, 1.0, 2.7)
"""Lengths on which a file is checked, none of which it was exported with."""


@dataclass(frozen=True)
class OnnxFile:
    """An ONNX file that was written and checked.

    Parameters
    ----------
    path, size
        The file, and its bytes.
    opset
        Version of the operations of ONNX.
    inputs, outputs
        Names; the last input is the length of each clip.
    difference
        Largest difference to the model, relative as for :data:`TOLERANCE`.
    lengths
        Samples or frames of the clips that it was checked on.

    Notes
    -----
    Book page: ``use_a_trained_model``.
    """

    path: Path
    size: int
    opset: int
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    difference: float
    lengths: tuple[int, ...]

    def __str__(self) -> str:
        return (
            f"{self.path}: ONNX opset {self.opset}, {self.size / 1e6:.2f} MB, {', '.join(self.inputs)} -> "
            f"{', '.join(self.outputs)}; differs from the model by {self.difference:.1e} at most, over "
            f"{len(self.lengths)} lengths"
        )


def export_onnx(model: Model, path: str | Path, *, from_waveform: bool | None = None) -> OnnxFile:
    """Write the ONNX file of a model, and compare it with the model over lengths that it was not exported with.

    Parameters
    ----------
    model
        From :func:`audioattn_lib.load`.
    path
        The file to write.
    from_waveform
        Put the front end into the file; None does where it can be. Without it the file reads log-mel features.

    Returns
    -------
    OnnxFile
        Its size, operations, names and difference. Metadata of the file say classes, sample rate and clock.

    Raises
    ------
    ConfigError
        When the model cannot be exported, or the extra ``export`` is not installed.
    RunError
        When the file does not give what the model gives; nothing is left of it.

    Notes
    -----
    Book page: ``use_a_trained_model``.
    """
    description = model.description
    if description.task not in ("class", "labels"):
        raise ConfigError(
            f"{model!r} cannot be exported: its answer is a {description.task}; models with classes or labels can be"
        )
    outputs: Outputs = "labels" if description.task == "labels" else "class"
    about = {
        "library": f"audioattn {__version__}",
        "experiment": description.experiment,
        "task": description.task,
        "classes": json.dumps(description.classes),
        "sample_rate": str(description.sample_rate),
        "frame_period_seconds": str(description.clock[0]),
        "frame_start_seconds": str(description.clock[1]),
        "front_end": description.front_end,
        "weights": description.weights,
    }
    device = model.device
    model.listener.to(torch.device("cpu"))
    try:
        exported = export_network(
            model.listener.traced(), model.listener.front_end, outputs, from_waveform=from_waveform
        )
        unit = description.sample_rate if exported.inputs[0] == "waveforms" else 1 / description.clock[0]
        lengths = sorted({int(np.clip(round(s * unit), exported.least, exported.most)) for s in _SECONDS})
        return write_onnx(exported, path, about, lengths)
    finally:
        model.listener.to(device)


def write_onnx(exported: ExportedNetwork, path: str | Path, about: dict[str, str], lengths: Sequence[int]) -> OnnxFile:
    """Write a graph as one ONNX file with metadata, compared with its network at some lengths first.

    Raises
    ------
    ConfigError
        When the extra ``export`` is not installed.
    RunError
        When the file does not give what the network gives, or the disk is full.

    Notes
    -----
    Book page: ``use_a_trained_model``.
    """
    path = Path(path)
    program = convert(exported, about)
    path.parent.mkdir(parents=True, exist_ok=True)
    with write_atomically(path) as temporary:
        program.save(temporary)
        difference = check_onnx(exported, temporary, lengths)
        if not difference <= TOLERANCE:
            raise RunError(
                f"{path}: the ONNX file differs from the model by {difference:.1e}, more than {TOLERANCE:g}; it was "
                "not written: export with other versions of torch and onnxscript, and report it"
            )
    opset = int(program.model.opset_imports[""])
    return OnnxFile(path, path.stat().st_size, opset, exported.inputs, exported.outputs, difference, tuple(lengths))


def convert(graph: ExportedNetwork | SharedGraph, about: dict[str, str]) -> torch.onnx.ONNXProgram:
    """A graph in the operations of ONNX, with metadata, and without names and lines of code of this machine.

    Raises
    ------
    ConfigError
        When the extra ``export`` is not installed.

    Notes
    -----
    Book page: ``use_a_trained_model``.
    """
    _require()
    with _quiet():
        exported = torch.onnx.export(
            graph.program, input_names=list(graph.inputs), output_names=list(graph.outputs), verbose=False
        )
    assert exported is not None
    for node in exported.model.graph.all_nodes():  # lines of code of this machine, most of a small file
        node.metadata_props.clear()
    for value in exported.model.graph.initializers.values():
        value.metadata_props.clear()
    exported.model.metadata_props.clear()
    exported.model.metadata_props.update(about)
    exported.model.producer_name = "audioattn"
    return exported


def check_onnx(exported: ExportedNetwork, path: str | Path, lengths: Sequence[int]) -> float:
    """Largest difference between a file in onnxruntime and its network, over clips alone and in a padded batch.

    Notes
    -----
    Relative to the largest value of an output where that is above 1. Book page: ``use_a_trained_model``.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    generator = torch.Generator().manual_seed(0)
    example = exported.program.example_inputs[0][0]
    worst = 0.0
    for clips in [*([length] for length in lengths), list(lengths)]:
        inputs = torch.randn(len(clips), max(clips), *example.shape[2:], generator=generator)
        frame_counts = torch.tensor(clips)
        with torch.no_grad():
            expected = [value.numpy() for value in exported.traced(inputs, frame_counts)]
        results: list[Any] = session.run(
            list(exported.outputs), {exported.inputs[0]: inputs.numpy(), exported.inputs[1]: frame_counts.numpy()}
        )
        for ours, theirs in zip(expected, results, strict=True):
            if ours.shape != theirs.shape or (np.isnan(ours) != np.isnan(theirs)).any():
                return float("inf")
            apart = np.abs(np.nan_to_num(ours) - np.nan_to_num(theirs)).max(initial=0.0)
            worst = max(worst, float(apart / max(1.0, np.abs(np.nan_to_num(ours)).max(initial=0.0))))
    return worst


def _require() -> None:
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ConfigError(f"{error.name} is not installed; install it with: pip install 'audioattn[export]'") from None


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what the exporter says about its own parts."""
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)
