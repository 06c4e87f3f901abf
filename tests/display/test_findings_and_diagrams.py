"""The box of findings, and the drawings of networks: words for those who do not see, names that the code has."""

import re

import pandas as pd
import pytest

from audioattn_lib.display import (
    Paper,
    findings,
    network_diagram,
    papers_table,
    plot_attention_evaluation,
    plot_results,
    results_table,
    tabs,
)
from audioattn_lib.display.diagram import NETWORKS
from audioattn_lib.display.style import LIGHT


def test_findings_are_sentences_in_a_box():
    box = findings(["**Softmax** has 84.2 %.", "a < b"], ["That it helps."])
    assert "<b>Softmax</b>" in box.markup
    assert "a &lt; b" in box.markup
    assert box.markup.count("<li") == 3
    assert repr(box) == "What we found\n- Softmax has 84.2 %.\n- a < b\nNot shown, and limits\n- That it helps."
    assert "aria-label" in box.html()
    assert findings([], ["That it helps."]).markup.count("<li") == 1
    with pytest.raises(ValueError, match="shown and not_shown are empty"):
        findings([])


@pytest.mark.parametrize("name", list(NETWORKS))
def test_a_drawing_has_words_for_all_that_it_shows(name):
    network, made = NETWORKS[name], network_diagram(name)
    for step in network.steps:
        assert step.shape in made.alt
        assert all(box.name in made.alt and box.about in made.alt for box in step.boxes)
    assert made.markup.count("<rect") == sum(len(step.boxes) for step in network.steps)
    assert 'role="img"' in made.markup
    assert not re.search(r"#[0-9a-f]{6}|fill=|stroke=", made.markup), "colours come from the page, light or dark"


def test_an_unknown_network_is_named():
    with pytest.raises(ValueError, match="network is 'tdnn'; it must be one of urban_sound, sleepiness"):
        network_diagram("tdnn")


def test_tabs_show_one_and_hold_all():
    shown = tabs({"Softmax": network_diagram("accents"), "a < b": network_diagram("playback")}, label="Network")
    assert shown.markup.count('type="radio"') == 2
    assert shown.markup.count(" checked>") == 1
    assert "a &lt; b" in shown.markup
    assert shown.markup.count("<svg") == 2
    assert "Diagram" in repr(shown)
    with pytest.raises(ValueError, match="shown is empty"):
        tabs({}, label="Network")


def test_a_paper_stands_beside_ours_with_its_address():
    paper = Paper("A and B (2020)", (("arXiv", "https://arxiv.org/abs/1"),), "a corpus", "", "80 %", "No.")
    table = papers_table([paper])
    assert 'href="https://arxiv.org/abs/1"' in table.markup
    assert "no figure that we could verify" in table.text
    with pytest.raises(ValueError, match="papers is empty"):
        papers_table([])


def test_a_baseline_can_be_the_best_of_all():
    scores = pd.DataFrame(
        {"score": [0.5, 0.7, 0.9], "low": [0.4, 0.6, 0.8], "high": [0.6, 0.8, 1.0]},
        index=["softmax", "linear", "chance"],
    )
    markup = results_table(scores).markup
    assert 'class="aa-reference aa-best"><th scope="row">Linear' in markup
    assert markup.count("aa-best") == 1


def test_deletion_and_insertion_are_drawn_as_gains():
    columns = {"value": 0.2, "uniform": 0.3, "random": 0.3, "gain": 0.1, "gain_low": 0.05, "gain_high": 0.15}
    rows = [{"attention": "softmax", "measure": name, **columns} for name in ("mass_inside_events", "deletion_area")]
    axes = plot_attention_evaluation(pd.DataFrame(rows)).draw(LIGHT).axes
    assert [ax.get_title() for ax in axes] == ["Mass inside\nevents", "Deletion: gain\nover uniform"]
    assert axes[1].lines[-1].get_xdata().tolist() == [0.1]


def test_results_have_a_picture_for_a_phone():
    scores = pd.DataFrame({"score": [0.8], "low": [0.7], "high": [0.9]}, index=["softmax"])
    figure = plot_results(scores)
    assert set(figure.narrow) == set(figure.images) == {"light", "dark"}
    assert 'class="aa-narrow"' in figure.html()
    assert figure.html().count("aa-wide") >= 1


def test_a_likeness_after_shuffling_is_explained_where_it_is_drawn():
    row = {"value": 0.2, "uniform": 0.3, "random": 0.3, "gain": 0.1, "gain_low": 0.05, "gain_high": 0.15}
    row |= {"low": 0.1, "high": 0.3, "attention": "softmax"}
    for measure, is_explained in (("mass_inside_events", False), ("randomised_weights", True)):
        figure = plot_attention_evaluation(
            pd.DataFrame([{**row, "measure": measure}]).set_index("attention").reset_index()
        )
        assert ("Likeness after shuffling is" in figure.html()) is is_explained
