"""A pooling of this library is a head of any encoder of frames."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from audioattn_lib.attention.pooling.registry import MECHANISMS
from audioattn_lib.attention.record.record import FrameClock
from audioattn_lib.core.errors import ConfigError
from audioattn_lib.models.attentive_head import AttentiveHead


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


class Strided(nn.Module):
    """Frames of ten samples, as networks of transformers give them."""

    def __init__(self):
        super().__init__()
        self.convolution = nn.Conv1d(1, 8, 10, 10)

    def forward(self, samples):
        return SimpleNamespace(last_hidden_state=self.convolution(samples[:, None]).mT)


@pytest.mark.parametrize("pooling", ["softmax", "triweight", "mean"])
def test_padding_changes_nothing(pooling):
    torch.manual_seed(0)
    head = AttentiveHead(
        Strided(), pooling, 8, 3, frames_of=lambda lengths: lengths // 10, clock=FrameClock(0.1)
    ).eval()
    samples = noise(1, 60)
    alone, _ = head(samples, torch.tensor([60]))
    padded = torch.cat([samples, 9 + noise(1, 40, seed=1)], 1)
    scores, record = head(padded, torch.tensor([60]), record=True)
    torch.testing.assert_close(scores, alone)
    assert record.span() == pytest.approx((0, 0.6))
    assert head(padded)[1].is_empty


@pytest.mark.parametrize("freeze", [False, True])
def test_it_learns_a_loud_frame(freeze):
    torch.manual_seed(0)
    head = AttentiveHead(nn.Linear(4, 8), "softmax", 8, 2, freeze=freeze)
    before = [parameter.clone() for parameter in head.encoder.parameters()]
    x, labels = 0.3 * noise(32, 12, 4), torch.arange(32) % 2
    x[torch.arange(32), torch.arange(32) % 12, 0] += torch.where(labels == 1, 4.0, -4.0)
    optimizer = torch.optim.Adam([p for p in head.parameters() if p.requires_grad], 0.05)
    for _ in range(60):
        optimizer.zero_grad()
        F.cross_entropy(head.train()(x)[0], labels).backward()
        optimizer.step()
    assert (head.eval()(x)[0].argmax(1) == labels).float().mean() == 1
    assert freeze == all(map(torch.equal, before, head.encoder.parameters()))
    assert head.train().encoder.training is not freeze


def test_what_does_not_fit_is_named():
    with pytest.raises(ConfigError, match="attention is 'best'"):
        AttentiveHead(nn.Identity(), "best", 8, 2)
    with pytest.raises(ConfigError, match="n_classes is 0"):
        AttentiveHead(nn.Identity(), "mean", 8, 0)
    with pytest.raises(ConfigError, match=r"Identity gave \(2, 5, 4\); it must give \(batch, frames, 8\)"):
        AttentiveHead(nn.Identity(), next(iter(MECHANISMS)), 8, 2)(noise(2, 5, 4))
