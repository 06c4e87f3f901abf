r"""Matrices of the value function in standard operations alone, for graphs that leave PyTorch and lack decompositions.

The matrix of a clip of :math:`L` frames is :math:`G = F_c^\top (F F^\top + \lambda I)^{-1}`. The Gram matrix
:math:`F F^\top` is close to :math:`L` times :math:`\int \psi\psi^\top`, whose eigenvectors :math:`W` and eigenvalues
:math:`\sigma^2` are known before any length is. Smooth functions that overlap have few eigenvalues above 0: in their
span, with :math:`D = L\,\mathrm{diag}(\sigma^2) + \lambda`, the matrix
:math:`A = D^{-1/2}(W^\top F F^\top W + \lambda I)D^{-1/2}` is small and close to the identity, and
:math:`X \leftarrow X(2I - AX)` (Schulz, 1933) reaches its inverse in a few products.

Book page: ``from_weights_to_densities``.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from audioattn_lib.core.errors import ConfigError

from .gaussian import GaussianBasis
from .general import Basis

__all__ = ["matrices_of_standard_operations"]

_POINTS = 4096
# eigenvalues that are left out, relative to the penalty; the matrices depend on their roots
_NEGLIGIBLE = 1e-20
# lengths whose condition says how many products are needed: short clips are the furthest from the integral
_LENGTHS = (*range(1, 17), 24, 32, 48, 64, 128, 256, 1024, 4096)


def matrices_of_standard_operations(
    basis: Basis, penalty: float, boundary: str, lengths: Tensor, n_frames: int
) -> Tensor:
    """Matrices of clips of any lengths, ``(clips, n_frames, basis)`` in float64, 0 on padding.

    Raises
    ------
    ConfigError
        For a basis that is not Gaussian.
    """
    if not isinstance(basis, GaussianBasis):
        raise ConfigError(f"{basis!r} cannot be exported; give the value function a GaussianBasis")
    span, eigenvalues, steps = _reduce(basis, penalty, boundary)
    device = lengths.device
    directions = torch.tensor(span, device=device)  # (basis, m)
    count = lengths.double()[:, None]
    scale = (count * torch.tensor(eigenvalues, device=device) + penalty).rsqrt()[:, None]  # (B, 1, m)
    margin = 0 if boundary == "renormalise" else n_frames // 2
    places = torch.arange(-margin, n_frames + margin, device=device)  # (P,) for the longest clip
    own = torch.zeros_like(lengths) if boundary == "renormalise" else lengths // 2
    is_inside = (places >= -own[:, None]) & (places < (lengths + own)[:, None])
    points = (places.double() + 0.5) / count  # (B, P)
    # the functions at all points of the regression, (B, P, m)
    rows = (basis(points) @ directions) * scale * is_inside[..., None]
    gram = rows.mT @ rows + (penalty * scale.square()) * torch.eye(len(eigenvalues), dtype=torch.float64, device=device)
    # its eigenvalues are at most the largest sum of a row
    inverse = torch.eye(len(eigenvalues), dtype=torch.float64, device=device) / gram.abs().sum(-1, keepdim=True).amax(
        -2, keepdim=True
    )
    for _ in range(steps):
        inverse = 2 * inverse - inverse @ (gram @ inverse)
    frames = torch.arange(n_frames, device=device)
    centres = (basis((frames.double() + 0.5) / count) @ directions) * scale
    if boundary == "reflect":
        for mirrored, inside in (
            (-1 - frames.expand(lengths.shape[0], -1), frames < own[:, None]),
            (2 * lengths[:, None] - 1 - frames, frames >= (lengths - own)[:, None]),
        ):
            reflected = (basis((mirrored.double() + 0.5) / count) @ directions) * scale
            centres = centres + reflected * inside[..., None]
    centres = centres * (frames < lengths[:, None])[..., None]
    return centres @ (inverse @ (directions * scale).mT)


@lru_cache(maxsize=16)
def _reduce(basis: GaussianBasis, penalty: float, boundary: str) -> tuple[NDArray, NDArray, int]:
    """Directions ``(basis, m)`` in which the functions are not negligible, eigenvalues ``(m,)`` and products needed."""
    low, high = (0.0, 1.0) if boundary == "renormalise" else (-0.5, 1.5)
    grid = low + (np.arange(_POINTS) + 0.5) / _POINTS * (high - low)
    _, singular, right = np.linalg.svd(_evaluate(basis, grid) * math.sqrt((high - low) / _POINTS), full_matrices=False)
    significant = singular**2 > _NEGLIGIBLE * penalty
    directions, eigenvalues = right[significant].T, singular[significant] ** 2
    worst = 1.0
    for length in _LENGTHS:
        margin = 0 if boundary == "renormalise" else length // 2
        places = (np.arange(-margin, length + margin) + 0.5) / length
        rows = (_evaluate(basis, places) @ directions) / np.sqrt(length * eigenvalues + penalty)
        gram = rows.T @ rows + np.diag(penalty / (length * eigenvalues + penalty))
        worst = max(worst, np.abs(gram).sum(-1).max() / np.linalg.eigvalsh(gram)[0])
    # the error, at first 1 - 1 / worst, is squared by each; the last three leave rounding alone
    return directions, eigenvalues, math.ceil(math.log2(worst)) + 6


def _evaluate(basis: GaussianBasis, places: NDArray) -> NDArray:
    centres, widths = np.array(basis.centres), np.array(basis.widths)
    z = (places[:, None] - centres) / widths
    return np.exp(-0.5 * z * z) / (widths * math.sqrt(2 * math.pi))
