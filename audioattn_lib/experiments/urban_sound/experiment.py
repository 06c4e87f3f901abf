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
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from audioattn_lib.attention.expectations.gaussian import GaussianBasis
from audioattn_lib.attention.expectations.value_function import ValueFunction, frame_centres
from audioattn_lib.attention.pooling.frames import ContinuousAttention
from audioattn_lib.attention.pooling.registry import MECHANISMS
from audioattn_lib.data.splits import fold_names
from audioattn_lib.models.acrnn import ACRNN, CorpusNormalisation
from audioattn_lib.models.ecapa import ECAPATDNN
from audioattn_lib.models.layers.statistics_pooling import ContinuousStatisticsPooling
from audioattn_lib.training.checkpoint import load_best
from audioattn_lib.training.model_folder import ModelFolder, Task
from audioattn_lib.training.run_directory import Run
from audioattn_lib.training.schedules import triangular

from ..common.baseline import fit_linear_baseline, summarise_split
from ..common.classification import classification_loss, label_events, predict, predictions_table, validate
from ..common.config import choose_numbers, restore_config
from ..common.corpus import Clip
from ..common.initial_weights import describe_weights, read_origin, start_from
from ..common.listener import describe_model, open_model, save_model
from ..common.parallel import run_all
from ..common.results import write_attention, write_attention_evaluation, write_classification
from ..common.runs import RunContext, make_run, nothing_to_train, open_run, resolve_fold
from ..common.studies.study import ClassificationStudy, choose
from ..common.training import count_parameters, fit_network, look_at
from .config import ATTENTIONS, CONTROL, CONTROLS, MEL, Config
from .corpus import Prepared, prepare
from .listener import UrbanListener
from .network import build_network

__all__ = [
    "REFIT_WIDTHS",
    "baseline",
    "build_model",
    "convert",
    "load_model",
    "run",
    "stages",
    "study",
]

NAME = "urban_sound"
_OF_WEIGHTS = (
    *(
        "attention",
        "sample_rate",
        "n_mels",
        "frame_encoder",
        "frame_layer",
        "frame_step",
        "band_normalization",
        "model",
        "recurrent",
    ),
    *("bidirectional", "scaled", "fused", "encoder", "positions", "n_components", "boundary", "n_basis"),
    *("basis_widths", "penalty"),
)
"""Fields that weights were trained with and need for their evaluation."""
REFIT_SIZE = 126
REFIT_WIDTHS = (0.03, 0.1, 0.3)
"""Widths, in clip lengths, of the basis on which :func:`stages` regresses the frames again."""


_OF_BASELINE = (
    *("data", "fold", "train_folds", "valid_folds", "test_folds", "protocol", "seed", "sample_rate", "n_mels"),
    *("frame_encoder", "frame_layer", "frame_step", "skip_bad_clips", "batch_size"),
)
"""Fields that the linear baseline depends on."""

Context = RunContext[Config, Prepared]


def build_model(config: Config, prepared: Prepared, n_steps: int = 1) -> ACRNN | ECAPATDNN:
    """The network for a corpus, with weights drawn from the global generator; ``n_steps`` will train it."""
    width = config.n_mels if config.frame_encoder == MEL else prepared.front_end.n_mels
    return build_network(config, len(prepared.classes), prepared.clock, n_steps, width)


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
    return make_run(open_run(__name__, NAME, config, prepared, root), _train, _test)


def _train(context: Context) -> nn.Module:
    config, prepared, device = context.config, context.prepared, context.device
    split = prepared.split(config)
    torch.manual_seed(config.seed)
    train = prepared.loader(split.train, config, device, shuffle=True)
    valid = prepared.loader(split.valid, config, device)
    model = build_model(config, prepared, n_steps=max(config.epochs * len(train), 1))
    loaded = _start(model, config, prepared) if config.pretrained else ()
    normalisation = getattr(model, "normalisation", None)
    if isinstance(normalisation, CorpusNormalisation) and "normalisation.mean" not in loaded:
        normalisation.fit(torch.cat([prepared.store[int(i)] for i in split.train]))
    return fit_network(
        context,
        model,
        optimizer=torch.optim.Adam(model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay),
        learning_rate=triangular(config.min_learning_rate, config.learning_rate, config.cycle_steps),
        train=train,
        loss=lambda network, batch: _loss(model, network(batch.features, batch.lengths)[0], batch.targets),
        evaluate=lambda network: validate(network, valid),
        about=describe_weights(NAME, config, prepared.classes),
        look=look_at(context, split.valid, lambda rows: prepared.loader(rows, config, device)),
    )


def _test(context: Context, model: nn.Module) -> None:
    config, prepared = context.config, context.prepared
    _save(context.directory.path, config, prepared, model)
    rows = prepared.split(config).test
    loader = prepared.loader(rows, config, context.device)
    logits, record = predict(model, loader)
    predictions = predictions_table(prepared, rows, logits)
    record = write_attention(context, rows, record, predictions=predictions, folds=config.fold)
    measured = {}
    if config.perturbations:
        events = label_events(prepared.manifest, rows)
        measured = write_attention_evaluation(context, rows, model, loader, record, events)
    write_classification(
        context, rows, logits, {"n_parameters": count_parameters(model), "attention_evaluation": measured}
    )


def _loss(model: nn.Module, logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Mean cross entropy, behind the margin of a network that has one, and how many clips are right."""
    loss, right = classification_loss(logits, targets)
    if isinstance(model, ECAPATDNN) and targets.ndim == 1:
        loss = model.classifier.loss(logits.float(), targets)  # type: ignore[operator, union-attr]
    return loss, right


def _start(model: nn.Module, config: Config, prepared: Prepared) -> tuple[str, ...]:
    """Take what the configuration names as ``pretrained``, and give the names of the parameters taken."""
    return start_from(
        model,
        config,
        prepared.classes,
        read_origin(config.pretrained, config.pretrained_prefix),
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
    settings = {"baseline": "linear", **config.select(*_OF_BASELINE)}
    return make_run(open_run(__name__, NAME, config, prepared, root, settings), nothing_to_train, _fit_baseline)


def _fit_baseline(context: Context, _: None) -> None:
    config, prepared = context.config, context.prepared
    split = prepared.split(config)
    inputs = summarise_split(split, lambda rows: prepared.loader(rows, config, context.device))
    train, valid = prepared.targets[split.train], prepared.targets[split.valid]
    write_classification(context, split.test, fit_linear_baseline(inputs, train, valid, len(prepared.classes)))


def study(
    config: Config,
    attentions: str | Iterable[str] = "all",
    folds: str | Iterable[str] = "all",
    root: str | Path = "runs",
    seeds: str | int | Iterable[Any] | None = None,
) -> ClassificationStudy:
    """Every mechanism on every fold, with the linear baseline on each; what exists already is read back.

    Parameters
    ----------
    config
        Everything but ``attention`` and ``fold``.
    attentions
        Names out of :data:`~audioattn_lib.experiments.urban_sound.config.ATTENTIONS` and
        :data:`~audioattn_lib.experiments.urban_sound.config.CONTROLS`: a list, or joined by commas; or ``"all"``, which
        is all of the first and ``"mean"``.
    folds
        Test folds, in the same way; unused where the configuration has ``test_folds``.
    root
        Directory of all runs.
    seeds
        Whole numbers from 0: one, some joined by commas, or a list; by default that of the configuration. The baseline
        has the first.
    """
    prepared = prepare(config)
    numbers = choose_numbers("seeds", config.seed if seeds is None else seeds, int, "whole numbers from 0")
    folds = [config.fold] if config.test_folds else choose(folds, fold_names(prepared.manifest), "fold")
    compared = (*ATTENTIONS, CONTROL) if attentions == "all" else attentions
    attentions = choose(compared, (*ATTENTIONS, *CONTROLS), "attention")
    configs = [
        dataclasses.replace(config, attention=name, fold=fold, seed=seed)
        for seed in numbers
        for fold in folds
        for name in attentions
    ]
    baselines = [baseline(dataclasses.replace(config, fold=fold, seed=numbers[0]), root) for fold in folds]
    runs = run_all(run, configs, root, shown=("attention", "fold", "seed"))
    titles = {name: variant.title for name, variant in MECHANISMS.items()}
    titles |= {name: name.capitalize() for name in CONTROLS}
    return ClassificationStudy(tuple(runs), tuple(baselines), prepared.group_of, by="attention", titles=titles)


def load_model(run: Run) -> ACRNN | ECAPATDNN:
    """The trained network of a run, in evaluation mode on the CPU; its corpus need not be there."""
    return UrbanListener(open_model(run, convert)).network


def convert(run: Run) -> ModelFolder:
    """Write the model of a run that is older than model folders; its corpus must be there."""
    config = restore_config(Config, run)
    prepared = prepare(config)
    model = build_model(config, prepared)
    load_best(run.path / "checkpoint", model)
    return _save(run.path, config, prepared, model)


def _save(path: Path, config: Config, prepared: Prepared, model: nn.Module) -> ModelFolder:
    task: Task = "labels" if prepared.is_multilabel else "class"
    return save_model(path, describe_model(NAME, task, config, prepared, path), model)


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
    panels: list[dict[str, Any]] = [
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
            panels.append({"title": title, "values": values, "clock": clip.clock})
    return panels
