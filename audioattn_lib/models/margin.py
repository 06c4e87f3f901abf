r"""Classifiers of embeddings and the losses that train them: by angle with a margin, and linear.

With :math:`\theta_c` the angle between an embedding and the prototype of class
:math:`c`, the logits are :math:`s\cos\theta_c`; while training, the right class
:math:`y` counts for less, so that classes end up at least a margin apart:

.. math:: L = -\log\frac{e^{s\,\psi(\theta_y)}}{e^{s\,\psi(\theta_y)}+\sum_{c\ne y}e^{s\cos\theta_c}},
   \qquad \psi(\theta) = \cos(\theta + m) \;\text{ (AAM-softmax) or }\; \cos\theta - m \;\text{ (AM-softmax)}.

A linear classifier trains on the cross entropy (softmax), or on the focal loss.

Sources: Deng et al., *ArcFace: additive angular margin loss for deep face
recognition*, CVPR 2019, section 2; Wang et al., *Additive margin softmax for
face verification*, IEEE Signal Processing Letters 2018; Lin et al., *Focal loss
for dense object detection*, ICCV 2017. Book page: ``urban_sound``.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from ..core.errors import ConfigError
from .layers.common import at_least_float32

__all__ = ["LOSSES", "CosineClassifier", "LinearClassifier", "additive_margin", "angular_margin", "build_classifier"]

LOSSES = ("am_softmax", "aam_softmax", "softmax", "focal")
"""Losses by name: additive margin, additive angular margin, cross entropy, focal."""


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
    _require_one_class(targets)
    cosines = at_least_float32(cosines)
    right = cosines.gather(1, targets[:, None])  # (B, 1)
    # the clamp keeps the slope of the root finite where the angle is 0 or pi
    sine = (1 - right * right).clamp(min=torch.finfo(right.dtype).eps).sqrt()
    shifted = right * math.cos(margin) - sine * math.sin(margin)
    shifted = torch.where(right > math.cos(math.pi - margin), shifted, right - margin * math.sin(margin))
    return cosines.scatter(1, targets[:, None], shifted)


def additive_margin(
    cosines: Float[Tensor, "batch classes"], targets: Int[Tensor, " batch"], margin: float = 0.4
) -> Float[Tensor, "batch classes"]:
    r"""The cosines with that of the right class decreased by a margin, :math:`\cos\theta_y - m`.

    Parameters
    ----------
    cosines, targets
        As :func:`angular_margin`.
    margin
        In cosine, in [0, 2).

    Notes
    -----
    Source: Wang et al., IEEE Signal Processing Letters 2018, section 3. Book
    page: ``accents``.
    """
    _require_margin(margin, "additive")
    cosines = at_least_float32(cosines)
    _require_one_class(targets)
    return cosines.scatter_add(1, targets[:, None], cosines.new_full((len(targets), 1), -margin))


class CosineClassifier(nn.Module):
    r"""Logits :math:`s\cos\theta_c` from embeddings of any length, and the loss that trains them.

    Parameters
    ----------
    features
        Width of the embeddings, at least 1.
    n_classes
        Classes, at least 1.
    margin
        Added to the angle of the right class in :meth:`loss`, in radians in [0,
        pi/2); or taken from its cosine, in [0, 2).
    scale
        :math:`s`, above 0: the largest logit.
    kind
        ``"angular"`` (AAM-softmax) or ``"additive"`` (AM-softmax).
    annealing
        Let the margin grow, as published: at update :math:`n` the loss uses
        :math:`m / (1 + a_n)` with :math:`a_n = 1000 / (1 + 10^{-4} n)^2`, which
        is 0.1 % of it at first, 40 % after 250,000 updates and 90 % after
        940,000. An update is so many calls of :meth:`loss` in training; 0 uses
        the whole margin from the start. For ``"additive"`` alone.
    """

    updates: Tensor

    def __init__(
        self,
        features: int,
        n_classes: int,
        *,
        margin: float = 0.2,
        scale: float = 30.0,
        kind: str = "angular",
        annealing: int = 0,
    ) -> None:
        super().__init__()
        if kind not in ("angular", "additive"):
            raise ConfigError(f"kind is {kind!r}; it must be angular or additive")
        if annealing < 0 or (annealing and kind == "angular"):
            raise ConfigError(f"annealing is {annealing}; it must be at least 0, and 0 for an angular margin")
        for name, value in (("features", features), ("n_classes", n_classes)):
            if value < 1:
                raise ConfigError(f"{name} is {value}; it must be at least 1")
        _require_margin(margin, kind)
        if not 0 < scale < math.inf:
            raise ConfigError(f"scale is {scale}; it must be a finite number above 0")
        self.weight = nn.Parameter(torch.empty(n_classes, features))
        nn.init.xavier_uniform_(self.weight)
        self.margin = margin
        self.scale = scale
        self.kind = kind
        self.annealing = annealing
        if annealing:
            self.register_buffer("updates", torch.zeros((), dtype=torch.int64))

    def forward(self, embeddings: Float[Tensor, "batch features"]) -> Float[Tensor, "batch classes"]:
        """Logits in at least float32: a cosine has too few digits in half precision to tell small angles apart."""
        with torch.autocast(embeddings.device.type, enabled=False):
            directions = F.normalize(at_least_float32(embeddings), dim=1)
            return self.scale * F.linear(directions, F.normalize(self.weight.to(directions.dtype), dim=1))

    def loss(self, logits: Float[Tensor, "batch classes"], targets: Int[Tensor, " batch"]) -> Float[Tensor, ""]:
        """Mean margin loss of logits made by this classifier."""
        cosines = at_least_float32(logits) / self.scale
        if self.kind == "angular":
            cosines = angular_margin(cosines, targets, self.margin)
        else:
            full = additive_margin(cosines, targets, self.margin)
            cosines = full if not self.annealing else cosines + (full - cosines) * self._share(cosines.dtype)
        return F.cross_entropy(self.scale * cosines, targets)

    def _share(self, dtype: torch.dtype) -> Tensor:
        """Share of the margin at this update, which is counted in training."""
        update = torch.div(self.updates, self.annealing, rounding_mode="floor").to(dtype)
        if self.training:
            self.updates += 1
        return 1 / (1 + 1000 / (1 + 1e-4 * update) ** 2)

    def extra_repr(self) -> str:
        """Show the options."""
        return f"{self.weight.shape[1]}, {self.weight.shape[0]}, margin={self.margin:g}, scale={self.scale:g}"


class LinearClassifier(nn.Linear):
    r"""Linear logits, and the focal loss that trains them, :math:`(1 - e^{-\ell})^\gamma\,\ell` of the cross entropy.

    Parameters
    ----------
    features, n_classes
        Width of the embeddings and classes, at least 1.
    gamma
        :math:`\gamma`, at least 0; 0 is the cross entropy.
    published
        Focus on the mean of the batch, as in the code released with the accents
        chapter's source: :math:`\ell` is then the mean cross entropy, and a clip
        counts more where its company is hard too. By default :math:`\ell = -\log p_y`
        is each clip's own, as in the paper of the focal loss, and the mean is taken
        of the losses.

    Notes
    -----
    The gradient is 0 where the cross entropy rounds to 0. Sources: Lin et al.,
    ICCV 2017, section 3; India et al., ICASSP 2021, for the published code. Book page:
    ``accents``.
    """

    def __init__(self, features: int, n_classes: int, *, gamma: float = 0.0, published: bool = False) -> None:
        if not 0 <= gamma < math.inf:
            raise ConfigError(f"gamma is {gamma}; it must be a finite number, at least 0")
        super().__init__(features, n_classes)
        self.gamma = gamma
        self.published = published

    def loss(self, logits: Float[Tensor, "batch classes"], targets: Int[Tensor, " batch"]) -> Float[Tensor, ""]:
        """Mean loss of logits made by this classifier."""
        each = F.cross_entropy(at_least_float32(logits), targets, reduction="none")
        if not self.gamma:
            return each.mean()
        return _focal(each.mean() if self.published else each, self.gamma).mean()


def build_classifier(
    loss: str,
    features: int,
    n_classes: int,
    *,
    margin: float = 0.4,
    scale: float = 30.0,
    annealing: int = 0,
    gamma: float = 2.0,
    published_gamma: bool = False,
) -> CosineClassifier | LinearClassifier:
    """Make a classifier by the name of its loss, one of :data:`LOSSES`.

    ``margin``, ``scale`` and ``annealing`` are those of :class:`CosineClassifier`,
    ``gamma`` and ``published_gamma`` those of the focal loss; a loss takes what it has.

    Notes
    -----
    Book page: ``accents``.
    """
    if loss == "am_softmax":
        return CosineClassifier(features, n_classes, margin=margin, scale=scale, kind="additive", annealing=annealing)
    if loss == "aam_softmax":
        return CosineClassifier(features, n_classes, margin=margin, scale=scale)
    if loss in ("softmax", "focal"):
        return LinearClassifier(features, n_classes, gamma=gamma if loss == "focal" else 0.0, published=published_gamma)
    raise ConfigError(f"loss is {loss!r}; it must be one of {', '.join(LOSSES)}")


def _focal(loss: Tensor, gamma: float) -> Tensor:
    """(1 - exp(-loss))^gamma loss; at 0 the slope of a power below 1 has no bound, that of the product is 0."""
    positive = loss > 0
    safe = torch.where(positive, loss, 1.0)
    return torch.where(positive, safe * (-torch.expm1(-safe)) ** gamma, 0.0)


def _require_margin(margin: float, kind: str = "angular") -> None:
    if kind == "angular" and not 0 <= margin < math.pi / 2:
        raise ConfigError(f"margin is {margin}; it must be an angle in radians in [0, pi/2)")
    if kind == "additive" and not 0 <= margin < 2:
        raise ConfigError(f"margin is {margin}; it must be a difference of cosines in [0, 2)")


def _require_one_class(targets: Tensor) -> None:
    if targets.ndim != 1:
        raise ConfigError(f"targets have shape {tuple(targets.shape)}; a margin needs one right class a clip, (batch,)")
