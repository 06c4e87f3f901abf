"""Safetensors files with a hash of their content, so that damage is detected on reading.

The header has a hash of all tensors and of the other entries of the header. It
travels with the file; files of other programs have none, and are read as they are.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

__all__ = ["load_tensors", "with_digest"]

_DIGEST: Final = "sha256"


def with_digest(tensors: Mapping[str, Tensor], about: Mapping[str, str] | None = None) -> dict[str, str]:
    """The entries of a header, and a hash of them and of the tensors, which lie in main memory."""
    return {**(about or {}), _DIGEST: _digest(tensors, about or {})}


def load_tensors(path: str | Path) -> dict[str, Tensor]:
    """Tensors of a safetensors file by name.

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
    if written is not None and written != _digest(tensors, about):
        raise ValueError(
            f"the file is damaged: its tensors are not those whose hash is in its header ({_DIGEST}; leave it out of a "
            "file with tensors that were changed on purpose)"
        )
    return tensors


def _digest(tensors: Mapping[str, Tensor], about: Mapping[str, str]) -> str:
    shapes = {name: [str(tensor.dtype), *tensor.shape] for name, tensor in tensors.items()}
    digest = hashlib.sha256(json.dumps([dict(about), shapes], sort_keys=True).encode())
    for name in sorted(tensors):
        digest.update(tensors[name].contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
