"""Words are where the cross attention of a decoder follows them."""

import numpy as np
import pytest
import torch

from audioattn_lib.attention.record.record import FrameClock
from audioattn_lib.attention.record.segment_lists import list_segments
from audioattn_lib.core.errors import ConfigError
from audioattn_lib.display.plots.regression import plot_alignment
from audioattn_lib.display.show import show
from audioattn_lib.inspection.alignment import _warp, align_record, align_words

WORDS = ("the", "dog", "barks", "twice")
STARTS = (0, 12, 40, 55)


def cross_attention(frames=80, noise=0.2, sharp=2):
    """Two heads that follow four words, and two that follow nothing."""
    generator = torch.Generator().manual_seed(0)
    scores = noise * torch.randn(4, 4, frames, generator=generator)
    for word, (start, stop) in enumerate(zip(STARTS, (*STARTS[1:], 75), strict=True)):
        scores[:2, word, start:stop] += sharp
    return scores.softmax(-1)


@pytest.mark.parametrize("heads", [None, [0, 1]])
def test_words_begin_where_attention_moves_to_them(heads):
    weights = cross_attention()
    words = align_words(weights, WORDS, FrameClock(0.02), heads=heads)
    assert [word for *_, word in words] == list(WORDS)
    assert [start for start, *_ in words] == pytest.approx([0.02 * start for start in STARTS], abs=0.041)
    assert [stop for _, stop, _ in words[:-1]] == [start for start, *_ in words[1:]]
    two = align_words([weights[:2], weights[2:]], WORDS, FrameClock(0.02), heads=heads)
    assert two == words


def test_the_path_is_the_best_of_all():
    """Against all paths of small arrays, one step after the other."""

    def best(gain, word, frame):
        if (word, frame) == (0, 0):
            return gain[0, 0]
        steps = [(word - i, frame - j) for i, j in ((1, 1), (1, 0), (0, 1)) if word >= i and frame >= j]
        return gain[word, frame] + max(best(gain, *step) for step in steps)

    def along(gain, starts):
        """Greatest sum of a path that enters each row at its start, from the frame before or the same."""
        total, words = 0.0, len(starts)
        for word in range(words):
            start, after = starts[word], starts[word + 1] if word + 1 < words else gain.shape[1]
            row = np.cumsum(gain[word, start:])
            ends = [after - 1] if word + 1 == words else [end for end in (after - 1, after) if end >= start]
            total += max(row[end - start] for end in ends)
        return total

    generator = np.random.default_rng(0)
    for shape in ((1, 4), (2, 5), (3, 6), (4, 3), (5, 2)):
        for _ in range(5):
            gain = generator.standard_normal(shape)
            starts = _warp(gain)
            assert starts[0] == 0
            assert (np.diff(starts) >= 0).all()
            assert along(gain, starts) == pytest.approx(best(gain, shape[0] - 1, shape[1] - 1))


def test_what_is_behind_the_sound_is_left_out():
    weights = torch.cat([0.1 * cross_attention(), 5 * torch.ones(4, 4, 20) / 20], -1)
    words = align_words(weights, WORDS, FrameClock(0.02), heads=[0, 1], duration=1.5)
    assert words[-1][1] == 1.5
    assert [start for start, *_ in words] == pytest.approx([0.02 * start for start in STARTS], abs=0.041)
    page = show(np.full(24000, 0.1), 16000, labels=words).html()
    assert all(word in page for word in WORDS)


def test_a_record_holds_the_words_of_its_rows_and_their_times():
    weights = cross_attention()
    record = align_record(weights, WORDS, FrameClock(0.02), heads=[0, 1], duration=1.5)
    words = align_words(weights, WORDS, FrameClock(0.02), heads=[0, 1], duration=1.5)
    assert record.rows == (WORDS,)
    assert [(each.start, each.stop, each.label) for each in list_segments(record)] == words
    np.testing.assert_allclose(record.alignment.sum(-1), 1)
    for (start, stop), row in zip(record.segments[0], record.alignment[0], strict=True):
        assert start - 0.05 <= record.frame_times()[row.argmax()] <= stop + 0.05
    page = show(np.full(24000, 0.1), 16000, labels=record).html()
    assert all(word in page for word in WORDS)
    drawn = plot_alignment(record)
    assert "barks at" in drawn.alt


def test_more_words_than_frames_and_one_word():
    assert len(align_words(torch.full((1, 5, 2), 0.5), "abcde", FrameClock(1.0))) == 5
    assert align_words(torch.full((1, 1, 4), 0.25), ["all"], FrameClock(0.5)) == [(0.0, 2.0, "all")]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"words": WORDS[:3]}, "3 words for 4 rows"),
        ({"median": 4}, "must be odd"),
        ({"heads": [4]}, "some of 0 to 3"),
        ({"heads": []}, "some of 0 to 3"),
        ({"duration": 0.001}, "first frame is centred"),
        ({"weights": torch.ones(4, 80)}, "give \\(heads, words, frames\\)"),
    ],
)
def test_what_does_not_fit_is_named(options, says):
    given = {"weights": cross_attention(), "words": WORDS, "clock": FrameClock(0.02)} | options
    with pytest.raises(ConfigError, match=says):
        align_words(given.pop("weights"), given.pop("words"), given.pop("clock"), **given)
