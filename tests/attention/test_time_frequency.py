"""Laws of attention over time and frequency."""

import numpy as np
import pytest
import torch

from audioattn_lib.attention.densities.beta_gaussian import BetaGaussian
from audioattn_lib.attention.densities.mixture import Mixture
from audioattn_lib.attention.densities.multivariate import MultivariateBetaGaussian
from audioattn_lib.attention.expectations.bases import MultivariateGaussianBasis
from audioattn_lib.attention.expectations.gaussian import GaussianBasis, gaussian_expectation
from audioattn_lib.attention.expectations.multivariate import multivariate_gaussian_expectation
from audioattn_lib.attention.expectations.value_function import ValueFunction
from audioattn_lib.attention.expectations.value_surface import SURFACE_BOUNDARIES, ValueSurface, separable_expectation
from audioattn_lib.attention.pooling.time_frequency import TimeFrequencyAttention, plane_moments
from audioattn_lib.attention.record.density import Regions
from audioattn_lib.attention.record.export import save_npz
from audioattn_lib.attention.record.record import AttentionRecord, FrameClock
from audioattn_lib.core.errors import ConfigError

ALPHAS = [1.0, 4 / 3, 2.0]
OPTIONS = [{}, {"alpha": 1.0, "fused": True}, {"alpha": 1.5, "boundary": "reflect"}, {"n_components": 2}]
EVERY = pytest.mark.parametrize("options", OPTIONS, ids=str)
LENGTHS = torch.tensor([9, 1, 4, 6])


def make(seed=0, **options):
    torch.manual_seed(seed)
    return TimeFrequencyAttention(3, **{"hidden_size": 5, "n_basis": 8, **options}).double().eval()


def cells(*shape, seed=3):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def density(alpha, clips=2, lean=0.04):
    location = torch.tensor([[0.3, 0.6], [0.7, 0.2]], dtype=torch.float64)[:clips]
    factor = torch.tensor([[0.12, 0], [lean, 0.08]], dtype=torch.float64).expand(clips, 2, 2)
    return MultivariateBetaGaussian.from_cholesky(location, factor, alpha)


@EVERY
def test_padding_batch_and_order_change_nothing(options):
    attention, h = make(**options), cells(4, 9, 6, 3)
    together, record = attention(h, LENGTHS, record=True)
    assert together.shape == (4, attention.out_features) == (4, 3)
    assert torch.equal(attention(h, LENGTHS)[0], together)
    spoiled = h.clone()
    for clip, length in enumerate(LENGTHS):
        spoiled[clip, length:] = float("nan")
        context, alone_record = attention(h[clip : clip + 1, :length], record=True)
        torch.testing.assert_close(context[0], together[clip])
        np.testing.assert_allclose(alone_record.frame_attention(), record.frame_attention(clip), atol=1e-6)
    torch.testing.assert_close(attention(spoiled, LENGTHS)[0], together)
    torch.testing.assert_close(attention(h.flip(0), LENGTHS.flip(0))[0].flip(0), together)
    torch.testing.assert_close(attention(torch.cat([h, cells(4, 5, 6, 3)], dim=1), LENGTHS)[0], together)


@EVERY
def test_gradients_ignore_padding_and_reach_every_parameter(options):
    attention, h = make(**options), cells(4, 9, 6, 3)
    h[1, 1:] = float("inf")
    h.requires_grad_()
    attention(h, LENGTHS)[0].square().sum().backward()
    assert (h.grad[1, 1:] == 0).all()
    assert h.grad.isfinite().all()
    for name, parameter in attention.named_parameters():
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_the_gradient_is_the_gradient(options):
    attention = make(**{**options, "hidden_size": 3, "n_basis": 4})
    h = cells(2, 4, 3, 3).requires_grad_()
    assert torch.autograd.gradcheck(lambda h: attention(h, torch.tensor([4, 3]))[0], h)


@EVERY
def test_every_cell_is_read_with_its_weight(options):
    attention, h = make(**options), cells(4, 9, 6, 3)
    attended = attention.attend(h, LENGTHS)
    context = torch.einsum("btf,btfc->bc", attended.read_weights, h)
    torch.testing.assert_close(context, attention(h, LENGTHS)[0])
    torch.testing.assert_close(attended.weights.sum((1, 2)), torch.ones(4, dtype=torch.float64))
    for clip, length in enumerate(LENGTHS):
        assert (attended.read_weights[clip, length:] == 0).all()


def test_moments_are_those_of_the_places():
    weights = torch.softmax(cells(2, 1, 42), -1).unflatten(-1, (7, 6))
    times, bands = torch.linspace(0, 1, 7).double().expand(2, 7), torch.linspace(0, 1, 6).double()
    location, factor = plane_moments(weights, times, bands)
    places = torch.cartesian_prod(times[0], bands).numpy()
    for clip in range(2):
        p = weights[clip, 0].flatten().numpy()
        np.testing.assert_allclose(location[clip, 0], p @ places)
        covariance = np.cov(places.T, aweights=p, ddof=0)
        np.testing.assert_allclose((factor @ factor.mT)[clip, 0], covariance, atol=1e-12)


def test_cells_on_a_line_have_a_density():
    for shape in ((1, 1, 1, 3), (1, 5, 1, 3), (1, 1, 5, 3)):
        context, record = make()(cells(*shape), record=True)
        assert context.isfinite().all()
        assert record.maps.sum() <= 1 + 1e-6
        assert record.maps.sum() > 0.1
    diagonal = torch.eye(5, dtype=torch.float64)[None, None] / 5
    times = torch.linspace(0, 1, 5).double()
    _, factor = plane_moments(diagonal, times[None], times)
    assert factor[0, 0, 1, 1] >= 1e-4


@pytest.mark.parametrize("alpha", [*ALPHAS, 1.7])
def test_expectations_are_those_of_every_product(alpha):
    along, across = GaussianBasis.grid(6), GaussianBasis.grid(4, (0.07, 0.3))
    centres = [(m1, m2) for m1 in along.centres for m2 in across.centres]
    widths = [(w1, w2) for w1 in along.widths for w2 in across.widths]
    expected = multivariate_gaussian_expectation(density(alpha), MultivariateGaussianBasis(centres, widths))
    expectation = separable_expectation(density(alpha), along, across)
    assert expectation.shape == (2, 6, 4)
    torch.testing.assert_close(expectation.flatten(1), expected, rtol=1e-9, atol=1e-11)
    weights = torch.tensor([0.25, 0.75], dtype=torch.float64)
    mixed = separable_expectation(Mixture(weights, density(alpha)), along, across)
    torch.testing.assert_close(mixed, 0.25 * expectation[0] + 0.75 * expectation[1])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("deviation", [0.01, 0.15, 0.5])
@pytest.mark.parametrize("alpha", [1 + 1e-10, 1.001, 1.05, 1.5, 1.7, 2.0, 3.0])
def test_expectations_of_narrow_and_wide_densities(alpha, deviation, dtype):
    """Close to the Gaussian and as wide as the plane too, against a quadrature in both coordinates."""
    along, across = GaussianBasis([0.1, 0.55], [0.1, 0.5]), GaussianBasis([0.3, 0.8], [0.1, 0.2])
    factor = deviation * torch.tensor([[[1, 0], [0.2, 0.1]], [[0.1, 0], [-0.9, 0.3]]], dtype=torch.float64)
    location = torch.tensor([[0.3, 0.6], [0.7, 0.2]], dtype=torch.float64)
    single = MultivariateBetaGaussian.from_cholesky(location.to(dtype), factor.to(dtype), alpha)
    centres = [(m1, m2) for m1 in along.centres for m2 in across.centres]
    widths = [(w1, w2) for w1 in along.widths for w2 in across.widths]
    expected = multivariate_gaussian_expectation(single.double(), MultivariateGaussianBasis(centres, widths))
    expectation = separable_expectation(single, along, across).flatten(1).double()
    budget = 1e-9 if dtype == torch.float64 else 1e-5
    assert (expectation - expected).abs().max() <= budget * expected.max()
    mapped = torch.vmap(
        lambda m, a: separable_expectation(
            MultivariateBetaGaussian.from_cholesky(m, a, alpha, check=False), along, across
        )
    )(single.location, single.cholesky)
    assert (mapped.flatten(1).double() - expected).abs().max() <= 2 * budget * expected.max()


def test_what_is_too_wide_for_the_basis_is_refused():
    basis = GaussianBasis.grid(4)
    wide = torch.eye(2, dtype=torch.float64)[None] * 40
    with pytest.raises(ConfigError, match=r"too wide for the basis: its deviation is 566 of the finest widths"):
        separable_expectation(
            MultivariateBetaGaussian.from_cholesky(torch.zeros(1, 2).double(), wide, 1.5), basis, basis
        )
    # where nobody looks, NaN

    def one(factor):
        plane = MultivariateBetaGaussian.from_cholesky(torch.zeros(2).double(), factor, 1.5, check=False)
        return separable_expectation(plane, basis, basis)

    mapped = torch.vmap(one)(torch.stack([torch.eye(2).double() * 0.4, torch.eye(2).double()]))
    assert mapped[0].isfinite().all()
    assert mapped[1].isnan().all()


@pytest.mark.parametrize("alpha", [1.001, 1.5, 1.7])
def test_gradients_of_both_orders(alpha):
    basis = GaussianBasis.grid(4, (0.2, 0.5))
    location = torch.tensor([[0.3, 0.6]], dtype=torch.float64, requires_grad=True)
    factor = torch.tensor([[[0.2, 0], [0.1, 0.1]]], dtype=torch.float64, requires_grad=True)

    def f(location, factor):
        single = MultivariateBetaGaussian.from_cholesky(location, factor.tril(), alpha, check=False)
        return separable_expectation(single, basis, basis)

    assert torch.autograd.gradcheck(f, (location, factor))
    assert torch.autograd.gradgradcheck(f, (location, factor))


def test_without_correlation_a_gaussian_is_a_product():
    along, across = GaussianBasis.grid(6), GaussianBasis.grid(4, (0.07, 0.3))
    single = density(1.0, lean=0.0)
    time, frequency = (
        gaussian_expectation(BetaGaussian(single.location[:, axis], single.variance[:, axis], 1.0), basis)
        for axis, basis in enumerate((along, across))
    )
    torch.testing.assert_close(separable_expectation(single, along, across), time[:, :, None] * frequency[:, None])
    # with next to no penalty the regression is a product too, and so is the expectation of a separable value
    surface = ValueSurface(along, across, 1e-10)
    weights = surface.read_weights(surface.expect(single), [12, 12], 12, 9)
    h, g = cells(12), cells(9)
    context = torch.einsum("btf,t,f->b", weights, h, g)
    factors = []
    for axis, (basis, value) in enumerate(((along, h), (across, g))):
        function = ValueFunction(basis, 1e-10)
        line = BetaGaussian(single.location[:, axis], single.variance[:, axis], 1.0)
        factors.append(function.read_weights(function.expect(line), [len(value)] * 2, len(value)) @ value)
    torch.testing.assert_close(context, factors[0] * factors[1], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("boundary", SURFACE_BOUNDARIES)
@pytest.mark.parametrize(("n_frames", "n_bands"), [(7, 6), (8, 5), (1, 4), (3, 1)])
def test_the_weights_are_those_of_the_full_regression(boundary, n_frames, n_bands):
    """Against the system over all pairs of basis functions that is never built otherwise."""
    along, across = GaussianBasis.grid(6), GaussianBasis.grid(4, (0.1, 0.3))
    surface = ValueSurface(along, across, 0.1, boundary)

    def grid(basis, n):
        margin = n // 2
        at = torch.arange(-margin, n + margin)
        inside = at % (2 * n)
        mirrored = torch.where(inside < n, inside, 2 * n - 1 - inside)
        carries = torch.nn.functional.one_hot(mirrored, n).double()
        if boundary == "zero":
            carries = carries * ((at >= 0) & (at < n))[:, None]
        return basis((at + 0.5).double() / n), carries

    (phi, time), (chi, band) = grid(along, n_frames), grid(across, n_bands)
    full = torch.kron(phi, chi)  # (points, functions)
    r = surface.expect(density(2.0, 1))
    system = full.T @ full + 0.1 * torch.eye(24, dtype=torch.float64)
    expected = torch.kron(time, band).T @ (full @ torch.linalg.solve(system, r.flatten()))
    weights = surface.read_weights(r, [n_frames], n_frames, n_bands)
    torch.testing.assert_close(weights.flatten(), expected, rtol=1e-8, atol=1e-10)
    single = surface.read_weights(r.float(), [n_frames], n_frames, n_bands)
    torch.testing.assert_close(single.flatten().double(), expected, rtol=1e-4, atol=1e-5)
    h = cells(n_frames, n_bands, 2)
    times = torch.linspace(0, 1, 401, dtype=torch.float64)
    function = surface.reconstruct(h, times, times)
    p = density(2.0, 1).pdf(torch.cartesian_prod(times, times)).reshape(401, 401)
    mean = torch.einsum("tf,tfh->h", p / p.sum(), function)
    torch.testing.assert_close(mean, torch.einsum("tf,tfh->h", weights[0], h), rtol=2e-3, atol=1e-4)


def test_modes_of_equal_weights_on_one_cell_are_one():
    h = cells(2, 1, 1, 3)
    torch.testing.assert_close(make(n_components=3)(h)[0], make()(h)[0])


@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize("deviation", [(0.3, 1.5), (2.0, 0.01), (1e-4, 1e-4), (0.1, 8.0)])
def test_a_map_holds_the_mass_in_each_cell(alpha, deviation):
    a, b = deviation
    covariance = np.array([[a**2, 0.3 * a * b], [0.3 * a * b, b**2]])
    regions = Regions(np.array([[[2.05, 7.2]]]), covariance[None, None], np.full((1, 1), alpha), np.ones((1, 1)))
    edges = -0.1 + 0.1 * np.arange(61)
    cells = regions.cells(0, edges, 20)
    single = MultivariateBetaGaussian(torch.tensor([2.05, 7.2]).double(), torch.tensor(covariance), alpha)
    points = single.sample((200_000,), torch.Generator().manual_seed(0)).numpy()
    counted = np.histogram2d(points[:, 1], points[:, 0], [np.arange(21) - 0.5, edges])[0] / len(points)
    assert cells.sum() == pytest.approx(counted.sum(), abs=0.02)
    assert np.abs(cells.sum(0) - counted.sum(0)).max() < 0.05
    assert np.abs(cells.sum(1) - counted.sum(1)).max() < 0.05
    if alpha > 1 and b == 1.5:
        border = regions.outline()
        distance = np.einsum("ni,ij,nj->n", border - [2.05, 7.2], np.linalg.inv(covariance), border - [2.05, 7.2])
        np.testing.assert_allclose(np.sqrt(distance), regions.radius[0, 0])
        low, high = np.flatnonzero(cells.sum(0))[[0, -1]]
        assert abs(edges[low] - border[:, 0].min()) < 0.15
        assert abs(edges[high] - border[:, 0].max()) < 0.15


def test_the_record_is_in_seconds_and_rows(tmp_path):
    attention, h = make(alpha=1.5, n_components=2), cells(4, 9, 6, 3)
    hertz = np.linspace(100, 4000, 6)
    clock = FrameClock(0.1, -0.05)
    _, record = attention(h, LENGTHS, clock=clock, frequencies=hertz, record=True)
    assert record.mechanism == "time_frequency"
    assert record.maps.shape == (4, 1, 1, 6, 9)
    weights = attention.attend(h, LENGTHS).weights.detach().numpy()
    for clip, n in enumerate(LENGTHS):
        share = record.regions.mode_weight[clip]
        time, row = share @ record.regions.location[clip]
        assert time == pytest.approx(weights[clip, :n].sum(1) @ clock.centres(int(n)))
        assert row == pytest.approx(weights[clip, :n].sum(0) @ np.arange(6))
        assert (record.maps[clip, ..., n:] == 0).all()
    kept = AttentionRecord.load(save_npz(record.named("abcd"), tmp_path / "attention.npz"))
    np.testing.assert_array_equal(kept.regions.covariance, record.regions.covariance)
    both = AttentionRecord.concatenate([record[:1], record[[2, 3]]])
    np.testing.assert_array_equal(both.regions.location, record.regions.location[[0, 2, 3]])
    np.testing.assert_array_equal(both.maps[2], record.maps[3])


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_autocast_and_half_precision(options):
    attention, h = make(**options), cells(2, 30, 12, 3)
    full = attention(h)[0]
    with torch.autocast("cpu", torch.bfloat16):
        low = attention.float()(h.float())[0]
    torch.testing.assert_close(low.double(), full, atol=0.05, rtol=0.05)
    low = attention.bfloat16()(h.bfloat16())[0]
    assert low.dtype == torch.bfloat16
    torch.testing.assert_close(low.double(), full, atol=0.05, rtol=0.1)


def test_what_cannot_be_is_named():
    with pytest.raises(ValueError, match=r"shape \(2, 9, 3\); they must be \(batch, frames, bands, features\)"):
        make()(cells(2, 9, 3))
    with pytest.raises(ValueError, match="clip 1 of the batch has 12 valid frames; it must have 1 to 9"):
        make()(cells(2, 9, 4, 3), torch.tensor([3, 12]))
    with pytest.raises(ConfigError, match="boundary is 'renormalise'; it must be one of zero, reflect"):
        make(boundary="renormalise")
    with pytest.raises(ConfigError, match=r"alpha is 0\.5"):
        make(alpha=0.5)
    with pytest.raises(ConfigError, match="n_components is 0"):
        make(n_components=0)
    basis = GaussianBasis.grid(4)
    with pytest.raises(ConfigError, match="penalty is 0"):
        ValueSurface(basis, basis, 0.0)
    with pytest.raises(ConfigError, match="alpha is a tensor"):
        separable_expectation(density(torch.tensor([1.5, 1.6])), basis, basis)
    with pytest.raises(ConfigError, match="the density has 3 dimensions; a plane has 2"):
        separable_expectation(MultivariateBetaGaussian(torch.zeros(3), torch.eye(3)), basis, basis)
    with pytest.raises(ValueError, match="covariance has the determinant"):
        Regions(np.zeros((1, 1, 2)), np.zeros((1, 1, 2, 2)), np.ones((1, 1)), np.ones((1, 1)))
    with pytest.raises(ValueError, match=r"location has shape \(1, 1\)"):
        Regions(np.zeros((1, 1)), np.eye(2)[None, None], np.ones((1, 1)), np.ones((1, 1)))


@pytest.mark.cuda
@EVERY
def test_cuda_says_the_same(options):
    attention, h = make(**options), cells(4, 9, 6, 3)
    here = attention(h, LENGTHS)[0]
    there, record = attention.cuda()(h.cuda(), LENGTHS, record=True)
    torch.testing.assert_close(there.cpu(), here)
    assert record.maps.shape == (4, 1, 1, 6, 9)
