"""Parts of clips at finer hops: the same as each alone, the same as the clip, and really finer."""

import math

import numpy as np
import pytest
import torch

from audioattn_lib.audio.features.multi_resolution import MultiResolutionLogMel
from audioattn_lib.core.errors import ConfigError

RATE = 16_000


@pytest.fixture(scope="module")
def front():
    return MultiResolutionLogMel(stages=4, n_mels=12)


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_hops_are_those_of_the_stages(front):
    assert [front[stage].hop_length for stage in range(4)] == [640, 320, 213, 160]
    assert front.hop(1) == 0.02
    clip = noise(1, 8000)
    torch.testing.assert_close(front(clip)[0], front[0](clip)[0])


@pytest.mark.parametrize("stage", range(4))
def test_a_batch_equals_each_part_alone(front, stage):
    x, lengths = noise(3, 16_000), torch.tensor([16_000, 9_000, 12_345])
    x[1, 9_000:] = float("nan")
    x[2, 12_345:] = 7.0
    parts = torch.tensor([[[0.1, 0.4], [0.62, 0.7]], [[0.3, 0.9], [math.nan, math.nan]], [[-0.1, 0.2], [0.5, 0.5]]])
    features, n_frames = front.replay(x, parts, stage, lengths)
    hop = front[stage].hop_length
    expected = [
        [math.ceil(round((b - a) * RATE) / hop) or 1 if a == a else 0 for a, b in each] for each in parts.tolist()
    ]
    assert n_frames.tolist() == expected
    for clip in range(3):
        for index in range(2):
            count = int(n_frames[clip, index])
            assert not features[clip, index, count:].any()
            if count:
                alone, n_alone = front.replay(
                    x[clip : clip + 1, : lengths[clip]], parts[clip : clip + 1, index : index + 1], stage
                )
                assert n_alone.item() == count
                torch.testing.assert_close(alone[0, 0], features[clip, index, :count])


@pytest.mark.parametrize("stage", range(4))
def test_frames_are_those_of_the_clip_at_this_hop(front, stage):
    x = noise(2, 16_000)
    whole, _ = front[stage](x)
    hop = front.hop(stage)
    for first, last in ((0, 5), (11, 20), (whole.shape[1] - 3, whole.shape[1])):
        replayed, n_frames = front.replay(x, torch.tensor([[first * hop, last * hop]] * 2)[:, None].double(), stage)
        assert n_frames.tolist() == [[last - first]] * 2
        torch.testing.assert_close(replayed[:, 0], whole[:, first:last])


def test_outside_of_the_clip_is_silence(front):
    x = noise(1, 8000)
    replayed, _ = front.replay(x, torch.tensor([[[-0.2, 0.7]]]), 1)
    padded = torch.nn.functional.pad(x, (3200, 3200))
    torch.testing.assert_close(replayed[0, 0], front[1](padded)[0][0, :45])
    assert (replayed[0, 0, :9] == -100).all()


def test_gradients_reach_the_waveform_and_stay_inside_the_part(front):
    x = noise(1, 8000).requires_grad_()
    front.replay(x, torch.tensor([[[0.2, 0.3]]]), 2)[0].sum().backward()
    changed = x.grad[0].nonzero()
    assert 0.2 * RATE - 256 <= changed.min() < 0.2 * RATE
    assert changed.max() < 0.3 * RATE + 256


def fluttering(rate, seed):
    """Noise whose power flutters in the middle of a second of silence-like hiss."""
    rng = np.random.default_rng(seed)
    time = np.arange(RATE) / RATE
    power = 1 + 0.9 * np.cos(2 * np.pi * (rate * time + rng.uniform()))
    return rng.standard_normal(RATE) * np.where(np.abs(time - 0.5) < 0.3, np.sqrt(power), 0.01)


def test_events_that_differ_only_at_the_finer_hop_become_separable(front):
    """At 25 frames a second, 19 and 56 Hz are both 6 Hz; at 50, one is 19 Hz and the other 6 Hz."""
    sounds = torch.tensor(np.stack([fluttering(rate, seed) for rate in (19.0, 56.0) for seed in range(20)]))
    where = torch.tensor([[[0.2, 0.8]]]).expand(40, 1, 2)

    def share_of_6_hz(stage):
        features, _ = front.replay(sounds, where, stage)
        level = features[:, 0, 1:-1, 2:].mean(dim=2)
        level = level - level.mean(dim=1, keepdim=True)
        times = torch.arange(level.shape[1]) * front.hop(stage)
        wave = torch.exp(2j * math.pi * 6.25 * times)
        near = (level.to(wave.dtype) @ wave).abs().square()
        share = near / (level.square().sum(dim=1) * level.shape[1])
        return share.unflatten(0, (2, 20))

    coarse, fine = share_of_6_hz(0), share_of_6_hz(1)
    deviation = coarse.std(dim=1).max()
    assert abs(coarse[0].mean() - coarse[1].mean()) < deviation  # alike
    assert fine[0].max() < fine[1].min()  # apart, every one


def test_what_cannot_be_is_an_error(front):
    for options, message in (
        ({"stages": 0}, "stages is 0"),
        ({"hop_length": 3}, "hop_length is 3; it must be at least one sample a stage, 4"),
        ({"top_db": 80.0}, "top_db has no place here"),
        ({"normalisation": "mean"}, "normalisation has no place here"),
    ):
        with pytest.raises(ConfigError, match=message):
            MultiResolutionLogMel(**options)
    with pytest.raises(ValueError, match=r"segments have shape \(1, 2\); they must be \(1, parts, 2\)"):
        front.replay(noise(1, 800), torch.zeros(1, 2), 0)
    with pytest.raises(ValueError, match="stage is 4; it must be from 0 to 3"):
        front.replay(noise(1, 800), torch.zeros(1, 1, 2), 4)
    with pytest.raises(ValueError, match="ends before it begins"):
        front.replay(noise(1, 800), torch.tensor([[[0.3, 0.1]]]), 0)


@pytest.mark.cuda
def test_the_same_on_cuda(front):
    x, where = noise(2, 16_000).float(), torch.tensor([[[0.1, 0.5]], [[0.8, 1.2]]])
    there = MultiResolutionLogMel(stages=4, n_mels=12).cuda()
    replayed = there.replay(x.cuda(), where.cuda(), 3)[0].cpu()
    torch.testing.assert_close(replayed, front.replay(x, where, 3)[0], atol=1e-2, rtol=1e-3)
