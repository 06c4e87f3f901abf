r"""Quadrature rules on the line, computed once in float64.

Two kinds serve the expectations of this package. **Gauss-Gegenbauer** with the
weight :math:`(1-u^2)^k` takes the density itself into the weights; it is the
rule for an arbitrary smooth function. **Gauss-Legendre**, optionally after a
substitution that flattens the ends of the interval, leaves the density in the
integrand: :math:`(1-y)^k` with a fractional power :math:`k` is then integrated
as well as a smooth function is, and the same nodes serve every :math:`k`.

Sources: Golub and Welsch, *Calculation of Gauss quadrature rules*, Mathematics
of Computation 1969; Davis and Rabinowitz, *Methods of Numerical Integration*,
section 2.9. Book page: ``from_weights_to_densities``.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from audioattn_lib.core.tensors import are_real

__all__ = ["Constants", "ball_rule", "gauss_gegenbauer", "gauss_hermite", "gauss_legendre"]

Array = NDArray[np.float64]


class Constants:
    """Float64 tensors that are the same on every call, kept once for each device.

    What is made inside a function transform or a compiler trace belongs to it
    and is not kept.
    """

    def __init__(self, *arrays: Array | Sequence[float]) -> None:
        self._arrays = tuple(np.array(array, dtype=np.float64) for array in arrays)
        self._kept: dict[torch.device, tuple[Tensor, ...]] = {}
        self.on(torch.device("cpu"))

    def on(self, device: torch.device) -> tuple[Tensor, ...]:
        """The tensors on a device."""
        tensors = self._kept.get(device)
        if tensors is None:
            tensors = tuple(torch.tensor(array, device=device) for array in self._arrays)
            if all(are_real(tensor) for tensor in tensors):
                self._kept[device] = tensors
        return tensors


@lru_cache(maxsize=256)
def gauss_gegenbauer(k: float, n_nodes: int) -> tuple[Array, Array]:
    r"""Nodes and weights of :math:`\int_{-1}^{1} (1-u^2)^k f(u)\,du`, the weights scaled to sum 1.

    Parameters
    ----------
    k
        Above -1/2; any real number, however large.
    n_nodes
        At least 1; the rule is exact for polynomials up to degree ``2 * n_nodes - 1``.
    """
    n = np.arange(1, n_nodes, dtype=np.float64)
    order = k + 0.5
    return _golub_welsch(np.sqrt(n * (n + 2 * order - 1) / (4 * (n + order) * (n + order - 1))))


@lru_cache(maxsize=64)
def gauss_hermite(n_nodes: int) -> tuple[Array, Array]:
    r"""Nodes and weights of :math:`\int \mathcal{N}(u; 0, 1) f(u)\,du`, exact as above."""
    return _golub_welsch(np.sqrt(np.arange(1, n_nodes, dtype=np.float64)))


@lru_cache(maxsize=64)
def ball_rule(n: int, k: float, n_nodes: int) -> tuple[Array, Array]:
    r"""Nodes ``(nodes, n)`` and weights of :math:`\int_{|u|\le1} (1-|u|^2)^k f(u)\,du`, the weights scaled to sum 1.

    A conical product of Gauss-Gegenbauer rules: coordinate :math:`i` is
    :math:`y_i \sqrt{(1-y_1^2) \cdots (1-y_{i-1}^2)}`. Infinite ``k`` stands for normal
    variables on all of space.

    Parameters
    ----------
    n
        Number of dimensions, at least 1.
    k
        Above -1/2, or infinite.
    n_nodes
        Along each axis, at least 1; exact for polynomials up to degree
        ``2 * n_nodes - 1``.
    """
    places, weights, rho = np.zeros((1, 0)), np.ones(1), np.ones(1)
    for i in range(n):
        rule = gauss_hermite(n_nodes) if k == np.inf else gauss_gegenbauer(k + (n - 1 - i) / 2, n_nodes)
        y, weight = rule
        places = np.concatenate([np.repeat(places, n_nodes, axis=0), np.outer(rho, y).reshape(-1, 1)], axis=1)
        weights = np.outer(weights, weight).ravel()
        rho = np.outer(rho, np.ones_like(y) if k == np.inf else np.sqrt(1 - y**2)).ravel()
    return places, weights


def gauss_legendre(n_nodes: int, flatness: int = 0) -> tuple[Array, Array]:
    r"""Nodes and weights of :math:`\int_{-1}^{1} f(y)\,dy`.

    Parameters
    ----------
    n_nodes
        At least 1.
    flatness
        0 for Gauss-Legendre; 1 substitutes :math:`y = (3v - v^3)/2`, 2 and 3 the
        polynomials of degree 5 and 7 with as many flat derivatives. A factor
        :math:`(1-y)^k` becomes one of power ``(flatness + 1) * (k + 1) - 1``, and
        the middle of the interval needs 1.5, 1.9 or 2.2 times the nodes.
    """
    v, weight = np.polynomial.legendre.leggauss(n_nodes)
    if flatness == 1:
        return (3 * v - v**3) / 2, 1.5 * (1 - v**2) * weight
    if flatness == 2:
        return (15 * v - 10 * v**3 + 3 * v**5) / 8, 1.875 * (1 - v**2) ** 2 * weight
    if flatness == 3:
        return (35 * v - 35 * v**3 + 21 * v**5 - 5 * v**7) / 16, 2.1875 * (1 - v**2) ** 3 * weight
    return v, weight


def _golub_welsch(off_diagonal: Array) -> tuple[Array, Array]:
    from scipy import linalg  # imports for long, and few need it

    if len(off_diagonal) == 0:
        return np.zeros(1), np.ones(1)
    nodes, vectors = linalg.eigh_tridiagonal(np.zeros(len(off_diagonal) + 1), off_diagonal)
    weights = vectors[0] ** 2
    # symmetric rules: what is odd integrates to exactly 0
    nodes, weights = (nodes - nodes[::-1]) / 2, (weights + weights[::-1]) / 2
    return nodes, weights / weights.sum()
