"""A corpus and its options as one text, as configurations and command lines hold it; and a corpus made ready."""

from __future__ import annotations

import ast
import html
import logging
import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from audioattn_lib.attention.record.record import FrameClock
from audioattn_lib.audio.features.kaldi_mel import KaldiMel
from audioattn_lib.audio.features.log_mel import LogMel
from audioattn_lib.audio.features.magnitude_mel import MagnitudeMel
from audioattn_lib.core.errors import ConfigError
from audioattn_lib.data.audit import audit
from audioattn_lib.data.corpora import load
from audioattn_lib.data.files import cache_directory
from audioattn_lib.data.loading.arrays import ArrayStore
from audioattn_lib.data.loading.batches import BatchLoader, Store
from audioattn_lib.data.loading.store import FeatureStore, StoredType
from audioattn_lib.data.manifest import UNKNOWN, Event, Manifest
from audioattn_lib.data.splits import Split, split_clips
from audioattn_lib.training.loop import select_device

from .config import ExperimentConfig
from .frames.averaged import AveragedFrames
from .frames.encoder import PretrainedFrames

__all__ = ["Clip", "PreparedCorpus", "checked", "corpora_of", "load_checked", "load_corpus", "parse_corpus"]

log = logging.getLogger("audioattn")

FrontEnd = LogMel | MagnitudeMel | KaldiMel | PretrainedFrames | AveragedFrames
"""What makes the features of a corpus."""


@dataclass(frozen=True)
class Clip:
    """One sound with everything that a picture or a player of it needs.

    Parameters
    ----------
    name, label
        Identifier and label in the manifest.
    samples, sample_rate
        The sound, shape ``(n,)``, and its rate in hertz.
    features, clock, frequencies
        Log-mel in decibels, shape ``(frames, bands)``, the time of its frames and the centre of its bands in hertz.
    events
        What is known to sound when; empty where nothing is known.
    """

    name: str
    label: str
    samples: NDArray[np.float32]
    sample_rate: int
    features: NDArray[np.float32]
    clock: FrameClock
    frequencies: NDArray[np.float64]
    events: tuple[Event, ...]

    @property
    def title(self) -> str:
        """The label for people: several classes joined by commas, underscores as spaces."""
        if self.label == UNKNOWN:
            return "unknown"
        return self.label.replace(";", ", ").replace("_", " ")

    @property
    def picture(self) -> dict[str, Any]:
        """Keyword arguments of the plot functions: features, clock, frequencies and events."""
        return {"features": self.features, "clock": self.clock, "frequencies": self.frequencies, "events": self.events}


def parse_corpus(text: str) -> tuple[str, dict[str, Any]]:
    """Name or path, and options, of ``"city?clips_per_class=8&duration=2"``.

    Values are Python literals where they can be read as such, and text otherwise.

    Raises
    ------
    ConfigError
        When the name is empty or an option is not ``name=value``.
    """
    name, _, query = text.partition("?")
    if not name:
        raise ConfigError(f"data is {text!r}; it must be the name of a corpus or the path of a folder")
    options: dict[str, Any] = {}
    for option in query.split("&") if query else ():
        key, equals, value = option.partition("=")
        if not key or not equals:
            raise ConfigError(f"data is {text!r}; {option!r} is no option, write name=value&name=value behind the ?")
        try:
            options[key] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            options[key] = value
    return name, options


def corpora_of(text: str) -> list[str]:
    """Texts of corpora, see :func:`parse_corpus`, that one text joins by ``" + "``."""
    return [each.strip() for each in text.split(" + ")]


def load_corpus(text: str) -> Manifest:
    """The corpus that ``text`` names, see :func:`parse_corpus`."""
    name, options = parse_corpus(text)
    return load(name, **options)


def load_checked(text: str, *, skip_bad_clips: bool = False, needs_classes: bool = True) -> Manifest:
    """The corpus that ``text`` names, without fault: an error lists what is wrong, or the log what was left out.

    Parameters
    ----------
    text
        Corpus and options.
    skip_bad_clips
        Leave out clips that fail the check.
    needs_classes
        Whether one class alone is an error; False for what trains and tests no classifier on this corpus.

    Raises
    ------
    ManifestError
        When the check finds an error, unless clips with one are skipped.
    """
    return checked(load_corpus(text), skip_bad_clips=skip_bad_clips, needs_classes=needs_classes)


def checked(manifest: Manifest, *, skip_bad_clips: bool = False, needs_classes: bool = True) -> Manifest:
    """A manifest without fault, as :func:`load_checked`."""
    report = audit(manifest, needs_classes=needs_classes)
    if report.passed or not skip_bad_clips:
        report.raise_if_failed()
        return manifest
    log.warning("%s", report)
    return report.skippable


@dataclass(frozen=True, repr=False)
class PreparedCorpus:
    """A corpus ready for training: its table and its features.

    Parameters
    ----------
    manifest
        The clips.
    store
        Features of every clip, in decibels, as pictures show them; or frames of a pretrained encoder.
    front_end
        What made them.
    data_hash
        Hash of the content of the corpus.
    targets
        What is predicted of each clip: class numbers ``(n,)``, 0 and 1 of each label ``(n, classes)``, or numbers.
    """

    manifest: Manifest
    store: FeatureStore | ArrayStore
    front_end: FrontEnd
    data_hash: str
    targets: Tensor

    @classmethod
    def make(
        cls,
        manifest: Manifest,
        front_end: FrontEnd,
        config: ExperimentConfig,
        targets: Tensor | None = None,
        *,
        stored: StoredType = "float32",
        **more: Any,
    ) -> Self:
        """Compute the features of a corpus, or find them in the cache.

        Parameters
        ----------
        manifest
            The clips, checked.
        front_end
            From sound to features.
        config
            Its field ``device`` says where to compute.
        targets
            Of each clip; by default class numbers, or 0 and 1 of each label.
        stored
            Numbers of the features on disk.
        **more
            Further fields of the class.
        """
        folder, device = cache_directory() / "features", select_device(config.device)
        store = FeatureStore.build(manifest, front_end, folder, device=device, dtype=stored)
        if targets is None:
            targets = torch.as_tensor(np.asarray(manifest.label_indices()))
        return cls(manifest, store, front_end, manifest.content_hash(), targets, **more)

    def describe(self) -> str:
        """Return the corpus in a sentence of Markdown."""
        minutes = float(np.sum(self.manifest.durations)) / 60
        return f"**{self.manifest.name}**: {len(self.manifest):,} clips, {minutes:,.0f} minutes"

    def __repr__(self) -> str:
        return f"{type(self).__name__} {self.describe().replace('**', '')}"

    def _repr_html_(self) -> str:
        text = re.sub(r"[*][*](.+?)[*][*]", r"<b>\1</b>", html.escape(self.describe(), quote=False))
        return f'<p class="mathjax_ignore">{text}</p>'

    @property
    def classes(self) -> tuple[str, ...]:
        """Name of each output."""
        return tuple(self.manifest.classes)

    @property
    def is_multilabel(self) -> bool:
        """True where a clip has any number of labels."""
        return self.targets.ndim == 2

    def split(self, config: Any) -> Split:
        """Rows that train, choose the epoch and test, by the fields ``fold``, ``protocol`` and ``seed``."""
        key = config.fold, getattr(config, "protocol", "nested"), config.seed
        if key not in self._splits:  # groups of classes take a second to spread
            self._splits[key] = split_clips(self.manifest, *key)
        return self._splits[key]

    @cached_property
    def _splits(self) -> dict[tuple[str, str, int], Split]:
        return {}

    def loader(
        self,
        rows: NDArray[np.int64],
        config: Any,
        device: torch.device,
        *,
        shuffle: bool = False,
        store: Store | None = None,
        resident: bool | None = None,
    ) -> BatchLoader:
        """Batches of some clips, in their order unless shuffled: of their features, or of what another store has."""
        return BatchLoader(
            self.store if store is None else store,
            self.targets,
            rows,
            batch_size=config.batch_size,
            shuffle=shuffle,
            seed=config.seed,
            device=device,
            resident=resident,
        )

    def rows_of_one_length(self, rows: NDArray[np.int64], count: int) -> NDArray[np.int64]:
        """Return about ``count`` of some rows, evenly over all whose clips have the length of most of them."""
        lengths = self.store.n_frames[rows]
        values, counts = np.unique(lengths, return_counts=True)
        alike = rows[lengths == values[counts.argmax()]]
        places = np.unique(np.linspace(0, len(alike) - 1, min(count, len(alike))).round().astype(int))
        spread: NDArray[np.int64] = alike[places]
        return spread

    @property
    def groups(self) -> NDArray[np.str_]:
        """Independent unit of each clip: its recording or speaker, or the clip itself."""
        table = self.manifest.table
        return np.asarray(table["group"] if "group" in table else table["file_name"], dtype=np.str_)

    @property
    def group_of(self) -> dict[str, str]:
        """Group of each clip by its identifier."""
        return dict(zip(self.manifest.ids, self.groups.tolist(), strict=True))

    @property
    def who(self) -> str:
        """Number of speakers as text; number of groups where the corpus does not name speakers."""
        table = self.manifest.table
        if "speaker" in table:
            return f"{table['speaker'].nunique()} speakers"
        if "group" not in table:
            return "speakers unknown"
        return f"{table['group'].nunique()} groups (speakers or recordings)"

    @property
    def clock(self) -> FrameClock:
        """Time of the feature frames."""
        return FrameClock(*self.front_end.clock)

    def clip(self, name: str) -> Clip:
        """One clip by its identifier, with everything a picture or a player needs."""
        row = self.manifest.ids.index(name)
        samples, rate = self.manifest.read_audio(row, self.front_end.sample_rate)
        bands, features = self.front_end, self.store[row]
        if isinstance(bands, PretrainedFrames | AveragedFrames):
            bands = bands.bands
            features = bands.cpu()(torch.as_tensor(samples)[None])[0][0]
        return Clip(
            name,
            self.manifest.table["label"].iloc[row],
            samples,
            rate,
            features.numpy(),
            FrameClock(*bands.clock),
            bands.frequencies.cpu().numpy(),
            self.events_of(row),
        )

    def events_of(self, row: int) -> tuple[Event, ...]:
        """Return the events of a clip that pictures mark."""
        return tuple(self.manifest.events(row))
