"""Sound files that are cut, damaged, or claim what they do not hold."""

import struct

import numpy as np
import pytest
import soundfile
from hostile import SEEDS, Attack, mutations, trials

from audioattn_lib.audio import io
from audioattn_lib.audio.containers import describe_cut
from audioattn_lib.core.errors import AudioError, ConfigError
from audioattn_lib.data import corpora
from audioattn_lib.data.audit import audit
from audioattn_lib.data.inspection import inspect_files
from audioattn_lib.data.manifest import Manifest

SOUNDS = sorted(path.name for path in SEEDS.iterdir() if path.suffix in (*io.EXTENSIONS, ".w64", ".au"))


def noise(n: int = 16_000) -> np.ndarray:
    return (0.1 * np.random.default_rng(0).standard_normal(n)).astype(np.float32)


@pytest.mark.parametrize("name", SOUNDS)
def test_damaged_sounds(tmp_path, name):
    attack = Attack("sound files")
    content = (SEEDS / name).read_bytes()
    for number, (what, damaged) in enumerate(mutations(content, trials(60))):
        # A name of its own each: what is remembered of a file is found by its name, size and time.
        path = tmp_path / f"{number}-{name}"
        path.write_bytes(damaged)
        attack.trial(f"{name}, read, {what}", lambda path=path: io.read(path, 16_000), path.name)
        attack.trial(f"{name}, info, {what}", lambda path=path: io.info(path), path.name)
        attack.trial(f"{name}, part, {what}", lambda path=path: io.read(path, start=0.1, stop=0.2), path.name)
        attack.trial(f"{name}, accept, {what}", lambda path=path: io.read(path, accept_truncated=True), path.name)
    paths = sorted(tmp_path.iterdir())
    attack.trial(f"{name}, check", lambda: inspect_files(paths, tmp_path))
    attack.check()


def test_damaged_hdf5(tmp_path):
    pytest.importorskip("h5py")
    attack = Attack("HDF5")
    content = (SEEDS / "tones.hdf5").read_bytes()
    for number, (what, damaged) in enumerate(mutations(content, trials(20), seed=1)):
        path = tmp_path / f"{number}.hdf5"
        path.write_bytes(damaged)
        for name in ("one", "folder/two"):
            attack.trial(f"{name}, {what}", lambda path=path, name=name: io.read(path / name, 16_000), path.name)
        attack.trial(f"check, {what}", lambda path=path: inspect_files([path / "one"], tmp_path))
    attack.check()


@pytest.mark.parametrize("name", SOUNDS)
def test_the_seeds_are_whole(name):
    assert describe_cut(SEEDS / name) == ""
    assert len(io.read(SEEDS / name)[0]) == io.info(SEEDS / name).frames


@pytest.mark.parametrize("share", [0.5, 0.9])
@pytest.mark.parametrize("name", SOUNDS)
def test_a_sound_that_was_cut_off_is_an_error_and_can_be_accepted(tmp_path, name, share):
    whole = (SEEDS / name).read_bytes()
    path = tmp_path / "corpus" / name
    path.parent.mkdir()
    path.write_bytes(whole[: int(len(whole) * share)])
    # The header of FLAC alone does not tell.
    for attempt in (io.read,) if name.endswith(".flac") else (io.read, io.info):
        with pytest.raises(AudioError, match=rf"{name}: (the file is cut off: it|not a readable sound file)"):
            attempt(path)
    soundfile.write(path.parent / "other.wav", noise(), 16_000)
    (path.parent / "metadata.csv").write_text(f"file_name,label\n{name},a\nother.wav,b\n")
    report = audit(Manifest.read(path.parent))
    assert [problem.kind for problem in report.errors] in (["cut off"], ["unusable sound"])
    if report.errors[0].kind == "unusable sound":  # libsndfile decodes no part of some
        return
    accepted = corpora.load(path.parent, accept_truncated=True)
    assert audit(accepted).passed
    assert "what is there is used" in str(audit(accepted))
    samples, rate = accepted.read_audio(0)
    expected, _ = io.read(SEEDS / name)
    # A block of ADPCM is decoded as a whole.
    assert 0 < len(samples) < len(expected) or (name, share) == ("adpcm.wav", 0.9)
    assert accepted.durations[0] == len(samples) / rate
    np.testing.assert_array_equal(samples[:100], expected[:100])


def test_accept_is_a_truth_value():
    with pytest.raises(ConfigError, match="accept_truncated is 'yes'"):
        corpora.load(SEEDS, accept_truncated="yes")


def test_a_header_that_claims_two_gigabytes(tmp_path):
    path = tmp_path / "claims.wav"
    soundfile.write(path, noise(1000), 16_000)
    content = bytearray(path.read_bytes())
    content[40:44] = struct.pack("<I", 2_000_000_000)
    path.write_bytes(content)
    with pytest.raises(AudioError, match=r"claims\.wav: .*promises 2000000000 bytes of sound, the file has 2000"):
        io.read(path)
    # a recorder that streams writes this instead of a size
    content[40:44] = b"\xff" * 4
    path.write_bytes(content)
    assert len(io.read(path)[0]) == 1000


def with_total(path, total: int) -> None:
    """Put another number of samples into the header of a FLAC file."""
    content = bytearray(path.read_bytes())
    content[21] = content[21] & 0xF0 | total >> 32
    content[22:26] = struct.pack(">I", total & 0xFFFFFFFF)
    path.write_bytes(content)


def test_a_stream_of_flac_is_read_whole(tmp_path):
    path = tmp_path / "stream.flac"
    soundfile.write(path, noise(), 16_000)
    expected, _ = io.read(path)
    with_total(path, 0)
    np.testing.assert_array_equal(io.read(path)[0], expected)
    np.testing.assert_array_equal(io.read(path, start=0.25, stop=0.5)[0], expected[4000:8000])
    assert io.info(path).frames == 16_000
    report = inspect_files([path], tmp_path)[0]
    assert (report.problem, report.cut, report.frames) == ("", "", 16_000)


@pytest.mark.parametrize(
    ("total", "says"), [(2**36 - 1, "claims 68719476735 samples"), (20_000, "20000 samples, 16000")]
)
def test_flac_that_claims_more_than_it_has(tmp_path, total, says):
    path = tmp_path / "claims.flac"
    soundfile.write(path, noise(), 16_000)
    with_total(path, total)
    with pytest.raises(AudioError, match=rf"claims\.flac: .*{says}"):
        io.read(path)
    report = inspect_files([path], tmp_path)[0]
    assert says in report.problem + report.cut


@pytest.mark.parametrize("count", [1, 5_000, 2**32 - 1])
def test_a_wrong_count_of_mp3_frames(tmp_path, count):
    content = bytearray((SEEDS / "tone.mp3").read_bytes())
    place = content.find(b"Xing") if b"Xing" in content else content.find(b"Info")
    content[place + 8 : place + 12] = struct.pack(">I", count)
    path = tmp_path / "wrong.mp3"
    path.write_bytes(content)
    with pytest.raises(AudioError, match=rf"wrong\.mp3: .*promises {count} frames"):
        io.read(path)


def test_two_rates_differ_by_so_much_and_no_more(tmp_path):
    path = tmp_path / "slow.wav"
    soundfile.write(path, noise(1000), 1)
    with pytest.raises(AudioError, match=r"slow\.wav: resampling from 1 to 16000 Hz; .* no more than 256 times"):
        io.read(path, 16_000)
    soundfile.write(path, noise(1000), 8000)
    for rate in (10**9, 0, -5):
        with pytest.raises(AudioError, match=rf"resampling from 8000 to {rate} Hz"):
            io.read(path, rate)


def test_loud_channels_do_not_become_infinite(tmp_path):
    path = tmp_path / "loud.wav"
    soundfile.write(path, np.full((100, 2), 3e38, np.float32), 16_000, subtype="FLOAT")
    with pytest.raises(AudioError, match=r"loud\.wav: samples reach 3e\+38"):
        io.read(path)
    assert "samples reach 3e+38" in inspect_files([path], tmp_path)[0].problem
    soundfile.write(path, np.full((100, 2), 32768.0, np.float32), 16_000, subtype="FLOAT")
    assert io.read(path)[0].max() == 32768


def test_a_small_file_cannot_decode_to_much(tmp_path, monkeypatch):
    monkeypatch.setattr("audioattn_lib.audio.containers._LEAST_LIMIT", 10_000)
    path = tmp_path / "silence.flac"
    soundfile.write(path, np.zeros(1_000_000), 16_000)
    assert path.stat().st_size * 256 < 1_000_000
    with_total(path, 0)
    for attempt in (lambda: io.read(path), lambda: io.info(path)):
        with pytest.raises(AudioError, match=r"silence\.flac: decodes to more samples than its size can hold"):
            attempt()


@pytest.mark.parametrize("rate", [0, -1, 0.5, np.nan, np.inf, 1e30, "fast", [1, 2], True])
def test_hdf5_with_a_rate_that_is_none(tmp_path, rate):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"] = noise(100)
        file["x"].attrs["sample_rate"] = rate
    with pytest.raises(AudioError, match=r"a\.h5: the attribute sample_rate of x is"):
        io.read(tmp_path / "a.h5" / "x")


def test_hdf5_reads_its_own_file_and_no_other(tmp_path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = noise(100)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["link"] = h5py.ExternalLink("other.h5", "x")
        file["group"] = h5py.ExternalLink("other.h5", "/")
        file.create_dataset("raw", (40,), "i1", external=[("/etc/passwd", 0, 40)])
        layout = h5py.VirtualLayout((100,), "f4")
        layout[:] = h5py.VirtualSource("other.h5", "x", (100,))
        file.create_virtual_dataset("virtual", layout)
        file.create_dataset("huge", (2**40,), "f4", chunks=(1024,))
        file["empty"] = h5py.Empty("f4")
    for name, says in {
        "link": "another file",
        "group/x": "another file",
        "raw": "other files",
        "virtual": "other files",
        "huge": "claims 1099511627776 samples",
        "empty": "no array of samples",
    }.items():
        with pytest.raises(AudioError, match=rf"a\.h5: .*{name}.*{says}"):
            io.read(tmp_path / "a.h5" / name)
    for name in ("n" * 400, "a/" * 200, "nul\0"):
        with pytest.raises(AudioError, match=r"a\.h5: "):
            io.read(tmp_path / "a.h5" / name)


@pytest.mark.parametrize("name", ["n" * 400 + ".wav", "nul\0.wav", "folder/../../../etc/passwd"])
def test_names_that_no_file_has(tmp_path, name):
    with pytest.raises(AudioError):
        io.read(tmp_path / name)
    assert inspect_files([tmp_path / name], tmp_path)[0].kind


def test_a_device_is_no_sound_file():
    with pytest.raises(AudioError, match="/dev/zero: is a device or a pipe"):
        io.read("/dev/zero")
