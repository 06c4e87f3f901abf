"""A model of the first chapter with weights as drawn, for cases whose speed does not depend on their values."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path

import torch

from audioattn_lib.attention.record.record import FrameClock
from audioattn_lib.experiments.common.listener import save_model
from audioattn_lib.experiments.urban_sound.config import Config
from audioattn_lib.experiments.urban_sound.network import build_front_end, build_network
from audioattn_lib.training.model_folder import ModelDescription

__all__ = ["CLASSES", "scratch", "untrained_model"]

CLASSES = tuple(f"class {number}" for number in range(10))


@cache
def scratch() -> Path:
    """Temporary folder of this process, which goes with it."""
    place = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    return place


@cache
def untrained_model(attention: str, clip_seconds: float) -> Path:
    """Folder of an ACRNN with this attention, for clips of so many seconds."""
    config = Config(attention=attention)
    front_end = build_front_end(config)
    torch.manual_seed(0)
    description = ModelDescription(
        experiment="urban_sound",
        task="class",
        config=vars(config),
        classes=CLASSES,
        sample_rate=config.sample_rate,
        clock=front_end.clock,
        clip_seconds=float(clip_seconds),
        front_end=front_end.identity,
    )
    network = build_network(config, len(CLASSES), FrameClock(*front_end.clock))
    return save_model(scratch() / f"{attention} {clip_seconds:g} s", description, network).path
