"""Published lists are read and written; windows and sampling are a function of seed and epoch."""

import numpy as np
import pandas as pd
import pytest
import torch
from small_corpora import RATE, clips, noise

from audioattn_lib.audio import io
from audioattn_lib.audio.features.log_mel import LogMel
from audioattn_lib.core.errors import ConfigError, ManifestError
from audioattn_lib.data import corpora
from audioattn_lib.data.audit import audit
from audioattn_lib.data.lists import (
    read_files,
    read_labels,
    read_trials,
    read_voxceleb_trials,
)
from audioattn_lib.data.loading.batches import BatchLoader
from audioattn_lib.data.loading.store import FeatureStore
from audioattn_lib.data.loading.windows import SampledLoader, WindowLoader, cut_windows
from audioattn_lib.data.manifest import Manifest
from audioattn_lib.data.splits import check_groups


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_labels_and_files_are_read(tmp_path):
    names = ["id1/a b/0001", "id1/c.wav", "plain"]
    write(tmp_path / "labels.lst", "id1/a b/0001 0 -1\nid1/c.wav 1 -1\nplain 0 -1\n")
    table = read_labels(tmp_path / "labels.lst")
    assert list(table["path"]) == names
    assert list(table["class"]) == [0, 1, 0]
    write(tmp_path / "cut.lst", "a.wav\nb.wav")
    assert read_files(tmp_path / "cut.lst") == ["a.wav", "b.wav"], "no line break at the end is no matter"


def test_trials_are_read(tmp_path):
    pairs, same = [("a/1", "a/2"), ("my voice.wav", "your voice.wav"), ("a/1", "b/1.wav")], [True, False, False]
    write(tmp_path / "clients.ndx", "a/1 a/2\n")
    write(tmp_path / "impostors.ndx", "my voice.wav your voice.wav\na/1 b/1.wav\n")
    actual, is_same = read_trials(tmp_path / "clients.ndx", tmp_path / "impostors.ndx")
    assert actual == pairs
    assert is_same.tolist() == same
    write(tmp_path / "veri_test.txt", "1 id1/a.wav id1/b.wav\n0 id1/a.wav id2/c.wav\n")
    actual, is_same = read_voxceleb_trials(tmp_path / "veri_test.txt")
    assert actual == [("id1/a.wav", "id1/b.wav"), ("id1/a.wav", "id2/c.wav")]
    assert is_same.tolist() == [True, False]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("a 0 -1\nb 3 -1\n", "no line of class 1, 2; count them from 0 without gaps"),
        ("a 0 -1\n\nb x -1\n", ":3: class is 'x'; it must be a whole number"),
        ("a 0 -1\nb -1 -1\n", ":2: class is '-1'"),
        ("a 0\n", r":1: 'a 0' has 2 columns; it must be: path class -1"),
        ("\n", "the list is empty"),
    ],
)
def test_bad_labels_name_their_line(tmp_path, text, what):
    with pytest.raises(ManifestError, match=what):
        read_labels(write(tmp_path / "labels.lst", text))


def test_other_bad_lists_are_named(tmp_path):
    labels = write(tmp_path / "labels.lst", "a 0 -1\nb 5 -1\n")
    with pytest.raises(ManifestError, match=r":2: class is 5; with 5 classes it must be from 0 to 4"):
        read_labels(labels, n_classes=5)
    with pytest.raises(ManifestError, match="no such list"):
        read_files(tmp_path / "none.lst")
    with pytest.raises(ManifestError, match=r":1: 'alone' is no pair"):
        read_trials(write(tmp_path / "c", "alone\n"), labels)
    with pytest.raises(ManifestError, match=":1: begins with 'a'"):
        read_voxceleb_trials(labels)


def test_a_folder_of_lists_is_a_corpus(tmp_path):
    root = tmp_path / "catalan"
    for i in range(4):
        io.write(root / "clips wav" / f"{i}.wav", noise(i), RATE)
    write(root / "train_files.lst", "0 0 -1\n1.pickle 1 -1\n")
    write(root / "dev_files.lst", "2.wav 0 -1\n3 1 -1\n")
    manifest = corpora.load(root, audio="clips wav", classes="central, balear")
    assert list(manifest.table["file_name"]) == ["0.wav", "1.wav", "2.wav", "3.wav"]
    assert list(manifest.table["label"]) == ["central", "balear"] * 2
    assert list(manifest.table["split"]) == ["train", "train", "test", "test"]
    assert audit(manifest).passed
    write(root / "test_files.lst", "3 1 -1\n0 0 -1\n")
    assert list(corpora.load(root, audio="clips wav").table["split"])[2:] == ["valid", "valid", "test", "test"]
    assert len(corpora.load(root / "dev_files.lst", audio="clips wav")) == 2
    (root / "dev_files.lst").unlink()
    (root / "test_files.lst").unlink()
    with pytest.raises(ManifestError, match="has train_files.lst alone"):
        corpora.load(root)


@pytest.fixture
def common_voice(tmp_path):
    root = tmp_path / "ca"
    rows = []
    for i in range(12):
        io.write(root / "clips" / f"{i}.mp3", noise(i, 1.0), 16000)
        accent = ("central", "balear", "", "septentrional")[i % 4]
        rows.append({"client_id": f"s{i % 8}", "path": f"{i}.mp3", "sentence": 'Un "dia', "accents": accent})
    pd.DataFrame(rows).to_csv(root / "validated.tsv", sep="\t", index=False, quoting=3, escapechar="\\")
    return root


def test_common_voice(common_voice):
    manifest = corpora.load(common_voice)
    assert manifest.classes == ["balear", "central", "septentrional"]
    assert len(manifest) == 9, "who says nothing about an accent is left out"
    assert list(manifest.table["group"]) == list(manifest.table["speaker"])
    report = audit(manifest)
    assert report.passed, str(report)
    merged = corpora.load(common_voice, accents="central, septentrional=central, balear")
    assert merged.classes == ["balear", "central"]
    assert len(merged) == 9
    capped = corpora.load(common_voice, clips_per_speaker=1)
    assert capped.table.groupby(["speaker", "label"]).size().max() == 1
    with pytest.raises(ManifestError, match="no clip is left with accents occitan .* the table has balear, central"):
        corpora.load(common_voice, accents="occitan")
    with pytest.raises(ManifestError, match="of 9 or more speakers"):
        corpora.load(common_voice, speakers=9)
    with pytest.raises(ConfigError, match="clips_per_speaker is 0"):
        corpora.load(common_voice, clips_per_speaker=0)
    (common_voice / "validated.tsv").write_text("path\tsentence\n1.mp3\ta\n")
    with pytest.raises(ManifestError, match="no column client_id, accents"):
        corpora.load(common_voice)


def test_voxceleb(tmp_path):
    root = tmp_path / "vox"
    for i, name in enumerate(("id10001/x/1", "id10001/y/1", "id10002/z/1", "id10003/z/1")):
        io.write(root / "wav" / f"{name}.wav", noise(i), RATE)
    manifest = corpora.load(root)
    assert manifest.classes == ["id10001", "id10002", "id10003"]
    assert manifest.table["group"].iloc[1] == "id10001/y"
    write(root / "veri_test.txt", "1 id10001/x/1.wav id10001/y/1.wav\n0 id10001/x/1.wav id10002/z/1.wav\n")
    assert list(corpora.load(root).table["split"]) == ["test", "test", "test", "train"]
    write(root / "veri_test.txt", "1 id10009/x/1.wav id10001/y/1.wav\n")
    with pytest.raises(ManifestError, match="speaker id10009 has no folder"):
        corpora.load(root)


def test_a_class_of_one_speaker_and_speakers_on_both_sides_are_errors(corpus):
    root = corpus(clips(8, group=lambda i: "anna" if i % 2 else f"s{i}"))
    with pytest.raises(ManifestError, match=r"one group alone has class b \(anna\)"):
        check_groups(Manifest.read(root))
    assert "group anna is in fold" in str(audit(Manifest.read(root)))
    check_groups(Manifest.read(corpus(clips(8))))


def utterances():
    lengths = torch.tensor([9, 4, 1])
    features = torch.arange(1.0, 10).expand(3, 9)[..., None].repeat(1, 1, 2)
    return features * (torch.arange(9) < lengths[:, None])[..., None], lengths


def test_windows_lie_inside_and_every_place_is_as_likely():
    features, lengths = utterances()
    generator, starts = torch.Generator().manual_seed(0), []
    for _ in range(700):
        windows, kept = cut_windows(features, lengths, 3, generator)
        assert kept.tolist() == [3, 3, 1]
        assert windows.shape == (3, 3, 2)
        assert (windows[0, :, 0].diff() == 1).all()
        assert (windows[2, 1:] == 0).all()
        starts.append(int(windows[0, 0, 0]) - 1)
    counts = np.bincount(starts, minlength=7)
    assert len(counts) == 7
    assert counts.min() > 60
    whole, kept = cut_windows(features, lengths, 20, generator)
    assert torch.equal(whole, features)
    assert torch.equal(kept, lengths)
    with pytest.raises(ConfigError, match="window is 0; it must be at least 1 frame"):
        cut_windows(features, lengths, 0, generator)


@pytest.fixture
def store(corpus, tmp_path):
    root = corpus(clips(11))
    for i in range(11):
        io.write(root / f"audio/{i}.wav", noise(i, 0.1 + 0.03 * i), RATE)
    return FeatureStore.build(Manifest.read(root), LogMel(RATE, 200, hop_length=80, n_mels=6), tmp_path / "features")


def test_windows_are_of_seed_epoch_and_batch_alone(store):
    def loader(seed=0, augment=None):
        return WindowLoader(BatchLoader(store, np.arange(11), range(11), 4, seed=seed), 8, augment)

    whole = list(loader().epoch(2))
    for start in range(3):
        for ours, theirs in zip(loader().epoch(2, start), whole[start:], strict=True):
            assert torch.equal(ours.features, theirs.features)
            assert torch.equal(ours.indices, theirs.indices)
    first, second = (next(loader().epoch(number)) for number in (0, 1))
    assert first.features.shape == (4, 8, 6)
    assert not torch.equal(first.features, second.features)
    louder = next(loader(augment=lambda features, lengths, generator: features + 1).epoch(0))
    torch.testing.assert_close(louder.features, first.features + 1)
    assert len(loader()) == 3


def test_sampling_caps_speakers_and_balances_classes(store):
    targets = torch.tensor([0] * 8 + [1] * 3)
    speakers = np.array(list("aaaaabcdxyz"))

    def heard(number=0, **options):
        loader = SampledLoader(store, targets, np.arange(11), 4, speakers=speakers, **options)
        indices = torch.cat([batch.indices for batch in loader.epoch(number)]).numpy()
        assert len(list(loader.epoch(number))) == len(loader)
        return indices

    assert sorted(heard()) == list(range(11))
    capped = [heard(number, most=2) for number in range(5)]
    for indices in capped:
        assert np.isin(indices, range(5)).sum() == 2
        assert len(indices) == 8
    assert len({tuple(sorted(indices)) for indices in capped}) > 1
    balanced = heard(is_balanced=True)
    assert np.bincount(targets[balanced].numpy()).tolist() == [8, 8]
    assert set(balanced) == set(range(11))
    with pytest.raises(ConfigError, match="clips_per_speaker is 0"):
        heard(most=0)
