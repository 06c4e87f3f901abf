"""Play it back: does a network gain by listening again, more closely, to what it chose?

One :class:`Config` is one network; :func:`run` trains and tests it, after the
encoder that it shares with others (:func:`train_encoder`) where training has two
steps; :func:`study` compares ways to choose what is heard again, over seeds,
beside hearing once, a linear baseline and chance.

Book page: ``playback``.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from ..attention import export
from ..attention.record import AttentionRecord, FrameClock
from ..audio.mixing import cut_and_mix_clips, mix_clips
from ..audio.multi_resolution import MultiResolutionLogMel
from ..data.files import cache_directory
from ..data.loading import Batch, BatchLoader
from ..data.splits import Split, split_clips
from ..data.store import FeatureStore
from ..data.waveforms import WaveformStore
from ..data.windows import WindowLoader
from ..errors import ConfigError
from ..models.mvit import MViT
from ..models.playback import Playback
from ..models.playback_encoder import EncoderClassifier
from ..models.playback_layers import PlaybackDecoder, SmallEncoder
from ..models.playback_losses import playback_loss
from ..models.weights import load_weights
from ..training import faithfulness
from ..training.baseline import linear_baseline, summary_features
from ..training.checkpoint import load_best
from ..training.distributed import leave_to_main
from ..training.loop import TrainingSettings, fit, select_device
from ..training.progress import Progress
from ..training.run_directory import Run, RunDirectory
from ..training.schedules import Cosine
from .classification import classification_loss, label_events, predictions_table, score_predictions
from .corpus import Clip, PreparedCorpus, load_checked
from .directories import make_once, open_run, resolve_fold
from .fields import choose_numbers
from .playback_config import SELECTIONS, Config
from .playback_listening import VALID, Listened, listen, locate, score_interval
from .playback_study import PlaybackStudy
from .study import choose

__all__ = [
    "COMPARED",
    "Config",
    "Prepared",
    "baseline",
    "build_model",
    "hearings",
    "load_model",
    "prepare",
    "run",
    "study",
    "train_encoder",
]

log = logging.getLogger("audioattn")

NAME = "playback"
COMPARED = ("none", "random", "energy", "slots", "oracle")
"""What the chapter compares."""

_ENCODERS = {"tiny": (12, 48), "small": (24, 96)}
_PUBLISHED = {"n_latents": 256, "width": 512, "heads": 8, "self_layers": 3}
_DECODERS = {"tiny": {"n_latents": 8, "width": 48}, "small": {"n_latents": 16, "width": 96}}
_OF_SECOND_STEP = {
    "selection",
    "n_segments",
    "segment_seconds",
    "views",
    "fusion",
    "location",
    "temperature",
    "stage_weight",
    "salient_weight",
    "rank_weight",
    "training",
    "freeze_encoder",
    "epochs",
    "lr",
}
"""What the first step knows nothing of."""


@dataclass(frozen=True)
class Prepared(PreparedCorpus):
    """A corpus ready for training.

    Parameters
    ----------
    waveforms
        Samples of every clip.
    targets
        Class of each clip, or 0 and 1 for each of several.
    """

    waveforms: WaveformStore
    targets: Tensor

    @property
    def several_labels(self) -> bool:
        """Whether a clip may have several labels."""
        return self.targets.ndim == 2

    def describe(self) -> str:
        """The corpus in two sentences."""
        manifest = self.manifest
        minutes = float(np.sum(manifest.durations)) / 60
        text = f"**{manifest.name}**: {len(manifest)} clips, {minutes:.0f} minutes, {len(manifest.classes)} classes"
        text += ", several in a clip." if self.several_labels else ", one a clip."
        if manifest.name == "needles":
            text += " Every sound is synthetic, made by this library, and the time of every event is known."
        elif "event_onsets" in manifest.table:
            text += " The times of events are known."
        else:
            text += " The times of events are not known, so nobody can say whether the right parts were played back."
        return text

    def event_places(self, count: int, seconds: float) -> Tensor:
        """Parts of this length around the first events of each clip, in seconds, NaN where there are fewer."""
        places = torch.full((len(self.manifest), count, 2), torch.nan, dtype=torch.float64)
        for row, events in enumerate(label_events(self.manifest, np.arange(len(self.manifest)))):
            for part, (onset, offset) in enumerate(sorted(events)[:count]):
                start = max((onset + offset - seconds) / 2, 0.0)
                places[row, part, 0], places[row, part, 1] = start, start + seconds
        return places


def prepare(config: Config) -> Prepared:
    """Load and check the corpus, and compute the spectrograms of pictures and baseline; both are kept."""
    names = ("data", "sample_rate", "hop", "window", "n_mels", "skip_bad_clips", "device")
    return _prepare(**{name: getattr(config, name) for name in names})


@lru_cache(maxsize=4)
def _prepare(
    data: str, sample_rate: int, hop: float, window: float, n_mels: int, skip_bad_clips: bool, device: str
) -> Prepared:
    manifest = load_checked(data, skip_bad_clips=skip_bad_clips)
    if manifest.kind == "number":
        raise ConfigError(f"data is {data!r}, whose labels are numbers; this experiment needs classes")
    front_end = _front(sample_rate, hop, window, n_mels, 1)[0]
    store = FeatureStore.build(manifest, front_end, cache_directory() / "features", device=select_device(device))
    targets = torch.as_tensor(np.asarray(manifest.label_indices()))
    waveforms = WaveformStore(manifest, sample_rate)
    return Prepared(manifest, store, front_end, manifest.content_hash(), waveforms, targets)


def _front(sample_rate: int, hop: float, window: float, n_mels: int, stages: int) -> MultiResolutionLogMel:
    samples = round(window * sample_rate)
    n_fft = 2 ** int(np.ceil(np.log2(max(samples, 2))))
    return MultiResolutionLogMel(
        stages, sample_rate, n_fft=n_fft, win_length=samples, hop_length=round(hop * sample_rate), n_mels=n_mels
    )


def build_model(config: Config, n_classes: int, *, several_labels: bool) -> Playback:
    """The network of a configuration, with weights drawn from the global generator."""
    front = _front(config.sample_rate, config.hop, config.window, config.n_mels, config.stages)
    encoder = _encoder(config)
    decoder = PlaybackDecoder(
        encoder.out_features,
        n_classes,
        config.stages,
        fusion=config.fusion,
        location=config.location,
        **_DECODERS.get(config.size, _PUBLISHED),
    )
    return Playback(
        front,
        encoder,
        decoder,
        selection={"none": "random", "oracle": "given"}.get(config.selection, config.selection),
        n_segments=config.n_segments,
        segment_seconds=config.segment_seconds,
        temperature=config.temperature,
        several_labels=several_labels,
    )


def _encoder(config: Config) -> SmallEncoder | MViT:
    if config.size in _ENCODERS:
        return SmallEncoder(config.n_mels, *_ENCODERS[config.size])
    return MViT.preset(config.size.removeprefix("mvit_").upper())


def train_encoder(config: Config, root: str | Path = "runs") -> Run:
    """The first step: the encoder alone, which hears whole clips at every hop; a run that exists is read back.

    Its metrics say how well the classes can be told apart at each hop: ``hops``, a list.
    """
    prepared = prepare(config)
    config = resolve_fold(config, prepared.manifest)
    shared = {name: value for name, value in dataclasses.asdict(config).items() if name not in _OF_SECOND_STEP}
    settings = {"step": "encoder", **shared}
    directory, device = open_run(__name__, NAME, settings, prepared.data_hash, config.device, root)
    return make_once(directory, lambda: _train_encoder(config, prepared, directory, device))


def _encoder_classifier(config: Config, n_classes: int) -> EncoderClassifier:
    front = _front(config.sample_rate, config.hop, config.window, config.n_mels, config.playbacks + 1)
    return EncoderClassifier(front, _encoder(config), n_classes)


def _train_encoder(config: Config, prepared: Prepared, directory: RunDirectory, device: torch.device) -> Run:
    split = split_clips(prepared.manifest, config.fold, seed=config.seed)
    torch.manual_seed(config.seed)
    model = _encoder_classifier(config, len(prepared.manifest.classes))
    if config.pretrained:
        load_weights(cast("nn.Module", model.encoder), config.pretrained)
    stages = config.playbacks + 1

    def loss(network: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        samples, lengths, targets = _mixed(batch, config, len(prepared.manifest.classes))
        # one hop a batch, drawn: all of them would cost as much as hearing every clip to the end of every playback
        stage = int(torch.randint(stages, ()))
        logits = network(samples, lengths, stage)
        _, right = classification_loss(logits, batch.targets)
        return _cross_entropy(logits, targets, prepared.several_labels), right

    def evaluate(network: nn.Module) -> dict[str, float]:
        total, clips, right = 0.0, 0, 0.0
        for batch in valid.epoch(0):
            for stage in range(stages):
                found = classification_loss(network(batch.features[..., 0], batch.lengths, stage), batch.targets)
                total, right = total + float(found[0]) * len(batch), right + float(found[1])
            clips += len(batch) * stages
        return {"loss": total / clips, "error": 1 - right / clips}

    train = _training(prepared, split.train, config, device)
    valid = _loader(prepared, split.valid, config, device)
    _fit(model, config, config.encoder_lr, config.encoder_epochs, train, loss, evaluate, prepared, directory, device)
    rows = split.test
    targets, groups = prepared.targets[rows], prepared.groups[rows]
    hops, logits = [], torch.empty(0)
    with torch.no_grad():
        for stage in range(stages):
            batches = _loader(prepared, rows, config, device).epoch(0)
            parts = [model(batch.features[..., 0], batch.lengths, stage).float().cpu() for batch in batches]
            logits = torch.cat(parts)
            found = score_interval(targets.numpy(), [logits.numpy()], groups)
            hops.append({"hop": model.front.hop(stage), "score": found.estimate, "low": found.low, "high": found.high})
    return _finish(directory, prepared, rows, logits, {"hops": hops, "n_parameters": _count(model)})


def run(config: Config, root: str | Path = "runs") -> Run:
    """Train one network and test it; the same run is read back instead of made again.

    Parameters
    ----------
    config
        What to run.
    root
        Directory of all runs; this one goes to ``<root>/playback/<key>/``.

    Raises
    ------
    ConfigError, ManifestError, AudioError, RunError
        When the configuration, the corpus, a sound or the run directory cannot be used.
    """
    prepared = prepare(config)
    config = resolve_fold(config, prepared.manifest)
    if config.selection == "oracle" and "event_onsets" not in prepared.manifest.table:
        raise ConfigError(f"selection is 'oracle', but {prepared.manifest.name} does not say when its events are")
    directory, device = open_run(__name__, NAME, dataclasses.asdict(config), prepared.data_hash, config.device, root)
    return make_once(directory, lambda: _train(config, prepared, directory, device, root))


def _train(config: Config, prepared: Prepared, directory: RunDirectory, device: torch.device, root: str | Path) -> Run:
    split = split_clips(prepared.manifest, config.fold, seed=config.seed)
    classes = prepared.manifest.classes
    first = train_encoder(config, root) if config.training == "two_step" else None
    torch.manual_seed(config.seed)
    model = build_model(config, len(classes), several_labels=prepared.several_labels)
    if first is not None:
        taught = _encoder_classifier(config, len(classes))
        load_best(first.path / "checkpoint", taught)
        model.encoder.load_state_dict(taught.encoder.state_dict())  # type: ignore[attr-defined]
        if config.freeze_encoder:
            model.freeze_encoder()
    elif config.pretrained:
        load_weights(cast("nn.Module", model.encoder), config.pretrained)
    known = prepared.event_places(config.n_segments, config.segment_seconds) if config.selection == "oracle" else None

    def places(batch: Batch) -> Tensor | None:
        return None if known is None else known[batch.indices].to(device)

    def loss(network: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        samples, lengths, targets = _mixed(batch, config, len(prepared.manifest.classes))
        heard = network(samples, lengths, segments=places(batch))
        value = playback_loss(
            heard,
            targets,
            stage_weight=config.stage_weight,
            salient_weight=config.salient_weight,
            rank_weight=config.rank_weight,
            several_labels=prepared.several_labels,
        )
        return value, classification_loss(heard.logits, batch.targets)[1]

    def hear(network: nn.Module, rows: NDArray[np.int64]) -> Listened:
        assert isinstance(network, Playback)
        batches = _loader(prepared, rows, config, device)
        window, names = _window(config), prepared.manifest.ids
        return listen(network, batches, names, window=window, views=config.views, places=places)

    def evaluate(network: nn.Module) -> dict[str, float]:
        logits = torch.as_tensor(hear(network, split.valid).logits)
        value, right = classification_loss(logits, prepared.targets[split.valid])
        return {"loss": float(value), "error": 1 - float(right) / len(logits)}

    train = _training(prepared, split.train, config, device)
    _fit(model, config, config.lr, config.epochs, train, loss, evaluate, prepared, directory, device)
    hear(model, split.valid).save(directory.path, VALID)
    heard = hear(model, split.test)
    heard.save(directory.path)
    groups = prepared.groups[split.test]
    stages = []
    for stage in range(config.stages):
        found = score_interval(heard.targets, [heard.after(stage)], groups)
        cost = float(heard.cost[:, stage].mean())
        stages.append({"score": found.estimate, "low": found.low, "high": found.high, "cost": cost})
    more: dict[str, Any] = {"stages": stages, "n_parameters": _count(model)}
    if config.stages > 1:
        more |= _where(prepared, split, heard, directory, config)
    return _finish(directory, prepared, split.test, torch.as_tensor(heard.logits), more)


def _where(
    prepared: Prepared, split: Split, heard: Listened, directory: RunDirectory, config: Config
) -> dict[str, Any]:
    """Where the network listened again: the record of all test clips, and how well it fits what is known of events."""
    samples = torch.as_tensor(prepared.waveforms.n_frames[split.test])
    segments = heard.segments.reshape(len(heard.clips), -1, 2)
    record = AttentionRecord(
        mechanism=config.selection,
        clock=FrameClock(*prepared.front_end.clock),
        clips=tuple(heard.clips.tolist()),
        n_frames=prepared.front_end.count_frames(samples).numpy(),
        segments=segments,
    )
    export.save_npz(record, directory.path / "attention.npz")
    export.save_csv(record, directory.path / "attention.csv")
    events = label_events(prepared.manifest, split.test)
    table = faithfulness.evaluate(record, events, groups=prepared.groups[split.test], seed=config.seed)
    durations = samples.numpy() / config.sample_rate
    where = locate(segments, durations, events, prepared.groups[split.test], config.seed)
    return {"evidence": table.to_dict(orient="index"), "where": where}


def baseline(config: Config, root: str | Path = "runs") -> Run:
    """The linear baseline on the same clips: logistic regression on mean and deviation of each band at the first hop.

    Its strength of regularisation is chosen on the development clips.
    """
    prepared = prepare(config)
    config = resolve_fold(config, prepared.manifest)
    shared = ("data", "fold", "seed", "sample_rate", "hop", "window", "n_mels", "skip_bad_clips", "batch_size")
    settings = {"baseline": "linear", **{name: getattr(config, name) for name in shared}}
    directory, device = open_run(__name__, NAME, settings, prepared.data_hash, config.device, root)
    return make_once(directory, lambda: _fit_baseline(config, prepared, directory, device))


def _fit_baseline(config: Config, prepared: Prepared, directory: RunDirectory, device: torch.device) -> Run:
    split = split_clips(prepared.manifest, config.fold, seed=config.seed)
    inputs = []
    for rows in (split.train, split.valid, split.test):
        loader = BatchLoader(prepared.store, prepared.targets, rows, config.batch_size, False, config.seed, device)
        inputs.append(np.concatenate([summary_features(b.features, b.lengths).cpu().numpy() for b in loader.epoch(0)]))
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
    logits = probabilities.logit(eps=1e-7) if prepared.several_labels else probabilities.clamp(min=1e-12).log()
    return _finish(directory, prepared, split.test, logits.float(), {})


def study(
    config: Config,
    selections: str | Iterable[str] = COMPARED,
    seeds: str | int | Iterable[Any] = "0",
    root: str | Path = "runs",
) -> PlaybackStudy:
    """Every way to choose with every seed, and the linear baseline; what exists already is read back.

    Parameters
    ----------
    config
        Everything but ``selection`` and ``seed``.
    selections
        Names out of :data:`~audioattn_lib.experiments.playback_config.SELECTIONS`: a list, or joined by commas. The
        oracle is left out where the corpus does not say when its events are.
    seeds
        Whole numbers from 0: a list, or joined by commas.
    root
        Directory of all runs.
    """
    prepared = prepare(config)
    chosen = choose(selections, SELECTIONS, "selection")
    if "event_onsets" not in prepared.manifest.table:
        chosen = [name for name in chosen if name != "oracle"]
    numbers = choose_numbers("seeds", seeds, int, "whole numbers from 0")
    # the baseline has no seed of its own, and its validation clips are those of the first
    baselines = [baseline(dataclasses.replace(config, selection="none", seed=numbers[0]), root)]
    encoders, runs = [], []
    with Progress("runs", len(numbers) * len(chosen)) as progress:
        for seed in numbers:
            if config.training == "two_step":
                encoders.append(train_encoder(dataclasses.replace(config, seed=seed), root))
            for name in chosen:
                runs.append(run(dataclasses.replace(config, selection=name, seed=seed), root))
                progress.advance(selection=name, seed=seed)
    groups = dict(zip(prepared.manifest.ids, prepared.groups, strict=True))
    return PlaybackStudy(tuple(runs), tuple(baselines), groups, encoders=tuple(encoders))


def load_model(run: Run) -> Playback:
    """The trained network of a run, in evaluation mode on the CPU."""
    config = Config(**run.config)
    model = build_model(config, len(run.classes), several_labels=prepare(config).several_labels)
    load_best(run.path / "checkpoint", model)
    return model.eval()


@torch.no_grad()
def hearings(run: Run, clip: Clip) -> list[dict[str, Any]]:
    """One clip through the network of a run, stage by stage, as :class:`audioattn_lib.display.Hearing` takes them.

    Each stage has ``hop``, ``parts``, ``features`` and ``probabilities``; those of the last one are the fused answer.
    """
    config = Config(**run.config)
    prepared = prepare(config)
    model = load_model(run)
    samples = torch.as_tensor(clip.samples)[None]
    given = None
    if config.selection == "oracle":
        row = prepared.manifest.ids.index(clip.name)
        given = prepared.event_places(config.n_segments, config.segment_seconds)[row : row + 1]
    heard = model(samples, segments=given)
    logits = torch.cat([heard.stage_logits[0, :-1], heard.logits])
    probabilities = (logits.sigmoid() if prepared.several_labels else logits.softmax(dim=1)).numpy()
    whole = np.array([[0.0, len(clip.samples) / clip.sample_rate]])
    found: list[dict[str, Any]] = [
        {"hop": model.front.hop(0), "parts": whole, "features": [model.front(samples)[0][0].numpy()]}
    ]
    for stage in range(1, config.stages):
        places = heard.segments[:, stage - 1]
        places = places[:, ~places[0].isnan().any(dim=1)]
        features, n_frames = model.front.replay(samples, places, stage)
        each = [part[:count].numpy() for part, count in zip(features[0], n_frames[0].tolist(), strict=True)]
        found.append({"hop": model.front.hop(stage), "parts": places[0].numpy(), "features": each})
    return [{**one, "probabilities": row} for one, row in zip(found, probabilities, strict=True)]


def _fit(
    model: nn.Module,
    config: Config,
    lr: float,
    epochs: int,
    train: Any,
    loss: Any,
    evaluate: Any,
    prepared: Prepared,
    directory: RunDirectory,
    device: torch.device,
) -> None:
    steps = epochs * len(train)
    fit(
        model,
        torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr, weight_decay=config.weight_decay),
        Cosine(lr, steps, warmup_steps=int(config.warm_up * steps)),
        train,
        loss,
        evaluate,
        TrainingSettings(
            epochs,
            config.monitor,
            config.gradient_clip,
            precision=config.precision,
            unused_parameters=isinstance(model, EncoderClassifier),  # of hops that a batch is not heard at
        ),
        directory,
        device=device,
        describe=lambda batch: ", ".join(prepared.manifest.ids[int(i)] for i in batch.indices),
    )
    leave_to_main()


def _mixed(batch: Batch, config: Config, n_classes: int) -> tuple[Tensor, Tensor, Tensor]:
    """Samples, lengths and targets of a batch, mixed alike where the configuration asks for it.

    Waveforms are mixed, so every hop hears the same mixture.
    """
    ways = [(mix_clips, config.mixup), (cut_and_mix_clips, config.cutmix)]
    ways = [(mix, alpha) for mix, alpha in ways if alpha]
    chance = torch.default_generator
    if not ways or torch.rand((), generator=chance) >= config.mix_share:
        return batch.features[..., 0], batch.lengths, batch.targets
    mix, alpha = ways[int(torch.randint(len(ways), (), generator=chance))]
    mixed = mix(batch.features, alpha, generator=chance)
    targets = batch.targets
    if targets.ndim == 1:
        targets = F.one_hot(targets, n_classes).to(mixed.features.dtype)
    share = mixed.share[:, None]
    targets = share * targets + (1 - share) * targets[mixed.partner]
    lengths = torch.maximum(batch.lengths, batch.lengths[mixed.partner])
    return mixed.features[..., 0], lengths, targets


def _cross_entropy(logits: Tensor, targets: Tensor, several_labels: bool) -> Tensor:
    if not several_labels:
        return F.cross_entropy(logits.float(), targets)
    return F.binary_cross_entropy_with_logits(logits.float(), targets.float())


def _window(config: Config) -> int:
    return round(config.clip_seconds * config.sample_rate)


def _training(
    prepared: Prepared, rows: NDArray[np.int64], config: Config, device: torch.device
) -> BatchLoader | WindowLoader:
    loader = _loader(prepared, rows, config, device, shuffle=True)
    return WindowLoader(loader, _window(config)) if config.clip_seconds else loader


def _loader(
    prepared: Prepared, rows: NDArray[np.int64], config: Config, device: torch.device, *, shuffle: bool = False
) -> BatchLoader:
    return BatchLoader(prepared.waveforms, prepared.targets, rows, config.batch_size, shuffle, config.seed, device)


def _count(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def _finish(
    directory: RunDirectory, prepared: Prepared, rows: NDArray[np.int64], logits: Tensor, more: Mapping[str, Any]
) -> Run:
    """Write predictions, then scores: the scores last, for they say that the run is done."""
    targets = prepared.targets[rows]
    directory.write_table("predictions.csv", predictions_table(prepared.manifest, rows, logits, targets))
    scores = score_predictions(prepared.manifest.classes, logits, targets, prepared.groups[rows])
    directory.write_json("metrics.json", {**scores, **more})
    return Run.load(directory.path)
