"""Uses of a corpus: labels of the kind that a chapter needs, splits that can be trained on; options of any."""

import numpy as np
import pandas as pd
import pytest
import soundfile
from command_line import call

from audioattn_lib.cli.data import _CHAPTERS
from audioattn_lib.core.errors import ConfigError, ManifestError
from audioattn_lib.data.corpora import load
from audioattn_lib.data.summary import LABELS, check_use, summarise
from audioattn_lib.experiments import EXPERIMENTS
from audioattn_lib.experiments.common.corpus import load_corpus

ROWS = [
    (f"{number}.wav", ["dog", "siren", "rain"][number % 3], str(number // 3), f"s{number // 2}") for number in range(9)
]


@pytest.fixture
def folder(tmp_path):
    generator = np.random.default_rng(0)
    for name, *_ in ROWS:
        soundfile.write(tmp_path / name, generator.uniform(-0.1, 0.1, 8000), 8000)
    table = pd.DataFrame(ROWS, columns=["file_name", "label", "part", "speaker"])
    table.to_csv(tmp_path / "metadata.csv", index=False)
    return tmp_path


def test_the_chapters_are_those_of_the_library():
    assert set(_CHAPTERS) == set(LABELS) == set(EXPERIMENTS)


def test_a_column_of_any_name_divides_a_corpus(folder):
    assert list(load(folder, fold="part").table["fold"]) == [row[2] for row in ROWS]
    divided = load_corpus(f"{folder}?fold=part&classes=dog,siren")
    assert divided.classes == ["dog", "siren"]
    assert len(divided) == 6
    assert "fold" not in load(folder, split="part").table
    with pytest.raises(ManifestError, match="fold is 'nothing', which is no column; it has file_name, label, part"):
        load(folder, fold="nothing")
    with pytest.raises(ManifestError, match="classes is cat; it has dog, rain, siren"):
        load(folder, classes="dog,cat")
    with pytest.raises(ConfigError, match="name one column"):
        load(folder, fold="part", split="part")


def test_of_several_labels_those_of_the_chosen_classes_remain(folder):
    table = pd.read_csv(folder / "metadata.csv", dtype=str).assign(label=["dog;rain", "siren", "rain"] * 3)
    table.to_csv(folder / "metadata.csv", index=False)
    assert list(load(folder, classes="dog,siren").table["label"]) == ["dog", "siren"] * 3


def test_splits_of_which_none_is_for_test_are_found_before_training(folder):
    (problem,) = check_use(load(folder, split="part"))
    assert "no split is called test" in problem.message
    assert not check_use(load(folder, fold="part"))


def test_labels_of_another_kind_than_a_chapter_needs(folder):
    assert not check_use(load(folder), "accents")
    (problem,) = check_use(load(folder), "sleepiness")
    assert problem.message.endswith("it has one class a clip; sleepiness needs a number a clip")


def test_sounds_without_labels_are_fit_to_be_heard_and_not_to_train_on(folder):
    (folder / "metadata.csv").unlink()
    unlabelled = load(folder)
    assert [each.severity for each in check_use(unlabelled)] == ["warning"]
    assert [each.severity for each in check_use(unlabelled, "urban_sound")] == ["error"]
    assert "labels     no labels" in summarise(unlabelled)


def test_the_command_lists_classes_folds_and_groups(folder):
    def check(*arguments, code=0):
        return call("data", "check", *arguments, code=code).output

    said = check(f"{folder}?fold=part")
    assert "classes    3: dog (3), rain (3), siren (3)" in said
    assert "folds      0 (3), 1 (3), 2 (3)" in said
    assert "groups     5, of 1 to 2 clips" in check(folder, "--group", "speaker")
    assert "no split is called test" in check(f"{folder}?split=part", code=1)
    assert "sleepiness needs a number a clip" in check(folder, "--for", "sleepiness", code=1)
