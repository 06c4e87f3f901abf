"""Clips of a gallery are chosen by rules, each of another clip, and each shows what its rule says."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from audioattn_lib.display import player
from audioattn_lib.display.players.gallery import Exhibit, gallery
from audioattn_lib.lab.exhibits import choose_clips

COUNT = 24
NAMES = [f"clip-{number:02d}" for number in range(COUNT)]


def corpus(events):
    """Clips whose level changes more from one to the next."""
    noise = torch.randn(50, 8, generator=torch.Generator().manual_seed(0))
    manifest = SimpleNamespace(ids=NAMES, durations=np.full(COUNT, 3.0))
    store = [noise * (1 + number) for number in range(COUNT)]
    return SimpleNamespace(manifest=manifest, store=store, events_of=lambda row: events.get(row, ()))


def event(onset, offset):
    return SimpleNamespace(onset=onset, offset=offset, label="beep")


def choose(right, events=None, kept=(), count=10):
    losses = pd.DataFrame({"a": np.arange(COUNT), "b": np.arange(COUNT) / 2}, index=NAMES, dtype=float)
    return choose_clips(losses, pd.DataFrame(right, index=NAMES), corpus(events or {}), set(kept), count)


def test_every_rule_takes_the_clip_that_it_names():
    a, b = np.ones(COUNT), np.ones(COUNT)
    a[20:], b[22:] = 0, 0
    events = {5: (event(0, 1), event(2, 2.5)), 7: (event(1.0, 1.1),)}
    exhibits = {rule: name for name, rule in choose({"a": a, "b": b}, events)}
    assert exhibits["The surest"] == "clip-00"
    assert exhibits["The highest loss"] == "clip-23"
    assert exhibits["Most are wrong"] == "clip-22"
    assert exhibits["The models disagree"] == "clip-20"
    assert exhibits["Several events"] == "clip-05"
    assert exhibits["The shortest event"] == "clip-07"
    assert exhibits["The steadiest sound"] == "clip-01", "clip-00 is taken"
    assert len(exhibits) == 10


def test_numbers_have_no_right_and_wrong_and_still_fill_the_gallery():
    exhibits = choose({})
    assert len(exhibits) >= 8
    assert len({name for name, _ in exhibits}) == len(exhibits)
    assert not {"Most are wrong", "The models disagree"} & {rule for _, rule in exhibits}


def test_clips_with_attention_come_first_where_there_are_enough():
    kept = NAMES[3:12]
    assert {name for name, _ in choose({"a": np.ones(COUNT)}, kept=kept)} <= set(kept)
    assert len(choose({"a": np.ones(COUNT)}, kept=kept[:2])) >= 8


def test_a_gallery_tells_its_clips_without_a_script():
    sound = np.random.default_rng(0).uniform(-0.1, 0.1, 8000)
    options = {"features": np.random.default_rng(1).normal(size=(51, 8)), "clock": (0.01, -0.005)}
    from audioattn_lib.attention.record.record import FrameClock

    shown = player(sound, 16_000, features=options["features"], clock=FrameClock(*options["clock"]))
    made = gallery([Exhibit("a/<b>.wav", "The surest", "a <dog>", "all right", shown)])
    assert "<li>The surest: a &lt;dog&gt;. all right</li>" in made.html()
    assert "data:audio" not in made.html(), "sound waits until it is wanted"
    with pytest.raises(ValueError, match="start is 0 for 0 exhibits"):
        gallery([])
