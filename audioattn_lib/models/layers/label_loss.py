"""Losses and probabilities of labels: one class a clip, or any number of labels a clip.

A clip of one class has a class number as target, ``(B,)``, or shares of classes with sum 1, ``(B, C)``. A clip of
several labels has a row of 0 and 1, ``(B, C)``. Rows are labels unless ``is_multilabel`` says otherwise.
"""

from __future__ import annotations

from typing import Literal

from jaxtyping import Float, Num
from torch import Tensor
from torch.nn import functional as F

from .common import at_least_float32

__all__ = ["label_logits", "label_loss", "label_probabilities"]


def label_loss(
    logits: Float[Tensor, "batch classes"],
    targets: Num[Tensor, " batch *classes"],
    *,
    is_multilabel: bool | None = None,
    reduction: Literal["mean", "none"] = "mean",
) -> Tensor:
    """Cross entropy of classes, or binary cross entropy of labels, in at least float32.

    Parameters
    ----------
    logits
        Shape ``(B, C)``.
    targets
        Shape ``(B,)`` or ``(B, C)``.
    is_multilabel
        False: rows of targets are shares of one class each. True: separate labels. None: labels if there are rows.
    reduction
        ``"mean"`` over clips and labels, or ``"none"``: the loss of each clip, of labels their mean.
    """
    logits = at_least_float32(logits)
    if targets.ndim == 1 or is_multilabel is False:
        return F.cross_entropy(logits, targets, reduction=reduction)
    loss = F.binary_cross_entropy_with_logits(logits, targets.to(logits.dtype), reduction=reduction)
    return loss if reduction == "mean" else loss.mean(dim=1)


def label_probabilities(
    logits: Float[Tensor, "*batch classes"], is_multilabel: bool
) -> Float[Tensor, "*batch classes"]:
    """Probability of every class, with sum 1, or of every label, each between 0 and 1."""
    return logits.sigmoid() if is_multilabel else logits.softmax(dim=-1)


def label_logits(
    probabilities: Float[Tensor, "*batch classes"], is_multilabel: bool
) -> Float[Tensor, "*batch classes"]:
    """Logits that :func:`label_probabilities` turns into these probabilities; finite, also of 0 and 1."""
    return probabilities.logit(eps=1e-7) if is_multilabel else probabilities.clamp(min=1e-12).log()
