"""Embedding networks: one vector an utterance for speaker or accent.

``features (B, T, n_mels)`` -> backbone ``(B, T', D)`` -> pooling ``(B, P)`` ->
embedding ``(B, 400)`` -> classifier ``(B, classes)``. Utterances are compared by
the cosine of their embeddings, so that also speakers and accents that training
never met can be told apart.

Padding, the company of other utterances and their order change nothing.

Source: India, Safari and Hernando, *Double multi-head attention for speaker
verification*, ICASSP 2021, and the code released with it. Book page:
``accents``.
"""

from __future__ import annotations

from typing import Protocol

from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from ..attention.pooling.frames import Traced
from ..attention.record.record import AttentionRecord, FrameClock
from ..core.errors import ConfigError
from .backbones.resnet import ResNet34
from .backbones.vgg import VGG
from .layers.common import MaskedBatchNorm1d, at_least_float32, frame_mask

__all__ = ["BACKBONES", "Backbone", "EmbeddingLayers", "EmbeddingNetwork", "build_backbone"]

BACKBONES = ("vgg3l", "vgg4l", "resnet34")
"""Backbones by name; the VGGs as published."""


class Backbone(Protocol):
    """Frames of features to fewer and wider ones."""

    out_features: int
    reduction: int

    def count_frames(self, lengths: Int[Tensor, " batch"]) -> Int[Tensor, " batch"]:
        """Valid frames of the result."""

    def __call__(
        self, features: Float[Tensor, "batch frames mels"], mask: Bool[Tensor, "batch frames"] | None
    ) -> Float[Tensor, "batch reduced features"]:
        """The result, 0 on padding."""


def build_backbone(name: str, n_mels: int, channels: int) -> VGG | ResNet34:
    """Make a backbone by name, one of :data:`BACKBONES`.

    ``channels`` are those of a VGG's last block or of the first stage of ResNet34.

    Notes
    -----
    Book page: ``accents``.
    """
    if name == "resnet34":
        return ResNet34(n_mels, channels)
    if name in ("vgg3l", "vgg4l"):
        return VGG(n_mels, channels, n_blocks=int(name[3]))
    raise ConfigError(f"backbone is {name!r}; it must be one of {', '.join(BACKBONES)}")


class EmbeddingLayers(nn.Module):
    r"""Two linear layers with ReLU and batch normalisation: the published embedding.

    .. math:: e = \mathrm{norm}(\mathrm{relu}(W_2\,\mathrm{relu}(W_1 c)))

    Parameters
    ----------
    features
        Width of the pooled context :math:`c`, at least 1.
    embedding_size
        Width of :math:`e`, at least 1; 400 as published.
    normalise_context
        Normalise :math:`c` over the batch first. What utterances have in common
        is far larger than what tells them apart, and a small corpus does not
        learn to subtract it. The published code makes such a layer and never
        uses it.
    """

    def __init__(self, features: int, embedding_size: int = 400, *, normalise_context: bool = False) -> None:
        super().__init__()
        if embedding_size < 1:
            raise ConfigError(f"embedding_size is {embedding_size}; it must be at least 1")
        self.context_norm = MaskedBatchNorm1d(features) if normalise_context else None
        self.first = nn.Linear(features, embedding_size)
        self.second = nn.Linear(embedding_size, embedding_size)
        self.norm = MaskedBatchNorm1d(embedding_size)

    def forward(self, context: Float[Tensor, "batch context"]) -> Float[Tensor, "batch embedding"]:
        """Embeddings in at least float32."""
        if self.context_norm is not None:
            context = self.context_norm(context)
        return self.norm(at_least_float32(F.relu(self.second(F.relu(self.first(context))))))


class EmbeddingNetwork(nn.Module):
    """Backbone, any pooling, the embedding, and a classifier.

    Parameters
    ----------
    front
        A :class:`Backbone`.
    pooling
        From ``(B, T', D)`` and lengths to a context and a record, such as
        :func:`~audioattn_lib.models.layers.utterance_pooling.build_utterance_pooling` makes.
    embedding
        From a context to ``(B, E)``.
    classifier
        From ``(B, E)`` to logits; its ``loss(logits, targets)`` trains the network.
    clock
        Time of the feature frames.

    Notes
    -----
    With VGG4L of 1024 channels, 80 bands, 32 heads of double attention and 5
    classes it has the published 19,126,784 parameters less 1,600 of two batch
    normalisations that the published code makes and never uses. Source: India,
    Safari and Hernando, ICASSP 2021. Book page: ``accents``.
    """

    def __init__(
        self,
        front: VGG | ResNet34,
        pooling: nn.Module,
        embedding: EmbeddingLayers,
        classifier: nn.Module,
        *,
        clock: FrameClock = FrameClock(),
    ) -> None:
        super().__init__()
        self.front = front
        self.pooling = pooling
        self.embedding = embedding
        size = embedding.second.out_features
        self.projection = nn.Linear(size, size)
        self.classifier = classifier
        # a pooled frame begins where the first of its frames does
        self.clock = FrameClock(clock.period * front.reduction, clock.start)

    @property
    def frame_range(self) -> tuple[int, int | None]:
        """Fewest and most frames of a clip of an exported network; None is any number."""
        return self.front.reduction + 1, None

    def encode(
        self, features: Float[Tensor, "batch frames mels"], lengths: Int[Tensor, " batch"] | None = None
    ) -> Float[Tensor, "batch reduced features"]:
        """The values that the pooling reads: one vector for every ``front.reduction`` frames."""
        return self.front(features, frame_mask(lengths, features.shape[1], features.device))

    def embed(
        self,
        features: Float[Tensor, "batch frames mels"],
        lengths: Int[Tensor, " batch"] | None = None,
        *,
        record: bool = False,
    ) -> tuple[Float[Tensor, "batch embedding"], AttentionRecord]:
        """Compute the embedding of each utterance, compared by its direction, and the record."""
        count = None if lengths is None else self.front.count_frames(lengths)
        return self.pool(self.encode(features, lengths), count, record=record)

    def pool(
        self,
        hidden: Float[Tensor, "batch reduced features"],
        lengths: Int[Tensor, " batch"] | None = None,
        *,
        record: bool = False,
    ) -> tuple[Float[Tensor, "batch embedding"], AttentionRecord]:
        """Compute :meth:`embed` from the result of :meth:`encode`; lengths count its frames."""
        context, attended = self.pooling(hidden, lengths, clock=self.clock, record=record)  # (B, P)
        return self.embedding(context), attended

    def classify(self, embeddings: Float[Tensor, "batch embedding"]) -> Float[Tensor, "batch classes"]:
        """Logits of embeddings."""
        return self.classifier(self.projection(embeddings))

    def decide(
        self, hidden: Float[Tensor, "batch reduced features"], lengths: Int[Tensor, " batch"] | None = None
    ) -> tuple[Float[Tensor, "batch classes"], AttentionRecord]:
        """Compute :meth:`forward` from the result of :meth:`encode`; lengths count its frames."""
        embeddings, attended = self.pool(hidden, lengths)
        return self.classify(embeddings), attended

    def trace(
        self, features: Float[Tensor, "batch frames mels"], lengths: Int[Tensor, " batch"] | None = None
    ) -> Traced:
        """Compute the logits, and as tensors by name the embeddings and the fields of the record."""
        count = None if lengths is None else self.front.count_frames(lengths)
        hidden = self.encode(features, lengths)
        context, fields = self.pooling.trace(hidden, count, clock=self.clock)  # type: ignore[operator, union-attr]
        embeddings = self.embedding(context)
        return self.classify(embeddings), {"embedding": embeddings, **fields}

    def forward(
        self,
        features: Float[Tensor, "batch frames mels"],
        lengths: Int[Tensor, " batch"] | None = None,
        *,
        record: bool = False,
    ) -> tuple[Float[Tensor, "batch classes"], AttentionRecord]:
        """Compute the logits of each utterance, and the record if asked for."""
        embeddings, attended = self.embed(features, lengths, record=record)
        return self.classify(embeddings), attended
