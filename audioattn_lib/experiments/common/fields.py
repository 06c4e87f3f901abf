"""Checks that the configurations of all experiments share."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar, Self, TypeVar

from audioattn_lib.core.declarations import check_declared, conform, shorten
from audioattn_lib.core.errors import ConfigError, RunError
from audioattn_lib.training.run_directory import Run

__all__ = [
    "INITIAL",
    "PARTS",
    "WithPresets",
    "check_declared",
    "choose_numbers",
    "initial_part",
    "initial_prefix",
    "initial_weights",
    "list_folds",
    "name_folds",
    "require",
    "require_choice",
    "require_device",
    "require_initial",
    "restore_config",
]

INITIAL = ("pretrained", "pretrained_part", "pretrained_prefix")
"""Fields that say what a network starts from."""
PARTS = ("all", "encoder", "decoder")
"""What of it: the whole network, its encoder, or all but the encoder."""


C = TypeVar("C")
N = TypeVar("N", int, float)


def require(config: Any, name: str, holds: bool, what: str) -> None:
    """Raise a :class:`ConfigError` that names the field, its value and what it must be, unless ``holds``."""
    if not holds:
        raise ConfigError(f"{name} is {shorten(getattr(config, name))}; it must be {what}")


def require_choice(config: Any, name: str, choices: Sequence[str]) -> None:
    """Raise a :class:`ConfigError` that lists the choices unless the field is one of them."""
    require(config, name, getattr(config, name) in choices, f"one of {', '.join(choices)}")


def initial_weights(kind: str = "") -> Any:
    """The field ``pretrained`` of a configuration."""
    text = "weights to start from, or with 0 epochs to evaluate: a run directory, its best.safetensors, or another file"
    return dataclasses.field(default="", metadata={"help": f"{text}{kind}; empty: none"})


def initial_part() -> Any:
    """The field ``pretrained_part``."""
    return dataclasses.field(
        default="all", metadata={"help": "what of pretrained: all, encoder, or decoder (all but the encoder)"}
    )


def initial_prefix() -> Any:
    """The field ``pretrained_prefix``."""
    return dataclasses.field(
        default="",
        metadata={"help": "begin of the names in pretrained, such as net. or net_swa. of Lightning checkpoints"},
    )


def require_initial(config: Any, *, alone: bool = False) -> None:
    """Check the fields that say what a network starts from; ``alone`` allows 0 epochs without them."""
    require_choice(config, "pretrained_part", PARTS)
    evaluates = config.epochs == 0 and (alone or bool(config.pretrained))
    require(config, "epochs", config.epochs >= 1 or evaluates, "at least 1, or 0 with pretrained, which only evaluates")
    for name in ("pretrained_prefix", "pretrained_part"):
        default = "all" if name == "pretrained_part" else ""
        used = bool(config.pretrained) or getattr(config, name) == default
        require(config, name, used, f"{default!r} without pretrained")


def require_device(config: Any) -> None:
    """Raise a :class:`ConfigError` unless the field ``device`` is auto, cpu, cuda or cuda with a number."""
    holds = re.fullmatch(r"auto|cpu|cuda(:\d+)?", config.device) is not None
    require(config, "device", holds, "auto, cpu, cuda, or cuda:0 and so on for one of several CUDA devices")


def list_folds(config: Any) -> None:
    """Make tuples of text of ``train_folds``, ``valid_folds`` and ``test_folds``, however these are written."""
    for name in ("train_folds", "valid_folds", "test_folds"):
        value = getattr(config, name)
        parts = value.split(",") if isinstance(value, str) else [value] if isinstance(value, int) else value
        if isinstance(parts, (list, tuple)):  # anything else is for the check of types
            whole = [isinstance(part, int) and not isinstance(part, bool) for part in parts]
            texts = [
                str(conform(name, part, int)) if is_whole else part.strip() if isinstance(part, str) else part
                for part, is_whole in zip(parts, whole, strict=True)
            ]
            object.__setattr__(config, name, tuple(text for text in texts if text != ""))


def name_folds(config: Any) -> None:
    """Settle the fields ``fold`` and ``protocol`` by the lists of folds of a configuration.

    The tested folds are the name of the test fold. Where they choose the epoch too, that is the published protocol,
    whatever the configuration says.

    Raises
    ------
    ConfigError
        When ``fold`` and ``test_folds`` are both given and differ.
    """
    if config.test_folds:
        joined = ",".join(config.test_folds)
        require(config, "fold", config.fold in ("first", joined), f"first, or {joined} as in test_folds")
        object.__setattr__(config, "fold", joined)
    tested = config.test_folds or (config.fold,)
    if set(tested) & set(config.valid_folds):
        object.__setattr__(config, "protocol", "published")


class WithPresets:
    """A configuration whose presets are class methods that take what is to be changed."""

    COMPARED: ClassVar[Mapping[str, tuple[str, ...]]] = MappingProxyType({})
    """Fields of which a command may name several values, and all that there are."""

    PRESETS: ClassVar[tuple[str, ...]] = ("smoke", "default", "paper")
    """Names of the presets."""
    NAMED: ClassVar[Mapping[str, Mapping[str, Any]]] = MappingProxyType({})
    """Named configurations: some fields each, on top of a preset."""
    NAMED_ON: ClassVar[str] = "paper"
    """The preset that a named configuration changes where none is given."""

    @classmethod
    def preset(cls, name: str, **changes: Any) -> Self:
        """The preset called ``name`` with some fields changed; a change to ``None`` is none.

        Several names are joined by commas: at most one preset, then named configurations, of which later ones win.

        Raises
        ------
        ConfigError
            When there is no such preset or no such field; the message lists what there is.
        """
        names = [part.strip() for part in name.split(",")] if isinstance(name, str) else [str(name)]
        chosen = [part for part in names if part in cls.PRESETS]
        wrong = [part for part in names if part not in cls.PRESETS and part not in cls.NAMED]
        if wrong or len(chosen) > 1:
            more = f"; or named configurations on top of one: {', '.join(cls.NAMED)}" if cls.NAMED else ""
            raise ConfigError(f"preset is {name!r}; it must be one of {', '.join(cls.PRESETS)}{more}")
        known = [field.name for field in dataclasses.fields(cls)]  # type: ignore[arg-type]
        unknown = sorted(changes.keys() - set(known))
        if unknown:
            raise ConfigError(f"no field is called {', '.join(unknown)}; there are {', '.join(known)}")
        settings: dict[str, Any] = {}
        for part in names:
            settings |= cls.NAMED.get(part, {})
        settings |= {field: value for field, value in changes.items() if value is not None}
        made: Self = getattr(cls, chosen[0] if chosen else cls.NAMED_ON)(**settings)
        return made


def restore_config(kind: type[C], run: Run) -> C:
    """The configuration of a run that was read back.

    Raises
    ------
    RunError
        When its ``config.json`` has a field that the configuration lacks, or an impossible value; the message names
        file and field.
    """
    file, cure = run.path / "config.json", "delete the run directory and run again"
    known = [field.name for field in dataclasses.fields(kind)]  # type: ignore[arg-type]
    if unknown := sorted(run.config.keys() - set(known)):
        raise RunError(f"{file}: no field is called {', '.join(unknown)[:200]}; there are {', '.join(known)}; {cure}")
    try:
        return kind(**run.config)
    except ConfigError as error:
        raise RunError(f"{file}: {error}; {cure}") from error


def choose_numbers(name: str, given: str | float | Iterable[Any], kind: type[N], what: str) -> list[N]:
    """Numbers of which there may be several: one, some joined by commas, or a list; ``kind`` is int or float.

    Raises
    ------
    ConfigError
        When something is no such number, or there is none; the message names ``name`` and says ``what`` they must be.
    """
    parts = given.split(",") if isinstance(given, str) else [given] if isinstance(given, (int, float)) else given
    try:
        found = [kind(part) for part in parts]
    except (TypeError, ValueError):
        found = []
    if not found:
        raise ConfigError(f"{name} is {given!r}; it must be {what}, joined by commas")
    return found
