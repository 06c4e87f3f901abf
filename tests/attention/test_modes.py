"""Laws of attention with several modes, with a learned alpha, and with the deviation beside the mean."""

import numpy as np
import pytest
import torch

from audioattn_lib.attention.densities.beta_gaussian import BetaGaussian
from audioattn_lib.attention.densities.mixture import Mixture
from audioattn_lib.attention.expectations.bases import FunctionBasis, PowerBasis, WaveBasis
from audioattn_lib.attention.expectations.gaussian import GaussianBasis
from audioattn_lib.attention.expectations.value_function import BOUNDARIES, ValueFunction
from audioattn_lib.attention.expectations.value_variance import value_variance
from audioattn_lib.attention.maps.entmax import softmax
from audioattn_lib.attention.pooling.clustering import normalise, share_out, share_out_plane
from audioattn_lib.attention.pooling.frames import ContinuousAttention
from audioattn_lib.attention.record.record import FrameClock

ALPHAS = [1.0, 4 / 3, 2.0]


def make(alpha=2.0, seed=0, **options):
    torch.manual_seed(seed)
    return ContinuousAttention(5, alpha, **{"hidden_size": 6, "n_basis": 16, **options}).double().eval()


def values(*shape, seed=3):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("encoder", ["convolution", "last_state"])
@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_equal_modes_are_one(encoder, boundary):
    options = {"encoder": encoder, "boundary": boundary}
    first, several = make(1.5, **options), make(1.5, n_components=3, **options)
    state = first.state_dict()
    for name in ("encoder.head.weight", "encoder.head.bias"):
        rows = state[name].repeat_interleave(3, dim=0)  # location and variance of every mode, then equal shares
        state[name] = torch.cat([rows, torch.zeros_like(rows[:3])])
    several.load_state_dict(state)
    h, lengths = values(2, 9, 5), torch.tensor([9, 4])
    torch.testing.assert_close(several(h, lengths)[0], first(h, lengths)[0])
    record = several(h, lengths, record=True)[1]
    np.testing.assert_allclose(record.density.mode_weight, 1 / 3)
    np.testing.assert_allclose(record.frame_attention(1), first(h, lengths, record=True)[1].frame_attention(1))


def test_modes_of_a_single_frame_are_one():
    first, several = make(), make(n_components=3)
    h = values(2, 1, 5)
    torch.testing.assert_close(several(h)[0], first(h)[0])


def test_the_mixture_has_the_mean_and_the_variance_of_the_discrete_attention():
    attention, h = make(n_components=3), values(4, 30, 5)
    lengths = torch.tensor([30, 7, 12, 1])
    clock = FrameClock(0.02, -0.01)
    record = attention(h, lengths, clock=clock, record=True)[1]
    for clip, n in enumerate(lengths):
        p, t = record.weights[clip, 0, :n].astype(float), clock.centres(int(n))
        share, place = record.density.mode_weight[clip], record.density.location[clip]
        assert share.sum() == pytest.approx(1)
        assert p.sum() == pytest.approx(1)
        mean = share @ place
        assert mean == pytest.approx(p @ t)
        variance = share @ (record.density.variance[clip] + (place - mean) ** 2)
        floor = 1e-7 * (n * 0.02) ** 2
        assert variance == pytest.approx(p @ (t - mean) ** 2, rel=1e-4, abs=2 * float(floor))


@pytest.mark.parametrize("n", [1, 2])
def test_clusters_share_out_all_weights(n):
    p = softmax(3 * values(4, 60))
    p[1, 40:] = 0
    p = p / p.sum(-1, keepdim=True)
    places = torch.rand(4, 60, n, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    spacing = torch.full((4, n), 1 / 60, dtype=torch.float64)
    parts = share_out(p, places, spacing, 3)
    assert parts.min() >= 0
    torch.testing.assert_close(parts.sum(1), p)
    torch.testing.assert_close(share_out(p, places, spacing, 1)[:, 0], p)
    torch.testing.assert_close(share_out(p.flip(0), places.flip(0), spacing, 3).flip(0), parts)
    alone = share_out(p[1:2, :40], places[1:2, :40], spacing[:1], 3)
    torch.testing.assert_close(parts[1:2, :, :40], alone)
    moved = share_out(p, places + 0.3, spacing, 3)
    torch.testing.assert_close(moved, parts, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("n", [1, 2])
def test_clusters_find_what_is_apart(n):
    generator = torch.Generator().manual_seed(0)
    centres = torch.tensor([[0.2, 0.8], [0.5, 0.1], [0.9, 0.5]], dtype=torch.float64)[:, :n]
    masses = torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64)
    places = centres.repeat_interleave(50, 0) + 0.02 * torch.randn(150, n, generator=generator, dtype=torch.float64)
    p = masses.repeat_interleave(50) / 50
    parts = share_out(p[None], places[None], torch.full((1, n), 0.01), 3)
    weights, shares = normalise(parts)
    result = (weights @ places)[0]
    order = result[:, 0].argsort()
    torch.testing.assert_close(shares[0, order], masses, atol=1e-3, rtol=0)
    torch.testing.assert_close(result[order], centres, atol=0.02, rtol=0)


@pytest.mark.parametrize("modes", [1, 2, 3])
def test_clusters_of_a_plane_are_those_of_its_cells(modes):
    p = softmax(3 * values(3, 20 * 9)).view(3, 20, 9)
    p[1, 12:] = 0
    p = p / p.sum((1, 2), keepdim=True)
    times = torch.arange(20).double().expand(3, 20) / torch.tensor([[20.0], [12.0], [20.0]])
    frequencies, spacing = torch.arange(9).double() / 9, torch.tensor([[1 / 20, 1 / 9]] * 3).double()
    places = torch.stack([x.flatten(1) for x in torch.broadcast_tensors(times[..., None], frequencies)], dim=-1)
    expected = share_out(p.flatten(1), places, spacing, modes).unflatten(-1, (20, 9))
    torch.testing.assert_close(share_out_plane(p, times, frequencies, spacing, modes), expected, rtol=1e-7, atol=1e-12)
    single = share_out_plane(*(x.float() for x in (p, times, frequencies, spacing)), modes)
    torch.testing.assert_close(single.double(), expected, rtol=1e-3, atol=1e-6)


def test_the_gradient_of_clusters_is_the_gradient():
    places = values(2, 7, 2).abs()
    spacing = torch.full((2, 2), 0.1, dtype=torch.float64)
    p = softmax(values(2, 7)).requires_grad_()
    assert torch.autograd.gradcheck(lambda p: share_out(p, places, spacing, 2), p)


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("alpha", ALPHAS)
def test_the_mixture_is_read_as_one_density(boundary, alpha):
    """Expectations and variance against fine sums over the mixture's own density."""
    function = ValueFunction(GaussianBasis.grid(16), 0.1, boundary)
    location = torch.tensor([[0.02, 0.4, 0.8]]).double()
    modes = BetaGaussian(location, torch.tensor([[0.01, 1e-3, 0.02]]).double(), alpha)
    mixture = Mixture(torch.tensor([[0.2, 0.5, 0.3]], dtype=torch.float64), modes)
    t = torch.linspace(-1.5, 2.5, 400_001, dtype=torch.float64)
    if boundary == "renormalise":
        t = t[(t >= 0) & (t <= 1)]
    p = mixture.pdf(t)
    p = p / p.sum()
    torch.testing.assert_close(function.expect(mixture)[0], p @ function.basis(t), rtol=1e-4, atol=1e-5)
    h = values(1, 30, 2)
    v = function.basis(t) @ (function.matrix(30).T @ h[0])
    expected = p @ (v - p @ v) ** 2
    torch.testing.assert_close(value_variance(function, mixture, h, [30])[0], expected, rtol=1e-3, atol=0.0)


def test_clusters_have_no_parameters():
    sizes = [
        sum(p.numel() for p in ContinuousAttention(8, hidden_size=6, n_components=m).parameters()) for m in (1, 2, 5)
    ]
    assert sizes == [sizes[0]] * 3


@pytest.mark.parametrize("options", [{"n_components": 2}, {"learn_alpha": True}, {"n_components": 2, "with_std": True}])
def test_the_gradient_is_the_gradient(options):
    attention, lengths = make(1.4, **{"hidden_size": 3, "n_basis": 8, **options}), torch.tensor([6, 4])
    inputs = [values(2, 6, 5).requires_grad_(), *attention.parameters()]
    assert torch.autograd.gradcheck(lambda h, *_: attention(h, lengths)[0], inputs)


def test_a_learned_alpha_is_used_and_recorded():
    fixed, learned, h = make(1.3), make(1.3, learn_alpha=True), values(2, 9, 5)
    learned.load_state_dict(fixed.state_dict(), strict=False)
    torch.testing.assert_close(learned(h)[0], fixed(h)[0], rtol=1e-6, atol=1e-8)
    optimiser = torch.optim.SGD([p for name, p in learned.named_parameters() if "alpha" in name], lr=1e3)
    before = learned.alpha.item()
    for sign in (1, -1):
        for _ in range(20):
            optimiser.zero_grad()
            (sign * learned(h)[0][:, 0].sum()).backward()
            optimiser.step()
        assert 1 <= learned.alpha.item() <= 2
        assert learned.alpha.item() != before
    record = learned(h, record=True)[1]
    np.testing.assert_allclose(record.density.alpha, learned.alpha.item())


@pytest.mark.parametrize("options", [{}, {"n_components": 2}, {"boundary": "renormalise", "n_components": 2}], ids=str)
def test_the_deviation_stands_beside_the_context(options):
    attention, plain = make(1.5, with_std=True, **options), make(1.5, **options)
    h, lengths = values(3, 12, 5), torch.tensor([12, 1, 7])
    both = attention(h, lengths)[0]
    assert both.shape == (3, attention.out_features) == (3, 10)
    assert torch.equal(both[:, :5], plain(h, lengths)[0])
    attended = plain.attend(h, lengths)
    torch.testing.assert_close(both[:, 5:] ** 2, plain.variance(attended), rtol=1e-8, atol=1e-11)
    spoiled = h.clone()
    spoiled[1, 1:] = float("nan")
    torch.testing.assert_close(attention(spoiled, lengths)[0], both)
    for clip, length in enumerate(lengths):
        torch.testing.assert_close(attention(h[clip : clip + 1, :length])[0][0], both[clip])
    again, record = attention(h, lengths, record=True)
    assert torch.equal(again, both)
    assert not record.is_empty
    # twice the values have twice the deviation where the density stays
    still = make(1.5, with_std=True, fused=False, **options)
    with torch.no_grad():
        still.encoder.scorer.vector.weight.zero_()
    torch.testing.assert_close(still(2 * h, lengths)[0], 2 * still(h, lengths)[0], rtol=1e-6, atol=2e-6)


@pytest.mark.parametrize("options", [{"n_components": 3}, {"with_std": True, "n_components": 2}, {"learn_alpha": True}])
def test_autocast_and_half_precision(options):
    attention, h = make(1.5, **options), values(2, 50, 5)
    full = attention(h)[0]
    with torch.autocast("cpu", torch.bfloat16):
        low = attention.float()(h.float())[0]
    torch.testing.assert_close(low.double(), full, atol=0.05, rtol=0.05)
    low = attention.bfloat16()(h.bfloat16())[0]
    assert low.dtype == torch.bfloat16
    torch.testing.assert_close(low.double(), full, atol=0.1, rtol=0.1)


def test_two_modes_find_two_events():
    """Two modes attend to two short events far apart and to nothing in between; one density cannot."""
    generator = torch.Generator().manual_seed(0)
    h = 0.1 * torch.randn(16, 40, 5, generator=generator, dtype=torch.float64)
    h[:, 5:8, 0] += 3
    h[:, 32:35, 1] += 3
    target = torch.tensor([1.5, 1.5, 0, 0, 0], dtype=torch.float64).expand(16, 5)
    losses, records = {}, {}
    for modes in (1, 2):
        attention = make(n_components=modes, fused=False, hidden_size=16, n_basis=64, widths=(0.03, 0.1))
        optimiser = torch.optim.Adam(attention.parameters(), lr=0.02)
        for _ in range(150):
            loss = (attention(h)[0] - target).square().mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        losses[modes], records[modes] = loss.item(), attention(h, record=True)[1]
    assert losses[2] < losses[1] / 4
    places = np.sort(records[2].density.location, axis=1).mean(0)
    assert abs(places[0] - 6.5) < 3
    assert abs(places[1] - 33.5) < 3


@pytest.mark.parametrize(
    "basis",
    [PowerBasis(3), WaveBasis([3.0, 10.0, 25.0]), FunctionBasis(lambda t: torch.stack([t.sin(), t.exp()], -1), 2)],
    ids=repr,
)
@pytest.mark.parametrize("boundary", ["zero", "renormalise"])
def test_the_value_function_takes_any_basis(basis, boundary):
    attention, h = make(n_components=2, fused=False), values(2, 20, 5)
    attention.value_function = ValueFunction(basis, 0.1, boundary)
    attended = attention.attend(h)
    t = torch.linspace(-0.5, 1.5, 200_001, dtype=torch.float64)
    t = t[(t >= 0) & (t <= 1)] if boundary == "renormalise" else t
    for clip in range(2):
        line = BetaGaussian(
            attended.density.components.location[clip], attended.density.components.variance[clip], attention.alpha
        )
        p = Mixture(attended.density.weights[clip], line, check=False).pdf(t)
        p = p / p.sum()
        v = attention.value_function.reconstruct(h[clip], t)
        torch.testing.assert_close(attention(h)[0][clip], p @ v, rtol=1e-4, atol=1e-5)
        expected = p @ (v - p @ v) ** 2
        torch.testing.assert_close(attention.variance(attended)[clip], expected, rtol=1e-3, atol=1e-8)


@pytest.mark.cuda
@pytest.mark.parametrize(
    "options", [{"n_components": 3}, {"n_components": 2, "with_std": True}, {"learn_alpha": True}], ids=str
)
def test_cuda_says_the_same(options):
    attention, h, lengths = make(1.5, **options), values(4, 50, 5), torch.tensor([50, 7, 1, 30])
    here = attention(h, lengths)[0]
    there, record = attention.cuda()(h.cuda(), lengths, record=True)
    torch.testing.assert_close(there.cpu(), here)
    assert record.density.location.shape == (4, options.get("n_components", 1))
