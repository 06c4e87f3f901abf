"""Laws of lists of segments: what was written is read back, and other programs can read it too."""

import csv

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audioattn_lib.attention.record.record import AttentionRecord, FrameClock
from audioattn_lib.attention.record.segment_lists import (
    LAYOUTS,
    LabelledSegment,
    list_segments,
    read_segments,
    save_segments,
)
from audioattn_lib.core.errors import ConfigError

CLOCK = FrameClock(0.1)
ODD = [
    LabelledSegment("a", "dog bark", 0.1, 0.30000000000000004),
    LabelledSegment("a", "dog bark", 0.2, 12345.678901234567),  # overlaps the one before
    LabelledSegment("a", "two\ttabs\\t and a line\nof text\r", 1e-7, 1.0),
    LabelledSegment("a", "", 1.5, 1.5),
    LabelledSegment("a", "100 % <NA>; \"so\" 'said', é\u2028\u00a0", 2.0, 3.0),
    LabelledSegment("a", "<NA>", 2.0, 3.0),
    LabelledSegment("a", " in blanks ", 2.0, 3.0),
    LabelledSegment("a", "\\", 2.0, 3.0),
]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_nothing_is_lost(tmp_path, layout):
    path = save_segments(ODD, tmp_path / "new" / "list", layout)
    assert read_segments(path, layout, clip="a") == ODD
    path = save_segments([], tmp_path / "none", layout)
    assert read_segments(path, layout) == []


@pytest.mark.parametrize("layout", ["csv", "rttm"])
def test_clips_have_their_names(tmp_path, layout):
    segments = [each._replace(clip=name) for each, name in zip(ODD, ["x y/1.wav", "b", "\t", "<NA>"] * 2, strict=True)]
    assert read_segments(save_segments(segments, tmp_path / "list", layout), layout) == segments


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
times = st.floats(0, 1e6)


@settings(max_examples=60)
@given(st.lists(st.tuples(texts, times, times), max_size=4), st.sampled_from(LAYOUTS))
def test_nothing_is_lost_of_anything(tmp_path_factory, parts, layout):
    segments = [LabelledSegment("clip", label, min(a, b), max(a, b)) for label, a, b in parts]
    path = save_segments(segments, tmp_path_factory.mktemp("lists") / "list", layout)
    assert read_segments(path, layout, clip="clip") == segments


def test_the_lines_are_those_of_the_formats(tmp_path):
    segments = [LabelledSegment("a b.wav", "dog bark", 0.5, 1.25), LabelledSegment("a b.wav", "siren", 0.0001, 2.0)]
    assert (
        save_segments(segments, tmp_path / "a", "audacity").read_text() == "0.5\t1.25\tdog bark\n0.0001\t2.0\tsiren\n"
    )
    lines = save_segments(segments, tmp_path / "r", "rttm").read_text().splitlines()
    assert lines[0] == "SPEAKER a%20b.wav 1 0.5 0.75 <NA> <NA> dog%20bark <NA> <NA>"
    assert all(len(line.split()) == 10 for line in lines)
    rows = list(csv.DictReader(save_segments(segments, tmp_path / "c", "csv").read_text().splitlines()))
    assert rows[1] == {"clip": "a b.wav", "label": "siren", "start": "0.0001", "stop": "2.0"}


def test_lists_of_other_programs_are_read(tmp_path):
    path = tmp_path / "list"
    path.write_text("SPKR-INFO a 1 <NA> <NA> <NA> unknown x <NA>\nSPEAKER a 1  0.50 1.5 <NA> <NA> x <NA>\n\n")
    assert read_segments(path, "rttm") == [LabelledSegment("a", "x", 0.5, 2.0)]
    path.write_bytes(b"0.5\t1.0\thorn\r\n\\\t100.0\t2000.0\r\n1.0\t1.0\r\n")
    assert read_segments(path, "audacity", clip="a") == [
        LabelledSegment("a", "horn", 0.5, 1.0),
        LabelledSegment("a", "", 1.0, 1.0),
    ]
    path.write_text("label,stop,start,clip,more\nx,2,1,a,?\n")
    assert read_segments(path, "csv") == [LabelledSegment("a", "x", 1.0, 2.0)]


def record(**fields):
    return AttentionRecord("playback", CLOCK, ("one", "two"), np.array([10, 10]), **fields)


SEGMENTS = np.array([[[0.6, 0.8], [0.1, 0.2]], [[0.3, 0.4], [np.nan, np.nan]]])


def test_replayed_segments_keep_their_order():
    numbered = list_segments(record(segments=SEGMENTS))
    assert numbered == [
        LabelledSegment("one", "playback 1", 0.6, 0.8),
        LabelledSegment("one", "playback 2", 0.1, 0.2),
        LabelledSegment("two", "playback 1", 0.3, 0.4),
    ]
    classes = list_segments(record(segments=SEGMENTS), [["dog", "siren"], []])
    assert [each[:3] for each in classes] == [
        ("one", "dog", 0.6),
        ("one", "dog", 0.1),
        ("one", "siren", 0.6),
        ("one", "siren", 0.1),
        ("two", "", 0.3),
    ]


def test_of_other_attention_the_support_is_listed():
    weights = np.zeros((2, 1, 10))
    weights[:, 0, [2, 3, 7]] = 1 / 3
    segments = list_segments(record(weights=weights), [["dog"], ["cat"]])
    assert [(each.clip, each.label) for each in segments] == [("one", "dog")] * 2 + [("two", "cat")] * 2
    np.testing.assert_allclose([each[2:] for each in segments[:2]], [[0.2, 0.4], [0.7, 0.8]])


def test_what_cannot_be_listed_or_written(tmp_path):
    with pytest.raises(ValueError, match="ask the model for it with record=True"):
        list_segments(AttentionRecord.empty())
    with pytest.raises(ValueError, match="labels has 1 entries for a record of 2 clips"):
        list_segments(record(segments=SEGMENTS), [["dog"]])
    two = [LabelledSegment("a", "x", 0, 1), LabelledSegment("b", "x", 0, 1)]
    with pytest.raises(ConfigError, match="a label track is of one clip, and there are 2: a, b"):
        save_segments(two, tmp_path / "list", "audacity")
    for start, stop in ((1.0, 0.5), (float("nan"), 1.0), (0.0, float("inf"))):
        with pytest.raises(ConfigError, match="a: a segment of 'x' from .*; start <= stop is needed"):
            save_segments([LabelledSegment("a", "x", start, stop)], tmp_path / "list", "csv")
    for use in (lambda: save_segments(two, tmp_path / "list", "elan"), lambda: read_segments("list", "elan")):
        with pytest.raises(ConfigError, match="layout is 'elan'; it must be one of csv, rttm, audacity"):
            use()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("layout", "text", "message"),
    [
        ("csv", "clip,label,start\n", "list:1: no column stop; it must have clip, label, start, stop"),
        ("csv", "clip,label,start,stop\na,x,now,1\n", "list:2: now and 1 are no times in seconds"),
        ("rttm", "SPEAKER a 1 0.5\n", "list:1: 4 columns; SPEAKER clip 1 start duration"),
        ("rttm", "SPEAKER a 1 x 1 <NA> <NA> b <NA>\n", "list:1: x and 1 are no start and duration"),
        ("audacity", "0.5\n", "list:1: '0.5' is no label"),
        ("audacity", "0\tx\ta\n", "list:1: 0 and x are no times"),
    ],
)
def test_bad_lines_are_named(tmp_path, layout, text, message):
    (tmp_path / "list").write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_segments(tmp_path / "list", layout)
    with pytest.raises(ConfigError, match="no such list of segments"):
        read_segments(tmp_path / "none", layout)
