"""One module a chapter: a ``Config`` that validates itself, ``run(config)``, and presets."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["EXPERIMENTS"]

EXPERIMENTS: Mapping[str, str] = {
    "urban_sound": "audioattn_lib.experiments.urban_sound",
    "sleepiness": "audioattn_lib.experiments.sleepiness",
    "scenes_and_instruments": "audioattn_lib.experiments.scenes_and_instruments",
    "accents": "audioattn_lib.experiments.accents",
    "playback": "audioattn_lib.experiments.playback",
}
"""Module of each experiment by the name of its notebook."""
