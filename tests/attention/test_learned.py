"""Alpha that is learned: in its range, one a head, moved by its gradient."""

import pytest
import torch
from torch.autograd import gradcheck

from audioattn_lib.attention.maps.entmax import entmax
from audioattn_lib.attention.maps.learned import LearnedEntmax
from audioattn_lib.core.errors import ConfigError


@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (2, 3, 5)])
def test_every_head_has_its_alpha(shape):
    x = torch.randn(shape)
    mask = torch.rand(shape) > 0.2
    attention = LearnedEntmax(3, initial=(1.2, 1.5, 1.9))
    torch.testing.assert_close(attention.alpha.detach(), torch.tensor([1.2, 1.5, 1.9]))
    p = attention(x, mask)
    for head, alpha in enumerate((1.2, 1.5, 1.9)):
        torch.testing.assert_close(p[:, head], entmax(x[:, head], alpha, mask=mask[:, head]), atol=1e-5, rtol=0)
    again = LearnedEntmax(3)
    again.load_state_dict(attention.state_dict())
    assert torch.equal(again(x, mask), p)


def test_one_alpha_for_all():
    x = torch.randn(4, 6, 2)
    attention = LearnedEntmax(dim=1, initial=2.5, largest=4.0)
    torch.testing.assert_close(attention(x), entmax(x, 2.5, 1), atol=1e-5, rtol=0)
    assert "largest=4" in repr(attention)
    assert attention(x.half()).dtype == torch.float16


def test_alpha_stays_in_its_range():
    attention = LearnedEntmax(2)
    for value in (-50.0, 50.0):
        torch.nn.init.constant_(attention.raw_alpha, value)
        assert ((attention.alpha >= 1) & (attention.alpha <= 2)).all()
        p = attention(torch.randn(3, 2, 5))
        torch.testing.assert_close(p.sum(-1), torch.ones(3, 2))
        p.square().sum().backward()
        assert attention.raw_alpha.grad.isfinite().all()


def test_gradient_of_the_parameter():
    x = torch.randn(2, 3, 6, dtype=torch.float64, requires_grad=True)
    attention = LearnedEntmax(3, initial=(1.1, 1.5, 1.8)).double()

    def weights(x, raw):
        return torch.func.functional_call(attention, {"raw_alpha": raw}, (x,))

    assert gradcheck(weights, (x, attention.raw_alpha.detach().clone().requires_grad_()))


def test_training_finds_the_alpha_behind_the_weights():
    generator = torch.Generator().manual_seed(0)
    x = 2 * torch.randn(64, 2, 12, generator=generator)
    goal = torch.stack([entmax(x[:, 0], 1.2), entmax(x[:, 1], 1.8)], dim=1)
    attention = LearnedEntmax(2)
    optimiser = torch.optim.Adam(attention.parameters(), lr=0.1)
    for step in range(100):
        optimiser.zero_grad()
        (attention(x) - goal).square().sum().backward()
        optimiser.step()
        if step == 0:
            first = attention.alpha.detach()
            assert first[0] < 1.5 < first[1]
    torch.testing.assert_close(attention.alpha.detach(), torch.tensor([1.2, 1.8]), atol=5e-3, rtol=0)


def test_what_cannot_be_is_named():
    for options, message in (
        ({"heads": 0}, "heads is 0"),
        ({"heads": 2, "dim": 1}, "dim is 1, the axis of the heads"),
        ({"largest": 1.0}, "largest is 1.0"),
        ({"initial": 2.0}, r"initial is 2\.0; it must be above 1 and below largest, 2"),
        ({"heads": 2, "initial": (1.2, 1.3, 1.4)}, "initial has 3 values for 2 heads"),
        ({"initial": (1.2, 1.3)}, "initial has 2 values for None heads"),
    ):
        with pytest.raises(ConfigError, match=message):
            LearnedEntmax(**options)
    attention = LearnedEntmax(3, dim=-2)
    with pytest.raises(ValueError, match=r"shape \(2, 4, 5\); axis 1 must be the 3 heads"):
        attention(torch.randn(2, 4, 5))
    with pytest.raises(ValueError, match="is the axis of the heads"):
        attention(torch.randn(2, 3, 5))
