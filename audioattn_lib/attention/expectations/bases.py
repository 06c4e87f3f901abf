r"""Basis functions beside the Gaussians on the line: powers, waves, any function, Gaussians in several dimensions.

All are called with points and return the values of all functions there, know their
number by ``len``, and are immutable. Their expectations are those of
:func:`~audioattn_lib.attention.expectations.general.basis_expectation`.

Book page: ``from_weights_to_densities``.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from audioattn_lib.core.errors import ConfigError

from ..densities.quadrature import Constants

__all__ = ["FunctionBasis", "MultivariateGaussianBasis", "PowerBasis", "WaveBasis"]


class PowerBasis:
    r"""The powers :math:`1, t, \dots, t^d`, whose expectations are the raw moments.

    Parameters
    ----------
    degree
        :math:`d`, at least 0; there are :math:`d + 1` functions.

    Notes
    -----
    Book page: ``from_weights_to_densities``.
    """

    def __init__(self, degree: int) -> None:
        if degree < 0:
            raise ConfigError(f"degree is {degree}; it must be at least 0")
        self.degree = degree

    def __len__(self) -> int:
        return self.degree + 1

    def __eq__(self, other: object) -> bool:
        return self.degree == other.degree if isinstance(other, PowerBasis) else NotImplemented

    def __hash__(self) -> int:
        return hash(("powers", self.degree))

    def __repr__(self) -> str:
        return f"PowerBasis({self.degree})"

    def __call__(self, t: Float[Tensor, "*points"]) -> Float[Tensor, "*points basis"]:
        """Value of every function at every point."""
        return torch.stack([t**i for i in range(len(self))], dim=-1)


class WaveBasis:
    r"""The waves :math:`\cos \omega_j t` of all frequencies, then :math:`\sin \omega_j t` of all.

    Parameters
    ----------
    frequencies
        :math:`\omega_j`, angular, in one over the unit of t; finite.

    Notes
    -----
    Source: Martins et al., *Sparse and continuous attention mechanisms*, NeurIPS
    2020, whose code has such functions. Book page: ``from_weights_to_densities``.
    """

    def __init__(self, frequencies: Sequence[float]) -> None:
        self.frequencies = tuple(float(f) for f in frequencies)
        if not self.frequencies:
            raise ConfigError("frequencies is empty; give at least 1")
        bad = [f for f in self.frequencies if not math.isfinite(f)]
        if bad:
            raise ConfigError(f"frequencies holds {bad[0]}; every one must be finite")
        self._tensors = Constants(self.frequencies)

    def __len__(self) -> int:
        return 2 * len(self.frequencies)

    def __eq__(self, other: object) -> bool:
        return self.frequencies == other.frequencies if isinstance(other, WaveBasis) else NotImplemented

    def __hash__(self) -> int:
        return hash(("waves", self.frequencies))

    def __repr__(self) -> str:
        return f"WaveBasis({len(self)} functions)"

    def __call__(self, t: Float[Tensor, "*points"]) -> Float[Tensor, "*points basis"]:
        """Value of every function at every point."""
        phase = t.double()[..., None] * self._tensors.on(t.device)[0]
        return torch.cat([phase.cos(), phase.sin()], dim=-1).to(t.dtype)


class FunctionBasis:
    """Functions of the user's.

    Parameters
    ----------
    function
        From points ``(*points)`` to values ``(*points, basis)``; differentiable
        where gradients are wanted.
    n_basis
        Number of functions, at least 1.
    n_nodes
        Of the quadrature, at least 1. 128 serve functions that change on a scale of
        a fortieth of the half-width or more.

    Notes
    -----
    Book page: ``from_weights_to_densities``.
    """

    def __init__(self, function: Callable[[Tensor], Tensor], n_basis: int, n_nodes: int = 128) -> None:
        for name, value in (("n_basis", n_basis), ("n_nodes", n_nodes)):
            if value < 1:
                raise ConfigError(f"{name} is {value}; it must be at least 1")
        self.function, self.n_basis, self.n_nodes = function, n_basis, n_nodes

    def __len__(self) -> int:
        return self.n_basis

    def __repr__(self) -> str:
        return f"FunctionBasis({self.n_basis} functions)"

    def __call__(self, t: Float[Tensor, "*points"]) -> Float[Tensor, "*points basis"]:
        """Value of every function at every point."""
        values = self.function(t)
        if values.shape != (*t.shape, self.n_basis):
            raise ConfigError(
                f"function returned the shape {tuple(values.shape)} for points of shape {tuple(t.shape)}; "
                f"it must be {(*t.shape, self.n_basis)}, n_basis last"
            )
        return values


class MultivariateGaussianBasis:
    r"""Basis functions :math:`\psi_j(x) = \prod_i \mathcal{N}(x_i; m_{ji}, w_{ji}^2)` in several dimensions.

    Parameters
    ----------
    centres
        :math:`m_j`, one row of :math:`n` coordinates a function.
    widths
        :math:`w_j > 0`, a row a function, or one number a function for all axes.

    Notes
    -----
    Immutable, compared by value. Source: Martins et al., *Sparse and continuous
    attention mechanisms*, NeurIPS 2020, section 3.2. Book page:
    ``from_weights_to_densities``.
    """

    def __init__(self, centres: Sequence[Sequence[float]], widths: Sequence[float] | Sequence[Sequence[float]]) -> None:
        where = np.array(centres, dtype=np.float64)
        if where.ndim != 2 or where.size == 0:
            raise ConfigError(f"centres have shape {where.shape}; give a row of coordinates for each function")
        wide = np.array(widths, dtype=np.float64)
        if wide.ndim == 1:
            wide = np.repeat(wide[:, None], where.shape[1], axis=1)
        if wide.shape != where.shape:
            raise ConfigError(
                f"centres have shape {where.shape} and widths {np.shape(widths)}; give a width, or a row, per function"
            )
        for name, values, low in (("centres", where, -math.inf), ("widths", wide, 0.0)):
            bad = values[~((values > low) & np.isfinite(values))]
            if bad.size:
                bound = "finite" if low else "finite and above 0"
                raise ConfigError(f"{name} holds {bad[0]}; every one must be {bound}")
        self.centres = tuple(map(tuple, where.tolist()))
        self.widths = tuple(map(tuple, wide.tolist()))
        self._tensors = Constants(where, wide)

    @classmethod
    def grid(cls, counts: Sequence[int], widths: Sequence[float] = (0.1, 0.5)) -> MultivariateGaussianBasis:
        """Centres evenly from 0 to 1 along every axis, ``counts`` of them, at each one function of each width."""
        if not widths or not counts or min(counts) < 1:
            raise ConfigError(f"counts is {tuple(counts)} for {len(widths)} widths; give at least 1 centre an axis")
        axes = [np.linspace(0, 1, count).tolist() if count > 1 else [0.5] for count in counts]
        centres = [point for point in itertools.product(*axes) for _ in widths]
        return cls(centres, list(widths) * (len(centres) // len(widths)))

    @property
    def n(self) -> int:
        """Number of dimensions."""
        return len(self.centres[0])

    def __len__(self) -> int:
        return len(self.centres)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, MultivariateGaussianBasis):
            return NotImplemented
        return (self.centres, self.widths) == (other.centres, other.widths)

    def __hash__(self) -> int:
        return hash((self.centres, self.widths))

    def __repr__(self) -> str:
        return f"MultivariateGaussianBasis({len(self)} functions in {self.n} dimensions)"

    def parameters(self, device: torch.device) -> tuple[Float[Tensor, "basis n"], Float[Tensor, "basis n"]]:
        """Centres and widths in float64 on a device."""
        centres, widths = self._tensors.on(device)
        return centres, widths

    def __call__(self, x: Float[Tensor, "*points n"]) -> Float[Tensor, "*points basis"]:
        """Value of every function at every point."""
        centres, widths = self.parameters(x.device)
        z = (x.double()[..., None, :] - centres) / widths
        constant = (widths * math.sqrt(2 * math.pi)).prod(-1)
        return (torch.exp(-0.5 * z.square().sum(-1)) / constant).to(x.dtype)
