"""Weights are those of exact arithmetic, rounded: over types, solvers and rows that are hard for a threshold."""

import functools
import math

import mpmath
import numpy as np
import pytest
import torch

from audioattn_lib.attention.maps import entmax as maps
from audioattn_lib.attention.maps.entmax import entmax, softmax, sparsemax

ALPHA = [1 + 1e-9, 1.0624, 1.1, 4 / 3, 1.5, 1.7, 1.999, 2.0, 2.001, 2.5, 7.0]
SOLVERS = ["loops", "pytorch", "device"]


@pytest.fixture(params=SOLVERS)
def solve(request, monkeypatch):
    """The map by the compiled loops, by PyTorch, and by the fixed number of steps of a device."""
    if request.param != "loops":
        monkeypatch.setattr(maps, "are_compiled", lambda x: False)
    if request.param == "device":
        monkeypatch.setattr("audioattn_lib.attention.maps.threshold.are_at_hand", lambda x: False)
    return entmax


@functools.cache
def truth(alpha):
    """The hard rows in float32 with their weights."""
    rows = [row.astype(np.float32) for row in hard_rows()]
    return [(torch.tensor(row), torch.tensor(exact(row, alpha))) for row in rows]


def exact(scores, alpha):
    """Weights at 50 digits, more where the smallest can be below them, by halving over the distinct scores."""
    distinct, index, counts = np.unique(-np.asarray(scores, dtype=float), return_inverse=True, return_counts=True)
    # the smallest weight is raised to alpha - 1
    with mpmath.workdps(50 + int(8 * alpha)):
        over = mpmath.mpf(alpha) - 1
        k, top = 1 / over, mpmath.mpf(float(-distinct[0]))
        z = [(mpmath.mpf(float(-value)) - top) * over for value in distinct if -value > -math.inf]
        z = [value for value in z if value > -1]

        def mass(level):
            return sum(int(n) * (value - level) ** k for value, n in zip(z, counts, strict=False) if value > level)

        first, last = 0, len(z) - 1
        while first < last:
            middle = (first + last + 1) // 2
            first, last = (middle, last) if mass(z[middle]) < 1 else (first, middle - 1)
        high = z[first]
        low = z[first + 1] if first + 1 < len(z) else mpmath.mpf(-1)
        for _ in range(int(3.4 * mpmath.mp.dps)):
            middle = (low + high) / 2
            low, high = (middle, high) if mass(middle) >= 1 else (low, middle)
        weights = np.zeros(len(distinct))
        weights[: len(z)] = [float(max(value - low, 0) ** k) for value in z]
    return weights[index]


def hard_rows():
    generator = np.random.default_rng(0)
    for n, scales in ((1, (1.0,)), (2, (1e-42, 0.3)), (20, (1e-42, 1e-3, 0.3, 3.0, 1e30))):
        for scale in scales:
            yield scale * generator.standard_normal(n)
    yield np.r_[0.0, np.full(9_999, -0.9999)]  # one ahead of silence
    yield np.r_[0.0, 0.0, np.full(99_998, -0.3)]
    yield np.zeros(20_000)
    near = np.full(500, -1.0)
    near[::2] = np.nextafter(np.float32(-1), np.float32(0))
    yield np.r_[-0.2, near]
    yield -(2.0 ** -np.arange(40.0))
    yield -(1 - 2.0 ** -np.arange(40.0))
    yield np.full(50, np.finfo(np.float32).min)
    yield np.r_[np.finfo(np.float32).min, np.finfo(np.float32).max, 0.0, -np.inf]
    yield np.r_[-np.inf, 1.0, 0.5, -np.inf]


@pytest.mark.parametrize("alpha", ALPHA)
def test_weights_are_the_exact_ones_rounded(alpha, solve):
    for row, expected in truth(alpha):
        single = solve(row, alpha).double()
        # two units in the last place of each weight, above what float64 itself can say of the smallest
        torch.testing.assert_close(single, expected, rtol=1.2e-7, atol=2e-12)
        double = solve(row.double(), alpha)
        torch.testing.assert_close(double, expected, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("alpha", [1.2, 1.9, 3.0])
def test_alphas_in_a_tensor_give_the_same_weights(alpha, solve):
    for row in hard_rows():
        x = torch.tensor(row[:20_000], dtype=torch.float32).expand(2, -1)
        rows = solve(x, torch.tensor([[alpha], [1.3]], dtype=torch.float64))
        torch.testing.assert_close(rows[0], solve(x[0], alpha), rtol=1.2e-7, atol=2e-12)


@pytest.mark.parametrize("n", [401, 3_000, 10_000, 100_000])
def test_sparsemax_of_one_score_ahead_of_silence(n, solve):
    x = torch.full((1, n), -0.9999)
    x[0, 0] = 0
    gap = 0.9999 if n == 1 else -x[0, 1].double()
    other = max((1 - gap) / n, 0)
    p = solve(x, 2.0)
    torch.testing.assert_close(p[0, 0].double(), gap + other, rtol=1e-7, atol=0)
    torch.testing.assert_close(p[0, 1].double(), torch.as_tensor(other), rtol=1e-7, atol=1e-16)


@pytest.mark.parametrize("alpha", [1.0, 1.2, 1.5, 2.0, 2.5, torch.tensor(1.6)], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_scores_masked_by_the_lowest_number_are_scores(alpha, dtype, solve):
    lowest = torch.finfo(dtype).min
    x = torch.full((2, 4), lowest, dtype=dtype)
    x[1, 2] = 0
    expected = torch.tensor([[0.25] * 4, [0.0, 0.0, 1.0, 0.0]], dtype=dtype)
    torch.testing.assert_close(solve(x, alpha), expected, rtol=torch.finfo(dtype).eps, atol=0)


@pytest.mark.parametrize("alpha", [2.5, 7.0, 20.0, torch.tensor(7.0)], ids=str)
def test_gradients_are_finite_and_right_for_large_alpha(alpha, solve):
    x = torch.tensor([[0.3, 0.29999, 0.1, -0.2], [0.0, 0.0, 0.0, -1.0], [0.1, 0.05, 0.02, 0.01]], dtype=torch.float64)
    x = (x / 10).requires_grad_()
    p = solve(x, alpha)
    g = torch.tensor([0.3, -1.0, 2.0, 0.5], dtype=torch.float64)
    (ours,) = torch.autograd.grad((p * g).sum(), x)
    # the same by hand, at 50 digits
    over = float(alpha) - 1
    for row, weights in enumerate(p.tolist()):
        with mpmath.workdps(200):
            s = [mpmath.mpf(w) ** (1 - over) if w > 0 else mpmath.mpf(0) for w in weights]
            mean = sum(a * b for a, b in zip(s, g.tolist(), strict=True)) / sum(s)
            by_hand = torch.tensor([float(a * (b - mean)) for a, b in zip(s, g.tolist(), strict=True)])
        if by_hand.abs().max() < 1e12:  # beyond, equal scores have a derivative that no type holds
            torch.testing.assert_close(ours[row], by_hand.double(), rtol=1e-6, atol=1e-9)
    single = x.detach().float().requires_grad_()
    (solve(single, alpha) * g.float()).sum().backward()
    assert single.grad.isfinite().all()


def test_the_slope_of_alpha_is_exact_down_to_softmax(solve):
    x = torch.tensor([[0.5, -1.0, 2.0, 0.0]], dtype=torch.float64)
    g = torch.tensor([0.3, -1.0, 2.0, 0.5], dtype=torch.float64)
    for value in (1.0, 1 + 1e-12, 1 + 1e-7, 1.0001, 1.01):
        alpha = torch.tensor(value, dtype=torch.float64, requires_grad=True)
        (slope,) = torch.autograd.grad((solve(x, alpha) * g).sum(), alpha)
        step = 1e-5
        up, more = ((solve(x, value + h) * g).sum() for h in (step, 2 * step))
        base = (solve(x, value) * g).sum() if value > 1 else (softmax(x) * g).sum()
        difference = (-3 * base + 4 * up - more) / (2 * step)  # alpha below 1 has no map
        torch.testing.assert_close(slope, difference, rtol=1e-6, atol=1e-8)
        single = torch.tensor(value, dtype=torch.float32, requires_grad=True)
        (slope_32,) = torch.autograd.grad((solve(x.float(), single) * g.float()).sum(), single)
        torch.testing.assert_close(slope_32.double(), slope, rtol=1e-5, atol=1e-6)


def test_large_inputs_in_threads_are_the_same():
    x = 3 * torch.randn(700, 300, generator=torch.Generator().manual_seed(0))
    alpha = torch.linspace(1, 3, 700)[:, None].requires_grad_()
    gradient = torch.randn(700, 300, generator=torch.Generator().manual_seed(1))
    results, threads = [], torch.get_num_threads()
    try:
        for number in (1, 3):
            torch.set_num_threads(number)
            scores = x.clone().requires_grad_()
            p = entmax(scores, alpha)
            results.append((p, *torch.autograd.grad(p, (scores, alpha), gradient)))
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(*both) for both in zip(*results, strict=True))


def test_sparsemax_is_the_projection_by_sorting():
    x = torch.randn(50, 1000, generator=torch.Generator().manual_seed(2)).double() / 30
    ordered = x.sort(descending=True).values
    total = ordered.cumsum(-1) - 1
    size = (ordered * torch.arange(1, 1001) > total).sum(-1, keepdim=True)
    threshold = total.gather(-1, size - 1) / size
    torch.testing.assert_close(sparsemax(x), (x - threshold).clamp(min=0), rtol=1e-12, atol=1e-15)


def test_the_published_entmax1333_is_close_to_ours():
    x = torch.randn(200, 401, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    apart = (entmax(x, 4 / 3) - entmax(x, 1.333)).abs().max()
    assert 1e-5 < apart < 1e-3
