"""Long recordings: windows cover everything once read, and the timeline is that of their answers."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import audioattn_lib
from audioattn_lib.audio import io
from audioattn_lib.core.errors import AudioError, ConfigError
from audioattn_lib.experiments import EXPERIMENTS
from audioattn_lib.inference.windows import ValueTimeline, cut_windows, find_intervals


@given(
    total=st.integers(2, 400),
    grain=st.integers(1, 7),
    grains=st.integers(1, 10),
    longer=st.integers(0, 30),
    cuts=st.lists(st.integers(0, 400), max_size=5),
)
def test_windows_cover_all_samples_however_these_come(total, grain, grains, longer, cuts):
    samples = np.arange(total, dtype=np.float32)
    hop = grain * grains
    length = hop + longer
    blocks = np.split(samples, sorted(cut for cut in cuts if cut < total))
    windows = list(cut_windows(blocks, length, hop, grain))
    covered = np.zeros(total, dtype=bool)
    for start, window in windows:
        np.testing.assert_array_equal(window, samples[start : start + len(window)])
        assert start % grain == 0
        covered[start : start + len(window)] = True
        assert len(window) > min(length, total) - grain
    assert covered.all()
    assert [start for start, _ in windows] == sorted({start for start, _ in windows})


@given(duration=st.floats(0.5, 20), step=st.floats(0.1, 1), windows=st.integers(1, 4))
def test_windows_of_one_answer_give_that_answer_at_all_times(duration, step, windows):
    timeline = ValueTimeline(step, 2)
    length = step * windows
    for start in np.arange(0, max(duration - length, 0) + step, step):
        timeline.add(start, start + length, np.array([0.25, 0.75]))
    edges, values = timeline.values(duration)
    assert edges[0] == 0
    assert edges[-1] == duration
    np.testing.assert_allclose(values, [[0.25, 0.75]] * len(values))


def test_intervals_are_the_steps_above_the_threshold():
    edges = np.array([0.0, 1.0, 2.0, 3.0, 3.5])
    assert find_intervals(edges, np.array([0.6, 0.4, 0.5, 0.9]), 0.5) == [(0.0, 1.0), (2.0, 3.5)]
    assert find_intervals(edges, np.zeros(4), 0.5) == []


@pytest.fixture(scope="module")
def model(runs):
    return audioattn_lib.load(runs("urban_sound").path)


@pytest.fixture(scope="module")
def clips(runs, files_of):
    files = list(files_of("urban_sound", runs("urban_sound")).values())[:4]
    return [io.read(path, 16000)[0][:32000] for path in files]


def test_windows_without_overlap_answer_as_the_clips_that_they_are(model, clips):
    alone = [model.listen(clip, 16000) for clip in clips]
    heard = model.listen(np.concatenate(clips), 16000, overlap=0)
    assert heard.timeline["stop"].tolist() == [2, 4, 6, 8]
    result = heard.timeline[list(model.classes)].to_numpy()
    np.testing.assert_allclose(result, [list(each.prediction.probabilities.values()) for each in alone], atol=1e-5)
    mean = np.mean(result, axis=0)
    np.testing.assert_allclose(list(heard.prediction.probabilities.values()), mean, atol=1e-6)
    share = heard.record.frame_attention()
    assert share.sum() == pytest.approx(1)
    for row, each in enumerate(alone):  # frames on a border belong to two windows
        excerpt = share[row * 200 + 1 : (row + 1) * 200]
        expected = each.record.frame_attention()[1:200]
        np.testing.assert_allclose(excerpt / excerpt.sum(), expected / expected.sum(), atol=1e-5)


def test_a_file_and_its_samples_are_heard_alike_in_any_format(model, clips, tmp_path):
    sound = np.concatenate(clips)
    expected = model.listen(sound, 16000)
    stereo = np.stack([sound, sound], axis=1)
    for name, samples, rate in (("a.wav", sound, 16000), ("b.flac", stereo, 16000)):
        io.write(tmp_path / name, samples, rate)
        heard = model.listen(tmp_path / name)
        np.testing.assert_allclose(
            heard.timeline[list(model.classes)], expected.timeline[list(model.classes)], atol=2e-3
        )
        np.testing.assert_allclose(heard.sound, sound, atol=1e-4)
    io.write(tmp_path / "c.wav", np.repeat(sound, 2), 32000)
    assert model.listen(tmp_path / "c.wav").timeline["stop"].iloc[-1] == pytest.approx(8, abs=1e-3)


def test_progress_is_told_and_a_class_is_an_event_where_it_is_probable(model, clips):
    told = []
    heard = model.listen(np.concatenate(clips * 12), 16000, progress=lambda done, total: told.append((done, total)))
    assert len(told) > 1
    assert told[-1] == (96, 96)
    for event in heard.events:
        inside = (heard.timeline["start"] >= event.start) & (heard.timeline["stop"] <= event.stop)
        assert (heard.timeline.loc[inside, event.label] >= 0.5).all()
    assert heard.record.sound() == (0.0, 96.0)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_chapter_hears_what_is_longer_than_its_clips(name, runs):
    model = audioattn_lib.load(runs(name).path)
    seconds = 2.6 * model.description.clip_seconds
    sound = np.random.default_rng(0).normal(0, 0.1, round(seconds * model.sample_rate))
    heard = model.listen(sound, model.sample_rate)
    start, stop = heard.record.span()
    period = heard.record.clock.period
    assert -period <= start <= period
    assert stop == pytest.approx(seconds, abs=max(2.5 * period, 0.1))
    assert heard.record.frame_attention().sum() == pytest.approx(1)
    assert heard.timeline["stop"].iloc[-1] == pytest.approx(seconds, abs=1e-3)
    assert heard.embedding is not None
    if model.classes:
        assert sum(heard.prediction.probabilities.values()) == pytest.approx(1, abs=1e-5) or name == "playback"
    else:
        assert heard.prediction.score == pytest.approx(np.average(heard.timeline["score"]), abs=1)


def test_windows_that_cannot_be_are_named(model, clips):
    with pytest.raises(ConfigError, match="window is 0"):
        model.listen(clips[0], 16000, window=0)
    with pytest.raises(ConfigError, match=r"overlap is 1; it must be in \[0, 0.9\]"):
        model.listen(clips[0], 16000, overlap=1)
    assert len(model.listen(np.concatenate(clips), 16000, window=math.inf).timeline) == 1


def test_a_recording_that_breaks_off_is_named_and_the_others_are_heard(model, clips, tmp_path):
    io.write(tmp_path / "long.wav", np.concatenate(clips), 16000)
    content = (tmp_path / "long.wav").read_bytes()
    (tmp_path / "cut.wav").write_bytes(content[: len(content) // 2])
    errors = []
    sounds = [tmp_path / "cut.wav", tmp_path / "long.wav"]
    heard = list(model.stream(sounds, on_error=lambda name, error: errors.append((name, error))))
    assert [each.name for each in heard] == [str(tmp_path / "long.wav")]
    assert errors[0][0] == str(tmp_path / "cut.wav")
    assert isinstance(errors[0][1], AudioError)
