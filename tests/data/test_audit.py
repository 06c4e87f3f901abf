"""The check finds what makes a result wrong, with file and line, and says what to leave out."""

import numpy as np
import pytest
import soundfile
from small_corpora import RATE, clips, noise, write_table

from audioattn_lib.audio import io
from audioattn_lib.core.errors import ManifestError
from audioattn_lib.data import inspection
from audioattn_lib.data.audit import audit
from audioattn_lib.data.manifest import Manifest


def kinds(report) -> set[str]:
    return {problem.kind for problem in report.problems}


def only(report, kind):
    results = [problem for problem in report.problems if problem.kind == kind]
    assert len(results) == 1, str(report)
    return results[0]


def test_a_good_corpus_passes(corpus):
    report = audit(Manifest.read(corpus(clips())), sample_rate=RATE)
    assert report.passed
    assert not report.problems
    assert "nothing found" in str(report)
    report.raise_if_failed()
    assert len(report.skippable) == 8


BAD_SOUND = {
    "missing": (lambda path: path.unlink(), "missing file", "no such file"),
    "empty": (lambda path: path.write_bytes(b""), "unusable sound", "empty"),
    "text": (lambda path: path.write_text("no sound"), "unusable sound", "not a readable sound file"),
    "no samples": (lambda path: soundfile.write(path, np.zeros(0), RATE), "unusable sound", "0 samples"),
    "one sample": (lambda path: soundfile.write(path, np.zeros(1), RATE), "unusable sound", "1 sample"),
    "nan": (lambda path: soundfile.write(path, np.full(100, np.nan), RATE, subtype="FLOAT"), "unusable sound", "NaN"),
}


@pytest.mark.parametrize("name", BAD_SOUND)
def test_sound_that_cannot_be_used(corpus, name):
    spoil, kind, message = BAD_SOUND[name]
    root = corpus(clips())
    spoil(root / "audio/5.wav")
    report = audit(Manifest.read(root))
    problem = only(report, kind)
    assert not report.passed
    assert problem.row == 5
    assert "metadata.csv:7" in problem.message
    assert "5.wav" in problem.message
    assert message in problem.message
    with pytest.raises(ManifestError, match=r"(?s)1 error.*metadata\.csv:7"):
        report.raise_if_failed()
    assert report.skipped == (5,)
    assert len(report.skippable) == 7
    assert audit(report.skippable).passed


def test_a_wrong_rate_is_an_error_only_where_one_is_expected(corpus):
    root = corpus(clips())
    io.write(root / "audio/2.wav", noise(99, rate=11_025), 11_025)
    manifest = Manifest.read(root)
    assert only(audit(manifest, sample_rate=RATE), "wrong rate").row == 2
    assert "11025 Hz; it must be 8000 Hz" in only(audit(manifest, sample_rate=RATE), "wrong rate").message
    relaxed = audit(manifest)
    assert relaxed.passed
    assert "8000 Hz (7), 11025 Hz (1)" in only(relaxed, "several rates").message


def test_channels_and_silence_are_warnings(corpus):
    root = corpus(clips())
    io.write(root / "audio/1.wav", np.stack([noise(50), noise(51)], axis=1), RATE)
    io.write(root / "audio/2.wav", np.zeros(500), RATE)
    report = audit(Manifest.read(root))
    assert report.passed
    assert kinds(report) == {"several channels", "silence"}


def test_the_same_sound_across_folds_is_an_error(corpus):
    """Also in another container: it is the samples that count."""
    rows = clips()
    rows[2]["file_name"] = "audio/2.flac"
    root = corpus(rows)
    samples, _ = io.read(root / "audio/0.wav")
    io.write(root / "audio/2.flac", samples, RATE)
    report = audit(Manifest.read(root))
    problem = only(report, "same sound across folds")
    assert problem.row == 2
    assert "audio/0.wav on line 2" in problem.message
    assert audit(report.skippable).passed


def test_the_same_sound_within_a_fold_is_a_warning(corpus):
    rows = clips()
    rows[4]["label"] = "a"
    root = corpus(rows)
    (root / "audio/4.wav").write_bytes((root / "audio/0.wav").read_bytes())
    report = audit(Manifest.read(root))
    assert report.passed
    assert only(report, "same sound twice").rows == (4,)
    (root / "audio/5.wav").write_bytes((root / "audio/0.wav").read_bytes())
    assert "labelled a and b" in only(audit(Manifest.read(root)), "same sound, other label").message


def test_two_parts_of_one_file_are_two_sounds(corpus):
    rows = [
        {"file_name": "long.wav", "label": "a", "start": 0.0, "stop": 0.1},
        {"file_name": "long.wav", "label": "b", "start": 0.1, "stop": 0.2},
    ]
    assert not audit(Manifest.read(corpus(rows))).problems


def test_a_row_twice(corpus):
    report = audit(Manifest.read(corpus([*clips(), clips(1)[0]])))
    assert only(report, "repeated row").row == 8
    assert audit(report.skippable).passed


@pytest.mark.parametrize("column", ["fold", "split"])
def test_groups_across_splits(corpus, column):
    rows = clips(group=lambda i: f"g{i // 2}")
    for row in rows:
        row[column] = row.pop("fold")
    rows[1]["group"] = "g1"  # and rows 2, 3 of the other fold are g1 too
    report = audit(Manifest.read(corpus(rows)))
    problem = only(report, f"group across {column}s")
    assert "group g1" in problem.message
    assert problem.rows == (1,), "the smaller side is what to leave out"
    assert audit(report.skippable).passed


def test_speakers_are_groups_where_asked_for(corpus):
    manifest = Manifest.read(corpus(clips(speaker=lambda i: i % 2)))
    report = audit(manifest)
    assert report.passed
    assert "2 of 2 speakers" in only(report, "speaker across folds").message
    assert "group across folds" in kinds(audit(manifest, group="speaker"))


def test_a_class_that_a_fold_lacks(corpus):
    rows = clips()
    for row in rows:
        if row["fold"] == 2:
            row["label"] = "a"
    report = audit(Manifest.read(corpus(rows)))
    assert report.passed
    assert "fold 2 has no clip of b" in only(report, "class absent").message


@pytest.mark.parametrize("column", ["label", "fold", "group", "file_name"])
def test_values_that_are_not_there(corpus, column):
    rows = clips(group=lambda i: i)
    rows[3][column] = ""
    report = audit(Manifest.read(corpus(rows)))
    assert 3 in report.skipped
    assert f"metadata.csv:5: {column} is empty" in str(report)


def test_values_that_are_no_numbers(corpus):
    rows = clips(duration=lambda i: 0.3)
    rows[1]["duration"] = "long"
    for i, row in enumerate(rows):
        row["label"] = i + 0.5
    rows[6]["label"] = "loud"
    report = audit(Manifest.read(corpus(rows)))
    assert report.skipped == (1, 6)
    assert "metadata.csv:3: duration is 'long'" in str(report)
    assert "metadata.csv:8: label is 'loud'" in str(report)


def test_durations_that_are_not_true(corpus):
    rows = clips(duration=lambda i: 0.3)
    rows[1]["duration"] = 4.0
    report = audit(Manifest.read(corpus(rows)))
    assert report.passed
    assert "duration is 4 s, but the clip lasts 0.3 s" in only(report, "wrong duration").message


def test_parts_and_events_outside(corpus):
    rows = clips(
        start=lambda i: 0.1 if i == 3 else 5.0 if i == 4 else "",
        stop=lambda i: 0.05 if i == 3 else 0.2 if i == 5 else 9.0 if i == 6 else "",
        event_labels=lambda i: "x",
        event_onsets=lambda i: 0.0 if i else 0.1,
        event_offsets=lambda i: 0.15 if i else 2.0,
    )
    rows[7]["event_labels"] = "x;y"
    report = audit(Manifest.read(corpus(rows)))
    assert only(report, "event outside of clip").row == 0
    assert only(report, "impossible part").row == 3
    assert {p.row for p in report.problems if p.kind == "part outside of file"} == {4, 6}
    assert only(report, "impossible event").row == 7
    assert audit(report.skippable).passed


def test_half_of_the_event_columns(corpus):
    report = audit(Manifest.read(corpus(clips(event_labels=lambda i: "x"))))
    problem = only(report, "missing column")
    assert "no event_onsets and event_offsets" in problem.message
    with pytest.raises(ManifestError, match="leaving rows out does not help"):
        _ = report.skippable


def test_nothing_left_is_an_error(corpus):
    root = corpus(clips())
    for path in (root / "audio").iterdir():
        path.write_bytes(b"")
    with pytest.raises(ManifestError, match="every clip has an error"):
        _ = audit(Manifest.read(root)).skippable


def test_a_report_shows_some_of_many(corpus):
    root = corpus(clips(30))
    for path in (root / "audio").iterdir():
        path.unlink()
    text = str(audit(Manifest.read(root)))
    assert "missing file (30)" in text
    assert "... and 22 more" in text
    assert len(text.splitlines()) < 20


def test_the_second_check_reads_no_sound(corpus, monkeypatch):
    root = corpus(clips())
    first = audit(Manifest.read(root))
    monkeypatch.setattr(inspection, "_inspect", lambda path: pytest.fail(f"{path} was read again"))
    assert audit(Manifest.read(root)).problems == first.problems


def test_a_mended_file_is_seen(corpus):
    root = corpus(clips())
    (root / "audio/0.wav").write_bytes(b"")
    assert not audit(Manifest.read(root)).passed
    io.write(root / "audio/0.wav", noise(77), RATE)
    assert audit(Manifest.read(root)).passed


def test_a_file_of_many_clips_is_read_once(tmp_path, monkeypatch):
    io.write(tmp_path / "long.wav", noise(0, 5001 * 0.01), RATE)
    rows = [
        {"file_name": "long.wav", "label": "ab"[i % 2], "start": f"{i / 100:.2f}", "stop": f"{(i + 1) / 100:.2f}"}
        for i in range(5000)
    ]
    manifest = Manifest.read(write_table(tmp_path / "metadata.csv", rows))
    read = []
    monkeypatch.setattr(
        inspection, "_inspect", lambda path, inspect=inspection._inspect: read.append(path) or inspect(path)
    )
    assert audit(manifest).passed
    assert len(set(manifest.ids)) == 5000
    assert read == [tmp_path / "long.wav"]
