"""Weights from files, read without running code from them, and put into a model as far as they fit.

Book page: ``playback_published``.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from ..core.errors import ConfigError
from ..core.tensor_files import load_tensors

__all__ = [
    "Mismatch",
    "Transfer",
    "WeightReport",
    "compare_weights",
    "load_weights",
    "read_weights",
    "transfer_weights",
    "without_prefix",
]

log = logging.getLogger("audioattn")

_TABLES = ("state_dict", "model_state", "model")
"""Names under which other programs keep the weights in a checkpoint."""

_PARTS = ("encoder.", "decoder.")
_LISTED = 8


@dataclass(frozen=True)
class Mismatch:
    """A parameter that weights and model have in different shapes."""

    name: str
    loaded: tuple[int, ...]
    expected: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.name}: {_size(self.loaded)} in the weights, {_size(self.expected)} in the model"


@dataclass(frozen=True)
class WeightReport:
    """Result of the comparison of a file of weights with a model, by names of parameters.

    Parameters
    ----------
    matched
        Parameters of the model that were found, by their names in the model.
    missing
        Parameters of the model that the weights do not have.
    unknown
        Names in the weights, as the file has them, that the model does not have.
    mismatches
        Parameters that both have, in different shapes.
    renamed
        What was done to the names in the file to make them names in the model, ``""`` for nothing.
    """

    matched: tuple[str, ...]
    missing: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    mismatches: tuple[Mismatch, ...] = ()
    renamed: str = ""

    @property
    def is_complete(self) -> bool:
        """Return True when all parameters match and none is left over."""
        return not (self.missing or self.unknown or self.mismatches)

    def __str__(self) -> str:
        total = len(self.matched) + len(self.missing) + len(self.mismatches)
        renamed = f" ({self.renamed})" if self.renamed else ""
        lines = [f"{len(self.matched)} of {total} parameters of the model matched{renamed}"]
        for title, entries in (
            ("other shape", tuple(map(str, self.mismatches))),
            ("missing", self.missing),
            ("unknown", self.unknown),
        ):
            lines += [f"  {title}: {entry}" for entry in entries[:_LISTED]]
            if len(entries) > _LISTED:
                lines.append(f"  ... and {len(entries) - _LISTED} more of {title}")
        return "\n".join(lines)


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """Tensors by name, from ``.safetensors``, or from a PyTorch file that holds tensors and plain data.

    Of a file that holds more than weights, such as a checkpoint of training,
    those under ``state_dict``, ``model_state`` or ``model`` are taken. Objects
    beside them, such as the callbacks in a checkpoint of Lightning, are replaced
    by empty ones: nothing that the file names is called.

    Raises
    ------
    ConfigError
        When there is no such file, reading it would run code, or it holds no table of tensors.

    Notes
    -----
    Book page: ``attention_patterns``.
    """
    path = Path(path)
    if not path.is_file():
        raise ConfigError(f"{path}: no such file of weights")
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch and safetensors raise a dozen kinds for a file that is none of theirs
        table = _read_table_alone(path)
        if table is not None:
            return table
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ConfigError(
            f"{path}: not a file of weights that is safe to read ({first}); save its state dict alone, as safetensors"
        ) from error
    content = _innermost(content)
    if (
        not isinstance(content, Mapping)
        or not content
        or not all(isinstance(value, Tensor) for value in content.values())
    ):
        raise ConfigError(f"{path}: holds no table of tensors; save the state dict of a model")
    return dict(content)


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_tensors(path)
    except ValueError as error:
        raise ConfigError(f"{path}: {error}; fetch it again, or train its run again") from None
    except (OSError, SafetensorError) as error:
        raise ConfigError(f"{path}: not a file of weights that is safe to read ({error}); fetch it again") from error


def _innermost(content: Any) -> Any:
    for name in _TABLES:
        if isinstance(content, Mapping) and isinstance(content.get(name), Mapping):
            content = content[name]
    return content


class _Nothing:
    """Placeholder for objects in a checkpoint: any call returns an empty table."""

    def __new__(cls, *arguments: Any, **named: Any) -> Any:
        return OrderedDict()


def _read_table_alone(path: Path) -> dict[str, Tensor] | None:
    """The table of tensors in a checkpoint that holds objects of other programs too; None where there is none."""
    try:
        names = torch.serialization.get_unsafe_globals_in_checkpoint(path)
        with torch.serialization.safe_globals([(_Nothing, name) for name in names]):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # whatever a damaged file stumbles over: it is no checkpoint then
        return None
    table = _innermost(content)
    if table is content or not table or not all(type(value) is Tensor for value in table.values()):
        return None
    return dict(table)


def compare_weights(expected: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> WeightReport:
    """Compare names and shapes of ``weights`` with ``expected``, the state dict of a model.

    Notes
    -----
    Book page: ``playback_published``.
    """
    shared = [name for name in expected if name in weights]
    return WeightReport(
        tuple(name for name in shared if weights[name].shape == expected[name].shape),
        tuple(name for name in expected if name not in weights),
        tuple(name for name in weights if name not in expected),
        tuple(
            Mismatch(name, tuple(weights[name].shape), tuple(expected[name].shape))
            for name in shared
            if weights[name].shape != expected[name].shape
        ),
    )


@torch.no_grad()
def load_weights(model: nn.Module, weights: str | Path | Mapping[str, Tensor], *, strict: bool = False) -> WeightReport:
    """Load weights into a model where name and shape match, and report the matches.

    Names are tried as they stand, with ``encoder.`` or ``decoder.`` before all
    of them (weights of an encoder alone into a whole model), and with one of
    these taken away (a whole model into an encoder alone); the way that matches
    most parameters counts, the first of those that match equally many.

    Parameters
    ----------
    model
        Is changed; what does not match stays as it is.
    weights
        A file for :func:`read_weights`, or tensors by name.
    strict
        Nothing may be missing, unknown or of another shape.

    Raises
    ------
    ConfigError
        When nothing matches, or not everything with ``strict``; the message
        lists names and shapes, and the model is as it was.

    Notes
    -----
    The published code tries the prefixes for each parameter by itself, so that
    an outer ``norm`` of a whole model can end up in its encoder. Book page:
    ``playback_published``.
    """
    source = "the weights" if isinstance(weights, Mapping) else str(weights)
    tensors = weights if isinstance(weights, Mapping) else read_weights(weights)
    expected = model.state_dict()
    report, names = _match_names(expected, tensors)
    if not report.matched:
        some = ", ".join(list(tensors)[:3]) or "nothing"
        ours = ", ".join(list(expected)[:3])
        raise ConfigError(
            f"{source}: matches no parameter of the model; it holds {some} ..., the model {ours} ...; "
            "give weights of the same architecture and size"
        )
    if strict and not report.is_complete:
        raise ConfigError(f"{source}: does not fit the model as a whole: {report}")
    model.load_state_dict({name: tensors[names[name]] for name in report.matched}, strict=False)
    log.info("%s: %s", source, report)
    return report


def _match_names(expected: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> tuple[WeightReport, dict[str, str]]:
    """Find the renaming that matches most parameters: its report, and the name in the file by that in the model."""
    ways: list[tuple[str, dict[str, str]]] = [("", {name: name for name in weights})]
    ways += [(f"with {prefix} before every name", {prefix + name: name for name in weights}) for prefix in _PARTS]
    ways += [
        (f"without {prefix}", {name.removeprefix(prefix): name for name in weights if name.startswith(prefix)})
        for prefix in _PARTS
    ]
    reports = [compare_weights(expected, {new: weights[old] for new, old in names.items()}) for _, names in ways]
    best = max(range(len(ways)), key=lambda way: len(reports[way].matched))
    report, (renamed, names) = reports[best], ways[best]
    used = {names[name] for name in report.matched} | {names[mismatch.name] for mismatch in report.mismatches}
    unknown = tuple(name for name in weights if name not in used)
    return WeightReport(report.matched, report.missing, unknown, report.mismatches, renamed), names


@dataclass(frozen=True)
class Transfer:
    """Result of a transfer of weights into a model, by names of its parameters.

    Parameters
    ----------
    taken
        Parameters that have the values of the weights.
    drawn
        Parameters that stay as they were drawn: the weights lack them.
    left
        Names in the weights that the model did not take.
    mismatches
        Parameters that both have, in different shapes; they stay as drawn.
    classes_drawn, classes_left
        Classes that the weights do not know, and those of the weights that the model lacks.
    """

    taken: tuple[str, ...]
    drawn: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    mismatches: tuple[Mismatch, ...] = ()
    classes_drawn: tuple[str, ...] = ()
    classes_left: tuple[str, ...] = ()

    @property
    def is_complete(self) -> bool:
        """True when no parameter and no class of the model stays as it was drawn."""
        return not (self.drawn or self.mismatches or self.classes_drawn)

    def __str__(self) -> str:
        total = len(self.taken) + len(self.drawn) + len(self.mismatches)
        lines = [f"{len(self.taken)} of {total} parameters read"]
        for title, entries in (
            ("new, as drawn", self.drawn),
            ("other shape, as drawn", tuple(map(str, self.mismatches))),
            ("left out", self.left),
            ("class as drawn", self.classes_drawn),
            ("class left out", self.classes_left),
        ):
            lines += [f"  {title}: {entry}" for entry in entries[:_LISTED]]
            if len(entries) > _LISTED:
                lines.append(f"  ... and {len(entries) - _LISTED} more: {title}")
        return "\n".join(lines)


@torch.no_grad()
def transfer_weights(
    model: nn.Module,
    weights: Mapping[str, Tensor],
    *,
    classes: Sequence[str] = (),
    found_classes: Sequence[str] = (),
    heads: Mapping[str, int] | None = None,
    selected: Sequence[str] | None = None,
) -> Transfer:
    """Put weights into a model by the names of its parameters, and outputs by the names of the classes.

    Parameters
    ----------
    model
        Is changed; what does not match stays as it is.
    weights
        Tensors by name; prefixes are tried as by :func:`load_weights`.
    classes, found_classes
        Names of the outputs of the model and of the weights, in their order. Without both, outputs keep their places.
    heads
        Which parameters have a row for each class: what their names begin with, and the axis of the classes.
    selected
        The parameters that may be taken; all by default.

    Raises
    ------
    ConfigError
        When nothing matches; the message lists names.

    Notes
    -----
    Book page: ``commands``.
    """
    expected = model.state_dict()
    _, names = _match_names(expected, weights)
    allowed = set(expected if selected is None else selected)
    places = _class_places(classes, found_classes)
    state: dict[str, Tensor] = {}
    mismatches: list[Mismatch] = []
    for name, new in expected.items():
        if name not in names or name not in allowed:
            continue
        old = weights[names[name]]
        axis = _class_axis(name, new, heads or {})
        if places is not None and axis is not None:
            merged = _merge(new, old, axis, places, len(found_classes))
            if merged is not None:
                state[name] = merged
                continue
        if old.shape == new.shape:
            state[name] = old
        else:
            mismatches.append(Mismatch(name, tuple(old.shape), tuple(new.shape)))
    if not state:
        some, ours = ", ".join(list(weights)[:3]) or "nothing", ", ".join(list(expected)[:3])
        raise ConfigError(
            f"the weights match no parameter of the model; they hold {some} ..., the model {ours} ...; give weights "
            "of the same architecture and size"
        )
    model.load_state_dict(state, strict=False)
    wrong = {mismatch.name for mismatch in mismatches}
    used = {names[name] for name in state} | {names[name] for name in wrong}
    has_head = places is not None and any(_class_axis(name, expected[name], heads or {}) is not None for name in state)
    return Transfer(
        tuple(state),
        tuple(name for name in expected if name in allowed and name not in state and name not in wrong),
        tuple(name for name in weights if name not in used),
        tuple(mismatches),
        tuple(name for name in classes if name not in found_classes) if has_head else (),
        tuple(name for name in found_classes if name not in classes) if has_head else (),
    )


def _class_places(classes: Sequence[str], found_classes: Sequence[str]) -> list[tuple[int, int]] | None:
    """Match classes: index in the model and in the weights of each common class; None without names."""
    if not classes or not found_classes:
        return None
    index = {name: number for number, name in enumerate(found_classes)}
    return [(number, index[name]) for number, name in enumerate(classes) if name in index]


def _class_axis(name: str, tensor: Tensor, heads: Mapping[str, int]) -> int | None:
    axis = next((axis for start, axis in heads.items() if name.startswith(start)), None)
    return axis if axis is not None and tensor.ndim > axis else None


def _merge(new: Tensor, old: Tensor, axis: int, places: list[tuple[int, int]], n_found: int) -> Tensor | None:
    """Copy the rows of common classes from the weights and keep the others; None where shapes differ."""
    rest = [old.shape[i] == size for i, size in enumerate(new.shape) if i != axis] if old.ndim == new.ndim else [False]
    if not all(rest) or old.shape[axis] != n_found:
        return None
    merged = new.clone()
    if places:
        new_rows, old_rows = (torch.tensor(indices, device=new.device) for indices in zip(*places, strict=True))
        merged.index_copy_(axis, new_rows, old.to(new).index_select(axis, old_rows))
    return merged


def without_prefix(weights: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names begin with ``prefix``, such as ``"net_swa."`` of a Lightning checkpoint, without it.

    Raises
    ------
    ConfigError
        When there is none; the message lists the prefixes that there are.

    Notes
    -----
    Book page: ``scenes_published``.
    """
    matching = {name[len(prefix) :]: tensor for name, tensor in weights.items() if name.startswith(prefix)}
    if not matching:
        prefixes = ", ".join(sorted({f"{name.partition('.')[0]}." for name in weights})[:_LISTED])
        raise ConfigError(
            f"prefix is {prefix!r}, and no name of the weights begins with it; they begin with {prefixes}"
        )
    return matching


def _size(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape)) or "a number"
