"""Cost of training: one step of the published network with each attention, against softmax and against no attention."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch.nn import functional as F

from audioattn_lib.attention.pooling.registry import MECHANISMS, build_attention
from audioattn_lib.models.acrnn import ACRNN

from .harness import Case

Work = dict[str, Callable[[], object]]

BATCH, FRAMES, N_MELS, CLASSES = 32, 401, 80, 10


def cases(device: str) -> list[Case]:
    """Everything that this module measures."""
    name = f"ACRNN, one training step, {BATCH} clips of"
    return [
        Case(f"{name} {FRAMES} frames", partial(steps, device, False), "softmax", seconds=6),
        Case(f"{name} 50 to {FRAMES} frames", partial(steps, device, True), "softmax", seconds=6),
    ]


def steps(device: str, ragged: bool) -> Work:
    """Forward, backward and Adam of the same network with every attention."""
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(BATCH, FRAMES, N_MELS, generator=generator).to(device)
    lengths = torch.full((BATCH,), FRAMES)
    if ragged:
        lengths[1:] = torch.randint(50, FRAMES + 1, (BATCH - 1,), generator=generator)
    targets = torch.randint(0, CLASSES, (BATCH,), generator=generator).to(device)
    return {name: _step(name, features, lengths, targets) for name in (*MECHANISMS, "mean")}


def _step(attention: str, features: torch.Tensor, lengths: torch.Tensor, targets: torch.Tensor) -> Callable[[], object]:
    torch.manual_seed(0)
    model = ACRNN.preset("published", N_MELS, CLASSES, partial(build_attention, attention)).to(features.device)
    optimizer = torch.optim.Adam(model.parameters())

    def step() -> None:
        F.cross_entropy(model(features, lengths)[0], targets).backward()
        optimizer.step()
        optimizer.zero_grad()

    return step
