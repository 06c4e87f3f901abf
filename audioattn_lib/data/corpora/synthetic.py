"""The synthetic corpora by name.

Book page: ``data``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from ..manifest import Manifest

if TYPE_CHECKING:
    from ..synthetic.corpus import CorpusOptions

__all__ = ["SYNTHETIC", "load", "options_of"]

SYNTHETIC: Mapping[str, str] = MappingProxyType(
    {
        "city": "Synthetic city: ten short sounds over background, known event times",
        "voices": "Synthetic voices: 32 speakers, tiredness from 1 to 9 known for each clip",
        "accents": "Synthetic accents: five invented accents, 24 speakers of each",
        "needles": "Synthetic needles: long clips with short flutters that only a finer hop tells apart",
        "orchestra": "Synthetic orchestra: six families of instruments, unseen devices and instruments",
    }
)
"""Corpora that the library makes itself: description by name."""


def options_of(name: str) -> type[CorpusOptions]:
    """Return the class of the options of a corpus that is made, such as :class:`.CityOptions`."""
    # their signal processing imports for a second
    from ..synthetic import accents, city, mixtures, needles, orchestra, voices

    kinds = (city.CityOptions, voices.VoicesOptions, accents.AccentsOptions, mixtures.MixturesOptions)
    return {kind.corpus: kind for kind in (*kinds, needles.NeedlesOptions, orchestra.OrchestraOptions)}[name]


def load(name: str, cache: str | Path | None = None, **options: Any) -> Manifest:
    """Make the synthetic corpus ``name``, or find it where it was made before, with options of :func:`options_of`.

    Notes
    -----
    Book page: ``data``.
    """
    from ..synthetic.corpus import generate

    return Manifest.read(generate(options_of(name).parse(**options), cache), name=name)
