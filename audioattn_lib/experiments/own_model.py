"""A network that was not made here, trained by the loop of this library on any corpus.

:func:`fit_classifier` trains any PyTorch classifier; :func:`train_spectrogram_transformer` builds a small audio
spectrogram transformer from its class in ``transformers``, trains it, and saves it as ``save_pretrained`` does.

Book page: ``bring_your_own_model``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from audioattn_lib.core.errors import ConfigError
from audioattn_lib.core.ranks import is_main_process
from audioattn_lib.data.loading.arrays import ArrayStore
from audioattn_lib.data.loading.batches import Batch, Batches, BatchLoader
from audioattn_lib.data.splits import Split
from audioattn_lib.inspection.libraries import import_transformers
from audioattn_lib.models.attentive_head import AttentiveHead
from audioattn_lib.training.loop import fit, select_device
from audioattn_lib.training.run_directory import RunDirectory
from audioattn_lib.training.schedules import cosine
from audioattn_lib.training.settings import TrainingSettings

from . import urban_sound
from .common.classification import classification_loss, validate
from .common.corpus import Clip, PreparedCorpus
from .common.runs import resolve_fold
from .urban_sound import Config, Prepared

__all__ = [
    "TrainedNetwork",
    "examples",
    "fit_classifier",
    "prepare",
    "score_classifier",
    "train_spectrogram_transformer",
]

Forward = Callable[[nn.Module, Batch], Tensor]

_RATE = 16_000
_PATCH = 16
_BANDS = 64
_STRIDES = (16, 16)
"""From one patch to the next, in bands and in frames of 10 ms."""
_LONGEST = 1024
"""Frames that the published network hears: 10 s."""
_SHORTEST = 400
"""Samples of one frame."""


def fit_classifier(
    model: nn.Module,
    train: BatchLoader,
    valid: Batches,
    directory: str | Path,
    *,
    epochs: int,
    learning_rate: float = 1e-3,
    weight_decay: float = 0.01,
    forward: Forward | None = None,
    device: str = "auto",
    **settings: Any,
) -> pd.DataFrame:
    r"""Train any classifier with the loop of this library: the best epoch is kept, a killed training goes on.

    The loss is the cross entropy of class numbers, or the binary one of rows of 0 and 1. Adam with weight decay takes
    a learning rate that rises during a tenth of the steps and falls to 0 along half a cosine.

    Parameters
    ----------
    model
        Is changed; parameters without ``requires_grad`` stay as they are.
    train, valid
        Batches to learn from, and to choose the epoch by.
    directory
        For ``checkpoint/`` and ``history.csv``. A training of the same network that was killed here is continued; a
        finished one is read back.
    epochs
        Passes over the training clips, at least 1.
    learning_rate, weight_decay
        Highest learning rate, above 0; weight decay, at least 0.
    forward
        From model and batch to scores before softmax, shape ``(B, C)``. By default ``model(features)`` or its
        ``logits``, and ``model(features, lengths)`` of an
        :class:`~audioattn_lib.models.attentive_head.AttentiveHead`.
    device
        Where to train, a name that PyTorch knows; ``auto`` takes CUDA where there is one.
    **settings
        More of :class:`~audioattn_lib.training.settings.TrainingSettings`.

    Returns
    -------
    DataFrame
        A row an epoch: losses and accuracies of both sets of clips, learning rate, seconds.

    Raises
    ------
    ConfigError
        When a setting cannot be used, or the model gives no scores.
    RunError
        When a loss is not finite.

    Notes
    -----
    Book page: ``bring_your_own_model``.
    """
    used = select_device(device)
    parameters = [each for each in model.parameters() if each.requires_grad]
    if not parameters:
        raise ConfigError(f"{type(model).__name__} has no parameter that is trained; none has requires_grad")
    scores = _Scores(forward)
    steps = epochs * len(train)
    options = {"tensorboard": False, "monitor": "loss", **settings}
    return fit(
        model,
        torch.optim.AdamW(parameters, lr=learning_rate, weight_decay=weight_decay),
        cosine(learning_rate, max(steps, 1), steps // 10),
        train,
        lambda network, batch: classification_loss(scores(network, batch), batch.targets),
        lambda network: score_classifier(network, valid, forward),
        TrainingSettings(epochs=epochs, **options),
        RunDirectory(Path(directory)),
        device=used,
        describe=lambda batch: f"clips {batch.indices.tolist()}",
    )


@torch.no_grad()
def score_classifier(model: nn.Module, batches: Batches, forward: Forward | None = None) -> dict[str, float]:
    """Mean loss, accuracy and error of a classifier, and macro F1 with one class a clip.

    Parameters
    ----------
    model
        In evaluation mode.
    batches
        Clips.
    forward
        As in :func:`fit_classifier`.

    Notes
    -----
    Book page: ``bring_your_own_model``.
    """
    return validate(_Scored(model, forward), batches)


def prepare(config: Config) -> tuple[Prepared, Split]:
    """Corpus of a configuration of the chapter on urban sounds, and its clips for training, validation and test.

    Parameters
    ----------
    config
        Its fields ``data``, ``fold``, ``protocol`` and those of the front end count.

    Notes
    -----
    Book page: ``bring_your_own_model``.
    """
    corpus = urban_sound.prepare(config)
    return corpus, corpus.split(resolve_fold(config, corpus.manifest))


def examples(corpus: PreparedCorpus, split: Split, count: int = 24) -> list[Clip]:
    """Test clips of one length, evenly over all that have it: the length of most test clips.

    Parameters
    ----------
    corpus, split
        As :func:`prepare` gives them.
    count
        About how many clips, at least 1.

    Notes
    -----
    Book page: ``bring_your_own_model``.
    """
    return [corpus.clip(corpus.manifest.ids[row]) for row in corpus.rows_of_one_length(split.test, count)]


class _Scores:
    """Scores of a batch, shape (B, C)."""

    def __init__(self, forward: Forward | None) -> None:
        self.forward = forward

    def __call__(self, model: nn.Module, batch: Batch) -> Tensor:
        if self.forward is not None:
            logits: Any = self.forward(model, batch)
        elif isinstance(getattr(model, "module", model), AttentiveHead):  # as one of several processes wraps it
            logits = model(batch.features, batch.lengths)[0]
        else:
            logits = model(batch.features)
            logits = getattr(logits, "logits", logits)
        if not isinstance(logits, Tensor) or logits.dim() != 2:
            raise ConfigError(
                f"{type(model).__name__} gave {tuple(logits.shape) if isinstance(logits, Tensor) else type(logits)} "
                "and no scores of shape (clips, classes); give forward"
            )
        return logits.float()


class _Scored(nn.Module):
    """A model as what the experiments validate: from features and lengths to scores and more."""

    def __init__(self, model: nn.Module, forward: Forward | None) -> None:
        super().__init__()
        self.model, self.scores = model, _Scores(forward)

    def forward(self, features: Tensor, lengths: Tensor) -> tuple[Tensor]:
        nothing = torch.zeros(0, dtype=torch.int64)
        return (self.scores(self.model, Batch(features, lengths, nothing, nothing)),)


@dataclass(frozen=True)
class TrainedNetwork:
    """A network in a folder, and how it came about.

    Attributes
    ----------
    path
        Folder with ``config.json``, ``model.safetensors`` and ``preprocessor_config.json``.
    history
        Of :func:`fit_classifier`.
    scores
        Of :func:`score_classifier` on the test clips.
    """

    path: Path
    history: pd.DataFrame
    scores: Mapping[str, float]


def train_spectrogram_transformer(
    corpus: PreparedCorpus,
    split: Split,
    folder: str | Path,
    *,
    epochs: int = 30,
    learning_rate: float = 2.5e-3,
    batch_size: int = 16,
    seed: int = 0,
    device: str = "auto",
    **sizes: Any,
) -> TrainedNetwork:
    """Build a small audio spectrogram transformer, train it, and save it as a folder of ``transformers``.

    Its input is that of the published network: 64 log-mel bands under Kaldi's filters, frames of 25 ms every 10 ms,
    standardised by the training clips. Patches are 16 by 16, side by side: 160 ms wide. In training, clips are rolled
    in time, are louder or softer, and lack some bands.

    Parameters
    ----------
    corpus
        Sounds and targets; its own features are not used.
    split
        Clips to train with, to choose the epoch by, and to test on.
    folder
        Where to save the network; ``training/`` in it holds the checkpoints.
    epochs, learning_rate, device
        As in :func:`fit_classifier`.
    batch_size
        Clips in a batch, at least 1.
    seed
        Of weights, batches and dropout.
    **sizes
        Fields of ``transformers.ASTConfig``; by default two layers of four heads, 96 wide.

    Returns
    -------
    TrainedNetwork
        :func:`~audioattn_lib.inference.pretrained.attention.load_pretrained_attention` reads its folder.

    Raises
    ------
    ConfigError
        When ``transformers`` is not installed.

    Notes
    -----
    Clips that are longer than 10 s are cut there. Source: Gong et al., *AST: audio spectrogram transformer*,
    Interspeech 2021. Book page: ``bring_your_own_model``.
    """
    library = import_transformers()
    frames = int(min(np.ceil((corpus.manifest.durations.max() + 0.015) * 100), _LONGEST))
    extractor = library.ASTFeatureExtractor(
        sampling_rate=_RATE, num_mel_bins=_BANDS, max_length=max(frames, _PATCH), do_normalize=False
    )
    features = _extract(extractor, corpus, np.concatenate([split.train, split.valid, split.test]))
    training = features[torch.as_tensor(split.train)]
    extractor.mean, extractor.std, extractor.do_normalize = float(training.mean()), float(training.std()), True
    store = ArrayStore(extractor.normalize(features))

    torch.manual_seed(seed)
    over_bands, over_time = _STRIDES
    shape: dict[str, Any] = {
        "hidden_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 128,
    }
    shape |= {"hidden_dropout_prob": 0.1, "initializer_range": 0.05, "attention_probs_dropout_prob": 0.0}
    config = library.ASTConfig(
        **(shape | sizes),
        patch_size=_PATCH,
        frequency_stride=over_bands,
        time_stride=over_time,
        num_mel_bins=_BANDS,
        max_length=extractor.max_length,
        id2label=dict(enumerate(corpus.classes)),
        label2id={name: number for number, name in enumerate(corpus.classes)},
        problem_type="multi_label_classification" if corpus.is_multilabel else "single_label_classification",
    )
    model = library.ASTForAudioClassification(config)

    used = select_device(device)

    def batches(rows: NDArray[np.int64], *, shuffle: bool = False) -> BatchLoader:
        return BatchLoader(store, corpus.targets, rows, batch_size, shuffle, seed, used)

    folder = Path(folder)
    history = fit_classifier(
        model,
        batches(split.train, shuffle=True),
        batches(split.valid),
        folder / "training",
        epochs=epochs,
        learning_rate=learning_rate,
        weight_decay=0.05,
        forward=_hear_shifted,
        device=device,
        monitor="error",
    )
    scores = score_classifier(model, batches(split.test))
    if is_main_process():
        model.save_pretrained(folder)
        extractor.save_pretrained(folder)
    return TrainedNetwork(folder, history, scores)


def _hear_shifted(model: nn.Module, batch: Batch) -> Tensor:
    """Scores; in training of clips that are rolled in time, louder or softer, and without some neighbouring bands."""
    features = batch.features
    if model.training:
        clips, frames, bands = features.shape
        shift = torch.randint(frames, (clips, 1), device=features.device)
        places = (torch.arange(frames, device=features.device) + shift) % frames
        rolled = features.gather(1, places[..., None].expand_as(features))
        first = torch.randint(bands, (clips, 1, 1), device=features.device)
        band = torch.arange(bands, device=features.device)
        masked = (band >= first) & (band < first + bands // 8)
        features = (rolled + 0.1 * torch.randn(clips, 1, 1, device=features.device)).masked_fill(masked, 0.0)
    scores: Tensor = model(features).logits
    return scores


def _extract(extractor: Any, corpus: PreparedCorpus, rows: NDArray[np.int64]) -> Tensor:
    """Features of some clips, shape (clips of the corpus, frames, bands), 0 elsewhere."""
    features = torch.zeros(len(corpus.manifest), extractor.max_length, extractor.num_mel_bins)
    for row in rows.tolist():
        sound, _ = corpus.manifest.read_audio(row, _RATE)
        sound = np.pad(sound, (0, max(_SHORTEST - len(sound), 0)))
        features[row] = torch.as_tensor(extractor(sound, sampling_rate=_RATE)["input_values"][0])
    return features
