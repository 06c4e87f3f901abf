"""Attention over a few clips after each epoch, kept in the run directory: what a training can be watched by.

A file an epoch, ``probes/<epoch>.npz``, of some kilobytes: maps are averaged over layers and heads, and alignments over
the frames that were made. The probe changes no number of a run: it draws nothing from the random generators that
training draws from.

Book page: ``urban_sound``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn

from ..attention.record.record import AttentionRecord
from ..core.files import write_whole

__all__ = ["Probe", "load_last_probe", "load_probes", "probe", "save_probe"]

FOLDER = "probes"
Probe = Callable[[nn.Module], AttentionRecord]
"""From a model in evaluation mode to what it attends to in a few clips; empty without attention."""


def probe(model: nn.Module, look: Probe, device: torch.device) -> AttentionRecord:
    """Return the attention of the model; the generators of random numbers stay as they are.

    Parameters
    ----------
    model
        In evaluation mode.
    look
        Asks it.
    device
        Where it computes.
    """
    devices = [device] if device.type == "cuda" else []
    with torch.no_grad(), torch.random.fork_rng(devices):
        return _reduce(look(model))


def save_probe(directory: Path, epoch: int, record: AttentionRecord) -> None:
    """Write the record of an epoch, counted from 0; nothing for an empty one."""
    if not record.is_empty:
        # An epoch that a loss of power takes along is computed again, so the disk need not be waited for.
        with write_whole(directory / FOLDER / f"{epoch:04d}.npz", durable=False) as path:
            np.savez_compressed(path, **record.to_arrays())  # type: ignore[arg-type]


def load_probes(directory: str | Path) -> dict[int, AttentionRecord]:
    """Records of a run by epoch, counted from 0; of a run that is not finished those so far."""
    return {int(path.stem): AttentionRecord.load(path) for path in sorted(Path(directory, FOLDER).glob("[0-9]*.npz"))}


def load_last_probe(directory: str | Path) -> AttentionRecord | None:
    """Record of the last epoch so far; None of a run that has none."""
    files = sorted(Path(directory, FOLDER).glob("[0-9]*.npz"))
    return AttentionRecord.load(files[-1]) if files else None


def _reduce(record: AttentionRecord) -> AttentionRecord:
    if record.is_empty:
        return record
    if record.maps is not None:
        return dataclasses.replace(record, maps=record.maps.mean(axis=(1, 2), keepdims=True), regions=None)
    if record.alignment is not None:
        assert record.n_frames is not None
        weights = np.zeros((len(record), record.alignment.shape[2]))
        for clip, count in enumerate(record.n_frames):
            weights[clip, :count] = record.frame_attention(clip)
        reduced = AttentionRecord.from_weights(
            weights, record.clock, n_frames=[int(n) for n in record.n_frames], mechanism=record.mechanism
        )
        return dataclasses.replace(reduced, clips=record.clips, durations=record.durations)
    return dataclasses.replace(record, read_weights=None)
