"""Corpora in the layouts in which they are distributed become manifests."""

import numpy as np
import pytest
from small_corpora import RATE, clips, noise, write_table

from audioattn_lib.audio import io
from audioattn_lib.core.errors import ConfigError, ManifestError
from audioattn_lib.data import corpora
from audioattn_lib.data.audit import audit
from audioattn_lib.data.corpora import folder


@pytest.fixture
def urbansound8k(tmp_path):
    """Four clips of two recordings, each recording in a fold of its own."""
    root = tmp_path / "UrbanSound8K"
    rows = []
    for i in range(4):
        recording, fold = (100032, 5) if i < 2 else (100263, 10)
        name = f"{recording}-3-0-{i}.wav"
        io.write(root / f"audio/fold{fold}" / name, np.stack([noise(i), noise(i + 9)], axis=1), RATE)
        rows.append(
            {
                "slice_file_name": name,
                "fsID": recording,
                "start": 58.5,
                "end": 62.5,
                "salience": 1,
                "fold": fold,
                "classID": 3 - i // 2,
                "class": "dog_bark" if i < 2 else "children_playing",
            }
        )
    write_table(root / "metadata" / "UrbanSound8K.csv", rows)
    return root


def test_urbansound8k(urbansound8k):
    manifest = corpora.load(urbansound8k)
    assert manifest.name == "urbansound8k"
    assert manifest.ids[0] == "audio/fold5/100032-3-0-0.wav"
    assert manifest.classes == ["children_playing", "dog_bark"]
    assert list(manifest.table["fold"]) == ["5", "5", "10", "10"]
    assert list(manifest.table["group"]) == ["100032", "100032", "100263", "100263"]
    assert manifest.bounds(0) == (0.0, None), "start and end are those of the recording, the files are the clips"
    np.testing.assert_allclose(manifest.durations, 0.3)
    report = audit(manifest)
    assert report.passed, str(report)


def test_urbansound8k_shuffled_is_caught(urbansound8k):
    """Purpose of the check: own folds put pieces of a recording on both sides."""
    source = urbansound8k / "metadata" / "UrbanSound8K.csv"
    source.write_text(source.read_text().replace("58.5,62.5,1,5", "58.5,62.5,1,10", 1))
    (urbansound8k / "audio/fold5/100032-3-0-0.wav").rename(urbansound8k / "audio/fold10/100032-3-0-0.wav")
    report = audit(corpora.load(urbansound8k))
    assert "group 100032 is in fold" in str(report)
    assert not report.passed


def test_urbansound8k_with_a_fold_that_is_none(urbansound8k):
    source = urbansound8k / "metadata" / "UrbanSound8K.csv"
    source.write_text(source.read_text().replace("1,5,3", "1,11,3", 1))
    with pytest.raises(ManifestError, match=r"UrbanSound8K\.csv:2: fold is '11'; UrbanSound8K has folds 1 to 10"):
        corpora.load(urbansound8k)


def test_urbansound8k_without_a_column(urbansound8k):
    source = urbansound8k / "metadata" / "UrbanSound8K.csv"
    source.write_text(source.read_text().replace("fsID", "id"))
    with pytest.raises(ManifestError, match="no column fsID"):
        corpora.load(urbansound8k)


@pytest.fixture
def esc(tmp_path):
    root = tmp_path / "ESC-50-master"
    rows = []
    for i in range(6):
        category, small = [("dog", True), ("rain", True), ("cow", False)][i % 3]
        name = f"{i // 3 + 1}-{1000 + i}-A-{i % 3}.wav"
        io.write(root / "audio" / name, noise(i), RATE)
        rows.append(
            {
                "filename": name,
                "fold": i // 3 + 1,
                "target": i % 3,
                "category": category,
                "esc10": small,
                "src_file": 1000 + i,
                "take": "A",
            }
        )
    write_table(root / "meta" / "esc50.csv", rows)
    return root


def test_esc(esc):
    fifty, ten = corpora.load(esc), corpora.load(esc, subset="esc10")
    assert (fifty.name, ten.name) == ("esc50", "esc10")
    assert fifty.classes == ["cow", "dog", "rain"]
    assert ten.classes == ["dog", "rain"]
    assert ten.ids == [name for i, name in enumerate(fifty.ids) if i % 3 < 2]
    assert list(fifty.table["group"]) == [str(1000 + i) for i in range(6)]
    assert audit(fifty).passed
    assert audit(ten).passed
    assert ten.where(2).endswith("esc50.csv:5")


def test_esc_has_two_subsets(esc):
    with pytest.raises(ConfigError, match="subset is 'esc20'; it must be one of esc50, esc10"):
        corpora.load(esc, subset="esc20")
    with pytest.raises(ConfigError, match=r"ESC-50 and ESC-10 has no such option: sets"):
        corpora.load(esc, sets="esc10")


@pytest.mark.parametrize("inside", ["", "audio"])
def test_a_folder_for_each_class(tmp_path, inside):
    for seed, name in enumerate(["dog/one.wav", "dog/deeper/two.flac", "rain/one.wav"]):
        io.write(tmp_path / inside / name, noise(seed), RATE)
    (tmp_path / inside / "dog" / "readme.txt").write_text("not a sound")
    (tmp_path / "notes").mkdir(exist_ok=True)
    manifest = corpora.load(tmp_path)
    assert manifest.classes == ["dog", "rain"]
    assert len(manifest) == 3
    assert audit(manifest).passed


def test_folds_without_their_table_are_no_classes(urbansound8k):
    (urbansound8k / "metadata" / "UrbanSound8K.csv").unlink()
    with pytest.raises(ManifestError, match=r"fold10, fold5 look like folds, not classes.*UrbanSound8K\.csv"):
        corpora.load(urbansound8k)


def test_a_folder_with_a_table(corpus):
    root = corpus(clips(speaker=lambda i: i))
    assert len(corpora.load(root)) == len(corpora.load(root / "metadata.csv")) == 8
    assert list(corpora.load(root, group="speaker").table["group"]) == [str(i) for i in range(8)]


def test_names_are_looked_for_where_the_variable_says(corpus, monkeypatch):
    root = corpus(clips())
    monkeypatch.setenv("AUDIOATTN_DATA", str(root.parent))
    assert corpora.load("corpus").root == root
    listed = corpora.available().set_index("name")
    assert {"city", "voices", "accents", "needles", "corpus"} <= set(listed.index)
    assert listed.loc["corpus", "where"] == str(root)
    with pytest.raises(
        ConfigError, match=r"no corpus 'copus': .*orchestra, mixtures, corpus; nor is it in .*AUDIOATTN_DATA"
    ):
        corpora.load("copus")


def test_no_such_corpus(monkeypatch):
    monkeypatch.delenv("AUDIOATTN_DATA", raising=False)
    with pytest.raises(ConfigError, match="no corpus 'esc11'.*AUDIOATTN_DATA is not set"):
        corpora.load("esc11")


def test_any_column_of_a_table_can_be_the_label(corpus):
    root = corpus(clips(4, age=lambda i: 20 + i))
    assert list(corpora.load(root, label="age").label_values()) == [20, 21, 22, 23]
    with pytest.raises(ManifestError, match=r"metadata\.csv: no column 'weight' to take as label; it has file_name"):
        corpora.load(root, label="weight")
    (root / "metadata.csv").unlink()
    with pytest.raises(ManifestError, match="label is 'age', a column of a table; there is no metadata.csv"):
        folder.load(root, label="age")


def test_a_folder_without_sounds(tmp_path):
    with pytest.raises(ManifestError, match=r"no known layout.*Add a metadata\.csv with file_name and label"):
        corpora.load(tmp_path)


@pytest.mark.data
def test_real_corpora_by_name(data_root, monkeypatch):
    monkeypatch.setenv("AUDIOATTN_DATA", str(data_root))
    assert set(corpora.available()["name"]) >= {"city", "esc10", "sparse10", "fsdd"}
    manifest = corpora.load("esc10")
    assert len(manifest) == 320
    assert list(manifest.table["group"]) == list(manifest.table["source_clip"])


@pytest.fixture
def sleepiness(tmp_path):
    root = tmp_path / "SLEEP"
    rows = []
    for i, split in enumerate(("train", "train", "devel", "test", "test")):
        name = f"{split}_{i:04d}.wav"
        io.write(root / "wav" / name, noise(i, 0.7), 16_000)
        rows.append({"file_name": name, "label": (3, 9, 1, "?", "?")[i]})
    write_table(root / "lab" / "labels.csv", rows)
    return root


def test_sleepiness(sleepiness):
    manifest = corpora.load(sleepiness)
    assert manifest.name == "sleepiness"
    assert manifest.kind == "number", "though all labels are whole"
    assert list(manifest.table["split"]) == ["train", "train", "devel", "test", "test"]
    assert manifest.ids[2] == "wav/devel_0002.wav"
    np.testing.assert_array_equal(manifest.label_values(), [3, 9, 1, np.nan, np.nan])
    assert list(manifest.has_label) == [True, True, True, False, False]
    report = audit(manifest, sample_rate=16_000)
    assert not report.problems, str(report)
    assert manifest.subset([0, 4]).kind == "number"


def test_sleepiness_with_its_held_back_labels(sleepiness):
    told = (sleepiness / "lab" / "labels.csv").read_text().replace("?", "5")
    (sleepiness / "lab" / "labels_confidential.csv").write_text(told)
    assert corpora.load(sleepiness).has_label.all()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            ("devel_0002.wav,1", "devel_0002.wav,10"),
            r"labels\.csv:4: label is '10'; it must be a whole number from 1 to 9",
        ),
        (("devel_0002.wav,1", "devel_0002.wav,1.5"), "label is '1.5'"),
        (("devel_0002.wav,1", "devel_0002.wav,tired"), "label is 'tired'"),
        (("devel_0002.wav", "dev_0002.wav"), r"labels\.csv:4: file_name is 'dev_0002.wav'; it must begin with train_"),
        (("file_name", "file"), "no column file_name; Continuous Sleepiness has file_name, label"),
    ],
)
def test_sleepiness_that_is_not_what_it_should_be(sleepiness, wrong, message):
    source = sleepiness / "lab" / "labels.csv"
    source.write_text(source.read_text().replace(*wrong))
    with pytest.raises(ManifestError, match=message):
        corpora.load(sleepiness)


def test_sleepiness_has_no_options(sleepiness):
    with pytest.raises(ConfigError, match="ComParE 2019 Continuous Sleepiness has no such option"):
        corpora.load(sleepiness, subset="train")


@pytest.mark.data
def test_a_table_with_numbers_as_labels(data_root):
    manifest = corpora.load(data_root / "emodb_rate", group="speaker")
    assert manifest.kind == "number"
    labels = manifest.label_values()
    assert np.isfinite(labels).all()
    assert 2 < labels.min() < labels.max() < 10, "syllables a second"
    report = audit(manifest, sample_rate=16_000)
    assert report.passed, str(report)
    assert (manifest.table.groupby("group")["split"].nunique() == 1).all()
