"""Weights from files, read without running code from them, and put into a model as far as they fit.

Book page: ``playback_published``.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from ..errors import ConfigError

__all__ = ["Mismatch", "WeightReport", "compare_weights", "load_weights", "read_weights"]

log = logging.getLogger("audioattn")

_TABLES = ("state_dict", "model_state", "model")
"""Under what programs keep the weights in a file that holds more."""

_PARTS = ("encoder.", "decoder.")
_LISTED = 8


@dataclass(frozen=True)
class Mismatch:
    """A parameter that weights and model have in different shapes."""

    name: str
    found: tuple[int, ...]
    expected: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.name}: {_size(self.found)} in the weights, {_size(self.expected)} in the model"


@dataclass(frozen=True)
class WeightReport:
    """What matched between a file of weights and a model.

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
        """True when every parameter was found and nothing was left over."""
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
    those under ``state_dict``, ``model_state`` or ``model`` are taken.

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
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch and safetensors raise a dozen kinds for a file that is none of theirs
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ConfigError(
            f"{path}: not a file of weights that is safe to read ({first}); save its state dict alone, as safetensors"
        ) from error
    for name in _TABLES:
        if isinstance(found, Mapping) and isinstance(found.get(name), Mapping):
            found = found[name]
    if not isinstance(found, Mapping) or not found or not all(isinstance(value, Tensor) for value in found.values()):
        raise ConfigError(f"{path}: holds no table of tensors; save the state dict of a model")
    return dict(found)


def compare_weights(expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> WeightReport:
    """What of ``found`` has name and shape of ``expected``, the state dict of a model.

    Notes
    -----
    Book page: ``playback_published``.
    """
    shared = [name for name in expected if name in found]
    return WeightReport(
        tuple(name for name in shared if found[name].shape == expected[name].shape),
        tuple(name for name in expected if name not in found),
        tuple(name for name in found if name not in expected),
        tuple(
            Mismatch(name, tuple(found[name].shape), tuple(expected[name].shape))
            for name in shared
            if found[name].shape != expected[name].shape
        ),
    )


@torch.no_grad()
def load_weights(model: nn.Module, weights: str | Path | Mapping[str, Tensor], *, strict: bool = False) -> WeightReport:
    """Put weights into a model as far as name and shape match, and say what did.

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
    found = weights if isinstance(weights, Mapping) else read_weights(weights)
    expected = model.state_dict()
    ways: list[tuple[str, dict[str, str]]] = [("", {name: name for name in found})]
    ways += [(f"with {part} before every name", {part + name: name for name in found}) for part in _PARTS]
    ways += [
        (f"without {part}", {name.removeprefix(part): name for name in found if name.startswith(part)})
        for part in _PARTS
    ]
    reports = [(compare_weights(expected, {new: found[old] for new, old in names.items()}), names) for _, names in ways]
    best = max(range(len(ways)), key=lambda way: len(reports[way][0].matched))
    report, names = reports[best]
    used = {names[name] for name in report.matched} | {names[one.name] for one in report.mismatches}
    report = WeightReport(
        report.matched,
        report.missing,
        tuple(name for name in found if name not in used),
        report.mismatches,
        ways[best][0],
    )
    if not report.matched:
        some = ", ".join(list(found)[:3]) or "nothing"
        wanted = ", ".join(list(expected)[:3])
        raise ConfigError(
            f"{source}: matches no parameter of the model; it holds {some} ..., the model {wanted} ...; "
            "give weights of the same architecture and size"
        )
    if strict and not report.is_complete:
        raise ConfigError(f"{source}: does not fit the model as a whole: {report}")
    model.load_state_dict({name: found[names[name]] for name in report.matched}, strict=False)
    log.info("%s: %s", source, report)
    return report


def _size(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape)) or "a number"
