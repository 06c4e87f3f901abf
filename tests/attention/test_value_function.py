"""Laws of the value function."""

import copy

import numpy as np
import pytest
import torch

from audioattn_lib.attention.densities.beta_gaussian import BetaGaussian
from audioattn_lib.attention.expectations.gaussian import GaussianBasis
from audioattn_lib.attention.expectations.value_function import BOUNDARIES, ValueFunction, frame_centres
from audioattn_lib.core.errors import ConfigError


def by_least_squares(function, values, boundary):
    """The regression as the paper writes it: all points, all targets, one dense solve."""
    n = len(values)
    margin = 0 if boundary == "renormalise" else n // 2
    points = (torch.arange(-margin, n + margin, dtype=torch.float64) + 0.5) / n
    index = torch.arange(-margin, n + margin)
    targets = torch.zeros(len(points), values.shape[1], dtype=torch.float64)
    targets[margin : margin + n] = values
    if boundary == "reflect":
        targets = values[torch.where(index < 0, -1 - index, torch.where(index >= n, 2 * n - 1 - index, index))]
    psi = function.basis(points)
    return torch.linalg.solve(psi.T @ psi + function.penalty * torch.eye(len(function.basis)), psi.T @ targets)


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("n_frames", [1, 2, 3, 8, 49, 50])
def test_is_the_ridge_regression_at_odd_and_even_lengths(boundary, n_frames):
    function = ValueFunction(GaussianBasis.grid(20), boundary=boundary)
    values = torch.randn(n_frames, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(n_frames))
    coefficients = by_least_squares(function, values, boundary)
    torch.testing.assert_close(function.matrix(n_frames).T @ values, coefficients, atol=1e-6, rtol=0)
    times = torch.linspace(0, 1, 11, dtype=torch.float64)
    torch.testing.assert_close(function.reconstruct(values, times), function.basis(times) @ coefficients)


def test_even_lengths_are_like_odd_ones():
    function = ValueFunction(GaussianBasis.grid())
    errors = []
    for n_frames in (399, 400, 401):
        constant = torch.ones(n_frames, 1, dtype=torch.float64)
        error = function.reconstruct(constant, frame_centres(n_frames)) - 1
        errors.append(error.square().mean().sqrt().item())
    assert np.ptp(errors) < 1e-3
    assert errors[0] == pytest.approx(0.10, abs=0.02)  # the published figure for a constant signal


def test_mended_boundaries_do_not_pull_a_constant_down():
    n_frames = 200
    constant = torch.ones(n_frames, 1, dtype=torch.float64)
    for boundary in ("reflect", "renormalise"):
        function = ValueFunction(GaussianBasis.grid(), boundary=boundary)
        assert (function.reconstruct(constant, frame_centres(n_frames)) - 1).abs().max() < 0.02
        density = BetaGaussian(torch.tensor([0.02], dtype=torch.float64), torch.tensor([0.01], dtype=torch.float64))
        weights = function.read_weights(function.expect(density), [n_frames], n_frames)
        if boundary == "renormalise":
            assert weights.sum().item() == pytest.approx(1, abs=0.02)


def test_smooth_signals_are_followed():
    n_frames = 300
    t = frame_centres(n_frames)
    signal = torch.stack([torch.cos(2 * np.pi * t), torch.cos(3 * np.pi * t)], dim=1)
    for boundary in ("reflect", "renormalise"):
        fitted = ValueFunction(GaussianBasis.grid(), boundary=boundary).reconstruct(signal, t)
        assert (fitted - signal).abs().max() < 0.1, boundary


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_read_weights_are_the_expectation_of_the_function(boundary):
    function = ValueFunction(GaussianBasis.grid(), boundary=boundary)
    lengths, n_frames = [40, 1, 17, 40], 40
    location = torch.tensor([0.1, 0.4, 0.5, 0.9], dtype=torch.float64)
    density = BetaGaussian(location, torch.full_like(location, 0.01), 1.5)
    expectations = function.expect(density)
    weights = function.read_weights(expectations, lengths, n_frames)
    values = torch.randn(4, n_frames, 2, dtype=torch.float64)
    for clip, length in enumerate(lengths):
        assert (weights[clip, length:] == 0).all()
        coefficients = function.matrix(length).T @ values[clip, :length]
        torch.testing.assert_close(weights[clip, :length] @ values[clip, :length], expectations[clip] @ coefficients)
        alone = function.read_weights(expectations[clip : clip + 1], [length], length)
        torch.testing.assert_close(alone[0], weights[clip, :length])


def test_the_memory_of_the_cache_is_bounded_and_its_content_right():
    function = ValueFunction(GaussianBasis.grid(8), cache_bytes=30 * 8 * 8)
    first = function.matrix(12).clone()
    for n_frames in range(1, 20):
        function.matrix(n_frames)
        assert sum(kept.nbytes for kept in function._cache._kept.values()) <= 30 * 8 * 8
    assert torch.equal(function.matrix(12), first)
    assert function.matrix(100).shape == (100, 8)  # too large to keep, computed all the same
    assert len(copy.deepcopy(function)._cache) == 0


def test_long_clips_are_regressed_in_chunks(monkeypatch):
    basis = GaussianBasis.grid(10)
    for boundary in BOUNDARIES:
        whole = ValueFunction(basis, boundary=boundary).matrix(101)
        with monkeypatch.context() as patch:
            patch.setattr("audioattn_lib.attention.expectations.value_function._CHUNK", 16)
            torch.testing.assert_close(ValueFunction(basis, boundary=boundary).matrix(101), whole, atol=1e-10, rtol=0)


def test_what_cannot_be_is_named():
    basis = GaussianBasis.grid(4)
    with pytest.raises(ConfigError, match=r"penalty is 0\.0"):
        ValueFunction(basis, 0.0)
    with pytest.raises(ConfigError, match="boundary is 'mirror'; .* zero, reflect, renormalise"):
        ValueFunction(basis, boundary="mirror")
    with pytest.raises(ValueError, match="n_frames is 0"):
        ValueFunction(basis).matrix(0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("lengths", [[7, 1, 4, 7], [4, 4], [3, 9]])
def test_clips_of_a_padded_batch_are_read_as_alone(lengths, dtype):
    """Each by its own matrix, with zeros on padding, the gradients of both orders, and the same under vmap."""
    function, n_frames = ValueFunction(GaussianBasis.grid(6)), 9
    given = torch.randn(len(lengths), 6, dtype=dtype, generator=torch.Generator().manual_seed(0), requires_grad=True)
    matrices = [function.matrix(length, dtype) for length in lengths]
    alone = [torch.nn.functional.pad(g @ r, (0, n_frames - len(g))) for g, r in zip(matrices, given, strict=True)]
    weights = function.read_weights(given, lengths, n_frames)
    torch.testing.assert_close(weights, torch.stack(alone))
    for clip, length in enumerate(lengths):
        assert (weights[clip, length:] == 0).all()
    ours, theirs = (torch.autograd.grad(x.sin().sum(), given)[0] for x in (weights, torch.stack(alone)))
    torch.testing.assert_close(ours, theirs)
    mapped = torch.vmap(lambda r: function.read_weights(r, lengths, n_frames))(given.detach().expand(2, -1, -1))
    torch.testing.assert_close(mapped[1], weights.detach())
    if dtype == torch.float64:
        read = lambda r: function.read_weights(r, lengths, n_frames)  # noqa: E731
        assert torch.autograd.gradcheck(read, given, check_forward_ad=True)
        assert torch.autograd.gradgradcheck(lambda r: read(r).sin(), given)
