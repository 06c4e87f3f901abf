"""Safetensors files with a hash of their content, so that damage is detected on reading.

The header has a hash of all tensors and of the other entries of the header. It
travels with the file; files of other programs have none, and are read as they are.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save
from torch import Tensor

__all__ = ["RENAMED", "current_names", "load_tensors", "read_digest", "tensor_digest", "write_tensors"]

_DIGEST: Final = "sha256"
_HASH: Final = re.compile(r"\S{64}")
RENAMED: Final = MappingProxyType(
    {
        "scaling.deviation": "scaling.std",
        "normalisation.deviation": "normalisation.std",
        "slot_attention.log_deviations": "slot_attention.log_std",
    }
)
"""Last two components of names in weights of earlier versions, and what they are now; add a line for every rename."""


def write_tensors(path: Path, tensors: Mapping[str, Tensor], about: Mapping[str, str] | None = None) -> None:
    """Write tensors of main memory into a file that exists, the same bytes every time.

    Parameters
    ----------
    path
        File that is filled; :func:`audioattn_lib.core.files.write_whole` gives one.
    tensors
        Contiguous, by name.
    about
        Entries of the header; their hash and that of the tensors is added. None adds none.
    """
    entries = {} if about is None else {**about, _DIGEST: tensor_digest(tensors, about)}
    # The writer of safetensors leaves a file with a name of its own after a kill, and entries in random order.
    content = memoryview(save(dict(tensors), entries))
    size = int.from_bytes(content[:8], "little")
    header = json.loads(bytes(content[8 : 8 + size]))
    header["__metadata__"] = entries
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.write(content[8 + size :])


def load_tensors(path: str | Path) -> dict[str, Tensor]:
    """Tensors of a safetensors file by name; names of earlier versions are those of today, see :data:`RENAMED`.

    Raises
    ------
    ValueError
        When the tensors or the header are not those that were written.
    OSError, safetensors.SafetensorError
        When the file cannot be read or is none.
    """
    with safe_open(path, "pt") as file:
        about = dict(file.metadata() or {})
    tensors: dict[str, Tensor] = load_file(path)
    written = about.pop(_DIGEST, None)
    strange = [name for name, value in about.items() if _HASH.fullmatch(value)]
    if written is None and strange:
        raise ValueError(
            f"the file is damaged: entry {strange[0]!r} of its header is a hash, and is not named {_DIGEST}"
        )
    if written is not None and written != tensor_digest(tensors, about):
        raise ValueError(
            f"the file is damaged: its tensors are not those whose hash is in its header ({_DIGEST}; leave it out of a "
            "file with tensors that were changed on purpose)"
        )
    return current_names(tensors)


def current_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors with the names of today, see :data:`RENAMED`."""
    return {_current_name(name): tensor for name, tensor in tensors.items()}


def _current_name(name: str) -> str:
    for old, new in RENAMED.items():
        if name == old or name.endswith(f".{old}"):
            return name.removesuffix(old) + new
    return name


def read_digest(path: str | Path) -> str:
    """Hash in the header of a safetensors file, which :func:`load_tensors` compares with its content; ``""`` for none.

    Raises
    ------
    OSError, safetensors.SafetensorError
        When the file cannot be read or is none.
    """
    with safe_open(path, "pt") as file:
        return str((file.metadata() or {}).get(_DIGEST, ""))


def tensor_digest(tensors: Mapping[str, Tensor], about: Mapping[str, str] = MappingProxyType({})) -> str:
    """SHA-256 of tensors: their names, types, shapes and bytes, whatever their order, device and memory layout.

    Parameters
    ----------
    tensors
        By name, such as the state dict of a module.
    about
        Text that belongs to the identity too, such as entries of a header.
    """
    shapes = {name: [str(tensor.dtype), *tensor.shape] for name, tensor in tensors.items()}
    digest = hashlib.sha256(json.dumps([dict(about), shapes], sort_keys=True).encode())
    for name in sorted(tensors):
        digest.update(tensors[name].detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
