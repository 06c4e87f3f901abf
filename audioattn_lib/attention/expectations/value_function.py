r"""Frames as a function of time, by ridge regression on basis functions, Gaussian ones as published.

The value function of a clip of :math:`L` frames with values
:math:`h_t \in R^H` at :math:`(t + \frac12)/L` is :math:`V(t) = B\psi(t)` with

.. math::

   B = [h_1 \dots h_L]\, G, \qquad
   G = F_c^\top (F F^\top + \lambda I)^{-1},

where the columns of :math:`F` are the basis functions at all points of the
regression and those of :math:`F_c` carry the values. The context of a density
with :math:`r = E_p[\psi]` is :math:`B r = \sum_t (G r)_t h_t`: reading a function
is giving every frame a weight, :math:`G r`. :math:`B` is never built.

What the function does outside the clip is the boundary mode:

``zero``
    It is regressed to zero for half a clip on either side, as published; that
    pulls it down near both ends.
``reflect``
    The frames are mirrored there.
``renormalise``
    Nothing is asked of it there, and the density is restricted to the clip.

Source: Martins et al., *Sparse and continuous attention mechanisms*, NeurIPS
2020, section 3.2. Book page: ``from_weights_to_densities``.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from audioattn_lib.core.errors import ConfigError
from audioattn_lib.core.tensors import are_at_hand, are_plain

from ..densities.beta_gaussian import BetaGaussian
from ..densities.mixture import Mixture
from ._matrices import matrices_of_standard_operations
from .general import Basis, basis_expectation

__all__ = ["BOUNDARIES", "Cache", "ValueFunction", "design", "frame_centres"]

BOUNDARIES = ("zero", "reflect", "renormalise")
"""Boundary modes: continuation of the value function outside the clip."""

# Points of the regression that are evaluated at once: bounds the memory of long clips
_CHUNK = 16384


def frame_centres(n_frames: int) -> Float[Tensor, " frames"]:
    """Centres of the frames of a clip, :math:`(t + \\frac12)/L` in [0, 1], in float64."""
    return (torch.arange(n_frames, dtype=torch.float64) + 0.5) / n_frames


class ValueFunction:
    r"""Reads frames as a function of time on [0, 1].

    Stateless but for the matrices :math:`G`, computed on first use of a length
    in float64 by Cholesky decomposition and kept, the least recently used
    dropped first.

    Parameters
    ----------
    basis
        The basis functions, on the scale of the clip: Gaussians as published, powers,
        waves or any others of :mod:`~audioattn_lib.attention.expectations.bases`.
    penalty
        :math:`\lambda`, above 0.
    boundary
        ``"zero"``, ``"reflect"`` or ``"renormalise"``.
    cache_bytes
        Most memory that the kept matrices may take; one of a length of 401 with
        128 functions takes 205 kB in float32.

    Notes
    -----
    Source: Martins et al., NeurIPS 2020, section 3.2. Book page:
    ``from_weights_to_densities``.
    """

    def __init__(
        self,
        basis: Basis,
        penalty: float = 0.1,
        boundary: str = "zero",
        *,
        cache_bytes: int = 64 * 2**20,
    ) -> None:
        if not 0 < penalty < float("inf"):
            raise ConfigError(f"penalty is {penalty}; it must be finite and above 0")
        if boundary not in BOUNDARIES:
            raise ConfigError(f"boundary is {boundary!r}; it must be one of {', '.join(BOUNDARIES)}")
        self.basis = basis
        self.penalty = penalty
        self.boundary = boundary
        self._cache = Cache(cache_bytes)

    def __repr__(self) -> str:
        return f"ValueFunction({self.basis!r}, penalty={self.penalty:g}, boundary={self.boundary!r})"

    def matrix(
        self, n_frames: int, dtype: torch.dtype = torch.float64, device: torch.device | str = "cpu"
    ) -> Float[Tensor, "frames basis"]:
        """The matrix :math:`G` of a clip of ``n_frames`` frames, at least 1."""
        if n_frames < 1:
            raise ValueError(f"n_frames is {n_frames}; a clip has at least 1 frame")
        key = (n_frames, dtype, str(device))
        matrix = self._cache.get(key)
        if matrix is None:
            matrix = self._regress(n_frames).to(device, dtype)
            self._cache.put(key, matrix)
        return matrix

    def matrices(
        self, lengths: Sequence[int] | Tensor, n_frames: int, dtype: torch.dtype, device: torch.device
    ) -> Float[Tensor, "clips frames basis"]:
        """The matrix of every clip of a padded batch, 0 on padding; a single one where all lengths are equal.

        For lengths in a tensor, whose values are not looked at, the matrices come from standard operations, which a
        graph for other programs has: without a decomposition, and equal within 1e-9.
        """
        if isinstance(lengths, Tensor):
            return matrices_of_standard_operations(self.basis, self.penalty, self.boundary, lengths, n_frames).to(dtype)
        if len(set(lengths)) == 1:
            lengths = lengths[:1]
            if lengths[0] == n_frames:
                return self.matrix(n_frames, dtype, device)[None]
        matrices = torch.zeros(len(lengths), n_frames, len(self.basis), dtype=dtype, device=device)
        for clip, length in enumerate(lengths):
            matrices[clip, :length] = self.matrix(length, dtype, device)
        return matrices

    def expect(self, density: BetaGaussian | Mixture) -> Float[Tensor, "*batch basis"]:
        """Expectation :math:`r` of the basis functions, over the clip alone when ``boundary`` is ``renormalise``."""
        return basis_expectation(density, self.basis, interval=(0.0, 1.0) if self.boundary == "renormalise" else None)

    def read_weights(
        self, expectations: Float[Tensor, "batch basis"], lengths: Sequence[int] | Tensor, n_frames: int
    ) -> Float[Tensor, "batch frames"]:
        r"""Weight :math:`G r` of every frame in the context, 0 on padding; of either sign, of a sum near 1.

        Parameters
        ----------
        expectations
            :math:`r`, from :meth:`expect`.
        lengths
            Valid frames of each clip, in [1, n_frames]; numbers, or a tensor as for :meth:`matrices`.
        n_frames
            Frames of the padded batch.
        """
        if isinstance(lengths, Tensor):
            matrices = self.matrices(lengths, n_frames, expectations.dtype, expectations.device)
            return torch.bmm(matrices, expectations[..., None]).squeeze(-1)
        exact = expectations.dtype in (torch.float32, torch.float64)
        if len(set(lengths)) > 1 and exact and are_at_hand(expectations) and are_plain(expectations):
            own = [self.matrix(length, expectations.dtype) for length in lengths]
            return _ReadEach.apply(expectations, own, n_frames)
        matrices = self.matrices(lengths, n_frames, expectations.dtype, expectations.device)
        if len(matrices) == 1:
            return expectations @ matrices[0].T
        return torch.bmm(matrices, expectations[..., None]).squeeze(-1)

    def reconstruct(
        self, values: Float[Tensor, "frames features"], times: Float[Tensor, " points"]
    ) -> Float[Tensor, "points features"]:
        """Evaluate the value function :math:`V(t)` of one clip at ``times`` in [0, 1], for pictures."""
        matrix = self.matrix(len(values), torch.float64, values.device)
        coefficients = matrix.T @ values.double()  # (basis, features)
        return (self.basis(times.double()) @ coefficients).to(values.dtype)

    def _regress(self, n_frames: int) -> Tensor:
        """Solve for G in float64 on the host, the points in chunks."""
        gram, rows = design(self.basis, n_frames, self.boundary)
        factor = torch.linalg.cholesky(gram + self.penalty * torch.eye(len(self.basis), dtype=torch.float64))
        return torch.cat([torch.cholesky_solve(psi.T, factor).T for psi in rows])


class _ReadEach(torch.autograd.Function):
    """Weights of the frames of clips of several lengths, each by its own matrix, of which no padded copy is made."""

    @staticmethod
    def forward(ctx: Any, expectations: Tensor, matrices: Sequence[Tensor], n_frames: int) -> Tensor:
        ctx.matrices = matrices
        weights = expectations.new_zeros(len(expectations), n_frames)
        for clip, coefficients, matrix in zip(weights, expectations, matrices, strict=True):
            torch.mv(matrix, coefficients, out=clip[: len(matrix)])
        return weights

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return _GatherEach.apply(gradient, ctx.matrices), None, None


class _GatherEach(torch.autograd.Function):
    """The transpose of it."""

    @staticmethod
    def forward(ctx: Any, gradient: Tensor, matrices: Sequence[Tensor]) -> Tensor:
        ctx.matrices, ctx.n_frames = matrices, gradient.shape[1]
        gathered = gradient.new_empty(len(gradient), matrices[0].shape[1])
        for clip, clip_gradient, matrix in zip(gathered, gradient, matrices, strict=True):
            torch.mv(matrix.T, clip_gradient[: len(matrix)], out=clip)
        return gathered

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return _ReadEach.apply(gradient, ctx.matrices, ctx.n_frames), None


def design(basis: Basis, n_frames: int, boundary: str) -> tuple[Tensor, Iterator[Tensor]]:
    r"""The two sides of the regression of a clip, in float64 on the host.

    Returns
    -------
    gram
        :math:`F F^\top`, ``(basis, basis)``.
    rows
        :math:`F_c^\top`, ``(frames, basis)``, in chunks of frames.
    """
    margin = 0 if boundary == "renormalise" else n_frames // 2
    points = (torch.arange(-margin, n_frames + margin, dtype=torch.float64) + 0.5) / n_frames
    gram = torch.zeros(len(basis), len(basis), dtype=torch.float64)
    for chunk in points.split(_CHUNK):
        psi = basis(chunk)
        gram += psi.T @ psi

    def rows() -> Iterator[Tensor]:
        for start in range(0, n_frames, _CHUNK):
            centre = torch.arange(start, min(start + _CHUNK, n_frames))
            psi = basis((centre + 0.5).double() / n_frames)
            if boundary == "reflect":
                # frame t stands again at -1-t and at 2L-1-t, where the margin reaches that far
                for mirrored, inside in (
                    (-1 - centre, centre < margin),
                    (2 * n_frames - 1 - centre, centre >= n_frames - margin),
                ):
                    psi = psi + inside[:, None] * basis((mirrored + 0.5).double() / n_frames)
            yield psi

    return gram, rows()


class Cache:
    """Tensors by key, the least recently used dropped when they take too much memory; copies start empty."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._lock = threading.Lock()
        self._kept: OrderedDict[Any, Tensor] = OrderedDict()
        self._bytes = 0

    def get(self, key: Any) -> Tensor | None:
        with self._lock:
            tensor = self._kept.get(key)
            if tensor is not None:
                self._kept.move_to_end(key)
            return tensor

    def put(self, key: Any, tensor: Tensor) -> None:
        size = tensor.nbytes
        with self._lock:
            if size > self.max_bytes or key in self._kept:
                return
            self._kept[key] = tensor
            self._bytes += size
            while self._bytes > self.max_bytes:
                self._bytes -= self._kept.popitem(last=False)[1].nbytes

    def __len__(self) -> int:
        return len(self._kept)

    def __reduce__(self) -> tuple[Any, ...]:
        return Cache, (self.max_bytes,)
