"""Sound goes out and comes back; what is no sound is an error that names the file."""

import numpy as np
import pytest
import soundfile

from audioattn_lib.audio import io
from audioattn_lib.core.errors import AudioError


@pytest.fixture
def tone() -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * 440 * np.arange(16_000) / 16_000)).astype(np.float32)


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".aiff"])
def test_what_is_written_is_read(tmp_path, tone, suffix):
    path = tmp_path / "deep" / f"tone{suffix}"
    io.write(path, tone, 16_000)
    samples, rate = io.read(path)
    assert rate == 16_000
    assert samples.dtype == np.float32
    assert samples.shape == tone.shape
    assert np.abs(samples - tone).max() <= 1 / 32768
    assert io.info(path).duration == 1.0
    assert [p.name for p in path.parent.iterdir()] == [path.name], "nothing is left beside the file"


@pytest.mark.parametrize("suffix", [".ogg", ".mp3"])
def test_lossy_formats_keep_length_and_level(tmp_path, tone, suffix):
    path = tmp_path / f"tone{suffix}"
    io.write(path, tone, 16_000)
    samples, _ = io.read(path)
    assert abs(len(samples) - len(tone)) <= 2304
    assert samples.std() == pytest.approx(tone.std(), rel=0.05)


def test_channels_are_averaged_or_kept(tmp_path, tone):
    path = tmp_path / "stereo.wav"
    io.write(path, np.stack([tone, 0 * tone], axis=1), 16_000)
    assert io.info(path).channels == 2
    mixed, _ = io.read(path)
    both, _ = io.read(path, mono=False)
    np.testing.assert_allclose(mixed, tone / 2, atol=1e-4)
    assert both.shape == (16_000, 2)


@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100])
def test_resampling_keeps_the_tone(tmp_path, tone, rate):
    path = tmp_path / "tone.wav"
    io.write(path, tone, 16_000)
    samples, given = io.read(path, rate)
    assert given == rate
    assert len(samples) == pytest.approx(rate, abs=1)
    inside = slice(rate // 10, -rate // 10)
    truth = 0.5 * np.sin(2 * np.pi * 440 * np.arange(len(samples)) / rate)
    np.testing.assert_allclose(samples[inside], truth[inside], atol=2e-3)


def test_a_part_is_the_part_of_the_whole(tmp_path, tone):
    path = tmp_path / "tone.flac"
    io.write(path, tone, 16_000)
    whole, _ = io.read(path)
    samples, _ = io.read(path, start=0.25, stop=0.5)
    np.testing.assert_array_equal(samples, whole[4000:8000])
    # Tables round: 1.0004 s of a sound of 1 s is its end.
    np.testing.assert_array_equal(io.read(path, start=0.5, stop=1.0004)[0], whole[8000:])


@pytest.mark.parametrize(("start", "stop"), [(2.0, None), (0.5, 0.5), (0.5, 0.2), (-1.0, 0.5), (0.0, 1.5)])
def test_a_part_outside_is_an_error(tmp_path, tone, start, stop):
    path = tmp_path / "tone.wav"
    io.write(path, tone, 16_000)
    with pytest.raises(AudioError, match=r"tone\.wav.*lasts 1 s"):
        io.read(path, start=start, stop=stop)


def make_bad(kind: str, path) -> None:
    if kind == "empty":
        path.write_bytes(b"")
    elif kind == "text":
        path.write_text("file_name,label\n")
    elif kind == "cut":
        soundfile.write(path, np.zeros(1000), 16_000)
        path.write_bytes(path.read_bytes()[:20])
    elif kind == "no samples":
        soundfile.write(path, np.zeros(0), 16_000)
    elif kind == "one sample":
        soundfile.write(path, np.zeros(1), 16_000)
    elif kind in ("nan", "infinite"):
        samples = np.zeros(1000, dtype=np.float32)
        samples[[3, 7]] = np.nan if kind == "nan" else np.inf
        soundfile.write(path, samples, 16_000, subtype="FLOAT")


BAD = {
    "missing": "no such file",
    "empty": r"empty \(0 bytes\)",
    "text": "not a readable sound file",
    "cut": "not a readable sound file|0 samples",
    "no samples": "has 0 samples; a sound needs at least 2",
    "one sample": "has 1 sample; a sound needs at least 2",
    "nan": "2 of 1000 samples are NaN or infinite",
    "infinite": "2 of 1000 samples are NaN or infinite",
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_sound_is_an_error_that_names_the_file(tmp_path, kind):
    path = tmp_path / "bad.wav"
    make_bad(kind, path)
    with pytest.raises(AudioError, match=f"(?s)bad\\.wav.*({BAD[kind]})"):
        io.read(path)


@pytest.mark.parametrize("kind", ["missing", "empty", "text", "no samples", "one sample"])
def test_the_header_alone_tells_of_files_without_sound(tmp_path, kind):
    path = tmp_path / "bad.wav"
    make_bad(kind, path)
    with pytest.raises(AudioError, match=r"bad\.wav"):
        io.info(path)


def test_a_sound_that_resampling_leaves_nothing_of_is_an_error(tmp_path):
    path = tmp_path / "short.wav"
    soundfile.write(path, np.zeros(3), 48_000)
    with pytest.raises(AudioError, match=r"short\.wav"):
        io.read(path, 8_000)


def test_a_folder_is_no_sound(tmp_path):
    with pytest.raises(AudioError, match="is a folder"):
        io.read(tmp_path)


@pytest.mark.parametrize(
    ("samples", "name", "message"),
    [
        (np.zeros(0), "a.wav", "n > 0"),
        (np.array([0.0, np.nan]), "a.wav", "NaN"),
        (np.zeros(10), "a.xyz", "no sound format"),
        (np.zeros((2, 2, 2)), "a.wav", "shape"),
    ],
)
def test_what_cannot_be_written_leaves_nothing(tmp_path, samples, name, message):
    with pytest.raises(AudioError, match=message):
        io.write(tmp_path / name, samples, 16_000)
    assert not list(tmp_path.iterdir())


def test_an_impossible_rate_is_an_error(tmp_path):
    with pytest.raises(AudioError, match=r"a\.mp3"):
        io.write(tmp_path / "a.mp3", np.zeros(100), 123)
    assert not list(tmp_path.iterdir())
