r"""Recurrent layers that can be run in one piece or step by step, at nearly the same cost.

A decoder with attention must go step by step: what it reads depends on what it
remembers. Two things make that slow, and both are avoided here. What does not
depend on the last step is computed for all steps at once. And a matrix that is
used at every step gets its gradient from one product at the end,
:math:`\sum_t x_t^\top g_t = X^\top G`, rather than from a small one a step.

Book page: ``sleepiness``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from audioattn_lib.core.errors import ConfigError

__all__ = ["CELLS", "ParallelLayer", "ReusedMatrix", "State", "Steps", "run_packed"]

State = tuple[Tensor, ...]
"""State of a layer, tensors of shape ``(lanes, B, units)``: hidden for a GRU, hidden and cell for an LSTM."""

CELLS: dict[str, Callable[..., nn.RNNBase]] = {"gru": nn.GRU, "lstm": nn.LSTM}
"""Recurrent cells by the name that a configuration uses."""

_GATES = {"gru": 3, "lstm": 4}


def require_cell(cell: str) -> None:
    """Raise a :class:`ConfigError` that lists the cells unless this is one of them."""
    if cell not in CELLS:
        raise ConfigError(f"cell is {cell!r}; it must be one of {', '.join(CELLS)}")


def run_packed(
    layer: nn.RNNBase, inputs: Float[Tensor, "batch frames features"], lengths: Int[Tensor, " batch"] | None
) -> tuple[Float[Tensor, "batch frames out"], State]:
    """Run a layer over the valid frames only: outputs (0 on padding) and final states ``(layers, B, units)``.

    The outputs of a direction that runs backwards stand at the frames that they belong to.
    """
    frames = inputs.shape[1]
    # Packing costs time on a device and splits the kernel, so full batches go without.
    if lengths is None or bool((lengths == frames).all()):
        outputs, state = layer(inputs)
    else:
        packed = pack_padded_sequence(inputs, lengths.cpu(), batch_first=True, enforce_sorted=False)
        outputs, state = layer(packed)
        outputs = pad_packed_sequence(outputs, batch_first=True, total_length=frames)[0]
    return outputs, state if isinstance(state, tuple) else (state,)


class ReusedMatrix:
    r"""A batch of matrices that rows are multiplied with at every step, :math:`y_t = o_t + x_t M`.

    Parameters
    ----------
    matrix
        :math:`M`, shape ``(N, I, O)``.
    offsets
        :math:`o_t` of every step, shape ``(T, N, R, O)``; may be expanded, so that it takes no memory.

    Notes
    -----
    Equal to a product a step, gradients included, which come from one product over all steps. Differentiable once.
    """

    def __init__(self, matrix: Float[Tensor, "n inputs outputs"], offsets: Float[Tensor, "steps n rows outputs"]):
        # The graph sees one node, _Collect, in place of a product a step: the rows of all steps are collected in
        # _inputs during the forward pass, and the backward pass reads them when it knows the gradient of all steps.
        self._inputs: list[Tensor] | None = [] if torch.is_grad_enabled() else None
        if self._inputs is not None:
            offsets = _Collect.apply(offsets, matrix, self._inputs)
        self._offsets = offsets.unbind(0)
        self._matrix = matrix.detach()  # its gradient comes from _Collect; the rows keep their own path

    def __call__(self, step: int, rows: Float[Tensor, "n rows inputs"]) -> Float[Tensor, "n rows outputs"]:
        """The product of a step; steps are asked for in order, each once."""
        if self._inputs is not None:
            self._inputs.append(rows.detach())
        return torch.baddbmm(self._offsets[step], rows, self._matrix)


class _Collect(torch.autograd.Function):
    """Identity of the offsets; its backward pass also computes the gradient of the matrix."""

    @staticmethod
    def forward(ctx: Any, offsets: Tensor, matrix: Tensor, inputs: list[Tensor]) -> Tensor:
        ctx.inputs, ctx.dtype = inputs, matrix.dtype
        return offsets.view_as(offsets)

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        # (T, N, R, .) -> (N, T * R, .): one product for all steps
        used = gradient[: len(ctx.inputs)].transpose(0, 1).flatten(1, 2)
        rows = torch.stack(ctx.inputs, dim=1).flatten(1, 2).to(used.dtype)
        return gradient, (rows.mT @ used).to(ctx.dtype), None


class ParallelLayer(nn.Module):
    """Recurrent layers of equal size side by side, all running forwards over the same input.

    From ``(B, T, in_features)`` to ``(B, T, lanes * units)``. Two lanes take
    the place of the two directions of a bidirectional layer where a frame must
    not know what follows it.

    Parameters
    ----------
    in_features, units, lanes
        At least 1.
    cell
        ``"gru"`` or ``"lstm"``.
    """

    def __init__(self, in_features: int, units: int, lanes: int = 2, cell: str = "gru") -> None:
        super().__init__()
        require_cell(cell)
        self.lanes = nn.ModuleList(CELLS[cell](in_features, units, batch_first=True) for _ in range(lanes))
        self.units, self.cell = units, cell
        self.out_features = lanes * units

    def start(self, hidden: Float[Tensor, "lanes batch units"]) -> State:
        """The state with this hidden vector; the cell of an LSTM starts empty."""
        return (hidden,) if self.cell == "gru" else (hidden, torch.zeros_like(hidden))

    def forward(
        self, inputs: Float[Tensor, "batch frames features"], state: State
    ) -> Float[Tensor, "batch frames out"]:
        """All steps at once, from a state."""
        outputs = []
        for number, lane in enumerate(self.lanes):
            own = tuple(tensor[number : number + 1].contiguous() for tensor in state)  # (1, B, units)
            outputs.append(lane(inputs, own if self.cell == "lstm" else own[0])[0])
        return torch.cat(outputs, dim=-1)

    @property
    def input_weight(self) -> Float[Tensor, "inputs gates"]:
        """Weights from the input to the gates of all lanes."""
        return torch.cat(self.parameters_of("weight_ih_l0")).T

    @property
    def input_bias(self) -> Float[Tensor, " gates"]:
        """Biases of the gates of all lanes."""
        return torch.cat(self.parameters_of("bias_ih_l0"))

    def parameters_of(self, name: str) -> list[Tensor]:
        """The parameter with a name of torch's, of each lane."""
        return [getattr(lane, name) for lane in self.lanes]

    def steps(self, n_steps: int, state: State) -> Steps:
        """The same layer step by step."""
        return Steps(self, n_steps, state)


class Steps:
    """Step-by-step evaluation of a :class:`ParallelLayer`.

    Parameters
    ----------
    layer
        Whose weights are used.
    n_steps
        Steps at most.
    state
        Where it starts; ``state`` is what it remembers now, and may be set.
    """

    def __init__(self, layer: ParallelLayer, n_steps: int, state: State) -> None:
        self.state = state
        self._cell = layer.cell
        lanes, batch, units = state[0].shape
        self._shape = (batch, lanes, _GATES[layer.cell] * units)
        weight = torch.stack(layer.parameters_of("weight_hh_l0")).mT  # (lanes, units, gates)
        bias = torch.stack(layer.parameters_of("bias_hh_l0"))[:, None]  # (lanes, 1, gates)
        # Lanes are the batch of the product: (lanes, B, units) times (lanes, units, gates), one call for all lanes.
        self._recurrent = ReusedMatrix(weight, bias.expand(n_steps, -1, batch, -1))

    def __call__(self, step: int, gates: Float[Tensor, "batch lanes_gates"]) -> Float[Tensor, "batch out"]:
        """Compute the hidden vector of all lanes after a step, from the projected input of the gates."""
        from_input = gates.reshape(self._shape).transpose(0, 1)  # (lanes, B, gates)
        from_past = self._recurrent(step, self.state[0])
        # both (lanes, B, gates), gates in the order of torch: r, z, n of a GRU, and i, f, g, o of an LSTM
        self.state = (_gru if self._cell == "gru" else _lstm)(from_input, from_past, self.state)
        return self.state[0].transpose(0, 1).flatten(1)


def _gru(from_input: Tensor, from_past: Tensor, state: State) -> State:
    """Cho et al., 2014, in the form of torch: the reset gate acts on what the past gives, its bias included."""
    # h' = (1 - z) n + z h with n = tanh(W x + r (U h + b)): torch applies r after the product, Cho et al. before it.
    units = state[0].shape[-1]
    reset, update = torch.sigmoid(from_input[..., : 2 * units] + from_past[..., : 2 * units]).split(units, dim=-1)
    candidate = torch.tanh(torch.addcmul(from_input[..., 2 * units :], reset, from_past[..., 2 * units :]))
    return (torch.lerp(candidate, state[0].to(candidate.dtype), update),)  # under autocast they may differ


def _lstm(from_input: Tensor, from_past: Tensor, state: State) -> State:
    """Hochreiter and Schmidhuber, 1997, with forget gate."""
    into, forget, candidate, out = (from_input + from_past).chunk(4, dim=-1)
    cell = torch.sigmoid(forget) * state[1] + torch.sigmoid(into) * torch.tanh(candidate)
    return torch.sigmoid(out) * torch.tanh(cell), cell


def reverse_frames(
    frames: Float[Tensor, "batch frames features"], lengths: Int[Tensor, " batch"] | None
) -> Float[Tensor, "batch frames features"]:
    """Each clip backwards in time; its padding stays behind it."""
    if lengths is None:
        return frames.flip(1)
    position = torch.arange(frames.shape[1], device=frames.device)
    # frame t of a clip of n frames goes to n - 1 - t; padding stays at its place
    mirrored = lengths.to(frames.device)[:, None] - 1 - position
    index = torch.where(mirrored >= 0, mirrored, position)
    return frames.gather(1, index[..., None].expand(-1, -1, frames.shape[2]))


def shift_frames(frames: Float[Tensor, "batch frames features"]) -> Float[Tensor, "batch frames features"]:
    """The frame before each frame; zeros before the first."""
    return F.pad(frames[:, :-1], (0, 0, 1, 0))
