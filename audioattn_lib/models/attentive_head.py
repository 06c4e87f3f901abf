r"""Attention pooling and a classifier behind any encoder of frames.

``input`` -> encoder -> frames ``(B, T, H)`` -> pooling -> context ``(B, H)`` -> linear layer -> scores ``(B, C)``.

Book page: ``your_sounds``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ..attention.pooling.registry import build_attention
from ..attention.record.record import AttentionRecord, FrameClock
from ..core.errors import ConfigError

__all__ = ["AttentiveHead"]


class AttentiveHead(nn.Module):
    """A classifier that pools the frames of an encoder by attention.

    Parameters
    ----------
    encoder
        From its input to frames ``(B, T, H)``, or to an output whose ``last_hidden_state`` they are, as networks of
        ``transformers`` give.
    pooling
        Module from frames and lengths to context and record; or the name of a mechanism, see
        :data:`~audioattn_lib.attention.pooling.registry.MECHANISMS`, or ``"mean"``.
    features
        Width H of the frames, at least 1.
    n_classes
        Scores C, at least 1.
    frames_of
        From the lengths of the inputs to the numbers of their frames; by default they are the same.
    freeze
        Keep the encoder as it is, in evaluation mode and without gradients.
    clock
        Time of the frames, such as ``tokens_of(encoder).clock``.

    Raises
    ------
    ConfigError
        When the pooling is not known, or a number is below 1.

    Notes
    -----
    Book page: ``your_sounds``.

    Examples
    --------
    >>> import torch
    >>> head = AttentiveHead(torch.nn.Linear(4, 8), "sparsemax", features=8, n_classes=3)
    >>> scores, record = head(torch.zeros(2, 5, 4), torch.tensor([5, 3]), record=True)
    >>> scores.shape, record.n_frames.tolist()
    (torch.Size([2, 3]), [5, 3])
    """

    def __init__(
        self,
        encoder: nn.Module,
        pooling: nn.Module | str,
        features: int,
        n_classes: int,
        *,
        frames_of: Callable[[Tensor], Tensor] | None = None,
        freeze: bool = False,
        clock: FrameClock = FrameClock(),
    ) -> None:
        super().__init__()
        if min(features, n_classes) < 1:
            raise ConfigError(f"features is {features} and n_classes is {n_classes}; both must be at least 1")
        self.encoder = encoder
        self.pooling = build_attention(pooling, features) if isinstance(pooling, str) else pooling
        self.classifier = nn.Linear(features, n_classes)
        self.frames_of, self.freeze, self.clock = frames_of, freeze, clock
        if freeze:
            encoder.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> AttentiveHead:
        """Set the mode of all but a frozen encoder."""
        super().train(mode)
        if self.freeze:
            self.encoder.eval()
        return self

    def forward(
        self, inputs: Any, lengths: Tensor | None = None, *, record: bool = False
    ) -> tuple[Tensor, AttentionRecord]:
        """Scores of the classes before softmax, shape ``(B, C)``, and the record, empty unless it is asked for.

        Parameters
        ----------
        inputs
            Input of the encoder.
        lengths
            Valid length of each input, shape ``(B,)``; all by default. What the encoder makes of padding is its own.
        record
            Whether to record.

        Raises
        ------
        ConfigError
            When the encoder gives no frames of the width ``features``.
        """
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.freeze):
            output = self.encoder(inputs)
        frames = getattr(output, "last_hidden_state", output)
        width = self.classifier.in_features
        if not isinstance(frames, Tensor) or frames.dim() != 3 or frames.shape[-1] != width:
            actual = tuple(frames.shape) if isinstance(frames, Tensor) else type(frames).__name__
            raise ConfigError(f"{type(self.encoder).__name__} gave {actual}; it must give (batch, frames, {width})")
        if lengths is not None:
            lengths = lengths if self.frames_of is None else self.frames_of(lengths)
        context, recorded = self.pooling(frames, lengths, clock=self.clock, record=record)
        return self.classifier(context), recorded
