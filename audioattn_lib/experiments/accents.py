"""Accents and speakers: which pooling of an utterance tells how, and who, somebody speaks?

One :class:`Config` is one network on one test fold; :func:`run` trains it, or
reads it back when the same run exists; :func:`study` compares poolings over
folds beside a linear baseline and chance. The embeddings of the test clips are
kept: trials of speakers are scored with them, though nothing was trained on who
speaks unless ``target`` says so.

Network and settings are those of India, Safari and Hernando, *Double multi-head
attention for speaker verification*, ICASSP 2021, and of the accent system built
from it, where they are sound.

Book page: ``accents``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..attention import export
from ..attention.multi_head_pooling import SCALES
from ..attention.record import AttentionRecord, FrameClock
from ..attention.variants import VARIANTS
from ..audio.augmentation import mask_features
from ..audio.features import LogMel
from ..audio.magnitude_mel import MagnitudeMel
from ..data.files import cache_directory
from ..data.loading import BatchLoader
from ..data.manifest import Manifest
from ..data.splits import Split, check_groups, fold_names, split_clips
from ..data.store import FeatureStore
from ..data.windows import WindowLoader
from ..errors import ConfigError, ManifestError
from ..models.embedding import FRONT_ENDS, EmbeddingLayers, EmbeddingNetwork, build_front_end
from ..models.margin import LOSSES, build_classifier
from ..models.utterance_pooling import POOLINGS, build_utterance_pooling
from ..training.baseline import linear_baseline, summary_features
from ..training.checkpoint import load_best
from ..training.loop import TrainingSettings, fit, select_device
from ..training.progress import Progress
from ..training.rejection import rejection_metrics, rejection_threshold
from ..training.run_directory import Run, RunDirectory
from ..training.schedules import Constant, Cosine, Schedule
from .classification import predictions_table, score_predictions, validate
from .corpus import PreparedCorpus, checked, load_corpus
from .directories import make_once, open_directory
from .fields import make_preset, require, require_choice
from .study import Study, choose
from .utterances import Normalised, NormalisedSample
from .verification import list_trials, save_embeddings, verify

__all__ = ["Config", "Prepared", "baseline", "build_model", "load_model", "prepare", "run", "study"]

NAME = "accents"
OPTIMIZERS = {"adam": torch.optim.Adam, "sgd": torch.optim.SGD, "rmsprop": torch.optim.RMSprop}
"""Optimisers by name, as published."""
_CORPUS = ("data", "target", "closed_set", "unknown", "sample_rate", "n_mels", "features", "skip_bad_clips")


@dataclass(frozen=True)
class Config:
    """One network on one test fold. Unknown or impossible values are errors that name the field."""

    data: str = field(default="accents", metadata={"help": "corpus: accents, or a folder with recordings"})
    target: str = field(default="label", metadata={"help": "column to predict: label, accent, speaker, ..."})
    closed_set: bool = field(
        default=False, metadata={"help": "allow the same speakers in training and test, and say so in the results"}
    )
    unknown: str = field(default="", metadata={"help": "a class that training never hears and that must be rejected"})
    trials: str = field(
        default="", metadata={"help": "list of VoxCeleb trials, or clients,impostors; empty: all pairs of test clips"}
    )
    pooling: str = field(default="double_multi_head", metadata={"help": "pooling of the frames of an utterance"})
    attention: str = field(default="softmax", metadata={"help": "map or density of poolings that attend"})
    heads: int = field(default=32, metadata={"help": "heads of the poolings that have them"})
    head_scale: str = field(
        default="heads", metadata={"help": "scores are divided by the root of: heads (published code), or dim"}
    )
    head_dropout: float = field(default=0.3, metadata={"help": "probability that a head is left out in training"})
    n_queries: int = field(default=2, metadata={"help": "queries of each head of multi_query"})
    front_end: str = field(default="vgg4l", metadata={"help": "vgg3l, vgg4l (published) or resnet34"})
    channels: int = field(default=1024, metadata={"help": "of the last VGG block, or of the first of ResNet34"})
    embedding_size: int = field(default=400, metadata={"help": "width of the embedding"})
    normalise_context: bool = field(
        default=False,
        metadata={"help": "normalise what the pooling gives over the batch; not so in the published code"},
    )
    loss: str = field(default="am_softmax", metadata={"help": "am_softmax (published), aam_softmax, softmax or focal"})
    margin: float = field(default=0.4, metadata={"help": "of the right class, in cosine (am) or radians (aam)"})
    scale: float = field(default=30.0, metadata={"help": "largest logit of the margin losses"})
    annealing: bool = field(default=False, metadata={"help": "let the margin of am_softmax grow, as published"})
    focus: float = field(default=2.0, metadata={"help": "of the focal loss, at least 0"})
    window: float = field(default=3.5, metadata={"help": "seconds cut out of an utterance to train on; 0 is all of it"})
    normalisation: str = field(default="cmn", metadata={"help": "of each band of an utterance: cmn, cmvn or none"})
    features: str = field(default="decibels", metadata={"help": "log-mel in decibels, or published magnitudes"})
    sample_rate: int = field(default=16000, metadata={"help": "hertz; sounds are resampled on loading"})
    n_mels: int = field(default=80, metadata={"help": "mel bands"})
    mask: bool = field(default=False, metadata={"help": "hide stretches of time and bands in training (SpecAugment)"})
    clips_per_speaker: int = field(default=0, metadata={"help": "most clips of a speaker in a class and epoch; 0: all"})
    balanced: bool = field(default=False, metadata={"help": "hear every class as often as any other"})
    fold: str = field(default="first", metadata={"help": "test fold or test split; first is the first there is"})
    protocol: str = field(
        default="nested", metadata={"help": "nested, or published: the best epoch is chosen on the test fold"}
    )
    seed: int = field(default=0, metadata={"help": "seed of weights, batches, windows and dropout, from 0"})
    epochs: int = field(default=100, metadata={"help": "most passes over the training clips"})
    patience: int = field(default=25, metadata={"help": "epochs without a better score until training stops"})
    plateau: int = field(default=15, metadata={"help": "epochs without a better score until the rate is halved"})
    batch_size: int = field(default=64, metadata={"help": "clips in a batch"})
    accumulation: int = field(default=2, metadata={"help": "batches in a step of the optimiser"})
    optimizer: str = field(default="adam", metadata={"help": "adam, sgd or rmsprop"})
    learning_rate: float = field(default=1e-4, metadata={"help": "at the start, above 0"})
    schedule: str = field(
        default="plateau", metadata={"help": "learning rate: plateau (published, halved there), or cosine to 0 besides"}
    )
    weight_decay: float = field(default=1e-3, metadata={"help": "of the optimiser, at least 0"})
    gradient_clip: float = field(default=5.0, metadata={"help": "largest norm of the gradient"})
    monitor: str = field(
        default="macro_f1", metadata={"help": "validation score of the best epoch: macro_f1 (published), error or loss"}
    )
    device: str = field(default="auto", metadata={"help": "auto, cpu or cuda"})
    precision: str = field(default="auto", metadata={"help": "auto (bfloat16 on CUDA), float32 or bfloat16"})
    skip_bad_clips: bool = field(default=False, metadata={"help": "leave out clips that fail the check, and say which"})

    def __post_init__(self) -> None:
        allowed = {
            "pooling": tuple(POOLINGS),
            "attention": tuple(VARIANTS),
            "head_scale": SCALES,
            "front_end": FRONT_ENDS,
            "loss": LOSSES,
            "normalisation": ("cmn", "cmvn", "none"),
            "features": ("decibels", "published"),
            "protocol": ("nested", "published"),
            "optimizer": tuple(OPTIMIZERS),
            "schedule": ("plateau", "cosine"),
            "monitor": ("macro_f1", "error", "loss"),
            "device": ("auto", "cpu", "cuda"),
            "precision": ("auto", "float32", "bfloat16"),
        }
        for name, values in allowed.items():
            require_choice(self, name, values)
        object.__setattr__(self, "fold", str(self.fold))
        whole = ("heads", "n_queries", "channels", "embedding_size", "n_mels", "epochs", "plateau", "batch_size")
        for name in (*whole, "accumulation"):
            require(self, name, getattr(self, name) >= 1, "at least 1")
        for name in ("window", "patience", "clips_per_speaker", "weight_decay", "seed", "focus"):
            require(self, name, getattr(self, name) >= 0, "at least 0")
        for name in ("scale", "learning_rate", "gradient_clip"):
            require(self, name, getattr(self, name) > 0, "above 0")
        require(self, "sample_rate", self.sample_rate >= 1000, "at least 1000 hertz")
        require(self, "head_dropout", 0 <= self.head_dropout < 1, "in [0, 1)")
        require(self, "annealing", not self.annealing or self.loss == "am_softmax", "false but for am_softmax")
        build_classifier(self.loss, 1, 2, margin=self.margin, scale=self.scale, focus=self.focus)

    @classmethod
    def preset(cls, name: str, **changes: Any) -> Config:
        """The preset ``"smoke"``, ``"default"``, ``"paper"`` or ``"accent"``, with some fields changed.

        A corpus of ``None`` is the one of the preset.
        """
        presets = {"smoke": cls.smoke, "default": cls.default, "paper": cls.paper, "accent": cls.accent}
        return make_preset(cls, presets, name, changes)

    @classmethod
    def smoke(cls, **changes: Any) -> Config:
        """Seconds on a CPU: a few synthetic speakers, one epoch; for tests."""
        tiny = {"channels": 8, "n_mels": 16, "embedding_size": 8, "heads": 2, "epochs": 1, "window": 0.5}
        data = "accents?speakers_per_accent=3&clips_per_speaker=2&n_folds=3&duration=(1.0,1.2)"
        return cls(**{"data": data, **tiny, "batch_size": 16, "accumulation": 1, "learning_rate": 1e-3, **changes})

    @classmethod
    def default(cls, **changes: Any) -> Config:
        """Some ten seconds a network on two CPU cores: what the book shows when nothing else is there."""
        small = {"front_end": "vgg3l", "channels": 32, "n_mels": 40, "embedding_size": 64, "heads": 8, "window": 1.0}
        steps = {"epochs": 14, "batch_size": 16, "accumulation": 1, "learning_rate": 2e-3, "weight_decay": 1e-4}
        easier = {"margin": 0.2, "scale": 15.0, "head_dropout": 0.1, "normalise_context": True, "schedule": "cosine"}
        return cls(**{**small, **steps, **easier, "monitor": "loss", **changes})

    @classmethod
    def paper(cls, **changes: Any) -> Config:
        """The published speaker system: VGG4L-1024 and 32 heads of double attention, on VoxCeleb."""
        return cls(**{"data": "voxceleb", "features": "published", **changes})

    @classmethod
    def accent(cls, **changes: Any) -> Config:
        """The published accent system: windows of 0.2 s and a patience of 50, on Common Voice."""
        published = {"data": "ca", "features": "published", "window": 0.2, "patience": 50}
        return cls(**{**published, **changes})


@dataclass(frozen=True)
class Prepared(PreparedCorpus):
    """A corpus ready for training: class names, a class for each clip (-1 for the unknown one), and who speaks."""

    classes: tuple[str, ...]
    targets: Tensor
    speakers: NDArray[np.str_]
    closed_set: bool

    def describe(self) -> str:
        """The corpus in a few sentences."""
        minutes = float(np.sum(self.manifest.durations)) / 60
        text = f"**{self.manifest.name}**: {len(self.manifest)} clips, {minutes:.0f} minutes, "
        text += f"{len(self.classes)} classes, {len(np.unique(self.speakers))} speakers, "
        text += f"{len(fold_names(self.manifest))} test folds."
        if self.manifest.name == "accents":
            text += " Every voice is synthetic, made by this library, and the accents stand for no place."
        if self.closed_set:
            text += " Speakers of the test are heard in training too: a closed set."
        return text

    def sounds(self, names: Iterable[str]) -> dict[str, tuple[NDArray[np.float32], int]]:
        """Samples and rate of some clips by their name."""
        rows = {name: self.manifest.ids.index(name) for name in names}
        return {name: self.manifest.read_audio(row, self.front_end.sample_rate) for name, row in rows.items()}

    def split(self, config: Config) -> Split:
        """Rows that train, choose the epoch and test; of classes that are known."""
        split = split_clips(self.manifest, config.fold, config.protocol, config.seed)
        known = (self.targets >= 0).numpy()
        return Split(*(rows[known[rows]] for rows in (split.train, split.valid, split.test)))

    def unknown(self, config: Config) -> NDArray[np.int64]:
        """Rows of the test fold whose class is the unknown one."""
        rows = split_clips(self.manifest, config.fold, config.protocol, config.seed).test
        return rows[(self.targets < 0).numpy()[rows]]


def prepare(config: Config) -> Prepared:
    """Load and check the corpus, and compute its features once; both are kept for the next call.

    Raises
    ------
    ManifestError
        When clips are at fault, speakers cross splits, a class has one speaker, or a column is missing.
    """
    return _prepare(**{name: getattr(config, name) for name in (*_CORPUS, "device")})


@lru_cache(maxsize=4)
def _prepare(
    data: str,
    target: str,
    closed_set: bool,
    unknown: str,
    sample_rate: int,
    n_mels: int,
    features: str,
    skip_bad_clips: bool,
    device: str,
) -> Prepared:
    manifest = checked(_aim(load_corpus(data), target, closed_set), skip_bad_clips=skip_bad_clips)
    if not closed_set and target != "speaker":
        check_groups(manifest)
    classes = tuple(name for name in manifest.classes if name != unknown)
    if manifest.kind != "class" or len(classes) < 2:
        raise ManifestError(f"{manifest.name}: column {target} must hold one class a clip, of two or more classes")
    if unknown and len(classes) == len(manifest.classes):
        raise ConfigError(f"unknown is {unknown!r}; it must be one of {', '.join(manifest.classes)}, or empty")
    front_end = _front_end(features, sample_rate, n_mels)
    store = FeatureStore.build(manifest, front_end, cache_directory() / "features", device=select_device(device))
    position = {name: number for number, name in enumerate(classes)}
    table = manifest.table
    speakers = table["speaker"] if "speaker" in table else table["group"] if "group" in table else table["file_name"]
    targets = torch.tensor([position.get(label, -1) for label in table["label"]])
    names = np.asarray(speakers, dtype=np.str_)
    return Prepared(manifest, store, front_end, manifest.content_hash(), classes, targets, names, closed_set)


def _aim(manifest: Manifest, target: str, closed_set: bool) -> Manifest:
    """The corpus with the wanted column as label, and the speaker as what must not cross splits."""
    table = manifest.table
    if target not in table:
        raise ManifestError(f"{manifest.name}: no column {target!r} to predict; it has {', '.join(table)}")
    table = table.assign(label=table[target])
    if "vowel_labels" in table and "event_labels" not in table:
        table = table.assign(**{f"event_{part}": table[f"vowel_{part}"] for part in ("labels", "onsets", "offsets")})
    if closed_set:
        table = table.drop(columns=[name for name in ("group",) if name in table])
    elif "group" not in table and "speaker" in table:
        table = table.assign(group=table["speaker"])
    return dataclasses.replace(manifest, table=table)


def _front_end(features: str, sample_rate: int, n_mels: int) -> LogMel | MagnitudeMel:
    if features == "published":
        return MagnitudeMel(sample_rate, max(512, round(0.025 * sample_rate)), n_mels)
    n_fft, hop_length = round(0.025 * sample_rate), round(0.010 * sample_rate)
    return LogMel(sample_rate, n_fft, None, hop_length, n_mels, window="hamming", scale="slaney")


def build_model(config: Config, n_classes: int, clock: FrameClock) -> EmbeddingNetwork:
    """The network of a configuration, with weights drawn from the global generator."""
    front = build_front_end(config.front_end, config.n_mels, config.channels)
    pooling, width = build_utterance_pooling(
        config.pooling,
        front.out_features,
        heads=config.heads,
        attention=config.attention,
        scale=config.head_scale,
        head_dropout=config.head_dropout,
        n_queries=config.n_queries,
    )
    classifier = build_classifier(
        config.loss,
        config.embedding_size,
        n_classes,
        margin=config.margin,
        scale=config.scale,
        annealing=config.accumulation if config.annealing else 0,
        focus=config.focus,
    )
    layers = EmbeddingLayers(width, config.embedding_size, normalise_context=config.normalise_context)
    return EmbeddingNetwork(front, pooling, layers, classifier, clock=clock)


def run(config: Config, root: str | Path = "runs") -> Run:
    """Train one network on one fold and test it; the same run is read back instead of made again.

    Parameters
    ----------
    config
        What to run.
    root
        Directory of all runs; this one goes to ``<root>/accents/<key>/``.

    Raises
    ------
    ConfigError, ManifestError, AudioError, RunError
        When the configuration, the corpus, a sound or the run directory cannot be used.
    """
    prepared = prepare(config)
    config = _resolve_fold(config, prepared)
    directory, device = _open(dataclasses.asdict(config), prepared, config, root)
    return make_once(directory, lambda: _train(config, prepared, directory, device))


def _train(config: Config, prepared: Prepared, directory: RunDirectory, device: torch.device) -> Run:
    split = prepared.split(config)
    torch.manual_seed(config.seed)
    model = build_model(config, len(prepared.classes), prepared.clock)
    train, valid = _windows(prepared, split.train, config, device), _whole(prepared, split.valid, config, device)
    fit(
        model,
        OPTIMIZERS[config.optimizer](model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay),
        _schedule(config, -(-len(train) // config.accumulation)),
        train,
        _loss,
        lambda network: validate(network, valid),
        TrainingSettings(
            config.epochs,
            config.monitor,
            maximise=config.monitor == "macro_f1",
            gradient_clip=config.gradient_clip,
            patience=config.patience,
            plateau_patience=config.plateau,
            accumulation=config.accumulation,
            precision=config.precision,
        ),
        directory,
        device=device,
        describe=lambda batch: ", ".join(prepared.manifest.ids[int(i)] for i in batch.indices),
    )
    logits, embeddings, record = embed(model, _whole(prepared, split.test, config, device))
    record = record.named(prepared.manifest.ids[i] for i in split.test)
    export.save_npz(record, directory.path / "attention.npz")
    export.save_csv(record, directory.path / "attention.csv")
    more: dict[str, Any] = {"n_parameters": sum(p.numel() for p in model.parameters())}
    if config.unknown:
        others = _whole(prepared, prepared.unknown(config), config, device)
        more["rejection"] = _reject(
            embed(model, valid)[0], logits, prepared.targets[split.test], embed(model, others)[0]
        )
    return _finish(directory, prepared, split.test, logits, embeddings.numpy(), config, more)


def _schedule(config: Config, steps: int) -> Schedule:
    """Learning rate of each step; with ``steps`` an epoch."""
    if config.schedule == "plateau":
        return Constant(config.learning_rate)
    total = steps * config.epochs
    return Cosine(config.learning_rate, total, min(steps, total - 1))


def _loss(network: Any, batch: Any) -> tuple[Tensor, Tensor]:
    logits = network(batch.features, batch.lengths)[0]
    return network.classifier.loss(logits, batch.targets), (logits.argmax(dim=1) == batch.targets).sum()


@torch.no_grad()
def embed(network: EmbeddingNetwork, batches: Any) -> tuple[Tensor, Tensor, AttentionRecord]:
    """Logits, embeddings (both on the CPU) and what was attended to, in the order of the batches."""
    network.eval()
    logits, embeddings, records = [], [], []
    for batch in batches.epoch(0):
        found, record = network.embed(batch.features, batch.lengths, record=True)
        logits.append(network.classify(found).float().cpu())
        embeddings.append(found.float().cpu())
        records.append(record)
    return torch.cat(logits), torch.cat(embeddings), AttentionRecord.concatenate(records)


def _reject(valid: Tensor, known: Tensor, targets: Tensor, unknown: Tensor) -> dict[str, Any]:
    """Rejection of the unknown class by the highest probability; its threshold keeps 95 % of the validation clips."""
    sure = [logits.softmax(dim=1).amax(dim=1).numpy() for logits in (valid, known, unknown)]
    return rejection_metrics(sure[1], (known.argmax(1) == targets).numpy(), sure[2], rejection_threshold(sure[0]))


def baseline(config: Config, root: str | Path = "runs") -> Run:
    """The linear baseline on the same clips and folds: logistic regression on mean and deviation of each mel band.

    Its strength of regularisation is chosen on the validation clips. Its embeddings, for trials, are these
    statistics, standardised over the training clips.
    """
    prepared = prepare(config)
    config = _resolve_fold(config, prepared)
    shared = (*_CORPUS, "trials", "fold", "protocol", "seed", "batch_size")
    settings = {"baseline": "linear", **{name: getattr(config, name) for name in shared}}
    directory, device = _open(settings, prepared, config, root)
    if directory.is_complete:
        return Run.load(directory.path)
    split = prepared.split(config)
    inputs = []
    for rows in (split.train, split.valid, split.test):
        batches = BatchLoader(prepared.store, prepared.targets, rows, config.batch_size, False, device=device).epoch(0)
        inputs.append(np.concatenate([summary_features(b.features, b.lengths).cpu().numpy() for b in batches]))
    targets = prepared.targets.numpy()
    fitted = linear_baseline(
        inputs[0],
        targets[split.train],
        inputs[1],
        targets[split.valid],
        inputs[2],
        n_classes=len(prepared.classes),
    )
    logits = torch.as_tensor(fitted.probabilities).clamp(min=1e-12).log().float()
    deviation = np.maximum(inputs[0].std(axis=0), 1e-6)
    return _finish(
        directory, prepared, split.test, logits, (inputs[2] - inputs[0].mean(axis=0)) / deviation, config, {}
    )


def study(
    config: Config,
    poolings: str | Iterable[str] = "mean, statistics, self_attention, multi_head, double_multi_head",
    folds: str | Iterable[str] = "first",
    root: str | Path = "runs",
) -> Study:
    """Several poolings on several folds, with the linear baseline on each; what exists already is read back.

    Parameters
    ----------
    config
        Everything but ``pooling`` and ``fold``.
    poolings
        Names out of :data:`~audioattn_lib.models.utterance_pooling.POOLINGS`: a
        list, or joined by commas, or ``"all"``.
    folds
        Test folds, in the same way; ``"first"`` is the first there is.
    root
        Directory of all runs.
    """
    prepared = prepare(config)
    names = fold_names(prepared.manifest)
    folds = names[:1] if folds == "first" else choose(folds, names, "fold")
    poolings = choose(poolings, tuple(POOLINGS), "pooling")
    configs = [dataclasses.replace(config, pooling=name, fold=fold) for fold in folds for name in poolings]
    baselines = [baseline(dataclasses.replace(config, fold=fold), root) for fold in folds]
    runs = []
    with Progress("runs", len(configs)) as progress:
        for one in configs:
            runs.append(run(one, root))
            progress.advance(pooling=one.pooling, fold=one.fold)
    groups = dict(zip(prepared.manifest.ids, prepared.speakers, strict=True))
    titles = {name: pooling.title for name, pooling in POOLINGS.items()}
    return Study(tuple(runs), tuple(baselines), groups, by="pooling", titles=titles)


def load_model(run: Run) -> EmbeddingNetwork:
    """The trained network of a run, in evaluation mode on the CPU."""
    config = Config(**run.config)
    model = build_model(config, len(run.classes), prepare(config).clock)
    load_best(run.path / "checkpoint", model)
    return model.eval()


def _whole(prepared: Prepared, rows: NDArray[np.int64], config: Config, device: torch.device) -> BatchLoader:
    loader = Normalised(prepared.store, prepared.targets, rows, config.batch_size, False, config.seed, device)
    return loader.of(config.normalisation, decibels=config.features == "decibels")


def _windows(prepared: Prepared, rows: NDArray[np.int64], config: Config, device: torch.device) -> WindowLoader:
    loader = NormalisedSample(
        prepared.store,
        prepared.targets,
        rows,
        config.batch_size,
        config.seed,
        device,
        speakers=prepared.speakers,
        most=config.clips_per_speaker or None,
        is_balanced=config.balanced,
    ).of(config.normalisation, decibels=config.features == "decibels")
    window = round(config.window / prepared.clock.period) if config.window else None
    return WindowLoader(loader, None if window is None else max(1, window), mask_features if config.mask else None)


def _resolve_fold(config: Config, prepared: Prepared) -> Config:
    return dataclasses.replace(config, fold=fold_names(prepared.manifest)[0]) if config.fold == "first" else config


def _open(
    settings: Mapping[str, Any], prepared: Prepared, config: Config, root: str | Path
) -> tuple[RunDirectory, torch.device]:
    device = select_device(config.device)
    return open_directory(__name__, NAME, settings, prepared.data_hash, str(device), root), device


def _finish(
    directory: RunDirectory,
    prepared: Prepared,
    rows: NDArray[np.int64],
    logits: Tensor,
    embeddings: NDArray[np.floating[Any]],
    config: Config,
    more: Mapping[str, Any],
) -> Run:
    """Write embeddings and predictions, then scores: the scores last, for they say that the run is done."""
    targets, speakers = prepared.targets[rows], prepared.speakers[rows]
    clips = [prepared.manifest.ids[i] for i in rows]
    labels = [prepared.classes[int(i)] for i in targets]
    save_embeddings(directory, clips, cast("NDArray[np.float32]", embeddings), labels, speakers)
    table = predictions_table(prepared.manifest, rows, logits, targets, classes=prepared.classes)
    directory.write_table("predictions.csv", table)
    scores = score_predictions(prepared.classes, logits, targets, speakers)
    verified = verify(embeddings, list_trials(config.trials, clips, speakers, config.seed), config.seed)
    directory.write_json(
        "metrics.json", {**scores, "verification": verified, "closed_set": prepared.closed_set, **more}
    )
    return Run.load(directory.path)
