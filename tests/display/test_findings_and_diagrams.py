"""The box of findings, and the drawings of networks: words for those who do not see, names that the code has."""

import re

import pytest

from audioattn_lib.display import findings, network_diagram
from audioattn_lib.display.diagram import NETWORKS


def test_findings_are_sentences_in_a_box():
    box = findings(["**Softmax** has 84.2 %.", "a < b"], ["That it helps."])
    assert "<b>Softmax</b>" in box.markup
    assert "a &lt; b" in box.markup
    assert box.markup.count("<li") == 3
    assert repr(box) == "What we found\n- Softmax has 84.2 %.\n- a < b\n- That it helps."
    assert "aria-label" in box.html()
    with pytest.raises(ValueError, match="shown is empty"):
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
