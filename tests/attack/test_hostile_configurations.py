"""Values of the wrong type or size in every field of every configuration: an error that names the field."""

import dataclasses
import math
import typing
from typing import Annotated, Any, Literal

import numpy as np
import pytest
from hostile import Attack, trials
from hypothesis import given, settings
from hypothesis import strategies as st

from audioattn_lib.core.declarations import (
    Convert,
    OneOf,
    Range,
    check_declared,
    declared_fields,
    number_as_text,
)
from audioattn_lib.core.errors import ConfigError
from audioattn_lib.data.synthetic.accents import AccentsOptions
from audioattn_lib.data.synthetic.city import CityOptions
from audioattn_lib.data.synthetic.needles import NeedlesOptions
from audioattn_lib.data.synthetic.orchestra import OrchestraOptions
from audioattn_lib.data.synthetic.voices import VoicesOptions
from audioattn_lib.experiments import accents, playback, scenes_and_instruments, sleepiness, urban_sound
from audioattn_lib.training.settings import TrainingSettings

CONFIGS: list[Any] = [
    *(module.Config for module in (accents, playback, scenes_and_instruments, sleepiness, urban_sound)),
    *(AccentsOptions, CityOptions, NeedlesOptions, OrchestraOptions, VoicesOptions),
    TrainingSettings,
]
FIELDS = [(kind, field.name) for kind in CONFIGS for field in dataclasses.fields(kind)]


def holding_itself() -> list[Any]:
    made: list[Any] = []
    made.append(made)
    return made


WRONG: list[Any] = [
    *(None, True, False, 0, 1, -1, 0.5, 2**63, 10**400, -(10**5000), math.nan, math.inf, -math.inf, 1e308),
    *("", "x", "\0", "0.5", "a" * 5000, b"x", [], [1], ["a"], [[1]], (), (1,), (1, 2), {}, {"a": 1}, {1}),
    *(object(), int, print, np.float32(1), np.int64(3), np.zeros(3), np.zeros(0), np.array(math.nan), 1j, range(3)),
    *(holding_itself(), [math.nan, 1], (True, 2), ("a", 1), [None]),
]


def make(kind: Any, **values: Any) -> Any:
    required = {"epochs": 1} if kind is TrainingSettings else {}
    return kind(**{**required, **values})


def test_every_wrong_value_in_every_field():
    attack = Attack("configurations")
    for kind, name in FIELDS:
        for value in WRONG:
            what = f"{kind.__module__}.{kind.__name__}.{name} = {type(value).__name__}"
            attack.trial(what, lambda kind=kind, name=name, value=value: make(kind, **{name: value}), name)
    attack.check()


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=trials(150))
@given(st.sampled_from(FIELDS), ANYTHING)
def test_anything_in_any_field(field, value):
    kind, name = field
    attack = Attack("configurations")
    attack.trial(f"{kind.__name__}.{name} = {value!r}", lambda: make(kind, **{name: value}), name)
    attack.check()


@pytest.mark.parametrize("kind", CONFIGS, ids=lambda kind: kind.__module__)
def test_what_is_made_has_the_types_that_are_declared(kind):
    config = make(kind)
    hints = typing.get_type_hints(kind)
    for field in dataclasses.fields(kind):
        if hints[field.name] in (bool, int, float, str):
            assert type(getattr(config, field.name)) is hints[field.name], field.name


@dataclasses.dataclass(frozen=True)
class Example:
    flag: bool = False
    count: int = 1
    share: float = 0.5
    name: str = "a"
    limit: int | None = None
    widths: tuple[float, ...] = (1.0,)
    fold: Annotated[str, Convert(number_as_text)] = "first"
    rate: Annotated[float, Range("(0, 1]")] = 0.5
    size: Annotated[int, Range("[2, inf)", "samples")] = 2
    window: Literal["hann", "hamming"] = "hann"
    kind: Annotated[str | None, OneOf(("a", "b"))] = None
    shares: Annotated[tuple[float, ...], Range("[0, 1)")] = ()

    def __post_init__(self) -> None:
        check_declared(self)


@dataclasses.dataclass(frozen=True)
class Narrower(Example):
    rate: float = 0.25


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"flag": 1}, "flag is 1; it must be True or False"),
        ({"flag": "yes"}, "flag is 'yes'; it must be True or False"),
        ({"count": True}, "count is True; it must be a whole number"),
        ({"count": 0.5}, "count is 0.5; it must be a whole number"),
        ({"count": math.inf}, "count is inf; it must be a whole number"),
        ({"count": 2**63}, "count is 9223372036854775808; it must be a whole number of at most 64 bits"),
        ({"share": math.nan}, "share is nan; it must be a finite number"),
        ({"share": math.inf}, "share is inf; it must be a finite number"),
        ({"share": 10**400}, "share is 1000.*; it must be a finite number"),
        ({"share": 10**5000}, "share is of type int; it must be a finite number"),
        ({"share": False}, "share is False; it must be a number"),
        ({"name": ["a"]}, r"name is \['a'\]; it must be text"),
        ({"limit": 1.5}, "limit is 1.5; it must be a whole number"),
        ({"widths": 1.0}, "widths is 1.0; it must be a list, each of it a number"),
        ({"widths": [1, "a"]}, r"widths\[1\] is 'a'; it must be a number"),
        ({"fold": [1]}, r"fold is \[1\]; it must be text"),
        ({"rate": 0}, r"rate is 0.0; it must be in \(0, 1\]"),
        ({"rate": 1.5}, r"rate is 1.5; it must be in \(0, 1\]"),
        ({"size": 1}, "size is 1; it must be at least 2 samples"),
        ({"window": "kaiser"}, "window is 'kaiser'; it must be one of hann, hamming"),
        ({"window": 1}, "window is 1; it must be text"),
        ({"kind": "c"}, "kind is 'c'; it must be one of a, b"),
        ({"shares": [0, 1]}, r"shares\[1\] is 1.0; it must be in \[0, 1\)"),
    ],
)
def test_the_declared_type_is_what_is_allowed(values, says):
    with pytest.raises(ConfigError, match=f"^{says}$"):
        Example(**values)


def test_another_default_leaves_the_declaration_as_it_is():
    assert Narrower().rate == 0.25
    with pytest.raises(ConfigError, match=r"rate is 2.0; it must be in \(0, 1\]"):
        Narrower(rate=2)
    assert declared_fields(Narrower)["rate"] == declared_fields(Example)["rate"]


def test_a_number_becomes_what_is_declared():
    made = Example(share=1, widths=[1, 2], limit=None, fold=3)
    assert (made.share, made.widths, made.fold) == (1.0, (1.0, 2.0), "3")
    assert type(made.share) is float
    assert made == Example(share=1.0, widths=(1.0, 2.0), fold="3")
