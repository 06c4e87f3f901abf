"""Synthetic needles: nothing but the rate tells classes apart, and no frame every 40 ms tells the rate."""

import itertools

import numpy as np
import pytest
import torch

from audioattn_lib.audio.features.log_mel import LogMel
from audioattn_lib.core.errors import ConfigError
from audioattn_lib.data import corpora
from audioattn_lib.data.audit import audit
from audioattn_lib.data.synthetic.acoustics import RATE
from audioattn_lib.data.synthetic.needles import CLASSES, NeedlesOptions, compose, flutter, generate

SMALL = {"clips_per_class": 5, "duration": 4.0}


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    return corpora.load("needles", cache=tmp_path_factory.mktemp("needles"), **SMALL)


@pytest.fixture(scope="module")
def clips():
    return list(compose(NeedlesOptions(**SMALL)))


def test_it_passes_its_own_check_and_labels_are_the_events(manifest):
    report = audit(manifest, sample_rate=RATE, group="group")
    assert not report.problems, str(report)
    assert manifest.kind == "multilabel"
    assert manifest.classes == list(CLASSES)
    for row, targets in enumerate(manifest.label_indices()):
        events = manifest.events(row)
        assert {event[0] for event in events} == {name for name, on in zip(CLASSES, targets, strict=True) if on}
        assert all(0.05 <= onset < offset <= 4.0 for _, onset, offset in events)


def test_splits_share_no_background_and_have_every_class(manifest):
    table = manifest.table
    assert (table.groupby("group")["split"].nunique() == 1).all()
    for _, rows in table.groupby("split"):
        assert {piece for label in rows["label"] for piece in label.split(";")} == set(CLASSES)


def test_events_are_as_loud_as_asked_and_meet_nothing(clips):
    for clip in clips:
        assert np.abs(clip.samples).max() <= 0.91
        assert -45 < 20 * np.log10(clip.samples.std()) < -12
        spans = sorted(event[1:] for event in (*clip.events, *clip.distractors))
        assert all(b[0] - a[1] > 0.09 for a, b in itertools.pairwise(spans))


def envelopes(rate, hop, number=24, seconds=1.0):
    """Spectrum of the fluttering power of many events, as frames every ``hop`` seconds show it."""
    rng = np.random.default_rng(7)
    sounds = np.stack([flutter(rate, rng, seconds) for _ in range(number)])
    front = LogMel(RATE, n_fft=256, win_length=160, hop_length=round(hop * RATE), n_mels=20, top_db=None)
    frames = 10 ** (front(torch.from_numpy(sounds).float())[0].numpy() / 10)
    power = frames.sum(axis=2)[:, 2:-2]
    power = power / power.mean(axis=1, keepdims=True) - 1
    times = np.arange(power.shape[1]) * hop
    frequencies = np.arange(1.0, 0.5 / hop)
    return frequencies, (np.abs(power @ np.exp(-2j * np.pi * times[:, None] * frequencies)) ** 2).mean(axis=0)


@pytest.mark.parametrize(
    ("hop", "seen"),
    [(0.04, (6, 6, 6, 6)), (0.02, (19, 19, 6, 6)), (0.01, (19, 31, 44, 44))],
)
def test_rates_appear_as_the_table_says(hop, seen):
    peaks, heights = [], []
    for rate in CLASSES.values():
        frequencies, power = envelopes(rate, hop)
        peaks.append(frequencies[power.argmax()])
        heights.append(power.max())
    assert np.abs(np.array(peaks) - seen).max() <= 1
    assert max(heights) < 1.6 * min(heights)  # the depth tells nothing either


def test_level_and_length_do_not_tell_the_class():
    rng = np.random.default_rng(0)
    levels = [[flutter(rate, rng, 0.6).std() for _ in range(30)] for rate in CLASSES.values()]
    assert np.ptp([np.mean(each) for each in levels]) < 0.05


def test_the_same_options_give_the_same_files(manifest, tmp_path):
    again = generate(NeedlesOptions(**SMALL), tmp_path, progress=False)
    assert again.name == manifest.root.name
    for path in again.rglob("*.*"):
        assert path.read_bytes() == (manifest.root / path.relative_to(again)).read_bytes()


def test_another_seed_makes_other_clips(clips):
    other = next(compose(NeedlesOptions(**SMALL, seed=1)))
    assert not np.array_equal(other.samples, clips[0].samples)


def test_more_clips_leave_the_others_as_they_were(clips):
    more = next(compose(NeedlesOptions(**{**SMALL, "clips_per_class": 6})))
    np.testing.assert_array_equal(more.samples, clips[0].samples)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"clips_per_class": 4}, "clips_per_class is 4; it must be at least 5"),
        ({"duration": 3}, "duration is 3; it must be between 4 and 60 seconds"),
        ({"events": (0, 2)}, r"events is \(0, 2\); it must be two whole numbers, the lower first, within 1 to 6"),
        ({"events": (1, 1.5)}, r"events is \(1.0, 1.5\); it must be two whole numbers"),
        ({"snr": 3.0}, "snr is 3.0"),
        ({"clips": 3}, "needles has no option clips; it has clips_per_class"),
    ],
)
def test_impossible_options_are_named(options, message):
    with pytest.raises(ConfigError, match=message):
        corpora.load("needles", **options)
