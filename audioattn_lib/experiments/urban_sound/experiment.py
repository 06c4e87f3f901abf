"""Urban sounds: which attention finds the event in a noisy street?

One :class:`Config` is one model on one test fold; :func:`run` trains it, or
reads it back when the same run exists; :func:`study` compares mechanisms over
folds beside a linear baseline and chance. The protocol and the settings are
those of Martins et al., *Sparse continuous distributions and Fenchel-Young
losses*, JMLR 2022, where they are sound, and options where they are not.

Book page: ``urban_sound``.
"""

from __future__ import annotations

import dataclasses
import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from audioattn_lib.attention.expectations.gaussian import GaussianBasis
from audioattn_lib.attention.expectations.value_function import ValueFunction, frame_centres
from audioattn_lib.attention.pooling.frames import ContinuousAttention
from audioattn_lib.attention.pooling.registry import VARIANTS, build_attention, from_published
from audioattn_lib.attention.record.record import FrameClock
from audioattn_lib.audio.features import LogMel
from audioattn_lib.data.files import cache_directory
from audioattn_lib.data.loading.batches import BatchLoader
from audioattn_lib.data.loading.store import FeatureStore
from audioattn_lib.data.splits import Split, choose_folds, fold_names, split_clips
from audioattn_lib.evaluation.baseline import linear_baseline, summary_features
from audioattn_lib.models.acrnn import ACRNN, NORMALISATIONS, PRESETS, CorpusNormalisation
from audioattn_lib.models.ecapa import ECAPATDNN
from audioattn_lib.models.layers.statistics_pooling import ContinuousStatisticsPooling, build_pooling
from audioattn_lib.training.checkpoint import load_best
from audioattn_lib.training.distributed import leave_to_main
from audioattn_lib.training.loop import fit, select_device
from audioattn_lib.training.run_directory import Run, RunDirectory
from audioattn_lib.training.schedules import triangular
from audioattn_lib.training.settings import TrainingSettings

from ..common.attention_files import keep_attention
from ..common.classification import (
    classification_loss,
    evidence,
    label_events,
    predict,
    predictions_table,
    score_predictions,
    validate,
)
from ..common.corpus import Clip, PreparedCorpus, load_checked
from ..common.fields import (
    WithPresets,
    check_declared,
    initial_part,
    initial_prefix,
    initial_weights,
    list_folds,
    name_folds,
    require,
    require_choice,
    require_device,
    require_initial,
    restore_config,
)
from ..common.initial_weights import describe_weights, hash_weights, keep_as_they_are, read_origin, start_from
from ..common.parallel import run_all
from ..common.runs import make_once, open_run, resolve_fold
from ..common.study import Study, choose

__all__ = [
    "ATTENTIONS",
    "CONTROL",
    "REFIT_WIDTHS",
    "Config",
    "baseline",
    "build_model",
    "load_model",
    "prepare",
    "run",
    "stages",
    "study",
]

log = logging.getLogger("audioattn")

NAME = "urban_sound"
CONTROL = "mean"
"""Equal weights for all frames: what a mechanism must beat to be worth its name."""
_OF_WEIGHTS = (
    *("attention", "sample_rate", "n_mels", "normalise", "model", "recurrent", "bidirectional", "scaled", "fused"),
    *("encoder", "positions", "modes", "boundary", "n_basis", "basis_widths", "penalty"),
)
"""What weights were trained with and need to be evaluated."""
ATTENTIONS = tuple(VARIANTS)
"""The eight published variants: four discrete maps, four continuous densities."""
ECAPA = MappingProxyType({"ecapa": "discrete", "ecapa_tiny": "tiny"})
"""Sizes of ECAPA-TDNN by the name of the model; which attention its pooling has is a field of its own."""
REFIT_SIZE = 126
REFIT_WIDTHS = (0.03, 0.1, 0.3)
"""Widths, in clip lengths, of the basis on which :func:`stages` regresses the frames again."""


@dataclass(frozen=True)
class Config(WithPresets):
    """One model on one test fold. Unknown or impossible values are errors that name the field."""

    PRESETS = ("smoke", "default", "paper", "ecapa")
    COMPARED = MappingProxyType({"attention": (*ATTENTIONS, CONTROL)})

    data: str = field(default="city", metadata={"help": "corpus: city, or a folder with recordings"})
    attention: str = field(default="softmax", metadata={"help": "attention map or density, or mean for none"})
    attention_domain: str = field(
        default="",
        metadata={"help": "discrete or continuous, where attention is a published name; empty: it is one of ours"},
    )
    fold: str = field(default="first", metadata={"help": "test fold or test split; first is the first there is"})
    train_folds: tuple[str, ...] = field(default=(), metadata={"help": "folds to train on; empty: all others"})
    valid_folds: tuple[str, ...] = field(
        default=(), metadata={"help": "folds that choose the best epoch; empty: as protocol says"}
    )
    test_folds: tuple[str, ...] = field(default=(), metadata={"help": "folds to test on; empty: fold"})
    protocol: str = field(
        default="nested", metadata={"help": "nested, or published: the best epoch is chosen on the test fold"}
    )
    seed: int = field(default=0, metadata={"help": "seed of weights, batches and dropout, from 0"})
    sample_rate: int = field(default=16000, metadata={"help": "hertz; sounds are resampled on loading"})
    n_mels: int = field(default=80, metadata={"help": "mel bands"})
    normalise: str = field(
        default="clip", metadata={"help": "level of bands: clip (published, its mean removed), median, corpus or none"}
    )
    model: str = field(
        default="published",
        metadata={"help": "one convolution (published), four_convolutions, or ecapa and ecapa_tiny (ECAPA-TDNN)"},
    )
    recurrent: str = field(default="none", metadata={"help": "none (as published), gru or lstm"})
    recurrent_size: int = field(default=128, metadata={"help": "units of the recurrent layer, for each direction"})
    bidirectional: bool = field(default=False, metadata={"help": "run the recurrent layer both ways"})
    dropout: float = field(default=0.15, metadata={"help": "after each convolution, in [0, 1)"})
    attention_size: int = field(default=128, metadata={"help": "width of the additive scorer"})
    attention_dropout: float = field(default=0.0, metadata={"help": "on the weights of the frames, in [0, 1)"})
    scaled: bool = field(
        default=False, metadata={"help": "discrete: divide scores by the root of their width, as densities always do"}
    )
    soft_share: float = field(
        default=0.0, metadata={"help": "sparse maps: share of the training that reads with softmax weights, in [0, 1)"}
    )
    fused: bool = field(default=True, metadata={"help": "continuous: add the context of the softmax weights"})
    encoder: str = field(default="moments", metadata={"help": "continuous: moments, convolution or last_state"})
    positions: str = field(default="centres", metadata={"help": "continuous: frame centres, or published"})
    modes: int = field(default=1, metadata={"help": "continuous: densities a clip, a mixture for several"})
    boundary: str = field(default="zero", metadata={"help": "continuous: zero (published), reflect or renormalise"})
    n_basis: int = field(default=128, metadata={"help": "continuous: Gaussian basis functions"})
    basis_widths: tuple[float, ...] = field(
        default=(0.1, 0.5), metadata={"help": "continuous: widths of the basis functions, in clip lengths"}
    )
    penalty: float = field(default=0.1, metadata={"help": "continuous: ridge penalty, above 0"})
    pretrained: str = initial_weights()
    pretrained_part: str = initial_part()
    pretrained_prefix: str = initial_prefix()
    epochs: int = field(default=20, metadata={"help": "passes over the training clips; 0 only evaluates pretrained"})
    batch_size: int = field(default=32, metadata={"help": "clips a step"})
    base_rate: float = field(default=1e-4, metadata={"help": "lowest learning rate of the triangular schedule"})
    max_rate: float = field(default=1e-3, metadata={"help": "highest learning rate"})
    cycle_steps: int = field(default=1000, metadata={"help": "steps from the lowest to the highest rate"})
    weight_decay: float = field(default=2e-6, metadata={"help": "of Adam"})
    gradient_clip: float = field(default=5.0, metadata={"help": "largest norm of the gradient"})
    monitor: str = field(default="error", metadata={"help": "validation score of the best epoch: error or loss"})
    device: str = field(default="auto", metadata={"help": "auto, cpu, cuda, or cuda:0 and so on"})
    precision: str = field(default="auto", metadata={"help": "auto (bfloat16 on CUDA), float32 or bfloat16"})
    skip_bad_clips: bool = field(default=False, metadata={"help": "leave out clips that fail the check, and say which"})

    def __post_init__(self) -> None:
        list_folds(self)
        check_declared(self, as_text=("fold",))
        name_folds(self)
        require_choice(self, "attention_domain", ("", "discrete", "continuous"))
        object.__setattr__(self, "attention", from_published(self.attention, self.attention_domain))
        object.__setattr__(self, "attention_domain", "")  # said by the name
        allowed = {
            "attention": (*ATTENTIONS, CONTROL),
            "protocol": ("nested", "published"),
            "model": (*PRESETS, *ECAPA),
            "normalise": tuple(NORMALISATIONS),
            "recurrent": ("none", "gru", "lstm"),
            "encoder": ("moments", "convolution", "last_state"),
            "positions": ("centres", "published"),
            "boundary": ("zero", "reflect", "renormalise"),
            "monitor": ("error", "loss"),
            "precision": ("auto", "float32", "bfloat16"),
        }
        for name, values in allowed.items():
            require_choice(self, name, values)
        require_device(self)
        for name in (
            "n_mels",
            "recurrent_size",
            "attention_size",
            "modes",
            "n_basis",
            "batch_size",
            "cycle_steps",
        ):
            require(self, name, getattr(self, name) >= 1, "at least 1")
        require_initial(self)
        require(self, "sample_rate", self.sample_rate >= 1000, "at least 1000 hertz")
        require(self, "seed", self.seed >= 0, "at least 0")
        for name in ("dropout", "attention_dropout", "soft_share"):
            require(self, name, 0 <= getattr(self, name) < 1, "in [0, 1)")
        for name in ("penalty", "max_rate", "gradient_clip"):
            require(self, name, getattr(self, name) > 0, "above 0")
        require(self, "base_rate", 0 < self.base_rate <= self.max_rate, "above 0 and at most max_rate")
        require(self, "weight_decay", self.weight_decay >= 0, "at least 0")
        require(self, "basis_widths", bool(self.basis_widths) and min(self.basis_widths) > 0, "numbers above 0")
        if self.model in ECAPA:
            of_acrnn = {"recurrent": "none", "dropout": 0.0, "scaled": False, "soft_share": 0.0}
            for name, value in of_acrnn.items():
                require(
                    self, name, getattr(self, name) == value, f"{value!r} for {self.model}, which has no such thing"
                )
            require(self, "normalise", self.normalise in ("clip", "none"), f"clip or none for {self.model}")

    @classmethod
    def smoke(cls, **changes: Any) -> Config:
        """Seconds on a CPU: a tiny synthetic city, one epoch; for tests."""
        settings = {"data": "city?clips_per_class=6&n_folds=3&duration=2", "epochs": 1, "cycle_steps": 4}
        return cls(**{**settings, "scaled": True, "soft_share": 0.5, **changes})

    @classmethod
    def default(cls, **changes: Any) -> Config:
        """About ten seconds a model on two CPU cores: what the book shows when nothing else is there.

        Scores of discrete maps are divided as those of the densities, and sparse maps begin as softmax: chosen on
        validation clips, see the chapter.
        """
        settings = {"epochs": 15, "batch_size": 16, "max_rate": 3e-3, "cycle_steps": 98, "monitor": "loss"}
        return cls(**{**settings, "scaled": True, "soft_share": 0.5, **changes})

    @classmethod
    def paper(cls, **changes: Any) -> Config:
        """The published settings on UrbanSound8K."""
        return cls(**{"data": "urbansound8k", **changes})

    @classmethod
    def ecapa(cls, **changes: Any) -> Config:
        """The published settings of ECAPA-TDNN on UrbanSound8K, with discrete attention.

        The continuous ones are ``attention="parabola"``, with ``fused=False``, and with ``n_basis=256, fused=False``;
        which density they have is not published.
        """
        settings = {"model": "ecapa", "dropout": 0.0, "epochs": 25, "seed": 1988}
        return cls.paper(**{**settings, "base_rate": 1e-8, "cycle_steps": 65000, **changes})


@dataclass(frozen=True)
class Prepared(PreparedCorpus):
    """A corpus ready for training."""

    targets: Tensor
    is_multilabel: bool

    def describe(self) -> str:
        """The corpus in two sentences."""
        table, manifest = self.manifest.table, self.manifest
        minutes = float(np.sum(manifest.durations)) / 60
        text = f"**{manifest.name}**: {len(manifest)} clips, {minutes:.0f} minutes, {len(manifest.classes)} classes"
        text += f", {len(fold_names(manifest))} test folds, "
        text += f"{table['group'].nunique()} recordings." if "group" in table else "recordings unknown."
        if self.manifest.name == "city":
            text += " Every sound is synthetic, made by this library, and the time of every event is known."
        elif "event_onsets" in table:
            text += " The times of events are known."
        else:
            text += " The times of events are not known, so only deletion and insertion can be measured."
        return text


def prepare(config: Config) -> Prepared:
    """Load and check the corpus, and compute its features once; both are kept for the next call."""
    return _prepare(config.data, config.sample_rate, config.n_mels, config.skip_bad_clips, config.device)


@lru_cache(maxsize=4)
def _prepare(data: str, sample_rate: int, n_mels: int, skip_bad_clips: bool, device: str) -> Prepared:
    manifest = load_checked(data, skip_bad_clips=skip_bad_clips)
    # The model subtracts each clip's mean itself: the baseline needs what that removes.
    front_end = LogMel(
        sample_rate,
        n_fft=round(0.025 * sample_rate),
        hop_length=round(0.010 * sample_rate),
        n_mels=n_mels,
        window="hamming",
        filters="shared_bandwidth",
    )
    store = FeatureStore.build(manifest, front_end, cache_directory() / "features", device=select_device(device))
    targets = torch.as_tensor(np.asarray(manifest.label_indices()))
    return Prepared(manifest, store, front_end, manifest.content_hash(), targets, targets.ndim == 2)


def build_model(config: Config, n_classes: int, clock: FrameClock, n_steps: int = 1) -> ACRNN | ECAPATDNN:
    """The network of a configuration, with weights drawn from the global generator; ``n_steps`` will train it."""

    def attention(features: int) -> nn.Module:
        options: dict[str, Any] = {"hidden_size": config.attention_size, "dropout": config.attention_dropout}
        if config.attention == CONTROL:
            options = {}
        elif VARIANTS[config.attention].domain == "discrete":
            if config.model not in ECAPA:
                share = config.soft_share if VARIANTS[config.attention].alpha > 1 else 0.0
                options |= {"scaled": config.scaled, "soft_steps": math.ceil(share * n_steps)}
        else:
            options |= {
                "fused": config.fused,
                "encoder": config.encoder,
                "positions": config.positions,
                "n_components": config.modes,
                "boundary": config.boundary,
                "n_basis": config.n_basis,
                "widths": config.basis_widths,
                "penalty": config.penalty,
            }
        build = build_pooling if config.model in ECAPA else build_attention
        return build(config.attention, features, **options)

    if config.model in ECAPA:
        normalise = config.normalise == "clip"
        return ECAPATDNN.preset(
            ECAPA[config.model], config.n_mels, n_classes, attention, clock=clock, normalise=normalise
        )
    return ACRNN.preset(
        config.model,
        config.n_mels,
        n_classes,
        attention,
        clock=clock,
        dropout=config.dropout,
        recurrent=config.recurrent,
        recurrent_size=config.recurrent_size,
        bidirectional=config.bidirectional,
        normalise=config.normalise,
    )


def run(config: Config, root: str | Path = "runs") -> Run:
    """Train one model on one fold and test it; the same run is read back instead of made again.

    Parameters
    ----------
    config
        What to run.
    root
        Directory of all runs; this one goes to ``<root>/urban_sound/<key>/``.

    Raises
    ------
    ConfigError, ManifestError, AudioError, RunError
        When the configuration, the corpus, a sound or the run directory cannot be used.
    """
    prepared = prepare(config)
    config = resolve_fold(config, prepared.manifest)
    hashed = hash_weights(prepared.data_hash, config)
    directory, device = open_run(__name__, NAME, dataclasses.asdict(config), hashed, config.device, root)
    return make_once(directory, lambda: _train(config, prepared, directory, device))


def _split(config: Config, prepared: Prepared) -> Split:
    """Rows that train, choose the epoch and test."""
    if not (config.train_folds or config.valid_folds or config.test_folds):
        return split_clips(prepared.manifest, config.fold, config.protocol, config.seed)
    tested = config.test_folds or (config.fold,)
    chooses = config.valid_folds or (tested if config.protocol == "published" else ())
    return choose_folds(prepared.manifest, config.train_folds, chooses, tested, config.seed)


def _train(config: Config, prepared: Prepared, directory: RunDirectory, device: torch.device) -> Run:
    split = _split(config, prepared)
    torch.manual_seed(config.seed)
    train = _loader(prepared, split.train, config, device, shuffle=True)
    classes = prepared.manifest.classes
    model = build_model(config, len(classes), prepared.clock, max(config.epochs * len(train), 1))
    taken = _start(model, config, classes) if config.pretrained else ()
    normalisation = getattr(model, "normalisation", None)
    if isinstance(normalisation, CorpusNormalisation) and "normalisation.mean" not in taken:
        normalisation.fit(torch.cat([prepared.store[int(i)] for i in split.train]))
    valid = _loader(prepared, split.valid, config, device)
    about = describe_weights(NAME, config, classes)
    if config.epochs:
        fit(
            model,
            torch.optim.Adam(model.parameters(), lr=config.max_rate, weight_decay=config.weight_decay),
            triangular(config.base_rate, config.max_rate, config.cycle_steps),
            train,
            lambda network, batch: _loss(model, network(batch.features, batch.lengths)[0], batch.targets),
            lambda network: validate(network, valid),
            TrainingSettings(
                config.epochs, config.monitor, config.gradient_clip, precision=config.precision, about=about
            ),
            directory,
            device=device,
            describe=lambda batch: ", ".join(prepared.manifest.ids[int(i)] for i in batch.indices),
        )
    leave_to_main()
    if not config.epochs:
        keep_as_they_are(model.to(device).eval(), lambda network: validate(network, valid), directory, about)
    logits, record = predict(model, _loader(prepared, split.test, config, device))
    table = predictions_table(prepared.manifest, split.test, logits, prepared.targets[split.test])
    folds = [config.fold] * len(table)
    record = keep_attention(directory, prepared.manifest, split.test, record, table, folds)
    batches = _loader(prepared, split.test, config, device)
    events = label_events(prepared.manifest, split.test)
    measured, curves = evidence(model, batches, record, events, prepared.groups[split.test], config.seed)
    directory.write_curves(curves)
    more = {"n_parameters": sum(p.numel() for p in model.parameters()), "evidence": measured}
    return _finish(directory, prepared, split.test, logits, more)


def _loss(model: nn.Module, logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Mean cross entropy, behind the margin of a network that has one, and how many clips are right."""
    loss, right = classification_loss(logits, targets)
    if isinstance(model, ECAPATDNN) and targets.ndim == 1:
        loss = model.classifier.loss(logits.float(), targets)  # type: ignore[operator, union-attr]
    return loss, right


def _start(model: nn.Module, config: Config, classes: Sequence[str]) -> tuple[str, ...]:
    """Take what the configuration names as ``pretrained``, and give the names of the parameters taken."""
    origin = read_origin(config.pretrained, config.pretrained_prefix)
    return start_from(
        model,
        config,
        classes,
        origin,
        encoder=("normalisation.", "front.", "recurrent."),
        heads={"classifier.": 0},
        same=_OF_WEIGHTS,
    ).taken


def baseline(config: Config, root: str | Path = "runs") -> Run:
    """The linear baseline on the same clips and folds: logistic regression on mean and deviation of each mel band.

    Its strength of regularisation is chosen on the validation clips.
    """
    prepared = prepare(config)
    config = resolve_fold(config, prepared.manifest)
    folds = ("fold", "train_folds", "valid_folds", "test_folds", "protocol")
    shared = ("data", *folds, "seed", "sample_rate", "n_mels", "skip_bad_clips", "batch_size")
    settings = {"baseline": "linear", **{name: getattr(config, name) for name in shared}}
    directory, device = open_run(__name__, NAME, settings, prepared.data_hash, config.device, root)
    return make_once(directory, lambda: _fit_baseline(config, prepared, directory, device))


def _fit_baseline(config: Config, prepared: Prepared, directory: RunDirectory, device: torch.device) -> Run:
    leave_to_main()
    split = _split(config, prepared)
    inputs = []
    for rows in (split.train, split.valid, split.test):
        batches = _loader(prepared, rows, config, device).epoch(0)
        inputs.append(np.concatenate([summary_features(b.features, b.lengths).cpu().numpy() for b in batches]))
    targets = prepared.targets.numpy()
    fitted = linear_baseline(
        inputs[0],
        targets[split.train],
        inputs[1],
        targets[split.valid],
        inputs[2],
        n_classes=len(prepared.manifest.classes),
    )
    probabilities = torch.as_tensor(fitted.probabilities)
    logits = probabilities.logit(eps=1e-7) if prepared.is_multilabel else probabilities.clamp(min=1e-12).log()
    return _finish(directory, prepared, split.test, logits.float(), {})


def study(
    config: Config,
    attentions: str | Iterable[str] = "all",
    folds: str | Iterable[str] = "all",
    root: str | Path = "runs",
) -> Study:
    """Every mechanism on every fold, with the linear baseline on each; what exists already is read back.

    Parameters
    ----------
    config
        Everything but ``attention`` and ``fold``.
    attentions
        Names out of :data:`ATTENTIONS` and :data:`CONTROL`: a list, or joined by commas, or ``"all"``.
    folds
        Test folds, in the same way; unused where the configuration has ``test_folds``.
    root
        Directory of all runs.
    """
    prepared = prepare(config)
    folds = [config.fold] if config.test_folds else choose(folds, fold_names(prepared.manifest), "fold")
    attentions = choose(attentions, (*ATTENTIONS, CONTROL), "attention")
    configs = [dataclasses.replace(config, attention=name, fold=fold) for fold in folds for name in attentions]
    baselines = [baseline(dataclasses.replace(config, fold=fold), root) for fold in folds]
    runs = run_all(run, configs, root, shown=("attention", "fold"))
    groups = dict(zip(prepared.manifest.ids, prepared.groups, strict=True))
    titles = {name: variant.title for name, variant in VARIANTS.items()} | {CONTROL: "Mean"}
    return Study(tuple(runs), tuple(baselines), groups, by="attention", titles=titles)


def load_model(run: Run) -> ACRNN | ECAPATDNN:
    """The trained network of a run, in evaluation mode on the CPU."""
    config = restore_config(Config, run)
    model = build_model(config, len(run.classes), prepare(config).clock)
    load_best(run.path / "checkpoint", model)
    return model.eval()


@torch.no_grad()
def stages(
    run: Run, clip: Clip, *, penalties: Iterable[float] = (), model: ACRNN | ECAPATDNN | None = None
) -> list[dict[str, Any]]:
    """One clip on its way through the network: input, output of the front, and the value function that a density reads.

    Each stage has ``title``, ``values`` of shape ``(times, rows)``, ``clock`` and, for the input, ``frequencies``. The
    value function is the function itself over time, not its coefficients; discrete attention has none.

    Parameters
    ----------
    run, clip
        A run of this experiment, and a clip of its corpus.
    penalties
        Ridge penalties of further value functions, each above 0: the same frames regressed on 126 narrower Gaussians,
        :data:`REFIT_WIDTHS`, as the published pictures show them.
    model
        The network of the run where it is at hand; loaded otherwise.
    """
    model = load_model(run) if model is None else model
    features = torch.as_tensor(clip.features)[None]
    hidden = model.encode(features)[0]
    found: list[dict[str, Any]] = [
        {"title": "Log-mel input", "values": clip.features, "clock": clip.clock, "frequencies": clip.frequencies},
        {"title": "Output of the front", "values": hidden.numpy(), "clock": clip.clock},
    ]
    attention = model.pooling if isinstance(model, ECAPATDNN) else model.attention
    if isinstance(attention, ContinuousStatisticsPooling):  # it reads what it makes of the frames
        hidden, attention = attention.values(hidden[None], None)[0], attention.attention
    if isinstance(attention, ContinuousAttention):
        own = attention.value_function
        functions = {"Value function": own}
        for penalty in penalties:
            narrower = ValueFunction(GaussianBasis.grid(REFIT_SIZE, REFIT_WIDTHS), penalty, own.boundary)
            functions[f"Value function, penalty {penalty:g}"] = narrower
        for title, function in functions.items():
            values = function.reconstruct(hidden, frame_centres(len(hidden))).numpy()
            found.append({"title": title, "values": values, "clock": clip.clock})
    return found


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


def _finish(
    directory: RunDirectory, prepared: Prepared, rows: NDArray[np.int64], logits: Tensor, more: Mapping[str, Any]
) -> Run:
    """Write predictions, then scores: the scores last, for they say that the run is done."""
    targets = prepared.targets[rows]
    directory.write_table("predictions.csv", predictions_table(prepared.manifest, rows, logits, targets))
    scores = score_predictions(prepared.manifest.classes, logits, targets, prepared.groups[rows])
    directory.write_json("metrics.json", {**scores, **more})
    return Run.load(directory.path)
