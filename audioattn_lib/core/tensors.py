"""Checks that tensor values can be read on the host: no vmap, no compiler trace, no copy from a device."""

import torch
from torch import Tensor
from torch.autograd.forward_ad import unpack_dual
from torch.jit import is_tracing as _is_tracing  # type: ignore[attr-defined]

__all__ = ["are_at_hand", "are_plain", "are_real", "is_exporting"]


def is_exporting() -> bool:
    """True while a graph is recorded for other programs: by ``torch.export``, for ONNX or by TorchScript's tracing.

    Such a graph has to hold for other values and sizes, so it must have standard operations alone.
    """
    return torch.compiler.is_exporting() or _is_tracing()


def are_real(tensor: Tensor) -> bool:
    """True for a tensor with storage, False for what stands for one inside a function transform or a trace."""
    if torch.compiler.is_compiling() or _is_tracing():
        return False
    try:
        return tensor.data_ptr() != 0 or tensor.numel() == 0
    except RuntimeError:
        return False


def are_at_hand(tensor: Tensor) -> bool:
    """Return True for real tensors on the CPU, whose values are available without a wait."""
    return tensor.device.type == "cpu" and are_real(tensor)


def are_plain(*tensors: Tensor) -> bool:
    """True for real tensors without a tangent: what a function of autograd with a backward pass alone will do for."""
    return all(are_real(tensor) and unpack_dual(tensor).tangent is None for tensor in tensors)
