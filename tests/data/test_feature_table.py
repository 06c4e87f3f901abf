"""Features are joined by the name of the clip, and files of them lose nothing."""

import sys

import numpy as np
import pandas as pd
import pytest

from audioattn_lib.data.manifest import Manifest
from audioattn_lib.data.tables.feature_table import FeatureTable, FeatureTableError, fuse
from audioattn_lib.data.tables.table_files import read_features, write_features

NAMES = ("train_0001.wav", "a folder/devel, 'two'.wav", "test_0003.wav", "größe.wav")


def table(**given) -> FeatureTable:
    rng = np.random.default_rng(0)
    features = np.concatenate([rng.standard_normal((4, 3)) * [1e-12, 1, 1e12], [[1 / 3], [0], [-0.1], [7]]], axis=1)
    metadata = {
        "names": ("mean", "standard deviation", "feature, three", "x"),
        "labels": ("1.25", "8.5", "", "3"),
        "values": np.array([1.25, 8.5, np.nan, 3.0]),
        "splits": ("train", "devel", "test", ""),
        "groups": ("speaker 1", "speaker 2", "", "speaker 1"),
    }
    return FeatureTable(NAMES, features, **(metadata | given))


def assert_equal(ours, theirs, *columns):
    for name in columns or ("ids", "names", "labels", "values", "splits", "groups", "chunks", "folds", "features"):
        np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name), err_msg=name)


@pytest.mark.parametrize("suffix", [".csv", ".arff", ".nc"])
@pytest.mark.parametrize("labels_last", [False, True])
@pytest.mark.parametrize(
    "given",
    [
        {},
        {"labels": ("dog", "a cat", "", "dog"), "values": np.array([1.0, 0, np.nan, 1])},
        {"chunks": np.array([3, 0, 1, 2]), "folds": np.array([[0, 1], [1, 0], [0, 0], [1, 1]])},
        {"labels": (), "values": np.zeros(0), "splits": (), "groups": (), "names": ()},
    ],
    ids=["numbers", "classes", "chunks and folds", "features alone"],
)
def test_a_round_trip_loses_nothing(tmp_path, suffix, given, labels_last):
    ours = table(**given)
    path = tmp_path / f"features{suffix}"
    write_features(ours, path, labels_last=labels_last)
    assert_equal(read_features(path), ours)
    assert [child.name for child in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("suffix", [".csv", ".arff"])
@pytest.mark.parametrize("labels_last", [False, True])
def test_the_layout_of_audeep(tmp_path, suffix, labels_last):
    ours, path = table(), tmp_path / f"features{suffix}"
    write_features(ours, path, layout="audeep", labels_last=labels_last)
    text = path.read_text(encoding="utf-8").splitlines()
    features = [f"feature_{i}" for i in range(4)]
    labels = ["label_nominal", "label_numeric"]
    columns = ["filename", "chunk_nr", *(features + labels if labels_last else labels + features)]
    if suffix == ".csv":
        assert text[0].split(",") == columns
        assert len(text) == 5
    else:
        assert text[0] == '@RELATION "auDeep exported data set"'
        assert [line.split()[1] for line in text if line.startswith("@ATTRIBUTE")] == columns
        assert "@ATTRIBUTE filename STRING" in text
        assert "@ATTRIBUTE label_nominal {1.25, 3, 8.5}" in text
        assert "@DATA" in text
    theirs = read_features(path)
    assert_equal(theirs, ours, "ids", "features", "labels", "values", "chunks")
    assert theirs.names == tuple(features)


def test_whole_labels_are_whole_in_arff(tmp_path):
    write_features(
        table(labels=("1", "9", "", "3"), values=np.array([1, 9, np.nan, 3])), tmp_path / "t.arff", layout="audeep"
    )
    assert "@ATTRIBUTE label_numeric INTEGER" in (tmp_path / "t.arff").read_text()


def test_the_published_layout(tmp_path):
    ours, path = table(), tmp_path / "features.train.csv"
    write_features(ours, path, layout="published")
    frame = pd.read_csv(path, header=None)
    assert list(frame[0]) == list(NAMES)
    np.testing.assert_array_equal(frame.drop(columns=0).to_numpy(), ours.features)
    assert_equal(read_features(path), ours, "ids", "features")


def test_the_feature_files_of_the_challenge(tmp_path):
    """Semicolons, quoted names and a frameTime with a header; semicolons without one; commas with two columns."""
    functionals = tmp_path / "ComParE.csv"
    functionals.write_text("name;frameTime;F0_mean;F0_std\n'train_1.wav';0.0;1.5;2\n'train_2.wav';0.0;-1e-3;4\n")
    features = read_features(functionals)
    assert features.ids == ("train_1.wav", "train_2.wav")
    assert features.names == ("F0_mean", "F0_std")
    np.testing.assert_array_equal(features.features, [[1.5, 2], [-1e-3, 4]])
    words = tmp_path / "BoAW-125.csv"
    words.write_text("train_1.wav;0;1.5;2\ntrain_2.wav;3;4;5\n")
    np.testing.assert_array_equal(read_features(words).features, [[0, 1.5, 2], [3, 4, 5]])
    audeep = tmp_path / "auDeep-40.csv"
    audeep.write_text("filename,chunk_nr,feature_0,feature_1\ntrain_1.wav,0,1,2\n")
    assert read_features(audeep).width == 2


def test_an_arff_file_of_weka(tmp_path):
    path = tmp_path / "emobase.arff"
    path.write_text(
        "% by openSMILE\n@relation 'a relation'\n\n@attribute name string\n@attribute frameTime numeric\n"
        "@attribute 'F0 mean' numeric\n@attribute label_nominal {'wide awake',tired}\n@data\n\n"
        "'it\\'s.wav',0.0,1.5,'wide awake'\n% a remark\nb.wav,0.0,2,tired\n"
    )
    features = read_features(path)
    assert features.ids == ("it's.wav", "b.wav")
    assert features.names == ("F0 mean",)
    assert features.labels == ("wide awake", "tired")
    np.testing.assert_array_equal(features.features, [[1.5], [2]])


def test_unknown_values_of_audeep_are_unknown(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("filename,chunk_nr,label_nominal,label_numeric,f\na.wav,0,__MISSING_VALUE,-999999,1\nb.wav,0,,,2\n")
    features = read_features(path)
    assert features.labels == ("", "")
    assert np.isnan(features.values).all()


def test_netcdf_has_the_names_of_audeep(tmp_path):
    import json

    from scipy.io import netcdf_file

    path = tmp_path / "t.nc"
    write_features(table(labels=("1", "9", "", "3"), values=np.array([1, 9, np.nan, 3])), path)
    with netcdf_file(path, mmap=False) as file:
        expected = {"filename", "chunk_nr", "label_nominal", "label_numeric", "cv_folds", "partition", "features"}
        assert expected <= set(file.variables)
        assert json.loads(file.feature_dims) == ["generated"]
        assert json.loads(file.label_map) == {"1": 1, "3": 3, "9": 9}
        assert file.variables["features"].dimensions == ("instance", "generated")
        np.testing.assert_array_equal(file.variables["partition"][:], [0, 1, 2, np.nan])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.csv", "", r"t\.csv: the file is empty"),
        ("t.csv", "filename,f\n", "names of columns but no row"),
        ("t.csv", "filename,f\na.wav,1\nb.wav,loud\n", r"t\.csv:3: f of b\.wav is 'loud'; a feature must be a number"),
        ("t.csv", "filename,f\na.wav,1\nb.wav,\n", "f of b.wav is ''"),
        ("t.csv", "filename,f\na.wav,1\nb.wav,nan\n", "f of b.wav is nan; not finite"),
        ("t.csv", "filename,f\na.wav,1\na.wav,2\n", "1 clips stand there twice: a.wav"),
        ("t.csv", "filename,f,f\na.wav,1,2\n", "two columns are called f"),
        ("t.csv", "filename,f\na.wav,1,2,3\n", r"t\.csv:2: 4 values for 2 columns"),
        ("t.csv", "filename,label_numeric,f\na.wav,high,2\n", "label_numeric of a.wav is 'high'"),
        ("t.arff", "@relation x\n@attribute name string\n", "no @data; it is no ARFF file, or not all of one"),
        (
            "t.arff",
            "@attribute name string\n@attribute f numeric\n@data\na.wav\n",
            r"t\.arff:4: 1 values for 2 columns",
        ),
        ("t.arff", "@attribute name date\n@data\n", r"t\.arff:1: type 'date'"),
        ("t.arff", "@attribute f numeric\nhello\n", r"t\.arff:2: 'hello' is neither"),
        ("t.nc", "CDF", r"t\.nc: not a netCDF file, or not all of one"),
        ("t.nc", "\x89HDF....", r"t\.nc: "),
        ("t.xls", "", "a feature table is one of .csv, .arff, .nc, not .xls"),
    ],
)
def test_files_that_cannot_be_used_are_named(tmp_path, name, content, message):
    (tmp_path / name).write_text(content, encoding="latin-1")
    with pytest.raises(FeatureTableError, match=message):
        read_features(tmp_path / name)


@pytest.mark.parametrize("characters", [False, True])
def test_what_audeep_keeps_is_read(tmp_path, characters):
    """netCDF-4 as xarray writes it: variables of text, missing values of auDeep, dimensions that are no variables."""
    h5py = pytest.importorskip("h5py")
    path, names = tmp_path / "t.nc", ["a.wav", "bé.wav", "c.wav"]
    with h5py.File(path, "w") as file:
        if characters:
            encoded = np.array([name.encode() for name in names], dtype="S8")
            file["filename"] = encoded.view("S1").reshape(3, 8)
        else:
            file.create_dataset("filename", data=names, dtype=h5py.string_dtype())
        file.create_dataset("label_nominal", data=["1", "__MISSING_VALUE", "9"], dtype=h5py.string_dtype())
        file["label_numeric"] = np.array([1, -999999, 9])
        file["chunk_nr"] = np.zeros(3, dtype=np.int64)
        file["partition"] = np.array([0.0, 1.0, np.nan])
        file["cv_folds"] = np.zeros((3, 0), dtype=np.int64)
        file["features"] = np.arange(12.0, dtype=np.float32).reshape(3, 2, 2)
        dimension = file.create_dataset("generated", data=np.zeros(2, dtype=np.float32))
        dimension.make_scale("This is a netCDF dimension but not a netCDF variable.         2")
    features = read_features(path)
    assert features.ids == tuple(names)
    assert features.labels == ("1", "", "9")
    assert features.splits == ("train", "devel", "")
    np.testing.assert_array_equal(features.values, [1, np.nan, 9])
    np.testing.assert_array_equal(features.features, np.arange(12.0).reshape(3, 4))


def test_an_hdf5_file_that_cannot_be_read_says_what_to_do(tmp_path, monkeypatch):
    path = tmp_path / "t.nc"
    path.write_bytes(b"\x89HDF\r\n\x1a\n")
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(FeatureTableError, match=r"netCDF-4, which is HDF5 and needs h5py; install it \(pip install"):
        read_features(path)
    monkeypatch.undo()
    h5py = pytest.importorskip("h5py")
    with pytest.raises(FeatureTableError, match=r"t\.nc: not a netCDF file, or not all of one"):
        read_features(path)
    with h5py.File(path, "w") as file:
        file["weights"] = np.zeros(3)
    with pytest.raises(FeatureTableError, match=r"no variable filename, features; it has weights"):
        read_features(path)


def test_a_missing_file_and_a_layout_that_does_not_fit(tmp_path):
    with pytest.raises(FeatureTableError, match="no such file"):
        read_features(tmp_path / "t.csv")
    with pytest.raises(FeatureTableError, match="the published layout is a CSV file"):
        write_features(table(), tmp_path / "t.arff", layout="published")
    with pytest.raises(FeatureTableError, match="layout is 'weka'; it must be one of table, audeep, published"):
        write_features(table(), tmp_path / "t.csv", layout="weka")


def test_tables_are_joined_by_name_in_any_order():
    ours = table()
    rng = np.random.default_rng(1)
    other = FeatureTable(NAMES, rng.standard_normal((4, 2)), labels=("1.25", "", "6", "3"))
    fused = fuse({"a": ours, "b": other.take([2, 0, 3, 1])})
    assert fused.width == ours.width + other.width
    assert fused.ids == ours.ids
    assert fused.names == (*(f"a.{name}" for name in ours.names), "b.feature_0", "b.feature_1")
    np.testing.assert_array_equal(fused.features, np.concatenate([ours.features, other.features], axis=1))
    assert fused.labels == ("1.25", "8.5", "6", "3")
    assert fused.splits == ours.splits
    three = fuse({"a": ours, "b": other, "c": other})
    assert three.width == 8
    assert_equal(fuse({"only": ours}), ours, "features", "labels", "values")


def test_clips_that_are_not_in_all_tables_are_named():
    ours = table()
    for first, second in ((ours, ours.take([0, 1, 3])), (ours.take([0, 1, 3]), ours)):
        with pytest.raises(FeatureTableError, match=r"1 clips of .* are not in .*: test_0003.wav"):
            fuse({"a": first, "b": second})
    with pytest.raises(FeatureTableError, match="nothing to fuse"):
        fuse({})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"labels": ("1.25", "2.5", "", "3")}, "labels of a folder/devel, 'two'.wav differ: 8.5 in a, 2.5 in b"),
        ({"splits": ("test", "devel", "test", "")}, "splits of train_0001.wav differ: train in a, test in b"),
        ({"values": np.array([1.25, 8.5, np.nan, 4.0])}, "values of größe.wav differ: 3.0 in a, 4.0 in b"),
    ],
)
def test_tables_that_disagree_about_a_clip_are_an_error(given, message):
    with pytest.raises(FeatureTableError, match=message):
        fuse({"a": table(), "b": table(**given)})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"ids": ("a", "b", "a", "c")}, "1 clips stand there twice: a; keep one"),
        ({"features": np.full((4, 4), np.nan)}, "mean of train_0001.wav is nan; not finite"),
        ({"features": np.zeros(4)}, r"features has shape \(4,\) for 4 clips"),
        ({"labels": ("a",)}, "labels has 1 values for 4 clips"),
        ({"names": ("a", "b")}, "2 names for 4 features"),
        ({"names": ("a", "b", "a", "c")}, "two columns are called a; rename one"),
        ({"names": ("a", "b", "split", "c")}, "two columns are called split"),
    ],
)
def test_impossible_tables_are_named(given, message):
    ours = table()
    with pytest.raises(FeatureTableError, match=message):
        FeatureTable(**({"ids": ours.ids, "features": ours.features, "names": ours.names} | given))


def test_choosing_clips():
    ours = table()
    assert ours.select(["größe.wav", "train_0001.wav"]).ids == ("größe.wav", "train_0001.wav")
    assert ours.of_split("devel").ids == (NAMES[1],)
    with pytest.raises(FeatureTableError, match=r"no features of b\.wav; the table has 4 rows"):
        ours.select(["train_0001.wav", "b.wav"])
    with pytest.raises(FeatureTableError, match="no clip is in split 'valid'; the table has devel, test, train"):
        ours.of_split("valid")


@pytest.mark.parametrize(
    ("labels", "values"),
    [
        (["1", "9", "?"], [1, 9, np.nan]),
        (["1.5", "2", "?"], [1.5, 2, np.nan]),
        (["b", "a", "b"], [1, 0, 1]),
    ],
)
def test_a_table_of_a_corpus(tmp_path, labels, values):
    rows = pd.DataFrame({"file_name": ["a", "b", "c"], "label": labels, "split": ["train", "devel", "test"]})
    feature_table = FeatureTable.from_manifest(Manifest(tmp_path, rows.assign(group="s"), "corpus"), np.ones((3, 2)))
    assert feature_table.ids == ("a", "b", "c")
    assert feature_table.labels == tuple("" if label == "?" else label for label in labels)
    np.testing.assert_array_equal(feature_table.values, values)
    assert feature_table.splits == ("train", "devel", "test")
    assert feature_table.groups == ("s", "s", "s")
