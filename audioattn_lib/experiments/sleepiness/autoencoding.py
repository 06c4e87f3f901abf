"""Losses, pictures, features and alignments of an autoencoder, during and after training."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from audioattn_lib.attention.record.record import AttentionRecord
from audioattn_lib.audio.features.scaling import DecibelScaling
from audioattn_lib.models.seq2seq import Seq2SeqAutoencoder, reconstruction_loss

__all__ = ["Rebuilding", "extract", "measure_losses", "record_alignments"]


class _Batches(Protocol):
    def epoch(self, number: int, start: int = 0) -> Iterator[Any]: ...


@dataclass(frozen=True)
class Rebuilding:
    """The task of an autoencoder: to give back scaled spectrograms.

    Parameters
    ----------
    scaling
        From decibels to [-1, 1].
    loss
        ``"mse"`` or ``"rmse"``, over a batch.
    scheduled_sampling
        Probability with which a training step reads what the decoder made itself.
    """

    scaling: DecibelScaling
    loss: str = "mse"
    scheduled_sampling: float = 0.0

    def __call__(self, network: nn.Module, batch: Any) -> tuple[Tensor, Tensor]:
        """Loss of a batch, for training; nothing is right or wrong."""
        frames = self.scaling(batch.features, batch.lengths)
        rebuilt, _ = network(frames, batch.lengths, scheduled_sampling=self.scheduled_sampling)
        return reconstruction_loss(rebuilt, frames, batch.lengths, self.loss), rebuilt.new_zeros(())

    @torch.no_grad()
    def validate(self, network: nn.Module, batches: _Batches) -> dict[str, float]:
        """``loss`` with teacher forcing: the same mean over batches as in training, weighted by clips."""
        loss, clips = 0.0, 0
        for batch in batches.epoch(0):
            frames = self.scaling(batch.features, batch.lengths)
            rebuilt, _ = network(frames, batch.lengths)
            loss += float(reconstruction_loss(rebuilt, frames, batch.lengths, self.loss)) * len(batch)
            clips += len(batch)
        return {"loss": loss / clips}

    def illustrate(self, batches: _Batches) -> Callable[[nn.Module], dict[str, Tensor]]:
        """Pictures of the first clip of some batches: itself, rebuilt in two ways, and its alignment."""
        first = next(batches.epoch(0))
        length = int(first.lengths[0])
        frames = self.scaling(first.features[:1, :length], first.lengths[:1])

        def pictures(network: nn.Module) -> dict[str, Tensor]:
            forced, record = network(frames, record=True)
            free, _ = network(frames, scheduled_sampling=1.0)
            images = {
                f"frames/{name}": (values[0].T.flip(0) + 1) / 2
                for name, values in (("input", frames), ("rebuilt", forced), ("free_running", free))
            }
            if record.alignment is not None:
                weights = torch.from_numpy(record.alignment[0])
                images["alignment"] = weights / weights.max()
            return images

        return pictures


@torch.no_grad()
def extract(model: Seq2SeqAutoencoder, batches: _Batches, scaling: DecibelScaling) -> NDArray[np.float32]:
    """Features that a trained network gives every clip, in the order of the batches, shape ``(N, D)``."""
    features = [
        model.extract(scaling(batch.features, batch.lengths), batch.lengths).float().cpu() for batch in batches.epoch(0)
    ]
    return torch.cat(features).numpy()


@torch.no_grad()
def measure_losses(model: Seq2SeqAutoencoder, batches: _Batches, rebuilding: Rebuilding) -> NDArray[np.float64]:
    """Loss of each clip when it is rebuilt with teacher forcing, and free-running.

    In the order of the batches, shape ``(N, 2)``.
    """
    losses = []
    for batch in batches.epoch(0):
        frames = rebuilding.scaling(batch.features, batch.lengths)
        columns = []
        for sampling in (0.0, 1.0):
            rebuilt, _ = model(frames, batch.lengths, scheduled_sampling=sampling)
            squares = (rebuilt - frames).square().sum(dim=(1, 2)) / (batch.lengths * frames.shape[2])
            columns.append((squares if rebuilding.loss == "mse" else squares.sqrt()).double().cpu())
        losses.append(torch.stack(columns, dim=1))
    return torch.cat(losses).numpy()


@torch.no_grad()
def record_alignments(model: Seq2SeqAutoencoder, batches: _Batches, rebuilding: Rebuilding) -> AttentionRecord:
    """Record the alignment of each reconstructed frame, clip after clip in the order of the batches."""
    records = []
    for batch in batches.epoch(0):
        frames = rebuilding.scaling(batch.features, batch.lengths)
        records.append(model(frames, batch.lengths, record=True)[1])
    return AttentionRecord.concatenate(records)
