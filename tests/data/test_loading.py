"""Batches: each clip once an epoch, the same for the same seed and number, from any batch on."""

import numpy as np
import pytest
import torch
from small_corpora import RATE, clips, noise

from audioattn_lib.audio import io
from audioattn_lib.audio.augmentation.masking import mask_features
from audioattn_lib.audio.features.log_mel import LogMel
from audioattn_lib.core.errors import ConfigError
from audioattn_lib.data.loading.batches import BatchLoader
from audioattn_lib.data.loading.store import FeatureStore
from audioattn_lib.data.loading.windows import WindowLoader
from audioattn_lib.data.manifest import Manifest

KINDS = pytest.mark.parametrize("resident", [True, False], ids=["resident", "streamed"])


@pytest.fixture
def store(corpus, tmp_path):
    root = corpus(clips(11))
    for i in range(11):
        io.write(root / f"audio/{i}.wav", noise(i, 0.1 + 0.03 * i), RATE)
    return FeatureStore.build(Manifest.read(root), LogMel(RATE, 200, hop_length=80, n_mels=6), tmp_path / "features")


@KINDS
def test_every_clip_once_an_epoch(store, resident):
    loader = BatchLoader(store, np.arange(11), [1, 3, 5, 7, 9, 10], 4, resident=resident)
    assert len(loader) == 2
    for number in range(3):
        batches = list(loader.epoch(number))
        assert len(batches) == len(loader)
        assert sorted(np.concatenate([batch.indices for batch in batches])) == [1, 3, 5, 7, 9, 10]
        assert [len(batch) for batch in batches] == [4, 2]


@KINDS
def test_a_batch_is_features_lengths_and_targets_of_its_clips(store, resident):
    targets = torch.arange(11) * 10
    for batch in BatchLoader(store, targets, range(11), 3, resident=resident).epoch(0):
        features, lengths = store.batch(batch.indices)
        torch.testing.assert_close(batch.features, features)
        assert torch.equal(batch.lengths, lengths)
        assert torch.equal(batch.targets, batch.indices * 10)
        assert batch.features.shape[1] == lengths.max(), "no more padding than the batch needs"


@KINDS
def test_order_is_of_seed_and_number_alone(store, resident):
    def orders(seed, numbers, **options):
        loader = BatchLoader(store, np.zeros(11), range(11), 4, seed=seed, resident=resident, **options)
        return [np.concatenate([batch.indices for batch in loader.epoch(n)]).tolist() for n in numbers]

    assert orders(0, [0, 1, 2]) == orders(0, [0, 1, 2])
    assert orders(0, [2])[0] == orders(0, [0, 1, 2])[2], "epochs before it do not matter"
    first, second = orders(0, [0, 1])
    assert first != second
    assert orders(0, [0]) != orders(1, [0])
    torch.manual_seed(5)
    again = orders(0, [0])
    torch.manual_seed(6)
    assert orders(0, [0]) == again, "nor does what else draws numbers"
    assert orders(0, [0, 7], shuffle=False) == [list(range(11))] * 2


@KINDS
@pytest.mark.parametrize("start", [0, 1, 2, 3])
def test_an_epoch_goes_on_from_any_batch(store, resident, start):
    loader = BatchLoader(store, np.arange(11), range(11), 4, seed=3, resident=resident)
    whole = [batch.indices.tolist() for batch in loader.epoch(5)]
    assert [batch.indices.tolist() for batch in loader.epoch(5, start=start)] == whole[start:]


def test_both_ways_give_the_same_batches(store):
    ways = [BatchLoader(store, np.arange(11), range(11), 4, seed=2, resident=resident) for resident in (True, False)]
    for ours, theirs in zip(ways[0].epoch(1), ways[1].epoch(1), strict=True):
        assert torch.equal(ours.features, theirs.features)
        assert torch.equal(ours.lengths, theirs.lengths)
        assert torch.equal(ours.targets, theirs.targets)
        assert torch.equal(ours.indices, theirs.indices)


def test_targets_may_be_rows(store):
    targets = torch.eye(11)
    for batch in BatchLoader(store, targets, [4, 2], 2).epoch(0):
        assert torch.equal(batch.targets, targets[batch.indices])


def test_an_epoch_may_be_left(store):
    loader = BatchLoader(store, np.arange(11), range(11), 2, resident=False)
    for batch in loader.epoch(0):
        assert len(batch) == 2
        break
    assert len(list(loader.epoch(1))) == 6


@pytest.mark.parametrize(
    ("targets", "indices", "batch_size", "message"),
    [
        (np.zeros(11), [0], 0, "batch_size is 0"),
        (np.zeros(11), [], 4, "no clips to go through"),
        (np.zeros(10), [0], 4, "10 targets for a store of 11 clips"),
    ],
)
def test_impossible_values_are_named(store, targets, indices, batch_size, message):
    with pytest.raises((ConfigError, ValueError), match=message):
        BatchLoader(store, targets, indices, batch_size)


@pytest.mark.cuda
@KINDS
def test_batches_arrive_on_the_device(store, resident):
    here = BatchLoader(store, np.arange(11), range(11), 4, resident=resident)
    there = BatchLoader(store, np.arange(11), range(11), 4, device="cuda", resident=resident)
    for ours, theirs in zip(here.epoch(0), there.epoch(0), strict=True):
        assert theirs.features.is_cuda
        assert theirs.targets.is_cuda
        assert not theirs.indices.is_cuda
        torch.testing.assert_close(theirs.features.cpu(), ours.features)
        assert torch.equal(theirs.indices, ours.indices)


@KINDS
@pytest.mark.parametrize("count", [2, 3, 4])
def test_processes_share_every_batch(store, resident, count):
    loader = BatchLoader(store, np.arange(11), range(11), 5, seed=1, resident=resident)
    shards = [loader.shard(rank, count) for rank in range(count)]
    assert {len(shard) for shard in shards} == {len(loader)}
    for whole, *parts in zip(loader.epoch(2, 1), *(shard.epoch(2, 1) for shard in shards), strict=True):
        assert sum(map(len, parts)) == len(whole)
        assert max(map(len, parts)) - min(map(len, parts)) <= 1
        counted = [shard for shard in parts if len(shard)]
        assert torch.equal(torch.cat([shard.indices for shard in counted]), whole.indices)
        assert torch.equal(torch.cat([shard.targets for shard in counted]), whole.targets)
        for shard in parts:
            assert len(shard.features) == max(len(shard), 1), "one without a clip has one to compute with"


def test_a_batch_must_have_a_clip_for_every_process(store):
    with pytest.raises(ConfigError, match="batch_size is 2 for 3 processes"):
        BatchLoader(store, np.arange(11), range(11), 2).shard(0, 3)


@pytest.mark.parametrize("count", [2, 3])
def test_windows_and_masks_of_shares_are_those_of_the_whole_batch(store, count):
    loader = WindowLoader(BatchLoader(store, np.arange(11), range(11), 5, seed=1), 8, mask_features)
    shards = [loader.shard(rank, count) for rank in range(count)]
    for whole, *parts in zip(loader.epoch(2), *(shard.epoch(2) for shard in shards), strict=True):
        counted = [shard for shard in parts if len(shard)]
        assert torch.equal(torch.cat([shard.lengths for shard in counted]), whole.lengths)
        torch.testing.assert_close(torch.cat([shard.features for shard in counted]), whole.features)
