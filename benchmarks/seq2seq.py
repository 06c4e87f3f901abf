"""Cost of one training step of the sequence-to-sequence autoencoders, beside bare recurrent layers of their sizes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import nn

from audioattn_lib.models.seq2seq import NETWORKS, Seq2SeqAutoencoder, reconstruction_loss

from .harness import Case, Target

Work = dict[str, Callable[[], object]]

BATCH, FRAMES, BANDS, UNITS = 64, 55, 120, 256
BARE = "bare GRU layers"
# A step may take 1.5 and 2.5 CPU-seconds; on two threads, half of that on the clock is never more.
TARGETS = (
    Target("seq2seq_bi_bi_fc", "seconds", 0.75),
    Target("attention_bi_bi_hidden", "seconds", 1.25),
    Target("seq2seq_bi_bi_fc", "ratio", 1.5),
    Target("attention_bi_bi_hidden", "ratio", 2.5),
)


def cases(device: str) -> list[Case]:
    """Everything that this module measures."""
    name = f"Autoencoder, one training step, {BATCH} clips of"
    whole = f"{name} {FRAMES} frames, {BANDS} bands, {UNITS} units"
    return [
        Case(whole, partial(steps, device, False), BARE, TARGETS, seconds=40),
        Case(f"{name} 10 to {FRAMES} frames", partial(steps, device, True), BARE, seconds=40),
    ]


def steps(device: str, ragged: bool) -> Work:
    """Forward, backward and Adam of every network, and of fused layers as large as those of ``seq2seq_bi_bi``."""
    generator = torch.Generator().manual_seed(0)
    frames = (torch.rand(BATCH, FRAMES, BANDS, generator=generator) * 2 - 1).to(device)
    lengths = torch.full((BATCH,), FRAMES)
    if ragged:
        lengths[1:] = torch.randint(10, FRAMES + 1, (BATCH - 1,), generator=generator)

    def rebuild(network: str) -> tuple[nn.Module, Callable[[], torch.Tensor]]:
        model = Seq2SeqAutoencoder(network, BANDS, UNITS).to(device)
        return model, lambda: reconstruction_loss(model(frames, lengths)[0], frames, lengths)

    return {BARE: _step(*_bare(frames))} | {name: _step(*rebuild(name)) for name in NETWORKS}


def _bare(frames: torch.Tensor) -> tuple[nn.Module, Callable[[], torch.Tensor]]:
    layers = nn.ModuleList(
        [
            nn.GRU(BANDS, UNITS, 2, batch_first=True, bidirectional=True),
            nn.GRU(BANDS, UNITS, 2, batch_first=True, bidirectional=True),
            nn.Linear(2 * UNITS, BANDS),
        ]
    ).to(frames.device)

    def loss() -> torch.Tensor:
        _, state = layers[0](frames)
        return (layers[2](layers[1](frames, state)[0]) - frames).square().mean()

    return layers, loss


def _step(model: nn.Module, loss: Callable[[], torch.Tensor]) -> Callable[[], object]:
    optimizer = torch.optim.Adam(model.parameters())

    def step() -> None:
        loss().backward()
        optimizer.step()
        optimizer.zero_grad()

    return step
