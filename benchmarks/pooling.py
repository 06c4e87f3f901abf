"""Cost of pooling the frames of an utterance: one head, many heads, and attention to heads."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch

from audioattn_lib.attention.pooling.multi_head import DoubleMultiHeadPooling, MultiHeadPooling

from .harness import Case, Target

BATCH, FRAMES, FEATURES, HEADS = 64, 22, 5120, 32


def cases(device: str) -> list[Case]:
    """Everything that this module measures."""
    return [
        Case(
            f"pooling of {BATCH} x {FRAMES} x {FEATURES} frames, {HEADS} heads, forward and backward",
            partial(poolings, device),
            "self attention, plain",
            [Target("double multi-head", "ratio", 1.4)],
            seconds=10,
        )
    ]


def poolings(device: str) -> dict[str, Callable[[], object]]:
    """Poolings of the published size on the same frames; the plain one is three lines of torch, without padding."""
    torch.manual_seed(0)
    frames = torch.randn(BATCH, FRAMES, FEATURES, device=device, requires_grad=True)
    query = (torch.randn(FEATURES, device=device) / FEATURES**0.5).requires_grad_()
    gradients = {width: torch.randn(BATCH, width, device=device) for width in (FEATURES, FEATURES // HEADS)}

    def plain() -> None:
        weights = torch.softmax(frames @ query, dim=1)
        torch.bmm(weights[:, None], frames).squeeze(1).backward(gradients[FEATURES])
        frames.grad = query.grad = None

    def work(pooling: MultiHeadPooling | DoubleMultiHeadPooling) -> Callable[[], object]:
        pooling = pooling.to(device)

        def step() -> None:
            pooling(frames)[0].backward(gradients[pooling.out_features])
            frames.grad = None
            pooling.zero_grad()

        return step

    return {
        "self attention, plain": plain,
        "self attention": work(MultiHeadPooling(FEATURES, scale="heads", name="self")),
        "multi-head": work(MultiHeadPooling(FEATURES, HEADS)),
        "double multi-head": work(DoubleMultiHeadPooling(FEATURES, HEADS)),
        "double multi-head, sparsemax": work(DoubleMultiHeadPooling(FEATURES, HEADS, attention="sparsemax")),
        "double multi-head, triweight": work(DoubleMultiHeadPooling(FEATURES, HEADS, attention="triweight")),
    }
