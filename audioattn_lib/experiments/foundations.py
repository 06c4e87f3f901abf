"""One sound, its scores and what a map makes of them: what the two pages on foundations show.

Nothing is trained. The scores are the loudness of a band of frequencies, which
anyone can check by ear; what the pages are about begins after the score.

Book page: ``from_softmax_to_sparsemax``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from ..attention.densities.beta_gaussian import BetaGaussian
from ..attention.densities.mixture import Mixture
from ..attention.record.density import Density
from ..attention.record.record import AttentionRecord, FrameClock
from ..audio.features.log_mel import LogMel
from ..core.errors import ConfigError
from ..data.manifest import Manifest
from ..evaluation.attention.localisation import mass_inside_events
from .common.corpus import Clip, load_corpus

__all__ = ["Example", "Sparsity", "example", "least_heard", "sparsity"]


@dataclass(frozen=True)
class Example:
    """One clip with what the pages need of it.

    Parameters
    ----------
    clip
        Sound, log-mel features and known events.
    corpus
        Name of the corpus it is from.

    Notes
    -----
    Book page: ``from_softmax_to_sparsemax``.
    """

    clip: Clip
    corpus: str

    @property
    def n_frames(self) -> int:
        """Frames of the clip."""
        return len(self.clip.features)

    @property
    def duration(self) -> float:
        """Seconds that the frames cover: the unit of a density on the scale of the clip."""
        return self.n_frames * self.clip.clock.period

    def describe(self) -> str:
        """The sound in a few sentences of Markdown, which say whether it is synthetic."""
        sound = self.clip
        seconds = len(sound.samples) / sound.sample_rate
        text = f"**{sound.title}**: `{sound.name}` of the corpus {self.corpus}, {seconds:.1f} s, "
        text += f"{self.n_frames} frames of {1000 * sound.clock.period:g} ms. "
        if self.corpus == "city":
            text += "Every sample of it is synthetic, made by this library, so the time of its events is known. "
        if not sound.events:
            return text + "Nobody has marked when its events are."
        spans = " and ".join(f"{event.onset:.2f} to {event.offset:.2f} s" for event in sound.events)
        return text + f"Its events, green in the pictures, last from {spans}."

    def loudness(self, low: float = 0.0, high: float = np.inf, window: float = 0.05) -> Float[Tensor, " frames"]:
        r"""Level of a band of frequencies, in decibels above its median over the clip.

        .. math:: l_t = 10 \log_{10} \sum_m \frac{1}{|W|} \sum_{s \in W} 10^{X_{t+s,m}/10}, \qquad
           x_t = l_t - \mathrm{median}_s\, l_s

        Parameters
        ----------
        low, high
            Edges of the band in hertz; at least one mel band has its centre between them.
        window
            Seconds over which power is averaged, above 0.

        Returns
        -------
        levels
            float64, shape ``(frames,)``.

        Raises
        ------
        ConfigError
            If no mel band lies between the edges, or the window is not above 0.
        """
        frequencies = self.clip.frequencies
        inside = (frequencies >= low) & (frequencies <= high)
        if not inside.any():
            raise ConfigError(
                f"no mel band has its centre between {low:g} and {high:g} Hz; "
                f"the bands reach from {frequencies[0]:.0f} to {frequencies[-1]:.0f} Hz"
            )
        if not window > 0:
            raise ConfigError(f"window is {window}; it must be above 0 seconds")
        power = 10 ** (torch.as_tensor(self.clip.features[:, inside]).double() / 10)
        reach = round(window / self.clip.clock.period / 2)
        # a window that sticks out counts only what is inside of the clip
        mean = F.avg_pool1d(power.sum(1)[None, None], 2 * reach + 1, 1, reach, count_include_pad=False)[0, 0]
        level = 10 * mean.log10()
        return level - level.median()

    def record(
        self,
        name: str,
        *,
        weights: Float[Tensor, " frames"] | None = None,
        density: BetaGaussian | Mixture | None = None,
        read_weights: Float[Tensor, " frames"] | None = None,
        maps: Float[Tensor, "bands frames"] | None = None,
    ) -> AttentionRecord:
        """Attention to this clip as a record, which pictures and players read.

        Parameters
        ----------
        name
            Of the mechanism.
        weights
            One a frame, of sum 1.
        density
            On the scale of the clip, which lasts from 0 to 1; of one clip, so without a batch.
        read_weights
            What each frame enters the context with.
        maps
            Attention over mel bands and frames.
        """
        return AttentionRecord(
            mechanism=name,
            clock=self.clip.clock,
            clips=(self.clip.name,),
            n_frames=np.array([self.n_frames]),
            weights=None if weights is None else _host(weights)[None, None],
            read_weights=None if read_weights is None else _host(read_weights)[None],
            density=None if density is None else self._seconds(density),
            maps=None if maps is None else _host(maps)[None, None, None],
            frequencies=None if maps is None else self.clip.frequencies,
        )

    def _seconds(self, density: BetaGaussian | Mixture) -> Density:
        """The density of the record: on the axis of seconds, its modes in a row."""
        mixture = density if isinstance(density, Mixture) else Mixture(torch.ones(1), density.expand((1,)))
        modes = mixture.components
        assert isinstance(modes, BetaGaussian), "a record holds densities over time"
        shape = (1, mixture.n_components)
        return Density(
            location=self.clip.clock.start + np.broadcast_to(_host(modes.location), shape) * self.duration,
            variance=np.broadcast_to(_host(modes.variance), shape) * self.duration**2,
            alpha=np.broadcast_to(_host(torch.as_tensor(modes.alpha)), shape),
            mode_weight=np.broadcast_to(_host(mixture.weights), shape),
        )

    def sparsity(self, record: AttentionRecord) -> Sparsity:
        """Compute :func:`sparsity` of a record of this clip."""
        seconds = len(self.clip.samples) / self.clip.sample_rate
        return sparsity(record, [(event.onset, event.offset) for event in self.clip.events], seconds)

    def table(self, records: Mapping[str, AttentionRecord]) -> pd.DataFrame:
        """One row a record with its :class:`Sparsity`; without events their column is missing."""
        rows = {name.replace(" ", "\N{NO-BREAK SPACE}"): self.sparsity(each).cells() for name, each in records.items()}
        return pd.DataFrame.from_dict(rows, orient="index")


@dataclass(frozen=True)
class Sparsity:
    """Sparsity statistics of the attention to one clip.

    Parameters
    ----------
    zeros, n_frames
        Frames with a weight of exactly zero, and all frames.
    support
        Seconds of the clip with any attention.
    entropy
        Shannon's, of the attention to the frames, in nats: 0 for one frame, the logarithm of their number for all.
    smallest, largest
        Attention to the frame that gets least and to the one that gets most, in [0, 1].
    inside
        Share of attention inside of the events, in [0, 1]; NaN where none are known.

    Notes
    -----
    Book page: ``from_softmax_to_sparsemax``.
    """

    zeros: int
    n_frames: int
    support: float
    entropy: float
    smallest: float
    largest: float
    inside: float

    @property
    def outside(self) -> float:
        """Share of attention outside of the events, in [0, 1]; NaN where none are known."""
        return abs(round(1 - self.inside, 9))  # a sum of weights may exceed one by its rounding

    def __str__(self) -> str:
        text = (
            f"{self.zeros} of {self.n_frames} frames exactly zero ({100 * self.zeros / self.n_frames:.1f} %), "
            f"support {self.support:.2f} s, entropy {self.entropy:.2f} nats, largest weight {self.largest:.3f}"
        )
        return text if np.isnan(self.inside) else f"{text}, {100 * self.inside:.0f} % inside the events"

    def cells(self) -> dict[str, str]:
        """The same as the cells of a table, by heading."""
        zeros = f"{self.zeros} ({100 * self.zeros / self.n_frames:.1f} %)"
        cells = {
            "exact zeros": zeros.replace(" ", "\N{NO-BREAK SPACE}"),
            "support (s)": f"{self.support:.2f}",
            "entropy (nats)": f"{self.entropy:.2f}",
            "smallest weight": f"{self.smallest:.2g}",
            "largest weight": f"{self.largest:.3f}",
        }
        return cells if np.isnan(self.inside) else {**cells, "inside the events": f"{100 * self.inside:.1f} %"}


def sparsity(record: AttentionRecord, events: list[tuple[float, float]], duration: float = np.inf) -> Sparsity:
    """Compute sparsity statistics of a record of one clip.

    Parameters
    ----------
    record
        Attention of any kind to one clip.
    events
        Onset and offset in seconds of each known event; may be empty.
    duration
        Seconds that the clip lasts, above 0: frames may reach half a frame beyond each of its ends, the support does
        not.

    Notes
    -----
    Book page: ``from_softmax_to_sparsemax``.
    """
    share = record.frame_attention().astype(np.float64)
    positive = share[share > 0]
    return Sparsity(
        zeros=int((share == 0).sum()),
        n_frames=len(share),
        support=float(sum(max(min(stop, duration) - max(start, 0.0), 0.0) for start, stop in record.support())),
        entropy=float(abs((positive * np.log(positive)).sum())),
        smallest=float(share.min()),
        largest=float(share.max()),
        inside=float(mass_inside_events(record, [events])[0]) if events else float("nan"),
    )


def example(data: str, clip: str = "") -> Example:
    """One clip of a corpus.

    Parameters
    ----------
    data
        A corpus as :func:`~audioattn_lib.experiments.common.corpus.load_corpus` reads it.
    clip
        Its identifier, or a part of it: the first that has it. Empty for the first clip with two known events that do
        not touch, or the first of all where there is none.

    Raises
    ------
    ConfigError
        If no clip is called so.
    ManifestError, AudioError
        If the corpus or the sound cannot be read.

    Notes
    -----
    Book page: ``from_softmax_to_sparsemax``.
    """
    manifest = load_corpus(data)
    fits = (lambda row: clip in manifest.ids[row]) if clip else (lambda row: _has_two(manifest, row))
    row = next(filter(fits, range(len(manifest))), None)
    if row is None and clip:
        names = ", ".join(manifest.ids[:3])
        raise ConfigError(f"clip is {clip!r}; no clip of {manifest.name} is called so, there are {names} and others")
    row = row or 0
    front_end = LogMel()
    samples, rate = manifest.read_audio(row, front_end.sample_rate)
    features = front_end(torch.from_numpy(samples)[None])[0][0]
    shown_clip = Clip(
        manifest.ids[row],
        manifest.table["label"].iloc[row],
        samples,
        rate,
        features.numpy(),
        FrameClock(*front_end.clock),
        front_end.frequencies.numpy(),
        tuple(manifest.events(row)),
    )
    return Example(shown_clip, manifest.name)


def least_heard(records: Mapping[str, AttentionRecord], clip: Clip) -> tuple[str, list[str], list[str]]:
    """Ask which mechanism attends to the fewest seconds of a clip: question, answer, and what to choose from.

    Parameters
    ----------
    records
        Attention of each mechanism to this clip alone, by the name to show; at least one.
    clip
        The sound.

    Returns
    -------
    question, answer, choices
        Sentences; the answer has the seconds with any attention, and the share inside of the events where these are
        known.

    Notes
    -----
    Book page: ``index``.
    """
    events = [(event.onset, event.offset) for event in clip.events]
    duration = len(clip.samples) / clip.sample_rate
    measures = {name: sparsity(record, events, duration) for name, record in records.items()}
    question = (
        f"The recording below lasts {duration:.1f} s: {clip.title}. {len(measures)} networks were trained to name it. "
        "**Which of them attends to the fewest seconds, and to how many?**"
    )
    seconds = ", ".join(f"{name} {measured.support:.2f} s" for name, measured in measures.items())
    answer = [f"**{min(measures, key=lambda name: measures[name].support)}**. Seconds with any attention: {seconds}."]
    if events:
        shares = ", ".join(f"{name} {100 * measured.inside:.0f} %" for name, measured in measures.items())
        where = "the event, the green bracket" if len(events) == 1 else "the events, the green brackets"
        answer.append(f"Share of the attention that lies inside {where}: {shares}.")
    return question, answer, list(measures)


def _has_two(manifest: Manifest, row: int) -> bool:
    events = sorted(manifest.events(row), key=lambda event: event.onset)
    return len(events) > 1 and events[0].offset < events[1].onset


def _host(tensor: Tensor) -> NDArray[Any]:
    return tensor.detach().double().cpu().numpy()
