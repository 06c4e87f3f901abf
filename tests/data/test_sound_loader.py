"""Changed sounds are a function of seed, epoch and batch, and unchanged ones give the stored features."""

import numpy as np
import pytest
import torch
from small_corpora import RATE, clips, noise

from audioattn_lib.audio import io
from audioattn_lib.audio.augmentation.voices import VoiceAugmentation
from audioattn_lib.audio.features.log_mel import LogMel
from audioattn_lib.data.loading.store import FeatureStore
from audioattn_lib.data.loading.waveforms import SoundLoader, WaveformStore
from audioattn_lib.data.loading.windows import SampledLoader
from audioattn_lib.data.manifest import Manifest

FRONT_END = LogMel(RATE, 200, hop_length=80, n_mels=6)


@pytest.fixture
def manifest(corpus):
    root = corpus(clips(7))
    for i in range(7):
        io.write(root / f"audio/{i}.wav", noise(i, 0.1 + 0.03 * i), RATE)
    return Manifest.read(root)


def loader(manifest, **options):
    change = VoiceAugmentation(**{"noise": 0.1, **options})
    rest = (np.arange(7), np.arange(7), 3)
    return SoundLoader(
        WaveformStore(manifest, RATE), *rest, front_end=FRONT_END, change=change, speakers=np.array(list("abcdefg"))
    )


def test_sounds_that_are_left_alone_give_the_stored_features(manifest, tmp_path):
    store = FeatureStore.build(manifest, FRONT_END, tmp_path)
    stored = SampledLoader(store, np.arange(7), np.arange(7), 3, speakers=np.array(list("abcdefg")))
    for ours, theirs in zip(loader(manifest, probability=0.0).epoch(1), stored.epoch(1), strict=True):
        assert torch.equal(ours.indices, theirs.indices)
        assert torch.equal(ours.targets, theirs.targets)
        assert torch.equal(ours.lengths, theirs.lengths)
        torch.testing.assert_close(ours.features, theirs.features, atol=0.1, rtol=0)


def test_changes_are_of_seed_epoch_and_batch_alone(manifest):
    whole = list(loader(manifest).epoch(2))
    for start in range(3):
        for ours, theirs in zip(loader(manifest).epoch(2, start), whole[start:], strict=True):
            assert torch.equal(ours.features, theirs.features)
    kept = list(loader(manifest, probability=0.0).epoch(2))
    pairs = zip(whole, kept, strict=True)
    assert any(a.features.shape != b.features.shape or not torch.allclose(a.features, b.features) for a, b in pairs)


def test_processes_change_other_clips_of_the_same_batch(manifest):
    whole = [batch.indices.tolist() for batch in loader(manifest).epoch(0)]
    shards = [list(loader(manifest, changes=("noise",)).shard(rank, 2).epoch(0)) for rank in range(2)]
    for first, second, indices in zip(*shards, whole, strict=True):
        held = [batch.indices for batch in (first, second) if batch.shard.count]
        assert torch.cat(held).tolist() == indices
