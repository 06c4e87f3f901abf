"""Sentences about a corpus are those of the corpus that a page is about; fixed text of a chapter speaks of none."""

import json
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from audioattn_lib.experiments import EXPERIMENTS, accents, playback, scenes_and_instruments, urban_sound

ROOT = Path(__file__).resolve().parents[2]
SPEAKS_OF_A_CORPUS = ("synthetic", "never heard", "The sound here", "orchestra", "speakers it")


def corpus(name, *columns, unit="speakers", closed_set=False):
    manifest = SimpleNamespace(name=name, table=pd.DataFrame(columns=list(columns)))
    return SimpleNamespace(manifest=manifest, unit=unit, closed_set=closed_set)


@pytest.mark.parametrize("name", sorted(EXPERIMENTS))
def test_fixed_text_says_nothing_that_another_corpus_makes_false(name):
    cells = json.loads((ROOT / "notebooks" / f"{name}.ipynb").read_text(encoding="utf-8"))["cells"]
    for cell in cells:
        text = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            assert not [words for words in SPEAKS_OF_A_CORPUS if words in text], text


def test_accents_are_tested_on_the_speakers_that_the_corpus_has():
    config = accents.Config.smoke()
    told = accents.describe_protocol(config, corpus("accents", "speaker"))
    assert "speakers that it never heard" in told
    assert "other speakers still" in told
    closed = accents.describe_protocol(config, corpus("fsdd", "speaker", closed_set=True))
    unknown = accents.describe_protocol(config, corpus("mine", unit="clips"))
    assert "closed set" in closed
    assert "not known" in unknown
    assert not any("never heard" in text or "speakers still" in text for text in (closed, unknown))
    published = accents.describe_protocol(accents.Config.smoke(protocol="published"), corpus("mine", "speaker"))
    assert "clips of the test choose the epoch" in published


def test_what_is_known_of_a_corpus_is_said_and_nothing_else():
    assert "move some vowels" in accents.describe_carriers(corpus("accents", "vowel_labels"))
    assert "events of the label" in accents.describe_carriers(corpus("mine", "event_onsets"))
    assert "not known" in accents.describe_carriers(corpus("fsdd", "speaker"))
    config = accents.Config.smoke(target="speaker", closed_set=True)
    assert "accent" not in accents.describe_speakers(config, corpus("fsdd"))
    assert "drawn alike" not in accents.describe_speakers(accents.Config.smoke(), corpus("frisian_accent"))


def test_recorded_sound_is_not_called_synthetic():
    for describe in (scenes_and_instruments.describe_heard, scenes_and_instruments.describe_limits):
        assert describe(corpus("instr_dg")) != describe(corpus("orchestra"))
        assert "synthetic" not in describe(corpus("instr_dg"))
    assert "needles" not in playback.describe_hops(corpus("sparse10"))
    assert playback.describe_conclusions(corpus("needles")) == ""
    assert "sparse10" in playback.describe_conclusions(corpus("sparse10"))


def test_a_prepared_corpus_shows_itself_in_a_few_words():
    prepared = urban_sound.prepare(urban_sound.Config.smoke(data="city?clips_per_class=3&n_folds=3&duration=2"))
    assert repr(prepared).startswith("Prepared city: 30 clips, ")
    assert len(repr(prepared)) < 300
    assert "<b>city</b>" in prepared._repr_html_()
    assert "tensor" not in repr(prepared)
