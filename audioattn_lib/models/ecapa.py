"""ECAPA-TDNN with discrete or continuous attentive statistics pooling.

``features (B, T, n_mels)`` -> frame layers ``(B, T, C)`` -> mean and standard
deviation under attention ``(B, 2C)`` -> embedding ``(B, 192)`` -> logits
``(B, classes)``, the scaled cosines of the angles to the classes.

Padding and batch order change nothing: convolutions, gates, statistics and
batch normalisation see only the frames that belong to a clip.

Sources: Desplanques et al., *ECAPA-TDNN*, Interspeech 2020; continuous pooling
from the code released with Martins et al., JMLR 2022. Book page:
``urban_sound``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypedDict

from jaxtyping import Float, Int
from torch import Tensor, nn

from ..attention.pooling.frames import Padding, Traced
from ..attention.record.record import AttentionRecord, FrameClock
from ..core.errors import ConfigError
from .backbones.tdnn import FrameLayers
from .layers.common import MaskedBatchNorm1d, at_least_float32, subtract_mean
from .layers.statistics_pooling import build_pooling
from .margin import CosineClassifier

__all__ = ["ECAPATDNN", "PRESETS"]


class Preset(TypedDict):
    """Sizes of the frame layers and the embedding, and the pooling with its options."""

    frames: dict[str, Any]
    embedding_size: int
    attention: str
    pooling: dict[str, Any]


# As in the code that the sizes come from, a block there is fed the output of the last block alone.
_PUBLISHED: dict[str, Any] = {
    "channels": (1024, 1024, 1024, 1024, 3072),
    "kernel_sizes": (5, 3, 3, 3, 1),
    "dilations": (1, 2, 3, 4, 1),
    "scale": 8,
    "bottleneck": 128,
    "summed_residuals": False,
}
_TINY: dict[str, Any] = {**_PUBLISHED, "channels": (32, 32, 32, 32, 96), "scale": 4, "bottleneck": 16}

PRESETS: dict[str, Preset] = {
    "discrete": {
        "frames": _PUBLISHED,
        "embedding_size": 192,
        "attention": "softmax",
        "pooling": {"hidden_size": 128},
    },
    "continuous": {
        "frames": _PUBLISHED,
        "embedding_size": 192,
        "attention": "parabola",
        "pooling": {"hidden_size": 128, "n_basis": 128, "fused": True},
    },
    "continuous_2": {
        "frames": _PUBLISHED,
        "embedding_size": 192,
        "attention": "parabola",
        "pooling": {"hidden_size": 128, "n_basis": 256, "fused": False},
    },
    "continuous_3": {
        "frames": _PUBLISHED,
        "embedding_size": 192,
        "attention": "parabola",
        "pooling": {"hidden_size": 128, "n_basis": 128, "fused": False},
    },
    "tiny": {"frames": _TINY, "embedding_size": 24, "attention": "softmax", "pooling": {"hidden_size": 16}},
}
"""Four published configurations, and one that a CPU trains in seconds."""


class ECAPATDNN(nn.Module):
    r"""Frame layers, statistics under any attention of this library, an embedding, and a cosine classifier.

    Parameters
    ----------
    front
        From ``(B, T, n_mels)`` and a mask to ``(B, T, C)``: a
        :class:`~audioattn_lib.models.backbones.tdnn.FrameLayers`.
    pooling
        From ``(B, T, C)`` and lengths to statistics ``(B, 2C)`` and a record.
    embedding
        From ``(B, 2C)`` to ``(B, E)``.
    classifier
        From ``(B, E)`` to logits ``(B, classes)``.
    normalise
        Subtract from each clip the mean of its valid frames first, as published.
    clock
        Time of the frames, for the record.

    Notes
    -----
    :meth:`preset` makes the published settings; the ``"discrete"`` embedding has
    20,767,552 parameters with 80 mel bands. Train on
    ``model.classifier.loss(logits, targets)`` for the additive angular margin;
    plain cross entropy of the logits is the same without a margin. Source:
    Desplanques et al., Interspeech 2020. Book page: ``urban_sound``.
    """

    def __init__(
        self,
        front: nn.Module,
        pooling: nn.Module,
        embedding: nn.Module,
        classifier: nn.Module,
        *,
        normalise: bool = True,
        clock: FrameClock = FrameClock(),
    ) -> None:
        super().__init__()
        self.front = front
        self.pooling = pooling
        self.embedding = embedding
        self.classifier = classifier
        self.normalise = normalise
        self.clock = clock

    @classmethod
    def preset(
        cls,
        name: str,
        n_mels: int,
        n_classes: int,
        pooling: Callable[[int], nn.Module] | None = None,
        *,
        clock: FrameClock = FrameClock(),
        normalise: bool = True,
    ) -> ECAPATDNN:
        """A configuration out of :data:`PRESETS`.

        ``pooling`` is given the channels of the frames and makes the module; by
        default it is the one of the preset. (The published continuous presets do
        not say which density; theirs here is the truncated parabola.)
        """
        if name not in PRESETS:
            raise ConfigError(f"model is {name!r}; it must be one of {', '.join(PRESETS)}")
        preset = PRESETS[name]
        front = FrameLayers(n_mels, **preset["frames"])
        width, size = front.out_features, preset["embedding_size"]
        statistics = pooling(width) if pooling else build_pooling(preset["attention"], width, **preset["pooling"])
        embedding = nn.Sequential(MaskedBatchNorm1d(2 * width), nn.Linear(2 * width, size))
        classifier = CosineClassifier(size, n_classes)
        return cls(front, statistics, embedding, classifier, normalise=normalise, clock=clock)

    def encode(
        self, features: Float[Tensor, "batch frames mels"], lengths: Int[Tensor, " batch"] | None = None
    ) -> Float[Tensor, "batch frames channels"]:
        """The values that attention reads: one vector a frame, without meaning on padding.

        Raises
        ------
        ValueError
            If a clip has no valid frame, or more than there are.
        """
        mask = Padding(features, lengths).mask  # (B, T)
        if self.normalise:
            features = subtract_mean(features, mask)
        return self.front(features, mask)

    def embed(
        self,
        features: Float[Tensor, "batch frames mels"],
        lengths: Int[Tensor, " batch"] | None = None,
        *,
        record: bool = False,
    ) -> tuple[Float[Tensor, "batch embedding"], AttentionRecord]:
        """Compute the embedding of each clip, compared by its direction, and the record."""
        hidden = self.encode(features, lengths)  # (B, T, C)
        statistics, attended = self.pooling(hidden, lengths, clock=self.clock, record=record)  # (B, 2C)
        return at_least_float32(self.embedding(statistics)), attended

    def trace(
        self, features: Float[Tensor, "batch frames mels"], lengths: Int[Tensor, " batch"] | None = None
    ) -> Traced:
        """Compute the logits, and as tensors by name the embeddings and the fields of the record."""
        hidden = self.encode(features, lengths)
        statistics, fields = self.pooling.trace(hidden, lengths, clock=self.clock)  # type: ignore[operator, union-attr]
        embeddings = at_least_float32(self.embedding(statistics))
        return self.classifier(embeddings), {"embedding": embeddings, **fields}

    def forward(
        self,
        features: Float[Tensor, "batch frames mels"],
        lengths: Int[Tensor, " batch"] | None = None,
        *,
        record: bool = False,
    ) -> tuple[Float[Tensor, "batch classes"], AttentionRecord]:
        """Compute the logits of each clip, and the record if asked for."""
        embeddings, attended = self.embed(features, lengths, record=record)
        return self.classifier(embeddings), attended
