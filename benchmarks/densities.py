"""Cost of densities: mixtures, several dimensions, quantiles, samples; how it grows."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch

from audioattn_lib.attention.densities.beta_gaussian import BetaGaussian
from audioattn_lib.attention.densities.mixture import Mixture
from audioattn_lib.attention.densities.multivariate import MultivariateBetaGaussian
from audioattn_lib.attention.expectations.bases import MultivariateGaussianBasis, PowerBasis, WaveBasis
from audioattn_lib.attention.expectations.gaussian import GaussianBasis, gaussian_expectation
from audioattn_lib.attention.expectations.general import basis_expectation
from audioattn_lib.attention.expectations.multivariate import multivariate_gaussian_expectation

from .harness import Case, Target

Work = dict[str, Callable[[], object]]

MODES = (1, 4, 16, 64)
PLANE = (16, 64, 256)


def cases(device: str) -> list[Case]:
    """Everything that this module measures."""
    # twice what linear growth would cost, from the smallest size on
    return [
        Case(
            "mixtures of triweights, 128 Gaussian basis functions under 16 of them, forward and backward",
            partial(mixtures, device),
            "1 mode",
            [Target(f"{modes} modes", "ratio", 2.0 * modes) for modes in MODES[1:]],
            seconds=4,
        ),
        Case(
            "expectation of Gaussian basis functions on the plane under 16 triweights, forward and backward",
            partial(plane, device),
            f"{PLANE[0]} functions",
            [Target(f"{n} functions", "ratio", 2.0 * n / PLANE[0]) for n in PLANE[1:]],
            seconds=6,
        ),
        Case(
            "expectation of other bases under 16 triweights, forward and backward",
            partial(others, device),
            "128 Gaussians",
            seconds=3,
        ),
        Case("4096 quantiles, masses and samples", partial(distribution, device), "cdf, triweight", seconds=3),
    ]


def mixtures(device: str) -> Work:
    """More and more modes."""
    basis = GaussianBasis.grid(128)

    def work(modes: int) -> Callable[[], object]:
        torch.manual_seed(0)
        location = torch.rand(16, modes, device=device, requires_grad=True)
        variance = (torch.rand(16, modes, device=device) * 0.08 + 1e-3).requires_grad_()
        weights = torch.full((16, modes), 1 / modes, device=device, requires_grad=True)
        gradient = torch.randn(16, 128, device=device)

        def step() -> None:
            density = Mixture(weights, BetaGaussian(location, variance, 4 / 3, check=False), check=False)
            gaussian_expectation(density, basis).backward(gradient)
            location.grad = variance.grad = weights.grad = None

        return step

    return {f"{modes} mode{'s' if modes > 1 else ''}": work(modes) for modes in MODES}


def plane(device: str) -> Work:
    """More and more basis functions, each of them at hundreds of nodes."""

    def work(side: int) -> Callable[[], object]:
        torch.manual_seed(0)
        basis = MultivariateGaussianBasis.grid((side, side), (0.1,))
        location = torch.rand(16, 2, device=device, requires_grad=True)
        factor = torch.tensor([[0.2, 0.0], [0.1, 0.1]], device=device).repeat(16, 1, 1).requires_grad_()
        gradient = torch.randn(16, len(basis), device=device)

        def step() -> None:
            density = MultivariateBetaGaussian.from_cholesky(location, factor, 4 / 3, check=False)
            multivariate_gaussian_expectation(density, basis).backward(gradient)
            location.grad = factor.grad = None

        return step

    return {f"{n} functions": work(round(n**0.5)) for n in PLANE}


def others(device: str) -> Work:
    """Bases that have no quadrature of their own."""
    torch.manual_seed(0)
    location = torch.rand(16, device=device, requires_grad=True)
    variance = (torch.rand(16, device=device) * 0.08 + 1e-3).requires_grad_()
    bases = {
        "128 Gaussians": GaussianBasis.grid(128),
        "powers up to 8": PowerBasis(8),
        "128 waves": WaveBasis([float(n) for n in range(64)]),
    }

    def work(name: str) -> Callable[[], object]:
        basis = bases[name]
        gradient = torch.randn(16, len(basis), device=device)

        def step() -> None:
            basis_expectation(BetaGaussian(location, variance, 4 / 3, check=False), basis).backward(gradient)
            location.grad = variance.grad = None

        return step

    return {name: work(name) for name in bases}


def distribution(device: str) -> Work:
    """Methods of a distribution of PyTorch."""
    q = torch.rand(4096, device=device)
    work: Work = {}
    for name, alpha in (("triweight", 4 / 3), ("alpha 1.7", 1.7)):
        density = BetaGaussian(torch.zeros(4096, device=device), torch.ones(4096, device=device), alpha)
        work[f"cdf, {name}"] = partial(density.cdf, q)
        work[f"icdf, {name}"] = partial(density.icdf, q)
        work[f"sample, {name}"] = density.sample
    return work
