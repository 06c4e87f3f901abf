"""The corpus of play it back: waveforms to listen to at any hop, spectrograms for pictures and the baseline.

Book page: ``playback``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from audioattn_lib.audio.features.multi_resolution import MultiResolutionLogMel
from audioattn_lib.core.errors import ConfigError
from audioattn_lib.data.loading.batches import BatchLoader
from audioattn_lib.data.loading.waveforms import WaveformStore
from audioattn_lib.data.loading.windows import WindowLoader
from audioattn_lib.models.playback.outputs import Tasks

from ..common.classification import label_events
from ..common.corpus import PreparedCorpus, load_checked
from .config import Config
from .tasks import read_tasks

__all__ = ["Prepared", "build_front_end", "prepare"]


@dataclass(frozen=True, repr=False)
class Prepared(PreparedCorpus):
    """A corpus ready for training.

    Parameters
    ----------
    waveforms
        Samples of every clip.
    names
        Name of each output.
    tasks
        How the classes are divided among several questions; None is one.
    """

    waveforms: WaveformStore
    names: tuple[str, ...]
    tasks: Tasks | None = None

    @property
    def classes(self) -> tuple[str, ...]:
        """Name of each output."""
        return self.names

    @property
    def is_multilabel(self) -> bool:
        """True where a clip has any number of labels, and not an answer in each of several tasks."""
        return self.targets.ndim == 2 and self.tasks is None

    def describe(self) -> str:
        """The corpus in two sentences."""
        manifest = self.manifest
        minutes = float(np.sum(manifest.durations)) / 60
        text = f"**{manifest.name}**: {len(manifest)} clips, {minutes:.0f} minutes, {len(manifest.classes)} classes"
        if self.tasks is not None:
            counts = zip(self.tasks.names, self.tasks.sizes, strict=True)
            text += "; at once: " + ", ".join(f"{name} ({size})" for name, size in counts) + "."
        else:
            text += ", several in a clip." if self.is_multilabel else ", one a clip."
        if manifest.name == "needles":
            text += " Every sound is synthetic, made by this library, and the time of every event is known."
        elif self.has_events:
            text += " The times of events are known."
        else:
            text += " The times of events are not known, so nobody can say whether the right parts were played back."
        return text

    @property
    def has_events(self) -> bool:
        """True where the corpus says when its events are."""
        return "event_onsets" in self.manifest.table

    def event_places(self, count: int, seconds: float) -> Tensor:
        """Parts of this length around the first events of each clip, in seconds, NaN where there are fewer."""
        places = torch.full((len(self.manifest), count, 2), torch.nan, dtype=torch.float64)
        for row, events in enumerate(label_events(self.manifest, np.arange(len(self.manifest)))):
            for place, (onset, offset) in enumerate(sorted(events)[:count]):
                start = max((onset + offset - seconds) / 2, 0.0)
                places[row, place, 0], places[row, place, 1] = start, start + seconds
        return places

    def waveform_loader(
        self, rows: NDArray[np.int64], config: Config, device: torch.device, *, shuffle: bool = False
    ) -> BatchLoader:
        """Batches of whole clips, as samples."""
        return self.loader(rows, config, device, shuffle=shuffle, store=self.waveforms)

    def training_loader(
        self, rows: NDArray[np.int64], config: Config, device: torch.device
    ) -> BatchLoader | WindowLoader:
        """Batches to learn from, in another order in every epoch: crops where ``clip_seconds`` asks for them."""
        loader = self.waveform_loader(rows, config, device, shuffle=True)
        return WindowLoader(loader, config.window_samples) if config.clip_seconds else loader


def prepare(config: Config) -> Prepared:
    """Load and check the corpus, and compute the spectrograms of pictures and baseline; both are kept.

    Raises
    ------
    ConfigError
        When the oracle is asked and the corpus does not say when its events are.
    """
    names = ("data", "tasks", "sample_rate", "hop_seconds", "window_seconds", "n_mels", "skip_bad_clips", "device")
    prepared = _prepare(Config(**config.select(*names)))
    if config.selection == "oracle" and not prepared.has_events:
        raise ConfigError(f"selection is 'oracle', but {prepared.manifest.name} does not say when its events are")
    return prepared


@lru_cache(maxsize=4)
def _prepare(config: Config) -> Prepared:
    manifest = load_checked(config.data, skip_bad_clips=config.skip_bad_clips)
    if manifest.kind == "number":
        raise ConfigError(f"data is {config.data!r}, whose labels are numbers; this experiment needs classes")
    tasks, names, targets = None, tuple(manifest.classes), None
    if config.tasks:
        tasks, names, targets = read_tasks(manifest, config.tasks)
    front_end = build_front_end(config, stages=1)[0]
    waveforms = WaveformStore(manifest, config.sample_rate)
    return Prepared.make(manifest, front_end, config, targets, waveforms=waveforms, names=names, tasks=tasks)


def build_front_end(config: Config, stages: int) -> MultiResolutionLogMel:
    """The transform at the hops of all stages: ``hop_seconds``, half of it, a third of it and so on."""
    rate, samples = config.sample_rate, round(config.window_seconds * config.sample_rate)
    n_fft = 2 ** int(np.ceil(np.log2(max(samples, 2))))
    hop_length = round(config.hop_seconds * rate)
    return MultiResolutionLogMel(
        stages, rate, n_fft=n_fft, win_length=samples, hop_length=hop_length, n_mels=config.n_mels
    )
