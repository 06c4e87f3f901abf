"""Recordings that mixtures are made of: division into folds, loudest stretches, beds of any length.

Book page: ``data``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

import numpy as np
from numpy.random import Generator

from audioattn_lib.core.errors import ManifestError

from ..manifest import Manifest
from .acoustics import RATE, Sound, samples
from .corpus import random_numbers

__all__ = ["Recordings", "divide_recordings", "join_stretches", "loudest_stretch"]

_KEPT = 64
"""Clips whose samples are kept in memory."""
_HOP = 0.01
"""Seconds from one candidate of a loudest stretch to the next."""
_CROSS_FADE = 0.5
"""Seconds of a cross-fade between two stretches of a bed, at most a quarter of either."""


class Recordings:
    """Clips of a corpus by class and recording, checked, and read at the rate of the mixtures.

    Parameters
    ----------
    manifest
        The corpus. Clips of one recording have the same ``group``; without that column each file is a recording.
    classes
        Classes to keep, at least one.
    option
        Option that names them, for messages.

    Attributes
    ----------
    rows
        Rows of the manifest by class and recording.

    Raises
    ------
    ManifestError
        When a class has no clip, a file cannot be read, or its rate is below that of the mixtures.
    """

    def __init__(self, manifest: Manifest, classes: Sequence[str], option: str) -> None:
        self.manifest = manifest.with_group()
        table = self.manifest.table
        self._groups = list(table["group"] if "group" in table else table["file_name"])
        labels = list(table["label"])
        absent = [name for name in classes if name not in set(labels)]
        if absent:
            listed = ", ".join(sorted(set(labels))[:20])
            raise ManifestError(
                f"{option} has {', '.join(absent)}, of which {manifest.name} has no recording; it has {listed}"
            )
        self.rows: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
        for row, (label, group) in enumerate(zip(labels, self._groups, strict=True)):
            if label in classes:
                self.rows[label][group].append(row)
        self._check([row for groups in self.rows.values() for rows in groups.values() for row in rows])
        self.samples = lru_cache(_KEPT)(self._read)

    @property
    def groups(self) -> dict[str, list[str]]:
        """Recordings of each class, in order."""
        return {label: sorted(groups) for label, groups in sorted(self.rows.items())}

    def of(self, label: str, group: str) -> list[int]:
        """Rows of a class of one recording."""
        return self.rows[label][group]

    def name(self, row: int) -> str:
        """File of a clip."""
        return str(self.manifest.table.at[row, "file_name"])

    def group(self, row: int) -> str:
        """Recording of a clip."""
        return self._groups[row]

    def licence(self, row: int) -> str:
        """Licence of a clip as its table states it, empty where it does not."""
        table = self.manifest.table
        return next((str(table.at[row, column]) for column in ("license", "licence") if column in table), "")

    def _check(self, rows: Iterable[int]) -> None:
        manifest = self.manifest
        ordered = sorted(rows)
        for row, inspection in zip(ordered, manifest.subset(ordered).inspect(progress=True), strict=True):
            where = f"{manifest.where(row)}: {manifest.paths[row]}"
            if inspection.kind or (inspection.cut and not manifest.accept_truncated):
                raise ManifestError(
                    f"{where}: {inspection.problem or inspection.cut}; mend it, or leave its row out "
                    f"(audioattn data check {manifest.root} lists all)"
                )
            if inspection.sample_rate < RATE:
                raise ManifestError(
                    f"{where}: {inspection.sample_rate} Hz; mixtures have {RATE} Hz, and a sound without its upper "
                    "part tells where it was put. Leave its row out, or take recordings of that rate or a higher one"
                )

    def _read(self, row: int) -> Sound:
        sound = self.manifest.read_audio(row, RATE)[0].astype(np.float64)
        if not np.any(sound):
            raise ManifestError(f"{self.manifest.where(row)}: {self.name(row)} is silent; leave its row out")
        return sound


def divide_recordings(groups: Mapping[str, Sequence[str]], n_folds: int, seed: int) -> dict[str, int]:
    """Divide recordings into folds, numbered from 1: each class spread evenly, the rarest class first.

    Parameters
    ----------
    groups
        Recordings of each class; one that several classes share is in one fold.
    n_folds
        Folds, at least 2.
    seed
        Chooses them.

    Raises
    ------
    ManifestError
        When a class has fewer recordings than folds, so that a fold would lack it.
    """
    fold_of: dict[str, int] = {}
    for label in sorted(groups, key=lambda name: (len(groups[name]), name)):
        rng = random_numbers(seed, "folds", label)
        order = sorted(groups[label])
        counts = [0] * n_folds
        for group in order:
            if group in fold_of:
                counts[fold_of[group] - 1] += 1
        turn = [int(fold) for fold in rng.permutation(n_folds)]
        for index in rng.permutation(len(order)):
            if (group := order[index]) not in fold_of:
                fold = min(turn, key=lambda candidate: counts[candidate])
                fold_of[group] = fold + 1
                counts[fold] += 1
        if not all(counts):
            raise ManifestError(
                f"class {label} has {len(order)} recordings, and {n_folds} folds need at least one each; "
                "take fewer folds (n_folds), other classes (classes, background_classes), or more recordings"
            )
    return fold_of


def loudest_stretch(sound: Sound, length: int) -> int:
    """First sample of the stretch of ``length`` samples with the most energy, in steps of 10 ms."""
    if length >= len(sound):
        return 0
    energy = np.concatenate([[0.0], np.cumsum(sound**2)])
    starts = np.arange(0, len(sound) - length + 1, samples(_HOP))
    return int(starts[np.argmax(energy[starts + length] - energy[starts])])


def join_stretches(stretches: Sequence[Sound], length: int, rng: Generator) -> Sound:
    """A bed of ``length`` samples: a part of a long stretch, or stretches in random order, cross-faded at equal power.

    Stretches are used again, in another order, until the bed is long enough.
    """
    longest = max(stretches, key=len)
    if len(longest) >= length:
        long_enough = [stretch for stretch in stretches if len(stretch) >= length]
        stretch = long_enough[int(rng.integers(len(long_enough)))]
        first = int(rng.integers(len(stretch) - length + 1))
        return stretch[first : first + length].copy()
    fade = min(samples(_CROSS_FADE), min(map(len, stretches)) // 4)
    rise = np.sin(0.5 * np.pi * (np.arange(fade) + 0.5) / fade) if fade else np.zeros(0)
    bed, end, last = np.zeros(length), 0, -1
    while end < length:
        order = [int(index) for index in rng.permutation(len(stretches))]
        if len(order) > 1 and order[0] == last:  # the same stretch twice in a row would be heard
            order.append(order.pop(0))
        for index in order:
            stretch = stretches[index].copy()
            begin = max(end - fade, 0)
            if end and fade:
                stretch[:fade] *= rise
                bed[begin:end] *= rise[::-1][: end - begin]
            cut = stretch[: length - begin]
            bed[begin : begin + len(cut)] += cut
            end, last = begin + len(cut), index
            if end >= length:
                break
    return bed
