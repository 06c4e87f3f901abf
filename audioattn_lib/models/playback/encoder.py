r"""First of two training steps: the encoder alone, on whole clips at every hop.

Book page: ``playback``.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from audioattn_lib.audio.features.multi_resolution import MultiResolutionLogMel

from ..embedding import Backbone
from ..layers.common import at_least_float32, frame_mask, masked_mean

__all__ = ["DECIBELS", "EncoderClassifier"]

DECIBELS = 5.6
"""Scale of log-mel features in decibels, the standard deviation of the level of noise."""
_SHARPNESS = 2.0


class EncoderClassifier(nn.Module):
    r"""Encoder with a classifier, for whole clips at one hop.

    .. math:: \ell_c = \frac1r \log \frac1T \sum_t \exp\bigl(r\,(w_c^\top x_t + b_c)\bigr), \qquad r = 2,

    with the :math:`T` frames :math:`x_t` of the encoder: a soft maximum, for labels say what
    is in a clip and not when. Each hop has weights of its own, since what
    changes every third frame is something else at each of them.

    Parameters
    ----------
    front
        Front end with one or several hops.
    encoder
        From frames to fewer and wider ones, the same at all hops.
    n_classes
        Classes of the output, at least 1.

    Notes
    -----
    Pinheiro and Collobert, *From image-level to pixel-level labeling with
    convolutional networks*, CVPR 2015, for the soft maximum. Training
    the encoder before the decoder follows Stergiou and Damen, *Play it back*,
    ICASSP 2023, who train it at one hop. Book page: ``playback``.
    """

    def __init__(self, front: MultiResolutionLogMel, encoder: Backbone, n_classes: int) -> None:
        super().__init__()
        self.front, self.encoder = front, encoder
        self.classifiers = nn.ModuleList(nn.Linear(encoder.out_features, n_classes) for _ in range(len(front)))

    def forward(
        self, waveforms: Float[Tensor, "batch samples"], lengths: Int[Tensor, " batch"] | None = None, stage: int = 0
    ) -> Float[Tensor, "batch classes"]:
        """Compute the logits of each clip at the hop of a stage."""
        features, n_frames = self.front[stage](waveforms, lengths)
        mask = frame_mask(n_frames, features.shape[1], features.device)
        level = masked_mean(features, None if mask is None else mask[..., None], dim=1)
        tokens = self.encoder((features - level) / DECIBELS, mask)
        counts = self.encoder.count_frames(n_frames)
        is_valid = frame_mask(counts, tokens.shape[1], tokens.device)
        scores = _SHARPNESS * at_least_float32(self.classifiers[stage](tokens))
        if is_valid is not None:
            scores = scores.masked_fill(~is_valid[..., None], -torch.inf)
        return (scores.logsumexp(dim=1) - counts.to(scores)[:, None].log()) / _SHARPNESS
