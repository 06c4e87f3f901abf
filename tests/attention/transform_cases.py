"""A call of every differentiable function and module of the attention package, on inputs where it is smooth."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from audioattn_lib.attention.densities.beta_gaussian import BetaGaussian
from audioattn_lib.attention.densities.losses import conjugate, cross_fenchel_young_loss, fenchel_young_loss
from audioattn_lib.attention.densities.mixture import Mixture
from audioattn_lib.attention.densities.multivariate import MultivariateBetaGaussian
from audioattn_lib.attention.expectations.bases import FunctionBasis, MultivariateGaussianBasis, PowerBasis, WaveBasis
from audioattn_lib.attention.expectations.gaussian import GaussianBasis, expectation, gaussian_expectation
from audioattn_lib.attention.expectations.general import basis_expectation, density_nodes
from audioattn_lib.attention.expectations.multivariate import (
    multivariate_expectation,
    multivariate_gaussian_expectation,
)
from audioattn_lib.attention.expectations.value_function import ValueFunction
from audioattn_lib.attention.expectations.value_surface import ValueSurface, separable_expectation
from audioattn_lib.attention.expectations.value_variance import coefficient_variance, std, value_variance
from audioattn_lib.attention.maps.entmax import (
    Entmax,
    Entmax15,
    Softmax,
    Sparsemax,
    entmax,
    entmax15,
    softmax,
    sparsemax,
)
from audioattn_lib.attention.maps.learned import LearnedEntmax
from audioattn_lib.attention.maps.losses import Entmax15Loss, EntmaxLoss, SparsemaxLoss, entmax_loss
from audioattn_lib.attention.patterns.dot_product import attend
from audioattn_lib.attention.patterns.kernels import AttentionPlan
from audioattn_lib.attention.patterns.names import DistancePenalty, PatchGrid, RowGroups, TokenBand
from audioattn_lib.attention.pooling.clustering import normalise, share_out, share_out_plane
from audioattn_lib.attention.pooling.encoders import (
    ConvolutionEncoder,
    LastStateEncoder,
    MomentsEncoder,
    frame_positions,
    weighted_moments,
)
from audioattn_lib.attention.pooling.frames import ContinuousAttention, DiscreteAttention, MeanAttention
from audioattn_lib.attention.pooling.heads import MultiHeadAttention
from audioattn_lib.attention.pooling.maximum import MaxAttention
from audioattn_lib.attention.pooling.multi_head import DoubleMultiHeadPooling, MultiHeadPooling
from audioattn_lib.attention.pooling.registry import build_attention
from audioattn_lib.attention.pooling.scores import AdditiveScorer
from audioattn_lib.attention.pooling.segments import read_saliency, select_runs, select_windows
from audioattn_lib.attention.pooling.slots import SlotAttention
from audioattn_lib.attention.pooling.time_frequency import TimeFrequencyAttention, plane_moments
from audioattn_lib.attention.record.record import FrameClock

B, T, D = 2, 4, 3
LENGTHS = torch.tensor([4, 3])
DOUBLE = {"dtype": torch.float64}


class Case(NamedTuple):
    """A function of tensors, and the tensors; ``what`` tells apart cases of one name."""

    function: Callable[..., Tensor]
    inputs: tuple[Tensor, ...]
    what: str = ""


def draw(*shape: int, seed: int = 0) -> Tensor:
    """Numbers that are no special ones: nothing coincides, nothing is 0."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), **DOUBLE)


def join(match: Tensor | tuple[Tensor, ...]) -> Tensor:
    """Results of a function as one tensor."""
    return match if isinstance(match, Tensor) else torch.cat([tensor.flatten() for tensor in match])


def module(make: Callable[[], torch.nn.Module]) -> torch.nn.Module:
    torch.manual_seed(0)
    return make().double().eval()


SCORES = 0.4 * draw(2, 5)
WEIGHTS = torch.softmax(draw(B, T), dim=1)
LOCATION, VARIANCE = torch.tensor([0.42, 0.55], **DOUBLE), torch.tensor([0.03, 0.05], **DOUBLE)
POINTS, SHARES = torch.tensor([0.37, 0.61], **DOUBLE), torch.tensor([0.3, 0.8], **DOUBLE)
PLACE = torch.tensor([[0.4, 0.5], [0.6, 0.3]], **DOUBLE)
FACTOR = torch.tensor([[[0.2, 0.0], [0.03, 0.15]], [[0.25, 0.0], [-0.02, 0.2]]], **DOUBLE)
INSIDE = torch.tensor([[0.43, 0.46], [0.55, 0.36]], **DOUBLE)
MODES, SPREADS = torch.tensor([[0.3, 0.7], [0.4, 0.6]], **DOUBLE), torch.tensor([[0.03, 0.05], [0.04, 0.06]], **DOUBLE)
MODE_WEIGHTS = torch.tensor([[0.4, 0.6], [0.7, 0.3]], **DOUBLE)
VALUES, PLANE = 0.5 * draw(B, T, D), 0.5 * draw(B, T, 3, 2)
GAUSSIANS = GaussianBasis.grid(6)
BASES = (PowerBasis(3), WaveBasis([1.0, 2.0]), FunctionBasis(lambda t: torch.stack([t, t**3], -1), 2))
PLANE_BASIS = MultivariateGaussianBasis.grid((2, 2))
FUNCTION, SURFACE = ValueFunction(GAUSSIANS), ValueSurface(GaussianBasis.grid(4), GaussianBasis.grid(4))
COUNTS = LENGTHS.tolist()
QUERY, KEY, VALUE = (0.6 * draw(1, 2, 8, 4, seed=seed) for seed in (1, 2, 3))
CLOCK = FrameClock()

CASES: dict[str, list[Case]] = {}


def add(name: str, function: Callable[..., Tensor | tuple[Tensor, ...]], *inputs: Tensor, what: str = "") -> None:
    CASES.setdefault(name, []).append(Case(lambda *given: join(function(*given)), inputs, what))


def add_attention(name: str, make: Callable[[], torch.nn.Module], values: Tensor, what: str = "") -> None:
    """Of padded clips, the context."""
    attention = module(make)
    add(name, lambda h: attention(h, LENGTHS)[0], values, what=what)


# scores, maps and their losses
add("AdditiveScorer", module(lambda: AdditiveScorer(D, 4)), VALUES)
for name, map_ in (("softmax", softmax), ("sparsemax", sparsemax), ("entmax15", entmax15)):
    add(name, map_, SCORES)
    add(name, lambda x, map_=map_: map_(x, dim=-2), SCORES, what="dim -2")
for alpha in (4 / 3, 1.7, 2.5):
    add("entmax", lambda x, alpha=alpha: entmax(x, alpha), SCORES, what=f"alpha {alpha:.3g}")
add("entmax", entmax, SCORES, torch.tensor([[1.3], [1.8]], **DOUBLE), what="alpha a tensor")
for name, make in (("Softmax", Softmax), ("Sparsemax", Sparsemax), ("Entmax15", Entmax15), ("Entmax", Entmax)):
    add(name, make(), SCORES)
add("LearnedEntmax", module(lambda: LearnedEntmax(2)), 0.4 * draw(1, 2, 4))
CLASSES, SHARED = torch.tensor([1, 3]), torch.softmax(draw(2, 5, seed=4), dim=1)
for alpha in (1.0, 1.5, 2.0):
    add("entmax_loss", lambda x, alpha=alpha: entmax_loss(x, CLASSES, alpha), SCORES, what=f"alpha {alpha}, classes")
    add("entmax_loss", lambda x, alpha=alpha: entmax_loss(x, SHARED, alpha), SCORES, what=f"alpha {alpha}, shares")
for name, loss in (("EntmaxLoss", EntmaxLoss()), ("SparsemaxLoss", SparsemaxLoss()), ("Entmax15Loss", Entmax15Loss())):
    add(name, lambda x, loss=loss: loss(x, CLASSES), SCORES)


# densities, their expectations and losses, and attentions that read by them
def add_densities(alpha: float | Tensor, what: str) -> None:
    given = () if isinstance(alpha, float) else (alpha,)

    def line(location: Tensor, variance: Tensor, alpha: float | Tensor = alpha) -> BetaGaussian:
        return BetaGaussian(location, variance, alpha, check=False)

    def plane(location: Tensor, factor: Tensor, alpha: float | Tensor = alpha) -> MultivariateBetaGaussian:
        return MultivariateBetaGaussian.from_cholesky(location, factor, alpha, check=False)

    def add_line(name: str, function: Callable[..., Tensor], *extra: Tensor, more: str = "") -> None:
        """Of a density on the line: ``function(density, *extra)``."""
        add(
            name,
            lambda m, v, *rest: function(line(m, v, *rest[: len(given)]), *rest[len(given) :]),
            *(LOCATION, VARIANCE, *given, *extra),
            what=what + more,
        )

    def add_plane(name: str, function: Callable[..., Tensor], *extra: Tensor) -> None:
        add(
            name,
            lambda m, f, *rest: function(plane(m, f, *rest[: len(given)]), *rest[len(given) :]),
            *(PLACE, FACTOR, *given, *extra),
            what=what,
        )

    for method in ("pdf", "log_prob", "cdf"):
        add_line(f"BetaGaussian.{method}", getattr(BetaGaussian, method), POINTS)
    add_line("BetaGaussian.icdf", BetaGaussian.icdf, SHARES)
    for method in ("pdf", "log_prob", "mahalanobis"):
        add_plane(f"MultivariateBetaGaussian.{method}", getattr(MultivariateBetaGaussian, method), INSIDE)
    for method in ("entropy", "tsallis_entropy"):
        add_line(f"BetaGaussian.{method}", getattr(BetaGaussian, method))
        add_plane(f"MultivariateBetaGaussian.{method}", getattr(MultivariateBetaGaussian, method))
    add_line("gaussian_expectation", lambda d: gaussian_expectation(d, GAUSSIANS))
    for basis in BASES:
        add_line(
            "basis_expectation", lambda d, basis=basis: basis_expectation(d, basis), more=f", {type(basis).__name__}"
        )
    add_line("density_nodes", lambda d: join(density_nodes(d, 8)))
    add_plane("multivariate_gaussian_expectation", lambda d: multivariate_gaussian_expectation(d, PLANE_BASIS))
    add_line("conjugate", conjugate)
    add_line("cross_fenchel_young_loss", cross_fenchel_young_loss, POINTS)
    add_line(
        "fenchel_young_loss",
        lambda d, m, v: fenchel_young_loss(d, BetaGaussian(m, v, d.alpha, check=False)),
        LOCATION + 0.05,
        VARIANCE * 1.2,
    )
    add_line("value_variance", lambda d, h: value_variance(FUNCTION, d, h, COUNTS), VALUES)
    if given:  # the rest needs one alpha for the whole batch
        return
    add_line("expectation", lambda d: expectation(torch.sin, d))
    add_plane("multivariate_expectation", lambda d: multivariate_expectation(lambda x: torch.sin(x.sum(-1)), d, 8))
    add_plane("separable_expectation", lambda d: separable_expectation(d, GaussianBasis.grid(4), GaussianBasis.grid(2)))

    def mixture(w: Tensor, location: Tensor, spread: Tensor) -> Mixture:
        make = plane if location.ndim == 3 else line
        return Mixture(w, make(location, spread), check=False)

    modes = (MODE_WEIGHTS, MODES, SPREADS)
    for method in ("pdf", "log_prob", "cdf", "icdf"):
        call, at = getattr(Mixture, method), SHARES if method == "icdf" else POINTS
        add(f"Mixture.{method}", lambda *m, call=call: call(mixture(*m[:3]), m[3]), *modes, at, what=what)
    places = (MODE_WEIGHTS, torch.stack([PLACE, PLACE + 0.05], dim=1), torch.stack([FACTOR, FACTOR * 1.2], dim=1))
    for method in ("pdf", "log_prob"):
        call = getattr(Mixture, method)
        add(
            f"Mixture.{method}",
            lambda *m, call=call: call(mixture(*m[:3]), m[3]),
            *(*places, INSIDE),
            what=f"{what}, in a plane",
        )
    add(
        "gaussian_expectation", lambda *m: gaussian_expectation(mixture(*m), GAUSSIANS), *modes, what=f"{what}, mixture"
    )
    add_attention("ContinuousAttention", lambda: ContinuousAttention(D, alpha, hidden_size=4, n_basis=6), VALUES, what)
    add_attention(
        "TimeFrequencyAttention", lambda: TimeFrequencyAttention(2, alpha, hidden_size=4, n_basis=4), PLANE, what
    )


for alpha in (1.0, 1.5, 2.0):
    add_densities(alpha, f"alpha {alpha}")
add_densities(torch.tensor([1.4, 1.8], **DOUBLE), "alpha a tensor")
add_attention(
    "ContinuousAttention",
    lambda: ContinuousAttention(D, 1.5, hidden_size=4, n_basis=6, n_components=2, learn_alpha=True, with_std=True),
    VALUES,
    "two modes, alpha learned, deviation",
)
add_attention(
    "TimeFrequencyAttention",
    lambda: TimeFrequencyAttention(2, 2.0, hidden_size=4, n_basis=4, n_components=2),
    PLANE,
    "two modes",
)

# bases, value functions, encoders
for basis in (GAUSSIANS, *BASES):
    add(type(basis).__name__, basis, POINTS)
add("MultivariateGaussianBasis", PLANE_BASIS, INSIDE)
add("ValueFunction.expect", lambda m, v: FUNCTION.expect(BetaGaussian(m, v, 2.0, check=False)), LOCATION, VARIANCE)
add("ValueFunction.read_weights", lambda r: FUNCTION.read_weights(r, COUNTS, T), draw(B, 6))
add("ValueFunction.reconstruct", FUNCTION.reconstruct, VALUES[0], POINTS)
add(
    "ValueSurface.expect",
    lambda m, f: SURFACE.expect(MultivariateBetaGaussian.from_cholesky(m, f, 2.0, check=False)),
    PLACE,
    FACTOR,
)
add("ValueSurface.read_weights", lambda r: SURFACE.read_weights(r, COUNTS, T, 3), draw(B, 4, 4))
add("ValueSurface.reconstruct", SURFACE.reconstruct, PLANE[0], POINTS, SHARES)
add("std", std, VARIANCE)
add("coefficient_variance", lambda r, h: coefficient_variance(FUNCTION, r, h, COUNTS), draw(B, 6).abs(), VALUES)
add("weighted_moments", weighted_moments, WEIGHTS, frame_positions(LENGTHS, T, dtype=torch.float64))
TIMES, BANDS = frame_positions(torch.tensor([T, T]), T, dtype=torch.float64), torch.tensor([0.2, 0.5, 0.8], **DOUBLE)
add("plane_moments", lambda w: plane_moments(w, TIMES, BANDS), torch.softmax(draw(B, 12), 1).view(B, 1, T, 3))
SPACING = torch.full((B, 2), 0.25, **DOUBLE)
add("share_out", lambda w, x: share_out(w, x, SPACING, 2), torch.softmax(draw(B, 6), 1), draw(B, 6, 2, seed=2))
add(
    "share_out_plane",
    lambda w, t: share_out_plane(w, t, BANDS, SPACING, 2),
    torch.softmax(draw(B, 12), 1).view(B, T, 3),
    TIMES.clone(),
)
add("normalise", normalise, draw(B, 2, 4).abs())


def add_encoder(make: Callable[[], torch.nn.Module]) -> None:
    encoder, everywhere = module(make), torch.tensor([T, T])
    add(
        type(encoder).__name__,
        lambda h: tuple(tensor for tensor in encoder(h, None, everywhere) if tensor is not None),
        VALUES,
    )


add_encoder(lambda: MomentsEncoder(D, 4))
add_encoder(lambda: ConvolutionEncoder(D, 4))
add_encoder(lambda: LastStateEncoder(D))

# attentions and what they are made of
add_attention("DiscreteAttention", lambda: DiscreteAttention(D, hidden_size=4), VALUES)
add_attention("DiscreteAttention", lambda: build_attention("sparsemax", D, hidden_size=4), VALUES, "sparsemax")
add_attention("MeanAttention", MeanAttention, VALUES)
add_attention("MaxAttention", MaxAttention, VALUES)
add_attention("SlotAttention", lambda: SlotAttention(D), VALUES)


def add_heads(attention: str) -> None:
    frames, options = 0.5 * draw(B, T, 4, seed=5), {"n_basis": 6} if attention == "triweight" else {}
    name, dropout = MultiHeadAttention.__name__, {"head_dropout": 0.0}
    add_attention(name, lambda: build_attention(attention, 4, heads=2, hidden_size=4, **options), frames, attention)
    for kind, more in ((MultiHeadPooling, {"n_queries": 2}), (DoubleMultiHeadPooling, dropout)):
        add_attention(
            kind.__name__,
            lambda kind=kind, more=more: kind(4, 2, attention=attention, n_basis=6, **more),
            frames,
            attention,
        )


for attention in ("softmax", "entmax15", "triweight"):
    add_heads(attention)
for alpha in (1.0, 1.5):
    add("attend", lambda q, k, v, alpha=alpha: attend(q, k, v, alpha=alpha), QUERY, KEY, VALUE, what=f"alpha {alpha}")
GRID = PatchGrid(2, 3)
for pattern, alpha in ((RowGroups(1), 1.0), (RowGroups(1), 1.5), (TokenBand(2), 1.0), (DistancePenalty(), 1.0)):
    plan = AttentionPlan(pattern, GRID, alpha=alpha)
    add("AttentionPlan", plan, QUERY, KEY, VALUE, what=f"{pattern}, alpha {alpha}")
SALIENCY, SECONDS = draw(B, 6, seed=7).sigmoid(), torch.tensor([[0.013, 0.028]] * B, **DOUBLE)
add("read_saliency", lambda s, t: read_saliency(s, t, clock=CLOCK), SALIENCY, SECONDS)
add("select_windows", lambda s: select_windows(s, clock=CLOCK, count=2, seconds=0.02).scores, SALIENCY)
add("select_runs", lambda s: select_runs(s, clock=CLOCK).scores, SALIENCY)
