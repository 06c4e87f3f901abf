"""Cost of attention: expectations, whole modules, their construction."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from audioattn_lib.attention.densities.beta_gaussian import BetaGaussian, log_constant
from audioattn_lib.attention.expectations.gaussian import GaussianBasis, gaussian_expectation
from audioattn_lib.attention.expectations.value_function import ValueFunction
from audioattn_lib.attention.pooling.frames import DiscreteAttention
from audioattn_lib.attention.pooling.registry import MECHANISMS, build_attention
from audioattn_lib.attention.pooling.time_frequency import TimeFrequencyAttention

from .harness import Case, Target, peak_memory

Work = dict[str, Callable[[], object]]

CONTINUOUS = [name for name, variant in MECHANISMS.items() if variant.domain == "continuous"]
OTHERS = {"alpha 1.7": 1.7, "alpha 3": 3.0}


def cases(device: str) -> list[Case]:
    """Everything that this module measures."""
    targets = device == "cpu"
    return [
        Case(
            "attention module, forward and backward, 32 x 401 x 128, 128 basis functions",
            partial(modules, device, None),
            "softmax",
            [Target(name, "ratio", 1.25) for name in CONTINUOUS],
            seconds=24,
        ),
        Case(
            "attention module, forward and backward, 32 clips of 50 to 401 frames x 128",
            partial(modules, device, (50, 401)),
            "softmax",
            [Target(name, "ratio", 1.2) for name in CONTINUOUS],
            seconds=12,
        ),
        Case(
            "continuous attention with options, forward and backward, 32 x 401 x 128",
            partial(options, device),
            "parabola",
            seconds=6,
        ),
        Case(
            "attention over time and frequency, forward and backward, 8 clips x 16 features",
            partial(planes, device),
            "100 x 40 cells",
            seconds=6,
        ),
        *(
            Case(
                f"attention over time and frequency beside dense softmax over the same {frames} x {bands} cells, "
                "forward and backward, 8 clips x 16 features",
                partial(same_cells, device, frames, bands),
                "dense softmax",
                [Target("1 mode", "ratio", 1.25)],
                seconds=6,
            )
            for frames, bands in ((100, 40), (400, 80))
        ),
        Case(
            "expectation of 128 Gaussian basis functions under 16 densities, forward and backward",
            partial(expectations, device),
            "triweight, trapezoid of 1000 points",
            [Target("triweight", "seconds", 5e-4)] if targets else [],
        ),
        Case(
            "expectation of 128 Gaussian basis functions under 16 densities of any alpha, forward and backward",
            partial(family, device),
            "triweight",
            [Target(name, "ratio", 1.3) for name in (*CONTINUOUS, *OTHERS) if name != "triweight"] if targets else [],
            seconds=12,
        ),
        Case(
            "construction of the attention module",
            construction,
            "softmax",
            [Target(name, "seconds", 0.1) for name in CONTINUOUS],
        ),
        Case(
            "memory of the construction of the attention module",
            construction_memory,
            "softmax",
            [Target("triweight", "megabytes", 50)],
        ),
        Case("matrix of the value function for a new length", value_functions, "length 401"),
    ]


def modules(device: str, lengths: tuple[int, int] | None) -> Work:
    """All mechanisms of one size on the same frames."""
    torch.manual_seed(0)
    frames = torch.randn(32, 401, 128, device=device, requires_grad=True)
    count = None if lengths is None else torch.randint(lengths[0], lengths[1] + 1, (32,))
    return {name: _step(build_attention(name, 128).to(device), frames, count) for name in MECHANISMS}


def options(device: str) -> Work:
    """Cost of modes, heads, a learned alpha and the deviation."""
    torch.manual_seed(0)
    frames = torch.randn(32, 401, 128, device=device, requires_grad=True)
    inputs: dict[str, tuple[str, dict[str, Any]]] = {
        "parabola": ("parabola", {}),
        **{f"parabola, {n} modes": ("parabola", {"n_components": n}) for n in (2, 4, 8)},
        **{f"{name}, {n} heads": (name, {"heads": n}) for name in ("softmax", "parabola") for n in (2, 4, 8)},
        "biweight, learned alpha": ("biweight", {"learn_alpha": True}),
        "parabola, deviation": ("parabola", {"with_std": True}),
    }
    return {
        title: _step(build_attention(name, 128, **given).to(device), frames) for title, (name, given) in inputs.items()
    }


def planes(device: str) -> Work:
    """Attention over time and frequency, with more cells and more modes."""
    work: Work = {}
    for frames, bands, modes in ((100, 40, 1), (400, 40, 1), (400, 80, 1), (400, 80, 2)):
        torch.manual_seed(0)
        cells = torch.randn(8, frames, bands, 16, device=device, requires_grad=True)
        title = f"{frames} x {bands} cells" + (f", {modes} modes" if modes > 1 else "")
        work[title] = _step(TimeFrequencyAttention(16, n_components=modes).to(device), cells)
    return work


def same_cells(device: str, frames: int, bands: int) -> Work:
    """A density over the plane beside a softmax over all of its cells; the same network scores the cells of both."""
    torch.manual_seed(0)
    cells = torch.randn(8, frames, bands, 16, device=device, requires_grad=True)
    flat = cells.detach().flatten(1, 2).requires_grad_()
    return {
        "dense softmax": _step(DiscreteAttention(16, scaled=True).to(device), flat),
        "1 mode": _step(TimeFrequencyAttention(16).to(device), cells),
        "2 modes": _step(TimeFrequencyAttention(16, n_components=2).to(device), cells),
        "1 mode, alpha 1.05": _step(TimeFrequencyAttention(16, 1.05).to(device), cells),
    }


def _step(attention: nn.Module, values: Tensor, lengths: Tensor | None = None) -> Callable[[], object]:
    """A pass and its gradient."""
    gradient = torch.randn_like(attention(values, lengths)[0])

    def step() -> None:
        attention(values, lengths)[0].backward(gradient)
        values.grad = None
        attention.zero_grad()

    return step


def expectations(device: str) -> Work:
    """Quadrature in a window against what general-purpose code does."""
    torch.manual_seed(0)
    location = torch.rand(16, device=device, requires_grad=True)
    variance = (torch.rand(16, device=device) * 0.08 + 1e-3).requires_grad_()
    basis = GaussianBasis.grid(128)
    gradient = torch.randn(16, 128, device=device)

    def ours(alpha: float) -> None:
        density = BetaGaussian(location, variance, alpha, check=False)
        gaussian_expectation(density, basis).backward(gradient)
        location.grad = variance.grad = None

    u = torch.linspace(-1, 1, 1000, device=device)
    constant = log_constant(torch.tensor(3.0)).exp().item()

    def trapezoid() -> None:
        half_width = 3 * variance.sqrt()
        points = location[:, None] + half_width[:, None] * u
        values = torch.trapezoid(constant * ((1 - u**2) ** 3)[:, None] * basis(points), u, dim=1)
        values.backward(gradient)
        location.grad = variance.grad = None

    names = {name: MECHANISMS[name].alpha for name in CONTINUOUS} | OTHERS
    work: Work = {name: partial(ours, alpha) for name, alpha in names.items()}
    return work | {"triweight, trapezoid of 1000 points": trapezoid}


def family(device: str) -> Work:
    """The same of our quadrature alone."""
    return {name: work for name, work in expectations(device).items() if name in (*CONTINUOUS, *OTHERS)}


def construction() -> Work:
    """Modules of the published size."""
    return {name: partial(build_attention, name, 128) for name in ("softmax", *CONTINUOUS)}


def construction_memory() -> Work:
    """Memory by which an interpreter grows when it makes a module."""
    setup = (
        "import torch\nfrom audioattn_lib.attention.pooling.registry import build_attention\n"
        "torch.nn.Linear(128, 128)(torch.zeros(1, 128))"
    )
    return {
        name: partial(peak_memory, setup, f"kept = build_attention({name!r}, 128)") for name in ("softmax", "triweight")
    }


def value_functions() -> Work:
    """A regression of each length, never kept."""
    function = ValueFunction(GaussianBasis.grid(128), cache_bytes=0)
    return {f"length {n}": partial(function.matrix, n) for n in (50, 401, 3000)}
