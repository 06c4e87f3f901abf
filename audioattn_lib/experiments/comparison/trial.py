"""One network of the comparison: trained, tested and measured, all in memory.

A network is tenths of a second of work, so that nothing of it is kept but its results.

Book page: ``comparison``.
"""

from __future__ import annotations

import copy
import time
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from audioattn_lib.attention.record.record import AttentionRecord
from audioattn_lib.data.loading.batches import Batch, BatchLoader
from audioattn_lib.evaluation.attention.localisation import event_share, pointing_game
from audioattn_lib.evaluation.attention.perturbation import deletion_curve
from audioattn_lib.training.schedules import cosine

from ..common.classification import label_events, predictions_table
from ..common.training import count_parameters
from .config import Config
from .corpus import Prepared
from .mechanisms import MECHANISMS
from .network import PooledNetwork, count_memory

__all__ = ["Trial"]

_FRACTIONS = (0.1, 0.3)
"""Shares of the frames that are deleted."""
_VALIDATE_EVERY = 2
"""Epochs from one validation to the next; the last one is validated."""
_WARMUP = 0.3
"""Share of the steps over which the learning rate rises, before it falls along a cosine."""
_MOST = 0.9
"""Share of the attention whose frames are counted."""
_DIGITS = 6


class Trial:
    """A task whose clips lie in memory, on which networks are trained and tested one after the other.

    Parameters
    ----------
    config
        Settings of all networks.
    prepared
        The corpus.
    device
        Where to train and test.
    """

    def __init__(self, config: Config, prepared: Prepared, device: torch.device) -> None:
        self.config, self.prepared, self.device = config, prepared, device
        split = prepared.split(config)
        self.rows = split.test
        frames = torch.cat([prepared.store[int(row)] for row in split.train]).to(device)
        self.mean, self.std = frames.mean(0), frames.std(0).clamp(min=1e-3)
        self.train, self.valid, self.tested = map(self._load, (split.train, split.valid, split.test))
        count = min(config.n_measured, len(split.test))
        self.measured = np.unique(np.linspace(0, len(split.test) - 1, count).round().astype(int))
        self.events = label_events(prepared.manifest, split.test[self.measured])

    def _load(self, rows: NDArray[np.int64]) -> Batch:
        """All clips of one part, standardised band by band."""
        prepared = self.prepared
        loader = BatchLoader(prepared.store, prepared.targets, rows, len(rows), False, self.config.seed, self.device)
        (batch,) = loader.epoch(0)
        return replace(batch, features=(batch.features - self.mean) / self.std)

    def test(self, mechanism: str, seed: int) -> pd.DataFrame:
        """Train one network and test it: a row a clip with prediction, measures of attention, and cost."""
        torch.manual_seed(seed)
        network = PooledNetwork(
            self.train.features.shape[2],
            MECHANISMS[mechanism],
            self.config.hidden_size,
            len(self.prepared.classes),
            self.prepared.clock,
        ).to(self.device)
        milliseconds = self._fit(network, seed)
        with torch.no_grad():
            logits, record = network(self.tested.features, self.tested.lengths, record=True)
        table = predictions_table(self.prepared, self.rows, logits.float().cpu())
        table["split"] = f"{mechanism}, seed {seed}"
        record = record.named(table["clip"], self.prepared.manifest.durations[self.rows])
        count = self.config.batch_size
        measured = {
            **self._measure(network, record, seed),
            "mechanism": mechanism,
            "seed": seed,
            "milliseconds": milliseconds,
            "kilobytes": count_memory(network, self.train.features[:count], self.train.lengths[:count]) / 1024,
            "parameters": count_parameters(network.pooling),
        }
        return table.assign(**measured).round(_DIGITS)

    def _fit(self, network: PooledNetwork, seed: int) -> float:
        """Train a network, give it the weights of its best epoch, and return the milliseconds that a clip takes."""
        config = self.config
        optimizer = torch.optim.Adam(network.parameters(), lr=config.learning_rate, fused=True)
        order = torch.Generator().manual_seed(seed)
        steps = config.epochs * -(-len(self.train) // config.batch_size)
        learning_rate = cosine(config.learning_rate, steps, round(_WARMUP * steps))
        lowest, best = np.inf, copy.deepcopy(network.state_dict())
        seconds = []
        torch.set_flush_denormal(True)  # trained softmax weights reach denormal numbers, which are slow
        step = 0
        for epoch in range(config.epochs):
            network.train()
            started = time.process_time()
            for rows in torch.randperm(len(self.train), generator=order).to(self.device).split(config.batch_size):
                self._loss(network, self.train, rows).backward()
                nn.utils.clip_grad_norm_(network.parameters(), config.max_grad_norm)
                optimizer.param_groups[0]["lr"] = learning_rate(step)
                step += 1
                optimizer.step()
                optimizer.zero_grad()
            seconds.append(time.process_time() - started)
            if (config.epochs - 1 - epoch) % _VALIDATE_EVERY:
                continue
            network.eval()
            with torch.no_grad():
                score = float(self._loss(network, self.valid, slice(None)))
            if score < lowest:
                lowest, best = score, copy.deepcopy(network.state_dict())
        torch.set_flush_denormal(False)
        network.load_state_dict(best)
        network.eval()
        return 1000 * float(np.median(seconds)) / len(self.train)

    @staticmethod
    def _loss(network: PooledNetwork, clips: Batch, rows: Tensor | slice) -> Tensor:
        return F.cross_entropy(network(clips.features[rows], clips.lengths[rows])[0], clips.targets[rows])

    def _measure(self, network: PooledNetwork, record: AttentionRecord, seed: int) -> dict[str, NDArray[np.float64]]:
        """Sparsity, evidence and faithfulness of each clip; NaN where events are not known or nothing was measured."""

        def predict(features: Tensor, lengths: Tensor) -> Tensor:
            return network(features, lengths)[0].softmax(dim=1)

        rows = torch.as_tensor(self.measured, device=self.device)
        features, lengths = self.tested.features[rows], self.tested.lengths[rows]
        record = record[self.measured]
        curve = deletion_curve(predict, features, lengths, record, fractions=_FRACTIONS, seed=seed)
        measures = {
            "attended": record.attended_share(),
            "held": np.array([_held(record.frame_attention(clip)) for clip in range(len(record))]),
            "pointing": np.asarray(pointing_game(record, self.events), dtype=np.float64),
            "event_share": np.asarray(event_share(record, self.events), dtype=np.float64),
            "deletion_gain": curve.area("random") - curve.area("attention"),
        }
        return {name: self._spread(values) for name, values in measures.items()}

    def _spread(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Numbers of the measured clips at their places among all test clips, NaN elsewhere."""
        spread = np.full(len(self.rows), np.nan)
        spread[self.measured] = values
        return spread


def _held(attention: NDArray[np.floating[Any]]) -> float:
    """Smallest share of the frames that holds nine tenths of the attention."""
    mass = np.cumsum(np.sort(attention)[::-1])
    return float((np.searchsorted(mass, _MOST * mass[-1]) + 1) / len(mass))
