"""Cost of the maps from scores to weights, against softmax of torch and the entmax package."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import entmax as package
import torch
from torch import Tensor

from audioattn_lib.attention.maps.entmax import entmax
from audioattn_lib.core.errors import ConfigError

from .harness import Case, Target

Work = dict[str, Callable[[], object]]

ALPHAS: dict[str, float] = {"4/3": 4 / 3, "3/2": 1.5, "2": 2.0, "1.05": 1.05, "1.2": 1.2, "1.7": 1.7, "2.5": 2.5}
WHOLE = ("4/3", "3/2", "2")
SIZES = ((16, 50), (512, 400), (64, 32000), (4, 8, 512, 512))


def cases(device: str) -> list[Case]:
    """Everything that this module measures."""
    results = []
    for size in SIZES:
        goal = device == "cpu" and size != (64, 32000)
        name = " x ".join(map(str, size))
        for backward in (False, True):
            results.append(
                Case(
                    f"map of scores {name}, forward{' and backward' if backward else ''}",
                    partial(maps, device, size, backward),
                    "softmax",
                    [Target(f"entmax {a}", "ratio", goal_of(a, backward, size)) for a in (*ALPHAS, "learned")]
                    if goal
                    else [],
                    seconds=4,
                )
            )
    return results


def goal_of(alpha: str, backward: bool, size: tuple[int, ...]) -> float:
    """Largest ratio to softmax: least for powers of whole numbers; the overhead of a call decides for small rows."""
    return 5 if backward or size == SIZES[0] else 3 if alpha in WHOLE else 6


def maps(device: str, size: tuple[int, ...], backward: bool) -> Work:
    """Ours against softmax of torch and the entmax package."""
    torch.manual_seed(0)
    scores = torch.randn(size, device=device, requires_grad=backward)
    gradient = torch.randn(size, device=device)
    # not one of the alphas that have loops of their own: training never stays on them
    learned = torch.tensor(1.45, device=device, requires_grad=backward)

    def run(map: Callable[[Tensor], Tensor]) -> Callable[[], object]:
        def step() -> None:
            weights = map(scores)
            if backward:
                weights.backward(gradient)
                scores.grad = learned.grad = None

        return step

    work: Work = {"softmax": run(partial(torch.softmax, dim=-1))}
    work |= {f"entmax {name}": run(partial(entmax, alpha=a, implementation="ours")) for name, a in ALPHAS.items()}
    work["entmax learned"] = run(partial(entmax, alpha=learned))
    if device == "cuda":
        for name, alpha in ALPHAS.items():
            kernel = partial(entmax, alpha=alpha, implementation="adasplash")
            try:  # also compiles it
                kernel(scores.detach())
            except ConfigError:  # not installed, or not for this alpha
                continue
            work[f"adasplash {name}"] = run(kernel)
    work |= {
        "package: bisection 4/3": run(partial(package.entmax_bisect, alpha=4 / 3, dim=-1)),
        "package: entmax15": run(partial(package.entmax15, dim=-1)),
        "package: sparsemax": run(partial(package.sparsemax, dim=-1)),
    }
    return work
