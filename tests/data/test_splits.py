"""Laws of the division into training, validation and test."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from audioattn_lib.core.errors import ConfigError, ManifestError
from audioattn_lib.data import splits
from audioattn_lib.data.manifest import Manifest
from audioattn_lib.data.splits import choose_folds, fold_names, split_clips


def corpus(n=40, **columns):
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"file_name": [f"{i}.wav" for i in range(n)], "label": rng.choice(["a", "b"], n)})
    for name, values in columns.items():
        table[name] = values
    return Manifest(Path(), table, "tiny")


def folded():
    return corpus(fold=np.arange(40) % 4 + 1, group=np.arange(40) % 20)


def test_folds_are_in_order_and_numbers_are_names():
    assert fold_names(corpus(fold=np.arange(40.0) % 11 + 1))[:3] == ["1", "2", "3"]
    assert fold_names(corpus(fold=np.arange(40.0) % 11 + 1))[-1] == "11"


@pytest.mark.parametrize("fold", ["1", "2", "3", "4"])
def test_nested_parts_are_disjoint_and_cover_everything(fold):
    split = split_clips(folded(), fold)
    parts = [set(split.train), set(split.valid), set(split.test)]
    assert sum(map(len, parts)) == len(set.union(*parts)) == 40
    following = str(int(fold) % 4 + 1)
    assert set(folded().table["fold"].iloc[split.valid].astype(str)) == {following}


def test_published_validation_is_the_test_fold():
    split = split_clips(folded(), "2", protocol="published")
    np.testing.assert_array_equal(split.valid, split.test)
    assert not set(split.train) & set(split.test)


def test_grouped_validation_is_a_fifth_of_the_recordings_that_are_not_tested():
    manifest = folded()
    split = split_clips(manifest, "2", protocol="grouped", seed=1)
    parts = [set(split.train), set(split.valid), set(split.test)]
    assert sum(map(len, parts)) == len(set.union(*parts)) == 40
    groups = manifest.table["group"]
    assert not set(groups.iloc[split.train]) & set(groups.iloc[split.valid])
    assert groups.iloc[split.valid].nunique() == 3  # a fifth of 15
    assert set(split.valid) != set(split_clips(manifest, "2", protocol="grouped", seed=2).valid)


def test_two_folds_validate_on_groups_of_the_training_fold():
    manifest = corpus(fold=np.arange(40) % 2 + 1, group=np.arange(40) // 4)
    split = split_clips(manifest, "1")
    groups = manifest.table["group"]
    assert not set(groups.iloc[split.train]) & set(groups.iloc[split.valid])
    assert len(split.valid)


def test_named_splits_serve_as_they_are_called():
    manifest = corpus(split=["train"] * 20 + ["devel"] * 8 + ["test_near"] * 6 + ["test_far"] * 6)
    assert fold_names(manifest) == ["test_far", "test_near"]
    split = split_clips(manifest, "test_near")
    assert (len(split.train), len(split.valid), len(split.test)) == (20, 8, 6)


def test_a_corpus_without_columns_is_divided_by_group():
    manifest = corpus(group=np.arange(40) // 2)
    groups = manifest.table["group"]
    for fold in fold_names(manifest):
        split = split_clips(manifest, fold)
        assert not set(groups.iloc[split.train]) & set(groups.iloc[split.test])


def test_unknown_folds_and_splits_are_listed():
    with pytest.raises(ConfigError, match="fold is '9'; tiny has 1, 2, 3, 4"):
        split_clips(folded(), "9")
    with pytest.raises(ConfigError, match="nested, grouped or published"):
        split_clips(folded(), "1", protocol="peek")
    with pytest.raises(ManifestError, match="no split is called test"):
        fold_names(corpus(split=["train"] * 40))


def folds_of(manifest, rows):
    return set(manifest.table["fold"].iloc[rows].astype(str))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"train": ["2", "3"], "valid": ["1"], "test": ["1"]}, ("23", "1", "1")),  # the published protocol
        ({"train": ["2"], "valid": ["1"], "test": ["4"]}, ("2", "1", "4")),  # fold 3 is left out
        ({"test": ["1", "2"]}, ("4", "3", "12")),
        ({"test": ["4"]}, ("23", "1", "4")),
        ({"valid": ["3"], "test": ["1"]}, ("24", "3", "1")),
        ({"train": ["2", "3"], "test": ["1"]}, ("23", "4", "1")),
        ({"train": ["01"], "valid": ["2.0"], "test": ["3"]}, ("1", "2", "3")),
    ],
)
def test_lists_of_folds(given, expected):
    manifest = folded()
    split = choose_folds(manifest, **given)
    for rows, folds in zip((split.train, split.valid, split.test), expected, strict=True):
        assert folds_of(manifest, rows) == set(folds)
        assert len(rows) == 10 * len(folds), "whole folds"
    assert not set(split.train) & (set(split.valid) | set(split.test))


def test_without_a_fold_to_validate_on_training_groups_do():
    manifest = folded()
    for given in ({"test": ["1", "2", "3"]}, {"train": ["2", "3", "4"], "test": ["1"]}):
        split = choose_folds(manifest, **given)
        groups = manifest.table["group"]
        assert len(split.valid)
        assert not set(groups.iloc[split.train]) & set(groups.iloc[split.valid])


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({}, "test_folds is empty; name at least one of 1, 2, 3, 4"),
        ({"test": ["5"]}, "test_folds has 5; tiny has 1, 2, 3, 4"),
        ({"train": ["1", "2"], "test": ["2"]}, "train_folds and test_folds share 2"),
        ({"train": ["1", "2"], "valid": ["1"], "test": ["3"]}, "train_folds and valid_folds share 1"),
        ({"valid": ["3", "4"], "test": ["1", "2"]}, "no fold of tiny is left to train on"),
    ],
)
def test_lists_of_folds_that_cannot_be(given, says):
    with pytest.raises(ConfigError, match=says):
        choose_folds(folded(), **given)


def test_many_groups_with_many_labels_are_drawn_without_a_table_of_them(tmp_path, monkeypatch):
    monkeypatch.setattr(splits, "_CELLS", 100)
    rows = [{"file_name": f"{row}.wav", "label": f"{row % 7}", "group": f"{row // 3}"} for row in range(600)]
    manifest = Manifest(tmp_path, pd.DataFrame(rows), "many")
    split = split_clips(manifest, "1")
    groups = manifest.table["group"].to_numpy()
    sides = [set(groups[clips]) for clips in (split.train, split.valid, split.test)]
    assert not sides[0] & sides[1]
    assert not sides[2] & (sides[0] | sides[1])
    assert [len(side) for side in sides] == [120, 40, 40]
    assert np.array_equal(split.test, split_clips(manifest, "1").test)
