r"""Training losses of the playback model: final prediction, prediction of each stage, and ranking of the stages.

Book page: ``playback``.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Num
from torch import Tensor

from audioattn_lib.core.errors import ConfigError

from ..layers.label_loss import label_loss
from .outputs import PlaybackOutput

__all__ = ["playback_loss", "rank_loss"]


def playback_loss(
    output: PlaybackOutput,
    targets: Num[Tensor, " batch *classes"],
    *,
    stage_weight: float = 0.1,
    salient_weight: float = 0.1,
    rank_weight: float = 0.1,
    margin: float = 0.05,
    is_multilabel: bool = True,
) -> Float[Tensor, ""]:
    r"""Loss of the answer, of the stages, of the salient slot, and of stages that are worse than earlier ones.

    .. math:: L = \ell(\text{answer}) + w_s \overline{\ell(\text{stages})}
       + w_m \overline{\ell(\text{salient})} + w_r R

    with the cross-entropy :math:`\ell` and :math:`R` of :func:`rank_loss`.

    Parameters
    ----------
    output
        Of a :class:`~audioattn_lib.models.playback.network.Playback`.
    targets
        Class of each clip, integers ``(B,)``; or 1 where a clip has a label and
        0 where not, ``(B, classes)``, where mixed examples have shares between.
    stage_weight, salient_weight, rank_weight
        :math:`w_s`, :math:`w_m` and :math:`w_r`, at least 0.
    margin
        Of :func:`rank_loss`.
    is_multilabel
        Whether rows of targets are separate answers; else they are shares of
        one class each, with sum 1. Without meaning for integers.

    Notes
    -----
    Stergiou and Damen, *Play it back*, ICASSP 2023, whose code sums the losses
    of the stages and ranks the slots. Book page: ``playback``.
    """
    for name, weight in (
        ("stage_weight", stage_weight),
        ("salient_weight", salient_weight),
        ("rank_weight", rank_weight),
    ):
        if not weight >= 0:
            raise ConfigError(f"{name} is {weight}; it must be at least 0")

    def losses(logits: Tensor) -> Tensor:
        return label_loss(logits, targets, is_multilabel=is_multilabel, reduction="none")

    stages = torch.stack([losses(logits) for logits in output.stage_logits.unbind(1)], dim=1)  # (B, stages)
    loss = _mean(losses(output.logits)) + stage_weight * _mean(stages)
    if output.salient_logits is not None:
        salient = torch.stack([losses(logits) for logits in output.salient_logits.unbind(1)])
        loss = loss + salient_weight * _mean(salient)
    return loss + rank_weight * rank_loss(stages, margin)


def rank_loss(losses: Float[Tensor, "batch stages"], margin: float = 0.05) -> Float[Tensor, ""]:
    r"""Compute the hinge loss of later stages against earlier ones; 0 if each stage is better by the margin.

    .. math:: R = \frac1B \sum_b \sum_{i<j} \frac{[\ell_{bj} - \ell_{bi} + m]_+}{j - i}

    The earlier loss carries no gradient: only the later stage can make up for
    it. The published term takes the absolute difference, which also punishes a
    later stage for being better.

    Parameters
    ----------
    losses
        Of each clip after each stage, at least 0.
    margin
        :math:`m`, at least 0.

    Notes
    -----
    Stergiou and Damen, *Play it back*, ICASSP 2023. Book page: ``playback``.
    """
    if not margin >= 0:
        raise ConfigError(f"margin is {margin}; it must be at least 0")
    n = losses.shape[1]
    first, second = torch.triu_indices(n, n, offset=1, device=losses.device)
    worse = losses[:, second] - losses.detach()[:, first] + margin
    return _mean((worse.clamp(min=0) / (second - first)).sum(dim=1))


def _mean(losses: Tensor) -> Tensor:
    """Their mean; 0 of none, such as those of a batch without clips."""
    return losses.sum() / max(losses.numel(), 1)
