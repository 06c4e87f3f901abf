"""Configuration of an experiment: the fields and checks that all chapters share, presets, and the way back from a run.

A chapter derives its ``Config`` from :class:`ExperimentConfig`. A field is written once, as ``name: Annotated[type,
allowed values, help] = default``; types that several chapters share have names here, such as :data:`Count` and
:data:`Fold`. What one field asks of another is checked in :meth:`ExperimentConfig.check`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar

from audioattn_lib.core.declarations import Convert, Matches, Range, check_declared, number_as_text, shorten
from audioattn_lib.core.errors import ConfigError, RunError
from audioattn_lib.training.run_directory import Run

__all__ = [
    "INITIAL",
    "Count",
    "DropRate",
    "ExperimentConfig",
    "Fold",
    "Folds",
    "Fraction",
    "LossMonitor",
    "NonNegative",
    "Positive",
    "Protocol",
    "Whole",
    "choose_numbers",
    "read_config",
    "require",
    "restore_config",
]

C = TypeVar("C")
N = TypeVar("N", int, float)

INITIAL = ("pretrained", "pretrained_part", "pretrained_prefix")
"""Fields that say what a network starts from."""

Count = Annotated[int, Range("[1, inf)")]
"""A whole number from 1."""
Whole = Annotated[int, Range("[0, inf)")]
"""A whole number from 0."""
Positive = Annotated[float, Range("(0, inf)")]
"""A number above 0."""
NonNegative = Annotated[float, Range("[0, inf)")]
"""A number from 0."""
Fraction = Annotated[float, Range("[0, 1]")]
"""A share or a probability."""
DropRate = Annotated[float, Range("[0, 1)")]
"""A share of which not all can be."""


def _split_folds(value: Any) -> Any:
    """Text of each fold, of ``"1, 2"``, ``1`` or ``[1, "2"]``."""
    items = value.split(",") if isinstance(value, str) else value
    items = [items] if isinstance(items, int) else items
    if not isinstance(items, (list, tuple)):  # for the check of types
        return value
    texts = [item.strip() if isinstance(item, str) else number_as_text(item) for item in items]
    return tuple(text for text in texts if text != "")


Fold = Annotated[str, Convert(number_as_text), "test fold or test split; first is the first there is"]
Folds = Annotated[tuple[str, ...], Convert(_split_folds)]
Protocol = Annotated[
    Literal["nested", "grouped", "published"],
    "clips that choose the best epoch: nested a fold that is not tested, grouped a fifth of the recordings that are "
    "not, published the test fold",
]
LossMonitor = Annotated[Literal["error", "loss"], "validation score of the best epoch"]


def require(config: Any, name: str, holds: bool, allowed: str) -> None:
    """Raise a :class:`ConfigError` that names the field, its value and what it must be, unless ``holds``."""
    if not holds:
        raise ConfigError(f"{name} is {shorten(getattr(config, name))}; it must be {allowed}")


@dataclass(frozen=True)
class ExperimentConfig:
    """Fields of all experiments. Unknown or impossible values are errors that name the field."""

    PRESETS: ClassVar[tuple[str, ...]] = ("smoke", "default", "paper")
    """Names of the presets: class methods that take what is to be changed.

    Where there is one called ``recordings``, the name ``default`` means it for data that the library does not make.
    """
    COMPARED: ClassVar[Mapping[str, tuple[str, ...]]] = MappingProxyType({})
    """Fields of which a command may name several values, and all that there are."""
    NAMED: ClassVar[Mapping[str, Mapping[str, Any]]] = MappingProxyType({})
    """Named configurations: some fields each, on top of a preset."""
    NAMED_ON: ClassVar[str] = "paper"
    """The preset that a named configuration changes where none is given."""
    EVALUATES_DRAWN: ClassVar[bool] = False
    """Allow 0 epochs without ``pretrained``."""

    data: Annotated[str, "corpus: a name, or a folder with recordings"] = ""
    seed: Annotated[Whole, "seed of weights, batches and dropout"] = 0
    sample_rate: Annotated[int, Range("[1000, inf)", "hertz"), "rate to which sounds are resampled on loading"] = 16000
    n_mels: Annotated[Count, "mel bands"] = 80
    pretrained: Annotated[
        str,
        "weights to start from, or with 0 epochs to evaluate: a run directory, its best.safetensors, or another file; "
        "empty: none",
    ] = ""
    pretrained_part: Annotated[
        Literal["all", "encoder", "decoder"], "part of the pretrained network to take; decoder is all but the encoder"
    ] = "all"
    pretrained_prefix: Annotated[
        str, "beginning of the names in pretrained, such as net. or net_swa. of Lightning checkpoints"
    ] = ""
    epochs: Annotated[Whole, "passes over the training clips, 0 to evaluate pretrained"] = 20
    batch_size: Annotated[Count, "clips per step"] = 32
    max_grad_norm: Annotated[Positive, "largest norm of the gradient"] = 5.0
    device: Annotated[
        str,
        Matches(r"auto|cpu|cuda(:\d+)?", "auto, cpu, cuda, or cuda:0 and so on for one of several CUDA devices"),
        "device to compute on",
    ] = "auto"
    precision: Annotated[Literal["auto", "float32", "bfloat16"], "numbers of the network; auto is bfloat16 on CUDA"] = (
        "auto"
    )
    skip_bad_clips: Annotated[bool, "leave out clips that fail the check, and say which"] = False

    def __post_init__(self) -> None:
        check_declared(self)
        self._check_initial()
        self.check()

    def check(self) -> None:
        """Check what the fields of a chapter ask of each other.

        Raises
        ------
        ConfigError
            When two fields do not fit; the message names one of them.
        """

    def _check_initial(self) -> None:
        evaluates = self.epochs >= 1 or self.EVALUATES_DRAWN or bool(self.pretrained)
        require(self, "epochs", evaluates, "at least 1, or 0 with pretrained, which only evaluates")
        for name, default in (("pretrained_prefix", ""), ("pretrained_part", "all")):
            used = bool(self.pretrained) or getattr(self, name) == default
            require(self, name, used, f"{default!r} without pretrained")

    def settle(self, name: str, value: Any) -> None:
        """Give a field the value that others imply, while the configuration is made."""
        object.__setattr__(self, name, value)

    def select(self, *names: str) -> dict[str, Any]:
        """Some fields by name."""
        return {name: getattr(self, name) for name in names}

    @classmethod
    def preset(cls, name: str, **changes: Any) -> Self:
        """The preset called ``name`` with some fields changed; a change to ``None`` is none.

        Several names are joined by commas: at most one preset, then named configurations, of which later ones win.

        Raises
        ------
        ConfigError
            When there is no such preset or no such field; the message lists what there is.
        """
        names = [item.strip() for item in name.split(",")] if isinstance(name, str) else [str(name)]
        presets = [item for item in names if item in cls.PRESETS]
        wrong = [item for item in names if item not in cls.PRESETS and item not in cls.NAMED]
        if wrong or len(presets) > 1:
            more = f"; or named configurations on top of one: {', '.join(cls.NAMED)}" if cls.NAMED else ""
            raise ConfigError(f"preset is {name!r}; it must be one of {', '.join(cls.PRESETS)}{more}")
        field_names = [field.name for field in dataclasses.fields(cls)]
        unknown = sorted(changes.keys() - set(field_names))
        if unknown:
            raise ConfigError(f"no field is called {', '.join(unknown)}; there are {', '.join(field_names)}")
        settings: dict[str, Any] = {}
        for item in names:
            settings |= cls.NAMED.get(item, {})
        settings |= {field: value for field, value in changes.items() if value is not None}
        start = presets[0] if presets else cls.NAMED_ON
        if start == "default" and "recordings" in cls.PRESETS and _is_recorded(settings.get("data")):
            start = "recordings"
        config: Self = getattr(cls, start)(**settings)
        return config


def _is_recorded(data: Any) -> bool:
    """Tell data that the library does not make from its synthetic corpora, with or without options."""
    from audioattn_lib.data.corpora import SYNTHETIC  # not for those who only read the fields

    return isinstance(data, str) and bool(data) and data.partition("?")[0] not in SYNTHETIC


def restore_config(kind: type[C], run: Run) -> C:
    """The configuration of a run that was read back.

    Raises
    ------
    RunError
        When its ``config.json`` has a field that the configuration lacks, or an impossible value; the message names
        file and field.
    """
    return read_config(kind, run.config, run.path / "config.json", "delete the run directory and run again")


def read_config(kind: type[C], content: Mapping[str, Any], file: Path, cure: str) -> C:
    """The configuration that a file holds; a :class:`RunError` names file and field, and ends with ``cure``."""
    field_names = [field.name for field in dataclasses.fields(kind)]  # type: ignore[arg-type]
    if unknown := sorted(content.keys() - set(field_names)):
        raise RunError(
            f"{file}: no field is called {', '.join(unknown)[:200]}; there are {', '.join(field_names)}; {cure}"
        )
    try:
        return kind(**content)
    except ConfigError as error:
        raise RunError(f"{file}: {error}; {cure}") from error


def choose_numbers(name: str, value: str | float | Iterable[Any], kind: type[N], allowed: str) -> list[N]:
    """Numbers of which there may be several: one, some joined by commas, or a list; ``kind`` is int or float.

    Raises
    ------
    ConfigError
        When something is no such number, or there is none; the message names ``name`` and says ``what`` they must be.
    """
    items = value.split(",") if isinstance(value, str) else [value] if isinstance(value, (int, float)) else value
    try:
        values = [kind(item) for item in items]
    except (TypeError, ValueError):
        values = []
    if not values:
        raise ConfigError(f"{name} is {value!r}; it must be {allowed}, joined by commas")
    return values
