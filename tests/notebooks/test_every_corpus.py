"""Every chapter runs on every corpus as distributed that its loader accepts, and refuses the others in words."""

import importlib

import pytest
from in_process import run_cells
from layouts import LAYOUTS

from audioattn_lib.automation.strict_yaml import read_yaml
from audioattn_lib.core.errors import AudioAttnError
from audioattn_lib.data.splits import fold_names
from audioattn_lib.experiments import EXPERIMENTS

CHAPTERS = {
    "urban_sound": "urban_sound",
    "urban_sound_results": "urban_sound",
    "index": "urban_sound",
    "use_a_trained_model": "urban_sound",
    "bring_your_own_model": "urban_sound",
    "try_your_sound": "urban_sound",
    "sleepiness": "sleepiness",
    "sleepiness_results": "sleepiness",
    "accents": "accents",
    "accents_results": "accents",
    "scenes_and_instruments": "scenes_and_instruments",
    "playback": "playback",
}
"""Experiment of each chapter."""
ONE_FOLD = ("use_a_trained_model", "bring_your_own_model", "try_your_sound")
"""Pages on runs of the first fold, which have no list of mechanisms."""
OWN = {"sleepiness_results": ("sleepiness",)}
"""Layouts in which a page has something that cannot be measured and no row of the table of parity runs it. The other
pairs take minutes: ``long``.
"""
PAIRS = [
    pytest.param(layout, chapter, marks=() if layout in OWN.get(chapter, ()) else pytest.mark.long)
    for layout in LAYOUTS
    for chapter in CHAPTERS
]
FEWER = {"sleepiness_results": {"thresholds": "60", "seeds": "0"}, "accents_results": {"heads": "2", "seeds": "0"}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("every_corpus")


@pytest.fixture(scope="module")
def corpus(folder):
    """From the name of a layout to its text for ``data``; each corpus is made once."""
    made: dict[str, str] = {}

    def find(name: str) -> str:
        if name not in made:
            made[name] = LAYOUTS[name](folder / name)
        return made[name]

    return find


@pytest.fixture
def page(root, folder, corpus):
    """From the names of a chapter and a layout to what the chapter shows; None where it refuses the corpus in words."""

    def show(chapter: str, layout: str):
        experiment = CHAPTERS[chapter]
        module = importlib.import_module(EXPERIMENTS[experiment])
        settings = dict(LAYOUTS[layout].settings.get(experiment, {}))
        smoke = read_yaml(root / "notebooks" / "book.yml").data
        # a page of results reads the runs of its chapter
        parameters = {name: smoke[chapter][name] for name in smoke[chapter].keys() & smoke[experiment].keys()}
        parameters |= {"data": corpus(layout), "settings": settings, "runs": str(folder / "runs")}
        parameters |= FEWER.get(chapter, {})
        try:
            prepared = module.prepare(module.Config.preset("smoke", data=corpus(layout), **settings))
            if experiment == "urban_sound" and chapter not in ONE_FOLD:
                parameters |= {"attentions": "softmax, parabola", "folds": fold_names(prepared.manifest)[0]}
            return run_cells(root / "notebooks" / f"{chapter}.ipynb", parameters)
        except AudioAttnError:
            if experiment in LAYOUTS[layout].experiments:
                raise
            return None

    return show


@pytest.mark.parity
@pytest.mark.notebook
@pytest.mark.slow
@pytest.mark.parametrize(("layout", "chapter"), PAIRS)
def test_a_chapter_runs_on_every_corpus_that_it_accepts(layout, chapter, page):
    html = page(chapter, layout)
    assert html is None or html.shown
