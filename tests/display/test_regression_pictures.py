"""Pictures of predicted numbers, alignments and maps of clips."""

import json
import re

import numpy as np
import pandas as pd
import pytest
from handmade import HOSTILE, require_offline

from audioattn_lib.attention.record.record import AttentionRecord, FrameClock
from audioattn_lib.display import (
    feature_map,
    neighbour_axes,
    plot_alignment,
    plot_correlations,
    plot_predictions,
    principal_axes,
)

TONE = (np.sin(np.arange(8000) / 10).astype(np.float32) / 2, 16000)


@pytest.fixture
def table():
    index = pd.Index(["attention_bi_bi_hidden", "linear", "chance"], name="system")
    return pd.DataFrame({"score": [0.3, 0.5, 0.0], "low": [0.1, 0.4, -0.2], "high": [0.5, 0.6, 0.2]}, index=index)


@pytest.fixture
def record():
    alignment = np.stack([np.eye(6), np.eye(6)])
    alignment[1, 4:] = 0
    return AttentionRecord("softmax", FrameClock(0.1), ("a", "b"), np.array([6, 4]), alignment=alignment)


def test_correlations_say_their_numbers(table):
    figure = plot_correlations(table, titles={"attention_bi_bi_hidden": "Attention"})
    assert "Attention 0.30 (0.10 to 0.50); Linear baseline 0.50 (0.40 to 0.60)" in figure.alt
    with pytest.raises(ValueError, match="low"):
        plot_correlations(table.drop(columns="low"))


def test_predictions_say_how_far_they_reach():
    clips = pd.DataFrame({"label": [1.0, 5.0, 9.0], "predicted": [4.0, 5.0, 6.0]})
    figure = plot_predictions({"fusion": clips, "linear": clips}, label="Tiredness", scores={"fusion": 0.5})
    assert "Tiredness from 1.0 to 9.0: Fusion predicts 4.0 to 6.0" in figure.alt
    with pytest.raises(ValueError, match="at least one system"):
        plot_predictions({})


def test_an_alignment_says_how_far_from_the_diagonal_it_lies(record):
    assert "0.00 s from the decoded frame" in plot_alignment(record[0]).alt
    assert plot_alignment({"one": record[0], "other": record[1]}).alt.count("from the decoded frame") == 2
    bare = AttentionRecord("softmax", FrameClock(0.1), ("a",), np.array([2]), weights=np.full((1, 1, 2), 0.5))
    with pytest.raises(ValueError, match="no alignment"):
        plot_alignment(bare)


def test_principal_axes_are_those_of_the_covariance():
    generator = np.random.default_rng(0)
    features = generator.normal(size=(50, 5)) @ generator.normal(size=(5, 5))
    features = np.column_stack([features, np.ones(50)])
    points, shares = principal_axes(features)
    values = np.linalg.eigvalsh(np.corrcoef(features[:, :5].T))[::-1]
    np.testing.assert_allclose(shares, values[:2] / values.sum())
    np.testing.assert_allclose(points.var(axis=0), values[:2])
    assert abs(np.corrcoef(points.T)[0, 1]) < 1e-9
    lonely, power = principal_axes([[0.0], [1.0]])
    assert lonely[:, 1].tolist() == [0, 0]
    assert power.tolist() == [1, 0]
    with pytest.raises(ValueError, match="at least two clips"):
        principal_axes([[1.0]])


def test_points_with_a_sound_are_buttons_and_all_points_say_what_they_are():
    names = ["a", "b", "c"]
    shown = feature_map([[0, 0], [1, 1], [2, 0]], [1, 5, 9], names, {"b": TONE}, label="tiredness", axes=("first", "y"))
    page = shown.html()
    assert page.count("<circle") == 3
    assert page.count('role="button"') == 1
    assert 'aria-label="b, tiredness 5"' in page
    sounds = json.loads(re.search(r'data-sounds="([^"]*)"', page)[1].replace("&quot;", '"'))
    assert list(sounds) == ["1"]
    assert sounds["1"].startswith("data:audio/mpeg;base64,")
    require_offline(page)


def test_a_point_whose_number_is_unknown_says_so_and_has_no_number():
    shown = feature_map([[0, 0], [1, 1]], [np.nan, 5], ["a", "b"], {}, label="tiredness").markup
    assert "a, tiredness unknown" in shown
    assert "from 5 to 5, unknown for 1" in shown
    nobody = feature_map([[0, 0], [1, 1]], [np.nan, np.nan], ["a", "b"], {}, label="tiredness").markup
    assert "whose tiredness is unknown" in nobody
    assert "nan" not in nobody + shown


def test_names_of_clips_stay_text():
    page = feature_map([[0, 0]], [1], [HOSTILE], {HOSTILE: TONE}, label=HOSTILE, axes=(HOSTILE, ""), caption=HOSTILE)
    assert "<script>alert" not in page.html()
    assert "<img" not in page.markup


def test_what_does_not_fit_is_refused(tmp_path):
    with pytest.raises(ValueError, match="two coordinates"):
        feature_map([[0, 0]], [1, 2], ["a"], {}, label="x")
    with pytest.raises(ValueError, match="sounds has z"):
        feature_map([[0, 0]], [1], ["a"], {"z": TONE}, label="x")
    saved = feature_map([[0, 0]], [1], ["a"], {}, label="x").save(tmp_path / "map.html")
    assert "<!doctype html>" in saved.read_text()


def test_neighbours_stay_neighbours():
    generator = np.random.default_rng(0)
    kinds = np.repeat([0, 1, 2], 12)
    features = np.column_stack([generator.normal(size=(36, 6)) + 20 * np.eye(6)[kinds], np.ones(36)])
    points = neighbour_axes(features, perplexity=5)
    apart = np.linalg.norm(points[:, None] - points, axis=2) + 1e9 * np.eye(36)
    np.testing.assert_array_equal(kinds[apart.argmin(axis=1)], kinds)
    np.testing.assert_array_equal(points, neighbour_axes(features, perplexity=5))
    assert np.isfinite(neighbour_axes(features[:5])).all(), "fewer clips than neighbours"
    with pytest.raises(ValueError, match="has 3 clips and 6 that change"):
        neighbour_axes(np.random.default_rng(0).normal(size=(3, 6)))
    with pytest.raises(ValueError, match=r"perplexity is 0\.5"):
        neighbour_axes(features, perplexity=0.5)
