"""Regression on a table of features: by name, with what the table says of splits, labels and speakers."""

import numpy as np
import pandas as pd
import pytest

from audioattn_lib.data.manifest import Manifest
from audioattn_lib.data.tables.feature_table import FeatureTable, FeatureTableError, stack
from audioattn_lib.experiments.sleepiness.regression import regress_features


def table(n=120, **given):
    rng = np.random.default_rng(0)
    values = np.round(rng.uniform(1, 9, n), 2)
    parts = np.array(["train", "devel", "test"])[np.arange(n) // 4 % 3]
    metadata = {
        "labels": tuple(map(str, values)),
        "values": values,
        "splits": tuple(parts),
        "groups": tuple(f"speaker-{i // 4}" for i in range(n)),
    }
    features = values[:, None] * [1.0, -2.0, 0.0] + rng.standard_normal((n, 3))
    return FeatureTable(tuple(f"{i}.wav" for i in range(n)), features, **(metadata | given))


def test_the_order_of_rows_changes_nothing():
    ours = table()
    predictions, metrics = regress_features(ours, model="ridge")
    order = np.random.default_rng(1).permutation(len(ours))
    again, others = regress_features(ours.take(order), model="ridge")
    assert metrics["spearman"] > 0.9
    assert metrics["spearman"] == pytest.approx(others["spearman"])
    joined = predictions.merge(again, on="clip")
    np.testing.assert_allclose(joined["predicted_x"], joined["predicted_y"])
    assert set(predictions["split"]) == {"devel", "test"}
    assert set(predictions["rounded"]) <= set(range(1, 10))
    assert metrics["mean_absolute_error"] < metrics["chance"]["mean_absolute_error"]
    assert "10 groups" in metrics["intervals"]["spearman"]["method"]


def test_labels_that_are_held_back_are_predicted_and_not_scored():
    full = table()
    hidden = np.array(full.splits) == "test"
    values = np.where(hidden, np.nan, full.values)
    predictions, metrics = regress_features(table(values=values, labels=()))
    assert "spearman" not in metrics
    assert metrics["valid_spearman"] > 0.9
    assert np.isfinite(predictions.loc[predictions["split"] == "test", "predicted"]).sum() == hidden.sum()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"splits": ("train", "test") * 60}, "no clip is in split 'devel'; the table has test, train"),
        ({"values": np.full(120, np.nan)}, "no clip of split train has a number as its label"),
        ({"groups": ("anna",) * 120}, "group anna is in splits train and devel; it must be in one only"),
    ],
)
def test_tables_that_cannot_be_used_are_named(given, message):
    with pytest.raises(FeatureTableError, match=message):
        regress_features(table(**given))


def test_features_without_labels_take_them_from_a_corpus_by_name(tmp_path):
    full = table(6)
    bare = FeatureTable(full.ids[::-1], full.features[::-1])
    rows = pd.DataFrame({"file_name": [f"wav/{name}" for name in full.ids], "label": full.labels})
    corpus = Manifest(tmp_path, rows.assign(split=full.splits, group=full.groups), "corpus")
    result = bare.described_by(corpus)
    assert result.labels == full.labels[::-1]
    assert result.splits == full.splits[::-1]
    np.testing.assert_array_equal(result.values, full.values[::-1])
    with pytest.raises(FeatureTableError, match=r"1 clips are not in corpus: 7\.wav"):
        FeatureTable(("0.wav", "7.wav"), np.zeros((2, 3))).described_by(corpus)


def test_a_table_for_each_split_is_as_good_as_one():
    full = table(12)
    parts = {name: full.of_split(name) for name in ("train", "devel", "test")}
    result = stack(parts)
    assert set(result.ids) == set(full.ids)
    np.testing.assert_array_equal(result.select(full.ids).features, full.features)
    assert result.select(full.ids).groups == full.groups
    with pytest.raises(FeatureTableError, match="4 clips stand there twice"):
        stack({"a": parts["train"], "b": parts["train"]})
    with pytest.raises(FeatureTableError, match="b has 1 features, a 3"):
        stack({"a": parts["train"], "b": FeatureTable(("x",), np.zeros((1, 1)))})
