"""AudioSet, VGG-Sound and EPIC-KITCHENS-100 as distributed, and as the published lists have them."""

import sys

import numpy as np
import pandas as pd
import pytest
from small_corpora import RATE, noise, write_table

from audioattn_lib.audio import hdf5, io
from audioattn_lib.core.errors import AudioError, ConfigError, ManifestError
from audioattn_lib.data import corpora
from audioattn_lib.data.audit import audit
from audioattn_lib.data.pickled_lists import convert_pickled_list

CLASSES = [("/m/09x0r", "Speech"), ("/m/0bt9lr", "Dog"), ("/m/07rwj00", "Chirp, tweet")]
VIDEOS = ["--PJHxphWEs", "a_b-c_d-e_f", "Yabcdefghij", "01234567890"]


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.fixture
def audioset(tmp_path):
    root = tmp_path / "AudioSet"
    write_table(
        root / "class_labels_indices.csv",
        [{"index": i, "mid": mid, "display_name": name} for i, (mid, name) in enumerate(CLASSES)],
    )
    comment = "# Segments csv created Sun Mar  5 10:54:31 2017\n# num_ytids=2\n# YTID, start_seconds, end_seconds, positive_labels\n"  # noqa: E501
    balanced = f'{VIDEOS[0]}, 30.000, 40.000, "/m/09x0r,/m/0bt9lr"\n{VIDEOS[1]}, 0.000, 10.000, "/m/07rwj00"\n'
    write(root / "balanced_train_segments.csv", comment + balanced)
    write(root / "eval_segments.csv", comment + f'{VIDEOS[2]}, 5.000, 15.000, "/m/0bt9lr"\n')
    write(root / "unbalanced_train_segments.csv", comment + f'{VIDEOS[3]}, 1.000, 11.000, "/m/09x0r"\n')
    names = [f"{VIDEOS[0]}_30_40", f"{VIDEOS[1]}_0.000_10.000", f"Y{VIDEOS[2]}"]
    for i, name in enumerate(names):
        io.write(root / "audio" / f"{name}.flac", noise(i), RATE)
    io.write(root / "audio" / "unbalanced_train_segments" / f"{VIDEOS[3]}.wav", noise(9), RATE)
    return root


def test_audioset(audioset):
    manifest = corpora.load(audioset)
    assert manifest.name == "audioset"
    assert manifest.kind == "multilabel"
    assert manifest.classes == ["Chirp, tweet", "Dog", "Speech"]
    assert list(manifest.table["label"]) == ["Speech;Dog", "Chirp, tweet", "Dog"]
    assert list(manifest.table["class_ids"]) == ["0;1", "2", "1"], "as in the official list, counted from 0"
    assert list(manifest.table["split"]) == ["train", "train", "test"]
    assert list(manifest.table["group"]) == VIDEOS[:3]
    assert manifest.label_indices().tolist() == [[0, 1, 1], [1, 0, 0], [0, 1, 0]]
    assert audit(manifest).passed
    both = corpora.load(audioset, train="all")
    assert both.ids[2] == f"audio/unbalanced_train_segments/{VIDEOS[3]}.wav"
    assert len(both) == 4
    assert audit(both).passed


def test_a_sound_that_is_not_there_is_found_missing(audioset):
    (audioset / "audio" / f"{VIDEOS[0]}_30_40.flac").unlink()
    report = audit(corpora.load(audioset))
    assert "missing file" in str(report)
    assert f"{VIDEOS[0]}_30_40.flac" in str(report)
    assert len(report.skippable) == 2


@pytest.mark.parametrize(
    ("file", "old", "new", "says"),
    [
        ("eval_segments.csv", "/m/0bt9lr", "/m/none", r"eval_segments.csv:4: class /m/none is not in class_labels"),
        ("eval_segments.csv", "5.000, ", "25.000, ", "eval_segments.csv:4: lasts from 25.000 to 15.000"),
        ("eval_segments.csv", ", 15.000", "", "eval_segments.csv:4: 3 values; YTID, start, end and labels are 4"),
        (
            "class_labels_indices.csv",
            "\n0,",
            "\n1,",
            "class_labels_indices.csv:2: index is 1; classes are counted from 0",
        ),
        ("class_labels_indices.csv", "display_name", "name", "no column display_name; it must have index, mid"),
    ],
)
def test_audioset_that_is_not_what_it_should_be(audioset, file, old, new, says):
    text = (audioset / file).read_text()
    assert old in text
    (audioset / file).write_text(text.replace(old, new, 1))
    with pytest.raises(ManifestError, match=says):
        corpora.load(audioset)


def test_audioset_has_its_options(audioset):
    with pytest.raises(ConfigError, match="train is 'half'; it must be one of balanced, unbalanced, all"):
        corpora.load(audioset, train="half")
    (audioset / "balanced_train_segments.csv").unlink()
    assert len(corpora.load(audioset)) == 2
    with pytest.raises(ManifestError, match="balanced_train_segments.csv: no such table"):
        corpora.load(audioset, train="balanced")
    with pytest.raises(ManifestError, match="flac: no such folder of sounds; name it with audio"):
        corpora.load(audioset, audio="flac")


@pytest.fixture
def published(tmp_path):
    """Lists of AudioSet as pickled tables, and the sounds."""
    root = tmp_path / "as"
    lists = {
        "as500k_train": [("a_b_0_10.mp4", ["Speech", "Dog"], [0, 74]), ("c_30_40.mp4", ["Siren"], [390])],
        "test": [("-x_1_11.mp4", ["Dog", "Field recording"], [74, 526])],
    }
    for name, rows in lists.items():
        table = pd.DataFrame(rows, columns=["video", "classes", "class_ids"])
        root.mkdir(exist_ok=True)
        table.to_pickle(root / f"{name}.pkl")
        for i, (video, *_) in enumerate(rows):
            io.write(root / f"{video[:-4]}.flac", noise(i + len(name)), RATE)
    return root


def test_published_lists_of_audioset(published):
    with pytest.raises(ManifestError, match=r"pickles, .* audioattn data convert .*as500k_train.pkl .*test.pkl"):
        corpora.load(published)
    convert_pickled_list(published / "test.pkl", published / "test.csv")
    with pytest.raises(ManifestError, match=r"no train.csv .*convert the others: audioattn data convert .*train.pkl"):
        corpora.load(published)
    for path in list(published.glob("*.pkl")):
        convert_pickled_list(path, path.with_suffix(".csv"))
    manifest = corpora.load(published)
    assert manifest.name == "audioset"
    assert list(manifest.table["label"]) == ["Speech;Dog", "Siren", "Dog;Field recording"]
    assert list(manifest.table["class_ids"])[2] == "74;526", "the first class stays 0 and the last 526"
    assert list(manifest.table["group"]) == ["a_b", "c", "-x"]
    assert list(manifest.table["split"]) == ["train", "train", "test"]
    assert audit(manifest).passed
    (published / "as2m_train.csv").write_bytes((published / "as500k_train.csv").read_bytes())
    with pytest.raises(ManifestError, match=r"no train.csv to train on among .*; name a list with train"):
        corpora.load(published)
    assert len(corpora.load(published, train="as2m_train")) == 3


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("526", "527", r"test.csv:2: class id 527; ids are from 0 to 526, count them from 0"),
        ("74;526", "75;526", r"test.csv:2: class 75 is .Dog., and elsewhere .class 75."),
        ("74;526", "0;526", r"test.csv:2: class 0 is 'Dog', and elsewhere 'Speech'; do all lists count classes from 0"),
        ("74;526", "74", "test.csv:2: 2 classes and 1 class_ids"),
    ],
)
def test_class_ids_that_are_counted_otherwise(published, old, new, says):
    for path in list(published.glob("*.pkl")):
        convert_pickled_list(path, path.with_suffix(".csv"))
    text = (published / "test.csv").read_text()
    (published / "test.csv").write_text(text.replace(old, new, 1))
    write_table(
        published / "class_labels_indices.csv",
        [
            {"index": i, "mid": f"/m/{i}", "display_name": {0: "Speech", 74: "Dog", 390: "Siren"}.get(i, f"class {i}")}
            for i in range(526)
        ],
    )
    with pytest.raises(ManifestError, match=says):
        corpora.load(published)


@pytest.mark.parametrize("place", ["", "audio", "audio/{label}", "{label}"])
def test_vggsound(tmp_path, place):
    root = tmp_path / "VGGSound"
    rows = [(VIDEOS[0], 30, "playing harp", "train"), (VIDEOS[1], 0, "race car, auto racing", "test")]
    lines = [f'{video},{second},"{label}",{split}\n' for video, second, label, split in rows]
    write(root / "vggsound.csv", "".join(lines))
    for i, (video, second, label, _) in enumerate(rows):
        io.write(root / place.format(label=label) / f"{video}_{second:06d}.wav", noise(i), RATE)
    manifest = corpora.load(root)
    assert manifest.name == "vggsound"
    assert manifest.classes == ["playing harp", "race car, auto racing"]
    assert list(manifest.table["split"]) == ["train", "test"]
    assert list(manifest.table["group"]) == VIDEOS[:2]
    assert audit(manifest).passed
    assert manifest.where(1).endswith("vggsound.csv:2")
    for old, new, says in (
        (",30,", ",x,", "vggsound.csv:1: second is 'x'"),
        (",train", ",valid", "vggsound.csv:1: split is 'valid'; it must be one of train, test"),
        (",train", "", "vggsound.csv:1: 3 values"),
    ):
        write(root / "vggsound.csv", "".join(lines).replace(old, new, 1))
        with pytest.raises(ManifestError, match=says):
            corpora.load(root)


def test_published_lists_of_vggsound(tmp_path):
    rows = {"train": [("a_0_10.mp4", "harp", 0), ("b_1_11.mp4", "frog", 308)], "test": [("c_d_5_15.mp4", "harp", 0)]}
    for split, each in rows.items():
        pd.DataFrame(each, columns=["video", "class", "class_id"]).to_pickle(tmp_path / f"{split}.pkl")
        convert_pickled_list(tmp_path / f"{split}.pkl", tmp_path / f"{split}.csv")
        for i, (video, label, _) in enumerate(each):
            io.write(tmp_path / "audio" / label / f"{video[:-4]}.wav", noise(i + len(split)), RATE)
    manifest = corpora.load(tmp_path)
    assert list(manifest.table["label"]) == ["harp", "frog", "harp"]
    assert audit(manifest).passed
    text = (tmp_path / "test.csv").read_text()
    write(tmp_path / "test.csv", text.replace("harp,0", "harp,308"))
    with pytest.raises(ManifestError, match="test.csv:2: class 308 is 'harp', and elsewhere 'frog'"):
        corpora.load(tmp_path)
    write(tmp_path / "test.csv", text.replace("harp,0", "harp,309"))
    with pytest.raises(ManifestError, match="test.csv:2: class_id is 309; ids are from 0 to 308"):
        corpora.load(tmp_path)


ACTIONS = {
    "train": [("P01_01", "00:00:00.14", "00:00:01.37", 3, 2), ("P01_01", "00:00:01", "00:00:02", 0, 299)],
    "validation": [("P02_101", "00:00:00.500", "00:00:00.75", 96, 0)],
}


@pytest.fixture
def kitchens(tmp_path):
    """Annotations alone; tests add sounds."""
    for split, actions in ACTIONS.items():
        rows = [
            {
                "narration_id": f"{video}_{i}",
                "participant_id": video[:3],
                "video_id": video,
                "start_timestamp": start,
                "stop_timestamp": stop,
                "narration": "open, then close",
                "verb": "open",
                "verb_class": verb,
                "noun": "door",
                "noun_class": noun,
                "all_nouns": "['door']",
            }
            for i, (video, start, stop, verb, noun) in enumerate(actions)
        ]
        write_table(tmp_path / f"EPIC_100_{split}.csv", rows)
    return tmp_path


def add_hdf5(root, videos=("P01_01", "P02_101"), **attributes):
    h5py = pytest.importorskip("h5py")
    with h5py.File(root / "EPIC_audio.hdf5", "w") as file:
        file.attrs.update(attributes)
        for i, video in enumerate(videos):
            file.create_dataset(video, data=noise(i, 2.0, 24_000).astype(np.float32))
    return root


def test_epic_kitchens_in_one_hdf5(kitchens):
    manifest = corpora.load(add_hdf5(kitchens))
    assert manifest.name == "epic_kitchens"
    assert list(manifest.table["file_name"]) == ["EPIC_audio.hdf5/P01_01"] * 2 + ["EPIC_audio.hdf5/P02_101"]
    assert [manifest.bounds(row) for row in range(3)] == [(0.14, 1.37), (1.0, 2.0), (0.5, 0.75)]
    assert list(manifest.table["split"]) == ["train", "train", "test"]
    assert list(manifest.table["group"]) == ["P01_01", "P01_01", "P02_101"]
    assert manifest.table[["verb_class", "noun_class"]].astype(int).to_numpy().tolist() == [[3, 2], [0, 299], [96, 0]]
    np.testing.assert_allclose(manifest.durations, [1.23, 1.0, 0.25])
    samples, rate = manifest.read_audio(2)
    assert rate == 24_000
    np.testing.assert_array_equal(samples, noise(1, 2.0, 24_000).astype(np.float32)[12_000:18_000])
    assert len(manifest.read_audio(2, 16_000)[0]) == 4_000
    report = audit(manifest, sample_rate=24_000)
    assert report.passed, str(report)
    assert manifest.content_hash() != corpora.load(add_hdf5(kitchens, sample_rate=48_000)).content_hash()


def test_a_video_that_the_hdf5_does_not_have(kitchens):
    manifest = corpora.load(add_hdf5(kitchens, ["P01_01"]))
    report = audit(manifest)
    assert not report.passed
    assert "missing file (1)" in str(report)
    assert "has no sound P02_101; it holds P01_01" in str(report)
    assert len(report.skippable) == 2, "what is there can be used"
    with pytest.raises(AudioError, match=r"EPIC_audio.hdf5: has no sound P02_101"):
        manifest.read_audio(2)


def test_an_action_after_the_end_of_its_video(kitchens):
    path = kitchens / "EPIC_100_validation.csv"
    path.write_text(path.read_text().replace("00:00:00.75", "01:00:00.75"))
    assert corpora.load(add_hdf5(kitchens)).bounds(2) == (0.5, 3600.75)
    assert not audit(corpora.load(kitchens)).passed


def test_epic_kitchens_in_files_with_names_of_classes(kitchens):
    for i, video in enumerate(("P01_01", "P02_101")):
        io.write(kitchens / "audio" / f"{video}.flac", noise(i, 2.0, 24_000), 24_000)
    folder = kitchens / "annotations"
    folder.mkdir()
    for path in kitchens.glob("*.csv"):
        path.rename(folder / path.name)
    write_table(folder / "EPIC_100_verb_classes.csv", [{"id": 3, "key": "open"}, {"id": 0, "key": "take"}])
    manifest = corpora.load(kitchens)
    assert manifest.classes == ["96", "open", "take"]
    assert list(corpora.load(kitchens, label="action").table["label"]) == ["open 2", "take 299", "96 0"]
    assert list(corpora.load(kitchens, label="noun").table["label"]) == ["2", "299", "0"]
    assert audit(manifest).passed
    with pytest.raises(ConfigError, match="label is 'adverb'; it must be one of verb, noun, action"):
        corpora.load(kitchens, label="adverb")


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (",96,", ",97,", r"validation.csv:2: verb_class is 97; it must be from 0 to 96"),
        ("00:00:00.500", "00:00:61", "validation.csv:2: lasts from '00:00:61' to '00:00:00.75'; hours:minutes:seconds"),
        ("00:00:00.500", "0.5", "validation.csv:2: lasts from '0.5'"),
        ("00:00:00.500", "00:00:00.75", "start < stop are needed"),
        ("noun_class", "noun_id", "no column noun_class; it must have participant_id"),
    ],
)
def test_epic_kitchens_that_is_not_what_it_should_be(kitchens, old, new, says):
    (kitchens / "audio").mkdir()
    path = kitchens / "EPIC_100_validation.csv"
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(ManifestError, match=says):
        corpora.load(kitchens)


def test_epic_kitchens_needs_its_sounds(kitchens):
    with pytest.raises(ManifestError, match="no HDF5 file and no folder audio; name the sounds with audio"):
        corpora.load(kitchens)
    with pytest.raises(ManifestError, match="other.hdf5: no such HDF5 file or folder"):
        corpora.load(kitchens, audio="other.hdf5")
    add_hdf5(kitchens)
    (kitchens / "EPIC_audio.hdf5").rename(kitchens / "more.h5")
    add_hdf5(kitchens)
    with pytest.raises(ManifestError, match="several HDF5 files; name one with audio: EPIC_audio.hdf5, more.h5"):
        corpora.load(kitchens)
    assert len(corpora.load(kitchens, audio="more.h5")) == 3


class TestHdf5:
    def test_whole_numbers_are_samples_too(self, tmp_path):
        h5py = pytest.importorskip("h5py")
        with h5py.File(tmp_path / "a.h5", "w") as file:
            file.create_dataset("deep/one", data=np.array([0, 16384, -32768], dtype=np.int16))
            file["deep/one"].attrs["sample_rate"] = 8000
        samples, rate = io.read(tmp_path / "a.h5" / "deep" / "one")
        assert samples.tolist() == [0.0, 0.5, -1.0]
        assert rate == 8000
        result = io.info(tmp_path / "a.h5" / "deep" / "one")
        assert (result.frames, result.channels, result.format) == (3, 1, "HDF5 int16")

    def test_what_is_no_sound(self, tmp_path):
        h5py = pytest.importorskip("h5py")
        with h5py.File(tmp_path / "a.h5", "w") as file:
            file["image"] = np.zeros((2, 2))
            file["text"] = ["a", "b"]
            file["short"] = np.zeros(1)
            file["broken"] = np.array([0.0, np.nan])
            file.create_group("group")
        for name in ("image", "text", "group"):
            with pytest.raises(AudioError, match=f"a.h5: {name} is no array of samples in one dimension"):
                io.read(tmp_path / "a.h5" / name)
        with pytest.raises(AudioError, match=r"has 1 sample; a sound needs at least 2"):
            io.read(tmp_path / "a.h5" / "short")
        with pytest.raises(AudioError, match="1 of 2 samples are NaN or infinite"):
            io.read(tmp_path / "a.h5" / "broken")
        write_table(
            tmp_path / "metadata.csv",
            [{"file_name": f"a.h5/{name}", "label": "x"} for name in ("image", "short", "broken", "none")],
        )
        report = str(audit(corpora.load(tmp_path)))
        for says in ("image is no array", "short: has 1 sample;", "broken: 1 of 2 samples", "has no sound none"):
            assert says in report

    def test_other_files(self, tmp_path):
        (tmp_path / "a.hdf5").write_text("no HDF5")
        pytest.importorskip("h5py")
        with pytest.raises(AudioError, match=r"a.hdf5: no readable HDF5 file"):
            io.read(tmp_path / "a.hdf5" / "one")
        assert hdf5.locate(tmp_path / "none.hdf5" / "one") is None
        assert hdf5.locate(tmp_path / "a.hdf5") is None

    def test_without_h5py_it_is_named(self, tmp_path, monkeypatch):
        (tmp_path / "a.hdf5").write_bytes(b"")
        monkeypatch.setitem(sys.modules, "h5py", None)
        with pytest.raises(AudioError, match="reading HDF5 needs h5py, which is not installed; install it with pip"):
            io.info(tmp_path / "a.hdf5" / "one")
