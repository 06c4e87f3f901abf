"""Cost of capturing the attention of an encoder beside running it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from audioattn_lib.inspection.capture import capture

from .harness import Case, Target, peak_memory

TOKENS, LAYERS, HEADS, SIZE = 1200, 12, 12, 768


def cases(device: str) -> list[Case]:
    """Everything that this module measures."""
    sizes = f"{TOKENS} tokens, {LAYERS} layers, {HEADS} heads of {SIZE // HEADS}"
    return [
        Case(
            f"an encoder whose attention is captured, {sizes}",
            partial(captured, device),
            "not captured",
            [Target("row of the class token", "ratio", 1.25)],
            seconds=40,
        ),
        Case(
            f"all weights of an encoder, {sizes}",
            partial(kept, device),
            "eager attention",
            [Target("captured", "ratio", 1.6)],
            seconds=40,
        ),
        Case(
            f"memory by which one pass grows, {sizes}",
            memory,
            "not captured",
            [Target("row of the class token", "ratio", 1.1)],
        ),
    ]


class Layer(nn.Module):
    """Encoder layer with the norm first; eager attention keeps its weights."""

    def __init__(self, *, eager: bool = False) -> None:
        super().__init__()
        self.eager = eager
        self.norms = nn.ModuleList([nn.LayerNorm(SIZE), nn.LayerNorm(SIZE)])
        self.project, self.mix = nn.Linear(SIZE, 3 * SIZE), nn.Linear(SIZE, SIZE)
        self.network = nn.Sequential(nn.Linear(SIZE, 4 * SIZE), nn.GELU(), nn.Linear(4 * SIZE, SIZE))
        self.weights: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        heads = self.project(self.norms[0](x)).unflatten(-1, (3, HEADS, -1)).transpose(1, 3)
        query, key, value = heads.unbind(2)
        if self.eager:
            self.weights = torch.softmax(query @ key.mT * query.shape[-1] ** -0.5, -1)
            mixed = self.weights @ value
        else:
            mixed = F.scaled_dot_product_attention(query, key, value)
        x = x + self.mix(mixed.transpose(1, 2).flatten(2))
        return x + self.network(self.norms[1](x))


def encoders(device: str) -> tuple[nn.Module, nn.Module, Tensor]:
    """The same encoder with fused and with eager attention, and what enters."""
    torch.manual_seed(0)
    fused = nn.Sequential(*(Layer() for _ in range(LAYERS))).to(device).eval()
    eager = nn.Sequential(*(Layer(eager=True) for _ in range(LAYERS))).to(device).eval()
    eager.load_state_dict(fused.state_dict())
    return fused, eager, torch.randn(1, TOKENS, SIZE, device=device)


def captured(device: str) -> dict[str, Callable[[], object]]:
    """The encoder alone, and with what can be kept of its attention."""
    fused, _, x = encoders(device)

    def run(**options: object) -> None:
        with torch.no_grad(), capture(fused, **options):  # type: ignore[arg-type]
            fused(x)

    @torch.no_grad()
    def alone() -> None:
        fused(x)

    return {
        "not captured": alone,
        "row of the class token": partial(run, queries=[0]),
        "mean over the queries": partial(run, received=True),
        "all weights": run,
    }


def kept(device: str) -> dict[str, Callable[[], object]]:
    """All weights by eager attention, which computes them anyway, and captured beside the fused kernel."""
    fused, eager, x = encoders(device)

    @torch.no_grad()
    def by_hand() -> None:
        eager(x)

    def beside() -> None:
        with torch.no_grad(), capture(fused):
            fused(x)

    return {"eager attention": by_hand, "captured": beside}


def memory() -> dict[str, Callable[[], object]]:
    """Megabytes by which a fresh interpreter grows in one pass, alone and with the row of the class token captured."""
    setup = (
        "import torch\nfrom audioattn_lib.inspection.capture import capture\n"
        "from benchmarks.capture import encoders\n"
        "fused, _, x = encoders('cpu')\ntorch.set_grad_enabled(False)\nfused(x[:, :10])"
    )
    return {
        "not captured": partial(peak_memory, setup, "fused(x)"),
        "row of the class token": partial(
            peak_memory, setup, "with capture(fused, queries=[0]) as captured: fused(x); captured.weights"
        ),
    }
