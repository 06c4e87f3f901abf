"""The corpus of the chapter on accents: what is predicted, who speaks, and the batches that training and tests hear.

Book page: ``accents``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from audioattn_lib.audio.augmentation.masking import mask_features
from audioattn_lib.audio.augmentation.voices import VoiceAugmentation
from audioattn_lib.core.errors import ConfigError, ManifestError
from audioattn_lib.data.loading.batches import TransformedLoader
from audioattn_lib.data.loading.waveforms import SoundLoader, WaveformStore
from audioattn_lib.data.loading.windows import SampledLoader, WindowLoader
from audioattn_lib.data.manifest import Event, Manifest
from audioattn_lib.data.splits import Split, check_groups, fold_names

from ..common.corpus import PreparedCorpus, checked, load_corpus
from .attention_evaluation import carrying_events
from .config import Config
from .network import build_sound_front_end
from .utterances import Normalisation

__all__ = ["CORPUS_FIELDS", "Prepared", "prepare", "whole_utterances", "windows"]

CORPUS_FIELDS = ("data", "target", "closed_set", "unknown", "sample_rate", "n_mels", "features", "skip_bad_clips")
"""Fields of a configuration that say what the corpus is."""


@dataclass(frozen=True, repr=False)
class Prepared(PreparedCorpus):
    """A corpus ready for training.

    Parameters
    ----------
    names
        Names of the known classes; the target of the clips of the unknown one is -1.
    speakers
        Who speaks in each clip; ``""`` throughout where the corpus does not say so.
    units
        What must not be counted twice, for each clip: its speaker, else its group, else the clip itself.
    closed_set
        Whether speakers of the test are heard in training.
    """

    names: tuple[str, ...]
    speakers: NDArray[np.str_]
    units: NDArray[np.str_]
    closed_set: bool

    @property
    def classes(self) -> tuple[str, ...]:
        """Name of each output: the classes that are known."""
        return self.names

    def events_of(self, row: int) -> tuple[Event, ...]:
        """Return what is known to carry the label of a clip; pictures mark it."""
        return carrying_events(self.manifest, row)

    @property
    def groups(self) -> NDArray[np.str_]:
        """Independent unit of each clip: :attr:`units`."""
        return self.units

    @property
    def unit(self) -> str:
        """Type of the entries of :attr:`units`: ``"speakers"``, ``"groups"`` or ``"clips"``."""
        table = self.manifest.table
        return "speakers" if "speaker" in table else "groups" if "group" in table else "clips"

    def describe(self) -> str:
        """The corpus in a few sentences."""
        minutes = float(np.sum(self.manifest.durations)) / 60
        text = f"**{self.manifest.name}**: {len(self.manifest)} clips, {minutes:.0f} minutes, "
        text += f"{len(self.classes)} classes, {self.who}, "
        folds = len(fold_names(self.manifest))
        text += f"{folds} test fold{'s' if folds != 1 else ''}."
        if self.manifest.name == "accents":
            text += " Every voice is synthetic, made by this library, and the accents stand for no place."
        if self.unit != "speakers":
            text += f" It does not say who speaks: intervals are over {self.unit}, speakers are verified only with a "
            text += "list of trials, and a speaker may be heard both in training and in the test."
        elif self.closed_set:
            text += " Speakers of the test are heard in training too: a closed set."
        return text

    def sounds(self, names: Iterable[str]) -> dict[str, tuple[NDArray[np.float32], int]]:
        """Samples and rate of some clips by their name."""
        rows = {name: self.manifest.ids.index(name) for name in names}
        return {name: self.manifest.read_audio(row, self.front_end.sample_rate) for name, row in rows.items()}

    def split(self, config: Any) -> Split:
        """Rows that train, choose the epoch and test; of classes that are known."""
        split = super().split(config)
        is_known = (self.targets >= 0).numpy()
        return Split(*(rows[is_known[rows]] for rows in (split.train, split.valid, split.test)))

    def unknown(self, config: Config) -> NDArray[np.int64]:
        """Rows of the test fold whose class is the unknown one."""
        rows = super().split(config).test
        return rows[(self.targets < 0).numpy()[rows]]


def prepare(config: Config) -> Prepared:
    """Load and check the corpus, and compute its features once; both are kept for the next call.

    Raises
    ------
    ManifestError
        When clips are at fault, speakers cross splits, a class has one speaker, or a column is missing.
    """
    return _prepare(Config(**config.select(*CORPUS_FIELDS, "device")))


@lru_cache(maxsize=4)
def _prepare(config: Config) -> Prepared:
    aimed = _aim(load_corpus(config.data), config.target, config.closed_set)
    manifest = checked(aimed, skip_bad_clips=config.skip_bad_clips)
    if not config.closed_set and config.target != "speaker":
        check_groups(manifest)
    manifest.require_labels()
    names = tuple(name for name in manifest.classes if name != config.unknown)
    if manifest.kind != "class" or len(names) < 2:
        raise ManifestError(
            f"{manifest.name}: column {config.target} must hold one class a clip, of two or more classes"
        )
    if config.unknown and len(names) == len(manifest.classes):
        raise ConfigError(f"unknown is {config.unknown!r}; it must be one of {', '.join(manifest.classes)}, or empty")
    position = {name: number for number, name in enumerate(names)}
    table = manifest.table
    units = next(table[name] for name in ("speaker", "group", "file_name") if name in table)
    speakers = table["speaker"] if "speaker" in table else [""] * len(table)
    return Prepared.make(
        manifest,
        build_sound_front_end(config.features, config.sample_rate, config.n_mels),
        config,
        torch.tensor([position.get(label, -1) for label in table["label"]]),
        names=names,
        speakers=np.asarray(speakers, dtype=np.str_),
        units=np.asarray(units, dtype=np.str_),
        closed_set=config.closed_set,
    )


def _aim(manifest: Manifest, target: str, closed_set: bool) -> Manifest:
    """The corpus with the wanted column as label, and the speaker as what must not cross splits."""
    table = manifest.table
    if target not in table:
        raise ManifestError(f"{manifest.name}: no column {target!r} to predict; it has {', '.join(table)}")
    table = table.assign(label=table[target])
    if "vowel_labels" in table and "event_labels" not in table:
        table = table.assign(**{f"event_{field}": table[f"vowel_{field}"] for field in ("labels", "onsets", "offsets")})
    if closed_set:
        table = table.drop(columns=[name for name in ("group",) if name in table])
    elif "group" not in table and "speaker" in table:
        table = table.assign(group=table["speaker"])
    return dataclasses.replace(manifest, table=table)


def whole_utterances(
    prepared: Prepared, rows: NDArray[np.int64], config: Config, device: torch.device
) -> TransformedLoader:
    """Whole utterances in the order of ``rows``, normalised, for validation and test."""
    return TransformedLoader(prepared.loader(rows, config, device), Normalisation.of(config))


def windows(prepared: Prepared, rows: NDArray[np.int64], config: Config, device: torch.device) -> WindowLoader:
    """Windows of a sample of the utterances: what is trained on."""
    if config.clips_per_speaker and prepared.unit != "speakers":
        raise ConfigError(
            f"clips_per_speaker is {config.clips_per_speaker}, but {prepared.manifest.name} does not say who speaks; "
            "leave it at 0, or give a metadata.csv with a column speaker"
        )
    options: dict[str, Any] = {
        "speakers": prepared.units,
        "most": config.clips_per_speaker or None,
        "is_balanced": config.balanced,
    }
    rest = (prepared.targets, rows, config.batch_size, config.seed, device)
    loader: SampledLoader
    if config.augmentation:
        sounds = WaveformStore(prepared.manifest, prepared.front_end.sample_rate)
        loader = SoundLoader(
            sounds, *rest, front_end=prepared.front_end, change=VoiceAugmentation(config.changes), **options
        )
    else:
        loader = SampledLoader(prepared.store, *rest, **options)
    window = round(config.clip_seconds / prepared.clock.period) if config.clip_seconds else None
    normalised = TransformedLoader(loader, Normalisation.of(config))
    return WindowLoader(normalised, None if window is None else max(1, window), mask_features if config.mask else None)
