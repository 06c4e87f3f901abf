"""Speed of the explorer: from the value of a slider to what the browser draws, and the list of five hundred clips."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import torch

import audioattn_lib
from audioattn_lib.attention.record.record import AttentionRecord, FrameClock
from audioattn_lib.data.manifest import Manifest
from audioattn_lib.display import player
from audioattn_lib.display.players.player import attention_of
from audioattn_lib.experiments.common.corpus import Clip
from audioattn_lib.lab.bars import as_answers, bars
from audioattn_lib.lab.clip_list import ClipList
from audioattn_lib.lab.compared import Compared
from audioattn_lib.lab.live import Live, live

from .harness import Case, Target
from .untrained import CLASSES, untrained_model

SECONDS, RATE = 10, 16_000
MOST_SECONDS = 0.1
CLIPS, MOST_SECONDS_OF_LIST = 500, 0.5
CHANGES = {
    "alpha of weights": ("sparsemax", {"alpha": 1.7}),
    "temperature of weights": ("softmax", {"temperature": 0.4}),
    "location and width of a density": ("triweight", {"location": 0.5, "width": 0.2}),
    "three components": ("triweight", {"components": 3}),
}


def cases(device: str) -> list[Case]:
    """Attention, answer and their drawing after a slider has moved; a player drawn anew as reference."""
    targets = [Target(name, "seconds", MOST_SECONDS) for name in CHANGES]
    return [
        Case(f"A slider of a clip of {SECONDS} s, a player drawn anew as reference", _redraw, "player", targets),
        Case(
            f"List of {CLIPS} test clips, a player of {SECONDS} s as reference",
            _list_clips,
            "player",
            [Target("list", "seconds", MOST_SECONDS_OF_LIST)],
        ),
    ]


def _redraw() -> dict[str, Callable[[], object]]:
    lives = {name: _live(attention) for name, (attention, _) in CHANGES.items()}
    work: dict[str, Callable[[], object]] = {
        name: partial(_draw, *lives[name], changes) for name, (_, changes) in CHANGES.items()
    }
    clip = next(iter(lives.values()))[1]
    return {"player": lambda: player(clip.samples, clip.sample_rate, **clip.picture), **work}


def _live(attention: str) -> tuple[Live, Clip]:
    model = audioattn_lib.load(untrained_model(attention, SECONDS), device="cpu")
    front_end = model.listener.front_end
    samples = np.random.default_rng(0).normal(0, 0.1, SECONDS * RATE).astype(np.float32)
    features = front_end(torch.from_numpy(samples)[None], torch.tensor([len(samples)]))[0][0].numpy()
    clip = Clip(
        "noise", CLASSES[0], samples, RATE, features, FrameClock(*front_end.clock), front_end.frequencies.numpy(), ()
    )
    result = live(model, clip)
    assert result is not None
    return result, clip


def _draw(changed: Live, clip: Clip, changes: dict[str, float]) -> object:
    answers = changed.answer(**changes)
    assert answers.probabilities is not None
    drawn = attention_of({"changed": answers.record[0]}, float(SECONDS), frequencies=clip.frequencies, number=0)
    return drawn, bars({"changed": as_answers(CLASSES, answers.probabilities[0])}, clip.label).html()


def _list_clips() -> dict[str, Callable[[], object]]:
    """Predictions, confidence and share of attention inside the events of all clips, as the explorer lists them."""
    rng = np.random.default_rng(0)
    names, frames = [f"{number}.wav" for number in range(CLIPS)], SECONDS * 100
    chances = rng.dirichlet(np.ones(len(CLASSES)), CLIPS)
    labels, predicted = rng.choice(CLASSES, CLIPS), np.array(CLASSES)[chances.argmax(axis=1)]
    table = pd.DataFrame({"clip": names, "split": "test", "label": labels, "predicted": predicted})
    table = table.assign(**{f"probability_{name}": chances[:, number] for number, name in enumerate(CLASSES)})
    record = AttentionRecord.from_weights(
        rng.dirichlet(np.ones(frames), CLIPS), FrameClock(0.01), n_frames=[frames] * CLIPS, clips=names
    )
    events = {"event_labels": labels, "event_onsets": "2.0", "event_offsets": "3.0"}
    manifest = Manifest(Path(), pd.DataFrame({"file_name": names, "label": labels, **events}), "clips")

    def fill() -> None:  # nothing of one call is kept for the next
        run: Any = SimpleNamespace(predictions=table, attention=record, classes=list(CLASSES))
        ClipList().fill(Compared("Softmax", (run,), (run,)).table(manifest))

    clip = _live("softmax")[1]
    return {"player": lambda: player(clip.samples, clip.sample_rate, **clip.picture), "list": fill}
