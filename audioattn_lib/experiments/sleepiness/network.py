"""Networks of the chapter on sleepiness and their front end, built by a configuration alone.

Book page: ``sleepiness``.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn

from audioattn_lib.attention.maps.entmax import entmax
from audioattn_lib.attention.pooling.registry import MECHANISMS
from audioattn_lib.attention.record.record import FrameClock
from audioattn_lib.audio.features.log_mel import LogMel
from audioattn_lib.evaluation.regression import RegressionFunction
from audioattn_lib.models.seq2seq import Seq2SeqAutoencoder

from .config import Config

__all__ = ["FeatureRegression", "build_front_end", "build_network"]


def build_front_end(config: Config) -> LogMel:
    """The transform: triangles on Slaney's scale, and decibels that keep their whole range."""
    return LogMel(
        config.sample_rate,
        config.n_fft,
        None,
        config.hop_length,
        config.n_mels,
        window=config.window,
        scale="slaney",
        norm="slaney",
        top_db=None,
    )


def build_network(config: Config, clock: FrameClock) -> Seq2SeqAutoencoder:
    """The autoencoder of a configuration, with weights drawn from the global generator."""
    return Seq2SeqAutoencoder(
        config.network,
        config.n_mels,
        config.units,
        cell=config.cell,
        normalizer=partial(entmax, alpha=MECHANISMS[config.attention].alpha),
        mechanism=config.attention,
        dropout=config.dropout,
        frame_dropout=config.frame_dropout,
        variant=config.variant,
        clock=clock,
    )


class FeatureRegression(nn.Module):
    """Autoencoders, and a regression on the features that they give, side by side.

    Parameters
    ----------
    encoders
        In the order of their features.
    n_features, n_vectors
        Sizes of the arrays of the regression, see :class:`~audioattn_lib.evaluation.regression.RegressionFunction`.

    Notes
    -----
    Book page: ``sleepiness``.
    """

    scale: Tensor
    offset: Tensor
    vectors: Tensor
    coefficients: Tensor
    intercept: Tensor
    gamma: Tensor

    def __init__(self, encoders: Sequence[Seq2SeqAutoencoder], n_features: int, n_vectors: int) -> None:
        super().__init__()
        self.encoders = nn.ModuleList(encoders)
        shapes: dict[str, tuple[int, ...]] = {
            "scale": (n_features,),
            "offset": (n_features,),
            "vectors": (n_vectors, n_features),
            "coefficients": (n_vectors,),
            "intercept": (),
            "gamma": (),
        }
        for name, shape in shapes.items():
            self.register_buffer(name, torch.zeros(shape, dtype=torch.float64))

    @classmethod
    def of(cls, encoders: Sequence[Seq2SeqAutoencoder], function: RegressionFunction) -> FeatureRegression:
        """With the arrays of a fitted regression."""
        module = cls(encoders, function.vectors.shape[1], len(function.vectors))
        for name, buffer in module.named_buffers(recurse=False):
            buffer.copy_(torch.as_tensor(getattr(function, name)))
        return module

    def forward(self, features: Float[Tensor, "batch features"]) -> Float[Tensor, " batch"]:
        """Predicted numbers of features in the order of the encoders."""
        z = features.double() * self.scale + self.offset
        if not float(self.gamma):
            return z @ (self.coefficients @ self.vectors) + self.intercept
        distances = (z[:, None] - self.vectors).square().sum(dim=2)
        return torch.exp(-self.gamma * distances) @ self.coefficients + self.intercept
