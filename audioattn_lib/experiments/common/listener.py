"""A trained network with all that a sound goes through before it and after it: what every chapter gives to ``load``.

A chapter derives a class from :class:`Listener` in its module ``listener`` and writes how its network is built, and two
functions: from waveforms to the input of the network, and from that to answers and attention. Windows, rates, channels,
files and batches are the same for all, see :mod:`audioattn_lib.inference`.

Book page: ``your_sounds``.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor, nn

from audioattn_lib.attention.record.record import AttentionRecord
from audioattn_lib.core.declarations import shorten
from audioattn_lib.core.errors import AudioAttnError, RunError
from audioattn_lib.models.layers.label_loss import label_probabilities
from audioattn_lib.training.model_folder import DESCRIPTION, FOLDER, ModelDescription, ModelFolder, Task, find_model
from audioattn_lib.training.run_directory import Run

from .config import ExperimentConfig, read_config

__all__ = ["Answers", "Listener", "call_inputs", "describe_model", "open_model", "save_model"]

C = TypeVar("C", bound=ExperimentConfig)
T = TypeVar("T")
Array = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Answers:
    """Answers of a network to a batch of sounds, on the host; a row a sound.

    Parameters
    ----------
    record
        Attention.
    probabilities
        Of the classes, shape ``(B, classes)``.
    scores
        Predicted numbers, shape ``(B,)``.
    embeddings
        Features that the answer is made of, shape ``(B, E)``.
    stages
        Probabilities after each hearing of a network that plays back, shape ``(B, stages, classes)``.
    """

    record: AttentionRecord = field(repr=False)
    probabilities: Array | None = None
    scores: Array | None = None
    embeddings: Array | None = None
    stages: Array | None = None

    @classmethod
    def of_logits(
        cls, logits: Tensor, record: AttentionRecord, embeddings: Tensor | None, *, is_multilabel: bool
    ) -> Answers:
        """Answers of a classifier, with the probabilities that the tests of runs have."""
        probabilities = label_probabilities(logits.float().cpu(), is_multilabel).numpy()
        vectors = None if embeddings is None else embeddings.float().cpu().numpy()
        return cls(record, probabilities=probabilities, embeddings=vectors)


class Listener(ABC, Generic[C]):
    """A trained network behind its front end.

    Parameters
    ----------
    folder
        The model, as it was read.

    Raises
    ------
    RunError
        When configuration, front end or weights do not fit together; the message names the field.
    """

    CONFIG: ClassVar[type[Any]]
    """Configuration of the chapter."""

    def __init__(self, folder: ModelFolder) -> None:
        self.description = folder.description
        self.file = file = folder.path / DESCRIPTION
        self.config: C = read_config(self.CONFIG, folder.description.config, file, "copy the folder again")
        self.network, self.front_end = self.build()
        identity = getattr(self.front_end, "identity", "")
        if identity != self.description.front_end:
            raise RunError(
                f"{file}: front_end is {self.description.front_end}, and this version of audioattn makes {identity}; "
                f"use audioattn {self.description.library}, which wrote it"
            )
        folder.load_into(self.network)
        self.network.eval()

    @property
    def is_multilabel(self) -> bool:
        """True where a sound has any number of labels."""
        return self.description.task == "labels"

    def setting(self, name: str, kind: type[T]) -> T:
        """One of ``settings`` in ``model.json``; a :class:`RunError` names one that is missing or of another type."""
        value = self.description.settings.get(name)
        if not isinstance(value, kind) or isinstance(value, bool) != (kind is bool):
            raise RunError(
                f"{self.file}: settings.{name} is {shorten(value)}; it must be of type {kind.__name__}. Copy the "
                "folder again"
            )
        return value

    @property
    def shortest_seconds(self) -> float:
        """Window of the front end: of a shorter sound no frame is filled."""
        length = getattr(self.front_end, "win_length", None) or self.front_end.n_fft
        return float(length) / self.description.sample_rate

    @property
    def frame_period(self) -> float:
        """Seconds from one frame of the record to the next."""
        return self.description.clock[0]

    def label(self, probabilities: Array) -> str:
        """Most probable class of ``(classes,)``; of labels all above one half, joined by ``;``."""
        names = self.description.classes
        if self.is_multilabel:
            return ";".join(name for name, value in zip(names, probabilities, strict=True) if value > 0.5)
        return names[int(probabilities.argmax())]

    @abstractmethod
    def build(self) -> tuple[nn.Module, Any]:
        """The network, with any weights, and its front end, by ``config`` and ``description``."""

    def inputs(
        self, waveforms: Float[Tensor, "batch samples"], lengths: Int[Tensor, " batch"]
    ) -> tuple[Tensor, Tensor]:
        """From waveforms at ``description.sample_rate`` to the input of the network and its lengths."""
        features, n_frames = self.front_end(waveforms, lengths)
        return features, n_frames

    @abstractmethod
    def answers(self, inputs: Tensor, lengths: Int[Tensor, " batch"]) -> Answers:
        """From the input of the network to answers and attention."""

    @torch.no_grad()
    def hear(self, waveforms: Float[Tensor, "batch samples"], lengths: Int[Tensor, " batch"]) -> Answers:
        """Both, one after the other."""
        return self.answers(*self.inputs(waveforms, lengths))

    def traced(self) -> nn.Module:
        """The network behind the front end, with a method ``trace`` where it can be exported."""
        return self.network

    def to(self, device: torch.device) -> None:
        """Move network and front end."""
        self.network.to(device)
        if isinstance(self.front_end, nn.Module):
            self.front_end.to(device)


@contextmanager
def call_inputs(module: nn.Module) -> Iterator[list[Tensor]]:
    """Collect the first argument of each call of a module while the block runs, such as the input of a classifier."""
    calls: list[Tensor] = []
    handle = module.register_forward_pre_hook(lambda _, arguments: calls.append(arguments[0].detach()))
    try:
        yield calls
    finally:
        handle.remove()


def describe_model(
    experiment: str, task: Task, config: Any, prepared: Any, path: Path, **more: Any
) -> ModelDescription:
    """Description of a model of a corpus.

    Parameters
    ----------
    experiment, task, config
        Of the run.
    prepared
        Its corpus.
    path
        The run directory.
    **more
        Further fields of :class:`~audioattn_lib.training.model_folder.ModelDescription`.
    """
    front_end = prepared.front_end
    fields = {"classes": tuple(prepared.classes), **more}
    return ModelDescription(
        experiment=experiment,
        task=task,
        config=dataclasses.asdict(config),
        sample_rate=int(front_end.sample_rate),
        clock=(float(front_end.clock[0]), float(front_end.clock[1])),
        clip_seconds=float(np.max(prepared.manifest.durations)),
        front_end=str(front_end.identity),
        run=path.name,
        **fields,
    )


def save_model(path: Path, description: ModelDescription, network: nn.Module) -> ModelFolder:
    """Write the model of a run into its directory."""
    return ModelFolder.write(path / FOLDER, description, network)


def open_model(run: Run, convert: Callable[[Run], ModelFolder]) -> ModelFolder:
    """The model of a run; of a run that is older than model folders, it is made by ``convert`` from its corpus.

    Raises
    ------
    RunError
        When there is none, or it cannot be made; the message says what is missing.
    """
    if (folder := find_model(run.path)) is not None:
        return ModelFolder.read(folder)
    settings: Mapping[str, Any] = run.config
    if "baseline" in settings:
        raise RunError(
            f"{run.path}: is a {settings['baseline']} baseline, which has no network; give the run of a model"
        )
    try:
        return convert(run)
    except RunError:
        raise
    except AudioAttnError as error:
        raise RunError(
            f"{run.path}: has no {FOLDER}/{DESCRIPTION}: it was made before models stood alone, and is converted only "
            f"where its corpus data={settings.get('data', '')!r} is: {error}"
        ) from error
