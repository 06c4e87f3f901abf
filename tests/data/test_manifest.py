"""The manifest: one table for every corpus, numbers from it, and errors that name line and column."""

import os

import numpy as np
import pandas as pd
import pytest
from small_corpora import RATE, clips

from audioattn_lib.audio import io
from audioattn_lib.core.errors import AudioError, ManifestError
from audioattn_lib.data.audit import audit
from audioattn_lib.data.manifest import Event, Manifest


def test_a_folder_and_its_table_are_the_same_corpus(corpus):
    root = corpus(clips(extra=lambda i: i))
    by_folder, by_table = Manifest.read(root), Manifest.read(root / "metadata.csv")
    assert by_folder.name == by_table.name == "corpus"
    pd.testing.assert_frame_equal(by_folder.table, by_table.table)
    assert by_folder.ids == [f"audio/{i}.wav" for i in range(8)]
    assert by_folder.paths[3] == root / "audio/3.wav"
    assert list(by_folder.table["extra"]) == [str(i) for i in range(8)], "other columns are kept"
    assert len(by_folder) == 8


def test_classes_are_named_in_order_and_numbered(corpus):
    manifest = Manifest.read(corpus(clips()))
    assert manifest.kind == "class"
    assert manifest.classes == ["a", "b"]
    np.testing.assert_array_equal(manifest.label_indices(), [0, 1] * 4)


def test_digits_are_classes_in_the_order_of_numbers(corpus):
    rows = clips(12)
    for i, row in enumerate(rows):
        row["label"] = i
    manifest = Manifest.read(corpus(rows))
    assert manifest.kind == "class"
    assert manifest.classes == [str(i) for i in range(12)]


def test_several_classes_a_clip(corpus):
    rows = clips(4)
    for row, label in zip(rows, ["a;b", "none", "b", "c ; a"], strict=True):
        row["label"] = label
    manifest = Manifest.read(corpus(rows))
    assert manifest.kind == "multilabel"
    assert manifest.classes == ["a", "b", "c"]
    np.testing.assert_array_equal(manifest.label_indices(), [[1, 1, 0], [0, 0, 0], [0, 1, 0], [1, 0, 1]])


def test_numbers(corpus):
    rows = clips(4)
    for row, label in zip(rows, ["1.5", "2", "-3e1", "x"], strict=True):
        row["label"] = label
    manifest = Manifest.read(corpus(rows))
    assert manifest.kind == "number"
    assert manifest.classes == []
    np.testing.assert_array_equal(manifest.subset([0, 1, 2]).label_values(), [1.5, 2.0, -30.0])
    with pytest.raises(ManifestError, match=r"metadata\.csv:5: label is 'x'; it must be a number"):
        manifest.label_values()
    with pytest.raises(ManifestError, match="numbers, not classes"):
        manifest.label_indices()


def test_parts_of_files(corpus):
    rows = [
        {"file_name": "audio/long.wav", "label": "a", "start": 0.0, "stop": 0.25},
        {"file_name": "audio/long.wav", "label": "b", "start": 0.25, "stop": ""},
        {"file_name": "audio/other.wav", "label": "b", "start": "", "stop": ""},
    ]
    manifest = Manifest.read(corpus(rows, seconds=0.5))
    assert len(set(manifest.ids)) == 3
    np.testing.assert_allclose(manifest.durations, [0.25, 0.25, 0.5])
    whole, _ = io.read(manifest.paths[0])
    parts = np.concatenate([manifest.read_audio(row)[0] for row in (0, 1)])
    np.testing.assert_array_equal(parts, whole)
    resampled, rate = manifest.read_audio(0, 4000)
    assert (len(resampled), rate) == (1000, 4000)


def test_events_are_in_order_of_their_onsets(corpus):
    manifest = Manifest.read(
        corpus(
            clips(
                2,
                event_labels=lambda i: ["x;y", ""][i],
                event_onsets=lambda i: ["0.2;0.1", ""][i],
                event_offsets=lambda i: ["0.3;0.15", ""][i],
            )
        )
    )
    assert manifest.events(0) == [Event("y", 0.1, 0.15), Event("x", 0.2, 0.3)]
    assert manifest.events(1) == []


@pytest.mark.parametrize(
    ("lists", "message"),
    [
        (("a;b", "0.1", "0.2"), "2 event_labels, 1 event_onsets and 1 event_offsets"),
        (("a", "x", "0.2"), "event a lasts from 'x' to '0.2'"),
        (("a", "0.2", "0.2"), "0 <= onset < offset"),
        (("a", "-1", "0.2"), "0 <= onset < offset"),
    ],
)
def test_impossible_events_are_named(corpus, lists, message):
    names = ("event_labels", "event_onsets", "event_offsets")
    rows = clips(1, **{name: lambda i, value=value: value for name, value in zip(names, lists, strict=True)})
    with pytest.raises(ManifestError, match=f"metadata\\.csv:2: .*{message}"):
        Manifest.read(corpus(rows)).events(0)


def test_a_subset_keeps_its_lines(corpus):
    manifest = Manifest.read(corpus(clips()))
    excerpt = manifest.subset([5, 1])
    assert excerpt.ids == ["audio/5.wav", "audio/1.wav"]
    assert excerpt.where(0).endswith("metadata.csv:7")
    assert excerpt.subset(np.array([False, True])).ids == ["audio/1.wav"]


def test_lines_are_those_of_the_file(tmp_path):
    (tmp_path / "metadata.csv").write_text('file_name,label\na.wav,"first\nsecond"\n\nb.wav,x\n')
    manifest = Manifest.read(tmp_path)
    assert manifest.lines == (2, 5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no column file_name and no column label"),
        ("path,label\na.wav,x\n", "no column file_name; it has path, label"),
        ("file_name,class\na.wav,x\n", "no column label"),
        ("file_name,label\n", "the table has no rows"),
        ("file_name,label\na.wav,x\nb.wav,x,y\n", r"metadata\.csv:3: 3 values under 2 column names"),
        ("file_name,label,label\na.wav,x,y\n", "two columns are called label"),
        ('file_name,label\n"a.wav,x\n', r"metadata\.csv:2"),
    ],
)
def test_tables_that_cannot_be_used(tmp_path, text, message):
    (tmp_path / "metadata.csv").write_text(text)
    with pytest.raises(ManifestError, match=message):
        Manifest.read(tmp_path)


def test_a_table_in_another_encoding(tmp_path):
    (tmp_path / "metadata.csv").write_bytes("file_name,label\na.wav,Tür\n".encode("latin-1"))
    with pytest.raises(ManifestError, match="not UTF-8"):
        Manifest.read(tmp_path)


def test_a_byte_order_mark_is_no_part_of_a_name(tmp_path):
    (tmp_path / "metadata.csv").write_text("file_name,label\na.wav,x\n", encoding="utf-8-sig")
    assert list(Manifest.read(tmp_path).table) == ["file_name", "label"]


def test_no_table(tmp_path):
    with pytest.raises(ManifestError, match="no such table"):
        Manifest.read(tmp_path)


def test_the_same_clip_twice_has_no_name_of_its_own(corpus):
    with pytest.raises(ManifestError, match=r"metadata\.csv:4: audio/0\.wav stands on line 2 too"):
        _ = Manifest.read(corpus([*clips(2), clips(1)[0]])).ids


def test_groups_are_the_column_asked_for(corpus):
    root = corpus(clips(speaker=lambda i: i % 3, source_clip=lambda i: i))
    assert list(Manifest.read(root).table["group"]) == [str(i) for i in range(8)], "recordings by default"
    assert list(Manifest.read(root, group="speaker").table["group"]) == [str(i % 3) for i in range(8)]
    with pytest.raises(ManifestError, match="no column 'town' to group by"):
        Manifest.read(root, group="town")


def test_durations_of_a_missing_file(corpus):
    root = corpus(clips(2))
    (root / "audio/1.wav").unlink()
    with pytest.raises(AudioError, match=r"1\.wav: no such file"):
        _ = Manifest.read(root).durations


def test_the_hash_is_of_table_and_sound(corpus, tmp_path):
    root = corpus(clips())
    first = Manifest.read(root).content_hash()
    assert Manifest.read(root).content_hash() == first
    moved = tmp_path / "elsewhere"
    root.rename(moved)
    assert Manifest.read(moved).content_hash() == first, "where a corpus lies does not matter"
    io.write(moved / "audio/3.wav", np.full(2400, 0.25), RATE)
    changed = Manifest.read(moved).content_hash()
    assert changed != first
    table = (moved / "metadata.csv").read_text()
    (moved / "metadata.csv").write_text(table.replace("0.wav,a", "0.wav,b"))
    assert Manifest.read(moved).content_hash() not in (first, changed)


def test_an_edit_within_the_same_second_and_size_is_seen(corpus):
    root = corpus(clips())
    first = Manifest.read(root).content_hash()
    path = root / "audio/0.wav"
    status = path.stat()
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    assert Manifest.read(root).content_hash() != first


def test_nothing_is_written_into_the_corpus(corpus, cache):
    root = corpus(clips())
    before = sorted(root.rglob("*"))
    manifest = Manifest.read(root)
    audit(manifest)
    manifest.content_hash()
    assert sorted(root.rglob("*")) == before
    assert list(cache.rglob("*.json"))


def test_a_damaged_memory_is_only_slower(corpus, cache):
    root = corpus(clips())
    first = Manifest.read(root).content_hash()
    for memory in cache.rglob("*.json"):
        memory.write_text('{"version"')
    assert Manifest.read(root).content_hash() == first


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "kind", "classes"),
    [("esc10", "class", 10), ("sparse10", "multilabel", 8), ("emodb_rate", "number", 0), ("fsdd", "class", 10)],
)
def test_real_corpora_pass_the_check(data_root, name, kind, classes):
    manifest = Manifest.read(data_root / name)
    report = audit(manifest)
    assert report.passed, str(report)
    assert manifest.kind == kind
    assert len(manifest.classes) == classes
    assert len(manifest.durations) == len(manifest)
    if "duration" in manifest.table:
        np.testing.assert_allclose(manifest.durations, manifest.table["duration"].astype(float), atol=0.01)


@pytest.mark.data
def test_events_of_the_real_corpus_lie_in_its_clips(data_root):
    manifest = Manifest.read(data_root / "sparse10")
    events = [manifest.events(row) for row in range(len(manifest))]
    assert sum(map(len, events)) > 100
    for row, measured in enumerate(events):
        labels = {name for name in manifest.table["label"][row].split(";") if name != "none"}
        assert {event.label for event in measured} == labels
        assert all(0 <= event.onset < event.offset <= manifest.durations[row] for event in measured)
