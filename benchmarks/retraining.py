"""Retraining without the frames that an attribution marks: one table, ``benchmarks/results/retraining.csv``.

    python -m benchmarks.retraining --seeds 3

A network learns to name the sounds of the synthetic city. Then a share of the
frames of every clip, for training, validation and test alike, becomes the mean
frame of the clip, in the order of an attribution; a network of the same initial
weights learns from what is left, and the trained one is tested on it too. A
network that was trained again and is worse than after random frames were
deleted needed the marked ones (Hooker et al., NeurIPS 2019). The book shows the
table.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from audioattn_lib.data.loading.arrays import ArrayStore
from audioattn_lib.evaluation.attention.perturbation import delete_frames
from audioattn_lib.experiments import own_model, urban_sound
from audioattn_lib.inference.attention_evaluation import attribute_input
from audioattn_lib.inspection.tokens import TimeTokens
from audioattn_lib.models.attentive_head import AttentiveHead

from .harness import environment

RESULTS = Path(__file__).parent / "results" / "retraining.csv"
FRACTIONS = (0.25, 0.5, 0.75)
OTHERS = ("integrated_gradients", "occlusion", "random")
KERNEL, STRIDE, WIDTH = 9, 4, 64


def main(arguments: Sequence[str] | None = None) -> int:
    """Train and test, write the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.retraining", description=__doc__)
    parser.add_argument("--data", default="city", help="corpus, as urban sounds take it (city)")
    parser.add_argument("--seeds", type=int, default=3, help="how many first networks (3)")
    parser.add_argument("--epochs", type=int, default=15, help="of every training (15)")
    parser.add_argument("--output", type=Path, default=RESULTS, help="table to write")
    options = parser.parse_args(arguments)
    rows = []
    for seed in range(options.seeds):
        config = urban_sound.Config.preset("default", data=options.data, seed=seed)
        rows += study(config, seed, options.epochs)
        print(pd.DataFrame(rows).tail(3 * (len(OTHERS) + 1) + 1).to_string(), flush=True)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(rows).to_csv(options.output, index=False, float_format="%.4f")
    made_with = {
        "data": options.data,
        "seeds": options.seeds,
        "epochs": options.epochs,
        "network": f"convolution over {KERNEL} frames, every {STRIDE}, {WIDTH} wide; softmax attention",
        **environment("cpu"),
    }
    options.output.with_suffix(".json").write_text(json.dumps(made_with, indent=1) + "\n", encoding="utf-8")
    return 0


class Encoder(nn.Module):
    """One convolution over standardised log-mel frames."""

    def __init__(self, bands: int) -> None:
        super().__init__()
        self.scale, self.frames = nn.BatchNorm1d(bands), nn.Conv1d(bands, WIDTH, KERNEL, STRIDE)

    def forward(self, features: Tensor) -> Tensor:
        return self.frames(self.scale(features.mT)).relu().mT


def study(config: urban_sound.Config, seed: int, epochs: int) -> list[dict[str, object]]:
    """One first network, and one for each attribution and share of deleted frames."""
    corpus, split = own_model.prepare(config)
    everything = np.arange(len(corpus.targets))
    whole, lengths = corpus.store.batch(everything)
    if int(lengths.min()) < whole.shape[1]:
        raise SystemExit(f"{config.data}: clips of {int(lengths.min())} to {whole.shape[1]} frames; give one length")
    tokens = TimeTokens.of_convolutions([KERNEL], [STRIDE], 1 / corpus.clock.period)

    def fitted(features: Tensor) -> AttentiveHead:
        torch.manual_seed(seed)
        head = AttentiveHead(
            Encoder(config.n_mels), "softmax", WIDTH, len(corpus.classes), frames_of=frames_of, clock=tokens.clock
        )
        train, valid = (loader(features, rows, shuffle=rows is split.train) for rows in (split.train, split.valid))
        with tempfile.TemporaryDirectory() as folder:
            own_model.fit_classifier(head, train, valid, folder, epochs=epochs, learning_rate=3e-3, device="cpu")
        return head.eval()

    def loader(features: Tensor, rows: np.ndarray, shuffle: bool = False) -> object:
        store = ArrayStore(features, lengths.numpy())
        return corpus.loader(rows, config, torch.device("cpu"), shuffle=shuffle, store=store)

    def right(head: AttentiveHead, features: Tensor) -> float:
        return float(own_model.score_classifier(head, loader(features, split.test))["accuracy"])

    first = fitted(whole)
    with torch.no_grad():
        attention = first(whole, lengths, record=True)[1]
    attributions = {"attention": attention} | attribute_input(
        first,
        whole,
        corpus.targets,
        tokens,
        int(frames_of(torch.tensor(whole.shape[1]))),
        others=OTHERS,
        forward=lambda model, x: model(x)[0],
        seed=seed,
    )
    start = right(first, whole)
    rows: list[dict[str, object]] = [
        {"seed": seed, "attribution": "none", "fraction": 0.0, "as trained": start, "trained again": start}
    ]
    for name, record in attributions.items():
        for fraction in FRACTIONS:
            left = delete_frames(whole, lengths, record, fraction, seed=seed)
            rows.append(
                {
                    "seed": seed,
                    "attribution": name,
                    "fraction": fraction,
                    "as trained": right(first, left),
                    "trained again": right(fitted(left), left),
                }
            )
    return rows


def frames_of(lengths: Tensor) -> Tensor:
    """Frames behind the convolution."""
    return (lengths - KERNEL) // STRIDE + 1


if __name__ == "__main__":
    sys.exit(main())
