"""Operations that a device refuses, and others, for ``tests/test_simulated_cuda.py``."""

import numpy as np
import pytest
import torch

pytestmark = pytest.mark.cuda


@pytest.mark.parametrize(
    "mistake",
    [
        lambda x: x + torch.ones(3),
        lambda x: torch.where(x > 0, x, torch.zeros(3)),
        lambda x: torch.ones(3)[x > 0],
        lambda x: torch.nn.Linear(3, 2)(x),
        lambda x: np.asarray(x),
        lambda x: torch.rand(3, device="cuda", generator=torch.Generator()),
        lambda x: torch.lerp(x, x.bfloat16(), 0.5),
        lambda x: torch.cat([x, torch.ones(3)]),
    ],
)
def test_a_mistake(mistake):
    with pytest.raises((RuntimeError, TypeError)):
        mistake(torch.ones(3, device="cuda"))


def test_what_is_right():
    x = torch.tensor([1.0, 2.0, 3.0], device="cuda").requires_grad_()
    assert x.is_cuda
    assert not x.cpu().is_cuda
    net = torch.nn.GRU(3, 2).cuda()
    with torch.autocast("cuda", torch.bfloat16):
        assert torch.nn.Linear(3, 2, device="cuda")(x).dtype == torch.bfloat16
    (net(x[None])[0].sum() + (2.0 * x)[torch.tensor([0, 2])].sum()).backward()
    assert x.grad.is_cuda
    assert all(p.grad.is_cuda for p in net.parameters())
    assert x.tolist() == [1, 2, 3]
    assert x.sum().item() == 6
