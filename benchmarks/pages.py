"""Page of every layer and head over a sound, beside bertviz and CircuitsVis: time to write it, and size.

The others show every query and key, and no sound; ours shows what each token receives, and the roll-out, over the
sound. They are no dependencies. Where they are missing this module measures nothing; install them beside the library
with ``pip install --no-deps bertviz circuitsvis``.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from functools import partial
from importlib import metadata

import numpy as np
import torch
from torch import Tensor

from .harness import Case, Target

LAYERS, HEADS, SECONDS, PERIOD, RATE = 12, 12, 2.5, 0.02, 16000
MEGABYTES = 2.0
OTHERS = ("bertviz", "circuitsvis")


def cases(device: str) -> list[Case]:
    """Everything that this module measures; nothing where neither of the others is installed."""
    results = [name for name in OTHERS if importlib.util.find_spec(name) is not None]
    if not results:
        return []
    name = f"page of {LAYERS} layers and {HEADS} heads over {round(SECONDS / PERIOD)} tokens"
    return [
        Case(f"time to write a {name}", partial(written, results), "this library, with the sound", seconds=20),
        Case(
            f"size of a {name}",
            partial(sizes, results),
            "this library, with the sound",
            [Target("this library, with the sound", "megabytes", MEGABYTES)],
        ),
    ]


def attention() -> dict[str, Tensor]:
    """Weights as capture gives them: sharp, and other ones in each head."""
    tokens = round(SECONDS / PERIOD)
    generator = torch.Generator().manual_seed(0)
    return {
        f"encoder.layers.{layer}.attention": (3 * torch.randn(1, HEADS, tokens, tokens, generator=generator)).softmax(
            -1
        )
        for layer in range(LAYERS)
    }


def pages(match: list[str]) -> dict[str, Callable[[], str]]:
    """Each library's own page of the same weights, as one text that needs no network."""
    weights = attention()
    names = [f"{PERIOD * token:.2f}" for token in range(round(SECONDS / PERIOD))]
    sound = 0.1 * np.random.default_rng(0).standard_normal(round(SECONDS * RATE)).astype(np.float32)

    def ours() -> str:
        from audioattn_lib.inference.pretrained.attention import AttendedSound
        from audioattn_lib.inspection.reductions import attention_record
        from audioattn_lib.inspection.tokens import TimeTokens

        tokens = TimeTokens(PERIOD)
        layers = {name: attention_record(weights, tokens, layers=name) for name in weights}
        rollout = attention_record(weights, tokens, reduction="rollout", query=None)
        return AttendedSound("noise", sound, RATE, layers, rollout, {}).player(heads=True).html()

    def bertviz() -> str:
        from bertviz import head_view

        return str(head_view(list(weights.values()), names, html_action="return", prettify_tokens=False).data)

    def circuitsvis() -> str:
        from circuitsvis.attention import attention_heads

        heads = torch.cat([layer[0] for layer in weights.values()])
        return str(attention_heads(heads, names, mask_upper_tri=False).local_src)

    all_of_them = {"bertviz": bertviz, "circuitsvis": circuitsvis}
    titles = {"bertviz": "bertviz {}, head_view", "circuitsvis": "CircuitsVis {}, attention_heads"}
    titles = {name: titles[name].format(metadata.version(name)) for name in match}
    return {"this library, with the sound": ours} | {titles[name]: all_of_them[name] for name in match}


def written(match: list[str]) -> dict[str, Callable[[], object]]:
    """Time from the weights to the page."""

    def timed(write: Callable[[], str]) -> Callable[[], object]:
        def work() -> None:
            write()

        return work

    return {name: timed(write) for name, write in pages(match).items()}


def sizes(match: list[str]) -> dict[str, Callable[[], object]]:
    """Megabytes of the page."""
    return {name: partial(_megabytes, write) for name, write in pages(match).items()}


def _megabytes(write: Callable[[], str]) -> float:
    return len(write().encode()) / 1e6
