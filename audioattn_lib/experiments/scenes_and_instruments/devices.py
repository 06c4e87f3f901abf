"""The domains of a corpus to hear and to see: one sound through every device, and their response curves.

Book page: ``scenes_and_instruments``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from audioattn_lib.audio.io import resample
from audioattn_lib.data.corpora.synthetic import options_of
from audioattn_lib.data.synthetic import orchestra
from audioattn_lib.data.synthetic.acoustics import RATE

from ..common.corpus import Clip, parse_corpus
from .config import Config
from .corpus import Prepared

__all__ = ["Domain", "domains_heard"]

_MOST = 8
"""Most domains to hear."""


@dataclass(frozen=True)
class Domain:
    """One domain of a corpus.

    Parameters
    ----------
    name
        In the manifest.
    is_trained
        Whether training clips come from it.
    clip
        A sound of it: of the synthetic orchestra the same phrase for all devices.
    response
        Level of each mel band in dB, shape ``(bands,)``: of a synthetic device its frequency response, of others the
        mean of their clips less that of all domains.

    Notes
    -----
    Book page: ``scenes_and_instruments``.
    """

    name: str
    is_trained: bool
    clip: Clip
    response: NDArray[np.float64]

    @property
    def title(self) -> str:
        """Its name, and whether training heard it."""
        return f"{self.name}, {'in training' if self.is_trained else 'never heard'}"


def domains_heard(corpus: Prepared, config: Config) -> list[Domain]:
    """Return the domains of a corpus, those of training first, each with a sound and its response.

    Empty where the corpus names no domains; of more than eight, the first ones.

    Notes
    -----
    Book page: ``scenes_and_instruments``.
    """
    trained = set(corpus.domains[corpus.fixed_split.train])
    domains = _devices(corpus, config, trained) if corpus.manifest.name == "orchestra" else _measured(corpus, trained)
    return sorted(domains, key=lambda domain: not domain.is_trained)


def _devices(corpus: Prepared, config: Config, trained: set[str]) -> Iterator[Domain]:
    """The devices of the synthetic orchestra, by their definition."""
    options = options_of("orchestra").parse(**parse_corpus(config.data)[1])
    assert isinstance(options, orchestra.OrchestraOptions)
    machines = orchestra.devices(options)
    frequencies = corpus.front_end.frequencies.cpu().numpy()
    for name, phrase in orchestra.through_devices(options, corpus.classes[0]).items():
        samples = resample(phrase.samples.astype(np.float32), RATE, config.sample_rate)
        features = corpus.front_end(torch.from_numpy(samples)[None])[0][0].numpy()
        clip = Clip(name, phrase.label, samples, config.sample_rate, features, corpus.clock, frequencies, ())
        yield Domain(name, name in trained, clip, 20 * np.log10(machines[name].gain(frequencies)))


def _measured(corpus: Prepared, trained: set[str]) -> Iterator[Domain]:
    """Domains of recordings: mean spectrum of their clips, and the first clip of the most common class of all."""
    names = [name for name in dict.fromkeys(corpus.domains.tolist()) if name][:_MOST]
    rows = {name: np.flatnonzero(corpus.domains == name) for name in names}
    spectra = {
        name: np.mean([corpus.store[int(row)].numpy().mean(axis=0) for row in own], axis=0)
        for name, own in rows.items()
    }
    middle = np.mean(list(spectra.values()), axis=0) if spectra else np.zeros(0)
    labels = corpus.manifest.table["label"].to_numpy()
    shared = set.intersection(*(set(labels[own]) for own in rows.values())) if rows else set()
    for name, own in rows.items():
        alike = [row for row in own if not shared or labels[row] == min(shared)]
        clip = corpus.clip(corpus.manifest.ids[int(alike[0])])
        yield Domain(name, name in trained, clip, spectra[name] - middle)
