"""Cost of attention patterns: the published transformer under each, against dense attention fused and unfused."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor

from audioattn_lib.attention.patterns.kernels import AttentionPlan
from audioattn_lib.models.frequency_transformer import FrequencyTransformer

from .harness import Case, Target, peak_memory

Work = dict[str, Callable[[], object]]

SYSTEM_MEMORY = True
"""A table of all pairs in every layer is what the unfused kernel is known for, and new memory a part of its price."""

BATCH = 4
FUSED, UNFUSED = "dense, fused", "dense, unfused"
PATTERNS = ("per_row_6", "per_row_2", "per_row", "row_overlap_2", "row_overlap_8", "attn_penalty")


def cases(device: str) -> list[Case]:
    """Everything that this module measures: 12 layers of width 768 with 12 heads."""
    size = f"published transformer, {BATCH} clips of"
    goal = device == "cpu"
    return [
        Case(
            f"{size} 10 s (1190 tokens), forward",
            partial(networks, device, 998, False),
            FUSED,
            [Target("per_row_6", "ratio", 1 / 1.05)] if goal else [],
            seconds=90,
        ),
        Case(
            f"{size} 10 s (1190 tokens), forward, against the published kernel",
            partial(networks, device, 998, False, ("per_row_6",), UNFUSED),
            UNFUSED,
            [Target("per_row_6", "ratio", 1 / 1.6)] if goal else [],
            seconds=60,
        ),
        Case(
            f"{size} 10 s (1190 tokens), training step",
            partial(networks, device, 998, True, ("per_row_6", "per_row_2")),
            FUSED,
            [Target("per_row_6", "ratio", 1 / 1.05)] if goal else [],
            seconds=240,
        ),
        Case(
            f"{size} 4 s (470 tokens), forward",
            partial(networks, device, 400, False),
            FUSED,
            [Target("per_row_6", "ratio", 1.0)] if goal else [],
            seconds=60,
        ),
        Case(
            f"{size} 4 s (470 tokens), training step",
            partial(networks, device, 400, True, ("per_row_6", "per_row_2")),
            FUSED,
            [Target("per_row_6", "ratio", 1.0)] if goal else [],
            seconds=60,
        ),
        *(
            [
                Case(
                    f"peak memory of the {size} 10 s, {'training step' if backward else 'forward'}",
                    partial(memory, backward),
                    FUSED,
                    [Target("per_row_6", "ratio", 1.1)],
                )
                for backward in (False, True)
            ]
            if device == "cpu"
            else []
        ),
    ]


def networks(
    device: str, frames: int, backward: bool, patterns: tuple[str, ...] = PATTERNS, reference: str = FUSED
) -> Work:
    """One set of weights under dense attention, as the reference says, and under each pattern."""
    torch.manual_seed(0)
    features = torch.randn(BATCH, frames, 128, device=device)
    first = FrequencyTransformer.preset("published", 128, 10).to(device)

    def work(pattern: str, fused: bool) -> Callable[[], object]:
        model = FrequencyTransformer.preset("published", 128, 10, pattern=pattern).to(device)
        for name, parameter in first.named_parameters():  # one copy in memory, and the same in the caches
            owner, _, leaf = name.rpartition(".")
            setattr(model.get_submodule(owner), leaf, parameter)
        model.eval()

        def forward() -> None:
            with torch.no_grad(), _kernel(fused):
                model(features)

        def step() -> None:
            with _kernel(fused):
                model(features)[0].square().sum().backward()
            model.zero_grad(set_to_none=False)

        return step if backward else forward

    return {reference: work("dense", reference == FUSED)} | {p: work(p, True) for p in patterns}


@contextmanager
def _kernel(fused: bool) -> Iterator[None]:
    """Attention as the published code computes it, with a table of all pairs for each head, unless ``fused``."""
    kept = AttentionPlan.parts
    if not fused:
        AttentionPlan.parts = _unfused  # type: ignore[method-assign]
    try:
        yield
    finally:
        AttentionPlan.parts = kept  # type: ignore[method-assign]


def _unfused(plan: AttentionPlan, query: Tensor, key: Tensor, value: Tensor) -> list[Tensor]:
    scores = (query @ key.transpose(-1, -2)) * (1 / math.sqrt(query.shape[-1]))
    return [scores.softmax(-1) @ value]


def memory(backward: bool) -> Work:
    """Memory by which a fresh interpreter grows in one pass."""
    step = "model(features)[0].square().sum().backward()" if backward else "model(features)"

    def work(pattern: str, fused: bool) -> Callable[[], object]:
        setup = (
            "import torch\nfrom benchmarks.patterns import BATCH, _kernel\n"
            "from audioattn_lib.models.frequency_transformer import FrequencyTransformer\n"
            f"model = FrequencyTransformer.preset('published', 128, 10, pattern={pattern!r}).eval()\n"
            "features = torch.randn(BATCH, 998, 128)\ntorch.set_grad_enabled(False)\nmodel(features[:1, :50])\n"
            f"torch.set_grad_enabled({backward})"
        )
        return partial(peak_memory, setup, f"with _kernel({fused}): {step}")

    return {FUSED: work("dense", True), UNFUSED: work("dense", False)} | {
        p: work(p, True) for p in ("per_row_6", "per_row", "row_overlap_8")
    }
