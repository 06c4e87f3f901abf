"""Every public picture has words, fits its budget, leaves nothing open, and says what is wrong with its input."""

import inspect
import io
import re
import types

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from handmade import CLOCK, EVENTS, FRAMES, HOSTILE, KINDS, make_record, require_offline
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text
from PIL import Image

from audioattn_lib import display
from audioattn_lib.display import figure
from audioattn_lib.display.describe import curve
from audioattn_lib.display.style import DARK, LIGHT
from audioattn_lib.evaluation.scores.calibration import measure_calibration

BUDGET = 80_000  # bytes of both images of a figure


def _results():
    return pd.DataFrame(
        {"score": [0.7, 0.6, 0.1], "low": [0.6, 0.5, 0.05], "high": [0.8, 0.7, 0.2]},
        index=["triweight", "linear", "chance"],
    )


def _history():
    epochs = np.arange(3)
    return pd.DataFrame({"epoch": epochs, "train_loss": 1 / (1 + epochs), "valid_loss": 1.1 / (1 + epochs)})


def _perturbation(kind):
    heights = np.random.default_rng(0).random((5, 4))
    return types.SimpleNamespace(
        kind=kind, fractions=np.linspace(0, 1, 4), attention=heights, uniform=heights, random=heights
    )


def _predictions():
    return pd.DataFrame({"label": np.arange(1.0, 9.0), "predicted": np.linspace(3, 6, 8)})


def _detection():
    return types.SimpleNamespace(miss=np.linspace(0, 1, 9), false_alarm=np.linspace(1, 0, 9) ** 2)


def _attention_evaluation():
    rows = [("softmax", "pointing_game"), ("triweight", "pointing_game"), ("softmax", "deletion_area")]
    return pd.DataFrame([{"attention": a, "measure": m, "value": 0.5, "uniform": 0.3, "random": 0.3} for a, m in rows])


def _sparsity(title):
    columns = ["family", "title", "alpha", "attended", "score", "low", "high"]
    return pd.DataFrame([(title, title, a, 1 / a, 0.5, 0.4, 0.6) for a in (1.0, 1.5, 2.0)], columns=columns)


def _calls(features):
    """A call of each public function that draws; a new one fails the test below until it is listed."""
    levels, frequencies = features
    shown = {"features": levels, "frequencies": frequencies, "events": EVENTS}
    return {
        "plot_attention": lambda title: display.plot_attention(make_record("triweight"), 1, title=title, **shown),
        "compare_attention": lambda title: display.compare_attention(
            {title: make_record("sparsemax"), "Other": make_record("gaussian")}, title=title, **shown
        ),
        "plot_spectrogram": lambda title: display.plot_spectrogram(levels, CLOCK, frequencies, EVENTS, title=title),
        "plot_panels": lambda title: display.plot_panels([display.Panel(title, levels, CLOCK, frequencies)], EVENTS),
        "plot_results": lambda title: display.plot_results(_results(), title=title),
        "plot_training": lambda title: display.plot_training({title: _history()}, scores=["loss"]),
        "plot_confusion": lambda title: display.plot_confusion(np.eye(3, dtype=int), ["a", title, "c"]),
        "plot_faithfulness": lambda title: display.plot_faithfulness([_perturbation("deletion")], title=title),
        "plot_attention_evaluation": lambda title: display.plot_attention_evaluation(
            _attention_evaluation(), title=title
        ),
        "plot_simplex": lambda title: display.plot_simplex((1.0, 2.0), names=[title, "sparsemax"], title=title),
        "plot_threshold": lambda title: display.plot_threshold(np.linspace(-2, 2, 50), 1.5, steps=[-0.9], title=title),
        "plot_heads": lambda title: display.plot_heads(make_record("heads"), 1, clock=CLOCK, title=title, **shown),
        "plot_detection": lambda title: display.plot_detection({title: _detection(), "linear": _detection()}),
        "plot_alignment": lambda title: display.plot_alignment({title: make_record("alignment")}),
        "plot_class_scores": lambda title: display.plot_class_scores(pd.DataFrame({title: [0.2], "b": [0.9]}, [title])),
        "plot_sparsity": lambda title: display.plot_sparsity(_sparsity(title), title=title),
        "plot_calibration": lambda title: display.plot_calibration({title: measure_calibration([0.2, 0.7], [0, 1])}),
        "plot_correlations": lambda title: display.plot_correlations(_results(), titles={"triweight": title}),
        "plot_predictions": lambda title: display.plot_predictions({title: _predictions(), "linear": _predictions()}),
        "plot_pattern": lambda title: display.plot_pattern(np.eye(6, dtype=bool), 2, 3, title=title),
        "plot_gains": lambda title: display.plot_gains(
            pd.DataFrame({"difference": [0.02, -0.01], "low": [0.01, np.nan], "high": [0.03, np.nan]}, [title, "b"]),
            seeds=pd.DataFrame({0: [0.01], 1: [0.03]}, [title]),
            title=title,
        ),
        "plot_gain_panels": lambda title: display.plot_gain_panels(
            {title: pd.DataFrame({"difference": [0.02], "low": [0.01], "high": [0.03]}, [title])}, title=title
        ),
        "plot_pareto": lambda title: display.plot_pareto(
            pd.DataFrame(
                {"task": title, "mechanism": ["Mean", title], "family": "map", "name": ["mean", "b"]}
                | {"score": [0.5, 0.6], "time": [1.0, 2.0]}
            ),
            "time",
            cost_label="Time",
        ),
        "plot_slopes": lambda title: display.plot_slopes(_results(), {title: _results()}, start_label=title),
        "plot_gain_curves": lambda title: display.plot_gain_curves(
            {
                title: {
                    title: pd.DataFrame(
                        {"share": [0.1, 0.3], "difference": [0.1, 0.0], "low": [0, 0], "high": [0.2, 0]}
                    )
                }
            }
        ),
        "plot_lines": lambda title: display.plot_lines(
            {title: (CLOCK.centres(9), np.arange(9)), "Zero": (CLOCK.centres(9), np.zeros(9))},
            points={"Measured": (CLOCK.centres(9), np.arange(9))},
            references=["Zero"],
            filled=[title],
            events=[(title, 0.02, 0.05)],
            x_label=title,
            y_label=title,
            alt="A line that rises, and one that does not.",
            title=title,
        ),
    }


DRAWING = sorted(n for n in display.__all__ if re.match("plot_|compare_", n))


def test_every_drawing_function_is_tested(features):
    assert sorted(_calls(features)) == DRAWING


@pytest.mark.parametrize("name", DRAWING)
def test_picture(name, features):
    shown = _calls(features)[name](HOSTILE)
    assert isinstance(shown, display.Figure)
    assert len(shown.alt) > 20
    assert not plt.get_fignums(), "a figure stayed open"
    assert sum(map(len, shown.images.values())) <= BUDGET
    html = shown._repr_html_()
    assert html.count(" alt=") == 2 * (1 + bool(shown.narrow)), "light and dark, and again for a phone"
    assert "<script>alert" not in html
    require_offline(html)
    for theme in ("light", "dark"):
        image = Image.open(io.BytesIO(shown.images[theme]))
        assert image.width > 500


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_record_is_drawn(kind, features):
    levels, frequencies = features
    shown = display.plot_attention(make_record(kind), features=levels, frequencies=frequencies, events=EVENTS)
    assert "dog bark 0.30–0.50 s" in shown.alt
    assert "mean" in shown.alt
    assert display.plot_attention(make_record(kind)).alt  # without features


def test_drawing_functions_are_typed_and_documented():
    for name in display.__all__:
        thing = getattr(display, name)
        assert inspect.getdoc(thing), name
        if inspect.isfunction(thing) and name in DRAWING:
            assert inspect.signature(thing).return_annotation == "Figure"
            assert "Book page: ``" in inspect.getdoc(thing), name


def test_dark_and_light_differ_and_only_one_shows(features):
    shown = display.plot_spectrogram(features[0], CLOCK)
    assert shown.images["light"] != shown.images["dark"]
    html = shown.html()
    assert re.search(
        r'<img class="aa-dark[^>]* style="display:none"', html
    )  # without the style sheet the light one stays
    assert "aa-light" in html


@pytest.mark.parametrize("theme", [LIGHT, DARK])
def test_spectrogram_colours_are_perceptually_even(theme):
    """Lightness (CIE L*) moves one way in nearly equal steps, away from the page."""
    rgb = theme.spectrogram(np.linspace(0, 1, 256))[:, :3]
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    luminance = linear @ [0.2126, 0.7152, 0.0722]
    lightness = 116 * np.cbrt(luminance) - 16
    steps = np.diff(lightness[::16]) * (-1 if theme is LIGHT else 1)
    assert np.all(steps > 0)
    assert steps.max() < 2 * np.median(steps)


@pytest.mark.parametrize("theme", [LIGHT, DARK])
@pytest.mark.parametrize(("name", "least"), [("ink", 7), ("muted", 4.5), ("event", 4.5), ("attention", 3)])
def test_colours_stand_out_from_the_page(theme, name, least):
    """Contrast as WCAG 2 asks: 4.5 for text, 3 for graphics."""

    def luminance(colour):
        rgb = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
        return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4) @ [0.2126, 0.7152, 0.0722]

    first, other = sorted((luminance(getattr(theme, name)), luminance(theme.page)))
    assert (other + 0.05) / (first + 0.05) >= least


def test_known_frequencies_are_where_they_belong():
    """A tone in the band centred at 1000 Hz is marked 1k."""
    from audioattn_lib.display.plots.spectrogram import mel_ticks

    frequencies = np.linspace(0, 8000, 81)
    rows, names = mel_ticks(frequencies)
    assert dict(zip(names, rows, strict=True))["1k"] == pytest.approx(10)


def test_curve_of_a_narrow_density_is_not_stepped_over():
    record = make_record("mixture")
    from dataclasses import replace

    from audioattn_lib.attention.record.density import Density

    narrow = Density(*(np.full((2, 1), value) for value in (0.5, 1e-8, 2.0, 1.0)))
    drawn = curve(replace(record, density=narrow))
    assert drawn.values.max() == pytest.approx(narrow.pdf(np.array([0.5]))[0, 0], rel=1e-3)


def test_weights_and_densities_share_a_unit(record):
    """Both integrate to their mass inside the clip, so rows of different mechanisms compare."""
    drawn = curve(record, 1)
    area = np.sum(drawn.values * np.diff(drawn.times)) if drawn.over_frames else np.trapezoid(drawn.values, drawn.times)
    assert area == pytest.approx(1, abs=2e-3) or record.mechanism == "parabola"


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf", ".webp"])
def test_saved_files(tmp_path, features, suffix):
    shown = display.plot_spectrogram(features[0], CLOCK)
    path = shown.save(tmp_path / f"figure{suffix}", theme="dark")
    assert path.stat().st_size > 1000
    with pytest.raises(ValueError, match=r"\.webp, \.png, \.svg, \.pdf"):
        shown.save(tmp_path / "figure.gif")
    with pytest.raises(ValueError, match="light"):
        shown.save(path, theme="sepia")


def test_epochs_that_were_not_validated_leave_no_hole_in_a_curve(monkeypatch):
    drawn = []
    monkeypatch.setattr("matplotlib.axes.Axes.plot", lambda self, x, y, **style: drawn.append((list(x), list(y))))
    history = _history().assign(valid_loss=[1.1, np.nan, 0.4])
    display.plot_training(history, scores=["loss"])
    assert ([1, 3], [1.1, 0.4]) in drawn


def test_where_nothing_can_be_drawn_words_say_why(tmp_path):
    why = "Nobody knows <when>."
    empty = pd.DataFrame(columns=["score", "low", "high"])
    for made in (
        display.plot_attention_evaluation(pd.DataFrame(), missing=why),
        display.plot_detection({}, missing=why),
        display.plot_results(empty, missing=why),
        display.plot_lines({}, x_label="x", y_label="y", alt="nothing", missing=why),
    ):
        assert "Nobody knows &lt;when&gt;." in made.html()
        assert "<img" not in made.html()
        with pytest.raises(ValueError, match="there is no picture to write. Nobody knows"):
            made.save(tmp_path / "a.png")


@pytest.mark.parametrize("words", ["audio/fold1/101415-3-0-2.wav: dog_bark, and behind it the rain", "x" * 90, "short"])
def test_a_title_and_the_note_beside_it_do_not_touch(words, features, monkeypatch):
    drawn = []
    monkeypatch.setattr(
        "audioattn_lib.display.plots.attention.render", lambda draw, *rest, **options: drawn.append(draw)
    )
    levels, frequencies = features
    display.plot_attention(make_record("sparsemax"), features=levels, frequencies=frequencies, title=words)
    made = drawn[0](LIGHT)
    FigureCanvasAgg(made).draw()
    ax = made.axes[0]
    title, note = (
        next(t for t in ax.get_children() if isinstance(t, Text) and t.get_text().strip() and start in t.get_text())
        for start in (words[:5], "mean ")
    )
    # an empty line below the title belongs to the note
    below = title.get_window_extent().height / (1 + title.get_text().count("\n")) * title.get_text().endswith("\n ")
    box, other = title.get_window_extent(), note.get_window_extent()
    assert box.x1 < other.x0 or box.y0 + below > other.y1 - 1
    assert box.x1 <= made.bbox.x1


def test_a_picture_without_words_is_an_error():
    with pytest.raises(ValueError, match="alt is empty"):
        figure.render(lambda theme: None, " ")


def test_bad_input_is_named(features):
    levels, frequencies = features
    record = make_record("softmax")
    with pytest.raises(ValueError, match=r"\(101,\).*\(frames, bands\)"):
        display.plot_attention(record, features=levels[:, 0])
    with pytest.raises(ValueError, match="40 bands"):
        display.plot_attention(record, features=levels, frequencies=frequencies[:5])
    with pytest.raises(ValueError, match="no finite value"):
        display.plot_spectrogram(np.full((FRAMES, 4), np.nan), CLOCK)
    with pytest.raises(ValueError, match="'bark' lasts from 2.0 to 1.0"):
        display.plot_attention(record, events=[("bark", 2, 1)])
    with pytest.raises(ValueError, match="record=True"):
        display.plot_attention(type(record).empty())
    with pytest.raises(ValueError, match="records is empty"):
        display.compare_attention({})
    with pytest.raises(ValueError, match="another sound"):
        display.compare_attention({"a": record, "b": make_record("gaussian").named(["x", "y"])})
    with pytest.raises(ValueError, match="train_f1 or valid_f1"):
        display.plot_training(_history(), scores=["f1"])
    with pytest.raises(ValueError, match="2 classes"):
        display.plot_confusion(np.eye(3), ["a", "b"])
    with pytest.raises(ValueError, match="score, low, high"):
        display.plot_results(pd.DataFrame({"score": [1.0]}))


def test_bad_lines_and_maps_are_named():
    words = {"x_label": "x", "y_label": "y", "alt": "Nothing to see"}
    with pytest.raises(ValueError, match="lines is empty"):
        display.plot_lines({}, **words)
    with pytest.raises(ValueError, match=r"'one'.*\(3,\).*\(4,\)"):
        display.plot_lines({"one": (np.arange(3), np.arange(4))}, **words)
    for name, ends in (("two", np.arange(3)), ("one", np.arange(2))):
        with pytest.raises(ValueError, match=f"interval of '{name}'"):
            display.plot_lines({"one": (np.arange(3), np.arange(3))}, intervals={name: (ends, ends)}, **words)
    with pytest.raises(ValueError, match="2 alphas and 1 names"):
        display.plot_simplex((1.0, 2.0), names=["softmax"])
    with pytest.raises(ValueError, match="alpha is 1"):
        display.plot_threshold(np.arange(3.0), 1)
    with pytest.raises(ValueError, match=r"\(2, 3\)"):
        display.plot_threshold(np.zeros((2, 3)), 2)


def test_the_simplex_is_where_the_words_say():
    """Sparsemax projects onto the triangle: from inside it scores become weights unchanged, from far out a corner."""
    from audioattn_lib.display.plots.maps import _CORNERS, _weights

    inside = np.array([[0.0, 0.0], [0.1, -0.05]])
    np.testing.assert_allclose(_weights(inside, 2.0) @ _CORNERS, inside, atol=1e-12)
    np.testing.assert_allclose(_weights(3 * _CORNERS, 2.0), np.eye(3), atol=1e-12)
    words = display.plot_simplex().alt
    assert "alpha = 1: no weight is zero on 100 %" in words


def test_the_threshold_is_where_the_words_say():
    scores = np.array([0.0, 1.0, 1.5, -3.0])  # sparsemax of 1 and 1.5 alone: 0.25 and 0.75
    shown = display.plot_threshold(scores, 2.0)
    assert "threshold -0.750 for alpha 2" in shown.alt
    assert "2 are above zero, the largest is 0.750" in shown.alt


def test_silence_and_constant_features_are_drawn():
    assert display.plot_spectrogram(np.zeros((FRAMES, 4)), CLOCK).alt


def test_single_runs_are_dots_beside_their_system():
    runs = pd.DataFrame({"1": [0.65, 0.55], "2": [0.75, np.nan]}, index=["triweight", "linear"])
    shown = display.plot_results(_results(), runs=runs)
    dots = [collection.get_offsets().tolist() for collection in shown.draw(LIGHT).axes[0].collections]
    assert [[x for x, _ in row] for row in dots] == [[0.65, 0.75], [0.55]]
    assert [{round(y) for _, y in row} for row in dots] == [{0}, {1}]


def test_results_table_marks_references_and_escapes():
    results = _results().rename(index={"triweight": HOSTILE})
    table = display.results_table(results, caption=HOSTILE)
    html = table._repr_html_()
    assert "<script" not in html
    assert html.count('class="aa-reference"') == 2
    assert "70.0 %" in html
    assert "60.0–80.0" in html
    assert repr(table).count("\n") == 2


def test_figures_for_files_are_drawn_once_and_are_the_same(tmp_path, monkeypatch):
    drawn = []
    encode = figure.encode
    monkeypatch.setattr(figure, "encode", lambda image: drawn.append(image) or encode(image))
    record = make_record("triweight")
    shown = display.plot_attention(record)
    assert len(drawn) == 4, "two themes, wide and narrow"
    with figure.for_files():
        quick = display.plot_attention(record)
        for name in ("a.png", "a.webp"):
            quick.save(tmp_path / name, "dark")
    assert len(drawn) == 5, "the picture for a page alone"
    for name in ("b.png", "b.webp"):
        shown.save(tmp_path / name, "dark")
    for suffix in (".png", ".webp"):
        with Image.open(tmp_path / f"a{suffix}") as single, Image.open(tmp_path / f"b{suffix}") as other:
            assert np.array_equal(np.asarray(single), np.asarray(other))
    assert len(display.plot_attention(record).images) == 2, "outside of the block as before"
