"""A trained model as a folder that stands alone: ``model.safetensors`` and ``model.json``.

``model.json`` says all that the weights need: experiment, configuration,
classes, front end, clock, thresholds, and the hash of the weights. No corpus,
no cache and no other file is needed to read it. No pickle is read or written.

Book page: ``your_sounds``.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from safetensors import SafetensorError
from torch import Tensor, nn

from audioattn_lib import __version__

from ..core.declarations import shorten
from ..core.errors import RunError
from ..core.files import explain
from ..core.tensor_files import load_tensors, read_digest, write_tensors
from .checkpoint import load_state
from .run_directory import read_json, write_atomically

__all__ = ["DESCRIPTION", "FOLDER", "WEIGHTS", "ModelDescription", "ModelFolder", "Task", "find_model"]

FOLDER = "model"
DESCRIPTION = "model.json"
WEIGHTS = "model.safetensors"
FORMAT = 1
"""Version of the layout of ``model.json``: raised when an older library could not read a folder."""

Task = Literal["class", "labels", "tasks", "score", "embedding"]
"""One class a sound, any number of labels, a class of each task, a number, or features alone."""


@dataclass(frozen=True)
class ModelDescription:
    """Content of ``model.json``.

    Parameters
    ----------
    experiment
        Chapter that the model belongs to.
    task
        Type of its answer.
    config
        Configuration of its run.
    classes
        Name of each output; none of a score or an embedding.
    sample_rate
        Hertz of the sound that it reads.
    clock
        Period and start in seconds of the frames of its front end.
    clip_seconds
        Longest sound of its corpus: up to this length it hears a sound whole.
    front_end
        Name and settings of the front end.
    thresholds
        Such as ``equal_error_rate``, the score of equal errors of verification.
    unit
        Unit of a score.
    settings
        What else the network or its answer needs, by name: the fitted scaling of the input, the sizes of tables.
    run
        Key of its run.
    weights
        Hash of the weights.
    library
        Version that wrote it.
    format
        Version of the layout.
    """

    experiment: str
    task: Task
    config: Mapping[str, Any]
    classes: tuple[str, ...]
    sample_rate: int
    clock: tuple[float, float]
    clip_seconds: float
    front_end: str
    thresholds: Mapping[str, float] = field(default_factory=dict)
    unit: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    run: str = ""
    weights: str = ""
    library: str = __version__
    format: int = FORMAT


@dataclass(frozen=True)
class ModelFolder:
    """A model that was read: its description, and its weights by name.

    Parameters
    ----------
    path
        The folder.
    description
        Content of ``model.json``.
    tensors
        Content of ``model.safetensors``.
    """

    path: Path
    description: ModelDescription
    tensors: Mapping[str, Tensor] = field(repr=False)

    @classmethod
    def write(cls, path: str | Path, description: ModelDescription, network: nn.Module) -> ModelFolder:
        """Write a model, the weights first: where ``model.json`` is, they are.

        Raises
        ------
        RunError
            When the disk is full or cannot be written.
        """
        path = Path(path)
        tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in network.state_dict().items()}
        with write_atomically(path / WEIGHTS) as temporary:
            write_tensors(temporary, tensors, {"format": "pt"})
        described = dataclasses.replace(description, weights=read_digest(path / WEIGHTS))
        text = json.dumps(dataclasses.asdict(described), indent=2, allow_nan=False)
        with write_atomically(path / DESCRIPTION) as temporary:
            temporary.write_text(text + "\n", encoding="utf-8")
        return cls(path, described, tensors)

    @classmethod
    def read(cls, path: str | Path) -> ModelFolder:
        """Read a model.

        Raises
        ------
        RunError
            When a file is missing, damaged, of a newer version or of another model; the message names file and field.
        """
        path = Path(path)
        description = _read_description(path / DESCRIPTION)
        weights = path / WEIGHTS
        try:
            digest = read_digest(weights)
            if digest != description.weights:
                raise RunError(
                    f"{weights}: the weights are of another model: their hash is {digest[:12] or 'missing'}, and "
                    f"weights in {path / DESCRIPTION} is {description.weights[:12]}; {_COPY}"
                )
            return cls(path, description, load_tensors(weights))
        except FileNotFoundError:
            raise RunError(f"{weights}: missing; {_COPY}") from None
        except (OSError, ValueError, SafetensorError) as error:
            raise RunError(f"{weights}: not readable ({explain(error)}); {_COPY}") from error

    def load_into(self, network: nn.Module) -> None:
        """Give a network these weights; a :class:`RunError` lists names and shapes that do not fit."""
        load_state(network, dict(self.tensors), self.path / WEIGHTS)


_COPY = f"copy the folder again, with {DESCRIPTION} and {WEIGHTS}"


def find_model(path: str | Path) -> Path | None:
    """The folder of a model: ``path`` itself or ``model`` in it; None where neither has one of its two files."""
    path = Path(path)
    folders = (path, path / FOLDER)
    return next(
        (folder for folder in folders if any((folder / name).is_file() for name in (DESCRIPTION, WEIGHTS))), None
    )


def _read_description(file: Path) -> ModelDescription:
    content = read_json(file, _COPY)
    if "experiment" not in content or "format" not in content:
        raise RunError(f"{file}: has no field experiment or format, so it is no model of this library")
    version = content["format"]
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise RunError(f"{file}: format is {shorten(version)}; it must be a whole number from 1; {_COPY}")
    if version > FORMAT:
        raise RunError(
            f"{file}: format is {version}, written by audioattn {shorten(content.get('library', 'unknown'))}; this is "
            f"audioattn {__version__}, which reads up to {FORMAT}: install a newer audioattn"
        )
    fields = {field.name: field for field in dataclasses.fields(ModelDescription)}
    required = [name for name, field in fields.items() if field.default is dataclasses.MISSING and name != "settings"]
    required = [name for name in required if fields[name].default_factory is dataclasses.MISSING]
    if missing := [name for name in (*required, "weights") if name not in content]:
        raise RunError(f"{file}: has no field {', '.join(missing)}; {_COPY}")
    for name, fits in _CHECKS.items():
        if name in content and not fits(content[name]):
            raise RunError(f"{file}: {name} is {shorten(content[name])}; it must be {_ALLOWED[name]}; {_COPY}")
    values = {name: value for name, value in content.items() if name in fields}
    return ModelDescription(**{**values, "classes": tuple(values["classes"]), "clock": tuple(values["clock"])})


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_object(value: Any) -> bool:
    return isinstance(value, dict)


_CHECKS: Mapping[str, Any] = {
    "experiment": _is_text,
    "task": lambda value: value in get_args(Task),
    "config": _is_object,
    "classes": lambda value: isinstance(value, list) and all(map(_is_text, value)),
    "sample_rate": lambda value: isinstance(value, int) and not isinstance(value, bool) and value > 0,
    "clock": lambda value: isinstance(value, list) and len(value) == 2 and all(map(_is_number, value)) and value[0] > 0,
    "clip_seconds": lambda value: _is_number(value) and value > 0,
    "front_end": _is_text,
    "thresholds": lambda value: isinstance(value, dict) and all(map(_is_number, value.values())),
    "unit": _is_text,
    "settings": _is_object,
    "run": _is_text,
    "weights": _is_text,
    "library": _is_text,
}
_ALLOWED = {
    "experiment": "the name of a chapter",
    "task": f"one of {', '.join(get_args(Task))}",
    "config": "an object",
    "classes": "a list of names",
    "sample_rate": "hertz above 0",
    "clock": "period and start in seconds, the period above 0",
    "clip_seconds": "seconds above 0",
    "front_end": "a text",
    "thresholds": "an object of numbers",
    "unit": "a text",
    "settings": "an object",
    "run": "a text",
    "weights": "a hash",
    "library": "a version",
}
