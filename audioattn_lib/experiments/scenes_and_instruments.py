"""Scenes and instruments: does attention that keeps frequencies apart survive a device it never heard?

One :class:`Config` is one network; :func:`run` trains it and tests it on every
test set of the corpus, in and out of the domains of training; :func:`study`
compares patterns of attention with and without centring of the bands, over
seeds, beside a linear baseline and chance. The best epoch is chosen on the
development set, whose domains are those of training.

Book page: ``scenes_and_instruments``.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from ..attention import export
from ..attention.patterns import parse_patterns
from ..attention.record import AttentionRecord
from ..audio.augmentation import mask_features
from ..audio.features import LogMel
from ..audio.mixing import mix_band_statistics, mix_clips
from ..data.files import cache_directory
from ..data.loading import BatchLoader
from ..data.splits import Split, fold_names, leave_domain_out, split_clips
from ..data.store import FeatureStore
from ..errors import ConfigError
from ..models.frequency_transformer import FrequencyTransformer
from ..models.input_scaling import CENTRINGS, BandScaling, Scaled
from ..models.mid_level_split import MidLevelSplit
from ..models.pretrained import load_pretrained
from ..models.transformer_layers import ARCHITECTURES, PRESETS
from ..training.averaging import AVERAGES, AveragedModel
from ..training.baseline import linear_baseline, summary_features
from ..training.checkpoint import load_best
from ..training.domains import domain_scores
from ..training.epoch_schedules import EpochCosine, EpochRamp
from ..training.loop import TrainingSettings, fit, select_device
from ..training.progress import Progress
from ..training.run_directory import Run, RunDirectory
from ..training.schedules import Cosine, Schedule
from .classification import classification_loss, predict, predictions_table, score_predictions, validate
from .corpus import Clip, PreparedCorpus, load_checked
from .directories import make_once, open_directory
from .domain_study import DomainStudy
from .fields import make_preset, require, require_choice
from .study import choose

__all__ = [
    "PATTERNS",
    "Config",
    "Prepared",
    "attention_layers",
    "baseline",
    "build_model",
    "load_model",
    "prepare",
    "run",
    "study",
]

log = logging.getLogger("audioattn")

NAME = "scenes_and_instruments"
PATTERNS = ("dense", "per_row", "row_overlap_2", "high_low", "sparse_row_2")
"""What the chapter compares."""
CNN = "mid_level_split"
"""The convolutional baseline, as a size of the network."""
SCHEDULES = ("cosine", "ramp", "published_ramp", "published_cosine")

_RECORDED = 64
"""Test clips whose maps of attention are kept: a record of all would be larger than the corpus."""


@dataclass(frozen=True)
class Config:
    """One network on all test sets of a corpus. Unknown or impossible values are errors that name the field."""

    data: str = field(default="orchestra", metadata={"help": "corpus: orchestra, or a folder with recordings"})
    pattern: str = field(default="dense", metadata={"help": "attention pattern, or one for each layer with commas"})
    centring: str = field(default="none", metadata={"help": "of the bands: none, corpus, clip or clip_scaled"})
    size: str = field(
        default="tiny", metadata={"help": "tiny, small, published, a published architecture, or mid_level_split (CNN)"}
    )
    held_out: str = field(default="", metadata={"help": "domain to test on, all others train; empty: the splits"})
    seed: int = field(default=0, metadata={"help": "seed of weights, batches and augmentation, from 0"})
    sample_rate: int = field(default=16000, metadata={"help": "hertz; sounds are resampled on loading"})
    n_mels: int = field(default=64, metadata={"help": "mel bands"})
    hop: float = field(default=0.02, metadata={"help": "seconds from one frame to the next; windows are twice as long"})
    n_global: int = field(default=2, metadata={"help": "global tokens, an even number"})
    patchout: int = field(default=0, metadata={"help": "patches left out in training"})
    patchout_time: int = field(default=0, metadata={"help": "columns of patches left out in training"})
    patchout_frequency: int = field(default=0, metadata={"help": "rows of patches left out in training"})
    dropout: float = field(default=0.0, metadata={"help": "of what each layer adds, in [0, 1)"})
    pretrained: str = field(default="", metadata={"help": "file of published weights; empty: none"})
    mixup: float = field(default=0.0, metadata={"help": "alpha of MixUp, 0 for none"})
    mixstyle: float = field(default=0.0, metadata={"help": "share of batches with Freq-MixStyle, in [0, 1]"})
    time_mask: int = field(default=0, metadata={"help": "longest time mask in frames, 0 for none"})
    frequency_mask: int = field(default=0, metadata={"help": "widest frequency mask in bands, 0 for none"})
    epochs: int = field(default=15, metadata={"help": "passes over the training clips"})
    batch_size: int = field(default=32, metadata={"help": "clips a step"})
    lr: float = field(default=3e-3, metadata={"help": "highest learning rate"})
    schedule: str = field(
        default="cosine", metadata={"help": "cosine or ramp, fitted to the epochs; published_ramp or published_cosine"}
    )
    warm_up: int = field(default=5, metadata={"help": "published schedules: epochs of warm-up, or of a cycle"})
    ramp_down_start: int = field(default=50, metadata={"help": "published schedules: epochs before the end begins"})
    ramp_down_length: int = field(default=50, metadata={"help": "published_ramp: epochs of the way down"})
    weight_decay: float = field(default=1e-2, metadata={"help": "of AdamW"})
    gradient_clip: float = field(default=1.0, metadata={"help": "largest norm of the gradient"})
    average: str = field(default="none", metadata={"help": "of weights, used in evaluation: none, swa or ema"})
    monitor: str = field(default="loss", metadata={"help": "development score of the best epoch: error or loss"})
    device: str = field(default="auto", metadata={"help": "auto, cpu or cuda"})
    precision: str = field(default="auto", metadata={"help": "auto (bfloat16 on CUDA), float32 or bfloat16"})
    skip_bad_clips: bool = field(default=False, metadata={"help": "leave out clips that fail the check, and say which"})

    def __post_init__(self) -> None:
        for name, values in {
            "size": (*PRESETS, *ARCHITECTURES, CNN),
            "centring": CENTRINGS,
            "schedule": SCHEDULES,
            "average": AVERAGES,
            "monitor": ("error", "loss"),
            "device": ("auto", "cpu", "cuda"),
            "precision": ("auto", "float32", "bfloat16"),
        }.items():
            require_choice(self, name, values)
        if self.size == CNN:
            require(self, "pattern", self.pattern == "dense", f"'dense' for {CNN}, which attends to nothing")
            require(self, "pretrained", not self.pretrained, f"empty for {CNN}")
        else:
            parse_patterns(self.pattern, PRESETS[self.size if self.size in PRESETS else "published"].depth)
        for name in ("n_mels", "epochs", "batch_size", "ramp_down_length", "warm_up", "ramp_down_start"):
            require(self, name, getattr(self, name) >= 1, "at least 1")
        for name in ("seed", "patchout", "patchout_time", "patchout_frequency", "time_mask", "frequency_mask"):
            require(self, name, getattr(self, name) >= 0, "at least 0")
        for name in ("hop", "lr", "gradient_clip"):
            require(self, name, getattr(self, name) > 0, "above 0")
        require(self, "n_global", self.n_global >= 2 and self.n_global % 2 == 0, "an even number, at least 2")
        require(self, "sample_rate", self.sample_rate >= 1000, "at least 1000 hertz")
        require(self, "dropout", 0 <= self.dropout < 1, "in [0, 1)")
        require(self, "mixstyle", 0 <= self.mixstyle <= 1, "in [0, 1]")
        for name in ("mixup", "weight_decay"):
            require(self, name, getattr(self, name) >= 0, "at least 0")

    @classmethod
    def preset(cls, name: str, **changes: Any) -> Config:
        """The preset ``"smoke"``, ``"default"`` or ``"paper"``, with some fields changed; None changes nothing."""
        presets = {"smoke": cls.smoke, "default": cls.default, "paper": cls.paper}
        return make_preset(cls, presets, name, changes)

    @classmethod
    def smoke(cls, **changes: Any) -> Config:
        """Seconds on a CPU: a tiny synthetic orchestra, one epoch; for tests."""
        return cls(**{"data": "orchestra?clips_per_class=8", "epochs": 1, **changes})

    @classmethod
    def default(cls, **changes: Any) -> Config:
        """Seconds a network on two CPU cores: what the book shows when nothing else is there."""
        return cls(**changes)

    @classmethod
    def paper(cls, **changes: Any) -> Config:
        """The published settings for scenes, on TAU Urban Acoustic Scenes 2020 Mobile; give ``pretrained`` as well."""
        settings: dict[str, Any] = {
            "data": "tau_urban",
            "size": "published",
            "pattern": "row_overlap_8",
            "sample_rate": 32000,
            "n_mels": 128,
            "hop": 0.01,
            "mixup": 0.3,
            "time_mask": 80,
            "frequency_mask": 48,
            "epochs": 10,
            "batch_size": 64,
            "lr": 1e-5,
            "schedule": "published_ramp",
            "weight_decay": 1e-4,
            "average": "swa",
        }
        return cls(**{**settings, **changes})


@dataclass(frozen=True)
class Prepared(PreparedCorpus):
    """A corpus ready for training.

    Parameters
    ----------
    targets
        Index of the class of each clip.
    split
        Rows that train, develop and test; all test sets together.
    tests
        Name of the test set of each clip, empty where it is in none.
    domains
        Domain of each clip, empty where the corpus names none.
    """

    targets: Tensor
    split: Split
    tests: NDArray[np.str_]
    domains: NDArray[np.str_]

    def describe(self) -> str:
        """The corpus in two sentences."""
        manifest = self.manifest
        minutes = float(np.sum(manifest.durations)) / 60
        counts = ", ".join(f"{int((self.tests == name).sum())} {name}" for name in sorted(set(self.tests) - {""}))
        text = f"**{manifest.name}**: {len(manifest)} clips, {minutes:.0f} minutes, {len(manifest.classes)} classes; "
        text += f"{len(self.split.train)} train, {len(self.split.valid)} develop, {counts}."
        if manifest.name == "orchestra":
            text += " Every sound is synthetic, made by this library, and so are the devices that record it."
        return text


def prepare(config: Config) -> Prepared:
    """Load and check the corpus, and compute its features once; both are kept for the next call."""
    names = ("data", "held_out", "sample_rate", "n_mels", "hop", "skip_bad_clips", "device", "seed")
    values = {name: getattr(config, name) for name in names}
    return _prepare(**{**values, "seed": 0})  # the clips that develop are the same for all seeds


@lru_cache(maxsize=4)
def _prepare(
    data: str,
    held_out: str,
    sample_rate: int,
    n_mels: int,
    hop: float,
    skip_bad_clips: bool,
    device: str,
    seed: int,
) -> Prepared:
    manifest = load_checked(data, skip_bad_clips=skip_bad_clips)
    if manifest.kind != "class":
        raise ConfigError(f"data is {data!r}, whose labels are {manifest.kind}; this experiment needs one class a clip")
    table = manifest.table
    tests = np.full(len(manifest), "", dtype=object)
    if held_out:
        split = leave_domain_out(manifest, held_out, seed)
        tests[split.test] = f"test_{held_out}"
    else:
        parts = {name: split_clips(manifest, name, seed=seed) for name in fold_names(manifest)}
        parts = parts if "split" in table and "fold" not in table else dict(list(parts.items())[:1])
        for name, part in parts.items():
            tests[part.test] = name if name.startswith("test") else f"test_{name}"
        first = next(iter(parts.values()))
        split = Split(first.train, first.valid, np.flatnonzero(tests != ""))
    domains = np.asarray(table["domain"] if "domain" in table else [""] * len(table), dtype=np.str_)
    front_end = LogMel(
        sample_rate,
        n_fft=round(2 * hop * sample_rate),
        hop_length=round(hop * sample_rate),
        n_mels=n_mels,
        top_db=None,
    )
    store = FeatureStore.build(manifest, front_end, cache_directory() / "features", device=select_device(device))
    targets = torch.as_tensor(np.asarray(manifest.label_indices()))
    return Prepared(manifest, store, front_end, manifest.content_hash(), targets, split, tests.astype(np.str_), domains)


def build_model(config: Config, prepared: Prepared) -> nn.Module:
    """The network of a configuration behind its scaling, with weights drawn from the global generator."""
    classes = len(prepared.manifest.classes)
    network: nn.Module
    if config.size == CNN:
        network = MidLevelSplit(config.n_mels, classes, channels=8 if config.n_mels <= 64 else 48)
    else:
        network = FrequencyTransformer.preset(
            config.size,
            config.n_mels,
            classes,
            max_frames=int(prepared.store.n_frames.max()),
            pattern=config.pattern,
            n_global=config.n_global,
            patchout=config.patchout,
            patchout_time=config.patchout_time,
            patchout_frequency=config.patchout_frequency,
            dropout=config.dropout,
            clock=prepared.clock,
            frequencies=prepared.front_end.frequencies.cpu().numpy(),
        )
        if config.pretrained:
            load_pretrained(network, config.pretrained)
    return Scaled(BandScaling(config.n_mels, config.centring), network)


def run(config: Config, root: str | Path = "runs") -> Run:
    """Train one network and test it on every test set; the same run is read back instead of made again.

    Parameters
    ----------
    config
        What to run.
    root
        Directory of all runs; this one goes to ``<root>/scenes_and_instruments/<key>/``.

    Raises
    ------
    ConfigError, ManifestError, AudioError, RunError
        When the configuration, the corpus, a sound or the run directory cannot be used.
    """
    prepared = prepare(config)
    device = select_device(config.device)
    settings = dataclasses.asdict(config)
    directory = open_directory(__name__, NAME, settings, prepared.data_hash, str(device), root)
    return make_once(directory, lambda: _train(config, prepared, directory, device))


def _train(config: Config, prepared: Prepared, directory: RunDirectory, device: torch.device) -> Run:
    split = prepared.split
    torch.manual_seed(config.seed)
    scaled = build_model(config, prepared)
    scaled.scaling.fit([prepared.store[int(row)] for row in split.train])  # type: ignore[union-attr,operator]
    train = _loader(prepared, split.train, config, device, shuffle=True)
    valid = _loader(prepared, split.valid, config, device)
    model = _averaged(scaled, config, len(train))

    def evaluate(network: nn.Module) -> dict[str, float]:
        scores = validate(network, valid)
        if isinstance(network, AveragedModel):
            scores |= {f"live_{name}": value for name, value in validate(network.network, valid).items()}
        return scores

    fit(
        model,
        torch.optim.AdamW(
            [p for p in model.parameters() if p.requires_grad], lr=config.lr, weight_decay=config.weight_decay
        ),
        _schedule(config, len(train)),
        train,
        lambda network, batch: _loss(network, batch, config),
        evaluate,
        TrainingSettings(config.epochs, config.monitor, config.gradient_clip, precision=config.precision),
        directory,
        device=device,
        describe=lambda batch: ", ".join(prepared.manifest.ids[int(i)] for i in batch.indices),
    )
    chosen = split.test[:: max(len(split.test) // _RECORDED, 1)][:_RECORDED]
    logits = _logits(model, prepared, split.test, config, device)
    record = predict(model, _loader(prepared, chosen, config, device))[1]
    if not record.is_empty:
        export.save_npz(record.named(prepared.manifest.ids[i] for i in chosen), directory.path / "attention.npz")
    count = sum(p.numel() for p in scaled.parameters())
    return _finish(directory, prepared, logits, {"n_parameters": count})


def baseline(config: Config, root: str | Path = "runs") -> Run:
    """The linear baseline on the same clips: logistic regression on mean and deviation of each band after centring.

    Its strength of regularisation is chosen on the development clips.
    """
    prepared = prepare(config)
    shared = ("data", "held_out", "centring", "sample_rate", "n_mels", "hop", "skip_bad_clips", "batch_size")
    settings = {"baseline": "linear", **{name: getattr(config, name) for name in shared}}
    device = select_device(config.device)
    directory = open_directory(__name__, NAME, settings, prepared.data_hash, str(device), root)
    if directory.is_complete:
        return Run.load(directory.path)
    scaled = Scaled(BandScaling(config.n_mels, config.centring), nn.Identity())
    scaled.scaling.fit([prepared.store[int(row)] for row in prepared.split.train])
    scaled.to(device)
    inputs = []
    for rows in (prepared.split.train, prepared.split.valid, prepared.split.test):
        batches = _loader(prepared, rows, config, device).epoch(0)
        parts = [summary_features(scaled.scale(b.features, b.lengths), b.lengths).cpu().numpy() for b in batches]
        inputs.append(np.concatenate(parts))
    targets = prepared.targets.numpy()
    fitted = linear_baseline(
        inputs[0],
        targets[prepared.split.train],
        inputs[1],
        targets[prepared.split.valid],
        inputs[2],
        n_classes=len(prepared.manifest.classes),
    )
    return _finish(directory, prepared, torch.as_tensor(fitted.probabilities).clamp(min=1e-12).log().float(), {})


def study(
    config: Config,
    patterns: str | Iterable[str] = PATTERNS,
    centrings: str | Iterable[str] = ("none", "clip"),
    seeds: int | Iterable[int] = 3,
    root: str | Path = "runs",
) -> DomainStudy:
    """Every pattern with every centring and seed, and the linear baseline with each; what exists is read back.

    Parameters
    ----------
    config
        Everything but ``pattern``, ``centring`` and ``seed``.
    patterns
        Names of attention patterns: a list, or joined by commas.
    centrings
        Names out of :data:`~audioattn_lib.models.input_scaling.CENTRINGS`, in the same way.
    seeds
        How many from 0, or which.
    root
        Directory of all runs.
    """
    names = [name.strip() for name in patterns.split(",")] if isinstance(patterns, str) else list(patterns)
    chosen = choose(centrings, CENTRINGS, "centring")
    numbers = list(range(seeds)) if isinstance(seeds, int) else list(seeds)
    configs = [
        dataclasses.replace(config, pattern=name, centring=centring, seed=seed)
        for seed in numbers
        for centring in chosen
        for name in names
    ]
    prepared = prepare(config)
    baselines = [baseline(dataclasses.replace(config, centring=centring), root) for centring in chosen]
    runs = []
    with Progress("runs", len(configs)) as progress:
        for one in configs:
            runs.append(run(one, root))
            progress.advance(pattern=one.pattern, centring=one.centring, seed=one.seed)
    groups = dict(zip(prepared.manifest.ids, prepared.groups, strict=True))
    return DomainStudy(tuple(runs), tuple(baselines), groups)


def load_model(run: Run) -> Scaled:
    """The trained network of a run behind its scaling, in evaluation mode on the CPU."""
    config = Config(**run.config)
    prepared = prepare(config)
    scaled = build_model(dataclasses.replace(config, pretrained=""), prepared)
    model = _averaged(scaled, config, 1)
    load_best(run.path / "checkpoint", model)
    model.eval()
    found = model.current if isinstance(model, AveragedModel) else model
    assert isinstance(found, Scaled)
    return found.eval()


@torch.no_grad()
def attention_layers(run: Run, clip: Clip) -> tuple[dict[str, AttentionRecord], dict[str, list[str]]]:
    """What the global tokens read of one clip, layer by layer: a record for each combination of two sliders.

    The second slider is a head, the mean of all, or the roll-out through all layers up to this one. Returns the
    records by name and the values of the sliders, as :func:`audioattn_lib.display.player` takes them.
    """
    network = load_model(run)
    features = network.scale(torch.as_tensor(clip.features)[None])
    model = network.network
    if not isinstance(model, FrequencyTransformer):
        raise ConfigError(f"{CNN} attends to nothing; choose a run of a transformer")
    read, rolled = model(features, record=True)[1], model.rollout(features)
    assert read.maps is not None
    assert rolled.maps is not None
    depth, heads = read.maps.shape[1:3]
    ways = ["roll-out", "all heads", *(f"head {head + 1}" for head in range(heads))]
    records = {}
    for layer in range(depth):
        own = read.maps[:, layer : layer + 1]
        parts = [rolled.maps[:, layer : layer + 1], own.mean(axis=2, keepdims=True)]
        parts += [own[:, :, head : head + 1] for head in range(heads)]
        for way, maps in zip(ways, parts, strict=True):
            name = f"layer {layer + 1}, {way}"
            records[name] = dataclasses.replace(read, mechanism=name, maps=maps)
    return records, {"Layer": [str(layer + 1) for layer in range(depth)], "What": ways}


def _averaged(scaled: nn.Module, config: Config, steps: int) -> nn.Module:
    if config.average == "none":
        return scaled
    if config.average == "swa":  # as published: at the start of every epoch from the second on
        return AveragedModel(scaled, "swa", start=steps, every=steps)
    return AveragedModel(scaled, "ema", start=1, decay=0.99 if config.size == "tiny" else 0.999)


def _schedule(config: Config, steps: int) -> Schedule:
    total = config.epochs * steps
    if config.schedule == "cosine":
        return Cosine(config.lr, total, warmup_steps=total // 10)
    if config.schedule == "ramp":
        return EpochRamp.fitted(config.lr, steps, config.epochs)
    if config.schedule == "published_cosine":
        return EpochCosine(config.lr, steps, config.warm_up, config.ramp_down_start)
    return EpochRamp(config.lr, steps, config.warm_up, config.ramp_down_start, config.ramp_down_length)


def _loss(network: nn.Module, batch: Any, config: Config) -> tuple[Tensor, Tensor]:
    if isinstance(network, AveragedModel):
        network.update()
    features, chance = batch.features, torch.default_generator
    if config.mixstyle:
        features = mix_band_statistics(features, batch.lengths, probability=config.mixstyle, generator=chance)
    if config.time_mask or config.frequency_mask:
        features = mask_features(
            features,
            batch.lengths,
            time_masks=1,
            time_width=config.time_mask,
            time_share=1.0,
            band_masks=1,
            band_width=config.frequency_mask,
            generator=chance,
        )
    if not config.mixup:
        return classification_loss(network(features, batch.lengths)[0], batch.targets)
    mixed = mix_clips(features, config.mixup, generator=chance)
    lengths = torch.maximum(batch.lengths, batch.lengths[mixed.partner])
    logits = network(mixed.features, lengths)[0].float()
    own = F.cross_entropy(logits, batch.targets, reduction="none")
    other = F.cross_entropy(logits, batch.targets[mixed.partner], reduction="none")
    loss = (mixed.share * own + (1 - mixed.share) * other).mean()
    return loss, (logits.argmax(dim=1) == batch.targets).sum()


def _loader(
    prepared: Prepared, rows: NDArray[np.int64], config: Config, device: torch.device, *, shuffle: bool = False
) -> BatchLoader:
    return BatchLoader(
        prepared.store,
        prepared.targets,
        rows,
        batch_size=config.batch_size,
        shuffle=shuffle,
        seed=config.seed,
        device=device,
    )


@torch.no_grad()
def _logits(
    model: nn.Module, prepared: Prepared, rows: NDArray[np.int64], config: Config, device: torch.device
) -> Tensor:
    model.eval()
    batches = _loader(prepared, rows, config, device).epoch(0)
    return torch.cat([model(batch.features, batch.lengths)[0].float().cpu() for batch in batches])


def _finish(directory: RunDirectory, prepared: Prepared, logits: Tensor, more: Mapping[str, Any]) -> Run:
    """Write predictions, then scores: the scores last, for they say that the run is done."""
    rows = prepared.split.test
    targets, groups = prepared.targets[rows], prepared.groups[rows]
    table = predictions_table(prepared.manifest, rows, logits, targets)
    trained = set(prepared.domains[prepared.split.train])
    table["split"] = prepared.tests[rows]
    table["domain"] = prepared.domains[rows]
    table["domain_seen"] = [domain in trained for domain in prepared.domains[rows]]
    directory.write_table("predictions.csv", table)
    right = (table["label"] == table["predicted"]).to_numpy(np.float64)
    by_test = domain_scores(right, table["split"], table["domain_seen"], groups=groups)
    by_domain = domain_scores(right, table["domain"], table["domain_seen"], groups=groups)
    scores = score_predictions(prepared.manifest.classes, logits, targets, groups)
    found = {"tests": by_test.to_dict(orient="index"), "domains": by_domain.to_dict(orient="index")}
    directory.write_json("metrics.json", {**scores, **found, **more})
    return Run.load(directory.path)
