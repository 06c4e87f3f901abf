"""Of a corpus of five hundred test clips the explorer reads and computes what it shows: one clip."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from audioattn_lib.attention.record.record import AttentionRecord, FrameClock
from audioattn_lib.data.manifest import Manifest
from audioattn_lib.experiments.common.corpus import Clip
from audioattn_lib.lab import explorer as explorer_module
from audioattn_lib.lab.compared import Compared

pytest.importorskip("anywidget")

COUNT, FRAMES, CLASSES = 500, 100, ["dog", "rain"]
NAMES = [f"clip-{number:03d}.wav" for number in range(COUNT)]
CLOCK = FrameClock(0.01)


class WithoutNetwork(Compared):
    """Predictions and attention as a run keeps them."""

    def model_of(self, clip):
        return None


@pytest.fixture
def made(tmp_path):
    rng = np.random.default_rng(0)
    chances = rng.dirichlet([1, 1], COUNT)
    labels = rng.choice(CLASSES, COUNT)
    table = pd.DataFrame({"clip": NAMES, "split": "test", "label": labels})
    table["predicted"] = np.array(CLASSES)[chances.argmax(axis=1)]
    for number, name in enumerate(CLASSES):
        table[f"probability_{name}"] = chances[:, number]
    record = AttentionRecord.from_weights(
        rng.dirichlet(np.ones(FRAMES), COUNT), CLOCK, n_frames=[FRAMES] * COUNT, mechanism="softmax", clips=NAMES
    )
    run = SimpleNamespace(predictions=table, attention=record, classes=CLASSES, config={}, path=tmp_path)
    events = {"event_labels": labels, "event_onsets": "0.2", "event_offsets": "0.5"}
    manifest = Manifest(tmp_path, pd.DataFrame({"file_name": NAMES, "label": labels, **events}), "mine")
    read = []

    def clip(name):
        read.append(name)
        samples = np.zeros(16_000, dtype=np.float32)
        features = np.zeros((FRAMES, 8), dtype=np.float32)
        return Clip(name, "dog", samples, 16_000, features, CLOCK, np.linspace(100, 4000, 8), ())

    models = {title: WithoutNetwork(title, (run,), (run,)) for title in ("Softmax", "Sparsemax")}
    return models, SimpleNamespace(manifest=manifest, clip=clip), read


def test_what_is_not_shown_is_not_computed(made, monkeypatch):
    models, corpus, read = made
    asked = []
    record_of = Compared.record_of
    monkeypatch.setattr(explorer_module, "compared_models", lambda study: models)
    monkeypatch.setattr(Compared, "record_of", lambda self, clip: asked.append(clip.name) or record_of(self, clip))
    shown = explorer_module.Explorer(None, corpus)
    assert len(shown.clips.rows) == COUNT
    assert all(0 <= row["inside"] <= 1 for row in shown.clips.rows)
    first = shown.clips.selected
    assert read == [first]
    assert asked == [first] * len(models), "the attention of the chosen clip, of each model once"
    shown.clips.only = "wrong"  # sorted and filtered in the browser
    shown.clips.order = "confidence down"
    assert read == [first]
    shown.clips.selected = wanted = shown.clips.rows[-1]["clip"]
    assert read == [first, wanted]
    assert asked == [first] * len(models) + [wanted] * len(models)
