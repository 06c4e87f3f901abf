"""A CUDA device that is not there, as a plugin of pytest, behind ``library``, which has to come before torch.

Its tensors say that they are on ``cuda:0``, hold their numbers in the memory of the
processor, and refuse what a real device refuses: to be mixed with tensors that are
elsewhere, to be read by NumPy, to be drawn with a generator of the processor. Autograd,
autocast and optimisers are PyTorch's own. So what is shown is that everything is where it
must be and has the type that it must have there; nothing is shown of kernels, of speed or
of memory.

Not simulated: what compiles for a device (Triton, FlexAttention: attention with a mask
takes its place) and several devices.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_leaves, tree_map

DEVICE = torch.device("cuda", 0)
PROCESSOR = torch.device("cpu")
aten = torch.ops.aten

PACKS = {aten._pack_padded_sequence.default, aten._pad_packed_sequence.default}  # their lengths stay on the processor
ANYWHERE = {aten._to_copy.default, aten.copy_.default, aten._pack_padded_sequence_backward.default, *PACKS}
INDEXED = {aten.index.Tensor, aten.index_put.default, aten.index_put_.default, aten._index_put_impl_.default}
REFUSED = {aten._pin_memory.default, aten.is_pinned.default}


class Simulated(Tensor):
    """A tensor on the device."""

    _held: Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, held: Tensor) -> Simulated:
        """A tensor like another one, elsewhere."""
        return Tensor._make_wrapper_subclass(  # type: ignore[attr-defined, no-any-return]
            cls,
            held.size(),
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            layout=held.layout,
            device=DEVICE,
        )

    def __init__(self, held: Tensor) -> None:
        self._held = held

    def __repr__(self) -> str:  # type: ignore[override]
        return f"Simulated({self._held})"

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        if id(self) not in memo:
            copied = Simulated(self._held.clone()).requires_grad_(self.requires_grad)
            is_parameter = isinstance(self, nn.Parameter)
            memo[id(self)] = nn.Parameter(copied.detach(), self.requires_grad) if is_parameter else copied
        return memo[id(self)]  # type: ignore[no-any-return]

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return run(func, args, kwargs or {})


def run(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """One operation: on the numbers that are held, if a device would do it."""
    leaves = tree_leaves((args, kwargs))
    there = [x for x in leaves if isinstance(x, Simulated)]
    asked = kwargs.get("device")
    if func.overloadpacket is aten.to and asked is None:
        asked = next((x for x in args[1:] if isinstance(x, torch.device)), None)
    is_asked = asked is not None and torch.device(asked).type == "cuda"
    if not there and not is_asked:
        return func(*args, **kwargs)
    refuse(func, args, leaves, there)

    def on_the_processor(x: Any) -> Any:
        return x._held if isinstance(x, Simulated) else PROCESSOR if isinstance(x, torch.device) else x

    options = {key: False if key == "pin_memory" else x for key, x in kwargs.items()}
    result = CELLS.get(func, func)(*tree_map(on_the_processor, args), **tree_map(on_the_processor, options))
    if func is aten.copy_.default:
        return args[0]
    if asked is not None and not is_asked:
        return result.clone() if any(result is x._held for x in there) else result
    if func in PACKS:
        return Simulated(result[0]), result[1]
    simulated = {id(x._held): x for x in there}

    def move_there(x: Any) -> Any:
        return x if type(x) is not Tensor else simulated[id(x)] if id(x) in simulated else Simulated(x)

    moved = tree_map(move_there, result)
    if func in CELLS or func.overloadpacket is aten.to:
        return moved
    return return_and_correct_aliasing(func, args, kwargs, moved)


def refuse(func: Any, args: tuple[Any, ...], leaves: list[Any], there: list[Simulated]) -> None:
    """Raise what a device would raise."""
    if func in REFUSED:
        raise RuntimeError(f"{func} is for tensors of the processor")
    if any(isinstance(x, torch.Generator) and x.device.type != "cuda" for x in leaves):
        raise RuntimeError(f"{func}: expected a generator of cuda and got one of the processor")
    if func in ANYWHERE:
        return
    here = [x for x in leaves if isinstance(x, Tensor) and not isinstance(x, Simulated)]
    if func in INDEXED:  # places may be on the processor, what lies at them may not
        here = [x for x in (args[0], *args[2:3]) if not isinstance(x, Simulated)]
    shapes = [tuple(x.shape) for x in here if x.dim() > 0]  # numbers without dimensions go along
    if there and shapes:
        raise RuntimeError(
            f"expected all tensors on one device, {func}: {shapes} on cpu, {[tuple(x.shape) for x in there]} on cuda:0"
        )


# A device has kernels for the cells of recurrent layers that the processor lacks.


def gru(a: Tensor, b: Tensor, hidden: Tensor, bias_a: Any = None, bias_b: Any = None) -> tuple[Tensor, Tensor]:
    if bias_a is not None:
        a, b = a + bias_a, b + bias_b
    reset_a, update_a, new_a = a.chunk(3, 1)
    reset_b, update_b, new_b = b.chunk(3, 1)
    reset, update = (reset_a + reset_b).sigmoid(), (update_a + update_b).sigmoid()
    new = (new_a + reset * new_b).tanh()
    return new + update * (hidden - new), torch.cat([reset, update, new, hidden, new_b], 1)


def gru_backward(gradient: Tensor, kept: Tensor, has_bias: bool) -> tuple[Any, ...]:
    reset, update, new, hidden, new_b = kept.chunk(5, 1)
    to_new = gradient * (1 - update) * (1 - new * new)
    to_update = gradient * (hidden - new) * update * (1 - update)
    to_reset = to_new * new_b * reset * (1 - reset)
    a = torch.cat([to_reset, to_update, to_new], 1)
    b = torch.cat([to_reset, to_update, to_new * reset], 1)
    return a, b, gradient * update, a.sum(0) if has_bias else None, b.sum(0) if has_bias else None


def lstm(a: Tensor, b: Tensor, cell: Tensor, bias_a: Any = None, bias_b: Any = None) -> tuple[Tensor, Tensor, Tensor]:
    gates = a + b if bias_a is None else a + b + bias_a + bias_b
    into, forget, candidate, out = gates.chunk(4, 1)
    into, forget, candidate, out = into.sigmoid(), forget.sigmoid(), candidate.tanh(), out.sigmoid()
    now = forget * cell + into * candidate
    return out * now.tanh(), now, torch.cat([into, forget, candidate, out], 1)


def lstm_backward(
    to_hidden: Any, to_cell: Any, cell: Tensor, now: Tensor, kept: Tensor, has_bias: bool
) -> tuple[Any, ...]:
    into, forget, candidate, out = kept.chunk(4, 1)
    bent = now.tanh()
    to_hidden = torch.zeros_like(now) if to_hidden is None else to_hidden
    total = to_hidden * out * (1 - bent * bent) + (0 if to_cell is None else to_cell)
    parts = [
        total * candidate * into * (1 - into),
        total * cell * forget * (1 - forget),
        total * into * (1 - candidate * candidate),
        to_hidden * bent * out * (1 - out),
    ]
    gates = torch.cat(parts, 1)
    return gates, total * forget, gates.sum(0) if has_bias else None


CELLS: dict[Any, Callable[..., Any]] = {
    aten._thnn_fused_gru_cell.default: gru,
    aten._thnn_fused_gru_cell_backward.default: gru_backward,
    aten._thnn_fused_lstm_cell.default: lstm,
    aten._thnn_fused_lstm_cell_backward_impl.default: lstm_backward,
}


class Operations(TorchDispatchMode):
    """Also what makes tensors from nothing."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return run(func, args, kwargs or {})


class Functions(TorchFunctionMode):
    """Actions of PyTorch without an operation: tensors from numbers, and numbers from tensors."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func is Tensor.tolist and isinstance(args[0], Simulated):
            return args[0].detach().cpu().tolist()
        makes = func in (torch.tensor, torch.as_tensor, torch.asarray) and not isinstance(args[0], Simulated)
        if makes and torch.device(kwargs.get("device") or "cpu").type == "cuda":
            return func(*args, **{**kwargs, "device": PROCESSOR}).to(DEVICE)
        return func(*args, **kwargs)


def move(module: nn.Module, change: Callable[[Tensor], Tensor], recurse: bool = True) -> nn.Module:
    """``nn.Module.to``: PyTorch puts other numbers into the same parameter, which stays where it is."""
    for child in module.children() if recurse else ():
        child._apply(change)
    for name, weights in module._parameters.items():
        if weights is not None:
            with torch.no_grad():
                moved = change(weights)
            if moved is not weights:
                module._parameters[name] = nn.Parameter(moved.detach(), weights.requires_grad)
    for name, values in module._buffers.items():
        module._buffers[name] = None if values is None else change(values)
    return module


def pytest_configure(config: Any) -> None:
    """Put the device in place, for good: this process has no other use."""
    from audioattn_lib.attention.patterns.kernels import AttentionPlan

    sys.modules["adasplash"] = None  # type: ignore[assignment]
    answers = {
        "_lazy_init": None,
        "is_available": True,
        "device_count": 1,
        "current_device": 0,
        "is_bf16_supported": True,
        "is_current_stream_capturing": False,
        "set_device": None,
        "synchronize": None,
        "device_of": contextlib.nullcontext(),
        "set_rng_state": None,
    }
    for name, answer in answers.items():
        setattr(torch.cuda, name, lambda *given, answer=answer: answer)
    torch.cuda.get_rng_state = lambda *given: torch.get_rng_state()
    torch.backends.cudnn.is_acceptable = lambda x: False  # type: ignore[assignment]
    nn.Module._apply = move  # type: ignore[assignment, method-assign]
    Tensor.pin_memory = lambda x, *given: x  # type: ignore[assignment, method-assign]
    AttentionPlan._run_flex = AttentionPlan._run_masked  # type: ignore[method-assign]
    for mode in (Operations(), Functions(), torch.autograd.set_multithreading_enabled(False)):
        mode.__enter__()
