r"""Finite mixtures of continuous attention densities: attention to several places at once.

.. math:: p(t) = \sum_m w_m\,p_m(t), \qquad w_m \ge 0, \qquad \sum_m w_m = 1

Everything that is linear in the density, its expectations above all, is the
weighted sum over the modes, and costs as many times more as there are modes.

Source: Farinhas et al., *Multimodal continuous visual attention mechanisms*,
ICCV workshops 2021. Book page: ``from_weights_to_densities``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.distributions import Distribution, constraints

from audioattn_lib.core.errors import ConfigError

from ._family import check_values
from .beta_gaussian import BetaGaussian
from .multivariate import MultivariateBetaGaussian

__all__ = ["Mixture", "UnionOfSupports"]

_BISECTIONS = 60


class UnionOfSupports(constraints.Constraint):
    """Points in the support of any mode; on the line it unpacks into the ends of every mode's, ``(*batch, modes)``."""

    is_discrete = False

    def __init__(self, components: BetaGaussian | MultivariateBetaGaussian) -> None:
        self.components = components
        self.event_dim = len(components.event_shape)
        super().__init__()

    def __iter__(self) -> Iterator[Tensor]:
        if not isinstance(self.components, BetaGaussian):
            raise TypeError("only supports on the line unpack into ends")
        return iter(self.components.support)

    def check(self, value: Tensor) -> Tensor:
        """Return True for each point in the support of at least one mode."""
        return self.components.support.check(value.unsqueeze(-1 - self.event_dim)).any(-1)


class Mixture(Distribution):
    r"""A batch of mixtures of densities on the line or in several dimensions.

    Parameters
    ----------
    weights
        :math:`w_m`, ``(*batch, modes)``, at least 0 and of sum 1.
    components
        The densities, of batch shape ``(*batch, modes)``; the two broadcast.
    check
        Look at the weights and raise :class:`~audioattn_lib.core.errors.ConfigError` if
        they are not of the simplex.

    Notes
    -----
    A :class:`torch.distributions.Distribution`. Source: Farinhas et al., 2021.
    Book page: ``from_weights_to_densities``.
    """

    arg_constraints = {"weights": constraints.simplex}  # noqa: RUF012

    def __init__(
        self,
        weights: Float[Tensor, "*batch modes"],
        components: BetaGaussian | MultivariateBetaGaussian,
        *,
        check: bool = True,
    ) -> None:
        shape = components.batch_shape
        if weights.ndim < 1 or not shape or weights.shape[-1] != shape[-1]:
            raise ConfigError(
                f"weights have shape {tuple(weights.shape)} and components the batch shape {tuple(shape)}; "
                "both must end in the number of modes"
            )
        try:
            # torch's function imports sympy, for half a second
            batch = shape if weights.shape == shape else torch.broadcast_shapes(weights.shape, shape)
        except RuntimeError:
            raise ConfigError(
                f"weights have shape {tuple(weights.shape)} and components the batch shape {tuple(shape)}; "
                "give both one shape"
            ) from None
        if check:
            check_values(weights, "weights", "at least 0 and finite", lambda w: (w >= 0) & torch.isfinite(w))
            tolerance = 8 * weights.shape[-1] * torch.finfo(weights.dtype).eps
            check_values(
                weights.sum(-1), "the sum of weights over modes", "1", lambda total: (total - 1).abs() <= tolerance
            )
        self.weights, self.components = weights, components
        super().__init__(batch[:-1], components.event_shape, validate_args=False)

    def __repr__(self) -> str:
        return f"Mixture({self.components!r}, n_components={self.n_components}, batch_shape={tuple(self.batch_shape)})"

    def expand(self, batch_shape: Any, _instance: Any = None) -> Mixture:
        """The same mixtures over a larger batch, without a copy."""
        shape = (*torch.Size(batch_shape), self.n_components)
        return Mixture(self.weights.expand(shape), self.components.expand(shape), check=False)

    @property
    def n_components(self) -> int:
        """Number of modes."""
        return self.weights.shape[-1]

    @property
    def has_rsample(self) -> bool:  # type: ignore[override]
        """True if samples carry gradients (reparameterised sampling): for one-dimensional densities only."""
        return not self.event_shape

    @property
    def dtype(self) -> torch.dtype:
        """Dtype of the results."""
        return torch.promote_types(self.weights.dtype, self.components.dtype)

    def double(self) -> Mixture:
        """The same mixtures in float64."""
        return Mixture(self.weights.double(), self.components.double(), check=False)

    def average(self, values: Float[Tensor, "*batch modes *features"]) -> Float[Tensor, "*batch *features"]:
        r"""Average a quantity that is linear in the density over the modes: :math:`\sum_m w_m x_m`."""
        batch = len(self.batch_shape)
        weights = self.weights.expand(*self.batch_shape, self.n_components)
        return (weights.reshape(*weights.shape, *[1] * (values.ndim - batch - 1)) * values).sum(batch)

    @property
    def mean(self) -> Float[Tensor, "*batch *event"]:
        r""":math:`\sum_m w_m \mu_m`."""
        return self.average(self.components.mean)

    @property
    def variance(self) -> Float[Tensor, "*batch *event"]:
        r"""Along each axis, :math:`\sum_m w_m (\sigma_m^2 + (\mu_m - \mu)^2)`."""
        apart = self.components.mean - self.mean.unsqueeze(-1 - len(self.event_shape))
        return self.average(self.components.variance + apart**2)

    @property
    def covariance(self) -> Float[Tensor, "*batch n n"]:
        """Covariance, in several dimensions."""
        components = self._several()
        apart = components.mean - self.mean.unsqueeze(-2)
        total = components.covariance + apart[..., None] * apart[..., None, :]
        return self.average(total)

    @property
    def support(self) -> UnionOfSupports:
        """Support of the mixture; in one dimension it unpacks into the lower and upper ends of the modes' supports."""
        return UnionOfSupports(self.components)

    def pdf(self, value: Float[Tensor, "*points"]) -> Float[Tensor, "*points"]:
        """The density at points that broadcast with the batch."""
        return (self.weights * self.components.pdf(self._before_modes(value))).sum(-1)

    def log_prob(self, value: Float[Tensor, "*points"]) -> Float[Tensor, "*points"]:
        """Logarithm of the density, without underflow far from all modes; -inf, with gradient 0, off all supports."""
        logs = self.components.log_prob(self._before_modes(value))
        exact, weights = logs.double(), self.weights.double()
        top = torch.where(weights > 0, exact, -math.inf).detach().amax(-1, keepdim=True)
        top = torch.where(top > -math.inf, top, 0.0)
        # a mode of weight 0 has a gradient too, and may tower above the others
        total = (weights * torch.exp((exact - top).clamp(max=600))).sum(-1)
        inside = total > 0
        result = torch.where(inside, torch.where(inside, total, 1.0).log() + top.squeeze(-1), -math.inf)
        return result.to(torch.promote_types(logs.dtype, self.weights.dtype))

    def cdf(self, value: Float[Tensor, "*points"]) -> Float[Tensor, "*points"]:
        """Mass below the points; on the line."""
        return (self.weights * self._line().cdf(self._before_modes(value))).sum(-1)

    def icdf(self, value: Float[Tensor, "*points"]) -> Float[Tensor, "*points"]:
        """Quantiles, by bisection; on the line. The gradients of both orders are those of the implicit function.

        Where a gap between supports has the mass ``value`` below it, a point of the
        gap is returned, with gradient 0.
        """
        exact = self.double()
        components = exact._line()
        q = value.double()
        with torch.no_grad():
            each = components.icdf(q[..., None])
            # a mode of weight 0 says nothing about where the mass is
            counts = exact.weights > 0
            low = torch.where(counts, each, math.inf).amin(-1)
            high = torch.where(counts, each, -math.inf).amax(-1)
            for _ in range(_BISECTIONS):
                middle = (low + high) / 2
                below = exact.cdf(middle) < q
                low, high = torch.where(below, middle, low), torch.where(below, high, middle)
            point = ((low + high) / 2).detach()  # forward mode would go on without a gradient
        return exact._implicit(point, q).to(torch.promote_types(value.dtype, self.dtype))

    def rsample(
        self, sample_shape: Any = (), generator: torch.Generator | None = None
    ) -> Float[Tensor, "*sample *batch"]:
        """Points that carry gradients of both orders with respect to weights and densities; on the line.

        The gradients are those of a point that keeps the mass below it (Figurnov,
        Mohamed and Mnih, *Implicit reparameterization gradients*, NeurIPS 2018).
        """
        self._line()
        exact = self.double()
        point = exact.sample(sample_shape, generator)
        return exact._implicit(point, exact.cdf(point).detach()).to(self.dtype)

    def sample(
        self, sample_shape: Any = (), generator: torch.Generator | None = None
    ) -> Float[Tensor, "*sample *batch *event"]:
        """Points without gradients."""
        shape = torch.Size(sample_shape)
        with torch.no_grad():
            full = (*self.batch_shape, self.n_components)
            points = self.components.expand(full).sample(shape, generator)  # of every mode
            table = self.weights.float().expand(full).reshape(-1, self.n_components)
            drawn = torch.multinomial(table, max(1, shape.numel()), replacement=True, generator=generator)
            mode = drawn.T[: shape.numel()].reshape((*shape, *self.batch_shape))
            index = mode.reshape(*mode.shape, *[1] * (1 + len(self.event_shape)))
            index = index.expand(*mode.shape, 1, *self.event_shape)
            return points.gather(mode.ndim, index).squeeze(mode.ndim).to(self.dtype)

    def _implicit(self, point: Tensor, mass: Tensor) -> Tensor:
        """The point, which does not depend on anything yet, as the function of the parameters that has this mass."""
        density = self.pdf(point).detach()
        inside = (density > 0) & point.isfinite()
        moved = torch.where(inside, point, 0.0)
        # two Newton steps whose residuals are 0: their derivatives up to the third are those of the implicit function
        for _ in range(2):
            below = self.cdf(moved)
            slope = torch.where(inside, self.pdf(moved), 1.0)
            moved = moved - (below - below.detach() - (mass - mass.detach())) / slope
        return torch.where(inside, moved, point)

    def _line(self) -> BetaGaussian:
        if not isinstance(self.components, BetaGaussian):
            raise NotImplementedError("mass below a point, and gradients of samples, are for mixtures on the line")
        return self.components

    def _several(self) -> MultivariateBetaGaussian:
        if not isinstance(self.components, MultivariateBetaGaussian):
            raise NotImplementedError("a mixture on the line has a variance")
        return self.components

    def _before_modes(self, value: Tensor) -> Tensor:
        return value.unsqueeze(-1 - len(self.event_shape))
