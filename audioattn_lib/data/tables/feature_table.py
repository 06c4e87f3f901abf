"""Features of clips as one table, keyed by the name of the clip.

Tables of several systems are joined by name, in any order of rows; names that
are missing or stand twice are an error. What a table holds besides features
(labels, splits, groups) travels with it.

Book page: ``data``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from audioattn_lib.core.errors import AudioAttnError

from ..manifest import UNKNOWN, Manifest, parse_number

__all__ = ["RESERVED", "ClipLabels", "FeatureTable", "FeatureTableError", "fuse", "stack"]

RESERVED = ("filename", "chunk_nr", "label_nominal", "label_numeric", "split", "group", "cv_folds")
"""Names of columns that are no features, in auDeep's tables and ours."""

_SHOWN = 5


class FeatureTableError(AudioAttnError, ValueError):
    """Features that cannot be used or joined; the message names the clips or the file and line."""


@dataclass(frozen=True, eq=False)
class ClipLabels:
    """Metadata of clips by name: labels, values, splits and groups, without features.

    Parameters
    ----------
    source
        Where it is from, for errors.
    ids
        Name of each clip.
    labels
        As text, ``""`` where unknown.
    values
        As numbers, NaN where unknown.
    splits, groups
        ``""`` where unknown.

    Notes
    -----
    Book page: ``data``.
    """

    source: str
    ids: tuple[str, ...]
    labels: tuple[str, ...]
    values: NDArray[np.float64]
    splits: tuple[str, ...]
    groups: tuple[str, ...]

    @classmethod
    def of(cls, manifest: Manifest) -> ClipLabels:
        """Those of a corpus."""
        table = FeatureTable.from_manifest(manifest, np.zeros((len(manifest), 1)))
        return cls(manifest.name, table.ids, table.labels, table.values, table.splits, table.groups)

    def find(self, name: str) -> int | None:
        """Row of a clip, see :meth:`FeatureTable.described_by`."""
        base = name.rpartition("/")[2]
        for key in (name, base, _stem(base)):
            if key in self._rows:
                return self._rows[key]
        stem, _, label = _stem(base).rpartition("_")
        row = self._rows.get(stem)
        return row if row is not None and self.labels[row] in (label, "") else None

    @cached_property
    def _rows(self) -> dict[str, int]:
        bases = {row: name.rpartition("/")[2] for row, name in enumerate(self.ids)}
        rows = {_stem(base): row for row, base in bases.items()}
        return rows | {base: row for row, base in bases.items()} | {name: row for row, name in enumerate(self.ids)}


@dataclass(frozen=True, eq=False)
class FeatureTable:
    """Features of clips, shape ``(n, width)``, and what is known of the clips.

    Parameters
    ----------
    ids
        Name of each clip, as in :attr:`Manifest.ids <audioattn_lib.data.manifest.Manifest.ids>`.
    features
        Finite numbers, kept as float64, shape ``(n, width)``.
    names
        Name of each feature; ``feature_0`` and so on by default.
    labels
        Label of each clip as text, ``""`` where unknown; all unknown by default.
    values
        Label of each clip as a number, NaN where unknown; all unknown by default.
    splits, groups
        ``train``, ``devel``, ``test``; speaker or recording; ``""`` where unknown, as all are by default.
    chunks
        Number of the piece of the clip, where one clip has several rows; 0 by default.
    folds
        auDeep's folds: 0 where a clip trains and 1 where it validates, shape ``(n, folds)``; none by default.

    Raises
    ------
    FeatureTableError
        When lengths differ, a clip stands there twice, a value is not finite or a name is taken.

    Notes
    -----
    Book page: ``data``.
    """

    ids: tuple[str, ...]
    features: NDArray[np.float64]
    names: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    values: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    splits: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    chunks: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    folds: NDArray[np.int64] = field(default_factory=lambda: np.zeros((0, 0), dtype=np.int64))

    def __post_init__(self) -> None:
        features = np.asarray(self.features, dtype=np.float64)
        n = len(self.ids)
        if features.ndim != 2 or len(features) != n or not n or not features.shape[1]:
            raise FeatureTableError(
                f"features has shape {features.shape} for {n} clips; it must be (clips, features), each at least 1"
            )
        set_field = object.__setattr__
        set_field(self, "features", features)
        set_field(self, "ids", tuple(map(str, self.ids)))
        set_field(self, "names", tuple(self.names) or tuple(f"feature_{i}" for i in range(features.shape[1])))
        for name in ("labels", "splits", "groups"):
            set_field(self, name, tuple(map(str, getattr(self, name))) or ("",) * n)
        values = np.asarray(self.values, dtype=np.float64)
        chunks = np.asarray(self.chunks, dtype=np.int64)
        set_field(self, "values", values if values.size else np.full(n, np.nan))
        set_field(self, "chunks", chunks if chunks.size else np.zeros(n, dtype=np.int64))
        folds = np.asarray(self.folds, dtype=np.int64)
        set_field(self, "folds", folds if folds.size else np.zeros((n, 0), dtype=np.int64))
        for name in ("labels", "values", "splits", "groups", "chunks", "folds"):
            if len(getattr(self, name)) != n:
                raise FeatureTableError(f"{name} has {len(getattr(self, name))} values for {n} clips; give one a clip")
        if len(self.names) != features.shape[1]:
            raise FeatureTableError(f"{len(self.names)} names for {features.shape[1]} features; give one a feature")
        wrong = [name for name, count in Counter([*self.names, *RESERVED]).items() if count > 1]
        if wrong:
            raise FeatureTableError(f"two columns are called {_some(wrong)}; rename one")
        if len(self.rows) != n:
            twice = [key[0] for key, count in Counter(self.keys).items() if count > 1]
            raise FeatureTableError(f"{len(twice)} clips stand there twice: {_some(twice)}; keep one row of each")
        if not np.isfinite(features).all():
            row, column = (int(i) for i in np.argwhere(~np.isfinite(features))[0])
            raise FeatureTableError(f"{self.names[column]} of {self.ids[row]} is {features[row, column]}; not finite")

    @classmethod
    def from_manifest(cls, manifest: Manifest, features: ArrayLike, names: Sequence[str] = ()) -> FeatureTable:
        """Features of all clips of a corpus, in its order, with its labels, splits and groups.

        Parameters
        ----------
        manifest
            The corpus. A label that is a number is also kept as one; of classes the number is their place in
            :attr:`~audioattn_lib.data.manifest.Manifest.classes`.
        features
            Shape ``(len(manifest), width)``.
        names
            Of the features; ``feature_0`` and so on by default.
        """
        table = manifest.table
        labels = ["" if label == UNKNOWN else label for label in table["label"]]
        class_index = {name: i for i, name in enumerate(manifest.classes)}
        numbers = [parse_number(label) if label else None for label in labels]
        if any(number is None for number, label in zip(numbers, labels, strict=True) if label):
            numbers = [class_index.get(label) for label in labels]
        return cls(
            tuple(manifest.ids),
            np.asarray(features, dtype=np.float64),
            tuple(names),
            tuple(labels),
            np.array([np.nan if number is None else number for number in numbers]),
            tuple(table["split"]) if "split" in table else (),
            tuple(table["group"]) if "group" in table else (),
        )

    def described_by(self, source: Manifest | ClipLabels) -> FeatureTable:
        """Replace labels, splits and groups by those of a corpus or a file of labels.

        Parameters
        ----------
        source
            Clips are found by their name; or by the name of their file without its folder, as in the feature files of
            the challenges; or without its extension and with the label behind it, as the published code writes them
            (``train_0001_5.png`` is ``train_0001.wav`` with the label 5). Splits and groups that it does not know stay.

        Raises
        ------
        FeatureTableError
            When the source lacks a clip of the table; the message names it.
        """
        clip_labels = source if isinstance(source, ClipLabels) else ClipLabels.of(source)
        rows = [clip_labels.find(name) for name in self.ids]
        missing = [name for name, row in zip(self.ids, rows, strict=True) if row is None]
        if missing:
            raise FeatureTableError(f"{len(missing)} clips are not in {clip_labels.source}: {_some(missing)}")

        def some(column: str) -> tuple[str, ...]:
            theirs, own = getattr(clip_labels, column), getattr(self, column)
            return tuple(theirs[row] or text for row, text in zip(rows, own, strict=True))

        return replace(
            self,
            labels=tuple(clip_labels.labels[row] for row in rows if row is not None),
            values=clip_labels.values[np.array(rows, dtype=np.int64)],
            splits=some("splits"),
            groups=some("groups"),
        )

    def in_split(self, split: str) -> FeatureTable:
        """Replace the split of all clips."""
        return replace(self, splits=(split,) * len(self))

    def first(self, count: int) -> FeatureTable:
        """Select the first features, as the published option ``num_feat``.

        Raises
        ------
        FeatureTableError
            When there are not so many.
        """
        if not 1 <= count <= self.width:
            raise FeatureTableError(f"{count} features are asked for, and the table has {self.width}; give 1 to that")
        return replace(self, features=self.features[:, :count], names=self.names[:count])

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def width(self) -> int:
        """Number of features of a clip."""
        return int(self.features.shape[1])

    @property
    def keys(self) -> list[tuple[str, int]]:
        """Key of each row: the name of the clip and the number of its chunk."""
        return list(zip(self.ids, self.chunks.tolist(), strict=True))

    @cached_property
    def rows(self) -> dict[tuple[str, int], int]:
        """Row of each key."""
        return {key: row for row, key in enumerate(self.keys)}

    def take(self, rows: Sequence[int] | NDArray[np.int64]) -> FeatureTable:
        """The table of these rows, in this order."""
        selected = np.asarray(rows, dtype=np.int64)

        def some(values: tuple[str, ...]) -> tuple[str, ...]:
            return tuple(values[row] for row in selected)

        return replace(
            self,
            ids=some(self.ids),
            features=self.features[selected],
            labels=some(self.labels),
            values=self.values[selected],
            splits=some(self.splits),
            groups=some(self.groups),
            chunks=self.chunks[selected],
            folds=self.folds[selected],
        )

    def select(self, ids: Sequence[str]) -> FeatureTable:
        """The table of these clips, in this order, with all pieces of each.

        Raises
        ------
        FeatureTableError
            When a clip is not in the table; the message names it.
        """
        rows: dict[str, list[int]] = {}
        for row, name in enumerate(self.ids):
            rows.setdefault(name, []).append(row)
        missing = [name for name in ids if name not in rows]
        if missing:
            raise FeatureTableError(f"no features of {_some(missing)}; the table has {len(self)} rows")
        return self.take([row for name in ids for row in rows[name]])

    def of_split(self, split: str) -> FeatureTable:
        """The table of the clips of one split.

        Raises
        ------
        FeatureTableError
            When there is none; the message lists the splits there are.
        """
        rows = [row for row, name in enumerate(self.splits) if name == split]
        if not rows:
            listed = ", ".join(sorted(set(self.splits) - {""})) or "none"
            raise FeatureTableError(f"no clip is in split {split!r}; the table has {listed}")
        return self.take(rows)


def fuse(tables: Mapping[str, FeatureTable]) -> FeatureTable:
    """Join tables by clip: the features of all of them side by side.

    Parameters
    ----------
    tables
        By name, at least one; a feature is then called ``name.feature``.
        Rows may stand in any order; the first table decides the order of the
        result, and is asked first for labels, splits and groups.

    Returns
    -------
    FeatureTable
        Its ``width`` is the sum of theirs.

    Raises
    ------
    FeatureTableError
        When a clip is missing from one of them or the tables disagree about a clip; the message names it.

    Notes
    -----
    Book page: ``data``.
    """
    if not tables:
        raise FeatureTableError("there is nothing to fuse; give at least one table")
    (first_name, first), *others = tables.items()
    aligned = {first_name: first}
    for name, table in others:
        for table_with, table_without, lacking, source in (
            (first, table, name, first_name),
            (table, first, first_name, name),
        ):
            missing = [key[0] for key in table_with.keys if key not in table_without.rows]
            if missing:
                raise FeatureTableError(
                    f"{len(missing)} clips of {source} are not in {lacking}: {_some(missing)}; features are joined by "
                    "name, so every table must have every clip"
                )
        aligned[name] = table.take([table.rows[key] for key in first.keys])
    labels, splits, groups = (
        _agree(column, first, {name: getattr(table, column) for name, table in aligned.items()})
        for column in ("labels", "splits", "groups")
    )
    numbers = {
        name: tuple("" if np.isnan(value) else repr(float(value)) for value in table.values)
        for name, table in aligned.items()
    }
    values = np.array([float(text) if text else np.nan for text in _agree("values", first, numbers)])
    return replace(
        first,
        features=np.concatenate([table.features for table in aligned.values()], axis=1),
        names=tuple(f"{name}.{feature}" for name, table in aligned.items() for feature in table.names),
        labels=labels,
        values=values,
        splits=splits,
        groups=groups,
    )


def stack(tables: Mapping[str, FeatureTable]) -> FeatureTable:
    """Put the clips of several tables of the same features under one another.

    Parameters
    ----------
    tables
        By name, at least one, with the same names of features.

    Raises
    ------
    FeatureTableError
        When features differ or a clip stands in two tables; the message names them.

    Notes
    -----
    Book page: ``data``.
    """
    if not tables:
        raise FeatureTableError("there is nothing to stack; give at least one table")
    (first_name, first), *_ = tables.items()
    for name, table in tables.items():
        if table.names != first.names or table.folds.shape[1] != first.folds.shape[1]:
            raise FeatureTableError(
                f"{name} has {table.width} features, {first_name} {first.width}, or they have other names; "
                "only tables of the same features can be stacked"
            )

    def joined(column: str) -> NDArray[np.generic]:
        return np.concatenate([getattr(table, column) for table in tables.values()])

    texts = {
        column: tuple(text for table in tables.values() for text in getattr(table, column))
        for column in ("ids", "labels", "splits", "groups")
    }
    numbers = {column: joined(column) for column in ("features", "values", "chunks", "folds")}
    return replace(first, **texts, **numbers)  # type: ignore[arg-type]


def _agree(column: str, first: FeatureTable, columns: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """Merge one column of several tables; raise an error if two values of a clip differ."""
    result = []
    for row, texts in enumerate(zip(*columns.values(), strict=True)):
        distinct = [text for text in dict.fromkeys(texts) if text]
        if len(distinct) > 1:
            listed = ", ".join(f"{text} in {name}" for name, text in zip(columns, texts, strict=True) if text)
            raise FeatureTableError(f"{column} of {first.ids[row]} differ: {listed}; these are not the same clips")
        result.append(distinct[0] if distinct else "")
    return tuple(result)


def _stem(name: str) -> str:
    """The name of a file without its extension; a dot inside of a name is none."""
    return name.rpartition(".")[0] or name if name.rpartition(".")[2].isalnum() else name


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
