r"""Basis functions for values over a plane or in space.

Book page: ``from_weights_to_densities``.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import ConfigError
from .quadrature import Constants

__all__ = ["MultivariateGaussianBasis"]


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
