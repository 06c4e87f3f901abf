"""The corpus of the chapter on scenes and instruments: features, test sets, domains.

Book page: ``scenes_and_instruments``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from audioattn_lib.core.errors import ConfigError, ManifestError
from audioattn_lib.data.loading.batches import BatchLoader
from audioattn_lib.data.loading.waveforms import WaveformStore
from audioattn_lib.data.manifest import Manifest
from audioattn_lib.data.splits import Split, fold_names, grouped_share, leave_domain_out, split_clips

from ..common.corpus import PreparedCorpus, load_checked
from .config import Config
from .network import build_front_end
from .results import test_title

__all__ = ["Prepared", "prepare"]


@dataclass(frozen=True, repr=False)
class Prepared(PreparedCorpus):
    """A corpus ready for training.

    Parameters
    ----------
    fixed_split
        Rows that train, validate and test; all test sets together.
    tests
        Name of the test set of each clip, empty where it is in none.
    domains
        Domain of each clip, empty where the corpus names none.
    """

    fixed_split: Split
    tests: NDArray[np.str_]
    domains: NDArray[np.str_]

    def split(self, config: Any) -> Split:
        """Rows that train, validate and test: the same for all configurations of this corpus."""
        return self.fixed_split

    def waveform_loader(
        self, rows: NDArray[np.int64], config: Config, device: torch.device, *, shuffle: bool = False
    ) -> BatchLoader:
        """Batches of the samples of some clips, where sound is to be changed first."""
        store = WaveformStore(self.manifest, config.sample_rate)
        return self.loader(rows, config, device, shuffle=shuffle, store=store, resident=False)

    def describe(self) -> str:
        """The corpus in a few sentences."""
        manifest = self.manifest
        minutes = float(np.sum(manifest.durations)) / 60
        tests = sorted(set(self.tests) - {""})
        counts = ", ".join(f"{int((self.tests == name).sum())} test {test_title(name)}" for name in tests)
        text = f"**{manifest.name}**: {len(manifest)} clips, {minutes:.0f} minutes, {len(manifest.classes)} classes; "
        text += f"{len(self.fixed_split.train)} train, {len(self.fixed_split.valid)} validate, {counts}."
        unused = len(manifest) - len(self.fixed_split.train) - len(self.fixed_split.valid) - len(self.fixed_split.test)
        text += f" The other {unused} clips are in no part." if unused else ""
        if manifest.name == "orchestra":
            text += " Every sound is synthetic, made by this library, and so are the devices that record it."
        return text


def prepare(config: Config) -> Prepared:
    """Load and check the corpus, and compute its features once; both are kept for the next call.

    The clips that validate are the same for all seeds.
    """
    names = ("data", "held_out", "test_valid", "front_end", "sample_rate", "n_mels", "hop_seconds", "f_max_jitter")
    return _prepare(Config(**config.select(*names, "skip_bad_clips", "device")))


@lru_cache(maxsize=4)
def _prepare(config: Config) -> Prepared:
    manifest = load_checked(config.data, skip_bad_clips=config.skip_bad_clips)
    manifest.require_labels()
    if manifest.kind != "class":
        raise ConfigError(
            f"data is {config.data!r}, whose labels are {manifest.kind}; this experiment needs one class a clip"
        )
    split, tests = _divide(manifest, config.held_out, config.test_valid)
    table = manifest.table
    domains = np.asarray(table["domain"] if "domain" in table else [""] * len(table), dtype=np.str_)
    unheard = sorted(set(domains[tests == "test_seen"]) - set(domains[split.train]))
    if unheard:
        raise ManifestError(
            f"{manifest.name}: test_seen has clips of domain {', '.join(unheard)}, which no training clip has; give "
            "that test another name, such as test_unseen_device, or train on these domains"
        )
    return Prepared.make(manifest, build_front_end(config), config, fixed_split=split, tests=tests, domains=domains)


def _divide(manifest: Manifest, held_out: str, test_valid: bool) -> tuple[Split, NDArray[np.str_]]:
    """Rows that train, validate and test, and the test set of each clip, empty where it is in none."""
    tests = np.full(len(manifest), "", dtype=object)
    if held_out:
        split = leave_domain_out(manifest, held_out)
        tests[split.test] = f"test_{held_out}"
        return split, tests.astype(np.str_)
    table = manifest.table
    parts = {name: split_clips(manifest, name) for name in fold_names(manifest)}
    parts = parts if "split" in table and "fold" not in table else dict(list(parts.items())[:1])
    for name, fold in parts.items():
        tests[fold.test] = name if name.startswith("test") else f"test_{name}"
    first = next(iter(parts.values()))
    train, valid = first.train, first.valid
    if test_valid:
        if "test_seen" in parts:
            raise ConfigError(f"test_valid is true, and {manifest.name} has a test_seen of its own; leave it false")
        tests[valid] = "test_seen"
        valid = grouped_share(manifest, train)
        train = np.setdiff1d(train, valid)
    return Split(train, valid, np.flatnonzero(tests != "")), tests.astype(np.str_)
