"""Retraining without the frames that an attribution marks: one table, ``benchmarks/results/retraining/city.csv``.

    python -m benchmarks.retraining --seeds 3

A network learns to name the sounds of the synthetic city. Then a share of the
frames of every clip, for training, validation and test alike, becomes the mean
frame of the clip, in the order of an attribution; a network of the same initial
weights learns from what is left, and the trained one is tested on it too. A
network that was trained again and is worse than after random frames were
deleted needed the marked ones (Hooker et al., NeurIPS 2019). Attributions are of
the class that the network predicts, so no order of frames tells the label. Seeds
that were trained before are read back. The book shows the table.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from audioattn_lib.core.files import write_whole
from audioattn_lib.data.loading.arrays import ArrayStore
from audioattn_lib.data.loading.batches import BatchLoader
from audioattn_lib.evaluation.attention.perturbation import delete_frames
from audioattn_lib.evaluation.statistics.systems import compare_systems, draw_means, score_interval
from audioattn_lib.experiments import own_model, urban_sound
from audioattn_lib.experiments.common.classification import predict
from audioattn_lib.experiments.common.studies.table_files import ResultsTable
from audioattn_lib.inference.attention_evaluation import attribute_input
from audioattn_lib.inspection.tokens import TimeTokens
from audioattn_lib.models.attentive_head import AttentiveHead
from audioattn_lib.training.run_directory import describe_environment

from .harness import environment

RESULTS = Path(__file__).parent / "results" / "retraining" / "city.csv"
FRACTIONS = (0.25, 0.5, 0.75)
OTHERS = ("integrated_gradients", "occlusion", "random")
ONCE, AGAIN = "as trained", "trained again"
DIFFERENCE = ["difference", "low", "high", "p_holm", "detectable"]
KERNEL, STRIDE, WIDTH = 9, 4, 64


class RetrainingResults(ResultsTable):
    """Accuracy of every deletion and its difference to random frames, as :func:`compare` gives them."""

    COLUMNS = (
        *("attribution", "fraction", "network", "seeds", "groups", "score", "score_low", "score_high"),
        *DIFFERENCE,
    )
    TEXT = ("attribution", "network")


def main(arguments: Sequence[str] | None = None) -> int:
    """Train and test what is missing, write the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.retraining", description=__doc__)
    parser.add_argument("--data", default="city", help="corpus, as urban sounds take it (city)")
    parser.add_argument("--seeds", type=int, default=3, help="how many first networks (3)")
    parser.add_argument("--epochs", type=int, default=15, help="of every training (15)")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of all runs")
    parser.add_argument("--output", type=Path, default=RESULTS, help="table to write")
    options = parser.parse_args(arguments)
    config = urban_sound.Config.preset("default", data=options.data)
    seeds = []
    for seed in range(options.seeds):
        kept = options.runs / "retraining" / f"{options.data.replace('/', '_')}_{options.epochs}_{seed}.csv"
        if not kept.is_file():
            kept.parent.mkdir(parents=True, exist_ok=True)
            with write_whole(kept) as temporary:
                study(dataclasses.replace(config, seed=seed), options.epochs).to_csv(temporary, index=False)
        seeds.append(pd.read_csv(kept, dtype={"clip": str}))
    table = compare(
        pd.concat(seeds, keys=range(options.seeds), names=["seed"]).reset_index("seed"),
        urban_sound.prepare(config).group_of,
    )
    print(table.to_string())
    machine = environment("cpu")
    made_with = {
        "corpus": urban_sound.prepare(config).describe(),
        "seeds": options.seeds,
        "epochs": options.epochs,
        "network": f"convolution over {KERNEL} frames, every {STRIDE}, {WIDTH} wide; softmax attention",
        **{"date": machine["date"], "processor": machine["device"], "python": machine["python"]},
        "torch": machine["versions"]["torch"],
        "git_commit": describe_environment("cpu", "")["git_commit"],
    }
    RetrainingResults(table, made_with).write(options.output)
    return 0


def compare(answers: pd.DataFrame, group_of: Mapping[str, str]) -> pd.DataFrame:
    """Accuracy after every deletion, and its difference to that of random frames; intervals over groups and seeds.

    Intervals and p-values are corrected for all differences of the table (Holm).
    """
    keys = ["attribution", "fraction", "network"]
    drawn = {}
    for key, rows in answers.groupby(keys, sort=False):
        right = rows.pivot(index="seed", columns="clip", values="right")
        drawn[key] = draw_means(right.to_numpy(), groups=[group_of[clip] for clip in right])
    judged = [key for key in drawn if key[0] not in ("none", "random")]
    against = compare_systems({"|".join(map(str, key)): (drawn[key], drawn["random", *key[1:]]) for key in judged})
    rows = []
    for key, draws in drawn.items():
        interval = score_interval(draws)
        row = {**dict(zip(keys, key, strict=True)), "seeds": draws.seeds, "groups": draws.groups}
        row |= {"score": interval.estimate, "score_low": interval.low, "score_high": interval.high}
        name = "|".join(map(str, key))
        rows.append(row | (against.loc[name, DIFFERENCE].to_dict() if name in against.index else {}))
    return pd.DataFrame(rows, columns=[*row, *DIFFERENCE])


class Encoder(nn.Module):
    """One convolution over standardised log-mel frames."""

    def __init__(self, bands: int) -> None:
        super().__init__()
        self.scale, self.frames = nn.BatchNorm1d(bands), nn.Conv1d(bands, WIDTH, KERNEL, STRIDE)

    def forward(self, features: Tensor) -> Tensor:
        return self.frames(self.scale(features.mT)).relu().mT


def study(config: urban_sound.Config, epochs: int) -> pd.DataFrame:
    """One first network, and one for each attribution and share of deleted frames: a row a test clip and network."""
    corpus, split = own_model.prepare(config)
    everything = np.arange(len(corpus.targets))
    whole, lengths = corpus.store.batch(everything)
    if int(lengths.min()) < whole.shape[1]:
        raise SystemExit(f"{config.data}: clips of {int(lengths.min())} to {whole.shape[1]} frames; give one length")
    tokens = TimeTokens.of_convolutions([KERNEL], [STRIDE], 1 / corpus.clock.period)

    def fitted(features: Tensor) -> AttentiveHead:
        torch.manual_seed(config.seed)
        head = AttentiveHead(
            Encoder(config.n_mels), "softmax", WIDTH, len(corpus.classes), frames_of=frames_of, clock=tokens.clock
        )
        train, valid = (loader(features, rows, shuffle=rows is split.train) for rows in (split.train, split.valid))
        with tempfile.TemporaryDirectory() as folder:
            own_model.fit_classifier(head, train, valid, folder, epochs=epochs, learning_rate=3e-3, device="cpu")
        return head.eval()

    def loader(features: Tensor, rows: np.ndarray, shuffle: bool = False) -> BatchLoader:
        store = ArrayStore(features, lengths.numpy())
        return corpus.loader(rows, config, torch.device("cpu"), shuffle=shuffle, store=store)

    def answers(head: AttentiveHead, features: Tensor, **of: object) -> pd.DataFrame:
        right = predict(head, loader(features, split.test))[0].argmax(1) == corpus.targets[split.test]
        clips = [corpus.manifest.ids[row] for row in split.test]
        return pd.DataFrame({**of, "clip": clips, "right": right.int().numpy()})

    first = fitted(whole)
    with torch.no_grad():
        logits, attention = first(whole, lengths, record=True)
    attributions = {"attention": attention} | attribute_input(
        first,
        whole,
        logits.argmax(1),
        tokens,
        int(frames_of(torch.tensor(whole.shape[1]))),
        others=OTHERS,
        forward=lambda model, x: model(x)[0],
        seed=config.seed,
    )
    tables = [answers(first, whole, attribution="none", fraction=0.0, network=ONCE)]
    for name, record in attributions.items():
        for fraction in FRACTIONS:
            left = delete_frames(whole, lengths, record, fraction, seed=config.seed)
            for network, head in ((ONCE, first), (AGAIN, fitted(left))):
                tables.append(answers(head, left, attribution=name, fraction=fraction, network=network))
    return pd.concat(tables, ignore_index=True)


def frames_of(lengths: Tensor) -> Tensor:
    """Frames behind the convolution."""
    return (lengths - KERNEL) // STRIDE + 1


if __name__ == "__main__":
    sys.exit(main())
