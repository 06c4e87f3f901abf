"""Every corpus as distributed is read without a false finding; of one in part it is said what is missing."""

import shlex

import pytest
from click.testing import CliRunner
from layouts import CLASSES, LAYOUTS, NUMBERS, SEVERAL, VGG_CLASSES, sound, write_sound, write_text

from audioattn_lib.cli import audioattn
from audioattn_lib.core.errors import ConfigError, ManifestError
from audioattn_lib.data import corpora
from audioattn_lib.data.audit import audit
from audioattn_lib.data.corpora import available
from audioattn_lib.experiments.common.corpus import load_checked, load_corpus

READABLE = [name for name, layout in LAYOUTS.items() if layout.experiments]


def run(*arguments):
    return CliRunner().invoke(audioattn, list(map(str, arguments)))


@pytest.mark.parametrize("name", READABLE)
def test_a_corpus_as_distributed_passes_its_check(tmp_path, name):
    manifest = load_corpus(LAYOUTS[name](tmp_path / name))
    report = audit(manifest)
    assert report.passed, str(report)
    kinds = {CLASSES: "class", SEVERAL: "multilabel", NUMBERS: "number"}
    assert manifest.kind == kinds.get(LAYOUTS[name].experiments, "class")


@pytest.mark.parametrize("name", ["audioset_pickled", "vggsound_pickled", "epic_kitchens_pickled"])
def test_lists_that_are_pickles_are_converted_by_the_command_that_the_error_names(tmp_path, name):
    data = LAYOUTS[name](tmp_path / "a corpus")
    done = run("data", "check", data)
    assert done.exit_code == 2
    command = done.stderr.partition("Convert them once: ")[2].strip()
    assert command.startswith("audioattn data convert ")
    converted = run(*shlex.split(command)[1:])
    assert converted.exit_code == 0, converted.stderr
    assert run("data", "check", data).exit_code == 0
    manifest = load_corpus(data)
    assert set(manifest.table["split"]) == {"train", "test"}
    if name == "vggsound_pickled":
        assert manifest.classes == sorted(VGG_CLASSES)


def test_one_output_is_of_one_list(tmp_path):
    LAYOUTS["vggsound_pickled"](tmp_path)
    lists = [tmp_path / "data" / f"{name}.pkl" for name in ("train", "test")]
    done = run("data", "convert", *lists, "-o", tmp_path / "all.csv")
    assert done.exit_code == 2
    assert "one file for 2 lists" in done.stderr


@pytest.mark.parametrize(
    ("name", "removed", "says"),
    [
        ("urbansound8k", "metadata/UrbanSound8K.csv", r"look like folds, not classes.*Put metadata/UrbanSound8K.csv"),
        ("esc50", "meta/esc50.csv", "no table. Put meta/esc50.csv"),
        ("sleepiness", "lab/labels.csv", "no labels. Put lab/labels.csv"),
        ("sleepiness", "wav/*", "no sounds. Put the folder wav"),
        ("common_voice", "validated.tsv", "no validated.tsv. Unpack the whole archive"),
        ("voxceleb", "wav/*/*/*", "has veri_test.txt and no speakers"),
        ("tau_urban", "evaluation_setup/*", "no evaluation_setup/fold1_train.csv"),
        ("nsynth", "nsynth-valid/examples.json", "Unpack nsynth-valid.jsonwav.tar.gz here too"),
        ("nsynth_published", "train.json", "Unpack nsynth-train.jsonwav.tar.gz here too"),
        ("audioset", "class_labels_indices.csv", "no class names. Put class_labels_indices.csv here"),
        ("audioset", "*_segments.csv", "no segments. Put balanced_train_segments.csv"),
        ("epic_kitchens", "annotations/EPIC_100_validation.csv", "Put EPIC_100_validation.csv beside it"),
    ],
)
def test_of_a_corpus_in_part_the_rest_is_named(tmp_path, name, removed, says):
    data = LAYOUTS[name](tmp_path)
    if name == "common_voice":  # the archive has other tables beside the one that is read
        write_text(tmp_path / "train.tsv", ["client_id\tpath"])
    for path in list(tmp_path.glob(removed)):
        path.unlink()
    for folder in sorted((path for path in tmp_path.rglob("*") if path.is_dir()), reverse=True):
        if not any(folder.iterdir()):
            folder.rmdir()
    with pytest.raises(ManifestError, match=says):
        load_corpus(data)


def test_one_class_is_an_error(tmp_path):
    for i in range(6):
        write_sound(tmp_path / "siren" / f"{i}.wav", sound(i))
    done = run("data", "check", tmp_path)
    assert done.exit_code == 1
    assert "error: one class (1)" in done.stdout
    assert "all 6 clips are 'siren', which every network predicts right" in done.stdout
    with pytest.raises(ManifestError, match="one class"):
        load_checked(str(tmp_path))
    assert len(load_checked(str(tmp_path), needs_classes=False)) == 6


@pytest.mark.parametrize("container", ["audio", "wav", "clips"])
def test_a_folder_of_class_folders_is_no_class(tmp_path, container):
    for i in range(4):
        write_sound(tmp_path / container / "ab"[i % 2] / f"{i}.wav", sound(i))
    assert load_corpus(str(tmp_path)).classes == ["a", "b"]


def test_sounds_without_labels_are_a_corpus(tmp_path):
    data = LAYOUTS["unlabelled"](tmp_path)
    manifest = load_corpus(data)
    assert manifest.kind == "unlabelled"
    assert manifest.classes == []
    assert len(manifest) == 4
    assert not manifest.has_label.any()
    assert len(manifest.content_hash()) == 64
    done = run("data", "check", data)
    assert done.exit_code == 0
    assert done.stdout.startswith(f"{tmp_path.name}: 4 clips without labels, 1 warning\n\nwarning: no labels (1)\n")
    with pytest.raises(ManifestError, match="its 4 clips have no labels, and this needs them. Put the sounds of each"):
        manifest.label_indices()
    single = corpora.load(tmp_path / "1.wav")
    assert (single.ids, single.name) == (["1.wav"], "1")


def test_some_unknown_labels_are_no_class(tmp_path):
    for i in range(4):
        write_sound(tmp_path / f"{i}.wav", sound(i))
    write_text(tmp_path / "metadata.csv", ["file_name,label", "0.wav,a", "1.wav,b", "2.wav,a", "3.wav,?"])
    manifest = load_corpus(str(tmp_path))
    assert manifest.classes == ["a", "b"]
    report = audit(manifest)
    assert "unknown label" in str(report)
    assert len(report.skippable) == 3
    with pytest.raises(ManifestError, match=r"metadata.csv:5: label is \?, unknown, in 1 of 4 clips"):
        manifest.label_indices()


def test_corpora_are_found_however_their_folders_are_written(tmp_path, monkeypatch):
    folders = {
        "urbansound8k": "UrbanSound8K",
        "sleepiness": "ComParE2019_ContinuousSleepiness",
        "tau_urban": "TAU-urban-acoustic-scenes-2020-mobile-development",
        "common_voice": "cv-corpus-11.0-2022-09-21/ca",
    }
    for name, folder in folders.items():
        LAYOUTS[name](tmp_path / folder)
    monkeypatch.setenv("AUDIOATTN_DATA", str(tmp_path))
    monkeypatch.chdir(tmp_path.parent)
    for name, folder in folders.items():
        wanted = "ca" if name == "common_voice" else name
        assert load_corpus(wanted).root == tmp_path / folder
    assert load_corpus("urban-sound-8k").root == tmp_path / "UrbanSound8K"
    LAYOUTS["urbansound8k"](tmp_path / "Urban_Sound_8K")
    with pytest.raises(ConfigError, match="may be any of UrbanSound8K, Urban_Sound_8K in .*; name one of these"):
        corpora.load("urbansound8k")
    LAYOUTS["vggsound_pickled"](tmp_path / "VGGSound")
    listed = available().set_index("name")["description"]
    assert listed["VGGSound"] == "incomplete, see audioattn data check VGGSound"


def published_lists(folder, inside="labels/no_limit"):
    """The lists of the layout, moved and called as the two published systems have them."""
    LAYOUTS["label_lists"](folder)
    (folder / inside).mkdir(parents=True, exist_ok=True)
    for name in ("train_files", "dev_files"):
        (folder / f"{name}.lst").rename(folder / inside / f"{name}.lst")
    return folder


def test_lists_of_labels_of_any_name_and_place(tmp_path):
    expected = load_corpus(LAYOUTS["label_lists"](tmp_path / "a"))
    moved = corpora.load(published_lists(tmp_path / "b"))
    assert list(moved.table["file_name"]) == list(expected.table["file_name"]), "relative to the corpus, as published"
    assert list(moved.table["split"]) == list(expected.table["split"])
    assert audit(moved).passed
    other = published_lists(tmp_path / "c", "labels")
    (other / "labels" / "train_files.lst").rename(other / "labels" / "Vox2.ndx")
    (other / "labels" / "dev_files.lst").rename(other / "labels" / "clips.txt")
    with pytest.raises(
        ManifestError, match="among labels/Vox2.ndx, labels/clips.txt; a list to train on and dev or test"
    ):
        corpora.load(other)
    named = corpora.load(other, train="labels/Vox2.ndx", test="labels/clips.txt", speakers=True)
    assert list(named.table["split"]) == list(expected.table["split"])
    assert list(named.table["speaker"]) == list(named.table["label"])
    with pytest.raises(ManifestError, match="labels/none.ndx: no such list; train is 'labels/none.ndx'"):
        corpora.load(other, train="labels/none.ndx")


def test_of_several_lists_one_is_named(tmp_path):
    root = published_lists(tmp_path)
    (root / "labels" / "limit_speaker").mkdir()
    for path in list((root / "labels" / "no_limit").iterdir()):
        (root / "labels" / "limit_speaker" / path.name).write_bytes(path.read_bytes())
    with pytest.raises(
        ManifestError, match=r"several lists for train: labels/limit_speaker/train_files.lst, labels/no_l"
    ):
        corpora.load(root)
    selected = {split: f"labels/no_limit/{split}_files.lst" for split in ("train", "dev")}
    assert len(corpora.load(root, **selected)) == 27


def test_a_list_of_files_is_a_corpus_without_labels(tmp_path):
    root = tmp_path
    LAYOUTS["label_lists"](root)
    manifest = corpora.load(root / "files.lst")
    assert manifest.kind == "unlabelled"
    assert manifest.ids == [f"clips_wav/dev_{i:03d}.wav" for i in range(9)]
    assert audit(manifest).passed
    (root / "lists").mkdir()
    write_text(root / "lists" / "few.lst", ["dev_001", "dev_002.wav", str(root / "clips_wav" / "dev_003.wav")])
    few = corpora.load(root / "lists" / "few.lst", audio="../clips_wav")
    assert len(few) == 3
    assert audit(few).passed
    write_text(root / "mixed.lst", ["clips_wav/dev_001 0 -1", "clips_wav/dev_002"])
    with pytest.raises(ManifestError, match=r"mixed.lst:2: .* has 1 columns; it must be: path class -1"):
        corpora.load(root / "mixed.lst")


def test_labels_that_lie_elsewhere(tmp_path):
    LAYOUTS["sleepiness"](tmp_path / "SLEEP")
    expected = corpora.load(tmp_path / "SLEEP")
    (tmp_path / "SLEEP" / "lab" / "labels.csv").rename(tmp_path / "labels.csv")
    for folder, names in (("SLEEP/wav", "train_0001.wav"), ("SLEEP", "wav/train_0001.wav")):
        manifest = corpora.load(tmp_path / folder, labels=str(tmp_path / "labels.csv"))
        assert manifest.ids[0] == names
        assert manifest.kind == "number"
        assert list(manifest.table["label"]) == list(expected.table["label"])
        assert list(manifest.table["split"]) == list(expected.table["split"])
        assert audit(manifest).passed
    own = tmp_path / "own"
    LAYOUTS["own_table"](own)
    (own / "metadata.csv").rename(own / "truth.csv")
    manifest = corpora.load(own, labels="truth.csv", group="fold")
    assert manifest.classes == ["bell", "dog", "rain"]
    assert list(manifest.table["group"]) == list(manifest.table["fold"])
    with pytest.raises(ManifestError, match="labels is 'none.csv'; there is no such table"):
        corpora.load(own, labels="none.csv")
    with pytest.raises(ManifestError, match=r"truth.csv:1: no column age; it has file_name"):
        corpora.load(own, labels="truth.csv", label="age")


@pytest.mark.parametrize("name", ["urbansound8k", "common_voice", "vggsound"])
def test_of_a_folder_around_a_corpus_the_corpus_is_named(tmp_path, name):
    data = LAYOUTS[name](tmp_path / "around" / "inner")
    with pytest.raises(ManifestError, match=f"around: is no corpus itself and holds one, .*: give {data}"):
        corpora.load(tmp_path / "around")
