"""Settings for recordings, compared on validation clips: one table, ``benchmarks/results/presets/validation.csv``.

    AUDIOATTN_DATA=path/to/corpora python -m benchmarks.presets

Test clips are not looked at. Trials that are in the table are not made again.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from audioattn_lib.core.files import write_text
from audioattn_lib.experiments import accents, playback, sleepiness

RESULTS = Path(__file__).parent / "results" / "presets" / "validation.csv"
FINE = {"n_fft": 1280, "hop_length": 640}
SPEAKER = {"target": "speaker", "closed_set": True, "sample_rate": 8000}
LONGER, SLOWER = {"epochs": 28}, {"epochs": 28, "learning_rate": 1e-3}

Settings = Mapping[str, Any]
TRIALS: tuple[tuple[str, str, int, Settings, tuple[Settings, ...]], ...] = (
    ("sleepiness", "emodb_rate?group=speaker", 3, {}, ({}, FINE, {"epochs": 30}, {**FINE, "epochs": 30})),
    (
        *("playback", "sparse10", 2, {}),
        ({}, {"n_mels": 32}, {"n_mels": 64}, {"encoder_epochs": 120}, {"n_mels": 32, "encoder_epochs": 120}),
    ),
    ("accents", "frisian_accent", 2, {}, ({}, LONGER, SLOWER, {"clip_seconds": 3.0})),
    ("accents", "fsdd", 2, SPEAKER, ({}, LONGER, SLOWER, {"clip_seconds": 0.5})),
)
"""Chapter, corpus, seeds, settings of all trials, and what each trial changes of the preset ``default``."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the trials that are missing, write the table after each."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.presets", description=__doc__)
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of all runs")
    parser.add_argument("--output", type=Path, default=RESULTS, help="file of the table")
    options = parser.parse_args(arguments)
    rows = pd.read_csv(options.output, keep_default_na=False).to_dict("records") if options.output.exists() else []
    measured_before = {(row["chapter"], row["corpus"], row["changed"], int(row["seed"])) for row in rows}
    for chapter, corpus, n_seeds, common, trials in TRIALS:
        for seed in range(n_seeds):
            for changes in trials:
                changed = ", ".join(f"{name} = {value}" for name, value in changes.items()) or "nothing"
                if (chapter, corpus, changed, seed) in measured_before:
                    continue
                measured = MEASURES[chapter]({"data": corpus, "seed": seed, **common, **changes}, options.runs)
                rows.append({"chapter": chapter, "corpus": corpus, "changed": changed, "seed": seed, **measured})
                write_text(options.output, pd.DataFrame(rows).to_csv(index=False, lineterminator="\n"))
    return 0


def _correlation(settings: Settings, runs: Path) -> dict[str, Any]:
    config = sleepiness.Config.default(network="attention_bi_bi_hidden", **settings)
    regression = sleepiness.regress(config, [sleepiness.autoencode(config, runs)], runs)
    return {"score": "rank correlation", "value": round(regression.metrics["valid_spearman"], 3)}


def _loss_of(experiment: Any) -> Callable[[Settings, Path], dict[str, Any]]:
    def measure(settings: Settings, runs: Path) -> dict[str, Any]:
        run = experiment.run(experiment.Config.default(**settings), runs)
        return {"score": "loss", "value": round(float(run.history["valid_loss"].min()), 3)}

    return measure


MEASURES: dict[str, Callable[[Settings, Path], dict[str, Any]]] = {
    "sleepiness": _correlation,
    "playback": _loss_of(playback),
    "accents": _loss_of(accents),
}
"""Validation score by chapter."""


if __name__ == "__main__":
    sys.exit(main())
