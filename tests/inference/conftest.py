"""A smoke run of each chapter, made when a test asks for it."""

import importlib

import pytest

from audioattn_lib.experiments import EXPERIMENTS

CHANGES = {"urban_sound": {"attention": "triweight"}, "accents": {"pooling": "double_multi_head"}}


@pytest.fixture(scope="session")
def runs(tmp_path_factory):
    """A smoke run of each chapter, by name, made when it is asked for."""
    root, made = tmp_path_factory.mktemp("runs"), {}

    def make(name):
        if name not in made:
            chapter = importlib.import_module(EXPERIMENTS[name])
            made[name] = chapter.run(chapter.Config.smoke(**CHANGES.get(name, {})), root)
        return made[name]

    return make


@pytest.fixture(scope="session")
def files_of(runs):
    """Path of each tested clip of the run of a chapter, by the name of the clip."""

    def find(name, run):
        chapter = importlib.import_module(EXPERIMENTS[name])
        prepared = chapter.prepare(chapter.Config.smoke(**CHANGES.get(name, {})))
        tested = run.predictions["clip"][run.predictions["split"] != "devel"]
        return {clip: prepared.manifest.paths[prepared.manifest.ids.index(clip)] for clip in tested}

    return find
