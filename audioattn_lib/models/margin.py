r"""Classification by angle: cosine logits, and an additive angular margin in training.

With :math:`\theta_c` the angle between an embedding and the prototype of class
:math:`c`, the logits are :math:`s\cos\theta_c`; while training, the angle to the
right class :math:`y` counts as :math:`\theta_y + m`, so that classes end up at
least a margin apart:

.. math:: L = -\log\frac{e^{s\cos(\theta_y+m)}}{e^{s\cos(\theta_y+m)}+\sum_{c\ne y}e^{s\cos\theta_c}}.

Source: Deng et al., *ArcFace: additive angular margin loss for deep face
recognition*, CVPR 2019, section 2. Book page: ``urban_sound``.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import ConfigError
from .layers import at_least_float32

__all__ = ["CosineClassifier", "angular_margin"]


def angular_margin(
    cosines: Float[Tensor, "batch classes"], targets: Int[Tensor, " batch"], margin: float = 0.2
) -> Float[Tensor, "batch classes"]:
    r"""The cosines with the angle to the right class increased by a margin, :math:`\cos(\theta_y + m)`.

    Beyond :math:`\theta_y = \pi - m` the cosine would rise again; the line
    :math:`\cos\theta_y - m\sin m` continues it downwards.

    Parameters
    ----------
    cosines
        In [-1, 1], up to rounding.
    targets
        The right class of each row.
    margin
        In radians, in [0, pi/2).

    Returns
    -------
    cosines
        In at least float32; the gradient is finite at -1 and 1 too.

    Notes
    -----
    Source: Deng et al., CVPR 2019, section 2.1. Book page: ``urban_sound``.
    """
    _require_margin(margin)
    if targets.ndim != 1:
        raise ConfigError(f"targets have shape {tuple(targets.shape)}; a margin needs one right class a clip, (batch,)")
    cosines = at_least_float32(cosines)
    right = cosines.gather(1, targets[:, None])  # (B, 1)
    # the clamp keeps the slope of the root finite where the angle is 0 or pi
    sine = (1 - right * right).clamp(min=torch.finfo(right.dtype).eps).sqrt()
    shifted = right * math.cos(margin) - sine * math.sin(margin)
    shifted = torch.where(right > math.cos(math.pi - margin), shifted, right - margin * math.sin(margin))
    return cosines.scatter(1, targets[:, None], shifted)


class CosineClassifier(nn.Module):
    r"""Logits :math:`s\cos\theta_c` from embeddings of any length, and the loss that trains them.

    Parameters
    ----------
    features
        Width of the embeddings, at least 1.
    n_classes
        Classes, at least 1.
    margin
        Radians added to the angle of the right class in :meth:`loss`, in [0, pi/2).
    scale
        :math:`s`, above 0: the largest logit.
    """

    def __init__(self, features: int, n_classes: int, *, margin: float = 0.2, scale: float = 30.0) -> None:
        super().__init__()
        for name, value in (("features", features), ("n_classes", n_classes)):
            if value < 1:
                raise ConfigError(f"{name} is {value}; it must be at least 1")
        _require_margin(margin)
        if not 0 < scale < math.inf:
            raise ConfigError(f"scale is {scale}; it must be a finite number above 0")
        self.weight = nn.Parameter(torch.empty(n_classes, features))
        nn.init.xavier_uniform_(self.weight)
        self.margin = margin
        self.scale = scale

    def forward(self, embeddings: Float[Tensor, "batch features"]) -> Float[Tensor, "batch classes"]:
        """Logits in at least float32: a cosine has too few digits in half precision to tell small angles apart."""
        with torch.autocast(embeddings.device.type, enabled=False):
            directions = F.normalize(at_least_float32(embeddings), dim=1)
            return self.scale * F.linear(directions, F.normalize(self.weight.to(directions.dtype), dim=1))

    def loss(self, logits: Float[Tensor, "batch classes"], targets: Int[Tensor, " batch"]) -> Float[Tensor, ""]:
        """Mean additive angular margin loss of logits made by this classifier."""
        return F.cross_entropy(self.scale * angular_margin(logits / self.scale, targets, self.margin), targets)

    def extra_repr(self) -> str:
        """Show the options."""
        return f"{self.weight.shape[1]}, {self.weight.shape[0]}, margin={self.margin:g}, scale={self.scale:g}"


def _require_margin(margin: float) -> None:
    if not 0 <= margin < math.pi / 2:
        raise ConfigError(f"margin is {margin}; it must be an angle in radians in [0, pi/2)")
