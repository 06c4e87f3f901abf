"""One package a chapter: ``Config`` with presets, ``run(config)``, ``study(config)``; README.md says how to add one."""

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
