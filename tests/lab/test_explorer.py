"""The explorer lists what the runs predicted, computes the chosen clip alone, and its controls start as trained."""

import numpy as np
import pytest

from audioattn_lib import lab
from audioattn_lib.lab.calls import Note
from audioattn_lib.lab.compared import compared_models
from audioattn_lib.lab.live import live

pytest.importorskip("anywidget")


@pytest.fixture
def explorer(city):
    from audioattn_lib.lab.explorer import Explorer

    return Explorer(*city)


def test_where_nobody_watches_a_note_comes_at_once(monkeypatch):
    shown = lab.explore(None, None)  # it looks at neither
    assert isinstance(shown, Note)
    assert "JupyterLab" in repr(shown)
    assert len(shown.html()) < 10_000


def test_the_list_has_every_test_clip_as_the_run_predicted_it(city, explorer):
    study, corpus = city
    predictions = study.select("sparsemax").predictions
    rows = {row["clip"]: row for row in explorer.clips.rows}
    assert set(rows) == set(predictions["clip"])
    for _, each in predictions.iterrows():
        row = rows[each["clip"]]
        assert (row["label"], row["predicted"]) == (each["label"], each["predicted"])
        assert row["right"] == (each["label"] == each["predicted"])
        assert row["confidence"] == pytest.approx(max(each[f"probability_{name}"] for name in corpus.classes))
        assert 0 <= row["inside"] <= 1


def test_only_the_chosen_clip_is_read(city, explorer, monkeypatch):
    _, corpus = city
    read = []
    clip = type(corpus).clip
    monkeypatch.setattr(type(corpus), "clip", lambda self, name: read.append(name) or clip(self, name))
    explorer.clips.selected = wanted = explorer.clips.rows[-1]["clip"]
    assert read == [wanted]
    assert wanted in explorer.player.markup
    assert explorer.player.mechanism == "Sparsemax"
    explorer.model.value = "Triweight density"
    assert read == [wanted]
    assert explorer.player.mechanism == "Triweight density"


def test_a_control_changes_picture_and_answer_and_as_trained_undoes_it(explorer):
    explorer.model.value = "Triweight density"
    kept = explorer.answers.value
    assert explorer.player.attention == {}
    explorer.controls.widgets["location"].value = 0.4
    assert explorer.player.attention["number"] == 1
    assert "as changed" in explorer.answers.value
    moved = explorer.player.attention["reading"]
    explorer.controls.reset(explorer._live.controls)
    assert explorer.player.attention["reading"] != moved
    assert explorer.answers.value == kept


@pytest.mark.parametrize("title", ["Sparsemax", "Triweight density"])
def test_unchanged_controls_answer_as_the_test_of_the_run_did(city, title):
    study, corpus = city
    model = compared_models(study)[title]
    name = str(model.predictions.index[0])
    result = live(model.model_of(name), corpus.clip(name)).answer()
    row = model.predictions.loc[name]
    kept = [row[f"probability_{each}"] for each in corpus.classes]
    np.testing.assert_allclose(result.probabilities[0], kept, atol=1e-4)
    recorded = model.record_of(corpus.clip(name))
    np.testing.assert_allclose(result.record.frame_attention(0), recorded.frame_attention(0), atol=1e-4)


def test_controls_are_the_formula_with_another_number(city):
    study, corpus = city
    models = compared_models(study)
    clip = corpus.clip(str(models["Sparsemax"].predictions.index[0]))
    weights = live(models["Sparsemax"].model_of(clip.name), clip)
    zeros = [int((weights.answer(alpha=alpha).record.weights == 0).sum()) for alpha in (1.0, 2.0, 3.0)]
    assert zeros[0] == 0
    assert zeros == sorted(zeros)
    assert np.ptp(weights.answer(alpha=1.0, temperature=1.0).record.weights) < np.ptp(
        weights.answer(alpha=1.0).record.weights
    )
    density = live(models["Triweight density"].model_of(clip.name), clip)
    before, after = (density.answer(**changes).record.density for changes in ({}, {"location": 0.25, "width": 0.3}))
    np.testing.assert_allclose(after.location - before.location, 0.25, atol=1e-5)
    np.testing.assert_allclose(np.sqrt(after.variance / before.variance), 10**0.3, rtol=1e-3)
    assert density.answer(components=3).record.density.location.shape[1] == 3
