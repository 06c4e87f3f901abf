"""The feature store: what was computed is read back, a stopped build goes on, damage is noticed."""

import errno
import json

import numpy as np
import pytest
import torch
from small_corpora import RATE, clips, noise

from audioattn_lib.audio import io
from audioattn_lib.audio.features.log_mel import LogMel
from audioattn_lib.core.errors import AudioError, ConfigError
from audioattn_lib.data.loading import store as stores
from audioattn_lib.data.loading.store import FeatureStore, StoreError
from audioattn_lib.data.manifest import Manifest


@pytest.fixture
def front_end():
    return LogMel(RATE, 200, hop_length=80, n_mels=12)


@pytest.fixture
def manifest(corpus):
    """Ten clips of different lengths."""
    root = corpus(clips(10))
    for i in range(10):
        io.write(root / f"audio/{i}.wav", noise(i, 0.1 + 0.05 * i), RATE)
    return Manifest.read(root)


@pytest.fixture
def directory(tmp_path):
    return tmp_path / "features"


class Counting:
    """An extractor that counts the clips it sees, and stops where it is told."""

    def __init__(self, front_end, stop_after=None, error=KeyboardInterrupt):
        self._front_end, self._stop_after, self._error = front_end, stop_after, error
        self.seen = 0

    def __getattr__(self, name):
        return getattr(self._front_end, name)

    def to(self, device):
        return self

    def __call__(self, waveforms, lengths):
        if self._stop_after is not None and self.seen >= self._stop_after:
            raise self._error
        self.seen += len(lengths)
        return self._front_end(waveforms, lengths)


def features_of(manifest, front_end, row):
    samples, _ = manifest.read_audio(row, front_end.sample_rate)
    return front_end(torch.from_numpy(samples)[None])[0][0]


@pytest.mark.parametrize("batch_size", [1, 3, 32])
def test_the_store_holds_what_the_extractor_makes(manifest, front_end, directory, batch_size):
    store = FeatureStore.build(manifest, front_end, directory, batch_size=batch_size)
    assert len(store) == 10
    assert store.clips == manifest.ids
    assert store.clock == front_end.clock
    assert store.n_features == 12
    for row in range(10):
        expected = features_of(manifest, front_end, row)
        assert store[row].dtype == torch.float32
        assert store.n_frames[row] == len(expected)
        torch.testing.assert_close(store[row], expected, atol=1e-3, rtol=0)
    torch.testing.assert_close(store[-1], store[9])
    with pytest.raises(IndexError, match="clip 10 of a store of 10"):
        store[10]


def test_a_batch_is_its_clips_padded_with_zeros(manifest, front_end, directory):
    store = FeatureStore.build(manifest, front_end, directory)
    features, lengths = store.batch([7, 0, 3])
    assert features.dtype == torch.float32
    assert lengths.dtype == torch.int64
    assert features.shape == (3, store.n_frames[7], 12)
    for position, row in enumerate([7, 0, 3]):
        assert torch.equal(features[position, : lengths[position]], store[row])
        assert (features[position, lengths[position] :] == 0).all()
    with pytest.raises(ValueError, match="at least one clip"):
        store.batch([])


def test_what_was_computed_is_not_computed_again(manifest, front_end, directory):
    first = FeatureStore.build(manifest, front_end, directory)
    counting = Counting(front_end)
    again = FeatureStore.build(manifest, counting, directory)
    assert again.path != first.path or counting.seen == 0
    assert FeatureStore.build(manifest, front_end, directory).path == first.path
    counting = Counting(front_end)
    FeatureStore.build(manifest, counting, directory)
    assert counting.seen == 0


def test_other_settings_or_sounds_are_another_store(manifest, front_end, directory):
    paths = {
        FeatureStore.build(manifest, front_end, directory).path,
        FeatureStore.build(manifest, LogMel(RATE, 200, hop_length=80, n_mels=13), directory).path,
        FeatureStore.build(manifest, front_end, directory, dtype="float16").path,
        FeatureStore.build(manifest.subset(range(5)), front_end, directory).path,
    }
    io.write(manifest.paths[0], noise(99), RATE)
    paths.add(FeatureStore.build(Manifest.read(manifest.root), front_end, directory).path)
    assert len(paths) == 5


def test_half_precision_is_half_the_space_and_three_digits(manifest, front_end, directory):
    whole = FeatureStore.build(manifest, front_end, directory)
    half = FeatureStore.build(manifest, front_end, directory, dtype="float16")
    sizes = [(store.path / "features.bin").stat().st_size for store in (whole, half)]
    assert sizes[0] == 2 * sizes[1]
    torch.testing.assert_close(half[3], whole[3], rtol=1e-3, atol=1e-3)
    assert half[3].dtype == torch.float32


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError("out of memory")])
def test_a_stopped_build_goes_on_where_it_stopped(manifest, front_end, directory, error):
    with pytest.raises(type(error) if isinstance(error, Exception) else error):
        FeatureStore.build(manifest, Counting(front_end, 6, error), directory, batch_size=2)
    (journal,) = directory.glob("*/journal.jsonl")
    with pytest.raises(StoreError, match="6 of 10 clips; FeatureStore.build continues it"):
        FeatureStore.open(journal.parent)
    # and what a kill may leave behind: half of a line, features that no line speaks of
    with open(journal, "ab") as file:
        file.write(b'{"n_frames": [3')
    with open(journal.parent / "features.bin", "ab") as file:
        file.write(b"\1" * 77)
    rest = Counting(front_end)
    store = FeatureStore.build(manifest, rest, directory, batch_size=3)
    assert rest.seen == 4
    whole = FeatureStore.build(manifest, Counting(front_end), directory / "other")
    for row in range(10):
        torch.testing.assert_close(store[row], whole[row], atol=1e-3, rtol=0)


def test_a_full_disk_keeps_what_was_computed(manifest, front_end, directory, monkeypatch):
    written = []
    write = stores._Writer._write

    def filling(file, content):
        written.append(content)
        if len(written) == 6:
            file.write(content[: len(content) // 2])
            file.flush()
            raise OSError(errno.ENOSPC, "No space left on device")
        write(file, content)

    monkeypatch.setattr(stores._Writer, "_write", staticmethod(filling))
    with pytest.raises(StoreError, match="the disk is full; the features computed so far are kept"):
        FeatureStore.build(manifest, Counting(front_end), directory, batch_size=2)
    monkeypatch.undo()
    rest = Counting(front_end)
    store = FeatureStore.build(manifest, rest, directory, batch_size=2)
    assert rest.seen == 6, "header, two batches of two clips, then it was full"
    torch.testing.assert_close(store[5], features_of(manifest, front_end, 5), atol=1e-3, rtol=0)


@pytest.mark.parametrize("left", [0, 4])
def test_a_store_that_was_cut_off_is_an_error_until_it_is_built_again(manifest, front_end, directory, left):
    whole = FeatureStore.build(manifest, Counting(front_end), directory, batch_size=2)
    expected = [whole[row] for row in range(10)]
    file = whole.path / "features.bin"
    keep = int(whole.n_frames[:left].sum()) * 12 * 4 + 10 * (left > 0)
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(StoreError, match=rf"audio/{left}\.wav and all after it are cut off; delete the folder"):
        FeatureStore.open(whole.path)
    rest = Counting(front_end)
    store = FeatureStore.build(manifest, rest, directory, batch_size=2)
    assert rest.seen == 10 - left
    for row in range(10):
        assert torch.equal(store[row], expected[row])


def test_a_store_that_was_edited_is_an_error_that_names_the_clip(manifest, front_end, directory):
    store = FeatureStore.build(manifest, front_end, directory)
    file = store.path / "features.bin"
    content = bytearray(file.read_bytes())
    content[int(store.n_frames[:6].sum()) * 12 * 4 + 100] ^= 1
    file.write_bytes(content)
    opened = FeatureStore.open(store.path)
    _ = opened[5], opened[7]
    for attempt in (lambda: opened[6], lambda: opened.batch([1, 6])):
        with pytest.raises(StoreError, match=r"audio/6\.wav are not those that were written; delete the folder"):
            attempt()


def test_a_damaged_journal_is_an_error(manifest, front_end, directory):
    store = FeatureStore.build(manifest, front_end, directory)
    journal = store.path / "journal.jsonl"
    lines = journal.read_text().splitlines()
    journal.write_text("\n".join([lines[0], "{}", *lines[1:]]) + "\n")
    with pytest.raises(StoreError, match=r"journal\.jsonl: damaged"):
        FeatureStore.open(store.path)
    header = json.loads(lines[0]) | {"clips": ["another"]}
    journal.write_text("\n".join([json.dumps(header), *lines[1:]]) + "\n")
    with pytest.raises(StoreError, match="another corpus"):
        FeatureStore.build(manifest, front_end, directory)


def test_no_store(tmp_path):
    with pytest.raises(StoreError, match="no feature store"):
        FeatureStore.open(tmp_path)


def test_a_bad_sound_names_its_file_and_costs_nothing(manifest, front_end, directory):
    manifest.content_hash()
    good = manifest.paths[8].read_bytes()
    manifest.paths[8].write_bytes(b"RIFF not a sound")
    with pytest.raises(AudioError, match=r"8\.wav"):
        FeatureStore.build(manifest, Counting(front_end), directory, batch_size=2)
    manifest.paths[8].write_bytes(good)
    rest = Counting(front_end)
    FeatureStore.build(manifest, rest, directory, batch_size=2)
    assert rest.seen in (2, 10), "10 when the time of change of the file is part of what it is known by"


def test_features_that_are_not_finite_name_their_clip(manifest, front_end, directory):
    class Broken(Counting):
        def __call__(self, waveforms, lengths):
            features, n_frames = super().__call__(waveforms, lengths)
            features[1, 0, 0] = torch.nan
            return features, n_frames

    with pytest.raises(StoreError, match=r"audio/3\.wav: its features are not finite"):
        FeatureStore.build(manifest.subset([2, 3, 4]), Broken(front_end), directory)


def test_one_sample_rate_for_all(manifest, directory):
    """Sounds of 8 kHz are read at the rate of the extractor."""
    store = FeatureStore.build(manifest, LogMel(16_000, 400, hop_length=160, n_mels=12), directory)
    np.testing.assert_array_equal(store.n_frames, (manifest.durations * 16_000).round().astype(int) // 160 + 1)


@pytest.mark.parametrize(
    ("options", "message"), [({"batch_size": 0}, "batch_size is 0"), ({"dtype": "int8"}, "dtype is 'int8'")]
)
def test_impossible_options_are_named(manifest, front_end, directory, options, message):
    with pytest.raises(ConfigError, match=message):
        FeatureStore.build(manifest, front_end, directory, **options)


@pytest.mark.cuda
def test_the_device_changes_nothing(manifest, front_end, directory):
    here = FeatureStore.build(manifest, front_end, directory / "cpu")
    there = FeatureStore.build(manifest, LogMel(RATE, 200, hop_length=80, n_mels=12), directory / "cuda", device="cuda")
    for row in range(10):
        torch.testing.assert_close(here[row], there[row], atol=1e-2, rtol=0)
