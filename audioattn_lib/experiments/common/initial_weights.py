"""Weights that a network starts from, or is evaluated with: those of a run, of its file, or of any other program.

What belongs to weights travels in the header of their file: the experiment, its
configuration, the names of the classes in the order of the outputs, and the
scaling of the input where it is no part of the network. So a network from
elsewhere hears a corpus as it heard its own, and its outputs are matched by
the names of the classes.

Book page: ``commands``.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from audioattn_lib.automation.key import file_hash
from audioattn_lib.core.errors import ConfigError
from audioattn_lib.models.weights import Transfer, read_weights, transfer_weights, without_prefix
from audioattn_lib.training.model_folder import DESCRIPTION, FOLDER, WEIGHTS

from .config import INITIAL

__all__ = [
    "Origin",
    "check_complete",
    "check_same",
    "configure_like",
    "describe_weights",
    "files_of",
    "hash_weights",
    "read_origin",
    "select_part",
    "start_from",
]

log = logging.getLogger("audioattn")
C = TypeVar("C")

_HEADER = "audioattn"
_BEST = "best.safetensors"
_OF_CORPUS = (*("fold", "train_folds", "valid_folds", "test_folds", "held_out", "test_valid", "trials", "unknown"),)
"""Fields that mean something in one corpus only."""
_SHOWN = 8


@dataclass(frozen=True)
class Origin:
    """Weights, and what their file says of them.

    Parameters
    ----------
    source
        The file.
    tensors
        By name.
    experiment, config, classes, more
        What :func:`describe_weights` wrote; empty for files of other programs.
    """

    source: str
    tensors: Mapping[str, Tensor] = field(repr=False)
    experiment: str = ""
    config: Mapping[str, Any] = field(default_factory=dict)
    classes: tuple[str, ...] = ()
    more: Mapping[str, Any] = field(default_factory=dict)


def describe_weights(experiment: str, config: Any, classes: Sequence[str], **more: Any) -> dict[str, str]:
    """Build the header of a weights file of a run: configuration, classes and further entries."""
    content = {"experiment": experiment, "config": dataclasses.asdict(config), "classes": list(classes), "more": more}
    return {_HEADER: json.dumps(content)}


def files_of(pretrained: str) -> list[Path]:
    """The files of weights that a field names: one, or several joined by commas.

    A run directory means its best weights, and the folder of a model its own.

    Raises
    ------
    ConfigError
        When something is neither a file nor a run with weights; the message says what to give.
    """
    return [_locate(Path(name.strip())) for name in pretrained.split(",") if name.strip()]


def _locate(path: Path) -> Path:
    if path.is_file():
        return path
    if not path.is_dir():
        raise ConfigError(f"pretrained is {str(path)!r}; there is no such run directory or file of weights")
    for file in (path / "checkpoint" / _BEST, path / _BEST, path / WEIGHTS, path / FOLDER / WEIGHTS):
        if file.is_file():
            return file
    encoders = _read_json(path / "config.json").get("encoders") or []
    if encoders:
        names = ", ".join(str(path.parent / key) for key in encoders)
        raise ConfigError(f"pretrained is {str(path)!r}, a regression; its network is that of the run {names}")
    raise ConfigError(f"pretrained is {str(path)!r}, which has no trained weights; give a run of a network, or a file")


def read_origin(path: str | Path, prefix: str = "") -> Origin:
    """Weights of a run directory or a file, with what is known of them.

    Parameters
    ----------
    path
        See :func:`files_of`, one of them.
    prefix
        What the wanted names begin with, such as ``"net_swa."``; it is taken away.

    Raises
    ------
    ConfigError
        When there are none, or reading them would run code.
    """
    (file,) = files_of(str(path))
    tensors = read_weights(file)
    return Origin(str(path), without_prefix(tensors, prefix) if prefix else tensors, **_read_header(file))


def _read_header(file: Path) -> dict[str, Any]:
    """Read the header of a weights file; for a run without a header, read the other files of the run."""
    content: dict[str, Any] = {}
    if file.suffix == ".safetensors":
        try:
            with safe_open(file, "pt") as opened:
                content = json.loads((opened.metadata() or {}).get(_HEADER, "{}"))
        except (OSError, ValueError, SafetensorError):
            content = {}
    run = file.parent.parent
    if not content and file.name == WEIGHTS:
        described = _read_json(file.parent / DESCRIPTION)
        content = {name: described.get(name) for name in ("experiment", "config", "classes") if described.get(name)}
        content["more"] = described.get("settings", {})
    elif not content and (run / "config.json").is_file():
        content = {"experiment": run.parent.name, "config": _read_json(run / "config.json")}
        if (run / "predictions.csv").is_file():
            columns = pd.read_csv(run / "predictions.csv", nrows=0).columns
            start = "probability_"
            content["classes"] = [name.removeprefix(start) for name in columns if name.startswith(start)]
    return {
        "experiment": str(content.get("experiment", "")),
        "config": content.get("config", {}),
        "classes": tuple(content.get("classes", ())),
        "more": content.get("more", {}),
    }


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def hash_weights(data_hash: str, config: Any) -> str:
    """Hash of the data, and of the weights that a run starts from where it does: other weights are another run."""
    if not config.pretrained:
        return data_hash
    hashes = [data_hash, *(file_hash(file) for file in files_of(config.pretrained))]
    return hashlib.sha256(" ".join(hashes).encode()).hexdigest()


def configure_like(config: type[C], experiment: str, pretrained: str, **changes: Any) -> C | None:
    """The configuration of the run whose weights are named, with some fields changed; None where it is no such run.

    Where ``data`` is changed, fields that mean something in one corpus only, such as the test fold, are the default.
    """
    header = _read_header(files_of(pretrained)[0])
    if header["experiment"] != experiment or not header["config"]:
        return None
    own = header["config"]
    left = (*INITIAL, *_OF_CORPUS) if changes.get("data", own.get("data")) != own.get("data") else INITIAL
    field_names = {field.name for field in dataclasses.fields(config)} - set(left)  # type: ignore[arg-type]
    settings = {name: value for name, value in own.items() if name in field_names}
    return config(**{**settings, "pretrained": pretrained, **changes})


def select_part(model: nn.Module, selected: str, encoder: Sequence[str]) -> list[str]:
    """Parameters of the whole model, of its encoder, whose names begin with one of ``encoder``, or of the rest."""
    names = list(model.state_dict())
    if selected == "all":
        return names
    return [name for name in names if name.startswith(tuple(encoder)) == (selected == "encoder")]


def start_from(
    model: nn.Module,
    config: Any,
    classes: Sequence[str],
    origin: Origin,
    *,
    encoder: Sequence[str],
    heads: Mapping[str, int],
    same: Sequence[str] = (),
) -> Transfer:
    """Put the weights that a configuration names into its network, and say what was taken and what not.

    Parameters
    ----------
    model
        Is changed.
    config
        Its fields ``pretrained_part`` and ``epochs``: 0 epochs only evaluate, and then everything must be there.
    classes
        Names of the outputs of the network.
    origin
        The weights.
    encoder
        What names of parameters of the encoder begin with.
    heads
        What names of parameters with a row for each class begin with, and the axis of the classes.
    same
        Fields of the configuration that the weights were trained with and need.

    Raises
    ------
    ConfigError
        When nothing fits; when weights of the same experiment are of another size; and in evaluation when fields
        differ, or parameters or classes are not in the weights.
    """
    check_same(origin, config, same)
    transfer = transfer_weights(
        model,
        origin.tensors,
        classes=classes,
        found_classes=origin.classes,
        heads=heads,
        selected=select_part(model, config.pretrained_part, encoder),
    )
    strange = [mismatch for mismatch in transfer.mismatches if not mismatch.name.startswith(tuple(heads))]
    if strange and origin.config:
        listed = "\n  ".join(map(str, strange[:_SHOWN]))
        raise ConfigError(
            f"{origin.source}: weights of a network of another size; give the settings of its run:\n  {listed}"
        )
    check_complete(origin, config, transfer, classes)
    log.info("%s: %s", origin.source, transfer)
    if not origin.classes and any(name.startswith(tuple(heads)) for name in transfer.taken):
        log.warning(
            "%s: does not name its classes; they are taken in this order: %s",
            origin.source,
            ", ".join(classes[:_SHOWN]),
        )
    if transfer.classes_drawn or transfer.classes_left:
        log.warning(
            "%s: classes as drawn, for it lacks them: %s; classes left out, for the corpus lacks them: %s",
            origin.source,
            ", ".join(transfer.classes_drawn) or "none",
            ", ".join(transfer.classes_left) or "none",
        )
    return transfer


def check_same(origin: Origin, config: Any, same: Sequence[str]) -> None:
    """In evaluation, what a network was trained with and needs must be so; in training, the log says what is not."""
    changed = [
        f"{name} is {getattr(config, name)!r}, that of the weights {origin.config[name]!r}"
        for name in same
        if name in origin.config and _plain(getattr(config, name)) != _plain(origin.config[name])
    ]
    if changed and not config.epochs:
        raise ConfigError(
            f"{origin.source}: these settings are not those that the weights were trained with: {'; '.join(changed)}. "
            "Evaluate with the settings of the weights (--pretrained without --preset takes them), or train"
        )
    if changed:
        log.warning("%s: trained with other settings: %s", origin.source, "; ".join(changed))


def check_complete(origin: Origin, config: Any, transfer: Transfer, classes: Sequence[str]) -> None:
    """Nothing that is evaluated may be as it was drawn."""
    if config.epochs:
        return
    if config.pretrained_part != "all":
        raise ConfigError(
            f"pretrained_part is {config.pretrained_part!r} and epochs is 0; the rest of the network would stay as "
            "drawn. Evaluate all of it, or train"
        )
    if transfer.classes_drawn:
        listed = ", ".join(origin.classes[:_SHOWN]) + (" ..." if len(origin.classes) > _SHOWN else "")
        raise ConfigError(
            f"{origin.source}: has no class {', '.join(transfer.classes_drawn[:_SHOWN])}; its classes are {listed}. "
            "With 0 epochs nothing is learned: evaluate on a corpus of these classes, or train"
        )
    if not transfer.is_complete:
        raise ConfigError(
            f"{origin.source}: is not all of this network of {len(classes)} classes, and with 0 epochs nothing is "
            f"learned. Give weights of the same network, or train: {transfer}"
        )


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
