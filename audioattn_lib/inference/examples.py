"""Three sounds that no model was trained on, for the page about trained models.

Book page: ``use_a_trained_model``.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from audioattn_lib.core.errors import ConfigError
from audioattn_lib.data.synthetic.acoustics import RATE, a_weighted_level, samples
from audioattn_lib.data.synthetic.backgrounds import BACKGROUNDS, record_background
from audioattn_lib.data.synthetic.corpus import random_numbers
from audioattn_lib.data.synthetic.sounds import SOUNDS
from audioattn_lib.experiments.common.corpus import load_corpus

from .sources import Sound

__all__ = ["NewSound", "new_sounds"]

_COUNT = 3
_ROLL = "new sounds"
_LEVEL = -32.0
_ABOVE = 12.0
"""Level of an event over the background, A-weighted, in dB."""
_PEAK = 0.9


class NewSound(NamedTuple):
    """A sound, and what is known of it.

    Parameters
    ----------
    title
        For people.
    sound
        Samples and their rate, or a file.
    events
        Class, onset and offset in seconds; none where nobody knows.

    Notes
    -----
    Book page: ``use_a_trained_model``.
    """

    title: str
    sound: Sound
    events: tuple[tuple[str, float, float], ...] = ()


def new_sounds(sounds: str = "", *, seed: int = 2026) -> list[NewSound]:
    """Three sounds to try a model on.

    Parameters
    ----------
    sounds
        A corpus or a folder, of which three clips are taken, evenly over all of them; empty for sounds that are made
        here.
    seed
        Of the sounds that are made. Their sources and backgrounds are drawn for them alone, so that no corpus of this
        library has them: a dog that barks, a church bell, a class that the default city does not have, and 14 s
        of a street with a siren, a jackhammer and a car horn.

    Raises
    ------
    ManifestError, ConfigError
        When the corpus cannot be used, or has fewer than three clips.

    Notes
    -----
    Book page: ``use_a_trained_model``.
    """
    if not sounds:
        return [
            _street("A dog", 3.0, (("dog_bark", 1.4),), seed),
            _street("A church bell, a class that the model does not know", 3.0, (("church_bell", 0.8),), seed),
            _street("A street", 14.0, (("siren", 1.5), ("jackhammer", 6.5), ("car_horn", 11.5)), seed),
        ]
    manifest = load_corpus(sounds)
    if len(manifest) < _COUNT:
        raise ConfigError(f"sounds is {sounds!r}, with {len(manifest)} clips; give a corpus or folder with {_COUNT}")
    rows = np.linspace(0, len(manifest) - 1, _COUNT).round().astype(int)
    return [NewSound(Path(manifest.paths[row]).name, str(manifest.paths[row])) for row in rows]


def _street(title: str, seconds: float, placed: tuple[tuple[str, float], ...], seed: int) -> NewSound:
    """A background with one take of each class at its second."""
    rng = random_numbers(seed, _ROLL, title)
    mix = record_background(str(rng.choice(list(BACKGROUNDS))), rng, seconds)[: samples(seconds)]
    mix = mix * 10.0 ** ((_LEVEL - a_weighted_level(mix)) / 20.0)
    events = []
    for name, onset in placed:
        take = SOUNDS[name].draw(rng)(rng)
        take = take * 10.0 ** ((_LEVEL + _ABOVE - a_weighted_level(take)) / 20.0)
        first = samples(onset)
        take = take[: len(mix) - first]
        mix[first : first + len(take)] += take
        events.append((name, onset, onset + len(take) / RATE))
    peak = float(np.abs(mix).max())
    if peak > _PEAK:
        mix = mix * (_PEAK / peak)
    return NewSound(title, (mix.astype(np.float32), RATE), tuple(events))
