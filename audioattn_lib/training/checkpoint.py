"""Checkpoints for an exact resume of a killed run.

A checkpoint is a safetensors file with every tensor (parameters, buffers,
optimiser, random number generators) and a JSON file with every number
(position, best score, patience). The JSON file names the tensor file and is
moved into place last. The tensor file is named after its content, so no other
takes its place, and a kill at any instant leaves the previous pair whole.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from ..core.declarations import shorten
from ..core.errors import RunError
from ..core.files import parse_json, read_bounded
from ..core.tensor_files import current_names, load_tensors, tensor_digest, write_tensors
from .run_directory import write_atomically

__all__ = ["Position", "load_best", "load_checkpoint", "load_state", "load_weights", "save_best", "save_checkpoint"]


@dataclass
class Position:
    """Training progress: epoch, batch and step, best score, running sums and history.

    Attributes
    ----------
    epoch, batch, step
        Epochs finished, batches finished in the running epoch, optimiser steps in all.
    best_score, best_epoch, stale_epochs
        Best monitored score so far, its epoch (-1 while there is none), and epochs since.
    sums
        Running sums of the epoch: clips, loss and correct.
    history
        One dictionary an epoch.
    """

    epoch: int = 0
    batch: int = 0
    step: int = 0
    best_score: float | None = None
    best_epoch: int = -1
    stale_epochs: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    history: list[dict[str, float]] = field(default_factory=list)


def save_checkpoint(directory: Path, model: nn.Module, optimizer: torch.optim.Optimizer, position: Position) -> None:
    """Write the last state; the previous one is removed once this one is whole."""
    tensors = {f"model/{name}": tensor for name, tensor in model.state_dict().items()}
    scalars: dict[str, Any] = {}
    state = optimizer.state_dict()
    for index, entries in state["state"].items():
        for name, value in entries.items():
            if isinstance(value, Tensor):
                tensors[f"optimizer/{index}/{name}"] = value
            else:
                scalars[f"{index}/{name}"] = value
    tensors["rng/cpu"] = torch.get_rng_state()
    if torch.cuda.is_available():
        tensors["rng/cuda"] = torch.cuda.get_rng_state()
    tensors = {name: tensor.detach().cpu() for name, tensor in tensors.items()}  # once, to hash and to write
    # The step alone would not do: after the validation of an epoch the generators differ, and the step is the same.
    tensor_file = directory / f"last-{position.step:08d}-{tensor_digest(tensors)[:16]}.safetensors"
    _write_tensors(tensor_file, tensors)
    groups = [{k: v for k, v in group.items() if _is_plain(v)} for group in state["param_groups"]]
    content: dict[str, Any] = {
        "tensors": tensor_file.name,
        "tensors_sha256": _file_digest(tensor_file),
        "position": asdict(position),
        "scalars": scalars,
        "groups": groups,
    }
    content["sha256"] = _digest(content)
    with write_atomically(directory / "last.json") as temporary:
        temporary.write_text(json.dumps(content), encoding="utf-8")
    for old in directory.glob("last-*.safetensors"):
        if old != tensor_file:
            with contextlib.suppress(OSError):  # this one is whole; the next one tries again
                old.unlink(missing_ok=True)


def load_checkpoint(directory: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> Position | None:
    """Restore the last state into ``model``, ``optimizer`` and the generators; None when there is none.

    Raises
    ------
    RunError
        When a file is missing, damaged or was edited, or is of another model; the message names file and field.
        Neither model, optimizer nor generators are changed then.
    """
    file = directory / "last.json"
    if not file.is_file():
        return None
    cure = f"delete {directory} to train from the start"
    field = "content"
    try:
        content = parse_json(read_bounded(file))
        if not isinstance(content, dict):
            raise TypeError("no object")
        field = "position"
        position = _checked_position(content["position"])
        field = "sha256"
        if content.pop("sha256") != _digest(content):
            raise ValueError("the file was edited or damaged")
        field = "tensors"
        tensor_file = directory / content["tensors"]
        if _file_digest(tensor_file) != content["tensors_sha256"]:
            raise ValueError(f"{tensor_file.name} is not the file that was written")
        tensors = load_file(tensor_file)
        field = "rng/cpu"
        torch.Generator().set_state(tensors["rng/cpu"])
        field = "scalars"
        state = _optimizer_state(tensors, content["scalars"])
        groups = content["groups"]
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise RunError(f"{file}: the checkpoint is damaged ({field}: {reason}); {cure}") from error
    weights = current_names({name[6:]: value for name, value in tensors.items() if name.startswith("model/")})
    _check_state(model, weights, directory)
    try:
        optimizer.load_state_dict({"state": state, "param_groups": groups})
    except (ValueError, KeyError, TypeError) as error:
        raise RunError(f"{file}: the checkpoint is of another optimizer (groups: {error}); {cure}") from error
    model.load_state_dict(weights)
    torch.set_rng_state(tensors["rng/cpu"])
    if torch.cuda.is_available() and "rng/cuda" in tensors:
        torch.cuda.set_rng_state(tensors["rng/cuda"])
    return position


def _checked_position(fields: Any) -> Position:
    position = Position(**fields)
    for name, least in (("epoch", 0), ("batch", 0), ("step", 0), ("best_epoch", -1), ("stale_epochs", 0)):
        value = getattr(position, name)
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise ValueError(f"{name} is {shorten(value)}; it must be a whole number of at least {least}")
    if not isinstance(position.best_score, float | int | None) or isinstance(position.best_score, bool):
        raise ValueError(f"best_score is {shorten(position.best_score)}; it must be a number or null")
    rows = position.history if isinstance(position.history, list) else [None]
    if not all(isinstance(row, dict) for row in rows) or not isinstance(position.sums, dict):
        raise ValueError("history and sums must be a list of objects and an object")
    if len(rows) != position.epoch:
        raise ValueError(f"history has {len(rows)} rows for {position.epoch} epochs")
    return position


def _optimizer_state(tensors: Mapping[str, Tensor], scalars: Mapping[str, Any]) -> dict[int, dict[str, Any]]:
    state: dict[int, dict[str, Any]] = {}
    own = {name.removeprefix("optimizer/"): t for name, t in tensors.items() if name.startswith("optimizer/")}
    for name, value in {**own, **scalars}.items():
        index, entry = name.split("/")
        state.setdefault(int(index), {})[entry] = value
    return state


def _digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _file_digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def save_best(directory: Path, model: nn.Module, about: Mapping[str, str] | None = None) -> None:
    """Write the weights of the best epoch so far, with ``about`` and their hash in the header."""
    _write_tensors(directory / "best.safetensors", model.state_dict(), about or {})


def load_best(directory: Path, model: nn.Module) -> None:
    """Load the weights of the best epoch."""
    load_weights(directory / "best.safetensors", model)


def load_weights(path: Path, model: nn.Module) -> None:
    """Load weights into ``model``; a :class:`RunError` says that they are damaged, or lists names that do not match."""
    try:
        tensors = load_tensors(path)
    except FileNotFoundError:
        raise RunError(f"{path}: no such weights; train the model first") from None
    except ValueError as error:
        raise RunError(f"{path}: {error}; train the model again, or fetch the file again") from None
    except (OSError, SafetensorError) as error:
        raise RunError(f"{path}: not a readable safetensors file ({error})") from error
    load_state(model, tensors, path)


def _write_tensors(path: Path, tensors: Mapping[str, Tensor], about: Mapping[str, str] | None = None) -> None:
    whole = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    with write_atomically(path) as temporary:
        write_tensors(temporary, whole, about)


def load_state(model: nn.Module, tensors: dict[str, Tensor], source: Path) -> None:
    _check_state(model, tensors, source)
    model.load_state_dict(tensors)


def _check_state(model: nn.Module, tensors: dict[str, Tensor], source: Path) -> None:
    own = model.state_dict()
    missing, unknown = sorted(own.keys() - tensors.keys()), sorted(tensors.keys() - own.keys())
    wrong = [
        f"{n} is {tuple(tensors[n].shape)}, the model has {tuple(own[n].shape)}"
        for n in sorted(own.keys() & tensors.keys())
        if own[n].shape != tensors[n].shape
    ]
    wrong += [
        f"{n} is {tensors[n].dtype}, the model has {own[n].dtype}"
        for n in sorted(own.keys() & tensors.keys())
        if own[n].is_floating_point() != tensors[n].is_floating_point()
    ]
    if missing or unknown or wrong:
        parts = [f"missing: {', '.join(missing[:5])}"] if missing else []
        parts += [f"unknown: {', '.join(unknown[:5])}"] if unknown else []
        parts += wrong[:5]
        raise RunError(f"{source}: the weights are of another model ({'; '.join(parts)})")


def _is_plain(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return all(_is_plain(item) for item in value)
    return isinstance(value, (bool, int, float, str)) or value is None
