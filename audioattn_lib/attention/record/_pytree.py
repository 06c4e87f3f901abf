"""Records as PyTorch sees them in the result of a module: without tensors, so that ``torch.export`` takes them."""

from __future__ import annotations

from typing import Any

from torch.utils import _pytree as pytree

from .record import AttentionRecord

__all__: list[str] = []


def _flatten(record: AttentionRecord) -> tuple[list[Any], AttentionRecord]:
    return [], record


def _restore(tensors: Any, record: AttentionRecord) -> AttentionRecord:
    return record


pytree.register_pytree_node(
    AttentionRecord,
    _flatten,
    _restore,
    serialized_type_name="audioattn.AttentionRecord",
    to_dumpable_context=lambda record: "",  # of an exported graph it is empty
    from_dumpable_context=lambda text: AttentionRecord.empty(),
)
