"""The page on function transforms is right, and lists every function.

Truth are ordinary calls in a loop, and ordinary backward passes, one for each output.
"""

import importlib
import inspect
import pkgutil
import re
from functools import cache
from pathlib import Path

import pytest
import torch
from torch.autograd.functional import hessian, jacobian
from torch.nn.attention import SDPBackend, sdpa_kernel
from transform_cases import CASES, Case

import audioattn_lib.attention
from audioattn_lib.attention.pooling.registry import build_attention

PAGE = Path(__file__).resolve().parents[2] / "book" / "transforms.md"
CLOSE = {"atol": 1e-9, "rtol": 1e-7}

# What has no gradient or is tested through what it makes: containers of data, reading and writing, patterns and what
# they are built from, quadrature rules, solvers inside the maps (whose derivative is that of the map), constants.
NO_CASES = {
    "ExportedPlan",
    "Traced",
    *(
        "Attended",
        "AttendedPlane",
        "AttentionRecord",
        "Density",
        "DensityParameters",
        "FrameClock",
        "Padding",
        "Projected",
    ),
    *("LabelledSegment", "Regions", "Segments", "Variant", "Block", "PatchGrid", "Positions", "Cache", "Constants"),
    *(
        "export",
        "list_segments",
        "merge_spans",
        "moments",
        "read_segments",
        "read_textgrid",
        "save_csv",
        "save_npz",
        "save_segments",
    ),
    *("to_table", "write_file", "parse_pattern", "parse_patterns", "AttentionPattern", "Dense", "DistancePenalty"),
    *("HighLow", "RowBand", "RowGroups", "TokenBand", "TokenBlocks", "TwoBranches"),
    *("ball_rule", "gauss_gegenbauer", "gauss_hermite", "gauss_legendre", "log_constant", "Interval"),
    *("UnionOfSupports", "solve", "solve_rows", "build_attention", "HeadDropout", "frame_centres", "frame_positions"),
    *("design", "from_published", "gaussian", "triweight", "biweight", "parabola", "Reduction"),
}


def transforms() -> list[str]:
    """Names in the head of the table."""
    head = next(line for line in PAGE.read_text().splitlines() if line.startswith("| functions"))
    return [cell.strip() for cell in head.strip("|").split("|")[1:]]


def table() -> dict[str, dict[str, bool]]:
    """Of each function, what the page says works."""
    results: dict[str, dict[str, bool]] = {}
    for line in PAGE.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if not line.startswith("| `") or len(cells) != 1 + len(transforms()):
            continue
        assert set(cells[1:]) <= {"yes", "no"}, line
        for name in re.findall(r"`([\w.]+)`", cells[0]):
            assert name not in results, f"{name} twice"
            results[name] = dict(zip(transforms(), (cell == "yes" for cell in cells[1:]), strict=True))
    return results


@cache
def truth(name: str, number: int) -> tuple[torch.Tensor, ...]:
    case = CASES[name][number]
    return jacobian(case.function, case.inputs)


def numbers(*shape: int, seed: int = 9) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def check_vmap(case: Case, _: tuple[torch.Tensor, ...] | None) -> None:
    several = tuple(torch.stack([x, x + 1e-3]).requires_grad_() for x in case.inputs)
    together = torch.func.vmap(case.function)(*several)
    apart = torch.stack([case.function(*each) for each in zip(*several, strict=True)])
    torch.testing.assert_close(together, apart, **CLOSE)
    weights = numbers(*apart.shape)
    gradients = [
        torch.autograd.grad(measured, several, weights, allow_unused=True, materialize_grads=True)
        for measured in (together, apart)
    ]
    torch.testing.assert_close(*gradients, **CLOSE)


def check_grad(case: Case, jacobians: tuple[torch.Tensor, ...]) -> None:
    n = case.function(*case.inputs).numel()
    weights = numbers(n)
    places = tuple(range(len(case.inputs)))
    gradients = torch.func.grad(lambda *x: case.function(*x).flatten() @ weights, argnums=places)(*case.inputs)
    for gradient, each in zip(gradients, jacobians, strict=True):
        torch.testing.assert_close(gradient.flatten(), weights @ each.reshape(n, -1), **CLOSE)


def check_jacrev(case: Case, jacobians: tuple[torch.Tensor, ...]) -> None:
    gradient = torch.func.jacrev(case.function, argnums=tuple(range(len(case.inputs))))(*case.inputs)
    torch.testing.assert_close(gradient, jacobians, **CLOSE)


def check_jvp(case: Case, jacobians: tuple[torch.Tensor, ...]) -> None:
    tangents = tuple(numbers(*x.shape, seed=i) for i, x in enumerate(case.inputs))
    value, derivatives = torch.func.jvp(case.function, case.inputs, tangents)
    torch.testing.assert_close(value, case.function(*case.inputs), **CLOSE)
    parts = (j.reshape(derivatives.numel(), -1) @ x.flatten() for j, x in zip(jacobians, tangents, strict=True))
    torch.testing.assert_close(derivatives.flatten(), sum(parts), **CLOSE)


def check_hessian(case: Case, _: tuple[torch.Tensor, ...] | None) -> None:
    weights = numbers(case.function(*case.inputs).numel())

    def total(*inputs: torch.Tensor) -> torch.Tensor:
        return case.function(*inputs).flatten() @ weights

    result = torch.func.hessian(total, argnums=tuple(range(len(case.inputs))))(*case.inputs)
    with sdpa_kernel(SDPBackend.MATH):  # fused kernels are differentiable once by backward passes
        wanted = hessian(total, case.inputs)
    torch.testing.assert_close(result, wanted, atol=1e-8, rtol=1e-6)


CHECKS = {"vmap": check_vmap, "grad": check_grad, "jacrev": check_jacrev, "jvp": check_jvp, "hessian": check_hessian}


def test_the_page_names_every_public_function_and_only_those():
    public = set()
    for module in pkgutil.walk_packages(audioattn_lib.attention.__path__, "audioattn_lib.attention."):
        if module.ispkg or module.name.rpartition(".")[2].startswith("_"):
            continue
        loaded = importlib.import_module(module.name)
        public |= {name for name in loaded.__all__ if callable(getattr(loaded, name)) and not name.isupper()}
    public = {name for name in public if not inspect.isclass(name)} - NO_CASES
    rows = set(table())
    assert {name.split(".")[0] for name in rows} == public
    assert rows == set(CASES)
    assert transforms() == list(CHECKS)


def test_lengths_are_not_mapped_over():
    attention = build_attention("softmax", 3, hidden_size=4)
    with pytest.raises(RuntimeError, match="lengths are mapped over by vmap"):
        torch.func.vmap(lambda h, n: attention(h, n)[0])(torch.randn(2, 1, 5, 3), torch.tensor([[5], [3]]))


@pytest.mark.filterwarnings("ignore:There is a performance drop")  # torch loops where it has no batching rule
@pytest.mark.parametrize("transform", CHECKS)
@pytest.mark.parametrize("name", CASES)
def test_what_the_page_says_of_it(name, transform):
    cases = CASES[name] if transform != "hessian" else CASES[name][:1]  # which takes the longest
    for number, case in enumerate(cases):
        if table()[name][transform]:
            CHECKS[transform](case, None if transform in ("vmap", "hessian") else truth(name, number))
        else:
            with pytest.raises(RuntimeError, match=f"has no {transform}"):
                CHECKS[transform](case, None)
