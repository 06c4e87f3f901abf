"""Sleepiness: does an autoencoder that attends describe a voice better than one that does not?

Every step is a function, and every step knows clips by their names, never by
their position: :func:`prepare` makes spectrograms, :func:`autoencode` trains a
network to rebuild them and keeps the features of all clips, :func:`regress`
predicts a number from the features of one or several networks (fusion), and
:func:`study` compares networks over seeds beside a linear baseline and chance.

Networks and protocol are those of Amiriparian et al., *Sequence-to-sequence
autoencoders with attention* (2020), where they are sound.

Book page: ``sleepiness``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from ..attention import export
from ..attention.maps import entmax
from ..attention.record import FrameClock
from ..attention.variants import VARIANTS as MECHANISMS
from ..data.feature_table import FeatureTable, fuse
from ..data.files import exclusive
from ..data.loading import BatchLoader
from ..data.table_files import read_features, write_features
from ..errors import ConfigError, RunError
from ..models.recurrence import CELLS
from ..models.seq2seq import LOSSES, NETWORKS, VARIANTS, Seq2SeqAutoencoder
from ..training.baseline import summary_features
from ..training.checkpoint import load_best
from ..training.loop import TrainingSettings, fit, select_device
from ..training.progress import Progress
from ..training.regression import REGRESSORS
from ..training.run_directory import Run, RunDirectory
from ..training.schedules import Constant
from .autoencoding import Rebuilding, extract, record_alignments
from .corpus import Clip
from .directories import make_once, open_directory
from .feature_regression import regress_features
from .fields import make_preset, require, require_choice
from .regression_study import FUSION, RegressionStudy
from .spectrograms import Prepared, prepare_spectrograms
from .study import BASELINE, choose

__all__ = [
    "MAPS",
    "Config",
    "Prepared",
    "autoencode",
    "baseline",
    "build_model",
    "features_of",
    "load_model",
    "prepare",
    "rebuild",
    "regress",
    "run",
    "study",
]

NAME = "sleepiness"
MAPS = tuple(name for name, mechanism in MECHANISMS.items() if mechanism.domain == "discrete")
"""Maps from alignment scores to weights."""
N_ALIGNMENTS = 24
"""Test clips whose alignments are kept: a matrix a clip is large."""
FEATURES = "features.nc"
_REGRESSION = ("regressor", "max_iter")
_SPECTROGRAM = ("data", "sample_rate", "n_fft", "hop_length", "n_mels", "window", "stored", "skip_bad_clips")


@dataclass(frozen=True)
class Config:
    """One autoencoder and the regression on its features. Impossible values are errors that name the field."""

    data: str = field(default="voices", metadata={"help": "corpus: voices, or a folder with recordings and numbers"})
    network: str = field(default="attention_bi_bi_hidden", metadata={"help": "wiring of the autoencoder"})
    attention: str = field(default="softmax", metadata={"help": "map from alignment scores to weights"})
    variant: str = field(default="corrected", metadata={"help": "corrected, or published: the decoder of the code"})
    cell: str = field(default="gru", metadata={"help": "gru or lstm"})
    units: int = field(default=256, metadata={"help": "of each recurrent layer and direction"})
    dropout: float = field(default=0.2, metadata={"help": "of the frames that encoder and decoder read, in [0, 1)"})
    sampling: float = field(
        default=0.0, metadata={"help": "share of training steps that read what the decoder made itself, in [0, 1]"}
    )
    loss: str = field(default="mse", metadata={"help": "mse (published) or rmse (auDeep)"})
    threshold: float = field(default=60.0, metadata={"help": "decibels below the loudest that are kept, above 0"})
    level: str = field(default="clip", metadata={"help": "what is loudest: the clip itself, or the training corpus"})
    seed: int = field(default=0, metadata={"help": "seed of weights, batches and dropout, from 0"})
    sample_rate: int = field(default=16000, metadata={"help": "hertz; sounds are resampled on loading"})
    n_fft: int = field(default=1280, metadata={"help": "samples of a window and its transform"})
    hop_length: int = field(default=640, metadata={"help": "samples from one frame to the next"})
    n_mels: int = field(default=128, metadata={"help": "mel bands"})
    window: str = field(default="hann", metadata={"help": "hann or hamming"})
    stored: str = field(default="float32", metadata={"help": "numbers of the spectrograms on disk: float32, float16"})
    epochs: int = field(default=10, metadata={"help": "passes over the training clips"})
    batch_size: int = field(default=64, metadata={"help": "clips a step"})
    learning_rate: float = field(default=1e-3, metadata={"help": "of Adam"})
    gradient_clip: float = field(default=2.0, metadata={"help": "largest norm of the gradient"})
    regressor: str = field(default="linear_svr", metadata={"help": "linear_svr (published), ridge or rbf_svr"})
    max_iter: int = field(default=1000, metadata={"help": "iterations of a support vector regression at most"})
    device: str = field(default="auto", metadata={"help": "auto, cpu or cuda"})
    precision: str = field(default="auto", metadata={"help": "auto (bfloat16 on CUDA), float32 or bfloat16"})
    skip_bad_clips: bool = field(default=False, metadata={"help": "leave out clips that fail the check, and say which"})

    def __post_init__(self) -> None:
        allowed = {
            "network": tuple(NETWORKS),
            "attention": MAPS,
            "variant": VARIANTS,
            "cell": tuple(CELLS),
            "loss": LOSSES,
            "level": ("clip", "corpus"),
            "window": ("hann", "hamming"),
            "stored": ("float32", "float16"),
            "regressor": REGRESSORS,
            "device": ("auto", "cpu", "cuda"),
            "precision": ("auto", "float32", "bfloat16"),
        }
        for name, values in allowed.items():
            require_choice(self, name, values)
        for name in ("units", "hop_length", "n_mels", "epochs", "batch_size", "max_iter"):
            require(self, name, getattr(self, name) >= 1, "at least 1")
        require(self, "n_fft", self.n_fft >= 2, "at least 2 samples")
        require(self, "sample_rate", self.sample_rate >= 1000, "at least 1000 hertz")
        require(self, "seed", self.seed >= 0, "at least 0")
        require(self, "dropout", 0 <= self.dropout < 1, "in [0, 1)")
        require(self, "sampling", 0 <= self.sampling <= 1, "in [0, 1]")
        for name in ("threshold", "learning_rate", "gradient_clip"):
            require(self, name, getattr(self, name) > 0, "above 0")
        coded = self.variant == "corrected" or NETWORKS[self.network].has_code
        require(self, "variant", coded, f"corrected, as there is no published code of {self.network}")

    @classmethod
    def preset(cls, name: str, **changes: Any) -> Config:
        """A preset by name, with some fields changed: ``"smoke"``, ``"default"``, ``"paper"`` or ``"audeep"``.

        A corpus of ``None`` is the one of the preset.
        """
        presets = {"smoke": cls.smoke, "default": cls.default, "paper": cls.paper, "audeep": cls.audeep}
        return make_preset(cls, presets, name, changes)

    @classmethod
    def smoke(cls, **changes: Any) -> Config:
        """Seconds on a CPU: a few tiny voices, one epoch; for tests."""
        small = {"n_mels": 16, "units": 8, "epochs": 1, "batch_size": 16}
        return cls(**{"data": "voices?speakers=8&clips_per_speaker=4&duration=(1.0,1.5)", **small, **changes})

    @classmethod
    def default(cls, **changes: Any) -> Config:
        """Half a minute a network on two CPU cores: what the book shows when nothing else is there."""
        small = {"n_mels": 64, "units": 64, "epochs": 14, "batch_size": 16, "learning_rate": 4e-3}
        return cls(**{**small, **changes})

    @classmethod
    def paper(cls, **changes: Any) -> Config:
        """Transform, networks and training of the published command line, on ComParE 2019 Continuous Sleepiness."""
        published = {
            "data": "sleepiness",
            "n_fft": 1024,
            "hop_length": 256,
            "n_mels": 240,
            "window": "hamming",
            "threshold": 80.0,
        }
        return cls(**{**published, **changes})

    @classmethod
    def audeep(cls, **changes: Any) -> Config:
        """The recipe of auDeep for the same corpus: windows of 80 ms, 128 bands, 16 epochs of batches of 1,024."""
        recipe = {"data": "sleepiness", "network": "t_rae", "loss": "rmse", "epochs": 16, "batch_size": 1024}
        return cls(**{**recipe, **changes})


def prepare(config: Config) -> Prepared:
    """Load and check the corpus, and compute its spectrograms once; both are kept for the next call.

    Raises
    ------
    ManifestError
        When clips are shorter than one window, labels are no numbers, or speakers cross parts; it names them.
    """
    return prepare_spectrograms(**{name: getattr(config, name) for name in (*_SPECTROGRAM, "device")})


def build_model(config: Config, clock: FrameClock) -> Seq2SeqAutoencoder:
    """The network of a configuration, with weights drawn from the global generator."""
    return Seq2SeqAutoencoder(
        config.network,
        config.n_mels,
        config.units,
        cell=config.cell,
        map=partial(entmax, alpha=MECHANISMS[config.attention].alpha),
        mechanism=config.attention,
        dropout=config.dropout,
        variant=config.variant,
        clock=clock,
    )


def autoencode(config: Config, root: str | Path = "runs") -> Run:
    """Train an autoencoder to rebuild the training clips and keep the features of all clips, as ``features.nc``.

    The epoch is the one that rebuilds the development clips best. The same run is read back instead of made again,
    whatever the regression that it is made for; an interrupted one continues where it was.

    Parameters
    ----------
    config
        What to train; the fields of the regression do not matter.
    root
        Directory of all runs; this one goes to ``<root>/sleepiness/<key>/``. Its predictions hold how well each clip
        is rebuilt: ``loss`` with the true frames given, ``free_loss`` when the decoder runs freely.

    Raises
    ------
    ConfigError, ManifestError, AudioError, RunError
        When the configuration, the corpus, a sound or the run directory cannot be used.
    """
    settings = {name: value for name, value in dataclasses.asdict(config).items() if name not in _REGRESSION}
    directory, device = _open(settings, config, root)
    return make_once(directory, lambda: _train(config, directory, device))


def _train(config: Config, directory: RunDirectory, device: torch.device) -> Run:
    prepared = prepare(config)

    def loader(rows: NDArray[np.int64], *, shuffle: bool = False) -> BatchLoader:
        return BatchLoader(prepared.store, prepared.values, rows, config.batch_size, shuffle, config.seed, device)

    torch.manual_seed(config.seed)
    model = build_model(config, prepared.clock)
    rebuilding = Rebuilding(prepared.scaling(config.threshold, config.level), config.loss, config.sampling)
    devel = loader(prepared.split.valid)
    fit(
        model,
        torch.optim.Adam(model.parameters(), lr=config.learning_rate),
        Constant(config.learning_rate),
        loader(prepared.split.train, shuffle=True),
        rebuilding,
        lambda network: rebuilding.validate(network, devel),
        TrainingSettings(config.epochs, "loss", config.gradient_clip, precision=config.precision),
        directory,
        device=device,
        describe=lambda batch: ", ".join(prepared.manifest.ids[int(i)] for i in batch.indices),
        illustrate=rebuilding.illustrate(devel),
    )
    features, losses = extract(model, loader(np.arange(len(prepared.manifest))), rebuilding)
    table = prepared.table(features)
    write_features(table, directory.path / FEATURES)
    shown = prepared.split.test[:N_ALIGNMENTS]
    record = record_alignments(model, loader(shown), rebuilding)
    if not record.is_empty:
        export.save_npz(record.named(prepared.manifest.ids[i] for i in shown), directory.path / "attention.npz")
    clips = {"clip": table.ids, "split": table.splits, "label": table.labels, "predicted": ""}
    directory.write_table("predictions.csv", pd.DataFrame(clips | {"loss": losses[:, 0], "free_loss": losses[:, 1]}))
    rebuilt = {}
    for part, rows in prepared.parts.items():
        rebuilt[f"{part}_loss"], rebuilt[f"{part}_free_loss"] = losses[rows].mean(axis=0).tolist()
    sizes = {"n_features": model.n_features, "n_parameters": sum(p.numel() for p in model.parameters())}
    directory.write_json("metrics.json", rebuilt | sizes)
    return Run.load(directory.path)


def features_of(run: Run) -> FeatureTable:
    """The features that a trained autoencoder gives the clips of its corpus.

    Raises
    ------
    RunError
        When the run is no autoencoder's.
    """
    if not (run.path / FEATURES).is_file():
        raise RunError(f"{run.path}: has no {FEATURES}; it is not the run of an autoencoder, make one with autoencode")
    return read_features(run.path / FEATURES)


def regress(config: Config, encoders: Sequence[Run], root: str | Path = "runs") -> Run:
    """Predict the labels from the features of one autoencoder, or of several, joined by clip.

    The complexity is chosen on the development clips, then the regression is fitted on these and the training clips.
    Predictions of the development clips are those of the regression that has not seen them.

    Parameters
    ----------
    config
        Corpus and regression.
    encoders
        Runs of :func:`autoencode`, at least one; several are fused.
    root
        Directory of all runs.

    Raises
    ------
    FeatureTableError
        When the features are of other clips; the message names them.
    """
    if not encoders:
        raise ConfigError("encoders is empty; give at least one run of autoencode")
    tables = {f"{run.config['network']}_{run.key[:8]}": features_of(run) for run in encoders}
    table = fuse(tables) if len(tables) > 1 else next(iter(tables.values()))
    name = encoders[0].config["network"] if len(encoders) == 1 else FUSION
    return _regress(name, config, table, [run.key for run in encoders], root)


def baseline(config: Config, root: str | Path = "runs") -> Run:
    """The linear baseline: ridge regression on mean and deviation over time of each mel band, in decibels."""
    prepared = prepare(config)
    batches = BatchLoader(
        prepared.store, prepared.values, np.arange(len(prepared.manifest)), config.batch_size, shuffle=False
    )
    features = np.concatenate([summary_features(b.features, b.lengths).numpy() for b in batches.epoch(0)])
    ridge = dataclasses.replace(config, regressor="ridge")
    return _regress(BASELINE, ridge, prepared.table(features), [], root)


def _regress(name: str, config: Config, table: FeatureTable, encoders: Sequence[str], root: str | Path) -> Run:
    settings = {"system": name, "encoders": list(encoders), "seed": config.seed}
    settings |= {field: getattr(config, field) for field in (*_SPECTROGRAM, *_REGRESSION)}
    directory, _ = _open(settings, config, root)
    with exclusive(directory.path / ".lock"):
        if not directory.is_complete:
            regressor: Any = config.regressor
            table = table.select(prepare(config).manifest.ids)
            predictions, metrics = regress_features(table, model=regressor, max_iter=config.max_iter, seed=config.seed)
            directory.write_table("predictions.csv", predictions)
            directory.write_json("metrics.json", metrics)
        return Run.load(directory.path)


def run(config: Config, root: str | Path = "runs") -> Run:
    """Train one autoencoder, and predict the labels from its features: :func:`autoencode`, then :func:`regress`."""
    return regress(config, [autoencode(config, root)], root)


def study(
    config: Config,
    networks: str | Iterable[str] = "attention_bi_bi_hidden, seq2seq_bi_bi_fc",
    seeds: str | int | Iterable[Any] = "0",
    root: str | Path = "runs",
) -> RegressionStudy:
    """Several networks over seeds, their fusion, the linear baseline and chance; what exists already is read back.

    Parameters
    ----------
    config
        Everything but ``network`` and ``seed``.
    networks
        Names out of :data:`~audioattn_lib.models.seq2seq.NETWORKS`: a list, or joined by commas, or ``"all"``.
        Several are fused.
    seeds
        Whole numbers from 0, in the same way.
    root
        Directory of all runs.
    """
    names = choose(networks, tuple(NETWORKS), "network")
    numbers = _whole_numbers(seeds)
    configs = [dataclasses.replace(config, network=name, seed=seed) for seed in numbers for name in names]
    encoders: dict[tuple[str, int], Run] = {}
    with Progress("networks", len(configs)) as progress:
        for one in configs:
            encoders[one.network, one.seed] = autoencode(one, root)
            progress.advance(network=one.network, seed=one.seed)
    runs = [regress(one, [encoders[one.network, one.seed]], root) for one in configs]
    if len(names) > 1:
        for seed in numbers:
            fused = [encoders[name, seed] for name in names]
            runs.append(regress(dataclasses.replace(config, seed=seed), fused, root))
    prepared = prepare(config)
    groups = dict(zip(prepared.manifest.ids, prepared.groups, strict=True))
    titles = {name: network.title for name, network in NETWORKS.items()}
    return RegressionStudy(tuple(runs), baseline(config, root), tuple(encoders.values()), groups, titles)


def load_model(run: Run) -> Seq2SeqAutoencoder:
    """The trained network of a run of :func:`autoencode`, in evaluation mode on the CPU.

    Raises
    ------
    RunError
        When the run has no trained weights, or those of another network.
    """
    config = _config_of(run)
    model = build_model(config, prepare(config).clock)
    load_best(run.path / "checkpoint", model)
    return model.eval()


@torch.no_grad()
def rebuild(run: Run, clip: Clip) -> dict[str, NDArray[np.float32]]:
    """One clip, what an autoencoder makes of it with the true frames given, and what it makes freely.

    All in decibels below the loudest value that its scaling knows, shape ``(frames, bands)``.
    """
    config, model = _config_of(run), load_model(run)
    scaling = prepare(config).scaling(config.threshold, config.level)
    frames = scaling(torch.as_tensor(clip.features)[None])
    made = {
        "input": frames,
        "given the true frames": model(frames)[0],
        "running freely": model(frames, sampling=1.0)[0],
    }
    return {name: ((values[0] - 1) / 2 * config.threshold).numpy() for name, values in made.items()}


def _config_of(run: Run) -> Config:
    if "network" not in run.config:
        raise RunError(f"{run.path}: is not the run of an autoencoder; make one with autoencode")
    return Config(**run.config)


def _whole_numbers(given: str | int | Iterable[Any]) -> list[int]:
    parts = given.split(",") if isinstance(given, str) else [given] if isinstance(given, int) else list(given)
    try:
        return [int(part) for part in parts]
    except (TypeError, ValueError):
        raise ConfigError(f"seeds is {given!r}; it must be whole numbers from 0, joined by commas") from None


def _open(settings: Mapping[str, Any], config: Config, root: str | Path) -> tuple[RunDirectory, torch.device]:
    """The directory of the run with these settings, and its device."""
    device = select_device(config.device)
    return open_directory(__name__, NAME, settings, prepare(config).data_hash, str(device), root), device
