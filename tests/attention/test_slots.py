"""Laws of slot attention and of choosing segments: shares, padding, company, order, gradients, determinism, seconds."""

import math

import pytest
import torch

from audioattn_lib.attention.pooling.segments import read_saliency, select_runs, select_windows
from audioattn_lib.attention.pooling.slots import SALIENT, SlotAttention
from audioattn_lib.attention.record.record import FrameClock
from audioattn_lib.core.errors import ConfigError

CLOCK = FrameClock(0.1, -0.05)


def slot_attention(seed=0, **options):
    torch.manual_seed(seed)
    return SlotAttention(6, **options).double().eval()


def frames(*shape, seed=1):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_shares_of_a_frame_sum_to_one():
    slots, shares = slot_attention()(frames(3, 9, 6))
    assert slots.shape == (3, 2, 6)
    assert ((shares > 0) & (shares < 1)).all()
    torch.testing.assert_close(shares.sum(dim=1), torch.ones(3, 9, dtype=torch.float64))


def test_padding_company_and_order_change_nothing():
    net, x, lengths = slot_attention(), frames(4, 9, 6), torch.tensor([9, 1, 5, 7])
    slots, shares = net(x, lengths)
    spoiled = x.clone()
    for clip, length in enumerate(lengths):
        spoiled[clip, length:] = math.nan
        alone, first = net(x[clip : clip + 1, :length])
        torch.testing.assert_close(alone[0], slots[clip])
        torch.testing.assert_close(first[0], shares[clip, :, :length])
        assert not shares[clip, :, length:].any()
    torch.testing.assert_close(net(spoiled, lengths), (slots, shares))
    torch.testing.assert_close(net(x.flip(0), lengths.flip(0))[1].flip(0), shares)


def test_the_order_of_frames_moves_shares_and_not_slots():
    net, x = slot_attention(), frames(1, 9, 6)
    slots, shares = net(x)
    turned, moved = net(x.flip(1))
    torch.testing.assert_close(turned, slots)
    torch.testing.assert_close(moved.flip(2), shares)


def test_evaluation_is_deterministic_and_training_is_not():
    net, x = slot_attention(), frames(2, 9, 6)
    assert torch.equal(net(x)[1], net(x)[1])
    net.train()
    assert not torch.equal(net(x)[1], net(x)[1])


def test_slots_go_on_from_where_they_were():
    net, x = slot_attention(), frames(2, 9, 6)
    slots, shares = net(x)
    torch.testing.assert_close(net.share(slots, net.project(x)), shares)
    again, _ = net(x, slots=slots)
    longer = slot_attention(iterations=6)
    torch.testing.assert_close(longer(x)[0], again)


def test_every_parameter_receives_gradient_through_the_scores_of_segments():
    net, x = slot_attention().train(), frames(2, 20, 6)
    saliency = net(x)[1][:, SALIENT]
    select_windows(saliency, clock=CLOCK, count=2, seconds=0.3).scores.sum().backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_slots_may_be_narrower_than_frames():
    net, x = slot_attention(width=4).train(), frames(2, 9, 6)
    slots, shares = net(x)
    assert slots.shape == (2, 2, 4)
    torch.testing.assert_close(shares.sum(dim=1), torch.ones(2, 9, dtype=torch.float64))
    shares[:, SALIENT, :3].sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in net.parameters())


def test_the_gradient_is_the_gradient():
    net, x = slot_attention(), frames(1, 5, 6).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: net(x)[1], x)


def test_slots_learn_to_find_what_matters():
    """Frames of one kind carry the label, others are louder: what is learned turns to the former."""
    generator = torch.Generator().manual_seed(0)
    net, head = slot_attention().float().train(), torch.nn.Linear(6, 2)
    optimiser = torch.optim.Adam([*net.parameters(), *head.parameters()], 0.02)
    rows = torch.arange(32)
    for _ in range(100):
        x = torch.randn(32, 30, 6, generator=generator)
        places = torch.stack([torch.randperm(30, generator=generator)[:2] for _ in range(32)])
        labels = torch.randint(2, (32,), generator=generator)
        x[rows, places[:, 1]] *= 4  # loud
        x[rows, places[:, 0], 0] = 5.0
        x[rows, places[:, 0], 1] = labels * 6.0 - 3.0
        saliency = net(x)[1][:, SALIENT]
        pooled = (saliency[..., None] * x).sum(dim=1) / saliency.sum(dim=1, keepdim=True)
        loss = torch.nn.functional.cross_entropy(head(pooled), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    needle, loud = (saliency[rows, places[:, index]].mean() for index in (0, 1))
    assert needle > 3 * loud
    assert needle > 3 * saliency.mean()


def test_windows_are_the_best_that_do_not_overlap():
    saliency = torch.tensor([[0.0, 1, 1, 0, 0, 5, 5, 5, 0, 0], [0, 0, 0, 0, 0, 0, 0, 0, 3, 9.0]])
    windows = select_windows(saliency, clock=CLOCK, count=2, seconds=0.2)
    torch.testing.assert_close(windows.bounds[0], torch.tensor([[0.45, 0.65], [0.65, 0.85]]).double())
    torch.testing.assert_close(windows.scores, torch.tensor([[5.0, 2.5], [0.0, 6.0]]))
    torch.testing.assert_close(windows.bounds[1, 1], torch.tensor([0.75, 0.95]).double())


def test_windows_stay_inside_and_short_clips_are_one():
    saliency, lengths = torch.rand(3, 10), torch.tensor([10, 2, 5])
    windows = select_windows(saliency, lengths, clock=CLOCK, count=2, seconds=0.4)
    bounds = windows.bounds
    assert bounds[0].isfinite().all()
    torch.testing.assert_close(bounds[1, 0], torch.tensor([-0.05, 0.15]).double())
    torch.testing.assert_close(windows.scores[1], torch.stack([saliency[1, :2].mean(), torch.tensor(0.0)]))
    assert bounds[1:, 1].isnan().all()
    assert bounds[2, 0, 1] <= 0.45 + 1e-9
    longer = select_windows(saliency[1:2, :2], clock=CLOCK, count=2, seconds=0.4)
    torch.testing.assert_close(longer.bounds, bounds[1:2], equal_nan=True)


def test_noise_lets_training_listen_elsewhere_and_follows_the_scores():
    saliency = torch.tensor([[0.1, 0.2, 0.7]]).expand(20_000, 3)
    generator = torch.Generator().manual_seed(0)
    windows = select_windows(saliency, clock=CLOCK, count=1, seconds=0.1, temperature=1.0, generator=generator)
    first = ((windows.bounds[:, 0, 0] - CLOCK.start) / CLOCK.period).round().long()
    share = torch.bincount(first, minlength=3) / 20_000
    torch.testing.assert_close(share, saliency[0], atol=0.015, rtol=0)


def test_runs_are_whole_and_nothing_stands_out_of_a_flat_clip():
    saliency = torch.zeros(3, 12)
    saliency[0, 4:11] = 1.0
    saliency[1, [0, 1, 5, 11]] = 1.0
    runs = select_runs(saliency, clock=FrameClock())
    torch.testing.assert_close(runs.bounds[0, 0], torch.tensor([4.0, 11.0]).double())
    torch.testing.assert_close(runs.bounds[1], torch.tensor([[0.0, 2.0], [5.0, 6.0], [11.0, 12.0]]).double())
    assert runs.bounds[2].isnan().all()
    torch.testing.assert_close(runs.scores[:, 0], torch.tensor([1.0, 1.0, 0.0]))
    alone = select_runs(saliency[1:2, :7], clock=FrameClock())
    together = select_runs(saliency, torch.tensor([12, 7, 3]), clock=FrameClock())
    torch.testing.assert_close(alone.bounds[0], together.bounds[1, :2])


def test_saliency_is_read_between_frames():
    saliency = torch.tensor([[0.0, 1.0, 3.0, 9.0]], requires_grad=True)
    times = torch.tensor([[-1.0, 0.0, 0.1, 0.15, 0.2, 5.0]])
    read = read_saliency(saliency, times, torch.tensor([3]), clock=CLOCK)
    torch.testing.assert_close(read, torch.tensor([[0.0, 0.0, 1.0, 2.0, 3.0, 3.0]]), atol=1e-5, rtol=1e-5)
    read.sum().backward()
    torch.testing.assert_close(saliency.grad, torch.tensor([[2.0, 1.5, 2.5, 0.0]]), atol=1e-4, rtol=1e-4)


def test_what_cannot_be_is_an_error():
    for name, value in (("n_slots", 1), ("iterations", 0), ("width", 0)):
        with pytest.raises(ConfigError, match=f"{name} is {value}"):
            SlotAttention(4, **{name: value})
    for options, message in (
        ({"count": 0}, "count is 0; it must be at least 1"),
        ({"seconds": 0.0}, "seconds is 0.0; a window must be longer than 0 s"),
        ({"temperature": -1.0}, "temperature is -1.0"),
    ):
        with pytest.raises(ConfigError, match=message):
            select_windows(torch.ones(1, 4), clock=CLOCK, **{"count": 1, "seconds": 0.1, **options})
    with pytest.raises(ValueError, match="clip 1 of the batch has 0 valid frames"):
        slot_attention()(frames(2, 4, 6), torch.tensor([4, 0]))
