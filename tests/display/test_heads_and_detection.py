"""Pictures of heads, of detection curves, and maps of classes."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from audioattn_lib import display
from audioattn_lib.attention.record.density import Density
from audioattn_lib.attention.record.record import AttentionRecord, FrameClock

CLOCK = FrameClock(0.01, -0.005)
RNG = np.random.default_rng(0)
FEATURES = RNG.normal(size=(101, 20))
FREQUENCIES = np.linspace(100, 4000, 20)


def record(heads=4, *, weighted=True, continuous=False):
    weights = RNG.random((1, heads, 7))
    weights /= weights.sum(-1, keepdims=True)
    share = np.linspace(1, 2, heads)[None] / np.linspace(1, 2, heads).sum()
    shape = (1, heads)
    density = Density(RNG.random(shape), np.full(shape, 0.01), np.full(shape, 2.0), share) if continuous else None
    return AttentionRecord(
        "double_multi_head",
        FrameClock(0.16, -0.005),
        ("clip",),
        n_frames=np.array([7]),
        weights=weights,
        head_weights=share if weighted else None,
        density=density,
    )


@pytest.mark.parametrize("continuous", [False, True])
def test_heads_are_split_by_weight_and_add_up_to_the_record(continuous):
    whole = record(continuous=continuous)
    heads = display.split_heads(whole)
    assert [head for head, _, _ in heads] == [3, 2, 1, 0]
    together = sum(share * each.weights[0, 0] for _, share, each in heads)
    np.testing.assert_allclose(together, whole.head_weights[0] @ whole.weights[0])
    for head, _, each in heads:
        np.testing.assert_array_equal(each.weights[0, 0], whole.weights[0, head])
        assert (each.density is not None) == continuous
        assert each.frame_attention().sum() == pytest.approx(1)
    alike = display.split_heads(record(weighted=False))
    assert [share for _, share, _ in alike] == [0.25] * 4
    with pytest.raises(ValueError, match="the record of mean has no weights"):
        display.split_heads(AttentionRecord("mean", n_frames=np.array([3]), read_weights=np.ones((1, 3))))


@pytest.mark.parametrize("heads", [1, 4, 32])
def test_the_picture_of_heads_says_what_it_shows(heads):
    figure = display.plot_heads(
        record(heads), features=FEATURES, clock=CLOCK, frequencies=FREQUENCIES, events=[("ɑ", 0.2, 0.4)]
    )
    assert f"Frame weights of {heads} heads over 1.1 s" in figure.alt
    assert "looks most at" in figure.alt
    assert set(figure.images) == {"light", "dark"}


def test_the_player_of_heads_has_a_slider_with_all_of_them():
    sound = 0.1 * RNG.normal(size=16000)
    made = display.head_player(sound, 16000, record(), features=FEATURES, clock=CLOCK, frequencies=FREQUENCIES)
    html = made.html()
    assert "Head, by weight" in html
    assert "4 (33.3 %)" in html
    assert made.markup.count("data-mechanism") == 5


def test_detection_curves_are_named_with_their_equal_error_rates():
    curve = SimpleNamespace(miss=np.array([0, 0.0, 0.5, 1.0]), false_alarm=np.array([1, 0.5, 0.0, 0.0]))
    figure = display.plot_detection({"Mean": curve, "linear": curve})
    assert "Mean 25.0 %; Linear baseline 25.0 %" in figure.alt
    with pytest.raises(ValueError, match="curves is empty"):
        display.plot_detection({})


def test_a_map_of_classes_has_a_legend():
    sound = (0.1 * RNG.normal(size=800), 8000)
    made = display.feature_map(
        RNG.normal(size=(8, 2)), list("abcdefga"), [str(i) for i in range(8)], {"3": sound}, label="accent"
    )
    html = made.html()
    assert html.count("<b style=") == 7
    assert "accent d" in html
    assert "from" not in made.markup.split("</svg>")[0].split("aria-label")[1][:90]


def test_the_lowest_error_is_the_best():
    table = pd.DataFrame({"score": [0.3, 0.2], "low": [0.2, 0.1], "high": [0.4, 0.3]}, index=["mean", "self_attention"])
    results = {
        lower: display.results_table(table, label="Equal error rate", lower_is_better=lower).markup.split("aa-best")[1]
        for lower in (True, False)
    }
    assert results[True].index("Self attention") < 60
    assert results[False].index("Mean") < 60
