"""Record of the attention of one mechanism, in seconds and hertz.

One frozen type serves every mechanism of the library, so one plot function, one
player, one exporter and one evaluator of faithfulness serve them too. A record
describes a batch of clips; ``record[i]`` describes one, with the same type.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audioattn_lib.core.errors import RunError

from .density import Density, Regions

__all__ = ["AttentionRecord", "FrameClock", "merge_spans"]

Array = NDArray[np.floating[Any]]


_SHORT_NAMES = (lambda path: (path.name,), lambda path: (path.stem, path.with_suffix("").as_posix()))
"""Names of a clip that are shorter than its identifier, the longer ones first."""


@dataclass(frozen=True)
class FrameClock:
    r"""The time that each frame of a sequence covers.

    Frame ``t`` covers ``[start + t * period, start + (t + 1) * period)``; its
    centre is ``start + (t + 1/2) * period``. With a centred short-time Fourier
    transform of hop ``h`` seconds the clock is ``FrameClock(h, -h / 2)``.

    Parameters
    ----------
    period
        Seconds from one frame to the next, above 0. The default of 1 makes
        "seconds" mean "frames".
    start
        Seconds at which frame 0 begins.
    """

    period: float = 1.0
    start: float = 0.0

    def __post_init__(self) -> None:
        if not (np.isfinite(self.period) and self.period > 0):
            raise ValueError(f"period is {self.period}; it must be a finite number of seconds above 0")
        if not np.isfinite(self.start):
            raise ValueError(f"start is {self.start}; it must be a finite number of seconds")

    def centres(self, n_frames: int) -> Array:
        """Centre of each of ``n_frames`` frames in seconds, shape ``(n_frames,)``."""
        return self.start + (np.arange(n_frames) + 0.5) * self.period

    def edges(self, n_frames: int) -> Array:
        """Borders of ``n_frames`` frames in seconds, shape ``(n_frames + 1,)``."""
        return self.start + np.arange(n_frames + 1) * self.period

    def seconds(self, position: Array, n_frames: Array | int) -> Array:
        """Seconds of a relative ``position``: 0 is where frame 0 begins, 1 where the last one ends."""
        return self.start + np.asarray(position) * np.asarray(n_frames) * self.period


_BATCHED = (
    *("n_frames", "weights", "head_weights", "read_weights", "maps", "alignment", "segments", "durations"),
    "layer_weights",
)
_TEXTS = ("mechanism", "clips", "layers", "rows")
# Fields that are one object for all clips, of arrays with a row a clip
_OBJECTS: dict[str, type[Density | Regions]] = {"density": Density, "regions": Regions}


@dataclass(frozen=True)
class AttentionRecord:
    """Record of the attention of one mechanism in each clip of a batch; empty unless it was requested.

    Arrays are NumPy arrays on the host, detached from any graph. A field that a
    mechanism does not have is ``None``.

    Parameters
    ----------
    mechanism
        Name of the attention, as in the configuration.
    clock
        Time of the frames.
    clips
        Identifier of each clip; ``""`` while unknown.
    n_frames
        Frames that belong to each clip (the rest is padding), shape ``(clips,)``.
    weights
        Discrete attention weights, at least 0, rows sum to 1 over the valid
        frames, 0 on padding; shape ``(clips, heads, frames)``.
    head_weights
        Weight of each head, shape ``(clips, heads)``.
    read_weights
        Weight with which each frame really enters the context, of either sign
        for a regressed value function; shape ``(clips, frames)``.
    density
        Continuous attention densities in seconds.
    maps
        Attention over time and frequency, shape
        ``(clips, layers, heads, frequencies, frames)``.
    frequencies
        Centre of each row of ``maps`` in hertz, shape ``(frequencies,)``.
    regions
        Continuous attention densities over time and frequency, whose mass in
        every cell ``maps`` holds.
    alignment
        Where each frame that a decoder made looked: row ``i`` holds the weights
        of the frames that were encoded, with sum 1, for frame ``i`` that was
        made, 0 on padding; shape ``(clips, frames made, frames)``.
    segments
        Replayed segments as start and end in seconds, in the order of the
        playbacks, NaN where a clip has fewer; shape ``(clips, playbacks, 2)``.
    durations
        Length of the sound of each clip in seconds, above 0; shape ``(clips,)``. Frames may begin before the sound
        and end after it.
    layer_weights
        Discrete attention weights of several layers, as ``weights``; shape ``(clips, layers, heads, frames)``.
    layers
        Name of each layer of ``layer_weights`` or ``maps``; none while unknown.
    rows
        Label of each row of ``alignment``, such as the words that a decoder wrote, for each clip; none while unknown.
    """

    mechanism: str = ""
    clock: FrameClock = FrameClock()
    clips: tuple[str, ...] = ()
    n_frames: NDArray[np.int64] | None = None
    weights: Array | None = None
    head_weights: Array | None = None
    read_weights: Array | None = None
    density: Density | None = None
    maps: Array | None = None
    frequencies: Array | None = None
    regions: Regions | None = None
    alignment: Array | None = None
    segments: Array | None = None
    durations: Array | None = None
    layer_weights: Array | None = None
    layers: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()

    def __post_init__(self) -> None:
        if self.n_frames is None:
            field_names = [name for name in (*_BATCHED, *_OBJECTS) if getattr(self, name) is not None]
            if field_names:
                raise ValueError(f"a record with {', '.join(field_names)} needs n_frames too")
            return
        count = np.asarray(self.n_frames, dtype=np.int64)
        object.__setattr__(self, "n_frames", count)
        if count.ndim != 1:
            raise ValueError(f"n_frames has shape {count.shape}; it must be (clips,)")
        if not self.clips:
            object.__setattr__(self, "clips", ("",) * len(count))
        if len(self.clips) != len(count):
            raise ValueError(f"{len(self.clips)} clip names for {len(count)} clips")
        for name, dimensions in (
            ("weights", 3),
            ("head_weights", 2),
            ("read_weights", 2),
            ("maps", 5),
            ("alignment", 3),
            ("segments", 3),
            ("durations", 1),
            ("layer_weights", 4),
        ):
            value = getattr(self, name)
            if value is not None and (value.ndim != dimensions or len(value) != len(count)):
                raise ValueError(
                    f"{name} has shape {value.shape}; it needs {dimensions} axes, the first of {len(count)}"
                )
        if self.durations is not None and not (np.isfinite(self.durations) & (self.durations > 0)).all():
            raise ValueError("durations holds a number that is not finite and above 0; give the seconds of each sound")
        for name in _OBJECTS:
            value = getattr(self, name)
            if value is not None and len(value.location) != len(count):
                raise ValueError(f"{name} describes {len(value.location)} clips, the record {len(count)}")
        self._check_names(len(count))

    def _check_names(self, count: int) -> None:
        for name in ("layer_weights", "maps") if self.layers else ():
            value = getattr(self, name)
            if value is not None and value.shape[1] != len(self.layers):
                raise ValueError(f"{len(self.layers)} names of layers, and {name} has {value.shape[1]} layers")
        if not self.rows:
            return
        most = 0 if self.alignment is None else self.alignment.shape[1]
        if len(self.rows) != count or max(map(len, self.rows)) > most:
            raise ValueError(
                f"rows has labels of {len(self.rows)} clips, at most {max(map(len, self.rows))} each; give them for "
                f"each of {count} clips, at most one for each of {most} rows of the alignment"
            )

    @classmethod
    def empty(cls) -> AttentionRecord:
        """The record of a pass that was not asked for one."""
        return cls()

    @classmethod
    def from_weights(
        cls,
        weights: Any,
        clock: FrameClock = FrameClock(),
        *,
        n_frames: Sequence[int] | None = None,
        clips: Sequence[str] = (),
        durations: Sequence[float] | None = None,
        mechanism: str = "",
    ) -> AttentionRecord:
        r"""Make a record of attention weights over frames.

        Parameters
        ----------
        weights
            Array or tensor of shape ``(frames,)``, ``(clips, frames)`` or ``(clips, heads, frames)``, at least 0; each
            row has the sum 1 over its valid frames.
        clock
            Time of the frames.
        n_frames
            Valid frames of each clip; all by default. Weights on padding are set to 0.
        clips, durations
            Name and seconds of each clip.
        mechanism
            Name to show.

        Raises
        ------
        ValueError
            When the shape does not fit, a weight is negative or not finite, or the sum of a row differs from 1 by more
            than 1e-3; the message names the clip.

        Notes
        -----
        Book page: ``your_sounds``.
        """
        # tensors of any device, half precision included
        array = weights.detach().to("cpu").float().numpy() if hasattr(weights, "detach") else np.asarray(weights)
        if array.ndim not in (1, 2, 3) or array.dtype.kind not in "fiub" or 0 in array.shape:
            raise ValueError(
                f"weights have shape {array.shape} and type {array.dtype}; "
                "give numbers of shape (frames,), (clips, frames) or (clips, heads, frames)"
            )
        one_head = array[:, None] if array.ndim == 2 else array[None, None] if array.ndim == 1 else array
        values = one_head.astype(np.float64)
        counts = np.full(len(values), values.shape[2]) if n_frames is None else np.asarray(n_frames)
        if (
            counts.shape != (len(values),)
            or counts.dtype.kind not in "iu"
            or not ((counts > 0) & (counts <= values.shape[2])).all()
        ):
            raise ValueError(
                f"n_frames is {n_frames!r}; give for each of {len(values)} clips 1 to {values.shape[2]} frames"
            )
        values[np.broadcast_to(np.arange(values.shape[2]) >= counts[:, None, None], values.shape)] = 0.0
        names = tuple(map(str, clips)) or ("",) * len(values)
        for index, rows in enumerate(values):
            where = f"clip {names[index] or index!r}" if index < len(names) else f"clip {index}"
            if not np.isfinite(rows).all() or (rows < 0).any():
                raise ValueError(
                    f"{where}: weights go from {rows.min()} to {rows.max()}; they must be finite and at least 0"
                )
            sums = rows.sum(axis=1)
            if (abs(sums - 1) > 1e-3).any():
                raise ValueError(
                    f"{where}: the weights of a row have the sum {sums[abs(sums - 1).argmax()]:.6g}; it must be 1"
                )
        seconds = None if durations is None else np.asarray(durations, dtype=np.float64)
        return cls(mechanism, clock, names, n_frames=counts, weights=values, durations=seconds)

    @property
    def is_empty(self) -> bool:
        """Return True for a record without content."""
        return self.n_frames is None

    def __len__(self) -> int:
        return 0 if self.n_frames is None else len(self.n_frames)

    def __getitem__(self, index: int | slice | Sequence[int] | NDArray[Any]) -> AttentionRecord:
        if self.n_frames is None:
            raise IndexError("the record is empty; ask the model for it with record=True")
        if isinstance(index, (int, np.integer)):
            if not -len(self) <= index < len(self):
                raise IndexError(f"clip {index} of a record of {len(self)} clips")
            index = slice(int(index) % len(self), int(index) % len(self) + 1)
        rows = np.arange(len(self))[index]
        changes: dict[str, Any] = {
            name: None if getattr(self, name) is None else getattr(self, name)[rows] for name in _BATCHED
        }
        for name, kind in _OBJECTS.items():
            if getattr(self, name) is not None:
                changes[name] = kind(*(array[rows] for array in vars(getattr(self, name)).values()))
        if self.rows:
            changes["rows"] = tuple(self.rows[i] for i in rows)
        return dataclasses.replace(self, clips=tuple(self.clips[i] for i in rows), **changes)

    def layer(self, which: int | str) -> AttentionRecord:
        """Return the record of one layer, by its name or number, with its ``weights`` or ``maps`` alone.

        Raises
        ------
        ValueError
            When the record has no axis of layers.
        KeyError
            When it has no such layer; the message lists those that it has.
        """
        values = self.maps if self.layer_weights is None else self.layer_weights
        if values is None:
            raise ValueError(f"the record of {self.mechanism or 'this mechanism'} has no axis of layers")
        layer_names = self.layers or tuple(map(str, range(values.shape[1])))
        if isinstance(which, str) and which in layer_names:
            which = layer_names.index(which)
        if isinstance(which, str) or not -len(layer_names) <= which < len(layer_names):
            raise KeyError(f"no layer {which!r}; there are {', '.join(layer_names)}")
        index = which % len(layer_names)
        name = f"{self.mechanism}: {layer_names[index]}" if self.mechanism else layer_names[index]
        own = {"mechanism": name, "layers": self.layers[index : index + 1]}
        if self.layer_weights is None:
            return dataclasses.replace(self, maps=values[:, index : index + 1], **own)  # type: ignore[arg-type]
        return dataclasses.replace(self, weights=values[:, index], layer_weights=None, **own)  # type: ignore[arg-type]

    def named(self, clips: Iterable[str], durations: Array | None = None) -> AttentionRecord:
        """The same record with the identifiers of its clips, and the seconds of their sounds where they are known."""
        durations_known = self.durations if durations is None else np.asarray(durations, dtype=np.float64)
        return dataclasses.replace(self, clips=tuple(clips), durations=durations_known)

    def index(self, clip: str) -> int:
        """Position of the clip with this identifier, or with this file name, with or without ending, where one has it.

        A ``KeyError`` lists some that exist, or those that share the name.
        """
        if clip in self.clips:
            return self.clips.index(clip)
        paths = [PurePosixPath(name) for name in self.clips]
        for matches in ([i for i, path in enumerate(paths) if clip in names(path)] for names in _SHORT_NAMES):
            if len(matches) == 1:
                return matches[0]
            if matches:
                listed = ", ".join(self.clips[i] for i in matches[:5])
                raise KeyError(f"clip {clip!r} is one of {len(matches)} in this record: {listed}; give its whole name")
        listed = ", ".join(self.clips[:5]) + (" ..." if len(self) > 5 else "")
        raise KeyError(f"no clip {clip!r} in this record of {len(self)} clips: {listed}")

    def frame_times(self, clip: int = 0) -> Array:
        """Centres of the valid frames of one clip in seconds, shape ``(n_frames[clip],)``."""
        return self.clock.centres(self._valid(clip))

    def span(self, clip: int = 0) -> tuple[float, float]:
        """Seconds at which the first valid frame of one clip begins and the last one ends."""
        edges = self.clock.edges(self._valid(clip))
        return _to_nanoseconds(edges[0]), _to_nanoseconds(edges[-1])

    def sound(self, clip: int = 0) -> tuple[float, float]:
        """Return start and end of the sound of one clip in seconds; those of its frames if the duration is unknown."""
        stop = self.span(clip)[1] if self.durations is None else _to_nanoseconds(self.durations[clip])
        return 0.0, max(stop, 0.0)

    def frame_attention(self, clip: int = 0) -> Array:
        r"""Compute the attention to each valid frame of one clip: at least 0, sum 1; shape ``(n_frames[clip],)``.

        Defined for every mechanism: the mass of the density
        in each frame, or the weights averaged over heads (by head weight where
        there is one), or the time-frequency maps summed over everything but
        time, or an equal share for every replayed frame. Mass outside the clip
        is left out before normalising.
        """
        n = self._valid(clip)
        if self.density is not None:
            mass = np.diff(self[clip].density.cdf(self.clock.edges(n))[0])  # type: ignore[union-attr]
        elif self.weights is not None:
            heads = self.weights[clip, :, :n].astype(np.float64)
            share = np.full(len(heads), 1 / len(heads)) if self.head_weights is None else self.head_weights[clip]
            mass = share @ heads
        elif self.layer_weights is not None:
            mass = self.layer_weights[clip, ..., :n].astype(np.float64).mean(axis=(0, 1))
        elif self.maps is not None:
            mass = self.maps[clip, ..., :n].astype(np.float64).sum(axis=(0, 1, 2))
        elif self.alignment is not None:
            mass = self.alignment[clip, :, :n].astype(np.float64).sum(axis=0)
        elif self.segments is not None:
            centres = self.frame_times(clip)
            bounds = self.segments[clip]
            mass = sum((((centres >= a) & (centres < b)).astype(np.float64) for a, b in bounds), np.zeros(n))
        else:
            raise ValueError(f"the record of {self.mechanism or 'this mechanism'} holds nothing to read attention from")
        mass = np.clip(mass, 0.0, None)
        total = mass.sum()
        return mass / total if total > 0 else np.full(n, 1.0 / max(n, 1))

    def support(self, clip: int = 0) -> list[tuple[float, float]]:
        """Intervals of one clip with any attention, in seconds, in order, clipped to the clip.

        For a Gaussian or softmax, whose support is everything, this is the
        whole clip: an honest answer rather than a threshold.
        """
        low, high = self.span(clip)
        if self.density is not None:
            density = self[clip].density
            assert density is not None
            spans = [
                (max(m - a, low), min(m + a, high))
                for m, a, w in zip(density.location[0], density.half_width[0], density.mode_weight[0], strict=True)
                if w > 0
            ]
            return merge_spans([(_to_nanoseconds(a), _to_nanoseconds(b)) for a, b in spans if b > a])
        attended = self.frame_attention(clip) > 0
        edges = self.clock.edges(len(attended))
        change = np.diff(np.concatenate([[0], attended.astype(np.int8), [0]]))
        starts, stops = np.flatnonzero(change == 1), np.flatnonzero(change == -1)
        return [(_to_nanoseconds(edges[a]), _to_nanoseconds(edges[b])) for a, b in zip(starts, stops, strict=True)]

    def attended(self, clip: int = 0) -> list[tuple[float, float]]:
        """Return :meth:`support` clipped to the duration of the clip."""
        return self.within_sound(self.support(clip), clip)

    def attended_share(self) -> Array:
        """Compute the share of the sound of each clip with any attention, from 0 to 1; shape ``(clips,)``."""
        shares = []
        for clip in range(len(self)):
            start, stop = self.sound(clip)
            shares.append(sum(b - a for a, b in self.attended(clip)) / (stop - start))
        return np.array(shares, dtype=np.float64)

    def within_sound(self, spans: Iterable[tuple[float, float]], clip: int = 0) -> list[tuple[float, float]]:
        """The parts of intervals in seconds that lie in the sound of one clip, in their order."""
        low, high = self.sound(clip)
        inside = [(max(float(a), low), min(float(b), high)) for a, b in spans]
        return [(a, b) for a, b in inside if b > a]  # none for an interval of NaN

    @staticmethod
    def concatenate(records: Sequence[AttentionRecord]) -> AttentionRecord:
        """One record of all clips, padded to the longest; all must come from the same mechanism and clock."""
        records = [r for r in records if not r.is_empty]
        if not records:
            return AttentionRecord.empty()
        first = records[0]
        if any(r.mechanism != first.mechanism or r.clock != first.clock for r in records):
            raise ValueError("records of different mechanisms or clocks cannot be joined")
        if any(r.layers != first.layers or bool(r.rows) != bool(first.rows) for r in records):
            raise ValueError("records of different layers, or with and without labels of rows, cannot be joined")
        joined: dict[str, Any] = {}
        for name in _BATCHED:
            parts = [getattr(r, name) for r in records]
            joined[name] = None if parts[0] is None else _pad_and_join(parts, np.nan if name == "segments" else 0)
        for name, kind in _OBJECTS.items():
            if getattr(first, name) is not None:
                fields = zip(*(vars(getattr(r, name)).values() for r in records), strict=True)
                joined[name] = kind(*map(np.concatenate, fields))
        joined["rows"] = tuple(labels for r in records for labels in r.rows)
        return dataclasses.replace(first, clips=tuple(c for r in records for c in r.clips), **joined)

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """The record as plain arrays by name, the content of ``attention.npz``."""
        arrays: dict[str, NDArray[Any]] = {
            "mechanism": np.array(self.mechanism),
            "clock": np.array([self.clock.period, self.clock.start]),
            "clips": np.array(self.clips, dtype=np.str_),
        }
        for name in (*_BATCHED, "frequencies"):
            if getattr(self, name) is not None:
                arrays[name] = getattr(self, name)
        if self.layers:
            arrays["layers"] = np.array(self.layers, dtype=np.str_)
        if self.rows:
            counts = np.array([len(labels) for labels in self.rows])
            padded = [[*labels, *[""] * (counts.max() - len(labels))] for labels in self.rows]
            arrays |= {"rows": np.array(padded, dtype=np.str_).reshape(len(counts), -1), "row_counts": counts}
        for name in _OBJECTS:
            if getattr(self, name) is not None:
                arrays |= {f"{name}_{field}": array for field, array in vars(getattr(self, name)).items()}
        return arrays

    @classmethod
    def load(cls, path: str | Path) -> AttentionRecord:
        """Read the record that ``to_arrays`` describes from an ``.npz`` file; no pickles are read."""
        try:
            arrays = load_arrays(path)
        except FileNotFoundError:
            raise RunError(f"{path}: no such attention file") from None
        except Exception as error:  # numpy and zipfile raise a dozen kinds for a damaged archive
            raise RunError(f"{path}: not a readable attention file ({error}); export it again") from error
        try:
            return cls._from_arrays(arrays)
        except KeyError as error:
            raise RunError(f"{path}: the array {error} is missing; export it again") from error
        except (TypeError, ValueError, OverflowError, IndexError) as error:
            raise RunError(f"{path}: the arrays do not fit together ({error}); export it again") from error

    @classmethod
    def _from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> AttentionRecord:
        for name, array in arrays.items():
            if name not in _TEXTS and array.dtype.kind not in "fiub":
                raise ValueError(f"{name} is of type {array.dtype}; it must be numbers")
        fields: dict[str, Any] = {name: arrays.get(name) for name in (*_BATCHED, "frequencies")}
        for name, kind in _OBJECTS.items():
            if f"{name}_location" in arrays:
                fields[name] = kind(*(arrays[f"{name}_{field.name}"] for field in dataclasses.fields(kind)))
        if arrays["clock"].shape != (2,) or not np.isfinite(arrays["clock"]).all():
            raise ValueError(f"clock is {arrays['clock']}; it must be period and start in seconds")
        period, start = arrays["clock"]
        if arrays["clips"].ndim != 1 or fields["n_frames"] is None:
            raise ValueError("clips is no list of names, or n_frames is missing")
        longest = max(arrays["n_frames"].max(initial=0), 0)
        for name in ("weights", "maps", "alignment", "read_weights", "layer_weights"):
            if fields.get(name) is not None and fields[name].ndim and fields[name].shape[-1] < longest:
                raise ValueError(f"{name} has {fields[name].shape[-1]} frames, n_frames says {longest}")
        if arrays["n_frames"].dtype.kind not in "iu" or arrays["n_frames"].min(initial=0) < 0:
            raise ValueError("n_frames must be whole numbers of at least 0")
        clips = tuple(str(clip) for clip in arrays["clips"])
        if "layers" in arrays:
            fields["layers"] = tuple(str(name) for name in arrays["layers"])
        if "rows" in arrays:
            counts = arrays["row_counts"]
            if arrays["rows"].ndim != 2 or counts.shape != (len(clips),) or counts.dtype.kind not in "iu":
                raise ValueError("rows is no table of labels with a row a clip, or row_counts does not say how many")
            pairs = zip(arrays["rows"], counts.tolist(), strict=True)
            fields["rows"] = tuple(tuple(map(str, labels[:count])) for labels, count in pairs)
        return cls(str(arrays["mechanism"]), FrameClock(float(period), float(start)), clips, **fields)

    def _valid(self, clip: int) -> int:
        if self.n_frames is None:
            raise IndexError("the record is empty; ask the model for it with record=True")
        return int(self.n_frames[clip])


def load_arrays(path: str | Path) -> dict[str, NDArray[Any]]:
    """Arrays of an ``.npz`` file by name; no pickles are read. Damage raises whatever its readers stumble over."""
    # Opened here: numpy leaves open what it cannot read.
    with open(path, "rb") as opened, np.load(opened, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def merge_spans(spans: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """The union of intervals as intervals in order that do not touch."""
    merged: list[tuple[float, float]] = []
    for start, stop in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(stop, merged[-1][1]))
        else:
            merged.append((start, stop))
    return merged


def _to_nanoseconds(seconds: float) -> float:
    """A time without the noise of its computation, which a person would have to read."""
    return round(float(seconds), 9)


def _pad_and_join(arrays: Sequence[NDArray[Any]], fill: float) -> NDArray[Any]:
    """Join along the first axis, padding the other axes at their end with ``fill``."""
    shape = np.max([array.shape[1:] for array in arrays], axis=0) if arrays[0].ndim > 1 else ()
    padded = []
    for array in arrays:
        missing = [(0, int(n) - m) for n, m in zip(shape, array.shape[1:], strict=True)]
        padded.append(np.pad(array, [(0, 0), *missing], constant_values=fill) if any(b for _, b in missing) else array)
    return np.concatenate(padded)
