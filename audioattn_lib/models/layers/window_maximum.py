"""Maximum over a window of frames around each frame; where nothing is trained, faster than the pooling of PyTorch.

Book page: ``urban_sound``.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from audioattn_lib.core.tensors import are_at_hand, are_plain, is_exporting

__all__ = ["window_maximum"]


def window_maximum(x: Float[Tensor, "batch channels frames"], size: int) -> Float[Tensor, "batch channels frames"]:
    """Maximum of the ``size`` frames around each frame; beyond the ends there is nothing.

    It is ``max_pool1d(x, size, stride=1, padding=size // 2)``, to the bit.

    Parameters
    ----------
    x
        Any real numbers.
    size
        Frames of the window, odd.
    """
    margin = size // 2
    if is_exporting():  # a maximum over one axis would fix the number of frames
        return F.max_pool2d(x[..., None], (size, 1), stride=1, padding=(margin, 0)).squeeze(-1)
    is_trained = torch.is_grad_enabled() and x.requires_grad
    if is_trained or not (are_at_hand(x) and are_plain(x)):
        return F.max_pool1d(x, size, stride=1, padding=margin)
    padded = F.pad(x, (margin, margin), value=float("-inf"))  # (B, C, T + size - 1)
    maximum = padded[..., : x.shape[-1]].clone()
    for offset in range(1, size):  # whole rows shifted against each other, in place of a loop over each window
        torch.maximum(maximum, padded[..., offset : offset + x.shape[-1]], out=maximum)
    return maximum
