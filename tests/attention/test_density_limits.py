"""Laws of the densities where formulas run out of digits: alpha close to 1, the middle, the ends, half types."""

import math
from functools import cache

import mpmath as mp
import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from audioattn_lib.attention.densities.beta_gaussian import BetaGaussian
from audioattn_lib.attention.densities.losses import conjugate, cross_fenchel_young_loss, fenchel_young_loss
from audioattn_lib.attention.densities.mixture import Mixture
from audioattn_lib.attention.densities.multivariate import MultivariateBetaGaussian
from audioattn_lib.attention.densities.quadrature import gauss_legendre
from audioattn_lib.attention.expectations.bases import FunctionBasis, MultivariateGaussianBasis, PowerBasis, WaveBasis
from audioattn_lib.attention.expectations.gaussian import GaussianBasis, gaussian_expectation
from audioattn_lib.attention.expectations.general import basis_expectation, density_nodes
from audioattn_lib.attention.expectations.multivariate import multivariate_gaussian_expectation
from audioattn_lib.attention.expectations.value_variance import std
from audioattn_lib.attention.pooling.frames import ContinuousAttention
from audioattn_lib.core.errors import ConfigError

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.cuda)]
HALF = [torch.float16, torch.bfloat16]
CLOSE = [1 + 2.0**-52, 1 + 1e-14, 1 + 1e-10, 1 + 1e-7, 1.001]


def f64(*values):
    return torch.tensor(values, dtype=torch.float64)


@cache
def standard(alpha):
    """With 30 digits: the density of location 0 and variance 1, its mass below a point, its half-width."""
    mp.mp.dps = 30
    k = 1 / (mp.mpf(alpha) - 1)
    a = mp.sqrt(2 * k + 3)
    height = mp.exp(mp.loggamma(k + mp.mpf("1.5")) - mp.loggamma(k + 1)) / mp.sqrt(mp.pi) / a

    def pdf(z):
        return height * mp.exp(k * mp.log1p(-((mp.mpf(z) / a) ** 2))) if abs(z) < a else mp.mpf(0)

    def cdf(z):
        low = max(-a, mp.mpf(-12))
        return mp.quad(pdf, [low, (low + z) / 2, z])

    return pdf, cdf, a


@pytest.mark.parametrize("tensor", [False, True])
@pytest.mark.parametrize("alpha", CLOSE)
def test_close_to_the_gaussian_every_digit_is_right(alpha, tensor):
    """Against 30 digits: the limit is reached without a step on the way."""
    pdf, cdf, _ = standard(alpha)
    points = (-5.0, -1.25, -1e-3, 0.0, 0.75, 3.0)
    density = BetaGaussian(f64(0.0), f64(1.0), f64(alpha) if tensor else alpha)
    t = f64(*points)
    masses = f64(*[float(cdf(z)) for z in points])
    torch.testing.assert_close(density.pdf(t), f64(*[float(pdf(z)) for z in points]), rtol=2e-14, atol=0)
    torch.testing.assert_close(density.cdf(t), masses, rtol=3e-13, atol=0)
    # the mass of the last point is known to fewer digits than the point
    torch.testing.assert_close(density.icdf(masses), t, rtol=1e-12, atol=5e-14)


def test_the_mass_of_a_gaussian_far_out():
    points = (-36.0, -20.0, -8.0, -5.0, -1.0, 0.0, 2.0)
    truth = f64(*[float(mp.ncdf(z)) for z in points])
    torch.testing.assert_close(BetaGaussian(f64(0.0), f64(1.0), 1.0).cdf(f64(*points)), truth, rtol=3e-13, atol=0)


@pytest.mark.parametrize("tensor", [False, True])
@pytest.mark.parametrize("alpha", CLOSE)
def test_expectations_close_to_the_gaussian(alpha, tensor):
    pdf, _, a = standard(alpha)
    centre, width = mp.mpf("0.7"), mp.mpf("0.5")

    def integrand(z):
        return pdf(z) * mp.exp(-(((z - centre) / width) ** 2) / 2) / (width * mp.sqrt(2 * mp.pi))

    end = min(a, mp.mpf(9))
    truth = float(mp.quad(integrand, [-end, -2, 0, centre, 2, end]))
    given = f64(alpha) if tensor else alpha
    line = BetaGaussian(f64(0.0), f64(1.0), given)
    basis = GaussianBasis([0.7], [0.5])
    assert gaussian_expectation(line, basis).item() == pytest.approx(truth, rel=1e-13)
    whole = gaussian_expectation(line, basis, interval=(-math.inf, math.inf))
    assert whole.item() == pytest.approx(truth, rel=1e-13)
    flat = MultivariateBetaGaussian(f64(0.0), f64([1.0]), given)
    single = multivariate_gaussian_expectation(flat, MultivariateGaussianBasis([[0.7]], [0.5]))
    assert single.item() == pytest.approx(truth, rel=1e-13)


@pytest.mark.parametrize("alpha", [1.05, 1.7, 2.0, 2.05, 2.3, 2.5, 2.9, 3.0, 4.0, 6.0, 7.0, 10.0, 20.0, 100.0])
def test_expectations_of_every_alpha_are_as_exact(alpha):
    """Against ten times the nodes, for half-widths and basis widths of the range that is stated."""
    generator = torch.Generator().manual_seed(0)
    a, place, apart, w = torch.rand(4, 64, generator=generator, dtype=torch.float64)
    a, w = 10 ** (a * 3.17 - 3), 0.03 + 0.47 * w * (w > 0.3)
    variance = a**2 * max((alpha - 1) / (3 * alpha - 1), 1 / 81)
    centres = place + (2 * apart - 1) * a
    k = 1 / (alpha - 1)
    y, q = (torch.from_numpy(x) for x in gauss_legendre(1200, 3))
    for dtype, budget in ((torch.float64, 1e-12), (torch.float32, 2e-6)):
        location, variance = place.to(dtype).double(), variance.to(dtype).double()
        half_width = ((2 * k + 3) * variance).sqrt()
        # around the location, in the window in which the basis function is anything
        d = centres - location
        low, high = torch.maximum(-half_width, d - 10 * w), torch.minimum(half_width, d + 10 * w)
        radius = ((high - low) / 2).clamp(min=0)[:, None]
        x = (low + high)[:, None] / 2 + radius * y
        psi = torch.exp(-0.5 * ((x - d[:, None]) / w[:, None]) ** 2) / (w[:, None] * math.sqrt(2 * math.pi))
        truth = (BetaGaussian(torch.zeros_like(d)[:, None], variance[:, None], alpha).pdf(x) * psi * radius) @ q
        density = BetaGaussian(location.to(dtype), variance.to(dtype), alpha)
        ours = gaussian_expectation(density, GaussianBasis(centres.tolist(), w.tolist())).diagonal()
        assert (ours.double() - truth).abs().max() < budget


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("alpha", [1.0, 1.2, 4 / 3, 1.5, 1.7, 2.0, 3.0])
def test_slope_of_mass_and_quantile_at_the_location(alpha, dtype, device):
    """The derivative of the mass is the density, that of a quantile one over it: in the middle as elsewhere."""
    location = torch.tensor([0.25, -1.0], dtype=dtype, device=device, requires_grad=True)
    variance = torch.tensor([0.5, 2.0], dtype=dtype, device=device)
    for given in (alpha, torch.full((2,), alpha, dtype=dtype, device=device)):
        density = BetaGaussian(location, variance, given)
        t = location.detach().clone().requires_grad_()
        by_point, by_location = torch.autograd.grad(density.cdf(t).sum(), (t, location))
        height = density.pdf(t).detach()
        torch.testing.assert_close(by_point, height)
        torch.testing.assert_close(by_location, -height)
        q = torch.full_like(t, 0.5, requires_grad=True)
        torch.testing.assert_close(density.icdf(q).detach(), location.detach(), atol=1e-7, rtol=0)
        by_mass, by_location = torch.autograd.grad(density.icdf(q).sum(), (q, location))
        torch.testing.assert_close(by_mass, 1 / height)
        torch.testing.assert_close(by_location, torch.ones_like(by_location))


@pytest.mark.parametrize("alpha", [1.0, 1.5, 2.0, "tensor"])
def test_gradients_of_both_orders_in_the_middle(alpha):
    inputs = (f64(0.3, -1.0), f64(0.02, 2.0), f64(0.3, -1.0), f64(0.5, 0.5))
    inputs += (f64(1.4, 1.9),) if alpha == "tensor" else ()
    inputs = tuple(x.requires_grad_() for x in inputs)

    def f(location, variance, t, q, alpha=alpha):
        density = BetaGaussian(location, variance, alpha, check=False)
        return density.cdf(t), density.icdf(q)

    assert gradcheck(f, inputs)
    assert gradgradcheck(f, inputs)


def test_what_is_not_a_number_has_no_mass_below_it():
    for alpha in (1.0, 2.0, f64(1.5)):
        density = BetaGaussian(f64(0.0), f64(1.0), alpha)
        nan = f64(math.nan)
        for name in ("pdf", "log_prob", "cdf", "icdf"):
            assert getattr(density, name)(nan).isnan().all(), name


@pytest.mark.parametrize("shape", [(), (1,), (3,), (2, 3)])
@pytest.mark.parametrize("number", [1.0, 1.5, 2.0])
def test_alpha_as_a_tensor_without_axes(number, shape):
    """Everything that a density has, of a shape without axes too, and with one alpha for all."""
    alpha = torch.tensor(number, dtype=torch.float64, requires_grad=True)
    location, variance = torch.full(shape, 0.3).double(), torch.full(shape, 0.02).double()
    basis = GaussianBasis.grid(4)

    def everything(alpha):
        line = BetaGaussian(location, variance, alpha)
        plane = MultivariateBetaGaussian(
            location[..., None].expand(*shape, 2), torch.diag_embed(variance[..., None].expand(*shape, 2)), alpha
        )
        t, x = f64(0.35)[0], f64(0.35, 0.2)
        results = [getattr(line, name)(t) for name in ("pdf", "log_prob", "cdf", "icdf")]
        results += [plane.pdf(x), plane.log_prob(x), line.half_width, plane.half_width, line.scale, plane.scale]
        for each, point in ((line, t), (plane, x)):
            results += [each.entropy(), each.tsallis_entropy(), conjugate(each)]
            results += [fenchel_young_loss(each, each), cross_fenchel_young_loss(each, point)]
        results += [BetaGaussian.from_scale(location, variance, alpha).variance]
        results += [MultivariateBetaGaussian.from_scale(plane.location, plane.covariance, alpha).covariance]
        results += [gaussian_expectation(line, basis), gaussian_expectation(line, basis, interval=(0.0, 1.0))]
        results += [basis_expectation(line, each) for each in (PowerBasis(2), WaveBasis([2.0]))]
        results += [basis_expectation(line, PowerBasis(2), interval=(0.0, 1.0)), *density_nodes(line)]
        results += [multivariate_gaussian_expectation(plane, MultivariateGaussianBasis.grid((2, 2)))]
        assert line.sample((5,)).shape == line.expand((5, *shape)).batch_shape == (5, *shape)
        assert plane.sample((5,)).shape == (5, *shape, 2)
        assert line.rsample().shape == shape
        if shape:
            mixture = Mixture(torch.full(shape, 1 / shape[-1], dtype=torch.float64), line)
            results += [mixture.cdf(t), mixture.icdf(t), gaussian_expectation(mixture, basis, interval=(0.0, 1.0))]
            assert mixture.sample((5,)).shape == (5, *shape[:-1])
            assert Mixture(mixture.weights, plane).sample().shape == (*shape[:-1], 2)
        return results

    ours, numbers = everything(alpha), everything(number)
    for each, other in zip(ours, numbers, strict=True):
        assert each.shape == other.shape
        torch.testing.assert_close(each, other, rtol=1e-11, atol=1e-12)
    total = sum((x[x.isfinite()].sum() for x in ours), torch.zeros(()))
    assert torch.autograd.grad(total, alpha)[0].isfinite()


@pytest.mark.parametrize("boundary", ["zero", "reflect", "renormalise"])
@pytest.mark.parametrize("options", [{}, {"n_components": 2}, {"with_std": True}], ids=str)
def test_attention_learns_alpha_under_every_boundary(boundary, options):
    torch.manual_seed(0)
    attention = ContinuousAttention(3, 1.5, learn_alpha=True, boundary=boundary, n_basis=8, hidden_size=4, **options)
    frames = torch.randn(2, 9, 3, dtype=torch.float64)
    attention.double()(frames)[0].square().sum().backward()
    assert attention.raw_alpha.grad.isfinite()
    assert attention.raw_alpha.grad != 0
    fixed = ContinuousAttention(3, 1.5, boundary=boundary, n_basis=8, hidden_size=4, **options).double()
    fixed.load_state_dict({key: value for key, value in attention.state_dict().items() if key != "raw_alpha"})
    torch.testing.assert_close(attention(frames)[0], fixed(frames)[0], rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", HALF)
@pytest.mark.parametrize("alpha", [1.0, 1.5, 1.7])
def test_half_types_are_the_rounded_double(alpha, dtype, device):
    location = torch.tensor([0.25, -1.5], dtype=dtype, device=device)
    variance = torch.tensor([0.5, 1 / 1024], dtype=dtype, device=device)
    for given in (alpha, torch.full((2,), alpha, dtype=dtype, device=device)):
        low = BetaGaussian(location, variance, given)
        high = low.double()
        t = (location + 0.5 * variance.sqrt()).to(dtype)
        q = torch.tensor([0.25, 0.875], dtype=dtype, device=device)
        for name, value in (("pdf", t), ("log_prob", t), ("cdf", t), ("icdf", q)):
            result = getattr(low, name)(value)
            assert result.dtype == dtype
            torch.testing.assert_close(result, getattr(high, name)(value.double()).to(dtype), rtol=0, atol=0)
        torch.testing.assert_close(low.half_width, high.half_width.to(dtype), rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [*HALF, torch.float32, torch.float64])
def test_the_slope_of_a_deviation_has_a_bound(dtype):
    variance = torch.tensor([0.0, torch.finfo(dtype).tiny, 0.25], dtype=dtype, requires_grad=True)
    deviation = std(variance)
    assert deviation.dtype == dtype
    slope = torch.autograd.grad(deviation.sum(), variance)[0]
    assert slope[0] == 0
    assert slope.isfinite().all()
    assert slope[2] == 1
    assert deviation[2] == 0.5


@pytest.mark.parametrize("dtype", [*HALF, torch.float32, torch.float64])
@pytest.mark.parametrize("alpha", [1.0, 2.0])
def test_a_silent_clip_has_a_gradient(alpha, dtype):
    torch.manual_seed(0)
    attention = ContinuousAttention(3, alpha, n_basis=8, hidden_size=4, with_std=True).to(dtype)
    frames = torch.zeros(2, 9, 3, dtype=dtype)
    frames[1] = torch.randn(9, 3).to(dtype)
    frames.requires_grad_()
    context = attention(frames)[0]
    context.sum().backward()
    assert context.isfinite().all()
    assert frames.grad.isfinite().all()
    assert all(parameter.grad.isfinite().all() for parameter in attention.parameters())


BASES = [GaussianBasis.grid(4), PowerBasis(2), WaveBasis([2.0]), FunctionBasis(lambda t: t[..., None].cos(), 1)]


@pytest.mark.parametrize("basis", BASES, ids=str)
@pytest.mark.parametrize("alpha", [1.0, 1.5, 1.7, f64(1.5)])
def test_intervals_that_cannot_be_are_refused(alpha, basis):
    density = BetaGaussian(f64(0.3, 60.0), f64(0.02, 0.02), alpha)
    for interval in ((1.0, 0.0), (0.5, 0.5), (math.nan, 1.0)):
        with pytest.raises(ConfigError, match="it must be a lower end below an upper one"):
            basis_expectation(density, basis, interval=interval)
        with pytest.raises(ConfigError, match="it must be a lower end below an upper one"):
            density_nodes(density, interval=interval)
    with pytest.raises(ConfigError, match=r"density \(1,\) has no mass in the interval \(0\.0, 1\.0\); move it closer"):
        basis_expectation(density, basis, interval=(0.0, 1.0))
    with pytest.raises(ConfigError, match="has no mass"):
        density_nodes(density, interval=(0.0, 1.0))
    # where nobody looks, NaN

    def one(location):
        wide = BetaGaussian(location, f64(0.02)[0], alpha if isinstance(alpha, float) else alpha[0], check=False)
        return basis_expectation(wide, basis, interval=(0.0, 1.0))

    mapped = torch.vmap(one)
    result = mapped(f64(0.3, 60.0)).reshape(2, -1)
    assert result[0].isfinite().all()
    assert result[1].isnan().all()


@pytest.mark.parametrize("alpha", [1.0, 1.001, 1.2])
@pytest.mark.parametrize("interval", [(0.0, 1.0), (-1.0, 0.0), (0.0, math.inf), (-math.inf, 0.0)])
def test_an_interval_far_from_the_location(alpha, interval):
    """Of a mass too small to show beside 1, on either side."""
    side = -1.0 if interval[1] > 0 else 1.0
    location, variance = f64(side).requires_grad_(), f64(0.03 if alpha < 1.1 else 0.08).requires_grad_()
    basis = GaussianBasis([0.05 * side], [0.2])

    def f(location, variance):
        return gaussian_expectation(BetaGaussian(location, variance, alpha), basis, interval=interval)

    density = BetaGaussian(location.detach(), variance.detach(), alpha)
    ends = (0.0, min(interval[1], 1.0)) if side < 0 else (max(interval[0], -1.0), 0.0)
    t = torch.linspace(*ends, 400_001, dtype=torch.float64)
    p = density.pdf(t)
    assert 0 < torch.trapezoid(p, t) < 1e-7
    truth = torch.trapezoid(p * basis(t)[:, 0], t) / torch.trapezoid(p, t)
    torch.testing.assert_close(f(location, variance)[0, 0], truth, rtol=1e-6, atol=0)
    assert gradcheck(f, (location, variance), eps=1e-7, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("quantity", ["pdf", "cdf", "icdf", "tsallis_entropy", "expectation", "in two dimensions"])
def test_an_alpha_of_exactly_1_has_the_gradient_of_the_limit(quantity):
    """The value is the Gaussian's to every digit, and derivatives are those just above it: none is a silent 0."""
    basis = GaussianBasis([0.1, 0.5, 0.9], [0.2] * 3)
    plane = MultivariateGaussianBasis([(0.2, 0.7)], [0.3])

    def value(alpha, location, variance):
        line = BetaGaussian(location, variance, alpha)
        if quantity == "expectation":
            return gaussian_expectation(line, basis)[..., 1]
        if quantity == "in two dimensions":
            scale = variance[:, None, None] * torch.eye(2, dtype=torch.float64)
            density = MultivariateBetaGaussian(location.expand(2)[None], scale, alpha)
            return multivariate_gaussian_expectation(density, plane)[..., 0]
        points = {"pdf": [f64(0.37)], "cdf": [f64(0.37)], "icdf": [f64(0.7)]}.get(quantity, [])
        return getattr(line, quantity)(*points)

    def with_gradient(alpha):
        inputs = [f64(alpha)[0].requires_grad_(), f64(0.3).requires_grad_(), f64(0.04).requires_grad_()]
        result = value(*inputs).sum()
        return result, torch.autograd.grad(result, inputs, allow_unused=True)

    actual, gradient = with_gradient(1.0)
    limit = with_gradient(1 + 1e-7)[1]
    assert gradient[0] != 0
    # so close to 1 the radius of the ball in two dimensions is a difference of few digits
    rtol = 3e-4 if quantity == "in two dimensions" else 1e-5
    torch.testing.assert_close(actual, value(1.0, f64(0.3), f64(0.04)).sum(), rtol=0, atol=0)
    for here, there in zip(gradient, limit, strict=True):
        assert (here is None) == (there is None)
        if here is not None:
            torch.testing.assert_close(here, there, rtol=rtol, atol=1e-9)
