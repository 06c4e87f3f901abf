"""Cost of training: one step of the published network with each attention, and what the film adds to an epoch."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch.nn import functional as F

from audioattn_lib.attention.pooling.registry import MECHANISMS, build_attention
from audioattn_lib.models.acrnn import ACRNN
from audioattn_lib.training.probes import probe, save_probe

from .harness import Case, Target
from .untrained import scratch

Work = dict[str, Callable[[], object]]

BATCH, FRAMES, N_MELS, CLASSES = 32, 401, 80, 10
EPOCH_STEPS, EPOCH_BATCH, EPOCH_FRAMES = 13, 16, 301
"""An epoch of the first chapter in the book, some two hundred clips of 3 s; beside a longer one the film costs less."""
FILM = "attention of three clips, kept"


def cases(device: str) -> list[Case]:
    """Everything that this module measures."""
    name = f"ACRNN, one training step, {BATCH} clips of"
    return [
        Case(f"{name} {FRAMES} frames", partial(steps, device, False), "softmax", seconds=6),
        Case(f"{name} 50 to {FRAMES} frames", partial(steps, device, True), "softmax", seconds=6),
        Case(
            f"ACRNN, film of a training, an epoch of {EPOCH_STEPS * EPOCH_BATCH} clips as reference",
            partial(film, device),
            "epoch",
            [Target(FILM, "ratio", 0.02)],
            seconds=10,
        ),
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
    return _step_of(model, features, lengths, targets)


def _step_of(
    model: ACRNN, features: torch.Tensor, lengths: torch.Tensor, targets: torch.Tensor
) -> Callable[[], object]:
    optimizer = torch.optim.Adam(model.parameters())

    def step() -> None:
        F.cross_entropy(model(features, lengths)[0], targets).backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def film(device: str) -> Work:
    """Keep the attention over three clips as the loop does after each epoch, against an epoch of training."""
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(EPOCH_BATCH, EPOCH_FRAMES, N_MELS, generator=generator).to(device)
    lengths = torch.full((EPOCH_BATCH,), EPOCH_FRAMES)
    targets = torch.randint(0, CLASSES, (EPOCH_BATCH,), generator=generator).to(device)
    model = ACRNN.preset("published", N_MELS, CLASSES, partial(build_attention, "sparsemax")).to(device)
    step = _step_of(model, features, lengths, targets)

    def epoch() -> None:
        model.train()
        for _ in range(EPOCH_STEPS):
            step()

    def keep() -> None:
        model.eval()
        record = probe(model, lambda network: network(features[:3], lengths[:3], record=True)[1], torch.device(device))
        save_probe(scratch(), 0, record)

    return {"epoch": epoch, FILM: keep}
